/** Servers over stdio behind the proxy: official clients of every kind over HTTP, a process for each session or one for all, and none that is left. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { isLong } from '../long.ts';
import { cancelled, connectTo, kinds, type AnyClient, type ClientKind } from './clients.ts';
import { ProxyProgram, written } from './proxy-program.ts';
import { gone, isAlive, messages, official, ours, Stage, type Recorded } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

type Sessions = 'each' | 'shared';

interface Behind {
  stage: Stage;
  proxy: ProxyProgram;
  url: URL;
  /** What the processes of the server read, each its own. */
  heard(): string[];
  connect(kind: ClientKind, offers?: boolean): Promise<AnyClient>;
  ended(): Promise<Recorded[]>;
}

/** The proxy in front of `server`, with a shim between that keeps what its processes read. */
async function behind(server: string[], sessions: Sessions): Promise<Behind> {
  const stage = new Stage();
  const folder = join(stage.folder, 'shims');
  mkdirSync(folder);
  const command = ours('shim.ts', folder, 'server', '--', ...server);
  const proxy = await ProxyProgram.start(stage, '--config', written(stage, 'sworn.yaml', { proxy: { upstreams: { srv: { command, sessions } } } }));
  const url = new URL(proxy.at('/srv/mcp'));
  return {
    stage,
    proxy,
    url,
    heard: () =>
      readdirSync(folder)
        .filter((name) => name.endsWith('.server.in'))
        .map((name) => readFileSync(join(folder, name), 'utf8')),
    connect: (kind, offers) => connectTo(kind, url.href, 'http', offers),
    ended: async () => {
      expect((await proxy.end()).code).toBe(0);
      expect(processes(stage)).toEqual([]);
      return stage.finished();
    },
  };
}

/** Processes of servers that name our folder; the shim's command line does. */
function processes(stage: Stage): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(join(stage.folder, 'shims')) && isAlive(pid);
      } catch {
        return false;
      }
    });
}

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await sleep(10);
};

const withoutAnomalies = (entries: readonly Recorded[]): void => {
  expect(messages(entries).filter(({ anomalies }) => anomalies !== undefined)).toEqual([]);
};

const allCases = (['each', 'shared'] as const).flatMap((sessions) => kinds.map((kind) => [sessions, kind] as const));
/** Each client once in the usual run, all pairs with `SWORN_LONG=1`. */
const cases = allCases.filter(([sessions, kind]) => isLong || (sessions === 'each') === (kind === 'sdk 1' || kind === 'pinned-modern'));

test.each(cases)('%s, %s: tools, resources, prompts, progress, cancellation [proxy-stdio]', async (sessions, kind) => {
  const { connect: open, ended, heard, stage } = await behind(ours('both-eras.ts'), sessions);
  const client = await open(kind, true);
  expect((await client.listTools()).tools.map(({ name }) => name)).toContain('look');
  expect(await client.callTool('look', { at: 'zwölf\n' })).toMatchObject({ content: [{ text: 'seen zwölf\n' }] });
  expect(await client.callTool('fail', {})).toMatchObject({ isError: true });
  await expect(client.callTool('nothing', {}).then((result) => (result.isError ? Promise.reject(new Error('none')) : result))).rejects.toThrow();
  const progress: unknown[] = [];
  await client.callTool('steps', { count: 3 }, { onprogress: (one) => progress.push(one) });
  expect(progress).toHaveLength(3);
  if (kind === 'auto' || kind === 'pinned-modern') expect(JSON.stringify(await client.callTool('confirm', {}))).toContain('confirmed by scenario');
  await client.readResource('note://one');
  await client.getPrompt('greet', { who: 'you' });
  await cancelled(client, 'wait', {}, () => until(() => heard().join('').includes('"wait"')));
  // the server is told, in either era
  await until(() => heard().join('').includes('notifications/cancelled'));
  expect(await client.callTool('look', { at: 'last' })).toMatchObject({ content: [{ text: 'seen last' }] });
  await client.close();
  if (sessions === 'each' && (kind === 'sdk 1' || kind === 'legacy')) await until(() => processes(stage).length === 0);
  withoutAnomalies(await ended());
});

test.each(['each', 'shared'] as const)('%s: what server-everything asks and logs reaches its client [proxy-stdio]', async (sessions) => {
  const { connect: open, ended } = await behind(official('everything'), sessions);
  const client = await open('sdk 1', true);
  const sampled = await client.callTool('trigger-sampling-request', { prompt: 'hello', maxTokens: 5 });
  expect(JSON.stringify(sampled)).toContain('sampled');
  await client.callTool('trigger-elicitation-request', {});
  expect(JSON.stringify(await client.callTool('get-roots-list', {}))).toContain('file:///scenario');
  const progress: unknown[] = [];
  await client.callTool('trigger-long-running-operation', { duration: 0.2, steps: 4 }, { onprogress: (one) => progress.push(one) });
  expect(progress.length).toBeGreaterThan(2);
  await client.callTool('toggle-simulated-logging', {});
  await client.callTool('echo', { message: 'last' });
  await client.close();
  const entries = await ended();
  for (const method of ['sampling/createMessage', 'elicitation/create', 'roots/list'])
    expect(messages(entries, { method, type: 'result' })[0], method).toMatchObject({ direction: 'c2s', outcome: 'ok' });
  withoutAnomalies(entries);
});

test.each(['sdk 1', 'pinned-modern'] as const)('shared, %s: two clients with the same ids and progress tokens [proxy-stdio]', async (kind) => {
  const { connect: open, ended, heard } = await behind(ours('both-eras.ts'), 'shared');
  const [one, two] = [await open(kind), await open(kind)];
  const progress: [unknown[], unknown[]] = [[], []];
  const stop = new AbortController();
  const waiting = one.callTool('wait', {}, { signal: stop.signal, onprogress: () => undefined }).catch((error: unknown) => error);
  await until(() => heard().join('').includes('"wait"'));
  // its first call has the id of the one that waits, and another one than the one that waits
  for (let i = 0; i < 4; i++) {
    const [a, b] = await Promise.all(
      [one, two].map((client, at) => client.callTool('steps', { count: i + at + 1 }, { onprogress: (step) => progress[at]!.push(step) })),
    );
    expect([a, b]).toMatchObject([{ content: [{ text: `${i + 1} steps` }] }, { content: [{ text: `${i + 2} steps` }] }]);
  }
  expect(progress.map((steps) => steps.length)).toEqual([10, 14]);
  // what the second one cancels is its own
  const other = cancelled(two, 'wait', {}, () => until(() => heard().join('').split('"name":"wait"').length > 2));
  await other;
  await until(() => heard().join('').includes('notifications/cancelled'));
  expect(await two.callTool('look', { at: 'x' })).toMatchObject({ content: [{ text: 'seen x' }] });
  const first = await Promise.race([waiting, sleep(200, 'still waits')]);
  expect(first).toBe('still waits');
  stop.abort();
  await waiting;
  await Promise.all([one.close(), two.close()]);
  expect(heard()).toHaveLength(1);
  const entries = await ended();
  withoutAnomalies(entries);
  // what clients wrote is what is recorded; the other id is the process's alone
  expect(Buffer.concat(entries.flatMap(({ frame }) => frame ?? [])).toString()).not.toContain('sworn-');
});

const initialize = (id: unknown): string =>
  JSON.stringify({
    jsonrpc: '2.0',
    id,
    method: 'initialize',
    params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
  });
const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };

async function session(url: URL): Promise<{ post(message: object | string): Promise<Response>; id: string; end(): Promise<number> }> {
  const response = await fetch(url, { method: 'POST', headers, body: initialize('begin') });
  const id = response.headers.get('mcp-session-id')!;
  await response.text();
  const own = { ...headers, 'Mcp-Session-Id': id };
  return {
    id,
    post: (message) => fetch(url, { method: 'POST', headers: own, body: typeof message === 'string' ? message : JSON.stringify(message) }),
    end: async () => (await fetch(url, { method: 'DELETE', headers: own })).status,
  };
}

/** A server that says on stdout what each line that it reads asks for: the `say` of its params. */
const parrot = [
  process.execPath,
  '-e',
  `require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const message = JSON.parse(line);
    for (const one of [message].flat()) {
      if (one.method === 'initialize') console.log(JSON.stringify({ jsonrpc: '2.0', id: one.id, result: { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 'parrot', version: '1' } } }));
      for (const say of one.params?.say ?? []) console.log(typeof say === 'string' ? say : JSON.stringify(say));
      if (one.method === 'die') process.exit(3);
    }
  }).on('close', () => process.exit(0))`,
];

test('ids and tokens come back as they were written, every other byte stays, and so do batches [proxy-stdio]', async () => {
  const { url, ended, heard } = await behind(parrot, 'shared');
  const [one, two] = [await session(url), await session(url)];
  const hold = (n: number): string =>
    `{"jsonrpc":"2.0" , "big":12345678901234567890,"id":1.0,"method":"hold","params":{"_meta":{"progressToken":7}},"n":${n}}`;
  const held = [one.post(hold(0))];
  await until(() => heard()[0]!.includes('"hold"'));
  held.push(two.post(hold(1)));
  await until(() => heard()[0]!.split('"hold"').length === 3);
  const lines = heard()[0]!
    .split('\n')
    .filter((line) => line.includes('"hold"'));
  expect(lines[0]).toBe('{"jsonrpc":"2.0" , "big":12345678901234567890,"id":1.0,"method":"hold","params":{"_meta":{"progressToken":7}},"n":0}');
  const [, id] = /"id":("sworn-[^"]+")/.exec(lines[1]!)!;
  const [, token] = /"progressToken":("sworn-[^"]+")/.exec(lines[1]!)!;
  expect(lines[1]!.replace(id!, '1.0').replace(token!, '7')).toBe(lines[0]!.replace('"n":0', '"n":1'));
  // the server says something about both, and answers both: in one batch
  const say = [
    `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},"progress":2}}`,
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7.0,"progress":1}}',
    `[{"jsonrpc":"2.0","id":${id},"result":{"to": "two"}},{"jsonrpc":"2.0","id":1,"result":{"to": "one"}}]`,
  ];
  await (await one.post({ jsonrpc: '2.0', method: 'now', params: { say } })).text();
  const [first, second] = await Promise.all(held.map(async (due) => (await due).text()));
  expect(first).toBe(
    'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7.0,"progress":1}}\n\nevent: message\ndata: {"jsonrpc":"2.0","id":1,"result":{"to": "one"}}\n\n',
  );
  expect(second).toBe(
    'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":2}}\n\nevent: message\ndata: {"jsonrpc":"2.0","id":1.0,"result":{"to": "two"}}\n\n',
  );
  // a batch of a client, over several lines
  const batch = await one.post(
    '[\n{"jsonrpc":"2.0","id":5,"method":"x","params":{"say":[{"jsonrpc":"2.0","id":5,"result":{}}]}},\n{"jsonrpc":"2.0","method":"y"}]',
  );
  expect(await batch.text()).toContain('"id":5,"result":{}');
  expect(heard()[0]!).toContain('[ {"jsonrpc":"2.0","id":5');
  expect([await one.end(), await two.end()]).toEqual([200, 200]);
  await ended();
});

test('nobody hears, answers or cancels what another client is asked, and what is asked of nobody in particular is refused [proxy-stdio]', async () => {
  const { url, ended, heard } = await behind(parrot, 'shared');
  const [one, two] = [await session(url), await session(url)];
  const question = { jsonrpc: '2.0', id: 'q', method: 'elicitation/create', params: { message: 'your secret?' } };
  // one alone has something under way: it is asked
  const asked = one.post({ jsonrpc: '2.0', id: 1, method: 'ask', params: { say: [question] } });
  await until(() => heard()[0]!.includes('"ask"'));
  expect((await two.post({ jsonrpc: '2.0', id: 'q', result: { stolen: true } })).status).toBe(202);
  await two.post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
  expect((await one.post({ jsonrpc: '2.0', id: 'q', result: { own: true } })).status).toBe(202);
  await until(() => heard()[0]!.includes('"own"'));
  expect(heard()[0]!).not.toContain('stolen');
  expect(heard()[0]!).not.toContain('cancelled');
  // both have: it cannot be known
  const both = two.post({ jsonrpc: '2.0', id: 2, method: 'ask', params: { say: [{ ...question, id: 'r' }] } });
  await until(() => heard()[0]!.includes('which of them is asked cannot be known'));
  const answer = (id: number): object => ({ jsonrpc: '2.0', id, result: {} });
  await one.post({ jsonrpc: '2.0', method: 'now', params: { say: [answer(2), answer(1)] } });
  expect(await (await asked).text()).toContain('your secret?');
  expect(JSON.parse(await (await both).text())).toEqual(answer(2));
  await ended();
});

test.each(['each', 'shared'] as const)(
  '%s: a server that dies ends what waits for it, and its session; the next one has another process [proxy-stdio]',
  async (sessions) => {
    const { url, ended, stage } = await behind(parrot, sessions);
    const one = await session(url);
    const response = await one.post({ jsonrpc: '2.0', id: 1, method: 'die' });
    expect([response.status, await response.json()]).toEqual([
      502,
      { jsonrpc: '2.0', id: 1, error: { code: -32000, message: 'the server has ended' } },
    ]);
    expect((await one.post({ jsonrpc: '2.0', id: 2, method: 'x' })).status).toBe(404);
    const next = await session(url);
    expect((await next.post({ jsonrpc: '2.0', id: 3, method: 'x', params: { say: [{ jsonrpc: '2.0', id: 3, result: {} }] } })).status).toBe(200);
    expect(processes(stage).length).toBeGreaterThan(0);
    const entries = await ended();
    expect(messages(entries, { type: 'error', id: '1' })).toMatchObject([{ http: { status: 502 }, outcome: 'error', code: -32000 }]);
  },
);

test('a command that cannot be started is said to the client, to the operator, and in the record [proxy-stdio]', async () => {
  const stage = new Stage();
  const config = written(stage, 'sworn.yaml', { proxy: { upstreams: { srv: { command: ['/nowhere/at-all', '--flag'] } } } });
  const proxy = await ProxyProgram.start(stage, '--config', config);
  const url = new URL(proxy.at('/srv/mcp'));
  const response = await fetch(url, { method: 'POST', headers, body: initialize(1) });
  expect(response.status).toBe(502);
  expect(await response.json()).toMatchObject({ id: 1, error: { message: expect.stringMatching(/cannot be started.*ENOENT/) as string } });
  // no kind of client takes it for an old server, or waits
  for (const kind of kinds) await expect(connectTo(kind, url.href, 'http')).rejects.toThrow(/cannot be started|HTTP 502/);
  expect(proxy.tap.errors.text).toMatch(/srv: the server cannot be started: .*ENOENT/);
  expect((await proxy.end()).code).toBe(0);
  const entries = await stage.finished();
  expect(messages(entries, { type: 'error' })[0]).toMatchObject({ method: 'initialize', http: { status: 502 } });
});

test.each(['SIGTERM', 'SIGKILL'] as const)('the processes end with the proxy: %s [proxy-stdio]', async (signal) => {
  const { stage, proxy, connect: open } = await behind(ours('both-eras.ts'), 'each');
  const clients = [await open('sdk 1'), await open('legacy'), await open('pinned-modern')];
  await Promise.all(clients.map((client) => client.listTools()));
  const running = processes(stage);
  expect(running.length).toBeGreaterThanOrEqual(3);
  await proxy.end(signal);
  await Promise.all(running.map((pid) => gone(pid)));
  await Promise.all(clients.map((client) => client.close().catch(() => undefined)));
  await stage.finished();
});
