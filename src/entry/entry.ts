/**
 * The leaf of the ledger as `spec/entry.md` defines it: types, and a strict reader for what was stored.
 * An entry is serialised once, by the recorder; nobody else turns an `Entry` back into bytes.
 */

import type { Effect, EffectSource } from '../mcp/effect.ts';
import type { Anomaly as MessageAnomaly, Direction, Era, MessageType, Outcome } from '../mcp/message.ts';

export type { Direction, Effect, EffectSource, Era, MessageType, Outcome };
export type Transport = 'stdio' | 'http';
export type Mode = 'commit' | 'observe';
export type OnUnrecordable = 'block' | 'pass';
export type Custody = 'same-user' | 'separate-user' | 'remote' | 'in-process';
export type VerdictKind = 'pass' | 'block' | 'flag' | 'ask';
export type Origin = 'client' | 'server' | 'sworn';
/** What of a message is stored (`spec/policy.md`, Capture). */
export type CaptureLevel = 'none' | 'metadata' | 'request' | 'full';
/** Of the message, and of its frame. */
export type Anomaly = MessageAnomaly | 'unterminated' | 'header-mismatch';

/** What HTTP says of a frame beside a POST that is answered with 200. */
export interface Http {
  method?: string;
  status?: number;
  /** The `Content-Encoding` that the recorded bytes were decoded from. */
  encoding?: string;
  /** Nothing more came on this stream, and why. */
  end?: string;
  /** Frames of this stream and direction, by `tapSeq`, that were let go and did not arrive. */
  undelivered?: [number, number];
  /** Those that did arrive after that was said of them. */
  delivered?: [number, number];
  /** The client got other values than the recorded bytes say (†`rewritten`). */
  rewritten?: true;
  /** The proxy said this itself. */
  own?: true;
}

export const kinds = [
  'start',
  'stop',
  'open',
  'principal',
  'message',
  'batch',
  'close',
  'policy',
  'key',
  'anchor',
  'erasure',
  'prune',
  'recovery',
  'gap',
  'approval',
  'access',
  'seal',
] as const;
export type Kind = (typeof kinds)[number];

export interface Common {
  v: 1;
  kind: Kind;
  time: string;
  monotonicUs: number;
  attributes?: number;
  attributesCommitment?: string;
  truncated?: string[];
}

export interface StartEntry extends Common {
  kind: 'start';
  /** Of a ledger's first one: the last checkpoint of the ledger that this one goes on from, after its key was lost to somebody. */
  continues?: { origin: string; size: number; root: string };
  ledger: string;
  origin: string;
  vkey: string;
  recorder: { version: string; uid: number; pid: number };
  bootId?: string;
}

export interface StopEntry extends Common {
  kind: 'stop';
  reason: 'idle' | 'asked' | 'signal';
  by?: { uid: number; pid: number };
  selfAdministered?: true;
}

export interface OpenEntry extends Common {
  kind: 'open';
  connection: string;
  transport: Transport;
  server: string;
  client?: string;
  mode: Mode;
  onUnrecordable: OnUnrecordable;
  custody: Custody;
  tap: { uid?: number; pid?: number; startTime?: string; source: string };
  process?: { pid: number; startTime?: string };
  executableDigest?: string;
  tokenDigest?: string;
  policyDigest?: string;
  labels?: Record<string, string>;
}

export interface PrincipalEntry extends Common {
  kind: 'principal';
  connection: string;
  source: 'observed' | 'verified' | 'declared';
  /** Of a process on this machine. */
  uid?: number;
  pid?: number;
  /** Who says so; absent: the recorder, of the tap's own parents. Such a principal is behind the messages whose `who` names it, not behind the connection. */
  reportedBy?: 'proxy';
  /** What was shown and verified. */
  method?: 'jwt' | 'client-certificate' | 'api-key';
  /** Why a credential that was shown did not verify: a word of `spec/entry.md`. */
  failure?: string;
  /** The proxy's account is not in `trustedTaps`: whatever it says is only declared. */
  unbelieved?: true;
}

/** What `message` and `batch` share. */
export interface FrameFields extends Common {
  connection: string;
  stream: number;
  seq: number;
  tapSeq: number;
  direction: Direction;
  transport: Transport;
  who?: number;
  /** Index of the first entry of its MCP session; absent on that one. */
  session?: number;
  http?: Http;
  server: string;
  verdict: VerdictKind;
  rule?: string;
  reason?: string;
  shadow?: true;
  problem?: string;
  /** A limit refused it: how long it takes at least until it could pass. */
  retryAfterMs?: number;
  capture?: CaptureLevel;
  /** How many ranges of the frame each rule left out. */
  redacted?: Record<string, number>;
  /** Units of each direction that have no entry, of this connection so far, when there are any: `capture: none` left them out, or a limit refused more than were worth one. */
  uncaptured?: [number, number];
  origin: Origin;
  anomalies?: Anomaly[];
  sizeBytes: number;
  /** Absent on an item of a batch, like `commitment`. */
  segments?: number;
  commitment?: string;
  parts?: number;
  delivered?: [number, number];
}

export interface BatchEntry extends FrameFields {
  kind: 'batch';
  items: number;
}

export interface MessageEntry extends FrameFields {
  kind: 'message';
  /** `http`: no message, but a request or a response without a body, or a stream's end. */
  type: MessageType | 'http';
  id?: string;
  method?: string;
  target?: string;
  era?: Era;
  protocolVersion?: string;
  exchange?: number;
  call?: number;
  /** Of a task, as its server says it. */
  taskStatus?: string;
  /** Index of the SSE event that this is, sent again. */
  repeats?: number;
  effect?: Effect;
  effectSource?: EffectSource;
  sensitive?: true;
  destructive?: true;
  outcome?: Outcome;
  code?: number;
  durationUs?: number;
  resultType?: string;
  batch?: number;
  item?: number;
  range?: [number, number];
}

export interface CloseEntry extends Common {
  kind: 'close';
  connection: string;
  reason: 'client closed' | 'server exited' | 'signal' | 'spawn failed' | 'tap lost';
  exitCode?: number;
  signal?: string;
  frames?: { c2s: number; s2c: number };
  delivered?: [number, number];
  uncaptured?: [number, number];
  executableDigest?: string;
}

export interface RecoveryEntry extends Common {
  kind: 'recovery';
  reason: 'torn-record' | 'clock-set-back' | 'unclean-stop' | 'receipt-missing' | 'resumed';
  cutBytes?: number;
  backUs?: number;
  connection?: string;
  receipt?: { index: number; hash: string };
}

export interface GapEntry extends Common {
  kind: 'gap';
  connection: string;
  reason: string;
  lost: { c2s: number; s2c: number };
  from?: string;
  until?: string;
}

/** It was the first list of its server, a file of pins says so, or an administrator (said again where the entry that did goes). */
export type PinSource = 'list' | 'file' | 'accept';
/** Another definition than is trusted; a tool that the server had not listed at first; a tool that is not listed any more, which keeps nothing back. */
export type PinChange = 'changed' | 'new' | 'gone';

export interface PolicyEntry extends Common {
  kind: 'policy';
  act: 'load' | 'rejected' | 'freeze' | 'unfreeze' | 'hold' | 'release' | 'pin' | 'drift' | 'accept' | 'limited';
  /** Of the file in force, SHA-256 in hex; absent when there is none (any more). */
  digest?: string;
  /** Of the one before. */
  previous?: string;
  rules?: number;
  /** Of `load`: SHA-256 in hex of the file of pins, when there is one. */
  pins?: string;
  /** Of `pin`, `drift` and `accept`, with `server` and `transport`: the tool, and its definition (`mcp/definition.ts`); absent on a tool that is gone. */
  tool?: string;
  transport?: Transport;
  definition?: string;
  /** Of `accept`: beside what is accepted already, not in its place. */
  also?: true;
  /** Of `pin`: why it is trusted. */
  source?: PinSource;
  /** Of `drift`: what is different. */
  change?: PinChange;
  /** Of `pin` and `drift`: where it was listed. Of `limited`: what refused requests came on. */
  connection?: string;
  /** Of `unfreeze`: the entry that is taken back. */
  freeze?: number;
  /** Of `release`: the entry that is taken back. */
  hold?: number;
  server?: string;
  client?: string;
  principal?: string;
  session?: string;
  all?: true;
  reason?: string;
  /** Of `limited`: the limit, and how many requests of `connection` it refused without an entry of their own, from `since` to `until`. */
  rule?: string;
  count?: number;
  /** Of `hold`: entries from this time on; its `until`: up to this time. */
  since?: string;
  until?: string;
  by?: { uid: number; pid: number };
  selfAdministered?: true;
}

/** Content that was erased: of one entry, or of all entries from `index` to `to`, both among them. */
export interface ErasureTarget {
  index: number;
  to?: number;
  /** Positions, from 0. Absent: none. */
  attributes?: number[] | 'all';
  segments?: number[] | 'all';
}

/** What of an erased segment was stored again: its bytes in these ranges [start, end), one behind the other. */
export interface ErasureRest {
  index: number;
  segment: number;
  ranges: [number, number][];
}

export interface ErasureEntry extends Common {
  kind: 'erasure';
  scope: 'index' | 'session' | 'subject' | 'age';
  /** Only what stood at some paths: the rest of the segments is in this entry's own. */
  fields?: true;
  targets: ErasureTarget[];
  /** Closed connections: of frames of theirs that were never finished the parts are erased, which no entry names. */
  unfinished?: string[];
  /** One for each of its own segments, in order. Absent, like the next three, when there are none. */
  rest?: ErasureRest[];
  sizeBytes?: number;
  segments?: number;
  commitment?: string;
  /** Of the policy file whose `retention` asked for it. */
  policyDigest?: string;
  by?: { uid: number; pid: number };
  selfAdministered?: true;
}

/** A connection with entries on both sides of a bound: what those behind it can no longer say of themselves. */
export interface CutConnection {
  connection: string;
  /** Of its first entry that was pruned: its `open`, unless that one was pruned before. */
  index: number;
  mode: Mode;
  custody: Custody;
}

/** The entries [0, `end`) are pruned: their text and content are gone, their hashes stay in the tree. What later readings need of them is said again. */
export interface PruneEntry extends Common {
  kind: 'prune';
  /** A multiple of 256, and never less than that of an earlier one. */
  end: number;
  /** Of `retention`: entries are kept so long. */
  ageMs?: number;
  /** Of a person: entries before this time, or, without it, by index. */
  before?: string;
  /** The first key that the ledger named, and each change of it below `end` (`KeyEntry`, `rotate`), oldest first. */
  vkey: string;
  keys: { index: number; previous: string; vkey: string; endorsement: string }[];
  /** Of the ledger's first entry. */
  continues?: { origin: string; size: number; root: string };
  connections: CutConnection[];
  /** Of the policy file whose `retention` asked for it. */
  policyDigest?: string;
  by?: { uid: number; pid: number };
  selfAdministered?: true;
}

/**
 * Somebody else has seen a checkpoint: the entries below `size` existed when they signed, and what stands behind this entry came later, since nobody could
 * have known the signature before.
 */
export interface AnchorEntry extends Common {
  kind: 'anchor';
  /** A witness (C2SP tlog-witness), or an authority that signs times (RFC 3161). */
  source: 'witness' | 'timestamp';
  /** The name of the witness's key, or where the authority is asked. */
  name: string;
  /** Of the checkpoint; `root` in base64. */
  size: number;
  root: string;
  /** Of a witness: key id and timestamped cosignature, as on the checkpoint's line, in base64. */
  signature?: string;
  /** POSIX seconds: the witness's own word. */
  signedAtS?: number;
  /** The witness refuses, for what it has cosigned contradicts this ledger. */
  problem?: 'ahead' | 'fork';
}

/** Which keys sign the checkpoints changes. */
export interface KeyEntry extends Common {
  kind: 'key';
  /** `rotate`: a new key signs, beside the older ones. `retire`: the newest signs alone. */
  act: 'rotate' | 'retire';
  /** The newest key. */
  vkey: string;
  /** Of `rotate`: the one before it, and its signature over the change (`endorsement.ts`), base64. */
  previous?: string;
  endorsement?: string;
  /** Who holds the newest key. */
  holder?: string;
  by?: { uid: number; pid: number };
  selfAdministered?: true;
}

/** Where somebody looked, or acknowledged. */
export type AccessHow = 'dashboard' | 'api' | 'command';

/** Somebody opened content of earlier entries, or acknowledged a finding. */
export interface AccessEntry extends Common {
  kind: 'access';
  act: 'open' | 'acknowledge';
  how: AccessHow;
  /** The dashboard's name for one login or one token, 16 hex digits. */
  viewer?: string;
  /** Of `open`: ranges `[first, last]`, ascending and apart, at most 500. */
  opened?: [number, number][];
  /** Of `open`: how often entries of them were opened, and when first. */
  count?: number;
  from?: string;
  /** Of `acknowledge`: 12 hex digits, and the rule whose finding it is. */
  finding?: string;
  rule?: string;
  by?: { uid: number; pid: number };
  selfAdministered?: true;
}

/**
 * What became of a request that waited for a person: `cancelled` by its sender; `lost` with its connection or stream, or with the recorder that asked.
 */
export const approvalDecisions = ['approved', 'denied', 'timed-out', 'cancelled', 'lost'] as const;
export type ApprovalDecision = (typeof approvalDecisions)[number];
/** Where a person decided, or that none did. */
export const approvalHows = ['command', 'dashboard', 'webhook', 'recorder'] as const;
export type ApprovalHow = (typeof approvalHows)[number];

/** The end of waiting of a `message` entry with `verdict: ask`: exactly one for each. Only behind one that says `approved` the request is delivered. */
export interface ApprovalEntry extends Common {
  kind: 'approval';
  connection: string;
  /** Index of the request's entry. */
  request: number;
  rule: string;
  decision: ApprovalDecision;
  /** Of the request: what was shown. */
  commitment: string;
  /** From its entry until the decision. */
  waitedMs: number;
  how: ApprovalHow;
  /** As in `access`. */
  viewer?: string;
  by?: { uid: number; pid: number };
  /** Whoever decided has the account of the tap: it may be the agent itself. */
  selfApproved?: true;
}

/** What an entry says of its message: where there is none, nothing was said. */
export function messageTypeOf({ type }: MessageEntry): MessageType {
  return type === 'http' ? 'opaque' : type;
}

/** Kinds that this version reserves but does not write. */
export interface ReservedEntry extends Common {
  kind: 'seal';
}

export type Entry =
  | StartEntry
  | StopEntry
  | OpenEntry
  | PrincipalEntry
  | MessageEntry
  | BatchEntry
  | CloseEntry
  | RecoveryEntry
  | GapEntry
  | PolicyEntry
  | ErasureEntry
  | PruneEntry
  | AnchorEntry
  | KeyEntry
  | AccessEntry
  | ApprovalEntry
  | ReservedEntry;
