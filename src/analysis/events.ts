/**
 * What finding rules see of a ledger, in its order, and what they answer. A rule is data with a small machine: it never reads a ledger, and what it remembers is
 * JSON, so that a catalog can stop anywhere and go on.
 */
import type { BatchEntry, Entry, MessageEntry } from '../entry/entry.ts';
import type { AnalysisOptions } from './options.ts';
import type { ResultView } from './message-view.ts';
import type { CallRow, DefinitionRow, EntityRow, SessionRow, Severity, ToolRow, TouchRow } from './rows.ts';
import type { EvidenceState } from './views.ts';

/** What is remembered of a session's earlier calls. */
export interface EarlierCall {
  index: number;
  method: string;
  target?: string;
  effect: CallRow['effect'];
  sensitive?: true;
  destructive?: true;
  state: CallRow['state'];
  at: string;
  /** Of its arguments as stored, 16 hex digits: equal for equal arguments. Absent where they are not there. */
  argumentsDigest?: string;
  /** At most 50. */
  entities: string[];
}

interface Common {
  /** The entry that this is seen with, and its time. */
  index: number;
  at: string;
}

/** A request of a client came, something of it went on, or it ended. */
export interface SeenCall extends Common {
  kind: 'call';
  phase: 'began' | 'went on' | 'ended';
  entry: MessageEntry | undefined;
  call: Readonly<CallRow>;
  session: Readonly<SessionRow>;
  /** `params.arguments` of a tool call, `params` of another; absent where they are not there or were too long to keep. Redacted texts hold `[redacted]`. */
  arguments?: unknown;
  argumentsDigest?: string;
  /** When it ended with a result or an error whose frame is there. */
  result?: ResultView;
  /** Of this call so far. `entityOf` tells more of one. */
  touches: readonly Readonly<TouchRow>[];
  entityOf(entity: string): Readonly<EntityRow> | undefined;
  /** Of this session, calls that began before this one, oldest first: at most `limits.earlierCalls`. */
  earlier: readonly Readonly<EarlierCall>[];
}

/** A server listed a tool that it did not list so before. */
export interface SeenDefinition extends Common {
  kind: 'definition';
  definition: Readonly<DefinitionRow>;
  /** The one that it had until now. */
  previous?: Readonly<DefinitionRow>;
  tool: Readonly<ToolRow>;
  session?: Readonly<SessionRow>;
  hiddenText?: readonly string[];
}

/** A message or batch, whether or not it belongs to a call: anomalies, stray lines, notifications. Comes before the `call` that it brings about. */
export interface SeenMessage extends Common {
  kind: 'message';
  entry: MessageEntry | BatchEntry;
  session: Readonly<SessionRow>;
  /** The call that it belongs to. */
  call?: number;
  attributes: Readonly<Record<string, unknown>>;
  /** The frame as text, with stand-ins for what is missing; read when asked for. */
  text(): string | undefined;
}

/** An entry that is no message. */
export interface SeenEntry extends Common {
  kind: 'entry';
  entry: Exclude<Entry, MessageEntry | BatchEntry>;
  attributes: Readonly<Record<string, unknown>>;
  session?: Readonly<SessionRow>;
}

/** A connection closed; its unanswered calls ended just before. */
export interface SeenSessionEnd extends Common {
  kind: 'session end';
  session: Readonly<SessionRow>;
}

/** What a verifier says of the ledger now. */
export interface SeenEvidence extends Common {
  kind: 'evidence';
  evidence: Readonly<EvidenceState>;
}

export type Seen = SeenCall | SeenDefinition | SeenMessage | SeenEntry | SeenSessionEnd | SeenEvidence;

/** Something for a person. Found again with the same `first` and `subject`, it is the same finding: `indexes` are joined, `count` added, title and detail replaced. */
export interface Found {
  /** Its first entry, which with the rule names the finding for good; default: the first of `indexes`. */
  first?: number;
  /** What it is about, where one entry can bring several findings of the rule: a tool of those that a list names. */
  subject?: string;
  /** Default: the rule's. */
  severity?: Severity;
  title: string;
  /** One line, with values as stored. */
  detail: string;
  /** The entries that prove it. */
  indexes: readonly number[];
  /** How often it happened now: default 1. */
  count?: number;
  session?: string;
  server?: string;
  tool?: string;
}

export interface Watch {
  /** Never throws; the time that it takes does not grow with the ledger. */
  see(seen: Seen): Found[];
  /** JSON, bounded. */
  state(): unknown;
}

/** What a rule may ask to be shown. An odd message has an anomaly, or is no message at all; who sees messages sees those too. */
export type Sight = 'call began' | 'call went on' | 'call ended' | 'message' | 'odd message' | 'entry' | 'definition' | 'session end' | 'evidence';

export const everything: readonly Sight[] = [
  'call began',
  'call went on',
  'call ended',
  'message',
  'odd message',
  'entry',
  'definition',
  'session end',
  'evidence',
];

export interface Rule {
  /** A word or two with `-`, which people write to silence it. */
  id: string;
  /** Nothing else is shown to it: most rules look at few of the things that a ledger is made of. */
  sees: readonly Sight[];
  severity: Severity;
  /** One sentence: what it looks for. */
  title: string;
  why: string;
  silence: string;
  /** `state`: what `state()` gave, of the same version. */
  create(options: AnalysisOptions, state?: unknown): Watch;
}
