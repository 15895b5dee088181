/**
 * Every call to the disk that erasing makes fails once: stored or not, with the process going on or ending there. Afterwards a healthy recorder erases again, and
 * nothing of what was to go is anywhere in the ledger; everything else is, byte for byte; and no file that is whole was ever missing.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ErasureTarget } from '../../src/entry/entry.ts';
import type { Files } from '../../src/ledger/files.ts';
import { chance, PowerFiles } from './power-files.ts';
import { failing, FaultyFiles, storedOfWrites, type Fault, type Operation } from './faulty-files.ts';
import { Client, kept, reopenAndCheck, scratch, type Scratch } from './world.ts';

let at: Scratch;
beforeEach(() => void (at = scratch()));
afterEach(() => at.remove());

const secret = Buffer.from('the secret of a person');
const other = Buffer.from('what has to stay as it is');
const targets: ErasureTarget[] = [
  { index: 1, to: 30, segments: 'all', attributes: 'all' },
  { index: 40, segments: [1] },
  { index: 41, segments: [0, 1] },
];

const naming = { targets, unfinished: new Set(['c0'.repeat(16)]) };

/** 45 entries over several segments, secrets in some, and parts; the next entry begins a new segment. */
async function written(client: Client, files: Files): Promise<void> {
  client.open(at, files);
  for (let i = 0; i < 40; i++) {
    client.append(`entry ${i}`, { frame: [kept(i >= 1 && i <= 30 ? Buffer.concat([secret, Buffer.alloc(i * 40, i)]) : other)] });
    await client.answered();
  }
  client.append('two', { frame: [kept(other), kept(secret), kept(Buffer.alloc(0)), kept(Buffer.from('x'))] });
  const parts = [
    client.appendPart(1, Buffer.concat([Buffer.alloc(3_000, 1), secret])),
    client.appendPart(2, Buffer.concat([secret, Buffer.alloc(2_000, 2)])),
  ];
  client.append('of parts', { frame: [...parts, kept(other)] });
  // of a frame that was never finished
  client.appendPart(3, Buffer.concat([secret, Buffer.alloc(500, 3)]));
  for (let i = 42; i < 45; i++) client.append(`entry ${i}`, { frame: [kept(other)] });
  await client.answered();
  client.ledger!.closeSegmentOf(44);
  client.append('erasure');
  await client.answered();
}

function payload(): Map<string, Buffer> {
  const folder = join(at.folder, 'payload');
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

function count(needle: Buffer, files = payload()): number {
  let found = 0;
  for (const bytes of files.values()) for (let place = bytes.indexOf(needle); place >= 0; place = bytes.indexOf(needle, place + 1)) found++;
  return found;
}

/** A recorder on a healthy disk goes on. */
async function goOn(): Promise<void> {
  const client = new Client();
  client.open(at);
  expect(readdirSync(join(at.folder, 'payload')).filter((name) => !/^\d{16}$/.test(name))).toEqual([]);
  await client.ledger!.erase(naming, () => false);
  // twice is once
  expect(await client.ledger!.erase(naming, () => false)).toEqual({ segments: 0, attributes: 0, bytes: 0, files: 0 });
  await client.ledger!.close();
  client.check();
}

/** The ledger is opened, and what is named erased, on a disk with these faults. */
async function run(faults: Fault[]): Promise<{ client: Client; files: FaultyFiles; error: Error | undefined }> {
  const writer = new Client();
  const quiet = new FaultyFiles();
  await written(writer, quiet);
  await quiet.die(writer.ledger);
  const client = new Client();
  const files = new FaultyFiles(faults, () => client.die());
  client.open(at, files);
  try {
    await client.ledger!.erase(naming, () => false);
    return { client, files, error: undefined };
  } catch (error) {
    return { client, files, error: error as Error };
  }
}

describe('erasing', () => {
  it('takes out what was named and nothing else, and holds nothing up', async () => {
    const client = new Client();
    const files = new FaultyFiles([], () => client.die());
    await written(client, files);
    const before = payload();
    const others = count(other);
    expect(count(secret)).toBe(34);
    const erased = client.ledger!.erase(naming, () => false);
    for (let i = 0; i < 20; i++) client.append(`meanwhile ${i}`, { frame: [kept(other)] });
    expect(await erased).toMatchObject({ segments: 34, attributes: 30 });
    await client.answered();
    expect(client.failed).toEqual([]);
    expect(count(secret)).toBe(0);
    expect(count(other)).toBe(others + 20);
    for (const [name, bytes] of before)
      if (client.ledger!.size > 0 && Number(name) < 45) expect(payload().get(name)!.length, name).toBe(bytes.length);
    await files.die(client.ledger);
    await reopenAndCheck(at, [client]);
  });

  it('ends when it is asked to, and leaves whole files', async () => {
    const client = new Client();
    await written(client, new FaultyFiles());
    let asked = 0;
    await expect(client.ledger!.erase(naming, () => ++asked > 1)).rejects.toThrow('next recorder');
    await client.ledger!.close();
    await goOn();
    expect(count(secret)).toBe(0);
    await reopenAndCheck(at, [client]);
  });

  it('leaves a file alone that is damaged, and says so', async () => {
    const client = new Client();
    await written(client, new FaultyFiles());
    const [name, bytes] = [...payload()][0]!;
    bytes[bytes.indexOf(secret) + 3]! ^= 1;
    writeFileSync(join(at.folder, 'payload', name), bytes);
    await expect(client.ledger!.erase(naming, () => false)).rejects.toThrow('does not hold');
    expect(payload().get(name)!.equals(bytes)).toBe(true);
    await client.ledger!.close();
  });

  it('loses no entry when the power fails before any call, and what it said to be erased stays erased', async () => {
    let calls = 0;
    for (let diesAfter = Infinity; diesAfter === Infinity || diesAfter <= calls; diesAfter = diesAfter === Infinity ? 0 : diesAfter + 1) {
      const client = new Client();
      const files = new PowerFiles(at.root, () => client.die());
      await written(client, files);
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
        if (isDone) expect(count(secret), `after ${diesAfter} calls`).toBe(0);
        await goOn();
        expect(count(secret), `after ${diesAfter} calls`).toBe(0);
        expect(count(other), `after ${diesAfter} calls`).toBe(15);
        await reopenAndCheck(at, [client]);
      }
      at.remove();
      at = scratch();
    }
    expect(calls).toBeGreaterThan(10);
  });

  for (const operation of ['create', 'writev', 'sync', 'rename', 'unlink', 'open'] as const satisfies Operation[]) {
    for (const stored of operation === 'writev' ? storedOfWrites : (['nothing', 'all'] as const)) {
      for (const then of ['goes on', 'dies'] as const) {
        it(`survives every failing ${operation}, ${stored} of it stored, and the process ${then}`, async () => {
          let reached = 0;
          const { first, step } = failing(stored, then);
          for (let call = first; ; call += step) {
            let client: Client;
            let happened = 0;
            try {
              const ran = await run([{ operation, call, stored, then, code: 'ENOSPC' }]);
              ({ client } = ran);
              ({ happened } = ran.files);
              if (happened > 0 && ran.error !== undefined) reached++;
              await ran.files.die(client.ledger);
            } catch (error) {
              // opening itself failed: nothing to erase yet
              if (!String(error).includes('failed on purpose') && !String(error).includes('cannot be opened') && !String(error).includes('sync of'))
                throw error;
              happened = 1;
            }
            const left = count(secret);
            await goOn();
            expect(count(secret), `call ${call}, ${left} before`).toBe(0);
            expect(count(other)).toBe(15);
            await reopenAndCheck(at, []);
            if (happened === 0) break;
            at.remove();
            at = scratch();
          }
          // a fault in a call that erasing never makes would prove nothing
          if (operation !== 'unlink') expect(reached).toBeGreaterThan(0);
        });
      }
    }
  }
});
