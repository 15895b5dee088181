/** Rules that no message can reach, as far as that follows from their matchers alone. Never says so of a rule that can be reached. */
import { globMatches } from '../mcp/glob.ts';
import type { Matchers, PrincipalMatcher, Rule } from '../policy/policy.ts';

export interface Unreachable {
  /** Places in the list of rules. */
  rule: number;
  earlier: number;
}

/** Earlier rules that a rule is compared with one by one; those with the very same matchers are always found. */
const compared = 200;

/** The methods of a connection itself, of which only a rule that names them letter by letter judges (`policy/judge.ts`). */
const ownMethods = new Set(['initialize', 'server/discover', 'ping', 'notifications/initialized', 'notifications/cancelled']);

export function reach(rules: readonly Rule[]): Unreachable[] {
  const found: Unreachable[] = [];
  const same = new Map<string, number>();
  const earlier: number[] = [];
  for (const [i, rule] of rules.entries()) {
    const signature = signatureOf(rule);
    const covering = rule.on.map(
      (type) => same.get(`${type} ${signature}`) ?? earlier.find((at) => rules[at]!.on.includes(type) && covers(rules[at]!, rule)),
    );
    if (covering.every((at) => at !== undefined)) {
      found.push({ rule: i, earlier: Math.max(...covering) });
      continue;
    }
    // what is not enforced, and what has a condition, leaves messages to the rules behind it
    if (!rule.enforce || rule.when !== undefined) continue;
    for (const type of rule.on) if (!same.has(`${type} ${signature}`)) same.set(`${type} ${signature}`, i);
    if (earlier.length < compared) earlier.push(i);
  }
  return found;
}

const matcherNames = ['server', 'tool', 'method', 'client', 'label', 'principal', 'effect', 'direction', 'sensitive', 'destructive'] as const;

function signatureOf(rule: Rule): string {
  return JSON.stringify(matcherNames.map((name) => (Array.isArray(rule[name]) ? rule[name].toSorted() : rule[name])));
}

/** Whether `a` is about every message that `b` is about. */
function covers(a: Matchers, b: Matchers): boolean {
  if (a.direction !== undefined && a.direction !== b.direction) return false;
  if (a.sensitive !== undefined && a.sensitive !== b.sensitive) return false;
  if (a.destructive !== undefined && a.destructive !== b.destructive) return false;
  if (a.effect !== undefined && !(b.effect?.every((effect) => a.effect!.includes(effect)) ?? false)) return false;
  if (b.method?.some((method) => ownMethods.has(method) && !(a.method?.includes(method) ?? false))) return false;
  return (
    globsCover(a.server, b.server) &&
    globsCover(a.method, b.method) &&
    globsCover(a.client, b.client) &&
    globsCover(a.label, b.label) &&
    toolsCover(a.tool, b.tool) &&
    (a.principal === undefined || (b.principal !== undefined && principalCovers(a.principal, b.principal)))
  );
}

function principalCovers(a: PrincipalMatcher, b: PrincipalMatcher): boolean {
  const uids = a.observed?.uid;
  if (uids !== undefined && !(b.observed?.uid?.every((uid) => uids.includes(uid)) ?? false)) return false;
  return (
    globsCover(a.observed?.executable, b.observed?.executable) &&
    globsCover(a.verified?.subject, b.verified?.subject) &&
    globsCover(a.verified?.issuer, b.verified?.issuer) &&
    globsCover(a.declared?.name, b.declared?.name)
  );
}

function globsCover(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return a === undefined || (b !== undefined && b.every((one) => a.some((glob) => globCovers(glob, one))));
}

/**
 * Whether `a` fits every text that `b` fits: it does when it fits `b` itself, letter by letter, since only its stars can have taken `b`'s wildcards. A `?`
 * could have taken a star, which stands for more than one character.
 */
function globCovers(a: string, b: string): boolean {
  return !(a.includes('?') && b.includes('*')) && globMatches(a, b);
}

function toolsCover(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return a === undefined || (b !== undefined && b.every((one) => a.some((glob) => toolCovers(glob, one))));
}

function toolCovers(a: string, b: string): boolean {
  const [serverA, toolA] = parts(a);
  const [serverB, toolB] = parts(b);
  return globCovers(serverA, serverB) && globCovers(toolA, toolB);
}

/** `server/tool`, cut at the first slash; any server without one. */
function parts(tool: string): [server: string, tool: string] {
  const slash = tool.indexOf('/');
  return slash < 0 ? ['*', tool] : [tool.slice(0, slash), tool.slice(slash + 1)];
}
