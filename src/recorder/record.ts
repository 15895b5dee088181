/**
 * ★ The whole life of one frame in the recorder, read from top to bottom: parse a copy → pair → judge → redact → commit → append → answer.
 *
 * What must stay true:
 *   1. No answer that lets a frame through before its entry is durable (mode `commit`), or judged (`observe` while a rule can block).
 *   2. Everything up to `append` is synchronous: order of arrival is order in the ledger, and `nextIndex` is the entry's own index.
 *   3. What cannot be parsed is recorded all the same, as it came.
 *   4. What cannot be recorded changes nothing: pairing and counters go back to what they were, last frame first.
 * If we die anywhere in here: before the append is durable nobody was answered, and the tap sends the frame again to the next recorder; after it, the
 * next recorder finds the entry and tells the tap so.
 */
import { nodeCrypto } from '../crypto-node.ts';
import { segmentHash } from '../entry/commitment.ts';
import type { Anomaly, BatchEntry, Direction, MessageEntry, OpenEntry, PrincipalEntry, RecoveryEntry } from '../entry/entry.ts';
import type { Ledger, Receipt, Waiter } from '../ledger/ledger.ts';
import type { ContentItem, PartRecord } from '../ledger/segment.ts';
import { frameUnits, idBytes, methodBytes, peekBytes, shortTextBytes, targetBytes } from '../limits.ts';
import { bounded, schemeOf } from '../mcp/bounded.ts';
import { effectOf, readToolDefinitions } from '../mcp/effect.ts';
import { MessageReader, readMessage, type Batch, type Message } from '../mcp/message.ts';
import { readNames } from '../mcp/names.ts';
import { passes, type Verdict } from '../policy/verdict.ts';
import { notRecorded, refusalLine, replyWithheld } from '../wire/refusal.ts';
import { moreUnits, unterminated, type DirectionIndex, type FrameUnit } from '../wire/wire.ts';
import type { Clock } from './clock.ts';
import type { Connection, LongFrame } from './connection.ts';
import { commitment, salt, seal, segmentOf, type Attributes } from './seal.ts';

export interface RecordDeps {
  ledger: Ledger;
  clock: Clock;
  /** `open` and `principal` of a connection, built when its first frame can be recorded. */
  openingOf(connection: Connection): { open: OpenEntry; openAttributes: Attributes; principal: PrincipalEntry; principalAttributes: Attributes };
}

/** A batch as recovery found it, and the first of its items that has no entry. */
export interface UnfinishedBatch {
  index: number;
  entry: BatchEntry;
  batch: Batch;
  bytes: Buffer;
  next: number;
}

const names: readonly [Direction, Direction] = ['c2s', 's2c'];
const nothing = Buffer.alloc(0);

/** A frame as it is about to be recorded: its bytes are committed to, and not used below that any more. */
interface Frame {
  direction: DirectionIndex;
  unit: FrameUnit;
  /** The tap's clock at its first byte. */
  seenUs: number;
  message: Message | Batch;
  sizeBytes: number;
  units: number;
  hashes: Uint8Array[];
  items: readonly ContentItem[];
  /** Absent for a frame of several units, which was never whole in memory, unless it may be a list of tools. */
  bytes: Buffer | undefined;
}

/** Takes one unit from a tap. Answers go out later, through the connection, when the ledger has flushed. */
export function record(unit: FrameUnit, connection: Connection, deps: RecordDeps): void {
  const { direction } = unit;
  // A tap that came back sends again what it does not know to be settled.
  if (unit.unit <= connection.taken[direction]) return;
  // Units that never came were settled without a recorder, the rest of a frame that was arriving among them: what comes now is another frame.
  if (unit.unit !== connection.taken[direction] + 1) connection.long[direction] = undefined;
  connection.taken[direction] = unit.unit;
  if (unit.delivered[0] > connection.delivered[0]) connection.delivered[0] = unit.delivered[0];
  if (unit.delivered[1] > connection.delivered[1]) connection.delivered[1] = unit.delivered[1];

  // 0. The connection's own entries come first; they wait here while the disk is full.
  if (connection.isReturnDue) recordReturn(connection, deps);
  if (!connection.isRecorded || connection.who === undefined) recordOpening(connection, deps);

  // 1. Parse a copy. A frame of several units is scanned and stored unit by unit: it is never whole in memory.
  const frame = connection.long[direction] !== undefined || (unit.flags & moreUnits) !== 0 ? gather(unit, connection, deps) : whole(unit);
  if (frame === undefined) return;
  if (frame.message.type === 'batch') recordBatch(frame, frame.message, connection, deps);
  else recordMessage(frame, frame.message, connection, deps);
}

function whole(unit: FrameUnit): Frame {
  const { item, hash } = segmentOf(unit.bytes);
  return {
    direction: unit.direction,
    unit,
    seenUs: unit.seenUs,
    message: readMessage(unit.bytes),
    sizeBytes: unit.bytes.length,
    units: 1,
    hashes: [hash],
    items: [item],
    bytes: unit.bytes,
  };
}

/**
 * One unit of a long frame. All but the last are stored as parts, each settled when it is durable; the last is stored with the frame's entry, so that no
 * recorder can take the frame for complete whose entry is missing. Returns the frame with its last unit, if every part could be stored.
 */
function gather(unit: FrameUnit, connection: Connection, deps: RecordDeps): Frame | undefined {
  const { direction } = unit;
  const long = (connection.long[direction] ??= newLongFrame(unit.seenUs, mayListTools(direction, connection)));
  long.reader.push(unit.bytes);
  long.sizeBytes += unit.bytes.length;
  long.units++;
  if (long.sizeBytes <= peekBytes) long.kept?.push(unit.bytes);
  else long.kept = undefined;
  if (long.units > frameUnits) {
    long.failed = true;
    long.hashes.length = 0;
    long.items.length = 0;
  }
  const isLast = (unit.flags & moreUnits) === 0;
  if (!isLast) {
    if (long.failed) unrecordable(connection, direction, unit.unit, undefined, deps);
    else storePart(unit, long, connection, deps);
    return undefined;
  }
  connection.long[direction] = undefined;
  const message = long.reader.end();
  if (long.failed) {
    connection.lose(direction, 'unrecordable', deps.clock.wallUs());
    unrecordable(connection, direction, unit.unit, message, deps);
    return undefined;
  }
  const { item, hash } = segmentOf(unit.bytes);
  const hashes = [...long.hashes, hash];
  return {
    direction,
    unit,
    seenUs: long.seenUs,
    message,
    sizeBytes: long.sizeBytes,
    units: long.units,
    hashes,
    items: [...long.items, item],
    bytes: long.kept && Buffer.concat(long.kept),
  };
}

function newLongFrame(seenUs: number, keep = false): LongFrame {
  return { reader: new MessageReader(), hashes: [], items: [], sizeBytes: 0, units: 0, seenUs, failed: false, kept: keep ? [] : undefined };
}

/** Definitions are read from the whole list, and a list may be long. */
function mayListTools(direction: DirectionIndex, connection: Connection): boolean {
  for (const request of connection.exchanges.pending()) if (request.method === 'tools/list' && request.direction !== names[direction]) return true;
  return false;
}

function storePart(unit: FrameUnit, long: LongFrame, connection: Connection, deps: RecordDeps): void {
  const { direction } = unit;
  const fresh = salt();
  const hash = segmentHash(nodeCrypto, fresh, unit.bytes);
  const place = deps.ledger.appendPart(
    { connection: connection.id, direction, unit: unit.unit, salt: fresh, bytes: unit.bytes },
    {
      durable: () => connection.settle(direction, unit.unit),
      // If the disk is full here, earlier units were delivered: the tap ends the line, and the receiver has no message.
      failed: () => {
        long.failed = true;
        unrecordable(connection, direction, unit.unit, undefined, deps);
      },
    },
    { urgent: connection.wait === 'receipt' },
  );
  long.hashes.push(hash);
  long.items.push({ state: 'part', hash, sizeBytes: unit.bytes.length, ...place });
  connection.judged(direction, unit.unit);
}

/** A part that an earlier recorder stored: scanned again, so that its frame goes on as if all of it had arrived here. Parts come in order. */
export function resumeLong(connection: Connection, part: PartRecord, file: number, offset: number, seenUs: number): void {
  const { direction, unit, bytes } = part;
  if (unit !== connection.taken[direction] + 1) return;
  connection.taken[direction] = unit;
  connection.settle(direction, unit);
  const long = (connection.long[direction] ??= newLongFrame(seenUs));
  const hash = segmentHash(nodeCrypto, part.salt, bytes);
  long.reader.push(bytes);
  long.sizeBytes += bytes.length;
  long.units++;
  long.hashes.push(hash);
  long.items.push({ state: 'part', hash, sizeBytes: bytes.length, file, offset });
}

function recordMessage(frame: Frame, message: Message, connection: Connection, deps: RecordDeps): void {
  const { entry, attributes, undo } = describe(frame, message, connection, deps);
  // 5. Commit: the frame's bytes are in the entry only as a commitment.
  entry.segments = frame.hashes.length;
  entry.commitment = commitment(frame.hashes);
  if (frame.units > 1) entry.parts = frame.units;
  finish(entry, frame, connection);
  // 6. Append, and 7. answer once it is durable.
  append(entry, attributes, frame, frame.items, connection, deps, undo, true);
}

/** A batch (2025-03-26): one entry for the frame, then one for each item that points at it. */
function recordBatch(frame: Frame, batch: Batch, connection: Connection, deps: RecordDeps): void {
  const index = deps.ledger.nextIndex;
  const { entry: common, undo } = begin(frame, batch.anomalies, connection, deps);
  const entry: BatchEntry = {
    ...common,
    kind: 'batch',
    items: batch.items.length,
    segments: frame.hashes.length,
    commitment: commitment(frame.hashes),
  };
  finish(entry, frame, connection);
  append(entry, {}, frame, frame.items, connection, deps, undo, false);
  recordItems(frame, batch, index, 0, connection, deps);
}

function recordItems(frame: Frame, batch: Batch, index: number, from: number, connection: Connection, deps: RecordDeps): void {
  for (const [item, { message, range }] of batch.items.entries()) {
    if (item < from) continue;
    const described = describe(frame, message, connection, deps, range);
    Object.assign(described.entry, { batch: index, item, range, sizeBytes: range[1] - range[0] });
    finish(described.entry, frame, connection);
    append(described.entry, described.attributes, frame, [], connection, deps, described.undo, item === batch.items.length - 1);
  }
}

/** A crash cut off the entries of a batch's last items: the batch counts as recorded, so they are added from its bytes. */
export function finishBatch({ index, entry, batch, bytes, next }: UnfinishedBatch, connection: Connection, deps: RecordDeps): void {
  const direction = entry.direction === 'c2s' ? 0 : 1;
  const delivered = entry.delivered ?? [0, 0];
  const unit: FrameUnit = { direction, flags: 0, stream: entry.stream, unit: entry.tapSeq, delivered, seenUs: entry.monotonicUs, bytes };
  const frame: Frame = { direction, unit, seenUs: unit.seenUs, message: batch, sizeBytes: bytes.length, units: 1, hashes: [], items: [], bytes };
  recordItems(frame, batch, index, next, connection, deps);
}

/** The fields that every frame's entry begins with. Order of fields is order in the ledger's lines. */
function begin(
  frame: Frame,
  anomalies: readonly Anomaly[],
  connection: Connection,
  deps: RecordDeps,
): { entry: Omit<BatchEntry, 'kind' | 'items'>; undo: () => void } {
  const monotonicUs = deps.clock.monotonicUs();
  const entry = {
    v: 1 as const,
    kind: 'message' as const,
    time: deps.clock.text(deps.clock.wallUs(monotonicUs)),
    monotonicUs,
    connection: connection.id,
    stream: frame.unit.stream,
    seq: ++connection.seq,
    tapSeq: frame.unit.unit,
    direction: names[frame.direction],
    transport: 'stdio' as const,
    server: connection.opened.server,
    verdict: 'pass' as const,
    origin: frame.direction === 0 ? ('client' as const) : ('server' as const),
    sizeBytes: frame.sizeBytes,
    ...(connection.who === undefined ? {} : { who: connection.who }),
    ...(anomalies.length > 0 ? { anomalies: [...anomalies] } : {}),
  };
  return { entry, undo: () => void connection.seq-- };
}

/** Steps 2 to 4 for one message: pair, judge, redact; and what the entry says of it. */
function describe(
  frame: Frame,
  message: Message,
  connection: Connection,
  deps: RecordDeps,
  range?: [number, number],
): { entry: MessageEntry; attributes: Attributes; undo: () => void } {
  const index = deps.ledger.nextIndex;
  const direction = names[frame.direction];
  const begun = begin(frame, message.anomalies, connection, deps);
  const entry = begun.entry as MessageEntry;
  const attributes: Attributes = {};
  const truncated: string[] = [];
  entry.type = message.type;

  // 2. Pair a reply with its request; a request learns its effect, which its reply repeats.
  const placement = connection.exchanges.place(message, direction, index, frame.seenUs, frame.unit.stream);
  const isReply = message.type === 'result' || message.type === 'error';
  const request = isReply ? placement.request : undefined;
  if (message.type === 'request') {
    const effects = effectOf(message, connection.tools, connection.overrides);
    if (placement.request) placement.request.effects = effects;
    Object.assign(entry, effects);
  } else if (request?.effects) Object.assign(entry, request.effects);

  // 3. Judge: before redaction, on exactly the bytes that would be delivered.
  const verdict: Verdict = passes;
  entry.verdict = verdict.kind;
  if (verdict.rule !== undefined) entry.rule = verdict.rule;

  // 4. Redact: nothing is sensitive yet, so the frame stays one segment for each unit.

  if (placement.exchange !== undefined) entry.exchange = placement.exchange;
  if (placement.anomalies.length > 0) entry.anomalies = [...(entry.anomalies ?? []), ...placement.anomalies];
  if (message.id !== undefined) {
    entry.id = bounded(message.id, idBytes);
    if (entry.id !== message.id) {
      truncated.push('id');
      attributes['id'] = message.id;
    }
  }
  const { method, target } = message;
  if (method !== undefined) {
    entry.method = bounded(method, methodBytes);
    if (entry.method !== method) {
      truncated.push('method');
      attributes['method'] = method;
    }
  }
  if (target !== undefined) {
    // of a resource only the scheme: a URI may hold names, paths and tokens
    entry.target = bounded(target.kind === 'resource' ? schemeOf(target.value) : target.value, targetBytes);
    if (entry.target !== target.value) {
      if (target.kind !== 'resource') truncated.push('target');
      attributes['target'] = target.value;
    }
  }
  // as the request's entry has them; it also has them whole
  if (request?.method !== undefined) entry.method = request.method;
  if (request?.target !== undefined) entry.target = request.target.value;
  const era = isReply ? request?.era : message.era;
  if (era !== undefined) entry.era = era;
  if (message.protocolVersion !== undefined && (!isReply || request?.method === 'initialize')) {
    entry.protocolVersion = bounded(message.protocolVersion, shortTextBytes);
  }
  if (isReply) {
    if (message.outcome !== undefined) entry.outcome = message.outcome;
    if (message.code !== undefined) entry.code = message.code;
    if (message.resultType !== undefined) entry.resultType = bounded(message.resultType, shortTextBytes);
    if (request !== undefined) {
      entry.durationUs = Math.max(0, frame.seenUs - request.seenUs);
      if (request.call !== undefined && request.call !== entry.exchange) entry.call = request.call;
    }
  }
  if (truncated.length > 0) entry.truncated = truncated;
  const bytes = range === undefined ? frame.bytes : frame.bytes?.subarray(...range);
  if (bytes !== undefined) learn(bytes, message, request?.method, connection, attributes);
  return {
    entry,
    attributes,
    undo: () => {
      placement.undo();
      begun.undo();
    },
  };
}

/** What a message tells about the two sides: names (once for each), and tool definitions. */
export function learn(bytes: Buffer, message: Message, requestMethod: string | undefined, connection: Connection, attributes: Attributes): void {
  if (message.type === 'request' && !connection.namedClient && (message.method === 'initialize' || message.era === 'modern')) {
    const { clientInfo, capabilities } = readNames(bytes);
    if (clientInfo !== undefined) {
      connection.namedClient = true;
      attributes['clientInfo'] = clientInfo;
      if (capabilities !== undefined) attributes['capabilities'] = capabilities;
    }
  } else if (message.type === 'result' && !connection.namedServer && (requestMethod === 'initialize' || requestMethod === 'server/discover')) {
    const { serverInfo, capabilities } = readNames(bytes);
    if (serverInfo !== undefined) {
      connection.namedServer = true;
      attributes['serverInfo'] = serverInfo;
      if (capabilities !== undefined) attributes['capabilities'] = capabilities;
    }
  }
  if (message.type === 'result' && requestMethod === 'tools/list') connection.tools.add(readToolDefinitions(bytes));
}

function finish(entry: MessageEntry | BatchEntry, frame: Frame, connection: Connection): void {
  if ((frame.unit.flags & unterminated) !== 0) entry.anomalies = [...(entry.anomalies ?? []), 'unterminated'];
  entry.delivered = [connection.delivered[0], connection.delivered[1]];
}

function append(
  entry: MessageEntry | BatchEntry,
  attributes: Attributes,
  frame: Frame,
  items: readonly ContentItem[],
  connection: Connection,
  deps: RecordDeps,
  undo: () => void,
  isLastOfFrame: boolean,
): void {
  const { direction, unit, message } = frame;
  const waiter = new FrameWaiter(connection, direction, unit.unit, message, deps, undo, isLastOfFrame);
  deps.ledger.append(seal(entry, attributes, items), waiter, connection.wait === 'receipt' ? urgent : lazy);
  if (isLastOfFrame) connection.judged(direction, unit.unit);
}

const urgent = { urgent: true };
const lazy = { urgent: false };

/**
 * Waits for an entry of a frame. Thousands of these live at once while the disk is slow: it holds what an answer needs and not the frame, whose bytes
 * would keep the whole chunk in memory that they came in.
 */
class FrameWaiter implements Waiter {
  readonly #connection: Connection;
  readonly #direction: DirectionIndex;
  readonly #unit: number;
  readonly #message: Message | Batch;
  readonly #deps: RecordDeps;
  readonly #isLastOfFrame: boolean;
  readonly undo: () => void;

  constructor(
    connection: Connection,
    direction: DirectionIndex,
    unit: number,
    message: Message | Batch,
    deps: RecordDeps,
    undo: () => void,
    isLastOfFrame: boolean,
  ) {
    this.#connection = connection;
    this.#direction = direction;
    this.#unit = unit;
    this.#message = message;
    this.#deps = deps;
    this.#isLastOfFrame = isLastOfFrame;
    this.undo = undo;
  }

  durable(receipt: Receipt | undefined): void {
    if (this.#isLastOfFrame) this.#connection.settle(this.#direction, this.#unit, receipt);
  }

  failed(): void {
    if (!this.#isLastOfFrame) return;
    this.#connection.lose(this.#direction, 'unrecordable', this.#deps.clock.wallUs());
    unrecordable(this.#connection, this.#direction, this.#unit, this.#message, this.#deps);
  }
}

/** The disk would not take a unit: `onUnrecordable` decides. Passing counts as settled, without a receipt. */
function unrecordable(connection: Connection, direction: DirectionIndex, unit: number, message: Message | Batch | undefined, deps: RecordDeps): void {
  if (connection.opened.onUnrecordable === 'pass') {
    connection.settle(direction, unit);
    return;
  }
  const toSender: Buffer[] = [];
  const toReceiver: Buffer[] = [];
  const reason = deps.ledger.recordable ? 'the entry could not be written' : "the ledger's disk cannot be written";
  for (const item of message === undefined ? [] : message.type === 'batch' ? message.items.map((one) => one.message) : [message]) {
    if (item.id === undefined || item.id === 'null') continue;
    if (item.type === 'request') toSender.push(refusalLine(item.id, notRecorded(reason)));
    else if (item.type === 'result' || item.type === 'error') toReceiver.push(refusalLine(item.id, replyWithheld(reason)));
  }
  connection.refuse({
    direction,
    unit,
    toSender: toSender.length > 0 ? Buffer.concat(toSender) : nothing,
    toReceiver: toReceiver.length > 0 ? Buffer.concat(toReceiver) : nothing,
  });
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
  connection.who = deps.ledger.nextIndex;
  deps.ledger.append(seal(principal, principalAttributes), { durable: () => undefined, undo: () => void (connection.who = undefined) }, options);
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
