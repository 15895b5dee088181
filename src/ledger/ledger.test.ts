import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkLedger } from '../../test/check-ledger.ts';
import { FaultyFiles } from '../../test/faults/faulty-files.ts';
import {
  Client,
  encryptedScratch,
  kept,
  leafHash,
  leafOf,
  nameOf,
  reopenAndCheck,
  scratch,
  smallBounds,
  type Scratch,
} from '../../test/faults/world.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import { entryBytes } from '../limits.ts';
import { encodeBundle, tilePath, TileStack } from '../tlog/tile.ts';
import { threadedFiles } from './file-thread.ts';
import { nodeFiles, writeAll, writeAllSync, type Files } from './files.ts';
import { Ledger } from './ledger.ts';
import { scanSegment } from './segment.ts';

let at: Scratch;
beforeEach(() => void (at = scratch()));
afterEach(() => at.remove());

/** A ledger with these entries, closed. */
async function write(names: string[], bounds = {}): Promise<Client> {
  const client = new Client();
  client.open(at, nodeFiles, bounds);
  for (const name of names) client.append(name);
  await client.answered();
  await client.ledger!.close();
  client.check();
  return client;
}

const numbered = (count: number, prefix = 'n'): string[] => Array.from({ length: count }, (_, i) => `${prefix} ${i}`);
const tree = (): string[] =>
  readdirSync(join(at.folder, 'log'), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name).slice(at.folder.length + 5))
    .sort();

describe('a ledger', () => {
  it('is created with a signed checkpoint of nothing', async () => {
    const client = new Client();
    const ledger = client.open(at);
    expect(ledger).toMatchObject({ created: true, size: 0, nextIndex: 0, recordable: true, cutBytes: 0, unfinished: [] });
    expect(ledger.id).toMatch(/^[0-9a-f]{32}$/);
    expect(ledger.origin).toBe(`sworn.invalid/${ledger.id}`);
    expect(checkLedger(at.folder, at.keysHome)).toMatchObject({ id: ledger.id, leaves: [], headSize: 0, checkpointSize: 0 });
    expect(statSync(at.folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(at.folder, 'payload', '0000000000000000')).mode & 0o777).toBe(0o600);
    expect(statSync(join(ledger.keysFolder, 'key')).mode & 0o777).toBe(0o600);
    await ledger.close();
    await reopenAndCheck(at, [client]);
  });

  it('gives receipts in order and has everything after it is opened again', async () => {
    const names = numbered(20);
    const first = await write(names);
    expect([...first.acknowledged.keys()]).toEqual(names);
    for (const [i, name] of names.entries()) expect(first.acknowledged.get(name)).toEqual({ index: i, hash: leafHash(leafOf(name)) });
    const second = new Client();
    const ledger = second.open(at);
    expect(second.replayed).toEqual(names);
    expect(ledger).toMatchObject({ created: false, size: 20, nextIndex: 20 });
    second.append('more');
    await second.answered();
    expect(second.acknowledged.get('more')?.index).toBe(20);
    await ledger.close();
    const third = new Client();
    await third.open(at, nodeFiles, {}, 18).close();
    expect(Object.entries(third.replayed)).toEqual([
      ['18', 'n 18'],
      ['19', 'n 19'],
      ['20', 'more'],
    ]);
    await reopenAndCheck(at, [first, second]);
  });

  it('has the same tiles, bundles and checkpoint as a tree made at once, however often it was closed in between', async () => {
    const names: string[] = [];
    // over a full tile, exactly at one, and one entry at a time around it
    for (const count of [1, 2, 200, 52, 1, 1, 255, 0, 300, 3]) {
      const more = numbered(count, `run ${names.length}`);
      await write(more);
      names.push(...more);
      checkLedger(at.folder, at.keysHome);
    }
    const stack = TileStack.empty(nodeCrypto);
    const expected = new Map<string, Uint8Array>();
    const leaves = names.map(leafOf);
    for (const leaf of leaves) for (const tile of stack.append(leafHash(leaf))) expected.set(tilePath(tile.level, tile.n), tile.bytes);
    for (const tile of stack.partials()) expected.set(tilePath(tile.level, tile.n, tile.width), tile.bytes);
    for (let n = 0; n * 256 < leaves.length; n++) {
      const entries = leaves.slice(n * 256, n * 256 + 256);
      expected.set(tilePath('entries', n, entries.length), encodeBundle(entries));
    }
    for (const [path, bytes] of expected) expect(Buffer.from(bytes).equals(readFileSync(join(at.folder, 'log', path))), path).toBe(true);
    const checkpoint = readFileSync(join(at.folder, 'log', 'checkpoint'), 'utf8').split('\n');
    expect(checkpoint[1]).toBe(String(names.length));
    expect(checkpoint[2]).toBe(Buffer.from(stack.root()).toString('base64'));
    // partial versions of full tiles are gone
    expect(tree().filter((path) => /\/00[0-2]\.p\//.test(path) && !path.startsWith('tile/1'))).toEqual([]);
  });

  it('begins a new segment when one is full, and finds its way from any of them', async () => {
    const client = new Client();
    client.open(at, nodeFiles, { segmentBytes: 4_096 });
    for (const [i, name] of numbered(60).entries()) client.append(name, { frame: [kept(Buffer.alloc((i * 97) % 1_500, i))], urgent: i % 3 === 0 });
    await client.answered();
    // larger than a segment: it gets one of its own
    client.append('large', { frame: [kept(Buffer.alloc(20_000, 1))] });
    client.append('after');
    await client.answered();
    await client.ledger!.close();
    const { files } = checkLedger(at.folder, at.keysHome);
    expect(files.length).toBeGreaterThan(10);
    for (const file of files) {
      const path = join(at.folder, 'payload', String(file).padStart(16, '0'));
      expect(statSync(path).size <= 4_096 || [...scanSegment(path)].length === 1, `segment ${file}`).toBe(true);
    }
    await reopenAndCheck(at, [client]);
  });

  it('publishes and signs while it is written', async () => {
    const client = new Client();
    const ledger = client.open(at);
    const rounds: Promise<void>[] = [];
    for (const name of numbered(600)) {
      client.append(name, { urgent: name.endsWith('7') });
      if (name.endsWith('3')) rounds.push(ledger.publish());
      if (name.endsWith('9')) {
        rounds.push(ledger.sign());
        await new Promise(setImmediate);
      }
    }
    await Promise.all([client.answered(), ...rounds]);
    expect(ledger.publishedSize).toBeLessThanOrEqual(ledger.signedSize);
    await ledger.sign();
    await ledger.publish();
    expect(ledger).toMatchObject({ size: 600, signedSize: 600, publishedSize: 600 });
    checkLedger(at.folder, at.keysHome);
    await ledger.close();
    await reopenAndCheck(at, [client]);
  });

  it.each([1, 4, 5, 6, 7, 8, 9])('publishes all of %i full tiles when it is closed, however they are written, also behind a death', async (tiles) => {
    // two files for each tile: few are written in turns, many in a thread
    const client = new Client();
    const files = threadedFiles();
    const ledger = client.open(at, files, { publishEveryMs: 1e9, signEveryMs: 1e9 });
    for (const name of numbered(tiles * 256 + 3)) client.append(name);
    await client.answered();
    const copy = scratch();
    cpSync(at.root, copy.root, { recursive: true });
    await ledger.close();
    expect(checkLedger(at.folder, at.keysHome).checkpointSize).toBe(tiles * 256 + 3);
    at.remove();
    at = copy;
    await new Client().open(at, threadedFiles(), { publishEveryMs: 1e9 }).close();
    expect(checkLedger(at.folder, at.keysHome).checkpointSize).toBe(tiles * 256 + 3);
  });

  it('says when the disk takes no checkpoint, and when it takes one again', async () => {
    const told: (string | undefined)[] = [];
    const events = {
      flushed: () => undefined,
      recordable: () => undefined,
      publishing: (problem: Error | undefined) => void told.push(problem?.message),
      fatal: (error: Error) => {
        throw error;
      },
    };
    const ledger = Ledger.open(at.folder, at.keysHome, { from: 0, entry: () => undefined }, events, nodeFiles, {
      publishEveryMs: 1e9,
      signEveryMs: 1e9,
    });
    await new Promise<void>((durable) =>
      ledger.append({ leaf: leafOf('a'), attributes: [], frame: [] }, { durable: () => durable() }, { urgent: true }),
    );
    // a file where folders are to be
    writeFileSync(join(at.folder, 'log', 'tile'), '');
    await ledger.publish();
    expect(told).toEqual([expect.stringMatching(/EEXIST|ENOTDIR/)]);
    expect([ledger.size, ledger.publishedSize]).toEqual([1, 0]);
    rmSync(join(at.folder, 'log', 'tile'));
    await ledger.close();
    expect(told.slice(1)).toEqual([undefined]);
    expect(checkLedger(at.folder, at.keysHome).checkpointSize).toBe(1);
  });

  it('refuses what no reader would accept, and is none the worse for it', async () => {
    const client = new Client();
    const ledger = client.open(at);
    const waiter = { durable: () => expect.fail('it was accepted') };
    expect(() => ledger.append({ leaf: Buffer.alloc(entryBytes + 1), attributes: [], frame: [] }, waiter)).toThrow(RangeError);
    const half = kept(Buffer.alloc(33 * 1024 * 1024));
    expect(() => ledger.append({ leaf: leafOf('huge'), attributes: [], frame: [half, half] }, waiter)).toThrow(RangeError);
    expect(ledger.nextIndex).toBe(0);
    client.append('after');
    await client.answered();
    await ledger.close();
    await reopenAndCheck(at, [client]);
  });

  it('closes once, flushes what was appended before, and refuses what comes later', async () => {
    const client = new Client();
    const ledger = client.open(at);
    client.append('before', { urgent: false });
    const closed = [ledger.close(), ledger.close()];
    client.append('meanwhile', { urgent: false });
    await Promise.all(closed);
    client.append('later');
    client.append('later still');
    await client.answered();
    expect([...client.acknowledged.keys()]).toEqual(['before', 'meanwhile']);
    expect(client.failed).toEqual(['later', 'later still']);
    await ledger.close();
    const { leaves } = await reopenAndCheck(at, [client]);
    expect(leaves.map(nameOf)).toEqual(['before', 'meanwhile', 'afterwards 2']);
  });

  it('works under a path of 200 characters and more', async () => {
    at.folder = join(at.root, 'x'.repeat(120), 'y'.repeat(120), 'z'.repeat(200));
    const client = await write(numbered(3));
    await reopenAndCheck(at, [client]);
  });
});

describe('parts', () => {
  it('are where the ledger says, in order with the entries', async () => {
    const client = new Client();
    const ledger = client.open(at, nodeFiles, { segmentBytes: 4_096 });
    client.append('first');
    const items = [1, 2, 3, 4].map((unit) => client.appendPart(unit, Buffer.alloc(1_500, unit)));
    client.append('in between');
    client.append('frame', { frame: items });
    await client.answered();
    for (const [i, item] of items.entries()) {
      if (item.state !== 'part') throw new Error('not a part');
      const [scanned] = scanSegment(join(at.folder, 'payload', String(item.file).padStart(16, '0')), item.offset);
      expect(scanned).toMatchObject({ kind: 'record', record: { type: 'part', unit: i + 1, direction: 0 } });
    }
    expect(new Set(items.map((item) => (item.state === 'part' ? item.file : -1))).size).toBeGreaterThan(1);
    await ledger.close();
    expect((await reopenAndCheck(at, [client])).parts).toBe(4);
  });

  it('of a frame that was not finished are found by the next start, and those of a finished one are not', async () => {
    const client = new Client();
    const ledger = client.open(at);
    const done = client.appendPart(1, Buffer.alloc(100, 1));
    client.appendPart(5, Buffer.alloc(100, 5));
    client.append('finished', { frame: [done] });
    client.appendPart(6, Buffer.alloc(100, 6));
    await client.answered();
    await ledger.close();
    const next = new Client();
    const { unfinished } = next.open(at);
    expect(unfinished.map(({ part }) => [part.unit, part.bytes.equals(Buffer.alloc(100, part.unit))])).toEqual([
      [5, true],
      [6, true],
    ]);
    await next.ledger!.close();
    await reopenAndCheck(at, [client]);
  });

  it('alone never close a segment without an entry', async () => {
    const client = new Client();
    client.open(at, nodeFiles, { segmentBytes: 1_000 });
    for (let unit = 1; unit <= 5; unit++) client.appendPart(unit, Buffer.alloc(600, unit));
    await client.answered();
    client.append('one');
    client.append('two');
    await client.answered();
    await client.ledger!.close();
    expect(checkLedger(at.folder, at.keysHome).files).toEqual([0, 1]);
    await reopenAndCheck(at, [client]);
  });
});

describe('group commits', () => {
  /** Files that note each call, and of each sync when it returned. */
  function noting(notes: string[]): Files {
    const segments = new Set<number>();
    return {
      ...nodeFiles,
      open: (path, flags, mode) => {
        const fd = nodeFiles.open(path, flags, mode);
        if (path.includes('/payload/')) segments.add(fd);
        else segments.delete(fd);
        return fd;
      },
      create: async (path, mode) => {
        const fd = await nodeFiles.create(path, mode);
        segments.delete(fd);
        return fd;
      },
      writev: async (fd, buffers, position) => {
        notes.push('write');
        return nodeFiles.writev(fd, buffers, position);
      },
      writevSync: (fd, buffers, position) => {
        // tiles are written in the same way
        if (segments.has(fd)) notes.push('write');
        return nodeFiles.writevSync(fd, buffers, position);
      },
      datasync: async (fd) => {
        notes.push('sync');
        await nodeFiles.datasync(fd);
        notes.push('synced');
      },
      datasyncSync: (fd) => {
        notes.push('sync');
        nodeFiles.datasyncSync(fd);
        notes.push('synced');
      },
    };
  }

  it.each([
    ['asynchronous', 0],
    ['on the spot', Infinity],
  ])('answer after one write and one sync for each batch, %s', async (_name, fastSyncMs) => {
    const client = new Client();
    const notes: string[] = [];
    const ledger = client.open(at, noting(notes), { fastSyncMs, segmentBytes: 1_000_000 });
    notes.length = 0;
    const durable: string[] = [];
    const append = (name: string, urgent: boolean): void =>
      ledger.append(
        { leaf: leafOf(name), attributes: [], frame: [] },
        { durable: () => void (notes.push(`durable ${name}`), durable.push(name)) },
        { urgent },
      );
    const names = numbered(500);
    for (const [i, name] of names.entries()) {
      append(name, i % 2 === 0);
      if (i % 17 === 0) await new Promise(setImmediate);
    }
    append('last', true);
    while (durable.length < 501) await new Promise(setImmediate);
    expect(durable).toEqual([...names, 'last']);
    // every answer stands behind the sync that came after its write, and no batch had a second one
    const shape = notes.map((note) => (note.startsWith('durable') ? 'd' : note === 'write' ? 'w' : note === 'sync' ? 's' : 'S')).join('');
    expect(shape).toMatch(/^(wsSd+)+$/);
    expect(notes.filter((note) => note === 'sync').length).toBeLessThan(100);
    await ledger.close();
    checkLedger(at.folder, at.keysHome);
  });

  it('take along what is appended while a sync is under way, and flush at once when it returned', async () => {
    const client = new Client();
    const waiting: (() => void)[] = [];
    const files: Files = { ...nodeFiles, datasync: (fd) => new Promise<void>((done) => void waiting.push(done)).then(() => nodeFiles.datasync(fd)) };
    const ledger = client.open(at, files);
    client.append('one');
    while (waiting.length === 0) await new Promise(setImmediate);
    for (const name of numbered(50)) client.append(name);
    expect(ledger.pendingBytes).toBeGreaterThan(50 * 50);
    expect(client.acknowledged.size).toBe(0);
    waiting.shift()!();
    while (waiting.length === 0) await new Promise(setImmediate);
    expect([...client.acknowledged.keys()]).toEqual(['one']);
    expect(ledger.size).toBe(1);
    waiting.shift()!();
    await client.answered();
    expect(client.acknowledged.size).toBe(51);
    expect(waiting).toEqual([]);
    expect(ledger).toMatchObject({ size: 51, pendingBytes: 0, congested: false });
    await ledger.close();
    await reopenAndCheck(at, [client]);
  });

  it('flush what nobody waits for, too', async () => {
    const client = new Client();
    const ledger = client.open(at);
    client.append('lazy', { urgent: false });
    await client.answered();
    expect(ledger.size).toBe(1);
    await ledger.close();
  });

  it('go on after a short write', async () => {
    const client = new Client();
    const cut = (buffers: Buffer[]): Buffer[] => [Buffer.concat(buffers).subarray(0, 7)];
    const files: Files = {
      ...nodeFiles,
      writev: (fd, buffers, position) => nodeFiles.writev(fd, cut(buffers), position),
      writevSync: (fd, buffers, position) => nodeFiles.writevSync(fd, cut(buffers), position),
    };
    client.open(at, files, { fastSyncMs: 0 });
    for (const name of numbered(10)) client.append(name);
    await client.answered();
    await client.ledger!.close();
    await reopenAndCheck(at, [client]);
  });

  it('take a write of nothing for a full disk', async () => {
    const nothing: Files = { ...nodeFiles, writev: async () => 0, writevSync: () => 0 };
    expect(() => writeAllSync(nothing, 0, [Buffer.alloc(1)], 0)).toThrow(/ENOSPC/);
    await expect(writeAll(nothing, 0, [Buffer.alloc(1)], 0)).rejects.toThrow(/ENOSPC/);
  });
});

describe('a disk that refuses', () => {
  /** A disk that can be full, with a reserve that frees `reserveBytes` of it. */
  class Full implements Files {
    full = false;
    tries = 0;
    readonly open = nodeFiles.open;
    readonly create = nodeFiles.create;
    readonly close = nodeFiles.close;
    readonly datasync = nodeFiles.datasync;
    readonly datasyncSync = nodeFiles.datasyncSync;
    readonly sync = nodeFiles.sync;
    readonly syncSync = nodeFiles.syncSync;
    readonly truncate = nodeFiles.truncate;
    readonly rename = nodeFiles.rename;
    readonly mkdir = nodeFiles.mkdir;
    freeBytes = 0;

    #take(buffers: Buffer[]): void {
      const sizeBytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
      if (!this.full) return;
      if (sizeBytes > smallBounds.reserveBytes) this.tries++;
      if (sizeBytes > this.freeBytes) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC', syscall: 'write' });
      this.freeBytes -= sizeBytes;
    }

    async writev(fd: number, buffers: Buffer[], position: number): Promise<number> {
      this.#take(buffers);
      return nodeFiles.writev(fd, buffers, position);
    }

    writevSync(fd: number, buffers: Buffer[], position: number): number {
      this.#take(buffers);
      return nodeFiles.writevSync(fd, buffers, position);
    }

    unlink(path: string): void {
      if (path.endsWith('reserve') && existsSync(path)) this.freeBytes += statSync(path).size;
      nodeFiles.unlink(path);
    }
  }

  it('makes the ledger unrecordable until there is room beside the reserve; gap, close and stop go into the reserve', async () => {
    const client = new Client();
    const files = new Full();
    writeFileSync(join(at.root, 'room'), '');
    const ledger = client.open(at, files);
    client.append('before');
    await client.answered();
    // as the timer at the start would do
    rmSync(join(at.folder, 'run'), { recursive: true, force: true });
    nodeFiles.mkdir(join(at.folder, 'run'), 0o700);
    writeFileSync(join(at.folder, 'run', 'reserve'), Buffer.alloc(smallBounds.reserveBytes));

    files.full = true;
    for (const name of ['lost 1', 'lost 2', 'lost 3']) client.append(name);
    await client.answered();
    expect(client.failed).toEqual(['lost 1', 'lost 2', 'lost 3']);
    expect(client.recordable).toEqual([false]);
    expect(ledger).toMatchObject({ recordable: false, nextIndex: 1, size: 1, pendingBytes: 0 });
    expect(existsSync(join(at.folder, 'run', 'reserve'))).toBe(false);

    client.append('lost 4');
    client.append('lost 5');
    await client.answered();
    client.append('gap', { essential: true });
    await client.answered();
    expect(client.failed).toHaveLength(5);
    expect(client.acknowledged.get('gap')?.index).toBe(1);

    // the room that the reserve set free is not room
    const tries = files.tries;
    while (files.tries < tries + 3) await new Promise((done) => setTimeout(done, 1));
    expect(client.recordable).toEqual([false]);

    files.full = false;
    await client.recovered();
    expect(client.recordable).toEqual([false, true]);
    expect(statSync(join(at.folder, 'run', 'reserve')).size).toBe(smallBounds.reserveBytes);
    client.append('after');
    await client.answered();
    expect(client.acknowledged.get('after')?.index).toBe(2);
    await ledger.close();
    const { leaves } = await reopenAndCheck(at, [client]);
    expect(leaves.map(nameOf)).toEqual(['before', 'gap', 'after', 'afterwards 3']);
  });

  it('gives back what was accepted after the failed batch, and takes what the waiters append in turn', async () => {
    const client = new Client();
    const files = new FaultyFiles([{ operation: 'writev', call: 2, stored: 'half', then: 'goes on', code: 'ENOSPC' }]);
    const ledger = client.open(at, files, { fastSyncMs: 0 });
    client.append('good');
    await client.answered();
    const told: string[] = [];
    const index = ledger.nextIndex;
    ledger.append(
      { leaf: leafOf('bad'), attributes: [], frame: [] },
      {
        durable: () => told.push('durable'),
        undo: () => told.push('undo bad'),
        failed: () => {
          told.push('bad');
          expect(ledger.nextIndex).toBe(index);
          client.append('gap', { essential: true, urgent: false });
        },
      },
      { urgent: true },
    );
    while (told.length === 0) await new Promise(setImmediate);
    await client.answered();
    expect(told).toEqual(['undo bad', 'bad']);
    expect(client.acknowledged.get('gap')?.index).toBe(1);
    await files.die(ledger);
    await reopenAndCheck(at, [client]);
  });

  it('does not throw where even the reserve cannot be taken away', async () => {
    const client = new Client();
    let readOnly = false;
    const refuse = (): void => {
      if (readOnly) throw Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS', syscall: 'open' });
    };
    const files = Object.fromEntries(
      Object.entries(nodeFiles).map(([name, call]) => [
        name,
        (...given: unknown[]): unknown => {
          if (name !== 'close') refuse();
          return (call as (...all: unknown[]) => unknown)(...given);
        },
      ]),
    ) as unknown as Files;
    const ledger = client.open(at, files);
    client.append('before');
    await client.answered();
    readOnly = true;
    client.append('lost');
    await client.answered();
    await ledger.sign();
    await ledger.publish();
    expect(client.failed).toEqual(['lost']);
    expect(client.fatal).toBeUndefined();
    readOnly = false;
    await client.recovered();
    client.append('after');
    await client.answered();
    await ledger.close();
    await reopenAndCheck(at, [client]);
  });

  it('ends the process when a sync fails: nothing is answered, signed or published any more', async () => {
    const client = new Client();
    const files = new FaultyFiles([{ operation: 'datasync', call: 2, stored: 'all', then: 'goes on', code: 'EIO' }]);
    const ledger = client.open(at, files, { fastSyncMs: 0 });
    client.append('good');
    await client.answered();
    await ledger.sign();
    client.append('unknown');
    await client.answered();
    expect(client.fatal?.name).toBe('SyncError');
    expect(ledger.recordable).toBe(false);
    client.append('refused');
    const calls = files.log.length;
    await ledger.sign();
    await ledger.publish();
    await ledger.close();
    expect(files.log.length).toBe(calls);
    expect([...client.acknowledged.keys()]).toEqual(['good']);
    expect(client.failed).toEqual([]);
    await files.die(ledger);
    await reopenAndCheck(at, [client]);
  });
});

describe('opening', () => {
  const codeOf = (open: () => Ledger): string | undefined => {
    try {
      open();
    } catch (error) {
      return error instanceof SwornError ? error.code : String(error);
    }
    return undefined;
  };
  const keysOf = (): string => join(at.keysHome, readdirSync(at.keysHome)[0]!);
  const open = (): Ledger => new Client().open(at);

  it('refuses without its key or head', async () => {
    const client = await write(numbered(3));
    for (const name of ['key', 'head']) {
      const path = join(keysOf(), name);
      const bytes = readFileSync(path);
      rmSync(path);
      expect(codeOf(open)).toBe('ledger-key-missing');
      writeFileSync(path, 'something else\n', { mode: 0o600 });
      expect(codeOf(open)).toBe('ledger-key-missing');
      writeFileSync(path, bytes);
    }
    const key = readFileSync(join(keysOf(), 'key'), 'utf8');
    writeFileSync(join(keysOf(), 'key'), key.replace(/\+([0-9a-f]{8})\+/, '+00000000+'));
    expect(codeOf(open)).toBe('ledger-key-missing');
    writeFileSync(join(keysOf(), 'key'), key);
    await reopenAndCheck(at, [client]);
  });

  it('refuses a ledger that is older than its head', async () => {
    await write(numbered(5));
    const segment = join(at.folder, 'payload', '0000000000000000');
    const older = readFileSync(segment);
    const checkpoint = readFileSync(join(at.folder, 'log', 'checkpoint'));
    const second = await write(numbered(5, 'second'));
    const newer = readFileSync(segment);
    const newerCheckpoint = readFileSync(join(at.folder, 'log', 'checkpoint'));
    writeFileSync(segment, older);
    expect(codeOf(open)).toBe('ledger-rollback');
    writeFileSync(join(at.folder, 'log', 'checkpoint'), checkpoint);
    expect(codeOf(open)).toBe('ledger-rollback');
    // cut within a record: it is refused, and not cut any further
    writeFileSync(segment, newer.subarray(0, newer.length - 3));
    expect(codeOf(open)).toBe('ledger-rollback');
    expect(statSync(segment).size).toBe(newer.length - 3);
    writeFileSync(segment, newer);
    writeFileSync(join(at.folder, 'log', 'checkpoint'), newerCheckpoint);
    await reopenAndCheck(at, [second]);
  });

  it('refuses a ledger of which only the tree, or only the head, tells', async () => {
    await write(numbered(5));
    rmSync(join(at.folder, 'payload'), { recursive: true });
    expect(codeOf(open)).toBe('ledger-rollback');
    at.remove();

    at = scratch();
    const client = new Client();
    const files = new FaultyFiles([], () => client.die());
    client.open(at, files);
    client.append('signed');
    await client.answered();
    await client.ledger!.sign();
    await files.die(client.ledger);
    for (const empty of [true, false]) {
      if (empty) writeFileSync(join(at.folder, 'payload', '0000000000000000'), '');
      else rmSync(join(at.folder, 'payload'), { recursive: true });
      expect(codeOf(open), empty ? 'emptied' : 'removed').toBe('ledger-rollback');
    }
  });

  it('refuses other entries under a signed root, even where their checksums are right', async () => {
    await write(numbered(5));
    const segment = join(at.folder, 'payload', '0000000000000000');
    const other = scratch();
    try {
      const client = new Client();
      const ledger = client.open(other);
      for (const name of ['n 0', 'n 1', 'other', 'n 3', 'n 4']) client.append(name);
      await client.answered();
      await ledger.close();
      const forged = readFileSync(join(other.folder, 'payload', '0000000000000000'));
      const good = readFileSync(segment);
      writeFileSync(segment, Buffer.concat([good.subarray(0, 40), forged.subarray(40)]));
      expect(codeOf(open)).toBe('ledger-rollback');
      rmSync(join(at.folder, 'log', 'tile'), { recursive: true });
      expect(codeOf(open)).toBe('ledger-rollback');
      writeFileSync(segment, forged);
      expect(codeOf(open)).toBe('ledger-key-missing');
    } finally {
      other.remove();
    }
  });

  it('refuses a ledger with a segment missing', async () => {
    const client = new Client();
    client.open(at, nodeFiles, { segmentBytes: 1_000 });
    for (const name of numbered(30)) client.append(name);
    await client.answered();
    await client.ledger!.close();
    const { files } = checkLedger(at.folder, at.keysHome);
    for (const [i, file] of files.entries()) {
      const path = join(at.folder, 'payload', String(file).padStart(16, '0'));
      const bytes = readFileSync(path);
      rmSync(path);
      expect(codeOf(open), `segment ${i}`).toBe(i === files.length - 1 ? 'ledger-rollback' : 'ledger-corrupt');
      writeFileSync(path, bytes);
    }
    await reopenAndCheck(at, [client]);
  });

  it('refuses a damaged header and a file that is something else', async () => {
    await write(numbered(2));
    const path = join(at.folder, 'payload', '0000000000000000');
    const bytes = readFileSync(path);
    bytes[20]! ^= 1;
    writeFileSync(path, bytes);
    expect(codeOf(open)).toBe('ledger-foreign');
  });

  it('derives the tree again when it is gone, and puts nothing in doubt', async () => {
    const client = await write(numbered(300));
    const before = tree();
    rmSync(join(at.folder, 'log'), { recursive: true });
    const again = new Client();
    await again.open(at).close();
    expect(tree()).toEqual(before);
    await reopenAndCheck(at, [client]);
  });

  it('says plainly when the folder cannot be made', () => {
    writeFileSync(join(at.root, 'file'), '');
    at.folder = join(at.root, 'file', 'ledger');
    expect(codeOf(open)).toBe('ledger-create');
  });

  it('goes on in another segment when the key of the open one is taken away, and starts again without it', async () => {
    at.remove();
    at = encryptedScratch();
    const client = new Client();
    const ledger = client.open(at);
    const segments = (): string[] => readdirSync(join(at.folder, 'payload')).sort();
    for (const name of numbered(3)) client.append(name);
    await client.answered();
    const path = join(ledger.keysFolder, 'segment-keys');
    const before = readFileSync(path);
    await ledger.sign();
    // what is only put in its place again is no loss
    writeFileSync(path, before);
    client.append('n 3');
    await client.answered();
    await ledger.sign();
    client.append('n 4');
    await client.answered();
    expect(segments()).toHaveLength(1);
    rmSync(path);
    client.append('n 5');
    await client.answered();
    await ledger.sign();
    expect(client.keysLost).toEqual([path]);
    for (const name of numbered(3, 'm')) client.append(name);
    await client.answered();
    await ledger.sign();
    expect(segments()).toEqual(['0000000000000000', '0000000000000006']);
    expect(readFileSync(path, 'utf8')).toMatch(/^FILE .*\nSEGMENT 0000000000000006 .*\n$/);
    await ledger.close();
    // nobody can say what stood in the first one
    expect(codeOf(() => new Client().open(at))).toBe('encryption-key');
    const next = new Client();
    await next.open(at, nodeFiles, {}, 6).close();
    expect(Object.entries(next.replayed).map(([, name]) => name)).toEqual(['m 0', 'm 1', 'm 2']);
    expect(next.ledger!.size).toBe(9);
    expect(client.keysLost).toHaveLength(1);
    client.check();
  });
});
