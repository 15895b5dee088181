import { describe, expect, test } from 'vitest';
import { ledger, many, story, type World } from '../../test/ui/page/rows.ts';
import { bucketLength, buckets } from './buckets.ts';
import { MemoryBackend } from './memory-backend.ts';
import type { Bucket } from './views.ts';

function backendOf(world: World, textsIn?: ReadonlyMap<number, readonly string[]>): MemoryBackend {
  return new MemoryBackend({
    rows: world.rows,
    entry: async (_, index) => world.details.get(index),
    evidence: () => [world.evidence],
    verify: () => Promise.resolve(),
    now: () => '2026-11-20T12:00:00.000Z',
    zone: 'UTC',
    ...(textsIn === undefined ? {} : { textsIn: () => Promise.resolve(textsIn) }),
  });
}

const sumOf = (all: readonly Bucket[]): number =>
  all.reduce((sum, { reads, writes, sensitive, errors, blocked, other }) => sum + reads + writes + sensitive + errors + blocked + other, 0);

describe('the story', () => {
  const backend = backendOf(story());

  test('the overview counts calls of tools', async () => {
    const { p50Us: _, p95Us: __, ...overview } = await backend.overview({});
    expect(overview).toMatchObject({
      sessions: 1,
      openSessions: 0,
      calls: 6,
      callsToday: 6,
      reads: 5,
      writes: 1,
      sensitive: 2,
      errors: 1,
      unanswered: 0,
    });
    expect(overview.errorRate).toBeCloseTo(1 / 6);
    expect(overview.findings).toEqual({ high: 1, medium: 1, low: 1, info: 0 });
  });

  test('what narrows a view narrows every answer', async () => {
    const range = { filter: 'effect:sensitive' };
    expect((await backend.calls(range, {})).rows.map((call) => call.target)).toEqual(['get_pay_info', 'get_pay_info']);
    expect((await backend.overview(range)).calls).toBe(2);
    expect((await backend.tools(range, {})).rows).toMatchObject([{ tool: 'get_pay_info', calls: 2 }]);
    expect((await backend.entities(range, { sort: 'entity' })).rows).toMatchObject([
      { value: 'e-101', reads: 1, sensitive: 1 },
      { value: 'e-201', reads: 1, sensitive: 1 },
    ]);
    expect((await backend.findings(range, {})).rows.map((finding) => finding.rule)).toEqual(['other-department']);
    expect(sumOf((await backend.timeline(range, 50)).buckets)).toBe(2);
    expect((await backend.sessions(range, {})).total).toBe(1);
    expect((await backend.sessions({ filter: 'tool:nothing' }, {})).total).toBe(0);
  });

  test('a stretch of time begins and ends to the microsecond', async () => {
    const { rows } = await backend.calls({}, {});
    const [, second, third] = rows;
    const within = await backend.calls({ since: second!.beganAt, until: third!.beganAt }, {});
    expect(within.rows.map((call) => call.index)).toEqual([second!.index, third!.index]);
    // three decimals as a browser writes them
    const short = second!.beganAt.replace(/000Z$/, 'Z');
    expect((await backend.calls({ since: short }, {})).rows[0]!.index).toBe(second!.index);
  });

  test('findings come by weight, and lead to their call and back', async () => {
    const { rows } = await backend.findings({}, {});
    expect(rows.map((finding) => finding.severity)).toEqual(['high', 'medium', 'low']);
    const call = await backend.call(ledger, rows[0]!.indexes[1]!);
    expect(call?.call.index).toBe(rows[0]!.indexes[0]);
    expect(call?.legs.map((leg) => leg.index)).toEqual(call?.call.legs);
    expect(call?.findings.map((finding) => finding.rule)).toEqual(['other-department']);
    expect(call?.principal).toMatchObject({ user: 'mira' });
    expect(call?.touches.map((touch) => touch.entity)).toEqual(['employee:e-201']);
    expect(await backend.call(ledger, 1)).toBeUndefined();
    expect((await backend.calls({ filter: `finding:${rows[0]!.finding}` }, {})).total).toBe(1);
  });

  test('the matrix counts touches by entity and tool', async () => {
    const matrix = await backend.matrix({}, {});
    const row = matrix.entities.findIndex((entity) => entity.value === 'e-102');
    const cells = Object.fromEntries(matrix.tools.map(({ tool }, column) => [tool, matrix.cells[row]![column]]));
    expect(cells).toMatchObject({ search_employees: { reads: 1, writes: 0 }, submit_time_off: { reads: 0, writes: 1 }, get_pay_info: { reads: 0 } });
    expect(matrix.tools.find(({ tool }) => tool === 'get_pay_info')?.sensitive).toBe(true);
    const entity = await backend.entity(ledger, 'employee:e-102');
    expect(entity?.touches.map((touch) => touch.tool)).toEqual(['search_employees', 'submit_time_off']);
    expect(entity?.calls.length).toBe(2);
  });

  test('a tool has its definitions and findings', async () => {
    const found = await backend.tool(ledger, 'hr', 'get_pay_info');
    expect(found?.tool).toMatchObject({ calls: 2, definitions: 2, isListed: true });
    expect(found?.definitions.length).toBe(2);
    expect(found?.findings.length).toBe(1);
    expect(await backend.tool(ledger, 'hr', '__proto__')).toBeUndefined();
  });

  test('text is looked for in content where that can be read', async () => {
    expect((await backend.calls({ filter: 'section' }, {})).total).toBe(1);
    expect((await backend.calls({ filter: 'hidden-in-content' }, {})).total).toBe(0);
    const { rows } = await backend.calls({}, {});
    const deep = backendOf(story(), new Map([[rows[3]!.legs[1]!, ['hidden-in-content']]]));
    expect((await deep.calls({ filter: 'Hidden-in-content' }, {})).rows.map((call) => call.index)).toEqual([rows[3]!.index]);
  });

  test('what is no filter is refused in words', async () => {
    await expect(backend.calls({ filter: 'nonsense:x' }, {})).rejects.toThrow(/no word nonsense/);
  });
});

test('lists are sorted and cut, and nothing is lost or doubled between pages', async () => {
  const backend = backendOf(many(2_500));
  const seen: number[] = [];
  for (let offset = 0; ; offset += 700) {
    const page = await backend.calls({}, { sort: '-durationUs', offset, limit: 700 });
    expect(page.total).toBe(2_500);
    if (page.rows.length === 0) break;
    seen.push(...page.rows.map((call) => call.index));
  }
  expect(new Set(seen).size).toBe(2_500);
  const durations = (await backend.calls({}, { sort: '-durationUs', limit: 1_000 })).rows.map((call) => call.durationUs!);
  expect(durations).toEqual(durations.toSorted((a, b) => b - a));
  expect((await backend.calls({}, { limit: 5_000 })).rows.length).toBe(1_000);
});

test('rows that came are seen once it is said that they came', async () => {
  const world = story();
  const backend = backendOf(world);
  const before = await backend.calls({}, {});
  world.rows.put('calls', { ...before.rows[0]!, index: 99, legs: [99] });
  const changes: unknown[] = [];
  const stop = backend.subscribe((change) => changes.push(change));
  backend.changed({ calls: 1 });
  expect((await backend.calls({}, {})).total).toBe(before.total + 1);
  expect(changes).toEqual([{ calls: 1 }]);
  stop();
  backend.changed({ calls: 1 });
  expect(changes.length).toBe(1);
});

describe('buckets', () => {
  test('hold each call once, without a hole between them', async () => {
    const calls = (await backendOf(many(1_000)).calls({}, { limit: 1_000 })).rows;
    for (const wanted of [1, 7, 60, 400]) {
      const { bucketMs, buckets: all } = buckets(calls, wanted);
      expect(sumOf(all)).toBe(1_000);
      expect(all.length).toBeLessThanOrEqual(wanted + 1);
      for (const [at, bucket] of all.entries()) expect(Date.parse(bucket.at)).toBe(Date.parse(all[0]!.at) + at * bucketMs);
    }
    expect(buckets([], 10).buckets).toEqual([]);
  });

  test('are of lengths that people know', () => {
    expect(bucketLength(60_000, 60)).toBe(1_000);
    expect(bucketLength(61_000, 60)).toBe(2_000);
    expect(bucketLength(86_400_000 * 30, 60)).toBe(86_400_000 / 2);
    expect(bucketLength(1, 100)).toBe(1);
  });
});
