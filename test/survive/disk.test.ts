import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { checkLedger } from '../check-ledger.ts';
import { Client, connectionFaults, deliveryFaults, echoServer, isAlive, readLedger, readServerLog, until, World } from '../support-processes.ts';

const isRoot = process.getuid?.() === 0;
const canMount = isRoot && spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'sworn', '/mnt']).status === 0;
if (!canMount) console.warn('the tests of full and read-only disks are skipped: they need root and mount');

const worlds: World[] = [];
afterAll(async () => {
  for (const world of worlds.splice(0)) await world.end();
});

/** A world with a small file system of its own at `disk`, where the ledger lies. */
function newWorld(name: string, sizeMiB: number): World & { disk: string } {
  const world = new World(name, { ledger: (folder) => join(folder, 'disk', 'ledger') });
  worlds.push(world);
  mkdirSync(world.home);
  const disk = join(world.folder, 'disk');
  mkdirSync(disk);
  mount(['-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'sworn-test', disk]);
  world.onEnd(() => void spawnSync('umount', ['-l', disk]));
  return Object.assign(world, { disk });
}

function mount(args: string[]): void {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`mount ${args.join(' ')}: ${stderr}`);
}

function session(world: World, words: string[]): { client: Client; log: string } {
  const log = join(world.folder, 'server.log');
  return { client: new Client(world.sworn(['run', '--ledger', world.ledger, ...words, '--', process.execPath, echoServer, log])), log };
}

const recordable = async (world: World): Promise<boolean | undefined> => (await world.status())?.['recordable'] as boolean | undefined;

/** Asks until the disk has refused something and the recorder says so. */
async function askUntilUnrecordable(world: World, client: Client, padBytes: number): Promise<void> {
  await until('the disk to be noticed', async () => {
    client.request({ tag: 'noticed', pad: 'x'.repeat(padBytes) });
    await client.settled();
    return (await recordable(world)) === false;
  });
}

async function askUntilRecordable(world: World, client: Client): Promise<void> {
  await until('recording to go on', async () => (await recordable(world)) === true);
  const refused = client.errors.length;
  client.request({ tag: 'again' });
  await client.settled();
  expect(client.errors.length).toBe(refused);
}

async function endInOrder(world: World, client: Client): Promise<ReturnType<typeof readLedger>> {
  await client.settled();
  client.child.stdin.end();
  expect(await client.ended).toEqual({ code: 0, signal: null });
  for (let id = 1; id <= client.asked; id++) expect(client.answers.get(id), `answers to ${id}`).toBe(1);
  await world.endRecorder();
  checkLedger(world.ledger, world.keysHome);
  const verified = await world.finish(['verify', world.ledger]);
  expect(verified, verified.stdout).toMatchObject({ status: 0 });
  return readLedger(world.ledger);
}

function gapCounts({ entries }: ReturnType<typeof readLedger>): { c2s: number; s2c: number } {
  const counts = { c2s: 0, s2c: 0 };
  for (const entry of entries) {
    if (entry.kind !== 'gap') continue;
    counts.c2s += entry.lost.c2s;
    counts.s2c += entry.lost.s2c;
  }
  return counts;
}

function full({ disk }: { disk: string }): { mend: () => void } {
  const filler = join(disk, 'filler');
  // to the last byte: dd ends with the disk's own error
  spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096'], { stdio: 'ignore' });
  return { mend: () => rmSync(filler) };
}

async function readOnly(world: World & { disk: string }): Promise<{ mend: () => void }> {
  const { disk } = world;
  // with files open for writing a file system is not remounted read-only; a mount of it may be
  mount(['--bind', disk, disk]);
  world.onEnd(() => void spawnSync('umount', ['-l', disk]));
  // busy while a file is open for writing through this mount, as the recorder's are for moments
  await until('the mount to be idle', () => spawnSync('mount', ['-o', 'remount,bind,ro', disk]).status === 0);
  return { mend: () => mount(['-o', 'remount,bind,rw', disk]) };
}

describe.skipIf(!canMount)('a disk that refuses', () => {
  test.each(['commit', 'observe'])('%s, block: full and back', async (mode) => {
    const world = newWorld('full-block', 24);
    const { client, log } = session(world, ['--mode', mode]);
    client.request({ tag: 'first' });
    await client.settled();
    const { mend } = full(world);
    await askUntilUnrecordable(world, client, 200_000);
    // refused requests do not reach the server
    const before = readServerLog(log).received.length;
    for (let i = 0; i < 20; i++) client.request({ tag: `refused ${i}` });
    client.batch([{ tag: 'first of a batch' }, { tag: 'second' }]);
    client.write({ jsonrpc: '2.0', method: 'notifications/dropped' });
    await client.settled();
    expect(readServerLog(log).received.length).toBe(before);
    expect(client.errors.slice(-22).map(({ error }) => [error.code, error.data?.['executed']])).toEqual(
      Array.from({ length: 22 }, () => [5030, false]),
    );
    mend();
    await askUntilRecordable(world, client);
    const read = await endInOrder(world, client);
    const [connection] = [...read.connections.values()];
    const { received, sent } = readServerLog(log);
    const delivered = { toServer: received, toClient: client.received, byClient: client.sent, byServer: sent };
    expect(connectionFaults('session', connection!)).toEqual([]);
    // what observe had delivered when the disk was found full could not be called back: it is in the gap's count
    if (mode === 'commit') expect(deliveryFaults('session', connection, delivered, false, true)).toEqual([]);
    const counts = gapCounts(read);
    expect(counts.c2s).toBe(client.sent.length - connection!.frames.c2s.length);
    expect(counts.s2c).toBe(sent.length - connection!.frames.s2c.length);
  });

  test('commit, block: a reply that cannot be recorded is withheld', async () => {
    const world = newWorld('full-reply', 24);
    const log = join(world.folder, 'server.log');
    const gate = join(world.folder, 'gate');
    // answers when the gate opens, with a reply that needs room
    const server = `const fs = require('node:fs');
      process.stdin.on('data', () => {
        fs.appendFileSync(${JSON.stringify(log)}, 'r x\\n');
        const timer = setInterval(() => {
          if (!fs.existsSync(${JSON.stringify(gate)})) return;
          clearInterval(timer);
          console.log(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { pad: 'y'.repeat(300000) } }));
        }, 10);
      });`;
    const client = new Client(world.sworn(['run', '--ledger', world.ledger, '--', process.execPath, '-e', server]));
    client.request({ tag: 'asked' });
    await until('the request to arrive', () => readServerLog(log).received.length === 1);
    const { mend } = full(world);
    writeFileSync(gate, '');
    await client.settled();
    expect(client.errors).toEqual([
      {
        jsonrpc: '2.0',
        id: 1,
        error: {
          code: 5030,
          message: expect.any(String) as string,
          data: { reason: expect.any(String) as string, executed: 'unknown', resultWithheld: true },
        },
      },
    ]);
    mend();
    await until('recording to go on', async () => (await recordable(world)) === true);
    const read = await endInOrder(world, client);
    expect(gapCounts(read)).toEqual({ c2s: 0, s2c: 1 });
  });

  test.each(['commit', 'observe'])('%s, pass: full and back', async (mode) => {
    const world = newWorld('full-pass', 24);
    const { client, log } = session(world, ['--mode', mode, '--on-unrecordable', 'pass']);
    client.request({ tag: 'first' });
    await client.settled();
    const { mend } = full(world);
    await askUntilUnrecordable(world, client, 200_000);
    for (let i = 0; i < 20; i++) client.request({ tag: `passed ${i}` });
    await client.settled();
    expect(client.errors).toEqual([]);
    mend();
    await askUntilRecordable(world, client);
    const read = await endInOrder(world, client);
    const [connection] = [...read.connections.values()];
    const counts = gapCounts(read);
    expect(counts.c2s).toBeGreaterThanOrEqual(20);
    expect(counts.c2s).toBe(client.sent.length - connection!.frames.c2s.length);
    expect(counts.s2c).toBe(readServerLog(log).sent.length - connection!.frames.s2c.length);
    expect(client.received.length).toBe(readServerLog(log).sent.length);
  });

  test.each(['commit', 'observe'])('%s: a recorder that starts on a full disk', async (mode) => {
    const world = newWorld('full-start', 24);
    const { client, log } = session(world, ['--mode', mode]);
    for (let i = 0; i < 300; i++) client.request({ tag: i });
    await client.settled();
    await until('the first messages', async () => ((await world.status())?.['entries'] as number) >= 603);
    const recorder = world.recorderPid()!;
    process.kill(recorder, 'SIGKILL');
    await until('the recorder to end', () => !isAlive(recorder));
    const { mend } = full(world);
    await askUntilUnrecordable(world, client, 100_000);
    mend();
    await askUntilRecordable(world, client);
    const read = await endInOrder(world, client);
    const [connection] = [...read.connections.values()];
    expect(connectionFaults('session', connection!)).toEqual([]);
    expect(read.entries.filter((entry) => entry.kind === 'start')).toHaveLength(2);
    const counts = gapCounts(read);
    expect(counts.c2s).toBe(client.sent.length - connection!.frames.c2s.length);
    expect(counts.s2c).toBe(readServerLog(log).sent.length - connection!.frames.s2c.length);
  });

  test('a session that begins and ends on a full disk', async () => {
    const world = newWorld('full-life', 24);
    expect(await world.finish(['recorder', 'start', '--ledger', world.ledger])).toMatchObject({ status: 0 });
    await until('the start entry', async () => ((await world.status())?.['entries'] as number) > 0);
    const { mend } = full(world);
    const { client, log } = session(world, []);
    client.request({ tag: 'refused', pad: 'x'.repeat(200_000) });
    await client.settled();
    await askUntilUnrecordable(world, client, 200_000);
    client.child.stdin.end();
    expect(await client.ended).toEqual({ code: 0, signal: null });
    mend();
    await until('recording to go on', async () => (await recordable(world)) === true);
    await until('the close', async () => (await world.connections())?.length === 0);
    await world.endRecorder();
    const read = readLedger(world.ledger);
    expect(await world.finish(['verify', world.ledger])).toMatchObject({ status: 0 });
    const [connection] = [...read.connections.values()];
    expect(connection!.opens).toBe(1);
    expect(connection!.closes).toEqual(['client closed']);
    expect(gapCounts(read).c2s).toBe(client.sent.length - connection!.frames.c2s.length);
    expect(readServerLog(log).received.length).toBe(connection!.frames.c2s.length);
  });
});

// each waits the ten seconds for which a tap holds what it has: at the same time
describe.skipIf(!canMount).concurrent('a disk that cannot be written at all', () => {
  test.each(['block', 'pass'])('read-only and back: %s', async (onUnrecordable) => {
    const world = newWorld('read-only', 24);
    const { client, log } = session(world, ['--on-unrecordable', onUnrecordable]);
    client.request({ tag: 'first' });
    await client.settled();
    const { mend } = await readOnly(world);
    // a file that is open stays writable on a read-only bind mount: whoever comes next finds it read-only
    process.kill(world.recorderPid()!, 'SIGKILL');
    await until('the recorder to end', () => world.recorderPid() === undefined);
    client.request({ tag: 'held' });
    await client.settled();
    expect(client.stderr).toMatch(/^sworn: error: .*\nsworn: hint: .*\n$/);
    expect(client.errors.map(({ error }) => error.code)).toEqual(onUnrecordable === 'block' ? [5030] : []);
    mend();
    await until('a recorder', () => world.status());
    await until('this tap to be attached', async () => (await world.connections())?.[0]?.attached);
    client.request({ tag: 'again' });
    const read = await endInOrder(world, client);
    expect(gapCounts(read)).toEqual(onUnrecordable === 'block' ? { c2s: 1, s2c: 0 } : { c2s: 1, s2c: 1 });
    expect(readServerLog(log).received.length).toBe(onUnrecordable === 'block' ? 2 : 3);
  });

  test('a HOME that cannot be written: an existing ledger goes on, a new one is refused with words', async () => {
    const world = newWorld('home', 24);
    const first = session(world, []);
    first.client.request({ tag: 'first' });
    await endInOrder(world, first.client);
    mount(['--bind', world.home, world.home]);
    await until('the mount to be idle', () => spawnSync('mount', ['-o', 'remount,bind,ro', world.home]).status === 0);
    world.onEnd(() => void spawnSync('umount', ['-l', world.home]));
    const second = session(world, []);
    const elsewhere = new Client(world.sworn(['run', '--ledger', join(world.disk, 'other'), '--', 'cat']));
    elsewhere.request({ tag: 'nowhere' });
    second.client.request({ tag: 'second' });
    await second.client.settled();
    second.client.child.stdin.end();
    expect(await second.client.ended).toEqual({ code: 0, signal: null });
    expect(second.client.stderr).toBe('');
    expect(second.client.errors).toEqual([]);
    await elsewhere.settled();
    expect(elsewhere.errors.map(({ error }) => error.code)).toEqual([5030]);
    expect(elsewhere.stderr).toMatch(/^sworn: error: .*ended with status 73: the ledger .* cannot be created.*\nsworn: hint: .*HOME.*\n$/);
    elsewhere.child.stdin.end();
    await elsewhere.ended;
    await world.endRecorder();
    expect(readLedger(world.ledger).connections.size).toBe(2);
    checkLedger(world.ledger, world.keysHome);
  });
});
