/**
 * The recorded past judged again with a policy: what the recorder would have said of each message, had the policy been in force. Works on entries in the
 * order of the ledger, with the recorder's own `Judge`; what the recorder knew of a connection is rebuilt from its entries.
 *
 * What must stay true: what a message does to those behind it (counts, tools, names) follows from what the policy says of it, not from what was said then; and
 * a verdict that depends on content that is not there is marked as such.
 */
import type { BatchEntry, Entry, MessageEntry, OpenEntry, PrincipalEntry } from '../entry/entry.ts';
import { httpSpeakers, judgeBytes, pendingRequests } from '../limits.ts';
import { effectOf, readToolDefinitions, splitOverrides, Tools, type EffectFields, type Overrides, type SplitOverrides } from '../mcp/effect.ts';
import { readMessage, type Anomaly, type Message } from '../mcp/message.ts';
import { readNames } from '../mcp/names.ts';
import { isNoMessage, type Around } from './no-message.ts';
import { Judge, subjectOf, type CompiledPolicy } from './judge.ts';
import type { Judged, Party } from './match.ts';
import { asks, type Subject } from './match.ts';
import type { CaptureLevel } from './policy.ts';
import { partyOf, type Said } from './principal.ts';
import { endsStream, LimitsReplay, type Held } from './replay-limits.ts';
import { valuesOf, wholeOf, type Redaction, type Redactor } from './redact.ts';
import { anomaliesOf, messageOf, namesHidden, part, targetOf, type Missing, type Remains } from './remains.ts';
import { count, uncount, newCounts, type SessionCounts } from './session.ts';
import { ownRules, type Verdict } from './verdict.ts';
import { viewOf } from './view.ts';
import { filledOtherwise, unknown, watched } from './watched.ts';

export interface Recorded {
  index: number;
  entry: Entry;
  attributes: Readonly<Record<string, unknown>>;
  /** Of a message or batch with a frame of its own. */
  remains?: Remains;
}

export interface Judgement {
  index: number;
  entry: MessageEntry;
  subject: Subject;
  /** Who said it, as it was known when it was judged: a client that tells its name with this message had none. */
  party: Party;
  /** What the policy says. */
  verdict: Verdict;
  level: CaptureLevel;
  /** Ranges in the message. */
  redactions: readonly Redaction[];
  /** Something of the content is missing. */
  why?: Missing;
  /** The verdict depends on what is missing: on these rules' conditions; none of them when names are missing that rules are about. */
  unsure?: readonly string[];
  /** It answers a request that would have been refused: it would never have been said, and was not judged. */
  unsaid?: true;
}

/** Connections without a `close`, which a recorder has fewer of; and closed ones whose tap may come back. Of more the oldest are forgotten. */
const connectionsMost = 4_096;
const closedMost = 256;
/** Principals, and of one connection who speaks there, as many as a recorder remembers. */
const speakersMost = httpSpeakers;

interface Asked extends Pick<Subject, 'method' | 'target' | 'effects'> {
  /** `lost`: more than can be remembered. */
  secrets?: readonly string[] | 'lost';
  refused: boolean;
  /** In limits. */
  held?: Held;
}

interface Connection {
  /** Whose message it is that is judged; over HTTP there are many, as in the recorder. */
  speaker: Speaker;
  readonly own: Speaker;
  readonly speakers: Map<string, Speaker>;
  /** Of each MCP session, whoever speaks in it. */
  readonly sessions: Map<number, SessionCounts>;
  overrides: SplitOverrides;
  tools: Tools;
  asked: Map<number, Asked>;
  batch?: { index: number; items: number; anomalies: readonly Anomaly[]; remains: Remains; waiting: Recorded[] };
}

interface Speaker {
  judge: Judge;
  counts: SessionCounts;
  isNamed: boolean;
}

interface Considered {
  recorded: Recorded & { entry: MessageEntry };
  message: Message;
  remains: Remains;
  subject: Subject;
  party: Party;
  asked: Asked | undefined;
  verdict: Verdict;
  unsure?: readonly string[];
  held?: Held;
}

export class Replay {
  readonly #compiled: CompiledPolicy;
  readonly #judged: (judgement: Judgement) => void;
  readonly #connections = new Map<string, Connection>();
  readonly #closed = new Map<string, Connection>();
  readonly #limits: LimitsReplay;
  /** Those that proxies named, by the index of their entry. */
  readonly #principals = new Map<number, Party>();
  /** Of the message that is being judged, while something of it is missing: the second view, and the rules whose conditions looked at what is missing. */
  #watch: { other: () => Record<string, unknown>; touched: string[] } | undefined;

  constructor(compiled: CompiledPolicy, judged: (judgement: Judgement) => void) {
    this.#judged = judged;
    this.#limits = new LimitsReplay(compiled);
    const rules = compiled.rules.map((rule) => {
      const { condition, name } = rule;
      if (condition === undefined) return rule;
      const evaluate: typeof condition.evaluate = (view) => {
        const watch = this.#watch;
        if (watch === undefined) return condition.evaluate(view);
        let touched = false;
        const outcome = condition.evaluate(watched(view, watch.other(), () => (touched = true)));
        if (touched) watch.touched.push(name);
        return outcome;
      };
      return { ...rule, condition: { text: condition.text, evaluate } };
    });
    this.#compiled = { ...compiled, rules };
  }

  /** Takes the next entry. The items of a batch are judged with the last one. */
  add(recorded: Recorded): void {
    const { entry, index } = recorded;
    this.#limits.turnTo(entry);
    if (this.#limits.isStale) this.#vacate((held) => this.#limits.isOld(held));
    if (entry.kind === 'open') return this.#open(entry, recorded.attributes);
    if (entry.kind === 'principal') return this.#principal(entry, recorded);
    if (entry.kind === 'close') return this.#close(entry.connection);
    if (entry.kind !== 'message' && entry.kind !== 'batch') return;
    if (entry.kind === 'message' && !this.#limits.isOff && endsStream(entry)) this.#vacate(({ stream }) => stream === entry.stream, entry.connection);
    // of a request or answer without a body there is nothing to judge
    if (entry.kind === 'message' && entry.type === 'http') return;
    const connection = this.#connection(entry);
    if (entry.kind === 'batch') {
      this.#finishBatch(connection);
      connection.batch = { index, items: entry.items, anomalies: anomaliesOf(entry), remains: recorded.remains ?? noContent, waiting: [] };
      return;
    }
    if (entry.origin === 'sworn') {
      // our own answer to what was refused then
      if (entry.exchange !== undefined) this.#forget(connection, entry.exchange);
      return;
    }
    const { batch } = connection;
    if (batch !== undefined && entry.batch === batch.index) {
      batch.waiting.push(recorded);
      if (batch.waiting.length >= batch.items) this.#finishBatch(connection);
      return;
    }
    this.#finishBatch(connection);
    const one = this.#consider(connection, { ...recorded, entry }, recorded.remains ?? noContent, []);
    if (one === undefined) return;
    if (!wasHeld(entry)) this.#limits.admit([one], connection.speaker.judge);
    const level = connection.speaker.judge.level(one.subject, one.verdict);
    this.#settle(connection, one, level);
  }

  /** After the last entry. */
  end(): void {
    for (const connection of this.#connections.values()) this.#finishBatch(connection);
  }

  #open(entry: OpenEntry, attributes: Recorded['attributes']): void {
    const { connection, server, client, labels, tap } = entry;
    const judge = new Judge(this.#compiled, {
      connection,
      server,
      ...(client === undefined ? {} : { client }),
      labels: labels ?? {},
      principal: { observed: tap.uid === undefined ? {} : { uid: tap.uid }, verified: {}, declared: {} },
    });
    this.#put(connection, judge, attributes['overrides'] as Overrides | undefined);
  }

  #put(id: string, judge: Judge, overrides: Overrides = {}): Connection {
    const own = { judge, counts: newCounts(), isNamed: false };
    const connection: Connection = {
      speaker: own,
      own,
      speakers: new Map(),
      sessions: new Map(),
      overrides: splitOverrides(overrides),
      tools: new Tools(),
      asked: new Map(),
    };
    keep(this.#connections, id, connection, connectionsMost);
    return connection;
  }

  /** That of an entry; one whose `open` was not seen is known by its server alone. */
  #connection(entry: MessageEntry | BatchEntry): Connection {
    const known = this.#connections.get(entry.connection);
    if (known !== undefined) return known;
    const { connection, server } = entry;
    const closed = this.#closed.get(connection);
    if (closed !== undefined) {
      this.#closed.delete(connection);
      keep(this.#connections, connection, closed, connectionsMost);
      return closed;
    }
    return this.#put(
      connection,
      new Judge(this.#compiled, { connection, server, labels: {}, principal: { observed: {}, verified: {}, declared: {} } }),
    );
  }

  #principal(entry: PrincipalEntry, recorded: Recorded): void {
    const connection = this.#connections.get(entry.connection) ?? this.#closed.get(entry.connection);
    if (connection === undefined) return;
    const { party } = connection.own.judge;
    if (entry.reportedBy !== undefined) {
      keep(this.#principals, recorded.index, { ...party, principal: partyOf(recorded.attributes as Said, entry.unbelieved !== true) }, speakersMost);
      return;
    }
    if (entry.source !== 'observed') return;
    const { attributes } = recorded;
    const executable = attributes['executable'];
    const observed = {
      ...(entry.uid === undefined ? {} : { uid: entry.uid }),
      ...(entry.pid === undefined ? {} : { pid: entry.pid }),
      ...(typeof executable === 'string' ? { executable } : {}),
    };
    // another judge: one remembers which rules are about whom
    connection.own.judge = new Judge(this.#compiled, { ...party, principal: { ...party.principal, observed } });
  }

  /** Who says a message: over HTTP a principal, in an MCP session of its own or in none. */
  #turnTo(connection: Connection, { who, session }: MessageEntry): void {
    const party = who === undefined ? undefined : this.#principals.get(who);
    if (party === undefined) {
      connection.speaker = connection.own;
      return;
    }
    const key = `${who} ${session ?? ''}`;
    let speaker = connection.speakers.get(key);
    if (speaker === undefined) {
      // its client has said who it is before the session had its number
      const { clientInfo } = (session === undefined ? undefined : connection.speakers.get(`${who} `)?.judge.party) ?? {};
      const judge = new Judge(this.#compiled, { ...party, principal: { ...party.principal, declared: { ...party.principal.declared } } });
      if (clientInfo !== undefined) judge.introduce(clientInfo);
      const counts = (session === undefined ? undefined : connection.sessions.get(session)) ?? newCounts();
      if (session !== undefined) keep(connection.sessions, session, counts, speakersMost);
      speaker = { judge, counts, isNamed: clientInfo !== undefined };
      keep(connection.speakers, key, speaker, speakersMost);
    }
    connection.speaker = speaker;
  }

  /** What waited is over; a tap that comes back goes on with the rest. */
  #close(id: string): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    this.#finishBatch(connection);
    for (const exchange of connection.asked.keys()) this.#forget(connection, exchange);
    connection.tools = new Tools();
    this.#connections.delete(id);
    keep(this.#closed, id, connection, closedMost);
  }

  /** A batch with an item that is refused is refused whole. Items are judged in order, each as if those before it had been let through. */
  #finishBatch(connection: Connection): void {
    const { batch } = connection;
    if (batch === undefined) return;
    delete connection.batch;
    const considered: Considered[] = [];
    for (const recorded of batch.waiting) {
      const entry = recorded.entry as MessageEntry;
      const one = this.#consider(connection, { ...recorded, entry }, part(batch.remains, entry), batch.anomalies);
      if (one === undefined) continue;
      considered.push(one);
      count(connection.speaker.counts, one.subject, one.verdict.kind, one.message.outcome === 'toolError');
    }
    for (const { subject, verdict, message } of considered)
      uncount(connection.speaker.counts, subject, verdict.kind, message.outcome === 'toolError');
    if (!considered.some(({ recorded }) => wasHeld(recorded.entry))) this.#limits.admit(considered, connection.speaker.judge);
    const refused = considered.find(({ verdict }) => verdict.kind === 'block');
    for (const one of considered) {
      if (refused !== undefined && one.verdict.kind !== 'block') {
        const { rule } = refused.verdict;
        const reason = `not sent: item ${refused.recorded.entry.item} was refused`;
        one.verdict = { kind: 'block', ...(rule === undefined ? {} : { rule }), reason };
        if (refused.unsure !== undefined) one.unsure = [...(one.unsure ?? []), ...refused.unsure];
      }
      const level = connection.speaker.judge.level(one.subject, one.verdict);
      this.#settle(connection, one, level === 'none' ? 'metadata' : level);
    }
  }

  /** What the policy says of a message. Changes nothing, but for a reply that would not have come. */
  #consider(connection: Connection, recorded: Recorded & { entry: MessageEntry }, whole: Remains, more: readonly Anomaly[]): Considered | undefined {
    const { entry, index } = recorded;
    this.#turnTo(connection, entry);
    const { judge, counts } = connection.speaker;
    const isReply = entry.type === 'result' || entry.type === 'error';
    // without an exchange it answers nothing, or a request that has no entry
    const isUncaptured = isReply && entry.exchange === undefined && entry.anomalies?.includes('reply-to-nothing') !== true;
    const known = entry.exchange === undefined ? undefined : connection.asked.get(entry.exchange);
    const asked = isReply && (entry.exchange !== undefined || isUncaptured) ? (known ?? askedBy(entry, connection)) : undefined;
    const read = whole.bytes === undefined ? undefined : readMessage(whole.bytes);
    const isRead = read !== undefined && read.type === entry.type;
    // a frame that lost its middle may be no message any more
    const remains: Remains = isRead || whole.why === undefined ? whole : { missing: [], why: whole.why };
    const message: Message = isRead ? read : messageOf(entry, recorded.attributes);
    const effects: Partial<EffectFields> = isReply
      ? (asked?.effects ?? {})
      : asks(message)
        ? effectOf(message, connection.tools, connection.overrides, judge.word(message.method === 'tools/call' ? message.target?.value : undefined))
        : {};
    const subject = subjectOf(message, entry.direction, effects, asked);
    // its client may be introduced by this very message, which makes a new object of what it says of itself
    const party = { ...judge.party };
    if (asked?.refused === true) {
      this.#forget(connection, entry.exchange!);
      this.#judged({ index, entry, subject, party, verdict: { kind: 'pass' }, level: 'full', redactions: [], unsaid: true });
      return undefined;
    }
    const anomalies: Anomaly[] = [...(remains.why === undefined ? message.anomalies : anomaliesOf(entry)), ...more];
    const considered = { recorded, message, remains, subject, party, asked };
    if (entry.sizeBytes > judgeBytes && this.#compiled.canBlock)
      return { ...considered, verdict: { kind: 'block', rule: ownRules.tooLarge, reason: 'longer than can be judged' } };
    if (remains.why === undefined && entry.anomalies?.includes('other-charset')) anomalies.push('other-charset');
    const judged: Judged = {
      ...subject,
      anomalies,
      bytes: remains.bytes,
      sizeBytes: entry.sizeBytes,
      isNoMessage:
        entry.transport === 'http' &&
        entry.batch === undefined &&
        (entry.redacted?.['credentials'] !== undefined || isNoMessage(entry.type, anomalies, remains.bytes, aroundOf(recorded))),
    };
    const hidden = isUncaptured || (remains.why !== undefined && namesHidden(entry, isRead));
    // what was left out then was counted, and is not there to be counted again
    const isCounted = entry.uncaptured === undefined;
    if (remains.why === undefined && !hidden && isCounted) return { ...considered, verdict: judge.judge(judged, counts, [], 0) };

    let other: Record<string, unknown> | undefined;
    const touched: string[] = [];
    this.#watch = {
      touched,
      other: () => (other ??= otherView(judged, remains, { hidden, isCounted }, judge, counts)),
    };
    const verdict = judge.judge(judged, counts, [], 0);
    this.#watch = undefined;
    const depends = touched.length > 0 || (hidden && this.#compiled.rules.some(({ on }) => on.some((type) => (type === 'result') === isReply)));
    return { ...considered, verdict, ...(depends ? { unsure: touched } : {}) };
  }

  /** A request waits no more. */
  #forget(connection: Connection, exchange: number): void {
    const held = connection.asked.get(exchange)?.held;
    if (held !== undefined) this.#limits.release(held);
    connection.asked.delete(exchange);
  }

  #vacate(which: (held: Held) => boolean, of?: string): void {
    for (const [id, { asked }] of this.#connections) {
      if (of !== undefined && id !== of) continue;
      for (const { held } of asked.values()) if (held !== undefined && which(held)) this.#limits.vacate(held);
    }
  }

  /** What follows from the verdict, as in the recorder. */
  #settle(connection: Connection, considered: Considered, level: CaptureLevel): void {
    const { recorded, message, remains, subject, party, asked, verdict, unsure, held } = considered;
    const { entry, index } = recorded;
    const { judge } = connection.speaker;
    // what was frozen then stays refused, and what nobody had accepted
    const refused = verdict.kind === 'block' || wasHeld(entry);
    const redactions = remains.bytes === undefined ? [] : rangesOf(remains.bytes, judge.redactor(subject), asked?.secrets);
    if (message.type === 'request') {
      if (connection.asked.size >= pendingRequests) this.#forget(connection, connection.asked.keys().next().value!);
      const secrets = remains.bytes === undefined || redactions.length === 0 ? [] : (valuesOf(remains.bytes, redactions) ?? 'lost');
      const { method, target, effects } = subject;
      connection.asked.set(index, {
        effects,
        refused,
        ...(method === undefined ? {} : { method }),
        ...(target === undefined ? {} : { target }),
        ...(secrets.length === 0 ? {} : { secrets }),
        ...(held === undefined ? {} : { held }),
      });
    } else if (entry.exchange !== undefined) {
      const waiting = connection.asked.get(entry.exchange)?.held;
      if (entry.type !== 'notification') {
        if (waiting !== undefined && !refused) this.#limits.charge(waiting, entry.sizeBytes);
        this.#forget(connection, entry.exchange);
      } else if (waiting !== undefined && !refused) this.#limits.vacate(waiting);
    }
    count(connection.speaker.counts, subject, refused ? 'block' : verdict.kind, message.outcome === 'toolError');
    if (!refused) learn(connection, considered);
    this.#judged({
      index,
      entry,
      subject,
      party,
      verdict,
      level,
      redactions,
      ...(remains.why === undefined ? {} : { why: remains.why }),
      ...(unsure === undefined ? {} : { unsure }),
    });
  }
}

/** It was refused by what no policy file decides. */
function wasHeld({ verdict, rule }: MessageEntry): boolean {
  return verdict === 'block' && (rule === ownRules.freeze || rule === ownRules.pin);
}

function rangesOf(bytes: Uint8Array, redactor: Redactor | undefined, secrets?: readonly string[] | 'lost'): Redaction[] {
  if (secrets === 'lost') return [wholeOf(0, bytes.length)];
  return redactor?.ranges(bytes, 0, secrets) ?? [];
}

function keep<K, T>(known: Map<K, T>, key: K, value: T, most: number): void {
  known.set(key, value);
  if (known.size > most) known.delete(known.keys().next().value!);
}

const noContent: Remains = { missing: [], why: 'unreadable' };

/** The request of a reply, from what the reply's entry repeats: it lies further back than we remember. */
function askedBy(entry: MessageEntry, connection: Connection): Asked {
  const { method } = entry;
  if (method === undefined) return { effects: {}, refused: false };
  const target = targetOf(method, entry.target);
  const request = { method, ...(target === undefined ? {} : { target }) };
  const word = connection.speaker.judge.word(method === 'tools/call' ? target?.value : undefined);
  return { ...request, effects: effectOf(request, connection.tools, connection.overrides, word), refused: false };
}

/** As its entry says it. */
function aroundOf({ entry: { direction, http }, attributes }: Recorded & { entry: MessageEntry }): Around {
  const headers = attributes['headers'];
  return {
    direction,
    status: http?.status,
    headers: Array.isArray(headers) ? (headers as [string, string][]) : [['…', '']],
    isEvent: attributes['sse'] !== undefined,
  };
}

/** A second view of a message, in which everything is different that depends on what is missing: content, names (`hidden`), messages to be counted. */
function otherView(
  judged: Judged,
  { bytes, missing, why }: Remains,
  { hidden, isCounted }: { hidden: boolean; isCounted: boolean },
  judge: Judge,
  counts: SessionCounts,
): Record<string, unknown> {
  const other = viewOf(bytes === undefined ? judged : { ...judged, bytes: filledOtherwise(bytes, missing) }, judge.party, counts);
  // what cannot be looked at in one way may be in another
  if (typeof other === 'string') return Object.fromEntries(['message', 'params', 'args', 'result'].map((name) => [name, unknown]));
  if (bytes === undefined && why !== undefined) {
    for (const name of ['message', 'params', 'args', 'result']) other[name] = unknown;
    // of a resource an entry has the scheme alone
    if (judged.target?.kind !== 'tool') other['target'] = unknown;
  }
  if (hidden) for (const name of ['method', 'tool', 'target']) other[name] = unknown;
  if (!isCounted) other['session'] = unknown;
  return other;
}

/** What a message tells about the two sides: the client's name (once), and tool definitions. */
function learn(connection: Connection, { recorded, message, remains, asked }: Considered): void {
  const { bytes } = remains;
  const { attributes } = recorded;
  if (message.type === 'request' && !connection.speaker.isNamed && (message.method === 'initialize' || message.era === 'modern')) {
    const info = attributes['clientInfo'] ?? (bytes === undefined ? undefined : readNames(bytes).clientInfo);
    if (typeof info !== 'object' || info === null) return;
    const { name, version } = info as Record<string, unknown>;
    connection.speaker.isNamed = true;
    connection.speaker.judge.introduce({ ...(typeof name === 'string' ? { name } : {}), ...(typeof version === 'string' ? { version } : {}) });
  } else if (message.type === 'result' && asked?.method === 'tools/list' && bytes !== undefined) {
    connection.tools.add(readToolDefinitions(bytes));
  }
}
