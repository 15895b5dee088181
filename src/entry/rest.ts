/**
 * What is left of segments that were erased in part (`spec/entry.md`, `rest`): an `erasure` entry stores it again as segments of its own, which may themselves be
 * erased in part later. Here is where each piece of a segment is now.
 */
import type { ErasureEntry } from './entry.ts';

/** Some bytes of an erased segment: `segment` of entry `index` holds those in `ranges` [start, end), one behind the other. */
export interface RestPlace {
  index: number;
  segment: number;
  ranges: readonly (readonly [number, number])[];
}

const nowhere: readonly RestPlace[] = [];

export class Rests {
  readonly #places = new Map<string, RestPlace[]>();
  readonly #owners = new Map<string, number>();

  /** Entries come in the order of the ledger. */
  add(index: number, { rest = [] }: Pick<ErasureEntry, 'rest'>): void {
    for (const [segment, of] of rest.entries()) {
      const key = `${of.index}:${of.segment}`;
      const places = this.#places.get(key);
      const place: RestPlace = { index, segment, ranges: of.ranges };
      if (places === undefined) this.#places.set(key, [place]);
      else places.push(place);
      this.#owners.set(`${index}:${segment}`, this.owner(of.index, of.segment));
    }
  }

  get isEmpty(): boolean {
    return this.#places.size === 0;
  }

  /** Where the rest of a segment is. */
  of(index: number, segment: number): readonly RestPlace[] {
    return this.#places.get(`${index}:${segment}`) ?? nowhere;
  }

  /** The entry whose frame a segment holds bytes of: of one that is no rest, its own. */
  owner(index: number, segment: number): number {
    return this.#owners.get(`${index}:${segment}`) ?? index;
  }
}

/** A stretch of a segment. */
export interface Stretch {
  at: number;
  sizeBytes: number;
}

/**
 * Puts stretches of a rest where they belong in the segment that it is the rest of. What lies in two ranges becomes two stretches; `cut` makes the shorter ones.
 */
export function putBack<S extends Stretch>(
  stretches: readonly S[],
  ranges: RestPlace['ranges'],
  cut: (stretch: S, from: number, sizeBytes: number, at: number) => S,
): S[] {
  const placed: S[] = [];
  for (const stretch of stretches) {
    let before = 0;
    for (const [start, end] of ranges) {
      const from = Math.max(stretch.at, before);
      const to = Math.min(stretch.at + stretch.sizeBytes, before + end - start);
      if (from < to) placed.push(cut(stretch, from - stretch.at, to - from, start + from - before));
      before += end - start;
    }
  }
  return placed;
}

/** Ascending, with what is in none of them as stretches of their own. */
export function withGaps<S extends Stretch>(stretches: readonly S[], sizeBytes: number, gap: (at: number, sizeBytes: number) => S): S[] {
  const all: S[] = [];
  let at = 0;
  for (const stretch of stretches.toSorted((a, b) => a.at - b.at)) {
    // not of the format: the verifier's business
    if (stretch.at < at || stretch.at + stretch.sizeBytes > sizeBytes) continue;
    if (stretch.at > at) all.push(gap(at, stretch.at - at));
    all.push(stretch);
    at = stretch.at + stretch.sizeBytes;
  }
  if (at < sizeBytes) all.push(gap(at, sizeBytes - at));
  return all;
}
