import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { fixtureConnection, fixtureKey, fixtureOrigin, sampleLedger, writeFixture } from '../../test/ledger-fixture.ts';
import { cryptos } from '../../test/noble-crypto.ts';
import { base64, utf8 } from '../bytes/bytes.ts';
import { bundleCommand } from '../cli/bundle.ts';
import { reportCommand } from '../cli/report.ts';
import { verifyAny } from '../cli/verify-any.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { reportBlockEntries } from '../limits.ts';
import { openReportFile } from '../report/file.ts';
import { parseCheckpoint } from '../tlog/checkpoint.ts';
import { parseNote, parseVkey } from '../tlog/note.ts';
import type { ReportHead } from './report-data.ts';
import type { ReportEntry } from './report-entry.ts';
import { verifyReport, type ReportOptions, type ReportVerification } from './report.ts';

const folder = mkdtempSync(join(tmpdir(), 'sworn-report-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const page = '<!doctype html><title>report</title>\n<!--sworn-data-->\n<p>a page';

const frame = { connection: fixtureConnection, stream: 0, direction: 'c2s', transport: 'stdio', server: 'fs', verdict: 'pass', origin: 'client' };
const message = (tapSeq: number) => ({ kind: 'message', ...frame, seq: tapSeq, tapSeq, type: 'opaque', anomalies: ['not-json'] });
const sample = sampleLedger({
  pairs: 700,
  dropped: true,
  erased: true,
  later: (fixture) => {
    for (let i = 0; i < 20; i++)
      fixture.add(message(9000 + i), {}, i % 3 === 0 ? ['secret ', { bytes: utf8(`part ${i}`), as: 'part' }] : [`secret ${i}`]);
  },
});
const size = sample.leaves.length;
const vkey = parseVkey(nodeCrypto, sample.key.vkey)!;
const output = { out: () => undefined, err: () => undefined, isTTY: false, color: false, columns: 80 };

async function report(name: string, options: Record<string, unknown> = {}): Promise<string> {
  expect(await reportCommand({ ledger: at('ledger'), output: at(name), page, ...options }, output)).toBe(0);
  return at(name);
}

/** A report's data in memory: what a forger works on. */
interface Data {
  head: ReportHead;
  chunks: Map<string, string>;
}

async function dataOf(path: string): Promise<Data> {
  const file = openReportFile(path)!;
  const chunks = new Map<string, string>();
  for (const name of file.names()) chunks.set(name, (await file.chunk(name))!);
  const head = JSON.parse(
    Buffer.from((await file.head())!, 'base64')
      .subarray(32)
      .toString(),
  ) as ReportHead;
  file.close();
  return { head, chunks };
}

const headText = (head: ReportHead): string => {
  const json = utf8(JSON.stringify(head));
  return base64(Buffer.concat([nodeCrypto.sha256(json), json]));
};

/** The data with a change, and a head that lists it as it is: what a forger would hand on. */
function forged(data: Data, change: (copy: Data, edit: (name: string, change: (bytes: Buffer) => Buffer) => void) => void): Data {
  const copy: Data = { head: structuredClone(data.head), chunks: new Map(data.chunks) };
  change(copy, (name, edit) => {
    const isZipped = !name.startsWith('hashes');
    const before = Buffer.from(copy.chunks.get(name)!, 'base64');
    const bytes = edit(isZipped ? gunzipSync(before) : before);
    const zipped = isZipped ? gzipSync(bytes) : bytes;
    copy.chunks.set(name, zipped.toString('base64'));
    copy.head.chunks[name] = { sizeBytes: bytes.length, sha256: base64(nodeCrypto.sha256(zipped)) };
  });
  return copy;
}

function verify({ head, chunks }: Data, options: Partial<ReportOptions> = {}, text = headText(head)): Promise<ReportVerification> {
  const source = { head: async () => text, chunk: async (name: string) => chunks.get(name), names: () => [...chunks.keys()] };
  return verifyReport({ crypto: nodeCrypto, source, vkeys: [vkey], wanted: { nowS: 0 }, ...options });
}

/** Another character at a place of a base64 text. */
const flipped = (text: string, place: number): string => text.slice(0, place) + (text[place] === 'A' ? 'B' : 'A') + text.slice(place + 1);
const bad = ({ findings }: ReportVerification) => findings.filter(({ severity }) => severity !== 'note' && severity !== 'warning');

let whole: Data;
beforeAll(async () => {
  writeFixture(sample.files(), at('ledger'));
  whole = await dataOf(await report('whole.html'));
});

describe.each(cryptos)('a report under %s', (_name, crypto) => {
  it('holds, with every entry and its content', async () => {
    const seen: ReportEntry[] = [];
    const result = await verify(whole, { crypto, onEntry: (one) => seen.push({ ...one, leaf: Uint8Array.from(one.leaf) }) });
    expect(bad(result)).toEqual([]);
    expect(result).toMatchObject({
      exit: 0,
      size,
      inRange: size,
      shown: size,
      context: 0,
      isKeyKnown: true,
      custody: 'same-user',
      vkey: sample.key.vkey,
    });
    expect(result.steps.map(({ name, result: r }) => `${name} ${r}`)).toEqual([
      'data ok',
      'signature ok',
      'tree ok',
      'entries ok',
      'content ok',
      'keys ok',
      'witnesses unknown',
    ]);
    expect(seen.map(({ index }) => index)).toEqual(sample.leaves.map((_, index) => index));
    expect(seen.every(({ isVerified, leaf, index }) => isVerified && Buffer.compare(leaf, sample.leaves[index]!) === 0)).toBe(true);
    expect(seen[0]!.attributes).toEqual({ host: 'box' });
    const request = seen.find(({ entry }) => entry.kind === 'message' && entry.target === 'read')!;
    expect(Buffer.from(request.frame!.bytes).toString()).toContain('/etc/motd');
    const gaps = seen.flatMap((one) => one.frame?.gaps.map(({ reason }) => reason) ?? []);
    expect(gaps).toEqual(['redacted', 'erased', 'erased', 'erased']);
    const item = seen.find(({ entry }) => entry.kind === 'message' && entry.item === 1)!;
    expect(Buffer.from(item.frame!.bytes).toString()).toBe('{"jsonrpc":"2.0","method":"b"}');
  });

  it('names the entry, the content, the hash, the checkpoint or the key that was changed', async () => {
    const cases: [string, Data, string, number | undefined][] = [];
    const target = sample.leaves[1200]!;
    const second = whole.head.blocks[1]!.first;
    expect(second).toBeLessThan(1200);
    const edit = (change: Parameters<typeof forged>[1]): Data => forged(whole, change);
    cases.push([
      'entry',
      edit((_, change) =>
        change('entries-1', (bytes) => {
          bytes[bytes.indexOf(target) + target.indexOf('"seq"') + 7]! ^= 1;
          return bytes;
        }),
      ),
      'leaf',
      1200,
    ]);
    cases.push([
      'payload',
      edit((_, change) =>
        change('content-1', (bytes) => {
          bytes[bytes.indexOf('hello 600') + 6]! ^= 1;
          return bytes;
        }),
      ),
      'content',
      1204,
    ]);
    cases.push([
      'proof',
      edit((_, change) =>
        change('hashes-0', (bytes) => {
          bytes[32 * 77 + 5]! ^= 1;
          return bytes;
        }),
      ),
      'proof',
      77,
    ]);
    const [origin, count, root, ...rest] = whole.head.checkpoint.split('\n') as [string, string, string, ...string[]];
    const changedNote = [origin, count, flipped(root, 7), ...rest].join('\n');
    cases.push(['root', edit((copy) => (copy.head.checkpoint = changedNote)), 'signature', undefined]);
    cases.push([
      'signature',
      edit((copy) => (copy.head.checkpoint = flipped(copy.head.checkpoint, copy.head.checkpoint.length - 20))),
      'signature',
      undefined,
    ]);
    cases.push(['key', edit((copy) => (copy.head.vkey = flipped(copy.head.vkey!, copy.head.vkey!.length - 9))), 'key', undefined]);
    const other = fixtureKey(fixtureOrigin, 'another key').vkey;
    cases.push(['another key', edit((copy) => (copy.head.vkey = other)), 'signature', undefined]);
    for (const [name, data, code, index] of cases) {
      for (const vkeys of [[vkey], []]) {
        const result = await verify(data, { crypto, vkeys, isOwnKeyTaken: true });
        expect(result.exit, name).toBe(1);
        expect(
          bad(result).map((one) => one.code),
          name,
        ).toContain(code);
        expect(result.firstBad, name).toBe(index);
      }
    }
  });

  it('opens single entries again', async () => {
    const { opener } = await verify(whole, { crypto });
    expect((await opener!.open(0))!.attributes).toEqual({ host: 'box' });
    const reply = (await opener!.open(1204))!;
    expect([reply.isVerified, Buffer.from(reply.frame!.bytes).toString()]).toEqual([true, expect.stringContaining('hello 600')]);
    const item = sample.leaves.findIndex((leaf) => leaf.includes('"item":1,'));
    expect(Buffer.from((await opener!.open(item))!.frame!.bytes).toString()).toBe('{"jsonrpc":"2.0","method":"b"}');
    expect(await opener!.open(size)).toBeUndefined();
    const { opener: other } = await verify(
      forged(whole, (_, change) => change('hashes-0', (bytes) => bytes.fill(0, 0, 32))),
      { crypto },
    );
    expect((await other!.open(1204))!.isVerified).toBe(false);
  });
});

interface Vector {
  name: string;
  head: string;
  chunks: Record<string, string>;
  exit: number;
  code?: string;
  index?: number;
  shown?: number;
}
const vectors = JSON.parse(readFileSync(new URL('../../spec/vectors/reports.json', import.meta.url), 'utf8')) as {
  vkey: string;
  accept: Vector[];
  reject: Vector[];
};

describe.each(cryptos)('the vectors under %s', (_name, crypto) => {
  it.each([...vectors.accept, ...vectors.reject])('$name', async ({ head, chunks, exit, code, index, shown }) => {
    const source = { head: async () => head, chunk: async (name: string) => chunks[name], names: () => Object.keys(chunks) };
    const result = await verifyReport({ crypto, source, vkeys: [parseVkey(crypto, vectors.vkey)!], wanted: { nowS: 0 } });
    expect(result.exit).toBe(exit);
    if (code === undefined) expect([bad(result), result.shown]).toEqual([[], shown]);
    else expect(bad(result).map((one) => one.code)).toContain(code);
    if (index !== undefined) expect(result.firstBad).toBe(index);
  });
});

describe('a report', () => {
  const block = (data: Data, k: number) => data.head.blocks[k]!;
  const codes = (result: ReportVerification) => bad(result).map(({ code }) => code);

  it('of which a byte of the file was changed is red, whatever byte it is, and says which record or chunk', async () => {
    let places = 0;
    for (const [name, text] of whole.chunks) {
      for (const place of [3, Math.floor(text.length / 3), Math.floor(text.length / 2), text.length - 12]) {
        const copy = { head: whole.head, chunks: new Map(whole.chunks).set(name, flipped(text, place)) };
        const result = await verify(copy);
        expect(result.exit, `${name} ${place}`).toBe(1);
        const k = Number(name.split('-')[1]);
        if (name.startsWith('hashes'))
          expect([bad(result)[0]!.code, result.firstBad], `${name} ${place}`).toEqual([
            'proof',
            1024 * k + Math.floor(((place >> 2) * 3 + (place & 3)) / 32),
          ]);
        else {
          const { first, last } = block(whole, k);
          expect(result.firstBad, `${name} ${place}`).toBeGreaterThanOrEqual(first);
          expect(result.firstBad, `${name} ${place}`).toBeLessThanOrEqual(last);
        }
        places++;
      }
      // what is not base64 at all
      expect((await verify({ head: whole.head, chunks: new Map(whole.chunks).set(name, `${text.slice(0, 80)}!${text.slice(81)}`) })).exit, name).toBe(
        1,
      );
    }
    expect(places).toBeGreaterThan(20);
    const text = headText(whole.head);
    for (let place = 0; place < text.length; place += 97) {
      const result = await verify(whole, {}, flipped(text, place));
      expect(result.exit, `head ${place}`).toBe(1);
      expect(bad(result)[0]!.message).toContain('head of the data');
    }
  });

  it('names the record also inside a chunk that cannot be unzipped to its end', async () => {
    const text = whole.chunks.get('entries-1')!;
    const result = await verify({ head: whole.head, chunks: new Map(whole.chunks).set('entries-1', flipped(text, Math.floor(text.length * 0.7))) });
    const { first, last } = block(whole, 1);
    expect(result.firstBad).toBeGreaterThan(first + (last - first) / 4);
    expect(result.shown).toBeGreaterThan(first);
  });

  it.each<[string, (copy: Data, edit: Parameters<Parameters<typeof forged>[1]>[1]) => void, number, string, number | undefined]>([
    ['a block that is gone', (copy) => copy.chunks.delete('entries-1'), 3, 'record-missing', 1000],
    ['content that is gone', (copy) => copy.chunks.delete('content-1'), 3, 'record-missing', undefined],
    ['hashes that are gone', (copy) => copy.chunks.delete('hashes-0'), 3, 'manifest', undefined],
    [
      'two blocks in each other’s place',
      ({ chunks, head }) => {
        const [zero, one] = [chunks.get('entries-0')!, chunks.get('entries-1')!];
        chunks.set('entries-0', one).set('entries-1', zero);
        [head.chunks['entries-0'], head.chunks['entries-1']] = [head.chunks['entries-1']!, head.chunks['entries-0']!];
      },
      1,
      'record',
      0,
    ],
    [
      'an entry that is taken out, with all counts made right',
      ({ head }, edit) => {
        head.blocks[1]!.entries--;
        edit('entries-1', (bytes) => {
          const lines = bytes.toString('latin1').split('\n');
          const [[from, to]] = JSON.parse(lines[0]!) as [[number, number]];
          lines[0] = JSON.stringify([
            [from, 1100, 0],
            [1101, to, 0],
          ]);
          lines.splice(1 + 1100 - from, 1);
          return Buffer.from(lines.join('\n'), 'latin1');
        });
        edit('content-1', (bytes) => recoded(bytes, (lists) => void lists.splice(100, 1)));
      },
      3,
      'record-missing',
      1100,
    ],
    [
      'two entries that change places',
      (_, edit) =>
        edit('entries-1', (bytes) => {
          const lines = bytes.toString('latin1').split('\n');
          [lines[11], lines[13]] = [lines[13]!, lines[11]!];
          return Buffer.from(lines.join('\n'), 'latin1');
        }),
      1,
      'leaf',
      1010,
    ],
    ['a size that is claimed', ({ head }) => void head.chunks['entries-1']!.sizeBytes--, 1, 'record', undefined],
    ['a size that is claimed of content', ({ head }) => void head.chunks['content-1']!.sizeBytes++, 1, 'content', undefined],
    ['a chunk that is in no list', ({ chunks }) => void chunks.set('entries-77', chunks.get('entries-0')!), 1, 'manifest', undefined],
    ['a range that begins later', ({ head }) => void head.first++, 1, 'leaf', 0],
    ['a range that ends beyond the checkpoint', ({ head }) => void (head.end += 10), 1, 'manifest', undefined],
    ['content that is called never stored', (_, edit) => edit('content-1', (bytes) => closedItem(bytes, 1)), 1, 'dropped', undefined],
    ['content that is called erased', (_, edit) => edit('content-1', (bytes) => closedItem(bytes, 2)), 3, 'erased-unstated', undefined],
    [
      'erased content that nothing erased, in a report that calls its content withheld',
      ({ head }, edit) => {
        head.isWithheld = true;
        edit('content-1', (bytes) => closedItem(bytes, 2));
      },
      1,
      'manifest',
      undefined,
    ],
    [
      'a chunk that is listed, and belongs to nothing',
      ({ head, chunks }) => {
        chunks.set('entries-77', chunks.get('entries-0')!);
        head.chunks['entries-77'] = head.chunks['entries-0']!;
      },
      1,
      'manifest',
      undefined,
    ],
    ['a context that has no end', ({ head }) => void head.context.push([size] as unknown as [number, number]), 1, 'manifest', undefined],
  ])('says of %s', async (_what, change, exit, code, index) => {
    const result = await verify(forged(whole, change));
    expect([result.exit, codes(result)]).toEqual([exit, expect.arrayContaining([code])]);
    if (index !== undefined) expect(result.firstBad).toBe(index);
  });

  it('of a filter has the hashes of what it does not show, and what the shown entries need', async () => {
    const some = await dataOf(await report('some.html', { method: 'tools/call', direction: 's2c' }));
    const kinds: string[] = [];
    const result = await verify(some, { onEntry: ({ entry, isContext }) => void (isContext && kinds.push(entry.kind)) });
    expect(bad(result)).toEqual([]);
    expect(result).toMatchObject({ exit: 0, shown: 700, inRange: 1400 - 1 });
    expect(some.head.filter).toBe('method:tools/call direction:s2c');
    expect(new Set(kinds)).toEqual(new Set(['start', 'open', 'principal', 'message', 'close']));
    expect(result.notChecked.join()).toContain('records of the range that are not shown');
    // a shown entry that is hidden is not told from one that the filter left out, and is not counted as shown
    const hidden = forged(some, ({ head }, edit) => {
      head.blocks[0]!.entries--;
      edit('entries-0', (bytes) => {
        const lines = bytes.toString('latin1').split('\n');
        lines[0] = JSON.stringify((JSON.parse(lines[0]!) as number[][]).filter(([from, to]) => !(from === 4 && to === 5)));
        lines.splice(5, 1);
        return Buffer.from(lines.join('\n'), 'latin1');
      });
      edit('content-0', (bytes) => recoded(bytes, (lists) => void lists.splice(4, 1)));
    });
    const after = await verify(hidden);
    expect([after.exit, after.shown]).toEqual([0, 699]);
    // what stands outside of the range does not make up for it
    const counted = forged(hidden, (_, edit) =>
      edit('entries-0', (bytes) => {
        const lines = bytes.toString('latin1').split('\n');
        const runs = JSON.parse(lines[0]!) as number[][];
        runs[0]![2] = 0;
        lines[0] = JSON.stringify(runs);
        return Buffer.from(lines.join('\n'), 'latin1');
      }),
    );
    const made = await verify(counted);
    expect([made.exit, made.shown, codes(made)]).toEqual([1, 699, expect.arrayContaining(['record'])]);
  });

  it('says no custody when how a connection began was left out', async () => {
    const some = await dataOf(await report('some-custody.html', { method: 'tools/call', direction: 's2c' }));
    expect(await verify(some)).toMatchObject({ exit: 0, custody: 'same-user' });
    const open = sample.leaves.findIndex((leaf) => leaf.includes('"kind":"open"'));
    const without = forged(some, ({ head }, edit) => {
      head.blocks[0]!.entries--;
      edit('entries-0', (bytes) => {
        const lines = bytes.toString('latin1').split('\n');
        const indexes = (JSON.parse(lines[0]!) as number[][]).flatMap(([from, to, mark]) =>
          Array.from({ length: to! - from! }, (_, i) => [from! + i, from! + i + 1, mark!]),
        );
        const place = indexes.findIndex(([from]) => from === open);
        lines[0] = JSON.stringify(indexes.toSpliced(place, 1));
        lines.splice(1 + place, 1);
        return Buffer.from(lines.join('\n'), 'latin1');
      });
      const place = lineOfEntry(some, open);
      edit('content-0', (bytes) => recoded(bytes, (lists) => void lists.splice(place, 1)));
    });
    const result = await verify(without);
    expect([result.exit, result.custody]).toEqual([0, undefined]);
    expect(result.notChecked.join()).toContain('the custody of 1 connection');
  });

  it('does not parse what becomes far longer by it, than there are entries or content', async () => {
    const lists = Buffer.from(`[${'[],'.repeat(200_000)}[]]`);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(lists.length);
    const bombs = forged(whole, (_, edit) => {
      edit('entries-0', () => Buffer.from(`[${'[0,1,0],'.repeat(200_000)}[0,1,0]]\n`));
      edit('content-1', () => Buffer.concat([length, lists]));
    });
    const parse = vi.spyOn(JSON, 'parse');
    const result = await verify(bombs);
    const longest = Math.max(...parse.mock.calls.map(([text]) => text.length));
    parse.mockRestore();
    expect([result.exit, longest < 100_000, codes(result)]).toEqual([1, true, expect.arrayContaining(['record', 'content'])]);
  });

  it('is read from its file as a browser reads it: what is no base64 in an element belongs to the page', async () => {
    const text = readFileSync(at('whole.html'), 'latin1');
    const first = '<script type="application/octet-stream" data-block="hashes-0">';
    const digest = (changed: string): string => {
      writeFileSync(at('other.html'), changed, 'latin1');
      const file = openReportFile(at('other.html'))!;
      file.close();
      return file.pageDigest;
    };
    const ours = digest(text);
    expect(digest(text.replace(/(data-block="hashes-0">)....(.)/, '$1AAAA$2'))).toBe(ours);
    for (const inserted of ['</script ><p>another page</p>', '</SCRIPT><script id="sworn-head">AAAA</SCRIPT>', '<!--<script>', '<'])
      expect(digest(text.replace(first, `${first}AAAA${inserted}`)), inserted).not.toBe(ours);
    const element = `${first}${whole.chunks.get('hashes-0')!}</script>`;
    // as many elements, one of them elsewhere
    expect(digest(`${element}${text.replace(element, '')}`)).not.toBe(ours);
  });

  it('ends where an item of a batch names itself as its batch', async () => {
    const own = sampleLedger({
      pairs: 2,
      later: (fixture) => void fixture.add({ ...message(9000), batch: fixture.leaves.length, item: 0, range: [0, 1], sizeBytes: 1 }),
    });
    writeFixture(own.files(), at('own-batch'));
    const data = await dataOf(await report('own-batch.html', { ledger: at('own-batch') }));
    const { opener } = await verify(data);
    const index = own.leaves.findIndex((leaf, i) => leaf.includes(`"batch":${i},`));
    const seen = (await opener!.open(index))!;
    expect([seen.index, seen.isVerified, seen.frame]).toEqual([index, true, undefined]);
  });

  it('has the frame of a batch that stands in one block for its items in the next', async () => {
    const text = '[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b"}]';
    const own = sampleLedger({
      pairs: 2,
      later: (fixture) => {
        // others in front of it and behind it: what the next block has goes over where it stood
        const fill = (to: number): void => {
          while (fixture.leaves.length < to) fixture.add(message(fixture.leaves.length), {}, ['x'.repeat(500)]);
        };
        fill(reportBlockEntries / 2);
        const of = { ...frame, seq: 9_000, tapSeq: 9_000 };
        const batch = fixture.add({ kind: 'batch', ...of, items: 2 }, {}, [text]);
        fill(reportBlockEntries);
        for (const [item, range] of [
          [1, 31],
          [32, 62],
        ].entries())
          fixture.add({ kind: 'message', ...of, seq: 9_001 + item, sizeBytes: 30, type: 'notification', method: 'ab'[item], batch, item, range });
        fill(2 * reportBlockEntries - 50);
      },
    });
    writeFixture(own.files(), at('batch-apart'));
    const data = await dataOf(await report('batch-apart.html', { ledger: at('batch-apart') }));
    const items: string[] = [];
    const result = await verify(data, {
      vkeys: [parseVkey(nodeCrypto, own.key.vkey)!],
      onEntry: ({ entry, index, frame: shown }) => {
        if (entry.kind === 'message' && entry.batch !== undefined && index >= reportBlockEntries) items.push(Buffer.from(shown!.bytes).toString());
      },
    });
    expect(bad(result)).toEqual([]);
    expect(items).toEqual(['{"jsonrpc":"2.0","method":"a"}', '{"jsonrpc":"2.0","method":"b"}']);
  });

  it('lets others have their turn behind each block', async () => {
    let turns = 0;
    let done = false;
    setTimeout(() => (done = true));
    await verify(whole, {
      pause: async () => {
        turns++;
        await new Promise((resolve) => setTimeout(resolve));
      },
    });
    expect([turns, done]).toEqual([whole.head.blocks.length, true]);
  });

  it('without content shows none, and says so', async () => {
    const data = await dataOf(await report('closed.html', { redact: true }));
    expect([...data.chunks.keys()].some((name) => name.startsWith('content'))).toBe(false);
    const gaps = new Set<string>();
    const result = await verify(data, { onEntry: ({ frame: of }) => of?.gaps.forEach(({ reason }) => gaps.add(reason)) });
    expect([result.exit, result.contentBytes, [...gaps]]).toEqual([0, 0, ['withheld']]);
    expect(result.notChecked.join()).toContain('withheld');
  });

  it('puts back what an erasure left of a message, as sworn bundle gives it too', async () => {
    const text = '{"secret":"hunter2","a":1}';
    const ledger = sampleLedger({
      pairs: 2,
      later: (fixture) => {
        const index = fixture.add(message(9000), {}, [{ bytes: utf8(text), as: 'erased' }]);
        const ranges = [
          [0, 11],
          [18, text.length],
        ];
        const rest = `${text.slice(0, 11)}${text.slice(18)}`;
        fixture.add(
          { kind: 'erasure', scope: 'index', fields: true, targets: [{ index, segments: [0] }], rest: [{ index, segment: 0, ranges }] },
          { reason: 'asked' },
          [rest],
        );
      },
    });
    writeFixture(ledger.files(), at('fields'));
    const data = await dataOf(await report('fields.html', { ledger: at('fields') }));
    const result = await verify(data);
    expect(bad(result)).toEqual([]);
    const index = ledger.leaves.findIndex((leaf) => leaf.includes('"kind":"erasure"')) - 1;
    const { frame: left } = (await result.opener!.open(index))!;
    expect(Buffer.from(left!.bytes).toString()).toBe('{"secret":"","a":1}');
    expect(left!.gaps).toEqual([{ reason: 'erased', offset: 11, sizeBytes: 7, at: 11 }]);
    expect(
      await bundleCommand(
        { ledger: at('fields'), output: at('fields.tar'), json: true },
        { ...output, out: (said) => expect(said).toContain('"lackingContent":0') },
      ),
    ).toBe(0);
    writeFileSync(at('trust'), `log ${ledger.key.vkey}\nquorum none\n`);
    expect(await verifyAny({ what: at('fields.tar'), json: true, policy: at('trust'), keysHome: at('nowhere') }, output)).toBe(0);
  });

  it('of a period has the prefix that a checkpoint known before is held against', async () => {
    const known = parseCheckpoint(parseNote(utf8(sample.checkpoint(1100)))!.text)!;
    expect((await verify(whole, { known })).checked.join()).toContain('continues the 1100 entries known before');
    const other = { size: 1100, root: known.root.map((byte, i) => (i === 0 ? byte ^ 1 : byte)) };
    expect((await verify(whole, { known: other })).exit).toBe(5);
  });
});

/** What a content chunk holds, item by item, to be put together again otherwise. */
interface Item {
  size: number | [number, number];
  secret: Buffer;
  bytes: Buffer;
}

/** Which of the entries of the first block is at an index. */
function lineOfEntry(data: Data, index: number): number {
  const bytes = gunzipSync(Buffer.from(data.chunks.get('entries-0')!, 'base64'));
  const runs = JSON.parse(bytes.toString('latin1').split('\n', 1)[0]!) as number[][];
  return runs.flatMap(([from, to]) => Array.from({ length: to! - from! }, (_, i) => from! + i)).indexOf(index);
}

function recoded(chunk: Buffer, change: (lists: Item[][]) => void): Buffer {
  const jsonBytes = chunk.readUInt32BE(0);
  const sizes = JSON.parse(chunk.toString('utf8', 4, 4 + jsonBytes)) as Item['size'][][];
  let secretAt = 4 + jsonBytes;
  let at = secretAt + sizes.flat().reduce<number>((sum, size) => sum + (typeof size === 'number' ? 16 : 32), 0);
  const lists = sizes.map((list) =>
    list.map((size): Item => {
      const kept = typeof size === 'number';
      const secret = chunk.subarray(secretAt, (secretAt += kept ? 16 : 32));
      return { size, secret, bytes: kept ? chunk.subarray(at, (at += size)) : Buffer.alloc(0) };
    }),
  );
  change(lists);
  const json = Buffer.from(JSON.stringify(lists.map((list) => list.map((item) => item.size))));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(json.length);
  return Buffer.concat([head, json, ...lists.flat().map((item) => item.secret), ...lists.flat().map((item) => item.bytes)]);
}

/** Content of which the first item is given as its hash alone, as a forger would who wants it gone. */
function closedItem(chunk: Buffer, state: number): Buffer {
  return recoded(chunk, (lists) => {
    const [item] = lists[0]!;
    Object.assign(item!, {
      size: [state, item!.bytes.length],
      secret: Buffer.from(nodeCrypto.sha256(Uint8Array.of(2), item!.secret, item!.bytes)),
      bytes: Buffer.alloc(0),
    });
  });
}
