import { request, createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { recordedHeaderChars, recordedHeaders } from '../limits.ts';
import { forwarded, recorded, withoutSecrets } from './headers.ts';

test('what is about one connection stays behind, everything else goes on as it came', () => {
  const raw = [
    'HOST',
    'a',
    'X-Two',
    '1',
    'connection',
    'close, X-Hop',
    'x-two',
    '2',
    'X-Hop',
    'h',
    'Keep-Alive',
    't',
    'TE',
    'trailers',
    'Upgrade',
    'h2c',
  ];
  raw.push(
    'Transfer-Encoding',
    'chunked',
    'Proxy-Authorization',
    'Basic eA==',
    'Trailer',
    'x',
    'Proxy-Connection',
    'close',
    'mcp-session-ID',
    's',
    'Empty',
    '',
  );
  expect(forwarded(raw)).toEqual(['HOST', 'a', 'X-Two', '1', 'x-two', '2', 'mcp-session-ID', 's', 'Empty', '']);
});

test('an upstream has rules of its own', () => {
  const raw = ['Authorization', 'Bearer x', 'DPoP', 'y', 'Cookie', 'a=b', 'Host', 'h', 'x-key', '1'];
  const rules = {
    authorization: false,
    cookies: false,
    remove: ['X-Key'],
    set: [['host', 'up:1'] as const, ['Authorization', 'Bearer ours'] as const],
  };
  expect(forwarded(raw, rules)).toEqual(['host', 'up:1', 'Authorization', 'Bearer ours']);
  expect(forwarded(raw, { authorization: true, cookies: true, remove: [], set: [] })).toEqual(raw);
  const own = ['X-SWORN-key', 'x', 'Authorization', 'bearer sworn_1', 'Authorization', 'Bearer theirs'];
  expect(forwarded(own, { authorization: true, cookies: false, remove: [], set: [] })).toEqual(['Authorization', 'Bearer theirs']);
});

test('Node sends and receives what was forwarded, letter for letter', async () => {
  const server = createServer((incoming, response) => {
    response.writeHead(200, forwarded(incoming.rawHeaders));
    response.end('ok');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const sent = ['Host', 'x', 'X-A', '1', 'x-a', '2', 'Set-Cookie', 'a', 'set-cookie', 'b', 'X-Latin', 'é\t!'];
  const answer = await new Promise<IncomingMessage>((done, failed) => {
    request({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, headers: [...sent, 'Connection', 'close'], agent: false }, done)
      .on('error', failed)
      .end();
  });
  answer.resume();
  expect(answer.rawHeaders.slice(0, sent.length)).toEqual(sent);
  server.close();
});

test.each([
  ['Authorization', 'Bearer abc', 'Bearer [credential]'],
  ['authorization', 'bearer abc def', 'bearer [credential]'],
  ['Authorization', 'AWS4-HMAC-SHA256 Credential=x, Signature=y', 'AWS4-HMAC-SHA256 [credential]'],
  ['Authorization', 'hunter2 is my password', '[credential]'],
  ['Authorization', 'abc', '[credential]'],
  ['Proxy-Authorization', 'Basic eA==', 'Basic [credential]'],
  ['Cookie', 'a=b; c=d', '[credential]'],
  ['Set-Cookie', 'sid=1; HttpOnly', '[credential]'],
  ['DPoP', 'eyJ', '[credential]'],
  ['X-Api-Key', 'k', '[credential]'],
  ['apikey', 'k', '[credential]'],
  ['Mcp-Session-Id', 's', '[credential]'],
  ['X-Amz-Security-Token', 't', '[credential]'],
  ['X-Goog-Iam-Authorization-Token', 't', '[credential]'],
  ['X-Auth', 't', '[credential]'],
  ['CF-Access-Client-Secret', 't', '[credential]'],
  ['X-Hub-Signature-256', 't', '[credential]'],
  ['X-Forwarded-User', 'Bearer abc', 'Bearer [credential]'],
  ['Mcp-Param-Api-Token', 'abc', '[credential]'],
  ['WWW-Authenticate', 'Bearer resource_metadata="https://a/b"', 'Bearer resource_metadata="https://a/b"'],
  ['Idempotency-Key', '7', '7'],
  ['Author', 'Ann', 'Ann'],
  ['Content-Type', 'application/json', 'application/json'],
  ['Mcp-Method', 'tools/call', 'tools/call'],
  ['Mcp-Name', '=?base64?w6k=?=', '=?base64?w6k=?='],
  ['Mcp-Name', 'https://u:p@x/?token=1', 'https://u:p@x/?token=1'],
  ['Mcp-Param-Region', 'Token of thanks', 'Token of thanks'],
  [
    'Location',
    'https://me:pw@a.example/cb?code=1&x=2&access_token=abc#id_token=z',
    'https://[credential]@a.example/cb?code=[credential]&x=2&access_token=[credential]#id_token=[credential]',
  ],
])('%s: %s is recorded as %s', (name, value, wanted) => {
  expect(recorded([name, value])).toEqual([[name, wanted]]);
});

test('addresses lose their credentials, and nothing else', () => {
  expect(withoutSecrets('/mcp?api%5Fkey=1&page=2')).toBe('/mcp?api%5Fkey=[credential]&page=2');
  expect(withoutSecrets('/mcp?a=1&%=2;sig=3')).toBe('/mcp?a=1&%=2;sig=[credential]');
  expect(withoutSecrets('/a@b/c?x=y')).toBe('/a@b/c?x=y');
});

test('what is recorded has bounds', () => {
  const many = recorded(Array.from({ length: 200 }, () => ['A', 'v'.repeat(2_000)]).flat());
  expect(many.length).toBe(recordedHeaders + 1);
  expect(many[0]![1].length).toBe(recordedHeaderChars + 1);
  expect(many.at(-1)).toEqual(['…', `${200 - recordedHeaders} more`]);
  // what is held against the message would be another claim
  expect(recorded(['mcp-name', 'x'.repeat(8_000)])[0]![1].length).toBe(8_000);
  // a value without an end of what is looked for, searched in one pass
  expect(withoutSecrets(`?${'a'.repeat(200_000)}`).length).toBe(200_001);
  expect(withoutSecrets('://'.repeat(20_000)).length).toBe(60_000);
});
