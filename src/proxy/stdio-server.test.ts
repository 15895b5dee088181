import { request, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { StdioServer } from './stdio-server.ts';
import type { HttpSettings } from './upstream.ts';

/** A server that says who it is. */
const command = [
  process.execPath,
  '-e',
  `require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id } = JSON.parse(line);
    if (line.includes('"flood"')) for (let i = 0; i < 64; i++) console.log(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/x', params: { text: 'x'.repeat(1e5) } }));
    if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { pid: process.pid } }));
  }).on('close', () => process.exit(0))`,
];

async function started(sessions: 'each' | 'shared', idleMs: number, patienceMs?: number): Promise<{ server: StdioServer; at: HttpSettings }> {
  const server = new StdioServer({ name: 'x', mount: '/x', command, sessions }, (problem) => expect.unreachable(problem), idleMs, patienceMs);
  onTestFinished(() => server.close());
  return { server, at: await server.listen() };
}

async function post(
  at: HttpSettings,
  method: string,
  session?: string,
  verb = 'POST',
): Promise<{ status: number; session: string; pid: number; body: string }> {
  const headers = session === undefined ? {} : { 'Mcp-Session-Id': session };
  const outgoing = request({ socketPath: at.socketPath, method: verb, path: '/mcp', headers });
  outgoing.end(verb === 'POST' ? JSON.stringify({ jsonrpc: '2.0', id: 1, method }) : '');
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
  const body = Buffer.concat(parts).toString();
  const pid = body.startsWith('{') ? ((JSON.parse(body) as { result?: { pid: number } }).result?.pid ?? 0) : 0;
  return { status: response.statusCode!, session: response.headers['mcp-session-id'] as string, pid, body };
}

async function gone(pid: number): Promise<void> {
  const isThere = (): boolean => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      return stat[stat.lastIndexOf(')') + 2] !== 'Z';
    } catch {
      return false;
    }
  };
  while (isThere()) await sleep(10);
}

test.each(['each', 'shared'] as const)('%s: who says nothing for long has no process any more', async (sessions) => {
  const { at } = await started(sessions, 50);
  const begun = await post(at, 'initialize');
  expect(begun.pid).toBeGreaterThan(0);
  await gone(begun.pid);
  expect((await post(at, 'x', begun.session)).status).toBe(404);
  const again = await post(at, 'initialize');
  expect([again.status, again.pid === begun.pid, again.session === begun.session]).toEqual([200, false, false]);
});

test('the end of a session ends its process, and of no other one', async () => {
  const { at } = await started('each', 60_000);
  const [one, two] = [await post(at, 'initialize'), await post(at, 'initialize')];
  expect(one.pid).not.toBe(two.pid);
  expect((await post(at, '', one.session, 'DELETE')).status).toBe(200);
  await gone(one.pid);
  expect((await post(at, '', one.session, 'DELETE')).status).toBe(404);
  expect((await post(at, 'x', two.session)).pid).toBe(two.pid);
});

test.each(['each', 'shared'] as const)('a session that is kept does not expire, and afterwards does: %s', async (sessions) => {
  const { at } = await started(sessions, 100);
  const { session, pid } = await post(at, 'initialize');
  const [first, second] = [at.keep!(session), at.keep!(session)];
  await sleep(300);
  first();
  await sleep(300);
  expect(await post(at, 'ping', session)).toMatchObject({ status: 200, pid });
  second();
  expect((await post(at, 'ping', session)).pid).toBe(pid);
  await gone(pid);
  expect((await post(at, 'ping', session)).status).toBe(404);
});

test('of sessions that share a process none ends it, and closing ends it', async () => {
  const { server, at } = await started('shared', 60_000);
  const [one, two] = [await post(at, 'initialize'), await post(at, 'initialize')];
  expect(one.pid).toBe(two.pid);
  expect((await post(at, '', one.session, 'DELETE')).status).toBe(200);
  expect((await post(at, 'x', two.session)).pid).toBe(one.pid);
  expect((await post(at, 'without a session')).pid).toBe(one.pid);
  await server.close();
  await gone(one.pid);
});

test('what is no message, no session, and no method of ours is said to be so', async () => {
  const { at } = await started('each', 60_000);
  expect([
    (await post(at, '', undefined, 'GET')).status,
    (await post(at, '', undefined, 'DELETE')).status,
    (await post(at, '', undefined, 'PUT')).status,
  ]).toEqual([405, 405, 405]);
  expect((await post(at, 'x', 'nobody')).status).toBe(404);
  expect((await post(at, '', 'nobody', 'GET')).status).toBe(404);
});

/** A stream of a session that nobody reads yet. */
async function unread(at: HttpSettings, session: string): Promise<IncomingMessage> {
  const outgoing = request({ socketPath: at.socketPath, path: '/mcp', headers: { 'Mcp-Session-Id': session } });
  outgoing.on('error', () => undefined).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  response.on('error', () => undefined);
  return response.pause();
}

test('a client that takes nothing is waited for, and loses nothing; its session can be ended all the same', async () => {
  const { at } = await started('each', 60_000);
  for (const isRead of [true, false]) {
    const { session, pid } = await post(at, 'initialize');
    const stream = await unread(at, session);
    const flooded = post(at, 'flood', session);
    if (isRead) {
      const parts: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => parts.push(chunk)).resume();
      expect((await flooded).pid).toBe(pid);
      const all = (): Buffer => Buffer.concat(parts);
      while (all().length < 64e5) await once(stream, 'data');
      while (!all().subarray(-2).equals(Buffer.from('\n\n'))) await once(stream, 'data');
      expect(all().toString().split('data: ').length - 1).toBe(64);
    }
    expect((await post(at, '', session, 'DELETE')).status).toBe(200);
    await gone(pid);
    await flooded;
    stream.destroy();
  }
});

test('where others share the server, a client that takes nothing loses its stream and keeps nobody waiting', async () => {
  const { at } = await started('shared', 60_000, 50);
  const [one, two] = [await post(at, 'initialize'), await post(at, 'initialize')];
  const stream = await unread(at, one.session);
  const broken = new Promise((done) => stream.on('close', done));
  expect((await post(at, 'flood', two.session)).body).toContain(`"result":{"pid":${two.pid}}`);
  stream.resume();
  await broken;
  expect(stream.complete).toBe(false);
});
