/** Quantiles, and how figures are printed: a table for people, one JSON object with `--json`. */

export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/** A figure with a target: `limit` is what it must reach, from above or from below. */
export interface Target {
  name: string;
  figure: number;
  limit: number;
  /** Which side is good. */
  want: 'at most' | 'at least';
  unit: string;
  note?: string;
}

export function isReached({ figure, limit, want }: Target): boolean {
  return want === 'at most' ? figure <= limit : figure >= limit;
}

/** Three significant digits, without an exponent. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  return size >= 100 ? Math.round(value).toLocaleString('en-US') : size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => (typeof cell === 'number' ? digits(cell) : cell)));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  ');
  return [line(cells[0]!), widths.map((width) => '-'.repeat(width)).join('  '), ...cells.slice(1).map(line)].join('\n');
}

export function targetTable(targets: readonly Target[]): string {
  return table(
    ['target', 'figure', 'must be', '', ''],
    targets.map((one) => [
      one.name,
      `${digits(one.figure)} ${one.unit}`.trim(),
      `${one.want} ${digits(one.limit)} ${one.unit}`.trim(),
      isReached(one) ? 'reached' : 'NOT REACHED',
      one.note ?? '',
    ]),
  );
}
