/**
 * Every parser under many mutated inputs: `npm run fuzz -- --inputs 1000000`. Slow ones get a share of them. `--seed` makes other inputs, `--only note` asks
 * one parser alone, `--from 17 --inputs 1` one input alone. The exit status is 1 when something did not hold; inputs over 250 ms are reported.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { scratch } from '../faults/world.ts';
import { fuzz, timeOf } from './fuzz.ts';
import { parsers } from './parsers.ts';

const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    only: { type: 'string' },
    /** Where failing and slow inputs are written. */
    keep: { type: 'string' },
  },
});
const inputs = Number(values.inputs);
const seed = Number(values.seed);
const from = Number(values.from);
const slowMs = 250;
const mostRss = 1.5 * 1024 ** 3;

const { root, remove } = scratch();
try {
  const all = await parsers(root);
  const chosen = all.filter(({ name }) => values.only === undefined || name === values.only);
  if (chosen.length === 0) throw new Error(`no parser is called ${values.only}; there are: ${all.map(({ name }) => name).join(', ')}`);
  console.log(`seed ${seed}`);
  console.log(
    `${'parser'.padEnd(22)}${'inputs'.padStart(10)}${'accepted'.padStart(10)}${'a second'.padStart(10)}${'slowest'.padStart(12)}${'memory'.padStart(10)}`,
  );
  for (const parser of chosen) {
    const count = values.only === undefined ? Math.ceil(inputs * (parser.share ?? 1)) : inputs;
    const result = await fuzz(parser, { inputs: count, seed, from });
    const slowest = result.slowestMs > slowMs && result.failures.length === 0 ? await timeOf(parser, result.slowest) : result.slowestMs;
    const rss = process.memoryUsage.rss();
    console.log(
      parser.name.padEnd(22) +
        String(result.inputs).padStart(10) +
        String(result.accepted).padStart(10) +
        String(Math.round(result.rate)).padStart(10) +
        `${slowest.toFixed(1)} ms`.padStart(12) +
        `${Math.round(rss / 1024 ** 2)} MiB`.padStart(10),
    );
    const keep = (kind: string, n: number, bytes: Uint8Array): string => {
      if (values.keep === undefined) return '';
      const path = join(values.keep, `${parser.name.replaceAll(/[^a-z0-9]+/gi, '-')}-${kind}-${n}`);
      writeFileSync(path, bytes);
      return `, kept as ${path}`;
    };
    for (const { n, message, input } of result.failures) {
      process.exitCode = 1;
      console.log(
        `  FAILED at --only '${parser.name}' --from ${n} --inputs 1${keep('failed', n, Buffer.from(input, 'hex'))}\n  ${message}\n  ${input.slice(0, 2000)}`,
      );
    }
    if (slowest > slowMs) {
      process.exitCode = 1;
      console.log(`  SLOW at --only '${parser.name}' --from ${result.slowestN} --inputs 1${keep('slow', result.slowestN, result.slowest)}`);
    }
    if (rss > mostRss) {
      process.exitCode = 1;
      console.log('  MEMORY: more than 1.5 GiB');
    }
  }
} finally {
  remove();
}
