import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FakeRecorder, type FakePeer } from '../../test/scenarios/fake-recorder.ts';
import { headBytes, unitBytes } from '../limits.ts';
import { Channel, type Outcome } from './channel.ts';
import { bare, encodeJson, exact, headed, held, moreUnits, wireType, type Hello } from './wire.ts';

const who = 'a'.repeat(32);

async function opened(onUnrecordable: Hello['onUnrecordable'] = 'block'): Promise<{ channel: Channel; recorder: FakeRecorder; said: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-channel-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const recorder = await FakeRecorder.listen(folder);
  const hello: Hello = {
    wire: [1, 1],
    connection: 'c'.repeat(32),
    transport: 'http',
    server: 'x',
    labels: {},
    argv: [],
    cwd: '/',
    mode: 'commit',
    onUnrecordable,
    overrides: { sensitive: [], write: [], read: [] },
    openedAt: 1,
    token: 'd'.repeat(32),
  };
  const said: string[] = [];
  const channel = new Channel({ socket: recorder.path, ledger: folder, external: true }, () => hello, {
    unreachable: (reason) => said.push(reason),
    reached: () => said.push('reached'),
  });
  onTestFinished(() => channel.close('signal', 0));
  channel.start();
  return { channel, recorder, said };
}

/** Outcomes in the order in which they came. */
function outcomes(): { list: Outcome[]; add: (due: Promise<Outcome>) => Promise<Outcome> } {
  const list: Outcome[] = [];
  const add = async (due: Promise<Outcome>): Promise<Outcome> => {
    const outcome = await due;
    list.push(outcome);
    return outcome;
  };
  return { list, add };
}

/** It will not have us: nobody waits for another one. */
function turnAway(peer: FakePeer): void {
  peer.write(encodeJson(wireType.error, { code: 'no', message: 'not you', hint: '' }));
  peer.socket.end();
}

const bytes = (text: string): Buffer => Buffer.from(text);

test('frames of many streams are units without holes; each begins with its head, and goes when it is passed', async () => {
  const { channel, recorder } = await opened();
  const peer = await recorder.next();
  peer.welcome('receipt');
  channel.name(who, { observed: { address: '127.0.0.1' }, declared: {} });
  channel.name(who, { observed: { address: 'another' }, declared: {} });
  const { list, add } = outcomes();
  const long = Buffer.alloc(2 * unitBytes + 5, 'l');
  const dues = [
    add(channel.send(0, 7, { who, method: 'POST' }, bytes('one'))),
    add(channel.send(1, 7, { who, session: 's', status: 200 }, long)),
    add(channel.send(0, 8, { who, method: 'GET' })),
  ];
  await peer.until(({ units }) => units.length === 5);
  const flags = headed | exact | held;
  expect(peer.others.filter(({ type }) => type === wireType.principal).map(({ json }) => json)).toEqual([
    { who, principal: { observed: { address: '127.0.0.1' }, declared: {} } },
  ]);
  expect(peer.of(0).map(({ unit, stream, flags: one, head, text }) => [unit, stream, one, head, text])).toEqual([
    [1, 7, flags, { who, method: 'POST' }, 'one'],
    [2, 8, flags | bare, { who, method: 'GET' }, ''],
  ]);
  expect(peer.of(1).map(({ unit, flags: one, head, sizeBytes }) => [unit, one, head, sizeBytes])).toEqual([
    [1, flags | moreUnits, { who, session: 's' }, unitBytes],
    [2, flags | moreUnits, { who, session: 's' }, unitBytes],
    [3, flags, { who, session: 's', status: 200 }, 5],
  ]);
  // a long frame goes with its last unit
  peer.pass(1, 2);
  peer.pass(0, 1);
  await dues[0];
  expect(list).toEqual([{ kind: 'pass', unit: 1, recorded: true }]);
  peer.pass(1, 3);
  peer.pass(0, 2);
  await Promise.all(dues);
  expect(list.slice(1)).toEqual([
    { kind: 'pass', unit: 3, recorded: true },
    { kind: 'pass', unit: 2, recorded: true },
  ]);
  expect(channel.delivered).toEqual([0, 0]);
  channel.done(1, 3);
  channel.done(0, 1);
  expect(channel.delivered).toEqual([1, 3]);
});

test('what is refused never goes, with the answers for both sides; what stands behind it does', async () => {
  const { channel, recorder } = await opened();
  const peer = await recorder.next();
  peer.welcome('verdict');
  const { list, add } = outcomes();
  const dues = ['one', 'two', 'three'].map((text) => add(channel.send(0, 1, { who }, bytes(text))));
  await peer.until(({ units }) => units.length === 3);
  peer.refuse(0, 2, 'to sender\n', 'to receiver\n');
  peer.pass(0, 3);
  await Promise.all(dues);
  expect(list.map((outcome) => [outcome.kind, outcome.unit])).toEqual([
    ['pass', 1],
    ['refused', 2],
    ['pass', 3],
  ]);
  expect(list[1]).toMatchObject({ toSender: bytes('to sender\n'), toReceiver: bytes('to receiver\n') });
  // told again by the next recorder
  peer.refuse(0, 2, 'to sender\n');
  channel.done(0, 1);
  channel.done(0, 3);
  expect(channel.delivered).toEqual([3, 0]);
});

test('what waits for a person is out of the line: what stands behind it goes on, and it goes when it is released, once', async () => {
  const { channel, recorder } = await opened();
  const peer = await recorder.next();
  peer.welcome('verdict');
  const { list, add } = outcomes();
  const long = Buffer.alloc(unitBytes + 1, 'l');
  const dues = [
    add(channel.send(0, 1, { who }, bytes('one'))),
    add(channel.send(0, 2, { who }, long)),
    add(channel.send(0, 3, { who }, bytes('three'))),
    add(channel.send(1, 3, { who }, bytes('back'))),
    add(channel.send(0, 4, { who }, bytes('four'))),
  ];
  await peer.until(({ units }) => units.length === 6);
  // it says that what stands before it may go, and no `pass` behind it lets it go
  peer.aside(0, 2, 3);
  peer.pass(0, 4);
  peer.aside(0, 5);
  peer.pass(1, 1);
  await Promise.all(dues);
  expect(list.map(({ kind, unit }) => [kind, unit])).toEqual([
    ['pass', 1],
    ['aside', 3],
    ['pass', 4],
    ['aside', 5],
    ['pass', 1],
  ]);
  const [, second, , fourth] = list.map((outcome) => (outcome.kind === 'aside' ? outcome.decided : undefined));
  channel.done(0, 1);
  channel.done(0, 4);
  // it is not among those that `delivered` waits for
  expect(channel.delivered).toEqual([5, 0]);
  peer.refuse(0, 2);
  peer.refuse(0, 3, 'no\n');
  peer.release(0, 5);
  expect(await second).toMatchObject({ kind: 'refused', unit: 3, toSender: bytes('no\n') });
  expect(await fourth).toEqual({ kind: 'pass', unit: 5, recorded: true });
  // whatever is said of it later
  for (const again of [() => peer.release(0, 5), () => peer.aside(0, 5), () => peer.release(0, 5), () => peer.refuse(0, 5, 'late\n')]) again();
  const next = channel.send(0, 5, { who }, bytes('next'));
  await peer.until(({ units }) => units.length === 7);
  expect(peer.units.at(-1)).toMatchObject({ unit: 6, delivered: [5, 0] });
  peer.pass(0, 6);
  expect(await next).toMatchObject({ kind: 'pass', unit: 6 });
});

test('a recorder that comes back is told what waits for a person, and decides it; who is gone is given up', async () => {
  const { channel, recorder } = await opened();
  const first = await recorder.next();
  first.welcome('receipt');
  const dues = [1, 2, 3, 4].map((stream) => channel.send(0, stream, { who }, bytes(`${stream}`)));
  dues.push(channel.send(1, 2, { who }, bytes('asked by the server')));
  await first.until(({ units }) => units.length === 5);
  for (const unit of [1, 2, 3]) first.aside(0, unit);
  first.aside(1, 1);
  const waiting = await Promise.all([dues[0]!, dues[1]!, dues[2]!, dues[4]!]);
  const decided = waiting.map((outcome) => (outcome.kind === 'aside' ? outcome.decided : undefined));
  channel.giveUp(2);
  expect(await Promise.all([decided[1], decided[3]])).toEqual([
    { kind: 'given up', unit: 2 },
    { kind: 'given up', unit: 1 },
  ]);
  first.socket.destroy();
  const second = await recorder.next();
  expect(second.hello!['aside']).toEqual({ c2s: [1, 3], s2c: [] });
  // the first recorder died before it could say so of the fourth; of all others it is said again
  for (const unit of [1, 2, 3, 4]) second.aside(0, unit);
  second.release(0, 1);
  second.release(0, 2);
  second.refuse(0, 3, 'lost\n');
  second.welcome('receipt', [4, 1], true);
  expect(await decided[0]).toMatchObject({ kind: 'pass', unit: 1 });
  expect(await decided[2]).toMatchObject({ kind: 'refused', unit: 3 });
  const fourth = await dues[3]!;
  expect(fourth).toMatchObject({ kind: 'aside', unit: 4 });
  second.release(0, 4);
  expect(fourth.kind === 'aside' && (await fourth.decided)).toMatchObject({ kind: 'pass', unit: 4 });
  // nothing of it is sent again, and what comes now goes on behind it
  const next = channel.send(0, 5, { who }, bytes('next'));
  await second.until(({ units }) => units.length === 1);
  expect(second.units[0]).toMatchObject({ unit: 5, text: 'next' });
  second.pass(0, 5);
  await next;
});

test('the next recorder gets what is not durable, in the order in which it came, and who is meant', async () => {
  const { channel, recorder } = await opened();
  const first = await recorder.next();
  first.welcome('verdict');
  channel.name(who, { observed: {}, declared: {} });
  const { list, add } = outcomes();
  const dues = [
    add(channel.send(0, 1, { who }, bytes('a'))),
    add(channel.send(1, 1, { who }, bytes('b'))),
    add(channel.send(0, 2, { who }, bytes('c'))),
    add(channel.send(1, 2, { who }, Buffer.alloc(unitBytes + 1, 'd'))),
  ];
  await first.until(({ units }) => units.length === 5);
  first.pass(0, 1);
  await dues[0];
  first.socket.destroy();
  const second = await recorder.next();
  // `a` was judged and let go, and is not durable; of `d` the first unit is
  second.welcome('verdict', [0, 2], true);
  await second.until(({ units }) => units.length === 3);
  expect(second.others[0]).toMatchObject({ type: wireType.principal, json: { who } });
  expect(second.units.map(({ direction, unit, flags, text }) => [direction, unit, flags & held, text[0]])).toEqual([
    [0, 1, 0, 'a'],
    [0, 2, held, 'c'],
    [1, 3, held, 'd'],
  ]);
  expect(list.map(({ unit }) => unit)).toEqual([1, 1]);
  second.pass(0, 2);
  second.pass(1, 3);
  await Promise.all(dues);
  expect(list.every(({ kind }) => kind === 'pass')).toBe(true);
});

test('a frame that was being refused when the recorder died is lost, and named to the next one', async () => {
  const { channel, recorder } = await opened();
  const first = await recorder.next();
  first.welcome('receipt');
  const due = channel.send(0, 3, { who }, Buffer.alloc(unitBytes + 1, 'x'));
  await first.until(({ units }) => units.length === 2);
  first.refuse(0, 1);
  first.socket.end();
  const second = await recorder.next();
  second.welcome('receipt', [1, 0], true);
  expect(await due).toMatchObject({ kind: 'unrecordable', unit: 2 });
  await second.until(({ others, units }) => others.some(({ type }) => type === wireType.lost) && units.length === 1);
  expect(second.units[0]).toMatchObject({ direction: 0, unit: 3, stream: 3, head: { who, undelivered: [2, 2] } });
  expect(second.others.find(({ type }) => type === wireType.lost)!.json).toMatchObject({ lost: { c2s: 1, s2c: 0 } });
});

test.each(['block', 'pass'] as const)('nobody records: %s, at once, however full the window is, and counted', async (onUnrecordable) => {
  const { channel, recorder, said } = await opened(onUnrecordable);
  const first = await recorder.next();
  first.welcome('verdict');
  const dues: Promise<Outcome>[] = [];
  // more than the window holds: these were let go and wait to be durable
  for (let i = 0; i < 24; i++) dues.push(channel.send(1, 1, { who }, Buffer.alloc(unitBytes, 'f')));
  await first.until(({ units }) => units.length === 24);
  first.pass(1, 24);
  await Promise.all(dues);
  const held1 = channel.send(0, 2, { who }, bytes('held'));
  await first.until(({ units }) => units.length === 25);
  turnAway(first);
  const kind = onUnrecordable === 'block' ? 'unrecordable' : 'pass';
  expect(await held1).toMatchObject({ kind, unit: 1 });
  await channel.room();
  expect(await channel.send(0, 3, { who }, bytes('alone'))).toMatchObject({ kind, unit: 2 });
  expect(said).toEqual(['not you']);
  const second = await recorder.next();
  second.welcome('verdict', [0, 24], true);
  await second.until(({ others }) => others.some(({ type }) => type === wireType.lost));
  expect(second.others.find(({ type }) => type === wireType.lost)!.json).toMatchObject({ lost: { c2s: 2, s2c: 0 } });
  expect(said).toEqual(['not you', 'reached']);
  // a recorder may have what was withheld while it waited: it is named, and what is numbered goes on behind it
  if (onUnrecordable === 'block') {
    await second.until(({ units }) => units.length === 1);
    expect(second.units[0]).toMatchObject({ direction: 0, unit: 3, stream: 2, head: { who, undelivered: [1, 1] }, delivered: [0, 0] });
  }
  const next = channel.send(0, 4, { who }, bytes('recorded'));
  await second.until(({ units }) => units.some(({ text }) => text === 'recorded'));
  expect(second.units.at(-1)!.delivered[0]).toBeGreaterThanOrEqual(onUnrecordable === 'block' ? 1 : 2);
  second.pass(0, second.units.at(-1)!.unit);
  expect(await next).toMatchObject({ kind: 'pass', recorded: true });
});

test('a head that is too long keeps its first headers; one that stays so is an error before anything is numbered', async () => {
  const { channel, recorder } = await opened();
  const peer = await recorder.next();
  peer.welcome('receipt');
  const headers = Array.from({ length: 64 }, (_, i): [string, string] => [`x-${i}`, '"'.repeat(1_000)]);
  void channel.send(0, 1, { who, headers }, bytes('x'));
  await peer.until(({ units }) => units.length === 1);
  const told = (peer.units[0]!.head as { headers: [string, string][] }).headers;
  expect(told.length).toBeGreaterThan(8);
  expect(told.at(-1)).toEqual(['…', `${64 - (told.length - 1)} more`]);
  expect(told.slice(0, -1)).toEqual(headers.slice(0, told.length - 1));
  expect(() => channel.send(0, 1, { who, path: 'p'.repeat(headBytes) }, Buffer.alloc(2 * unitBytes))).toThrow(RangeError);
  void channel.send(0, 1, { who }, bytes('y'));
  await peer.until(({ units }) => units.length === 2);
  expect(peer.units[1]!.unit).toBe(2);
});

test('close says what was said and what arrived; what did not is named before', async () => {
  const { channel, recorder } = await opened();
  const peer = await recorder.next();
  peer.welcome('receipt');
  const dues = [channel.send(1, 1, { who }, bytes('a')), channel.send(1, 2, { who }, bytes('b'))];
  await peer.until(({ units }) => units.length === 2);
  peer.pass(1, 2);
  await Promise.all(dues);
  channel.done(1, 1);
  const closed = channel.close('signal', 10_000);
  expect(await peer.close()).toMatchObject({ reason: 'signal', frames: { c2s: 0, s2c: 3 }, delivered: [0, 3] });
  expect(peer.units[2]).toMatchObject({ stream: 2, unit: 3, head: { who, undelivered: [2, 2] }, delivered: [0, 1] });
  peer.closed();
  await closed;
});
