import { expect, test } from 'vitest';
import { nodeCrypto } from '../crypto-node.ts';
import type { Entry } from '../entry/entry.ts';
import { MemoryRows, Projection, type AnalysisOptions, type Frame } from './projection.ts';
import type { Rule, Seen } from './events.ts';

const options: AnalysisOptions = { crypto: nodeCrypto };
const connection = 'c0'.repeat(16);

type Fields = Record<string, unknown> & { kind: string };

/** Entries as a recorder writes them, one every millisecond, with the frames that they bind. */
class Story {
  readonly entries: { entry: Entry; frame?: Frame; attributes: Record<string, unknown> }[] = [];

  add(fields: Fields, message?: unknown, attributes: Record<string, unknown> = {}): number {
    const index = this.entries.length;
    const us = Date.UTC(2026, 10, 20, 23, 45, 1) * 1000 + index * 1000;
    const time = `${new Date(us / 1000).toISOString().slice(0, 19)}.${String(us % 1_000_000).padStart(6, '0')}Z`;
    const bytes = message === undefined ? undefined : Buffer.from(typeof message === 'string' ? message : JSON.stringify(message));
    const entry = {
      v: 1,
      time,
      monotonicUs: index * 1000,
      ...fields,
      ...(bytes === undefined ? {} : { sizeBytes: bytes.length }),
      ...(Object.keys(attributes).length === 0 ? {} : { attributes: Object.keys(attributes).length }),
    } as unknown as Entry;
    this.entries.push({ entry, attributes, ...(bytes === undefined ? {} : { frame: { bytes, gaps: [] } }) });
    return index;
  }

  message(direction: 'c2s' | 's2c', fields: Record<string, unknown>, message?: unknown): number {
    const origin = direction === 'c2s' ? 'client' : 'server';
    return this.add(
      {
        kind: 'message',
        connection,
        stream: 0,
        seq: 1,
        tapSeq: 1,
        direction,
        transport: 'stdio',
        server: 'hr',
        verdict: 'pass',
        origin,
        sizeBytes: 0,
        ...fields,
      },
      message,
    );
  }

  call(target: string, args: unknown, fields: Record<string, unknown> = {}): number {
    const exchange = this.entries.length;
    const message = { jsonrpc: '2.0', id: exchange, method: 'tools/call', params: { name: target, arguments: args } };
    return this.message('c2s', { type: 'request', id: String(exchange), method: 'tools/call', target, era: 'legacy', exchange, ...fields }, message);
  }

  answer(exchange: number, result: Record<string, unknown>, fields: Record<string, unknown> = {}): number {
    const message = { jsonrpc: '2.0', id: exchange, result };
    const outcome = result['isError'] === true ? 'toolError' : 'ok';
    return this.message(
      's2c',
      { type: 'result', id: String(exchange), method: 'tools/call', exchange, outcome, durationUs: 900, ...fields },
      message,
    );
  }

  open(): void {
    this.add({
      kind: 'open',
      connection,
      transport: 'stdio',
      server: 'hr',
      mode: 'commit',
      onUnrecordable: 'block',
      custody: 'same-user',
      tap: { source: 'kernel' },
    });
  }

  project(rules: readonly Rule[] = [], sink = new MemoryRows(), more: Partial<AnalysisOptions> = {}): MemoryRows {
    const projection = new Projection('ledger', { ...options, ...more }, sink, rules);
    for (const [index, observed] of this.entries.entries()) projection.take({ index, ...observed });
    projection.end();
    return sink;
  }
}

function story(): Story {
  const story = new Story();
  story.open();
  story.add({ kind: 'principal', connection, source: 'observed', uid: 1000, pid: 8 }, undefined, { user: 'someone', executable: '/usr/bin/agent' });
  const init = story.message(
    'c2s',
    { type: 'request', id: '0', method: 'initialize', exchange: 2 },
    { jsonrpc: '2.0', id: 0, method: 'initialize', params: { clientInfo: { name: 'agent', version: '1' } } },
  );
  story.message(
    's2c',
    { type: 'result', id: '0', method: 'initialize', exchange: init, outcome: 'ok' },
    { jsonrpc: '2.0', id: 0, result: { serverInfo: { name: 'hr server', version: '2' } } },
  );
  const read = story.call('get_pay', { id: 'e-101' }, { effect: 'read', effectSource: 'annotation', sensitive: true, who: 1 });
  story.answer(read, { content: [{ type: 'text', text: '{"id":"e-101","salaryEur":1}' }] });
  const write = story.call('submit', { id: 'e-102' }, { effect: 'write', effectSource: 'annotation' });
  story.answer(write, { isError: true, content: [{ type: 'text', text: 'no employee e-102' }] });
  story.call('get_pay', { id: 'e-103' }, { verdict: 'block', rule: 'no-pay', reason: 'not yours', effect: 'read' });
  story.message('s2c', { type: 'error', method: 'tools/call', exchange: 8, outcome: 'error', code: 4030, origin: 'sworn', rule: 'no-pay' });
  story.call('hangs', {});
  story.add({ kind: 'close', connection, reason: 'client closed' });
  return story;
}

test('sessions, calls and entries become rows', () => {
  const rows = story().project();
  expect(rows.rows('sessions')).toMatchObject([
    {
      session: connection,
      transport: 'stdio',
      server: 'hr',
      client: { name: 'agent', version: '1' },
      serverInfo: { name: 'hr server', version: '2' },
      who: [{ index: 1, source: 'observed', uid: 1000, user: 'someone', executable: '/usr/bin/agent' }],
      closeReason: 'client closed',
      messages: 9,
      calls: 4,
      writes: 1,
      errors: 1,
      blocked: 1,
      unanswered: 1,
    },
  ]);
  expect(rows.rows('calls')).toMatchObject([
    { index: 2, method: 'initialize', state: 'ok' },
    {
      index: 4,
      target: 'get_pay',
      who: 1,
      effect: 'read',
      effectFrom: 'annotation',
      sensitive: true,
      state: 'ok',
      sinceOpenUs: 4000,
      durationUs: 900,
      argumentsText: '{"id":"e-101"}',
      resultText: '{"id":"e-101","salaryEur":1}',
      contextTokens: 7,
      legs: [4, 5],
    },
    { index: 6, effect: 'write', state: 'toolError', approvedBy: 'nobody', resultText: 'no employee e-102' },
    { index: 8, state: 'blocked', rule: 'no-pay', reason: 'not yours', legs: [8, 9] },
    { index: 10, target: 'hangs', state: 'unanswered', endedAt: '2026-11-20T23:45:01.011000Z' },
  ]);
  expect(rows.rows('entries')).toHaveLength(12);
  expect(rows.rows('entries')[5]).toMatchObject({
    index: 5,
    kind: 'message',
    type: 'result',
    call: 4,
    target: 'get_pay',
    session: connection,
    outcome: 'ok',
  });
});

test('who reads may say what a tool does, and the row says that', () => {
  const rows = story().project([], new MemoryRows(), { write: ['get_*'], servers: { '*': { tools: { submit: { sensitive: true } } } } });
  expect(rows.rows('calls').slice(1, 3)).toMatchObject([
    { effect: 'write', effectFrom: 'reading', sensitive: true },
    { effect: 'write', effectFrom: 'reading', sensitive: true },
  ]);
});

/** Finds every call that ends, and counts in its state how many it saw. */
const counting: Rule = {
  id: 'counting',
  sees: ['call ended'],
  severity: 'low',
  title: 'Calls that end',
  why: 'the test asks',
  silence: 'never',
  create(_options, state) {
    let count = (state as number | undefined) ?? 0;
    return {
      see(seen: Seen) {
        if (seen.kind !== 'call' || seen.phase !== 'ended') return [];
        count++;
        const earlier = seen.earlier.map(({ index, state: how }) => `${index} ${how}`).join(', ');
        return [
          {
            title: `call ${count}`,
            detail: `${JSON.stringify(seen.arguments)} ${seen.session.calls} after ${earlier}`,
            indexes: [seen.call.index, seen.index],
          },
        ];
      },
      state: () => count,
    };
  },
};

test('rules see calls with what was asked, and their findings stand on the calls', () => {
  const rows = story().project([counting]);
  expect(rows.rows('findings').map(({ title, detail, indexes }) => ({ title, detail, indexes }))).toEqual([
    { title: 'call 1', detail: 'undefined 0 after ', indexes: [2, 3] },
    { title: 'call 2', detail: '{"id":"e-101"} 1 after 2 ok', indexes: [4, 5] },
    { title: 'call 3', detail: '{"id":"e-102"} 2 after 2 ok, 4 ok', indexes: [6, 7] },
    { title: 'call 4', detail: '{"id":"e-103"} 3 after 2 ok, 4 ok, 6 toolError', indexes: [8, 9] },
    { title: 'call 5', detail: '{} 4 after 2 ok, 4 ok, 6 toolError, 8 blocked', indexes: [10, 11] },
  ]);
  expect(rows.rows('calls').map(({ findings }) => findings)).toEqual(Array.from({ length: 5 }, () => ['counting']));
});

test('cut anywhere and restored, the rows are the same', () => {
  const { entries } = story();
  const whole = story().project([counting]);
  for (let at = 0; at <= entries.length; at++) {
    const rows = new MemoryRows();
    const before = new Projection('ledger', options, rows, [counting]);
    for (const [index, observed] of entries.slice(0, at).entries()) before.take({ index, ...observed });
    const after = Projection.restore(before.snapshot(), options, rows, [counting]);
    for (const [index, observed] of entries.entries()) if (index >= at) after.take({ index, ...observed });
    after.end();
    expect(rows.tables, `cut at ${at}`).toEqual(whole.tables);
  }
});

test('a snapshot of another version is refused', () => {
  expect(() => Projection.restore('{"version":0}', options, new MemoryRows())).toThrow('version 0');
});
