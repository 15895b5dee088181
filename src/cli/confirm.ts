/** Asks whoever sits there before something goes for ever. */
import { createInterface } from 'node:readline/promises';
import { SwornError } from '../errors.ts';
import type { Output } from './output.ts';

/**
 * Before anything is done, and whatever would be found: a script that forgot `--yes` must not come to know it only once there is something to lose.
 *
 * @throws SwornError `unconfirmed` where nobody can be asked, and nobody said `--yes`
 */
export function checkAnswerable({ yes, dryRun }: { yes?: boolean; dryRun?: boolean }, output: Output): void {
  if (yes === true || dryRun === true || (output.isTTY && process.stdin.isTTY)) return;
  throw new SwornError('unconfirmed', `this cannot be undone, and nobody can be asked: ${output.isTTY ? 'stdin' : 'stdout'} is no terminal`);
}

/** `verb`: what would be done, as in `Erase`. */
export async function confirmed(text: string, verb: string, output: Output): Promise<boolean> {
  output.out(text);
  // what is asked about comes first
  output.err('');
  await output.drained?.();
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await lines.question(`This cannot be undone. ${verb}? [y/N] `)).trim());
  } finally {
    lines.close();
  }
}
