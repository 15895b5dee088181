import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { clientBlocks, type Machine } from './print-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'sworn-print-'));
afterAll(() => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, 'server.js'), '');
writeFileSync(join(folder, 'npx'), '#!/usr/bin/env node\n', { mode: 0o755 });
writeFileSync(join(folder, 'plain'), '#!/bin/sh\n', { mode: 0o755 });

const machine: Machine = { node: '/opt/node', bin: '/opt/sworn.mjs', cwd: folder, path: `relative:${folder}`, platform: 'linux', home: '/home/ann' };
const block = (client: string, argv: string[]) => clientBlocks(argv, machine).find((one) => one.client === client)!;
const desktop = (argv: string[]) =>
  JSON.parse(block('Claude Desktop', argv).text) as { mcpServers: Record<string, { command: string; args: string[]; env?: object }> };

test('five clients, each with its own shape', () => {
  const blocks = clientBlocks(['--print-config', '--name', 'fs', '--', 'plain', 'x y'], machine);
  expect(blocks.map((one) => one.client)).toEqual(['Claude Desktop', 'Claude Code', 'Cursor', 'VS Code', 'Continue']);
  const args = ['/opt/sworn.mjs', 'run', '--name', 'fs', '--', join(folder, 'plain'), 'x y'];
  expect(JSON.parse(blocks[0]!.text)).toEqual({ mcpServers: { fs: { command: '/opt/node', args } } });
  expect(JSON.parse(blocks[2]!.text)).toEqual({ mcpServers: { fs: { type: 'stdio', command: '/opt/node', args } } });
  expect(JSON.parse(blocks[3]!.text)).toEqual({ servers: { fs: { type: 'stdio', command: '/opt/node', args } } });
  expect(blocks[4]!.text).toContain('  - name: "fs"\n    type: stdio\n    command: "/opt/node"\n    args:\n      - "/opt/sworn.mjs"');
});

test("a shell gives Claude Code's line back unchanged", () => {
  const line = block('Claude Code', ['--name', "it's", '--', 'plain', `a'b"c $HOME`]).text;
  const words = execFileSync('/bin/sh', ['-c', line.replace(/^claude/, 'printf "%s\\n"')], { encoding: 'utf8' }).split('\n');
  expect(words.slice(0, 3)).toEqual(['mcp', 'add-json', "it's"]);
  expect((JSON.parse(words[3]!) as { args: string[] }).args.at(-1)).toBe(`a'b"c $HOME`);
});

test('files become absolute, words stay', () => {
  const { args } = desktop(['--ledger', 'audit', '--socket=s.sock', '--', 'node', 'server.js', 'plain', '--x=./server.js', './none']).mcpServers[
    'server'
  ]!;
  expect(args).toEqual([
    '/opt/sworn.mjs',
    'run',
    '--ledger',
    join(folder, 'audit'),
    `--socket=${join(folder, 's.sock')}`,
    '--name',
    'server',
    '--',
    'node',
    join(folder, 'server.js'),
    'plain',
    '--x=./server.js',
    './none',
  ]);
});

test('a script that looks for its interpreter in PATH gets one', () => {
  const entry = desktop(['--', 'npx', '-y', '@modelcontextprotocol/server-filesystem@2026.8.31', '/some/dir']).mcpServers['server-filesystem']!;
  expect(entry.env).toEqual({ PATH: `/opt:${folder}:/usr/local/bin:/usr/bin:/bin` });
  expect(desktop(['--', 'plain']).mcpServers['plain']!.env).toBeUndefined();
});

test('the command needs no `--` before it', () => {
  expect(desktop(['--print-config', '--name', 'fs', 'plain', '--', 'x']).mcpServers['fs']!.args).toEqual([
    '/opt/sworn.mjs',
    'run',
    '--name',
    'fs',
    '--',
    join(folder, 'plain'),
    '--',
    'x',
  ]);
});

test('no command is a usage error', () => {
  expect(() => clientBlocks(['--name', 'x'], machine)).toThrow(expect.objectContaining({ code: 'usage' }));
  expect(() => clientBlocks(['--'], machine)).toThrow(expect.objectContaining({ code: 'usage' }));
});

test('a server behind HTTP needs no command', () => {
  const words = ['--url', 'https://mcp.example.com/mcp', '--header-file', 'h', '--ca=c.pem', '--header-env', 'Authorization=TOKEN'];
  expect(desktop(['--print-config', ...words]).mcpServers['mcp.example.com']).toEqual({
    command: '/opt/node',
    args: [
      '/opt/sworn.mjs',
      'run',
      '--url',
      'https://mcp.example.com/mcp',
      '--header-file',
      join(folder, 'h'),
      `--ca=${join(folder, 'c.pem')}`,
      '--header-env',
      'Authorization=TOKEN',
      '--name',
      'mcp.example.com',
    ],
  });
});
