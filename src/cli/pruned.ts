/** What readers say where somebody asks for an entry that is pruned. */
import { SwornError } from '../errors.ts';
import { firstIndexOf } from '../readers/entries.ts';
import { findPruned, prunedBy, type Pruned } from '../verify/pruned.ts';
import { visible } from './output.ts';
import { directorySource } from './verify-files.ts';

/** What the ledger says to be pruned; `undefined` where nothing is missing at its beginning, or nothing says why. */
export async function prunedOf(ledger: string): Promise<Pruned | undefined> {
  return firstIndexOf(ledger) === 0 ? undefined : findPruned(directorySource(ledger));
}

/** Why there is no entry of this index: it is pruned, or there never was one. */
export async function absent(ledger: string, index: number): Promise<SwornError> {
  const pruned = await prunedOf(ledger);
  if (pruned === undefined || index >= pruned.entry.end) return new SwornError('not-found', `there is no entry ${index} in ${ledger}`);
  const by = visible(prunedBy(pruned.entry));
  return new SwornError('pruned', `entry ${index} was pruned ${by}, as entry ${pruned.index} states`, { entry: String(pruned.index) });
}
