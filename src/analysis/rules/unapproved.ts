/** Writes in somebody's name, and those that destroy much, that neither a rule nor a person let happen. */
import type { Found, SeenCall } from '../events.ts';
import { leavesOf } from './leaves.ts';
import { firstOf, nameOf, placeOf, rule, short, silencing } from './rule.ts';
import { actOf, deletions, destructions, moneyActs, objectIn, wordsOf } from './words.ts';

interface Kept {
  /** By tool and act: the first entry of its finding. */
  firsts: Record<string, number>;
}

interface Deed {
  /** What it is called: `time-off submission`. */
  called: string;
  isGrave: boolean;
}

const deedsMost = 100;
/** So many things deleted at once are many. */
const manyDeleted = 10;

export const unapprovedWrite = rule<Kept>(
  {
    id: 'unapproved-write',
    sees: ['call ended'],
    severity: 'medium',
    title: "a write in somebody's name, or one that destroys much, that no rule and no person let happen",
    why: 'Submitting, sending, paying or deleting binds somebody or cannot be taken back. Nobody but the model decided it.',
    silence: silencing(
      'unapproved-write',
      'Let a rule of the policy decide it, and it counts as approved by that rule: policy: { rules: [{ name: NAME, allow: true, tool: TOOL }] }.',
    ),
  },
  () => ({ firsts: {} }),
  (seen, memory, settings) => {
    if (seen.kind !== 'call' || seen.phase !== 'ended' || seen.call.method !== 'tools/call' || seen.call.target === undefined) return [];
    const { call } = seen;
    // what was refused or failed did not happen; what was not answered may have
    if (call.effect === 'read' || (call.state !== 'ok' && call.state !== 'unanswered') || isWaited(seen) || isApproved(seen)) return [];
    const deed = deedOf(seen, settings.count('deleted', manyDeleted));
    if (deed === undefined) return [];
    const kept = memory.of(call.session);
    const first = firstOf(kept.firsts, `${call.target} ${deed.called}`, call.index, deedsMost);
    const found: Found = {
      first,
      severity: deed.isGrave ? 'high' : 'medium',
      title: `Who authorised the ${deed.called}?`,
      detail: `${nameOf(seen)} ${short(call.argumentsText ?? '', 160)}: no rule and no person let it happen`,
      indexes: call.legs.slice(0, 8),
      ...placeOf(seen),
    };
    return [found];
  },
);

/** Nobody let it happen, so it did not. */
function isWaited({ call: { verdict, approval } }: SeenCall): boolean {
  return verdict === 'ask' && approval?.decision !== 'approved';
}

/** Of calls whose effect is not known the verdict says it, as of others `approvedBy` does. */
function isApproved({ call: { approvedBy, verdict, rule: name } }: SeenCall): boolean {
  if (approvedBy !== undefined) return approvedBy !== 'nobody';
  return verdict !== 'block' && name !== undefined && !name.startsWith('sworn:');
}

function deedOf(seen: SeenCall, many: number): Deed | undefined {
  const words = wordsOf(seen.call.target!);
  const act = actOf(seen.call.target!);
  if (act !== undefined) return { called: called(act.object, act.noun), isGrave: moneyActs.has(act.noun) };
  const statement = sqlDeed(seen);
  if (statement !== undefined) return { called: statement, isGrave: true };
  const at = words.slice(0, 3).findIndex((word) => Object.hasOwn(destructions, word) || deletions.has(word));
  const verb = words[at];
  if (verb === undefined) return undefined;
  const object = objectIn(words, at);
  if (Object.hasOwn(destructions, verb)) return seen.call.destructive ? { called: called(object, destructions[verb]!), isGrave: true } : undefined;
  const isMuch = words.includes('all') || deletedAtOnce(seen.arguments) >= many || deletesByPattern(seen.arguments);
  return isMuch ? { called: `deletion of many ${object || 'things'}`, isGrave: true } : undefined;
}

function called(object: string, noun: string): string {
  return object === '' ? noun : `${object} ${noun}`;
}

/** The longest list in the arguments. */
function deletedAtOnce(args: unknown): number {
  if (typeof args !== 'object' || args === null) return 0;
  return Math.max(0, ...Object.values(args).map((value) => (Array.isArray(value) ? value.length : 0)));
}

function deletesByPattern(args: unknown): boolean {
  return leavesOf(args).some(
    ({ name, value }) =>
      (name.toLowerCase() === 'recursive' && value === true) || (typeof value === 'string' && /^(?:\*|.{0,200}\/\*{1,2})$/.test(value)),
  );
}

/** One of these stands in every statement that does: most texts need no other look. */
const destroying = /drop|truncate|delete/i;

/** What a statement in the arguments destroys. Comments before it are passed over, several are looked at one by one. */
function sqlDeed(seen: SeenCall): string | undefined {
  for (const { value } of leavesOf(seen.arguments)) {
    if (typeof value !== 'string' || value.length > 20_000 || !destroying.test(value)) continue;
    for (const statement of value.split(';').slice(0, 50)) {
      const text = statement.replaceAll(/--[^\n]*|\/\*[^*]*\*\//g, ' ').trim();
      const [, dropped] = /^drop\s+(table|database|schema|view|user|role)\s/i.exec(`${text} `) ?? [];
      if (dropped !== undefined) return `${dropped.toLowerCase()} drop`;
      if (/^truncate\s+(?:table\s+)?["`[\w]/i.test(text)) return 'table truncation';
      if (/^delete\s+from\s+["`[\w.\]]+\s*$/i.test(text)) return 'deletion of all rows';
    }
  }
  return undefined;
}
