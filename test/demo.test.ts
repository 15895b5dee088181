import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { rowsOfLedger } from './analysis/analysed.ts';

const root = join(import.meta.dirname, '..');
const scratch = mkdtempSync(join(tmpdir(), 'sworn-demo-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function demo(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [join(root, 'bin', 'sworn.mjs'), 'demo', ...words], {
    encoding: 'utf8',
    env: { ...process.env, HOME: scratch, TMPDIR: scratch },
  });
}

test('the demo comes out as told, and touches nobody’s keys', async () => {
  const ledger = join(scratch, 'sworn-demo-ledger');
  const { status, stdout, stderr } = demo('--ledger', ledger);
  expect(stdout).toContain('The record holds, and the change was found');
  expect(stdout).toMatch(/get_pay_info e-201 +\{"id":"e-201"/);
  expect(stdout).toMatch(/get_employee e-999 +error: no employee e-999/);
  expect(stdout).toMatch(/\(exit status 0\)[\s\S]*One byte of .*entries.* is changed[\s\S]*\(exit status 1\)/);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const [, report] = /open it in a browser +(\S+report\.html)$/m.exec(stdout)!;
  expect(existsSync(report!)).toBe(true);
  // what somebody has to answer, and nothing else
  const rows = await rowsOfLedger(ledger);
  expect(rows.rows('findings').map(({ title, severity }) => [title, severity])).toEqual([
    ['Why was salary data of someone in another department read?', 'medium'],
    ['Who authorised the time-off submission?', 'medium'],
    ['Was the lookup of an employee who does not exist a hallucination?', 'medium'],
  ]);
  expect(rows.rows('sessions').length).toBe(2);
  // what a colour or a cursor movement would start with
  expect(stdout).not.toContain('\u001b');
  expect(readdirSync(scratch).filter((name) => !name.startsWith('sworn-demo-') && name !== '.cache' && name !== 'node-compile-cache')).toEqual([]);
});

test('a folder that holds something is not used', () => {
  const used = mkdtempSync(join(scratch, 'sworn-demo-used-'));
  writeFileSync(join(used, 'mine'), '');
  expect(demo('--ledger', used)).toMatchObject({ status: 2, stderr: expect.stringContaining('is not empty') as string });
  expect(readdirSync(used)).toEqual(['mine']);
});
