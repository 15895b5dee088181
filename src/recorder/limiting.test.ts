import { describe, expect, test } from 'vitest';
import type { Entry, MessageEntry, PolicyEntry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import type { Content, Ledger, Waiter } from '../ledger/ledger.ts';
import { stormEntries, stormGatherMs, stormsMost } from '../limits.ts';
import { compilePolicy, type CompiledPolicy } from '../policy/judge.ts';
import { noPolicy, type Limit } from '../policy/policy.ts';
import { held, readRefusal, WireReader, wireType } from '../wire/wire.ts';
import { bootId, Clock } from './clock.ts';
import { Connection } from './connection.ts';
import { Limits, type LimitsState } from './limiting.ts';
import { record } from './record.ts';
import type { RecordDeps } from './record-deps.ts';
import { seal } from './seal.ts';
import { Storms } from './storms.ts';

const secondUs = 1e6;

/** Moves when it is told to. */
class HeldClock extends Clock {
  us = 1_000 * secondUs;
  setUs = 1_700_000_000 * secondUs;

  override monotonicUs(): number {
    return this.us;
  }

  override wallUs(monotonicUs = this.us): number {
    return this.setUs + monotonicUs;
  }

  pass(ms: number): void {
    this.us += ms * 1000;
  }
}

class Ledgered {
  readonly entries: Entry[] = [];
  recordable = true;
  keeps = true;

  get nextIndex(): number {
    return this.entries.length;
  }

  append(content: Content, waiter: Waiter): void {
    if (!this.keeps) {
      waiter.undo?.();
      waiter.failed?.(new Error('full'));
      return;
    }
    const entry = readEntry(Buffer.from(content.leaf));
    if (entry instanceof EntryProblem) throw new Error(entry.message);
    this.entries.push(entry);
    waiter.durable({ index: this.entries.length - 1, hash: Buffer.alloc(32) });
  }

  follow(waiter: Waiter): void {
    waiter.durable(undefined);
  }
}

interface World {
  clock: HeldClock;
  ledger: Ledgered;
  limits: Limits;
  storms: Storms;
  connection: Connection;
  ask(id: number, tool?: string): void;
  reply(id: number, sizeBytes?: number): void;
  /** Ids that were answered in the server's place, and with what. */
  refused: Map<number, { code: number; data: { retryAfterMs: number; index?: number } }>;
}

const limitOf = (more: Partial<Limit>): Limit => ({ direction: 'c2s', per: [], ...more });
const hourly = (amount: number): Limit['requests'] & object => ({ amount, periodMs: 3_600_000, text: `${amount}/h` });
const compiledOf = (limits: Limit[]): Promise<CompiledPolicy> => compilePolicy({ ...noPolicy, limits });

function world(compiled: CompiledPolicy, { clock = new HeldClock(), state }: { clock?: HeldClock; state?: LimitsState } = {}): World {
  const ledger = new Ledgered();
  const limits = new Limits(compiled.limits, clock);
  limits.open(() => Buffer.alloc(32, 7));
  if (state !== undefined) limits.restore(JSON.parse(JSON.stringify(state)));
  limits.begin();
  const storms = new Storms({
    clock,
    append: (entry, attributes, _, done) => {
      // `durable` or `failed`, as the ledger does
      ledger.append(seal(entry, attributes), { durable: () => done(true), failed: () => done(false) });
    },
  });
  const connection = new Connection(
    {
      connection: 'c'.repeat(32),
      server: 'hr',
      mode: 'commit',
      onUnrecordable: 'block',
      custody: 'same-user',
      overrides: { sensitive: [], write: [], read: [] },
      tokenDigest: '0'.repeat(64),
      observed: { uid: 1000 },
    },
    undefined,
    compiled,
  );
  connection.isRecorded = true;
  connection.who = 0;
  connection.limit(limits);
  const refused: World['refused'] = new Map();
  const reader = new WireReader();
  connection.attach({
    write: (bytes) =>
      reader.push(bytes, (type, body) => {
        if (type !== wireType.refuse) return;
        for (const text of readRefusal(body)!.toSender.toString().split('\n').slice(0, -1)) {
          const { id, error } = JSON.parse(text) as { id: number; error: { code: number; data: { retryAfterMs: number } } };
          refused.set(id, error);
        }
      }),
  });
  const deps: RecordDeps = {
    ledger: ledger as unknown as Ledger,
    clock,
    freezes: [],
    findKey: () => Buffer.alloc(32),
    limits: { held: limits, storms },
    searcher: { search: (redactor, bytes, known, isJson, done) => done(redactor.ranges(bytes, 0, known, isJson)) },
    openingOf: () => {
      throw new Error('it is open');
    },
  };
  const units: [number, number] = [0, 0];
  const send = (direction: 0 | 1, message: object): void => {
    const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
    record({ direction, flags: held, stream: 0, unit: ++units[direction], delivered: [0, 0], seenUs: clock.us, bytes }, connection, deps);
  };
  return {
    clock,
    ledger,
    limits,
    storms,
    connection,
    refused,
    ask: (id, tool = 'get') => send(0, { id, method: 'tools/call', params: { name: tool } }),
    reply: (id, sizeBytes = 0) => send(1, { id, result: { content: [{ type: 'text', text: 'x'.repeat(sizeBytes) }] } }),
  };
}

const requests = ({ entries }: Ledgered): MessageEntry[] =>
  entries.filter((entry): entry is MessageEntry => entry.kind === 'message' && entry.type === 'request');
const sums = ({ entries }: Ledgered): PolicyEntry[] => entries.filter((entry): entry is PolicyEntry => entry.kind === 'policy');
const blocked = (ledger: Ledgered): number => requests(ledger).filter(({ verdict }) => verdict === 'block').length;
const summed = (ledger: Ledgered): number => sums(ledger).reduce((sum, { count }) => sum + count!, 0);

describe('storms', () => {
  test('of a hundred thousand refused requests a few have entries, all are answered, and the count is exact [limit-storm]', async () => {
    const one = world(await compiledOf([limitOf({ name: 'few', requests: hourly(3), per: ['tool'] })]));
    const { ledger, storms, connection, clock, refused } = one;
    const all = 100_000;
    for (let id = 1; id <= all; id++) {
      one.ask(id);
      clock.pass(0.5);
      if (id % 2_000 === 0) storms.due();
    }
    expect(requests(ledger).filter(({ verdict }) => verdict === 'pass')).toHaveLength(3);
    expect(blocked(ledger)).toBe(stormEntries);
    // one for each ten seconds of them
    expect(sums(ledger)).toHaveLength(4);
    storms.end(connection.id);
    expect(blocked(ledger) + summed(ledger)).toBe(all - 3);
    expect(connection.uncaptured).toEqual([all - 3 - stormEntries, 0]);
    expect(refused.size).toBe(all - 3);
    expect(refused.get(all)).toMatchObject({ code: 4290, data: { rule: 'sworn:limit/few', executed: false } });
    expect(refused.get(all)!.data.index).toBeUndefined();
    expect(refused.get(4)!.data.index).toBe(3);
    expect(connection.exchanges.size).toBe(3);
    for (const { connection: of, rule, since, until } of sums(ledger)) {
      expect([of, rule]).toEqual([connection.id, 'sworn:limit/few']);
      expect(since! <= until!).toBe(true);
    }
  });

  test('when it is over the next one begins with entries again', async () => {
    const one = world(await compiledOf([limitOf({ requests: hourly(1) })]));
    for (let id = 1; id <= 21; id++) one.ask(id);
    one.clock.pass(stormGatherMs);
    one.storms.due();
    expect([blocked(one.ledger), summed(one.ledger), one.storms.size]).toEqual([stormEntries, 20 - stormEntries, 0]);
    one.ask(22);
    expect(blocked(one.ledger)).toBe(stormEntries + 1);
    one.clock.pass(stormGatherMs);
    one.storms.due();
    expect(sums(one.ledger)).toHaveLength(1);
  });

  test('a sum that the disk refuses is said with the next one', async () => {
    const one = world(await compiledOf([limitOf({ requests: hourly(1) })]));
    for (let id = 1; id <= 11; id++) one.ask(id);
    one.ledger.keeps = false;
    one.storms.end();
    one.ledger.keeps = true;
    expect(summed(one.ledger)).toBe(0);
    for (let id = 12; id <= 15; id++) one.ask(id);
    one.storms.end();
    expect(blocked(one.ledger) + summed(one.ledger)).toBe(14);
  });

  test('more storms than are counted at a time: the first one is summed up', async () => {
    const one = world(await compiledOf([limitOf({ per: ['tool'], requests: hourly(1) })]));
    for (let id = 1; id <= 10; id++) one.ask(id, 'first');
    for (let i = 0; i < stormsMost; i++) {
      one.ask(1_000 + 2 * i, `t${i}`);
      one.ask(1_001 + 2 * i, `t${i}`);
    }
    expect(one.storms.size).toBe(stormsMost);
    expect(summed(one.ledger)).toBe(9 - stormEntries);
  });
});

describe('places', () => {
  test('what the disk refuses holds none, and a reply that it refuses makes room: it is answered in its place', async () => {
    const one = world(await compiledOf([limitOf({ concurrent: 2 })]));
    one.ask(1);
    one.ledger.keeps = false;
    one.ask(2);
    one.ask(3);
    expect(one.limits.limiter.running).toBe(1);
    one.reply(1);
    expect(one.limits.limiter.running).toBe(0);
    one.ledger.keeps = true;
    one.ask(4);
    one.ask(5);
    one.ask(6);
    expect([...one.refused].filter(([, { code }]) => code === 4290).map(([id]) => id)).toEqual([6]);
  });

  test('a request that nobody answers makes room after an hour', async () => {
    const one = world(await compiledOf([limitOf({ concurrent: 1 })]));
    one.ask(1);
    for (let minute = 0; minute < 62; minute++) {
      one.clock.pass(60_001);
      one.limits.tick([one.connection], one.storms);
      if (minute === 57) expect(one.limits.limiter.running).toBe(1);
    }
    expect(one.limits.limiter.running).toBe(0);
    one.ask(2);
    one.reply(1);
    expect([one.refused.size, one.limits.limiter.running]).toEqual([0, 1]);
  });

  test('a connection that ends, or is taken for another recorder, leaves none behind', async () => {
    const one = world(await compiledOf([limitOf({ concurrent: 2 })]));
    one.ask(1);
    one.ask(2);
    one.connection.exchanges.attach(undefined);
    expect(one.limits.limiter.running).toBe(0);
    one.connection.limit(one.limits);
    expect(one.limits.limiter.running).toBe(2);
  });
});

describe('restarts', () => {
  const limits = [
    limitOf({ per: ['principal', 'tool'], requests: hourly(60), burst: 10, bytes: { amount: 10_000, periodMs: 3_600_000, text: '10kB/h' } }),
  ];

  /** How many pass at once behind a restart, at which the clocks were changed. */
  async function passing(change: (state: LimitsState, clock: HeldClock) => LimitsState): Promise<number> {
    const compiled = await compiledOf(limits);
    const before = world(compiled);
    for (let id = 1; id <= 8; id++) before.ask(id);
    const clock = new HeldClock();
    clock.us = before.clock.us;
    const after = world(compiled, { clock, state: change(before.limits.toJSON()!, clock) });
    for (let id = 1; id <= 20; id++) after.ask(id);
    return 20 - after.refused.size;
  }

  const minuteUs = 60 * secondUs;
  const hourUs = 60 * minuteUs;
  test.each<[string, (clock: HeldClock) => void, boolean, number]>([
    ['at once', () => undefined, false, 2],
    ['three minutes later', (clock) => void (clock.us += 3 * minuteUs), false, 5],
    ['in the same boot, the wall clock set a day ahead', (clock) => void (clock.setUs += 24 * hourUs), false, 2],
    ['in the same boot, the wall clock set a day back', (clock) => void ((clock.setUs -= 24 * hourUs), (clock.us += 3 * minuteUs)), false, 5],
    ['three minutes later, in another boot', (clock) => void ((clock.us = secondUs), (clock.setUs += 999 * secondUs + 3 * minuteUs)), true, 5],
    ['in another boot, the clock set a year ahead: no more than the burst', (clock) => void (clock.setUs += 365 * 24 * hourUs), true, 10],
    ['in another boot, the clock set back a year: no less than was left', (clock) => void (clock.setUs -= 365 * 24 * hourUs), true, 2],
  ])('%s [limit-restart]', async (_, change, isRebooted, expected) => {
    // where the system has no name for its boots every start is another boot
    if (!isRebooted && bootId() === undefined) return;
    const passed = await passing((state, clock) => {
      change(clock);
      return isRebooted ? { ...state, bootId: 'another' } : state;
    });
    expect(passed).toBe(expected);
  });

  test('the snapshot names nobody', async () => {
    const one = world(
      await compiledOf([limitOf({ per: ['principal', 'client', 'server', 'tool', 'session'], requests: hourly(2), tool: ['very_secret_*'] })]),
    );
    one.ask(1, 'very_secret_tool');
    const text = JSON.stringify([one.limits.toJSON()]);
    expect(text).not.toMatch(/very|secret|cccc/);
    expect((JSON.parse(text) as [LimitsState])[0].buckets).toHaveLength(1);
  });
});
