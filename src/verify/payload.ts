/**
 * The verifier's own parser of payload segments, written from `spec/ledger.md` and sharing nothing with the writer. It reads a stream of pieces,
 * holds one record at a time, and goes on after a damaged one when it finds a whole record behind it.
 */
import { hex } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { recordBytes, segmentBytes } from '../limits.ts';
import { nonceBytes, type Opener, type Openers } from './encryption.ts';
import type { SegmentName, Source } from './source.ts';

export const headerBytes = 40;
const magic = [0x53, 0x57, 0x4f, 0x52, 0x4e, 0x50, 0x4c, 0x31];
const encryptedMagic = [0x53, 0x57, 0x4f, 0x52, 0x4e, 0x50, 0x45, 0x31];
/** `length ‖ crc` before the body. */
const frameBytes = 8;
/** Part: type, connection, direction, unit, salt. */
/** A kept segment is filled up to this, see `spec/ledger.md`. */
const leastKeptBytes = 16;
const partHeadBytes = 1 + 16 + 1 + 8 + 16;
const entryHeadBytes = 1 + 8 + 4;
const longestRecord = recordBytes + 1024;
/** A candidate record behind a damaged one is believed only if its index is plausible. */
const farthestIndex = segmentBytes;
/**
 * The search behind damage reads so many times the bytes of a segment, and no more: content that somebody sent can look like a record at every place, and
 * each would be read to its end.
 */
const searchFactor = 64;

export type Item =
  | { kind: 'kept'; salt: Uint8Array; bytes: Uint8Array; sizeBytes: number }
  /** `erased`: its bytes were here once; otherwise they never were. */
  | { kind: 'dropped'; erased: boolean; hash: Uint8Array; sizeBytes: number }
  | { kind: 'part'; hash: Uint8Array; sizeBytes: number; file: number; offset: number };

export interface EntryRecord {
  kind: 'entry';
  index: number;
  leaf: Uint8Array;
  attributes: Item[];
  segments: Item[];
  /** It is encrypted and cannot be opened: its items are not known. */
  unopened: boolean;
  segment: SegmentName;
  offset: number;
}

export interface PartRecord {
  kind: 'part';
  /** Salt and bytes are gone; only the place is left. */
  erased: boolean;
  connection: string;
  direction: 'c2s' | 's2c';
  unit: number;
  salt: Uint8Array;
  bytes: Uint8Array;
  /** Of `bytes`, also where it is `unopened`. */
  sizeBytes: number;
  unopened: boolean;
  segment: SegmentName;
  offset: number;
}

/** In the place of records that were pruned; at the beginning of a file. */
export interface PrunedRecords {
  kind: 'pruned';
  segment: SegmentName;
}

export interface Trouble {
  kind: 'trouble';
  /** `incomplete`: the file ends inside; `crc`: whole, but its checksum is wrong; `body`: checksum right, content not of the format; `header`: of the file. */
  what: 'incomplete' | 'crc' | 'body' | 'header';
  segment: SegmentName;
  offset: number;
  /** Offset of the next whole record, when there is one in the file. */
  resumed: number | undefined;
  /** The search for it was given up: too much looks like a record. No crash leaves that. */
  abandoned?: true;
  lastSegment: boolean;
}

export interface Header {
  kind: 'header';
  ledger: string;
  first: number;
  /** It is encrypted and cannot be opened: why. */
  unopened?: string;
  segment: SegmentName;
}

export type PayloadEvent = EntryRecord | PartRecord | PrunedRecords | Trouble | Header;

/** Slicing-by-8 tables of CRC-32 (IEEE 802.3, reflected, as in zlib). */
const tables: Int32Array[] = Array.from({ length: 8 }, () => new Int32Array(256));
for (let i = 0; i < 256; i++) {
  let crc = i;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  tables[0]![i] = crc;
}
for (let i = 0; i < 256; i++) for (let t = 1; t < 8; t++) tables[t]![i] = (tables[t - 1]![i]! >>> 8) ^ tables[0]![tables[t - 1]![i]! & 255]!;
const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];

/** CRC-32 (IEEE 802.3, as in zlib) of `bytes[start, end)`: an unsigned 32-bit number. */
export function crc32(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let crc = -1;
  let i = start;
  for (; i + 8 <= end; i += 8) {
    const low = crc ^ (bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
    crc =
      t7[low & 255]! ^
      t6[(low >>> 8) & 255]! ^
      t5[(low >>> 16) & 255]! ^
      t4[low >>> 24]! ^
      t3[bytes[i + 4]!]! ^
      t2[bytes[i + 5]!]! ^
      t1[bytes[i + 6]!]! ^
      t0[bytes[i + 7]!]!;
  }
  for (; i < end; i++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[i]!) & 255]!;
  return ~crc >>> 0;
}

function u32(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 0x1000000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}

/** A number up to 2^53 - 1, or NaN for a larger one. */
function u64(bytes: Uint8Array, at: number): number {
  const high = u32(bytes, at);
  return high > 0x1fffff ? Number.NaN : high * 0x100000000 + u32(bytes, at + 4);
}

/** Reads the segments of a source one event at a time. */
export class PayloadReader {
  readonly #source: Source;
  readonly #segments: SegmentName[];
  #next = 0;
  #segment: SegmentName | undefined;
  #pieces: AsyncIterator<Uint8Array> | undefined;
  #buffer: Uint8Array = new Uint8Array(0);
  #at = 0;
  /** Offset in the file of `#buffer[0]`. */
  #base = 0;
  #ended = true;
  #headerDone = false;
  /** Nothing of the file was read yet but what is in the place of pruned records. */
  #isBeginning = false;
  /** Index that the next entry record should have; only to judge candidates behind damage. */
  #expected = 0;
  /** Bytes of this segment that the search behind damage has read. */
  #searchedBytes = 0;

  /** None: an encrypted segment is not of the format. */
  readonly #openers: Openers | undefined;
  /** Of the segment that is read: absent, it is in the clear; a text: why it cannot be opened. */
  #opener: Opener | string | undefined;
  /** It was begun behind its header, which says whether it is encrypted. */
  #isUnsettled = false;

  /** Of records that are whole; what is searched behind damage is summed here. */
  readonly #crc32: (bytes: Uint8Array) => number;

  /** `from`: an offset in the first segment at which the record of entry `index` or its parts begin, where somebody has read before. */
  constructor(source: Source, segments: SegmentName[], from?: { offset: number; index: number }, crypto?: Crypto, openers?: Openers) {
    this.#openers = openers;
    this.#source = source;
    this.#segments = segments;
    this.#crc32 = crypto?.crc32 ?? crc32;
    if (from === undefined || segments.length === 0) return;
    this.#segment = segments[this.#next++]!;
    this.#pieces = source.segment!(this.#segment, from.offset)[Symbol.asyncIterator]();
    this.#base = from.offset;
    this.#ended = false;
    this.#headerDone = true;
    this.#isUnsettled = openers !== undefined;
    this.#expected = from.index;
  }

  /** Reads no further. */
  async close(): Promise<void> {
    await this.#pieces?.return?.();
  }

  /** Where the next record begins. */
  get position(): { segment: number | undefined; offset: number } {
    return { segment: this.#segment?.first, offset: this.#base + this.#at };
  }

  /**
   * Goes over the records before that of entry `index`, by their lengths alone: they must be read by somebody else. Stops behind the record before it, so that
   * its parts are still to come. False when the lengths do not lead there. `isBound`: the records before it were pruned, and nothing else is gone over.
   */
  async skipTo(index: number, isBound = false): Promise<boolean> {
    for (;;) {
      if (this.#segment === undefined || !this.#headerDone || this.#isUnsettled) {
        const event = await this.fill();
        if (event === false || (typeof event === 'object' && event.kind === 'trouble')) return false;
        continue;
      }
      const available = this.#buffer.length - this.#at;
      if (available < frameBytes + 9) {
        if (this.#ended) return false;
        await this.#more();
        continue;
      }
      const sizeBytes = u32(this.#buffer, this.#at);
      if (sizeBytes < entryHeadBytes || sizeBytes > longestRecord) return false;
      const type = this.#buffer[this.#at + frameBytes];
      if (isBound && type !== 4) {
        this.#expected = index;
        return this.#base + this.#at > headerBytes;
      }
      const found = type === 1 ? u64(this.#buffer, this.#at + frameBytes + 1) : -1;
      if (!(found < index)) return false;
      while (this.#buffer.length - this.#at < frameBytes + sizeBytes) {
        if (this.#ended) return false;
        await this.#more();
      }
      this.#at += frameBytes + sizeBytes;
      if (found !== index - 1) continue;
      this.#expected = index;
      return true;
    }
  }

  /**
   * The next event that is already in memory; `undefined` when `fill` must run first. Views in it stay valid: buffers are never written to again.
   */
  take(): PayloadEvent | undefined {
    if (this.#segment === undefined || !this.#headerDone || this.#isUnsettled) return undefined;
    const available = this.#buffer.length - this.#at;
    if (available < frameBytes) return undefined;
    const sizeBytes = u32(this.#buffer, this.#at);
    if (sizeBytes === 0 || sizeBytes > longestRecord || available < frameBytes + sizeBytes) return undefined;
    const start = this.#at + frameBytes;
    const end = start + sizeBytes;
    if (this.#crc32(this.#buffer.subarray(start, end)) !== u32(this.#buffer, this.#at + 4)) return undefined;
    const record = this.#parse(start, end, this.#base + this.#at);
    if (record === undefined) return undefined;
    this.#at = end;
    this.#isBeginning = record.kind === 'pruned';
    if (record.kind === 'entry') this.#expected = record.index + 1;
    return record;
  }

  /** Reads on. Returns an event that only reading could bring (a file's header, damage), `true` when `take` should be tried again, `false` at the end. */
  async fill(): Promise<Header | Trouble | boolean> {
    if (this.#segment === undefined) return this.#open();
    if (this.#isUnsettled) return this.#settle(this.#segment);
    const available = this.#buffer.length - this.#at;
    if (!this.#headerDone) {
      if (available < headerBytes && !this.#ended) return this.#more();
      return this.#header(available);
    }
    if (available === 0 && this.#ended) {
      this.#segment = undefined;
      return this.#open();
    }
    const sizeBytes = available < frameBytes ? 0 : u32(this.#buffer, this.#at);
    const plausible = sizeBytes > 0 && sizeBytes <= longestRecord;
    const whole = plausible && available >= frameBytes + sizeBytes;
    if (!this.#ended && !whole && (available < frameBytes || plausible)) return this.#more();
    return this.#damage(whole ? sizeBytes : undefined);
  }

  async #open(): Promise<boolean> {
    const segment = this.#segments[this.#next++];
    if (segment === undefined) return false;
    this.#segment = segment;
    this.#pieces = this.#source.segment!(segment)[Symbol.asyncIterator]();
    this.#buffer = new Uint8Array(0);
    this.#at = 0;
    this.#base = 0;
    this.#ended = false;
    this.#headerDone = false;
    this.#searchedBytes = 0;
    return true;
  }

  async #more(): Promise<true> {
    const piece = await this.#pieces!.next();
    if (piece.done) {
      this.#ended = true;
      return true;
    }
    const rest = this.#buffer.length - this.#at;
    this.#base += this.#at;
    if (rest === 0) {
      this.#buffer = piece.value;
    } else {
      const joined = new Uint8Array(rest + piece.value.length);
      joined.set(this.#buffer.subarray(this.#at));
      joined.set(piece.value, rest);
      this.#buffer = joined;
    }
    this.#at = 0;
    return true;
  }

  async #header(available: number): Promise<Header | Trouble> {
    const segment = this.#segment!;
    const bytes = this.#buffer.subarray(this.#at, this.#at + headerBytes);
    this.#headerDone = true;
    if (available < headerBytes) {
      const trouble = await this.#trouble('incomplete', this.#at);
      return trouble;
    }
    this.#at += headerBytes;
    const header = this.#readHeader(bytes);
    if (header === undefined) {
      return { kind: 'trouble', what: 'header', segment, offset: 0, resumed: headerBytes, lastSegment: this.#isLast() };
    }
    this.#expected = header.first;
    this.#isBeginning = true;
    const unopened = typeof this.#opener === 'string' ? { unopened: this.#opener } : {};
    return { kind: 'header', ...header, ...unopened, segment };
  }

  /** Also says how the records behind it are stored. */
  #readHeader(bytes: Uint8Array): { ledger: string; first: number } | undefined {
    this.#opener = undefined;
    const isEncrypted = this.#openers !== undefined && encryptedMagic.every((byte, i) => bytes[i] === byte);
    const isOurs = isEncrypted || (magic.every((byte, i) => bytes[i] === byte) && u32(bytes, 32) === 0);
    const first = u64(bytes, 24);
    if (!isOurs || u32(bytes, 36) !== crc32(bytes, 0, 36) || Number.isNaN(first)) return undefined;
    const ledger = hex(bytes.subarray(8, 24));
    if (isEncrypted) this.#opener = this.#openers({ ledger, first, keyId: hex(bytes.subarray(32, 36)) });
    return { ledger, first };
  }

  async #settle(segment: SegmentName): Promise<true> {
    let bytes = new Uint8Array(0);
    for await (const piece of this.#source.segment!(segment, 0)) {
      const joined = new Uint8Array(bytes.length + piece.length);
      joined.set(bytes);
      joined.set(piece, bytes.length);
      bytes = joined;
      if (bytes.length >= headerBytes) break;
    }
    // whoever has read before has judged it
    this.#readHeader(bytes.subarray(0, headerBytes));
    this.#isUnsettled = false;
    return true;
  }

  #isLast(): boolean {
    return this.#next >= this.#segments.length;
  }

  async #damage(sizeBytes: number | undefined): Promise<Trouble> {
    const start = this.#at;
    if (sizeBytes === undefined) return this.#trouble('incomplete', start);
    const end = start + frameBytes + sizeBytes;
    const what = crc32(this.#buffer, start + frameBytes, end) === u32(this.#buffer, start + 4) ? 'body' : 'crc';
    return this.#trouble(what, start);
  }

  /**
   * Looks for a whole record behind a damaged one: where its length says, else byte by byte. Needs the rest of the segment in memory.
   *
   * A record that reaches the end of the file, or claims to go on beyond it, and begins as the next one must, looks like an unfinished write. Its content
   * is not searched: whoever sent the frame may have put a record into it, so that a crash looks like tampering. The one other thing it can be is a whole
   * record whose length was altered, and that shows: the checksum holds at the true length, and something follows.
   */
  async #trouble(what: Trouble['what'], at: number): Promise<Trouble> {
    const segment = this.#segment!;
    const offset = this.#base + at;
    while (!this.#ended) await this.#more();
    const start = offset - this.#base;
    const end = this.#buffer.length;
    let found: number | undefined;
    if (end - start >= frameBytes + 9) {
      const behind = start + frameBytes + u32(this.#buffer, start);
      if (behind >= end && this.#mayBegin(start + frameBytes)) {
        found = this.#trueEnd(start);
      } else {
        if (this.#isRecord(behind)) found = behind;
        for (let i = start + 1; found === undefined && !this.#isAbandoned && i + frameBytes < end; i++) if (this.#isRecord(i)) found = i;
      }
    }
    this.#at = found ?? end;
    const resumed = found === undefined ? undefined : this.#base + found;
    const isAbandoned = found === undefined && this.#isAbandoned;
    return { kind: 'trouble', what, segment, offset, resumed, lastSegment: this.#isLast(), ...(isAbandoned ? { abandoned: true } : {}) };
  }

  get #isAbandoned(): boolean {
    return this.#searchedBytes > searchFactor * (this.#base + this.#buffer.length);
  }

  /** Whether a body here begins as that of the next record must. */
  #mayBegin(body: number): boolean {
    const type = this.#buffer[body];
    return type === 2 || type === 3 || (type === 1 && u64(this.#buffer, body + 1) === this.#expected);
  }

  /** The end of a record whose length was altered: where its checksum holds and another record follows. */
  #trueEnd(start: number): number | undefined {
    const bytes = this.#buffer;
    const wanted = ~u32(bytes, start + 4) | 0;
    let crc = -1;
    for (let i = start + frameBytes; i < bytes.length; i++) {
      crc = (crc >>> 8) ^ t0[(crc ^ bytes[i]!) & 255]!;
      if (crc !== wanted) continue;
      this.#searchedBytes += i - start;
      if (this.#isAbandoned) return undefined;
      const whole = this.#parse(start + frameBytes, i + 1, 0);
      if (whole === undefined) continue;
      // The damaged record itself was whole, so the one behind it has the index after its own.
      const expected = this.#expected;
      if (whole.kind === 'entry') this.#expected = whole.index + 1;
      if (this.#isRecord(i + 1)) return i + 1;
      this.#expected = expected;
    }
    return undefined;
  }

  #isRecord(at: number): boolean {
    const bytes = this.#buffer;
    if (at + frameBytes + entryHeadBytes > bytes.length) return false;
    const sizeBytes = u32(bytes, at);
    const start = at + frameBytes;
    if (sizeBytes < entryHeadBytes || start + sizeBytes > bytes.length) return false;
    const type = bytes[start];
    if (type === 1) {
      const index = u64(bytes, start + 1);
      if (!(index >= this.#expected && index - this.#expected <= farthestIndex)) return false;
    } else if ((type !== 2 && type !== 3) || sizeBytes < partHeadBytes || bytes[start + 17]! > 1) {
      return false;
    }
    this.#searchedBytes += sizeBytes;
    return crc32(bytes, start, start + sizeBytes) === u32(bytes, at + 4);
  }

  #parse(start: number, end: number, offset: number): EntryRecord | PartRecord | PrunedRecords | undefined {
    const bytes = this.#buffer;
    const segment = this.#segment!;
    if (bytes[start] === 4) {
      for (let i = start + 1; i < end; i++) if (bytes[i] !== 0) return undefined;
      return this.#isBeginning ? { kind: 'pruned', segment } : undefined;
    }
    if (bytes[start] === 2 || bytes[start] === 3) {
      const hidden = this.#hidden(start + 26, end);
      if (hidden === undefined || hidden.end - hidden.start < 16) return undefined;
      if (bytes[start] === 3 && !hidden.unopened) for (let i = hidden.start; i < hidden.end; i++) if (hidden.bytes[i] !== 0) return undefined;
      const side = bytes[start + 17]!;
      const unit = u64(bytes, start + 18);
      if (side > 1 || Number.isNaN(unit)) return undefined;
      const connection = hex(bytes.subarray(start + 1, start + 17));
      return {
        kind: 'part',
        erased: bytes[start] === 3,
        connection,
        direction: side === 0 ? 'c2s' : 's2c',
        unit,
        salt: hidden.bytes.subarray(hidden.start, hidden.start + 16),
        bytes: hidden.bytes.subarray(hidden.start + 16, hidden.end),
        sizeBytes: hidden.end - hidden.start - 16,
        unopened: hidden.unopened,
        segment,
        offset,
      };
    }
    if (bytes[start] !== 1 || end - start < entryHeadBytes) return undefined;
    const index = u64(bytes, start + 1);
    const leafEnd = start + entryHeadBytes + u32(bytes, start + 9);
    const hidden = this.#hidden(leafEnd, end);
    if (Number.isNaN(index) || hidden === undefined || hidden.start + 6 > hidden.end) return undefined;
    const leaf = bytes.subarray(start + entryHeadBytes, leafEnd);
    const { unopened } = hidden;
    if (unopened) return { kind: 'entry', index, leaf, attributes: [], segments: [], unopened, segment, offset };
    const lists = itemsIn(hidden.bytes, hidden.start, hidden.end);
    return lists && { kind: 'entry', index, leaf, ...lists, unopened, segment, offset };
  }

  /** What stands behind the head of a body, in the clear where it can be; `undefined` when there is no room for it. */
  #hidden(start: number, end: number): { bytes: Uint8Array; start: number; end: number; unopened: boolean } | undefined {
    const bytes = this.#buffer;
    if (this.#opener === undefined) return start > end ? undefined : { bytes, start, end, unopened: false };
    const from = start + nonceBytes;
    if (from > end) return undefined;
    if (typeof this.#opener === 'string') return { bytes, start: from, end, unopened: true };
    const plain = this.#opener(bytes.subarray(start, from), bytes.subarray(from, end));
    return { bytes: plain, start: 0, end: plain.length, unopened: false };
  }
}

/** The items of an entry's record, which fill `bytes[at, end)`. */
function itemsIn(bytes: Uint8Array, at: number, end: number): Pick<EntryRecord, 'attributes' | 'segments'> | undefined {
  const attributesCount = bytes[at]! * 256 + bytes[at + 1]!;
  const segmentsCount = u32(bytes, at + 2);
  at += 6;
  // Each item takes at least 21 bytes: a count that the body cannot hold is refused before anything is allocated for it.
  if ((attributesCount + segmentsCount) * 21 > end - at) return undefined;
  const attributes: Item[] = [];
  const segments: Item[] = [];
  for (let i = 0; i < attributesCount + segmentsCount; i++) {
    const kind = bytes[at++];
    const headBytes = kind === 0 ? 16 : 32;
    if (kind === undefined || kind > 3 || at + headBytes + 4 > end) return undefined;
    const head = bytes.subarray(at, at + headBytes);
    const sizeBytes = u32(bytes, at + headBytes);
    at += headBytes + 4;
    let item: Item;
    if (kind === 0) {
      if (at + sizeBytes > end) return undefined;
      item = { kind: 'kept', salt: head, bytes: bytes.subarray(at, at + sizeBytes), sizeBytes };
      at += sizeBytes;
      // filled up, so that it can be erased in place
      for (const filled = at + leastKeptBytes - sizeBytes; at < filled; at++) if (bytes[at] !== 0 || at >= end) return undefined;
    } else if (kind === 1 || kind === 3) {
      item = { kind: 'dropped', erased: kind === 3, hash: head, sizeBytes };
      if (kind === 3) {
        const filled = at + Math.max(0, sizeBytes - leastKeptBytes);
        if (filled > end) return undefined;
        for (; at < filled; at++) if (bytes[at] !== 0) return undefined;
      }
    } else {
      if (at + 16 > end) return undefined;
      const file = u64(bytes, at);
      const place = u64(bytes, at + 8);
      if (Number.isNaN(file) || Number.isNaN(place)) return undefined;
      item = { kind: 'part', hash: head, sizeBytes, file, offset: place };
      at += 16;
    }
    (i < attributesCount ? attributes : segments).push(item);
  }
  return at === end ? { attributes, segments } : undefined;
}
