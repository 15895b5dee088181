/**
 * Every call that the ledger makes to the disk fails once: stored or not, with the process going on or ending there. Afterwards everything that was
 * acknowledged is there, nothing is there twice, nothing that was given back shows up, and the ledger opens.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLong } from '../long.ts';
import { failing, FaultyFiles, operations, storedOfWrites, type Fault, type Operation } from './faulty-files.ts';
import { Client, reopenAndCheck, scratch, scriptedRun, type Scratch } from './world.ts';

let at: Scratch;
beforeEach(() => void (at = scratch()));
afterEach(() => at.remove());

const syncs: readonly Operation[] = ['datasync', 'datasyncSync', 'sync', 'syncSync'];

async function runWith(faults: Fault[], fastSyncMs: number): Promise<{ client: Client; happened: number }> {
  const client = new Client();
  const files = new FaultyFiles(faults, () => client.die());
  await scriptedRun(client, at, files, { fastSyncMs });
  const happened = files.happened;
  await files.die(client.ledger);
  return { client, happened };
}

/** Which of three second faults a call has in the usual run: another one in the next. */
const offset = Math.floor(Math.random() * 3);

describe.each([
  ['asynchronous', 0],
  ['on the spot', Infinity],
])('writes %s', (_name, fastSyncMs) => {
  it('passes without a fault', async () => {
    const client = new Client();
    const files = new FaultyFiles([], () => client.die());
    await scriptedRun(client, at, files, { fastSyncMs });
    expect(client.acknowledged.size).toBe(268);
    expect(client.failed).toEqual([]);
    await files.die(client.ledger);
    const { files: segments } = await reopenAndCheck(at, [client]);
    expect(segments.length).toBeGreaterThan(3);
    // a fault in a call that the run never makes would prove nothing
    for (const operation of operations) {
      const reached = operation === 'truncate' || operation === 'unlink' || (fastSyncMs === 0 && operation === 'datasyncSync');
      if (!reached) expect(files.calls[operation], operation).toBeGreaterThan(3);
    }
  });

  // on the spot the others are called as they are otherwise; SWORN_LONG=1 for all of them
  const own: readonly Operation[] = ['writevSync', 'datasyncSync', 'datasync', 'open', 'rename'];
  const isShort = !isLong && fastSyncMs > 0;
  for (const operation of ['open', 'create', 'writev', 'writevSync', 'datasync', 'datasyncSync', 'sync', 'syncSync', 'rename', 'mkdir'] as const) {
    if (isShort && !own.includes(operation)) continue;
    for (const stored of operation.startsWith('writev') ? storedOfWrites : (['nothing', 'all'] as const)) {
      for (const then of ['goes on', 'dies'] as const) {
        it(`survives every failing ${operation}, ${stored} of it stored, and the process ${then}`, async () => {
          const { first, step } = failing(stored, then);
          for (let call = first; ; call += step) {
            const { client, happened } = await runWith(
              [{ operation, call, stored, then, code: operation === 'mkdir' ? 'EACCES' : 'ENOSPC' }],
              fastSyncMs,
            );
            if (then === 'goes on' && happened > 0 && syncs.includes(operation) && client.acknowledged.size > 0) {
              // during creation or opening it is an error of `open`; afterwards it ends the process
              expect(client.fatal !== undefined || client.acknowledged.size === 265, `call ${call}`).toBe(true);
            }
            try {
              await reopenAndCheck(at, [client]);
            } catch (error) {
              throw new Error(`${operation} ${call}: ${(error as Error).message}`, { cause: error });
            }
            if (happened === 0) break;
            at.remove();
            at = scratch();
          }
        });
      }
    }
  }

  // What follows a failed write may fail as well: the cut, its sync, and the removal of a segment that could not be begun.
  for (const [operation, second] of [
    ['writev', 'truncate'],
    ['writev', 'syncSync'],
    ['writevSync', 'truncate'],
    ['writevSync', 'syncSync'],
    ['writevSync', 'unlink'],
    ['open', 'unlink'],
  ] as const) {
    if (isShort && second === 'unlink') continue;
    it(`survives every failing ${operation} with a failing ${second} behind it`, async () => {
      let both = 0;
      for (let call = 1, reached = true; reached; call++) {
        for (const [k, [stored, then]] of (
          [
            ['nothing', 'goes on'],
            ['all', 'goes on'],
            ['nothing', 'dies'],
          ] as const
        ).entries()) {
          if (!isLong && (call + offset) % 3 !== k) continue;
          const first: Fault = { operation, call, stored: operation === 'open' ? 'nothing' : 'half', then: 'goes on', code: 'ENOSPC' };
          const { client, happened } = await runWith([first, { operation: second, call: 1, follows: true, stored, then, code: 'EIO' }], fastSyncMs);
          reached = happened > 0;
          if (happened === 2) both++;
          try {
            await reopenAndCheck(at, [client]);
          } catch (error) {
            throw new Error(`${operation} ${call}, then ${second} ${stored}: ${(error as Error).message}`, { cause: error });
          }
          at.remove();
          at = scratch();
        }
      }
      expect(both).toBeGreaterThan(0);
    });
  }
});
