/** Percentiles of durations in little space: counts by an eighth of an octave, so that a percentile is right to 5 %. JSON. */
export type Latency = Record<string, number>;

const steps = 8;

export function count(latency: Latency, durationUs: number): void {
  const step = String(Math.round(steps * Math.log2(Math.max(0, durationUs) + 1)));
  latency[step] = (latency[step] ?? 0) + 1;
}

/** In µs; `part` 0 … 1. `undefined` without any. */
export function percentile(latency: Latency, part: number): number | undefined {
  // whole numbers as names come in their order
  const counted = Object.entries(latency);
  const total = counted.reduce((sum, [, times]) => sum + times, 0);
  let left = Math.max(1, Math.ceil(total * part));
  for (const [step, times] of counted) {
    left -= times;
    if (left <= 0) return Math.round(2 ** (Number(step) / steps) - 1);
  }
  return undefined;
}
