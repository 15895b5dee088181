/**
 * OAuth through a proxy under an address of its own (`publicUrl`): what a server says of where it is a protected resource (RFC 9728) is said of the proxy, so that
 * clients, which hold it against the address that they dialled, go on. Tokens are then asked for with the proxy's address (RFC 8707): an audience change.
 *
 * What must stay true: without a `publicUrl` nothing here runs. Only what names the upstream by the address that we send to is said anew; a resource, or a
 * document, of somebody else stays theirs. `authorization_servers`, `scope` and all the rest stay as they came. The record keeps what the server said.
 */

import { isLoopback } from './admission.ts';

/** RFC 9728 §3: it stands before the path of the resource. */
const metadataPath = '/.well-known/oauth-protected-resource';
/** Documents elsewhere that servers named; the latest. */
const announcedMost = 64;
/** RFC 9110 §11.2: `name = value`, so that what stands in another parameter's text is none. */
const parameter = /([!#$%&'*+.^_`|~0-9a-z-]+)([ \t]*=[ \t]*)("(?:[^"\\]|\\.)*"|[^\s,"]+)/gi;
/** They are about bytes that are not these any more. */
const ofBytes: ReadonlySet<string> = new Set([
  'content-length',
  'content-encoding',
  'transfer-encoding',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest',
  'etag',
  'accept-ranges',
]);

/** Of a path that asks for metadata of a resource: the resource's path, with its query. */
export function resourceOf(path: string): string | undefined {
  return path.startsWith(`${metadataPath}/`) ? path.slice(metadataPath.length) : undefined;
}

/** Where a server has the metadata of what it has at `path`. */
export function metadataOf(path: string): string {
  return `${metadataPath}${path}`;
}

export class PublicAddress {
  readonly #upstream: URL;
  /** Without a slash at its end. */
  readonly #base: string;
  readonly #announced = new Set<string>();

  /** `publicUrl`: of the whole proxy. @param mount what stands before this upstream's paths; none: empty */
  constructor(upstream: URL, publicUrl: URL, mount: string) {
    this.#upstream = upstream;
    this.#base = `${publicUrl.origin}${publicUrl.pathname.replace(/\/+$/, '')}${mount}`;
  }

  /** The headers of a response, where a challenge names metadata of the upstream, and what the client is told instead. */
  challenge(rawHeaders: readonly string[]): { rawHeaders: string[]; resourceMetadata: string } | undefined {
    let said: string | undefined;
    const result = rawHeaders.map((value, i) => {
      if (i % 2 === 0 || rawHeaders[i - 1]!.toLowerCase() !== 'www-authenticate') return value;
      return value.replace(parameter, (all, name: string, equals: string, text: string) => {
        if (name.toLowerCase() !== 'resource_metadata') return all;
        const url = this.#own(text.startsWith('"') ? text.slice(1, -1).replace(/\\(.)/g, '$1') : text);
        if (url === undefined) return all;
        this.#announce(url.pathname);
        said = `${this.#base}${url.pathname}${url.search}`;
        return `${name}${equals}"${said}"`;
      });
    });
    return said === undefined ? undefined : { rawHeaders: result, resourceMetadata: said };
  }

  /** A document that the upstream has at `path`, and its headers, where it is metadata of a resource of the upstream. @param bytes decoded */
  document(path: string, rawHeaders: readonly string[], bytes: Uint8Array): { bytes: Buffer; rawHeaders: string[]; resource: string } | undefined {
    const [name] = path.split('?', 1) as [string];
    if (name !== metadataPath && !name.startsWith(`${metadataPath}/`) && !this.#announced.has(name)) return undefined;
    const metadata = objectIn(bytes);
    const said = metadata?.['resource'];
    const resource = typeof said === 'string' ? this.#resource(said) : undefined;
    if (resource === undefined) return undefined;
    const written = Buffer.from(JSON.stringify({ ...metadata, resource }));
    const kept = rawHeaders.filter((_, i) => !ofBytes.has(rawHeaders[i - (i % 2)]!.toLowerCase()));
    return { bytes: written, rawHeaders: [...kept, 'Content-Length', String(written.length)], resource };
  }

  /** Clients take a resource whose path is a beginning of what they dialled: the endpoint is `/mcp` here, whatever it is called there. */
  #resource(said: string): string | undefined {
    const url = this.#own(said);
    if (url === undefined) return undefined;
    const endpoint = this.#upstream.pathname;
    const isParent = endpoint.startsWith(url.pathname.endsWith('/') ? url.pathname : `${url.pathname}/`);
    if (url.pathname === endpoint) return `${this.#base}/mcp${url.search}`;
    if (isParent) return `${this.#base}${said.endsWith('/') ? '/' : ''}`;
    return `${this.#base}${url.pathname}${url.search}`;
  }

  /** The names of this machine are one: servers on it say `localhost`, however they are reached. */
  #own(address: string): URL | undefined {
    const url = URL.parse(address);
    if (url === null) return undefined;
    const { protocol, port, hostname, origin } = this.#upstream;
    if (url.origin === origin) return url;
    return url.protocol === protocol && url.port === port && isLocal(url.hostname) && isLocal(hostname) ? url : undefined;
  }

  #announce(path: string): void {
    this.#announced.delete(path);
    this.#announced.add(path);
    if (this.#announced.size > announcedMost) this.#announced.delete(this.#announced.values().next().value!);
  }
}

function isLocal(hostname: string): boolean {
  return isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'));
}

function objectIn(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
