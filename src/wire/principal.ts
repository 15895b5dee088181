/**
 * Who sent a request over HTTP, as a proxy says it to the recorder (`spec/wire.md`, `principal`). The three kinds of knowledge are never mixed: what a token or certificate
 * proved to the proxy, what the operating system shows of the peer, and what the client says of itself. No credential is ever in here.
 */

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
  };
  observed: {
    /** Of the peer, or of who is behind a proxy that is trusted to say so. */
    address?: string;
    /** Of a peer on this machine. */
    uid?: number;
    pid?: number;
    startTime?: string;
    executable?: string;
  };
  declared: {
    userAgent?: string;
    /** Of a token that nobody verified: `iss`, `sub`, `client_id`, `azp`, `scope`. */
    claims?: Record<string, string>;
    forwardedFor?: string;
  };
  /** Why a credential that was shown did not verify. */
  failure?: string;
}
