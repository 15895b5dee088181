/**
 * `npm run bench:evidence`: what it costs to check a ledger and to prove one entry of it, on one core and on two, in how much memory; and what signing and
 * witnessing add to recording.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { PublishedLog } from '../src/readers/published.ts';
import { makeProof } from '../src/cli/prove.ts';
import { nodeCrypto } from '../src/crypto-node.ts';
import { parseVkey } from '../src/tlog/note.ts';
import { witnessKey } from '../src/witness/key.ts';
import { witnessServer } from '../src/witness/server.ts';
import { WitnessStore } from '../src/witness/store.ts';
import { Witness } from '../src/witness/witness.ts';
import { digits, isReached, median, quantile, table, targetTable, type Target } from './figures.ts';
import { fill } from './fill.ts';
import { cpuMs, inWorld, memoryMB, root, type World } from './world.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    entries: { type: 'string' },
    rounds: { type: 'string' },
  },
});
const entries = Number(values.entries ?? (values.short ? 200_000 : 1_000_000));
const rounds = Number(values.rounds ?? (values.short ? 3 : 5));
/** Many short runs: the machine's speed changes more from one to the next than what is looked for. */
const appended = values.short ? 100_000 : 200_000;
const pairs = values.short ? 3 : 9;
const cores = availableParallelism();
const load = loadavg()[0]!;

interface Run {
  tookMs: number;
  usedMs: number;
  /** Highest resident memory of the first and of the second half, in MB. */
  halves: [number, number];
}

/** Keeps a process, with what Node does beside its program (collecting, compiling), on one core; without `taskset` it takes a second one for that. */
const pin = ['taskset', '-c', '0'];
const canPin = cores >= 2 && spawnSync(pin[0]!, [...pin.slice(1), 'true']).status === 0;

/** `sworn verify` as a process of its own. */
async function verify(world: World, ledger: string, words: readonly string[], isPinned = false): Promise<Run> {
  const from = performance.now();
  const [program, ...rest] = [...(isPinned ? pin : []), process.execPath, join(root, 'bin', 'sworn.mjs'), 'verify', ledger, ...words];
  const verifier = spawn(program!, rest, { env: { ...world.environment }, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  verifier.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const memory: number[] = [];
  let usedMs = 0;
  const watch = setInterval(() => {
    const { now } = memoryMB(verifier.pid!);
    const cpu = cpuMs(verifier.pid!);
    if (!Number.isFinite(now) || !Number.isFinite(cpu)) return;
    memory.push(now);
    usedMs = cpu;
  }, 20);
  const [status] = (await once(verifier, 'close')) as [number];
  clearInterval(watch);
  if (status !== 0) throw new Error(`verify ended with ${status}:\n${said}`);
  const half = Math.floor(memory.length / 2);
  return { tookMs: performance.now() - from, usedMs, halves: [Math.max(...memory.slice(0, half)), Math.max(...memory.slice(half))] };
}

/** CPU time of a recorder for each entry, in µs; with a witness that cosigns each checkpoint, and a file that gets each, or with neither. */
async function appendUs(world: World, isWitnessed: boolean): Promise<number> {
  const folder = join(world.folder, 'witness');
  const keys = join(world.home, '.config', 'sworn');
  rmSync(folder, { recursive: true, force: true });
  rmSync(join(keys, 'sworn.yaml'), { force: true });
  // the ledger's key is the one that is new
  const known = new Set(foldersOf(keys));
  let close = (): void => undefined;
  const witnessFor = async (vkeyText: string): Promise<object> => {
    mkdirSync(folder);
    const key = await witnessKey(folder, 'w1.example');
    const logs = [parseVkey(nodeCrypto, vkeyText)!];
    const witness = new Witness({ logs, key, store: await WitnessStore.open(folder, key.cosigner), onEvent: () => undefined });
    const server = witnessServer(witness, key.vkey);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    close = () => (server.close(), server.closeAllConnections());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { witnesses: [{ key: key.vkey, url }], files: [join(world.folder, 'checkpoints')] };
  };
  const ready = async (ledger: string): Promise<void> => {
    const id = foldersOf(keys).find((name) => /^[0-9a-f]{32}$/.test(name) && !known.has(name))!;
    const anchors = isWitnessed ? await witnessFor(readFileSync(join(keys, id, 'vkey'), 'utf8').trim()) : undefined;
    // a file in both cases: reading one is not what is measured
    writeFileSync(join(keys, 'sworn.yaml'), JSON.stringify({ capture: { default: 'full' }, ...(anchors ? { anchors } : {}) }));
    const reload = spawn(process.execPath, [join(root, 'bin', 'sworn.mjs'), 'policy', 'reload', '--ledger', ledger], {
      env: { ...world.environment },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const [status] = (await once(reload, 'close')) as [number];
    if (status !== 0) throw new Error(`policy reload ended with ${status}`);
  };
  let usedMs = Number.NaN;
  let beganMs = 0;
  const { ledger } = await fill(world, 'observe', appended, root, {
    ready: async (at) => {
      await ready(at);
      beganMs = cpuMs(await world.recorderPid(at));
    },
    behind: async (pid) => {
      // the last checkpoint is published when the last connection closes
      await sleep(1_500);
      usedMs = cpuMs(pid) - beganMs;
    },
  });
  close();
  if (isWitnessed && !readFileSync(join(ledger, 'log', 'checkpoint'), 'utf8').includes('\u2014 w1.example '))
    process.stderr.write('the witness was too late for the last checkpoint\n');
  rmSync(ledger, { recursive: true, force: true });
  return (usedMs * 1_000) / appended;
}

function foldersOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

await inWorld(async (world) => {
  process.stderr.write(`writing ${entries.toLocaleString('en-US')} entries of 1 KiB…\n`);
  const { ledger } = await fill(world, 'observe', entries);

  const kinds = {
    'one core': ['--workers', '1'],
    'one core, tree only': ['--workers', '1', '--no-payloads'],
    ...(cores >= 2 ? { 'two cores': ['--workers', '2'], 'two cores, tree only': ['--workers', '2', '--no-payloads'] } : {}),
  } as Record<string, string[]>;
  const apart: Record<string, number[]> = {};
  const runs = new Map(Object.keys(kinds).map((name): [string, Run[]] => [name, []]));
  // once before: the first reads from the disk
  await verify(world, ledger, []);
  for (let round = 1; round <= rounds; round++) {
    process.stderr.write(`verifying, round ${round} of ${rounds}…\n`);
    for (const [name, words] of Object.entries(kinds))
      runs.get(name)!.push(await verify(world, ledger, words, canPin && name.startsWith('one core')));
    // what this machine gives two processes that have nothing to do with each other: no verifier can gain more from a second core
    if (cores >= 2) {
      for (const name of ['one core', 'one core, tree only']) {
        const from = performance.now();
        await Promise.all([0, 1].map(() => verify(world, ledger, kinds[name]!)));
        (apart[name] ??= []).push(performance.now() - from);
      }
    }
  }
  const perCpuS = (name: string): number => entries / (median(runs.get(name)!.map(({ usedMs }) => usedMs)) / 1_000);
  const faster = (name: string): number =>
    median(runs.get(name)!.map(({ tookMs }, round) => tookMs / runs.get(name.replace('one core', 'two cores'))![round]!.tookMs));
  const ceiling = (name: string): string =>
    `two separate runs side by side: ${digits(median(runs.get(name)!.map(({ tookMs }, round) => (2 * tookMs) / apart[name]![round]!)))} ×`;
  const flat = (name: string): number => median(runs.get(name)!.map(({ halves: [first, second] }) => second / first));

  process.stderr.write('proving…\n');
  const proofMs: number[] = [];
  const proofBytes: number[] = [];
  const log = new PublishedLog(ledger);
  // places all over it, each proof as the command makes it: nothing is kept from the one before
  for (let i = 0; i < 200; i++) {
    const index = Math.floor(((i * 0.618_033_988_7) % 1) * log.size);
    const from = performance.now();
    makeProof(new PublishedLog(ledger), index, false);
    proofMs.push(performance.now() - from);
    proofBytes.push(makeProof(log, index, true).bytes.length);
  }

  process.stderr.write('recording, with and without a witness…\n');
  const plain: number[] = [];
  const witnessed: number[] = [];
  for (let round = 0; round < pairs; round++) {
    // the first of a pair is not always the same one: a machine that slows down would speak against the second
    for (const isWitnessed of round % 2 === 0 ? [false, true] : [true, false])
      (isWitnessed ? witnessed : plain).push(await appendUs(world, isWitnessed));
  }
  const added = (median(witnessed.map((us, round) => us / plain[round]!)) - 1) * 100;
  const verifierKB = statSync(join(root, 'dist', 'verify.mjs')).size / 1000;

  const all = cores >= 2 ? 'two cores' : 'one core';
  const targets: Target[] = [
    { name: 'verify with content, entries a second and core', figure: perCpuS('one core'), limit: 45_000, want: 'at least', unit: '/s' },
    {
      name: 'verify the tree alone, entries a second and core',
      figure: perCpuS('one core, tree only'),
      limit: 100_000,
      want: 'at least',
      unit: '/s',
    },
    ...(cores >= 2
      ? [
          {
            name: 'verify with content, one core ÷ two cores',
            figure: faster('one core'),
            limit: 1.8,
            want: 'at least' as const,
            unit: '×',
            note: ceiling('one core'),
          },
          {
            name: 'verify the tree alone, one core ÷ two cores',
            figure: faster('one core, tree only'),
            limit: 1.8,
            want: 'at least' as const,
            unit: '×',
            note: ceiling('one core, tree only'),
          },
        ]
      : []),
    { name: 'verify, resident memory, second half ÷ first', figure: flat(all), limit: 1.25, want: 'at most', unit: '×', note: 'flat' },
    {
      name: 'one proof, median',
      figure: median(proofMs),
      limit: 20,
      want: 'at most',
      unit: 'ms',
      note: `99 of 100: ${digits(quantile(proofMs, 0.99))} ms`,
    },
    { name: 'one proof without its content, median', figure: median(proofBytes) / 1024, limit: 2, want: 'at most', unit: 'KiB' },
    {
      name: 'signing and witnessing added to recording',
      figure: added,
      limit: 3,
      want: 'at most',
      unit: '%',
      note: `processor time of the recorder, ${digits(Math.min(...plain))} µs an entry without`,
    },
    { name: 'dist/verify.mjs', figure: verifierKB, limit: 60, want: 'at most', unit: 'KB' },
  ];
  const rows = Object.keys(kinds).map((name): (string | number)[] => {
    const [took, peak] = [median(runs.get(name)!.map(({ tookMs }) => tookMs)), Math.max(...runs.get(name)!.flatMap(({ halves }) => halves))];
    return [name, entries / (took / 1_000), perCpuS(name), peak];
  });
  if (values.json) {
    const figures = { entries, runs: Object.fromEntries(runs), plain, witnessed, proofMs: median(proofMs), proofBytes: median(proofBytes) };
    console.log(JSON.stringify({ figures, targets: targets.map((one) => ({ ...one, reached: isReached(one) })) }));
    return;
  }
  console.log(`\nNode ${process.version}, ${cores} cores, load ${digits(load)} before, ${entries.toLocaleString('en-US')} entries\n`);
  if (!canPin) console.log('(without taskset: what is said of one core has a second one for collecting and compiling)\n');
  console.log(`${table(['verify', 'entries/s as run', 'entries per CPU s', 'MB, peak'], rows)}\n\n${targetTable(targets)}`);
});
