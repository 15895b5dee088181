/**
 * Where a ledger's recorder listens (`spec/wire.md`). Tap and recorder compute it alike, from the ledger's path and the process's own uid,
 * never from the environment, which MCP clients strip.
 */
import { existsSync, lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { SwornError } from '../errors.ts';
import { socketPathBytes } from '../limits.ts';

/** The ledger of a user who names none. Not under `XDG_STATE_HOME`: clients strip it, and a shell would then read another ledger. */
export function defaultLedger(): string {
  return join(homedir(), '.local', 'state', 'sworn');
}

/** Where a path leads: without symbolic links, as far as it exists. Two names of one ledger must lead to one recorder. */
export function ledgerPath(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(ledgerPath(parent), basename(absolute));
  }
}

/** FNV-1a, 64 bit, 16 hex digits, of the absolute path without symbolic links. Not a secret and not evidence: `welcome` repeats the path. */
export function socketId(ledger: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(ledgerPath(ledger))) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn;
  return hash.toString(16).padStart(16, '0');
}

/** The socket of a ledger. Does not create anything. */
export function socketPathOf(ledger: string): string {
  const uid = process.getuid?.() ?? 0;
  const runtime = `/run/user/${uid}`;
  const folder = existsSync(runtime) ? `${runtime}/sworn` : `/tmp/sworn-${uid}`;
  return `${folder}/${socketId(ledger)}.sock`;
}

/**
 * Makes sure that the folder of a default socket exists, belongs to us and is closed to others: in a shared `/tmp` anybody could have put one there.
 * @throws SwornError `socket-unsafe`
 */
export function prepareSocketFolder(socketPath: string): void {
  const folder = resolve(socketPath, '..');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const stat = lstatSync(folder);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0) {
    throw new SwornError('socket-unsafe', `the socket folder ${folder} is not a folder of yours that is closed to others`);
  }
}

/** @throws SwornError `socket-path` when the path is too long for a Unix socket */
export function checkSocketPath(socketPath: string): void {
  const sizeBytes = Buffer.byteLength(socketPath);
  if (sizeBytes > socketPathBytes) throw new SwornError('socket-path', `the socket path has ${sizeBytes} bytes: ${socketPath}`);
}
