import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { inboxBytes, inboxLatestMs } from '../limits.ts';
import { Inbox } from './inbox.ts';

class FakeSocket extends EventEmitter {
  paused = false;
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  isPaused(): boolean {
    return this.paused;
  }
}

function make(mayWait: () => boolean): { inbox: Inbox; worked: string[]; socket: FakeSocket } {
  const worked: string[] = [];
  const socket = new FakeSocket();
  const inbox = new Inbox(
    socket as unknown as Socket,
    (chunk) => void worked.push(`${chunk[0]}:${chunk.length}`),
    mayWait,
    () => true,
  );
  return { inbox, worked, socket };
}

const chunk = (name: number, sizeBytes: number): Buffer => Buffer.alloc(sizeBytes, name);

test('a tap that waits is served at once, and so is a lone message of one that does not', () => {
  const waiting = make(() => false);
  waiting.inbox.push(chunk(1, 60_000));
  expect(waiting.worked).toEqual(['1:60000']);
  const free = make(() => true);
  free.inbox.push(chunk(2, 300));
  expect(free.worked).toEqual(['2:300']);
});

test('a burst lies until it pauses, and keeps its order', async () => {
  const { inbox, worked } = make(() => true);
  for (let i = 1; i <= 5; i++) inbox.push(chunk(i, i === 3 ? 10 : 20_000));
  expect(worked).toEqual([]);
  for (let i = 0; i < 1_000 && worked.length < 5; i++) await sleep(5);
  expect(worked).toEqual(['1:20000', '2:20000', '3:10', '4:20000', '5:20000']);
  inbox.push(chunk(6, 10));
  expect(worked.at(-1)).toBe('6:10');
});

test('a burst that never pauses is worked on all the same', async () => {
  const { inbox, worked } = make(() => true);
  const until = performance.now() + inboxLatestMs * 3;
  while (performance.now() < until) {
    inbox.push(chunk(1, 10_000));
    await sleep(0.5);
  }
  expect(worked.length).toBeGreaterThan(0);
});

test('what lies is bounded: the socket is paused, and resumed when it is worked off', async () => {
  const { inbox, worked, socket } = make(() => true);
  let pushed = 0;
  while (!socket.paused && pushed < 1_000) inbox.push(chunk(++pushed % 256, 64 * 1024));
  expect(pushed * 64 * 1024).toBeLessThanOrEqual(inboxBytes + 64 * 1024);
  for (let i = 0; i < 200 && worked.length < pushed; i++) await sleep(5);
  expect(worked.length).toBe(pushed);
  expect(socket.paused).toBe(false);
});

test('nothing is forgotten when the socket closes, and what a tap begins to wait for is not left lying', async () => {
  const closing = make(() => true);
  closing.inbox.push(chunk(1, 20_000));
  closing.inbox.push(chunk(2, 20_000));
  closing.inbox.drain();
  expect(closing.worked).toEqual(['1:20000', '2:20000']);
  await sleep(10);
  expect(closing.worked.length).toBe(2);

  let mayWait = true;
  const raised = make(() => mayWait);
  raised.inbox.push(chunk(1, 20_000));
  mayWait = false;
  raised.inbox.push(chunk(2, 20));
  await new Promise((done) => setImmediate(() => setImmediate(() => setImmediate(done))));
  expect(raised.worked).toEqual(['1:20000', '2:20']);
});
