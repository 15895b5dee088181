/** Which ledgers a reading command reads: `--ledger` (several times), else `SWORN_LEDGER`, else the default one. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { SwornError } from '../errors.ts';

/** Not under `XDG_STATE_HOME`: MCP clients strip it, and a shell would then read another ledger than they write. */
export function defaultLedgerPath(): string {
  return join(homedir(), '.local', 'state', 'sworn');
}

/** Absolute paths, at least one. */
export function ledgerPaths(given: string | readonly string[] | undefined): string[] {
  const list = typeof given === 'string' ? [given] : (given ?? []);
  const paths = list.length > 0 ? list : [process.env['SWORN_LEDGER'] || defaultLedgerPath()];
  return [...new Set(paths.map((path) => resolve(path)))];
}

/** @throws SwornError `usage` when several are given to a command that reads one */
export function oneLedgerPath(given: string | readonly string[] | undefined, command: string): string {
  const paths = ledgerPaths(given);
  if (paths.length > 1) throw new SwornError('usage', `\`sworn ${command}\` reads one ledger: give --ledger once`, { command });
  return paths[0]!;
}
