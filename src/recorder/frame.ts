/**
 * Frames as they come from a tap: whole in one unit, or in several. A long frame streams through, unit by unit, unless something must see all of it
 * first: then it is held, up to `limits.judgeBytes`.
 *
 * What must stay true: no unit of a frame that may still be refused, or that may hold what must not be stored, is passed on or written before the whole
 * was looked at.
 */
import type { Hasher } from '../bytes/crypto.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { segmentHash } from '../entry/commitment.ts';
import type { Direction } from '../entry/entry.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { PartRecord } from '../ledger/segment.ts';
import { frameUnits, judgeBytes, peekBytes } from '../limits.ts';
import { MessageReader, readMessage, type Batch, type Message } from '../mcp/message.ts';
import { bare, held, moreUnits, type DirectionIndex, type FrameUnit } from '../wire/wire.ts';
import { TurnWaiter, unrecordable } from './answer.ts';
import type { Clock } from './clock.ts';
import type { Connection, LongFrame } from './connection.ts';
import { salt, segmentOf } from './seal.ts';
import type { Stored } from './store.ts';

/** Directions by their index. */
export const directions: readonly [Direction, Direction] = ['c2s', 's2c'];

/** A frame as it is about to be recorded: below the hot path its bytes are not used any more. */
export interface Frame {
  direction: DirectionIndex;
  unit: FrameUnit;
  /** The tap's clock at its first byte. */
  seenUs: number;
  message: Message | Batch;
  sizeBytes: number;
  units: number;
  /** The first of its units that nothing was said of yet: whatever is said of the frame is said of them all. */
  first: number;
  /** Absent for a frame that streamed through, which was never whole in memory, unless it may be a list of tools, and for one that is too long. */
  bytes: Buffer | undefined;
  /** Of a frame that streamed through: what is in the ledger of it. */
  streamed?: Stored;
  /** Longer than `limits.judgeBytes`, where all of it had to be seen: the hash of its content, of which nothing is kept. */
  tooLarge?: Uint8Array;
  /** It has not been delivered, and can be refused. */
  refusable: boolean;
}

interface Deps {
  ledger: Ledger;
  clock: Clock;
}

/** What the policy in force asks of a frame before any of it is passed on or stored. */
export interface Sight {
  whole: boolean;
  mayRefuse: boolean;
}

export function frameOf(unit: FrameUnit, connection: Connection, sight: Sight, deps: Deps): Frame | undefined {
  const isLong = connection.long[unit.direction] !== undefined || (unit.flags & moreUnits) !== 0;
  if (isLong) return gather(unit, connection, sight, deps);
  const { direction, seenUs, bytes } = unit;
  return {
    direction,
    unit,
    seenUs,
    message: (unit.flags & bare) === 0 ? readMessage(bytes) : { type: 'opaque', anomalies: [] },
    sizeBytes: bytes.length,
    units: 1,
    first: unit.unit,
    bytes,
    refusable: isRefusable(unit, connection),
  };
}

/** A tap that was told to wait for nothing has delivered what it handed over. */
function isRefusable(unit: FrameUnit, connection: Connection): boolean {
  return connection.opened.mode === 'commit' || !connection.hasDelivered((unit.flags & held) !== 0, unit.seenUs);
}

/**
 * One unit of a long frame. When it streams, all but the last are stored as parts, each settled when it is durable; the last is stored with the frame's entry,
 * so that no recorder can take the frame for complete whose entry is missing. Returns the frame with its last unit, if every part could be stored.
 */
function gather(unit: FrameUnit, connection: Connection, sight: Sight, deps: Deps): Frame | undefined {
  const { direction } = unit;
  const long = (connection.long[direction] ??= newLongFrame(unit, connection, sight, mayListTools(direction, connection)));
  long.reader.push(unit.bytes);
  long.sizeBytes += unit.bytes.length;
  long.units++;
  const isLast = (unit.flags & moreUnits) === 0;
  if (long.whole) {
    if (!isLast) {
      hold(unit, long, connection, deps);
      return undefined;
    }
  } else {
    if (long.sizeBytes <= peekBytes) long.kept?.push(unit.bytes);
    else long.kept = undefined;
    if (long.units > frameUnits) {
      long.failed = true;
      long.hashes.length = 0;
      long.items.length = 0;
    }
    if (!isLast) {
      if (long.failed) unrecordable(connection, direction, unit.unit, undefined, {}, deps);
      else storePart(unit, long, connection, deps);
      return undefined;
    }
  }
  connection.long[direction] = undefined;
  const message = long.reader.end();
  const { sizeBytes, units } = long;
  const common = { direction, unit, seenUs: long.seenUs, message, sizeBytes, units, first: unit.unit, refusable: long.refusable };
  if (long.whole) {
    // what was let go was answered as it came
    const first = long.kept === undefined ? unit.unit : unit.unit - units + 1;
    if (sizeBytes > judgeBytes) return { ...common, first, bytes: undefined, tooLarge: letGo(long, unit.bytes).digest() };
    return { ...common, first, bytes: Buffer.concat([...(long.kept ?? []), unit.bytes]) };
  }
  if (long.failed) {
    connection.lose(direction, 'unrecordable', deps.clock.wallUs());
    unrecordable(connection, direction, unit.unit, message, {}, deps);
    return undefined;
  }
  const { item, hash } = segmentOf(unit.bytes);
  return {
    ...common,
    bytes: long.kept && Buffer.concat(long.kept),
    streamed: { hashes: [...long.hashes, hash], items: [...long.items, item] },
  };
}

/**
 * Keeps a unit of a frame that must be seen whole. Beyond the bound nothing of the frame is kept: where it can be refused it is, from its first unit on;
 * otherwise its units are settled as they come, so that the tap does not wait for ever with a full window.
 */
function hold(unit: FrameUnit, long: LongFrame, connection: Connection, deps: Deps): void {
  const { direction } = unit;
  if (long.sizeBytes <= judgeBytes) {
    long.kept?.push(unit.bytes);
    return;
  }
  const from = long.kept === undefined ? unit.unit : unit.unit - long.units + 1;
  letGo(long, unit.bytes);
  const settle = (): void => {
    for (let one = from; one <= unit.unit; one++) {
      if (!long.refusable) connection.settle(direction, one);
      else connection.refuse({ direction, unit: one, toSender: Buffer.alloc(0), toReceiver: Buffer.alloc(0) });
    }
  };
  if (long.refusable) connection.hold(direction, from);
  deps.ledger.follow(new TurnWaiter(settle), { urgent: connection.wait === 'receipt' });
}

/** Of a frame that is too long only its hash goes on, under a salt that nobody keeps. */
function letGo(long: LongFrame, bytes: Buffer): Hasher {
  long.hasher ??= nodeCrypto.hasher().update(Uint8Array.of(2)).update(salt());
  for (const kept of long.kept ?? []) long.hasher.update(kept);
  long.kept = undefined;
  return long.hasher.update(bytes);
}

function newLongFrame(unit: FrameUnit, connection: Connection, { whole, mayRefuse }: Sight, keep: boolean): LongFrame {
  return {
    reader: new MessageReader(),
    hashes: [],
    items: [],
    sizeBytes: 0,
    units: 0,
    seenUs: unit.seenUs,
    failed: false,
    whole,
    refusable: mayRefuse && isRefusable(unit, connection),
    kept: keep || whole ? [] : undefined,
    hasher: undefined,
  };
}

/** Definitions are read from the whole list, and a list may be long. */
function mayListTools(direction: DirectionIndex, connection: Connection): boolean {
  for (const request of connection.exchanges.pending())
    if (request.method === 'tools/list' && request.direction !== (direction === 0 ? 'c2s' : 's2c')) return true;
  return false;
}

function storePart(unit: FrameUnit, long: LongFrame, connection: Connection, deps: Deps): void {
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
        unrecordable(connection, direction, unit.unit, undefined, {}, deps);
      },
    },
    { urgent: connection.wait === 'receipt' },
  );
  long.hashes.push(hash);
  long.items.push({ state: 'part', hash, sizeBytes: unit.bytes.length, ...place });
  connection.judged(direction, unit.unit);
}

/** A part that an earlier recorder stored, and passed, so its frame is refused no more: scanned again, so that its frame goes on as if all of it had arrived here. Parts come in order. */
export function resumeLong(connection: Connection, part: PartRecord, file: number, offset: number, seenUs: number): void {
  const { direction, unit, bytes } = part;
  if (unit !== connection.taken[direction] + 1) return;
  connection.taken[direction] = unit;
  connection.settle(direction, unit);
  const first: FrameUnit = { direction, flags: 0, stream: 0, unit, delivered: [0, 0], seenUs, bytes };
  const long = (connection.long[direction] ??= newLongFrame(first, connection, { whole: false, mayRefuse: false }, false));
  const hash = segmentHash(nodeCrypto, part.salt, bytes);
  long.reader.push(bytes);
  long.sizeBytes += bytes.length;
  long.units++;
  long.hashes.push(hash);
  long.items.push({ state: 'part', hash, sizeBytes: bytes.length, file, offset });
}
