/**
 * The stage of one scenario: a home and a ledger of its own, the built program in front of real processes, and a reader of what was recorded.
 * Everything that a scenario starts ends with it, by pid; nothing here waits for a time to pass, only for things to happen.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { scanSegment, type ContentItem } from '../../src/ledger/segment.ts';
import { socketPathOf } from '../../src/wire/socket-path.ts';
import { checkLedger } from '../check-ledger.ts';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const sworn = join(root, 'bin', 'sworn.mjs');
export const node = process.execPath;

/** The command of a server of ours in `test/servers`. */
export function ours(file: string, ...args: string[]): string[] {
  return [node, join(root, 'test', 'servers', file), ...args];
}

/** The command of an official server, from its package. */
export function official(name: 'everything' | 'filesystem' | 'memory', ...args: string[]): string[] {
  const manifest = createRequire(import.meta.url).resolve(`@modelcontextprotocol/server-${name}/package.json`);
  return [node, join(dirname(manifest), 'dist', 'index.js'), ...args];
}

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** An entry as it was stored, with what its record holds. */
export interface Recorded {
  // oxlint-disable-next-line typescript/no-explicit-any -- entries are looked at field by field, and what a field holds is what is tested
  [field: string]: any;
  index: number;
  kind: string;
  /** The frame's bytes; absent on entries without one. */
  frame?: Buffer;
  opened: Record<string, unknown>;
}

/** Bytes that come, and waiting for them. */
export class Arrivals {
  #chunks: Buffer[] = [];
  #sizeBytes = 0;
  #ended = false;
  #wakers: (() => void)[] = [];

  constructor(keep = true) {
    this.#keep = keep;
  }
  readonly #keep: boolean;

  push(chunk: Buffer): void {
    if (this.#keep) this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get bytes(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  get text(): string {
    return this.bytes.toString();
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }

  /** Waits until `holds`, or until nothing more can come. */
  async until(holds: (arrivals: Arrivals) => boolean): Promise<this> {
    while (!holds(this)) {
      if (this.#ended) throw new Error(`the stream ended with ${this.#sizeBytes} bytes: ${this.text.slice(0, 2000)}`);
      // oxlint-disable-next-line no-loop-func -- each round waits for the next arrival
      await new Promise<void>((done) => this.#wakers.push(done));
    }
    return this;
  }

  size(sizeBytes: number): Promise<this> {
    return this.until((arrivals) => arrivals.sizeBytes >= sizeBytes);
  }

  count(lines: number): Promise<this> {
    return this.until((arrivals) => arrivals.lines.length >= lines);
  }
}

/** A tap, and the client's side of it. */
export class Tap {
  readonly process: ChildProcess;
  readonly output: Arrivals;
  readonly errors = new Arrivals();
  readonly ended: Promise<Ended>;

  constructor(child: ChildProcess, keep: boolean) {
    this.process = child;
    this.output = new Arrivals(keep);
    child.stdin?.on('error', () => undefined);
    child.stdout?.on('data', (chunk: Buffer) => this.output.push(chunk));
    child.stdout?.on('end', () => this.output.end());
    child.stderr?.on('data', (chunk: Buffer) => this.errors.push(chunk));
    child.stderr?.on('end', () => this.errors.end());
    this.ended = new Promise((done) => child.on('close', (code, signal) => done({ code, signal })));
  }

  get pid(): number {
    return this.process.pid!;
  }

  /** Resolves when the kernel has taken the bytes. */
  write(bytes: Uint8Array | string): Promise<void> {
    return new Promise((done) => this.process.stdin!.write(bytes, () => done()));
  }

  /** The client closes. */
  close(): Promise<Ended> {
    this.process.stdin!.end();
    return this.ended;
  }
}

/** The server's side of a tap in front of `puppet.ts`. */
export class Puppet {
  readonly socket: Socket;
  readonly input: Arrivals;

  constructor(socket: Socket, keep: boolean, endsWithInput: boolean) {
    this.socket = socket;
    this.input = new Arrivals(keep);
    socket.on('data', (chunk: Buffer) => this.input.push(chunk));
    socket.on('end', () => {
      this.input.end();
      if (endsWithInput) socket.end();
    });
    socket.on('error', () => undefined);
  }

  write(bytes: Uint8Array | string): Promise<void> {
    return new Promise((done) => this.socket.write(bytes, () => done()));
  }

  /** The server exits, once all that it was given to say is said. */
  exit(): void {
    this.socket.end();
  }
}

export interface TapOptions {
  /** Words before `--`. */
  options?: string[];
  env?: Record<string, string>;
  cwd?: string;
  /** `false`: output is counted and not kept. */
  keep?: boolean;
  /** Words before the program, for instance a shim. */
  before?: string[];
}

export class Stage {
  readonly folder: string;
  readonly home: string;
  readonly ledger: string;
  readonly #started: ChildProcess[] = [];
  readonly #servers: Server[] = [];
  readonly #sockets: Socket[] = [];
  #puppets = 0;

  constructor() {
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), 'sworn-test-')));
    this.home = join(this.folder, 'home');
    this.ledger = join(this.folder, 'ledger');
    mkdirSync(this.home, { mode: 0o700 });
    onTestFinished(() => this.#end());
  }

  get env(): Record<string, string> {
    return { HOME: this.home, PATH: process.env['PATH'] ?? '' };
  }

  /** The words that start a tap in front of `command`. */
  words(command: readonly string[], options: readonly string[] = []): string[] {
    return [node, sworn, 'run', '--ledger', this.ledger, ...options, '--', ...command];
  }

  tap(command: readonly string[], { options = [], env = {}, cwd = this.folder, keep = true, before = [] }: TapOptions = {}): Tap {
    const [file, ...args] = [...before, ...this.words(command, options)];
    const child = spawn(file!, args, { cwd, env: { ...this.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#started.push(child);
    return new Tap(child, keep);
  }

  /** A process that is ended with the scenario. */
  started<C extends ChildProcess>(child: C): C {
    this.#started.push(child);
    return child;
  }

  /** A tap whose server does what the scenario says. */
  async puppet(options: TapOptions & { exitCode?: number; endsWithInput?: boolean } = {}): Promise<{ tap: Tap; server: Puppet }> {
    const path = join(this.folder, `puppet${this.#puppets++}`);
    const server = createServer({ allowHalfOpen: true });
    this.#servers.push(server);
    await new Promise<void>((done) => server.listen(path, done));
    const connected = new Promise<Socket>((done) => server.once('connection', done));
    const tap = this.tap(ours('puppet.ts', path, String(options.exitCode ?? 0)), options);
    const socket = await connected;
    this.#sockets.push(socket);
    return { tap, server: new Puppet(socket, options.keep ?? true, options.endsWithInput ?? true) };
  }

  /** Runs a command of sworn to its end. */
  async command(...words: string[]): Promise<Ended & { stdout: string; stderr: string }> {
    const child = this.started(spawn(node, [sworn, ...words], { cwd: this.folder, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] }));
    const tap = new Tap(child, true);
    const ended = await tap.ended;
    return { ...ended, stdout: tap.output.text, stderr: tap.errors.text };
  }

  /** Everything in the ledger, also what is not signed yet. */
  entries(): Recorded[] {
    const payload = join(this.ledger, 'payload');
    if (!existsSync(payload)) return [];
    const parts = new Map<string, Buffer>();
    const entries: Recorded[] = [];
    const bytesOf = (item: ContentItem): Buffer => {
      if (item.state === 'kept') return Buffer.from(item.bytes);
      if (item.state === 'part') return parts.get(`${item.file} ${item.offset}`)!;
      throw new Error('content was dropped');
    };
    for (const name of readdirSync(payload).sort()) {
      for (const scanned of scanSegment(join(payload, name))) {
        if (scanned.kind !== 'record') break;
        const { record, offset } = scanned;
        if (record.type === 'part') parts.set(`${Number(name)} ${offset}`, Buffer.from(record.bytes));
        else {
          // what was erased is not there
          const opened = record.attributes
            .filter(({ state }) => state === 'kept')
            .map((item) => JSON.parse(bytesOf(item).toString()) as Record<string, unknown>);
          entries.push({
            ...(JSON.parse(record.leaf.toString()) as { kind: string }),
            index: record.index,
            opened: Object.assign({}, ...opened) as Record<string, unknown>,
            ...(record.frame.length > 0 && record.frame.every(({ state }) => state === 'kept' || state === 'part')
              ? { frame: Buffer.concat(record.frame.map(bytesOf)) }
              : {}),
          });
        }
      }
    }
    return entries;
  }

  /** The size of the segments. */
  ledgerBytes(): number {
    const payload = join(this.ledger, 'payload');
    return readdirSync(payload).reduce((sum, name) => sum + statSync(join(payload, name)).size, 0);
  }

  /** Looks again until the entries are as wanted. */
  async until(holds: (entries: Recorded[]) => boolean): Promise<Recorded[]> {
    for (;;) {
      const entries = this.entries();
      if (holds(entries)) return entries;
      await sleep(20);
    }
  }

  get recorderPid(): number | undefined {
    for (const kind of ['flock', 'sqlite']) {
      try {
        const pid = Number.parseInt(readFileSync(join(this.ledger, 'run', `${kind}.claim`), 'utf8'), 10);
        // the claim outlives its writer, and a pid its process
        if (pid > 0 && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(this.ledger)) return pid;
      } catch {
        // nobody holds a lock of this kind
      }
    }
    return undefined;
  }

  async stopRecorder(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const pid = this.recorderPid;
    if (pid === undefined) return;
    process.kill(pid, signal);
    await gone(pid);
  }

  /** Ends the recorder in order and holds the ledger against its format; what is in it. */
  async finished(): Promise<Recorded[]> {
    await this.stopRecorder();
    checkLedger(this.ledger, join(this.home, '.config', 'sworn'));
    const { code, stdout, stderr } = await this.command('verify', this.ledger);
    if (code !== 0) throw new Error(`verify ended with ${code}:\n${stdout}${stderr}`);
    return this.entries();
  }

  /** Recorders of this ledger that run, and those that wait for its lock. */
  recorders(): number[] {
    return this.#processes('--daemon');
  }

  /** Processes whose command line names our folder, and has a word. */
  #processes(word = ''): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
          return line.includes(this.folder) && line.includes(word) && isAlive(pid);
        } catch {
          return false;
        }
      });
  }

  async #end(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) server.close();
    for (const child of this.#started) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue;
      child.kill('SIGKILL');
      await gone(child.pid);
    }
    // what was started by what was started: a recorder that has not yet come to its lock, a server whose tap was killed
    for (let pids = this.#processes(); pids.length > 0; pids = this.#processes()) {
      for (const pid of pids) {
        process.kill(pid, 'SIGKILL');
        await gone(pid);
      }
    }
    rmSync(socketPathOf(this.ledger), { force: true });
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Is the process there? One that has ended and was not waited for is not. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat[stat.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return false;
  }
}

export async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await sleep(10);
}

export function messages(entries: readonly Recorded[], where: Record<string, unknown> = {}): Recorded[] {
  return entries.filter((entry) => entry.kind === 'message' && Object.entries(where).every(([field, value]) => entry[field] === value));
}

/** What passed in one direction, put together again from the record. */
export function frames(entries: readonly Recorded[], direction: 'c2s' | 's2c', connection?: string): Buffer[] {
  return entries
    .filter(
      (entry) => entry.frame !== undefined && entry['direction'] === direction && (connection === undefined || entry['connection'] === connection),
    )
    .map((entry) => entry.frame!);
}

/** One line of JSON. */
export function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
