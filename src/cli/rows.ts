/** Entries as people read them: one aligned line each. */
import { custodyTexts } from '../entry/custody.ts';
import type { Custody, Entry, MessageEntry } from '../entry/entry.ts';
import { firstIndexOf, readEntries, readEntriesBackwards, type Located } from '../readers/entries.ts';
import { lossyText } from '../bytes/bytes.ts';
import { cell, duration, paint, safeJson, size, visible, type Output } from './output.ts';
import { controlText, effectText, notesOf, subjectOf, type Around } from './words.ts';

/** From the weakest to the strongest. */
const custodies: readonly Custody[] = ['in-process', 'same-user', 'separate-user', 'remote'];
/** How many entries at the ledger's beginning and end are looked at for the headline. */
const headlineEntries = 256;

/** The weakest custody that the first and the newest entries of a ledger name, and whether those are all of them: a large one is not read through for a headline. */
async function custodyOf(ledger: string): Promise<{ weakest: Custody | undefined; isWhole: boolean }> {
  let weakest: Custody | undefined;
  const look = ({ entry }: Located): void => {
    if (entry.kind === 'open') weakest = weaker(weakest, entry.custody);
  };
  const from = firstIndexOf(ledger);
  const to = from + headlineEntries;
  for await (const located of readEntries(ledger, { to })) look(located);
  let looked = 0;
  for await (const located of readEntriesBackwards(ledger)) {
    if (located.index < to) break;
    if (++looked > headlineEntries) return { weakest, isWhole: false };
    look(located);
  }
  return { weakest, isWhole: true };
}

export function weaker(a: Custody | undefined, b: Custody): Custody {
  return a === undefined || custodies.indexOf(b) < custodies.indexOf(a) ? b : a;
}

/** The headline of a ledger: where it is and who could rewrite it. */
export async function headline(ledger: string, output: Output): Promise<string> {
  const { weakest: custody, isWhole } = await custodyOf(ledger);
  const lines = [
    `${paint(output, 'bold', visible(ledger))}${custody === undefined ? '' : ` · custody ${paint(output, custodyStyle(custody), custody)}`}`,
  ];
  if (custody !== undefined) {
    const { says, improve } = custodyTexts[custody];
    lines.push(paint(output, 'dim', `  ${says}`));
    if (improve !== undefined) lines.push(paint(output, 'dim', `  ${improve}`));
  }
  // a weaker one may stand in the middle: whoever reads "separate-user" relies on it
  if (!isWhole && (custody === undefined || custodyStyle(custody) === 'green')) {
    const seen = `of its first and newest ${headlineEntries} entries`;
    lines.push(
      paint(
        output,
        'yellow',
        `  ${custody === undefined ? `custody: none ${seen} says` : `so say those ${seen} that do`}; sworn verify looks at all`,
      ),
    );
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

/** What later lines refer to. */
interface Seen {
  openIndex: number;
  openedMs: number;
  server: string;
  blocked: number;
  flagged: number;
}

/** Turns entries into lines, and remembers what later lines refer to. */
export class Rows {
  readonly #output: Output;
  readonly #layout: Layout;
  readonly #withLedger: boolean;
  /** Connections by id. */
  readonly #connections = new Map<string, Seen>();
  /** Of each ledger, the entries that came here one after the other, up to the last one. */
  readonly #runs = new Map<string, { from: number; last: number }>();
  #day = '';

  constructor(output: Output, withLedger = false) {
    this.#output = output;
    this.#layout = layoutFor(output.columns);
    this.#withLedger = withLedger;
  }

  /** Remembers what later lines refer to, of entries that are not shown too. */
  note({ index, entry }: Located, ledger: string): void {
    const run = this.#runs.get(ledger);
    if (run?.last === index) return;
    if (run === undefined || run.last + 1 !== index) this.#runs.set(ledger, { from: index, last: index });
    else run.last = index;
    if (entry.kind === 'open') {
      if (this.#connections.size > 10_000) this.#connections.clear();
      const openedMs = Date.parse(entry.time);
      this.#connections.set(entry.connection, { openIndex: index, openedMs, server: entry.server, blocked: 0, flagged: 0 });
    } else if (entry.kind === 'message' && entry.verdict !== 'pass') {
      const seen = this.#connections.get(entry.connection);
      if (seen === undefined) return;
      if (entry.verdict === 'block') seen.blocked++;
      else if (entry.verdict === 'flag') seen.flagged++;
    } else if (entry.kind === 'approval' && entry.decision !== 'approved' && entry.decision !== 'cancelled') {
      const seen = this.#connections.get(entry.connection);
      if (seen !== undefined) seen.blocked++;
    } else if (entry.kind === 'policy' && entry.act === 'limited') {
      const seen = this.#connections.get(entry.connection ?? '');
      if (seen !== undefined) seen.blocked += entry.count ?? 0;
    }
  }

  /** Lines for one entry, with a line for each new day. */
  of(located: Located, ledger: string): string {
    this.note(located, ledger);
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
    return `${lines}${this.#row(located, ledger)}${suffix}\n`;
  }

  #row({ index, entry, content }: Located, ledger: string): string {
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
    const ofServer = 'server' in entry && entry.kind !== 'policy' ? entry.server : (connection?.server ?? '');
    if (server > 0) start.push(paint(output, 'dim', cell(ofServer, server)));
    if (entry.kind !== 'message') {
      // counts of a connection that was not seen whole would be wrong
      const isWhole = connection !== undefined && connection.openIndex >= (this.#runs.get(ledger)?.from ?? Number.POSITIVE_INFINITY);
      const counts = isWhole ? { blocked: connection.blocked, flagged: connection.flagged } : {};
      return `${start.join(' ')} ${this.#control(entry, { server: connection?.server, ...counts, content })}`.trimEnd();
    }

    const arrow = entry.direction === 'c2s' ? '→' : '←';
    const isQuiet = entry.type === 'notification';
    const cells = [
      paint(output, entry.type === 'request' ? 'bold' : 'dim', arrow),
      paint(output, isQuiet ? 'dim' : [], cell(subjectOf(entry), subject)),
      this.#what(entry, what),
      cell(entry.durationUs === undefined ? '' : duration(entry.durationUs), 8, 'right'),
      paint(output, 'dim', cell(size(entry.sizeBytes), 8, 'right')),
    ];
    const notes = notesOf(output, entry);
    const tail = notes === '' ? '' : `  ${notes}`;
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

  #control(entry: Exclude<Entry, MessageEntry>, around: Around): string {
    const output = this.#output;
    const text = controlText(output, entry, around);
    switch (entry.kind) {
      case 'gap':
        return paint(output, 'red', text);
      case 'recovery':
        return paint(output, 'yellow', text);
      case 'anchor':
        return paint(output, entry.problem === undefined ? 'dim' : 'red', text);
      case 'policy':
        return paint(output, ['rejected', 'freeze', 'drift'].includes(entry.act) ? 'yellow' : entry.act === 'pin' ? 'dim' : 'bold', text);
      case 'approval':
        return paint(output, entry.decision === 'approved' ? (entry.selfApproved ? 'yellow' : 'green') : 'red', text);
      case 'open':
      case 'batch':
        return text;
      default:
        return paint(output, 'dim', text);
    }
  }
}
