/**
 * One recorder for each ledger: a kernel lock (`flock`) on `run/lock`, which ends with the process however it dies. Without the native part an
 * exclusive SQLite transaction on `run/lock.sqlite` does the same.
 *
 * The two kinds do not see each other, and two writers would destroy the ledger. So each holder also leaves its process (pid and start time) in a claim,
 * and then looks at the claim of the other kind: whoever comes second sees the first, and of two at the same time at least one gives way.
 * The claim says where it listens, too: who looks for it elsewhere is told.
 */
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { SwornError } from '../errors.ts';
import { makeFolders } from '../ledger/files.ts';
import type { Native } from './native.ts';
import { startTimeOf } from '../processes.ts';

export interface Lock {
  kind: 'flock' | 'sqlite';
  release(): void;
}

/**
 * Tries for `waitMs` (a recorder that is ending needs a moment), or until somebody listens at `socket`: of the recorders that many taps start at once,
 * all but one are in the way.
 * @throws SwornError `lock-held`, `recorder-elsewhere`, `ledger-create`
 */
export async function takeLock(ledger: string, native: Native | { missing: string }, waitMs: number, socket: string): Promise<Lock> {
  const run = join(ledger, 'run');
  const until = performance.now() + waitMs;
  try {
    makeFolders(run, 0o700);
    for (;;) {
      const lock = 'lock' in native ? tryFlock(join(run, 'lock'), native) : await trySqlite(join(run, 'lock.sqlite'));
      if (lock !== undefined) {
        claim(run, lock.kind, socket);
        if (claimantOf(run, lock.kind === 'flock' ? 'sqlite' : 'flock') === undefined) return lock;
        rmSync(claimPath(run, lock.kind), { force: true });
        lock.release();
      }
      const elsewhere = await servedElsewhere(run, socket);
      if (elsewhere !== undefined) {
        throw new SwornError('recorder-elsewhere', `the recorder of ${ledger} listens at ${elsewhere}, not at ${socket}`, { socket: elsewhere });
      }
      if (performance.now() >= until || (await isServed(socket))) {
        throw new SwornError('lock-held', `the ledger ${ledger} is locked by another recorder`);
      }
      // not in step with another that also gives way
      await new Promise((done) => setTimeout(done, 10 + 20 * Math.random()));
    }
  } catch (error) {
    if (error instanceof SwornError) throw error;
    throw new SwornError('ledger-create', `the ledger ${ledger} cannot be locked: ${(error as Error).message}`, {}, { cause: error });
  }
}

function claimPath(run: string, kind: Lock['kind']): string {
  return join(run, `${kind}.claim`);
}

function claim(run: string, kind: Lock['kind'], socket: string): void {
  try {
    writeFileSync(claimPath(run, kind), `${process.pid} ${startTimeOf(process.pid) ?? ''} ${socket}\n`, { mode: 0o600 });
  } catch {
    // a full disk must not keep a recorder from starting; an older claim of a process that is gone then stays
  }
}

/** The living process that claims the lock of this kind, and where it listens, if it says so. A pid alone may be another process by now. */
function claimantOf(run: string, kind: Lock['kind']): { socket: string | undefined } | undefined {
  let text: string;
  try {
    text = readFileSync(claimPath(run, kind), 'utf8').trim();
  } catch {
    return undefined;
  }
  const [first, startTime = '', ...socket] = text.split(' ');
  const pid = Number(first);
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  const claimant = { socket: socket.length === 0 ? undefined : socket.join(' ') };
  try {
    process.kill(pid, 0);
  } catch (error) {
    // another account's process: alive
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? claimant : undefined;
  }
  return startTime === '' || startTimeOf(pid) === startTime ? claimant : undefined;
}

/** Where the holder of the lock listens, if that is another place. */
async function servedElsewhere(run: string, socket: string): Promise<string | undefined> {
  for (const kind of ['flock', 'sqlite'] as const) {
    const claimed = claimantOf(run, kind)?.socket;
    if (claimed !== undefined && claimed !== socket && (await isServed(claimed))) return claimed;
  }
  return undefined;
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
