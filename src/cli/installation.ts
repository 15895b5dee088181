/** Where this installation keeps its programs, seen from the sources or from a bundle. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SwornError } from '../errors.ts';

/** The folder that holds `bin/sworn.mjs`. */
export function installation(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'bin', 'sworn.mjs'))) return folder;
    if (folder === dirname(folder)) throw new SwornError('internal', 'bin/sworn.mjs of this installation is missing');
  }
}

export function swornPath(): string {
  return join(installation(), 'bin', 'sworn.mjs');
}
