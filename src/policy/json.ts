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
  // 2^53 has 16 digits: most messages hold no such run, and with the reviver the parser takes ten times as long
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, keepLarge as (this: unknown, key: string, value: unknown) => unknown);
}

const keepLarge: Reviver = (_key, value, { source }) =>
  typeof value === 'number' && !Number.isSafeInteger(value) && source !== undefined && /^-?\d+$/.test(source) ? new LargeInteger(source) : value;
