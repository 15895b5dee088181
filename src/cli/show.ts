/** `sworn show <index>`: everything that is recorded of one entry. */
import { SwornError } from '../errors.ts';
import type { MessageEntry } from '../entry/entry.ts';
import { peekBytes } from '../limits.ts';
import { lossyText, utf8Text } from '../bytes/bytes.ts';
import { readEntries, readEntryAt, type Located } from '../readers/entries.ts';
import type { Payload } from '../readers/payload.ts';
import { payloadOf } from './filter.ts';
import { oneLedgerPath } from './ledger-path.ts';
import type { CommandHelp } from './help.ts';
import { cell, duration, paint, size, visible, visibleLines, widthOf, type Output } from './output.ts';
import { controlText, effectText, jsonRow, notesOf, payloadFields, subjectOf, wholeCharacters } from './rows.ts';

export interface ShowOptions {
  index?: string | number;
  ledger?: string | string[];
  full?: boolean;
  json?: boolean;
  payload?: boolean;
}

export const showHelp: CommandHelp = {
  options: [
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn)', repeat: true },
    { flags: '--full', description: 'show a long payload whole (up to 8 MiB)' },
    { flags: '--json', description: 'one JSON object' },
    { flags: '--payload', description: 'with --json: add the recorded content' },
  ],
  example: 'sworn show 12',
};

/** Shown of a payload without `--full`. */
const shownBytes = 16 * 1024;
/** How far ahead a reply and the word of its delivery are looked for. */
const aheadEntries = 100_000;

export async function showCommand(options: ShowOptions, output: Output): Promise<number> {
  const ledger = oneLedgerPath(options.ledger, 'show');
  const index = Number(options.index);
  if (options.index === undefined || options.index === '' || !Number.isSafeInteger(index) || index < 0) {
    throw new SwornError('usage', `${options.index === undefined ? 'no index is given' : `${options.index} is not an index`}: sworn show <index>`, {
      command: 'show',
    });
  }
  const located = await readEntryAt(ledger, index);
  if (located === undefined) throw new SwornError('not-found', `there is no entry ${index} in ${ledger}`);
  const ahead = await lookAhead(ledger, located);
  if (options.json) {
    const fields: Record<string, unknown> = {};
    if (ahead.counterpart !== undefined) fields['counterpart'] = ahead.counterpart.index;
    if (ahead.delivered !== undefined) fields['deliveryConfirmed'] = ahead.delivered;
    if (located.content !== undefined && Object.keys(located.content.attributes).length > 0) fields['attributeValues'] = located.content.attributes;
    Object.assign(fields, options.payload ? payloadFields(await payloadOf(ledger, located, peekBytes)) : {});
    output.out(`${jsonRow(located, {}, fields)}\n`);
    return 0;
  }
  output.out(heading(output, located));
  output.out(fieldLines(output, located));
  output.out(linkLines(output, located, ahead));
  const payload = await payloadOf(ledger, located, options.full ? peekBytes : shownBytes);
  if (located.entry.kind === 'message' || located.entry.kind === 'batch') output.out(payloadText(output, payload));
  await output.drained?.();
  return 0;
}

interface Ahead {
  /** The reply of a request, or the request of a reply or cancellation. */
  counterpart?: Located;
  /** Whether a later entry confirms the delivery; `undefined` where the question has no meaning. */
  delivered?: boolean;
  /** The search ended at its bound. */
  isPartial?: boolean;
}

async function lookAhead(ledger: string, { index, entry }: Located): Promise<Ahead> {
  if (entry.kind !== 'message' && entry.kind !== 'batch') return {};
  const ahead: Ahead = { delivered: false };
  const isRequest = entry.kind === 'message' && entry.type === 'request';
  if (!isRequest && entry.kind === 'message' && entry.exchange !== undefined) {
    const request = await readEntryAt(ledger, entry.exchange, false);
    if (request !== undefined) ahead.counterpart = request;
  }
  const way = entry.direction === 'c2s' ? 0 : 1;
  for await (const later of readEntries(ledger, { from: index + 1, to: index + 1 + aheadEntries })) {
    if (later.index === index + aheadEntries) ahead.isPartial = true;
    const other = later.entry;
    if (other.kind === 'unreadable' || !('connection' in other) || other.connection !== entry.connection) continue;
    if ((other.kind === 'message' || other.kind === 'batch' || other.kind === 'close') && (other.delivered?.[way] ?? 0) >= entry.tapSeq)
      ahead.delivered = true;
    const isReply = other.kind === 'message' && other.exchange === index && (other.type === 'result' || other.type === 'error');
    if (isRequest && isReply) ahead.counterpart = later;
    if ((ahead.delivered && (!isRequest || ahead.counterpart !== undefined)) || other.kind === 'close') break;
  }
  return ahead;
}

function heading(output: Output, { index, entry }: Located): string {
  if (entry.kind === 'unreadable')
    return `${paint(output, 'bold', `entry ${index}`)}  ${paint(output, 'red', `unreadable: ${visible(entry.problem)}`)}\n`;
  const time = `${entry.time.slice(0, 10)} ${entry.time.slice(11, -1)} UTC`;
  const text = entry.kind === 'message' ? messageText(output, entry) : controlText(entry);
  return `${paint(output, 'bold', `entry ${index}`)}  ${paint(output, 'dim', time)}\n${text}\n\n`;
}

function messageText(output: Output, entry: MessageEntry): string {
  const way = entry.direction === 'c2s' ? '→ client to server' : '← server to client';
  const parts = [`${way}, ${entry.type}`, paint(output, 'bold', visible(subjectOf(entry)))];
  if (entry.type === 'request' && entry.effect !== undefined) {
    parts.push(paint(output, entry.effect === 'read' ? 'cyan' : entry.destructive || entry.sensitive ? 'red' : 'yellow', effectText(entry)));
  }
  if (entry.outcome !== undefined)
    parts.push(paint(output, entry.outcome === 'ok' ? 'green' : 'red', entry.outcome === 'toolError' ? 'tool error' : entry.outcome));
  const notes = notesOf(entry);
  if (notes !== '') parts.push(paint(output, 'yellow', notes));
  return parts.join('  ');
}

/** Fields that the heading says already. */
const said = new Set(['v', 'kind', 'time', 'direction', 'type', 'anomalies']);

function fieldLines(output: Output, { leaf, entry, content }: Located): string {
  const lines: [string, string][] = [];
  if (entry.kind === 'unreadable') return `${visible(lossyText(leaf))}\n`;
  for (const [name, value] of Object.entries(entry)) {
    if (said.has(name)) continue;
    if (name === 'sizeBytes') lines.push([name, `${String(value)} (${size(Number(value))})`]);
    else if (name === 'durationUs') lines.push([name, `${String(value)} (${duration(Number(value))})`]);
    else lines.push([name, typeof value === 'string' ? value : JSON.stringify(value)]);
  }
  for (const [name, value] of Object.entries(content?.attributes ?? {}))
    lines.push([`† ${name}`, typeof value === 'string' ? value : JSON.stringify(value)]);
  if (content !== undefined && content.erasedAttributes > 0) lines.push(['†', `${content.erasedAttributes} erased`]);
  const width = Math.max(0, ...lines.map(([name]) => widthOf(visible(name))));
  return lines.map(([name, value]) => `  ${paint(output, 'dim', cell(name, width))}  ${visible(value)}\n`).join('');
}

function linkLines(output: Output, { entry }: Located, { counterpart, delivered, isPartial }: Ahead): string {
  if (entry.kind !== 'message' && entry.kind !== 'batch') return '';
  const lines: string[] = [];
  if (counterpart !== undefined && counterpart.entry.kind === 'message') {
    const other = counterpart.entry;
    const isReply = other.type !== 'request';
    const after = isReply && other.durationUs !== undefined ? ` after ${duration(other.durationUs)}` : '';
    const how = other.outcome === undefined ? '' : `, ${other.outcome === 'toolError' ? 'tool error' : other.outcome}`;
    lines.push(`${isReply ? 'reply' : 'request'}: entry ${counterpart.index}${isReply ? `${how}${after}` : ` ${visible(subjectOf(other))}`}`);
  } else if (entry.kind === 'message' && entry.type === 'request') {
    lines.push(paint(output, 'yellow', isPartial ? `no reply in the next ${aheadEntries} entries` : 'no reply recorded'));
  }
  if (delivered !== undefined) lines.push(delivered ? 'delivered' : paint(output, 'yellow', 'delivery unconfirmed'));
  return `\n${lines.map((line) => `  ${line}\n`).join('')}`;
}

function payloadText(output: Output, payload: Payload | undefined): string {
  const title = (text: string): string => `\n${paint(output, 'dim', text)}\n`;
  if (payload === undefined) return title('payload: cannot be read here');
  const { bytes, erasedBytes, lostBytes, cutBytes } = payload;
  const facts = [size(bytes.length + erasedBytes + lostBytes + cutBytes)];
  if (erasedBytes > 0) facts.push(`${size(erasedBytes)} erased`);
  if (lostBytes > 0) facts.push(`${size(lostBytes)} missing`);
  if (cutBytes > 0) facts.push(`the first ${size(bytes.length)} shown`);
  const whole = erasedBytes + lostBytes + cutBytes === 0;
  const text = utf8Text(whole ? bytes : wholeCharacters(bytes));
  if (text === undefined) facts.push('not UTF-8, shown with \ufffd');
  const shown = visibleLines(indented(text ?? lossyText(bytes)));
  return `${title(`payload, ${facts.join(', ')}`)}${shown}${shown.endsWith('\n') || shown === '' ? '' : '\n'}`;
}

/**
 * JSON text with line ends and indents between its tokens. The tokens stay as they came: duplicate keys, large numbers and escapes are what one wants to
 * see. Text that is no JSON, or only its beginning, comes out readable too.
 */
export function indented(text: string): string {
  if (!/^\s*[[{]/.test(text)) return text;
  const pieces: string[] = [];
  let depth = 0;
  const line = (): string => `\n${'  '.repeat(Math.min(depth, 40))}`;
  for (const token of text.matchAll(/"(?:[^"\\]|\\[^])*"?|[{}[\],:]|[^\s"{}[\],:]+/g)) {
    const [piece] = token;
    if (piece === '{' || piece === '[') {
      depth++;
      const isEmpty = /^\s*[}\]]/.test(text.slice(token.index + 1, token.index + 64));
      pieces.push(isEmpty ? piece : piece + line());
    } else if (piece === '}' || piece === ']') {
      depth = Math.max(0, depth - 1);
      const last = pieces.at(-1);
      pieces.push(last === '{' || last === '[' ? piece : line() + piece);
    } else if (piece === ',') pieces.push(`,${line()}`);
    else if (piece === ':') pieces.push(': ');
    else pieces.push(piece);
  }
  return pieces.join('');
}
