/**
 * Keeps what passes on both sides of the process that it starts: `node shim.ts <folder> <name> -- <command>` writes `<n>.<name>.in` (what its client
 * sent) and `<n>.<name>.out` (what its client got). Shims that stand behind one another find each other by `n`, the pid of the first one, which goes
 * on in the environment.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, writeSync, openSync } from 'node:fs';
import { join } from 'node:path';

const [folder, name, , command, ...args] = process.argv.slice(2) as [string, string, string, string, ...string[]];
const n = process.env['SHIM'] ?? String(process.pid);
mkdirSync(folder, { recursive: true });
const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, SHIM: n } });
// written at once: a shim that is killed leaves what passed before
const received = openSync(join(folder, `${n}.${name}.in`), 'w');
const sent = openSync(join(folder, `${n}.${name}.out`), 'w');

process.stdin.on('data', (chunk: Buffer) => {
  writeSync(received, chunk);
  if (!child.stdin.write(chunk)) process.stdin.pause();
});
child.stdin.on('drain', () => process.stdin.resume());
child.stdin.on('error', () => undefined);
process.stdin.on('end', () => child.stdin.end());

const output = createWriteStream('', { fd: 1 });
output.on('error', () => undefined);
child.stdout.on('data', (chunk: Buffer) => {
  writeSync(sent, chunk);
  if (!output.write(chunk)) child.stdout.pause();
});
output.on('drain', () => child.stdout.resume());

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
child.on('close', (code, signal) => {
  output.end(() => {
    if (signal !== null) {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    } else process.exit(code ?? 1);
  });
});
