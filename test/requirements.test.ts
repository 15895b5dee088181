import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { requirements } from './requirements.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Ids that the names of tests cite: `[one, two]` at the end of a name in quotes. */
function cited(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const folder of ['test', 'src']) {
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.test.ts')) continue;
      const text = readFileSync(join(root, folder, file), 'utf8');
      for (const [, ids] of text.matchAll(/^.*['"`].* \[([a-z0-9]+-[a-z0-9, -]+)\]['"`],?/gm)) {
        for (const id of ids!.split(', ')) found.set(id, [...(found.get(id) ?? []), file]);
      }
    }
  }
  return found;
}

test('every requirement has a test, and every id that a test cites is a requirement', () => {
  const tests = new Map([...cited()].filter(([id]) => !id.startsWith('attack-')));
  const ids = requirements.map(({ id }) => id);
  expect(ids.filter((id) => !tests.has(id))).toEqual([]);
  expect([...tests.keys()].filter((id) => !ids.includes(id))).toEqual([]);
  expect(new Set(ids).size).toBe(ids.length);
});
