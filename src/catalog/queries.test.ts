/** Every answer of the catalog is that of the same rows in memory, which is the code that reports answer with; and what the overview says is counted from the ledger again. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askedLedger } from '../../test/analysis/asked-ledger.ts';
import { fixtureLedgerId } from '../../test/ledger-fixture.ts';
import { place, type Place } from '../../test/reading/fixture.ts';
import { policyOf, Recording, type Talk } from '../../test/reading/recorded.ts';
import { MemoryBackend } from '../analysis/memory-backend.ts';
import { Projection, type AnalysisOptions } from '../analysis/projection.ts';
import { PackedRows } from '../analysis/packed-rows.ts';
import type { Overview, Paging, Range } from '../analysis/views.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { readEntries } from '../readers/entries.ts';
import { Catalog } from './catalog.ts';
import { openDatabase } from './driver.ts';
import { Erased, observe } from './observe.ts';
import { CatalogRows, type CatalogPlace } from './queries.ts';
import { entriesWith } from './where.ts';

const analysis: AnalysisOptions = { crypto: nodeCrypto, sensitive: ['*salary*'] };
const policy = `policy:
  rules:
    - { name: no-drops, tool: drop_*, deny: true, reason: tables stay }
    - { name: look-at-writes, tool: set_*, flag: true }
`;

const places: Place[] = [];
const recordings: Recording[] = [];
const catalogs: CatalogPlace[] = [];
const memory = new PackedRows();
const texts = new Map<string, Map<number, string>>();
let rows: CatalogRows;
let backend: MemoryBackend;
let nowMs: number;
/** Times of entries, to cut ranges at. */
const times: string[] = [];

async function stories(recording: Recording, seed: number): Promise<void> {
  const compiled = await policyOf(policy);
  const talks: Talk[] = ['hr', 'db', 'hr'].map((server) => recording.connect(compiled, { server }));
  for (const one of talks) {
    one.request('initialize', { protocolVersion: '2025-06-18', clientInfo: { name: 'agent', version: '1' }, capabilities: {} });
    one.reply({ protocolVersion: '2025-06-18', serverInfo: { name: 'server', version: '2' }, capabilities: {} });
    one.request('tools/list');
    one.reply({
      tools: [
        { name: 'get_employee', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } },
        { name: 'set_salary', inputSchema: { type: 'object' }, annotations: { readOnlyHint: false, destructiveHint: true } },
      ],
    });
  }
  for (let i = 0; i < 60; i++) {
    // from here on it is another tool by the same name
    if (i === 30) {
      talks[0]!.request('tools/list');
      talks[0]!.reply({ tools: [{ name: 'get_employee', description: 'Reads one', inputSchema: { type: 'object' } }] });
    }
    const one = talks[(i * 7 + seed) % 3]!;
    const id = `E-10${i % 9}`;
    const kind = (i * 5 + seed) % 8;
    if (kind === 7) one.call('drop_table', { table: `t${i}` });
    else if (kind === 6) {
      one.call('set_salary', { employee_id: id, salary: 4000 + i });
      one.reply({ content: [{ type: 'text', text: `no employee ${id} "Zoë"` }], isError: true });
    } else if (kind === 5) {
      one.call('set_salary', { employee_id: id, salary: 4000 + i });
      one.text(`salary of ${id} is now ${4000 + i}`);
    } else if (kind === 4) one.call('get_salary', { employee_id: id });
    else {
      one.call('get_employee', { employee_id: id });
      const answer = JSON.stringify({ employee_id: id, department: i % 2 === 0 ? 'Sales' : 'Legal' });
      one.reply({ content: [{ type: 'text', text: `${answer}${'.'.repeat(i % 30)}` }] });
    }
    if (i % 20 === 19) {
      const now = recording.now();
      times.push(now);
      while (recording.now() < `${now.slice(0, -4)}999Z`);
    }
  }
}

function durable(recording: Recording): Promise<void> {
  return new Promise((done) => recording.ledger.follow({ durable: () => done() }));
}

async function add(at: Place, ledger: string): Promise<void> {
  const path = join(at.folder, 'catalog.sqlite');
  const catalog = await Catalog.open(at.ledger, { path, analysis });
  await catalog.catchUp();
  catalog.close();
  catalogs.push({ ledger, path });
  const projection = new Projection(ledger, analysis, memory);
  const said = new Map<number, string>();
  for await (const located of readEntries(at.ledger, { content: true })) {
    const observed = observe(at.ledger, located, new Erased())!;
    projection.take(observed);
    said.set(located.index, `${Buffer.from(observed.frame?.bytes ?? []).toString()}\n${JSON.stringify(observed.attributes)}`.toLowerCase());
  }
  projection.end();
  texts.set(ledger, said);
}

beforeAll(async () => {
  for (const seed of [0, 3]) {
    const at = place();
    const recording = new Recording(at);
    places.push(at);
    recordings.push(recording);
    await stories(recording, seed);
    await durable(recording);
    await add(at, recording.ledger.id);
  }
  // one in which a person was asked, too
  const asked = askedLedger();
  const at: Place = { folder: asked.path, ledger: asked.path, remove: () => rmSync(asked.path, { recursive: true }) };
  places.push(at);
  await add(at, fixtureLedgerId);
  nowMs = Date.now();
  rows = new CatalogRows(catalogs, () => nowMs);
  backend = new MemoryBackend({
    rows: memory,
    entry: async () => undefined,
    textsIn: async (ledger, wanted) => {
      const found = new Map<number, string[]>();
      for (const [index, text] of texts.get(ledger)!) {
        const has = wanted.filter((one) => text.includes(one));
        if (has.length > 0) found.set(index, has);
      }
      return found;
    },
    evidence: () => [],
    verify: async () => undefined,
    now: () => new Date(nowMs).toISOString(),
    zone: 'UTC',
  });
});

afterAll(async () => {
  rows?.close();
  for (const recording of recordings) await recording.close();
  for (const at of places) at.remove();
});

function ranges(): [string, Range][] {
  const [first, second] = catalogs.map(({ ledger }) => ledger) as [string, string];
  const session = memory.rows('sessions').find((one) => one.ledger === first)!.session;
  const finding = memory.rows('findings')[0];
  const definition = memory.rows('definitions').find(({ tool }) => tool === 'get_employee')!.digest;
  const filters = [
    'tool:get_*',
    '-tool:get_* method:tools/call',
    'tool:get_employee tool:set_salary outcome:ok',
    'method:tools/list',
    `session:${session.slice(0, 32)} effect:write`,
    'session:000',
    'server:h?',
    '-server:hr',
    'direction:c2s',
    'direction:s2c',
    'effect:sensitive',
    'effect:unknown',
    'outcome:toolError',
    'outcome:blocked',
    'outcome:unanswered',
    'outcome:ok outcome:unanswered',
    '-outcome:unanswered',
    '-outcome:ok direction:s2c',
    'outcome:ok',
    'verdict:flag',
    '-verdict:pass',
    'verdict:ask',
    'approvedBy:nobody',
    'approvedBy:rule approvedBy:person',
    '-approvedBy:nobody effect:write',
    'entity:employee:E-101',
    'entity:employee:*',
    '-entity:employee:*',
    'who:/usr/bin/*',
    'who:2',
    'who:nobody',
    `definition:${definition.slice(0, 16)}`,
    `-definition:${definition} tool:get_*`,
    `definition:${'0'.repeat(64)}`,
    'now 4013',
    '"zoë"',
    'E-10',
    'drop',
    'salary tool:set_* entity:employee:E-10?',
    `since:${times[0]} tool:get_*`,
    `until:${times[4]}`,
    'tool:[a-z]*',
    ...(finding === undefined ? [] : [`finding:${finding.finding}`, `finding:${finding.rule}`, '-finding:*']),
  ];
  return [
    ['everything', {}],
    ['one ledger', { ledger: second }],
    ['no ledger', { ledger: '0'.repeat(32) }],
    ['a session', { session }],
    ['a time', { ledger: first, since: times[0]!, until: times[1]! }],
    ['a time and a filter', { since: times[0]!, until: times[4]!, filter: 'effect:read' }],
    ['a session in a time', { session, since: times[1]! }],
    ...filters.map((filter): [string, Range] => [filter, { filter }]),
  ];
}

/** Quantiles are from buckets here, and exact in memory. */
function near(value: number | undefined, exact: number | undefined): void {
  if (exact === undefined) expect(value).toBeUndefined();
  else expect(Math.abs(value! - exact) / Math.max(1, exact)).toBeLessThan(0.06);
}

const keyed = (list: readonly object[]): unknown[] => list.map((row) => JSON.stringify(row, Object.keys(row).toSorted())).toSorted();

describe('the same answers as from rows in memory', () => {
  test('overview', async () => {
    for (const [name, range] of ranges()) {
      const { zone: _, p50Us, p95Us, callsToday: __, ...found } = rows.overview(range);
      const { zone: ___, p50Us: exact50, p95Us: exact95, callsToday: ____, ...expected } = await backend.overview(range);
      expect(found, name).toEqual(expected);
      near(p50Us, exact50);
      near(p95Us, exact95);
    }
  });

  test('timeline', async () => {
    for (const [name, range] of ranges()) {
      for (const wanted of [1, 3, 20, 1_000])
        expect(rows.timeline(range, wanted), `${name} ${wanted}`).toEqual(await backend.timeline(range, wanted));
    }
  });

  test.each(['calls', 'entries', 'sessions', 'entities', 'findings'] as const)('%s', async (method) => {
    for (const [name, range] of ranges()) {
      const all: Paging = { limit: 1_000 };
      const expected = await backend[method](range, all);
      const found = rows[method](range, all);
      expect(found.total, `${method} ${name}`).toBe(expected.total);
      expect(keyed(found.rows), `${method} ${name}`).toEqual(keyed(expected.rows));
    }
  });

  test('pages in an order, one after the other, hold each row once', async () => {
    const sorts = {
      calls: ['beganAt', '-durationUs', 'durationUs', 'target', '-state', 'resultBytes', 'requestBytes'],
      entries: ['index', '-time', 'sizeBytes', 'method'],
    };
    for (const method of ['calls', 'entries'] as const) {
      for (const sort of [undefined, ...sorts[method]]) {
        for (const range of [{}, { ledger: catalogs[0]!.ledger }, { filter: 'tool:get_*' }, { since: times[0]! }, { filter: 'E-103' }] as Range[]) {
          const about = `${method} ${sort} ${JSON.stringify(range)}`;
          const paging: Paging = sort === undefined ? {} : { sort };
          const expected = await backend[method](range, { ...paging, limit: 1_000 });
          const found: object[] = [];
          for (let offset = 0; offset < expected.total; offset += 37) found.push(...rows[method](range, { ...paging, offset, limit: 37 }).rows);
          expect(keyed(found), about).toEqual(keyed(expected.rows));
          // rows in memory are in the order in which they came to be known
          if (sort === undefined) continue;
          const values = (list: readonly object[]): unknown[] => list.map((row) => (row as Record<string, unknown>)[sort.replace('-', '')]);
          expect(values(found), about).toEqual(values(expected.rows));
        }
      }
    }
  });

  test('what one order does not tell apart stands in another, the same in both', async () => {
    for (const [name, range] of ranges()) {
      for (const [method, sort] of [
        ['tools', undefined],
        ['tools', '-calls'],
        ['tools', '-errors'],
        ['entities', '-sensitive'],
        ['entities', undefined],
        ['findings', 'severity'],
        ['findings', '-severity'],
      ] as const) {
        const paging: Paging = { limit: 1_000, ...(sort === undefined ? {} : { sort }) };
        const named = (list: readonly object[]): unknown[] =>
          list.map((row) => ['ledger', 'server', 'tool', 'entity', 'finding'].map((field) => (row as Record<string, unknown>)[field]).join(' '));
        expect(named(rows[method](range, paging).rows), `${method} ${sort} ${name}`).toEqual(named((await backend[method](range, paging)).rows));
      }
      expect(rows.matrix(range, {}), name).toEqual(await backend.matrix(range, {}));
    }
  });

  test('tools, and their figures in a range', async () => {
    for (const [name, range] of ranges()) {
      const found = rows.tools(range, { limit: 1_000 }).rows;
      const expected = (await backend.tools(range, { limit: 1_000 })).rows;
      const bare = (list: typeof found): unknown[] => keyed(list.map((tool) => ({ ...tool, p50Us: 0, p95Us: 0 })));
      expect(bare(found), name).toEqual(bare(expected));
      for (const tool of expected) {
        const same = found.find((one) => one.ledger === tool.ledger && one.server === tool.server && one.tool === tool.tool)!;
        near(same.p50Us, tool.p50Us);
        near(same.p95Us, tool.p95Us);
      }
    }
  });

  test('matrix', async () => {
    for (const [name, range] of ranges()) {
      const found = rows.matrix(range, { sort: 'entity', limit: 1_000 });
      const expected = await backend.matrix(range, { sort: 'entity', limit: 1_000 });
      expect(found.total, name).toBe(expected.total);
      const sums = ({ tools, entities, cells }: typeof found): unknown[] =>
        keyed(
          entities.flatMap((entity, row) =>
            tools.map((tool, column) => ({ of: `${entity.ledger} ${entity.entity} ${tool.tool} ${tool.server}`, ...cells[row]![column] })),
          ),
        );
      expect(sums(found), name).toEqual(sums(expected));
    }
  });

  test('one call, tool, entity and finding', async () => {
    for (const { ledger } of catalogs) {
      for (const { index, legs } of memory.rows('calls').filter((call) => call.ledger === ledger)) {
        const { legs: _, ...expected } = (await backend.call(ledger, legs.at(-1)!))!;
        expect(rows.call(ledger, legs.at(-1)!)).toEqual(expected);
        expect(rows.call(ledger, index)?.call.index).toBe(index);
      }
      expect(rows.call(ledger, 0)).toBeUndefined();
      for (const { entity } of memory.rows('entities')) expect(rows.entity(ledger, entity)).toEqual(await backend.entity(ledger, entity));
      for (const { finding } of memory.rows('findings'))
        expect(rows.finding(ledger, finding)).toEqual(memory.rows('findings').find((one) => one.ledger === ledger && one.finding === finding));
      if (ledger === fixtureLedgerId) continue;
      const found = rows.tool(ledger, 'hr', 'set_salary')!;
      expect(found.definitions).toEqual((await backend.tool(ledger, 'hr', 'set_salary'))!.definitions);
      expect(found.definitions).toHaveLength(1);
      const both = rows.tool(ledger, 'hr', 'get_employee')!;
      expect(both.definitions).toHaveLength(2);
      const under = both.definitions.map(({ digest }) => rows.calls({ ledger, filter: `definition:${digest}` }, { limit: 1_000 }).rows);
      for (const [at, { digest, firstIndex }] of both.definitions.entries()) {
        expect(under[at]!.length).toBeGreaterThan(0);
        for (const call of under[at]!.filter(({ server }) => server === 'hr')) {
          expect(call).toMatchObject({ target: 'get_employee', definition: digest });
          expect(call.index).toBeGreaterThan(firstIndex);
        }
      }
    }
    expect(rows.tool('0'.repeat(32), 'hr', 'set_salary')).toBeUndefined();
  });
});

test('the numbers of the overview are those of the ledger, counted from its entries', async () => {
  const counted = { calls: 0, reads: 0, writes: 0, sensitive: 0, blocked: 0, errors: 0, answered: 0 };
  const sessions = new Set<string>();
  // the ledger made by hand is of another day
  let earlier = 0;
  for (const at of places) {
    const tools = new Set<number>();
    for await (const { index, entry } of readEntries(at.ledger)) {
      if (entry.kind === 'open') sessions.add(`${at.ledger} ${entry.connection}`);
      if (entry.kind === 'approval' && entry.decision !== 'approved' && entry.decision !== 'cancelled') counted.blocked++;
      if (entry.kind !== 'message') continue;
      if (entry.type === 'request' && entry.method === 'tools/call') {
        if (at.ledger === places[2]!.ledger) earlier++;
        tools.add(index);
        counted.calls++;
        if (entry.effect === 'read') counted.reads++;
        if (entry.effect === 'write') counted.writes++;
        if (entry.target!.includes('salary')) counted.sensitive++;
        if (entry.verdict === 'block') counted.blocked++;
      } else if (entry.exchange !== undefined && tools.has(entry.exchange) && entry.origin === 'server') {
        counted.answered++;
        if (entry.outcome !== 'ok') counted.errors++;
      }
    }
  }
  const overview: Overview = rows.overview({});
  const { answered, ...same } = counted;
  expect(overview).toMatchObject({ ...same, callsToday: counted.calls - earlier, sessions: sessions.size, openSessions: sessions.size, behind: 0 });
  expect(overview.errorRate).toBeCloseTo(counted.errors / answered, 10);
  expect(counted.blocked).toBeGreaterThan(0);
  expect(counted.errors).toBeGreaterThan(0);
});

test('free text of any length, and what looks like a search expression', () => {
  const database = openDatabase(catalogs[0]!.path, { readOnly: true });
  const said = [...texts.get(catalogs[0]!.ledger)!];
  for (const text of ['Z', 'oë', 'E-10', 'employee_id', '"', '*', 'AND', 'salary OR', '4013', 'NEAR(', 'no employee E-106 "Zoë"', 'x'.repeat(500)]) {
    const needles = [text.toLowerCase(), JSON.stringify(text.toLowerCase()).slice(1, -1)];
    const expected = said.filter(([, one]) => needles.some((needle) => one.includes(needle))).map(([index]) => index);
    expect(
      entriesWith(text, database).toSorted((a, b) => a - b),
      text,
    ).toEqual(expected);
  }
  database.close();
});
