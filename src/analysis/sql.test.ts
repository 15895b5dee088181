import { expect, test } from 'vitest';
import { isSql, tablesIn } from './sql.ts';

const tables = (text: string): string =>
  tablesIn(text)
    .map(({ name, kind }) => `${kind} ${name}`)
    .join(', ');

test.each([
  ['select * from employees', 'read employees'],
  [
    'SELECT e.id FROM hr.employees AS e, "pay roll" p JOIN [departments] d ON d.id = e.department',
    'read hr.employees, read pay roll, read departments',
  ],
  ['insert into audit (id, at) select id, now() from orders o where o.total > 3', 'write audit, read orders'],
  ["update only accounts set owner = (select id from users where name = 'from nowhere')", 'write accounts, read users'],
  ['delete from `sessions` where id in (select id from stale)', 'write sessions, read stale'],
  ['drop table if exists public.pay, bonus cascade', 'write public.pay, write bonus'],
  ['create temporary table copy as select * from source', 'write copy, read source'],
  ['truncate table logs', 'write logs'],
  ['truncate logs', 'write logs'],
  ['with recent as (select * from events) select * from recent join users using (id)', 'read events, read users'],
  ['select extract(year from hired), trim(both from name) from staff', 'read staff'],
  ['select * from (select 1) x', ''],
  ['select * from generate_series(1, 3), unnest(array[1])', ''],
  ['select a is distinct from b from pairs for update', 'read pairs'],
  ['insert into t values (1) on conflict (id) do update set a = 1', 'write t'],
  ['insert into t values (1) on duplicate key update a = 1', 'write t'],
  ["-- from comments\nselect /* from here */ 'it''s from there' from real", 'read real'],
  ['select 1', ''],
  ["select * from 'unclosed", ''],
])('%s', (text, expected) => {
  expect(isSql(text)).toBe(true);
  expect(tables(text)).toBe(expected);
});

test.each(['engineer', 'where is the table?', 'updated rows from yesterday', '{ user { id } }'])('%s is no SQL', (text) => {
  expect(isSql(text)).toBe(false);
});

test.each(['from a, ', 'into ', 'from if ', 'table a, ', 'with a as (', 'extract(', '("'])('a long text of %j holds nobody up', (unit) => {
  // read again from each of its beginnings, it would outlast the time that a test has
  expect(Array.isArray(tablesIn(`select ${unit.repeat(100_000)}`))).toBe(true);
});
