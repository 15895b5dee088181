/** Payloads as the reading commands show them, with what is missing marked where it is missing. */
import { base64, lossyText, utf8Text } from '../bytes/bytes.ts';
import { stretchesOf, type Payload } from '../readers/payload.ts';
import { indented } from './indent.ts';
import { cut, paint, size, visible, visibleLines, type Output } from './output.ts';

/** Stands around a mark and nowhere else in what is shown. */
const shade = '▒';
const shades = shade.repeat(3);

/** A payload under the names that `--json --payload` promises (`spec/entry.md`). What is missing or cut off is counted, in bytes. */
export function payloadFields(payload: Payload | undefined): Record<string, unknown> {
  if (payload === undefined) return {};
  const { bytes, gaps, redactedBytes, uncapturedBytes, erasedBytes, lostBytes, cutBytes } = payload;
  const text = utf8Text(cutBytes > 0 ? wholeCharacters(bytes) : bytes);
  const fields: Record<string, unknown> = text === undefined ? { payloadBase64: base64(bytes) } : { payload: text };
  const neverStored = gaps.filter(({ reason }) => reason === 'redacted' || reason === 'not captured');
  if (neverStored.length > 0) fields['redactions'] = neverStored.map(({ offset, sizeBytes }) => [offset, sizeBytes]);
  if (redactedBytes > 0) fields['payloadRedactedBytes'] = redactedBytes;
  if (uncapturedBytes > 0) fields['payloadUncapturedBytes'] = uncapturedBytes;
  if (erasedBytes > 0) fields['payloadErasedBytes'] = erasedBytes;
  if (lostBytes > 0) fields['payloadLostBytes'] = lostBytes;
  if (cutBytes > 0) fields['payloadCutBytes'] = cutBytes;
  return fields;
}

/** Without the beginning of a character whose end was cut off. */
export function wholeCharacters(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes.length - end < 3 && (bytes[end - 1]! & 0xc0) === 0x80) end--;
  return end > 0 && bytes[end - 1]! >= 0xc0 && utf8Text(bytes.subarray(end - 1)) === undefined ? bytes.subarray(0, end - 1) : bytes;
}

/** Without the end of a character whose beginning is missing. */
function fromCharacter(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < 3 && start < bytes.length && (bytes[start]! & 0xc0) === 0x80) start++;
  return bytes.subarray(start);
}

/** The text of a payload with a mark in each gap: `▒▒▒ redacted 7 B ▒▒▒`. A stranger's text cannot hold one: its own `▒` shows as `\u{2592}`. */
export function markedText(payload: Pick<Payload, 'bytes' | 'gaps' | 'cutBytes'>): { text: string; isUtf8: boolean } {
  let text = '';
  let isUtf8 = true;
  let behindGap = false;
  let before: Uint8Array | undefined;
  const flush = (isTorn: boolean): void => {
    if (before === undefined) return;
    // a gap may tear a character; that alone does not make the text another one than UTF-8
    const torn = isTorn ? wholeCharacters(before) : before;
    isUtf8 &&= utf8Text(behindGap ? fromCharacter(torn) : torn) !== undefined;
    text += lossyText(before).replaceAll(shade, '\\u{2592}');
    before = undefined;
  };
  for (const stretch of stretchesOf(payload)) {
    if (stretch instanceof Uint8Array) {
      before = stretch;
      continue;
    }
    flush(true);
    text += `${shades} ${stretch.reason} ${size(stretch.sizeBytes)} ${shades}`;
    behindGap = true;
  }
  if (before !== undefined && payload.cutBytes > 0) before = wholeCharacters(before);
  flush(false);
  return { text, isUtf8 };
}

/** What of a payload is not shown, in words: `7 B redacted`. */
export function missingOf(payload: Payload): string[] {
  const counts: [number, string][] = [
    [payload.redactedBytes, 'redacted'],
    [payload.uncapturedBytes, 'not captured'],
    [payload.erasedBytes, 'erased'],
    [payload.lostBytes, 'lost'],
  ];
  return counts.filter(([bytes]) => bytes > 0).map(([bytes, how]) => `${size(bytes)} ${how}`);
}

/** One line of a payload below its row. */
export function payloadLine(output: Output, payload: Payload | undefined): string {
  if (payload === undefined) return paint(output, 'dim', '         (no payload to read)\n');
  const isOneMark = payload.bytes.length === 0 && payload.gaps.length === 1;
  const missing = [...(isOneMark ? [] : missingOf(payload)), ...(payload.cutBytes > 0 ? [`${size(payload.cutBytes)} more`] : [])];
  const text = visible(markedText(payload).text);
  const shown = output.columns === Number.POSITIVE_INFINITY ? text : cut(text, Math.max(20, output.columns - 9));
  return paint(output, 'dim', `         ${shown}${missing.length > 0 ? ` (${missing.join(', ')})` : ''}\n`);
}

/** A payload as `show` has it, below its title. */
export function payloadText(output: Output, payload: Payload | undefined, name = 'payload'): string {
  const title = (text: string): string => `\n${paint(output, 'dim', text)}\n`;
  if (payload === undefined) return title(`${name}: cannot be read here`);
  const { bytes, redactedBytes, uncapturedBytes, erasedBytes, lostBytes, cutBytes } = payload;
  const facts = [size(bytes.length + redactedBytes + uncapturedBytes + erasedBytes + lostBytes + cutBytes), ...missingOf(payload)];
  if (cutBytes > 0) facts.push(`the first ${size(bytes.length)} shown`);
  const { text, isUtf8 } = markedText(payload);
  if (!isUtf8) facts.push('not UTF-8, shown with \ufffd');
  const shown = visibleLines(indented(text)).replace(/▒▒▒[^▒]*▒▒▒/g, (mark) => paint(output, 'yellow', mark));
  return `${title(`${name}, ${facts.join(', ')}`)}${shown}${shown.endsWith('\n') || shown === '' ? '' : '\n'}`;
}
