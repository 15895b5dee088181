/** Asks whoever sits there before something goes for ever. */
import { createInterface } from 'node:readline/promises';
import type { Output } from './output.ts';

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
