/**
 * Frames of the stdio transport (MCP, Transports › stdio: messages are delimited by newlines): cuts a byte stream at 0x0A and nowhere else.
 * Nothing is decoded, and a CR before the LF stays part of the line, because the bytes that leave must be the bytes that came.
 */
import { concat } from '../bytes/bytes.ts';
import { unitBytes as defaultUnitBytes } from '../limits.ts';

export interface Unit {
  /** 0 to `unitBytes` bytes of one line, without its line end. May be a view of the chunk that was pushed. */
  bytes: Uint8Array;
  /** More units of the same line follow. */
  more: boolean;
  /** A line end followed; `false` where `more` is true, and for a last line without one. */
  terminated: boolean;
}

const lineEnd = 0x0a;

/**
 * Cuts chunks into lines, and lines longer than `unitBytes` into units of exactly `unitBytes` with a shorter last one. A full unit is held until
 * the byte after it is seen, so that a line of k × `unitBytes` is k units and no unit but that of an empty line is empty.
 * A pushed chunk must not be written to afterwards.
 */
export class LineSplitter {
  readonly #unitBytes: number;
  #held: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(unitBytes: number = defaultUnitBytes) {
    this.#unitBytes = unitBytes;
  }

  /** Bytes that were pushed and not yet given out: at most `unitBytes`. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** The units that are complete with this chunk, in order. */
  push(chunk: Uint8Array): Unit[] {
    const units: Unit[] = [];
    let at = 0;
    while (at < chunk.length) {
      const found = chunk.indexOf(lineEnd, at);
      const end = found < 0 ? chunk.length : found;
      while (end - at > this.#unitBytes - this.#heldBytes) {
        const cut = at + this.#unitBytes - this.#heldBytes;
        units.push({ bytes: this.#take(chunk, at, cut), more: true, terminated: false });
        at = cut;
      }
      if (found < 0) {
        if (end > at) {
          this.#held.push(at === 0 ? chunk : chunk.subarray(at));
          this.#heldBytes += end - at;
        }
        break;
      }
      units.push({ bytes: this.#take(chunk, at, end), more: false, terminated: true });
      at = end + 1;
    }
    return units;
  }

  /** The last unit of a stream that ended without a line end, or none. */
  end(): Unit[] {
    return this.#heldBytes === 0 ? [] : [{ bytes: this.#take(new Uint8Array(0), 0, 0), more: false, terminated: false }];
  }

  #take(chunk: Uint8Array, from: number, to: number): Uint8Array {
    const rest = chunk.subarray(from, to);
    if (this.#heldBytes === 0) return rest;
    const bytes = this.#held.length === 1 && rest.length === 0 ? this.#held[0]! : concat(...heldParts(this.#held), rest);
    this.#held = [];
    this.#heldBytes = 0;
    return bytes;
  }
}

/** A line that came in very many chunks: a call takes only so many arguments, so they are joined in groups first. */
function heldParts(parts: Uint8Array[]): Uint8Array[] {
  let level = parts;
  while (level.length > 4096) {
    const joined: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += 4096) joined.push(concat(...level.slice(i, i + 4096)));
    level = joined;
  }
  return level;
}
