/** The text of a frame of which stretches may be missing, and JSON that is read as far as it goes. */
import { lossyText } from '../bytes/bytes.ts';
import type { Frame, Gap } from '../entry/frame.ts';
import { jsonDepth } from '../limits.ts';

export type { Frame, Gap };

const standIns = new Set(['[redacted]', '[not captured]', '[erased]', '[lost]', '[withheld]']);

/** Whether a text holds a stand-in for what is missing: it names nothing. */
export function isMissing(text: string): boolean {
  for (const standIn of standIns) if (text.includes(standIn)) return true;
  return false;
}

/** The frame as text; each gap is `[redacted]` or the like, in quotes where it took a whole value's place. */
export function textOf({ bytes, gaps }: Frame): string {
  if (gaps.length === 0) return lossyText(bytes);
  let text = '';
  let from = 0;
  let isInString = false;
  for (const { at, reason } of gaps) {
    const end = Math.min(Math.max(at, from), bytes.length);
    isInString = endsInString(bytes, from, end, isInString);
    text += lossyText(bytes.subarray(from, end));
    text += isInString ? `[${reason}]` : `"[${reason}]"`;
    from = end;
  }
  return text + lossyText(bytes.subarray(from));
}

function endsInString(bytes: Uint8Array, from: number, to: number, isInString: boolean): boolean {
  let inside = isInString;
  for (let at = from; at < to; at++) {
    const byte = bytes[at];
    if (byte === 0x22) inside = !inside;
    else if (byte === 0x5c && inside) at++;
  }
  return inside;
}

/** Nested deeper is not followed. */
const depthMost = 128;

/** The value of a JSON text; of one that is cut off or damaged what stands before that, and `undefined` where nothing does. Never throws. */
export function looseJson(text: string): unknown {
  // the recorder takes such a frame for opaque, but a text in a result may be nested as deeply as it likes
  if (mayBeDeeper(text, jsonDepth) && isDeeper(text, jsonDepth)) return new Loose(text).value(0);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return new Loose(text).value(0);
  }
}

/** Whether more is opened than that, wherever it stands: of most texts that says enough, and it is looked up faster than each character. */
function mayBeDeeper(text: string, most: number): boolean {
  let opened = 0;
  for (const bracket of ['{', '['])
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) if (++opened > most) return true;
  return false;
}

function isDeeper(text: string, most: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      // a string: to its end
      for (at++; at < text.length && text.charCodeAt(at) !== 0x22; at++) if (text.charCodeAt(at) === 0x5c) at++;
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > most) return true;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return false;
}

const word = /[^\s,:\]}"]+/y;

class Loose {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): unknown {
    const character = this.#next();
    if (character === undefined || depth > depthMost) return undefined;
    if (character === '"') return this.#string();
    if (character === '{') return this.#object(depth);
    if (character === '[') return this.#array(depth);
    word.lastIndex = this.#at;
    const token = word.exec(this.#text)?.[0];
    if (token === undefined) return undefined;
    this.#at += token.length;
    try {
      return JSON.parse(token) as unknown;
    } catch {
      return undefined;
    }
  }

  /** The next character that is no space; it is not taken. */
  #next(): string | undefined {
    while (' \t\r\n'.includes(this.#text[this.#at] ?? '\0')) this.#at++;
    return this.#text[this.#at];
  }

  #string(): string {
    const start = this.#at++;
    while (this.#at < this.#text.length && this.#text[this.#at] !== '"') this.#at += this.#text[this.#at] === '\\' ? 2 : 1;
    this.#at++;
    const token = this.#text.slice(start, this.#at);
    try {
      return JSON.parse(token) as string;
    } catch {
      return token.replace(/^"|"$/g, '');
    }
  }

  #object(depth: number): Record<string, unknown> {
    const found: Record<string, unknown> = {};
    this.#at++;
    for (;;) {
      const character = this.#next();
      if (character === undefined) return found;
      if (character === '}') {
        this.#at++;
        return found;
      }
      if (character !== '"') {
        this.#at++;
        continue;
      }
      const name = this.#string();
      if (this.#next() !== ':') continue;
      this.#at++;
      const value = this.value(depth + 1);
      // defined, not assigned: a member may be called `__proto__`
      if (value !== undefined) Object.defineProperty(found, name, { value, enumerable: true, configurable: true, writable: true });
    }
  }

  #array(depth: number): unknown[] {
    const found: unknown[] = [];
    this.#at++;
    for (;;) {
      const character = this.#next();
      if (character === undefined) return found;
      if (character === ']') {
        this.#at++;
        return found;
      }
      const before = this.#at;
      const value = character === ',' ? undefined : this.value(depth + 1);
      if (value !== undefined) found.push(value);
      else if (this.#at === before) this.#at++;
    }
  }
}

/** The part [start, end) of a frame, which counts what is missing. */
export function cut({ bytes, gaps }: Frame, [start, end]: readonly [number, number]): Frame {
  const inside: Gap[] = [];
  /** Of the whole frame's bytes, where the part begins and ends: gaps before it are not among them. */
  let from = start;
  let to = end;
  for (const { reason, offset, sizeBytes } of gaps) {
    from -= Math.max(0, Math.min(start, offset + sizeBytes) - offset);
    to -= Math.max(0, Math.min(end, offset + sizeBytes) - offset);
    const first = Math.max(start, offset);
    const last = Math.min(end, offset + sizeBytes);
    if (first < last) inside.push({ reason, offset: first - start, sizeBytes: last - first, at: 0 });
  }
  let missing = 0;
  for (const gap of inside) {
    gap.at = gap.offset - missing;
    missing += gap.sizeBytes;
  }
  return { bytes: bytes.subarray(Math.max(0, from), Math.max(0, to)), gaps: inside };
}
