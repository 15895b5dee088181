/**
 * Looks for many values at once in bytes (Aho and Corasick, 1975): linear in the bytes, however the values and the bytes are made. Of a value only its
 * beginning is compared; where that stands, as much as the value is long is taken for it.
 */
import type { Keep } from './policy.ts';

export interface Repeat {
  /** The beginning of the value, UTF-8. */
  readonly prefix: Uint8Array;
  /** Of the whole value, in bytes. */
  readonly length: number;
  readonly keep: Keep;
}

const prefixBytes = 64;
/** Of very many values a shorter beginning is compared: all beginnings together have so many bytes, unless each would have fewer than eight. */
const prefixesBytes = 32 * 1024;
const shortestPrefix = 8;

/** `undefined` for one byte again and again, which would be found everywhere; a value that begins so is looked for from where that ends. */
export function repeatOf(bytes: Uint8Array, start: number, end: number, keep: Keep): Repeat | undefined {
  let differs = start + 1;
  while (differs < end && bytes[differs] === bytes[start]) differs++;
  if (differs >= end) return undefined;
  const from = differs - start < prefixBytes ? start : differs - shortestPrefix;
  return { prefix: bytes.slice(from, Math.min(end, from + prefixBytes)), length: end - from, keep };
}

/** As a text that can be kept with a request, and sent to a thread. */
export const repeatText = {
  write({ prefix, length, keep }: Repeat): string {
    return `${keep === 'drop' ? '-' : '?'}${length} ${String.fromCharCode(...prefix)}`;
  },
  read(text: string): Repeat | undefined {
    const blank = text.indexOf(' ');
    const length = Number(text.slice(1, blank));
    if (blank < 2 || !Number.isSafeInteger(length)) return undefined;
    return { prefix: Uint8Array.from(text.slice(blank + 1), (unit) => unit.charCodeAt(0)), length, keep: text[0] === '-' ? 'drop' : 'checkable' };
  },
};

export class Repeats {
  /** Bytes that are in no value share one class. */
  readonly #classes = new Uint16Array(256);
  readonly #width: number;
  /** For each state and class the next state. */
  readonly #next: Int32Array;
  /** For each state how far before its end the longest value begins that ends there, 0 for none, and how much further one of them goes on. */
  readonly #back: Int32Array;
  readonly #ahead: Int32Array;
  readonly #drops: Uint8Array;

  constructor(values: readonly Repeat[]) {
    const most = Math.max(shortestPrefix, Math.floor(prefixesBytes / values.length));
    const prefixes = values.map(({ prefix }) => (prefix.length <= most ? prefix : prefix.subarray(0, most)));
    let width = 1;
    let states = 1;
    for (const prefix of prefixes) {
      states += prefix.length;
      for (const byte of prefix) if (this.#classes[byte] === 0) this.#classes[byte] = width++;
    }
    this.#width = width;
    const next = (this.#next = new Int32Array(states * width));
    this.#back = new Int32Array(states);
    this.#ahead = new Int32Array(states);
    this.#drops = new Uint8Array(states);
    let used = 1;
    for (const [at, { length, keep }] of values.entries()) {
      const prefix = prefixes[at]!;
      let state = 0;
      for (const byte of prefix) {
        const edge = state * width + this.#classes[byte]!;
        state = next[edge] === 0 ? (next[edge] = used++) : next[edge]!;
      }
      this.#back[state] = prefix.length;
      this.#ahead[state] = Math.max(this.#ahead[state]!, length - prefix.length);
      if (keep === 'drop') this.#drops[state] = 1;
    }
    this.#link(used);
  }

  /** Completes the steps of each state by those of the longest suffix of what it stands for. */
  #link(states: number): void {
    const width = this.#width;
    const next = this.#next;
    const suffix = new Int32Array(states);
    const queue: number[] = [];
    for (let edge = 0; edge < width; edge++) if (next[edge] !== 0) queue.push(next[edge]!);
    for (let at = 0; at < queue.length; at++) {
      const state = queue[at]!;
      const shorter = suffix[state]!;
      this.#back[state] = Math.max(this.#back[state]!, this.#back[shorter]!);
      this.#ahead[state] = Math.max(this.#ahead[state]!, this.#ahead[shorter]!);
      this.#drops[state]! |= this.#drops[shorter]!;
      for (let edge = 0; edge < width; edge++) {
        const target = next[state * width + edge]!;
        const other = next[shorter * width + edge]!;
        if (target === 0) next[state * width + edge] = other;
        else {
          suffix[target] = other;
          queue.push(target);
        }
      }
    }
  }

  /** Where values stand from `start` to `end`; they may overlap. */
  find(bytes: Uint8Array, start: number, end: number, found: (start: number, end: number, keep: Keep) => void): void {
    const classes = this.#classes;
    const next = this.#next;
    const back = this.#back;
    const width = this.#width;
    let state = 0;
    for (let at = start; at < end; at++) {
      state = next[state * width + classes[bytes[at]!]!]!;
      if (back[state] !== 0) {
        found(at + 1 - back[state]!, Math.min(end, at + 1 + this.#ahead[state]!), this.#drops[state] === 1 ? 'drop' : 'checkable');
      }
    }
  }
}
