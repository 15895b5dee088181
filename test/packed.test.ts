import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const scratch = mkdtempSync(join(tmpdir(), 'sworn-packed-test-'));
const environment = { ...process.env, HOME: scratch, TMPDIR: scratch };
const sworn = join(scratch, 'node_modules', 'sworn', 'bin', 'sworn.mjs');
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

// as a user would, but for the scripts (the build is tested elsewhere) and the optional native part (so that nothing comes from outside)
beforeAll(() => {
  execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', scratch], { cwd: root, stdio: 'ignore' });
  const tarball = readdirSync(scratch).find((name) => name.endsWith('.tgz'))!;
  writeFileSync(join(scratch, 'package.json'), '{"private":true}\n');
  execFileSync('npm', ['install', '--offline', '--omit=optional', '--omit=dev', '--no-audit', '--no-fund', `./${tarball}`], {
    cwd: scratch,
    stdio: 'ignore',
  });
});

test('the packed and installed package runs the demo, without development dependencies and without the native part', () => {
  expect(readdirSync(join(scratch, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual(['sworn']);
  const { status, stdout, stderr } = spawnSync(process.execPath, [sworn, 'demo'], { encoding: 'utf8', cwd: scratch, env: environment });
  expect(stdout).toContain('The record holds, and the change was found');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

test('and the other story', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [sworn, 'demo', '--story', 'cover-up'], {
    encoding: 'utf8',
    cwd: scratch,
    env: environment,
  });
  expect(stdout).toContain('So that nothing of this goes unnoticed');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

test('its recorder says which native part is missing', () => {
  const ledger = join(scratch, 'ledger');
  const run = (...words: string[]) =>
    spawnSync(process.execPath, [sworn, ...words, '--ledger', ledger], { encoding: 'utf8', cwd: scratch, env: environment });
  expect(run('recorder', 'start')).toMatchObject({ status: 0 });
  try {
    expect(run('recorder', 'status').stdout).toMatch(/missing +koffi cannot be loaded/);
  } finally {
    expect(run('recorder', 'stop')).toMatchObject({ status: 0 });
  }
});
