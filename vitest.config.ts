import { defineConfig } from 'vitest/config';

// `.ci/run` counts the tests from a report of its own.
const report = process.env['SWORN_TEST_REPORT'];

export default defineConfig({
  test: {
    reporters: report ? ['default', 'json'] : ['default'],
    ...(report ? { outputFile: { json: report } } : {}),
    include: ['src/**/*.test.ts', 'scripts/**/*.test.ts', 'test/**/*.test.ts'],
    exclude: ['test/soak/**', '**/node_modules/**'],
    // Tests start processes and measure nothing. Many wait for most of their time: four at a time keep two processors busy, and time limits honest.
    pool: 'forks',
    maxWorkers: 4,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
