/** What comes into force while a request waits for a person counts for it, too. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { pendingRequests } from '../../src/limits.ts';
import type { Pending } from '../../src/recorder/approval-question.ts';
import { Approving, call, payPolicy, result, type Json } from './approving.ts';
import { gone, messages } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

async function command(one: Approving, ...words: string[]): Promise<void> {
  const { code, stderr } = await one.stage.command(...words, '--ledger', one.stage.ledger);
  if (code !== 0) throw new Error(stderr);
}

async function reload(one: Approving, policy: string): Promise<void> {
  writeFileSync(join(one.stage.folder, 'sworn.yaml'), policy);
  await command(one, 'policy', 'reload');
}

async function refuses(one: Approving, waiting: Pending, why: RegExp): Promise<void> {
  await expect(one.decide(waiting, 'approved')).rejects.toMatchObject({ code: 'usage', message: expect.stringMatching(why) });
}

/** Denied in the end, and the server has seen none of it. */
async function ended(one: Approving, waiting: Pending, id: unknown): Promise<void> {
  await one.decide(waiting, 'denied');
  expect(await one.answer(id)).toMatchObject({ error: { code: 4030 } });
  expect(one.reached).not.toContain(id);
  await one.tap.close();
  await one.stage.finished();
}

test('a freeze keeps what waits from being approved until it is taken back', async () => {
  const one = await Approving.begin();
  await one.send(call(1, 'pay'), call(2, 'pay'));
  const [first, second] = await one.waiting(2);
  await command(one, 'freeze');
  await refuses(one, first!, /^it cannot be approved now: the freeze of entry \d+ is in force/);
  // denying is never kept back
  await one.decide(second!, 'denied');
  await command(one, 'unfreeze', '--all');
  await one.decide(first!, 'approved');
  await one.server.input.count(1);
  expect(one.reached).toEqual([1]);
  await one.server.write(`${JSON.stringify(result(1))}\n`);
  await one.answer(1);
  await one.tap.close();
  await one.stage.finished();
});

test('a policy that denies it by now keeps it from being approved, and one that leaves it alone does not', async () => {
  const one = await Approving.begin();
  await one.send(call(1, 'pay', { to: 'eve' }), call(2, 'pay', { to: 'bob' }), call(3, 'pay', { to: 'bob', pin: '1234' }));
  const [eve, bob, concealed] = await one.waiting(3);
  await reload(
    one,
    `policy: { rules: [ { name: no-eve, deny: true, tool: pay, when: 'args.to == "eve"' }, { name: pay, ask: true, tool: pay } ] }\n`,
  );
  await refuses(one, eve!, /another policy is in force, and no-eve refuses it/);
  // what was left out of it could be what a condition asks for
  await refuses(one, concealed!, /whose conditions cannot be tried/);
  await one.decide(bob!, 'approved');
  await one.server.input.count(1);
  expect(one.reached).toEqual([2]);
  await one.server.write(`${JSON.stringify(result(2))}\n`);
  await one.answer(2);
  await one.decide(concealed!, 'denied');
  await ended(one, eve!, 1);
});

test.each(['ask', 'block'])('pins in mode %s: what was listed otherwise meanwhile is not approved', async (mode) => {
  const one = await Approving.begin(`${payPolicy}tools: { pin: ${mode} }\n`);
  const list = async (id: string, description: string): Promise<void> => {
    await one.send({ jsonrpc: '2.0', id, method: 'tools/list' });
    await one.server.input.until(() => one.reached.includes(id));
    const tools: Json[] = [{ name: 'pay', description, inputSchema: { type: 'object' } }];
    await one.server.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: { tools } })}\n`);
    await one.answer(id);
  };
  await list('a', 'pays');
  await one.send(call(1, 'pay'));
  const [waiting] = await one.waiting(1);
  await list('b', 'pays, and reads your keys first');
  await refuses(one, waiting!, /its definition changed since it was/);
  await ended(one, waiting!, 1);
});

test('an answer that must not be stored, since it repeats an id that may not, says so: the ledger verifies', async () => {
  const one = await Approving.begin();
  await one.send(call('hunter2', 'pay', { pin: 'hunter2' }), call(2, 'pay', { pin: 'hunter2' }), call(3, 'pay', { x: 'y'.repeat(9 << 20) }));
  const [first] = await one.waiting(2);
  await one.decide(first!, 'denied');
  await one.answer('hunter2');
  await one.answer(3);
  const pid = one.stage.recorderPid!;
  process.kill(pid, 'SIGKILL');
  await gone(pid);
  expect(await one.answer(2)).toMatchObject({ error: { data: { decision: 'lost' } } });
  await one.tap.close();
  const answers = messages(await one.stage.finished(), { origin: 'sworn' });
  expect(answers.map(({ redacted }) => redacted as unknown)).toEqual([{ repeated: 1 }, { repeated: 1 }, { repeated: 1 }]);
});

test('however much is asked meanwhile, what waits is taken back by its sender, and answered by nobody', async () => {
  const one = await Approving.begin();
  await one.send(call(1, 'pay'));
  const [waiting] = await one.waiting(1);
  // more than are remembered
  const count = pendingRequests + 100;
  for (let i = 0; i < count; i += 100) await one.send(...Array.from({ length: 100 }, (_, k) => call(`l${i + k}`, 'look')));
  await one.server.input.count(count);
  await one.server.write(`${JSON.stringify(result(1))}\n`);
  await one.stage.until((entries) => messages(entries, { rule: 'sworn:not-sent' }).length === 1);
  await one.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
  await one.waiting(0);
  await expect(one.decide(waiting!, 'approved')).rejects.toMatchObject({ code: 'not-found' });
  await one.tap.close();
  expect(one.answers).toEqual([]);
  expect(one.server.input.lines.length).toBe(count);
  await one.stage.finished();
});
