/** `sworn keys` as a person uses it, with a real recorder; and what `sworn verify` makes of it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';

const bin = join(import.meta.dirname, '..', 'bin', 'sworn.mjs');
const home = mkdtempSync(join(tmpdir(), 'sworn-keys-cli-'));

function sworn(words: string[], input = ''): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [bin, ...words], { encoding: 'utf8', env: { ...process.env, HOME: home }, input });
}

afterAll(() => {
  sworn(['recorder', 'stop']);
  rmSync(home, { recursive: true, force: true });
});

test('a key is shown, changed and retired, and whoever pinned the first goes on verifying', () => {
  expect(sworn(['keys', 'show']).stderr).toContain('there is no ledger');
  const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}\n';
  expect(sworn(['run', '--', 'cat'], ping).status).toBe(0);
  const first = sworn(['keys']).stdout;
  expect(first).toMatch(/^origin {7}sworn\.invalid\/[0-9a-f]{32}$/m);
  expect(first).toMatch(/^fingerprint {2}(?:[0-9a-f]{4} ){4} {2}compare it by phone/m);
  expect(first).toMatch(/^since {8}entry 0, \d{4}-/m);
  expect(sworn(['verify']).status).toBe(0);

  const rotated = JSON.parse(sworn(['keys', 'rotate', '--json']).stdout) as { vkey: string; older: string[] };
  expect(first).toContain(rotated.older[0]);
  const both = sworn(['keys', 'show']).stdout;
  expect(both).toContain(`key          ${rotated.vkey}\n`);
  expect(both).toContain(`beside it    ${rotated.older[0]}`);
  expect(sworn(['keys', 'retire']).stdout).toMatch(/^it signs alone$/m);
  expect(sworn(['keys', 'show']).stdout).toMatch(/^before it .*\nretired {6}the older ones, /m);

  expect(sworn(['run', '--', 'cat'], ping).status).toBe(0);
  expect(sworn(['recorder', 'stop']).status).toBe(0);
  // what is to be put into a trust file has signed what is proven
  const proof = join(home, 'one.tlog-proof');
  const made = sworn(['prove', '1', '-o', proof]);
  expect(made.stdout).toContain(`log ${rotated.vkey}\n`);
  writeFileSync(join(home, 'trust'), `log ${rotated.vkey}\nquorum none\n`);
  expect(sworn(['verify', proof, '--policy', join(home, 'trust')]).status).toBe(0);

  const verified = sworn(['verify']);
  expect(verified).toMatchObject({ status: 0 });
  expect(verified.stdout).toContain('the one before endorses it');
  expect(sworn(['log']).stdout).toMatch(/key: [0-9a-f]{8} signs too, endorsed by the one before, by uid \d+, pid \d+$/m);

  const wrong = sworn(['keys', 'rotate', '--command', 'not json', '--public-key', 'AAAA']);
  expect(wrong.status).toBe(2);
  expect(wrong.stderr).toMatch(/^sworn: error: --command is a JSON list of words.*\nsworn: hint: /);
});
