/**
 * Starts the server: no shell, argv, cwd and environment as given, in a process group of its own so that everything it starts can be ended with it.
 * Its stderr is the client's stderr.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { PassThrough, type Readable, type Writable } from 'node:stream';

export interface ServerProcess extends EventEmitter {
  /** Absent when it could not be started: `error` follows. */
  readonly pid?: number | undefined;
  readonly stdin: Writable;
  readonly stdout: Readable;
  kill(signal: NodeJS.Signals): boolean;
}

export function spawnServer(command: readonly string[]): ServerProcess {
  const [file, ...args] = process.platform === 'win32' ? windowsCommand(command) : command;
  try {
    return spawn(file!, args, {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: process.platform !== 'win32',
      shell: false,
      windowsHide: true,
      windowsVerbatimArguments: process.platform === 'win32' && file !== command[0],
    }) satisfies ChildProcessByStdio<Writable, Readable, null>;
  } catch (error) {
    return unstarted(error as Error);
  }
}

/** Node reports some failures (no such file) by an event and throws the others (a path through a file, too many arguments): here all are events. */
function unstarted(error: Error): ServerProcess {
  const stdout = new PassThrough();
  stdout.end();
  const server = Object.assign(new EventEmitter(), { stdin: new PassThrough().resume(), stdout, kill: () => false });
  process.nextTick(() => server.emit('error', error));
  return server;
}

/** Signals the server's whole process group; nothing happens when none of it is left. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal);
  } catch {
    // ESRCH: all gone
  }
}

/**
 * Windows starts `.cmd` and `.bat` files (npm's shims) only through cmd.exe, which reads its arguments twice: once as a command line, once for the
 * batch file. Everything is quoted for the C runtime, then every metacharacter of cmd is escaped twice. Untried on Windows; unit-tested.
 */
export function windowsCommand(command: readonly string[]): string[] {
  const [file, ...args] = command as [string, ...string[]];
  if (!/\.(cmd|bat)$/i.test(file)) return [...command];
  const line = [escapeMeta(quoteForRuntime(file)), ...args.map((arg) => escapeMeta(escapeMeta(quoteForRuntime(arg))))].join(' ');
  return [process.env['ComSpec'] ?? 'cmd.exe', '/d', '/s', '/c', `"${line}"`];
}

/** Quotes one argument as the Microsoft C runtime splits it: backslashes before a quote are doubled. */
function quoteForRuntime(arg: string): string {
  return `"${arg.replace(/(\\*)"/g, '$1$1\\"').replace(/(\\*)$/, '$1$1')}"`;
}

function escapeMeta(text: string): string {
  return text.replace(/([()\][%!^"`<>&|;, *?])/g, '^$1');
}
