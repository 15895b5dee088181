/**
 * What was erased against what says so (`spec/entry.md`, `erasure`): an erasure stands behind what it is about, so what is met as erased waits for it.
 * Keeps one byte for each entry, positions only of lists of which several items were stored, and the ranges that erasures name.
 */
import type { ErasureEntry, ErasureTarget } from '../entry/entry.ts';
import type { Findings } from './finding.ts';

/** The two lists of items that an entry has. */
export type List = 'attributes' | 'segments';
const lists: readonly List[] = ['attributes', 'segments'];

const erasedBit = { attributes: 1, segments: 2 } as const;
const keptBit = { attributes: 4, segments: 8 } as const;
const namedBit = { attributes: 16, segments: 32 } as const;
/** Positions that are remembered one by one; beyond it a list counts as named once any of it is. */
const positionsMost = 1_000_000;

interface Detail {
  /** Erased, and not named by now. */
  erased: Set<number>;
  named: Set<number>;
}

export class Erasures {
  #bits = new Uint8Array(1024);
  readonly #details = new Map<string, Detail>();
  #positions = 0;
  #isCoarse = false;
  /** Entries of which one list is named as a whole: [first, last], in the order in which they came. */
  readonly #whole: Record<List, [number, number][]> = { attributes: [], segments: [] };
  /** Items that are not there and once were. */
  segments = 0;
  entries = 0;
  erasures = 0;
  #first: number | undefined;

  /** An entry's list, as it was found. */
  note(index: number, list: List, kept: number, erased: readonly number[]): void {
    if (index >= this.#bits.length) this.#grow(index);
    let bits = this.#bits[index]!;
    if (kept > 0) bits |= keptBit[list];
    if (erased.length > 0) {
      if ((bits & (erasedBit.attributes | erasedBit.segments)) === 0) this.entries++;
      bits |= erasedBit[list];
      this.segments += erased.length;
      if (kept + erased.length > 1) {
        if (this.#positions + erased.length > positionsMost) this.#isCoarse = true;
        else {
          this.#positions += erased.length;
          this.#details.set(`${index} ${list}`, { erased: new Set(erased), named: new Set() });
        }
      }
    }
    this.#bits[index] = bits;
  }

  #grow(index: number): void {
    const bits = new Uint8Array(Math.max(index + 1, this.#bits.length * 2));
    bits.set(this.#bits);
    this.#bits = bits;
  }

  /** An erasure at `index`. What it names must stand before it. */
  take(index: number, { targets, rest = [] }: ErasureEntry, findings: Findings): void {
    this.erasures++;
    this.#first ??= index;
    for (const target of targets) {
      const last = target.to ?? target.index;
      if (last >= index) {
        findings.add('tampered', 'reference', `the erasure of entry ${index} names entry ${last}, which is not before it`, { index });
        continue;
      }
      this.#take(target, last, findings);
    }
    for (const { index: of, segment } of rest) {
      const isNamed = targets.some((target) => target.index <= of && of <= (target.to ?? target.index) && names(target.segments, segment));
      if (!isNamed)
        findings.add('tampered', 'reference', `entry ${index} holds a rest of segment ${segment} of entry ${of}, which it does not erase`, { index });
    }
  }

  #take(target: ErasureTarget, last: number, findings: Findings): void {
    for (const list of lists) {
      const positions = target[list];
      if (positions === undefined) continue;
      if (positions === 'all') {
        const whole = this.#whole[list];
        const before = whole.at(-1);
        if (before !== undefined && target.index <= before[1] + 1 && target.index >= before[0]) before[1] = Math.max(before[1], last);
        else whole.push([target.index, last]);
        continue;
      }
      // the recorder names positions of one entry alone
      const { index } = target;
      const bits = this.#bits[index] ?? 0;
      const detail = this.#details.get(`${index} ${list}`);
      const stillThere = (k: number): void =>
        findings.add(
          'warning',
          'erasure-unfinished',
          `${list === 'segments' ? 'segment' : 'attribute'} ${k} of entry ${index} was to be erased and is still there`,
          { index },
        );
      if (detail === undefined) {
        if ((bits & erasedBit[list]) !== 0) this.#bits[index] = bits | namedBit[list];
        else if ((bits & keptBit[list]) !== 0) for (const k of positions) stillThere(k);
        continue;
      }
      for (const k of positions) {
        if (detail.erased.delete(k)) detail.named.add(k);
        else if (!detail.named.has(k)) stillThere(k);
      }
      if (detail.erased.size === 0) this.#bits[index] = bits | namedBit[list];
    }
  }

  /** Whether everything that was erased is named so far. */
  get areAllNamed(): boolean {
    for (const list of lists) for (const _ of this.#unnamed(list)) return false;
    return true;
  }

  /** What only the end shows. `isWhole`: every entry could be read, so no erasure was overlooked. */
  finish(findings: Findings, isWhole: boolean): void {
    const unstated = new Set<number>();
    for (const list of lists) {
      for (const index of this.#unnamed(list)) unstated.add(index);
      for (const [first, last] of merged(this.#whole[list]))
        for (let index = first; index <= Math.min(last, this.#bits.length - 1); index++) {
          if ((this.#bits[index]! & keptBit[list]) !== 0)
            findings.add('warning', 'erasure-unfinished', `${list} of entry ${index} were to be erased and are still there`, { index });
        }
    }
    for (const index of [...unstated].sort((a, b) => a - b)) {
      findings.add(isWhole ? 'tampered' : 'missing', 'erased-unstated', `content of entry ${index} was erased, and no later entry says so`, {
        index,
      });
    }
    if (this.segments > 0 && this.erasures > 0) {
      const coarse = this.#isCoarse ? '; there are too many to hold each against its erasure' : '';
      findings.add(
        'note',
        'erased',
        `${this.segments} segment(s) of ${this.entries} entries were erased by ${this.erasures} erasure(s), the first at entry ${this.#first}; their hashes still hold${coarse}`,
        this.#first === undefined ? {} : { index: this.#first },
      );
    }
  }

  /** Entries that lack something of a list, which nothing names. */
  *#unnamed(list: List): Generator<number> {
    const whole = merged(this.#whole[list]);
    let at = 0;
    for (let index = 0; index < this.#bits.length; index++) {
      const bits = this.#bits[index]!;
      if ((bits & erasedBit[list]) === 0 || (bits & namedBit[list]) !== 0) continue;
      while (at < whole.length && whole[at]![1] < index) at++;
      if (at < whole.length && whole[at]![0] <= index) continue;
      yield index;
    }
  }
}

function names(positions: readonly number[] | 'all' | undefined, k: number): boolean {
  return positions === 'all' || (positions?.includes(k) ?? false);
}

function merged(ranges: readonly [number, number][]): [number, number][] {
  const out: [number, number][] = [];
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const before = out.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else out.push([first, last]);
  }
  return out;
}
