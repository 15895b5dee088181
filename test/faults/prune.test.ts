/**
 * Every call to the disk that pruning makes fails once: stored or not, with the process going on or ending there; and the power fails before each. Afterwards the
 * ledger is found to hold as it is, and a healthy recorder finishes what the entry says.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { directorySource } from '../../src/cli/verify-files.ts';
import { nodeCrypto } from '../../src/crypto-node.ts';
import type { Files } from '../../src/ledger/files.ts';
import { parseVkey } from '../../src/tlog/note.ts';
import { verifyLedger, type Verification } from '../../src/verify/verifier.ts';
import { day, PruneWorld } from '../prune-world.ts';
import { isLong } from '../long.ts';
import { FaultyFiles, isOdd, type Fault, type Operation } from './faulty-files.ts';
import { chance, PowerFiles } from './power-files.ts';
import { scratch, type Scratch } from './world.ts';

let at: Scratch;
beforeEach(() => void (at = scratch()));
afterEach(() => at.remove());

const bounds = { segmentBytes: 48 * 1024 };
const secret = 'the secret of a person';
/** Bundles that go, of segments that end elsewhere. */
const end = 512;

async function write(world: PruneWorld): Promise<void> {
  await world.start();
  for (let i = 0; i < 12; i++) await world.session(`${i}`, 22);
  await world.open('said');
  await world.call('said', secret);
  await world.close('said');
  await world.ledger.publish();
}

/** A ledger with a secret among the first entries, and more behind them. */
async function written(files?: Files): Promise<PruneWorld> {
  const world = new PruneWorld(at, files, bounds);
  await world.start();
  await world.open('said');
  await world.call('said', secret);
  await world.close('said');
  await write(world);
  return world;
}

async function verified(vkey: string): Promise<Verification> {
  return verifyLedger({ crypto: nodeCrypto, source: directorySource(at.folder), vkeys: [parseVkey(nodeCrypto, vkey)!] });
}

function seen(): number {
  let found = 0;
  const look = (folder: string): void => {
    for (const name of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, name.name);
      if (name.isDirectory()) look(path);
      else if (readFileSync(path).includes(secret)) found++;
    }
  };
  look(join(at.folder, 'payload'));
  return found;
}

/** What a crash may leave holds, and is finished. */
async function goOn(about: string): Promise<void> {
  const world = new PruneWorld(at, undefined, bounds);
  const { key } = world.ledger;
  const stated = world.state.pruned.entry !== undefined;
  await world.ledger.publish();
  const found = await verified(key.vkey);
  expect([about, found.exit, found.findings.filter(({ severity }) => severity !== 'note' && severity !== 'warning')]).toEqual([about, 0, []]);
  world.nowMs += 100 * day;
  world.pruner.resume();
  await world.eraser.exclusive(async () => undefined);
  if (!stated) await world.pruner.prune({ end: end + 20 }, {});
  expect(world.pruner.status, about).toMatchObject({ end });
  expect(seen(), about).toBe(1);
  expect(existsSync(join(at.folder, 'log/tile/entries/001'))).toBe(false);
  await world.start();
  await world.ledger.close();
  const after = await verified(key.vkey);
  expect([about, after.exit, after.findings.filter(({ severity }) => severity !== 'note')]).toEqual([about, 0, []]);
  expect(after.pruned?.entry.end, about).toBe(end);
}

function deathOf(): { came: Promise<undefined>; come: () => void } {
  let come = (): void => undefined;
  const came = new Promise<undefined>((resolve) => (come = () => resolve(undefined)));
  return { came, come };
}

describe('pruning', () => {
  it('survives a power cut before any call [prune-faults]', async () => {
    let calls = 0;
    // before every second one in the usual run, another half in the next
    const [first, step] = isLong ? [0, 1] : [isOdd ? 0 : 1, 2];
    for (let diesAfter = Infinity; diesAfter === Infinity || diesAfter <= calls; diesAfter = diesAfter === Infinity ? first : diesAfter + step) {
      const died = deathOf();
      const files = new PowerFiles(at.root, () => died.come());
      const world = await written(files);
      const before = files.calls;
      files.diesAfter = before + diesAfter;
      // whoever waits in a process that is dead waits for ever
      const answer = await Promise.race([world.pruner.prune({ end: end + 20 }, {}).catch(() => undefined), died.came]);
      const isDone = answer !== undefined && answer.unfinished === undefined;
      world.pruner.end();
      if (diesAfter === Infinity) calls = files.calls - before;
      await files.die(world.ledger);
      files.cut(chance(`${diesAfter}`));
      if (isDone) expect(seen(), `after ${diesAfter} calls`).toBe(1);
      await goOn(`after ${diesAfter} calls`);
      at.remove();
      at = scratch();
    }
    expect(calls).toBeGreaterThan(20);
  });

  for (const operation of ['create', 'writev', 'sync', 'rename', 'unlink'] as const satisfies Operation[]) {
    for (const stored of ['nothing', 'all'] as const) {
      it(`survives every failing ${operation}, ${stored} of it stored`, async () => {
        let reached = 0;
        for (let call = 1; ; call++) {
          await written().then((world) => world.ledger.close());
          const faults: Fault[] = [{ operation, call, stored, then: call % 2 === 0 ? 'goes on' : 'dies', code: 'ENOSPC' }];
          const died = deathOf();
          const files = new FaultyFiles(faults, () => died.come());
          let world: PruneWorld | undefined;
          try {
            world = new PruneWorld(at, files, bounds);
            const answer = await Promise.race([world.pruner.prune({ end: end + 20 }, {}), died.came]);
            if (answer?.unfinished !== undefined || (answer === undefined && files.happened > 0)) reached++;
          } catch {
            if (files.happened > 0) reached++;
          }
          world?.pruner.end();
          await files.die(world?.ledger);
          await goOn(`call ${call}`);
          if (files.happened === 0) break;
          at.remove();
          at = scratch();
        }
        // a fault in a call that pruning never makes would prove nothing
        expect(reached).toBeGreaterThan(0);
      });
    }
  }
});
