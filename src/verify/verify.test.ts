import { crc32 as zlibCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fixture, fixtureConnection, fixtureKey, fixtureLedgerId, fixtureOrigin, memorySource, sampleLedger } from '../../test/ledger-fixture.ts';
import { cryptos } from '../../test/noble-crypto.ts';
import { verifySame } from '../../test/spread.ts';
import { fromBase64 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { parseVkey, type Vkey } from '../tlog/note.ts';
import { crc32 } from './payload.ts';
import type { Verification, VerifyOptions } from './verifier.ts';

type Files = Map<string, Uint8Array>;

const vkeyOf = (fixture: Fixture): Vkey => parseVkey(nodeCrypto, fixture.key.vkey)!;
const verify = (files: Files, options: Partial<VerifyOptions> = {}) => verifySame({ crypto: nodeCrypto, source: memorySource(files), ...options });
const pinned = (files: Files, fixture: Fixture, options: Partial<VerifyOptions> = {}) => verify(files, { vkeys: [vkeyOf(fixture)], ...options });
const codes = (result: Verification) => result.findings.map(({ code }) => code);
const known = (fixture: Fixture, size: number) => ({ size, root: fromBase64(fixture.checkpoint(size).split('\n')[2]!)! });

const tiny = sampleLedger({ pairs: 1 });
const small = sampleLedger({ pairs: 4 });
const large = sampleLedger({ pairs: 300, segmentBytes: 60_000 });

function altered(files: Files, path: string, change: (bytes: Uint8Array) => Uint8Array | void): Files {
  const copy = new Map(files);
  const bytes = Uint8Array.from(copy.get(path)!);
  copy.set(path, change(bytes) ?? bytes);
  return copy;
}

function without(files: Files, path: string): Files {
  const copy = new Map(files);
  expect(copy.delete(path)).toBe(true);
  return copy;
}

/** The records of a segment, as views. */
function recordsOf(segment: Uint8Array): Uint8Array[] {
  const view = Buffer.from(segment.buffer, segment.byteOffset, segment.length);
  const records: Uint8Array[] = [];
  for (let at = 40; at < view.length; at += 8 + view.readUInt32BE(at)) records.push(segment.subarray(at, at + 8 + view.readUInt32BE(at)));
  return records;
}

function rebuilt(segment: Uint8Array, change: (records: Uint8Array[]) => Uint8Array[]): Uint8Array {
  return Buffer.concat([segment.subarray(0, 40), ...change(recordsOf(segment).map((record) => Uint8Array.from(record)))]);
}

function withCrc(record: Uint8Array): Uint8Array {
  Buffer.from(record.buffer, record.byteOffset).writeUInt32BE(zlibCrc32(record.subarray(8)), 4);
  return record;
}

const payload0 = `payload/${'0'.repeat(16)}`;

describe('crc32', () => {
  it('is that of zlib', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => crc32(bytes) === zlibCrc32(bytes)));
  });
});

describe.each(cryptos)('a whole ledger under %s', (_name, crypto) => {
  it('holds', async () => {
    const files = large.files();
    const result = await verify(files, { crypto, vkeys: [vkeyOf(large)], known: known(large, 300), origin: fixtureOrigin });
    expect(result.findings).toEqual([]);
    expect(result).toMatchObject({
      exit: 0,
      size: large.leaves.length,
      pinned: true,
      rootHolds: true,
      laterRecords: 0,
      connections: 1,
      custody: 'same-user',
    });
    expect(result.holdsThrough).toBe(result.size);
    expect(result.vkey).toBe(large.key.vkey);
    expect([...files.keys()].filter((path) => path.startsWith('payload/')).length).toBeGreaterThan(3);
  });
});

describe('a whole ledger', () => {
  it('holds in pieces of any size, without a listing, and without a pinned key', async () => {
    for (const pieceBytes of [1, 7, 100_000]) {
      const result = await verify(small.files(), { source: memorySource(small.files(), { list: false, pieceBytes }) });
      expect(result).toMatchObject({ exit: 0, findings: [], pinned: false });
      expect(result.notChecked.join()).toContain('the key was taken from the ledger itself');
    }
  });
  it('says what was not checked', async () => {
    const { notChecked } = await verify(small.files());
    for (const part of ['no witness', 'no earlier checkpoint', 'key was taken']) expect(notChecked.join()).toContain(part);
  });
  it('holds without payload where the source has none', async () => {
    const { segments: _, segment: __, ...source } = memorySource(small.files());
    const result = await verify(small.files(), { source });
    expect(result.exit).toBe(0);
    expect(result.notChecked.join()).toContain('no payload');
  });
  it('takes a connection that was given up and comes back for what it is: its entries may point behind the close', async () => {
    const frame = { connection: fixtureConnection, stream: 0, direction: 'c2s', transport: 'stdio', server: 'fs', verdict: 'pass', origin: 'client' };
    const resumed = sampleLedger({
      pairs: 3,
      later: (fixture) => {
        fixture.add({ kind: 'recovery', reason: 'resumed', connection: fixtureConnection });
        fixture.add({ kind: 'message', ...frame, seq: 90, tapSeq: 90, who: 2, type: 'opaque', anomalies: ['not-json'] }, {}, ['x']);
        fixture.add({ kind: 'close', connection: fixtureConnection, reason: 'client closed' });
      },
    });
    expect(await pinned(resumed.files(), resumed)).toMatchObject({ exit: 0 });
    const reopened = sampleLedger({
      pairs: 3,
      later: (fixture) => {
        const tap = { uid: 1000, source: 'kernel' };
        const open = {
          kind: 'open',
          connection: fixtureConnection,
          transport: 'stdio',
          server: 'fs',
          mode: 'commit',
          onUnrecordable: 'block',
          custody: 'same-user',
          tap,
        };
        fixture.add(open);
        fixture.add({ kind: 'close', connection: fixtureConnection, reason: 'client closed' });
      },
    });
    const result = await pinned(reopened.files(), reopened);
    expect(result.exit).toBe(0);
    expect(codes(result)).toContain('recovery');
  });
  it('says which items of a batch have no entry, and takes those that a later recorder added', async () => {
    const frame = { connection: fixtureConnection, stream: 0, direction: 'c2s', transport: 'stdio', server: 'fs', verdict: 'pass', origin: 'client' };
    const text = '[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b"}]';
    const withBatch = (items: number, late: boolean) =>
      sampleLedger({
        pairs: 1,
        later: (fixture) => {
          fixture.add({ kind: 'recovery', reason: 'resumed', connection: fixtureConnection });
          const batch = fixture.add({ kind: 'batch', ...frame, seq: 50, tapSeq: 50, items: 2 }, {}, [text]);
          const item = { kind: 'message', ...frame, tapSeq: 50, sizeBytes: 30, type: 'notification', method: 'a', batch };
          for (let i = 0; i < items; i++) {
            if (i === 1 && late) fixture.add({ kind: 'recovery', reason: 'unclean-stop' });
            fixture.add({ ...item, seq: 51 + i, item: i, range: i === 0 ? [1, 31] : [32, 62] });
          }
          fixture.add({ kind: 'close', connection: fixtureConnection, reason: 'client closed' });
        },
      });
    const cut = withBatch(1, false);
    const result = await pinned(cut.files(), cut);
    expect(result.exit).toBe(0);
    expect(result.findings.some(({ message }) => message.startsWith('1 of 2 items of the batch'))).toBe(true);
    for (const whole of [withBatch(2, false), withBatch(2, true)]) {
      const held = await pinned(whole.files(), whole);
      expect(held.exit).toBe(0);
      expect(codes(held)).not.toContain('sequence');
    }
  });
  it('holds with segments and parts that were erased in place, and counts them', async () => {
    const fixture = sampleLedger({ pairs: 5, erased: true });
    const result = await pinned(fixture.files(), fixture);
    expect(result).toMatchObject({ exit: 0, droppedSegments: 0, erasedSegments: 3, erasedEntries: 1, erasures: 1 });
    expect(codes(result)).toEqual(['erased']);
  });
  it('counts what was never stored as its entry says, and tells what lacks without a word', async () => {
    const frame = { connection: fixtureConnection, stream: 0, transport: 'stdio', server: 'fs', verdict: 'pass', origin: 'client', direction: 'c2s' };
    let unit = 40;
    const message = (fields: Record<string, unknown>) => ({ kind: 'message', ...frame, type: 'opaque', seq: ++unit, tapSeq: unit, ...fields });
    const gone = (text: string) => ({ bytes: Buffer.from(text), as: 'dropped' as const });
    const judged = (add: (fixture: Fixture) => void) =>
      sampleLedger({
        pairs: 1,
        later: (fixture) => {
          unit = 40;
          fixture.add({ kind: 'recovery', reason: 'resumed', connection: fixtureConnection });
          add(fixture);
          fixture.add({ kind: 'close', connection: fixtureConnection, reason: 'client closed' });
        },
      });
    const cases: [string, number, number, (fixture: Fixture) => void][] = [
      ['redaction', 2, 0, (f) => f.add(message({ redacted: { 'key:a': 1, secrets: 1 } }), {}, ['{', gone('1'), ',', gone('2'), '}'])],
      ['more than redaction counts', 1, 1, (f) => f.add(message({ redacted: { 'key:a': 1 } }), {}, ['{', gone('1'), ',', gone('2'), '}'])],
      ['capture', 1, 0, (f) => f.add(message({ capture: 'metadata' }), {}, [gone('1')])],
      ['capture of requests, of a reply', 1, 0, (f) => f.add(message({ capture: 'request', type: 'result' }), {}, [gone('1')])],
      ['capture of requests, of a request', 0, 1, (f) => f.add(message({ capture: 'request' }), {}, [gone('1')])],
      ['full capture', 0, 1, (f) => f.add(message({ capture: 'full' }), {}, [gone('1')])],
      ['no word', 0, 1, (f) => f.add(message({}), {}, [gone('1')])],
      ['a long frame', 1, 0, (f) => f.add(message({}), {}, [{ bytes: new Uint8Array(8 * 1024 * 1024 + 1), as: 'dropped' }])],
      [
        'an item and a stretch of a batch',
        2,
        0,
        (f) => f.add({ ...message({ redacted: { capture: 1, pin: 1 }, items: 0 }), kind: 'batch' }, {}, ['[', gone('1'), ',', gone('2'), ']']),
      ],
    ];
    for (const [name, neverStored, droppedSegments, add] of cases) {
      const fixture = judged(add);
      const result = await pinned(fixture.files(), fixture);
      expect(result, name).toMatchObject({ exit: droppedSegments > 0 ? 1 : 0, neverStored, droppedSegments });
      expect(codes(result).includes('never-stored'), name).toBe(neverStored > 0);
      expect(codes(result).includes('dropped'), name).toBe(droppedSegments > 0);
    }
    const { findings } = await pinned(judged(cases[0]![3]).files(), judged(cases[0]![3]));
    expect(findings.find(({ code }) => code === 'never-stored')).toMatchObject({
      severity: 'note',
      message: '2 stretches were never stored (redaction or capture rules); their hashes still hold',
    });
  });
  it('holds with stale partial tiles, and with a segment that was never stored, which it tells', async () => {
    const fixture = sampleLedger({ pairs: 140, dropped: true });
    const files: Files = fixture.files();
    for (const size of [17, 100, 250]) for (const [path, bytes] of fixture.files(size)) if (path.startsWith('log/tile')) files.set(path, bytes);
    const result = await pinned(files, fixture);
    expect(result).toMatchObject({ exit: 0, neverStored: 1, droppedSegments: 0 });
    expect(codes(result)).toEqual(['never-stored']);
    // Every stale file is read too.
    for (const path of files.keys()) {
      if (!path.includes('.p/')) continue;
      expect(
        (
          await pinned(
            altered(files, path, (bytes) => void (bytes[5]! ^= 1)),
            fixture,
          )
        ).exit,
        path,
      ).toBe(1);
    }
  });
  it('counts later records, and compares full tiles that are ahead of the checkpoint', async () => {
    const files: Files = large.files(200);
    const result = await pinned(files, large);
    expect(result).toMatchObject({ exit: 0, size: 200, laterRecords: large.leaves.length - 200 });
    expect(result.notChecked.join()).toContain('not yet signed');
    for (const [path, bytes] of large.files()) if (path.endsWith('/000') || path.endsWith('/001')) files.set(path, bytes);
    expect(await pinned(files, large)).toMatchObject({ exit: 0, findings: [] });
    for (const path of ['log/tile/0/001', 'log/tile/entries/001', 'log/tile/0/000']) {
      expect(
        (
          await pinned(
            altered(files, path, (bytes) => void (bytes[7000]! ^= 1)),
            large,
          )
        ).exit,
        path,
      ).toBe(1);
    }
  });
});

describe('nothing verifies green', () => {
  it.each<[string, Files]>([
    ['an empty folder', new Map()],
    ['a foreign checkpoint', new Map([['log/checkpoint', Buffer.from('hello\n')]])],
    ['only a checkpoint', new Map([['log/checkpoint', Buffer.from(small.checkpoint())]])],
    ['a checkpoint over nothing', new Fixture().files(0)],
    ['no checkpoint yet', without(small.files(), 'log/checkpoint')],
    ['no payload at all', without(small.files(), payload0)],
  ])('%s', async (_name, files) => {
    expect((await verify(files)).exit).toBe(3);
  });
  it('a checkpoint that claims an absurd size does not make it count that far', async () => {
    const key = fixtureKey(fixtureOrigin);
    const note = key.sign(`${fixtureOrigin}\n9007199254740991\n${Buffer.alloc(32).toString('base64')}\n`);
    expect((await verify(new Map([['log/checkpoint', Buffer.from(note)]]), { vkeys: [vkeyOf(small)] })).exit).toBe(3);
  });
  it('a source that fails', async () => {
    const failing = { ...memorySource(small.files()), checkpoint: () => Promise.reject(new Error('EACCES')) };
    const result = await verify(small.files(), { source: failing });
    expect(result.exit).toBe(3);
    expect(codes(result)).toContain('unreadable');
  });
});

describe('alteration', () => {
  it('of any byte of any file is found', async () => {
    const files: Files = tiny.files();
    for (const [path, bytes] of files) {
      for (let at = 0; at < bytes.length; at++) {
        const result = await pinned(
          altered(files, path, (copy) => void (copy[at]! ^= 1 << (at % 8))),
          tiny,
        );
        if (result.exit === 0) throw new Error(`${path}: byte ${at} was altered and nobody noticed`);
        expect(result.findings.length).toBeGreaterThan(0);
      }
    }
  }, 60_000);
  it('of a random byte of a large ledger is found, and named', async () => {
    const files: Files = large.files();
    const paths = [...files.keys()];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), fc.nat(), fc.integer({ min: 1, max: 255 }), async (path, position, mask) => {
        const result = await pinned(
          altered(files, path, (copy) => void (copy[position % copy.length]! ^= mask)),
          large,
        );
        expect(result.exit).not.toBe(0);
        expect(result.holdsThrough).toBeLessThanOrEqual(large.leaves.length);
      }),
      { numRuns: Number(process.env['SWORN_FLIPS'] ?? 50) },
    );
  }, 60_000);
  it('of an entry in its bundle names the entry, and proves those before it', async () => {
    const leafAt = 2 * 31 + large.leaves.slice(0, 30).reduce((sum, leaf) => sum + leaf.length, 0) + 40;
    const result = await pinned(
      altered(large.files(), 'log/tile/entries/000', (bytes) => void (bytes[leafAt]! ^= 1)),
      large,
    );
    expect(result).toMatchObject({ exit: 1, firstBad: 30, holdsThrough: 30, rootHolds: true });
  });
  it('of content, with a new checksum, is found by its commitment', async () => {
    for (let k = 0; k < recordsOf(small.files().get(payload0)!).length; k++) {
      const files = altered(small.files(), payload0, (bytes) =>
        rebuilt(bytes, (records) => {
          const record = records[k]!;
          record[record.length - 1]! ^= 1;
          withCrc(record);
          return records;
        }),
      );
      const result = await pinned(files, small);
      const record = recordsOf(small.files().get(payload0)!)[k]!;
      // A record without content ends in its counts.
      expect(result.exit, `record ${k} of type ${record[8]}`).toBe(1);
    }
  });
  it('of everything, signed again with the same key, is a fork from what was known', async () => {
    const rewritten = sampleLedger({ pairs: 5 });
    const result = await pinned(rewritten.files(), small, { known: known(small, small.leaves.length) });
    expect(result.exit).toBe(5);
    expect(codes(result)).toContain('fork');
  });
  it('of everything, signed with another key, is a changed key', async () => {
    const rewritten = sampleLedger({ pairs: 4, key: fixtureKey(fixtureOrigin, 'another') });
    const result = await pinned(rewritten.files(), small);
    expect(result.exit).toBe(1);
    expect(codes(result)).toContain('key-changed');
    expect(await verify(rewritten.files())).toMatchObject({ exit: 0, pinned: false });
  });
  it('by swapping two records, or two entries of a bundle, is found', async () => {
    const swapped = altered(small.files(), payload0, (bytes) =>
      rebuilt(bytes, (records) => [...records.slice(0, 4), records[5]!, records[4]!, ...records.slice(6)]),
    );
    expect((await pinned(swapped, small)).exit).toBe(1);
    const leaves = [...small.leaves];
    [leaves[4], leaves[5]] = [leaves[5]!, leaves[4]!];
    const path = [...small.files().keys()].find((name) => name.includes('entries'))!;
    const bundle = Buffer.concat(leaves.flatMap((leaf) => [Buffer.from([leaf.length >> 8, leaf.length & 255]), leaf]));
    const result = await pinned(new Map([...small.files(), [path, bundle]]), small);
    expect(result).toMatchObject({ exit: 1, firstBad: 4 });
  });
  it('by taking a record out, or putting one in twice, is found', async () => {
    const removed = altered(small.files(), payload0, (bytes) => rebuilt(bytes, (records) => records.toSpliced(6, 1)));
    expect(await pinned(removed, small)).toMatchObject({ exit: 1, firstBad: 6 });
    const doubled = altered(small.files(), payload0, (bytes) => rebuilt(bytes, (records) => records.toSpliced(6, 0, records[6]!)));
    expect((await pinned(doubled, small)).exit).toBe(1);
  });
});

describe('absence and truncation', () => {
  it('of any tile, bundle or segment cannot be concluded from', async () => {
    const files: Files = large.files();
    for (const path of files.keys()) {
      const result = await pinned(without(files, path), large);
      expect(result.exit, path).toBe(3);
    }
  });
  it('of bundles is named, and the payload stands in for the tree', async () => {
    const result = await pinned(without(large.files(), 'log/tile/entries/001'), large);
    expect(result).toMatchObject({ exit: 3, firstBad: 256, rootHolds: true });
    expect(codes(result)).toEqual(['bundle-missing']);
  });
  it('of the payload at any byte never verifies green while the entries are signed', async () => {
    const bytes = small.files().get(payload0)!;
    for (let length = 0; length < bytes.length; length += 13) {
      const result = await pinned(
        altered(small.files(), payload0, (copy) => copy.slice(0, length)),
        small,
      );
      expect(result.exit, `at ${length}`).toBe(3);
    }
  });
  it('of an unsigned tail is a crash, and told as one', async () => {
    const files: Files = small.files(8);
    const bytes = files.get(payload0)!;
    const starts = recordsOf(bytes).reduce((list, record) => [...list, list.at(-1)! + record.length], [40]);
    const signedEnd = starts[8]!;
    for (let length = signedEnd; length <= bytes.length; length += 3) {
      const result = await pinned(
        altered(files, payload0, (copy) => copy.slice(0, length)),
        small,
      );
      expect(result.exit, `at ${length}`).toBe(0);
      expect(codes(result).includes('torn-tail'), `at ${length}`).toBe(!starts.includes(length));
    }
    const flipped = altered(files, payload0, (copy) => void (copy[starts[9]! + 30]! ^= 1));
    expect(await pinned(flipped, small), 'a damaged record with whole ones behind it').toMatchObject({ exit: 1 });
  });
  it('of an unsigned record that holds another record in its content is still a crash', async () => {
    const fixture = sampleLedger({ pairs: 1 });
    const inner = Buffer.alloc(21 + 6);
    inner.writeUInt32BE(19, 0);
    inner[8] = 1;
    inner.writeBigUInt64BE(BigInt(fixture.leaves.length + 1), 9);
    withCrc(inner);
    const { connection } = { connection: 'e2'.repeat(16) };
    fixture.add(
      {
        kind: 'message',
        connection,
        stream: 0,
        seq: 1,
        tapSeq: 1,
        direction: 'c2s',
        transport: 'stdio',
        server: 's',
        verdict: 'pass',
        origin: 'client',
        type: 'opaque',
      },
      {},
      [{ bytes: Buffer.concat([Buffer.alloc(50, 32), inner, Buffer.alloc(50, 32)]) }],
    );
    const files: Files = fixture.files(fixture.leaves.length - 1);
    for (const cut of [1, 20, 49]) {
      const result = await pinned(
        altered(files, payload0, (bytes) => bytes.slice(0, -cut)),
        fixture,
      );
      expect(result.exit, JSON.stringify(result.findings)).toBe(0);
      expect(codes(result)).toEqual(['torn-tail']);
    }
  });
  it('that an altered length pretends is not taken for a crash', async () => {
    const files: Files = small.files(8);
    const bytes = files.get(payload0)!;
    const starts = recordsOf(bytes).reduce((list, record) => [...list, list.at(-1)! + record.length], [40]);
    const longer = altered(files, payload0, (copy) => void copy.fill(1, starts[9]! + 1, starts[9]! + 2));
    expect(await pinned(longer, small)).toMatchObject({ exit: 1 });
  });
  it('back to an older copy is a rollback against what was known', async () => {
    const result = await pinned(small.files(10), small, { known: known(small, small.leaves.length) });
    expect(result.exit).toBe(5);
    expect(codes(result)).toContain('rollback');
  });
});

describe('rules between entries', () => {
  const connection = 'd1'.repeat(16);
  const open = {
    kind: 'open',
    connection,
    transport: 'stdio',
    server: 's',
    mode: 'commit',
    onUnrecordable: 'block',
    custody: 'separate-user',
    tap: { source: 'kernel' },
  };
  const message = {
    connection,
    stream: 0,
    transport: 'stdio',
    server: 's',
    verdict: 'pass',
    origin: 'client',
    kind: 'message',
    type: 'notification',
    direction: 'c2s',
  };
  const asked = { ...message, type: 'request', verdict: 'ask', rule: 'pay', id: '1', seq: 1, tapSeq: 1 };
  const ended = { kind: 'close', connection, reason: 'client closed' };
  /** The request, and what is written of it. */
  const waits = (f: Fixture): void => {
    f.add(open);
    f.add({ ...asked, exchange: f.leaves.length }, {}, ['x']);
  };
  const requestIn = (f: Fixture): { index: number; commitment: string } => {
    const index = f.leaves.findIndex((leaf) => leaf.includes('"verdict":"ask"'));
    return { index, commitment: index < 0 ? `${'A'.repeat(43)}=` : (JSON.parse(f.leaves[index]!.toString()) as { commitment: string }).commitment };
  };
  const approvalOf = (f: Fixture) => {
    const { index, commitment } = requestIn(f);
    return { kind: 'approval', connection, request: index, rule: 'pay', decision: 'approved', commitment, waitedMs: 1, how: 'command' };
  };
  const replyTo = (f: Fixture) => ({
    ...message,
    type: 'result',
    direction: 's2c',
    origin: 'server',
    exchange: requestIn(f).index,
    seq: 2,
    tapSeq: 1,
  });
  const run = async (later: (fixture: Fixture) => void) => {
    const fixture = sampleLedger({ pairs: 1, later });
    return pinned(fixture.files(), fixture);
  };
  const cases: [string, number, string | undefined, (fixture: Fixture) => void][] = [
    ['a message without open', 1, 'no-open', (f) => f.add({ ...message, seq: 1, tapSeq: 1 }, {}, ['x'])],
    ['a message after close', 1, 'after-close', (f) => f.add({ ...message, connection: fixtureConnection, seq: 99, tapSeq: 99 }, {}, ['x'])],
    ['a connection still open', 0, 'no-close', (f) => f.add(open)],
    ['opened twice', 1, 'sequence', (f) => (f.add(open), f.add(open))],
    [
      'seq with a hole',
      1,
      'sequence',
      (f) => (f.add(open), f.add({ ...message, seq: 1, tapSeq: 1 }, {}, ['x']), f.add({ ...message, seq: 3, tapSeq: 2 }, {}, ['x'])),
    ],
    ['units with a hole', 3, 'units-missing', (f) => (f.add(open), f.add({ ...message, seq: 1, tapSeq: 2 }, {}, ['x']))],
    [
      'units with a hole, in observe',
      0,
      'units-missing',
      (f) => (f.add({ ...open, mode: 'observe' }), f.add({ ...message, seq: 1, tapSeq: 2 }, {}, ['x'])),
    ],
    [
      'units with a hole, and a gap',
      0,
      'gap',
      (f) => (
        f.add(open),
        f.add({ kind: 'gap', connection, reason: 'disk full', lost: { c2s: 1, s2c: 0 } }),
        f.add({ ...message, seq: 1, tapSeq: 2 }, {}, ['x'])
      ),
    ],
    [
      'a unit twice',
      1,
      'units-repeated',
      (f) => (f.add(open), f.add({ ...message, seq: 1, tapSeq: 1 }, {}, ['x']), f.add({ ...message, seq: 2, tapSeq: 1 }, {}, ['x'])),
    ],
    [
      'units lost before close',
      3,
      'units-missing',
      (f) => (f.add(open), f.add({ kind: 'close', connection, reason: 'tap lost', frames: { c2s: 1, s2c: 0 } })),
    ],
    ['a reply to nothing', 0, 'reply-to-nothing', (f) => (f.add(open), f.add({ ...message, type: 'result', seq: 1, tapSeq: 1 }, {}, ['x']))],
    [
      'a reply to a non-request',
      1,
      'reference',
      (f) => (f.add(open), f.add({ ...message, type: 'result', exchange: 0, seq: 1, tapSeq: 1 }, {}, ['x'])),
    ],
    [
      'a reply to another connection',
      1,
      'reference',
      (f) => (f.add(open), f.add({ ...message, direction: 's2c', type: 'result', exchange: 3, seq: 1, tapSeq: 1 }, {}, ['x'])),
    ],
    ['who is nobody', 1, 'reference', (f) => (f.add(open), f.add({ ...message, who: 0, seq: 1, tapSeq: 1 }, {}, ['x']))],
    [
      'seq from the open on',
      0,
      undefined,
      (f) => (f.add(open), f.add({ ...message, seq: 2, tapSeq: 1 }, {}, ['x']), f.add({ kind: 'close', connection, reason: 'server exited' })),
    ],
    [
      'units that capture rules left out',
      0,
      undefined,
      (f) => (
        f.add(open),
        f.add({ ...message, seq: 1, tapSeq: 3, uncaptured: [2, 0] }, {}, ['x']),
        f.add({ ...message, seq: 2, tapSeq: 5, uncaptured: [3, 4] }, {}, ['x']),
        f.add({ kind: 'close', connection, reason: 'client closed', frames: { c2s: 6, s2c: 5 }, uncaptured: [4, 5] })
      ),
    ],
    [
      'more units missing than were left out',
      3,
      'units-missing',
      (f) => (f.add(open), f.add({ ...message, seq: 1, tapSeq: 4, uncaptured: [2, 0] }, {}, ['x'])),
    ],
    [
      'more units missing than were left out, of the other direction',
      3,
      'units-missing',
      (f) => (f.add(open), f.add({ ...message, seq: 1, tapSeq: 2, uncaptured: [0, 1] }, {}, ['x'])),
    ],
    [
      'what was left out before, which explains no later hole',
      3,
      'units-missing',
      (f) => (
        f.add(open),
        f.add({ ...message, seq: 1, tapSeq: 3, uncaptured: [2, 0] }, {}, ['x']),
        f.add({ ...message, seq: 2, tapSeq: 6, uncaptured: [2, 0] }, {}, ['x'])
      ),
    ],
    [
      'units left out at the end, which the close does not count',
      3,
      'units-missing',
      (f) => (
        f.add(open),
        f.add({ ...message, seq: 1, tapSeq: 3, uncaptured: [2, 0] }, {}, ['x']),
        f.add({ kind: 'close', connection, reason: 'client closed', frames: { c2s: 4, s2c: 0 } })
      ),
    ],
    [
      'more units left out than are missing',
      1,
      'sequence',
      (f) => (f.add(open), f.add({ ...message, seq: 1, tapSeq: 2, uncaptured: [2, 0] }, {}, ['x'])),
    ],
    [
      'fewer units left out than before',
      1,
      'sequence',
      (f) => (
        f.add(open),
        f.add({ ...message, seq: 1, tapSeq: 3, uncaptured: [2, 0] }, {}, ['x']),
        f.add({ ...message, seq: 2, tapSeq: 4, uncaptured: [1, 0] }, {}, ['x'])
      ),
    ],
    ['a request that waits', 0, 'approval', (f) => (f.add(open), f.add(asked, {}, ['x']))],
    ['a request that is approved, and answered', 0, undefined, (f) => (waits(f), f.add(approvalOf(f)), f.add(replyTo(f), {}, ['x']), f.add(ended))],
    ['a request that is denied', 0, undefined, (f) => (waits(f), f.add({ ...approvalOf(f), decision: 'denied' }), f.add(ended))],
    ['a reply before the approval', 1, 'approval', (f) => (waits(f), f.add(replyTo(f), {}, ['x']), f.add(approvalOf(f)))],
    ['a reply to what was denied', 1, 'approval', (f) => (waits(f), f.add({ ...approvalOf(f), decision: 'denied' }), f.add(replyTo(f), {}, ['x']))],
    ['an approval of nothing', 1, 'approval', (f) => (f.add(open), f.add({ ...approvalOf(f), request: 1 }))],
    ['a second approval', 1, 'approval', (f) => (waits(f), f.add(approvalOf(f)), f.add(approvalOf(f)))],
    ['an approval of other content', 1, 'approval', (f) => (waits(f), f.add({ ...approvalOf(f), commitment: `${'A'.repeat(43)}=` }))],
    ['an approval of another rule', 1, 'approval', (f) => (waits(f), f.add({ ...approvalOf(f), rule: 'other' }))],
    ['an end without an approval', 1, 'approval', (f) => (waits(f), f.add(ended))],
    ['a policy', 0, undefined, (f) => f.add({ kind: 'policy', act: 'load', digest: 'ab'.repeat(32), rules: 3 }, { text: 'x' })],
    ['a policy without act', 1, 'entry', (f) => f.add({ kind: 'policy' })],
    ['a recovery', 0, 'recovery', (f) => f.add({ kind: 'recovery', reason: 'torn-record', cutBytes: 12 })],
    [
      'another ledger',
      1,
      'start',
      (f) => f.add({ kind: 'start', ledger: 'ff'.repeat(16), origin: fixtureOrigin, vkey: f.key.vkey, recorder: { version: '1', uid: 0, pid: 1 } }),
    ],
    [
      'another key',
      1,
      'start',
      (f) => f.add({ kind: 'start', ledger: fixtureLedgerId, origin: fixtureOrigin, vkey: 'x', recorder: { version: '1', uid: 0, pid: 1 } }),
    ],
    ['an unknown kind', 3, 'entry-unsupported', (f) => f.add({ kind: 'novelty' })],
    ['a missing field', 1, 'entry', (f) => f.add({ kind: 'gap', reason: 'x' })],
  ];
  it('what we say ourselves is no unit of a tap, no second reply, and no reply to nothing', async () => {
    const ours = { ...message, direction: 's2c', type: 'error', origin: 'sworn', tapSeq: 0, code: 4030, outcome: 'error' };
    const result = await run((f) => {
      f.add(open);
      const exchange = f.leaves.length;
      const request = { ...message, type: 'request', id: '1', method: 'tools/call', exchange };
      f.add({ ...request, seq: 1, tapSeq: 1, verdict: 'block', rule: 'r' }, {}, ['x']);
      f.add({ ...ours, seq: 2, exchange, rule: 'r' }, {}, ['x']);
      f.add({ ...message, type: 'opaque', seq: 3, tapSeq: 2, verdict: 'block', rule: 'sworn:ambiguous' }, {}, ['x']);
      f.add({ ...ours, seq: 4, rule: 'sworn:ambiguous' }, {}, ['x']);
      const asked = f.leaves.length;
      f.add({ ...request, exchange: asked, id: '2', seq: 5, tapSeq: 3 }, {}, ['x']);
      f.add({ ...ours, origin: 'server', type: 'result', outcome: 'ok', verdict: 'block', exchange: asked, seq: 6, tapSeq: 1 }, {}, ['x']);
      f.add({ ...ours, exchange: asked, seq: 7, tapSeq: 0 }, {}, ['x']);
      // the request of this one was left out
      f.add({ ...message, direction: 's2c', type: 'result', origin: 'server', seq: 8, tapSeq: 2, uncaptured: [1, 0] }, {}, ['x']);
      f.add({ kind: 'close', connection, reason: 'client closed', frames: { c2s: 4, s2c: 2 }, uncaptured: [1, 0] });
    });
    expect(result).toMatchObject({ exit: 0, repliesToNothing: 0, missingUnits: 0 });
    expect(result.findings).toEqual([]);
  });
  it.each(cases)('%s', async (_name, exit, code, later) => {
    const result = await run(later);
    expect(result.exit, JSON.stringify(result.findings)).toBe(exit);
    if (code) expect(codes(result)).toContain(code);
  });
});
