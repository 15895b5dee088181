/**
 * `npm run bench:evidence`: what it costs to check a ledger and to prove one entry of it, on one core and on two, in how much memory; and what signing and
 * witnessing add to recording.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
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
import { publishEveryMs, signEveryMs } from '../src/limits.ts';
import { parseVkey } from '../src/tlog/note.ts';
import { ask } from '../src/wire/ask.ts';
import { socketPathOf } from '../src/wire/socket-path.ts';
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
const appended = values.short ? 100_000 : 300_000;
const turns = values.short ? 3 : 6;
const checkpointsPerTurn = 10;
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

/** CPU time of a recorder for each entry, in µs. */
async function appendUs(world: World): Promise<number> {
  const { ledger, samples } = await fill(world, 'observe', appended);
  rmSync(ledger, { recursive: true, force: true });
  // the first part warms it up
  const [from, to] = [samples[Math.floor(samples.length / 5)]!, samples.at(-1)!];
  return ((to.cpuMs - from.cpuMs) * 1_000) / (to.entries - from.entries);
}

/**
 * CPU time of a recorder for one checkpoint, in ms, of each turn: signed and published, and cosigned by a witness and told to a file besides. The last connection that closes
 * makes one, so each is of a connection with a few entries, which is counted in: the first is more than signing takes. In turns, within one recorder, since the difference
 * of two recorders under load is noise many times as large.
 */
async function checkpointMs(world: World): Promise<{ signed: number[]; witnessed: number[] }> {
  const folder = join(world.folder, 'witness');
  const config = join(world.home, '.config', 'sworn');
  const known = new Set(foldersOf(config));
  const ledger = world.newLedger();
  const program = join(root, 'bin', 'sworn.mjs');
  mkdirSync(config, { recursive: true });
  // a file in both cases: reading one is not what is measured
  const plain = { capture: { default: 'full' } };
  writeFileSync(join(config, 'sworn.yaml'), JSON.stringify(plain));
  execFileSync(process.execPath, [program, 'recorder', 'start', '--ledger', ledger], {
    env: world.environment,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const pid = await world.recorderPid(ledger);
  const id = foldersOf(config).find((name) => /^[0-9a-f]{32}$/.test(name) && !known.has(name))!;
  mkdirSync(folder);
  const key = await witnessKey(folder, 'w1.example');
  const logs = [parseVkey(nodeCrypto, readFileSync(join(config, id, 'vkey'), 'utf8').trim())!];
  const witness = new Witness({ logs, key, store: await WitnessStore.open(folder, key.cosigner), onEvent: () => undefined });
  const server = witnessServer(witness, key.vkey);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const anchors = { witnesses: [{ key: key.vkey, url }], files: [join(world.folder, 'checkpoints')] };

  const cycle = async (isWitnessed: boolean): Promise<void> => {
    const before = sizeIn(noteOf(ledger));
    const load = spawn(process.execPath, [join(import.meta.dirname, 'load.ts'), socketPathOf(ledger), 'observe', '1', '8'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const [status] = (await once(load, 'exit')) as [number];
    if (status !== 0) throw new Error(`the load ended with ${status}`);
    for (let i = 0; i < 500; i++) {
      const note = noteOf(ledger);
      if (sizeIn(note) >= before + 8 && (!isWitnessed || note.includes('\u2014 w1.example '))) return;
      await sleep(10);
    }
    throw new Error('no checkpoint came');
  };
  const turn = async (isWitnessed: boolean): Promise<number> => {
    writeFileSync(join(config, 'sworn.yaml'), JSON.stringify(isWitnessed ? { ...plain, anchors } : plain));
    await ask(socketPathOf(ledger), 'reload');
    await cycle(isWitnessed);
    const from = cpuMs(pid);
    for (let i = 0; i < checkpointsPerTurn; i++) await cycle(isWitnessed);
    await sleep(50);
    return (cpuMs(pid) - from) / checkpointsPerTurn;
  };
  const signed: number[] = [];
  const witnessed: number[] = [];
  for (let round = 0; round < turns; round++) {
    signed.push(await turn(false));
    witnessed.push(await turn(true));
  }
  await world.endRecorder(pid);
  server.close();
  server.closeAllConnections();
  rmSync(join(config, 'sworn.yaml'));
  return { signed, witnessed };
}

function noteOf(ledger: string): string {
  try {
    return readFileSync(join(ledger, 'log', 'checkpoint'), 'utf8');
  } catch {
    return '';
  }
}

function sizeIn(note: string): number {
  return Number(note.split('\n')[1] ?? 0);
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

  process.stderr.write('signing, with and without a witness…\n');
  const { signed, witnessed } = await checkpointMs(world);
  const entryUs = await appendUs(world);
  // while it records as fast as it can: what a second spends on signing, and a checkpoint's share of it on its witness
  const signingShare = median(signed) / signEveryMs;
  const witnessingShare = Math.max(0, median(witnessed) - median(signed)) / publishEveryMs;
  const added = ((signingShare + witnessingShare) / (1 - signingShare - witnessingShare)) * 100;
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
      name: 'signing and witnessing added to recording without a pause',
      figure: added,
      limit: 3,
      want: 'at most',
      unit: '%',
      note: `of the recorder’s processor time: ${digits(median(signed))} ms each second, and ${digits(median(witnessed) - median(signed))} ms each ${publishEveryMs / 1000} s; an entry takes ${digits(entryUs)} µs`,
    },
    { name: 'dist/verify.mjs', figure: verifierKB, limit: 60, want: 'at most', unit: 'KB' },
  ];
  const rows = Object.keys(kinds).map((name): (string | number)[] => {
    const [took, peak] = [median(runs.get(name)!.map(({ tookMs }) => tookMs)), Math.max(...runs.get(name)!.flatMap(({ halves }) => halves))];
    return [name, entries / (took / 1_000), perCpuS(name), peak];
  });
  if (values.json) {
    const figures = { entries, runs: Object.fromEntries(runs), signed, witnessed, entryUs, proofMs: median(proofMs), proofBytes: median(proofBytes) };
    console.log(JSON.stringify({ figures, targets: targets.map((one) => ({ ...one, reached: isReached(one) })) }));
    return;
  }
  console.log(`\nNode ${process.version}, ${cores} cores, load ${digits(load)} before, ${entries.toLocaleString('en-US')} entries\n`);
  if (!canPin) console.log('(without taskset: what is said of one core has a second one for collecting and compiling)\n');
  console.log(`${table(['verify', 'entries/s as run', 'entries per CPU s', 'MB, peak'], rows)}\n\n${targetTable(targets)}`);
});
