import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { BatchEntry, Entry, MessageEntry } from '../entry/entry.ts';
import { Ledger } from '../ledger/ledger.ts';
import { scanSegment } from '../ledger/segment.ts';
import { Recorder } from './recorder.ts';
import { commitment, seal, segmentOf } from './seal.ts';

const connection = 'ab'.repeat(16);
const time = '2026-11-20T10:00:00.000000Z';
const batch = Buffer.from('[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"b"},{"jsonrpc":"2.0","id":3,"method":"c"}]');
const common = { v: 1 as const, time, monotonicUs: 5 };
const frame = {
  ...common,
  connection,
  stream: 0,
  tapSeq: 1,
  direction: 'c2s' as const,
  transport: 'stdio' as const,
  server: 's',
  verdict: 'pass' as const,
  origin: 'client' as const,
};

it('adds the items of a batch whose entries a crash cut off, once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-state-'));
  try {
    const at = join(folder, 'ledger');
    const keysHome = join(folder, 'keys');
    const nothing = {
      flushed: () => undefined,
      recordable: () => undefined,
      fatal: (error: Error) => {
        throw error;
      },
    };
    const ledger = Ledger.open(at, keysHome, { from: 0, entry: () => undefined }, nothing);
    const { item, hash } = segmentOf(batch);
    const append = (entry: Entry, items: Parameters<typeof seal>[2] = []) => ledger.append(seal(entry, {}, items), { durable: () => undefined });
    append({ ...common, kind: 'start', ledger: ledger.id, origin: ledger.origin, vkey: ledger.key.vkey, recorder: { version: '0', uid: 1, pid: 1 } });
    append({
      ...common,
      kind: 'open',
      connection,
      transport: 'stdio',
      server: 's',
      mode: 'commit',
      onUnrecordable: 'block',
      custody: 'same-user',
      tap: { source: 'kernel' },
    });
    append({ ...frame, kind: 'batch', seq: 1, items: 3, sizeBytes: batch.length, segments: 1, commitment: commitment([hash]) } satisfies BatchEntry, [
      item,
    ]);
    const first = {
      ...frame,
      kind: 'message',
      seq: 2,
      type: 'request',
      id: '1',
      method: 'a',
      exchange: 3,
      batch: 2,
      item: 0,
      range: [1, 38],
      sizeBytes: 37,
    } satisfies MessageEntry;
    append(first);
    await ledger.close();

    for (let start = 0; start < 2; start++) {
      const ended = new Promise<number>((done) => {
        const recorder = new Recorder(
          { ledger: at, keysHome, socket: join(folder, 's'), version: '0' },
          { missing: 'left out' },
          { kind: 'flock', release: () => undefined },
          () => undefined,
          done,
        );
        void recorder.end('signal');
      });
      expect(await ended).toBe(0);
    }
    const entries = [...scanSegment(join(at, 'payload', '0'.repeat(16)))].flatMap((scanned) =>
      scanned.kind === 'record' && scanned.record.type === 'entry' ? [JSON.parse(scanned.record.leaf.toString()) as MessageEntry] : [],
    );
    const items = entries.filter((entry) => entry.batch !== undefined);
    expect(items.map(({ item: number, id, method, seq, tapSeq }) => ({ number, id, method, seq, tapSeq }))).toEqual([
      { number: 0, id: '1', method: 'a', seq: 2, tapSeq: 1 },
      { number: 1, id: '2', method: 'b', seq: 3, tapSeq: 1 },
      { number: 2, id: '3', method: 'c', seq: 4, tapSeq: 1 },
    ]);
    expect(items.map(({ range }) => batch.subarray(...range!).toString())).toEqual(
      (JSON.parse(batch.toString()) as unknown[]).map((one) => JSON.stringify(one)),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
