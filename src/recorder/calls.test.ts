import { expect, test } from 'vitest';
import { Exchanges } from '../mcp/exchange.ts';
import { readMessage, type Message } from '../mcp/message.ts';
import { Calls } from './calls.ts';

const modern = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' };

/** Places messages as the recorder does, and says of each which call it belongs to: its own index where it says nothing else. */
class Conversation {
  readonly exchanges = new Exchanges();
  calls = new Calls();
  #index = 0;

  say(
    direction: 'c2s' | 's2c',
    message: object,
    who = 1,
  ): { index: number; call: number | undefined; taskStatus: string | undefined; undo: () => void } {
    const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
    const read = readMessage(bytes) as Message;
    const index = this.#index++;
    const placement = this.exchanges.place(read, direction, index, 0);
    const isReply = read.type === 'result' || read.type === 'error';
    const leg = this.calls.leg(read, bytes, placement.request, who);
    const call = leg.call ?? (isReply ? (placement.request?.call ?? placement.exchange) : undefined);
    return { index, call, taskStatus: leg.taskStatus, undo: () => leg.undo?.() };
  }

  ask(id: number, method: string, params: object, who?: number): ReturnType<Conversation['say']> {
    return this.say('c2s', { id, method, params: { _meta: modern, ...params } }, who);
  }

  answer(id: number, result: object): ReturnType<Conversation['say']> {
    return this.say('s2c', { id, result });
  }
}

const asked = (requestState?: string): object => ({ resultType: 'input_required', inputRequests: { a: {} }, ...(requestState && { requestState }) });

test('a request that is asked again with the same state is the same call, however often', () => {
  const talk = new Conversation();
  const first = talk.ask(1, 'tools/call', { name: 'pay' });
  expect(talk.answer(1, asked('s1')).call).toBe(first.index);
  const other = talk.ask(2, 'tools/call', { name: 'pay' });
  talk.answer(2, asked('s2'));
  expect(talk.ask(3, 'tools/call', { name: 'pay', requestState: 's1', inputResponses: { a: {} } }).call).toBe(first.index);
  talk.answer(3, asked('s3'));
  expect(talk.ask(4, 'tools/call', { name: 'pay', requestState: 's2', inputResponses: { a: {} } }).call).toBe(other.index);
  expect(talk.ask(5, 'tools/call', { name: 'pay', requestState: 's3', inputResponses: { a: {} } }).call).toBe(first.index);
  expect(talk.answer(5, { resultType: 'complete', content: [] }).call).toBe(first.index);
  expect(talk.ask(6, 'tools/call', { name: 'pay', requestState: 'unknown', inputResponses: {} }).call).toBeUndefined();
});

test('without a state answers go to what the same one asked last of the same tool', () => {
  const talk = new Conversation();
  talk.ask(1, 'tools/call', { name: 'pay' });
  talk.answer(1, asked());
  const second = talk.ask(2, 'tools/call', { name: 'pay' });
  talk.answer(2, asked());
  expect(talk.ask(3, 'tools/call', { name: 'pay', inputResponses: {} }).call).toBe(second.index);
  expect(talk.ask(4, 'tools/call', { name: 'other', inputResponses: {} }).call).toBeUndefined();
  expect(talk.ask(5, 'tools/call', { name: 'pay', inputResponses: {} }, 2).call).toBeUndefined();
});

test.each([
  ['extension', { resultType: 'task', taskId: 't1', status: 'working' }],
  ['2025-11-25', { task: { taskId: 't1', status: 'working' } }],
])('a call that became a task is asked for until it is over (%s)', (_, created) => {
  const talk = new Conversation();
  const first = talk.ask(1, 'tools/call', { name: 'build', task: {} });
  expect(talk.answer(1, created)).toMatchObject({ call: first.index, taskStatus: 'working' });
  expect(talk.ask(2, 'tasks/get', { taskId: 't1' }).call).toBe(first.index);
  expect(talk.answer(2, { taskId: 't1', status: 'working' })).toMatchObject({ call: first.index, taskStatus: 'working' });
  expect(talk.say('s2c', { method: 'notifications/tasks/status', params: { taskId: 't1', status: 'completed' } })).toMatchObject({
    call: first.index,
    taskStatus: 'completed',
  });
  // the next recorder knows it from its snapshot
  talk.calls = new Calls(JSON.parse(JSON.stringify(talk.calls)));
  expect(talk.ask(3, 'tasks/get', { taskId: 't1' }).call).toBe(first.index);
  expect(talk.answer(3, { taskId: 't1', status: 'completed', result: {} })).toMatchObject({ call: first.index, taskStatus: 'completed' });
  expect(talk.ask(4, 'tasks/get', { taskId: 't2' }).call).toBeUndefined();
});

test('what could not be stored ties nothing together', () => {
  const talk = new Conversation();
  talk.ask(1, 'tools/call', { name: 'pay' });
  talk.answer(1, asked('s1')).undo();
  expect(talk.ask(2, 'tools/call', { name: 'pay', requestState: 's1', inputResponses: {} }).call).toBeUndefined();
});

test('an odd message is a call of its own', () => {
  const talk = new Conversation();
  for (const params of [{ taskId: 7 }, { taskId: null }, [], { requestState: {}, inputResponses: 1 }])
    expect(talk.say('c2s', { id: 1, method: 'tasks/get', params }).call).toBeUndefined();
  for (const result of [null, 7, [], { resultType: 'input_required', requestState: 7 }]) talk.say('s2c', { id: 1, result });
});
