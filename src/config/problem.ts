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

/** The word that `text` was probably meant to be: at most one edit in three characters (neighbours in the wrong order are one edit), else none. */
export function nearest(text: string, words: readonly string[]): string | undefined {
  if (text.length > 64) return undefined;
  let best: string | undefined;
  let least = Math.max(1, Math.floor(text.length / 3)) + 1;
  for (const word of words) {
    const edits = distance(text.toLowerCase(), word.toLowerCase());
    // a word of another kind altogether is no guess: `if` is not `on`
    if (edits < least && edits < word.length) {
      least = edits;
      best = word;
    }
  }
  return best;
}

/** Edits from one text to another: insert, delete, replace, swap neighbours. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = [...Array(b.length + 1).keys()];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      let edits = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits = Math.min(edits, before[j - 2]! + 1);
      row.push(edits);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}
