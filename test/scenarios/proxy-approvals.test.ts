/** Requests that wait for a person, behind the proxy and behind `run --url`: real clients, real servers, the real recorder. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { socketPathOf } from '../../src/wire/socket-path.ts';
import { call, decideAt, waitingAt, type Answered } from './approving.ts';
import { cancelled, connect, connectTo, kinds } from './clients.ts';
import { bodyOf, ProxyProgram, serving, written } from './proxy-program.ts';
import { gone, messages, node, ours, root, Stage, sworn, Tap, type Recorded } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

const approvals = (entries: readonly Recorded[]): Recorded[] => entries.filter(({ kind }) => kind === 'approval');
const asks = { rules: [{ name: 'pay', ask: true, tool: ['*/pay', '*/wipe'], timeout: '60s' }] };
const textOf = ({ content }: { content: unknown }): string => (content as { text: string }[])[0]!.text;
const codeOf = (due: Promise<unknown>): Promise<unknown> =>
  due.then(
    () => 'answered',
    (error: unknown) => (error as { code: unknown }).code,
  );

/** What is started has a parent of its own, so that this process is no tapped client and may decide. */
const apart = ['sh', '-c', '"$@"; exit $?', 'sh'];

test('official clients of both eras, before a server over stdio: approved, denied, cancelled, and others go on meanwhile [approval-http]', async () => {
  const stage = new Stage();
  const config = { policy: asks, proxy: { upstreams: { srv: { command: ours('both-eras.ts') } } } };
  const proxy = await ProxyProgram.start(stage, '--config', written(stage, 'sworn.yaml', config));
  const socket = socketPathOf(stage.ledger);
  for (const kind of kinds) {
    const client = await connectTo(kind, proxy.at('/srv/mcp'), 'http');
    // two requests over HTTP come in any order
    const ends = [1, 2].map(() => client.callTool('wipe', {}).then(textOf, (error: { code?: number }) => String(error.code)));
    const [first, second] = await waitingAt(socket, 2);
    expect(textOf(await client.callTool('look', { at: kind })), kind).toContain(kind);
    await decideAt(socket, second!, 'denied', { reason: 'not today' });
    await decideAt(socket, first!, 'approved');
    expect((await Promise.all(ends)).toSorted(), kind).toEqual(['4030', 'wiped']);
    // 2025: a notification of its own; 2026: its stream is closed
    await cancelled(client, 'wipe', {}, async () => void (await waitingAt(socket, 1)));
    await waitingAt(socket, 0);
    expect(textOf(await client.callTool('look', { at: 'after' })), kind).toContain('after');
    await client.close();
  }
  expect((await proxy.end()).code).toBe(0);
  const entries = await stage.finished();
  const ofEach = kinds.flatMap(() => ['denied', 'approved', 'cancelled']);
  expect(approvals(entries).map(({ decision }) => decision)).toEqual(ofEach);
  // each was asked for once, and what was not approved has no result
  const asked = messages(entries, { verdict: 'ask' });
  expect(asked).toHaveLength(ofEach.length);
  const results = asked.map(({ index }) => messages(entries, { exchange: index, type: 'result', origin: 'server' }).length);
  expect(results.reduce((sum, one) => sum + one)).toBe(kinds.length);
});

test('a client on stdio before a server behind HTTP: it waits in the tap, and the server sees nothing before [approval-http]', async () => {
  const stage = new Stage();
  const heard: string[] = [];
  const { port } = await serving((request, response) => {
    void bodyOf(request).then((body) => {
      const { id, method, params } = JSON.parse(body || '{}') as { id?: unknown; method?: string; params?: { name?: string } };
      if (params?.name !== undefined) heard.push(params.name);
      if (id === undefined) return response.writeHead(request.method === 'POST' ? 202 : 405).end();
      const result =
        method === 'initialize'
          ? { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'x', version: '1' } }
          : { content: [{ type: 'text', text: params?.name }] };
      return response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }));
    });
  });
  const file = written(stage, 'sworn.yaml', { policy: asks });
  const words = ['run', '--ledger', stage.ledger, '--name', 'far', '--config', file, '--url', `http://127.0.0.1:${port}/mcp`];
  const client = await connect('sdk 1', [...apart, node, sworn, ...words], stage.env);
  const [yes, no] = [client.callTool('pay', {}), codeOf(client.callTool('pay', {}))];
  const socket = socketPathOf(stage.ledger);
  const [first, second] = await waitingAt(socket, 2);
  expect(textOf(await client.callTool('look', {}))).toBe('look');
  expect(heard).toEqual(['look']);
  await decideAt(socket, first!, 'approved');
  await decideAt(socket, second!, 'denied');
  expect([textOf(await yes), await no, heard]).toEqual(['pay', 4030, ['look', 'pay']]);
  await client.close();
  expect(approvals(await stage.finished()).map(({ decision }) => decision)).toEqual(['approved', 'denied']);
});

interface Behind {
  stage: Stage;
  socket: string;
  proxy: ProxyProgram;
  /** Names of what came there, and where. */
  heard: string[];
  /** Other servers to go to. */
  config(port: 0 | 1): object;
  post(id: number, name: string, signal?: AbortSignal, headers?: Record<string, string>): Promise<{ status: number; text: string }>;
}

/** The proxy before the first of two servers. */
async function behind(more: object = {}): Promise<Behind> {
  const stage = new Stage();
  const heard: string[] = [];
  const ports = await Promise.all(
    [0, 1].map(async (at) => {
      const { port } = await serving((request, response) => {
        void bodyOf(request).then((body) => {
          const { id, params } = JSON.parse(body) as { id: number; params: { name: string } };
          heard.push(`${params.name} at ${at}`);
          response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [] } }));
        });
      });
      return port;
    }),
  );
  const config = (at: 0 | 1): object => ({
    policy: asks,
    proxy: { upstreams: { srv: { url: `http://127.0.0.1:${ports[at]}/mcp`, upstreamTimeoutMs: 300 } } },
    ...more,
  });
  const proxy = await ProxyProgram.start(stage, '--config', written(stage, 'sworn.yaml', config(0)));
  const post = async (id: number, name: string, signal?: AbortSignal, headers = {}): Promise<{ status: number; text: string }> => {
    const response = await fetch(proxy.at('/srv/mcp'), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', ...headers },
      body: JSON.stringify(call(id, name)),
      ...(signal === undefined ? {} : { signal }),
    });
    return { status: response.status, text: await response.text() };
  };
  return { stage, socket: socketPathOf(stage.ledger), proxy, heard, config, post };
}

const answerOf = ({ text }: { text: string }): Answered => JSON.parse(text) as Answered;

test('who waits: longer than a server may take, behind a reload, without the recorder, and not behind its own leaving [approval-http]', async () => {
  const { stage, socket, proxy, heard, config, post } = await behind();
  // a server may take 300 ms, a person may take longer; it goes to the server that it was asked for
  const slow = post(1, 'pay');
  const [waits] = await waitingAt(socket, 1);
  await sleep(600);
  written(stage, 'sworn.yaml', config(1));
  await proxy.says('the configuration was read again', () => proxy.tap.process.kill('SIGHUP'));
  expect(answerOf(await post(2, 'look')).result).toBeDefined();
  await decideAt(socket, waits!, 'approved');
  expect(answerOf(await slow).result).toBeDefined();
  expect(heard).toEqual(['look at 1', 'pay at 0']);

  const left = new AbortController();
  const leaving = post(3, 'pay', left.signal).catch((error: Error) => error.name);
  const [gives] = await waitingAt(socket, 1);
  left.abort();
  expect(await leaving).toBe('AbortError');
  await waitingAt(socket, 0);
  await expect(decideAt(socket, gives!, 'approved')).rejects.toMatchObject({ code: 'not-found' });

  const [lost, passes] = [post(4, 'pay'), post(5, 'pay')];
  const [one, two] = await waitingAt(socket, 2);
  await decideAt(socket, one!, 'approved');
  await Promise.race([lost, passes]);
  const pid = stage.recorderPid!;
  process.kill(pid, 'SIGKILL');
  await gone(pid);
  // the next recorder decides, and nobody gets through
  const answers = (await Promise.all([lost, passes])).map(answerOf);
  expect(answers.filter(({ error }) => error?.code === 4030)).toHaveLength(1);
  expect(answers.find(({ error }) => error !== undefined)!.error!.data).toMatchObject({ decision: 'lost', executed: false });
  await expect(decideAt(socket, two!, 'approved')).rejects.toMatchObject({ code: 'not-found' });
  expect(heard).toEqual(['look at 1', 'pay at 0', 'pay at 1']);
  expect(answerOf(await post(6, 'look')).result).toBeDefined();
  expect((await proxy.end()).code).toBe(0);
  const entries = await stage.finished();
  expect(approvals(entries).map(({ decision }) => decision)).toEqual(['approved', 'cancelled', 'approved', 'lost']);
});

/** A client in a process of its own, which tries to decide on what it asks for. */
const agent = `
  const [ask, url, socket, headers] = process.argv.slice(1);
  const { ask: asked } = await import(ask);
  const due = fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json', ...JSON.parse(headers) },
    body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}' }).then((response) => response.text());
  await new Promise((done) => process.stdin.once('data', done));
  process.stdin.destroy();
  const tries = [];
  for (const question of [['approvals', {}], ['decide', { request: 0, commitment: '', decision: 'approved' }]])
    tries.push(await asked(socket, ...question).then(() => 'let', ({ code }) => code));
  console.log(JSON.stringify(tries));
  console.log(await due);
`;

test('who asks through a proxy that is believed does not decide; its account is said to have, unless it is elsewhere [approval-http]', async () => {
  const { stage, socket, proxy } = await behind({ trustedTaps: ['self'], auth: { trustForwardedFrom: ['127.0.0.1'] } });
  const waiter = join(root, 'src', 'wire', 'ask.ts');
  const selfs: unknown[] = [];
  for (const [headers, isSelf] of [
    [{}, true],
    [{ 'X-Forwarded-For': '192.0.2.7' }, false],
  ] as const) {
    const words = ['--input-type=module', '-e', agent, waiter, proxy.at('/srv/mcp'), socket, JSON.stringify(headers)];
    const child = new Tap(stage.started(spawn(node, words, { env: stage.env, stdio: ['pipe', 'pipe', 'pipe'] })), true);
    const [waits] = await waitingAt(socket, 1);
    expect(waits!.selfOnly === true, JSON.stringify(headers)).toBe(isSelf);
    await child.write('now\n');
    await child.output.count(1);
    // behind another proxy nobody knows its process
    if (isSelf) expect(JSON.parse(child.output.lines[0]!)).toEqual(['permission', 'permission']);
    selfs.push((await decideAt(socket, waits!, 'approved'))['selfApproved']);
    await child.output.count(2);
    expect(JSON.parse(child.output.lines[1]!)).toMatchObject({ id: 1, result: {} });
  }
  expect(selfs).toEqual([true, undefined]);
  expect((await proxy.end()).code).toBe(0);
  const entries = await stage.finished();
  expect(approvals(entries).map(({ selfApproved }) => selfApproved)).toEqual([true, undefined]);
});
