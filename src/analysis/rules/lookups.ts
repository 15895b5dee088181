/** Lookups that name things of which nobody told: ids tried one after the other, and what does not exist. */
import type { SeenCall } from '../events.ts';
import { hash53 } from './hash.ts';
import { msOf, nameOf, placeOf, rule, short, silencing } from './rule.ts';
import { guessable, people, plural, withArticle, wordsOf } from './words.ts';

interface Run {
  last: number;
  step: number;
  length: number;
  /** Of them so many had not been named by any result before. */
  guessed: number;
  beganMs: number;
  indexes: number[];
  first?: number;
}

interface Ids {
  /** By tool, type and what stands before the number. */
  runs: Record<string, Run>;
  /** What results of the session have named, by hash, and how many that are. */
  told: Record<string, 1>;
  count: number;
}

const runsMost = 40;
const toldMost = 2_000;
const indexesMost = 100;

export const enumeration = rule<Ids>(
  {
    id: 'enumeration',
    sees: ['call ended'],
    severity: 'medium',
    title: 'one tool is asked for many things of one type whose ids go up or down step by step, and that no result had named before',
    why: 'Who works on something knows the ids from a search or a list. Ids tried one after the other collect what is there.',
    silence: silencing(
      'enumeration',
      'How many in a row are too many: findings: { rules: { enumeration: { ids: 30 } } } (default 12, of sensitive tools 8).',
    ),
  },
  () => ({ runs: {}, told: {}, count: 0 }),
  (seen, memory, settings) => {
    if (seen.kind !== 'call' || seen.phase !== 'ended' || seen.call.effect === 'write') return [];
    const { call, touches, at } = seen;
    const kept = memory.of(call.session);
    const found = touches.flatMap(({ entity, path }) => {
      const row = path.startsWith('arguments') ? seen.entityOf(entity) : undefined;
      if (row === undefined || guessable.has(wordsOf(row.type).at(-1) ?? '')) return [];
      const run = goOn(kept, `${nameOf(seen)} ${row.type}`, row.value, entity, call.index, msOf(at));
      const most = call.sensitive ? Math.min(8, settings.count('ids', 12)) : settings.count('ids', 12);
      if (run === undefined || run.length < most || run.guessed * 2 < run.length) return [];
      const isNew = run.first === undefined;
      run.first ??= run.indexes[0]!;
      return [
        {
          first: run.first,
          title: `Why were ${plural(typeWords(row.type))} looked up one id after the other?`,
          detail: `${run.length} ids in steps of ${Math.abs(run.step)} with ${nameOf(seen)}, up to ${short(row.value, 60)}`,
          indexes: isNew ? run.indexes : [call.index],
          count: isNew ? run.length : 1,
          ...placeOf(seen),
        },
      ];
    });
    for (const { entity, path } of touches) if (!path.startsWith('arguments')) tell(kept, entity);
    return found;
  },
  100,
);

const numbered = /^(.{0,80}?)(\d{1,12})(\D{0,8})$/s;
/** Between two of a run, and the largest step. */
const runMs = 10 * 60_000;
const stepMost = 10;

/** The run that this id goes on with. */
function goOn(kept: Ids, key: string, value: string, entity: string, index: number, ms: number): Run | undefined {
  const [, before, digits, after] = numbered.exec(value) ?? [];
  if (digits === undefined) return undefined;
  const place = `${key} ${before}#${after}`;
  const number = Number(digits);
  const guessed = isTold(kept, entity) ? 0 : 1;
  const run = Object.hasOwn(kept.runs, place) ? kept.runs[place]! : undefined;
  if (run !== undefined && run.last === number) return undefined;
  const step = run === undefined ? 0 : number - run.last;
  if (run !== undefined && Math.abs(step) <= stepMost && ms - run.beganMs <= runMs && (run.length < 2 || Math.sign(step) === Math.sign(run.step))) {
    Object.assign(run, { last: number, step, length: run.length + 1, guessed: run.guessed + guessed });
    if (run.indexes.length < indexesMost) run.indexes.push(index);
    return run;
  }
  if (run === undefined && Object.keys(kept.runs).length >= runsMost) delete kept.runs[Object.keys(kept.runs)[0]!];
  return (kept.runs[place] = { last: number, step: 0, length: 1, guessed, beganMs: ms, indexes: [index] });
}

function tell(kept: Ids, entity: string): void {
  if (isTold(kept, entity)) return;
  kept.told[told(entity)] = 1;
  if (++kept.count <= toldMost) return;
  delete kept.told[Object.keys(kept.told)[0]!];
  kept.count--;
}

function isTold(kept: Ids, entity: string): boolean {
  return kept.told[told(entity)] === 1;
}

/** With a letter before it: numbers alone would be put in order. */
function told(entity: string): string {
  return `h${hash53(entity)}`;
}

interface Missing {
  /** By type: the first entry of its finding, and what was missing so far, by hash. */
  types: Record<string, { first: number; seen: number[]; indexes: number[] }>;
}

/** Of what may be there or not: so many different ones are missing before it is told. */
const guessesMost = 4;
const missingMost = 200;
const typesMost = 40;

export const missingEntity = rule<Missing>(
  {
    id: 'missing-entity',
    sees: ['call ended'],
    severity: 'medium',
    title: 'something is looked up that does not exist',
    why: 'A model that makes up an id goes on with what it makes up. Where the id came from a person or a document, somebody should know that it is wrong.',
    silence: silencing('missing-entity'),
  },
  () => ({ types: {} }),
  (seen, memory) => {
    if (seen.kind !== 'call' || seen.phase !== 'ended' || seen.call.effect === 'write') return [];
    const asked = seen.touches.find(({ path, entity }) => path.startsWith('arguments') && seen.entityOf(entity)?.isMissing === true);
    if (asked === undefined || !saysMissing(seen) || hasWritten(seen, asked.entity)) return [];
    const { type, value } = seen.entityOf(asked.entity)!;
    const kept = memory.of(seen.call.session);
    const key = `type ${type}`;
    const own = kept.types[key] ?? { first: seen.call.index, seen: [], indexes: [] };
    if (own.seen.length >= missingMost || own.seen.includes(hash53(asked.entity))) return [];
    if (Object.keys(kept.types).length >= typesMost && kept.types[key] === undefined) return [];
    own.seen.push(hash53(asked.entity));
    own.indexes.push(...seen.call.legs.slice(0, 4));
    kept.types[key] = own;
    const isGuess = guessable.has(wordsOf(type).at(-1) ?? '');
    if (isGuess && own.seen.length < guessesMost) return [];
    const pronoun = people.has(wordsOf(type).at(-1) ?? '') ? 'who' : 'that';
    const indexes = own.indexes.splice(0);
    return [
      {
        first: own.first,
        severity: isGuess ? 'low' : 'medium',
        title: `Was the lookup of ${withArticle(typeWords(type))} ${pronoun} does not exist a hallucination?`,
        detail: `${nameOf(seen)} was asked for ${short(value, 80)}: ${short(seen.result?.texts[0] ?? 'there is none', 120)}`,
        indexes,
        count: isGuess && own.seen.length === guessesMost ? guessesMost : 1,
        ...placeOf(seen),
      },
    ];
  },
);

function typeWords(type: string): string {
  return wordsOf(type).join(' ') || type;
}

/** That it was so found before, by another call, says nothing of this one. */
function saysMissing({ call, result }: SeenCall): boolean {
  return call.state === 'error' || call.state === 'toolError' || (result?.texts.join('').length ?? 0) <= 400;
}

/** Whoever deletes or moves something may look whether it is gone; whoever creates it, whether it is there. */
function hasWritten({ earlier, call }: SeenCall, entity: string): boolean {
  return earlier.some((one) => one.index !== call.index && one.effect === 'write' && one.entities.includes(entity));
}
