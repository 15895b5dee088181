/** What must not alarm: crashes, power cuts, a ledger that is being written, one that an older version wrote. Never 1, 4 or 5, and 0 once a recorder was there again. */
import { cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { chance, PowerFiles } from '../faults/power-files.ts';
import { Client as LedgerCaller, reopenAndCheck, scratch, scriptedRun } from '../faults/world.ts';
import { Client, echoServer, World } from '../support-processes.ts';
import { summary, verifyAt, type Verified } from './base.ts';

const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.end();
});
function newWorld(): World {
  const world = new World('alarms');
  worlds.push(world);
  mkdirSync(world.home);
  return world;
}

/** Nothing in it speaks of an attack. */
function expectNoAlarm(found: Verified, what: string): void {
  const alarms = found.findings.filter(({ severity }) => severity === 'tampered' || severity === 'rollback' || severity === 'policy');
  expect(alarms, `${what}: ${found.headline}`).toEqual([]);
  expect([0, 3], what).toContain(found.exit);
}

function tap(world: World): Client {
  return new Client(world.sworn(['run', '--ledger', world.ledger, '--', process.execPath, echoServer, join(world.folder, `log${Math.random()}`)]));
}

describe('no alarm', () => {
  it('whenever a recorder is killed: its ledger as it lies there, and when the next one went on [attack-none-kill]', async () => {
    const world = newWorld();
    const client = tap(world);
    const seed = String(Math.floor(Math.random() * 1e9));
    const random = chance(seed);
    for (let kill = 0; kill < 6; kill++) {
      for (let i = 0; i < 30; i++) client.request({ tag: i, pad: 'x'.repeat(Math.floor(random() * 3_000)) });
      await sleep(random() * 60);
      const pid = world.recorderPid();
      if (pid === undefined) continue;
      process.kill(pid, 'SIGSTOP');
      const copy = join(world.folder, `killed${kill}`);
      cpSync(world.ledger, copy, { recursive: true });
      process.kill(pid, 'SIGKILL');
      expectNoAlarm(await verifyAt(copy, join(world.folder, `home${kill}`)), `seed ${seed}, kill ${kill}`);
    }
    await client.settled();
    client.child.stdin.end();
    await client.ended;
    await world.endRecorder();
    expect(summary(await verifyAt(world.ledger, world.home)).exit, `seed ${seed}`).toBe(0);
  });

  it('while it is written, pinned again each time [attack-none-live]', async () => {
    const world = newWorld();
    const clients = [tap(world), tap(world)];
    for (let i = 0; i < 10; i++) {
      for (const client of clients) for (let j = 0; j < 20; j++) client.request({ tag: j });
      if (i > 0) expectNoAlarm(await verifyAt(world.ledger, world.home, { isWritten: true }), `round ${i}`);
      await sleep(20);
      if (i === 0) for (const client of clients) await client.settled();
    }
    for (const client of clients) await client.settled();
  });

  it('when the power fails at any call to the disk [attack-none-power]', async () => {
    const run = async (diesAfter: number): Promise<{ calls: number; remove: () => void; check: () => Promise<void> }> => {
      const at = scratch();
      const caller = new LedgerCaller();
      const files = new PowerFiles(at.root, () => caller.die());
      files.diesAfter = diesAfter;
      await scriptedRun(caller, at, files, { fastSyncMs: Infinity });
      await files.die(caller.ledger);
      const check = async (): Promise<void> => {
        files.cut(chance(`power ${diesAfter}`));
        const what = `power cut after ${diesAfter} calls`;
        // entries of a kind for tests are not known to the verifier, which it says
        for (const moment of ['at once', 'recovered']) {
          expectNoAlarm(await verifyAt(at.folder, at.root).catch(noLedger), `${what}, ${moment}`);
          if (moment === 'at once') await reopenAndCheck(at, [caller]);
        }
      };
      return { calls: files.calls, remove: () => at.remove(), check };
    };
    const whole = await run(Infinity);
    whole.remove();
    expect(whole.calls).toBeGreaterThan(200);
    // every call that changes what is on the disk is near one of these
    for (let diesAfter = 0; diesAfter <= whole.calls; diesAfter += 3) {
      const { check, remove } = await run(diesAfter);
      await check().finally(remove);
    }
  }, 120_000);

  it('when the last record is incomplete [attack-none-torn]', async () => {
    const world = newWorld();
    const client = tap(world);
    client.request({ tag: 1 });
    await client.settled();
    client.child.stdin.end();
    await client.ended;
    await world.endRecorder();
    const before = (await verifyAt(world.ledger, world.home)) as Verified & { size: number };
    // somebody dies while he appends: the ledger has one more entry, of which only a part is there
    await world.finish(['recorder', 'start', '--ledger', world.ledger]);
    process.kill(world.recorderPid()!, 'SIGKILL');
    const path = join(world.ledger, 'payload', '0'.repeat(16));
    truncateSync(path, readFileSync(path).length - 3);
    const found = await verifyAt(world.ledger, world.home);
    expectNoAlarm(found, 'torn');
    expect(found).toMatchObject({ exit: 0, codes: ['torn-tail'] });
    expect(before.exit).toBe(0);
  });
});

const noLedger = (error: Error & { code?: string }): Verified => {
  if (error.code !== 'no-ledger') throw error;
  return { exit: 3, firstBad: undefined, holdsThrough: 0, codes: [], headline: error.message, findings: [], notChecked: [] };
};

describe('an upgrade of sworn', () => {
  const kept = join(import.meta.dirname, '..', 'fixtures', 'ledger-v0.1');

  it('verifies what the first version wrote, and reads it [attack-none-upgrade]', async () => {
    const world = newWorld();
    cpSync(join(kept, 'ledger'), world.ledger, { recursive: true });
    const policy = join(world.folder, 'trust.policy');
    writeFileSync(policy, `log ${readFileSync(join(kept, 'vkey'), 'utf8').trim()}\nquorum none\n`);
    const found = await verifyAt(world.ledger, world.home, { policy });
    expect(summary(found)).toEqual({ exit: 0, firstBad: undefined, codes: [] });
    expect(found.holdsThrough).toBe(21);
    const { status, stdout } = await world.finish(['log', '--ledger', world.ledger, '--json', '--payload']);
    expect(status).toBe(0);
    const rows = stdout
      .trim()
      .split('\n')
      .map((row) => JSON.parse(row) as Record<string, unknown>);
    expect(rows.map(({ kind, method }) => method ?? kind)).toEqual(
      readRows(join(kept, 'ledger', 'log', 'tile', 'entries', '000.p', '21')).map(({ kind, method }) => method ?? kind),
    );
    expect(rows.find(({ target }) => target === 'look')).toMatchObject({ payload: expect.stringContaining('the ledger') });
    expect(rows.find(({ verdict }) => verdict === 'block')).toMatchObject({ rule: 'no-wipe' });
  });

  it('goes on in a copy of it only with its key [attack-none-upgrade-key]', async () => {
    const world = newWorld();
    cpSync(join(kept, 'ledger'), world.ledger, { recursive: true });
    const { status, stderr } = await world.finish(['recorder', 'start', '--ledger', world.ledger]);
    expect(status).not.toBe(0);
    expect(stderr).toContain('key');
    rmSync(world.home, { recursive: true });
  });
});

/** The entries of a bundle. */
function readRows(path: string): Record<string, unknown>[] {
  const bytes = readFileSync(path);
  const rows: Record<string, unknown>[] = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes.readUInt16BE(at))
    rows.push(JSON.parse(bytes.toString('utf8', at + 2, at + 2 + bytes.readUInt16BE(at))) as Record<string, unknown>);
  return rows;
}
