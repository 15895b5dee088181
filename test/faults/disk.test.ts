/** Disks that are really full or really read-only: a small tmpfs, where this may be mounted. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SwornError } from '../../src/errors.ts';
import { nodeFiles, type Files } from '../../src/ledger/files.ts';
import { Client, kept, reopenAndCheck, scratch, type Scratch } from './world.ts';

const mount = (...given: string[]): boolean => spawnSync('mount', given, { stdio: 'ignore' }).status === 0;

const canMount = ((): boolean => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const at = scratch();
  try {
    const mounted = mount('-t', 'tmpfs', '-o', 'size=1m', 'sworn-test', at.root);
    if (mounted) spawnSync('umount', [at.root]);
    return mounted;
  } finally {
    at.remove();
  }
})();
if (!canMount) console.warn('a small tmpfs cannot be mounted here: the tests of a full and of a read-only disk are skipped');

describe.skipIf(!canMount)('a disk', () => {
  let at: Scratch;
  let disk: string;
  beforeEach(() => {
    at = scratch();
    disk = join(at.root, 'disk');
    mkdirSync(disk);
    if (!mount('-t', 'tmpfs', '-o', 'size=4m,mode=0755', 'sworn-test', disk)) throw new Error('the tmpfs cannot be mounted');
    at.folder = join(disk, 'ledger');
  });
  afterEach(() => {
    // a test that failed may still hold a file there
    spawnSync('umount', ['--lazy', disk]);
    at.remove();
  });

  it('that is full makes the ledger unrecordable, and room makes it go on', async () => {
    const client = new Client();
    let tries = 0;
    const files: Files = {
      ...nodeFiles,
      open: (path, flags, mode) => {
        if (path.endsWith('reserve')) tries++;
        return nodeFiles.open(path, flags, mode);
      },
    };
    const reserveBytes = 256 * 1024;
    const ledger = client.open(at, files, { reserveBytes });
    client.append('before');
    await client.answered();
    // as the timer at the start would do
    mkdirSync(join(at.folder, 'run'));
    writeFileSync(join(at.folder, 'run', 'reserve'), Buffer.alloc(reserveBytes));
    const filler = join(disk, 'filler');
    const { bavail, bsize } = statfsSync(disk);
    writeFileSync(filler, Buffer.alloc((bavail - 20) * bsize));

    // what does not fit comes back, all of it
    for (let i = 0; i < 10; i++) client.append(`large ${i}`, { frame: [kept(Buffer.alloc(30_000, i))] });
    await client.answered();
    expect(client.recordable).toEqual([false]);
    expect(client.failed.length).toBeGreaterThan(0);
    client.append('gap', { essential: true });
    await client.answered();
    expect(client.acknowledged.has('gap')).toBe(true);

    const before = tries;
    while (tries < before + 3) await new Promise((done) => setTimeout(done, 1));
    expect(client.recordable).toEqual([false]);
    client.append('refused');
    await client.answered();

    rmSync(filler);
    await client.recovered();
    expect(client.recordable).toEqual([false, true]);
    client.append('after');
    await client.answered();
    await ledger.close();
    expect(client.fatal).toBeUndefined();
    expect([...client.acknowledged.keys()].slice(-2)).toEqual(['gap', 'after']);
    await reopenAndCheck(at, [client]);
  });

  it('that is full cannot take a new ledger, and leaves nothing that stands in the way of one', async () => {
    const filler = join(disk, 'filler');
    for (const freeBlocks of [0, 1, 2, 3]) {
      rmSync(filler, { force: true });
      const { bavail, bsize } = statfsSync(disk);
      writeFileSync(filler, Buffer.alloc((bavail - freeBlocks) * bsize));
      try {
        await new Client().open(at).close();
      } catch (error) {
        expect(error).toBeInstanceOf(SwornError);
        expect((error as SwornError).code).toBe('ledger-create');
      }
    }
    rmSync(filler);
    await reopenAndCheck(at, []);
  });

  it('that is read-only is refused with a plain error and nothing changed; writable again, all is there', async () => {
    const client = new Client();
    client.open(at);
    for (let i = 0; i < 300; i++) client.append(`n ${i}`);
    await client.answered();
    await client.ledger!.close();
    const before = readdirSync(disk, { recursive: true })
      .map(String)
      .toSorted((a, b) => (a < b ? -1 : 1));
    expect(mount('-o', 'remount,ro', disk)).toBe(true);
    expect(existsSync(at.folder)).toBe(true);
    let refused: unknown;
    try {
      new Client().open(at);
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(SwornError);
    expect(refused).toMatchObject({ code: 'ledger-create', message: expect.stringContaining('EROFS') });
    expect(
      readdirSync(disk, { recursive: true })
        .map(String)
        .toSorted((a, b) => (a < b ? -1 : 1)),
    ).toEqual(before);
    expect(mount('-o', 'remount,rw', disk)).toBe(true);
    await reopenAndCheck(at, [client]);
  });
});
