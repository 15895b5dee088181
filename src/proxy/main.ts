/**
 * `sworn proxy`: HTTP in front of MCP servers. Listens, looks whether a request is for us and whose it is, and hands it to `relay.ts`. Each upstream has a
 * connection of its own with the recorder.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { createHash, randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { visible } from '../bytes/visible.ts';
import { SwornError } from '../errors.ts';
import { httpHeaderBytes } from '../limits.ts';
import { Channel } from '../wire/channel.ts';
import type { Principal } from '../wire/principal.ts';
import { wireVersion, type Hello } from '../wire/wire.ts';
import { admissionOf, refusedBy, type Admission } from './admission.ts';
import { BodyBudget } from './budget.ts';
import { withoutSecrets } from './headers.ts';
import { readProxyOptions, type ProxyOptions } from './options.ts';
import { relay, type Sender } from './relay.ts';
import { Upstream, type UpstreamSettings } from './upstream.ts';

/** How long streams may go on after we were asked to end. */
const drainMs = 10_000;
const closeWaitMs = 5_000;
/** Until a request's head is complete. */
const headersMs = 30_000;

/** Runs until it is asked to end. @throws SwornError `usage`, `listen-failed`, and those of the configuration */
export async function main(argv: readonly string[]): Promise<number> {
  const options = readProxyOptions(argv);
  const proxy = new Proxy(options);
  await proxy.listen();
  const signal = await new Promise<NodeJS.Signals>((done) => {
    for (const one of ['SIGINT', 'SIGTERM'] as const) process.once(one, () => done(one));
  });
  // a second one ends us at once
  for (const one of ['SIGINT', 'SIGTERM'] as const) process.once(one, () => process.exit(signal === 'SIGINT' ? 130 : 143));
  await proxy.end();
  return 0;
}

class Proxy {
  readonly #options: ProxyOptions;
  readonly #upstreams: Upstream[];
  readonly #server: Server;
  readonly #budget = new BodyBudget();
  #admission: Admission | undefined;
  #streams = 0;
  #drained: (() => void) | undefined;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#upstreams = options.upstreams.map((settings) => new Upstream(settings, channelOf(settings, options)));
    this.#server = createServer(
      { maxHeaderSize: httpHeaderBytes, headersTimeout: headersMs, requestTimeout: 0, keepAliveTimeout: 65_000 },
      (request, response) => {
        void this.#accept(request, response);
      },
    );
    // a stream may be silent for hours
    this.#server.timeout = 0;
    this.#server.maxRequestsPerSocket = 0;
  }

  async listen(): Promise<void> {
    const { host, port } = this.#options.listen;
    this.#server.listen({ host, port, backlog: 511 });
    try {
      await once(this.#server, 'listening');
    } catch (error) {
      throw new SwornError('listen-failed', `cannot listen at ${host}:${port}: ${(error as Error).message}`);
    }
    const { port: bound } = this.#server.address() as AddressInfo;
    this.#admission = admissionOf(host, bound, this.#options.allowHosts, this.#options.allowOrigins, false);
    for (const { channel } of this.#upstreams) channel.start();
    for (const { settings } of this.#upstreams) {
      const at = `http://${host.includes(':') ? `[${host}]` : host}:${bound}${settings.mount}/mcp`;
      say(`proxy for ${settings.name} at ${at}, in front of ${withoutSecrets(settings.url.href)}`);
    }
  }

  async #accept(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = '/', headers } = request;
    const why = refusedBy(this.#admission!, headers.host, headers.origin);
    if (url === '/livez' || url === '/readyz') return this.#health(url, response);
    const upstream = this.#upstreams.find(({ settings }) => url.startsWith(`${settings.mount}/`));
    if (upstream === undefined || !url.startsWith('/')) return answer(response, 404, 'nothing is served at this path');
    this.#streams++;
    try {
      const sender = await this.#senderOf(request, upstream, why);
      await relay(request, response, sender, upstream, upstream.pathOf(url.slice(upstream.settings.mount.length)), this.#budget);
      if (!response.writableFinished && !response.destroyed) await once(response, 'close').catch(() => undefined);
    } finally {
      if (--this.#streams === 0) this.#drained?.();
    }
  }

  async #senderOf(request: IncomingMessage, { channel }: Upstream, why: string | undefined): Promise<Sender> {
    const { who, principal, refusal } = await identify(request);
    channel.name(who, principal);
    const refused = why === undefined ? refusal : { status: 403 as const, reason: why };
    return { who, ...(refused === undefined ? {} : { refusal: refused }) };
  }

  #health(url: string, response: ServerResponse): void {
    const missing = url === '/livez' ? [] : this.#upstreams.filter(({ channel }) => !channel.up).map(({ settings }) => settings.name);
    answer(response, missing.length === 0 ? 200 : 503, missing.length === 0 ? 'ok' : `no recorder for ${missing.join(', ')}`);
  }

  /** Takes nothing new, lets streams go on for a while, and says to the recorder that it is over. */
  async end(): Promise<void> {
    this.#server.close();
    this.#server.closeIdleConnections();
    if (this.#streams > 0) {
      await new Promise<void>((done) => {
        this.#drained = done;
        setTimeout(done, drainMs);
      });
    }
    this.#server.closeAllConnections();
    await new Promise((done) => setImmediate(done));
    await Promise.all(this.#upstreams.map(({ channel }) => channel.close('signal', closeWaitMs)));
    for (const upstream of this.#upstreams) upstream.close();
  }
}

async function identify(request: IncomingMessage): Promise<{ who: string; principal: Principal; refusal?: Sender['refusal'] }> {
  const address = request.socket.remoteAddress;
  const userAgent = request.headers['user-agent'];
  const principal: Principal = { observed: { ...(address && { address }) }, declared: { ...(userAgent && { userAgent }) } };
  return { who: createHash('sha256').update(JSON.stringify(principal)).digest('hex').slice(0, 32), principal };
}

function channelOf(settings: UpstreamSettings, options: ProxyOptions): Channel {
  const { ledger, socket, external, config } = options;
  const hello: Omit<Hello, 'receipt'> = {
    wire: [wireVersion, wireVersion],
    connection: randomBytes(16).toString('hex'),
    transport: 'http',
    server: settings.name,
    upstream: withoutSecrets(`${settings.url.origin}${settings.url.pathname}`),
    ...(options.client === undefined ? {} : { client: options.client }),
    labels: options.labels,
    argv: [],
    cwd: process.cwd(),
    mode: options.mode,
    onUnrecordable: options.onUnrecordable,
    overrides: options.overrides,
    ...(external ? {} : { ledger }),
    ...(config === undefined ? {} : { config }),
    openedAt: Date.now(),
    token: randomBytes(16).toString('hex'),
  };
  return new Channel({ socket, ledger, external, ...(config === undefined ? {} : { config }) }, () => hello, {
    unreachable: (reason, hint) => complain(`${settings.name}: ${reason}; requests are answered with an error until it does`, hint),
    reached: () => say(`${settings.name}: the recorder answers again`),
  });
}

function answer(response: ServerResponse, status: number, text: string): void {
  const body = Buffer.from(`${text}\n`);
  response.writeHead(status, ['Content-Type', 'text/plain; charset=utf-8', 'Content-Length', String(body.length)]);
  response.end(body);
}

function say(line: string): void {
  process.stderr.write(`sworn: ${visible(line)}\n`);
}

function complain(message: string, hint: string): void {
  process.stderr.write(`sworn: error: ${visible(message)}\nsworn: hint: ${visible(hint)}\n`);
}
