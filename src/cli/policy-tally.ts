/** What `sworn policy simulate` counts, ledger by ledger, and how it looks. Holds counts and a few examples: memory does not grow with the ledger. */
import { isLimited } from '../analysis/approvals.ts';
import type { CompiledPolicy } from '../policy/judge.ts';
import type { Missing } from '../policy/remains.ts';
import type { Judgement } from '../policy/replay.ts';
import { ownRules } from '../policy/verdict.ts';
import { cell, count, paint, table, visible, type Output } from './output.ts';

export interface Example {
  index: number;
  time: string;
  /** The tool, or the method of what is no call. */
  tool: string;
}

export interface RuleTally {
  rule: string;
  blocked: number;
  flagged: number;
  /** Flagged that would be blocked, were the rule enforced. */
  shadow: number;
  /** Would wait for a person. */
  asked: number;
  allowed: number;
  /** A condition that could not be evaluated, among them. */
  problems: number;
  /** Messages on which its condition needed content that is not there. */
  unsure: number;
  first?: number;
  last?: number;
  examples: Example[];
}

export interface LedgerTally {
  ledger: string;
  /** Messages in the time and of the sessions that were asked for. */
  messages: number;
  /** Of them tool calls. */
  calls: number;
  /** Judged as the recorder would have, for certain. */
  judged: number;
  /** Not judged fully, by what happened to the content. */
  unsure: Partial<Record<Missing | 'names', number>>;
  /** What those look like by what is left of them: no more than a hint. */
  unsureVerdicts: { block: number; flag: number; pass: number };
  /** Answers to what would have been refused: nobody would have given them. */
  unsaid: number;
  rules: RuleTally[];
  /** Ranges by what finds them, in messages as far as they are stored. */
  redactions: Record<string, { ranges: number; messages: number }>;
  /** Messages that were searched for what must not be stored only as far as they are there. */
  searchedInPart: number;
  /** How much of the messages would be stored. */
  capture: Record<'none' | 'metadata' | 'request' | 'full', number>;
  /** What a person was asked about is not newly blocked: it may not have passed then. */
  changes: {
    newlyBlocked: number;
    noLongerBlocked: number;
    newlyFlagged: number;
    noLongerFlagged: number;
    newlyAsked: number;
    noLongerAsked: number;
    frozen: number;
    /** Refused by a limit then: how much was asked for in what time is not tried here. */
    limited: number;
  };
  examplesNewlyBlocked: Example[];
}

const examplesMost = 3;
/** Names of rules come from the file; of redactions from the file and the detectors. */
const kindsMost = 20_000;

export class Tally {
  readonly counts: LedgerTally;
  readonly #rules = new Map<string, RuleTally>();
  readonly #redactions = new Map<string, { ranges: number; messages: number }>();

  constructor(ledger: string, compiled: CompiledPolicy) {
    for (const { name } of compiled.rules) this.#rule(name);
    this.counts = {
      ledger,
      messages: 0,
      calls: 0,
      judged: 0,
      unsure: {},
      unsureVerdicts: { block: 0, flag: 0, pass: 0 },
      unsaid: 0,
      rules: [],
      redactions: {},
      searchedInPart: 0,
      capture: { none: 0, metadata: 0, request: 0, full: 0 },
      changes: { newlyBlocked: 0, noLongerBlocked: 0, newlyFlagged: 0, noLongerFlagged: 0, newlyAsked: 0, noLongerAsked: 0, frozen: 0, limited: 0 },
      examplesNewlyBlocked: [],
    };
  }

  #rule(name: string): RuleTally {
    let tally = this.#rules.get(name);
    if (tally === undefined) {
      tally = { rule: name, blocked: 0, flagged: 0, shadow: 0, asked: 0, allowed: 0, problems: 0, unsure: 0, examples: [] };
      this.#rules.set(name, tally);
    }
    return tally;
  }

  add(judgement: Judgement): void {
    const { counts } = this;
    const { entry, verdict, subject, level, unsure, why } = judgement;
    counts.messages++;
    if (subject.type === 'request' && subject.method === 'tools/call') counts.calls++;
    if (judgement.unsaid) {
      counts.unsaid++;
      return;
    }
    counts.capture[level]++;
    this.#addRedactions(judgement);
    if (unsure !== undefined) {
      const reason = unsure.length === 0 ? 'names' : (why ?? 'not captured');
      counts.unsure[reason] = (counts.unsure[reason] ?? 0) + 1;
      counts.unsureVerdicts[verdict.kind === 'ask' ? 'flag' : verdict.kind]++;
      for (const rule of new Set(unsure)) this.#rule(rule).unsure++;
      return;
    }
    counts.judged++;
    this.#addVerdict(judgement);
    const { changes } = counts;
    const frozen = entry.verdict === 'block' && entry.rule === ownRules.freeze;
    if (frozen) changes.frozen++;
    else if (entry.verdict === 'block' && isLimited(entry.rule)) changes.limited++;
    else if (verdict.kind === 'block' && entry.verdict !== 'block' && entry.verdict !== 'ask') {
      changes.newlyBlocked++;
      if (counts.examplesNewlyBlocked.length < examplesMost) counts.examplesNewlyBlocked.push(exampleOf(judgement));
    } else if (verdict.kind !== 'block' && entry.verdict === 'block') changes.noLongerBlocked++;
    if (verdict.kind === 'ask' && entry.verdict !== 'ask') changes.newlyAsked++;
    else if (verdict.kind !== 'ask' && entry.verdict === 'ask') changes.noLongerAsked++;
    if (verdict.kind === 'flag' && entry.verdict !== 'flag') changes.newlyFlagged++;
    else if (verdict.kind !== 'flag' && entry.verdict === 'flag') changes.noLongerFlagged++;
  }

  #addVerdict(judgement: Judgement): void {
    const { rule: name, kind, shadow, problem } = judgement.verdict;
    if (name === undefined) return;
    const rule = this.#rule(name);
    if (kind === 'block') rule.blocked++;
    else if (kind === 'pass') rule.allowed++;
    else if (kind === 'ask') rule.asked++;
    else if (shadow) rule.shadow++;
    else rule.flagged++;
    if (problem !== undefined) rule.problems++;
    rule.first ??= judgement.index;
    rule.last = judgement.index;
    if (kind !== 'pass' && rule.examples.length < examplesMost) rule.examples.push(exampleOf(judgement));
  }

  #addRedactions({ redactions, why }: Judgement): void {
    if (why !== undefined) this.counts.searchedInPart++;
    const here = new Set<string>();
    for (const { rule } of redactions) {
      let tally = this.#redactions.get(rule);
      if (tally === undefined) {
        if (this.#redactions.size >= kindsMost) continue;
        this.#redactions.set(rule, (tally = { ranges: 0, messages: 0 }));
      }
      tally.ranges++;
      if (!here.has(rule)) tally.messages++;
      here.add(rule);
    }
  }

  /** When everything was added. */
  end(): LedgerTally {
    this.counts.rules = [...this.#rules.values()];
    this.counts.redactions = Object.fromEntries([...this.#redactions].sort(([, a], [, b]) => b.ranges - a.ranges));
    return this.counts;
  }
}

function exampleOf({ index, entry, subject }: Judgement): Example {
  const hidden = entry.target?.includes('[redacted') === true || entry.method?.includes('[redacted') === true;
  // of a resource the entry has the scheme alone, and its URI may hold what was redacted
  const name = subject.target?.kind === 'tool' && !hidden ? subject.target.value : (entry.target ?? '');
  return { index, time: entry.time, tool: subject.method === 'tools/call' ? name : `${entry.method ?? entry.type}${name === '' ? '' : ` ${name}`}` };
}

const reasons: Record<Missing | 'names', string> = {
  redacted: 'redacted',
  'not captured': 'not captured',
  erased: 'erased',
  'too long': 'too long',
  unreadable: 'unreadable',
  names: 'names redacted or cut',
};

/** A ledger's tally for people. `searches`: the policy has redact rules. */
export function tallyText(output: Output, tally: LedgerTally, searches: boolean): string {
  const { changes, unsure, unsureVerdicts } = tally;
  const lines: string[] = [paint(output, 'bold', visible(tally.ledger))];
  const heard = tally.rules.filter(
    ({ blocked, flagged, shadow, asked, allowed, unsure }) => blocked + flagged + shadow + asked + allowed + unsure > 0,
  );
  if (heard.length > 0) {
    // where something asks
    const asks = heard.some(({ asked }) => asked > 0);
    const columns = [
      { title: 'RULE', most: 40 },
      ...['BLOCKED', 'FLAGGED', 'SHADOW', ...(asks ? ['ASKED'] : []), 'ALLOWED', 'UNSURE', 'FIRST', 'LAST'].map((title) => ({
        title,
        align: 'right' as const,
      })),
    ];
    const rows = heard.map((rule) => [
      rule.rule,
      ...[rule.blocked, rule.flagged, rule.shadow, ...(asks ? [rule.asked] : []), rule.allowed, rule.unsure].map((n) => (n === 0 ? '' : digits(n))),
      rule.first === undefined ? '' : String(rule.first),
      rule.last === undefined ? '' : String(rule.last),
    ]);
    const [title, ...rest] = table(output, columns, rows).trimEnd().split('\n');
    lines.push(title!);
    for (const [i, row] of rest.entries()) {
      lines.push(row);
      for (const { index, time, tool } of heard[i]!.examples)
        lines.push(paint(output, 'dim', `  ${cell(String(index), 8, 'right')}  ${time}  ${visible(tool)}`));
      const { problems } = heard[i]!;
      if (problems > 0) lines.push(paint(output, 'yellow', `  ${count(problems, 'time')} the condition could not be evaluated`));
    }
  }
  const silent = tally.rules.length - heard.length;
  if (silent > 0) lines.push(`${count(silent, 'rule')} ${heard.length === 0 ? '' : 'more '}decided on nothing`);
  for (const [rule, { ranges, messages }] of Object.entries(tally.redactions))
    lines.push(`would redact ${digits(ranges)} × ${visible(rule)} in ${messages === 1 ? '1 message' : `${digits(messages)} messages`}`);
  if (searches && tally.searchedInPart > 0)
    lines.push(`${digits(tally.searchedInPart)} messages were searched for what must be redacted only as far as they are stored`);
  const levels = (['request', 'metadata', 'none'] as const).filter((level) => tally.capture[level] > 0);
  if (levels.length > 0) lines.push(`would store less of some: ${levels.map((level) => `${level} ${digits(tally.capture[level])}`).join(', ')}`);
  const unsureCount = Object.values(unsure).reduce((sum, n) => sum + n, 0);
  if (unsureCount > 0) {
    const why = Object.entries(unsure).map(([reason, n]) => `${reasons[reason as Missing]} ${digits(n)}`);
    const hint = Object.entries(unsureVerdicts)
      .filter(([, n]) => n > 0)
      .map(([kind, n]) => `${kind} ${digits(n)}`);
    lines.push(
      paint(output, 'yellow', `could not be judged fully: ${digits(unsureCount)} (${why.join(', ')}); by what is left of them: ${hint.join(', ')}`),
    );
  }
  if (tally.unsaid > 0) lines.push(`not judged: ${count(tally.unsaid, 'answer')} to what would be blocked`);
  lines.push(
    `against the record: would newly block ${digits(changes.newlyBlocked)}, no longer block ${digits(changes.noLongerBlocked)}, newly flag ${digits(changes.newlyFlagged)}, no longer flag ${digits(changes.noLongerFlagged)}`,
  );
  if (changes.newlyAsked + changes.noLongerAsked > 0)
    lines.push(`a person would newly be asked about ${digits(changes.newlyAsked)}, and no longer about ${digits(changes.noLongerAsked)}`);
  if (changes.frozen > 0) lines.push(`${digits(changes.frozen)} were refused by a freeze then, which this file does not decide`);
  if (changes.limited > 0) lines.push(`${digits(changes.limited)} were refused by a limit then, which is not tried here`);
  lines.push(`${count(tally.messages, 'message')} (${count(tally.calls, 'call')}): ${digits(tally.judged)} judged, ${digits(unsureCount)} not fully`);
  return `${lines.join('\n')}\n`;
}

export function digits(n: number): string {
  return n.toLocaleString('en');
}
