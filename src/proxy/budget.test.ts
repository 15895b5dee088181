import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { decodedBytes } from '../limits.ts';
import { BodyBudget } from './budget.ts';

/** Only its length is looked at: no memory is taken. */
const large = { bytes: { length: decodedBytes + 1 } as Uint8Array };
const small = { bytes: new Uint8Array(1) };

test('bodies are decoded one after the other, and none while what came out of those before is not recorded', async () => {
  const budget = new BodyBudget();
  const begun: string[] = [];
  const decode = (name: string, what: { bytes: Uint8Array }): ReturnType<typeof budget.decoded> =>
    budget.decoded(async () => {
      begun.push(name);
      await nextTurn();
      return what;
    });
  const first = decode('first', large);
  const second = decode('second', small);
  const third = decode('third', small);
  const { release } = await first;
  for (let i = 0; i < 10; i++) await nextTurn();
  expect(begun).toEqual(['first']);
  release();
  // once is enough
  release();
  expect((await second).decoded).toBe(small);
  await third;
  expect(begun).toEqual(['first', 'second', 'third']);
});

test('one that cannot be decoded keeps none of the others', async () => {
  const budget = new BodyBudget();
  await expect(budget.decoded(() => Promise.reject(new Error('damaged')))).rejects.toThrow('damaged');
  expect((await budget.decoded(() => Promise.resolve(small))).decoded).toBe(small);
});
