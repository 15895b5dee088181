/** Requests that wait for a person, as rows and in the terminal: who let them happen, after how long, and what became of those that nobody did. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { matchesCall, parseFilter } from '../../src/analysis/filter.ts';
import type { MemoryRows } from '../../src/analysis/projection.ts';
import { showCalls } from '../../src/cli/calls.ts';
import { logCommand } from '../../src/cli/log.ts';
import type { Output } from '../../src/cli/output.ts';
import { sessionsCommand } from '../../src/cli/sessions.ts';
import { showCommand } from '../../src/cli/show.ts';
import { Fixture, fixtureKey, fixtureLedgerId, fixtureOrigin, writeFixture } from '../ledger-fixture.ts';
import { rowsOfLedger } from './analysed.ts';
import { askedLedger } from './asked-ledger.ts';

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function ledgerOf(): ReturnType<typeof askedLedger> {
  const made = askedLedger();
  folders.push(made.path);
  return made;
}

function callsOf(rows: MemoryRows, index: Record<string, number>): Record<string, unknown> {
  const calls = new Map(rows.rows('calls').map((row) => [row.index, row]));
  return Object.fromEntries(
    Object.entries(index)
      .filter(([what]) => !what.endsWith('approval'))
      .map(([what, at]) => {
        const { state, approvedBy, approval } = calls.get(at)!;
        return [what, [state, approvedBy ?? '', approval?.decision ?? '', approval?.uid ?? '']];
      }),
  );
}

async function said(run: (output: Output) => Promise<number>): Promise<string> {
  let text = '';
  const output: Output = { out: (part) => void (text += part), err: () => undefined, isTTY: false, color: false, columns: 200 };
  expect(await run(output)).toBe(0);
  return text;
}

test('rows say who let a call happen, and what nobody let happen is refused', async () => {
  const { path, index } = ledgerOf();
  const rows = await rowsOfLedger(path);
  expect(callsOf(rows, index)).toEqual({
    approved: ['ok', 'person', 'approved', 1001],
    denied: ['blocked', '', 'denied', 1001],
    'timed-out': ['blocked', '', 'timed-out', ''],
    cancelled: ['cancelled', '', 'cancelled', ''],
    lost: ['blocked', '', 'lost', ''],
    self: ['ok', 'person', 'approved', 1001],
    // a person decided, so it says so of what reads, too
    reading: ['ok', 'person', 'approved', 1001],
    rule: ['ok', 'rule', '', ''],
    nobody: ['ok', 'nobody', '', ''],
    waits: ['open', '', '', ''],
  });
  const { approval } = rows.rows('calls').find((row) => row.index === index['denied'])!;
  expect(approval).toMatchObject({
    index: index['denied approval'],
    request: index['denied'],
    waitedMs: 8140,
    how: 'command',
    reason: 'not \u001b[31mthis month',
  });
  const entries = new Map(rows.rows('entries').map((row) => [row.index, row]));
  expect(entries.get(index['approved approval']!)).toMatchObject({
    kind: 'approval',
    call: index['approved'],
    summary: `entry ${index['approved']} approved by uid 1001 (command) after 8.1 s`,
  });
  expect(rows.rows('sessions')[0]).toMatchObject({ asked: 8, blocked: 3, calls: 10 });
  const tools = Object.fromEntries(rows.rows('tools').map(({ tool, blocked }) => [tool, blocked]));
  expect(tools).toMatchObject({ pay_approved: 0, pay_denied: 1, 'pay_timed-out': 1, pay_lost: 1, pay_cancelled: 0 });
  // one that was approved is no write that nobody let happen
  expect(
    rows
      .rows('findings')
      .filter(({ rule }) => rule === 'unapproved-write')
      .map(({ tool }) => tool),
  ).toEqual([]);
});

test('filters know who approved, and that a person was asked', async () => {
  const { path, index } = ledgerOf();
  const rows = await rowsOfLedger(path);
  const found = (line: string): string[] => {
    const filter = parseFilter(line, Date.now());
    const names = new Map(Object.entries(index).map(([what, at]) => [at, what]));
    return rows
      .rows('calls')
      .filter((row) => matchesCall(filter, row))
      .map((row) => names.get(row.index)!);
  };
  expect(found('approvedBy:person')).toEqual(['approved', 'self', 'reading']);
  expect(found('approvedBy:nobody')).toEqual(['nobody']);
  expect(found('approvedBy:rule approvedBy:nobody')).toEqual(['rule', 'nobody']);
  expect(found('verdict:ask -approvedBy:person')).toEqual(['denied', 'timed-out', 'cancelled', 'lost', 'waits']);
  expect(found('outcome:blocked')).toEqual(['denied', 'timed-out', 'lost']);
  expect(() => parseFilter('approvedBy:me', 0)).toThrow('is not one of nobody, rule, person');
});

test('the terminal says it in words', async () => {
  const { path, index } = ledgerOf();
  const calls = await said((output) => showCalls({}, output, [path], undefined));
  const lines = calls.split('\n').map((line) => line.replace(/^ *\d+ \S+ \S+ +/, '').replace(/ {2,}/g, ' '));
  expect(lines.filter((line) => line.startsWith('hr '))).toEqual([
    'hr pay_approved write ok 12 µs approved by uid 1001 (command) after 8.1 s',
    'hr pay_denied write blocked denied by uid 1001 (command) after 8.1 s',
    'hr pay_timed-out write blocked timed out: nobody decided after 8.1 s',
    'hr pay_cancelled write cancelled cancelled by its sender before anybody decided after 8.1 s',
    'hr pay_lost write blocked lost: its connection ended, or the recorder was started again, before anybody decided after 8.1 s',
    "hr pay_self write ok 12 µs approved by uid 1001 (command), with the agent's own account after 8.1 s",
    'hr pay_reading read ok 12 µs approved by uid 1001 (command) after 8.1 s',
    'hr book write ok 12 µs approved by a rule',
    'hr note write ok 12 µs approved by nobody',
    'hr pay_waits write waiting waits for a person (pay)',
  ]);
  const people = await said((output) => showCalls({ approvedBy: 'person', json: true }, output, [path], undefined));
  expect(
    people
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { target: string }).target),
  ).toEqual(['pay_approved', 'pay_self', 'pay_reading']);
  const log = await said((output) => logCommand({ ledger: path }, output));
  expect(log).toContain('a person is asked by pay: money');
  expect(log).toContain(`entry ${index['denied']} denied by uid 1001 (command) after 8.1 s: not \\x1b[31mthis month`);
  expect(await said((output) => logCommand({ ledger: path, verdict: 'ask', json: true }, output))).toMatch(/^(?:.*"verdict":"ask".*\n){8}$/);
  expect(await said((output) => sessionsCommand({ ledger: path, tools: true }, output))).toContain('a person was asked about 8 requests');
});

test('a record that waited says what became of it, and the decision names its record', async () => {
  const { path, index } = ledgerOf();
  const shown = (what: string): Promise<string> => said((output) => showCommand({ ledger: path, index: index[what]! }, output));
  expect(await shown('approved')).toContain(`approved by uid 1001 (command) after 8.1 s: entry ${index['approved approval']}`);
  expect(await shown('approved')).toMatch(/reply: entry \d+, ok/);
  const denied = await shown('denied');
  expect(denied).toContain(`denied by uid 1001 (command) after 8.1 s: entry ${index['denied approval']}`);
  expect(denied).toMatch(/answered in its place by sworn: entry \d+, error 4030\n {2}not delivered/);
  expect(await shown('lost')).toMatch(/before anybody decided after 8\.1 s: entry \d+\n {2}not delivered/);
  expect(await shown('waits')).toContain('waits for a person: sworn approvals');
  const decision = await shown('self approval');
  expect(decision).toContain(`about: entry ${index['self']}`);
  expect(decision).toContain('it may be the agent itself');
});

test('pins are told in words', async () => {
  const fixture = new Fixture();
  const { vkey } = fixtureKey(fixtureOrigin);
  fixture.add({ kind: 'start', ledger: fixtureLedgerId, origin: fixtureOrigin, vkey, recorder: { version: '0', uid: 1000, pid: 7 } });
  const pin = { kind: 'policy', server: 'hr', transport: 'stdio', tool: 'pay\u202e', definition: '5e'.repeat(32) };
  fixture.add({ ...pin, act: 'pin', source: 'list' });
  fixture.add({ ...pin, act: 'drift', change: 'changed', definition: '6f'.repeat(32), previous: '5e'.repeat(32) });
  const { definition: _, ...gone } = pin;
  fixture.add({ ...gone, act: 'drift', change: 'gone' });
  fixture.add(
    { ...pin, act: 'accept', definition: '6f'.repeat(32), previous: '5e'.repeat(32), by: { uid: 1000, pid: 9 }, selfAdministered: true },
    { reason: 'looked at' },
  );
  const path = mkdtempSync(join(tmpdir(), 'sworn-pins-'));
  folders.push(path);
  writeFixture(fixture.files(), path);
  expect(await said((output) => logCommand({ ledger: path }, output))).toMatch(
    /tool changed: hr\/pay\\u\{202e\} is 6f6f6f6f…, accepted was 5e5e5e5e…\n/,
  );
  const summaries = (await rowsOfLedger(path)).rows('entries').map(({ summary }) => summary);
  expect(summaries.slice(1)).toEqual([
    'tool pinned: hr/pay\u202e',
    'tool changed: hr/pay\u202e',
    'tool not listed any more: hr/pay\u202e',
    'tool accepted: hr/pay\u202e',
  ]);
});
