/**
 * ★ The life of one HTTP exchange in the proxy, a stream of its connection, read from top to bottom: receive → record → forward → record → answer.
 *
 * What must stay true:
 *   1. Nothing of a request reaches the upstream, and no message of a response its client, before the recorder let it.
 *   2. What goes on are the bytes that came. Whatever is read, is read in a copy: bodies and events are decoded for the record alone.
 *   3. Order within a stream is the order in which it came. An event waits for those before it, and for nothing on other streams.
 *   4. Who leaves ends the other side at once: a client that closes while its request is not yet recorded never asked.
 *   5. We say nothing ourselves but refusals, 403, 401, 502, 503, 504, and what HTTP itself wants of a server.
 * If we die here: what was recorded and not delivered shows as delivery unconfirmed.
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { once } from 'node:events';
import { lossyText } from '../bytes/bytes.ts';
import { SseCutter, type SseBlock } from '../frames/sse.ts';
import { bodyBytes, recordedHeaderChars } from '../limits.ts';
import type { Channel, Outcome } from '../wire/channel.ts';
import { answersFor } from '../wire/unrecorded.ts';
import type { Head } from '../wire/wire.ts';
import type { BodyBudget } from './budget.ts';
import { ContentDecoder, decodeContent, isEncoded } from './encoding.ts';
import { forwarded, recorded, withoutSecrets, type HeaderRules } from './headers.ts';

/** Who sent the request, named to the recorder before the first frame. */
export interface Sender {
  who: string;
  /** It may not go on: what we answer. */
  refusal?: { status: number; challenge: string; reason: string };
}

/** Where a stream goes. */
export interface Destination {
  readonly channel: Channel;
  readonly rules: HeaderRules;
  /** Streams of this connection, counted by us. */
  nextStream(): number;
  /** Message endpoints of HTTP+SSE sessions (2024-11-05) that were told to clients. */
  readonly endpoints: Set<string>;
  /** Begins a request to the upstream; `headers` are those of the client that go on. */
  request(method: string, path: string, headers: readonly string[]): ClientRequest;
  /** An address that the upstream tells its clients: its path there, and as clients of ours reach it; `undefined` where it is elsewhere. */
  endpointAt(address: string, path: string): { path: string; address: string } | undefined;
  /** Until the first byte of a response's head; 0: for ever. */
  readonly upstreamTimeoutMs: number;
}

const none = Buffer.alloc(0);
const json = ['Content-Type', 'application/json'];
const text = ['Content-Type', 'text/plain; charset=utf-8'];

/** One side is gone, or nothing more is to be said to it. */
class Ended extends Error {}

/** `path` is where the upstream has it. Never rejects: what goes wrong ends this stream alone. */
export async function relay(
  request: IncomingMessage,
  response: ServerResponse,
  sender: Sender,
  to: Destination,
  path: string,
  budget: BodyBudget,
): Promise<void> {
  const stream = new Stream(request, response, sender, to, path);
  try {
    await stream.run(budget);
  } catch (error) {
    if (!(error instanceof Ended)) stream.fail(error as Error);
  }
}

class Stream {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #sender: Sender;
  readonly #to: Destination;
  readonly #channel: Channel;
  readonly #path: string;
  readonly #id: number;
  /** What every frame of this stream begins with. */
  #common: Head;
  /** The response's own, told with its first frame. */
  #unsaid: Partial<Head> | undefined;
  #upstream: ClientRequest | undefined;
  #hasLeft = false;
  #isEnded = false;
  /** Passed to the client, and not yet written to it. */
  readonly #writing = new Set<number>();

  constructor(request: IncomingMessage, response: ServerResponse, sender: Sender, to: Destination, path: string) {
    this.#request = request;
    this.#response = response;
    this.#sender = sender;
    this.#to = to;
    this.#channel = to.channel;
    this.#path = path;
    this.#id = to.nextStream();
    const session = header(request, 'mcp-session-id') ?? (to.endpoints.has(path) ? path : undefined);
    this.#common = { who: sender.who, ...(session === undefined ? {} : { session }) };
    response.on('close', () => {
      if (response.writableFinished) return;
      this.#hasLeft = true;
      // at once, in both eras: for 2026-07-28 it is what cancels the request
      this.#upstream?.destroy();
      this.#end('client closed');
    });
    response.on('error', () => undefined);
  }

  async run(budget: BodyBudget): Promise<void> {
    const { method = 'GET', rawHeaders } = this.#request;
    const asked: Head = { ...this.#common, method, path: withoutSecrets(this.#path).slice(0, recordedHeaderChars), headers: recorded(rawHeaders) };
    const { refusal } = this.#sender;
    if (refusal !== undefined) {
      await this.#record(0, asked, undefined);
      const headers = refusal.challenge === '' ? text : [...text, 'WWW-Authenticate', refusal.challenge];
      return this.#answer(refusal.status, headers, `${refusal.reason}\n`, refusal.status === 403 ? 'not allowed' : 'not authenticated');
    }

    // 1. Receive all of the request: it goes on as a whole or not at all.
    const received = await this.#receive(budget);
    if (received === 'too large') {
      await this.#record(0, { ...asked, end: 'body too large' }, undefined);
      return this.#answer(413, text, `the body has more than ${bodyBytes} bytes`, 'body too large');
    }
    try {
      // 2. Record it, decoded where it is encoded, before any of it goes on.
      const body = received.bytes;
      if (received.isCut) asked.end = 'client closed';
      const copy = await this.#readable(body, header(this.#request, 'content-encoding'), asked);
      const outcome = await this.#record(0, asked, copy);
      if (this.#hasLeft) {
        this.#channel.done(0, outcome.unit);
        if (!received.isCut && outcome.kind === 'pass') this.#say(0, { end: 'cancelled before delivery', undelivered: [outcome.unit, outcome.unit] });
        return;
      }
      if (outcome.kind !== 'pass') return await this.#refused(outcome, copy ?? none, body);

      // 3. Forward it.
      await this.#forward(body, outcome.unit);
    } finally {
      received.release();
    }
  }

  /** The whole body; what came of it when its client has left, too. */
  async #receive(budget: BodyBudget): Promise<{ bytes: Buffer | undefined; isCut: boolean; release(): void } | 'too large'> {
    const request = this.#request;
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const release = (): void => budget.give(sizeBytes);
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        sizeBytes += chunk.length;
        budget.take(chunk.length);
        if (sizeBytes > bodyBytes) {
          release();
          request.resume();
          return 'too large';
        }
        chunks.push(chunk);
        await budget.room();
      }
    } catch {
      // it left: what it had said by then is recorded, and goes nowhere
    }
    const isCut = !request.complete;
    this.#hasLeft ||= isCut;
    const hasBody = sizeBytes > 0 || header(request, 'transfer-encoding') !== undefined || Number(header(request, 'content-length') ?? 0) > 0;
    return { bytes: hasBody ? Buffer.concat(chunks, sizeBytes) : undefined, isCut, release };
  }

  /** What of a body is recorded: as it can be read, or as it came where it cannot be decoded. */
  async #readable(body: Buffer | undefined, encoding: string | undefined, head: Head): Promise<Uint8Array | undefined> {
    if (body === undefined || !isEncoded(encoding)) return body;
    const { bytes, problem } = await decodeContent(body, encoding, bodyBytes);
    head.encoding = problem === undefined ? encoding! : `${encoding!}, ${problem}`;
    return problem === undefined ? bytes : body;
  }

  /** Hands a frame over, once there is room for it. */
  async #record(direction: 0 | 1, head: Head, bytes: Uint8Array | undefined): Promise<Outcome> {
    await this.#channel.room();
    return this.#channel.send(direction, this.#id, head, bytes);
  }

  /** Something that is no message, which nobody waits for. */
  #say(direction: 0 | 1, head: Partial<Head>): void {
    void this.#channel.send(direction, this.#id, { ...this.#common, ...head }).then(({ unit }) => this.#channel.done(direction, unit));
  }

  /** The request may not go on. A reply of the client's that may not is replaced for the server that waits for it. */
  async #refused(outcome: Exclude<Outcome, { kind: 'pass' }>, copy: Uint8Array, body: Buffer | undefined): Promise<void> {
    if (outcome.kind === 'unrecordable') {
      const { toSender } = answersFor(Buffer.from(copy), outcome.reason);
      return this.#answer(503, toSender.length > 0 ? json : text, toSender.length > 0 ? lineOf(toSender) : `not recorded: ${outcome.reason}`);
    }
    const { toSender, toReceiver } = outcome;
    if (toReceiver.length > 0) return this.#forward(Buffer.from(lineOf(toReceiver)), undefined, body !== undefined);
    if (toSender.length === 0) return this.#answer(body === undefined ? 503 : 202, [], '');
    const isUnrecorded = toSender.includes('"code":5030');
    return this.#answer(isUnrecorded ? 503 : 200, json, lineOf(toSender));
  }

  /** `unit` is that of the request; without one what goes on is ours. */
  async #forward(body: Buffer | undefined, unit: number | undefined, isReplaced = false): Promise<void> {
    const { method = 'GET', rawHeaders } = this.#request;
    const headers = forwarded(rawHeaders, this.#to.rules);
    const drop = new Set(isReplaced ? ['content-length', 'content-encoding', 'expect'] : ['expect']);
    const kept = pairs(headers).filter(([name]) => !drop.has(name.toLowerCase()));
    if (isReplaced) kept.push(['Content-Length', String(body!.length)]);
    const upstream = this.#to.request(method, this.#path, kept.flat());
    this.#upstream = upstream;
    const answered = firstOf(upstream, this.#to.upstreamTimeoutMs);
    upstream.end(body ?? none, () => {
      if (unit !== undefined) this.#channel.done(0, unit);
    });
    let response: IncomingMessage;
    try {
      response = await answered;
    } catch (error) {
      if (unit !== undefined) this.#channel.done(0, unit);
      if (this.#hasLeft) throw new Ended();
      const { code } = error as NodeJS.ErrnoException;
      const isLate = code === 'ETIMEDOUT';
      const what = isLate ? 'did not answer in time' : 'cannot be reached';
      return this.#answer(isLate ? 504 : 502, text, `the server ${what} (${code ?? (error as Error).message})\n`, `the server ${what}`);
    }

    // 4. Record what it answers before its client has it.
    const begins = header(response, 'mcp-session-id');
    this.#unsaid = {
      status: response.statusCode!,
      headers: recorded(response.rawHeaders),
      ...(begins === undefined || this.#common.session !== undefined ? {} : { begins }),
    };
    const isStream = /^text\/event-stream\b/i.test(response.headers['content-type'] ?? '') && method !== 'HEAD';
    if (isStream) await this.#passEvents(response);
    else await this.#passBody(response, method);
  }

  /** The head of the next frame from the server: the first one says what the response said. */
  #answeredHead(more: Partial<Head> = {}): Head {
    const head = { ...this.#common, ...this.#unsaid, ...more };
    this.#unsaid = undefined;
    return head;
  }

  async #passBody(response: IncomingMessage, method: string): Promise<void> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        sizeBytes += chunk.length;
        if (sizeBytes > bodyBytes) throw Object.assign(new Error('the answer is too long'), { code: 'ETOOLONG' });
        chunks.push(chunk);
      }
    } catch {
      // it broke off, or does not end: recorded as far as it came
    }
    if (this.#hasLeft) throw new Ended();
    const isCut = !response.complete;
    const body = Buffer.concat(chunks, sizeBytes);
    const head = this.#answeredHead(isCut ? { end: sizeBytes > bodyBytes ? 'answer too large' : 'upstream closed' } : {});
    const hasBody = body.length > 0;
    const copy = await this.#readable(hasBody ? body : undefined, header(response, 'content-encoding'), head);
    const outcome = await this.#record(1, head, copy);
    if (this.#hasLeft) {
      this.#channel.done(1, outcome.unit);
      this.#say(1, { end: 'client closed', undelivered: [outcome.unit, outcome.unit] });
      return;
    }
    if (outcome.kind !== 'pass') return this.#withheld(outcome, copy);
    this.#response.sendDate = false;
    this.#response.writeHead(response.statusCode!, response.statusMessage, forwarded(response.rawHeaders));
    if (isCut) {
      // the client shall see that it is not all
      this.#response.flushHeaders();
      this.#response.write(body, () => this.#response.destroy());
      this.#isEnded = true;
      this.#channel.done(1, outcome.unit);
      return;
    }
    if (response.rawTrailers.length > 0) this.#response.addTrailers(pairs(response.rawTrailers));
    this.#isEnded = true;
    this.#response.end(method === 'HEAD' ? undefined : body, () => this.#channel.done(1, outcome.unit));
  }

  /** The answer may not be delivered: who waits for it gets another one. */
  #withheld(outcome: Exclude<Outcome, { kind: 'pass' }>, copy: Uint8Array | undefined): void {
    this.#isEnded = true;
    const line = outcome.kind === 'refused' ? outcome.toReceiver : answersFor(Buffer.from(copy ?? none), outcome.reason).toReceiver;
    const isUnrecorded = outcome.kind === 'unrecordable' || line.includes('"code":5030');
    this.#response.writeHead(isUnrecorded || line.length === 0 ? 503 : 200, line.length === 0 ? [] : json);
    this.#response.end(line.length === 0 ? undefined : lineOf(line));
  }

  async #passEvents(response: IncomingMessage): Promise<void> {
    const encoding = header(response, 'content-encoding');
    const decoder = isEncoded(encoding) ? new ContentDecoder(encoding, bodyBytes) : undefined;
    const cutter = new SseCutter();
    this.#response.sendDate = false;
    this.#response.writeHead(response.statusCode!, response.statusMessage, forwarded(response.rawHeaders));
    this.#response.flushHeaders();
    let isBroken = false;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        const decoded = decoder === undefined ? { bytes: chunk } : await decoder.push(chunk);
        await this.#passBlocks(cutter.push(decoded.bytes), decoder === undefined ? undefined : chunk, encoding);
        if (cutter.heldBytes > bodyBytes) {
          isBroken = true;
          break;
        }
      }
    } catch (error) {
      if (error instanceof Ended) throw error;
      isBroken = true;
    }
    if (this.#hasLeft) throw new Ended();
    // an event without its last blank line: browsers drop it, other readers take it
    await this.#passBlocks(cutter.end(), decoder === undefined ? undefined : none, encoding);
    isBroken ||= !response.complete;
    if (isBroken) {
      this.#end('upstream closed');
      this.#response.destroy();
      return;
    }
    if (this.#unsaid !== undefined) this.#say(1, this.#answeredHead());
    this.#isEnded = true;
    this.#response.end();
  }

  /** The events of one chunk: recorded side by side, delivered in order. Of an encoded stream the chunk goes on once all events in it may. */
  async #passBlocks(blocks: SseBlock[], chunk: Buffer | undefined, encoding: string | undefined): Promise<void> {
    if (blocks.length > 0) await this.#channel.room();
    const pending = blocks.map((block) => {
      // priming events, comments and what keeps connections alive say nothing to anybody; they go on in their turn
      const isMessage = block.data !== undefined && block.data.length > 0;
      if (!isMessage) return { block, outcome: undefined };
      const endpoint = block.event === 'endpoint' ? this.#endpoint(block) : undefined;
      const head = this.#answeredHead({ sse: sseOf(block), ...(encoding === undefined || chunk === undefined ? {} : { encoding }) });
      if (endpoint === undefined) return { block, outcome: this.#channel.send(1, this.#id, head, block.data) };
      // where the client is to send its messages names a session from here on
      const outcome = this.#channel.send(1, this.#id, { ...head, begins: endpoint.session });
      this.#common = { ...this.#common, session: endpoint.session };
      return { block, raw: endpoint.raw, outcome };
    });
    const units: number[] = [];
    for (const { block, raw, outcome: due } of pending) {
      const outcome = await due;
      if (outcome?.kind === 'pass') this.#writing.add(outcome.unit);
      if (this.#hasLeft) {
        this.#leaveUndelivered();
        throw new Ended();
      }
      if (outcome !== undefined && outcome.kind !== 'pass') {
        if (chunk !== undefined) {
          // it cannot be taken out of what is compressed
          this.#end('withheld');
          this.#upstream?.destroy();
          this.#response.destroy();
          throw new Ended();
        }
        await this.#replaceEvent(outcome, block);
        continue;
      }
      if (chunk !== undefined) {
        if (outcome !== undefined) units.push(outcome.unit);
      } else await this.#write(raw ?? block.raw, outcome === undefined ? [] : [outcome.unit]);
    }
    if (chunk !== undefined && chunk.length > 0) await this.#write(chunk, units);
  }

  /** In place of an event that may not be delivered. What the server is told instead of an answer goes to it as a client's reply does. */
  async #replaceEvent(outcome: Exclude<Outcome, { kind: 'pass' }>, block: SseBlock): Promise<void> {
    const { toSender, toReceiver } = outcome.kind === 'refused' ? outcome : answersFor(Buffer.from(block.data ?? none), outcome.reason);
    if (toSender.length > 0) this.#tellServer(toSender);
    if (toReceiver.length === 0) return;
    await this.#write(Buffer.from(`${block.id === undefined ? '' : `id: ${block.id}\n`}data: ${lineOf(toReceiver)}\n\n`), []);
  }

  #tellServer(line: Buffer): void {
    const body = Buffer.from(lineOf(line));
    const drop = new Set(['content-length', 'content-encoding', 'content-type', 'accept', 'last-event-id', 'expect']);
    const headers = pairs(forwarded(this.#request.rawHeaders, this.#to.rules)).filter(([name]) => !drop.has(name.toLowerCase()));
    const path = this.#to.endpoints.has(this.#common.session ?? '') ? this.#common.session! : this.#path;
    const own = this.#to.request('POST', path, [
      ...headers.flat(),
      ...json,
      'Accept',
      'application/json, text/event-stream',
      'Content-Length',
      String(body.length),
    ]);
    own.on('response', (answer) => answer.resume());
    own.on('error', () => undefined);
    own.end(body);
  }

  /** Resolves when the client's socket has room again. */
  async #write(bytes: Uint8Array, units: readonly number[]): Promise<void> {
    const hasRoom = this.#response.write(bytes, (error) => {
      if (error) return;
      for (const unit of units) {
        this.#writing.delete(unit);
        this.#channel.done(1, unit);
      }
    });
    if (!hasRoom && !this.#hasLeft) await Promise.race([once(this.#response, 'drain'), once(this.#response, 'close')]);
  }

  /** HTTP+SSE: the address for the client's messages. An absolute one names the upstream, where the client must not go. */
  #endpoint(block: SseBlock): { session: string; raw?: Uint8Array } | undefined {
    const said = lossyText(block.data!).trim();
    const found = this.#to.endpointAt(said, this.#path);
    if (found === undefined) return undefined;
    const { path: session, address } = found;
    this.#to.endpoints.add(session);
    // a relative one that leads to us as it stands goes on as it came
    return said === address || (address === session && !/^[a-z][a-z0-9+.-]*:/i.test(said))
      ? { session }
      : { session, raw: Buffer.from(`event: endpoint\ndata: ${address}\n\n`) };
  }

  /** An answer of ours; `why`, in a few words, is recorded with it. Without, the recorder has said itself what stands in it. */
  async #answer(status: number, headers: string[], body: string, why?: string): Promise<void> {
    if (why !== undefined) {
      const outcome = await this.#record(1, { ...this.#common, status, own: true, end: why }, undefined);
      this.#channel.done(1, outcome.unit);
    }
    this.#isEnded = true;
    if (this.#hasLeft || this.#response.headersSent) return;
    const bytes = Buffer.from(body);
    this.#response.writeHead(status, [...headers, 'Content-Length', String(bytes.length)]);
    this.#response.end(bytes);
  }

  /** Nothing more comes on this stream, before its time. Said once. */
  #end(reason: string): void {
    if (this.#isEnded || this.#unsaidBegin) return;
    this.#isEnded = true;
    this.#leaveUndelivered(reason);
  }

  /** The request itself is not recorded yet, and says it with its own frame. */
  get #unsaidBegin(): boolean {
    return this.#upstream === undefined;
  }

  #leaveUndelivered(reason = 'client closed'): void {
    const units = [...this.#writing].toSorted((a, b) => a - b);
    this.#writing.clear();
    for (const unit of units) this.#channel.done(1, unit);
    this.#isEnded = true;
    this.#say(1, this.#answeredHead({ end: reason, ...(units.length === 0 ? {} : { undelivered: [units[0]!, units.at(-1)!] }) }));
  }

  /** A defect of ours, or of Node: this stream alone ends. */
  fail(error: Error): void {
    this.#upstream?.destroy();
    this.#end(`failed: ${error.message}`);
    if (!this.#response.headersSent && !this.#hasLeft) {
      this.#response.writeHead(502, text);
      this.#response.end('sworn failed on this request\n');
    } else this.#response.destroy();
  }
}

/** The response, or what kept it from coming. */
async function firstOf(upstream: ClientRequest, timeoutMs: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const timer =
      timeoutMs === 0 ? undefined : setTimeout(() => upstream.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })), timeoutMs);
    upstream.on('response', (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    upstream.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    upstream.on('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
  });
}

/** What of an event is not in its data. Its frame is rebuilt from both: where the envelope is the usual one, it goes without saying. */
function sseOf({ event, id, retryMs, envelope }: SseBlock): Record<string, unknown> {
  const usual = `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}data: \n\n`;
  const shown = lossyText(envelope);
  return {
    ...(event === undefined || event === 'message' ? {} : { event }),
    ...(id === undefined ? {} : { id: id.slice(0, recordedHeaderChars) }),
    ...(retryMs === undefined ? {} : { retryMs }),
    ...(shown === usual ? {} : { envelope: shown.slice(0, recordedHeaderChars) }),
  };
}

function header(message: IncomingMessage, name: string): string | undefined {
  const value = message.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

function pairs(raw: readonly string[]): [string, string][] {
  return Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i]!, raw[2 * i + 1]!]);
}

function lineOf(lines: Buffer): string {
  return lines.toString().trimEnd();
}
