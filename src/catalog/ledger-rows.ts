/**
 * The questions of `Backend` about one ledger, answered from its catalog, read-only and beside whoever writes it. What several ledgers answer is put together in
 * `queries.ts`.
 */
import { SwornError } from '../errors.ts';
import { layerOf } from '../analysis/buckets.ts';
import { severities } from '../analysis/memory-figures.ts';
import type { CallRow, EntityRow, EntryRow, FindingRow, Principal, SessionRow, ToolRow } from '../analysis/rows.ts';
import type { CallDetail, EntityDetail, Overview, Paging, Range, ToolDetail } from '../analysis/views.ts';
import type { Rows, Table } from '../analysis/sink.ts';
import { inodeOf } from './catalog.ts';
import { openDatabase, type Database, type Row, type Value } from './driver.ts';
import { listRows, listSmall, orderOf } from './lists.ts';
import { quantileOf, timeText, timeUs, toRow } from './rows.ts';
import { quoted, tables, version } from './schema.ts';
import { conditions, sumsOf, timesOf, type Sum } from './sums.ts';
import { meantBy, joined, type Condition, type Meant } from './where.ts';
import { selectOf } from './writer.ts';

export type Cut = Required<Pick<Paging, 'offset' | 'limit'>> & Paging;

export interface List<T> {
  rows: T[];
  total: number;
}

/** What of `Overview` is counted; sums of several ledgers are added. */
export interface Counts extends Omit<Overview, 'zone' | 'now' | 'errorRate' | 'p50Us' | 'p95Us' | 'findings' | 'firstAt' | 'lastAt'> {
  answered: number;
  /** Calls by the bucket of their duration. */
  durations: Map<number, number>;
  /** By severity, acknowledged ones apart. */
  findings: Record<string, number>;
  firstUs: number | undefined;
  endUs: number | undefined;
}

const severityRank = `(acknowledged IS NOT NULL) * 4 + CASE severity ${severities.map((one, rank) => `WHEN '${one}' THEN ${rank}`).join(' ')} ELSE 4 END`;
const touchesMost = 10_000;
export const toolsOfMatrix = 40;

export class LedgerRows {
  readonly ledger: string;
  readonly path: string;
  #database: Database | undefined;
  #inode: bigint | undefined;

  /** `ledger`: its id. */
  constructor(ledger: string, path: string) {
    this.ledger = ledger;
    this.path = path;
  }

  close(): void {
    this.#database?.close();
    this.#database = undefined;
  }

  /** Of the catalog, now. @throws SwornError `catalog-missing` while it is not there, or of another version */
  get #open(): Database {
    // a catalog that was made again is another file
    const inode = inodeOf(this.path);
    if (this.#database !== undefined && inode === this.#inode) return this.#database;
    this.close();
    let database: Database | undefined;
    try {
      database = openDatabase(this.path, { readOnly: true });
      const found = database.prepare('PRAGMA user_version').get()!['user_version'];
      if (found !== version) throw new Error('it is of another version');
    } catch (error) {
      database?.close();
      throw new SwornError('catalog-missing', `the catalog ${this.path} cannot be asked: ${(error as Error).message}`);
    }
    this.#inode = inode;
    this.#database = database;
    return database;
  }

  /** How far the rows go. */
  progress(): { next: number; size: number; calls: number; findings: number } {
    const database = this.#open;
    const state = Object.fromEntries(
      database
        .prepare("SELECT name, value FROM state WHERE name IN ('cursor', 'size')")
        .all()
        .map(({ name, value }) => [name as string, value as number]),
    );
    const one = (sql: string): number => (database.prepare(sql).get()!['n'] as number | null) ?? 0;
    const next = state['cursor'] ?? 0;
    return {
      next,
      size: Math.max(next, state['size'] ?? 0),
      calls: one('SELECT sum(rows) AS n FROM call_counts'),
      findings: one('SELECT count(*) AS n FROM findings'),
    };
  }

  counts(range: Range, todayUs: number, nowMs: number): Counts {
    const database = this.#open;
    const meant = meantBy(range, 'calls', database, nowMs);
    const sums = sumsOf(database, meant, false);
    const counts: Counts = {
      ...this.#sessionCounts(range, meant),
      ...this.#findingCounts(range, meant),
      calls: 0,
      callsToday: 0,
      reads: 0,
      writes: 0,
      sensitive: 0,
      blocked: 0,
      errors: 0,
      answered: 0,
      unanswered: 0,
      durations: new Map(),
      firstUs: undefined,
      endUs: undefined,
      behind: 0,
    };
    for (const sum of sums) add(counts, sum);
    counts.callsToday = counts.calls === 0 || sums.every(({ firstUs }) => firstUs >= todayUs) ? counts.calls : this.#callsSince(meant, todayUs, sums);
    const { next, size } = this.progress();
    counts.behind = size - next;
    return counts;
  }

  /** First and last beginning of the calls of tools that are meant, µs. */
  span(range: Range, nowMs: number): [number, number] | undefined {
    const database = this.#open;
    let first = Number.POSITIVE_INFINITY;
    let last = Number.NEGATIVE_INFINITY;
    for (const { firstUs, lastUs } of sumsOf(database, meantBy(range, 'calls', database, nowMs), false)) {
      first = Math.min(first, firstUs);
      last = Math.max(last, lastUs);
    }
    return first > last ? undefined : [first, last];
  }

  /** Calls by the beginning of their bucket, ms, and layer. */
  times(range: Range, bucketMs: number, nowMs: number): Map<number, Map<ReturnType<typeof layerOf>, number>> {
    const database = this.#open;
    const times = new Map<number, Map<ReturnType<typeof layerOf>, number>>();
    for (const { at, state, sensitive, effect, calls } of timesOf(database, meantBy(range, 'calls', database, nowMs), bucketMs * 1000)) {
      const layer = layerOf({ state, effect, ...(sensitive === 1 ? { sensitive: true } : {}) } as CallRow);
      const layers = times.get(at / 1000) ?? new Map<ReturnType<typeof layerOf>, number>();
      times.set(at / 1000, layers.set(layer, (layers.get(layer) ?? 0) + calls));
    }
    return times;
  }

  calls(range: Range, cut: Cut, nowMs: number): List<CallRow> {
    const database = this.#open;
    return this.#rows('calls', listRows(database, 'calls', meantBy(range, 'calls', database, nowMs), cut));
  }

  entries(range: Range, cut: Cut, nowMs: number): List<EntryRow> {
    const database = this.#open;
    return this.#rows('entries', listRows(database, 'entries', meantBy(range, 'entries', database, nowMs), cut));
  }

  sessions(range: Range, cut: Cut, nowMs: number): List<SessionRow> {
    const where = this.#sessionsMeant(range, meantBy(range, 'calls', this.#open, nowMs));
    return this.#rows('sessions', listSmall(this.#open, 'sessions', where, orderSql('sessions', cut.sort, 't."index"'), cut));
  }

  findings(range: Range, cut: Cut, nowMs: number): List<FindingRow> {
    const where = this.#findingsMeant(range, meantBy(range, 'calls', this.#open, nowMs));
    const { sort = 'severity' } = cut;
    const order = sort === 'severity' || sort === '-severity' ? severityOrder(sort) : orderSql('findings', sort, 't.firstAt, t.finding');
    return this.#rows('findings', listSmall(this.#open, 'findings', where, order, cut));
  }

  finding(finding: string): FindingRow | undefined {
    return this.#get('findings', 't.finding = ?', finding);
  }

  findingsLike(beginning: string): FindingRow[] {
    return this.#all('findings', 't.finding GLOB ?', `${beginning}*`);
  }

  /** All tools with calls that are meant; of everything also those without. Figures are of what is meant. */
  tools(range: Range, nowMs: number): ToolRow[] {
    const database = this.#open;
    const meant = meantBy(range, 'calls', database, nowMs);
    const known = this.#all('tools', '1 ORDER BY t.server, t.tool');
    const byTool = new Map<string, Sum[]>();
    for (const sum of sumsOf(database, meant, true)) {
      const key = `${sum.server}\0${sum.target ?? ''}`;
      byTool.set(key, [...(byTool.get(key) ?? []), sum]);
    }
    return known.flatMap((tool) => {
      const sums = byTool.get(`${tool.server}\0${tool.tool}`);
      return sums === undefined && !isEverything(meant) ? [] : [figuresOf(tool, sums ?? [])];
    });
  }

  tool(server: string, tool: string): ToolDetail | undefined {
    const found = this.#get('tools', 't.server = ? AND t.tool = ?', server, tool);
    if (found === undefined) return undefined;
    return {
      tool: found,
      definitions: this.#all('definitions', 't.server = ? AND t.tool = ? ORDER BY t.firstIndex', server, tool),
      findings: this.#all('findings', `t.server = ? AND t.tool = ? ORDER BY ${severityOrder('severity')}`, server, tool),
    };
  }

  entities(range: Range, cut: Cut, nowMs: number): List<EntityRow> {
    const database = this.#open;
    const meant = meantBy(range, 'calls', database, nowMs);
    const order = orderSql('entities', cut.sort ?? '-lastAt', 't.firstAt, t.entity');
    if (isEverything(meant)) return this.#rows('entities', listSmall(database, 'entities', { sql: '1', values: [] }, order, cut));
    // figures of the touches that are meant
    const where = conditions(meant);
    const touches = `SELECT x.entity, sum(xf.kind <> 'write') AS reads, sum(xf.kind = 'write') AS writes, sum(coalesce(xf.sensitive, 0)) AS sensitive,
      count(DISTINCT xf.session) AS sessions, min(x.at) AS firstAt, max(x.at) AS lastAt
      FROM touches x JOIN touches_facets xf USING (facet) WHERE x.call IN (SELECT t."index" FROM calls t WHERE ${where.sql}) GROUP BY x.entity`;
    const narrowed = `SELECT e.entity, e.type, e.value, e.attributes, n.reads, n.writes, n.sensitive, n.sessions, n.firstAt, n.lastAt, e.isMissing
      FROM (${touches}) n JOIN entities e USING (entity)`;
    const rows = database
      .prepare(`SELECT t.*, count(*) OVER () AS total FROM (${narrowed}) t ORDER BY ${order} LIMIT ? OFFSET ?`)
      .all(...where.values, cut.limit, cut.offset);
    const total =
      (rows[0]?.['total'] as number | undefined) ??
      (cut.offset === 0 ? 0 : (database.prepare(`SELECT count(*) AS n FROM (${touches})`).get(...where.values)!['n'] as number));
    return this.#rows('entities', { rows, total });
  }

  entity(entity: string): EntityDetail | undefined {
    const found = this.#get('entities', 't.entity = ?', entity);
    if (found === undefined) return undefined;
    const touches = this.#all('touches', `t.entity = ? ORDER BY t.call LIMIT ${touchesMost}`, entity);
    const calls = this.#all(
      'calls',
      't."index" IN (SELECT value FROM json_each(?)) ORDER BY t."index"',
      JSON.stringify(touches.map(({ call }) => call)),
    );
    return { entity: found, touches, calls, principals: this.#principals(new Set(touches.flatMap(({ who }) => who ?? []))) };
  }

  /** By their index, as the first session that knows them says. */
  #principals(indexes: ReadonlySet<number>): Principal[] {
    const rows = this.#open
      .prepare(
        `SELECT w.value AS principal, min(s.session) FROM sessions s, json_each(s.who) w
         WHERE w.value ->> '$.index' IN (SELECT value FROM json_each(?)) GROUP BY w.value ->> '$.index' ORDER BY w.value ->> '$.index'`,
      )
      .all(JSON.stringify([...indexes]));
    return rows.map(({ principal }) => JSON.parse(principal as string) as Principal);
  }

  /** Touches of some entities by calls that are meant, by tool. */
  cells(
    range: Range,
    entities: readonly string[],
    nowMs: number,
  ): { entity: string; server: string; tool: string; reads: number; writes: number; sensitive: number }[] {
    const database = this.#open;
    const meant = meantBy(range, 'calls', database, nowMs);
    const where: Condition = isEverything(meant)
      ? { sql: '1', values: [] }
      : { sql: `x.call IN (SELECT t."index" FROM calls t WHERE ${conditions(meant).sql})`, values: conditions(meant).values };
    const sql = `SELECT x.entity, f.server, f.tool, sum(f.kind <> 'write') AS reads, sum(f.kind = 'write') AS writes, sum(coalesce(f.sensitive, 0)) AS sensitive
      FROM touches x JOIN touches_facets f USING (facet) WHERE x.entity IN (SELECT value FROM json_each(?)) AND ${where.sql} GROUP BY x.entity, f.server, f.tool`;
    return database.prepare(sql).all(JSON.stringify(entities), ...where.values) as never;
  }

  /** Entries of a kind from an index on: the latest, at most so many, latest first. */
  indexesOf(kind: string, from: number, most: number): number[] {
    return this.#open
      .prepare(
        `SELECT t."index" FROM entries t WHERE t.facet IN (SELECT facet FROM entries_facets WHERE kind = ?) AND t."index" >= ? ORDER BY t."index" DESC LIMIT ?`,
      )
      .all(kind, from, most)
      .map((row) => row['index'] as number);
  }

  /** The call that an entry belongs to. */
  call(index: number): Omit<CallDetail, 'legs'> | undefined {
    const database = this.#open;
    const first = database.prepare('SELECT coalesce(call, "index") AS call FROM entries WHERE "index" = ?').get(index)?.['call'];
    const call = typeof first === 'number' ? this.#get('calls', 't."index" = ?', first) : undefined;
    if (call === undefined) return undefined;
    const principal =
      call.who === undefined ? undefined : this.#get('sessions', 't.session = ?', call.session)?.who.find((one) => one.index === call.who);
    return {
      call,
      ...(principal === undefined ? {} : { principal: { ...principal } }),
      findings: this.#all(
        'findings',
        `t.finding IN (SELECT finding FROM finding_entries WHERE entry IN (SELECT value FROM json_each(?))) ORDER BY ${severityOrder('severity')}`,
        JSON.stringify(call.legs),
      ),
      touches: this.#all('touches', 't.call = ?', call.index),
    };
  }

  #callsSince(meant: Meant, us: number, sums: readonly Sum[]): number {
    if (sums.every(({ lastUs }) => lastUs < us)) return 0;
    return sumsOf(this.#open, { ...meant, since: Math.max(us, meant.since ?? us) }, false).reduce((all, { calls }) => all + calls, 0);
  }

  #sessionCounts(range: Range, meant: Meant): Pick<Counts, 'sessions' | 'openSessions'> {
    const where = this.#sessionsMeant(range, meant);
    const sql = `SELECT count(*) AS sessions, count(*) - count(closedAt) AS openSessions FROM sessions t WHERE ${where.sql}`;
    return this.#open.prepare(sql).get(...where.values) as never;
  }

  #findingCounts(range: Range, meant: Meant): Pick<Counts, 'findings' | 'acknowledged'> {
    const where = this.#findingsMeant(range, meant);
    const findings: Record<string, number> = {};
    let acknowledged = 0;
    const sql = `SELECT severity, count(*) AS n, count(acknowledged) AS acknowledged FROM findings t WHERE ${where.sql} GROUP BY severity`;
    for (const row of this.#open.prepare(sql).all(...where.values)) {
      findings[row['severity'] as string] = (row['n'] as number) - (row['acknowledged'] as number);
      acknowledged += row['acknowledged'] as number;
    }
    return { findings, acknowledged };
  }

  #sessionsMeant(range: Range, meant: Meant): Condition {
    const all = within(range, 'openedAt', 'coalesce(t.closedAt, t.lastAt)');
    if (isFiltered(range)) {
      const where = conditions(meant);
      // sessions are few: those of whole facets are known without their calls
      all.push(
        meant.facets !== undefined && isEverything({ ...meant, facets: undefined })
          ? {
              sql: `t.session IN (SELECT f.session FROM calls_facets f JOIN call_counts c USING (facet) WHERE c.rows > 0 AND ${meant.facets.sql})`,
              values: meant.facets.values,
            }
          : {
              sql: `t.session IN (SELECT sf.session FROM calls_facets sf WHERE sf.facet IN (SELECT t.facet FROM calls t WHERE ${where.sql}))`,
              values: where.values,
            },
      );
    }
    return all.length === 0 ? { sql: '1', values: [] } : joined(all, 'AND');
  }

  #findingsMeant(range: Range, meant: Meant): Condition {
    const all = within(range, 'firstAt', 't.lastAt');
    if (isFiltered(range)) {
      const where = conditions(meant);
      all.push({
        sql: `t.finding IN (SELECT n.finding FROM finding_entries n CROSS JOIN entries e ON e."index" = n.entry CROSS JOIN calls t ON t."index" = e.call WHERE ${where.sql})`,
        values: where.values,
      });
    }
    return all.length === 0 ? { sql: '1', values: [] } : joined(all, 'AND');
  }

  #rows<T extends Table>(table: T, { rows, total }: { rows: Row[]; total: number }): List<Rows[T]> {
    return { rows: rows.map((row) => toRow<Rows[T]>(this.ledger, tables[table].columns, row)), total };
  }

  #all<T extends Table>(table: T, where: string, ...values: Value[]): Rows[T][] {
    const rows = this.#open.prepare(`${selectOf(tables[table])} WHERE ${where}`).all(...values);
    return rows.map((row) => toRow<Rows[T]>(this.ledger, tables[table].columns, row));
  }

  #get<T extends Table>(table: T, where: string, ...values: Value[]): Rows[T] | undefined {
    return this.#all(table, where, ...values)[0];
  }
}

function isFiltered({ filter }: Range): boolean {
  return filter !== undefined && filter.trim() !== '';
}

function isEverything({ since, until, facets, rows }: Meant): boolean {
  return since === undefined && until === undefined && facets === undefined && rows === undefined;
}

/** Of what has a beginning and an end: those that are in a range at any time. */
function within({ session, since, until }: Range, from: string, to: string): Condition[] {
  const all: Condition[] = [];
  if (session !== undefined) all.push({ sql: 't.session IS ?', values: [session] });
  if (since !== undefined) all.push({ sql: `${to} >= ?`, values: [timeUs(since)] });
  if (until !== undefined) all.push({ sql: `t.${from} <= ?`, values: [timeUs(until)] });
  return all;
}

/** Rows without a value come last, in either direction. */
function orderSql(table: Table, sort: string | undefined, otherwise: string): string {
  const order = orderOf(tables[table], sort);
  if (order === undefined) return otherwise;
  const column = `t.${quoted(order.column.name)}`;
  return `${column} IS NULL, ${column} ${order.isDescending ? 'DESC' : 'ASC'}, ${otherwise}`;
}

function severityOrder(sort: string): string {
  const rank = severityRank.replaceAll(/\b(acknowledged|severity)\b/g, 't.$1');
  // of the same weight in the order in which it happened
  return sort.startsWith('-') ? `${rank} DESC, t.firstAt DESC, t.finding DESC` : `${rank}, t.firstAt, t.finding`;
}

function add(counts: Counts, { calls, effect, sensitive, state, bucket, firstUs, endUs }: Sum): void {
  counts.calls += calls;
  if (effect === 'read') counts.reads += calls;
  else if (effect === 'write') counts.writes += calls;
  if (sensitive === 1) counts.sensitive += calls;
  const isError = state === 'error' || state === 'toolError';
  if (isError) counts.errors += calls;
  if (isError || state === 'ok') counts.answered += calls;
  if (state === 'blocked') counts.blocked += calls;
  else if (state === 'unanswered') counts.unanswered += calls;
  if (bucket >= 0) counts.durations.set(bucket, (counts.durations.get(bucket) ?? 0) + calls);
  counts.firstUs = Math.min(counts.firstUs ?? firstUs, firstUs);
  counts.endUs = Math.max(counts.endUs ?? endUs, endUs);
}

function figuresOf(tool: ToolRow, sums: readonly Sum[]): ToolRow {
  const durations = new Map<number, number>();
  const { p50Us: _, p95Us: __, longestUs: ___, firstAt: ____, lastAt: _____, ...known } = tool;
  const row: ToolRow = { ...known, calls: 0, errors: 0, blocked: 0, unanswered: 0, resultBytes: 0, contextTokens: 0 };
  let [firstUs, lastUs, longestUs] = [Number.POSITIVE_INFINITY, 0, 0];
  for (const sum of sums) {
    row.calls += sum.calls;
    if (sum.state === 'error' || sum.state === 'toolError') row.errors += sum.calls;
    else if (sum.state === 'blocked') row.blocked += sum.calls;
    else if (sum.state === 'unanswered') row.unanswered += sum.calls;
    row.resultBytes += sum.resultBytes;
    row.contextTokens += sum.contextTokens;
    if (sum.bucket >= 0) durations.set(sum.bucket, (durations.get(sum.bucket) ?? 0) + sum.calls);
    firstUs = Math.min(firstUs, sum.firstUs);
    lastUs = Math.max(lastUs, sum.lastUs);
    longestUs = Math.max(longestUs, sum.longestUs);
  }
  const p50Us = quantileOf(durations, 0.5);
  const p95Us = quantileOf(durations, 0.95);
  return {
    ...row,
    ...(p50Us === undefined || p95Us === undefined ? {} : { p50Us, p95Us, longestUs }),
    ...(sums.length === 0 ? {} : { firstAt: timeText(firstUs), lastAt: timeText(lastUs) }),
  };
}
