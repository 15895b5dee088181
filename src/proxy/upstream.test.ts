import { expect, test } from 'vitest';
import type { Channel } from '../wire/channel.ts';
import { Upstream } from './upstream.ts';

/** Paths and addresses ask nothing of the recorder. */
function upstream(url: string, mount = ''): Upstream {
  const rules = { authorization: true, cookies: false, remove: [], set: [] };
  return new Upstream({ name: 'x', url: new URL(url), mount, rules, upstreamTimeoutMs: 0 }, undefined as unknown as Channel);
}

test("the endpoint is the upstream's, with both queries; other paths are its own", () => {
  const deep = upstream('https://a.example/v1/mcp-server?tenant=7');
  expect(deep.pathOf('/mcp')).toBe('/v1/mcp-server?tenant=7');
  expect(deep.pathOf('/mcp?x=%20&y')).toBe('/v1/mcp-server?tenant=7&x=%20&y');
  expect(deep.pathOf('')).toBe('/v1/mcp-server?tenant=7');
  expect(deep.pathOf('/messages?sessionId=1')).toBe('/messages?sessionId=1');
  expect(deep.pathOf('/.well-known/oauth-protected-resource/mcp')).toBe('/.well-known/oauth-protected-resource/mcp');
  expect(deep.pathOf('/')).toBe('/');
  expect(upstream('http://a.example').pathOf('/')).toBe('/');
  expect(upstream('http://a.example/sse').pathOf('/sse')).toBe('/sse');
});

test('an address for messages leads through the proxy, and only if it is the upstream', () => {
  const mounted = upstream('http://a.example:81/sse', '/hr');
  expect(mounted.endpointAt('/messages?s=1', '/sse')).toEqual({ path: '/messages?s=1', address: '/hr/messages?s=1' });
  expect(mounted.endpointAt('messages', '/deep/sse')).toEqual({ path: '/deep/messages', address: '/hr/deep/messages' });
  expect(mounted.endpointAt('http://a.example:81/m', '/sse')).toEqual({ path: '/m', address: '/hr/m' });
  for (const elsewhere of ['http://b.example/m', 'https://a.example:81/m', '//b.example/m', 'http://a.example/m', 'http://[', 'javascript:1'])
    expect(mounted.endpointAt(elsewhere, '/sse'), elsewhere).toBeUndefined();
});
