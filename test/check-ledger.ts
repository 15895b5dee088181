/**
 * Checks a ledger that nobody writes from scratch, after `spec/ledger.md` and RFC 6962 alone: it shares no code with `src/`, so that a mistake there
 * is not repeated here. What a test did to the ledger must not matter: every test that leaves one behind ends with this.
 */
import { createDecipheriv, createPublicKey, hash, verify } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

export interface CheckedLedger {
  id: string;
  /** All entries of the segments, by index. */
  leaves: Buffer[];
  /** Segment files, ascending. */
  files: number[];
  parts: number;
  headSize: number;
  checkpointSize: number;
}

interface Part {
  /** None is left of an erased one. */
  salt: Buffer | undefined;
  bytes: Buffer;
}

const sha256 = (...parts: Uint8Array[]): Buffer => hash('sha256', parts.length === 1 ? parts[0]! : Buffer.concat(parts), 'buffer');

/** RFC 6962 §2.1, word for word. */
function treeHash(hashes: Buffer[]): Buffer {
  if (hashes.length === 0) return sha256();
  if (hashes.length === 1) return hashes[0]!;
  let k = 1;
  while (k * 2 < hashes.length) k *= 2;
  return sha256(Uint8Array.of(1), treeHash(hashes.slice(0, k)), treeHash(hashes.slice(k)));
}

function fail(message: string): never {
  throw new Error(`the ledger does not hold: ${message}`);
}

function need(holds: boolean, message: string): asserts holds {
  if (!holds) fail(message);
}

/**
 * @throws Error that names the first thing that does not hold
 */
export function checkLedger(folder: string, keysHome: string): CheckedLedger {
  const { id, leaves, files, parts } = readSegments(join(folder, 'payload'), keysHome);
  const hashes = leaves.map((leaf) => sha256(Uint8Array.of(0), leaf));

  const keys = join(keysHome, id);
  const vkey = readFileSync(join(keys, 'vkey'), 'utf8');
  const head = readNote(join(keys, 'head'), vkey, id);
  const checkpoint = readNote(join(folder, 'log', 'checkpoint'), vkey, id);
  need(head.size <= leaves.length, `head covers ${head.size} entries of ${leaves.length}`);
  need(checkpoint.size <= head.size, `the checkpoint covers ${checkpoint.size} entries, head ${head.size}`);
  need(head.root.equals(treeHash(hashes.slice(0, head.size))), `head has another root at ${head.size}`);
  need(checkpoint.root.equals(treeHash(hashes.slice(0, checkpoint.size))), `the checkpoint has another root at ${checkpoint.size}`);

  checkTiles(join(folder, 'log'), leaves, hashes, checkpoint.size);
  return { id, leaves, files, parts, headSize: head.size, checkpointSize: checkpoint.size };
}

function readSegments(payload: string, keysHome: string): { id: string; leaves: Buffer[]; files: number[]; parts: number } {
  const names = readdirSync(payload).sort();
  need(names.length > 0, 'there is no segment');
  let id: string | undefined;
  const leaves: Buffer[] = [];
  const files: number[] = [];
  const parts = new Map<string, Part>();
  for (const name of names) {
    need(/^[0-9]{16}$/.test(name), `payload/${name} is no segment`);
    const bytes = readFileSync(join(payload, name));
    const magic = bytes.toString('latin1', 0, 8);
    need(bytes.length >= 40 && (magic === 'SWORNPL1' || magic === 'SWORNPE1'), `${name} has no header`);
    id ??= bytes.toString('hex', 8, 24);
    need(bytes.toString('hex', 8, 24) === id, `${name} is of another ledger`);
    need(bytes.readBigUInt64BE(24) === BigInt(name) && Number(name) === leaves.length, `${name} should begin with index ${leaves.length}`);
    need(
      (magic === 'SWORNPE1' || bytes.readUInt32BE(32) === 0) && bytes.readUInt32BE(36) === crc32(bytes.subarray(0, 36)),
      `the header of ${name} is damaged`,
    );
    const key = keyOf(bytes, join(keysHome, id));
    need(key !== 'none', `${name} has no key`);
    files.push(Number(name));
    for (let at = 40; at < bytes.length;) {
      need(at + 8 <= bytes.length, `${name} ends in a record's header`);
      const end = at + 8 + bytes.readUInt32BE(at);
      need(end <= bytes.length, `${name} ends in the record at ${at}`);
      const stored = bytes.subarray(at + 8, end);
      need(crc32(stored) === bytes.readUInt32BE(at + 4), `${name} has a damaged record at ${at}`);
      const body = key === undefined ? stored : opened(stored, key);
      if (body[0] === 1) leaves.push(readEntry(body, leaves.length, parts));
      else if (body[0] === 2) parts.set(`${Number(name)}:${at}`, { salt: body.subarray(26, 42), bytes: body.subarray(42) });
      else if (body[0] === 3) {
        need(
          body.subarray(26).every((value) => value === 0),
          `${name} has an erased part at ${at} with something left`,
        );
        parts.set(`${Number(name)}:${at}`, { salt: undefined, bytes: body.subarray(42) });
      } else fail(`${name} has a record of an unknown type at ${at}`);
      at = end;
    }
  }
  return { id: id!, leaves, files, parts: parts.size };
}

/** Of a segment file, by `spec/ledger.md`, "Encrypted segments": `undefined` where it is in the clear, `none` where its key is not in `keys`. */
export function keyOf(segment: Buffer, keys: string): Buffer | 'none' | undefined {
  if (segment.toString('latin1', 0, 8) !== 'SWORNPE1') return undefined;
  const id = segment.toString('hex', 32, 36);
  const path = join(keys, 'segment-keys');
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
  const own = lines
    .map((line) => line.split(' '))
    .find(([kind, first, key]) => kind === 'SEGMENT' && BigInt(first!) === segment.readBigUInt64BE(24) && key === id);
  const file = own && lines.find((line) => line.startsWith(`FILE ${own[3]} `))?.slice(14);
  if (file === undefined) return 'none';
  const unwrap = createDecipheriv('id-aes256-wrap', Buffer.from(readFileSync(file, 'latin1').trim(), 'hex'), Buffer.alloc(8, 0xa6));
  const key = Buffer.concat([unwrap.update(Buffer.from(own![4]!, 'base64')), unwrap.final()]);
  need(sha256(Buffer.from('sworn payload key\n'), key).toString('hex', 0, 4) === id, `the key of ${own![1]} is another one`);
  return key;
}

/** A body in the clear. */
export function opened(stored: Buffer, key: Buffer): Buffer {
  const clear = stored[0] === 1 ? 13 + stored.readUInt32BE(9) : 26;
  const counter = Buffer.concat([stored.subarray(clear, clear + 12), Buffer.alloc(4)]);
  return Buffer.concat([stored.subarray(0, clear), createDecipheriv('aes-256-ctr', key, counter).update(stored.subarray(clear + 12))]);
}

function readEntry(body: Buffer, index: number, parts: Map<string, Part>): Buffer {
  need(body.readBigUInt64BE(1) === BigInt(index), `index ${body.readBigUInt64BE(1)} stands where ${index} belongs`);
  const leafBytes = body.readUInt32BE(9);
  need(leafBytes <= 65_535, `the entry ${index} is too long`);
  let at = 13 + leafBytes;
  const items = body.readUInt16BE(at) + body.readUInt32BE(at + 2);
  at += 6;
  for (let i = 0; i < items; i++) {
    const state = body[at]!;
    if (state === 0) at += 21 + Math.max(16, body.readUInt32BE(at + 17));
    else if (state === 1) at += 37;
    else if (state === 2) {
      const place = `${body.readBigUInt64BE(at + 37)}:${body.readBigUInt64BE(at + 45)}`;
      const part = parts.get(place);
      need(part !== undefined, `entry ${index} refers to a part at ${place} that is not there`);
      need(part.bytes.length === body.readUInt32BE(at + 33), `entry ${index} gives another length to the part at ${place}`);
      need(
        part.salt === undefined || sha256(Uint8Array.of(2), part.salt, part.bytes).equals(body.subarray(at + 1, at + 33)),
        `entry ${index} gives another hash to the part at ${place}`,
      );
      at += 53;
    } else if (state === 3) {
      const end = at + 21 + Math.max(16, body.readUInt32BE(at + 33));
      need(
        body.subarray(at + 37, end).every((value) => value === 0),
        `entry ${index} has an erased item with something left`,
      );
      at = end;
    } else fail(`entry ${index} has an item of state ${state}`);
  }
  need(at === body.length, `entry ${index} has ${body.length - at} bytes too many`);
  return body.subarray(13, 13 + leafBytes);
}

function readNote(path: string, vkey: string, id: string): { size: number; root: Buffer } {
  const note = readFileSync(path, 'utf8');
  const match = /^(sworn\.invalid\/([0-9a-f]{32})\n(0|[1-9][0-9]*)\n([A-Za-z0-9+/]{43}=)\n)\n\u2014 ([^ \n]+) ([A-Za-z0-9+/=]+)\n$/.exec(note);
  need(match !== null, `${path} is not a checkpoint with one signature`);
  const [, text, ledgerId, size, root, name, signature] = match as unknown as [string, string, string, string, string, string, string];
  need(ledgerId === id && name === `sworn.invalid/${id}`, `${path} is of another ledger`);
  const [vkeyName, vkeyId, ...vkeyKey] = vkey.trim().split('+') as [string, string, ...string[]];
  const typed = Buffer.from(vkeyKey.join('+'), 'base64');
  need(vkeyName === name && typed.length === 33 && typed[0] === 1, `the vkey beside ${path} does not fit`);
  need(sha256(Buffer.from(`${name}\n`), typed).toString('hex', 0, 4) === vkeyId, `the vkey beside ${path} has another id`);
  const field = Buffer.from(signature, 'base64');
  need(field.toString('hex', 0, 4) === vkeyId, `${path} is signed by another key`);
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), typed.subarray(1)]);
  need(
    verify(null, Buffer.from(text), createPublicKey({ key: spki, format: 'der', type: 'spki' }), field.subarray(4)),
    `the signature of ${path} does not hold`,
  );
  return { size: Number(size), root: Buffer.from(root, 'base64') };
}

/** Every tile and bundle that is there holds, and those of the checkpoint are there: whole, or as wide as the checkpoint needs. */
function checkTiles(log: string, leaves: Buffer[], hashes: Buffer[], size: number): void {
  const expected = (level: number | 'entries', n: number, width: number): Buffer => {
    const span = level === 'entries' ? 1 : 256 ** level;
    const from = n * 256 * span;
    need(from + width * span <= leaves.length, `tile ${level}/${n} of width ${width} covers entries that are not there`);
    if (level !== 'entries')
      return Buffer.concat(Array.from({ length: width }, (_, i) => treeHash(hashes.slice(from + i * span, from + (i + 1) * span))));
    return Buffer.concat(
      leaves.slice(from, from + width).map((leaf) => {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(leaf.length);
        return Buffer.concat([length, leaf]);
      }),
    );
  };
  const there = new Set<string>();
  const root = join(log, 'tile');
  for (const found of existsSync(root) ? readdirSync(root, { recursive: true, withFileTypes: true }) : []) {
    // what a crash leaves before a rename
    if (!found.isFile() || found.name.endsWith('.tmp')) continue;
    const path = join(found.parentPath, found.name).slice(root.length + 1);
    const match = /^(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(path);
    need(match !== null, `${path} is no tile`);
    const level = match[1] === 'entries' ? 'entries' : Number(match[1]);
    const n = Number(match[2]!.replace(/[x/]/g, ''));
    const width = Number(match[3] ?? 256);
    need(readFileSync(join(found.parentPath, found.name)).equals(expected(level, n, width)), `the tile ${path} holds something else`);
    there.add(`${level}/${n}/${width}`);
  }
  for (const level of ['entries', 0, 1, 2, 3] as const) {
    const count = Math.floor(size / 256 ** (level === 'entries' ? 0 : level));
    for (let n = 0; n * 256 < count; n++) {
      const width = Math.min(256, count - n * 256);
      need(
        there.has(`${level}/${n}/${width}`) || there.has(`${level}/${n}/256`),
        `the checkpoint of ${size} needs tile ${level}/${n}, ${width} wide`,
      );
    }
  }
}
