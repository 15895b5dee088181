/** Who is behind a request, from the header to the verdict, the entry, and its erasure: the built proxy in front of a real server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { node, Stage, sworn, Tap, type Recorded } from './stage.ts';

/** A server that answers every request, and keeps the headers that it got. */
async function upstream(): Promise<{ url: string; got: IncomingHttpHeaders[] }> {
  const got: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    got.push(request.headers);
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { id } = JSON.parse(Buffer.concat(parts).toString()) as { id: number };
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: `answer ${id}` }] } }));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`, got };
}

async function proxy(stage: Stage, url: string, config: string): Promise<{ at: string; tap: Tap }> {
  const words = ['proxy', '--upstream', url, '--name', 'hr', '--listen', '127.0.0.1:0', '--config', config, '--ledger', stage.ledger];
  const child = stage.started(spawn(node, [sworn, ...words], { cwd: stage.folder, env: stage.env, stdio: ['ignore', 'pipe', 'pipe'] }));
  const tap = new Tap(child, true);
  await tap.errors.until(({ text }) => text.includes('/mcp'));
  return { at: /http:\/\/127\.0\.0\.1:\d+\/mcp/.exec(tap.errors.text)![0], tap };
}

let ids = 0;
async function call(
  at: string,
  headers: Record<string, string>,
  tool = 'get',
): Promise<{ status: number; challenge: string | null; body: string; id: number }> {
  const id = ++ids;
  const response = await fetch(at, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'User-Agent': 'agent/1', ...headers },
    body: JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: tool, arguments: { note: `note ${id}` } } }),
  });
  return { status: response.status, challenge: response.headers.get('www-authenticate'), body: await response.text(), id };
}

const settings = (stage: Stage, more: object): string => {
  const path = join(stage.folder, 'sworn.yaml');
  writeFileSync(path, JSON.stringify({ auth: { required: true, apiKeys: join(stage.folder, 'keys') }, ...more }));
  return path;
};

test('a principal comes to the rules and into the record, and goes with an erasure of its own', { timeout: 120_000 }, async () => {
  const stage = new Stage();
  const server = await upstream();
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwks = join(stage.folder, 'jwks.json');
  writeFileSync(jwks, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k' }] }));
  const config = settings(stage, {
    auth: { required: true, apiKeys: join(stage.folder, 'keys'), issuers: [{ issuer: 'idp', audience: 'mcp', jwks }] },
    trustedTaps: ['self'],
    policy: {
      rules: [
        { name: 'no-mallory', deny: true, principal: { verified: { subject: 'mallory' } } },
        { name: 'scope', deny: true, tool: 'drop', when: '!(has(principal.verified.scopes) && "admin" in principal.verified.scopes)' },
      ],
    },
  });
  const made = await stage.command('proxy', '--new-api-key', 'ci', '--config', config);
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sworn_[0-9a-f]{12}_[\w-]{43}\n$/) as string });
  const key = made.stdout.trim();
  expect(made.stderr).not.toContain(key);
  const token = (sub: string, more: object = {}): Promise<string> =>
    new SignJWT({ iss: 'idp', aud: 'mcp', sub, exp: Math.floor(Date.now() / 1000) + 300, ...more })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .sign(privateKey);
  const bearer = async (sub: string, more?: object): Promise<Record<string, string>> => ({ Authorization: `Bearer ${await token(sub, more)}` });
  const { at, tap } = await proxy(stage, server.url, config);

  const nobody = await call(at, {});
  expect(nobody).toMatchObject({ status: 401, challenge: 'Bearer realm="sworn"' });
  const expired = await call(at, await bearer('alice', { exp: 1 }));
  expect(expired.status).toBe(401);
  expect(expired.challenge).toContain('invalid_token');
  expect(server.got).toEqual([]);

  const alice = await call(at, await bearer('alice', { act: { sub: 'assistant' } }));
  expect(alice).toMatchObject({ status: 200, body: expect.stringContaining(`answer ${alice.id}`) as string });
  expect((await call(at, { 'X-Sworn-Key': key })).status).toBe(200);
  expect(server.got[1]).not.toHaveProperty('x-sworn-key');
  expect(server.got[0]!.authorization).toMatch(/^Bearer ey/);
  const mallory = await call(at, await bearer('mallory'));
  expect(mallory.body).toContain('no-mallory');
  expect((await call(at, await bearer('bob'), 'drop')).body).toContain('4030');
  expect((await call(at, await bearer('bob', { scope: 'read admin' }), 'drop')).status).toBe(200);
  expect(server.got.length).toBe(3);
  tap.process.kill('SIGTERM');
  await tap.ended;

  const entries = await stage.finished();
  const principals = entries.filter(({ kind }) => kind === 'principal');
  const of = (subject: string) => principals.filter(({ opened }) => (opened['verified'] as { subject?: string } | undefined)?.subject === subject);
  expect(of('alice')).toMatchObject([
    {
      source: 'verified',
      method: 'jwt',
      reportedBy: 'proxy',
      uid: process.getuid!(),
      pid: process.pid,
      opened: {
        verified: { source: 'jwt', subject: 'alice', issuer: 'idp', act: [{ subject: 'assistant' }] },
        observed: { address: '127.0.0.1', pid: process.pid },
        declared: { userAgent: 'agent/1' },
      },
    },
  ]);
  expect(of('ci')).toMatchObject([{ source: 'verified', method: 'api-key' }]);
  const unverified = principals.filter(({ source }) => source === 'observed');
  expect(unverified.map(({ failure }) => failure as string | undefined)).toEqual([undefined, 'token-expired']);
  // one entry for each, however many requests; bob had two sets of scopes
  expect(principals.length).toBe(7);
  for (const entry of entries.filter(({ kind, transport }) => kind === 'message' && transport === 'http'))
    expect(principals.map(({ index }) => index)).toContain(entry['who']);
  const aliceIndex = of('alice')[0]!.index;
  expect(entries.filter(({ kind, who }) => kind === 'message' && who === aliceIndex).map(({ type }) => type as string)).toEqual([
    'request',
    'result',
  ]);
  // no credential is anywhere
  const all = JSON.stringify(entries) + Buffer.concat(entries.flatMap(({ frame }) => frame ?? [])).toString() + tap.errors.text;
  expect(all).not.toContain(key.slice(19));
  expect(all).not.toMatch(/eyJhbGciOi/);

  // the same policy says the same again of what is recorded, and another one another thing, of this principal alone
  const simulated = await stage.command('policy', 'simulate', config, '--ledger', stage.ledger, '--json');
  const unchanged = { newlyBlocked: 0, noLongerBlocked: 0, newlyFlagged: 0, noLongerFlagged: 0 };
  expect(JSON.parse(simulated.stdout)).toMatchObject({ ledgers: [{ changes: unchanged }] });
  const stricter = join(stage.folder, 'stricter.yaml');
  writeFileSync(
    stricter,
    JSON.stringify({
      policy: { rules: [{ name: 'no-alice', deny: true, when: 'has(principal.verified.actors) && "assistant" in principal.verified.actors' }] },
    }),
  );
  const other = await stage.command('policy', 'simulate', stricter, '--ledger', stage.ledger, '--json');
  expect(JSON.parse(other.stdout)).toMatchObject({
    ledgers: [{ changes: { ...unchanged, newlyBlocked: 1, noLongerBlocked: 2 }, rules: [{ rule: 'no-alice', blocked: 1 }] }],
  });

  const erased = await stage.command('erase', '--subject', 'assistant', '--ledger', stage.ledger, '--yes', '--json');
  expect(erased.code).toBe(0);
  const left = await stage.finished();
  const holds = (index: number): string[] => Object.keys(left[index]!.opened);
  expect(holds(aliceIndex)).toEqual([]);
  for (const subject of ['ci', 'bob', 'mallory']) for (const { index } of of(subject)) expect(holds(index)).toContain('verified');
  const text = Buffer.concat(left.flatMap(({ frame }) => frame ?? [])).toString();
  expect(text).not.toContain(`note ${alice.id}"`);
  expect(text).toContain(`note ${mallory.id}"`);
});

test('the word of a proxy that nobody trusts is only declared, also to the rules', { timeout: 120_000 }, async () => {
  const stage = new Stage();
  const server = await upstream();
  const rules = { policy: { rules: [{ name: 'no-ci', deny: true, principal: { verified: { subject: 'ci' } } }] } };
  const config = settings(stage, rules);
  const key = (await stage.command('proxy', '--new-api-key', 'ci', '--config', config)).stdout.trim();
  const { at, tap } = await proxy(stage, server.url, config);
  expect((await call(at, { Authorization: `Bearer ${key}` })).status).toBe(200);
  expect(server.got[0]).not.toHaveProperty('authorization');
  const reload = async (file: object): Promise<void> => {
    const loads = (entries: Recorded[]): number => entries.filter(({ kind, act }) => kind === 'policy' && act === 'load').length;
    const before = loads(stage.entries());
    settings(stage, file);
    process.kill(stage.recorderPid!, 'SIGHUP');
    await stage.until((entries) => loads(entries) > before);
  };
  // from now on it is trusted: the rule is about what it verifies, and who it is is recorded again
  await reload({ ...rules, trustedTaps: [process.getuid!()] });
  expect((await call(at, { Authorization: `Bearer ${key}` })).body).toContain('no-ci');
  await reload(rules);
  expect((await call(at, { Authorization: `Bearer ${key}` })).body).toContain('answer');
  tap.process.kill('SIGTERM');
  await tap.ended;
  const principals = (await stage.finished()).filter(({ kind }) => kind === 'principal');
  expect(principals.map(({ source }) => source as string)).toEqual(['declared', 'verified', 'declared']);
  const [principal] = principals;
  expect(principal).toMatchObject({
    source: 'declared',
    unbelieved: true,
    method: 'api-key',
    opened: { declared: { verified: { subject: 'ci' }, observed: { address: '127.0.0.1' } } },
  });
  expect(principal).not.toHaveProperty('uid');
  expect(principal!.opened).not.toHaveProperty('verified');
});
