import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const bin = join(import.meta.dirname, '..', 'bin', 'sworn.mjs');
const home = mkdtempSync(join(tmpdir(), 'sworn-recorder-cli-'));
const ledger = join(home, 'ledger');
const env = { ...process.env, HOME: home };

function recorder(action: string, ...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [bin, 'recorder', action, '--ledger', ledger, ...words], { encoding: 'utf8', env });
}

afterAll(() => {
  recorder('stop');
  rmSync(home, { recursive: true, force: true });
});

test('start, look, stop', async () => {
  expect(recorder('status')).toMatchObject({ status: 3, stdout: '' });
  expect(recorder('status').stderr).toMatch(/^sworn: error: no recorder listens at .*\nsworn: hint: /);

  expect(recorder('start')).toMatchObject({ status: 0, stderr: '' });
  expect(recorder('start').stdout).toContain('listens already');

  const tap = spawn(process.execPath, [bin, 'run', '--ledger', ledger, '--name', 'echo', '--client', 'me\u001b[31m', '--', 'cat'], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  tap.stdin.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n');
  await new Promise((resolve) => tap.stdout.once('data', resolve));

  const { status, stdout } = recorder('status');
  expect(status).toBe(0);
  expect(stdout).toContain(`ledger     ${ledger}\n`);
  expect(stdout).toMatch(/^custody {4}same-user: the recorder runs as the agent.*\n {11}.*sudo -u /m);
  expect(stdout).toMatch(/^echo +me\\x1b\[31m +same-user +commit +\d+ +\d+ +attached$/m);
  expect(stdout).not.toContain('\u001b');
  const [lines, json] = [
    recorder('status', '--json').stdout.trimEnd().split('\n'),
    JSON.parse(recorder('status', '--json').stdout) as Record<string, unknown>,
  ];
  expect(lines).toHaveLength(1);
  expect(json).toMatchObject({ ledger, custody: 'same-user', recordable: true });

  tap.stdin.end();
  await new Promise((resolve) => tap.once('exit', resolve));
  expect(recorder('stop')).toMatchObject({ status: 0, stdout: `the recorder of ${ledger} has stopped\n` });
  // stopped means that the last entry is published
  expect(Number(readFileSync(join(ledger, 'log', 'checkpoint'), 'utf8').split('\n')[1])).toBeGreaterThan(4);
  expect(recorder('stop').status).toBe(3);
});

test('a recorder that cannot start says why, with its own exit status', () => {
  const foreign = join(home, 'foreign');
  mkdirSync(foreign);
  writeFileSync(join(foreign, 'payload'), 'not a folder');
  const { status, stderr } = spawnSync(process.execPath, [bin, 'recorder', 'start', '--ledger', foreign], { encoding: 'utf8', env });
  expect(stderr).toMatch(/^sworn: error: the ledger .*foreign.*\nsworn: hint: .*\n$/);
  expect(status).toBeGreaterThan(1);
  expect(recorder('start', '--mode', 'sometimes')).toMatchObject({ status: 2 });
});
