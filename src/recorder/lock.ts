/**
 * One recorder for each ledger: a kernel lock (`flock`) on `run/lock`, which ends with the process however it dies. Without the native part an
 * exclusive SQLite transaction on `run/lock.sqlite` does the same.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { SwornError } from '../errors.ts';
import type { Native } from './native.ts';

export interface Lock {
  kind: 'flock' | 'sqlite';
  release(): void;
}

/**
 * Tries for `waitMs` (a recorder that is ending needs a moment), or until somebody listens at `socket`: of the recorders that many taps start at once,
 * all but one are in the way.
 * @throws SwornError `lock-held`, `ledger-create`
 */
export async function takeLock(ledger: string, native: Native | { missing: string }, waitMs: number, socket: string): Promise<Lock> {
  const run = join(ledger, 'run');
  const until = performance.now() + waitMs;
  try {
    mkdirSync(run, { recursive: true, mode: 0o700 });
    for (;;) {
      const lock = 'lock' in native ? tryFlock(join(run, 'lock'), native) : await trySqlite(join(run, 'lock.sqlite'));
      if (lock !== undefined) return lock;
      if (performance.now() >= until || (await isServed(socket))) {
        throw new SwornError('lock-held', `the ledger ${ledger} is locked by another recorder`);
      }
      await new Promise((done) => setTimeout(done, 20));
    }
  } catch (error) {
    if (error instanceof SwornError) throw error;
    throw new SwornError('ledger-create', `the ledger ${ledger} cannot be locked: ${(error as Error).message}`, {}, { cause: error });
  }
}

/** Does anybody listen there? */
export function isServed(socket: string): Promise<boolean> {
  return new Promise((done) => {
    const probe = connect(socket, () => {
      probe.destroy();
      done(true);
    });
    probe.on('error', () => done(false));
  });
}

function tryFlock(path: string, native: Native): Lock | undefined {
  const fd = openSync(path, 'a', 0o600);
  if (!native.lock(fd)) {
    closeSync(fd);
    return undefined;
  }
  // for people who look; nobody reads it
  try {
    ftruncateSync(fd, 0);
    writeSync(fd, `${process.pid}\n`);
  } catch {
    // a full disk must not keep a recorder from starting
  }
  return { kind: 'flock', release: () => closeSync(fd) };
}

async function trySqlite(path: string): Promise<Lock | undefined> {
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (/locked|busy/i.test((error as Error).message)) return undefined;
    throw error;
  }
  return { kind: 'sqlite', release: () => database.close() };
}
