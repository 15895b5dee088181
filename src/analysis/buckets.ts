/** Calls over time in buckets of a length that people know. */
import type { CallRow } from './rows.ts';
import type { Bucket, Timeline } from './views.ts';

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;
/** Milliseconds. */
const lengths: readonly number[] = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 30].map((n) => n * second),
  ...[1, 2, 5, 10, 30].map((n) => n * minute),
  ...[1, 2, 6, 12].map((n) => n * hour),
  ...[1, 7, 28, 91, 364].map((n) => n * day),
];

/** The shortest length with which `spanMs` needs at most `wanted` buckets. */
export function bucketLength(spanMs: number, wanted: number): number {
  const least = spanMs / Math.max(1, wanted);
  return lengths.find((length) => length >= least) ?? Math.ceil(least / (364 * day)) * 364 * day;
}

/** In which layer a call is drawn: the worst that is true of it. */
export function layerOf({ state, sensitive, effect }: Pick<CallRow, 'state' | 'sensitive' | 'effect'>): Exclude<keyof Bucket, 'at'> {
  if (state === 'blocked') return 'blocked';
  if (state === 'error' || state === 'toolError') return 'errors';
  if (sensitive) return 'sensitive';
  if (effect === 'write') return 'writes';
  return effect === 'read' ? 'reads' : 'other';
}

const bucketsMost = 1_000;

/** Without a call. */
export function noBuckets(): Timeline {
  return { bucketMs: minute, buckets: [] };
}

/** Buckets from the one of `firstMs` to that of `lastMs`. They begin at whole multiples of their length since 1970, and follow each other without a hole. */
export function emptyBuckets(firstMs: number, lastMs: number, wanted: number): Timeline & { startMs: number } {
  const bucketMs = bucketLength(lastMs - firstMs + 1, Math.max(1, Math.min(bucketsMost, Math.floor(wanted))));
  const startMs = Math.floor(firstMs / bucketMs) * bucketMs;
  const all: Bucket[] = Array.from({ length: Math.floor((lastMs - startMs) / bucketMs) + 1 }, (_, at) => ({
    at: new Date(startMs + at * bucketMs).toISOString(),
    reads: 0,
    writes: 0,
    sensitive: 0,
    errors: 0,
    blocked: 0,
    other: 0,
  }));
  return { startMs, bucketMs, buckets: all };
}

/** Each call in one bucket, by its beginning. */
export function buckets(calls: Iterable<Pick<CallRow, 'beganAt' | 'state' | 'sensitive' | 'effect'>>, wanted: number): Timeline {
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const { beganAt } of calls) {
    const ms = Date.parse(beganAt);
    if (ms < first) first = ms;
    if (ms > last) last = ms;
  }
  if (first > last) return noBuckets();
  const { startMs, bucketMs, buckets: all } = emptyBuckets(first, last, wanted);
  for (const call of calls) all[Math.floor((Date.parse(call.beganAt) - startMs) / bucketMs)]![layerOf(call)]++;
  return { bucketMs, buckets: all };
}
