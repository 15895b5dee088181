/** The comparison itself: what it must see, and what it must not. */
import { describe, expect, it } from 'vitest';
import { compare, type Exception } from './compare.ts';
import type { Check, Results } from './suite.ts';

const check = (id: string, more: Partial<Check> = {}): Check => ({ id, name: id, status: 'SUCCESS', ...more });
const one = (...checks: Check[]): Results => new Map([['scenario', checks]]);
const exception: Exception = { comparison: 'c', revision: 'r', scenario: 'scenario', check: 'a', status: 'SUCCESS', because: 'a sentence' };

describe('two results of the suite', () => {
  it.each<[string, Results, Results]>([
    ['another status', one(check('a')), one(check('a', { status: 'WARNING' }))],
    ['another message', one(check('a', { errorMessage: 'x' })), one(check('a', { errorMessage: 'y' }))],
    ['other details', one(check('a', { details: { headers: { 'x-a': '1' } } })), one(check('a', { details: { headers: {} } }))],
    ['a check that comes once more', one(check('a')), one(check('a'), check('a'))],
    ['a check that is missing', one(check('a'), check('b')), one(check('a'))],
    ['a scenario that is missing', one(check('a')), new Map()],
    ['another code in an error', one(check('a', { details: { code: -32601 } })), one(check('a', { details: { code: -32602 } }))],
  ])('differ by %s', (_, direct, through) => {
    const { differing } = compare(direct, through, []);
    expect(differing).toHaveLength(1);
    expect(differing[0]!.direct).not.toBe(differing[0]!.through);
  });

  it('do not differ by order, clocks, ports and what is random', () => {
    const details = (port: number, at: number, id: string, date: string): unknown => ({
      url: `http://localhost:${port}/mcp?iss=http%3A%2F%2Flocalhost%3A${port + 1}`,
      token: `test-token-${at}`,
      session: id,
      headers: { date, connection: port === 1024 ? 'keep-alive' : 'close' },
    });
    const direct = details(1024, 1795281600000, '7f6ad9e2-35bd-4bb5-a35a-a2d6f5d6ac44', 'Sat, 21 Nov 2026 17:20:16 GMT');
    const through = details(40_000, 1795281609999, '0aa0d5b2-9c0f-4dd0-8d43-0d2e4bb1a5f7', 'Sat, 21 Nov 2026 17:24:50 GMT');
    const { differing, checks } = compare(
      one(check('a', { details: direct, timestamp: '1' }), check('b')),
      one(check('b'), check('a', { details: through, timestamp: '2' })),
      [],
    );
    expect(differing).toEqual([]);
    expect(checks).toBe(2);
  });

  it('may differ where an exception says so, with the status that it says', () => {
    const direct = one(check('a', { details: 1 }));
    expect(compare(direct, one(check('a', { details: 2 })), [exception])).toMatchObject({ differing: [], explained: [{ check: 'a' }], stale: [] });
    expect(compare(direct, one(check('a', { details: 2, status: 'FAILURE' })), [exception])).toMatchObject({
      differing: [{ check: 'a', status: 'FAILURE' }],
      stale: [exception],
    });
  });

  it('an exception that does not occur any more is told, unless its scenario was not run', () => {
    expect(compare(one(check('a')), one(check('a')), [exception]).stale).toEqual([exception]);
    expect(compare(new Map([['other', []]]), new Map([['other', []]]), [exception]).stale).toEqual([]);
  });
});
