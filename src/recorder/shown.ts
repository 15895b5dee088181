/** A message as it is stored, for whoever decides on it: what redaction left out stands there as `[redacted]`, so that what is shown is what is kept. */
import type { ContentItem } from '../ledger/segment.ts';
import { approvalShownBytes } from '../limits.ts';

const gap = Buffer.from('[redacted]');
const quotedGap = Buffer.from('"[redacted]"');

/** At most `limits.approvalShownBytes`, in a buffer of its own: those of the frame would keep the chunk that it came in. Of content that is not stored there is nothing to show. */
export function shownOf(items: readonly ContentItem[]): { shown: Buffer; isCut: boolean } {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  let inString = false;
  let isEscaped = false;
  for (const item of items) {
    const isKept = item.state === 'kept';
    const piece = isKept ? Buffer.from(item.bytes.buffer, item.bytes.byteOffset, item.bytes.length) : inString ? gap : quotedGap;
    pieces.push(piece);
    sizeBytes += piece.length;
    if (sizeBytes > approvalShownBytes) break;
    for (const byte of isKept ? piece : []) {
      if (isEscaped) isEscaped = false;
      else if (byte === 0x22) inString = !inString;
      else if (byte === 0x5c && inString) isEscaped = true;
    }
  }
  if (items.every(({ state }) => state !== 'kept')) return { shown: Buffer.alloc(0), isCut: false };
  const shown = Buffer.allocUnsafeSlow(Math.min(sizeBytes, approvalShownBytes));
  let at = 0;
  for (const piece of pieces) at += piece.copy(shown, at);
  return { shown, isCut: sizeBytes > approvalShownBytes };
}
