import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concat, utf8 } from '../bytes/bytes.ts';
import { LineSplitter, type Unit } from './lines.ts';

const newline = Uint8Array.of(10);

function split(chunks: Uint8Array[], unitBytes: number): Unit[] {
  const splitter = new LineSplitter(unitBytes);
  return [...chunks.flatMap((chunk) => splitter.push(chunk)), ...splitter.end()];
}

function join(units: Unit[]): Uint8Array {
  return concat(...units.flatMap((unit) => (unit.terminated ? [unit.bytes, newline] : [unit.bytes])));
}

function chop(bytes: Uint8Array, sizes: number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : sizes[i % sizes.length]!;
    chunks.push(bytes.slice(at, at + size));
    at += size;
  }
  return chunks;
}

const texts = fc.array(fc.constantFrom(10, 13, 0, 97, 0xc3, 0xa9, 0xff), { maxLength: 60 }).map((bytes) => Uint8Array.from(bytes));

test('join(split(x)) is x, and the units do not depend on the chunks', () => {
  fc.assert(
    fc.property(texts, fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }), fc.integer({ min: 1, max: 8 }), (bytes, sizes, unitBytes) => {
      const units = split(chop(bytes, sizes), unitBytes);
      expect(join(units)).toEqual(bytes);
      expect(units).toEqual(split(chop(bytes, [1]), unitBytes));
      expect(units).toEqual(split([bytes], unitBytes));
      for (const [i, unit] of units.entries()) {
        expect(unit.bytes.includes(10)).toBe(false);
        expect(unit.bytes.length).toBeLessThanOrEqual(unitBytes);
        if (unit.more) expect([unit.bytes.length, unit.terminated, i < units.length - 1]).toEqual([unitBytes, false, true]);
      }
    }),
  );
});

const read = (text: string, unitBytes: number) =>
  split([utf8(text)], unitBytes).map((unit) => `${String.fromCharCode(...unit.bytes)}${unit.more ? '+' : unit.terminated ? '.' : '!'}`);

test('lines, units and the end of the stream', () => {
  expect(read('a\r\n\nb', 4)).toEqual(['a\r.', '.', 'b!']);
  expect(read('abcdefgh\n', 4)).toEqual(['abcd+', 'efgh.']);
  expect(read('abcdefghi\n', 4)).toEqual(['abcd+', 'efgh+', 'i.']);
  expect(read('abcdefgh', 4)).toEqual(['abcd+', 'efgh!']);
  expect(read('', 4)).toEqual([]);
});

test('a line in a hundred thousand chunks', () => {
  const splitter = new LineSplitter();
  for (let i = 0; i < 100_000; i++) splitter.push(Uint8Array.of(97));
  expect(splitter.heldBytes).toBe(100_000);
  expect(splitter.push(newline)[0]!.bytes.length).toBe(100_000);
});
