/**
 * Sums over calls of tools, in a range: from what is summed already where the filter allows it, so that a million calls cost no more than a few; else from the calls.
 * Stretches of time that are whole hours come from the sums of hours, what is left beside them from those of minutes and tenths of a second, and the rest from calls.
 */
import type { Database, Row } from './driver.ts';
import { levelsUs } from './schema.ts';
import { joined, type Condition, type Meant } from './where.ts';
import type { Tally } from './writer.ts';

/** Calls of one grouping with durations of one bucket. */
export interface Sum extends Tally {
  server: string;
  target: string | null;
  effect: string;
  sensitive: number | null;
  state: string;
  bucket: number;
}

const ofTools: Condition = { sql: "f.method = 'tools/call'", values: [] };
const fields = 'f.server, f.target, f.effect, f.sensitive, f.state';

/** `isWhole`: sizes and longest durations too, which are not in an index. */
export function sumsOf(database: Database, meant: Meant, isWhole: boolean): Sum[] {
  const sums =
    meant.isGrouped && meant.rows === undefined ? fromTallies(database, meant) : fromCalls(database, meant, meant.since, meant.until, isWhole);
  return sums as unknown as Sum[];
}

function fromTallies(database: Database, meant: Meant): Row[] {
  const facets = joined([ofTools, ...(meant.facets === undefined ? [] : [meant.facets])], 'AND');
  const rows: Row[] = [];
  for (const { level, from, to } of pieces(meant.since, meant.until)) {
    if (level === undefined) {
      rows.push(...fromCalls(database, meant, from, to - 1, true));
      continue;
    }
    const sql = `SELECT ${fields}, t.bucket, sum(t.calls) AS calls, sum(t.resultBytes) AS resultBytes, sum(t.contextTokens) AS contextTokens,
      max(t.longestUs) AS longestUs, min(t.firstUs) AS firstUs, max(t.lastUs) AS lastUs, max(t.endUs) AS endUs
      FROM tallies t JOIN groupings f USING (grouping) WHERE t.level = ? AND t.at >= ? AND t.at < ? AND t.calls > 0 AND ${facets.sql} GROUP BY t.grouping, t.bucket`;
    rows.push(...database.prepare(sql).all(level, from, to, ...facets.values));
  }
  return rows;
}

function fromCalls(database: Database, meant: Meant, since: number | undefined, until: number | undefined, isWhole: boolean): Row[] {
  const where = conditions(meant, since, until, [ofTools]);
  const sizes = isWhole
    ? 'sum(coalesce(t.resultBytes, 0)) AS resultBytes, sum(coalesce(t.contextTokens, 0)) AS contextTokens, max(coalesce(t.durationUs, 0)) AS longestUs'
    : '0 AS resultBytes, 0 AS contextTokens, 0 AS longestUs';
  const sql = `SELECT ${fields}, t.bucket, count(*) AS calls, ${sizes},
    min(t.beganAt) AS firstUs, max(t.beganAt) AS lastUs, max(coalesce(t.endedAt, t.beganAt)) AS endUs
    FROM calls t JOIN calls_facets f USING (facet) WHERE ${where.sql} GROUP BY t.facet, t.bucket`;
  return database.prepare(sql).all(...where.values);
}

/** What is meant, of calls, as one condition. */
export function conditions(meant: Meant, since = meant.since, until = meant.until, more: readonly Condition[] = []): Condition {
  const all: Condition[] = [];
  const facets = [...more, ...(meant.facets === undefined ? [] : [meant.facets])];
  if (facets.length > 0) {
    const { sql, values } = joined(facets, 'AND');
    all.push({ sql: `t.facet IN (SELECT f.facet FROM calls_facets f WHERE ${sql})`, values });
  }
  if (since !== undefined) all.push({ sql: 't.beganAt >= ?', values: [since] });
  if (until !== undefined) all.push({ sql: 't.beganAt <= ?', values: [until] });
  if (meant.rows !== undefined) all.push(meant.rows);
  return all.length === 0 ? { sql: '1', values: [] } : joined(all, 'AND');
}

interface Piece {
  /** Absent: from calls. */
  level?: number;
  /** [from, to), µs. */
  from: number;
  to: number;
}

const least = 0;
const hourUs = levelsUs[2];
/** The last whole hour of what a double counts exactly. */
const most = Math.floor(Number.MAX_SAFE_INTEGER / hourUs) * hourUs;

/** A stretch of time cut into pieces, each in the coarsest level up to `coarsest` that it fits. Both ends are among it. */
export function pieces(since: number | undefined, until: number | undefined, coarsest = levelsUs.length - 1): Piece[] {
  const cut = (from: number, to: number, level: number): Piece[] => {
    if (from >= to) return [];
    const unitUs = levelsUs[level]!;
    const first = Math.ceil(from / unitUs) * unitUs;
    const last = Math.floor(to / unitUs) * unitUs;
    const finer = (a: number, b: number): Piece[] => (level === 0 ? (a < b ? [{ from: a, to: b }] : []) : cut(a, b, level - 1));
    return first >= last ? finer(from, to) : [...finer(from, first), { level, from: first, to: last }, ...finer(last, to)];
  };
  return cut(Math.max(least, since ?? least), until === undefined ? most : Math.min(most, until + 1), coarsest);
}

/** Calls by stretches of `bucketUs` that begin at whole multiples of it, and by what `layerOf` looks at. */
export function timesOf(
  database: Database,
  meant: Meant,
  bucketUs: number,
): { at: number; state: string; sensitive: number | null; effect: string; calls: number }[] {
  // a number that is bound is no whole number to SQLite: `bucketUs` stands in the text
  const level = levelsUs.findLastIndex((us) => bucketUs % us === 0);
  const sumsByTime = (from: string, at: string, counted: string, where: Condition): Row[] =>
    database
      .prepare(
        `SELECT ${at} / ${bucketUs} * ${bucketUs} AS at, f.state, f.sensitive, f.effect, ${counted} AS calls FROM ${from} WHERE ${where.sql} GROUP BY 1, f.state, f.sensitive, f.effect`,
      )
      .all(...where.values);
  const ofCalls = (since: number | undefined, until: number | undefined): Row[] =>
    sumsByTime('calls t JOIN calls_facets f USING (facet)', 't.beganAt', 'count(*)', conditions(meant, since, until, [ofTools]));
  const isSummed = meant.isGrouped && meant.rows === undefined && level >= 0;
  if (!isSummed) return ofCalls(meant.since, meant.until) as never;
  const facets = joined([ofTools, ...(meant.facets === undefined ? [] : [meant.facets])], 'AND');
  const rows: Row[] = [];
  for (const piece of pieces(meant.since, meant.until, level)) {
    if (piece.level === undefined) rows.push(...ofCalls(piece.from, piece.to - 1));
    else {
      const where: Condition = {
        sql: `t.level = ? AND t.at >= ? AND t.at < ? AND t.calls > 0 AND ${facets.sql}`,
        values: [piece.level, piece.from, piece.to, ...facets.values],
      };
      rows.push(...sumsByTime('tallies t JOIN groupings f USING (grouping)', 't.at', 'sum(t.calls)', where));
    }
  }
  return rows as never;
}
