/**
 * ★ The life of one HTTP exchange in the proxy, a stream of its connection, read from top to bottom: receive → record → forward → record → answer.
 *
 * What must stay true:
 *   1. Nothing of a request reaches the upstream, and no message of a response its client, before the recorder let it.
 *   2. What goes on are the bytes that came. Whatever is read, is read in a copy: bodies and events are decoded for the record alone.
 *   3. Order within a stream is the order in which it came. An event waits for those before it, and for nothing on other streams. One that waits for a person is out of
 *      its line: those behind it go on, and it comes between two of them. Of a compressed stream nothing can be taken out: all of that waits.
 *   4. Who leaves ends the other side at once: a client that closes while its request is not yet recorded never asked.
 *   5. We say nothing ourselves but refusals, 403, 401, 408, 413, 502, 503, 504, and what HTTP itself wants of a server.
 *   6. When a stream is over, each of its frames is with its receiver, or is said not to be: one that stays open would keep the deliveries of all others unknown.
 * If we die here: what was recorded and not delivered shows as delivery unconfirmed.
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { createHash } from 'node:crypto';
import { lossyText } from '../bytes/bytes.ts';
import { SseCutter, type SseBlock } from '../frames/sse.ts';
import { bodyBytes, recordedHeaderChars } from '../limits.ts';
import type { Channel, Decided, Outcome } from '../wire/channel.ts';
import { answersFor } from '../wire/unrecorded.ts';
import type { DirectionIndex, Head } from '../wire/wire.ts';
import type { BodyBudget } from './budget.ts';
import { ContentDecoder, decodeContent, isEncoded } from './encoding.ts';
import { forwarded, recorded, withoutSecrets, withoutSet, type HeaderRules } from './headers.ts';
import type { PublicAddress } from './oauth.ts';
import { goingOn, type HeaderMemory, type SeenHeaders } from './seen-headers.ts';

/** Who sent the request, named to the recorder before the first frame. */
export interface Sender {
  who: string;
  /** What its head says. */
  headers: SeenHeaders;
  /** It may not go on: what we answer. */
  refusal?: { status: number; challenge: string; reason: string };
}

/** Where a stream goes. */
export interface Destination {
  readonly channel: Channel;
  /** Of a request to this path. */
  rulesAt(path: string): HeaderRules;
  /** Message endpoints of HTTP+SSE sessions (2024-11-05) that were told to clients, and what says something to the client of each; false: nothing can be. */
  readonly endpoints: Map<string, (lines: Buffer) => boolean>;
  /** Begins a request to the upstream; `headers` are those of the client that go on. */
  request(method: string, path: string, headers: readonly string[]): ClientRequest;
  /** An address that the upstream tells its clients: its path there, and as clients of ours reach it; `undefined` where it is elsewhere. */
  endpointAt(address: string, path: string): { path: string; address: string } | undefined;
  /** A request of the session waits for a person: it shall not expire for that, where it is up to us, until what comes back is called. */
  keep(session: string): () => void;
  /** What its answers said. */
  readonly headers: HeaderMemory;
  /** We end what does not end by itself. */
  readonly isStopping: boolean;
  /** Until the first byte of a response's head; 0: for ever. */
  readonly upstreamTimeoutMs: number;
  /** What the upstream says of its own address in OAuth metadata is said of ours. Absent: it goes on as it came. */
  readonly publicAddress?: PublicAddress | undefined;
}

const none = Buffer.alloc(0);
const nothing = (): void => undefined;
const json = ['Content-Type', 'application/json'];
const text = ['Content-Type', 'text/plain; charset=utf-8'];
/** The rest of the request is not read: nothing else can come on this connection. */
const closing = ['Connection', 'close'];
/** We have answered it. */
const ofOurAnswer = ['expect'];
/** What no trailer may say: where a message goes, and what its body is (RFC 9110 §6.5.1). */
const ofNoTrailer = ['host', 'content-length', 'content-encoding', 'content-type', 'content-range'];
const ofAnotherBody = ['content-length', 'content-encoding', 'expect'];
const ofAnotherMessage = [...ofAnotherBody, 'content-type', 'accept', 'last-event-id'];
/** Of what is no header and stands in a head. */
const shownChars = 512;

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
  const stream = new Stream(request, response, sender, to, path, budget);
  try {
    await stream.run();
  } catch (error) {
    if (!(error instanceof Ended)) stream.fail(error as Error);
  }
  await stream.over();
}

/** What the server says, and the headers that are said in place of its own. */
interface Answered {
  response: IncomingMessage;
  seen: SeenHeaders;
  rawHeaders: readonly string[] | undefined;
}

/** What came of a request's body. */
interface Received {
  /** Absent where the request has none. */
  bytes: Buffer | undefined;
  /** Why it did not come whole. */
  problem?: 'client closed' | 'body too large' | 'body too slow';
}

class Stream {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #budget: BodyBudget;
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
  /** Where the client of this stream sends its messages (HTTP+SSE). */
  #endpointPath: string | undefined;
  readonly #closed: Promise<unknown>;
  /** The client has all that it is to get. */
  #isSent = false;
  #hasLeft = false;
  #isClosed = false;
  /** Nothing of our own can come between the events of its answer. */
  #isEncoded = false;
  /** Nothing more comes, before its time: why. */
  #ending: string | undefined;
  /** The record says so. */
  #saidEnd = false;
  /** Handed over, and nothing said of them yet. */
  readonly #due = new Set<Promise<Outcome>>();
  /** Let go, and not with their receivers. */
  readonly #open: readonly [Set<number>, Set<number>] = [new Set(), new Set()];

  constructor(request: IncomingMessage, response: ServerResponse, sender: Sender, to: Destination, path: string, budget: BodyBudget) {
    this.#request = request;
    this.#response = response;
    this.#budget = budget;
    this.#sender = sender;
    this.#to = to;
    this.#channel = to.channel;
    this.#path = path;
    this.#id = to.channel.nextStream();
    const session = sender.headers.list.values['mcp-session-id'] ?? (to.endpoints.has(path) ? path : undefined);
    this.#common = { who: sender.who, ...(session === undefined ? {} : { session: sessionName(session) }) };
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    this.#closed = new Promise((done) => {
      const closed = (): void => {
        done(undefined);
        // nobody is there any more for what waits for a person
        this.#isClosed = true;
        this.#channel.giveUp(this.#id);
        if (this.#isSent) return;
        this.#hasLeft = true;
        this.#ending ??= to.isStopping ? 'proxy stopped' : 'client closed';
        // at once, in both eras: for 2026-07-28 it is what cancels the request
        this.#upstream?.destroy();
      };
      // while it was looked who it is
      if (response.destroyed) closed();
      else response.on('close', closed);
    });
  }

  async run(): Promise<void> {
    const budget = this.#budget;
    const { method = 'GET', rawHeaders } = this.#request;
    const { headers: seen, refusal } = this.#sender;
    const { charset, values } = seen.list;
    const asked: Head = {
      ...this.#common,
      ...(charset === undefined ? {} : { charset }),
      method,
      path: withoutSecrets(this.#path).slice(0, recordedHeaderChars),
      headers: seen.recorded,
    };
    if (refusal !== undefined) {
      const why = refusal.status === 403 ? 'not allowed' : 'not authenticated';
      await this.#goesNowhere({ ...asked, end: why });
      const headers = refusal.challenge === '' ? text : [...text, 'WWW-Authenticate', refusal.challenge];
      return this.#answer(refusal.status, headers, `${refusal.reason}\n`, why);
    }

    // 1. Receive all of the request: it goes on as a whole or not at all.
    const received = this.#receivedWhole(budget) ?? (await this.#receive(budget));
    const sizeBytes = received.bytes?.length ?? 0;
    const release = atMostOnce(() => budget.give(sizeBytes));
    let releaseCopy = nothing;
    try {
      const { problem } = received;
      if (problem === 'body too large' || problem === 'body too slow') {
        await this.#goesNowhere({ ...asked, end: problem });
        if (problem === 'body too slow')
          return await this.#answer(408, [...text, ...closing], `nothing of the body came for ${budget.silenceMs} ms\n`, problem);
        return await this.#answer(413, [...text, ...closing], `the body has more than ${bodyBytes} bytes\n`, problem);
      }
      // 2. Record it, decoded where it is encoded, before any of it goes on.
      const { rawTrailers } = this.#request;
      if (rawTrailers.length > 0) asked.headers = recorded([...rawHeaders, ...rawTrailers]);
      const encoding = values['content-encoding'];
      const { copy, release: recordedIt } = isEncoded(encoding)
        ? await this.#readable(received.bytes, encoding, asked)
        : { copy: received.bytes, release: nothing };
      releaseCopy = recordedIt;
      // what its client had said when it left goes nowhere
      if (problem !== undefined) return await this.#goesNowhere({ ...asked, end: problem }, copy);
      let outcome = await this.#record(0, asked, copy, rawTrailers.length > 0 ? undefined : seen.text);
      recordedIt();
      if (outcome.kind === 'aside') {
        // the recorder bounds what waits for a person: bodies that are received shall not wait for that
        release();
        const session = values['mcp-session-id'];
        const expires = session === undefined ? nothing : this.#to.keep(session);
        outcome = await outcome.decided;
        expires();
      }
      if (this.#hasLeft) return;
      if (outcome.kind !== 'pass') return await this.#refused(outcome, copy ?? none, received.bytes !== undefined);

      // 3. Forward it.
      const answered = this.#forward(received.bytes, () => {
        this.#done(0, outcome.unit);
        release();
      });
      received.bytes = undefined;
      await this.#pass(answered);
    } finally {
      releaseCopy();
      release();
    }
  }

  /** All of a request that came in one piece, as small ones do; nothing where more is to come, or to be waited for. */
  #receivedWhole(budget: BodyBudget): Received | undefined {
    const request = this.#request;
    if (!request.complete || request.destroyed || budget.isFull) return undefined;
    // Node hands on what it has with one `read`, joined
    const bytes = (request.read() as Buffer | null) ?? undefined;
    if (bytes !== undefined) budget.take(bytes.length);
    return { bytes: bytes ?? (this.#announcesBody ? none : undefined) };
  }

  get #announcesBody(): boolean {
    const { raw, list } = this.#sender.headers;
    return list.codings.length > 0 || (list.lengthAt !== undefined && Number(raw[list.lengthAt]) > 0);
  }

  /** The whole body, or what came of it. */
  #receive(budget: BodyBudget): Promise<Received> {
    const request = this.#request;
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    return new Promise((done) => {
      let isOver = false;
      const finish = (problem?: Received['problem']): void => {
        isOver = true;
        clearTimeout(silence);
        request.off('data', take).off('end', end).off('close', end);
        const hasBody = sizeBytes > 0 || this.#announcesBody;
        done({ bytes: hasBody ? joined(chunks) : undefined, ...(problem === undefined ? {} : { problem }) });
      };
      const end = (): void => finish(request.complete ? undefined : 'client closed');
      const slow = (): void => finish('body too slow');
      let silence = setTimeout(slow, budget.silenceMs);
      const take = (chunk: Buffer): void => {
        if (sizeBytes + chunk.length > bodyBytes) return finish('body too large');
        silence.refresh();
        sizeBytes += chunk.length;
        budget.take(chunk.length);
        chunks.push(chunk);
        if (!budget.isFull) return;
        // it is us who do not read
        request.pause();
        clearTimeout(silence);
        void budget.room().then(() => {
          if (isOver) return;
          silence = setTimeout(slow, budget.silenceMs);
          request.resume();
        });
      };
      if (request.destroyed) end();
      else request.on('data', take).on('end', end).on('close', end);
    });
  }

  /** What of a body is recorded: as it can be read, or as it came where it cannot be decoded. `release`: once it is recorded. */
  async #readable(
    body: Buffer | undefined,
    encoding: string | undefined,
    head: Head,
  ): Promise<{ copy: Uint8Array | undefined; release: () => void }> {
    if (body === undefined || !isEncoded(encoding)) return { copy: body, release: nothing };
    const { decoded, release } = await this.#budget.decoded(() => decodeContent(body, encoding, bodyBytes));
    const { bytes, problem } = decoded;
    head.encoding = encodingName(encoding!, problem);
    if (problem === undefined) return { copy: bytes, release };
    release();
    return { copy: body, release: nothing };
  }

  /** Hands a frame over, once there is room for it. @param headersText the head's headers as JSON, where that is at hand */
  #record(direction: DirectionIndex, head: Head, bytes: Uint8Array | undefined, headersText?: string): Promise<Outcome> {
    if (this.#channel.isFull) return this.#channel.room().then(() => this.#send(direction, head, bytes, headersText));
    return this.#send(direction, head, bytes, headersText);
  }

  #send(direction: DirectionIndex, head: Head, bytes: Uint8Array | undefined, headersText?: string): Promise<Outcome> {
    const due = this.#channel.send(direction, this.#id, head, bytes, headersText).then((outcome) => {
      this.#due.delete(due);
      if (outcome.kind !== 'aside') return this.#owes(direction, outcome);
      const decided = outcome.decided.then((what) => this.#owes(direction, what));
      // it was said too late for whoever left
      if (this.#isClosed) this.#channel.giveUp(this.#id);
      return { ...outcome, decided };
    });
    this.#due.add(due);
    return due;
  }

  /** What may go must get there, or be named; so must what waited for a person until nobody was there any more. */
  #owes(direction: DirectionIndex, decided: Decided): Decided {
    if (decided.kind === 'pass' || decided.kind === 'given up') this.#open[direction].add(decided.unit);
    return decided;
  }

  /** Its receiver has it. */
  #done(direction: DirectionIndex, unit: number): void {
    if (this.#open[direction].delete(unit)) this.#channel.done(direction, unit);
  }

  /** A request that is recorded, with why, and not let on its way. */
  async #goesNowhere(head: Head, bytes?: Uint8Array): Promise<void> {
    this.#saidEnd = true;
    await this.#channel.room();
    const { kind, unit } = await this.#channel.send(0, this.#id, head, bytes);
    if (kind === 'aside') {
      // whoever would be asked would decide over nothing
      this.#channel.giveUp(this.#id);
      this.#say(0, { undelivered: [unit, unit] });
    }
    this.#channel.over(0, unit);
  }

  /** Something that is no message, which nobody waits for. */
  #say(direction: DirectionIndex, head: Partial<Head>): void {
    this.#channel.say(direction, this.#id, { ...this.#common, ...head });
  }

  /** The request may not go on. A reply of the client's that may not is replaced for the server that waits for it. */
  async #refused(outcome: Exclude<Decided, { kind: 'pass' }>, copy: Uint8Array, hasBody: boolean): Promise<void> {
    if (outcome.kind === 'given up') return;
    if (outcome.kind === 'unrecordable') {
      const { toSender } = answersFor(Buffer.from(copy), outcome.reason);
      return this.#answer(503, toSender.length > 0 ? json : text, toSender.length > 0 ? documentOf(toSender) : `not recorded: ${outcome.reason}`);
    }
    const { toSender, toReceiver } = outcome;
    if (toReceiver.length > 0) return this.#pass(this.#forward(Buffer.from(documentOf(toReceiver)), () => undefined, true));
    if (toSender.length === 0) return this.#answer(hasBody ? 202 : 503, [], '');
    const isUnrecorded = toSender.includes('"code":5030');
    // in HTTP+SSE nobody reads what a POST is answered with
    if (this.#to.endpoints.get(this.#path)?.(toSender) === true) return this.#answer(202, [], '');
    return this.#answer(isUnrecorded ? 503 : 200, json, documentOf(toSender));
  }

  /** `flushed`: the server has all of it. Resolves with what it answers, or why it does not. */
  #forward(body: Buffer | undefined, flushed: () => void, isReplaced = false): Promise<IncomingMessage | NodeJS.ErrnoException> {
    const { method = 'GET', rawTrailers } = this.#request;
    const headers = goingOn(this.#sender.headers, this.#to.rulesAt(this.#path), isReplaced ? ofAnotherBody : ofOurAnswer);
    // How the body ends is said anew where it was said for the last connection alone: without, what is in it would be the next request.
    if (!headers.some((name, i) => i % 2 === 0 && name.length === 14 && name.toLowerCase() === 'content-length')) {
      if (isReplaced) headers.push('Content-Length', String(body!.length));
      else if (body !== undefined) headers.push('Transfer-Encoding', 'chunked');
      else if (!/^(?:GET|HEAD|DELETE|OPTIONS|TRACE)$/.test(method)) headers.push('Content-Length', '0');
    }
    const upstream = this.#to.request(method, this.#path, headers);
    this.#upstream = upstream;
    const answered = firstOf(upstream, this.#to.upstreamTimeoutMs);
    if (rawTrailers.length > 0 && !isReplaced) upstream.addTrailers(pairs(trailersOf(rawTrailers, this.#to.rulesAt(this.#path))));
    endWith(upstream, body ?? none, () => {
      // Node says so, too, of what it could not send
      if (upstream.socket?.destroyed !== true) flushed();
    });
    return answered;
  }

  /** 4. What the server answers is recorded before its client has it. */
  async #pass(answered: Promise<IncomingMessage | NodeJS.ErrnoException>): Promise<void> {
    const response = await answered;
    if (this.#hasLeft) throw new Ended();
    if (response instanceof Error) {
      const { code, message } = response;
      const isLate = code === 'ETIMEDOUT';
      const what = isLate ? 'did not answer in time' : 'cannot be reached';
      return this.#answer(isLate ? 504 : 502, text, `the server ${what} (${code ?? message})\n`, `the server ${what}`);
    }
    const { method } = this.#request;
    const seen = this.#to.headers.read(response.rawHeaders);
    const { 'mcp-session-id': begins, 'content-type': type = '' } = seen.list.values;
    const challenge = this.#to.publicAddress?.challenge(response.rawHeaders);
    this.#unsaid = {
      status: response.statusCode!,
      headers: seen.recorded,
      ...(challenge === undefined ? {} : { rewritten: { resource_metadata: challenge.resourceMetadata } }),
      ...(begins === undefined || this.#common.session !== undefined ? {} : { begins: sessionName(begins) }),
    };
    const isStream = /^text\/event-stream\b/i.test(type) && method !== 'HEAD';
    const answer = { response, seen, rawHeaders: challenge?.rawHeaders };
    if (isStream) await this.#passEvents(answer);
    else await this.#passBody(answer, method === 'HEAD');
  }

  /** The head of the next frame from the server: the first one says what the response said. */
  #answeredHead(more: Partial<Head> = {}): Head {
    const head = { ...this.#common, ...this.#unsaid, ...more };
    this.#unsaid = undefined;
    return head;
  }

  async #passBody({ response, seen, rawHeaders }: Answered, isHead: boolean): Promise<void> {
    const { body, isTooLarge } = await wholeOf(response);
    if (this.#hasLeft) throw new Ended();
    const end = isTooLarge ? 'answer too large' : response.complete ? undefined : 'upstream closed';
    const { rawTrailers } = response;
    const head = this.#answeredHead({
      ...(end === undefined ? {} : { end }),
      ...(rawTrailers.length === 0 ? {} : { headers: recorded([...response.rawHeaders, ...rawTrailers]) }),
    });
    if (end !== undefined) this.#saidEnd = true;
    const encoding = seen.list.values['content-encoding'];
    const given = body.length > 0 ? body : undefined;
    const { copy, release } = isEncoded(encoding) ? await this.#readable(given, encoding, head) : { copy: given, release: nothing };
    const isWhole = end === undefined && response.statusCode === 200 && copy !== undefined;
    const document = isWhole ? this.#to.publicAddress?.document(this.#path, rawHeaders ?? response.rawHeaders, copy) : undefined;
    if (document !== undefined) head.rewritten = { ...head.rewritten, resource: document.resource };
    const recording = this.#record(1, head, copy, rawTrailers.length === 0 ? seen.text : undefined);
    const outcome = await decidedOf(release === nothing ? recording : recording.finally(release));
    if (this.#hasLeft) throw new Ended();
    if (outcome.kind !== 'pass') return this.#withheld(outcome, copy);
    this.#writeHead(response, document?.rawHeaders ?? rawHeaders ?? seen);
    if (end !== undefined) {
      this.#response.flushHeaders();
      await this.#write(body, [outcome.unit]);
      this.#breakOff();
      return;
    }
    if (rawTrailers.length > 0) this.#response.addTrailers(pairs(trailersOf(rawTrailers)));
    this.#finish(isHead ? none : (document?.bytes ?? body), outcome.unit);
  }

  /** The client shall see that this is not all, and have what there is. */
  #breakOff(): void {
    this.#isSent = true;
    this.#response.socket?.destroySoon();
  }

  /** Nothing comes behind these bytes; `unit`: the frame that they are. */
  #finish(bytes: Buffer | string, unit?: number): void {
    const { socket } = this.#response;
    endWith(this.#response, bytes, () => {
      // Node says so, too, of what it could not send
      if (socket?.destroyed === true) return;
      this.#isSent = true;
      if (unit !== undefined) this.#done(1, unit);
    });
  }

  #writeHead(response: IncomingMessage, headers: readonly string[] | SeenHeaders): void {
    this.#response.sendDate = false;
    this.#response.writeHead(response.statusCode!, response.statusMessage, 'list' in headers ? goingOn(headers) : forwarded(headers));
  }

  /** The answer may not be delivered: who waits for it gets another one. */
  #withheld(outcome: Exclude<Decided, { kind: 'pass' }>, copy: Uint8Array | undefined): void {
    if (outcome.kind === 'given up') return;
    const line = outcome.kind === 'refused' ? outcome.toReceiver : answersFor(Buffer.from(copy ?? none), outcome.reason).toReceiver;
    const isUnrecorded = outcome.kind === 'unrecordable' || line.includes('"code":5030');
    this.#response.writeHead(isUnrecorded || line.length === 0 ? 503 : 200, line.length === 0 ? [] : json);
    this.#finish(line.length === 0 ? none : documentOf(line));
  }

  async #passEvents({ response, seen, rawHeaders }: Answered): Promise<void> {
    const encoding = seen.list.values['content-encoding'];
    const decoder = isEncoded(encoding) ? new ContentDecoder(encoding, bodyBytes) : undefined;
    this.#isEncoded = decoder !== undefined;
    const cutter = new SseCutter();
    let problem: string | undefined;
    let isBroken = false;
    this.#writeHead(response, rawHeaders ?? seen);
    this.#response.flushHeaders();
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        if (decoder === undefined) await this.#passBlocks(cutter.push(chunk));
        else {
          const decoded = await decoder.push(chunk);
          problem ??= decoded.problem;
          // what cannot be decoded is recorded as it came: it goes on as it came
          await this.#passBlocks(cutter.push(decoded.bytes), { chunk, encoding: encodingName(encoding!, problem), isOpaque: problem !== undefined });
        }
        if (cutter.heldBytes > bodyBytes) {
          isBroken = true;
          break;
        }
      }
      if (decoder !== undefined && problem === undefined) {
        const last = await decoder.end();
        await this.#passBlocks(cutter.push(last.bytes), { chunk: none, encoding: encodingName(encoding!, undefined), isOpaque: false });
        // all events were there
        if (last.problem !== undefined) this.#unsaid = { ...this.#unsaid, encoding: encodingName(encoding!, last.problem) };
      }
    } catch (error) {
      if (error instanceof Ended) throw error;
      if (!this.#hasLeft && response.errored === null) throw error;
      isBroken = true;
    } finally {
      decoder?.close();
    }
    if (this.#hasLeft) throw new Ended();
    // an event without its last blank line: browsers drop it, other readers take it
    const rest = cutter.end();
    await (decoder === undefined
      ? this.#passBlocks(rest)
      : this.#passBlocks(rest, { chunk: none, encoding: encodingName(encoding!, problem), isOpaque: false }));
    isBroken ||= !response.complete;
    // nothing more comes on this stream: who asks on it has gone
    this.#channel.giveUp(this.#id);
    if (isBroken) {
      this.#ending ??= 'upstream closed';
      this.#breakOff();
      return;
    }
    const { rawTrailers } = response;
    if (rawTrailers.length > 0) {
      this.#unsaid = { ...this.#unsaid, headers: [...(this.#unsaid?.headers ?? []), ...recorded(rawTrailers)] };
      this.#response.addTrailers(pairs(trailersOf(rawTrailers)));
    }
    this.#finish(none);
  }

  /**
   * The events of one chunk: recorded side by side, delivered in order. Of an encoded stream the chunk goes on once all events in it may; where it cannot be
   * decoded, it is a frame itself (`isOpaque`).
   */
  async #passBlocks(blocks: SseBlock[], encoded?: { chunk: Buffer; encoding: string; isOpaque: boolean }): Promise<void> {
    if (blocks.length > 0 || encoded?.isOpaque === true) await this.#channel.room();
    const said = encoded === undefined ? {} : { encoding: encoded.encoding };
    const pending: { block?: SseBlock; raw?: Uint8Array; due: Promise<Outcome> | undefined }[] = blocks.map((block) => {
      // priming events, comments and what keeps connections alive say nothing to anybody; they go on in their turn
      if (block.data === undefined || block.data.length === 0) return { block, due: undefined };
      const endpoint = block.event === 'endpoint' ? this.#endpoint(block) : undefined;
      const head = this.#answeredHead({ sse: sseOf(block), ...said });
      if (endpoint === undefined) return { block, due: this.#send(1, head, block.data) };
      // where the client is to send its messages names a session from here on: no message, and the session's id is a secret
      const session = sessionName(endpoint.session);
      const address = withoutSecrets(lossyText(block.data)).slice(0, shownChars);
      const due = this.#send(1, { ...head, sse: { event: 'endpoint', address }, begins: session }, undefined);
      this.#common = { ...this.#common, session };
      return { block, ...(endpoint.raw === undefined ? {} : { raw: endpoint.raw }), due };
    });
    if (encoded?.isOpaque === true) pending.push({ due: this.#send(1, this.#answeredHead(said), encoded.chunk) });
    const units: number[] = [];
    for (const { block, raw, due } of pending) {
      const first = await due;
      if (this.#hasLeft) throw new Ended();
      if (first?.kind === 'aside' && encoded === undefined) {
        void this.#passLater(first.decided, block!, raw);
        continue;
      }
      const outcome = first?.kind === 'aside' ? await first.decided : first;
      if (this.#hasLeft) throw new Ended();
      if (outcome !== undefined && outcome.kind !== 'pass') {
        if (encoded !== undefined) {
          // it cannot be taken out of what is compressed
          this.#ending ??= 'withheld';
          this.#upstream?.destroy();
          this.#response.destroy();
          throw new Ended();
        }
        await this.#replaceEvent(outcome, block!);
        continue;
      }
      if (encoded !== undefined) {
        if (outcome !== undefined) units.push(outcome.unit);
      } else await this.#write(raw ?? block!.raw, outcome === undefined ? [] : [outcome.unit]);
    }
    if (encoded !== undefined && (encoded.chunk.length > 0 || units.length > 0)) await this.#write(encoded.chunk, units);
  }

  /** An event that waits for a person, between two others. */
  async #passLater(due: Promise<Decided>, block: SseBlock, raw: Uint8Array | undefined): Promise<void> {
    const outcome = await due;
    if (this.#hasLeft || this.#response.writableEnded) return;
    if (outcome.kind === 'pass') await this.#write(raw ?? block.raw, [outcome.unit]);
    else await this.#replaceEvent(outcome, block);
  }

  /** Each line as an event of its own. */
  #tellClient(lines: Buffer): boolean {
    if (this.#isEncoded || this.#hasLeft || this.#response.writableEnded) return false;
    const events = lines
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => `event: message\ndata: ${line}\n\n`);
    void this.#write(Buffer.from(events.join('')), []);
    return true;
  }

  /** In place of an event that may not be delivered. What the server is told instead of an answer goes to it as a client's reply does. */
  async #replaceEvent(outcome: Exclude<Decided, { kind: 'pass' }>, block: SseBlock): Promise<void> {
    if (outcome.kind === 'given up') return;
    const { toSender, toReceiver } = outcome.kind === 'refused' ? outcome : answersFor(Buffer.from(block.data ?? none), outcome.reason);
    if (toSender.length > 0) this.#tellServer(toSender);
    if (toReceiver.length === 0) return;
    await this.#write(Buffer.from(`${block.id === undefined ? '' : `id: ${block.id}\n`}data: ${documentOf(toReceiver)}\n\n`), []);
  }

  #tellServer(line: Buffer): void {
    const body = Buffer.from(documentOf(line));
    const path = this.#endpointPath ?? this.#path;
    const headers = forwarded(this.#request.rawHeaders, this.#to.rulesAt(path), ofAnotherMessage);
    const own = this.#to.request('POST', path, [
      ...headers,
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
      if (!error) for (const unit of units) this.#done(1, unit);
    });
    if (hasRoom || this.#hasLeft) return;
    // nothing of it stays behind: a slow client of a long stream is waited for a thousand times
    await new Promise<void>((done) => {
      const response = this.#response;
      const go = (): void => {
        response.off('drain', go).off('close', go);
        done();
      };
      response.on('drain', go).on('close', go);
    });
  }

  /** HTTP+SSE: the address for the client's messages. An absolute one names the upstream, where the client must not go. */
  #endpoint(block: SseBlock): { session: string; raw?: Uint8Array } | undefined {
    const said = lossyText(block.data!).trim();
    const found = this.#to.endpointAt(said, this.#path);
    if (found === undefined) return undefined;
    const { path: session, address } = found;
    this.#to.endpoints.set(session, (lines) => this.#tellClient(lines));
    this.#endpointPath = session;
    // a relative one that leads to us as it stands goes on as it came
    return said === address || (address === session && !/^[a-z][a-z0-9+.-]*:/i.test(said))
      ? { session }
      : { session, raw: Buffer.from(`event: endpoint\ndata: ${address}\n\n`) };
  }

  /** An answer of ours; `why`, in a few words, is recorded with it. Without, the recorder has said itself what stands in it. */
  async #answer(status: number, headers: string[], body: string, why?: string): Promise<void> {
    if (why !== undefined) {
      const { unit } = await this.#record(1, { ...this.#common, status, own: true, end: why }, undefined);
      this.#done(1, unit);
    }
    if (this.#hasLeft || this.#response.headersSent) return;
    const bytes = Buffer.from(body);
    this.#response.writeHead(status, [...headers, 'Content-Length', String(bytes.length)]);
    this.#finish(bytes);
  }

  /** A defect of ours, or of Node: this stream alone ends. */
  fail(error: Error): void {
    this.#upstream?.destroy();
    this.#ending ??= `failed: ${error.message}`.slice(0, shownChars);
    if (!this.#response.headersSent && !this.#hasLeft) {
      this.#response.writeHead(502, text);
      this.#finish('sworn failed on this request\n');
    } else this.#response.destroy();
  }

  /** Resolves when nothing more can happen; what did not arrive, and an end before its time, is in the record then. */
  async over(): Promise<void> {
    await this.#closed;
    if (this.#endpointPath !== undefined) this.#to.endpoints.delete(this.#endpointPath);
    // it has answered without reading all of the request
    if (this.#upstream?.writableFinished === false) this.#upstream.destroy();
    await Promise.all(this.#due);
    const c2s = rangeOf(this.#open[0]);
    if (c2s !== undefined) {
      const isCancelled = this.#upstream === undefined && this.#ending !== 'proxy stopped';
      const end = isCancelled ? 'cancelled before delivery' : this.#ending;
      this.#say(0, { ...(end === undefined ? {} : { end }), undelivered: c2s });
      this.#saidEnd ||= end !== undefined;
    }
    const s2c = rangeOf(this.#open[1]);
    const end = this.#saidEnd ? undefined : this.#ending;
    if (end !== undefined || s2c !== undefined || this.#unsaid !== undefined)
      this.#say(1, this.#answeredHead({ ...(end === undefined ? {} : { end }), ...(s2c === undefined ? {} : { undelivered: s2c }) }));
    // `delivered` runs over them from here on: they are named
    for (const direction of [0, 1] as const) for (const unit of this.#open[direction]) this.#channel.over(direction, unit);
    this.#channel.endStream();
  }
}

async function decidedOf(due: Promise<Outcome>): Promise<Decided> {
  const outcome = await due;
  return outcome.kind === 'aside' ? outcome.decided : outcome;
}

/** From the first to the last that was let go and is with nobody. */
function rangeOf(open: ReadonlySet<number>): [number, number] | undefined {
  return open.size === 0 ? undefined : [Math.min(...open), Math.max(...open)];
}

/** A response's body, as far as it comes. With listeners: an iterator costs more than the rest of a small one. */
function wholeOf(response: IncomingMessage): Promise<{ body: Buffer; isTooLarge: boolean }> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  return new Promise((done) => {
    const end = (isTooLarge = false): void => done({ body: joined(chunks), isTooLarge });
    response.on('data', (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes <= bodyBytes) {
        chunks.push(chunk);
        return;
      }
      end(true);
      response.destroy();
    });
    response.on('end', () => end());
    response.on('error', () => end());
    response.on('close', () => end());
  });
}

/** The response, or what kept it from coming. */
async function firstOf(upstream: ClientRequest, timeoutMs: number): Promise<IncomingMessage | NodeJS.ErrnoException> {
  return new Promise((done) => {
    const late = (): void => void upstream.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' }));
    const timer = timeoutMs === 0 ? undefined : setTimeout(late, timeoutMs);
    let isAnswered = false;
    const first = (what: IncomingMessage | NodeJS.ErrnoException): void => {
      isAnswered = true;
      clearTimeout(timer);
      done(what);
    };
    upstream.on('response', first);
    upstream.on('error', first);
    upstream.on('close', () => {
      // mostly there was a response: an error, with where it was made, costs more than all else here
      if (!isAnswered) first(Object.assign(new Error('closed'), { code: 'ECONNRESET' }));
    });
  });
}

/** A session's name in a head: its id, or of one that is too long for that, a digest. */
function sessionName(id: string): string {
  return id.length <= shownChars ? id : `sha256:${createHash('sha256').update(id).digest('hex')}`;
}

function encodingName(encoding: string, problem: string | undefined): string {
  const shown = encoding.slice(0, shownChars);
  return problem === undefined ? shown : `${shown}, ${problem}`;
}

function atMostOnce(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}

/** What of an event is not in its data. Its frame is rebuilt from both: where the envelope is the usual one, it goes without saying. */
function sseOf({ event, id, retryMs, envelope }: SseBlock): Record<string, unknown> {
  const usual = `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}data: \n\n`;
  const shown = lossyText(envelope);
  return {
    ...(event === undefined || event === 'message' ? {} : { event: event.slice(0, recordedHeaderChars) }),
    ...(id === undefined ? {} : { id: id.slice(0, recordedHeaderChars) }),
    ...(retryMs === undefined ? {} : { retryMs }),
    ...(shown === usual ? {} : { envelope: shown.slice(0, recordedHeaderChars) }),
  };
}

function joined(chunks: readonly Buffer[]): Buffer {
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** Up to this size a body goes out in one write with its head, as a text of a character a byte: Node would write what are bytes apart from it. */
const oneWriteBytes = 12 * 1024;

function endWith(message: ClientRequest | ServerResponse, bytes: Buffer | string, finished: () => void): void {
  if (typeof bytes === 'string' || bytes.length === 0 || bytes.length > oneWriteBytes) message.end(bytes, finished);
  else message.end(bytes.toString('latin1'), 'latin1', finished);
}

/** Those that go on: what a header may not say to the server is nothing for a trailer either. */
function trailersOf(rawTrailers: readonly string[], rules?: HeaderRules): string[] {
  return forwarded(rawTrailers, rules === undefined ? undefined : withoutSet(rules), ofNoTrailer);
}

function pairs(raw: readonly string[]): [string, string][] {
  return Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i]!, raw[2 * i + 1]!]);
}

/** What stands in lines on stdio, as one document: of a batch each request has its line. */
function documentOf(lines: Buffer): string {
  const all = lines.toString().trimEnd().split('\n');
  return all.length === 1 ? all[0]! : `[${all.join(',')}]`;
}
