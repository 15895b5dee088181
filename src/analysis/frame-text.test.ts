import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cut, looseJson, textOf, type Frame, type Gap } from './frame-text.ts';

/** A frame of `text`, of which what stands between ⟦ and ⟧ is missing. */
function frameOf(text: string, reason: Gap['reason'] = 'redacted'): Frame {
  const kept: Buffer[] = [];
  const gaps: Gap[] = [];
  let offset = 0;
  let at = 0;
  for (const [position, piece] of text.split(/[⟦⟧]/u).entries()) {
    const bytes = Buffer.from(piece);
    if (position % 2 === 0) {
      kept.push(bytes);
      at += bytes.length;
    } else gaps.push({ reason, offset, sizeBytes: bytes.length, at });
    offset += bytes.length;
  }
  return { bytes: Buffer.concat(kept), gaps };
}

test('what is missing in a string stands there as a word, and the rest can be read', () => {
  const text = textOf(frameOf('{"params":{"password":"⟦geheim⟧","note":"a \\" ⟦b⟧ c","id":"e-1","card":⟦4711⟧}}'));
  expect(JSON.parse(text)).toEqual({ params: { password: '[redacted]', note: 'a " [redacted] c', id: 'e-1', card: '[redacted]' } });
  expect(textOf(frameOf('⟦everything⟧', 'not captured'))).toBe('"[not captured]"');
});

test('what was cut off or lost members is read as far as it goes', () => {
  expect(looseJson(textOf(frameOf('{"a":1,⟦"b":2,⟧"c":{"d":[1,2]}}')))).toEqual({ a: 1, c: { d: [1, 2] } });
  expect(looseJson('{"a":[1,{"b":"c","d":"e')).toEqual({ a: [1, { b: 'c', d: 'e' }] });
  expect(looseJson('not json')).toBeUndefined();
  expect(looseJson('{"__proto__":1,"x":tru')).toEqual(JSON.parse('{"__proto__":1}'));
});

test('a JSON text that is cut anywhere never throws, and gives no member that it has not', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), fc.nat(), (value, cutAt) => {
      const text = JSON.stringify({ value });
      const read = looseJson(text.slice(0, cutAt % (text.length + 1)));
      if (read !== undefined) expect(Object.keys(read as object).every((name) => name === 'value')).toBe(true);
    }),
    { numRuns: 300 },
  );
  expect(looseJson('['.repeat(100_000))).toBeDefined();
});

test('a part of a frame has the gaps that lie in it', () => {
  const whole = '[{"a":"⟦secret⟧"},{"b":"⟦other⟧ x"},{"c":1}]';
  const frame = frameOf(whole);
  const plain = whole.replace(/[⟦⟧]/gu, '');
  const range = (piece: string): [number, number] => [plain.indexOf(piece), plain.indexOf(piece) + piece.length];
  expect(textOf(cut(frame, range('{"a":"secret"}')))).toBe('{"a":"[redacted]"}');
  expect(textOf(cut(frame, range('{"b":"other x"}')))).toBe('{"b":"[redacted] x"}');
  expect(textOf(cut(frame, range('{"c":1}')))).toBe('{"c":1}');
});
