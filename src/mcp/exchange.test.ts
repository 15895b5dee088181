import fc from 'fast-check';
import { expect, test } from 'vitest';
import { utf8 } from '../bytes/bytes.ts';
import { Exchanges, type Placement } from './exchange.ts';
import { readMessage, type Message } from './message.ts';

const read = (text: string) => readMessage(utf8(text)) as Message;
const request = (id: string) => read(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"t"}}`);
const result = (id: string) => read(`{"jsonrpc":"2.0","id":${id},"result":{}}`);
const cancelled = (id: string) => read(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id}}}`);
const short = ({ exchange, anomalies }: Placement) => [exchange, ...anomalies];

test('typed ids, directions and streams are apart', () => {
  const exchanges = new Exchanges();
  exchanges.place(request('1'), 'c2s', 10, 0);
  exchanges.place(request('"1"'), 'c2s', 11, 0);
  exchanges.place(request('1'), 's2c', 12, 0);
  exchanges.place(request('1'), 'c2s', 13, 0, 5);
  expect(short(exchanges.place(result('"\\u0031"'), 's2c', 20, 0))).toEqual([11]);
  expect(short(exchanges.place(result('1.0'), 'c2s', 21, 0))).toEqual([12]);
  expect(short(exchanges.place(result('1e0'), 's2c', 22, 0))).toEqual([10]);
  expect(short(exchanges.place(result('1'), 's2c', 23, 0))).toEqual([undefined, 'reply-to-nothing']);
  expect(short(exchanges.place(result('1'), 's2c', 24, 0, 5))).toEqual([13]);
  expect(exchanges.size).toBe(0);
});

test('an id that is used again while it waits', () => {
  const exchanges = new Exchanges();
  expect(short(exchanges.place(request('1'), 'c2s', 1, 0))).toEqual([1]);
  expect(short(exchanges.place(request('1'), 'c2s', 2, 0))).toEqual([2, 'id-reused']);
  expect(short(exchanges.place(result('1'), 's2c', 3, 0))).toEqual([1]);
  expect(short(exchanges.place(result('1'), 's2c', 4, 0))).toEqual([2]);
  expect(short(exchanges.place(request('1'), 'c2s', 5, 0))).toEqual([5]);
});

test('a cancelled request still waits, and ids that cannot be paired do not', () => {
  const exchanges = new Exchanges();
  const placed = exchanges.place(request('7'), 'c2s', 1, 99);
  expect(placed.request).toMatchObject({ index: 1, method: 'tools/call', target: { kind: 'tool', value: 't' }, era: 'legacy', seenUs: 99 });
  expect(short(exchanges.place(cancelled('7'), 'c2s', 2, 0))).toEqual([1]);
  expect(short(exchanges.place(cancelled('7'), 's2c', 3, 0))).toEqual([undefined]);
  expect(short(exchanges.place(result('7'), 's2c', 4, 0))).toEqual([1]);
  expect(short(exchanges.place(request('null'), 'c2s', 5, 0))).toEqual([5]);
  expect(short(exchanges.place(request('[1]'), 'c2s', 6, 0))).toEqual([6]);
  expect(short(exchanges.place(result('null'), 's2c', 7, 0))).toEqual([undefined, 'reply-to-nothing']);
  expect(exchanges.size).toBe(0);
});

test('the oldest is forgotten at the bound', () => {
  const exchanges = new Exchanges(2);
  for (let i = 1; i <= 3; i++) exchanges.place(request(String(i)), 'c2s', i, 0);
  expect(exchanges.size).toBe(2);
  expect(short(exchanges.place(result('1'), 's2c', 4, 0))).toEqual([undefined, 'reply-to-nothing']);
  expect(short(exchanges.place(result('2'), 's2c', 5, 0))).toEqual([2]);
});

test('what waits is bounded by its bytes too: long methods, names and ids are cut, and the oldest are forgotten', () => {
  const exchanges = new Exchanges();
  const long = 'x'.repeat(6_000);
  const asks = (id: string, body: string) => readMessage(Buffer.from(`{"jsonrpc":"2.0","id":${id},${body}}`)) as Message;
  for (let i = 0; i < 9_500; i++) exchanges.place(asks(`"${i}${'y'.repeat(2_000)}"`, `"method":"${long}"`), 's2c', i, 0);
  exchanges.place(asks('1', `"method":"tools/call","params":{"name":"${long}"}`), 's2c', 9_500, 0);
  exchanges.place(asks('2', `"method":"resources/read","params":{"uri":"file:///${long}"}`), 's2c', 9_501, 0);
  const pending = [...exchanges.pending()];
  expect(pending.slice(-2).map(({ target }) => target!.value)).toEqual([`${'x'.repeat(253)}…`, 'file:']);
  expect(pending[0]!.method).toBe(`${'x'.repeat(125)}…`);
  expect(JSON.stringify(exchanges).length).toBeLessThan(8 * 1024 * 1024);
  // a long id is told from another of the same length, before and after JSON
  const copy = Exchanges.from(JSON.parse(JSON.stringify(exchanges)));
  expect(copy.size).toBe(exchanges.size);
  for (const one of [exchanges, copy]) {
    expect(short(one.place(result(`"9499${'z'.repeat(2_000)}"`), 'c2s', 9_600, 0))).toEqual([undefined, 'reply-to-nothing']);
    expect(short(one.place(result(`"9498${'y'.repeat(2_000)}"`), 'c2s', 9_601, 0))).toEqual([9_498]);
  }
  const small = new Exchanges(10, 1_500);
  small.place(request('1'), 'c2s', 1, 0);
  small.place(request('2'), 'c2s', 2, 0);
  const before = JSON.stringify(small);
  const large = small.place(asks(`"${'y'.repeat(250)}"`, `"method":"${'\u00e9'.repeat(60)}"`), 'c2s', 3, 0);
  expect(small.size).toBeLessThan(3);
  large.undo();
  expect(JSON.stringify(small)).toBe(before);
});

test('undo restores the state exactly, and the state survives JSON', () => {
  const step = fc.record({
    kind: fc.constantFrom('request', 'result', 'cancelled'),
    id: fc.integer({ min: 1, max: 3 }),
    way: fc.constantFrom('c2s', 's2c'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.array(step, { maxLength: 12 }), fc.integer({ min: 1, max: 6 }), (before, after, most) => {
      const exchanges = new Exchanges(most, 1_000);
      let index = 0;
      const place = ({ kind, id, way }: typeof step extends fc.Arbitrary<infer S> ? S : never) =>
        exchanges.place(kind === 'request' ? request(String(id)) : kind === 'result' ? result(String(id)) : cancelled(String(id)), way, index++, 0);
      before.forEach(place);
      const state = JSON.stringify(exchanges);
      const copy = Exchanges.from(JSON.parse(state), most, 1_000);
      for (const placement of after.map(place).reverse()) placement.undo();
      expect(JSON.stringify(exchanges)).toBe(state);
      expect(JSON.stringify(copy)).toBe(state);
      index = 1000;
      const answers = after.map(place).map(short);
      index = 1000;
      expect(
        after.map(({ kind, id, way }) =>
          short(
            copy.place(kind === 'request' ? request(String(id)) : kind === 'result' ? result(String(id)) : cancelled(String(id)), way, index++, 0),
          ),
        ),
      ).toEqual(answers);
    }),
    { numRuns: 500 },
  );
});

test('a hundred thousand requests with one id stay quick', () => {
  const exchanges = new Exchanges();
  const message = request('1');
  const before = process.cpuUsage();
  for (let i = 0; i < 100_000; i++) exchanges.place(message, 'c2s', i, 0);
  expect(exchanges.size).toBe(10_000);
  expect(process.cpuUsage(before).user / 1000).toBeLessThan(3000);
});
