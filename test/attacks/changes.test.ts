/** Entries that are changed, taken away, put in, doubled or exchanged by somebody without the key, who makes more and more of the copies fit. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Copy, makeBase, summary, type Base, type Places } from './base.ts';
import type { Forger } from './forger.ts';

let base: Base;
beforeAll(async () => void (base = await makeBase()));
afterAll(() => base.remove());
const copies: Copy[] = [];
afterEach(() => {
  for (const copy of copies.splice(0)) copy.remove();
});
function fresh(): Copy {
  const copy = new Copy(base);
  copies.push(copy);
  return copy;
}

interface Change {
  name: string;
  /** Returns the first entry that is not what was recorded. */
  make: (forger: Forger, at: Places) => number;
}

const edited = (name: keyof Places, change: (leaf: Record<string, unknown>) => void): Change['make'] => {
  return (forger, at) => {
    forger.edit(at[name], change);
    return at[name];
  };
};

const changes: Change[] = [
  { name: 'a request', make: edited('request', (leaf) => (leaf['target'] = 'loot')) },
  {
    name: 'what a request says, with a commitment that fits',
    make: (forger, at) => {
      forger.rewrite(at.request, (bytes) => Buffer.from(bytes.toString().replace('the ledger', 'nothing')));
      return at.request;
    },
  },
  {
    name: 'a result',
    make: (forger, at) => {
      forger.rewrite(at.result, (bytes) => Buffer.from(bytes.toString().replace('seen', 'lost')));
      return at.result;
    },
  },
  { name: 'an error', make: edited('error', (leaf) => (leaf['code'] = -32_603)) },
  { name: 'a principal', make: edited('principal', (leaf) => (leaf['uid'] = 4711)) },
  { name: 'a verdict', make: edited('refused', (leaf) => (leaf['verdict'] = 'pass')) },
  { name: 'a time', make: edited('result', (leaf) => (leaf['time'] = '2001-01-01T00:00:00.000000Z')) },
  { name: 'an item of a batch', make: edited('batch', (leaf) => (leaf['items'] = 1)) },
];

const moves: Change[] = [
  {
    name: 'one taken away',
    make: (forger, at) => {
      forger.remove(at.result);
      return at.result;
    },
  },
  {
    name: 'an exchange taken away, and all numbers mended',
    make: (forger, at) => {
      forger.forget([at.request, at.result]);
      return at.request;
    },
  },
  {
    name: 'one put in',
    make: (forger, at) => {
      const copied = { ...forger.entry(at.result), leaf: Buffer.from(JSON.stringify({ ...forger.leaf(at.result), durationUs: 1 })) };
      forger.insert(at.error, copied);
      return at.error;
    },
  },
  {
    name: 'one twice',
    make: (forger, at) => {
      forger.duplicate(at.request);
      return at.request + 1;
    },
  },
  {
    name: 'two exchanged',
    make: (forger, at) => {
      forger.swap(at.request, at.result);
      return at.request;
    },
  },
  {
    name: 'two exchanged that are far apart',
    make: (forger, at) => {
      forger.swap(at.error, at.long);
      return Math.min(at.error, at.long);
    },
  },
];

/** What the attacker makes fit, and what then tells: the finding, and how exactly it names the place. */
const extents: { name: string; write: (forger: Forger) => void; code: string; index: (at: number) => number | undefined }[] = [
  { name: 'in the payload', write: (forger) => forger.writePayload(), code: 'leaf', index: (at) => at },
  { name: 'in the bundles', write: (forger) => forger.writeBundles(), code: 'bundle', index: (at) => at },
  {
    name: 'in both',
    write: (forger) => {
      forger.writePayload();
      forger.writeBundles();
    },
    code: 'tile',
    index: (at) => at,
  },
  {
    name: 'in both and the lowest tiles',
    write: (forger) => {
      forger.writePayload();
      forger.writeBundles();
      forger.writeTiles(undefined, 1);
    },
    code: 'tile',
    // one hash of the tile above stands for 256 entries
    index: (at) => 256 * Math.floor(at / 256),
  },
  // nothing is left that tells where
  { name: 'everywhere, under the old signature', write: (forger) => forger.write(), code: 'root', index: () => undefined },
];

describe.each(extents)('changed $name: found, and where [attack-change]', ({ write, code, index }) => {
  it.each(changes)('$name', async ({ make }) => {
    const copy = fresh();
    const forger = copy.forger();
    const at = make(forger, base.at);
    write(forger);
    const found = await copy.verify();
    expect(found, found.headline).toMatchObject({ exit: 1 });
    expect(found.codes).toContain(code);
    expect(found.firstBad).toBe(index(at));
    // from below 256 entries nothing is left that proves the first of them
    expect(found.holdsThrough).toBe(index(at) ?? 0);
    for (const as of ['stranger', 'pinned'] as const) expect((await copy.verify({ as })).exit).toBe(1);
  });
});

describe.each(extents)('moved $name: found, and where [attack-move]', ({ name: extent, write, index }) => {
  it.each(moves)('$name', async ({ make }) => {
    const copy = fresh();
    const forger = copy.forger();
    const at = make(forger, base.at);
    write(forger);
    const found = await copy.verify({ as: 'pinned' });
    if (forger.entries.length >= base.size) expect(found.exit, found.headline).toBe(1);
    // fewer than were signed: what lacks may be lost as well as hidden
    else expect([1, 3], found.headline).toContain(found.exit);
    if (index(at) === at) {
      expect(found.exit, found.headline).toBe(1);
      expect(found.firstBad, extent).toBe(at);
      expect(found.holdsThrough).toBe(at);
    } else if (found.firstBad !== undefined) expect(found.firstBad).toBeGreaterThanOrEqual(256 * Math.floor(at / 256));
  });
});

describe('what was kept elsewhere says how far the past is what it was', () => {
  const lastWeek = (): string => readFileSync(join(base.lastWeek, 'ledger', 'log', 'checkpoint'), 'utf8');

  it('a change behind it leaves what was before proven [attack-change-behind-known]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    forger.edit(base.at.long, (leaf) => (leaf['method'] = 'other'));
    forger.write();
    expect(base.at.long).toBeGreaterThan(base.lastWeekSize);
    const found = await copy.verify({ known: copy.kept('old', lastWeek()) });
    expect(summary(found)).toEqual({ exit: 1, firstBad: undefined, codes: ['root'] });
    expect(found.holdsThrough).toBe(base.lastWeekSize);
  });

  it('a change before it is also a fork [attack-change-before-known]', async () => {
    const copy = fresh();
    const forger = copy.forger();
    forger.edit(base.at.request, (leaf) => (leaf['target'] = 'loot'));
    forger.write();
    const found = await copy.verify({ known: copy.kept('old', lastWeek()) });
    expect(summary(found)).toEqual({ exit: 1, firstBad: undefined, codes: ['fork', 'root'] });
    expect(found.holdsThrough).toBe(0);
  });
});

it('nobody touched it: everybody finds that it holds [attack-none]', async () => {
  const copy = fresh();
  for (const as of ['stranger', 'owner', 'pinned'] as const)
    expect(summary(await copy.verify({ as }))).toEqual({ exit: 0, firstBad: undefined, codes: [] });
  // and the forger's own hand is not what is found
  copy.forger().write(base.signer);
  expect(summary(await copy.verify({ as: 'pinned' }))).toEqual({ exit: 0, firstBad: undefined, codes: [] });
});
