/**
 * The walk over the JSON of a frame, and over that in its strings: which members and items rules name, and what their values, and all other texts, hold.
 *
 * What must stay true: linear in the text, whatever is in it; what cannot be read as JSON is said to be none; a range is a whole token or lies within one string,
 * between two escapes.
 */
import { jsonDepth } from '../limits.ts';
import { byteText } from './byte-text.ts';
import type { NotedValues } from './found-values.ts';
import type { PathStep } from './paths.ts';
import type { Keep } from './policy.ts';
import type { Names } from './redact-names.ts';
import type { CompiledRedactRule, KeyRule } from './redact-rules.ts';
import type { TextSearch } from './redact-text.ts';
import type { Add, Redaction } from './redactions.ts';
import type { Repeats } from './repeats.ts';
import { nestedMost, unescaped } from './unescape.ts';

/** Texts beside an argument list that may name the program: so many of those before it, and of this length. */
const siblingsMost = 4;
const siblingChars = 128;
/** For so many lists of an object: each is searched together with them. */
const siblingUses = 8;
const longestPairName = 256;

/** Texts of an object, each by start and end. */
interface Siblings {
  readonly places: number[];
  uses: number;
}

/** What the walk asks. */
export interface Searches {
  readonly rules: readonly CompiledRedactRule[];
  readonly names: Names;
  readonly texts: TextSearch;
  readonly values: NotedValues;
}

/** So far a string is looked at unit by unit for its end. */
const nearChars = 32;

interface Cursor {
  readonly steps: readonly PathStep[];
  readonly label: string;
  readonly keep: Keep;
  readonly step: number;
}

const none: readonly Cursor[] = [];

/** Below a member that is left out as a whole. */
interface Within {
  readonly keep: Keep;
  readonly inObject: boolean;
}

/** One reading of a JSON text, as strict as RFC 8259 where it matters for what a member is; never builds the document. */
export class Walk {
  readonly #text: string;
  readonly #bytes: Uint8Array;
  readonly #nested: number;
  readonly #add: Add;
  readonly #searches: Searches;
  /** What to look for in place of what the rules say. */
  readonly #repeats: Repeats | undefined;
  /** Members and items are looked at for names: not while values are looked for. */
  readonly #hasNames: boolean;
  /** Texts are searched one by one, so that in lists a second search has to see them together. */
  readonly #seesLists: boolean;
  #within: Within | undefined;
  /** What is read is an item of an array. */
  #isItem = false;
  /** Texts that stand before an array in its object. */
  #siblings: Siblings | undefined;
  #at = 0;
  #depth = 0;
  #hasEscapes = false;

  constructor(text: string, bytes: Uint8Array, nested: number, add: Add, searches: Searches, repeats?: Repeats, within?: Within) {
    this.#text = text;
    this.#bytes = bytes;
    this.#nested = nested;
    this.#add = add;
    this.#searches = searches;
    this.#repeats = repeats;
    this.#hasNames = repeats === undefined && searches.names.any;
    this.#seesLists = repeats === undefined && searches.texts.hasDetectors && searches.texts.detectsInStrings;
    this.#within = within;
  }

  /** Whether the text is one JSON value. If not, what was added so far is not to be used. */
  document(): boolean {
    const cursors: Cursor[] = [];
    if (this.#nested === 0 && this.#repeats === undefined) {
      for (const { rule, paths } of this.#searches.rules)
        for (const { steps, label } of paths) cursors.push({ steps, label, keep: rule.keep, step: 0 });
    }
    this.#space();
    const isBatch = this.#nested === 0 && this.#text[this.#at] === '[';
    if (isBatch ? !this.#batch(cursors) : !this.#value('', cursors)) return false;
    this.#space();
    return this.#at === this.#text.length;
  }

  /** Paths begin at each message of a batch. */
  #batch(cursors: readonly Cursor[]): boolean {
    this.#at++;
    this.#space();
    if (this.#take(0x5d)) return true;
    for (;;) {
      this.#space();
      this.#isItem = false;
      if (!this.#value('', cursors)) return false;
      this.#space();
      if (this.#take(0x5d)) return true;
      if (!this.#take(0x2c)) return false;
    }
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #take(code: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== code) return false;
    this.#at++;
    return true;
  }

  /** Reads a value. `key`: of the member that it is; `cursors`: of paths that may still fit below it. */
  #value(key: string, cursors: readonly Cursor[]): boolean {
    const code = this.#text.charCodeAt(this.#at);
    if (code === 0x22) return this.#string(key);
    if (code === 0x7b || code === 0x5b) {
      if (++this.#depth > jsonDepth) return false;
      const whole = code === 0x7b ? this.#object(cursors) : this.#array(key, cursors);
      this.#depth--;
      return whole;
    }
    return this.#scalar(key);
  }

  /** Reads a value that a rule leaves out as a whole, or not. */
  #ruled(key: string, rule: KeyRule | undefined, cursors: readonly Cursor[], place: string | number): boolean {
    const start = this.#at;
    const reaching = cursors.length === 0 ? none : cursors.filter(({ steps, step }) => step === steps.length - 1 && fits(steps[step]!, place));
    const outside = this.#within;
    if (rule !== undefined || reaching.length > 0) {
      const isDropped = outside?.keep === 'drop' || rule?.keep === 'drop' || reaching.some(({ keep }) => keep === 'drop');
      this.#within = { keep: isDropped ? 'drop' : 'checkable', inObject: false };
    }
    const isRead = this.#value(key, cursors.length === 0 ? none : stepped(cursors, place));
    this.#within = outside;
    if (!isRead) return false;
    if (rule !== undefined) this.#whole(start, rule.label, rule.keep);
    for (const { label, keep } of reaching) this.#whole(start, label, keep);
    return true;
  }

  #object(cursors: readonly Cursor[]): boolean {
    this.#at++;
    this.#space();
    if (this.#take(0x7d)) return true;
    const within = this.#within;
    if (within !== undefined && !within.inObject) this.#within = { ...within, inObject: true };
    const told: Siblings | undefined = this.#seesLists ? { places: [], uses: 0 } : undefined;
    // of `{"name":…,"value":…}`: where the names stand, of which there may be two (`key`), and the value
    let name = -1;
    let other = -1;
    let value = -1;
    let valueEnd = -1;
    for (;;) {
      this.#space();
      if (this.#text.charCodeAt(this.#at) !== 0x22) return false;
      const keyStart = this.#at + 1;
      const keyEnd = this.#stringEnd();
      if (keyEnd < 0) return false;
      const hasEscapes = this.#hasEscapes;
      const member = this.#searches.names.member(this.#text, this.#bytes, keyStart, keyEnd, hasEscapes, this.#nested);
      if (member === undefined) return false;
      if (this.#repeats !== undefined || !this.#searches.texts.isHarmless(member)) this.#inside(keyStart, keyEnd, '', hasEscapes);
      this.#at = keyEnd + 1;
      this.#space();
      if (!this.#take(0x3a)) return false;
      this.#space();
      const start = this.#at;
      this.#isItem = false;
      this.#siblings = told;
      const role = this.#hasNames ? member.role : undefined;
      const rule = role === 'value' ? (member.rule ?? this.#namedBy(name, other)) : member.rule;
      if (this.#repeats === undefined ? !this.#ruled(member.name, rule, cursors, member.folded) : !this.#value('', none)) return false;
      if (role === 'name') [name, other] = [start, name];
      else if (role === 'value') [value, valueEnd] = [start, this.#at];
      if (told !== undefined && this.#text.charCodeAt(start) === 0x22 && this.#at - start < siblingChars) {
        told.places.push(start, this.#at);
      }
      this.#space();
      if (this.#take(0x7d)) break;
      if (!this.#take(0x2c)) return false;
    }
    if (value >= 0 && name > value) {
      const rule = this.#namedBy(name, other);
      if (rule !== undefined) this.#late(value, valueEnd, rule);
    }
    this.#within = within;
    return true;
  }

  #array(key: string, cursors: readonly Cursor[]): boolean {
    this.#at++;
    this.#space();
    if (this.#take(0x5d)) return true;
    const isRow = this.#isItem && this.#hasNames;
    const before = this.#isItem ? undefined : this.#siblings;
    const list: number[] | undefined = this.#seesLists ? [] : undefined;
    let hasOptions = false;
    let option: KeyRule | undefined;
    let first = -1;
    for (let index = 0; ; index++) {
      this.#space();
      const start = this.#at;
      this.#isItem = true;
      if (cursors.length === 0 && option === undefined ? !this.#value(key, none) : !this.#ruled(key, option, cursors, index)) return false;
      const end = this.#at;
      option = undefined;
      const code = this.#text.charCodeAt(start);
      if (code === 0x22) {
        const sign = this.#text.charCodeAt(start + 1);
        // an escape may be one
        if (sign === 0x2d || sign === 0x5c) {
          hasOptions ||= list !== undefined && mayNameNext(this.#text, start + 1);
          if (this.#hasNames) option = this.#searches.names.ruleForOption(this.#shortText(start, end));
        }
      }
      if (list !== undefined && code !== 0x7b && code !== 0x5b) list.push(start, end);
      if (isRow && index === 0) first = start;
      this.#space();
      if (this.#take(0x5d)) {
        // `["Authorization","x"]` among others
        const rule = index === 1 && first >= 0 && code === 0x22 ? this.#namedBy(first) : undefined;
        if (rule !== undefined) this.#late(start, end, rule);
        break;
      }
      if (!this.#take(0x2c)) return false;
    }
    if (list !== undefined && hasOptions)
      this.#searchList(before === undefined || before.uses++ >= siblingUses ? list : [...before.places.slice(-2 * siblingsMost), ...list]);
    return true;
  }

  /** What a short string says, with one unit for each byte; nothing for a long one. */
  #shortText(start: number, end: number): string {
    if (end - start - 2 > longestPairName) return '';
    const text = this.#text.slice(start + 1, end - 1);
    if (!text.includes('\\')) return text;
    const plain = unescaped(this.#bytes, start + 1, end - 1, this.#nested);
    return plain === undefined ? '' : byteText(plain.bytes);
  }

  /** The rule that the name belongs to which the text says that begins here, or the other one. */
  #namedBy(start: number, other = -1): KeyRule | undefined {
    if (start < 0) return undefined;
    let rule: KeyRule | undefined;
    if (this.#text.charCodeAt(start) === 0x22) {
      const at = this.#at;
      this.#at = start;
      const end = this.#stringEnd();
      this.#at = at;
      rule = this.#searches.names.ruleForText(this.#shortText(start, end + 1));
    }
    return rule ?? this.#namedBy(other);
  }

  /** A value that was read before it was known that a rule names it. Of an object the texts in it are not looked for elsewhere in the frame. */
  #late(start: number, end: number, { label, keep }: KeyRule): void {
    const at = this.#at;
    this.#at = end;
    this.#whole(start, label, keep);
    this.#at = at;
    const { values } = this.#searches;
    const code = this.#text.charCodeAt(start);
    if (code === 0x7b || code === 0x5b) return;
    if (code !== 0x22) values.note(this.#bytes, start, end, keep);
    else if (!this.#text.slice(start, end).includes('\\')) values.note(this.#bytes, start + 1, end - 1, keep);
    else {
      const plain = unescaped(this.#bytes, start + 1, end - 1, this.#nested);
      if (plain !== undefined) values.note(plain.bytes, 0, plain.bytes.length, keep);
    }
  }

  /** Texts and numbers of a list, each by start and end, as detectors would see them in a frame without escapes: what an option means is said by what stands before it. */
  #searchList(list: readonly number[]): void {
    let sizeBytes = 0;
    for (let at = 0; at < list.length; at += 2) sizeBytes += list[at + 1]! - list[at]! + 1;
    const bytes = new Uint8Array(sizeBytes);
    /** For each byte its place in the frame, or in the text that this is. */
    const places = new Int32Array(sizeBytes);
    /** Of each item where it begins and ends here. */
    const begins: number[] = [];
    const ends: number[] = [];
    let size = 0;
    for (let at = 0; at < list.length; at += 2) {
      const start = list[at]!;
      const end = list[at + 1]!;
      const isText = this.#text.charCodeAt(start) === 0x22;
      if (isText) bytes[size++] = 0x22;
      begins.push(size);
      const from = isText ? start + 1 : start;
      const to = isText ? end - 1 : end;
      const plain = isText && hasBackslash(this.#bytes, from, to) ? unescaped(this.#bytes, from, to, this.#nested) : undefined;
      if (plain === undefined) {
        bytes.set(this.#bytes.subarray(from, to), size);
        for (let place = from; place < to; place++) places[size++] = place;
      } else {
        bytes.set(plain.bytes, size);
        places.set(plain.places.subarray(0, plain.bytes.length), size);
        size += plain.bytes.length;
      }
      ends.push(size);
      if (isText) bytes[size++] = 0x22;
      bytes[size++] = 0x2c;
    }
    this.#searches.texts.inList(bytes.subarray(0, size), (start, end, rule, keep) => {
      // the last item that begins at or before it
      let item = 0;
      for (let above = begins.length; above - item > 1;) {
        const middle = (item + above) >> 1;
        if (begins[middle]! <= start) item = middle;
        else above = middle;
      }
      for (; item < begins.length && begins[item]! < end; item++) {
        const isText = this.#text.charCodeAt(list[2 * item]!) === 0x22;
        const from = isText ? Math.max(start, begins[item]!) : begins[item]!;
        let to = isText ? Math.min(end, ends[item]!) : ends[item]!;
        if (to <= from || start >= ends[item]!) continue;
        // no part of a number, and nothing of `true`
        if (!isText && !/^[-\d]/.test(this.#text.slice(list[2 * item], list[2 * item]! + 1))) continue;
        while (to < ends[item]! && places[to] === places[to - 1]) to++;
        this.#searches.values.note(bytes, from, to, keep);
        this.#add(places[from]!, to === ends[item] ? list[2 * item + 1]! - (isText ? 1 : 0) : places[to]!, rule, keep);
      }
    });
  }

  /** The value that was just read, from `start` on: of a string what is between its quotes. `null` and nothing tell nothing. */
  #whole(start: number, label: string, keep: Keep): void {
    const isString = this.#text.charCodeAt(start) === 0x22;
    const from = isString ? start + 1 : start;
    const to = isString ? this.#at - 1 : this.#at;
    if (to > from && (isString || !this.#text.startsWith('null', from))) this.#add(from, to, label, keep);
  }

  #scalar(key: string): boolean {
    const start = this.#at;
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      // digits, letters, `+`, `-`, `.`
      if (!((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x7a) || code === 0x45 || code === 0x2b || code === 0x2d || code === 0x2e))
        break;
      this.#at++;
    }
    const token = this.#text.slice(start, this.#at);
    if (token === 'true' || token === 'false' || token === 'null') return true;
    if (!/^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/.test(token)) return false;
    const end = this.#at;
    if (token.length < 8 && this.#repeats === undefined && this.#within === undefined) return true;
    // a part of a number would leave none that can be read
    const add: Add = (_from, _to, rule, keep) => {
      this.#searches.values.note(this.#bytes, start, end, keep);
      this.#add(start, end, rule, keep);
    };
    if (this.#repeats !== undefined) this.#repeats.find(this.#bytes, start, end, (from, to, keep) => add(from, to, 'repeated', keep));
    else {
      const within = this.#within;
      if (within !== undefined) this.#searches.values.note(this.#bytes, start, end, within.keep, within.inObject);
      if (token.length >= 8 && token.length <= 32) this.#searches.texts.inText(token, this.#bytes, start, key, add);
    }
    return true;
  }

  #string(key: string): boolean {
    const start = this.#at + 1;
    const end = this.#stringEnd();
    if (end < 0) return false;
    this.#at = end + 1;
    return this.#inside(start, end, key, this.#hasEscapes);
  }

  /** Where the string that begins here ends, or -1; then `#hasEscapes` says whether there are any in it. */
  #stringEnd(): number {
    const text = this.#text;
    const from = this.#at + 1;
    // most strings are short, and looking at each unit costs less than a call
    const near = Math.min(from + nearChars, text.length);
    for (let at = from; at < near; at++) {
      const code = text.charCodeAt(at);
      if (code === 0x22) {
        this.#hasEscapes = false;
        return at;
      }
      if (code === 0x5c) break;
    }
    for (let at = from; ;) {
      const quote = text.indexOf('"', at);
      if (quote < 0) return -1;
      let slashes = 0;
      while (text.charCodeAt(quote - 1 - slashes) === 0x5c && quote - 1 - slashes > this.#at) slashes++;
      if (slashes % 2 === 0) {
        this.#hasEscapes = text.slice(from, quote).includes('\\');
        return quote;
      }
      at = quote + 1;
    }
  }

  /** What stands between two quotes: JSON again, or text. */
  #inside(start: number, end: number, key: string, hasEscapes: boolean): boolean {
    if (!hasEscapes) {
      if (end - start < 2) return true;
      const text = this.#text.slice(start, end);
      if (this.#repeats === undefined && this.#within === undefined && !this.#searches.texts.mayFind(text)) return true;
      this.#search(text, this.#bytes, start, key, (from, to, rule, keep) => this.#add(start + from, start + to, rule, keep));
      return true;
    }
    const plain = unescaped(this.#bytes, start, end, this.#nested);
    if (plain === undefined) return false;
    const { bytes, places } = plain;
    const text = byteText(bytes);
    const add: Add = (from, to, rule, keep) => {
      // an escape that is several bytes is left out whole
      let last = to;
      while (last < bytes.length && places[last] === places[last - 1]) last++;
      this.#add(places[from]!, last === bytes.length ? end : places[last]!, rule, keep);
    };
    if (this.#nested < nestedMost && text.length > 2 && isMaybeJson(text)) {
      const inside: Redaction[] = [];
      const walk = new Walk(
        text,
        bytes,
        this.#nested + 1,
        (from, to, rule, keep) => inside.push({ start: from, end: to, rule, keep }),
        this.#searches,
        this.#repeats,
        this.#within,
      );
      if (walk.document()) {
        for (const { start: from, end: to, rule, keep } of inside) add(from, to, rule, keep);
        // a value may be JSON itself
        if (this.#repeats !== undefined) this.#search(text, bytes, 0, key, add);
        else this.#noteWhole(bytes, 0, bytes.length);
        return true;
      }
    }
    this.#search(text, bytes, 0, key, add);
    return true;
  }

  /** Looks for values in a text, and in what it says where it quotes JSON: `Answer: {"a":"{\\"b\\":…`. */
  #findRepeats(repeats: Repeats, bytes: Uint8Array, start: number, end: number, level: number, found: Parameters<Repeats['find']>[3]): void {
    repeats.find(bytes, start, end, found);
    if (level > nestedMost || !hasBackslash(bytes, start, end)) return;
    const plain = unescaped(bytes, start, end, level, true);
    if (plain === undefined || plain.bytes.length === end - start) return;
    const { bytes: inner, places } = plain;
    this.#findRepeats(repeats, inner, 0, inner.length, level + 1, (from, to, keep) => {
      let last = to;
      while (last < inner.length && places[last] === places[last - 1]) last++;
      found(places[from]!, last === inner.length ? end : places[last]!, keep);
    });
  }

  #noteWhole(bytes: Uint8Array, start: number, end: number): void {
    const within = this.#within;
    if (within !== undefined) this.#searches.values.note(bytes, start, end, within.keep, within.inObject);
  }

  /** `text` is what `bytes` say from `start` on; what is added is counted from there. */
  #search(text: string, bytes: Uint8Array, start: number, key: string, add: Add): void {
    const end = start + text.length;
    if (this.#repeats !== undefined) {
      this.#findRepeats(this.#repeats, bytes, start, end, this.#nested + 1, (from, to, keep) => add(from - start, to - start, 'repeated', keep));
      return;
    }
    this.#noteWhole(bytes, start, end);
    this.#searches.texts.inText(text, bytes, start, key, (from, to, rule, keep) => {
      this.#searches.values.note(bytes, start + from, start + to, keep);
      add(from, to, rule, keep);
    });
  }
}

/** At a glance, for the text at `from`: options with one dash of which detectors know none (`commands.ts`). */
function mayNameNext(text: string, from: number): boolean {
  if (text.charCodeAt(from) === 0x5c || text.charCodeAt(from + 1) === 0x2d) return true;
  return /^[apw\\]|^[A-Za-z]{0,6}[uU\\]/.test(text.slice(from + 1, from + 9));
}

/** Looks no further than `end`: strings are many, and each would look through all that follow. */
function hasBackslash(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start > nearChars) return bytes.subarray(start, end).includes(0x5c);
  for (let at = start; at < end; at++) if (bytes[at] === 0x5c) return true;
  return false;
}

function isMaybeJson(text: string): boolean {
  return /^[ \t\r\n]*[{["]/.test(text) && text.includes('"');
}

function fits(step: PathStep, place: string | number): boolean {
  if ('every' in step) return true;
  return 'index' in step ? step.index === place : step.name === place;
}

/** The cursors below a member or an item. */
function stepped(cursors: readonly Cursor[], place: string | number): readonly Cursor[] {
  // most often there are only paths that look everywhere, and go on as they are
  if (cursors.every(({ steps, step }) => 'deep' in steps[step]! && steps[step].deep && (step + 1 === steps.length || !fits(steps[step], place))))
    return cursors;
  const below: Cursor[] = [];
  // Of each path in the order of its steps, so that one that two steps lead to is there once: without that a path such as `$..a..a..a` would have as many as
  // there are ways through the members above.
  for (const cursor of cursors) {
    const step = cursor.steps[cursor.step]!;
    const last = below.at(-1);
    if ('deep' in step && step.deep && !(last?.steps === cursor.steps && last.step === cursor.step)) below.push(cursor);
    if (cursor.step + 1 < cursor.steps.length && fits(step, place)) below.push({ ...cursor, step: cursor.step + 1 });
  }
  return below.length === 0 ? none : below;
}
