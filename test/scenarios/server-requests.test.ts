import { expect, test, vi } from 'vitest';
import { connect } from './clients.ts';
import { messages, official, ours, Stage } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

test.each(['sdk 1', 'legacy'] as const)(
  'what a server asks of the %s client is paired in its own direction: sampling, elicitation, roots [entry-server-request, real-counterparts]',
  async (kind) => {
    const stage = new Stage();
    const client = await connect(kind, stage.words(official('everything'), ['--name', 'all', '--sensitive', 'trigger-elicit*']), stage.env, true);
    await client.listTools();
    const sampled = await client.callTool('trigger-sampling-request', { prompt: 'hello', maxTokens: 5 });
    expect(JSON.stringify(sampled)).toContain('sampled');
    await client.callTool('trigger-elicitation-request', {});
    const listed = await client.callTool('get-roots-list', {});
    expect(JSON.stringify(listed)).toContain('file:///scenario');
    await client.close();
    const entries = await stage.finished();
    const byIndex = new Map(entries.map((entry) => [entry.index, entry]));

    for (const method of ['sampling/createMessage', 'elicitation/create', 'roots/list']) {
      const [request] = messages(entries, { method, type: 'request' });
      expect(request, method).toMatchObject({ direction: 's2c', origin: 'server', exchange: request!.index });
      const replies = messages(entries, { method, type: 'result' });
      expect(replies.length, method).toBeGreaterThan(0);
      expect(replies[0], method).toMatchObject({ direction: 'c2s', origin: 'client', exchange: request!.index, id: request!['id'], outcome: 'ok' });
    }
    // the server's ids and the client's are the same numbers, and mean other things
    const asked = (direction: string): unknown[] => messages(entries, { direction, type: 'request' }).map((entry) => entry['id']);
    expect(asked('s2c').some((id) => asked('c2s').includes(id))).toBe(true);
    for (const reply of [...messages(entries, { type: 'result' }), ...messages(entries, { type: 'error' })]) {
      const request = byIndex.get(reply['exchange'] as number)!;
      expect(request['direction']).not.toBe(reply['direction']);
      expect({ id: request['id'], method: request['method'] }).toEqual({ id: reply['id'], method: reply['method'] });
    }
    // a question within a call does not end it: the call's reply comes after the answer
    const call = messages(entries, { target: 'trigger-sampling-request', type: 'request' })[0]!;
    const reply = messages(entries, { target: 'trigger-sampling-request', type: 'result' })[0]!;
    const question = messages(entries, { method: 'sampling/createMessage', type: 'request' })[0]!;
    const answer = messages(entries, { method: 'sampling/createMessage', type: 'result' })[0]!;
    expect([call.index, question.index, answer.index, reply.index]).toEqual(
      [call.index, question.index, answer.index, reply.index].toSorted((a, b) => a - b),
    );
    expect(reply['exchange']).toBe(call.index);
    expect(messages(entries, { target: 'trigger-elicitation-request', type: 'request' })[0]).toMatchObject({
      sensitive: true,
      effect: 'write',
      effectSource: 'annotation',
    });
    expect(messages(entries).filter((entry) => entry['anomalies'] !== undefined)).toEqual([]);
  },
);

test('a modern server asks within its result, and the client calls again: two exchanges, each with its reply [entry-era, entry-rounds]', async () => {
  const stage = new Stage();
  const client = await connect('pinned-modern', stage.words(ours('both-eras.ts')), stage.env, true);
  await client.listTools();
  expect(JSON.stringify(await client.callTool('confirm', {}))).toContain('confirmed by scenario');
  await client.close();
  const entries = await stage.finished();
  const requests = messages(entries, { target: 'confirm', type: 'request' });
  const replies = messages(entries, { target: 'confirm', type: 'result' });
  expect(requests).toHaveLength(2);
  expect(requests[0]!['id']).not.toBe(requests[1]!['id']);
  expect(replies).toMatchObject([
    { exchange: requests[0]!.index, resultType: 'input_required', era: 'modern', outcome: 'ok', effect: 'write' },
    { exchange: requests[1]!.index, resultType: 'complete', era: 'modern', outcome: 'ok', effect: 'write' },
  ]);
  // nothing goes from server to client but replies and notifications
  expect(messages(entries, { direction: 's2c', type: 'request' })).toEqual([]);
});

test('the client that prefers the modern era falls back with a legacy server, and each message says its own era [entry-era]', async () => {
  const stage = new Stage();
  const client = await connect('auto', stage.words(official('everything')), stage.env, true);
  // a legacy server: the modern client falls back, and answers requests as in the old days
  const sampled = await client.callTool('trigger-sampling-request', { prompt: 'hello', maxTokens: 5 });
  expect(JSON.stringify(sampled)).toContain('sampled');
  await client.close();
  const entries = await stage.finished();
  expect(messages(entries, { method: 'sampling/createMessage', type: 'request' })).toMatchObject([{ era: 'legacy', direction: 's2c' }]);
  expect(messages(entries, { method: 'server/discover', type: 'request' })[0]).toMatchObject({ era: 'modern' });
});
