/**
 * What every story of the demo is played on: a home of its own, so that nobody's keys and pins are touched; a real MCP client behind `sworn run`; commands of sworn as
 * processes of their own. What comes out is held against what the story says.
 */
import { spawn } from 'node:child_process';
import { Client } from '@modelcontextprotocol/client';
import { getDefaultEnvironment, StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { swornPath } from '../cli/installation.ts';
import { cut, paint, visible, type Output } from '../cli/output.ts';

/** Where one run of the demo keeps everything. */
export interface Stage {
  readonly folder: string;
  readonly home: string;
  readonly ledger: string;
  readonly output: Output;
  readonly failures: string[];
}

export interface Ended {
  readonly status: number | null;
  readonly text: string;
}

/** A client whose server command is `sworn run … -- <command>`, as it would be in the configuration of any MCP client. */
export async function connected(stage: Stage, options: string[], command: string[], isQuiet = false): Promise<Client> {
  const name = options[1]!;
  if (!isQuiet) say(stage, `\n  $ sworn run ${[...options.map(quoted), '--', ...command.map(short)].join(' ')}`);
  const client = new Client({ name: 'demo-agent', version: '1.0.0' });
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [swornPath(), 'run', '--ledger', stage.ledger, ...options, '--', ...command],
    env: { ...getDefaultEnvironment(), HOME: stage.home },
    stderr: 'pipe',
  });
  let complaints = '';
  transport.stderr?.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  try {
    await client.connect(transport);
  } catch (error) {
    throw new Error(`the server ${name} could not be started: ${(error as Error).message}\n${complaints}`, { cause: error });
  }
  return client;
}

/** Calls a tool, shows what came back, and holds it against what the story says. `isError`: a result that says so, or a refusal. */
export async function call(
  stage: Stage,
  client: Client,
  name: string,
  args: Record<string, string>,
  expected: RegExp,
  isError = false,
): Promise<void> {
  let text: string;
  let failed = false;
  try {
    const result = await client.callTool({ name, arguments: args });
    text = result.content.map((item) => (item.type === 'text' ? item.text : `(${item.type})`)).join(' ');
    failed = result.isError ?? false;
  } catch (error) {
    text = (error as Error).message;
    failed = true;
  }
  const shownArgs = Object.values(args).map((value) => short(value.trim()));
  say(stage, `    ${`${name} ${shownArgs.join(' ')}`.padEnd(52)} ${failed ? paint(stage.output, 'red', 'error: ') : ''}${clipped(text)}`);
  expect(stage, expected.test(text) && failed === isError, `${name} answers ${expected.source}, not ${text}`);
}

/** Runs a command of sworn as its own process, in the demo's folder and home. */
export function sworn(stage: Stage, words: string[], home = stage.home): Promise<Ended> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [swornPath(), ...words], {
      cwd: stage.folder,
      // colours would be in what is read here
      env: { ...process.env, HOME: home, FORCE_COLOR: undefined },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.on('error', fail);
    child.on('close', (status) => done({ status, text }));
  });
}

/** Runs a command and shows it with what it said. */
export async function shown(stage: Stage, expected: number, words: string[]): Promise<Ended> {
  say(stage, `\n  $ sworn ${words.map(quoted).join(' ')}`);
  const ended = await sworn(stage, words);
  say(stage, ended.text.trimEnd().replaceAll(/^(?=.)/gm, '    '));
  if (words[0] === 'verify') say(stage, `    (exit status ${ended.status})`);
  expect(stage, ended.status === expected, `sworn ${words[0]} ends with status ${expected}, not ${ended.status}`);
  return ended;
}

export function expect(stage: Stage, holds: boolean, what: string): void {
  if (!holds) stage.failures.push(`expected: ${what}`);
}

export function say(stage: Stage, text: string): void {
  stage.output.out(`${text}\n`);
}

export function chapter(stage: Stage, title: string): void {
  say(stage, `\n${paint(stage.output, 'bold', title)}`);
}

export function clipped(text: string): string {
  return cut(visible(text.replaceAll(/\s+/g, ' ')), 60);
}

/** Paths by their last part: the story is told to people. */
export function short(word: string): string {
  return word.startsWith('/') ? (word.split('/').at(-1) ?? word) : word;
}

export function quoted(word: string): string {
  return /^[\w./:=@-]+$/.test(word) ? word : `'${word}'`;
}
