import fc from 'fast-check';
import { expect, test } from 'vitest';
import { difference } from '../../ui/difference.ts';

const text = fc.array(fc.constantFrom('a', 'b', 'c', 'd', ''), { maxLength: 40 });

test('both texts stand in a difference whole and in order, and what is equal is called so', () => {
  fc.assert(
    fc.property(text, text, (a, b) => {
      const all = difference(a, b);
      expect(all.flatMap(({ left }) => left ?? [])).toEqual(a);
      expect(all.flatMap(({ right }) => right ?? [])).toEqual(b);
      for (const { left, right, isSame } of all) if (isSame) expect(left).toBe(right);
    }),
    { numRuns: 500 },
  );
});

test('only what was changed is marked', () => {
  const before = ['{', '  "a": 1,', '  "b": 2', '}'];
  const after = ['{', '  "a": 1,', '  "c": 0,', '  "b": 3', '}'];
  expect(difference(before, after).filter(({ isSame }) => isSame).length).toBe(3);
  expect(difference(before, before).every(({ isSame }) => isSame)).toBe(true);
});

test('texts that have nothing in common take no time', () => {
  const many = (word: string): string[] => Array.from({ length: 5_000 }, (_, n) => `${word} ${n}`);
  const all = difference(many('a'), many('b'));
  expect(all.length).toBe(5_000);
});

test('what is very long is compared only so far', () => {
  const lines = Array.from({ length: 200_000 }, (_, i) => `${i}`);
  const all = difference(lines, []);
  expect([all.length, all.at(-1)!.left]).toEqual([5_001, '…']);
});
