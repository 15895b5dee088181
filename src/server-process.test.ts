import { describe, expect, test } from 'vitest';
import { spawnServer, windowsCommand } from './server-process.ts';

/**
 * What cmd.exe does with a line, as far as it matters here: outside quotes a caret makes the next character plain and vanishes. (With every quote
 * escaped there is no inside.) A bare metacharacter would be obeyed: the line is then not safe.
 */
function readByCmd(line: string): string {
  let read = '';
  for (let i = 0; i < line.length; i++) {
    if (line[i] === '^') read += line[++i] ?? '';
    else if (/[()%!"<>&|\n]/.test(line[i]!)) throw new Error(`cmd.exe would obey ${line[i]} in ${line}`);
    else read += line[i];
  }
  return read;
}

/** The batch file hands its arguments on (`%*`), and cmd reads them a second time, quotes as quotes. */
function readTwice(line: string): string {
  return readByCmd(readByCmd(line));
}

/** CommandLineToArgvW: how a program of the Microsoft C runtime splits its command line. */
function splitByRuntime(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quoted = false;
  for (let i = 0; i < line.length;) {
    const slashes = /^\\*/.exec(line.slice(i))![0].length;
    if (line[i + slashes] === '"') {
      word = (word ?? '') + '\\'.repeat(Math.floor(slashes / 2));
      if (slashes % 2 === 1) word += '"';
      else quoted = !quoted;
      i += slashes + 1;
    } else if (slashes > 0) {
      word = (word ?? '') + '\\'.repeat(slashes);
      i += slashes;
    } else if (line[i] === ' ' && !quoted) {
      if (word !== undefined) words.push(word);
      word = undefined;
      i++;
    } else word = (word ?? '') + line[i++]!;
  }
  return word === undefined ? words : [...words, word];
}

describe('a batch file on Windows [windows-cmd]', () => {
  const words = [
    'plain',
    '',
    'two words',
    'say "hi"',
    'back\\slash',
    'ends in backslash\\',
    'ends in two\\\\',
    'quote after backslash\\"x',
    '%PATH%',
    '%%',
    '!DELAYED!',
    'a & b && c | d > e < f',
    '(group)',
    'caret^^',
    '; , = * ?',
    '$(whoami) `id`',
    'C:\\Program Files\\x',
    'ümläut ß 日本',
    '--flag="a b"',
  ];

  test('is started through cmd.exe, and every argument arrives as it was', () => {
    const [comspec, ...rest] = windowsCommand(['C:\\Program Files\\nodejs\\npx.cmd', ...words]);
    expect(comspec).toMatch(/cmd\.exe$/i);
    expect(rest.slice(0, 3)).toEqual(['/d', '/s', '/c']);
    expect(rest).toHaveLength(4);
    // /s: exactly the outer quotes are taken away
    expect(rest[3]).toMatch(/^".*"$/s);
    const line = rest[3]!.slice(1, -1);
    const at = line.indexOf('.cmd') + '.cmd^"'.length;
    expect(splitByRuntime(readByCmd(line.slice(0, at)))).toEqual(['C:\\Program Files\\nodejs\\npx.cmd']);
    expect(splitByRuntime(readTwice(line.slice(at + 1)))).toEqual(words);
  });

  test.each(words)('one argument alone: %j', (word) => {
    const line = windowsCommand(['x.BAT', word])[4]!.slice(1, -1);
    expect(splitByRuntime(readTwice(line.slice('^"x.BAT^" '.length)))).toEqual([word]);
  });

  test('any other program is started as it is', () => {
    for (const command of [['node.exe', 'a b'], ['cmd.exe', '/c', 'x.cmd'], ['npx.cmd.exe'], ['/usr/bin/x.command', '%']]) {
      expect(windowsCommand(command)).toEqual(command);
    }
  });
});

test('whatever keeps a program from starting is an event [spawn-failed]', async () => {
  for (const [command, code] of [
    ['no-such-program-anywhere', 'ENOENT'],
    ['/etc/passwd/x', 'ENOTDIR'],
    ['/etc', 'EACCES'],
    [`/${'x'.repeat(5000)}`, 'ENAMETOOLONG'],
  ] as const) {
    const server = spawnServer([command]);
    const error = await new Promise<NodeJS.ErrnoException>((done) => server.on('error', done));
    expect(error.code).toBe(code);
    expect(server.pid).toBe(undefined);
    expect(server.kill('SIGTERM')).toBe(false);
    server.stdin.on('error', () => undefined);
    server.stdin.write('what a client says is dropped');
  }
});
