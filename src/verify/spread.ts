/**
 * A ledger that is checked in ranges of entries, each by whoever has a processor to spare, and put together in order (`verifier.ts`).
 *
 * A range is read by the very code of the sequential pass: the same bundles, tiles, leaves, records, commitments. What it cannot judge alone, because it
 * depends on entries before the range, it hands on as facts: what `Sequences`, `Keys`, `Anchors` and `Erasures` need of each entry, the root of each bundle,
 * and parts of frames that stand on the other side of its borders. These rules run in one thread, over all entries in order.
 *
 * What must stay true: ranges are only a faster proof that nothing is wrong. Anything odd in one of them (any finding at all, an error, a thread that died) or
 * in what is put together (any finding above a warning) discards everything, and the sequential pass decides and reports. So it is enough that ranges which
 * are not odd imply what the sequential pass would have found:
 * - Every full bundle below the last entry is in exactly one range, and its root is that of leaves which were read and judged there. All inner nodes, every
 *   tile above the lowest, and the signed root follow from these roots.
 * - Every record is in exactly one range: a range begins in its segment where the one before it ended, byte for byte (`from`, `to`), or at the segment's
 *   beginning when the one before it has read everything before that. Bytes that a range goes over unread are read by another.
 * - The last bundle, and whatever is behind the checkpoint, is left to the sequential pass, which goes on from here.
 */
import type { Crypto } from '../bytes/crypto.ts';
import type { Entry } from '../entry/entry.ts';
import { tileWidth } from '../limits.ts';
import type { Tile } from '../tlog/tile.ts';
import { hashBytes, rootOfHashes } from '../tlog/tree.ts';
import type { List } from './erasures.ts';
import type { SeenMessage, SeenPrincipal } from './seen.ts';
import type { SegmentName } from './source.ts';

/** Entries [first, end), both multiples of 256. */
export interface RangeTask {
  first: number;
  end: number;
  /** Memory of facts that were taken, to be used again: left to the collector it would pile up. */
  spare?: ArrayBuffer;
}

/** What every range of a ledger must know. Plain data: it is sent to other threads. */
export interface RangeCommon {
  /** Under the checkpoint. */
  size: number;
  ledgerId: string;
  /** Payload segments, or none where content is not read. */
  names: SegmentName[] | undefined;
  /** The first entry that is there: those below were pruned. */
  begin: number;
  /** Bundle whose leaf hashes are wanted, for a root that was known inside it. */
  wantedBlock: number | undefined;
}

/** Where a reader of the payload last stopped: behind the record before that of entry `index`. */
export interface Cursor {
  /** The segment, by its first index. */
  segment: number;
  index: number;
  offset: number;
}

/** A part record, as far as its frame's entry needs it. */
export interface StoredPart {
  /** Absent when it was erased: its entry still names it. */
  hash: Uint8Array | undefined;
  /** It is encrypted and cannot be opened. */
  unopened?: boolean;
  sizeBytes: number;
  connection: string;
  direction: 'c2s' | 's2c';
  unit: number;
}

/** A list of items of which something is erased. */
export interface Lacking {
  index: number;
  list: List;
  kept: number;
  erased: number[];
}

/** A list of items that names parts which no record of its range holds. Its commitment was judged with the hashes that it names. */
export interface Waiting extends Lacking {
  leaf: Uint8Array;
  count: number;
  parts: { k: number; key: string; hash: Uint8Array; sizeBytes: number }[];
}

/** What a range says when nothing in it is odd. Plain data. */
export interface RangeFacts extends Pick<RangeTask, 'first' | 'end'> {
  /** `rowColumns` numbers for each entry. */
  rows: Float64Array;
  /** Names of connections, which rows refer to by position. */
  connections: string[];
  /** Leaves that the rules must read themselves. */
  leaves: Uint8Array;
  /** The root of each bundle, one after another. */
  roots: Uint8Array;
  /** Leaf hashes of the bundle that was wanted, when it is in this range. */
  wanted: Uint8Array | undefined;
  lacking: Lacking[];
  waiting: Waiting[];
  /** Parts that no entry of this range names. */
  parts: [string, StoredPart][];
  /** Offsets in the segments of the first entry and of the last; absent at a segment's beginning, and at its end. */
  from: number | undefined;
  to: number | undefined;
  contentBytes: number;
  neverStored: number;
  dropped: number;
  firstDropped: number | undefined;
}

export interface Spread {
  /** About so many entries of the next range, when so many are left. */
  entries(left: number): number;
  /** Ledgers with fewer entries are not worth it. */
  least: number;
  /** Has each range checked, in any order, and gives what is said of them in order; `undefined` for one that is odd. Ended early, it stops all work. */
  check(tasks: Iterable<RangeTask>, common: RangeCommon): AsyncIterable<RangeFacts | undefined>;
}

/**
 * The ranges of [begin, end), each of about so many entries as `entries` says of what is left. They begin with segments where that fits: whoever begins inside of
 * one must go over what is before. One by one, for a checkpoint may claim any size.
 */
export function* rangesOf(end: number, entries: (left: number) => number, names: readonly SegmentName[] = [], begin = 0): Generator<RangeTask> {
  let at = 0;
  for (let first = begin, last = begin; first < end; first = last) {
    const wanted = entries(end - first);
    last = first + wanted;
    while (at < names.length && names[at]!.first < first + wanted / 2) at++;
    // the last segment that begins by then, or one that begins a little later
    if (at < names.length && names[at]!.first <= first + wanted * 1.5) {
      while (at + 1 < names.length && names[at + 1]!.first <= last) at++;
      last = names[at]!.first;
    }
    last = Math.min(end, roundUp(last));
    yield { first, end: last };
  }
}

function roundUp(entries: number): number {
  return Math.ceil(entries / tileWidth) * tileWidth;
}

/** The position of the segment in which the record of an entry stands, by the segments' names. */
export function segmentAt(names: readonly SegmentName[], index: number): number {
  return names.findLastIndex(({ first }) => first <= index);
}

// Rows: numbers of the entries of most ledgers, so that nothing is parsed twice and nothing small is sent

export const rowColumns = 10;
/** 0 is of no consequence to any other entry. */
const isMessage = 1;
const isPrincipal = 2;
/** To be read again: offset and length in `leaves`. */
const isLeaf = 3;
const kindBits = 3;
const fromServer = 4;
const bySworn = 8;
const toNothing = 16;
const keptBit = { attributes: 32, segments: 64 } as const;
const typeShift = 7;
const types = ['request', 'notification', 'result', 'error', 'opaque', 'http'] as const;
const absent = -1;

const plainKinds: ReadonlySet<Entry['kind']> = new Set(['stop', 'policy', 'access', 'seal']);

/** Takes what a range has to hand on. */
export class RangeCollector {
  readonly #crypto: Crypto;
  readonly #task: RangeTask;
  readonly #wantedBlock: number | undefined;
  readonly #rows: Float64Array;
  readonly #connections = new Map<string, number>();
  readonly #leaves: Uint8Array[] = [];
  #leavesBytes = 0;
  readonly #roots: Uint8Array;
  #wanted: Uint8Array | undefined;
  #hashes: Uint8Array[] = [];
  #blocks = 0;
  readonly #lacking: Lacking[] = [];
  readonly #waiting: Waiting[] = [];

  constructor(crypto: Crypto, task: RangeTask, wantedBlock: number | undefined) {
    this.#crypto = crypto;
    this.#task = task;
    this.#wantedBlock = wantedBlock;
    const entries = task.end - task.first;
    const numbers = entries * rowColumns;
    const spare = task.spare && task.spare.byteLength >= numbers * Float64Array.BYTES_PER_ELEMENT ? task.spare : undefined;
    this.#rows = spare ? new Float64Array(spare, 0, numbers).fill(0) : new Float64Array(numbers);
    this.#roots = new Uint8Array((entries / tileWidth) * hashBytes);
  }

  /** A leaf's hash: the lowest tile that it completes, as a `TileStack` would say. */
  append(hash: Uint8Array): Tile[] {
    this.#hashes.push(hash);
    if (this.#hashes.length < tileWidth) return [];
    const bytes = new Uint8Array(tileWidth * hashBytes);
    for (const [k, one] of this.#hashes.entries()) bytes.set(one, k * hashBytes);
    this.#roots.set(rootOfHashes(this.#crypto, this.#hashes), this.#blocks * hashBytes);
    this.#hashes = [];
    const n = this.#task.first / tileWidth + this.#blocks++;
    if (n === this.#wantedBlock) this.#wanted = bytes;
    return [{ level: 0, n, width: tileWidth, bytes }];
  }

  /** What the rules between entries must know of this one. */
  take(index: number, entry: Entry, leaf: Uint8Array): void {
    if (plainKinds.has(entry.kind)) return;
    const rows = this.#rows;
    const at = (index - this.#task.first) * rowColumns;
    if (entry.kind === 'message' && entry.uncaptured === undefined && entry.verdict !== 'ask') {
      rows[at] =
        isMessage |
        (entry.direction === 's2c' ? fromServer : 0) |
        (entry.origin === 'sworn' ? bySworn : 0) |
        (entry.anomalies?.includes('reply-to-nothing') ? toNothing : 0) |
        (types.indexOf(entry.type) << typeShift);
      rows[at + 1] = this.#connection(entry.connection);
      rows[at + 2] = entry.seq;
      rows[at + 3] = entry.tapSeq;
      rows[at + 4] = entry.parts ?? absent;
      rows[at + 5] = entry.who ?? absent;
      rows[at + 6] = entry.exchange ?? absent;
      rows[at + 7] = entry.call ?? absent;
      rows[at + 8] = entry.batch ?? absent;
      rows[at + 9] = entry.item ?? absent;
    } else if (entry.kind === 'principal') {
      rows[at] = isPrincipal;
      rows[at + 1] = this.#connection(entry.connection);
    } else {
      rows[at] = isLeaf;
      rows[at + 1] = this.#leavesBytes;
      rows[at + 2] = leaf.length;
      this.#leaves.push(leaf.slice());
      this.#leavesBytes += leaf.length;
    }
  }

  #connection(name: string): number {
    let at = this.#connections.get(name);
    if (at === undefined) this.#connections.set(name, (at = this.#connections.size));
    return at;
  }

  /** As `Erasures.note`. */
  note(index: number, list: List, kept: number, erased: number[]): void {
    if (erased.length > 0) this.#lacking.push({ index, list, kept, erased });
    else if (kept > 0) this.#rows[(index - this.#task.first) * rowColumns]! += keptBit[list];
  }

  wait(waiting: Waiting): void {
    this.#waiting.push({
      ...waiting,
      leaf: waiting.leaf.slice(),
      parts: waiting.parts.map((part) => ({ ...part, hash: part.hash.slice() })),
    });
  }

  facts(): Pick<RangeFacts, 'first' | 'end' | 'rows' | 'connections' | 'leaves' | 'roots' | 'wanted' | 'lacking' | 'waiting'> {
    const leaves = new Uint8Array(this.#leavesBytes);
    let at = 0;
    for (const leaf of this.#leaves) {
      leaves.set(leaf, at);
      at += leaf.length;
    }
    return {
      first: this.#task.first,
      end: this.#task.end,
      rows: this.#rows,
      connections: [...this.#connections.keys()],
      leaves,
      roots: this.#roots,
      wanted: this.#wanted,
      lacking: this.#lacking,
      waiting: this.#waiting,
    };
  }
}

/** What stands in the rows of a range. */
export class RowReader {
  readonly #facts: RangeFacts;
  /** One for all rows: `Sequences` keeps none, and an object for each would be most of what this thread allocates. All fields, absent ones too. */
  readonly #message: { -readonly [Name in keyof Required<SeenMessage>]: SeenMessage[Name] | undefined } = {
    kind: 'message',
    connection: '',
    direction: 'c2s',
    origin: 'client',
    type: 'opaque',
    anomalies: undefined,
    seq: 0,
    tapSeq: 0,
    parts: undefined,
    who: undefined,
    exchange: undefined,
    call: undefined,
    batch: undefined,
    item: undefined,
    uncaptured: undefined,
    verdict: undefined,
    rule: undefined,
    commitment: undefined,
  };

  constructor(facts: RangeFacts) {
    this.#facts = facts;
  }

  /** Lists of which something is kept, and nothing erased. */
  kept(index: number): readonly List[] {
    return keptLists[(this.#facts.rows[(index - this.#facts.first) * rowColumns]! >> 5) & 3]!;
  }

  /** The entry as far as `Sequences` looks at it, valid until the next call; the leaf to be read instead; or nothing. */
  entry(index: number): SeenMessage | SeenPrincipal | Uint8Array | undefined {
    const { rows, connections, leaves, first } = this.#facts;
    const at = (index - first) * rowColumns;
    const bits = rows[at]!;
    switch (bits & kindBits) {
      case isMessage: {
        const entry = this.#message;
        entry.connection = connections[rows[at + 1]!]!;
        entry.direction = (bits & fromServer) === 0 ? 'c2s' : 's2c';
        entry.origin = (bits & bySworn) === 0 ? 'client' : 'sworn';
        entry.type = types[(bits >> typeShift) & 7];
        entry.anomalies = (bits & toNothing) === 0 ? undefined : replyToNothing;
        entry.seq = rows[at + 2]!;
        entry.tapSeq = rows[at + 3]!;
        entry.parts = numberAt(rows, at + 4);
        entry.who = numberAt(rows, at + 5);
        entry.exchange = numberAt(rows, at + 6);
        entry.call = numberAt(rows, at + 7);
        entry.batch = numberAt(rows, at + 8);
        entry.item = numberAt(rows, at + 9);
        return entry as SeenMessage;
      }
      case isPrincipal:
        return { kind: 'principal', connection: connections[rows[at + 1]!]! };
      case isLeaf:
        return leaves.subarray(rows[at + 1], rows[at + 1]! + rows[at + 2]!);
      default:
        return undefined;
    }
  }
}

function numberAt(rows: Float64Array, at: number): number | undefined {
  const value = rows[at]!;
  return value === absent ? undefined : value;
}

const replyToNothing: SeenMessage['anomalies'] = ['reply-to-nothing'];
const keptLists: readonly (readonly List[])[] = [[], ['attributes'], ['segments'], ['attributes', 'segments']];
