/**
 * Power cuts: at every call of the ledger to the disk, of everything that was not synced a seeded part is lost. What was acknowledged is there afterwards,
 * and so is what a later process counted as recorded.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chance, PowerFiles } from './power-files.ts';
import { Client, reopenAndCheck, scratch, scriptedRun, type Scratch } from './world.ts';

let at: Scratch;
beforeEach(() => void (at = scratch()));
afterEach(() => at.remove());

async function runUntil(diesAfter: number, fastSyncMs: number): Promise<{ client: Client; files: PowerFiles }> {
  const client = new Client();
  const files = new PowerFiles(at.root, () => client.die());
  files.diesAfter = diesAfter;
  await scriptedRun(client, at, files, { fastSyncMs });
  await files.die(client.ledger);
  return { client, files };
}

async function callsOfARun(fastSyncMs: number): Promise<number> {
  const { files } = await runUntil(Infinity, fastSyncMs);
  at.remove();
  at = scratch();
  return files.calls;
}

describe.each([
  ['asynchronous', 0],
  ['on the spot', Infinity],
])('writes %s', (_name, fastSyncMs) => {
  it('loses nothing that was acknowledged when the power fails before any call', async () => {
    const calls = await callsOfARun(fastSyncMs);
    expect(calls).toBeGreaterThan(200);
    for (let diesAfter = 0; diesAfter <= calls; diesAfter++) {
      const { client, files } = await runUntil(diesAfter, fastSyncMs);
      for (const seed of ['one', 'two', 'three']) {
        files.cut(chance(`${diesAfter} ${seed}`));
        try {
          await reopenAndCheck(at, [client]);
        } catch (error) {
          throw new Error(`power cut after ${diesAfter} calls, seed ${seed}: ${(error as Error).message}`, { cause: error });
        }
      }
      at.remove();
      at = scratch();
    }
  }, 300_000);

  it('makes durable what it finds after the death of a process, before anybody hears of it', async () => {
    const calls = await callsOfARun(fastSyncMs);
    for (let diesAfter = 0; diesAfter <= calls; diesAfter++) {
      const { client, files } = await runUntil(diesAfter, fastSyncMs);
      files.revive();
      const second = new Client();
      second.open(at, files, { fastSyncMs });
      const found = [...second.replayed];
      second.append('second life');
      await second.answered();
      await files.die(second.ledger);
      files.cut(chance(`second ${diesAfter}`));
      try {
        await reopenAndCheck(at, [client, second]);
        const third = new Client();
        await third.open(at).close();
        expect(third.replayed.slice(0, found.length), `after ${diesAfter} calls`).toEqual(found);
      } catch (error) {
        throw new Error(`process died after ${diesAfter} calls: ${(error as Error).message}`, { cause: error });
      }
      at.remove();
      at = scratch();
    }
  }, 300_000);
});
