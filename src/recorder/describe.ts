/** What an entry says of a message, beside its content. What is changed by it can be taken back. */
import type { Anomaly, BatchEntry, CaptureLevel, MessageEntry } from '../entry/entry.ts';
import { idBytes, methodBytes, reasonBytes, redactedRules, shortTextBytes, targetBytes } from '../limits.ts';
import { bounded, schemeOf } from '../mcp/bounded.ts';
import { readToolDefinitions, type EffectFields } from '../mcp/effect.ts';
import type { PendingRequest, Placement } from '../mcp/exchange.ts';
import type { Message } from '../mcp/message.ts';
import { readNames } from '../mcp/names.ts';
import type { Subject } from '../policy/match.ts';
import type { Redaction } from '../policy/redact.ts';
import { count, uncount, type SessionCounts } from '../policy/session.ts';
import { ownRules, type Verdict } from '../policy/verdict.ts';
import { bare, unterminated, type Head } from '../wire/wire.ts';
import { Concealed } from './concealed.ts';
import type { Connection } from './connection.ts';
import type { Considered } from './considered.ts';
import { directions, type Frame } from './frame.ts';
import { disagrees, httpOf, isOtherCharset } from './http.ts';
import type { RecordDeps } from './record-deps.ts';
import type { Attributes } from './seal.ts';

const nothing = (): void => undefined;

/** Whether what was said is stored, and not its hash alone. */
export function keepsContent(level: CaptureLevel, type: Subject['type']): boolean {
  return level === 'full' || (level === 'request' && type !== 'result' && type !== 'error');
}

/** An entry that is being made: what stays undefined is not written. */
type Draft<T = MessageEntry & Pick<BatchEntry, 'items'>> = { [K in keyof T]: T[K] | undefined };

/**
 * The fields that every frame's entry begins with, and room for all others: order of fields is order in the ledger's lines. Entries that all have one shape
 * cost a fraction of what those do that grow field by field.
 */
export function begin(
  frame: Frame,
  anomalies: readonly Anomaly[],
  connection: Connection,
  deps: RecordDeps,
  isItem = false,
): { entry: Draft; attributes: Attributes; unenter: () => void } {
  const { head } = frame.unit;
  const entered = head === undefined || isItem ? undefined : enter(head, frame.unit.stream, connection, deps);
  const monotonicUs = deps.clock.monotonicUs();
  const entry: Draft = {
    v: 1,
    kind: 'message',
    time: deps.clock.text(deps.clock.wallUs(monotonicUs)),
    monotonicUs,
    connection: connection.id,
    stream: frame.unit.stream,
    seq: ++connection.seq,
    tapSeq: frame.unit.unit,
    direction: directions[frame.direction],
    transport: connection.transport,
    server: connection.shownServer,
    verdict: 'pass',
    origin: frame.direction === 0 ? 'client' : 'server',
    sizeBytes: frame.sizeBytes,
    who: connection.who,
    session: entered?.fields.session,
    http: entered?.fields.http,
    anomalies: anomalies.length > 0 ? [...anomalies] : undefined,
    type: undefined,
    rule: undefined,
    reason: undefined,
    shadow: undefined,
    problem: undefined,
    retryAfterMs: undefined,
    capture: undefined,
    redacted: undefined,
    effect: undefined,
    effectSource: undefined,
    destructive: undefined,
    sensitive: undefined,
    exchange: undefined,
    id: undefined,
    method: undefined,
    target: undefined,
    era: undefined,
    protocolVersion: undefined,
    outcome: undefined,
    code: undefined,
    resultType: undefined,
    durationUs: undefined,
    call: undefined,
    truncated: undefined,
    items: undefined,
    segments: undefined,
    commitment: undefined,
    parts: undefined,
    batch: undefined,
    item: undefined,
    range: undefined,
    uncaptured: undefined,
    delivered: undefined,
    attributes: undefined,
    attributesCommitment: undefined,
  };
  return { entry, attributes: entered?.attributes ?? {}, unenter: entered?.undo ?? nothing };
}

/** What the entry says of HTTP; a session that was not seen before begins with it. */
function enter(
  head: Head,
  stream: number,
  connection: Connection,
  deps: RecordDeps,
): { fields: Pick<MessageEntry, 'session' | 'http'>; attributes: Attributes; undo: () => void } {
  const { fields, attributes } = httpOf(head);
  const { session } = connection;
  if (session !== undefined) return { fields: { session, ...fields }, attributes, undo: nothing };
  if (head.session === undefined) return { fields, attributes, undo: nothing };
  const index = deps.ledger.nextIndex;
  const sessionLink = deps.http!.linkOf(head.session);
  const undo = connection.beginSession(sessionLink, index);
  connection.turnTo(stream, connection.who, index);
  return { fields, attributes: { ...attributes, sessionLink }, undo };
}

export function sayVerdict(entry: MessageEntry | BatchEntry, { kind, rule, reason, shadow, problem, retryAfterMs }: Verdict): void {
  entry.verdict = kind;
  if (rule !== undefined) entry.rule = rule;
  if (reason !== undefined) entry.reason = bounded(reason, reasonBytes);
  if (shadow !== undefined) entry.shadow = shadow;
  if (problem !== undefined) entry.problem = problem;
  if (retryAfterMs !== undefined) entry.retryAfterMs = retryAfterMs;
}

/** How often each rule left something out; of very many rules the rest together. */
export function sayRedacted(entry: MessageEntry | BatchEntry, redactions: readonly Redaction[]): void {
  if (redactions.length === 0) return;
  const counts = new Map<string, number>();
  for (const { rule } of redactions) {
    const name = counts.has(rule) || counts.size < redactedRules ? bounded(rule, 64) : 'other';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  entry.redacted = Object.fromEntries(counts);
}

function sayEffects(entry: MessageEntry, { effect, effectSource, destructive, sensitive }: Partial<EffectFields>): void {
  if (effect !== undefined) entry.effect = effect;
  if (effectSource !== undefined) entry.effectSource = effectSource;
  if (destructive !== undefined) entry.destructive = destructive;
  if (sensitive !== undefined) entry.sensitive = sensitive;
}

/** Step 4 for the entry: what it says of the message, and its place among the exchanges. */
export function describe(
  frame: Frame,
  message: Message,
  considered: Considered,
  level: CaptureLevel,
  concealed: Concealed,
  connection: Connection,
  deps: RecordDeps,
  range?: [number, number],
): { entry: MessageEntry; attributes: Attributes; isConcealed: boolean; undo: () => void } {
  const { subject, verdict } = considered;
  const index = deps.ledger.nextIndex;
  const direction = directions[frame.direction];
  const begun = begin(frame, message.anomalies, connection, deps, range !== undefined);
  const entry = begun.entry as MessageEntry;
  const { attributes } = begun;
  entry.type = (frame.unit.flags & bare) === 0 ? message.type : 'http';
  sayVerdict(entry, verdict);
  if (connection.judge.isNamed) entry.capture = level;
  sayRedacted(entry, concealed.redactions);

  const { head } = frame.unit;
  const again = head?.sse === undefined ? undefined : eventSeen(head, index, connection);
  const isAgain = again?.first !== undefined;
  const isUnsentReply = verdict.rule === ownRules.notSent && message.type !== 'notification';
  // what was said before is said once
  const placement = isAgain
    ? unplaced
    : isUnsentReply
      ? replyToNothing
      : connection.exchanges.place(message, direction, index, frame.seenUs, connection.scope);
  if (isAgain) entry.repeats = again.first!;
  const sizeBytes = range === undefined ? frame.sizeBytes : range[1] - range[0];
  const unhold = deps.limits?.held.placed(message, placement, sizeBytes, considered, connection, head, frame.unit.stream);
  const endSession =
    head?.begins === undefined || range !== undefined
      ? nothing
      : begins(head.begins, placement.exchange ?? index, entry, attributes, connection, deps);
  if (head !== undefined && disagrees(head, message)) entry.anomalies = [...(entry.anomalies ?? []), 'header-mismatch'];
  if (head !== undefined && isOtherCharset(head, direction) && entry.type !== 'http') entry.anomalies = [...(entry.anomalies ?? []), 'other-charset'];
  const isReply = message.type === 'result' || message.type === 'error';
  const request = isReply && placement.request?.uncaptured !== true ? placement.request : undefined;
  const isAsked = request !== undefined && request.concealed === undefined;
  if (message.type === 'request') {
    if (placement.request) placement.request.effects = subject.effects as EffectFields;
    if (placement.request && verdict.kind === 'ask') placement.request.isAside = true;
    sayEffects(entry, subject.effects);
  } else if (request?.effects) sayEffects(entry, subject.effects);
  const { counts } = connection;
  const failed = message.outcome === 'toolError';
  if (!isAgain) count(counts, subject, verdict.kind, failed);

  if (placement.exchange !== undefined && placement.request?.uncaptured !== true) entry.exchange = placement.exchange;
  if (placement.anomalies.length > 0) entry.anomalies = [...(entry.anomalies ?? []), ...placement.anomalies];
  if (message.id !== undefined) {
    const id = concealed.text(message.id, 'id', message.cut?.includes('id'), isAsked);
    entry.id = bounded(id, idBytes);
    if (entry.id !== id) {
      (entry.truncated ??= []).push('id');
      attributes['id'] = id;
    }
  }
  const { method, target } = message;
  if (method !== undefined) {
    const shown = concealed.text(method, 'method', message.cut?.includes('method'));
    entry.method = bounded(shown, methodBytes);
    if (entry.method !== shown) {
      (entry.truncated ??= []).push('method');
      attributes['method'] = shown;
    }
  }
  if (target !== undefined) {
    // of a resource only the scheme: a URI may hold names, paths and tokens
    const shown = concealed.text(target.value, 'target', message.cut?.includes('target'));
    entry.target = bounded(target.kind === 'resource' ? schemeOf(shown) : shown, targetBytes);
    if (entry.target !== shown) {
      if (target.kind !== 'resource') (entry.truncated ??= []).push('target');
      attributes['target'] = shown;
    }
  }
  if (placement.request !== undefined && message.type === 'request') {
    if (concealed.any) placement.request.concealed = true;
    connection.exchanges.remember(placement.request, concealed.values);
  }
  if (message.type === 'request' && concealed.values?.length !== 0) connection.hadSecrets = true;
  // as the request's entry has them; it also has them whole
  if (request?.method !== undefined) entry.method = request.concealed ? '[redacted]' : concealed.text(request.method, 'method', false, true);
  if (request?.target !== undefined) entry.target = request.concealed ? '[redacted]' : concealed.text(request.target.value, 'target', false, true);
  const era = isReply ? request?.era : message.era;
  if (era !== undefined) entry.era = era;
  if (message.protocolVersion !== undefined && (!isReply || request?.method === 'initialize')) {
    entry.protocolVersion = bounded(concealed.text(message.protocolVersion, 'protocolVersion'), shortTextBytes);
  }
  if (isReply) {
    if (message.outcome !== undefined) entry.outcome = message.outcome;
    if (message.code !== undefined) entry.code = message.code;
    if (message.resultType !== undefined) entry.resultType = bounded(concealed.text(message.resultType, 'resultType'), shortTextBytes);
    if (request !== undefined) {
      entry.durationUs = Math.max(0, frame.seenUs - request.seenUs);
      if (request.call !== undefined && request.call !== entry.exchange) entry.call = request.call;
    }
  }
  const bytes = range === undefined ? frame.bytes : frame.bytes?.subarray(...range);
  const undoLeg = isAgain ? undefined : sayCall(entry, message, index, bytes, placement.request, connection);
  // what is not delivered tells the other side nothing
  if (bytes !== undefined && verdict.kind !== 'block')
    learn(bytes, message, placement.request?.method, connection, attributes, (text) => concealed.isBlind || concealed.hides(text));
  if (!keepsContent(level, message.type) || (bytes !== undefined && concealed.isBlind)) for (const name in attributes) delete attributes[name];
  for (const name in attributes) attributes[name] = concealed.all(attributes[name], name);
  return {
    entry,
    attributes,
    isConcealed: concealed.any,
    undo: undoing(
      isAgain ? undefined : counts,
      subject,
      verdict.kind,
      failed,
      together(undoLeg, endSession, again?.undo, unhold),
      placement,
      begun.unenter,
      connection,
    ),
  };
}

/** Last first. Not within `describe`: what waits for the disk would keep everything that was known there. */
function undoing(
  counts: SessionCounts | undefined,
  subject: Subject,
  verdict: Verdict['kind'],
  failed: boolean,
  undoTies: () => void,
  placement: Placement,
  unenter: () => void,
  connection: Connection,
): () => void {
  return () => {
    if (counts !== undefined) uncount(counts, subject, verdict, failed);
    undoTies();
    placement.undo();
    unenter();
    connection.seq--;
  };
}

/** Mostly none of them does anything. */
function together(...undos: ((() => void) | undefined)[]): () => void {
  const due = undos.filter((undo) => undo !== undefined && undo !== nothing) as (() => void)[];
  return due.length === 0 ? nothing : (): void => due.forEach((undo) => undo());
}

/** An event that a client asked to be sent again is the one that it was (`Last-Event-ID`). */
function eventSeen({ sse }: Head, index: number, connection: Connection): { first?: number; undo: () => void } | undefined {
  const id = sse?.['id'];
  if (typeof id !== 'string' || id === '') return undefined;
  const key = `${connection.session ?? ''} ${id}`;
  const first = connection.events.get(key);
  if (first !== undefined) return { first, undo: nothing };
  connection.events.set(key, index);
  return { undo: () => connection.events.delete(key) };
}

const unplaced: Placement = { anomalies: [], undo: nothing };
const replyToNothing: Placement = { anomalies: ['reply-to-nothing'], undo: nothing };

/** Which logical call a message belongs to. What a server asks or tells on the stream of a request belongs to that, and so does its end. */
function sayCall(
  entry: MessageEntry,
  message: Message,
  index: number,
  bytes: Buffer | undefined,
  request: PendingRequest | undefined,
  connection: Connection,
): (() => void) | undefined {
  const leg = connection.calls.leg(message, bytes, request, connection.who);
  if (leg.taskStatus !== undefined) entry.taskStatus = leg.taskStatus;
  if (leg.call !== undefined) entry.call = leg.call;
  if (connection.transport !== 'http') return leg.undo;
  const stream = String(entry.stream);
  if (entry.direction === 'c2s' && message.type === 'request') connection.asked.set(stream, leg.call ?? index);
  else if (entry.http?.end !== undefined || (entry.direction === 's2c' && (message.type === 'request' || message.type === 'notification'))) {
    const asked = connection.asked.get(stream);
    if (asked !== undefined) entry.call ??= asked;
    if (asked !== undefined && message.type === 'request' && request !== undefined) request.call ??= asked;
  }
  return leg.undo;
}

/** An MCP session has got its id with this reply: it began with the request. */
function begins(id: string, first: number, entry: MessageEntry, attributes: Attributes, connection: Connection, deps: RecordDeps): () => void {
  entry.session = first;
  attributes['sessionLink'] = deps.http!.linkOf(id);
  return connection.beginSession(deps.http!.linkOf(id), first);
}

/** What a message tells about the two sides: names (once for each), and tool definitions. */
export function learn(
  bytes: Buffer,
  message: Message,
  requestMethod: string | undefined,
  connection: Connection,
  attributes: Attributes,
  /** What must not be written beside the ledger either. */
  hides: (text: string) => boolean = () => false,
): void {
  // behind a proxy many clients begin their sessions
  const isBeginning = connection.transport === 'http' && (message.method ?? requestMethod) === 'initialize';
  if (message.type === 'request' && (!connection.namedClient || isBeginning) && (message.method === 'initialize' || message.era === 'modern')) {
    const { clientInfo, capabilities } = readNames(bytes);
    if (clientInfo !== undefined) {
      connection.namedClient = true;
      const { name, version } = clientInfo;
      connection.introduce({ ...(typeof name === 'string' ? { name } : {}), ...(typeof version === 'string' ? { version } : {}) }, hides);
      attributes['clientInfo'] = clientInfo;
      if (capabilities !== undefined) attributes['capabilities'] = capabilities;
    }
  } else if (
    message.type === 'result' &&
    (!connection.namedServer || isBeginning) &&
    (requestMethod === 'initialize' || requestMethod === 'server/discover')
  ) {
    const { serverInfo, capabilities } = readNames(bytes);
    if (serverInfo !== undefined) {
      connection.namedServer = true;
      attributes['serverInfo'] = serverInfo;
      if (capabilities !== undefined) attributes['capabilities'] = capabilities;
    }
  }
  if (message.type === 'result' && requestMethod === 'tools/list') connection.learnTools(readToolDefinitions(bytes), hides);
}

export function finish(entry: MessageEntry | BatchEntry, frame: Frame, connection: Connection): void {
  if ((frame.unit.flags & unterminated) !== 0) entry.anomalies = [...(entry.anomalies ?? []), 'unterminated'];
  const { uncaptured } = connection;
  if (uncaptured[0] + uncaptured[1] > 0) entry.uncaptured = [uncaptured[0], uncaptured[1]];
  entry.delivered = [connection.delivered[0], connection.delivered[1]];
}
