/**
 * A client that does one thing: it starts a server over stdio and reads all pages of its list of tools. First as clients of 2025-11-25 and before do; a server that
 * knows no `initialize` is asked as of 2026-07-28. What it says is a stranger's: bounded, and never shown as it is.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { SwornError } from '../errors.ts';
import { listedBytes, listPages, listWaitMs, pinnedTools } from '../limits.ts';
import { definitionsOf, type Definition } from '../mcp/definition.ts';
import { version } from '../version.ts';

const latest = '2025-11-25';
const clientInfo = { name: 'sworn', version };
/** The same in both eras: nothing is offered, so that nothing is asked of us. */
const capabilities = {};
const modernMeta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': capabilities,
  'io.modelcontextprotocol/clientInfo': clientInfo,
};
/** Of what it says on stderr, when it fails. */
const shownErrorChars = 2_000;
/** How long it may take to end by itself, once its input is closed. */
const byeMs = 2_000;

type Reply = { result: unknown } | { error: unknown };

/**
 * The definitions that a server lists, in its order.
 * @throws SwornError `spawn-failed`, `spawn-denied` when it does not start, `server-unlisted` when it gives no list
 */
export async function listTools(command: readonly string[]): Promise<Definition[]> {
  const server = new ListedServer(command);
  try {
    const opened = await server.ask('initialize', { protocolVersion: latest, capabilities, clientInfo });
    const isModern = 'error' in opened;
    if (!isModern) server.tell('notifications/initialized');
    const definitions: Definition[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < listPages; page++) {
      const params = { ...(isModern ? { _meta: modernMeta } : {}), ...(cursor === undefined ? {} : { cursor }) };
      const reply = await server.ask('tools/list', params);
      const found = 'result' in reply ? definitionsOf(reply.result) : undefined;
      if (found === undefined) throw server.failure(`it answers tools/list with ${JSON.stringify(reply).slice(0, 300)}`);
      definitions.push(...found.definitions);
      if (definitions.length > pinnedTools) throw server.failure(`it lists more than ${pinnedTools.toLocaleString('en')} tools`);
      if (found.next === undefined) return definitions;
      cursor = found.next;
    }
    throw server.failure(`its list has more than ${listPages} pages`);
  } finally {
    await server.end();
  }
}

class ListedServer {
  readonly #command: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  #failed: (error: SwornError) => void = () => undefined;
  readonly #failure: Promise<never>;
  #rest: Buffer[] = [];
  #restBytes = 0;
  #errors = '';
  #id = 0;

  constructor([file = '', ...args]: readonly string[]) {
    this.#command = file;
    this.#failure = new Promise((_, fail) => (this.#failed = fail));
    // it may fail when nobody waits
    this.#failure.catch(() => undefined);
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.on('error', (error: NodeJS.ErrnoException) =>
      this.#failed(new SwornError(error.code === 'EACCES' ? 'spawn-denied' : 'spawn-failed', `cannot start ${file}: ${error.message}`)),
    );
    this.#child.on('close', (code, signal) => this.#failed(this.failure(`it ended with ${signal ?? `status ${code}`}`)));
    this.#child.stdin.on('error', () => undefined);
    this.#child.stderr.on('data', (chunk: Buffer) => (this.#errors = (this.#errors + chunk.toString()).slice(-shownErrorChars)));
    this.#child.stdout.on('data', (chunk: Buffer) => this.#receive(chunk));
  }

  failure(why: string): SwornError {
    const said = this.#errors.trim();
    return new SwornError('server-unlisted', `no list of tools from ${this.#command}: ${why}${said === '' ? '' : `; it said: ${said}`}`);
  }

  #receive(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      this.#take(Buffer.concat([...this.#rest, chunk.subarray(from, end)]));
      this.#rest = [];
      this.#restBytes = 0;
      from = end + 1;
    }
    if (from === chunk.length) return;
    this.#rest.push(chunk.subarray(from));
    this.#restBytes += chunk.length - from;
    if (this.#restBytes > listedBytes) {
      this.#rest = [];
      this.#failed(this.failure(`a message is longer than ${listedBytes.toLocaleString('en')} bytes`));
    }
  }

  #take(line: Buffer): void {
    let message: unknown;
    try {
      message = JSON.parse(line.toString());
    } catch {
      return; // what servers print that should not
    }
    if (typeof message !== 'object' || message === null) return;
    const { id, method } = message as { id?: unknown; method?: unknown };
    if (method === undefined) {
      const wake = typeof id === 'number' ? this.#waiting.get(id) : undefined;
      if (wake === undefined) return;
      this.#waiting.delete(id as number);
      wake('result' in message ? { result: message.result } : { error: (message as { error?: unknown }).error });
    } else if (typeof id === 'string' || typeof id === 'number')
      this.#write(method === 'ping' ? { id, result: {} } : { id, error: { code: -32601, message: 'Method not found' } });
  }

  /** @throws (rejects) SwornError when no answer comes */
  ask(method: string, params: object): Promise<Reply> {
    const id = ++this.#id;
    let timer: NodeJS.Timeout | undefined;
    const answered = new Promise<Reply>((done, fail) => {
      this.#waiting.set(id, done);
      timer = setTimeout(() => fail(this.failure(`it does not answer ${method} within ${listWaitMs / 1000} s`)), listWaitMs);
    });
    this.#write({ id, method, params });
    return Promise.race([answered, this.#failure]).finally(() => clearTimeout(timer));
  }

  tell(method: string): void {
    this.#write({ method });
  }

  #write(message: object): void {
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  /** Closes its input, as MCP says; one that does not end is ended. */
  async end(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.stdin.end();
    const impatient = [setTimeout(() => this.#child.kill('SIGTERM'), byeMs), setTimeout(() => this.#child.kill('SIGKILL'), 2 * byeMs)];
    await ended;
    for (const timer of impatient) clearTimeout(timer);
    // a child of its own may hold its pipes open
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
  }
}
