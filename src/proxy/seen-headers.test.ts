import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { forwarded, otherCharset, recorded, type HeaderRules } from './headers.ts';
import { goingOn, HeaderMemory } from './seen-headers.ts';

const rules: HeaderRules = { authorization: false, cookies: false, remove: ['X-Private'], set: [['X-Set', 'by us']] };
const without = ['expect'];

/** Each differs from the one before it in what somebody acts on, or only records, or in its length. */
const messages: readonly (readonly string[])[] = [
  ['Host', 'a', 'Content-Type', 'application/json', 'Content-Length', '5', 'Mcp-Name', 'x'],
  ['Host', 'a', 'Content-Type', 'application/json', 'Content-Length', '17', 'Mcp-Name', '"quoted", and \u00e4'],
  ['Host', 'a', 'Content-Type', 'application/json', 'Content-Length', '17', 'Mcp-Name', `https://user:secret@host/?token=${'t'.repeat(600)}`],
  ['Host', 'b', 'Content-Type', 'application/json', 'Content-Length', '17', 'Mcp-Name', 'x'],
  ['Host', 'b', 'Content-Type', 'application/json; charset=utf-7', 'Content-Length', '17', 'Mcp-Name', 'x'],
  ['host', 'b', 'Content-Type', 'application/json; charset=utf-7', 'Content-Length', '17', 'Mcp-Name', 'x'],
  ['Host', 'b', 'Connection', 'x-private', 'Content-Length', '1', 'X-Private', 'no'],
  ['Host', 'b', 'Connection', 'mcp-name', 'Content-Length', '1', 'Mcp-Name', 'no'],
  ['Host', 'b', 'Connection', 'close', 'Content-Length', '1', 'Mcp-Name', 'yes'],
  ['Host', 'b', 'Authorization', 'Bearer sworn_abc', 'Content-Length', '1', 'Mcp-Name', 'yes'],
  ['Host', 'b', 'Authorization', 'Bearer other', 'Content-Length', '1', 'Mcp-Name', 'yes'],
  ['Host', 'b', 'Host', 'c', 'Origin', 'https://a', 'origin', 'https://b'],
  ['Host', 'b', 'Host', 'c', 'Mcp-Session-Id', '1', 'mcp-session-id', '2'],
  ['Host', 'b', 'Transfer-Encoding', 'chunked', 'Content-Encoding', 'gzip', 'Content-Encoding', 'br'],
  ['Host', 'b', 'X-Private', 'x', 'ETag', 'W/"1"', 'Expect', '100-continue'],
  ['Host', 'b', 'X-Private', 'x', 'ETag', 'W/"2"', 'Expect', '100-continue'],
  ['Host', 'b', 'X-Private', 'x', 'ETag', `W/"${'2'.repeat(5_000)}"`, 'Expect', '100-continue'],
  ['Host', 'b', 'X-Private', 'x', 'ETag', 'W/"3"', 'Expect', '100-continue'],
  Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? `X-${i}` : 'many')),
];

test('what is said of headers is what is said of them alone, whatever came before', () => {
  const memory = new HeaderMemory();
  const all = [...messages, ...messages.toReversed(), ...messages.flatMap((one) => [one, one, messages[1]!])];
  const seen = all.map((raw) => memory.read([...raw]));
  // also of those that others came after
  for (const [i, one] of seen.entries()) {
    const raw = all[i]!;
    const alone = new HeaderMemory().read(raw);
    expect(one.raw).toEqual(raw);
    expect(one.list).toEqual(alone.list);
    expect(one.list.charset).toBe(otherCharset(raw));
    expect(one.recorded).toEqual(recorded(raw));
    if (one.text !== undefined) expect(JSON.parse(one.text)).toEqual(recorded(raw));
    expect(goingOn(one, rules, without)).toEqual(forwarded(raw, rules, without));
    expect(goingOn(one)).toEqual(forwarded(raw));
  }
  expect(seen.filter(({ text }) => text === undefined)).not.toHaveLength(seen.length);
  // the list is the same one where only what is recorded differs
  expect([seen[1]!.list === seen[0]!.list, seen[3]!.list === seen[2]!.list, seen[4]!.list === seen[3]!.list]).toEqual([true, false, false]);
});

test('values are joined as Node joins them', async () => {
  const raw = [
    'Host',
    'a',
    'Content-Type',
    'x/y',
    'Content-Type',
    'z',
    'Origin',
    'one',
    'origin',
    'two',
    'Content-Encoding',
    'gzip',
    'Content-Encoding',
    'br',
    'Mcp-Session-Id',
    '1',
    'mcp-session-id',
    '2',
    'Transfer-Encoding',
    'chunked',
  ];
  const server = createServer();
  onTestFinished(() => void server.close());
  const asked = new Promise<IncomingMessage>((done) => {
    server.on('request', (one, response) => {
      response.end();
      done(one);
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  request({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', method: 'POST', headers: raw, agent: false }, (response) =>
    response.resume(),
  ).end();
  const { headers, headersDistinct, rawHeaders } = await asked;
  const { list } = new HeaderMemory().read(rawHeaders);
  for (const name of ['host', 'origin', 'content-type', 'content-encoding', 'mcp-session-id'] as const) expect(list.values[name]).toBe(headers[name]);
  expect(list.values.origin).toBe('one, two');
  expect(list.codings).toEqual(headersDistinct['transfer-encoding']);
  expect(list.hosts).toBe(1);
});
