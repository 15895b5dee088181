/** An MCP server over HTTP behind the proxy: where a stream goes, over kept connections. */
import { Agent as HttpAgent, request as requestHttp, type ClientRequest, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { httpHeaderBytes } from '../limits.ts';
import type { Channel } from '../wire/channel.ts';
import { withoutSet, type HeaderRules } from './headers.ts';
import { PublicAddress } from './oauth.ts';
import type { Destination } from './relay.ts';
import { HeaderMemory } from './seen-headers.ts';

interface Common {
  name: string;
  /** What stands before its paths at the proxy: `/hr`, or nothing for the only one. */
  mount: string;
}

export interface HttpSettings extends Common {
  /** The server's MCP endpoint. */
  url: URL;
  rules: HeaderRules;
  /** Until the first byte of an answer's head, milliseconds; 0: for ever, since a call may take as long as it takes. */
  upstreamTimeoutMs: number;
  tls?: { ca?: string; cert?: string; key?: string; serverName?: string; insecureSkipVerify?: boolean };
  /** How clients reach the proxy, where OAuth metadata is to say so: an audience change. */
  publicUrl?: URL;
  /** A Unix socket on which the server is reached, whatever the URL says. */
  socketPath?: string;
  /** The session shall not expire, though nobody says anything in it, until what comes back is called. Absent: it is not ours. */
  keep?: (session: string) => () => void;
}

export interface StdioSettings extends Common {
  command: string[];
  sessions: 'each' | 'shared';
}

export type UpstreamSettings = HttpSettings | StdioSettings;

const connectMs = 10_000;
const nothing = (): void => undefined;
/** The last path segment that names the endpoint itself, whatever it is called at the upstream. */
const endpointPath = '/mcp';

export class Upstream implements Destination {
  readonly settings: HttpSettings;
  readonly channel: Channel;
  readonly endpoints: Destination['endpoints'];
  readonly headers = new HeaderMemory();
  readonly publicAddress: PublicAddress | undefined;
  isStopping = false;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #isTls: boolean;
  readonly #where: RequestOptions;
  readonly #host: string;
  readonly #pathname: string;
  readonly #search: string;
  readonly #lent: HeaderRules;

  /** @param endpoints of the one that it takes the place of: its sessions go on */
  constructor(settings: HttpSettings, channel: Channel, endpoints: Destination['endpoints'] = new Map()) {
    this.settings = settings;
    this.channel = channel;
    this.endpoints = endpoints;
    const { url, tls = {}, publicUrl, mount } = settings;
    this.publicAddress = publicUrl === undefined ? undefined : new PublicAddress(url, publicUrl, mount);
    this.#isTls = url.protocol === 'https:';
    const kept = { keepAlive: true, maxSockets: Infinity, scheduling: 'lifo' as const };
    this.#agent = this.#isTls
      ? new HttpsAgent({
          ...kept,
          ...(tls.ca === undefined ? {} : { ca: tls.ca }),
          ...(tls.cert === undefined ? {} : { cert: tls.cert }),
          ...(tls.key === undefined ? {} : { key: tls.key }),
          ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
          ...(tls.insecureSkipVerify === true ? { rejectUnauthorized: false } : {}),
        })
      : new HttpAgent(kept);
    // what each request would ask the URL for again
    this.#where = {
      agent: this.#agent,
      ...(settings.socketPath === undefined
        ? { hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'), ...(url.port === '' ? {} : { port: url.port }) }
        : { socketPath: settings.socketPath }),
      maxHeaderSize: httpHeaderBytes,
    };
    this.#host = url.host;
    this.#pathname = url.pathname;
    this.#search = url.search.slice(1);
    this.#lent = withoutSet(settings.rules);
  }

  /**
   * What is set for the upstream, credentials among it, is for its MCP endpoint, and where that told its clients to send their messages: the proxy lends nobody its
   * rights to whatever else there is at that address.
   */
  rulesAt(path: string): HeaderRules {
    const isEndpoint = path === this.#pathname || path.split('?', 1)[0] === this.#pathname;
    return isEndpoint || this.endpoints.has(path) ? this.settings.rules : this.#lent;
  }

  get upstreamTimeoutMs(): number {
    return this.settings.upstreamTimeoutMs;
  }

  /** Where the upstream has what a client asked for at `target`, a path with its query behind the mount. */
  pathOf(target: string): string {
    const at = target.indexOf('?');
    const path = at < 0 ? target : target.slice(0, at);
    if (path !== endpointPath && path !== '' && path !== '/') return target;
    // the endpoint itself; its own query stays with it
    if (path === '/' && this.#pathname !== '/') return target;
    const query = at < 0 ? '' : target.slice(at + 1);
    if (this.#search === '' && query === '') return this.#pathname;
    return `${this.#pathname}?${[this.#search, query].filter(Boolean).join('&')}`;
  }

  keep(session: string): () => void {
    return this.settings.keep?.(session) ?? nothing;
  }

  /** `from`: path of the stream that says it. */
  endpointAt(address: string, from: string): { path: string; address: string } | undefined {
    let found: URL;
    try {
      found = new URL(address, new URL(from, this.settings.url));
    } catch {
      return undefined;
    }
    if (found.origin !== this.settings.url.origin) return undefined;
    const path = `${found.pathname}${found.search}`;
    return { path, address: `${this.settings.mount}${path}` };
  }

  request(method: string, path: string, headers: readonly string[]): ClientRequest {
    const request = (this.#isTls ? requestHttps : requestHttp)({ ...this.#where, method, path, headers: withHost(headers, this.#host) });
    request.on('socket', (socket) => {
      if (!socket.connecting) return;
      // small messages both ways: nothing waits for more to come
      socket.setNoDelay(true);
      const timer = setTimeout(() => request.destroy(Object.assign(new Error(`no connection in ${connectMs} ms`), { code: 'ETIMEDOUT' })), connectMs);
      const clear = (): void => clearTimeout(timer);
      socket.once(this.#isTls ? 'secureConnect' : 'connect', clear);
      socket.once('close', clear);
    });
    // all of them: their bytes are bounded
    request.maxHeadersCount = 0;
    return request;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The upstream's own name in place of ours: it may serve several, and we have looked at what the client said (`admission.ts`). */
function withHost(headers: readonly string[], host: string): string[] {
  const at = headers.findIndex((name, i) => i % 2 === 0 && name.length === 4 && name.toLowerCase() === 'host');
  return at < 0 ? ['Host', host, ...headers] : headers.with(at + 1, host);
}
