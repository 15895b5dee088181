import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { checkLedger } from '../check-ledger.ts';
import { soak } from '../soak/kills.ts';
import {
  Client,
  connectionFaults,
  deliveryFaults,
  digestOf,
  echoServer,
  isAlive,
  readLedger,
  readServerLog,
  until,
  World,
  type RecordedConnection,
} from '../support-processes.ts';

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.end();
});

function newWorld(name: string): World {
  const world = new World(name);
  worlds.push(world);
  mkdirSync(world.home);
  return world;
}

test('killed at random: what is delivered is recorded once, and every session that can goes on [attack-none-soak]', async () => {
  const seed = Math.floor(Math.random() * 1e9);
  const { violations, total } = await soak({ kills: 40, seed, worlds: 2, sessions: 2, killsPerWorld: 14, log: () => undefined });
  expect(violations, `seed ${seed}`).toEqual([]);
  expect(total).toBeGreaterThanOrEqual(40);
}, 240_000);

/** A session in mode `observe` whose recorder is stopped while messages are under way, so that they wait in the socket. */
async function overStoppedRecorder(world: World): Promise<{ client: Client; recorder: number; log: string }> {
  const log = join(world.folder, 'server.log');
  const client = new Client(world.sworn(['run', '--ledger', world.ledger, '--mode', 'observe', '--', process.execPath, echoServer, log]));
  client.request({ tag: 'first' });
  await client.settled();
  await until('start, open, principal and both messages', async () => ((await world.status())?.['entries'] as number) >= 5);
  const recorder = world.recorderPid()!;
  process.kill(recorder, 'SIGSTOP');
  for (let i = 0; i < 300; i++) client.request({ tag: `held ${i}`, pad: 'x'.repeat(300) });
  await until('deliveries that the recorder has not seen', () => client.received.length > 50);
  return { client, recorder, log };
}

async function killTap(client: Client, log: string): Promise<void> {
  client.child.kill('SIGKILL');
  await client.ended;
  const { pid } = readServerLog(log);
  await until('the server to end', () => !isAlive(pid!));
}

function faultsOf(client: Client, log: string, connection: RecordedConnection, tail: boolean): string[] {
  const { received, sent } = readServerLog(log);
  const delivered = { toServer: received, toClient: client.received, byClient: client.sent, byServer: sent };
  return [...connectionFaults('the session', connection), ...deliveryFaults('the session', connection, delivered, tail)];
}

test('observe: a tap dies before its recorder has read: everything that it handed over is recorded', async () => {
  const world = newWorld('handed-over');
  const { client, recorder, log } = await overStoppedRecorder(world);
  await killTap(client, log);
  process.kill(recorder, 'SIGCONT');
  await until('the recorder to notice', async () => {
    const connections = await world.connections();
    return connections?.length === 1 && !connections[0]!.attached;
  });
  await world.endRecorder();
  const [connection] = [...readLedger(world.ledger).connections.values()];
  expect(faultsOf(client, log, connection!, false)).toEqual([]);
  checkLedger(world.ledger, world.keysHome);
  expect(world.run(['verify', world.ledger])).toMatchObject({ status: 0 });
});

test('observe: recorder and tap die before a resend: only the end is missing, and nothing else is touched', async () => {
  const world = newWorld('both');
  const { client, recorder, log } = await overStoppedRecorder(world);
  client.child.kill('SIGSTOP'); // it must not find another recorder
  process.kill(recorder, 'SIGKILL');
  await killTap(client, log);
  expect(world.run(['recorder', 'start', '--ledger', world.ledger])).toMatchObject({ status: 0 });
  await world.endRecorder();
  const [connection] = [...readLedger(world.ledger).connections.values()];
  expect(faultsOf(client, log, connection!, true)).toEqual([]);
  expect(connection!.frames.s2c.length).toBeLessThan(client.received.length);
  expect(world.run(['verify', world.ledger])).toMatchObject({ status: 0 });
});

test.each(['SIGKILL', 'SIGTERM'] as const)('a frame of several units goes on with the next recorder: %s', async (signal) => {
  const world = newWorld('long-frame');
  const log = join(world.folder, 'server.log');
  const client = new Client(world.sworn(['run', '--ledger', world.ledger, '--', process.execPath, echoServer, log]));
  client.request({ tag: 'first' });
  await client.settled();
  for (let round = 0; round < 2; round++) {
    const line = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: `long ${round}`, method: 'echo', params: { pad: 'x'.repeat(4_500_000) } }));
    client.child.stdin.write(line.subarray(0, 3_400_000));
    const segment = join(world.ledger, 'payload', '0000000000000000');
    await until('three parts', () => statSync(segment).size > round * 4_500_000 + 3 * 1024 * 1024);
    const recorder = world.recorderPid()!;
    process.kill(recorder, signal);
    await until('the recorder to end', () => !isAlive(recorder));
    client.sent.push(digestOf(line));
    client.child.stdin.write(Buffer.concat([line.subarray(3_400_000), Buffer.from('\n')]));
    client.request({ tag: `behind ${round}`, replyBytes: 2_500_000 });
    await client.settled();
  }
  client.child.stdin.end();
  expect(await client.ended).toEqual({ code: 0, signal: null });
  await world.endRecorder();
  const [connection] = [...readLedger(world.ledger).connections.values()];
  expect(faultsOf(client, log, connection!, false)).toEqual([]);
  expect(connection!.frames.c2s.map((frame) => frame.parts)).toEqual([1, 5, 1, 5, 1]);
  expect(connection!.frames.s2c.map((frame) => frame.parts)).toEqual([1, 1, 3, 1, 3]);
  checkLedger(world.ledger, world.keysHome);
  expect(world.run(['verify', world.ledger])).toMatchObject({ status: 0 });
});

test('a recorder killed while it makes its ledger leaves nothing that stands in the way', async () => {
  const world = newWorld('creation');
  for (let i = 0; i < 12; i++) {
    const ledger = join(world.folder, `ledger-${i}`);
    const recorder = world.sworn(['recorder', 'start', '--daemon', '--ledger', ledger]);
    const ended = new Promise((done) => recorder.on('exit', done));
    // making one takes from 50 to 150 ms here; elsewhere other moments are hit
    await sleep(30 + i * 12);
    recorder.kill('SIGKILL');
    await ended;
    const client = new Client(world.sworn(['run', '--ledger', ledger, '--', 'sed', '-u', 's/"method":"echo"/"result":{}/']));
    client.request({ tag: i });
    client.child.stdin.end();
    expect(await client.ended).toEqual({ code: 0, signal: null });
    expect([client.errors, client.stderr]).toEqual([[], '']);
    await world.endRecorder(ledger);
    expect(readLedger(ledger).connections.size).toBe(1);
    expect(await world.finish(['verify', ledger])).toMatchObject({ status: 0 });
  }
});
