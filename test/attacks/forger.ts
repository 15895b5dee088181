/**
 * Somebody who rewrites a ledger and knows its format well: it takes the records apart, changes leaves and content, mends every number that points
 * elsewhere, and puts segments, checksums, bundles, tiles and checkpoint together again, with the right key, with another one, or without any. Written
 * from `spec/` alone; it shares no code with `src/`.
 */
import { createHash, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';

// oxlint-disable-next-line typescript/no-explicit-any -- an attacker changes any field
export type Leaf = Record<string, any>;

export interface Item {
  state: number;
  /** Of state 0 the salt, else the hash. */
  head: Buffer;
  bytes: Buffer;
  sizeBytes: number;
  part?: ForgedRecord;
}

export interface ForgedRecord {
  /** Of a part: connection, direction, unit. */
  partHead?: Buffer;
  salt: Buffer;
  bytes: Buffer;
  leaf: Buffer;
  attributes: Item[];
  frame: Item[];
}

export interface Signer {
  name: string;
  vkey: string;
  note: (text: string) => string;
}

const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};
const leafHash = (leaf: Uint8Array): Buffer => sha256(Uint8Array.of(0), leaf);
const contentHash = (salt: Uint8Array, bytes: Uint8Array): Buffer => sha256(Uint8Array.of(2), salt, bytes);

function treeHash(hashes: Buffer[]): Buffer {
  if (hashes.length === 0) return sha256();
  if (hashes.length === 1) return hashes[0]!;
  let k = 1;
  while (k * 2 < hashes.length) k *= 2;
  return sha256(Uint8Array.of(1), treeHash(hashes.slice(0, k)), treeHash(hashes.slice(k)));
}

function signerOf(name: string, seed: Uint8Array): Signer {
  const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
  const typed = Buffer.concat([Uint8Array.of(1), createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(12)]);
  const id = sha256(Buffer.from(`${name}\n`), typed).subarray(0, 4);
  return {
    name,
    vkey: `${name}+${id.toString('hex')}+${typed.toString('base64')}`,
    note: (text) => `${text}\n\u2014 ${name} ${Buffer.concat([id, sign(null, Buffer.from(text), key)]).toString('base64')}\n`,
  };
}

/** The key that the recorder signs with, as a thief reads it. */
export function stolenKey(keyFile: string): Signer {
  const [name, , ...key] = readFileSync(keyFile, 'utf8').trim().slice('PRIVATE+KEY+'.length).split('+') as [string, string, ...string[]];
  return signerOf(name, Buffer.from(key.join('+'), 'base64').subarray(1));
}

export function newKey(origin: string): Signer {
  return signerOf(origin, randomBytes(32));
}

export class Forger {
  readonly ledger: string;
  readonly records: ForgedRecord[] = [];
  readonly #id: Buffer;

  constructor(ledger: string) {
    this.ledger = ledger;
    const places = new Map<string, ForgedRecord>();
    const names = readdirSync(join(ledger, 'payload')).sort();
    this.#id = readFileSync(join(ledger, 'payload', names[0]!)).subarray(8, 24);
    for (const name of names) {
      const bytes = readFileSync(join(ledger, 'payload', name));
      for (let at = 40; at < bytes.length; at += 8 + bytes.readUInt32BE(at)) {
        const record = taken(bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at)), places);
        if (record.partHead) places.set(`${Number(name)}:${at}`, record);
        this.records.push(record);
      }
    }
  }

  get origin(): string {
    return `sworn.invalid/${this.#id.toString('hex')}`;
  }

  get entries(): ForgedRecord[] {
    return this.records.filter((record) => !record.partHead);
  }

  entry(index: number): ForgedRecord {
    return this.entries[index]!;
  }

  leaf(index: number): Leaf {
    return JSON.parse(this.entry(index).leaf.toString()) as Leaf;
  }

  // What an attacker changes

  /** Other fields in an entry. */
  edit(index: number, change: (leaf: Leaf) => void): void {
    const leaf = this.leaf(index);
    change(leaf);
    this.entry(index).leaf = Buffer.from(JSON.stringify(leaf));
  }

  /** Other bytes, under a commitment that fits them: `entry` knows it only after this. */
  rewrite(index: number, change: (bytes: Buffer) => Buffer): void {
    const record = this.entry(index);
    const bytes = change(record.frame[0]!.bytes);
    const salt = randomBytes(16);
    record.frame = [{ state: 0, head: salt, bytes, sizeBytes: bytes.length }];
    this.edit(index, (leaf) => {
      leaf['sizeBytes'] = bytes.length;
      leaf['segments'] = 1;
      leaf['commitment'] = contentHash(salt, bytes).toString('base64');
    });
  }

  /** Other values in the attributes, under a commitment that fits them. */
  reword(index: number, change: (name: string, value: unknown) => unknown): void {
    const { attributes } = this.entry(index);
    for (const item of attributes) {
      const [name, value] = Object.entries(JSON.parse(item.bytes.toString()) as Leaf)[0]!;
      item.bytes = Buffer.from(JSON.stringify({ [name]: change(name, value) }));
      item.sizeBytes = item.bytes.length;
    }
    if (attributes.length === 0) return;
    const root = treeHash(attributes.map(({ head, bytes }) => contentHash(head, bytes)));
    this.edit(index, (leaf) => (leaf['attributesCommitment'] = root.toString('base64')));
  }

  remove(index: number): void {
    this.records.splice(this.records.indexOf(this.entry(index)), 1);
  }

  /** `record` becomes entry `index`. */
  insert(index: number, record: ForgedRecord): void {
    this.records.splice(this.records.indexOf(this.entry(index)), 0, record);
  }

  duplicate(index: number): void {
    this.insert(index, this.entry(index));
  }

  swap(i: number, j: number): void {
    const [a, b] = [this.records.indexOf(this.entry(i)), this.records.indexOf(this.entry(j))];
    [this.records[a], this.records[b]] = [this.records[b]!, this.records[a]!];
  }

  /** Only the first `size` entries, and the parts before them, are left. */
  cut(size: number): void {
    if (size < this.entries.length) this.records.length = this.records.indexOf(this.entry(size - 1)) + 1;
  }

  /** Takes entries away as if they had never been: all numbers of the others are mended, so that no rule between entries is broken. */
  forget(indices: readonly number[]): void {
    const gone = new Set(indices);
    const lost = indices.map((index) => this.leaf(index));
    const entries = this.entries;
    const place = entries.map((_, index) => index - indices.filter((other) => other < index).length);
    for (const [index, record] of entries.entries()) {
      if (gone.has(index)) continue;
      const leaf = this.leaf(index);
      for (const name of ['exchange', 'call', 'who', 'batch']) if (typeof leaf[name] === 'number') leaf[name] = place[leaf[name]];
      const ofConnection = lost.filter((other) => other['connection'] === leaf['connection']);
      const upTo = (direction: string, unit: number): number =>
        unit - ofConnection.filter((other) => other['direction'] === direction && other['tapSeq'] > 0 && other['tapSeq'] <= unit).length;
      if (leaf['seq'] !== undefined) leaf['seq'] -= ofConnection.filter((other) => other['seq'] < leaf['seq']).length;
      if (leaf['tapSeq'] > 0) leaf['tapSeq'] = upTo(leaf['direction'] as string, leaf['tapSeq'] as number);
      if (leaf['delivered']) leaf['delivered'] = [upTo('c2s', leaf['delivered'][0] as number), upTo('s2c', leaf['delivered'][1] as number)];
      if (leaf['frames']) leaf['frames'] = { c2s: upTo('c2s', leaf['frames'].c2s as number), s2c: upTo('s2c', leaf['frames'].s2c as number) };
      record.leaf = Buffer.from(JSON.stringify(leaf));
      for (const item of record.frame) if (item.part) item.part.partHead!.writeBigUInt64BE(BigInt(unitOf(leaf, record, item)), 17);
    }
    for (const record of indices.map((index) => entries[index]!)) this.records.splice(this.records.indexOf(record), 1);
  }

  // What an attacker writes

  /** All segments anew, with right checksums; the first entry of each further one is given. */
  writePayload(begins: readonly number[] = [0]): void {
    rmSync(join(this.ledger, 'payload'), { recursive: true });
    mkdirSync(join(this.ledger, 'payload'));
    const places = new Map<ForgedRecord, [number, number]>();
    let index = 0;
    let chunks: Buffer[] = [];
    let sizeBytes = 0;
    let first = -1;
    const flush = (): void => {
      if (first >= 0) writeFileSync(join(this.ledger, 'payload', String(first).padStart(16, '0')), Buffer.concat(chunks));
    };
    for (const record of this.records) {
      if (begins.includes(index) && first !== index) {
        flush();
        const header = Buffer.concat([Buffer.from('SWORNPL1'), this.#id, u64(index), u32(0)]);
        chunks = [header, u32(crc32(header))];
        sizeBytes = 40;
        first = index;
      }
      const body = bodyOf(record, index, places);
      if (record.partHead) places.set(record, [first, sizeBytes]);
      else index++;
      chunks.push(u32(body.length), u32(crc32(body)), body);
      sizeBytes += 8 + body.length;
    }
    flush();
  }

  get #leaves(): Buffer[] {
    return this.entries.map(({ leaf }) => leaf);
  }

  writeBundles(size = this.entries.length): void {
    rmSync(join(this.ledger, 'log', 'tile', 'entries'), { recursive: true, force: true });
    const leaves = this.#leaves.slice(0, size);
    for (let n = 0; n * 256 < size; n++)
      this.#put(
        'entries',
        n,
        leaves.slice(n * 256, n * 256 + 256).map((leaf) => Buffer.concat([u16(leaf.length), leaf])),
      );
  }

  /** `levels`: an attacker who is lazy leaves the upper ones. */
  writeTiles(size = this.entries.length, levels = 9): void {
    let hashes = this.#leaves.slice(0, size).map(leafHash);
    for (let level = 0; hashes.length > 0 && level < levels; level++) {
      rmSync(join(this.ledger, 'log', 'tile', String(level)), { recursive: true, force: true });
      const above: Buffer[] = [];
      for (let n = 0; n * 256 < hashes.length; n++) {
        const tile = hashes.slice(n * 256, n * 256 + 256);
        this.#put(String(level), n, tile);
        if (tile.length === 256) above.push(treeHash(tile));
      }
      hashes = above;
    }
  }

  #put(level: string, n: number, list: Buffer[]): void {
    const name = String(n).padStart(3, '0');
    const path = join(this.ledger, 'log', 'tile', level, list.length === 256 ? name : join(`${name}.p`, String(list.length)));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, Buffer.concat(list));
  }

  checkpoint(signer: Signer, size = this.entries.length): string {
    const root = treeHash(this.#leaves.slice(0, size).map(leafHash));
    return signer.note(`${this.origin}\n${size}\n${root.toString('base64')}\n`);
  }

  /** Everything anew and consistent; without a signer the old checkpoint stays. */
  write(signer?: Signer): void {
    this.writePayload();
    this.writeBundles();
    this.writeTiles();
    if (signer) writeFileSync(join(this.ledger, 'log', 'checkpoint'), this.checkpoint(signer));
  }

  /** With a key of one's own the entries that name it must name the new one. */
  nameKey({ vkey }: Signer): void {
    for (const [index] of this.entries.entries()) if (this.leaf(index)['kind'] === 'start') this.edit(index, (leaf) => (leaf['vkey'] = vkey));
  }
}

function unitOf(leaf: Leaf, record: ForgedRecord, item: Item): number {
  return (leaf['tapSeq'] as number) - (leaf['parts'] as number) + 1 + record.frame.indexOf(item);
}

function taken(body: Buffer, places: Map<string, ForgedRecord>): ForgedRecord {
  const none = Buffer.alloc(0);
  const record: ForgedRecord = { salt: none, bytes: none, leaf: none, attributes: [], frame: [] };
  if (body[0] !== 1) return { ...record, partHead: Buffer.from(body.subarray(1, 26)), salt: body.subarray(26, 42), bytes: body.subarray(42) };
  let at = 13 + body.readUInt32BE(9);
  record.leaf = body.subarray(13, at);
  const counts = [body.readUInt16BE(at), body.readUInt32BE(at + 2)] as const;
  at += 6;
  for (let i = 0; i < counts[0] + counts[1]; i++) {
    const state = body[at]!;
    const headBytes = state === 0 ? 16 : 32;
    const head = body.subarray(at + 1, at + 1 + headBytes);
    const sizeBytes = body.readUInt32BE(at + 1 + headBytes);
    at += 5 + headBytes;
    const item: Item = { state, head, sizeBytes, bytes: state === 0 ? body.subarray(at, at + sizeBytes) : none };
    if (state === 2) item.part = places.get(`${body.readBigUInt64BE(at)}:${body.readBigUInt64BE(at + 8)}`)!;
    at += state === 0 ? Math.max(16, sizeBytes) : state === 2 ? 16 : state === 3 ? Math.max(0, sizeBytes - 16) : 0;
    (i < counts[0] ? record.attributes : record.frame).push(item);
  }
  return record;
}

function bodyOf(record: ForgedRecord, index: number, places: Map<ForgedRecord, [number, number]>): Buffer {
  if (record.partHead) return Buffer.concat([Uint8Array.of(2), record.partHead, record.salt, record.bytes]);
  const items = [...record.attributes, ...record.frame].map(({ state, head, sizeBytes, bytes, part }) => {
    const rest = part
      ? (places.get(part) ?? [0, 0]).map(u64)
      : [bytes, Buffer.alloc(state === 0 ? Math.max(0, 16 - sizeBytes) : state === 3 ? Math.max(0, sizeBytes - 16) : 0)];
    return Buffer.concat([Uint8Array.of(state), head, u32(sizeBytes), ...rest]);
  });
  const { leaf, attributes, frame } = record;
  return Buffer.concat([Uint8Array.of(1), u64(index), u32(leaf.length), leaf, u16(attributes.length), u32(frame.length), ...items]);
}
