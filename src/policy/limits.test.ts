import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileLimits, countedFor, Limiter, Taken, type Asker, type Limited } from './limits.ts';
import type { Subject } from './match.ts';
import type { Limit, Rate } from './policy.ts';
import { Timeline } from './timeline.ts';

const second = (amount: number): Rate => ({ amount, periodMs: 1_000, text: `${amount}/s` });
const limit = (more: Partial<Limit>): Limit => ({ direction: 'c2s', per: [], ...more });
const call = (tool: string): Subject => ({
  type: 'request',
  direction: 'c2s',
  method: 'tools/call',
  target: { kind: 'tool', value: tool },
  effects: {},
});

function asker(
  more: { uid?: number; subject?: string; issuer?: string; name?: string; client?: string; session?: string; server?: string } = {},
): Asker {
  const { uid, subject, issuer, name, client, session = 's', server = 'hr' } = more;
  return {
    session,
    party: {
      server,
      labels: {},
      ...(client === undefined ? {} : { client }),
      principal: {
        observed: uid === undefined ? {} : { uid },
        verified: { ...(subject === undefined ? {} : { subject }), ...(issuer === undefined ? {} : { issuer }) },
        declared: name === undefined ? {} : { name },
      },
    },
  };
}

function limiterOf(
  limits: Limit[],
  most?: number,
): { limiter: Limiter; take: (nowMs: number, who?: Asker, tool?: string, sizeBytes?: number) => Taken | Limited } {
  const limiter = new Limiter((text) => text, most);
  const compiled = compileLimits(limits);
  limiter.configure(compiled);
  const one = asker();
  return { limiter, take: (nowMs, who = one, tool = 'get', sizeBytes = 1) => limiter.take(compiled, who, call(tool), sizeBytes, nowMs) };
}

const passed = (said: Taken | Limited): boolean => said instanceof Taken;

describe('requests', () => {
  test('never more pass than the burst and what the rate gives, and who waits as long as it is told passes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.constantFrom(1_000, 60_000, 3_600_000),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.oneof(fc.constant(0), fc.nat(50), fc.nat(100_000), fc.double({ min: 0, max: 10, noNaN: true })), {
          minLength: 1,
          maxLength: 200,
        }),
        (amount, periodMs, burst, gaps) => {
          const { take } = limiterOf([limit({ requests: { amount, periodMs, text: 'x' }, burst })]);
          let nowMs = 0;
          const times: number[] = [];
          for (const gap of gaps) {
            nowMs += gap;
            const said = take(nowMs);
            if (passed(said)) times.push(nowMs);
            else {
              const { retryAfterMs } = said as Limited;
              expect(Number.isSafeInteger(retryAfterMs) && retryAfterMs >= 1).toBe(true);
              nowMs += retryAfterMs;
              expect(passed(take(nowMs))).toBe(true);
              times.push(nowMs);
            }
          }
          // between any two that passed, these among them
          for (let from = 0; from < times.length; from++) {
            for (let to = from; to < times.length; to++)
              expect(to - from + 1).toBeLessThanOrEqual(burst + ((times[to]! - times[from]!) * amount) / periodMs + 1e-5);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test('the time that is told is no longer than it must be', () => {
    const { take } = limiterOf([limit({ requests: second(4), burst: 1 })]);
    expect(passed(take(0))).toBe(true);
    expect(take(0)).toMatchObject({ retryAfterMs: 250, reason: 'more than 1 requests at once and 4/s behind them', limit: { rule: 'sworn:limit' } });
    expect(take(249)).toMatchObject({ retryAfterMs: 1 });
    expect(passed(take(250))).toBe(true);
  });

  test('without a burst those of a period may come at once; what is given back can be taken again, and no more', () => {
    const { take } = limiterOf([limit({ requests: second(3) })]);
    const taken = [take(0), take(0), take(0)] as Taken[];
    expect(taken.every(passed)).toBe(true);
    expect(passed(take(0))).toBe(false);
    taken[0]!.giveBack();
    expect([passed(take(0)), passed(take(0))]).toEqual([true, false]);
    expect(passed(take(10_000))).toBe(true);
    taken[1]!.giveBack();
    taken[2]!.giveBack();
    expect([0, 1, 2, 3].map(() => passed(take(10_000)))).toEqual([true, true, true, false]);
  });

  test('of several limits all give, or none does; the first that refuses names it, the longest wait is told', () => {
    const { take } = limiterOf([
      limit({ name: 'a', requests: second(10) }),
      limit({ name: 'b', requests: second(1) }),
      limit({ name: 'c', requests: { amount: 1, periodMs: 60_000, text: '1/min' } }),
    ]);
    expect(passed(take(0))).toBe(true);
    for (let i = 0; i < 50; i++) expect(take(0)).toMatchObject({ limit: { rule: 'sworn:limit/b' }, retryAfterMs: 60_000 });
    // nothing was taken from the first
    expect(take(1_000)).toMatchObject({ limit: { rule: 'sworn:limit/c' } });
  });
});

describe('bytes', () => {
  const perSecond = (amount: number): Rate => ({ amount, periodMs: 1_000, text: `${amount}B/s` });

  test('a reply that is longer than what is left is paid for before anything passes', () => {
    const { limiter, take } = limiterOf([limit({ bytes: perSecond(1_000) })]);
    const taken = take(0, undefined, 'get', 100) as Taken;
    const { keys } = taken;
    limiter.hold(keys, 1);
    taken.release();
    limiter.charge(keys, 2_900, 0);
    limiter.hold(keys, -1);
    expect(take(0, undefined, 'get', 100)).toMatchObject({ retryAfterMs: 2_100, reason: 'more than 1000B/s' });
    expect(passed(take(2_099, undefined, 'get', 100))).toBe(false);
    expect(passed(take(2_100, undefined, 'get', 100))).toBe(true);
  });

  test('one that is longer than all there can be passes when all is there', () => {
    const { take } = limiterOf([limit({ bytes: perSecond(1_000) })]);
    expect(passed(take(0, undefined, 'get', 5_000))).toBe(true);
    expect(take(0)).toMatchObject({ retryAfterMs: 4_001 });
    expect(passed(take(4_999, undefined, 'get', 5_000))).toBe(false);
    expect(passed(take(6_000, undefined, 'get', 5_000))).toBe(true);
  });
});

test('as many run as may: a reply, a cancellation and a request that is not sent make room', () => {
  const { limiter, take } = limiterOf([limit({ concurrent: 2 })]);
  const [a, b] = [take(0), take(0)] as [Taken, Taken];
  expect(take(1e9)).toMatchObject({ retryAfterMs: 1_000, reason: 'more than 2 at a time' });
  const { keys } = a;
  limiter.hold(keys, 1);
  a.release();
  a.release();
  expect(passed(take(0))).toBe(false);
  b.giveBack();
  const c = take(0) as Taken;
  expect([passed(c), passed(take(0))]).toEqual([true, false]);
  limiter.hold(keys, -1);
  expect(limiter.running).toBe(1);
  const d = take(0) as Taken;
  limiter.hold(keys, 1);
  d.release();
  // cancelled: it runs no more, and a reply may still come
  limiter.hold(keys, -1);
  limiter.hold(keys, 1, true);
  expect(limiter.running).toBe(1);
  limiter.hold(keys, -1, true);
  c.release();
  limiter.sweep(10, 0);
  expect(limiter.size).toBe(0);
});

describe('keys', () => {
  const alone = (per: Limit['per'], first: [Asker, string?], second: [Asker, string?]): boolean => {
    const { take } = limiterOf([limit({ per, requests: { amount: 1, periodMs: 1e9, text: 'x' } })]);
    expect(passed(take(0, ...first))).toBe(true);
    return passed(take(0, ...second));
  };

  test.each<[string, Limit['per'], [Asker, string?], [Asker, string?], boolean]>([
    ['all together', [], [asker({ uid: 1, session: 'a' }), 'x'], [asker({ uid: 2, session: 'b' }), 'y'], false],
    ['accounts', ['principal'], [asker({ uid: 1 })], [asker({ uid: 2 })], true],
    ['one account', ['principal'], [asker({ uid: 1, name: 'a' })], [asker({ uid: 1, name: 'b' })], false],
    ['subjects of one account', ['principal'], [asker({ uid: 1, subject: 'a' })], [asker({ uid: 1, subject: 'b' })], true],
    ['one subject of two accounts', ['principal'], [asker({ uid: 1, subject: 'a' })], [asker({ uid: 2, subject: 'a' })], false],
    ['one subject of two issuers', ['principal'], [asker({ subject: 'a', issuer: 'x' })], [asker({ subject: 'a', issuer: 'y' })], true],
    ['no account is its subject', ['principal'], [asker({ uid: 7 })], [asker({ subject: '7' })], true],
    ['whoever only says who it is', ['principal'], [asker({ name: 'a' })], [asker({ name: 'b' })], false],
    ['clients', ['client'], [asker({ client: 'a' })], [asker({ client: 'b' })], true],
    ['servers', ['server'], [asker({ server: 'a' })], [asker({ server: 'b' })], true],
    ['sessions', ['session'], [asker({ session: 'a' })], [asker({ session: 'b' })], true],
    ['tools', ['tool'], [asker(), 'a'], [asker(), 'b'], true],
    ['a tool by its looks', ['tool'], [asker(), 'delete_file'], [asker(), 'Delеte_file '], false],
    [
      'two keys do not run into each other',
      ['client', 'server'],
      [asker({ client: 'a 1:b', server: 'c' })],
      [asker({ client: 'a', server: 'b 1:c' })],
      true,
    ],
  ])('%s', (_, per, first, second, isApart) => {
    expect(alone(per, first, second)).toBe(isApart);
  });

  test('who it was for is told in words', () => {
    const who = asker({ uid: 5, subject: 'eve', client: 'c' });
    expect(countedFor(limit({ per: ['principal', 'client', 'tool', 'session'] }), who, call('Get'))).toEqual({
      principal: 'eve',
      client: 'c',
      tool: 'Get',
      session: 's',
    });
    expect(countedFor(limit({ per: ['principal'] }), asker({ uid: 5 }), call('Get'))).toEqual({ principal: 5 });
  });
});

describe('many buckets', () => {
  test('those that are full and idle are forgotten, and at the bound what is new shares one', () => {
    const { limiter, take } = limiterOf([limit({ per: ['tool'], requests: second(1), burst: 2 })], 100);
    for (let i = 0; i < 100; i++) (take(0, undefined, `t${i}`) as Taken).release();
    expect([limiter.size, limiter.crowded]).toEqual([100, 0]);
    // two more pass, whatever they are called
    for (let i = 0; i < 2; i++) (take(0, undefined, `more${i}`) as Taken).release();
    expect([2, 3].map((i) => passed(take(0, undefined, `more${i}`)))).toEqual([false, false]);
    expect([limiter.size, limiter.crowded]).toEqual([101, 4]);
    // what has a bucket is not touched
    (take(0, undefined, 't0') as Taken).release();
    expect(passed(take(0, undefined, 't0'))).toBe(false);
    // a second later all but t0 are full
    for (let i = 0; i < 60; i++) (take(1_000, undefined, `late${i}`) as Taken).release();
    expect(limiter.size).toBeLessThanOrEqual(101);
    for (let round = 0; round < 2; round++) limiter.sweep(1_000, 10_000);
    expect(limiter.size).toBe(0);
  });

  test('a bucket of which something runs is never forgotten', () => {
    const { limiter, take } = limiterOf([limit({ per: ['tool'], concurrent: 1 })], 10);
    const running = take(0, undefined, 'slow') as Taken;
    for (let i = 0; i < 1_000; i++) (take(i, undefined, `t${i}`) as Taken).giveBack();
    expect(passed(take(1e9, undefined, 'slow'))).toBe(false);
    running.giveBack();
    expect(passed(take(1e9, undefined, 'slow'))).toBe(true);
    expect(limiter.size).toBeLessThanOrEqual(11);
  });
});

describe('what stays', () => {
  test('another policy keeps the buckets of a limit that says the same, whatever it is called', () => {
    const kept = limit({ per: ['tool'], requests: second(1) });
    const limiter = new Limiter((text) => text);
    const first = compileLimits([kept, limit({ requests: second(5), burst: 1 })]);
    limiter.configure(first);
    expect(passed(limiter.take(first, asker(), call('a'), 1, 0))).toBe(true);
    const next = compileLimits([limit({ requests: second(6), burst: 1 }), { name: 'n', ...kept }]);
    limiter.configure(next);
    expect(limiter.take(next, asker(), call('a'), 1, 0)).toMatchObject({ limit: { rule: 'sworn:limit/n' } });
    expect(limiter.size).toBe(2);
  });

  test('a snapshot says what is left, never more, and what it does not know is left out', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3_000), fc.nat(5), fc.nat(2_000)), { maxLength: 60 }), fc.nat(5_000), (asks, laterMs) => {
        const limits = [limit({ per: ['tool'], requests: second(2), burst: 4, bytes: { amount: 5_000, periodMs: 1_000, text: 'x' } })];
        const { limiter, take } = limiterOf(limits);
        let nowMs = 0;
        for (const [gap, tool, sizeBytes] of asks) {
          const said = take((nowMs += gap), undefined, `t${tool}`, sizeBytes);
          if (said instanceof Taken) said.release();
        }
        const again = limiterOf(limits);
        again.limiter.restore(JSON.parse(JSON.stringify(limiter.toJSON(nowMs))), nowMs);
        for (let tool = 0; tool <= 5; tool++) {
          for (let i = 0; i < 5; i++) {
            const [before, after] = [take(nowMs + laterMs, undefined, `t${tool}`), again.take(nowMs + laterMs, undefined, `t${tool}`)];
            if (passed(after)) expect(passed(before)).toBe(true);
            else if (!passed(before)) expect(Math.abs((before as Limited).retryAfterMs - (after as Limited).retryAfterMs)).toBeLessThanOrEqual(2);
          }
        }
      }),
      { numRuns: 100 },
    );
    const { limiter } = limiterOf([limit({ requests: second(1) })]);
    for (const odd of [undefined, null, 5, {}, { limits: 1, buckets: 2 }, { limits: ['x'], buckets: [[0, 'k', 1, null], 7, [0], [9, 'k', 1, 1]] }])
      limiter.restore(odd, 0);
    expect(limiter.size).toBe(0);
  });
});

describe('time', () => {
  const s = 1e6;
  test('within a boot the wall clock may be set as it will; over one it counts, and never backwards', () => {
    const line = new Timeline();
    expect(line.at({ bootId: 'a', monotonicUs: 50 * s, wallUs: 1_000 * s })).toBe(0);
    expect(line.at({ bootId: 'a', monotonicUs: 51 * s, wallUs: 9_999 * s })).toBe(1_000);
    expect(line.at({ bootId: 'a', monotonicUs: 52 * s, wallUs: 1 * s })).toBe(2_000);
    // another boot, five seconds later
    expect(line.at({ bootId: 'b', monotonicUs: 1 * s, wallUs: 6 * s })).toBe(7_000);
    expect(line.at({ bootId: 'b', monotonicUs: 2 * s, wallUs: 6 * s })).toBe(8_000);
    // and one whose clock runs an hour behind
    expect(line.at({ bootId: 'c', monotonicUs: 9 * s, wallUs: -3_600 * s })).toBe(8_000);
    expect(line.at({ bootId: 'c', monotonicUs: 10 * s, wallUs: -3_599 * s })).toBe(9_000);
    // where the system has no name for it
    expect(line.at({ monotonicUs: 99 * s, wallUs: -3_598 * s })).toBe(10_000);
    expect(line.at({ monotonicUs: 0, wallUs: -3_500 * s })).toBe(108_000);
  });
});
