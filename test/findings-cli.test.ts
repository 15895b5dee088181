/** `sworn findings` and `sworn catalog` as processes, over a ledger that a recorder writes; acknowledging is an entry of it. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FindingRow } from '../src/analysis/rows.ts';
import { readEntryAt } from '../src/readers/entries.ts';
import { World, type Finished } from './support-processes.ts';
import { call, closed, sessionOf } from './dashboard/serving.ts';

let world: World;

beforeAll(async () => {
  world = new World('findings');
  const client = sessionOf(world);
  await call(client, 'get_employee', { id: 'E-101' });
  await call(client, 'submit_time_off', { id: 'E-101', salary: 1 });
  await call(client, 'submit_time_off', { id: 'E-102', salary: 2 });
  await closed(client);
});
afterAll(() => world.end());

const findings = (...words: string[]): Finished => world.run(['findings', ...words, '--ledger', world.ledger]);
const rowsOf = ({ stdout }: Finished): FindingRow[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as FindingRow);

test('findings are listed by severity with what proves them, filtered, and acknowledged with an entry', async () => {
  const all = rowsOf(findings('--write', 'submit_*', '--json'));
  expect(all.map(({ rule }) => rule)).toContain('unapproved-write');
  const [row] = all.filter(({ rule }) => rule === 'unapproved-write');
  const { finding, indexes, severity } = row!;
  const listed = findings('--write', 'submit_*');
  expect(listed.status).toBe(0);
  expect(listed.stdout).toContain(`${severity} · `);
  expect(listed.stdout).toContain(`sworn show ${indexes[0]} --ledger ${world.ledger}`);
  expect(world.run(['show', String(indexes[0]), '--ledger', world.ledger]).stdout).toContain('submit_time_off');

  const ids = (...words: string[]): string[] => rowsOf(findings('--write', 'submit_*', '--json', ...words)).map((one) => one.finding);
  expect(ids('--rule', 'unapproved-*')).toEqual(all.filter(({ rule }) => rule === 'unapproved-write').map((one) => one.finding));
  expect(ids('--tool', 'get_*')).not.toContain(finding);
  expect(ids('--tool', 'submit_*')).toContain(finding);
  expect(ids('--until', '1d')).toEqual([]);

  // counted otherwise where it is read, it is no finding
  expect(rowsOf(findings('--read', '*', '--json')).map(({ rule }) => rule)).not.toContain('unapproved-write');

  const acknowledged = findings('ack', finding.slice(0, 8), '--note', 'asked for by payroll', '--write', 'submit_*', '--json');
  expect(acknowledged.stderr).toBe('');
  const { acknowledged: index } = JSON.parse(acknowledged.stdout) as { acknowledged: number };
  const entry = await readEntryAt(world.ledger, index);
  expect(entry!.entry).toMatchObject({ kind: 'access', act: 'acknowledge', finding });
  const again = rowsOf(findings('--write', 'submit_*', '--json')).find((one) => one.finding === finding)!;
  expect(again.acknowledged).toMatchObject({ index, note: 'asked for by payroll' });
  expect(ids('--open')).not.toContain(finding);
  expect(findings('--write', 'submit_*').stdout).toContain(`acknowledged with entry ${index}: asked for by payroll`);
});

test('what cannot be meant is refused with what to do', () => {
  expect(findings('ack')).toMatchObject({ status: 2, stderr: expect.stringContaining('which one?') as unknown });
  expect(findings('ack', '0000')).toMatchObject({ status: 2, stderr: expect.stringContaining('why?') as unknown });
  expect(findings('ack', '0000', '--note', 'x')).toMatchObject({ status: 3, stderr: expect.stringContaining('there is no finding 0000') as unknown });
  expect(findings('--effect', 'all')).toMatchObject({ status: 2, stderr: expect.stringContaining('not one of') as unknown });
  expect(world.run(['findings', '--ledger', join(world.folder, 'none')]).status).toBe(3);
});

test('the catalog is made again, by one command, and is readable by its owner alone', () => {
  const path = join(world.ledger, 'catalog.sqlite');
  expect(existsSync(path)).toBe(true);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const status = (...words: string[]): Record<string, unknown> =>
    JSON.parse(world.run(['catalog', ...words, '--ledger', world.ledger, '--json']).stdout) as Record<string, unknown>;
  const before = status('rebuild');
  expect(before).toMatchObject({ catalog: path, entries: before['size'] });
  expect(before['calls']).toBeGreaterThanOrEqual(3);
  const inode = statSync(path).ino;
  expect(status('rebuild')).toEqual(before);
  expect(status()).toEqual(before);
  expect(inode).toBeGreaterThan(0);
  expect(world.run(['catalog', 'rebuild', '--ledger', world.ledger, '--catalog', join(world.folder, 'other.sqlite')]).status).toBe(0);
  expect(existsSync(join(world.folder, 'other.sqlite'))).toBe(true);
});
