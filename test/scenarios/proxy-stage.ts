/**
 * `sworn proxy` between raw sockets: what is tested is what stands on the wire, so neither side is an HTTP library. Messages are read by RFC 9112 alone.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { Arrivals, node, Stage, sworn, type Recorded } from './stage.ts';

/** One HTTP message as it stood on the wire. */
export interface HttpMessage {
  /** The first line. */
  line: string;
  /** Order, case and duplicates as they came. */
  headers: [name: string, value: string][];
  body: Buffer;
  trailers: [name: string, value: string][];
  /** All of its body came. */
  isWhole: boolean;
}

export function header(message: HttpMessage, name: string): string | undefined {
  return message.headers.find(([one]) => one.toLowerCase() === name.toLowerCase())?.[1];
}

/** Without what is about one connection alone. */
export function endToEnd(message: HttpMessage): [string, string][] {
  return message.headers.filter(([name]) => !/^(?:connection|keep-alive|transfer-encoding|te|trailer|upgrade|proxy-.*)$/i.test(name));
}

function fields(lines: string[]): [string, string][] {
  return lines.map((one) => {
    const at = one.indexOf(':');
    return [one.slice(0, at), one.slice(at + 1).trim()];
  });
}

/** Reads one message at `from`; `undefined` while its head is not there. `isClosed`: nothing more comes. */
export function readHttp(bytes: Buffer, from: number, { isHead = false, isClosed = false } = {}): { message: HttpMessage; next: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n', from);
  if (end < 0) return undefined;
  const [line, ...rest] = bytes.toString('latin1', from, end).split('\r\n');
  const message: HttpMessage = { line: line!, headers: fields(rest), body: Buffer.alloc(0), trailers: [], isWhole: true };
  const isResponse = line!.startsWith('HTTP/');
  const status = Number(line!.split(' ')[1]);
  let at = end + 4;
  if (isResponse && (isHead || status === 204 || status === 304 || status < 200)) return { message, next: at };
  if (/chunked/i.test(header(message, 'transfer-encoding') ?? '')) {
    const parts: Buffer[] = [];
    for (;;) {
      const lineEnd = bytes.indexOf('\r\n', at);
      const size = lineEnd < 0 ? undefined : Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
      if (size === undefined || bytes.length < lineEnd + 2 + size + (size === 0 ? 0 : 2)) {
        // what came of the last chunk
        if (size !== undefined) parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
        return { message: { ...message, body: Buffer.concat(parts), isWhole: false }, next: bytes.length };
      }
      at = lineEnd + 2;
      if (size === 0) {
        const last = bytes.toString('latin1', at).startsWith('\r\n') ? at - 2 : bytes.indexOf('\r\n\r\n', at);
        if (last < 0) return { message: { ...message, body: Buffer.concat(parts), isWhole: false }, next: bytes.length };
        const trailers = last < at ? [] : fields(bytes.toString('latin1', at, last).split('\r\n'));
        return { message: { ...message, body: Buffer.concat(parts), trailers }, next: last + 4 };
      }
      parts.push(bytes.subarray(at, at + size));
      at += size + 2;
    }
  }
  const length = header(message, 'content-length');
  if (length === undefined && isResponse) return { message: { ...message, body: bytes.subarray(at), isWhole: isClosed }, next: bytes.length };
  const size = Number(length ?? 0);
  return {
    message: { ...message, body: bytes.subarray(at, at + size), isWhole: bytes.length >= at + size },
    next: Math.min(bytes.length, at + size),
  };
}

/** One end of a socket, and the messages that came. */
export class Peer {
  readonly socket: Socket;
  readonly input = new Arrivals();
  readonly closed: Promise<unknown>;
  isClosed = false;
  #from = 0;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.input.push(chunk));
    socket.on('error', () => undefined);
    this.closed = new Promise((done) =>
      socket.on('close', () => {
        this.isClosed = true;
        this.input.end();
        done(undefined);
      }),
    );
  }

  async write(bytes: Uint8Array | string): Promise<void> {
    await new Promise((done) => this.socket.write(bytes, done));
  }

  /** Each piece in a packet of its own. */
  async writeCut(bytes: Buffer, sizes: () => number): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const size = Math.max(1, sizes());
      await this.write(bytes.subarray(at, at + size));
      at += size;
      await new Promise((done) => setImmediate(done));
    }
  }

  /** The next whole message. A response without a length is whole when its connection is closed. */
  async next(options: { isHead?: boolean } = {}): Promise<HttpMessage> {
    const read = (): ReturnType<typeof readHttp> => readHttp(this.input.bytes, this.#from, { ...options, isClosed: this.isClosed });
    await this.input.until(() => read()?.message.isWhole === true);
    const { message, next } = read()!;
    this.#from = next;
    return message;
  }

  /** The next head, with what has come of its body. */
  async begun(): Promise<HttpMessage> {
    await this.input.until(() => readHttp(this.input.bytes, this.#from) !== undefined);
    return this.now()!;
  }

  /** As far as it has come. */
  now(options: { isHead?: boolean } = {}): HttpMessage | undefined {
    return readHttp(this.input.bytes, this.#from, { ...options, isClosed: this.isClosed })?.message;
  }

  /** What has come and is no message read yet. */
  get rest(): Buffer {
    return this.input.bytes.subarray(this.#from);
  }

  destroy(): void {
    this.socket.destroy();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }
}

/** A server that does what the scenario says with each connection. */
export class Upstream {
  readonly server: Server;
  readonly peers: Peer[] = [];
  #waiting: ((peer: Peer) => void)[] = [];
  #unseen: Peer[] = [];

  constructor() {
    this.server = createServer((socket) => {
      const peer = new Peer(socket);
      this.peers.push(peer);
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#unseen.push(peer);
      else waiting(peer);
    });
  }

  async listen(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The next connection that nobody has asked for yet. */
  async peer(): Promise<Peer> {
    return this.#unseen.shift() ?? new Promise((done) => this.#waiting.push(done));
  }

  /** Answers everything on every connection. */
  serve(answer: (request: HttpMessage, peer: Peer) => Promise<void> | void): void {
    void (async () => {
      for (;;) {
        const peer = await this.peer();
        void (async () => {
          try {
            for (;;) await answer(await peer.next(), peer);
          } catch {
            // the connection is over
          }
        })();
      }
    })();
  }

  end(): void {
    for (const peer of this.peers) peer.destroy();
    this.server.close();
  }
}

export class ProxyStage extends Stage {
  readonly upstream = new Upstream();
  proxy: ChildProcess | undefined;
  port = 0;
  readonly errors = new Arrivals();
  readonly #clients: Peer[] = [];

  /** Starts the proxy; `upstream`: another one than ours. */
  async start(options: string[] = [], upstream?: string): Promise<this> {
    await this.upstream.listen();
    onTestFinished(() => {
      for (const client of this.#clients) client.destroy();
      this.upstream.end();
    });
    await this.startProxy(options, upstream);
    return this;
  }

  async startProxy(options: string[] = [], upstream = `http://127.0.0.1:${this.upstream.port}/mcp`): Promise<void> {
    const words = [sworn, 'proxy', '--upstream', upstream, '--listen', '127.0.0.1:0', '--name', 'raw', '--ledger', this.ledger, ...options];
    const proxy = this.started(spawn(node, words, { cwd: this.folder, env: this.env, stdio: ['ignore', 'ignore', 'pipe'] }));
    this.proxy = proxy;
    const errors = new Arrivals();
    proxy.stderr.on('data', (chunk: Buffer) => {
      errors.push(chunk);
      this.errors.push(chunk);
    });
    proxy.stderr.on('end', () => errors.end());
    const said = /at http:\/\/127\.0\.0\.1:(\d+)/;
    await errors.until(({ text }) => said.test(text));
    this.port = Number(said.exec(errors.text)![1]);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/mcp`;
  }

  async client(): Promise<Peer> {
    const socket = connect(this.port, '127.0.0.1');
    await once(socket, 'connect');
    const peer = new Peer(socket);
    this.#clients.push(peer);
    return peer;
  }

  /** A request with a body of this text; `headers`: whole lines. */
  request(body: string | Buffer, headers: string[] = [], method = 'POST', path = '/mcp'): Buffer {
    const bytes = Buffer.from(body);
    const head = [`${method} ${path} HTTP/1.1`, `Host: 127.0.0.1:${this.port}`, ...headers];
    if (bytes.length > 0) head.push('Content-Type: application/json', `Content-Length: ${bytes.length}`);
    return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
  }

  /** Ends the proxy in order. */
  async endProxy(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const proxy = this.proxy!;
    if (proxy.exitCode === null && proxy.signalCode === null) {
      const ended = once(proxy, 'exit');
      proxy.kill(signal);
      await ended;
    }
    return proxy.exitCode;
  }

  /** Ends everything in order; the record holds, names nothing odd, has each frame once, and says of each what became of it. */
  async ended(): Promise<Recorded[]> {
    const code = await this.endProxy();
    if (code !== 0) throw new Error(`the proxy ended with ${code}: ${this.errors.text}`);
    const entries = await this.finished();
    for (const fault of accountFaults(entries)) throw new Error(fault);
    return entries;
  }
}

/** What must hold of the units of each proxy's connection that was closed in order. */
export function accountFaults(entries: readonly Recorded[]): string[] {
  const faults: string[] = [];
  for (const { connection, frames, delivered } of entries.filter(({ kind }) => kind === 'close')) {
    for (const [at, direction] of (['c2s', 's2c'] as const).entries()) {
      const units = entries
        .filter((one) => one['connection'] === connection && one['direction'] === direction && one['tapSeq'] > 0 && one['item'] === undefined)
        .map((one) => ({ tapSeq: one['tapSeq'] as number, parts: (one['parts'] ?? 1) as number }));
      let next = 1;
      for (const { tapSeq, parts } of units) {
        if (tapSeq - parts + 1 !== next) faults.push(`${direction} unit ${next} is not there, or twice: ${tapSeq}`);
        next = tapSeq + 1;
      }
      if (frames[direction] !== next - 1) faults.push(`close counts ${frames[direction]} ${direction}, there are ${next - 1}`);
      if (delivered[at] !== frames[direction]) faults.push(`close has ${delivered[at]} delivered of ${frames[direction]} ${direction}`);
    }
  }
  return faults;
}

/** Whether a frame is known to be with its receiver: `delivered` runs over it, and nothing says that it did not arrive. */
export function isDelivered(entries: readonly Recorded[], entry: Recorded): boolean {
  const at = entry['direction'] === 'c2s' ? 0 : 1;
  const later = entries.filter((one) => one.index > entry.index && one['connection'] === entry['connection']);
  let isNamed = entry['direction'] === 'c2s' && entry['http']?.end !== undefined;
  for (const one of later) {
    if (one['stream'] !== entry['stream'] || one['direction'] !== entry['direction']) continue;
    const { undelivered, delivered } = one['http'] ?? {};
    const covers = (range?: [number, number]): boolean => range !== undefined && range[0] <= entry['tapSeq'] && entry['tapSeq'] <= range[1];
    if (covers(undelivered)) isNamed = true;
    if (covers(delivered)) isNamed = false;
  }
  return !isNamed && later.some((one) => (one['delivered']?.[at] ?? 0) >= entry['tapSeq']);
}

export function jsonResponse(body: string, headers: string[] = []): string {
  return [`HTTP/1.1 200 OK`, 'Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`, ...headers, '', body].join('\r\n');
}
