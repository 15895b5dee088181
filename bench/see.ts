/** `npm run bench:see`: what it costs to look at a ledger. */
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { isReached, digits, targetTable, type Target } from './figures.ts';
import { catalogFigures, catalogTable, catalogTargets } from './see-catalog.ts';
import { reportTargets } from './see-report.ts';
import { inWorld } from './world.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    /** `catalog` or `report`: only that. */
    only: { type: 'string' },
    /** Of the catalog: a ledger that is there. */
    ledger: { type: 'string' },
  },
});
const load = loadavg()[0]!;

await inWorld(async (world) => {
  const catalog = values.only === 'report' ? undefined : await catalogFigures(world, values.short ? 100_000 : 1_000_000, values.ledger);
  const targets: Target[] = [
    ...(catalog === undefined ? [] : catalogTargets(catalog)),
    ...(values.only === 'catalog' ? [] : await reportTargets(world, values.short ? 20_000 : 100_000)),
  ];
  if (values.json) console.log(JSON.stringify({ catalog, targets: targets.map((one) => ({ ...one, reached: isReached(one) })) }));
  else {
    if (catalog !== undefined) console.log(`\n${catalogTable(catalog)}`);
    console.log(`\nNode ${process.version}, ${availableParallelism()} cores, load ${digits(load)} before\n\n${targetTable(targets)}`);
  }
});
