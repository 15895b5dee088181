/** The ledger that is being verified, as everybody knows it who checks a part of it, and what was found. */
import type { Crypto } from '../bytes/crypto.ts';
import { Findings, type FindingCode, type Severity } from './finding.ts';
import type { Source } from './source.ts';

export class Case {
  readonly crypto: Crypto;
  readonly source: Source;
  readonly findings = new Findings();
  /** Entries under the checkpoint. */
  size = 0;
  /** As the first says it that names it: the checkpoint, the `start` entry, a segment. */
  ledgerId: string | undefined;

  constructor({ crypto, source }: { crypto: Crypto; source: Source }) {
    this.crypto = crypto;
    this.source = source;
  }

  say(severity: Severity, code: FindingCode, message: string, at?: { index?: number; path?: string }): void {
    this.findings.add(severity, code, message, at);
  }

  /** An error of the source is a finding. */
  async reading<T>(path: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      this.say('missing', 'unreadable', `${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { path });
      return undefined;
    }
  }
}
