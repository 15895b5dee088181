import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { utf8 } from '../bytes/bytes.ts';
import { encodeBundle } from '../tlog/tile.ts';
import { FileThread } from './file-thread.ts';
import { SyncError } from './files.ts';
import { OpenBundle } from './open-bundle.ts';
import { Pieces, Slabs } from './slabs.ts';

const folder = mkdtempSync(join(tmpdir(), 'sworn-file-thread-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('files are made in folders that are made for them, and synced', async () => {
  const thread = new FileThread();
  const [a, b] = [join(folder, 'x', 'y', 'a'), join(folder, 'b')];
  expect(
    await thread.make(
      [
        { path: a, bytes: utf8('one') },
        { path: b, bytes: new Uint8Array(0) },
      ],
      false,
    ),
  ).toEqual([true, true]);
  await thread.sync([a, b, join(folder, 'x', 'y'), folder]);
  expect([readFileSync(a, 'utf8'), readFileSync(b, 'utf8')]).toEqual(['one', '']);
  expect(await thread.make([{ path: a, bytes: utf8('two') }], true)).toEqual([true]);
  expect(readFileSync(a, 'utf8')).toBe('two');
  expect(readdirSync(join(folder, 'x', 'y'))).toEqual(['a']);
  await thread.end();
});

test('of each file it is said whether it was made; a sync that fails is an error of its own kind', async () => {
  const thread = new FileThread();
  writeFileSync(join(folder, 'file'), '');
  expect(
    await thread.make(
      [
        { path: join(folder, 'file', 'below'), bytes: utf8('no') },
        { path: join(folder, 'good'), bytes: utf8('yes') },
      ],
      false,
    ),
  ).toEqual([false, true]);
  const nowhere = await thread.sync([join(folder, 'nowhere')]).catch((error: unknown) => error);
  expect(nowhere).toBeInstanceOf(Error);
  expect(nowhere).not.toBeInstanceOf(SyncError);
  await thread.end();
});

test('what the thread had not done when it ended is done all the same', async () => {
  const thread = new FileThread();
  mkdirSync(join(folder, 'many'));
  const files = Array.from({ length: 200 }, (_, i) => ({ path: join(folder, 'many', String(i)), bytes: utf8(`file ${i}`) }));
  const made = thread.make(files, true);
  const synced = thread.sync([join(folder, 'many')]);
  await thread.end();
  expect((await made).every(Boolean)).toBe(true);
  await synced;
  expect(readdirSync(join(folder, 'many')).length).toBe(200);
  // and a new one takes what comes next
  expect(await thread.make([{ path: join(folder, 'later'), bytes: utf8('x') }], false)).toEqual([true]);
  await thread.end();
});

test('a failed sync is told as one', async () => {
  const thread = new FileThread();
  const failed = await thread.sync([join('/proc', 'version')]).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failed).toBeInstanceOf(SyncError);
  await thread.end();
});

test('a bundle grows into what encodeBundle makes, and its memory is used again', () => {
  const bundle = new OpenBundle();
  for (const sizes of [Array.from({ length: 256 }, (_, i) => i * 11), Array.from({ length: 256 }, (_, i) => (i % 3 === 0 ? 65_535 : 0)), [1, 2, 3]]) {
    const entries = sizes.map((size, i) => new Uint8Array(size).fill(i));
    for (const entry of entries) bundle.push(entry);
    expect(bundle.count).toBe(entries.length);
    expect(Buffer.compare(bundle.copy(), encodeBundle(entries))).toBe(0);
    if (entries.length === 256) expect(() => bundle.push(new Uint8Array(1))).toThrow(RangeError);
    const taken = bundle.take();
    expect(Buffer.compare(taken, encodeBundle(entries))).toBe(0);
    bundle.reuse(taken);
  }
  expect(() => bundle.push(new Uint8Array(65_536))).toThrow(RangeError);
});

test('records in a slab stay as they are until they are released, and neighbours are written as one', () => {
  const slabs = new Slabs();
  const live: { bytes: Buffer; slab: ReturnType<Slabs['keep']>; fill: number }[] = [];
  for (let i = 0; i < 2_000; i++) {
    const bytes = slabs.allocate(1 + ((i * 997) % 90_000)).fill(i & 255);
    live.push({ bytes, slab: slabs.keep(), fill: i & 255 });
    // in any order, never more than some
    if (live.length > 20) {
      const [done] = live.splice((i * 7) % live.length, 1);
      expect(done!.bytes.equals(Buffer.alloc(done!.bytes.length, done!.fill))).toBe(true);
      slabs.release(done!.slab);
    }
  }
  const fresh = new Slabs();
  const [a, b] = [fresh.allocate(3).fill(1), fresh.allocate(4).fill(2)];
  const apart = Buffer.from([9]);
  const pieces = (...records: Buffer[][]): number[][] => {
    const joined = new Pieces();
    for (const record of records) joined.add(record);
    return joined.all().map((piece) => [...piece]);
  };
  expect(pieces([a], [b])).toEqual([[1, 1, 1, 2, 2, 2, 2]]);
  expect(pieces([a, apart], [b], [apart])).toEqual([[1, 1, 1], [9], [2, 2, 2, 2], [9]]);
  expect(pieces()).toEqual([]);
});

test('a process with nothing else to do waits for what it has asked', () => {
  const module = join(import.meta.dirname, 'file-thread.ts');
  const script = `import { FileThread } from ${JSON.stringify(module)}; const thread = new FileThread(); console.log(await thread.make([{ path: process.argv[1], bytes: new Uint8Array(3) }], true));`;
  const told = spawnSync(process.execPath, ['--input-type=module', '-e', script, join(folder, 'alone')], { encoding: 'utf8' });
  expect({ status: told.status, stdout: told.stdout.trim() }).toEqual({ status: 0, stdout: '[ true ]' });
});
