/** `sworn verify report.html`: the data of a report. The page around it is only compared with that of this version. */
import { createHash } from 'node:crypto';
import { base64, utf8 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { custodyTexts } from '../entry/custody.ts';
import { dataMarker, reportPage } from '../report/page.ts';
import { openReportFile, type ReportFile } from '../report/file.ts';
import type { ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { checkpointOf } from '../tlog/note.ts';
import { exitOfSeverity } from '../verify/finding.ts';
import { parseReportHead } from '../verify/report-data.ts';
import { verifyReport, type ReportVerification } from '../verify/report.ts';
import { count, safeJson, size, visible, type Output } from './output.ts';
import { trustOf, type Trust, type TrustOptions } from './trust-files.ts';
import { headlineOf, VerdictText } from './verdict.ts';

export interface VerifyReportOptions extends TrustOptions {
  report: string;
  json: boolean;
}

type VerifyOutput = Pick<Output, 'out' | 'err' | 'isTTY' | 'color'>;

/** What was cut off before its data, or never had any, is a result like any other: it cannot be concluded. */
const noData: ReportFile = { pageDigest: '', head: async () => undefined, chunk: async () => undefined, names: () => [], close: () => undefined };

/** @returns the exit status, as of `verifyCommand` */
export async function verifyReportCommand(options: VerifyReportOptions, output: VerifyOutput): Promise<number> {
  const { report } = options;
  const file = openReportFile(report) ?? noData;
  try {
    const trust = trustOf(options, await checkpointIn(file));
    const result = await verifyReport({
      crypto: nodeCrypto,
      source: file,
      vkeys: trust.vkeys,
      ...(trust.known ? { known: trust.known } : {}),
      wanted: trust.wanted,
      clock: () => performance.now(),
    });
    if (isPageOfOurs(file)) result.checked.push('that the page around the data is that of this version');
    else if (file !== noData)
      result.notChecked.push('the page around the data: it is not that of this version, and may show something else than the data says');
    output.out(options.json ? `${safeJson(JSON.stringify(asJson(report, result)))}\n` : asText(report, result, trust, output));
    return result.exit;
  } finally {
    file.close();
  }
}

async function checkpointIn(file: ReportFile): Promise<ParsedCheckpoint | undefined> {
  const text = await file.head();
  const head = text === undefined ? undefined : parseReportHead(nodeCrypto, text);
  return head === undefined || typeof head === 'string' ? undefined : checkpointOf(utf8(head.checkpoint));
}

function isPageOfOurs(file: ReportFile): boolean {
  let page: string;
  try {
    page = reportPage();
  } catch {
    return false;
  }
  // each element of the data stands on a line of its own
  const lines = `${'\n\0'.repeat(file.names().length + 1)}\n`;
  return (
    createHash('sha256')
      .update(page.replace(dataMarker, () => lines))
      .digest('hex') === file.pageDigest
  );
}

function headline(result: ReportVerification): string {
  const { exit, shown, inRange, findings } = result;
  const worst = findings.find(({ severity }) => exitOfSeverity(severity) === exit && exit !== 0)?.message ?? '';
  return headlineOf(exit, `${shown.toLocaleString('en')} of ${count(inRange, 'record')} are shown, as they were recorded`, worst);
}

function asText(report: string, result: ReportVerification, trust: Trust, output: VerifyOutput): string {
  const { exit, origin, head, vkey, keyFingerprint, root, findings, findingsOmitted, checked, notChecked } = result;
  const text = new VerdictText(exit, headline(result), output);
  text.say('report', report);
  if (origin !== undefined) text.say('origin', origin);
  if (vkey !== undefined) {
    const from = result.isKeyKnown ? (trust.keySource ?? '') : 'as the report says itself';
    text.say('key', `${vkey.slice((origin?.length ?? 0) + 1)}, ${from}`);
    text.say('fingerprint', keyFingerprint!.replaceAll(/(.{4})(?=.)/g, '$1 '));
  }
  if (root) text.say('checkpoint', `${result.size} entries, root ${base64(root)}`);
  if (head) {
    text.say('made', `${head.madeAt.slice(0, 19).replace('T', ' ')} UTC by sworn ${head.version}, as it says itself`);
    text.say('range', `entries ${head.first} to ${head.end - 1}${head.filter === '' ? '' : `, those of ${head.filter}`}`);
    text.say('shown', `${result.shown.toLocaleString('en')} of ${count(result.inRange, 'record')}, ${size(result.contentBytes)} of content`);
  }
  if (result.custody !== undefined) text.say('custody', `${result.custody}: ${custodyTexts[result.custody].says}`);
  text.section('Findings', [
    ...findings.map(({ severity, message, path }) => `  ${severity.padEnd(9)} ${visible(message)}${path === undefined ? '' : ` [${visible(path)}]`}`),
    ...(findingsOmitted > 0 ? [`  and ${findingsOmitted} more`] : []),
  ]);
  return text.end(checked, notChecked);
}

function asJson(report: string, result: ReportVerification): object {
  const { root, head, opener: _, ...rest } = result;
  const made = head && { madeAt: head.madeAt, version: head.version, filter: head.filter, isWithheld: head.isWithheld };
  return { headline: headline(result), report, first: head?.first, end: head?.end, ...made, ...rest, ...(root ? { root: base64(root) } : {}) };
}
