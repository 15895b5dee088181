import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compilePath, PathError, type PathStep } from './paths.ts';

test.each<[string, PathStep[]]>([
  [
    '$.params.arguments.ssn',
    [
      { name: 'params', deep: false },
      { name: 'arguments', deep: false },
      { name: 'ssn', deep: false },
    ],
  ],
  ['$..token', [{ name: 'token', deep: true }]],
  ["$..['a b']", [{ name: 'a b', deep: true }]],
  ['$.items[*].id', [{ name: 'items', deep: false }, { every: true }, { name: 'id', deep: false }]],
  ["$['a b']", [{ name: 'a b', deep: false }]],
  ['$["*"]', [{ name: '*', deep: false }]],
  ['$[0][12].*', [{ index: 0 }, { index: 12 }, { every: true }]],
  ['$.x-api-key.$ref.größe', ['x-api-key', '$ref', 'größe'].map((name) => ({ name, deep: false }))],
  [String.raw`$['it\'s']["\u00e9\ud83d\ude00\n\\"]`, ["it's", 'é😀\n\\'].map((name) => ({ name, deep: false }))],
  ["$['']", [{ name: '', deep: false }]],
])('%s', (text, steps) => {
  expect(compilePath(text)).toEqual(steps);
});

test.each<[string, number, string]>([
  ['', 0, 'begins with $'],
  ['params.x', 0, 'begins with $'],
  ['$', 1, 'something below $'],
  ['$x', 1, 'begins with . or ['],
  ['$.', 2, 'a name is missing'],
  ['$.a b', 3, 'begins with . or ['],
  ['$. a', 2, "written as ['…']"],
  ['$.0', 2, 'written as [0]'],
  ['$..', 3, 'after .. comes a name'],
  ['$..*', 3, 'after .. comes a name'],
  ['$..[0]', 3, 'after .. comes a name'],
  ['$...a', 3, 'after .. comes a name'],
  ['$[', 2, 'a number from 0'],
  ['$[-1]', 2, 'a number from 0'],
  ['$[01]', 2, 'a number from 0'],
  ['$[1', 2, 'a number from 0'],
  ['$[1:2]', 2, 'a number from 0'],
  ['$[99999999999999999]', 2, 'a number from 0'],
  ['$[?@.a]', 2, 'a number from 0'],
  ["$['a", 2, 'closing quote'],
  ["$['a'", 5, '] is missing'],
  [String.raw`$['\x']`, 3, 'no such escape'],
  [String.raw`$['\u12']`, 3, 'no such escape'],
  [`$${'.a'.repeat(65)}`, 129, 'at most 64 steps'],
  [`$.${'a'.repeat(1023)}`, 1024, 'at most 1024 characters'],
])('%s is refused at %i', (text, offset, message) => {
  try {
    compilePath(text);
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(PathError);
    expect((error as PathError).message).toContain(message);
    expect((error as PathError).offset).toBe(offset);
  }
});

test('a path that is written from steps is read as these steps', () => {
  const step = fc.oneof(
    fc.record({ name: fc.string({ unit: 'binary', maxLength: 8 }), deep: fc.boolean() }),
    fc.nat().map((index) => ({ index })),
    fc.constant({ every: true as const }),
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
      const text = steps
        .map((one) => ('name' in one ? `${one.deep ? '..' : ''}[${JSON.stringify(one.name)}]` : 'index' in one ? `[${one.index}]` : '[*]'))
        .join('');
      expect(compilePath(`$${text}`)).toEqual(steps);
    }),
  );
});

test('any text is a path or a PathError inside it', () => {
  const parts = fc.array(fc.constantFrom('.', '..', '[', ']', "'", '"', '*', 'a', '0', '\\', 'u00e9', ' ', '-'), { maxLength: 12 });
  fc.assert(
    fc.property(parts, (list) => {
      const text = `$${list.join('')}`;
      try {
        expect(compilePath(text).length).toBeGreaterThan(0);
      } catch (error) {
        if (!(error instanceof PathError)) throw error;
        expect(error.offset).toBeLessThanOrEqual(text.length);
      }
    }),
    { numRuns: 2000 },
  );
});
