/** A ledger's beginning, against a size and root that somebody has kept. */
import { equal } from '../bytes/bytes.ts';
import type { FindingCode, Severity } from './finding.ts';

export interface Known {
  size: number;
  root: Uint8Array;
}

type Say = (severity: Severity, code: FindingCode, message: string) => void;

/** `root`: of the first `known.size` entries, as they are now. Whether they are those that were known. */
export function isContinued(root: Uint8Array, known: Known, say: Say): boolean {
  if (equal(root, known.root)) return true;
  say('rollback', 'fork', `the first ${known.size} entries are not those that were known: history was rewritten, or this is another branch`);
  return false;
}

/** The same of evidence of a part, which says what was checked. */
export function compareKnown(root: Uint8Array, known: Known, checked: string[], say: Say): void {
  if (isContinued(root, known, say)) checked.push(`that the checkpoint continues the ${known.size} entries known before`);
}
