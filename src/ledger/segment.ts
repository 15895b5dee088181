/**
 * Payload segments: the write-ahead log and the content store in one file (`spec/ledger.md`, "Payload segments").
 * Encoding and decoding of records, and a scanner over a file. What must stay true: a record never moves, so a reference to one stays good.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { saltBytes } from '../entry/commitment.ts';
import { recordBytes } from '../limits.ts';
import { clearBytes, nonceBytes, openBody, type SegmentKey } from './cipher.ts';

export const segmentHeaderBytes = 40;
export const recordHeaderBytes = 8;
const magic = Buffer.from('SWORNPL1', 'latin1');
const encryptedMagic = Buffer.from('SWORNPE1', 'latin1');

/** One segment of content, in the sense of a commitment. */
export type ContentItem =
  | { state: 'kept'; salt: Uint8Array; bytes: Uint8Array }
  /** Never kept. */
  | { state: 'dropped'; hash: Uint8Array; sizeBytes: number }
  /** Was kept, and erased in place. */
  | { state: 'erased'; hash: Uint8Array; sizeBytes: number }
  | { state: 'part'; hash: Uint8Array; sizeBytes: number; file: number; offset: number };

export interface EntryRecord {
  type: 'entry';
  index: number;
  leaf: Buffer;
  attributes: ContentItem[];
  frame: ContentItem[];
  /** It is encrypted, and its key is not here: attributes and frame are not known, and said to be none. */
  unopened?: true;
}

export interface PartRecord {
  type: 'part';
  /** Only its place is left: salt and bytes are zero. */
  erased?: true;
  /** 32 hex digits. */
  connection: string;
  direction: 0 | 1;
  unit: number;
  salt: Buffer;
  bytes: Buffer;
  /** As of an entry. */
  unopened?: true;
}

export interface SegmentHeader {
  /** 32 hex digits. */
  ledgerId: string;
  firstIndex: number;
  /** Its records are encrypted with this key: 8 hex digits. */
  keyId?: string;
}

/** How the records of a file are stored: absent, in the clear; without a key they are encrypted, and their content stays unopened. */
export type Encrypted = { key?: SegmentKey } | undefined;

/** Finds the key of an encrypted segment, where it is to be had. */
export type KeyOf = (firstIndex: number, keyId: string) => SegmentKey | undefined;

/** How the records behind a header are stored. */
export function encryptionOf({ firstIndex, keyId }: SegmentHeader, keyOf: KeyOf | undefined): Encrypted {
  if (keyId === undefined) return undefined;
  const key = keyOf?.(firstIndex, keyId);
  return key === undefined ? {} : { key };
}

/** The name of a segment file: the index of its first entry, 16 digits. */
export function segmentName(firstIndex: number): string {
  return String(firstIndex).padStart(16, '0');
}

export function encodeSegmentHeader(ledgerId: string, firstIndex: number, keyId?: string): Buffer {
  const header = Buffer.alloc(segmentHeaderBytes);
  (keyId === undefined ? magic : encryptedMagic).copy(header);
  header.write(ledgerId, 8, 'hex');
  header.writeBigUInt64BE(BigInt(firstIndex), 24);
  if (keyId !== undefined) header.write(keyId, 32, 'hex');
  header.writeUInt32BE(crc32(header.subarray(0, 36)), 36);
  return header;
}

export function readSegmentHeader(header: Buffer): SegmentHeader | undefined {
  if (header.length < segmentHeaderBytes || header.readUInt32BE(36) !== crc32(header.subarray(0, 36))) return undefined;
  const isEncrypted = header.subarray(0, 8).equals(encryptedMagic);
  if (!isEncrypted && (!header.subarray(0, 8).equals(magic) || header.readUInt32BE(32) !== 0)) return undefined;
  const firstIndex = Number(header.readBigUInt64BE(24));
  if (!Number.isSafeInteger(firstIndex)) return undefined;
  return { ledgerId: header.toString('hex', 8, 24), firstIndex, ...(isEncrypted ? { keyId: header.toString('hex', 32, 36) } : {}) };
}

/**
 * A kept segment takes up at least as much room as its hash and nothing else would: it can be erased without moving anything behind it.
 * Shorter ones are filled up with zero bytes.
 */
const leastKeptBytes = 16;

function roomOf(sizeBytes: number): number {
  return Math.max(sizeBytes, leastKeptBytes);
}

/** Above this, a segment's bytes are written from where they are instead of being copied into the record's buffer. */
const copyBytes = 16 * 1024;

/** Where the leaf of an entry record begins. */
export const leafAt = recordHeaderBytes + 1 + 8 + 4;

/**
 * The buffers of an entry record, in order, ready to be written: the first holds the leaf whole. What is copied together is put into what `allocate` gives.
 * `leaf`, `leafBytes` long in UTF-8, and the items are not checked here: their bounds are the caller's.
 */
export function encodeEntryRecord(
  index: number,
  leaf: Uint8Array | string,
  attributes: readonly ContentItem[],
  frame: readonly ContentItem[],
  leafBytes: number = leaf.length,
  allocate: (sizeBytes: number) => Buffer = Buffer.allocUnsafe,
): Buffer[] {
  let headBytes = leafAt + leafBytes + 2 + 4;
  let largeBytes = 0;
  for (const list of [attributes, frame]) {
    for (const item of list) {
      if (item.state === 'kept') {
        headBytes += 1 + saltBytes + 4;
        if (item.bytes.length <= copyBytes) headBytes += roomOf(item.bytes.length);
        else largeBytes += item.bytes.length;
      } else headBytes += item.state === 'dropped' ? 37 : item.state === 'erased' ? 21 + roomOf(item.sizeBytes) : 53;
    }
  }
  const head = allocate(headBytes);
  head.writeUInt32BE(headBytes - recordHeaderBytes + largeBytes, 0);
  head[8] = 1;
  head.writeUInt32BE(Math.floor(index / 0x1_0000_0000), 9);
  head.writeUInt32BE(index >>> 0, 13);
  head.writeUInt32BE(leafBytes, 17);
  if (typeof leaf === 'string') head.write(leaf, leafAt, leafBytes, leafBytes === leaf.length ? 'latin1' : 'utf8');
  else head.set(leaf, leafAt);
  let at = leafAt + leafBytes;
  at = head.writeUInt16BE(attributes.length, at);
  at = head.writeUInt32BE(frame.length, at);
  const buffers: Buffer[] = [];
  let from = 0;
  for (const list of [attributes, frame]) {
    for (const item of list) {
      if (item.state === 'kept') {
        head[at] = 0;
        head.set(item.salt, at + 1);
        at = head.writeUInt32BE(item.bytes.length, at + 1 + saltBytes);
        if (item.bytes.length <= copyBytes) {
          head.set(item.bytes, at);
          at += item.bytes.length;
          if (item.bytes.length < leastKeptBytes) at = zeroes(head, at, leastKeptBytes - item.bytes.length);
        } else {
          buffers.push(head.subarray(from, at), asBuffer(item.bytes));
          from = at;
        }
      } else {
        head[at] = item.state === 'dropped' ? 1 : item.state === 'part' ? 2 : 3;
        head.set(item.hash, at + 1);
        at = head.writeUInt32BE(item.sizeBytes, at + 33);
        if (item.state === 'part') {
          at = head.writeBigUInt64BE(BigInt(item.file), at);
          at = head.writeBigUInt64BE(BigInt(item.offset), at);
        } else if (item.state === 'erased') at = zeroes(head, at, roomOf(item.sizeBytes) - leastKeptBytes);
      }
    }
  }
  if (from < at) buffers.push(from === 0 ? head : head.subarray(from));
  return sealCrc(buffers);
}

function zeroes(buffer: Buffer, at: number, sizeBytes: number): number {
  buffer.fill(0, at, at + sizeBytes);
  return at + sizeBytes;
}

function isZero(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}

export function encodePartRecord(part: Omit<PartRecord, 'type'>): Buffer[] {
  const head = Buffer.allocUnsafe(recordHeaderBytes + 1 + 16 + 1 + 8 + saltBytes);
  head.writeUInt32BE(head.length - recordHeaderBytes + part.bytes.length, 0);
  head[8] = part.erased ? 3 : 2;
  head.write(part.connection, 9, 'hex');
  head[25] = part.direction;
  head.writeBigUInt64BE(BigInt(part.unit), 26);
  head.set(part.salt, 34);
  return sealCrc(part.bytes.length === 0 ? [head] : [head, part.bytes]);
}

/** Puts the checksum of the body, which starts behind the record's header, into that header. */
function sealCrc(buffers: Buffer[]): Buffer[] {
  let crc = crc32(buffers[0]!.subarray(recordHeaderBytes));
  for (let i = 1; i < buffers.length; i++) crc = crc32(buffers[i]!, crc);
  buffers[0]!.writeUInt32BE(crc, 4);
  return buffers;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Reads a record's body, whose checksum was found right; `undefined` when its inside does not fit. */
export function decodeRecord(body: Buffer): EntryRecord | PartRecord | undefined {
  try {
    if (body[0] === 2 || body[0] === 3) {
      if (body.length < 42 || body[17]! > 1) return undefined;
      const unit = Number(body.readBigUInt64BE(18));
      if (!Number.isSafeInteger(unit)) return undefined;
      if (body[0] === 3 && !isZero(body.subarray(26))) return undefined;
      return {
        type: 'part',
        ...(body[0] === 3 ? { erased: true as const } : {}),
        connection: body.toString('hex', 1, 17),
        direction: body[17] as 0 | 1,
        unit,
        salt: body.subarray(26, 42),
        bytes: body.subarray(42),
      };
    }
    if (body[0] !== 1) return undefined;
    const index = Number(body.readBigUInt64BE(1));
    if (!Number.isSafeInteger(index)) return undefined;
    const leafBytes = body.readUInt32BE(9);
    let at = 13 + leafBytes;
    const attributeCount = body.readUInt16BE(at);
    const frameCount = body.readUInt32BE(at + 2);
    at += 6;
    // each item takes at least 21 bytes: a count that cannot fit is refused before anything is allocated for it
    if ((attributeCount + frameCount) * 21 > body.length - at) return undefined;
    const items: ContentItem[] = [];
    for (let i = 0; i < attributeCount + frameCount; i++) {
      const state = body.readUInt8(at);
      if (state === 0) {
        const sizeBytes = body.readUInt32BE(at + 1 + saltBytes);
        const from = at + 5 + saltBytes;
        const end = from + roomOf(sizeBytes);
        if (end > body.length || !isZero(body.subarray(from + sizeBytes, end))) return undefined;
        items.push({ state: 'kept', salt: body.subarray(at + 1, at + 1 + saltBytes), bytes: body.subarray(from, from + sizeBytes) });
        at = end;
      } else if (state <= 3) {
        const hash = body.subarray(at + 1, at + 33);
        const sizeBytes = body.readUInt32BE(at + 33);
        if (state === 1) items.push({ state: 'dropped', hash, sizeBytes });
        else if (state === 3) {
          const end = at + 21 + roomOf(sizeBytes);
          if (end > body.length || !isZero(body.subarray(at + 37, end))) return undefined;
          items.push({ state: 'erased', hash, sizeBytes });
          at = end;
          continue;
        } else {
          const file = Number(body.readBigUInt64BE(at + 37));
          const offset = Number(body.readBigUInt64BE(at + 45));
          if (!Number.isSafeInteger(file) || !Number.isSafeInteger(offset)) return undefined;
          items.push({ state: 'part', hash, sizeBytes, file, offset });
        }
        at += state === 1 ? 37 : 53;
      } else return undefined;
    }
    if (at !== body.length) return undefined;
    return {
      type: 'entry',
      index,
      leaf: body.subarray(13, 13 + leafBytes),
      attributes: items.slice(0, attributeCount),
      frame: items.slice(attributeCount),
    };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Reads a record's body as it is stored, whose checksum was found right; `undefined` as of `decodeRecord`. */
export function decodeStored(body: Buffer, encrypted: Encrypted): EntryRecord | PartRecord | undefined {
  if (encrypted === undefined) return decodeRecord(body);
  if (encrypted.key !== undefined) {
    const plain = openBody(body, encrypted.key);
    return plain && decodeRecord(plain);
  }
  const clear = clearBytes(body);
  if (clear === 0 || body.length < clear + nonceBytes + leastHidden(body)) return undefined;
  if (body[0] !== 1) {
    const unit = Number(body.readBigUInt64BE(18));
    if (body[17]! > 1 || !Number.isSafeInteger(unit)) return undefined;
    const none = Buffer.alloc(0);
    return {
      type: 'part',
      ...(body[0] === 3 ? { erased: true as const } : {}),
      connection: body.toString('hex', 1, 17),
      direction: body[17] as 0 | 1,
      unit,
      salt: none,
      bytes: none,
      unopened: true,
    };
  }
  const index = Number(body.readBigUInt64BE(1));
  if (!Number.isSafeInteger(index)) return undefined;
  return { type: 'entry', index, leaf: body.subarray(13, clear), attributes: [], frame: [], unopened: true };
}

/** What stands at least behind the head of a body: the counts of an entry, the salt of a part. */
function leastHidden(body: Buffer): number {
  return body[0] === 1 ? 6 : saltBytes;
}

/** Whether a body takes the place of records that were pruned: so many zero bytes that what is behind them stays where it was. At the beginning of a file alone. */
export function isPruned(body: Buffer): boolean {
  return body[0] === 4 && isZero(body.subarray(1));
}

export type Scanned =
  | { kind: 'record'; offset: number; end: number; record: EntryRecord | PartRecord }
  /** The file ends inside a record, or its last record's checksum is wrong with nothing readable behind it: a write that a crash cut off. */
  | { kind: 'torn'; offset: number }
  /** A record that does not hold, with whole records behind it: not what a crash leaves. */
  | { kind: 'corrupt'; offset: number };

/** The records of a segment file from `from` (an offset at which a record begins) to its end; what is in the place of pruned ones is gone over. Synchronous: recovery and random access use it. */
export function* scanSegment(path: string, from = segmentHeaderBytes, keyOf?: KeyOf): Generator<Scanned> {
  const fd = openSync(path, 'r');
  try {
    // a live segment grows while it is read: only what was there at first is looked at
    const endBytes = fstatSync(fd).size;
    let window: Buffer = Buffer.alloc(0);
    let windowAt = from;
    const at = (offset: number, sizeBytes: number): Buffer => {
      if (offset < windowAt || offset + sizeBytes > windowAt + window.length) {
        // a fresh buffer each time: records that were handed out point into the old one
        window = readAt(fd, offset, Math.max(sizeBytes, Math.min(1024 * 1024, endBytes - offset)));
        windowAt = offset;
      }
      return window.subarray(offset - windowAt, offset - windowAt + sizeBytes);
    };
    let offset = from;
    const fileHeader = readSegmentHeader(readAt(fd, 0, segmentHeaderBytes));
    const encrypted = fileHeader && encryptionOf(fileHeader, keyOf);
    let nextIndex = from === segmentHeaderBytes ? fileHeader?.firstIndex : undefined;
    let isBeginning = from === segmentHeaderBytes;
    while (offset < endBytes) {
      // a file that was cut meanwhile gives less than was asked for
      const header = offset + recordHeaderBytes <= endBytes ? at(offset, recordHeaderBytes) : undefined;
      const lengthBytes = header?.length === recordHeaderBytes ? header.readUInt32BE(0) : 0;
      const end = offset + recordHeaderBytes + lengthBytes;
      let record: EntryRecord | PartRecord | undefined;
      if (lengthBytes > 0 && lengthBytes <= recordBytes && end <= endBytes) {
        const crc = header!.readUInt32BE(4);
        const body = at(offset + recordHeaderBytes, lengthBytes);
        if (body.length === lengthBytes && crc32(body) === crc) {
          if (isBeginning && isPruned(body)) {
            nextIndex = undefined;
            offset = end;
            continue;
          }
          record = decodeStored(body, encrypted);
        }
      }
      isBeginning = false;
      if (record === undefined) {
        yield { kind: isTorn(readAt(fd, offset, endBytes - offset), nextIndex, encrypted) ? 'torn' : 'corrupt', offset };
        return;
      }
      yield { kind: 'record', offset, end, record };
      if (record.type === 'entry') nextIndex = record.index + 1;
      offset = end;
    }
  } finally {
    closeSync(fd);
  }
}

/** Up to `sizeBytes` bytes; fewer where the file ends. */
function readAt(fd: number, offset: number, sizeBytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(sizeBytes);
  let filled = 0;
  while (filled < sizeBytes) {
    const step = readSync(fd, buffer, filled, sizeBytes - filled, offset + filled);
    if (step === 0) break;
    filled += step;
  }
  return buffer.subarray(0, filled);
}

/**
 * Is `rest`, a record that does not hold and everything behind it, what a crash leaves of an unfinished write?
 *
 * A record that claims to reach the end of the file or beyond, and otherwise begins as the next one must, is believed: its content is not searched
 * for records, since whoever sent it may know this format and have put some there, to make the ledger refuse to start. What else such a header can
 * be is a damaged length: then the checksum holds at the true one, and the next record begins there.
 */
function isTorn(rest: Buffer, nextIndex: number | undefined, encrypted: Encrypted): boolean {
  const body = rest.subarray(recordHeaderBytes);
  if (body.length === 0) return true;
  const lengthBytes = rest.readUInt32BE(0);
  if (lengthBytes < body.length || !couldBegin(rest, nextIndex)) return !recordsAfter(rest, 1, nextIndex, encrypted);
  const crc = rest.readUInt32BE(4);
  let state = 0xffff_ffff;
  let leftBytes = searchFactor * rest.length;
  for (let i = 0; i < body.length - 1; i++) {
    state = crcTable[(state ^ body[i]!) & 0xff]! ^ (state >>> 8);
    if ((state ^ 0xffff_ffff) >>> 0 !== crc) continue;
    leftBytes -= i;
    if (leftBytes < 0) return false;
    const shorter = decodeStored(body.subarray(0, i + 1), encrypted);
    if (shorter === undefined) continue;
    if (couldBegin(body.subarray(i + 1), shorter.type === 'entry' ? shorter.index + 1 : nextIndex)) return false;
  }
  return true;
}

/**
 * The search behind damage reads so many times the bytes that there are, and no more: content that somebody sent can look like the beginning of a record at
 * every place, and each would be read to the end. What cannot be searched to its end is not taken for a crash.
 */
const searchFactor = 64;

/** Whether a record may begin so, as far as it is there. */
function couldBegin(rest: Buffer, nextIndex: number | undefined): boolean {
  if (rest.length <= recordHeaderBytes) return true;
  const lengthBytes = rest.readUInt32BE(0);
  const body = rest.subarray(recordHeaderBytes);
  if (lengthBytes < leastBytes || lengthBytes > recordBytes) return false;
  if (body[0] === 2) return lengthBytes >= 42 && (body.length < 18 || body[17]! <= 1);
  return body[0] === 1 && (nextIndex === undefined || body.length < 9 || body.readBigUInt64BE(1) === BigInt(nextIndex));
}

/** The body of an entry record without leaf and items. */
const leastBytes = 1 + 8 + 4 + 2 + 4;
/** The body of a part record without its bytes. */
const leastPartBytes = 1 + 16 + 1 + 8 + saltBytes;

/**
 * Is there a whole record anywhere from `from` on? Tells a cut-off write from damage. Looks at every offset whose length field fits, and trusts a
 * record only by its checksum and, where the index of the next one is known, by an index that can follow.
 */
function recordsAfter(rest: Buffer, from: number, nextIndex: number | undefined, encrypted: Encrypted): boolean {
  let leftBytes = searchFactor * rest.length;
  for (let at = from; at + recordHeaderBytes < rest.length; at++) {
    const type = rest[at + recordHeaderBytes];
    if (type !== 1 && type !== 2) continue;
    const lengthBytes = rest.readUInt32BE(at);
    if (lengthBytes < leastBytes || lengthBytes > recordBytes || at + recordHeaderBytes + lengthBytes > rest.length) continue;
    const body = rest.subarray(at + recordHeaderBytes, at + recordHeaderBytes + lengthBytes);
    // what no index and no direction can be is refused before anything is read to its end
    if (type === 1 ? body.readUInt32BE(1) > 0x1f_ffff : lengthBytes < leastPartBytes || body[17]! > 1) continue;
    leftBytes -= lengthBytes;
    if (leftBytes < 0) return true;
    // the inside first: it is quicker to refuse than the checksum
    const record = decodeStored(body, encrypted);
    if (record === undefined) continue;
    if (record.type === 'entry' && nextIndex !== undefined && (record.index < nextIndex || record.index > nextIndex + rest.length / leastBytes))
      continue;
    if (crc32(body) === rest.readUInt32BE(at + 4)) return true;
  }
  return false;
}

/** For the checksum at every length; `crc32` of zlib is quicker, but only for one. */
const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb8_8320 : n >>> 1;
  return n;
});
