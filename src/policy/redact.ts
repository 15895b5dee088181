/**
 * What of a frame is never stored: finds the byte ranges (`spec/policy.md`, Redaction). The frame itself is never changed, and everything outside of
 * the ranges stays as it came, byte for byte.
 *
 * What must stay true: linear in the frame, whatever is in it; a frame that cannot be read as JSON is not searched for members that it may have all the
 * same, but left out as a whole; a range is a whole token or lies within one string, between two escapes, so that what is left can be read (`fill.ts`).
 *
 * Structure is read from a text with one unit for each byte, so that an offset in it is an offset in the frame. Names, and what detectors look at, are
 * decoded first: what a character means does not depend on how it was escaped.
 */
import { lossyText, utf8, utf8Text } from '../bytes/bytes.ts';
import { globMatches } from '../mcp/glob.ts';
import { jsonDepth, judgedKeys, redactedRanges } from '../limits.ts';
import type { Detectors } from './detect/detect.ts';
import { compilePath, type PathStep } from './paths.ts';
import type { Keep, RedactRule } from './policy.ts';
import type { Hit } from './range.ts';
import { assignmentsIn } from './assignment.ts';
import { Repeats, repeatOf, repeatText, type Repeat } from './repeats.ts';

export interface CompiledRedactRule {
  readonly rule: RedactRule;
  readonly keys: readonly CompiledKey[];
  readonly paths: readonly { steps: readonly PathStep[]; label: string }[];
  readonly detectors?: Detectors;
}

interface CompiledKey {
  /** Normalized. */
  readonly glob: string;
  readonly label: string;
  readonly isExact: boolean;
  /** What stands before the first and behind the last wildcard. */
  readonly prefix: string;
  readonly suffix: string;
}

/** A range that is not stored. `rule` names what found it: `key:*_token`, `path:$.params.x`, the id of a detector, `unreadable`, `repeated`. */
export interface Redaction extends Hit {
  keep: Keep;
}

/** @throws RangeError, PathError for what `config/` refuses */
export async function compileRedaction(rule: RedactRule): Promise<CompiledRedactRule> {
  return {
    rule,
    keys: rule.keys.map(compiledKey),
    paths: rule.paths.map((path) => ({ steps: compilePath(path).map(foldedStep), label: `path:${path}` })),
    ...(rule.detect.length === 0 ? {} : { detectors: new (await import('./detect/detect.ts')).Detectors(rule.detect) }),
  };
}

function compiledKey(key: string): CompiledKey {
  const glob = normalized(key);
  return { glob, label: `key:${key}`, isExact: !/[*?]/.test(glob), prefix: /^[^*?]*/.exec(glob)![0], suffix: /[^*?]*$/.exec(glob)![0] };
}

/** Hyphens and underscores count as one. */
function normalized(name: string): string {
  return name.toLowerCase().replaceAll('-', '_');
}

function foldedStep(step: PathStep): PathStep {
  return 'name' in step ? { ...step, name: step.name.toLowerCase() } : step;
}

const bytesDecoder = new TextDecoder('latin1');
/** Up to this length a call into the decoder costs more than the loop. */
const fewBytes = 24;

/** One unit for each byte; that of an ASCII byte is its character. */
function byteText(bytes: Uint8Array): string {
  if (bytes.length > fewBytes) return bytesDecoder.decode(bytes);
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

function isAscii(text: string): boolean {
  return !/[^\u0000-\u007f]/.test(text);
}

/** Bytes as a text with one unit for each of them, and as what they say. Both are the same where all is ASCII. */
interface Decoded {
  readonly text: string;
  /** `text` where the bytes are no UTF-8. */
  readonly read: string;
  readonly isAscii: boolean;
}

function decoded(bytes: Uint8Array): Decoded {
  const read = utf8Text(bytes);
  // what is not ASCII has fewer units than bytes
  if (read?.length === bytes.length) return { text: read, read, isAscii: true };
  const text = byteText(bytes);
  return { text, read: read ?? text, isAscii: false };
}

/** Strings in strings in strings: deeper ones are searched as text. */
const nestedMost = 4;
/** A member's name is shown to the detectors with values up to this length: `"ssn": "123456789"`. */
const contextChars = 256;
const contextNameChars = 64;
/** Up to the colon behind a name. */
const nameAheadChars = 256;
/** Names longer than this are not matched letter by letter. */
const longNameChars = 1_024;
/** A value that was found is looked for in the rest of the frame from this length on; inside of an object that was found only one that looks like a secret. */
const repeatedBytes = 6;
const telling = { bytes: 8, pattern: /^(?=\D*\d)(?:\S*\s){0,3}\S*$/ };
const repeatedValues = 64;
/** So much may be looked through for single values before a search for all of them at once is quicker. */
const quickBytes = 4 * 1024 * 1024;
/** Hits are merged from here on: far more than can be ranges of their own. */
const hitsMost = 8 * redactedRanges;

/** The rules that are about one message, ready to search frames. */
export class Redactor {
  readonly #rules: readonly CompiledRedactRule[];
  readonly #hasNames: boolean;
  readonly #hasDetectors: boolean;
  /** Each name that rules look for holds one of these; `undefined` where that cannot be said. */
  readonly #literals: RegExp | undefined;
  /** What is not known to be checkable is dropped. */
  readonly #keep: Keep;
  /** By member name: which rule's glob fits it. Names come from strangers: bounded. */
  readonly #keys = new Map<string, KeyRule | 'none'>();
  /** By name as it stands in a text. */
  readonly #texts = new Map<string, KeyRule | 'none'>();
  /** By member name as it stands in a frame. */
  readonly #members = new Map<string, Member>();
  /** Off while one search over the frame does for all strings in it. */
  #detectsInStrings = true;
  #found: Redaction[] = [];
  #values: Repeat[] = [];

  constructor(rules: readonly CompiledRedactRule[]) {
    this.#rules = rules;
    this.#hasNames = rules.some(({ keys, paths }) => keys.length > 0 || paths.length > 0);
    this.#hasDetectors = rules.some(({ detectors }) => detectors !== undefined);
    this.#literals = literalsOf(rules);
    this.#keep = rules.length > 0 && rules.every(({ rule }) => rule.keep === 'checkable') ? 'checkable' : 'drop';
  }

  /**
   * The ranges of a frame, or of one message in it, ascending and apart. `from`: where the bytes begin in what the ranges are of. `known`: values (`valuesOf`)
   * that were found in the message that this one answers, which answers often repeat. `isJson`: the frame is known to be one JSON text.
   */
  ranges(bytes: Uint8Array, from = 0, known: readonly string[] = [], isJson = false): Redaction[] {
    if (this.#rules.length === 0 && known.length === 0) return [];
    this.#found = [];
    this.#values = [];
    const frame = decoded(bytes);
    const { text } = frame;
    const add: Add = (start, end, rule, keep) => this.#push(start, end, rule, keep);
    // Without escapes what stands between two quotes is the text itself, and one search over all of it costs half of one for each string.
    this.#detectsInStrings = hidesFromDetectors(text);
    // Where no name of a rule stands anywhere, no member has one, and only values are left to be looked for.
    const isRead =
      (isJson && !this.#detectsInStrings && known.length === 0 && !this.#mayName(frame)) || new Walk(text, bytes, 0, add, this).document();
    const detects = !this.#detectsInStrings && this.#hasDetectors;
    this.#detectsInStrings = true;
    if (!isRead) {
      this.#found = [];
      this.#unreadable(text, bytes);
    } else if (detects) this.#detectAll(frame, bytes);
    this.#repeated(text, bytes, known, isRead);
    const found = apart(this.#found);
    this.#found = [];
    this.#values = [];
    if (from > 0) {
      for (const one of found) {
        one.start += from;
        one.end += from;
      }
    }
    return found;
  }

  /** Whether a frame without escapes has any of the names in it that rules look for, in whatever place. */
  #mayName({ text, isAscii: isPlain }: Decoded): boolean {
    if (!this.#hasNames) return false;
    // other letters may become one of ours when they are made small
    if (this.#literals === undefined || !isPlain) return true;
    return this.#literals.test(text);
  }

  #push(start: number, end: number, rule: string, keep: Keep): void {
    const found = this.#found;
    if (found.length < hitsMost) {
      found.push({ start, end, rule, keep });
      return;
    }
    const last = found.at(-1)!;
    last.start = Math.min(last.start, start);
    last.end = Math.max(last.end, end);
    if (keep === 'drop') last.keep = 'drop';
  }

  /** A text of ours (an argument, a path, a name) without what must not be stored. `key`: what it is called. */
  clean(text: string, key?: string): string {
    if (this.#rules.length === 0 || text === '') return text;
    const named = key === undefined ? undefined : this.keyRule(key);
    if (named !== undefined) return `[redacted ${named.label}]`;
    const bytes = utf8(text);
    const hits: Redaction[] = [];
    this.inText(byteText(bytes), bytes, 0, key ?? '', (start, end, rule, keep) => hits.push({ start, end, rule, keep }));
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
    if (this.#rules.length === 0) return value;
    const named = key === undefined ? undefined : this.keyRule(key);
    if (named !== undefined) return hidden(value, `[redacted ${named.label}]`);
    if (typeof value === 'string') return this.clean(value, key);
    if (Array.isArray(value)) {
      let flag: string | undefined;
      return (value as unknown[]).map((item) => {
        const cleaned = this.cleanAll(item, flag ?? key);
        flag = typeof item === 'string' ? /^--?([^\s=:-][^\s=:]*)$/.exec(item)?.[1] : undefined;
        if (flag !== undefined && this.keyRule(flag) === undefined) flag = flag.split(/[./]/).at(-1)!;
        return cleaned;
      });
    }
    if (typeof value !== 'object' || value === null) return value;
    // entries, not assignment: a name may be `__proto__`
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [this.clean(name), this.cleanAll(inner, name)]));
  }

  get rules(): readonly CompiledRedactRule[] {
    return this.#rules;
  }

  /** The first rule with a glob that fits a member's name, letters' case aside; hyphens and underscores count as one. */
  keyRule(name: string): KeyRule | undefined {
    const known = this.#keys.get(name);
    if (known !== undefined) return known === 'none' ? undefined : known;
    const found = this.#ruleOf(name.toLowerCase());
    if (this.#keys.size >= judgedKeys) this.#keys.clear();
    if (name.length <= 256) this.#keys.set(name, found ?? 'none');
    return found;
  }

  #ruleOf(folded: string): KeyRule | undefined {
    if (!this.#hasNames) return undefined;
    const name = folded.includes('-') ? folded.replaceAll('-', '_') : folded;
    for (const { rule, keys } of this.#rules) for (const key of keys) if (fitsKey(key, name)) return { label: key.label, keep: rule.keep };
    return undefined;
  }

  /** As `keyRule`, for a name with one unit for each byte. */
  #keyRuleOf(key: string): KeyRule | undefined {
    if (isAscii(key)) return this.keyRule(key);
    const known = this.#texts.get(key);
    if (known !== undefined) return known === 'none' ? undefined : known;
    const found = this.keyRule(named(key));
    if (this.#texts.size >= judgedKeys) this.#texts.clear();
    this.#texts.set(key, found ?? 'none');
    return found;
  }

  /** The name that stands from `start` to `end`, and what is known of it; `undefined` for an escape that JSON has not. */
  member(text: string, bytes: Uint8Array, start: number, end: number, hasEscapes: boolean, nested: number): Member | undefined {
    const raw = text.slice(start, end);
    const known = this.#members.get(raw);
    if (known !== undefined) return known;
    let name = raw;
    if (hasEscapes) {
      const plain = unescaped(bytes, start, end, nested);
      if (plain === undefined) return undefined;
      name = lossyText(plain.bytes);
    } else if (!isAscii(raw)) name = lossyText(bytes.subarray(start, end));
    const folded = name.toLowerCase();
    const member: Member = { name, folded, rule: this.#ruleOf(folded), isHarmless: undefined };
    if (this.#members.size >= judgedKeys) this.#members.clear();
    if (raw.length <= 256) this.#members.set(raw, member);
    return member;
  }

  /** A member's own name may be what is looked for: `{"alice@example.org": …}`. */
  isHarmless(member: Member): boolean {
    const { name } = member;
    if (plainName.test(name) || !((this.#hasDetectors && this.#detectsInStrings) || mayAssign.test(name))) return true;
    if (member.isHarmless === undefined) {
      member.isHarmless = true;
      const plain = utf8(name);
      // known for more than this frame
      const detects = this.#detectsInStrings;
      this.#detectsInStrings = true;
      this.inText(byteText(plain), plain, 0, '', () => (member.isHarmless = false));
      this.#detectsInStrings = detects;
    }
    return member.isHarmless;
  }

  /** Whether `inText` could find anything in a text, at a glance. */
  mayFind(text: string): boolean {
    return (this.#hasDetectors && this.#detectsInStrings && text.length >= 4) || (this.#hasNames && text.length > 2 && mayAssign.test(text));
  }

  /** Looks through a text that is no JSON (any more): `bytes` from `start` on. What is added is counted from there. `name`: the member that holds it. */
  inText(text: string, bytes: Uint8Array, start: number, name: string, add: Add): void {
    if (this.#hasNames && text.length > 2 && mayAssign.test(text)) {
      assignmentsIn(
        text,
        (key) => this.#keyRuleOf(key),
        (from, to, rule) => add(from, to, rule.label, rule.keep),
      );
    }
    if (!this.#hasDetectors || !this.#detectsInStrings || text.length < 4) return;
    const part = bytes.subarray(start, start + text.length);
    const before = name !== '' && name.length <= contextNameChars && text.length <= contextChars ? `${name}: ` : '';
    this.#detect(text.length <= contextChars && isAscii(text) ? { text, read: text, isAscii: true } : decoded(part), part, before, add);
  }

  /** `before`: what is shown to the detectors before the text. */
  #detect({ text, read, isAscii: isPlain }: Decoded, bytes: Uint8Array, before: string, add: Add): void {
    for (const { rule, detectors } of this.#rules) {
      if (detectors === undefined) continue;
      const places = new Places(read, read === text);
      for (const hit of before === '' ? detectors.find(read, isPlain ? bytes : undefined) : detectors.find(before + read)) {
        const from = Math.max(0, hit.start - before.length);
        const to = hit.end - before.length;
        if (to > from) add(places.byteAt(from), places.byteAt(to), hit.rule, rule.keep);
      }
    }
  }

  /** What detectors find in a frame without escapes: cut to the strings and numbers in it. */
  #detectAll(frame: Decoded, bytes: Uint8Array): void {
    const { text } = frame;
    const hits: Redaction[] = [];
    this.#detect(frame, bytes, '', (start, end, rule, keep) => hits.push({ start, end, rule, keep }));
    // of several rules, each in order of starts
    hits.sort((a, b) => a.start - b.start);
    const within = (start: number, end: number, { rule, keep }: Redaction): void => {
      if (end <= start) return;
      this.note(bytes, start, end, keep);
      this.#push(start, end, rule, keep);
    };
    let inString = false;
    let next = text.indexOf('"');
    for (const hit of hits) {
      for (; next >= 0 && next < hit.start; next = text.indexOf('"', next + 1)) inString = !inString;
      let isInside = inString;
      let from = hit.start;
      for (let quote = next; ; quote = text.indexOf('"', quote + 1)) {
        const to = quote < 0 || quote >= hit.end ? hit.end : quote;
        // a name between two strings is what the second one is called, no part of what was found
        const isName = isInside && to - from < hit.end - hit.start && /^\s*:/.test(text.slice(text.indexOf('"', to) + 1, to + nameAheadChars));
        if (isInside && !isName) within(from, to, hit);
        else if (!isInside) eachNumber(text, from, to, (start, end) => within(start, end, hit));
        if (to === hit.end) break;
        isInside = !isInside;
        from = quote + 1;
      }
    }
  }

  /** Not JSON. Where it may be meant as such, members would be missed, and what is escaped: nothing of it is kept. A line of plain words is searched as text. */
  #unreadable(text: string, bytes: Uint8Array): void {
    if (this.#rules.length > 0 && /["{[]/.test(text) && (this.#hasNames || text.includes('\\'))) {
      this.#push(0, text.length, 'unreadable', this.#keep);
      return;
    }
    this.inText(text, bytes, 0, '', (start, end, rule, keep) => {
      this.note(bytes, start, end, keep);
      this.#push(start, end, rule, keep);
    });
  }

  /** A value that was found, to be looked for elsewhere. `inObject`: what was found is an object that holds it. */
  note(bytes: Uint8Array, start: number, end: number, keep: Keep, inObject = false): void {
    if (end - start < repeatedBytes || this.#values.length >= repeatedValues) return;
    const value = repeatOf(bytes, start, end, keep);
    if (value !== undefined && !(inObject && !isTelling(bytes, start, end))) this.#values.push(value);
    for (const [from, to] of wordsOf(bytes, start, end)) {
      const word = repeatOf(bytes, from, to, keep);
      if (word !== undefined && this.#values.length < repeatedValues) this.#values.push(word);
    }
  }

  /** What was found in one place is left out in the others, too: an answer may repeat a password in the middle of a sentence. */
  #repeated(text: string, bytes: Uint8Array, known: readonly string[], isRead: boolean): void {
    for (const value of known) {
      const repeat = repeatText.read(value);
      if (repeat !== undefined) this.#values.push(repeat);
    }
    if (this.#values.length === 0 || (known.length === 0 && !this.#mayRepeat(text, bytes))) return;
    const repeats = new Repeats(this.#values);
    const add = (start: number, end: number, rule: string, keep: Keep): void => this.#push(start, end, rule, keep);
    if (isRead) new Walk(text, bytes, 0, add, this, repeats).document();
    else repeats.find(bytes, 0, bytes.length, (start, end, keep) => add(start, end, 'repeated', keep));
  }

  /** A quick look for frames without escapes, which most are: is there any value that stands outside of what was found? */
  #mayRepeat(text: string, bytes: Uint8Array): boolean {
    const values = this.#values;
    if (values.length > 8 || this.#found.length > 64 || values.length * bytes.length > quickBytes || text.includes('\\')) return true;
    if (values.some(({ keep }) => keep !== values[0]!.keep)) return true;
    for (const { prefix, length } of values) {
      const value = byteText(prefix);
      for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1)) {
        if (!this.#found.some(({ start, end }) => start <= at && at + length <= end)) return true;
      }
    }
    return false;
  }
}

/** The longest part of each name that no wildcard stands for. */
function literalsOf(rules: readonly CompiledRedactRule[]): RegExp | undefined {
  const literals = new Set<string>();
  for (const { keys, paths } of rules) {
    for (const name of [...keys.map(({ glob }) => glob), ...paths.map(({ steps }) => nameOf(steps))]) {
      // a hyphen and an underscore stand for each other: neither is part of it
      const parts = name?.split(/[*?_-]+/) ?? [];
      const longest = parts.reduce((a, b) => (b.length > a.length ? b : a), '');
      if (longest.length < 2 || !isAscii(longest)) return undefined;
      literals.add(longest);
    }
  }
  // one search for all of them: each for itself would cost more than all the detectors
  return new RegExp([...literals].map((literal) => literal.replace(/[^a-z0-9]/g, '\\$&')).join('|'), 'i');
}

/** The last member's name that a path goes through. */
function nameOf(steps: readonly PathStep[]): string | undefined {
  const step = steps.findLast((one) => 'name' in one);
  return step !== undefined && 'name' in step ? step.name : undefined;
}

interface KeyRule {
  label: string;
  keep: Keep;
}

interface Member {
  /** Decoded. */
  readonly name: string;
  readonly folded: string;
  readonly rule: KeyRule | undefined;
  /** Nothing that is looked for is in the name itself; not known before it is asked. */
  isHarmless: boolean | undefined;
}

function fitsKey({ glob, isExact, prefix, suffix }: CompiledKey, name: string): boolean {
  if (isExact) return glob === name;
  if (!name.startsWith(prefix) || !name.endsWith(suffix)) return false;
  // a glob takes as many steps as both lengths together allow: nobody means anything by such a name, and nothing of it need be kept
  return name.length > longNameChars || globMatches(glob, name);
}

/** A name as `byteText` has it, decoded. */
function named(key: string): string {
  return lossyText(bytesOf(key));
}

/** What `byteText` was made of. */
function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = byteOf.get(text.charCodeAt(at)) ?? text.charCodeAt(at);
  return bytes;
}

/** The decoder's `latin1` is windows-1252, which has other characters for some bytes. */
const byteOf = new Map(Array.from({ length: 256 }, (_, byte) => [bytesDecoder.decode(Uint8Array.of(byte)).charCodeAt(0), byte]));

function hidden(value: unknown, mark: string): unknown {
  if (typeof value === 'string') return value === '' ? value : mark;
  if (Array.isArray(value)) return value.map((item) => hidden(item, mark));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, hidden(inner, mark)]));
  return typeof value === 'boolean' ? value : null;
}

/** One letter again and again would be found everywhere; of a whole object that is left out most texts are no secrets. */
function isTelling(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start >= telling.bytes && telling.pattern.test(byteText(bytes.subarray(start, Math.min(end, start + 256))));
}

/** What in a value of several words would be a secret by itself: of `Bearer x` and `a=x; b=y` only the `x` may be said again. */
function wordsOf(bytes: Uint8Array, start: number, end: number): [number, number][] {
  const words: [number, number][] = [];
  const until = Math.min(end, start + wordsBytes);
  for (let from = start, at = start; at <= until && words.length < wordsMost; at++) {
    if (at < until && !separators.has(bytes[at]!)) continue;
    if (at - from < end - start && isTelling(bytes, from, at)) words.push([from, at]);
    from = at + 1;
  }
  return words;
}

const separators = new Set([0x09, 0x0a, 0x0d, 0x20, 0x22, 0x26, 0x27, 0x2c, 0x3b, 0x3d]);
const wordsBytes = 1_024;
const wordsMost = 8;

/** Where the characters of a text stand in its bytes, asked for in ascending order. */
class Places {
  readonly #text: string;
  readonly #isBytes: boolean;
  #unit = 0;
  #byte = 0;

  constructor(text: string, isBytes: boolean) {
    this.#text = text;
    this.#isBytes = isBytes;
  }

  byteAt(unit: number): number {
    if (this.#isBytes) return unit;
    for (; this.#unit < unit; this.#unit++) {
      const code = this.#text.charCodeAt(this.#unit);
      // half of a pair: together they are four
      this.#byte += code < 0x80 ? 1 : code < 0x800 || (code & 0xf800) === 0xd800 ? 2 : 3;
    }
    return this.#byte;
  }
}

/** The numbers that have a part between `from` and `to`, outside of strings. */
function eachNumber(text: string, from: number, to: number, found: (start: number, end: number) => void): void {
  let start = from;
  while (start > 0 && isNumeric(text.charCodeAt(start - 1))) start--;
  for (let at = start; at < to;) {
    if (!isNumeric(text.charCodeAt(at))) {
      at++;
      continue;
    }
    let end = at + 1;
    while (end < text.length && isNumeric(text.charCodeAt(end))) end++;
    // `true` has an `e`
    if (end > from && /\d/.test(text.slice(at, Math.min(end, at + 3)))) found(at, end);
    at = end;
  }
}

function isNumeric(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || code === 0x2b || code === 0x2d || code === 0x2e || code === 0x45 || code === 0x65;
}

/** No detector knows anything so short without any sign in it. */
const plainName = /^[A-Za-z_]\w{0,14}$/;
/** What `assignmentsIn` begins at. */
const mayAssign = /[=:>-]/;

/** Longest value, as it stood in a frame, that is decoded to be remembered. */
const rememberedRaw = 64 * 1024;
/** Of a request, until it is answered. */
const rememberedValues = 64;

/** What was found in a frame, to be looked for in the answer to it. */
export function valuesOf(bytes: Uint8Array, redactions: readonly Redaction[]): string[] {
  const values = new Set<string>();
  for (const { start, end, rule, keep } of redactions) {
    if (rule === 'unreadable' || rule === 'capture') continue;
    for (const value of plainValues(bytes.subarray(start, Math.min(end, start + rememberedRaw)))) {
      if (values.size >= rememberedValues) return [...values];
      const repeat = value.length < repeatedBytes ? undefined : repeatOf(value, 0, value.length, keep);
      if (repeat !== undefined) values.add(repeatText.write(repeat));
    }
  }
  return [...values];
}

/** Shorter values are looked for as whole texts alone. */
const heldChars = 4;

/** What was found in a message, for what is said of it beside its bytes: its id, its method, its names. */
export class FoundValues {
  readonly #values: readonly string[];

  constructor(bytes: Uint8Array, redactions: readonly Redaction[]) {
    const values = new Set<string>();
    for (const { start, end } of redactions)
      for (const value of decodings(bytes.subarray(start, Math.min(end, start + rememberedRaw)))) values.add(lossyText(value));
    this.#values = [...values];
  }

  /** Whether a text says any of it. `isCut`: it is only a beginning, and may be that of a value. A JSON token is looked at as what it means, too. */
  isIn(text: string, isCut = text.endsWith('…')): boolean {
    if (this.#values.length === 0) return false;
    const beginning = text.replace(/…$/, '').replace(/^"/, '');
    const texts = [text, plainToken(text)];
    return this.#values.some(
      (value) =>
        texts.some((one) => one === value || (value.length >= heldChars && one.includes(value))) ||
        (isCut && beginning.length >= heldChars && value.startsWith(beginning)),
    );
  }
}

function plainToken(token: string): string {
  if (!token.startsWith('"')) return token;
  try {
    return String(JSON.parse(token));
  } catch {
    return token;
  }
}

/** What a range says once it is decoded: it may stand in strings in strings. Of an object, also of one in a string, the texts and numbers in it. */
function plainValues(raw: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const value of decodings(raw)) {
    found.push(value);
    for (const [start, end] of wordsOf(value, 0, value.length)) found.push(value.subarray(start, end));
    if (value[0] !== 0x7b && value[0] !== 0x5b) continue;
    for (const [quoted] of byteText(value).matchAll(/"(?:[^"\\]|\\.)*"|[-\d.eE+]{6,}/g)) {
      if (found.length >= rememberedValues) break;
      const inner = quoted.startsWith('"') ? quoted.slice(1, -1) : quoted;
      for (const one of decodings(bytesOf(inner))) if (isTelling(one, 0, one.length)) found.push(one);
    }
  }
  return found;
}

function decodings(raw: Uint8Array): Uint8Array[] {
  const found = [raw];
  for (let last = raw; found.length <= nestedMost + 1 && last.includes(0x5c);) {
    const plain = unescaped(last, 0, last.length, 0)?.bytes;
    if (plain === undefined) break;
    last = plain.slice();
    found.push(last);
  }
  return found;
}

export type Add = (start: number, end: number, rule: string, keep: Keep) => void;

/** Ascending and apart. Where two meet they are one, named by the one that was found first; dropped wins over checkable. */
export function apart(found: Redaction[]): Redaction[] {
  if (found.length < 2) return found.map((one) => ({ ...one }));
  // what the file names itself says more than what a detector took it for
  const ranked = found
    .map((one, rank) => ({ ...one, rank: /^(?:key|path):/.test(one.rule) ? rank - found.length : rank }))
    .sort((a, b) => a.start - b.start || a.rank - b.rank);
  const merged: (Redaction & { rank: number })[] = [];
  for (const one of ranked) {
    const last = merged.at(-1);
    if (last === undefined || one.start >= last.end) {
      merged.push(one);
      continue;
    }
    if (one.rank < last.rank) {
      last.rule = one.rule;
      last.rank = one.rank;
    }
    if (one.keep === 'drop') last.keep = 'drop';
    last.end = Math.max(last.end, one.end);
  }
  const out = merged.map(({ start, end, rule, keep }) => ({ start, end, rule, keep }));
  if (out.length <= redactedRanges) return out;
  const first = out[0]!;
  return [{ ...first, end: out.at(-1)!.end, keep: out.some(({ keep }) => keep === 'drop') ? 'drop' : first.keep }];
}

/** Escapes, and more blanks between a name and its value than detectors look across. Looked for one by one: each has a quick way of its own. */
function hidesFromDetectors(text: string): boolean {
  return text.includes('\\') || text.includes('\t') || text.includes('\r') || text.includes('\n') || / {3}/.test(text);
}

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
class Walk {
  readonly #text: string;
  readonly #bytes: Uint8Array;
  readonly #nested: number;
  readonly #add: Add;
  readonly #redactor: Redactor;
  /** What to look for in place of what the rules say. */
  readonly #repeats: Repeats | undefined;
  #within: Within | undefined;
  #at = 0;
  #depth = 0;
  #hasEscapes = false;

  constructor(text: string, bytes: Uint8Array, nested: number, add: Add, redactor: Redactor, repeats?: Repeats, within?: Within) {
    this.#text = text;
    this.#bytes = bytes;
    this.#nested = nested;
    this.#add = add;
    this.#redactor = redactor;
    this.#repeats = repeats;
    this.#within = within;
  }

  /** Whether the text is one JSON value. If not, what was added so far is not to be used. */
  document(): boolean {
    const cursors: Cursor[] = [];
    if (this.#nested === 0 && this.#repeats === undefined) {
      for (const { rule, paths } of this.#redactor.rules)
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
    for (;;) {
      this.#space();
      if (this.#text.charCodeAt(this.#at) !== 0x22) return false;
      const keyStart = this.#at + 1;
      const keyEnd = this.#stringEnd();
      if (keyEnd < 0) return false;
      const hasEscapes = this.#hasEscapes;
      const member = this.#redactor.member(this.#text, this.#bytes, keyStart, keyEnd, hasEscapes, this.#nested);
      if (member === undefined) return false;
      if (this.#repeats !== undefined || !this.#redactor.isHarmless(member)) this.#inside(keyStart, keyEnd, '', hasEscapes);
      this.#at = keyEnd + 1;
      this.#space();
      if (!this.#take(0x3a)) return false;
      this.#space();
      if (this.#repeats === undefined ? !this.#ruled(member.name, member.rule, cursors, member.folded) : !this.#value('', none)) return false;
      this.#space();
      if (this.#take(0x7d)) break;
      if (!this.#take(0x2c)) return false;
    }
    this.#within = within;
    return true;
  }

  #array(key: string, cursors: readonly Cursor[]): boolean {
    this.#at++;
    this.#space();
    if (this.#take(0x5d)) return true;
    for (let index = 0; ; index++) {
      this.#space();
      if (cursors.length === 0 ? !this.#value(key, none) : !this.#ruled(key, undefined, cursors, index)) return false;
      this.#space();
      if (this.#take(0x5d)) return true;
      if (!this.#take(0x2c)) return false;
    }
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
      this.#redactor.note(this.#bytes, start, end, keep);
      this.#add(start, end, rule, keep);
    };
    if (this.#repeats !== undefined) this.#repeats.find(this.#bytes, start, end, (from, to, keep) => add(from, to, 'repeated', keep));
    else {
      const within = this.#within;
      if (within !== undefined) this.#redactor.note(this.#bytes, start, end, within.keep, within.inObject);
      if (token.length >= 8 && token.length <= 32) this.#redactor.inText(token, this.#bytes, start, key, add);
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
      if (this.#repeats === undefined && this.#within === undefined && !this.#redactor.mayFind(text)) return true;
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
        this.#redactor,
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
    if (level > nestedMost || bytes.indexOf(0x5c, start) < 0 || bytes.indexOf(0x5c, start) >= end) return;
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
    if (within !== undefined) this.#redactor.note(bytes, start, end, within.keep, within.inObject);
  }

  /** `text` is what `bytes` say from `start` on; what is added is counted from there. */
  #search(text: string, bytes: Uint8Array, start: number, key: string, add: Add): void {
    const end = start + text.length;
    if (this.#repeats !== undefined) {
      this.#findRepeats(this.#repeats, bytes, start, end, this.#nested + 1, (from, to, keep) => add(from - start, to - start, 'repeated', keep));
      return;
    }
    this.#noteWhole(bytes, start, end);
    this.#redactor.inText(text, bytes, start, key, (from, to, rule, keep) => {
      this.#redactor.note(bytes, start + from, start + to, keep);
      add(from, to, rule, keep);
    });
  }
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

const escapes = new Uint8Array(256);
for (const [letter, code] of Object.entries({ '"': 0x22, '\\': 0x5c, '/': 0x2f, b: 8, f: 12, n: 10, r: 13, t: 9 }))
  escapes[letter.charCodeAt(0)] = code;

/** For each level of strings in strings, whose texts are in use at the same time. */
const scratch = Array.from({ length: nestedMost + 2 }, () => ({ bytes: new Uint8Array(0), places: new Int32Array(0) }));
const scratchBytes = 64 * 1024;

/**
 * What a string says, as UTF-8, and for each byte of it where in `bytes` it stands. `undefined` for an escape that JSON has not; in a text it
 * stands for itself (`isText`). Good until the next call for the same level of nesting.
 */
function unescaped(
  bytes: Uint8Array,
  start: number,
  end: number,
  nested: number,
  isText = false,
): { bytes: Uint8Array; places: Int32Array } | undefined {
  const most = end - start;
  let room = scratch[nested]!;
  if (room.bytes.length < most) {
    const sizeBytes = most > scratchBytes ? most : Math.min(scratchBytes, 2 * most + 64);
    room = { bytes: new Uint8Array(sizeBytes), places: new Int32Array(sizeBytes) };
    if (most <= scratchBytes) scratch[nested] = room;
  }
  const { bytes: out, places } = room;
  let size = 0;
  for (let at = start; at < end;) {
    const byte = bytes[at]!;
    if (byte !== 0x5c) {
      places[size] = at++;
      out[size++] = byte;
      continue;
    }
    const letter = at + 1 < end ? bytes[at + 1]! : 0;
    if (escapes[letter] === 0 && (letter !== 0x75 || hex4(bytes, at + 2, end) < 0)) {
      if (!isText) return undefined;
      places[size] = at++;
      out[size++] = byte;
      continue;
    }
    if (letter !== 0x75) {
      places[size] = at;
      out[size++] = escapes[letter]!;
      at += 2;
      continue;
    }
    let code = hex4(bytes, at + 2, end);
    let length = 6;
    if ((code & 0xfc00) === 0xd800 && at + 7 < end && bytes[at + 6] === 0x5c && bytes[at + 7] === 0x75) {
      const low = hex4(bytes, at + 8, end);
      if (low >= 0 && (low & 0xfc00) === 0xdc00) {
        code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
        length = 12;
      }
    }
    // half of a pair is no character
    if ((code & 0xfffff800) === 0xd800) code = 0xfffd;
    for (let left = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4, lead = left; left > 0; left--) {
      places[size] = at;
      out[size++] = left === lead ? leads[lead]! | (code >> (6 * (lead - 1))) : 0x80 | ((code >> (6 * (left - 1))) & 0x3f);
    }
    at += length;
  }
  return { bytes: out.subarray(0, size), places };
}

const leads = [0, 0, 0xc0, 0xe0, 0xf0];

function hex4(bytes: Uint8Array, at: number, end: number): number {
  if (at + 4 > end) return -1;
  let code = 0;
  for (let digit = at; digit < at + 4; digit++) {
    const byte = bytes[digit]!;
    const value = byte >= 0x30 && byte <= 0x39 ? byte - 0x30 : (byte | 32) >= 0x61 && (byte | 32) <= 0x66 ? (byte | 32) - 0x57 : -1;
    if (value < 0) return -1;
    code = code * 16 + value;
  }
  return code;
}
