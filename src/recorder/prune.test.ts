/** The pruner on a real ledger, without sockets: how far it goes, what it restates, and that everything which is left holds. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encryptedScratch, scratch, type Scratch } from '../../test/faults/world.ts';
import { beginMs, day, PruneWorld } from '../../test/prune-world.ts';
import { verifySame } from '../../test/spread.ts';
import { KeyFolders } from '../cli/openers.ts';
import { directorySource } from '../cli/verify-files.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { Files } from '../ledger/files.ts';
import { PublishedLog } from '../readers/published.ts';
import { firstIndexOf, indexSince, readEntries, readEntriesBackwards, readEntryAt, sizeOf } from '../readers/entries.ts';
import { readSessions } from '../readers/sessions.ts';
import { choose } from '../report/choose.ts';
import { writeReportData } from '../report/data.ts';
import { parseCheckpoint } from '../tlog/checkpoint.ts';
import { parseNote, parseVkey } from '../tlog/note.ts';
import { verifyConsistency } from '../tlog/proof.ts';
import { tilePath } from '../tlog/tile.ts';
import { verifyReport } from '../verify/report.ts';
import { verifyLedger, type Verification } from '../verify/verifier.ts';

let at: Scratch;
let worlds: PruneWorld[];
beforeEach(() => {
  at = scratch();
  worlds = [];
});
afterEach(async () => {
  for (const world of worlds) await world.ledger.close();
  at.remove();
});

function opened(files?: Files, segmentBytes?: number): PruneWorld {
  const world = new PruneWorld(at, files, segmentBytes === undefined ? {} : { segmentBytes });
  worlds.push(world);
  return world;
}

/** The recorder ends, and another one begins. */
async function next(world: PruneWorld): Promise<PruneWorld> {
  await world.ledger.close();
  worlds = worlds.filter((one) => one !== world);
  const after = opened();
  after.nowMs = world.nowMs;
  return after;
}

const vkeyOf = (world: PruneWorld) => parseVkey(nodeCrypto, world.ledger.key.vkey)!;

async function verified(world: PruneWorld, known?: { size: number; root: Uint8Array }): Promise<Verification> {
  await world.ledger.publish();
  return verifySame({ crypto: nodeCrypto, source: directorySource(at.folder), vkeys: [vkeyOf(world)], ...(known === undefined ? {} : { known }) });
}

/** What is no note, and the notes about pruning. */
function told({ findings }: Verification): string[] {
  return findings.filter(({ severity, code }) => severity !== 'note' || code === 'pruned').map(({ severity, code }) => `${severity} ${code}`);
}

function checkpoint(): { size: number; root: Uint8Array } {
  return parseCheckpoint(parseNote(readFileSync(join(at.folder, 'log/checkpoint')))!.text)!;
}

function bundles(): number[] {
  const folder = join(at.folder, 'log/tile/entries');
  return readdirSync(folder)
    .filter((name) => /^\d{3}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

function segments(): number[] {
  return readdirSync(join(at.folder, 'payload'))
    .map(Number)
    .sort((a, b) => a - b);
}

/** Sessions of 10 calls each (23 entries), one a day, one after the other. */
async function days(world: PruneWorld, count: number, first = 0): Promise<void> {
  for (let i = first; i < first + count; i++) {
    world.nowMs = Math.max(world.nowMs, beginMs + i * day);
    await world.session(`s${i}`, 10);
  }
}

async function written(count = 60): Promise<PruneWorld> {
  const world = opened();
  await world.start();
  await days(world, count);
  await world.ledger.publish();
  return world;
}

const older = (ageDays: number) => ({ beforeMs: beginMs + ageDays * day, ageMs: 400 * day });

describe('pruning', () => {
  it('takes whole bundles of sessions that are old enough, and all that is left holds', async () => {
    const world = await written();
    const before = checkpoint();
    expect(told(await verified(world))).toEqual([]);
    // entries 1 to 920 are older
    expect(await world.pruner.prune(older(40), { policyDigest: 'ab'.repeat(32) })).toMatchObject({ from: 0, end: 768, entry: 1381 });
    expect(bundles()[0]).toBe(3);
    expect(segments()[0]).toBeGreaterThan(0);
    const after = await verified(world, before);
    expect(told(after)).toEqual(['note pruned']);
    expect(after).toMatchObject({ exit: 0, pruned: { index: 1381, entry: { end: 768, ageMs: 400 * day } } });
    expect(after.findings[0]!.message).toBe(
      'entries 0–767 were pruned on 2025-03-01 by policy abababab…, which keeps entries for 400 days (entry 1381): their hashes are in the tree, their text is gone',
    );
    expect(after.holdsThrough).toBe(after.size);
    // nothing of the text is anywhere
    for (const segment of segments())
      expect(readFileSync(join(at.folder, 'payload', String(segment).padStart(16, '0'))).includes('"client":"s3"')).toBe(false);
    // again: nothing is left to go
    expect(await world.pruner.prune(older(40), {})).toMatchObject({ from: 768, end: 768 });
    await days(world, 20, 60);
    await world.ledger.publish();
    expect(await world.pruner.prune(older(70), {})).toMatchObject({ from: 768, end: 1536 });
    expect(told(await verified(world, before))).toEqual(['note pruned']);
    expect(told(await verified(world, { size: before.size, root: new Uint8Array(32) }))).toEqual(['note pruned', 'rollback fork']);
    expect(told(await verified(world, { size: 300, root: new Uint8Array(32) }))).toEqual(['note pruned', 'rollback fork']);
  });

  it('leaves a ledger of which a report is made, whose key follows from what is restated', async () => {
    const world = await written(40);
    const { end } = await world.pruner.prune(older(23), {});
    await world.ledger.publish();
    const log = new PublishedLog(at.folder);
    const texts = new Map<string, string>();
    const made = { witnesses: [], isWithheld: false, filter: '', later: 0, madeAt: '', version: '', name: '' };
    const { headText } = await writeReportData(
      log,
      choose(log, { first: end, end: log.size }, undefined),
      made,
      (name, text) => void texts.set(name, text),
    );
    const source = { head: async () => headText, chunk: async (name: string) => texts.get(name), names: () => [...texts.keys()] };
    const vkeys = [parseVkey(nodeCrypto, world.ledger.key.vkey)!];
    const result = await verifyReport({ crypto: nodeCrypto, source, vkeys, wanted: { nowS: 0 } });
    expect(result.findings).toEqual([]);
    expect(result).toMatchObject({ exit: 0, isKeyKnown: true, shown: log.size - end, inRange: log.size - end, size: log.size });
  });

  it('proves every entry and every size that is left, and every size that is not', async () => {
    const world = await written(40);
    for (const ageDays of [12, 23, 35]) {
      const { end } = await world.pruner.prune(older(ageDays), {});
      await world.ledger.publish();
      const log = new PublishedLog(at.folder);
      expect(log.first).toBe(end);
      expect(log.vkey).toBe(world.ledger.key.vkey);
      for (let index = end; index < log.size; index++) log.inclusion(index, log.leaf(index));
      const { root } = log.checkpoint;
      for (const size1 of [1, 255, 256, 257, end - 1, end, end + 1, log.size - 1]) {
        const proof = log.consistency(size1);
        expect(verifyConsistency(nodeCrypto, { size1, root1: rootAt(size1), size2: log.size, root2: root, proof })).toBe(true);
      }
      expect(told(await verified(world))).toEqual(['note pruned']);
    }

    function rootAt(size: number): Uint8Array {
      const hashes: Uint8Array[] = [];
      for (let index = 0; index < size; index++) {
        const n = Math.floor(index / 256);
        const full = join(at.folder, 'log', tilePath(0, n));
        const tile = readFileSync(existsSync(full) ? full : join(at.folder, 'log', tilePath(0, n, checkpoint().size % 256)));
        hashes.push(tile.subarray((index % 256) * 32, (index % 256) * 32 + 32));
      }
      return treeRoot(hashes);
    }
    function treeRoot(hashes: Uint8Array[]): Uint8Array {
      if (hashes.length === 1) return hashes[0]!;
      let split = 1;
      while (split * 2 < hashes.length) split *= 2;
      return nodeCrypto.sha256(Uint8Array.of(1), treeRoot(hashes.slice(0, split)), treeRoot(hashes.slice(split)));
    }
  });

  it('is read like any other ledger', async () => {
    const world = await written();
    await world.open('cut');
    for (let i = 0; i < 400; i++) await world.call('cut');
    await world.close('cut');
    await world.ledger.publish();
    world.nowMs += 30 * day;
    await world.session('new', 5);
    expect(await world.pruner.prune({ end: 1700 }, {})).toMatchObject({ end: 1280, obstacle: { what: 'session', index: 1381 } });
    expect(await world.pruner.prune({ beforeMs: world.nowMs - day }, {})).toMatchObject({ from: 1280, end: 2048 });
    await world.ledger.publish();
    expect(firstIndexOf(at.folder)).toBe(2048);
    expect(await sizeOf(at.folder)).toBe(world.ledger.size);
    const indexes: number[] = [];
    for await (const { index, content } of readEntries(at.folder, { content: true })) {
      expect(content).toBeDefined();
      indexes.push(index);
    }
    expect(indexes).toEqual(Array.from({ length: world.ledger.size - 2048 }, (_, i) => 2048 + i));
    const backwards: number[] = [];
    for await (const { index } of readEntriesBackwards(at.folder)) backwards.push(index);
    expect(backwards.reverse()).toEqual(indexes);
    expect(await readEntryAt(at.folder, 2047)).toBeUndefined();
    expect((await readEntryAt(at.folder, 2048))!.content).toBeDefined();
    expect(await indexSince(at.folder, 0)).toBeLessThanOrEqual(2048);
    // what its `open` said is said again
    expect((await readSessions(at.folder)).find(({ index }) => index === 2048)).toMatchObject({
      server: 'files',
      mode: 'commit',
      custody: 'same-user',
    });
    expect(told(await verified(world))).toEqual(['note pruned']);
  });

  it('leaves sessions that are open or younger, whatever is older behind them', async () => {
    const world = opened();
    await world.start();
    await days(world, 15);
    await world.open('long');
    await days(world, 30, 15);
    await world.ledger.publish();
    expect(await world.pruner.prune(older(40), {})).toMatchObject({ end: 256, obstacle: { what: 'session', index: 346 } });
    await world.close('long');
    // it ended later than what is asked for
    expect(await world.pruner.prune(older(40), {})).toMatchObject({ end: 256, obstacle: { what: 'session', index: 346 } });
    expect(told(await verified(world))).toEqual(['note pruned']);
    await days(world, 15, 45);
    await world.ledger.publish();
    // now it goes with its last entry, but for what stands behind the bound
    expect(await world.pruner.prune(older(47), {})).toMatchObject({ end: 1024 });
    const after = await verified(world);
    expect(told(after)).toEqual(['note pruned']);
    expect(after.pruned!.entry.connections).toMatchObject([{ index: 346, mode: 'commit' }, { index: 1015 }]);
  });

  it('leaves what a hold covers and everything behind it, and what is in force', async () => {
    const world = await written();
    await world.hold({ server: 'files', sinceMs: beginMs + 20 * day, reason: 'case 7' });
    expect(await world.pruner.prune(older(40), {})).toMatchObject({ end: 256, obstacle: { what: 'hold', name: 'case 7', index: 461 } });
    world.holds = [];
    world.freezes = [{ id: 300 } as never];
    expect(await world.pruner.prune(older(40), {})).toMatchObject({ end: 256, obstacle: { what: 'freeze', index: 300 } });
    world.freezes = [];
    world.witnessedSize = 600;
    expect(await world.pruner.prune(older(40), {})).toMatchObject({ end: 512, obstacle: { what: 'witness', index: 600 } });
    expect(told(await verified(world))).toEqual(['note pruned']);
  });

  it('takes a hold that comes while it looks', async () => {
    const world = await written();
    const asked = world.pruner.prune(older(40), {});
    await world.hold({ reason: 'all' });
    expect(await asked).toMatchObject({ from: 0, end: 0, obstacle: { what: 'hold' } });
    expect(bundles()[0]).toBe(0);
  });

  it('takes no entry that is not published', async () => {
    const world = opened();
    await world.start();
    await days(world, 30);
    expect(await world.pruner.prune(older(40), {})).toMatchObject({ end: 0, obstacle: { what: 'published', index: 0 } });
  });

  it('does not part a frame from its entry', async () => {
    const world = opened();
    await world.start();
    await days(world, 10);
    await world.open('frames');
    await world.open('other');
    const parts = [await world.part('frames', Buffer.alloc(5_000, 1)), await world.part('frames', Buffer.alloc(70_000, 2))];
    for (let i = 0; i < 120; i++) await world.call('other');
    const index = await world.message('frames', 'request', 'the last unit', undefined, parts);
    expect(index).toBeGreaterThan(256);
    await world.close('frames');
    await world.close('other');
    await days(world, 30, 20);
    await world.ledger.publish();
    expect(await world.pruner.prune({ end: 300 }, {})).toMatchObject({ end: 0, obstacle: { what: 'session' } });
    expect(await world.pruner.prune({ beforeMs: world.nowMs - 20 * day }, {})).toMatchObject({ end: 512 });
    expect(told(await verified(world))).toEqual(['note pruned']);
  });

  it('keeps a frame whose parts lie before the bound', async () => {
    const world = opened();
    await world.start();
    await days(world, 10);
    await world.open('frames');
    await world.open('other');
    const parts = [await world.part('frames', Buffer.alloc(5_000, 1))];
    for (let i = 0; i < 120; i++) await world.call('other');
    await world.message('frames', 'request', 'the last unit', undefined, parts);
    await world.close('frames');
    await world.close('other');
    const end = world.ledger.size + 20;
    await days(world, 1, 12);
    expect(Math.floor(end / 256)).toBe(1);
    await world.ledger.publish();
    // 256 lies between the part and its entry
    expect(await world.pruner.prune({ beforeMs: world.nowMs + 1 }, {})).toMatchObject({ end: 0, obstacle: { what: 'parts' } });
  });

  it('keeps it too when we answer something meanwhile, the same way', async () => {
    const world = opened();
    await world.start();
    await days(world, 10);
    await world.open('frames');
    await world.open('other');
    const asked = await world.message('frames', 'request', 'for something long');
    const parts = [await world.part('frames', Buffer.alloc(5_000, 1), 1)];
    const refused = await world.message('frames', 'request', 'what is refused');
    await world.message('frames', 'result', 'no', refused, [], true);
    for (let i = 0; i < 120; i++) await world.call('other');
    await world.message('frames', 'result', 'the last unit', asked, parts);
    await world.close('frames');
    await world.close('other');
    await days(world, 1, 12);
    await world.ledger.publish();
    expect(told(await verified(world))).toEqual([]);
    expect(await world.pruner.prune({ beforeMs: world.nowMs + 1 }, {})).toMatchObject({ end: 0, obstacle: { what: 'parts' } });
    expect(told(await verified(world))).toEqual([]);
  });

  it('keeps a part that is the last record of a file whose entries may go', async () => {
    const world = opened();
    await world.start();
    await days(world, 10);
    await world.open('frames');
    // entry 255 is the last one before the part, and what comes behind it begins a file
    while (world.ledger.nextIndex < 255) await world.call('frames');
    if (world.ledger.nextIndex < 256) await world.message('frames', 'request', 'one more');
    const parts = [await world.part('frames', Buffer.alloc(5_000, 1))];
    world.ledger.closeSegmentOf(255);
    await world.message('frames', 'request', 'the last unit', undefined, parts);
    await world.close('frames');
    await days(world, 1, 12);
    await world.ledger.publish();
    expect(segments()).toContain(256);
    expect(told(await verified(world))).toEqual([]);
    expect(await world.pruner.prune({ beforeMs: world.nowMs + 1 }, {})).toMatchObject({ end: 0, obstacle: { what: 'parts', index: 255 } });
    expect(told(await verified(world))).toEqual([]);
  });

  it('goes on after every start, with and without a snapshot', async () => {
    let world = await written();
    await world.pruner.prune(older(30), {});
    world = await next(world);
    expect(world.state.pruned).toMatchObject({ end: 512, isPending: true });
    world.pruner.resume();
    await world.eraser.exclusive(async () => undefined);
    expect(world.pruner.status).toMatchObject({ end: 512 });
    await world.start();
    await days(world, 10, 60);
    expect(await world.pruner.prune(older(50), {})).toMatchObject({ from: 512, end: 1024 });
    expect(told(await verified(world))).toEqual(['note pruned']);
    world = await next(world);
    expect(world.ledger.leafHashAt(3)).toEqual(Buffer.from(readFileSync(join(at.folder, 'log', tilePath(0, 0))).subarray(96, 128)));
  });

  it('starts without its published checkpoint, but not without the hashes of what is gone', async () => {
    let world = await written();
    await world.pruner.prune(older(40), {});
    rmSync(join(at.folder, 'log/checkpoint'));
    const { size } = world.ledger;
    world = await next(world);
    expect(world.ledger.size).toBe(size);
    await world.start();
    await world.ledger.publish();
    expect(told(await verified(world))).toEqual(['note pruned']);
    await world.ledger.close();
    worlds = [];
    const tile = join(at.folder, 'log', tilePath(0, 1));
    const bytes = readFileSync(tile);
    rmSync(join(at.folder, 'log/checkpoint'));
    rmSync(tile);
    expect(() => opened()).toThrow('has their hashes');
    bytes[77]! ^= 1;
    writeFileSync(tile, bytes);
    expect(() => opened()).toThrow('another root');
  });

  it('takes the beginning of encrypted segments, and keeps no key of what is gone', async () => {
    at.remove();
    const encrypted = encryptedScratch();
    at = encrypted;
    const first = opened();
    const { id } = first.ledger;
    await first.ledger.encrypt(encrypted.encryption);
    let world = first;
    await world.start();
    await days(world, 60);
    await world.ledger.publish();
    await world.pruner.prune(older(40), {});
    expect(bundles()[0]).toBe(3);
    const keys = readFileSync(join(world.ledger.keysFolder, 'segment-keys'), 'utf8');
    const named = [...keys.matchAll(/\b(\d{16})\b/g)].map(([, name]) => Number(name));
    expect(named.length).toBeGreaterThan(1);
    expect(named.filter((name) => !segments().includes(name))).toEqual([]);
    world = await next(world);
    expect(world.ledger.id).toBe(id);
    await world.ledger.encrypt(encrypted.encryption);
    await world.start();
    await world.ledger.publish();
    const result = await verifyLedger({
      crypto: nodeCrypto,
      source: directorySource(at.folder),
      vkeys: [vkeyOf(world)],
      openers: new KeyFolders(at.keysHome).openers,
    });
    expect(told(result)).toEqual(['note pruned']);
    expect(result.contentBytes).toBeGreaterThan(10_000);
    // it can be erased from, too
    expect(await world.eraser.erase({ scope: 'index', targets: [[770, 800]], paths: [] }, {})).not.toHaveProperty('unfinished');
  });

  it('cuts no segment that cannot be opened, and takes it as a whole', async () => {
    at.remove();
    const encrypted = encryptedScratch();
    at = encrypted;
    const world = opened(undefined, 1024 * 1024);
    await world.ledger.encrypt(encrypted.encryption);
    await world.start();
    await days(world, 20);
    world.ledger.closeSegmentOf(world.ledger.nextIndex - 1);
    await days(world, 20, 20);
    await world.ledger.encrypt(undefined);
    await days(world, 20, 40);
    await world.ledger.publish();
    // the first segment is in the clear, as it was begun before
    const [, first, , last] = segments();
    rmSync(join(world.ledger.keysFolder, 'segment-keys'));
    const { size } = world.ledger;
    await world.ledger.close();
    const after = new PruneWorld(at, undefined, { from: size - 1 });
    worlds = [after];
    after.nowMs = world.nowMs;
    const within = await after.pruner.prune(older(30), {});
    expect(within).toMatchObject({ from: 0, obstacle: { what: 'encrypted', index: first } });
    expect(within.unfinished).toBeUndefined();
    expect(within.end).toBe(0);
    const all = await after.pruner.prune(older(55), {});
    expect(all.end).toBeGreaterThan(last!);
    expect(all.unfinished).toBeUndefined();
    expect(segments()[0]).toBe(last);
    expect(told(await verified(after))).toEqual(['note pruned']);
  });
});
