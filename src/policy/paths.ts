/**
 * Paths of `redact` rules: where in a message something lies that is never stored. A small part of JSONPath (RFC 9535), of which every path says the
 * same there: `$`, then one or more of `.name`, `['name']`, `["name"]`, `[3]`, `[*]`, `.*`, `..name`, `..['name']`. No blanks, no filters, no slices, no
 * negative indices: whether a path fits is then known at each place of a message from what stands before it.
 */

/** UTF-16 units of a path, and steps in it. */
export const pathLength = 1_024;
export const pathSteps = 64;

/**
 * One step down. Names are as JSON means them, with its escapes resolved.
 * - `name`: the member of this name of an object; with `deep` (`..name`), of every object at this place or anywhere below.
 * - `index`: the item of an array, from 0.
 * - `every` (`[*]`, `.*`): all items of an array, all members of an object.
 */
export type PathStep = { readonly name: string; readonly deep: boolean } | { readonly index: number } | { readonly every: true };

/** What is wrong with a path: `offset` is the UTF-16 unit in it, from 0, at most its length. */
export class PathError extends Error {
  override readonly name = 'PathError';
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

// a name that needs no quotes: RFC 9535's member-name-shorthand, and what headers and environment variables have in theirs
const bareName = /[A-Za-z_$\u0080-\uffff][\w$\u0080-\uffff-]*/y;
const wholeNumber = /(?:0|[1-9]\d*)\]/y;
const escapes: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', '/': '/', '\\': '\\', "'": "'", '"': '"' };

/**
 * The steps of a path, at least one.
 * @throws PathError
 */
export function compilePath(text: string): PathStep[] {
  if (text.length > pathLength) throw new PathError(`a path has at most ${pathLength} characters`, pathLength);
  if (text[0] !== '$') throw new PathError('a path begins with $, the whole message', 0);
  const steps: PathStep[] = [];
  let at = 1;
  while (at < text.length) {
    if (steps.length === pathSteps) throw new PathError(`a path has at most ${pathSteps} steps`, at);
    const deep = text.startsWith('..', at);
    if (deep) at += 2;
    if (text[at] === '[') {
      const inside = text[at + 1];
      if (inside === "'" || inside === '"') {
        const { name, end } = quotedName(text, at + 1);
        if (text[end] !== ']') throw new PathError('] is missing behind the name', end);
        steps.push({ name, deep });
        at = end + 1;
        continue;
      }
      if (deep) throw new PathError("after .. comes a name, as in $..token or $..['a b']", at);
      if (text.startsWith('*]', at + 1)) {
        steps.push({ every: true });
        at += 3;
        continue;
      }
      wholeNumber.lastIndex = at + 1;
      const digits = wholeNumber.exec(text)?.[0];
      const index = digits === undefined ? -1 : Number(digits.slice(0, -1));
      if (digits === undefined || !Number.isSafeInteger(index)) {
        throw new PathError("between [ and ] stands a number from 0, * or a name in quotes, as in [0], [*] or ['a b']", at + 1);
      }
      steps.push({ index });
      at += 1 + digits.length;
      continue;
    }
    if (!deep) {
      if (text[at] !== '.') throw new PathError('a step begins with . or [', at);
      at++;
      if (text[at] === '*') {
        steps.push({ every: true });
        at++;
        continue;
      }
    }
    bareName.lastIndex = at;
    const name = bareName.exec(text)?.[0];
    if (name === undefined) throw new PathError(missingName(text, at, deep), at);
    steps.push({ name, deep });
    at += name.length;
  }
  if (steps.length === 0) throw new PathError('a path names something below $, as in $.params.arguments.ssn', text.length);
  return steps;
}

function missingName(text: string, at: number, deep: boolean): string {
  if (deep) return "after .. comes a name, as in $..token or $..['a b']";
  if (/\d/.test(text[at] ?? '')) return 'an item of a list is written as [0], a name that begins with a digit in quotes';
  return at === text.length
    ? 'a name is missing behind the last .'
    : "a name with other characters than letters, digits, _, - and $ is written as ['…']";
}

/** The name whose opening quote stands at `from`, and the place behind its closing quote. */
function quotedName(text: string, from: number): { name: string; end: number } {
  const quote = text[from]!;
  let name = '';
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === quote) return { name, end: at + 1 };
    if (text[at] !== '\\') {
      name += text[at];
      continue;
    }
    const unit = /^u([0-9a-fA-F]{4})/.exec(text.slice(at + 1, at + 6));
    const simple = escapes[text[at + 1] ?? ''];
    if (unit) {
      name += String.fromCharCode(Number.parseInt(unit[1]!, 16));
      at += 5;
    } else if (simple !== undefined) {
      name += simple;
      at++;
    } else throw new PathError('no such escape; a backslash is written as \\\\', at);
  }
  throw new PathError('the closing quote is missing', from);
}
