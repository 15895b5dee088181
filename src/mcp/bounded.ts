/** How a text is cut to a bound of `spec/entry.md`. No Node: a verifier in a browser may need it. */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** `text`, or as much of it as leaves room for the mark `…` (3 bytes of UTF-8) within `maxBytes`. */
export function bounded(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) return text;
  // a character of UTF-16 has one byte at least, so what is behind the bound cannot count
  const bytes = encoder.encode(text.length > maxBytes ? text.slice(0, maxBytes + 1) : text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes - 3;
  // not within a character
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--;
  return `${decoder.decode(bytes.subarray(0, end))}…`;
}

/** The scheme of a URI with its colon, or nothing. */
export function schemeOf(uri: string): string {
  return /^[A-Za-z][A-Za-z0-9+.-]*:/.exec(uri)?.[0] ?? '';
}
