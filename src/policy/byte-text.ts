/**
 * Bytes as texts. One with a unit for each byte, so that an offset in it is an offset in the bytes; and what the bytes say, in which a character is what it is however
 * it is encoded. Where all is ASCII they are the same.
 */
import { utf8Text } from '../bytes/bytes.ts';

const bytesDecoder = new TextDecoder('latin1');
/** Up to this length a call into the decoder costs more than the loop. */
const fewBytes = 24;

/** One unit for each byte; that of an ASCII byte is its character. */
export function byteText(bytes: Uint8Array): string {
  if (bytes.length > fewBytes) return bytesDecoder.decode(bytes);
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

export function isAscii(text: string): boolean {
  return !/[^\u0000-\u007f]/.test(text);
}

/** Bytes as a text with one unit for each of them, and as what they say. Both are the same where all is ASCII. */
export interface Decoded {
  readonly text: string;
  /** `text` where the bytes are no UTF-8. */
  readonly read: string;
  readonly isAscii: boolean;
}

export function decoded(bytes: Uint8Array): Decoded {
  const read = utf8Text(bytes);
  // what is not ASCII has fewer units than bytes
  if (read?.length === bytes.length) return { text: read, read, isAscii: true };
  const text = byteText(bytes);
  return { text, read: read ?? text, isAscii: false };
}

/** What `byteText` was made of. */
export function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = byteOf.get(text.charCodeAt(at)) ?? text.charCodeAt(at);
  return bytes;
}

/** The decoder's `latin1` is windows-1252, which has other characters for some bytes. */
const byteOf = new Map(Array.from({ length: 256 }, (_, byte) => [bytesDecoder.decode(Uint8Array.of(byte)).charCodeAt(0), byte]));

/** Where the characters of a text stand in its bytes, asked for in ascending order. */
export class Places {
  readonly #text: string;
  readonly #isBytes: boolean;
  #unit = 0;
  #byte = 0;

  constructor(text: string, isBytes: boolean) {
    this.#text = text;
    this.#isBytes = isBytes;
  }

  byteAt(unit: number): number {
    if (this.#isBytes) return unit;
    for (; this.#unit < unit; this.#unit++) {
      const code = this.#text.charCodeAt(this.#unit);
      // half of a pair: together they are four
      this.#byte += code < 0x80 ? 1 : code < 0x800 || (code & 0xf800) === 0xd800 ? 2 : 3;
    }
    return this.#byte;
  }
}
