/** The eraser on a real ledger, without sockets: what it names, what it leaves, and what happens when something comes between. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FaultyFiles, type Fault } from '../../test/faults/faulty-files.ts';
import { scratch, smallBounds, type Scratch } from '../../test/faults/world.ts';
import type { Entry, ErasureEntry, MessageEntry, PolicyEntry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import type { Files } from '../ledger/files.ts';
import { Ledger } from '../ledger/ledger.ts';
import { segmentFiles } from '../ledger/recover.ts';
import { scanSegment, segmentName } from '../ledger/segment.ts';
import { entryBytes } from '../limits.ts';
import { Clock } from './clock.ts';
import { readErase } from './erase-request.ts';
import { Eraser } from './erase.ts';
import { applyHold, holdFields, holdOn, readHold, type Hold, type Party } from './hold.ts';
import { commitment, seal, segmentOf } from './seal.ts';

const clock = new Clock();
const connections = ['a1'.repeat(16), 'b2'.repeat(16)];
let at: Scratch;
beforeEach(() => void (at = scratch()));
afterEach(() => at.remove());

class World {
  readonly ledger: Ledger;
  readonly eraser: Eraser;
  readonly logged: string[] = [];
  holds: Hold[] = [];
  snapshots = 0;
  /** Asked before each look at the holds. */
  onHolds = (): void => undefined;

  constructor(files?: Files, segmentBytes = 64 * 1024) {
    const events = { flushed: () => undefined, recordable: () => undefined, fatal: () => undefined };
    this.ledger = Ledger.open(at.folder, at.keysHome, { from: 0, entry: () => undefined }, events, files, { ...smallBounds, segmentBytes });
    this.eraser = new Eraser(
      {
        ledger: this.ledger,
        common: () => this.common('erasure'),
        holds: () => {
          this.onHolds();
          return this.holds;
        },
        isOpen: () => false,
        forget: () => undefined,
        snapshot: () => this.snapshots++,
        log: (text) => this.logged.push(text),
      },
      { pending: [], rests: [], expired: 0 },
    );
  }

  common<K extends string>(kind: K): { v: 1; kind: K; time: string; monotonicUs: number } {
    return { v: 1, kind, time: clock.text(clock.wallUs()), monotonicUs: clock.monotonicUs() };
  }

  async message(text: string, of = 0): Promise<number> {
    const index = this.ledger.nextIndex;
    const own = segmentOf(Buffer.from(text));
    const entry = {
      ...this.common('message'),
      ...{ connection: connections[of]!, stream: 0, seq: index + 1, tapSeq: index + 1, direction: 'c2s', transport: 'stdio', type: 'notification' },
      ...{ server: `s${of}`, verdict: 'pass', origin: 'client', sizeBytes: Buffer.byteLength(text), segments: 1, commitment: commitment([own.hash]) },
    } as MessageEntry;
    await new Promise<void>((done, failed) => this.ledger.append(seal(entry, {}, [own.item]), { durable: () => done(), failed }, { urgent: true }));
    return index;
  }

  /** What is said, by index, and how long it is. */
  erasures(): (ErasureEntry & { leafBytes: number })[] {
    const found: (ErasureEntry & { leafBytes: number })[] = [];
    const payload = join(at.folder, 'payload');
    for (const first of segmentFiles(payload)) {
      for (const scanned of scanSegment(join(payload, segmentName(first)))) {
        if (scanned.kind !== 'record' || scanned.record.type !== 'entry') continue;
        const entry = readEntry(scanned.record.leaf);
        if (entry instanceof EntryProblem) throw new Error(entry.message);
        if (entry.kind === 'erasure') found.push({ ...entry, leafBytes: scanned.record.leaf.length });
      }
    }
    return found;
  }

  has(text: string): boolean {
    const payload = join(at.folder, 'payload');
    return readdirSync(payload).some((name) => readFileSync(join(payload, name)).includes(text));
  }
}

const whole = (targets: [number, number][], more: object = {}) => ({ scope: 'index' as const, targets, paths: [], ...more });

describe('the eraser', () => {
  it('names a run as one range, and single entries in as many entries as they need', async () => {
    const world = new World();
    for (let i = 0; i < 2_600; i++) await world.message(`secret ${i}.`, i % 2);
    await world.eraser.erase(whole([[0, 99]]), {});
    expect(world.erasures().map(({ targets }) => targets)).toEqual([[{ index: 0, to: 99, segments: 'all', attributes: 'all' }]]);
    const odd: [number, number][] = [];
    for (let i = 101; i < 2_600; i += 2) odd.push([i, i]);
    const answer = await world.eraser.erase(whole(odd), { by: { uid: 1, pid: 2 } });
    expect(answer).toMatchObject({ entries: odd.length, segments: odd.length });
    const [, ...many] = world.erasures();
    expect(many.length).toBe(3);
    for (const { leafBytes, targets } of many) {
      expect(leafBytes).toBeLessThan(entryBytes);
      expect(targets.length).toBeLessThanOrEqual(500);
    }
    for (let i = 100; i < 2_600; i += 333) expect(world.has(`secret ${i}.`), String(i)).toBe(i % 2 === 0);
    await world.ledger.close();
  });

  it('removes the rows that readers made', async () => {
    const world = new World();
    await world.message('the secret');
    const rows = ['catalog.sqlite', 'catalog.sqlite-wal', 'catalog.sqlite-shm'].map((name) => join(at.folder, name));
    for (const path of rows) writeFileSync(path, 'the secret');
    await world.eraser.erase(whole([[0, 0]]), {});
    expect(rows.filter((path) => existsSync(path))).toEqual([]);
    await world.ledger.close();
  });

  it('looks again when a hold comes while it looks', async () => {
    const world = new World();
    await world.message('the secret');
    let looks = 0;
    world.onHolds = () => {
      // in force between the look and the entry
      if (++looks === 3) world.holds = [{ id: 0, session: connections[0]!.slice(0, 4), reason: 'litigation' }];
    };
    const answer = await world.eraser.erase(whole([[0, 0]]), {});
    expect(answer).toMatchObject({ erasures: [], held: [{ hold: 0, reason: 'litigation', entries: 1, index: 0 }] });
    expect(world.has('the secret')).toBe(true);
    await world.ledger.close();
  });

  it('keeps an entry within its bound however often a field stands in a message', async () => {
    const world = new World(undefined, 4 * 1024 * 1024);
    const text = JSON.stringify({ jsonrpc: '2.0', method: 'a', params: Array.from({ length: 9_000 }, (_, i) => ({ ssn: `number ${i}.`, keep: i })) });
    await world.message(text);
    const answer = await world.eraser.erase(whole([[0, 0]], { paths: ['$..ssn'] }), {});
    expect(answer.erasures).toHaveLength(1);
    expect(world.has('number 17.')).toBe(false);
    for (const { leafBytes } of world.erasures()) expect(leafBytes).toBeLessThan(entryBytes);
    await world.ledger.close();
  });

  it('leaves everything when the entry cannot be stored', async () => {
    const faults: Fault[] = [];
    const files = new FaultyFiles(faults);
    const world = new World(files);
    await world.message('the secret');
    faults.push(
      ...[1, 2, 3, 4, 5, 6, 7, 8].map((call): Fault => ({
        operation: 'open',
        call: files.calls.open + call,
        stored: 'nothing',
        then: 'goes on',
        code: 'ENOSPC',
      })),
    );
    await expect(world.eraser.erase(whole([[0, 0]]), {})).rejects.toMatchObject({ code: 'unrecordable' });
    expect(world.has('the secret')).toBe(true);
    expect(world.eraser.toJSON()).toMatchObject({ pending: [], rests: [] });
    expect(world.erasures()).toEqual([]);
    await files.die(world.ledger);
  });

  it('says what is not done yet, and does it when it can', async () => {
    const faults: Fault[] = [];
    const files = new FaultyFiles(faults);
    const world = new World(files);
    await world.message('the secret');
    faults.push({ operation: 'create', call: files.calls.create + 1, stored: 'nothing', then: 'goes on', code: 'ENOSPC' });
    const answer = await world.eraser.erase(whole([[0, 0]]), {});
    expect(answer).toMatchObject({ erasures: [1], unfinished: expect.stringContaining('ENOSPC') as string });
    expect(world.eraser.status).toMatchObject({ pending: 1, problem: expect.stringContaining('ENOSPC') as string });
    expect(world.has('the secret')).toBe(true);
    world.eraser.resume();
    while (world.eraser.isBusy) await sleep(1);
    expect(world.has('the secret')).toBe(false);
    expect(world.eraser.status).toEqual({ pending: 0 });
    expect(world.snapshots).toBe(1);
    await world.eraser.end();
    await files.die(world.ledger);
  });

  it('expires what is old, once, and what was held when it is free', async () => {
    const world = new World();
    for (let i = 0; i < 10; i++) await world.message(`old ${i}.`, i % 2);
    world.holds = [{ id: 99, server: 's1' }];
    await sleep(5);
    const cutoff = clock.wallUs() / 1000;
    await sleep(5);
    await world.message('new 1.');
    const first = await world.eraser.expire(cutoff, { policyDigest: 'ab'.repeat(32) });
    expect(first).toMatchObject({ entries: 5, held: [{ hold: 99, entries: 5, index: 1 }] });
    for (let i = 0; i < 10; i++) expect(world.has(`old ${i}.`)).toBe(i % 2 === 1);
    expect(await world.eraser.expire(cutoff, {})).toBeUndefined();
    world.holds = [];
    world.eraser.released();
    expect(await world.eraser.expire(cutoff, {})).toMatchObject({ entries: 5, held: [] });
    expect(await world.eraser.expire(cutoff, {})).toBeUndefined();
    expect(world.has('old ')).toBe(false);
    expect(world.has('new 1.')).toBe(true);
    await world.ledger.close();
  });
});

describe('holds', () => {
  const entry = (fields: object) =>
    ({ time: '2026-11-21T00:00:00.000000Z', kind: 'message', connection: connections[0], server: 'db', ...fields }) as Entry;
  const party: Party = { server: 'db', names: new Set(['user=jane', 'jane', 'uid=1000']) };
  const ms = Date.parse('2026-11-21T00:00:00Z');
  it.each([
    [{}, true],
    [{ session: 'a1a1' }, true],
    [{ session: 'a1b' }, false],
    [{ server: 'd*' }, true],
    [{ server: 'hr' }, false],
    [{ subject: 'jane' }, true],
    [{ subject: 'jan' }, false],
    [{ sinceMs: ms, untilMs: ms }, true],
    [{ sinceMs: ms + 1 }, false],
    [{ untilMs: ms - 1 }, false],
    [{ session: 'a1', subject: 'joe' }, false],
  ] as const)('%j covers: %s', (hold, covers) => {
    expect(holdOn([{ id: 3, ...hold }], entry({}), party) !== undefined).toBe(covers);
  });

  it('come back from their entries as they were', () => {
    const hold = { session: 'ab', server: 'd*', subject: 'jane', sinceMs: ms, untilMs: ms + 5, reason: 'why' };
    expect(readHold({ ...hold, other: 1 })).toEqual(hold);
    const { fields, attributes } = holdFields(hold, (us) => clock.text(us));
    expect(JSON.stringify(fields)).not.toContain('jane');
    const made = applyHold([], { act: 'hold', ...fields } as PolicyEntry, 8, attributes);
    expect(made).toEqual([{ id: 8, ...hold }]);
    expect(applyHold(made, { act: 'release', hold: 8 } as PolicyEntry, 9, {})).toEqual([]);
    for (const wrong of [{ session: 'x' }, { reason: '' }, { reason: 'x'.repeat(257) }, { sinceMs: 'now' }, { untilMs: Infinity }])
      expect(typeof readHold(wrong)).toBe('string');
  });

  it('and erasures are read with care', () => {
    const right = { scope: 'index', targets: [[1, 2]], paths: ['$.a'], reason: 'why' };
    expect(readErase(right)).toEqual(right);
    for (const wrong of [
      { scope: 'all' },
      { targets: [] },
      { targets: [[2, 1]] },
      { targets: [[-1, 1]] },
      { targets: [[1, 2, 3]] },
      { targets: 'x' },
      { paths: ['a'] },
      { paths: [1] },
      { reason: '' },
    ])
      expect(typeof readErase({ ...right, ...wrong }), JSON.stringify(wrong)).toBe('string');
  });
});
