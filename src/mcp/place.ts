/** Where a value stands in the bytes of a JSON text, so that it can be read, or another one put in its place, and every other byte stays. */
import { lossyText } from '../bytes/bytes.ts';

const quote = 0x22;
const backslash = 0x5c;
const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
const isOpening = (byte: number | undefined): boolean => byte === 0x7b || byte === 0x5b;
const isClosing = (byte: number | undefined): boolean => byte === 0x7d || byte === 0x5d;

/**
 * The range [start, end) of the value at a path of member names from the top; of equal names the last counts, as for `JSON.parse`. Nothing, where it is not there.
 * What is no JSON has some range, or none; nothing is thrown.
 */
export function placeOf(json: Uint8Array, path: readonly string[]): [start: number, end: number] | undefined {
  let start = spaceEnd(json, 0);
  let end = valueEnd(json, start);
  for (const name of path) {
    if (json[start] !== 0x7b) return undefined;
    let found: [number, number] | undefined;
    for (let at = spaceEnd(json, start + 1); json[at] === quote && at < end;) {
      const keyEnd = valueEnd(json, at);
      const from = spaceEnd(json, spaceEnd(json, keyEnd) + 1);
      const to = valueEnd(json, from);
      if (isName(json.subarray(at, keyEnd), name)) found = [from, to];
      at = spaceEnd(json, spaceEnd(json, to) + 1);
    }
    if (found === undefined) return undefined;
    [start, end] = found;
  }
  return end > start ? [start, end] : undefined;
}

function isName(token: Uint8Array, name: string): boolean {
  const text = lossyText(token);
  if (!text.includes('\\')) return text === JSON.stringify(name);
  try {
    return JSON.parse(text) === name;
  } catch {
    return false;
  }
}

function spaceEnd(json: Uint8Array, from: number): number {
  let at = from;
  while (isSpace(json[at])) at++;
  return at;
}

/** Behind the value that begins here. */
function valueEnd(json: Uint8Array, from: number): number {
  if (json[from] === quote) return stringEnd(json, from);
  if (!isOpening(json[from])) {
    let at = from;
    while (at < json.length && !isSpace(json[at]) && json[at] !== 0x2c && !isClosing(json[at])) at++;
    return at;
  }
  let depth = 0;
  for (let at = from; at < json.length;) {
    if (json[at] === quote) {
      at = stringEnd(json, at);
      continue;
    }
    if (isOpening(json[at])) depth++;
    else if (isClosing(json[at]) && --depth === 0) return at + 1;
    at++;
  }
  return json.length;
}

function stringEnd(json: Uint8Array, from: number): number {
  for (let at = from + 1; at < json.length; at++) {
    if (json[at] === backslash) at++;
    else if (json[at] === quote) return at + 1;
  }
  return json.length;
}
