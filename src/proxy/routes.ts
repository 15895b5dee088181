/**
 * The servers behind the proxy, each with its connection to the recorder, by what stands before their paths. They may be exchanged while we run: streams that are under
 * way go on where they are.
 */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Channel, type ChannelEvents } from '../wire/channel.ts';
import { wireVersion, type Hello } from '../wire/wire.ts';
import { withoutSecrets } from './headers.ts';
import { metadataOf, resourceOf } from './oauth.ts';
import type { ProxyOptions } from './options.ts';
import { StdioServer } from './stdio-server.ts';
import { Upstream, type HttpSettings, type UpstreamSettings } from './upstream.ts';

const closeWaitMs = 5_000;

interface Route {
  /** What it was made of, to tell whether it has become another one. */
  readonly text: string;
  readonly settings: UpstreamSettings;
  readonly upstream: Upstream;
  /** Of a server over stdio. */
  readonly server: StdioServer | undefined;
  streams: number;
  /** Nothing new comes here; what remains to be done once the last stream is over. */
  retired: (() => void) | undefined;
}

export class Routes {
  readonly #options: ProxyOptions;
  readonly #events: (name: string) => ChannelEvents;
  readonly #failed: (name: string, problem: string) => void;
  #routes: Route[] = [];
  readonly #retiring = new Set<Route>();
  /** Of the public address; nothing where that has no path. */
  #prefix = '';

  /** @param failed the process of a server over stdio could not be started */
  constructor(options: ProxyOptions, events: (name: string) => ChannelEvents, failed: (name: string, problem: string) => void) {
    this.#options = options;
    this.#events = events;
    this.#failed = failed;
  }

  get all(): readonly { settings: UpstreamSettings; channel: Channel }[] {
    return this.#routes.map(({ settings, upstream }) => ({ settings, channel: upstream.channel }));
  }

  /** The servers from now on; one that is as it was stays what it is. */
  async set(settings: readonly UpstreamSettings[], publicUrl: URL | undefined): Promise<void> {
    const before = this.#routes;
    const now: Route[] = [];
    for (const one of settings) {
      const text = JSON.stringify(one);
      const same = before.find((route) => route.text === text);
      // its `open` says where it goes: one that goes elsewhere now is another connection
      const kept = before.find((route) => route.settings.name === one.name && isDeepStrictEqual(behind(route.settings), behind(one)));
      now.push(same ?? (await this.#begin(one, text, kept?.upstream)));
    }
    this.#routes = now;
    this.#prefix = publicUrl?.pathname.replace(/\/+$/, '') ?? '';
    for (const route of before) if (!now.includes(route)) this.#retire(route);
  }

  /** A server that is reached in another way now keeps its connection. */
  async #begin(settings: UpstreamSettings, text: string, known: Upstream | undefined): Promise<Route> {
    const server = 'command' in settings ? new StdioServer(settings, (problem) => this.#failed(settings.name, problem)) : undefined;
    const http: HttpSettings = 'command' in settings ? await server!.listen() : settings;
    const channel = known?.channel ?? this.#channelOf(settings);
    if (known === undefined) channel.start();
    return { text, settings, upstream: new Upstream(http, channel, known?.endpoints), server, streams: 0, retired: undefined };
  }

  #retire(route: Route): void {
    this.#retiring.add(route);
    route.retired = () => {
      this.#retiring.delete(route);
      route.upstream.close();
      void route.server?.close();
      const { channel } = route.upstream;
      // one that another route goes on with stays
      if (!this.#used.some(({ upstream }) => upstream.channel === channel)) void channel.close('server exited', closeWaitMs);
    };
    if (route.streams === 0) route.retired();
  }

  /** Also those on which streams are still under way. */
  get #used(): Route[] {
    return [...this.#routes, ...this.#retiring];
  }

  /** Where what a client asks for leads; `path` is where the upstream has it. Metadata of a resource is the upstream's whose path its name stands before. */
  find(asked: string): { upstream: Upstream; path: string; begin(): () => void } | undefined {
    const resource = resourceOf(asked);
    const inside = this.#inside(resource ?? asked);
    const found = this.#at(inside);
    if (found === undefined) return undefined;
    const { upstream } = found;
    const path = upstream.pathOf(inside.slice(found.settings.mount.length));
    return {
      upstream,
      path: resource === undefined ? path : metadataOf(path),
      begin: () => {
        found.streams++;
        return () => {
          if (--found.streams === 0) found.retired?.();
        };
      },
    };
  }

  /** The most particular one, if several have it. */
  #at(path: string): Route | undefined {
    let route: Route | undefined;
    for (const one of this.#routes) {
      const { mount } = one.settings;
      if ((path.startsWith(`${mount}/`) || path === mount || path.startsWith(`${mount}?`)) && mount.length >= (route?.settings.mount.length ?? 0))
        route = one;
    }
    return route;
  }

  /** Without what stands before all of our paths in the public address. */
  #inside(path: string): string {
    const prefix = this.#prefix;
    return prefix !== '' && path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : path;
  }

  /** Whatever ends from now on ends because we do. */
  stop(): void {
    for (const { upstream } of this.#used) upstream.isStopping = true;
  }

  async close(): Promise<void> {
    const used = this.#used;
    await Promise.all([...new Set(used.map(({ upstream }) => upstream.channel))].map((channel) => channel.close('signal', closeWaitMs)));
    for (const { upstream } of used) upstream.close();
    await Promise.all(used.flatMap(({ server }) => (server === undefined ? [] : [server.close()])));
  }

  #channelOf(settings: UpstreamSettings): Channel {
    const { ledger, socket, external, config, client, labels, mode, onUnrecordable, overrides } = this.#options;
    const hello: Omit<Hello, 'receipt'> = {
      wire: [wireVersion, wireVersion],
      connection: randomBytes(16).toString('hex'),
      transport: 'http',
      server: settings.name,
      ...behind(settings),
      ...(client === undefined ? {} : { client }),
      labels,
      cwd: process.cwd(),
      mode,
      onUnrecordable,
      overrides,
      ...(external ? {} : { ledger }),
      ...(config === undefined ? {} : { config }),
      openedAt: Date.now(),
      token: randomBytes(16).toString('hex'),
    };
    return new Channel({ socket, ledger, external, ...(config === undefined ? {} : { config }) }, () => hello, this.#events(settings.name));
  }
}

/** What the record says of where messages go. */
function behind(settings: UpstreamSettings): Pick<Hello, 'argv' | 'upstream'> {
  if ('command' in settings) return { argv: settings.command };
  const { url, tls } = settings;
  const trust = tls?.insecureSkipVerify === true ? ' (certificate not checked)' : '';
  return { argv: [], upstream: `${withoutSecrets(`${url.origin}${url.pathname}`)}${trust}` };
}
