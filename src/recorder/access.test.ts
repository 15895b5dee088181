/** Openings are gathered by the minute and none is lost that was noted; what a stranger's JSON says is read strictly. */
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { accessGatherMs, accessRanges, accessViewers } from '../limits.ts';
import { Accesses, readAcknowledgement, readOpened, type Access } from './access.ts';

const administrator = { by: { uid: 1000, pid: 7 } };
const viewer = '0123456789abcdef';

let written: Access[];
let isDiskThere: boolean;
let accesses: Accesses;

beforeEach(() => {
  vi.useFakeTimers();
  written = [];
  isDiskThere = true;
  accesses = new Accesses({
    append: (access, _attributes, done) => {
      if (isDiskThere) {
        const entry = { v: 1, kind: 'access', time: '2026-11-20T23:45:01.123456Z', monotonicUs: 1, ...access };
        const read = readEntry(Buffer.from(JSON.stringify(entry)));
        if (read instanceof EntryProblem) throw new Error(read.message);
        written.push(access);
      }
      done(isDiskThere);
    },
    now: () => '2026-11-20T23:45:01.000000Z',
  });
});
afterEach(() => vi.useRealTimers());

function open(ranges: [number, number][], who = viewer): boolean | undefined {
  let noted: boolean | undefined;
  accesses.open({ how: 'dashboard', viewer: who, ranges }, administrator, (answer) => (noted = answer));
  return noted;
}

test('the first opening is an entry, those of the minute behind it are one, and then it begins anew', () => {
  expect(open([[5, 5]])).toBe(true);
  expect(written).toHaveLength(1);
  for (const index of [9, 6, 7, 6]) expect(open([[index, index]])).toBe(true);
  expect(written).toHaveLength(1);
  vi.advanceTimersByTime(accessGatherMs);
  expect(written).toHaveLength(2);
  expect(written[1]).toMatchObject({
    opened: [
      [6, 7],
      [9, 9],
    ],
    count: 4,
    viewer,
    ...administrator,
  });
  // a quiet minute, and the next one is written at once
  vi.advanceTimersByTime(accessGatherMs);
  open([[1, 1]]);
  expect(written).toHaveLength(3);
});

test('each viewer is gathered alone', () => {
  open([[1, 1]]);
  open([[1, 1]], 'f'.repeat(16));
  expect(written.map((access) => access.viewer)).toEqual([viewer, 'f'.repeat(16)]);
});

test('the end writes what is gathered, once', () => {
  open([[1, 1]]);
  open([[2, 2]]);
  accesses.end();
  vi.advanceTimersByTime(10 * accessGatherMs);
  expect(written).toMatchObject([{ opened: [[1, 1]] }, { opened: [[2, 2]], count: 1 }]);
});

test('every opening is named, however many ranges and viewers there are', () => {
  const opened = new Set<number>();
  for (let i = 0; i < 3 * accessRanges; i++) {
    open([[2 * i, 2 * i]]);
    opened.add(2 * i);
  }
  for (let i = 0; i < 2 * accessViewers; i++) {
    for (const index of [10_000 + 2 * i, 20_000 + 2 * i]) {
      open([[index, index]], i.toString(16).padStart(16, '0'));
      opened.add(index);
    }
  }
  accesses.end();
  const named = written.flatMap(({ opened: ranges = [] }) =>
    ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i)),
  );
  expect(new Set(named)).toEqual(opened);
  expect(written.reduce((sum, { count = 0 }) => sum + count, 0)).toBe(opened.size);
});

test('what the disk did not take is written with the next', () => {
  open([[1, 1]]);
  open([[2, 2]]);
  isDiskThere = false;
  vi.advanceTimersByTime(accessGatherMs);
  isDiskThere = true;
  open([[4, 4]]);
  vi.advanceTimersByTime(accessGatherMs);
  expect(written.at(-1)).toMatchObject({
    opened: [
      [2, 2],
      [4, 4],
    ],
    count: 2,
  });
  isDiskThere = false;
  expect(open([[8, 8]], 'a'.repeat(16))).toBe(false);
  isDiskThere = true;
  expect(open([[8, 8]], 'a'.repeat(16))).toBe(true);
  expect(written.at(-1)).toMatchObject({ opened: [[8, 8]], viewer: 'a'.repeat(16) });
});

test('questions are read strictly', () => {
  const opened = {
    how: 'api',
    indexes: [
      [3, 4],
      [0, 3],
    ],
  };
  expect(readOpened(opened, 5)).toEqual({ how: 'api', ranges: [[0, 4]] });
  for (const more of [
    { indexes: [[0, 5]] },
    { indexes: [] },
    { indexes: [[2, 1]] },
    { indexes: [[0]] },
    { indexes: 1 },
    { how: 'x' },
    { viewer: 'x' },
  ])
    expect(readOpened({ ...opened, ...more }, 5)).toBeTypeOf('string');
  const acknowledged = { how: 'command', finding: '0123456789ab', note: 'seen' };
  expect(readAcknowledgement(acknowledged)).toEqual(acknowledged);
  for (const more of [{ finding: 'x' }, { finding: undefined }, { note: '' }, { note: 'é'.repeat(2_000) }, { rule: 3 }, { how: undefined }])
    expect(readAcknowledgement({ ...acknowledged, ...more })).toBeTypeOf('string');
  fc.assert(
    fc.property(fc.record({ how: fc.constantFrom('api', 1), indexes: fc.jsonValue(), viewer: fc.jsonValue() }, { requiredKeys: ['how'] }), (json) => {
      readOpened(json, 5);
      readAcknowledgement(json);
    }),
  );
});
