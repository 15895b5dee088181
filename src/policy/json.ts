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
 * @throws SyntaxError when the text is not JSON, `TooCostly` for a long document with such integers outside of its strings
 */
export function readJson(text: string): unknown {
  // most messages hold no such number, and with the reviver the parser takes ten times as long
  if (!hasLongNumber(text)) return JSON.parse(text);
  if (text.length > revivedChars) {
    if (hasLargeInteger(text)) throw new TooCostly('large integers in a long document');
    return JSON.parse(text);
  }
  return JSON.parse(text, keepLarge as (this: unknown, key: string, value: unknown) => unknown);
}

/** A document that would keep everybody else waiting. */
export class TooCostly extends Error {
  override readonly name = 'TooCostly';
}

/** With a reviver a document of 8 MB takes four seconds: so long ones are only read without. */
const revivedChars = 256 * 1024;

/** Whether an integer of 16 digits or more stands outside of strings. Linear: each string is jumped over. */
function hasLargeInteger(text: string): boolean {
  // no part of a number with a fraction or an exponent
  const row = /(?<![\d.])\d{16,}(?![\d.eE])/g;
  let outside = 0;
  for (let found = row.exec(text); found !== null; found = row.exec(text)) {
    // strings that begin before it
    for (let quote = text.indexOf('"', outside); quote >= 0 && quote < found.index; quote = text.indexOf('"', outside))
      outside = endOfString(text, quote);
    if (outside <= found.index) return true;
    row.lastIndex = outside;
  }
  return false;
}

/** Behind the closing quote. */
function endOfString(text: string, quote: number): number {
  for (let at = text.indexOf('"', quote + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (text[at - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return at + 1;
  }
  return text.length;
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
