import fc from 'fast-check';
import { expect, test } from 'vitest';
import { utf8, utf8Text } from '../bytes/bytes.ts';
import { jsonDepth } from '../limits.ts';
import { Scanner, scanFrame, type Scan, type Token } from './scan.ts';

function scanIn(frame: Uint8Array, sizes: number[]): Scan {
  const scanner = new Scanner();
  let at = 0;
  for (let i = 0; at < frame.length; i++) {
    const size = sizes[i % sizes.length]!;
    // a copy, overwritten afterwards: the scanner must not keep views of a chunk
    const chunk = frame.slice(at, at + size);
    scanner.push(chunk);
    chunk.fill(0x58);
    at += size;
  }
  return scanner.end();
}

function parsed(frame: Uint8Array): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { ignoreBOM: true }).decode(frame)) as unknown };
  } catch {
    return undefined;
  }
}

function own(holder: unknown, key: string): unknown {
  if (typeof holder !== 'object' || holder === null || Array.isArray(holder)) return undefined;
  return Object.getOwnPropertyDescriptor(holder, key)?.value;
}

function agrees(token: Token | undefined, value: unknown): void {
  if (value === undefined) expect(token).toBeUndefined();
  else if (value === null) expect(token?.kind).toBe('null');
  else if (Array.isArray(value)) expect(token?.kind).toBe('array');
  else if (typeof value === 'object') expect(token?.kind).toBe('object');
  else if (typeof value === 'string') expect([token?.kind, token?.value, JSON.parse(token!.text)]).toEqual(['string', value, value]);
  else if (typeof value === 'number') expect([token?.kind, Number(token!.text)]).toEqual(['number', value]);
  else expect(token?.kind).toBe(String(value));
}

/** Every fact of the scan is what JavaScript reads at that place. */
function factsAgree(scan: Scan, document: unknown): void {
  const params = own(document, 'params');
  const result = own(document, 'result');
  for (const key of ['jsonrpc', 'id', 'method', 'params', 'result', 'error'] as const) agrees(scan.facts[key], own(document, key));
  for (const key of ['name', 'uri', 'requestId', 'protocolVersion'] as const) agrees(scan.facts[key], own(params, key));
  agrees(scan.facts.metaProtocolVersion, own(own(params, '_meta'), 'io.modelcontextprotocol/protocolVersion'));
  agrees(scan.facts.isError, own(result, 'isError'));
  agrees(scan.facts.resultType, own(result, 'resultType'));
  agrees(scan.facts.resultProtocolVersion, own(result, 'protocolVersion'));
  agrees(scan.facts.code, own(own(document, 'error'), 'code'));
}

const names = [
  'jsonrpc',
  'id',
  'method',
  'params',
  'result',
  'error',
  'name',
  'uri',
  '_meta',
  'requestId',
  'protocolVersion',
  'io.modelcontextprotocol/protocolVersion',
  'isError',
  'resultType',
  'code',
  'Method',
  'ID',
  'a',
  '__proto__',
  'é',
  '',
];
const spaces = fc.constantFrom('', '', '', ' ', '\n', '\t\r ');
const strings = fc.oneof(
  fc.string(),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('tools/call', '2.0', '\0', '\\', '"', '\u2028', '😀', '\ud800'),
);
/** A string as JSON, with some characters escaped that need not be. */
const stringTexts = fc
  .tuple(strings, fc.boolean())
  .map(([text, isEscaped]) =>
    isEscaped
      ? `"${[...Array(text.length).keys()].map((i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`
      : JSON.stringify(text),
  );
const keyTexts = fc.oneof(
  fc.constantFrom(...names).map((name) => JSON.stringify(name)),
  fc.constant('"\\u0069d"'),
  stringTexts,
);
const numberTexts = fc.oneof(
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => JSON.stringify(number)),
  fc.constantFrom('0', '-0', '1.0', '1e0', '1E+2', '0.5e-7', '9007199254740993', '1e400', '12345678901234567890'),
);
/** JSON texts with duplicate keys, odd spaces and escapes, which `JSON.stringify` would never make. */
const documents = fc.letrec<{ value: string; object: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    stringTexts,
    numberTexts,
    fc.constantFrom('true', 'false', 'null'),
    tie('object'),
    fc.tuple(fc.array(tie('value'), { maxLength: 4 }), spaces).map(([items, space]) => `[${space}${items.join(`${space},`)}${space}]`),
  ),
  object: fc
    .tuple(fc.array(fc.tuple(keyTexts, tie('value')), { maxLength: 7 }), spaces, spaces)
    .map(([members, a, b]) => `{${a}${members.map(([key, value]) => `${key}${b}:${a}${value}`).join(`${b},${a}`)}${b}}`),
}));
const texts = fc.oneof({ weight: 4, arbitrary: documents.object }, { weight: 1, arbitrary: documents.value });
const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 5 });

test('valid documents: facts are those of JSON.parse, in any chunks', () => {
  fc.assert(
    fc.property(texts, sizes, (text, chunks) => {
      const frame = utf8(text);
      const scan = scanFrame(frame);
      expect(scan.reason).toBeUndefined();
      factsAgree(scan, parsed(frame)!.value);
      expect(scanIn(frame, chunks)).toEqual(scan);
      expect(scanIn(frame, [1])).toEqual(scan);
    }),
    { numRuns: 500 },
  );
});

const mutations = fc.array(
  fc.record({
    at: fc.nat(),
    byte: fc.oneof(
      fc.constantFrom(...utf8('"\\{}[],:0.eE+-tfnu \n\0'), 0xc3, 0xa9, 0xed, 0xa0, 0xf4, 0x90, 0x80, 0xff, 0xef, 0xbb, 0xbf),
      fc.integer({ min: 0, max: 255 }),
    ),
    how: fc.constantFrom('put', 'insert', 'remove', 'end'),
  }),
  { minLength: 1, maxLength: 3 },
);

test('mutated documents: valid exactly when JSON.parse says so, UTF-8 and NUL are seen, in any chunks', () => {
  fc.assert(
    fc.property(texts, mutations, sizes, (text, changes, chunks) => {
      const bytes = [...utf8(text)];
      for (const { at, byte, how } of changes) {
        const place = at % (bytes.length + 1);
        if (how === 'end') bytes.length = place;
        else bytes.splice(place, how === 'insert' ? 0 : 1, ...(how === 'remove' ? [] : [byte]));
      }
      const frame = Uint8Array.from(bytes);
      const scan = scanFrame(frame);
      const document = parsed(frame);
      expect(scan.reason).toBe(document === undefined ? 'not-json' : undefined);
      expect(scan.invalidUtf8).toBe(utf8Text(frame) === undefined);
      if (document !== undefined) factsAgree(scan, document.value);
      else expect(scan.nulByte).toBe(frame.includes(0));
      expect(scanIn(frame, chunks)).toEqual(scan);
      expect(scanIn(frame, [1])).toEqual(scan);
    }),
    { numRuns: 2000 },
  );
});

test('UTF-8 in a string is judged and read as a decoder does', () => {
  const bytes = fc.array(fc.constantFrom(0x61, 0x7f, 0x80, 0xa0, 0xbf, 0xc1, 0xc3, 0xdf, 0xe0, 0xe6, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(bytes, sizes, (inside, chunks) => {
      const frame = Uint8Array.from([...utf8('{"method":"'), ...inside, ...utf8('"}')]);
      const scan = scanFrame(frame);
      expect(scan.invalidUtf8).toBe(utf8Text(frame) === undefined);
      factsAgree(scan, parsed(frame)!.value);
      expect(scanIn(frame, chunks)).toEqual(scan);
    }),
    { numRuns: 2000 },
  );
});

const scanText = (text: string) => scanFrame(utf8(text));

test('duplicate keys are found exactly, at any depth', () => {
  const distinct = fc.uniqueArray(fc.string({ unit: 'grapheme', maxLength: 4 }), { selector: (key) => key.toLowerCase(), maxLength: 40 });
  fc.assert(
    fc.property(distinct, fc.nat(), fc.boolean(), (keys, pick, isDouble) => {
      const members = keys.map((key) => `${JSON.stringify(key)}:{"x":1}`);
      if (isDouble && keys.length > 0) members.push(`${JSON.stringify(keys[pick % keys.length])}:0`);
      const scan = scanText(`{"p":[{${members.join(',')}}],"q":{${keys.map((key) => `${JSON.stringify(key)}:[]`).join(',')}}}`);
      expect(scan.duplicateKey).toBe(isDouble && keys.length > 0);
      expect(scan.caseVariantKey).toBe(false);
    }),
  );
  expect(scanText('{"a":1,"\\u0061":2}').duplicateKey).toBe(true);
  expect(scanText('{"\\ud800":1,"\\ud801":2}').duplicateKey).toBe(false);
  expect(scanText('{"é":1,"\\u00e9":2}').duplicateKey).toBe(true);
  expect(scanText('{"a":{"a":1},"b":{"a":1}}').duplicateKey).toBe(false);
  expect(scanText('[{"a":1},{"a":1}]').duplicateKey).toBe(false);
});

test('a second method is seen behind more keys than are tracked', () => {
  const padding = Array.from({ length: 20_000 }, (_, i) => `"k${i}":0`).join(',');
  const scan = scanText(`{"method":"a",${padding},"method":"b"}`);
  expect([scan.duplicateKey, scan.facts.method?.value]).toEqual([true, 'b']);
  expect(scanText(`{"method":"a",${padding}}`).duplicateKey).toBe(false);
});

test('keys that differ in case', () => {
  expect(scanText('{"Method":"a"}').caseVariantKey).toBe(true);
  expect(scanText('{"params":{"NAME":1}}').caseVariantKey).toBe(true);
  expect(scanText('{"params":{"Method":1}}').caseVariantKey).toBe(false);
  expect(scanText('{"x":{"Key":1,"kEY":2}}').caseVariantKey).toBe(true);
  expect(scanText('{"x":{"É":1,"é":2}}').caseVariantKey).toBe(false);
});

test('sixty thousand keys that collide when folded do not stop it', () => {
  const keys: string[] = [];
  for (let i = 0; i < 60_000; i++)
    keys.push(`"${[...'abcdefghijklmnop'].map((letter, bit) => ((i >> bit) & 1 ? letter.toUpperCase() : letter)).join('')}":0`);
  // processor time: other tests run beside this one
  const before = process.cpuUsage();
  expect(scanText(`{${keys.join(',')}}`).caseVariantKey).toBe(true);
  expect(process.cpuUsage(before).user / 1000).toBeLessThan(2000);
});

test('depth', () => {
  expect(scanText('['.repeat(jsonDepth) + ']'.repeat(jsonDepth)).reason).toBeUndefined();
  expect(scanText('['.repeat(jsonDepth + 1) + ']'.repeat(jsonDepth + 1)).reason).toBe('too-deep');
  expect(scanText('{"a":'.repeat(100_000)).reason).toBe('too-deep');
});

test('tokens longer than their bound are cut', () => {
  const scan = scanText(`{"method":"${'\\u0061'.repeat(20_000)}","id":"${'b'.repeat(20_000)}"}`);
  expect([scan.facts.method?.cut, scan.facts.id?.cut]).toEqual([true, true]);
  expect(scan.facts.method?.value.replaceAll('a', '')).toBe('');
  expect(scan.facts.id?.text.length).toBe(16 * 1024 + 1);
});
