/** A ledger that is checked in ranges says what it says in one pass. The tests of the verifier and of attacks compare the two as well (`test/spread.ts`). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { Fixture, fixtureConnection, memorySource, sampleLedger, writeFixture } from '../../test/ledger-fixture.ts';
import { inTurns, verifySame } from '../../test/spread.ts';
import { directorySource } from '../cli/verify-files.ts';
import { threads } from '../cli/verify-threads.ts';
import { fromBase64 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { parseVkey } from '../tlog/note.ts';
import type { Source } from './source.ts';
import { rangesOf, type Spread } from './spread.ts';
import { verifyLedger, type Verification } from './verifier.ts';

type Files = Map<string, Uint8Array>;

const vkeysOf = (fixture: Fixture) => [parseVkey(nodeCrypto, fixture.key.vkey)!];
const same = (fixture: Fixture, files: Files = fixture.files(), more: object = {}): Promise<Verification> =>
  verifySame({ crypto: nodeCrypto, source: memorySource(files), vkeys: vkeysOf(fixture), ...more });

/** Numbers that look random and are the same each time. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const common = { connection: fixtureConnection, stream: 0, direction: 'c2s', transport: 'stdio', server: 'fs', verdict: 'pass', origin: 'client' };

/** Behind the sample's last session so many more messages. */
const withMore =
  (messages: number) =>
  (fixture: Fixture): void => {
    fixture.add({ kind: 'recovery', reason: 'resumed', connection: fixtureConnection });
    for (let i = 0; i < messages; i++) {
      fixture.add({ kind: 'message', ...common, who: 2, type: 'opaque', seq: 900 + i, tapSeq: 900 + i }, { n: i }, ['x'.repeat(i % 50)]);
    }
    fixture.add({ kind: 'close', connection: fixtureConnection, reason: 'client closed' });
  };

/** Moves the parts before an entry's record in front of the `by` entries before it: other connections may speak while a frame comes. */
function partsEarlier(fixture: Fixture, index: number, by: number): void {
  const segment = fixture.segments.findLast(({ first }) => first <= index)!;
  const isPart = (record: Buffer): boolean => record[8] !== 1;
  const { records } = segment;
  const at = records.findIndex((record) => !isPart(record) && record.readBigUInt64BE(9) === BigInt(index));
  let begin = at;
  while (isPart(records[begin - 1]!)) begin--;
  const offsetOf = (k: number): number => records.slice(0, k).reduce((sum, record) => sum + record.length, 40);
  const parts = records.slice(begin, at);
  const before = parts.map((_, k) => offsetOf(begin + k));
  const entry = Buffer.from(records[at]!);
  records.splice(begin, parts.length);
  records.splice(begin - by, 0, ...parts);
  const places = before.map((offset, k) => [place(segment.first, offset), place(segment.first, offsetOf(begin - by + k))] as const);
  for (const [from, to] of places.map(([from, to]) => [entry.indexOf(from), to] as const)) to.copy(entry, from);
  entry.writeUInt32BE(crc32(entry.subarray(8)), 4);
  records[at] = entry;
}

function place(file: number, offset: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(BigInt(file), 0);
  bytes.writeBigUInt64BE(BigInt(offset), 8);
  return bytes;
}

describe('ranges', () => {
  it('cover all entries, and begin with segments where that fits', () => {
    const names = [0, 1_000, 1_100, 9_000, 17_000, 30_000].map((first) => ({ first, path: '' }));
    const ranges = [...rangesOf(40_960, () => 8_192, names)];
    expect(ranges[0]!.first).toBe(0);
    expect(ranges.at(-1)!.end).toBe(40_960);
    for (const [i, { first, end }] of ranges.entries()) {
      expect([first % 256, end % 256, end > first]).toEqual([0, 0, true]);
      if (i > 0) expect(first).toBe(ranges[i - 1]!.end);
    }
    for (const first of [9_216, 17_152, 30_208]) expect(ranges.map((range) => range.first)).toContain(first);
    // a checkpoint may claim any size
    expect(rangesOf(2 ** 50, () => 8_192, names).next().value).toEqual({ first: 0, end: 9_216 });
  });
});

describe('in ranges as in one pass', () => {
  it('a ledger holds, in segments of many sizes, with and without content, and from what was known', async () => {
    for (const segmentBytes of [2_000, 20_000, 64 << 20]) {
      const fixture = sampleLedger({ pairs: 520, segmentBytes, dropped: true, erased: true });
      const files = fixture.files();
      expect(await same(fixture)).toMatchObject({ exit: 0, erasedSegments: 3, neverStored: 1 });
      const { segments: _, segment: _1, ...tree } = memorySource(files);
      expect(await same(fixture, files, { source: tree })).toMatchObject({ exit: 0, contentBytes: 0 });
      for (const size of [0, 1, 255, 256, 300, 512, 1_000, fixture.leaves.length, fixture.leaves.length + 1]) {
        const root = size > fixture.leaves.length ? new Uint8Array(32) : fromBase64(fixture.checkpoint(size).split('\n')[2]!)!;
        expect((await same(fixture, files, { known: { size, root } })).exit).toBe(size > fixture.leaves.length ? 5 : 0);
        expect((await same(fixture, files, { known: { size, root: new Uint8Array(32) } })).exit).toBe(5);
      }
    }
  });

  it('a ledger holds whose last records are not signed, or torn', async () => {
    const fixture = sampleLedger({ pairs: 400 });
    for (const size of [256, 257, 511, 512, 513, 700, 768]) {
      const files = fixture.files(size);
      expect(await same(fixture, files)).toMatchObject({ exit: 0, size, laterRecords: fixture.leaves.length - size });
      const path = `payload/${'0'.repeat(16)}`;
      files.set(path, files.get(path)!.subarray(0, -3));
      const torn = await same(fixture, files);
      expect([torn.exit, torn.findings.some(({ code }) => code === 'torn-tail')]).toEqual([0, true]);
    }
  });

  it('parts hold that stand in the range before that of their frame, whole or erased', async () => {
    for (const erased of [true, 'unstated'] as const) {
      for (const [pairs, index] of [
        [126, 255],
        [126, 256],
        [125, 254],
        [254, 512],
      ] as const) {
        const fixture = sampleLedger({ pairs, erased, later: withMore(pairs === 254 ? 0 : 400) });
        for (const by of [1, 2, 3, 250]) {
          partsEarlier(fixture, index, by);
          expect((await same(fixture)).exit, `${index} ${by}`).toBe(erased === true ? 0 : 1);
        }
      }
    }
  });

  it('a part that two frames name, or that is another one, is found', async () => {
    const fixture = sampleLedger({ pairs: 126, erased: true, later: withMore(400) });
    partsEarlier(fixture, 256, 3);
    const files = fixture.files();
    const path = `payload/${'0'.repeat(16)}`;
    const bytes = files.get(path)!;
    // a part's first byte, with a checksum that fits
    let at = 40;
    while (bytes[at + 8] === 1) at += 8 + bytes.readUInt32BE(at);
    const changed = Buffer.from(bytes);
    changed[at + 8 + 42]! ^= 1;
    changed.writeUInt32BE(crc32(changed.subarray(at + 8, at + 8 + changed.readUInt32BE(at))), at + 4);
    const result = await same(fixture, new Map(files).set(path, changed));
    expect(result).toMatchObject({ exit: 1 });
    expect(result.findings.map(({ code }) => code)).toContain('part');
  });

  it('any changed byte of any file is found or not alike', { timeout: 120_000 }, async () => {
    const fixture = sampleLedger({ pairs: 300, segmentBytes: 30_000, dropped: true, erased: true, later: withMore(200) });
    const files = fixture.files();
    const paths = [...files.keys()];
    const next = dice(11);
    const exits = new Map<number, number>();
    for (let i = 0; i < 60; i++) {
      const path = paths[next(paths.length)]!;
      const bytes = Buffer.from(files.get(path)!);
      const act = next(8);
      const at = next(bytes.length);
      const copy: Files = new Map(files);
      if (act === 0) copy.delete(path);
      else if (act === 1) copy.set(path, bytes.subarray(0, at));
      else {
        bytes[at]! ^= 1 << next(8);
        copy.set(path, bytes);
      }
      const { exit } = await same(fixture, copy);
      exits.set(exit, (exits.get(exit) ?? 0) + 1);
    }
    // nearly all bytes are covered by something
    expect(exits.get(1)).toBeGreaterThan(40);
  });

  it('records with checksums that fit are held against the log, and segments against each other', { timeout: 60_000 }, async () => {
    const fixture = sampleLedger({ pairs: 300, segmentBytes: 30_000, later: withMore(200) });
    const next = dice(7);
    let found = 0;
    const forged = (change: (records: Buffer[], k: number) => void): Files => {
      const copy = sampleLedger({ pairs: 300, segmentBytes: 30_000, later: withMore(200) });
      const { records } = copy.segments[next(copy.segments.length)]!;
      change(records, next(records.length));
      for (const record of records) record.writeUInt32BE(crc32(record.subarray(8)), 4);
      return copy.files();
    };
    const changes: ((records: Buffer[], k: number) => void)[] = [
      (records, k) => void records.splice(k, 1),
      (records, k) => void records.splice(k, 0, Buffer.from(records[k]!)),
      (records, k) => void records.splice(k, 2, ...[records[k + 1], records[k]].filter((one) => one !== undefined)),
      (records, k) => void (records[k]![8 + 9 + next(records[k]!.length - 17)]! ^= 1),
      (records, k) => records[k]!.writeBigUInt64BE(records[k]!.readBigUInt64BE(9) + 256n, 9),
      (records, k) => void records.splice(k),
    ];
    for (const change of changes) for (let i = 0; i < 5; i++) if ((await same(fixture, forged(change))).exit !== 0) found++;
    // to swap the last record of a segment with nothing changes nothing
    expect(found).toBeGreaterThan(25);
  });
});

describe('threads', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-spread-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const fixture = sampleLedger({ pairs: 1_500, segmentBytes: 100_000, dropped: true, erased: true });
  writeFixture(fixture.files(), folder);
  const options = { crypto: nodeCrypto, source: directorySource(folder), vkeys: vkeysOf(fixture) };
  const small = (spread: Spread | undefined): Spread => ({ ...spread!, least: 0, entries: () => 512 });

  it('say what one pass says, and how far they are', async () => {
    const alone = await verifyLedger(options);
    for (const count of [2, 3]) {
      const done: number[] = [];
      expect(await verifyLedger({ ...options, spread: small(threads(folder, count)), progress: (at) => done.push(at) })).toEqual(alone);
      expect(done).toEqual(done.toSorted((a, b) => a - b));
      expect(done.length).toBeGreaterThan(5);
    }
  });

  it('that die, cannot start, or answer nonsense change nothing but the time', async () => {
    const alone = await verifyLedger(options);
    const programs = ['throw new Error("no")', 'process.exit(0)', 'import "node:nothing"'];
    for (const program of programs) {
      const spread = small(threads(folder, 2, new URL(`data:text/javascript,${encodeURIComponent(program)}`)));
      expect(await verifyLedger({ ...options, spread })).toEqual(alone);
    }
    const source: Source = memorySource(fixture.files());
    const whole = inTurns(source);
    const lying: Spread = {
      ...whole,
      // every second range is left out
      async *check(tasks, what) {
        let odd = false;
        for await (const facts of whole.check(tasks, what)) if ((odd = !odd)) yield facts;
      },
    };
    expect(await verifyLedger({ ...options, source, spread: lying })).toEqual(alone);
  });

  it('are not started for one core, or a small ledger', async () => {
    expect(threads(folder, 1)).toBeUndefined();
    let asked = false;
    const spread: Spread = {
      ...threads(folder, 2)!,
      async *check() {
        asked = true;
        yield undefined;
      },
    };
    expect((await verifyLedger({ ...options, spread })).exit).toBe(0);
    expect(asked).toBe(false);
  });
});
