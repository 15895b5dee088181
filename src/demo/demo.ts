/**
 * `sworn demo`: a real MCP client drives real MCP servers through `sworn run`; then the reading commands say what happened, `verify` confirms it,
 * one byte of a copy is changed, and `verify` finds it. Nothing shown here is made up: every result is checked, and the exit status is 0 only when
 * everything came out as told.
 */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Client } from '@modelcontextprotocol/client';
import { getDefaultEnvironment, StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { installation, swornPath } from '../cli/installation.ts';
import type { CommandHelp } from '../cli/help.ts';
import { cut, visible, type Output } from '../cli/output.ts';
import { SwornError } from '../errors.ts';
import { tileWidth } from '../limits.ts';

export const demoHelp: CommandHelp = {
  options: [{ flags: '--ledger <dir>', description: 'keep the ledger in this new folder (default: a temporary one)' }],
  example: 'sworn demo',
};

/** Where one run of the demo keeps everything: a home of its own, so that nobody's keys and pins are touched. */
interface Stage {
  readonly home: string;
  readonly ledger: string;
  readonly output: Output;
  readonly failures: string[];
}

export async function demoCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sworn-demo-')));
  const asked = values['ledger'] as string | undefined;
  const ledger = asked === undefined ? join(folder, 'ledger') : resolve(asked);
  if (existsSync(ledger) && readdirSync(ledger).length > 0) throw new SwornError('usage', `the folder ${ledger} is not empty`, { command: 'demo' });
  const stage: Stage = { home: join(folder, 'home'), ledger, output, failures: [] };
  mkdirSync(stage.home, { mode: 0o700 });

  say(stage, 'An agent works with an HR system. Sworn stands between them and records every message before it is delivered.');
  try {
    chapter(stage, '1. The agent works');
    await hrSession(stage);
    await filesystemSession(stage, folder);

    chapter(stage, '2. What did the agent do? Ask the record');
    await shown(stage, 0, ['sessions', '--ledger', ledger]);
    await shown(stage, 0, ['log', '--ledger', ledger, '--method', 'tools/call']);

    chapter(stage, '3. Is the record whole and unchanged?');
    await sworn(stage, ['recorder', 'stop', '--ledger', ledger]);
    await shown(stage, 0, ['verify', ledger]);

    chapter(stage, '4. Somebody hides one reading of pay, in a copy');
    const copy = join(folder, 'copy');
    cpSync(ledger, copy, { recursive: true });
    const index = changeOneByte(stage, copy);
    const { text } = await shown(stage, 1, ['verify', copy]);
    expect(stage, new RegExp(`entry ${index}\\b`).test(text), `verify names record ${index}`);
  } catch (error) {
    stage.failures.push((error as Error).message);
  } finally {
    await sworn(stage, ['recorder', 'stop', '--ledger', ledger]);
  }

  if (stage.failures.length > 0) {
    say(stage, `\nThis did not come out as told:\n${stage.failures.map((failure) => `  ${failure}`).join('\n')}\nThe ledger is in ${ledger}`);
    return 1;
  }
  chapter(stage, 'The record holds, and the change was found');
  say(stage, `  look at it again       sworn log --ledger ${ledger}`);
  say(stage, '  record your own        sworn run -- <server command>');
  say(stage, '  in your MCP client     sworn run --print-config -- <server command>');
  return 0;
}

async function hrSession(stage: Stage): Promise<void> {
  const server = join(installation(), 'dist', 'demo', 'hr-server.mjs');
  const hr = await connected(stage, ['--name', 'hr', '--sensitive', 'get_pay*'], [process.execPath, server]);
  await call(stage, hr, 'search_employees', { query: 'engineer' }, /Ada Okafor/);
  await call(stage, hr, 'get_pay_info', { id: 'e-101' }, /128000/);
  await call(stage, hr, 'get_pay_info', { id: 'e-201' }, /119000/);
  await call(stage, hr, 'read_rulebook', {}, /recorded and kept/);
  await call(stage, hr, 'submit_time_off', { id: 'e-102', from: '2026-12-21', until: '2026-12-31' }, /submitted/);
  await call(stage, hr, 'get_employee', { id: 'e-999' }, /no employee e-999/, true);
  await hr.close();
}

/** Only where the official filesystem server is installed, which is so in a checkout. */
async function filesystemSession(stage: Stage, folder: string): Promise<void> {
  const server = filesystemServer();
  if (server === undefined) return;
  const files = join(folder, 'files');
  mkdirSync(files);
  writeFileSync(join(files, 'plan.txt'), 'Plan for December\n');
  const fs = await connected(stage, ['--name', 'files'], [process.execPath, server, files]);
  await call(stage, fs, 'list_directory', { path: files }, /plan\.txt/);
  await call(stage, fs, 'write_file', { path: join(files, 'absences.txt'), content: 'Jonas Lindqvist: 21 to 31 December\n' }, /Successfully wrote/);
  await call(stage, fs, 'read_text_file', { path: join(files, 'absences.txt') }, /Jonas Lindqvist/);
  await fs.close();
}

function filesystemServer(): string | undefined {
  try {
    const manifest = createRequire(join(installation(), 'package.json')).resolve('@modelcontextprotocol/server-filesystem/package.json');
    return join(dirname(manifest), 'dist', 'index.js');
  } catch {
    return undefined;
  }
}

/** A client whose server command is `sworn run … -- <command>`, as it would be in the configuration of any MCP client. */
async function connected(stage: Stage, options: string[], command: string[]): Promise<Client> {
  const name = options[1]!;
  say(stage, `\n  $ sworn run ${[...options.map(quoted), '--', ...command.map(short)].join(' ')}`);
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
  const { tools } = await client.listTools();
  say(stage, `    ${tools.length} tools`);
  return client;
}

/** Calls a tool, shows what came back, and holds it against what the story says. */
async function call(stage: Stage, client: Client, name: string, args: Record<string, string>, expected: RegExp, isError = false): Promise<void> {
  const result = await client.callTool({ name, arguments: args });
  const text = result.content.map((item) => (item.type === 'text' ? item.text : `(${item.type})`)).join(' ');
  const shownArgs = Object.values(args).map((value) => short(value.trim()));
  say(stage, `    ${`${name} ${shownArgs.join(' ')}`.padEnd(52)} ${result.isError ? 'error: ' : ''}${clipped(text)}`);
  expect(stage, expected.test(text) && (result.isError ?? false) === isError, `${name} answers ${expected.source}`);
}

interface Ended {
  readonly status: number | null;
  readonly text: string;
}

/** Runs a command of sworn as its own process, in the demo's home. */
function sworn(stage: Stage, words: string[]): Promise<Ended> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [swornPath(), ...words], { env: { ...process.env, HOME: stage.home }, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.on('error', fail);
    child.on('close', (status) => done({ status, text }));
  });
}

async function shown(stage: Stage, expected: number, words: string[]): Promise<Ended> {
  say(stage, `\n  $ sworn ${words.map(quoted).join(' ')}`);
  const ended = await sworn(stage, words);
  say(stage, ended.text.trimEnd().replaceAll(/^(?=.)/gm, '    '));
  if (words[0] === 'verify') say(stage, `    (exit status ${ended.status})`);
  expect(stage, ended.status === expected, `sworn ${words[0]} ends with status ${expected}, not ${ended.status}`);
  return ended;
}

/** Turns the first recorded `get_pay_info` of the public log into another word; the index of that record. */
function changeOneByte(stage: Stage, ledger: string): number {
  const size = Number(readFileSync(join(ledger, 'log', 'checkpoint'), 'utf8').split('\n')[1]);
  const wanted = Buffer.from('"target":"get_pay_info"');
  for (let tile = 0; tile * tileWidth < size; tile++) {
    const width = Math.min(tileWidth, size - tile * tileWidth);
    const file = join('log', 'tile', 'entries', `${String(tile).padStart(3, '0')}${width < tileWidth ? `.p/${width}` : ''}`);
    const bundle = readFileSync(join(ledger, file));
    // a bundle is a row of entries, each behind its length in 16 bits
    for (let at = 0, i = 0; at < bundle.length; i++) {
      const end = at + 2 + bundle.readUInt16BE(at);
      const found = bundle.subarray(at, end).indexOf(wanted);
      if (found >= 0) {
        const index = tile * tileWidth + i;
        const offset = at + found + wanted.indexOf('pay');
        bundle[offset] = 'd'.charCodeAt(0);
        writeFileSync(join(ledger, file), bundle);
        say(
          stage,
          `\n  One byte of ${join(ledger, file)} is changed:\n  at offset ${offset}, in record ${index}, "get_pay_info" becomes "get_day_info".`,
        );
        return index;
      }
      at = end;
    }
  }
  throw new Error('the record holds no call of get_pay_info');
}

function expect(stage: Stage, holds: boolean, what: string): void {
  if (!holds) stage.failures.push(`expected: ${what}`);
}

function say(stage: Stage, text: string): void {
  stage.output.out(`${text}\n`);
}

function chapter(stage: Stage, title: string): void {
  say(stage, `\n${title}`);
}

function clipped(text: string): string {
  return cut(visible(text.replaceAll(/\s+/g, ' ')), 60);
}

/** Paths by their last part: the story is told to people. */
function short(word: string): string {
  return word.startsWith('/') ? (word.split('/').at(-1) ?? word) : word;
}

function quoted(word: string): string {
  return /^[\w./:=@-]+$/.test(word) ? word : `'${word}'`;
}
