/** Every file of a ledger: edited, truncated, emptied, removed, and any byte of it flipped. */
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chance } from '../faults/power-files.ts';
import { Copy, makeBase, summary, type Base } from './base.ts';

/** How many bytes are flipped, and from which seed: `SWORN_FLIPS=20000 SWORN_SEED=… npx vitest run test/attacks/files.test.ts`. */
const flips = Number(process.env['SWORN_FLIPS'] ?? 60);
const seed = process.env['SWORN_SEED'] ?? String(Math.floor(Math.random() * 1e9));

let base: Base;
let copy: Copy;
/** All files of the log and its payload, as they are. */
const files = new Map<string, Buffer>();
beforeAll(async () => {
  base = await makeBase();
  copy = new Copy(base);
  for (const folder of ['log', 'payload']) {
    for (const found of readdirSync(copy.path(folder), { recursive: true, withFileTypes: true })) {
      if (!found.isFile()) continue;
      const path = join(found.parentPath, found.name);
      files.set(path.slice(copy.ledger.length + 1), readFileSync(path));
    }
  }
});
afterAll(() => {
  copy.remove();
  base.remove();
});

/** What `verify` says while one file is another. */
async function whileChanged(path: string, change: (full: string, bytes: Buffer) => void): ReturnType<Copy['verify']> {
  const bytes = files.get(path)!;
  const full = copy.path(path);
  try {
    change(full, Buffer.from(bytes));
    return await copy.verify();
  } finally {
    writeFileSync(full, bytes);
  }
}

/** The first entry that a byte of a file is about; `undefined`: the byte is about all of them. */
function entryAt(path: string, at: number): number | undefined {
  const bytes = files.get(path)!;
  if (path === 'log/checkpoint') return undefined;
  if (path.startsWith('payload/')) {
    let index = 0;
    for (let from = 40; from < bytes.length;) {
      const to = from + 8 + bytes.readUInt32BE(from);
      if (at < to) return at < 40 ? 0 : index;
      if (bytes[from + 8] === 1) index++;
      from = to;
    }
    return index;
  }
  const [, level, number] = /^log\/tile\/(entries|[0-9])\/([0-9]{3})/.exec(path)!;
  const first = Number(number) * 256;
  if (level !== 'entries') return (first + Math.floor(at / 32)) * 256 ** Number(level);
  let k = 0;
  for (let from = 0; from <= at; from += 2 + bytes.readUInt16BE(from)) k++;
  return first + k - 1;
}

/** A partial file of an older checkpoint may be there or not. */
function isStale(path: string): boolean {
  const width = /^log\/tile\/(?:0|entries)\/.*\.p\/([0-9]+)$/.exec(path)?.[1];
  return width !== undefined && Number(width) !== base.size % 256;
}

it('has the files that are attacked', () => {
  const kinds = [...files.keys()].map((path) => path.replace(/[0-9]{16}/, 'n').replace(/\.p\/[0-9]+/, '.p')).toSorted();
  expect([...new Set(kinds)]).toEqual([
    'log/checkpoint',
    'log/tile/0/000',
    'log/tile/0/001.p',
    'log/tile/1/000.p',
    'log/tile/entries/000',
    'log/tile/entries/001.p',
    'payload/n',
  ]);
});

describe('the checkpoint', () => {
  it('edited in its text: the signature does not hold [attack-checkpoint-edited]', async () => {
    for (const [from, to] of [
      [`\n${base.size}\n`, `\n${base.size - 1}\n`],
      [`\n${base.size}\n`, `\n${base.size + 1}\n`],
    ] as const) {
      const found = await whileChanged('log/checkpoint', (full, bytes) => writeFileSync(full, bytes.toString().replace(from, to)));
      expect(found.exit, found.headline).toBe(1);
      expect(found.codes).toContain('signature');
    }
  });

  it('truncated, emptied, removed: nothing can be concluded [attack-checkpoint-gone]', async () => {
    for (const change of [
      (full: string, bytes: Buffer) => truncateSync(full, bytes.length >> 1),
      (full: string) => truncateSync(full, 0),
      (full: string) => rmSync(full),
    ]) {
      const found = await whileChanged('log/checkpoint', change);
      expect(found).toMatchObject({ exit: 3, holdsThrough: 0 });
      expect(found.firstBad).toBeUndefined();
    }
  });
});

describe('every tile, bundle and segment', () => {
  const paths = (): string[] => [...files.keys()].filter((path) => path !== 'log/checkpoint');

  it('edited: found, with the entry [attack-file-edited]', async () => {
    for (const path of paths()) {
      const at = Math.floor(files.get(path)!.length * 0.6);
      const found = await whileChanged(path, (full, bytes) => {
        bytes[at]! ^= 0x20;
        writeFileSync(full, bytes);
      });
      expect(found.exit, path).toBe(1);
      expect(found.firstBad, path).toBe(entryAt(path, at));
      expect(found.holdsThrough, path).toBe(entryAt(path, at));
    }
  });

  it('truncated: found, with the entry [attack-file-truncated]', async () => {
    for (const path of paths()) {
      const at = Math.floor(files.get(path)!.length * 0.6);
      const found = await whileChanged(path, (full) => truncateSync(full, at));
      // a payload that was cut may be a backup that is not whole; a tile has one length
      expect(found.exit, path).toBe(path.startsWith('payload') ? 3 : 1);
      expect(found.firstBad, path).toBe(entryAt(path, at));
      expect(found.holdsThrough, path).toBe(entryAt(path, at));
    }
  });

  it('emptied: found, from its first entry on [attack-file-emptied]', async () => {
    for (const path of paths()) {
      const found = await whileChanged(path, (full) => truncateSync(full, 0));
      expect(found.exit, path).toBe(path.startsWith('payload') ? 3 : 1);
      expect(found.firstBad, path).toBe(entryAt(path, 0));
    }
  });

  it('removed: nothing can be concluded from its first entry on [attack-file-removed]', async () => {
    for (const path of paths().filter((name) => !isStale(name))) {
      const found = await whileChanged(path, (full) => rmSync(full));
      expect(found.exit, path).toBe(3);
      expect(found.firstBad, path).toBe(entryAt(path, 0));
      // the tree is rebuilt from what is left, and still has the signed root
      expect(found.holdsThrough, path).toBe(entryAt(path, 0));
    }
  });

  it('one of several segments removed, cut, or put in the place of another [attack-segment]', async () => {
    const forger = copy.forger();
    const [second, third] = [60, 150];
    try {
      forger.writePayload([0, second, third]);
      expect(summary(await copy.verify())).toEqual({ exit: 0, firstBad: undefined, codes: [] });
      const path = (first: number): string => copy.path('payload', String(first).padStart(16, '0'));
      const middle = readFileSync(path(second));
      rmSync(path(second));
      expect(summary(await copy.verify())).toEqual({ exit: 3, firstBad: second, codes: ['segment-missing'] });
      writeFileSync(path(second), middle.subarray(0, middle.length - 5));
      expect(await copy.verify()).toMatchObject({ exit: 1, firstBad: third - 1 });
      writeFileSync(path(second), readFileSync(path(third)));
      expect(await copy.verify()).toMatchObject({ exit: 1, firstBad: second });
    } finally {
      rmSync(copy.path('payload'), { recursive: true });
      mkdirSync(copy.path('payload'));
      const [name, bytes] = [...files].find(([path]) => path.startsWith('payload/'))!;
      writeFileSync(copy.path(name), bytes);
    }
  });
});

it('files that are no part of the log are told, and nothing else [attack-stray]', async () => {
  const path = copy.path('payload', 'notes.txt');
  writeFileSync(path, 'not a segment');
  const found = await copy.verify();
  rmSync(path);
  expect(found.exit).toBe(0);
  expect(found.notChecked.join()).toContain('payload/notes.txt');
});

it('any byte flipped: found, and where [attack-flip]', async () => {
  const random = chance(seed);
  const names = [...files.keys()];
  console.log(`seed ${seed}, ${flips} flips`);
  for (let i = 0; i < flips; i++) {
    const path = names[Math.floor(random() * names.length)]!;
    const at = position(path, random);
    const bit = 1 << Math.floor(random() * 8);
    const found = await whileChanged(path, (full, bytes) => {
      bytes[at]! ^= bit;
      writeFileSync(full, bytes);
    });
    const where = `seed ${seed}, flip ${i}: ${path}, byte ${at}, bit ${bit}: ${found.headline}`;
    expect(found.exit, where).not.toBe(0);
    if (path === 'log/checkpoint') expect([1, 3], where).toContain(found.exit);
    else {
      expect(found.exit, where).toBe(1);
      expect(found.firstBad, where).toBe(entryAt(path, at));
    }
  }
}, 600_000);

/** Long records would take nearly all flips: a record is chosen first. */
function position(path: string, random: () => number): number {
  const bytes = files.get(path)!;
  if (!path.startsWith('payload/')) return Math.floor(random() * bytes.length);
  const records: [number, number][] = [[0, 40]];
  for (let from = 40; from < bytes.length; from += 8 + bytes.readUInt32BE(from)) records.push([from, from + 8 + bytes.readUInt32BE(from)]);
  const [from, to] = records[Math.floor(random() * records.length)]!;
  // the beginning of a record decides most
  return from + Math.floor((random() < 0.3 ? Math.min(30, to - from) : to - from) * random());
}
