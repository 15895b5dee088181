/**
 * A server over stdio, as a server over HTTP behind the proxy: it listens at a Unix socket that only we reach. What it says to the proxy is recorded there like any
 * other server's answers. Streamable HTTP in both eras, as far as stdio can say it: a session of the legacy era has a process of its own, or all share one;
 * requests of 2026-07-28, which know no session, share one.
 *
 * What must stay true: every process that is started ends with its session, and with us.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bodyBytes, deliveryWaitMs, stdioSessions } from '../limits.ts';
import { readMessage } from '../mcp/message.ts';
import { usualRules } from './options.ts';
import { problem, StdioProcess } from './stdio-process.ts';
import type { HttpSettings, StdioSettings } from './upstream.ts';

/** A session in which nothing was said, and no stream is open, for so long is over. */
const usualIdleMs = 30 * 60_000;

export class StdioServer {
  readonly #settings: StdioSettings;
  readonly #folder = mkdtempSync(join(tmpdir(), 'sworn-proxy-'));
  readonly #server: Server;
  readonly #sessions = new Map<string, StdioProcess>();
  /** Sessions that do not expire, and how often that was asked for. */
  readonly #kept = new Map<string, number>();
  #shared: StdioProcess | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #idleMs: number;
  readonly #patienceMs: number;
  readonly #failed: (problem: string) => void;

  /** @param failed its process could not be started */
  constructor(settings: StdioSettings, failed: (problem: string) => void, idleMs = usualIdleMs, patienceMs = deliveryWaitMs) {
    this.#patienceMs = patienceMs;
    this.#settings = settings;
    this.#failed = failed;
    this.#idleMs = idleMs;
    this.#server = createServer({ requestTimeout: 0 }, (request, response) => {
      this.#accept(request, response).catch((error: Error) => problem(response, 500, -32603, error.message));
    });
    this.#server.timeout = 0;
    this.#timer = setInterval(() => this.#expire(), Math.min(60_000, idleMs));
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
      keep: (session) => this.#keep(session),
    };
  }

  #keep(session: string): () => void {
    this.#kept.set(session, (this.#kept.get(session) ?? 0) + 1);
    return () => {
      const left = this.#kept.get(session)! - 1;
      if (left > 0) this.#kept.set(session, left);
      else this.#kept.delete(session);
      const process = this.#sessions.get(session);
      // what was waited for comes only now
      if (process !== undefined) process.usedAt = performance.now();
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
    const id = request.headers['mcp-session-id'] as string | undefined;
    const known = id === undefined ? undefined : this.#sessions.get(id);
    if (request.method === 'POST') return this.#post(request, response, id, known);
    if (request.method !== 'GET' && request.method !== 'DELETE') return problem(response, 405, -32000, 'POST, or GET and DELETE within a session');
    if (id === undefined) return problem(response, 405, -32000, 'only in a session');
    if (known === undefined) return problem(response, 404, -32001, 'there is no such session');
    if (request.method === 'GET') return known.listen(id, response);
    if (known !== this.#shared) void known.end();
    this.#sessions.delete(id);
    response.writeHead(200).end();
  }

  async #post(request: IncomingMessage, response: ServerResponse, id: string | undefined, known: StdioProcess | undefined): Promise<void> {
    await (known ?? this.#shared)?.room();
    const body = await bodyOf(request);
    if (body === undefined) return problem(response, 413, -32000, `a message has at most ${bodyBytes} bytes`);
    const frame = readMessage(body);
    const messages = frame.type === 'batch' ? frame.items.map(({ message }) => message) : [frame];
    if (messages.some(({ type }) => type === 'opaque')) return problem(response, 400, -32700, 'this is no JSON-RPC message');
    // 2026-07-28 knows no sessions: what names one there names nothing
    const isModern = messages.some(({ era }) => era === 'modern');
    if (id !== undefined && known === undefined && !isModern) return problem(response, 404, -32001, 'there is no such session');
    const session = known === undefined || isModern ? undefined : id;
    const isBeginning = session === undefined && messages.some(({ method }) => method === 'initialize');
    if (!isBeginning) {
      const process = session === undefined ? this.#sharedProcess() : known!;
      return process.take(body, frame, session, response);
    }
    if (this.#sessions.size >= stdioSessions) return problem(response, 503, -32000, 'too many sessions');
    const process = this.#settings.sessions === 'each' ? new StdioProcess(this.#settings.command, this.#failed) : this.#sharedProcess();
    const begun = randomUUID();
    this.#sessions.set(begun, process);
    void process.gone.then(() => this.#sessions.delete(begun));
    response.setHeader('Mcp-Session-Id', begun);
    process.take(body, frame, begun, response);
  }

  #sharedProcess(): StdioProcess {
    if (this.#shared === undefined || this.#shared.isOver) this.#shared = new StdioProcess(this.#settings.command, this.#failed, this.#patienceMs);
    return this.#shared;
  }

  #expire(): void {
    const before = performance.now() - this.#idleMs;
    const keptShared = [...this.#kept.keys()].some((id) => this.#sessions.get(id) === this.#shared);
    for (const [id, process] of this.#sessions) {
      if (process.isBusy || process.usedAt > before || this.#kept.has(id)) continue;
      this.#sessions.delete(id);
      if (process !== this.#shared) void process.end();
    }
    const shared = this.#shared;
    if (shared === undefined || shared.isBusy || shared.usedAt > before || keptShared) return;
    this.#shared = undefined;
    void shared.end();
  }
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
