/** What the verifier found in a report, as the evidence line says it. */
import { custodyMeans } from '../src/entry/custody.ts';
import type { EvidenceState } from '../src/analysis/views.ts';
import { exitOfSeverity, stateOf } from '../src/verify/finding.ts';
import type { ReportHead } from '../src/verify/report-data.ts';
import type { ReportVerification, StepName } from '../src/verify/report.ts';
import { count } from './figures.ts';

const stepNames: Readonly<Record<StepName, string>> = {
  data: 'Data of the report',
  tree: 'Tree',
  signature: 'Signature',
  entries: 'Entries',
  content: 'Content',
  keys: 'Keys',
  witnesses: 'Witnesses',
};

/** Before anything was checked. */
export function verifying(ledger: string, file: string, progress: number): EvidenceState {
  return {
    ledger,
    name: '',
    state: 'verifying',
    sentence: 'This browser is checking every record of this file …',
    progress,
    size: 0,
    shown: 0,
    later: 0,
    witnesses: [],
    findings: [],
    steps: [],
    checked: [],
    notChecked: [],
    commands: commandsFor(file),
  };
}

/** It could not be checked at all. */
export function unverified(file: string, problem: string): EvidenceState {
  return { ...verifying('', file, 0), state: 'unverified', sentence: `Not verified: ${problem}` };
}

export function evidenceOf(ledger: string, file: string, found: ReportVerification, verifiedAt: string): EvidenceState {
  const { exit, head, size, shown, custody, firstBad, witnesses, cosigned, keyFingerprint, isKeyKnown } = found;
  return {
    ledger,
    name: head?.name ?? '',
    state: stateOf[exit],
    sentence: sentenceOf(found),
    verifiedAt,
    size,
    shown,
    later: head?.later ?? 0,
    ...(keyFingerprint === undefined ? {} : { keyFingerprint }),
    isPinned: isKeyKnown,
    ...(custody === undefined ? {} : { custody, custodyMeans: custodyMeans(custody) }),
    witnesses: [
      ...witnesses.map(({ name, timeS, isVerified }) => ({ name, at: timeOf(timeS), isVerified })),
      ...cosigned.map(({ witness, timeS }) => ({ name: witness, at: timeOf(timeS), isVerified: true })),
    ],
    ...(firstBad === undefined ? {} : { firstBad }),
    findings: found.findings,
    steps: found.steps.map(({ name, result, detail, tookMs }) => ({ name: stepNames[name], result, detail, tookMs })),
    checked: found.checked,
    notChecked: [
      'this page: whoever forges the records may forge the page and its verifier with them',
      ...found.notChecked,
      ...(head === undefined ? [] : [saidOf(head)]),
      ...(head?.reading === undefined ? [] : [readingOf(head.reading)]),
    ],
    commands: commandsFor(file),
  };
}

/** What nothing but the head of the data says. */
function saidOf({ name, madeAt, version, later }: ReportHead): string {
  const behind =
    later === 0 ? 'that the ledger had nothing beyond its checkpoint' : `that the ledger had ${count(later)} records beyond its checkpoint`;
  return `what only its maker says: that the ledger is called ${JSON.stringify(name)}, that the file was made at ${madeAt} by sworn ${version}, and ${behind}`;
}

/** Calls and findings are shown as the maker wanted them read: a finding that they did not want is not here. */
function readingOf({ sensitive = [], write = [], read = [], ignore = [], servers, entities, rules }: NonNullable<ReportHead['reading']>): string {
  const lists: [string, readonly string[]][] = [
    ['sensitive', sensitive],
    ['writing', write],
    ['reading', read],
  ];
  const parts = lists.filter(([, tools]) => tools.length > 0).map(([what, tools]) => `tools called ${what} (${tools.join(', ')})`);
  if (servers !== undefined) parts.push(`what tools do, of the servers ${Object.keys(servers).join(', ')}`);
  if (entities !== undefined) parts.push('what names a thing');
  if (rules !== undefined) parts.push(`what the rules ${Object.keys(rules).join(', ')} go by`);
  if (ignore.length > 0) parts.push(`findings left out (${ignore.join(', ')})`);
  return `how records are read, which its maker chose: ${parts.join('; ')}`;
}

function sentenceOf({ exit, findings, inRange, shown, size }: ReportVerification): string {
  const worst = findings.find(({ severity }) => exit !== 0 && exitOfSeverity(severity) === exit)?.message ?? 'nothing could be read';
  const whole = inRange === size ? '' : ` of the ${count(size)} under the checkpoint`;
  const holds = `${count(inRange)} ${inRange === 1 ? 'record' : 'records'}${whole}, unbroken${shown === inRange ? '' : `; ${count(shown)} of them shown`}`;
  if (exit === 0) return holds;
  if (exit === 4) return `${holds}, but the policy is not met: ${worst}`;
  return `${exit === 1 ? 'Tampered' : exit === 5 ? 'Rolled back or forked' : 'It cannot be concluded whether it holds'}: ${worst}`;
}

function timeOf(seconds: number): string {
  return new Date(Math.max(0, Math.min(seconds, 8.64e12)) * 1_000).toISOString();
}

function commandsFor(file: string): EvidenceState['commands'] {
  // a name that begins with - would be an option
  const name = file.startsWith('-') ? quoted(`./${file}`) : quoted(file);
  return [
    { does: 'Check this file with a verifier that did not come with it', command: `sworn verify ${name}` },
    { does: 'Check it against the ledger’s key, which you have from elsewhere', command: `sworn verify ${name} --policy <trust file>` },
  ];
}

function quoted(file: string): string {
  return /^[\w@%+=:,./-]+$/.test(file) ? file : `'${file.replaceAll("'", `'\\''`)}'`;
}
