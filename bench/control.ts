/** `npm run bench:control`: what people in the loop, limits and pins cost. Each row is a function of its own, in a file of its own; none measures what another one left behind. */
import { availableParallelism, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { approvalsRows } from './control-approvals.ts';
import { limitsRows } from './control-limits.ts';
import type { Found, RowOptions } from './control-row.ts';
import { digits, isReached, table, targetTable } from './figures.ts';

const rows: readonly ((options: RowOptions) => Promise<Found>)[] = [approvalsRows, limitsRows];

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } } });
const load = loadavg()[0]!;
const found: Found = { figures: {}, lines: [], targets: [] };
for (const row of rows) {
  const { figures, lines, targets } = await row({ short: values.short });
  Object.assign(found.figures, figures);
  found.lines.push(...lines);
  found.targets.push(...targets);
}
const { figures, lines, targets } = found;
if (values.json) console.log(JSON.stringify({ figures, targets: targets.map((one) => ({ ...one, reached: isReached(one) })) }));
else {
  console.log(
    `\nNode ${process.version}, ${availableParallelism()} cores, load ${digits(load)} before\n\n${table(['a message, µs', 'without', 'with', 'added', 'added p99'], lines)}\n\n${targetTable(targets)}`,
  );
  for (const [name, figure] of Object.entries(figures)) console.log(`${name}: ${digits(figure)}`);
}
