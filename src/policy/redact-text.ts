/**
 * The search of texts: values that are named in them (`assignment.ts`), and what detectors find. Detectors see what a text says, however it is encoded; of a frame without
 * escapes they see all strings at once.
 */
import { utf8 } from '../bytes/bytes.ts';
import { assignmentsIn } from './assignment.ts';
import { byteText, decoded, isAscii, Places, type Decoded } from './byte-text.ts';
import type { Member, Names } from './redact-names.ts';
import type { CompiledRedactRule } from './redact-rules.ts';
import type { Add, Redaction } from './redactions.ts';

/** A member's name is shown to the detectors with values up to this length: `"ssn": "123456789"`. */
const contextChars = 256;
const contextNameChars = 64;
/** Up to the colon behind a name. */
const nameAheadChars = 256;
/** No detector knows anything so short without any sign in it. */
const plainName = /^[A-Za-z_]\w{0,14}$/;
/** What `assignmentsIn` begins at. */
const mayAssign = /[=:>-]/;

/** Escapes, and more blanks between a name and its value than detectors look across. Looked for one by one: each has a quick way of its own. */
export function hidesFromDetectors(text: string): boolean {
  return text.includes('\\') || text.includes('\t') || text.includes('\r') || text.includes('\n') || / {3}/.test(text);
}

/** What some rules look for in texts. */
export class TextSearch {
  readonly hasDetectors: boolean;
  /** Off while one search over the frame does for all strings in it. */
  detectsInStrings = true;
  readonly #rules: readonly CompiledRedactRule[];
  readonly #names: Names;

  constructor(rules: readonly CompiledRedactRule[], names: Names) {
    this.#rules = rules;
    this.#names = names;
    this.hasDetectors = rules.some(({ detectors }) => detectors !== undefined);
  }

  /** A member's own name may be what is looked for: `{"alice@example.org": …}`. */
  isHarmless(member: Member): boolean {
    const { name } = member;
    if (plainName.test(name) || !((this.hasDetectors && this.detectsInStrings) || mayAssign.test(name))) return true;
    if (member.isHarmless === undefined) {
      member.isHarmless = true;
      const plain = utf8(name);
      // known for more than this frame
      const detects = this.detectsInStrings;
      this.detectsInStrings = true;
      this.inText(byteText(plain), plain, 0, '', () => (member.isHarmless = false));
      this.detectsInStrings = detects;
    }
    return member.isHarmless;
  }

  /** Whether `inText` could find anything in a text, at a glance. */
  mayFind(text: string): boolean {
    return (this.hasDetectors && this.detectsInStrings && text.length >= 4) || (this.#names.any && text.length > 2 && mayAssign.test(text));
  }

  /** Looks through a text that is no JSON (any more): `bytes` from `start` on. What is added is counted from there. `name`: the member that holds it. */
  inText(text: string, bytes: Uint8Array, start: number, name: string, add: Add): void {
    if (this.#names.any && text.length > 2 && mayAssign.test(text)) {
      assignmentsIn(
        text,
        (key) => this.#names.ruleForText(key),
        (from, to, rule) => add(from, to, rule.label, rule.keep),
      );
    }
    if (!this.hasDetectors || !this.detectsInStrings || text.length < 4) return;
    const part = bytes.subarray(start, start + text.length);
    const before = name !== '' && name.length <= contextNameChars && text.length <= contextChars ? `${name}: ` : '';
    this.#detect(text.length <= contextChars && isAscii(text) ? { text, read: text, isAscii: true } : decoded(part), part, before, add);
  }

  /** What detectors find in texts that stand behind each other, as they would in a frame. */
  inList(bytes: Uint8Array, add: Add): void {
    this.#detect(decoded(bytes), bytes, '', add);
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
  inFrame(frame: Decoded, bytes: Uint8Array, add: Add): void {
    const { text } = frame;
    const hits: Redaction[] = [];
    this.#detect(frame, bytes, '', (start, end, rule, keep) => hits.push({ start, end, rule, keep }));
    // of several rules, each in order of starts
    hits.sort((a, b) => a.start - b.start);
    const within = (start: number, end: number, { rule, keep }: Redaction): void => {
      if (end > start) add(start, end, rule, keep);
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
