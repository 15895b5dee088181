/**
 * The recorder as a process: `sworn recorder start --daemon` (started by a tap, ends when idle) or `--foreground` (a service).
 * Order at start: lock → recover → unlink the old socket → listen. At the end: stop accepting → drain → unlink → `stop` entry → release the lock.
 */
import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { errorKinds, SwornError } from '../errors.ts';
import { base64 } from '../bytes/bytes.ts';
import { argumentProblem } from '../bytes/typed.ts';
import { configHome } from '../ledger/keys.ts';
import { parseCheckpoint } from '../tlog/checkpoint.ts';
import { parseNote } from '../tlog/note.ts';
import { SyncError } from '../ledger/files.ts';
import { idleExitMs, recorderWaitMs } from '../limits.ts';
import { checkSocketPath, defaultLedger, ledgerPath, prepareSocketFolder, socketPathOf } from '../wire/socket-path.ts';
import { loadPolicy } from './control.ts';
import { isServed, takeLock } from './lock.ts';
import { loadNative } from './native.ts';
import type { RecorderOptions } from './options.ts';
import { Recorder } from './recorder.ts';
import { version } from '../version.ts';

export async function main(argv: string[]): Promise<number> {
  const { values } = readOptions(argv);
  const ledger = ledgerPath(values.ledger ?? defaultLedger());
  const socket = values.socket === undefined ? socketPathOf(ledger) : resolve(values.socket);
  const logFile = join(ledger, 'run', 'recorder.log');
  const log = (line: string): void => {
    const text = `${new Date().toISOString()} ${line}\n`;
    try {
      if (values.foreground) process.stderr.write(text);
      else appendFileSync(logFile, text, { mode: 0o600 });
    } catch {
      // nowhere to say it: the exit status must do
    }
  };
  // Whatever a stranger's bytes bring up, the log says so and the next recorder recovers.
  process.on('uncaughtException', (error) => {
    log(`defect: ${error.stack}`);
    process.exit(error instanceof SyncError ? errorKinds['sync-failed'].exit : errorKinds.internal.exit);
  });
  process.on('SIGHUP', () => undefined); // until there is something to reload
  process.on('SIGPIPE', () => undefined);
  // whoever started us listens only until we run
  process.stderr.on('error', () => undefined);

  try {
    checkSocketPath(socket);
    const config = values.config === undefined ? undefined : resolve(values.config);
    const continues = values.continues === undefined ? undefined : checkpointIn(values.continues);
    const policy = await loadPolicy(config);
    const native = loadNative();
    checkFolder(ledger);
    const lock = await takeLock(ledger, native, recorderWaitMs, socket);
    // Whoever took the lock files away could have given us what another one holds: it is asked before anything is opened or written.
    if (await isServed(socket)) throw new SwornError('lock-held', `another recorder listens at ${socket}`);
    const groupId = values.group === undefined ? undefined : groupIdOf(values.group);
    if (values.socket === undefined) prepareSocketFolder(socket);
    else if (!existsSync(dirname(socket)))
      throw new SwornError('usage', `the socket's folder ${dirname(socket)} does not exist`, { command: 'recorder' });
    return await new Promise<number>((done) => {
      const recorder = new Recorder(
        {
          ledger,
          keysHome: values.keys === undefined ? configHome() : resolve(values.keys),
          socket,
          ...(groupId === undefined ? {} : { groupId }),
          ...(values.daemon ? { idleMs: values.idle === undefined ? idleExitMs : Number(values.idle) * 1000 } : {}),
          ...(values.mode === undefined ? {} : { modeFloor: values.mode as 'commit' | 'observe' }),
          ...(config === undefined ? {} : { config }),
          ...(continues === undefined ? {} : { continues }),
          version,
          ...(values.foreground ? {} : { logFile }),
        },
        native,
        lock,
        log,
        (status) => {
          // A failed sync leaves nothing that could be closed in order: the kernel releases the lock.
          if (status !== 0) process.exit(status);
          lock.release();
          done(0);
        },
        policy,
      );
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void recorder.end('signal'));
      process.removeAllListeners('SIGHUP').on('SIGHUP', () => void recorder.reload().catch((error: Error) => log(`defect: ${error.stack}`)));
      recorder.listen().catch((error: Error) => {
        log(`cannot listen at ${socket}: ${error.message}`);
        process.exit(error instanceof SwornError ? error.exit : errorKinds['ledger-create'].exit);
      });
    });
  } catch (error) {
    // a tap's recorder that another one forestalled is nothing to report
    if (error instanceof SwornError && !(values.daemon && error.code === 'lock-held')) log(`${error.code}: ${error.message}; ${error.hint}`);
    throw error;
  }
}

function readOptions(argv: string[]) {
  const options = {
    daemon: { type: 'boolean' },
    foreground: { type: 'boolean' },
    ledger: { type: 'string' },
    socket: { type: 'string' },
    group: { type: 'string' },
    keys: { type: 'string' },
    idle: { type: 'string' },
    mode: { type: 'string' },
    config: { type: 'string' },
    continues: { type: 'string' },
  } as const;
  try {
    const parsed = parseArgs({ args: argv, options });
    const { idle, mode } = parsed.values;
    if (idle !== undefined && !(/^\d+(\.\d+)?$/.test(idle) && Number(idle) > 0)) throw new Error('--idle is a number of seconds');
    if (mode !== undefined && mode !== 'commit' && mode !== 'observe') throw new Error('--mode is commit or observe');
    return parsed;
  } catch (error) {
    throw new SwornError('usage', argumentProblem(error, options), { command: 'recorder' });
  }
}

/** What lies in the folder of a ledger without being one: its runtime files, its rows, and what systems and people leave in any folder. */
const besides = /^(?:run|catalog\.sqlite.*|lost\+found|\..*)$/;

/** A ledger begins in a folder of its own. @throws SwornError `ledger-foreign` */
function checkFolder(ledger: string): void {
  if (['payload', 'log/checkpoint', 'log/tile'].some((name) => existsSync(join(ledger, name)))) return;
  let names: string[];
  try {
    names = readdirSync(ledger);
  } catch {
    // there is none yet, or what comes next says why not
    return;
  }
  const other = names.find((name) => !besides.test(name));
  if (other !== undefined) throw new SwornError('ledger-foreign', `${ledger} is no ledger, and not empty: ${other} is in it`);
}

/** @throws SwornError `usage` */
function checkpointIn(path: string): NonNullable<RecorderOptions['continues']> {
  let note: ReturnType<typeof parseNote>;
  try {
    note = parseNote(readFileSync(path));
  } catch (error) {
    throw new SwornError('usage', `--continues ${path} cannot be read: ${(error as Error).message}`, { command: 'recorder' });
  }
  const checkpoint = note && parseCheckpoint(note.text);
  if (checkpoint === undefined) throw new SwornError('usage', `--continues ${path} is not a checkpoint`, { command: 'recorder' });
  return { origin: checkpoint.origin, size: checkpoint.size, root: base64(checkpoint.root) };
}

/** @throws SwornError `usage` for a group that this machine does not know */
function groupIdOf(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${group}:`));
  const id = Number(line?.split(':')[2]);
  if (!Number.isSafeInteger(id)) throw new SwornError('usage', `there is no group ${JSON.stringify(group)} on this machine`, { command: 'recorder' });
  return id;
}
