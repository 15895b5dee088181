/** One entry of a report, opened: as `EntryDetail` has it. */
import { base64, hex, lossyText, utf8Text } from '../src/bytes/bytes.ts';
import type { EntryDetail, Stretch } from '../src/analysis/views.ts';
import type { Frame } from '../src/entry/frame.ts';
import type { ReportEntry } from '../src/verify/report-entry.ts';

/** Of a frame no more is handed to the page; what is shown of it is less. */
const frameBytes = 4 * 1024 * 1024;
const binaryBytes = 64 * 1024;

export function detailOf(ledger: string, seen: ReportEntry): EntryDetail {
  const { index, leaf, leafHash, attributes, entry, frame, isVerified } = seen;
  const detail: EntryDetail = { ledger, index, leaf: lossyText(leaf), leafHash: hex(leafHash), attributes, isVerified };
  if (frame === undefined || (entry.kind !== 'message' && entry.kind !== 'batch')) return detail;
  const stretches = stretchesOf(frame, Object.keys(entry.redacted ?? {}));
  if (stretches === undefined) detail.binary = base64(frame.bytes.subarray(0, binaryBytes));
  else detail.frame = stretches;
  return detail;
}

/** `undefined`: it is no text. A gap may tear a character apart; that alone does not make it something else. */
function stretchesOf({ bytes, gaps }: Frame, rules: readonly string[]): Stretch[] | undefined {
  if (gaps.length === 0 && bytes.length <= frameBytes && utf8Text(bytes) === undefined) return undefined;
  const stretches: Stretch[] = [];
  let from = 0;
  const text = (to: number): void => {
    const end = Math.min(to, frameBytes);
    if (end > from) stretches.push({ text: lossyText(bytes.subarray(from, end)) });
    from = Math.max(from, to);
  };
  for (const { at, reason, sizeBytes } of gaps) {
    text(at);
    // entries count redactions by rule: only where there is one rule is it known which it was
    stretches.push({ missing: reason, sizeBytes, ...(reason === 'redacted' && rules.length === 1 ? { rule: rules[0]! } : {}) });
  }
  text(bytes.length);
  if (bytes.length > frameBytes) stretches.push({ missing: 'withheld', sizeBytes: bytes.length - frameBytes });
  return stretches;
}
