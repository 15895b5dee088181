/**
 * Answers in place of a recorder that cannot be reached. The only place where a tap reads a message; loaded only then.
 * Lenient on purpose: what it cannot read gets no answer, and is not delivered.
 */
import { notRecorded, refusalLine, replyWithheld } from './refusal.ts';

export interface Answers {
  toSender: Buffer;
  toReceiver: Buffer;
}

/** What to write for one whole frame (a line, with or without its line end) that is not delivered. */
export function answersFor(frame: Buffer, reason: string): Answers {
  const toSender: Buffer[] = [];
  const toReceiver: Buffer[] = [];
  for (const { message, idToken } of messagesOf(frame)) {
    if (idToken === undefined) continue;
    if (typeof message['method'] === 'string') toSender.push(refusalLine(idToken, notRecorded(reason)));
    else if ('result' in message || 'error' in message) toReceiver.push(refusalLine(idToken, replyWithheld(reason)));
  }
  return { toSender: Buffer.concat(toSender), toReceiver: Buffer.concat(toReceiver) };
}

interface Read {
  message: Record<string, unknown>;
  idToken?: string;
}

function messagesOf(frame: Buffer): Read[] {
  // the raw token of each `id`, by the object that holds it: a number beyond 2^53 must come back as it was
  const tokens = new Map<unknown, string>();
  try {
    const root: unknown = JSON.parse(frame.toString('utf8'), function (this: unknown, key: string, value: unknown, context?: { source?: string }) {
      if (key === 'id' && (typeof value === 'number' || typeof value === 'string')) tokens.set(this, context?.source ?? JSON.stringify(value));
      return value;
    } as (this: unknown, key: string, value: unknown) => unknown);
    return (Array.isArray(root) ? root : [root])
      .filter((item): item is Record<string, unknown> => typeof item === 'object' && item !== null && !Array.isArray(item))
      .map((message) => ({ message, ...(tokens.has(message) ? { idToken: tokens.get(message)! } : {}) }));
  } catch {
    return [];
  }
}
