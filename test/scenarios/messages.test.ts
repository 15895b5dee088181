import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { node, Stage, sworn, Tap } from './stage.ts';

// a path that would colour the terminal, turn the text round, and hide a part of itself
const steering = 'a\u001b[31m\u202e\u200b\u0007b';
const active = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/;

test('what the tap says on stderr cannot steer a terminal [messages-visible]', async () => {
  const stage = new Stage();
  const missing = await stage.command('run', '--ledger', stage.ledger, '--', `./${steering}`);
  expect(missing.stderr).toContain('cannot be started');
  const option = await stage.command('run', `--${steering}`, '--', 'x');
  expect(option.stderr).toContain('unknown option --a\\x1b[31m\\u{202e}\\u{200b}\\x07b');
  const command = await stage.command(steering);
  const print = await stage.command('run', '--print-config', `--${steering}`, '--', 'x');
  for (const { code, stderr } of [missing, option, command, print]) {
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/^sworn: error: /);
    expect(stderr).not.toMatch(active);
  }
});

test('whoever reads the configuration may stop reading [print-config-pipe]', async () => {
  const stage = new Stage();
  const child = stage.started(
    spawn(node, [sworn, 'run', '--print-config', '--', 'x'], { cwd: stage.folder, env: stage.env, stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  child.stdout.destroy();
  const tap = new Tap(child, true);
  expect(await tap.ended).toEqual({ code: 0, signal: null });
  expect(tap.errors.text).toBe('');
});
