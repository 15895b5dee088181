/**
 * `npm run bench:recorder`: how many entries a recorder takes, what one costs, and whether its memory stays flat.
 * The load is another process (`load.ts`), so that only the recorder's own CPU time is counted.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { digits, isReached, median, table, targetTable, type Target } from './figures.ts';
import { fill } from './fill.ts';
import { inWorld, type World } from './world.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    entries: { type: 'string' },
    mode: { type: 'string' },
    /** Content is encrypted under a key in a file. */
    encrypted: { type: 'boolean', default: false },
    /** Another build of sworn (a folder with bin/ and dist/). */
    other: { type: 'string' },
  },
});
const entries = Number(values.entries ?? (values.short ? 200_000 : 1_000_000));
const load = loadavg()[0]!;

await inWorld(async (world) => {
  if (values.encrypted) encryptIn(world);
  const targets: Target[] = [];
  const figures: Record<string, Record<string, number>> = {};
  const rows: (string | number)[][] = [];
  for (const mode of values.mode === undefined ? (['observe', 'commit'] as const) : [values.mode as 'observe' | 'commit']) {
    process.stderr.write(`${mode}: ${entries.toLocaleString('en-US')} entries of 1 KiB over 8 connections…\n`);
    const { samples } = await fill(world, mode, entries, values.other);
    const last = samples.at(-1)!;
    // the first tenth warms up: code is compiled, buffers are made
    const warm = samples.filter((sample) => sample.entries >= entries / 10);
    const first = warm[0]!;
    const perS = (last.entries - first.entries) / ((last.ms - first.ms) / 1000);
    const cpuUs = ((last.cpuMs - first.cpuMs) * 1000) / (last.entries - first.entries);
    const half = Math.floor(warm.length / 2);
    const early = median(warm.slice(0, half).map((sample) => sample.residentMB));
    const late = median(warm.slice(half).map((sample) => sample.residentMB));
    const peak = Math.max(...samples.map((sample) => sample.peakMB));
    figures[mode] = {
      entriesPerS: perS,
      cpuUsPerEntry: cpuUs,
      entriesPerCpuS: 1e6 / cpuUs,
      residentEarlyMB: early,
      residentLateMB: late,
      residentPeakMB: peak,
    };
    rows.push([mode, perS, cpuUs, 1e6 / cpuUs, early, late, peak]);
    targets.push(
      { name: `${mode}, entries a second on one core`, figure: 1e6 / cpuUs, limit: 20_000, want: 'at least', unit: '/s', note: 'ambition 40,000 /s' },
      { name: `${mode}, resident memory, at most`, figure: peak, limit: 250, want: 'at most', unit: 'MB' },
      { name: `${mode}, resident memory, second half ÷ first`, figure: late / early, limit: 1.1, want: 'at most', unit: '×', note: 'flat' },
    );
  }
  if (values.json) {
    const machine = { node: process.version, cores: availableParallelism(), loadBefore: load };
    console.log(JSON.stringify({ machine, entries, figures, targets: targets.map((one) => ({ ...one, reached: isReached(one) })) }));
    return;
  }
  console.log(
    `\nNode ${process.version}, ${availableParallelism()} cores, load ${digits(load)} before\n\n${table(
      ['recorder', 'entries/s as run', 'CPU µs/entry', 'entries per CPU s', 'MB, 1st half', 'MB, 2nd half', 'MB, peak'],
      rows,
    )}\n\n${targetTable(targets)}`,
  );
});

function encryptIn({ home, folder }: World): void {
  const key = join(folder, 'wrapping.key');
  writeFileSync(key, randomBytes(32).toString('hex'), { mode: 0o600 });
  mkdirSync(join(home, '.config', 'sworn'), { recursive: true });
  writeFileSync(join(home, '.config', 'sworn', 'sworn.yaml'), JSON.stringify({ encryption: { key: `file:${key}` } }));
}
