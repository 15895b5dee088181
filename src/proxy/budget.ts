/** The memory that bodies may take while they are received: beyond it nobody's body is read on until another one is done. */
import { bodiesBytes } from '../limits.ts';

export class BodyBudget {
  readonly #mostBytes: number;
  #sizeBytes = 0;
  #waiters: (() => void)[] = [];

  constructor(mostBytes: number = bodiesBytes) {
    this.#mostBytes = mostBytes;
  }

  take(sizeBytes: number): void {
    this.#sizeBytes += sizeBytes;
  }

  give(sizeBytes: number): void {
    this.#sizeBytes -= sizeBytes;
    for (const done of this.#waiters.splice(0)) done();
  }

  /** Resolves when there is room, and after a while without: bodies that all wait for each other would wait for ever. */
  async room(waitMs = 1_000): Promise<void> {
    if (this.#sizeBytes <= this.#mostBytes) return;
    await new Promise<void>((done) => {
      const timer = setTimeout(done, waitMs);
      this.#waiters.push(() => {
        clearTimeout(timer);
        done();
      });
    });
  }
}
