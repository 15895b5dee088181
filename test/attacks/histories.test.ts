/** Whole histories made anew: with another key, with the stolen one, an older copy, two at once. A real witness cosigns the true one while it is recorded. */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { parseVkey } from '../../src/tlog/note.ts';
import { witnessKey, type WitnessKey } from '../../src/witness/key.ts';
import { witnessServer } from '../../src/witness/server.ts';
import { WitnessStore } from '../../src/witness/store.ts';
import { Witness, type WitnessEvent } from '../../src/witness/witness.ts';
import { Client, echoServer } from '../support-processes.ts';
import { Copy, makeBase, summary, type Base, type Verified } from './base.ts';
import { newKey, type Forger, type Leaf } from './forger.ts';

let base: Base;
let witness: WitnessKey;
/** The ledger and its home one session later: the witness has seen that, too. */
let lived: Copy;
let url = '';
let configuration = '';
const events: WitnessEvent[] = [];
const witnessFolder = mkdtempSync(join(tmpdir(), 'sworn-witness-'));
let close: () => void = () => undefined;

beforeAll(async () => {
  // a recorder waits a second for a witness: on a busy machine that may be too short, and then all is done again
  for (let tries = 0; ; tries++) {
    base = await makeBase(serveWitness);
    if (isCosigned(join(base.now, 'ledger')) || tries === 5) break;
    base.remove();
    close();
  }
  lived = new Copy(base);
  await session(lived, () => isCosigned(lived.ledger) && anchors(lived).length > 0);
}, 240_000);

async function serveWitness(vkey: string): Promise<string> {
  witness = await witnessKey(witnessFolder, 'w1.example');
  const store = await WitnessStore.open(witnessFolder, witness.cosigner);
  const running = new Witness({ logs: [parseVkey(nodeCrypto, vkey)!], key: witness, store, onEvent: (event) => events.push(event) });
  const server = witnessServer(running, witness.vkey);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  close = () => (server.close(), server.closeAllConnections());
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  configuration = JSON.stringify({ anchors: { witnesses: [{ key: witness.vkey, url }] } });
  return configuration;
}

const isCosigned = (ledger: string): boolean => readFileSync(join(ledger, 'log', 'checkpoint'), 'utf8').includes('\u2014 w1.example ');
/** None while the last record is being written. */
const anchors = (copy: Copy): Leaf[] => {
  try {
    const forger = copy.forger();
    return forger.entries.map((_, index) => forger.leaf(index)).filter(({ kind }) => kind === 'anchor');
  } catch {
    return [];
  }
};

afterAll(() => {
  close();
  lived.remove();
  base.remove();
  rmSync(witnessFolder, { recursive: true });
});
const copies: Copy[] = [];
afterEach(() => {
  for (const copy of copies.splice(0)) copy.remove();
});
function fresh(from?: string): Copy {
  const copy = new Copy(base, from === undefined ? {} : { from });
  copies.push(copy);
  return copy;
}

const checkpointAt = (folder: string): string => readFileSync(join(folder, 'ledger', 'log', 'checkpoint'), 'utf8');
const policyOf = (copy: Copy, log = base.vkey): string => copy.kept('trust.policy', `log ${log}\nwitness w1 ${witness.vkey} ${url}\nquorum w1\n`);

/** The last checkpoint that the witness cosigned, as it shows it to everybody. */
async function shownByWitness(): Promise<string> {
  const origin = base.vkey.split('+')[0]!;
  return (await fetch(`${url}/${createHash('sha256').update(origin).digest('hex')}/checkpoint`)).text();
}

/** One and the same copy, asked about by everybody. */
async function asked(copy: Copy): Promise<Record<'stranger' | 'owner' | 'pinned' | 'keptLastWeek' | 'keptNow' | 'witness', Verified>> {
  return {
    stranger: await copy.verify({ as: 'stranger' }),
    owner: await copy.verify(),
    pinned: await copy.verify({ as: 'pinned' }),
    keptLastWeek: await copy.verify({ known: copy.kept('last-week', checkpointAt(base.lastWeek)) }),
    keptNow: await copy.verify({ known: copy.kept('now', checkpointAt(base.now)) }),
    witness: await copy.verify({ policy: policyOf(copy) }),
  };
}

const exits = (all: Awaited<ReturnType<typeof asked>>): Record<string, number> =>
  Object.fromEntries(Object.entries(all).map(([who, { exit }]) => [who, exit]));

const changeThePast = (forger: Forger): void => {
  forger.rewrite(base.at.result, (bytes) => Buffer.from(bytes.toString().replace('seen', 'lost')));
};
const changeThisWeek = (forger: Forger): void => forger.edit(base.at.long, (leaf) => (leaf['method'] = 'other'));

it('nothing was done: everybody finds that it holds, and the witness has cosigned it [attack-none-cosigned]', async () => {
  expect(exits(await asked(fresh()))).toEqual({ stranger: 0, owner: 0, pinned: 0, keptLastWeek: 0, keptNow: 0, witness: 0 });
});

it('the program itself ends with what is found [attack-exit]', async () => {
  const copy = fresh();
  const world = copy.world();
  try {
    const status = async (...words: string[]): Promise<number | null> => (await world.finish(['verify', copy.ledger, ...words])).status;
    const policy = policyOf(copy);
    expect(await status('--policy', policy)).toBe(0);
    const forger = copy.forger();
    forger.cut(base.size - 5);
    forger.write(base.signer);
    expect(await status('--policy', policy)).toBe(4);
    expect(await status('--known', copy.kept('now', checkpointAt(base.now)))).toBe(5);
    changeThePast(forger);
    forger.writeBundles();
    expect(await status()).toBe(1);
    rmSync(copy.path('log'), { recursive: true });
    expect(await status()).toBe(3);
  } finally {
    await world.end();
  }
});

describe('rewritten', () => {
  it('with a new key: whoever knows the old one finds another [attack-new-key]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    const key = newKey(forger.origin);
    changeThePast(forger);
    forger.nameKey(key);
    forger.write(key);
    const all = await asked(copy);
    expect(exits(all)).toEqual({ stranger: 0, owner: 1, pinned: 1, keptLastWeek: 1, keptNow: 1, witness: 1 });
    expect(all.stranger.notChecked.join()).toContain('the key was taken from the ledger itself');
    for (const who of ['owner', 'pinned', 'witness'] as const) expect(all[who].codes).toContain('key-changed');
    expect(all.pinned.codes).toContain('fork');
  });

  it('with the stolen key, the past too: kept checkpoints and witnesses tell, nobody else can [attack-stolen-key]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    changeThePast(forger);
    forger.write(base.signer);
    const all = await asked(copy);
    expect(exits(all)).toEqual({ stranger: 0, owner: 0, pinned: 5, keptLastWeek: 5, keptNow: 5, witness: 4 });
    expect(all.pinned.codes).toContain('fork');
    expect(all.witness.codes).toContain('quorum');
    expect(all.owner.notChecked.join()).toMatch(/no witness.*whoever holds the key/);
  });

  it('with the stolen key, behind what somebody kept: only what is newer tells [attack-stolen-key-later]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    changeThisWeek(forger);
    forger.write(base.signer);
    expect(exits(await asked(copy))).toEqual({ stranger: 0, owner: 0, pinned: 5, keptLastWeek: 0, keptNow: 5, witness: 4 });
  });

  it('with the stolen key, and an exchange left out without a trace [attack-stolen-key-forgotten]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    forger.forget([base.at.request, base.at.result]);
    forger.write(base.signer);
    const all = await asked(copy);
    expect(exits(all)).toEqual({ stranger: 0, owner: 0, pinned: 5, keptLastWeek: 5, keptNow: 5, witness: 4 });
    expect(all.keptNow.codes).toContain('rollback');
    expect(all.keptLastWeek.codes).toContain('fork');
  });

  it('with the stolen key, and the old cosignature kept: it does not hold [attack-cosignature-moved]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    changeThePast(forger);
    forger.write(base.signer);
    const cosignature = checkpointAt(base.now)
      .split('\n')
      .find((line) => line.startsWith('\u2014 w1.example '))!;
    writeFileSync(copy.path('log', 'checkpoint'), `${forger.checkpoint(base.signer)}${cosignature}\n`);
    expect(summary(await copy.verify({ policy: policyOf(copy) }))).toEqual({ exit: 1, firstBad: undefined, codes: ['cosignature'] });
    expect(exits(await asked(copy))).toEqual({ stranger: 0, owner: 0, pinned: 5, keptLastWeek: 5, keptNow: 5, witness: 1 });
  });

  it('with the stolen key, into the future: entries that never were [attack-future]', async () => {
    // whoever has the key of the recorder is the recorder: said in "What cannot be noticed"
    const copy = fresh();
    const forger = copy.forger();
    const stop = forger.entry(base.size - 1);
    forger.records.push({ ...stop, leaf: Buffer.from(JSON.stringify({ ...forger.leaf(base.size - 1), kind: 'recovery', reason: 'unclean-stop' })) });
    forger.write(base.signer);
    expect(exits(await asked(copy))).toEqual({ stranger: 0, owner: 0, pinned: 0, keptLastWeek: 0, keptNow: 0, witness: 4 });
  });
});

describe('an older copy', () => {
  it('of the ledger: pin and kept checkpoint tell; the cosigned one tells its age [attack-restore]', async () => {
    const copy = fresh();
    rmSync(copy.ledger, { recursive: true });
    cpSync(join(base.lastWeek, 'ledger'), copy.ledger, { recursive: true });
    const all = await asked(copy);
    expect(exits(all)).toEqual({ stranger: 0, owner: 0, pinned: 5, keptLastWeek: 0, keptNow: 5, witness: 4 });
    expect(all.pinned.codes).toContain('rollback');
    expect(all.stranger.notChecked.join()).toContain('cut back');
  });

  it('that the witness has cosigned in its time: its age tells, and what the witness shows now [attack-restore-cosigned]', async () => {
    const copy = fresh(lived.folder);
    rmSync(copy.ledger, { recursive: true });
    cpSync(join(base.now, 'ledger'), copy.ledger, { recursive: true });
    const policy = policyOf(copy);
    expect(await copy.verify({ policy })).toMatchObject({ exit: 0 });
    expect(await copy.verify({ policy, known: copy.kept('shown', await shownByWitness()) })).toMatchObject({ exit: 5 });
    await sleep(2_100);
    expect(await copy.verify({ policy, maxAge: '1s' })).toMatchObject({ exit: 4, codes: expect.arrayContaining(['stale']) });
  });

  it('of another ledger, in the place of this one [attack-replaced-place]', async () => {
    const copy = fresh();
    rmSync(copy.ledger, { recursive: true });
    cpSync(join(import.meta.dirname, '..', 'fixtures', 'ledger-v0.1', 'ledger'), copy.ledger, { recursive: true });
    expect((await copy.verify({ as: 'stranger' })).exit).toBe(0);
    expect((await copy.verify()).exit).toBe(0);
    expect(await copy.verify({ as: 'pinned' })).toMatchObject({ exit: 5, codes: expect.arrayContaining(['origin']) });
    await expect(copy.verify({ known: copy.kept('now', checkpointAt(base.now)) })).rejects.toMatchObject({ code: 'usage' });
    expect((await copy.verify({ policy: policyOf(copy) })).exit).toBe(1);
  });

  it('with the tail cut by a thief of the key [attack-cut-tail]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    forger.cut(base.size - 5);
    forger.write(base.signer);
    expect(exits(await asked(copy))).toEqual({ stranger: 0, owner: 0, pinned: 5, keptLastWeek: 0, keptNow: 5, witness: 4 });
    // what the witness shows is a checkpoint that was kept elsewhere
    const found = await copy.verify({ known: copy.kept('shown', await shownByWitness()) });
    expect(found).toMatchObject({ exit: 5, codes: expect.arrayContaining(['rollback']) });
  });

  it('of everything, on which the recorder goes on: the witness contradicts, and the record says so [attack-restore-witness]', async () => {
    const restored = fresh();
    expect(await lived.verify({ policy: policyOf(lived) })).toMatchObject({ exit: 0 });
    await session(restored, () => anchors(restored).some(({ problem }) => problem !== undefined));
    const found = await restored.verify({ policy: policyOf(restored) });
    expect(found).toMatchObject({ exit: 5, codes: expect.arrayContaining(['quorum', 'witness']) });
    // by whoever has no trust file, too
    const told = await restored.verify({ as: 'stranger' });
    expect(told.exit).toBe(5);
    expect(told.findings).toContainEqual(expect.objectContaining({ code: 'witness', message: expect.stringContaining('w1.example') }));
    const kept = restored.kept('lived', readFileSync(lived.path('log', 'checkpoint')));
    expect(await restored.verify({ known: kept })).toMatchObject({ exit: 5 });
  });
});

/** Real taps and a real recorder go on with a copy, in sessions until something has come of it. */
async function session(copy: Copy, holds: () => boolean): Promise<void> {
  const world = copy.world();
  try {
    writeFileSync(join(copy.home, '.config', 'sworn', 'sworn.yaml'), configuration);
    for (let tries = 0; tries < 10; tries++) {
      const client = new Client(world.sworn(['run', '--ledger', copy.ledger, '--', process.execPath, echoServer, join(copy.folder, 'log')]));
      for (let i = 0; i < 5; i++) client.request({ tag: i });
      await client.settled();
      client.child.stdin.end();
      await client.ended;
      // what a witness says is an entry a moment later, if it says something in time
      for (let i = 0; i < 15 && anchors(copy).length === 0; i++) await sleep(100);
      await world.endRecorder();
      if (holds()) return;
    }
    throw new Error('nothing was heard of the witness');
  } finally {
    await world.end();
  }
}

describe('two histories', () => {
  it('shown to two auditors: each holds by itself, one contradicts the other, and the witness cosigns one [attack-two-histories]', async () => {
    const [one, other] = [fresh(), fresh()];
    const forger = other.forger();
    changeThisWeek(forger);
    forger.write(base.signer);
    for (const copy of [one, other]) expect(await copy.verify({ as: 'stranger' })).toMatchObject({ exit: 0 });
    // they compare what they were shown
    const known = one.kept('other', readFileSync(other.path('log', 'checkpoint')));
    expect(await one.verify({ known })).toMatchObject({ exit: 5, codes: expect.arrayContaining(['fork']) });
    // or both ask for a witness
    expect(await one.verify({ policy: policyOf(one) })).toMatchObject({ exit: 0 });
    expect(await other.verify({ policy: policyOf(other) })).toMatchObject({ exit: 4 });
  });

  it('of one size, brought to the witness: it refuses, and keeps the proof against the log [attack-equivocation]', async () => {
    const forger = fresh().forger();
    const size = Number((await shownByWitness()).split('\n')[1]);
    changeThePast(forger);
    for (let extra = forger.entries.length; extra < size; extra++) forger.records.push(forger.entry(base.size - 1));
    const answer = await fetch(`${url}/add-checkpoint`, { method: 'POST', body: `old ${size}\n\n${forger.checkpoint(base.signer, size)}` });
    expect(answer.status).toBe(409);
    expect(events).toContainEqual(expect.objectContaining({ kind: 'equivocation' }));
    expect(readdirSync(join(witnessFolder, 'evidence')).filter((name) => name.includes(`equivocation-${size}`)).length).toBeGreaterThanOrEqual(2);
  });
});

describe('what an auditor keeps', () => {
  it('a public key that was replaced, with a ledger that fits it: a pin tells, the key alone cannot [attack-vkey]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    const key = newKey(forger.origin);
    writeFileSync(join(copy.keys, 'vkey'), `${key.vkey}\n`);
    // the ledger is the true one
    expect(summary(await copy.verify())).toMatchObject({ exit: 1, codes: expect.arrayContaining(['key-changed']) });
    forger.nameKey(key);
    forger.write(key);
    expect((await copy.verify()).exit).toBe(0);
    expect((await copy.verify({ as: 'pinned' })).exit).toBe(1);
  });

  it('a kept checkpoint that was changed alarms, and never calms [attack-kept-copy]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    const [origin, size, root] = checkpointAt(base.now).split('\n') as [string, string, string];
    const other = newKey(origin).note(`${origin}\n${size}\n${root}\n`);
    expect((await copy.verify({ known: copy.kept('false', other) })).exit).toBe(1);
    const wrongRoot = checkpointAt(base.now).replace(root, Buffer.alloc(32).toString('base64'));
    expect([1, 5]).toContain((await copy.verify({ known: copy.kept('wrong', wrongRoot) })).exit);
    await expect(copy.verify({ known: copy.kept('empty', '') })).rejects.toMatchObject({ code: 'usage' });
    // a thief of the ledger's key can make one that fits what he shows; who keeps it where he can write has nothing
    changeThePast(forger);
    forger.write(base.signer);
    expect((await copy.verify({ known: copy.kept('thief', forger.checkpoint(base.signer)) })).exit).toBe(0);
  });
});

describe('a lazy operator', () => {
  it('whose checkpoints nobody cosigns does not meet the policy [attack-no-witness]', async () => {
    const copy = fresh();
    const lines = checkpointAt(base.now).split('\n');
    writeFileSync(copy.path('log', 'checkpoint'), lines.filter((line) => !line.startsWith('\u2014 w1.example ')).join('\n'));
    expect(summary(await copy.verify({ policy: policyOf(copy) }))).toEqual({ exit: 4, firstBad: undefined, codes: ['quorum'] });
  });

  it('who shows an old checkpoint: --max-age tells [attack-stale]', async () => {
    const copy = fresh();
    await sleep(2_100);
    expect(summary(await copy.verify({ policy: policyOf(copy), maxAge: '1s' }))).toEqual({ exit: 4, firstBad: undefined, codes: ['stale'] });
    expect(await copy.verify({ policy: policyOf(copy), maxAge: '1h' })).toMatchObject({ exit: 0 });
  });

  it('who counts on a witness of its own making: a cosignature by another key of the same name [attack-false-witness]', async () => {
    const copy = fresh();
    const folder = mkdtempSync(join(tmpdir(), 'sworn-witness-'));
    try {
      const false1 = await witnessKey(folder, 'w1.example');
      const policy = copy.kept('other.policy', `log ${base.vkey}\nwitness w1 ${false1.vkey}\nquorum w1\n`);
      expect(await copy.verify({ policy })).toMatchObject({ exit: 4 });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('the word of a witness that stands in the ledger', () => {
  it('contradicts a thief of the key who changes what it has seen [attack-anchored-past]', async () => {
    const copy = fresh(lived.folder);
    expect(summary(await copy.verify({ policy: policyOf(copy) }))).toEqual({ exit: 0, firstBad: undefined, codes: [] });
    const forger = copy.forger();
    changeThePast(forger);
    forger.write(base.signer);
    // without a trust file, too: the entry names a root that this tree never had. Where in it nobody can tell
    expect(summary(await copy.verify())).toEqual({ exit: 1, firstBad: 0, codes: ['anchor'] });
    expect(exits(await asked(copy))).toEqual({ stranger: 1, owner: 1, pinned: 1, keptLastWeek: 1, keptNow: 1, witness: 1 });
    expect((await copy.verify()).holdsThrough).toBe(0);
  });

  it('is bound like every entry, and under the key of a known witness [attack-anchor-edited]', async () => {
    const copy = fresh(lived.folder);
    const forger = copy.forger();
    const at = forger.entries.findIndex((_, index) => forger.leaf(index)['kind'] === 'anchor');
    forger.edit(at, (leaf) => (leaf['signature'] = `${(leaf['signature'] as string).slice(0, 40)}AAAA${(leaf['signature'] as string).slice(44)}`));
    forger.writePayload();
    forger.writeBundles();
    expect(await copy.verify()).toMatchObject({ exit: 1, firstBad: at, holdsThrough: at });
    // by a thief of the key
    forger.write(base.signer);
    expect(await copy.verify()).toMatchObject({ exit: 0 });
    expect(await copy.verify({ policy: policyOf(copy) })).toMatchObject({ exit: 1, codes: expect.arrayContaining(['anchor']) });
  });
});
