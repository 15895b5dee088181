import { appendFileSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connection, fill, open, place, Writer, type Place } from '../../test/reading/fixture.ts';
import { indexSince, readEntries, readEntriesBackwards, readEntryAt, sizeOf, type Located } from './entries.ts';
import { openFrame, readPayload, segmentsOf } from './payload.ts';
import { readSessions } from './sessions.ts';

let at: Place;
beforeEach(() => {
  at = place();
});
afterEach(() => at.remove());

async function all(entries: AsyncIterable<Located>): Promise<Located[]> {
  const list: Located[] = [];
  for await (const located of entries) list.push(located);
  return list;
}

/** `count` small messages, one a second. */
async function many(count: number): Promise<Writer> {
  const writer = new Writer(at, '2026-01-01T00:00:00Z');
  open(writer, connection, 'fs');
  for (let i = 1; i < count; i++) {
    writer.wait(999);
    writer.message('c2s', { type: 'notification', method: `m/${i}`, era: 'legacy' }, `{"jsonrpc":"2.0","method":"m/${i}"}`);
    if (i % 500 === 0) await writer.settled();
  }
  await writer.settled();
  return writer;
}

const indexes = (list: Located[]) => list.map(({ index }) => index);
const upTo = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

test('every way of reading gives the same entries', async () => {
  const writer = await many(700);
  const whole = await all(readEntries(at.ledger));
  expect(indexes(whole)).toEqual(upTo(0, 700));
  const withContent = await all(readEntries(at.ledger, { content: true }));
  expect(withContent.map(({ leaf }) => Buffer.from(leaf).toString())).toEqual(whole.map(({ leaf }) => Buffer.from(leaf).toString()));
  expect(Buffer.from(readPayload(at.ledger, withContent[600]!.content!.frame, 1000).bytes).toString()).toBe('{"jsonrpc":"2.0","method":"m/600"}');
  for (const [from, to] of [
    [0, 1],
    [255, 257],
    [300, 640],
    [512, 513],
    [690, 900],
    [800, 900],
  ] as const) {
    for (const content of [false, true])
      expect(indexes(await all(readEntries(at.ledger, { from, to, content })))).toEqual(upTo(from, Math.min(to, 700)));
  }
  expect(indexes(await all(readEntriesBackwards(at.ledger)))).toEqual(upTo(0, 700).reverse());
  expect(await sizeOf(at.ledger)).toBe(700);
  expect((await readEntryAt(at.ledger, 300))!.entry).toMatchObject({ method: 'm/300' });
  expect(await readEntryAt(at.ledger, 700)).toBeUndefined();
  await writer.close();

  // published and without segments: the bundles serve, partial ones too
  renameSync(join(at.ledger, 'payload'), join(at.folder, 'elsewhere'));
  expect(indexes(await all(readEntries(at.ledger, { content: true })))).toEqual(upTo(0, 700));
  expect((await readEntryAt(at.ledger, 300))!.content).toBeUndefined();
  // segments alone serve as well
  renameSync(join(at.folder, 'elsewhere'), join(at.ledger, 'payload'));
  rmSync(join(at.ledger, 'log'), { recursive: true });
  expect(indexes(await all(readEntries(at.ledger)))).toEqual(upTo(0, 700));
});

test('a ledger has as many entries as it has, whatever the number of its full bundles', async () => {
  const writer = new Writer(at, '2026-01-01T00:00:00Z');
  open(writer, connection, 'fs');
  for (let size = 2; size <= 1_800; size++) {
    writer.message('c2s', { type: 'notification', method: `m/${size}`, era: 'legacy' }, `{"jsonrpc":"2.0","method":"m/${size}"}`);
    // around each bundle's end, and in the middle of it
    if (size % 128 > 1) continue;
    await writer.settled();
    expect(await sizeOf(at.ledger), `${size}`).toBe(size);
    expect((await readEntryAt(at.ledger, size - 1))?.index, `${size}`).toBe(size - 1);
  }
  await writer.close();
});

test('the first entries do not wait for the rest', async () => {
  await (await many(600)).close();
  let seen = 0;
  for await (const located of readEntries(at.ledger)) {
    expect(located.index).toBe(seen);
    if (++seen === 3) break;
  }
  expect(seen).toBe(3);
});

test('a time is found by halving', async () => {
  await (await many(1500)).close();
  const whole = await all(readEntries(at.ledger));
  const timeOf = (index: number) => Date.parse((whole[index]!.entry as { time: string }).time);
  for (const index of [0, 200, 256, 700, 1100, 1499]) {
    const from = await indexSince(at.ledger, timeOf(index));
    expect(from).toBeLessThanOrEqual(index);
    expect(index - from).toBeLessThan(4 * 256);
  }
  expect(await indexSince(at.ledger, 0)).toBe(0);
});

test('an incomplete last record ends the reading until it is whole', async () => {
  const writer = await many(5);
  await writer.close();
  const path = join(at.ledger, 'payload', readdirSync(join(at.ledger, 'payload'))[0]!);
  const bytes = readFileSync(path);
  rmSync(join(at.ledger, 'log', 'tile'), { recursive: true, force: true });
  for (const cut of [1, 10, 100]) {
    truncateSync(path, bytes.length - cut);
    expect(indexes(await all(readEntries(at.ledger)))).toEqual([0, 1, 2, 3]);
  }
  // a follower goes on where it stopped
  const stop = new AbortController();
  const followed: number[] = [];
  const following = (async () => {
    for await (const { index } of readEntries(at.ledger, { content: true, follow: stop.signal })) if (followed.push(index) === 5) stop.abort();
  })();
  await expect.poll(() => followed.length).toBe(4);
  appendFileSync(path, bytes.subarray(bytes.length - 100));
  await following;
  expect(followed).toEqual([0, 1, 2, 3, 4]);
  // zeros, as some file systems leave them
  writeFileSync(path, Buffer.concat([bytes, Buffer.alloc(4096)]));
  expect(indexes(await all(readEntries(at.ledger)))).toEqual([0, 1, 2, 3, 4]);
});

test('a follower sees entries as they become durable', async () => {
  const writer = await many(3);
  const stop = new AbortController();
  const followed: number[] = [];
  const following = (async () => {
    for await (const { index } of readEntries(at.ledger, { follow: stop.signal })) followed.push(index);
  })();
  await expect.poll(() => followed.length).toBe(3);
  for (let i = 0; i < 300; i++) writer.message('c2s', { type: 'notification', method: 'x' }, '{}');
  await writer.settled();
  await expect.poll(() => followed.length).toBe(303);
  stop.abort();
  await following;
  expect(followed).toEqual(upTo(0, 303));
  await writer.close();
});

test('a damaged record costs its content, where the bundle has the entry', async () => {
  await (await many(300)).close();
  const path = join(at.ledger, 'payload', readdirSync(join(at.ledger, 'payload'))[0]!);
  const bytes = readFileSync(path);
  const place = bytes.indexOf('{"jsonrpc":"2.0","method":"m/100"}');
  bytes[place] = 0;
  writeFileSync(path, bytes);
  const list = await all(readEntries(at.ledger, { content: true }));
  expect(indexes(list)).toEqual(upTo(0, 300));
  expect(list[99]!.content).toBeDefined();
  expect(list[100]!.content).toBeUndefined();
  expect(list[100]!.entry).toMatchObject({ method: 'm/100' });
  expect(list[299]!.content).toBeDefined();
});

test('frames in parts, and what is missing of them', async () => {
  const writer = new Writer(at);
  const { long } = await fill(writer);
  await writer.close();
  const { content } = (await readEntryAt(at.ledger, long))!;
  const pieces = [...openFrame(at.ledger, content!.frame)];
  expect(pieces.map((piece) => 'bytes' in piece && piece.bytes.length)).toEqual([40_045, 40_006]);
  const wrong = content!.frame.map((item, i) => (i === 1 && item.state === 'part' ? { ...item, hash: new Uint8Array(32) } : item));
  expect(readPayload(at.ledger, wrong, 1e6)).toMatchObject({ lostBytes: 40_006, erasedBytes: 0, cutBytes: 0 });
  const dropped = content!.frame.map((item, i) => (i === 0 && item.state === 'part' ? { ...item, state: 'dropped' as const } : item));
  expect(readPayload(at.ledger, dropped, 9)).toMatchObject({
    lostBytes: 0,
    erasedBytes: 0,
    redactedBytes: 40_045,
    cutBytes: 39_997,
    gaps: [{ reason: 'redacted', offset: 0, sizeBytes: 40_045, at: 0 }],
  });
  expect(readPayload(at.ledger, dropped, 9, { dropped: 'not captured' })).toMatchObject({ redactedBytes: 0, uncapturedBytes: 40_045 });
  const erased = content!.frame.map((item, i) => (i === 1 && item.state === 'part' ? { ...item, state: 'erased' as const } : item));
  expect(readPayload(at.ledger, erased, 1e6)).toMatchObject({ erasedBytes: 40_006, gaps: [{ reason: 'erased', offset: 40_045, at: 40_045 }] });
  const range = readPayload(at.ledger, content!.frame, 1e6, { range: [40_042, 40_052] });
  expect(Buffer.from(range.bytes).toString()).toBe('needleyyyy');
});

test('sessions', async () => {
  const writer = new Writer(at);
  await fill(writer);
  await writer.close();
  const [first, second] = await readSessions(at.ledger);
  expect(first).toMatchObject({
    connection,
    server: 'fs',
    client: { name: 'agent', version: '2.1.0' },
    serverInfo: { name: 'secure-filesystem-server', version: '0.2.0' },
    protocolVersion: '2025-11-25',
    custody: 'same-user',
    who: [{ source: 'observed', uid: 1000, pid: 39, user: 'ada', executable: '/usr/bin/agent' }],
    closeReason: 'server exited',
    exitCode: 3,
    calls: 5,
    errors: 2,
    unanswered: 2,
    cancelled: 1,
    lost: 3,
  });
  expect(first!.tools.map(({ name, calls, errors, unanswered }) => [name, calls, errors, unanswered]).slice(0, 2)).toEqual([
    ['read_file', 1, 0, 0],
    ['write_file', 1, 1, 0],
  ]);
  expect(second).toMatchObject({ server: 'memory', custody: 'separate-user', messages: 1, unanswered: 1 });
});

test('no ledger, and one that is closed to us', async () => {
  await expect(all(readEntries(join(at.folder, 'none')))).rejects.toMatchObject({ code: 'no-ledger', exit: 3 });
  expect(existsSync(join(at.folder, 'none'))).toBe(false);
  expect(segmentsOf(join(at.folder, 'none'))).toEqual([]);
});

test('an unreadable entry does not end the reading', async () => {
  const writer = await many(3);
  writer.entry({ kind: 'message', connection });
  writer.entry({ kind: 'stop', reason: 'idle' });
  await writer.close();
  const list = await all(readEntries(at.ledger));
  expect(list.map(({ entry }) => entry.kind)).toEqual(['open', 'message', 'message', 'unreadable', 'stop']);
});
