/**
 * What was asked for in the recorded past, by whom and how often: what `sworn policy suggest` drafts rules from. Pure; takes the judgements of a replay whose
 * policy is `looking`.
 *
 * What must stay true: memory is bounded by `most`, whatever names strangers made up; and nothing is told as seen to pass that was refused or flagged, or that no rule could
 * allow again.
 */
import type { ApprovalDecision } from '../entry/entry.ts';
import type { Effect } from '../mcp/effect.ts';
import { schemeOf } from '../mcp/bounded.ts';
import type { Direction } from '../mcp/message.ts';
import { seenGroups, seenItems, pendingRequests } from '../limits.ts';
import { isProtected, type CompiledPolicy } from './judge.ts';
import { asks, type Party } from './match.ts';
import { noPolicy } from './policy.ts';
import { namesHidden } from './remains.ts';
import type { Judgement } from './replay.ts';

/** Lets everything pass but for what no rule could let pass, once something can refuse: what is ambiguous, or too long to be judged. */
export const looking: CompiledPolicy = { policy: { ...noPolicy }, rules: [], redact: [], limits: [], canBlock: true, seesWhole: true };

/** `resource`: its name is the scheme of the URI with its colon. `method`: requests of all other methods, whatever they name. */
export type ItemKind = 'tool' | 'prompt' | 'resource' | 'method';

/** One thing that was asked for, by one group. Times are those of entries. */
export interface SeenItem {
  kind: ItemKind;
  direction: Direction;
  method: string;
  /** Of a tool, a prompt, or a resource's scheme; of others empty. */
  name: string;
  effect: Effect;
  sensitive: boolean;
  destructive: boolean;
  /** Requests that passed without a mark, and of them those that were answered with an error. */
  passed: number;
  failed: number;
  /** Of `passed`: those that a person let pass. */
  approved: number;
  flagged: number;
  refused: number;
  /** Those that a person was asked about. */
  asked: number;
  /** Of what passed. */
  firstAt: string;
  lastAt: string;
  /** Names of rules that refused or flagged it, at most three. */
  rules: string[];
}

/** Who asks, as far as rules can tell. `issuer` only with `subject`. */
export interface SeenPrincipal {
  uid?: number;
  subject?: string;
  issuer?: string;
}

export interface SeenGroup {
  server: string;
  /** As it was given, else as the client calls itself. */
  client?: string;
  /** Nobody gave it a name. */
  isGiven: boolean;
  principal: SeenPrincipal;
  items: Map<string, SeenItem>;
}

/** Why requests that passed are in no draft. */
export type LeftOut = 'ambiguous' | 'too long' | 'without a name' | 'without an id' | 'name hidden' | 'name not well-formed' | 'too many names';

/** By what rules tell requests apart; fewer of them make fewer and wider rules. */
export interface SeenBy {
  client: boolean;
  principal: boolean;
}

interface Pending {
  item: SeenItem;
  /** It waits for a person. */
  isAsked: boolean;
  at: string;
}

export class Seen {
  readonly groups = new Map<string, SeenGroup>();
  readonly leftOut = new Map<LeftOut, { requests: number; first: number }>();
  /** Requests that were judged by what they name, and of them those that passed without a mark. */
  requests = 0;
  passed = 0;
  firstAt: string | undefined;
  lastAt: string | undefined;
  readonly by: SeenBy;
  #items = 0;
  /** By the index of the request. */
  readonly #pending = new Map<number, Pending>();

  constructor(by: SeenBy) {
    this.by = by;
  }

  add(judgement: Judgement): void {
    const { entry, index, subject, verdict } = judgement;
    if (entry.type === 'result' || entry.type === 'error') return this.#answered(judgement);
    if (!asks(subject) || isProtected(subject.method)) {
      // a notification that could be read in two ways is refused, too, once something can refuse
      if (verdict.kind === 'block' && entry.verdict !== 'block') this.#leaveOut(verdict.rule === 'sworn:too-large' ? 'too long' : 'ambiguous', index);
      return;
    }
    this.requests++;
    this.firstAt ??= entry.time;
    this.lastAt = entry.time;
    const isPassed = entry.verdict === 'pass';
    if (isPassed) this.passed++;
    const what = whatOf(judgement);
    if (typeof what === 'string') {
      if (entry.verdict !== 'block') this.#leaveOut(what, index);
      return;
    }
    const item = this.#itemOf(judgement.party, subject.direction, what);
    if (item === undefined) {
      if (entry.verdict !== 'block') this.#leaveOut('too many names', index);
      return;
    }
    note(item, judgement);
    if (isPassed) pass(item, entry.time);
    else if (entry.verdict === 'flag') item.flagged++;
    else if (entry.verdict === 'block') item.refused++;
    else item.asked++;
    if (entry.verdict !== 'pass' && entry.rule !== undefined && item.rules.length < 3 && !item.rules.includes(entry.rule))
      item.rules.push(entry.rule);
    if (entry.verdict === 'block' || entry.type !== 'request') return;
    this.#pending.set(index, { item, isAsked: entry.verdict === 'ask', at: entry.time });
    if (this.#pending.size > pendingRequests) this.#pending.delete(this.#pending.keys().next().value!);
  }

  /** Indexes of the next ledger are others. */
  endLedger(): void {
    this.#pending.clear();
  }

  /** What a person said of request `index`. */
  decided(index: number, decision: ApprovalDecision): void {
    const pending = this.#pending.get(index);
    if (pending === undefined || !pending.isAsked) return;
    pending.isAsked = false;
    if (decision === 'approved') {
      this.passed++;
      pending.item.approved++;
      pass(pending.item, pending.at);
    } else this.#pending.delete(index);
  }

  #answered({ entry }: Judgement): void {
    const pending = entry.exchange === undefined ? undefined : this.#pending.get(entry.exchange);
    if (pending === undefined) return;
    this.#pending.delete(entry.exchange!);
    if ((entry.outcome === 'error' || entry.outcome === 'toolError') && !pending.isAsked && pending.item.failed < pending.item.passed)
      pending.item.failed++;
  }

  #leaveOut(why: LeftOut, index: number): void {
    const known = this.leftOut.get(why);
    if (known === undefined) this.leftOut.set(why, { requests: 1, first: index });
    else known.requests++;
  }

  #itemOf(party: Party, direction: Direction, { kind, method, name }: What): SeenItem | undefined {
    const group = this.#groupOf(party);
    if (group === undefined) return undefined;
    const key = JSON.stringify([direction, method, name]);
    let item = group.items.get(key);
    if (item !== undefined) return item;
    if (this.#items >= seenItems) return undefined;
    this.#items++;
    item = {
      kind,
      direction,
      method,
      name,
      effect: 'unknown',
      sensitive: false,
      destructive: false,
      passed: 0,
      failed: 0,
      approved: 0,
      flagged: 0,
      refused: 0,
      asked: 0,
      firstAt: '',
      lastAt: '',
      rules: [],
    };
    group.items.set(key, item);
    return item;
  }

  #groupOf({ server, client, clientInfo, principal }: Party): SeenGroup | undefined {
    const name = this.by.client ? (client ?? clientInfo?.name) : undefined;
    const who = this.by.principal ? whoOf(principal) : {};
    const key = JSON.stringify([server, name ?? null, who]);
    let group = this.groups.get(key);
    if (group === undefined) {
      if (this.groups.size >= seenGroups) return undefined;
      group = { server, ...(name === undefined ? {} : { client: name }), isGiven: client !== undefined, principal: who, items: new Map() };
      this.groups.set(key, group);
    }
    return group;
  }
}

interface What {
  kind: ItemKind;
  method: string;
  name: string;
}

/** What a request asks for, as rules can name it; or why none can. */
function whatOf({ entry, subject, verdict, why }: Judgement): What | LeftOut {
  if (verdict.kind === 'block') return verdict.rule === 'sworn:too-large' ? 'too long' : 'ambiguous';
  if (subject.type !== 'request') return 'without an id';
  const { method = '', target } = subject;
  if (subject.isCut || namesHidden(entry, why === undefined)) return 'name hidden';
  const kind = kindOf(method);
  let name = '';
  if (kind !== 'method') {
    if (target === undefined) return 'without a name';
    name = kind === 'resource' ? schemeOf(target.value) : target.value;
    if (name === '') return 'without a name';
  }
  return !/\p{Cs}/u.test(`${name} ${method}`) ? { kind, method, name } : 'name not well-formed';
}

const resourceMethods: ReadonlySet<string> = new Set(['resources/read', 'resources/subscribe', 'resources/unsubscribe']);

function kindOf(method: string): ItemKind {
  if (method === 'tools/call') return 'tool';
  if (method === 'prompts/get') return 'prompt';
  return resourceMethods.has(method) ? 'resource' : 'method';
}

/** Something that was once said to write writes; what nobody said anything of is unknown. */
function note(item: SeenItem, { subject: { effects }, entry }: Judgement): void {
  const effect = entry.effect ?? effects.effect ?? 'unknown';
  if (effect === 'write' || item.effect === 'unknown') item.effect = effect;
  if (entry.sensitive || effects.sensitive) item.sensitive = true;
  if (entry.destructive || effects.destructive) item.destructive = true;
}

function pass(item: SeenItem, at: string): void {
  item.passed++;
  if (item.firstAt === '' || at < item.firstAt) item.firstAt = at;
  if (at > item.lastAt) item.lastAt = at;
}

/** What was checked goes before what the system says. */
function whoOf({ verified, observed }: Party['principal']): SeenPrincipal {
  const { subject, issuer } = verified;
  if (subject !== undefined) return { subject, ...(issuer === undefined ? {} : { issuer }) };
  return observed.uid === undefined ? {} : { uid: observed.uid };
}
