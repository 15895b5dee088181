/** `sworn recorder start|status|stop`: the daemon from outside, over its socket. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SwornError } from '../errors.ts';
import { recorderWaitMs } from '../limits.ts';
import { ask } from '../wire/ask.ts';
import { defaultLedger, socketPathOf } from '../wire/socket-path.ts';
import { swornPath } from './installation.ts';
import type { CommandHelp } from './main.ts';
import type { Output } from './output.ts';

export const recorderHelp: CommandHelp = {
  options: [
    { flags: '--ledger <dir>', description: 'the ledger (default: ~/.local/state/sworn)' },
    { flags: '--socket <path>', description: 'where the recorder listens, if not at the place that follows from the ledger' },
    { flags: '--json', description: 'status and stop: print the answer as one JSON object' },
    { flags: '--foreground', description: 'start: stay in the foreground, for a service manager' },
    { flags: '--group <group>', description: 'start --foreground: open the socket to this group' },
  ],
  example: 'sworn recorder status',
};

interface RecorderOptions {
  action?: string;
  ledger?: string;
  socket?: string;
  json?: boolean;
}

export async function recorderCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as RecorderOptions;
  const ledger = resolve(options.ledger ?? defaultLedger());
  const socketPath = options.socket ?? socketPathOf(ledger);
  switch (options.action ?? 'status') {
    case 'start':
      await start(ledger, options.socket, socketPath);
      output.out(`a recorder listens at ${socketPath}\n`);
      return 0;
    case 'stop': {
      const answer = await ask(socketPath, 'stop');
      await gone(socketPath);
      output.out(options.json ? `${JSON.stringify(answer)}\n` : `the recorder of ${ledger} has stopped\n`);
      return 0;
    }
    default: {
      const answer = await ask(socketPath, 'status');
      output.out(options.json ? `${JSON.stringify(answer)}\n` : statusText(answer));
      return 0;
    }
  }
}

async function listens(socketPath: string): Promise<boolean> {
  try {
    await ask(socketPath, 'status');
    return true;
  } catch {
    return false;
  }
}

/** Starts a recorder in the background as the tap does, unless one listens already. */
async function start(ledger: string, socket: string | undefined, socketPath: string): Promise<void> {
  if (await listens(socketPath)) return;
  const child = spawn(
    process.execPath,
    [swornPath(), 'recorder', 'start', '--daemon', '--ledger', ledger, ...(socket ? ['--socket', resolve(socket)] : [])],
    {
      detached: true,
      stdio: 'ignore',
      cwd: '/',
      env: allowed(process.env),
    },
  );
  const ended: string[] = [];
  child.on('error', (error) => ended.push(error.message));
  child.on('exit', (status, signal) => ended.push(`it ended with ${signal ?? `status ${status}`}`));
  child.unref();
  const until = Date.now() + recorderWaitMs;
  while (Date.now() < until && ended.length === 0) {
    await sleep(25);
    if (await listens(socketPath)) return;
  }
  const log = join(ledger, 'run', 'recorder.log');
  throw new SwornError(
    'recorder-unreachable',
    `the recorder of ${ledger} did not start: ${ended[0] ?? `no answer within ${recorderWaitMs / 1000} s`}; see ${log}`,
  );
}

/** A daemon keeps no secrets of the shell that happened to start it. */
function allowed(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept: NodeJS.ProcessEnv = {};
  for (const name of ['HOME', 'PATH', 'TZ', 'LANG', 'LC_ALL', 'TMPDIR']) if (environment[name] !== undefined) kept[name] = environment[name];
  return kept;
}

/** The socket goes last but for the `stop` entry: wait until nobody answers. */
async function gone(socketPath: string): Promise<void> {
  const until = Date.now() + recorderWaitMs;
  while (existsSync(socketPath) && Date.now() < until) await sleep(20);
}

function statusText(answer: Record<string, unknown>): string {
  const width = Math.max(...Object.keys(answer).map((key) => key.length));
  return Object.entries(answer)
    .map(([key, value]) => `${key.padEnd(width)}  ${typeof value === 'string' ? value : JSON.stringify(value)}\n`)
    .join('');
}
