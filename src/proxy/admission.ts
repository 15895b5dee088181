/**
 * Whose requests are looked at at all: a page in a browser could reach a server on this machine under a name of its own (DNS rebinding; MCP, Streamable HTTP,
 * security warning). The upstream cannot see it behind us: so `Host` and `Origin` are checked here.
 */
import { isIP } from 'node:net';

export interface Admission {
  /** `host:port` as clients say it, in small letters; without a port any port fits. */
  hosts: ReadonlySet<string>;
  /** Whole origins. */
  origins: ReadonlySet<string>;
}

/** What a listener answers to by itself: its own address, and the names of this machine for loopback. */
export function admissionOf(host: string, port: number, allowHosts: readonly string[], allowOrigins: readonly string[], isTls: boolean): Admission {
  const names = isLoopback(host) ? ['localhost', '127.0.0.1', '[::1]'] : [isIP(host) === 6 ? `[${host}]` : host];
  if (isLoopback(host) && !names.includes(host) && isIP(host) === 4) names.push(host);
  const scheme = isTls ? 'https' : 'http';
  const own = names.flatMap((name) => [`${name}:${port}`, ...(port === (isTls ? 443 : 80) ? [name] : [])]);
  return {
    hosts: new Set([...own, ...allowHosts.map((one) => one.toLowerCase())]),
    origins: new Set([...own, ...allowHosts].map((one) => `${scheme}://${one.toLowerCase()}`).concat(allowOrigins.map((one) => one.toLowerCase()))),
  };
}

/** Why a request is not looked at, or nothing. */
export function refusedBy({ hosts, origins }: Admission, host: string | undefined, origin: string | undefined): string | undefined {
  const said = host?.toLowerCase() ?? '';
  const name = /^(\[[^\]]*\]|[^:]*):\d+$/.exec(said)?.[1];
  if (!hosts.has(said) && (name === undefined || !hosts.has(name)))
    return `Host ${JSON.stringify(host ?? '')} is not served here; name it with --allow-host`;
  if (origin === undefined || origins.has(origin.toLowerCase())) return undefined;
  return `Origin ${JSON.stringify(origin)} is not allowed; name it with --allow-origin`;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
