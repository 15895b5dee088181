/**
 * What a socket has brought and the recorder has not worked on yet. A tap that waits for our answer is served at once. A tap that does not (wait class
 * `none`) only needs its bytes taken off the socket: working on them in the middle of a burst would take the processor from the conversation, so
 * they lie here until the burst pauses, for a bounded time and up to a bounded size.
 *
 * What must stay true: chunks are worked on in the order in which they came; nothing that was taken off the socket is forgotten when it closes.
 * If we die here: none of it was answered as durable, so the tap sends it again.
 */
import type { Socket } from 'node:net';
import { inboxBytes, inboxLatestMs, inboxQuietMs } from '../limits.ts';

/** A few messages and no burst: worked on at once, which costs the conversation less than to be woken twice. */
const loneBytes = 6 * 1024;

export class Inbox {
  readonly #socket: Socket;
  readonly #work: (chunk: Buffer) => void;
  readonly #mayWait: () => boolean;
  readonly #mayRead: () => boolean;
  #chunks: Buffer[] = [];
  #sizeBytes = 0;
  #since = 0;
  #quiet: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;

  /** `mayWait`: nobody waits for an answer to what comes. `mayRead`: nobody else has reason to keep the socket paused. */
  constructor(socket: Socket, work: (chunk: Buffer) => void, mayWait: () => boolean, mayRead: () => boolean) {
    this.#socket = socket;
    this.#work = work;
    this.#mayWait = mayWait;
    this.#mayRead = mayRead;
  }

  push(chunk: Buffer): void {
    if (this.#chunks.length === 0) {
      if (chunk.length <= loneBytes || !this.#mayWait()) {
        this.#work(chunk);
        return;
      }
      this.#since = performance.now();
    }
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
    if (this.#turn !== undefined) {
      if (this.#sizeBytes > inboxBytes) this.#socket.pause();
    } else if (!this.#mayWait() || this.#sizeBytes > inboxBytes / 2 || performance.now() - this.#since > inboxLatestMs) this.#begin();
    else if (this.#quiet === undefined) this.#quiet = setTimeout(() => this.#begin(), inboxQuietMs);
    else this.#quiet.refresh();
  }

  #begin(): void {
    clearTimeout(this.#quiet);
    this.#quiet = undefined;
    this.#turn ??= setImmediate(() => this.#takeOne());
  }

  /** One chunk a turn: other sockets, and what else this one brings, come in between. */
  #takeOne(): void {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#sizeBytes -= chunk.length;
      this.#work(chunk);
    }
    this.#turn = this.#chunks.length === 0 ? undefined : setImmediate(() => this.#takeOne());
    if (this.#socket.isPaused() && this.#sizeBytes < inboxBytes / 2 && this.#mayRead()) this.#socket.resume();
  }

  /** Works on everything that is here: the socket has closed, or what a tap waits for has changed. */
  drain(): void {
    clearTimeout(this.#quiet);
    clearImmediate(this.#turn);
    this.#quiet = undefined;
    this.#turn = undefined;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#sizeBytes = 0;
    for (const chunk of chunks) this.#work(chunk);
  }
}
