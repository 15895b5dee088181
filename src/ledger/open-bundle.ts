/**
 * The entry bundle at the end of the log while it is filled (C2SP tlog-tiles): its bytes as they will be written, so that nobody keeps its entries one by one.
 * They lie in memory that a thread which writes them sees without a copy, and are used again when it has.
 */
import { entryBytes, tileWidth } from '../limits.ts';

/** Holds 256 entries of the usual length. Twice as much for those that are longer, as often as needed. */
const usualBytes = 256 * 1024;
const sparesCount = 8;

export class OpenBundle {
  #bytes: Uint8Array;
  #at = 0;
  #count = 0;
  readonly #spares: Uint8Array[] = [];

  constructor() {
    this.#bytes = room(usualBytes);
  }

  /** Entries so far. */
  get count(): number {
    return this.#count;
  }

  /** @throws RangeError for a 257th entry, or one of more than 65,535 bytes */
  push(entry: Uint8Array): void {
    if (this.#count === tileWidth) throw new RangeError(`a bundle holds at most ${tileWidth} entries`);
    if (entry.length > entryBytes) throw new RangeError(`an entry has at most ${entryBytes} bytes, not ${entry.length}`);
    const end = this.#at + 2 + entry.length;
    if (end > this.#bytes.length) {
      const larger = room(Math.max(end, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, this.#at));
      this.#bytes = larger;
    }
    this.#bytes[this.#at] = entry.length >> 8;
    this.#bytes[this.#at + 1] = entry.length & 255;
    this.#bytes.set(entry, this.#at + 2);
    this.#at = end;
    this.#count++;
  }

  /** The bundle as it is now, as a copy. */
  copy(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  /** The bundle; another one begins. Its bytes are the caller's until they come back (`reuse`), if they do. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#bytes = this.#spares.pop() ?? room(usualBytes);
    this.#at = 0;
    this.#count = 0;
    return taken;
  }

  /** Nobody reads these bytes any more. */
  reuse(taken: Uint8Array): void {
    if (taken.buffer.byteLength === usualBytes && this.#spares.length < sparesCount) this.#spares.push(new Uint8Array(taken.buffer));
  }
}

function room(sizeBytes: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(sizeBytes));
}
