/** What bodies may take while they are received. Memory: beyond it nobody's body is read on until another one is done. Time: between two bytes of one. */
import { bodiesBytes, bodySilenceMs, decodedBytes } from '../limits.ts';

export class BodyBudget {
  readonly #mostBytes: number;
  readonly silenceMs: number;
  #sizeBytes = 0;
  #waiters: (() => void)[] = [];
  #decoding: Promise<unknown> = Promise.resolve();
  #decodedBytes = 0;
  #decodedLess: (() => void) | undefined;

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

  /**
   * Decodes a body, after those that came before: what comes out of one is not known until then, and a thousand times what it is makes a few of them more than there is
   * memory. The next one waits while more than `decodedBytes` of those before are not released.
   */
  async decoded<T extends { bytes: Uint8Array }>(decode: () => Promise<T>): Promise<{ decoded: T; release: () => void }> {
    const turn = this.#decoding.then(async () => {
      while (this.#decodedBytes > decodedBytes) await new Promise<void>((done) => (this.#decodedLess = done));
      const decoded = await decode();
      this.#decodedBytes += decoded.bytes.length;
      return decoded;
    });
    this.#decoding = turn.catch(() => undefined);
    const decoded = await turn;
    let isReleased = false;
    const sizeBytes = decoded.bytes.length;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      this.#decodedBytes -= sizeBytes;
      this.#decodedLess?.();
    };
    return { decoded, release };
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
