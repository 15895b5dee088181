/** Why stretches of a frame were never stored: a segment alone does not say, the entry does (`spec/entry.md`). */
import { judgeBytes } from '../limits.ts';
import type { BatchEntry, MessageEntry } from './entry.ts';

/** A capture rule keeps nothing of such a message's content. */
function isLeftOut(entry: MessageEntry | BatchEntry): boolean {
  const isReply = entry.kind === 'message' && (entry.type === 'result' || entry.type === 'error');
  return entry.capture === 'metadata' || entry.capture === 'none' || (entry.capture === 'request' && isReply);
}

/** Why stretches of an entry's frame were dropped; a segment alone does not say. Of a batch's frame, whose items may differ, `redacted` unless all agree. */
export function whyDropped(entry: MessageEntry | BatchEntry): 'redacted' | 'not captured' {
  const { redacted } = entry;
  if (isLeftOut(entry)) return 'not captured';
  // a frame that is longer is not looked through, and none of it is stored
  if (entry.sizeBytes > judgeBytes) return 'not captured';
  const rules = Object.keys(redacted ?? {});
  return entry.kind === 'batch' && rules.length > 0 && rules.every((rule) => rule === 'capture') ? 'not captured' : 'redacted';
}

/** How many dropped segments of a frame its entry explains: that capture rules left out its content, or so many stretches of it redaction. */
export function explainedBy(frame: MessageEntry | BatchEntry, segments: number): number {
  const { redacted = {} } = frame;
  // longer than is looked through, it is left out whole
  if (isLeftOut(frame) || (frame.sizeBytes > judgeBytes && segments === 1)) return segments;
  let stretches = 0;
  for (const times of Object.values(redacted)) stretches += times;
  return stretches;
}
