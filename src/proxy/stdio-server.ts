/**
 * A server over stdio, as a server over HTTP behind the proxy: it listens at a Unix socket that only we reach. What it says to the proxy is recorded there like any
 * other server's answers. Streamable HTTP in both eras, as far as stdio can say it: a session of the legacy era has a process of its own, or all share one;
 * requests of 2026-07-28, which know no session, share one.
 *
 * What must stay true: a message goes on as it came; only an id that another client's request has at the same time in the same process is another one there, and
 * comes back as it was. Every process that is started ends with its session, and with us.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { concat } from '../bytes/bytes.ts';
import { LineSplitter } from '../frames/lines.ts';
import { bodyBytes, stdioSessions } from '../limits.ts';
import { readMessage, type Message } from '../mcp/message.ts';
import { signalGroup, spawnServer, type ServerProcess } from '../server-process.ts';
import { usualRules } from './options.ts';
import type { HttpSettings, StdioSettings } from './upstream.ts';

const lineEnd = Buffer.from('\n');
/** Between the end of its input, SIGTERM and SIGKILL. */
const endMs = 2_000;
/** A session in which nothing was said, and no stream is open, for so long is over. */
const idleMs = 30 * 60_000;

interface Waiting {
  response: ServerResponse;
  /** As the client wrote it. */
  idToken: string;
  progressToken: string | undefined;
  isModern: boolean;
}

export class StdioServer {
  readonly #settings: StdioSettings;
  readonly #folder = mkdtempSync(join(tmpdir(), 'sworn-proxy-'));
  readonly #server: Server;
  readonly #sessions = new Map<string, Process>();
  #shared: Process | undefined;
  readonly #timer: NodeJS.Timeout;

  constructor(settings: StdioSettings) {
    this.#settings = settings;
    this.#server = createServer({ requestTimeout: 0 }, (request, response) => {
      this.#accept(request, response).catch((error: Error) => problem(response, 500, -32603, error.message));
    });
    this.#server.timeout = 0;
    this.#timer = setInterval(() => this.#expire(), 60_000);
    this.#timer.unref();
  }

  /** What the proxy needs to reach it. */
  async listen(): Promise<HttpSettings> {
    const socketPath = join(this.#folder, 'socket');
    this.#server.listen(socketPath);
    await once(this.#server, 'listening');
    const { name, mount } = this.#settings;
    return {
      name,
      mount,
      url: new URL('http://stdio.invalid/mcp'),
      socketPath,
      rules: { ...usualRules, authorization: false },
      upstreamTimeoutMs: 0,
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#server.close();
    this.#server.closeAllConnections();
    await Promise.all([...this.#sessions.values(), ...(this.#shared === undefined ? [] : [this.#shared])].map((one) => one.end()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #accept(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = request.headers['mcp-session-id'];
    const known = typeof id === 'string' ? this.#sessions.get(id) : undefined;
    if (typeof id === 'string' && known === undefined) return problem(response, 404, -32001, 'there is no such session');
    if (request.method === 'GET') {
      if (known === undefined) return problem(response, 405, -32000, 'a stream of its own needs a session');
      return known.listen(response);
    }
    if (request.method === 'DELETE' && known !== undefined && typeof id === 'string') {
      if (known !== this.#shared) void known.end();
      this.#sessions.delete(id);
      response.writeHead(200).end();
      return;
    }
    if (request.method !== 'POST') return problem(response, 405, -32000, 'POST, or GET and DELETE within a session');
    const body = await bodyOf(request);
    if (body === undefined) return problem(response, 413, -32000, `a message has at most ${bodyBytes} bytes`);
    const frame = readMessage(body);
    const messages = frame.type === 'batch' ? frame.items.map(({ message }) => message) : [frame];
    if (messages.some(({ type }) => type === 'opaque')) return problem(response, 400, -32700, 'this is no JSON-RPC message');
    const isBeginning = known === undefined && messages.some(({ method }) => method === 'initialize');
    if (isBeginning && this.#sessions.size >= stdioSessions) return problem(response, 503, -32000, 'too many sessions');
    const process = known ?? (isBeginning && this.#settings.sessions === 'each' ? new Process(this.#settings.command) : this.#sharedProcess());
    if (isBeginning) {
      const session = randomUUID();
      this.#sessions.set(session, process);
      response.setHeader('Mcp-Session-Id', session);
      void process.gone.then(() => this.#sessions.delete(session));
    }
    process.take(body, messages, response);
  }

  #sharedProcess(): Process {
    if (this.#shared === undefined || this.#shared.isOver) this.#shared = new Process(this.#settings.command);
    return this.#shared;
  }

  #expire(): void {
    const before = performance.now() - idleMs;
    for (const [id, process] of this.#sessions) {
      if (process.isBusy || process.usedAt > before) continue;
      this.#sessions.delete(id);
      if (process !== this.#shared) void process.end();
    }
  }
}

/** One process, and who waits for what of it. */
class Process {
  readonly #process: ServerProcess;
  readonly #lines = new LineSplitter(bodyBytes);
  /** By the id that the process knows. */
  readonly #waiting = new Map<string, Waiting>();
  readonly #streams = new Set<ServerResponse>();
  /** What the process says to nobody in particular, while no stream is open. */
  #unheard: Buffer[] = [];
  #count = 0;
  #problem = 'the server has ended';
  isOver = false;
  usedAt = performance.now();
  readonly gone: Promise<void>;

  constructor(command: readonly string[]) {
    const process = spawnServer(command);
    this.#process = process;
    this.gone = new Promise((done) => {
      const over = (): void => {
        this.isOver = true;
        for (const { response, idToken } of this.#waiting.values()) this.#say(response, errorLine(idToken, this.#problem), true);
        this.#waiting.clear();
        for (const stream of this.#streams) stream.end();
        done();
      };
      process.on('error', (error: Error) => {
        this.#problem = `the server cannot be started: ${error.message}`;
        if (process.pid === undefined) over();
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
  take(body: Buffer, messages: readonly Message[], response: ServerResponse): void {
    this.usedAt = performance.now();
    if (this.isOver) return problem(response, 502, -32000, this.#problem);
    let line = withoutLineEnds(body);
    const asked = messages.filter(({ type, id }) => type === 'request' && id !== undefined);
    for (const { id, era } of asked) {
      let token = id!;
      if (this.#waiting.has(token)) {
        token = JSON.stringify(`sworn-${++this.#count}`);
        line = withId(line, token);
      }
      const waiting = { response, idToken: id!, progressToken: progressTokenOf(line), isModern: era === 'modern' };
      this.#waiting.set(token, waiting);
      response.on('close', () => {
        if (response.writableFinished || this.#waiting.get(token) !== waiting) return;
        this.#waiting.delete(token);
        // in the legacy era who leaves has not cancelled
        if (waiting.isModern) this.#write(Buffer.from(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${token}}}`));
      });
    }
    this.#write(line);
    if (asked.length === 0) response.writeHead(202).end();
  }

  /** A stream for what the server says by itself. */
  listen(response: ServerResponse): void {
    this.usedAt = performance.now();
    if (this.isOver) return problem(response, 404, -32001, this.#problem);
    begin(response);
    this.#streams.add(response);
    response.on('close', () => this.#streams.delete(response));
    for (const line of this.#unheard.splice(0)) response.write(event(line));
  }

  #write(line: Buffer): void {
    this.#process.stdin.write(Buffer.concat([line, lineEnd]));
  }

  #heard(line: Buffer): void {
    const message = readMessage(line);
    const isReply = message.type === 'result' || message.type === 'error';
    const waiting = isReply && message.id !== undefined ? this.#waiting.get(message.id) : undefined;
    if (waiting !== undefined && isReply) {
      this.#waiting.delete(message.id!);
      this.#say(
        waiting.response,
        message.id === waiting.idToken ? line : withId(line, waiting.idToken),
        ![...this.#waiting.values()].some(({ response }) => response === waiting.response),
      );
      return;
    }
    const related = this.#relatedTo(line);
    if (related !== undefined) return this.#say(related, line, false);
    const stream = [...this.#streams].at(-1);
    if (stream !== undefined) stream.write(event(line));
    else if (this.#waiting.size > 0) this.#say([...this.#waiting.values()].at(-1)!.response, line, false);
    else if (this.#unheard.length < 64) this.#unheard.push(line);
  }

  /** Whose request a notification is about: it names its progress token, or its subscription. */
  #relatedTo(line: Buffer): ServerResponse | undefined {
    if (!line.includes('progressToken') && !line.includes('subscriptionId')) return undefined;
    const said = parsed(line) as { params?: { progressToken?: unknown; _meta?: Record<string, unknown> } } | undefined;
    const token = said?.params?.progressToken;
    const subscription = said?.params?._meta?.['io.modelcontextprotocol/subscriptionId'];
    if (subscription !== undefined) return this.#waiting.get(JSON.stringify(subscription))?.response;
    if (token === undefined) return undefined;
    const text = JSON.stringify(token);
    return [...this.#waiting.values()].find(({ progressToken }) => progressToken === text)?.response;
  }

  /** As a body if it is all that there is to say, else as an event of a stream. */
  #say(response: ServerResponse, line: Buffer, isLast: boolean): void {
    if (response.destroyed) return;
    if (isLast && !response.headersSent) {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': line.length });
      response.end(line);
      return;
    }
    if (!response.headersSent) begin(response);
    response.write(event(line));
    if (isLast) response.end();
  }

  /** As an MCP client ends a server (MCP, stdio, shutdown): the end of its input, then SIGTERM, then SIGKILL. */
  async end(): Promise<void> {
    const { pid } = this.#process;
    this.#process.stdin.end();
    const after = (ms: number, signal: NodeJS.Signals): NodeJS.Timeout => setTimeout(() => pid !== undefined && signalGroup(pid, signal), ms);
    const timers = [after(endMs, 'SIGTERM'), after(2 * endMs, 'SIGKILL')];
    await this.gone;
    for (const timer of timers) clearTimeout(timer);
    // what it started and left behind
    if (pid !== undefined) signalGroup(pid, 'SIGTERM');
  }
}

function begin(response: ServerResponse): void {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform', 'X-Accel-Buffering': 'no' });
  response.flushHeaders();
}

function event(line: Buffer): Uint8Array {
  return concat(Buffer.from('event: message\ndata: '), line, Buffer.from('\n\n'));
}

/** JSON may have line ends between its tokens, and nowhere else. */
function withoutLineEnds(body: Buffer): Buffer {
  if (!body.includes(0x0a) && !body.includes(0x0d)) return body;
  const line = Buffer.from(body);
  for (let i = 0; i < line.length; i++) if (line[i] === 0x0a || line[i] === 0x0d) line[i] = 0x20;
  return line;
}

/** The message with another id: the one case in which it is written anew. */
function withId(line: Buffer, token: string): Buffer {
  const message = parsed(line) as Record<string, unknown>;
  return Buffer.from(JSON.stringify({ ...message, id: JSON.parse(token) as unknown }));
}

function progressTokenOf(line: Buffer): string | undefined {
  if (!line.includes('progressToken')) return undefined;
  const token = (parsed(line) as { params?: { _meta?: { progressToken?: unknown } } } | undefined)?.params?._meta?.progressToken;
  return token === undefined ? undefined : JSON.stringify(token);
}

function parsed(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString());
  } catch {
    return undefined;
  }
}

function errorLine(idToken: string, message: string): Buffer {
  return Buffer.from(`{"jsonrpc":"2.0","id":${idToken},"error":${JSON.stringify({ code: -32000, message })}}`);
}

function problem(response: ServerResponse, status: number, code: number, message: string): void {
  if (response.headersSent) return void response.destroy();
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message } }));
}

async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > bodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, sizeBytes);
}
