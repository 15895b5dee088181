/** The file of `sworn policy test`: its shape, read with the place of everything that is wrong. */
import * as z from 'zod';
import { utf8 } from '../bytes/bytes.ts';
import type { PolicyCase } from '../policy/cases.ts';
import { newCounts } from '../policy/session.ts';
import { parseYaml } from './document.ts';
import { explain, type PlacedFinding } from './explain.ts';
import { pathText, quoted, type ConfigProblem } from './problem.ts';
import { fileBytes, listCount } from './shape.ts';

export const casesCount = 10_000;
/** Of a case's name, in UTF-16 units. */
const caseNameLength = 256;
/** Of a case's message, for limits. */
const timesMost = 10_000;

const json = () => z.record(z.string(), z.unknown());
const texts = () => z.union([z.string().min(1), z.array(z.string().min(1)).max(listCount)]).optional();
const known = () => z.string().optional();
const wholeNumber = () => z.int().min(0).optional();

const policyCase = z.strictObject({
  name: z.string().min(1).max(caseNameLength),
  server: known(),
  client: known(),
  clientInfo: z.strictObject({ name: known(), version: known() }).optional(),
  labels: z.record(z.string(), z.string()).optional(),
  principal: z
    .strictObject({
      observed: z.strictObject({ uid: wholeNumber(), pid: wholeNumber(), executable: known(), address: known() }).optional(),
      verified: z
        .strictObject({
          method: z.enum(['jwt', 'client-certificate', 'api-key']).optional(),
          subject: known(),
          issuer: known(),
          clientId: known(),
          scopes: z.array(z.string()).max(listCount).optional(),
          actors: z.array(z.string()).max(listCount).optional(),
        })
        .optional(),
      declared: z.strictObject({ name: known(), userAgent: known(), claims: z.record(z.string(), z.string()).optional() }).optional(),
    })
    .optional(),
  direction: z.enum(['c2s', 's2c']).optional(),
  tools: z.array(json()).max(listCount).optional(),
  session: z.strictObject(Object.fromEntries(Object.keys(newCounts()).map((name) => [name, wholeNumber()]))).optional(),
  message: json().optional(),
  raw: z.string().optional(),
  request: json().optional(),
  times: z.int().min(1).max(timesMost).optional(),
  everyMs: wholeNumber(),
  expect: z.enum(['pass', 'block', 'flag', 'ask']),
  rule: known(),
  redacts: texts(),
  keeps: texts(),
  capture: z.enum(['none', 'metadata', 'request', 'full']).optional(),
});

const casesShape = z.strictObject({ policy: z.string().min(1), cases: z.array(policyCase).min(1).max(casesCount) });

export interface CasesFile {
  /** As the file says it: relative to the file. */
  policy: string;
  cases: (PolicyCase & { line: number })[];
}

/** Never throws, for any text. `file` only without problems. */
export function parseCases(text: string): { file?: CasesFile; problems: ConfigProblem[] } {
  const problem = (line: number, column: number, path: string, message: string, hint?: string): ConfigProblem => ({
    line,
    column,
    path,
    message,
    ...(hint === undefined ? {} : { hint }),
    severity: 'error',
  });
  if (utf8(text).length > fileBytes) return { problems: [problem(1, 1, '', `the file has more than ${fileBytes.toLocaleString('en')} bytes`)] };
  const yaml = parseYaml(text);
  if (yaml.errors.length > 0)
    return {
      problems: yaml.errors.map(({ position, path, message, hint }) => problem(position.line, position.column, pathText(path), message, hint)),
    };
  const value = yaml.value ?? {};
  const parsed = casesShape.safeParse(value);
  const findings: PlacedFinding[] = parsed.success ? [] : explain(casesShape, value, parsed.error.issues);
  if (parsed.success) {
    for (const [i, one] of parsed.data.cases.entries()) {
      const path = ['cases', i];
      if ((one.message === undefined) === (one.raw === undefined))
        findings.push({ path, message: `${quoted(one.name)} needs \`message\` or \`raw\`, and not both` });
    }
  }
  if (findings.length > 0 || !parsed.success) {
    const problems = findings.map(({ path, key, message, hint }) => {
      const { line, column } = key === true ? yaml.atKey(path) : yaml.at(path);
      return problem(line, column, pathText(path), message, hint);
    });
    return { problems: problems.sort((a, b) => a.line - b.line || a.column - b.column).slice(0, 1_000) };
  }
  const list = (texts: string | string[] | undefined): string[] | undefined => (typeof texts === 'string' ? [texts] : texts);
  const cases = parsed.data.cases.map((one, i): CasesFile['cases'][number] => ({
    // absent members stay absent: zod's types would have them undefined
    ...(one as PolicyCase),
    ...(one.redacts === undefined ? {} : { redacts: list(one.redacts)! }),
    ...(one.keeps === undefined ? {} : { keeps: list(one.keeps)! }),
    line: yaml.at(['cases', i]).line,
  }));
  return { file: { policy: parsed.data.policy, cases }, problems: [] };
}
