/**
 * Who is behind an HTTP request: what a credential proves (`verified`), what the network and the operating system show (`observed`), and what the client says of itself
 * (`declared`). `sworn.yaml` (`auth`) says what counts, docs/http-identity.md what it is good for.
 *
 * What must stay true: the three are never mixed and nothing is guessed; no credential is in what leaves here; nothing here throws for any request.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { AuthSettings } from '../config/auth.ts';
import { bounded } from '../mcp/bounded.ts';
import type { AuthenticationFailure, Principal } from '../wire/principal.ts';
import { ForwardedFrom } from './address.ts';
import { ApiKeys } from './api-keys.ts';
import { shownCertificate, thumbprintOf, verifiedBy, type ShownCertificate } from './certificates.ts';
import { bearerIn, isApiKey, keyHeader } from './credentials.ts';
import { isLocal, peerProcess, type Ends } from './peer-process.ts';
import { Tokens } from './tokens.ts';

export interface IdentityRequest extends Partial<Ends> {
  /** Node's `rawHeaders`: name, value, name, value … */
  headers: readonly string[];
  clientCertificate?: ShownCertificate;
  /** The connection: what the system says of it is asked once. */
  connection?: object;
}

export interface Identified {
  principal: Principal;
  /** 32 hex digits: equal for what is equal but for ports and the time when a token expires. It says nothing outside of this process. */
  key: string;
  /** What the request is answered with, instead of being sent on. */
  refusal?: Refusal;
}

export interface Refusal {
  /** 503: the keys to check it with cannot be had, which says nothing of the credential. */
  status: 401 | 403 | 503;
  /** `WWW-Authenticate`; empty: none, for no header of HTTP would help. */
  challenge: string;
  reason: string;
}

const keysMost = 1_024;
/** Of each text that a client says of itself. */
const declaredBytes = 256;

const reasons: Readonly<Record<AuthenticationFailure, string>> = {
  'token-malformed': 'the token cannot be read',
  'token-issuer': 'the token is of no issuer that counts here',
  'token-algorithm': 'the token is signed in a way that does not count here',
  'token-key': 'the token is signed with no key of its issuer',
  'token-signature': 'the signature of the token is wrong',
  'token-audience': 'the token is meant for somebody else',
  'token-expired': 'the token has expired',
  'token-not-yet-valid': 'the token is not valid yet',
  'token-claims': 'the token lacks a claim, or has one that cannot be used',
  'token-bound': 'the token is bound to a key or certificate that was not shown',
  'token-keys-unavailable': 'the keys of the issuer cannot be had',
  'api-key': 'the API key is unknown',
  'api-keys-unavailable': 'the API keys cannot be had',
  certificate: 'the certificate was not issued by the authority that counts here, or has expired',
  'certificate-subject': 'the certificate does not name one subject',
  'several-credentials': 'more than one credential of a kind was shown',
};

/** A request of Node's server. */
export function identityRequestOf({ rawHeaders, socket }: IncomingMessage): IdentityRequest {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  const clientCertificate = socket instanceof TLSSocket ? shownCertificate(socket) : undefined;
  return {
    headers: rawHeaders,
    connection: socket,
    ...(remoteAddress === undefined || remotePort === undefined ? {} : { remoteAddress, remotePort }),
    ...(localAddress === undefined || localPort === undefined ? {} : { localAddress, localPort }),
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
  };
}

/** What was found of one credential. */
interface Found {
  verified?: NonNullable<Principal['verified']>;
  failure?: AuthenticationFailure;
  /** It is meant for us, so that a failure of it counts whatever else verifies. */
  isOurs: boolean;
  claims?: Record<string, string>;
}

export class Identity {
  readonly #settings: AuthSettings;
  readonly #tokens: Tokens;
  readonly #apiKeys: ApiKeys | undefined;
  readonly #forwarded: ForwardedFrom;
  readonly #secret = randomBytes(32);
  /** Keys that were made, by what they are of: an HMAC costs more than all else of a request that shows nothing new. */
  readonly #keys = new Map<string, string>();
  readonly #processes = new WeakMap<object, ReturnType<typeof peerProcess>>();
  readonly #lasting = new WeakMap<object, Identified>();

  private constructor(settings: AuthSettings, tokens: Tokens, apiKeys: ApiKeys | undefined) {
    this.#settings = settings;
    this.#tokens = tokens;
    this.#apiKeys = apiKeys;
    this.#forwarded = new ForwardedFrom(settings.trustForwardedFrom);
  }

  /** @throws SwornError `config-missing`, `auth-file` for a file that the settings name */
  static async open(settings: AuthSettings): Promise<Identity> {
    const { issuers, apiKeys } = settings;
    return new Identity(settings, await Tokens.open(issuers), apiKeys === undefined ? undefined : await ApiKeys.open(apiKeys));
  }

  /** What was found before of a request with these headers: of one without a credential it stays true as long as its connection. */
  known(sameHeaders: object): Identified | undefined {
    return this.#lasting.get(sameHeaders);
  }

  /** @param sameHeaders what `known` is asked with: equal for the same headers on the same connection alone */
  async identify(request: IdentityRequest, sameHeaders?: object): Promise<Identified> {
    const headers = new Headers(request.headers);
    const { clientCertificate } = request;
    const thumbprint = clientCertificate === undefined ? undefined : thumbprintOf(clientCertificate);
    // what says most of who it is comes first
    const found = [await this.#byToken(headers, thumbprint), await this.#byApiKey(headers), this.#byCertificate(clientCertificate)].filter(
      (one) => one !== undefined,
    );
    const verified = found.flatMap((one) => one.verified ?? []);
    const failed = found.find(({ failure }) => failure !== undefined);
    const principal: Principal = {
      ...(verified.length === 0 ? {} : { verified: { ...verified[0]!, ...alsoOf(verified.slice(1)) } }),
      ...(await this.#seen(request, headers, found)),
      ...(failed === undefined ? {} : { failure: failed.failure! }),
    };
    const isRefused = this.#settings.required && (verified.length === 0 || found.some(({ failure, isOurs }) => failure !== undefined && isOurs));
    const identified = { principal, key: this.#keyOf(principal), ...(isRefused ? { refusal: this.#refusal(failed?.failure) } : {}) };
    const isLasting = headers.authorization.length + headers.apiKey.length === 0 && clientCertificate === undefined;
    if (sameHeaders !== undefined && isLasting) this.#lasting.set(sameHeaders, identified);
    return identified;
  }

  async #byToken({ authorization }: Headers, thumbprint: string | undefined): Promise<Found | undefined> {
    if (authorization.length > 1) return this.#settings.issuers.length === 0 ? undefined : { failure: 'several-credentials', isOurs: true };
    const shown = bearerIn(authorization[0] ?? '');
    if (shown === undefined || isApiKey(shown.token)) return undefined;
    return this.#tokens.verify(shown.token, shown.isBearer, thumbprint);
  }

  async #byApiKey({ authorization, apiKey }: Headers): Promise<Found | undefined> {
    const keys = new Set([...apiKey, ...authorization.flatMap((one) => bearerIn(one)?.token ?? []).filter(isApiKey)]);
    if (keys.size === 0 || this.#apiKeys === undefined) return undefined;
    if (keys.size > 1) return { failure: 'several-credentials', isOurs: true };
    const named = await this.#apiKeys.nameOf([...keys][0]!);
    if (typeof named === 'object') return { verified: { source: 'api-key', subject: named.name }, isOurs: true };
    return { failure: named === 'unknown' ? 'api-key' : 'api-keys-unavailable', isOurs: true };
  }

  #byCertificate(shown: ShownCertificate | undefined): Found | undefined {
    const { clientCertificates } = this.#settings;
    if (shown === undefined || clientCertificates === undefined) return undefined;
    return { ...verifiedBy(shown, clientCertificates, Date.now()), isOurs: true };
  }

  async #seen(request: IdentityRequest, headers: Headers, found: readonly Found[]): Promise<Pick<Principal, 'observed' | 'declared'>> {
    const { address, via, forwardedFor } = this.#forwarded.read(request.remoteAddress, headers.forwardedFor);
    const claims = found.find((one) => one.claims !== undefined && Object.keys(one.claims).length > 0)?.claims;
    const [userAgent] = headers.userAgent;
    return {
      observed: {
        ...(address === undefined ? {} : { address }),
        ...(via === undefined ? {} : { via }),
        // behind a proxy is somebody else than the process that is connected
        ...(via === undefined ? await this.#processOf(request) : {}),
      },
      declared: {
        ...(userAgent === undefined || userAgent === '' ? {} : { userAgent: headers.shown(userAgent) }),
        ...(claims === undefined ? {} : { claims: Object.fromEntries(Object.entries(claims).map(([name, text]) => [name, headers.shown(text)])) }),
        ...(forwardedFor === undefined ? {} : { forwardedFor: headers.shown(forwardedFor) }),
      },
    };
  }

  #processOf({ remoteAddress, remotePort, localAddress, localPort, connection }: IdentityRequest): ReturnType<typeof peerProcess> | undefined {
    if (remoteAddress === undefined || remotePort === undefined || localAddress === undefined || localPort === undefined) return undefined;
    if (!isLocal({ remoteAddress, localAddress })) return undefined;
    const known = connection === undefined ? undefined : this.#processes.get(connection);
    if (known !== undefined) return known;
    const asked = peerProcess({ remoteAddress, remotePort, localAddress, localPort }).catch(() => ({ unavailable: 'permission' as const }));
    if (connection !== undefined) this.#processes.set(connection, asked);
    return asked;
  }

  /** Under a key of this process: a hash that anybody can make again would tell who is behind it to whoever guesses. */
  #keyOf({ verified, ...rest }: Principal): string {
    const { expiresAtS: _, ...lasting } = verified ?? {};
    const said = JSON.stringify({ ...rest, verified: lasting });
    const known = this.#keys.get(said);
    if (known !== undefined) return known;
    const key = createHmac('sha256', this.#secret).update(said).digest('hex').slice(0, 32);
    this.#keys.set(said, key);
    if (this.#keys.size > keysMost) this.#keys.delete(this.#keys.keys().next().value!);
    return key;
  }

  #refusal(failure: AuthenticationFailure | undefined): Refusal {
    const reason = failure === undefined ? 'no credential that counts here was shown' : reasons[failure];
    if (failure === 'token-keys-unavailable' || failure === 'api-keys-unavailable') return { status: 503, challenge: '', reason };
    const { issuers, apiKeys } = this.#settings;
    if (issuers.length === 0 && apiKeys === undefined) return { status: 403, challenge: '', reason };
    // RFC 6750 §3.1: whoever showed nothing is told no error
    const error =
      failure === undefined
        ? ''
        : `, error="${failure === 'several-credentials' ? 'invalid_request' : 'invalid_token'}", error_description="${reason}"`;
    return { status: 401, challenge: `Bearer realm="sworn"${error}`, reason };
  }
}

/** What verified beside the first. */
function alsoOf(others: readonly NonNullable<Principal['verified']>[]): Pick<NonNullable<Principal['verified']>, 'also'> {
  return others.length === 0
    ? {}
    : { also: others.map(({ source, subject, issuer }) => ({ source, subject, ...(issuer === undefined ? {} : { issuer }) })) };
}

/** Those headers that say who it is. */
class Headers {
  readonly authorization: string[] = [];
  readonly apiKey: string[] = [];
  readonly forwardedFor: string[] = [];
  readonly userAgent: string[] = [];

  constructor(raw: readonly string[]) {
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const name = raw[i]!.toLowerCase();
      if (name === 'authorization') this.authorization.push(raw[i + 1]!);
      else if (name === keyHeader) this.apiKey.push(raw[i + 1]!.trim());
      else if (name === 'x-forwarded-for') this.forwardedFor.push(raw[i + 1]!);
      else if (name === 'user-agent') this.userAgent.push(raw[i + 1]!);
    }
  }

  /** What may be recorded of something that the client says: what it repeats of its credentials there is left out first. */
  shown(text: string): string {
    let cleaned = text;
    for (const value of [...this.apiKey, ...this.authorization.map((one) => one.replace(/^\s*\S+\s+/, '').trim())])
      if (value.length > 0) cleaned = cleaned.replaceAll(value, '[credential]');
    return bounded(cleaned, declaredBytes);
  }
}
