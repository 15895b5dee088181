import { expect, test } from 'vitest';
import { approvalsUnlockedMs, dashboardSessions, unlockFailures } from '../limits.ts';
import { AnswerError } from './parameters.ts';
import { leastSecretChars, makeSecret, readSecretLine, Unlocking } from './unlocking.ts';
import type { Viewer } from './viewers.ts';

const secret = 'kxqm-2hxd-9wzt-4bcf';
const mira: Viewer = { id: '0'.repeat(16), how: 'dashboard' };
const jonas: Viewer = { id: '1'.repeat(16), how: 'dashboard' };
let nowMs = 0;
const unlocking = (): Unlocking => new Unlocking(secret, () => nowMs);

function statusOf(act: () => unknown): number {
  try {
    act();
  } catch (error) {
    if (error instanceof AnswerError) return error.status;
    throw error;
  }
  return 200;
}

test('the secret gives a key, of the login that typed it alone', () => {
  const of = unlocking();
  const { key, forMs } = of.unlock(mira, secret);
  expect(forMs).toBe(approvalsUnlockedMs);
  expect(statusOf(() => of.use(mira, key))).toBe(200);
  expect(statusOf(() => of.use(jonas, key))).toBe(403);
  expect(statusOf(() => of.use(mira, `${key}x`))).toBe(403);
  // as people copy it
  expect(statusOf(() => of.unlock(mira, ' KXQM 2hxd9wzt-4bcf '))).toBe(200);
  // a program's token decides nothing
  expect(statusOf(() => of.unlock({ ...mira, how: 'api' }, secret))).toBe(403);
});

test('a key ends when nothing was decided with it for so long', () => {
  const of = unlocking();
  const { key } = of.unlock(mira, secret);
  nowMs += approvalsUnlockedMs - 1;
  of.use(mira, key);
  nowMs += approvalsUnlockedMs - 1;
  of.use(mira, key);
  nowMs += approvalsUnlockedMs;
  expect(statusOf(() => of.use(mira, key))).toBe(403);
});

test('guessing is slow, and holds up nobody else', () => {
  const of = unlocking();
  for (let i = 0; i < unlockFailures.most; i++) expect(statusOf(() => of.unlock(mira, `${secret}x`))).toBe(403);
  expect(statusOf(() => of.unlock(mira, `${secret}x`))).toBe(429);
  // not even with the right one: else a guesser would know
  expect(statusOf(() => of.unlock(mira, secret))).toBe(429);
  expect(statusOf(() => of.unlock(jonas, secret))).toBe(200);
  nowMs += 1_000 / unlockFailures.perS;
  expect(statusOf(() => of.unlock(mira, secret))).toBe(200);
});

test('keys are bounded: the longest unused goes', () => {
  const of = unlocking();
  const first = of.unlock(mira, secret).key;
  const second = of.unlock(mira, secret).key;
  of.use(mira, first);
  for (let i = 0; i < 2 * dashboardSessions - 1; i++) of.unlock(jonas, secret);
  expect(statusOf(() => of.use(mira, second))).toBe(403);
  expect(statusOf(() => of.use(mira, first))).toBe(200);
});

test('secrets are made for typing, and files are read strictly', () => {
  const made = Array.from({ length: 50 }, makeSecret);
  expect(new Set(made).size).toBe(50);
  for (const one of made) expect(one).toMatch(/^([2-9a-hj-km-np-z]{4}-){3}[2-9a-hj-km-np-z]{4}$/);
  expect(readSecretLine(`${'s'.repeat(leastSecretChars)} \nsecond\n`)).toBe('s'.repeat(leastSecretChars));
  for (const odd of ['', '\n', 'short', '-'.repeat(40), ' '.repeat(40)]) expect(readSecretLine(odd)).toBeUndefined();
});
