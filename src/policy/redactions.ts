/**
 * The ranges of a frame that are not stored: collected in any order, then ascending and apart.
 * What must stay true: however much is found, what is kept of it is bounded, and what was found lies in one of the ranges.
 */
import { redactedRanges } from '../limits.ts';
import type { Keep } from './policy.ts';
import type { Hit } from './range.ts';

/** A range that is not stored. `rule` names what found it: `key:*_token`, `path:$.params.x`, the id of a detector, `unreadable`, `repeated`. */
export interface Redaction extends Hit {
  keep: Keep;
  /** It holds more than was found one by one: nobody knows all the values in it. */
  isBlind?: true;
}

/** All of it, because not all that must not be stored is known. */
export function wholeOf(start: number, end: number): Redaction {
  return { start, end, rule: 'repeated', keep: 'drop', isBlind: true };
}

export type Add = (start: number, end: number, rule: string, keep: Keep) => void;

/** Hits are merged from here on: far more than can be ranges of their own. */
const hitsMost = 8 * redactedRanges;

/** What was found so far in one frame. */
export class Found {
  readonly hits: Redaction[] = [];

  readonly add: Add = (start, end, rule, keep) => {
    const { hits } = this;
    if (hits.length < hitsMost) {
      hits.push({ start, end, rule, keep });
      return;
    }
    const last = hits.at(-1)!;
    last.start = Math.min(last.start, start);
    last.end = Math.max(last.end, end);
    if (keep === 'drop') last.keep = 'drop';
  };

  clear(): void {
    this.hits.length = 0;
  }
}

/** Ascending and apart. Where two meet they are one, named by the one that was found first; dropped wins over checkable. */
export function apart(found: Redaction[]): Redaction[] {
  if (found.length < 2) return found.map((one) => ({ ...one }));
  // what the file names itself says more than what a detector took it for
  const ranked = found
    .map((one, rank) => ({ ...one, rank: /^(?:key|path):/.test(one.rule) ? rank - found.length : rank }))
    .sort((a, b) => a.start - b.start || a.rank - b.rank);
  const merged: (Redaction & { rank: number })[] = [];
  for (const one of ranked) {
    const last = merged.at(-1);
    if (last === undefined || one.start >= last.end) {
      merged.push(one);
      continue;
    }
    if (one.rank < last.rank) {
      last.rule = one.rule;
      last.rank = one.rank;
    }
    if (one.keep === 'drop') last.keep = 'drop';
    last.end = Math.max(last.end, one.end);
  }
  const out = merged.map(({ start, end, rule, keep }) => ({ start, end, rule, keep }));
  if (out.length <= redactedRanges) return out;
  const first = out[0]!;
  return [{ ...first, end: out.at(-1)!.end, keep: out.some(({ keep }) => keep === 'drop') ? 'drop' : first.keep, isBlind: true }];
}
