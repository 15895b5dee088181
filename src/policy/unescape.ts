/**
 * What JSON strings say, as bytes, with the place of each byte: what is found in it can be said of the bytes that it was written with.
 */

/** Strings in strings in strings: deeper ones are searched as text. */
export const nestedMost = 4;

const escapes = new Uint8Array(256);
for (const [letter, code] of Object.entries({ '"': 0x22, '\\': 0x5c, '/': 0x2f, b: 8, f: 12, n: 10, r: 13, t: 9 }))
  escapes[letter.charCodeAt(0)] = code;

/** For each level of strings in strings, whose texts are in use at the same time. */
const scratch = Array.from({ length: nestedMost + 2 }, () => ({ bytes: new Uint8Array(0), places: new Int32Array(0) }));
const scratchBytes = 64 * 1024;

/**
 * What a string says, as UTF-8, and for each byte of it where in `bytes` it stands. `undefined` for an escape that JSON has not; in a text it
 * stands for itself (`isText`). Good until the next call for the same level of nesting.
 */
export function unescaped(
  bytes: Uint8Array,
  start: number,
  end: number,
  nested: number,
  isText = false,
): { bytes: Uint8Array; places: Int32Array } | undefined {
  const most = end - start;
  let room = scratch[nested]!;
  if (room.bytes.length < most) {
    const sizeBytes = most > scratchBytes ? most : Math.min(scratchBytes, 2 * most + 64);
    room = { bytes: new Uint8Array(sizeBytes), places: new Int32Array(sizeBytes) };
    if (most <= scratchBytes) scratch[nested] = room;
  }
  const { bytes: out, places } = room;
  let size = 0;
  for (let at = start; at < end;) {
    const byte = bytes[at]!;
    if (byte !== 0x5c) {
      places[size] = at++;
      out[size++] = byte;
      continue;
    }
    const letter = at + 1 < end ? bytes[at + 1]! : 0;
    if (escapes[letter] === 0 && (letter !== 0x75 || hex4(bytes, at + 2, end) < 0)) {
      if (!isText) return undefined;
      places[size] = at++;
      out[size++] = byte;
      continue;
    }
    if (letter !== 0x75) {
      places[size] = at;
      out[size++] = escapes[letter]!;
      at += 2;
      continue;
    }
    let code = hex4(bytes, at + 2, end);
    let length = 6;
    if ((code & 0xfc00) === 0xd800 && at + 7 < end && bytes[at + 6] === 0x5c && bytes[at + 7] === 0x75) {
      const low = hex4(bytes, at + 8, end);
      if (low >= 0 && (low & 0xfc00) === 0xdc00) {
        code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
        length = 12;
      }
    }
    // half of a pair is no character
    if ((code & 0xfffff800) === 0xd800) code = 0xfffd;
    for (let left = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4, lead = left; left > 0; left--) {
      places[size] = at;
      out[size++] = left === lead ? leads[lead]! | (code >> (6 * (lead - 1))) : 0x80 | ((code >> (6 * (left - 1))) & 0x3f);
    }
    at += length;
  }
  return { bytes: out.subarray(0, size), places };
}

const leads = [0, 0, 0xc0, 0xe0, 0xf0];

function hex4(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 > end) return -1;
  let code = 0;
  for (let digit = at; digit < at + 4; digit++) {
    const byte = bytes[digit]!;
    const value = byte >= 0x30 && byte <= 0x39 ? byte - 0x30 : (byte | 32) >= 0x61 && (byte | 32) <= 0x66 ? (byte | 32) - 0x57 : -1;
    if (value < 0) return -1;
    code = code * 16 + value;
  }
  return code;
}
