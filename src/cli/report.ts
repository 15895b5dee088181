/** `sworn report`: what an agent did as one file that opens anywhere and checks itself (`spec/evidence.md`). */
import { existsSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { filterLine, type Word } from '../analysis/filter.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import { readEntries, sizeOf, type Located } from '../readers/entries.ts';
import { PublishedLog } from '../readers/published.ts';
import { choose, type Chosen } from '../report/choose.ts';
import { openReportFile } from '../report/file.ts';
import type { ReportMade } from '../report/data.ts';
import { reportPage, writeReport, type ReportWritten } from '../report/page.ts';
import { formatCosigner } from '../tlog/cosignature.ts';
import { parseNote } from '../tlog/note.ts';
import { parseTrustPolicy } from '../tlog/policy.ts';
import { version } from '../version.ts';
import { analysisOf, analysisOptions } from './analysis.ts';
import { periodOf } from './bundle.ts';
import { toStdout } from './evidence-file.ts';
import { filterHelp, filterOf, requestsOf, timeHelp, timeOf, type FilterOptions } from './filter.ts';
import type { CommandHelp } from './help.ts';
import { oneLedgerPath } from './ledger-path.ts';
import { matching } from './log.ts';
import { count, safeJson, size, visible, type Output } from './output.ts';
import { readOptionFile } from './trust-files.ts';

export interface ReportCommandOptions extends FilterOptions {
  ledger?: string | string[];
  output?: string;
  redact?: boolean;
  policy?: string;
  /** The page that the data is put into; default: that of this version. */
  page?: string;
  json?: boolean;
  config?: string;
  sensitive?: string;
  write?: string;
  read?: string;
}

export const reportHelp: CommandHelp = {
  options: [
    { flags: '-o, --output <file>', description: 'the file to write; a report that is there is replaced; - is stdout', default: 'report.html' },
    ...filterHelp,
    ...timeHelp,
    ...analysisOptions,
    { flags: '--redact', description: 'leave the content out: entries and hashes only' },
    {
      flags: '--policy <file>',
      description: "a trust file (C2SP tlog-policy): its witnesses' keys go into the report (default: those of sworn.yaml)",
    },
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn)', repeat: true },
    { flags: '--json', description: 'what was written, as one JSON object' },
  ],
  example: 'sworn report --since 1d -o report.html',
};

export async function reportCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as ReportCommandOptions;
  const ledger = oneLedgerPath(options.ledger, 'report');
  const path = options.output ?? 'report.html';
  const isStdout = path === toStdout;
  if (isStdout && options.json) throw new SwornError('usage', '-o - and --json both take stdout: give -o FILE', { command: 'report' });
  if (!isStdout) checkPlace(path);
  const page = options.page ?? reportPage();
  const log = new PublishedLog(ledger);
  if (log.size === 0) throw new SwornError('not-published', `nothing of ${ledger} is published yet`);
  const nowMs = Date.now();
  const { since, until, ...asked } = options;
  const sinceMs = since === undefined ? undefined : timeOf(since, 'since', 'report', nowMs);
  const untilMs = until === undefined ? undefined : timeOf(until, 'until', 'report', nowMs);
  const filter = lineOf(asked);
  const period = await periodOf(log, sinceMs, untilMs);
  const shown = filter === '' ? undefined : await shownOf(log, asked, period);
  if (shown?.length === 0) throw new SwornError('not-found', `no entry of ${ledger} that is published fits to ${filter}`);
  const chosen = choose(log, period, shown);
  const written = await writeReport(isStdout ? (text) => output.out(text) : path, page, log, chosen, {
    witnesses: await witnessKeys(log.note, options.policy),
    isWithheld: options.redact === true,
    filter,
    ...(sinceMs === undefined ? {} : { since: new Date(sinceMs).toISOString() }),
    ...(untilMs === undefined ? {} : { until: new Date(untilMs).toISOString() }),
    later: Math.max(0, (await sizeOf(ledger)) - log.size),
    madeAt: new Date(nowMs).toISOString(),
    version,
    name: basename(ledger),
    ...(await readingOf(options)),
  });
  say(output, options.json === true, path, log, chosen, written);
  return 0;
}

/** How the page is to make its rows: as the other commands do. */
async function readingOf({ config, sensitive, write, read }: ReportCommandOptions): Promise<Pick<ReportMade, 'reading'>> {
  const reading = await analysisOf({
    ...(config === undefined ? {} : { config }),
    ...(sensitive === undefined ? {} : { sensitive }),
    ...(write === undefined ? {} : { write }),
    ...(read === undefined ? {} : { read }),
  });
  return Object.keys(reading).length === 0 ? {} : { reading: JSON.parse(JSON.stringify(reading)) as NonNullable<ReportMade['reading']> };
}

/** Only a report, or nothing, is replaced. */
function checkPlace(path: string): void {
  if (!existsSync(path)) return;
  if (statSync(path).isFile()) {
    const before = openReportFile(path);
    before?.close();
    if (before) return;
  }
  throw new SwornError('output', `${path} is there already, and is no report`);
}

/** The filter in the words of `sworn log`'s flags; empty without one. */
function lineOf(options: FilterOptions): string {
  const flags: Word[] = ['session', 'server', 'tool', 'method', 'direction', 'effect', 'outcome', 'verdict'];
  const terms = flags.flatMap((word) => {
    const value = options[word as keyof FilterOptions];
    return value === undefined ? [] : [{ word, value, isNot: false }];
  });
  return filterLine(terms, options.text === undefined ? [] : [options.text]);
}

/** Indexes of the entries that the filter lets through, in any order. */
async function shownOf(log: PublishedLog, options: FilterOptions, { first, end }: { first: number; end: number }): Promise<number[]> {
  const { session, server, tool, method, direction, effect, outcome, verdict, text } = options;
  const given = Object.entries({ session, server, tool, method, direction, effect, outcome, verdict, text }).filter(
    ([, value]) => value !== undefined,
  );
  const filter = filterOf(Object.fromEntries(given), 'report');
  // names of servers are known from the `open` entries before
  const entries: AsyncIterable<Located> = readEntries(log.ledger, { from: log.first, to: end, content: filter.text !== undefined });
  const indexes: number[] = [];
  for await (const { located } of matching(log.ledger, filter.requests ? requestsOf(entries, filter, filter.requests) : entries, filter, 1))
    if (located.index >= first) indexes.push(located.index);
  return indexes;
}

/** Keys of the witnesses whose cosignatures the checkpoint carries, as far as they are known here. */
async function witnessKeys(note: Uint8Array, policy: string | undefined): Promise<string[]> {
  const names = new Set(parseNote(note)!.signatures.map(({ name }) => name));
  const fits = (key: string): boolean => names.has(key.slice(0, key.indexOf('+')));
  if (policy !== undefined) {
    const trust = parseTrustPolicy(nodeCrypto, readOptionFile(policy, '--policy'));
    if ('problem' in trust)
      throw new SwornError('usage', `${policy}${trust.line > 0 ? `:${trust.line}` : ''}: ${trust.message}`, { command: 'report' });
    return trust.witnesses.flatMap(({ cosigner }) => (cosigner ? [formatCosigner(nodeCrypto, cosigner.name, cosigner.publicKey)] : [])).filter(fits);
  }
  if (names.size < 2) return [];
  const { defaultConfigPath, loadConfig } = await import('../config/config.ts');
  const path = defaultConfigPath();
  if (!existsSync(path)) return [];
  const { anchors } = await loadConfig(path);
  return anchors.witnesses.map(({ key }) => key).filter(fits);
}

function say(
  output: Output,
  isJson: boolean,
  path: string,
  log: PublishedLog,
  { shown, context }: Chosen,
  { head, sizeBytes, contentBytes, lacking }: ReportWritten,
): void {
  const { first, end, isWithheld, filter, later, witnesses } = head;
  if (isJson) {
    const { origin } = log.checkpoint;
    const fields = {
      report: path,
      sizeBytes,
      origin,
      vkey: log.vkey,
      size: log.size,
      first,
      end,
      shown,
      context,
      contentBytes,
      lackingContent: lacking,
      filter,
      later,
      witnesses,
      isWithheld,
    };
    output.out(`${safeJson(JSON.stringify(fields))}\n`);
    return;
  }
  const content = isWithheld ? 'without content' : `with ${size(contentBytes)} of content`;
  const isStdout = path === toStdout;
  const lines = [`${isStdout ? 'stdout' : path}, ${size(sizeBytes)}: ${shown.toLocaleString('en')} of ${count(log.size, 'record')}, ${content}`];
  if (context > 0) lines.push(`and ${count(context, 'record')} that these need: who it was, what was in force, what they answer`);
  if (later > 0) lines.push(`${count(later, 'record')} came later and are not published yet`);
  if (lacking > 0) lines.push(`the content of ${count(lacking, 'record')} could not be read: see \`sworn verify\``);
  if (!isWithheld) lines.push('It holds what was said, in clear: hand it on as you would the ledger itself.');
  lines.push('', 'It checks itself when it is opened. Check it elsewhere with', `  sworn verify ${isStdout ? 'FILE' : path}`);
  if (log.vkey !== undefined) lines.push('', "That needs the log's key, in a trust file (--policy)", `  log ${log.vkey}`, '  quorum none');
  const text = `${lines.map(visible).join('\n')}\n`;
  if (isStdout) output.err(text);
  else output.out(text);
}
