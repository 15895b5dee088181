/**
 * One text while it is searched: what kind each character is, how far runs of an alphabet reach, and what was found.
 * Positions are UTF-16 units. Everything above U+007F is neither letter nor digit here, so a value may stand directly beside such text.
 */
import type { Hit } from '../range.ts';

/**
 * What the search does at a character: nothing (0), look around it for what may stand there, or read a word (letter or `_`, digit). The kinds of words are the highest, so that
 * one comparison tells them.
 */
export const Kind = {
  none: 0,
  colon: 1,
  equals: 2,
  at: 3,
  plus: 4,
  tilde: 5,
  dot: 6,
  parenthesis: 7,
  dash: 8,
  greater: 9,
  letter: 10,
  digit: 11,
} as const;

export const kinds = new Uint8Array(256);
for (let code = 48; code <= 57; code++) kinds[code] = Kind.digit;
for (let code = 65; code <= 90; code++) kinds[code] = kinds[code + 32] = Kind.letter;
kinds[95] = Kind.letter;
kinds[58] = Kind.colon;
kinds[61] = Kind.equals;
kinds[64] = Kind.at;
kinds[43] = Kind.plus;
kinds[126] = Kind.tilde;
kinds[46] = Kind.dot;
kinds[40] = Kind.parenthesis;
kinds[45] = Kind.dash;
kinds[62] = Kind.greater;

/** The alphabets that credentials are written in, as bits of `alphabets`. */
export const alphabetNames = ['hex', 'upper', 'alnum', 'url', 'base64', 'dotted', 'lower', 'letter'] as const;
export type Alphabet = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7;

const alphabets = new Uint8Array(256);
for (const [bit, characters] of [/[0-9a-f]/, /[0-9A-Z]/, /[0-9A-Za-z]/, /[\w-]/, /[0-9A-Za-z+/=]/, /[\w.~-]/, /[0-9a-z]/, /[A-Za-z]/].entries()) {
  for (let code = 0; code < 128; code++) if (characters.test(String.fromCharCode(code))) alphabets[code]! |= 1 << bit;
}

/** A table of the characters of `text`, by their units. */
export function setOf(text: string): Uint8Array {
  const set = new Uint8Array(256);
  for (let at = 0; at < text.length; at++) set[text.charCodeAt(at)] = 1;
  return set;
}

/** What stands for a unit above U+007F. */
export const beyond = 128;
/** Zeros after the text: whoever looks a little too far sees no character. */
const margin = 64;
const encoder = new TextEncoder();
/** Texts of up to this many units share one buffer: most are short, and a new buffer would cost more than the search. */
const shared = 256 * 1024;
let buffer = new Uint8Array(16 * 1024);

/** Room for a text and the zeros after it. */
function roomFor(length: number): Uint8Array {
  const sizeBytes = length + margin;
  if (length > shared) return new Uint8Array(sizeBytes);
  if (buffer.length < sizeBytes) buffer = new Uint8Array(Math.min(2 * sizeBytes, shared + margin));
  return buffer;
}

/**
 * The text's units, one byte each: ASCII as it is (`ascii`, where that is known), everything else as `beyond`. Reading bytes takes a third of the time of
 * `charCodeAt`.
 */
function unitsOf(text: string, ascii: Uint8Array | undefined): Uint8Array {
  const { length } = text;
  const units = roomFor(length);
  if (ascii !== undefined) units.set(ascii);
  else {
    const { read, written } = encoder.encodeInto(text, units.subarray(0, length));
    if (read < length || written !== length) {
      const bytes = new Uint8Array(length * 3);
      const size = encoder.encodeInto(text, bytes).written;
      let to = 0;
      for (let at = 0; at < size; at++) {
        const byte = bytes[at]!;
        if (byte < 0x80) units[to++] = byte;
        // the first byte of two, three or four; four bytes are two units
        else if (byte >= 0xc0) {
          units[to++] = beyond;
          if (byte >= 0xf0) units[to++] = beyond;
        }
      }
    }
  }
  units.fill(0, length, length + margin);
  return units;
}

const remembered = 8;

/** The last runs of each alphabet that were longer than a few characters. */
class Runs {
  readonly starts = new Int32Array(8 * remembered).fill(-1);
  readonly ends = new Int32Array(8 * remembered).fill(-1);
  readonly next = new Uint8Array(8);
}

export class Scan {
  readonly text: string;
  /** `text` in bytes (`unitsOf`), good until the next scan begins; zeros behind its end. */
  readonly units: Uint8Array;
  readonly #wanted: ReadonlySet<string>;
  /** In order of their starts. */
  readonly found: Hit[] = [];
  /** Before this position assignments were already judged: a value that looks like assignments itself is judged once. */
  assignedTo = 0;
  /** The end of the last web token: its parts look like beginnings of further ones. */
  webTokenEnd = 0;
  /** The position of an `@` that ends the name and password in an address, so that what stands before it is no mailbox. */
  userinfoEnd = -1;
  // Looking again from inside a run costs nothing, so all looking together is linear. No format looks at more than five runs of one alphabet from one place,
  // so `remembered` of them cannot be driven out while they are needed.
  #runs: Runs | undefined;
  // one number may be asked about several words
  #beforeAt = -1;
  #beforeCount = 0;
  #before = '';

  constructor(text: string, wanted: ReadonlySet<string>, ascii?: Uint8Array) {
    this.text = text;
    this.units = unitsOf(text, ascii);
    this.#wanted = wanted;
  }

  wants(rule: string): boolean {
    return this.#wanted.has(rule);
  }

  add(rule: string, start: number, end: number): void {
    if (!this.#wanted.has(rule)) return;
    const hit = { start, end, rule };
    const found = this.found;
    let at = found.length;
    // a value may start a little before one that was found earlier, never far: the search looks back by bounded distances
    while (at > 0 && found[at - 1]!.start > start) at--;
    if (at === found.length) found.push(hit);
    else found.splice(at, 0, hit);
  }

  /** Where the run of an alphabet's characters ends that `from` lies in (`from` itself when there is none). */
  runEnd(alphabet: Alphabet, from: number): number {
    const runs = (this.#runs ??= new Runs());
    const first = alphabet * remembered;
    for (let at = first; at < first + remembered; at++) {
      if (from >= runs.starts[at]! && from < runs.ends[at]!) return runs.ends[at]!;
    }
    const { units } = this;
    const bit = 1 << alphabet;
    let end = from;
    while ((alphabets[units[end]!]! & bit) !== 0) end++;
    if (end - from > 8) {
      const at = first + runs.next[alphabet]!;
      runs.starts[at] = from;
      runs.ends[at] = end;
      runs.next[alphabet] = (runs.next[alphabet]! + 1) % remembered;
    }
    return end;
  }

  isIn(alphabet: Alphabet, at: number): boolean {
    return at < this.text.length && (alphabets[this.units[at]!]! & (1 << alphabet)) !== 0;
  }

  /** 0 before and behind the text, too. */
  unit(at: number): number {
    return at < 0 ? 0 : this.units[at]!;
  }

  isDigit(at: number): boolean {
    return at >= 0 && kinds[this.units[at]!] === Kind.digit;
  }

  /** A letter, a digit or `_`. */
  isWord(at: number): boolean {
    return at >= 0 && kinds[this.units[at]!]! >= Kind.letter;
  }

  isAlnum(at: number): boolean {
    return this.isWord(at) && this.units[at] !== 95;
  }

  /** Whether `at` is the letter of `\n`, `\r` or `\t` written out, as in JSON inside JSON. */
  isEscape(at: number): boolean {
    if (at < 1 || this.units[at - 1] !== 92) return false;
    const code = this.units[at];
    return code === 110 || code === 114 || code === 116;
  }

  /** Whether a number or code from `start` to `end` stands for itself, and is no part of a longer name, number, id or path. */
  standsAlone(start: number, end: number): boolean {
    if (this.isWord(start - 1) && !this.isEscape(start - 1)) return false;
    if (this.isWord(end)) return false;
    const before = this.unit(start - 1);
    if ((before === 45 || before === 46 || before === 43 || before === 47) && this.isWord(start - 2)) return false;
    const after = this.unit(end);
    // a full stop or a dash ends a sentence or a clause; followed by a letter or a digit it joins
    if ((after === 45 || after === 46 || after === 43 || after === 47) && this.isWord(end + 1)) return false;
    return true;
  }

  /** Up to `count` units before `at`, in lower case. */
  before(at: number, count: number): string {
    if (at !== this.#beforeAt || count !== this.#beforeCount) {
      this.#beforeAt = at;
      this.#beforeCount = count;
      this.#before = this.text.slice(Math.max(0, at - count), at).toLowerCase();
    }
    return this.#before;
  }
}
