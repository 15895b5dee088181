import { homedir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SwornError } from '../errors.ts';
import { socketPathOf } from '../wire/socket-path.ts';
import { readRunOptions } from './options.ts';

function failure(...argv: string[]): SwornError {
  try {
    readRunOptions(argv);
  } catch (error) {
    expect(error).toBeInstanceOf(SwornError);
    return error as SwornError;
  }
  throw new Error(`${argv.join(' ')} was accepted`);
}

describe('the command line of run [options-strict]', () => {
  test('what is not said', () => {
    const ledger = join(homedir(), '.local', 'state', 'sworn');
    expect(readRunOptions(['--', 'npx', '-y', 'server'])).toEqual({
      command: ['npx', '-y', 'server'],
      ledger,
      socket: socketPathOf(ledger),
      external: false,
      name: 'npx',
      labels: {},
      mode: 'commit',
      onUnrecordable: 'block',
      overrides: { sensitive: [], write: [], read: [] },
      printConfig: false,
      help: false,
    });
  });

  test('everything said, in both spellings', () => {
    const words = [
      '--ledger=/l',
      '--socket',
      '/s.sock',
      '--name=n=1',
      '--client',
      'c',
      '--label',
      'a=b=c',
      '--label=d=',
      '--mode',
      'observe',
      '--on-unrecordable=pass',
      '--sensitive',
      'get_pay*, get_ssn,',
      '--sensitive=x',
      '--write',
      'w',
      '--read',
      'r',
      '--print-config',
    ];
    expect(readRunOptions([...words, 'server', '--name', 'of the server'])).toEqual({
      command: ['server', '--name', 'of the server'],
      ledger: '/l',
      socket: '/s.sock',
      external: true,
      name: 'n=1',
      client: 'c',
      labels: { a: 'b=c', d: '' },
      mode: 'observe',
      onUnrecordable: 'pass',
      overrides: { sensitive: ['get_pay*', 'get_ssn', 'x'], write: ['w'], read: ['r'] },
      printConfig: true,
      help: false,
    });
  });

  test('the last of several counts', () => expect(readRunOptions(['--mode', 'observe', '--mode', 'commit', 'x']).mode).toBe('commit'));

  test('only the first -- is ours', () => expect(readRunOptions(['--', 'x', '--', '-y']).command).toEqual(['x', '--', '-y']));

  test.each([
    ['/usr/bin/node', 'node'],
    ['C:/x/npx.cmd', 'npx'],
    ['server.EXE', 'server'],
    ['/', 'server'],
    ['.cmd', 'server'],
    ['x'.repeat(300), 'x'.repeat(128)],
    ['ß'.repeat(300), 'ß'.repeat(64)],
    [`x${'ß'.repeat(300)}`, `x${'ß'.repeat(63)}`],
  ])('the name of %s', (command, name) => expect(readRunOptions([command]).name).toBe(name));

  test.each([
    [[], /no server command/],
    [['--'], /no server command/],
    [['--', ''], /no server command/],
    [['--name'], /--name needs a value/],
    [['--name', '--', 'x'], /--name needs a value/],
    [['--name', '', 'x'], /--name has 1 to 128 bytes/],
    [['--name', 'ß'.repeat(65), 'x'], /--name has 1 to 128 bytes/],
    [['--client=', 'x'], /--client has 1 to 128 bytes/],
    [['--label', 'a', 'x'], /--label is key=value/],
    [['--label', '=a', 'x'], /--label is key=value/],
    [['--label', `a=${'b'.repeat(127)}`, 'x'], /--label is key=value of at most 128 bytes/],
    [[...Array.from({ length: 17 }, (_, i) => `--label=l${i}=`), 'x'], /at most 16 --label/],
    [['--mode', 'both', 'x'], /--mode is commit or observe, not "both"/],
    [['--on-unrecordable', 'ask', 'x'], /--on-unrecordable is block or pass/],
    [['--sensitive', 'x'.repeat(70_000), 'x'], /--sensitive, --write and --read have at most 65536 bytes/],
    [['--sensitiv', 'x', 'y'], /unknown option --sensitiv; options of the server go behind/],
    [['-v', 'x'], /unknown option -v/],
    [['--verbose=1', 'x'], /unknown option --verbose/],
  ])('%j is refused', (argv, message) => {
    const error = failure(...argv);
    expect(error.code).toBe('usage');
    expect(error.exit).toBe(2);
    expect(error.message).toMatch(message);
  });

  test('a socket path that no socket can have', () => expect(failure('--socket', `/${'x'.repeat(107)}`, 'y').code).toBe('socket-path'));

  test('help needs no command', () => {
    expect(readRunOptions(['--help']).help).toBe(true);
    expect(readRunOptions(['--name', 'x', '-h']).help).toBe(true);
    expect(readRunOptions(['--', 'server', '--help']).help).toBe(false);
  });
});

describe('a server behind HTTP', () => {
  test('everything said of it', () => {
    const words = [
      '--url',
      'https://u:p@mcp.example.com:8443/mcp?k=v',
      '--header',
      'A: b',
      '--header=C: d',
      '--header-file',
      'x',
      '--header-env=E=V',
    ];
    const { command, name, remote } = readRunOptions([...words, '--ca', 'pem', '--connect-timeout', '3', '--answer-timeout=4']);
    expect({ command, name }).toEqual({ command: [], name: 'mcp.example.com' });
    expect(Object.fromEntries(remote!)).toEqual({
      '--url': ['https://u:p@mcp.example.com:8443/mcp?k=v'],
      '--header': ['A: b', 'C: d'],
      '--header-file': ['x'],
      '--header-env': ['E=V'],
      '--ca': ['pem'],
      '--connect-timeout': ['3'],
      '--answer-timeout': ['4'],
    });
  });

  test.each([
    [['--url', 'http://a', '--', 'server'], 'give a server command or --url, not both'],
    [['--header', 'A: b', '--', 'server'], '--header goes with --url'],
    [['--ca=x', '--', 'server'], '--ca goes with --url'],
    [['--url'], '--url needs a value'],
  ])('%j', (words, message) => {
    expect(failure(...words).message).toBe(message);
  });
});
