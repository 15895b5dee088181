/** What is wrong in a file, in words for whoever wrote it. */

/** A message says what is wrong, the hint what was probably meant; both start in lower case and have no full stop. Text of the file is quoted as JSON. */
export interface Found {
  message: string;
  hint?: string;
}

export interface ConfigProblem {
  /** From 1. */
  line: number;
  /** From 1, in UTF-16 units. */
  column: number;
  /** `policy.rules[1].when`; empty for the file as a whole. */
  path: string;
  message: string;
  hint?: string;
  severity: 'error' | 'warning';
}

/** Text of the file within a message: cut, and in quotes. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

/** A path as in JavaScript: `servers["my server"].tools`. */
export function pathText(path: readonly (string | number)[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** `a`, `a or b`, `a, b or c`. */
export function either(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? '') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
