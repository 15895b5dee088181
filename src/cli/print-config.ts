/**
 * `sworn run --print-config -- <server command>`: what to paste into five MCP clients, for this machine.
 * Graphical clients start servers with a short PATH and a working directory of their own, so everything that names a file becomes absolute.
 */
import { accessSync, constants, existsSync, openSync, readSync, closeSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { readRunOptions } from '../tap/options.ts';
import { swornPath } from './installation.ts';

/** What the blocks depend on beside the words: an argument, so that tests need no particular machine. */
export interface Machine {
  readonly node: string;
  readonly bin: string;
  readonly cwd: string;
  readonly path: string;
  readonly platform: NodeJS.Platform;
  readonly home: string;
}

export interface ClientBlock {
  readonly client: string;
  /** The file to paste into, or where to type. */
  readonly where: string;
  readonly text: string;
}

/** Options of `run` whose value is a path. */
const pathOptions = new Set(['--ledger', '--socket', '--config', '--header-file', '--ca']);
const runners = new Set(['npx', 'node', 'bunx', 'bun', 'deno', 'uvx', 'uv', 'python', 'python3', 'pnpm', 'yarn', 'docker', 'run', 'exec', 'dlx']);

/** `argv` is what follows `sworn run`. */
export function clientBlocks(argv: readonly string[], machine: Machine): ClientBlock[] {
  const { command, remote } = readRunOptions(argv); // refuses what the tap would refuse
  const options = absoluteOptions(argv.slice(0, argv.length - command.length), machine);
  let name = valueOf(options, '--name');
  if (name === undefined) {
    name = remote === undefined ? nameOf(command) : hostOf(remote.get('--url')!.at(-1)!);
    options.push('--name', name);
  }
  const started = remote === undefined ? absoluteCommand(command, machine) : [];
  const entry = {
    command: machine.node,
    args: [machine.bin, 'run', ...options, ...(remote === undefined ? ['--', ...started] : [])],
    ...(remote === undefined && needsPath(started[0]!)
      ? { env: { PATH: [...new Set([dirname(machine.node), dirname(started[0]!), '/usr/local/bin', '/usr/bin', '/bin'])].join(delimiter) } }
      : {}),
  };
  const typed = { type: 'stdio', ...entry };
  const desktop =
    machine.platform === 'darwin'
      ? join(machine.home, 'Library/Application Support/Claude/claude_desktop_config.json')
      : join(machine.home, '.config/Claude/claude_desktop_config.json');
  return [
    { client: 'Claude Desktop', where: desktop, text: json({ mcpServers: { [name]: entry } }) },
    { client: 'Claude Code', where: 'in a shell', text: `claude mcp add-json ${shellWord(name)} ${shellWord(JSON.stringify(typed))}` },
    { client: 'Cursor', where: join(machine.home, '.cursor/mcp.json'), text: json({ mcpServers: { [name]: typed } }) },
    { client: 'VS Code', where: '.vscode/mcp.json', text: json({ servers: { [name]: typed } }) },
    { client: 'Continue', where: join(machine.home, '.continue/config.yaml'), text: yaml({ name, ...typed }) },
  ];
}

/** Prints the blocks; the exit status. */
export function printConfig(argv: readonly string[]): number {
  const machine: Machine = {
    node: process.execPath,
    bin: swornPath(),
    cwd: process.cwd(),
    path: process.env['PATH'] ?? '',
    platform: process.platform,
    home: homedir(),
  };
  // whoever reads may have enough (`| head`)
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  for (const { client, where, text } of clientBlocks(argv, machine)) process.stdout.write(`# ${client}: ${where}\n${text}\n\n`);
  return 0;
}

function hostOf(url: string): string {
  return URL.parse(url)?.hostname ?? 'server';
}

function absoluteOptions(options: readonly string[], machine: Machine): string[] {
  const result: string[] = [];
  for (let i = 0; i < options.length; i++) {
    const word = options[i]!;
    if (word === '--print-config' || word === '--') continue;
    const equals = word.indexOf('=');
    if (equals > 0 && pathOptions.has(word.slice(0, equals)))
      result.push(`${word.slice(0, equals + 1)}${resolve(machine.cwd, word.slice(equals + 1))}`);
    else if (pathOptions.has(word) && i + 1 < options.length) result.push(word, resolve(machine.cwd, options[++i]!));
    else result.push(word);
  }
  return result;
}

function valueOf(options: readonly string[], name: string): string | undefined {
  const at = options.indexOf(name);
  if (at >= 0) return options[at + 1];
  return options.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** A name that says more than `npx`: the base name of the first word that is neither a flag nor a runner. */
function nameOf(command: readonly string[]): string {
  const plain = command.filter((word) => !word.startsWith('-'));
  const telling = plain.find((word) => !runners.has(basename(word))) ?? plain[0] ?? command[0]!;
  // `@scope/name@version` → `name`
  return (
    basename(telling)
      .replace(/(?<=.)@.*$/, '')
      .replace(/\.[a-z0-9]{1,3}$/i, '') || 'server'
  );
}

function absoluteCommand(command: readonly string[], machine: Machine): string[] {
  const [first, ...rest] = command as [string, ...string[]];
  // An argument that names something here would name nothing from the client's own directory. A bare word may be a sub-command: left alone.
  const words = rest.map((word) =>
    !word.startsWith('-') && /[./]/.test(word) && !isAbsolute(word) && existsSync(resolve(machine.cwd, word)) ? resolve(machine.cwd, word) : word,
  );
  return [programOf(first, machine), ...words];
}

function programOf(word: string, machine: Machine): string {
  if (word.includes('/')) return resolve(machine.cwd, word);
  for (const folder of machine.path.split(delimiter)) {
    // npm's scripts put folders of the checkout in front; what they hold moves with it
    if (folder === '' || !isAbsolute(folder)) continue;
    const path = join(folder, word);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // not in this folder
    }
  }
  return word;
}

/** Whether `program` is a script that looks its interpreter up in PATH (npx does). */
function needsPath(program: string): boolean {
  try {
    const file = openSync(program, 'r');
    const head = Buffer.alloc(19);
    readSync(file, head, 0, head.length, 0);
    closeSync(file);
    return head.toString('latin1').startsWith('#!/usr/bin/env');
  } catch {
    return false;
  }
}

function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

function shellWord(word: string): string {
  return /^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** One item of Continue's list. JSON strings are YAML strings. */
function yaml(server: { name: string; type: string; command: string; args: string[]; env?: Record<string, string> }): string {
  const lines = [
    'mcpServers:',
    `  - name: ${JSON.stringify(server.name)}`,
    `    type: ${server.type}`,
    `    command: ${JSON.stringify(server.command)}`,
    '    args:',
  ];
  for (const word of server.args) lines.push(`      - ${JSON.stringify(word)}`);
  if (server.env) {
    lines.push('    env:');
    for (const [key, value] of Object.entries(server.env)) lines.push(`      ${key}: ${JSON.stringify(value)}`);
  }
  return lines.join('\n');
}
