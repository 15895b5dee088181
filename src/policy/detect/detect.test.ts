import fc from 'fast-check';
import { expect, test } from 'vitest';
import { falseCases, trueCases } from '../../../test/detect-cases.ts';
import { utf8 } from '../../bytes/bytes.ts';
import { detectorGroups, detectorIds, Detectors } from './detect.ts';

const everything = new Detectors(['secrets', 'pii']);

const found = (detectors: Detectors, text: string): [string, string][] =>
  detectors.find(text).map((hit) => [hit.rule, text.slice(hit.start, hit.end)]);

test('every value of the table is found, exactly, and nothing beside it', () => {
  const cases = trueCases();
  expect(cases.length).toBeGreaterThanOrEqual(500);
  for (const { text, finds } of cases) expect(found(everything, text), text).toEqual(finds);
  const counts = new Map<string, number>();
  for (const [rule] of cases.flatMap(({ finds }) => finds)) counts.set(rule, (counts.get(rule) ?? 0) + 1);
  for (const id of detectorIds) expect(counts.get(id), id).toBeGreaterThanOrEqual(8);
});

test('the same is found where the bytes of the text are given', () => {
  for (const { text } of trueCases()) {
    const bytes = utf8(text);
    if (bytes.length === text.length) expect(everything.find(text, bytes), text).toEqual(everything.find(text));
  }
});

test('each detector finds its own values alone', () => {
  for (const { text, finds } of trueCases()) {
    for (const find of finds) expect(found(new Detectors([find[0]]), text), text).toContainEqual(find);
  }
});

test('nothing is found in what is harmless', () => {
  const texts = falseCases();
  expect(new Set(texts).size).toBeGreaterThanOrEqual(500);
  for (const text of texts) expect(found(everything, text), text).toEqual([]);
});

test('groups and ids', () => {
  expect(new Set(detectorIds).size).toBe(detectorIds.length);
  expect([...detectorGroups.secrets, ...detectorGroups.pii]).toEqual(detectorIds);
  expect(detectorIds).toEqual(expect.arrayContaining(['aws-access-key', 'private-key', 'password', 'email', 'card', 'us-ssn']));
  const text = 'joe@example.com password=hunter2';
  expect(found(new Detectors(['pii']), text)).toEqual([['email', 'joe@example.com']]);
  expect(found(new Detectors(['secrets']), text)).toEqual([['password', 'hunter2']]);
  expect(found(new Detectors(['email', 'pii', 'email']), text)).toEqual([['email', 'joe@example.com']]);
  expect(new Detectors([]).find(text)).toEqual([]);
  expect(() => new Detectors(['e-mail'])).toThrow(RangeError);
  expect(() => new Detectors(['constructor'])).toThrow(RangeError);
});

test('where two overlap the longer, then the earlier one wins', () => {
  const token = ['gh', 'p_', 'a1B2c3'.repeat(6)].join('');
  // the same range: the vendor's detector is listed before the general ones
  expect(found(everything, `password=${token}`)).toEqual([['github-token', token]]);
  expect(found(new Detectors(['password', 'github-token']), `password="${token}"`)).toEqual([['github-token', token]]);
  // a longer one around two shorter ones
  const value = 'joe@example.com,ann@example.com';
  expect(found(everything, `password="${value}"`)).toEqual([['password', value]]);
  expect(found(new Detectors(['pii']), `password="${value}"`)).toEqual([
    ['email', 'joe@example.com'],
    ['email', 'ann@example.com'],
  ]);
  // the password in an address is no mailbox with the host behind it
  expect(found(new Detectors(['pii']), 'https://joe:hunter2@example.com/')).toEqual([]);
});

test('a vendor that is not asked for is still a secret', () => {
  const key = `DD_API_KEY=${'0123456789abcdef'.repeat(2)}`;
  expect(found(everything, key)[0]![0]).toBe('datadog-key');
  expect(found(new Detectors(['generic-secret']), key)[0]![0]).toBe('generic-secret');
});

test('values that were cut off', () => {
  expect(found(everything, '{"password":"hunter2')).toEqual([['password', 'hunter2']]);
  const key = ['-----BEGIN PRIVATE ', 'KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIB'].join('');
  expect(found(everything, key)).toEqual([['private-key', key]]);
});

test('positions are UTF-16 units, whatever stands before', () => {
  for (const before of ['ü', '値', '😀', '\ud800', '\udc00x', 'é'.repeat(70_000), 'a '.repeat(40_000)]) {
    const text = `${before} joe@example.com 値 password=hunter2 😀`;
    expect(found(everything, text), before.slice(0, 9)).toEqual([
      ['email', 'joe@example.com'],
      ['password', 'hunter2'],
    ]);
  }
});

/** Ascending, disjoint, within the text, none of them empty. */
function expectOrder(text: string): void {
  let last = 0;
  for (const hit of everything.find(text)) {
    expect(hit.start, text).toBeGreaterThanOrEqual(last);
    expect(hit.end, text).toBeGreaterThan(hit.start);
    expect(detectorIds).toContain(hit.rule);
    last = hit.end;
  }
  expect(last, text).toBeLessThanOrEqual(text.length);
}

test('ranges are in bounds, ascending and disjoint, for any text', () => {
  const cases = trueCases().map(({ text }) => text);
  const signs = [
    '"',
    "'",
    '\\',
    ':',
    '=',
    ' ',
    '@',
    '+',
    '-',
    '.',
    '(',
    '/',
    '\n',
    'é',
    '値',
    '\ud83d',
    '1',
    '0',
    'a',
    'A',
    'password=',
    'Bearer ',
    '://',
    '-----BEGIN ',
    '--token ',
    'curl -u ',
    'mysql -p',
  ];
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(...signs),
    fc.constantFrom(...cases),
    fc.constantFrom(...cases).chain((text) => fc.nat(text.length).map((end) => text.slice(end))),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (parts) => expectOrder(parts.join(''))),
    { numRuns: 3000 },
  );
});

test('harmless words around a text lose no value of it', () => {
  const texts = trueCases();
  const words = fc.array(fc.constantFrom('and', 'so', 'we', 'went', 'über', 'Haus', 'слово'), { maxLength: 30 }).map((list) => list.join(' '));
  fc.assert(
    fc.property(fc.constantFrom(...texts), words, words, ({ text, finds }, before, after) => {
      for (const find of finds) expect(found(everything, `${before} ${text} ${after}`)).toContainEqual(find);
    }),
    { numRuns: 3000 },
  );
});

const keyStart = ['AK', 'IA'].join('');

const hostile = [
  ...['a', '0', '1', '9', '-', '@', ':', '=', '==', '>', '.', '~', '(', '+', '_', '"', "'", '\\', '%', 'é', '\ud800', '<', ' ', 'A', 'X-'],
  ...[
    'eyJ',
    'eyJ.',
    'eyJ-',
    'eyJabcdefghijk.',
    `password="${'joe@example.com '.repeat(9)}`,
    keyStart,
    `${keyStart} `,
    'sk-',
    'sk-proj-',
    'sk-a1-',
    'SG.',
    'SG.a.',
    'ghp_',
    'ghp_ ',
    'xoxb-',
    'glpat-',
    'key-',
    'dapi',
    '1//0',
    '-us1',
    '.atlasv1.',
    '1Q~',
    '12345678:AA ',
    'MNOMNOMNOMNOMNOMNOMNOMNOM.abcdef.',
  ],
  ...[
    'password=',
    'password="',
    "password='",
    'password=<',
    'password=${',
    'password=a(',
    'password=a&b',
    'password: a ',
    'password="a\\"',
    'password=hunter2 ',
    '"password": "\\"',
    'token=',
    'sig=',
    'secret: ',
    '<password>',
    'password>',
    '--token',
    '--password ',
    'pass=a;b,',
    'curl -u a:bcdef ',
    ' -u a:bcdef',
    'curl; -u a:bcdef',
    "curl -u '",
    ' -p',
    'mysql -p"',
    'mysql -phunter2 ',
    ' -pp4-pp4',
  ],
  ...[
    'Bearer ',
    'Authorization: ',
    'authorization:',
    '://',
    '://a:',
    '://a:b@',
    '-----BEGIN ',
    '-----BEGIN PRIVATE KEY-----',
    '-----BEGIN PRIVATE KEY-----\n-----END ',
    'hooks.slack.com/services/',
  ],
  ...[
    'a@',
    'a.b@',
    '@a.',
    'a.a',
    'joe@example.com ',
    '+1 ',
    '+49',
    '+1(',
    '(4',
    '1 ',
    '12 ',
    '123-',
    '1234 ',
    '0123 ',
    '01 ',
    '1-',
    '123456789 ',
    '12345678901 ',
    '4111111111111111 ',
    '4111 ',
    'phone 1234567 ',
    'GB82',
    'GB82 ',
    'AB ',
    'AB12',
    '12345678Z ',
    '12345678-',
  ],
];

// speed is looked at by `npm run growth`, on a machine that does nothing else
test.skipIf(process.env['SWORN_GROWTH'] === undefined)('twice the text takes about twice the time, for hostile texts too', () => {
  const time = (text: string): number => {
    let best = Infinity;
    for (let run = 0; run < 3; run++) {
      const before = process.hrtime.bigint();
      everything.find(text);
      best = Math.min(best, Number(process.hrtime.bigint() - before) / 1e6);
    }
    return best;
  };
  for (const unit of hostile) {
    const small = unit.repeat(Math.ceil(200_000 / unit.length));
    const once = time(small);
    const twice = time(small + small);
    // below two milliseconds the clock and the collector say more than the text
    if (once > 2) expect(twice / once, unit).toBeLessThan(3.5);
  }
});
