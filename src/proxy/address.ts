/** Network addresses of peers, and of those behind proxies that are trusted to name them (`X-Forwarded-For`). */
import { BlockList, isIP } from 'node:net';
import { networkOf } from '../config/values.ts';

/** Longer chains of trusted proxies than this nobody has. */
const hopsMost = 16;

/** One address has one text: IPv4 within IPv6 is IPv4, IPv6 is written as RFC 5952 says, a zone stays. `undefined` for what is none. */
export function plainAddress(text: string): string | undefined {
  const version = isIP(text);
  if (version === 0) return undefined;
  if (version === 4) return text;
  const [address, zone] = text.split('%', 2) as [string, string?];
  // the URL parser is the one in Node that normalises an address; it takes no zone
  const plain = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(plain);
  if (mapped !== null) {
    const bits = (Number.parseInt(mapped[1]!, 16) * 65_536 + Number.parseInt(mapped[2]!, 16)) >>> 0;
    return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.');
  }
  return zone === undefined ? plain : `${plain}%${zone}`;
}

export interface Forwarded {
  /** Of who is behind the trusted proxies, as far as they say; else of the peer. */
  address?: string;
  /** The trusted proxies, the nearest last. */
  via?: string[];
  /** What the headers say, whole and as they came: of whom that is nobody knows. */
  forwardedFor?: string;
}

export class ForwardedFrom {
  readonly #trusted = new BlockList();

  constructor(networks: readonly string[]) {
    for (const one of networks) {
      const { address, prefix, family } = networkOf(one)!;
      this.#trusted.addSubnet(address, prefix, family);
    }
  }

  isTrusted(address: string): boolean {
    const [plain] = address.split('%', 1) as [string];
    return this.#trusted.check(plain, isIP(plain) === 4 ? 'ipv4' : 'ipv6');
  }

  /**
   * Each proxy appends whom it has its request from, so the header is read from its end, as long as who says it is trusted. What stands before that was written by
   * anybody.
   */
  read(peer: string | undefined, headers: readonly string[]): Forwarded {
    const address = peer === undefined ? undefined : plainAddress(peer);
    if (headers.length === 0) return address === undefined ? {} : { address };
    const said = headers.join(', ');
    if (address === undefined) return { forwardedFor: said };
    const via: string[] = [];
    const names = said.split(',');
    let at = address;
    while (this.isTrusted(at) && via.length < hopsMost) {
      const next = names.pop();
      const before = next === undefined ? undefined : hopOf(next.trim());
      // who is before this one it does not say
      if (before === undefined) break;
      via.unshift(at);
      at = before;
    }
    return { address: at, ...(via.length === 0 ? {} : { via }), forwardedFor: said };
  }
}

/** `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443`. */
function hopOf(text: string): string | undefined {
  const [, bracketed, plain] = /^(?:\[([^\]]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+):\d{1,5})$/.exec(text) ?? [];
  return plainAddress(bracketed ?? plain ?? text);
}
