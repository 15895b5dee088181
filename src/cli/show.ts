/** `sworn show <index>`: everything that is recorded of one entry. */
import { SwornError } from '../errors.ts';
import { approvalOf, approvalText } from '../analysis/approvals.ts';
import type { ApprovalEntry, BatchEntry, MessageEntry } from '../entry/entry.ts';
import { batchItems, peekBytes } from '../limits.ts';
import { wholeNumber } from '../bytes/typed.ts';
import { lossyText } from '../bytes/bytes.ts';
import { isLegOf, type Leg } from '../readers/calls.ts';
import { readEntries, readEntryAt, type Located } from '../readers/entries.ts';
import { payloadOf } from '../readers/opened.ts';
import { oneLedgerPath } from './ledger-path.ts';
import { absent } from './pruned.ts';
import type { CommandHelp } from './help.ts';
import { cell, duration, paint, size, visible, visibleLines, widthOf, type Output } from './output.ts';
import { payloadFields, payloadText } from './payload.ts';
import { jsonRow } from './rows.ts';
import { controlText, effectText, notesOf, subjectOf } from './words.ts';

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
/** How far what was refused and our answer to it can be apart: those of all items of a batch stand behind its last item. */
const answerEntries = 2 * batchItems + 1;

export async function showCommand(options: ShowOptions, output: Output): Promise<number> {
  const ledger = oneLedgerPath(options.ledger, 'show');
  const index = wholeNumber(String(options.index));
  if (index === undefined) {
    throw new SwornError('usage', `${options.index === undefined ? 'no index is given' : `${options.index} is not an index`}: sworn show <index>`, {
      command: 'show',
    });
  }
  const located = await readEntryAt(ledger, index);
  if (located === undefined) throw await absent(ledger, index);
  const ahead = await lookAhead(ledger, located);
  if (options.json) {
    const fields: Record<string, unknown> = {};
    if (ahead.counterpart !== undefined) fields['counterpart'] = ahead.counterpart.index;
    if (ahead.answer !== undefined) fields['answer'] = ahead.answer.index;
    if (ahead.approval !== undefined) fields['approval'] = ahead.approval.index;
    if (ahead.inPlaceOf !== undefined) fields['inPlaceOf'] = ahead.inPlaceOf.index;
    if (ahead.delivered !== undefined) fields['deliveryConfirmed'] = ahead.delivered;
    if (located.content !== undefined && Object.keys(located.content.attributes).length > 0) fields['attributeValues'] = located.content.attributes;
    Object.assign(fields, options.payload ? payloadFields(await payloadOf(ledger, located, peekBytes)) : {});
    output.out(`${jsonRow(located, {}, fields)}\n`);
    return 0;
  }
  output.out(heading(output, located));
  output.out(fieldLines(output, located));
  output.out(linkLines(output, located, ahead));
  output.out(callLines(output, index, await legsOf(ledger, located, ahead)));
  const payload = await payloadOf(ledger, located, options.full ? peekBytes : shownBytes);
  if (located.entry.kind === 'message' || located.entry.kind === 'batch') output.out(payloadText(output, payload));
  if (located.entry.kind === 'policy') output.out(policyLines(output, located, options.full === true));
  if (ahead.answer !== undefined && (isBlocked(located.entry) || isRefused(ahead))) {
    const answer = (await readEntryAt(ledger, ahead.answer.index)) ?? ahead.answer;
    output.out(payloadText(output, await payloadOf(ledger, answer, shownBytes), `answered in its place (entry ${answer.index})`));
  }
  await output.drained?.();
  return 0;
}

interface Ahead {
  /** The reply of a request, or the request of a reply or cancellation. */
  counterpart?: Located;
  /** What we said in place of a message that was refused: of this one, or of the reply to it. */
  answer?: Located;
  /** Of a request that a person was asked about: what became of that, and where. */
  approval?: { index: number; entry: ApprovalEntry };
  /** Of what we said ourselves: the message that was refused. */
  inPlaceOf?: Located;
  /** Whether a later entry confirms the delivery; `undefined` where the question has no meaning. */
  delivered?: boolean;
  /** The search ended at its bound. */
  isPartial?: boolean;
}

function isBlocked(entry: Located['entry']): boolean {
  return (entry.kind === 'message' || entry.kind === 'batch') && entry.verdict === 'block';
}

/** A person was asked, and it was not approved. */
function isRefused({ approval }: Ahead): boolean {
  return approval !== undefined && approval.entry.decision !== 'approved';
}

async function lookAhead(ledger: string, { index, entry }: Located): Promise<Ahead> {
  if (entry.kind !== 'message' && entry.kind !== 'batch') return {};
  const ahead: Ahead = {};
  const isRequest = entry.kind === 'message' && entry.type === 'request';
  if (!isRequest && entry.kind === 'message' && entry.exchange !== undefined) {
    const request = await readEntryAt(ledger, entry.exchange, false);
    if (request !== undefined) ahead.counterpart = request;
  }
  if (entry.origin === 'sworn') {
    for await (const earlier of readEntries(ledger, { from: Math.max(0, index - answerEntries), to: index }))
      if (entry.kind === 'message' && answers(entry, earlier)) ahead.inPlaceOf = earlier;
    return ahead;
  }
  if (isBlocked(entry)) {
    // delivery is no question
    for await (const later of readEntries(ledger, { from: index + 1, to: index + 1 + answerEntries })) {
      if (later.entry.kind !== 'message' || !answers(later.entry, { index, entry })) continue;
      ahead.answer = later;
      break;
    }
    return ahead;
  }
  ahead.delivered = false;
  // over HTTP a request with which its stream ended went nowhere
  let isUndelivered = entry.direction === 'c2s' && entry.http?.end !== undefined;
  const way = entry.direction === 'c2s' ? 0 : 1;
  for await (const later of readEntries(ledger, { from: index + 1, to: index + 1 + aheadEntries })) {
    if (later.index === index + aheadEntries) ahead.isPartial = true;
    const other = later.entry;
    if (other.kind === 'approval' && other.request === index && other.connection === entry.connection)
      ahead.approval = { index: later.index, entry: other };
    if (other.kind === 'unreadable' || !('connection' in other) || other.connection !== entry.connection) continue;
    if (isNamed(other, entry, 'undelivered')) isUndelivered = true;
    if (isNamed(other, entry, 'delivered')) isUndelivered = false;
    if (
      !isUndelivered &&
      (other.kind === 'message' || other.kind === 'batch' || other.kind === 'close') &&
      (other.delivered?.[way] ?? 0) >= entry.tapSeq
    )
      ahead.delivered = true;
    const isReply = other.kind === 'message' && other.exchange === index && (other.type === 'result' || other.type === 'error');
    if (isRequest && isReply) {
      if (other.origin === 'sworn') ahead.answer ??= later;
      else ahead.counterpart ??= later;
    }
    const isAnswered = ahead.answer !== undefined || (ahead.counterpart !== undefined && !isBlocked(ahead.counterpart.entry));
    if ((ahead.delivered && (!isRequest || isAnswered)) || other.kind === 'close') break;
  }
  return ahead;
}

/** Over HTTP `delivered` runs over frames that did not arrive: another entry of their stream names them. */
function isNamed(other: Located['entry'], { stream, direction, tapSeq }: MessageEntry | BatchEntry, field: 'undelivered' | 'delivered'): boolean {
  if (other.kind !== 'message' || other.stream !== stream || other.direction !== direction) return false;
  const [first, last] = other.http?.[field] ?? [1, 0];
  return first <= tapSeq && tapSeq <= last;
}

/** Whether `answer` is what we said in place of a message that was refused. */
function answers(answer: MessageEntry, { index, entry }: Pick<Located, 'index' | 'entry'>): boolean {
  if (answer.origin !== 'sworn' || entry.kind !== 'message' || entry.connection !== answer.connection) return false;
  if (entry.verdict !== 'block' && entry.verdict !== 'ask') return false;
  const isReply = entry.type === 'result' || entry.type === 'error';
  const exchange = entry.type === 'request' ? index : isReply ? entry.exchange : undefined;
  return answer.exchange === exchange && answer.id === entry.id && answer.rule === entry.rule && (answer.direction === entry.direction) === isReply;
}

function heading(output: Output, { index, entry, content }: Located): string {
  if (entry.kind === 'unreadable')
    return `${paint(output, 'bold', `entry ${index}`)}  ${paint(output, 'red', `unreadable: ${visible(entry.problem)}`)}\n`;
  const time = `${entry.time.slice(0, 10)} ${entry.time.slice(11, -1)} UTC`;
  const text = entry.kind === 'message' ? messageText(output, entry) : controlText(output, entry, { content });
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
  const notes = notesOf(output, entry);
  if (notes !== '') parts.push(notes);
  return parts.join('  ');
}

/** A call that went on is told from its beginning, at most so many messages of it. */
const shownLegs = 100;

/** All that belongs to the same call, where that is more than a request and its reply. */
async function legsOf(ledger: string, { entry }: Located, { counterpart }: Ahead): Promise<Leg[]> {
  if (entry.kind !== 'message') return [];
  const near = [entry, ...(counterpart?.entry.kind === 'message' ? [counterpart.entry] : [])];
  if (!near.some(({ call, taskStatus, resultType }) => call !== undefined || taskStatus !== undefined || resultType === 'input_required')) return [];
  const first = entry.call ?? entry.exchange;
  const legs: Leg[] = [];
  if (first === undefined) return [];
  for await (const one of readEntries(ledger, { from: first, to: first + aheadEntries })) {
    if (isLegOf(first, one.index, one.entry)) legs.push({ index: one.index, entry: one.entry });
    if (legs.length >= shownLegs || (one.entry.kind === 'close' && one.entry.connection === entry.connection)) break;
  }
  return legs;
}

function callLines(output: Output, index: number, legs: readonly Leg[]): string {
  if (legs.length === 0) return '';
  const first = legs[0]!;
  const lines = legs.map((leg) => {
    const { entry } = leg;
    const isAgain = entry.type === 'request' && entry.call !== undefined && entry.method === first.entry.method;
    const said = [
      entry.outcome === undefined ? '' : entry.outcome === 'toolError' ? 'tool error' : entry.outcome,
      entry.resultType === undefined || entry.resultType === 'complete' ? '' : visible(entry.resultType),
      entry.taskStatus === undefined ? '' : `task ${visible(entry.taskStatus)}`,
      isAgain ? 'again, with answers' : '',
    ].filter((word) => word !== '');
    const seconds = `+${((Date.parse(entry.time) - Date.parse(first.entry.time)) / 1000).toFixed(3)}`;
    const mark = leg.index === index ? '▸' : ' ';
    return `  ${mark} ${cell(String(leg.index), 6, 'right')} ${paint(output, 'dim', cell(seconds, 9, 'right'))} ${entry.direction === 'c2s' ? '→' : '←'} ${visible(subjectOf(entry))}${said.length === 0 ? '' : `  ${said.join(', ')}`}\n`;
  });
  return `\n${paint(output, 'dim', `the call, from entry ${first.index}${legs.length >= shownLegs ? ', its beginning' : ''}`)}\n${lines.join('')}`;
}

/** Fields that the heading says already. */
const said = new Set(['v', 'kind', 'time', 'direction', 'type', 'anomalies']);

/** What a field means where its value alone does not say it. */
const meanings: Record<string, (value: unknown, entry: Located['entry']) => string> = {
  sizeBytes: (value) => size(Number(value)),
  durationUs: (value) => duration(Number(value)),
  shadow: () => 'it would have been blocked, had the rule been enforced',
  problem: (value) =>
    value === 'delivered-before' ? 'a rule came into force when it was with its receiver' : 'a condition of the rule could not be evaluated',
  capture: (value) =>
    value === 'full'
      ? 'the content is stored'
      : value === 'request'
        ? 'the content of requests is stored, that of replies is not'
        : 'the content is not stored',
  redacted: () => 'stretches that were never stored, by what found them',
  uncaptured: (value) => {
    const [c2s, s2c] = value as [number, number];
    return `left out by capture: none so far, ${c2s} from client to server, ${s2c} from server to client`;
  },
  origin: (value) => (value === 'sworn' ? 'written by the recorder; no tap sent it' : ''),
  policyDigest: () => 'of the policy file in force, SHA-256',
  retryAfterMs: (value) => `it may be tried again after ${duration(Number(value) * 1000)}`,
  waitedMs: (value) => `it waited ${duration(Number(value) * 1000)}`,
  selfApproved: () => 'whoever decided has the account of the tap: it may be the agent itself',
  selfAdministered: () => 'by the account that the recorder and its agents run under',
};

function fieldLines(output: Output, { leaf, entry, content }: Located): string {
  const lines: [string, string][] = [];
  if (entry.kind === 'unreadable') return `${visible(lossyText(leaf))}\n`;
  for (const [name, value] of Object.entries(entry)) {
    if (said.has(name)) continue;
    const meaning = meanings[name]?.(value, entry) ?? '';
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    lines.push([name, meaning === '' ? text : `${text} (${meaning})`]);
  }
  for (const [name, value] of Object.entries(content?.attributes ?? {})) {
    if (entry.kind === 'policy' && inLines.has(name) && typeof value === 'string') continue;
    lines.push([`† ${name}`, typeof value === 'string' ? value : JSON.stringify(value)]);
  }
  if (content !== undefined && content.erasedAttributes > 0) lines.push(['†', `${content.erasedAttributes} erased`]);
  const width = Math.max(0, ...lines.map(([name]) => widthOf(visible(name))));
  return lines.map(([name, value]) => `  ${paint(output, 'dim', cell(name, width))}  ${visible(value)}\n`).join('');
}

/** Attributes of a policy entry that have lines of their own. */
const inLines = new Set(['diff', 'text']);

function policyLines(output: Output, { content }: Located, isFull: boolean): string {
  let shown = '';
  for (const [name, title] of [
    ['diff', 'what changed'],
    ['text', 'the file'],
  ] as const) {
    const value = content?.attributes[name];
    if (typeof value !== 'string' || value === '') continue;
    const isCut = !isFull && value.length > shownBytes;
    const lines = visibleLines(isCut ? value.slice(0, shownBytes) : value)
      .split('\n')
      .map((line) => (name === 'diff' && /^[-+]/.test(line) ? paint(output, line.startsWith('-') ? 'red' : 'green', line) : line));
    if (lines.at(-1) === '') lines.pop();
    shown += `\n${paint(output, 'dim', isCut ? `${title}, its beginning` : title)}\n${lines.join('\n')}\n`;
  }
  return shown;
}

function linkLines(output: Output, { entry }: Located, ahead: Ahead): string {
  if (entry.kind === 'approval') return `\n  about: entry ${entry.request}\n`;
  if (entry.kind !== 'message' && entry.kind !== 'batch') return '';
  const { counterpart, answer, inPlaceOf, delivered } = ahead;
  const lines: string[] = [];
  if (entry.verdict === 'ask') {
    const { approval } = ahead;
    if (approval !== undefined) lines.push(`${approvalText(approvalOf(approval.index, approval.entry))}: entry ${approval.index}`);
    else lines.push(paint(output, 'yellow', 'waits for a person: sworn approvals'));
    if (isRefused(ahead) && answer === undefined) {
      lines.push(paint(output, 'red', 'not delivered'));
      return `\n${lines.map((line) => `  ${line}\n`).join('')}`;
    }
  }
  if (counterpart !== undefined && counterpart.entry.kind === 'message') lines.push(counterpartLine(counterpart.index, counterpart.entry));
  else if (entry.kind === 'message' && entry.type === 'request' && answer === undefined && !isBlocked(entry))
    lines.push(paint(output, 'yellow', unansweredLine(entry, ahead)));
  if (answer !== undefined && answer.entry.kind === 'message')
    lines.push(`answered in its place by sworn: entry ${answer.index}, error ${answer.entry.code ?? ''}`.trimEnd());
  else if (entry.verdict === 'block') lines.push(unansweredRefusal(entry));
  if (inPlaceOf !== undefined && inPlaceOf.entry.kind === 'message' && inPlaceOf.index !== counterpart?.index)
    lines.push(`in place of: entry ${inPlaceOf.index} ${visible(subjectOf(inPlaceOf.entry))}, which was refused`);
  if (isBlocked(entry) || isRefused(ahead)) lines.push(paint(output, 'red', 'not delivered'));
  else if (delivered !== undefined) lines.push(delivered ? 'delivered' : paint(output, 'yellow', 'delivery unconfirmed'));
  return lines.length === 0 ? '' : `\n${lines.map((line) => `  ${line}\n`).join('')}`;
}

function counterpartLine(index: number, other: MessageEntry): string {
  const refused = other.verdict === 'block' ? ', which was refused' : '';
  if (other.type === 'request') return `request: entry ${index} ${visible(subjectOf(other))}${refused}`;
  const after = other.durationUs === undefined ? '' : ` after ${duration(other.durationUs)}`;
  const how = other.outcome === undefined ? '' : `, ${other.outcome === 'toolError' ? 'tool error' : other.outcome}`;
  return `reply: entry ${index}${how}${after}${refused}`;
}

function unansweredLine(entry: MessageEntry, { isPartial }: Ahead): string {
  if (isPartial) return `no reply in the next ${aheadEntries} entries`;
  return entry.uncaptured === undefined ? 'no reply recorded' : 'no reply recorded (messages of this connection were left out by capture: none)';
}

function unansweredRefusal(entry: MessageEntry | BatchEntry): string {
  if (entry.kind === 'batch') return 'refused as a whole; what was answered stands behind its items';
  return entry.type === 'notification' ? 'nothing was answered: a notification has no answer' : 'no answer is recorded';
}
