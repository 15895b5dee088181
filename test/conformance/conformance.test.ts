/**
 * A few scenarios of the official suite, with and without `sworn` between: `npm run conformance` runs all of them. The pass-through shows that the comparison
 * finds nothing where nothing is changed.
 */
import { afterEach, expect, it } from 'vitest';
import { parting } from './compare.ts';
import { Harness, type Part } from './harness.ts';
import type { Proxy } from './programs.ts';
import type { Revision } from './suite.ts';

const ending: Harness[] = [];
afterEach(() => Promise.all(ending.splice(0).map((harness) => harness.end())));

it.each<[Part, Revision, Proxy]>([
  ['server', '2025-11-25', 'pass-through'],
  ['server', '2025-11-25', 'sworn'],
  ['server', '2026-07-28', 'sworn'],
  ['client', '2026-07-28', 'sworn'],
  ['stdio', '2025-11-25', 'sworn'],
])(
  'the suite sees no difference: %s, %s, %s',
  async (part, revision, proxy) => {
    const harness = new Harness({ proxy, short: true });
    ending.push(harness);
    for (const { comparison, result } of await harness.compare(part, revision)) {
      expect(result.scenarios).toBeGreaterThan(0);
      expect(result.checks).toBeGreaterThan(result.scenarios);
      expect(result.differing.map((one) => `${comparison}: ${one.scenario} ${one.check}\n${parting(one)}`)).toEqual([]);
      expect(result.stale).toEqual([]);
    }
    if (proxy === 'sworn') expect(harness.verify()).toMatchObject({ status: 0 });
  },
  300_000,
);
