/**
 * A least-privilege policy from what was seen: `default: deny`, and rules that allow what passed to whom it passed. Pure; `config/draft-text.ts` writes it down.
 *
 * What must stay true: no rule allows what was not seen. A name stands in a matcher only where the matcher fits that name and no other; where it would fit more (a glob in
 * a name, a name longer than a matcher may be), a condition compares it letter by letter. Groups share a rule only where they asked for the same things, all of them.
 */
import { utf8 } from '../bytes/bytes.ts';
import type { Direction } from '../mcp/message.ts';
import type { Seen, SeenGroup, SeenItem, SeenPrincipal } from './seen.ts';

/** What of it a person is asked for: nothing but what a person was asked for before, also what destroys, or all that writes or that nobody knows anything of. */
export type AskFor = 'approved' | 'destructive' | 'write';

export interface DraftRule {
  name: string;
  action: 'allow' | 'ask';
  /** As in a rule of `sworn.yaml`. */
  server?: string;
  client?: string[];
  principal?: DraftPrincipal;
  direction: Direction;
  tool?: string[];
  method?: string[];
  when?: string;
  /** What it is made from, in the order of `tool` or `method`, or of the names in `when`. */
  items: SeenItem[];
  /** The names in `tool` and `method` are those of `items`. */
  isListed: boolean;
  /** Of calls: they may write. */
  writes: boolean;
}

export interface DraftPrincipal {
  observed?: { uid: number[] };
  verified?: { subject: string[]; issuer?: string[] };
}

/** Those who asked for the same things of one server. */
export interface DraftGroup {
  server: string;
  /** Absent: the client had no name. */
  clients?: string[];
  principals: SeenPrincipal[];
  rules: DraftRule[];
}

export interface Draft {
  groups: DraftGroup[];
  /** Of what a group asked for: all that never passed without a mark. */
  notAllowed: { group: SeenGroup; item: SeenItem }[];
}

const globBytes = 256;
/** Of a list in a rule; `listCount` of `config/shape.ts`. */
const listMost = 1_000;
/** Of a condition, below the bound of `policy/condition.ts`. */
const conditionChars = 6_000;
const slugChars = 32;

export function draftOf(seen: Seen, ask: AskFor): Draft {
  const { client: byClient, principal: byPrincipal } = seen.by;
  const notAllowed: Draft['notAllowed'] = [];
  const merged = new Map<string, Merged>();
  for (const group of seen.groups.values()) {
    const items: SeenItem[] = [];
    for (const item of group.items.values()) {
      if (item.passed > 0) items.push(item);
      else notAllowed.push({ group, item });
    }
    if (items.length > 0) merge(merged, group, items);
  }
  const names = new Set<string>();
  const groups = mergeClients([...merged.values()])
    .map(({ server, clients, principals, items }): DraftGroup => {
      const who = byPrincipal ? principalOf(principals) : {};
      const conditions: string[] = [];
      const common: Pick<DraftRule, 'server' | 'client' | 'principal'> = {};
      if (isPlain(server)) common.server = server;
      else conditions.push(`server == ${celText(server)}`);
      if (byClient) {
        if (clients === undefined) conditions.push('!has(client.given) && !has(client.name)');
        else if (clients.every(isPlain)) common.client = clients;
        else {
          const list = celList(clients);
          conditions.push(`((has(client.given) && client.given in ${list}) || (has(client.name) && client.name in ${list}))`);
        }
      }
      if (who.principal !== undefined) common.principal = who.principal;
      if (who.when !== undefined) conditions.push(who.when);
      const rules = rulesOf(slugOf(server), common, conditions, items, ask);
      for (const rule of rules) rule.name = uniqueName(rule.name, names);
      return { server, ...(clients === undefined ? {} : { clients }), principals, rules };
    })
    .sort((a, b) => (a.server < b.server ? -1 : a.server > b.server ? 1 : 0));
  return { groups, notAllowed };
}

/**
 * Rules in the order of the file. Those that allow, first without a condition: one refuses what its condition cannot be evaluated on, and must not do that to what another
 * one allows. Those that ask come last: they are also about names that only look like theirs, which another one may allow.
 */
export function rulesInOrder({ groups }: Draft): { rule: DraftRule; group: DraftGroup }[] {
  const all = groups.flatMap((group) => group.rules.map((rule) => ({ rule, group })));
  const placeOf = ({ action, when }: DraftRule): number => (action === 'allow' ? 0 : 2) + (when === undefined ? 0 : 1);
  return all.sort((a, b) => placeOf(a.rule) - placeOf(b.rule));
}

interface Merged {
  server: string;
  clients?: string[];
  principals: SeenPrincipal[];
  items: SeenItem[];
  signature: string;
}

/** Of one server and client, principals that asked for the same things are one group: all of them did all of it. */
function merge(merged: Map<string, Merged>, { server, client, principal }: SeenGroup, items: SeenItem[]): void {
  const sorted = [...items].sort(byName);
  // what a person let pass is another rule than what passed by itself
  const signature = JSON.stringify(sorted.map(({ direction, method, name, approved }) => [direction, method, name, approved > 0]));
  const kind = principal.subject === undefined ? (principal.uid === undefined ? 'nobody' : 'uid') : ['issuer', principal.issuer ?? null];
  const key = JSON.stringify([server, client ?? null, kind, signature]);
  const known = merged.get(key);
  if (known === undefined) {
    merged.set(key, { server, ...(client === undefined ? {} : { clients: [client] }), principals: [principal], items: sorted, signature });
  } else {
    known.principals.push(principal);
    add(known.items, sorted);
  }
}

/** Clients of one server whose principals and things are the same. */
function mergeClients(groups: Merged[]): Merged[] {
  const merged = new Map<string, Merged>();
  for (const group of groups) {
    const key = JSON.stringify([
      group.server,
      group.clients === undefined,
      group.principals.map((one) => JSON.stringify(one)).sort(),
      group.signature,
    ]);
    const known = merged.get(key);
    if (known === undefined) merged.set(key, group);
    else {
      known.clients!.push(...group.clients!);
      add(known.items, group.items);
    }
  }
  return [...merged.values()];
}

/** Both in the same order. */
function add(to: SeenItem[], more: readonly SeenItem[]): void {
  for (const [i, one] of to.entries()) {
    const other = more[i]!;
    to[i] = {
      ...one,
      effect: one.effect === 'write' || other.effect === 'unknown' ? one.effect : other.effect,
      sensitive: one.sensitive || other.sensitive,
      destructive: one.destructive || other.destructive,
      passed: one.passed + other.passed,
      failed: one.failed + other.failed,
      approved: one.approved + other.approved,
      firstAt: one.firstAt < other.firstAt ? one.firstAt : other.firstAt,
      lastAt: one.lastAt > other.lastAt ? one.lastAt : other.lastAt,
    };
  }
}

/** By code units: the same on every machine. */
function byName(a: SeenItem, b: SeenItem): number {
  const x = `${a.direction} ${a.method} ${a.name}`;
  const y = `${b.direction} ${b.method} ${b.name}`;
  return x < y ? -1 : x > y ? 1 : 0;
}

function rulesOf(
  slug: string,
  common: Pick<DraftRule, 'server' | 'client' | 'principal'>,
  conditions: readonly string[],
  items: readonly SeenItem[],
  ask: AskFor,
): DraftRule[] {
  const rules: DraftRule[] = [];
  const put = (
    name: string,
    action: DraftRule['action'],
    writes: boolean,
    direction: Direction,
    some: readonly SeenItem[],
    lists: 'tool' | 'method',
  ): void => {
    const plain = some.filter((item) => globOf(item, lists) !== undefined);
    for (const part of parts(plain, listMost, () => 0)) {
      rules.push({
        name,
        action,
        ...common,
        direction,
        [lists]: part.map((item) => globOf(item, lists)!),
        ...whenOf(conditions),
        items: part,
        isListed: true,
        writes,
      });
    }
    const others = some.filter((item) => globOf(item, lists) === undefined);
    const variable = lists === 'tool' ? 'tool' : 'method';
    for (const part of parts(others, listMost, (item) => nameIn(item, lists).length * 2 + 4)) {
      const named = `${variable} in ${celList(part.map((item) => nameIn(item, lists)))}`;
      const method = lists === 'tool' ? { method: ['tools/call'] } : {};
      rules.push({ name, action, ...common, direction, ...method, ...whenOf([...conditions, named]), items: part, isListed: false, writes });
    }
  };
  for (const direction of ['c2s', 's2c'] as const) {
    const prefix = direction === 'c2s' ? slug : `${slug}-server`;
    const here = items.filter((item) => item.direction === direction);
    const tools = here.filter(({ kind }) => kind === 'tool');
    const isAsked = (item: SeenItem): boolean =>
      item.approved > 0 || (ask === 'write' && item.effect !== 'read') || (ask !== 'approved' && item.destructive);
    put(
      `${prefix}-read`,
      'allow',
      false,
      direction,
      tools.filter((item) => !isAsked(item) && item.effect === 'read'),
      'tool',
    );
    put(
      `${prefix}-write`,
      'allow',
      true,
      direction,
      tools.filter((item) => !isAsked(item) && item.effect !== 'read'),
      'tool',
    );
    put(`${prefix}-ask`, 'ask', true, direction, tools.filter(isAsked), 'tool');
    const methods = here.filter(({ kind }) => kind === 'method');
    put(
      `${prefix}-methods`,
      'allow',
      false,
      direction,
      methods.filter(({ approved }) => approved === 0),
      'method',
    );
    put(
      `${prefix}-methods-ask`,
      'ask',
      false,
      direction,
      methods.filter(({ approved }) => approved > 0),
      'method',
    );
    const named = here.filter(({ kind }) => kind === 'prompt' || kind === 'resource');
    for (const method of new Set(named.map((item) => item.method))) {
      const last = method === 'prompts/get' ? 'prompts' : method.replace('/', '-');
      for (const isApproved of [false, true]) {
        const those = named.filter((item) => item.method === method && item.approved > 0 === isApproved);
        for (const part of parts(those, listMost, ({ name }) => name.length * 2 + 30)) {
          const which = method === 'prompts/get' ? `target in ${celList(part.map(({ name }) => name))}` : schemes(part);
          const name = `${prefix}-${last}${isApproved ? '-ask' : ''}`;
          const action = isApproved ? 'ask' : 'allow';
          rules.push({
            name,
            action,
            ...common,
            direction,
            method: [method],
            ...whenOf([...conditions, which]),
            items: part,
            isListed: false,
            writes: false,
          });
        }
      }
    }
  }
  return rules;
}

function whenOf(conditions: readonly string[]): { when?: string } {
  return conditions.length === 0 ? {} : { when: conditions.join(' && ') };
}

function schemes(items: readonly SeenItem[]): string {
  const each = items.map(({ name }) => `target.startsWith(${celText(name)})`).join(' || ');
  return items.length === 1 ? each : `(${each})`;
}

/** Lists of at most `most`, whose lengths together stay below that of a condition. */
function parts(items: readonly SeenItem[], most: number, chars: (item: SeenItem) => number): SeenItem[][] {
  const lists: SeenItem[][] = [];
  let sum = Number.POSITIVE_INFINITY;
  for (const item of items) {
    sum += chars(item);
    if (sum > conditionChars || lists.at(-1)!.length >= most) {
      lists.push([]);
      sum = chars(item);
    }
    lists.at(-1)!.push(item);
  }
  return lists;
}

function nameIn(item: SeenItem, lists: 'tool' | 'method'): string {
  return lists === 'tool' ? item.name : item.method;
}

/** What fits this name and no other; `undefined`: no glob does. */
function globOf(item: SeenItem, lists: 'tool' | 'method'): string | undefined {
  const name = nameIn(item, lists);
  // a tool's own slash is not the one behind a server's name
  const glob = lists === 'tool' && name.includes('/') ? `*/${name}` : name;
  return isPlain(name) && utf8(glob).length <= globBytes ? glob : undefined;
}

/** As a glob it fits itself alone. */
function isPlain(name: string): boolean {
  return name !== '' && !/[*?]/.test(name) && utf8(name).length <= globBytes;
}

function principalOf(principals: readonly SeenPrincipal[]): { principal?: DraftPrincipal; when?: string } {
  const [first] = principals;
  if (first?.uid !== undefined) return { principal: { observed: { uid: principals.map(({ uid }) => uid!).sort((a, b) => a - b) } } };
  if (first?.subject === undefined) return { when: `!(${has('verified', 'subject')}) && !(${has('observed', 'uid')})` };
  const subject = principals.map((one) => one.subject!).sort();
  const { issuer } = first;
  const issued =
    issuer === undefined ? `!(${has('verified', 'issuer')})` : `${has('verified', 'issuer')} && principal.verified.issuer == ${celText(issuer)}`;
  if (subject.every(isPlain)) {
    if (issuer === undefined) return { principal: { verified: { subject } }, when: issued };
    if (isPlain(issuer)) return { principal: { verified: { subject, issuer: [issuer] } } };
  }
  return { when: `${has('verified', 'subject')} && principal.verified.subject in ${celList(subject)} && ${issued}` };
}

function has(part: 'verified' | 'observed', field: string): string {
  return `has(principal.${part}) && has(principal.${part}.${field})`;
}

/** A text as a literal of CEL, of visible ASCII: what cannot be seen stands there as its number. */
export function celText(text: string): string {
  return JSON.stringify(text).replace(/[^\x20-\x7e]/gu, (char) => {
    const code = char.codePointAt(0)!.toString(16);
    return code.length <= 4 ? `\\u${code.padStart(4, '0')}` : `\\U${code.padStart(8, '0')}`;
  });
}

function celList(texts: readonly string[]): string {
  return `[${texts.map(celText).join(', ')}]`;
}

function slugOf(server: string): string {
  const slug = server
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .slice(0, slugChars)
    .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
  return slug === '' ? 'server' : slug;
}

function uniqueName(name: string, taken: Set<string>): string {
  let unique = name;
  for (let i = 2; taken.has(unique); i++) unique = `${name}-${i}`;
  taken.add(unique);
  return unique;
}
