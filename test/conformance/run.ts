/**
 * The conformance suite, directly and through what stands between, compared check by check: `npm run conformance`. The status is 1 when a check differs for
 * which `exceptions.json` has no reason, when a reason there is no longer needed, or when `sworn verify` does not like the ledger of it.
 *
 *   --proxy sworn|pass-through     what stands in front of HTTP servers (sworn)
 *   --only server|client|stdio     one part; may be given several times
 *   --requirements <revision>      2025-11-25 or 2026-07-28; both without it
 *   --scenario <name>              may be given several times
 *   --short                        a few quick scenarios of each part
 *   --keep <folder>                leaves the suite's results there
 */
import { parseArgs } from 'node:util';
import { counts, parting } from './compare.ts';
import { Harness, parts, type Part } from './harness.ts';
import { revisions, type Revision } from './suite.ts';
import type { Proxy } from './programs.ts';

const { values } = parseArgs({
  options: {
    proxy: { type: 'string', default: 'sworn' },
    only: { type: 'string', multiple: true },
    requirements: { type: 'string', multiple: true },
    scenario: { type: 'string', multiple: true },
    short: { type: 'boolean', default: false },
    keep: { type: 'string' },
  },
});
const among = <T extends string>(option: string, given: readonly string[] | undefined, known: readonly T[]): readonly T[] => {
  for (const word of given ?? []) if (!known.includes(word as T)) throw new Error(`--${option}: one of ${known.join(', ')}`);
  return (given as T[] | undefined) ?? known;
};
const chosenParts = among<Part>('only', values.only, parts);
const chosenRevisions = among<Revision>('requirements', values.requirements, revisions);
const [proxy] = among<Proxy>('proxy', [values.proxy], ['sworn', 'pass-through']) as [Proxy];

const harness = new Harness({ proxy, short: values.short, scenarios: values.scenario, keep: values.keep });
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void harness.end().finally(() => process.exit(1)));
}

let differ = 0;
let scenarios = 0;
let isRecorded = true;
try {
  for (const part of chosenParts) {
    for (const revision of chosenRevisions) {
      for (const { comparison, direct, through, result, unsteady } of await harness.compare(part, revision)) {
        const one = counts(direct);
        const other = counts(through);
        const differing = new Set(result.differing.map(({ scenario }) => scenario)).size;
        scenarios += result.scenarios;
        differ += differing + result.stale.length;
        const explained = result.explained.length === 0 ? '' : `, ${result.explained.length} checks explained`;
        console.log(
          `${`${comparison} ${revision}`.padEnd(34)} direct ${one.passed} passed ${one.failed} failed, through ${other.passed} ${other.failed}: ` +
            `${result.scenarios} scenarios, ${differing} differ${explained}`,
        );
        for (const difference of result.differing) console.log(`    ${difference.scenario}  ${difference.check}\n      ${parting(difference)}`);
        for (const { scenario, check } of unsteady) console.log(`    ${scenario}  ${check}: differed in one run and not in the next`);
        for (const { scenario, check } of result.stale) console.log(`    ${scenario}  ${check}: an exception that does not occur any more`);
      }
    }
  }
  if (proxy === 'sworn' || chosenParts.includes('stdio')) {
    const { status, stdout, stderr } = harness.verify();
    isRecorded = status === 0;
    console.log(`the ledger of it: ${(stdout + stderr).trim().split('\n')[0]!}`);
  }
} finally {
  await harness.end();
}
console.log(`${scenarios} scenarios, ${differ} differ`);
process.exitCode = differ === 0 && isRecorded ? 0 : 1;
