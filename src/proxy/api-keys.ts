/**
 * API keys of the proxy's own: a file with a line for each, `name id salt hash`, and `#` for comments. The key is `sworn_<id>_<secret>`; the hash is SHA-256(salt ‖ secret).
 *
 * A slow hash would protect what people choose, and let anybody who sends wrong keys keep the proxy busy. These secrets are 256 random bits that nobody chooses: the file
 * tells nothing of them, and to check one costs a microsecond.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SwornError } from '../errors.ts';
import { keyPrefix } from './credentials.ts';
import { Watched } from './watched-file.ts';

const idBytes = 6;
const saltBytes = 16;
const secretBytes = 32;
const keyPattern = /^sworn_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
const linePattern = /^(\S{1,64}) ([0-9a-f]{12}) ([0-9a-f]{32}) ([0-9a-f]{64})$/;
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

interface Line {
  name: string;
  salt: Buffer;
  digest: Buffer;
}

export class ApiKeys {
  readonly #file: Watched<ReadonlyMap<string, Line>>;

  private constructor(file: Watched<ReadonlyMap<string, Line>>) {
    this.#file = file;
  }

  /** @throws SwornError `config-missing` when the file cannot be read, `auth-file` when a line of it cannot */
  static async open(path: string): Promise<ApiKeys> {
    const file = new Watched(path, (bytes) => linesOf(bytes, path));
    await file.read();
    return new ApiKeys(file);
  }

  /** The key's name, `unknown`, or `unavailable` when the file cannot be read any more: then no key counts. */
  async nameOf(key: string): Promise<{ name: string } | 'unknown' | 'unavailable'> {
    const lines = await this.#file.read().catch(() => undefined);
    if (lines === undefined) return 'unavailable';
    const [, id, secret] = keyPattern.exec(key) ?? [];
    const line = id === undefined ? undefined : lines.get(id);
    return line !== undefined && timingSafeEqual(digestOf(line.salt, secret!), line.digest) ? { name: line.name } : 'unknown';
  }
}

function digestOf(salt: Buffer, secret: string): Buffer {
  return hash('sha256', Buffer.concat([salt, Buffer.from(secret)]), 'buffer');
}

function linesOf(bytes: Buffer, path: string): ReadonlyMap<string, Line> {
  const lines = new Map<string, Line>();
  const wrong = (at: number, what: string): SwornError => new SwornError('auth-file', `${path}:${at}: ${what}`, { path });
  for (const [i, raw] of bytes.toString('utf8').split('\n').entries()) {
    const text = raw.trim();
    if (text === '' || text.startsWith('#')) continue;
    const [, name, id, salt, digest] = linePattern.exec(text) ?? [];
    // the line itself may hold a key that somebody took for a line: it is not repeated
    if (name === undefined) throw wrong(i + 1, 'is no line `name id salt hash`');
    if (lines.has(id!)) throw wrong(i + 1, `the id ${id} is there twice`);
    lines.set(id!, { name, salt: Buffer.from(salt!, 'hex'), digest: Buffer.from(digest!, 'hex') });
  }
  return lines;
}

/**
 * Makes a key, and appends its line to the file, which is made with mode 0600 where there is none, and its folder with 0700. The key is nowhere but in the answer.
 * @throws SwornError `usage` for a name that is none or is there already, `auth-file` for a file that says something else, `output` for one that cannot be written
 */
export async function newApiKey(path: string, name: string): Promise<string> {
  if (!namePattern.test(name))
    throw new SwornError('usage', 'a name has 1 to 64 letters, digits and . _ @ -, and begins with a letter or digit', { command: 'proxy' });
  const [id, salt, secret] = [randomBytes(idBytes).toString('hex'), randomBytes(saltBytes), randomBytes(secretBytes).toString('base64url')];
  const before = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return Buffer.alloc(0);
    throw new SwornError('output', `cannot read ${path}: ${error.code}`, { path }, { cause: error });
  });
  for (const line of linesOf(before, path).values())
    if (line.name === name)
      throw new SwornError('usage', `${path} has a key ${name} already: remove its line, or choose another name`, { command: 'proxy' });
  const line = `${name} ${id} ${salt.toString('hex')} ${digestOf(salt, secret).toString('hex')}\n`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o600);
    try {
      await file.appendFile(before.length > 0 && before.at(-1) !== 0x0a ? `\n${line}` : line);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new SwornError('output', `cannot write ${path}: ${(error as NodeJS.ErrnoException).code}`, { path }, { cause: error });
  }
  return `${keyPrefix}${id}_${secret}`;
}
