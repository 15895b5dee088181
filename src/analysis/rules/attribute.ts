/**
 * Sensitive reads of things that belong to different departments, tenants or whatever else the values seen divide them into. No attribute is named here: one divides
 * things of a type into groups when different values of it are each shared by several of them, and nothing was seen with two of them.
 */
import type { Found, SeenCall } from '../events.ts';
import { leavesOf } from './leaves.ts';
import { nameOf, placeOf, rule, short, silencing, type Memory, type Settings } from './rule.ts';
import { hash53 } from './hash.ts';
import { people, states, subjectOf, withArticle, wordsOf } from './words.ts';

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

interface Known {
  /** Who was seen with a value, by hash. */
  values: Record<string, number[]>;
  isState?: true;
  /** The configuration, or what is commonly called so, says that things belong to it. */
  isTold?: true;
}

/** Of a type, over all sessions: who was seen with which value of an attribute, by hash. */
interface OfType {
  attributes: Record<string, Known>;
  /** Each of them with its values. */
  entities: Record<string, Record<string, string>>;
  count: number;
}

type Kept = { session: OfSession } | { type: OfType };

const readsMost = 100;
const typesMost = 20;
const attributesMost = 12;
/** Of an attribute that has more values than these nothing is known: it names things one by one. */
const valuesMost = 60;
/** Remembered of each value: enough to tell a group from one. */
const holdersMost = 8;
const valueMost = 48;
const entitiesMost = 300;
/** Types that are remembered at a time. */
const knownTypes = 40;

export const otherAttribute = rule<Kept>(
  {
    id: 'other-attribute',
    sees: ['call ended'],
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
    const changed = learn(seen, memory);
    if (call.sensitive && call.effect !== 'write') for (const type of remember(seen, memory)) changed.add(type);
    const session = sessionIn(memory, call.session, false);
    if (session === undefined) return [];
    return [...changed].flatMap((type) =>
      session.reads[keyOf(type)] === undefined ? [] : judge(seen, type, session, typeIn(memory, type), settings),
    );
  },
  400,
);

/** No name that objects have by themselves. */
function keyOf(type: string): string {
  return `type ${type}`;
}

function sessionIn(memory: Memory<Kept>, key: string, isNew: boolean): OfSession | undefined {
  const kept = isNew ? memory.of(key) : memory.get(key);
  return kept !== undefined && 'session' in kept ? kept.session : undefined;
}

/** Types stand beside sessions, whose names never begin so. */
function typeIn(memory: Memory<Kept>, type: string): OfType {
  const key = keyOf(type);
  if (memory.get(key) === undefined) {
    const known = memory.state().filter(([other]) => other.startsWith('type '));
    if (known.length >= knownTypes) memory.forget(known[0]![0]);
  }
  const kept = memory.of(key) as Kept & { type?: OfType; session?: OfSession };
  if (kept.type !== undefined) return kept.type;
  delete kept.session;
  return (kept.type = { attributes: {}, entities: {}, count: 0 });
}

/** What a call tells of things; the types of which something is known now that can change a judgement. */
function learn(seen: SeenCall, memory: Memory<Kept>): Set<string> {
  const changed = new Set<string>();
  const types = new Map<string, string>();
  const session = sessionIn(memory, seen.call.session, false);
  const learnOf = (known: OfType, type: string, entity: string, attributes: [string, string][], isTold: boolean): void => {
    const news = note(known, entity, attributes, isTold);
    if (news === 'nothing' || changed.has(type)) return;
    if (news === 'of all' || session?.reads[keyOf(type)]?.some((read) => read.entity === entity)) changed.add(type);
  };
  for (const { entity, path } of seen.touches.slice(0, touchesMost)) {
    const row = seen.entityOf(entity);
    if (row === undefined) continue;
    const known = typeIn(memory, row.type);
    learnOf(known, row.type, entity, Object.entries(row.attributes ?? {}), true);
    if (!path.startsWith('arguments')) types.set(row.value, row.type);
  }
  const { documents = [], structured } = seen.result ?? {};
  if (types.size === 0) return changed;
  for (const { value, beside } of things([structured, ...documents], types)) {
    const type = types.get(value)!;
    learnOf(typeIn(memory, type), type, `${type}:${value}`, beside, false);
  }
  return changed;
}

const touchesMost = 500;
const depthMost = 10;

/** Objects that hold the name of something that was seen, with the short texts that stand beside it. */
function things(documents: readonly unknown[], types: ReadonlyMap<string, string>): { value: string; beside: [string, string][] }[] {
  const found: { value: string; beside: [string, string][] }[] = [];
  const walk = (value: unknown, depth: number): void => {
    if (typeof value !== 'object' || value === null || depth > depthMost || found.length >= touchesMost) return;
    if (!Array.isArray(value)) {
      const members = Object.entries(value).slice(0, 100);
      const beside = members.flatMap(([name, one]): [string, string][] => (isBelonging(name, one) ? [[attributeOf(name), one]] : []));
      const named = members.find(
        ([name, one]) => (typeof one === 'string' || typeof one === 'number') && types.has(String(one)) && !isBelongingTo(name),
      );
      if (named !== undefined && beside.length > 0)
        found.push({ value: String(named[1]), beside: beside.filter(([, one]) => one !== String(named[1])) });
    }
    for (const inner of Object.values(value)) walk(inner, depth + 1);
  };
  for (const document of documents) walk(document, 0);
  return found;
}

/** `department_name` and `department` are one. */
function attributeOf(name: string): string {
  const words = wordsOf(name);
  return (words.length > 1 && /^(?:id|name|code)$/.test(words.at(-1)!) ? words.slice(0, -1) : words).join('_');
}

/** A short text that could say where something belongs: no time, amount or address, and nothing that says in which state or of which kind it is. */
function isBelonging(name: string, value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= valueMost &&
    !/[\r\n@]|:\/\/|^[\d\s.,:+TZ/-]+$/.test(value) &&
    !isBelongingTo(name) &&
    !wordsOf(name).some((word) => states.has(word))
  );
}

/** The member is the thing's own name. */
function isBelongingTo(name: string): boolean {
  return /^(?:name|title|label|email|description|text|path)$/i.test(name);
}

/** Notes values of something's attributes; whether that is news of the thing itself, or of all that were read: a value is shared now. */
function note(known: OfType, entity: string, attributes: readonly (readonly [string, string])[], isTold: boolean): 'nothing' | 'of it' | 'of all' {
  let own = Object.hasOwn(known.entities, entity) ? known.entities[entity]! : undefined;
  let news: ReturnType<typeof note> = 'nothing';
  for (const [attribute, value] of attributes.slice(0, attributesMost)) {
    if (value === '' || value.length > valueMost) continue;
    const before = own !== undefined && Object.hasOwn(own, attribute) ? own[attribute] : undefined;
    if (before === value) continue;
    let kept = Object.hasOwn(known.attributes, attribute) ? known.attributes[attribute]! : undefined;
    if (kept === undefined && Object.keys(known.attributes).length >= attributesMost) continue;
    kept ??= define<Known>(known.attributes, attribute, { values: {} });
    if (isTold) kept.isTold = true;
    // what changes is a state of things, not what they belong to
    if (before !== undefined) kept.isState = true;
    if (own === undefined) {
      own = define(known.entities, entity, {});
      known.count++;
      if (known.count > entitiesMost) forgetHalf(known);
    }
    define(own, attribute, value);
    if (news === 'nothing') news = 'of it';
    const holder = hash53(entity);
    const { values } = kept;
    const holders = Object.hasOwn(values, value) ? values[value]! : undefined;
    if (holders === undefined) {
      if (Object.keys(values).length < valuesMost) define(values, value, [holder]);
    } else if (holders.length < holdersMost && !holders.includes(holder)) {
      holders.push(holder);
      if (holders.length === 2) news = 'of all';
    }
  }
  return news;
}

/** The older ones. One at a time each would cost a look at all. */
function forgetHalf(known: OfType): void {
  const kept = Object.entries(known.entities).slice(entitiesMost >> 1);
  known.entities = {};
  for (const [entity, values] of kept) define(known.entities, entity, values);
  known.count = kept.length;
}

/** Of names that strangers chose. */
function define<T>(holder: Record<string, T>, name: string, value: T): T {
  if (name === '__proto__') Object.defineProperty(holder, name, { value, enumerable: true, configurable: true, writable: true });
  else holder[name] = value;
  return value;
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
    if (type === undefined || (session.reads[keyOf(type)] === undefined && Object.keys(session.reads).length >= typesMost)) continue;
    const reads = (session.reads[keyOf(type)] ??= []);
    if (reads.length >= readsMost || reads.some((one) => one.entity === entity)) continue;
    reads.push({ entity, index: seen.call.index, ...(subject === undefined ? {} : { subject }) });
    types.push(type);
  }
  return types;
}

function judge(seen: SeenCall, type: string, session: OfSession, known: OfType, settings: Settings): Found[] {
  const reads = session.reads[keyOf(type)]!;
  if (reads.length < 2) return [];
  const earlier = session.found[keyOf(type)];
  const named = settings.words('attributes');
  const candidates = earlier === undefined ? (named.length > 0 ? named : dividing(known)) : [earlier.attribute];
  for (const attribute of candidates) {
    const valued = reads.flatMap((read) => {
      const value = valueOf(known, read.entity, attribute);
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
    session.found[keyOf(type)] = { attribute, first, indexes };
    const subject = other.subject ?? 'sensitive data';
    const whose = people.has(wordsOf(type).at(-1) ?? '') ? 'someone' : withArticle(type);
    return [
      {
        first,
        // a city, a plan or a shop divides things, too: where it is only seen to, that is a hint
        severity: named.length > 0 || known.attributes[attribute]?.isTold ? 'medium' : 'low',
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

/** Attributes that divide the type into groups: those first of which it is told that they do, then the one with the fewest. */
function dividing({ attributes }: OfType): string[] {
  return Object.entries(attributes)
    .filter(([, { values, isState }]) => isState === undefined && Object.values(values).filter((holders) => holders.length >= 2).length >= 2)
    .sort(
      ([, one], [, other]) =>
        Number(other.isTold ?? false) - Number(one.isTold ?? false) || Object.keys(one.values).length - Object.keys(other.values).length,
    )
    .map(([attribute]) => attribute);
}

function valueOf({ entities }: OfType, entity: string, attribute: string): string | undefined {
  const values = Object.hasOwn(entities, entity) ? entities[entity]! : {};
  return Object.hasOwn(values, attribute) ? values[attribute] : undefined;
}

function isShared({ attributes }: OfType, attribute: string, value: string): boolean {
  const values = Object.hasOwn(attributes, attribute) ? attributes[attribute]!.values : {};
  return Object.hasOwn(values, value) && values[value]!.length >= 2;
}
