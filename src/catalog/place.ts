/** Where the catalog of a ledger is. */
import { createHash } from 'node:crypto';
import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * In the ledger's folder where that is ours to write, else below `~/.cache/sworn`: who may read another account's ledger leaves no file there that its owner cannot
 * open. `ledger`: absolute.
 */
export function catalogPathOf(ledger: string): string {
  try {
    if (statSync(ledger).uid === process.getuid?.()) {
      accessSync(ledger, constants.W_OK);
      return join(ledger, 'catalog.sqlite');
    }
  } catch {
    // a copy on a medium that is read-only, or one of another account
  }
  const folder = join(homedir(), '.cache', 'sworn');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return join(folder, `${createHash('sha256').update(ledger).digest('hex').slice(0, 16)}.sqlite`);
}
