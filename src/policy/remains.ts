/** What is left of a recorded message: its bytes as far as they are there, and what its entry tells of it. */
import { messageTypeOf, type BatchEntry, type MessageEntry } from '../entry/entry.ts';
import type { Anomaly, Message, Target } from '../mcp/message.ts';

/** Why content is not there. */
export type Missing = 'redacted' | 'not captured' | 'erased' | 'too long' | 'unreadable';

/** What is left of a frame. */
export interface Remains {
  /** As long as the frame, `filled` where something is missing; absent when nothing is there. */
  bytes?: Uint8Array;
  /** The ranges [start, end) that are filled, ascending. */
  missing: readonly (readonly [number, number])[];
  /** Absent when nothing is missing. */
  why?: Missing;
}

/** Of the message alone: neither how its line ended, nor what its place among the others is. */
export function anomaliesOf(entry: MessageEntry | BatchEntry): Anomaly[] {
  return (entry.anomalies ?? []).filter(
    (anomaly) => anomaly !== 'unterminated' && anomaly !== 'header-mismatch' && anomaly !== 'reply-to-nothing' && anomaly !== 'id-reused',
  );
}

/** What is left of an item of a batch. */
export function part({ bytes, missing, why }: Remains, { range, capture }: MessageEntry): Remains {
  const [start, end] = range ?? [0, 0];
  const reason = why === 'redacted' && capture !== undefined && capture !== 'full' ? 'not captured' : (why ?? 'unreadable');
  if (bytes === undefined) return { missing: [], why: reason };
  const own = missing
    .filter((one) => one[0] < end && one[1] > start)
    .map((one): [number, number] => [Math.max(one[0], start) - start, Math.min(one[1], end) - start]);
  if (own.some(([from, to]) => from === 0 && to === end - start)) return { missing: [], why: reason };
  return { bytes: bytes.subarray(start, end), missing: own, ...(own.length === 0 ? {} : { why: why ?? 'unreadable' }) };
}

/** A message as far as its entry tells of it. */
export function messageOf(entry: MessageEntry, attributes: Readonly<Record<string, unknown>>): Message {
  const whole = (name: 'method' | 'target'): string | undefined => {
    const attribute = attributes[name];
    return typeof attribute === 'string' ? attribute : entry[name];
  };
  const isReply = entry.type === 'result' || entry.type === 'error';
  const method = isReply ? undefined : whole('method');
  const target = isReply ? undefined : targetOf(method, whole('target'));
  return {
    type: messageTypeOf(entry),
    anomalies: anomaliesOf(entry),
    ...(entry.id === undefined || entry.id === 'null' ? {} : { idKey: entry.id }),
    ...(method === undefined ? {} : { method }),
    ...(target === undefined ? {} : { target }),
    ...(entry.outcome === undefined ? {} : { outcome: entry.outcome }),
    ...(entry.era === undefined ? {} : { era: entry.era }),
  };
}

/** What a target is follows from the method. */
export function targetOf(method: string | undefined, value: string | undefined): Target | undefined {
  if (value === undefined) return undefined;
  return { kind: method === 'tools/call' ? 'tool' : method === 'prompts/get' ? 'prompt' : 'resource', value };
}

/** Names that rules are about are missing: they were redacted, or cut, and nothing else says them. */
export function namesHidden(entry: MessageEntry, isRead: boolean): boolean {
  const { method, target, truncated } = entry;
  if (method?.includes('[redacted') === true || target?.includes('[redacted') === true) return true;
  return !isRead && (truncated?.includes('method') === true || truncated?.includes('target') === true);
}
