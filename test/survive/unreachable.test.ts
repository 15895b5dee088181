import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { checkLedger } from '../check-ledger.ts';
import { Client, connectionFaults, echoServer, readLedger, readServerLog, until, World } from '../support-processes.ts';

const worlds: World[] = [];
afterAll(async () => {
  for (const world of worlds.splice(0)) await world.end();
});

function newWorld(name: string): World & { at: string } {
  const world = new World(name);
  worlds.push(world);
  mkdirSync(world.home);
  return Object.assign(world, { at: join(world.folder, 'nowhere.sock') });
}

function session(world: World & { at: string }, words: string[]): { client: Client; log: string } {
  const log = join(world.folder, 'server.log');
  return { client: new Client(world.sworn(['run', '--socket', world.at, ...words, '--', process.execPath, echoServer, log])), log };
}

async function recorderAppears(world: World & { at: string }): Promise<void> {
  world.sworn(['recorder', 'start', '--foreground', '--socket', world.at, '--ledger', world.ledger]);
  await until('this tap to be attached', async () => (await world.connections(world.at))?.[0]?.attached);
}

const oneComplaint = /^sworn: error: no recorder answers at [^\n]*\nsworn: hint: [^\n]*\n$/;

// each waits the ten seconds for which a tap holds what it has: at the same time
describe.concurrent('no recorder can be reached', () => {
  test.each(['commit', 'observe'])('%s, block: requests are answered, and the count is recorded when a recorder appears', async (mode) => {
    const world = newWorld('block');
    const { client, log } = session(world, ['--mode', mode]);
    for (let i = 0; i < 5; i++) client.request({ tag: `refused ${i}` });
    client.batch([{ tag: 'a' }, { tag: 'b' }]);
    client.write({ jsonrpc: '2.0', method: 'notifications/dropped' });
    client.write({ jsonrpc: '2.0', id: 'a"b', method: 'echo' });
    // its id comes behind three units of a mebibyte
    client.write({ jsonrpc: '2.0', method: 'echo', params: { pad: 'x'.repeat(3_500_000) }, id: 'long' });
    await until('refusals', () => client.errors.length === 9);
    expect(client.errors.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 'a"b', 'long']);
    for (const { error } of client.errors) expect(error).toMatchObject({ code: 5030, data: { executed: false } });
    expect(client.stderr).toMatch(oneComplaint);
    expect(readServerLog(log).received).toEqual([]);
    await recorderAppears(world);
    client.request({ tag: 'recorded' });
    await until('an answer', () => client.answered(8));
    client.child.stdin.end();
    expect(await client.ended).toEqual({ code: 0, signal: null });
    await world.endRecorder();
    const { entries, connections } = readLedger(world.ledger);
    const gaps = entries.filter((entry) => entry.kind === 'gap');
    expect(gaps.map(({ reason, lost }) => ({ reason, lost }))).toEqual([{ reason: 'no recorder', lost: { c2s: 9, s2c: 0 } }]);
    const [connection] = [...connections.values()];
    expect(connectionFaults('session', connection!)).toEqual([]);
    expect(connection!.frames.c2s.map((frame) => frame.tapSeq)).toEqual([13]);
    expect(connection!.frames.s2c.map((frame) => frame.tapSeq)).toEqual([1]);
    checkLedger(world.ledger, world.keysHome);
    expect(await world.finish(['verify', world.ledger])).toMatchObject({ status: 0 });
    expect(client.stderr).toMatch(oneComplaint);
  });

  test.each(['commit', 'observe'])('%s, pass: messages are delivered, and the count is recorded when a recorder appears', async (mode) => {
    const world = newWorld('pass');
    const { client, log } = session(world, ['--mode', mode, '--on-unrecordable', 'pass']);
    for (let i = 0; i < 5; i++) client.request({ tag: `passed ${i}`, tick: true });
    client.request({ tag: 'long', pad: 'x'.repeat(3_000_000), replyBytes: 2_500_000 });
    await client.settled();
    expect(client.errors).toEqual([]);
    expect(client.stderr).toMatch(oneComplaint);
    expect(client.received).toEqual(readServerLog(log).sent);
    expect(readServerLog(log).received).toEqual(client.sent);
    await recorderAppears(world);
    client.request({ tag: 'recorded' });
    await client.settled();
    client.child.stdin.end();
    expect(await client.ended).toEqual({ code: 0, signal: null });
    await world.endRecorder();
    const { entries, connections } = readLedger(world.ledger);
    expect(entries.flatMap((entry) => (entry.kind === 'gap' ? [entry.lost] : []))).toEqual([{ c2s: 6, s2c: 11 }]);
    const [connection] = [...connections.values()];
    expect(connectionFaults('session', connection!)).toEqual([]);
    expect(connection!.frames.c2s).toHaveLength(1);
    expect(connection!.frames.s2c).toHaveLength(1);
    expect(await world.finish(['verify', world.ledger])).toMatchObject({ status: 0 });
  });

  test('pass: a frame whose beginning passed unrecorded is counted, not recorded by its end', async () => {
    const world = newWorld('tail');
    const { client, log } = session(world, ['--on-unrecordable', 'pass']);
    client.request({ tag: 'first' });
    await client.settled();
    const line = Buffer.from(`${JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'echo', params: { pad: 'x'.repeat(3_000_000) } })}\n`);
    client.child.stdin.write(line.subarray(0, 2_500_000));
    await recorderAppears(world);
    client.child.stdin.write(line.subarray(2_500_000));
    await until('an answer', () => client.answered(2));
    client.request({ tag: 'sent as 2 too, recorded' });
    await until('both answers', () => client.answers.get(2) === 2);
    client.child.stdin.end();
    expect(await client.ended).toEqual({ code: 0, signal: null });
    await world.endRecorder();
    const { entries, connections } = readLedger(world.ledger);
    const lost = entries.flatMap((entry) => (entry.kind === 'gap' ? [entry.lost] : []));
    // the long line in one, and what was before
    expect(lost.reduce((sum, { c2s }) => sum + c2s, 0)).toBe(2);
    const [connection] = [...connections.values()];
    expect(connectionFaults('session', connection!)).toEqual([]);
    expect(connection!.frames.c2s.map((frame) => frame.digest)).toEqual(client.sent.slice(-1));
    expect(readServerLog(log).received).toHaveLength(3);
    expect(await world.finish(['verify', world.ledger])).toMatchObject({ status: 0 });
  });

  test('a socket path that the system does not take is said at once', async () => {
    const world = newWorld('unsafe');
    const client = new Client(world.sworn(['run', '--ledger', world.ledger, '--socket', join(world.folder, 'x'.repeat(120)), '--', 'cat']));
    expect(await client.ended).toEqual({ code: 2, signal: null });
    expect(client.stderr).toMatch(/^sworn: error: .*\nsworn: hint: .*107 bytes/);
  });
});
