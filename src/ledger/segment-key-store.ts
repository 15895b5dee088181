/**
 * What the recorder does with the keys of encrypted segments (`segment-keys.ts`, `spec/ledger.md`, "Encrypted segments"): it alone makes them, keeps them and removes them.
 *
 * What must stay true: a segment's line is durable before its first record, and before a file that is written anew takes the place of the old one; the older line of
 * such a segment goes only when the new file is durable.
 */
import { createCipheriv, randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { SwornError } from '../errors.ts';
import { keyCheck, segmentKeyBytes, segmentKeyOf, type SegmentKey } from './cipher.ts';
import { replaceDurably, type Files } from './files.ts';
import { askCommand, askCommandNow } from './remote-key.ts';
import {
  readKeyFile,
  SegmentKeys,
  wrapAlgorithm,
  wrapIv,
  wrappedBytes,
  type Ask,
  type NoKey,
  type SegmentLine,
  type WrappingKey,
} from './segment-keys.ts';
import { readSegmentHeader, segmentHeaderBytes, segmentName } from './segment.ts';

/** Who wraps the keys of segments that are begun from now on. */
export type Encryption = { file: string } | { wrap: readonly string[]; unwrap: readonly string[] };

/** A key that is not kept yet. */
export interface FreshKey {
  key: SegmentKey;
  wrapping: WrappingKey;
  line: SegmentLine;
}

function wrapped(secret: Buffer, wrapping: Buffer): Buffer {
  const cipher = createCipheriv(wrapAlgorithm, wrapping, wrapIv);
  return Buffer.concat([cipher.update(secret), cipher.final()]);
}

export class SegmentKeyStore extends SegmentKeys {
  /** With what new segments are wrapped; `undefined`: they are not encrypted. */
  #current: WrappingKey | undefined;
  #by: Encryption | undefined;

  /** Whether segments that are begun now are encrypted. */
  get isOn(): boolean {
    return this.#current !== undefined;
  }

  /** Of the key that wraps those of new segments: 8 hex digits; `undefined`: they are not encrypted. */
  get wrappingId(): string | undefined {
    return this.#current?.id;
  }

  /** Whether a segment is stored as one that is begun now would be. */
  isCurrent(key: SegmentKey | undefined): boolean {
    return key?.wrappingId === this.#current?.id;
  }

  /**
   * From now on new segments are encrypted so, or not at all. Nothing is written before there is one. The key that a command has wrapped before is used again.
   * @throws SwornError `encryption-key`
   */
  configureNow(by: Encryption | undefined): void {
    const asked = this.#configured(by, askCommandNow);
    this.#take(by, asked as WrappingKey | undefined);
  }

  /** The same while messages are recorded. @throws (rejects) SwornError `encryption-key` */
  async configure(by: Encryption | undefined): Promise<() => void> {
    const asked = await this.#configured(by, askCommand);
    return () => this.#take(by, asked);
  }

  #take(by: Encryption | undefined, key: WrappingKey | undefined): void {
    this.#by = by;
    this.#current = key;
    if (key !== undefined) this.wrapping.set(key.id, key);
  }

  #configured(by: Encryption | undefined, ask: Ask): Promise<WrappingKey | undefined> | WrappingKey | undefined {
    if (by === undefined) return undefined;
    if (this.#by !== undefined && JSON.stringify(by) === JSON.stringify(this.#by)) return this.#current;
    const failed = (error: unknown): never => {
      throw new SwornError('encryption-key', `payload cannot be encrypted: ${(error as Error).message}`, {}, { cause: error });
    };
    try {
      if ('file' in by) {
        const secret = readKeyFile(by.file);
        const id = keyCheck(secret);
        return { id, secret, line: `FILE ${id} ${by.file}` };
      }
      this.read();
      const words = JSON.stringify({ wrap: by.wrap, unwrap: by.unwrap });
      const before = [...this.lines.wrapping].findLast(([, line]) => line.startsWith('COMMAND ') && line.endsWith(` ${words}`));
      if (before !== undefined) {
        const settle = (key: WrappingKey | NoKey): WrappingKey => {
          if ('problem' in key) throw new Error(key.problem);
          return key;
        };
        const read = this.wrapping.get(before[0]) ?? this.readWrapping(before[0], ask);
        return read instanceof Promise ? read.then(settle).catch(failed) : settle(read);
      }
      const secret = randomBytes(segmentKeyBytes);
      const id = keyCheck(secret);
      const made = (bytes: Buffer): WrappingKey => ({ id, secret, line: `COMMAND ${id} ${bytes.toString('base64')} ${words}` });
      const bytes = ask(by.wrap, secret, wrappedBytes);
      // what cannot be opened again must not be written with
      const tried = (kept: Buffer, back: Buffer): WrappingKey => {
        if (!back.equals(secret)) throw new Error(`what ${by.unwrap[0]} opens is not what ${by.wrap[0]} has wrapped`);
        return made(kept);
      };
      if (!(bytes instanceof Promise)) return tried(bytes, ask(by.unwrap, bytes, wrappedBytes) as Buffer);
      return bytes.then(async (kept) => tried(kept, await ask(by.unwrap, kept, wrappedBytes))).catch(failed);
    } catch (error) {
      return failed(error);
    }
  }

  /**
   * A wrapping key that is where it was not before: its line says so, for whoever reads what it has wrapped already.
   * @throws SyncError, SwornError `ledger-key-missing`, or the disk's error
   */
  relocate(files: Files): void {
    if (this.#current === undefined) return;
    this.read();
    const { id, line } = this.#current;
    const known = this.lines.wrapping.get(id);
    if (known !== undefined && known !== line) this.#write(files, new Map(this.lines.wrapping).set(id, line), this.lines.segments);
  }

  /** A key for a segment that is to be begun; `undefined` while encryption is off. Nothing may be written with it before `store`. */
  make(firstIndex: number): FreshKey | undefined {
    return this.#current && this.#make(firstIndex, this.#current);
  }

  /**
   * Another key for a segment that is to be written anew, wrapped as the one that it has. Nothing may be written with it before `store`.
   * @throws Error when the one that it has cannot be opened
   */
  remake(firstIndex: number, { wrappingId }: SegmentKey): FreshKey {
    const wrapping = this.wrapping.get(wrappingId);
    if (wrapping === undefined || 'problem' in wrapping) throw new Error(`the wrapping key ${wrappingId} was not opened`);
    return this.#make(firstIndex, wrapping);
  }

  #make(firstIndex: number, wrapping: WrappingKey): FreshKey {
    const secret = randomBytes(segmentKeyBytes);
    const key = segmentKeyOf(secret, wrapping.id);
    // one of 2^32 would have the name of the one that the segment has
    if (this.lineOf(firstIndex, key.id) !== undefined) return this.#make(firstIndex, wrapping);
    const bytes = wrapped(secret, wrapping.secret);
    const line = `SEGMENT ${segmentName(firstIndex)} ${key.id} ${wrapping.id} ${bytes.toString('base64')}`;
    return { key, wrapping, line: { firstIndex, id: key.id, wrappingId: wrapping.id, wrapped: bytes, line } };
  }

  /**
   * Keeps a key, durably, beside those that are there.
   * @throws SyncError, or the disk's error
   */
  store(files: Files, { key, wrapping, line }: FreshKey): void {
    this.read();
    this.#write(files, new Map(this.lines.wrapping).set(wrapping.id, wrapping.line), [...this.lines.segments, line]);
    this.opened.set(`${line.firstIndex} ${key.id}`, key);
  }

  /** Whether what was recorded with a key can be opened by the next process. */
  isKept(firstIndex: number, { id }: SegmentKey): boolean {
    try {
      this.read();
    } catch {
      return false;
    }
    return this.lines.segments.some((line) => line.firstIndex === firstIndex && line.id === id);
  }

  /**
   * Removes the lines of segments that were written anew: where the header of the file names a key that is here, all others of it go. One that names none of them was
   * put there by somebody else, and nothing of it is removed. Says how many went.
   * @throws SyncError, or the disk's error
   */
  removeStale(files: Files, payload: string): number {
    this.read();
    const of = new Map<number, SegmentLine[]>();
    for (const line of this.lines.segments) of.set(line.firstIndex, [...(of.get(line.firstIndex) ?? []), line]);
    const stale = new Set<SegmentLine>();
    for (const [firstIndex, lines] of of) {
      if (lines.length < 2) continue;
      const keyId = keyIdIn(join(payload, segmentName(firstIndex)));
      if (lines.some(({ id }) => id === keyId)) for (const line of lines) if (line.id !== keyId) stale.add(line);
    }
    return this.#remove(files, stale);
  }

  /** Removes the lines of segments that are no more. @throws as `removeStale` */
  removeBefore(files: Files, firstIndex: number): number {
    this.read();
    return this.#remove(files, new Set(this.lines.segments.filter((line) => line.firstIndex < firstIndex)));
  }

  #remove(files: Files, gone: ReadonlySet<SegmentLine>): number {
    if (gone.size === 0) return 0;
    const left = this.lines.segments.filter((line) => !gone.has(line));
    const used = new Set(left.map(({ wrappingId }) => wrappingId));
    if (this.#current) used.add(this.#current.id);
    this.#write(files, new Map([...this.lines.wrapping].filter(([id]) => used.has(id))), left);
    for (const { firstIndex, id } of gone) this.opened.delete(`${firstIndex} ${id}`);
    return gone.size;
  }

  #write(files: Files, wrapping: Map<string, string>, segments: SegmentLine[]): void {
    const text = [...wrapping.values(), ...segments.map(({ line }) => line)].map((line) => `${line}\n`).join('');
    replaceDurably(files, this.path, Buffer.from(text), 0o600);
    this.readAs = 'written';
    this.read();
  }
}

function keyIdIn(path: string): string | undefined {
  const header = Buffer.alloc(segmentHeaderBytes);
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    return readSync(fd, header, 0, segmentHeaderBytes, 0) === segmentHeaderBytes ? readSegmentHeader(header)?.keyId : undefined;
  } finally {
    closeSync(fd);
  }
}
