/** A report in a real browser, from a file: green when it holds, and red, with the record's name, when a byte of it was changed. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reportCommand } from '../../src/cli/report.ts';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { chunkElement, headElement } from '../../src/report/page.ts';
import type { ReportHead } from '../../src/verify/report-data.ts';
import { startBrowser, type TestBrowser } from '../browser.ts';
import { fixtureWitness } from '../fixture-witness.ts';
import { fixtureKey, fixtureOrigin, sampleLedger, writeFixture } from '../ledger-fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'sworn-report-page-'));
const sample = sampleLedger({ pairs: 30 });
const browser: TestBrowser | string = await startBrowser();
if (typeof browser === 'string') console.warn(`not tried: ${browser}`);
let html = '';

beforeAll(async () => {
  writeFixture(sample.files(), join(folder, 'ledger'));
  const output = { out: () => undefined, err: () => undefined, isTTY: false, color: false, columns: 80 };
  await reportCommand({ ledger: join(folder, 'ledger'), output: join(folder, 'report.html') }, output);
  html = readFileSync(join(folder, 'report.html'), 'utf8');
});
afterAll(async () => {
  if (typeof browser !== 'string') await browser.close();
  rmSync(folder, { recursive: true, force: true });
});

const headOf = (): ReportHead =>
  JSON.parse(
    Buffer.from(/id="sworn-head">([^<]*)/.exec(html)![1]!, 'base64')
      .subarray(32)
      .toString(),
  ) as ReportHead;
const chunkOf = (name: string): string => new RegExp(`data-block="${name}">([^<]*)`).exec(html)![1]!;

/** The report with another head. */
function withHead(text: string, head: ReportHead): string {
  const json = Buffer.from(JSON.stringify(head));
  const bytes = Buffer.concat([nodeCrypto.sha256(json), json]);
  return text.replace(headElement(/id="sworn-head">([^<]*)/.exec(html)![1]!), headElement(bytes.toString('base64')));
}

/** The report with another chunk, which its head lists as it is: as a forger would who knows the format. */
function withChunk(name: string, change: (bytes: Buffer) => void): string {
  const before = Buffer.from(chunkOf(name), 'base64');
  const isZipped = !name.startsWith('hashes');
  const bytes = isZipped ? gunzipSync(before) : before;
  change(bytes);
  const stored = isZipped ? gzipSync(bytes) : bytes;
  const head = headOf();
  head.chunks[name] = { sizeBytes: bytes.length, sha256: Buffer.from(nodeCrypto.sha256(stored)).toString('base64') };
  return withHead(html.replace(chunkElement(name, chunkOf(name)), chunkElement(name, stored.toString('base64'))), head);
}

const flip = (text: string, place: number): string => text.slice(0, place) + (text[place] === 'A' ? 'B' : 'A') + text.slice(place + 1);
const request = sample.leaves.findIndex((leaf) => leaf.includes('"id":"7"'));

describe.skipIf(typeof browser === 'string')('a report in a browser', () => {
  /** What the evidence line says when it says something final, and its class. */
  async function judged(text: string): Promise<{ kind: string; says: string; where: string | null }> {
    const path = join(folder, 'opened.html');
    writeFileSync(path, text);
    const { page, requests, errors } = await (browser as TestBrowser).open();
    try {
      await page.goto(pathToFileURL(path).href);
      const line = page.locator('.evidence:not(.verifying)').first();
      await line.waitFor();
      const bad = line.locator('a.fact');
      const where = (await bad.count()) > 0 ? await bad.first().getAttribute('href') : null;
      const said = {
        kind: (await line.getAttribute('class'))!.replace('evidence ', ''),
        says: (await line.innerText()).replaceAll(/\s+/g, ' '),
        where,
      };
      expect({ requests, errors }).toEqual({ requests: [], errors: [] });
      return said;
    } finally {
      await page.context().close();
    }
  }

  it('says that it holds once it has checked it', async () => {
    const { kind, says, where } = await judged(html);
    expect([kind, where]).toEqual(['holds', null]);
    expect(says).toContain(`${sample.leaves.length} records, unbroken`);
    expect(says).toMatch(/key [0-9a-f]{4} [0-9a-f]{4}.*custody: same user.*no witness/);
  });

  it('says of some records nothing about the others', async () => {
    const output = { out: () => undefined, err: () => undefined, isTTY: false, color: false, columns: 80 };
    const path = join(folder, 'some.html');
    const { page } = await (browser as TestBrowser).open();
    for (const [options, says] of [
      [{}, 'Nothing in it was found to need a look.'],
      [{ method: 'tools/call' }, 'Nothing in what is shown of it was found to need a look.'],
    ] as const) {
      await reportCommand({ ledger: join(folder, 'ledger'), output: path, ...options }, output);
      await page.goto('about:blank');
      await page.goto(pathToFileURL(path).href);
      await page.getByText(says).waitFor();
    }
    await page.context().close();
  });

  it('does not say that nothing was answered where the answer was left out of the file', async () => {
    const output = { out: () => undefined, err: () => undefined, isTTY: false, color: false, columns: 80 };
    const path = join(folder, 'left-out.html');
    await reportCommand({ ledger: join(folder, 'ledger'), output: path, method: 'tools/call', redact: true }, output);
    const before = readFileSync(path, 'utf8');
    const element = (pattern: RegExp): Buffer => Buffer.from(pattern.exec(before)![1]!, 'base64');
    const head = JSON.parse(
      element(/id="sworn-head">([^<]*)/)
        .subarray(32)
        .toString(),
    ) as ReportHead;
    const lines = gunzipSync(element(/data-block="entries-0">([^<]*)/))
      .toString('latin1')
      .split('\n');
    const runs = (JSON.parse(lines[0]!) as number[][]).flatMap(([from, to, mark]) =>
      Array.from({ length: to! - from! }, (_, i) => [from! + i, from! + i + 1, mark!]),
    );
    const place = runs.findIndex(([from]) => from === request + 1);
    lines[0] = JSON.stringify(runs.toSpliced(place, 1));
    lines.splice(1 + place, 1);
    const zipped = gzipSync(Buffer.from(lines.join('\n'), 'latin1'));
    head.blocks[0]!.entries--;
    head.chunks['entries-0'] = {
      sizeBytes: Buffer.byteLength(lines.join('\n'), 'latin1'),
      sha256: Buffer.from(nodeCrypto.sha256(zipped)).toString('base64'),
    };
    const json = Buffer.from(JSON.stringify(head));
    const text = before
      .replace(/(data-block="entries-0">)[^<]*/, (_, start: string) => start + zipped.toString('base64'))
      .replace(/(id="sworn-head">)[^<]*/, (_, start: string) => start + Buffer.concat([nodeCrypto.sha256(json), json]).toString('base64'));
    writeFileSync(path, text);
    const { page } = await (browser as TestBrowser).open();
    const id =
      /[0-9a-f]{32}$/.exec(fixtureOrigin)?.[0] ??
      Buffer.from(nodeCrypto.sha256(Buffer.from(fixtureOrigin)))
        .toString('hex')
        .slice(0, 32);
    await page.goto(`${pathToFileURL(path).href}#/call/${id}/${request}`);
    await page.locator('.evidence.holds').waitFor();
    await page.getByText('No answer is among the records of this file.').waitFor();
    await page.context().close();
  });

  it('hands on no option as a command, whatever the file is called', async () => {
    const path = join(folder, '--policy=mine.html');
    writeFileSync(path, html);
    const { page } = await (browser as TestBrowser).open();
    await page.goto(`${pathToFileURL(path).href}#/verify`);
    await page.getByText('sworn verify ./--policy=mine.html').first().waitFor();
    await page.context().close();
  });

  it('says whose word a witness, a later record and a name are, that stand in the file alone', async () => {
    const witness = fixtureWitness('witness.example');
    const head = headOf();
    const said = await judged(
      withHead(html, {
        ...head,
        checkpoint: Buffer.from(witness.cosigned(Buffer.from(head.checkpoint), 1_790_000_000)).toString(),
        witnesses: [witness.vkey],
        later: 7,
        name: 'audited',
      }),
    );
    expect(said.kind).toBe('holds');
    expect(said.says).toContain('1 witness by keys in this file');
    expect(said.says).toContain('7 later records not yet signed, says who made this file');
    expect(said.says).not.toContain('audited');
  });

  it.each<[string, () => string, RegExp, number | null]>([
    ['an entry', () => withChunk('entries-0', (bytes) => void bytes.write('x', bytes.indexOf('"id":"7"') + 6)), /entry \d+ is not the one/, request],
    ['content', () => withChunk('content-0', (bytes) => void bytes.write('X', bytes.indexOf('hello 7'))), /content of entry \d+/, request + 1],
    ['a hash', () => withChunk('hashes-0', (bytes) => void (bytes[32 * 9 + 3]! ^= 1)), /hash of entry 9/, 9],
    [
      'the root in the checkpoint',
      () => {
        const head = headOf();
        const lines = head.checkpoint.split('\n');
        lines[2] = flip(lines[2]!, 5);
        return withHead(html, { ...head, checkpoint: lines.join('\n') });
      },
      /checkpoint or its signature was changed/,
      null,
    ],
    ['the key', () => withHead(html, { ...headOf(), vkey: flip(headOf().vkey!, headOf().vkey!.length - 9) }), /key in the report was changed/, null],
    [
      'the key, for that of somebody else',
      () => withHead(html, { ...headOf(), vkey: fixtureKey(fixtureOrigin, 'another').vkey }),
      /not signed by the key in the report/,
      null,
    ],
    ['a byte of the file', () => html.replace(chunkOf('entries-0'), flip(chunkOf('entries-0'), 1200)), /entry \d+|entries-0/, request],
    ['the head', () => html.replace(/id="sworn-head">([^<]*)/, (_, head: string) => `id="sworn-head">${flip(head, 200)}`), /head of the data/, null],
  ])('turns red when %s was changed, and names it', async (what, change, says, index) => {
    const said = await judged(change());
    expect(said.kind).toBe('tampered');
    expect(said.says).toMatch(says);
    if (what === 'a byte of the file') expect(said.where).toMatch(/\d+$/);
    else expect(said.where).toEqual(index === null ? null : (expect.stringMatching(new RegExp(`\\b${index}$`)) as string));
  });
});
