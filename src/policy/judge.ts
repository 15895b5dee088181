/**
 * Judging: ordered rules, the first that fits decides (`spec/policy.md`, Judging). The same code judges in the recorder, in `policy test` and in
 * `policy simulate`.
 *
 * What must stay true: nothing here throws for any message; a rule that cannot be evaluated denies; what is not judged by a rule of the file passes
 * only where `default` allows it.
 */
import type { Message } from '../mcp/message.ts';
import { judgedKeys } from '../limits.ts';
import { ambiguityOf } from './ambiguity.ts';
import type { Condition } from './condition.ts';
import type { Freeze } from './freeze.ts';
import { freezeOf, isFrozen } from './freeze.ts';
import { compileLimits, type CompiledLimit } from './limits.ts';
import { asks, isAbout, isLong, tells, wordOn, type Judged, type Party, type Subject } from './match.ts';
import { noPolicy, type CaptureLevel, type Matchers, type Policy, type Rule, type ToolSettings } from './policy.ts';
import { compileRedaction, Redactor, type CompiledRedactRule } from './redact.ts';
import type { SessionCounts } from './session.ts';
import { ownRules, passes, type Verdict } from './verdict.ts';
import { viewOf } from './view.ts';

/** A policy with its conditions compiled. */
export interface CompiledPolicy {
  readonly policy: Policy;
  readonly rules: readonly CompiledRule[];
  readonly redact: readonly CompiledRedactRule[];
  readonly limits: readonly CompiledLimit[];
  /** Some rule may refuse a message: nothing may be delivered before it is judged. */
  readonly canBlock: boolean;
  /** A frame must be seen whole before any of it is stored. */
  readonly seesWhole: boolean;
}

interface CompiledRule extends Rule {
  readonly condition?: Condition;
}

/** Asked between two pieces of work: what is to be waited for before the next one, or nothing. */
export type Pause = () => Promise<void> | undefined;

/**
 * Compiles; the engine of conditions is loaded only when there is one. `pause`: thousands of conditions take longer than whoever has other things to do can wait.
 * @throws ConditionError, RangeError for what `config/` refuses
 */
export async function compilePolicy(policy: Policy, pause: Pause = () => undefined): Promise<CompiledPolicy> {
  const needsConditions = policy.policy.rules.some((rule) => rule.when !== undefined);
  const compile = needsConditions ? (await import('./condition.ts')).compileCondition : undefined;
  const rules: CompiledRule[] = [];
  // one text is one condition, however many rules have it
  const conditions = new Map<string, Condition>();
  for (const rule of policy.policy.rules) {
    const { when } = rule;
    if (when === undefined) {
      rules.push(rule);
      continue;
    }
    let condition = conditions.get(when);
    if (condition === undefined) {
      condition = compile!(when);
      conditions.set(when, condition);
      const due = pause();
      if (due !== undefined) await due;
    }
    rules.push({ ...rule, condition });
  }
  // an exception that cannot be evaluated refuses, too
  const refusing = rules.some(
    (rule) => rule.enforce && (rule.action === 'deny' || rule.action === 'ask' || (rule.action === 'allow' && rule.when !== undefined)),
  );
  const { tools } = policy;
  const limits = compileLimits(policy.limits);
  const canBlock = policy.policy.default === 'deny' || refusing || (tools !== undefined && tools.mode !== 'warn') || limits.length > 0;
  const redact: CompiledRedactRule[] = [];
  for (const rule of policy.redact) {
    redact.push(await compileRedaction(rule));
    const due = pause();
    if (due !== undefined) await due;
  }
  const isFull = policy.capture.default === 'full' && policy.capture.rules.every(({ level }) => level === 'full');
  return {
    policy,
    rules,
    redact,
    limits,
    canBlock,
    seesWhole: canBlock || redact.length > 0 || !isFull || rules.some(({ when }) => when !== undefined),
  };
}

/** Of a recorder without a file. */
export const unruled: CompiledPolicy = { policy: noPolicy, rules: [], redact: [], limits: [], canBlock: false, seesWhole: false };

const unlimited: readonly CompiledLimit[] = [];

/** Without these there is no connection at all: only a rule that names one of them, letter by letter, is about it. */
const protectedMethods = new Set(['initialize', 'server/discover', 'ping', 'notifications/initialized', 'notifications/cancelled']);

/** Judges the messages of one connection. */
export class Judge {
  readonly compiled: CompiledPolicy;
  readonly party: Party;
  /** The rules that are about messages of one kind, as far as that does not depend on their content. Names come from strangers: bounded. */
  readonly #candidates = new Map<string, readonly CompiledRule[]>();
  readonly #redactors = new Map<string, Redactor>();
  #every: Redactor | undefined;
  readonly #words = new Map<string, ToolSettings>();
  readonly #levels = new Map<string, CaptureLevel>();
  readonly #limits = new Map<string, readonly CompiledLimit[]>();

  constructor(compiled: CompiledPolicy, party: Party) {
    this.compiled = compiled;
    this.party = party;
  }

  /** Nothing in the file says anything of any message. */
  get isIdle(): boolean {
    const { rules, limits, policy } = this.compiled;
    return rules.length === 0 && limits.length === 0 && policy.policy.default === 'allow' && policy.tools === undefined;
  }

  /** There is a file, so entries say how much of a message is stored. */
  get isNamed(): boolean {
    return this.compiled.policy !== noPolicy;
  }

  /** The client has said who it is. */
  introduce(clientInfo: { name?: string; version?: string }): void {
    this.party.clientInfo = clientInfo;
    if (clientInfo.name !== undefined) this.party.principal.declared.name = clientInfo.name;
    this.#candidates.clear();
    this.#levels.clear();
    this.#limits.clear();
  }

  /** Something may refuse a message of this connection. */
  mayRefuse(freezes: readonly Freeze[], nowMs: number): boolean {
    return this.compiled.canBlock || (freezes.length > 0 && isFrozen(freezes, this.party, nowMs));
  }

  /** What the operator says of a tool. */
  word(tool: string | undefined): ToolSettings {
    if (tool === undefined || Object.keys(this.compiled.policy.servers).length === 0) return {};
    return remembered(this.#words, tool, () => wordOn(this.compiled.policy.servers, this.party.server, tool));
  }

  judge(message: Judged, counts: SessionCounts, freezes: readonly Freeze[], nowMs: number): Verdict {
    const { compiled, party } = this;
    if (message.isNoMessage !== true && this.mayRefuse(freezes, nowMs)) {
      const reason = ambiguityOf(message);
      if (reason !== undefined) return { kind: 'block', rule: ownRules.ambiguous, reason };
    }
    const frozen = freezes.length === 0 ? undefined : freezeOf(freezes, message, party, nowMs);
    if (frozen !== undefined && !isProtected(message.method)) {
      return { kind: 'block', rule: ownRules.freeze, ...(frozen.reason === undefined ? {} : { reason: frozen.reason }) };
    }
    if (compiled.rules.length === 0 && compiled.policy.policy.default === 'allow') return passes;
    let flagged: Verdict | undefined;
    let view: ReturnType<typeof viewOf> | undefined;
    for (const rule of this.#rulesFor(message)) {
      let problem: string | undefined;
      if (rule.condition !== undefined) {
        view ??= viewOf(message, party, counts);
        const outcome = typeof view === 'string' ? { problem: view } : rule.condition.evaluate(view);
        if (outcome === false) continue;
        if (outcome !== true) problem = outcome.problem;
      }
      const said = {
        rule: rule.name,
        ...(rule.reason === undefined ? {} : { reason: rule.reason }),
        ...(problem === undefined ? {} : { problem }),
      };
      // An exception that cannot be evaluated is none, and what it would have let through is refused.
      const denies = rule.action === 'deny' || (problem !== undefined && rule.action === 'allow');
      if (!rule.enforce) {
        if (denies || rule.action === 'ask') flagged ??= { kind: 'flag', ...said, shadow: true };
        continue;
      }
      if (denies) return { kind: 'block', ...said };
      if (rule.action === 'ask') return { kind: 'ask', ...said };
      if (rule.action === 'flag') return flagged ?? { kind: 'flag', ...said };
      return flagged ?? { kind: 'pass', rule: rule.name };
    }
    if (compiled.policy.policy.default === 'deny' && asks(message) && !isProtected(message.method)) return { kind: 'block', rule: ownRules.default };
    return flagged ?? passes;
  }

  /** The limits that a message is held against, once no rule refuses it: none of what does not ask, nor of what keeps a connection alive. */
  limitsOn(message: Subject): readonly CompiledLimit[] {
    const { limits } = this.compiled;
    if (limits.length === 0 || !asks(message) || isProtected(message.method) || message.method?.startsWith('notifications/') === true)
      return unlimited;
    return remembered(this.#limits, keyOf(message), () => limits.filter((limit) => isAbout(limit, message, this.party, true)));
  }

  /** What of a message is stored. What was refused is always in the record. */
  level(message: Subject, verdict: Verdict): CaptureLevel {
    const { capture } = this.compiled.policy;
    const levelOf = (): CaptureLevel => capture.rules.find((one) => isAbout(one, message, this.party, false))?.level ?? capture.default;
    const level = capture.rules.length === 0 ? capture.default : remembered(this.#levels, keyOf(message), levelOf);
    return level === 'none' && verdict.kind !== 'pass' ? 'metadata' : level;
  }

  /** What looks through frames for what must not be stored; `undefined` where no rule is about the message. */
  redactor(message: Subject): Redactor | undefined {
    const { redact } = this.compiled;
    if (redact.length === 0) return undefined;
    // of what cannot be read nobody knows which tool it calls
    const chosen = redact.filter(({ rule }) => isAbout(message.type === 'opaque' ? connectionOnly(rule) : rule, message, this.party, true));
    if (chosen.length === 0) return undefined;
    const key = chosen.length === redact.length ? '' : chosen.map((rule) => redact.indexOf(rule)).join();
    let redactor = this.#redactors.get(key);
    if (redactor === undefined) {
      if (this.#redactors.size >= judgedKeys) this.#redactors.clear();
      this.#redactors.set(key, (redactor = new Redactor(chosen)));
    }
    return redactor;
  }

  /** For what is recorded of a connection itself: all rules, whomever they are about. */
  get anyRedactor(): Redactor | undefined {
    const { redact } = this.compiled;
    return redact.length === 0 ? undefined : (this.#every ??= new Redactor(redact));
  }

  #rulesFor(message: Judged): readonly CompiledRule[] {
    return remembered(this.#candidates, keyOf(message), () =>
      this.compiled.rules.filter((rule) => isOn(rule, message) && names(rule, message.method) && isAbout(rule, message, this.party, restricts(rule))),
    );
  }
}

/** Of stranger's keys only short ones, and not too many. */
function remembered<T>(known: Map<string, T>, key: string, find: () => T): T {
  let found = known.get(key);
  if (found === undefined) {
    found = find();
    if (known.size >= judgedKeys) known.clear();
    if (key.length <= 1024) known.set(key, found);
  }
  return found;
}

/** Equal for messages that are the same for matchers. A method and a tool may hold anything, so the length of one says where it ends. */
function keyOf({ type, direction, method, target, effects, isUnasked }: Subject): string {
  const tool = method === 'tools/call' && target?.kind === 'tool' ? ` ${target.value}` : '';
  return `${type} ${direction} ${isUnasked} ${effects.effect} ${effects.sensitive} ${effects.destructive} ${method?.length} ${method}${tool}`;
}

/** A rule that restricts is also about what only looks like what it names: who leaves an id out, or adds one, does not get past it. */
function isOn(rule: Rule, subject: Subject): boolean {
  const { on } = rule;
  const { type } = subject;
  if (type === 'error' || type === 'result') return on.includes('result');
  if (type === 'opaque') return false;
  if (!restricts(rule)) return on.includes(type);
  return (on.includes('request') && asks(subject)) || (on.includes('notification') && tells(subject));
}

function restricts(rule: Rule): boolean {
  return rule.action !== 'allow';
}

/** The matchers that do not depend on what a message says. */
function connectionOnly({ server, client, label, principal, direction }: Matchers): Matchers {
  return {
    ...(server === undefined ? {} : { server }),
    ...(client === undefined ? {} : { client }),
    ...(label === undefined ? {} : { label }),
    ...(principal === undefined ? {} : { principal }),
    ...(direction === undefined ? {} : { direction }),
  };
}

export function isProtected(method: string | undefined): boolean {
  return method !== undefined && protectedMethods.has(method);
}

function names(rule: Rule, method: string | undefined): boolean {
  return !isProtected(method) || (rule.method?.includes(method!) ?? false);
}

/** Of a message whose parts are known, what matchers see of it. */
export function subjectOf(
  message: Message,
  direction: Subject['direction'],
  effects: Subject['effects'],
  request?: Pick<Subject, 'method' | 'target'>,
): Subject {
  const isReply = message.type === 'result' || message.type === 'error';
  const from = isReply ? request : message;
  const subject: Subject = { type: message.type, direction, effects };
  if (from?.method !== undefined) subject.method = from.method;
  if (from?.target !== undefined) subject.target = from.target;
  // an error without an id says that something could not be read; a result without one is what servers make of ids that they cannot keep
  if (isReply && request === undefined && (message.idKey !== undefined || message.type === 'result')) subject.isUnasked = true;
  if (!isReply && isCut(message)) subject.isCut = true;
  return subject;
}

function isCut({ cut, method, target }: Message): boolean {
  return cut?.includes('method') === true || cut?.includes('target') === true || isLong(method) || (target?.kind === 'tool' && isLong(target.value));
}
