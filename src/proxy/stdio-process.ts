/**
 * One process of a server over stdio, for the sessions that share it, and who waits for what of it.
 *
 * What must stay true: a message goes on as it came. Only what another client uses at the same time in the same process, an id or a progress token, is another one
 * there, and comes back as it was; every other byte stays. What the server says goes to whom it is for, and where that cannot be known to nobody: a client
 * never sees what the server asks of another one.
 */
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { concat } from '../bytes/bytes.ts';
import { LineSplitter } from '../frames/lines.ts';
import { bodyBytes } from '../limits.ts';
import { readMessage, type Batch, type Message } from '../mcp/message.ts';
import { placeOf } from '../mcp/place.ts';
import { signalGroup, spawnServer, type ServerProcess } from '../server-process.ts';

const lineEnd = Buffer.from('\n');
/** Between the end of its input, SIGTERM and SIGKILL. */
const endMs = 2_000;
/** Messages that wait for a stream. */
const unheardMost = 64;

const progressPaths = { asked: ['params', '_meta', 'progressToken'], said: ['params', 'progressToken'] };
const subscriptionPath = ['params', '_meta', 'io.modelcontextprotocol/subscriptionId'];

interface Waiting {
  /** Of the legacy era. */
  session: string | undefined;
  response: ServerResponse;
  isModern: boolean;
  /** As the client wrote it, and as the process knows it. */
  id: Token;
  progress: Token | undefined;
}

interface Token {
  own: string;
  there: string;
}

export class StdioProcess {
  readonly #process: ServerProcess;
  readonly #lines = new LineSplitter(bodyBytes);
  /** By the key (`Message.idKey`) of the id that the process knows. */
  readonly #waiting = new Map<string, Waiting>();
  readonly #streams = new Map<ServerResponse, string>();
  /** What the process asks, by the key of its id, and of whom. */
  readonly #asked = new Map<string, string | undefined>();
  /** What the process says to nobody in particular, while no stream is open. */
  #unheard: Buffer[] = [];
  #problem = 'the server has ended';
  /** Those that have not taken what they were given. */
  readonly #full = new Set<ServerResponse>();
  readonly #patienceMs: number | undefined;
  #isEnding = false;
  isOver = false;
  usedAt = performance.now();
  readonly gone: Promise<void>;

  /** @param failed the process did not start @param patienceMs how long one client may keep all others waiting; absent: there are no others */
  constructor(command: readonly string[], failed: (problem: string) => void, patienceMs?: number) {
    this.#patienceMs = patienceMs;
    const process = spawnServer(command);
    this.#process = process;
    this.gone = new Promise((done) => {
      const over = (): void => {
        this.isOver = true;
        for (const { response, id } of this.#waiting.values()) this.#say(response, errorLine(id.own, this.#problem), true, 502);
        this.#waiting.clear();
        for (const stream of this.#streams.keys()) stream.end();
        done();
      };
      process.on('error', (error: Error) => {
        this.#problem = `the server cannot be started: ${error.message}`;
        if (process.pid !== undefined) return;
        failed(this.#problem);
        over();
      });
      process.on('close', over);
    });
    process.stdin.on('error', () => undefined);
    process.stdout.on('data', (chunk: Buffer) => {
      for (const { bytes, more } of this.#lines.push(chunk)) {
        // longer than anything that is carried
        if (more) this.#process.kill('SIGTERM');
        else if (bytes.length > 0) this.#heard(Buffer.from(bytes));
      }
    });
  }

  get isBusy(): boolean {
    return this.#waiting.size > 0 || this.#streams.size > 0;
  }

  /** A message from a client. A request is answered on `response`; anything else is taken. */
  take(body: Buffer, frame: Message | Batch, session: string | undefined, response: ServerResponse): void {
    this.usedAt = performance.now();
    if (this.isOver) return problem(response, 502, -32000, this.#problem);
    const items = frame.type === 'batch' ? frame.items : [{ range: [0, body.length] as const, message: frame }];
    const kept: Uint8Array[] = [];
    let isChanged = false;
    let waits = false;
    for (const { range, message } of items) {
      const item = body.subarray(...range);
      let there: Uint8Array | undefined = item;
      if (message.type === 'request' && message.idKey !== undefined) {
        there = this.#request(item, message, session, response);
        waits = true;
      } else if (message.cancels !== undefined) there = this.#cancellation(item, message.cancels, session);
      else if (message.type === 'result' || message.type === 'error') there = this.#reply(item, message, session);
      isChanged ||= there !== item;
      if (there !== undefined) kept.push(there);
    }
    const line = !isChanged || frame.type !== 'batch' ? (isChanged ? kept[0] : body) : listOf(kept);
    if (line !== undefined) this.#write(withoutLineEnds(line));
    if (!waits) response.writeHead(202).end();
  }

  /** As the process is to have it. */
  #request(item: Uint8Array, message: Message, session: string | undefined, response: ServerResponse): Uint8Array {
    const own = message.id!;
    const fresh = this.#waiting.has(message.idKey!) ? freshText() : undefined;
    const key = fresh === undefined ? message.idKey! : `s${fresh}`;
    const id: Token = { own, there: fresh === undefined ? own : JSON.stringify(fresh) };
    const ownProgress = textAt(item, progressPaths.asked);
    const isTaken = ownProgress !== undefined && [...this.#waiting.values()].some(({ progress }) => isSame(progress?.there, ownProgress));
    const progress = ownProgress === undefined ? undefined : { own: ownProgress, there: isTaken ? JSON.stringify(freshText()) : ownProgress };
    const waiting: Waiting = { session, response, isModern: message.era === 'modern', id, progress };
    this.#waiting.set(key, waiting);
    response.on('close', () => {
      if (response.writableFinished || this.#waiting.get(key) !== waiting) return;
      this.#waiting.delete(key);
      // in the legacy era who leaves has not cancelled
      if (waiting.isModern) this.#write(Buffer.from(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id.there}}}`));
    });
    return replaced(replaced(item, ['id'], id), progressPaths.asked, progress);
  }

  /**
   * Of a request of the same session, under the id that it has there. Nobody cancels what another one asked; without a session nobody can say whose it is, and closing
   * the stream is what cancels (MCP 2026-07-28).
   */
  #cancellation(item: Uint8Array, cancels: string, session: string | undefined): Uint8Array | undefined {
    if (session === undefined) return undefined;
    const own = textAt(item, ['params', 'requestId']);
    const asked = [...this.#waiting.values()].find((one) => one.session === session && isSame(one.id.own, own));
    if (asked !== undefined) return replaced(item, ['params', 'requestId'], asked.id);
    return this.#waiting.has(cancels) ? undefined : item;
  }

  /** Only who was asked answers. */
  #reply(item: Uint8Array, { idKey }: Message, session: string | undefined): Uint8Array | undefined {
    if (idKey === undefined || !this.#asked.has(idKey) || this.#asked.get(idKey) !== session) return undefined;
    this.#asked.delete(idKey);
    return item;
  }

  /** A stream for what the server says by itself. */
  listen(session: string, response: ServerResponse): void {
    this.usedAt = performance.now();
    if (this.isOver) return problem(response, 404, -32001, this.#problem);
    begin(response);
    this.#streams.set(response, session);
    response.on('close', () => this.#streams.delete(response));
    for (const line of this.#unheard.splice(0)) {
      const message = readMessage(line);
      if (message.type === 'request' && message.idKey !== undefined) this.#asked.set(message.idKey, session);
      this.#give(response, event(line));
    }
  }

  #write(line: Uint8Array): void {
    this.#process.stdin.write(concat(line, lineEnd));
  }

  #heard(line: Buffer): void {
    const message = readMessage(line);
    // the requests of a client's batch may have been several clients' for all that we know of a reply
    if (message.type === 'batch') {
      for (const { range } of message.items) this.#heard(line.subarray(...range));
      return;
    }
    if (message.type === 'result' || message.type === 'error') return this.#answered(line, message);
    if (message.type === 'request') return this.#question(line, message);
    const related = this.#relatedTo(line);
    if (related !== undefined) return this.#say(related.to.response, related.line, false);
    const streams = new Map([...this.#streams].map(([stream, session]) => [session, stream]));
    const [only, ...others] = this.#sessions();
    if (streams.size > 0) for (const stream of streams.values()) this.#give(stream, event(line));
    else if (only !== undefined && others.length === 0) this.#say(this.#lastOf(only.session)!, line, false);
    else this.#keep(line);
  }

  #answered(line: Buffer, { idKey }: Message): void {
    const waiting = idKey === undefined ? undefined : this.#waiting.get(idKey);
    if (waiting === undefined) return;
    this.#waiting.delete(idKey!);
    const { response, id } = waiting;
    const isLast = ![...this.#waiting.values()].some((one) => one.response === response);
    this.#say(response, replaced(line, ['id'], back(id)), isLast);
  }

  /** Something that the server asks. Where several clients have something under way, it cannot be known of whom. */
  #question(line: Buffer, { id, idKey }: Message): void {
    const waiting = this.#sessions();
    const candidates = waiting.length > 0 ? waiting : [...new Set(this.#streams.values())].map((session) => ({ session }));
    if (candidates.length > 1) {
      if (id !== undefined) this.#write(errorLine(id, 'several clients share this server, and which of them is asked cannot be known', -32603));
      return;
    }
    const [only] = candidates;
    if (only === undefined) return this.#keep(line);
    if (idKey !== undefined) this.#asked.set(idKey, only.session);
    const stream = [...this.#streams].findLast(([, session]) => session === only.session)?.[0];
    if (stream === undefined) this.#say(this.#lastOf(only.session)!, line, false);
    else this.#give(stream, event(line));
  }

  /** Those with something under way; each request without a session is somebody's own. */
  #sessions(): { session: string | undefined }[] {
    const found = new Map<unknown, { session: string | undefined }>();
    for (const waiting of this.#waiting.values()) found.set(waiting.session ?? waiting, waiting);
    return [...found.values()];
  }

  #lastOf(session: string | undefined): ServerResponse | undefined {
    return [...this.#waiting.values()].findLast((one) => one.session === session)?.response;
  }

  #keep(line: Buffer): void {
    if (this.#unheard.length < unheardMost) this.#unheard.push(line);
  }

  /** Whose request a notification is about: it names its progress token, or its subscription. */
  #relatedTo(line: Buffer): { to: Waiting; line: Uint8Array } | undefined {
    if (!line.includes('progressToken') && !line.includes('subscriptionId')) return undefined;
    const all = [...this.#waiting.values()];
    const subscription = textAt(line, subscriptionPath);
    const subscribed = all.find(({ id }) => isSame(id.there, subscription));
    if (subscribed !== undefined) return { to: subscribed, line: replaced(line, subscriptionPath, back(subscribed.id)) };
    const token = textAt(line, progressPaths.said);
    const reported = token === undefined ? undefined : all.find(({ progress }) => isSame(progress?.there, token));
    return reported === undefined ? undefined : { to: reported, line: replaced(line, progressPaths.said, back(reported.progress!)) };
  }

  /** As a body if it is all that there is to say, else as an event of a stream. */
  #say(response: ServerResponse, line: Uint8Array, isLast: boolean, status = 200): void {
    if (response.destroyed) return;
    if (isLast && !response.headersSent) {
      response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': line.length });
      response.end(line);
      return;
    }
    if (!response.headersSent) begin(response);
    this.#give(response, event(line));
    if (isLast) response.end();
  }

  /**
   * A client that takes nothing keeps the server from saying more, as over stdio. Where others share the server, it is not waited for long: its stream is broken off,
   * and it knows that something is missing.
   */
  #give(response: ServerResponse, bytes: Uint8Array): void {
    if (response.write(bytes) || this.#full.has(response) || this.#isEnding) return;
    this.#full.add(response);
    this.#process.stdout.pause();
    const timer = this.#patienceMs === undefined ? undefined : setTimeout(() => response.destroy(), this.#patienceMs);
    const freed = (): void => {
      clearTimeout(timer);
      response.off('drain', freed).off('close', freed);
      this.#full.delete(response);
      if (this.#full.size === 0) this.#process.stdout.resume();
    };
    response.on('drain', freed).on('close', freed);
  }

  /** Until the server has taken what it was sent: whoever reads more for it without asking would fill our memory. */
  async room(): Promise<void> {
    const { stdin } = this.#process;
    while (stdin.writableNeedDrain && !this.isOver && !this.#isEnding) {
      await Promise.race([this.gone, new Promise<void>((done) => stdin.once('drain', done).once('close', done))]);
    }
  }

  /** As an MCP client ends a server (MCP, stdio, shutdown): the end of its input, then SIGTERM, then SIGKILL. */
  async end(): Promise<void> {
    const { pid } = this.#process;
    this.#isEnding = true;
    // its end is behind all that it has said
    this.#process.stdout.resume();
    this.#process.stdin.end();
    const after = (ms: number, signal: NodeJS.Signals): NodeJS.Timeout => setTimeout(() => pid !== undefined && signalGroup(pid, signal), ms);
    const timers = [after(endMs, 'SIGTERM'), after(2 * endMs, 'SIGKILL')];
    await this.gone;
    for (const timer of timers) clearTimeout(timer);
    // what it started and left behind
    if (pid !== undefined) signalGroup(pid, 'SIGTERM');
  }
}

/** An answer of ours. */
export function problem(response: ServerResponse, status: number, code: number, message: string): void {
  if (response.headersSent) return void response.destroy();
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));
}

function begin(response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform', 'X-Accel-Buffering': 'no' });
  response.flushHeaders();
}

function event(line: Uint8Array): Uint8Array {
  return concat(Buffer.from('event: message\ndata: '), line, Buffer.from('\n\n'));
}

/** JSON may have line ends between its tokens, and nowhere else. */
function withoutLineEnds(body: Uint8Array): Uint8Array {
  if (!body.includes(0x0a) && !body.includes(0x0d)) return body;
  return body.map((byte) => (byte === 0x0a || byte === 0x0d ? 0x20 : byte));
}

/** Nobody else has it. */
function freshText(): string {
  return `sworn-${randomUUID()}`;
}

/** `1` and `1.0` are one number to who sends it back. */
function isSame(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a === b || plain(a) === plain(b);
}

function plain(token: string): string {
  try {
    return JSON.stringify(JSON.parse(token));
  } catch {
    return token;
  }
}

function listOf(items: readonly Uint8Array[]): Uint8Array | undefined {
  if (items.length === 0) return undefined;
  return concat(Buffer.from('['), ...items.flatMap((item, i) => (i === 0 ? [item] : [Buffer.from(','), item])), Buffer.from(']'));
}

function back({ own, there }: Token): Token {
  return { own: there, there: own };
}

/** The text of a value, as it was written. */
function textAt(json: Uint8Array, path: readonly string[]): string | undefined {
  const place = placeOf(json, path);
  return place === undefined ? undefined : Buffer.from(json.subarray(...place)).toString();
}

function replaced(json: Uint8Array, path: readonly string[], token: Token | undefined): Uint8Array {
  if (token === undefined || token.own === token.there) return json;
  const place = placeOf(json, path);
  return place === undefined ? json : concat(json.subarray(0, place[0]), Buffer.from(token.there), json.subarray(place[1]));
}

function errorLine(idToken: string, message: string, code = -32000): Buffer {
  return Buffer.from(`{"jsonrpc":"2.0","id":${idToken},"error":${JSON.stringify({ code, message })}}`);
}
