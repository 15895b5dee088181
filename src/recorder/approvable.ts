/**
 * Whether what waits for a person may still be delivered: hours can go by, and what came into force meanwhile counts.
 *
 * What must stay true: a freeze, a rule that denies, and a definition that nobody has accepted hold for what is approved as for what comes next; what cannot be
 * judged again is not approved.
 */
import type { Freeze } from '../policy/freeze.ts';
import { freezeOf } from '../policy/freeze.ts';
import { isProtected, Judge, type CompiledPolicy } from '../policy/judge.ts';
import type { Subject } from '../policy/match.ts';
import type { SessionCounts } from '../policy/session.ts';
import type { Connection } from './connection.ts';
import type { Pinner } from './pins.ts';

/** The request as it was judged. */
export interface AsJudged {
  subject: Subject;
  judge: Judge;
  counts: SessionCounts;
}

/** What can be seen of it by now. */
export interface Seen extends AsJudged {
  connection: Connection;
  /** Of its entry. */
  index: number;
  sizeBytes: number;
  /** All of it, to the letter; `undefined` where something was left out. */
  bytes: Uint8Array | undefined;
}

export interface InForce {
  freezes: readonly Freeze[];
  nowMs: number;
  pinner: Pick<Pinner, 'driftSince'>;
}

/** Why it may not be approved now, for people; nothing where it may. */
export function obstacleTo(asked: Seen, { freezes, nowMs, pinner }: InForce): string | undefined {
  const { connection, subject, judge } = asked;
  const frozen = isProtected(subject.method) ? undefined : freezeOf(freezes, subject, judge.party, nowMs);
  if (frozen !== undefined) return `the freeze of entry ${frozen.id} is in force: deny it, or sworn unfreeze ${frozen.id} first`;
  const { compiled } = connection.judge;
  const denial = compiled === judge.compiled ? undefined : denialBy(compiled, asked);
  return denial ?? pinner.driftSince(asked.index, subject, connection);
}

/** Another policy is in force than the one that asked. */
function denialBy(compiled: CompiledPolicy, { subject, judge, counts, sizeBytes, bytes }: Seen): string | undefined {
  if (bytes === undefined && compiled.rules.some(({ when }) => when !== undefined))
    return 'another policy is in force, whose conditions cannot be tried on what is left of it: deny it, and let it be asked again';
  const { kind, rule } = new Judge(compiled, judge.party).judge({ ...subject, anomalies: [], bytes, sizeBytes }, counts, [], 0);
  return kind === 'block' ? `another policy is in force, and ${rule} refuses it` : undefined;
}

/** Accounts that may decide by the policy in force: whoever a reload takes off a rule does not decide any more. */
export function approversNow(asked: readonly number[], rule: string | undefined, { rules }: CompiledPolicy): readonly number[] {
  const named = rules.find(({ name }) => name === rule);
  return named === undefined ? [] : asked.filter((uid) => named.approvers?.includes(uid) === true);
}
