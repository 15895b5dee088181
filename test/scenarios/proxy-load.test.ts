/**
 * Many streams, many calls, large and slow bodies. `npm run load` for the sizes that are promised (4,000 streams, 1,000 calls at a time, 100 MB); the usual
 * form has a tenth of each, and a call takes a hundredth of the ten minutes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, createServer, request as requestHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { BodyBudget } from '../../src/proxy/budget.ts';
import { relay } from '../../src/proxy/relay.ts';
import { HeaderMemory } from '../../src/proxy/seen-headers.ts';
import { Upstream } from '../../src/proxy/upstream.ts';
import { Channel } from '../../src/wire/channel.ts';
import { socketPathOf } from '../../src/wire/socket-path.ts';
import { isDelivered, ProxyStage } from './proxy-stage.ts';
import { messages, Stage } from './stage.ts';

const isWhole = process.env['SWORN_LOAD'] !== undefined;
const streams = isWhole ? 4_000 : 400;
const calls = isWhole ? 1_000 : 100;
const longMs = isWhole ? 600_000 : 6_000;
const largeBytes = isWhole ? 100_000_000 : 10_000_000;

const MiB = 1 << 20;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
}

/** A proxy in front of what `accept` does. */
async function inFrontOf(accept: (request: IncomingMessage, response: ServerResponse) => void, options: string[] = []): Promise<ProxyStage> {
  const stage = new ProxyStage();
  const server = createServer({ requestTimeout: 0 }, accept);
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 });
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return stage.start(options, `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
}

function ask(stage: ProxyStage, method: string, body: string | Buffer, agent: Agent): Promise<IncomingMessage> {
  return new Promise((done, fail) => {
    const request = requestHttp({ port: stage.port, host: '127.0.0.1', path: '/mcp', method, agent });
    request.on('response', done).on('error', fail).end(body);
  });
}

async function whole(response: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

test(`${streams} idle streams cost little, and each hears what is said to it [proxy-load]`, async () => {
  const open: ServerResponse[] = [];
  const stage = await inFrontOf((_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
    open.push(response);
  });
  const agent = new Agent({ maxSockets: Infinity });
  const before = residentMiB(stage.proxy!.pid!);
  const clients: IncomingMessage[] = [];
  const heard: Promise<unknown>[] = [];
  while (clients.length < streams) {
    const some = await Promise.all(Array.from({ length: 100 }, () => ask(stage, 'GET', '', agent)));
    clients.push(...some);
    for (const client of some) client.on('error', () => undefined);
    heard.push(...some.map((client) => once(client, 'data')));
  }
  // two sockets, two parsers, a stream
  expect(residentMiB(stage.proxy!.pid!) - before).toBeLessThan(100 + 0.12 * streams);
  for (const [at, response] of open.entries()) response.write(`data: {"jsonrpc":"2.0","method":"notifications/message","params":{"at":${at}}}\n\n`);
  await Promise.all(heard);
  // half of the clients leave, and the server leaves the others
  for (const [at, client] of clients.entries()) if (at % 2 === 0) client.destroy();
  const left = clients.filter((_, at) => at % 2 === 1).map((client) => once(client.resume(), 'close'));
  for (const response of open) response.end();
  await Promise.all(left);
  const entries = await stage.ended();
  const said = messages(entries, { method: 'notifications/message' });
  expect(new Set(said.map(({ frame }) => frame!.toString())).size).toBe(streams);
  expect(said.length).toBe(streams);
  // looking for each takes a look at all of them
  expect(said.slice(0, 200).every((one) => isDelivered(entries, one))).toBe(true);
}, 300_000);

test(`${calls} calls at a time are each answered with their own answer, and recorded once [proxy-load]`, async () => {
  const stage = await inFrontOf((request, response) => {
    void whole(request).then(async (body) => {
      const { id } = JSON.parse(body.toString()) as { id: number };
      await sleep((id * 7) % 50);
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result: { of: id } }));
    });
  });
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  onTestFinished(() => agent.destroy());
  for (let round = 0; round < 2; round++) {
    const answers = await Promise.all(
      Array.from({ length: calls }, async (_, at) => {
        const id = round * calls + at;
        const answer = await whole(
          await ask(stage, 'POST', JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'x' } }), agent),
        );
        return (JSON.parse(answer.toString()) as { result: { of: number } }).result.of - id;
      }),
    );
    expect(answers.every((difference) => difference === 0)).toBe(true);
  }
  const entries = await stage.ended();
  const requests = messages(entries, { type: 'request' });
  const results = messages(entries, { type: 'result' });
  expect([requests.length, results.length]).toEqual([2 * calls, 2 * calls]);
  const streamOf = new Map(requests.map(({ index, stream }) => [index, stream as number]));
  expect(results.every(({ exchange, stream }) => streamOf.get(exchange as number) === stream)).toBe(true);
}, 300_000);

test(`a call of ${longMs / 1_000} s, said in silence or in a stream, is in the record from its beginning, and answered [proxy-load]`, async () => {
  const stage = await inFrontOf((request, response) => {
    void whole(request).then(async (body) => {
      const { id } = JSON.parse(body.toString()) as { id: string };
      const answer = JSON.stringify({ jsonrpc: '2.0', id, result: { of: id } });
      if (id === 'stream') response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      await sleep(longMs);
      if (id === 'stream') response.end(`data: ${answer}\n\n`);
      else response.writeHead(200, { 'Content-Type': 'application/json' }).end(answer);
    });
  });
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const ids = ['silent', 'stream'];
  const due = ids.map(async (id) => {
    const from = performance.now();
    const body = JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'x' } });
    const answer = (await whole(await ask(stage, 'POST', body, agent))).toString();
    return { answer, ms: performance.now() - from };
  });
  await sleep(longMs / 2);
  expect(
    messages(stage.entries(), { type: 'request' })
      .map(({ id }) => JSON.parse(id as string) as string)
      .toSorted(),
  ).toEqual(ids);
  expect(messages(stage.entries(), { type: 'result' })).toEqual([]);
  for (const [i, { answer, ms }] of (await Promise.all(due)).entries()) {
    expect(answer).toContain(`{"of":"${ids[i]}"}`);
    expect(ms).toBeGreaterThan(longMs - 50);
  }
  const entries = await stage.ended();
  expect(messages(entries, { type: 'result' }).every((one) => isDelivered(entries, one))).toBe(true);
  expect(messages(entries, { type: 'result' })).toHaveLength(2);
}, 900_000);

test(`a body of ${largeBytes} bytes passes both ways and is recorded whole; what is larger than the bound is refused [proxy-load]`, async () => {
  let seen = '';
  const stage = await inFrontOf((request, response) => {
    void whole(request).then((body) => {
      seen = sha256(body);
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length }).end(body);
    });
  });
  const agent = new Agent();
  const body = Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"m","params":"${randomBytes(largeBytes / 2).toString('hex')}"}`);
  const answer = await whole(await ask(stage, 'POST', body, agent));
  expect([seen, sha256(answer)]).toEqual([sha256(body), sha256(body)]);
  if (isWhole) {
    const client = await stage.client();
    await client.write(`POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${stage.port}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const chunk = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(MiB, 'x'), Buffer.from('\r\n')]);
    for (let i = 0; i < 257 && client.now() === undefined; i++) await client.write(chunk);
    expect((await client.next()).line).toBe('HTTP/1.1 413 Payload Too Large');
  }
  const entries = await stage.ended();
  const [asked, answered] = messages(entries);
  expect(asked!['parts']).toBe(Math.ceil(body.length / MiB));
  expect([sha256(asked!.frame!), sha256(answered!.frame!)]).toEqual([sha256(body), sha256(body)]);
}, 300_000);

test('a body that does not come gets 408; one that comes slowly, or waits for room, goes on [proxy-slow]', async () => {
  const stage = new Stage();
  expect((await stage.command('recorder', 'start', '--ledger', stage.ledger)).code).toBe(0);
  const received: string[] = [];
  const behind = createServer((request, response) => {
    void whole(request).then((body) => {
      received.push(body.toString());
      response.end('{}');
    });
  });
  behind.listen(0, '127.0.0.1');
  await once(behind, 'listening');
  const problems: string[] = [];
  const channel = new Channel(
    { socket: socketPathOf(stage.ledger), ledger: stage.ledger, external: true },
    () => ({
      wire: [1, 1],
      connection: 'c'.repeat(32),
      transport: 'http',
      server: 'slow',
      labels: {},
      argv: [],
      cwd: '/',
      mode: 'commit',
      onUnrecordable: 'block',
      overrides: { sensitive: [], write: [], read: [] },
      openedAt: Date.now(),
      token: 'd'.repeat(32),
    }),
    { unreachable: (reason) => problems.push(reason), reached: () => undefined },
  );
  channel.start();
  const rules = { authorization: true, cookies: false, remove: [], set: [] };
  const upstream = new Upstream(
    { name: 'slow', url: new URL(`http://127.0.0.1:${(behind.address() as AddressInfo).port}/mcp`), mount: '', rules, upstreamTimeoutMs: 0 },
    channel,
  );
  // no room for a second chunk, and half a second for the next byte
  const budget = new BodyBudget(1, 500);
  const who = 'a'.repeat(32);
  channel.name(who, { observed: {}, declared: {} });
  const proxy = createServer(
    (request, response) => void relay(request, response, { who, headers: new HeaderMemory().read(request.rawHeaders) }, upstream, '/mcp', budget),
  );
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => {
    upstream.close();
    for (const one of [behind, proxy]) {
      one.closeAllConnections();
      one.close();
    }
  });
  const post = (): ReturnType<typeof requestHttp> =>
    requestHttp({
      port: (proxy.address() as AddressInfo).port,
      host: '127.0.0.1',
      method: 'POST',
      agent: false,
      headers: { 'Transfer-Encoding': 'chunked' },
    });
  const halted = post();
  halted.on('error', () => undefined);
  halted.write('{"half":');
  const slow = post();
  const answers = Promise.all([halted, slow].map(async (one) => ((await once(one, 'response')) as [IncomingMessage])[0].statusCode));
  for (let i = 0; i < 4; i++) {
    slow.write('[');
    await sleep(300);
  }
  slow.end();
  expect(await answers).toEqual([408, 200]);
  expect(received).toEqual(['[[[[']);
  await channel.close('signal', 5_000);
  expect(problems).toEqual([]);
  const entries = await stage.finished();
  const refused = messages(entries).filter(({ http }) => http?.end === 'body too slow');
  expect(refused.map(({ direction, http }) => [direction, http.status, http.own])).toEqual([
    ['c2s', undefined, undefined],
    ['s2c', 408, true],
  ]);
});
