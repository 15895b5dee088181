/** `spec/openapi.json` against the running server: every path, every status that it names, every answer of the shape that it says. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commands, openapiText, problem, questions } from '../../scripts/openapi.ts';
import { dashboardFailures } from '../../src/limits.ts';
import { World } from '../support-processes.ts';
import { call, closed, Serving, sessionOf, type Answer, type Asking } from './serving.ts';

interface Operation {
  parameters?: { name: string; in: string; required?: boolean }[];
  responses: Record<string, { headers?: Record<string, object>; content?: Record<string, object> }>;
}
const description = JSON.parse(readFileSync(new URL('../../spec/openapi.json', import.meta.url), 'utf8')) as {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
};
const everything = Object.entries(description.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, name: path.replace('/api/v1/', ''), method: method.toUpperCase(), operation })),
);
/** Those that a login or a token asks; the hook has a test of its own. */
const operations = everything.filter(({ path }) => path.startsWith('/api/v1/'));

/** One for each test: each viewer may ask only so often. */
const tokens = ['d', 'e'].map((letter) => letter.repeat(40));
let headers = { Authorization: '' };
const use = (token: string | undefined): void => void (headers = { Authorization: `Bearer ${token}` });
let world: World;
let serving: Serving;
/** A query of each question that finds something. */
let found: Record<string, string>;
/** And of those that name one thing, one that finds nothing. */
let lost: Record<string, string>;

beforeAll(async () => {
  world = new World('openapi');
  const client = sessionOf(world);
  client.write({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} });
  for (const id of ['E1', 'E2', 'E1']) await call(client, 'get_employee', { employee_id: id, path: '/tmp/a.txt' });
  client.write({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: 1 } });
  await closed(client);
  writeFileSync(join(world.folder, 'tokens'), tokens.join('\n'), { mode: 0o600 });
  use(tokens[0]);
  serving = await Serving.start(world, ['--token-file', join(world.folder, 'tokens')]);
  await serving.caughtUp(10);
  const ledger = serving.ledgers[0]!.id;
  const [one] = (await serving.json('calls?filter=method:tools/call')).rows;
  const [entity] = (await serving.json('entities')).rows;
  found = {
    call: `ledger=${ledger}&index=${one.index}`,
    entry: `ledger=${ledger}&index=0`,
    tool: `ledger=${ledger}&server=echo&tool=get_employee`,
    entity: `ledger=${ledger}&entity=${encodeURIComponent(entity?.entity ?? 'none')}`,
  };
  lost = {
    call: `ledger=${ledger}&index=99999`,
    entry: `ledger=${ledger}&index=99999`,
    tool: `ledger=${ledger}&server=echo&tool=none`,
    entity: `ledger=${ledger}&entity=none%3Anone`,
    approval: `ledger=${ledger}&index=99999`,
  };
});
afterAll(() => world.end());

type Asked = (typeof operations)[number];

function ask({ path, name, method }: Asked, query = found[name] ?? '', asking: Asking = {}): Promise<Answer> {
  const json = method === 'POST' ? { 'Content-Type': 'application/json' } : {};
  return serving.ask(`${path}${query === '' ? '' : `?${query}`}`, { method, ...asking, headers: { ...headers, ...json, ...asking.headers } });
}

/** Of those commands that answer: what a login may say. */
let key = '';
const bodies: Readonly<Record<string, (ledger: string) => object>> = {
  unlock: () => ({ secret: serving.approvalsSecret }),
  decide: (ledger) => ({ key, decision: 'denied', requests: [{ ledger, request: 1, commitment: `${'A'.repeat(43)}=` }] }),
};

function expectProblem(answer: Answer, status: number, where: string): void {
  expect(answer.status, `${where}: ${answer.text}`).toBe(status);
  expect(answer.headers['content-type']).toBe('application/json');
  if (answer.text !== '') problem.parse(JSON.parse(answer.text));
}

test('the file is what the table says, and what the server serves', async () => {
  expect(`${JSON.stringify(description, null, 2)}\n`).toBe(openapiText());
  expect(description.openapi).toMatch(/^3\.1/);
  expect(JSON.parse((await serving.ask('/api/v1/openapi.json', { headers })).text)).toEqual(description);
  expect(everything.map(({ path }) => path).filter((path) => !path.startsWith('/api/v1/'))).toEqual(['/hooks/approvals']);
  expect(operations.map(({ name }) => name).toSorted()).toEqual(
    [...questions, ...commands]
      .map(({ name }) => name)
      .concat('stream', 'openapi.json')
      .toSorted(),
  );
});

// what waits is asked for in approvals.test.ts
test.each(questions.filter(({ name }) => name !== 'approval').map((question) => [question.name, question] as const))(
  '%s answers in its shape',
  async (name, { answer, parameters }) => {
    const asked = operations.find((one) => one.name === name)!;
    const said = await ask(asked);
    expect(said.status, said.text).toBe(200);
    answer.parse(JSON.parse(said.text));
    // every parameter that is described is read: one that is wrong is refused, one that nobody described too
    for (const parameter of parameters.filter(({ name: one }) =>
      ['ledger', 'index', 'since', 'until', 'offset', 'limit', 'sort', 'wanted'].includes(one),
    ))
      expectProblem(await ask(asked, `${parameter.name}=%3B%3B`), 400, `${name}?${parameter.name}`);
    expectProblem(await ask(asked, `${found[name] ?? ''}&more=1`), 400, name);
    if (parameters.some(({ name: one }) => one === 'limit')) {
      const page = JSON.parse((await ask(asked, 'limit=1&offset=0')).text) as { rows?: unknown[] };
      answer.parse(page);
      if (page.rows !== undefined) expect(page.rows.length).toBeLessThanOrEqual(1);
    }
  },
);

/** Somebody who is not known, as soon as such are answered again: there are more operations than strangers may try at once. */
async function stranger(asked: Asked): Promise<Answer> {
  const said = await ask(asked, '', { headers: { Authorization: 'Bearer x' } });
  if (said.status !== 429) return said;
  await sleep(500);
  return stranger(asked);
}

test('every status that is described comes', async () => {
  use(tokens[1]);
  for (const asked of operations) {
    const { name, method, operation } = asked;
    const statuses = new Set(Object.keys(operation.responses).map(Number));
    if (name === 'decide') key = (JSON.parse((await serving.post('unlock', bodies['unlock']!(''))).text) as { key: string }).key;
    const seen = async (status: number, answer: Promise<Answer>): Promise<void> => {
      const said = await answer;
      expectProblem(said, status, `${method} ${name}`);
      for (const header of Object.keys(operation.responses[status]!.headers ?? {})) expect(said.headers[header.toLowerCase()], header).toBeDefined();
      statuses.delete(status);
    };
    await seen(400, ask(asked, 'nobody=1'));
    await seen(401, stranger(asked));
    await seen(403, ask(asked, '', { headers: { Host: 'evil.example' } }));
    await seen(405, ask(asked, '', { method: 'PUT' }));
    const ledger = serving.ledgers[0]!.id;
    if (statuses.has(404))
      await seen(
        404,
        method === 'GET'
          ? ask(asked, lost[name])
          : ask(asked, '', {
              body: JSON.stringify({ ledger: '0'.repeat(32), ...(name === 'acknowledge' ? { finding: '0'.repeat(12), note: 'x' } : {}) }),
            }),
      );
    if (statuses.has(413)) await seen(413, ask(asked, '', { body: 'x'.repeat(20_000) }));
    if (statuses.has(415)) await seen(415, ask(asked, '', { body: '{}', headers: { 'Content-Type': 'text/plain' } }));
    const body = bodies[name]?.(ledger);
    if (statuses.has(200) && body !== undefined) {
      const said = await serving.post(name, body);
      expect(said.status, said.text).toBe(200);
      commands.find((one) => one.name === name && 'answer' in one && one.answer.parse(JSON.parse(said.text)));
      statuses.delete(200);
      // the secret, or a key for it, is not a token's
      await seen(403, ask(asked, '', { body: JSON.stringify(body) }));
    }
    if (statuses.has(204) && name === 'verify') {
      expect((await ask(asked, '', { body: JSON.stringify({ ledger }) })).status).toBe(204);
      statuses.delete(204);
    }
    if (name === 'stream') {
      expect(await ask(asked, '', { method: 'HEAD' })).toMatchObject({ status: 200, headers: { 'content-type': 'text/event-stream' } });
      statuses.delete(200);
    } else if (method === 'GET') {
      if (name !== 'approval') expect((await ask(asked)).status).toBe(200);
      statuses.delete(200);
    }
    // those that need a flood, or a disk that is full: here, or where the finding and the copy are
    expect(
      [...statuses].filter((status) => ![204, 429, 503].includes(status)),
      name,
    ).toEqual([]);
  }
  // whoever is not known, as often as a guesser asks
  const guess = { headers: { Authorization: 'Bearer x' } };
  await Promise.all(Array.from({ length: dashboardFailures.most }, () => serving.ask('/api/v1/evidence', guess)));
  for (const asked of operations) {
    const said = await ask(asked, '', guess);
    expectProblem(said, 429, asked.name);
    expect(Number(said.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  }
});
