import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixtureConnection, fixtureKey, fixtureOrigin, sampleLedger, writeFixture } from '../../test/ledger-fixture.ts';
import { cryptos } from '../../test/noble-crypto.ts';
import { base64, utf8 } from '../bytes/bytes.ts';
import { reportCommand } from '../cli/report.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { openReportFile } from '../report/file.ts';
import { parseVkey } from '../tlog/note.ts';
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
    const bytes = edit(Buffer.from(gunzipSync(Buffer.from(copy.chunks.get(name)!, 'base64'))));
    const zipped = gzipSync(bytes);
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
});
