import { execFileSync, spawn } from 'node:child_process';
import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecureServer, request as secureRequest, Agent } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import fc from 'fast-check';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { noAuth, type AuthSettings, type IssuerSettings } from '../config/auth.ts';
import { startTimeOf } from '../processes.ts';
import { newApiKey } from './api-keys.ts';
import { certificateOptions } from './certificates.ts';
import { isOwnCredential } from './credentials.ts';
import { Identity, identityRequestOf, type Identified, type IdentityRequest } from './identity.ts';

const folder = mkdtempSync(join(tmpdir(), 'sworn-identity-'));
const closing: (() => unknown)[] = [];
afterAll(() => {
  for (const close of closing) close();
  rmSync(folder, { recursive: true, force: true });
});

const identityOf = (settings: Partial<AuthSettings>): Promise<Identity> => Identity.open({ ...noAuth, ...settings });
const from = (headers: Record<string, string | string[]>, more: Partial<IdentityRequest> = {}): IdentityRequest => ({
  headers: Object.entries(headers).flatMap(([name, value]) => [value].flat().flatMap((one) => [name, one])),
  remoteAddress: '192.0.2.9',
  remotePort: 40_000,
  localAddress: '198.51.100.1',
  localPort: 4422,
  ...more,
});
const bearer = (token: string): IdentityRequest => from({ Authorization: `Bearer ${token}` });

describe('tokens', () => {
  type Alg = 'RS256' | 'ES256' | 'EdDSA';
  interface Key {
    kid: string;
    alg: Alg;
    privateKey: CryptoKey;
    publicKey: CryptoKey;
  }
  const keyOf = async (kid: string, alg: Alg = 'ES256'): Promise<Key> => ({ kid, alg, ...(await generateKeyPair(alg, { extractable: true })) });
  const jwksOf = async (...keys: Key[]) => ({
    keys: await Promise.all(keys.map(async ({ kid, alg, publicKey }) => ({ ...(await exportJWK(publicKey)), kid, alg }))),
  });
  const sign = (key: Key, claims: Record<string, unknown>, header: Record<string, unknown> = {}): Promise<string> =>
    new SignJWT({ iss: issuer, aud: 'mcp', sub: 'alice', exp: nowS() + 600, ...claims })
      .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
      .sign(key.privateKey);
  const nowS = (): number => Math.floor(Date.now() / 1000);
  const issuer = 'https://id.example';
  const plain = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');

  /** A real server of keys that says what it was last told to. */
  const served = { body: '', status: 200, asked: 0 };
  let server: Server;
  let jwks: string;
  let [a, b, rsa]: Key[] = [];
  const settingsOf = (more: Partial<IssuerSettings> = {}): IssuerSettings => ({
    issuer,
    audience: ['mcp'],
    jwks,
    algorithms: ['RS256', 'ES256', 'EdDSA'],
    subject: 'sub',
    clockToleranceS: 5,
    ...more,
  });

  beforeAll(async () => {
    [a, b, rsa] = [await keyOf('a'), await keyOf('b', 'EdDSA'), await keyOf('r', 'RS256')];
    server = createServer((_, response) => {
      served.asked++;
      response.writeHead(served.status, { 'Content-Type': 'application/json' });
      response.end(served.body);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    closing.push(() => server.close());
    jwks = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
    served.body = JSON.stringify(await jwksOf(a, b, rsa));
  });

  test('a token of a known issuer is verified, with all that it says', async () => {
    const identity = await identityOf({ issuers: [settingsOf()] });
    const exp = nowS() + 600;
    const token = await sign(a!, {
      exp,
      aud: ['mcp', 'other'],
      name: 'Alice A.',
      client_id: 'agent-7',
      scope: 'read write',
      act: { sub: 'assistant', iss: 'https://agents.example', act: { sub: 'scheduler' } },
    });
    const { principal, refusal } = await identity.identify(bearer(token));
    expect(refusal).toBeUndefined();
    expect(principal).toEqual({
      verified: {
        source: 'jwt',
        subject: 'alice',
        issuer,
        clientId: 'agent-7',
        name: 'Alice A.',
        scopes: ['read', 'write'],
        audience: ['mcp', 'other'],
        act: [{ subject: 'assistant', issuer: 'https://agents.example' }, { subject: 'scheduler' }],
        expiresAtS: exp,
      },
      observed: { address: '192.0.2.9' },
      declared: {},
    });
    for (const key of [b!, rsa!]) expect((await identity.identify(bearer(await sign(key, {})))).principal.verified?.subject).toBe('alice');
  });

  test('another claim may be the subject', async () => {
    const identity = await identityOf({ issuers: [settingsOf({ subject: 'oid' })] });
    expect((await identity.identify(bearer(await sign(a!, { oid: '4711' })))).principal.verified?.subject).toBe('4711');
    expect((await identity.identify(bearer(await sign(a!, {})))).principal).toMatchObject({ failure: 'token-claims' });
  });

  const wrong: [name: string, failure: string, token: () => Promise<string>][] = [
    ['meant for somebody else', 'token-audience', () => sign(a!, { aud: 'other' })],
    ['meant for nobody', 'token-audience', () => sign(a!, { aud: undefined })],
    ['expired', 'token-expired', () => sign(a!, { exp: nowS() - 6 })],
    ['without an end', 'token-claims', () => sign(a!, { exp: undefined })],
    ['not valid yet', 'token-not-yet-valid', () => sign(a!, { nbf: nowS() + 60 })],
    ['without a subject', 'token-claims', () => sign(a!, { sub: '' })],
    ['with a subject that is too long', 'token-claims', () => sign(a!, { sub: 's'.repeat(513) })],
    ['of a key that the issuer does not have', 'token-key', async () => sign(await keyOf('stranger'), {})],
    ['under a name that the issuer has, of another key', 'token-signature', async () => sign(await keyOf('a'), {})],
    ['of another issuer', 'token-issuer', () => sign(a!, { iss: 'https://evil.example' })],
    ['of an issuer with a slash more', 'token-issuer', () => sign(a!, { iss: `${issuer}/` })],
    ['of no issuer', 'token-issuer', () => sign(a!, { iss: undefined })],
    ['with an actor without a name', 'token-claims', () => sign(a!, { act: { iss: 'x' } })],
    [
      'with more actors than are kept',
      'token-claims',
      () => sign(a!, { act: Array.from({ length: 17 }).reduce<object>((act, _, i) => ({ sub: `s${i}`, act }), { sub: 'last' }) }),
    ],
    ['bound to a key that shows itself otherwise', 'token-bound', () => sign(a!, { cnf: { jkt: 'x' } })],
    ['bound to a certificate', 'token-bound', () => sign(a!, { cnf: { 'x5t#S256': 'x' } })],
    [
      'without a signature (alg none)',
      'token-algorithm',
      () => Promise.resolve(`${plain({ alg: 'none' })}.${plain({ iss: issuer, aud: 'mcp', sub: 'alice', exp: nowS() + 600 })}.`),
    ],
    [
      'signed with the public key as if it were a secret (HS256)',
      'token-algorithm',
      async () => {
        const pem = createPublicKey({ key: await exportJWK(rsa!.publicKey), format: 'jwk' }).export({ type: 'spki', format: 'pem' });
        const said = `${plain({ alg: 'HS256', kid: 'r' })}.${plain({ iss: issuer, aud: 'mcp', sub: 'alice', exp: nowS() + 600 })}`;
        return `${said}.${createHmac('sha256', pem).update(said).digest('base64url')}`;
      },
    ],
    [
      'with a key of its own in its header',
      'token-key',
      async () => {
        const own = await keyOf('own');
        return sign(own, {}, { jwk: await exportJWK(own.publicKey) });
      },
    ],
    [
      'with something critical in its header that nobody knows',
      'token-algorithm',
      () =>
        new SignJWT({ iss: issuer, aud: 'mcp', sub: 'alice', exp: nowS() + 600 })
          .setProtectedHeader({ alg: 'ES256', kid: 'a', crit: ['x'], x: 1 })
          .sign(a!.privateKey, { crit: { x: true } }),
    ],
    [
      'changed',
      'token-signature',
      async () => {
        const [header, , signature] = (await sign(a!, {})).split('.');
        return `${header}.${plain({ iss: issuer, aud: 'mcp', sub: 'mallory', exp: nowS() + 600 })}.${signature}`;
      },
    ],
    ['cut', 'token-malformed', async () => (await sign(a!, {})).split('.').slice(0, 2).join('.')],
  ];
  test.each(wrong)('one that is %s is not believed: %s', async (_, failure, make) => {
    const token = await make();
    const noting = await identityOf({ issuers: [settingsOf()] });
    const noted = await noting.identify(bearer(token));
    expect(noted.principal.verified).toBeUndefined();
    expect(noted.principal.failure).toBe(failure);
    expect(noted.refusal).toBeUndefined();
    const asking = await identityOf({ issuers: [settingsOf()], required: true });
    const refused = await asking.identify(bearer(token));
    expect(refused.refusal).toMatchObject({
      status: 401,
      challenge: expect.stringMatching(/^Bearer realm="sworn", error="invalid_token", error_description="[^"]+"$/) as string,
    });
    for (const part of token.split('.').filter((one) => one.length > 8)) expect(JSON.stringify([noted, refused])).not.toContain(part);
  });

  test('a good signature of a kind that is not named does not count', async () => {
    const identity = await identityOf({ issuers: [settingsOf({ algorithms: ['ES256'] })] });
    expect((await identity.identify(bearer(await sign(rsa!, {})))).principal).toMatchObject({ failure: 'token-algorithm' });
    expect((await identity.identify(bearer(await sign(a!, {})))).principal.failure).toBeUndefined();
  });

  test('who shows nothing is told what to show, or may pass', async () => {
    const identity = await identityOf({ issuers: [settingsOf()], required: true });
    expect((await identity.identify(from({}))).refusal).toEqual({
      status: 401,
      challenge: 'Bearer realm="sworn"',
      reason: 'no credential that counts here was shown',
    });
    expect((await identity.identify(from({ Authorization: 'Basic YTpi' }))).refusal).toMatchObject({ status: 401 });
    expect((await identity.identify(from({ Authorization: 'Bearer opaque' }))).refusal).toMatchObject({ status: 401 });
    expect((await (await identityOf({})).identify(from({ Authorization: 'Bearer opaque' }))).refusal).toBeUndefined();
    const { refusal, principal } = await identity.identify(from({ Authorization: [`Bearer ${await sign(a!, {})}`, 'Bearer x'] }));
    expect(principal).toMatchObject({ failure: 'several-credentials' });
    expect(refusal?.challenge).toContain('invalid_request');
  });

  test('what nobody verified is only declared', async () => {
    const token = await sign(a!, { sub: 'bob', client_id: 'c', azp: 'z', scope: 's', email: 'bob@example.com' });
    const { principal } = await (await identityOf({})).identify(bearer(token));
    expect(principal).toEqual({
      observed: { address: '192.0.2.9' },
      declared: { claims: { iss: issuer, sub: 'bob', client_id: 'c', azp: 'z', scope: 's' } },
    });
  });

  test('a token with a proof of possession is not taken for one without', async () => {
    const identity = await identityOf({ issuers: [settingsOf()] });
    expect((await identity.identify(from({ Authorization: `DPoP ${await sign(a!, {})}` }))).principal).toMatchObject({ failure: 'token-bound' });
  });

  test('keys are exchanged: the new one counts at once, the set is not asked for more often than it must be', async () => {
    const issuerSettings = settingsOf();
    const identity = await identityOf({ issuers: [issuerSettings] });
    const next = await keyOf('next');
    served.asked = 0;
    expect((await identity.identify(bearer(await sign(a!, {})))).principal.verified?.subject).toBe('alice');
    expect((await identity.identify(bearer(await sign(a!, { sub: 'second' })))).principal.verified?.subject).toBe('second');
    expect(served.asked).toBe(1);
    // within the cooldown a made-up key does not make us ask
    for (let i = 0; i < 20; i++)
      expect((await identity.identify(bearer(await sign(next, {}, { kid: `made-up-${i}` })))).principal.failure).toBe('token-key');
    expect(served.asked).toBe(1);
    const before = served.body;
    served.body = JSON.stringify(await jwksOf(b!, next));
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      vi.setSystemTime(Date.now() + 31_000);
      expect((await identity.identify(bearer(await sign(next, {})))).principal.verified?.subject).toBe('alice');
      expect(served.asked).toBe(2);
      // the old one is gone with the set; what was seen of it is remembered for five minutes and no longer
      expect((await identity.identify(bearer(await sign(a!, { sub: 'third' })))).principal.failure).toBe('token-key');
      vi.setSystemTime(Date.now() + 270_000);
      expect((await identity.identify(bearer(await sign(a!, {})))).principal.failure).toBe('token-key');
    } finally {
      vi.useRealTimers();
      served.body = before;
    }
  });

  test('what was found is kept for the same headers of a connection, never where a credential was shown', async () => {
    const identity = await identityOf({ issuers: [settingsOf()] });
    const [plain, shown] = [{}, {}];
    expect(identity.known(plain)).toBeUndefined();
    const found = await identity.identify({ headers: ['User-Agent', 'x'], remoteAddress: '192.0.2.9' }, plain);
    expect(identity.known(plain)).toBe(found);
    await identity.identify(bearer(await sign(a!, {})), shown);
    await identity.identify({ ...bearer(''), headers: ['X-Sworn-Key', 'sworn_x'] }, shown);
    expect(identity.known(shown)).toBeUndefined();
    // other settings may know other things
    expect((await identityOf({ issuers: [] })).known(plain)).toBeUndefined();
  });

  test('a token is remembered until it ends, and no longer', async () => {
    const identity = await identityOf({ issuers: [settingsOf({ clockToleranceS: 0 })] });
    const token = await sign(a!, { exp: nowS() + 60 });
    expect((await identity.identify(bearer(token))).principal.verified).toBeDefined();
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      vi.setSystemTime(Date.now() + 61_000);
      expect((await identity.identify(bearer(token))).principal.failure).toBe('token-expired');
    } finally {
      vi.useRealTimers();
    }
  });

  test('keys that cannot be had say nothing of a token', async () => {
    const before = served.body;
    try {
      for (const [status, body] of [
        [500, before],
        [200, 'nonsense'],
        [200, '{"keys":7}'],
        [200, JSON.stringify({ keys: [], padding: 'x'.repeat(1_100_000) })],
        [302, before],
      ] as const) {
        Object.assign(served, { status, body, asked: 0 });
        const identity = await identityOf({ issuers: [settingsOf()], required: true });
        const token = await sign(a!, {});
        for (let i = 0; i < 3; i++)
          expect(await identity.identify(bearer(token))).toMatchObject({
            principal: { failure: 'token-keys-unavailable' },
            refusal: { status: 503, challenge: '' },
          });
        expect(served.asked).toBe(1);
      }
    } finally {
      Object.assign(served, { status: 200, body: before });
    }
    const nowhere = await identityOf({ issuers: [settingsOf({ jwks: 'http://127.0.0.1:9/none' })], required: true });
    expect((await nowhere.identify(bearer(await sign(a!, {})))).refusal?.status).toBe(503);
  });

  test('keys in a file are read again when it changes', async () => {
    const path = join(folder, 'jwks.json');
    writeFileSync(path, JSON.stringify(await jwksOf(a!)));
    const identity = await identityOf({ issuers: [settingsOf({ jwks: path })] });
    const [old, fresh] = [await sign(a!, {}), await sign(b!, {})];
    expect((await identity.identify(bearer(old))).principal.verified).toBeDefined();
    expect((await identity.identify(bearer(fresh))).principal.failure).toBe('token-key');
    writeFileSync(`${path}.new`, JSON.stringify(await jwksOf(b!)));
    renameSync(`${path}.new`, path);
    await expect.poll(async () => (await identity.identify(bearer(fresh))).principal.verified?.subject, { timeout: 10_000 }).toBe('alice');
    // also the one that was remembered
    expect((await identity.identify(bearer(old))).principal.failure).toBe('token-key');
    rmSync(path);
    await expect.poll(async () => (await identity.identify(bearer(fresh))).principal.failure, { timeout: 10_000 }).toBe('token-keys-unavailable');
    await expect(identityOf({ issuers: [settingsOf({ jwks: path })] })).rejects.toMatchObject({ code: 'config-missing' });
    writeFileSync(path, '-----BEGIN PRIVATE KEY-----');
    await expect(identityOf({ issuers: [settingsOf({ jwks: path })] })).rejects.toMatchObject({
      code: 'auth-file',
      message: `${path} is no JSON Web Key Set (RFC 7517)`,
    });
  });

  test('of several keys without a name the right one is found', async () => {
    const before = served.body;
    try {
      const [c, d] = [await keyOf('c'), await keyOf('d')];
      const set = await jwksOf(c, d);
      served.body = JSON.stringify({ keys: set.keys.map((key) => ({ ...key, kid: undefined })) });
      const identity = await identityOf({ issuers: [settingsOf()] });
      expect((await identity.identify(bearer(await sign(d, {}, { kid: undefined })))).principal.verified?.subject).toBe('alice');
      expect((await identity.identify(bearer(await sign(a!, {}, { kid: undefined })))).principal.failure).toBe('token-signature');
      expect((await identity.identify(bearer(await sign(d, { exp: 1 }, { kid: undefined })))).principal.failure).toBe('token-expired');
    } finally {
      served.body = before;
    }
  });

  test('a key that is too short is none', async () => {
    const before = served.body;
    try {
      const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
      served.body = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 's', alg: 'RS256' }] });
      const said = `${plain({ alg: 'RS256', kid: 's' })}.${plain({ iss: issuer, aud: 'mcp', sub: 'alice', exp: nowS() + 600 })}`;
      const { sign: signBytes } = await import('node:crypto');
      const token = `${said}.${signBytes('sha256', Buffer.from(said), privateKey).toString('base64url')}`;
      expect((await (await identityOf({ issuers: [settingsOf()] })).identify(bearer(token))).principal).toMatchObject({ failure: 'token-key' });
    } finally {
      served.body = before;
    }
  });

  test('the name of a principal is the same for what is equal, and for nothing else', async () => {
    const identity = await identityOf({ issuers: [settingsOf()] });
    const keyFor = async (request: IdentityRequest): Promise<string> => (await identity.identify(request)).key;
    const one = await keyFor(bearer(await sign(a!, { exp: nowS() + 500 })));
    expect(one).toMatch(/^[0-9a-f]{32}$/);
    expect(await keyFor({ ...bearer(await sign(b!, {})), remotePort: 50_000 })).toBe(one);
    const others = await Promise.all([
      keyFor(bearer(await sign(a!, { sub: 'bob' }))),
      keyFor({ ...bearer(await sign(a!, {})), remoteAddress: '192.0.2.10' }),
      keyFor(bearer(await sign(a!, { act: { sub: 'x' } }))),
      keyFor(bearer(await sign(a!, { exp: 1 }))),
      keyFor(from({})),
      keyFor(from({ 'User-Agent': 'x' })),
    ]);
    expect(new Set([one, ...others]).size).toBe(7);
    // to another process it says something else: nobody can guess who it is
    expect((await (await identityOf({ issuers: [settingsOf()] })).identify(bearer(await sign(a!, {})))).key).not.toBe(one);
  });

  test('whatever a client sends: no throw, no credential in what comes out, everything bounded', async () => {
    const keys = join(folder, 'property-keys');
    const apiKey = await newApiKey(keys, 'ci');
    const identity = await identityOf({ issuers: [settingsOf()], apiKeys: keys, required: true, trustForwardedFrom: ['192.0.2.0/24'] });
    const good = await sign(a!, {});
    const credential = fc.oneof(
      fc.constantFrom(good, apiKey, good.slice(0, -2), `${apiKey.slice(0, -1)}x`),
      fc
        .tuple(fc.string(), fc.json(), fc.string({ minLength: 20 }))
        .map(([header, payload, signature]) =>
          [plain({ alg: header }), Buffer.from(payload).toString('base64url'), signature.replace(/\s/g, '_')].join('.'),
        ),
      fc.stringMatching(/^[\x21-\x7e]{12,40}$/),
    );
    await fc.assert(
      fc.asyncProperty(
        credential,
        credential,
        fc.constantFrom('Bearer', 'bearer', 'DPoP', 'Basic', 'Negotiate'),
        fc.array(
          fc.oneof(
            fc.string({ maxLength: 40 }),
            fc.constantFrom('10.0.0.1', '::1', '[::1]:9', ','),
            fc.constant('CREDENTIAL'),
            fc.string({ minLength: 300, maxLength: 900 }),
          ),
          { maxLength: 5 },
        ),
        async (first, second, scheme, words) => {
          const said = words.join(' ').replaceAll('CREDENTIAL', first);
          const request = from({ Authorization: `${scheme} ${first}`, 'X-Sworn-Key': second, 'User-Agent': said, 'X-Forwarded-For': said });
          const out = JSON.stringify(await identity.identify(request));
          expect(out.length).toBeLessThan(8_192);
          // as JSON writes it
          for (const value of [first, second]) expect(out).not.toContain(JSON.stringify(value).slice(1, -1));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('API keys', () => {
  test('a key is shown once, and counts until its line is gone', async () => {
    const path = join(folder, 'keys');
    const key = await newApiKey(path, 'ci@build');
    const other = await newApiKey(path, 'nightly');
    expect(key).toMatch(/^sworn_[0-9a-f]{12}_[A-Za-z0-9_-]{43}$/);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, 'utf8');
    expect(text.split('\n').map((line) => line.split(' ')[0])).toEqual(['ci@build', 'nightly', '']);
    for (const one of [key, other]) expect(text).not.toContain(one.slice(19));
    const identity = await identityOf({ apiKeys: path, required: true });
    const verified = { source: 'api-key', subject: 'ci@build' };
    expect(await identity.identify(from({ 'x-SWORN-key': key }))).toMatchObject({ principal: { verified } });
    const { principal, refusal } = await identity.identify(bearer(key));
    expect([principal.verified, refusal, principal.declared]).toEqual([verified, undefined, {}]);
    // another's id with one's own secret, a key of nobody, and two of them
    const mixed = `${other.slice(0, 19)}${key.slice(19)}`;
    for (const [shown, failure] of [
      [[mixed], 'api-key'],
      [[`${key}x`], 'api-key'],
      [['sworn_'], 'api-key'],
      [['anything'], 'api-key'],
      [[key, other], 'several-credentials'],
    ] as const)
      expect(await identity.identify(from({ 'X-Sworn-Key': [...shown] }))).toMatchObject({ principal: { failure }, refusal: { status: 401 } });
    expect((await identity.identify(from({ 'X-Sworn-Key': key, Authorization: `Bearer ${key}` }))).principal.verified).toEqual(verified);
    expect((await identity.identify(from({ 'X-Sworn-Key': key, Authorization: `Bearer for-the-upstream` }))).principal.verified).toEqual(verified);
    writeFileSync(path, `# one is gone\n\n${text.split('\n')[1]}\n`);
    await expect.poll(async () => (await identity.identify(bearer(key))).principal.failure, { timeout: 10_000 }).toBe('api-key');
    expect((await identity.identify(bearer(other))).principal.verified?.subject).toBe('nightly');
    rmSync(path);
    await expect.poll(async () => (await identity.identify(bearer(other))).refusal?.status, { timeout: 10_000 }).toBe(503);
  });

  test('a file that says something else is refused, and not repeated', async () => {
    const path = join(folder, 'bad-keys');
    await expect(identityOf({ apiKeys: path })).rejects.toMatchObject({
      code: 'config-missing',
      message: `cannot read ${path}: there is no such file`,
    });
    await expect(identityOf({ apiKeys: '/dev/zero' })).rejects.toMatchObject({ message: 'cannot read /dev/zero: it is no file' });
    writeFileSync(path, '# keys\nsworn_0123456789ab_secretsecret\n');
    await expect(identityOf({ apiKeys: path })).rejects.toMatchObject({ code: 'auth-file', message: `${path}:2: is no line \`name id salt hash\`` });
    await expect(newApiKey(path, 'x')).rejects.toMatchObject({ code: 'auth-file' });
    await expect(newApiKey(join(folder, 'k2'), 'two words')).rejects.toMatchObject({ code: 'usage' });
    const key = join(folder, 'k3');
    await newApiKey(key, 'x');
    await expect(newApiKey(key, 'x')).rejects.toMatchObject({ code: 'usage' });
    writeFileSync(key, readFileSync(key, 'utf8').trimEnd());
    await newApiKey(key, 'y');
    expect((await identityOf({ apiKeys: key })) instanceof Identity).toBe(true);
  });

  test('are for us alone', () => {
    expect(isOwnCredential('X-SWORN-KEY', 'anything')).toBe(true);
    expect(isOwnCredential('Authorization', 'bearer sworn_x')).toBe(true);
    expect(isOwnCredential('Authorization', 'Bearer eyJ.x.y')).toBe(false);
    expect(isOwnCredential('X-Api-Key', 'sworn_x')).toBe(false);
  });
});

describe('addresses', () => {
  const observed = async (identity: Identity, remoteAddress: string, ...forwardedFor: string[]): Promise<unknown[]> => {
    const { principal } = await identity.identify(from(forwardedFor.length === 0 ? {} : { 'X-Forwarded-For': forwardedFor }, { remoteAddress }));
    return [principal.observed.address, principal.observed.via, principal.declared.forwardedFor];
  };

  test('X-Forwarded-For is what somebody says, unless who says it is trusted', async () => {
    const open = await identityOf({});
    expect(await observed(open, '192.0.2.1', '10.0.0.1')).toEqual(['192.0.2.1', undefined, '10.0.0.1']);
    const trusting = await identityOf({ trustForwardedFrom: ['192.0.2.0/24', 'fd00::/8', '127.0.0.1'] });
    expect(await observed(trusting, '192.0.2.1', '203.0.113.5')).toEqual(['203.0.113.5', ['192.0.2.1'], '203.0.113.5']);
    // from another peer it is nothing
    expect(await observed(trusting, '198.51.100.7', '203.0.113.5')).toEqual(['198.51.100.7', undefined, '203.0.113.5']);
    // what the client wrote itself stands before what the proxy appended
    expect(await observed(trusting, '192.0.2.1', '10.9.9.9, 203.0.113.5')).toEqual(['203.0.113.5', ['192.0.2.1'], '10.9.9.9, 203.0.113.5']);
    expect(await observed(trusting, '192.0.2.1', '127.0.0.1', '203.0.113.5')).toEqual(['203.0.113.5', ['192.0.2.1'], '127.0.0.1, 203.0.113.5']);
    // two proxies of ours
    expect(await observed(trusting, 'fd00::1', '203.0.113.5, 192.0.2.7')).toEqual([
      '203.0.113.5',
      ['192.0.2.7', 'fd00::1'],
      '203.0.113.5, 192.0.2.7',
    ]);
    // who says nothing sensible is itself the last that is known
    expect(await observed(trusting, '192.0.2.1', '203.0.113.5, unknown')).toEqual(['192.0.2.1', undefined, '203.0.113.5, unknown']);
    expect(await observed(trusting, '192.0.2.1', '203.0.113.5,')).toEqual(['192.0.2.1', undefined, '203.0.113.5,']);
    expect(await observed(trusting, '192.0.2.1')).toEqual(['192.0.2.1', undefined, undefined]);
  });

  test('one address has one text, with a port or in brackets or as IPv4 within IPv6', async () => {
    const trusting = await identityOf({ trustForwardedFrom: ['192.0.2.0/24', 'fe80::/10'] });
    const cases: [string, string, unknown][] = [
      ['::ffff:192.0.2.1', '203.0.113.5:4711', '203.0.113.5'],
      ['::FFFF:C000:0201', '[2001:DB8:0::1]:443', '2001:db8::1'],
      ['fe80::1%eth0', '2001:db8:0:0:0:0:0:1', '2001:db8::1'],
      ['192.0.2.1', '::ffff:203.0.113.5', '203.0.113.5'],
      ['192.0.2.1', '203.0.113.5:99999999', '192.0.2.1'],
    ];
    for (const [peer, said, address] of cases) expect((await observed(trusting, peer, said))[0]).toBe(address);
  });

  test('a chain goes no further than anybody’s does', async () => {
    const trusting = await identityOf({ trustForwardedFrom: ['0.0.0.0/0'] });
    const chain = Array.from({ length: 5_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`).join(',');
    const [, via, said] = await observed(trusting, '192.0.2.1', chain);
    expect((via as string[]).length).toBe(16);
    expect((said as string).length).toBeLessThanOrEqual(256);
  });
});

/** Whom a server of ours sees. */
async function seen(identity: Identity, host: string, send: (port: number) => unknown): Promise<{ identified: Identified; again: Identified }> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  try {
    send((server.address() as AddressInfo).port);
    const [incoming, response] = (await once(server, 'request')) as [IncomingMessage, import('node:http').ServerResponse];
    const identified = await identity.identify(identityRequestOf(incoming));
    const again = await identity.identify(identityRequestOf(incoming));
    response.end();
    return { identified, again };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

describe.runIf(process.platform === 'linux')('processes of this machine', () => {
  const script = `const [host, port] = process.argv.slice(1); require('node:http').get({ host, port, family: host.includes(':') ? 6 : 4 }).on('error', () => {}); setTimeout(() => {}, 60000)`;

  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '::1'],
    // an IPv6 socket that takes IPv4 too
    ['::', '127.0.0.1'],
    ['127.0.0.1', '::ffff:127.0.0.1'],
  ])('at %s, from %s', async (listens, dials) => {
    let child: ReturnType<typeof spawn> | undefined;
    try {
      const { identified, again } = await seen(await identityOf({}), listens, (port) => {
        child = spawn(process.execPath, ['-e', script, dials, String(port)], { stdio: 'ignore' });
      });
      const pid = child!.pid!;
      expect(identified.principal.observed).toEqual({
        address: dials === '::1' ? '::1' : '127.0.0.1',
        uid: process.getuid!(),
        pid,
        startTime: startTimeOf(pid),
        executable: process.execPath,
      });
      expect(again).toEqual(identified);
    } finally {
      child?.kill('SIGKILL');
    }
  });

  test('of a socket that two processes hold nobody says who it is', async () => {
    let child: ReturnType<typeof spawn> | undefined;
    let socket: ReturnType<typeof connect> | undefined;
    try {
      const { identified } = await seen(await identityOf({}), '127.0.0.1', (port) => {
        socket = connect(port, '127.0.0.1', () => {
          const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
          child = spawn('sleep', ['60'], { stdio: ['ignore', fd, 'ignore'] });
          child.once('spawn', () => socket!.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
        });
      });
      expect(identified.principal.observed).toEqual({ address: '127.0.0.1', uid: process.getuid!(), unavailable: 'several' });
    } finally {
      child?.kill('SIGKILL');
      socket?.destroy();
    }
  });

  test('of a connection that is gone, and of another machine, nobody is guessed', async () => {
    const identity = await identityOf({});
    const gone = await identity.identify(from({}, { remoteAddress: '127.0.0.1', remotePort: 1, localAddress: '127.0.0.1', localPort: 1 }));
    expect(gone.principal.observed).toEqual({ address: '127.0.0.1', unavailable: 'gone' });
    expect((await identity.identify(from({}))).principal.observed).toEqual({ address: '192.0.2.9' });
    // behind a proxy on this machine is somebody else
    const trusting = await identityOf({ trustForwardedFrom: ['127.0.0.0/8'] });
    const { identified } = await seen(trusting, '127.0.0.1', (port) =>
      request({ port, host: '127.0.0.1', headers: { 'X-Forwarded-For': '203.0.113.5' } })
        .on('error', () => undefined)
        .end(),
    );
    expect(identified.principal.observed).toEqual({ address: '203.0.113.5', via: ['127.0.0.1'] });
  });
});

describe('client certificates', () => {
  const openssl = (...words: string[]): void => void execFileSync('openssl', words, { cwd: folder, stdio: ['ignore', 'ignore', 'ignore'] });
  const authority = (name: string): void =>
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-subj',
      `/CN=${name}`,
      '-days',
      '2',
    );
  const issue = (name: string, ca: string, subject: string, extensions: string, days = '2'): void => {
    openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      subject,
    );
    writeFileSync(join(folder, `${name}.ext`), extensions);
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      `${ca}.pem`,
      '-CAkey',
      `${ca}.key`,
      '-out',
      `${name}.pem`,
      '-days',
      days,
      '-extfile',
      `${name}.ext`,
    );
  };
  const pem = (name: string): { cert: Buffer; key: Buffer } => ({
    cert: readFileSync(join(folder, `${name}.pem`)),
    key: readFileSync(join(folder, `${name}.key`)),
  });

  beforeAll(() => {
    authority('ours');
    authority('theirs');
    issue('server', 'ours', '/CN=localhost', 'subjectAltName=IP:127.0.0.1');
    issue('robot', 'ours', '/O=Robots/CN=robot-7', 'subjectAltName=DNS:a.example,URI:spiffe://example/robot,email:r@example.com');
    issue('twins', 'ours', '/CN=one/CN=two', 'subjectAltName=DNS:a.example,DNS:b.example');
    issue('sly', 'ours', '/CN=sly', 'subjectAltName=@names\n[names]\nURI.1=spiffe://example/a,URI:spiffe://example/robot');
    issue('stranger', 'theirs', '/CN=robot-7', 'basicConstraints=CA:FALSE');
  });

  /** A request over TLS, as a real server sees it. */
  async function shown(
    identity: Identity,
    options: Awaited<ReturnType<typeof certificateOptions>>,
    client: string | undefined,
    headers: Record<string, string> = {},
    rounds = 1,
  ): Promise<Identified[]> {
    const found: Identified[] = [];
    const server = createSecureServer({ ...pem('server'), ...options }, (incoming, response) => {
      void identity.identify(identityRequestOf(incoming)).then((one) => {
        found.push(one);
        response.end();
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    // a new connection for each request that goes on with the session of the one before
    const agent = new Agent({ keepAlive: false, maxCachedSessions: 10 });
    try {
      for (let i = 0; i < rounds; i++) {
        const sent = secureRequest({
          agent,
          host: '127.0.0.1',
          port: (server.address() as AddressInfo).port,
          ca: pem('ours').cert,
          ...(client === undefined ? {} : pem(client)),
          headers,
        }).end();
        const [response] = (await once(sent, 'response')) as [IncomingMessage];
        response.resume();
        await once(response, 'end');
      }
    } finally {
      server.closeAllConnections();
      server.close();
    }
    return found;
  }

  const settings = (subject: 'cn' | 'dns' | 'email' | 'uri') => ({ ca: join(folder, 'ours.pem'), subject });
  const principalOf = async (client: string | undefined, subject: 'cn' | 'dns' | 'email' | 'uri' = 'cn'): Promise<Identified> => {
    const clientCertificates = settings(subject);
    const identity = await identityOf({ required: true, clientCertificates });
    return (await shown(identity, await certificateOptions(clientCertificates), client))[0]!;
  };

  test('of our authority names its subject, and only as it is told to', async () => {
    const expiresAtS = expect.any(Number) as number;
    for (const [kind, subject] of [
      ['cn', 'robot-7'],
      ['dns', 'a.example'],
      ['uri', 'spiffe://example/robot'],
      ['email', 'r@example.com'],
    ] as const) {
      const { principal, refusal } = await principalOf('robot', kind);
      expect(principal.verified).toEqual({ source: 'client-certificate', subject, issuer: 'CN=ours', expiresAtS });
      expect(refusal).toBeUndefined();
    }
  });

  test('of somebody else, without a name, or with two, names nobody', async () => {
    expect(await principalOf('stranger')).toMatchObject({ principal: { failure: 'certificate' }, refusal: { status: 403, challenge: '' } });
    for (const kind of ['cn', 'dns', 'email'] as const)
      expect((await principalOf('twins', kind)).principal).toMatchObject({ failure: 'certificate-subject' });
    // a name that looks like two to whoever reads a list of them
    expect((await principalOf('sly', 'uri')).principal.verified?.subject).toBe('spiffe://example/a,URI:spiffe://example/robot');
    const without = await principalOf(undefined);
    expect(without.refusal).toEqual({ status: 403, challenge: '', reason: 'no credential that counts here was shown' });
    expect(without.principal.failure).toBeUndefined();
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      vi.setSystemTime(Date.now() + 3 * 86_400_000);
      expect((await principalOf('robot')).principal).toMatchObject({ failure: 'certificate' });
    } finally {
      vi.useRealTimers();
    }
  });

  test('counts on a session that goes on, too', async () => {
    const clientCertificates = settings('cn');
    const identity = await identityOf({ required: true, clientCertificates });
    for (const [client, subject, failure] of [
      ['robot', 'robot-7', undefined],
      ['stranger', undefined, 'certificate'],
    ] as const)
      for (const { principal } of await shown(identity, await certificateOptions(clientCertificates), client, {}, 3))
        expect([principal.verified?.subject, principal.failure]).toEqual([subject, failure]);
  });

  test('a token that is bound to a certificate counts with it alone; both are kept', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const path = join(folder, 'bound-jwks.json');
    writeFileSync(path, JSON.stringify({ keys: [await exportJWK(publicKey)] }));
    const clientCertificates = settings('cn');
    const identity = await identityOf({
      clientCertificates,
      issuers: [{ issuer: 'i', audience: ['a'], jwks: path, algorithms: ['ES256'], subject: 'sub', clockToleranceS: 0 }],
    });
    const options = await certificateOptions(clientCertificates);
    const thumbprint = execFileSync('sh', ['-c', 'openssl x509 -in robot.pem -outform der | openssl dgst -sha256 -binary'], { cwd: folder }).toString(
      'base64url',
    );
    const token = await new SignJWT({ iss: 'i', aud: 'a', sub: 'alice', cnf: { 'x5t#S256': thumbprint } })
      .setProtectedHeader({ alg: 'ES256' })
      .setExpirationTime('5m')
      .sign(privateKey);
    const headers = { Authorization: `Bearer ${token}` };
    expect((await shown(identity, options, 'robot', headers))[0]!.principal.verified).toMatchObject({
      source: 'jwt',
      subject: 'alice',
      also: [{ source: 'client-certificate', subject: 'robot-7', issuer: 'CN=ours' }],
    });
    expect((await shown(identity, options, 'server', headers))[0]!.principal).toMatchObject({
      verified: { source: 'client-certificate', subject: 'localhost' },
      failure: 'token-bound',
    });
    expect((await shown(identity, options, undefined, headers))[0]!.principal).toMatchObject({ failure: 'token-bound' });
  });

  test('what is no authority is not taken for one', async () => {
    const of = (ca: string) => certificateOptions({ ca: join(folder, ca), subject: 'cn' });
    await expect(of('stranger.pem')).rejects.toMatchObject({ code: 'auth-file', message: expect.stringMatching(/none of an authority$/) as string });
    await expect(of('ours.key')).rejects.toMatchObject({ code: 'auth-file', message: expect.stringMatching(/holds no certificate/) as string });
    await expect(of('nothing.pem')).rejects.toMatchObject({ code: 'config-missing' });
  });
});
