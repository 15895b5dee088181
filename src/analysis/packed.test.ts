import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Packed } from './packed.ts';
import { PackedRows } from './packed-rows.ts';
import type { CallRow } from './rows.ts';

const time = fc
  .tuple(fc.date({ min: new Date('1970-01-01'), max: new Date('2200-01-01'), noInvalidDate: true }), fc.nat(999))
  .map(([date, us]) => `${date.toISOString().slice(0, 23)}${String(us).padStart(3, '0')}Z`);
const value = fc.oneof(
  { weight: 4, arbitrary: time },
  fc.constantFrom('2026-02-30T00:00:00.000000Z', '2026-11-20T10:00:00Z', '', 'read', 'write'),
  fc.string({ unit: 'binary' }),
  // half of a character, as JSON can say it
  fc.constant('\ud800'),
  fc.double({ noNaN: true }).map((one) => one + 0),
  fc.boolean(),
  fc.array(fc.nat(), { maxLength: 4 }),
  fc.record({ a: fc.string() }),
);
const row = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.option(value, { nil: undefined }), { noNullPrototype: true });

function without(one: object): object {
  return Object.fromEntries(Object.entries(one).filter(([, field]) => field !== undefined));
}

test('a row comes out as it went in, whatever came before it and in its place', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(30), row), { maxLength: 60 }), (puts) => {
      const packed = new Packed<Record<string, unknown>>();
      const rows: object[] = [];
      for (const [at, one] of puts) {
        const position = Math.min(at, rows.length);
        rows[position] = without(one);
        packed.put(position, one);
      }
      expect(rows.map((_, position) => packed.at(position))).toEqual(rows);
      expect([...packed.each(rows.keys(), 'a', 'c')]).toEqual(rows.map((one) => ({ a: (one as { a?: unknown }).a, c: (one as { c?: unknown }).c })));
    }),
    { numRuns: 300 },
  );
});

test('columns that become too rich in words, and texts longer than a piece, are kept all the same', () => {
  const packed = new Packed<{ word: string; long?: string; number: number | string }>();
  const rows = Array.from({ length: 9_000 }, (_, at) => ({
    word: `word ${at % 3_000}`,
    number: at === 8_500 ? 'none' : at,
    ...(at % 4_000 === 7 ? { long: 'x'.repeat(300_000 + at) } : {}),
  }));
  for (const [at, one] of rows.entries()) packed.put(at, one);
  for (const at of [0, 7, 1_023, 1_024, 1_025, 4_007, 4_095, 4_096, 8_007, 8_499, 8_500, 8_999]) expect(packed.at(at), String(at)).toEqual(rows[at]);
  expect(packed.at(3, new Set(['word']))).toEqual({ number: 3 });
  expect(packed.value(8_999, 'word')).toBe('word 2999');
});

test('calls of two ledgers are found by ledger and index, and a call that is put again takes its place', () => {
  const rows = new PackedRows();
  const call = (ledger: string, index: number, state: CallRow['state']): CallRow => ({
    ledger,
    index,
    session: 's',
    server: 'fs',
    method: 'tools/call',
    effect: 'read',
    effectFrom: 'annotation',
    state,
    verdict: 'pass',
    beganAt: '2026-11-20T10:00:00.000001Z',
    sinceOpenUs: 1,
    requestBytes: 2,
    requests: 1,
    asked: 0,
    legs: state === 'open' ? [index] : [index, index + 1],
  });
  rows.put('calls', call('a', 5, 'open'));
  rows.put('calls', call('b', 5, 'open'));
  rows.put('calls', { ...call('a', 5, 'ok'), durationUs: 9 });
  expect(rows.rows('calls')).toEqual([{ ...call('a', 5, 'ok'), durationUs: 9 }, call('b', 5, 'open')]);
  expect(rows.get('calls', { ledger: 'b', index: 5 })).toEqual(call('b', 5, 'open'));
  expect(rows.get('calls', { ledger: 'b', index: 6 })).toBeUndefined();
  expect(rows.get('calls', { ledger: 'c', index: 5 })).toBeUndefined();
});
