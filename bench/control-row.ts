/** What every row of `npm run bench:control` is asked for and gives, each in a file of its own: `control.ts` runs them and prints what they found. */
import type { Target } from './figures.ts';

/** What a row of the bench found. */
export interface Found {
  figures: Record<string, number>;
  /** A line for people, beside the targets: what, without, with, added, added p99 (µs). */
  lines: (string | number)[][];
  targets: Target[];
}

export interface RowOptions {
  /** Fewer rounds: for a look, not for a figure. */
  short: boolean;
}
