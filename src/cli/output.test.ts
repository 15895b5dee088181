import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cell, count, cut, duration, errorText, safeJson, size, table, visible, visibleLines, widthOf, type Output } from './output.ts';
import { indented } from './indent.ts';

const plain: Output = { out: () => undefined, err: () => undefined, isTTY: false, color: false, columns: 80 };

test('what acts on a terminal or hides in it is made visible', () => {
  expect(visible('a\u001b[31mb\n\t\u0000\u007f\u009b')).toBe('a\\x1b[31mb\\n\\t\\x00\\x7f\\x9b');
  expect(visible('\u202etxt.exe\u2066\u200b\ufeff\u00ad\u{e0041}\ud800')).toBe('\\u{202e}txt.exe\\u{2066}\\u{200b}\\u{feff}\\xad\\u{e0041}\\u{d800}');
  expect(visible('Zürich 漢字 😀 é')).toBe('Zürich 漢字 😀 é');
  expect(visible(`e${'\u0301'.repeat(9)}`)).toMatch(/^e\u0301{4}(?:\\u\{301\}){5}$/);
  expect(visibleLines('a\n\tb\r\u001b')).toBe('a\n  b\\r\\x1b');
});

test('JSON stays the same document', () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
      const text = JSON.stringify(value);
      const safe = safeJson(text);
      expect(JSON.parse(safe)).toEqual(JSON.parse(text));
      expect(safe).toBe(visible(safe));
    }),
  );
});

test('indented JSON has the same tokens', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value);
      expect(JSON.parse(indented(text))).toEqual(JSON.parse(text));
    }),
  );
  expect(indented('{"a":1,"a":[1e400,{}],"b":""}')).toBe('{\n  "a": 1,\n  "a": [\n    1e400,\n    {}\n  ],\n  "b": ""\n}');
  expect(indented('no json')).toBe('no json');
  expect(indented('{"cut":"off')).toBe('{\n  "cut": "off');
});

test('widths and cuts', () => {
  expect(widthOf('漢字e\u0301😀')).toBe(7);
  expect(cell('漢字', 6)).toBe('漢字  ');
  expect(cell('漢字漢字', 6)).toBe('漢字… ');
  expect(cell('7', 3, 'right')).toBe('  7');
  expect(cut('abcdef', 4)).toBe('abc…');
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 2, max: 12 }), (text, width) => {
      expect(widthOf(cell(text, width))).toBe(width);
    }),
  );
  expect(
    table(
      plain,
      [{ title: 'a' }, { title: 'n', align: 'right' }],
      [
        ['x\n', '10'],
        ['yy', '9'],
      ],
    ),
  ).toBe('a     n\nx\\n  10\nyy    9\n');
});

test('units', () => {
  expect([0, 1023, 1024, 10_000, 1_048_575, 5e9].map(size)).toEqual(['0 B', '1023 B', '1.0 KiB', '9.8 KiB', '1.0 MiB', '4.7 GiB']);
  expect([0, 850, 999.7, 7000, 12_345, 999_600, 59_499_999, 125e6, 3_599_400_000, 11_400e6, 187_200e6].map(duration)).toEqual([
    '0 µs',
    '850 µs',
    '1.0 ms',
    '7.0 ms',
    '12 ms',
    '1.0 s',
    '59 s',
    '2 m 05 s',
    '59 m 59 s',
    '3 h 10 m',
    '2 d 4 h',
  ]);
  expect([count(1, 'call'), count(2, 'call'), count(0, 'reply', 'replies')]).toEqual(['1 call', '2 calls', '0 replies']);
  expect(errorText('a\u001b', 'b')).toBe('sworn: error: a\\x1b\nsworn: hint: b\n');
});
