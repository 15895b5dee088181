/**
 * Where records lie from their encoding until they are durable: few large pieces of memory, one record behind the other, so that a batch is written from where it
 * was encoded, in as few pieces. They are used again and again. What must stay true: nobody reads from a slab what is not counted as living in it.
 */

const slabBytes = 256 * 1024;
/** A larger one gets memory of its own. */
const largestBytes = 64 * 1024;
const sparesCount = 8;

/** One piece; `live` of its records are not durable yet. */
export interface Slab {
  readonly bytes: Buffer;
  at: number;
  live: number;
}

export class Slabs {
  #current: Slab = newSlab();
  readonly #spares: Slab[] = [];

  /** Room for a record, which lives in `current` until `release`. */
  allocate = (sizeBytes: number): Buffer => {
    if (sizeBytes > largestBytes) return Buffer.allocUnsafeSlow(sizeBytes);
    if (this.#current.at + sizeBytes > slabBytes) this.#current = this.#spares.pop() ?? newSlab();
    const { bytes, at } = this.#current;
    this.#current.at = at + sizeBytes;
    return bytes.subarray(at, at + sizeBytes);
  };

  /** The record that was encoded last lives. */
  keep(): Slab {
    this.#current.live++;
    return this.#current;
  }

  /** It is durable, or given up. */
  release(slab: Slab): void {
    if (--slab.live > 0) return;
    slab.at = 0;
    if (slab !== this.#current && this.#spares.length < sparesCount) this.#spares.push(slab);
  }
}

function newSlab(): Slab {
  return { bytes: Buffer.allocUnsafeSlow(slabBytes), at: 0, live: 0 };
}

/** The same bytes in fewer pieces: neighbours in one memory become one. */
export class Pieces {
  readonly #pieces: Buffer[] = [];
  #first: Buffer | undefined;
  #sizeBytes = 0;

  add(buffers: readonly Buffer[]): void {
    for (const buffer of buffers) {
      const first = this.#first;
      if (first !== undefined && buffer.buffer === first.buffer && buffer.byteOffset === first.byteOffset + this.#sizeBytes)
        this.#sizeBytes += buffer.length;
      else {
        this.#end();
        this.#first = buffer;
        this.#sizeBytes = buffer.length;
      }
    }
  }

  all(): Buffer[] {
    this.#end();
    this.#first = undefined;
    return this.#pieces;
  }

  #end(): void {
    const first = this.#first;
    if (first === undefined) return;
    this.#pieces.push(this.#sizeBytes === first.length ? first : Buffer.from(first.buffer, first.byteOffset, this.#sizeBytes));
  }
}
