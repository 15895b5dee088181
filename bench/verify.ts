/** `npm run bench:verify`: how fast `sworn verify` checks a ledger that a recorder has just written, and in how much memory. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { digits, isReached, table, targetTable, type Target } from './figures.ts';
import { fill } from './fill.ts';
import { cpuMs, inWorld, memoryMB, root } from './world.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    entries: { type: 'string' },
  },
});
const entries = Number(values.entries ?? (values.short ? 100_000 : 300_000));
const load = loadavg()[0]!;

await inWorld(async (world) => {
  process.stderr.write(`writing ${entries.toLocaleString('en-US')} entries of 1 KiB…\n`);
  const { ledger } = await fill(world, 'observe', entries);
  process.stderr.write('verifying…\n');
  const from = performance.now();
  const verifier = spawn(process.execPath, [join(root, 'bin', 'sworn.mjs'), 'verify', ledger], {
    env: { ...world.environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  verifier.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const memory: number[] = [];
  let peakMB = 0;
  let usedMs = 0;
  const watch = setInterval(() => {
    const { now, peak } = memoryMB(verifier.pid!);
    const cpu = cpuMs(verifier.pid!);
    if (!Number.isFinite(now) || !Number.isFinite(cpu)) return;
    memory.push(now);
    peakMB = Math.max(peakMB, peak);
    usedMs = cpu;
  }, 20);
  const [status] = (await once(verifier, 'close')) as [number];
  clearInterval(watch);
  const tookMs = performance.now() - from;
  if (status === 2) {
    process.stderr.write('this build of sworn has no `verify`\n');
    return;
  }
  if (status !== 0) throw new Error(`verify ended with ${status}:\n${said}`);
  const half = Math.floor(memory.length / 2);
  const early = Math.max(...memory.slice(0, half));
  const late = Math.max(...memory.slice(half));
  const perCpuS = entries / (usedMs / 1000);
  const targets: Target[] = [
    { name: 'verify, entries a second and core', figure: perCpuS, limit: 30_000, want: 'at least', unit: '/s' },
    { name: 'verify, resident memory, second half ÷ first', figure: late / early, limit: 1.25, want: 'at most', unit: '×', note: 'flat' },
  ];
  const figures = { entries, entriesPerS: entries / (tookMs / 1000), entriesPerCpuS: perCpuS, residentPeakMB: peakMB };
  if (values.json) {
    console.log(JSON.stringify({ figures, targets: targets.map((one) => ({ ...one, reached: isReached(one) })) }));
    return;
  }
  const head = ['verify', 'entries/s as run', 'entries per CPU s', 'MB, 1st half', 'MB, 2nd half', 'MB, peak'];
  const row = [`${entries.toLocaleString('en-US')} entries`, figures.entriesPerS, perCpuS, early, late, peakMB];
  console.log(
    `\nNode ${process.version}, ${availableParallelism()} cores, load ${digits(load)} before\n\n${table(head, [row])}\n\n${targetTable(targets)}`,
  );
});
