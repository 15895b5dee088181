/**
 * The line of a tap or proxy to its recorder: connects, starts a recorder where it may, and connects again for as long as that lives.
 * It holds no key and reads no ledger; all it knows is a socket.
 */
import { lstatSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorKinds } from '../errors.ts';
import { recorderWaitMs } from '../limits.ts';
import {
  encodeJson,
  readAnswer,
  readAside,
  readJson,
  readRefusal,
  readSaid,
  WireReader,
  wireType,
  type Answer,
  type Aside,
  type Hello,
  type Refusal,
  type Said,
  type Wait,
  type Welcome,
} from './wire.ts';

export interface LinkEvents {
  /** The socket is open and `hello` is sent. On the first connection frames may follow at once. */
  connected(): void;
  welcome(welcome: Welcome): void;
  pass(answer: Answer): void;
  durable(answer: Answer): void;
  refuse(refusal: Refusal): void;
  aside?(aside: Aside): void;
  release?(aside: Aside): void;
  say?(said: Said): void;
  /** `onUnrecordable`: if the recorder says so, what counts from now on. */
  wait(wait: Wait, onUnrecordable: unknown): void;
  closed(): void;
  down(): void;
  /** Something is held back until the recorder answers. */
  waits(): boolean;
  /** No recorder for `recorderWaitMs`, or one that is silent so long while something waits for it, or one that refuses us: `onUnrecordable` decides from now on. Said once for each time it goes down. */
  unreachable(reason: string, hint: string): void;
}

export interface LinkOptions {
  socket: string;
  ledger: string;
  /** Of the recorder that is started. */
  config?: string;
  /** Somebody else starts the recorder. */
  external: boolean;
}

const retryMs = 5;
const retrySlowMs = 1_000;
/** How often it is looked whether the recorder answers. */
const watchMs = 500;
/** A recorder that died at once is not started again before this. */
const respawnMs = 500;

/** In a shared `/tmp` anybody could have made the folder, and would get to read what we hand over. One that is not there yet, the recorder makes. */
function isStrangers(folder: string): boolean {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  return stat !== undefined && (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0);
}

export class Link {
  readonly #options: LinkOptions;
  readonly #hello: () => Hello;
  readonly #events: LinkEvents;
  #socket: Socket | undefined;
  #welcomed = false;
  #connections = 0;
  #downSince = performance.now();
  #gaveUp = false;
  #stopped = false;
  #spawnedAt = -Infinity;
  /** The recorder that we started runs, or waits for the ledger's lock: another one would only take its processor time. */
  #recorderRuns = false;
  /** When the recorder last said anything, since when something waits for it, and when this was last looked at. */
  #heardAt = 0;
  #waitsSince: number | undefined;
  #watchedAt = 0;
  #reason = '';
  #hint: string = errorKinds['recorder-unreachable'].hint;

  constructor(options: LinkOptions, hello: () => Hello, events: LinkEvents) {
    this.#options = options;
    this.#hello = hello;
    this.#events = events;
  }

  start(): void {
    this.#connect();
    setInterval(() => this.#watch(), watchMs).unref();
  }

  /** Frames may be sent: the socket is open, and unless it is the first one, the recorder has said what it has. */
  get sendable(): boolean {
    return this.#socket !== undefined && (this.#welcomed || this.#connections === 1);
  }

  get up(): boolean {
    return this.#welcomed;
  }

  get unreachable(): boolean {
    return this.#gaveUp;
  }

  /** The callback fires once the kernel has the bytes; never, when the socket breaks before. */
  send(bytes: Buffer, handedOver?: () => void): void {
    const socket = this.#socket;
    socket?.write(bytes, (error) => {
      if (!error && socket === this.#socket) handedOver?.();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#socket?.end();
    this.#socket?.unref();
  }

  /**
   * A recorder that is stopped, or whose disk hangs, keeps its socket open and says nothing: what waits for it would wait for ever. Its socket is given up,
   * and a new one tried, where it answers once it can.
   */
  #watch(): void {
    const now = performance.now();
    // If it was us who stood still, what came meanwhile is not read yet.
    const stoodStill = now - this.#watchedAt > recorderWaitMs / 2;
    this.#watchedAt = now;
    if (this.#socket === undefined || (this.#welcomed && !this.#events.waits())) {
      this.#waitsSince = undefined;
      return;
    }
    if (this.#waitsSince === undefined || stoodStill) this.#waitsSince = now;
    if (now - Math.max(this.#waitsSince, this.#heardAt) <= recorderWaitMs) return;
    this.#waitsSince = undefined;
    const socket = this.#socket;
    if (!this.#gaveUp) this.#giveUp(`the recorder at ${this.#options.socket} does not answer`, errorKinds['recorder-unreachable'].hint);
    socket.destroy();
  }

  #connect(): void {
    if (this.#stopped) return;
    if (!this.#options.external && isStrangers(dirname(this.#options.socket))) {
      this.#reason = `the socket folder ${dirname(this.#options.socket)} is not a folder of yours that is closed to others`;
      this.#hint = errorKinds['socket-unsafe'].hint;
      this.#retry(undefined);
      return;
    }
    const socket = connect(this.#options.socket);
    const reader = new WireReader();
    let failure: NodeJS.ErrnoException | undefined;
    socket.on('connect', () => {
      this.#socket = socket;
      this.#connections++;
      socket.write(encodeJson(wireType.hello, this.#hello()));
      this.#events.connected();
    });
    socket.on('data', (chunk) => {
      this.#heardAt = performance.now();
      if (!reader.push(chunk, (type, body) => this.#receive(type, body))) socket.destroy();
    });
    socket.on('error', (error) => (failure = error));
    socket.on('close', () => {
      const wasOpen = this.#socket === socket;
      if (wasOpen) {
        this.#socket = undefined;
        if (this.#welcomed) this.#downSince = performance.now();
        this.#welcomed = false;
        this.#events.down();
      }
      this.#retry(failure);
    });
  }

  #retry(failure: NodeJS.ErrnoException | undefined): void {
    if (this.#stopped) return;
    const absent = failure?.code === 'ENOENT' || failure?.code === 'ECONNREFUSED';
    if (absent && !this.#options.external) this.#startRecorder();
    if (!this.#gaveUp && performance.now() - this.#downSince > recorderWaitMs) this.#giveUp(this.#reason || this.#describe(failure), this.#hint);
    setTimeout(() => this.#connect(), this.#gaveUp ? retrySlowMs : retryMs);
  }

  #describe(failure: NodeJS.ErrnoException | undefined): string {
    if (failure?.code === 'EACCES') return `the socket ${this.#options.socket} is closed to this account`;
    return `no recorder answers at ${this.#options.socket}`;
  }

  #giveUp(reason: string, hint: string): void {
    this.#gaveUp = true;
    this.#events.unreachable(reason, hint);
  }

  #startRecorder(): void {
    const now = performance.now();
    if (this.#recorderRuns || now - this.#spawnedAt < respawnMs) return;
    this.#spawnedAt = now;
    this.#recorderRuns = true;
    const { ledger, config } = this.#options;
    const program = fileURLToPath(new URL('../bin/sworn.mjs', import.meta.url));
    void import('./start-recorder.ts').then(({ startRecorder }) =>
      startRecorder(
        { program, ledger, ...(config === undefined ? {} : { config }) },
        (reason, hint) => {
          this.#reason = reason;
          if (hint !== undefined) this.#hint = hint;
        },
        () => (this.#recorderRuns = false),
      ),
    );
  }

  #receive(type: number, body: Buffer): void {
    switch (type) {
      case wireType.pass:
      case wireType.durable: {
        const answer = readAnswer(body);
        if (answer) (type === wireType.pass ? this.#events.pass : this.#events.durable)(answer);
        return;
      }
      case wireType.refuse: {
        const refusal = readRefusal(body);
        if (refusal) this.#events.refuse(refusal);
        return;
      }
      case wireType.aside:
      case wireType.release: {
        const aside = readAside(body, type === wireType.aside ? 2 : 1);
        if (aside) (type === wireType.aside ? this.#events.aside : this.#events.release)?.(aside);
        return;
      }
      case wireType.say: {
        const said = readSaid(body);
        if (said) this.#events.say?.(said);
        return;
      }
      case wireType.welcome: {
        const welcome = readJson(body) as Welcome | undefined;
        if (welcome === undefined) return;
        this.#welcomed = true;
        this.#gaveUp = false;
        this.#reason = '';
        this.#events.welcome(welcome);
        return;
      }
      case wireType.wait: {
        const json = readJson(body);
        const wait = json?.['wait'];
        if (wait === 'receipt' || wait === 'verdict' || wait === 'none') this.#events.wait(wait, json!['onUnrecordable']);
        return;
      }
      case wireType.closed:
        this.#events.closed();
        return;
      case wireType.error: {
        // a recorder that will not have us: holding frames for 10 s would change nothing
        const error = readJson(body);
        this.#reason = typeof error?.['message'] === 'string' ? error['message'] : 'the recorder refused this connection';
        if (typeof error?.['hint'] === 'string') this.#hint = error['hint'];
        if (!this.#gaveUp) this.#giveUp(this.#reason, this.#hint);
        return;
      }
      default: // a newer recorder may say more than we know
    }
  }
}
