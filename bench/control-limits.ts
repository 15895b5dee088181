/** What limits add to a message in the recorder with 100,000 live buckets, and what a snapshot of these costs. The same frames go through `record` with and without, in turns. */
import { limitBuckets } from '../src/limits.ts';
import { compilePolicy, unruled, type CompiledPolicy } from '../src/policy/judge.ts';
import { Taken } from '../src/policy/limits.ts';
import { noPolicy } from '../src/policy/policy.ts';
import { askerOf } from '../src/recorder/asker.ts';
import { Clock } from '../src/recorder/clock.ts';
import { Connection } from '../src/recorder/connection.ts';
import { Limits } from '../src/recorder/limiting.ts';
import { record } from '../src/recorder/record.ts';
import type { RecordDeps } from '../src/recorder/record-deps.ts';
import { Storms } from '../src/recorder/storms.ts';
import { held, type DirectionIndex } from '../src/wire/wire.ts';
import type { Found, RowOptions } from './control-row.ts';
import { median, quantile } from './figures.ts';
import { depsWithout, openedConnection } from './no-ledger.ts';

const hour = 3_600_000;

/** Never reached, and not full again before the end: what is measured passes, and its buckets live. */
async function limitsPolicy(): Promise<CompiledPolicy> {
  return compilePolicy({
    ...noPolicy,
    limits: [
      {
        direction: 'c2s',
        per: ['principal', 'server', 'tool'],
        requests: { amount: 1, periodMs: hour, text: '1/h' },
        burst: 1_000_000_000,
        concurrent: 10_000,
        bytes: { amount: 1e15, periodMs: hour, text: '999999GB/h' },
      },
    ],
  });
}

interface Staged {
  take(direction: DirectionIndex, bytes: Buffer): void;
  limits: Limits;
  connection: Connection;
}

function stage(compiled: CompiledPolicy): Staged {
  const connection = openedConnection(compiled, { uid: 1000 });
  const clock = new Clock();
  const limits = new Limits(compiled.limits, clock);
  limits.open(() => Buffer.alloc(32));
  limits.begin();
  connection.limit(limits);
  const deps: RecordDeps = {
    ...depsWithout(undefined, clock),
    limits: { held: limits, storms: new Storms({ clock, append: () => undefined }) },
  };
  const units = [0, 0];
  return {
    limits,
    connection,
    take: (direction, bytes) =>
      record({ direction, flags: held, stream: 0, unit: ++units[direction]!, delivered: [0, 0], seenUs: units[direction]!, bytes }, connection, deps),
  };
}

const tool = (i: number): string => `tool_${i}`;

/** A request of about 400 bytes, and its reply of about 600. */
function exchange(id: number, name: string): [Buffer, Buffer] {
  const request = {
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name, arguments: { query: 'select name from staff', note: 'x'.repeat(280) } },
  };
  const reply = { jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'y'.repeat(500) }] } };
  return [Buffer.from(JSON.stringify(request)), Buffer.from(JSON.stringify(reply))];
}

export async function limitsRows({ short }: RowOptions): Promise<Found> {
  const rounds = short ? 40 : 150;
  const each = 200;
  const plain = stage(unruled);
  const full = stage(await limitsPolicy());
  const { limiter } = full.limits;
  const heapBefore = process.memoryUsage().heapUsed;
  const all = full.connection.judge.compiled.limits;
  const asker = askerOf(full.connection, 0);
  for (let i = 0; limiter.size < limitBuckets; i++) {
    const subject = { type: 'request', direction: 'c2s', method: 'tools/call', target: { kind: 'tool', value: tool(i) }, effects: {} } as const;
    const taken = limiter.take(all, asker, subject, 1, full.limits.now());
    if (taken instanceof Taken) taken.release();
  }
  const bucketBytes = (process.memoryUsage().heapUsed - heapBefore) / limiter.size;
  const samples: Record<'without' | 'with', number[]> = { without: [], with: [] };
  let id = 0;
  for (let round = 0; round < rounds; round++) {
    // spread over all buckets
    const frames = Array.from({ length: each }, () => exchange(++id, tool((id * 7_919) % limitBuckets)));
    const turns = [['without', plain] as const, ['with', full] as const];
    for (const [name, { take }] of round % 2 === 0 ? turns : turns.toReversed()) {
      for (const [request, reply] of frames) {
        const from = performance.now();
        take(0, request);
        take(1, reply);
        // the first tenth warms up
        if (round > rounds / 10) samples[name].push(((performance.now() - from) * 1000) / 2);
      }
    }
  }
  if (limiter.size < limitBuckets) throw new Error(`only ${limiter.size} buckets live`);
  const snapshotMs: number[] = [];
  let snapshotBytes = 0;
  for (let i = 0; i < 5; i++) {
    const from = performance.now();
    snapshotBytes = JSON.stringify(full.limits.toJSON()).length;
    snapshotMs.push(performance.now() - from);
  }
  const [without, with_] = [median(samples.without), median(samples.with)];
  return {
    figures: {
      'limits: bytes of heap a bucket': bucketBytes,
      'limits: snapshot, ms': median(snapshotMs),
      'limits: snapshot, MB': snapshotBytes / 1e6,
    },
    lines: [
      [
        `limits, ${limitBuckets.toLocaleString('en-US')} buckets`,
        without,
        with_,
        with_ - without,
        quantile(samples.with, 0.99) - quantile(samples.without, 0.99),
      ],
    ],
    targets: [{ name: 'limits add to a message, median', figure: with_ - without, limit: 10, want: 'at most', unit: 'µs' }],
  };
}
