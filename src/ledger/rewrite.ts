/**
 * Erasing in closed segments (`spec/ledger.md`, Erasure): what was kept becomes the hash that it had, and zero bytes. No record moves and none changes its length.
 *
 * What must stay true: an `erasure` entry that names what goes is durable before anything here is called; at every moment the file under its name is whole, the old
 * one or the new one; what is not named stays byte for byte.
 * If we die here: the old file stands, perhaps with a copy under a name of its own, which the next start takes away (`removeCopies`); it then erases again.
 * Nothing here holds the event loop for more than a chunk of a file, or one record.
 */
import { readdirSync } from 'node:fs';
import { open, statfs, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { nodeCrypto } from '../crypto-node.ts';
import { segmentHash, saltBytes } from '../entry/commitment.ts';
import type { ErasureTarget } from '../entry/entry.ts';
import { entryBytes, recordBytes, reserveBytes } from '../limits.ts';
import { SyncError, syncFile, writeAll, type Files } from './files.ts';
import { decodeRecord, recordHeaderBytes, segmentHeaderBytes, segmentName, type ContentItem, type EntryRecord, type PartRecord } from './segment.ts';

const chunkBytes = 1024 * 1024;
/** Type, index and length of the leaf. */
const entryHeadBytes = 13;

/** What an erasure did, or would do. */
export interface Erased {
  /** Segments of frames and attributes, and their bytes. */
  segments: number;
  attributes: number;
  bytes: number;
}

/** A record of a closed segment, as far as it was asked for. */
export interface Walked {
  offset: number;
  end: number;
  /** Of a part: that of the next entry. */
  index: number;
  type: 'entry' | 'part' | 'erased part';
  /** Of an entry: its leaf. */
  leaf: () => Promise<Buffer>;
  /** The whole record. */
  record: () => Promise<{ body: Buffer; crc: number }>;
}

/** A record that has to go, in whole or in part, and what of it. */
interface Edit {
  offset: number;
  end: number;
  attributes: ReadonlySet<number>;
  frame: ReadonlySet<number>;
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

/**
 * The records of a segment, in order, up to its last whole one; `visit` says `false` to end. Bodies are read only when they are asked for.
 * The open segment may be walked too: what is being written ends it.
 */
export async function walkSegment(payload: string, firstIndex: number, visit: (walked: Walked) => unknown): Promise<void> {
  const handle = await open(join(payload, segmentName(firstIndex)), 'r');
  try {
    const { size } = await handle.stat();
    const reader = new Reader(handle);
    let index = firstIndex;
    for (let offset = segmentHeaderBytes; offset + recordHeaderBytes + entryHeadBytes <= size;) {
      const at = offset;
      const headBytes = recordHeaderBytes + entryHeadBytes;
      const head = reader.peek(at, headBytes) ?? (await reader.read(at, headBytes));
      if (head.length < headBytes) return;
      const lengthBytes = head.readUInt32BE(0);
      const crc = head.readUInt32BE(4);
      const type = head[recordHeaderBytes]!;
      const end = at + recordHeaderBytes + lengthBytes;
      if (lengthBytes === 0 || lengthBytes > recordBytes || end > size || type < 1 || type > 3) return;
      if (type === 1) index = Number(head.readBigUInt64BE(recordHeaderBytes + 1));
      const record = async (): Promise<{ body: Buffer; crc: number }> => ({
        body: reader.peek(at + recordHeaderBytes, lengthBytes) ?? (await reader.read(at + recordHeaderBytes, lengthBytes)),
        crc,
      });
      const leafBytes = type === 1 ? head.readUInt32BE(recordHeaderBytes + 9) : 0;
      if (leafBytes > Math.min(lengthBytes, entryBytes)) return;
      const leaf = async (): Promise<Buffer> => reader.peek(at + headBytes, leafBytes) ?? reader.read(at + headBytes, leafBytes);
      const said = visit({ offset: at, end, index, type: type === 1 ? 'entry' : type === 2 ? 'part' : 'erased part', leaf, record });
      if ((said instanceof Promise ? await said : said) === false) return;
      if (type === 1) index++;
      offset = end;
    }
  } finally {
    await handle.close();
  }
}

/** The entry record in a body, or nothing when it does not hold. */
export function entryIn({ body, crc }: { body: Buffer; crc: number }): EntryRecord | undefined {
  if (crc32(body) !== crc) return undefined;
  const record = decodeRecord(body);
  return record?.type === 'entry' ? record : undefined;
}

/** The part record at `offset` of a file, or nothing when it does not hold; `erased` says whether its bytes are still there. */
export async function partAt(payload: string, file: number, offset: number): Promise<PartRecord | undefined> {
  const handle = await open(join(payload, segmentName(file)), 'r');
  try {
    const reader = new Reader(handle);
    const head = await reader.exactly(offset, recordHeaderBytes);
    const lengthBytes = head.length < recordHeaderBytes ? 0 : head.readUInt32BE(0);
    if (lengthBytes === 0 || lengthBytes > recordBytes) return undefined;
    const body = await reader.exactly(offset + recordHeaderBytes, lengthBytes);
    const record = body.length === lengthBytes && crc32(body) === head.readUInt32BE(4) ? decodeRecord(body) : undefined;
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

  /** Whether any is about an index in [from, to). */
  touches(from: number, to: number): boolean {
    return this.#sorted.some((target) => target.index < to && (target.to ?? target.index) >= from);
  }
}

export interface ErasePlan {
  /** By file: what is still there of what was named. */
  readonly edits: Map<number, Edit[]>;
  readonly erased: Erased;
}

/**
 * Finds what is still there of what `targets` name. `segments`: the first indexes of the files, ascending.
 * @throws Error for a record that does not hold: then nothing is changed
 */
export async function planErasure(payload: string, segments: readonly number[], targets: readonly ErasureTarget[]): Promise<ErasePlan> {
  const wanted = new Targets(targets);
  const edits = new Map<number, Edit[]>();
  const erased: Erased = { segments: 0, attributes: 0, bytes: 0 };
  const parts = new Map<number, Map<number, number>>();
  for (const [i, firstIndex] of segments.entries()) {
    if (!wanted.touches(firstIndex, segments[i + 1] ?? Number.POSITIVE_INFINITY)) continue;
    await walkSegment(payload, firstIndex, (walked) => {
      if (walked.type !== 'entry') return true;
      const here = wanted.at(walked.index);
      return here.length === 0 ? true : look(walked, firstIndex, here);
    });
  }
  for (const [file, offsets] of parts) {
    await walkSegment(payload, file, ({ type, offset, end }) => {
      const sizeBytes = offsets.get(offset);
      if (sizeBytes === undefined || type !== 'part') return;
      add(file, { offset, end, attributes: none, frame: none });
      erased.segments++;
      erased.bytes += sizeBytes;
    });
  }
  for (const list of edits.values()) list.sort((a, b) => a.offset - b.offset);
  return { edits, erased };

  function add(file: number, edit: Edit): void {
    const list = edits.get(file);
    if (list === undefined) edits.set(file, [edit]);
    else list.push(edit);
  }

  async function look(walked: Walked, file: number, here: readonly ErasureTarget[]): Promise<void> {
    const { offset, end, index } = walked;
    const record = entryIn(await walked.record());
    if (record === undefined) throw new Error(`the record of entry ${index} in ${segmentName(file)} does not hold`);
    const attributes = kept(record.attributes, (k) => here.some((target) => named(target.attributes, k)));
    const isNamed = (k: number): boolean => here.some((target) => named(target.segments, k));
    const frame = kept(record.frame, isNamed);
    for (const [k, item] of record.frame.entries()) {
      if (item.state !== 'part' || !isNamed(k)) continue;
      const known = parts.get(item.file) ?? new Map<number, number>();
      parts.set(item.file, known.set(item.offset, item.sizeBytes));
    }
    for (const k of attributes) erased.bytes += sizeOf(record.attributes[k]!);
    for (const k of frame) erased.bytes += sizeOf(record.frame[k]!);
    erased.attributes += attributes.size;
    erased.segments += frame.size;
    if (attributes.size + frame.size > 0) add(file, { offset, end, attributes, frame });
  }
}

const none: ReadonlySet<number> = new Set();

function sizeOf(item: ContentItem): number {
  return item.state === 'kept' ? item.bytes.length : item.sizeBytes;
}

function kept(items: readonly ContentItem[], isNamed: (k: number) => boolean): Set<number> {
  const found = new Set<number>();
  for (const [k, item] of items.entries()) if (item.state === 'kept' && isNamed(k)) found.add(k);
  return found;
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

/** Somebody asked for an end; the old file stands. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

function copyOf(payload: string, firstIndex: number): string {
  return join(payload, `.${segmentName(firstIndex)}.tmp`);
}

/**
 * Writes a closed segment anew, with `edits` in it, and puts the new file in the place of the old one.
 * @throws SyncError when a sync fails, `Interrupted`, or the disk's error: then the old file stands
 */
export async function rewriteSegment(
  files: Files,
  payload: string,
  firstIndex: number,
  edits: readonly Edit[],
  isInterrupted: () => boolean,
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
    target = await files.create(copy, 0o600);
    let written = 0;
    let due: Buffer[] = [];
    let dueBytes = 0;
    const write = async (buffer: Buffer): Promise<void> => {
      due.push(buffer);
      dueBytes += buffer.length;
      if (dueBytes >= chunkBytes) await flush();
    };
    const flush = async (): Promise<void> => {
      if (isInterrupted()) throw new Interrupted('the erasure goes on with the next recorder');
      if (dueBytes === 0) return;
      await writeAll(files, target!, due, written);
      written += dueBytes;
      due = [];
      dueBytes = 0;
    };
    const take = async (from: number, to: number): Promise<void> => {
      for (let at = from; at < to; at += chunkBytes) await write(await reader.exactly(at, Math.min(chunkBytes, to - at)));
    };
    let at = 0;
    for (const edit of edits) {
      await take(at, edit.offset);
      const record = await reader.exactly(edit.offset, edit.end - edit.offset);
      const body = record.subarray(recordHeaderBytes);
      if (crc32(body) !== record.readUInt32BE(4)) throw new Error(`${path} is damaged at offset ${edit.offset}: nothing in it was erased`);
      record.writeUInt32BE(eraseIn(body, edit), 4);
      await write(record);
      at = edit.end;
    }
    await take(at, size);
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
