/** `sworn policy suggest`: a least-privilege draft of `sworn.yaml` from the recorded past, tried on that past before it is handed out, and cases for it. */
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { parseConfig } from '../config/config.ts';
import { draftCases } from '../config/draft-cases.ts';
import { draftText, type DraftHead } from '../config/draft-text.ts';
import { fileBytes, rulesCount } from '../config/shape.ts';
import { SwornError } from '../errors.ts';
import { draftOf, type AskFor, type Draft } from '../policy/draft.ts';
import { compilePolicy } from '../policy/judge.ts';
import { looking, Seen } from '../policy/seen.ts';
import { ledgerPaths } from './ledger-path.ts';
import { count, safeJson, visible, type Output } from './output.ts';
import { replayPast, type PastOptions } from './policy-past.ts';

export interface SuggestOptions extends PastOptions {
  ledger?: string | string[];
  /** Where the draft goes; absent: to standard output. */
  output?: string;
  /** Where the cases go; absent: there are none. */
  cases?: string;
  per?: string;
  ask?: string;
  json?: boolean;
}

const tellApart = ['client', 'principal', 'server'];

/** @throws SwornError `usage`, `no-ledger`, `output` for a file that is there already, `too-large` for a draft that is longer than a policy file may be */
export async function suggestCommand(options: SuggestOptions, output: Output): Promise<number> {
  const ask = askOf(options.ask);
  const by = byOf(options.per);
  const { cases: casesPath, output: path } = options;
  for (const file of [path, casesPath]) if (file !== undefined && existsSync(file)) throw new SwornError('output', `${file} is there already`);
  if (path !== undefined && casesPath !== undefined && resolve(path) === resolve(casesPath))
    throw new SwornError('usage', '--output and --cases are one file', { command: 'policy' });
  const ledgers = ledgerPaths(options.ledger);
  const past = within(options);
  const seen = new Seen(by);
  for (const ledger of ledgers) {
    await replayPast(
      ledger,
      looking,
      past,
      (judgement) => seen.add(judgement),
      (entry) => {
        if (entry.kind === 'approval') seen.decided(entry.request, entry.decision);
      },
    );
    seen.endLedger();
  }
  const draft = draftOf(seen, ask);
  const head: DraftHead = { ledgers, asked: askedOf(options) };
  head.refuses = await tried(draftText(draft, seen, head), draft, ledgers, past);
  const text = draftText(draft, seen, head);
  const cases =
    casesPath === undefined ? undefined : draftCases(draft, path === undefined ? 'sworn.yaml' : relative(dirname(resolve(casesPath)), resolve(path)));
  if (path !== undefined) write(path, text);
  if (casesPath !== undefined && cases !== undefined) write(casesPath, cases.text);
  if (options.json === true) output.out(`${safeJson(JSON.stringify(resultOf(draft, seen, head, text, cases, options)))}\n`);
  else if (path === undefined) output.out(text);
  else say(output, path, draft, head, casesPath, cases);
  return 0;
}

function within({ since, until, session, server }: SuggestOptions): PastOptions {
  return {
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(session === undefined ? {} : { session }),
    ...(server === undefined ? {} : { server }),
  };
}

function askedOf({ since, until, session, server, per, ask }: SuggestOptions): string[] {
  return Object.entries({ since, until, session, server, per, ask }).flatMap(([name, value]) => (value === undefined ? [] : [`--${name} ${value}`]));
}

function askOf(said: string | undefined): AskFor {
  if (said === undefined) return 'approved';
  if (said === 'write' || said === 'destructive') return said;
  throw new SwornError('usage', `--ask ${said} is not one of: destructive, write`, { command: 'policy' });
}

function byOf(said: string | undefined): Seen['by'] {
  const words = (said ?? 'client,principal').split(',').map((word) => word.trim());
  const wrong = words.find((word) => !tellApart.includes(word));
  if (wrong !== undefined) throw new SwornError('usage', `--per ${wrong} is not one of: ${tellApart.join(', ')}`, { command: 'policy' });
  return { client: words.includes('client'), principal: words.includes('principal') };
}

/** What of the same past the draft would newly refuse. Requests that a person was asked about and did not approve were refused then, too. A draft that cannot be read again is our defect, and is never handed out. */
async function tried(text: string, draft: Draft, ledgers: readonly string[], past: PastOptions): Promise<{ passed: number; flagged: number }> {
  const rules = draft.groups.reduce((sum, group) => sum + group.rules.length, 0);
  // the bounds of a file, with room for the sentence about this try
  if (rules > rulesCount || Buffer.byteLength(text) > fileBytes - 1024) {
    throw new SwornError('too-large', `the draft would have ${count(rules, 'rule')} and ${Buffer.byteLength(text).toLocaleString('en')} bytes`, {
      command: 'policy',
    });
  }
  const { config, problems } = await parseConfig(text, 'the draft');
  const [wrong] = problems;
  if (config === undefined) throw new SwornError('internal', `the draft is no policy: line ${wrong?.line}: ${wrong?.message}`);
  const compiled = await compilePolicy(config.policy);
  const refuses = { passed: 0, flagged: 0 };
  for (const ledger of ledgers) {
    await replayPast(ledger, compiled, past, ({ verdict, unsure, unsaid, entry }) => {
      if (verdict.kind !== 'block' || unsure !== undefined || unsaid) return;
      if (entry.verdict === 'pass') refuses.passed++;
      else if (entry.verdict === 'flag') refuses.flagged++;
    });
  }
  return refuses;
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'wx' });
  } catch (error) {
    throw new SwornError('output', `cannot write ${path}: ${(error as Error).message}`, {}, { cause: error });
  }
}

type Cases = ReturnType<typeof draftCases>;

function say(output: Output, path: string, draft: Draft, { refuses }: DraftHead, casesPath: string | undefined, cases: Cases | undefined): void {
  const rules = draft.groups.reduce((sum, group) => sum + group.rules.length, 0);
  const lines = [
    `${path}: ${count(rules, 'rule')}; of what passed it would refuse ${refuses === undefined || refuses.passed === 0 ? 'nothing' : count(refuses.passed, 'message')}`,
  ];
  if (cases !== undefined)
    lines.push(`${casesPath!}: ${count(cases.cases, 'case')}${cases.leftOut === 0 ? '' : `, and ${cases.leftOut} more than such a file holds`}`);
  lines.push('', 'Read it line by line before it is put in force. Try it with', `  sworn policy simulate ${path}`);
  if (casesPath !== undefined) lines.push(`  sworn policy test ${casesPath}`);
  output.out(`${lines.map(visible).join('\n')}\n`);
}

function resultOf(
  draft: Draft,
  seen: Seen,
  { ledgers, refuses }: DraftHead,
  text: string,
  cases: Cases | undefined,
  { output, cases: casesPath }: SuggestOptions,
): object {
  return {
    ledgers,
    requests: seen.requests,
    passed: seen.passed,
    refuses,
    leftOut: Object.fromEntries(seen.leftOut),
    notAllowed: draft.notAllowed.map(({ group, item: { rules, refused, flagged, asked, method, name } }) => ({
      server: group.server,
      method,
      ...(name === '' ? {} : { name }),
      refused,
      flagged,
      asked,
      rules,
    })),
    groups: draft.groups,
    ...(output === undefined ? {} : { file: output }),
    ...(cases === undefined ? {} : { cases: casesPath, caseCount: cases.cases, casesLeftOut: cases.leftOut }),
    text,
  };
}
