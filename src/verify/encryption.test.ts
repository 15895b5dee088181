/** Encrypted segments under the verifier: made here again from the format page, out of a ledger in the clear, so that the verdict on both must be the same. */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { fixtureLedgerId, memorySource, sampleLedger, writeFixture } from '../../test/ledger-fixture.ts';
import { KeyFolders } from '../cli/openers.ts';
import { directorySource } from '../cli/verify-files.ts';
import { threads } from '../cli/verify-threads.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { parseVkey } from '../tlog/note.ts';
import type { Openers } from './encryption.ts';
import type { Spread } from './spread.ts';
import { verifyLedger, type Verification } from './verifier.ts';

const sample = sampleLedger({ pairs: 200, dropped: true, erased: true, segmentBytes: 30_000 });
const plain = sample.files();
const vkeys = [parseVkey(nodeCrypto, sample.key.vkey)!];
const keyFor = (first: number): Buffer => createHash('sha256').update(`key of ${first}`).digest();
const checkOf = (key: Buffer): Buffer => createHash('sha256').update('sworn payload key\n').update(key).digest().subarray(0, 4);

const place = (file: number, offset: number): Buffer => {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(BigInt(file), 0);
  bytes.writeBigUInt64BE(BigInt(offset), 8);
  return bytes;
};

/** Where parts are, as entries refer to them, and where they are when each record is 12 bytes longer. */
function movedParts(segment: Buffer): { from: Buffer; to: Buffer }[] {
  const file = Number(segment.readBigUInt64BE(24));
  const moved: { from: Buffer; to: Buffer }[] = [];
  let more = 0;
  for (let at = 40; at < segment.length; at += 8 + segment.readUInt32BE(at), more += 12)
    if (segment[at + 8] !== 1) moved.push({ from: place(file, at), to: place(file, at + more) });
  return moved;
}

function encrypted(segment: Buffer, moved: readonly { from: Buffer; to: Buffer }[]): Buffer {
  const key = keyFor(Number(segment.readBigUInt64BE(24)));
  const header = Buffer.concat([Buffer.from('SWORNPE1'), segment.subarray(8, 32), checkOf(key)]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(header));
  const pieces = [header, sum];
  for (let at = 40; at < segment.length; at += 8 + segment.readUInt32BE(at)) {
    const body = Buffer.from(segment.subarray(at + 8, at + 8 + segment.readUInt32BE(at)));
    for (const { from, to } of body[0] === 1 ? moved : []) {
      const found = body.indexOf(from);
      if (found >= 0) body.set(to, found);
    }
    const clear = body[0] === 1 ? 13 + body.readUInt32BE(9) : 26;
    const nonce = createHash('sha256').update(String(at)).digest().subarray(0, 12);
    const stored = Buffer.concat([
      body.subarray(0, clear),
      nonce,
      createCipheriv('aes-256-ctr', key, Buffer.concat([nonce, Buffer.alloc(4)])).update(body.subarray(clear)),
    ]);
    const head = Buffer.alloc(8);
    head.writeUInt32BE(stored.length, 0);
    head.writeUInt32BE(crc32(stored), 4);
    pieces.push(head, stored);
  }
  return Buffer.concat(pieces);
}

const segments = [...plain.keys()].filter((path) => path.startsWith('payload/')).sort();
const moved = segments.flatMap((path) => movedParts(Buffer.from(plain.get(path)!)));
const files = new Map([...plain].map(([path, bytes]) => [path, segments.includes(path) ? encrypted(Buffer.from(bytes), moved) : bytes]));

const openers: Openers = ({ first, keyId }) => {
  const key = keyFor(first);
  if (checkOf(key).toString('hex') !== keyId) return 'another key';
  return (nonce, bytes) => createDecipheriv('aes-256-ctr', key, Buffer.concat([nonce, Buffer.alloc(4)])).update(bytes);
};

const verify = (of: Map<string, Uint8Array>, more: { openers?: Openers } = {}): Promise<Verification> =>
  verifyLedger({ crypto: nodeCrypto, source: memorySource(of), vkeys, ...more });

describe('encrypted segments', () => {
  it('are verified as if they were in the clear', async () => {
    const [open, closed] = [await verify(plain), await verify(files, { openers })];
    expect(segments.length).toBeGreaterThan(2);
    expect(moved.length).toBeGreaterThan(2);
    expect(open.exit).toBe(0);
    expect(closed).toEqual(open);
    expect(closed.contentBytes).toBeGreaterThan(1_000);
  });

  it('without a key are not checked, and nothing is said to be tampered with', async () => {
    for (const more of [{}, { openers: (() => 'it is elsewhere') as Openers }]) {
      const result = await verify(files, more);
      expect(result).toMatchObject({ exit: 3, unopenedSegments: segments.length, contentBytes: 0, holdsThrough: result.size, firstBad: undefined });
      expect(result.findings.filter(({ severity }) => severity === 'missing').map(({ code }) => code)).toEqual(['encrypted']);
    }
  });

  it('with the key of one of them, the others are not checked', async () => {
    const one: Openers = (segment) => (segment.first === 0 ? openers(segment) : 'gone');
    expect(await verify(files, { openers: one })).toMatchObject({ exit: 3, unopenedSegments: segments.length - 1 });
  });

  it('that were changed are tampered with, for whoever has the key and whoever has not', async () => {
    const path = segments[1]!;
    const bytes = Buffer.from(files.get(path)!);
    const end = 40 + 8 + bytes.readUInt32BE(40);
    const [changed, resealed, leaf] = [Buffer.from(bytes), Buffer.from(bytes), Buffer.from(bytes)];
    changed[end - 1]! ^= 1;
    resealed[end - 1]! ^= 1;
    resealed.writeUInt32BE(crc32(resealed.subarray(48, end)), 44);
    leaf[48 + 20]! ^= 1;
    leaf.writeUInt32BE(crc32(leaf.subarray(48, end)), 44);
    const of = (segment: Buffer) => new Map([...files, [path, segment]]);
    expect((await verify(of(changed), { openers })).exit).toBe(1);
    expect((await verify(of(changed))).exit).toBe(1);
    expect((await verify(of(resealed), { openers })).exit).toBe(1);
    // only the key shows that; the entry is what it was
    expect((await verify(of(resealed))).exit).toBe(3);
    expect((await verify(of(leaf))).exit).toBe(1);
  });

  it('are checked by threads, which ask nobody for keys again', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sworn-encryption-'));
    try {
      const keysHome = join(folder, 'keys');
      const ledger = join(folder, 'ledger');
      writeFixture(files, ledger);
      mkdirSync(join(keysHome, fixtureLedgerId), { recursive: true });
      const wrapping = createHash('sha256').update('wrapping').digest();
      const program = join(folder, 'kms.mjs');
      const asked = join(folder, 'asked');
      writeFileSync(
        program,
        `import { appendFileSync } from 'node:fs';\nappendFileSync(${JSON.stringify(asked)}, 'x');\nconsole.log('${wrapping.toString('base64')}');\n`,
      );
      const lines = segments.map((path) => {
        const first = Number(path.slice(-16));
        const wrap = createCipheriv('id-aes256-wrap', wrapping, Buffer.alloc(8, 0xa6));
        const wrapped = Buffer.concat([wrap.update(keyFor(first)), wrap.final()]).toString('base64');
        return `SEGMENT ${path.slice(-16)} ${checkOf(keyFor(first)).toString('hex')} ${checkOf(wrapping).toString('hex')} ${wrapped}`;
      });
      const words = JSON.stringify({ wrap: ['no'], unwrap: [process.execPath, program] });
      const path = join(keysHome, fixtureLedgerId, 'segment-keys');
      writeFileSync(path, `COMMAND ${checkOf(wrapping).toString('hex')} AAAA ${words}\n${lines.join('\n')}\n`, { mode: 0o600 });

      const keys = new KeyFolders(keysHome);
      const spread = threads(ledger, 3, undefined, keys)!;
      let ranges = 0;
      const counted: Spread = {
        ...spread,
        least: 0,
        entries: () => 256,
        async *check(tasks, common) {
          for await (const facts of spread.check(tasks, common)) {
            if (facts) ranges++;
            yield facts;
          }
        },
      };
      const options = { crypto: nodeCrypto, source: directorySource(ledger), vkeys };
      const alone = await verify(plain);
      expect(await verifyLedger({ ...options, openers: keys.openers, spread: counted })).toEqual(alone);
      expect(ranges).toBeGreaterThan(0);
      expect(readFileSync(asked, 'utf8')).toBe('x');

      // a file that others can write would have us run what they like
      chmodSync(path, 0o644);
      const open = new KeyFolders(keysHome);
      expect(await verifyLedger({ ...options, openers: open.openers, spread: threads(ledger, 2, undefined, open)! })).toMatchObject({ exit: 3 });
      expect(readFileSync(asked, 'utf8')).toBe('x');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
