/**
 * Globs over names of tools, methods and servers: `*` stands for any text, `?` for one character, everything else for itself. There are no escapes.
 */

/** Whether the whole of `text` fits `pattern`. Takes at most pattern × text steps and no recursion, so no pattern can hang it. */
export function globMatches(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  // the last star, and how much text it has taken: only the last one ever needs to take more
  let star = -1;
  let taken = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      // a character outside the basic plane is two code units and one `?`
      if (pattern[p] === '?' && isPair(text, t)) t++;
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.length && pattern[p] === '*') p++;
  return p === pattern.length;
}

function isPair(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00;
}

/** The globs of a list in which each text may hold several, separated by commas; blanks around them and empty ones are dropped. */
export function splitGlobs(lists: string | readonly string[] | undefined): string[] {
  if (lists === undefined) return [];
  return (typeof lists === 'string' ? [lists] : lists)
    .flatMap((list) => list.split(','))
    .map((glob) => glob.trim())
    .filter((glob) => glob !== '');
}

export function anyGlobMatches(globs: readonly string[], text: string): boolean {
  return globs.some((glob) => globMatches(glob, text));
}
