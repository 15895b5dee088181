/** Commands that hold a key, when they do not do what they should. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { askCommand } from './remote-key.ts';

let folder: string;
let started: number | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sworn-remote-key-'));
  started = undefined;
});
afterEach(() => {
  if (started !== undefined) process.kill(started, 'SIGKILL');
  rmSync(folder, { recursive: true });
});

it('does not wait for what a silent command has started, which goes on holding its output', async () => {
  const pidFile = join(folder, 'pid');
  const asked = askCommand(['sh', '-c', 'sleep 100 & echo $! > "$0"; wait', pidFile], Buffer.from('x'), 32);
  await expect(asked).rejects.toThrow('sh gave no answer within 10000 ms');
  started = Number(readFileSync(pidFile, 'utf8'));
  // it is still there
  expect(process.kill(started, 0)).toBe(true);
}, 60_000);

it('takes an answer, and none from a command that fails', async () => {
  expect((await askCommand(['base64'], Buffer.from('a key'), 32)).toString()).toBe('a key');
  await expect(askCommand(['sh', '-c', 'base64; exit 3'], Buffer.from('a key'), 32)).rejects.toThrow('sh ended with status 3 and gave no answer');
  await expect(askCommand([join(folder, 'none')], Buffer.from('a key'), 32)).rejects.toThrow('ENOENT');
});
