/** What somebody asks about requests that wait for a person, and what is answered (`spec/wire.md`, Approvals). */
import type { ApprovalHow } from '../entry/entry.ts';
import { approvalReasonLength } from '../limits.ts';

/** A request that waits, as it is shown to whoever may decide on it. */
export interface Pending {
  /** Index of its entry. */
  request: number;
  connection: string;
  session?: number;
  server: string;
  client?: string;
  principal?: string;
  method: string;
  tool?: string;
  effect?: string;
  destructive?: true;
  sensitive?: true;
  rule: string;
  reason?: string;
  /** Times as entries say them. */
  askedAt: string;
  deadline: string;
  sizeBytes: number;
  commitment: string;
  /** As it is stored, at most `limits.approvalShownBytes`. */
  shown: string;
  isCut?: true;
  /** Whoever asks would be recorded as deciding for itself. */
  selfOnly?: true;
}

export interface Decide {
  request: number;
  commitment: string;
  decision: 'approved' | 'denied';
  reason?: string;
  how: Exclude<ApprovalHow, 'recorder'>;
  viewer?: string;
  approver?: string;
}

const approverLength = 256;

/** What `decide` says, from a stranger's JSON; a text says what is wrong with it. */
export function readDecide(json: Record<string, unknown>): Decide | string {
  const { request, commitment, decision, reason, how = 'command', viewer, approver } = json;
  if (!Number.isSafeInteger(request) || (request as number) < 0) return 'request is the index of an entry';
  if (typeof commitment !== 'string') return 'commitment is that of what was shown';
  if (decision !== 'approved' && decision !== 'denied') return 'decision is approved or denied';
  if (reason !== undefined && !isText(reason, approvalReasonLength)) return `reason is a text of 1 to ${approvalReasonLength} characters`;
  if (how !== 'command' && how !== 'dashboard' && how !== 'webhook') return 'how is command, dashboard or webhook';
  if (viewer !== undefined && (typeof viewer !== 'string' || !/^[0-9a-f]{16}$/.test(viewer))) return 'viewer is 16 hex digits';
  if (approver !== undefined && !isText(approver, approverLength)) return `approver is a text of 1 to ${approverLength} characters`;
  return {
    request: request as number,
    commitment,
    decision,
    ...(reason === undefined ? {} : { reason }),
    how,
    ...(viewer === undefined ? {} : { viewer }),
    ...(approver === undefined ? {} : { approver }),
  };
}

function isText(value: unknown, mostLength: number): value is string {
  return typeof value === 'string' && value !== '' && value.length <= mostLength;
}
