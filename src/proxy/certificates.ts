/**
 * Certificates of clients (mTLS): what the TLS server asks for, and who is named in one that it verified.
 *
 * What must stay true: only the authority of `auth.clientCertificates.ca` makes a certificate count, and only one name in it does. A certificate with two of them names
 * nobody, since an authority that checks one kind of name may let anybody write another.
 */
import { X509Certificate } from 'node:crypto';
import type { TLSSocket, TlsOptions } from 'node:tls';
import type { AuthSettings } from '../config/auth.ts';
import { SwornError } from '../errors.ts';
import type { AuthenticationFailure, Principal } from '../wire/principal.ts';
import { Watched } from './watched-file.ts';

type Settings = NonNullable<AuthSettings['clientCertificates']>;

/** A certificate that a client showed, and whether TLS verified its chain. */
export interface ShownCertificate {
  certificate: X509Certificate;
  isAuthorized: boolean;
}

const nameBytes = 512;
const kinds = { dns: 'DNS:', email: 'email:', uri: 'URI:' } as const;

/**
 * What the TLS server is started with. A certificate that does not verify does not end the handshake: the request is answered, and recorded with its failure.
 * @throws SwornError `config-missing`, `auth-file` when there is no certificate of an authority in the file
 */
export async function certificateOptions({ ca }: Settings): Promise<Pick<TlsOptions, 'requestCert' | 'rejectUnauthorized' | 'ca'>> {
  const file = new Watched(ca, (bytes) => {
    const found = bytes.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    const wrong = (what: string): SwornError => new SwornError('auth-file', `${ca} ${what}`, { path: ca });
    if (found.length === 0) throw wrong('holds no certificate (PEM)');
    for (const pem of found) {
      try {
        if (new X509Certificate(pem).ca) continue;
      } catch {
        throw wrong('holds a certificate that cannot be read');
      }
      throw wrong('holds a certificate that is none of an authority');
    }
    return found;
  });
  return { requestCert: true, rejectUnauthorized: false, ca: await file.read() };
}

/** What the client of a TLS connection showed; nothing, where it showed none. */
export function shownCertificate(socket: TLSSocket): ShownCertificate | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? undefined : { certificate, isAuthorized: socket.authorized };
}

/** SHA-256 of the certificate, base64url (RFC 8705 §3.1). */
export function thumbprintOf({ certificate }: ShownCertificate): string {
  return Buffer.from(certificate.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
}

export function verifiedBy(
  { certificate, isAuthorized }: ShownCertificate,
  { subject: kind }: Settings,
  nowMs: number,
): { verified: NonNullable<Principal['verified']> } | { failure: AuthenticationFailure } {
  // a connection may outlive the certificate that it began with
  if (!isAuthorized || certificate.validToDate.getTime() < nowMs) return { failure: 'certificate' };
  const names = kind === 'cn' ? commonNames(certificate) : alternativeNames(certificate, kinds[kind]);
  const [subject] = names;
  const issuer = certificate.issuer.replaceAll('\n', ', ');
  if (names.length !== 1 || subject === undefined || subject === '' || [subject, issuer].some((one) => Buffer.byteLength(one) > nameBytes))
    return { failure: 'certificate-subject' };
  const expiresAtS = Math.floor(certificate.validToDate.getTime() / 1000);
  return { verified: { source: 'client-certificate', subject, issuer, expiresAtS } };
}

function commonNames(certificate: X509Certificate): string[] {
  const name: unknown = (certificate.toLegacyObject().subject as Record<string, unknown> | undefined)?.['CN'];
  return name === undefined ? [] : ([name].flat() as string[]);
}

/** Node writes them with commas between, and as a JSON string what has one, a quote or a control character in it. */
function alternativeNames({ subjectAltName = '' }: X509Certificate, kind: string): string[] {
  const names: string[] = [];
  for (const [one] of subjectAltName.matchAll(/(?:[^",]|"(?:[^"\\]|\\.)*")+/g)) {
    const text = one.trimStart();
    if (!text.startsWith(kind)) continue;
    const value = text.slice(kind.length);
    names.push(value.startsWith('"') ? (JSON.parse(value) as string) : value);
  }
  return names;
}
