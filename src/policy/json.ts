/**
 * JSON as conditions see it: `JSON.parse`, but an integer that a double cannot hold stays what was written. A condition must not decide on a neighbour of the number
 * that the server will read.
 */

/** An integer token beyond ±(2^53 - 1), the range of doubles without gaps. Nothing calculates with it: a condition that touches one has the problem `integer-too-large`. */
export class LargeInteger {
  /** As written: an optional minus and digits. */
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Reviver = (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown;

/**
 * Strict, as `JSON.parse`: the last of two equal member names counts, and a member `__proto__` is a member like any other, never a prototype.
 * The caller has checked the depth (`jsonDepth`).
 * @throws SyntaxError when the text is not JSON.
 */
export function readJson(text: string): unknown {
  // most messages hold no such number, and with the reviver the parser takes ten times as long
  if (!hasLongNumber(text)) return JSON.parse(text);
  return JSON.parse(text, keepLarge as (this: unknown, key: string, value: unknown) => unknown);
}

/** 2^53 has 16 digits. */
const largeDigits = 16;

/** Whether so many digits stand beside each other anywhere. Of as many units one is in each such row, so looking at that one is enough until it is a digit. */
function hasLongNumber(text: string): boolean {
  const { length } = text;
  for (let at = largeDigits - 1; at < length; at += largeDigits) {
    if (!isDigit(text.charCodeAt(at))) continue;
    let start = at;
    while (at - start < largeDigits && isDigit(text.charCodeAt(start - 1))) start--;
    let end = at + 1;
    while (end - start < largeDigits && isDigit(text.charCodeAt(end))) end++;
    if (end - start >= largeDigits) return true;
  }
  return false;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

const keepLarge: Reviver = (_key, value, { source }) =>
  typeof value === 'number' && !Number.isSafeInteger(value) && source !== undefined && /^-?\d+$/.test(source) ? new LargeInteger(source) : value;
