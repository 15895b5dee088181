/** What pages ask about requests that wait for a person, and about those that one decided; in a report nothing waits. */
import type { Effect } from '../entry/entry.ts';
import type { Approval, CallRow, SessionRow } from './rows.ts';

/** A request that waits. Its content is in `ApprovalDetail`, which is recorded as opened before it is shown. */
export interface ApprovalRow {
  ledger: string;
  /** Index of its entry. */
  request: number;
  connection: string;
  server: string;
  client?: string;
  principal?: string;
  method: string;
  tool?: string;
  effect?: Effect;
  sensitive?: true;
  destructive?: true;
  rule: string;
  /** What the rule says. */
  reason?: string;
  askedAt: string;
  /** Without a decision it is denied then. */
  deadline: string;
  sizeBytes: number;
  /** Of what is shown: whoever decides names it. */
  commitment: string;
  /** Its arguments on one line, at most 160 characters, as stored. */
  argumentsText?: string;
  /** With the name of the tool that is all that the request says. */
  isAll?: true;
  /** More than is ever shown of it is in the request. */
  isCut?: true;
  /** Whoever decides here has the account of the tap: the entry will say `selfApproved`. */
  selfOnly?: true;
}

export interface ApprovalQueue {
  /** Of whoever serves, when this was answered: what is left of the time is counted from it. */
  now: string;
  /** Oldest first, at most 1,000. */
  rows: ApprovalRow[];
  total: number;
  /** Ledgers whose queue cannot be had, and why. */
  problems: { ledger: string; message: string }[];
  /** Whoever asks may decide once the second secret is typed in: a login, not a token. */
  mayUnlock: boolean;
}

export interface ApprovalDetail {
  approval: ApprovalRow;
  /** The message as stored (redacted), at most 8 KiB of it. */
  shown: string;
  /** Absent while the rows are behind. */
  session?: SessionRow;
  /** The last calls of the session before it, the latest first. */
  before: CallRow[];
}

/** An `approval` entry, and what it was about. */
export interface DecisionRow extends Approval {
  ledger: string;
  rule: string;
  commitment: string;
  session?: string;
  server?: string;
  method?: string;
  tool?: string;
  argumentsText?: string;
}

/** What is decided: bound to what was shown. */
export interface Decided {
  ledger: string;
  request: number;
  commitment: string;
}

/** What became of one of several that were decided together. */
export interface DecideResult {
  ledger: string;
  request: number;
  /** Index of its `approval` entry; absent with a problem. */
  decided?: number;
  waitedMs?: number;
  selfApproved?: true;
  problem?: string;
}

export interface Decision {
  decision: 'approved' | 'denied';
  /** Told to whoever asked. */
  reason?: string;
  /** What `unlock` gave for the secret. */
  key: string;
}

/** What a page asks of a dashboard with approvals. */
export interface ApprovalsBackend {
  /** `undefined`: `sworn serve --no-approvals`. */
  queue(): Promise<ApprovalQueue | undefined>;
  /** `undefined`: it does not wait any more. */
  detail(ledger: string, request: number): Promise<ApprovalDetail | undefined>;
  /** The latest first. */
  decisions(): Promise<DecisionRow[]>;
  /** A key for the second secret, to be kept in memory alone, and how long it lasts without a decision. */
  unlock(secret: string): Promise<{ key: string; forMs: number }>;
  /** At most 64 at a time. */
  decide(decision: Decision, requests: readonly Decided[]): Promise<DecideResult[]>;
}
