/**
 * A range and its filter as SQL: the meaning is `analysis/filter.ts`'s, word by word. `f` are the facets of the table that is asked, `t` its rows. Conditions on facets
 * stand apart: they are answered once for each facet, not for each row.
 */
import { needlesOf, namedSession, parseFilter, type Filter, type Term, type Word } from '../analysis/filter.ts';
import type { Range } from '../analysis/views.ts';
import { foundTexts, searchedTexts } from '../limits.ts';
import type { Database, Value } from './driver.ts';
import { timeUs } from './rows.ts';

export interface Condition {
  readonly sql: string;
  readonly values: readonly Value[];
}

export interface Meant {
  /** µs since 1970, both among what is meant. */
  readonly since: number | undefined;
  readonly until: number | undefined;
  /** On `f`; none: all facets. */
  readonly facets: Condition | undefined;
  /** On `t`, beside the times. */
  readonly rows: Condition | undefined;
  /** `facets` asks for nothing that sums are not kept by (`groupedBy`). */
  readonly isGrouped: boolean;
}

type Asked = 'calls' | 'entries';

const groupedWords: ReadonlySet<Word> = new Set(['tool', 'method', 'server', 'direction', 'effect', 'outcome', 'verdict']);
const never: Condition = { sql: '0', values: [] };

/** @throws FilterProblem for a line that is none */
export function meantBy(range: Range, asked: Asked, database: Database, nowMs: number): Meant {
  const filter: Filter = parseFilter(range.filter ?? '', nowMs);
  let since = range.since === undefined ? undefined : timeBound(range.since);
  let until = range.until === undefined ? undefined : timeBound(range.until);
  const facets: Condition[] = [];
  const rows: Condition[] = [];
  let isGrouped = range.session === undefined;
  if (range.session !== undefined) facets.push({ sql: 'f.session IS ?', values: [range.session] });

  const words = new Map<Word, Term[]>();
  for (const term of filter.terms) {
    // a filter looks at milliseconds
    if (term.word === 'since') since = Math.max(since ?? 0, Math.ceil(term.ms!) * 1000);
    else if (term.word === 'until') until = Math.min(until ?? Number.MAX_SAFE_INTEGER, Math.floor(term.ms!) * 1000 + 999);
    else words.set(term.word, [...(words.get(term.word) ?? []), term]);
  }
  for (const [word, terms] of words) {
    isGrouped &&= groupedWords.has(word);
    const isOfCalls =
      asked === 'entries' &&
      (word === 'who' || word === 'definition' || word === 'approvedBy' || (word === 'outcome' && terms.some(({ value }) => ofCalls.has(value))));
    const isOfRows = word === 'entity' || word === 'finding' || isOfCalls;
    const conditions = (isNot: boolean): Condition[] =>
      terms.filter((term) => term.isNot === isNot).map((term) => (asked === 'calls' ? ofCall(term, database) : ofEntry(term, database, isOfRows)));
    const all = [...conditions(true).map(not)];
    const some = conditions(false);
    if (some.length > 0) all.push(joined(some, 'OR'));
    (isOfRows ? rows : facets).push(...all);
  }
  for (const text of filter.texts) {
    isGrouped = false;
    rows.push(ofText(text, asked, database));
  }
  return {
    since,
    until,
    facets: facets.length === 0 ? undefined : joined(facets, 'AND'),
    rows: rows.length === 0 ? undefined : joined(rows, 'AND'),
    isGrouped,
  };
}

/** A time without microseconds means its first one, as texts are compared. */
function timeBound(time: string): number | undefined {
  return timeUs(time) ?? undefined;
}

export function joined(conditions: readonly Condition[], word: 'AND' | 'OR'): Condition {
  return { sql: `(${conditions.map(({ sql }) => sql).join(` ${word} `)})`, values: conditions.flatMap(({ values }) => values) };
}

function not({ sql, values }: Condition): Condition {
  return { sql: `NOT coalesce(${sql}, 0)`, values };
}

/** Our globs have no character classes; SQLite's do. */
export function globOf(pattern: string): string {
  return pattern.replaceAll('[', '[[]');
}

function ofSession(value: string): Condition {
  const meant = namedSession(value);
  if (meant === undefined) return never;
  const { connection, part } = meant;
  return part === undefined
    ? { sql: 'f.session GLOB ?', values: [`${connection}*`] }
    : { sql: '(f.session GLOB ? AND f.session GLOB ?)', values: [`${connection}*`, `*/${part}`] };
}

function ofMessage(word: Word, value: string): Condition {
  switch (word) {
    case 'tool':
      return { sql: "(f.method = 'tools/call' AND f.target GLOB ?)", values: [globOf(value)] };
    case 'method':
      return { sql: 'f.method GLOB ?', values: [globOf(value)] };
    case 'effect':
      if (value === 'sensitive' || value === 'destructive') return { sql: `f.${value} = 1`, values: [] };
      return { sql: 'f.effect = ?', values: [value] };
    default:
      return { sql: 'f.verdict = ?', values: [value] };
  }
}

function ofCall({ word, value }: Term, database: Database): Condition {
  switch (word) {
    case 'session':
      return ofSession(value);
    case 'server':
      return { sql: 'f.server GLOB ?', values: [globOf(value)] };
    case 'direction':
      return value === 'c2s' ? { sql: '1', values: [] } : never;
    case 'outcome':
      if (value === 'blocked') return { sql: "(f.verdict = 'block' OR (f.verdict = 'ask' AND f.state = 'blocked'))", values: [] };
      return { sql: 'f.state = ?', values: [value] };
    case 'approvedBy':
      return { sql: 'f.approvedBy = ?', values: [value] };
    case 'who':
      return { sql: 'f.who IN (SELECT value FROM json_each(?))', values: [JSON.stringify(principalsOf(value, database))] };
    case 'definition':
      return { sql: 'f.definition GLOB ?', values: [`${value}*`] };
    case 'entity':
      return { sql: 't."index" IN (SELECT call FROM touches WHERE entity GLOB ?)', values: [globOf(value)] };
    case 'finding':
      return { sql: `t."index" IN (SELECT e.call FROM entries e WHERE e."index" IN (${findingEntries}))`, values: [value, globOf(value)] };
    default:
      return ofMessage(word, value);
  }
}

const findingEntries = 'SELECT fe.entry FROM finding_entries fe JOIN findings USING (finding) WHERE finding = ? OR rule GLOB ?';
const isMessage = "f.kind = 'message'";

function ofEntry({ word, value }: Term, database: Database, isOfRows: boolean): Condition {
  switch (word) {
    case 'session':
      return ofSession(value);
    case 'server':
      return { sql: 'f.server GLOB ?', values: [globOf(value)] };
    case 'direction':
      return { sql: `(${isMessage} AND f.direction = ?)`, values: [value] };
    case 'outcome':
      return ofEntryOutcome(value, isOfRows);
    case 'who':
      return {
        sql: 't.call IN (SELECT c."index" FROM calls c JOIN calls_facets cf USING (facet) WHERE cf.who IN (SELECT value FROM json_each(?)))',
        values: [JSON.stringify(principalsOf(value, database))],
      };
    case 'approvedBy':
      return { sql: 't.call IN (SELECT c."index" FROM calls c JOIN calls_facets cf USING (facet) WHERE cf.approvedBy = ?)', values: [value] };
    case 'definition':
      return {
        sql: 't.call IN (SELECT c."index" FROM calls c JOIN calls_facets cf USING (facet) WHERE cf.definition GLOB ?)',
        values: [`${value}*`],
      };
    case 'entity':
      return { sql: 't.call IN (SELECT call FROM touches WHERE entity GLOB ?)', values: [globOf(value)] };
    case 'finding':
      return { sql: `t."index" IN (${findingEntries})`, values: [value, globOf(value)] };
    default: {
      const { sql, values } = ofMessage(word, value);
      return { sql: `(${isMessage} AND ${sql})`, values };
    }
  }
}

/** Outcomes of requests that only their calls know. */
const ofCalls: ReadonlySet<string> = new Set(['blocked', 'cancelled', 'unanswered']);

function ofEntryOutcome(value: string, isOfRows: boolean): Condition {
  const facets = (condition: string, values: Value[] = []): Condition =>
    isOfRows
      ? { sql: `t.facet IN (SELECT facet FROM entries_facets f WHERE ${isMessage} AND ${condition})`, values }
      : { sql: `(${isMessage} AND ${condition})`, values };
  if (value === 'blocked') {
    const denied = 't.call IN (SELECT c."index" FROM calls c JOIN calls_facets cf USING (facet) WHERE cf.state = \'blocked\')';
    const asked = facets("f.type = 'request' AND f.verdict = 'ask'");
    return { sql: `(${facets("f.type = 'request' AND f.verdict = 'block'").sql} OR (${asked.sql} AND ${denied}))`, values: [] };
  }
  if (!ofCalls.has(value)) return facets('f.outcome = ?', [value]);
  const other = 'EXISTS (SELECT 1 FROM calls c JOIN calls_facets cf USING (facet) WHERE c."index" = t.call AND cf.state <> ?)';
  return { sql: `(${facets("f.type = 'request'").sql} AND NOT ${other})`, values: [value] };
}

function principalsOf(value: string, database: Database): number[] {
  const found = database
    .prepare(
      `SELECT DISTINCT w.value ->> '$.index' AS entry FROM sessions, json_each(sessions.who) w
       WHERE w.value ->> '$.name' GLOB ? OR w.value ->> '$.user' GLOB ? OR w.value ->> '$.executable' GLOB ?`,
    )
    .all(...Array<string>(3).fill(globOf(value)))
    .map(({ entry }) => entry as number);
  return /^\d{1,15}$/.test(value) ? [...found, Number(value)] : found;
}

function ofText(text: string, asked: Asked, database: Database): Condition {
  const found = JSON.stringify(entriesWith(text, database));
  const needle = text.toLowerCase();
  const named = (fields: string[]): Condition =>
    joined(
      fields.map((field) => ({ sql: `instr(lower(${field}), ?) > 0`, values: [needle] })),
      'OR',
    );
  const inFacets = named(['f.target', 'f.method']);
  const facets = `t.facet IN (SELECT facet FROM ${asked}_facets f WHERE ${inFacets.sql})`;
  if (asked === 'entries') {
    const summary = named(['t.summary']);
    return {
      sql: `(t."index" IN (SELECT value FROM json_each(?)) OR ${facets} OR ${summary.sql})`,
      values: [found, ...inFacets.values, ...summary.values],
    };
  }
  const ofEntries = 'SELECT e.call FROM entries e WHERE e."index" IN (SELECT value FROM json_each(?))';
  return { sql: `(t."index" IN (${ofEntries}) OR ${facets})`, values: [found, ...inFacets.values] };
}

/**
 * The newest entries that contain a text, at most `limits.foundTexts`: what has all its threes of characters is read and looked through, so that what is found does
 * contain it. Of a text with fewer than three characters the newest entries are looked through.
 */
export function entriesWith(text: string, database: Database): number[] {
  const found = new Set<number>();
  for (const needle of needlesOf(text)) {
    const threes = threesOf(needle);
    const candidates =
      threes.length === 0
        ? database.prepare('SELECT "index", text FROM texts ORDER BY "index" DESC LIMIT ?').iterate(searchedTexts)
        : database
            .prepare(
              `SELECT texts."index", texts.text FROM found_texts JOIN texts ON texts."index" = found_texts.rowid
               WHERE found_texts MATCH ? ORDER BY found_texts.rowid DESC LIMIT ?`,
            )
            .iterate(threes.map((three) => `"${three.replaceAll('"', '""')}"`).join(' AND '), searchedTexts);
    for (const row of candidates) {
      if (!(row['text'] as string).toLowerCase().includes(needle)) continue;
      found.add(row['index'] as number);
      if (found.size >= foundTexts) break;
    }
  }
  return [...found];
}

/** All runs of three characters, at most 32 of them: more make a search no narrower. */
function threesOf(text: string): string[] {
  const characters = [...text];
  const threes = new Set<string>();
  for (let at = 0; at + 3 <= characters.length && threes.size < 32; at++) threes.add(characters.slice(at, at + 3).join(''));
  return [...threes];
}
