/**
 * Who may decide on a request that waits for a person (`spec/policy.md`, Approval).
 *
 * What must stay true: nobody below a tapped client decides, whatever its account; an account that only `approvers` names decides what its rule asks for, and never for itself.
 */
import { isApart, type Parties } from './administrator.ts';
import type { Peer } from './peer.ts';

/** The request, as far as it matters who decides. */
export interface Asked {
  /** Of its rule. */
  approvers: readonly number[];
  /** The account of who asks: of the tap, or what a proxy saw on this machine; `undefined`: not known, or elsewhere. */
  askerUid: number | undefined;
  /** `askerUid` is not there because nobody knows it, and not because there is none on this machine. */
  isUnknown: boolean;
}

export interface Approver {
  by: { uid: number; pid: number };
  /** Root, or the recorder's account: it may also say that a dashboard or a webhook stands behind it. */
  isAdministrator: boolean;
}

/** Whoever is not below a tapped client; a text says why this peer is nobody. */
export function approverOf(peer: Peer, parties: Parties): Approver | string {
  const { uid, pid } = peer;
  if (uid === undefined || pid === undefined) return 'nobody knows which process asks';
  if (!isApart(uid, pid, parties)) return `process ${pid} belongs to a tapped client and may not decide on its requests`;
  return { by: { uid, pid }, isAdministrator: uid === 0 || uid === process.getuid?.() };
}

/** Whether it may see and decide this one, and would then have decided for itself; a text says why not. */
export function mayDecide({ by: { uid }, isAdministrator }: Approver, asked: Asked): { isSelf: boolean } | string {
  const isSelf = asked.isUnknown || asked.askerUid === uid || asked.askerUid === 0;
  if (isAdministrator) return { isSelf };
  if (!asked.approvers.includes(uid)) return `uid ${uid} is no approver of this rule`;
  return isSelf ? `uid ${uid} is the account that asks, and may not decide for itself` : { isSelf };
}
