/**
 * The questions that pages ask, and the answers' shapes: `GET /api/v1/…` of `sworn serve` answers them from the catalog, a report answers them in the page from its own
 * verified entries. One app stands on either (`Backend`).
 */
import type { ApprovalsBackend } from './approval-views.ts';
import type { Custody } from '../entry/entry.ts';
import type { CallRow, DefinitionRow, EntityRow, EntryRow, FindingRow, Principal, SessionRow, Severity, ToolRow, TouchRow } from './rows.ts';

/** Rows of an answer, from `offset` on, and how many there are in all. */
export interface Page<Row> {
  rows: Row[];
  offset: number;
  total: number;
}

/** What narrows every view. `filter` is a line in the language of `filter.ts`: the words of `sworn log`'s flags. */
export interface Range {
  /** Of these ledgers; absent: all. */
  ledger?: string;
  session?: string;
  /** ISO 8601. */
  since?: string;
  until?: string;
  filter?: string;
}

export interface Paging {
  offset?: number;
  /** 1 … 1,000, default 100. */
  limit?: number;
  /** Of the column's field name, descending with a leading `-`. */
  sort?: string;
}

/** The evidence line: computed now, by whoever shows it. */
export interface EvidenceState {
  ledger: string;
  name: string;
  state: 'verifying' | 'holds' | 'tampered' | 'inconclusive' | 'policy' | 'fork' | 'unverified';
  /** One calm sentence. */
  sentence: string;
  /** While `verifying`: 0 … 1. */
  progress?: number;
  verifiedAt?: string;
  /** Entries under the checkpoint, and those that this page has. */
  size: number;
  shown: number;
  later: number;
  keyFingerprint?: string;
  isPinned?: boolean;
  custody?: Custody;
  /** In plain words what that custody means, and the one command that improves it. */
  custodyMeans?: string;
  witnesses: { name: string; at: string; isVerified: boolean }[];
  firstBad?: number;
  findings: { severity: string; code: string; message: string; index?: number; path?: string }[];
  steps: { name: string; result: 'ok' | 'bad' | 'unknown' | 'running'; detail: string; tookMs?: number }[];
  checked: string[];
  notChecked: string[];
  /** Commands that repeat it elsewhere. */
  commands: { does: string; command: string }[];
}

/** `calls` and what is counted of them, here and in `Timeline`, are calls of tools (`tools/call`): handshakes, lists and pings say nothing of what an agent did. */
export interface Overview {
  /** The zone that every date of a page is in, and where "today" begins. */
  zone: string;
  now: string;
  sessions: number;
  openSessions: number;
  calls: number;
  callsToday: number;
  reads: number;
  writes: number;
  sensitive: number;
  blocked: number;
  errors: number;
  unanswered: number;
  /** errors ÷ answered calls, 0 … 1; absent without any. */
  errorRate?: number;
  p50Us?: number;
  p95Us?: number;
  findings: Record<Severity, number>;
  acknowledged: number;
  firstAt?: string;
  lastAt?: string;
  /** Entries that the rows do not cover yet, while a catalog catches up. */
  behind: number;
}

/** Calls that began in one stretch of time. */
export interface Bucket {
  at: string;
  reads: number;
  writes: number;
  sensitive: number;
  errors: number;
  blocked: number;
  other: number;
}

export interface Timeline {
  bucketMs: number;
  buckets: Bucket[];
}

/** What is left of a frame: text, or why a stretch of it is not here. */
export type Stretch = { text: string } | { missing: 'redacted' | 'not captured' | 'erased' | 'withheld' | 'lost'; sizeBytes: number; rule?: string };

/** One message of a call, or any entry, opened. */
export interface EntryDetail {
  ledger: string;
  index: number;
  /** The leaf as stored: JSON text. */
  leaf: string;
  leafHash: string;
  attributes: Record<string, unknown>;
  frame?: Stretch[];
  /** The frame is no UTF-8 text: base64 of its first 64 KiB. */
  binary?: string;
  isVerified: boolean;
}

export interface CallDetail {
  call: CallRow;
  legs: EntryDetail[];
  principal?: Principal & Record<string, unknown>;
  findings: FindingRow[];
  touches: TouchRow[];
}

export interface ToolDetail {
  tool: ToolRow;
  definitions: DefinitionRow[];
  findings: FindingRow[];
}

export interface EntityDetail {
  entity: EntityRow;
  touches: TouchRow[];
  calls: CallRow[];
  /** Who made those calls, as far as sessions know. */
  principals: Principal[];
}

/** Tools by entities: `cells[row][column]` counts touches. */
export interface Matrix {
  tools: { server: string; tool: string; sensitive?: true }[];
  entities: EntityRow[];
  cells: { reads: number; writes: number; sensitive: number }[][];
  total: number;
}

/** What the live tail says is new: how many, or that it is another. */
export interface Change {
  entries?: number;
  calls?: number;
  findings?: number;
  evidence?: true;
  /** What waits for a person is something else. */
  approvals?: true;
}

/** What a page hears of it. */
export interface Heard extends Change {
  /** There may be more than was told, as nobody was told for a while. */
  missed?: true;
  /** Whether what is new is told at all, from now on. */
  isConnected?: boolean;
}

/** What the app stands on. Every method may reject with an `Error` whose message is for people. */
export interface Backend {
  readonly kind: 'live' | 'report';
  evidence(): Promise<EvidenceState[]>;
  overview(range: Range): Promise<Overview>;
  /** About `wanted` buckets. */
  timeline(range: Range, wanted: number): Promise<Timeline>;
  sessions(range: Range, paging: Paging): Promise<Page<SessionRow>>;
  calls(range: Range, paging: Paging): Promise<Page<CallRow>>;
  call(ledger: string, index: number): Promise<CallDetail | undefined>;
  entries(range: Range, paging: Paging): Promise<Page<EntryRow>>;
  entry(ledger: string, index: number): Promise<EntryDetail | undefined>;
  tools(range: Range, paging: Paging): Promise<Page<ToolRow>>;
  tool(ledger: string, server: string, tool: string): Promise<ToolDetail | undefined>;
  entities(range: Range, paging: Paging): Promise<Page<EntityRow>>;
  matrix(range: Range, paging: Paging): Promise<Matrix>;
  entity(ledger: string, entity: string): Promise<EntityDetail | undefined>;
  findings(range: Range, paging: Paging): Promise<Page<FindingRow>>;
  /** Called when something new can be asked for; says how to stop. What is new is not pushed: whoever reads decides when to look. */
  subscribe(changed: (change: Heard) => void): () => void;
  /** Checks all of it again, now. */
  verify(ledger: string): Promise<void>;
  /** Absent in a report. */
  acknowledge?(ledger: string, finding: string, note: string): Promise<void>;
  /** Absent in a report: nothing waits in it. */
  readonly approvals?: ApprovalsBackend;
}
