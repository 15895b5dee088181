/**
 * Two real accounts: the recorder under its own, the agent under another that shares only the socket's group. Needs root, which creates both accounts
 * and takes them away again.
 */
import { spawnSync, type SpawnOptions } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { socketId } from '../../src/wire/socket-path.ts';
import { checkLedger } from '../check-ledger.ts';
import { Client, echoServer, readLedger, swornProgram, until, World } from '../support-processes.ts';

interface Account {
  name: string;
  uid: number;
}

const isPossible =
  process.getuid?.() === 0 &&
  spawnSync('useradd', ['--help']).status === 0 &&
  // the checkout and its Node must be there for everybody
  spawnSync(process.execPath, [swornProgram, '--version'], { uid: 65534, gid: 65534, env: {} }).status === 0;
if (!isPossible) console.warn('the tests with two accounts are skipped: they need root, useradd, and a checkout that everybody may read');

const group = `sworn-t${process.pid}`;
let gid = 0;
const accounts: Account[] = [];
const worlds: World[] = [];

function must(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

function newAccount(role: string): Account {
  const name = `sworn-t${process.pid}-${role}`;
  must('useradd', '--no-create-home', '--gid', group, '--shell', '/bin/sh', name);
  const account = { name, uid: Number(must('id', '-u', name)) };
  accounts.push(account);
  return account;
}

describe.skipIf(!isPossible)('two accounts', () => {
  let agent: Account;
  let service: Account;
  let stranger: Account;
  let world: World;
  let socket: string;
  let keys: string;

  const as = (account: Account, gidOf = gid): SpawnOptions => ({
    uid: account.uid,
    gid: gidOf,
    env: { ...world.env, HOME: join(world.folder, account.name) },
  });
  /** A command line of the agent's shell; its status. */
  const agentTries = (command: string): number | null =>
    spawnSync('sh', ['-c', command], { ...as(agent), stdio: 'ignore', cwd: world.folder }).status;

  beforeAll(async () => {
    must('groupadd', group);
    gid = Number(
      readFileSync('/etc/group', 'utf8')
        .split('\n')
        .find((line) => line.startsWith(`${group}:`))!
        .split(':')[2],
    );
    agent = newAccount('agent');
    service = newAccount('service');
    stranger = newAccount('other');
    world = new World('accounts', { ledger: (folder) => join(folder, 'service', 'ledger') });
    worlds.push(world);
    // World's own folder belongs to root and is closed; the accounts must reach theirs in it
    chmodSync(world.folder, 0o755);
    for (const account of accounts) {
      mkdirSync(join(world.folder, account.name), { mode: 0o700 });
      chownSync(join(world.folder, account.name), account.uid, gid);
    }
    mkdirSync(join(world.folder, 'service'));
    chownSync(join(world.folder, 'service'), service.uid, gid);
    socket = join(world.folder, 'service', 'recorder.sock');
    keys = join(world.folder, 'service', 'keys');
    const recorder = world.sworn(
      ['recorder', 'start', '--foreground', '--ledger', world.ledger, '--keys', keys, '--socket', socket, '--group', group],
      as(service),
    );
    let log = '';
    recorder.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
    await until('the service', () => world.status(socket)).catch((error: Error) => {
      throw new Error(`${error.message}: ${log}`);
    });
  });

  afterAll(async () => {
    for (const one of worlds.splice(0)) await one.end();
    for (const { name } of accounts.splice(0)) spawnSync('userdel', [name]);
    spawnSync('groupdel', [group]);
  });

  function session(account: Account, words: string[], log: string, gidOf = gid): Client {
    return new Client(world.sworn(['run', ...words, '--name', 'echo', '--', process.execPath, echoServer, log], as(account, gidOf)));
  }

  test('the agent’s taps work, custody is separate-user, and the kernel says who it is [attack-agent-account]', async () => {
    const client = session(agent, ['--socket', socket], join(world.folder, agent.name, 'log'));
    for (let i = 0; i < 100; i++) client.request({ tag: i });
    await client.settled();
    expect(client.errors).toEqual([]);
    expect(await world.status(socket)).toMatchObject({ custody: 'separate-user', uid: service.uid });

    // While it is tapped, and the ledger is being written:
    const recorder = world.recorderPid()!;
    expect(agentTries('true')).toBe(0);
    const ledgerFiles = [
      world.ledger,
      `${world.ledger}/payload/0000000000000000`,
      `${world.ledger}/log/checkpoint`,
      keys,
      `${keys}/*/key`,
      `${keys}/*/head`,
    ];
    for (const file of ledgerFiles) {
      expect(agentTries(`cat ${file} || ls ${file}`), `read ${file}`).not.toBe(0);
      expect(agentTries(`echo x >> ${file}`), `alter ${file}`).not.toBe(0);
      expect(agentTries(`truncate -s 0 ${file} || mv ${file} ${file}.away || rm -rf ${file}`), `cut ${file}`).not.toBe(0);
    }
    for (const signal of ['TERM', 'KILL', 'STOP', 'HUP']) expect(agentTries(`kill -${signal} ${recorder}`), signal).not.toBe(0);
    expect(agentTries(`rm -f ${socket} && test ! -e ${socket}`), 'the socket').not.toBe(0);
    const stop = await world.finish(['recorder', 'stop', '--socket', socket], as(agent));
    expect(stop).toMatchObject({
      status: 77,
      stderr: expect.stringContaining(`uid ${agent.uid} may not stop the recorder of uid ${service.uid}`) as string,
    });
    // another recorder for the same ledger does not come up either
    expect((await world.finish(['recorder', 'start', '--foreground', '--ledger', world.ledger], as(agent))).status).not.toBe(0);

    client.request({ tag: 'still there' });
    await client.settled();
    client.child.stdin.end();
    expect(await client.ended).toEqual({ code: 0, signal: null });
    expect(client.stderr).toBe('');
    expect(world.recorderPid()).toBe(recorder);

    const connection = [...readLedger(world.ledger).connections.values()][0]!;
    const open = connection.entries.find((entry) => entry.kind === 'open')!;
    expect(open).toMatchObject({ custody: 'separate-user', tap: { uid: agent.uid, pid: client.child.pid, source: 'kernel' } });
    expect(connection.entries.find((entry) => entry.kind === 'principal')).toMatchObject({ source: 'observed', uid: agent.uid, pid: process.pid });
    expect(connection.frames.c2s).toHaveLength(101);
  });

  test('an approver decides, and so does root; the agent’s account does not, though it is named, nor from outside of what is tapped [attack-agent-approves]', async () => {
    const home = join(world.folder, service.name, '.config', 'sworn');
    mkdirSync(home, { recursive: true });
    const rule = `{ name: pay, ask: true, method: echo, when: 'has(params.pay)', approvers: { uid: [${stranger.uid}, ${agent.uid}] } }`;
    writeFileSync(join(home, 'sworn.yaml'), `policy: { rules: [ ${rule} ] }`);
    expect(await world.finish(['policy', 'reload', '--socket', socket], as(service))).toMatchObject({ status: 0 });
    const log = join(world.folder, agent.name, 'log-pay');
    const client = session(agent, ['--socket', socket], log);
    client.request({ pay: 1 });
    client.request({ pay: 2 });
    client.request({ tag: 'behind' });
    const list = async (account: Account, gidOf = gid) => world.finish(['approvals', '--socket', socket, '--json'], as(account, gidOf));
    let waiting: { request: number; shown: string; selfOnly?: true }[] = [];
    await until('two to wait', async () => {
      const { stdout } = await list(stranger);
      waiting = stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as (typeof waiting)[number]]));
      return waiting.length === 2;
    });
    expect(waiting.map(({ shown, selfOnly }) => [(JSON.parse(shown) as { params: unknown }).params, selfOnly])).toEqual([
      [{ pay: 1 }, undefined],
      [{ pay: 2 }, undefined],
    ]);
    // named as an approver, and still nobody who may decide for itself
    const [first, second] = waiting.map(({ request }) => String(request)) as [string, string];
    expect(await list(agent)).toMatchObject({ status: 77, stdout: '' });
    for (const act of ['approve', 'deny']) {
      const words = ['approvals', act, first, '--socket', socket];
      const tried = await world.finish(words, as(agent));
      expect(tried).toMatchObject({ status: 77, stderr: expect.stringContaining('belongs to a tapped client') as string });
      // nor once it has left its parents
      const said = join(world.folder, agent.name, `${act}.said`);
      const line = [process.execPath, swornProgram, ...words].map((word) => `'${word}'`).join(' ');
      expect(agentTries(`setsid -f sh -c "${line} > ${said}.part 2>&1; echo status \\$? >> ${said}.part; mv ${said}.part ${said}"`)).toBe(0);
      await until('its end', () => existsSync(said));
      expect(readFileSync(said, 'utf8')).toMatch(/may not decide for itself[^]*status 77/);
    }
    expect(await world.finish(['approvals', 'approve', first, '--socket', socket], as(stranger))).toMatchObject({ status: 0, stderr: '' });
    expect(await world.finish(['approvals', 'deny', second, '--socket', socket])).toMatchObject({ status: 0, stderr: '' });
    await client.settled();
    expect(client.errors.map(({ id, error }) => [id, error.code])).toEqual([[2, 4030]]);
    expect(readFileSync(log, 'utf8')).toMatch(/"tag":"behind"[^]*"pay":1/);
    expect(readFileSync(log, 'utf8')).not.toContain('"pay":2');
    client.child.stdin.end();
    await client.ended;
    const approvals = readLedger(world.ledger).entries.filter((entry) => entry.kind === 'approval');
    expect(approvals).toMatchObject([
      { decision: 'approved', by: { uid: stranger.uid }, request: Number(first) },
      { decision: 'denied', by: { uid: 0 }, request: Number(second) },
    ]);
    for (const entry of approvals) expect(entry).not.toHaveProperty('selfApproved');
    writeFileSync(join(home, 'sworn.yaml'), '{}');
    expect(await world.finish(['policy', 'reload', '--socket', socket], as(service))).toMatchObject({ status: 0 });
  });

  test('an account outside the socket’s group is told that it is closed to it [attack-outside-group]', async () => {
    const client = session(stranger, ['--socket', socket], join(world.folder, stranger.name, 'log'), 65534);
    client.request({ tag: 1 });
    await client.settled();
    expect(client.errors.map(({ error }) => error.code)).toEqual([5030]);
    expect(client.stderr).toMatch(/^sworn: error: the socket .* is closed to this account; [^\n]*\nsworn: hint: [^\n]*\n$/);
    client.child.stdin.end();
    await client.ended;
  });

  test('a socket folder that somebody else has made in /tmp gets nothing to read [attack-socket-folder]', async ({ skip }) => {
    skip(existsSync(`/run/user/${agent.uid}`), 'this account has a folder of its own');
    const folder = `/tmp/sworn-${agent.uid}`;
    const ledger = join(world.folder, agent.name, 'ledger');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { mode: 0o777 });
    chownSync(folder, stranger.uid, gid);
    let visitors = 0;
    const server = createServer(() => visitors++);
    try {
      const path = join(folder, `${socketId(ledger)}.sock`);
      await new Promise<void>((done) => server.listen(path, done));
      chmodSync(path, 0o777);
      const client = session(agent, ['--ledger', ledger], join(world.folder, agent.name, 'log2'));
      client.request({ tag: 'secret' });
      await client.settled();
      expect(client.errors.map(({ error }) => error.code)).toEqual([5030]);
      expect(client.stderr).toMatch(/^sworn: error: the socket folder \/tmp\/sworn-\d+ is not a folder of yours/);
      client.child.stdin.end();
      await client.ended;
      expect(visitors).toBe(0);
    } finally {
      await new Promise((done) => server.close(done));
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('its own account ends it in order', async () => {
    const stop = await world.finish(['recorder', 'stop', '--socket', socket], as(service));
    expect(stop).toMatchObject({ status: 0, stderr: '' });
    const { entries } = readLedger(world.ledger);
    expect(entries.at(-1)).toMatchObject({ kind: 'stop', reason: 'asked', by: { uid: service.uid } });
    expect(entries.at(-1)).not.toHaveProperty('selfAdministered');
    checkLedger(world.ledger, keys);
    expect(await world.finish(['verify', world.ledger])).toMatchObject({ status: 0 });
  });
});

test('one account: custody is same-user', async () => {
  const world = new World('one-account');
  try {
    mkdirSync(world.home);
    const client = new Client(world.sworn(['run', '--ledger', world.ledger, '--', process.execPath, echoServer, join(world.folder, 'log')]));
    client.request({ tag: 1 });
    await client.settled();
    expect(await world.status()).toMatchObject({ custody: 'same-user' });
    client.child.stdin.end();
    await client.ended;
    await world.endRecorder();
    const connection = [...readLedger(world.ledger).connections.values()][0]!;
    expect(connection.entries.find((entry) => entry.kind === 'open')).toMatchObject({
      custody: 'same-user',
      tap: { uid: process.getuid!(), pid: client.child.pid, source: 'kernel' },
    });
  } finally {
    await world.end();
  }
});
