import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AnswerError, Parameters, readBody } from './parameters.ts';
import { policyOf } from './page.ts';

const of = (search: string): Parameters => new Parameters(new URLSearchParams(search));
const ledger = '0123456789abcdef'.repeat(2);

test('ranges and pages are read as they are said', () => {
  const parameters = of(`ledger=${ledger}&since=2026-11-20T23:45:00Z&filter=tool:get_*&offset=10&limit=1000&sort=-beganAt`);
  expect(parameters.range()).toEqual({ ledger, since: '2026-11-20T23:45:00.000Z', filter: 'tool:get_*' });
  expect(parameters.paging()).toEqual({ offset: 10, limit: 1000, sort: '-beganAt' });
  parameters.end();
});

test.each([
  ['ledger=x', 'ledger is the id'],
  ['since=yesterday', 'since is a time'],
  ['since=2026-13-45', 'since is a time'],
  ['limit=0', 'limit is a whole number from 1 to 1000'],
  ['limit=1001', 'limit is a whole number'],
  ['limit=1e2', 'limit is a whole number'],
  ['offset=-1', 'offset is a whole number'],
  ['offset=99999999999999999', 'offset is a whole number'],
  ['sort=a;drop', 'sort is the name of a field'],
  [`filter=${'x'.repeat(5_000)}`, 'filter has more than'],
  ['other=1', 'other is no parameter'],
])('%s is refused, in words', (search, words) => {
  const ask = (): void => {
    const parameters = of(search);
    parameters.range();
    parameters.paging();
    parameters.end();
  };
  expect(ask).toThrow(words);
});

test('a parameter that stands twice is refused', () => {
  expect(() => of('limit=1&limit=2')).toThrow('limit stands twice');
});

test('whatever is asked is answered or refused with 400', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom('ledger', 'since', 'until', 'filter', 'session', 'limit', 'offset', 'sort', 'index', 'x'), fc.string()),
      (asked) => {
        try {
          const parameters = new Parameters(new URLSearchParams(asked));
          parameters.range();
          parameters.paging();
          parameters.index();
          parameters.end();
        } catch (error) {
          expect(error).toBeInstanceOf(AnswerError);
          expect((error as AnswerError).status).toBe(400);
        }
      },
    ),
  );
});

test('a body has its fields, and no others', () => {
  expect(readBody(`{"ledger":"${ledger}","note":"ok"}`, { ledger: 32, note: 10 })).toEqual({ ledger, note: 'ok' });
  for (const odd of [
    '',
    '[]',
    'null',
    '{}',
    '{"note":1}',
    '{"note":"12345678901"}',
    '{"note":" "}',
    '{"note":"a","more":"b"}',
    '{"__proto__":{"note":"a"}}',
  ])
    expect(() => readBody(odd, { note: 10 })).toThrow(AnswerError);
});

test('only what stands in a page may run in it', () => {
  const html = '<!doctype html><style>a{}</style><script type="module">let a = 1;\r\n</script><p>text</p>';
  expect(policyOf(html)).toContain("script-src 'sha256-");
  expect(policyOf(html)).toContain("default-src 'none'");
  expect(policyOf(html)).not.toContain('unsafe');
  expect(policyOf(html)).toBe(policyOf(html.replace('\r\n', '\n')));
  expect(policyOf(html)).not.toBe(policyOf(html.replace('1', '2')));
  expect(policyOf('<p>nothing</p>')).toContain("script-src 'none'; style-src 'none'");
});
