/**
 * `npm run bench:relay`: what sworn adds to an MCP conversation over stdio, beside running direct, beside the least that any Node process in between
 * adds, and beside a rival. All parties run side by side and take turns, so that a busy machine is busy for all of them.
 */
import { execFileSync, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, fdatasyncSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { digits, isReached, median, quantile, table, targetTable, type Target } from './figures.ts';
import { echoServer, inWorld, memoryMB, root, World } from './world.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    /** Parts to run: latency, burst, sustained, start. */
    only: { type: 'string' },
    /** Another build of sworn (a folder with bin/ and dist/) to run beside this one. */
    other: { type: 'string' },
    rival: { type: 'string' },
  },
});
const rounds = Number(values.rounds ?? (values.short ? 12 : 30));
const callsPerRound = 250;
const burstCalls = 2_000;
const inFlight = 64;
const burstRounds = Math.max(3, Math.round(rounds / 2));
const startRounds = Math.max(5, Math.round(rounds / 2));
const sustainedMs = values.short ? 10_000 : 30_000;
const does = (part: string): boolean => values.only === undefined || values.only.split(',').includes(part);
const say = (line: string): void => void process.stderr.write(`${line}\n`);

interface Party {
  name: string;
  command(ledger: string): string[];
  /** One of ours: where it records. */
  ledger?: string;
}

const sworn = (folder: string, mode: string) => (ledger: string) => [
  process.execPath,
  join(folder, 'bin', 'sworn.mjs'),
  'run',
  '--mode',
  mode,
  '--ledger',
  ledger,
  '--',
  ...echoServer,
];

/** The client's end of a conversation. It does what any MCP client must: reads each answer, and finds the call that it belongs to. */
class Conversation {
  readonly child: ChildProcess;
  readonly #waiting = new Map<number, () => void>();
  #id = 0;
  #rest = '';

  constructor(child: ChildProcess) {
    this.child = child;
    child.on('exit', (status, signal) => {
      if (this.#waiting.size > 0) throw new Error(`a party ended with ${signal ?? status} in the middle of a measurement`);
    });
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop()!;
      for (const line of lines) {
        const { id } = JSON.parse(line) as { id: number };
        const answered = this.#waiting.get(id)!;
        this.#waiting.delete(id);
        answered();
      }
    });
  }

  #request(method: string, params: unknown): Promise<void> {
    const id = ++this.#id;
    this.child.stdin!.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    return new Promise((answered) => this.#waiting.set(id, answered));
  }

  #call(): Promise<void> {
    return this.#request('tools/call', { name: 'echo', arguments: { text: 'the quick brown fox jumps over the lazy dog' } });
  }

  async initialize(): Promise<void> {
    await this.#request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1' } });
    this.child.stdin!.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
  }

  /** Microseconds of each of `calls` calls, one after the other. */
  async serial(calls: number): Promise<number[]> {
    const samples: number[] = [];
    for (let i = 0; i < calls; i++) {
      const from = performance.now();
      await this.#call();
      samples.push((performance.now() - from) * 1000);
    }
    return samples;
  }

  /** Calls a second with `inFlight` calls under way, until `calls` are answered or `untilMs` is reached. */
  async pipelined(calls: number, untilMs = Number.POSITIVE_INFINITY): Promise<number> {
    let sent = 0;
    const from = performance.now();
    const oneAfterAnother = async (): Promise<void> => {
      while (sent < calls && performance.now() - from < untilMs) {
        sent++;
        await this.#call();
      }
    };
    await Promise.all(Array.from({ length: inFlight }, oneAfterAnother));
    return sent / ((performance.now() - from) / 1000);
  }
}

/** The Go rival, if there is one: named, on the PATH, or installed into the world's folder. Its config: no rate limit, no servers, plain JSONL. */
function rivalParty(world: World): Party | undefined {
  const binary = values.rival === undefined ? installedRival(world) : resolve(values.rival);
  if (binary === undefined) return undefined;
  const config = join(world.folder, 'mcp-audit.yaml');
  writeFileSync(
    config,
    [
      'proxy:\n  transport: stdio',
      `audit:\n  storage: jsonl\n  path: ${join(world.folder, 'mcp-audit.jsonl')}\n  async:\n    enabled: false`,
      'middleware:\n  rate_limit:\n    enabled: false',
      'dashboard:\n  enabled: false',
      'metrics:\n  enabled: false\n',
    ].join('\n'),
  );
  const upstream = echoServer.map((word) => `'${word}'`).join(' ');
  return { name: 'mcp-audit', command: () => [binary, '--config', config, '--transport', 'stdio', '--upstream', upstream, '--log-level', 'error'] };
}

function installedRival(world: World): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(':'))
    if (folder !== '' && existsSync(join(folder, 'mcp-audit'))) return join(folder, 'mcp-audit');
  const folder = join(world.folder, 'gobin');
  try {
    say('installing mcp-audit with go…');
    execFileSync('go', ['install', 'github.com/P4ST4S/mcp-audit/cmd/mcp-audit@latest'], {
      env: { ...process.env, GOBIN: folder },
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: 300_000,
    });
    return join(folder, 'mcp-audit');
  } catch (error) {
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'there is no go'
        : String((error as { stderr?: Buffer }).stderr ?? error)
            .trim()
            .split('\n')
            .at(-1);
    say(`mcp-audit is left out: ${why}`);
    return undefined;
  }
}

/** Microseconds of the disk's own fdatasync after an append of a record's size. */
class Disk {
  readonly #fd: number;
  readonly #bytes = Buffer.alloc(1024, 'x');

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#fd = openSync(join(folder, 'disk-probe'), 'w');
  }

  samples(count: number): number[] {
    const samples: number[] = [];
    for (let i = 0; i < count; i++) {
      writeSync(this.#fd, this.#bytes);
      const from = performance.now();
      fdatasyncSync(this.#fd);
      samples.push((performance.now() - from) * 1000);
    }
    return samples;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

interface Running {
  party: Party;
  conversation: Conversation;
}

async function startAll(world: World, parties: Party[]): Promise<Running[]> {
  const running: Running[] = [];
  for (const party of parties) {
    const conversation = new Conversation(world.start(party.command(party.ledger ?? '')));
    running.push({ party, conversation });
    await conversation.initialize();
    if (party.ledger !== undefined) await world.recorderPid(party.ledger);
    await conversation.serial(500);
    await conversation.pipelined(500);
  }
  return running;
}

/** The parties in an order that changes with every round: none is always behind the same other one. */
function turn<T>(items: readonly T[], round: number): T[] {
  return [...items.slice(round % items.length), ...items.slice(0, round % items.length)];
}

async function run(world: World): Promise<void> {
  const parties: Party[] = [
    { name: 'direct', command: () => [...echoServer] },
    { name: 'bare relay', command: () => [process.execPath, join(import.meta.dirname, 'pipe-relay.mjs'), ...echoServer] },
    { name: 'sworn observe', command: sworn(root, 'observe'), ledger: world.newLedger() },
    { name: 'sworn commit', command: sworn(root, 'commit'), ledger: world.newLedger() },
  ];
  if (values.other !== undefined) {
    parties.push({ name: 'other observe', command: sworn(resolve(values.other), 'observe'), ledger: world.newLedger() });
    parties.push({ name: 'other commit', command: sworn(resolve(values.other), 'commit'), ledger: world.newLedger() });
  }
  const rival = rivalParty(world);
  if (rival !== undefined) parties.push(rival);

  const figures: Record<string, Record<string, number>> = {};
  const figure = (party: string, name: string, value: number): void => void ((figures[party] ??= {})[name] = value);
  const of = (party: string, name: string): number => figures[party]?.[name] ?? Number.NaN;
  const targets: Target[] = [];
  const tables: string[] = [];

  if (does('latency') || does('burst') || does('sustained')) {
    const running = await startAll(world, parties);
    const disk = new Disk(world.folder);
    if (does('latency')) {
      say(`latency: ${rounds} rounds of ${callsPerRound} serial calls each…`);
      const all = new Map(parties.map((party) => [party.name, [] as number[]]));
      const added = new Map(parties.map((party) => [party.name, [] as number[]]));
      const memory = new Map(parties.map((party) => [party.name, [] as number[]]));
      const syncs: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const medians = new Map<string, number>();
        for (const { party, conversation } of turn(running, round)) {
          await sleep(20);
          await conversation.serial(20);
          const samples = await conversation.serial(callsPerRound);
          all.get(party.name)!.push(...samples);
          medians.set(party.name, median(samples));
          memory.get(party.name)!.push(memoryMB(conversation.child.pid!).now);
          if (party.name === 'sworn commit') syncs.push(...disk.samples(100));
        }
        for (const [name, value] of medians) added.get(name)!.push(value - medians.get('direct')!);
      }
      const direct = all.get('direct')!;
      for (const { name } of parties) {
        const samples = all.get(name)!;
        figure(name, 'medianUs', median(samples));
        figure(name, 'addedMedianUs', median(added.get(name)!));
        figure(name, 'addedP99Us', quantile(samples, 0.99) - quantile(direct, 0.99));
        figure(name, 'addedP999Us', quantile(samples, 0.999) - quantile(direct, 0.999));
        figure(name, 'residentMB', median(memory.get(name)!));
      }
      figure('fdatasync', 'medianUs', median(syncs));
      figure('fdatasync', 'p99Us', quantile(syncs, 0.99));
      figure('fdatasync', 'p999Us', quantile(syncs, 0.999));
      const bare = of('bare relay', 'addedMedianUs');
      tables.push(
        table(
          ['one call at a time, µs', 'median', 'added median', '× bare', 'added p99', 'added p99.9', 'resident MB'],
          parties.map(({ name }) => [
            name,
            of(name, 'medianUs'),
            name === 'direct' ? '-' : of(name, 'addedMedianUs'),
            name === 'direct' ? '-' : of(name, 'addedMedianUs') / bare,
            name === 'direct' ? '-' : of(name, 'addedP99Us'),
            name === 'direct' ? '-' : of(name, 'addedP999Us'),
            of(name, 'residentMB'),
          ]),
        ),
        table(
          ['the disk, µs', 'median', 'p99', 'p99.9'],
          [['write of 1 KiB, then fdatasync alone', of('fdatasync', 'medianUs'), of('fdatasync', 'p99Us'), of('fdatasync', 'p999Us')]],
        ),
      );
      targets.push(
        {
          name: 'observe, added median ÷ bare relay’s',
          figure: of('sworn observe', 'addedMedianUs') / bare,
          limit: 2,
          want: 'at most',
          unit: '×',
          note: 'ambition 1.6 ×',
        },
        {
          name: 'commit, added median',
          figure: of('sworn commit', 'addedMedianUs'),
          limit: bare + 2 * of('fdatasync', 'medianUs') + 300,
          want: 'at most',
          unit: 'µs',
          note: 'bare + 2 fdatasync + 300 µs',
        },
        {
          name: 'tap memory, observe',
          figure: of('sworn observe', 'residentMB'),
          limit: of('bare relay', 'residentMB') + 15,
          want: 'at most',
          unit: 'MB',
          note: 'bare + 15 MB',
        },
        {
          name: 'tap memory, commit',
          figure: of('sworn commit', 'residentMB'),
          limit: of('bare relay', 'residentMB') + 15,
          want: 'at most',
          unit: 'MB',
          note: 'bare + 15 MB',
        },
      );
      if (rival !== undefined)
        targets.push({
          name: 'observe, added median, below mcp-audit',
          figure: of('sworn observe', 'addedMedianUs'),
          limit: of('mcp-audit', 'addedMedianUs'),
          want: 'at most',
          unit: 'µs',
        });
    }
    if (does('burst')) {
      say(`burst: ${burstRounds} rounds of ${burstCalls} calls, ${inFlight} in flight…`);
      const rates = new Map(parties.map((party) => [party.name, [] as number[]]));
      const ratios = new Map(parties.map((party) => [party.name, [] as number[]]));
      for (let round = 0; round < burstRounds; round++) {
        const rate = new Map<string, number>();
        for (const { party, conversation } of turn(running, round)) {
          await sleep(150); // what the last one left to its recorder is done
          await conversation.pipelined(200);
          await sleep(20);
          rate.set(party.name, await conversation.pipelined(burstCalls));
        }
        for (const [name, value] of rate) {
          rates.get(name)!.push(value);
          ratios.get(name)!.push(value / rate.get('direct')!);
        }
      }
      for (const { name } of parties) {
        figure(name, 'burstPerS', median(rates.get(name)!));
        figure(name, 'burstRatio', median(ratios.get(name)!));
      }
      tables.push(
        table(
          [`${burstCalls} calls, ${inFlight} in flight`, 'calls/s', '× direct', 'worst ×', 'best ×'],
          parties.map(({ name }) => [
            name,
            of(name, 'burstPerS'),
            of(name, 'burstRatio'),
            Math.min(...ratios.get(name)!),
            Math.max(...ratios.get(name)!),
          ]),
        ),
      );
      targets.push({ name: 'observe, burst ÷ direct', figure: of('sworn observe', 'burstRatio'), limit: 0.3, want: 'at least', unit: '×' });
    }
    if (does('sustained')) {
      say(`sustained: ${sustainedMs / 1000} s each, direct before and after…`);
      const direct = running[0]!.conversation;
      const sample = (): Promise<number> => direct.pipelined(Number.POSITIVE_INFINITY, 2_000);
      let before = await sample();
      for (const { party, conversation } of running.slice(1)) {
        const rate = await conversation.pipelined(Number.POSITIVE_INFINITY, sustainedMs);
        await sleep(1_000);
        const after = await sample();
        figure(party.name, 'sustainedPerS', rate);
        figure(party.name, 'sustainedRatio', rate / ((before + after) / 2));
        figure(party.name, 'residentPeakMB', memoryMB(conversation.child.pid!).peak);
        figure('direct', 'sustainedPerS', (before + after) / 2);
        before = after;
      }
      tables.push(
        table(
          [`${sustainedMs / 1000} s, ${inFlight} in flight`, 'calls/s', '× direct', 'peak resident MB'],
          parties.map(({ name }) => [
            name,
            of(name, 'sustainedPerS'),
            name === 'direct' ? '-' : of(name, 'sustainedRatio'),
            name === 'direct' ? '-' : of(name, 'residentPeakMB'),
          ]),
        ),
      );
      targets.push({ name: 'observe, sustained ÷ direct', figure: of('sworn observe', 'sustainedRatio'), limit: 0.15, want: 'at least', unit: '×' });
      if (rival !== undefined)
        targets.push({
          name: 'observe, sustained, above mcp-audit',
          figure: of('sworn observe', 'sustainedRatio'),
          limit: of('mcp-audit', 'sustainedRatio'),
          want: 'at least',
          unit: '×',
        });
    }
    disk.close();
    await Promise.all(running.map(({ conversation }) => world.end(conversation.child)));
  }

  if (does('start')) {
    say(`start: ${startRounds} rounds…`);
    const names = parties.map((party) => party.name);
    const times = new Map<string, number[]>();
    const first = async (name: string, command: string[], environment?: NodeJS.ProcessEnv): Promise<void> => {
      const from = performance.now();
      const conversation = new Conversation(world.start(command, environment));
      await conversation.initialize();
      times.set(name, [...(times.get(name) ?? []), performance.now() - from]);
      await world.end(conversation.child);
    };
    // a recorder that is up, with its first entries behind it
    for (const { ledger, command } of parties) {
      if (ledger === undefined) continue;
      await first('', command(ledger));
      await world.recorderPid(ledger);
    }
    const cold: [string, string, string][] = [
      ['sworn observe', root, 'observe'],
      ['sworn commit', root, 'commit'],
      ...(values.other === undefined ? [] : ([['other commit', resolve(values.other), 'commit']] as [string, string, string][])),
    ];
    for (let round = 0; round <= startRounds; round++) {
      if (round === 1) times.clear(); // the first round fills caches
      for (const party of turn(parties, round))
        await first(party.ledger === undefined ? party.name : `${party.name}, warm`, party.command(party.ledger ?? ''));
      for (const [name, folder, mode] of cold) {
        const ledger = world.newLedger();
        await first(`${name}, cold`, sworn(folder, mode)(ledger));
        await world.endRecorder(await world.recorderPid(ledger));
      }
      const ledger = world.newLedger();
      const home = join(world.folder, `home-${round}`);
      mkdirSync(home);
      await first('sworn commit, cold, a home that never saw sworn', sworn(root, 'commit')(ledger), { ...world.environment, HOME: home });
      await world.endRecorder(await world.recorderPid(ledger));
    }
    const bareMs = median(times.get('bare relay')!);
    for (const [name, samples] of times) figure(name, 'firstAnswerMs', median(samples));
    tables.push(
      table(
        ['first answer after the start, ms', 'median', 'above bare', 'p90'],
        [...times]
          .toSorted(([a], [b]) => names.indexOf(a.split(',')[0]!) - names.indexOf(b.split(',')[0]!))
          .map(([name, samples]) => [name, median(samples), median(samples) - bareMs, quantile(samples, 0.9)]),
      ),
    );
    for (const mode of ['observe', 'commit']) {
      targets.push(
        {
          name: `${mode}, first answer, warm recorder`,
          figure: of(`sworn ${mode}, warm`, 'firstAnswerMs'),
          limit: bareMs + 30,
          want: 'at most',
          unit: 'ms',
          note: 'bare + 30 ms',
        },
        {
          name: `${mode}, first answer, cold`,
          figure: of(`sworn ${mode}, cold`, 'firstAnswerMs'),
          limit: bareMs + 150,
          want: 'at most',
          unit: 'ms',
          note: 'bare + 150 ms',
        },
      );
    }
  }

  const machine = { node: process.version, cores: (await import('node:os')).availableParallelism(), loadBefore: load };
  if (values.json) console.log(JSON.stringify({ machine, rounds, figures, targets: targets.map((one) => ({ ...one, reached: isReached(one) })) }));
  else
    console.log(`\nNode ${machine.node}, ${machine.cores} cores, load ${digits(load)} before\n\n${tables.join('\n\n')}\n\n${targetTable(targets)}`);
}

const load = (await import('node:os')).loadavg()[0]!;
await inWorld(run);
