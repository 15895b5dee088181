import { expect, test } from 'vitest';
import type { PolicyEntry } from '../entry/entry.ts';
import { pinnedDefinitions, pinnedTools, targetBytes } from '../limits.ts';
import { parsePins, pinFileText, type PinFile } from './pin-file.ts';
import { Pins, type ListedTool, type Looked, type PinPlace } from './pins.ts';

const place: PinPlace = { transport: 'stdio', server: 'fs' };
const digestOf = (n: number | string): string => String(n).padStart(64, '0');
const tool = (name: string, n: number): ListedTool => ({ name, definition: digestOf(n) });
const fileOf = (servers: Record<string, Record<string, string[]>>): PinFile => ({
  digest: digestOf('f'),
  servers: new Map(Object.entries(servers).map(([server, tools]) => [server, new Map(Object.entries(tools))])),
});

/** Pins as a recorder keeps them, with entries that can be read again. */
class World {
  pins = new Pins();
  readonly entries: PolicyEntry[] = [];
  undo: () => void = () => undefined;

  list(
    tools: ListedTool[],
    { isFirst = !this.pins.has(place), file, at = place }: { isFirst?: boolean; file?: PinFile; at?: PinPlace } = {},
  ): Looked {
    const looked = this.pins.look(at, tools, isFirst, file);
    for (const { at: _, ...act } of looked.acts) this.say({ ...at, ...act });
    return looked;
  }

  say(more: Partial<PolicyEntry> & Pick<PolicyEntry, 'act'>): void {
    const entry: PolicyEntry = { v: 1, kind: 'policy', time: '2026-01-01T00:00:00.000000Z', monotonicUs: 0, ...more };
    this.undo = this.pins.apply(entry, this.entries.length);
    this.entries.push(entry);
  }

  /** What another recorder knows from the entries alone, and from a snapshot. */
  get others(): unknown[] {
    const again = new Pins();
    for (const [index, entry] of this.entries.entries()) again.apply(entry, index);
    return [again.toJSON(), Pins.from(JSON.parse(JSON.stringify(this.pins))).toJSON()];
  }
}

test('the first list is trusted, and what differs from it later waits until it is accepted', () => {
  const world = new World();
  expect(world.pins.problem(place, 'a')).toBe('unseen');
  expect(world.list([tool('a', 1), tool('b', 2)])).toMatchObject({ drifted: [], acts: [{ act: 'pin', source: 'list' }, { act: 'pin' }] });
  expect(world.list([tool('b', 2), tool('a', 1)])).toEqual({ drifted: [], acts: [] });
  expect(['a', 'b', 'c', undefined].map((name) => world.pins.problem(place, name))).toEqual([undefined, undefined, 'unlisted', 'unlisted']);
  // the name counts, and how it is reached
  expect(world.pins.problem({ ...place, server: 'other' }, 'a')).toBe('unseen');
  expect(world.pins.problem({ ...place, transport: 'http' }, 'a')).toBe('unseen');

  expect(world.list([tool('a', 3), tool('b', 2), tool('c', 4)])).toEqual({
    drifted: ['a', 'c'],
    acts: [
      { act: 'drift', tool: 'a', definition: digestOf(3), change: 'changed', previous: digestOf(1), at: 0 },
      { act: 'drift', tool: 'c', definition: digestOf(4), change: 'new', at: 2 },
    ],
  });
  expect(['a', 'b', 'c'].map((name) => world.pins.problem(place, name))).toEqual(['changed', undefined, 'new']);
  // said once; and going back is no acceptance
  expect(world.list([tool('a', 3), tool('c', 4)])).toEqual({ drifted: ['a', 'c'], acts: [] });
  expect(world.list([tool('a', 1)])).toEqual({ drifted: [], acts: [] });
  expect(world.pins.problem(place, 'a')).toBe('changed');

  world.say({ act: 'accept', ...place, tool: 'a', definition: digestOf(3), previous: digestOf(1) });
  world.say({ act: 'accept', ...place, tool: 'c', definition: digestOf(4) });
  expect(['a', 'c'].map((name) => world.pins.problem(place, name))).toEqual([undefined, undefined]);
  expect(world.list([tool('a', 1)]).drifted).toEqual(['a']);
  // beside the other one, for servers that list for some what they do not for others
  world.say({ act: 'accept', ...place, tool: 'a', definition: digestOf(1), previous: digestOf(3), also: true });
  expect(world.list([tool('a', 1), tool('a', 3)])).toEqual({ drifted: [], acts: [] });
  expect(world.others).toEqual([world.pins.toJSON(), world.pins.toJSON()]);
});

test('one name with two definitions in one list is trusted once', () => {
  const world = new World();
  expect(world.list([tool('a', 1), tool('a', 1), tool('a', 2), tool('a', 2)])).toMatchObject({
    drifted: ['a', 'a'],
    acts: [
      { act: 'pin', definition: digestOf(1) },
      { act: 'drift', change: 'changed', definition: digestOf(2), previous: digestOf(1) },
    ],
  });
  expect(world.pins.problem(place, 'a')).toBe('changed');
});

test('a file of pins decides also at first sight, beside what an administrator accepts', () => {
  const world = new World();
  const file = fileOf({ fs: { a: [digestOf(1), digestOf(7)], b: [digestOf(2)] } });
  expect(world.pins.problem(place, 'a', file)).toBe('unseen');
  expect(world.pins.problem(place, 'z', file)).toBe('file');
  expect(world.list([tool('a', 7), tool('b', 3), tool('c', 4)], { file })).toEqual({
    drifted: ['b', 'c'],
    acts: [
      { act: 'pin', tool: 'a', definition: digestOf(7), source: 'file', at: 0 },
      { act: 'drift', tool: 'b', definition: digestOf(3), change: 'changed', previous: digestOf(2), at: 1 },
      { act: 'drift', tool: 'c', definition: digestOf(4), change: 'new', at: 2 },
    ],
  });
  expect(['a', 'b', 'c'].map((name) => world.pins.problem(place, name, file))).toEqual([undefined, 'changed', 'new']);
  // another server is not in it
  expect(world.list([tool('a', 1)], { file, at: { ...place, server: 'renamed' }, isFirst: true }).drifted).toEqual(['a']);
  // the team takes the definition into the file
  expect(world.pins.problem(place, 'b', fileOf({ fs: { b: [digestOf(3)] } }))).toBeUndefined();
  world.say({ act: 'accept', ...place, tool: 'c', definition: digestOf(4) });
  expect(world.pins.problem(place, 'c', file)).toBeUndefined();
  expect(world.list([tool('c', 4)], { file })).toEqual({ drifted: [], acts: [] });
  expect(world.others).toEqual([world.pins.toJSON(), world.pins.toJSON()]);

  // trusted at first sight, before there was a file
  const before = new World();
  before.list([tool('a', 1), tool('b', 9)]);
  expect(['a', 'b'].map((name) => before.pins.problem(place, name, file))).toEqual([undefined, 'file']);
  expect(before.list([tool('b', 9)], { file }).drifted).toEqual(['b']);
});

test('what is gone is noted once and keeps nothing back', () => {
  const world = new World();
  world.list([tool('a', 1), tool('b', 2)]);
  const acts = world.pins.gone(place, new Set(['a']));
  expect(acts).toEqual([{ act: 'drift', tool: 'b', change: 'gone', previous: digestOf(2) }]);
  for (const act of acts) world.say({ ...place, ...act });
  expect(world.pins.gone(place, new Set(['a']))).toEqual([]);
  expect(world.pins.problem(place, 'b')).toBeUndefined();
  expect(world.pins.of(place, 'b')).toMatchObject({ gone: 2 });
  expect(world.others).toEqual([world.pins.toJSON(), world.pins.toJSON()]);
});

test('what could not be recorded is not known', () => {
  const world = new World();
  world.list([tool('a', 1)]);
  const before = JSON.stringify(world.pins);
  for (const more of [
    { act: 'drift', tool: 'a', definition: digestOf(2), change: 'changed' },
    { act: 'drift', tool: 'n', definition: digestOf(2), change: 'new' },
    { act: 'accept', tool: 'a', definition: digestOf(2) },
    { act: 'pin', server: 'new', tool: 'a', definition: digestOf(2), source: 'list' },
  ] as const) {
    world.say({ ...place, ...more });
    expect(JSON.stringify(world.pins)).not.toBe(before);
    world.undo();
    expect(JSON.stringify(world.pins)).toBe(before);
  }
  // none of ours
  world.say({ act: 'freeze', server: 'fs' });
  expect(JSON.stringify(world.pins)).toBe(before);
});

test('said again where its entry goes, a definition is as old as it was', () => {
  const world = new World();
  world.list([tool('a', 1)]);
  world.list([tool('a', 2)]);
  world.say({ act: 'accept', ...place, tool: 'a', definition: digestOf(2), also: true });
  const sources = (): string[] => world.pins.of(place, 'a')!.accepted.map(({ definition, source }) => `${source} ${Number(definition)}`);
  expect(sources()).toEqual(['list 1', 'accept 2']);
  world.say({ act: 'pin', ...place, tool: 'a', definition: digestOf(1), source: 'list' });
  expect(sources()).toEqual(['list 1', 'accept 2']);
  expect(world.pins.of(place, 'a')!.accepted[0]!.index).toBe(3);
});

test('bounds: definitions that wait, long names, and tools in all', () => {
  const world = new World();
  world.list([tool('a', 0)]);
  for (let n = 1; n <= pinnedDefinitions + 5; n++) expect(world.list([tool('a', n)]).drifted).toEqual(['a']);
  expect(world.pins.of(place, 'a')!.drifts).toHaveLength(pinnedDefinitions);
  expect(world.entries).toHaveLength(1 + pinnedDefinitions);

  const long = 'x'.repeat(targetBytes + 1);
  expect(world.list([tool(long, 1)], { isFirst: true }).drifted).toEqual([]);
  expect(world.pins.problem(place, `${long}y`)).toBeUndefined();
  expect(world.list([tool(`${long}y`, 2)]).drifted).toEqual([`${long}y`]);

  const many = Array.from({ length: pinnedTools }, (_, n) => tool(`t${n}`, n));
  const looked = world.list(many, { isFirst: true });
  expect(looked.acts).toHaveLength(pinnedTools - 2);
  expect(looked.drifted).toEqual([`t${pinnedTools - 2}`, `t${pinnedTools - 1}`]);
  expect(world.pins.problem(place, looked.drifted[0])).toBe('unlisted');
});

test('a file of pins is the same for the same pins, sorted, and says what is wrong with it', () => {
  const { servers } = fileOf({ b: { z: [digestOf(2), digestOf(1)], a: [digestOf(3)] }, a: {} });
  const text = pinFileText(servers);
  expect(text).toBe(`{
  "version": 1,
  "servers": {
    "a": {},
    "b": {
      "a": "${digestOf(3)}",
      "z": ["${digestOf(1)}", "${digestOf(2)}"]
    }
  }
}
`);
  const read = parsePins(text);
  expect(typeof read).not.toBe('string');
  expect(pinFileText(read as PinFile['servers'])).toBe(text);
  expect(parsePins(pinFileText(new Map()))).toEqual(new Map());
  for (const [wrong, why] of [
    ['', 'is no JSON'],
    ['[]', 'is no file of pins'],
    ['{"version":2,"servers":{}}', 'is no file of pins'],
    ['{"version":1}', 'has no "servers"'],
    ['{"version":1,"servers":{"a":[]}}', 'has no tools for "a"'],
    ['{"version":1,"servers":{"a":{"t":"00"}}}', 'has no SHA-256 (64 hex digits) for "t" of "a"'],
    ['{"version":1,"servers":{"a":{"t":[]}}}', 'has no SHA-256'],
  ] as const)
    expect(parsePins(wrong)).toContain(why);
  // names are anybody's
  expect((parsePins(`{"version":1,"servers":{"__proto__":{"constructor":"${digestOf(1)}"}}}`) as PinFile['servers']).get('__proto__')).toEqual(
    new Map([['constructor', [digestOf(1)]]]),
  );
});
