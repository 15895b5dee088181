/**
 * SIGKILL at random moments of the proxy, its recorder, or both, while calls and streams are under way (DESIGN: what is delivered is recorded, nothing twice).
 * `SWORN_KILLS=1000 npx vitest run test/survive/proxy-kills.test.ts` for as many.
 */
import { createServer, request as requestHttp, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { SseCutter } from '../../src/frames/sse.ts';
import { isDelivered, ProxyStage } from '../scenarios/proxy-stage.ts';
import { gone, messages, type Recorded } from '../scenarios/stage.ts';

const kills = Number(process.env['SWORN_KILLS'] ?? 8);
const killsPerLedger = 20;

/** mulberry32. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** Answers every call with its id, as a body or as a stream of events; all messages are different ones. */
class Calls {
  readonly server: Server;
  /** Whole bodies that came. */
  readonly received: string[] = [];

  constructor(random: () => number) {
    this.server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('error', () => undefined).on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const body = Buffer.concat(parts).toString();
        this.received.push(body);
        const { id, method } = JSON.parse(body) as { id: string; method: string };
        const pad = 'r'.repeat(random() < 0.05 ? 2_500_000 : Math.floor(random() * 3_000));
        const result = JSON.stringify({ jsonrpc: '2.0', id, result: { pad } });
        if (method === 'body') {
          response.writeHead(200, { 'Content-Type': 'application/json' }).end(result);
          return;
        }
        response.writeHead(200, { 'Content-Type': 'text/event-stream' });
        void (async () => {
          for (let i = 0; i < 4; i++) {
            response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: { of: id, i } })}\n\n`);
            await sleep(random() * 15);
          }
          response.end(`data: ${result}\n\n`);
        })();
      });
      response.on('error', () => undefined);
    });
  }
}

/** Calls and calls again, whoever is there; keeps all that it got whole. */
class Caller {
  readonly received: string[] = [];
  answered = 0;
  failed = 0;
  isOver = false;
  readonly #stage: ProxyStage;
  readonly #name: string;
  readonly #random: () => number;

  constructor(stage: ProxyStage, name: string, random: () => number) {
    this.#stage = stage;
    this.#name = name;
    this.#random = random;
  }

  async run(): Promise<void> {
    for (let i = 0; !this.isOver; i++) {
      if (await this.#call(`${this.#name}.${i}`)) this.answered++;
      else {
        this.failed++;
        await sleep(10);
      }
    }
  }

  #call(id: string): Promise<boolean> {
    const random = this.#random;
    const pad = 'q'.repeat(random() < 0.05 ? 1_500_000 : Math.floor(random() * 2_000));
    const method = random() < 0.5 ? 'body' : 'events';
    const leavesMs = random() < 0.1 ? random() * 30 : undefined;
    return new Promise((done) => {
      const request = requestHttp({ port: this.#stage.port, host: '127.0.0.1', path: '/mcp', method: 'POST', agent: false });
      if (leavesMs !== undefined) setTimeout(() => request.destroy(), leavesMs);
      request.on('error', () => done(false)).on('close', () => done(false));
      request.on('response', (response) => {
        const isStream = response.headers['content-type'] === 'text/event-stream';
        const cutter = new SseCutter();
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => {
          if (isStream) for (const { data, kind } of cutter.push(part)) this.#take(kind === 'event' ? Buffer.from(data!).toString() : undefined);
          else parts.push(part);
        });
        response.on('error', () => undefined);
        response.on('end', () => {
          if (!isStream && response.statusCode === 200) this.#take(Buffer.concat(parts).toString());
          done(response.statusCode === 200);
        });
      });
      request.end(JSON.stringify({ jsonrpc: '2.0', id, method, params: { pad } }));
    });
  }

  #take(message: string | undefined): void {
    // what sworn says itself is no delivery
    if (message !== undefined && !message.includes('"code":5030')) this.received.push(message);
  }
}

function tally(entries: readonly Recorded[], direction: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const { frame } of messages(entries, { direction })) {
    const text = frame?.toString() ?? '';
    if (text !== '') found.set(text, (found.get(text) ?? 0) + 1);
  }
  return found;
}

async function soak(mode: 'commit' | 'observe', count: number, seed: number): Promise<{ violations: string[]; answered: number }> {
  const random = generator(seed);
  const stage = new ProxyStage();
  const calls = new Calls(random);
  calls.server.listen(0, '127.0.0.1');
  await once(calls.server, 'listening');
  onTestFinished(() => {
    calls.server.closeAllConnections();
    calls.server.close();
  });
  const upstream = `http://127.0.0.1:${(calls.server.address() as AddressInfo).port}/mcp`;
  await stage.start(['--mode', mode], upstream);
  const callers = Array.from({ length: 6 }, (_, i) => new Caller(stage, `${i}`, random));
  const running = callers.map((one) => one.run());
  const answered = (): number => callers.reduce((sum, one) => sum + one.answered, 0);
  const settled = async (): Promise<void> => {
    const before = answered();
    while (answered() < before + 6) await sleep(10);
  };
  let mayLack = false;
  for (let i = 0; i < count; i++) {
    await settled();
    await sleep(random() * 120);
    const victim = random();
    const recorder = stage.recorderPid;
    if (victim < 0.7 && recorder !== undefined) {
      process.kill(recorder, 'SIGKILL');
      if (victim > 0.55) await sleep(random() * 100);
    }
    if (victim > 0.4) {
      // the recorder of this proxy may have died before it was sent again what it lacked
      if (mode === 'observe' && victim < 0.7) mayLack = true;
      await stage.endProxy('SIGKILL');
      await stage.startProxy(['--mode', mode], upstream);
    }
    if (recorder !== undefined && victim < 0.7) await gone(recorder);
  }
  await settled();
  for (const one of callers) one.isOver = true;
  await Promise.all(running);
  const entries = await stage.ended();

  const violations: string[] = [];
  const recorded = { c2s: tally(entries, 'c2s'), s2c: tally(entries, 's2c') };
  for (const [direction, delivered] of [
    ['c2s', calls.received],
    ['s2c', callers.flatMap(({ received }) => received)],
  ] as const) {
    const missing = delivered.filter((text) => !recorded[direction].has(text));
    if (missing.length > 0 && !mayLack)
      violations.push(`${missing.length} of ${delivered.length} delivered ${direction} and not recorded: ${missing[0]!.slice(0, 200)}`);
    for (const [text, times] of recorded[direction]) if (times > 1) violations.push(`recorded ${times} times ${direction}: ${text.slice(0, 200)}`);
    // what is said to be delivered is, where the proxy lived to say it
    const got = new Set<string>(delivered);
    const closed = new Set(
      entries.filter(({ kind, reason }) => kind === 'close' && reason !== 'tap lost').map(({ connection }) => connection as string),
    );
    for (const entry of messages(entries, { direction })) {
      if (!closed.has(entry['connection'] as string) || entry['type'] === 'http' || entry['origin'] === 'sworn') continue;
      const text = entry.frame?.toString() ?? '';
      if (direction === 'c2s' && !got.has(text) && isDelivered(entries, entry))
        violations.push(`said to be delivered c2s, and is not: ${text.slice(0, 200)}`);
    }
  }
  return { violations, answered: answered() };
}

test.each(['commit', 'observe'] as const)(
  'mode %s, killed at random: what is delivered is recorded once [proxy-kills]',
  async (mode) => {
    const seed = Math.floor(Math.random() * 1e9);
    for (let left = Math.ceil(kills / 2); left > 0; left -= killsPerLedger) {
      const { violations, answered } = await soak(mode, Math.min(left, killsPerLedger), seed + left);
      expect(violations, `seed ${seed + left}`).toEqual([]);
      expect(answered).toBeGreaterThan(0);
    }
  },
  60_000 + kills * 5_000,
);
