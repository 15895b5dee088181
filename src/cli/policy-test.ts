/** `sworn policy test`: expected verdicts, for a change of the policy that somebody reviews. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { utf8Text } from '../bytes/bytes.ts';
import { parseCases, type CasesFile } from '../config/cases.ts';
import { readConfig, type ConfigProblem } from '../config/config.ts';
import { SwornError } from '../errors.ts';
import { runCase, verdictText, type CaseResult } from '../policy/cases.ts';
import { compilePolicy } from '../policy/judge.ts';
import { paint, safeJson, visible, type Output } from './output.ts';
import { hasErrors, problemText } from './policy-problems.ts';

export interface PolicyTestOptions {
  /** The cases. */
  file?: string;
  json?: boolean;
}

/**
 * @returns 0 when every case passes, 1 when one fails, 65 for a file of cases or a policy with errors
 * @throws SwornError `usage` without a file, `config-missing` for one that cannot be read
 */
export async function policyTestCommand({ file, json }: PolicyTestOptions, output: Output): Promise<number> {
  if (file === undefined) throw new SwornError('usage', 'which cases? sworn policy test <cases.yaml>', { command: 'policy' });
  const { file: read, problems } = parseCases(textOf(file));
  if (read === undefined) return wrong(file, problems, json === true, output);
  const policyPath = resolve(dirname(file), read.policy);
  const { config, problems: policyProblems } = await readConfig(policyPath);
  if (config === undefined) return wrong(policyPath, policyProblems, json === true, output);

  const compiled = await compilePolicy(config.policy);
  const results = read.cases.map((one) => ({ one, result: runCase(compiled, one) }));
  const failed = results.filter(({ result }) => result.failures.length > 0).length;
  if (json === true) {
    const cases = results.map(({ one, result }) => caseJson(one, result));
    const whole = { file, policy: policyPath, digest: config.digest, passed: results.length - failed, failed, cases };
    output.out(`${safeJson(JSON.stringify(whole))}\n`);
  } else {
    for (const { one, result } of results) output.out(caseText(file, one, result, output));
    output.out(`${results.length} ${results.length === 1 ? 'case' : 'cases'}: ${results.length - failed} passed, ${failed} failed\n`);
  }
  return failed > 0 ? 1 : 0;
}

function textOf(file: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new SwornError('config-missing', `cannot read ${file}: ${(error as Error).message}`, { path: file }, { cause: error });
  }
  const text = utf8Text(bytes);
  if (text === undefined) throw new SwornError('config-invalid', `${file} is not UTF-8`, { path: file });
  return text;
}

function wrong(file: string, problems: readonly ConfigProblem[], json: boolean, output: Output): number {
  if (json) output.out(`${safeJson(JSON.stringify({ file, valid: false, problems }))}\n`);
  else output.out(problems.map((problem) => problemText(output, file, problem)).join(''));
  return hasErrors;
}

type Case = CasesFile['cases'][number];

function caseText(file: string, one: Case, { failures, verdict }: CaseResult, output: Output): string {
  if (failures.length === 0) return `${paint(output, 'green', 'ok')}      ${visible(one.name)}: ${visible(verdictText(verdict))}\n`;
  const lines = failures.map((failure) => `        ${visible(failure)}\n`).join('');
  return `${paint(output, 'red', 'FAILED')}  ${visible(one.name)} (${visible(file)}:${one.line})\n${lines}`;
}

function caseJson({ name, line, expect, rule, capture }: Case, { verdict, level, redacted, failures }: CaseResult): object {
  return {
    name,
    line,
    passed: failures.length === 0,
    expected: { verdict: expect, ...(rule === undefined ? {} : { rule }), ...(capture === undefined ? {} : { capture }) },
    came: { ...verdict, kind: undefined, verdict: verdict.kind, capture: level, redacted },
    failures,
  };
}
