import { expect, test } from 'vitest';
import { Deliveries, type Named } from './deliveries.ts';

const head = (name: string): { who: string } => ({ who: name });
const waitMs = 10_000;

/** What is said, and that nothing runs over it before. */
function due(deliveries: Deliveries, nowMs: number, wait: number = waitMs): Named[] {
  const said: Named[] = [];
  const before = deliveries.through(1_000);
  deliveries.due(nowMs, wait, (named) => {
    if (named.head.undelivered !== undefined) expect(deliveries.through(1_000)).toBe(before);
    said.push(named);
  });
  return said;
}

test('through stops before the first frame that is on its way, also one of several units', () => {
  const deliveries = new Deliveries();
  expect(deliveries.through(0)).toBe(0);
  deliveries.begin(1, 1, 1, head('a'));
  deliveries.begin(2, 4, 2, head('b'));
  deliveries.begin(5, 5, 1, head('a'));
  expect(deliveries.through(5)).toBe(0);
  for (const unit of [1, 4, 5]) deliveries.passed(unit, 0);
  deliveries.done(5);
  deliveries.done(1);
  expect(deliveries.through(5)).toBe(1);
  deliveries.over(4);
  expect(deliveries.through(5)).toBe(5);
});

test('what was let go and does not arrive is named once for each stream, and again when it arrives', () => {
  const deliveries = new Deliveries();
  for (const unit of [1, 2, 3, 4]) deliveries.begin(unit, unit, unit % 2, { ...head('a'), session: 's' });
  deliveries.begin(5, 5, 9, head('b'));
  for (const unit of [1, 2, 3, 4]) deliveries.passed(unit, unit);
  expect(due(deliveries, waitMs)).toEqual([]);
  expect(due(deliveries, waitMs + 3)).toEqual([
    { stream: 1, head: { who: 'a', session: 's', undelivered: [1, 3] } },
    { stream: 0, head: { who: 'a', session: 's', undelivered: [2, 2] } },
  ]);
  expect(deliveries.through(5)).toBe(3);
  deliveries.done(4);
  // the fifth waits for the recorder, however long
  expect(deliveries.through(5)).toBe(4);
  expect(due(deliveries, 100 * waitMs)).toEqual([]);
  deliveries.done(1);
  deliveries.over(3);
  deliveries.done(3);
  expect(due(deliveries, 100 * waitMs)).toEqual([{ stream: 1, head: { who: 'a', session: 's', delivered: [1, 1] } }]);
  expect(due(deliveries, 100 * waitMs)).toEqual([]);
});

test('what was withheld is named, and nothing waits for it', () => {
  const deliveries = new Deliveries();
  deliveries.begin(1, 3, 7, head('a'));
  deliveries.begin(4, 4, 7, head('a'));
  deliveries.withheld(3);
  deliveries.withheld(4);
  deliveries.begin(5, 5, 8, head('b'));
  expect(deliveries.through(5)).toBe(0);
  expect(due(deliveries, 0)).toEqual([{ stream: 7, head: { who: 'a', undelivered: [3, 4] } }]);
  expect(deliveries.through(5)).toBe(4);
  deliveries.done(3);
  expect(due(deliveries, 0, 0)).toEqual([]);
});
