/**
 * A ledger made for tests, written from `spec/` alone and sharing no code with the real writer: entries → segments, bundles, tiles, checkpoint.
 * Everything is deterministic. Tests alter its files and ask what the verifier says.
 */
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { SegmentName, Source } from '../src/verify/source.ts';

const sha256 = (...parts: Uint8Array[]) => {
  const h = createHash('sha256');
  for (const part of parts) h.update(part);
  return h.digest();
};
const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const u64 = (value: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};
const byte = (value: number) => Buffer.from([value]);

export function merkleRoot(hashes: Uint8Array[]): Buffer {
  if (hashes.length === 0) return sha256();
  if (hashes.length === 1) return Buffer.from(hashes[0]!);
  let k = 1;
  while (k * 2 < hashes.length) k *= 2;
  return sha256(byte(1), merkleRoot(hashes.slice(0, k)), merkleRoot(hashes.slice(k)));
}

export interface FixtureKey {
  name: string;
  vkey: string;
  sign: (text: string) => string;
}

export function fixtureKey(name: string, seedText = 'the key of the fixture'): FixtureKey {
  const seed = sha256(Buffer.from(seedText));
  const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(12);
  const typed = Buffer.concat([byte(1), publicKey]);
  const id = sha256(Buffer.from(`${name}\n`), typed).subarray(0, 4);
  return {
    name,
    vkey: `${name}+${id.toString('hex')}+${typed.toString('base64')}`,
    sign: (text) => `${text}\n\u2014 ${name} ${Buffer.concat([id, sign(null, Buffer.from(text), key)]).toString('base64')}\n`,
  };
}

export const fixtureLedgerId = '000102030405060708090a0b0c0d0e0f';
export const fixtureOrigin = `sworn.invalid/${fixtureLedgerId}`;

/** How a frame's segment is kept: inline, dropped, or as a part record before the entry. */
export interface FixtureSegment {
  bytes: Uint8Array;
  as?: 'kept' | 'dropped' | 'erased' | 'part' | 'erased part';
}

type Fields = Record<string, unknown> & { kind: string };

export class Fixture {
  readonly key: FixtureKey;
  readonly leaves: Buffer[] = [];
  /** Index of the first entry, then the records, of each segment. */
  readonly segments: { first: number; records: Buffer[]; sizeBytes: number }[] = [];
  readonly #segmentBytes: number;
  #salts = 0;
  #timeUs = Date.UTC(2026, 10, 20, 23, 45, 1) * 1000;

  constructor({ key = fixtureKey(fixtureOrigin), segmentBytes = 64 << 20 }: { key?: FixtureKey; segmentBytes?: number } = {}) {
    this.key = key;
    this.#segmentBytes = segmentBytes;
  }

  #salt(): Buffer {
    return sha256(Buffer.from(`salt ${this.#salts++}`)).subarray(0, 16);
  }

  #append(body: Buffer): { file: number; offset: number } {
    let segment = this.segments.at(-1);
    if (!segment || segment.sizeBytes >= this.#segmentBytes) {
      segment = { first: this.leaves.length, records: [], sizeBytes: 40 };
      this.segments.push(segment);
    }
    const record = Buffer.concat([u32(body.length), u32(crc32(body)), body]);
    const at = { file: segment.first, offset: segment.sizeBytes };
    segment.records.push(record);
    segment.sizeBytes += record.length;
    return at;
  }

  /** Appends an entry with its attributes and the segments of its frame; returns its index. */
  add(fields: Fields, attributes: Record<string, unknown> = {}, frame?: (FixtureSegment | string)[]): number {
    const index = this.leaves.length;
    this.#timeUs += 1000;
    const time = `${new Date(this.#timeUs / 1000).toISOString().slice(0, 19)}.${String(this.#timeUs % 1_000_000).padStart(6, '0')}Z`;
    const entry: Record<string, unknown> = { v: 1, time, monotonicUs: 1000 * index, ...fields };
    const items: Buffer[] = [];
    const attributeHashes: Buffer[] = [];
    for (const [name, value] of Object.entries(attributes)) {
      const salt = this.#salt();
      const bytes = Buffer.from(JSON.stringify({ [name]: value }));
      attributeHashes.push(sha256(byte(2), salt, bytes));
      items.push(Buffer.concat([byte(0), salt, u32(bytes.length), bytes, Buffer.alloc(Math.max(0, 16 - bytes.length))]));
    }
    if (attributeHashes.length > 0) {
      entry.attributes = attributeHashes.length;
      entry.attributesCommitment = merkleRoot(attributeHashes).toString('base64');
    }
    const segments = frame?.map((segment): FixtureSegment => (typeof segment === 'string' ? { bytes: Buffer.from(segment) } : segment));
    if (segments) {
      const hashes: Buffer[] = [];
      for (const [k, { bytes, as = 'kept' }] of segments.entries()) {
        const salt = this.#salt();
        const hash = sha256(byte(2), salt, bytes);
        hashes.push(hash);
        if (as === 'kept') {
          items.push(Buffer.concat([byte(0), salt, u32(bytes.length), bytes, Buffer.alloc(Math.max(0, 16 - bytes.length))]));
        } else if (as === 'dropped') {
          items.push(Buffer.concat([byte(1), hash, u32(bytes.length)]));
        } else if (as === 'erased') {
          items.push(Buffer.concat([byte(3), hash, u32(bytes.length), Buffer.alloc(Math.max(0, bytes.length - 16))]));
        } else {
          const unit = (fields.tapSeq as number) - segments.length + 1 + k;
          const head = Buffer.concat([byte(2), Buffer.from(fields.connection as string, 'hex'), byte(fields.direction === 'c2s' ? 0 : 1), u64(unit)]);
          if (as === 'erased part') head[0] = 3;
          const content = Buffer.concat([salt, bytes]);
          const at = this.#append(Buffer.concat([head, as === 'erased part' ? content.fill(0) : content]));
          items.push(Buffer.concat([byte(2), hash, u32(bytes.length), u64(at.file), u64(at.offset)]));
        }
      }
      entry.sizeBytes = segments.reduce((sum, segment) => sum + segment.bytes.length, 0);
      entry.segments = segments.length;
      entry.commitment = merkleRoot(hashes).toString('base64');
    }
    const leaf = Buffer.from(JSON.stringify(entry));
    this.#append(Buffer.concat([byte(1), u64(index), u32(leaf.length), leaf, u16(attributeHashes.length), u32(segments?.length ?? 0), ...items]));
    this.leaves.push(leaf);
    return index;
  }

  checkpoint(size = this.leaves.length): string {
    const root = merkleRoot(this.leaves.slice(0, size).map((leaf) => sha256(byte(0), leaf)));
    return this.key.sign(`${this.key.name}\n${size}\n${root.toString('base64')}\n`);
  }

  /** All files of the ledger, with the log published at `size`. */
  files(size = this.leaves.length): Map<string, Buffer> {
    const files = new Map<string, Buffer>();
    for (const { first, records } of this.segments) {
      const head = Buffer.concat([Buffer.from('SWORNPL1'), Buffer.from(fixtureLedgerId, 'hex'), u64(first), u32(0)]);
      files.set(`payload/${String(first).padStart(16, '0')}`, Buffer.concat([head, u32(crc32(head)), ...records]));
    }
    const put = (level: number | 'entries', n: number, list: Buffer[]) => {
      let path = String(n % 1000).padStart(3, '0');
      for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
      files.set(`log/tile/${level}/${path}${list.length === 256 ? '' : `.p/${list.length}`}`, Buffer.concat(list));
    };
    let hashes: Buffer[] = this.leaves.slice(0, size).map((leaf) => sha256(byte(0), leaf));
    const root = this.checkpoint(size);
    for (let n = 0; n * 256 < size; n++) {
      put(
        'entries',
        n,
        this.leaves.slice(n * 256, Math.min(size, n * 256 + 256)).map((leaf) => Buffer.concat([u16(leaf.length), leaf])),
      );
    }
    for (let level = 0; hashes.length > 0; level++) {
      const above: Buffer[] = [];
      for (let n = 0; n * 256 < hashes.length; n++) {
        const tile = hashes.slice(n * 256, n * 256 + 256);
        put(level, n, tile);
        if (tile.length === 256) above.push(merkleRoot(tile));
      }
      hashes = above;
    }
    files.set('log/checkpoint', Buffer.from(root));
    return files;
  }
}

export const fixtureConnection = 'c0'.repeat(16);

/** A ledger with one of everything: two connections, pairs of messages, attributes, a batch, a frame in parts, a dropped segment, a stop. */
export function sampleLedger(
  options: {
    pairs?: number;
    key?: FixtureKey;
    segmentBytes?: number;
    dropped?: boolean;
    erased?: boolean | 'unstated';
    later?: (fixture: Fixture) => void;
  } = {},
): Fixture {
  const fixture = new Fixture(options);
  const { pairs = 20 } = options;
  fixture.add(
    {
      kind: 'start',
      ledger: fixtureLedgerId,
      origin: fixture.key.name,
      vkey: fixture.key.vkey,
      recorder: { version: '0.1.0', uid: 1000, pid: 7 },
      bootId: 'b',
    },
    { host: 'box' },
  );
  const connection = fixtureConnection;
  const open = {
    kind: 'open',
    connection,
    transport: 'stdio',
    server: 'fs',
    mode: 'commit',
    onUnrecordable: 'block',
    custody: 'same-user',
    tap: { uid: 1000, source: 'kernel' },
  };
  fixture.add(open, { argv: ['npx', '-y', 'server'], cwd: '/home/someone' });
  const who = fixture.add({ kind: 'principal', connection, source: 'observed', uid: 1000, pid: 8 }, { user: 'someone' });
  const seq = { value: 0 };
  const tapSeq = { c2s: 0, s2c: 0 };
  const frame = (direction: 'c2s' | 's2c', units = 1) => {
    tapSeq[direction] += units;
    return {
      connection,
      stream: 0,
      seq: ++seq.value,
      tapSeq: tapSeq[direction],
      direction,
      transport: 'stdio',
      who,
      server: 'fs',
      verdict: 'pass',
      origin: direction === 'c2s' ? 'client' : 'server',
    };
  };
  for (let i = 0; i < pairs; i++) {
    const exchange = fixture.leaves.length;
    fixture.add(
      { kind: 'message', ...frame('c2s'), type: 'request', id: String(i), method: 'tools/call', target: 'read', era: 'legacy', exchange },
      {},
      [`{"jsonrpc":"2.0","id":${i},"method":"tools/call","params":{"name":"read","arguments":{"path":"/etc/motd"}}}`],
    );
    fixture.add(
      { kind: 'message', ...frame('s2c'), type: 'result', id: String(i), method: 'tools/call', exchange, outcome: 'ok', durationUs: 12 },
      {},
      [`{"jsonrpc":"2.0","id":${i},"result":{"content":[{"type":"text","text":"hello ${i}"}]}}`],
    );
  }
  const inParts = (length: number, fill: number, as: NonNullable<FixtureSegment['as']>) => ({ bytes: new Uint8Array(length).fill(fill), as });
  fixture.add({ kind: 'message', ...frame('c2s', 3), type: 'notification', method: 'notifications/message', parts: 3 }, {}, [
    inParts(300, 65, 'part'),
    inParts(300, 66, 'part'),
    inParts(17, 67, 'kept'),
  ]);
  if (options.dropped)
    fixture.add({ kind: 'message', ...frame('s2c', 2), type: 'opaque', parts: 2, anomalies: ['not-json'], redacted: { 'key:a': 1 } }, {}, [
      inParts(9, 1, 'dropped'),
      inParts(9, 2, 'kept'),
    ]);
  const erased = fixture.leaves.length;
  if (options.erased)
    fixture.add({ kind: 'message', ...frame('s2c', 4), type: 'opaque', parts: 4, anomalies: ['not-json'] }, {}, [
      inParts(300, 1, 'erased part'),
      inParts(300, 2, 'part'),
      inParts(9, 3, 'erased'),
      inParts(90, 4, 'erased'),
    ]);
  fixture.add({ kind: 'message', ...frame('c2s'), type: 'opaque', anomalies: ['not-json'] }, {}, ['']);
  const batchText = '[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b"}]';
  const batchFrame = frame('c2s');
  const batch = fixture.add({ kind: 'batch', ...batchFrame, items: 2 }, {}, [batchText]);
  for (const [item, range] of [
    [1, 31],
    [32, 62],
  ].entries()) {
    const fields = { ...batchFrame, seq: ++seq.value, sizeBytes: 30, type: 'notification', method: 'a', batch, item, range };
    fixture.add({ kind: 'message', ...fields });
  }
  fixture.add({ kind: 'close', connection, reason: 'client closed', frames: { ...tapSeq }, delivered: [tapSeq.c2s, tapSeq.s2c] });
  if (options.erased === true) fixture.add({ kind: 'erasure', scope: 'index', targets: [{ index: erased, segments: [0, 2, 3] }] });
  options.later?.(fixture);
  fixture.add({ kind: 'stop', reason: 'idle' });
  return fixture;
}

/** A source over files in memory. `list: false` leaves out `widths`, as a web server would. */
export function memorySource(files: Map<string, Uint8Array>, { list = true, pieceBytes = 4096 } = {}): Source {
  const tileKey = (level: number | 'entries', n: number) => {
    let path = String(n % 1000).padStart(3, '0');
    for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
    return `log/tile/${level}/${path}`;
  };
  const file = (level: number | 'entries', n: number, width: number) =>
    files.get(width === 256 ? tileKey(level, n) : `${tileKey(level, n)}.p/${width}`);
  const source: Source = {
    checkpoint: async () => files.get('log/checkpoint'),
    tile: async (level, n, width) => file(level, n, width),
    bundle: async (n, width) => file('entries', n, width),
    segments: async () =>
      [...files.keys()]
        .filter((path) => path.startsWith('payload/'))
        .sort()
        .map((path): SegmentName => ({ first: Number(path.slice(8)), path })),
    async *segment({ path }, from = 0) {
      const bytes = files.get(path)!;
      for (let at = from; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
    },
  };
  if (list) {
    const widths = new Map<string, number[]>();
    for (const path of files.keys()) {
      const [tile, width = '256'] = path.split('.p/') as [string, string?];
      widths.set(tile, [...(widths.get(tile) ?? []), Number(width)]);
    }
    source.widths = async (level, n) => widths.get(tileKey(level, n)) ?? [];
  }
  return source;
}

export function writeFixture(files: Map<string, Uint8Array>, folder: string): void {
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
}
