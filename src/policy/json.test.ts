import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LargeInteger, readJson, TooCostly } from './json.ts';

test('integers beyond ±(2^53 - 1) stay what was written, everything else is what JSON.parse gives', () => {
  expect(readJson('[9007199254740991, -9007199254740991, 9007199254740992, -9007199254740993]')).toEqual([
    9007199254740991,
    -9007199254740991,
    new LargeInteger('9007199254740992'),
    new LargeInteger('-9007199254740993'),
  ]);
  // only integers: a fraction or an exponent says that a double is meant
  expect(readJson('[12345678901234567890.0, 12345678901234567890e0, 1e400]')).toEqual([1.2345678901234567e19, 1.2345678901234567e19, Infinity]);
  expect(readJson('{"a": "12345678901234567890", "b": [{"c": 12345678901234567890}]}')).toEqual({
    a: '12345678901234567890',
    b: [{ c: new LargeInteger('12345678901234567890') }],
  });
  expect(readJson('12345678901234567890')).toEqual(new LargeInteger('12345678901234567890'));
});

test('a large integer is seen wherever it stands', () => {
  for (let before = 0; before <= 40; before++) {
    for (let digits = 16; digits <= 34; digits++) {
      const large = '9'.repeat(digits);
      expect(readJson(`${' '.repeat(before)}[${large},1]`)).toEqual([new LargeInteger(large), 1]);
    }
    expect(readJson(`${' '.repeat(before)}[123456789012345,123456789012345]`)).toEqual([123456789012345, 123456789012345]);
  }
});

test.each(['5', '12345678901234567890'])('a member __proto__ is a member (beside %s)', (number) => {
  const value = readJson(`{"__proto__": {"x": ${number}}, "constructor": 1}`) as object;
  expect(Object.keys(value)).toEqual(['__proto__', 'constructor']);
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  expect((value as { x?: unknown }).x).toBeUndefined();
});

test.each(['', '{', '[1,]', '01', "{'a':1}", '12345678901234567890,', '+1', 'NaN'])('%j is no JSON', (text) => {
  expect(() => readJson(text)).toThrow(SyntaxError);
});

test('any JSON without large integers is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      fc.pre(!/\d{16}(?![\d.])/.test(text));
      expect(readJson(text)).toEqual(JSON.parse(text));
      // the other path too
      const beside = (readJson(`[${text},12345678901234567890]`) as unknown[])[0];
      expect(beside).toEqual(JSON.parse(text, (_, value: unknown) => value));
    }),
  );
});

test('a long document with a large integer outside of its strings is too costly; one with such digits in strings or fractions is not', () => {
  const filler = '1,'.repeat(200_000);
  for (const large of ['12345678901234567890', '-1234567890123456', '[{"a":9007199254740993}]'])
    expect(() => readJson(`[${filler}${large}]`), large).toThrow(TooCostly);
  for (const fine of [
    '"12345678901234567890"',
    '"\\\\","1234567890123456"',
    '"\\"1234567890123456"',
    '0.12345678901234567',
    '1234567890123456.5',
    '12345678901234567e3',
  ]) {
    expect(readJson(`[${filler}${fine}]`), fine).toEqual(JSON.parse(`[${filler}${fine}]`));
  }
});
