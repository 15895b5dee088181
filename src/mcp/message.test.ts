import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fromHex, utf8 } from '../bytes/bytes.ts';
import type {
  Anomaly as EntryAnomaly,
  Direction as EntryDirection,
  Era as EntryEra,
  MessageType as EntryType,
  Outcome as EntryOutcome,
} from '../entry/entry.ts';
import { batchItems, unitBytes } from '../limits.ts';
import {
  MessageReader,
  readMessage,
  type Anomaly,
  type Batch,
  type Direction,
  type Era,
  type Message,
  type MessageType,
  type Outcome,
} from './message.ts';

interface Vector {
  name: string;
  frame?: string;
  frameHex?: string;
  message?: Message;
  batch?: [[number, number], Message][];
  anomalies?: Anomaly[];
}
const vectors = JSON.parse(readFileSync(new URL('../../spec/vectors/messages.json', import.meta.url), 'utf8')) as Record<
  'accept' | 'doubtful' | 'reject',
  Vector[]
>;
const all = [...vectors.accept, ...vectors.doubtful, ...vectors.reject];
const bytesOf = (vector: Vector): Uint8Array => (vector.frame === undefined ? fromHex(vector.frameHex!)! : utf8(vector.frame));

function inChunks(frame: Uint8Array, size: number): Message | Batch {
  const reader = new MessageReader();
  for (let at = 0; at < frame.length; at += size) {
    const chunk = frame.slice(at, at + size);
    reader.push(chunk);
    chunk.fill(0);
  }
  return reader.end();
}

const sorted = <T extends Message | Batch>(message: T): T => ({ ...message, anomalies: [...message.anomalies].sort() });

test.each(all)('vector: $name', (vector) => {
  const message = readMessage(bytesOf(vector));
  if (vector.message !== undefined) {
    expect(sorted(message)).toEqual(sorted(vector.message));
  } else {
    const items = vector.batch!.map(([range, item]) => ({ range, message: item }));
    expect(message).toEqual({ type: 'batch', items, anomalies: vector.anomalies });
  }
  for (const size of [1, 2, 3, 7, 1000]) expect(inChunks(bytesOf(vector), size)).toEqual(message);
});

test('never throws, whatever comes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(...all), fc.nat(), (noise, vector, at) => {
      const frame = bytesOf(vector).slice();
      frame.set(noise.subarray(0, Math.max(0, frame.length - (at % (frame.length + 1)))), at % (frame.length + 1));
      const message = readMessage(frame);
      expect(inChunks(frame, 1 + (at % 5))).toEqual(message);
    }),
    { numRuns: 2000 },
  );
});

test('batches at their bounds', () => {
  const item = '{"jsonrpc":"2.0","method":"m"}';
  const most = readMessage(utf8(`[${Array.from({ length: batchItems }, () => item).join(',')}]`));
  expect(most.type === 'batch' && most.items.length).toBe(batchItems);
  const more = readMessage(utf8(`[${Array.from({ length: batchItems + 1 }, () => item).join(',')}]`));
  expect(more).toEqual({ type: 'opaque', anomalies: ['too-many-items'] });
  const long = utf8(`[${item},"${'x'.repeat(unitBytes)}"]`);
  expect(readMessage(long).type).toBe('batch');
  expect(inChunks(long, 65_536)).toEqual({ type: 'opaque', anomalies: ['too-many-items'] });
});

test('a long frame in chunks', () => {
  const frame = utf8(`{"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"${'héllo '.repeat(1_000_000)}"}],"isError":true}}\r`);
  const message = inChunks(frame, 65_536);
  expect(message).toEqual({ type: 'result', outcome: 'toolError', id: '5', idKey: 'n5', anomalies: [] });
});

test('the types are those of an entry', () => {
  type Same = [
    Anomaly extends EntryAnomaly ? true : false,
    MessageType extends EntryType ? true : false,
    EntryType extends MessageType ? true : false,
    Era extends EntryEra ? true : false,
    Outcome extends EntryOutcome ? true : false,
    Direction extends EntryDirection ? true : false,
  ];
  const same: Same = [true, true, true, true, true, true];
  expect(same).not.toContain(false);
});
