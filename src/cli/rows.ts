/** Entries as people read them: one aligned line each. */
import type { Custody, Entry, MessageEntry } from '../entry/entry.ts';
import { readEntries, readEntriesBackwards, type Located } from '../readers/entries.ts';
import type { Payload } from '../readers/payload.ts';
import { base64, lossyText, utf8Text } from '../bytes/bytes.ts';
import { cell, count, cut, duration, paint, safeJson, size, visible, type Output } from './output.ts';

/** What each custody means, and the one step that improves it. */
export const custodyTexts: Record<Custody, { says: string; improve?: string }> = {
  'same-user': {
    says: 'the recorder runs as the agent’s own user, so an agent with a shell could rewrite what no witness and no kept checkpoint covers',
    improve: 'better: sudo -u <another account> sworn recorder start --foreground --ledger <dir> --socket <path> --group <group>',
  },
  'separate-user': { says: 'the recorder runs under an account of its own: the agent’s user can neither read nor alter the record' },
  remote: { says: 'the recorder runs on another host: nobody here can alter the record' },
  'in-process': {
    says: 'the recorder runs inside the recorded program, which could write anything',
    improve: 'better: sworn run -- <server command>',
  },
};

/** From the weakest to the strongest. */
const custodies: readonly Custody[] = ['in-process', 'same-user', 'separate-user', 'remote'];
/** How many entries at the ledger's beginning and end are looked at for the headline. */
const headlineEntries = 256;

/** The weakest custody that the first and the newest entries of a ledger name. */
export async function custodyOf(ledger: string): Promise<Custody | undefined> {
  let weakest: Custody | undefined;
  const look = ({ entry }: Located): void => {
    if (entry.kind === 'open') weakest = weaker(weakest, entry.custody);
  };
  for await (const located of readEntries(ledger, { to: headlineEntries })) look(located);
  let looked = 0;
  for await (const located of readEntriesBackwards(ledger)) {
    look(located);
    if (++looked >= headlineEntries || located.index < headlineEntries) break;
  }
  return weakest;
}

export function weaker(a: Custody | undefined, b: Custody): Custody {
  return a === undefined || custodies.indexOf(b) < custodies.indexOf(a) ? b : a;
}

/** The headline of a ledger: where it is and who could rewrite it. */
export async function headline(ledger: string, output: Output): Promise<string> {
  const custody = await custodyOf(ledger);
  const lines = [
    `${paint(output, 'bold', visible(ledger))}${custody === undefined ? '' : ` · custody ${paint(output, custodyStyle(custody), custody)}`}`,
  ];
  if (custody !== undefined) {
    const { says, improve } = custodyTexts[custody];
    lines.push(paint(output, 'dim', `  ${says}`));
    if (improve !== undefined) lines.push(paint(output, 'dim', `  ${improve}`));
  }
  return `${lines.join('\n')}\n`;
}

export function custodyStyle(custody: Custody): 'yellow' | 'green' {
  return custody === 'same-user' || custody === 'in-process' ? 'yellow' : 'green';
}

/** An entry as one line of JSON: the stored leaf with `index`, and what a command adds. */
export function jsonRow(located: Located, before: Record<string, unknown> = {}, after: Record<string, unknown> = {}): string {
  const head = JSON.stringify({ ...before, index: located.index });
  const tail = Object.keys(after).length === 0 ? '}' : `,${JSON.stringify(after).slice(1)}`;
  if (located.entry.kind === 'unreadable') return safeJson(`${head.slice(0, -1)},${JSON.stringify({ ...located.entry, ...after }).slice(1)}`);
  const leaf = lossyText(located.leaf);
  return safeJson(`${head.slice(0, -1)},${leaf.slice(1, -1)}${tail}`);
}

/** A payload under the names that `--json --payload` promises. What is missing or cut off is counted, in bytes. */
export function payloadFields(payload: Payload | undefined): Record<string, unknown> {
  if (payload === undefined) return {};
  const { bytes, erasedBytes, lostBytes, cutBytes } = payload;
  const text = utf8Text(cutBytes > 0 ? wholeCharacters(bytes) : bytes);
  const fields: Record<string, unknown> = text === undefined ? { payloadBase64: base64(bytes) } : { payload: text };
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

const anomalyTexts: Record<string, string> = {
  'not-json': 'not JSON',
  'not-jsonrpc': 'not JSON-RPC',
  'invalid-utf8': 'invalid UTF-8',
  'duplicate-key': 'duplicate key',
  'case-variant-key': 'key in another case',
  'too-deep': 'nested too deep',
  'id-reused': 'id in use twice',
  'id-not-scalar': 'id is no string or number',
  'reply-to-nothing': 'reply to nothing',
  unterminated: 'no line end',
  'nul-byte': 'NUL byte',
  'too-many-items': 'too many items',
};

interface Layout {
  time: number;
  sinceOpen: number;
  server: number;
  subject: number;
  what: number;
}

function layoutFor(columns: number): Layout {
  // index, arrow, duration and size, with the spaces between them and the columns that are always there
  const rest = columns - (6 + 1 + 8 + 8) - 6;
  if (columns >= 120) return { time: 12, sinceOpen: 9, server: 10, subject: Math.min(52, rest - 12 - 10 - 11 - 18), what: 18 };
  if (columns >= 96) return { time: 12, sinceOpen: 0, server: 10, subject: rest - 12 - 11 - 16, what: 16 };
  return { time: 8, sinceOpen: 0, server: 0, subject: Math.max(16, rest - 8 - 16), what: 16 };
}

/** Turns entries into lines, and remembers what later lines refer to. */
export class Rows {
  readonly #output: Output;
  readonly #layout: Layout;
  readonly #withLedger: boolean;
  /** Connections by id: when they began, and their server. */
  readonly #connections = new Map<string, { openedMs: number; server: string }>();
  #day = '';

  constructor(output: Output, withLedger = false) {
    this.#output = output;
    this.#layout = layoutFor(output.columns);
    this.#withLedger = withLedger;
  }

  /** Remembers when connections began, of entries that are not shown too. */
  note({ entry }: Located): void {
    if (entry.kind !== 'open') return;
    if (this.#connections.size > 10_000) this.#connections.clear();
    this.#connections.set(entry.connection, { openedMs: Date.parse(entry.time), server: entry.server });
  }

  /** Lines for one entry, with a line for each new day. */
  of(located: Located, ledger: string): string {
    this.note(located);
    const { entry } = located;
    const output = this.#output;
    let lines = '';
    if (entry.kind !== 'unreadable') {
      const day = entry.time.slice(0, 10);
      if (day !== this.#day) {
        this.#day = day;
        lines = `${paint(output, 'dim', `${day} (UTC)`)}\n`;
      }
    }
    const suffix = this.#withLedger ? `  ${paint(output, 'dim', visible(ledger))}` : '';
    return `${lines}${this.#row(located)}${suffix}\n`;
  }

  #row({ index, entry }: Located): string {
    const output = this.#output;
    if (entry.kind === 'unreadable')
      return `${cell(String(index), 6, 'right')} ${paint(output, 'red', `unreadable entry: ${visible(entry.problem)}`)}`;
    const { time, sinceOpen, server, subject, what } = this.#layout;
    const connection = 'connection' in entry && entry.connection !== undefined ? this.#connections.get(entry.connection) : undefined;
    const start = [cell(String(index), 6, 'right'), paint(output, 'dim', entry.time.slice(11, 11 + time))];
    if (sinceOpen > 0) {
      const seconds = connection === undefined ? '' : `+${((Date.parse(entry.time) - connection.openedMs) / 1000).toFixed(3)}`;
      start.push(paint(output, 'dim', cell(seconds, sinceOpen, 'right')));
    }
    if (server > 0) start.push(paint(output, 'dim', cell('server' in entry ? entry.server : (connection?.server ?? ''), server)));
    if (entry.kind !== 'message') return `${start.join(' ')} ${this.#control(entry, connection?.server)}`.trimEnd();

    const arrow = entry.direction === 'c2s' ? '→' : '←';
    const isQuiet = entry.type === 'notification';
    const cells = [
      paint(output, entry.type === 'request' ? 'bold' : 'dim', arrow),
      paint(output, isQuiet ? 'dim' : [], cell(subjectOf(entry), subject)),
      this.#what(entry, what),
      cell(entry.durationUs === undefined ? '' : duration(entry.durationUs), 8, 'right'),
      paint(output, 'dim', cell(size(entry.sizeBytes), 8, 'right')),
    ];
    const notes = notesOf(entry);
    const tail = notes === '' ? '' : `  ${paint(output, 'yellow', notes)}`;
    return `${start.join(' ')} ${cells.join(' ')}${tail}`.trimEnd();
  }

  #what(entry: MessageEntry, width: number): string {
    const output = this.#output;
    if (entry.outcome !== undefined) {
      const text =
        entry.outcome === 'toolError' ? 'tool error' : entry.outcome === 'error' && entry.code !== undefined ? `error ${entry.code}` : entry.outcome;
      const more = entry.resultType !== undefined && entry.resultType !== 'complete' ? ` (${entry.resultType})` : '';
      return paint(output, entry.outcome === 'ok' ? 'green' : 'red', cell(text + more, width));
    }
    if (entry.type === 'request' && entry.effect !== undefined) {
      const text = effectText(entry);
      const style = entry.destructive || entry.sensitive ? 'red' : entry.effect === 'write' ? 'yellow' : 'cyan';
      return paint(output, style, cell(text, width));
    }
    return cell(entry.type === 'opaque' ? 'opaque' : '', width);
  }

  #control(entry: Exclude<Entry, MessageEntry>, server: string | undefined): string {
    const output = this.#output;
    const text = controlText(entry, server);
    switch (entry.kind) {
      case 'gap':
        return paint(output, 'red', text);
      case 'recovery':
        return paint(output, 'yellow', text);
      case 'open':
        return text;
      default:
        return paint(output, 'dim', text);
    }
  }
}

/** `write! sensitive`: `!` marks a destructive tool. */
export function effectText(entry: Pick<MessageEntry, 'effect' | 'sensitive' | 'destructive'>): string {
  return `${entry.effect ?? ''}${entry.destructive ? '!' : ''}${entry.sensitive ? ' sensitive' : ''}`;
}

/** `tools/call read_file`. Untrusted: goes through `cell` or `visible`. */
export function subjectOf(entry: MessageEntry): string {
  if (entry.method === undefined) return entry.type === 'opaque' ? '(opaque)' : entry.type;
  return entry.target === undefined ? entry.method : `${entry.method} ${entry.target}`;
}

/** What is out of the ordinary about a message, in words. */
export function notesOf(entry: MessageEntry): string {
  const notes: string[] = [];
  if (entry.verdict !== 'pass') notes.push(`${entry.verdict}${entry.rule === undefined ? '' : ` by ${visible(entry.rule)}`}`);
  if (entry.origin === 'sworn') notes.push('written by sworn');
  for (const anomaly of entry.anomalies ?? []) notes.push(anomalyTexts[anomaly] ?? anomaly);
  if (entry.batch !== undefined) notes.push(`item ${entry.item} of batch ${entry.batch}`);
  return notes.join(', ');
}

/** An entry that is no message, in words. */
export function controlText(entry: Exclude<Entry, MessageEntry>, server?: string): string {
  const name = visible('server' in entry ? entry.server : (server ?? ''));
  switch (entry.kind) {
    case 'start':
      return `recorder ${visible(entry.recorder.version)} started, uid ${entry.recorder.uid}, pid ${entry.recorder.pid}`;
    case 'stop':
      return `recorder stopped (${entry.reason}${entry.by === undefined ? '' : ` by uid ${entry.by.uid}, pid ${entry.by.pid}`})`;
    case 'open': {
      const client = entry.client === undefined ? '' : ` for ${visible(entry.client)}`;
      return `● ${name} opened${client}, ${entry.mode}, custody ${entry.custody}, connection ${entry.connection.slice(0, 8)}`;
    }
    case 'principal': {
      const facts = [entry.uid === undefined ? '' : `uid ${entry.uid}`, entry.pid === undefined ? '' : `pid ${entry.pid}`].filter(
        (fact) => fact !== '',
      );
      return `client ${facts.join(', ')} (${entry.source})`;
    }
    case 'close': {
      const status = entry.signal === undefined ? (entry.exitCode === undefined ? '' : `, status ${entry.exitCode}`) : `, ${visible(entry.signal)}`;
      return `○ ${name === '' ? 'connection' : name} closed: ${entry.reason}${status}`;
    }
    case 'batch': {
      const notes = (entry.anomalies ?? []).map((anomaly) => anomalyTexts[anomaly] ?? anomaly);
      return `${entry.direction === 'c2s' ? '→' : '←'} batch of ${count(entry.items, 'message')}, ${[size(entry.sizeBytes), ...notes].join(', ')}`;
    }
    case 'gap':
      return `gap: ${count(entry.lost.c2s + entry.lost.s2c, 'frame')} not recorded (c2s ${entry.lost.c2s}, s2c ${entry.lost.s2c}): ${visible(entry.reason)}`;
    case 'recovery': {
      const more =
        entry.cutBytes !== undefined ? `, ${size(entry.cutBytes)} cut` : entry.backUs !== undefined ? `, ${duration(entry.backUs)} back` : '';
      return `recovery: ${entry.reason}${more}`;
    }
    default:
      return entry.kind;
  }
}

/** One line of a payload below its row. */
export function payloadLine(output: Output, payload: Payload | undefined): string {
  if (payload === undefined) return paint(output, 'dim', '         (no payload to read)\n');
  const missing = [
    payload.erasedBytes > 0 ? `${size(payload.erasedBytes)} erased` : '',
    payload.lostBytes > 0 ? `${size(payload.lostBytes)} missing` : '',
    payload.cutBytes > 0 ? `${size(payload.cutBytes)} more` : '',
  ].filter((text) => text !== '');
  const text = visible(lossyText(wholeCharacters(payload.bytes)));
  const shown = output.columns === Number.POSITIVE_INFINITY ? text : cut(text, Math.max(20, output.columns - 9));
  return paint(output, 'dim', `         ${shown}${missing.length > 0 ? ` (${missing.join(', ')})` : ''}\n`);
}
