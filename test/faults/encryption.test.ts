/**
 * Encrypted ledgers on disks that fail, at every call: what was acknowledged can be opened afterwards, and what an erasure took can be opened nowhere, in no file of
 * the ledger as it is or as it was.
 */
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ErasureTarget } from '../../src/entry/entry.ts';
import type { Files } from '../../src/ledger/files.ts';
import { keyOf, opened } from '../check-ledger.ts';
import { isLong } from '../long.ts';
import { failing, FaultyFiles, storedOfWrites, type Fault, type Operation } from './faulty-files.ts';
import { chance, PowerFiles } from './power-files.ts';
import { Client, encryptedScratch, kept, reopenAndCheck, scriptedRun } from './world.ts';

let at: ReturnType<typeof encryptedScratch>;
beforeEach(() => void (at = encryptedScratch()));
afterEach(() => at.remove());

const secret = Buffer.from('the secret of a person');
const other = Buffer.from('what has to stay as it is');
const targets: ErasureTarget[] = [
  { index: 1, to: 20, segments: 'all', attributes: 'all' },
  { index: 31, segments: [0, 1] },
];
const naming = { targets, unfinished: new Set(['c0'.repeat(16)]) };

/** 34 entries over several segments, and parts; the next entry begins a new segment. */
async function written(client: Client, files?: Files): Promise<void> {
  client.open(at, files);
  for (let i = 0; i < 31; i++)
    client.append(`entry ${i}`, { frame: [kept(i >= 1 && i <= 20 ? Buffer.concat([secret, Buffer.alloc(i * 80, i)]) : other)] });
  const parts = [
    client.appendPart(1, Buffer.concat([Buffer.alloc(3_000, 1), secret])),
    client.appendPart(2, Buffer.concat([secret, Buffer.alloc(2_000, 2)])),
  ];
  client.append('of parts', { frame: [...parts, kept(other)] });
  client.appendPart(3, Buffer.concat([secret, Buffer.alloc(500, 3)]));
  for (let i = 32; i < 34; i++) client.append(`entry ${i}`, { frame: [kept(other)] });
  await client.answered();
  client.ledger!.closeSegmentOf(33);
  client.append('erasure');
  await client.answered();
}

function keysFolder(): string {
  return join(
    at.keysHome,
    readdirSync(at.keysHome).find((name) => /^[0-9a-f]{32}$/.test(name))!,
  );
}

/** How often something stands in what the keys of now can open of the segments in a folder. Files that they do not open count for nothing. */
function count(needle: Buffer, payload = join(at.folder, 'payload')): number {
  let found = 0;
  const look = (bytes: Buffer): void => {
    for (let place = bytes.indexOf(needle); place >= 0; place = bytes.indexOf(needle, place + 1)) found++;
  };
  for (const name of readdirSync(payload)) {
    const bytes = readFileSync(join(payload, name));
    look(bytes);
    const key = bytes.length < 40 ? undefined : keyOf(bytes, keysFolder());
    if (key === undefined || key === 'none') continue;
    for (let offset = 40; offset + 8 <= bytes.length;) {
      const end = offset + 8 + bytes.readUInt32BE(offset);
      if (end > bytes.length) break;
      look(opened(bytes.subarray(offset + 8, end), key));
      offset = end;
    }
  }
  return found;
}

/** Everything that is stored, raw, and all copies of it. */
function rawCount(needle: Buffer): number {
  let found = 0;
  for (const entry of [at.root, at.elsewhere].flatMap((root) => readdirSync(root, { recursive: true, withFileTypes: true })))
    if (entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(needle)) found++;
  return found;
}

/** A copy of the ledger's folder, as a backup has it. */
function backup(): string {
  const copy = join(at.elsewhere, 'backup');
  cpSync(at.folder, copy, { recursive: true, force: true });
  return join(copy, 'payload');
}

async function goOn(): Promise<void> {
  const client = new Client();
  client.open(at);
  await client.ledger!.erase(naming, () => false);
  expect(await client.ledger!.erase(naming, () => false)).toEqual({ segments: 0, attributes: 0, bytes: 0, files: 0 });
  await client.ledger!.close();
  client.check();
}

/** No more keys than segments, but for those of segments that were never begun. */
function keysInUse(): string[] {
  const payload = join(at.folder, 'payload');
  return readFileSync(join(keysFolder(), 'segment-keys'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('SEGMENT ') && existsSync(join(payload, line.split(' ')[1]!)));
}

describe('an encrypted ledger', () => {
  it('holds nothing of its content in the clear, and a backup from before an erasure cannot be opened any more [encrypted-backup]', async () => {
    const client = new Client();
    await written(client);
    const copy = backup();
    expect(rawCount(secret)).toBe(0);
    expect(rawCount(other)).toBe(0);
    expect(count(secret)).toBe(23);
    expect(count(secret, copy)).toBe(23);
    const others = count(other);
    expect(await client.ledger!.erase(naming, () => false)).toMatchObject({ segments: 23, attributes: 20 });
    expect(count(secret)).toBe(0);
    expect(count(secret, copy)).toBe(0);
    expect(count(other)).toBe(others);
    expect(rawCount(secret)).toBe(0);
    await client.ledger!.close();
    await reopenAndCheck(at, [client]);
  });

  it('goes on in another segment when it is switched on or off, or another key wraps', async () => {
    const { encryption } = at;
    const open = async (name: string): Promise<string[]> => {
      const client = new Client();
      client.open(at);
      for (let i = 0; i < 3; i++) client.append(`${name} ${i}`, { frame: [kept(other)] });
      await client.answered();
      await client.ledger!.close();
      client.check();
      const payload = join(at.folder, 'payload');
      return readdirSync(payload).map((file) => readFileSync(join(payload, file)).toString('latin1', 0, 8));
    };
    delete (at as { encryption?: unknown }).encryption;
    expect(await open('plain')).toEqual(['SWORNPL1']);
    at.encryption = encryption;
    expect(await open('encrypted')).toEqual(['SWORNPL1', 'SWORNPE1']);
    expect(await open('the same')).toEqual(['SWORNPL1', 'SWORNPE1']);
    const another = encryptedScratch();
    at.encryption = another.encryption;
    expect(await open('another key')).toEqual(['SWORNPL1', 'SWORNPE1', 'SWORNPE1']);
    delete (at as { encryption?: unknown }).encryption;
    expect(await open('off')).toEqual(['SWORNPL1', 'SWORNPE1', 'SWORNPE1', 'SWORNPL1']);
    await reopenAndCheck(at, []);
    another.remove();
  });

  it('uses no keystream twice where a record is written over one that was cut [encrypted-nonce]', async () => {
    /** Everything that was handed to the disk, also what it refused. */
    const written: { position: number; bytes: Buffer }[] = [];
    const watched = (files: FaultyFiles): FaultyFiles => {
      const writev = files.writev.bind(files);
      files.writev = (fd, buffers, position) => {
        written.push({ position, bytes: Buffer.concat(buffers) });
        return writev(fd, buffers, position);
      };
      return files;
    };
    const content = (name: string) => ({ frame: [kept(Buffer.alloc(500, name))] });
    const first = new Client();
    const files = watched(new FaultyFiles([{ operation: 'writev', call: 2, stored: 'half', then: 'goes on', code: 'ENOSPC' }], () => first.die()));
    first.open(at, files);
    first.append('stays', content('stays'));
    await first.answered();
    first.append('refused', content('refused'));
    await first.recovered();
    first.append('instead', content('instead'));
    await first.recovered();
    expect(first.failed).toEqual(['refused']);
    await files.die(first.ledger);
    // the same once more, by a crash that left half of a record
    const path = join(at.folder, 'payload', '0'.repeat(16));
    const torn = written.at(-1)!.position;
    truncateSync(path, torn + 100);
    const second = new Client();
    const more = watched(new FaultyFiles([], () => second.die()));
    second.open(at, more);
    second.append('behind the crash', content('behind the crash'));
    await second.answered();
    await more.die(second.ledger);

    const records = written.filter(({ bytes }) => bytes[8] === 1);
    expect(records.map(({ position }) => position)).toEqual([40, torn, torn, torn]);
    const nonces = records.map(({ bytes }) => {
      const nonceAt = 8 + 13 + bytes.readUInt32BE(8 + 9);
      return bytes.toString('hex', nonceAt, nonceAt + 12);
    });
    expect(new Set(nonces).size).toBe(nonces.length);
    await reopenAndCheck(at, [second]);
  });

  it('gives two writings of the same bytes nothing in common', async () => {
    const seen: Buffer[] = [];
    for (let i = 0; i < 2; i++) {
      const client = new Client();
      client.open(at);
      client.append('same', { frame: [kept(Buffer.alloc(600, 7))] });
      await client.answered();
      await client.ledger!.close();
      const bytes = readFileSync(join(at.folder, 'payload', '0'.repeat(16)));
      seen.push(bytes.subarray(-620));
    }
    const [one, two] = seen as [Buffer, Buffer];
    let same = 0;
    for (let i = 0; i < one.length; i++) if (one[i] === two[i]) same++;
    expect(same).toBeLessThan(40);
  });

  it('refuses to start without its key, and says why', async () => {
    const client = new Client();
    await written(client);
    await client.ledger!.close();
    const { file } = at.encryption;
    const own = readFileSync(file);
    writeFileSync(file, '00'.repeat(32));
    expect(() => new Client().open(at)).toThrow(/cannot be opened: what .*wrapping\.key holds is another wrapping key/);
    rmSync(file);
    expect(() => new Client().open(at)).toThrow(/the key file .* is not there/);
    writeFileSync(file, own, { mode: 0o644 });
    expect(() => new Client().open(at)).toThrow(/readable by others/);
    chmodSync(file, 0o600);
    await reopenAndCheck(at, [client]);
  });

  // what an encrypted ledger does more than another one: a file of keys is written anew before a segment is begun
  for (const operation of ['writevSync', 'syncSync', 'rename'] as const) {
    for (const stored of operation.startsWith('writev') ? storedOfWrites : (['nothing', 'all'] as const)) {
      for (const then of ['goes on', 'dies'] as const) {
        it(`survives every failing ${operation}, ${stored} of it stored, and the process ${then}`, async () => {
          const { first, step } = failing(stored, then);
          for (let call = first; ; call += step) {
            const client = new Client();
            const files = new FaultyFiles([{ operation, call, stored, then, code: 'ENOSPC' }], () => client.die());
            await scriptedRun(client, at, files);
            const { happened } = files;
            await files.die(client.ledger);
            try {
              await reopenAndCheck(at, [client]);
            } catch (error) {
              throw new Error(`${operation} ${call}: ${(error as Error).message}`, { cause: error });
            }
            if (happened === 0) break;
            at.remove();
            at = encryptedScratch();
          }
        });
      }
    }
  }
});

describe('erasing in an encrypted ledger', () => {
  // erasing fails in the clear at each of them, too (erase.test.ts); SWORN_LONG=1 for all of them here
  for (const operation of ['create', 'writev', 'writevSync', 'sync', 'syncSync', 'rename', 'open'] as const satisfies Operation[]) {
    if (!isLong && (operation === 'create' || operation === 'open' || operation === 'syncSync')) continue;
    for (const stored of operation.startsWith('writev') ? storedOfWrites : (['nothing', 'all'] as const)) {
      for (const then of ['goes on', 'dies'] as const) {
        it(`survives every failing ${operation}, ${stored} of it stored, and the process ${then}`, async () => {
          let reached = 0;
          const { first, step } = failing(stored, then);
          for (let call = first; ; call += step) {
            const writer = new Client();
            await written(writer);
            const copy = backup();
            await writer.ledger!.close();
            const client = new Client();
            const fault: Fault = { operation, call, stored, then, code: 'ENOSPC' };
            const files = new FaultyFiles([fault], () => client.die());
            let happened = 1;
            try {
              client.open(at, files);
              const error = await client
                .ledger!.erase(naming, () => false)
                .then(
                  () => undefined,
                  (failed: Error) => failed,
                );
              ({ happened } = files);
              if (happened > 0 && error !== undefined) reached++;
              // what was said to be done is done
              if (error === undefined && then === 'goes on') expect(count(secret, copy), `call ${call}`).toBe(0);
            } catch (error) {
              if (!/failed on purpose|cannot be opened|sync of/.test(String(error))) throw error;
            }
            await files.die(client.ledger);
            await goOn();
            expect(count(secret), `call ${call}`).toBe(0);
            expect(count(secret, copy), `call ${call}`).toBe(0);
            expect(count(other)).toBe(14);
            expect(keysInUse().length, `call ${call}`).toBe(readdirSync(join(at.folder, 'payload')).length);
            await reopenAndCheck(at, [writer]);
            if (happened === 0) break;
            at.remove();
            at = encryptedScratch();
          }
          expect(reached).toBeGreaterThan(0);
        });
      }
    }
  }

  it('loses no entry and no key when the power fails before any call [encrypted-faults]', async () => {
    let calls = 0;
    for (let diesAfter = Infinity; diesAfter === Infinity || diesAfter <= calls; diesAfter = diesAfter === Infinity ? 0 : diesAfter + 1) {
      const client = new Client();
      const files = new PowerFiles(at.root, () => client.die());
      await written(client, files);
      const copy = backup();
      const before = files.calls;
      files.diesAfter = before + diesAfter;
      const isDone = await client
        .ledger!.erase(naming, () => false)
        .then(
          () => true,
          () => false,
        );
      if (diesAfter === Infinity) calls = files.calls - before;
      await files.die(client.ledger);
      for (const seed of ['one', 'two']) {
        files.cut(chance(`${diesAfter} ${seed}`));
        if (isDone) expect(count(secret, copy), `after ${diesAfter} calls`).toBe(0);
        await goOn();
        expect(count(secret), `after ${diesAfter} calls`).toBe(0);
        expect(count(secret, copy), `after ${diesAfter} calls`).toBe(0);
        expect(count(other), `after ${diesAfter} calls`).toBe(14);
        await reopenAndCheck(at, [client]);
      }
      at.remove();
      at = encryptedScratch();
    }
    expect(calls).toBeGreaterThan(20);
  });
});
