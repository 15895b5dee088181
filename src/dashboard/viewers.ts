/**
 * Who may look: whoever opened the address that was printed, once, and whoever shows a token of the token file. Secrets are kept as digests, so that looking one up
 * tells nothing by the time it takes.
 *
 * What must stay true: a one-time token is exchanged once; guessing is bounded, and a guesser holds up nobody who is known.
 */
import { createHash, randomBytes } from 'node:crypto';
import { dashboardFailures, dashboardRequests, dashboardSessionMs, dashboardSessions } from '../limits.ts';

export interface Viewer {
  /** 16 hex digits: what `access` entries call this login or token. */
  readonly id: string;
  readonly how: 'dashboard' | 'api';
}

/** A token of the API has at least so many characters: what is shorter can be guessed. */
export const leastTokenChars = 32;

/** So many at once, and so many a second; what is over waits. */
export class Bucket {
  readonly #most: number;
  readonly #perS: number;
  #left: number;
  #atMs: number;

  constructor({ most, perS }: { most: number; perS: number }, nowMs: number) {
    this.#most = most;
    this.#perS = perS;
    this.#left = most;
    this.#atMs = nowMs;
  }

  /** Takes one; else the seconds, at least 1, after which there is one. */
  take(nowMs: number): number | undefined {
    this.#left = Math.min(this.#most, this.#left + (Math.max(0, nowMs - this.#atMs) / 1000) * this.#perS);
    this.#atMs = nowMs;
    if (this.#left < 1) return Math.max(1, Math.ceil((1 - this.#left) / this.#perS));
    this.#left--;
    return undefined;
  }
}

interface Login {
  viewer: Viewer;
  endsMs: number;
}

export type Admitted = { viewer: Viewer } | { retryAfterS: number } | 'unknown';

export class Viewers {
  readonly #now: () => number;
  readonly #cookieName: string;
  /** One-time tokens, by digest. */
  readonly #issued = new Set<string>();
  /** Sessions by the digest of their cookie, the oldest first. */
  readonly #logins = new Map<string, Login>();
  readonly #tokens = new Map<string, Viewer>();
  readonly #requests = new Map<string, Bucket>();
  #failures: Bucket;

  /** `port`: a browser sends its cookies to every port of a name, so each dashboard has a name of its own. */
  constructor(port: number, tokens: readonly string[] = [], now: () => number = Date.now) {
    this.#now = now;
    this.#cookieName = `sworn-${port}`;
    this.#failures = new Bucket(dashboardFailures, now());
    for (const token of tokens) this.#tokens.set(digestOf(token), { id: digestOf(token).slice(0, 16), how: 'api' });
  }

  /** A token for one login: 256 random bits. */
  issue(): string {
    const token = randomBytes(32).toString('base64url');
    this.#issued.add(digestOf(token));
    return token;
  }

  /** The `Set-Cookie` of a new login, for a token that was issued and not used yet. */
  exchange(token: string): string | undefined {
    if (!this.#issued.delete(digestOf(token))) return undefined;
    const cookie = randomBytes(32).toString('base64url');
    this.#logins.set(digestOf(cookie), {
      viewer: { id: randomBytes(8).toString('hex'), how: 'dashboard' },
      endsMs: this.#now() + dashboardSessionMs,
    });
    for (const oldest of this.#logins.keys()) {
      if (this.#logins.size <= dashboardSessions) break;
      this.#logins.delete(oldest);
    }
    return `${this.#cookieName}=${cookie}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${dashboardSessionMs / 1000}`;
  }

  /** Who asks, by a cookie or a bearer token. Whoever is known may ask so often; of those who are not, all together. */
  admit(cookies: string | undefined, authorization: string | undefined): Admitted {
    const viewer = this.#viewerOf(cookies, authorization);
    if (viewer === undefined) {
      const retryAfterS = this.failed();
      return retryAfterS === undefined ? 'unknown' : { retryAfterS };
    }
    const bucket = this.#requests.get(viewer.id) ?? new Bucket(dashboardRequests, this.#now());
    this.#requests.set(viewer.id, bucket);
    const retryAfterS = bucket.take(this.#now());
    return retryAfterS === undefined ? { viewer } : { retryAfterS };
  }

  /** Somebody showed nothing that is known: the seconds until the next may. */
  failed(): number | undefined {
    return this.#failures.take(this.#now());
  }

  #viewerOf(cookies: string | undefined, authorization: string | undefined): Viewer | undefined {
    const bearer = /^Bearer +([^\s]+) *$/i.exec(authorization ?? '')?.[1];
    // who shows a token is looked at by it alone
    if (authorization !== undefined) return bearer === undefined ? undefined : this.#tokens.get(digestOf(bearer));
    for (const pair of (cookies ?? '').split(';')) {
      const at = pair.indexOf('=');
      if (at < 0 || pair.slice(0, at).trim() !== this.#cookieName) continue;
      const key = digestOf(pair.slice(at + 1).trim());
      const login = this.#logins.get(key);
      if (login === undefined) continue;
      if (login.endsMs > this.#now()) return login.viewer;
      this.#logins.delete(key);
      this.#requests.delete(login.viewer.id);
    }
    return undefined;
  }
}

function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** The tokens of a token file: one a line; empty lines and those that begin with `#` are passed over. A text says what is wrong with it. */
export function readTokens(text: string): string[] | string {
  const tokens: string[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    const token = line.trim();
    if (token === '' || token.startsWith('#')) continue;
    if (!/^[\x21-\x7e]+$/.test(token)) return `line ${i + 1} is no token: letters, digits and signs of ASCII, without a space`;
    if (token.length < leastTokenChars) return `the token of line ${i + 1} has fewer than ${leastTokenChars} characters: openssl rand -hex 32`;
    tokens.push(token);
  }
  return tokens.length === 0 ? 'there is no token in it' : tokens;
}
