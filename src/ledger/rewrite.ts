/**
 * Erasing in closed segments (`spec/ledger.md`, Erasure): what was kept becomes the hash that it had, and zero bytes. No record moves and none changes its length.
 *
 * What must stay true: an `erasure` entry that names what goes is durable before anything here is called; at every moment the file under its name is whole, the old
 * one or the new one; what is not named stays byte for byte. What is encrypted is so under another key afterwards, and the old key goes when the new file is durable
 * (`Ledger.erase`): so the old file can be opened nowhere, in no copy of it.
 * If we die here: the old file stands, perhaps with a copy under a name of its own, which the next start takes away (`removeCopies`); it then erases again.
 * Nothing here holds the event loop for more than a chunk of a file, or one record.
 */
import { readdirSync } from 'node:fs';
import { open, statfs, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { nodeCrypto } from '../crypto-node.ts';
import { segmentHash, saltBytes } from '../entry/commitment.ts';
import type { ErasureTarget } from '../entry/entry.ts';
import { SwornError } from '../errors.ts';
import { entryBytes, recordBytes, reserveBytes } from '../limits.ts';
import { encryptRecord, nonceBytes, openBody, type SegmentKey } from './cipher.ts';
import { SyncError, syncFile, writeAll, type Files } from './files.ts';
import type { FreshKey, SegmentKeyStore } from './segment-key-store.ts';
import {
  decodeRecord,
  decodeStored,
  encodeSegmentHeader,
  isPruned,
  readSegmentHeader,
  recordHeaderBytes,
  segmentHeaderBytes,
  segmentName,
  type ContentItem,
  type Encrypted,
  type EntryRecord,
  type PartRecord,
  type SegmentHeader,
} from './segment.ts';

const chunkBytes = 1024 * 1024;
/** So long nothing else has its turn. */
const sliceMs = 3;
/** Type, index and length of the leaf. */
const entryHeadBytes = 13;

/** What an erasure did, or would do. */
export interface Erased {
  /** Segments of frames and attributes, and their bytes. */
  segments: number;
  attributes: number;
  bytes: number;
}

/** What `erasure` entries name. */
export interface Naming {
  targets: readonly ErasureTarget[];
  /** Closed connections whose unfinished frames go, too: 32 hex digits. */
  unfinished?: ReadonlySet<string>;
}

/** A record that has to go, in whole or in part: positions of what of it. */
interface Edit {
  offset: number;
  end: number;
  attributes: readonly number[];
  frame: readonly number[];
}

/** Positions of the items of a list that a target names. */
export function named(positions: readonly number[] | 'all' | undefined, k: number): boolean {
  return positions === 'all' || (positions?.includes(k) ?? false);
}

/** A file that is read in windows, each of which lets the event loop turn. */
class Reader {
  readonly #handle: FileHandle;
  #window: Buffer = Buffer.alloc(0);
  #windowAt = 0;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** From the window, if all of it is there. */
  peek(offset: number, sizeBytes: number): Buffer | undefined {
    const from = offset - this.#windowAt;
    return from >= 0 && from + sizeBytes <= this.#window.length ? this.#window.subarray(from, from + sizeBytes) : undefined;
  }

  /** Fewer bytes than asked for where the file ends. */
  async read(offset: number, sizeBytes: number): Promise<Buffer> {
    const seen = this.peek(offset, sizeBytes);
    if (seen !== undefined) return seen;
    this.#window = await this.exactly(offset, Math.max(sizeBytes, chunkBytes));
    this.#windowAt = offset;
    return this.#window.subarray(0, sizeBytes);
  }

  /** A buffer of its own. */
  async exactly(offset: number, sizeBytes: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(sizeBytes);
    let filled = 0;
    while (filled < sizeBytes) {
      const { bytesRead } = await this.#handle.read(buffer, filled, sizeBytes - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  }
}

/** A record's body as it is stored. */
interface StoredBody {
  body: Buffer;
  crc: number;
  encrypted: Encrypted;
}

/** A record of a segment that is walked over. One object for all of them: it is about this one until `visit` is done. */
export class Walked {
  offset = 0;
  end = 0;
  /** Of a part: that of the next entry. */
  index = 0;
  type: 'entry' | 'part' | 'erased part' = 'entry';
  crc = 0;
  leafBytes = 0;
  readonly #reader: Reader;
  readonly #header: SegmentHeader | undefined;
  readonly #keys: SegmentKeyStore;
  #encrypted: Encrypted;

  constructor(reader: Reader, header: SegmentHeader | undefined, keys: SegmentKeyStore) {
    this.#reader = reader;
    this.#header = header;
    this.#keys = keys;
  }

  /** Of what is encrypted: these come on top of what a record has in the clear. */
  get nonceBytes(): number {
    return this.#header?.keyId === undefined ? 0 : nonceBytes;
  }

  /** Of a part: its connection, and the direction of its frame: 0 to the server, 1 to the client. */
  async link(): Promise<{ connection: string; side: 0 | 1 }> {
    const head = await this.#bytes(this.offset, recordHeaderBytes + 18);
    return { connection: head.toString('hex', recordHeaderBytes + 1, recordHeaderBytes + 17), side: head[recordHeaderBytes + 17] === 1 ? 1 : 0 };
  }

  /** Of an entry: its leaf. */
  leaf(): Promise<Buffer> {
    return this.#bytes(this.offset + recordHeaderBytes + entryHeadBytes, this.leafBytes);
  }

  /** The whole record. @throws (rejects) SwornError `encryption-key` where it is encrypted and its key was not opened */
  async record(): Promise<StoredBody> {
    const { offset, end, crc } = this;
    const body = await this.#bytes(offset + recordHeaderBytes, end - offset - recordHeaderBytes);
    return { body, crc, encrypted: (this.#encrypted ??= encryptedIn(this.#header, this.#keys)) };
  }

  async #bytes(offset: number, sizeBytes: number): Promise<Buffer> {
    return this.#reader.peek(offset, sizeBytes) ?? this.#reader.read(offset, sizeBytes);
  }
}

/**
 * The records of a segment, in order, up to its last whole one, without what is in the place of pruned ones; `visit` says `false` to end. Bodies are read only when they are asked for.
 * The open segment may be walked too: what is being written ends it.
 */
export async function walkSegment(payload: string, firstIndex: number, keys: SegmentKeyStore, visit: (walked: Walked) => unknown): Promise<void> {
  const handle = await open(join(payload, segmentName(firstIndex)), 'r');
  try {
    const { size } = await handle.stat();
    const reader = new Reader(handle);
    const walked = new Walked(reader, await headerIn(reader), keys);
    let index = firstIndex;
    let turnAt = performance.now() + sliceMs;
    const headBytes = recordHeaderBytes + entryHeadBytes;
    for (let offset = segmentHeaderBytes; offset + headBytes <= size;) {
      const head = reader.peek(offset, headBytes) ?? (await reader.read(offset, headBytes));
      if (head.length < headBytes) return;
      const lengthBytes = head.readUInt32BE(0);
      const type = head[recordHeaderBytes]!;
      const end = offset + recordHeaderBytes + lengthBytes;
      if (lengthBytes === 0 || lengthBytes > recordBytes || end > size || type < 1 || type > 4) return;
      if (type === 4) {
        offset = end;
        continue;
      }
      if (type === 1) index = Number(head.readBigUInt64BE(recordHeaderBytes + 1));
      walked.offset = offset;
      walked.end = end;
      walked.index = index;
      walked.type = type === 1 ? 'entry' : type === 2 ? 'part' : 'erased part';
      walked.crc = head.readUInt32BE(4);
      walked.leafBytes = type === 1 ? head.readUInt32BE(recordHeaderBytes + 9) : 0;
      if (walked.leafBytes > Math.min(lengthBytes, entryBytes)) return;
      if (performance.now() >= turnAt) {
        await nextTurn();
        turnAt = performance.now() + sliceMs;
      }
      const said = visit(walked);
      if ((said instanceof Promise ? await said : said) === false) return;
      if (type === 1) index++;
      offset = end;
    }
  } finally {
    await handle.close();
  }
}

/** The entry record in a body, or nothing when it does not hold. */
export function entryIn({ body, crc, encrypted }: StoredBody): EntryRecord | undefined {
  if (crc32(body) !== crc) return undefined;
  const record = decodeStored(body, encrypted);
  return record?.type === 'entry' ? record : undefined;
}

async function headerIn(reader: Reader): Promise<SegmentHeader | undefined> {
  return readSegmentHeader(await reader.read(0, segmentHeaderBytes));
}

/**
 * With keys that were opened before: nothing here waits for whoever has them.
 * @throws SwornError `encryption-key` where content was asked for that cannot be opened: it is neither passed over nor taken for damaged
 */
function encryptedIn(header: SegmentHeader | undefined, keys: SegmentKeyStore): { key: SegmentKey } | undefined {
  if (header?.keyId === undefined) return undefined;
  const key = keys.find(header.firstIndex, header.keyId);
  if ('problem' in key) throw new SwornError('encryption-key', `the segment ${segmentName(header.firstIndex)} cannot be opened: ${key.problem}`);
  return { key };
}

/** Why a segment cannot be written anew: it is encrypted, and its key was not opened. `undefined`: it can. */
export async function closedBy(payload: string, firstIndex: number, keys: SegmentKeyStore): Promise<string | undefined> {
  const handle = await open(join(payload, segmentName(firstIndex)), 'r');
  try {
    const header = await headerIn(new Reader(handle));
    const key = header?.keyId === undefined ? undefined : keys.find(header.firstIndex, header.keyId);
    return key !== undefined && 'problem' in key ? key.problem : undefined;
  } finally {
    await handle.close();
  }
}

/** The part record at `offset` of a file, or nothing when it does not hold; `erased` says whether its bytes are still there. */
export async function partAt(payload: string, file: number, offset: number, keys: SegmentKeyStore): Promise<PartRecord | undefined> {
  const handle = await open(join(payload, segmentName(file)), 'r');
  try {
    const reader = new Reader(handle);
    const encrypted = encryptedIn(readSegmentHeader(await reader.exactly(0, segmentHeaderBytes)), keys);
    const head = await reader.exactly(offset, recordHeaderBytes);
    const lengthBytes = head.length < recordHeaderBytes ? 0 : head.readUInt32BE(0);
    if (lengthBytes === 0 || lengthBytes > recordBytes) return undefined;
    const body = await reader.exactly(offset + recordHeaderBytes, lengthBytes);
    const record = body.length === lengthBytes && crc32(body) === head.readUInt32BE(4) ? decodeStored(body, encrypted) : undefined;
    return record?.type === 'part' ? record : undefined;
  } finally {
    await handle.close();
  }
}

/** Targets by the index where they begin, for a walk that goes upwards. */
class Targets {
  readonly #sorted: readonly ErasureTarget[];
  #next = 0;
  #active: ErasureTarget[] = [];

  constructor(targets: readonly ErasureTarget[]) {
    this.#sorted = targets.toSorted((a, b) => a.index - b.index);
  }

  at(index: number): readonly ErasureTarget[] {
    for (let next = this.#sorted[this.#next]; next !== undefined && next.index <= index; next = this.#sorted[++this.#next]) this.#active.push(next);
    if (this.#active.length > 0) this.#active = this.#active.filter((target) => (target.to ?? target.index) >= index);
    return this.#active;
  }

  get first(): number {
    return this.#sorted[0]?.index ?? Number.POSITIVE_INFINITY;
  }

  get last(): number {
    return this.#sorted.reduce((last, { index, to = index }) => Math.max(last, to), -1);
  }

  /** Whether any is about an index in [from, to). */
  touches(from: number, to: number): boolean {
    return this.#sorted.some((target) => target.index < to && (target.to ?? target.index) >= from);
  }
}

/** What is to be done in one file, and parts of its frames that lie in others, with their lengths. */
interface FilePlan {
  edits: Edit[];
  erased: Erased;
  elsewhere: Map<number, Map<number, number>>;
}

/**
 * Finds what is still there, in one file, of what is named.
 * @throws Error for a record that does not hold: then nothing is changed
 */
async function planFile(
  payload: string,
  firstIndex: number,
  wanted: Targets,
  unfinished: ReadonlySet<string>,
  keys: SegmentKeyStore,
): Promise<FilePlan> {
  const plan: FilePlan = { edits: [], erased: { segments: 0, attributes: 0, bytes: 0 }, elsewhere: new Map() };
  /** Parts of this file, by offset, until an entry names them. */
  const parts = new Map<number, { end: number; sizeBytes: number }>();
  const part = (offset: number, end: number, sizeBytes: number): void => {
    plan.edits.push({ offset, end, attributes: nothing, frame: nothing });
    plan.erased.segments++;
    plan.erased.bytes += sizeBytes;
  };
  const look = async (walked: Walked, here: readonly ErasureTarget[]): Promise<void> => {
    const { offset, end, index } = walked;
    const record = entryIn(await walked.record());
    if (record === undefined) throw new Error(`the record of entry ${index} in ${segmentName(firstIndex)} does not hold`);
    const attributes = kept(record.attributes, (k) => here.some((target) => named(target.attributes, k)));
    const isNamed = (k: number): boolean => here.some((target) => named(target.segments, k));
    const frame = kept(record.frame, isNamed);
    for (const [k, item] of record.frame.entries()) {
      if (item.state !== 'part' || !isNamed(k)) continue;
      const found = item.file === firstIndex ? parts.get(item.offset) : undefined;
      if (found !== undefined) {
        part(item.offset, found.end, found.sizeBytes);
        parts.delete(item.offset);
      } else if (item.file !== firstIndex) {
        const known = plan.elsewhere.get(item.file) ?? new Map<number, number>();
        plan.elsewhere.set(item.file, known.set(item.offset, item.sizeBytes));
      }
    }
    for (const k of attributes) plan.erased.bytes += sizeOf(record.attributes[k]!);
    for (const k of frame) plan.erased.bytes += sizeOf(record.frame[k]!);
    plan.erased.attributes += attributes.length;
    plan.erased.segments += frame.length;
    if (attributes.length + frame.length > 0) plan.edits.push({ offset, end, attributes, frame });
  };
  await walkSegment(payload, firstIndex, keys, (walked) => {
    const { type, offset, end } = walked;
    if (type === 'entry') {
      const here = wanted.at(walked.index);
      return here.length === 0 ? true : look(walked, here);
    }
    if (type === 'erased part') return true;
    const sizeBytes = end - offset - recordHeaderBytes - partHeadBytes - walked.nonceBytes;
    if (unfinished.size === 0) return void parts.set(offset, { end, sizeBytes });
    return walked.link().then(({ connection }) => {
      if (unfinished.has(connection)) part(offset, end, sizeBytes);
      else parts.set(offset, { end, sizeBytes });
    });
  });
  return plan;
}

/** Type, connection, direction, unit and salt of a part's body. */
const partHeadBytes = 1 + 16 + 1 + 8 + saltBytes;

/**
 * Erases what is named in the closed segments `segments` (first indexes, ascending), one file after the other; what is erased already stays so.
 * @throws SyncError when a sync fails, `Interrupted`, or the disk's error: then some files may be done and the others are as they were
 */
export async function eraseNamed(
  files: Files,
  payload: string,
  segments: readonly number[],
  { targets, unfinished = new Set() }: Naming,
  isInterrupted: () => boolean,
  keys: SegmentKeyStore,
): Promise<Erased & { files: number }> {
  const wanted = new Targets(targets);
  const done = { segments: 0, attributes: 0, bytes: 0, files: 0 };
  const elsewhere = new Map<number, Map<number, number>>();
  const rewrite = async (firstIndex: number, edits: Edit[]): Promise<void> => {
    if (edits.length === 0) return;
    edits.sort((a, b) => a.offset - b.offset);
    await rewriteSegment(files, payload, firstIndex, edits, isInterrupted, keys);
    done.files++;
  };
  for (const [i, firstIndex] of segments.entries()) {
    if (isInterrupted()) throw new Interrupted('the erasure goes on with the next recorder');
    // frames of a connection that were not finished lie between its entries
    const next = segments[i + 1] ?? Number.POSITIVE_INFINITY;
    if (unfinished.size === 0 ? !wanted.touches(firstIndex, next) : firstIndex > wanted.last || next <= wanted.first) continue;
    const plan = await planFile(payload, firstIndex, wanted, unfinished, keys);
    await rewrite(firstIndex, plan.edits);
    for (const name of ['segments', 'attributes', 'bytes'] as const) done[name] += plan.erased[name];
    for (const [file, offsets] of plan.elsewhere) {
      const known = elsewhere.get(file);
      if (known === undefined) elsewhere.set(file, offsets);
      else for (const [offset, sizeBytes] of offsets) known.set(offset, sizeBytes);
    }
  }
  // of frames that began in one file and ended in another
  for (const [file, offsets] of elsewhere) {
    const edits: Edit[] = [];
    await walkSegment(payload, file, keys, ({ type, offset, end }) => {
      const sizeBytes = offsets.get(offset);
      if (sizeBytes === undefined || type !== 'part') return;
      edits.push({ offset, end, attributes: nothing, frame: nothing });
      done.segments++;
      done.bytes += sizeBytes;
    });
    await rewrite(file, edits);
  }
  return done;
}

const nothing: readonly number[] = [];
const first: readonly number[] = [0];

function sizeOf(item: ContentItem): number {
  return item.state === 'kept' ? item.bytes.length : item.sizeBytes;
}

function kept(items: readonly ContentItem[], isNamed: (k: number) => boolean): readonly number[] {
  const found: number[] = [];
  for (const [k, item] of items.entries()) if (item.state === 'kept' && isNamed(k)) found.push(k);
  // most frames are one segment, and there may be a hundred thousand in a file
  return found.length === 0 ? nothing : found.length === 1 && found[0] === 0 ? first : found;
}

/** Makes a record's kept items erased ones, in its own bytes. Returns the checksum of the body as it is now. */
function eraseIn(body: Buffer, { attributes, frame }: Edit): number {
  if (body[0] === 2) {
    body[0] = 3;
    body.fill(0, 26);
    return crc32(body);
  }
  const record = decodeRecord(body);
  if (record?.type !== 'entry') throw new Error('a record that was to be erased is none');
  for (const [items, positions] of [
    [record.attributes, attributes],
    [record.frame, frame],
  ] as const) {
    for (const k of positions) {
      const item = items[k];
      if (item?.state !== 'kept') continue;
      const { salt, bytes } = item;
      const sizeBytes = bytes.length;
      const at = salt.byteOffset - body.byteOffset - 1;
      const hash = segmentHash(nodeCrypto, salt, bytes);
      // as long as it was: 1 + salt + 4 + room is 1 + hash + 4 + room - 16
      const end = at + 1 + saltBytes + 4 + Math.max(sizeBytes, 16);
      body[at] = 3;
      body.set(hash, at + 1);
      body.writeUInt32BE(sizeBytes, at + 33);
      body.fill(0, at + 37, end);
    }
  }
  return crc32(body);
}

/** An encrypted record under another key, and without what goes; as long as it was. */
function changed(record: Buffer, key: SegmentKey, { key: next }: FreshKey, edit: Edit | undefined): Buffer {
  const body = openBody(record.subarray(recordHeaderBytes), key);
  if (body === undefined) throw new Error('a record that was to be written anew is none');
  if (edit) eraseIn(body, edit);
  return encryptRecord([Buffer.concat([record.subarray(0, recordHeaderBytes), body])], next);
}

/**
 * Takes the entries below `end` out of a closed segment, with the parts between them: what is behind them stays where it was. Without such entries nothing happens.
 * @throws as `eraseNamed`
 */
export async function pruneSegment(
  files: Files,
  payload: string,
  firstIndex: number,
  end: number,
  isInterrupted: () => boolean,
  keys: SegmentKeyStore,
): Promise<void> {
  let cut = 0;
  await walkSegment(payload, firstIndex, keys, (walked) => {
    if (walked.type !== 'entry') return true;
    if (walked.index >= end) return false;
    cut = walked.end;
    return true;
  });
  if (cut > 0) await rewriteSegment(files, payload, firstIndex, [], isInterrupted, keys, [...prunedRecords(cut - segmentHeaderBytes)]);
}

/** Records of nothing, so many bytes of them. */
function* prunedRecords(sizeBytes: number): Generator<Buffer> {
  // whatever is cut is longer than two headers, so that no rest is too short for one of its own
  for (let left = sizeBytes; left > 0;) {
    const bodyBytes = left <= recordBytes ? left - recordHeaderBytes : recordBytes / 2;
    const header = Buffer.alloc(recordHeaderBytes + 1);
    header.writeUInt32BE(bodyBytes, 0);
    header[recordHeaderBytes] = 4;
    let crc = crc32(header.subarray(recordHeaderBytes));
    for (let at = 1; at < bodyBytes; at += chunkBytes) crc = crc32(zeros.subarray(0, Math.min(chunkBytes, bodyBytes - at)), crc);
    header.writeUInt32BE(crc, 4);
    yield header;
    for (let at = 1; at < bodyBytes; at += chunkBytes) yield zeros.subarray(0, Math.min(chunkBytes, bodyBytes - at));
    left -= recordHeaderBytes + bodyBytes;
  }
}

const zeros = Buffer.alloc(chunkBytes);

/** Somebody asked for an end; the old file stands. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

function copyOf(payload: string, firstIndex: number): string {
  return join(payload, `.${segmentName(firstIndex)}.tmp`);
}

/**
 * Writes a closed segment anew, with `edits` in it, or `pruned` in the place of its first records, and puts the new file in the place of the old one.
 * @throws SyncError when a sync fails, `Interrupted`, or the disk's error: then the old file stands
 */
async function rewriteSegment(
  files: Files,
  payload: string,
  firstIndex: number,
  edits: readonly Edit[],
  isInterrupted: () => boolean,
  keys: SegmentKeyStore,
  pruned: readonly Buffer[] = [],
): Promise<void> {
  const path = join(payload, segmentName(firstIndex));
  const copy = copyOf(payload, firstIndex);
  const source = await open(path, 'r');
  let target: number | undefined;
  try {
    const { size } = await source.stat();
    const { bavail, bsize } = await statfs(payload);
    // a copy must not take the room that recording needs
    if (bavail * bsize < size + 2 * reserveBytes) throw Object.assign(new Error(`ENOSPC: no room for a copy of ${path}`), { code: 'ENOSPC' });
    const reader = new Reader(source);
    const header = await headerIn(reader);
    const key = encryptedIn(header, keys)?.key;
    // If we die behind this: a key that nothing was written with, or only a copy that goes. It goes with the next erasure that is done.
    const fresh = key && keys.remake(firstIndex, key);
    if (fresh) keys.store(files, fresh);
    target = await files.create(copy, 0o600);
    let written = 0;
    let due: Buffer[] = [];
    let dueBytes = 0;
    let turnAt = performance.now() + sliceMs;
    const write = async (buffer: Buffer): Promise<void> => {
      const before = due.at(-1);
      // most often the next bytes of the same window
      if (before?.buffer === buffer.buffer && before.byteOffset + before.length === buffer.byteOffset)
        due[due.length - 1] = Buffer.from(before.buffer, before.byteOffset, before.length + buffer.length);
      else due.push(buffer);
      dueBytes += buffer.length;
      if (dueBytes >= chunkBytes) await flush();
      else if (performance.now() >= turnAt) {
        await nextTurn();
        turnAt = performance.now() + sliceMs;
      }
    };
    const flush = async (): Promise<void> => {
      if (isInterrupted()) throw new Interrupted('the erasure goes on with the next recorder');
      if (dueBytes === 0) return;
      await writeAll(files, target!, due, written);
      written += dueBytes;
      due = [];
      dueBytes = 0;
      turnAt = performance.now() + sliceMs;
    };
    const take = async (from: number, to: number): Promise<void> => {
      for (let at = from; at < to; at += chunkBytes) {
        const sizeBytes = Math.min(chunkBytes, to - at);
        const bytes = reader.peek(at, sizeBytes) ?? (await reader.read(at, sizeBytes));
        if (bytes.length < sizeBytes) throw new Error(`${path} became shorter while it was written anew`);
        await write(bytes);
      }
    };
    const recordAt = async (offset: number, sizeBytes: number): Promise<Buffer> => {
      const record = reader.peek(offset, sizeBytes) ?? (await reader.read(offset, sizeBytes));
      if (record.length < sizeBytes || crc32(record.subarray(recordHeaderBytes)) !== record.readUInt32BE(4))
        throw new Error(`${path} is damaged at offset ${offset}: nothing in it was erased`);
      return record;
    };
    let at = 0;
    const writePruned = async (): Promise<void> => {
      at = segmentHeaderBytes;
      for (const bytes of pruned) {
        await write(bytes);
        at += bytes.length;
      }
    };
    if (key === undefined) {
      await take(0, segmentHeaderBytes);
      await writePruned();
      for (const edit of edits) {
        if (edit.offset > at) await take(at, edit.offset);
        // changed where it was read: nobody reads this window again
        const record = await recordAt(edit.offset, edit.end - edit.offset);
        record.writeUInt32BE(eraseIn(record.subarray(recordHeaderBytes), edit), 4);
        await write(record);
        at = edit.end;
      }
      await take(at, size);
    } else {
      // all of it under the new key: what is left under the old one could be opened with a copy of that
      await write(encodeSegmentHeader(header!.ledgerId, firstIndex, fresh!.key.id));
      let k = 0;
      await writePruned();
      while (at < size) {
        const head = reader.peek(at, recordHeaderBytes) ?? (await reader.read(at, recordHeaderBytes));
        const sizeBytes = recordHeaderBytes + (head.length < recordHeaderBytes ? 0 : head.readUInt32BE(0));
        const record = await recordAt(at, Math.min(sizeBytes, recordHeaderBytes + recordBytes));
        const edit = edits[k]?.offset === at ? edits[k++] : undefined;
        // what is in the place of pruned records is in the clear
        await write(isPruned(record.subarray(recordHeaderBytes)) ? record : changed(record, key, fresh!, edit));
        at += sizeBytes;
      }
      if (k < edits.length) throw new Error(`${path} has no record at offset ${edits[k]!.offset}: nothing in it was erased`);
    }
    await flush();
    if (written !== size) throw new Error(`${path} changed its length while it was written anew`);
    try {
      await files.sync(target);
    } catch (error) {
      throw new SyncError(`sync of ${copy}: ${(error as Error).message}`, { cause: error });
    }
    files.close(target);
    target = undefined;
    files.rename(copy, path);
    // Until this returns a power cut may bring the old file back: the erasure counts as unfinished, and is done again.
    await syncFile(files, payload);
  } catch (error) {
    if (target !== undefined) files.close(target);
    try {
      files.unlink(copy);
    } catch {
      // it was not made, it is in its place already, or the next start takes it away
    }
    throw error;
  } finally {
    await source.close();
  }
}

/** Takes away what a crash left of copies: they hold what was to be erased. */
export function removeCopies(files: Files, payload: string): void {
  for (const name of readdirSync(payload)) if (/^\.\d{16}\.tmp$/.test(name)) files.unlink(join(payload, name));
}
