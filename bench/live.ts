/**
 * `npm run bench:live`: how soon a call shows in `sworn serve` while an agent makes 500 a second, and what it costs the conversation that somebody looks. Each window
 * with a dashboard stands between two without, so that a machine that grows slower or faster speaks for neither.
 */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startBrowser } from '../test/browser.ts';
import { isReached, median, quantile, table, targetTable, type Target } from './figures.ts';
import { cpuMs, echoServer, inWorld, memoryMB, root, type World } from './world.ts';

const { values } = parseArgs({
  options: { short: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, rate: { type: 'string' } },
});
const callsPerS = Number(values.rate ?? 500);
const windowMs = values.short ? 3_000 : 6_000;
const windows = values.short ? 3 : 9;
const now = (): number => performance.timeOrigin + performance.now();
const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** One agent that makes calls at a steady rate, whatever the answers take. */
class Agent {
  readonly child: ChildProcess;
  /** When each call was sent, by its number, in ms since 1970. */
  readonly sentAt = new Map<number, number>();
  readonly tookMs: number[] = [];
  /** Of the newest call. */
  number = 0;

  constructor(world: World, ledger: string) {
    const words = ['run', '--ledger', ledger, '--name', 'echo', '--', ...echoServer];
    this.child = world.start([process.execPath, join(root, 'bin', 'sworn.mjs'), ...words]);
    createInterface(this.child.stdout!).on('line', (line) => {
      const { id } = JSON.parse(line) as { id: number };
      const sent = this.sentAt.get(id);
      if (sent !== undefined) this.tookMs.push(now() - sent);
    });
    this.#write(0, 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1' } });
  }

  #write(id: number, method: string, params: object): void {
    this.child.stdin!.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
  }

  /** How long each call after one took, to when it was. */
  since(skip: number, at: Readonly<Record<number, number>>): number[] {
    return Object.entries(at)
      .filter(([id]) => Number(id) > skip)
      .map(([id, ms]) => ms - this.sentAt.get(Number(id))!);
  }

  /** For so long. */
  async call(forMs: number): Promise<void> {
    const from = performance.now();
    let made = 0;
    while (performance.now() - from < forMs) {
      for (const due = ((performance.now() - from) / 1000) * callsPerS; made < due; made++) {
        const id = ++this.number;
        this.sentAt.set(id, now());
        this.#write(id, 'tools/call', { name: 'echo', arguments: { text: `call ${id}.` } });
      }
      await sleep(2);
    }
  }
}

interface Watched {
  child: ChildProcess;
  /** Ends it. @returns when each call stood in an answer, by its number, in ms since 1970 */
  stop(): Promise<Record<number, number>>;
}

async function serve(world: World, ledger: string): Promise<{ child: ChildProcess; url: string }> {
  const child = world.start(
    [process.execPath, join(root, 'bin', 'sworn.mjs'), 'serve', '--ledger', ledger, '--port', '0', '--json'],
    world.environment,
    'pipe',
  );
  return { child, url: (JSON.parse(await lines(child).next()) as { url: string }).url };
}

/** Notes in a page when each call first stood in it, in ms since 1970. */
const noteCalls = `
  globalThis.shownAt = {};
  new MutationObserver((changes) => {
    const now = performance.timeOrigin + performance.now();
    for (const { type, target, addedNodes } of changes)
      for (const node of type === 'characterData' ? [target] : addedNodes)
        for (const [, id] of (node.textContent ?? '').matchAll(/call (\\d+)\\./g)) shownAt[id] ??= now;
  }).observe(document, { subtree: true, childList: true, characterData: true });`;

/** The page itself, in a browser on this machine: how long each call took to stand in it, or why that cannot be measured here. */
async function inPage(world: World, ledger: string, agent: Agent): Promise<number[] | string> {
  const browser = await startBrowser();
  if (typeof browser === 'string') return browser;
  const { child, url } = await serve(world, ledger);
  try {
    const { page } = await browser.open({ offline: false, viewport: { width: 1280, height: 900 } });
    await page.addInitScript(noteCalls);
    await page.goto(url);
    await page.evaluate("location.hash = '#/calls'");
    await agent.call(4_000);
    const skip = agent.number;
    await agent.call(windowMs);
    return agent.since(skip, (await page.evaluate('shownAt')) as Record<number, number>);
  } finally {
    await browser.close();
    child.kill('SIGTERM');
  }
}

/** Somebody looks. */
async function look(world: World, ledger: string): Promise<Watched> {
  const { child, url } = await serve(world, ledger);
  const looker = world.start([process.execPath, join(import.meta.dirname, 'looker.ts'), url]);
  const said = lines(looker);
  if ((await said.next()) !== 'looking') throw new Error('nobody could look at the dashboard');
  const stop = async (): Promise<Record<number, number>> => {
    looker.stdin!.end();
    const shownAt = JSON.parse(await said.next()) as Record<number, number>;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    await gone;
    return shownAt;
  };
  return { child, stop };
}

function lines(child: ChildProcess): { next(): Promise<string> } {
  const all = createInterface(child.stdout!)[Symbol.asyncIterator]();
  return {
    next: async () => {
      const { value, done } = await all.next();
      if (done) throw new Error(`${child.spawnargs.slice(1, 3).join(' ')} ended too early`);
      return value;
    },
  };
}

interface Window {
  took: number[];
  /** Of the recorder, in ms. */
  cpu: number;
}

const result = await inWorld(async (world) => {
  const ledger = world.newLedger();
  const agent = new Agent(world, ledger);
  await agent.call(3_000);
  const recorder = await world.recorderPid(ledger);
  const measure = async (): Promise<Window> => {
    const [from, cpu] = [agent.tookMs.length, cpuMs(recorder)];
    await agent.call(windowMs);
    return { took: agent.tookMs.slice(from), cpu: cpuMs(recorder) - cpu };
  };
  const shownMs: number[] = [];
  const rounds: { before: Window; watched: Window; after: Window }[] = [];
  let serveCpu = 0;
  let serveMB = 0;
  for (let round = 0; round < windows; round++) {
    const before = await measure();
    const watching = await look(world, ledger);
    // what it has to catch up with, and to verify, is not part of it
    await agent.call(4_000);
    const [skip, cpu] = [agent.number, cpuMs(watching.child.pid!)];
    const watched = await measure();
    serveCpu += cpuMs(watching.child.pid!) - cpu;
    serveMB = Math.max(serveMB, memoryMB(watching.child.pid!).peak);
    const shown = agent.since(skip, await watching.stop());
    shownMs.push(...shown);
    const after = await measure();
    rounds.push({ before, watched, after });
    const [quiet, looked, again] = [before, watched, after].map(({ took }) => median(took).toFixed(2));
    say(
      `round ${round + 1} of ${windows}: shown after ${median(shown).toFixed(0)} ms, a call ${quiet} ms quiet, ${looked} ms watched, ${again} ms quiet again`,
    );
  }
  say('in a browser…');
  return { shownMs, rounds, serveCpu, serveMB, paged: await inPage(world, ledger, agent) };
});

const { shownMs, rounds, serveCpu, serveMB, paged } = result;
const pageMs = typeof paged === 'string' ? undefined : paged;
if (typeof paged === 'string') say(paged);
const quiet = rounds.flatMap(({ before, after }) => [...before.took, ...after.took]);
const watched = rounds.flatMap((round) => round.watched.took);
const ratio = median(rounds.map((round) => median(round.watched.took) / ((median(round.before.took) + median(round.after.took)) / 2)));
const cpuRatio = median(rounds.map((round) => round.watched.cpu / ((round.before.cpu + round.after.cpu) / 2)));
/** How far two quiet windows of a round are apart: what the machine itself does. */
const apart = rounds.map((round) => median(round.after.took) / median(round.before.took));
const targets: Target[] = [
  { name: `a call shows, p95, at ${callsPerS} calls/s`, figure: quantile(shownMs, 0.95), limit: 250, want: 'at most', unit: 'ms' },
  ...(pageMs === undefined
    ? []
    : [
        {
          name: 'a call stands in the page, p95, in a browser here',
          figure: quantile(pageMs, 0.95),
          limit: 250,
          want: 'at most' as const,
          unit: 'ms',
          note: `${pageMs.length} calls seen`,
        },
      ]),
  {
    name: 'a call while somebody looks, median, to quiet',
    figure: ratio,
    limit: 1.1,
    want: 'at most',
    unit: '×',
    note: `two quiet ones: ${quantile(apart, 0.1).toFixed(2)} to ${quantile(apart, 0.9).toFixed(2)} ×`,
  },
];
const show = (name: string, samples: number[]): (string | number)[] => [
  name,
  samples.length,
  median(samples),
  quantile(samples, 0.95),
  quantile(samples, 0.99),
];
if (values.json) {
  const samples = {
    shownMs: [median(shownMs), quantile(shownMs, 0.95), quantile(shownMs, 0.99)],
    ...(pageMs === undefined ? {} : { pageMs: [median(pageMs), quantile(pageMs, 0.95), quantile(pageMs, 0.99)] }),
    quietMs: median(quiet),
    watchedMs: median(watched),
  };
  console.log(JSON.stringify({ callsPerS, ...samples, ratio, apart, cpuRatio, serveCpuShare: serveCpu / (windows * windowMs), serveMB, targets }));
} else {
  console.log(
    table(
      ['ms', 'calls', 'median', 'p95', 'p99'],
      [
        show('from sending to an answer', shownMs),
        ...(pageMs === undefined ? [] : [show('from sending to the page', pageMs)]),
        show('a call, nobody looks', quiet),
        show('a call, somebody looks', watched),
      ],
    ),
  );
  console.log(
    `\nrecorder's processor time while somebody looks, to quiet: ${cpuRatio.toFixed(2)}; the dashboard takes ${((serveCpu / (windows * windowMs)) * 100).toFixed(0)} % of a core, ${serveMB.toFixed(0)} MB\n`,
  );
  console.log(targetTable(targets));
}
if (!targets.every(isReached)) process.exitCode = 1;
