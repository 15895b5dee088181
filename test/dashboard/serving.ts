/** A running `sworn serve`, and what asks it: a browser with its cookie, a program with its token, and a reader of its live tail. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { request as httpRequest, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { Client, echoServer, swornProgram, until, type World } from '../support-processes.ts';
import { join } from 'node:path';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

export interface Asking {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
}

export interface Event {
  id: string;
  data: { entries?: number; calls?: number; findings?: number; evidence?: true; approvals?: true };
  atMs: number;
}

/** One reader of the live tail. */
export class Tail {
  readonly events: Event[] = [];
  readonly request: ClientRequest;
  status: number | undefined;
  isEnded = false;
  #text = '';

  constructor(port: number, headers: Record<string, string>) {
    this.request = httpRequest({ port, host: '127.0.0.1', path: '/api/v1/stream', headers, agent: false }, (response) => {
      this.status = response.statusCode;
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => this.#take(chunk));
      response.on('close', () => (this.isEnded = true));
      response.on('error', () => (this.isEnded = true));
    });
    this.request.on('error', () => (this.isEnded = true));
    this.request.end();
  }

  #take(chunk: string): void {
    this.#text += chunk;
    for (let at = this.#text.indexOf('\n\n'); at >= 0; at = this.#text.indexOf('\n\n')) {
      const fields = new Map(
        this.#text
          .slice(0, at)
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      );
      this.#text = this.#text.slice(at + 2);
      if (fields.get('event') === 'change')
        this.events.push({ id: fields.get('id')!, data: JSON.parse(fields.get('data')!) as Event['data'], atMs: performance.now() });
    }
  }

  get lastId(): string | undefined {
    return this.events.at(-1)?.id;
  }

  close(): void {
    this.request.destroy();
  }
}

/** What `sworn serve --json` prints. */
interface Said {
  url: string;
  port: number;
  ledgers: { id: string; path: string }[];
  approvalsSecret?: string;
}

export class Serving {
  readonly child: ChildProcessWithoutNullStreams;
  readonly port: number;
  readonly url: string;
  readonly ledgers: readonly { id: string; path: string }[];
  /** The second secret. */
  readonly approvalsSecret: string | undefined;
  readonly #exited: Promise<{ code: number | null; signal: string | null }>;
  #cookie: string | undefined;
  stderr = '';

  private constructor(child: ChildProcessWithoutNullStreams, said: Said, exited: Serving['exited']) {
    this.child = child;
    this.port = said.port;
    this.url = said.url;
    this.ledgers = said.ledgers;
    this.approvalsSecret = said.approvalsSecret;
    this.#exited = exited;
  }

  /** Of the process that serves: `bin/sworn.mjs` starts it with the Node of the checkout where its own is too old. */
  get pid(): number {
    return this.child.pid!;
  }

  get exited(): Promise<{ code: number | null; signal: string | null }> {
    return this.#exited;
  }

  static async start(world: World, words: string[] = [], ledgers: string[] = [world.ledger]): Promise<Serving> {
    const child = world.sworn(['serve', '--json', '--port', '0', ...ledgers.flatMap((ledger) => ['--ledger', ledger]), ...words]);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const exited = new Promise<{ code: number | null; signal: string | null }>((done) => child.on('exit', (code, signal) => done({ code, signal })));
    await until('the dashboard to listen', () => {
      if (child.exitCode !== null) throw new Error(`serve ended with ${child.exitCode}: ${stderr}`);
      return stdout.includes('\n');
    });
    const serving = new Serving(child, JSON.parse(stdout) as Said, exited);
    child.stderr.on('data', (chunk: Buffer) => (serving.stderr += chunk.toString()));
    return serving;
  }

  /** Without a cookie. */
  ask(path: string, { method = 'GET', headers = {}, body }: Asking = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({ port: this.port, host: '127.0.0.1', path, method, headers, agent: false }, (response: IncomingMessage) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }));
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  /** As the browser that opened the printed address. */
  async cookie(): Promise<string> {
    if (this.#cookie === undefined) {
      const { status, headers } = await this.ask(new URL(this.url).pathname + new URL(this.url).search);
      if (status !== 303) throw new Error(`the printed address was answered with ${status}`);
      this.#cookie = headers['set-cookie']![0]!.split(';')[0]!;
    }
    return this.#cookie;
  }

  async get(path: string): Promise<Answer> {
    return this.ask(`/api/v1/${path}`, { headers: { Cookie: await this.cookie() } });
  }

  async post(path: string, body: unknown): Promise<Answer> {
    const headers = { Cookie: await this.cookie(), Origin: `http://127.0.0.1:${this.port}`, 'Content-Type': 'application/json' };
    return this.ask(`/api/v1/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  /** The answer, which must be one. */
  // oxlint-disable-next-line typescript/no-explicit-any -- answers are looked at field by field; their shapes are tested against the description of the API
  async json(path: string): Promise<any> {
    const { status, text } = await this.get(path);
    if (status !== 200) throw new Error(`${path} was answered with ${status}: ${text}`);
    return JSON.parse(text);
  }

  async tail(lastId?: string): Promise<Tail> {
    return new Tail(this.port, { Cookie: await this.cookie(), ...(lastId === undefined ? {} : { 'Last-Event-ID': lastId }) });
  }

  async caughtUp(entries: number): Promise<void> {
    await until(
      `${entries} rows`,
      async () => ((await this.json('evidence')) as { shown: number }[]).reduce((sum, { shown }) => sum + shown, 0) >= entries,
    );
  }
}

let opened = 0;

/** A session whose server answers everything. */
export function sessionOf(world: World, ledger = world.ledger, words: string[] = []): Client {
  const log = join(world.folder, `echo-${++opened}.log`);
  return new Client(world.sworn(['run', '--ledger', ledger, '--name', 'echo', ...words, '--', process.execPath, echoServer, log]));
}

/** As `sessionOf`, with a client that is a process of its own: who opens content or decides must not be below a tapped client. */
export function sessionApart(world: World, ledger = world.ledger, words: string[] = [], log = `echo-${++opened}.log`): Client {
  const run = [process.execPath, swornProgram, 'run', '--ledger', ledger, ...words, '--', process.execPath, echoServer];
  return new Client(world.spawn('sh', ['-c', '"$@"; exit $?', 'sh', ...run, join(world.folder, log)]));
}

let ids = 1_000_000;

/** A call of a tool; resolves when it is answered. */
export async function call(client: Client, name: string, more: Record<string, unknown> = {}): Promise<void> {
  const id = ++ids;
  client.write({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: more, tag: id } });
  await until(`the answer to ${id}`, () => client.answered(id) || client.hasEnded);
}

export async function closed(client: Client): Promise<void> {
  client.child.stdin.end();
  await client.ended;
}
