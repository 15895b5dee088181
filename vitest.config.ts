import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// `.ci/run` counts the tests from a report of its own.
const report = process.env['SWORN_TEST_REPORT'];

/** Those that take longest, many of them waiting: begun last they would end alone. */
const longest = [
  'test/faults/faults',
  'test/scenarios/silent-recorder',
  'test/scenarios/manners',
  'test/scenarios/policy',
  'test/conformance/conformance',
  'test/scenarios/erase',
  'test/scenarios/both-ways',
  'test/scenarios/remote',
  'test/survive/recorder',
  'test/scenarios/proxy-stdio',
  'test/scenarios/conversations',
  'test/faults/power',
  'test/scenarios/size',
  'test/faults/prune',
  'test/fuzz/fuzz',
  'test/dashboard/live-tail',
  'test/survive/kills',
  'test/ui/hostile',
  'test/attacks/changes',
  'test/packed',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification): number => {
      const place = longest.findIndex((name) => moduleId.endsWith(`${name}.test.ts`));
      return place < 0 ? longest.length : place;
    };
    return (await super.sort(files)).toSorted((a, b) => placeOf(a) - placeOf(b));
  }
}

export default defineConfig({
  test: {
    reporters: report ? ['default', 'json'] : ['default'],
    ...(report ? { outputFile: { json: report } } : {}),
    projects: [
      // Units leave nothing behind: a process of its own for each file would take longer than what most of them do.
      { extends: true, test: { name: 'units', include: ['src/**/*.test.ts', 'scripts/**/*.test.ts'], isolate: false } },
      { extends: true, test: { name: 'whole', include: ['test/**/*.test.ts'], exclude: ['test/soak/**'] } },
    ],
    // Tests start processes and measure nothing. Many wait for most of their time: four at a time keep two processors busy, and time limits honest.
    pool: 'forks',
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
