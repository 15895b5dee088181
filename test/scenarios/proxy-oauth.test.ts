/** OAuth through the proxy: a server that protects itself as MCP says, its authorization server, and the official clients. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Client, StreamableHTTPClientTransport, UnauthorizedError, type OAuthClientProvider } from '@modelcontextprotocol/client';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { expect, test, vi } from 'vitest';
import { bodyOf, freePort, ProxyProgram, serving, written } from './proxy-program.ts';
import { Stage, type Recorded } from './stage.ts';

vi.setConfig({ testTimeout: 60_000 });

interface Protected {
  port: number;
  origin: string;
  /** What tokens were asked for, RFC 8707. */
  resources: (string | null)[];
  tokens: Set<string>;
}

const json = { 'Content-Type': 'application/json' };
const metadataPath = '/.well-known/oauth-protected-resource';

/** An MCP server at `/v1/server` that wants a token of the authorization server beside it. `says`: how it names its metadata. */
async function protectedServer({ says = `${metadataPath}/v1/server`, isEncoded = false } = {}): Promise<Protected> {
  const found: Protected = { port: 0, origin: '', resources: [], tokens: new Set() };
  const { tokens } = found;
  const answer = (response: ServerResponse, status: number, body: object | string, headers: Record<string, string> = {}): void => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    response.writeHead(status, { ...json, 'Content-Length': Buffer.byteLength(text), ...headers }).end(text);
  };
  const oauth = async (request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> => {
    if (url.pathname === '/.well-known/oauth-authorization-server')
      return answer(response, 200, {
        issuer: found.origin,
        authorization_endpoint: `${found.origin}/authorize`,
        token_endpoint: `${found.origin}/token`,
        response_types_supported: ['code'],
        code_challenge_methods_supported: ['S256'],
        token_endpoint_auth_methods_supported: ['none'],
      });
    if (url.pathname === '/authorize') {
      found.resources.push(url.searchParams.get('resource'));
      const to = new URL(url.searchParams.get('redirect_uri')!);
      to.searchParams.set('code', 'a code');
      to.searchParams.set('state', url.searchParams.get('state') ?? '');
      return answer(response, 302, '', { Location: to.href });
    }
    if (url.pathname === '/token') {
      found.resources.push(new URLSearchParams(await bodyOf(request)).get('resource'));
      const token = randomUUID();
      tokens.add(token);
      return answer(response, 200, { access_token: token, token_type: 'Bearer', expires_in: 600 });
    }
    answer(response, 404, { nothing: url.pathname });
  };
  const { port } = await serving((request, response) => {
    void (async () => {
      const url = new URL(request.url!, found.origin);
      if (url.pathname === says || (says.startsWith(metadataPath) && url.pathname === metadataPath)) {
        const document = Buffer.from(` { "resource" : "${found.origin}/v1/server", "authorization_servers": ["${found.origin}"] }`);
        const body = isEncoded ? gzipSync(document) : document;
        response
          .writeHead(200, { ...json, 'Content-Length': body.length, ETag: '"1"', ...(isEncoded ? { 'Content-Encoding': 'gzip' } : {}) })
          .end(body);
        return;
      }
      if (url.pathname !== '/v1/server') return oauth(request, response, url);
      const [, token] = /^Bearer (.*)$/.exec(request.headers.authorization ?? '') ?? [];
      if (token === undefined || !tokens.has(token))
        return answer(response, 401, '', { 'WWW-Authenticate': `Bearer realm="up", resource_metadata="${found.origin}${says}", scope="a"` });
      if (request.method !== 'POST') return answer(response, 405, '');
      const message = JSON.parse(await bodyOf(request)) as { id?: number; method: string };
      if (message.id === undefined) return void response.writeHead(202).end();
      const results: Record<string, object> = {
        initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'protected', version: '1' } },
        'tools/call': { content: [{ type: 'text', text: 'secret' }] },
      };
      answer(response, 200, { jsonrpc: '2.0', id: message.id, result: results[message.method] ?? {} });
    })();
  }, createServer());
  return Object.assign(found, { port, origin: `http://127.0.0.1:${port}` });
}

/** A user who says yes at once. */
class Provider implements OAuthClientProvider {
  readonly redirectUrl = 'http://127.0.0.1:9/back';
  readonly clientMetadata = { redirect_uris: [this.redirectUrl], token_endpoint_auth_method: 'none' };
  code: string | undefined;
  #tokens: Parameters<OAuthClientProvider['saveTokens']>[0] | undefined;
  #verifier = '';
  clientInformation(): { client_id: string } {
    return { client_id: 'scenario' };
  }
  tokens() {
    return this.#tokens;
  }
  saveTokens(tokens: Parameters<OAuthClientProvider['saveTokens']>[0]): void {
    this.#tokens = tokens;
  }
  async redirectToAuthorization(url: URL): Promise<void> {
    const response = await fetch(url, { redirect: 'manual' });
    this.code = new URL(response.headers.get('location')!).searchParams.get('code')!;
  }
  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier;
  }
  codeVerifier(): string {
    return this.#verifier;
  }
}

/** Goes all the way from nothing to the answer of a tool. */
async function callsWithOAuth(address: string): Promise<unknown> {
  const provider = new Provider();
  const client = (): Client => new Client({ name: 'scenario', version: '1' });
  const first = new StreamableHTTPClientTransport(new URL(address), { authProvider: provider });
  await expect(client().connect(first)).rejects.toThrow(UnauthorizedError);
  await first.finishAuth(provider.code!);
  const connected = client();
  await connected.connect(new StreamableHTTPClientTransport(new URL(address), { authProvider: provider }));
  const { content } = await connected.callTool({ name: 'look', arguments: {} });
  await connected.close();
  return content;
}

const pass = [{ type: 'text', text: 'secret' }];
const rewritten = (entries: readonly Recorded[]): Recorded[] =>
  entries.filter(({ http }) => (http as { rewritten?: true } | undefined)?.rewritten === true);

test('the official client goes on through a proxy with a public address, and the record has what the server said [proxy-oauth]', async () => {
  const stage = new Stage();
  const server = await protectedServer();
  const port = await freePort();
  const publicUrl = `http://localhost:${port}`;
  const words = ['--upstream', `${server.origin}/v1/server`, '--listen', `127.0.0.1:${port}`, '--public-url', publicUrl];
  const proxy = await ProxyProgram.start(stage, ...words);
  expect(await callsWithOAuth(`${publicUrl}/mcp`)).toEqual(pass);
  // asked for at the authorization server, with our address: that is the audience change
  expect(server.resources).toEqual([`${publicUrl}/mcp`, `${publicUrl}/mcp`]);
  expect(proxy.tap.errors.text).toContain('an audience change');
  expect((await proxy.end()).code).toBe(0);
  const entries = await stage.finished();
  const [challenge, document] = rewritten(entries);
  const ours = `${publicUrl}${metadataPath}/v1/server`;
  expect(challenge).toMatchObject({ http: { status: 401 }, opened: { rewritten: { resource_metadata: ours } } });
  // the record keeps what the server said
  expect(JSON.stringify(challenge!.opened['headers'])).toContain(`${server.origin}${metadataPath}/v1/server`);
  expect(document).toMatchObject({ opened: { rewritten: { resource: `${publicUrl}/mcp` } } });
  expect(JSON.parse(document!.frame!.toString())).toMatchObject({ resource: `${server.origin}/v1/server` });
  const all = JSON.stringify(entries) + Buffer.concat(entries.flatMap(({ frame }) => frame ?? [])).toString() + proxy.tap.errors.text;
  expect(server.tokens.size).toBe(1);
  for (const token of server.tokens) expect(all).not.toContain(token);
});

test.each([
  ['that is encoded', { isEncoded: true }],
  ['that is elsewhere', { says: '/custom/metadata.json' }],
])('metadata %s [proxy-oauth]', async (_, options) => {
  const stage = new Stage();
  const server = await protectedServer(options);
  const port = await freePort();
  const config = written(stage, 'sworn.yaml', {
    proxy: { publicUrl: `http://localhost:${port}`, upstreams: { hr: { url: `${server.origin}/v1/server`, authorization: 'forward' } } },
  });
  const proxy = await ProxyProgram.start(stage, '--config', config, '--listen', `127.0.0.1:${port}`);
  expect(await callsWithOAuth(`http://localhost:${port}/hr/mcp`)).toEqual(pass);
  expect(server.resources).toEqual([`http://localhost:${port}/hr/mcp`, `http://localhost:${port}/hr/mcp`]);
  expect((await proxy.end()).code).toBe(0);
  expect(rewritten(await stage.finished()).length).toBeGreaterThanOrEqual(2);
});

/** All of an answer, as it came. */
async function asked(url: string): Promise<{ status: number; headers: string[]; body: string }> {
  const request = get(url);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const isAboutConnection = (name: string): boolean => /^(?:date|connection|keep-alive)$/i.test(name);
  const headers = response.rawHeaders.filter((_, i, all) => !isAboutConnection(all[i - (i % 2)]!));
  return { status: response.statusCode!, headers, body: await bodyOf(response) };
}

test('without a public address every byte passes, and the official client stops, as it should [proxy-oauth]', async () => {
  const stage = new Stage();
  const server = await protectedServer();
  const config = written(stage, 'sworn.yaml', {
    proxy: { upstreams: { hr: { url: `${server.origin}/v1/server`, authorization: 'forward' }, other: { url: 'http://127.0.0.1:9/mcp' } } },
  });
  const proxy = await ProxyProgram.start(stage, '--config', config);
  for (const [path, its] of [
    ['/hr/mcp', '/v1/server'],
    [`/hr${metadataPath}/v1/server`, `${metadataPath}/v1/server`],
    // a client that was not told asks where its address says
    [`${metadataPath}/hr/mcp`, `${metadataPath}/v1/server`],
  ] as const)
    expect(await asked(proxy.at(path)), path).toEqual(await asked(`${server.origin}${its}`));
  expect((await asked(proxy.at(`${metadataPath}/nobody/mcp`))).status).toBe(404);
  expect((await asked(proxy.at(metadataPath))).status).toBe(404);
  const client = new Client({ name: 'scenario', version: '1' });
  const transport = new StreamableHTTPClientTransport(new URL(proxy.at('/hr/mcp')), { authProvider: new Provider() });
  await expect(client.connect(transport)).rejects.toThrow(/does not match/);
  expect(server.resources).toEqual([]);
  expect((await proxy.end()).code).toBe(0);
  expect(rewritten(await stage.finished())).toEqual([]);
});

test('a gate before us may have a path of its own [proxy-oauth]', async () => {
  const stage = new Stage();
  const server = await protectedServer();
  const config = written(stage, 'sworn.yaml', {
    proxy: { publicUrl: 'https://gate.example/sworn/', upstreams: { hr: { url: `${server.origin}/v1/server` } } },
  });
  const proxy = await ProxyProgram.start(stage, '--config', config);
  const resource = 'https://gate.example/sworn/hr/mcp';
  for (const path of [`${metadataPath}/sworn/hr/mcp`, `${metadataPath}/hr/mcp`, `/hr${metadataPath}/v1/server`, `/sworn/hr${metadataPath}`]) {
    const { body, headers } = await asked(proxy.at(path));
    expect(JSON.parse(body), path).toMatchObject({ resource, authorization_servers: [server.origin] });
    expect(headers).not.toContain('ETag');
  }
  // its name is ours, and the page of its origin may ask
  const page = await fetch(proxy.at('/hr/mcp'), { headers: { Origin: 'https://gate.example' } });
  expect(page.status).toBe(401);
  expect(page.headers.get('www-authenticate')).toBe(
    `Bearer realm="up", resource_metadata="https://gate.example/sworn/hr${metadataPath}/v1/server", scope="a"`,
  );
  expect((await fetch(proxy.at('/hr/mcp'), { headers: { Origin: 'https://other.example' } })).status).toBe(403);
  expect((await proxy.end()).code).toBe(0);
  await stage.finished();
});

test.each(['nonsense', 'ftp://x.example', 'https://u:p@x.example', 'https://x.example/?q', 'https://x.example/mcp'])(
  '--public-url %s is refused [proxy-oauth]',
  async (text) => {
    const stage = new Stage();
    const { code, stderr } = await stage.command('proxy', '--upstream', 'http://127.0.0.1:9/mcp', '--public-url', text);
    expect([code, stderr]).toEqual([2, expect.stringContaining('--public-url')]);
    const { code: checked, stdout } = await stage.command('policy', 'check', written(stage, 'sworn.yaml', { proxy: { publicUrl: text } }));
    expect(checked, stdout).not.toBe(0);
  },
);
