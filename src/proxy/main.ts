/**
 * `sworn proxy`: HTTP in front of MCP servers. Listens, looks whether a request is for us and whose it is, and hands it to `relay.ts`.
 */
import { once } from 'node:events';
import { unwatchFile, watchFile } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { visible } from '../bytes/visible.ts';
import { SwornError } from '../errors.ts';
import { httpHeaderBytes } from '../limits.ts';
import { admissionOf, isLoopback, refusedBy, type Admission } from './admission.ts';
import { BodyBudget } from './budget.ts';
import { certificateOptions } from './certificates.ts';
import { withoutSecrets } from './headers.ts';
import { Identity, identityRequestOf } from './identity.ts';
import { newApiKeyCommand, newKeyFlag } from './new-api-key.ts';
import { readProxyOptions, type ProxyOptions } from './options.ts';
import { relay, type Sender } from './relay.ts';
import { Routes } from './routes.ts';
import { HeaderMemory, type HeaderList } from './seen-headers.ts';
import { certificateOf, settingsOf, type Settings } from './settings.ts';
import type { ChannelEvents } from '../wire/channel.ts';

/** How long streams may go on after we were asked to end. */
const drainMs = 10_000;
/** And to account for what was on its way. */
const endMs = 2_000;
/** Until a request's head is complete. */
const headersMs = 30_000;
/** How often it is looked for heads that take longer. */
const headersCheckMs = 5_000;
/** How often it is looked whether a file of our TLS is another one. */
const lookEveryMs = 5_000;

/** Runs until it is asked to end. @throws SwornError `usage`, `listen-failed`, and those of the configuration */
export async function main(argv: readonly string[]): Promise<number> {
  if (argv.some((word) => word === newKeyFlag || word.startsWith(`${newKeyFlag}=`))) return newApiKeyCommand(argv);
  const options = readProxyOptions(argv);
  const settings = await settingsOf(options);
  const proxy = new Proxy(options, settings, await Identity.open(settings.auth));
  await proxy.listen();
  process.on('SIGHUP', () => void proxy.reload());
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
  readonly #routes: Routes;
  readonly #budget = new BodyBudget();
  #settings: Settings;
  #identity: Identity;
  #admission: Admission | undefined;
  #server: Server | HttpsServer | undefined;
  #streams = 0;
  #isEnding = false;
  #drained: (() => void) | undefined;
  #reloading: Promise<void> = Promise.resolve();
  #watched: string[] = [];
  /** What its requests said, for as long as a connection lasts. */
  readonly #memories = new WeakMap<object, HeaderMemory>();

  constructor(options: ProxyOptions, settings: Settings, identity: Identity) {
    this.#options = options;
    this.#settings = settings;
    this.#identity = identity;
    const events = (name: string): ChannelEvents => ({
      unreachable: (reason, hint) =>
        complain(
          `${name}: ${reason}; ${options.onUnrecordable === 'block' ? 'requests are answered with an error until it does' : 'messages pass unrecorded until it does'}`,
          hint,
        ),
      reached: () => say(`${name}: the recorder answers again`),
    });
    this.#routes = new Routes(options, events, (name, problem) =>
      complain(`${name}: ${problem}`, 'give its command as in a shell; it is started without one, in the folder of the proxy'),
    );
  }

  async listen(): Promise<void> {
    const { host, port } = this.#settings.listen;
    const settings = {
      maxHeaderSize: httpHeaderBytes,
      headersTimeout: headersMs,
      connectionsCheckingInterval: headersCheckMs,
      requestTimeout: 0,
      keepAliveTimeout: 65_000,
    };
    const accept = (request: IncomingMessage, response: ServerResponse): void => {
      // a defect of ours, or of Node: this request alone ends
      this.#accept(request, response).catch((error: Error) => {
        complain(`a request failed: ${error.stack ?? error.message}`, 'this is a defect of sworn: please report it with the text above');
        if (response.headersSent) response.destroy();
        else answer(response, 502, 'sworn failed on this request');
      });
    };
    const tls = await tlsOptions(this.#settings);
    const server = tls === undefined ? createHttpServer(settings, accept) : createHttpsServer({ ...settings, ...tls }, accept);
    this.#server = server;
    // a stream may be silent for hours
    server.timeout = 0;
    server.maxRequestsPerSocket = 0;
    // all of them go on: their bytes are bounded
    server.maxHeadersCount = 0;
    server.listen({ host, port, backlog: 511 });
    try {
      await once(server, 'listening');
    } catch (error) {
      throw new SwornError('listen-failed', `cannot listen at ${host}:${port}: ${(error as Error).message}`);
    }
    this.#admit();
    this.#watch();
    await this.#routes.set(this.#settings.upstreams, this.#settings.publicUrl);
    this.#introduce();
  }

  #admit(): void {
    const { port } = this.#server!.address() as AddressInfo;
    const { listen, allowHosts, allowOrigins, tls } = this.#settings;
    this.#admission = admissionOf(listen.host, port, allowHosts, allowOrigins, tls !== undefined);
  }

  #introduce(): void {
    const { port } = this.#server!.address() as AddressInfo;
    const { listen, tls, publicUrl } = this.#settings;
    const at = `${tls === undefined ? 'http' : 'https'}://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${port}`;
    for (const { settings } of this.#routes.all) {
      const behind = 'command' in settings ? settings.command.join(' ') : withoutSecrets(settings.url.href);
      say(`proxy for ${settings.name} at ${at}${settings.mount}/mcp, in front of ${behind}`);
      if ('tls' in settings && settings.tls?.insecureSkipVerify)
        complain(
          `the certificate of ${settings.name} is not checked: anybody could be the server`,
          'give tls.ca with the certificate of its authority',
        );
    }
    if (publicUrl !== undefined)
      say(`OAuth metadata of servers names ${publicUrl.href} in place of their address: tokens will be meant for the proxy, an audience change`);
    if (tls === undefined && !isLoopback(listen.host))
      complain(
        `listening at ${listen.host} without TLS: whoever is on the way reads messages and credentials`,
        'give --tls-cert and --tls-key, or listen at 127.0.0.1 behind something that speaks TLS',
      );
  }

  async #accept(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = '/' } = request;
    // a connection that is kept would go on asking
    if (this.#isEnding) response.shouldKeepAlive = false;
    if (url === '/livez' || url === '/readyz') return this.#health(url, response);
    const headers = this.#memoryOf(request.socket).read(request.rawHeaders);
    const unusable = unusableOf(headers.list);
    if (unusable !== undefined) {
      response.shouldKeepAlive = false;
      return answer(response, ...unusable);
    }
    const route = this.#routes.find(url);
    if (route === undefined) return answer(response, 404, 'nothing is served at this path');
    const { upstream, path } = route;
    const end = route.begin();
    this.#streams++;
    try {
      const { list } = headers;
      const why = refusedBy(this.#admission!, list.values.host, list.values.origin);
      const identity = this.#identity;
      const { principal, key: who, refusal } = identity.known(list) ?? (await identity.identify(identityRequestOf(request), list));
      upstream.channel.name(who, principal);
      const refused: Sender['refusal'] = why === undefined ? refusal : { status: 403, challenge: '', reason: why };
      await relay(request, response, { who, headers, ...(refused === undefined ? {} : { refusal: refused }) }, upstream, path, this.#budget);
    } finally {
      end();
      if (--this.#streams === 0) this.#drained?.();
    }
  }

  #memoryOf(socket: object): HeaderMemory {
    let memory = this.#memories.get(socket);
    if (memory === undefined) {
      memory = new HeaderMemory();
      this.#memories.set(socket, memory);
    }
    return memory;
  }

  #health(url: string, response: ServerResponse): void {
    if (url === '/readyz' && this.#isEnding) return answer(response, 503, 'the proxy ends');
    const missing = url === '/livez' ? [] : this.#routes.all.filter(({ channel }) => !channel.up).map(({ settings }) => settings.name);
    answer(response, missing.length === 0 ? 200 : 503, missing.length === 0 ? 'ok' : `no recorder for ${missing.join(', ')}`);
  }

  /** The configuration again. One that is wrong changes nothing. */
  reload(): Promise<void> {
    return this.#inTurn(async () => {
      const settings = this.#withListener(await settingsOf(this.#options));
      const identity = await Identity.open(settings.auth);
      const tls = await tlsOptions(settings);
      await this.#routes.set(settings.upstreams, settings.publicUrl);
      this.#settings = settings;
      this.#identity = identity;
      this.#admit();
      this.#renew(tls);
      this.#watch();
      say('the configuration was read again');
      this.#introduce();
    });
  }

  /** The settings with the listener that we have: that one stays, and whether it speaks TLS and asks for certificates. */
  #withListener(settings: Settings): Settings {
    const now = this.#settings;
    const isOther = (of: (settings: Settings) => unknown): boolean => JSON.stringify(of(settings)) !== JSON.stringify(of(now));
    if (isOther(({ listen }) => listen) || isOther(({ tls }) => tls === undefined) || isOther(({ auth }) => auth.clientCertificates === undefined))
      complain(
        'where the proxy listens, and whether with TLS and client certificates, changes with its next start',
        'stop and start it; the rest is in force',
      );
    const { tls = now.tls, ...rest } = settings;
    return { ...rest, listen: now.listen, ...(now.tls === undefined || tls === undefined ? {} : { tls }) };
  }

  /** One after the other. What is wrong in the files is said, and changes nothing. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#reloading = this.#reloading.then(work).catch((error: unknown) => {
      if (error instanceof SwornError) complain(`${error.message}; what was before stays`, error.hint);
      // no descriptors left, say: streams that are under way shall not end for it
      else complain(`the configuration cannot be read now: ${(error as Error).message}; what was before stays`, 'send SIGHUP again');
    });
    return this.#reloading;
  }

  /** The files of our TLS; of them alone: the rest of the configuration is read when somebody asks for it. */
  #watch(): void {
    for (const path of this.#watched) unwatchFile(path);
    const { tls, auth } = this.#settings;
    this.#watched = tls === undefined ? [] : [tls.cert, tls.key, ...(auth.clientCertificates === undefined ? [] : [auth.clientCertificates.ca])];
    const changed = (): void =>
      void this.#inTurn(async () => {
        this.#renew(await tlsOptions(this.#settings));
        say('the certificate was read again');
      });
    for (const path of this.#watched) watchFile(path, { interval: lookEveryMs, persistent: false }, changed);
  }

  #renew(tls: TlsOptions | undefined): void {
    if (tls !== undefined && this.#server !== undefined && 'setSecureContext' in this.#server) this.#server.setSecureContext(tls);
  }

  /** Takes nothing new, lets streams go on for a while, and says to the recorder that it is over. */
  async end(): Promise<void> {
    const server = this.#server!;
    this.#isEnding = true;
    server.close();
    server.closeIdleConnections();
    await this.#streamsOver(drainMs);
    this.#routes.stop();
    server.closeAllConnections();
    // they say what did not arrive
    await this.#streamsOver(endMs);
    await this.#routes.close();
  }

  async #streamsOver(limitMs: number): Promise<void> {
    if (this.#streams === 0) return;
    await new Promise<void>((done) => {
      const limit = setTimeout(done, limitMs);
      this.#drained = () => {
        clearTimeout(limit);
        done();
      };
    });
  }
}

/** What the listener speaks TLS with; nothing, where it does not. */
async function tlsOptions({ tls, auth }: Settings): Promise<TlsOptions | undefined> {
  if (tls === undefined) return undefined;
  return { ...(await certificateOf(tls)), ...(auth.clientCertificates === undefined ? {} : await certificateOptions(auth.clientCertificates)) };
}

/** What HTTP wants refused of every server: RFC 9112 §3.2 (two hosts would be two servers to those behind us), and §6.1 (what we did not undo we could not send on). */
function unusableOf({ hosts, codings }: HeaderList): [status: number, text: string] | undefined {
  if (hosts > 1) return [400, 'there is more than one Host'];
  return codings.every((one) => /^chunked$/i.test(one.trim())) ? undefined : [501, 'of transfer codings only chunked is known here'];
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
