/**
 * The keys of encrypted segments, wrapped, in `segment-keys` (`spec/ledger.md`, "Encrypted segments"). It lies with the log's key, outside the ledger's folder and its
 * backups: a segment of which the line here is gone can be opened nowhere, in no copy of it.
 *
 * Each segment's key is wrapped (RFC 3394) with a wrapping key, which is in somebody's file, or which a command (a KMS) has wrapped. Lines:
 *
 *   FILE <check> <path>                                   a wrapping key: 64 hex digits in that file
 *   COMMAND <check> <wrapped, base64> {"wrap":["word", …],"unwrap":["word", …]}   a wrapping key: what `unwrap` makes of what `wrap` has made
 *   SEGMENT <first index> <check> <check of the wrapping key> <wrapped, base64>
 */
import { createDecipheriv } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SwornError } from '../errors.ts';
import { keyCheck, segmentKeyBytes, segmentKeyOf, type SegmentKey } from './cipher.ts';
import { askCommand, askCommandNow } from './remote-key.ts';

/** A key that can be used. */
export interface WrappingKey {
  id: string;
  secret: Buffer;
  line: string;
}

export interface SegmentLine {
  firstIndex: number;
  id: string;
  wrappingId: string;
  wrapped: Buffer;
  line: string;
}

/** Why a segment stays unopened. */
export interface NoKey {
  problem: string;
}

export type Ask = (words: readonly string[], input: Uint8Array, answerBytes: number) => Promise<Buffer> | Buffer;

/** A wrapped key is as long as what an ordinary KMS makes of 32 bytes, and much more. */
export const wrappedBytes = 16 * 1024;
export const wrapAlgorithm = 'id-aes256-wrap';
/** RFC 3394 §2.2.3.1. */
export const wrapIv = Buffer.alloc(8, 0xa6);

/** @throws for another wrapping key than the one that wrapped it: its integrity is checked */
function unwrapped(bytes: Buffer, wrapping: Buffer): Buffer {
  const decipher = createDecipheriv(wrapAlgorithm, wrapping, wrapIv);
  return Buffer.concat([decipher.update(bytes), decipher.final()]);
}

/** The lines of one ledger, and the keys that were opened: each wrapping key is asked for at most once in a process, unless it is asked for again by name. */
export class SegmentKeys {
  readonly path: string;
  protected readonly wrapping = new Map<string, WrappingKey | NoKey>();
  protected readonly opened = new Map<string, SegmentKey>();
  protected lines: { wrapping: Map<string, string>; segments: SegmentLine[] } = { wrapping: new Map(), segments: [] };
  protected readAs = '';

  /** `folder`: where the log's key is. */
  constructor(folder: string) {
    this.path = join(folder, 'segment-keys');
  }

  /** The key of a segment. Asks for a wrapping key where it was not asked for yet: that may take as long as its command. */
  open(firstIndex: number, keyId: string): SegmentKey | NoKey {
    return this.#open(firstIndex, keyId, (id) => {
      const known = this.wrapping.get(id) ?? this.readWrapping(id, askCommandNow);
      this.wrapping.set(id, known);
      return known;
    });
  }

  /** The same with what was opened already: waits for nobody. */
  find(firstIndex: number, keyId: string): SegmentKey | NoKey {
    return this.#open(firstIndex, keyId, (id) => this.wrapping.get(id) ?? { problem: `the wrapping key ${id} was not opened` });
  }

  /** Opened wrapping keys, for a thread that reads, too: whoever has them is asked once in a process. */
  get secrets(): ReadonlyMap<string, Uint8Array> {
    return new Map([...this.wrapping].flatMap(([id, key]) => ('problem' in key ? [] : [[id, key.secret]])));
  }

  /** Takes them over. */
  take(secrets: ReadonlyMap<string, Uint8Array>): void {
    for (const [id, secret] of secrets) this.wrapping.set(id, { id, secret: Buffer.from(secret), line: '' });
  }

  /** Opens what was not opened yet of the wrapping keys that lines name, off the main thread's way: for `find`. Those that failed are asked for again. */
  async openAll(): Promise<void> {
    this.read();
    for (const id of new Set(this.lines.segments.map(({ wrappingId }) => wrappingId))) {
      const known = this.wrapping.get(id);
      if (known === undefined || 'problem' in known) this.wrapping.set(id, await this.readWrapping(id, askCommand));
    }
  }

  #open(firstIndex: number, keyId: string, wrappingOf: (id: string) => WrappingKey | NoKey): SegmentKey | NoKey {
    const name = `${firstIndex} ${keyId}`;
    const opened = this.opened.get(name);
    if (opened !== undefined) return opened;
    try {
      const line = this.lineOf(firstIndex, keyId);
      if (line === undefined) {
        return { problem: existsSync(this.path) ? `${this.path} has no key for it: it was removed, or never there` : `${this.path} is not there` };
      }
      const wrapping = wrappingOf(line.wrappingId);
      if ('problem' in wrapping) return wrapping;
      let key: SegmentKey;
      try {
        key = segmentKeyOf(unwrapped(line.wrapped, wrapping.secret), wrapping.id);
      } catch {
        return { problem: `the wrapping key ${line.wrappingId} does not open what ${this.path} has for it: one of them was changed` };
      }
      if (key.id !== keyId) return { problem: `what ${this.path} has for it is another key` };
      this.opened.set(name, key);
      return key;
    } catch (error) {
      return { problem: (error as Error).message };
    }
  }

  protected lineOf(firstIndex: number, keyId: string): SegmentLine | undefined {
    const find = () => this.lines.segments.find((line) => line.firstIndex === firstIndex && line.id === keyId);
    return find() ?? (this.read() ? find() : undefined);
  }

  /** Reads the file if it changed. @throws SwornError `ledger-key-missing` for one that others can read, or that is damaged */
  protected read(): boolean {
    const stat = statSync(this.path, { throwIfNoEntry: false });
    const readAs = stat === undefined ? '' : `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
    if (readAs === this.readAs) return false;
    const wrapping = new Map<string, string>();
    const segments: SegmentLine[] = [];
    if (stat !== undefined) {
      // it names commands that we run
      if ((stat.mode & 0o077) !== 0 || stat.uid !== process.getuid?.())
        throw new SwornError('ledger-key-missing', `the file ${this.path} is somebody else's, or readable by others; chmod 600 it`, {
          path: this.path,
        });
      for (const line of readFileSync(this.path, 'utf8').split('\n')) {
        const own = /^SEGMENT (\d{16}) ([0-9a-f]{8}) ([0-9a-f]{8}) ([A-Za-z0-9+/=]+)$/.exec(line);
        const other = /^(?:FILE|COMMAND) ([0-9a-f]{8}) /.exec(line);
        if (own) segments.push({ firstIndex: Number(own[1]), id: own[2]!, wrappingId: own[3]!, wrapped: Buffer.from(own[4]!, 'base64'), line });
        else if (other) wrapping.set(other[1]!, line);
        else if (line !== '') throw new SwornError('ledger-key-missing', `${this.path} has a line that cannot be read`, { path: this.path });
      }
    }
    this.lines = { wrapping, segments };
    this.readAs = readAs;
    return true;
  }

  protected readWrapping(id: string, ask: typeof askCommandNow): WrappingKey | NoKey;
  protected readWrapping(id: string, ask: Ask): Promise<WrappingKey | NoKey> | WrappingKey | NoKey;
  protected readWrapping(id: string, ask: Ask): Promise<WrappingKey | NoKey> | WrappingKey | NoKey {
    const line = this.lines.wrapping.get(id);
    if (line === undefined) return { problem: `${this.path} does not say where the wrapping key ${id} is` };
    const [, kind, rest] = /^(FILE|COMMAND) [0-9a-f]{8} (.+)$/.exec(line) ?? [];
    const checked = (secret: Buffer, from: string): WrappingKey | NoKey =>
      secret.length === segmentKeyBytes && keyCheck(secret) === id ? { id, secret, line } : { problem: `what ${from} holds is another wrapping key` };
    const failed = (error: unknown): NoKey => ({ problem: (error as Error).message });
    try {
      if (kind === 'FILE') return checked(readKeyFile(rest!), rest!);
      const [, base64, json] = /^(\S+) (.+)$/.exec(rest ?? '') ?? [];
      const words = (JSON.parse(json ?? '') as { unwrap?: unknown }).unwrap;
      if (!Array.isArray(words) || words.length === 0 || !words.every((word) => typeof word === 'string'))
        return { problem: `${this.path} has a line that cannot be read` };
      const program = words[0] as string;
      const answer = ask(words, Buffer.from(base64!, 'base64'), wrappedBytes);
      return answer instanceof Promise ? answer.then((secret) => checked(secret, program)).catch(failed) : checked(answer, program);
    } catch (error) {
      return failed(error);
    }
  }
}

/** A wrapping key: 64 hex digits. @throws Error */
export function readKeyFile(path: string): Buffer {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new Error(`the key file ${path} is not there`);
  if ((stat.mode & 0o077) !== 0) throw new Error(`the key file ${path} is readable by others; chmod 600 it`);
  const text = readFileSync(path, 'latin1').trim();
  if (!/^[0-9a-fA-F]{64}$/.test(text)) throw new Error(`the key file ${path} has no 64 hex digits`);
  return Buffer.from(text, 'hex');
}
