/**
 * Sensitive reads of things that belong to different departments, tenants or whatever else the values seen divide them into. No attribute is named here: one divides
 * things of a type into groups when different values of it are each shared by several of them, and nothing was seen with two of them.
 */
import type { Found, SeenCall } from '../events.ts';
import { leavesOf } from './leaves.ts';
import { nameOf, placeOf, rule, short, silencing, type Memory, type Settings } from './rule.ts';
import { hash53 } from './hash.ts';
import { people, subjectOf, withArticle, wordsOf } from './words.ts';

interface Read {
  entity: string;
  index: number;
  subject?: string;
}

/** Of a session: its sensitive reads by type of what was read, and the finding of each type. */
interface OfSession {
  reads: Record<string, Read[]>;
  /** The attribute, and the first entry of its finding. */
  found: Record<string, { attribute: string; first: number; indexes: number[] }>;
}

/** Of a type, over all sessions: who was seen with which value of an attribute, by hash. */
interface OfType {
  attributes: Record<string, { values: Record<string, number[]>; isState?: true }>;
  /** Of what was read: its values. */
  read: Record<string, Record<string, string>>;
}

type Kept = { session: OfSession } | { type: OfType };

const readsMost = 200;
const typesMost = 20;
const attributesMost = 24;
/** Of an attribute that has more values than these nothing is known: it names things one by one. */
const valuesMost = 60;
/** Remembered of each value: enough to tell a group from one. */
const holdersMost = 8;
const valueMost = 80;
const entitiesMost = 2_000;

export const otherAttribute = rule<Kept>(
  {
    id: 'other-attribute',
    severity: 'medium',
    title: 'sensitive data of things with different values of one attribute, such as a department or a tenant, is read in one session',
    why: 'One task mostly has to do with one department or tenant. A session that reads on beyond it may have been led there, or may use rights that its task does not need.',
    silence: silencing(
      'other-attribute',
      'Name the attributes that count, and no others will: findings: { rules: { other-attribute: { attributes: [department] } } }.',
    ),
  },
  () => ({ session: { reads: {}, found: {} } }),
  (seen, memory, settings) => {
    if (seen.kind !== 'call' || seen.phase !== 'ended' || seen.call.state !== 'ok') return [];
    const { call, touches } = seen;
    if (touches.length === 0) return [];
    const changed = new Set<string>();
    const types = touches.slice(0, 500).flatMap(({ entity }) => learn(seen, entity, memory) ?? []);
    for (const type of types) changed.add(type);
    if (call.sensitive && call.effect !== 'write') for (const type of remember(seen, memory)) changed.add(type);
    const session = sessionIn(memory, call.session, false);
    if (session === undefined) return [];
    return [...changed].flatMap((type) => (session.reads[type] === undefined ? [] : judge(seen, type, session, typeIn(memory, type), settings)));
  },
  400,
);

function sessionIn(memory: Memory<Kept>, key: string, isNew: boolean): OfSession | undefined {
  const kept = isNew ? memory.of(key) : memory.get(key);
  return kept !== undefined && 'session' in kept ? kept.session : undefined;
}

/** Types stand beside sessions, whose names never begin so. */
function typeIn(memory: Memory<Kept>, type: string): OfType {
  const kept = memory.of(`type ${type}`) as Kept & { type?: OfType; session?: OfSession };
  if (kept.type !== undefined) return kept.type;
  delete kept.session;
  return (kept.type = { attributes: {}, read: {} });
}

/** What is known of one entity now. Its type, where that is something new. */
function learn(seen: SeenCall, entity: string, memory: Memory<Kept>): string | undefined {
  const row = seen.entityOf(entity);
  if (row?.attributes === undefined) return undefined;
  const holder = hash53(entity);
  const known = typeIn(memory, row.type);
  let isNew = false;
  const entries = Object.entries(row.attributes).slice(0, attributesMost);
  for (const [attribute, value] of entries) {
    if (value === '' || value.length > valueMost) continue;
    const own = Object.hasOwn(known.attributes, attribute) ? known.attributes[attribute]! : undefined;
    if (own === undefined && Object.keys(known.attributes).length >= attributesMost) continue;
    const { values } = own ?? (known.attributes[attribute] = { values: {} });
    const holders = Object.hasOwn(values, value) ? values[value]! : undefined;
    if (holders?.includes(holder)) continue;
    // what changes is a state of things, not what they belong to
    if (Object.entries(values).some(([other, held]) => other !== value && held.includes(holder))) known.attributes[attribute]!.isState = true;
    if (holders === undefined) {
      if (Object.keys(values).length >= valuesMost) continue;
      Object.defineProperty(values, value, { value: [holder], enumerable: true, configurable: true, writable: true });
    } else if (holders.length < holdersMost) holders.push(holder);
    isNew = true;
  }
  if (Object.keys(known.read).length < entitiesMost || Object.hasOwn(known.read, entity)) known.read[entity] = Object.fromEntries(entries);
  return isNew ? row.type : undefined;
}

/** What a sensitive call read: what its arguments named, or else what came back. The types of it. */
function remember(seen: SeenCall, memory: Memory<Kept>): string[] {
  const asked = seen.touches.filter(({ path }) => path.startsWith('arguments'));
  const read = (asked.length > 0 ? asked : seen.touches).slice(0, 50);
  const session = sessionIn(memory, seen.call.session, true)!;
  const names = [seen.result?.structured, ...(seen.result?.documents ?? [])].flatMap((one) => leavesOf(one).map(({ name }) => name));
  const subject = subjectOf([...names, nameOf(seen)]);
  const types: string[] = [];
  for (const { entity } of read) {
    const type = seen.entityOf(entity)?.type;
    if (type === undefined || (session.reads[type] === undefined && Object.keys(session.reads).length >= typesMost)) continue;
    const reads = (session.reads[type] ??= []);
    if (reads.length >= readsMost || reads.some((one) => one.entity === entity)) continue;
    reads.push({ entity, index: seen.call.index, ...(subject === undefined ? {} : { subject }) });
    types.push(type);
  }
  return types;
}

function judge(seen: SeenCall, type: string, session: OfSession, known: OfType, settings: Settings): Found[] {
  const reads = session.reads[type]!;
  if (reads.length < 2) return [];
  const earlier = session.found[type];
  const named = settings.words('attributes');
  const candidates = earlier === undefined ? (named.length > 0 ? named : dividing(known)) : [earlier.attribute];
  for (const attribute of candidates) {
    const valued = reads.flatMap((read) => {
      const value = known.read[read.entity]?.[attribute];
      return value === undefined || (named.length === 0 && !isShared(known, attribute, value)) ? [] : [{ ...read, value }];
    });
    const base = valued[0];
    const others = valued.filter(({ value }) => value !== base?.value);
    if (base === undefined || others.length === 0) continue;
    const other = others[0]!;
    const indexes = [base.index, ...others.map(({ index }) => index)];
    const fresh = indexes.filter((index) => !earlier?.indexes.includes(index));
    if (fresh.length === 0) return [];
    const first = earlier?.first ?? other.index;
    session.found[type] = { attribute, first, indexes };
    const subject = other.subject ?? 'sensitive data';
    const whose = people.has(wordsOf(type).at(-1) ?? '') ? 'someone' : withArticle(type);
    return [
      {
        first,
        title: `Why was ${subject} of ${whose} in another ${wordsOf(attribute).join(' ')} read?`,
        detail: short(
          `${nameOf(seen)}: ${short(other.entity, 60)} (${short(other.value, 40)}) after ${short(base.entity, 60)} (${short(base.value, 40)})`,
          240,
        ),
        indexes: earlier === undefined ? indexes : fresh,
        count: fresh.filter((index) => index !== base.index).length || 1,
        ...placeOf(seen),
      },
    ];
  }
  return [];
}

/** Attributes that divide the type into groups, the one with the fewest first. */
function dividing({ attributes }: OfType): string[] {
  return Object.entries(attributes)
    .filter(([, { values, isState }]) => isState === undefined && Object.values(values).filter((holders) => holders.length >= 2).length >= 2)
    .sort(([, one], [, other]) => Object.keys(one.values).length - Object.keys(other.values).length)
    .map(([attribute]) => attribute);
}

function isShared({ attributes }: OfType, attribute: string, value: string): boolean {
  const values = attributes[attribute]?.values;
  return values !== undefined && Object.hasOwn(values, value) && values[value]!.length >= 2;
}
