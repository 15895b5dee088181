/** Pages of rows: which rows are meant, how many there are, and some of them in an order, without reading the others where an index or a count tells. */
import type { Table } from '../analysis/sink.ts';
import type { Paging } from '../analysis/views.ts';
import type { Database, Row, Value } from './driver.ts';
import { quoted, tables, type Column, type TableShape } from './schema.ts';
import { joined, type Condition, type Meant } from './where.ts';
import { selectOf } from './writer.ts';

export interface Order {
  readonly column: Column;
  readonly isDescending: boolean;
}

/** `undefined`: as recorded, also for a field that the rows do not have. */
export function orderOf(shape: TableShape, sort: string | undefined): Order | undefined {
  if (sort === undefined) return undefined;
  const isDescending = sort.startsWith('-');
  const column = shape.columns.find(({ name }) => name === (isDescending ? sort.slice(1) : sort));
  return column && { column, isDescending };
}

export interface Found {
  rows: Row[];
  total: number;
}

interface Cut {
  offset: number;
  limit: number;
}

/** Rows of calls or entries. Both have `facet`, their own counts by it, and a time. */
export function listRows(
  database: Database,
  table: 'calls' | 'entries',
  meant: Meant,
  paging: Required<Pick<Paging, 'offset' | 'limit'>> & Paging,
): Found {
  const shape = tables[table];
  const counts = table === 'calls' ? 'call_counts' : 'entry_counts';
  const time = table === 'calls' ? 'beganAt' : 'time';
  const isTimed = meant.since !== undefined || meant.until !== undefined;
  // entries are recorded in the order of their times, unless a clock was set back: the index of times finds the first one
  const order = orderOf(shape, paging.sort) ?? (isTimed ? orderOf(shape, time) : undefined);
  const within: Condition[] = [];
  if (meant.since !== undefined) within.push({ sql: `t.${time} >= ?`, values: [meant.since] });
  if (meant.until !== undefined) within.push({ sql: `t.${time} <= ?`, values: [meant.until] });
  if (meant.rows !== undefined) within.push(meant.rows);
  const isCounted = within.length === 0;
  const facets = facetsOf(database, shape.name, counts, meant.facets, order?.column.isFacet ? order.column.name : undefined);
  const all = facets.reduce((sum, { rows }) => sum + rows, 0);
  const isEvery = meant.facets === undefined;
  const inFacets = (ids: readonly number[]): Condition => ({ sql: 't.facet IN (SELECT value FROM json_each(?))', values: [JSON.stringify(ids)] });
  const whereOf = (ids: readonly number[] | undefined): Condition => {
    const conditions = [...(ids === undefined ? [] : [inFacets(ids)]), ...within];
    return conditions.length === 0 ? { sql: '1', values: [] } : joined(conditions, 'AND');
  };
  const countOf = (ids: readonly number[] | undefined): number => {
    const where = whereOf(ids);
    return database.prepare(`SELECT count(*) AS rows FROM ${table} t WHERE ${where.sql}`).get(...where.values)!['rows'] as number;
  };
  const ids = facets.map(({ facet }) => facet);
  if (ids.length === 0) return { rows: [], total: 0 };

  if (order?.column.isFacet) {
    const every = totalOf(database, counts);
    const fetchSome = (some: readonly number[], rows: number, cut: Cut): Row[] =>
      rows * 8 < every
        ? fetch(database, shape, whereOf(some), undefined, cut)
        : fetchAlong(database, shape, whereOf(some), undefined, time, cut, rows);
    return byFacets(facets, order.isDescending, isCounted, countOf, fetchSome, paging);
  }

  const meantIds = isEvery ? undefined : ids;
  const total = isCounted ? all : countOf(meantIds);
  const cut = { offset: paging.offset, limit: paging.limit };
  if (cut.offset >= total) return { rows: [], total };
  // few rows are found by their facets and sorted; many are met soon by whoever goes along the order
  const isFew = total * 8 < totalOf(database, counts);
  const where = whereOf(meantIds);
  return { rows: isFew ? fetchFew(database, shape, where, order, cut) : fetchAlong(database, shape, where, order, time, cut, total), total };
}

interface FacetCount {
  facet: number;
  rows: number;
  value: Value;
}

function facetsOf(database: Database, name: Table, counts: string, meant: Condition | undefined, by: string | undefined): FacetCount[] {
  return database
    .prepare(
      `SELECT f.facet, c.rows, ${by === undefined ? 'NULL' : `f.${quoted(by)}`} AS value FROM ${name}_facets f JOIN ${counts} c USING (facet)
       WHERE c.rows > 0 AND ${meant?.sql ?? '1'}`,
    )
    .all(...(meant?.values ?? [])) as unknown as FacetCount[];
}

function totalOf(database: Database, counts: string): number {
  return database.prepare(`SELECT sum(rows) AS rows FROM ${counts}`).get()!['rows'] as number;
}

/** In the order of a facet: whole groups of equal values are passed over by their counts. */
function byFacets(
  facets: readonly FacetCount[],
  isDescending: boolean,
  isCounted: boolean,
  countOf: (ids: readonly number[]) => number,
  fetchSome: (ids: readonly number[], rows: number, cut: Cut) => Row[],
  { offset, limit }: Cut,
): Found {
  const groups = new Map<Value, { ids: number[]; rows: number }>();
  for (const { facet, rows, value } of facets) {
    const group = groups.get(value);
    if (group === undefined) groups.set(value, { ids: [facet], rows });
    else {
      group.ids.push(facet);
      group.rows += rows;
    }
  }
  const sorted = [...groups].sort(([a], [b]) => {
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return (a < b ? -1 : a > b ? 1 : 0) * (isDescending ? -1 : 1);
  });
  const rows: Row[] = [];
  let total = 0;
  for (const [, group] of sorted) {
    const count = isCounted ? group.rows : countOf(group.ids);
    const skipped = Math.max(0, offset - total);
    if (count > skipped && rows.length < limit) rows.push(...fetchSome(group.ids, count, { offset: skipped, limit: limit - rows.length }));
    total += count;
  }
  return { rows, total };
}

/** Rows by their index, or by a column of their own, those without a value last. */
function fetch(database: Database, shape: TableShape, where: Condition, order: Order | undefined, { offset, limit }: Cut): Row[] {
  const by =
    order === undefined
      ? 't."index"'
      : `t.${quoted(order.column.name)} ${order.isDescending ? 'DESC' : 'ASC'}, t."index" ${order.isDescending ? 'DESC' : 'ASC'}`;
  // only indexes are sorted or passed over: rows are read once they are known
  const found = `SELECT t."index" FROM ${shape.name} t WHERE ${where.sql} ORDER BY ${by} LIMIT ? OFFSET ?`;
  const indexes = database
    .prepare(found)
    .all(...where.values, limit, offset)
    .map((row) => row['index'] as number);
  const rows = new Map(
    database
      .prepare(`${selectOf(shape)} WHERE t."index" IN (SELECT value FROM json_each(?))`)
      .all(JSON.stringify(indexes))
      .map((row) => [row['index'] as number, row]),
  );
  return indexes.map((index) => rows.get(index)!);
}

function fetchFew(database: Database, shape: TableShape, where: Condition, order: Order | undefined, cut: Cut): Row[] {
  if (order === undefined || order.isDescending || order.column.name === 'index') return fetch(database, shape, where, order, cut);
  return nullsLast(database, shape, where, order, cut);
}

/** Along the order, by its index, and not by facets: `+` keeps the facets' index out of it. */
function fetchAlong(database: Database, shape: TableShape, where: Condition, order: Order | undefined, time: string, cut: Cut, total: number): Row[] {
  let sql = where.sql.replaceAll('t.facet IN (SELECT value', '+t.facet IN (SELECT value');
  if (order?.column.name !== time) sql = sql.replaceAll(`t.${time} `, `+t.${time} `);
  const along: Condition = { sql, values: where.values };
  // from the nearer end
  if (order === undefined || order.column.name === 'index') {
    const isDescending = order?.isDescending === true;
    if (cut.offset > total / 2) {
      const limit = Math.min(cut.limit, total - cut.offset);
      const column = shape.columns.find(({ name }) => name === 'index')!;
      return fetch(database, shape, along, { column, isDescending: !isDescending }, { offset: total - cut.offset - limit, limit }).reverse();
    }
    return fetch(database, shape, along, order, cut);
  }
  return order.isDescending ? fetch(database, shape, along, order, cut) : nullsLast(database, shape, along, order, cut);
}

/** SQLite takes nothing for less than anything: of an ascending order rows without a value are fetched behind the others. */
function nullsLast(database: Database, shape: TableShape, where: Condition, order: Order, { offset, limit }: Cut): Row[] {
  const column = `t.${quoted(order.column.name)}`;
  const having = { sql: `${where.sql} AND ${column} IS NOT NULL`, values: where.values };
  const rows = fetch(database, shape, having, order, { offset, limit });
  if (rows.length === limit) return rows;
  const valued =
    rows.length > 0
      ? offset + rows.length
      : (database.prepare(`SELECT count(*) AS rows FROM ${shape.name} t WHERE ${having.sql}`).get(...having.values)!['rows'] as number);
  const lacking = { sql: `${where.sql} AND ${column} IS NULL`, values: where.values };
  return [...rows, ...fetch(database, shape, lacking, undefined, { offset: Math.max(0, offset - valued), limit: limit - rows.length })];
}

/** Rows of a small table, or of what a question of its own yields: all are sorted. `order`: SQL. */
export function listSmall(database: Database, table: Table, where: Condition, order: string, { offset, limit }: Cut): Found {
  const shape = tables[table];
  const total = database.prepare(`SELECT count(*) AS rows FROM ${table} t WHERE ${where.sql}`).get(...where.values)!['rows'] as number;
  const rows = database.prepare(`${selectOf(shape)} WHERE ${where.sql} ORDER BY ${order} LIMIT ? OFFSET ?`).all(...where.values, limit, offset);
  return { rows, total };
}
