/** Ranges of a ledger checked one after another, as several threads would: each range by the thread whose turn it is, with where that thread last stopped. */
import { expect } from 'vitest';
import type { Crypto } from '../src/bytes/crypto.ts';
import { nodeCrypto } from '../src/crypto-node.ts';
import type { Source } from '../src/verify/source.ts';
import type { Cursor, Spread } from '../src/verify/spread.ts';
import { checkRange, verifyLedger, type Verification, type VerifyOptions } from '../src/verify/verifier.ts';

export interface Counted extends Spread {
  /** Ranges that were taken, and those of them that were odd. */
  ranges: number;
  odd: number;
}

export function inTurns(
  source: Source,
  { crypto = nodeCrypto, workers = 2, entries = 256 }: { crypto?: Crypto; workers?: number; entries?: number } = {},
): Counted {
  const counted: Counted = {
    entries: () => entries,
    least: 0,
    ranges: 0,
    odd: 0,
    async *check(tasks, common) {
      const cursors: (Cursor | undefined)[] = [];
      for (const task of tasks) {
        const worker = counted.ranges++ % workers;
        const checked = await checkRange({ crypto, source }, task, structuredClone(common), cursors[worker]);
        cursors[worker] = checked?.cursor;
        if (!checked) counted.odd++;
        yield checked && structuredClone(checked.facts);
      }
    },
  };
  return counted;
}

/** Verifies a ledger that nobody writes in one pass, and in ranges by so many threads each; all must say the same. */
export async function verifySame(options: VerifyOptions, threads: readonly number[] = [1, 2, 3]): Promise<Verification> {
  const alone = await verifyLedger(options);
  if (alone.size - (alone.pruned?.entry.end ?? 0) <= 256 || alone.size > 1e6) return alone;
  for (const workers of threads) {
    const spread = inTurns(options.source, { crypto: options.crypto, workers, entries: workers === 3 ? 512 : 256 });
    expect(await verifyLedger({ ...options, spread }), `${workers} in turns`).toEqual(alone);
    // what holds was found so without the sequential pass
    if (alone.exit === 0) expect([spread.odd, spread.ranges > 0]).toEqual([0, true]);
  }
  return alone;
}
