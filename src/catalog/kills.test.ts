/** A catalog whose process is killed in the middle of a transaction goes on from the one before. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { policyOf, Recording, type Talk } from '../../test/reading/recorded.ts';
import { place, type Place } from '../../test/reading/fixture.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { Catalog } from './catalog.ts';
import { openDatabase } from './driver.ts';

const dying = join(import.meta.dirname, '../../test/dying-catalog.ts');

let at: Place;
let recording: Recording;
let path: string;
let talk: Talk;

beforeEach(async () => {
  at = place();
  recording = new Recording(at);
  path = join(at.ledger, 'catalog.sqlite');
  talk = recording.connect(await policyOf('policy: {}'));
});

afterEach(async () => {
  await recording.close();
  at.remove();
});

async function converse(rounds: number): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    talk.call(i % 5 === 0 ? 'delete_row' : 'get_row', { id: `row-${i}` });
    talk.text(`row-${i} says ${'something '.repeat(20)}`);
  }
  await new Promise<void>((done) => recording.ledger.follow({ durable: () => done() }));
}

/** How it ended: a signal, or a status. `afterMs`: killed so long after the catalog was opened. */
async function run(when: 'rows' | 'any', afterMs?: number): Promise<NodeJS.Signals | number | null> {
  const child = spawn(process.execPath, [dying, at.ledger, path, when], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  if (afterMs !== undefined) {
    await once(child.stdout, 'data');
    await sleep(afterMs);
    child.kill('SIGKILL');
  }
  const [status, signal] = await ended;
  return signal ?? status;
}

/** All that a catalog holds of its ledger, but for when it was made. */
function contents(file: string): unknown {
  const database = openDatabase(file, { readOnly: true });
  try {
    expect(database.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
    const names = ['sessions', 'calls', 'entries', 'tools', 'definitions', 'entities', 'touches', 'findings'];
    const rows = names.map((name) => database.prepare(`SELECT * FROM sworn_${name}`).all());
    const sums = database.prepare('SELECT sum(calls) AS calls, sum(resultBytes) AS bytes FROM tallies WHERE level = 0').all();
    const found = database.prepare('SELECT count(*) AS texts FROM found_texts WHERE found_texts MATCH ?').all('"row"');
    const state = database.prepare("SELECT name, value FROM state WHERE name IN ('cursor', 'textCursor', 'leaf') ORDER BY name").all();
    return { rows: rows.map((list) => list.map((row) => JSON.stringify(row)).toSorted()), sums, found, state };
  } finally {
    database.close();
  }
}

/** Made in one piece. */
async function whole(): Promise<unknown> {
  const file = join(at.folder, 'whole.sqlite');
  const catalog = await Catalog.open(at.ledger, { path: file, analysis: { crypto: nodeCrypto } });
  await catalog.catchUp();
  catalog.close();
  return contents(file);
}

test('rows that were written and not committed are made again, and no others', async () => {
  await converse(40);
  expect(await run('rows')).toBe('SIGKILL');
  let catalog = await Catalog.open(at.ledger, { path, analysis: { crypto: nodeCrypto } });
  expect(catalog.cursor).toBe(0);
  await catalog.catchUp();
  const { cursor } = catalog;
  catalog.close();
  await converse(40);
  expect(await run('rows')).toBe('SIGKILL');
  catalog = await Catalog.open(at.ledger, { path, analysis: { crypto: nodeCrypto } });
  // it goes on, and was not made again
  expect([catalog.rebuilt, catalog.cursor]).toEqual([undefined, cursor]);
  await catalog.catchUp();
  expect(catalog.cursor).toBeGreaterThan(cursor);
  catalog.close();
  expect(contents(path)).toEqual(await whole());
});

test('killed again and again, wherever it is, it ends as if it had not been', async () => {
  await converse(1_500);
  for (const afterMs of [0, 120, 400]) await run('any', afterMs);
  const catalog = await Catalog.open(at.ledger, { path, analysis: { crypto: nodeCrypto } });
  expect([undefined, 'it is new']).toContain(catalog.rebuilt);
  await catalog.catchUp();
  catalog.close();
  expect(contents(path)).toEqual(await whole());
});
