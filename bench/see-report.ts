/** What a report of many entries takes: to make it, for each entry beyond its content, and to open it in a browser. Rows of `npm run bench:see`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Browser } from 'playwright-core';
import { readEntries } from '../src/readers/entries.ts';
import { reportPage } from '../src/report/page.ts';
import { startBrowser } from '../test/browser.ts';
import type { Target } from './figures.ts';
import { fill } from './fill.ts';
import { memoryMB, privateMB, root, type World } from './world.ts';

/** Content as a report holds it, but without salts: in pieces of 4 MiB, gzip, base64. */
async function contentBytes(ledger: string, entries: number): Promise<number> {
  let zipped = 0;
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  const close = (): void => {
    zipped += Math.ceil(gzipSync(Buffer.concat(held)).length / 3) * 4;
    held = [];
    heldBytes = 0;
  };
  for await (const { content } of readEntries(ledger, { to: entries, content: true })) {
    for (const item of [...(content?.attributeItems ?? []), ...(content?.frame ?? [])]) {
      if (item.state !== 'kept') continue;
      held.push(Uint8Array.from(item.bytes));
      heldBytes += item.bytes.length;
    }
    if (heldBytes >= 4 << 20) close();
  }
  close();
  return zipped;
}

interface RendererMemory {
  /** Its own: what Chrome's task manager shows as the memory footprint of a tab. */
  privateMB: number;
  /** With the program of the browser, which all of its processes share. */
  residentMB: number;
}

/** Memory of the process that shows the page and runs its worker: of those of the browser the largest. */
async function rendererMemory(browser: Browser): Promise<RendererMemory | undefined> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  const all = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => ({ privateMB: privateMB(id), residentMB: memoryMB(id).now }));
  return all.toSorted((a, b) => b.residentMB - a.residentMB)[0];
}

/** Figures of one report of so many entries. */
export async function reportTargets(world: World, entries: number): Promise<Target[]> {
  process.stderr.write(`a report of ${entries.toLocaleString('en-US')} entries…\n`);
  const { ledger } = await fill(world, 'observe', entries);
  const path = join(world.folder, 'report.html');
  const from = performance.now();
  const maker = spawn(process.execPath, [join(root, 'bin', 'sworn.mjs'), 'report', '--ledger', ledger, '-o', path, '--json'], {
    env: world.environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  maker.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  let peakMB = 0;
  const watch = setInterval(() => {
    const { now } = memoryMB(maker.pid!);
    if (now > peakMB) peakMB = now;
  }, 50);
  const [status] = (await once(maker, 'close')) as [number];
  const madeMs = performance.now() - from;
  clearInterval(watch);
  if (status !== 0) throw new Error(`sworn report ended with ${status}`);
  const { shown } = JSON.parse(said) as { shown: number };
  const beyond = (statSync(path).size - Buffer.byteLength(reportPage()) - (await contentBytes(ledger, shown))) / shown;
  const targets: Target[] = [
    {
      name: `report of ${shown.toLocaleString('en-US')} entries, made`,
      figure: madeMs / 1_000,
      limit: 10,
      want: 'at most',
      unit: 's',
      note: `${Math.round(peakMB)} MB`,
    },
    { name: 'report, an entry beyond its compressed content', figure: beyond / 1_000, limit: 0.35, want: 'at most', unit: 'KB' },
  ];
  const browser = await startBrowser();
  if (typeof browser === 'string') {
    process.stderr.write(`not opened: ${browser}\n`);
    return targets;
  }
  let most = 0;
  let looking: NodeJS.Timeout | undefined;
  try {
    const { page } = await browser.open();
    looking = setInterval(() => {
      void rendererMemory(browser.browser).then(
        (one) => (most = Math.max(most, one?.privateMB || 0)),
        () => undefined,
      );
    }, 250);
    const opened = performance.now();
    await page.goto(pathToFileURL(path).href, { waitUntil: 'commit' });
    await page.locator('.evidence').first().waitFor();
    const firstMs = performance.now() - opened;
    // the first view of what happened, while the rest is still being checked
    await page.locator('main h1').first().waitFor({ timeout: 120_000 });
    const usableMs = performance.now() - opened;
    await page.locator('.evidence.holds').first().waitFor({ timeout: 120_000 });
    const verifiedMs = performance.now() - opened;
    const verified = (await rendererMemory(browser.browser))!;
    targets.push(
      { name: 'report opened, first line', figure: firstMs / 1_000, limit: 1, want: 'at most', unit: 's' },
      {
        name: 'report opened, first view',
        figure: usableMs / 1_000,
        limit: 2,
        want: 'at most',
        unit: 's',
        note: `all of it verified after ${(verifiedMs / 1_000).toFixed(1)} s`,
      },
      {
        name: 'report opened, memory of its process at most',
        figure: Math.max(most, verified.privateMB),
        limit: 300,
        want: 'at most',
        unit: 'MB',
        note: `its own; ${Math.round(verified.residentMB)} MB with the program of the browser`,
      },
    );
  } finally {
    clearInterval(looking);
    await browser.close();
  }
  return targets;
}
