/**
 * The dashboard's HTTP: who may ask, what is asked, and what every answer says of itself. A browser can be made to ask anything by any page, so `Host` and `Origin` are
 * looked at before anything else (DNS rebinding), nothing is shared with other origins, and only what stands in the page may run in it.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { SwornError } from '../errors.ts';
import { dashboardBodyBytes, dashboardConnections } from '../limits.ts';
import { admissionOf, refusedBy, type Admission } from '../proxy/admission.ts';
import { answerOf, type Command, type Question } from './api.ts';
import { hookPath, type ApprovalsHook } from './hook.ts';
import { closedPolicy, type Page } from './page.ts';
import { AnswerError, Parameters } from './parameters.ts';
import type { Stream } from './stream.ts';
import type { Viewer, Viewers } from './viewers.ts';

export interface ServerDeps {
  questions: Readonly<Record<string, Question>>;
  commands: Readonly<Record<string, Command>>;
  viewersAt(port: number): Viewers;
  stream: Stream;
  /** Tells the stream how far the rows go now. */
  look(): void;
  page: Page | undefined;
  /** Where programs decide with the webhook's secret, when there is one. */
  hook: Pick<ApprovalsHook, 'decide'> | undefined;
  /** The description of the API, JSON. */
  openapi: Buffer | undefined;
  bind: string;
  port: number;
  allowHosts: readonly string[];
  log(line: string): void;
}

const api = '/api/v1/';
const html = 'text/html; charset=utf-8';
const json = 'application/json';

/** On every answer. */
const always: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
};

export class DashboardServer {
  readonly #deps: ServerDeps;
  readonly #server: Server;
  #admission: Admission | undefined;
  #viewers: Viewers | undefined;

  constructor(deps: ServerDeps) {
    this.#deps = deps;
    this.#server = createServer({ headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 5_000 }, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => this.#fail(request, response, error));
    });
    this.#server.maxConnections = dashboardConnections;
    this.#server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    });
  }

  /**
   * The port that it listens at.
   * @throws (rejects) SwornError `listen-failed`
   */
  async listen(): Promise<number> {
    const { bind, port, allowHosts } = this.#deps;
    const listening = once(this.#server, 'listening');
    this.#server.listen({ host: bind, port });
    try {
      await listening;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const why = code === 'EADDRINUSE' ? 'another program listens there' : code === 'EACCES' ? 'this account may not listen there' : message;
      throw new SwornError('dashboard-listen', `the dashboard cannot listen at ${bind}:${port}: ${why}`, {}, { cause: error });
    }
    const address = this.#server.address();
    const at = typeof address === 'object' && address !== null ? address.port : port;
    this.#admission = admissionOf(bind, at, allowHosts, [], false);
    this.#viewers = this.#deps.viewersAt(at);
    return at;
  }

  get viewers(): Viewers {
    return this.#viewers!;
  }

  /** At once: streams end, and answers that are on their way too. */
  end(): void {
    this.#deps.stream.end();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { host, origin } = request.headers;
    const refused = refusedBy(this.#admission!, host, origin);
    // an origin of the list under another host's name is another origin
    if (refused !== undefined || (origin !== undefined && origin.toLowerCase() !== `http://${host?.toLowerCase()}`))
      throw new AnswerError(403, `${(refused ?? `Origin ${JSON.stringify(origin)} is not allowed`).replace(/; name it with --allow-origin$/, '')}.`);
    const method = request.method ?? '';
    const url = urlOf(request.url);
    const isRead = method === 'GET' || method === 'HEAD';
    if (url.pathname === '/') {
      if (!isRead) throw new AnswerError(405, 'Here is a page to read.', { Allow: 'GET, HEAD' });
      this.#page(method, url.searchParams, response);
      return;
    }
    const { hook } = this.#deps;
    if (url.pathname === hookPath && hook !== undefined) {
      if (method !== 'POST') throw new AnswerError(405, 'Decisions are POSTed.', { Allow: 'POST' });
      const signature = request.headers['sworn-signature'];
      const answer = await hook.decide(typeof signature === 'string' ? signature : undefined, await bodyOf(request));
      this.#send(response, 200, json, Buffer.from(JSON.stringify(answer)));
      return;
    }
    if (isForeign(request)) throw new AnswerError(403, 'A page of another address asks: only the dashboard’s own does.');
    if (!url.pathname.startsWith(api)) throw new AnswerError(404, 'There is nothing at this address.');
    const viewer = this.#viewerOf(request);
    const name = url.pathname.slice(api.length);
    const { questions, commands, openapi } = this.#deps;
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (command !== undefined) {
      if (method !== 'POST') throw new AnswerError(405, `${name} changes something: POST it.`, { Allow: 'POST' });
      assertSame(request);
      new Parameters(url.searchParams).end();
      const answer = await command(await bodyOf(request), viewer);
      if (answer === undefined) response.writeHead(204, this.#headers()).end();
      else this.#send(response, 200, json, Buffer.from(JSON.stringify(answer)));
      return;
    }
    const isKnown = name === 'stream' || (name === 'openapi.json' && openapi !== undefined) || Object.hasOwn(questions, name);
    if (!isKnown) throw new AnswerError(404, `There is no question ${JSON.stringify(name.slice(0, 64))}; /api/v1/openapi.json lists them.`);
    if (!isRead) throw new AnswerError(405, `${name} is asked with GET.`, { Allow: 'GET, HEAD' });
    if (name === 'stream') {
      this.#stream(request, response, url.searchParams);
      return;
    }
    if (name === 'openapi.json') {
      new Parameters(url.searchParams).end();
      this.#send(response, 200, json, openapi!);
      return;
    }
    // rows that the answer will have are told first; whoever hears of them later, on another connection, knows by the cursor that they are nothing newer
    this.#deps.look();
    this.#deps.stream.flush();
    const told = { 'Sworn-Told': this.#deps.stream.cursor };
    const answer = await questions[name]!(new Parameters(url.searchParams), viewer);
    if (answer === undefined) throw new AnswerError(404, 'There is no such thing in the record, or it is gone.');
    this.#send(response, 200, json, Buffer.from(JSON.stringify(answer)), told);
  }

  /** The app; or, with a token that was issued, the cookie for it, once. */
  #page(method: string, search: URLSearchParams, response: ServerResponse): void {
    const token = search.get('token');
    if (token === null) {
      const { page } = this.#deps;
      if (page === undefined) throw new AnswerError(503, 'The app is not built: run npm run build.');
      this.#send(response, 200, html, page.bytes, { 'Content-Security-Policy': page.policy });
      return;
    }
    // who only looks whether there is something must not use it up
    if (method !== 'GET') throw new AnswerError(405, 'A token is exchanged with GET.', { Allow: 'GET' });
    const cookie = this.viewers.exchange(token);
    if (cookie === undefined) {
      const wait = this.viewers.failed();
      if (wait !== undefined) throw tooMany(wait);
      throw unauthorized('This address was used before, or is not one of ours: each opens one browser, once.');
    }
    response.writeHead(303, this.#headers({ Location: '/', 'Set-Cookie': cookie, 'Content-Length': '0' })).end();
  }

  #viewerOf({ headers }: IncomingMessage): Viewer {
    const admitted = this.viewers.admit(headers.cookie, headers.authorization);
    if (admitted === 'unknown') throw unauthorized('Open the address that `sworn serve` printed, or send a token of its --token-file.');
    if ('retryAfterS' in admitted) throw tooMany(admitted.retryAfterS);
    return admitted.viewer;
  }

  #stream(request: IncomingMessage, response: ServerResponse, search: URLSearchParams): void {
    const parameters = new Parameters(search);
    // for clients that cannot send the header
    const cursor = parameters.text('cursor', 256);
    parameters.end();
    const { stream } = this.#deps;
    if (stream.isFull) throw new AnswerError(429, 'Too many read the live tail: close some.', { 'Retry-After': '5' });
    const lastId = request.headers['last-event-id'];
    response.writeHead(200, this.#headers({ 'Content-Type': 'text/event-stream', Connection: 'close' }));
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    response.socket?.setNoDelay(true);
    request.socket.setTimeout(0);
    stream.add(response, typeof lastId === 'string' ? lastId : cursor);
  }

  #headers(more: Readonly<Record<string, string>> = {}): Record<string, string> {
    return { ...always, 'Content-Security-Policy': closedPolicy, ...more };
  }

  #send(response: ServerResponse, status: number, type: string, body: Buffer, more: Readonly<Record<string, string>> = {}): void {
    response.writeHead(status, this.#headers({ 'Content-Type': type, 'Content-Length': String(body.length), ...more })).end(body);
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    let answer = answerOf(error);
    if (answer === undefined) {
      this.#deps.log(`defect: ${error instanceof Error ? error.stack : String(error)}`);
      answer = new AnswerError(500, 'This is a defect of sworn; its words are where `sworn serve` runs.');
    }
    // a person reads what is wrong with the address, a program what is wrong with a question
    const isApi = request.url === undefined || request.url.startsWith(api) || request.url.startsWith(hookPath);
    const body = Buffer.from(isApi ? JSON.stringify({ error: { message: answer.message } }) : `${answer.message}\n`);
    // a body that was not read would be taken for the next request
    const more = request.complete ? answer.headers : { ...answer.headers, Connection: 'close' };
    this.#send(response, answer.status, isApi ? json : 'text/plain; charset=utf-8', body, more);
  }
}

function urlOf(text: string | undefined): URL {
  try {
    return new URL(text ?? '', 'http://dashboard.invalid');
  } catch {
    throw new AnswerError(400, 'The address cannot be read.');
  }
}

function unauthorized(message: string): AnswerError {
  return new AnswerError(401, message, { 'WWW-Authenticate': 'Bearer realm="sworn"' });
}

function tooMany(retryAfterS: number): AnswerError {
  return new AnswerError(429, `Too many requests: try again in ${retryAfterS} s.`, { 'Retry-After': String(retryAfterS) });
}

/**
 * A page of another port of this host is the same site to a browser, which sends our cookie with its requests and no `Origin` where it only loads something. It would read
 * no answer, but what was opened would be recorded as opened by whoever sits there. A browser says where it stands.
 */
function isForeign({ headers }: IncomingMessage): boolean {
  const from = headers['sec-fetch-site'];
  return from !== undefined && from !== 'same-origin' && from !== 'none';
}

/** What changes something must come from our own page, which a browser says; what is no browser shows a token. @throws AnswerError 403 */
function assertSame({ headers }: IncomingMessage): void {
  if (headers.authorization === undefined && headers.origin === undefined) throw new AnswerError(403, 'What changes something says its Origin.');
}

/** @throws (rejects) AnswerError 400, 413, 415 */
async function bodyOf(request: IncomingMessage): Promise<string> {
  if (!/^application\/json *(;|$)/i.test(request.headers['content-type'] ?? ''))
    throw new AnswerError(415, 'The body is JSON: Content-Type: application/json.');
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > dashboardBodyBytes) throw new AnswerError(413, `A body has at most ${dashboardBodyBytes} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
