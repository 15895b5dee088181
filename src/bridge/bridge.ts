/**
 * From lines to HTTP and back: the MCP server that `sworn run --url` starts, in front of one that is somewhere else. A line is one POST's body, and what is
 * answered, as JSON or as events, is one line again; their bytes are not changed. Both eras and the older HTTP+SSE; the era is each message's own.
 *
 * Must stay true: a request is answered, by the server or by us, unless its client took it back. Nothing of what the headers or the address hold in confidence
 * is in what we say ourselves.
 */
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { lossyText, utf8 } from '../bytes/bytes.ts';
import { upstreamCodes } from '../errors.ts';
import { SseCutter, type SseBlock } from '../frames/sse.ts';
import { bridgeMessageBytes } from '../limits.ts';
import { argumentHeaders, argumentValue, headerValue, nameParameters, type ArgumentHeader } from '../mcp/headers.ts';
import { readMessage, type Message } from '../mcp/message.ts';
import { ContentDecoder, type Decoded } from '../proxy/encoding.ts';
import { NoAnswer, type Upstream } from './upstream.ts';

/** Where lines go, and what the process does. */
export interface Side {
  /** Resolves when there is room for more. */
  write(line: Uint8Array): Promise<void>;
  /** For the person who looks after it: stderr. */
  complain(text: string): void;
  /** The server is gone for good. */
  finish(status: number): void;
}

/** One POST, and what it still owes. */
interface Exchange {
  readonly era: 'legacy' | 'modern';
  /** Of a lone request. */
  readonly method: string | undefined;
  /** Requests without a reply: how their ids are compared → as they stand in the message. */
  readonly open: Map<string, string>;
  /** Somebody waits for it, or did: it has a request with an id that a reply can name. */
  readonly isAsked: boolean;
  /** Nobody waits any more: it is answered, or taken back. */
  readonly settled: Gate<void>;
  readonly stop: AbortController;
}

interface Gate<T> {
  readonly opened: Promise<T>;
  open(value: T): void;
}

/** Of a stream of events: where it can be taken up again. */
interface Place {
  lastEventId?: string;
  retryMs?: number;
}

/** Of an error page, in an error of ours. */
const shownBodyChars = 2_000;
const shownBodyBytes = 64 * 1024;
/** What is sent next waits no longer for the word that a notification has arrived. */
const orderMs = 5_000;
const retryMs = 1_000;
const longestRetryMs = 30_000;
/** Attempts in a row to take up a stream that someone waits for. */
const resumeAttempts = 5;
/** How long the end waits for answers, and for the server to hear of it: clients kill us two seconds after they closed. */
const graceMs = 1_200;
const goodbyeMs = 500;

export class Bridge {
  readonly #upstream: Upstream;
  readonly #side: Side;
  /** By the id of each request that waits. */
  readonly #waiting = new Map<string, Exchange>();
  readonly #stop = new AbortController();
  /** The next line may be sent. */
  #turn: Promise<void> = Promise.resolve();
  /** Of the legacy era: what `initialize` was answered with. */
  #session: string | undefined;
  #version: string | undefined;
  /** Of a server of 2024-11-05: where messages are posted to. */
  #endpoint: URL | undefined;
  #listening = false;
  /** Of tools that were listed: which of their arguments go into headers. */
  readonly #tools = new Map<string, readonly ArgumentHeader[]>();

  constructor(upstream: Upstream, side: Side) {
    this.#upstream = upstream;
    this.#side = side;
  }

  /** Takes one line of the client, without its line end. */
  accept(line: Uint8Array): void {
    const message = readMessage(line);
    const items = message.type === 'batch' ? message.items.map((item) => item.message) : [message];
    const [first] = items;
    const cancels = message.type === 'batch' ? undefined : message.cancels;
    const cancelled = cancels === undefined ? undefined : this.#waiting.get(cancels);
    if (cancels !== undefined && cancelled !== undefined) {
      this.#settle(cancelled, cancels);
      // MCP 2026-07-28 over HTTP: to close the response is to cancel, and there is no other way
      if (cancelled.era === 'modern') return cancelled.stop.abort();
    }
    const isModern = first?.era === 'modern';
    const open = new Map(
      items.flatMap(({ type, id, idKey }) => (type === 'request' && id !== undefined && idKey !== undefined ? [[idKey, id]] : [])),
    );
    const exchange: Exchange = {
      era: isModern ? 'modern' : 'legacy',
      method: message.type === 'request' ? message.method : undefined,
      open,
      isAsked: open.size > 0,
      settled: gate<void>(),
      stop: new AbortController(),
    };
    for (const key of exchange.open.keys()) this.#waiting.set(key, exchange);
    this.#turn = this.#turn.then(() => {
      const sent = this.#run(this.#exchange(line, message.type === 'batch' ? undefined : message, exchange));
      // what is answered may overtake; what is not must have arrived: `initialized` before the first call
      if (exchange.method === 'initialize') return Promise.race([sent, exchange.settled.opened]);
      return exchange.isAsked ? undefined : Promise.race([sent, sleep(orderMs, undefined, { ref: false })]);
    });
  }

  #settle(exchange: Exchange, key: string): void {
    if (this.#waiting.get(key) === exchange) this.#waiting.delete(key);
    exchange.open.delete(key);
    if (exchange.open.size === 0) exchange.settled.open();
  }

  /** Nothing of this is expected to fail: who waits for an answer is told where it fails. */
  #run(work: Promise<void>): Promise<void> {
    return work.catch((error: unknown) => this.#side.complain((error as Error).message));
  }

  /** The client has closed, or wants us gone (`atOnce`). */
  async end(atOnce: boolean): Promise<void> {
    if (!atOnce) {
      const answers = (async (): Promise<void> => {
        await this.#turn;
        const awaited = [...this.#waiting.values()].filter(({ method }) => method !== 'subscriptions/listen');
        await Promise.all(awaited.map(({ settled }) => settled.opened));
      })();
      await Promise.race([answers, sleep(graceMs)]);
    }
    this.#stop.abort();
    for (const { stop } of this.#waiting.values()) stop.abort();
    if (this.#session !== undefined) {
      const bye = this.#upstream.send('DELETE', { headers: this.#sessionHeaders(), patient: true }).then(
        (answer) => answer.resume(),
        () => undefined,
      );
      await Promise.race([bye, sleep(goodbyeMs)]);
    }
    this.#upstream.close();
  }

  async #exchange(line: Uint8Array, message: Message | undefined, exchange: Exchange): Promise<void> {
    const place: Place = {};
    try {
      if (this.#endpoint !== undefined) return await this.#postBeside(line, exchange);
      const headers = exchange.era === 'modern' ? this.#modernHeaders(line, message) : message?.method === 'initialize' ? {} : this.#sessionHeaders();
      const answer = await this.#upstream.send('POST', { headers: { ...posted, ...headers }, body: line, signal: this.#signalOf(exchange) });
      const status = answer.statusCode!;
      if (status < 200 || status > 299) return await this.#refused(line, message, exchange, answer, headers);
      if (message?.method === 'initialize') this.#session = sessionOf(answer);
      await this.#read(answer, exchange, place);
      if (message?.method === 'notifications/initialized' && exchange.era === 'legacy') this.#listen();
      if (exchange.open.size === 0) return;
      if (exchange.era === 'legacy' && place.lastEventId !== undefined) await this.#resume(exchange, place);
      this.#fail(exchange, 'failed', `${this.#upstream.url.origin} ended its answer (HTTP ${status}) without a reply`);
    } catch (error) {
      if (exchange.stop.signal.aborted || this.#stop.signal.aborted) return;
      if (error instanceof NoAnswer) return this.#fail(exchange, error.reason, error.message);
      if (exchange.era === 'legacy' && place.lastEventId !== undefined && exchange.open.size > 0) await this.#resume(exchange, place);
      this.#fail(
        exchange,
        'failed',
        `the answer of ${this.#upstream.url.origin} broke off: ${this.#upstream.withoutSecrets((error as Error).message)}`,
      );
    }
  }

  #signalOf(exchange: Exchange): AbortSignal {
    return AbortSignal.any([exchange.stop.signal, this.#stop.signal]);
  }

  #sessionHeaders(): Record<string, string> {
    return {
      ...(this.#session === undefined ? {} : { 'Mcp-Session-Id': this.#session }),
      ...(this.#version === undefined ? {} : { 'MCP-Protocol-Version': this.#version }),
    };
  }

  #modernHeaders(line: Uint8Array, message: Message | undefined): Record<string, string> {
    const { method = '', protocolVersion = '' } = message ?? {};
    const headers: Record<string, string> = { 'MCP-Protocol-Version': headerValue(protocolVersion), 'Mcp-Method': headerValue(method) };
    const parameter = nameParameters.get(method);
    if (parameter === undefined) return headers;
    const { params } = JSON.parse(lossyText(line)) as { params?: Record<string, unknown> };
    const name = params?.[parameter];
    if (typeof name === 'string') headers['Mcp-Name'] = headerValue(name);
    if (method !== 'tools/call' || typeof name !== 'string') return headers;
    for (const one of this.#tools.get(name) ?? []) {
      const value = argumentValue(one, params?.['arguments']);
      if (value !== undefined) headers[one.header] = value;
    }
    return headers;
  }

  /** Gives out all messages of a successful answer. */
  async #read(answer: IncomingMessage, exchange: Exchange | undefined, place: Place): Promise<void> {
    if (isEventStream(answer)) {
      // events of other types are for others
      return this.#events(answer, place, (block) => (block.event === undefined || block.event === 'message' ? this.#give(block.data!) : undefined));
    }
    const body = await this.#body(answer);
    if (body.length === 0 || exchange === undefined) return;
    if (readMessage(body).type !== 'opaque') return this.#give(body);
    if (exchange.open.size > 0) {
      this.#fail(exchange, 'failed', `${this.#upstream.url.origin} answered with something that is no message of MCP`, {
        status: answer.statusCode!,
        ...(answer.headers['content-type'] === undefined ? {} : { contentType: answer.headers['content-type'] }),
        body: this.#shown(body),
      });
    }
  }

  /** Every message of a stream, in order; slow clients make slow streams. */
  async #events(answer: IncomingMessage, place: Place, each: (block: SseBlock) => Promise<void> | void): Promise<void> {
    const cutter = new SseCutter();
    const decoder = new ContentDecoder(answer.headers['content-encoding'], bridgeMessageBytes);
    const take = async (blocks: readonly SseBlock[]): Promise<void> => {
      for (const block of blocks) {
        if (block.kind !== 'rest') {
          if (block.id !== undefined) place.lastEventId = block.id;
          if (block.retryMs !== undefined) place.retryMs = block.retryMs;
        }
        const isWhole = block.kind === 'event' || (block.kind === 'rest' && block.data !== undefined && readMessage(block.data).type !== 'opaque');
        // oxlint-disable-next-line no-await-in-loop -- one message after the other
        if (isWhole) await each(block);
      }
    };
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        const { bytes, problem } = await decoder.push(chunk);
        await take(cutter.push(bytes));
        if (problem !== undefined) throw new Error(`its content encoding is ${problem}`);
        if (cutter.heldBytes > bridgeMessageBytes) throw new Error(`a message has more than ${bridgeMessageBytes} bytes`);
      }
      await take(cutter.end());
    } finally {
      decoder.close();
      answer.destroy();
    }
  }

  /** @throws Error where it is longer, or cannot be decoded */
  async #body(answer: IncomingMessage): Promise<Uint8Array> {
    const { bytes, problem } = await this.#decoded(answer, bridgeMessageBytes);
    if (problem === 'too-large') throw new Error(`its body has more than ${bridgeMessageBytes} bytes`);
    if (problem !== undefined) throw new Error(`its content encoding is ${problem}`);
    return bytes;
  }

  async #decoded(answer: IncomingMessage, maxBytes: number): Promise<Decoded> {
    const decoder = new ContentDecoder(answer.headers['content-encoding'], maxBytes);
    const parts: Uint8Array[] = [];
    let sizeBytes = 0;
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        const { bytes, problem } = await decoder.push(chunk);
        parts.push(bytes);
        sizeBytes += bytes.length;
        if (problem !== undefined || sizeBytes > maxBytes) return { bytes: Buffer.concat(parts), problem: problem ?? 'too-large' };
      }
      const { bytes, problem } = await decoder.end();
      return { bytes: Buffer.concat([...parts, bytes]), ...(problem === undefined ? {} : { problem }) };
    } finally {
      decoder.close();
      answer.destroy();
    }
  }

  /** One message to the client, and what we learn from it. */
  async #give(bytes: Uint8Array): Promise<void> {
    const message = readMessage(bytes);
    for (const item of message.type === 'batch' ? message.items.map((one) => one.message) : [message]) this.#learn(item, bytes);
    await this.#side.write(oneLine(bytes));
  }

  #learn({ type, idKey, protocolVersion }: Message, bytes: Uint8Array): void {
    if ((type !== 'result' && type !== 'error') || idKey === undefined) return;
    const exchange = this.#waiting.get(idKey);
    if (exchange === undefined) return;
    this.#settle(exchange, idKey);
    if (exchange.method === 'initialize' && type === 'result') this.#version = protocolVersion;
    if (exchange.method === 'tools/list' && exchange.era === 'modern' && type === 'result') this.#learnTools(bytes);
  }

  #learnTools(bytes: Uint8Array): void {
    const { result } = JSON.parse(lossyText(bytes)) as { result?: { tools?: unknown } };
    if (!Array.isArray(result?.tools)) return;
    for (const tool of result.tools as { name?: unknown; inputSchema?: unknown }[]) {
      if (typeof tool?.name === 'string') this.#tools.set(tool.name, argumentHeaders(tool.inputSchema));
    }
  }

  /** A status other than 2xx. */
  async #refused(
    line: Uint8Array,
    message: Message | undefined,
    exchange: Exchange,
    answer: IncomingMessage,
    headers: Record<string, string>,
  ): Promise<void> {
    const status = answer.statusCode!;
    const isHandshake = message?.method === 'initialize';
    // MCP, Transports, Backwards compatibility: an older server does not know what to do with this POST
    if (isHandshake && status >= 400 && status < 500 && ![401, 403, 407, 429].includes(status) && (await this.#connectBeside(exchange))) {
      answer.destroy();
      return this.#postBeside(line, exchange);
    }
    const { bytes: body } = await this.#decoded(answer, shownBodyBytes).catch(() => ({ bytes: new Uint8Array(0) }));
    const said = readMessage(body);
    // it has been a server of MCP that answers: what it says is what the client is told
    if (said.type === 'error' && said.idKey !== undefined && exchange.open.has(said.idKey)) return this.#give(body);
    if (
      said.type === 'error' &&
      (said.id === undefined || said.id === 'null') &&
      exchange.open.size > 0 &&
      !(status === 404 && 'Mcp-Session-Id' in headers)
    ) {
      const { error } = JSON.parse(lossyText(body)) as { error: unknown };
      return this.#answer(exchange, error);
    }
    const text = this.#shown(body);
    this.#fail(
      exchange,
      'failed',
      `HTTP ${status} ${answer.statusMessage ?? ''}`.trimEnd() + ` from ${this.#upstream.url.origin}${this.#advice(answer)}`,
      {
        status,
        ...(text === '' ? {} : { body: text }),
      },
    );
    // a client of HTTP would begin a new session; on stdio the session is the process
    if (status === 404 && 'Mcp-Session-Id' in headers) this.#gone(`${this.#upstream.url.origin} has ended the session (HTTP 404)`);
  }

  #advice(answer: IncomingMessage): string {
    const status = answer.statusCode!;
    if (status === 401 || status === 407) return ': it wants credentials, give them with --header-file or --header-env';
    if (status >= 300 && status < 400) {
      const to = URL.parse(answer.headers.location ?? '', this.#upstream.url.href);
      return to === null ? '' : `: it is at ${to.origin}, and our headers are not for others; give that address with --url`;
    }
    return '';
  }

  #shown(body: Uint8Array): string {
    const text = this.#upstream.withoutSecrets(lossyText(body)).trim();
    return text.length <= shownBodyChars ? text : `${text.slice(0, shownBodyChars)}…`;
  }

  /** What the client is told where the server did not answer. */
  #fail(exchange: Exchange, reason: NoAnswer['reason'], text: string, data?: Record<string, unknown>): void {
    if (exchange.open.size === 0) {
      if (!exchange.isAsked) this.#side.complain(text);
      return;
    }
    this.#answer(exchange, { code: upstreamCodes[reason], message: text, ...(data === undefined ? {} : { data }) });
  }

  #answer(exchange: Exchange, error: unknown): void {
    for (const [key, id] of exchange.open) {
      void this.#side.write(utf8(`{"jsonrpc":"2.0","id":${id},"error":${JSON.stringify(error)}}`));
      this.#settle(exchange, key);
    }
  }

  #gone(text: string): void {
    if (this.#stop.signal.aborted) return;
    for (const exchange of new Set(this.#waiting.values())) this.#fail(exchange, 'failed', text);
    this.#side.complain(text);
    this.#session = undefined;
    this.#side.finish(1);
  }

  /** Messages that the server sends of itself. Many servers have no such stream. */
  #listen(): void {
    if (this.#listening) return;
    this.#listening = true;
    void this.#run(
      (async (): Promise<void> => {
        const place: Place = {};
        for (let pauseMs = retryMs; !this.#stop.signal.aborted; pauseMs = Math.min(2 * pauseMs, longestRetryMs)) {
          // oxlint-disable-next-line no-await-in-loop -- one stream after the other
          const took = await this.#take(place, this.#stop.signal);
          if (took === 'refused') return;
          if (took === 'read') pauseMs = retryMs;
          // oxlint-disable-next-line no-await-in-loop -- as the server asks
          await this.#pause(Math.max(place.retryMs ?? 0, took === 'read' ? 0 : pauseMs) || retryMs);
        }
      })(),
    );
  }

  /** Takes up the stream of a request that broke off, until there is a reply or no hope. */
  async #resume(exchange: Exchange, place: Place): Promise<void> {
    for (let failures = 0; failures < resumeAttempts && exchange.open.size > 0 && !this.#stop.signal.aborted;) {
      // oxlint-disable-next-line no-await-in-loop -- as the server asks
      await this.#pause(place.retryMs ?? retryMs * 2 ** failures);
      // oxlint-disable-next-line no-await-in-loop -- one stream after the other
      const took = await this.#take(place, this.#signalOf(exchange));
      if (took === 'refused') return;
      failures = took === 'read' ? 0 : failures + 1;
    }
  }

  async #pause(waitMs: number): Promise<void> {
    await sleep(Math.min(waitMs, longestRetryMs), undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  async #take(place: Place, signal: AbortSignal): Promise<'read' | 'broken' | 'refused'> {
    const headers = {
      Accept: 'text/event-stream',
      ...this.#sessionHeaders(),
      ...(place.lastEventId === undefined ? {} : { 'Last-Event-ID': place.lastEventId }),
    };
    try {
      const answer = await this.#upstream.send('GET', { headers, signal, patient: true });
      if (answer.statusCode !== 200 || !isEventStream(answer)) {
        answer.destroy();
        return answer.statusCode! >= 500 ? 'broken' : 'refused';
      }
      await this.#read(answer, undefined, place);
      return 'read';
    } catch {
      return 'broken';
    }
  }

  /** HTTP+SSE of 2024-11-05: one stream for everything that comes; its first event says where to post. */
  async #connectBeside(exchange: Exchange): Promise<boolean> {
    const tooLate = new AbortController();
    const timer = setTimeout(() => tooLate.abort(), orderMs);
    const signal = AbortSignal.any([tooLate.signal, this.#stop.signal]);
    let answer: IncomingMessage;
    try {
      answer = await this.#upstream.send('GET', { headers: { Accept: 'text/event-stream' }, signal });
    } catch {
      clearTimeout(timer);
      return false;
    }
    const isStream = answer.statusCode === 200 && isEventStream(answer);
    const found = gate<boolean>();
    const reading = this.#events(answer, {}, (block) => {
      if (this.#endpoint !== undefined) return this.#give(block.data!);
      const endpoint = block.event === 'endpoint' ? URL.parse(lossyText(block.data!), this.#upstream.url.href) : null;
      // our headers go there too
      if (endpoint?.origin === this.#upstream.url.origin) this.#endpoint = endpoint;
      if (block.event === 'endpoint') found.open(this.#endpoint !== undefined);
      return undefined;
    });
    if (!isStream) tooLate.abort();
    void this.#run(
      reading
        .catch(() => undefined)
        .then(() => {
          found.open(false);
          if (this.#endpoint !== undefined) this.#gone(`${this.#upstream.url.origin} has ended its stream`);
        }),
    );
    const isOlder = await found.opened;
    clearTimeout(timer);
    if (!isOlder) tooLate.abort();
    return isOlder && !exchange.stop.signal.aborted;
  }

  /** The reply comes on the stream. */
  async #postBeside(line: Uint8Array, exchange: Exchange): Promise<void> {
    const answer = await this.#upstream.send('POST', {
      url: this.#endpoint!,
      headers: { ...posted, ...this.#sessionHeaders() },
      body: line,
      signal: this.#signalOf(exchange),
    });
    const status = answer.statusCode!;
    if (status < 200 || status > 299) return this.#refused(line, undefined, exchange, answer, {});
    // the stream answers, or its end does
    answer.resume();
  }
}

function gate<T>(): Gate<T> {
  let open!: (value: T) => void;
  const opened = new Promise<T>((done) => (open = done));
  return { opened, open };
}

const posted = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };

function sessionOf({ headers }: IncomingMessage): string | undefined {
  const session = headers['mcp-session-id'];
  return typeof session === 'string' && session !== '' ? session : undefined;
}

function isEventStream(answer: IncomingMessage): boolean {
  return (answer.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase() === 'text/event-stream';
}

/** JSON has line ends only between tokens, where a blank says the same. */
function oneLine(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  const line = bytes.subarray(0, end);
  return line.includes(0x0a) ? line.map((byte) => (byte === 0x0a ? 0x20 : byte)) : line;
}
