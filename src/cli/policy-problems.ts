/** What is wrong with a file of policy or of cases, as the commands say it. */
import type { ConfigProblem } from '../config/problem.ts';
import { paint, visible, type Output } from './output.ts';

/** Exit status of a file with errors (EX_DATAERR of sysexits.h): the check itself went well, so it is none of `errors.ts`. */
export const hasErrors = 65;

export function problemText(output: Output, file: string, { line, column, severity, message, hint }: ConfigProblem): string {
  const kind = paint(output, severity === 'error' ? 'red' : 'yellow', `${severity}:`);
  return `${visible(file)}:${line}:${column}: ${kind} ${visible(message)}\n${hint === undefined ? '' : `  hint: ${visible(hint)}\n`}`;
}
