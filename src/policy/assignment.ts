/**
 * `name=value`, `name: value`, `--name value` and `<name>value</name>` in texts, for names that a rule knows: `password=hunter2`, `Authorization: Bearer …`,
 * `\"token\":\"…\"` in a text that is no JSON (any more), and what is indented below `password:` in YAML.
 *
 * What must stay true: linear in the text. Only values of wanted names are read, and never one twice; what is looked at for a name is bounded.
 */

const nameChars = 128;
/** Blanks, quotes and backslashes between name, sign and value. */
const gapChars = 64;
/** Backslashes before a quote in text in text in text. */
const slashesMost = 15;
/** Behind a separator, in search of the next name. */
const nextNameChars = 40;
/** Of an authorization: the value is the word behind it, too. */
const schemes = /^(?:bearer|basic|token|digest|apikey|negotiate)$/i;
/** Their values have blanks and separators in them. */
const wholeLine = /(?:authorization|cookie)$/i;

/** Looks for values; `wanted` says what to make of a name, `found` takes what it said and the value's place, [start, end). */
export function assignmentsIn<T>(text: string, wanted: (name: string) => T | undefined, found: (start: number, end: number, what: T) => void): void {
  const { length } = text;
  for (let at = 0; at < length;) {
    const code = text.charCodeAt(at);
    if (code === 0x3d || code === 0x3a) at = assignment(text, at, wanted, found);
    else if (code === 0x2d) at = option(text, at, wanted, found);
    else if (code === 0x3e) at = element(text, at, wanted, found);
    else at++;
  }
}

type Wanted<T> = (name: string) => T | undefined;
type Found<T> = (start: number, end: number, what: T) => void;

/** At a `=` or `:`. Gives the place from which the search goes on. */
function assignment<T>(text: string, sign: number, wanted: Wanted<T>, found: Found<T>): number {
  const nameEnd = gapBefore(text, sign);
  let nameStart = nameEnd;
  while (nameStart > 0 && nameEnd - nameStart < nameChars && isName(text.charCodeAt(nameStart - 1))) nameStart--;
  while (nameStart < nameEnd && text.charCodeAt(nameStart) === 0x2d) nameStart++;
  if (nameStart === nameEnd) return sign + 1;
  const name = text.slice(nameStart, nameEnd);
  let what = wanted(name);
  if (what === undefined && text.charCodeAt(nameStart - 1) === 0x2e) {
    while (nameStart > 0 && nameEnd - nameStart < nameChars && isDotted(text.charCodeAt(nameStart - 1))) nameStart--;
    what = wanted(text.slice(nameStart, nameEnd));
  }
  if (what === undefined) return sign + 1;
  const { start, end } = valueAfter(text, sign, nameStart, name);
  if (end <= start) return sign + 1;
  found(start, end, what);
  return end;
}

/** `--name value`, `-name value`: at a dash. */
function option<T>(text: string, dash: number, wanted: Wanted<T>, found: Found<T>): number {
  let start = dash;
  while (text.charCodeAt(start) === 0x2d) start++;
  const before = text.charCodeAt(dash - 1);
  if (start - dash > 2 || !(dash === 0 || before <= 0x20 || isQuote(before))) return start;
  let end = start;
  while (end - start < nameChars && isName(text.charCodeAt(end))) end++;
  const value = blanksAfter(text, end);
  if (end === start || value === end || text.charCodeAt(value) === 0x2d) return Math.max(end, dash + 1);
  const what = wanted(text.slice(start, end));
  if (what === undefined) return end;
  const quoted = quotedAfter(text, value);
  const range = quoted ?? { start: value, end: wordEnd(text, value) };
  if (range.end <= range.start) return end;
  found(range.start, range.end, what);
  return range.end;
}

/** `<name>value<`: at the `>`. */
function element<T>(text: string, sign: number, wanted: Wanted<T>, found: Found<T>): number {
  let start = sign;
  while (start > 0 && sign - start < nameChars && isName(text.charCodeAt(start - 1))) start--;
  const before = text.charCodeAt(start - 1);
  if (start === sign || !(before === 0x3c || before === 0x3a)) return sign + 1;
  const end = text.indexOf('<', sign + 1);
  if (end <= sign + 1) return sign + 1;
  const what = wanted(text.slice(start, sign));
  if (what === undefined) return sign + 1;
  found(sign + 1, end, what);
  return end;
}

interface Value {
  start: number;
  end: number;
}

function valueAfter(text: string, sign: number, nameStart: number, name: string): Value {
  let at = sign + 1;
  // `:=`, `=>`, `==`
  for (let more = 0; more < 2 && (text[at] === '=' || text[at] === '>'); more++) at++;
  at = blanksAfter(text, at);
  const quoted = quotedAfter(text, at);
  if (quoted !== undefined) return quoted;
  const first = text.charCodeAt(at);
  if (first === 0x5b || first === 0x7b) return { start: at, end: bracketEnd(text, at) };
  const isColon = text.charCodeAt(sign) === 0x3a;
  if (isColon && (first === 0x0a || first === 0x0d || isBlockMark(text, at))) return blockBelow(text, at, nameStart);
  if (wholeLine.test(name)) return { start: at, end: headerEnd(text, at, nameStart) };
  const end = wordEnd(text, at);
  if (end - at > 16 || !schemes.test(text.slice(at, end))) return { start: at, end };
  const next = blanksAfter(text, end);
  return { start: at, end: next === end ? end : Math.max(end, wordEnd(text, next)) };
}

/** Where a name may end before a sign: behind blanks, quotes (escaped or not) and `]`. */
function gapBefore(text: string, sign: number): number {
  let end = sign;
  for (; end > 0 && sign - end < gapChars; end--) {
    const code = text.charCodeAt(end - 1);
    if (!isBlank(code) && !isQuote(code) && code !== 0x5c && code !== 0x5d) break;
  }
  return end;
}

function blanksAfter(text: string, from: number): number {
  let at = from;
  while (at - from < gapChars && isBlank(text.charCodeAt(at))) at++;
  return at;
}

/** What stands in quotes at `from`; of quotes that are escaped themselves what stands up to the next that is escaped as much. Without an end, the line. */
function quotedAfter(text: string, from: number): Value | undefined {
  let open = from;
  while (open - from < slashesMost && text.charCodeAt(open) === 0x5c) open++;
  const quote = text[open];
  if (quote !== '"' && quote !== "'" && quote !== '`') return undefined;
  const slashes = open - from;
  const start = open + 1;
  for (let at = text.indexOf(quote, start); at >= 0; at = text.indexOf(quote, at + 1)) {
    let before = 0;
    while (text.charCodeAt(at - 1 - before) === 0x5c && at - before > start) before++;
    if (before % (2 * (slashes + 1)) === slashes) return { start, end: at - slashes };
  }
  return { start, end: lineEnd(text, start) };
}

/** Behind the bracket that closes the one at `from`, quotes aside; the end of the text where there is none. */
function bracketEnd(text: string, from: number): number {
  let depth = 0;
  let quote = 0;
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (quote !== 0) {
      if (code === 0x5c) at++;
      else if (code === quote) quote = 0;
    } else if (code === 0x22 || code === 0x27) quote = code;
    else if (code === 0x5b || code === 0x7b) depth++;
    else if ((code === 0x5d || code === 0x7d) && --depth === 0) return at + 1;
  }
  return text.length;
}

/** `|` or `>` at the end of a line: what follows is a text of several lines. */
function isBlockMark(text: string, at: number): boolean {
  if (text[at] !== '|' && text[at] !== '>') return false;
  let end = at + 1;
  while (end < at + 4 && (text[end] === '-' || text[end] === '+' || isDigit(text.charCodeAt(end)))) end++;
  return text[end] === '\n' || text[end] === '\r';
}

/** The lines below that are indented more than the one of the name, which must begin it. */
function blockBelow(text: string, from: number, nameStart: number): Value {
  let lineStart = nameStart;
  while (lineStart > 0 && nameStart - lineStart < gapChars && isIndent(text.charCodeAt(lineStart - 1))) lineStart--;
  const nothing = { start: from, end: from };
  if (lineStart > 0 && text[lineStart - 1] !== '\n') return nothing;
  const own = nameStart - lineStart;
  let end = from;
  for (let line = lineEnd(text, from) + 1; line > 0 && line < text.length;) {
    const next = lineEnd(text, line);
    let first = line;
    while (first < next && isBlank(text.charCodeAt(first))) first++;
    const isEmpty = first === next || text[first] === '\r';
    if (!isEmpty && first - line <= own) break;
    if (!isEmpty) end = next;
    line = next + 1;
  }
  return end === from ? nothing : { start: from, end };
}

/** A header's value goes to the end of its line, or to the quote that opens before its name: `-H 'Cookie: a=1; b=2'`. */
function headerEnd(text: string, from: number, nameStart: number): number {
  const before = text[nameStart - 1];
  const line = lineEnd(text, from);
  if (before !== '"' && before !== "'" && before !== '`') return line;
  const quote = text.slice(from, line).indexOf(before);
  if (quote < 0) return line;
  let end = from + quote;
  while (end > from && text.charCodeAt(end - 1) === 0x5c) end--;
  return end;
}

/** Without its `\r`. */
function lineEnd(text: string, from: number): number {
  const line = text.indexOf('\n', from);
  const end = line < 0 ? text.length : line;
  return end > from && text.charCodeAt(end - 1) === 0x0d ? end - 1 : end;
}

/** White space and quotes end a value without quotes, and so do separators and brackets, but only where something follows that may follow a value. */
function wordEnd(text: string, start: number): number {
  let end = start;
  for (; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (code <= 0x20 || isQuote(code)) break;
    if (code === 0x5c && isQuote(text.charCodeAt(end + 1))) break;
    if ((code === 0x26 || code === 0x2c || code === 0x3b) && endsPair(text, end + 1)) break;
    if ((code === 0x7d || code === 0x5d || code === 0x29) && endsBracket(text, end + 1)) break;
  }
  return end;
}

/** Whether nothing, a blank, a quote, or the next name and its sign stands here. */
function endsPair(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  if (at >= text.length || code <= 0x20 || isQuote(code) || code === 0x5c) return true;
  let end = at;
  while (end - at < nextNameChars && isDotted(text.charCodeAt(end))) end++;
  return end > at && (text[end] === '=' || text[end] === ':');
}

function endsBracket(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return at >= text.length || code <= 0x20 || isQuote(code) || code === 0x5c || ',;.)]}&<'.includes(text[at]!);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function isIndent(code: number): boolean {
  return isBlank(code) || code === 0x2d || isQuote(code);
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isQuote(code: number): boolean {
  return code === 0x22 || code === 0x27 || code === 0x60;
}

function isName(code: number): boolean {
  return isDigit(code) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a) || code === 0x5f || code === 0x2d || code >= 0x80;
}

function isDotted(code: number): boolean {
  return isName(code) || code === 0x2e;
}
