/** The one place where untrusted text becomes harmless to a terminal. No I/O: the tap has it too. */

/**
 * What must not reach a terminal as it is: C0 and C1 controls with DEL, format characters (bidirectional controls, zero-width ones, the byte order
 * mark, soft hyphen, tags), line and paragraph separators, lone surrogates, private use, and marks that pile up on one letter.
 */
export const harmful = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\u115f\u1160\u3164\uffa0]|\u034f|[\u180b-\u180f]|[\ufe00-\ufe0e]|(?<=\p{M}{4})\p{M}/gu;

/** Most text is printable ASCII, and found to be so much sooner than it is searched for all of the above. */
export const beyondAscii = /[^\x20-\x7e]/;

/** Untrusted text for one line of a terminal: everything invisible or active shows as `\n`, `\x1b` or `\u{202e}`, a backslash stays itself. */
export function visible(text: string): string {
  if (!beyondAscii.test(text)) return text;
  return text.replace(harmful, (character) => {
    if (character === '\n') return '\\n';
    if (character === '\r') return '\\r';
    if (character === '\t') return '\\t';
    const code = character.codePointAt(0)!;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}
