/** Pins on a real ledger: what is left of them when another recorder begins, when content is erased, and when entries are pruned. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { scratch, type Scratch } from '../../test/faults/world.ts';
import { beginMs, day, PruneWorld } from '../../test/prune-world.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { PolicyEntry } from '../entry/entry.ts';
import { definitionDigest } from '../mcp/definition.ts';
import { readEntries } from '../readers/entries.ts';
import { readAccept } from './pin-request.ts';
import { stricter } from './pins.ts';

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

function opened(): PruneWorld {
  const world = new PruneWorld(at);
  worlds.push(world);
  return world;
}

async function next(world: PruneWorld): Promise<PruneWorld> {
  await world.ledger.close();
  worlds = worlds.filter((one) => one !== world);
  return opened();
}

const place = { transport: 'stdio', server: 'fs' } as const;
const definition = (name: string, description: string): { name: string; description: string } => ({ name, description });
const digestOf = (value: object): string => definitionDigest(nodeCrypto, value);

async function say(world: PruneWorld, more: Partial<PolicyEntry> & Pick<PolicyEntry, 'act'>, defined?: object): Promise<number> {
  const entry = { ...world.common('policy'), ...place, ...more, ...(defined === undefined ? {} : { definition: digestOf(defined) }) };
  world.pinner.pins.apply(entry, world.ledger.nextIndex);
  return world.append(entry, defined === undefined ? {} : { defined });
}

async function definedIn(world: PruneWorld, from: number): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const { entry, content } of readEntries(world.folder, { from, content: true }))
    if (entry.kind === 'policy' && entry.tool !== undefined)
      found.push([entry.act, entry.tool, entry.source ?? entry.change, content?.attributes['defined']]);
  return found;
}

test('pruning says again what is pinned and what waits, with what is left of the definitions, and the next recorder knows it', async () => {
  const world = opened();
  await world.start();
  const [read, put, later, other] = [definition('read', 'one'), definition('put', 'two'), definition('read', 'later'), definition('read', 'other')];
  await say(world, { act: 'pin', tool: 'read', source: 'list' }, read);
  const erased = await say(world, { act: 'pin', tool: 'put', source: 'file' }, put);
  await say(world, { act: 'pin', tool: 'old', source: 'list' }, definition('old', 'gone'));
  await say(world, { act: 'drift', tool: 'old', change: 'gone' });
  await say(world, { act: 'drift', tool: 'read', change: 'changed' }, later);
  await say(world, { act: 'accept', tool: 'read', previous: digestOf(read) }, later);
  await say(world, { act: 'drift', tool: 'read', change: 'changed' }, other);
  for (let i = 0; i < 40; i++) {
    world.nowMs = beginMs + i * day;
    await world.session(`s${i}`, 10);
  }
  await world.ledger.publish();
  expect(await world.eraser.erase({ scope: 'index', targets: [[erased, erased]], paths: [] }, {})).toMatchObject({ attributes: 1 });
  const before = world.pinner.pins.toJSON();
  const { end } = await world.pruner.prune({ beforeMs: beginMs + 30 * day }, {});
  expect(end).toBeGreaterThan(10);
  const after = await next(world);
  const shape = (pins: unknown): unknown =>
    JSON.parse(JSON.stringify(pins, (name, value: unknown) => (name === 'index' || name === 'gone' ? undefined : value)));
  expect(shape(after.pinner.pins.toJSON())).toEqual(shape(before));
  for (const { pinned } of after.pinner.pins.all())
    for (const { index } of [...pinned.accepted, ...pinned.drifts, { index: pinned.gone ?? end }]) expect(index).toBeGreaterThanOrEqual(end);
  expect(await definedIn(after, end)).toEqual([
    ['pin', 'read', 'accept', later],
    ['drift', 'read', 'changed', other],
    ['pin', 'put', 'file', undefined],
    ['pin', 'old', 'list', definition('old', 'gone')],
    ['drift', 'old', 'gone', undefined],
  ]);
  // said again once: the next pruning finds it behind its bound
  const size = after.ledger.nextIndex;
  expect(await after.pinner.restate(end)).toBe(true);
  expect(after.ledger.nextIndex).toBe(size);
});

test('an acceptance names one recorded definition, and what is wrong with it is said', () => {
  const world = opened();
  const one = digestOf(definition('read', 'one'));
  const two = digestOf(definition('read', 'two'));
  const { pins } = world.pinner;
  const apply = (more: Partial<PolicyEntry> & Pick<PolicyEntry, 'act'>): unknown =>
    pins.apply({ ...world.common('policy'), ...place, tool: 'read', ...more }, 1);
  apply({ act: 'pin', definition: one, source: 'list' });
  apply({ act: 'drift', definition: two, change: 'changed' });
  const asked = { ...place, tool: 'read', definition: two };
  expect(readAccept(asked, pins)).toEqual({ ...place, tool: 'read', definition: two, previous: one });
  expect(readAccept({ ...asked, also: true, reason: 'x' }, pins)).toEqual({ ...asked, previous: one, also: true, reason: 'x' });
  expect(readAccept({ ...asked, definition: one }, pins)).toEqual({ ...asked, definition: one });
  for (const [more, code] of [
    [{ server: 7 }, 'usage'],
    [{ transport: 'carrier pigeon' }, 'usage'],
    [{ definition: 'ff' }, 'usage'],
    [{ reason: '' }, 'usage'],
    [{ tool: 'none' }, 'not-found'],
    [{ transport: 'http' }, 'not-found'],
    [{ definition: '0'.repeat(64) }, 'not-found'],
  ] as const)
    expect(readAccept({ ...asked, ...more }, pins), JSON.stringify(more)).toMatchObject({ code });
});

test('of what rules and pins say the stricter counts, and whoever is asked is told both', () => {
  const pin = (kind: 'flag' | 'ask' | 'block') => ({ kind, rule: 'sworn:pin', reason: 'drop was changed' }) as const;
  const ask = { kind: 'ask', rule: 'pay', reason: 'Payments need a person' } as const;
  expect(stricter(ask, undefined)).toBe(ask);
  expect(stricter(ask, pin('block'))).toEqual(pin('block'));
  expect(stricter({ kind: 'pass' }, pin('ask'))).toEqual(pin('ask'));
  for (const kind of ['flag', 'ask'] as const) {
    expect(stricter(ask, pin(kind))).toEqual({ ...ask, reason: 'Payments need a person; drop was changed' });
    expect(stricter({ kind: 'ask', rule: 'pay' }, pin(kind))).toEqual({ kind: 'ask', rule: 'pay', reason: 'drop was changed' });
  }
  expect(stricter({ kind: 'block', rule: 'no' }, pin('ask'))).toEqual({ kind: 'block', rule: 'no' });
});
