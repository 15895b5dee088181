/** The values in arguments and results, one after the other, and what stands in a text that would be known again. */
import { hash53 } from './hash.ts';

export interface Leaf {
  /** Its own name: of an array's items the array's. */
  name: string;
  value: string | number | boolean;
}

/** Values looked at in one document, and how deep. */
const leavesMost = 2_000;
const depthMost = 16;

/** All texts and numbers of a document, at most 2,000. */
export function leavesOf(document: unknown): Leaf[] {
  const found: Leaf[] = [];
  collect(document, '', 0, found);
  return found;
}

function collect(value: unknown, name: string, depth: number, found: Leaf[]): void {
  if (found.length >= leavesMost || depth > depthMost) return;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') found.push({ name, value });
  else if (Array.isArray(value)) for (const one of value) collect(one, name, depth + 1, found);
  else if (typeof value === 'object' && value !== null) for (const [key, one] of Object.entries(value)) collect(one, key, depth + 1, found);
}

/** So much of a text is searched for values. */
const textMost = 64 * 1024;
const distinctiveMost = 200;
const date = /^(?:19|20)\d\d(?:\D?\d\d){0,5}/;

/**
 * Hashes of what in a text would hardly stand elsewhere by chance: numbers of four digits and more that are no dates, mail addresses, long mixed signs. At most 200.
 * `128,000`, `128.000` and `128000` are one.
 */
export function distinctive(text: string): Set<number> {
  const found = new Set<number>();
  const plain = text.slice(0, textMost).replaceAll(/(?<=\d)[.,](?=\d{3}(?!\d))/g, '');
  for (const [token] of plain.matchAll(/[^\s"'`(){}[\]<>|;:,!?=&#/\\*]{4,200}/g)) {
    if (found.size >= distinctiveMost) break;
    if (!/[\d@]/.test(token)) continue;
    const bare = token.replace(/^[._+-]+|[._+-]+$/g, '');
    if (!date.test(bare) && isDistinctive(bare)) found.add(hash53(bare.toLowerCase()));
  }
  return found;
}

function isDistinctive(token: string): boolean {
  if (/^[^@]{1,64}@[^@]+\.\p{L}{2,}$/u.test(token)) return true;
  const digits = token.replaceAll(/\D/g, '').length;
  if (/^[\d.-]+$/.test(token)) return digits >= 4;
  return (digits >= 5 && digits * 2 >= token.length) || (token.length >= 16 && digits >= 2 && /\p{L}/u.test(token));
}

const address = /^(?:mailto:)?[^@\s]{1,64}@[^@\s]{1,190}\.\p{L}{2,24}$/iu;
const url = /^(?:https?|wss?|ftp|smtp):\/\/([^\s/?#]{1,255})/i;
const near = /^(?:[^@]*@)?(?:localhost|127\.\d+\.\d+\.\d+|\[::1\]|0\.0\.0\.0|[\w-]+\.(?:local|localhost|internal|test))(?::\d+)?$/i;

/** An address outside in a document: of a mailbox, or a URL of another machine; as it stands there. */
export function outsideAddress(leaves: readonly Leaf[]): string | undefined {
  for (const { value } of leaves) {
    if (typeof value !== 'string' || value.length > 2_048) continue;
    const text = value.trim();
    const host = url.exec(text)?.[1];
    if (host === undefined ? address.test(text) : !near.test(host)) return text;
  }
  return undefined;
}

const commandNames = /^(?:command|cmd|commands|script|code|shell|bash|line|input|args|argv)$/i;
const urlWithin = /\b(?:https?|wss?|ftp):\/\/([^\s/?#"'`<>|;]{1,255})[^\s"'`<>|;]{0,500}/gi;

/** An address outside in the midst of a command line: `curl -d … https://…`. */
export function commandAddress(leaves: readonly Leaf[]): string | undefined {
  for (const { name, value } of leaves) {
    if (typeof value !== 'string' || !commandNames.test(name)) continue;
    for (const [address, host] of value.slice(0, textMost).matchAll(urlWithin)) if (!near.test(host!)) return address;
  }
  return undefined;
}
