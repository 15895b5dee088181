/** `npm run bench:see`: what it costs to look at a ledger. */
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { isReached, digits, targetTable, type Target } from './figures.ts';
import { reportTargets } from './see-report.ts';
import { inWorld } from './world.ts';

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } } });
const load = loadavg()[0]!;

await inWorld(async (world) => {
  const targets: Target[] = [...(await reportTargets(world, values.short ? 20_000 : 100_000))];
  if (values.json) console.log(JSON.stringify({ targets: targets.map((one) => ({ ...one, reached: isReached(one) })) }));
  else console.log(`\nNode ${process.version}, ${availableParallelism()} cores, load ${digits(load)} before\n\n${targetTable(targets)}`);
});
