import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const scratch = mkdtempSync(join(tmpdir(), 'sworn-cover-up-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

// keys of somebody who only watches the demo
const home = join(scratch, 'home');
const config = join(home, '.config', 'sworn');
const temporary = join(scratch, 'tmp');
mkdirSync(config, { recursive: true });
mkdirSync(temporary);
for (const name of ['known', 'sworn.yaml']) writeFileSync(join(config, name), 'mine\n');

function sworn(words: string[], more: NodeJS.ProcessEnv = {}): { status: number | null; stdout: string; stderr: string } {
  const env: NodeJS.ProcessEnv = { ...process.env, HOME: home, TMPDIR: temporary, FORCE_COLOR: undefined, ...more };
  return spawnSync(process.execPath, [join(root, 'bin', 'sworn.mjs'), ...words], { encoding: 'utf8', env });
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) => join(item.parentPath, item.name).slice(folder.length + 1))
    .filter((name) => !name.startsWith('.cache/') && !name.startsWith('node-compile-cache/'))
    .toSorted();
}

describe('the cover-up', () => {
  const ledger = join(scratch, 'ledger');
  const { status, stdout, stderr } = sworn(['demo', '--story', 'cover-up', '--ledger', ledger]);
  const rows = Object.fromEntries(
    [...stdout.slice(stdout.indexOf('\n5. ')).matchAll(/^ {2}(\S.*?) {2,}(\d.*)$/gm)].map(([, name, cells]) => [name, cells!.trim().split(/ {2,}/)]),
  );
  const dropped = Number(/^ {4}entry (\d+) {2}delivered +query +"DROP TABLE customers" {2}read, by annotation$/m.exec(stdout)?.[1]);

  test('comes out as told', () => {
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.split('\n').length).toBeLessThanOrEqual(70);
    expect(stdout).not.toContain('\u001b');
  });

  test('begins with a refusal and a way around it, both recorded', () => {
    expect(stdout).toMatch(/frozen, entry \d+: writes on server db: code freeze/);
    expect(stdout).toMatch(/execute_sql DROP TABLE customers +error: blocked by policy rule sworn:freeze: code freeze/);
    expect(stdout).toMatch(/ query DROP TABLE customers +customers dropped, 4021 rows/);
    // its refusal stands between the two, and perhaps what a witness said meanwhile
    expect(Number(/entry (\d+) {2}blocked +execute_sql +"DROP TABLE customers"/.exec(stdout)?.[1])).toBeLessThan(dropped - 1);
    const shown = sworn(['show', String(dropped), '--ledger', ledger, '--json', '--payload'], { HOME: scratch });
    expect(JSON.parse(shown.stdout)).toMatchObject({ target: 'query', payload: expect.stringContaining('DROP TABLE customers') as string });
  });

  test('names the entry that was edited, and the one where it was cut', () => {
    expect(stdout).toMatch(new RegExp(`verify edited\\n +nothing kept +exit 1 .*\\bentry ${dropped}\\b`));
    expect(stdout).toMatch(new RegExp(`verify cut\\n +nothing kept +exit 3 .*\\bentry ${dropped}\\b`));
  });

  test('says what only a witness, or what was kept elsewhere, catches', () => {
    expect(rows).toEqual({
      'nothing kept': ['1', '3', '0 unnoticed', '0 unnoticed'],
      'a pin on another machine': ['1', '3', '5', '5'],
      '--policy trust.policy': ['1', '3', '4', '0 unnoticed'],
      '--known seen.checkpoint': ['1', '3', '5', '5'],
    });
    expect(stdout).toMatch(/verify forged\n +nothing kept +exit 0 .*unbroken/);
    expect(stdout).toMatch(/history was rewritten/);
    expect(stdout).toMatch(/REFUSES the checkpoint of \d+ entries: it has cosigned more than this ledger has/);
  });

  test("touches nobody's keys and leaves nothing but the ledger that was asked for", () => {
    expect(filesBelow(home)).toEqual(['.config/sworn/known', '.config/sworn/sworn.yaml']);
    for (const name of ['known', 'sworn.yaml']) expect(readFileSync(join(config, name), 'utf8')).toBe('mine\n');
    expect(filesBelow(temporary)).toEqual([]);
    expect(readdirSync(ledger).toSorted()).toEqual(['log', 'payload', 'run']);
  });
});

test('a story that nobody tells is refused', () => {
  expect(sworn(['demo', '--story', 'other'])).toMatchObject({ status: 2, stderr: expect.stringContaining('hr or cover-up') as string });
  expect(sworn(['demo', '--help']).stdout).toMatch(/--story <story>[\s\S]*cover-up/);
});
