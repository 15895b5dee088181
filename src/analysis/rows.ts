/**
 * What people ask about, as rows: the one shape that the catalog stores, the dashboard's API answers with and the report computes in the page. Field names that
 * `spec/entry.md` has mean the same here; `index` is a leaf position in the ledger `ledger` (32 hex digits). Times are ISO 8601 UTC as entries have them, durations µs,
 * sizes bytes. A row is evidence of nothing: it names the entries that are.
 */
import type {
  ApprovalDecision,
  ApprovalHow,
  Custody,
  Direction,
  Effect,
  EffectSource,
  Era,
  Kind,
  MessageType,
  Mode,
  Outcome,
  Transport,
  VerdictKind,
} from '../entry/entry.ts';

/** Where an effect or a mark was taken from; `reading`: reclassified where it is read (`--sensitive`, `servers:`), the ledger says otherwise. */
export type EffectFrom = EffectSource | 'reading';

export type CallState = 'open' | 'ok' | 'error' | 'toolError' | 'blocked' | 'cancelled' | 'unanswered';

/** Who let a call happen: of those of writing effect always, of others only a person. Absent where it did not happen, or waits. */
export type ApprovedBy = 'nobody' | 'rule' | 'person';

/** The end of a request's waiting, as people are told of it. */
export interface Approval {
  /** Of its `approval` entry, and of the request's. */
  index: number;
  request: number;
  decision: ApprovalDecision;
  at: string;
  waitedMs: number;
  how: ApprovalHow;
  /** Who decided, as the system says. */
  uid?: number;
  pid?: number;
  /** The dashboard's name for a login; the name that a webhook's secret vouches for. */
  viewer?: string;
  approver?: string;
  /** In the words of whoever decided. */
  reason?: string;
  /** Whoever decided has the account of the agent: it may have been the agent. */
  selfApproved?: true;
}

export interface Peer {
  name: string;
  version?: string;
}

export interface Principal {
  source: 'observed' | 'verified' | 'declared';
  /** Index of its `principal` entry. */
  index: number;
  uid?: number;
  pid?: number;
  user?: string;
  executable?: string;
  /** Subject, address or user agent, as far as kept. */
  name?: string;
}

/** Key: (ledger, session). */
export interface SessionRow {
  ledger: string;
  /** `<connection>` on stdio, `<connection>/<part>` behind a proxy, as `sworn sessions` shows it; what followed a silence of 30 minutes there: `<connection>/<part>@<index>`. */
  session: string;
  connection: string;
  index: number;
  server: string;
  transport: Transport;
  client?: Peer;
  serverInfo?: Peer;
  protocolVersion?: string;
  mode?: Mode;
  custody?: Custody;
  labels?: Record<string, string>;
  who: Principal[];
  openedAt: string;
  lastAt: string;
  closedAt?: string;
  closeReason?: string;
  messages: number;
  calls: number;
  writes: number;
  errors: number;
  unanswered: number;
  cancelled: number;
  blocked: number;
  flagged: number;
  /** Requests that a person was asked about. */
  asked: number;
  lost: number;
  anomalies: number;
  sizeBytes: number;
}

/** One logical call: of a tool, or another request of the client (`resources/read`, `prompts/get`, …; handshakes and pings too). Key: (ledger, index) of its first request. */
export interface CallRow {
  ledger: string;
  index: number;
  session: string;
  server: string;
  method: string;
  /** Tool or prompt name, or a resource's URI where it is kept. */
  target?: string;
  /** Of a tool: the digest of its definition (`DefinitionRow`) as its server had listed it last when the call began. Absent where it had not. */
  definition?: string;
  who?: number;
  era?: Era;
  effect: Effect;
  effectFrom: EffectFrom;
  sensitive?: true;
  destructive?: true;
  state: CallState;
  code?: number;
  verdict: VerdictKind;
  rule?: string;
  reason?: string;
  /** A limit refused it: how long it takes at least until it could pass. */
  retryAfterMs?: number;
  approvedBy?: ApprovedBy;
  /** A person was asked: what became of that. Without it a call whose verdict is `ask` waits. */
  approval?: Approval;
  beganAt: string;
  endedAt?: string;
  /** Since its session's `openedAt`, µs. */
  sinceOpenUs: number;
  durationUs?: number;
  requestBytes: number;
  /** Of its result as it came, and an estimate of the tokens that it put into the context (4 bytes a token; images and audio by their type's rule of thumb). */
  resultBytes?: number;
  contextTokens?: number;
  /** The first 160 characters of arguments and result, on one line, as stored (redacted stays redacted). */
  argumentsText?: string;
  resultText?: string;
  requests: number;
  asked: number;
  taskStatus?: string;
  /** Entries of this call, its first request first. */
  legs: number[];
  /** Rules whose findings name this call. */
  findings?: string[];
}

/** Every entry, one row, for search and the timeline. Key: (ledger, index). */
export interface EntryRow {
  ledger: string;
  index: number;
  kind: Kind;
  time: string;
  session?: string;
  server?: string;
  direction?: Direction;
  type?: MessageType | 'http';
  method?: string;
  target?: string;
  id?: string;
  outcome?: Outcome;
  effect?: Effect;
  sensitive?: true;
  destructive?: true;
  verdict?: VerdictKind;
  rule?: string;
  call?: number;
  durationUs?: number;
  sizeBytes?: number;
  anomalies?: string[];
  /** What it says in a few words, where it is no message: `policy load`, `erasure of 3 entries`, … */
  summary?: string;
}

/** Key: (ledger, server, tool). */
export interface ToolRow {
  ledger: string;
  server: string;
  tool: string;
  effect: Effect;
  effectFrom: EffectFrom;
  sensitive?: true;
  destructive?: true;
  calls: number;
  errors: number;
  blocked: number;
  unanswered: number;
  p50Us?: number;
  p95Us?: number;
  longestUs?: number;
  resultBytes: number;
  contextTokens: number;
  firstAt?: string;
  lastAt?: string;
  /** A `tools/list` of this server named it; false: called but never listed. */
  isListed: boolean;
  /** How many different definitions were seen. */
  definitions: number;
  /** Words of a definition that look like instructions to a model. */
  hiddenText?: string[];
}

/** A definition of a tool as a server listed it. Key: (ledger, server, tool, digest). */
export interface DefinitionRow {
  ledger: string;
  server: string;
  tool: string;
  /** SHA-256 of its JSON text, hex: without blanks, its members in the order as listed. */
  digest: string;
  firstIndex: number;
  firstAt: string;
  lastIndex: number;
  lastAt: string;
  /** The definition's JSON text, at most 64 KiB. */
  text: string;
}

export type TouchKind = 'read' | 'write' | 'unknown';

/** Something that a call named: an employee, a file, a table, a URL. Key: (ledger, entity): `<type>:<value>`. */
export interface EntityRow {
  ledger: string;
  entity: string;
  type: string;
  value: string;
  /** Departments, tenants and the like, as values seen beside it say (or the configuration). */
  attributes?: Record<string, string>;
  reads: number;
  writes: number;
  sensitive: number;
  /** Touched by so many sessions; one that goes on after 256 others, or after 1,000 other entities, may count again. */
  sessions: number;
  firstAt: string;
  lastAt: string;
  /** A lookup said that it does not exist. */
  isMissing?: true;
}

/** One entity in one call. Key: (ledger, entity, call). */
export interface TouchRow {
  ledger: string;
  entity: string;
  call: number;
  session: string;
  server: string;
  tool: string;
  kind: TouchKind;
  sensitive?: true;
  /** Where it stood: `arguments.id`, `result.employees[].id`. */
  path: string;
  at: string;
  who?: number;
}

export type Severity = 'high' | 'medium' | 'low' | 'info';

/** Something that an analysis wants a person to look at. Key: (ledger, finding). */
export interface FindingRow {
  ledger: string;
  /** 12 hex digits, stable for the same rule and the same first entry. */
  finding: string;
  rule: string;
  severity: Severity;
  /** One sentence, a question where a person has to answer it. */
  title: string;
  /** What was seen, in one line, with values as stored. */
  detail: string;
  why: string;
  silence: string;
  session?: string;
  server?: string;
  tool?: string;
  /** The entries that prove it, ascending, at most 100. */
  indexes: number[];
  count: number;
  firstAt: string;
  lastAt: string;
  acknowledged?: { index: number; at: string; note?: string };
}
