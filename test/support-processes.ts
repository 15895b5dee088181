/**
 * What tests with real processes share: a world of its own for each test (HOME, ledger, everything that was started in it), a client that speaks over a
 * tap's pipes, a server's log of what reached it, and the ledger's content read back from its segments.
 *
 * A world ends every process that belongs to it by its pid, also the recorders that its taps have started: their command line names the world's folder.
 */
import { spawn, spawnSync, type ChildProcess, type ChildProcessWithoutNullStreams, type SpawnOptions } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Entry } from '../src/entry/entry.ts';
import { segmentFiles } from '../src/ledger/recover.ts';
import { scanSegment, segmentName } from '../src/ledger/segment.ts';
import { ask } from '../src/wire/ask.ts';
import { socketPathOf } from '../src/wire/socket-path.ts';

const root = join(import.meta.dirname, '..');
/** `SWORN_DIST` names a built copy (`dist` beside `bin`), so that a long run is not disturbed by new builds. */
export const swornProgram = join(process.env['SWORN_DIST'] === undefined ? root : dirname(process.env['SWORN_DIST']), 'bin', 'sworn.mjs');
export const echoServer = join(import.meta.dirname, 'survive', 'echo-server.mjs');

/** Waits on a condition, however slow the machine is; the limit only turns a hang into an error that says what was waited for. */
export async function until<T>(what: string, condition: () => T | Promise<T>, limitMs = 50_000): Promise<NonNullable<T>> {
  const from = performance.now();
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== null && value !== false) return value;
    if (performance.now() - from > limitMs) throw new Error(`waited ${limitMs / 1000} s for ${what}`);
    await sleep(10);
  }
}

export function isAlive(pid: number): boolean {
  try {
    // a zombie counts as gone: its parent is only late to look
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** Processes whose command line holds `text`. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && commandLineOf(pid).includes(text) && isAlive(pid));
}

export interface Finished {
  status: number | null;
  stdout: string;
  stderr: string;
}

export class World {
  readonly folder: string;
  readonly home: string;
  readonly ledger: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #children = new Set<ChildProcess>();
  readonly #cleanups: (() => void)[] = [];

  /** `ledger`: where it lies, if not in the world's folder. */
  constructor(name: string, { ledger }: { ledger?: (folder: string) => string } = {}) {
    this.folder = mkdtempSync(join(tmpdir(), `sworn-${name}-`));
    this.home = join(this.folder, 'home');
    this.ledger = ledger?.(this.folder) ?? join(this.folder, 'ledger');
    this.env = { PATH: process.env['PATH'], HOME: this.home, LANG: 'C.UTF-8' };
  }

  get socket(): string {
    return socketPathOf(this.ledger);
  }

  get keysHome(): string {
    return join(this.home, '.config', 'sworn');
  }

  /** Runs last, after every process has ended. */
  onEnd(cleanup: () => void): void {
    this.#cleanups.unshift(cleanup);
  }

  spawn(command: string, args: string[], options: SpawnOptions = {}): ChildProcessWithoutNullStreams {
    const child = spawn(command, args, { env: this.env, stdio: 'pipe', cwd: this.folder, ...options });
    this.#children.add(child);
    child.on('exit', () => this.#children.delete(child));
    child.on('error', () => this.#children.delete(child));
    child.stdin?.on('error', () => undefined);
    return child as ChildProcessWithoutNullStreams;
  }

  sworn(args: string[], options: SpawnOptions = {}): ChildProcessWithoutNullStreams {
    return this.spawn(process.execPath, [swornProgram, ...args], options);
  }

  /** A command to its end. */
  run(args: string[], options: { input?: string } = {}): Finished {
    return spawnSync(process.execPath, [swornProgram, ...args], {
      env: this.env,
      cwd: this.folder,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      ...options,
    });
  }

  /** As `run`, without stopping this process. */
  async finish(args: string[], options: SpawnOptions = {}): Promise<Finished> {
    const child = this.sworn(args, options);
    const out: Buffer[] = [];
    const error: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => error.push(chunk));
    child.stdin.end();
    const status = await new Promise<number | null>((done) => child.on('close', done));
    return { status, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(error).toString() };
  }

  /** The recorder's answer, or undefined while nobody listens. */
  async status(socket = this.socket): Promise<Record<string, unknown> | undefined> {
    try {
      return await ask(socket, 'status');
    } catch {
      return undefined;
    }
  }

  /** The recorder's open connections, or undefined while nobody listens. */
  async connections(socket = this.socket): Promise<{ connection: string; attached: boolean }[] | undefined> {
    return (await this.status(socket))?.['connections'] as { connection: string; attached: boolean }[] | undefined;
  }

  /** The process that holds the ledger's lock, as it claims; undefined when it is gone. */
  recorderPid(ledger = this.ledger): number | undefined {
    try {
      const pid = Number(readFileSync(join(ledger, 'run', 'flock.claim'), 'utf8').split(' ')[0]);
      return pid > 0 && isAlive(pid) && commandLineOf(pid).includes(ledger) ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  /** Ends the recorder in order and waits for it. */
  async endRecorder(ledger = this.ledger): Promise<void> {
    const pid = this.recorderPid(ledger);
    if (pid === undefined) return;
    process.kill(pid, 'SIGTERM');
    await until('the recorder to end', () => !isAlive(pid));
  }

  /** Ends everything that was started here, and takes the folder away. */
  async end(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    // a tap may be starting a recorder at this very moment
    await until('the processes of this world to end', () => {
      const left = [...new Set([...processesWith(this.folder), ...processesWith(this.ledger)])];
      for (const pid of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // gone meanwhile
        }
      }
      return left.length === 0;
    });
    for (const cleanup of this.#cleanups) cleanup();
    rmSync(this.socket, { force: true });
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Cuts a stream into whole lines. */
export class Lines {
  #held: Buffer[] = [];

  push(chunk: Buffer, onLine: (line: Buffer) => void): void {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      onLine(Buffer.concat([...this.#held, chunk.subarray(from, at)]));
      this.#held = [];
      from = at + 1;
    }
    if (from < chunk.length) this.#held.push(chunk.subarray(from));
  }
}

/** What of two lines must be equal; lines of megabytes are not kept. */
export function digestOf(line: Uint8Array): string {
  return createHash('sha1').update(line).digest('base64');
}

/** The MCP side of a tap: counts answers to its requests, keeps what it received. */
export class Client {
  readonly child: ChildProcessWithoutNullStreams;
  /** Digests of the lines sent and received, in order. */
  readonly sent: string[] = [];
  readonly received: string[] = [];
  readonly answers = new Map<number, number>();
  readonly errors: { id: unknown; error: { code: number; message: string; data?: Record<string, unknown> } }[] = [];
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stderr = '';
  hasEnded = false;
  #nextId = 1;
  readonly #lines = new Lines();

  constructor(child: ChildProcessWithoutNullStreams) {
    this.child = child;
    child.stdout.on('data', (chunk: Buffer) => this.#lines.push(chunk, (line) => this.#receive(line)));
    child.stderr.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.ended = new Promise((done) =>
      child.on('close', (code, signal) => {
        this.hasEnded = true;
        done({ code, signal });
      }),
    );
  }

  get asked(): number {
    return this.#nextId - 1;
  }

  get outstanding(): number {
    return this.asked - this.answers.size;
  }

  /** For a while no recorder could be reached: `onUnrecordable` decided, and some messages were refused or withheld. */
  get gaveUp(): boolean {
    return this.stderr.includes('no recorder answers');
  }

  #receive(line: Buffer): void {
    const message = JSON.parse(line.toString('utf8')) as Record<string, unknown> | Record<string, unknown>[];
    const items = Array.isArray(message) ? message : [message];
    // what sworn says itself is no delivery
    if (!items.some((one) => (one['error'] as { code?: number } | undefined)?.code === 5030)) this.received.push(digestOf(line));
    for (const one of items) {
      if ('method' in one) continue;
      if ('error' in one) this.errors.push(one as (typeof this.errors)[number]);
      this.answers.set(one['id'] as number, (this.answers.get(one['id'] as number) ?? 0) + 1);
    }
  }

  /** Sends one request and returns its id. */
  request(params: Record<string, unknown>): number {
    const id = this.#nextId++;
    this.write({ jsonrpc: '2.0', id, method: 'echo', params });
    return id;
  }

  batch(items: Record<string, unknown>[]): void {
    this.write(items.map((params) => ({ jsonrpc: '2.0', id: this.#nextId++, method: 'echo', params })));
  }

  write(message: unknown): void {
    const line = Buffer.from(JSON.stringify(message));
    this.sent.push(digestOf(line));
    this.child.stdin.write(Buffer.concat([line, Buffer.from('\n')]));
  }

  answered(id: number): boolean {
    return this.answers.has(id);
  }

  /** Waits for an answer to everything that was asked. */
  async settled(limitMs?: number): Promise<void> {
    await until(`${this.outstanding} answers`, () => this.outstanding === 0 || this.hasEnded, limitMs);
  }
}

/** What the echo server says of itself: digests of whole lines, in order. */
export function readServerLog(path: string): { pid: number | undefined; received: string[]; sent: string[] } {
  const log = { pid: undefined as number | undefined, received: [] as string[], sent: [] as string[] };
  if (!existsSync(path)) return log;
  new Lines().push(readFileSync(path), (line) => {
    const rest = line.subarray(2);
    if (line[0] === 0x70) log.pid = Number(rest.toString());
    else (line[0] === 0x72 ? log.received : log.sent).push(digestOf(rest));
  });
  return log;
}

export interface RecordedConnection {
  labels: Record<string, string>;
  opens: number;
  closes: string[];
  entries: Entry[];
  /** Digest of each frame in order of the ledger, per direction; with it its last unit and how many units it has. */
  frames: { c2s: RecordedFrame[]; s2c: RecordedFrame[] };
}

export interface RecordedFrame {
  digest: string;
  tapSeq: number;
  parts: number;
  index: number;
  /** Its sender was killed within the line. */
  unterminated: boolean;
}

/** Everything in a ledger's segments that nobody writes at the moment. Parsed here again, so that a reader's mistake cannot hide a writer's. */
export function readLedger(ledger: string): { entries: Entry[]; connections: Map<string, RecordedConnection> } {
  const payload = join(ledger, 'payload');
  const entries: Entry[] = [];
  const connections = new Map<string, RecordedConnection>();
  const parts = new Map<string, Buffer>();
  for (const firstIndex of segmentFiles(payload)) {
    for (const scanned of scanSegment(join(payload, segmentName(firstIndex)))) {
      if (scanned.kind !== 'record') throw new Error(`${segmentName(firstIndex)} is ${scanned.kind} at ${scanned.offset}`);
      const { record } = scanned;
      if (record.type === 'part') {
        parts.set(`${firstIndex}:${scanned.offset}`, record.bytes);
        continue;
      }
      const entry = JSON.parse(record.leaf.toString('utf8')) as Entry;
      if (record.index !== entries.length) throw new Error(`index ${record.index} stands where ${entries.length} belongs`);
      entries.push(entry);
      if (!('connection' in entry) || entry.connection === undefined) continue;
      let connection = connections.get(entry.connection);
      if (connection === undefined) {
        connection = { labels: {}, opens: 0, closes: [], entries: [], frames: { c2s: [], s2c: [] } };
        connections.set(entry.connection, connection);
      }
      connection.entries.push(entry);
      if (entry.kind === 'open') {
        connection.opens++;
        connection.labels = entry.labels ?? {};
      } else if (entry.kind === 'close') connection.closes.push(entry.reason);
      else if ((entry.kind === 'message' && entry.batch === undefined) || entry.kind === 'batch') {
        const bytes = record.frame.map((item) =>
          item.state === 'kept' ? item.bytes : item.state === 'part' ? parts.get(`${item.file}:${item.offset}`)! : Buffer.alloc(0),
        );
        const unterminated = entry.anomalies?.includes('unterminated') === true;
        const digest = digestOf(bytes.length === 1 ? bytes[0]! : Buffer.concat(bytes));
        connection.frames[entry.direction].push({ digest, tapSeq: entry.tapSeq, parts: entry.parts ?? 1, index: record.index, unterminated });
      }
    }
  }
  return { entries, connections };
}

/** What must hold of every connection in every ledger, however its processes ended. Returns what does not. */
export function connectionFaults(name: string, connection: RecordedConnection): string[] {
  const faults: string[] = [];
  if (connection.opens !== 1) faults.push(`${name}: opened ${connection.opens} times`);
  if (connection.closes.length > 1) faults.push(`${name}: closed ${connection.closes.length} times: ${connection.closes.join(', ')}`);
  for (const direction of ['c2s', 's2c'] as const) {
    let last = 0;
    for (const { tapSeq, parts, index } of connection.frames[direction]) {
      if (tapSeq - parts < last) faults.push(`${name}: unit ${tapSeq} (${parts} parts) ${direction} at ${index} was recorded before (${last})`);
      last = Math.max(last, tapSeq);
    }
  }
  let seq = 0;
  for (const entry of connection.entries) {
    if (entry.kind !== 'message' && entry.kind !== 'batch') continue;
    if (entry.seq !== seq + 1) faults.push(`${name}: seq ${entry.seq} after ${seq}`);
    seq = entry.seq;
  }
  return faults;
}

/** Is `part` what is left of `whole` when some of it is taken out? */
function isWithin(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  for (const digest of whole) if (digest === part[at]) at++;
  return at === part.length;
}

export interface Delivered {
  /** In order; what reached the two sides, and what was sent to them at most. */
  toServer: string[];
  toClient: string[];
  byClient: string[];
  byServer: string[];
}

/**
 * Compares what was delivered with what was recorded. `tail`: frames at the end of each direction may be missing (mode `observe`, recorder and tap died).
 * `gaps`: for a while there was no recorder, and messages were refused.
 */
export function deliveryFaults(
  name: string,
  connection: RecordedConnection | undefined,
  delivered: Delivered,
  tail: boolean,
  gaps = false,
): string[] {
  const faults: string[] = [];
  for (const [direction, arrived, offered] of [
    ['c2s', delivered.toServer, delivered.byClient],
    ['s2c', delivered.toClient, delivered.byServer],
  ] as const) {
    const recorded = connection?.frames[direction].filter((frame) => !frame.unterminated).map((frame) => frame.digest) ?? [];
    if (gaps) {
      const whole = [arrived, recorded].every((part) => isWithin(part, offered));
      if (!whole) faults.push(`${name}: what arrived or was recorded ${direction} is not of what was sent, in order`);
      if (!tail && !isWithin(arrived, recorded)) faults.push(`${name}: not everything that arrived ${direction} is recorded`);
      continue;
    }
    if (arrived.length > offered.length || arrived.some((digest, i) => digest !== offered[i])) {
      faults.push(`${name}: what arrived ${direction} is not what was sent, in order`);
    }
    // recorded is a beginning of what was sent: no holes, no doubles, no other bytes
    const other = recorded.findIndex((digest, i) => digest !== offered[i]);
    if (other >= 0) faults.push(`${name}: the recorded frame ${other + 1} ${direction} of ${recorded.length} is not what was sent there`);
    if (recorded.length < arrived.length && !tail) {
      faults.push(`${name}: ${arrived.length} frames were delivered ${direction}, but only ${recorded.length} recorded`);
    }
  }
  return faults;
}
