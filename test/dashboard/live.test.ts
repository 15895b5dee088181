/** The live tail of a running dashboard: what happens is told, nothing is missed over a reconnect, and its end holds nobody up. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isAlive, until, World } from '../support-processes.ts';
import { call, closed, Serving, sessionOf } from './serving.ts';

let world: World;
beforeEach(() => {
  world = new World('live');
});
afterEach(() => world.end());

function sum(id: string): number {
  return id.split('.').reduce((all, one) => all + Number(one), 0);
}

test('what happens is told, and can be asked for when it is', async () => {
  const client = sessionOf(world);
  await call(client, 'get_employee');
  const serving = await Serving.start(world);
  await serving.caughtUp(5);
  const tail = await serving.tail();
  await until('the tail to be read', () => tail.status === 200);
  const before = (await serving.json('calls?filter=method:tools/call')).total as number;
  await call(client, 'set_salary', { id: 'E1' });
  await until('the call to be told', () => tail.events.some(({ data }) => (data.calls ?? 0) > 0));
  await until('the call to be a row', async () => (await serving.json('calls?filter=method:tools/call')).total === before + 1);
  await until('all of it to be told', async () => sum(tail.lastId!) === (await serving.json('evidence'))[0].shown);
  await closed(client);
});

test('a killed dashboard and another in its place: whoever comes back is told what they missed', async () => {
  const client = sessionOf(world);
  await call(client, 'get_employee');
  const first = await Serving.start(world);
  await first.caughtUp(5);
  const tail = await first.tail();
  await call(client, 'get_employee');
  await until('something to be told', () => tail.lastId);
  first.child.kill('SIGKILL');
  await until('the tail to end', () => tail.isEnded);
  const lastId = tail.lastId!;
  for (let i = 0; i < 10; i++) await call(client, 'get_employee', { id: i });
  const second = await Serving.start(world);
  const again = await second.tail(lastId);
  await until('what was missed', () => again.lastId !== undefined && sum(again.lastId) >= sum(lastId) + 20);
  const told = again.events.reduce((all, { data }) => all + (data.entries ?? 0), 0);
  // what the first event tells of begins at the cursor, whatever the rows had when the tail was opened
  expect(told).toBe(sum(again.lastId!) - sum(lastId));
  expect((await second.json('calls?filter=method:tools/call')).total).toBe(12);
  await closed(client);
});

test('asked to end it ends at once, with streams open and a recorder at work', async () => {
  const client = sessionOf(world);
  await call(client, 'get_employee');
  const serving = await Serving.start(world);
  const tails = [await serving.tail(), await serving.tail()];
  await until('the tails to be read', () => tails.every(({ status }) => status === 200));
  serving.child.kill('SIGTERM');
  expect(await serving.exited).toEqual({ code: 0, signal: null });
  await until('the tails to end', () => tails.every(({ isEnded }) => isEnded));
  // the recorder was not asked, and goes on
  await call(client, 'get_employee');
  expect(isAlive(world.recorderPid()!)).toBe(true);
  await closed(client);
});
