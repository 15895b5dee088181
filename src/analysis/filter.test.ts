import { describe, expect, test } from 'vitest';
import { FilterProblem, filterLine, matchesCall, matchesEntry, parseFilter, type Beside } from './filter.ts';
import type { CallRow, EntryRow } from './rows.ts';

const nowMs = Date.parse('2026-11-20T12:00:00Z');
const ledger = 'a'.repeat(32);

const call: CallRow = {
  ledger,
  index: 7,
  session: 'ab12cd/5',
  server: 'hr',
  method: 'tools/call',
  target: 'get_employee',
  who: 5,
  definition: '3fa2'.repeat(16),
  effect: 'read',
  effectFrom: 'annotation',
  sensitive: true,
  state: 'toolError',
  verdict: 'flag',
  beganAt: '2026-11-20T11:30:00.000000Z',
  sinceOpenUs: 10,
  requestBytes: 100,
  argumentsText: '{"id":"E-101"}',
  requests: 1,
  asked: 0,
  legs: [7, 9],
};
const request: EntryRow = {
  ledger,
  index: 7,
  kind: 'message',
  time: call.beganAt,
  session: call.session,
  server: 'hr',
  direction: 'c2s',
  type: 'request',
  method: 'tools/call',
  target: 'get_employee',
  effect: 'read',
  sensitive: true,
  verdict: 'flag',
  call: 7,
};
const reply: EntryRow = { ...request, index: 9, direction: 's2c', type: 'result', outcome: 'toolError', time: '2026-11-20T11:30:01.000000Z' };
const loaded: EntryRow = { ledger, index: 1, kind: 'policy', time: '2026-11-20T11:00:00.000000Z', summary: 'policy load' };

const isCall = (line: string, beside?: Beside): boolean => matchesCall(parseFilter(line, nowMs), call, beside);
const entriesOf = (line: string, beside?: Beside): number[] =>
  [loaded, request, reply].filter((row) => matchesEntry(parseFilter(line, nowMs), row, beside)).map(({ index }) => index);

describe('the line of a filter', () => {
  test('has only so many words and texts: a link may bring any', () => {
    expect(parseFilter('tool:a '.repeat(64) + '"b" '.repeat(8), nowMs).texts).toHaveLength(8);
    expect(() => parseFilter('tool:a '.repeat(65), nowMs)).toThrow(/at most 64 words/);
    expect(() => parseFilter('a '.repeat(9), nowMs)).toThrow(/at most 8 texts/);
  });

  test('has words, texts, quotes and `-`', () => {
    expect(parseFilter(' tool:get_*  -server:"my server" since:1h "salary of \\"x\\"" free\ttext ', nowMs)).toEqual({
      terms: [
        { word: 'tool', value: 'get_*', isNot: false },
        { word: 'server', value: 'my server', isNot: true },
        { word: 'since', value: '1h', isNot: false, ms: nowMs - 3_600_000 },
      ],
      texts: ['salary of "x"', 'free', 'text'],
    });
  });

  test('can be written again from its words', () => {
    const line = 'tool:"a b" -entity:file:/tmp/x finding:"say \\"no\\"" plain "tool:no word" "a b"';
    const { terms, texts } = parseFilter(line, nowMs);
    expect(filterLine(terms, texts)).toBe(line);
    expect(parseFilter(filterLine(terms, texts), nowMs)).toEqual({ terms, texts });
  });

  test.each([
    ['tool:x color:red', 'there is no word color:', 7, 16],
    ['effect:all', 'effect:all is not one of read, write', 0, 10],
    ['tool:', 'tool: has nothing behind it', 0, 5],
    ['a session:xyz', 'session:xyz is not the beginning', 2, 13],
    ['since:yesterday', 'since:yesterday is no time', 0, 15],
    ['-since:1h', '-since: means nothing', 0, 9],
    ['a "b c', 'a text that begins with " has no second one', 2, 6],
    ['x'.repeat(5_000), 'a filter has at most 4096 characters', 4_096, 5_000],
    ['definition:get_*', 'definition:get_* is not the beginning of a digest', 0, 16],
    ['constructor:x', 'there is no word constructor:', 0, 13],
  ])('%s is refused with the place', (line, message, from, to) => {
    let problem: unknown;
    try {
      parseFilter(line, nowMs);
    } catch (error) {
      problem = error;
    }
    expect(problem).toBeInstanceOf(FilterProblem);
    expect(problem).toMatchObject({ from, to, message: expect.stringContaining(message) as unknown });
  });
});

describe('what a filter means', () => {
  test.each([
    ['', true],
    ['tool:get_*', true],
    ['tool:set_*', false],
    ['tool:set_* tool:get_*', true],
    ['-tool:get_*', false],
    ['-tool:set_* -tool:put_*', true],
    ['method:tools/*', true],
    ['session:ab', true],
    ['session:ab12cd/5', true],
    ['session:ab12cd/6', false],
    ['server:h?', true],
    ['server:hr2', false],
    ['direction:c2s', true],
    ['direction:s2c', false],
    ['effect:read', true],
    ['effect:sensitive', true],
    ['effect:destructive', false],
    ['outcome:toolError', true],
    ['outcome:ok outcome:toolError', true],
    ['outcome:unanswered', false],
    ['verdict:flag', true],
    ['verdict:block', false],
    ['since:1h', true],
    ['since:10m', false],
    ['until:2026-11-20T11:30:00Z', true],
    ['until:45m', false],
    ['who:5', true],
    ['definition:3fa23f', true],
    ['definition:a23f', false],
    ['who:ann*', false],
    ['e-101', true],
    ['"{\\"id\\":"', true],
    ['e-102', false],
    ['tool:get_* outcome:ok', false],
  ])('calls: %s', (line, expected) => {
    expect(isCall(line)).toBe(expected);
  });

  test.each([
    ['', [1, 7, 9]],
    ['tool:get_*', [7, 9]],
    ['-tool:get_*', [1]],
    ['direction:s2c', [9]],
    ['outcome:toolError', [9]],
    ['effect:sensitive', [7, 9]],
    ['server:hr', [7, 9]],
    ['until:2026-11-20T11:15:00Z', [1]],
    ['load', [1]],
  ])('entries: %s', (line, expected) => {
    expect(entriesOf(line)).toEqual(expected);
  });

  test('what stands beside a row is asked for', () => {
    const beside: Beside = {
      call: (index) => (index === 7 ? { ...call, state: 'unanswered' } : undefined),
      entities: (index) => (index === 7 ? ['employee:E-101', 'file:/a'] : []),
      findings: (index) => (index === 9 ? [{ finding: '0123456789ab', rule: 'cross-department' }] : []),
      principal: (index) => (index === 5 ? { source: 'verified', index, name: 'ann@example.com' } : undefined),
      texts: (index) => (index === 9 ? ['{"salary":9000,"note":"a \\"b\\""}'] : []),
    };
    expect(entriesOf('outcome:unanswered', beside)).toEqual([7]);
    expect(entriesOf('outcome:cancelled', beside)).toEqual([]);
    expect(entriesOf('outcome:unanswered')).toEqual([7]);
    expect(entriesOf('entity:employee:*', beside)).toEqual([7, 9]);
    expect(isCall('entity:employee:E-10', beside)).toBe(false);
    expect(entriesOf('finding:cross-*', beside)).toEqual([9]);
    expect(isCall('finding:0123456789ab', beside)).toBe(true);
    expect(isCall('who:ann*', beside)).toBe(true);
    expect(isCall('-who:ann*', beside)).toBe(false);
    expect(entriesOf('definition:3fa2', beside)).toEqual([7, 9]);
    expect(entriesOf('SALARY', beside)).toEqual([9]);
    expect(isCall('e-101 salary', beside)).toBe(true);
    expect(entriesOf('"a \\"b\\""', beside)).toEqual([9]);
  });
});
