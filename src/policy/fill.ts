/** A frame whose left-out stretches are filled so that it can still be read: within a string with `x`, elsewhere with a number. */

export type Piece = { bytes: Uint8Array } | { missingBytes: number };

/** As long as the frame was. What the filling says is no part of what was recorded. */
export function filled(pieces: readonly Piece[]): Uint8Array {
  let sizeBytes = 0;
  for (const piece of pieces) sizeBytes += 'bytes' in piece ? piece.bytes.length : piece.missingBytes;
  const out = new Uint8Array(sizeBytes);
  let at = 0;
  let inString = false;
  let escaped = false;
  for (const piece of pieces) {
    if ('bytes' in piece) {
      out.set(piece.bytes, at);
      for (const byte of piece.bytes) {
        if (escaped) escaped = false;
        else if (byte === 0x22) inString = !inString;
        else if (byte === 0x5c && inString) escaped = true;
      }
      at += piece.bytes.length;
      continue;
    }
    // a range never begins within an escape, and is whole tokens or within one string
    out.fill(inString ? 0x78 : 0x20, at, at + piece.missingBytes);
    if (!inString && piece.missingBytes > 0) out[at] = 0x30;
    at += piece.missingBytes;
  }
  return out;
}
