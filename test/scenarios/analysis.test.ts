/** Real servers behind the tap, and what the analysis makes of the record: every number is held against the entries themselves. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { Observed } from '../../src/analysis/projection.ts';
import type { MessageEntry } from '../../src/entry/entry.ts';
import { observedIn, project } from '../analysis/ledger-rows.ts';
import { connect, type AnyClient, type ClientKind } from './clients.ts';
import { node, official, ours, root, Stage } from './stage.ts';

// six servers and their taps, one after the other
vi.setConfig({ testTimeout: 180_000 });

type Calls = readonly (readonly [tool: string, args: Record<string, unknown>])[];

async function talk(stage: Stage, kind: ClientKind, words: string[], calls: Calls, more?: (client: AnyClient) => Promise<void>): Promise<void> {
  const client = await connect(kind, words, { ...stage.env, MEMORY_FILE_PATH: join(stage.folder, 'memory.jsonl') }, true);
  await client.listTools();
  for (const [tool, args] of calls) await client.callTool(tool, args);
  await more?.(client);
  await client.close();
}

function messagesIn(observed: readonly Observed[], where: Partial<MessageEntry>): MessageEntry[] {
  return observed.flatMap(({ entry }) =>
    entry.kind === 'message' && Object.entries(where).every(([field, value]) => entry[field as keyof MessageEntry] === value) ? [entry] : [],
  );
}

test('HR, files, memory, everything and both eras', async () => {
  const stage = new Stage();
  const files = join(stage.folder, 'files');
  mkdirSync(files);
  writeFileSync(join(files, 'plan.txt'), 'plan');
  const path = (name: string): string => join(files, name);
  const named = (name: string, command: string[], ...options: string[]): string[] => stage.words(command, ['--name', name, ...options]);

  await talk(stage, 'pinned-modern', named('hr', [node, join(root, 'src', 'demo', 'hr-server.ts')], '--sensitive', 'get_pay*'), [
    ['search_employees', { query: 'engineer' }],
    ['get_pay_info', { id: 'e-201' }],
    ['submit_time_off', { id: 'e-102', from: '2026-12-21', until: '2026-12-31' }],
    ['get_employee', { id: 'e-999' }],
  ]);
  await talk(stage, 'sdk 1', named('files', official('filesystem', files)), [
    ['list_directory', { path: files }],
    ['read_text_file', { path: path('none.txt') }],
    ['read_multiple_files', { paths: [path('plan.txt'), path('gone.txt')] }],
    ['move_file', { source: path('plan.txt'), destination: path('moved.txt') }],
  ]);
  await talk(stage, 'sdk 1', named('memory', official('memory')), [
    ['create_entities', { entities: [{ name: 'Ada', entityType: 'person', observations: ['x'] }] }],
    ['add_observations', { observations: [{ entityName: 'Nobody', contents: ['y'] }] }],
    ['read_graph', {}],
  ]);
  await talk(
    stage,
    'sdk 1',
    named('everything', official('everything')),
    [
      ['echo', { message: 'hello' }],
      ['get-tiny-image', {}],
      ['get-structured-content', { location: 'New York' }],
      ['get-resource-links', { count: 3 }],
      ['get-resource-reference', { resourceType: 'Text', resourceId: 1 }],
      ['get-env', {}],
    ],
    async (client) => {
      const { resources } = await client.listResources();
      await client.readResource(resources[0]!.uri);
      await client.getPrompt('args-prompt', { city: 'Rome' });
    },
  );
  await talk(stage, 'pinned-modern', named('both', ours('both-eras.ts')), [['confirm', {}]]);
  await stage.finished();

  const observed = await observedIn(stage.ledger);
  const rows = project(observed);

  // every request of a client is one call, or a leg of one, and every entry one row
  const requests = messagesIn(observed, { type: 'request', direction: 'c2s' });
  expect(rows.rows('calls').reduce((sum, call) => sum + call.requests, 0)).toBe(requests.length);
  expect(rows.rows('entries').map(({ index, kind }) => ({ index, kind }))).toEqual(observed.map(({ index, entry }) => ({ index, kind: entry.kind })));
  const calls = messagesIn(observed, { type: 'request', method: 'tools/call' });
  expect(rows.rows('sessions').reduce((sum, session) => sum + session.calls, 0)).toBe(calls.length);
  expect(rows.rows('sessions').reduce((sum, session) => sum + session.messages, 0)).toBe(messagesIn(observed, {}).length);
  expect(rows.rows('sessions').reduce((sum, session) => sum + session.errors, 0)).toBe(
    messagesIn(observed, { outcome: 'toolError' }).length + messagesIn(observed, { outcome: 'error' }).length,
  );
  expect(rows.rows('sessions').reduce((sum, session) => sum + session.sizeBytes, 0)).toBe(
    messagesIn(observed, {}).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  );
  expect(rows.rows('calls').filter(({ state }) => state === 'open' || state === 'unanswered')).toEqual([]);
  const confirm = rows.rows('calls').find(({ target }) => target === 'confirm');
  expect(confirm).toMatchObject({ requests: 2, asked: 1, era: 'modern', state: 'ok', approvedBy: 'nobody' });
  expect(confirm?.legs).toHaveLength(4);

  // tools are those that were listed, with the hints that they have
  const tool = (name: string) => rows.rows('tools').find((row) => row.tool === name);
  expect(rows.rows('tools').every(({ isListed, hiddenText }) => isListed && hiddenText === undefined)).toBe(true);
  expect(tool('get_pay_info')).toMatchObject({ server: 'hr', effect: 'read', effectFrom: 'annotation', sensitive: true, calls: 1 });
  expect(tool('move_file')).toMatchObject({ effect: 'write', destructive: true, calls: 1 });
  expect(tool('delete_entities')).toMatchObject({ effect: 'write', destructive: true, calls: 0, definitions: 1 });
  expect(tool('get-tiny-image')!.contextTokens).toBeGreaterThan(1_000);
  expect(tool('echo')).toMatchObject({ contextTokens: 3 });

  // who touched what
  const touches = rows.rows('touches').map(({ tool: by, kind, entity }) => `${by} ${kind} ${entity.replace(`${files}/`, '').replace(files, '.')}`);
  expect(touches).toEqual([
    'search_employees read employee:e-101',
    'search_employees read employee:e-102',
    'search_employees read employee:e-103',
    'get_pay_info read employee:e-201',
    'submit_time_off write employee:e-102',
    'get_employee read employee:e-999',
    'list_directory read file:.',
    'read_text_file read file:none.txt',
    'read_multiple_files read file:plan.txt',
    'read_multiple_files read file:gone.txt',
    'move_file write file:plan.txt',
    'move_file write file:moved.txt',
    'create_entities write node:Ada',
    'add_observations write node:Nobody',
    'read_graph read node:Ada',
    'get-resource-links read resource:demo://resource/dynamic/blob/1',
    'get-resource-links read resource:demo://resource/dynamic/text/2',
    'get-resource-links read resource:demo://resource/dynamic/blob/3',
    'get-resource-reference read resource:1',
    'get-resource-reference read resource:demo://resource/dynamic/text/1',
    'resources/read read resource:demo://resource/static/document/architecture.md',
  ]);
  const missing = rows.rows('entities').filter(({ isMissing }) => isMissing);
  expect(missing.map(({ value }) => value.replace(`${files}/`, ''))).toEqual(['e-999', 'none.txt', 'gone.txt', 'Nobody']);
  expect(rows.get('entities', { ledger: '0'.repeat(32), entity: 'employee:e-101' })).toMatchObject({ attributes: { department: 'Engineering' } });

  // put down and taken up again anywhere
  expect(project(observed, {}, 1).tables).toEqual(rows.tables);
  expect(project(observed, {}, 7).tables).toEqual(rows.tables);
});
