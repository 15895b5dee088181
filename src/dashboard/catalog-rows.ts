/**
 * Rows of the ledgers' catalogs: made in a thread for each ledger, read from its file here and kept in memory for the questions of pages. What is read again is what may
 * have changed: of entries those that are new, of calls those from the oldest open one on.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { MemoryBackend } from '../analysis/memory-backend.ts';
import type { AnalysisOptions } from '../analysis/options.ts';
import { MemoryRows, type Table } from '../analysis/sink.ts';
import { openDatabase, type Database } from '../catalog/driver.ts';
import { toRow } from '../catalog/rows.ts';
import { tables, version } from '../catalog/schema.ts';
import type { CallRow } from '../analysis/rows.ts';
import type { Rows } from './api.ts';
import type { Ledger } from './evidence.ts';
import type { FollowTask } from './follow-worker.ts';
import type { Progress } from './stream.ts';

export interface CatalogRows {
  rows: Rows;
  progressOf(ledger: string): Progress;
  follow(ledger: Ledger): Worker;
  close(): void;
}

/** Entries back from the newest, whose calls may still change after they ended. */
const goesOn = 2_000;

const nowhere: Progress = { next: 0, calls: 0, findings: 0 };

/** What was read of one catalog. */
class CatalogReader {
  readonly #ledger: Ledger;
  readonly #path: string;
  readonly #rows: MemoryRows;
  #database: Database | undefined;
  #inode = -1;
  #next = 0;
  #oldestOpen = 0;
  #known: Progress = nowhere;

  constructor(ledger: Ledger, rows: MemoryRows) {
    this.#ledger = ledger;
    this.#path = catalogOf(ledger);
    this.#rows = rows;
  }

  /** Reads what is new. True: something is. */
  refresh(): boolean {
    const database = this.#open();
    if (database === undefined) return false;
    const cursor = (database.prepare("SELECT value FROM state WHERE name = 'cursor'").get()?.['value'] ?? 0) as number;
    if (cursor === this.#next) return false;
    // made again from the beginning
    if (cursor < this.#next) this.#forget();
    database.exec('BEGIN');
    try {
      this.#take(database, cursor);
    } finally {
      database.exec('COMMIT');
    }
    return true;
  }

  get progress(): Progress {
    return this.#known;
  }

  close(): void {
    this.#database?.close();
    this.#database = undefined;
  }

  #take(database: Database, cursor: number): void {
    this.#read(database, 'entries', 'WHERE t."index" >= ?', this.#next);
    const calls = this.#read<CallRow>(database, 'calls', 'WHERE t."index" >= ?', this.#oldestOpen);
    this.#read(database, 'touches', 'WHERE t."call" >= ?', this.#oldestOpen);
    for (const table of ['sessions', 'tools', 'definitions', 'entities', 'findings'] as const) this.#read(database, table);
    // a call that ended may go on for a while: a task, a progress
    this.#oldestOpen = Math.max(0, Math.min(cursor - goesOn, ...calls.flatMap(({ state, index }) => (state === 'open' ? [index] : []))));
    this.#next = cursor;
    const count = (table: Table): number => database.prepare(`SELECT count(*) AS n FROM ${table}`).get()!['n'] as number;
    this.#known = { next: cursor, calls: count('calls'), findings: count('findings') };
  }

  #read<Row>(database: Database, table: Table, where = '', ...values: number[]): Row[] {
    const { columns, facets } = tables[table];
    const from = facets.length > 0 ? `${table} t JOIN ${table}_facets f USING (facet)` : `${table} t`;
    const list = columns.map(({ name, isFacet }) => `${isFacet ? 'f' : 't'}."${name}"`).join(', ');
    const read: Row[] = [];
    for (const row of database.prepare(`SELECT ${list} FROM ${from} ${where}`).iterate(...values)) {
      const made = toRow<Row>(this.#ledger.id, columns, row);
      this.#rows.put(table, made as never);
      read.push(made);
    }
    return read;
  }

  /** The file of now: one that is damaged or of another version is made again in its place. */
  #open(): Database | undefined {
    const inode = inodeOf(this.#path);
    if (inode === undefined) return undefined;
    if (this.#database !== undefined && inode === this.#inode) return this.#database;
    this.close();
    let database: Database | undefined;
    try {
      database = openDatabase(this.#path, { readOnly: true });
      if (database.prepare('PRAGMA user_version').get()?.['user_version'] !== version) throw new Error('of another version');
    } catch {
      database?.close();
      return undefined;
    }
    if (this.#inode !== -1) this.#forget();
    this.#inode = inode;
    return (this.#database = database);
  }

  #forget(): void {
    for (const table of Object.values(this.#rows.tables)) {
      for (const [key, row] of table) if (row.ledger === this.#ledger.id) (table as Map<string, unknown>).delete(key);
    }
    this.#next = 0;
    this.#oldestOpen = 0;
    this.#known = nowhere;
  }
}

export function catalogRows(ledgers: readonly Ledger[], analysis: Omit<AnalysisOptions, 'crypto'>): CatalogRows {
  const memory = new MemoryRows();
  const readers = new Map(ledgers.map((ledger) => [ledger.id, new CatalogReader(ledger, memory)]));
  const backend = new MemoryBackend({
    rows: memory,
    // content is opened elsewhere, and recorded
    entry: () => Promise.resolve(undefined),
    evidence: () => [],
    verify: () => Promise.resolve(),
    now: () => new Date().toISOString(),
    zone: 'UTC',
  });
  const refresh = (ledger: string): void => {
    if (readers.get(ledger)!.refresh()) backend.changed({ entries: 1 });
  };
  const rows: Rows = {
    overview: (range) => backend.overview(range),
    timeline: (range, wanted) => backend.timeline(range, wanted),
    sessions: (range, paging) => backend.sessions(range, paging),
    calls: (range, paging) => backend.calls(range, paging),
    entries: (range, paging) => backend.entries(range, paging),
    tools: (range, paging) => backend.tools(range, paging),
    tool: (ledger, server, tool) => backend.tool(ledger, server, tool),
    entities: (range, paging) => backend.entities(range, paging),
    matrix: (range, paging) => backend.matrix(range, paging),
    entity: (ledger, entity) => backend.entity(ledger, entity),
    findings: (range, paging) => backend.findings(range, paging),
    call: (ledger, index) => backend.call(ledger, index),
    finding: (ledger, finding) => memory.get('findings', { ledger, finding }),
  };
  return {
    rows,
    progressOf: (ledger) => {
      refresh(ledger);
      return readers.get(ledger)!.progress;
    },
    follow: (ledger) =>
      new Worker(program('follow-worker'), { workerData: { ledger: ledger.path, path: catalogOf(ledger), analysis } satisfies FollowTask }),
    close: () => {
      for (const reader of readers.values()) reader.close();
    },
  };
}

function catalogOf({ path }: Ledger): string {
  return join(path, 'catalog.sqlite');
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

function program(name: string): URL {
  for (const path of [`${name}.mjs`, `../${name}.mjs`]) {
    const url = new URL(path, import.meta.url);
    if (existsSync(fileURLToPath(url))) return url;
  }
  return new URL(`${name}.ts`, import.meta.url);
}
