/** Expected verdicts (`sworn policy test`): one message against a policy, judged and redacted as the recorder would, and what differs from what was expected. */
import { utf8 } from '../bytes/bytes.ts';
import { effectOf, readToolDefinitions, splitOverrides, Tools, type EffectFields } from '../mcp/effect.ts';
import { readMessage, type Anomaly, type Batch, type Direction, type Message } from '../mcp/message.ts';
import { Judge, subjectOf, type CompiledPolicy } from './judge.ts';
import { asks, type Principal, type Subject } from './match.ts';
import { Limiter, Taken } from './limits.ts';
import type { CaptureLevel } from './policy.ts';
import { apart, batchRanges, valuesOf, valuesOnly, wholeOf, type BatchItem, type Redaction } from './redact.ts';
import { count, countsFrom, type SessionCounts } from './session.ts';
import type { Verdict } from './verdict.ts';

type Json = Record<string, unknown>;

export interface PolicyCase {
  name: string;
  server?: string;
  /** The name given with `--client`. */
  client?: string;
  /** What the client says of itself. */
  clientInfo?: { name?: string; version?: string };
  labels?: Record<string, string>;
  principal?: { observed?: Principal['observed']; verified?: Principal['verified']; declared?: Principal['declared'] };
  direction?: Direction;
  /** Definitions as in the result of `tools/list`. */
  tools?: Json[];
  /** Counts so far; those that are not there are 0. */
  session?: Partial<SessionCounts>;
  /** `jsonrpc` and, but for notifications, `id` are added. One of `message` and `raw` is there. */
  message?: Json;
  /** The exact text of the frame. */
  raw?: string;
  /** How often the message is sent, for limits: what is expected is said of the last one. The others wait for their replies. */
  times?: number;
  /** From one to the next. */
  everyMs?: number;
  /** What a reply answers. Without it a `message` answers some request, and a `raw` one nothing. */
  request?: Json;
  expect: 'pass' | 'block' | 'flag' | 'ask';
  rule?: string;
  /** Texts that must not be in what is stored, and that must. */
  redacts?: string[];
  keeps?: string[];
  capture?: CaptureLevel;
}

export interface CaseResult {
  verdict: Verdict;
  level: CaptureLevel;
  /** What was left out, by what found it. */
  redacted: Record<string, number>;
  /** What differs from what was expected; none: the case passes. */
  failures: string[];
}

/** Never throws for a case that was read without errors. */
export function runCase(compiled: CompiledPolicy, one: PolicyCase): CaseResult {
  const bytes = one.raw === undefined ? frameOf(one.message ?? {}) : utf8(one.raw);
  const read = readMessage(bytes);
  const first = read.type === 'batch' ? read.items[0]!.message : read;
  const direction = one.direction ?? (isReply(first) ? 's2c' : 'c2s');
  const { verdict, level, redactions } = judged(compiled, one, direction, bytes, read);
  const redacted: Record<string, number> = {};
  for (const { rule } of redactions) redacted[rule] = (redacted[rule] ?? 0) + 1;
  const keepsContent = level === 'full' || (level === 'request' && !isReply(first));
  const stored = keepsContent ? storedOf(bytes, redactions) : [];
  return { verdict, level, redacted, failures: failuresOf(one, verdict, level, stored) };
}

interface Told {
  verdict: Verdict;
  level: CaptureLevel;
  redactions: Redaction[];
}

/** A batch has the verdict of its first item that is refused, else of the first that is flagged. */
function judged(compiled: CompiledPolicy, one: PolicyCase, direction: Direction, bytes: Uint8Array, read: Message | Batch): Told {
  const judge = new Judge(compiled, {
    server: one.server ?? 'server',
    ...(one.client === undefined ? {} : { client: one.client }),
    labels: one.labels ?? {},
    principal: { observed: one.principal?.observed ?? {}, verified: one.principal?.verified ?? {}, declared: { ...one.principal?.declared } },
  });
  if (one.clientInfo !== undefined) judge.introduce(one.clientInfo);
  const tools = new Tools();
  tools.add(readToolDefinitions(utf8(JSON.stringify({ result: { tools: one.tools ?? [] } }))));
  const counts = countsFrom(one.session);
  const overrides = splitOverrides({});
  const effectsOf = (message: Message): EffectFields =>
    effectOf(message, tools, overrides, judge.word(message.method === 'tools/call' ? message.target?.value : undefined));

  let asked: Pick<Subject, 'method' | 'target' | 'effects'> | undefined = one.raw === undefined ? { effects: {} } : undefined;
  let secrets: readonly string[] | undefined = [];
  if (one.request !== undefined) {
    const request = frameOf(one.request);
    const message = readMessage(request);
    if (message.type !== 'batch') {
      const subject = subjectOf(message, direction === 'c2s' ? 's2c' : 'c2s', effectsOf(message));
      secrets = valuesOf(request, judge.redactor(subject)?.ranges(request) ?? []);
      asked = subject;
    }
  }
  const items = read.type === 'batch' ? read.items : [{ message: read, range: [0, bytes.length] as [number, number] }];
  const told = items.map(({ message, range }) => {
    const effects = isReply(message) ? (asked?.effects ?? {}) : asks(message) ? effectsOf(message) : {};
    const subject = subjectOf(message, direction, effects, asked);
    const own = bytes.subarray(...range);
    const anomalies: Anomaly[] = [...message.anomalies, ...(read.type === 'batch' ? read.anomalies : [])];
    const verdict = judge.judge({ ...subject, anomalies, bytes: own, sizeBytes: own.length }, counts, [], 0);
    count(counts, subject, verdict.kind, message.outcome === 'toolError');
    const search = { range, redactor: judge.redactor(subject), known: isReply(message) ? secrets : [] };
    return { subject, verdict, level: judge.level(subject, verdict), search };
  });
  limit(compiled, one, judge, told);
  const searches = told.map(({ search }) => search);
  const redactions = read.type === 'batch' ? batchRanges(bytes, searches) : [rangesOf(bytes, searches[0]!)];
  const decides = told.find(({ verdict }) => verdict.kind === 'block') ?? told.find(({ verdict }) => verdict.kind === 'flag') ?? told[0]!;
  return { verdict: decides.verdict, level: decides.level, redactions: apart(redactions.flat()) };
}

/** Holds what no rule refuses against the limits. */
function limit(
  { limits }: CompiledPolicy,
  { times = 1, everyMs = 0 }: PolicyCase,
  judge: Judge,
  told: { subject: Subject; verdict: Verdict; search: BatchItem }[],
): void {
  if (limits.length === 0 || told.some(({ verdict }) => verdict.kind === 'block' || (verdict.kind === 'ask' && told.length > 1))) return;
  const limiter = new Limiter((text) => text);
  limiter.configure(limits);
  const asker = { party: judge.party, session: '' };
  for (let i = 1; i <= times; i++) {
    const taken: Taken[] = [];
    for (const one of told) {
      const { subject, search } = one;
      const said = limiter.take(judge.limitsOn(subject), asker, subject, search.range[1] - search.range[0], (i - 1) * everyMs);
      if (said instanceof Taken) {
        taken.push(said);
        // nobody answers what has no id
        if (subject.type === 'request') limiter.hold(said.keys, 1);
        continue;
      }
      for (const before of taken) {
        limiter.hold(before.keys, -1);
        before.giveBack();
      }
      const { limit, reason, retryAfterMs } = said;
      if (i === times) one.verdict = { kind: 'block', rule: limit.rule, reason, retryAfterMs };
      taken.length = 0;
      break;
    }
    for (const one of taken) one.release();
  }
}

function rangesOf(bytes: Uint8Array, { redactor, known }: BatchItem): Redaction[] {
  return known === undefined ? [wholeOf(0, bytes.length)] : (redactor ?? valuesOnly).ranges(bytes, 0, known);
}

function isReply({ type }: Message): boolean {
  return type === 'result' || type === 'error';
}

function frameOf(message: Json): Uint8Array {
  const { method } = message;
  const isNotification = typeof method === 'string' && method.startsWith('notifications/');
  return utf8(JSON.stringify({ jsonrpc: '2.0', ...(isNotification ? {} : { id: 1 }), ...message }));
}

/** What is left when the ranges are cut out. */
function storedOf(bytes: Uint8Array, redactions: readonly Redaction[]): string[] {
  const decoder = new TextDecoder();
  const stored: string[] = [];
  let at = 0;
  for (const { start, end } of [...redactions, { start: bytes.length, end: bytes.length }]) {
    if (start > at) stored.push(decoder.decode(bytes.subarray(at, start)));
    at = end;
  }
  return stored;
}

function failuresOf(one: PolicyCase, verdict: Verdict, level: CaptureLevel, stored: readonly string[]): string[] {
  const failures: string[] = [];
  if (verdict.kind !== one.expect || (one.rule !== undefined && verdict.rule !== one.rule))
    failures.push(`expected ${one.expect}${one.rule === undefined ? '' : ` by ${one.rule}`}, came ${verdictText(verdict)}`);
  if (one.capture !== undefined && level !== one.capture) failures.push(`expected capture ${one.capture}, came ${level}`);
  const holds = (text: string): boolean => {
    const forms = [text, JSON.stringify(text).slice(1, -1)];
    return stored.some((piece) => forms.some((form) => piece.includes(form)));
  };
  for (const text of one.redacts ?? []) if (holds(text)) failures.push(`expected ${JSON.stringify(text)} to be redacted, it is stored`);
  for (const text of one.keeps ?? []) if (!holds(text)) failures.push(`expected ${JSON.stringify(text)} to be stored, it is not`);
  return failures;
}

/** `block by no-drops: Destructive SQL is blocked`. */
export function verdictText({ kind, rule, reason, shadow, problem, retryAfterMs }: Verdict): string {
  return [
    kind,
    rule === undefined ? '' : ` by ${rule}`,
    shadow === undefined ? '' : ' (shadow: it would be blocked)',
    problem === undefined ? '' : ` (its condition could not be evaluated: ${problem})`,
    reason === undefined ? '' : `: ${reason}`,
    retryAfterMs === undefined ? '' : `, again in ${retryAfterMs} ms`,
  ].join('');
}
