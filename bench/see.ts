/**
 * `npm run bench:see`: how fast a ledger becomes rows, on one core and without free text, and how long the questions of a dashboard take over all of them.
 * `--short` for 100,000 entries instead of 1,000,000; `--ledger DIR` for one that is there.
 */
import { rmSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Paging, Range } from '../src/analysis/views.ts';
import { Catalog } from '../src/catalog/catalog.ts';
import { CatalogRows } from '../src/catalog/queries.ts';
import { nodeCrypto } from '../src/crypto-node.ts';
import { identityOf } from '../src/readers/identity.ts';
import { digits, isReached, median, quantile, table, targetTable, type Target } from './figures.ts';
import { fill } from './fill.ts';
import { inWorld, type World } from './world.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    entries: { type: 'string' },
    ledger: { type: 'string' },
  },
});
const entries = Number(values.entries ?? (values.short ? 100_000 : 1_000_000));
const rounds = 20;

/** Makes the rows of a ledger: entries for each second of CPU time, and of the clock. */
async function rowsOf(ledger: string, path: string): Promise<{ entries: number; aCpuSecond: number; aSecond: number }> {
  const catalog = await Catalog.open(ledger, { path, analysis: { crypto: nodeCrypto }, isSearchable: false });
  const cpu = process.cpuUsage();
  const from = performance.now();
  let taken = 0;
  await catalog.catchUp((progress) => (taken += progress.entries));
  const { user, system } = process.cpuUsage(cpu);
  catalog.close();
  return { entries: taken, aCpuSecond: taken / ((user + system) / 1e6), aSecond: (taken / (performance.now() - from)) * 1000 };
}

/** What pages ask, by name; each is asked often, with a place in the list that differs. */
function questionsOf(rows: CatalogRows): [string, (round: number) => unknown][] {
  const first = rows.calls({}, { limit: 1 }).rows[0]!;
  const last = rows.calls({}, { limit: 1, sort: '-beganAt' }).rows[0]!;
  const { total } = rows.calls({}, { limit: 1 });
  const from = Date.parse(first.beganAt);
  const spanMs = Date.parse(last.beganAt) - from;
  const at = (part: number): string => new Date(from + spanMs * part).toISOString();
  const part = (round: number): Range => ({ since: at(round / rounds / 2), until: at(0.3 + round / rounds / 2) });
  const page = (round: number, more: Paging = {}): Paging => ({ offset: Math.floor((total * round) / rounds / 200) * 100, limit: 100, ...more });
  const { session } = first;
  return [
    ['overview', () => rows.overview({})],
    ['overview of a time', (round) => rows.overview(part(round))],
    ['overview of a session', () => rows.overview({ session })],
    ['overview of a filter', () => rows.overview({ filter: 'effect:unknown -outcome:error' })],
    ['timeline', () => rows.timeline({}, 120)],
    ['timeline of a time', (round) => rows.timeline(part(round), 120)],
    ['sessions', () => rows.sessions({}, { sort: '-openedAt', limit: 100 })],
    ['calls, a page', (round) => rows.calls({}, page(round))],
    ['calls, newest', () => rows.calls({}, { sort: '-beganAt', limit: 100 })],
    ['calls, slowest', (round) => rows.calls({}, page(round, { sort: '-durationUs' }))],
    ['calls by tool', (round) => rows.calls({}, page(round, { sort: 'target' }))],
    ['calls of a session', (round) => rows.calls({ session }, { offset: round * 100, limit: 100 })],
    ['calls of a tool in a time', (round) => rows.calls({ ...part(round), filter: 'tool:echo*' }, { limit: 100 })],
    ['entries, a page', (round) => rows.entries({}, page(round))],
    ['entries of a filter', (round) => rows.entries({ filter: 'direction:s2c outcome:ok' }, page(round))],
    ['entries by size', () => rows.entries({}, { sort: '-sizeBytes', limit: 100 })],
    ['tools', () => rows.tools({}, {})],
    ['tools of a time', (round) => rows.tools(part(round), {})],
    ['entities', () => rows.entities({}, {})],
    ['matrix', () => rows.matrix({}, {})],
    ['findings', () => rows.findings({}, {})],
    ['one call', (round) => rows.call(first.ledger, first.index + round)],
  ];
}

async function main(world: World): Promise<void> {
  const ledger = values.ledger ?? (await fill(world, 'observe', entries)).ledger;
  const path = join(world.folder, 'catalog.sqlite');
  const made = await rowsOf(ledger, path);
  const rows = new CatalogRows([{ ledger: (await identityOf(ledger)).id, path }]);
  const asked = questionsOf(rows).map(([name, ask]) => {
    ask(0);
    const ms: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const began = performance.now();
      ask(round);
      ms.push(performance.now() - began);
    }
    return { name, medianMs: median(ms), p95Ms: quantile(ms, 0.95) };
  });
  rows.close();
  rmSync(path, { force: true });
  const slowest = asked.toSorted((a, b) => b.p95Ms - a.p95Ms)[0]!;
  const targets: Target[] = [
    { name: 'rows made', figure: made.aCpuSecond, limit: 15_000, want: 'at least', unit: 'entries for each second of CPU' },
    { name: 'slowest question, p95', figure: slowest.p95Ms, limit: 100, want: 'at most', unit: 'ms', note: slowest.name },
  ];
  if (values.json) {
    console.log(JSON.stringify({ ...made, asked, cores: availableParallelism(), load: loadavg()[0], targets }));
  } else {
    console.log(
      `${digits(made.entries)} entries, ${availableParallelism()} cores, load ${digits(loadavg()[0]!)}; rows made: ${digits(made.aSecond)} entries/s\n`,
    );
    console.log(
      table(
        ['question', 'median ms', 'p95 ms'],
        asked.map((one) => [one.name, one.medianMs, one.p95Ms]),
      ),
    );
    console.log(`\n${targetTable(targets)}`);
  }
  if (!targets.every(isReached)) process.exitCode = 1;
}

await inWorld(main);
