/**
 * Values that were found, to be looked for elsewhere: in the rest of the frame, in the answer to it, and in what is said of it beside its bytes.
 * What must stay true: so many are remembered, and so much of each, whatever a frame holds; where that is not all, it is said.
 */
import { lossyText } from '../bytes/bytes.ts';
import { byteText, bytesOf } from './byte-text.ts';
import { redactedRanges } from '../limits.ts';
import type { Keep } from './policy.ts';
import type { Redaction } from './redactions.ts';
import { repeatOf, repeatText, type Repeat } from './repeats.ts';
import { nestedMost, unescaped } from './unescape.ts';

/** A value that was found is looked for in the rest of the frame from this length on; inside of an object that was found only one that looks like a secret. */
const repeatedBytes = 6;
/** From here on one with a letter and a digit or a sign: `true` and `1234` stand in any message. */
const shortBytes = 4;
const telling = { bytes: 8, pattern: /^(?=\D*\d)(?:\S*\s){0,3}\S*$/ };
/** Of one frame: of more ranges than this nothing between the first and the last is stored anyway. */
const notedMost = redactedRanges;
/** So much may be looked through for single values before a search for all of them at once is quicker. */
const quickBytes = 4 * 1024 * 1024;
/** Longest value, as it stood in a frame, that is decoded to be remembered. */
const rememberedRaw = 256 * 1024;
/** Of a request, until it is answered. */
const rememberedValues = 1_024;

/** The values of one frame. */
export class NotedValues {
  readonly values: Repeat[] = [];
  /** There were more than are noted. */
  isCut = false;
  /** Of the values, once there are so many that it matters whether they are all different. */
  #keys: Set<string> | undefined;

  /** A value that was found, to be looked for elsewhere. `inObject`: what was found is an object that holds it. */
  note(bytes: Uint8Array, start: number, end: number, keep: Keep, inObject = false): void {
    if (this.isCut || !isRepeatable(bytes, start, end)) return;
    const value = repeatOf(bytes, start, end, keep);
    if (value !== undefined && !(inObject && !isTelling(bytes, start, end))) this.#add(value);
    for (const [from, to] of wordsOf(bytes, start, end)) {
      const word = repeatOf(bytes, from, to, keep);
      if (word !== undefined) this.#add(word);
    }
  }

  #add(value: Repeat): void {
    if (this.values.length >= notedMost && this.#keys === undefined) {
      this.#keys = new Set(this.values.map((one) => repeatText.write(one)));
      this.values.length = 0;
      for (const key of this.#keys) this.noteKnown(key);
    }
    if (this.#keys !== undefined) {
      const key = repeatText.write(value);
      if (this.#keys.has(key)) return;
      if (this.values.length >= notedMost) {
        this.isCut = true;
        return;
      }
      this.#keys.add(key);
    }
    this.values.push(value);
  }

  /** As `valuesOf` wrote it. */
  noteKnown(text: string): void {
    const repeat = repeatText.read(text);
    if (repeat !== undefined) this.values.push(repeat);
  }

  /** A quick look for frames without escapes, which most are: is there any value that stands outside of what was found? */
  mayRepeat(text: string, found: readonly Redaction[]): boolean {
    const { values } = this;
    if (values.length > 8 || found.length > 64 || values.length * text.length > quickBytes || text.includes('\\')) return true;
    const { keep: first } = values[0]!;
    if (values.some(({ keep }) => keep !== first) || found.some(({ keep }) => keep !== first)) return true;
    for (const { prefix, length } of values) {
      const value = byteText(prefix);
      for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1)) {
        if (!found.some(({ start, end }) => start <= at && at + length <= end)) return true;
      }
    }
    return false;
  }

  clear(): void {
    this.values.length = 0;
    this.isCut = false;
    this.#keys = undefined;
  }
}

/** What was found in a frame, to be looked for in the answer to it; `undefined` where it is more than can be remembered. */
export function valuesOf(bytes: Uint8Array, redactions: readonly Redaction[], most: number = rememberedValues): string[] | undefined {
  const values = new Set<string>();
  for (const { start, end, rule, keep, isBlind } of redactions) {
    if (rule === 'unreadable' || rule === 'capture') continue;
    const raw = bytes.subarray(start, end);
    // what is no plain text would be decoded, or taken apart
    if (isBlind || (raw.length > rememberedRaw && (isStructured(raw) || raw.includes(0x5c)))) return undefined;
    for (const value of plainValues(raw)) {
      const repeat = isRepeatable(value, 0, value.length) ? repeatOf(value, 0, value.length, keep) : undefined;
      if (repeat === undefined) continue;
      values.add(repeatText.write(repeat));
      if (values.size > most) return undefined;
    }
  }
  return [...values];
}

function isStructured(value: Uint8Array): boolean {
  return value[0] === 0x7b || value[0] === 0x5b;
}

/** Whether a value is looked for elsewhere at all. */
function isRepeatable(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start >= repeatedBytes || end - start < shortBytes) return end - start >= repeatedBytes;
  let hasLetter = false;
  let hasOther = false;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte <= 0x20) return false;
    if (byte >= 0x80 || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a)) hasLetter = true;
    else hasOther = true;
  }
  return hasLetter && hasOther;
}

/** Shorter values are looked for as whole texts alone. */
const heldChars = 4;

/** What was found in a message, for what is said of it beside its bytes: its id, its method, its names. */
export class FoundValues {
  readonly #values: readonly string[];

  constructor(bytes: Uint8Array, redactions: readonly Redaction[]) {
    const values = new Set<string>();
    for (const { start, end } of redactions)
      for (const value of decodings(bytes.subarray(start, Math.min(end, start + rememberedRaw)))) values.add(lossyText(value));
    this.#values = [...values];
  }

  /** Whether a text says any of it. `isCut`: it is only a beginning, and may be that of a value. A JSON token is looked at as what it means, too. */
  isIn(text: string, isCut = text.endsWith('…')): boolean {
    if (this.#values.length === 0) return false;
    const beginning = text.replace(/…$/, '').replace(/^"/, '');
    const texts = [text, plainToken(text)];
    return this.#values.some(
      (value) =>
        texts.some((one) => one === value || (value.length >= heldChars && one.includes(value))) ||
        (isCut && beginning.length >= heldChars && value.startsWith(beginning)),
    );
  }
}

function plainToken(token: string): string {
  if (!token.startsWith('"')) return token;
  try {
    return String(JSON.parse(token));
  } catch {
    return token;
  }
}

/** What a range says once it is decoded: it may stand in strings in strings. Of an object, also of one in a string, the texts and numbers in it. */
function plainValues(raw: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const value of decodings(raw)) {
    found.push(value);
    for (const [start, end] of wordsOf(value, 0, value.length)) found.push(value.subarray(start, end));
    if (!isStructured(value)) continue;
    for (const [quoted] of byteText(value).matchAll(/"(?:[^"\\]|\\.)*"|[-\d.eE+]{6,}/g)) {
      const inner = quoted.startsWith('"') ? quoted.slice(1, -1) : quoted;
      for (const one of decodings(bytesOf(inner))) if (isTelling(one, 0, one.length)) found.push(one);
    }
  }
  return found;
}

function decodings(raw: Uint8Array): Uint8Array[] {
  const found = [raw];
  for (let last = raw; found.length <= nestedMost + 1 && last.includes(0x5c);) {
    const plain = unescaped(last, 0, last.length, 0)?.bytes;
    if (plain === undefined) break;
    last = plain.slice();
    found.push(last);
  }
  return found;
}

/** One letter again and again would be found everywhere; of a whole object that is left out most texts are no secrets. */
function isTelling(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start >= telling.bytes && telling.pattern.test(byteText(bytes.subarray(start, Math.min(end, start + 256))));
}

/** What in a value of several words would be a secret by itself: of `Bearer x` and `a=x; b=y` only the `x` may be said again. */
function wordsOf(bytes: Uint8Array, start: number, end: number): [number, number][] {
  const words: [number, number][] = [];
  const until = Math.min(end, start + wordsBytes);
  for (let from = start, at = start; at <= until && words.length < wordsMost; at++) {
    if (at < until && !separators.has(bytes[at]!)) continue;
    if (at - from < end - start && isTelling(bytes, from, at)) words.push([from, at]);
    from = at + 1;
  }
  return words;
}

const separators = new Set([0x09, 0x0a, 0x0d, 0x20, 0x22, 0x26, 0x27, 0x2c, 0x3b, 0x3d]);
const wordsBytes = 1_024;
const wordsMost = 8;
