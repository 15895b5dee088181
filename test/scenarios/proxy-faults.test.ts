/** Servers that fail and clients that leave, at every point of an exchange: who is on the other side sees it at once, and the record says what became of each frame. */
import { expect, test } from 'vitest';
import { messages, type Recorded } from './stage.ts';
import { endToEnd, header, isDelivered, jsonResponse, ProxyStage, type HttpMessage, type Peer } from './proxy-stage.ts';

const call = (id: number): string => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"x","arguments":{}}}`;
const reply = (id: number): string => `{"jsonrpc":"2.0","id":${id},"result":{}}`;
const event = (data: string): string => `data: ${data}\n\n`;
const note = (text: string): string => `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"${text}"}}`;
const streamHead = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;

/** One exchange, on connections of its own: what the client gets, whole or not, once everything is over. */
async function exchange(stage: ProxyStage, request: Buffer, answer: (server: Peer) => Promise<void> | void, isHead = false): Promise<HttpMessage> {
  const client = await stage.client();
  const due = stage.upstream.peer();
  await client.write(request);
  const server = await due;
  await server.next();
  await answer(server);
  try {
    return await client.next({ isHead });
  } catch {
    return client.now({ isHead })!;
  } finally {
    server.destroy();
    client.destroy();
    await client.closed;
  }
}

function ofStream(entries: readonly Recorded[], id: number): Recorded[] {
  const { stream } = messages(entries, { type: 'request', id: String(id) })[0]!;
  return messages(entries, { stream });
}

test('whatever a server answers goes on as it came [proxy-answers]', async () => {
  const stage = await new ProxyStage().start();
  const answers: [string, string][] = [
    ['HTTP/1.1 500 Oh No\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nboom!', 'boom!'],
    ['HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n<garbage>', '<garbage>'],
    ['HTTP/1.1 307 Temporary Redirect\r\nLocation: http://elsewhere.example/mcp\r\nContent-Length: 0\r\n\r\n', ''],
    [`HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ${reply(4).length}\r\n\r\n${reply(4)}`, reply(4)],
    ['HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n', ''],
    ['HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<p>until the end</p>', '<p>until the end</p>'],
    ['HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}', '{}'],
    ['HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"old":1}', '{"old":1}'],
    [`HTTP/1.1 200 OK\r\nX-Long: ${'h'.repeat(40_000)}\r\nContent-Length: 0\r\n\r\n`, ''],
    [`HTTP/1.1 200 OK\r\n${Array.from({ length: 3_000 }, (_, i) => `X-${i}: ${i}\r\n`).join('')}Content-Length: 0\r\n\r\n`, ''],
  ];
  for (const [id, [answer, body]] of answers.entries()) {
    const got = await exchange(stage, stage.request(call(id)), async (server) => {
      await server.write(answer);
      if (!/content-length/i.test(answer)) server.socket.end();
    });
    const sent = answer.slice(answer.startsWith('HTTP/1.1 103') ? answer.indexOf('HTTP/1.1 200') : 0);
    expect(got.line).toBe(sent.split('\r\n')[0]!.replace('HTTP/1.0', 'HTTP/1.1'));
    expect(got.body.toString()).toBe(body);
    expect(got.isWhole).toBe(true);
    const headers = sent
      .slice(0, sent.indexOf('\r\n\r\n'))
      .split('\r\n')
      .slice(1)
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]);
    expect(endToEnd(got)).toEqual(headers);
  }
  // a body that is only spoken of
  const head = await exchange(stage, stage.request('', [], 'HEAD'), (server) => server.write('HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n'), true);
  expect([head.line, header(head, 'content-length')]).toEqual(['HTTP/1.1 200 OK', '77']);
  const trailed = await exchange(stage, stage.request(call(50)), (server) =>
    server.write(`HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(reply(50))}0\r\nX-Sum: 9\r\n\r\n`),
  );
  expect([trailed.body.toString(), trailed.trailers]).toEqual([reply(50), [['X-Sum', '9']]]);
  const entries = await stage.ended();
  for (const [id, [, body]] of answers.entries()) {
    const [request, answered] = ofStream(entries, id);
    expect(ofStream(entries, id)).toHaveLength(2);
    expect([isDelivered(entries, request!), isDelivered(entries, answered!)]).toEqual([true, true]);
    expect(body === '' ? answered!['type'] : answered!.frame!.toString()).toBe(body === '' ? 'http' : body);
  }
  expect(ofStream(entries, 0)[1]).toMatchObject({ type: 'opaque', http: { status: 500 }, anomalies: ['not-json'] });
  expect(ofStream(entries, 3)[1]).toMatchObject({ type: 'result', http: { status: 400 } });
  expect(ofStream(entries, 50)[1]!.opened['headers']).toContainEqual(['X-Sum', '9']);
});

test('a server that breaks off: the client sees that it is not all, and what came is recorded [proxy-breaks]', async () => {
  const stage = await new ProxyStage().start();
  const half = await exchange(stage, stage.request(call(1)), async (server) => {
    await server.write(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"jsonrpc"`);
    server.destroy();
  });
  expect([half.body.toString(), half.isWhole]).toEqual(['{"jsonrpc"', false]);
  const halfChunk = await exchange(stage, stage.request(call(2)), async (server) => {
    await server.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunk('{"a":')}ff\r\n1`);
    server.reset();
  });
  expect([halfChunk.isWhole, '{"a":1'.startsWith(halfChunk.body.toString())]).toEqual([false, true]);
  const stream = await exchange(stage, stage.request(call(3)), async (server) => {
    await server.write(`${streamHead}${chunk(event(note('one')))}${chunk('data: {"half":')}`);
    // all that can be there is there
    await stage.until((entries) => messages(entries, { method: 'notifications/message' }).length === 1);
    server.destroy();
  });
  expect([stream.body.toString(), stream.isWhole]).toEqual([`${event(note('one'))}data: {"half":`, false]);
  const unended = await exchange(stage, stage.request(call(4)), (server) =>
    server.write(`${streamHead}${chunk(event(note('two')))}${chunk(`data: ${reply(4)}\n`)}0\r\n\r\n`),
  );
  expect([unended.body.toString(), unended.isWhole]).toEqual([`${event(note('two'))}data: ${reply(4)}\n`, true]);
  for (const [id, garbage] of [
    [5, 'no HTTP at all\r\n\r\n'],
    [6, 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'],
    [7, ''],
  ] as const) {
    const got = await exchange(stage, stage.request(call(id)), async (server) => {
      if (garbage !== '') await server.write(garbage);
      server.destroy();
    });
    expect([got.line, got.isWhole], garbage).toEqual(['HTTP/1.1 502 Bad Gateway', true]);
  }
  const entries = await stage.ended();
  expect(ofStream(entries, 1)[1]).toMatchObject({ type: 'opaque', http: { end: 'upstream closed' } });
  expect(ofStream(entries, 1)[1]!.frame!.toString()).toBe('{"jsonrpc"');
  expect(ofStream(entries, 2)[1]!['http'].end).toBe('upstream closed');
  expect(ofStream(entries, 3).map(({ type, http }) => [type, http?.end])).toEqual([
    ['request', undefined],
    ['notification', undefined],
    ['opaque', undefined],
    ['http', 'upstream closed'],
  ]);
  expect(ofStream(entries, 4).map(({ type, frame }) => [type, frame!.toString()])).toEqual([
    ['request', call(4)],
    ['notification', note('two')],
    ['result', reply(4)],
  ]);
  for (const id of [5, 6, 7]) expect(ofStream(entries, id).at(-1)).toMatchObject({ type: 'http', http: { status: 502, own: true } });
});

test('a server that cannot be reached: 502, and the request is said not to be delivered [proxy-breaks]', async () => {
  const stage = new ProxyStage();
  await stage.start();
  const early = await exchange(stage, stage.request(call(0)), (server) => server.write(jsonResponse(reply(0))));
  expect(early.body.toString()).toBe(reply(0));
  stage.upstream.end();
  const client = await stage.client();
  await client.write(stage.request(call(1)));
  expect((await client.next()).line).toBe('HTTP/1.1 502 Bad Gateway');
  const entries = await stage.ended();
  const [request, ...rest] = ofStream(entries, 1);
  const shown = await Promise.all(
    [...ofStream(entries, 0), request!].map(({ index }) => stage.command('show', String(index), '--ledger', stage.ledger, '--json')),
  );
  expect(shown.map(({ stdout }) => (JSON.parse(stdout) as { deliveryConfirmed: boolean }).deliveryConfirmed)).toEqual([true, true, false]);
  expect(isDelivered(entries, request!)).toBe(false);
  expect(rest.map(({ direction, http }) => [direction, http])).toEqual([
    ['s2c', { status: 502, own: true, end: 'the server cannot be reached' }],
    ['c2s', { undelivered: [request!['tapSeq'], request!['tapSeq']] }],
  ]);
});

test('a client that leaves: before it is recorded nothing goes on, and later the server is left at once [proxy-leaves]', async () => {
  const stage = await new ProxyStage().start();
  const leave = async (bytes: string | Buffer): Promise<void> => {
    const client = await stage.client();
    await client.write(bytes);
    client.destroy();
    await client.closed;
  };
  const whole = stage.request(call(1));
  // in its head: nothing was asked
  await leave(whole.subarray(0, 30));
  // in its body: recorded as far as it came
  await leave(whole.subarray(0, whole.length - 10));
  await stage.until((entries) => messages(entries, { direction: 'c2s' }).length === 1);

  // while it waits for the answer, and having said no more: a half-closed connection is a left one
  for (const id of [2, 3]) {
    const client = await stage.client();
    await client.write(stage.request(call(id)));
    const server = await stage.upstream.peer();
    await server.next();
    if (id === 2) client.reset();
    else client.socket.end();
    await server.closed;
  }

  // in the middle of a stream, with events that wait for the recorder
  const client = await stage.client();
  await client.write(stage.request(call(4)));
  const server = await stage.upstream.peer();
  await server.next();
  await server.write(`${streamHead}${chunk(event(note('seen')))}`);
  await client.input.until(({ text }) => text.includes('seen'));
  // one that is known already: nothing but the recorder is waited for
  const early = await stage.client();
  await early.write(stage.request(call(7)));
  const answering = await stage.upstream.peer();
  await answering.next();
  await answering.write(jsonResponse(reply(7)));
  await early.next();
  answering.destroy();
  const recorder = stage.recorderPid!;
  process.kill(recorder, 'SIGSTOP');
  await server.write(chunk(event(note('a')) + event(note('b')) + event(note('c'))));
  // and one whose request waits for it
  await early.write(stage.request(call(5)));
  // both are with the proxy, which tells nobody: that it answers other questions says so
  const probe = await stage.client();
  const probed = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) {
      await probe.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
      await probe.next();
    }
  };
  await probed(20);
  client.reset();
  early.reset();
  await server.closed;
  // that the other has left, too, must have come before what the recorder says
  await probed(3);
  process.kill(recorder, 'SIGCONT');

  // everybody else goes on
  const after = await exchange(stage, stage.request(call(6)), (peer) => peer.write(jsonResponse(reply(6))));
  expect(after.body.toString()).toBe(reply(6));
  const entries = await stage.ended();
  const [half] = messages(entries, { type: 'opaque' });
  expect(half).toMatchObject({ http: { end: 'client closed' } });
  expect(isDelivered(entries, half!)).toBe(false);
  for (const id of [2, 3]) {
    expect(ofStream(entries, id).map(({ type, http }) => [type, http?.end])).toEqual([
      ['request', undefined],
      ['http', 'client closed'],
    ]);
    expect(isDelivered(entries, ofStream(entries, id)[0]!)).toBe(true);
  }
  const events = ofStream(entries, 4).filter(({ type }) => type === 'notification');
  expect(events.map((one) => isDelivered(entries, one))).toEqual([true, ...events.slice(1).map(() => false)]);
  expect(ofStream(entries, 4).at(-1)!['http'].end).toBe('client closed');
  const cancelled = ofStream(entries, 5);
  expect(cancelled.map(({ type, http }) => [type, http?.end])).toEqual([
    ['request', undefined],
    ['http', 'cancelled before delivery'],
  ]);
  expect(isDelivered(entries, cancelled[0]!)).toBe(false);
  expect(ofStream(entries, 6).map((one) => isDelivered(entries, one))).toEqual([true, true]);
  // of what was cancelled nothing reached the server
  expect(stage.upstream.peers.some(({ input }) => input.text.includes('"id":5'))).toBe(false);
});

test('what HTTP wants of a server: 100, pipelining, bounds; the rest is refused clearly [proxy-http]', async () => {
  const stage = await new ProxyStage().start();
  stage.upstream.serve((request, peer) => peer.write(jsonResponse(reply(request.body.length))));
  const client = await stage.client();
  const body = call(1);
  const [head] = stage.request(body, ['Expect: 100-continue']).toString('latin1').split('\r\n\r\n');
  await client.write(`${head}\r\n\r\n`);
  expect((await client.next()).line).toBe('HTTP/1.1 100 Continue');
  await client.write(body);
  expect((await client.next()).body.toString()).toBe(reply(body.length));
  // several at a time on one connection
  await client.write(Buffer.concat([2, 3, 4].map((id) => stage.request(call(id)))));
  for (let i = 0; i < 3; i++) expect((await client.next()).line).toBe('HTTP/1.1 200 OK');
  // many headers, and long ones, as far as it goes
  const many = [
    ...Array.from({ length: 2_500 }, (_, i) => `X-${i}: ${i}`),
    `Mcp-Session-Id: ${'s'.repeat(2_000)}`,
    `X-Quotes: ${'"'.repeat(20_000)}`,
  ];
  await client.write(stage.request(call(5), many));
  expect((await client.next()).line).toBe('HTTP/1.1 200 OK');
  const sent = stage.upstream.peers.flatMap(({ input }) => input.text).join('');
  expect(sent.match(/^X-\d+: /gm)).toHaveLength(2_500);
  expect(sent).not.toMatch(/^expect:/im);
  for (const [request, line] of [
    [stage.request(call(6), [`X-Long: ${'x'.repeat(70_000)}`]), 'HTTP/1.1 431 Request Header Fields Too Large'],
    [stage.request(call(7), [], 'POST', '/elsewhere'), 'HTTP/1.1 200 OK'],
    [stage.request(call(8), ['Origin: http://evil.example']), 'HTTP/1.1 403 Forbidden'],
    [
      Buffer.from(
        stage
          .request(call(9))
          .toString('latin1')
          .replace(/Host: .*/, 'Host: evil.example'),
      ),
      'HTTP/1.1 403 Forbidden',
    ],
    [stage.request(call(10), ['Transfer-Encoding: chunked']), 'HTTP/1.1 400 Bad Request'],
    [stage.request(call(11), ['Content-Length: 3']), 'HTTP/1.1 400 Bad Request'],
    [stage.request(call(12), ['Expect: something-else']), 'HTTP/1.1 417 Expectation Failed'],
    [Buffer.from('nonsense\r\n\r\n'), 'HTTP/1.1 400 Bad Request'],
  ] as const) {
    const other = await stage.client();
    await other.write(request);
    expect((await other.next()).line).toBe(line);
  }
  const entries = await stage.ended();
  expect(messages(entries, { type: 'request' }).map(({ id }) => Number(id))).toEqual([1, 2, 3, 4, 5, 7]);
  const refused = entries.filter(({ http }) => http?.end === 'not allowed');
  expect(refused.map(({ direction, http }) => [direction, http.status, http.own])).toEqual([
    ['c2s', undefined, undefined],
    ['s2c', 403, true],
    ['c2s', undefined, undefined],
    ['s2c', 403, true],
  ]);
  expect(refused.map((one) => isDelivered(entries, one))).toEqual([false, true, false, true]);
});
