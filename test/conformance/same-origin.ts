/**
 * Preloaded (`--import`) into the client: `localhost` is first looked up as the address where a proxy listens in front of the server, on the same port, and
 * only then as 127.0.0.1, for what has no proxy in front of it. So the URL that the client dials is the server's own, as behind a proxy under the public host
 * name, and OAuth's comparisons of origins hold.
 */
import dns from 'node:dns';

/** Where the proxy listens: also loopback, and so without a name that someone else could have. */
export const frontAddress = '127.0.0.2';

const lookup = dns.lookup as (...args: unknown[]) => void;
dns.lookup = ((hostname: string, ...rest: unknown[]): void => {
  const callback = rest.at(-1) as (error: null, addresses: unknown, family?: number) => void;
  const options = (typeof rest[0] === 'object' ? rest[0] : {}) as { all?: boolean };
  if (hostname !== 'localhost') return lookup(hostname, ...rest);
  const addresses = [frontAddress, '127.0.0.1'].map((address) => ({ address, family: 4 }));
  process.nextTick(() => (options.all === true ? callback(null, addresses) : callback(null, frontAddress, 4)));
}) as typeof dns.lookup;
