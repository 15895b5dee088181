/** A text as a model reads it: without signs that nobody sees, and with plain letters for their wide, small and ornate forms. */
const invisible = /[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u{e0000}-\u{e007f}]/gu;
const beyondAscii = /[^\0-\x7f]/u;

/** Never longer than the text was: what compatibility makes longer is cut at its end. */
export function folded(text: string): string {
  return beyondAscii.test(text) ? text.replace(invisible, '').normalize('NFKC').slice(0, text.length) : text;
}
