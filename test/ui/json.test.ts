import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { at, lines, partsText, readJson, type Json } from '../../ui/json.ts';

/** The value that a tree stands for, as JSON.parse would give it. */
function valueOf(json: Json): unknown {
  if (json.kind === 'object') return Object.fromEntries(json.members.map(({ key, value }) => [partsText(key), valueOf(value)]));
  if (json.kind === 'array') return json.items.map(valueOf);
  if (json.kind === 'string') return partsText(json.parts);
  return json.kind === 'literal' ? JSON.parse(json.text) : undefined;
}

describe('JSON as it was written', () => {
  test('is the value that JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), fc.integer({ min: 0, max: 2 }), (text, indent) => {
        const spaced = JSON.stringify(JSON.parse(text), null, indent);
        expect(valueOf(readJson([{ text: spaced }])!)).toEqual(JSON.parse(spaced));
        expect(JSON.parse(lines(readJson([{ text: spaced }])!, 100_000).join('\n'))).toEqual(JSON.parse(spaced));
      }),
      { numRuns: 300 },
    );
  });

  test('keeps the order of keys, those that repeat, and the spelling of numbers', () => {
    const json = readJson([{ text: '{"10":1,"2":1.50,"a":12345678901234567890,"a":-0,"b":1E+2}' }])!;
    expect(json.kind === 'object' && json.members.map(({ key, value }) => [partsText(key), value.kind === 'literal' && value.text])).toEqual([
      ['10', '1'],
      ['2', '1.50'],
      ['a', '12345678901234567890'],
      ['a', '-0'],
      ['b', '1E+2'],
    ]);
  });

  test('keeps the place of what is missing, inside of a text and instead of a value', () => {
    const missing = { missing: 'redacted' as const, sizeBytes: 5, rule: 'pay' };
    const json = readJson([{ text: '{"note":"he earns ' }, missing, { text: ' EUR","pay":' }, missing, { text: ',"id":1}' }])!;
    expect(at(json, 'note')).toEqual({ kind: 'string', parts: ['he earns ', missing, ' EUR'] });
    expect(at(json, 'pay')).toEqual({ kind: 'missing', missing });
    expect(at(json, 'id')).toEqual({ kind: 'literal', text: '1' });
    // a text of theirs is never taken for a gap
    const own = readJson([{ text: '{"a":"\uD800","b":\uD800}' }]);
    expect(own).toBeUndefined();
    expect(readJson([{ text: '["\uD800x"]' }, { text: '' }])).toEqual({ kind: 'array', items: [{ kind: 'string', parts: ['\uFFFDx'] }] });
  });

  test('a key is compared, never looked up', () => {
    const json = readJson([{ text: '{"__proto__":{"a":1},"constructor":2}' }]);
    expect(at(json, '__proto__', 'a')).toEqual({ kind: 'literal', text: '1' });
    expect(at(json, 'toString')).toBeUndefined();
    expect(at(json, 'constructor', 'name')).toBeUndefined();
  });

  test('what is no JSON is none, however deep or long', () => {
    for (const text of ['', '{', '[1,', '{"a"}', 'nul', '"', '[1]x', '['.repeat(100_000), '{"a":'.repeat(10_000)])
      expect(readJson([{ text }])).toBeUndefined();
  });
});
