/** Two results of the suite, compared check by check; what may differ stands in `exceptions.json`, with the sentence of a specification that explains it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Check, Results } from './suite.ts';

/** One check that differs: what it is directly, and through what stands between. */
export interface Difference {
  readonly scenario: string;
  readonly check: string;
  readonly direct: string;
  readonly through: string;
  /** Its status through what stands between. */
  readonly status: string;
}

export interface Exception {
  /** Which comparison, as `run.ts` names it without the revision. */
  readonly comparison: string;
  readonly revision: string;
  readonly scenario: string;
  readonly check: string;
  /** The status that it has through what stands between: another one is not explained. */
  readonly status: string;
  /** The sentence that explains it, and where it stands. */
  readonly because: string;
}

export interface Comparison {
  readonly scenarios: number;
  readonly checks: number;
  readonly differing: Difference[];
  readonly explained: Difference[];
  /** Exceptions of this comparison that were looked for and did not occur. */
  readonly stale: Exception[];
}

export function readExceptions(): Exception[] {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'exceptions.json'), 'utf8')) as Exception[];
}

/** What is another in every run, also without anything between. Applied in this order. */
const volatile: readonly (readonly [RegExp, string])[] = [
  // ports, and which loopback address; also within a query
  [/(?:localhost|127\.0\.0\.[12]|\[::1\])(?::|%3A)\d+/g, 'HOST'],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, 'UUID'],
  [/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, 'TIME'],
  [/\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\b/g, 'TIME'],
  // seconds and milliseconds since 1970, also within words such as `test-token-…`
  [/(?<!\d)1[6-9]\d{8}(?:\d{3})?(?!\d)/g, 'EPOCH'],
  // what a clock measured
  [/("actual\w*Ms":)[\d.]+/g, '$1DURATION'],
  [/(?<![\w.])\d+(?:\.\d+)? ?ms\b/g, 'DURATION'],
  // PKCE, digests of bodies in which ports stand, JWTs and signed states
  [/(code_verifier|code_challenge|\w+Challenge)(=|":")[\w.~-]+/g, '$1$2RANDOM'],
  [/W\/\\"[^"]*\\"/g, 'ETAG'],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, 'JWT'],
  [/\bv1\.[\w-]+\.[\w-]+/g, 'STATE'],
];

/** Headers of one hop, which a proxy must not hand on (RFC 9110 §7.6.1): where the suite shows them, it shows its own neighbour's. */
const ofOneHop = new Set(['connection', 'keep-alive']);

/** A check as it would be in any run: without what is different every time. */
export function settled(check: Check): string {
  const { timestamp: _, ...rest } = check;
  return volatile.reduce(
    (text, [pattern, word]) => text.replace(pattern, word),
    JSON.stringify(rest, (key, value: unknown) => (ofOneHop.has(key) ? undefined : value)),
  );
}

/** A check's occurrences have no order of their own where requests overlap. */
function sorted(checks: readonly Check[]): { id: string; status: string; text: string }[] {
  return checks
    .map((check) => ({ id: check.id, status: check.status, text: settled(check) }))
    .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
}

/** Pairs what is left of each side per id, so that a check that changed is one difference and not two. */
function differencesOf(scenario: string, direct: readonly Check[], through: readonly Check[]): Difference[] {
  const absent = { status: 'absent', text: 'absent' };
  const right = sorted(through);
  const alone = sorted(direct).filter(({ text }) => {
    const at = right.findIndex((other) => other.text === text);
    if (at >= 0) right.splice(at, 1);
    return at < 0;
  });
  const differences = alone.map(({ id, text }) => {
    const at = right.findIndex((other) => other.id === id);
    const other = at >= 0 ? right.splice(at, 1)[0]! : absent;
    return { scenario, check: id, direct: text, through: other.text, status: other.status };
  });
  return [...differences, ...right.map(({ id, text, status }) => ({ scenario, check: id, direct: absent.text, through: text, status }))];
}

export function compare(direct: Results, through: Results, exceptions: readonly Exception[]): Comparison {
  const differing: Difference[] = [];
  const explained: Difference[] = [];
  const used = new Set<Exception>();
  let checks = 0;
  for (const scenario of new Set([...direct.keys(), ...through.keys()])) {
    const expected = direct.get(scenario) ?? [];
    checks += expected.length;
    for (const difference of differencesOf(scenario, expected, through.get(scenario) ?? [])) {
      const exception = exceptions.find((one) => one.scenario === scenario && one.check === difference.check && one.status === difference.status);
      if (exception === undefined) differing.push(difference);
      else {
        used.add(exception);
        explained.push(difference);
      }
    }
  }
  const stale = exceptions.filter((one) => direct.has(one.scenario) && !used.has(one));
  return { scenarios: direct.size, checks, differing, explained, stale };
}

/** Where two texts part, with a little of what stands before. */
export function parting(difference: Difference): string {
  const { direct, through } = difference;
  let at = 0;
  while (at < direct.length && direct[at] === through[at]) at++;
  const from = Math.max(0, at - 40);
  return `direct …${direct.slice(from, at + 120)}\n      through …${through.slice(from, at + 120)}`;
}

export function counts(results: Results): { passed: number; failed: number } {
  const all = [...results.values()].flat();
  return { passed: all.filter(({ status }) => status === 'SUCCESS').length, failed: all.filter(({ status }) => status === 'FAILURE').length };
}
