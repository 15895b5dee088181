/** Whoever comes back is told what they missed, one that does not read is let go, and what comes together is one event. */
import type { ServerResponse } from 'node:http';
import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { streamGatherMs, streamHeartbeatMs, streamWaitingBytes } from '../limits.ts';
import { Stream } from './stream.ts';

class Response extends EventEmitter {
  text = '';
  writableLength = 0;
  isGone = false;

  write(text: string): void {
    this.text += text;
  }

  destroy(): void {
    this.isGone = true;
    this.emit('close');
  }

  get events(): { id: string; data: unknown }[] {
    return [...this.text.matchAll(/^id: (.*)\nevent: change\ndata: (.*)\n\n/gm)].map(([, id, data]) => ({
      id: id!,
      data: JSON.parse(data!) as unknown,
    }));
  }
}

let stream: Stream;
beforeEach(() => {
  vi.useFakeTimers();
  stream = new Stream(['a', 'b']);
});
afterEach(() => {
  stream.end();
  vi.useRealTimers();
});

function reader(lastId?: string): Response {
  const response = new Response();
  stream.add(response as unknown as ServerResponse, lastId);
  return response;
}

test('the first change is told at once, those behind it together', () => {
  const one = reader();
  stream.advance('a', { next: 5, calls: 2, findings: 0 });
  expect(one.events).toEqual([{ id: '5.0', data: { entries: 5, calls: 2 } }]);
  for (let next = 6; next <= 20; next++) stream.advance('a', { next, calls: 2, findings: 0 });
  stream.advance('b', { next: 3, calls: 0, findings: 1 });
  stream.evidenceChanged();
  expect(one.events).toHaveLength(1);
  vi.advanceTimersByTime(streamGatherMs);
  expect(one.events[1]).toEqual({ id: '20.3', data: { entries: 18, findings: 1, evidence: true } });
  // nothing new is nothing to tell
  stream.advance('b', { next: 3, calls: 0, findings: 1 });
  vi.advanceTimersByTime(10 * streamGatherMs);
  expect(one.events).toHaveLength(2);
});

test('whoever comes back is told what they missed, whoever comes is not', () => {
  stream.advance('a', { next: 20, calls: 2, findings: 0 });
  stream.advance('b', { next: 7, calls: 2, findings: 0 });
  expect(reader().events).toEqual([]);
  expect(reader('20.7').events).toEqual([]);
  expect(reader('18.7').events).toEqual([{ id: '20.7', data: { entries: 2, evidence: true } }]);
  // of other ledgers, of a longer record, or none at all: all of it may be new
  for (const odd of ['18', '18.7.1', '21.7', 'x', '', '-1.2'])
    expect(reader(odd).events).toEqual([{ id: '20.7', data: { entries: 27, evidence: true } }]);
});

test('whoever comes while something is gathered is told it once', () => {
  stream.advance('a', { next: 5, calls: 0, findings: 0 });
  stream.advance('a', { next: 9, calls: 0, findings: 0 });
  const one = reader('2.0');
  vi.advanceTimersByTime(2 * streamGatherMs);
  expect(one.events).toEqual([{ id: '9.0', data: { entries: 7, evidence: true } }]);
});

test('rows that were made again are all new', () => {
  const one = reader();
  stream.advance('a', { next: 20, calls: 9, findings: 2 });
  stream.advance('a', { next: 4, calls: 1, findings: 0 });
  vi.advanceTimersByTime(streamGatherMs);
  expect(one.events[1]).toEqual({ id: '4.0', data: { entries: 4, calls: 1, findings: 0 } });
});

test('one that does not read is let go, and holds up nobody', () => {
  const [slow, quick] = [reader(), reader()];
  slow.writableLength = streamWaitingBytes + 1;
  stream.advance('a', { next: 1, calls: 0, findings: 0 });
  expect(slow.isGone).toBe(true);
  expect(quick.events).toHaveLength(1);
  expect(stream.clients).toBe(1);
});

test('a word now and then, and the end ends all', () => {
  const one = reader();
  vi.advanceTimersByTime(streamHeartbeatMs);
  expect(one.text).toContain(': still here\n\n');
  stream.end();
  expect(one.isGone).toBe(true);
  expect(stream.clients).toBe(0);
});
