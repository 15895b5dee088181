import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { Fixture, fixtureConnection, fixtureKey, fixtureOrigin, sampleLedger, writeFixture } from '../../test/ledger-fixture.ts';
import { cryptos } from '../../test/noble-crypto.ts';
import { fromBase64, utf8 } from '../bytes/bytes.ts';
import { makeProof } from '../cli/prove.ts';
import { PublishedLog } from '../readers/published.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { parseVkey } from '../tlog/note.ts';
import { formatProofFile, parseProofFile, type ParsedProofFile } from '../tlog/proof-file.ts';
import { readExtra, verifyProof, type ProofOptions, type ProofVerification } from './proof.ts';

const folder = mkdtempSync(join(tmpdir(), 'sworn-proof-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let ledgers = 0;
function logOf(fixture: Fixture, size?: number): PublishedLog {
  const ledger = join(folder, String(ledgers++));
  writeFixture(fixture.files(size), ledger);
  return new PublishedLog(ledger);
}

const frame = { connection: fixtureConnection, stream: 0, direction: 'c2s', transport: 'stdio', server: 'fs', verdict: 'pass', origin: 'client' };
const sample = sampleLedger({
  pairs: 150,
  dropped: true,
  erased: true,
  segmentBytes: 200_000,
  later: (fixture) => {
    const message = (tapSeq: number) => ({ kind: 'message', ...frame, seq: tapSeq, tapSeq, type: 'opaque', anomalies: ['not-json'] });
    // what does not get shorter by compression
    const noise = Buffer.concat(Array.from({ length: 4000 }, (_, i) => nodeCrypto.sha256(utf8(`noise ${i}`))));
    fixture.add(message(900), {}, [{ bytes: noise }]);
    fixture.add(message(903), {}, [
      { bytes: noise.subarray(0, 64_000), as: 'part' },
      { bytes: noise.subarray(64_000), as: 'part' },
      { bytes: noise.subarray(0, 7), as: 'kept' },
    ]);
    fixture.add(message(904), {}, [{ bytes: Buffer.from([0xff, 0, 0xfe]) }, { bytes: Buffer.from('secret'), as: 'dropped' }]);
  },
});
const log = logOf(sample);
const vkey = parseVkey(nodeCrypto, sample.key.vkey)!;
const at = {
  start: 0,
  open: 1,
  request: 3,
  parts: sample.leaves.findIndex((leaf) => leaf.includes('"parts":3')),
  noise: sample.leaves.findIndex((leaf) => leaf.includes('"tapSeq":900,')),
  noiseParts: sample.leaves.findIndex((leaf) => leaf.includes('"tapSeq":903,')),
  binary: sample.leaves.findIndex((leaf) => leaf.includes('"tapSeq":904,')),
};

interface Made {
  bytes: Uint8Array;
  sidecar?: Uint8Array | undefined;
}

function made(index: number, isWithheld = false, of = log): Made {
  const { bytes, sidecar } = makeProof(of, index, isWithheld);
  const pieces: Uint8Array[] = [];
  sidecar?.((piece) => void pieces.push(Uint8Array.from(piece)));
  return { bytes, sidecar: sidecar && Buffer.concat(pieces) };
}

const verify = ({ bytes, sidecar }: Made, options: Partial<ProofOptions> = {}): Promise<ProofVerification> =>
  verifyProof({
    crypto: nodeCrypto,
    bytes,
    vkeys: [vkey],
    wanted: { nowS: 0 },
    ...(sidecar
      ? {
          sidecar: async function* () {
            yield sidecar;
          },
        }
      : {}),
    ...options,
  });
const codes = (result: ProofVerification): string[] => result.findings.map(({ code }) => code);
const parsed = ({ bytes }: Made): ParsedProofFile => {
  const file = parseProofFile(bytes);
  if ('problem' in file) throw new Error(file.message);
  return file;
};
const withExtra = (proof: Made, extra: unknown): Made => {
  const { index, hashes, checkpoint } = parsed(proof);
  return {
    ...proof,
    bytes: formatProofFile({ index, hashes, checkpoint, extra: extra instanceof Uint8Array ? extra : utf8(JSON.stringify(extra)) }),
  };
};

describe.each(cryptos)('a proof under %s', (_name, crypto) => {
  it('of every entry holds, opened and withheld, and shows what was recorded', async () => {
    for (const [index, leaf] of sample.leaves.entries()) {
      if (index > 20 && index < sample.leaves.length - 20) continue;
      for (const isWithheld of [false, true]) {
        const result = await verify(made(index, isWithheld), { crypto });
        expect(result, `entry ${index}: ${JSON.stringify(result.findings)}`).toMatchObject({ exit: 0, index, findings: [], vkey: sample.key.vkey });
        expect(result.entry).toEqual(JSON.parse(leaf.toString()));
      }
    }
  });
});

describe('a proof', () => {
  it('opens content, in itself or in a sidecar, and says what is not opened', async () => {
    const request = await verify(made(at.request));
    expect(Buffer.from(request.content!.segments[0]!.bytes!).toString()).toContain('/etc/motd');
    expect(made(at.request).sidecar).toBeUndefined();
    expect(request.checked.join()).toContain('opened content');

    const parts = await verify(made(at.parts));
    expect(parts.content!.segments.map(({ bytes }) => bytes?.length)).toEqual([300, 300, 17]);

    for (const index of [at.noise, at.noiseParts]) {
      const big = made(index);
      expect(big.sidecar?.length, `entry ${index}`).toBeGreaterThan(128_000);
      expect(big.bytes.length).toBeLessThan(4000);
      const result = await verify(big);
      expect(result).toMatchObject({ exit: 0, contentHolds: true });
      expect(result.checked.join()).toContain(index === at.noise ? '(128000 bytes)' : '(128007 bytes)');
      expect(await verify({ bytes: big.bytes })).toMatchObject({ exit: 3, contentHolds: false });
      expect(made(index, true).sidecar).toBeUndefined();
    }
    const binary = await verify(made(at.binary));
    expect(binary.content!.segments.map(({ opened, sizeBytes }) => [opened, sizeBytes])).toEqual([
      [true, 3],
      [false, 6],
    ]);
    expect(binary.notChecked.join()).toContain('1 segment(s) of content that are not opened (6 bytes)');
  });

  it('withholds every byte of content', async () => {
    for (const index of [at.open, at.request, at.parts, at.binary]) {
      const proof = made(index, true);
      const extra = await readExtra(nodeCrypto, parsed(proof).extra);
      if (typeof extra === 'string') throw new Error(extra);
      expect(extra.content!.segments.concat(extra.content!.attributes).some(({ opened }) => opened)).toBe(false);
      const result = await verify(proof);
      expect(result).toMatchObject({ exit: 0 });
      expect(result.notChecked.join()).toContain('not opened');
    }
  });

  it('needs a key, or the checkpoint itself from elsewhere', async () => {
    const proof = made(at.request);
    const result = await verify(proof, { vkeys: [] });
    expect(result).toMatchObject({ exit: 3 });
    expect(result.notChecked.join()).toContain('without a key');
    const root = fromBase64(sample.checkpoint().split('\n')[2]!)!;
    const size = sample.leaves.length;
    expect(await verify(proof, { vkeys: [], known: { size, root } })).toMatchObject({ exit: 0 });
    expect(await verify(proof, { known: { size, root: new Uint8Array(32) } })).toMatchObject({ exit: 5 });
    const other = await verify(proof, { known: { size: size - 1, root } });
    expect(other.exit).toBe(0);
    expect(other.notChecked.join()).toContain('cannot be compared');
    expect(codes(await verify(proof, { vkeys: [parseVkey(nodeCrypto, fixtureKey(fixtureOrigin, 'another').vkey)!] }))).toEqual(['key-changed']);
    expect(codes(await verify(proof, { vkeys: [parseVkey(nodeCrypto, fixtureKey('else.example').vkey)!] }))).toEqual(['signature']);
  });

  it('believes no word of `extra` before its hash leads to the root', async () => {
    const proof = made(at.request);
    const leaf = sample.leaves[at.request]!.toString();
    const lie = await verify(withExtra(proof, { sworn: 1, leaf: leaf.replace('"read"', '"pay"') }));
    expect(lie).toMatchObject({ exit: 1, entry: undefined });
    expect(codes(lie)).toEqual(['inclusion']);
    const bare = await verify(withExtra(proof, { sworn: 1, leaf }));
    expect(bare.exit).toBe(0);
    expect(bare.notChecked.join()).toContain('the content: it is not in this proof');
    const otherContent = { sworn: 1, leaf, segments: [{ salt: Buffer.alloc(16).toString('base64'), text: 'a lie' }] };
    expect(await verify(withExtra(proof, otherContent))).toMatchObject({ exit: 1, content: undefined, contentHolds: false });
  });

  it('refuses an `extra` that is not of the format', async () => {
    const proof = made(at.request);
    const leaf = sample.leaves[at.request]!.toString();
    const hash = Buffer.alloc(32).toString('base64');
    const bad: unknown[] = [
      [],
      1,
      { leaf },
      { sworn: 2, leaf },
      { sworn: 1, leaf, more: 1 },
      { sworn: 1 },
      { sworn: 1, leaf: 5 },
      { sworn: 1, leaf: '\ud800' },
      { sworn: 1, leaf, segments: 5 },
      { sworn: 1, leaf, segments: [5] },
      { sworn: 1, leaf, segments: [{ salt: 'AA==', text: '' }] },
      { sworn: 1, leaf, segments: [{ hash, sizeBytes: -1 }] },
      { sworn: 1, leaf, segments: [{ hash, sizeBytes: 1, text: 'x' }] },
      { sworn: 1, leaf, sidecar: -1 },
      { sworn: 1, leaf, sidecar: 1, segments: [] },
      utf8('{'),
      utf8('\x1f nothing'),
      gzipSync(Buffer.alloc(5 << 20, ' ')),
    ];
    for (const extra of bad) expect(await verify(withExtra(proof, extra)), String(JSON.stringify(extra)).slice(0, 80)).toMatchObject({ exit: 3 });
    const { index, hashes, checkpoint } = parsed(proof);
    expect(await verify({ bytes: formatProofFile({ index, hashes, checkpoint }) })).toMatchObject({ exit: 3 });
    for (const bytes of [new Uint8Array(0), utf8('nothing')]) expect(await verify({ bytes })).toMatchObject({ exit: 3, index: undefined });
  });

  it('of an entry that is none is found out', async () => {
    const fixture = sampleLedger({ pairs: 1 });
    fixture.leaves.push(Buffer.from('{"v":1,"kind":"nothing"}'), Buffer.from('[]'), Buffer.from([0x7b, 0xff, 0x7d]));
    const of = logOf(fixture);
    const size = fixture.leaves.length;
    expect(await verify(made(size - 3, false, of))).toMatchObject({ exit: 3 });
    expect(await verify(made(size - 2, false, of))).toMatchObject({ exit: 1 });
    // not UTF-8: the leaf itself is in the sidecar
    const odd = made(size - 1, false, of);
    expect(odd.sidecar).toBeDefined();
    expect(await verify(odd)).toMatchObject({ exit: 1 });
    expect(codes(await verify(odd))).toEqual(['entry']);
  });

  it('is never made from tiles that do not lead to the root', () => {
    const fixture = sampleLedger({ pairs: 1 });
    const files = fixture.files();
    const path = [...files.keys()].find((name) => name.startsWith('log/tile/0/'))!;
    files.get(path)![5]! ^= 1;
    const ledger = join(folder, String(ledgers++));
    writeFixture(files, ledger);
    expect(() => makeProof(new PublishedLog(ledger), 3, false)).toThrow(/does not lead to the root/);
  });

  it('holds nothing that a recorded message made up: a record inside a message is not taken for one', async () => {
    // a message that holds a whole record of the entry behind it, with other content, and is large enough that the search meets it
    const plain = new Fixture();
    const message = (tapSeq: number) => ({ kind: 'message', ...frame, seq: tapSeq, tapSeq, type: 'opaque', anomalies: ['not-json'] });
    const build = (fixture: Fixture, first: Uint8Array): void => {
      fixture.add({
        kind: 'start',
        ledger: '0'.repeat(32),
        origin: fixture.key.name,
        vkey: fixture.key.vkey,
        recorder: { version: '0', uid: 0, pid: 0 },
      });
      fixture.add(message(1), {}, [{ bytes: new Uint8Array(600_000) }]);
      fixture.add(message(2), {}, ['the true content']);
      fixture.add(message(3), {}, [{ bytes: first }]);
    };
    build(plain, new Uint8Array(1));
    const record = plain.segments[0]!.records[2]!;
    const lie = Buffer.from(record);
    const text = lie.indexOf('the true content');
    lie.write('THE FALSE', text);
    lie.writeUInt32BE((await import('node:zlib')).crc32(lie.subarray(8)), 4);
    const fixture = new Fixture();
    build(fixture, Buffer.concat(Array.from({ length: 4000 }, () => lie)));
    const of = logOf(fixture);
    const result = await verify(made(2, false, of));
    expect(result).toMatchObject({ exit: 0, contentHolds: true });
    expect(Buffer.from(result.content!.segments[0]!.bytes!).toString()).toBe('the true content');
  });
});

describe('a changed byte of a proof', () => {
  const clean = ({ entry, content, exit }: ProofVerification) => ({ entry, content, exit });
  const flip = (bytes: Uint8Array, place: number, mask: number): Uint8Array => {
    const copy = Uint8Array.from(bytes);
    copy[place % copy.length]! ^= mask;
    return copy;
  };
  const masks = fc.integer({ min: 1, max: 255 });
  const all = [at.start, at.open, at.request, at.parts, at.binary, at.noise, at.noiseParts].flatMap((index) =>
    [false, true].map((isWithheld) => made(index, isWithheld)),
  );

  it('is noticed, or means nothing', async () => {
    const before = await Promise.all(all.map((proof) => verify(proof)));
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: all.length - 1 }), fc.nat(), masks, async (which, place, mask) => {
        const result = await verify({ ...all[which]!, bytes: flip(all[which]!.bytes, place, mask) });
        if (result.exit === 0) expect(clean(result)).toEqual(clean(before[which]!));
      }),
      { numRuns: 3000 },
    );
  });

  it('is noticed, or means nothing, inside `extra` where it is not compressed', async () => {
    for (const proof of all) {
      const extra = parsed(proof).extra!;
      const plain = extra[0] === 0x1f ? new Uint8Array((await import('node:zlib')).gunzipSync(extra)) : extra;
      if (plain.length > 40_000) continue;
      const before = clean(await verify(withExtra(proof, plain)));
      expect(before.exit).toBe(0);
      await fc.assert(
        fc.asyncProperty(fc.nat(), masks, async (place, mask) => {
          const result = await verify(withExtra(proof, flip(plain, place, mask)));
          if (result.exit !== 0) return;
          const after = clean(result);
          // of attributes that are not opened nothing binds the length
          for (const { content } of [before, after]) for (const item of content?.attributes ?? []) if (!item.opened) item.sizeBytes = 0;
          expect(after).toEqual(before);
        }),
        { numRuns: 300 },
      );
    }
  });

  it('is noticed, or means nothing, in sidecars', async () => {
    for (const proof of all.filter(({ sidecar }) => sidecar)) {
      const before = clean(await verify(proof));
      await fc.assert(
        fc.asyncProperty(fc.nat(), masks, async (place, mask) => {
          const result = await verify({ ...proof, sidecar: flip(proof.sidecar!, place, mask) });
          if (result.exit === 0) expect(clean(result)).toEqual(before);
        }),
        { numRuns: 60 },
      );
    }
  });
});
