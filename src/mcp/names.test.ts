import { expect, test } from 'vitest';
import { utf8 } from '../bytes/bytes.ts';
import { readNames } from './names.ts';

const read = (document: unknown) => readNames(utf8(JSON.stringify(document)));
const info = { name: 'x', version: '1' };

test('the handshake of the legacy era', () => {
  expect(read({ method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: { roots: {} }, clientInfo: info } })).toEqual({
    clientInfo: info,
    capabilities: { roots: {} },
    protocolVersion: '2025-11-25',
  });
  expect(read({ result: { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: info } })).toEqual({
    serverInfo: info,
    capabilities: {},
    protocolVersion: '2025-06-18',
  });
});

test('_meta of the modern era', () => {
  const meta = (key: string, value: unknown) => ({ [`io.modelcontextprotocol/${key}`]: value });
  expect(
    read({
      method: 'x',
      params: { _meta: { ...meta('clientInfo', info), ...meta('clientCapabilities', {}), ...meta('protocolVersion', '2026-07-28') } },
    }),
  ).toEqual({ clientInfo: info, capabilities: {}, protocolVersion: '2026-07-28' });
  expect(read({ result: { _meta: meta('serverInfo', info) } })).toEqual({ serverInfo: info });
});

test('garbage has no names', () => {
  for (const document of [null, [], 5, { params: [] }, { params: { clientInfo: 'x', capabilities: null, protocolVersion: 7 } }])
    expect(read(document)).toEqual({});
  expect(readNames(utf8('{'))).toEqual({});
  expect(readNames(Uint8Array.of(0xff))).toEqual({});
});
