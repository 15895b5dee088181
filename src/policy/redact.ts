/**
 * What of a frame is never stored: finds the byte ranges (`spec/policy.md`, Redaction). The frame itself is never changed, and everything outside of
 * the ranges stays as it came, byte for byte.
 *
 * Here is the order of the search. Its parts: the walk over JSON (`redact-walk.ts`), texts and detectors (`redact-text.ts`), names (`redact-names.ts`), values that
 * are looked for again (`found-values.ts`), the ranges (`redactions.ts`).
 *
 * What must stay true: linear in the frame, whatever is in it; a frame that cannot be read as JSON is not searched for members that it may have all the
 * same, but left out as a whole, and so is one with more values than can be looked for; a range is a whole token or lies within one string, between two escapes, so that what is left can be read (`fill.ts`).
 *
 * Structure is read from a text with one unit for each byte, so that an offset in it is an offset in the frame. Names, and what detectors look at, are
 * decoded first: what a character means does not depend on how it was escaped.
 */
import { lossyText, utf8 } from '../bytes/bytes.ts';
import { redactedRanges } from '../limits.ts';
import { byteText, decoded } from './byte-text.ts';
import { NotedValues, valuesOf } from './found-values.ts';
import type { Keep } from './policy.ts';
import { Names, optionName } from './redact-names.ts';
import type { CompiledRedactRule } from './redact-rules.ts';
import { hidesFromDetectors, TextSearch } from './redact-text.ts';
import { Walk, type Searches } from './redact-walk.ts';
import { apart, Found, wholeOf, type Add, type Redaction } from './redactions.ts';
import { Repeats } from './repeats.ts';

export { FoundValues, valuesOf } from './found-values.ts';
export { compileRedaction, type CompiledRedactRule } from './redact-rules.ts';
export { apart, wholeOf, type Redaction } from './redactions.ts';

/** The rules that are about one message, ready to search frames. */
export class Redactor {
  readonly rules: readonly CompiledRedactRule[];
  readonly #names: Names;
  readonly #texts: TextSearch;
  /** What is not known to be checkable is dropped. */
  readonly #keep: Keep;
  readonly #found = new Found();
  readonly #values = new NotedValues();
  readonly #searches: Searches;

  constructor(rules: readonly CompiledRedactRule[]) {
    this.rules = rules;
    this.#names = new Names(rules);
    this.#texts = new TextSearch(rules, this.#names);
    this.#keep = rules.length > 0 && rules.every(({ rule }) => rule.keep === 'checkable') ? 'checkable' : 'drop';
    this.#searches = { rules, names: this.#names, texts: this.#texts, values: this.#values };
  }

  /**
   * The ranges of a frame, or of one message in it, ascending and apart. `from`: where the bytes begin in what the ranges are of. `known`: values (`valuesOf`)
   * that were found in the message that this one answers, which answers often repeat. `isJson`: the frame is known to be one JSON text.
   */
  ranges(bytes: Uint8Array, from = 0, known: readonly string[] = [], isJson = false): Redaction[] {
    if (this.rules.length === 0 && known.length === 0) return [];
    this.#found.clear();
    this.#values.clear();
    const frame = decoded(bytes);
    const { text } = frame;
    const texts = this.#texts;
    // Without escapes what stands between two quotes is the text itself, and one search over all of it costs half of one for each string.
    texts.detectsInStrings = hidesFromDetectors(text);
    // Where no name of a rule stands anywhere, no member has one, and only values are left to be looked for.
    const isRead =
      (isJson && !texts.detectsInStrings && !this.#names.mayStandIn(frame)) || new Walk(text, bytes, 0, this.#found.add, this.#searches).document();
    const detects = !texts.detectsInStrings && texts.hasDetectors;
    texts.detectsInStrings = true;
    if (!isRead) {
      this.#found.clear();
      this.#unreadable(text, bytes);
    } else if (detects) texts.inFrame(frame, bytes, this.#noted(bytes));
    this.#repeated(text, bytes, known, isRead);
    const found = this.#values.isCut ? [wholeOf(0, bytes.length)] : apart(this.#found.hits);
    this.#found.clear();
    this.#values.clear();
    if (from > 0) {
      for (const one of found) {
        one.start += from;
        one.end += from;
      }
    }
    return found;
  }

  /** Takes what is found, and its value. */
  #noted(bytes: Uint8Array): Add {
    return (start, end, rule, keep) => {
      this.#values.note(bytes, start, end, keep);
      this.#found.add(start, end, rule, keep);
    };
  }

  /** Not JSON. Where it may be meant as such, members would be missed, and what is escaped: nothing of it is kept. A line of plain words is searched as text. */
  #unreadable(text: string, bytes: Uint8Array): void {
    if (this.rules.length > 0 && /["{[]/.test(text) && (this.#names.any || text.includes('\\'))) {
      this.#found.add(0, text.length, 'unreadable', this.#keep);
      return;
    }
    this.#texts.inText(text, bytes, 0, '', this.#noted(bytes));
  }

  /** What was found in one place is left out in the others, too: an answer may repeat a password in the middle of a sentence. */
  #repeated(text: string, bytes: Uint8Array, known: readonly string[], isRead: boolean): void {
    if (this.#values.isCut) return;
    for (const value of known) this.#values.noteKnown(value);
    const { values } = this.#values;
    if (values.length === 0 || !this.#values.mayRepeat(text, this.#found.hits)) return;
    const repeats = new Repeats(values);
    const { add } = this.#found;
    if (isRead) new Walk(text, bytes, 0, add, this.#searches, repeats).document();
    else repeats.find(bytes, 0, bytes.length, (start, end, keep) => add(start, end, 'repeated', keep));
  }

  /** A text of ours (an argument, a path, a name) without what must not be stored. `key`: what it is called. */
  clean(text: string, key?: string): string {
    if (this.rules.length === 0 || text === '') return text;
    const named = key === undefined ? undefined : this.#names.ruleFor(key);
    if (named !== undefined) return `[redacted ${named.label}]`;
    const bytes = utf8(text);
    const hits: Redaction[] = [];
    this.#texts.inText(byteText(bytes), bytes, 0, key ?? '', (start, end, rule, keep) => hits.push({ start, end, rule, keep }));
    if (hits.length === 0) return text;
    let out = '';
    let at = 0;
    for (const { start, end, rule } of apart(hits)) {
      out += `${lossyText(bytes.subarray(at, start))}[redacted ${rule}]`;
      at = end;
    }
    return out + lossyText(bytes.subarray(at));
  }

  /** As `clean`, for every text in a value; a flag such as `--password` names the word behind it. */
  cleanAll(value: unknown, key?: string): unknown {
    if (this.rules.length === 0) return value;
    const named = key === undefined ? undefined : this.#names.ruleFor(key);
    if (named !== undefined) return hidden(value, `[redacted ${named.label}]`);
    if (typeof value === 'string') return this.clean(value, key);
    if (Array.isArray(value)) {
      let flag: string | undefined;
      return (value as unknown[]).map((item) => {
        const cleaned = this.cleanAll(item, flag ?? key);
        flag = typeof item === 'string' ? optionName(item) : undefined;
        if (flag !== undefined && this.#names.ruleFor(flag) === undefined) flag = flag.split(/[./]/).at(-1)!;
        return cleaned;
      });
    }
    if (typeof value !== 'object' || value === null) return value;
    // entries, not assignment: a name may be `__proto__`
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [this.clean(name), this.cleanAll(inner, name)]));
  }
}

/** Looks for values that are known, and for nothing else. */
export const valuesOnly = new Redactor([]);

/** One item of a batch; `known` is `undefined` where nobody knows what must not be stored of it. */
export interface BatchItem {
  readonly range: readonly [number, number];
  readonly redactor: Redactor | undefined;
  readonly known: readonly string[] | undefined;
}

/** The ranges of each item of a batch, from the beginning of the frame: what is found in one is left out in the others, too. */
export function batchRanges(bytes: Uint8Array, items: readonly BatchItem[]): Redaction[][] {
  const search = (more: readonly string[]): Redaction[][] =>
    items.map(({ range: [start, end], redactor, known }) => {
      if (known === undefined) return [wholeOf(start, end)];
      const all = more.length === 0 ? known : [...known, ...more];
      return (redactor ?? valuesOnly).ranges(bytes.subarray(start, end), start, all, true);
    });
  const alone = search([]);
  const found = alone.flatMap((ranges, item) => (items[item]!.known === undefined ? [] : ranges));
  const shared = items.length < 2 ? [] : valuesOf(bytes, found, redactedRanges);
  if (shared === undefined) return items.map(({ range: [start, end] }) => [wholeOf(start, end)]);
  return shared.length === 0 ? alone : search(shared);
}

function hidden(value: unknown, mark: string): unknown {
  if (typeof value === 'string') return value === '' ? value : mark;
  if (Array.isArray(value)) return value.map((item) => hidden(item, mark));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, hidden(inner, mark)]));
  return typeof value === 'boolean' ? value : null;
}
