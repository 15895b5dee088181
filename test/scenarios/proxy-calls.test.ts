/** What is one call for people, over HTTP: asked again with answers, asked of the client meanwhile, streams that are taken up again. A real server, a raw client. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { node, Stage, sworn, Tap } from './stage.ts';

interface Call {
  target: string;
  state: string;
  requests: number;
  asked: number;
  legs: number[];
}

/** The proxy in front of a server: of the conformance server, unless another one is named. */
async function staged(url?: string): Promise<{ stage: Stage; at: string; calls(): Promise<Call[]>; verified(): Promise<void> }> {
  const stage = new Stage();
  const upstream = url ?? (await conformanceServer(stage));
  const words = ['proxy', '--upstream', upstream, '--name', 'fixture', '--listen', '127.0.0.1:0', '--ledger', stage.ledger];
  const tap = new Tap(stage.started(spawn(node, [sworn, ...words], { cwd: stage.folder, env: stage.env, stdio: ['ignore', 'pipe', 'pipe'] })), true);
  await tap.errors.until(({ text }) => text.includes('/mcp'));
  const at = /http:\/\/127\.0\.0\.1:\d+\/mcp/.exec(tap.errors.text)![0];
  const calls = async (): Promise<Call[]> => {
    const { stdout } = await stage.command('log', '--calls', '--json', '--ledger', stage.ledger);
    return stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Call);
  };
  /** The proxy ends, so that what it recorded is published. */
  const verified = async (): Promise<void> => {
    tap.process.kill('SIGTERM');
    await tap.ended;
    await expect.poll(async () => (await stage.command('verify', '--ledger', stage.ledger)).code, { timeout: 20_000 }).toBe(0);
  };
  return { stage, at, calls, verified };
}

async function conformanceServer(stage: Stage): Promise<string> {
  const server = new Tap(
    stage.started(
      spawn(node, [join(import.meta.dirname, '..', 'conformance', 'server-http.ts')], { env: stage.env, stdio: ['pipe', 'pipe', 'pipe'] }),
    ),
    true,
  );
  await server.output.until(({ text }) => text.includes('\n'));
  return server.output.text.trim();
}

const modern = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': { elicitation: {}, sampling: {}, roots: {} },
  'io.modelcontextprotocol/clientInfo': { name: 'scenario', version: '1' },
};
const both = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };

/** The messages of a response, whether it is a body or a stream. */
function messagesOf(text: string): Record<string, any>[] {
  if (text.startsWith('{')) return [JSON.parse(text) as Record<string, any>];
  return [...text.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data!) as Record<string, any>);
}

let ids = 0;
async function ask(at: string, name: string, more: object = {}): Promise<Record<string, any>> {
  const body = { jsonrpc: '2.0', id: ++ids, method: 'tools/call', params: { name, arguments: {}, _meta: modern, ...more } };
  const headers = { ...both, 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/call', 'Mcp-Name': name };
  const response = await fetch(at, { method: 'POST', headers, body: JSON.stringify(body) });
  return messagesOf(await response.text()).at(-1)!['result'] as Record<string, any>;
}

test('a call that is asked again, and once more, is one call with all that was said', async () => {
  const { stage, at, calls, verified } = await staged();
  const once = await ask(at, 'test_input_required_result_request_state');
  expect(once).toMatchObject({ resultType: 'input_required' });
  const twice = await ask(at, 'test_input_required_result_multi_round');
  const accepted = (content: object): object => ({ action: 'accept', content });
  const state = (result: Record<string, any>): object => ({ requestState: result['requestState'] as string });
  expect(
    await ask(at, 'test_input_required_result_request_state', { ...state(once), inputResponses: { confirm: accepted({ ok: true }) } }),
  ).not.toMatchObject({ resultType: 'input_required' });
  const second = await ask(at, 'test_input_required_result_multi_round', { ...state(twice), inputResponses: { step1: accepted({ name: 'Ada' }) } });
  await ask(at, 'test_input_required_result_multi_round', { ...state(second), inputResponses: { step2: accepted({ color: 'green' }) } });
  expect(await calls()).toMatchObject([
    { target: 'test_input_required_result_request_state', state: 'ok', requests: 2, asked: 1 },
    { target: 'test_input_required_result_multi_round', state: 'ok', requests: 3, asked: 2 },
  ]);
  const [, round] = await calls();
  expect(round!.legs).toHaveLength(6);
  const shown = await stage.command('show', String(round!.legs[4]), '--ledger', stage.ledger);
  expect(shown.stdout).toMatch(/the call, from entry/);
  expect(shown.stdout.match(/again, with answers/g)).toHaveLength(2);
  const people = await stage.command('log', '--calls', '--ledger', stage.ledger);
  expect(people.stdout).toMatch(/test_input_required_result_mult\S* +unknown +ok .*3 requests, asked 2 times/);
  await verified();
});

test('what a server asks on the stream of a call belongs to the call, and so does the answer', async () => {
  let answered: (message: Record<string, any>) => void = () => undefined;
  const upstream = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const message = JSON.parse(Buffer.concat(parts).toString()) as Record<string, any>;
      if (message['method'] !== 'tools/call') {
        answered(message);
        response.writeHead(202).end();
        return;
      }
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write('data: {"jsonrpc":"2.0","id":2,"method":"elicitation/create","params":{"message":"who?"}}\n\n');
      answered = ({ result }) =>
        response.end(`data: {"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":${JSON.stringify(result.content.name)}}]}}\n\n`);
    });
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  onTestFinished(() => void upstream.close());
  const { stage, at, calls, verified } = await staged(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}/mcp`);
  const headers = { ...both, 'Mcp-Session-Id': 'a secret of two', 'MCP-Protocol-Version': '2025-11-25' };
  const post = (message: object): Promise<Response> => fetch(at, { method: 'POST', headers, body: JSON.stringify({ jsonrpc: '2.0', ...message }) });
  // the id is that of the question, too
  const called = await post({ id: 2, method: 'tools/call', params: { name: 'greet' } });
  let text = '';
  for await (const chunk of called.body! as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString();
    if (messagesOf(text).length === 1) await (await post({ id: 2, result: { action: 'accept', content: { name: 'Ada' } } })).text();
  }
  expect(messagesOf(text)).toMatchObject([{ method: 'elicitation/create' }, { id: 2, result: { content: [{ text: 'Ada' }] } }]);
  // the call, the question, the answer, the result
  expect(await calls()).toMatchObject([
    { target: 'greet', state: 'ok', requests: 1, asked: 1, legs: expect.toSatisfy((legs: number[]) => legs.length === 4) as number[] },
  ]);
  const { stdout } = await stage.command('log', '--json', '--ledger', stage.ledger);
  expect(stdout).not.toContain('reply-to-nothing');
  await verified();
});

test('what is sent again on a stream that is taken up again comes twice and counts once', async () => {
  const { stage, at, calls, verified } = await staged();
  const initialize = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'scenario', version: '1' } },
  };
  const begun = await fetch(at, { method: 'POST', headers: both, body: JSON.stringify(initialize) });
  await begun.text();
  const headers = { ...both, 'Mcp-Session-Id': begun.headers.get('mcp-session-id')!, 'MCP-Protocol-Version': '2025-11-25' };
  const post = (message: object): Promise<Response> => fetch(at, { method: 'POST', headers, body: JSON.stringify({ jsonrpc: '2.0', ...message }) });
  await (await post({ method: 'notifications/initialized' })).text();
  const broken = await post({ id: 3, method: 'tools/call', params: { name: 'test_reconnection', arguments: {} } });
  const [, lastId] = /^id: (.*)$/m.exec(await broken.text())!;
  const again = async (): Promise<void> => {
    const leave = new AbortController();
    const response = await fetch(at, { headers: { ...headers, Accept: 'text/event-stream', 'Last-Event-ID': lastId! }, signal: leave.signal });
    let replayed = '';
    for await (const chunk of response.body! as unknown as AsyncIterable<Uint8Array>) {
      replayed += Buffer.from(chunk).toString();
      if (messagesOf(replayed).some(({ id }) => id === 3)) break;
    }
    leave.abort();
  };
  await again();
  await again();
  const entries = (await stage.command('log', '--json', '--ledger', stage.ledger)).stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, any>);
  const answers = entries.filter(({ type, id, direction }) => type === 'result' && id === '3' && direction === 's2c');
  expect(answers).toHaveLength(2);
  expect(answers[0]).toMatchObject({ exchange: expect.any(Number) as number, outcome: 'ok' });
  expect(answers[1]).toMatchObject({ repeats: answers[0]!['index'] as number });
  expect(answers[1]!['anomalies']).toBeUndefined();
  expect(await calls()).toMatchObject([{ target: 'test_reconnection', state: 'ok', requests: 1 }]);
  // one session, by the id that its messages name
  const { stdout } = await stage.command('sessions', '--json', '--ledger', stage.ledger);
  const session = JSON.parse(stdout) as { connection: string; part: number; calls: number; client: object };
  expect(session).toMatchObject({ calls: 1, client: { name: 'scenario' }, part: expect.any(Number) as number });
  const own = await stage.command('log', '--json', '--session', `${session.connection.slice(0, 8)}/${session.part}`, '--ledger', stage.ledger);
  expect(own.stdout.split('\n').filter(Boolean)).toHaveLength(entries.filter(({ kind }) => kind === 'message').length);
  await verified();
});

test('who leaves has cancelled, since 2026-07-28', async () => {
  const upstream = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}\n\n');
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  onTestFinished(() => void upstream.close());
  const { at, calls } = await staged(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}/mcp`);
  const leave = new AbortController();
  const body = { jsonrpc: '2.0', id: ++ids, method: 'tools/call', params: { name: 'wait', arguments: {}, _meta: { ...modern, progressToken: 'p' } } };
  const headers = { ...both, 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/call', 'Mcp-Name': 'wait' };
  const response = await fetch(at, { method: 'POST', headers, body: JSON.stringify(body), signal: leave.signal });
  await response.body!.getReader().read();
  leave.abort();
  await expect.poll(calls, { timeout: 20_000 }).toMatchObject([{ target: 'wait', state: 'cancelled' }]);
});
