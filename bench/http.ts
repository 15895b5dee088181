/**
 * `npm run bench:http`: what `sworn proxy` adds to MCP over HTTP, beside going direct and beside the least that any HTTP proxy in Node adds.
 * All parties are up at the same time and take turns, so that a busy machine is busy for all of them.
 */
import type { ChildProcess } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { Agent, request, type ClientRequest } from 'node:http';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { digits, isReached, median, quantile, table, targetTable, type Target } from './figures.ts';
import { cpuMs, inWorld, memoryMB, root, type World } from './world.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    /** Parts to run: latency, rate, events, soak (10 minutes; only when it is named). */
    only: { type: 'string' },
    /** Another build of sworn (a folder with bin/ and dist/) to run beside this one. */
    other: { type: 'string' },
  },
});
const rounds = Number(values.rounds ?? (values.short ? 10 : 25));
const callsPerRound = 200;
const connections = 64;
const rateMs = values.short ? 2_000 : 4_000;
const rateRounds = values.short ? 3 : 5;
const streams = 300;
const eventEveryMs = 100;
const eventsMs = values.short ? 5_000 : 15_000;
const soakMs = values.short ? 60_000 : 600_000;
const does = (part: string): boolean => (values.only === undefined ? part !== 'soak' : values.only.split(',').includes(part));
const say = (line: string): void => void process.stderr.write(`${line}\n`);

interface Party {
  name: string;
  port: number;
  agent: Agent;
  process: ChildProcess | undefined;
}

/** The port that a program says on its first line. */
async function portOf(child: ChildProcess, pattern: RegExp, source = child.stdout!): Promise<number> {
  for await (const line of createInterface(source)) {
    const found = pattern.exec(line)?.[1];
    if (found !== undefined) return Number(found);
  }
  throw new Error('a program ended before it listened');
}

async function swornParty(world: World, build: string, name: string, mode: string, upstream: number): Promise<Party> {
  const ledger = world.newLedger();
  const child = world.start(
    [
      process.execPath,
      join(resolve(build), 'bin', 'sworn.mjs'),
      ...['proxy', '--upstream', `http://127.0.0.1:${upstream}/mcp`, '--listen', '127.0.0.1:0', '--name', 'echo', '--mode', mode, '--ledger', ledger],
    ],
    undefined,
    'pipe',
  );
  const port = await portOf(child, /at http:\/\/127\.0\.0\.1:(\d+)\//, child.stderr!);
  child.stderr!.resume();
  for (let i = 0; i < 200; i++) {
    if ((await statusOf(port, '/readyz')) === 200) break;
    await sleep(25);
  }
  await world.recorderPid(ledger);
  return { name, port, agent: newAgent(), process: child };
}

function newAgent(): Agent {
  return new Agent({ keepAlive: true, maxSockets: connections, scheduling: 'lifo' });
}

function statusOf(port: number, path: string): Promise<number> {
  return new Promise((done) => {
    request({ port, host: '127.0.0.1', path }, (response) => {
      response.resume();
      done(response.statusCode!);
    })
      .on('error', () => done(0))
      .end();
  });
}

let id = 0;

function call({ port, agent }: Party): Promise<void> {
  const body = Buffer.from(
    JSON.stringify({
      jsonrpc: '2.0',
      id: ++id,
      method: 'tools/call',
      params: { name: 'echo', arguments: { text: 'the quick brown fox jumps over the lazy dog '.repeat(20) } },
    }),
  );
  return new Promise((done, fail) => {
    const asked = request(
      {
        port,
        agent,
        host: '127.0.0.1',
        method: 'POST',
        path: '/mcp',
        headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'Content-Length': body.length },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          if (response.statusCode === 200) {
            JSON.parse(Buffer.concat(chunks).toString());
            done();
          } else fail(new Error(`a call got ${response.statusCode}`));
        });
        response.on('error', fail);
      },
    );
    asked.on('error', fail);
    asked.end(body);
  });
}

async function serial(party: Party, calls: number): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < calls; i++) {
    const from = performance.now();
    await call(party);
    samples.push((performance.now() - from) * 1000);
  }
  return samples;
}

/** Calls a second over `connections` connections. */
async function rate(party: Party, forMs: number): Promise<number> {
  let done = 0;
  const from = performance.now();
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (performance.now() - from < forMs) {
        await call(party);
        done++;
      }
    }),
  );
  return done / ((performance.now() - from) / 1000);
}

/** How late events of many streams arrive, in ms, beginning when all streams are open. */
async function lateness(party: Party, forMs: number): Promise<number[]> {
  const samples: number[] = [];
  const open: ClientRequest[] = [];
  let counts = false;
  await Promise.all(
    Array.from(
      { length: streams },
      () =>
        new Promise<void>((ready, fail) => {
          const asked = request(
            { port: party.port, host: '127.0.0.1', path: `/mcp?each=${eventEveryMs}`, agent: false, headers: { Accept: 'text/event-stream' } },
            (response) => {
              response.setEncoding('utf8').on('data', (text: string) => {
                const now = Number(process.hrtime.bigint() / 1000n);
                if (counts) for (const [, sentUs] of text.matchAll(/"sentUs":(\d+)/g)) samples.push((now - Number(sentUs)) / 1000);
              });
              response.on('error', () => undefined);
              ready();
            },
          );
          asked.on('error', fail);
          asked.end();
          open.push(asked);
        }),
    ),
  );
  await sleep(1_000);
  counts = true;
  await sleep(forMs);
  counts = false;
  for (const asked of open) asked.on('error', () => undefined).destroy();
  await sleep(500);
  return samples;
}

function turn<T>(items: readonly T[], round: number): T[] {
  return [...items.slice(round % items.length), ...items.slice(0, round % items.length)];
}

async function run(world: World): Promise<void> {
  const server = world.start([process.execPath, join(import.meta.dirname, 'echo-http.mjs')]);
  const upstream = await portOf(server, /^(\d+)$/);
  const relay = world.start([process.execPath, join(import.meta.dirname, 'http-relay.mjs'), `http://127.0.0.1:${upstream}`]);
  const parties: Party[] = [
    { name: 'direct', port: upstream, agent: newAgent(), process: undefined },
    { name: 'bare proxy', port: await portOf(relay, /^(\d+)$/), agent: newAgent(), process: relay },
    await swornParty(world, root, 'sworn observe', 'observe', upstream),
    await swornParty(world, root, 'sworn commit', 'commit', upstream),
  ];
  if (values.other !== undefined) {
    parties.push(await swornParty(world, values.other, 'other observe', 'observe', upstream));
    parties.push(await swornParty(world, values.other, 'other commit', 'commit', upstream));
  }
  for (const party of parties) {
    // until the code of all of them is compiled for good
    await rate(party, 4_000);
    await serial(party, 1_000);
  }

  const figures: Record<string, Record<string, number>> = {};
  const figure = (party: string, name: string, value: number): void => void ((figures[party] ??= {})[name] = value);
  const of = (party: string, name: string): number => figures[party]?.[name] ?? Number.NaN;
  const targets: Target[] = [];
  const tables: string[] = [];

  if (does('latency')) {
    say(`latency: ${rounds} rounds of ${callsPerRound} calls, one at a time…`);
    mkdirSync(world.folder, { recursive: true });
    const probe = openSync(join(world.folder, 'disk-probe'), 'w');
    const bytes = Buffer.alloc(1024, 'x');
    const syncs: number[] = [];
    const all = new Map(parties.map(({ name }) => [name, [] as number[]]));
    const added = new Map(parties.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < rounds; round++) {
      const medians = new Map<string, number>();
      for (const party of turn(parties, round)) {
        await sleep(20);
        await serial(party, 20);
        const samples = await serial(party, callsPerRound);
        all.get(party.name)!.push(...samples);
        medians.set(party.name, median(samples));
        if (party.name === 'sworn commit') {
          for (let i = 0; i < 100; i++) {
            writeSync(probe, bytes);
            const from = performance.now();
            fdatasyncSync(probe);
            syncs.push((performance.now() - from) * 1000);
          }
        }
      }
      for (const [name, value] of medians) added.get(name)!.push(value - medians.get('direct')!);
    }
    closeSync(probe);
    for (const { name, process: child } of parties) {
      figure(name, 'medianUs', median(all.get(name)!));
      figure(name, 'addedMedianUs', median(added.get(name)!));
      figure(name, 'addedP99Us', quantile(all.get(name)!, 0.99) - quantile(all.get('direct')!, 0.99));
      if (child !== undefined) figure(name, 'residentMB', memoryMB(child.pid!).now);
    }
    const syncUs = median(syncs);
    figure('fdatasync', 'medianUs', syncUs);
    const floor = of('bare proxy', 'addedMedianUs');
    tables.push(
      table(
        ['one call at a time, µs', 'median', 'added median', '× bare', 'added p99', 'resident MB'],
        parties.map(({ name }) => {
          const isDirect = name === 'direct';
          return [
            name,
            of(name, 'medianUs'),
            isDirect ? '-' : of(name, 'addedMedianUs'),
            isDirect ? '-' : of(name, 'addedMedianUs') / floor,
            isDirect ? '-' : of(name, 'addedP99Us'),
            isDirect ? '-' : of(name, 'residentMB'),
          ];
        }),
      ),
      `the disk: a write of 1 KiB, then fdatasync alone: ${digits(syncUs)} µs`,
    );
    targets.push(
      { name: 'observe, added median ÷ bare proxy’s', figure: of('sworn observe', 'addedMedianUs') / floor, limit: 1.5, want: 'at most', unit: '×' },
      {
        name: 'commit, added median',
        figure: of('sworn commit', 'addedMedianUs'),
        limit: floor + 2 * syncUs + 400,
        want: 'at most',
        unit: 'µs',
        note: 'bare + 2 fdatasync + 400 µs',
      },
    );
  }

  if (does('rate')) {
    say(`rate: ${rateRounds} rounds of ${rateMs / 1000} s over ${connections} connections…`);
    const rates = new Map(parties.map(({ name }) => [name, [] as number[]]));
    const ratios = new Map(parties.map(({ name }) => [name, [] as number[]]));
    const cpu = new Map(parties.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < rateRounds; round++) {
      const inRound = new Map<string, number>();
      for (const party of turn(parties, round)) {
        const before = party.process === undefined ? 0 : cpuMs(party.process.pid!);
        const each = await rate(party, rateMs);
        if (party.process !== undefined) cpu.get(party.name)!.push(((cpuMs(party.process.pid!) - before) * 1000) / ((each * rateMs) / 1000));
        inRound.set(party.name, each);
        await sleep(300);
      }
      for (const [name, each] of inRound) {
        rates.get(name)!.push(each);
        ratios.get(name)!.push(each / inRound.get('bare proxy')!);
      }
    }
    for (const { name } of parties) {
      figure(name, 'callsPerS', median(rates.get(name)!));
      figure(name, 'ofBare', median(ratios.get(name)!));
      figure(name, 'cpuUs', median(cpu.get(name)!));
    }
    tables.push(
      table(
        [`${connections} connections`, 'calls/s', '× bare', 'CPU µs/call'],
        parties.map(({ name }) => [name, of(name, 'callsPerS'), of(name, 'ofBare'), name === 'direct' ? '-' : of(name, 'cpuUs')]),
      ),
    );
    targets.push({
      name: `observe, calls/s over ${connections} connections ÷ bare proxy’s`,
      figure: of('sworn observe', 'ofBare'),
      limit: 0.6,
      want: 'at least',
      unit: '×',
    });
  }

  if (does('events')) {
    say(`events: ${streams} streams with an event each ${eventEveryMs} ms, ${eventsMs / 1000} s each…`);
    for (const party of parties) {
      const samples = await lateness(party, eventsMs);
      figure(party.name, 'events', samples.length);
      figure(party.name, 'lateMedianMs', median(samples));
      figure(party.name, 'lateP99Ms', quantile(samples, 0.99));
    }
    tables.push(
      table(
        [`${streams} streams × ${1000 / eventEveryMs} events/s`, 'events', 'late, median ms', 'late, p99 ms'],
        parties.map(({ name }) => [name, of(name, 'events'), of(name, 'lateMedianMs'), of(name, 'lateP99Ms')]),
      ),
    );
    targets.push({
      name: 'observe, p99 lateness of events',
      figure: of('sworn observe', 'lateP99Ms'),
      limit: of('bare proxy', 'lateP99Ms') + 50,
      want: 'at most',
      unit: 'ms',
      note: 'bare + 50 ms',
    });
  }

  if (does('soak')) {
    say(`soak: ${soakMs / 1000} s of calls over ${connections} connections…`);
    const party = parties.find(({ name }) => name === 'sworn observe')!;
    const samples: number[] = [];
    const from = performance.now();
    while (performance.now() - from < soakMs) {
      await rate(party, soakMs / 60);
      samples.push(memoryMB(party.process!.pid!).now);
    }
    // the first third warms up
    const warm = samples.slice(Math.floor(samples.length / 3));
    const half = Math.floor(warm.length / 2);
    figure(party.name, 'soakEarlyMB', median(warm.slice(0, half)));
    figure(party.name, 'soakLateMB', median(warm.slice(half)));
    targets.push({
      name: 'observe, resident memory of the proxy, second half ÷ first',
      figure: of(party.name, 'soakLateMB') / of(party.name, 'soakEarlyMB'),
      limit: 1.1,
      want: 'at most',
      unit: '×',
      note: `${digits(of(party.name, 'soakLateMB'))} MB`,
    });
  }

  if (values.json)
    process.stdout.write(
      `${JSON.stringify({ node: process.version, figures, targets: targets.map((one) => ({ ...one, reached: isReached(one) })) })}\n`,
    );
  else process.stdout.write(`\nNode ${process.version}\n\n${[...tables, targetTable(targets)].join('\n\n')}\n`);
  for (const { agent, process: child } of parties) {
    agent.destroy();
    child?.kill('SIGTERM');
  }
  server.kill('SIGTERM');
}

await inWorld(run);
