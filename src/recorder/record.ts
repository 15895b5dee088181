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
import type { BatchEntry, CaptureLevel, MessageEntry } from '../entry/entry.ts';
import type { EffectFields } from '../mcp/effect.ts';
import type { Batch, Message } from '../mcp/message.ts';
import { asks, type Subject } from '../policy/match.ts';
import { apart, batchRanges, wholeOf, type Redaction, type Redactor } from '../policy/redact.ts';
import { count } from '../policy/session.ts';
import type { Verdict } from '../policy/verdict.ts';
import type { FrameUnit, Head } from '../wire/wire.ts';
import { answerableId, FrameWaiter, linesFor, TurnWaiter } from './answer.ts';
import { progressTokenOf } from './asking.ts';
import { Concealed, concealedIn, isJson, knownTo, redactorFor } from './concealed.ts';
import type { Connection } from './connection.ts';
import { consider, considerBatch, sayNotSent, type Considered } from './considered.ts';
import { begin, describe, finish, keepsContent, learn, sayRedacted, sayVerdict } from './describe.ts';
import { frameOf, directions, type Frame } from './frame.ts';
import { credentialsIn } from './http.ts';
import { joined, type Lines } from './lines.ts';
import { recordOpening, recordPrincipal, recordRefusal, recordReturn } from './own-entries.ts';
import type { RecordDeps } from './record-deps.ts';
import { refuseUnrecorded } from './refuse-unrecorded.ts';
import { commitment, seal, type Attributes } from './seal.ts';
import { storedOf, type Stored } from './store.ts';

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

/** A longer frame would keep other connections waiting. */
const searchedHereBytes = 256 * 1024;

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
  const placement = connection.exchanges.place(message, directions[direction], deps.ledger.nextIndex, frame.seenUs, connection.scope);
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
