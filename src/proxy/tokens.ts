/**
 * Bearer tokens (JWT, RFC 7519) of the issuers that `sworn.yaml` names: signature by a key of the issuer's set, algorithm, issuer, audience, times and subject.
 *
 * What must stay true: a token is verified by the issuer that its own `iss` names and by no other; nothing of a token leaves here but claims, and no word of an error of
 * a library; what was found is remembered under a hash that nobody else can make, never under the token.
 */
import { hash, randomBytes } from 'node:crypto';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  jwtVerify,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
} from 'jose';
import type { IssuerSettings } from '../config/auth.ts';
import { SwornError } from '../errors.ts';
import { bounded } from '../mcp/bounded.ts';
import type { Actor, AuthenticationFailure, Principal } from '../wire/principal.ts';
import { Watched } from './watched-file.ts';

type Verified = NonNullable<Principal['verified']>;

export interface TokenVerdict {
  verified?: Verified;
  failure?: AuthenticationFailure;
  /** It names an issuer of ours: whoever shows it means to be verified by it. */
  isOurs: boolean;
  /** What it says of itself, when nobody verified it: of any length. */
  claims?: Record<string, string>;
}

const tokenLength = 16 * 1024;
/** Of a subject, in bytes: longer ones are refused, since a beginning of one is somebody else. */
const subjectBytes = 512;
const claimBytes = 256;
const listMost = 64;
const actorsMost = 16;

/** A key that an issuer takes back counts no longer than this for tokens that were seen; a set of keys is fetched anew at least as often. */
const rememberedMs = 300_000;
const rememberedMost = 4_096;
/** Unknown keys make us ask for the set again, but not for every token that somebody makes up. */
const cooldownMs = 30_000;
const setAgeMs = 600_000;
const fetchMs = 5_000;
const setBytes = 1024 * 1024;
/** An issuer that did not answer is not asked again for so long. */
const failedMs = 5_000;

interface Remembered {
  verdict: TokenVerdict;
  thumbprint?: string;
  untilMs: number;
  /** Of the key set's file: another one, and the token is looked at again. */
  set: unknown;
}

interface Issuer extends IssuerSettings {
  keys: KeySource;
}

export class Tokens {
  readonly #issuers = new Map<string, Issuer>();
  readonly #remembered = new Map<string, Remembered>();
  readonly #secret = randomBytes(32).toString('base64');

  private constructor(issuers: readonly Issuer[]) {
    for (const one of issuers) this.#issuers.set(one.issuer, one);
  }

  /** @throws SwornError `config-missing`, `auth-file` for a key set that is a file. Of an address nothing is asked yet: an issuer may come later than we do */
  static async open(issuers: readonly IssuerSettings[]): Promise<Tokens> {
    return new Tokens(await Promise.all(issuers.map(async (one) => ({ ...one, keys: await keySource(one.jwks) }))));
  }

  /**
   * `undefined` for what is no JWT. `thumbprint`: SHA-256 of the client's certificate, base64url; a token that is bound to one (RFC 8705) counts with that alone.
   * `isBearer`: false where a proof comes with it (DPoP), which we do not check.
   */
  async verify(token: string, isBearer: boolean, thumbprint: string | undefined): Promise<TokenVerdict | undefined> {
    const said = payloadOf(token);
    if (said === undefined) return undefined;
    const issuer = typeof said['iss'] === 'string' ? this.#issuers.get(said['iss']) : undefined;
    const claims = claimsOf(said);
    if (issuer === undefined) return { ...(this.#issuers.size === 0 ? {} : { failure: 'token-issuer' }), isOurs: false, claims };
    if (!isBearer) return { failure: 'token-bound', isOurs: true, claims };
    const found = await this.#find(token, issuer);
    if (found.verdict.verified === undefined) return { ...found.verdict, claims };
    if (found.thumbprint !== undefined && found.thumbprint !== thumbprint) return { failure: 'token-bound', isOurs: true, claims };
    return found.verdict;
  }

  async #find(token: string, issuer: Issuer): Promise<Pick<Remembered, 'verdict' | 'thumbprint'>> {
    const digest = hash('sha256', this.#secret + token, 'base64');
    const nowMs = Date.now();
    let set: unknown;
    try {
      set = await issuer.keys.version();
    } catch {
      return { verdict: { failure: 'token-keys-unavailable', isOurs: true } };
    }
    const known = this.#remembered.get(digest);
    if (known !== undefined && known.set === set && nowMs < known.untilMs) return known;
    this.#remembered.delete(digest);
    const { payload, failure } = await check(token, issuer);
    if (payload === undefined) return { verdict: { failure: failure!, isOurs: true } };
    const verified = verifiedOf(payload, issuer);
    const bound = thumbprintOf(payload['cnf']);
    if (verified === undefined || bound === 'other')
      return { verdict: { failure: verified === undefined ? 'token-claims' : 'token-bound', isOurs: true } };
    const untilMs = Math.min(nowMs + rememberedMs, (verified.expiresAtS! + issuer.clockToleranceS) * 1000);
    const found: Remembered = { verdict: { verified, isOurs: true }, ...(bound === undefined ? {} : { thumbprint: bound }), untilMs, set };
    this.#remembered.set(digest, found);
    if (this.#remembered.size > rememberedMost) this.#remembered.delete(this.#remembered.keys().next().value!);
    return found;
  }
}

interface KeySource {
  get: JWTVerifyGetKey;
  /** Something that is another one when the keys were exchanged; rejects when there are none. Of an address always the same: what was seen is not remembered for long. */
  version(): Promise<unknown>;
}

/** The issuer's keys cannot be had: that says nothing of a token. */
class Unavailable extends Error {}

async function keySource(jwks: string): Promise<KeySource> {
  if (jwks.startsWith('/')) {
    const file = new Watched(jwks, (bytes) => localSet(bytes, jwks));
    await file.read();
    return { get: async (...args) => (await file.read())(...args), version: () => file.read() };
  }
  const remote = createRemoteJWKSet(new URL(jwks), {
    cooldownDuration: cooldownMs,
    cacheMaxAge: setAgeMs,
    timeoutDuration: fetchMs,
    [customFetch]: boundedFetch,
  });
  let failedAtMs = Number.NEGATIVE_INFINITY;
  return {
    version: () => Promise.resolve(undefined),
    get: async (header, token) => {
      if (performance.now() - failedAtMs < failedMs) {
        if (!remote.fresh) throw new Unavailable();
        return createLocalJWKSet(remote.jwks()!)(header, token);
      }
      try {
        return await remote(header, token);
      } catch (error) {
        if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys || error instanceof errors.JOSENotSupported)
          throw error;
        failedAtMs = performance.now();
        throw new Unavailable();
      }
    },
  };
}

function localSet(bytes: Buffer, path: string): JWTVerifyGetKey {
  try {
    return createLocalJWKSet(JSON.parse(bytes.toString('utf8')) as JSONWebKeySet);
  } catch {
    // what it holds instead may be a private key
    throw new SwornError('auth-file', `${path} is no JSON Web Key Set (RFC 7517)`, { path });
  }
}

/** An issuer's answer, as far as a set of keys may go. */
async function boundedFetch(url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, options);
  if (response.status !== 200 || response.body === null) return response;
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of response.body as ReadableStream<Uint8Array>) {
    sizeBytes += part.length;
    if (sizeBytes > setBytes) throw new Unavailable();
    parts.push(part);
  }
  return new Response(Buffer.concat(parts), { status: 200 });
}

async function check(token: string, issuer: Issuer): Promise<{ payload?: JWTPayload; failure?: AuthenticationFailure }> {
  const options = {
    issuer: issuer.issuer,
    audience: issuer.audience,
    algorithms: issuer.algorithms,
    clockTolerance: issuer.clockToleranceS,
    requiredClaims: ['exp', issuer.subject],
  };
  try {
    return { payload: (await jwtVerify(token, issuer.keys.get, options)).payload };
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return { failure: failureOf(error) };
    // the token names no key, and several could have made it
    let failure: AuthenticationFailure = 'token-key';
    let tries = 0;
    for await (const key of error) {
      if (tries++ === listMost) break;
      try {
        return { payload: (await jwtVerify(token, key, options)).payload };
      } catch (inner) {
        failure = failureOf(inner);
        if (failure !== 'token-signature') break;
      }
    }
    return { failure };
  }
}

function failureOf(error: unknown): AuthenticationFailure {
  if (error instanceof errors.JWTExpired) return 'token-expired';
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'aud') return 'token-audience';
    return error.claim === 'nbf' ? 'token-not-yet-valid' : 'token-claims';
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'token-signature';
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) return 'token-algorithm';
  if (error instanceof errors.JWKSNoMatchingKey) return 'token-key';
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return 'token-malformed';
  // a key of the set that no signature may be checked with (RSA of 1,024 bits) is none
  return error instanceof Unavailable || error instanceof SwornError ? 'token-keys-unavailable' : 'token-key';
}

function verifiedOf(payload: JWTPayload, { subject: claim, issuer }: IssuerSettings): Verified | undefined {
  const subject = wholeText(payload[claim]);
  const act = actorsOf(payload['act']);
  if (subject === undefined || act === undefined) return undefined;
  const clientId = shortText(payload['client_id']) ?? shortText(payload['azp']);
  const name = shortText(payload['name']);
  const { scope, scp, aud } = payload as Record<string, unknown>;
  const scopes = typeof scope === 'string' ? scope.split(' ') : Array.isArray(scp) ? scp : typeof scp === 'string' ? scp.split(' ') : [];
  const [scopeTexts, audience] = [scopes, Array.isArray(aud) ? aud : [aud]].map((list) =>
    (list as unknown[]).slice(0, listMost).flatMap((one) => (one === '' ? [] : (shortText(one) ?? []))),
  );
  return {
    source: 'jwt',
    subject,
    issuer,
    ...(clientId === undefined ? {} : { clientId }),
    ...(name === undefined ? {} : { name }),
    ...(scopeTexts!.length === 0 ? {} : { scopes: scopeTexts! }),
    audience: audience!,
    ...(act.length === 0 ? {} : { act }),
    expiresAtS: payload.exp!,
  };
}

/** RFC 8693 §4.1, the nearest first. A chain that cannot be kept whole makes the token one that says too much: `undefined`. */
function actorsOf(act: unknown): Actor[] | undefined {
  const actors: Actor[] = [];
  for (let at = act; at !== undefined;) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || actors.length === actorsMost) return undefined;
    const { sub, client_id: clientId, iss, act: next } = at as Record<string, unknown>;
    const subject = wholeText(sub ?? clientId);
    const issuer = wholeText(iss);
    if (subject === undefined || (iss !== undefined && issuer === undefined)) return undefined;
    actors.push({ subject, ...(issuer === undefined ? {} : { issuer }) });
    at = next;
  }
  return actors;
}

/** The certificate that a token is bound to (RFC 8705 §3.1); `other`: something that we cannot check. */
function thumbprintOf(cnf: unknown): string | undefined {
  if (cnf === undefined) return undefined;
  const bound = typeof cnf === 'object' && cnf !== null ? (cnf as Record<string, unknown>)['x5t#S256'] : undefined;
  return typeof bound === 'string' && Object.keys(cnf as object).length === 1 ? bound : 'other';
}

/** The claims of a JWT, unverified; `undefined` for anything else. */
function payloadOf(token: string): Record<string, unknown> | undefined {
  if (token.length > tokenLength) return undefined;
  const [header, payload, , more] = token.split('.', 4);
  if (payload === undefined || more !== undefined || jsonObject(header!) === undefined) return undefined;
  return jsonObject(payload);
}

function jsonObject(base64url: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(Buffer.from(base64url, 'base64url').toString('utf8')) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function claimsOf(payload: Record<string, unknown>): Record<string, string> {
  const claims: Record<string, string> = {};
  for (const name of ['iss', 'sub', 'client_id', 'azp', 'scope']) {
    const text = payload[name];
    if (typeof text === 'string' && text !== '') claims[name] = text;
  }
  return claims;
}

function wholeText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= subjectBytes ? value : undefined;
}

function shortText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? bounded(value, claimBytes) : undefined;
}
