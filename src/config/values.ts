/** What single values of `sworn.yaml` may be, for its shape and for whoever works with them. */
import { isIP } from 'node:net';

/** Signatures that whoever can check them cannot make: never `none`, never HS*, whose key would be the public one. */
export const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'] as const;
export type Algorithm = (typeof algorithms)[number];

export const certificateSubjects = ['cn', 'dns', 'email', 'uri'] as const;

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

/** Why a text is no public address, or nothing. Its path, if it has one, stands before all of ours. */
export function publicUrlProblem(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) return 'is no address, as in https://mcp.example.com';
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return 'has more than origin and path';
  return /\/mcp\/?$/.test(url.pathname) ? 'ends in /mcp: the address of the proxy is meant' : undefined;
}
