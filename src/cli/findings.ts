/** `sworn findings`: what the analyses want a person to look at, and what a person said to it. */
import { filterLine, type Term } from '../analysis/filter.ts';
import { severities } from '../analysis/memory-figures.ts';
import type { FindingRow } from '../analysis/rows.ts';
import type { Range } from '../analysis/views.ts';
import type { CatalogRows } from '../catalog/queries.ts';
import { SwornError } from '../errors.ts';
import { globMatches } from '../mcp/glob.ts';
import { analysisOptions } from './analysis.ts';
import { catalogOption, catchUp, placesOf, type CatalogFlags, type Place } from './catalog.ts';
import { filterHelp, filterOf, timeHelp, timeOf, type FilterOptions } from './filter.ts';
import type { CommandHelp } from './help.ts';
import { ensureRecorder, placeOf } from './keeping.ts';
import { limitOf } from './log.ts';
import { count, paint, safeJson, visible, type Output, type Style } from './output.ts';
import { headline } from './rows.ts';

export const findingsHelp: CommandHelp = {
  options: [
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn); may be given several times', repeat: true },
    ...filterHelp,
    ...timeHelp,
    { flags: '--rule <glob>', description: 'only findings of these rules' },
    { flags: '--open', description: 'only those that nobody has acknowledged' },
    { flags: '--limit <n>', description: 'only the first n' },
    { flags: '--note <text>', description: 'of `ack`: why nothing more is to be done' },
    ...analysisOptions,
    catalogOption,
    { flags: '--socket <path>', description: 'of `ack`: where the recorder listens, if not at the place that follows from the ledger' },
    { flags: '--json', description: 'one JSON object a line' },
  ],
  example: 'sworn findings --since 7d',
};

interface Options extends FilterOptions, CatalogFlags {
  action?: string;
  id?: string;
  rule?: string;
  open?: boolean;
  limit?: string | number;
  note?: string;
  socket?: string;
  json?: boolean;
}

/** Of one answer. */
const pageRows = 1_000;
/** Indexes that a line names. */
const namedIndexes = 8;
const styles: Record<FindingRow['severity'], Style> = { high: 'red', medium: 'yellow', low: 'cyan', info: 'dim' };

/** @throws (rejects) SwornError `usage`, `no-ledger`, `not-found`, what catalogs throw, or whatever the recorder answers */
export async function findingsCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as Options;
  if (options.action === 'ack') return acknowledge(options, output);
  const places = await placesOf(options, 'findings');
  const most = limitOf(options.limit, 'limit', 'findings');
  const range = rangeOf(options);
  const found = await asking(options, places, output, (rows) => {
    const all: FindingRow[] = [];
    for (let offset = 0; ; offset += pageRows) {
      const page = rows.findings(range, { sort: 'severity', offset, limit: pageRows });
      all.push(...page.rows);
      if (offset + pageRows >= page.total) break;
    }
    const isAsked = ({ acknowledged, rule }: FindingRow): boolean =>
      (options.open !== true || acknowledged === undefined) && (options.rule === undefined || globMatches(options.rule, rule));
    return all.filter(isAsked).slice(0, most);
  });
  if (options.json) {
    for (const row of found) output.out(`${safeJson(JSON.stringify(row))}\n`);
    return 0;
  }
  for (const { folder } of places) output.out(await headline(folder, output));
  output.out(found.length === 0 ? '\nno findings\n' : listText(found, places, output));
  return 0;
}

/** Asks the catalogs once they know what the ledgers have now. */
async function asking<Answer>(options: Options, places: readonly Place[], output: Output, ask: (rows: CatalogRows) => Answer): Promise<Answer> {
  const { CatalogRows } = await import('../catalog/queries.ts');
  for (const place of places) {
    if (await catchUp(place, options, options.text !== undefined)) continue;
    output.err(`sworn: note: another process follows ${visible(place.folder)}: what it knows by now is shown\n`);
  }
  const rows = new CatalogRows(places);
  try {
    return ask(rows);
  } finally {
    rows.close();
  }
}

/** @throws SwornError `usage` */
function rangeOf(options: Options): Range {
  // the same checks and messages as of `sworn log`
  filterOf(options, 'findings');
  const { since, until, text } = options;
  const nowMs = Date.now();
  const words = ['session', 'server', 'tool', 'method', 'direction', 'effect', 'outcome', 'verdict'] as const;
  const terms = words.flatMap((word): Pick<Term, 'word' | 'value' | 'isNot'>[] => {
    const value = options[word];
    return value === undefined ? [] : [{ word, value, isNot: false }];
  });
  const filter = filterLine(terms, text === undefined ? [] : [text]);
  return {
    ...(since === undefined ? {} : { since: new Date(timeOf(since, 'since', 'findings', nowMs)).toISOString() }),
    ...(until === undefined ? {} : { until: new Date(timeOf(until, 'until', 'findings', nowMs)).toISOString() }),
    ...(filter === '' ? {} : { filter }),
  };
}

function listText(found: readonly FindingRow[], places: readonly Place[], output: Output): string {
  const lines: string[] = [];
  const group = (name: string, style: Style, rows: readonly FindingRow[]): void => {
    if (rows.length === 0) return;
    lines.push('', paint(output, style, `${name} · ${rows.length}`));
    for (const row of rows) lines.push(...findingLines(row, places, output));
  };
  for (const severity of severities) {
    group(
      severity,
      styles[severity],
      found.filter((row) => row.acknowledged === undefined && row.severity === severity),
    );
  }
  group(
    'acknowledged',
    'dim',
    found.filter((row) => row.acknowledged !== undefined),
  );
  return `${lines.join('\n')}\n`;
}

function findingLines(row: FindingRow, places: readonly Place[], output: Output): string[] {
  const { finding, rule, title, detail, indexes, firstAt, lastAt, acknowledged } = row;
  const folder = places.find(({ ledger }) => ledger === row.ledger)!.folder;
  const more = indexes.length > namedIndexes ? ` … (${indexes.length})` : '';
  const times = firstAt === lastAt ? firstAt : `${firstAt} … ${lastAt}`;
  const where = process.env['SWORN_LEDGER'] === undefined || places.length > 1 ? ` --ledger ${shellWord(folder)}` : '';
  return [
    `  ${paint(output, 'bold', finding)}  ${visible(title)}`,
    ...(detail === '' ? [] : [`      ${visible(detail)}`]),
    paint(output, 'dim', `      ${rule} · ${row.count > 1 ? `${count(row.count, 'time')} · ` : ''}${times}`),
    `      entries ${indexes.slice(0, namedIndexes).join(', ')}${more}: sworn show ${indexes[0]}${where}`,
    ...(acknowledged === undefined
      ? []
      : [`      acknowledged with entry ${acknowledged.index}${acknowledged.note === undefined ? '' : `: ${visible(acknowledged.note)}`}`]),
  ];
}

function shellWord(text: string): string {
  return /^[\w./:@%+=-]+$/.test(text) ? visible(text) : `'${visible(text).replaceAll("'", "'\\''")}'`;
}

async function acknowledge(options: Options, output: Output): Promise<number> {
  const { id, note } = options;
  if (id === undefined || !/^[0-9a-f]{4,12}$/.test(id))
    throw new SwornError('usage', 'which one? sworn findings ack <id> --note <text>; `sworn findings` shows the ids', { command: 'findings' });
  if (note === undefined || note.trim() === '') throw new SwornError('usage', 'why? --note <text> is recorded with it', { command: 'findings' });
  const places = await placesOf(options, 'findings');
  const meant = await asking(options, places, output, (rows) =>
    places.flatMap((place) => rows.findingsLike(place.ledger, id).map((row) => ({ place, row }))),
  );
  if (meant.length !== 1) {
    const what = meant.length === 0 ? `there is no finding ${id}` : `${meant.length} findings begin with ${id}`;
    throw new SwornError('not-found', `${what} in ${places.map(({ folder }) => folder).join(', ')}`);
  }
  const [{ place, row }] = meant as [{ place: Place; row: FindingRow }];
  const at = placeOf({ ledger: place.folder, ...(options.socket === undefined ? {} : { socket: options.socket }) });
  const status = await ensureRecorder({ ledger: place.folder, ...(options.socket === undefined ? {} : { socket: options.socket }) }, output);
  if (status !== undefined) return status;
  const { ask } = await import('../wire/ask.ts');
  const answer = (await ask(at.socket, 'acknowledge', { how: 'command', finding: row.finding, rule: row.rule, note: note.trim() })) as {
    acknowledged: number;
  };
  output.out(
    options.json
      ? `${safeJson(JSON.stringify({ ...answer, finding: row.finding }))}\n`
      : `${row.finding} is acknowledged, entry ${answer.acknowledged}: ${visible(row.title)}\n`,
  );
  return 0;
}
