/** A policy that can refuse, over HTTP: what is no message goes its way, and what a server could read as another message does not. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { messages } from './stage.ts';
import { header, jsonResponse, ProxyStage, type HttpMessage } from './proxy-stage.ts';

async function staged(rules: unknown[]): Promise<ProxyStage> {
  const stage = new ProxyStage();
  const config = join(stage.folder, 'sworn.yaml');
  writeFileSync(config, JSON.stringify({ policy: { rules } }));
  return stage.start(['--config', config]);
}

const noDelete = { name: 'no-delete', deny: true, tool: 'delete*' };

const besides: { what: string; asks: [method: string, path: string, headers: string[], body: string]; status: string; type: string; body: string }[] =
  [
    { what: 'a challenge', asks: ['GET', '/mcp', [], ''], status: '401 Unauthorized', type: 'text/plain', body: 'log in\r\nfirst' },
    { what: 'a page', asks: ['GET', '/x', [], ''], status: '200 OK', type: 'text/html', body: '<p>\r\n{"no": message' },
    { what: 'metadata', asks: ['GET', '/.well-known/x', [], ''], status: '200 OK', type: 'application/json', body: '{"resource":"a"}' },
    {
      what: 'an error without a request',
      asks: ['POST', '/mcp', [], '{}'],
      status: '404 Not Found',
      type: 'application/json',
      body: '{"jsonrpc":"2.0","error":{"code":-32001,"message":"gone"},"id":null}',
    },
    {
      what: 'an OAuth error',
      asks: ['POST', '/token', [], '{}'],
      status: '400 Bad Request',
      type: 'application/json',
      body: '{"error":"invalid_grant"}',
    },
    { what: 'an error without a type', asks: ['GET', '/mcp', [], ''], status: '405 Not Allowed', type: '', body: 'POST it' },
  ];

test('while a rule can refuse, what HTTP carries beside messages goes as it came [proxy-answers]', async () => {
  const stage = await staged([noDelete]);
  let at = 0;
  stage.upstream.serve((_, peer) => {
    const { status, type, body } = besides[at]!;
    return peer.write(
      `HTTP/1.1 ${status}\r\n${type === '' ? '' : `Content-Type: ${type}\r\n`}WWW-Authenticate: Bearer\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  });
  const client = await stage.client();
  for (const { what, asks, status, body } of besides) {
    const [method, path, headers, asked] = asks;
    await client.write(stage.request(asked, headers, method, path));
    const answer = await client.next();
    expect([answer.line, header(answer, 'www-authenticate'), answer.body.toString()], what).toEqual([`HTTP/1.1 ${status}`, 'Bearer', body]);
    at++;
  }
  const entries = await stage.ended();
  expect(messages(entries, { verdict: 'block' })).toEqual([]);
  const simulated = await stage.command(
    'policy',
    'simulate',
    join(stage.folder, 'sworn.yaml'),
    '--ledger',
    stage.ledger,
    '--json',
    '--fail-on',
    'block',
  );
  expect(simulated.code, simulated.stdout + simulated.stderr).toBe(0);
});

test('what a client only calls a form, or writes in another charset, is refused while a rule can refuse [policy-bypass]', async () => {
  const stage = await staged([noDelete]);
  const got: string[] = [];
  stage.upstream.serve((request, peer) => {
    got.push(request.body.toString());
    return peer.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"token_type":"mac"}');
  });
  const client = await stage.client();
  const send = async (type: string, body: string, before: string[] = []): Promise<string> => {
    const head = ['POST /mcp HTTP/1.1', `Host: 127.0.0.1:${stage.port}`, ...before, `Content-Type: ${type}`, `Content-Length: ${body.length}`];
    await client.write(`${head.join('\r\n')}\r\n\r\n${body}`);
    const { line, body: answer } = await client.next();
    return `${line.split(' ')[1]} ${answer.toString()}`;
  };
  const form = 'application/x-www-form-urlencoded';
  const grant = 'grant_type=refresh_token&refresh_token=a.b-c%20d';
  expect(await send(form, grant)).toBe('200 {"token_type":"mac"}');
  expect(await send(form, 'a={"method":"tools/call"}')).toBe('202 ');
  const hidden = '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"+AGQAZQBsAGUAdABl-"}}';
  // behind as many headers as the record keeps, too
  for (const before of [[], Array.from({ length: 80 }, (_, i) => `X-${i}: a`)])
    expect(await send('application/json; charset=utf-7', hidden, before)).toMatch(/^200 .*"rule":"sworn:ambiguous"/);
  expect(await send('application/json;charset="UTF-8"', hidden)).toMatch(/^200 /);
  expect(got).toEqual([grant, hidden]);
  const entries = await stage.ended();
  expect(messages(entries, { verdict: 'block' }).map(({ type, anomalies }) => [type, anomalies])).toEqual([
    ['opaque', ['not-json']],
    ['request', ['other-charset']],
    ['request', ['other-charset']],
  ]);
});

test('who says to be another client within a session does not begin to count anew [policy-bypass]', async () => {
  const stage = await staged([{ name: 'few', deny: true, tool: '*', when: 'session.calls >= 2' }]);
  stage.upstream.serve((request, peer) => {
    const { id } = JSON.parse(request.body.toString()) as { id: number };
    return peer.write(jsonResponse(`{"jsonrpc":"2.0","id":${id},"result":{"content":[]}}`, ['Mcp-Session-Id: s1']));
  });
  const client = await stage.client();
  const said: string[] = [];
  for (const id of [0, 1, 2, 3, 4]) {
    const method = id === 0 ? 'initialize' : 'tools/call';
    const headers = [`User-Agent: agent/${id}`, ...(id === 0 ? [] : ['Mcp-Session-Id: s1'])];
    await client.write(stage.request(`{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{"name":"x"}}`, headers));
    said.push((await client.next()).body.includes('"rule":"few"') ? 'refused' : 'passed');
  }
  expect(said).toEqual(['passed', 'passed', 'passed', 'refused', 'refused']);
  const entries = await stage.ended();
  expect(new Set(messages(entries, { method: 'tools/call', type: 'request' }).map(({ who }) => who)).size).toBe(4);
  const simulated = await stage.command('policy', 'simulate', join(stage.folder, 'sworn.yaml'), '--ledger', stage.ledger, '--json');
  expect(simulated.stdout).toMatch(/"rule":"few","blocked":2,.*"noLongerBlocked":0/);
});

test('what is sent on names one host, and no trailer says what no header may [proxy-http]', async () => {
  const stage = await new ProxyStage().start();
  const got: HttpMessage[] = [];
  stage.upstream.serve((request, peer) => {
    got.push(request);
    return peer.write(jsonResponse('{}'));
  });
  const send = async (headers: string[], rest: string): Promise<string> => {
    const client = await stage.client();
    await client.write([`POST /mcp HTTP/1.1`, `Host: 127.0.0.1:${stage.port}`, ...headers, '', rest].join('\r\n'));
    return (await client.next()).line;
  };
  expect(await send(['Host: elsewhere', 'Content-Length: 2'], '{}')).toMatch(/ 400 /);
  expect(await send(['Transfer-Encoding: gzip, chunked'], '2\r\n{}\r\n0\r\n\r\n')).toMatch(/ 501 /);
  const trailers = ['X-Sum: 1', 'X-Sworn-Key: sworn_a', 'Cookie: a', 'Host: b', 'Content-Type: text/plain', 'Proxy-Authorization: c'];
  expect(await send(['Transfer-Encoding: chunked'], `2\r\n{}\r\n0\r\n${trailers.join('\r\n')}\r\n\r\n`)).toMatch(/ 200 /);
  expect(got.map((request) => request.trailers)).toEqual([[['X-Sum', '1']]]);
  await stage.ended();
});

test('OAuth beside the server is recorded without its secrets, and goes on with them [proxy-oauth]', async () => {
  const stage = await staged([noDelete]);
  const token = '{"access_token":"SECRET-a","token_type":"Bearer","refresh_token":"SECRET-b"}';
  stage.upstream.serve((_, peer) => peer.write(jsonResponse(token)));
  const grant = 'grant_type=authorization_code&code=SECRET-c&client_secret=SECRET-d&code_verifier=SECRET-e';
  const client = await stage.client();
  const head = [
    'POST /token HTTP/1.1',
    `Host: 127.0.0.1:${stage.port}`,
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${grant.length}`,
  ];
  await client.write(`${head.join('\r\n')}\r\n\r\n${grant}`);
  expect((await client.next()).body.toString()).toBe(token);
  await client.write(stage.request('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"code":"kept"}}}'));
  await client.next();
  const entries = await stage.ended();
  expect(messages(entries).map(({ type, redacted, sizeBytes, opened }) => [type, redacted, sizeBytes, opened['path']])).toEqual([
    ['opaque', { credentials: 1 }, grant.length, '/token'],
    ['opaque', { credentials: 1 }, token.length, undefined],
    ['request', undefined, expect.any(Number), '/mcp'],
    ['opaque', { credentials: 1 }, token.length, undefined],
  ]);
  for (const file of readdirSync(stage.ledger, { recursive: true, withFileTypes: true }).filter((one) => one.isFile()))
    expect(readFileSync(join(file.parentPath, file.name)).includes('SECRET'), file.name).toBe(false);
  const simulated = await stage.command(
    'policy',
    'simulate',
    join(stage.folder, 'sworn.yaml'),
    '--ledger',
    stage.ledger,
    '--json',
    '--fail-on',
    'block',
  );
  expect(simulated.code, simulated.stdout + simulated.stderr).toBe(0);
});
