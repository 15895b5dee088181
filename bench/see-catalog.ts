/** Of `bench:see`: how fast a ledger becomes rows, on one core and without free text, and how long the questions of a dashboard take over all of them. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Paging, Range } from '../src/analysis/views.ts';
import { Catalog } from '../src/catalog/catalog.ts';
import { CatalogRows } from '../src/catalog/queries.ts';
import { nodeCrypto } from '../src/crypto-node.ts';
import { identityOf } from '../src/readers/identity.ts';
import { digits, median, quantile, table, type Target } from './figures.ts';
import { fill } from './fill.ts';
import type { World } from './world.ts';

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

export interface CatalogFigures {
  entries: number;
  aCpuSecond: number;
  aSecond: number;
  asked: { name: string; medianMs: number; p95Ms: number }[];
}

/** `ledger`: one that is there, instead of a new one with so many entries. */
export async function catalogFigures(world: World, entries: number, ledger?: string): Promise<CatalogFigures> {
  const folder = ledger ?? (await fill(world, 'observe', entries)).ledger;
  const path = join(world.folder, 'catalog.sqlite');
  const made = await rowsOf(folder, path);
  const rows = new CatalogRows([{ ledger: (await identityOf(folder)).id, path }]);
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
  for (const end of ['', '-wal', '-shm', '.lock']) rmSync(`${path}${end}`, { force: true });
  return { ...made, asked };
}

export function catalogTargets({ entries, aCpuSecond, aSecond, asked }: CatalogFigures): Target[] {
  const slowest = asked.toSorted((a, b) => b.p95Ms - a.p95Ms)[0]!;
  return [
    {
      name: 'rows of a ledger',
      figure: aCpuSecond,
      limit: 15_000,
      want: 'at least',
      unit: 'entries per CPU s',
      note: `${digits(aSecond)} entries/s as run`,
    },
    {
      name: 'slowest question, p95',
      figure: slowest.p95Ms,
      limit: 100,
      want: 'at most',
      unit: 'ms',
      note: `${slowest.name}, over ${digits(entries)} entries`,
    },
  ];
}

export function catalogTable({ asked }: CatalogFigures): string {
  return table(
    ['question', 'median ms', 'p95 ms'],
    asked.map((one) => [one.name, one.medianMs, one.p95Ms]),
  );
}
