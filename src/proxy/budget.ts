/** What bodies may take while they are received. Memory: beyond it nobody's body is read on until another one is done. Time: between two bytes of one. */
import { bodiesBytes, bodySilenceMs } from '../limits.ts';

export class BodyBudget {
  readonly #mostBytes: number;
  readonly silenceMs: number;
  #sizeBytes = 0;
  #waiters: (() => void)[] = [];

  constructor(mostBytes: number = bodiesBytes, silenceMs: number = bodySilenceMs) {
    this.#mostBytes = mostBytes;
    this.silenceMs = silenceMs;
  }

  take(sizeBytes: number): void {
    this.#sizeBytes += sizeBytes;
  }

  give(sizeBytes: number): void {
    this.#sizeBytes -= sizeBytes;
    for (const done of this.#waiters.splice(0)) done();
  }

  get isFull(): boolean {
    return this.#sizeBytes > this.#mostBytes;
  }

  /** Resolves when there is room, and after a while without: bodies that all wait for each other would wait for ever. */
  async room(waitMs = 1_000): Promise<void> {
    if (!this.isFull) return;
    await new Promise<void>((done) => {
      const timer = setTimeout(done, waitMs);
      this.#waiters.push(() => {
        clearTimeout(timer);
        done();
      });
    });
  }
}
