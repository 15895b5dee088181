/** What the projection must stand: proxies, batches, bounds, and whatever strangers write. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { MemoryRows, Projection, type Observed } from '../../src/analysis/projection.ts';
import type { Entry } from '../../src/entry/entry.ts';
import { projectedCalls, projectedEntities, projectedSessions } from '../../src/limits.ts';
import { rowsOf } from './analysed.ts';
import { project } from './ledger-rows.ts';
import { conversationsIn, Replay } from './replay.ts';
import { Talk } from './talk.ts';

const ledger = '0'.repeat(32);
const beganUs = Date.UTC(2026, 8, 14, 8) * 1000;

/** An entry as it stands in a ledger, a millisecond behind the one before unless `atUs` says otherwise. */
function observed(index: number, fields: Record<string, unknown>, message?: unknown, atUs = index * 1000): Observed {
  const us = beganUs + atUs;
  const time = `${new Date(us / 1000).toISOString().slice(0, 19)}.${String(us % 1_000_000).padStart(6, '0')}Z`;
  const frame =
    message === undefined ? {} : { frame: { bytes: Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)), gaps: [] } };
  return { index, entry: { v: 1, time, monotonicUs: us, ...fields } as unknown as Entry, attributes: {}, ...frame };
}

function message(index: number, direction: 'c2s' | 's2c', fields: Record<string, unknown>, body?: unknown, atUs?: number): Observed {
  const common = { kind: 'message', stream: 0, seq: 1, tapSeq: 1, direction, transport: 'stdio', server: 'x', verdict: 'pass', sizeBytes: 10 };
  return observed(index, { ...common, origin: direction === 'c2s' ? 'client' : 'server', ...fields }, body, atUs);
}

const request = (index: number, fields: Record<string, unknown>, body?: unknown, atUs?: number): Observed =>
  message(index, 'c2s', { type: 'request', method: 'tools/call', target: 't', exchange: index, effect: 'read', ...fields }, body, atUs);
const reply = (index: number, exchange: number, fields: Record<string, unknown>, body?: unknown, atUs?: number): Observed =>
  message(index, 's2c', { type: 'result', method: 'tools/call', target: 't', exchange, outcome: 'ok', effect: 'read', ...fields }, body, atUs);

test('behind a proxy each MCP session is one, and what names none is cut by principal and silence', () => {
  const connection = 'a'.repeat(32);
  const http = { connection, transport: 'http' };
  const minute = 60_000_000;
  const rows = project([
    observed(0, { kind: 'open', connection, transport: 'http', server: 'x', mode: 'commit', custody: 'same-user' }),
    observed(1, { kind: 'principal', connection, source: 'verified', reportedBy: 'proxy' }),
    request(2, { ...http, method: 'initialize', who: 1, target: undefined }),
    reply(3, 2, { ...http, method: 'initialize', session: 2, who: 1 }),
    request(4, { ...http, session: 2, who: 1 }),
    reply(5, 4, { ...http, session: 2, who: 1 }),
    request(6, { ...http, who: 1, stream: 4, era: 'modern' }),
    reply(7, 6, { ...http, who: 1, stream: 4 }),
    request(8, { ...http, who: 1, stream: 5, era: 'modern' }, undefined, 31 * minute),
    message(9, 'c2s', { ...http, type: 'http', who: 1, stream: 5, exchange: 8, http: { end: 'client closed' } }, undefined, 31 * minute + 5),
    observed(10, { kind: 'close', connection, reason: 'client closed' }, undefined, 32 * minute),
  ]);
  expect(
    rows
      .rows('sessions')
      .toSorted((a, b) => a.index - b.index)
      .map(({ session, calls, who, closeReason }) => ({ session, calls, who: who.length, closeReason })),
  ).toEqual([
    { session: `${connection}/2`, calls: 1, who: 1, closeReason: 'client closed' },
    { session: `${connection}/1`, calls: 1, who: 1, closeReason: 'client closed' },
    { session: `${connection}/1@8`, calls: 1, who: 1, closeReason: 'client closed' },
  ]);
  expect(rows.rows('calls').map(({ index, session, state }) => `${index} ${session.slice(32)} ${state}`)).toEqual([
    '2 /2 ok',
    '4 /2 ok',
    '6 /1 ok',
    '8 /1@8 cancelled',
  ]);
});

test("items of a batch are read from the batch's frame, also when the projection is put down between them", () => {
  const connection = 'b'.repeat(32);
  const items = [1, 2].map((id) => JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 't', arguments: { orderId: id } } }));
  const frame = `[${items.join(',')}]`;
  const range = (n: number): [number, number] => [frame.indexOf(items[n]!), frame.indexOf(items[n]!) + items[n]!.length];
  const all = [
    observed(0, { kind: 'open', connection, transport: 'stdio', server: 'x', mode: 'commit', custody: 'same-user' }),
    observed(
      1,
      { kind: 'batch', connection, direction: 'c2s', transport: 'stdio', server: 'x', verdict: 'pass', items: 2, sizeBytes: frame.length },
      frame,
    ),
    request(2, { connection, batch: 1, item: 0, range: range(0) }),
    request(3, { connection, batch: 1, item: 1, range: range(1) }),
  ];
  const rows = project(all);
  expect(rows.rows('calls').map(({ argumentsText }) => argumentsText)).toEqual(['{"orderId":1}', '{"orderId":2}']);
  expect(rows.rows('touches').map(({ entity }) => entity)).toEqual(['order:1', 'order:2']);
  expect(rows.rows('sessions')).toMatchObject([{ sizeBytes: frame.length, messages: 2, unanswered: 2 }]);
  expect(project(all, {}, 1).tables).toEqual(rows.tables);
});

test('sessions, calls and entities beyond what is remembered are taken up again from their rows', () => {
  const most = Math.max(projectedSessions, projectedCalls, projectedEntities) + 200;
  const rows = new MemoryRows();
  const projection = new Projection(ledger, { crypto: nodeCrypto }, rows, []);
  const connection = (n: number): string => n.toString(16).padStart(32, '0');
  const asked = (n: number): object => ({ params: { name: 't', arguments: { orderId: n } } });
  let index = 0;
  for (let n = 0; n < most; n++) projection.take(request(index++, { connection: connection(n), effect: 'write' }, asked(n)));
  for (let n = 0; n < most; n++)
    projection.take(reply(index++, n, { connection: connection(n) }, { result: { content: [{ type: 'text', text: `{"orderId":${n}}` }] } }));
  for (let n = 0; n < most; n++) projection.take(request(index++, { connection: connection(n) }, asked(n)));
  const snapshotBytes = projection.snapshot().length;
  expect(rows.rows('sessions')).toHaveLength(most);
  expect(
    rows.rows('sessions').filter(({ calls, writes, messages, unanswered }) => calls !== 2 || writes !== 1 || messages !== 3 || unanswered !== 1),
  ).toEqual([]);
  expect(rows.rows('calls').filter(({ state, index: first }) => (first < most ? state !== 'ok' : state !== 'open'))).toEqual([]);
  expect(rows.rows('entities').filter(({ reads, writes, sessions }) => reads !== 1 || writes !== 1 || sessions < 1 || sessions > 2)).toEqual([]);
  expect(snapshotBytes).toBeLessThan(32 * 1024 * 1024);
}, 60_000);

test('a proxy closes with all its sessions, also those that were forgotten, and its principals stay known', () => {
  const connection = 'd'.repeat(32);
  const http = { connection, transport: 'http' };
  const rows = new MemoryRows();
  let projection = new Projection(ledger, { crypto: nodeCrypto }, rows, []);
  const most = projectedSessions + 300;
  let index = 0;
  projection.take(observed(index++, { kind: 'open', connection, transport: 'http', server: 'x', client: 'c', mode: 'commit', custody: 'same-user' }));
  projection.take({
    ...observed(index++, { kind: 'principal', connection, source: 'verified', attributes: 1 }),
    attributes: { verified: { subject: 'ada' } },
  });
  const firsts: number[] = [];
  for (let n = 0; n < most; n++) {
    firsts.push(index);
    projection.take(request(index++, { ...http, method: 'initialize', target: undefined, who: 1 }));
    if (n === most / 2) projection = Projection.restore(projection.snapshot(), { crypto: nodeCrypto }, rows, []);
  }
  for (const first of firsts) projection.take(reply(index++, first, { ...http, method: 'initialize', session: first, who: 1 }));
  const snapshotBytes = projection.snapshot().length;
  projection.take(observed(index, { kind: 'close', connection, reason: 'server exited' }));
  projection.end();
  expect(rows.rows('sessions')).toHaveLength(most);
  const odd = rows
    .rows('sessions')
    .filter(
      ({ closeReason, who, client, messages, unanswered }) =>
        closeReason !== 'server exited' || who[0]?.name !== 'ada' || client?.name !== 'c' || messages !== 2 || unanswered !== 0,
    );
  expect(odd).toEqual([]);
  expect(snapshotBytes).toBeLessThan(4 * 1024 * 1024);
});

test('whatever is asked and answered, nothing is thrown, and a cut changes nothing', async () => {
  const word = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom('id', 'employeeId', 'path', 'url', 'sql', '__proto__', 'department', 'names', 'to'),
  );
  const value = fc.dictionary(word, fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.webUrl(), fc.constantFrom('select * from t', '/a/b', 'a@b.cd')));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(word, value, value), { maxLength: 5 }), fc.integer({ min: 1, max: 9 }), async (calls, pauseAfter) => {
      const talk = new Talk('any', 'x').hello([{ name: 't', properties: calls[0]?.[1] ?? {} }]);
      for (const [name, args, answer] of calls) talk.call(name, args, { structured: answer }).call(name, args, { raw: answer });
      const replay = new Replay();
      for (const conversation of conversationsIn(talk.close().text)) await replay.play(conversation);
      expect(rowsOf(replay.entries, {}, pauseAfter).tables).toEqual(rowsOf(replay.entries).tables);
    }),
    { numRuns: 60 },
  );
});
