/** `sworn verify` on whatever it is given: a ledger's directory, an address, a proof, a bundle, a report. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { SwornError } from '../errors.ts';
import { isAddress, verifyCommand, type VerifyOutput } from './verify.ts';
import { verifyProofCommand } from './verify-proof.ts';
import { isBundleFolder, verifyBundleCommand } from './verify-bundle.ts';
import type { TrustOptions } from './trust-files.ts';
import type { VerifyReportOptions } from './verify-report.ts';

export interface VerifyAnyOptions extends TrustOptions {
  what: string;
  /** It was named as a ledger, or is the one that is checked without being named: nothing else is looked for there. */
  isLedger?: boolean;
  json: boolean;
  payloads?: boolean;
  workers?: number;
  threadProgram?: URL;
  /** Checks reports: handed in, since the verifier that is one file does without. */
  reports?: (options: VerifyReportOptions, output: VerifyOutput) => Promise<number>;
}

/**
 * @returns the exit status: 0 holds, 1 tampered, 3 cannot conclude, 4 policy not met, 5 fork or rollback
 * @throws (rejects) SwornError `unreadable`, `usage` for what is nothing of ours, and as `verifyCommand`
 */
export async function verifyAny(options: VerifyAnyOptions, output: VerifyOutput): Promise<number> {
  try {
    return await verifyWhat(options, output);
  } catch (error) {
    // said by the system of a file, and no defect of ours; of single files in a ledger or a bundle it is a finding
    if (!(error as NodeJS.ErrnoException).syscall) throw error;
    throw new SwornError('unreadable', `${options.what} cannot be read: ${(error as Error).message}`, {}, { cause: error });
  }
}

async function verifyWhat({ what, isLedger, reports, ...options }: VerifyAnyOptions, output: VerifyOutput): Promise<number> {
  if (isLedger) return verifyCommand({ ...options, ledger: what }, output);
  const stat = isAddress(what) ? undefined : statSync(what, { throwIfNoEntry: false });
  if (stat?.isDirectory() && isBundleFolder(what, options)) return verifyBundleCommand({ ...options, bundle: what }, output);
  if (!stat || stat.isDirectory()) return verifyCommand({ ...options, ledger: what }, output);
  // a pipe or a device is nothing of it: that could wait for ever, and cannot be read again
  const [name, start] = stat.isFile() ? [what, beginning(what)] : ['', ''];
  if (name.endsWith('.tlog-proof') || start.startsWith('c2sp.org/tlog-proof@v1\n')) return verifyProofCommand({ ...options, file: what }, output);
  if (name.endsWith('.tar') || start.startsWith('ustar', 257)) return verifyBundleCommand({ ...options, bundle: what }, output);
  if (/\.html?$/i.test(name) || /<!doctype html/i.test(start)) {
    if (reports !== undefined) return reports({ ...options, report: what }, output);
    throw new SwornError('usage', `${what} is a report, which this one file does not check: use \`sworn verify\``);
  }
  throw new SwornError('usage', `${what} is neither a ledger's directory nor a proof (.tlog-proof), a bundle (.tar) or a report (.html)`);
}

function beginning(path: string): string {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(1024);
    return bytes.toString('latin1', 0, readSync(file, bytes));
  } finally {
    closeSync(file);
  }
}
