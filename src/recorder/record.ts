/**
 * ★ The whole life of one frame in the recorder, read from top to bottom: parse a copy → pair → judge → redact → commit → append → answer.
 *
 * What must stay true:
 *   1. No answer that lets a frame through before its entry is durable (mode `commit`), or judged (`observe` while a rule can block).
 *   2. Order of arrival is order in the ledger, for each connection, and `nextIndex` is the entry's own index: everything up to `append` is synchronous but
 *      for the search of a long frame, during which the connection is paused.
 *   3. What cannot be parsed is recorded all the same, as it came, as far as the policy lets it be stored.
 *   4. What cannot be recorded changes nothing: pairing and counters go back to what they were, last frame first.
 *   5. Rules see exactly the bytes that would be delivered; nothing that a redaction rule finds is written anywhere, nor what repeats it.
 *   6. What is refused is never delivered, whatever the disk does and whoever dies: `linesFor` says the same from the entry alone.
 * If we die anywhere in here: before the append is durable nobody was answered, and the tap sends the frame again to the next recorder; after it, the
 * next recorder finds the entry and tells the tap so.
 */
import type { Anomaly, BatchEntry, CaptureLevel, Direction, MessageEntry, OpenEntry, PrincipalEntry, RecoveryEntry } from '../entry/entry.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { idBytes, methodBytes, reasonBytes, redactedRules, shortTextBytes, targetBytes } from '../limits.ts';
import { bounded, schemeOf } from '../mcp/bounded.ts';
import { effectOf, readToolDefinitions, type EffectFields } from '../mcp/effect.ts';
import type { PendingRequest, Placement } from '../mcp/exchange.ts';
import { readMessage, type Batch, type Message } from '../mcp/message.ts';
import { readNames } from '../mcp/names.ts';
import type { Freeze } from '../policy/freeze.ts';
import { subjectOf } from '../policy/judge.ts';
import { asks, type Subject } from '../policy/match.ts';
import { isNoMessage } from '../policy/no-message.ts';
import { apart, batchRanges, FoundValues, valuesOf, valuesOnly, wholeOf, type Redaction, type Redactor } from '../policy/redact.ts';
import { count, uncount, type SessionCounts } from '../policy/session.ts';
import { ownRules, passes, type Verdict } from '../policy/verdict.ts';
import { bare, unterminated, type FrameUnit, type Head } from '../wire/wire.ts';
import { answerableId, FrameWaiter, joined, linesFor, TurnWaiter, type Lines } from './answer.ts';
import type { Approvals } from './approvals.ts';
import { askable, notSent, progressTokenOf } from './asking.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { refuseUnrecorded } from './refuse-unrecorded.ts';
import type { Admitted, Limits } from './limiting.ts';
import type { Storms } from './storms.ts';
import { frameOf, type Frame } from './frame.ts';
import { credentialsIn, disagrees, httpOf, isOtherCharset } from './http.ts';
import { commitment, seal, type Attributes } from './seal.ts';
import { stricter, type Pinner, type Pinning } from './pins.ts';
import type { Searcher } from './searcher.ts';
import type { NamedPrincipal } from './speaker.ts';
import { storedOf, type Stored } from './store.ts';

export interface RecordDeps {
  ledger: Ledger;
  clock: Clock;
  /** `open` and `principal` of a connection, built when its first frame can be recorded. */
  openingOf(connection: Connection): { open: OpenEntry; openAttributes: Attributes; principal: PrincipalEntry; principalAttributes: Attributes };
  /** Absent where nothing comes from a proxy. */
  http?: {
    /** The `principal` entry of somebody whom it named. */
    principalOf(principal: NamedPrincipal, connection: Connection): { entry: PrincipalEntry; attributes: Attributes };
    /** What stands for the id of an MCP session, which is a secret: equal for equal ones in this ledger. */
    linkOf(session: string): string;
  };
  /** Freezes in force. */
  readonly freezes: readonly Freeze[];
  /** Absent where nobody could have set any. */
  limits?: { held: Limits; storms: Storms };
  /** The secret of checkable redaction, outside of the ledger. */
  findKey(): Buffer;
  /** Definitions of tools that are trusted. */
  pinner?: Pick<Pinner, 'consider'>;
  /** Requests that wait for a person; without it nobody can be asked. */
  readonly approvals?: Approvals;
  /** Looks through long frames. */
  searcher: Pick<Searcher, 'search'>;
}

/** A batch as recovery found it, and the first of its items that has no entry. */
export interface UnfinishedBatch {
  index: number;
  entry: BatchEntry;
  batch: Batch;
  bytes: Buffer;
  next: number;
  /** Of a refused one: the answers to the items that have entries. */
  lines: Lines[];
}

const names: readonly [Direction, Direction] = ['c2s', 's2c'];
/** A longer frame would keep other connections waiting. */
const searchedHereBytes = 256 * 1024;
const nothing = (): void => undefined;

/** Takes one unit from a tap. Answers go out later, through the connection, when the ledger has flushed. */
export function record(unit: FrameUnit, connection: Connection, deps: RecordDeps): void {
  const { direction } = unit;
  // A tap that came back sends again what it does not know to be settled.
  if (unit.unit <= connection.taken[direction]) return;
  // Units that never came were settled without a recorder, the rest of a frame that was arriving among them: what comes now is another frame.
  if (unit.unit !== connection.taken[direction] + 1) connection.long[direction] = undefined;
  connection.foundHole(direction, unit.unit);
  connection.taken[direction] = unit.unit;
  if (unit.delivered[0] > connection.delivered[0]) connection.delivered[0] = unit.delivered[0];
  if (unit.delivered[1] > connection.delivered[1]) connection.delivered[1] = unit.delivered[1];

  // 0. The connection's own entries come first; they wait here while the disk is full.
  if (connection.isReturnDue) recordReturn(connection, deps);
  if (!connection.isRecorded || (connection.who === undefined && unit.head === undefined)) recordOpening(connection, deps);
  if (unit.head !== undefined) turnTo(unit.head, unit.stream, connection, deps);

  // 1. Parse a copy. A frame of several units is scanned as it comes; it is held back as a whole only where a rule must see all of it.
  const { compiled } = connection.judge;
  // only a freeze has a time at which it ends
  const mayRefuse = connection.judge.mayRefuse(deps.freezes, deps.freezes.length === 0 ? 0 : deps.clock.wallUs() / 1000);
  const frame = frameOf(unit, connection, { whole: compiled.seesWhole || mayRefuse, mayRefuse }, deps);
  if (frame === undefined) return;
  if (frame.message.type === 'batch') recordBatch(frame, frame.message, connection, deps);
  else recordMessage(frame, frame.message, connection, deps);
  // of what waits for a person nobody is there any more
  const { undelivered, end } = unit.head ?? {};
  if (undelivered !== undefined) deps.approvals?.giveUp(connection, direction, unit.stream, undelivered, end);
}

/** Over HTTP the head says whose frame it is. The entry of who it is comes first, too. */
function turnTo(head: Head, stream: number, connection: Connection, deps: RecordDeps): void {
  const principal = connection.principalOf(head);
  if (principal.index === undefined && deps.ledger.recordable) recordPrincipal(principal, connection, deps);
  const session = head.session === undefined ? undefined : connection.sessionOf(deps.http!.linkOf(head.session));
  connection.turnTo(stream, principal.index, session, principal.said);
}

function recordMessage(frame: Frame, message: Message, connection: Connection, deps: RecordDeps): void {
  // 2. Pair, and 3. judge.
  const considered = consider(frame, message, connection, deps);
  deps.limits?.held.admit(considered, frame.sizeBytes, connection, deps.ledger.nextIndex, frame.refusable, frame.unit.head);
  const { limited } = considered;
  if (limited !== undefined && !deps.limits!.storms.hit(limited, considered.subject, 1, connection)) {
    refuseUnrecorded(frame, [{ message, considered }], connection, deps.ledger);
    return;
  }
  // what streamed through is stored, whatever came into force meanwhile
  const level = frame.streamed === undefined ? connection.judge.level(considered.subject, considered.verdict) : 'full';
  takePins(considered, level, message, connection);
  if (level === 'none') {
    leaveOut(frame, message, considered, connection, deps);
    return;
  }
  // 4. Redact: a long frame in another thread, while the connection, and no other one, waits for it.
  const known = knownTo(considered, connection);
  const redactor = redactorFor(known, considered, connection);
  const { bytes } = frame;
  const credentials = bytes === undefined || frame.unit.head === undefined ? undefined : credentialsIn(message, bytes);
  if (credentials !== undefined) conclude(frame, message, considered, level, redactor, [credentials], connection, deps);
  else if (bytes !== undefined && known === undefined) {
    conclude(frame, message, considered, level, redactor, [wholeOf(0, bytes.length)], connection, deps);
  } else if (bytes === undefined || known === undefined || redactor === undefined)
    conclude(frame, message, considered, level, redactor, [], connection, deps);
  else if (bytes.length <= searchedHereBytes) {
    conclude(frame, message, considered, level, redactor, redactor.ranges(bytes, 0, known, isJson(message)), connection, deps);
  } else {
    connection.pause();
    deps.searcher.search(redactor, bytes, known, isJson(message), (redactions) =>
      connection.resume(() => conclude(frame, message, considered, level, redactor, redactions, connection, deps)),
    );
  }
}

/** A list that is delivered pins definitions, with entries before its own. They say no more than that may. */
function takePins(considered: Considered, level: CaptureLevel, { type }: Message, connection: Connection): void {
  const { pinning, verdict } = considered;
  if (pinning?.take === undefined || verdict.kind === 'block') return;
  pinning.take(keepsContent(level, type) && knownTo(considered, connection)?.length === 0);
}

/**
 * Values of the request, which are looked for in its answer also where no rule is about the answer; `undefined` where nobody knows them, or to what it is the
 * answer: `"1"` is 1 for some servers, 2^53 + 1 is 2^53 for most, what cannot be kept comes back as `null`, some answer twice, and requests are forgotten. Where several
 * wait with one id, the values of all that wait. What a server says beside its answers may repeat what waits, too.
 */
function knownTo({ subject, request }: Considered, connection: Connection): readonly string[] | undefined {
  const { withSecrets } = connection.exchanges;
  if (subject.type !== 'result' && subject.type !== 'error')
    return subject.direction === 's2c' && withSecrets.size > 0 ? waitingValues(withSecrets) : [];
  if (request === undefined) return connection.hadSecrets ? undefined : [];
  if (!connection.exchanges.isShared(request)) return request.secretsLost ? undefined : (request.secrets ?? []);
  const known = new Set<string>();
  for (const { secrets, secretsLost } of withSecrets) {
    for (const secret of secrets ?? []) known.add(secret);
    if (secretsLost || known.size > knownMost) return undefined;
  }
  return [...known];
}

const knownMost = 1_024;
/** Of those that wait, in what is no answer: each message is searched for them anew. */
const waitingMost = 64;

/** Those of the newest requests; what was lost is not known. */
function waitingValues(withSecrets: ReadonlySet<PendingRequest>): readonly string[] {
  const known = new Set<string>();
  for (const { secrets } of [...withSecrets].toReversed()) {
    for (const secret of secrets ?? []) if (known.size < waitingMost) known.add(secret);
    if (known.size >= waitingMost) break;
  }
  return [...known];
}

function redactorFor(known: readonly string[] | undefined, { subject }: Considered, connection: Connection): Redactor | undefined {
  return connection.judge.redactor(subject) ?? (known?.length === 0 ? undefined : valuesOnly);
}

/** The strict reader has read it to its end. */
function isJson({ anomalies }: Message): boolean {
  return !anomalies.includes('not-json') && !anomalies.includes('too-deep') && !anomalies.includes('invalid-utf8');
}

function conclude(
  frame: Frame,
  message: Message,
  considered: Considered,
  level: CaptureLevel,
  redactor: Redactor | undefined,
  redactions: readonly Redaction[],
  connection: Connection,
  deps: RecordDeps,
): void {
  const index = deps.ledger.nextIndex;
  const described = describe(frame, message, considered, level, new Concealed(redactor, redactions, frame.bytes), connection, deps);
  const { entry } = described;
  // 5. Commit: the frame's bytes are in the entry only as a commitment.
  const stored = store(frame, message, level, redactions, index, deps);
  entry.segments = stored.hashes.length;
  entry.commitment = commitment(stored.hashes);
  if (frame.units > 1) entry.parts = frame.units;
  finish(entry, frame, connection);
  // 6. Append, and 7. answer once it is durable. What waits for a person is neither passed nor refused: it leaves the line.
  if (considered.verdict.kind === 'ask') {
    appendAsked(frame, message, considered.subject, described, stored.items, index, connection, deps);
    return;
  }
  let refusal: Lines | undefined;
  if (considered.verdict.kind === 'block') {
    const { id, awaited } = answerableId(message.type, message.id, frame.bytes, connection, entry.direction);
    refusal = { ...linesFor(entry, index, id, awaited), isConcealed: described.isConcealed };
  }
  append(entry, described.attributes, frame, stored.items, considered.subject.effects, connection, deps, described.undo, true, refusal);
  if (refusal !== undefined) recordRefusal(entry, index, refusal, described.isConcealed, connection, deps);
  if (considered.cancels !== undefined) deps.approvals?.cancel(considered.cancels);
}

/** `capture: none`: the message is counted, and goes its way in its turn. */
function leaveOut(frame: Frame, message: Message, considered: Considered, connection: Connection, deps: RecordDeps): void {
  const { direction, unit } = frame;
  const placement = connection.exchanges.place(message, names[direction], deps.ledger.nextIndex, frame.seenUs, connection.scope);
  deps.limits?.held.placed(message, placement, frame.sizeBytes, considered, connection, unit.head, unit.stream);
  if (message.type === 'request' && placement.request !== undefined) {
    placement.request.uncaptured = true;
    placement.request.effects = considered.subject.effects as EffectFields;
  }
  const concealed = concealedIn(frame.bytes, message, considered, connection);
  if (message.type === 'request' && placement.request !== undefined) {
    for (const [field, text] of [
      ['id', message.id],
      ['method', message.method],
      ['target', message.target?.value],
    ] as const) {
      if (text !== undefined) concealed.text(text, field, message.cut?.includes(field));
    }
    if (concealed.any) placement.request.concealed = true;
    // its answer may have an entry, and say it again
    connection.exchanges.remember(placement.request, concealed.values);
  }
  if (message.type === 'request' && concealed.values?.length !== 0) connection.hadSecrets = true;
  // what is not stored counts all the same, and tells the same
  count(connection.counts, considered.subject, considered.verdict.kind, message.outcome === 'toolError');
  if (frame.bytes !== undefined)
    learn(frame.bytes, message, placement.request?.method, connection, {}, (text) => concealed.isBlind || concealed.hides(text));
  connection.uncaptured[direction] += frame.units;
  const turn = new TurnWaiter(() => connection.settle(direction, unit.unit));
  deps.ledger.follow(turn, { urgent: connection.wait === 'receipt' });
  connection.judged(direction, unit.unit);
}

/** A batch (2025-03-26): one entry for the frame, then one for each item that points at it. A batch with an item that is refused is refused whole. */
function recordBatch(frame: Frame, batch: Batch, connection: Connection, deps: RecordDeps): void {
  const considered = considerBatch(frame, batch, connection, deps);
  const sizesBytes = batch.items.map(({ range }) => range[1] - range[0]);
  deps.limits?.held.admitBatch(considered, sizesBytes, connection, deps.ledger.nextIndex, frame.refusable, frame.unit.head);
  const refusedItem = considered.findIndex(({ verdict }) => verdict.kind === 'block');
  const one = considered[refusedItem];
  if (one?.limited !== undefined) {
    const requests = considered.filter(({ subject }) => asks(subject)).length;
    if (!deps.limits!.storms.hit(one.limited, one.subject, requests, connection)) {
      sayNotSent(considered, refusedItem);
      const items = batch.items.map(({ message }, i) => ({ message, considered: considered[i]! }));
      refuseUnrecorded(frame, items, connection, deps.ledger);
      return;
    }
  }
  if (refusedItem < 0)
    for (const [item, one] of considered.entries())
      takePins(one, connection.judge.level(one.subject, one.verdict), batch.items[item]!.message, connection);
  const index = deps.ledger.nextIndex;
  const { entry: common, attributes, unenter } = begin(frame, batch.anomalies, connection, deps);
  const found = foundInItems(frame, batch, considered, connection);
  const without = apart(found.flatMap((ranges, item) => itemRedactions(ranges, considered[item]!, batch.items[item]!.range, connection)));
  const stored = frame.streamed ?? storedOf(frame.bytes!, without, index, deps.findKey);
  const entry = { ...common, kind: 'batch' as const } as BatchEntry;
  if (refusedItem >= 0) sayVerdict(entry, considered[refusedItem]!.verdict);
  sayRedacted(entry, without);
  entry.items = batch.items.length;
  entry.segments = stored.hashes.length;
  entry.commitment = commitment(stored.hashes);
  if (frame.units > 1) entry.parts = frame.units;
  finish(entry, frame, connection);
  append(
    entry,
    (connection.judge.anyRedactor?.cleanAll(attributes) ?? attributes) as Attributes,
    frame,
    stored.items,
    {},
    connection,
    deps,
    () => {
      unenter();
      connection.seq--;
    },
    false,
  );
  recordItems(frame, batch, considered, found, refusedItem, index, 0, connection, deps);
}

function recordItems(
  frame: Frame,
  batch: Batch,
  considered: readonly Considered[],
  found: readonly Redaction[][],
  refusedItem: number,
  index: number,
  from: number,
  connection: Connection,
  deps: RecordDeps,
  /** Answers to the items before `from`, of a batch that an earlier recorder began. */
  before?: readonly Lines[],
): void {
  // of all items together: none passes unrecorded because another one may
  const { effects } = (considered.find(({ subject }) => connection.onUnrecordable(subject.effects) === 'block') ?? considered.at(-1)!).subject;
  const refused: { entry: MessageEntry; index: number; lines: Lines; isConcealed: boolean }[] = [];
  if (refusedItem >= 0) sayNotSent(considered, refusedItem);
  for (const [item, { message, range }] of batch.items.entries()) {
    if (item < from) continue;
    const one = considered[item]!;
    const inItem = ({ start, end, ...more }: Redaction): Redaction => ({ ...more, start: start - range[0], end: end - range[0] });
    const foundHere = found[item] ?? [];
    const redactions = itemRedactions(foundHere, one, range, connection).map(inItem);
    const bytes = frame.bytes?.subarray(...range);
    const level = atLeastMetadata(connection.judge.level(one.subject, one.verdict));
    const concealed = new Concealed(redactorFor(knownTo(one, connection), one, connection), redactions, bytes, foundHere.map(inItem));
    const described = describe(frame, message, one, level, concealed, connection, deps, range);
    const { entry } = described;
    Object.assign(entry, { batch: index, item, range, sizeBytes: range[1] - range[0] });
    finish(entry, frame, connection);
    const own = deps.ledger.nextIndex;
    if (refusedItem >= 0) {
      const { id, awaited } = answerableId(message.type, message.id, message.type === 'request' ? bytes : undefined, connection, entry.direction);
      refused.push({ entry, index: own, lines: linesFor(entry, own, id, awaited), isConcealed: described.isConcealed });
    }
    const isLast = item === batch.items.length - 1;
    const refusal =
      isLast && refusedItem >= 0 ? joined([...(before ?? []), ...refused.map(({ lines, isConcealed }) => ({ ...lines, isConcealed }))]) : undefined;
    let { undo } = described;
    if (refusedItem >= 0 && message.type === 'request') {
      // answered in its receiver's place, before the next item finds its own: undone in the opposite order
      const unanswer = connection.exchanges.answered(own);
      undo = (): void => {
        unanswer();
        described.undo();
      };
    }
    append(entry, described.attributes, frame, [], effects, connection, deps, undo, isLast, refusal);
    if (one.cancels !== undefined) deps.approvals?.cancel(one.cancels);
    // the answers to the other items alone, or none, would be taken for all of them
    if (refusal !== undefined && before !== undefined) connection.refusedBefore({ direction: frame.direction, unit: frame.unit.unit, ...refusal });
  }
  for (const { entry, index: own, lines, isConcealed } of refused) recordRefusal(entry, own, lines, isConcealed, connection, deps);
}

/** The others of a batch with an item that is refused. */
function sayNotSent(considered: readonly Considered[], refusedItem: number): void {
  const { rule, retryAfterMs } = considered[refusedItem]!.verdict;
  const said = { ...(rule === undefined ? {} : { rule }), ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  for (const one of considered) {
    if (one.verdict.kind !== 'block') one.verdict = { kind: 'block', ...said, reason: `not sent: item ${refusedItem} was refused` };
  }
}

/** What rules find in the items of a batch, for each item: none of a frame that is stored as it comes. */
function foundInItems(frame: Frame, batch: Batch, considered: readonly Considered[], connection: Connection): Redaction[][] {
  if (frame.bytes === undefined || !connection.judge.compiled.seesWhole) return [];
  const items = batch.items.map(({ range }, item) => {
    const one = considered[item]!;
    return { range, redactor: connection.judge.redactor(one.subject), known: knownTo(one, connection) };
  });
  return batchRanges(frame.bytes, items);
}

/** What of an item is left out of its frame: what was found in it, or all of it where only its entry is wanted. */
function itemRedactions(found: Redaction[], { subject, verdict }: Considered, range: [number, number], connection: Connection): Redaction[] {
  if (!connection.judge.compiled.seesWhole) return [];
  if (keepsContent(connection.judge.level(subject, verdict), subject.type)) return found;
  return [{ start: range[0], end: range[1], rule: 'capture', keep: 'drop' }];
}

/** A crash cut off the entries of a batch's last items: the batch counts as recorded, so they are added from its bytes. */
export function finishBatch({ index, entry, batch, bytes, next, lines }: UnfinishedBatch, connection: Connection, deps: RecordDeps): void {
  const direction = entry.direction === 'c2s' ? 0 : 1;
  const delivered = entry.delivered ?? [0, 0];
  const unit: FrameUnit = { direction, flags: 0, stream: entry.stream, unit: entry.tapSeq, delivered, seenUs: entry.monotonicUs, bytes };
  const isRefused = entry.verdict === 'block';
  // what it was judged then stands: unless it was refused it may have been delivered
  const refused: Verdict = {
    kind: 'block',
    ...(entry.rule === undefined ? {} : { rule: entry.rule }),
    ...(entry.reason === undefined ? {} : { reason: entry.reason }),
    ...(entry.retryAfterMs === undefined ? {} : { retryAfterMs: entry.retryAfterMs }),
  };
  const frame: Frame = {
    direction,
    unit,
    seenUs: unit.seenUs,
    message: batch,
    sizeBytes: bytes.length,
    units: 1,
    first: unit.unit,
    bytes,
    refusable: false,
  };
  const considered = batch.items.map(({ message, range }) => {
    const one = consider(frame, message, connection, deps, range);
    return isRefused ? { ...one, verdict: refused } : one;
  });
  recordItems(frame, batch, considered, foundInItems(frame, batch, considered, connection), isRefused ? 0 : -1, index, next, connection, deps, lines);
}

/** A message with what was found out about it before anything was changed. */
interface Considered extends Admitted {
  request: PendingRequest | undefined;
  pinning?: Pinning | undefined;
  /** It takes back the request of this entry, which waits for a person. */
  cancels?: number;
}

/** Steps 2 and 3 for one message: which request it answers, what it does, and what policy says of it. Changes nothing. */
function consider(frame: Frame, message: Message, connection: Connection, deps: RecordDeps, range?: [number, number]): Considered {
  const { judge } = connection;
  const direction = names[frame.direction];
  const isReply = message.type === 'result' || message.type === 'error';
  const named = isReply || message.cancels !== undefined ? connection.exchanges.peek(message, direction, connection.scope) : undefined;
  const isUnsent = named !== undefined && frame.refusable && deps.approvals?.isWaiting(named.index) === true;
  // what was not delivered has no reply, and waits for none
  const request = isReply && !isUnsent ? named : undefined;
  const effects = isReply
    ? (request?.effects ?? {})
    : asks(message)
      ? effectOf(message, connection.tools, connection.overrides, judge.word(message.method === 'tools/call' ? message.target?.value : undefined))
      : {};
  const subject = subjectOf(message, direction, effects, request);
  if ((frame.unit.flags & bare) !== 0) return { subject, verdict: passes, request };
  if (isUnsent && isReply) return { subject, verdict: notSent, request };
  // its first units are refused
  const isTooLarge = frame.tooLarge !== undefined && frame.refusable;
  if (judge.isIdle && deps.freezes.length === 0 && !isTooLarge && !isUnsent) return { subject, verdict: passes, request };
  const bytes = range === undefined ? frame.bytes : frame.bytes?.subarray(...range);
  const anomalies = [...message.anomalies];
  if (message.type === 'request') {
    if (connection.exchanges.isWaiting(message, direction, connection.scope)) anomalies.push('id-reused');
    if (!isPairable(message)) anomalies.push('id-not-scalar');
  }
  const { head } = frame.unit;
  if (head !== undefined && isOtherCharset(head, direction)) anomalies.push('other-charset');
  const around = head === undefined || range !== undefined ? undefined : { ...head, direction, isEvent: head.sse !== undefined };
  const noMessage = around !== undefined && isNoMessage(message.type, anomalies, bytes, around);
  const nowMs = deps.clock.wallUs() / 1000;
  const sizeBytes = range === undefined ? frame.sizeBytes : range[1] - range[0];
  let verdict: Verdict =
    isTooLarge || (frame.tooLarge !== undefined && judge.mayRefuse(deps.freezes, nowMs))
      ? { kind: 'block', rule: ownRules.tooLarge, reason: 'longer than can be judged' }
      : judge.judge({ ...subject, anomalies, bytes, sizeBytes, isNoMessage: noMessage }, connection.counts, deps.freezes, nowMs);
  const pinning = deps.pinner?.consider(message, subject, bytes, connection);
  verdict = stricter(verdict, pinning?.verdict);
  // It is with its receiver: a rule came into force too late for it, and the record must not say that it was kept from it.
  if ((verdict.kind === 'block' || verdict.kind === 'ask') && !frame.refusable)
    verdict = { ...verdict, kind: 'flag', shadow: true, problem: 'delivered-before' };
  if (verdict.kind === 'ask') verdict = askable(verdict, message, sizeBytes, range !== undefined, connection, deps.approvals);
  if (isUnsent && verdict.kind !== 'block') return { subject, verdict: notSent, request, cancels: named.index, pinning };
  return { subject, verdict, request, pinning };
}

/** `null` is what servers answer to an id that they cannot keep, such as a number beyond every double: nobody could say to what. */
function isPairable({ id, idKey }: Message): boolean {
  return idKey !== undefined && (idKey.startsWith('s') || Number.isFinite(Number(id)));
}

/** Items are judged in order, each as if those before it had been let through. */
function considerBatch(frame: Frame, batch: Batch, connection: Connection, deps: RecordDeps): Considered[] {
  const considered = batch.items.map(({ message, range }) => {
    const whole = batch.anomalies.length === 0 ? message : { ...message, anomalies: [...message.anomalies, ...batch.anomalies] };
    const one = consider(frame, whole, connection, deps, range);
    count(connection.counts, one.subject, one.verdict.kind, message.outcome === 'toolError');
    return one;
  });
  for (const [item, { subject, verdict }] of considered.entries())
    uncount(connection.counts, subject, verdict.kind, batch.items[item]!.message.outcome === 'toolError');
  return considered;
}

function keepsContent(level: CaptureLevel, type: Subject['type']): boolean {
  return level === 'full' || (level === 'request' && type !== 'result' && type !== 'error');
}

function atLeastMetadata(level: CaptureLevel): CaptureLevel {
  return level === 'none' ? 'metadata' : level;
}

/** The frame's segments. Of a frame that is too long, or of which only the entry is wanted, the hash alone. */
function store(frame: Frame, message: Message, level: CaptureLevel, redactions: readonly Redaction[], index: number, deps: RecordDeps): Stored {
  if (frame.streamed !== undefined) return frame.streamed;
  const { bytes, tooLarge } = frame;
  if (bytes === undefined) {
    const hash = tooLarge!;
    return { items: [{ state: 'dropped', hash, sizeBytes: frame.sizeBytes }], hashes: [hash] };
  }
  const without: readonly Redaction[] = keepsContent(level, message.type)
    ? redactions
    : [{ start: 0, end: bytes.length, rule: 'capture', keep: 'drop' }];
  return storedOf(bytes, without, index, deps.findKey);
}

/** An entry that is being made: what stays undefined is not written. */
type Draft<T = MessageEntry & Pick<BatchEntry, 'items'>> = { [K in keyof T]: T[K] | undefined };

/**
 * The fields that every frame's entry begins with, and room for all others: order of fields is order in the ledger's lines. Entries that all have one shape
 * cost a fraction of what those do that grow field by field.
 */
function begin(
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
    direction: names[frame.direction],
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

function sayVerdict(entry: MessageEntry | BatchEntry, { kind, rule, reason, shadow, problem, retryAfterMs }: Verdict): void {
  entry.verdict = kind;
  if (rule !== undefined) entry.rule = rule;
  if (reason !== undefined) entry.reason = bounded(reason, reasonBytes);
  if (shadow !== undefined) entry.shadow = shadow;
  if (problem !== undefined) entry.problem = problem;
  if (retryAfterMs !== undefined) entry.retryAfterMs = retryAfterMs;
}

/** How often each rule left something out; of very many rules the rest together. */
function sayRedacted(entry: MessageEntry | BatchEntry, redactions: readonly Redaction[]): void {
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

/** What must not stand in an entry either: the values that were found in the frame, wherever else they turn up. */
class Concealed {
  readonly #redactor: Redactor | undefined;
  readonly #found: FoundValues | undefined = undefined;
  readonly redactions: readonly Redaction[];
  /** To be looked for in the answer; `undefined` where nobody knows them all. */
  readonly values: readonly string[] | undefined;
  /** The frame was too long to be searched, or left out whole: whatever it says of itself may be what must not be stored. */
  readonly isBlind: boolean;
  /** Something was concealed in a field. */
  any = false;

  /** `found`: in the bytes, where `redactions` is what is left out of them for another reason. */
  constructor(redactor: Redactor | undefined, redactions: readonly Redaction[], bytes: Buffer | undefined, found: readonly Redaction[] = redactions) {
    this.#redactor = redactor;
    const [first] = found;
    this.isBlind = bytes === undefined || (first?.isBlind === true && first.start === 0 && first.end === bytes.length);
    this.redactions = redactions;
    if (bytes === undefined) this.values = redactor === undefined ? [] : undefined;
    else {
      this.#found = found.length > 0 ? new FoundValues(bytes, found) : undefined;
      this.values = found.length > 0 ? valuesOf(bytes, found) : [];
    }
  }

  /** Before it is cut: of a beginning nobody could say what it begins. `isAsked`: the request's entry says it already. */
  text(text: string, field: string, isCut = false, isAsked = false): string {
    if (this.#redactor === undefined) return text;
    const isUnknown = this.isBlind && !isAsked && field !== 'method' && !/^-?[\d.eE+-]+$/.test(text);
    const shown = isUnknown || this.hides(text, isCut) ? '[redacted]' : this.#redactor.clean(text, field === 'id' ? undefined : field);
    if (shown !== text) this.any = true;
    return shown;
  }

  /** A text that says what was found in the frame. */
  hides(text: string, isCut = text.endsWith('…')): boolean {
    return this.#found?.isIn(text, isCut || text.endsWith('…')) ?? false;
  }

  all(value: unknown, name: string): unknown {
    return this.#redactor === undefined ? value : this.#redactor.cleanAll(this.#without(value), name);
  }

  #without(value: unknown): unknown {
    if (typeof value === 'string') return this.hides(value) ? '[redacted]' : value;
    if (Array.isArray(value)) return value.map((item) => this.#without(item));
    if (typeof value === 'number') return this.hides(String(value)) ? null : value;
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [this.hides(name) ? '[redacted]' : name, this.#without(inner)]));
  }
}

/** Of a message that gets no entry. */
function concealedIn(bytes: Buffer | undefined, message: Message, considered: Considered, connection: Connection): Concealed {
  const known = knownTo(considered, connection);
  const redactor = redactorFor(known, considered, connection);
  const redactions =
    bytes === undefined || redactor === undefined
      ? []
      : known === undefined
        ? [wholeOf(0, bytes.length)]
        : redactor.ranges(bytes, 0, known, isJson(message));
  return new Concealed(redactor, redactions, bytes);
}

/** Step 4 for the entry: what it says of the message, and its place among the exchanges. */
function describe(
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
  const direction = names[frame.direction];
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

function finish(entry: MessageEntry | BatchEntry, frame: Frame, connection: Connection): void {
  if ((frame.unit.flags & unterminated) !== 0) entry.anomalies = [...(entry.anomalies ?? []), 'unterminated'];
  const { uncaptured } = connection;
  if (uncaptured[0] + uncaptured[1] > 0) entry.uncaptured = [uncaptured[0], uncaptured[1]];
  entry.delivered = [connection.delivered[0], connection.delivered[1]];
}

function append(
  entry: MessageEntry | BatchEntry,
  attributes: Attributes,
  frame: Frame,
  items: Stored['items'],
  effects: Partial<EffectFields>,
  connection: Connection,
  deps: RecordDeps,
  undo: () => void,
  isLastOfFrame: boolean,
  refusal?: Lines,
): void {
  const { direction, first, unit, message } = frame;
  if (refusal !== undefined) connection.hold(direction, first);
  const waiter = new FrameWaiter(connection, direction, first, unit.unit, message, effects, deps, undo, isLastOfFrame, refusal);
  deps.ledger.append(seal(entry, attributes, items), waiter, connection.wait === 'receipt' || refusal !== undefined ? urgent : lazy);
  // a disk that is known to refuse is waited for: `onUnrecordable` decides
  if (isLastOfFrame && deps.ledger.recordable) connection.judged(direction, unit.unit);
}

/** A request that waits for a person once it is durable; nothing from it on is passed before. */
function appendAsked(
  frame: Frame,
  message: Message,
  subject: Subject,
  { entry, attributes, isConcealed, undo }: ReturnType<typeof describe>,
  items: Stored['items'],
  index: number,
  connection: Connection,
  deps: RecordDeps,
): void {
  const { direction, first, unit, bytes } = frame;
  connection.hold(direction, first);
  const aside = { direction, first, last: unit.unit };
  const progress = progressTokenOf(bytes);
  const waiter = deps.approvals!.ask({ connection, entry, index, aside, id: message.id, isConcealed, items, subject, progress, undo });
  deps.ledger.append(seal(entry, attributes, items), waiter, urgent);
  if (deps.ledger.recordable) connection.judged(direction, unit.unit);
}

const urgent = { urgent: true };
const lazy = { urgent: false };

/** What we say in a message's place is a message, too (`origin: sworn`), and ends the exchange of a request: an entry for each side that is told, the sender's first. */
export function recordRefusal(
  refused: MessageEntry,
  index: number,
  { toSender, toReceiver }: Lines,
  isConcealed: boolean,
  connection: Connection,
  deps: RecordDeps,
): void {
  if (toSender.length > 0) recordAnswer(refused, index, toSender, true, isConcealed, connection, deps);
  if (toReceiver.length > 0) recordAnswer(refused, index, toReceiver, false, isConcealed, connection, deps);
}

function recordAnswer(
  refused: MessageEntry,
  index: number,
  line: Buffer,
  isAnswer: boolean,
  isConcealed: boolean,
  connection: Connection,
  deps: RecordDeps,
): void {
  const bytes = line.subarray(0, -1);
  const direction: Direction = isAnswer ? (refused.direction === 'c2s' ? 's2c' : 'c2s') : refused.direction;
  // what is a reply too is replaced for whoever waits for one: that ends another exchange than its own
  const isOther = !isAnswer && refused.type === 'request';
  const replaced = isOther ? connection.exchanges.place(readMessage(bytes) as Message, direction, index, 0, connection.scope) : undefined;
  const exchange = isOther ? replaced?.exchange : isAnswer ? (refused.type === 'request' ? index : undefined) : refused.exchange;
  // it repeats the id
  const stored = storedOf(bytes, isConcealed ? [{ start: 0, end: bytes.length, rule: 'repeated', keep: 'drop' }] : [], index, deps.findKey);
  const monotonicUs = deps.clock.monotonicUs();
  // of the other exchange its request says it
  const { method, target, era, effect, effectSource, sensitive, destructive }: Partial<MessageEntry> = isOther ? {} : refused;
  const entry: MessageEntry = {
    v: 1,
    kind: 'message',
    time: deps.clock.text(deps.clock.wallUs(monotonicUs)),
    monotonicUs,
    connection: connection.id,
    stream: refused.stream,
    seq: ++connection.seq,
    tapSeq: 0,
    direction,
    transport: connection.transport,
    server: refused.server,
    verdict: 'pass',
    ...(refused.rule === undefined ? {} : { rule: refused.rule }),
    ...(isConcealed ? { redacted: { repeated: 1 } } : {}),
    origin: 'sworn',
    sizeBytes: bytes.length,
    ...(refused.who === undefined ? {} : { who: refused.who }),
    ...(refused.session === undefined ? {} : { session: refused.session }),
    type: 'error',
    ...(refused.id === undefined ? {} : { id: refused.id }),
    ...(exchange === undefined ? {} : { exchange }),
    ...(method === undefined ? {} : { method }),
    ...(target === undefined ? {} : { target }),
    ...(era === undefined ? {} : { era }),
    ...(effect === undefined ? {} : { effect }),
    ...(effectSource === undefined ? {} : { effectSource }),
    ...(sensitive === undefined ? {} : { sensitive }),
    ...(destructive === undefined ? {} : { destructive }),
    outcome: 'error',
    code: (readMessage(bytes) as Message).code ?? 4030,
    segments: stored.hashes.length,
    commitment: commitment(stored.hashes),
    delivered: [connection.delivered[0], connection.delivered[1]],
  };
  const undoSeq = (): void => void connection.seq--;
  const unanswer = replaced === undefined && exchange === index ? connection.exchanges.answered(index) : nothing;
  const undo = (): void => {
    replaced?.undo();
    unanswer();
    undoSeq();
  };
  deps.ledger.append(seal(entry, {}, stored.items), { durable: nothing, undo }, urgent);
}

/**
 * `open` and `principal`, or only the second where an earlier recorder died between the two. If they cannot be stored, the next frame tries again.
 * `essential`: a `close` follows, which must not stand without them.
 */
export function recordOpening(connection: Connection, deps: RecordDeps, essential = false): void {
  // It would be refused, but only later: a `close` that comes before must not take it for recorded.
  if (!essential && !deps.ledger.recordable) return;
  const { open, openAttributes, principal, principalAttributes } = deps.openingOf(connection);
  const options = { urgent: connection.wait === 'receipt', essential };
  if (!connection.isRecorded) {
    connection.isRecorded = true;
    deps.ledger.append(seal(open, openAttributes), { durable: () => undefined, undo: () => void (connection.isRecorded = false) }, options);
  }
  // behind a proxy each frame says whose it is
  if (connection.transport === 'http') return;
  connection.who = deps.ledger.nextIndex;
  deps.ledger.append(seal(principal, principalAttributes), { durable: () => undefined, undo: () => void (connection.who = undefined) }, options);
}

/** `principal` of somebody whom a proxy named. If it cannot be stored, their next frame tries again. */
function recordPrincipal(principal: NamedPrincipal, connection: Connection, deps: RecordDeps): void {
  const { entry, attributes } = deps.http!.principalOf(principal, connection);
  principal.index = deps.ledger.nextIndex;
  const undo = (): void => void (principal.index = undefined);
  deps.ledger.append(seal(entry, attributes), { durable: () => undefined, undo }, { urgent: connection.wait === 'receipt' });
}

/** `recovery` with `resumed`. If it cannot be stored, whatever comes next of the connection tries again first, so that nothing stands behind a `close` without it. */
export function recordReturn(connection: Connection, deps: RecordDeps, essential = false): void {
  if (!essential && !deps.ledger.recordable) return;
  connection.isReturnDue = false;
  const monotonicUs = deps.clock.monotonicUs();
  const entry: RecoveryEntry = {
    v: 1,
    kind: 'recovery',
    time: deps.clock.text(deps.clock.wallUs(monotonicUs)),
    monotonicUs,
    reason: 'resumed',
    connection: connection.id,
  };
  const options = { urgent: connection.wait === 'receipt', essential };
  deps.ledger.append(seal(entry), { durable: () => undefined, undo: () => void (connection.isReturnDue = true) }, options);
}
