/** What policy says of a message. Without a policy file every message passes. */
import type { VerdictKind } from '../entry/entry.ts';

export interface Verdict {
  kind: VerdictKind;
  /** The rule that decided; one that begins with `sworn:` is none of the file's. */
  rule?: string;
  /** The rule's own words. */
  reason?: string;
  /** The rule would have blocked or asked, had it been enforced. */
  shadow?: true;
  /** A limit refuses: how long it takes at least until the request could pass. */
  retryAfterMs?: number;
  /** A condition could not be evaluated: which kind of error, never a value. */
  problem?: string;
}

/** The verdict where no rule says otherwise. */
export const passes: Verdict = { kind: 'pass' };

/** Rules that stand in no file. */
export const ownRules = {
  /** `policy.default: deny`. */
  default: 'sworn:default',
  /** Two JSON readers could understand different things. */
  ambiguous: 'sworn:ambiguous',
  /** Longer than can be judged. */
  tooLarge: 'sworn:too-large',
  freeze: 'sworn:freeze',
  /** More than `limits` allow; of a limit with a name `sworn:limit/NAME`. */
  limit: 'sworn:limit',
  /** A tool whose definition nobody has accepted (`tools.pin`). */
  pin: 'sworn:pin',
  /** About a request that was never delivered: its cancellation, or a reply to it. */
  notSent: 'sworn:not-sent',
} as const;
