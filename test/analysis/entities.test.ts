/** Which things calls name, in conversations as the recorder's own code stores them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseConfig } from '../../src/config/config.ts';
import type { AnalysisOptions, MemoryRows } from '../../src/analysis/projection.ts';
import { rowsOf } from './analysed.ts';
import { conversationsIn, Replay } from './replay.ts';
import { Talk } from './talk.ts';

async function rowsIn(talks: Talk | Talk[], options: Omit<AnalysisOptions, 'crypto'> = {}): Promise<MemoryRows> {
  const replay = new Replay();
  for (const talk of [talks].flat()) for (const conversation of conversationsIn(talk.close().text)) await replay.play(conversation);
  return rowsOf(replay.entries, options);
}

const touches = (rows: MemoryRows): string[] =>
  rows.rows('touches').map(({ tool, kind, entity, path, sensitive }) => `${tool} ${kind}${sensitive ? ' sensitive' : ''} ${entity} ${path}`);

const id = { id: { type: 'string', description: 'employee id, for example e-101' } };
const hrTools = [
  { name: 'search_employees', readOnly: true, properties: { query: { type: 'string' } } },
  { name: 'get_employee', readOnly: true, properties: id },
  { name: 'get_pay_info', description: 'What an employee earns', readOnly: true, properties: id },
  { name: 'submit_time_off', readOnly: false, properties: { id: { type: 'string' } } },
];

function hr(): Talk {
  return new Talk('an agent in HR', 'hr', { sensitive: ['get_pay*'] })
    .hello(hrTools)
    .call(
      'search_employees',
      { query: 'engineer' },
      JSON.stringify([
        { id: 'e-101', department: 'Engineering' },
        { id: 'e-102', department: 'Engineering' },
      ]),
    )
    .call('get_pay_info', { id: 'e-201' }, JSON.stringify({ id: 'e-201', name: 'Rosa', salaryEur: 1 }))
    .call('get_employee', { id: 'e-201' }, JSON.stringify({ id: 'e-201', name: 'Rosa', department: 'Finance' }))
    .call('submit_time_off', { id: 'e-102', from: '2026-12-21', until: '2026-12-31' }, JSON.stringify({ request: 't-1', id: 'e-102' }))
    .call('get_employee', { id: 'e-999' }, { toolError: 'no employee e-999' });
}

test('a bare id is of what its parameter, its list, its tool or earlier results say, in every tool the same', async () => {
  const rows = await rowsIn(hr());
  expect(touches(rows)).toEqual([
    'search_employees read employee:e-101 result[].id',
    'search_employees read employee:e-102 result[].id',
    'get_pay_info read sensitive employee:e-201 arguments.id',
    'get_employee read employee:e-201 arguments.id',
    'submit_time_off write employee:e-102 arguments.id',
    'get_employee read employee:e-999 arguments.id',
  ]);
  const shown = rows.rows('entities').map(({ ledger: _ledger, firstAt: _first, lastAt: _last, type: _type, value: _value, ...row }) => row);
  expect(shown).toEqual([
    { entity: 'employee:e-101', attributes: { department: 'Engineering' }, reads: 1, writes: 0, sensitive: 0, sessions: 1 },
    { entity: 'employee:e-102', attributes: { department: 'Engineering' }, reads: 1, writes: 1, sensitive: 0, sessions: 1 },
    { entity: 'employee:e-201', attributes: { department: 'Finance' }, reads: 2, writes: 0, sensitive: 1, sessions: 1 },
    { entity: 'employee:e-999', reads: 1, writes: 0, sensitive: 0, sessions: 1, isMissing: true },
  ]);
});

test('what is known of entities may be configured, and goes before what was seen', async () => {
  const known = { 'employee:e-2*': { department: 'Board', site: 'Rome' } };
  const rows = await rowsIn(hr(), { entities: { known } });
  expect(rows.get('entities', { ledger: '0'.repeat(32), entity: 'employee:e-201' })?.attributes).toEqual({ department: 'Board', site: 'Rome' });
});

test('sessions are counted once each, however often they touch', async () => {
  const talk = (): Talk => new Talk('one', 'hr').hello(hrTools).call('get_employee', { id: 'e-1' }, '{}x').call('get_employee', { id: 'e-1' }, 'y');
  const rows = await rowsIn([talk(), talk(), talk()]);
  expect(rows.rows('entities')).toMatchObject([{ entity: 'employee:e-1', reads: 6, sessions: 3 }]);
});

test.each<[string, string, object, string[]]>([
  ['words that hold an id', 'resize', { width: 3, video: 'intro', valid: 'yes', grid: '4', paid: 'no', android: 'x' }, []],
  ['ids of the conversation', 'go', { requestId: 'r1', session_id: 's', traceId: 't', progressToken: 'p', clientId: 'c' }, []],
  [
    'ids with their noun',
    'go',
    { employeeId: 'e-1', 'order-id': 7, target_user_id: 'u', projectIDs: ['p1', 'p2'] },
    ['employee:e-1', 'order:7', 'user:u', 'project:p1', 'project:p2'],
  ],
  [
    'nested keys',
    'go',
    { filter: { employee: { id: 'e-1' } }, orders: [{ id: 1, lines: [{ productId: 'x' }] }] },
    ['employee:e-1', 'order:1', 'product:x'],
  ],
  ['paths', 'read', { path: '/etc/motd' }, ['file:/etc/motd']],
  ['lists of paths', 'read', { paths: ['a.txt', 'b/c.txt'] }, ['file:a.txt', 'file:b/c.txt']],
  ['where files go', 'move_file', { source: '/a/b', destination: './c' }, ['file:/a/b', 'file:./c']],
  ['words that are no paths', 'translate', { source: 'English', target: 'French', from: 'Monday', to: 'Friday' }, []],
  ['addresses on the web', 'fetch', { url: 'https://example.com/a?b=1' }, ['url:https://example.com/a?b=1']],
  ['addresses of files', 'open', { uri: 'file:///tmp/a%20b' }, ['file:/tmp/a b']],
  ['other schemes', 'open', { uri: 'demo://resource/1' }, ['resource:demo://resource/1']],
  ['pictures in the address', 'show', { url: 'data:image/png;base64,AAAA' }, []],
  ['lists of folders', 'run', { path: '/usr/bin:/bin' }, []],
  ['tables', 'describe', { table: 'hr.pay' }, ['table:hr.pay']],
  ['SQL', 'run', { sql: 'select * from pay join staff using (id)' }, ['table:pay', 'table:staff']],
  ['a query in words', 'search', { query: 'engineers from Rome' }, []],
  [
    'people by mail',
    'send',
    { to: ['Ada <ada@example.org>'], cc: 'Bob@example.org, c@example.org', body: 'x@y.zz' },
    ['email:ada@example.org', 'email:bob@example.org', 'email:c@example.org'],
  ],
  ['things by name', 'go', { customer: 'c-9', user: 'Ada Okafor', repo: 'a/b' }, ['customer:c-9', 'repo:a/b']],
  ['words that say how', 'go', { order: 'asc', event: 'click', policy: 'strict', documents: ['a', 'b-7'] }, ['document:b-7']],
  ['long texts, blanks and nothing', 'go', { employeeId: '', orderId: 'a b', userId: 'x'.repeat(200), itemId: null, flagId: true }, []],
  ['what redaction left', 'go', { employeeId: '[redacted]', path: '/home/[redacted pii]/[redacted]' }, []],
])('%s', async (_name, tool, args, entities) => {
  const rows = await rowsIn(new Talk('one', 'x').hello([{ name: tool }]).call(tool, args, 'done'));
  expect(rows.rows('touches').map(({ entity }) => entity)).toEqual(entities);
});

test('an SQL text says itself what it reads and writes', async () => {
  const rows = await rowsIn(new Talk('one', 'db').hello([{ name: 'query' }]).call('query', { sql: 'insert into a select * from b' }, 'ok'));
  expect(touches(rows)).toEqual(['query write table:a arguments.sql', 'query read table:b arguments.sql']);
});

test('results are read in texts and as structured content, once', async () => {
  const structured = {
    employees: [
      { id: 'e-1', tenant: 'north', team: { name: 'A' } },
      { id: 'e-2', tenant: 7 },
    ],
    total: 2,
    thumbnail: { width: 3 },
  };
  const rows = await rowsIn(new Talk('one', 'x').hello([{ name: 'overview', readOnly: true }]).call('overview', {}, { structured }));
  expect(touches(rows)).toEqual(['overview read employee:e-1 result.employees[].id', 'overview read employee:e-2 result.employees[].id']);
  expect(rows.rows('entities').map(({ attributes }) => attributes)).toEqual([{ tenant: 'north', team: 'A' }, { tenant: '7' }]);
});

test('a long list touches at most so many', async () => {
  const list = Array.from({ length: 5_000 }, (_, n) => ({ id: n }));
  const rows = await rowsIn(new Talk('one', 'x').hello([{ name: 'list_orders', readOnly: true }]).call('list_orders', {}, JSON.stringify(list)));
  expect(rows.rows('touches')).toHaveLength(200);
});

test('what was refused touched nothing', async () => {
  const policy = 'policy:\n  default: allow\n  rules:\n    - { name: no, deny: true, tool: get_employee }\n';
  const rows = await rowsIn(new Talk('one', 'hr', { policy }).hello(hrTools).call('get_employee', { id: 'e-1' }, undefined));
  expect(rows.rows('calls').at(-1)).toMatchObject({ target: 'get_employee', state: 'blocked' });
  expect(rows.rows('touches')).toEqual([]);
});

test.each<[string, object, Parameters<Talk['call']>[2], string[]]>([
  ['get_employee', { id: 'e-9' }, { toolError: 'Employee e-9 not found' }, ['employee:e-9']],
  ['get_employee', { id: 'e-9' }, { toolError: 'HTTP 404' }, ['employee:e-9']],
  ['get_employee', { id: 'e-9' }, { error: 'unknown employee: e-9' }, ['employee:e-9']],
  ['get_employee', { id: 'e-9' }, 'There is no employee with id "e-9".', ['employee:e-9']],
  ['get_employee', { id: 'e-9' }, 'null', ['employee:e-9']],
  ['get_employee', { id: 'e-9' }, '[]', ['employee:e-9']],
  ['read_file', { path: '/x/y' }, { toolError: "ENOENT: no such file or directory, open '/x/y'" }, ['file:/x/y']],
  ['read_files', { paths: ['/a', '/b'] }, { toolError: '/a: ok. /b: no such file' }, ['file:/b']],
  // not about what was asked for
  ['get_employee', { id: 'e-9' }, { toolError: 'Tool get_employee not found' }, []],
  ['get_employee', { id: 'e-9' }, { toolError: 'permission denied' }, []],
  ['get_employee', { id: 'e-9' }, JSON.stringify({ id: 'e-9', note: `address not found ${'x'.repeat(300)}` }), []],
  ['list_orders', { customerId: 7 }, '[]', []],
  ['list_directory', { path: '/empty' }, '', []],
])('%s %j %j', async (tool, args, answer, missing) => {
  const rows = await rowsIn(new Talk('one', 'x').hello([{ name: tool, readOnly: true }]).call(tool, args, answer));
  expect(
    rows
      .rows('entities')
      .filter(({ isMissing }) => isMissing)
      .map(({ entity }) => entity),
  ).toEqual(missing);
});

test('what was missing and then is there is missing no more', async () => {
  const rows = await rowsIn(
    new Talk('one', 'hr')
      .hello(hrTools)
      .call('get_employee', { id: 'e-9' }, { toolError: 'no employee e-9' })
      .call('get_employee', { id: 'e-9' }, '{"id":"e-9"}'),
  );
  expect(rows.rows('entities')).toMatchObject([{ entity: 'employee:e-9', reads: 2 }]);
  expect(rows.rows('entities')[0]).not.toHaveProperty('isMissing');
});

test('a resource that is read is one, by its URI, though entries hold its scheme alone', async () => {
  const read = { contents: [{ uri: 'note://two', text: 'x' }] };
  const rows = await rowsIn(new Talk('one', 'x').hello().ask('resources/read', { uri: 'note://one' }, { raw: read }));
  expect(touches(rows)).toEqual(['resources/read read resource:note://one arguments.uri']);
  expect(rows.rows('calls').at(-1)).toMatchObject({ method: 'resources/read', target: 'note://one', effect: 'read' });
});

test('rules of the configuration go before ours', async () => {
  const rules = [{ type: 'ship', keys: ['imo', 'vessel_id'], value: 'id' as const }];
  const rows = await rowsIn(new Talk('one', 'x').hello([{ name: 'track' }]).call('track', { imo: 9_074_729, vesselId: 'v', path: '/a' }, 'ok'), {
    entities: { rules, defaults: false },
  });
  expect(rows.rows('touches').map(({ entity }) => entity)).toEqual(['ship:9074729', 'ship:v']);
});

test('the example of docs/entities.md is read, and does what it says', async () => {
  const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'entities.md'), 'utf8');
  const { config, problems } = await parseConfig(/```yaml\n([\s\S]*?)```/u.exec(page)![1]!, 'sworn.yaml');
  expect(problems).toEqual([]);
  const found = { documents: [{ no: '2026-1' }, { no: 'none' }], employee_id: 'e-201' };
  const rows = await rowsIn(
    new Talk('one', 'x').hello([{ name: 'list_invoices', readOnly: true }]).call('list_invoices', { imo: 9_074_729 }, JSON.stringify(found)),
    { entities: config!.entities },
  );
  expect(touches(rows)).toEqual([
    'list_invoices read vessel:9074729 arguments.imo',
    'list_invoices read invoice:2026-1 result.documents[].no',
    'list_invoices read employee:e-201 result.employee_id',
  ]);
  expect(rows.rows('entities').at(-1)?.attributes).toEqual({ department: 'Finance' });
});

test('a rule of the configuration that is none is named with its place', async () => {
  const text = 'entities:\n  rules:\n    - { type: "Em ployee", keys: [id], value: id }\n    - { type: a, keys: [], value: words }\n';
  const { problems } = await parseConfig(text, 'sworn.yaml');
  expect(problems.map(({ line, path }) => `${line} ${path}`)).toEqual([
    '3 entities.rules[0].type',
    '4 entities.rules[1].keys',
    '4 entities.rules[1].value',
  ]);
});
