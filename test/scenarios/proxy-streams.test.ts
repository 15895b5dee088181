/** Streams of events through `sworn proxy`: each event recorded before it is delivered, streams that do not wait for each other, and what a session is. */
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { messages } from './stage.ts';
import { isDelivered, jsonResponse, ProxyStage, type Peer } from './proxy-stage.ts';

const call = (id: number | string, name = 'x'): string =>
  `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"method":"tools/call","params":{"name":"${name}","arguments":{}}}`;
const reply = (id: number): string => `{"jsonrpc":"2.0","id":${id},"result":{}}`;
const note = (text: string): string => `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"${text}"}}`;
const streamHead = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n';
const chunk = (bytes: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${Buffer.byteLength(bytes).toString(16)}\r\n`), Buffer.from(bytes), Buffer.from('\r\n')]);
const last = '0\r\n\r\n';

/** A stream that is open: what the client asked is with the server, which has begun to answer. */
async function opened(stage: ProxyStage, request: Buffer): Promise<{ client: Peer; server: Peer }> {
  const client = await stage.client();
  const due = stage.upstream.peer();
  await client.write(request);
  const server = await due;
  await server.next();
  await server.write(streamHead);
  await client.begun();
  return { client, server };
}

test('every form of event goes on byte by byte, however it is cut, and its data is what is recorded [proxy-events]', async () => {
  const stage = await new ProxyStage().start();
  const events = [
    '\ufeff: a comment\n\n',
    'id: 0\ndata:\n\n',
    `id: 1\r\nevent: message\r\ndata: ${note('crlf')}\r\n\r\n`,
    `data:${note('no space')}\rid: 2\r\r`,
    `retry: 5000\ndata: {"jsonrpc":"2.0",\ndata: "method":"notifications/message"}\n\n`,
    ': ping\n\n',
    `event: other\nfoo: bar\ndata: ${note('fields')}\n\n`,
    'event: nothing\n\n',
    `data: ${note('x'.repeat(3_000))}\n\n`,
    'data: not json at all\n\n',
    `data: ${reply(1)}\n\n`,
  ];
  const bytes = Buffer.from(events.join(''));
  for (let round = 0; round < 3; round++) {
    const { client, server } = await opened(stage, stage.request(call(1)));
    for (let at = 0; at < bytes.length;) {
      const size = round === 0 ? bytes.length : round === 1 ? 1 + (at % 3) : randomInt(1, 500);
      server.socket.write(chunk(bytes.subarray(at, at + size)));
      at += size;
      await new Promise((done) => setImmediate(done));
    }
    await server.write(last);
    expect((await client.next()).body.equals(bytes), `round ${round}`).toBe(true);
    server.destroy();
  }
  const entries = await stage.ended();
  const recorded = [
    note('crlf'),
    note('no space'),
    '{"jsonrpc":"2.0",\n"method":"notifications/message"}',
    note('fields'),
    note('x'.repeat(3_000)),
    'not json at all',
    reply(1),
  ];
  const back = messages(entries, { direction: 's2c' });
  expect(back.map(({ frame }) => frame!.toString())).toEqual([...recorded, ...recorded, ...recorded]);
  expect(back.slice(0, 5).map(({ opened: { sse } }) => sse)).toMatchObject([{ id: '1' }, { id: '2' }, { retryMs: 5_000 }, { event: 'other' }, {}]);
  expect(back.every((one) => isDelivered(entries, one))).toBe(true);
  expect(back[6]).toMatchObject({ type: 'result', exchange: messages(entries, { type: 'request' })[0]!.index });
});

test('an event is on disk before its client has it; other streams wait for none of it [proxy-recorded-first]', async () => {
  const stage = await new ProxyStage().start();
  const { client, server } = await opened(stage, stage.request(call(1)));
  await server.write(chunk(`data: ${note('first')}\n\n`));
  await client.input.until(({ text }) => text.includes('first'));
  expect(messages(stage.entries(), { method: 'notifications/message' })).toHaveLength(1);
  const recorder = stage.recorderPid!;
  process.kill(recorder, 'SIGSTOP');
  await server.write(chunk(`data: ${note('second')}\n\n: still there\n\n`));
  const probe = await stage.client();
  for (let i = 0; i < 50; i++) {
    await probe.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
    await probe.next();
  }
  expect(client.input.text).not.toContain('second');
  // nor what stands behind it
  expect(client.input.text).not.toContain('still there');
  process.kill(recorder, 'SIGCONT');
  await client.input.until(({ text }) => text.includes('still there'));
  // a recorder that dies: what was let go is there, the rest comes with the next one
  process.kill(recorder, 'SIGKILL');
  await server.write(chunk(`data: ${note('third')}\n\n`));
  await client.input.until(({ text }) => text.includes('third'));
  await server.write(`${chunk(`data: ${reply(1)}\n\n`).toString()}${last}`);
  expect((await client.next()).isWhole).toBe(true);
  const entries = await stage.ended();
  expect(messages(entries, { direction: 's2c' }).map(({ frame }) => frame!.toString())).toEqual([
    note('first'),
    note('second'),
    note('third'),
    reply(1),
  ]);
});

test("a server's request that has the id of a call is paired with the client's reply, within its session [proxy-pairing]", async () => {
  const stage = await new ProxyStage().start();
  const begun = await stage.client();
  await begun.write(
    stage.request(
      '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c"}}}',
    ),
  );
  const first = await stage.upstream.peer();
  await first.next();
  await first.write(jsonResponse(reply(0), ['Mcp-Session-Id: secret-session']));
  await begun.next();
  first.destroy();
  const session = ['Mcp-Session-Id: secret-session'];
  const { client, server } = await opened(stage, stage.request(call(1), session));
  await server.write(chunk('data: {"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}\n\n'));
  await client.input.until(({ text }) => text.includes('sampling'));
  const answering = await stage.client();
  await answering.write(stage.request('{"jsonrpc":"2.0","id":1,"result":{"role":"assistant"}}', session));
  const second = await stage.upstream.peer();
  await second.next();
  await second.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n');
  await answering.next();
  await server.write(`${chunk(`data: ${reply(1)}\n\n`).toString()}${last}`);
  await client.next();
  // each of the next ones on a connection of its own
  for (const peer of [second, server]) peer.destroy();
  // the same id in another session, and in none, at the same time
  const others = await Promise.all([
    opened(stage, stage.request(call(1, 'other'), ['Mcp-Session-Id: another'])),
    opened(stage, stage.request(call(1, 'third'))),
  ]);
  for (const { server: peer } of others.toReversed()) await peer.write(`${chunk(`data: ${reply(1)}\n\n`).toString()}${last}`);
  for (const { client: peer } of others) await peer.next();
  const entries = await stage.ended();
  const [initialize, one] = messages(entries, { type: 'request' });
  const sampling = messages(entries, { method: 'sampling/createMessage', type: 'request' })[0]!;
  expect(messages(entries, { exchange: sampling.index }).map(({ type, direction }) => [type, direction])).toEqual([
    ['request', 's2c'],
    ['result', 'c2s'],
  ]);
  expect(messages(entries, { exchange: one!.index }).map(({ type, direction }) => [type, direction])).toEqual([
    ['request', 'c2s'],
    ['result', 's2c'],
  ]);
  for (const entry of [one!, sampling]) expect(entry['session']).toBe(initialize!.index);
  for (const name of ['other', 'third']) {
    const asked = messages(entries, { target: name, type: 'request' })[0]!;
    expect(messages(entries, { exchange: asked.index, type: 'result' })).toMatchObject([{ stream: asked['stream'] }]);
  }
  expect(messages(entries).filter(({ anomalies }) => anomalies !== undefined)).toEqual([]);
  expect(JSON.stringify(entries)).not.toContain('secret-session');
});

test('headers that say something else than the body go on, and both are recorded [proxy-mismatch]', async () => {
  const stage = await new ProxyStage().start();
  stage.upstream.serve((_, peer) => peer.write(jsonResponse(reply(1))));
  const client = await stage.client();
  const modern =
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}';
  for (const headers of [
    ['Mcp-Method: tools/call', 'Mcp-Name: drop', 'MCP-Protocol-Version: 2026-07-28'],
    ['Mcp-Method: tools/list'],
    ['Mcp-Name: =?base64?cmVhZA==?='],
    ['MCP-Protocol-Version: 2025-11-25'],
    ['Mcp-Name: =?base64?ZHJvcA==?='],
    // behind more headers, and behind longer ones, than are recorded
    [...Array.from({ length: 100 }, (_, i) => `X-${i}: a`), 'Mcp-Name: read'],
    [...Array.from({ length: 60 }, (_, i) => `X-${i}: ${'\xff'.repeat(500)}`), 'Mcp-Name: read'],
  ]) {
    await client.write(stage.request(modern, headers));
    await client.next();
  }
  const entries = await stage.ended();
  expect(messages(entries, { type: 'request' }).map(({ anomalies }) => anomalies)).toEqual([
    undefined,
    ['header-mismatch'],
    ['header-mismatch'],
    ['header-mismatch'],
    undefined,
    ['header-mismatch'],
    ['header-mismatch'],
  ]);
  expect(messages(entries, { type: 'request' })[1]!.opened['headers']).toContainEqual(['Mcp-Method', 'tools/list']);
  expect(stage.upstream.peers[0]!.input.text).toContain('Mcp-Method: tools/list');
});

test('a client that takes nothing keeps no delivery of others unknown, and gets all of it when it reads again [proxy-stuck]', async () => {
  const stage = await new ProxyStage().start();
  const { client: stuck, server } = await opened(stage, stage.request(call(1)));
  stuck.socket.pause();
  const large = `data: ${note('y'.repeat(200_000))}\n\n`;
  let sent = 0;
  // until nobody takes any more
  while (server.socket.writableLength < 4_000_000) {
    server.socket.write(chunk(large));
    sent++;
    await new Promise((done) => setImmediate(done));
  }
  const other = await stage.client();
  stage.upstream.serve((_, peer) => peer.write(jsonResponse(reply(2))));
  const ask = async (): Promise<void> => {
    await other.write(stage.request(call(2)));
    await other.next();
  };
  await ask();
  // it is named, and then deliveries of others are known again
  const named = await stage.until((entries) => entries.some(({ http }) => http?.undelivered !== undefined));
  const { http } = named.find(({ http: said }) => said?.undelivered !== undefined)!;
  await ask();
  await ask();
  const asked = messages(stage.entries(), { id: '2', type: 'request' })[0]!;
  const answered = messages(stage.entries(), { exchange: asked.index, type: 'result' })[0]!;
  expect(isDelivered(stage.entries(), answered)).toBe(true);
  const held = named.find(({ tapSeq, direction }) => direction === 's2c' && tapSeq === http.undelivered[0])!;
  expect(isDelivered(stage.entries(), held)).toBe(false);
  // it reads again
  stuck.socket.resume();
  await server.write(`${chunk(`data: ${reply(1)}\n\n`).toString()}${last}`);
  expect((await stuck.next()).body.length).toBe(sent * Buffer.byteLength(large) + `data: ${reply(1)}\n\n`.length);
  await stage.until((entries) => entries.some(({ http: said }) => said?.delivered !== undefined));
  const entries = await stage.ended();
  expect(
    messages(entries, { direction: 's2c' })
      .filter(({ type }) => type !== 'http')
      .filter((one) => !isDelivered(entries, one)),
  ).toEqual([]);
});

test('a rule that comes into force while streams are open holds for their next event [proxy-raise]', async () => {
  const stage = new ProxyStage();
  const config = join(stage.folder, 'sworn.yaml');
  writeFileSync(config, 'policy: { default: allow }\n');
  await stage.start(['--mode', 'observe', '--config', config]);
  const streams: { client: Peer; server: Peer }[] = [];
  for (let id = 1; id <= 3; id++) {
    const one = await opened(stage, stage.request(call(id)));
    await one.server.write(chunk(`data: ${note('before')}\n\n`));
    await one.client.input.until(({ text }) => text.includes('before'));
    streams.push(one);
  }
  writeFileSync(config, 'policy: { rules: [{ name: no-asking, deny: true, method: sampling/createMessage }] }\n');
  process.kill(stage.recorderPid!, 'SIGHUP');
  await stage.until((entries) => entries.filter(({ act }) => act === 'load').length === 2);
  for (const [at, { client, server }] of streams.entries()) {
    await server.write(chunk(`data: {"jsonrpc":"2.0","id":"s${at}","method":"sampling/createMessage","params":{}}\n\ndata: ${note('after')}\n\n`));
    await client.input.until(({ text }) => text.includes('after'));
    expect(client.input.text).not.toContain('sampling');
    // who asked is told, as a client's reply would be
    const told = await (await stage.upstream.peer()).next();
    expect(JSON.parse(told.body.toString())).toMatchObject({ id: `s${at}`, error: { code: 4030 } });
  }
  for (const { server } of streams) server.destroy();
  const entries = await stage.ended();
  expect(messages(entries, { method: 'sampling/createMessage', verdict: 'block' }).filter(({ origin }) => origin === 'server')).toHaveLength(3);
  expect(messages(entries, { origin: 'sworn' })).toHaveLength(3);
});
