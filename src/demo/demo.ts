/**
 * `sworn demo`: a real MCP client drives real MCP servers through `sworn run`; then the reading commands say what happened, `verify` confirms it,
 * one byte of a copy is changed, and `verify` finds it. Nothing shown here is made up: every result is checked, and the exit status is 0 only when
 * everything came out as told.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Client } from '@modelcontextprotocol/client';
import { installation } from '../cli/installation.ts';
import type { CommandHelp } from '../cli/help.ts';
import type { Output } from '../cli/output.ts';
import { SwornError } from '../errors.ts';
import { tileWidth } from '../limits.ts';
import { call, chapter, connected, expect, say, shown, sworn, type Stage } from './stage.ts';

export const demoHelp: CommandHelp = {
  options: [
    {
      flags: '--story <story>',
      description:
        '`hr` (default): an agent reads pay, and one changed byte is found; `cover-up`: an agent drops a table in a freeze, then edits, cuts, re-signs and restores the record, with and without a witness',
    },
    { flags: '--ledger <dir>', description: 'keep the ledger in this new folder (default: a temporary one)' },
  ],
  example: 'sworn demo --story cover-up',
};

export async function demoCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const story = (values['story'] as string | undefined) ?? 'hr';
  if (story !== 'hr' && story !== 'cover-up') throw usage(`there is no story ${story}: it is hr or cover-up`);
  const asked = values['ledger'] as string | undefined;
  if (asked !== undefined && existsSync(asked) && readdirSync(asked).length > 0) throw usage(`the folder ${resolve(asked)} is not empty`);
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sworn-demo-')));
  const ledger = asked === undefined ? join(folder, 'ledger') : resolve(asked);
  const stage: Stage = { folder, home: join(folder, 'home'), ledger, output, failures: [] };
  mkdirSync(stage.home, { mode: 0o700 });
  if (story === 'hr') return await hrStory(stage);
  const { coverUpStory } = await import('./cover-up.ts');
  return await coverUpStory(stage, asked !== undefined);
}

async function hrStory(stage: Stage): Promise<number> {
  const { folder, ledger } = stage;
  const report = join(folder, 'report.html');
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

    chapter(stage, '5. The whole story in one file, which checks itself');
    await shown(stage, 0, ['report', '--ledger', ledger, '-o', report]);
    expect(stage, (await sworn(stage, ['verify', report])).status === 0, 'the report holds');
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
  say(stage, `  open it in a browser   ${report}`);
  say(stage, `  look at it again       sworn log --ledger ${ledger}`);
  say(stage, '  record your own        sworn run -- <server command>');
  say(stage, '  in your MCP client     sworn run --print-config -- <server command>');
  return 0;
}

async function hrSession(stage: Stage): Promise<void> {
  const server = join(installation(), 'dist', 'demo', 'hr-server.mjs');
  const hr = await connected(stage, ['--name', 'hr', '--sensitive', 'get_pay*'], [process.execPath, server]);
  await countTools(stage, hr);
  await call(stage, hr, 'search_employees', { query: 'engineer' }, /Ada Okafor/);
  await call(stage, hr, 'get_pay_info', { id: 'e-101' }, /128000/);
  await call(stage, hr, 'search_employees', { query: 'finance' }, /Rosa Alvarez/);
  await call(stage, hr, 'get_pay_info', { id: 'e-201' }, /119000/);
  await call(stage, hr, 'read_rulebook', {}, /recorded and kept/);
  await call(stage, hr, 'submit_time_off', { id: 'e-102', from: '2026-12-21', until: '2026-12-31' }, /submitted/);
  await call(stage, hr, 'get_employee', { id: 'e-999' }, /no employee e-999/, true);
  await hr.close();
}

async function countTools(stage: Stage, client: Client): Promise<void> {
  const { tools } = await client.listTools();
  say(stage, `    ${tools.length} tools`);
}

/** Only where the official filesystem server is installed, which is so in a checkout. */
async function filesystemSession(stage: Stage, folder: string): Promise<void> {
  const server = filesystemServer();
  if (server === undefined) return;
  const files = join(folder, 'files');
  mkdirSync(files);
  writeFileSync(join(files, 'plan.txt'), 'Plan for December\n');
  const fs = await connected(stage, ['--name', 'files'], [process.execPath, server, files]);
  await countTools(stage, fs);
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

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'demo' });
}
