import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Fixture, fixtureConnection, fixtureKey, fixtureOrigin, sampleLedger, writeFixture } from '../../test/ledger-fixture.ts';
import { cryptos } from '../../test/noble-crypto.ts';
import { fromBase64, utf8, utf8Text } from '../bytes/bytes.ts';
import { bundleCommand } from '../cli/bundle.ts';
import { readTar, TarWriter } from '../cli/tar.ts';
import { piecesOf } from '../cli/verify-files.ts';
import { verifyAny } from '../cli/verify-any.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { parseVkey } from '../tlog/note.ts';
import { hashLeaf } from '../tlog/tree.ts';
import { verifyBundle, type BundleOptions, type BundleSource, type BundleVerification, type Manifest } from './bundle.ts';
import { drawSample, Edge, leftOf, pushAll, rightOf } from './range.ts';

const folder = mkdtempSync(join(tmpdir(), 'sworn-bundle-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

const by = { uid: 1000, pid: 9 };
const frame = { connection: fixtureConnection, stream: 0, direction: 'c2s', transport: 'stdio', server: 'fs', verdict: 'pass', origin: 'client' };
const sample = sampleLedger({
  pairs: 300,
  dropped: true,
  erased: true,
  later: (fixture: Fixture) => {
    fixture.add({ kind: 'policy', act: 'load', digest: 'a'.repeat(64), rules: 1, by }, { text: 'the policy then' });
    fixture.add({ kind: 'policy', act: 'freeze', server: 'x', by });
    fixture.add({ kind: 'policy', act: 'freeze', server: 'y', by });
    fixture.add({ kind: 'policy', act: 'unfreeze', freeze: fixture.leaves.length - 2, by });
    const message = (tapSeq: number) => ({ kind: 'message', ...frame, seq: tapSeq, tapSeq, type: 'opaque', anomalies: ['not-json'] });
    for (let i = 0; i < 40; i++)
      fixture.add(message(900 + i), {}, i % 3 === 0 ? ['secret ', { bytes: utf8(`part ${i}`), as: 'part' }] : [`secret ${i}`]);
    for (let i = 0; i < 300; i++) fixture.add({ kind: 'recovery', reason: 'unclean-stop' });
  },
});
const size = sample.leaves.length;
const first = sample.leaves.findIndex((leaf) => leaf.includes('"tapSeq":900,'));
const end = first + 40;
const timeOf = (index: number): string => (JSON.parse(sample.leaves[index]!.toString()) as { time: string }).time;
const vkey = parseVkey(nodeCrypto, sample.key.vkey)!;

async function bundle(name: string, more: Record<string, unknown> = {}): Promise<string> {
  let said = '';
  const output = { out: (text: string) => void (said += text), err: () => undefined, isTTY: false, color: false, columns: 80 };
  const options = { ledger: at('ledger'), since: timeOf(first), until: timeOf(end), output: at(name), sample: '5', ...more };
  expect(await bundleCommand(options, output)).toBe(0);
  return said;
}

async function filesOf(name: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const [file, place] of readTar(at(name))) {
    const pieces: Uint8Array[] = [];
    for await (const piece of piecesOf(at(name), place.offset, place.offset + place.sizeBytes)) pieces.push(piece);
    files.set(file, Buffer.concat(pieces));
  }
  return files;
}

const sourceOf = (files: Map<string, Uint8Array>): BundleSource => ({
  names: () => [...files.keys()],
  sizeOf: (name) => files.get(name)!.length,
  async *pieces(name) {
    const bytes = files.get(name)!;
    for (let from = 0; from < bytes.length; from += 1000) yield bytes.subarray(from, from + 1000);
  },
});
const verify = (files: Map<string, Uint8Array>, options: Partial<BundleOptions> = {}): Promise<BundleVerification> =>
  verifyBundle({ crypto: nodeCrypto, source: sourceOf(files), vkeys: [vkey], wanted: { nowS: 0 }, ...options });
const codes = (result: BundleVerification): Set<string> => new Set(result.findings.map(({ code }) => code));

/** The files with a change, and a manifest that lists them as they are: what a forger would hand on. */
function forged(files: Map<string, Uint8Array>, change: (copy: Map<string, Uint8Array>, manifest: Manifest) => void): Map<string, Uint8Array> {
  const copy = new Map(files);
  const manifest = JSON.parse(Buffer.from(files.get('manifest.json')!).toString()) as Manifest;
  change(copy, manifest);
  manifest.files = {};
  for (const [name, bytes] of copy) {
    if (name !== 'manifest.json') manifest.files[name] = { sizeBytes: bytes.length, sha256: Buffer.from(nodeCrypto.sha256(bytes)).toString('hex') };
  }
  copy.set('manifest.json', utf8(JSON.stringify(manifest)));
  return copy;
}

let files: Map<string, Uint8Array>;
beforeAll(async () => {
  writeFixture(sample.files(), at('ledger'));
  writeFileSync(at('start'), sample.checkpoint(500));
  await bundle('whole.tar', { known: at('start') });
  files = await filesOf('whole.tar');
});

describe.each(cryptos)('a bundle under %s', (_name, crypto) => {
  it('holds', async () => {
    const result = await verify(files, { crypto });
    expect(result.findings).toEqual([]);
    expect(result).toMatchObject({
      exit: 0,
      first,
      end,
      size,
      messages: 40,
      connections: 1,
      custody: 'same-user',
      withoutContent: 0,
      vkey: sample.key.vkey,
    });
    expect(result.contentBytes).toBeGreaterThan(300);
    // opened before, the policy and the freeze that was not taken back
    expect(result.context.map(({ entry }) => (entry.kind === 'policy' ? entry.act : entry.kind))).toEqual(['open', 'principal', 'load', 'freeze']);
    expect(result.sample).toHaveLength(5);
    expect(result.checked.join()).toContain('continues the 500 entries known at the start');
  });
});

describe('a bundle', () => {
  it('withholds content', async () => {
    await bundle('withheld.tar', { withhold: true });
    expect(readFileSync(at('withheld.tar')).includes('secret 4')).toBe(false);
    expect(readFileSync(at('whole.tar')).includes('secret 4')).toBe(true);
    const result = await verify(await filesOf('withheld.tar'));
    expect(result).toMatchObject({ exit: 0, contentBytes: 0 });
    expect(result.notChecked.join()).toContain('withheld');
  });

  it('says no custody where it is left out how a connection began', async () => {
    const copy = new Map(await filesOf('whole.tar'));
    const manifest = JSON.parse(utf8Text(copy.get('manifest.json')!)!) as { files: Record<string, unknown> };
    const { index } = (await verify(copy)).context.find(({ entry }) => entry.kind === 'open')!;
    const name = `context/${index}.tlog-proof`;
    expect(copy.delete(name)).toBe(true);
    delete manifest.files[name];
    copy.set('manifest.json', utf8(JSON.stringify(manifest)));
    const result = await verify(copy);
    expect(result).toMatchObject({ exit: 0, custody: undefined });
    expect(result.notChecked).toContain('the custody of 1 connection(s): the entries that say how they began are not in the bundle');
  });

  it('covers any period', async () => {
    for (const [since, until] of [
      [undefined, undefined],
      [undefined, timeOf(1)],
      [timeOf(size - 1), undefined],
      [timeOf(256), timeOf(512)],
      [timeOf(255), timeOf(257)],
    ]) {
      await bundle('any.tar', { since, until, sample: '0' });
      expect(await verify(await filesOf('any.tar'))).toMatchObject({ exit: 0, findings: [] });
    }
    await expect(bundle('none.tar', { since: '2030-01-01', until: undefined })).rejects.toMatchObject({ code: 'not-found' });
  });

  it('needs a key, fits what was known, and tells another branch', async () => {
    expect(await verify(files, { vkeys: [] })).toMatchObject({ exit: 3 });
    const root = (at_: number): Uint8Array => fromBase64(sample.checkpoint(at_).split('\n')[2]!)!;
    expect(await verify(files, { vkeys: [], known: { size, root: root(size) } })).toMatchObject({ exit: 0 });
    for (const known of [size, 500, first]) {
      expect(await verify(files, { known: { size: known, root: root(known) } })).toMatchObject({ exit: 0 });
      expect(await verify(files, { known: { size: known, root: root(7) } })).toMatchObject({ exit: 5 });
    }
    expect((await verify(files, { known: { size: 9, root: root(9) } })).notChecked.join()).toContain('has no proof from it');
    expect(await verify(files, { vkeys: [parseVkey(nodeCrypto, fixtureKey(fixtureOrigin, 'another').vkey)!] })).toMatchObject({ exit: 1 });
  });

  it('is found out when it was forged with a fitting manifest', async () => {
    const lines = Buffer.from(files.get('entries.ndjson')!).toString().split('\n');
    const segment = [...files.keys()].find((name) => name.startsWith('payload/'))!;
    const cases: [string, number, (copy: Map<string, Uint8Array>, manifest: Manifest) => void][] = [
      ['range', 1, (copy) => copy.set('entries.ndjson', utf8(lines.map((line) => line.replace('"tapSeq":905', '"tapSeq":906')).join('\n')))],
      ['range', 1, (copy) => copy.set('entries.ndjson', utf8([...lines.slice(0, 4), ...lines.slice(5)].join('\n')))],
      ['range', 1, (copy) => copy.set('entries.ndjson', utf8([lines[1], lines[0], ...lines.slice(2)].join('\n')))],
      ['range', 1, (copy) => copy.set('entries.ndjson', utf8(`${lines.join('\n')}{}\n`))],
      ['range', 1, (copy) => copy.set('entries.ndjson', utf8(lines.join('\n').slice(0, -1)))],
      ['range', 3, (copy) => copy.delete('entries.ndjson')],
      ['range', 1, (_, manifest) => void manifest.left.pop()],
      ['range', 1, (_, manifest) => void (manifest.first += 1)],
      ['range', 1, (_, manifest) => void (manifest.right[0] = manifest.right[1]!)],
      ['content', 1, (copy) => copy.set(segment, changedText(copy.get(segment)!, 'secret 4', 'SECRET 4'))],
      ['record-missing', 3, (copy) => copy.delete(segment)],
      ['sample', 1, (_, manifest) => void (manifest.sample.indexes[0] = manifest.sample.indexes[0] === first ? first + 1 : first)],
      ['sample', 1, (_, manifest) => void (manifest.sample.seed = 'mine')],
      ['proof', 3, (copy, manifest) => copy.delete(`sample/${manifest.sample.indexes[0]}.tlog-proof`)],
      ['inclusion', 1, (copy) => copy.set(firstOf(copy, 'context/'), changedText(copy.get(firstOf(copy, 'context/'))!, 'index ', 'index 1'))],
      ['fork', 5, (_, manifest) => void (manifest.start!.size -= 1)],
      ['manifest', 1, (copy) => copy.set('start.checkpoint', utf8(sample.checkpoint(499)))],
      ['checkpoint-unreadable', 3, (copy) => copy.delete('checkpoint')],
      ['signature', 1, (copy) => copy.set('checkpoint', changedText(copy.get('checkpoint')!, '\u2014 sworn', '\u2014 swarn'))],
    ];
    for (const [i, [code, exit, change]] of cases.entries()) {
      const result = await verify(forged(files, change));
      expect([...codes(result)], `case ${i}`).toContain(code === 'inclusion' && codes(result).has('proof') ? 'proof' : code);
      expect([exit, 1, 3], `case ${i}: ${JSON.stringify(result.findings)}`).toContain(result.exit);
      expect(result.exit, `case ${i}`).not.toBe(0);
    }
    for (const text of ['', '{}', '[]', 'null', '{"sworn":1}'])
      expect(await verify(new Map([['manifest.json', utf8(text)]]))).toMatchObject({ exit: 3 });
    expect(await verify(new Map())).toMatchObject({ exit: 3 });
  });

  it('is noticed to have changed in any byte, or that byte means nothing', async () => {
    const whole = readFileSync(at('whole.tar'));
    const outside = { out: () => undefined, err: () => undefined, isTTY: false, color: false };
    writeFileSync(at('trust'), `log ${sample.key.vkey}\nquorum none\n`);
    const run = async (name: string): Promise<{ exit: number; json: string }> => {
      let json = '';
      const exit = await verifyAny({ what: at(name), json: true, policy: at('trust') }, { ...outside, out: (text) => void (json += text) });
      return { exit, json };
    };
    writeFileSync(at('changed.tar'), whole);
    // which period was asked for is the maker's word, and said to be
    const withoutPeriod = (json: string): object => ({ ...(JSON.parse(json) as object), since: undefined, until: undefined });
    const before = await run('changed.tar');
    expect((JSON.parse(before.json) as { notChecked: string[] }).notChecked).toContainEqual(expect.stringMatching(/period/));
    expect(before.exit).toBe(0);
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), async (place, mask) => {
        const copy = Buffer.from(whole);
        copy[place % copy.length]! ^= mask;
        writeFileSync(at('changed.tar'), copy);
        const after = await run('changed.tar');
        if (after.exit === 0) expect(withoutPeriod(after.json)).toEqual(withoutPeriod(before.json));
      }),
      { numRuns: Number(process.env['SWORN_FLIPS'] ?? 60) },
    );
    for (const cut of [0, 1, 511, 512, 600, whole.length - 1024, whole.length >> 1]) {
      writeFileSync(at('changed.tar'), whole.subarray(0, cut));
      expect((await run('changed.tar')).exit, `cut at ${cut}`).toBe(3);
    }
  });

  it('is read by other tars, and checked from the folder it was unpacked to', async () => {
    mkdirSync(at('unpacked'));
    expect(spawnSync('tar', ['xf', at('whole.tar'), '-C', at('unpacked')]).status).toBe(0);
    for (const [name, bytes] of files) expect(readFileSync(join(at('unpacked'), name)).equals(bytes)).toBe(true);
    writeFileSync(at('trust'), `log ${sample.key.vkey}\nquorum none\n`);
    let said = '';
    const output = { out: (text: string) => void (said += text), err: () => undefined, isTTY: false, color: false };
    expect(await verifyAny({ what: at('unpacked'), json: false, policy: at('trust') }, output)).toBe(0);
    for (const part of ['HOLDS: entries', 'policy in force: 1 rule', 'frozen: writes on server y', 'Not checked']) expect(said).toContain(part);
    expect(said).not.toContain('server x');
    writeFileSync(join(at('unpacked'), 'note'), 'something');
    expect(await verifyAny({ what: at('unpacked'), json: false, policy: at('trust') }, output)).toBe(1);
  });
});

describe('a bundle in the place of a ledger', () => {
  const output = { out: () => undefined, err: () => undefined, isTTY: false, color: false };
  it('is not taken for it', async () => {
    const place = at('place');
    const keysHome = at('place-keys');
    writeFixture(new Map([...files].map(([name, bytes]) => [name, Buffer.from(bytes)])), place);
    writeFileSync(at('trust'), `log ${sample.key.vkey}\nquorum none\n`);
    const options = { what: place, json: false, keysHome };
    expect(await verifyAny({ ...options, policy: at('trust') }, output)).toBe(0);
    expect(await verifyAny({ ...options, policy: at('trust'), isLedger: true }, output)).toBe(3);
    // beside a ledger
    writeFixture(sampleLedger({ pairs: 1 }).files(), place);
    rmSync(join(place, 'log', 'checkpoint'));
    expect(await verifyAny({ ...options, policy: at('trust') }, output)).not.toBe(0);
    // where one was pinned
    rmSync(place, { recursive: true });
    writeFixture(sampleLedger({ pairs: 1 }).files(), place);
    expect(await verifyAny(options, output)).toBe(0);
    rmSync(place, { recursive: true });
    writeFixture(new Map([...files].map(([name, bytes]) => [name, Buffer.from(bytes)])), place);
    expect(await verifyAny({ ...options, policy: at('trust') }, output)).toBe(3);
  });
});

describe('tar', () => {
  it('gives back what was written, and refuses what two readers could take for different things', async () => {
    const writer = new TarWriter(at('small.tar'));
    writer.add('a', utf8('x'));
    writer.add('folder/b', new Uint8Array(512));
    writer.add('empty', new Uint8Array(0));
    expect(writer.close()).toBe(readFileSync(at('small.tar')).length);
    expect([...(await filesOf('small.tar'))].map(([name, bytes]) => [name, bytes.length])).toEqual([
      ['a', 1],
      ['folder/b', 512],
      ['empty', 0],
    ]);
    const twice = new TarWriter(at('twice.tar'));
    twice.add('a', utf8('x'));
    twice.add('a', utf8('y'));
    twice.close();
    expect(() => readTar(at('twice.tar'))).toThrow(/there twice/);
    expect(() => new TarWriter(at('long.tar')).begin('x'.repeat(101))).toThrow(RangeError);
  });
});

describe('a range of leaves', () => {
  const leafHash = (i: number): Uint8Array => hashLeaf(nodeCrypto, utf8(`leaf ${i}`));
  const rootOf = (from: number, to: number): Uint8Array => {
    const edge = new Edge(nodeCrypto);
    for (let i = from; i < to; i++) edge.push(0, leafHash(i));
    return edge.root();
  };
  it('gives the root with the subtrees beside it, at any place', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), fc.nat(), (size, a, b) => {
        const from = a % size;
        const to = from + 1 + (b % (size - from));
        const hash = ({ level, index }: { level: number; index: number }) => rootOf(index * 2 ** level, (index + 1) * 2 ** level);
        const edge = new Edge(nodeCrypto);
        expect(pushAll(edge, leftOf(from), leftOf(from).map(hash))).toBe(true);
        for (let i = from; i < to; i++) edge.push(0, leafHash(i));
        expect(pushAll(edge, rightOf(to, size), rightOf(to, size).map(hash))).toBe(true);
        expect(edge.root()).toEqual(rootOf(0, size));
      }),
      { numRuns: 60 },
    );
  });
  it('draws the same sample from the same seed, without one twice', () => {
    const drawn = drawSample(nodeCrypto, 'seed', 10, 100, 30);
    expect(drawn).toEqual(drawSample(nodeCrypto, 'seed', 10, 100, 30));
    expect(new Set(drawn).size).toBe(30);
    expect(drawn.every((index) => index >= 10 && index < 100)).toBe(true);
    expect(drawSample(nodeCrypto, 'seed', 10, 13, 30)).toEqual([10, 11, 12]);
    expect(drawSample(nodeCrypto, 'other', 10, 100, 30)).not.toEqual(drawn);
  });
});

function firstOf(copy: Map<string, Uint8Array>, start: string): string {
  return [...copy.keys()].find((name) => name.startsWith(start))!;
}

/** With one text put in place of another, and the checksums of payload records made anew. */
function changedText(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const copy = Buffer.from(bytes);
  const place = copy.indexOf(from);
  if (from.length !== to.length) return Buffer.concat([copy.subarray(0, place), Buffer.from(to), copy.subarray(place + Buffer.byteLength(from))]);
  copy.write(to, place);
  return copy.toString('latin1', 0, 8) === 'SWORNPL1' ? withChecksums(copy) : copy;
}

function withChecksums(segment: Buffer): Buffer {
  for (let at_ = 40; at_ < segment.length; at_ += 8 + segment.readUInt32BE(at_)) {
    const body = segment.subarray(at_ + 8, at_ + 8 + segment.readUInt32BE(at_));
    segment.writeUInt32BE(crc(body), at_ + 4);
  }
  return segment;
}

function crc(bytes: Uint8Array): number {
  let value = -1;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return ~value >>> 0;
}
