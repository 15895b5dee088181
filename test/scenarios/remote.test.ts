/** `sworn run --url`: real clients on stdio, real servers behind HTTP; and what servers do wrong. */
import { execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { isLong } from '../long.ts';
import { connect, kinds, type AnyClient, type ClientKind } from './clients.ts';
import { frames, line, messages, node, official, root, Stage, sworn, Tap, type TapOptions } from './stage.ts';

vi.setConfig({ testTimeout: 180_000 });

const words = (stage: Stage, url: string, options: readonly string[] = []): string[] => [
  node,
  sworn,
  'run',
  '--ledger',
  stage.ledger,
  '--name',
  'far',
  '--url',
  url,
  ...options,
];

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** The official server over HTTP; resolves when it listens. */
async function everything(stage: Stage, transport: 'streamableHttp' | 'sse'): Promise<string> {
  const port = await freePort();
  const [file, ...args] = official('everything', transport);
  const child = stage.started(spawn(file!, args, { env: { ...stage.env, PORT: String(port) }, stdio: ['ignore', 'ignore', 'pipe'] }));
  await new Promise<void>((done) => child.stderr.on('data', (chunk: Buffer) => chunk.includes('on port') && done()));
  return `http://127.0.0.1:${port}/${transport === 'sse' ? 'sse' : 'mcp'}`;
}

/** The server of the conformance suite, in both eras. */
async function bothEras(stage: Stage): Promise<string> {
  const child = stage.started(spawn(node, [join(root, 'test', 'conformance', 'server-http.ts')], { stdio: ['pipe', 'pipe', 'inherit'] }));
  return new Promise((done) => child.stdout.once('data', (chunk: Buffer) => done(chunk.toString().trim())));
}

const textOf = ({ content }: { content: unknown }): string => (content as { text: string }[])[0]!.text;

async function talkToEverything(client: AnyClient): Promise<void> {
  expect((await client.listTools()).tools.map(({ name }) => name)).toContain('echo');
  const echoes = Array.from({ length: 10 }, (_, i) => client.callTool('echo', { message: `${i} zürich` }));
  expect((await Promise.all(echoes)).map(textOf)).toEqual(Array.from({ length: 10 }, (_, i) => `Echo: ${i} zürich`));
  // the client leaves out what comes together with the reply: the record knows
  await client.callTool('trigger-long-running-operation', { duration: 0.2, steps: 2 }, { onprogress: () => undefined });
  // the server asks the client, on whatever stream it has
  expect(textOf(await client.callTool('trigger-sampling-request', { prompt: 'x', maxTokens: 5 }))).toContain('sampled');
}

/** Which client each transport does without in the usual run: the other has it. */
const leftOut = { streamableHttp: 'legacy', sse: 'auto' } as const;

describe.each(['streamableHttp', 'sse'] as const)('the official server over %s', (transport) => {
  test.each(kinds.filter((kind) => kind !== 'pinned-modern' && (isLong || kind !== leftOut[transport])))('%s', async (kind) => {
    const stage = new Stage();
    const client = await connect(kind, words(stage, await everything(stage, transport)), stage.env, true);
    await talkToEverything(client);
    await client.close();
    const entries = await stage.finished();
    expect(messages(entries, { method: 'tools/call', type: 'request' }).length).toBe(12);
    expect(messages(entries, { method: 'notifications/progress' }).length).toBe(2);
    expect(messages(entries, { direction: 'c2s', type: 'result' }).length).toBeGreaterThanOrEqual(1);
    expect(frames(entries, 'c2s').some((frame) => frame.includes('zürich'))).toBe(true);
  });
});

describe('a server of both eras', () => {
  test.each(kinds)('%s', async (kind: ClientKind) => {
    const stage = new Stage();
    const client = await connect(kind, words(stage, await bothEras(stage)), stage.env, true);
    await client.listTools();
    const calls = Array.from({ length: 10 }, () => client.callTool('test_simple_text', {}));
    for (const result of await Promise.all(calls)) expect(textOf(result)).toContain('simple text');
    await client.callTool('test_tool_with_progress', {}, { onprogress: () => undefined });
    expect((await client.callTool('test_error_handling', {})).isError).toBe(true);
    // an argument that goes into a header too, and is no plain text
    expect(textOf(await client.callTool('test_header_argument', { region: 'zürich ' }))).toBe('region zürich ');
    const isModern = kind === 'auto' || kind === 'pinned-modern';
    // the server closes the stream before it answers: it is taken up again
    if (!isModern) expect(textOf(await client.callTool('test_reconnection', {}))).toContain('Reconnection');
    if (!isModern) expect(textOf(await client.callTool('test_sampling', { prompt: 'x' }))).toContain('sampled');
    await client.close();
    const entries = await stage.finished();
    expect(messages(entries, { method: 'notifications/progress' }).length).toBe(3);
    expect(messages(entries, { method: 'tools/call', era: isModern ? 'modern' : 'legacy' }).length).toBeGreaterThanOrEqual(13);
  });
});

// What servers do wrong: a server that does what the test says, and a client of lines.

type Handler = (request: IncomingMessage & { text: string }, response: ServerResponse) => unknown;

async function serve(handler: Handler): Promise<{ url: string; server: Server; seen: (IncomingMessage & { text: string })[] }> {
  const seen: (IncomingMessage & { text: string })[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const whole = Object.assign(request, { text: Buffer.concat(chunks).toString() });
      seen.push(whole);
      handler(whole, response);
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`, server, seen };
}

function tapOf(stage: Stage, url: string, { options = [], env = {} }: TapOptions = {}): Tap {
  const [file, ...args] = words(stage, url, options);
  return new Tap(stage.started(spawn(file!, args, { cwd: stage.folder, env: { ...stage.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })), true);
}

const initialize = {
  jsonrpc: '2.0',
  id: 'i',
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
};
const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' };
const call = (id: number | string, name = 't') => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name } });
const modern = (id: number, method: string, params: object = {}) => ({
  jsonrpc: '2.0',
  id,
  method,
  params: { ...params, _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } },
});
const json = (response: ServerResponse, value: unknown, headers: Record<string, string> = {}) =>
  response.writeHead(200, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(value));
const stream = (response: ServerResponse) => response.writeHead(200, { 'Content-Type': 'text/event-stream' });
const handshake = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 's', version: '1' } };

/** A server of the old era with a session; what else it does, `more` says. */
const legacy =
  (more: Handler): Handler =>
  (request, response) => {
    const message = request.text === '' ? {} : (JSON.parse(request.text) as { id?: unknown; method?: string });
    if (message.method === 'initialize')
      return json(response, { jsonrpc: '2.0', id: message.id, result: handshake }, { 'Mcp-Session-Id': 'the-session' });
    if (message.method === 'notifications/initialized') return response.writeHead(202).end();
    return more(request, response);
  };

async function opened(tap: Tap): Promise<void> {
  await tap.write(line(initialize));
  await tap.output.count(1);
  await tap.write(line(initialized));
}

interface Reply {
  id: unknown;
  result?: unknown;
  error?: { code: number; message: string; data?: { status?: number; body?: string } };
}
const replies = (tap: Tap): Reply[] => tap.output.lines.map((text) => JSON.parse(text) as Reply);

describe('what goes over HTTP', () => {
  test('bytes as they are, session and version on all that follows, and an end that is said', async () => {
    const odd = '{ "jsonrpc":"2.0",\t"id":9007199254740993, "method":"x/\\u00e9", "params":{"b":1.0,"a":1e2,"a":"zürich"} }';
    const { url, seen } = await serve(
      legacy(({ method, headers }, response) => {
        if (method === 'GET') return response.writeHead(405).end();
        if (method === 'DELETE') return response.writeHead(200).end();
        if (headers['x-pretty'] !== undefined) return response.end();
        response.writeHead(200, { 'Content-Type': 'application/json; charset=utf-8' });
        return response.end('{\r\n  "result": { "n": 1.0, "n": 9007199254740993 },\n  "jsonrpc": "2.0",\n  "id": 9007199254740993\n}\n');
      }),
    );
    const stage = new Stage();
    const tap = tapOf(stage, url);
    await opened(tap);
    await tap.write(`${odd}\n`);
    await tap.output.count(2);
    expect(tap.output.lines[1]).toBe('{\r   "result": { "n": 1.0, "n": 9007199254740993 },   "jsonrpc": "2.0",   "id": 9007199254740993 }');
    expect(await tap.close()).toEqual({ code: 0, signal: null });
    const posts = seen.filter(({ method }) => method === 'POST');
    expect(posts.map(({ text }) => text)).toEqual([JSON.stringify(initialize), JSON.stringify(initialized), odd]);
    expect(posts[0]!.headers).not.toHaveProperty('mcp-session-id');
    for (const { headers } of seen.slice(1)) expect(headers).toMatchObject({ 'mcp-session-id': 'the-session', 'mcp-protocol-version': '2025-11-25' });
    expect(posts[2]!.headers).toMatchObject({
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      host: new URL(url).host,
    });
    expect(seen.map(({ method }) => method)).toEqual([
      'POST',
      'POST',
      expect.stringMatching('GET|POST'),
      expect.stringMatching('GET|POST'),
      'DELETE',
    ]);
    await stage.finished();
  });

  test('modern requests say in headers what they are, and closing is cancelling', async () => {
    const { url, seen } = await serve((request, response) => {
      const message = JSON.parse(request.text) as { id: number; params: { name?: string } };
      if (message.params.name === 'slow') return stream(response).write(': there\n\n');
      return json(response, { jsonrpc: '2.0', id: message.id, result: { resultType: 'complete' } });
    });
    const stage = new Stage();
    const tap = tapOf(stage, url);
    await tap.write(line(modern(1, 'server/discover')) + line(modern(2, 'resources/read', { uri: 'file:///ü' })));
    await tap.output.count(2);
    await tap.write(line(modern(3, 'tools/call', { name: 'slow' })));
    while (seen.length < 3) await new Promise((done) => setTimeout(done, 5));
    const slow = seen.find(({ text }) => text.includes('slow'))!;
    const gone = new Promise((done) => slow.socket.on('close', done));
    await tap.write(line({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 3 } }));
    await gone;
    await tap.write(line(modern(4, 'tools/list')));
    await tap.output.count(3);
    await tap.close();
    expect(new Set(replies(tap).map(({ id }) => id))).toEqual(new Set([1, 2, 4]));
    expect(seen.length).toBe(4);
    const headersOf = (text: string) => seen.find((one) => one.text.includes(text))!.headers;
    expect(headersOf('server/discover')).toMatchObject({ 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'server/discover' });
    expect(headersOf('resources/read')).toMatchObject({ 'mcp-method': 'resources/read', 'mcp-name': '=?base64?ZmlsZTovLy/DvA==?=' });
    expect(headersOf('slow')).toMatchObject({ 'mcp-name': 'slow' });
    for (const { headers } of seen) expect(headers).not.toHaveProperty('mcp-session-id');
    await stage.finished();
  });

  test('redirects within the origin are followed, others are told', async () => {
    const elsewhere = await serve((_, response) => response.end());
    const { url, seen } = await serve((request, response) => {
      if (request.url === '/mcp') return response.writeHead(307, { Location: '/mcp/' }).end();
      if (request.text.includes('"far"')) return response.writeHead(308, { Location: elsewhere.url }).end();
      return json(response, { jsonrpc: '2.0', id: 1, result: {} });
    });
    const tap = tapOf(new Stage(), url);
    await tap.write(line(call(1)));
    await tap.output.count(1);
    await tap.write(line(call('far')));
    await tap.output.count(2);
    await tap.close();
    expect(seen.map((one) => `${one.method} ${one.url}`).slice(0, 2)).toEqual(['POST /mcp', 'POST /mcp/']);
    expect(replies(tap)[1]!.error!.message).toContain(`it is at ${new URL(elsewhere.url).origin}`);
    expect(elsewhere.seen).toEqual([]);
  });

  test('events of every shape', async () => {
    const { url } = await serve((request, response) => {
      const { id } = JSON.parse(request.text) as { id: number };
      stream(response);
      response.write(`: hi\n\nevent: ping\ndata: {"ping":1}\n\nevent: message\r\ndata: {"jsonrpc":"2.0",\r\ndata: "method":"n"}\r\n\r`);
      response.write(`\nid: 1\ndata: \n\n`);
      // the last event without its blank line: the standard discards it, servers send it
      return response.end(`data: {"jsonrpc":"2.0","id":${id},"result":{}}\n`);
    });
    const tap = tapOf(new Stage(), url);
    await tap.write(line(call(1)));
    await tap.output.count(2);
    await tap.close();
    expect(tap.output.lines).toEqual(['{"jsonrpc":"2.0", "method":"n"}', '{"jsonrpc":"2.0","id":1,"result":{}}']);
  });

  test('what is compressed although nobody asked', async () => {
    const { url, seen } = await serve((_, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' });
      return response.end(gzipSync('{"jsonrpc":"2.0","id":1,"result":{"z":1}}'));
    });
    const tap = tapOf(new Stage(), url);
    await tap.write(line(call(1)));
    await tap.output.count(1);
    await tap.close();
    expect(tap.output.lines).toEqual(['{"jsonrpc":"2.0","id":1,"result":{"z":1}}']);
    expect(seen[0]!.headers['accept-encoding']).toBe('identity');
  });
});

describe('what goes wrong is an answer', () => {
  const broken: [string, Handler, Partial<NonNullable<Reply['error']>>][] = [
    [
      'a stream that dies',
      (_, response) => (stream(response).write('data: {"jsonrpc":"2.0","method":"n"}\n\n'), setTimeout(() => response.destroy(), 50)),
      { code: 5020 },
    ],
    ['a stream that ends', (_, response) => stream(response).end(': sorry\n\n'), { code: 5020 }],
    ['nothing', (_, response) => response.writeHead(202).end(), { code: 5020 }],
    ['no HTTP', (request) => request.socket.end('garbage\r\n\r\n'), { code: 5020 }],
    ['a connection that is closed', (request) => request.socket.destroy(), { code: 5020 }],
    [
      'a page',
      (_, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end('<h1>Welcome</h1>'),
      { code: 5020, data: { status: 200, body: '<h1>Welcome</h1>' } },
    ],
    [
      'half a body',
      (_, response) => (response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '100' }).write('{'), response.destroy()),
      { code: 5020 },
    ],
    ['another id', (_, response) => json(response, { jsonrpc: '2.0', id: 99, result: {} }), { code: 5020 }],
    [
      '401',
      (_, response) => response.writeHead(401, { 'WWW-Authenticate': 'Bearer' }).end('who are you'),
      { code: 5020, data: { status: 401, body: 'who are you' } },
    ],
    [
      '503 and a long page',
      (_, response) => response.writeHead(503).end('x'.repeat(1_000_000)),
      { code: 5020, data: { status: 503, body: `${'x'.repeat(2_000)}…` } },
    ],
    [
      'an error of MCP',
      (_, response) => response.writeHead(400).end('{"jsonrpc":"2.0","error":{"code":-32022,"message":"no","data":{"supported":[]}},"id":null}'),
      { code: -32_022, message: 'no' },
    ],
    [
      'an error of MCP with its id',
      (_, response) => response.writeHead(404).end('{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"?"}}'),
      { code: -32_601 },
    ],
  ];
  test.each(broken)('%s', async (_name, handler, error) => {
    const { url } = await serve(handler);
    const stage = new Stage();
    const tap = tapOf(stage, url);
    await tap.write(line(call(7)));
    await tap.output.until(() => replies(tap).some(({ id }) => id === 7));
    expect(replies(tap).filter(({ id }) => id === 7)).toEqual([
      {
        jsonrpc: '2.0',
        id: 7,
        error: expect.objectContaining({ ...error, ...(error.data === undefined ? {} : { data: expect.objectContaining(error.data) }) }),
      },
    ]);
    expect(await tap.close()).toEqual({ code: 0, signal: null });
    await stage.finished();
  });

  test('nobody listens; nobody answers', async () => {
    const { url, server } = await serve(() => undefined);
    const silent = tapOf(new Stage(), url, { options: ['--answer-timeout', '1'] });
    await silent.write(line(call(1)) + line([call(2), call(3)]));
    await silent.output.count(3);
    expect(replies(silent).map(({ id, error }) => [id, error!.code, error!.message])).toEqual(
      [1, 2, 3].map((id) => [id, 5040, `no answer from ${new URL(url).origin} within 1 s`]),
    );
    await silent.close();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    const refused = tapOf(new Stage(), url);
    await refused.write(line(call(1)));
    await refused.output.count(1);
    expect(replies(refused)[0]!.error).toMatchObject({ code: 5020, message: expect.stringContaining('ECONNREFUSED') });
    await refused.close();
  });

  test('a session that has ended is an end', async () => {
    const { url } = await serve(
      legacy((request, response) =>
        request.method === 'GET'
          ? response.writeHead(405).end()
          : request.text.includes('"held"')
            ? undefined
            : response.writeHead(404).end('{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}'),
      ),
    );
    const stage = new Stage();
    const tap = tapOf(stage, url);
    await opened(tap);
    await tap.write(line(call('held')) + line(call(2)));
    // the client still holds our input open: the process ends by itself
    expect((await tap.ended).code).toBe(1);
    const codes = new Map(replies(tap).map(({ id, error }) => [id, error?.code]));
    expect(codes).toEqual(
      new Map<unknown, unknown>([
        ['i', undefined],
        [2, 5020],
        ['held', 5020],
      ]),
    );
    expect(tap.errors.text).toContain('has ended the session (HTTP 404)');
    await stage.finished();
  });

  test('a stream that broke off is taken up where it was', async () => {
    const { url, seen } = await serve(
      legacy((request, response) => {
        if (request.method === 'DELETE') return response.writeHead(405).end();
        stream(response);
        if (request.method === 'POST') {
          response.write('id: e1\nretry: 10\ndata: \n\nid: e2\ndata: {"jsonrpc":"2.0","method":"n"}\n\n');
          return setTimeout(() => response.destroy(), 50);
        }
        if (request.headers['last-event-id'] === undefined) return response.flushHeaders();
        if (request.headers['last-event-id'] === 'e2') return response.end('id: e3\ndata: {"jsonrpc":"2.0","method":"m"}\n\n');
        return response.end('data: {"jsonrpc":"2.0","id":1,"result":{}}\n\n');
      }),
    );
    const tap = tapOf(new Stage(), url);
    await opened(tap);
    await tap.write(line(call(1)));
    await tap.output.count(4);
    await tap.close();
    expect(tap.output.lines.slice(1)).toEqual([
      '{"jsonrpc":"2.0","method":"n"}',
      '{"jsonrpc":"2.0","method":"m"}',
      '{"jsonrpc":"2.0","id":1,"result":{}}',
    ]);
    expect(seen.map(({ headers }) => headers['last-event-id']).filter(Boolean)).toEqual(['e2', 'e3']);
  });

  test('the old transport: its stream ends, and an endpoint that is elsewhere', async () => {
    const older =
      (endpoint: string): Handler =>
      (request, response) => {
        if (request.method === 'GET') return stream(response).write(`event: endpoint\ndata: ${endpoint}\n\n`);
        if (request.url === '/mcp') return response.writeHead(405).end();
        return request.text.includes('initialize') ? response.writeHead(202).end() : response.writeHead(202).end(() => server.closeAllConnections());
      };
    const { url, server } = await serve(older('/messages?sessionId=1'));
    const tap = tapOf(new Stage(), url);
    await tap.write(line(initialize) + line(call(1)));
    expect((await tap.ended).code).toBe(1);
    expect(replies(tap).map(({ id, error }) => [id, error!.code])).toEqual([
      ['i', 5020],
      [1, 5020],
    ]);
    const foreign = await serve(older('http://127.0.0.1:9/messages'));
    const other = tapOf(new Stage(), foreign.url);
    await other.write(line(initialize));
    await other.output.count(1);
    expect(replies(other)[0]!.error).toMatchObject({ code: 5020, data: { status: 405 } });
    await other.close();
  });
});

describe('credentials', () => {
  const secret = 'hunter2-correct-horse';

  test('reach the server, and nothing that we write', async () => {
    const { url, seen } = await serve((request, response) =>
      response.writeHead(403).end(`no, not with ${request.headers.authorization} and ${request.url}`),
    );
    const stage = new Stage();
    writeFileSync(join(stage.folder, 'headers'), `# of the test\nX-File: ${secret}-file\n\n`);
    const address = url.replace('http://', `http://me:${secret}-pw@`);
    const options = [
      '--header',
      `Authorization: Bearer ${secret}-argv`,
      '--header-file',
      'headers',
      '--header-env',
      'X-Env=TOKEN',
      '--header=Host: mcp.example',
    ];
    const tap = tapOf(stage, `${address}?key=${secret}-query`, { options, env: { TOKEN: `${secret}-env` } });
    await tap.write(line(call(1)));
    await tap.output.count(1);
    // what the system shows of our processes by now
    expect(readFileSync(`/proc/${tap.pid}/cmdline`, 'utf8')).not.toContain(secret);
    await tap.close();
    expect(seen[0]!.headers).toMatchObject({
      authorization: `Bearer ${secret}-argv`,
      'x-file': `${secret}-file`,
      'x-env': `${secret}-env`,
      host: 'mcp.example',
    });
    expect(seen[0]!.url).toBe(`/mcp?key=${secret}-query`);
    expect(replies(tap)[0]!.error).toMatchObject({ data: { status: 403, body: 'no, not with [credential] and /mcp?key=[credential]' } });
    const [open] = (await stage.finished()).filter(({ kind }) => kind === 'open');
    expect(open!.opened['argv']).toEqual([node, join(root, 'dist', 'bridge.mjs'), url]);
    const written = readdirSync(stage.folder, { recursive: true, withFileTypes: true }).filter((item) => item.isFile() && item.name !== 'headers');
    for (const item of written) expect(readFileSync(join(item.parentPath, item.name)).includes(secret)).toBe(false);
    expect(written.some((item) => item.parentPath.endsWith('payload') && statSync(join(item.parentPath, item.name)).size > 0)).toBe(true);
    expect(tap.output.text + tap.errors.text).not.toContain(secret);
  });

  test('a user in the address is one of HTTP', async () => {
    const { url, seen } = await serve((_, response) => json(response, { jsonrpc: '2.0', id: 1, result: {} }));
    const tap = tapOf(new Stage(), url.replace('http://', 'http://m%40e:pass%20word@'));
    await tap.write(line(call(1)));
    await tap.output.count(1);
    await tap.close();
    expect(seen[0]!.headers.authorization).toBe(`Basic ${Buffer.from('m@e:pass word').toString('base64')}`);
  });

  test('go only where the certificate is one of ours', async () => {
    const stage = new Stage();
    const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const words = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'key.pem',
      '-out',
      'ca.pem',
      '-days',
      '2',
    ];
    execFileSync('openssl', [...words, ...subject], { cwd: stage.folder, stdio: 'ignore' });
    const read = (name: string) => readFileSync(join(stage.folder, name));
    let asked = 0;
    const server = createTlsServer({ key: read('key.pem'), cert: read('ca.pem') }, (request, response) => {
      asked++;
      request.resume().on('end', () => json(response, { jsonrpc: '2.0', id: 1, result: {} }));
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    onTestFinished(() => void server.close());
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
    for (const options of [[], ['--ca', 'ca.pem']]) {
      const tap = tapOf(stage, url, { options });
      await tap.write(line(call(1)));
      await tap.output.count(1);
      if (options.length > 0) expect(replies(tap)).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
      else expect(replies(tap)[0]!.error).toMatchObject({ code: 5020, message: expect.stringContaining('--ca') });
      expect(asked).toBe(options.length > 0 ? 1 : 0);
      await tap.close();
    }
  });

  test.each([
    [['--header-file', 'nowhere'], 66, 'nowhere cannot be read'],
    [['--header-file', 'wrong'], 2, 'wrong:2 is `Name: value`'],
    [['--header-env', 'X=NOT_THERE'], 2, 'there is no variable NOT_THERE'],
    [['--ca', 'wrong'], 66, 'wrong'],
  ])('%j is told at once', async (options, code, message) => {
    const stage = new Stage();
    writeFileSync(join(stage.folder, 'wrong'), `A: b\n${secret}\n`);
    const tap = tapOf(stage, 'http://127.0.0.1:9/', { options });
    expect(await tap.ended).toEqual({ code, signal: null });
    expect(tap.errors.text).toContain(message);
    expect(tap.errors.text).not.toContain(secret);
  });
});

describe('what stays open, and what is large', () => {
  test('a subscription stays while others pass, and holds up no end', async () => {
    let changed: () => void = () => undefined;
    const { url, seen } = await serve((request, response) => {
      const message = JSON.parse(request.text) as { id: number; method: string };
      if (message.method !== 'subscriptions/listen') return json(response, { jsonrpc: '2.0', id: message.id, result: {} });
      stream(response).write('data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"}\n\n');
      changed = () => response.write('data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n');
      return undefined;
    });
    const stage = new Stage();
    const tap = tapOf(stage, url);
    await tap.write(line(modern(1, 'subscriptions/listen')));
    await tap.output.count(1);
    for (let id = 2; id < 20; id++) await tap.write(line(modern(id, 'tools/list')));
    await tap.output.count(19);
    changed();
    await tap.output.count(20);
    expect(tap.output.lines.at(-1)).toContain('list_changed');
    expect(await tap.close()).toEqual({ code: 0, signal: null });
    expect(seen.length).toBe(19);
    await stage.finished();
  });

  test('what the server says of itself comes on the stream that it has for that', async () => {
    const { url } = await serve(
      legacy((request, response) => {
        if (request.method === 'DELETE') return response.end();
        if (request.method === 'POST') return response.writeHead(202).end();
        return stream(response).write('data: {"jsonrpc":"2.0","id":1,"method":"roots/list"}\n\n');
      }),
    );
    const tap = tapOf(new Stage(), url);
    await opened(tap);
    await tap.output.count(2);
    expect(tap.output.lines[1]).toBe('{"jsonrpc":"2.0","id":1,"method":"roots/list"}');
    await tap.write(line({ jsonrpc: '2.0', id: 1, result: { roots: [] } }));
    tap.process.kill('SIGTERM');
    expect(await tap.ended).toEqual({ code: 0, signal: null });
  });

  test('twenty megabytes each way', async () => {
    const large = 'ü'.repeat(10 * 1024 * 1024);
    const { url, seen } = await serve((request, response) => {
      const { id } = JSON.parse(request.text) as { id: number };
      return id === 1
        ? json(response, { jsonrpc: '2.0', id, result: { large } })
        : stream(response).end(`data: {"jsonrpc":"2.0","id":2,"result":"${large}"}\n\n`);
    });
    const stage = new Stage();
    const tap = tapOf(stage, url);
    const asked = line({ jsonrpc: '2.0', id: 1, method: 'x', params: { large } });
    const answers = [JSON.stringify({ jsonrpc: '2.0', id: 1, result: { large } }), `{"jsonrpc":"2.0","id":2,"result":"${large}"}`];
    await tap.write(asked);
    await tap.output.size(Buffer.byteLength(answers[0]!) + 1);
    await tap.write(line(call(2)));
    await tap.output.size(Buffer.byteLength(answers.join('')) + 2);
    await tap.close();
    expect(seen[0]!.text === asked.trimEnd()).toBe(true);
    expect(tap.output.text === `${answers.join('\n')}\n`).toBe(true);
    await stage.finished();
  });

  test('a client that sends and closes at once gets its answers', async () => {
    const { url } = await serve(
      legacy((request, response) =>
        request.method === 'POST' ? setTimeout(() => json(response, { jsonrpc: '2.0', id: 1, result: {} }), 200) : response.writeHead(405).end(),
      ),
    );
    const tap = tapOf(new Stage(), url);
    tap.process.stdin!.end(line(initialize) + line(initialized) + line(call(1)));
    expect(await tap.ended).toEqual({ code: 0, signal: null });
    expect(replies(tap).map(({ id }) => id)).toEqual(['i', 1]);
  });
});
