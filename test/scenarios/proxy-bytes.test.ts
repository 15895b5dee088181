/** Both ends recorded and compared byte by byte: what goes through `sworn proxy` is what came, and what is in the ledger. */
import { randomBytes } from 'node:crypto';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { messages, type Recorded } from './stage.ts';
import { endToEnd, isDelivered, jsonResponse, ProxyStage, type HttpMessage } from './proxy-stage.ts';

const call = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":{}}}';
const reply = '{"jsonrpc":"2.0","id":7,"result":{"content":[]}}';

function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state / 0x8000_0000;
  };
}

function one(entries: readonly Recorded[], where: Record<string, unknown>): Recorded {
  const found = messages(entries, where);
  expect(found.length, JSON.stringify(where)).toBe(1);
  return found[0]!;
}

test('headers keep their order, case and duplicates both ways; what is about one connection stays there [proxy-bytes]', async () => {
  const stage = await new ProxyStage().start();
  const client = await stage.client();
  const sent = [
    'X-b: 2',
    'x-A:  spaced ',
    'X-b: 1',
    'X-Latin: caf\xe9',
    'Cookie: not for servers',
    'Authorization: Bearer secret-token',
    'Connection: keep-alive, X-Hop',
    'X-Hop: dropped',
    'TE: trailers',
    'Mcp-Session-Id: s1',
  ];
  await client.write(stage.request(call, sent));
  const server = await stage.upstream.peer();
  const request = await server.next();
  expect(request.line).toBe('POST /mcp HTTP/1.1');
  expect(request.headers.filter(([name]) => !/^connection$/i.test(name))).toEqual([
    ['Host', `127.0.0.1:${stage.upstream.port}`],
    ['X-b', '2'],
    ['x-A', 'spaced'],
    ['X-b', '1'],
    ['X-Latin', 'caf\xe9'],
    ['Authorization', 'Bearer secret-token'],
    ['Mcp-Session-Id', 's1'],
    ['Content-Type', 'application/json'],
    ['Content-Length', String(call.length)],
  ]);
  expect(request.body.toString()).toBe(call);
  const back = [
    'x-Z: 1',
    'X-z: 2',
    'Set-Cookie: a=1',
    'Set-Cookie: b=2',
    'Keep-Alive: timeout=9',
    'Date: yesterday',
    'WWW-Authenticate: Bearer realm=x',
  ];
  await server.write(jsonResponse(reply, back));
  const response = await client.next();
  expect(response.line).toBe('HTTP/1.1 200 OK');
  expect(endToEnd(response)).toEqual([
    ['Content-Type', 'application/json'],
    ['Content-Length', String(reply.length)],
    ...back.filter((line) => !line.startsWith('Keep-Alive')).map((line) => line.split(': ')),
  ]);
  expect(response.body.toString()).toBe(reply);
  const entries = await stage.ended();
  const asked = one(entries, { type: 'request' });
  expect(asked.frame!.toString()).toBe(call);
  expect(asked.opened['headers']).toContainEqual(['Authorization', 'Bearer [credential]']);
  expect(JSON.stringify(entries)).not.toContain('secret-token');
  const answered = one(entries, { type: 'result' });
  expect(answered).toMatchObject({ exchange: asked.index, session: asked.index });
  expect(answered.frame!.toString()).toBe(reply);
  expect([isDelivered(entries, asked), isDelivered(entries, answered)]).toEqual([true, true]);
});

/** Framing of a body in every way that HTTP/1.1 has, cut at random. */
const framings: Record<string, (body: Buffer, random: () => number) => { headers: string[]; bytes: Buffer }> = {
  'Content-Length': (body) => ({ headers: [`Content-Length: ${body.length}`], bytes: body }),
  'chunks of random size': (body, random) => chunked(body, () => 1 + Math.floor(random() * 400)),
  'chunks of one byte': (body) => chunked(body, () => 1),
};

function chunked(body: Buffer, size: () => number, trailers: string[] = []): { headers: string[]; bytes: Buffer } {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length;) {
    const part = body.subarray(at, at + size());
    parts.push(Buffer.from(`${part.length.toString(16)};ext=1\r\n`), part, Buffer.from('\r\n'));
    at += part.length;
  }
  parts.push(Buffer.from(['0', ...trailers, '', ''].join('\r\n')));
  return { headers: ['Transfer-Encoding: chunked'], bytes: Buffer.concat(parts) };
}

test('a body, whatever the method, framed and cut in every way, is one request with that body [proxy-bytes]', async () => {
  const stage = await new ProxyStage().start();
  const random = sequence(977);
  const client = await stage.client();
  const seen: HttpMessage[] = [];
  stage.upstream.serve(async (request, peer) => {
    seen.push(request);
    const body = Buffer.from(`{"jsonrpc":"2.0","id":${seen.length},"result":"${'y'.repeat(1 + Math.floor(random() * 900))}"}`);
    const { headers, bytes } = Object.values(framings)[seen.length % 3]!(body, random);
    const head = ['HTTP/1.1 200 Fine', 'Content-Type: application/json', ...headers, '', ''].join('\r\n');
    await peer.writeCut(Buffer.concat([Buffer.from(head), bytes]), () => 1 + Math.floor(random() * 200));
  });
  const sent: [line: string, body: string][] = [];
  const answered: string[] = [];
  for (const method of ['POST', 'GET', 'DELETE', 'PUT', 'OPTIONS']) {
    for (const frame of Object.values(framings)) {
      const body = Buffer.from(`{"jsonrpc":"2.0","id":${sent.length + 1},"method":"m","params":{"t":"${randomBytes(300).toString('hex')}"}}`);
      const line = `${method} /mcp?q=%20a HTTP/1.1`;
      sent.push([line, body.toString()]);
      const { headers, bytes } = frame(body, random);
      const head = [line, `Host: 127.0.0.1:${stage.port}`, 'Content-Type: application/json', ...headers, '', ''].join('\r\n');
      await client.writeCut(Buffer.concat([Buffer.from(head), bytes]), () => 1 + Math.floor(random() * 100));
      answered.push((await client.next()).body.toString());
    }
  }
  expect(seen.map(({ line, body }) => [line, body.toString()])).toEqual(sent);
  const entries = await stage.ended();
  expect(messages(entries, { type: 'request' }).map(({ frame }) => frame!.toString())).toEqual(sent.map(([, body]) => body));
  expect(messages(entries, { type: 'result' }).map(({ frame }) => frame!.toString())).toEqual(answered);
});

test('a body whose length is named for one connection alone does not become a second request [proxy-bytes]', async () => {
  const stage = await new ProxyStage().start();
  const inner = 'POST /admin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n';
  for (const headers of [
    ['Connection: content-length', `Content-Length: ${inner.length}`],
    ['Transfer-Encoding: chunked', 'Connection: transfer-encoding'],
  ]) {
    const client = await stage.client();
    const body = headers[0]!.startsWith('Transfer') ? `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n` : inner;
    await client.write(['GET /mcp HTTP/1.1', `Host: 127.0.0.1:${stage.port}`, ...headers, '', body].join('\r\n'));
    const server = await stage.upstream.peer();
    const request = await server.next();
    expect([request.line, request.body.toString(), server.rest.toString()]).toEqual(['GET /mcp HTTP/1.1', inner, '']);
    await server.write('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n');
    expect((await client.next()).line).toBe('HTTP/1.1 204 No Content');
    server.destroy();
  }
  const entries = await stage.ended();
  expect(messages(entries, { direction: 'c2s' }).map(({ frame }) => frame!.toString())).toEqual([inner, inner]);
});

test('encoded bodies and streams go on as they came, and are recorded as they can be read [proxy-bytes]', async () => {
  const stage = await new ProxyStage().start();
  const client = await stage.client();
  const events = ['id: 1\ndata: {"jsonrpc":"2.0","method":"notifications/message"}\n\n', `data: ${reply}\n\n`];
  const encodings: [string, (bytes: Buffer) => Buffer][] = [
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ];
  const server = { peer: stage.upstream.peer() };
  for (const [encoding, encode] of encodings) {
    const body = encode(Buffer.from(call));
    const head = [`POST /mcp HTTP/1.1`, `Host: 127.0.0.1:${stage.port}`, `Content-Encoding: ${encoding}`, `Content-Length: ${body.length}`, '', ''];
    await client.write(Buffer.concat([Buffer.from(head.join('\r\n')), body]));
    const peer = await server.peer;
    expect((await peer.next()).body).toEqual(body);
    const stream = encode(Buffer.from(events.join('')));
    const { headers, bytes } = chunked(stream, () => 9);
    await peer.write(
      Buffer.concat([
        Buffer.from(['HTTP/1.1 200 OK', 'Content-Type: text/event-stream', `Content-Encoding: ${encoding}`, ...headers, '', ''].join('\r\n')),
        bytes,
      ]),
    );
    expect((await client.next()).body).toEqual(stream);
    await client.write(stage.request(call));
    await peer.next();
    const answer = encode(Buffer.from(reply));
    await peer.write(
      Buffer.concat([
        Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: ${encoding}\r\nContent-Length: ${answer.length}\r\n\r\n`),
        answer,
      ]),
    );
    expect((await client.next()).body).toEqual(answer);
  }
  const entries = await stage.ended();
  expect(messages(entries, { type: 'request' }).map(({ frame }) => frame!.toString())).toEqual(Array.from({ length: 8 }, () => call));
  expect(messages(entries, { type: 'result' }).map(({ frame, http }) => [frame!.toString(), http.encoding])).toEqual(
    encodings.flatMap(([encoding]) => [
      [reply, encoding],
      [reply, encoding],
    ]),
  );
  expect(messages(entries, { type: 'notification' })).toHaveLength(4);
  expect(entries.filter(({ anomalies }) => anomalies !== undefined)).toEqual([]);
});

test('what cannot be decoded goes on as it came, and is recorded so [proxy-bytes]', async () => {
  const stage = await new ProxyStage().start();
  const client = await stage.client();
  const peerDue = stage.upstream.peer();
  const zipped = gzipSync(`data: ${reply}\n\n`);
  const damaged = Buffer.from(gzipSync(reply));
  damaged[damaged.length - 6]! ^= 0xff;
  const stream = async (encoding: string, pieces: Buffer[]): Promise<Buffer> => {
    await client.write(stage.request(call));
    const peer = await peerDue;
    await peer.next();
    await peer.write(
      `HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: ${encoding}\r\nContent-Length: ${Buffer.concat(pieces).length}\r\n\r\n`,
    );
    for (const [at, piece] of pieces.entries()) {
      await peer.write(piece);
      await client.input.until(() => (client.now()?.body.length ?? 0) >= Buffer.concat(pieces.slice(0, at + 1)).length);
    }
    return (await client.next()).body;
  };
  const unknown = [Buffer.from('one piece'), Buffer.from('another')];
  expect(await stream('rot13', unknown)).toEqual(Buffer.concat(unknown));
  const truncated = [zipped.subarray(0, -3)];
  expect(await stream('gzip', truncated)).toEqual(truncated[0]);
  const garbage = [Buffer.from('this is not gzip'), Buffer.from(' and never was')];
  expect(await stream('gzip', garbage)).toEqual(Buffer.concat(garbage));
  await client.write(stage.request(call));
  const peer = await peerDue;
  await peer.next();
  await peer.write(Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${damaged.length}\r\n\r\n`), damaged]));
  expect((await client.next()).body).toEqual(damaged);
  const entries = await stage.ended();
  const back = messages(entries, { direction: 's2c' }).map(({ type, frame, http }) => [
    type,
    type === 'http' ? '' : frame!.toString('latin1'),
    http?.encoding,
  ]);
  expect(back).toEqual([
    ...unknown.map((bytes) => ['opaque', bytes.toString(), 'rot13, unknown']),
    ['result', reply, 'gzip'],
    ['http', '', 'gzip, broken'],
    ...garbage.map((bytes) => ['opaque', bytes.toString(), 'gzip, broken']),
    ['opaque', damaged.toString('latin1'), 'gzip, broken'],
  ]);
});
