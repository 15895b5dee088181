import { describe, expect, test } from 'vitest';
import { PublicAddress, metadataOf, resourceOf } from './oauth.ts';

const upstream = new URL('https://up.example:8443/v1/server');
const address = (publicUrl = 'https://mcp.example', mount = '/hr'): PublicAddress => new PublicAddress(upstream, new URL(publicUrl), mount);
const document = (content: unknown, path = '/.well-known/oauth-protected-resource/v1/server', of = address()) =>
  of.document(path, ['Content-Type', 'application/json'], Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)));
const resource = (said: string, of = address()): string | undefined => document({ resource: said }, undefined, of)?.resource;

describe('challenges', () => {
  const said = (value: string): string | undefined => address().challenge(['WWW-Authenticate', value])?.rawHeaders[1];
  const metadata = 'https://up.example:8443/.well-known/oauth-protected-resource/v1/server';
  const ours = 'https://mcp.example/hr/.well-known/oauth-protected-resource/v1/server';

  test.each([
    [`Bearer resource_metadata="${metadata}"`, `Bearer resource_metadata="${ours}"`],
    [`Bearer realm="a, b", resource_metadata="${metadata}", scope="x y"`, `Bearer realm="a, b", resource_metadata="${ours}", scope="x y"`],
    [`DPoP algs="ES256", Resource_Metadata = ${metadata}?v=1`, `DPoP algs="ES256", Resource_Metadata = "${ours}?v=1"`],
    [
      `Basic realm=x, Bearer resource_metadata="${metadata}", error="invalid_token"`,
      `Basic realm=x, Bearer resource_metadata="${ours}", error="invalid_token"`,
    ],
  ])('%s', (came, goes) => expect(said(came)).toBe(goes));

  test.each([
    'Bearer realm="x"',
    'Bearer resource_metadata="https://other.example/.well-known/oauth-protected-resource"',
    'Bearer resource_metadata="http://up.example:8443/x"',
    'Bearer resource_metadata="/relative"',
    `Bearer error_description="as in resource_metadata=${metadata}"`,
    `Bearer error_description="\\"resource_metadata=\\"${metadata}"`,
    `Negotiate YWJj==`,
  ])('not %s', (came) => expect(said(came)).toBeUndefined());

  test('of several headers that one alone changes, in its place', () => {
    const came = ['X', 'resource_metadata="a"', 'WWW-Authenticate', 'Basic', 'www-authenticate', `Bearer resource_metadata="${metadata}"`, 'Y', 'z'];
    expect(address().challenge(came)).toEqual({ rawHeaders: came.with(5, `Bearer resource_metadata="${ours}"`), resourceMetadata: ours });
  });
});

describe('documents', () => {
  test.each([
    ['https://up.example:8443/v1/server', 'https://mcp.example/hr/mcp'],
    ['https://up.example:8443/v1/server?tenant=7', 'https://mcp.example/hr/mcp?tenant=7'],
    ['https://UP.example:8443/', 'https://mcp.example/hr/'],
    ['https://up.example:8443', 'https://mcp.example/hr'],
    ['https://up.example:8443/v1', 'https://mcp.example/hr'],
    ['https://up.example:8443/v1/', 'https://mcp.example/hr/'],
    ['https://up.example:8443/v1/ser', 'https://mcp.example/hr/v1/ser'],
    ['https://up.example:8443/other', 'https://mcp.example/hr/other'],
  ])('%s', (came, goes) => expect(resource(came)).toBe(goes));

  test('of somebody else, or none at all, stay what they are', () => {
    for (const came of ['https://up.example/v1/server', 'http://up.example:8443/v1/server', 'urn:x', ''])
      expect(resource(came), came).toBeUndefined();
    for (const came of ['{', '[]', 'null', '"x"', {}, { resource: 1 }, { resource: ['https://up.example:8443/'] }])
      expect(document(came)).toBeUndefined();
    // what a tool answers is no metadata, whatever it looks like
    expect(document({ resource: upstream.href }, '/v1/server')).toBeUndefined();
    expect(document({ resource: upstream.href }, '/.well-known/oauth-protected-resources')).toBeUndefined();
    expect(document({ resource: upstream.href }, '/.well-known/oauth-authorization-server')).toBeUndefined();
  });

  test('everything but the resource stays, and headers about the bytes go', () => {
    const metadata = {
      authorization_servers: ['https://up.example:8443/as'],
      resource: upstream.href,
      scopes_supported: ['a'],
      x: { resource: 'y' },
    };
    const headers = [
      'Content-Type',
      'application/json',
      'ETag',
      '"1"',
      'content-length',
      '9',
      'Content-Encoding',
      'gzip',
      'Cache-Control',
      'max-age=60',
    ];
    const found = address().document('/.well-known/oauth-protected-resource?x', headers, Buffer.from(JSON.stringify(metadata)))!;
    expect(JSON.parse(found.bytes.toString())).toEqual({ ...metadata, resource: 'https://mcp.example/hr/mcp' });
    expect(found.rawHeaders).toEqual([
      'Content-Type',
      'application/json',
      'Cache-Control',
      'max-age=60',
      'Content-Length',
      String(found.bytes.length),
    ]);
  });

  test('the names of this machine are one, with the same port', () => {
    const local = new PublicAddress(new URL('http://127.0.0.1:3001/mcp'), new URL('https://mcp.example'), '');
    for (const came of ['http://localhost:3001/mcp', 'http://[::1]:3001/mcp', 'http://127.0.0.1:3001/mcp'])
      expect(resource(came, local), came).toBe('https://mcp.example/mcp');
    for (const came of [
      'http://localhost:3002/mcp',
      'https://localhost:3001/mcp',
      'http://localhost.example:3001/mcp',
      'http://127.example:3001/mcp',
    ])
      expect(resource(came, local), came).toBeUndefined();
  });

  test('elsewhere they are metadata once a challenge named them', () => {
    const one = address();
    const at = '/custom/metadata.json';
    expect(document({ resource: upstream.href }, at, one)).toBeUndefined();
    expect(one.challenge(['WWW-Authenticate', `Bearer resource_metadata="https://up.example:8443${at}"`])?.resourceMetadata).toBe(
      `https://mcp.example/hr${at}`,
    );
    expect(document({ resource: upstream.href }, at, one)?.resource).toBe('https://mcp.example/hr/mcp');
  });

  test('the public address may have a path of its own, and the only server no mount', () => {
    expect(resource(upstream.href, address('https://gate.example/sworn/', '/hr'))).toBe('https://gate.example/sworn/hr/mcp');
    expect(resource(upstream.href, address('https://gate.example', ''))).toBe('https://gate.example/mcp');
    expect(resource('https://up.example:8443', address('https://gate.example', ''))).toBe('https://gate.example');
  });
});

test('the path of a resource stands behind its name', () => {
  expect(resourceOf('/.well-known/oauth-protected-resource/hr/mcp?x=1')).toBe('/hr/mcp?x=1');
  for (const other of [
    '/.well-known/oauth-protected-resource',
    '/.well-known/oauth-protected-resources/x',
    '/hr/.well-known/oauth-protected-resource/x',
  ])
    expect(resourceOf(other)).toBeUndefined();
  expect(metadataOf('/v1/server')).toBe('/.well-known/oauth-protected-resource/v1/server');
});
