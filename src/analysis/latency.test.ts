import { expect, test } from 'vitest';
import { count, percentile, type Latency } from './latency.ts';

test('percentiles are right to 5 %, whatever the range', () => {
  const latency: Latency = {};
  expect(percentile(latency, 0.5)).toBeUndefined();
  for (let us = 1; us <= 100_000; us++) count(latency, us);
  for (const part of [0.5, 0.95, 0.99]) expect(Math.abs(percentile(latency, part)! / (part * 100_000) - 1)).toBeLessThan(0.05);
  expect(percentile(JSON.parse(JSON.stringify(latency)) as Latency, 0.5)).toBe(percentile(latency, 0.5));
  expect(Object.keys(latency).length).toBeLessThan(140);
});
