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

/** @returns the exit status: 0 holds, 1 tampered, 3 cannot conclude, 4 policy not met, 5 fork or rollback */
export async function verifyAny({ what, isLedger, reports, ...options }: VerifyAnyOptions, output: VerifyOutput): Promise<number> {
  if (isLedger) return verifyCommand({ ...options, ledger: what }, output);
  const stat = isAddress(what) ? undefined : statSync(what, { throwIfNoEntry: false });
  if (stat?.isDirectory() && isBundleFolder(what, options)) return verifyBundleCommand({ ...options, bundle: what }, output);
  if (!stat?.isFile()) return verifyCommand({ ...options, ledger: what }, output);
  if (what.endsWith('.tlog-proof') || beginning(what, 23) === 'c2sp.org/tlog-proof@v1\n')
    return verifyProofCommand({ ...options, file: what }, output);
  if (what.endsWith('.tar') || beginning(what, 262).endsWith('ustar')) return verifyBundleCommand({ ...options, bundle: what }, output);
  if (/\.html?$/i.test(what) || /<!doctype html/i.test(beginning(what, 1024))) {
    if (reports !== undefined) return reports({ ...options, report: what }, output);
    throw new SwornError('usage', `${what} is a report, which this one file does not check: use \`sworn verify\``, { command: 'verify' });
  }
  throw new SwornError('usage', `${what} is neither a ledger's directory nor a proof (.tlog-proof), a bundle (.tar) or a report (.html)`, {
    command: 'verify',
  });
}

function beginning(path: string, lengthBytes: number): string {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(lengthBytes);
    return bytes.subarray(0, readSync(file, bytes, 0, lengthBytes, 0)).toString('latin1');
  } finally {
    closeSync(file);
  }
}
