import { spawn } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { gone, isAlive, messages, node, official, ours, root, Stage, Tap, type Recorded } from './stage.ts';

vi.setConfig({ testTimeout: 300_000 });

const closeOf = (entries: Recorded[]): Recorded => entries.find(({ kind }) => kind === 'close')!;
const script = (text: string): string[] => [node, '-e', text];
const shell = (text: string): string[] => ['/bin/sh', '-c', text];

describe('the end of the server is the end of sworn [exit-status]', () => {
  test.each([0, 3, 255])('with status %i', async (status) => {
    const stage = new Stage();
    const tap = stage.tap(shell(`echo '{}'; exit ${status}`));
    expect(await tap.ended).toEqual({ code: status, signal: null });
    expect(tap.output.text).toBe('{}\n');
    expect(closeOf(await stage.finished())).toMatchObject({
      reason: 'server exited',
      exitCode: status,
      frames: { c2s: 0, s2c: 1 },
      delivered: [0, 1],
    });
  });

  test.each(['SIGKILL', 'SIGTERM', 'SIGSEGV', 'SIGHUP'] as const)('by %s', async (signal) => {
    const stage = new Stage();
    const tap = stage.tap(shell(`kill -${signal.slice(3)} $$`));
    expect(await tap.ended).toEqual({ code: null, signal });
    const close = closeOf(await stage.finished());
    expect(close).toMatchObject({ reason: 'server exited', signal });
    expect(close).not.toHaveProperty('exitCode');
  });
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s is given to the server, which decides what it means [signal-relay]', async (signal) => {
  const stage = new Stage();
  const tap = stage.tap(
    script(
      `process.on('${signal}', () => { console.log('{"got":"${signal}"}'); process.exit(9); }); console.log('{}'); setInterval(() => {}, 1000);`,
    ),
  );
  await tap.output.count(1);
  tap.process.kill(signal);
  expect(await tap.ended).toEqual({ code: 9, signal: null });
  expect(tap.output.lines).toEqual(['{}', `{"got":"${signal}"}`]);
  expect(closeOf(await stage.finished())).toMatchObject({ reason: 'signal', exitCode: 9, delivered: [0, 2] });
});

test('a signal that the server does not handle ends both by it [signal-relay]', async () => {
  const stage = new Stage();
  const tap = stage.tap(['/bin/cat']);
  await tap.write('{}\n');
  await tap.output.count(1);
  tap.process.kill('SIGTERM');
  expect(await tap.ended).toEqual({ code: null, signal: 'SIGTERM' });
  expect(closeOf(await stage.finished())).toMatchObject({ reason: 'signal', signal: 'SIGTERM' });
});

test('when the client closes, the server gets the end of its input and says its last [eof-relay]', async () => {
  const stage = new Stage();
  const tap = stage.tap(shell('cat; echo \'{"last":1}\'; exit 4'));
  await tap.write('{"first":1}\n');
  expect(await tap.close()).toEqual({ code: 4, signal: null });
  expect(tap.output.text).toBe('{"first":1}\n{"last":1}\n');
  const entries = await stage.finished();
  expect(messages(entries)).toHaveLength(3);
  expect(closeOf(entries)).toMatchObject({ reason: 'client closed', exitCode: 4, delivered: [1, 2] });
});

/** A server that ignores the end of its input and every polite signal, and so does what it started. */
const stubborn =
  'trap \'\' TERM INT HUP; (trap \'\' TERM INT HUP; while :; do sleep 1; done) & echo "{\\"pids\\":[$$,$!]}"; while :; do sleep 1; done';
const pidsOf = (tap: Tap): number[] => (JSON.parse(tap.output.lines[0]!) as { pids: number[] }).pids;

test('a server that ignores the end of its input and SIGTERM is killed with all that it started [kill-group]', async () => {
  const stage = new Stage();
  const tap = stage.tap(shell(stubborn));
  await tap.output.count(1);
  const pids = pidsOf(tap);
  // as the SDK's clients do: end of input, then SIGTERM, then SIGKILL if that was not enough
  tap.process.stdin!.end();
  tap.process.kill('SIGTERM');
  expect(await tap.ended).toEqual({ code: null, signal: 'SIGKILL' });
  for (const pid of pids) await gone(pid);
  expect(closeOf(await stage.finished())).toMatchObject({ reason: 'signal', signal: 'SIGKILL' });
});

test('a client that dies without a word leaves no server behind, however stubborn [kill-orphan]', async () => {
  const stage = new Stage();
  const words = stage.words(shell(stubborn));
  const client = stage.started(
    spawn(
      node,
      [
        '-e',
        `const c=require('node:child_process').spawn(${JSON.stringify(words[0])},${JSON.stringify(words.slice(1))},{stdio:['pipe','pipe','inherit']});c.stdout.pipe(process.stdout);console.log(JSON.stringify({tap:c.pid}))`,
      ],
      {
        env: stage.env,
        cwd: stage.folder,
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    ),
  );
  const seen = new Tap(client, true);
  await seen.output.count(2);
  const { tap } = JSON.parse(seen.output.lines[0]!) as { tap: number };
  const { pids } = JSON.parse(seen.output.lines[1]!) as { pids: number[] };
  client.kill('SIGKILL');
  for (const pid of [...pids, tap]) await gone(pid);
  expect(closeOf(await stage.finished())).toMatchObject({ reason: 'client closed', signal: 'SIGKILL' });
});

test('a client that closes and asks to end, but reads no more, is not waited for [kill-unread]', async () => {
  const stage = new Stage();
  const tap = stage.tap(shell(`L=$(printf %60000s | tr ' ' x); while :; do echo "{\\"jsonrpc\\":\\"2.0\\",\\"method\\":\\"$L\\"}"; done`));
  await tap.output.count(1);
  tap.process.stdout!.pause();
  // until nothing more fits anywhere between the two
  let last = -1;
  for (let same = 0; same < 5;) {
    await new Promise((done) => setTimeout(done, 100));
    const size = stage.ledgerBytes();
    same = size === last ? same + 1 : 0;
    last = size;
  }
  tap.process.stdin!.end();
  tap.process.kill('SIGTERM');
  await new Promise((done) => tap.process.on('exit', done));
  expect(tap.process.signalCode).toBe('SIGTERM');
  tap.process.stdout!.resume();
  await tap.ended;
  const close = closeOf(await stage.finished());
  expect(close).toMatchObject({ reason: 'signal', signal: 'SIGTERM' });
  // on the way out nothing is counted that was not written
  expect(close['delivered'][1]).toBeLessThanOrEqual(close['frames'].s2c as number);
});

test('what the server started and left behind ends with the connection [kill-grandchild]', async () => {
  const stage = new Stage();
  // the second one holds the server's output open
  const tap = stage.tap(shell('sleep 1000 >/dev/null & A=$!; sleep 1000 & echo "{\\"pids\\":[$A,$!]}"; cat >/dev/null'));
  await tap.output.count(1);
  const pids = pidsOf(tap);
  expect(pids.every(isAlive)).toBe(true);
  expect(await tap.close()).toEqual({ code: 0, signal: null });
  for (const pid of pids) await gone(pid);
});

test('what a server left behind that ignores SIGTERM and holds its output does not keep sworn [kill-grandchild]', async () => {
  const stage = new Stage();
  const tap = stage.tap(shell('(trap \'\' TERM; while :; do sleep 1; done) & echo "{\\"pids\\":[$!]}"; cat >/dev/null; exit 6'));
  await tap.output.count(1);
  const pids = pidsOf(tap);
  expect(await tap.close()).toEqual({ code: 6, signal: null });
  for (const pid of pids) await gone(pid);
});

test('the last answer of a server that exits at once is delivered and recorded, 200 times of 200 [last-words]', async () => {
  const stage = new Stage();
  const server = join(stage.folder, 'quick.sh');
  writeFileSync(server, '#!/bin/sh\nread line\nprintf \'%s\\n\' \'{"jsonrpc":"2.0","id":1,"result":{"last":true}}\'\nexit 7\n');
  chmodSync(server, 0o755);
  const count = 200;
  let next = 0;
  const ends: string[] = [];
  const worker = async (): Promise<void> => {
    while (next++ < count) {
      const tap = stage.tap([server], { options: ['--name', 'quick'] });
      void tap.write('{"jsonrpc":"2.0","id":1,"method":"last"}\n');
      const { code } = await tap.ended;
      ends.push(`${code} ${tap.output.text}${tap.errors.text}`);
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  expect(new Set(ends)).toEqual(new Set(['7 {"jsonrpc":"2.0","id":1,"result":{"last":true}}\n']));
  const entries = await stage.finished();
  expect(messages(entries, { type: 'request' })).toHaveLength(count);
  expect(messages(entries, { type: 'result', outcome: 'ok', method: 'last' })).toHaveLength(count);
  const closes = entries.filter(({ kind }) => kind === 'close');
  expect(closes).toHaveLength(count);
  for (const close of closes) expect(close).toMatchObject({ exitCode: 7, frames: { c2s: 1, s2c: 1 }, delivered: [1, 1] });
});

test('ten megabytes on stderr pass untouched, and keep nothing waiting [stderr-flood]', async () => {
  const stage = new Stage();
  const tap = stage.tap(script(`process.stderr.write(Buffer.alloc(10e6, 'e'), () => { console.log('{}'); process.stdin.resume(); })`));
  await tap.output.count(1);
  expect(await tap.close()).toEqual({ code: 0, signal: null });
  expect(tap.errors.sizeBytes).toBe(10e6);
  expect(tap.errors.bytes.equals(Buffer.alloc(10e6, 'e'))).toBe(true);
  expect(messages(await stage.finished())).toHaveLength(1);
});

describe('a command that cannot be started [spawn-failed]', () => {
  test.each([
    ['is not there', 'no-such-command-anywhere', 127],
    ['has a path through a file', '/etc/passwd/server', 127],
    ['is not there, by a path', './nowhere/server', 127],
    ['is not executable', '/etc/passwd', 126],
    ['is a folder', '/etc', 126],
    ['is a name too long for a file', `/${'x'.repeat(5000)}`, 127],
  ])('because it %s', async (_why, command, status) => {
    const stage = new Stage();
    const tap = stage.tap([command, 'an argument']);
    void tap.write('{"jsonrpc":"2.0","id":1,"method":"initialize"}\n');
    expect(await tap.ended).toEqual({ code: status, signal: null });
    expect(tap.output.text).toBe('');
    expect(tap.errors.text).toMatch(/^sworn: error: the server command ".*" cannot be started: .*\nsworn: hint: .+\n$/);
    const entries = await stage.finished();
    const open = entries.find(({ kind }) => kind === 'open')!;
    expect(open['opened']).toMatchObject({ argv: [command, 'an argument'] });
    expect(open).not.toHaveProperty('process');
    expect(closeOf(entries)).toMatchObject({ reason: 'spawn failed', connection: open['connection'] });
    expect(closeOf(entries)).not.toHaveProperty('exitCode');
    expect(closeOf(entries).opened['error']).toEqual(expect.any(String));
  });

  test('because its arguments are too many', async () => {
    const stage = new Stage();
    // twice as much as the tap may have, but an environment of its own fits
    const long = 'x'.repeat(100_000);
    const tap = stage.tap(['/bin/true', ...Array.from({ length: 12 }, () => long)], { options: ['--name', 'true'] });
    expect(await tap.ended).toEqual({ code: 0, signal: null });
    const [open] = (await stage.finished()).filter(({ kind }) => kind === 'open');
    // a command line of any length fits into the record, if not whole
    expect(open).toMatchObject({ server: 'true', opened: { argv: ['/bin/true', long, long, '…'] } });
  });
});

test('without a command: usage, and nothing is recorded [usage-none]', async () => {
  const stage = new Stage();
  for (const words of [[], ['--'], ['--', '']]) {
    const { code, stdout, stderr } = await stage.command('run', '--ledger', stage.ledger, ...words);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^sworn: error: no server command/);
  }
  expect(existsSync(stage.ledger)).toBe(false);
});

test('the server has the folder and the environment of the client, and nothing of ours [environment-same]', async () => {
  const stage = new Stage();
  const folder = join(stage.folder, 'some where');
  mkdirSync(folder);
  const env = { HOME: stage.home, PATH: '/usr/bin:/bin', SECRET: 'a=b\nc', NODE_OPTIONS: '', EMPTY: '', ÜMLAUT: 'ß' };
  const command = script('console.log(JSON.stringify({cwd: process.cwd(), env: process.env, argv: process.argv.slice(1)}))');
  const words = ['', ' ', 'a b', '"', "'", '$HOME', '--', '-x', '*', 'ß\n'];
  const direct = new Tap(
    stage.started(spawn(node, [...command.slice(1), '--', ...words], { cwd: folder, env, stdio: ['pipe', 'pipe', 'pipe'] })),
    true,
  );
  await direct.ended;
  const [file, ...args] = stage.words([...command, '--', ...words]);
  const through = new Tap(stage.started(spawn(file!, args, { cwd: folder, env, stdio: ['pipe', 'pipe', 'pipe'] })), true);
  await through.ended;
  expect(JSON.parse(through.output.text)).toEqual(JSON.parse(direct.output.text));
});

test("the recorder is given nothing of the client's secrets, and outlives the tap [recorder-environment]", async () => {
  const stage = new Stage();
  const tap = stage.tap(['/bin/cat'], { env: { API_TOKEN: 'secret', NODE_OPTIONS: '--no-warnings', LD_LIBRARY_PATH: '/nowhere' } });
  await tap.write('{}\n');
  await tap.output.count(1);
  const pid = stage.recorderPid!;
  const environ = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);
  expect(environ.map((pair) => pair.split('=')[0]).toSorted((a, b) => (a! < b! ? -1 : 1))).toEqual(['HOME', 'PATH']);
  const { pgrp, session } = /\) \S+ \d+ (?<pgrp>\d+) (?<session>\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))!.groups!;
  expect([Number(pgrp), Number(session)]).toEqual([pid, pid]);
  await tap.close();
  expect(isAlive(pid)).toBe(true);
});

test('a call is in the ledger from the moment of its request, also when it is never answered [entry-pending]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  await tap.write(
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"slow"}}\n{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"never"}}\n',
  );
  await server.input.count(2);
  // delivered, so recorded: no need to wait
  expect(messages(stage.entries()).map((entry) => entry['target'])).toEqual(['slow', 'never']);
  await new Promise((done) => setTimeout(done, 3_000));
  await server.write('{"jsonrpc":"2.0","id":1,"result":{}}\n');
  await tap.output.count(1);
  await tap.close();
  const entries = await stage.finished();
  const [slow, never, reply] = messages(entries);
  expect(reply).toMatchObject({ exchange: slow!.index, target: 'slow' });
  expect(reply!['durationUs']).toBeGreaterThanOrEqual(3_000_000);
  expect(entries.filter((entry) => entry['exchange'] === never!.index)).toHaveLength(1);
});

test('a client that dies by SIGKILL: what it said is delivered and recorded, the connection closed [client-killed]', async () => {
  const stage = new Stage();
  const words = stage.words(shell('cat >"$0"').concat(join(stage.folder, 'received')));
  const client = stage.started(
    spawn(
      node,
      [
        '-e',
        `const c=require('node:child_process').spawn(${JSON.stringify(words[0])},${JSON.stringify(words.slice(1))},{stdio:['pipe','pipe','inherit']});c.stdin.write('{"jsonrpc":"2.0","method":"last"}\\n{"half',()=>process.kill(process.pid,'SIGKILL'))`,
      ],
      {
        env: stage.env,
        cwd: stage.folder,
        stdio: ['ignore', 'inherit', 'inherit'],
      },
    ),
  );
  await new Promise((done) => client.on('close', done));
  const entries = await stage.until((entries) => entries.some(({ kind }) => kind === 'close'));
  await gone((entries.find(({ kind }) => kind === 'open')!['tap'] as { pid: number }).pid);
  expect(messages(entries).map(({ frame }) => frame!.toString())).toEqual(['{"jsonrpc":"2.0","method":"last"}', '{"half']);
  expect(closeOf(entries)).toMatchObject({ reason: 'client closed', exitCode: 0, delivered: [2, 0] });
  expect(readFileSync(join(stage.folder, 'received'), 'utf8')).toBe('{"jsonrpc":"2.0","method":"last"}\n{"half');
});

test('a client that closes only its end of the output is as good as gone: the server ends, nothing hangs [client-half]', async () => {
  const stage = new Stage();
  const tap = stage.tap(shell("while :; do echo '{}' || exit 8; read line || exit 5; done"));
  await tap.output.count(1);
  tap.process.stdout!.destroy();
  await tap.write('1\n2\n3\n');
  await new Promise((done) => tap.process.on('exit', done));
  expect(tap.process.exitCode).toBe(5);
  const entries = await stage.finished();
  expect(messages(entries, { direction: 'c2s' }).length).toBeGreaterThan(0);
  expect(closeOf(entries)).toMatchObject({ reason: 'client closed', exitCode: 5 });
});

test('stdin and stdout may be files or nothing [stdio-kinds]', async () => {
  const stage = new Stage();
  const quoted = (words: string[]): string => words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  const [input, output] = [join(stage.folder, 'in'), join(stage.folder, 'out')];
  writeFileSync(input, '{"a":1}\n{"b":2}');
  const run = quoted(stage.words(['/bin/cat']));
  const child = stage.started(
    spawn('/bin/sh', ['-c', `${run} <${quoted([input])} >${quoted([output])} && ${run} </dev/null >/dev/null && ${run} <&- >&-`], {
      env: stage.env,
      cwd: stage.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
  const ended = new Tap(child, true);
  expect(await ended.ended).toEqual({ code: 0, signal: null });
  expect(ended.errors.text).toBe('');
  expect(readFileSync(output, 'utf8')).toBe('{"a":1}\n{"b":2}');
  const entries = await stage.finished();
  expect(messages(entries)).toHaveLength(4);
  expect(entries.filter(({ kind }) => kind === 'close')).toHaveLength(3);
});

test('installed in a folder with odd characters, it still starts its recorder [odd-folder]', async () => {
  const stage = new Stage();
  const copy = join(stage.folder, 'a b%20ü#?');
  mkdirSync(join(copy, 'bin'), { recursive: true });
  cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true });
  copyFileSync(join(root, 'bin', 'sworn.mjs'), join(copy, 'bin', 'sworn.mjs'));
  copyFileSync(join(root, 'package.json'), join(copy, 'package.json'));
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const child = stage.started(
    spawn(node, [join(copy, 'bin', 'sworn.mjs'), 'run', '--ledger', stage.ledger, '--', '/bin/cat'], {
      env: stage.env,
      stdio: ['pipe', 'pipe', 'pipe'],
    }),
  );
  const tap = new Tap(child, true);
  await tap.write('{}\n');
  expect(await tap.close()).toEqual({ code: 0, signal: null });
  expect(tap.output.text).toBe('{}\n');
  expect(messages(await stage.finished())).toHaveLength(2);
});

test('a server that closes its output and goes on is waited for [server-half]', async () => {
  const stage = new Stage();
  const tap = stage.tap(shell("echo '{}'; exec >&-; cat >/dev/null; exit 3"));
  await tap.output.count(1);
  await tap.write('{"a":1}\n');
  expect(await tap.close()).toEqual({ code: 3, signal: null });
  expect(closeOf(await stage.finished())).toMatchObject({ exitCode: 3, frames: { c2s: 1, s2c: 1 }, delivered: [1, 1] });
});

test('a server that closes its input and goes on is served no more, and what is said to it is recorded [server-deaf]', async () => {
  const stage = new Stage();
  const tap = stage.tap(shell('exec <&-; echo \'{}\'; while [ ! -e "$0" ]; do sleep 0.1; done; exit 2').concat(join(stage.folder, 'go')));
  await tap.output.count(1);
  await tap.write('{"a":1}\n');
  await stage.until((entries) => messages(entries, { direction: 'c2s' }).length === 1);
  await tap.write('{"b":1}\n');
  await stage.until((entries) => messages(entries, { direction: 'c2s' }).length === 2);
  writeFileSync(join(stage.folder, 'go'), '');
  expect((await tap.ended).code).toBe(2);
  expect(closeOf(await stage.finished())['delivered'][0]).toBeLessThan(2);
});

test('official servers end in order when their client leaves [real-counterparts]', async () => {
  for (const command of [official('everything'), official('memory'), ours('both-eras.ts')]) {
    const stage = new Stage();
    const tap = stage.tap(command, { env: { MEMORY_FILE_PATH: join(stage.folder, 'memory.jsonl') } });
    await tap.write(
      '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}\n',
    );
    await tap.output.count(1);
    tap.process.stdin!.end();
    tap.process.kill('SIGTERM');
    await tap.ended;
    const entries = await stage.finished();
    expect(entries.at(-2)).toMatchObject({ kind: 'close', reason: expect.stringMatching(/^(signal|client closed)$/) as string });
  }
});
