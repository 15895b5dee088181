/**
 * Reads payload segments (`spec/ledger.md`, "Payload segments") while the recorder may be writing: a record that is not whole ends the reading,
 * and may be whole the next time. Nothing is held but one window of a file.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { equal } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { segmentHash } from '../entry/commitment.ts';
import {
  decodeStored,
  readSegmentHeader,
  recordHeaderBytes,
  segmentHeaderBytes,
  segmentName,
  type ContentItem,
  type Encrypted,
  type EntryRecord,
  type PartRecord,
  type SegmentHeader,
} from '../ledger/segment.ts';
import { entryBytes, recordBytes } from '../limits.ts';
import { encryptionAt } from './keys.ts';

/** What of an entry is not in its leaf. */
export interface Content {
  /** By name; erased ones are missing. */
  attributes: Record<string, unknown>;
  erasedAttributes: number;
  /** The attributes' segments in order, as they are stored. */
  attributeItems: ContentItem[];
  /** The frame's segments in order; none on entries without a frame of their own. */
  frame: ContentItem[];
}

export interface SegmentEntry {
  index: number;
  leaf: Uint8Array;
  /** Absent where it was not asked for, or is encrypted and cannot be opened (`unopened`). */
  content?: Content;
}

/** First indexes of the segment files of a ledger, ascending; none when the folder is missing or closed to us. */
export function segmentsOf(ledger: string): number[] {
  try {
    return readdirSync(join(ledger, 'payload'))
      .filter((name) => /^\d{16}$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

const windowBytes = 256 * 1024;
/** Searched for a record by `guess`; longer records are walked over. */
const guessBytes = 128 * 1024;
/** Type, index and leaf length: what is needed to skip an entry record. */
const entryHeadBytes = 13;

/** One segment file, read from front to back or from any record's offset. */
export class Segment {
  readonly firstIndex: number;
  readonly #fd: number;
  readonly #path: string;
  #window = Buffer.alloc(0);
  #windowAt = 0;
  #sizeBytes = 0;
  #header: SegmentHeader | undefined;
  #encrypted: Encrypted;

  /** `undefined` when the file is missing, closed to us, or has no whole header yet. */
  static open(ledger: string, firstIndex: number): Segment | undefined {
    const path = join(ledger, 'payload', segmentName(firstIndex));
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch {
      return undefined;
    }
    const segment = new Segment(fd, firstIndex, path);
    const bytes = segment.#bytes(0, segmentHeaderBytes);
    const header = bytes && readSegmentHeader(bytes);
    if (header?.firstIndex === firstIndex) {
      segment.#header = header;
      // whoever has the key is asked when content is
      if (header.keyId !== undefined) segment.#encrypted = {};
      return segment;
    }
    segment.close();
    return undefined;
  }

  private constructor(fd: number, firstIndex: number, path: string) {
    this.#fd = fd;
    this.#path = path;
    this.firstIndex = firstIndex;
    this.refresh();
  }

  /** Looks how long the file is now. What was not whole is read anew. */
  refresh(): void {
    this.#sizeBytes = fstatSync(this.#fd).size;
    this.#window = Buffer.alloc(0);
  }

  close(): void {
    closeSync(this.#fd);
  }

  /**
   * The entry at `offset` or behind it, and where the next record begins; parts are skipped unread. `undefined` when there is no further whole record.
   * `index` is the first one wanted: entries before it are skipped unread.
   *
   * Without content only the leaf of a long record is read, and its checksum is not looked at unless it is the file's last, which may be torn.
   */
  next(offset: number, index: number, content: boolean): { entry: SegmentEntry; offset: number; end: number } | undefined {
    for (let at = offset; ;) {
      const header = this.#bytes(at, recordHeaderBytes + 1);
      if (header === undefined) return undefined;
      const lengthBytes = header.readUInt32BE(0);
      const crc = header.readUInt32BE(4);
      const type = header[recordHeaderBytes];
      const end = at + recordHeaderBytes + lengthBytes;
      if (lengthBytes === 0 || lengthBytes > recordBytes || end > this.#sizeBytes) return undefined;
      if (type === 1) {
        const head = this.#bytes(at + recordHeaderBytes, entryHeadBytes);
        if (head === undefined) return undefined;
        const entryIndex = Number(head.readBigUInt64BE(1));
        if (entryIndex >= index) {
          if (content || lengthBytes <= windowBytes || end === this.#sizeBytes) {
            const body = this.#bytes(at + recordHeaderBytes, lengthBytes);
            if (body === undefined || crc32(body) !== crc) return undefined;
            const record = decodeStored(body, content ? this.#stored() : this.#encrypted);
            if (record?.type !== 'entry') return undefined;
            const entry: SegmentEntry = { index: entryIndex, leaf: record.leaf };
            if (content && !record.unopened) entry.content = contentOf(record);
            return { entry, offset: at, end };
          }
          const leafBytes = head.readUInt32BE(9);
          const leaf = leafBytes <= entryBytes ? this.#bytes(at + recordHeaderBytes + entryHeadBytes, leafBytes) : undefined;
          return leaf === undefined ? undefined : { entry: { index: entryIndex, leaf }, offset: at, end };
        }
      } else if (type !== 2 && type !== 3 && type !== 4) {
        return undefined;
      }
      at = end;
    }
  }

  /**
   * An offset to walk to `index` from: that of some record before it, found by halving, or the file's first one. Most records do not say where the next
   * ones are, so pieces are searched for what looks like a whole record. A sender can put such a thing into a message: what is found from here is a guess,
   * and who uses it holds the entry against a hash from elsewhere, or walks from the beginning instead.
   */
  guess(index: number): number {
    let low = segmentHeaderBytes;
    let high = this.#sizeBytes;
    while (high - low > windowBytes) {
      const middle = Math.floor((low + high) / 2);
      const found = this.#recordFrom(middle, Math.min(high, middle + guessBytes));
      if (found === undefined) return low;
      if (found.index <= index) low = found.offset;
      else high = middle;
    }
    return low;
  }

  /** The first thing between two offsets that looks like an entry record and has the right checksum. */
  #recordFrom(from: number, to: number): { offset: number; index: number } | undefined {
    const window = this.#bytes(from, to - from);
    if (window === undefined) return undefined;
    const lastAt = window.length - recordHeaderBytes - entryHeadBytes;
    for (let at = window.indexOf(1, recordHeaderBytes) - recordHeaderBytes; at >= 0 && at <= lastAt;) {
      const lengthBytes = window.readUInt32BE(at);
      const end = at + recordHeaderBytes + lengthBytes;
      if (lengthBytes >= entryHeadBytes && end <= window.length && window.readUInt32BE(at + recordHeaderBytes + 9) <= entryBytes) {
        const body = window.subarray(at + recordHeaderBytes, end);
        if (crc32(body) === window.readUInt32BE(at + 4)) return { offset: from + at, index: Number(body.readBigUInt64BE(1)) };
      }
      const next = window.indexOf(1, at + recordHeaderBytes + 1);
      if (next < 0) break;
      at = next - recordHeaderBytes;
    }
    return undefined;
  }

  /** The part record at `offset`, if one is there and whole. */
  part(offset: number): PartRecord | undefined {
    const header = this.#bytes(offset, recordHeaderBytes);
    if (header === undefined) return undefined;
    const lengthBytes = header.readUInt32BE(0);
    const crc = header.readUInt32BE(4);
    const body = lengthBytes > recordBytes ? undefined : this.#bytes(offset + recordHeaderBytes, lengthBytes);
    if (body === undefined || crc32(body) !== crc) return undefined;
    const record = decodeStored(body, this.#stored());
    return record?.type === 'part' && !record.unopened ? record : undefined;
  }

  /** How records are stored, with the key if it can be had. */
  #stored(): Encrypted {
    if (this.#encrypted !== undefined && this.#encrypted.key === undefined) this.#encrypted = encryptionAt(this.#path, this.#header!);
    return this.#encrypted;
  }

  #bytes(offset: number, sizeBytes: number): Buffer | undefined {
    if (offset < 0 || offset + sizeBytes > this.#sizeBytes) return undefined;
    if (offset < this.#windowAt || offset + sizeBytes > this.#windowAt + this.#window.length) {
      const wanted = Math.max(sizeBytes, Math.min(windowBytes, this.#sizeBytes - offset));
      // a fresh buffer each time: leaves that were given out point into the old one
      const window = Buffer.allocUnsafeSlow(wanted);
      let filled = 0;
      while (filled < wanted) {
        const step = readSync(this.#fd, window, filled, wanted - filled, offset + filled);
        if (step === 0) break;
        filled += step;
      }
      this.#window = window.subarray(0, filled);
      this.#windowAt = offset;
      if (filled < sizeBytes) return undefined;
    }
    return this.#window.subarray(offset - this.#windowAt, offset - this.#windowAt + sizeBytes);
  }
}

function contentOf(record: EntryRecord): Content {
  const content: Content = { attributes: {}, erasedAttributes: 0, attributeItems: record.attributes, frame: record.frame };
  for (const item of record.attributes) {
    if (item.state !== 'kept') {
      content.erasedAttributes++;
      continue;
    }
    try {
      const attribute = JSON.parse(Buffer.from(item.bytes).toString()) as unknown;
      if (typeof attribute === 'object' && attribute !== null) {
        // defined, not assigned: an attribute may be called `__proto__`
        for (const [name, value] of Object.entries(attribute)) {
          Object.defineProperty(content.attributes, name, { value, enumerable: true, configurable: true, writable: true });
        }
      }
    } catch {
      // not of the format: the verifier's business
    }
  }
  return content;
}

/**
 * Why bytes of a frame are not there. Never stored: `redacted` by a rule, or `not captured`. Stored once: `erased`. `lost`: the part that the entry refers
 * to is not there, or is another one.
 */
export type Absence = 'redacted' | 'not captured' | 'erased' | 'lost';

/** A piece of a frame: its bytes, or how many are missing and why. */
export type FramePiece = { bytes: Uint8Array } | { missing: Absence; sizeBytes: number };

/** A part with its salt; `undefined` when it was erased, is not there, or is not the one that the entry names. */
export function openPart(ledger: string, item: ContentItem & { state: 'part' }): PartRecord | undefined {
  const segment = Segment.open(ledger, item.file);
  try {
    const part = segment?.part(item.offset);
    return part !== undefined && !part.erased && equal(segmentHash(nodeCrypto, part.salt, part.bytes), item.hash) ? part : undefined;
  } finally {
    segment?.close();
  }
}

/**
 * The bytes of a frame, one segment (≤ 1 MiB) after the other. A part counts only when its hash is the one that the entry names. `rests`: what is left of
 * erased segments (`restsOf`).
 */
export function* openFrame(
  ledger: string,
  frame: readonly ContentItem[],
  dropped: Absence = 'redacted',
  rests?: ReadonlyMap<number, readonly FramePiece[]>,
): Generator<FramePiece> {
  let segment: Segment | undefined;
  try {
    for (const [k, item] of frame.entries()) {
      const erased = rests?.get(k) ?? [{ missing: 'erased', sizeBytes: item.state === 'kept' ? 0 : item.sizeBytes }];
      if (item.state === 'kept') {
        yield { bytes: item.bytes };
      } else if (item.state === 'dropped') {
        yield { missing: dropped, sizeBytes: item.sizeBytes };
      } else if (item.state === 'erased') {
        yield* erased;
      } else {
        if (segment?.firstIndex !== item.file) {
          segment?.close();
          segment = Segment.open(ledger, item.file);
        }
        const part = segment?.part(item.offset);
        if (part?.erased) yield* erased;
        else if (part !== undefined && equal(segmentHash(nodeCrypto, part.salt, part.bytes), item.hash)) yield { bytes: part.bytes };
        else yield { missing: 'lost', sizeBytes: item.sizeBytes };
      }
    }
  } finally {
    segment?.close();
  }
}

/** A stretch that is not in a payload's bytes. */
export interface Gap {
  reason: Absence;
  /** In the frame, or in the range of it that was asked for. */
  offset: number;
  sizeBytes: number;
  /** Where it belongs in the payload's bytes. */
  at: number;
}

export interface Payload {
  bytes: Uint8Array;
  /** What is missing in `bytes`, in order, up to where it is cut off. */
  gaps: Gap[];
  /** Bytes of the frame that are not in `bytes`, for each reason. */
  redactedBytes: number;
  uncapturedBytes: number;
  erasedBytes: number;
  lostBytes: number;
  /** Bytes beyond `mostBytes`. */
  cutBytes: number;
}

const counters = { redacted: 'redactedBytes', 'not captured': 'uncapturedBytes', erased: 'erasedBytes', lost: 'lostBytes' } as const;

export interface PayloadOptions {
  /** [start, end) of the frame; default all of it. */
  range?: readonly [number, number] | undefined;
  /** What a dropped stretch is, as `whyDropped` says. */
  dropped?: Absence;
  /** What is left of erased segments, as `restsOf` says. */
  rests?: ReadonlyMap<number, readonly FramePiece[]> | undefined;
}

/** Up to `mostBytes` of a frame in one piece. Missing stretches are left out, listed and counted. */
export function readPayload(ledger: string, frame: readonly ContentItem[], mostBytes: number, options: PayloadOptions = {}): Payload {
  const payload: Payload = {
    bytes: new Uint8Array(0),
    gaps: [],
    redactedBytes: 0,
    uncapturedBytes: 0,
    erasedBytes: 0,
    lostBytes: 0,
    cutBytes: 0,
  };
  const [start, end] = options.range ?? [0, Number.POSITIVE_INFINITY];
  const kept: Uint8Array[] = [];
  let keptBytes = 0;
  let at = 0;
  for (const piece of openFrame(ledger, frame, options.dropped, options.rests)) {
    const sizeBytes = 'bytes' in piece ? piece.bytes.length : piece.sizeBytes;
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, sizeBytes);
    const offset = at + from - start;
    at += sizeBytes;
    if (to <= from) continue;
    if ('bytes' in piece) {
      const taken = Math.min(to - from, mostBytes - keptBytes);
      kept.push(piece.bytes.subarray(from, from + taken));
      keptBytes += taken;
      payload.cutBytes += to - from - taken;
    } else {
      payload[counters[piece.missing]] += to - from;
      const before = payload.gaps.at(-1);
      // what was erased in several steps is one gap
      if (piece.missing === 'erased' && before?.reason === 'erased' && before.offset + before.sizeBytes === offset) before.sizeBytes += to - from;
      else if (payload.cutBytes === 0) payload.gaps.push({ reason: piece.missing, offset, sizeBytes: to - from, at: keptBytes });
    }
  }
  payload.bytes = kept.length === 1 ? kept[0]! : Buffer.concat(kept);
  return payload;
}

/** A payload in order: what is there, and the gaps between. */
export function* stretchesOf({ bytes, gaps }: Pick<Payload, 'bytes' | 'gaps'>): Generator<Uint8Array | Gap> {
  let from = 0;
  for (const gap of gaps) {
    if (gap.at > from) yield bytes.subarray(from, gap.at);
    yield gap;
    from = gap.at;
  }
  if (from < bytes.length) yield bytes.subarray(from);
}
