import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

/** A process that takes the lock of one kind, says so, and holds it until it is killed. */
function holder(kind: 'flock' | 'sqlite', ledger: string, waitMs: number): { process: ChildProcess; word: Promise<string> } {
  const script = `
    const { takeLock } = await import(${JSON.stringify(new URL('./lock.ts', import.meta.url).href)});
    const { loadNative } = await import(${JSON.stringify(new URL('./native.ts', import.meta.url).href)});
    const native = ${kind === 'flock' ? 'loadNative()' : "{ missing: 'left out' }"};
    try { const lock = await takeLock(${JSON.stringify(ledger)}, native, ${waitMs}, '/nonexistent.sock'); console.log(lock.kind); setInterval(() => {}, 1000); }
    catch (error) { console.log(error.code); }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  return { process: child, word: new Promise((done) => child.stdout.once('data', (chunk: Buffer) => done(chunk.toString().trim()))) };
}

let ledger: string;
let held: ChildProcess[];
beforeEach(() => {
  ledger = mkdtempSync(join(tmpdir(), 'sworn-lock-'));
  held = [];
});
afterEach(() => {
  for (const child of held) child.kill('SIGKILL');
  rmSync(ledger, { recursive: true, force: true });
});

async function take(kind: 'flock' | 'sqlite', waitMs: number): Promise<string> {
  const { process: child, word } = holder(kind, ledger, waitMs);
  held.push(child);
  return word;
}

it.each([
  ['flock', 'flock'],
  ['flock', 'sqlite'],
  ['sqlite', 'flock'],
  ['sqlite', 'sqlite'],
] as const)('%s first: %s is kept out while it lives, and comes in when it was killed', async (first, second) => {
  expect(await take(first, 5_000)).toBe(first);
  expect(await take(second, 300)).toBe('lock-held');
  const gone = new Promise((done) => held[0]!.once('exit', done));
  held[0]!.kill('SIGKILL');
  await gone;
  expect(await take(second, 10_000)).toBe(second);
});

it('of both kinds at once one gets in', async () => {
  for (let round = 0; round < 3; round++) {
    const words = await Promise.all([take('flock', 2_000), take('sqlite', 2_000)]);
    expect(words.toSorted((a, b) => (a < b ? -1 : 1))).toContain('lock-held');
    expect(words).not.toEqual(['lock-held', 'lock-held']);
    for (const child of held.splice(0)) {
      if (child.exitCode !== null) continue;
      const gone = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await gone;
    }
  }
});
