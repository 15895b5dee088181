/**
 * Starts the server: no shell, argv, cwd and environment as given, in a process group of its own so that everything it starts can be ended with it.
 * Its stderr is the client's stderr.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

export type ServerProcess = ChildProcessByStdio<Writable, Readable, null>;

export function spawnServer(command: readonly string[]): ServerProcess {
  const [file, ...args] = process.platform === 'win32' ? windowsCommand(command) : command;
  return spawn(file!, args, {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: process.platform !== 'win32',
    shell: false,
    windowsHide: true,
    windowsVerbatimArguments: process.platform === 'win32' && file !== command[0],
  });
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
