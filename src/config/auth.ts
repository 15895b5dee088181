/** What `sworn.yaml` says of who may come over HTTP, and whose word about that is believed (`auth`, `trustedTaps`), as plain settings. */
import { isIP } from 'node:net';
import type { FileContent } from './shape.ts';

/** Signatures that whoever can check them cannot make: never `none`, never HS*, whose key would be the public one. */
export const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'] as const;

const usualAlgorithms: readonly Algorithm[] = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];

export type Algorithm = (typeof algorithms)[number];
export const certificateSubjects = ['cn', 'dns', 'email', 'uri'] as const;

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

export interface Network {
  address: string;
  /** Bits that count. */
  prefix: number;
  family: 'ipv4' | 'ipv6';
}

/** `10.0.0.0/8`, `::1/128`, or an address alone; `undefined` for anything else. */
export function networkOf(cidr: string): Network | undefined {
  const [, address, bits] = /^([0-9a-fA-F.:]+)(?:\/(0|[1-9][0-9]{0,2}))?$/.exec(cidr) ?? [];
  const version = isIP(address ?? '');
  if (version === 0) return undefined;
  const most = version === 4 ? 32 : 128;
  const prefix = bits === undefined ? most : Number(bits);
  return prefix > most ? undefined : { address: address!, prefix, family: version === 4 ? 'ipv4' : 'ipv6' };
}

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
