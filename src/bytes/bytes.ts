/** Base64, hex, UTF-8 and comparison over `Uint8Array`. Decoders are strict: what does not re-encode to the same text is refused. */

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const lossyDecoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });

export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/** Writes a text where there is room for all of it: three bytes for each of its units. How many bytes it took. */
export function utf8Into(text: string, into: Uint8Array): number {
  return encoder.encodeInto(text, into).written;
}

/** The text of valid UTF-8, or `undefined`. A byte order mark is kept. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** The text of any bytes; invalid sequences become U+FFFD. Only for showing to people. */
export function lossyText(bytes: Uint8Array): string {
  return lossyDecoder.decode(bytes);
}

const hexDigits = '0123456789abcdef';

export function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += hexDigits[byte >> 4]! + hexDigits[byte & 15]!;
  return text;
}

/** The bytes of lower-case hex, or `undefined`. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const codes = Uint8Array.from(alphabet, (character) => character.charCodeAt(0));
const values = new Int8Array(128).fill(-1);
for (let i = 0; i < 64; i++) values[codes[i]!] = i;

/** Standard padded base64 (RFC 4648 §4). */
export function base64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const bits = (bytes[i]! << 16) | ((left > 1 ? bytes[i + 1]! : 0) << 8) | (left > 2 ? bytes[i + 2]! : 0);
    const third = left > 1 ? codes[(bits >> 6) & 63]! : 0x3d;
    // four at a time: one string each would be twice as slow
    text += String.fromCharCode(codes[bits >> 18]!, codes[(bits >> 12) & 63]!, third, left > 2 ? codes[bits & 63]! : 0x3d);
  }
  return text;
}

/** The bytes of standard padded base64, or `undefined` for anything that does not re-encode to the same text. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let bits = 0;
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const value = i >= text.length - padding ? 0 : code < 128 ? values[code]! : -1;
    if (value < 0) return undefined;
    bits = ((bits << 6) | value) & 0xffffff;
    if (i % 4 === 3) {
      if (at < bytes.length) bytes[at++] = bits >> 16;
      if (at < bytes.length) bytes[at++] = (bits >> 8) & 255;
      if (at < bytes.length) bytes[at++] = bits & 255;
      // the bits that padding drops must be zero
      if (i === text.length - 1 && padding > 0 && (bits & (padding === 2 ? 0xffff : 0xff)) !== 0) return undefined;
    }
  }
  return bytes;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  let sizeBytes = 0;
  for (const part of parts) sizeBytes += part.length;
  const whole = new Uint8Array(sizeBytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
