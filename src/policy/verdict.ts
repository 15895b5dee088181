/** What policy says of a message. Without a policy file every message passes. */
import type { VerdictKind } from '../entry/entry.ts';

export interface Verdict {
  kind: VerdictKind;
  rule?: string;
}

/** The verdict where no rule says otherwise. */
export const passes: Verdict = { kind: 'pass' };
