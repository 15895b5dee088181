/**
 * Rows into tables, and the sums over calls that go with them. What is put is kept until `flush`, so that a row that changes with each entry (a session's, a tool's) is
 * written once for many; whoever calls `flush` does it in the transaction that also moves the cursor.
 */
import type { Key, RowSink, Rows, Table } from '../analysis/sink.ts';
import type { CallRow, FindingRow } from '../analysis/rows.ts';
import { catalogFacets } from '../limits.ts';
import type { Database, Statement, Value } from './driver.ts';
import { bucketOf, toRow, toValue } from './rows.ts';
import { groupedBy, levelsUs, quoted, tables, type Column, type TableShape } from './schema.ts';

const namedFindings = 1_000;
/** Of a table: rows whose facets are remembered by the row itself. */
const lastFacets = 6;

interface TableStatements {
  put: Statement;
  /** A row that is not there yet: SQLite need not look for what it would take the place of. */
  add: Statement;
  get: Statement;
}

/** Sums over calls. First and last are those of calls that have been in it. */
export interface Tally {
  calls: number;
  resultBytes: number;
  contextTokens: number;
  longestUs: number;
  firstUs: number;
  lastUs: number;
  endUs: number;
}

/** What of a stored call its sums were counted with. */
interface Counted {
  facet: number;
  beganUs: number;
  bucket: number;
  resultBytes: number;
  contextTokens: number;
  durationUs: number;
  endUs: number;
}

export class RowWriter implements RowSink {
  readonly #ledger: string;
  readonly #database: Database;
  readonly #pending: { readonly [T in Table]: Map<string | number, Rows[T]> } = {
    sessions: new Map(),
    calls: new Map(),
    entries: new Map(),
    tools: new Map(),
    definitions: new Map(),
    entities: new Map(),
    touches: new Map(),
    findings: new Map(),
  };
  readonly #statements: Record<Table, TableStatements>;
  readonly #facets: Partial<Record<Table, Interned>> = {};
  readonly #lastFacets: Partial<Record<Table, { of: Record<string, unknown>; facet: number }[]>> = {};
  readonly #groupings: Interned;
  /** Grouping by facet of calls. */
  readonly #groupingOf = new Map<number, number>();
  readonly #tallies = new Map<string, Tally>();
  readonly #counts = { calls: new Map<number, number>(), entries: new Map<number, number>() };
  readonly #tally: Statement;
  readonly #countRows: Record<'calls' | 'entries', Statement>;
  readonly #counted: Statement;
  /** What was written of findings, by their list itself: it is never changed, only replaced. */
  readonly #named = new Map<string, readonly number[]>();
  readonly #findingEntries: { drop: Statement; put: Statement };
  #lastCall: number;
  #lastEntry: number;

  constructor(ledger: string, database: Database) {
    this.#ledger = ledger;
    this.#database = database;
    this.#statements = Object.fromEntries(
      Object.values(tables).map((shape): [Table, TableStatements] => [
        shape.name,
        {
          put: database.prepare(putSql(shape, 'INSERT OR REPLACE')),
          add: database.prepare(putSql(shape, 'INSERT')),
          get: database.prepare(getSql(shape)),
        },
      ]),
    ) as Record<Table, TableStatements>;
    for (const { name, facets } of Object.values(tables)) {
      const extra = name === 'calls' ? ['grouping'] : [];
      if (facets.length > 0) this.#facets[name] = new Interned(database, `${name}_facets`, 'facet', [...facets.map((one) => one.name), ...extra]);
    }
    this.#groupings = new Interned(database, 'groupings', 'grouping', groupedBy);
    this.#tally = database.prepare(
      'INSERT INTO tallies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, ' +
        'resultBytes = resultBytes + excluded.resultBytes, contextTokens = contextTokens + excluded.contextTokens, ' +
        'longestUs = max(longestUs, excluded.longestUs), firstUs = min(firstUs, excluded.firstUs), ' +
        'lastUs = max(lastUs, excluded.lastUs), endUs = max(endUs, excluded.endUs)',
    );
    const counting = (table: string): Statement =>
      database.prepare(`INSERT INTO ${table} VALUES (?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows`);
    this.#countRows = { calls: counting('call_counts'), entries: counting('entry_counts') };
    this.#counted = database.prepare(
      'SELECT facet, beganAt AS beganUs, bucket, resultBytes, contextTokens, durationUs, endedAt AS endUs FROM calls WHERE "index" = ?',
    );
    this.#findingEntries = {
      drop: database.prepare('DELETE FROM finding_entries WHERE finding = ?'),
      put: database.prepare('INSERT OR IGNORE INTO finding_entries VALUES (?, ?)'),
    };
    this.#lastCall = lastIndex(database, 'calls');
    this.#lastEntry = lastIndex(database, 'entries');
  }

  put<T extends Table>(table: T, row: Rows[T]): void {
    this.#pending[table].set(keyIn(table, row), row);
  }

  get<T extends Table>(table: T, key: Key<T>): Rows[T] | undefined {
    const pending = this.#pending[table].get(keyIn(table, key));
    if (pending !== undefined) return pending;
    const fields = key as unknown as Record<string, Value>;
    const shape = tables[table];
    const row = this.#statements[table].get.get(...shape.key.map((field) => fields[field]!));
    return row === undefined ? undefined : toRow<Rows[T]>(this.#ledger, shape.columns, row);
  }

  /** Rows that wait. */
  get waiting(): number {
    let count = 0;
    for (const rows of Object.values(this.#pending)) count += rows.size;
    return count;
  }

  /** Writes what was put. Within a transaction: without one, a crash would leave sums and rows that differ. */
  flush(): void {
    for (const shape of Object.values(tables)) {
      const rows = this.#pending[shape.name];
      for (const row of rows.values()) this.#write(shape, row as unknown as Record<string, unknown>);
      rows.clear();
    }
    for (const [key, { calls, resultBytes, contextTokens, longestUs, firstUs, lastUs, endUs }] of this.#tallies)
      this.#tally.run(...key.split(' ').map(Number), calls, resultBytes, contextTokens, longestUs, firstUs, lastUs, endUs);
    this.#tallies.clear();
    for (const [table, counts] of Object.entries(this.#counts)) {
      for (const [facet, count] of counts) if (count !== 0) this.#countRows[table as 'calls' | 'entries'].run(facet, count);
      counts.clear();
    }
  }

  #write(shape: TableShape, row: Record<string, unknown>): void {
    const values: Value[] = [];
    for (const { name, kind } of shape.own) values.push(toValue(kind, row[name]));
    const interned = this.#facets[shape.name];
    let isNew = false;
    if (interned !== undefined) {
      const facet = this.#facetOf(shape, interned, row);
      values.push(facet);
      const index = row['index'] as number;
      if (shape.name === 'calls') {
        isNew = index > this.#lastCall;
        values.push(this.#count(row as unknown as CallRow, facet));
      } else if (shape.name === 'entries') {
        isNew = index > this.#lastEntry;
        this.#countEntry(index, facet);
      }
    }
    const { put, add } = this.#statements[shape.name];
    (isNew ? add : put).run(...values);
    if (shape.name === 'findings') this.#putEntriesOf(row as unknown as FindingRow);
  }

  /** Neighbours mostly have the same few: they are held against the last ones before anything is made of them. */
  #facetOf(shape: TableShape, interned: Interned, row: Record<string, unknown>): number {
    const last = (this.#lastFacets[shape.name] ??= []);
    for (const { of, facet } of last) if (isAlike(shape.facets, of, row)) return facet;
    const facet = this.#facetIn(shape, interned, row);
    last.unshift({ of: row, facet });
    if (last.length > lastFacets) last.pop();
    return facet;
  }

  #facetIn({ name, facets }: TableShape, interned: Interned, row: Record<string, unknown>): number {
    const values = valuesOf(facets, row);
    if (name !== 'calls') return interned.of(values);
    // the grouping follows from the facet: its place in the key adds nothing
    const same = sameText(values);
    const known = interned.known(same);
    if (known !== undefined) return known;
    const grouping = this.#groupings.of(
      groupedBy.map((field) => toValue(field === 'sensitive' || field === 'destructive' ? 'flag' : 'text', row[field])),
    );
    return interned.of([...values, grouping], same);
  }

  #grouping(facet: number): number {
    let grouping = this.#groupingOf.get(facet);
    if (grouping === undefined) {
      grouping = this.#database.prepare('SELECT grouping FROM calls_facets WHERE facet = ?').get(facet)!['grouping'] as number;
      if (this.#groupingOf.size >= catalogFacets) this.#groupingOf.clear();
      this.#groupingOf.set(facet, grouping);
    }
    return grouping;
  }

  /** Counts a call, and takes back what it was counted as before. Its bucket. */
  #count(call: CallRow, facet: number): number {
    if (call.index <= this.#lastCall) {
      const before = this.#counted.get(call.index) as unknown as Counted | undefined;
      if (before !== undefined) this.#add(before, -1);
    } else this.#lastCall = call.index;
    const bucket = bucketOf(call.durationUs);
    const beganUs = toValue('time', call.beganAt) as number;
    const { resultBytes = 0, contextTokens = 0, durationUs = 0, endedAt } = call;
    const endUs = endedAt === undefined ? beganUs : (toValue('time', endedAt) as number);
    this.#add({ facet, beganUs, bucket, resultBytes, contextTokens, durationUs, endUs }, 1);
    return bucket;
  }

  #add({ facet, beganUs, bucket, resultBytes, contextTokens, durationUs, endUs }: Counted, sign: 1 | -1): void {
    const grouping = this.#grouping(facet);
    this.#counts.calls.set(facet, (this.#counts.calls.get(facet) ?? 0) + sign);
    for (const [level, us] of levelsUs.entries()) {
      const key = `${level} ${Math.floor(beganUs / us) * us} ${grouping} ${bucket}`;
      let tally = this.#tallies.get(key);
      if (tally === undefined)
        this.#tallies.set(key, (tally = { calls: 0, resultBytes: 0, contextTokens: 0, longestUs: 0, firstUs: beganUs, lastUs: 0, endUs: 0 }));
      tally.calls += sign;
      tally.resultBytes += sign * resultBytes;
      tally.contextTokens += sign * contextTokens;
      tally.longestUs = Math.max(tally.longestUs, durationUs);
      tally.firstUs = Math.min(tally.firstUs, beganUs);
      tally.lastUs = Math.max(tally.lastUs, beganUs);
      tally.endUs = Math.max(tally.endUs, endUs);
    }
  }

  #countEntry(index: number, facet: number): void {
    const counts = this.#counts.entries;
    if (index <= this.#lastEntry) {
      const before = this.#database.prepare('SELECT facet FROM entries WHERE "index" = ?').get(index)?.['facet'];
      if (before === facet) return;
      if (typeof before === 'number') counts.set(before, (counts.get(before) ?? 0) - 1);
    } else this.#lastEntry = index;
    counts.set(facet, (counts.get(facet) ?? 0) + 1);
  }

  #putEntriesOf({ finding, indexes }: FindingRow): void {
    // a finding that goes on names no more than so many entries
    const before = this.#named.get(finding);
    if (before === indexes) return;
    if (this.#named.size >= namedFindings) this.#named.clear();
    this.#named.set(finding, indexes);
    // one that grows keeps those that it had, at the beginning
    const isMore = before !== undefined && before.every((index, at) => indexes[at] === index);
    if (!isMore) this.#findingEntries.drop.run(finding);
    for (const index of isMore ? indexes.slice(before.length) : indexes) this.#findingEntries.put.run(index, finding);
  }
}

/** What makes a row of a table another one, of one ledger: a number where it is one. */
function keyIn<T extends Table>(table: T, key: Key<T>): string | number {
  const fields = key as unknown as Record<string, string | number>;
  const [first, ...others] = tables[table].key;
  let text = fields[first!]!;
  for (const field of others) text = `${text}\0${fields[field]}`;
  return text;
}

/** Facets are plain values. */
function isAlike(facets: readonly Column[], one: Record<string, unknown>, other: Record<string, unknown>): boolean {
  for (const { name } of facets) if (one[name] !== other[name]) return false;
  return true;
}

function valuesOf(columns: readonly Column[], row: Record<string, unknown>): Value[] {
  return columns.map(({ name, kind }) => toValue(kind, row[name]));
}

function putSql({ name, own, facets }: TableShape, verb: 'INSERT' | 'INSERT OR REPLACE'): string {
  const fields = own.map((one) => quoted(one.name));
  if (facets.length > 0) fields.push('facet');
  if (name === 'calls') fields.push('bucket');
  return `${verb} INTO ${name} (${fields.join(', ')}) VALUES (${fields.map(() => '?').join(', ')})`;
}

function getSql(shape: TableShape): string {
  return `${selectOf(shape)} WHERE ${shape.key.map((field) => `t.${quoted(field)} = ?`).join(' AND ')}`;
}

/** All fields of a table's rows, as stored: `t` is the table, `f` its facets. */
export function selectOf({ name, columns, facets }: TableShape): string {
  const fields = columns.map((one) => `${one.isFacet ? 'f' : 't'}.${quoted(one.name)}`).join(', ');
  return `SELECT ${fields} FROM ${name} t${facets.length > 0 ? ` JOIN ${name}_facets f ON f.facet = t.facet` : ''}`;
}

function lastIndex(database: Database, table: 'calls' | 'entries'): number {
  return (database.prepare(`SELECT max("index") AS last FROM ${table}`).get()?.['last'] as number | null) ?? -1;
}

/** Of the values of some columns: equal for equal ones alone. Nothing is no empty text. */
function sameText(values: readonly Value[]): string {
  let text = '';
  for (const value of values)
    text += value === null ? '\u0001\u0002' : `\u0001${typeof value === 'string' ? value.replaceAll(control, '\u0002$&') : String(value)}`;
  return text;
}

// oxlint-disable-next-line no-control-regex -- what separates values must not stand in them
const control = /[\u0001\u0002]/g;

/** Lists of values that many rows share, each stored once and named by a number. */
class Interned {
  readonly #find: Statement;
  readonly #insert: Statement;
  readonly #id: string;
  readonly #recent = new Map<string, number>();

  constructor(database: Database, table: string, id: string, columns: readonly string[]) {
    this.#id = id;
    this.#find = database.prepare(`SELECT ${id} FROM ${table} WHERE same = ?`);
    const fields = ['same', ...columns.map(quoted)];
    this.#insert = database.prepare(`INSERT INTO ${table} (${fields.join(', ')}) VALUES (${fields.map(() => '?').join(', ')}) RETURNING ${id}`);
  }

  known(same: string): number | undefined {
    const recent = this.#recent.get(same);
    if (recent !== undefined) return recent;
    const found = this.#find.get(same)?.[this.#id] as number | undefined;
    if (found !== undefined) this.#remember(same, found);
    return found;
  }

  of(values: readonly Value[], same = sameText(values)): number {
    const known = this.known(same);
    if (known !== undefined) return known;
    const made = this.#insert.get(same, ...values)![this.#id] as number;
    this.#remember(same, made);
    return made;
  }

  #remember(same: string, id: number): void {
    // all at once: what is in use comes back at once, and no order has to be kept
    if (this.#recent.size >= catalogFacets) this.#recent.clear();
    this.#recent.set(same, id);
  }
}
