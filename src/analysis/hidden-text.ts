/**
 * Text that speaks to a model rather than to a person: orders to ignore or to hide, tags that pretend to be the system's, characters that nobody sees, and text in
 * base64. A sign, not a proof: it errs on the side of saying nothing. Every pattern takes time that grows with the text and no faster.
 */
import { folded } from './folded.ts';
import { fromBase64, utf8Text } from '../bytes/bytes.ts';

const orders: readonly RegExp[] = [
  /\b(?:ignore|disregard|forget|override|bypass)\s{1,4}(?:all\s{1,4}|any\s{1,4})?(?:of\s{1,4})?(?:the\s{1,4}|your\s{1,4}|my\s{1,4})?(?:previous|prior|above|earlier|preceding|former|system|existing|original)\s{1,4}(?:system\s{1,4})?(?:instruction|prompt|rule|message|guideline|direction|command|order)s?\b/giu,
  /\b(?:do not|don['’]t|never|without|must not|avoid)\s{1,4}(?:ever\s{1,4}|even\s{1,4})?(?:tell|telling|mention|mentioning|inform|informing|reveal|revealing|disclose|disclosing|say|saying)\s{1,4}(?:\S{1,20}\s{1,4}){0,5}?(?:the\s{1,4}|your\s{1,4})?(?:user|human|operator)s?\b/giu,
  /\bkeep\s{1,4}(?:this|it|that)\s{1,4}(?:a\s{1,4})?(?:secret|hidden)\b/giu,
  /<\/?\s{0,4}(?:important|system|secret|hidden|critical|instructions?|admin|override|assistant)(?:\s[^<>]{0,40})?>/giu,
  /\[\/?(?:INST|SYSTEM)\]|<\|(?:im_start|im_end|system|endoftext)\|>/gu,
  /\b(?:you are|act as) now\b|\bfrom now on,? you\b|\bnew (?:system )?instructions?\s{0,2}:/giu,
  /(?:~|\$HOME|\/root|\/home\/\w{1,32})\/\.(?:ssh|aws|cursor|gnupg)\/|\bid_(?:rsa|ed25519)\b|\/etc\/(?:passwd|shadow)\b/gu,
];

/** Behind so many blanks or lines nobody who scrolls sees what comes. */
const blanksMost = 200;
const linesMost = 30;
/** Markup's comments are not shown where markup is. */
const comment = /<!--[^>]{1,200}/gu;
/** Zero-width ones that no script needs, bidirectional embeddings and overrides, tags, and the escape. */
const invisible = /[\u200b\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u{e0000}-\u{e007f}\u001b]/gu;
/** The flags of England, Scotland and Wales are written with tags. */
const flag = /\u{1f3f4}[\u{e0020}-\u{e007e}]{1,8}\u{e007f}/gu;
const blob = /(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{40,4000}={0,2}(?![A-Za-z0-9+/=])/gu;

const foundMost = 10;
const foundChars = 100;

/** What of a text looks so, each as it stands there, at most ten of a hundred characters; invisible ones as `\u{200b}`. */
export function hiddenTextIn(text: string): string[] {
  const found = new Set<string>();
  const add = (one: string): void => {
    if (found.size < foundMost) found.add(one.length > foundChars ? `${one.slice(0, foundChars - 1)}…` : one);
  };
  const plain = folded(text);
  for (const pattern of orders) for (const [one] of plain.matchAll(pattern)) add(one.replace(/\s+/gu, ' '));
  for (const [one] of text.matchAll(comment)) add(one.replace(/\s+/gu, ' '));
  if (hasBlanks(text)) add('text behind many blanks');
  const odd = new Set(text.replace(flag, '').match(invisible) ?? []);
  // a byte order mark at the beginning is a bad habit, no trick
  if (text.startsWith('\ufeff') && text.lastIndexOf('\ufeff') === 0) odd.delete('\ufeff');
  for (const character of odd) add(`\\u{${character.codePointAt(0)!.toString(16)}}`);
  for (const [one] of text.matchAll(blob)) {
    const said = readBlob(one);
    if (said !== undefined) add(`base64: ${said}`);
  }
  return [...found];
}

function hasBlanks(text: string): boolean {
  for (const [run] of text.trimEnd().matchAll(/\s+/gu)) {
    if (run.length >= blanksMost || (run.length >= linesMost && run.split('\n').length > linesMost)) return true;
  }
  return false;
}

/** Words in base64; keys, digests and pictures are none. */
function readBlob(text: string): string | undefined {
  const bytes = fromBase64(text);
  const said = bytes === undefined ? undefined : utf8Text(bytes);
  return said !== undefined && /^[\x20-\x7e\s]+$/u.test(said) && /[a-z]{2,} [a-z]{2,} [a-z]{2,}/iu.test(said) ? said : undefined;
}

const depthMost = 32;

/** The texts of a tool's definition that a model reads: its name and title, and every description. */
export function* textsOf(value: unknown, depth = 0): Generator<string> {
  if (typeof value === 'string') yield value;
  if (typeof value !== 'object' || value === null || depth > depthMost) return;
  for (const inner of Object.values(value)) yield* textsOf(inner, depth + 1);
}
