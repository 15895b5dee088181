/** Where evidence goes: a file that nobody else can read, put in the place of another one only when it is whole; or, for `-`, stdout. */
import { closeSync, openSync, renameSync, rmSync, statSync, writeSync, type Stats } from 'node:fs';
import { SwornError } from '../errors.ts';

/** As `-o`: the evidence itself is written to stdout, and what is said of it to stderr. */
export const toStdout = '-';

/** @throws SwornError `output` for what is no file: a rename would put one in the place of a device or a pipe */
export function checkReplaceable(path: string): void {
  let stat: Stats | undefined;
  try {
    stat = statSync(path, { throwIfNoEntry: false });
  } catch {
    // what cannot be looked at cannot be written either: that says why
    return;
  }
  if (stat?.isFile() === false) throw new SwornError('output', `${path} is there already, and is no file`);
}

/** Writes a file whole or not at all; how long it is. Errors of the file system are thrown. */
export function writeEvidence(path: string, make: (write: (bytes: Uint8Array) => void) => void): number {
  const aside = `${path}.${process.pid}.tmp`;
  let sizeBytes = 0;
  try {
    const file = openSync(aside, 'w', 0o600);
    try {
      make((bytes) => {
        for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
        sizeBytes += bytes.length;
      });
    } finally {
      closeSync(file);
    }
    renameSync(aside, path);
    return sizeBytes;
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
}
