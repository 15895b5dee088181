import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { encodeJson, frameHeaderBytes, readJson, WireReader, wireType, writeFrameHeader, type Hello } from '../../src/wire/wire.ts';
import { checkLedger } from '../check-ledger.ts';
import {
  Client,
  connectionFaults,
  deliveryFaults,
  digestOf,
  echoServer,
  isAlive,
  processesWith,
  readLedger,
  readServerLog,
  swornProgram,
  until,
  World,
} from '../support-processes.ts';

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.end();
});

function newWorld(name: string, places: { ledger?: (folder: string) => string } = {}): World {
  const world = new World(name, places);
  worlds.push(world);
  mkdirSync(world.home);
  return world;
}

/** A tap before an echo server. The shell is its client: what this test process starts otherwise descends from no tapped client. */
function echoTap(world: World, name: string, words: string[] = []): { client: Client; log: string } {
  const log = join(world.folder, `${name}.log`);
  const run = [swornProgram, 'run', '--ledger', world.ledger, '--label', `session=${name}`, ...words, '--', process.execPath, echoServer, log];
  return { client: new Client(world.spawn('sh', ['-c', '"$@"; exit $?', 'sh', process.execPath, ...run])), log };
}

async function endInOrder(client: Client): Promise<void> {
  await client.settled();
  client.child.stdin.end();
  expect(await client.ended).toEqual({ code: 0, signal: null });
  for (let id = 1; id <= client.asked; id++) expect(client.answers.get(id), `answers to ${id}`).toBe(1);
}

/** Ends the recorder; then the ledger must hold, and each of these sessions be in it once and whole. */
async function expectWhole(world: World, sessions: { client: Client; log: string; name: string }[]): Promise<ReturnType<typeof readLedger>> {
  await world.endRecorder();
  const read = readLedger(world.ledger);
  for (const { client, log, name } of sessions) {
    const own = [...read.connections.values()].filter((connection) => connection.labels['session'] === name);
    expect(own.length, name).toBe(1);
    const { received, sent } = readServerLog(log);
    const delivered = { toServer: received, toClient: client.received, byClient: client.sent, byServer: sent };
    expect([...connectionFaults(name, own[0]!), ...deliveryFaults(name, own[0], delivered, false)]).toEqual([]);
  }
  checkLedger(world.ledger, world.keysHome);
  const verified = await world.finish(['verify', world.ledger]);
  expect(verified, verified.stdout).toMatchObject({ status: 0 });
  return read;
}

const recordersOf = (world: World): number[] => processesWith(world.ledger).filter((pid) => readCommandLine(pid).includes('recorder start'));

function readCommandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

test('20 taps at once on a fresh ledger start one recorder', async () => {
  const world = newWorld('race');
  const sessions = Array.from({ length: 20 }, (_, i) => ({ name: `r${i}`, ...echoTap(world, `r${i}`) }));
  for (const { client } of sessions) client.request({ tag: client.asked });
  for (const { client } of sessions) await client.settled();
  // those that lost the race leave
  await until('one recorder to be left', () => recordersOf(world).length === 1);
  expect(readdirSync(world.keysHome).filter((name) => /^[0-9a-f]{32}$/.test(name))).toHaveLength(1);
  for (const { client } of sessions) await endInOrder(client);
  const { entries } = await expectWhole(world, sessions);
  expect(entries.filter((entry) => entry.kind === 'start')).toHaveLength(1);
  expect(entries.filter((entry) => entry.kind === 'open')).toHaveLength(20);
}, 180_000);

test('50 taps at once on one ledger: one tree, every message once [attack-none-writers]', async () => {
  const world = newWorld('fifty');
  // sed as the server: quick to start, and answers each request on its own line
  const answer = (line: string): string => line.replace('"method":"echo"', '"result":{}');
  const taps = Array.from({ length: 50 }, (_, tap) => {
    const words = ['run', '--ledger', world.ledger, '--label', `session=${tap}`, ...(tap % 2 === 0 ? [] : ['--mode', 'observe'])];
    return new Client(world.sworn([...words, '--', 'sed', '-u', 's/"method":"echo"/"result":{}/']));
  });
  const lines = taps.map((client, tap) =>
    Array.from({ length: 40 }, (_, i) => {
      client.request({ tag: `${tap} ${i}` });
      return JSON.stringify({ jsonrpc: '2.0', id: i + 1, method: 'echo', params: { tag: `${tap} ${i}` } });
    }),
  );
  for (const client of taps) await endInOrder(client);
  await world.endRecorder();
  const { connections } = readLedger(world.ledger);
  expect(connections.size).toBe(50);
  for (const connection of connections.values()) {
    const tap = Number(connection.labels['session']);
    expect(connectionFaults(String(tap), connection)).toEqual([]);
    expect(connection.frames.c2s.map((frame) => frame.digest)).toEqual(lines[tap]!.map((line) => digestOf(Buffer.from(line))));
    expect(connection.frames.s2c.map((frame) => frame.digest)).toEqual(lines[tap]!.map((line) => digestOf(Buffer.from(answer(line)))));
    expect(connection.closes).toEqual(['client closed']);
  }
  checkLedger(world.ledger, world.keysHome);
  expect(await world.finish(['verify', world.ledger])).toMatchObject({ status: 0 });
}, 240_000);

test('a recorder ends when nobody needs it, and a tap that comes at that moment is served', async () => {
  const world = newWorld('idle');
  const sessions: { name: string; client: Client; log: string }[] = [];
  for (let round = 0; round < 8; round++) {
    await world.endRecorder();
    const recorder = world.sworn(['recorder', 'start', '--daemon', '--idle', '0.15', '--ledger', world.ledger]);
    const ended = new Promise<number | null>((done) => recorder.on('exit', done));
    await until('the recorder to listen', () => world.status());
    await sleep(round * 15);
    const session = { name: `i${round}`, ...echoTap(world, `i${round}`) };
    for (let i = 0; i < 20; i++) session.client.request({ tag: `${round} ${i}` });
    await endInOrder(session.client);
    sessions.push(session);
    expect(await ended).toBe(0);
  }
  const { entries } = await expectWhole(world, sessions);
  expect(entries.filter((entry) => entry.kind === 'stop' && entry.reason === 'idle').length).toBeGreaterThanOrEqual(1);
  expect(entries.filter((entry) => entry.kind === 'recovery')).toEqual([]);
}, 120_000);

test('`recorder stop` under live taps: they go on with a new recorder', async () => {
  const world = newWorld('stop');
  const sessions = ['commit', 'observe', 'commit'].map((mode, i) => ({ name: `s${i}`, ...echoTap(world, `s${i}`, ['--mode', mode]) }));
  for (const { client } of sessions) client.request({ tag: 'first' });
  for (const { client } of sessions) await client.settled();
  for (let round = 0; round < 4; round++) {
    const before = world.recorderPid()!;
    let isStopping = true;
    const traffic = sessions.map(async ({ client }) => {
      for (let i = 0; isStopping || i < 30; i++) {
        client.request({ tag: `${round} ${i}`, pad: 'x'.repeat((i % 7) * 300) });
        if (i % 8 === 0) await sleep(1);
        if (client.outstanding > 200) await until('answers', () => client.outstanding < 100 || client.hasEnded);
      }
    });
    expect(await world.finish(['recorder', 'stop', '--ledger', world.ledger])).toMatchObject({ status: 0 });
    isStopping = false;
    await Promise.all(traffic);
    await until('the recorder to end', () => !isAlive(before));
    for (const { client } of sessions) await client.settled();
  }
  for (const { client } of sessions) await endInOrder(client);
  const { entries } = await expectWhole(world, sessions);
  const stops = entries.filter((entry) => entry.kind === 'stop');
  expect(stops.slice(0, 4).map(({ reason, by, selfAdministered }) => ({ reason, uid: by?.uid, selfAdministered }))).toEqual(
    Array.from({ length: 4 }, () => ({ reason: 'asked', uid: process.getuid!(), selfAdministered: true })),
  );
  expect(sessions.map(({ client }) => client.stderr)).toEqual(['', '', '']);
}, 180_000);

test('whoever descends from a tapped client may not stop the recorder [attack-descendant-stop]', async () => {
  const world = newWorld('descendant');
  // the server does it itself, for each line that it gets
  const stop = '"$1" "$2" recorder stop --ledger "$3" 2>"$4"';
  const server = ['sh', '-c', `while read line; do ${stop}; echo "{\\"jsonrpc\\":\\"2.0\\",\\"id\\":1,\\"result\\":{\\"status\\":$?}}"; done`, 'sh'];
  const errors = join(world.folder, 'errors');
  // and this process, as the client that started the tap, may not either
  const client = new Client(world.sworn(['run', '--ledger', world.ledger, '--', ...server, process.execPath, swornProgram, world.ledger, errors]));
  client.request({});
  await client.settled();
  expect(readFileSync(errors, 'utf8')).toMatch(/^sworn: error: process \d+ belongs to a tapped client and may not stop the recorder\nsworn: hint: /);
  expect(await world.finish(['recorder', 'stop', '--ledger', world.ledger])).toMatchObject({ status: 77 });
  await endInOrder(client);
  const { entries } = readLedger(world.ledger);
  expect(entries.filter((entry) => entry.kind === 'stop')).toEqual([]);
  const answer = digestOf(Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"status":77}}'));
  expect([...readLedger(world.ledger).connections.values()][0]!.frames.s2c.map((frame) => frame.digest)).toEqual([answer]);
});

test('a ledger whose path has 200 characters', async () => {
  const world = newWorld('long', { ledger: (folder) => join(folder, 'a'.repeat(99), 'b'.repeat(200 - folder.length - 101)) });
  expect(world.ledger).toHaveLength(200);
  const session = { name: 'long', ...echoTap(world, 'long') };
  session.client.request({ tag: 1 });
  await endInOrder(session.client);
  await expectWhole(world, [session]);
});

test('a clock that was set back is noted, never refused [attack-none-clock]', async () => {
  const world = newWorld('clock');
  const first = { name: 'before', ...echoTap(world, 'before') };
  first.client.request({ tag: 1 });
  await endInOrder(first.client);
  await world.endRecorder();
  const patch = 'const now = Date.now; Date.now = () => now() - 3600e3;';
  world.spawn(process.execPath, [
    ...['--import', `data:text/javascript,${encodeURIComponent(patch)}`],
    ...[swornProgram, 'recorder', 'start', '--daemon', '--ledger', world.ledger],
  ]);
  await until('the recorder to listen', () => world.status());
  const second = { name: 'after', ...echoTap(world, 'after') };
  second.client.request({ tag: 2 });
  await endInOrder(second.client);
  const { entries } = await expectWhole(world, [first, second]);
  const back = entries.flatMap((entry) => (entry.kind === 'recovery' && entry.reason === 'clock-set-back' ? [entry.backUs ?? 0] : []));
  expect(back).toHaveLength(1);
  expect(back[0]).toBeGreaterThan(3_500e6);
  expect(back[0]).toBeLessThanOrEqual(3_600e6);
});

/** A tap of which a test chooses every byte. */
class BareTap {
  readonly socket: Socket;
  readonly messages: { type: number; json: Record<string, unknown> | undefined }[] = [];

  constructor(world: World, hello: Partial<Hello>) {
    this.socket = connect(world.socket);
    const reader = new WireReader();
    this.socket.on('data', (chunk) => void reader.push(chunk, (type, body) => this.messages.push({ type, json: readJson(body) })));
    this.socket.on('error', () => undefined);
    const whole: Hello = {
      wire: [1, 1],
      connection: 'c'.repeat(32),
      transport: 'stdio',
      server: 'bare',
      labels: {},
      argv: ['bare'],
      cwd: '/',
      mode: 'commit',
      onUnrecordable: 'block',
      overrides: { sensitive: [], write: [], read: [] },
      openedAt: Date.now(),
      token: 'd'.repeat(32),
      ...hello,
    };
    this.socket.write(encodeJson(wireType.hello, whole));
  }

  frame(direction: 0 | 1, unit: number, text: string): void {
    const bytes = Buffer.from(`${text}\n`);
    const header = Buffer.alloc(frameHeaderBytes);
    writeFrameHeader(header, 0, direction, 0, unit, [0, 0], 0, bytes.length);
    this.socket.write(Buffer.concat([header, bytes]));
  }

  close(): void {
    this.socket.write(encodeJson(wireType.close, { reason: 'client closed', frames: { c2s: 2, s2c: 0 }, delivered: [2, 0] }));
  }

  async gets(type: number): Promise<Record<string, unknown> | undefined> {
    return (await until(`message ${type}`, () => this.messages.find((message) => message.type === type))).json;
  }
}

test('a tap that did not hear that its close is durable is told so, also by the next recorder', async () => {
  const world = newWorld('unheard');
  expect(await world.finish(['recorder', 'start', '--ledger', world.ledger])).toMatchObject({ status: 0 });
  const tap = new BareTap(world, {});
  tap.frame(0, 1, '{"jsonrpc":"2.0","id":1,"method":"ping"}');
  tap.frame(0, 2, '{"jsonrpc":"2.0","id":2,"method":"ping"}');
  tap.close();
  await tap.gets(wireType.closed);
  tap.socket.destroy();
  const again = async (): Promise<void> => {
    const back = new BareTap(world, {});
    expect(await back.gets(wireType.welcome)).toMatchObject({ resumed: true, durable: { c2s: 2, s2c: 0 } });
    await back.gets(wireType.closed);
    // what it might send all the same
    back.frame(0, 2, '{"jsonrpc":"2.0","id":2,"method":"ping"}');
    back.close();
    back.socket.end();
    await new Promise((done) => back.socket.on('close', done));
  };
  await again();
  process.kill(world.recorderPid()!, 'SIGKILL');
  await until('the recorder to end', () => world.recorderPid() === undefined);
  expect(await world.finish(['recorder', 'start', '--ledger', world.ledger])).toMatchObject({ status: 0 });
  await again();
  // a stranger with another token learns nothing
  const stranger = new BareTap(world, { token: 'e'.repeat(32) });
  expect(await stranger.gets(wireType.error)).toMatchObject({ code: 'permission' });
  await world.endRecorder();
  const { connections } = readLedger(world.ledger);
  expect([...connections.values()].flatMap((connection) => connectionFaults('bare', connection))).toEqual([]);
  expect([...connections.values()].map(({ frames, closes }) => [frames.c2s.length, closes])).toEqual([[2, ['client closed']]]);
  expect(await world.finish(['verify', world.ledger])).toMatchObject({ status: 0 });
});

test('what a tap had handed over when it died is recorded, although it cannot be answered any more', async () => {
  const world = newWorld('handed-over');
  expect(await world.finish(['recorder', 'start', '--ledger', world.ledger])).toMatchObject({ status: 0 });
  const count = 60;
  for (let i = 0; i < count; i++) {
    const tap = new BareTap(world, { mode: 'observe', connection: String(i).padStart(32, '0') });
    await tap.gets(wireType.welcome);
    tap.frame(0, 1, '{"jsonrpc":"2.0","id":1,"method":"ping"}');
    // at another moment each time: while the recorder reads, rests, writes, answers
    await sleep(i / 8);
    tap.frame(0, 2, '{"jsonrpc":"2.0","id":2,"method":"ping"}');
    await new Promise<void>((done) => tap.socket.write(Buffer.alloc(0), () => done()));
    tap.socket.destroy();
  }
  await until('the recorder to notice', async () => {
    const connections = await world.connections();
    return connections?.length === count && connections.every(({ attached }) => !attached);
  });
  await world.endRecorder();
  const { connections } = readLedger(world.ledger);
  expect(connections.size).toBe(count);
  expect([...connections.values()].map(({ frames }) => frames.c2s.length)).toEqual(Array.from({ length: count }, () => 2));
});

test('a connection that was given up as lost goes on when its tap comes back', async () => {
  const world = newWorld('given-up');
  expect(await world.finish(['recorder', 'start', '--ledger', world.ledger])).toMatchObject({ status: 0 });
  const tap = new BareTap(world, {});
  tap.frame(0, 1, '{"jsonrpc":"2.0","id":1,"method":"ping"}');
  await tap.gets(wireType.pass);
  tap.socket.destroy();
  await until('the connection to be given up', async () => (await world.connections())?.length === 0);
  const back = new BareTap(world, {});
  expect(await back.gets(wireType.welcome)).toMatchObject({ resumed: true, durable: { c2s: 1, s2c: 0 } });
  back.frame(0, 2, '{"jsonrpc":"2.0","id":2,"method":"ping"}');
  back.frame(1, 1, '{"jsonrpc":"2.0","id":2,"result":{}}');
  back.close();
  await back.gets(wireType.closed);
  await world.endRecorder();
  const [connection] = [...readLedger(world.ledger).connections.values()];
  expect(connection!.opens).toBe(1);
  expect(connection!.closes).toEqual(['tap lost', 'client closed']);
  expect(connection!.frames.c2s.map((frame) => frame.tapSeq)).toEqual([1, 2]);
  expect(await world.finish(['verify', world.ledger])).toMatchObject({ status: 0 });
});

test('who connects and says nothing, or stops in the middle, does not keep a recorder from ending', async () => {
  const world = newWorld('silent');
  expect(await world.finish(['recorder', 'start', '--ledger', world.ledger])).toMatchObject({ status: 0 });
  const silent = connect({ path: world.socket, allowHalfOpen: true });
  silent.on('error', () => undefined);
  await new Promise((done) => silent.on('connect', done));
  const tap = new BareTap(world, {});
  await tap.gets(wireType.welcome);
  tap.socket.pause();
  await world.endRecorder();
  silent.destroy();
  tap.socket.destroy();
  expect(readLedger(world.ledger).entries.at(-1)).toMatchObject({ kind: 'stop', reason: 'signal' });
});

test('a socket that was tidied away comes back, and nobody takes one that is in use [attack-socket-taken]', async () => {
  const world = newWorld('tidied');
  const first = { name: 't0', ...echoTap(world, 't0') };
  first.client.request({ tag: 1 });
  await first.client.settled();
  const recorder = world.recorderPid();
  rmSync(world.socket);
  const second = { name: 't1', ...echoTap(world, 't1') };
  second.client.request({ tag: 2 });
  await second.client.settled();
  expect(world.recorderPid()).toBe(recorder);
  const other = await world.finish(['recorder', 'start', '--foreground', '--ledger', join(world.folder, 'other'), '--socket', world.socket]);
  expect(other).toMatchObject({ status: 75, stderr: expect.stringContaining('another recorder listens at') as string });
  first.client.request({ tag: 3 });
  for (const { client } of [first, second]) await endInOrder(client);
  await expectWhole(world, [first, second]);
});

test('a ledger that was taken away is not written on where nobody finds it', async () => {
  const world = newWorld('taken');
  const { client } = echoTap(world, 'live');
  client.request({ tag: 1 });
  await client.settled();
  const recorder = world.recorderPid()!;
  renameSync(world.ledger, `${world.ledger}.away`);
  await until('the recorder to end', () => !isAlive(recorder));
  client.request({ tag: 2 });
  await endInOrder(client);
  await world.endRecorder();
  // a new ledger, which says that the tap holds a receipt for another one
  const { entries } = readLedger(world.ledger);
  expect(entries.filter((entry) => entry.kind === 'recovery').map(({ reason }) => reason)).toEqual(['receipt-missing']);
  expect(entries.filter((entry) => entry.kind === 'message')).toHaveLength(2);
});
