/**
 * What `sworn.yaml` says that judges, redacts and captures, as plain data: `config/` reads it from a file, everything else in this folder works on it.
 * The meaning of each field: `spec/policy.md`.
 */
import type { Effect, ToolWord } from '../mcp/effect.ts';
import type { Direction } from '../mcp/message.ts';
import type { PinSettings } from './pins.ts';

/** What an operator knows better than a server about one tool. The first pattern that fits its name and says something of a field counts for that field. */
export type ToolSettings = ToolWord;

export interface ServerSettings {
  tools: Record<string, ToolSettings>;
}

/** Which messages a rule is about: every matcher that is there must fit; within a list one must. Globs: `*` any text, `?` one character. */
export interface Matchers {
  server?: string[];
  /** `tool`, or `server/tool` cut at the first slash. A rule with this is about `tools/call` alone (and its replies). */
  tool?: string[];
  method?: string[];
  /** `--client`, or the name in clientInfo. */
  client?: string[];
  /** `key=value` globs over labels. */
  label?: string[];
  principal?: PrincipalMatcher;
  effect?: Effect[];
  direction?: Direction;
  sensitive?: boolean;
  destructive?: boolean;
}

/** The part must be named: what the OS says, what was checked, and what somebody says of itself are never mixed. */
export interface PrincipalMatcher {
  observed?: { uid?: number[]; executable?: string[] };
  verified?: { subject?: string[]; issuer?: string[] };
  declared?: { name?: string[] };
}

export type RuleAction = 'allow' | 'deny' | 'flag' | 'ask';
export type JudgedType = 'request' | 'result' | 'notification';

export interface Rule extends Matchers {
  name: string;
  action: RuleAction;
  /** Default: request. */
  on: JudgedType[];
  /** A CEL expression. */
  when?: string;
  /** Told to whoever is refused. */
  reason?: string;
  /** False: a shadow rule. What it would block or ask for is flagged. */
  enforce: boolean;
  /** Of a rule that asks: how long a request waits, and uids that may decide beside administrators. */
  timeoutMs?: number;
  approvers?: number[];
}

export type Keep = 'drop' | 'checkable';

/** What is never stored. Several of these may apply to one message; where two find the same range, the first one names it. */
export interface RedactRule extends Matchers {
  name: string;
  /** Globs over whole member names, without regard to ASCII case. */
  keys: string[];
  /** `$.params.arguments.ssn`, `$..token`, `$.items[*].id`, `$['a b']`. */
  paths: string[];
  /** Groups (`secrets`, `pii`) or single detectors. */
  detect: string[];
  keep: Keep;
}

/** What of a message is stored: nothing but a count, its entry, its entry with requests' content, everything. */
export type CaptureLevel = 'none' | 'metadata' | 'request' | 'full';

export interface CaptureRule extends Matchers {
  level: CaptureLevel;
}

/** So much in so long. */
export interface Rate {
  /** Requests, or bytes. */
  amount: number;
  periodMs: number;
  /** As the file says it: `60/min`. */
  text: string;
}

/** What a limit counts apart. */
export const limitKeys = ['principal', 'client', 'server', 'tool', 'session'] as const;
export type LimitKey = (typeof limitKeys)[number];

/** How much may be asked. At least one of `requests`, `concurrent` and `bytes` is there. */
export interface Limit extends Matchers {
  name?: string;
  /** In the order of `limitKeys`; none: everything that it is about counts together. */
  per: LimitKey[];
  direction: Direction;
  requests?: Rate;
  /** Requests that may come at once; absent: those of one period. */
  burst?: number;
  /** Requests without their reply. */
  concurrent?: number;
  /** Of requests, and of their replies afterwards. */
  bytes?: Rate;
}

export type OnUnrecordable = 'block' | 'pass';

export interface Policy {
  servers: Record<string, ServerSettings>;
  redact: RedactRule[];
  capture: { default: CaptureLevel; rules: CaptureRule[] };
  policy: { default: 'allow' | 'deny'; rules: Rule[] };
  /** Absent: none. */
  limits?: Limit[];
  /** `default` is absent when the file does not say: then the tap's own word counts. */
  onUnrecordable: { default?: OnUnrecordable; read?: OnUnrecordable; write?: OnUnrecordable; unknown?: OnUnrecordable };
  /** How long a request waits for a person where its rule does not say. */
  approvals?: { timeoutMs: number };
  /** Content of sessions that is older is erased; entries that are older are pruned. */
  retention?: { contentMs?: number; entriesMs?: number };
  /** Definitions of tools are pinned. */
  tools?: PinSettings;
}

/** Of a recorder without a file. */
export const noPolicy: Policy = {
  servers: {},
  redact: [],
  capture: { default: 'full', rules: [] },
  policy: { default: 'allow', rules: [] },
  onUnrecordable: {},
};
