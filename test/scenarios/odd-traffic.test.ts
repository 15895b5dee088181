import { expect, test } from 'vitest';
import { frames, messages, Stage, type Recorded } from './stage.ts';

interface Odd {
  what: string;
  line: string | Buffer;
  type: string;
  anomalies?: string[];
  fields?: Record<string, unknown>;
}

const long = 'x'.repeat(10_000);

/** Lines that no well-behaved peer writes. Each must pass as it is, from either side, and say in the record what is odd about it. */
const odd: Odd[] = [
  { what: 'an empty line', line: '', type: 'opaque', anomalies: ['not-json'] },
  { what: 'spaces', line: '  \t ', type: 'opaque', anomalies: ['not-json'] },
  { what: 'CR alone', line: '\r', type: 'opaque', anomalies: ['not-json'] },
  { what: 'no JSON', line: '{"jsonrpc":"2.0","id":1,', type: 'opaque', anomalies: ['not-json'] },
  { what: 'NaN', line: '{"jsonrpc":"2.0","method":"x","params":{"a":NaN}}', type: 'opaque', anomalies: ['not-json'] },
  { what: 'plain text', line: 'Listening on port 3000', type: 'opaque', anomalies: ['not-json'] },
  { what: 'a number', line: '42', type: 'opaque', anomalies: ['not-jsonrpc'] },
  { what: 'an empty array', line: '[]', type: 'opaque', anomalies: ['not-jsonrpc'] },
  { what: 'an object of another kind', line: '{"level":"info"}', type: 'opaque', anomalies: ['not-jsonrpc'] },
  {
    what: 'a key twice',
    line: '{"jsonrpc":"2.0","id":"d1","method":"tools/call","params":{"name":"look","name":"wipe"}}',
    type: 'request',
    anomalies: ['duplicate-key'],
    fields: { id: '"d1"' },
  },
  {
    what: 'a key twice, in another case',
    line: '{"jsonrpc":"2.0","id":"d2","method":"tools/call","params":{"Name":"look","name":"wipe"}}',
    type: 'request',
    anomalies: ['case-variant-key'],
    fields: { id: '"d2"', target: 'wipe' },
  },
  { what: 'params null', line: '{"jsonrpc":"2.0","id":2,"method":"ping","params":null}', type: 'request', fields: { id: '2', method: 'ping' } },
  { what: 'an id that is a string', line: '{"jsonrpc":"2.0","id":"2","method":"ping"}', type: 'request', fields: { id: '"2"' } },
  { what: 'an id that is a float', line: '{"jsonrpc":"2.0","id":2.50,"method":"ping"}', type: 'request', fields: { id: '2.50' } },
  {
    what: 'an id above 2^53',
    line: '{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}',
    type: 'request',
    fields: { id: '9007199254740993' },
  },
  {
    what: 'another id above 2^53, equal for who rounds',
    line: '{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}',
    type: 'request',
    fields: { id: '9007199254740992' },
  },
  { what: 'a long id', line: `{"jsonrpc":"2.0","id":"${long}","method":"ping"}`, type: 'request', fields: { truncated: ['id'] } },
  { what: 'a long method', line: `{"jsonrpc":"2.0","method":"${long}"}`, type: 'notification', fields: { truncated: ['method'] } },
  { what: 'an id that is null', line: '{"jsonrpc":"2.0","id":null,"method":"ping"}', type: 'request', fields: { id: 'null' } },
  { what: 'an id that is an object', line: '{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}', type: 'request', anomalies: ['id-not-scalar'] },
  { what: 'an id in use', line: '{"jsonrpc":"2.0","id":2.0,"method":"ping"}', type: 'request', anomalies: ['id-reused'] },
  { what: 'a reply to nothing', line: '{"jsonrpc":"2.0","id":"never","result":{}}', type: 'result', anomalies: ['reply-to-nothing'] },
  {
    what: 'an error for nobody',
    line: '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}',
    type: 'error',
    anomalies: ['reply-to-nothing'],
    fields: { code: -32700 },
  },
  { what: 'a NUL byte', line: '{"jsonrpc":"2.0","method":"a\u0000b"}', type: 'opaque', anomalies: ['not-json', 'nul-byte'] },
  { what: 'an escaped NUL', line: '{"jsonrpc":"2.0","method":"a\\u0000b"}', type: 'notification', anomalies: ['nul-byte'] },
  { what: 'CR LF', line: '{"jsonrpc":"2.0","method":"crlf"}\r', type: 'notification', fields: { method: 'crlf' } },
  {
    what: 'invalid UTF-8',
    line: Buffer.concat([Buffer.from('{"jsonrpc":"2.0","method":"m","params":{"a":"'), Buffer.of(0xff, 0xfe, 0xc3), Buffer.from('"}}')]),
    type: 'notification',
    anomalies: ['invalid-utf8'],
  },
  { what: 'a byte order mark', line: '\ufeff{"jsonrpc":"2.0","method":"bom"}', type: 'opaque', anomalies: ['not-json'] },
  { what: 'another line separator', line: '{"jsonrpc":"2.0","method":"a\u2028b\u0085"}', type: 'notification' },
  { what: 'no jsonrpc', line: '{"id":77,"method":"ping"}', type: 'request', anomalies: ['not-jsonrpc'] },
  { what: 'spaces around', line: '   {"jsonrpc":"2.0","method":"spaced"}   ', type: 'notification', fields: { method: 'spaced' } },
  {
    what: 'deep nesting',
    line: `{"jsonrpc":"2.0","method":"deep","params":${'['.repeat(5000)}${']'.repeat(5000)}}`,
    type: 'opaque',
    anomalies: ['too-deep'],
  },
  { what: 'terminal codes', line: '\u001b[2J{"jsonrpc":"2.0","method":"clear"}', type: 'opaque', anomalies: ['not-json'] },
];

const whole = (lines: readonly (string | Buffer)[]): Buffer => Buffer.concat(lines.flatMap((one) => [Buffer.from(one), Buffer.from('\n')]));
const end = '{"jsonrpc":"2.0","method":"the-end"}';

function expectOdd(entries: Recorded[], direction: 'c2s' | 's2c'): void {
  const own = messages(entries, { direction });
  expect(own).toHaveLength(odd.length + 1);
  for (const [i, { what, line, type, anomalies, fields }] of odd.entries()) {
    const entry = own[i]!;
    expect(entry.frame, what).toEqual(Buffer.from(line));
    expect([...((entry['anomalies'] as string[] | undefined) ?? [])].sort(), what).toEqual([...(anomalies ?? [])].sort());
    expect(entry, what).toMatchObject({ type, tapSeq: i + 1, sizeBytes: Buffer.from(line).length, verdict: 'pass', ...fields });
    expect(Buffer.byteLength(String(entry['id'] ?? '')), what).toBeLessThanOrEqual(64);
  }
  expect(own.find((entry) => (entry['truncated'] as string[] | undefined)?.[0] === 'id')!.opened['id']).toBe(`"${long}"`);
  expect(own.find((entry) => (entry['truncated'] as string[] | undefined)?.[0] === 'method')!.opened['method']).toBe(long);
}

test('odd lines pass as they are in both directions and are marked in the record [odd-bytes, odd-anomalies]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const sent = whole([...odd.map(({ line }) => line), end]);
  await tap.write(sent);
  await server.write(sent);
  expect((await server.input.size(sent.length)).bytes).toEqual(sent);
  expect((await tap.output.size(sent.length)).bytes).toEqual(sent);
  expect(await tap.close()).toEqual({ code: 0, signal: null });
  expect(tap.errors.text).toBe('');
  const entries = await stage.finished();
  expectOdd(entries, 'c2s');
  expectOdd(entries, 's2c');
});

test('chunks of one byte make the same record as one chunk [odd-chunks]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const sent = whole([...odd.map(({ line }) => (Buffer.from(line).length > 2000 ? '{}' : line)), end]);
  for (const byte of sent) await tap.write(Buffer.of(byte));
  expect((await server.input.size(sent.length)).bytes).toEqual(sent);
  for (const byte of sent) await server.write(Buffer.of(byte));
  expect((await tap.output.size(sent.length)).bytes).toEqual(sent);
  await tap.close();
  const entries = await stage.finished();
  expect(whole(frames(entries, 'c2s'))).toEqual(sent);
  expect(whole(frames(entries, 's2c'))).toEqual(sent);
});

test('a stream that ends without a line end passes as it is and is marked [odd-unterminated]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const half = '{"jsonrpc":"2.0","id":1,"meth';
  await tap.write(`{"jsonrpc":"2.0","method":"a"}\n${half}`);
  await server.write(`{"jsonrpc":"2.0","method":"b"}\n${half}`);
  await tap.close();
  expect(server.input.text).toBe(`{"jsonrpc":"2.0","method":"a"}\n${half}`);
  expect(tap.output.text).toBe(`{"jsonrpc":"2.0","method":"b"}\n${half}`);
  const entries = await stage.finished();
  for (const direction of ['c2s', 's2c'] as const) {
    const [whole, cut] = messages(entries, { direction });
    expect(whole).not.toHaveProperty('anomalies');
    expect(cut).toMatchObject({ type: 'opaque', anomalies: ['not-json', 'unterminated'], sizeBytes: half.length });
  }
  expect(entries.at(-2)).toMatchObject({ kind: 'close', frames: { c2s: 2, s2c: 2 }, delivered: [2, 2] });
});

test('a line that its sender never finished before the server ended is recorded, and not delivered [odd-unfinished]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet({ exitCode: 5 });
  await tap.write('{"jsonrpc":"2.0","method":"a"}\n{"jsonrpc":"2.0","id":1,"meth');
  await server.input.count(1);
  server.exit();
  expect(await tap.ended).toEqual({ code: 5, signal: null });
  const entries = await stage.finished();
  expect(frames(entries, 'c2s').map(String)).toEqual(['{"jsonrpc":"2.0","method":"a"}', '{"jsonrpc":"2.0","id":1,"meth']);
  expect(entries.find(({ kind }) => kind === 'close')).toMatchObject({ reason: 'server exited', frames: { c2s: 2, s2c: 0 }, delivered: [1, 0] });
});

test('ids are paired by type and direction [odd-pairing, entry-server-request]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const request = (id: string, method: string): string => `{"jsonrpc":"2.0","id":${id},"method":"${method}"}\n`;
  const reply = (id: string, what: string): string => `{"jsonrpc":"2.0","id":${id},"result":{"what":"${what}"}}\n`;
  const big = `"${long}"`;
  const asked = [
    request('1', 'number'),
    request('"1"', 'string'),
    request('1.5', 'float'),
    request('9007199254740993', 'odd'),
    request('9007199254740992', 'even'),
    request(big, 'long'),
  ].join('');
  await tap.write(asked);
  await server.input.size(asked.length);
  // the server asks with an id of the client's, before it answers
  const answered = [
    request('1', 'sampling/createMessage'),
    reply('9007199254740992', 'even'),
    reply('"1"', 'string'),
    reply('9007199254740993', 'odd'),
    reply(big, 'long'),
    reply('1.0', 'number'),
    reply('1.5', 'float'),
  ].join('');
  await server.write(answered);
  await tap.output.size(answered.length);
  await tap.write(reply('1', 'sampling/createMessage'));
  await server.input.size(asked.length + reply('1', 'sampling/createMessage').length);
  await tap.close();
  const entries = await stage.finished();
  const replies = messages(entries, { type: 'result' });
  expect(replies).toHaveLength(7);
  for (const entry of replies) {
    const { what } = (JSON.parse(entry.frame!.toString()) as { result: { what: string } }).result;
    const asked = entries[entry['exchange'] as number]!;
    expect(asked, what).toMatchObject({ type: 'request', method: what });
    expect(entry['method']).toBe(what);
    expect(asked['direction']).not.toBe(entry['direction']);
    expect(entry).not.toHaveProperty('anomalies');
  }
});

test('an id reused while pending is marked, and its replies go to the requests in order [odd-reused]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const request = (name: string): string => `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"${name}"}}\n`;
  const reply = '{"jsonrpc":"2.0","id":7,"result":{}}\n';
  await tap.write(request('one') + request('two'));
  await server.input.count(2);
  await server.write(reply + reply + reply);
  await tap.output.count(3);
  await tap.close();
  const entries = await stage.finished();
  const [first, second] = messages(entries, { direction: 'c2s' });
  expect(second).toMatchObject({ anomalies: ['id-reused'] });
  expect(messages(entries, { direction: 's2c' })).toMatchObject([
    { exchange: first!.index, target: 'one' },
    { exchange: second!.index, target: 'two' },
    { anomalies: ['reply-to-nothing'] },
  ]);
  expect(messages(entries, { direction: 's2c' })[2]).not.toHaveProperty('exchange');
});

test('a cancellation right behind its request belongs to it, and so does a late reply [odd-cancelled]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const talk =
    '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"slow"}}\n' +
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}\n';
  await tap.write(talk);
  expect((await server.input.count(2)).text).toBe(talk);
  await server.write('{"jsonrpc":"2.0","id":3,"result":{}}\n');
  await tap.output.count(1);
  await tap.close();
  const entries = await stage.finished();
  const [request, cancelled, reply] = messages(entries);
  expect(cancelled).toMatchObject({ type: 'notification', method: 'notifications/cancelled', exchange: request!.index });
  expect(reply).toMatchObject({ type: 'result', exchange: request!.index, target: 'slow' });
});

test('batches pass as they are; each item is paired, in both directions [odd-batch]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const asked =
    '[ {"jsonrpc":"2.0","id":1,"method":"tools/list"} , {"jsonrpc":"2.0","method":"notifications/initialized"},{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{"name":"look"}},17,{"jsonrpc":"2.0","id":5,"method":"ping"}]\n';
  await tap.write(asked);
  expect((await server.input.count(1)).text).toBe(asked);
  const answered =
    '[{"jsonrpc":"2.0","id":"1","result":{"isError":true,"content":[]}},{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"look","annotations":{"readOnlyHint":true}}]}},{"jsonrpc":"2.0","id":1,"method":"roots/list"}]\n{"jsonrpc":"2.0","id":5,"result":{}}\n';
  await server.write(answered);
  expect((await tap.output.count(2)).text).toBe(answered);
  const back = '[{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}]\n';
  await tap.write(back);
  expect((await server.input.count(2)).text).toBe(asked + back);
  await tap.write('{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"look"}}\n');
  await server.input.count(3);
  await tap.close();
  const entries = await stage.finished();
  const [asking, answering, last] = entries.filter(({ kind }) => kind === 'batch');
  expect(asking).toMatchObject({ direction: 'c2s', items: 5, tapSeq: 1, segments: 1 });
  expect(asking!.frame!.toString()).toBe(asked.trim());
  const items = (batch: Recorded): Recorded[] => messages(entries, { batch: batch.index });
  const requests = items(asking!);
  expect(requests).toMatchObject([
    { item: 0, type: 'request', id: '1', method: 'tools/list' },
    { item: 1, type: 'notification', method: 'notifications/initialized' },
    { item: 2, type: 'request', id: '"1"', target: 'look', effect: 'unknown' },
    { item: 3, type: 'opaque', anomalies: ['not-jsonrpc'] },
    { item: 4, type: 'request', id: '5' },
  ]);
  for (const entry of requests) {
    expect(entry).not.toHaveProperty('commitment');
    const [from, until] = entry['range'] as [number, number];
    expect(() => JSON.parse(asked.slice(from, until)) as unknown).not.toThrow();
  }
  expect(items(answering!)).toMatchObject([
    { type: 'result', id: '"1"', outcome: 'toolError', exchange: requests[2]!.index, target: 'look' },
    { type: 'result', id: '1', outcome: 'ok', exchange: requests[0]!.index, method: 'tools/list' },
    { type: 'request', id: '1', method: 'roots/list', direction: 's2c' },
  ]);
  expect(items(last!)).toMatchObject([
    { type: 'error', code: -32601, outcome: 'error', exchange: items(answering!)[2]!.index, method: 'roots/list' },
  ]);
  expect(messages(entries, { id: '5', direction: 's2c' })).toMatchObject([{ exchange: requests[4]!.index, method: 'ping' }]);
  // annotations count also when they came in a batch
  expect(messages(entries, { id: '6' })).toMatchObject([{ effect: 'read', effectSource: 'annotation' }]);
  const own = entries.filter(({ kind }) => kind === 'batch' || kind === 'message');
  expect(own.map((entry) => entry['seq'])).toEqual(own.map((_, i) => i + 1));
});

test('a batch of more than a thousand items passes and is opaque [odd-batch-large]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const item = '{"jsonrpc":"2.0","method":"n"}';
  const large = `[${Array.from({ length: 1001 }, () => item).join(',')}]\n[${Array.from({ length: 1000 }, () => item).join(',')}]\n`;
  await tap.write(large);
  expect((await server.input.size(large.length)).text).toBe(large);
  await tap.close();
  const entries = await stage.finished();
  expect(messages(entries, { type: 'opaque' })).toMatchObject([{ anomalies: ['too-many-items'] }]);
  const [batch] = entries.filter(({ kind }) => kind === 'batch');
  expect(messages(entries, { batch: batch!.index })).toHaveLength(1000);
});

test('the two directions are each in order, and what answers stands behind what it answers [odd-order]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const count = 2000;
  server.socket.on('data', () => undefined);
  let seen = 0;
  const answering = (async () => {
    while (seen < count) {
      await server.input.until(({ lines }) => lines.length > seen);
      const fresh = server.input.lines.slice(seen);
      seen += fresh.length;
      await server.write(
        fresh.map((text) => `${JSON.stringify({ jsonrpc: '2.0', id: (JSON.parse(text) as { id: number }).id, result: {} })}\n`).join(''),
      );
    }
  })();
  for (let id = 0; id < count; id += 50) {
    await tap.write(Array.from({ length: 50 }, (_, i) => `{"jsonrpc":"2.0","id":${id + i},"method":"ping"}\n`).join(''));
  }
  await answering;
  await tap.output.count(count);
  expect(tap.output.lines.map((text) => (JSON.parse(text) as { id: number }).id)).toEqual(Array.from({ length: count }, (_, i) => i));
  await tap.close();
  const entries = await stage.finished();
  for (const reply of messages(entries, { type: 'result' })) {
    expect(reply['exchange']).toBeLessThan(reply.index);
    expect(entries[reply['exchange'] as number]!['id']).toBe(reply['id']);
  }
  expect(messages(entries, { direction: 'c2s' }).map((entry) => Number(entry['id']))).toEqual(Array.from({ length: count }, (_, i) => i));
});
