/** Rows of `analysis/rows.ts` as SQLite has them, and back. */
import type { Value, Row } from './driver.ts';
import type { Column, Kind } from './schema.ts';

/** Microseconds since 1970 of an entry's time; `null`: none that an entry can have. */
export function timeUs(time: string): number | null {
  // exactly six decimals (spec/entry.md); of other times what Date.parse tells
  if (time.length === 27) {
    const micros = Number(time.slice(20, 26));
    const seconds = secondsUs(time.slice(0, 19));
    if (!Number.isNaN(seconds + micros)) return seconds + micros;
  }
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? null : ms * 1000;
}

let second = '';
let secondUs = Number.NaN;

/** Of a time without decimals; the last one is remembered, since times come in their order. */
function secondsUs(text: string): number {
  if (text !== second) {
    second = text;
    secondUs = Date.parse(`${text}Z`) * 1000;
  }
  return secondUs;
}

export function timeText(us: number): string {
  const ms = Math.floor(us / 1000);
  return `${new Date(ms).toISOString().slice(0, -1)}${String(us - ms * 1000).padStart(3, '0')}Z`;
}

export function toValue(kind: Kind, field: unknown): Value {
  if (field === undefined || field === null) return null;
  switch (kind) {
    case 'time':
      return timeUs(field as string);
    case 'flag':
    case 'switch':
      return field === true ? 1 : kind === 'flag' ? null : 0;
    case 'json':
      return JSON.stringify(field);
    default:
      return field as string | number;
  }
}

export function fromValue(kind: Kind, value: Value | undefined): unknown {
  if (value === null || value === undefined) return undefined;
  switch (kind) {
    case 'time':
      return timeText(value as number);
    case 'flag':
    case 'switch':
      return value === 1;
    case 'json':
      return JSON.parse(value as string) as unknown;
    default:
      return value;
  }
}

/** A row of `columns`, without the fields that it does not have. */
export function toRow<T>(ledger: string, columns: readonly Column[], row: Row): T {
  const made: Record<string, unknown> = { ledger };
  for (const { name, kind } of columns) {
    const field = fromValue(kind, row[name]);
    if (field !== undefined) made[name] = field;
  }
  return made as T;
}

/**
 * Durations are summed in buckets, eight to an octave: a quantile from them is within 5 % of the true one. -1: none.
 */
export function bucketOf(durationUs: number | undefined): number {
  return durationUs === undefined ? -1 : durationUs < 1 ? 0 : Math.floor(Math.log2(durationUs) * 8) + 1;
}

/** The geometric middle of a bucket, µs. */
export function bucketMiddle(bucket: number): number {
  return bucket <= 0 ? 0 : Math.round(2 ** ((bucket - 0.5) / 8));
}

/** A quantile of durations that are counted by bucket; `undefined` without any. */
export function quantileOf(counts: ReadonlyMap<number, number>, q: number): number | undefined {
  const answered = [...counts].filter(([bucket]) => bucket >= 0).sort(([a], [b]) => a - b);
  const total = answered.reduce((sum, [, count]) => sum + count, 0);
  let left = Math.ceil(total * q);
  for (const [bucket, count] of answered) {
    left -= count;
    if (left <= 0) return bucketMiddle(bucket);
  }
  return undefined;
}
