import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { Approving, call, payPolicy, result, type Json } from './approving.ts';
import { gone, messages, type Recorded } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

const approvals = (entries: readonly Recorded[]): Recorded[] => entries.filter(({ kind }) => kind === 'approval');

describe.each(['commit', 'observe'] as const)('in mode %s', (mode) => {
  test('a request waits, what stands behind it goes on, and approved it is delivered as it came [approval-flow]', async () => {
    const one = await Approving.begin(payPolicy, { options: ['--mode', mode] });
    await one.send(call(1, 'pay', { to: 'eve', pin: 'hunter2' }), call(2, 'look'), call(3, 'pay', { to: 'bob' }), call(4, 'look'));
    const waiting = await one.waiting(2);
    await one.server.input.count(2);
    expect(one.reached).toEqual([2, 4]);
    expect(waiting).toMatchObject([
      { server: 'bank', method: 'tools/call', tool: 'pay', rule: 'pay', reason: 'money leaves', effect: 'unknown', selfOnly: true },
      { shown: JSON.stringify(call(3, 'pay', { to: 'bob' })) },
    ]);
    expect(waiting[0]!.shown).toBe(JSON.stringify(call(1, 'pay', { to: 'eve', pin: '[redacted]' })));
    expect(Date.parse(waiting[0]!.deadline) - Date.parse(waiting[0]!.askedAt)).toBe(60_000);

    // in the other order; what is shown must be what waits
    await expect(one.decide({ ...waiting[1]!, commitment: waiting[0]!.commitment }, 'approved')).rejects.toMatchObject({ code: 'usage' });
    expect(await one.decide(waiting[1]!, 'approved')).toMatchObject({ selfApproved: true });
    await one.server.input.count(3);
    expect(await one.decide(waiting[0]!, 'denied', { reason: 'who is eve?' })).toMatchObject({ selfApproved: true });
    expect(await one.answer(1)).toMatchObject({
      error: { code: 4030, message: 'denied by a person (policy rule pay): who is eve?', data: { decision: 'denied', executed: false, rule: 'pay' } },
    });
    await one.server.write([2, 3, 4].map((id) => `${JSON.stringify(result(id))}\n`).join(''));
    await one.answer(4);
    expect(one.server.input.lines).toEqual([2, 4, 3].map((id) => JSON.stringify(call(id, id === 3 ? 'pay' : 'look', id === 3 ? { to: 'bob' } : {}))));
    await expect(one.decide(waiting[0]!, 'approved')).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringMatching(/it was denied by uid \d+: entry \d+$/),
    });
    // the same content is asked for again
    await one.send(call(5, 'pay', { to: 'bob' }));
    const [again] = await one.waiting(1);
    expect(again!.request).toBeGreaterThan(waiting[1]!.request);
    await expect(one.decide({ ...again!, commitment: waiting[1]!.commitment }, 'approved')).rejects.toMatchObject({ code: 'usage' });
    await one.decide(again!, 'approved');
    await one.server.input.count(4);
    await one.server.write(`${JSON.stringify(result(5))}\n`);
    await one.answer(5);
    expect(await one.tap.close()).toEqual({ code: 0, signal: null });

    const entries = await one.stage.finished();
    const asked = messages(entries, { verdict: 'ask' });
    expect(asked.map(({ id, rule }) => [id, rule])).toEqual([
      ['1', 'pay'],
      ['3', 'pay'],
      ['5', 'pay'],
    ]);
    const [bob, eve, bobAgain] = approvals(entries);
    expect(bob).toMatchObject({ request: asked[1]!.index, decision: 'approved', how: 'command', by: { uid: process.getuid!() }, selfApproved: true });
    expect(bob!['commitment']).toBe(asked[1]!['commitment']);
    expect(eve).toMatchObject({ request: asked[0]!.index, decision: 'denied', opened: { reason: 'who is eve?' } });
    expect(bobAgain).toMatchObject({ request: asked[2]!.index, decision: 'approved' });
    // its reply is timed from when it was delivered
    const reply = messages(entries, { exchange: asked[1]!.index, type: 'result' })[0]!;
    expect(reply.index).toBeGreaterThan(bob!.index);
    expect(reply['durationUs']).toBeLessThanOrEqual(reply['monotonicUs'] - bob!['monotonicUs']);
    expect(messages(entries, { origin: 'sworn' })).toMatchObject([{ type: 'error', code: 4030, exchange: asked[0]!.index }]);
  });

  test('its time is over, its sender takes it back, its client goes: it is never delivered [approval-ends]', async () => {
    const one = await Approving.begin(
      'policy: { rules: [ { name: short, ask: true, tool: short, timeout: 1s }, { name: pay, ask: true, tool: pay } ] }',
      { options: ['--mode', mode] },
    );
    await one.send(call('s', 'short'), call(1, 'pay'), call(2, 'pay'));
    expect(await one.answer('s')).toMatchObject({ error: { code: 4080, data: { decision: 'timed-out', executed: false } } });
    const [first] = await one.waiting(2);
    const cancelled = (requestId: unknown): Json => ({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId } });
    await one.send(cancelled(1), cancelled(99), call(3, 'look'));
    await one.waiting(1);
    await expect(one.decide(first!, 'approved')).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('taken back by its sender'),
    });
    // who answers what it never got does not answer it
    await one.server.write(`${JSON.stringify(result(2))}\n`);
    await one.server.input.count(2);
    await one.server.write(`${JSON.stringify(result(3))}\n`);
    await one.answer(3);
    expect(one.answers.map(({ id }) => id)).toEqual(['s', 3]);
    expect(one.server.input.lines.map((text) => JSON.parse(text) as Json)).toEqual([cancelled(99), call(3, 'look')]);
    expect(await one.tap.close()).toEqual({ code: 0, signal: null });
    const entries = await one.stage.finished();
    const [short, one1, two] = messages(entries, { verdict: 'ask' });
    expect(approvals(entries)).toMatchObject([
      { request: short!.index, decision: 'timed-out', how: 'recorder' },
      { request: one1!.index, decision: 'cancelled', how: 'recorder' },
      { request: two!.index, decision: 'lost', how: 'recorder' },
    ]);
    expect(messages(entries, { rule: 'sworn:not-sent' })).toMatchObject([
      { method: 'notifications/cancelled', verdict: 'block', exchange: one1!.index },
      { type: 'result', verdict: 'block', anomalies: ['reply-to-nothing'] },
    ]);
    expect(approvals(entries)[0]!['waitedMs']).toBeGreaterThanOrEqual(1_000);
  });
});

test('progress is told to who asked for it, and recorded', async () => {
  const one = await Approving.begin();
  await one.send(call(1, 'pay', {}, { progressToken: 'tok' }), call(2, 'pay'));
  await one.waiting(2);
  await one.tap.output.until(() => one.answers.filter(({ method }) => method === 'notifications/progress').length >= 1);
  const [first] = one.answers;
  expect(first).toMatchObject({ params: { progressToken: 'tok', message: expect.stringContaining('approval (rule pay)') } });
  expect(first!.params!['progress'] as number).toBeGreaterThanOrEqual(2);
  for (const waiting of await one.pending()) await one.decide(waiting, 'approved');
  await one.server.input.count(2);
  await one.server.write([1, 2].map((id) => `${JSON.stringify(result(id))}\n`).join(''));
  await one.answer(2);
  await one.tap.close();
  const entries = await one.stage.finished();
  const said = messages(entries, { origin: 'sworn' });
  expect(said[0]).toMatchObject({
    type: 'notification',
    method: 'notifications/progress',
    direction: 's2c',
    call: messages(entries, { id: '1' })[0]!.index,
  });
});

describe('a recorder that is killed', () => {
  test('before anybody decided: refused by the next one, and what is approved then is delivered once [approval-restart]', async () => {
    const one = await Approving.begin();
    await one.send(call(1, 'pay'), call(2, 'pay'), call(3, 'look'));
    const [first] = await one.waiting(2);
    await one.decide(first!, 'approved');
    await one.server.input.count(2);
    const pid = one.stage.recorderPid!;
    process.kill(pid, 'SIGKILL');
    await gone(pid);
    // the tap starts the next one
    expect(await one.answer(2)).toMatchObject({ error: { code: 4030, data: { decision: 'lost', executed: false } } });
    await one.server.write([1, 3].map((id) => `${JSON.stringify(result(id))}\n`).join(''));
    await one.answer(3);
    await one.send(call(4, 'pay'));
    const [again] = await one.waiting(1);
    await one.decide(again!, 'approved');
    await one.server.input.count(3);
    expect(one.reached).toEqual([3, 1, 4]);
    await one.server.write(`${JSON.stringify(result(4))}\n`);
    await one.answer(4);
    expect(one.answers.map(({ id }) => id)).toEqual([2, 1, 3, 4]);
    await one.tap.close();
    const entries = await one.stage.finished();
    expect(approvals(entries).map(({ decision }) => decision as string)).toEqual(['approved', 'lost', 'approved']);
  });

  test('behind its snapshot, of which nothing is read again', async () => {
    const one = await Approving.begin();
    await one.send(call(1, 'pay'), call(2, 'pay'), call(3, 'pay'));
    const waiting = await one.waiting(3);
    await one.decide(waiting[0]!, 'approved');
    await one.decide(waiting[1]!, 'denied');
    await one.server.input.count(1);
    const file = join(one.stage.ledger, 'run', 'state.json');
    const isIn = (): boolean => {
      if (!existsSync(file)) return false;
      const { asked, connections } = JSON.parse(readFileSync(file, 'utf8')) as { asked: unknown[]; connections: { state: { asides?: unknown[] } }[] };
      return asked.length === 1 && connections[0]?.state.asides?.length === 2;
    };
    while (!isIn()) await sleep(50);
    const pid = one.stage.recorderPid!;
    process.kill(pid, 'SIGKILL');
    await gone(pid);
    expect(await one.answer(3)).toMatchObject({ error: { data: { decision: 'lost' } } });
    await one.server.write(`${JSON.stringify(result(1))}\n`);
    await one.answer(1);
    expect(one.reached).toEqual([1]);
    expect(one.answers.map(({ id }) => id)).toEqual([2, 3, 1]);
    await one.tap.close();
    expect(approvals(await one.stage.finished()).map(({ decision }) => decision as string)).toEqual(['approved', 'denied', 'lost']);
  });

  test('stopped in order: what waits is refused', async () => {
    const one = await Approving.begin();
    await one.send(call(1, 'pay'), call(2, 'pay'));
    await one.waiting(2);
    await one.stage.stopRecorder();
    expect(await one.answer(2)).toMatchObject({ error: { code: 4030, data: { decision: 'lost' } } });
    await one.answer(1);
    await one.tap.close();
    const entries = await one.stage.finished();
    expect(approvals(entries).map(({ decision }) => decision as string)).toEqual(['lost', 'lost']);
    expect(one.reached).toEqual([]);
  });
});

test('the server goes: what waits is lost', async () => {
  const one = await Approving.begin();
  await one.send(call(1, 'pay'));
  await one.waiting(1);
  one.server.exit();
  await one.tap.ended;
  const entries = await one.stage.finished();
  expect(approvals(entries)).toMatchObject([{ decision: 'lost' }]);
});

test('what cannot be asked for is refused: in a batch, without an id', async () => {
  const one = await Approving.begin();
  const notification = { ...call(0, 'pay') };
  delete notification['id'];
  await one.tap.write(`${JSON.stringify([call(1, 'look'), call(2, 'pay')])}\n`);
  await one.send(notification, call(3, 'look'));
  await one.server.input.count(1);
  expect(one.reached).toEqual([3]);
  expect(await one.answer(2)).toMatchObject({ error: { code: 4030, data: { rule: 'pay', reason: 'in a batch nobody can be asked' } } });
  expect(await one.answer(1)).toMatchObject({ error: { code: 4030, data: { reason: 'not sent: item 1 was refused' } } });
  await one.tap.close();
  const entries = await one.stage.finished();
  expect(messages(entries, { verdict: 'ask' })).toEqual([]);
  expect(messages(entries, { type: 'notification', verdict: 'block' })).toMatchObject([{ reason: 'without an id nobody can be asked' }]);
});

test('a long request waits whole, and one of the server to its client waits, too', async () => {
  const policy = `policy: { rules: [ { name: pay, ask: true, tool: pay }, { name: sample, ask: true, direction: s2c, method: sampling/* } ] }`;
  const one = await Approving.begin(policy, { keep: true });
  const long = call(1, 'pay', { blob: 'x'.repeat(2_500_000) });
  const sample = { jsonrpc: '2.0', id: 's', method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } };
  await one.send(long, call(2, 'look'));
  await one.server.input.count(1);
  await one.server.write(`${JSON.stringify(sample)}\n${JSON.stringify(result(2))}\n`);
  await one.answer(2);
  const [pay, ask] = await one.waiting(2);
  expect(pay).toMatchObject({ isCut: true, tool: 'pay' });
  expect(pay!.sizeBytes).toBeGreaterThan(2_500_000);
  expect(ask).toMatchObject({ method: 'sampling/createMessage', shown: JSON.stringify(sample) });
  await one.decide(pay!, 'approved');
  await one.server.input.count(2);
  expect(one.server.input.lines[1]).toBe(JSON.stringify(long));
  await one.decide(ask!, 'denied', { reason: 'no' });
  // the server hears of it: it asked
  await one.server.input.count(3);
  expect(JSON.parse(one.server.input.lines[2]!)).toMatchObject({ id: 's', error: { code: 4030, data: { reason: 'no' } } });
  await one.server.write(`${JSON.stringify(result(1))}\n`);
  await one.answer(1);
  await one.tap.close();
  const entries = await one.stage.finished();
  expect(messages(entries, { verdict: 'ask' })).toMatchObject([{ parts: 3 }, { direction: 's2c' }]);
  expect(messages(entries, { origin: 'sworn' })).toMatchObject([{ direction: 'c2s', exchange: messages(entries, { verdict: 'ask' })[1]!.index }]);
});

test('a client that is killed leaves nothing behind that could be approved', async () => {
  const one = await Approving.begin();
  await one.send(call(1, 'pay'));
  const [waiting] = await one.waiting(1);
  one.tap.process.stdin!.destroy();
  one.tap.process.stdout!.destroy();
  await one.waiting(0);
  await expect(one.decide(waiting!, 'approved')).rejects.toMatchObject({ code: 'not-found' });
  await one.tap.ended;
  const entries = await one.stage.finished();
  expect(approvals(entries)).toMatchObject([{ decision: 'lost' }]);
  expect(one.reached).toEqual([]);
});

test('a thousand at once, resolved in any order, leave the order of all others [approval-thousand]', async () => {
  const one = await Approving.begin();
  const count = 1_000;
  const sent: Json[] = [];
  for (let i = 0; i < count; i++) sent.push(call(`p${i}`, 'pay', { i }), call(`l${i}`, 'look', { i }));
  await one.send(...sent);
  await one.waiting(count);
  await one.server.input.count(count);
  expect(one.reached).toEqual(Array.from({ length: count }, (_, i) => `l${i}`));
  const decided = new Map<number, boolean>();
  for (let round = 0; decided.size < count; round++) {
    const due = (await one.pending()).sort(() => Math.random() - 0.5);
    for (let at = 0; at < due.length; at += 50) {
      await Promise.all(
        due.slice(at, at + 50).map((waiting) => {
          const isApproved = (decided.size * 7) % 3 > 0;
          decided.set(waiting.request, isApproved);
          return one.decide(waiting, isApproved ? 'approved' : 'denied');
        }),
      );
    }
    expect(round).toBeLessThan(50);
  }
  const approved = [...decided.values()].filter(Boolean).length;
  await one.server.input.count(count + approved);
  const reached = one.reached.slice(count) as string[];
  await one.tap.output.until(() => one.answers.length === count - approved);
  await one.tap.close();
  const entries = await one.stage.finished();
  // those that were decided go in the order in which they were
  const idOf = new Map(messages(entries, { verdict: 'ask' }).map(({ index, id }) => [index, JSON.parse(id as string) as string]));
  const inOrder = (decision: string): (string | undefined)[] =>
    approvals(entries)
      .filter((one) => one['decision'] === decision)
      .map(({ request }) => idOf.get(request as number));
  expect(approvals(entries).length).toBe(count);
  expect(reached).toEqual(inOrder('approved'));
  expect(one.answers.map(({ id }) => id)).toEqual(inOrder('denied'));
});
