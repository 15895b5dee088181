/** What `sworn.yaml` says of who may come over HTTP, and whose word about that is believed (`auth`, `trustedTaps`), as plain settings. */
import type { FileContent } from './shape.ts';
import type { Algorithm, certificateSubjects } from './values.ts';

const usualAlgorithms: readonly Algorithm[] = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];

/** Whose tokens are believed, and which of them. */
export interface IssuerSettings {
  /** As `iss` says it, letter by letter. */
  issuer: string;
  /** One of them must be in `aud`. */
  audience: string[];
  /** Its public keys (JWKS): an https URL, an http one on this machine, or the absolute path of a file. */
  jwks: string;
  algorithms: Algorithm[];
  /** The claim that says who it is. */
  subject: string;
  /** How far the clocks may be apart, 0 to 300. */
  clockToleranceS: number;
}

export interface AuthSettings {
  /** Who cannot be verified is refused; otherwise it is only noted. */
  required: boolean;
  issuers: IssuerSettings[];
  /** Absolute path of a file of salted hashes. */
  apiKeys?: string;
  clientCertificates?: {
    /** Absolute path of a PEM file. Without one, everybody with a certificate of some public authority would be in. */
    ca: string;
    /** The one name in a certificate that counts. */
    subject: (typeof certificateSubjects)[number];
  };
  /** CIDR: whose `X-Forwarded-For` is believed. */
  trustForwardedFrom: string[];
}

/** Without a word of the file nobody is verified, and everybody comes in. */
export const noAuth: AuthSettings = { required: false, issuers: [], trustForwardedFrom: [] };

/** A checked file's settings with every default in its place. */
export function authOf({ auth }: FileContent): AuthSettings {
  const { required, issuers, apiKeys, clientCertificates, trustForwardedFrom } = auth ?? {};
  return {
    required: required ?? noAuth.required,
    issuers: (issuers ?? []).map((one) => ({
      issuer: one.issuer,
      audience: Array.isArray(one.audience) ? one.audience : [one.audience],
      jwks: one.jwks,
      algorithms: one.algorithms ?? [...usualAlgorithms],
      subject: one.subject ?? 'sub',
      clockToleranceS: one.clockToleranceS ?? 30,
    })),
    ...(apiKeys === undefined ? {} : { apiKeys }),
    ...(clientCertificates === undefined ? {} : { clientCertificates: { ca: clientCertificates.ca, subject: clientCertificates.subject ?? 'cn' } }),
    trustForwardedFrom: trustForwardedFrom ?? [],
  };
}
