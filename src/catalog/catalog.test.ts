import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { erase, policyOf, Recording, type Talk } from '../../test/reading/recorded.ts';
import { place, type Place } from '../../test/reading/fixture.ts';
import { MemoryRows, Projection, type AnalysisOptions } from '../analysis/projection.ts';
import type { CallRow } from '../analysis/rows.ts';
import { keyText, type Table } from '../analysis/sink.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { readEntries } from '../readers/entries.ts';
import { Catalog, stateOf } from './catalog.ts';
import { openDatabase, type Engine } from './driver.ts';
import { Erased, observe } from './observe.ts';
import { toRow } from './rows.ts';
import { tables } from './schema.ts';
import { selectOf } from './writer.ts';

const analysis: AnalysisOptions = { crypto: nodeCrypto };
/** npm leaves the optional package out where its own Node is too old for it. */
const usual: Engine = ((): Engine => {
  const database = openDatabase(':memory:');
  database.close();
  return database.engine;
})();

let at: Place;
let recording: Recording;
let path: string;

beforeEach(() => {
  at = place();
  recording = new Recording(at);
  path = join(at.ledger, 'catalog.sqlite');
});

afterEach(async () => {
  await recording.close();
  at.remove();
});

async function talk(server = 'db'): Promise<Talk> {
  return recording.connect(await policyOf('policy: {}'), { server });
}

/** All that was recorded is on disk. */
function durable(): Promise<void> {
  return new Promise((done) => recording.ledger.follow({ durable: () => done() }));
}

function converse(one: Talk, rounds: number, from = 0): void {
  for (let i = from; i < from + rounds; i++) {
    one.call(i % 3 === 0 ? 'delete_row' : 'get_row', { id: `row-${i}`, note: 'Zürich "west"' });
    if (i % 7 !== 6) one.text(`answer ${i}`);
  }
}

/** Rows of every table as the projection gives them without a catalog. */
async function expected(): Promise<Record<Table, unknown[]>> {
  const sink = new MemoryRows();
  const projection = new Projection(recording.ledger.id, analysis, sink);
  for await (const located of readEntries(at.ledger, { content: true })) projection.take(observe(at.ledger, located, new Erased())!);
  projection.end();
  return Object.fromEntries(Object.keys(tables).map((name) => [name, sorted(name as Table, sink.rows(name as Table))])) as Record<Table, unknown[]>;
}

function stored(engine: Engine = usual): Record<Table, unknown[]> {
  const database = openDatabase(path, { readOnly: true, engine });
  const rows = Object.values(tables).map((shape): [Table, unknown[]] => [
    shape.name,
    sorted(
      shape.name,
      database
        .prepare(selectOf(shape))
        .all()
        .map((row) => toRow(recording.ledger.id, shape.columns, row)),
    ),
  ]);
  database.close();
  return Object.fromEntries(rows) as Record<Table, unknown[]>;
}

function sorted(table: Table, rows: readonly unknown[]): unknown[] {
  const text = (row: unknown): string => keyText(table, row as never);
  return rows.toSorted((a, b) => (text(a) < text(b) ? -1 : 1));
}

async function caughtUp(engine: Engine = usual, options: AnalysisOptions = analysis): Promise<string | undefined> {
  const catalog = await Catalog.open(at.ledger, { path, analysis: options, engine });
  await catalog.catchUp();
  const { rebuilt } = catalog;
  catalog.close();
  return rebuilt;
}

const engines: Engine[] = ['better-sqlite3', 'node:sqlite'];
for (const engine of engines)
  describe.skipIf(engine !== 'node:sqlite' && engine !== usual)(`with ${engine}`, () => {
    test('rows are those of the projection, also when it goes on later', async () => {
      const one = await talk();
      converse(one, 40);
      await durable();
      expect(await caughtUp(engine)).toBe('it is new');
      expect(stored(engine)).toEqual(await expected());
      converse(one, 40, 40);
      converse(await talk('hr'), 5);
      await durable();
      expect(await caughtUp(engine)).toBeUndefined();
      const rows = stored(engine);
      expect(rows).toEqual(await expected());
      expect(rows.calls).toHaveLength(85);
      expect(rows.sessions).toHaveLength(2);
    });

    test('the sums are those of the rows', async () => {
      const one = await talk();
      for (let i = 0; i < 6; i++) {
        converse(one, 9, i * 9);
        await durable();
        await caughtUp(engine);
      }
      const database = openDatabase(path, { readOnly: true, engine });
      const group = 'f.server, f.method, f.target, f.effect, f.sensitive, f.destructive, f.state, f.verdict';
      const counted = database.prepare(`SELECT ${group}, t.bucket, count(*) AS calls, sum(coalesce(resultBytes, 0)) AS bytes FROM calls t
      JOIN calls_facets f USING (facet) GROUP BY ${group}, t.bucket ORDER BY ${group}, t.bucket`);
      for (let level = 0; level < 3; level++) {
        const summed = database.prepare(`SELECT ${group}, t.bucket, sum(t.calls) AS calls, sum(t.resultBytes) AS bytes FROM tallies t
        JOIN groupings f USING (grouping) WHERE level = ${level} GROUP BY ${group}, t.bucket HAVING sum(t.calls) <> 0 ORDER BY ${group}, t.bucket`);
        expect(summed.all()).toEqual(counted.all());
      }
      for (const [table, counts] of [
        ['entries', 'entry_counts'],
        ['calls', 'call_counts'],
      ]) {
        const rows = database.prepare(`SELECT facet, count(*) AS rows FROM ${table} GROUP BY facet ORDER BY facet`).all();
        expect(database.prepare(`SELECT facet, rows FROM ${counts} WHERE rows <> 0 ORDER BY facet`).all()).toEqual(rows);
      }
      database.close();
    });

    test('free text is found in content and attributes', async () => {
      const one = await talk();
      one.call('get_row', { id: 'x', note: 'Zürich "west"' });
      await durable();
      await caughtUp(engine);
      const database = openDatabase(path, { readOnly: true, engine });
      const found = (text: string): unknown[] =>
        database
          .prepare(`SELECT rowid FROM found_texts WHERE found_texts MATCH ?`)
          .all(text)
          .map(({ rowid }) => rowid);
      const [call] = database.prepare('SELECT "index" FROM calls').all();
      expect(found('"zür" AND "ric"')).toEqual([call!['index']]);
      expect(found('"/us" AND "age"')).toHaveLength(1);
      expect(found('"qqq"')).toEqual([]);
      database.close();
    });
  });

describe('a catalog that cannot be gone on with is made again', () => {
  beforeEach(async () => {
    converse(await talk(), 10);
    await durable();
    await caughtUp();
  });

  const change = (sql: string): void => {
    const database = openDatabase(path);
    database.exec(sql);
    database.close();
  };

  test.each([
    ['PRAGMA user_version = 9', 'it is of another version'],
    [`UPDATE state SET value = '${'0'.repeat(32)}' WHERE name = 'ledger'`, 'it is of another ledger'],
    [`UPDATE state SET value = '${'0'.repeat(64)}' WHERE name = 'leaf'`, 'it is of another history of this ledger'],
    [`UPDATE state SET value = 'x' WHERE name = 'options'`, 'how rows are made has changed'],
    [`UPDATE state SET value = '{"version":-1}' WHERE name = 'snapshot'`, 'a projection of version -1'],
    ['DROP TABLE calls', 'no such table: calls'],
  ])('%s', async (sql, why) => {
    const before = stored();
    change(sql);
    expect(await caughtUp()).toContain(why);
    expect(stored()).toEqual(before);
    expect(await caughtUp()).toBeUndefined();
  });

  test('a file that is no database, or a damaged one', async () => {
    const before = stored();
    writeFileSync(path, 'x'.repeat(10_000));
    expect(await caughtUp()).toContain('not a database');
    expect(stored()).toEqual(before);
    const bytes = readFileSync(path);
    bytes.fill(0x41, 4096, bytes.length - 4096);
    writeFileSync(path, bytes);
    converse(await talk(), 3);
    await durable();
    expect(await caughtUp()).toMatch(/malformed/);
    expect(stored()).toEqual(await expected());
  });

  test('when it was made under other settings', async () => {
    expect(await caughtUp(usual, { ...analysis, sensitive: ['get_*'] })).toBe('how rows are made has changed');
    expect(stored().calls.filter((row) => (row as { sensitive?: true }).sensitive)).not.toEqual([]);
  });
});

test('one process writes; others are told so', async () => {
  const catalog = await Catalog.open(at.ledger, { path, analysis });
  await expect(Catalog.open(at.ledger, { path, analysis })).rejects.toMatchObject({ code: 'catalog-held' });
  catalog.close();
  await expect(caughtUp()).resolves.toBeUndefined();
});

test('what comes is followed, and readers see whole transactions', async () => {
  const one = await talk();
  converse(one, 2);
  const catalog = await Catalog.open(at.ledger, { path, analysis });
  const ending = new AbortController();
  let cursor = 0;
  let wake = (): void => undefined;
  const following = catalog.follow(ending.signal, (progress) => {
    cursor = progress.cursor;
    wake();
  });
  for (let i = 1; i <= 5; i++) {
    converse(one, 10, i * 10);
    await durable();
    while (cursor < recording.ledger.nextIndex) await new Promise<void>((resolve) => (wake = resolve));
    const database = openDatabase(path, { readOnly: true });
    expect(stateOf(database).get('cursor')).toBe(recording.ledger.nextIndex);
    database.close();
    expect(stored()).toEqual(await expected());
  }
  ending.abort();
  await following;
  catalog.close();
});

test('the queries of docs/catalog.md work, in the words of the API', async () => {
  converse(await talk(), 5);
  await durable();
  await caughtUp();
  const page = readFileSync(join(import.meta.dirname, '../../docs/catalog.md'), 'utf8');
  const queries = [...page.matchAll(/```sql\n([^`]+)```/g)].map(([, sql]) => sql!);
  expect(queries.length).toBeGreaterThan(4);
  const database = openDatabase(path, { readOnly: true });
  for (const sql of queries) expect(() => database.prepare(sql).all()).not.toThrow();
  expect(database.prepare('SELECT * FROM catalog_version').get()).toEqual({ version: 1 });
  for (const table of Object.keys(tables)) {
    expect(page).toContain(`\`sworn_${table}\``);
    database.prepare(`SELECT ledger FROM sworn_${table}`).all();
  }
  const [call] = (await expected()).calls as CallRow[];
  const row = database.prepare('SELECT * FROM sworn_calls WHERE "index" = ?').get(call!.index)!;
  expect(row).toMatchObject({
    ledger: recording.ledger.id,
    beganAt: call!.beganAt,
    endedAt: call!.endedAt,
    target: call!.target,
    state: call!.state,
  });
  database.close();
});

test('a file that is taken away while it is followed is made again', async () => {
  converse(await talk(), 5);
  await durable();
  const catalog = await Catalog.open(at.ledger, { path, analysis });
  const ending = new AbortController();
  const following = catalog.follow(ending.signal);
  await vi.waitFor(() => expect(catalog.cursor).toBe(recording.ledger.nextIndex), 10_000);
  rmSync(path);
  await vi.waitFor(() => expect(existsSync(path) && catalog.cursor === recording.ledger.nextIndex).toBe(true), 10_000);
  expect(catalog.rebuilt).toBe('its file was taken away');
  ending.abort();
  await following;
  catalog.close();
  expect(stored()).toEqual(await expected());
});

describe('what the ledger erases is in no byte of the catalog', () => {
  const secret = 'SECRET-4711';
  const files = (): string[] =>
    readdirSync(at.ledger).filter((name) => name.startsWith('catalog.sqlite') && readFileSync(join(at.ledger, name)).includes(secret));

  test('once the entry says so, whether or not the file is rewritten yet', async () => {
    const one = await talk();
    converse(one, 5);
    const call = one.call('get_row', { id: secret, [secret]: secret });
    one.text(`the row of ${secret}`);
    await durable();
    const catalog = await Catalog.open(at.ledger, { path, analysis });
    await catalog.catchUp();
    expect(files()).not.toEqual([]);
    recording.entry({ kind: 'erasure', scope: 'index', targets: [{ index: call, to: call + 1, segments: 'all', attributes: 'all' }] });
    await durable();
    await catalog.catchUp();
    expect(catalog.rebuilt).toContain('says that content is erased');
    expect(files()).toEqual([]);
    catalog.close();
    expect(files()).toEqual([]);
    const rows = stored();
    expect(rows.calls).toHaveLength(6);
    expect(JSON.stringify(rows)).not.toContain(secret);
    expect(JSON.stringify(rows)).toContain('row-4');

    erase(at);
    expect(await caughtUp()).toBeUndefined();
    const catalogAgain = await Catalog.open(at.ledger, { path, analysis });
    catalogAgain.rebuild('asked');
    await catalogAgain.catchUp();
    // the ledger's files hold nothing of it any more: the erasure is no reason to begin again
    expect(catalogAgain.rebuilt).toBe('asked');
    catalogAgain.close();
  });

  test('when it goes on after the erasure', async () => {
    const one = await talk();
    const call = one.call('get_row', { id: secret });
    await durable();
    await caughtUp();
    recording.entry({ kind: 'erasure', scope: 'index', targets: [{ index: call, segments: 'all' }] });
    await durable();
    const catalog = await Catalog.open(at.ledger, { path, analysis });
    await catalog.catchUp();
    expect(catalog.rebuilt).toContain('erased');
    catalog.close();
    expect(files()).toEqual([]);
  });
});
