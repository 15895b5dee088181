/**
 * The recorder's socket in the file system, and who is connected to it: binds it, bounds how many may come, and cuts what they send into messages of the wire. What a message
 * means is for whoever attends to them.
 */
import { once } from 'node:events';
import { chmodSync, chownSync, statSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { errorKinds, SwornError, type ErrorCode } from '../errors.ts';
import { connections as mostConnections, connectionsOfOthers } from '../limits.ts';
import { encodeJson, WireReader, wireType } from '../wire/wire.ts';
import { Inbox } from './inbox.ts';
import { isServed } from './lock.ts';
import type { Native } from './native.ts';
import { peerOf, type Peer } from './peer.ts';

/** How long a socket may be open without a word. */
const helloWaitMs = 10_000;
/** How long the end waits for sockets that should close by themselves. */
const endWaitMs = 1_000;

/** Who attends to one socket. */
export interface Attendant {
  receive(type: number, body: Buffer): void;
  /** Everything that a chunk held was received. */
  worked(): void;
  /** Nobody waits for an answer to what comes. */
  mayWait(): boolean;
  left(): void;
}

interface ListenerOptions {
  /** Of the socket. */
  path: string;
  /** Who may connect beside its own account. */
  groupId?: number | undefined;
  native: Native | { missing: string };
  log: (line: string) => void;
  /** While it does not hold, nothing more is read from anybody. */
  mayRead(): boolean;
  attend(socket: Socket, peer: Peer): Attendant;
  /** Somebody came. */
  came(): void;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #sockets = new Set<Socket>();
  /** How many of them each account has; `undefined`: of the kernel that does not say whose they are. */
  readonly #socketsOf = new Map<number | undefined, number>();
  /** Nothing more is taken from these. One that merely closed may have left something to be worked on. */
  readonly #refused = new WeakSet<Socket>();
  #server: Server | undefined;
  #ending = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** How many are connected. */
  get size(): number {
    return this.#sockets.size;
  }

  /** @throws (rejects) SwornError `lock-held`, or the system's error */
  async listen(): Promise<void> {
    const { path } = this.#options;
    // We hold the ledger's lock, so whoever left its own socket is gone; one that was chosen may be another ledger's.
    if (await isServed(path)) throw new SwornError('lock-held', `another recorder listens at ${path}`);
    await this.#bind();
  }

  async #bind(): Promise<void> {
    const { path, groupId } = this.#options;
    this.unlink();
    const server = createServer((socket) => this.#accept(socket));
    this.#server = server;
    const listening = once(server, 'listening');
    // No moment at which anybody else can connect: the file appears with the right mode. It is made within the call.
    const umask = process.umask(0o177);
    try {
      server.listen({ path, backlog: 511 });
    } finally {
      process.umask(umask);
    }
    await listening;
    if (groupId !== undefined) {
      chownSync(path, -1, groupId);
      chmodSync(path, 0o660);
    }
  }

  /** Somebody may have tidied up: without its socket nobody finds us. */
  lookAfterPlace(): void {
    const { path, log } = this.#options;
    if (!isGone(path)) return;
    log(`the socket ${path} was taken away`);
    this.#server?.close();
    this.#bind().catch((error: Error) => log(`cannot listen at ${path}: ${error.message}`));
  }

  #accept(socket: Socket): void {
    if (this.#ending || this.#sockets.size >= mostConnections) {
      socket.destroy();
      return;
    }
    const peer = peerOf(socket, this.#options.native);
    const ofUid = this.#socketsOf.get(peer.uid) ?? 0;
    if (peer.uid !== process.getuid?.() && ofUid >= connectionsOfOthers) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    this.#socketsOf.set(peer.uid, ofUid + 1);
    this.#options.came();
    surviveWrites(socket);
    // who connects and says nothing must not keep this recorder from ending
    const silent = setTimeout(() => socket.destroy(), helloWaitMs);
    const reader = new WireReader();
    const attendant = this.#options.attend(socket, peer);
    const receive = (type: number, body: Buffer): void => {
      if (this.#refused.has(socket)) return;
      clearTimeout(silent);
      attendant.receive(type, body);
    };
    const work = (chunk: Buffer): void => {
      try {
        if (!reader.push(chunk, receive)) this.refuse(socket, 'wire-corrupt', 'this is not the protocol of a sworn tap');
      } catch (error) {
        this.defect(socket, error as Error);
      }
      if (!this.#options.mayRead()) socket.pause();
      attendant.worked();
    };
    const inbox = new Inbox(
      socket,
      work,
      () => attendant.mayWait(),
      () => this.#options.mayRead(),
    );
    socket.on('data', (chunk) => inbox.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      inbox.drain();
      clearTimeout(silent);
      this.#sockets.delete(socket);
      const left = this.#socketsOf.get(peer.uid)! - 1;
      if (left > 0) this.#socketsOf.set(peer.uid, left);
      else this.#socketsOf.delete(peer.uid);
      attendant.left();
    });
  }

  /** A stranger's input must not end the recorder for everybody else. */
  defect(socket: Socket, error: Error): void {
    this.#options.log(`defect: ${error.stack}`);
    this.refuse(socket, 'internal', `the recorder failed on a message: ${error.message}`);
  }

  /** Says why, and hears nothing more. */
  refuse(socket: Socket, code: ErrorCode, message: string): void {
    this.#refused.add(socket);
    socket.end(encodeJson(wireType.error, { code, message, hint: errorKinds[code].hint }));
    socket.destroySoon();
  }

  /** Takes nobody on any more, and waits until all have gone. What those of `isTap` have sent is still worked on. */
  async end(isTap: (socket: Socket) => boolean): Promise<void> {
    this.#ending = true;
    this.#server?.close();
    const closed = Promise.all([...this.#sockets].map((socket) => new Promise((done) => socket.once('close', done))));
    // What the taps have sent is on its way; a socket that is closed for reading keeps what they have not: they send it to the next recorder.
    for (const socket of this.#sockets) {
      if (isTap(socket)) socket.destroySoon();
      else socket.end();
    }
    // one that is stopped, or a stranger's, takes its time
    const impatient = setTimeout(() => this.#sockets.forEach((socket) => socket.destroy()), endWaitMs);
    await closed;
    clearTimeout(impatient);
  }

  /** Takes the file away, so that nobody tries it in vain. A folder that keeps us from it keeps it; who connects there is refused. */
  unlink(): void {
    try {
      if (statSync(this.#options.path).isSocket()) unlinkSync(this.#options.path);
    } catch {
      // there is none, or it is not ours to take away
    }
  }
}

/** A file system that does not answer for a moment, or a folder that keeps us from it, took nothing away. */
export function isGone(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

/**
 * A tap that died has left bytes that are still to be read. A write that fails would destroy the socket, and with it what was handed over: so none fails.
 * The end of the stream comes all the same.
 */
function surviveWrites(socket: Socket): void {
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  socket._write = (chunk, encoding, done) => write(chunk, encoding, () => done());
  if (writev !== undefined) socket._writev = (chunks, done) => writev(chunks, () => done());
}
