/**
 * Who sent a request over HTTP, as a proxy says it to the recorder (`spec/wire.md`, `principal`). The three kinds of knowledge are never mixed: what a token or certificate
 * proved to the proxy, what the operating system shows of the peer, and what the client says of itself. No credential is ever in here.
 */

/** Why a credential that was shown did not verify, or cannot now. A word of ours and never a library's: those quote what they were given. */
export const authenticationFailures = [
  'token-malformed',
  'token-issuer',
  'token-algorithm',
  'token-key',
  'token-signature',
  'token-audience',
  'token-expired',
  'token-not-yet-valid',
  'token-claims',
  'token-bound',
  'token-keys-unavailable',
  'api-key',
  'api-keys-unavailable',
  'certificate',
  'certificate-subject',
  'several-credentials',
] as const;

export type AuthenticationFailure = (typeof authenticationFailures)[number];

/** RFC 8693 §4.1: who acts, for whom; the outermost first. */
export interface Actor {
  subject: string;
  issuer?: string;
}

export interface Principal {
  verified?: {
    source: 'jwt' | 'client-certificate' | 'api-key';
    subject: string;
    issuer?: string;
    clientId?: string;
    name?: string;
    scopes?: string[];
    audience?: string[];
    act?: Actor[];
    /** POSIX seconds. */
    expiresAtS?: number;
    /** What verified beside it: the certificate of whoever brings a user's token. */
    also?: Pick<NonNullable<Principal['verified']>, 'source' | 'subject' | 'issuer'>[];
  };
  observed: {
    /** Of the peer, or of who is behind a proxy that is trusted to say so. */
    address?: string;
    /** The addresses that forwarded it, nearest to us last; each of them is trusted. */
    via?: string[];
    /** Of a peer on this machine. */
    uid?: number;
    pid?: number;
    startTime?: string;
    executable?: string;
    /** Why a peer on this machine has no `pid` or no `executable`: not readable for us, gone, held by several processes, or nothing that this platform tells. */
    unavailable?: 'permission' | 'gone' | 'several' | 'platform';
  };
  declared: {
    userAgent?: string;
    /** Of a token that nobody verified: `iss`, `sub`, `client_id`, `azp`, `scope`. */
    claims?: Record<string, string>;
    forwardedFor?: string;
  };
  failure?: AuthenticationFailure;
}
