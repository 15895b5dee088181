/**
 * How redaction grows with a frame that is made to be slow: twice the bytes may take a little more than twice the time, never four times. Best of three
 * runs, since others may be busy on the machine. Times are printed and not asserted.
 */
import { expect, test } from 'vitest';
import type { RedactRule } from '../../src/policy/policy.ts';
import { compileRedaction, Redactor, valuesOf } from '../../src/policy/redact.ts';

const MB = 1_000_000;
/** The longer of the two frames. With 10 MB the test takes some minutes. */
const sizeBytes = Number(process.env['SWORN_GROWTH_MB'] ?? 4) * MB;
const only = process.env['SWORN_GROWTH_KIND'];
const rule = (more: Partial<RedactRule>): RedactRule => ({ name: 'r', keys: [], paths: [], detect: [], keep: 'drop', ...more });
const policy = [
  rule({ keys: ['password', '*_token', 'a*b*c*d', '*secret*', 'authorization', 'cookie'], detect: ['secrets', 'pii'] }),
  rule({ paths: ['$.params.arguments.ssn', '$..pin', '$..a..a..a..a', '$.x[*].y'], keep: 'checkable' }),
];

const filling = (unit: string, sizeBytes: number): string => unit.repeat(Math.floor(sizeBytes / unit.length));
const inString = (unit: string) => (size: number) => `{"a":"${filling(unit, size)}"}`;
const inArray = (unit: string) => (size: number) => `{"x":[${filling(`${unit},`, size).slice(0, -1)}]}`;
const listed = (make: (at: number) => string, open: string, close: string) => (size: number) => {
  const parts: string[] = [];
  for (let at = 0, length = 0; length < size; at++) length += parts.push(make(at)) && parts.at(-1)!.length + 1;
  return `${open}${parts.join(',')}${close}`;
};
const nestedString = (levels: number) => (size: number) => {
  let inner = JSON.stringify({ password: 'pw-1234567', b: 'x"y'.repeat(Math.floor(size / 2 ** levels / 8)) });
  for (let at = 0; at < levels; at++) inner = JSON.stringify(at === levels - 1 ? { a: inner } : inner);
  return inner;
};
let seed = 7;
const random = (): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) / 2 ** 32;
const noise = 'aA0 =:"\\-.@+/{}[](),;&<>\n\'`_%Bearerpassword';

const kinds: Record<string, (size: number) => string> = {
  letters: inString('a'),
  'escaped quotes': inString('\\"'),
  'escaped backslashes': inString('\\\\'),
  'escaped letters': inString('\\u0061'),
  'escaped line ends': inString('x\\n'),
  colons: inString(':'),
  'name colons': inString('a:'),
  equals: inString('a='),
  'wanted names': inString('password='),
  'wanted names and values': inString('password=abc '),
  'wanted names, open quotes': inString("password='\\n"),
  'wanted names, escaped open quotes': inString('password=\\\\\\"\\n'),
  'wanted names, open brackets': inString('password:{\\n'),
  'wanted names, blocks': inString('password:\\n  '),
  'wanted options': inString('--password a '),
  'wanted elements': inString('<password>a'),
  'separators in a value': (size) => `{"a":"password=${filling(',a.b.c', size)}"}`,
  brackets: inString('{['),
  dashes: inString('-'),
  'double dashes': inString('--a '),
  'greater signs': inString('a>'),
  blanks: inString(' '),
  'quotes within': inString("'"),
  digits: inString('1'),
  'dots and ats': inString('a@a.'),
  'non-ASCII': inString('é='),
  surrogates: inString('\\ud83d\\ude00'),
  noise: (size) => JSON.stringify({ a: Array.from({ length: size / 2 }, () => noise[Math.floor(random() * noise.length)]).join('') }),
  'nested arrays': (size) => filling('[', size),
  'closed arrays': inArray('[]'),
  'deep arrays': inArray(`${'['.repeat(500)}${']'.repeat(500)}`),
  'open objects': (size) => filling('{"a":', size),
  'deep objects': inArray(`${'{"a":'.repeat(500)}1${'}'.repeat(500)}`),
  'short strings': inArray('"a"'),
  'short escaped strings': inArray('"\\n"'),
  'short strings with names': inArray('"a=b"'),
  numbers: inArray('1234567890'),
  nulls: inArray('null'),
  'short keys': listed((at) => `"k${at}":1`, '{', '}'),
  'same keys': listed(() => '"a":1', '{', '}'),
  'long names': listed((at) => `"${'a'.repeat(250)}${at}":1`, '{', '}'),
  'one long name': (size) => `{"${filling('abcd', size)}":1}`,
  'one long name over many strings': (size) => `{"${filling('name', size / 2)}":[${filling('"abcd",', size / 2).slice(0, -1)}]}`,
  hits: listed((at) => `"password":"p${at}"`, '{', '}'),
  'hits, long': listed((at) => `"password":"secret-${at}"`, '{', '}'),
  'hits, nearly the same': (size) => `{"password":"${'ab'.repeat(40)}c","b":"${filling('ab', size)}"}`,
  addresses: inArray('"a@example.org"'),
  'a repeated value': (size) => `{"password":"hunter2hunter2","b":"${filling('hunter2', size)}"}`,
  'lists of options': (size) => `{"n":"\\n","x":[${filling('"-a",', size).slice(0, -1)}]}`,
  'short lists of options': (size) => `{"n":"\\n","x":[${filling('["curl","-u","b:cdefgh"],', size).slice(0, -1)}]}`,
  'lists of options beside texts': listed((at) => `"a${at}":"${'x'.repeat(120)}","b":["-a"],"c":["-p"],"d":["-u"]`, '{"n":"\\n",', '}'),
  'lists of options in lists': inArray(`${'["-a",'.repeat(400)}"\\n"${']'.repeat(400)}`),
  pairs: inArray('{"value":"x","name":"password"}'),
  'pairs in pairs': inArray(`${'{"value":'.repeat(400)}1${',"name":"password"}'.repeat(400)}`),
  'rows of pairs': inArray('["password","a1234567"]'),
  'nested 1': nestedString(1),
  'nested 4': nestedString(4),
  'nested 7': nestedString(7),
  'no JSON': (size) => filling('password=a, ', size),
  'cut JSON': (size) => `{"a":["${filling('x=\\"', size)}`,
};

function best(redactor: Redactor, bytes: Buffer, known: readonly string[]): { ms: number; ranges: number } {
  let ms = Infinity;
  let ranges = 0;
  for (let run = 0; run < 3; run++) {
    const before = performance.now();
    ranges = redactor.ranges(bytes, 0, known).length;
    ms = Math.min(ms, performance.now() - before);
  }
  return { ms, ranges };
}

// speed is looked at by `npm run growth`, on a machine that does nothing else
test.skipIf(process.env['SWORN_GROWTH'] === undefined)(
  'hostile frames are searched in time that grows with their length',
  { timeout: 600_000 },
  async () => {
    const redactor = new Redactor(await Promise.all(policy.map(compileRedaction)));
    const asked = Buffer.from('{"password":"ababababab-known"}');
    const known = valuesOf(asked, redactor.ranges(asked))!;
    const rows: string[] = [];
    const slow: string[] = [];
    for (const [kind, make] of Object.entries(kinds)) {
      if (only !== undefined && !kind.includes(only)) continue;
      const [half, whole] = [Buffer.from(make(sizeBytes / 2)), Buffer.from(make(sizeBytes))];
      const one = best(redactor, half, known);
      const two = best(redactor, whole, known);
      const ratio = two.ms / one.ms / (whole.length / half.length / 2);
      rows.push(
        `${kind.padEnd(36)} ${(whole.length / MB).toFixed(1).padStart(5)} MB ${one.ms.toFixed(0).padStart(6)} ms → ${two.ms.toFixed(0).padStart(6)} ms, × ${ratio.toFixed(2)}, ${two.ranges} ranges`,
      );
      // below some milliseconds the collector decides
      if (ratio >= 3.5 && two.ms > 50) slow.push(rows.at(-1)!);
    }
    console.log(rows.join('\n'));
    expect(slow).toEqual([]);
  },
);
