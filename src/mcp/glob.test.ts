import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyGlobMatches, globMatches, splitGlobs } from './glob.ts';

test('globs are what a regular expression makes of them', () => {
  const parts = fc.array(fc.constantFrom('a', 'b', '*', '?', '.', '😀'), { maxLength: 8 }).map((list) => list.join(''));
  const texts = fc.array(fc.constantFrom('a', 'b', '.', '😀'), { maxLength: 8 }).map((list) => list.join(''));
  fc.assert(
    fc.property(parts, texts, (pattern, text) => {
      const source = pattern.replaceAll('.', '\\.').replaceAll('?', '.').replaceAll('*', '.*');
      expect(globMatches(pattern, text)).toBe(new RegExp(`^${source}$`, 'su').test(text));
    }),
    { numRuns: 2000 },
  );
});

test('lists', () => {
  expect(splitGlobs(['a*, b', ' ', 'c,'])).toEqual(['a*', 'b', 'c']);
  expect(splitGlobs('x')).toEqual(['x']);
  expect(splitGlobs(undefined)).toEqual([]);
  expect(anyGlobMatches(['read_*', 'list_?'], 'list_a')).toBe(true);
  expect(anyGlobMatches([], '')).toBe(false);
});

test('a hostile pattern ends soon', () => {
  const before = process.cpuUsage();
  expect(globMatches('*a'.repeat(30) + 'b', 'a'.repeat(20_000))).toBe(false);
  expect(process.cpuUsage(before).user / 1000).toBeLessThan(500);
});
