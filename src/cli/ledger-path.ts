/** Which ledgers a reading command reads: `--ledger` (several times), else `SWORN_LEDGER`, else the default one. */
import { resolve } from 'node:path';
import { SwornError } from '../errors.ts';
import { defaultLedger } from '../wire/socket-path.ts';

/** Absolute paths, at least one. */
export function ledgerPaths(given: string | readonly string[] | undefined): string[] {
  const list = typeof given === 'string' ? [given] : (given ?? []);
  const paths = list.length > 0 ? list : [process.env['SWORN_LEDGER'] || defaultLedger()];
  return [...new Set(paths.map((path) => resolve(path)))];
}

/** @throws SwornError `usage` when several are given to a command that reads one */
export function oneLedgerPath(given: string | readonly string[] | undefined, command: string): string {
  const paths = ledgerPaths(given);
  if (paths.length > 1) throw new SwornError('usage', `\`sworn ${command}\` reads one ledger: give --ledger once`, { command });
  return paths[0]!;
}
