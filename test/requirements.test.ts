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

/** Rows of the tables whose header ends with `Test`: the cells, and the ids in the last one. */
function provenRows(text: string): { row: string; ids: string[] }[] {
  const rows: { row: string; ids: string[] }[] = [];
  for (const table of text.split(/\n\n/).filter((block) => /^\|.*\| Test \|\n/.test(block))) {
    for (const row of table.split('\n').slice(2)) {
      if (!row.startsWith('|')) continue;
      rows.push({
        row,
        ids: [
          ...row
            .split('|')
            .at(-2)!
            .matchAll(/`([a-z0-9-]+)`/g),
        ].map(([, id]) => id!),
      });
    }
  }
  return rows;
}

test('every line of the threat model that says who notices names tests, and every attack stands in it', () => {
  const text = readFileSync(join(root, 'spec', 'threat-model.md'), 'utf8');
  const tests = cited();
  const rows = provenRows(text);
  expect(rows.length).toBeGreaterThan(50);
  // a line without a test says that nobody notices
  expect(rows.filter(({ row, ids }) => ids.length === 0 && !(row.includes('nobody') && row.endsWith('| \u2013 |')))).toEqual([]);
  const named = new Set([...rows.flatMap(({ ids }) => ids), ...[...text.matchAll(/`(attack-[a-z0-9-]+)`/g)].map(([, id]) => id!)]);
  expect([...named].filter((id) => !tests.has(id))).toEqual([]);
  expect([...tests.keys()].filter((id) => id.startsWith('attack-') && !named.has(id))).toEqual([]);
});
