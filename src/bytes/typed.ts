/** What people type: numbers, and words that are nearly right. */

/** A whole number in decimal digits, as everything shows it: `0x10`, `1e3`, ` 7` and `+7` are none. */
export function wholeNumber(text: string): number | undefined {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(number) ? number : undefined;
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

/** Of an option that is none of `options`: which one was probably meant, to be said behind it. */
export function guessed(given: string, options: readonly string[]): string {
  const name = given.replace(/^-+/, '');
  const names = options.map((option) => option.replace(/^-+/, ''));
  const guess = nearest(name, names) ?? (name.length > 1 ? names.find((one) => one.startsWith(name)) : undefined);
  return guess === undefined ? '' : ` (did you mean --${guess}?)`;
}

/** What `parseArgs` of `node:util` has thrown, as a message. `options` as it was given them. */
export function argumentProblem(error: unknown, options: Readonly<Record<string, unknown>>): string {
  const { code, message } = error as Error & { code?: string };
  const given = code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' ? /'(-[^']*)'/.exec(message)?.[1] : undefined;
  // what follows is how to pass it for something else
  return given === undefined ? message.split('. ')[0]! : `unknown option ${given}${guessed(given, Object.keys(options))}`;
}
