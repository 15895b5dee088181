/**
 * The leaf of the ledger as `spec/entry.md` defines it: types, and a strict reader for what was stored.
 * An entry is serialised once, by the recorder; nobody else turns an `Entry` back into bytes.
 */

import type { Effect, EffectSource } from '../mcp/effect.ts';
import type { Anomaly as MessageAnomaly, Direction, Era, MessageType, Outcome } from '../mcp/message.ts';

export type { Direction, Effect, EffectSource, Era, MessageType, Outcome };
export type Transport = 'stdio';
export type Mode = 'commit' | 'observe';
export type OnUnrecordable = 'block' | 'pass';
export type Custody = 'same-user' | 'separate-user' | 'remote' | 'in-process';
export type VerdictKind = 'pass' | 'block' | 'flag' | 'ask';
export type Origin = 'client' | 'server' | 'sworn';
/** What of a message is stored (`spec/policy.md`, Capture). */
export type CaptureLevel = 'none' | 'metadata' | 'request' | 'full';
/** Of the message, and of its frame. */
export type Anomaly = MessageAnomaly | 'unterminated';

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
  uid?: number;
  pid?: number;
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
  server: string;
  verdict: VerdictKind;
  rule?: string;
  reason?: string;
  shadow?: true;
  problem?: string;
  capture?: CaptureLevel;
  /** How many ranges of the frame each rule left out. */
  redacted?: Record<string, number>;
  /** Units of each direction that `capture: none` left out of this connection's record so far, when there are any. */
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
  type: MessageType;
  id?: string;
  method?: string;
  target?: string;
  era?: Era;
  protocolVersion?: string;
  exchange?: number;
  call?: number;
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

export interface PolicyEntry extends Common {
  kind: 'policy';
  act: 'load' | 'rejected' | 'freeze' | 'unfreeze';
  /** Of the file in force, SHA-256 in hex; absent when there is none (any more). */
  digest?: string;
  /** Of the one before. */
  previous?: string;
  rules?: number;
  /** Of `unfreeze`: the entry that is taken back. */
  freeze?: number;
  server?: string;
  client?: string;
  principal?: string;
  session?: string;
  all?: true;
  reason?: string;
  until?: string;
  by?: { uid: number; pid: number };
  selfAdministered?: true;
}

/** Kinds that this version reserves but does not write. */
export interface ReservedEntry extends Common {
  kind: 'key' | 'anchor' | 'erasure' | 'approval' | 'access' | 'seal';
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
  | ReservedEntry;
