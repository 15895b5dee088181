/** Who let a call happen: nobody, a rule, or a person; and what became of a request that waited for one (`approval` in `spec/entry.md`). The same for rows, commands and pages. */
import { visible } from '../bytes/visible.ts';
import type { ApprovalDecision, ApprovalEntry, MessageEntry } from '../entry/entry.ts';
import { ownRules } from '../policy/verdict.ts';
import type { Approval, ApprovedBy, CallState } from './rows.ts';

/** `attributes`: as far as they are there. */
export function approvalOf(index: number, entry: ApprovalEntry, attributes: Readonly<Record<string, unknown>> = {}): Approval {
  const { request, decision, time: at, waitedMs, how, viewer, by, selfApproved } = entry;
  const { approver, reason } = attributes;
  return {
    index,
    request,
    decision,
    at,
    waitedMs,
    how,
    ...(by === undefined ? {} : { uid: by.uid, pid: by.pid }),
    ...(viewer === undefined ? {} : { viewer }),
    ...(typeof approver === 'string' ? { approver } : {}),
    ...(typeof reason === 'string' ? { reason } : {}),
    ...(selfApproved === undefined ? {} : { selfApproved }),
  };
}

/** Who let a request pass that nobody was asked about: a rule of the file, marked or not; the default is nobody's decision, and a rule in the shadow would have refused it. */
export function passedBy({ verdict, rule, shadow }: Pick<MessageEntry, 'verdict' | 'rule' | 'shadow'>): ApprovedBy | undefined {
  if (verdict === 'block' || verdict === 'ask') return undefined;
  return shadow !== true && rule !== undefined && !rule.startsWith('sworn:') ? 'rule' : 'nobody';
}

/** Whether a limit refused it; a limit with a name has it behind a slash. */
export function isLimited(rule: string | undefined): boolean {
  return rule === ownRules.limit || rule?.startsWith(`${ownRules.limit}/`) === true;
}

/** Asked for, and nobody has decided so far. */
export function isWaiting({ verdict, state, approval }: { verdict?: string; state: CallState; approval?: Approval }): boolean {
  return verdict === 'ask' && approval === undefined && state === 'open';
}

const words: Readonly<Record<ApprovalDecision, string>> = {
  approved: 'approved',
  denied: 'denied',
  'timed-out': 'timed out: nobody decided',
  cancelled: 'cancelled by its sender before anybody decided',
  lost: 'lost: its connection ended, or the recorder was started again, before anybody decided',
};

/** `approved by uid 1001 (command) after 8.1 s`: one line. Names in it come from others, and are made visible. */
export function approvalText({ decision, waitedMs, how, uid, viewer, approver, selfApproved }: Approval): string {
  const who = [
    approver === undefined ? '' : visible(approver),
    uid === undefined ? '' : `uid ${uid}`,
    viewer === undefined ? '' : `viewer ${visible(viewer)}`,
  ].filter((text) => text !== '');
  const isDecided = decision === 'approved' || decision === 'denied';
  const by = isDecided ? ` by ${who.length === 0 ? 'somebody' : who.join(', ')} (${how})` : '';
  const self = selfApproved ? ", with the agent's own account" : '';
  return `${words[decision]}${by}${self} after ${spanText(waitedMs)}`;
}

/** `340 ms`, `8.1 s`, `5 min`, `2.5 h`. */
export function spanText(ms: number): string {
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 60_000) return `${trimmed(ms / 1_000)} s`;
  if (ms < 3_600_000) return `${trimmed(ms / 60_000)} min`;
  return `${trimmed(ms / 3_600_000)} h`;
}

function trimmed(value: number): string {
  return value.toFixed(1).replace(/\.0$/, '');
}
