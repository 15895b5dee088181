/**
 * `npm run bench:live`: how soon a call shows in `sworn serve` while an agent makes 500 a second, and what it costs the conversation that somebody looks. Windows with and
 * without a dashboard take turns, so that a busy machine is busy for both.
 */
import type { ChildProcess } from 'node:child_process';
import { get as httpGet, request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { isReached, median, quantile, table, targetTable, type Target } from './figures.ts';
import { cpuMs, echoServer, inWorld, memoryMB, root, type World } from './world.ts';

const { values } = parseArgs({
  options: { short: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, rate: { type: 'string' } },
});
const callsPerS = Number(values.rate ?? 500);
const windowMs = values.short ? 4_000 : 10_000;
const windows = values.short ? 2 : 5;
const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** One agent that makes calls at a steady rate, whatever the answers take. */
class Agent {
  readonly child: ChildProcess;
  /** When each call was sent and answered, by its number. */
  readonly sentMs = new Map<number, number>();
  readonly tookMs: number[] = [];
  #number = 0;

  constructor(world: World, ledger: string) {
    const words = ['run', '--ledger', ledger, '--name', 'echo', '--', ...echoServer];
    this.child = world.start([process.execPath, join(root, 'bin', 'sworn.mjs'), ...words]);
    createInterface(this.child.stdout!).on('line', (line) => {
      const { id } = JSON.parse(line) as { id: number };
      const sent = this.sentMs.get(id);
      if (sent !== undefined) this.tookMs.push(performance.now() - sent);
    });
    this.#write(0, 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1' } });
  }

  #write(id: number, method: string, params: object): void {
    this.child.stdin!.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
  }

  /** For so long. */
  async call(forMs: number): Promise<void> {
    const from = performance.now();
    let made = 0;
    while (performance.now() - from < forMs) {
      for (const due = ((performance.now() - from) / 1000) * callsPerS; made < due; made++) {
        const id = ++this.#number;
        this.sentMs.set(id, performance.now());
        this.#write(id, 'tools/call', { name: 'echo', arguments: { text: `call ${id}.` } });
      }
      await sleep(2);
    }
  }
}

interface Watched {
  child: ChildProcess;
  /** From the sending of a call to the moment at which it stood in an answer. */
  shownMs: number[];
  stop(): Promise<void>;
}

/** Somebody looks: reads the live tail, and asks for the newest calls and the overview whenever there is something new. */
async function look(world: World, ledger: string, agent: Agent): Promise<Watched> {
  const child = world.start(
    [process.execPath, join(root, 'bin', 'sworn.mjs'), 'serve', '--ledger', ledger, '--port', '0', '--json'],
    world.environment,
    'pipe',
  );
  const { url, port } = JSON.parse(await firstLine(child)) as { url: string; port: number };
  const cookie = await new Promise<string>((done) => httpGet(url, (answer) => done(answer.headers['set-cookie']![0]!.split(';')[0]!)));
  const ask = <Answer>(path: string): Promise<Answer> =>
    new Promise((resolve, reject) => {
      httpGet({ port, path: `/api/v1/${path}`, headers: { Cookie: cookie } }, (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
        answer.on('end', () =>
          answer.statusCode === 200 ? resolve(JSON.parse(text) as Answer) : reject(new Error(`${path}: ${answer.statusCode} ${text}`)),
        );
      }).on('error', reject);
    });
  const shown = new Set<number>();
  const shownMs: number[] = [];
  let isAsking = false;
  let isNew = false;
  let ended = false;
  const refresh = async (): Promise<void> => {
    isNew = true;
    if (isAsking) return;
    isAsking = true;
    while (isNew && !ended) {
      isNew = false;
      const { rows } = await ask<{ rows: { argumentsText?: string }[] }>('calls?limit=300&sort=-index');
      const nowMs = performance.now();
      for (const { argumentsText = '' } of rows) {
        const id = Number(/call (\d+)\./.exec(argumentsText)?.[1]);
        const sentMs = agent.sentMs.get(id);
        if (sentMs === undefined || shown.has(id)) continue;
        shown.add(id);
        shownMs.push(nowMs - sentMs);
      }
      await ask('overview');
    }
    isAsking = false;
  };
  const fail = (error: Error): void => void (ended || say(`the dashboard: ${error.message}`));
  const tail = httpRequest({ port, path: '/api/v1/stream', headers: { Cookie: cookie } }, (answer) => {
    answer.on('data', (chunk: Buffer) => {
      if (chunk.includes('event: change')) refresh().catch(fail);
    });
    answer.on('error', () => undefined);
  });
  tail.on('error', () => undefined);
  tail.end();
  const stop = async (): Promise<void> => {
    ended = true;
    tail.destroy();
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    await gone;
  };
  return { child, shownMs, stop };
}

async function firstLine(child: ChildProcess): Promise<string> {
  for await (const line of createInterface(child.stdout!)) return line;
  throw new Error('the dashboard ended before it listened');
}

const result = await inWorld(async (world) => {
  const ledger = world.newLedger();
  const agent = new Agent(world, ledger);
  await agent.call(2_000);
  const recorder = await world.recorderPid(ledger);
  const shownMs: number[] = [];
  const rounds: { quiet: number[]; watched: number[]; quietCpu: number; watchedCpu: number }[] = [];
  let serveCpu = 0;
  let serveMB = 0;
  for (let round = 0; round < windows; round++) {
    const measure = async (): Promise<{ took: number[]; cpu: number }> => {
      const [from, cpu] = [agent.tookMs.length, cpuMs(recorder)];
      await agent.call(windowMs);
      return { took: agent.tookMs.slice(from), cpu: cpuMs(recorder) - cpu };
    };
    const quiet = await measure();
    const watching = await look(world, ledger, agent);
    // what it has to catch up with is not part of it
    await agent.call(2_000);
    const [skip, cpu] = [watching.shownMs.length, cpuMs(watching.child.pid!)];
    const watched = await measure();
    serveCpu += cpuMs(watching.child.pid!) - cpu;
    serveMB = Math.max(serveMB, memoryMB(watching.child.pid!).peak);
    await watching.stop();
    shownMs.push(...watching.shownMs.slice(skip));
    rounds.push({ quiet: quiet.took, watched: watched.took, quietCpu: quiet.cpu, watchedCpu: watched.cpu });
    say(
      `round ${round + 1} of ${windows}: shown after ${median(watching.shownMs).toFixed(0)} ms, a call ${median(quiet.took).toFixed(2)} ms quiet, ${median(watched.took).toFixed(2)} ms watched`,
    );
  }
  return { shownMs, rounds, serveCpu, serveMB };
});

const { shownMs, rounds, serveCpu, serveMB } = result;
const quiet = rounds.flatMap((round) => round.quiet);
const watched = rounds.flatMap((round) => round.watched);
const ratio = median(rounds.map((round) => median(round.watched) / median(round.quiet)));
const cpuRatio = median(rounds.map((round) => round.watchedCpu / round.quietCpu));
const targets: Target[] = [
  { name: `a call shows, p95, at ${callsPerS} calls/s`, figure: quantile(shownMs, 0.95), limit: 250, want: 'at most', unit: 'ms' },
  { name: 'a call while somebody looks, median, to quiet', figure: ratio, limit: 1.1, want: 'at most', unit: '', note: 'median of rounds' },
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
    quietMs: median(quiet),
    watchedMs: median(watched),
  };
  console.log(JSON.stringify({ callsPerS, ...samples, ratio, cpuRatio, serveCpuShare: serveCpu / (windows * windowMs), serveMB, targets }));
} else {
  console.log(
    table(
      ['ms', 'calls', 'median', 'p95', 'p99'],
      [show('from sending to showing', shownMs), show('a call, nobody looks', quiet), show('a call, somebody looks', watched)],
    ),
  );
  console.log(
    `\nrecorder's processor time while somebody looks, to quiet: ${cpuRatio.toFixed(2)}; the dashboard takes ${((serveCpu / (windows * windowMs)) * 100).toFixed(0)} % of a core, ${serveMB.toFixed(0)} MB\n`,
  );
  console.log(targetTable(targets));
}
if (!targets.every(isReached)) process.exitCode = 1;
