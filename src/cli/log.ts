/** `sworn log`: the messages of one or several ledgers, in order. */
import { wholeNumber } from '../bytes/typed.ts';
import { SwornError } from '../errors.ts';
import { peekBytes } from '../limits.ts';
import { indexSince, readEntries, readEntriesBackwards, readEntryAt, type Located } from '../readers/entries.ts';
import { payloadOf } from '../readers/opened.ts';
import { definitionHelp, filterHelp, textMatches, timeHelp, requestsOf, type Filter, type FilterOptions } from './filter.ts';
import { ledgerPaths } from './ledger-path.ts';
import type { CommandHelp } from './help.ts';
import { filterFor } from './log-filter.ts';
import type { Output } from './output.ts';
import { payloadFields, payloadLine } from './payload.ts';
import { headline, jsonRow, Rows } from './rows.ts';

export interface LogOptions extends FilterOptions {
  ledger?: string | string[];
  limit?: string | number;
  json?: boolean;
  payload?: boolean;
  calls?: boolean;
  approvedBy?: string;
  definition?: string;
}

export const logHelp: CommandHelp = {
  options: [
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn); may be given several times', repeat: true },
    ...filterHelp,
    definitionHelp,
    ...timeHelp,
    { flags: '--limit <n>', description: 'only the newest n' },
    { flags: '--json', description: 'one JSON object a line' },
    { flags: '--payload', description: 'add the recorded content' },
    { flags: '--calls', description: 'a line for each tool call instead, with all its requests, answers and tasks' },
    { flags: '--approved-by <who>', description: 'with --calls: only calls that nobody, a rule or a person let happen' },
  ],
  example: 'sworn log --since 1h --effect write',
};

export interface Row {
  located: Located;
  ledger: string;
}

/** Shown of a payload in a row for people. */
const linePayloadBytes = 2_048;

export async function logCommand(options: LogOptions, output: Output): Promise<number> {
  const ledgers = ledgerPaths(options.ledger);
  const most = limitOf(options.limit, 'limit', 'log');
  if (options.approvedBy !== undefined && !options.calls) throw new SwornError('usage', '--approved-by belongs to --calls', { command: 'log' });
  if (options.calls) return (await import('./calls.ts')).showCalls(options, output, ledgers, most);
  // each ledger has its own: a filter counts and remembers
  const filters = await Promise.all(ledgers.map((ledger) => filterFor(options, ledger)));
  const { show, note } = await writerOf(options, output, ledgers);
  const sources = ledgers.map((ledger, i) => {
    const filter = filters[i]!;
    return most === undefined ? forwards(ledger, options, filter, note) : backwards(ledger, options, filter, most);
  });
  if (most === undefined) {
    for await (const row of merged(sources, 1)) if (!(await show(row))) break;
    return 0;
  }
  const newest: Row[] = [];
  if (most > 0) {
    for await (const row of merged(sources, -1)) if (newest.push(row) === most) break;
  }
  for (const row of newest.reverse()) if (!(await show(row))) break;
  return 0;
}

export interface Writer {
  /** Prints a row; `false` when nobody reads any more. */
  show(row: Row): Promise<boolean>;
  /** Learns from an entry that may not be shown. */
  note(located: Located, ledger: string): void;
}

/** Of so many clients behind a proxy the name is looked up, each in its own record: with `--payload` all are named. */
const namedCount = 100;

/** Prints the headline, where one belongs, and makes the writer of the rows. */
export async function writerOf(options: LogOptions, output: Output, ledgers: readonly string[]): Promise<Writer> {
  if (!options.json) {
    for (const ledger of ledgers) output.out(await headline(ledger, output));
    output.out('\n');
  }
  const rows = new Rows(output, ledgers.length > 1);
  let named = 0;
  const show = async ({ located, ledger }: Row): Promise<boolean> => {
    const { entry } = located;
    const isTold =
      !options.json && (isToldByAttributes(entry) || (entry.kind === 'principal' && entry.reportedBy === 'proxy' && named++ < namedCount));
    const opened = options.payload || isTold ? await withContent(ledger, located) : located;
    if (options.json) {
      const fields = options.payload ? payloadFields(await payloadOf(ledger, opened, peekBytes)) : {};
      output.out(`${jsonRow(located, ledgers.length > 1 ? { ledger } : {}, fields)}\n`);
    } else {
      output.out(rows.of(opened, ledger));
      if (options.payload && (entry.kind === 'message' || entry.kind === 'batch'))
        output.out(payloadLine(output, await payloadOf(ledger, opened, linePayloadBytes)));
    }
    await output.drained?.();
    return output.closed !== true;
  };
  return { show, note: (located, ledger) => rows.note(located, ledger) };
}

/** Why a policy file was not taken is an attribute, and so is what an approver said. */
function isToldByAttributes(entry: Located['entry']): boolean {
  return (entry.kind === 'policy' && (entry.act === 'rejected' || entry.act === 'accept')) || entry.kind === 'approval';
}

async function withContent(ledger: string, located: Located): Promise<Located> {
  return located.content === undefined ? ((await readEntryAt(ledger, located.index)) ?? located) : located;
}

async function* forwards(ledger: string, options: LogOptions, filter: Filter, note?: Writer['note']): AsyncGenerator<Row> {
  const from = filter.sinceMs === undefined ? 0 : await indexSince(ledger, filter.sinceMs);
  const entries = readEntries(ledger, { from, content: options.payload === true || filter.text !== undefined });
  yield* matching(ledger, filter.requests ? requestsOf(entries, filter, filter.requests) : entries, filter, 1, note);
}

/**
 * Newest first, so that the newest few of a million are there at once. What needs the order in time is read forwards and turned: what is unanswered, and the
 * entries that have no server name of their own.
 */
async function* backwards(ledger: string, options: LogOptions, filter: Filter, most: number): AsyncGenerator<Row> {
  if (!filter.requests && options.server === undefined) {
    yield* matching(ledger, readEntriesBackwards(ledger), filter, -1);
    return;
  }
  const last: Row[] = [];
  for await (const row of forwards(ledger, options, filter)) {
    last.push(row);
    if (last.length > most) last.shift();
  }
  yield* last.reverse();
}

/** What passes the filter, its text too. `order`: 1 when the entries come from old to new, -1 from new to old. */
export async function* matching(
  ledger: string,
  entries: AsyncIterable<Located>,
  filter: Filter,
  order: 1 | -1,
  note?: Writer['note'],
): AsyncGenerator<Row> {
  for await (const located of entries) {
    note?.(located, ledger);
    if (filter.matches(located)) {
      const { text } = filter;
      if (text === undefined) yield { located, ledger };
      else {
        const opened = await withContent(ledger, located);
        if (await textMatches(ledger, opened, text)) yield { located: opened, ledger };
      }
    }
    if (filter.isOver(order)) return;
  }
}

/** Rows of several ledgers in the order of their times: `order` 1 from old to new, -1 from new to old. */
async function* merged(sources: AsyncGenerator<Row>[], order: 1 | -1): AsyncGenerator<Row> {
  if (sources.length === 1) {
    yield* sources[0]!;
    return;
  }
  try {
    const heads = await Promise.all(sources.map((source) => source.next()));
    for (;;) {
      let first = -1;
      for (const [i, head] of heads.entries()) {
        if (head.done !== true && (first < 0 || order * compare(head.value, heads[first]!.value as Row) < 0)) first = i;
      }
      if (first < 0) return;
      yield heads[first]!.value as Row;
      heads[first] = await sources[first]!.next();
    }
  } finally {
    for (const source of sources) await source.return(undefined);
  }
}

function compare(a: Row, b: Row): number {
  const timeOf = ({ located: { entry } }: Row): string => (entry.kind === 'unreadable' ? '' : entry.time);
  return timeOf(a) < timeOf(b) ? -1 : timeOf(a) > timeOf(b) ? 1 : 0;
}

/** A count given on the command line. */
export function limitOf(value: string | number | undefined, flag: string, command: string): number | undefined {
  if (value === undefined) return undefined;
  const number = wholeNumber(String(value));
  if (number === undefined) throw new SwornError('usage', `--${flag} ${value} is not a whole number`, { command });
  return number;
}
