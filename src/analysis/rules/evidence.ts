/** Stretches of the ledger that cannot be relied on as the rest can. What a verifier says comes as an event; what entries say of themselves is read here. */
import type { Found } from '../events.ts';
import { msOf, rule, short, silencing } from './rule.ts';

export const unverifiable = rule<Record<string, never>>(
  {
    id: 'unverifiable',
    sees: ['entry', 'evidence'],
    severity: 'high',
    title: 'part of the record cannot be verified: it was changed, cut off, or contradicts what others have seen',
    why: 'What the record says there is worth nothing as evidence.',
    silence: silencing('unverifiable'),
  },
  () => ({}),
  (seen) => {
    if (seen.kind === 'entry' && seen.entry.kind === 'anchor' && seen.entry.problem !== undefined) {
      const { name, problem } = seen.entry;
      const detail = `${short(name, 80)} has seen ${problem === 'fork' ? 'another history of it' : 'more of it than there is'}`;
      return [{ first: seen.index, title: 'Why does a witness know this record otherwise?', detail, indexes: [seen.index] }];
    }
    if (seen.kind !== 'evidence') return [];
    const { state, sentence, firstBad } = seen.evidence;
    if (state === 'holds' || state === 'verifying' || state === 'policy') return [];
    const isBad = state === 'tampered' || state === 'fork';
    const first = firstBad ?? seen.index;
    const found: Found = {
      first,
      severity: isBad ? 'high' : 'low',
      title: isBad ? 'Who changed the record?' : 'Why can the record not be verified?',
      detail: short(sentence, 240),
      indexes: [first],
    };
    return [found];
  },
);

interface Unwitnessed {
  /** Below this index others have seen it. */
  size: number;
  /** The first entry that nobody has seen, and when it was written. */
  since?: number;
  sinceMs?: number;
  first?: number;
}

const unwitnessedMs = 60 * 60_000;

export const unwitnessed = rule<Unwitnessed>(
  {
    id: 'unwitnessed',
    sees: ['message', 'entry'],
    severity: 'low',
    title: 'witnesses are configured, and for an hour none of them has seen what was recorded',
    why: 'Until a witness has cosigned it, whoever has the key of the ledger could write that stretch again.',
    silence: silencing('unwitnessed', 'How long may be: findings: { rules: { unwitnessed: { afterMs: 86400000 } } } (default 3600000).'),
  },
  () => ({ size: 0 }),
  (seen, memory, settings) => {
    if (seen.kind !== 'message' && seen.kind !== 'entry') return [];
    const isAnchor = seen.kind === 'entry' && seen.entry.kind === 'anchor' && seen.entry.source === 'witness' && seen.entry.problem === undefined;
    const own = isAnchor || settings.count('witnesses', 0.5) >= 1 ? memory.of('') : memory.get('');
    // nobody was ever asked
    if (own === undefined) return [];
    if (isAnchor && seen.entry.kind === 'anchor') {
      own.size = Math.max(own.size, seen.entry.size);
      delete own.since;
      delete own.sinceMs;
      delete own.first;
      return [];
    }
    own.since ??= seen.index;
    own.sinceMs ??= msOf(seen.at);
    const waitedMs = msOf(seen.at) - own.sinceMs;
    if (waitedMs < settings.count('afterMs', unwitnessedMs)) return [];
    const isNew = own.first === undefined;
    own.first ??= own.since;
    if (!isNew) return [];
    const detail = `from entry ${own.since} on, ${Math.round(waitedMs / 60_000)} minutes so far`;
    return [{ first: own.first, title: 'Why has no witness seen this stretch of the record?', detail, indexes: [own.since, seen.index] }];
  },
);
