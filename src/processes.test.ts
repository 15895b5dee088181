import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { descendsFrom, isChildOf } from './processes.ts';

test.runIf(process.platform === 'linux')('whose child a process is', () => {
  expect(isChildOf(process.pid, process.ppid)).toBe(true);
  expect(isChildOf(process.ppid, process.pid)).toBe(false);
  expect(isChildOf(2 ** 31 - 1, process.pid)).toBeUndefined();
});

test.runIf(process.platform === 'linux')('a process far below another one is found to be below it', async () => {
  // each waits for the next one, so that none takes the place of its parent
  const nested = 'if [ "$1" -gt 0 ]; then sh -c "$0" "$0" $(($1 - 1)); exit $?; else echo $$; read line; fi';
  const top = spawn('sh', ['-c', nested, nested, '80'], { stdio: ['pipe', 'pipe', 'ignore'] });
  try {
    const deepest = Number(await new Promise<Buffer>((done) => top.stdout.once('data', done)));
    expect(deepest).not.toBe(top.pid);
    expect(descendsFrom(deepest, new Set([top.pid!]))).toBe(true);
    expect(descendsFrom(top.pid!, new Set([deepest]))).toBe(false);
  } finally {
    top.stdin.end('\n');
  }
});
