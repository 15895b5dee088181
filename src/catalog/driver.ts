/**
 * SQLite in six methods, over better-sqlite3 where it can be loaded, else over Node's own `node:sqlite`: the same files, the same SQL. Everything is synchronous, so
 * whoever must answer meanwhile uses a thread of its own.
 */
import { createRequire } from 'node:module';

export type Value = null | number | string | Uint8Array;
export type Row = Record<string, Value>;

export interface Statement {
  run(...values: Value[]): void;
  get(...values: Value[]): Row | undefined;
  all(...values: Value[]): Row[];
  iterate(...values: Value[]): Iterable<Row>;
}

export type Engine = 'better-sqlite3' | 'node:sqlite';

export interface Database {
  readonly engine: Engine;
  /** One or several statements without values. */
  exec(sql: string): void;
  /** Integers come back as numbers: beyond 2^53 reading throws. */
  prepare(sql: string): Statement;
  close(): void;
}

export interface OpenOptions {
  /** The file must be there, and nothing is written. */
  readOnly?: boolean;
  /** Default: the first one that can be loaded. */
  engine?: Engine;
}

/** How long a statement waits for a writer in another process. */
const busyMs = 5_000;

const require = createRequire(import.meta.url);

/** @throws the engine's own `Error`, when the file cannot be opened, is locked, or is no database */
export function openDatabase(path: string, options: OpenOptions = {}): Database {
  const { readOnly = false } = options;
  const engine = options.engine ?? (betterSqlite() === undefined ? 'node:sqlite' : 'better-sqlite3');
  const database = engine === 'better-sqlite3' ? openBetter(path, readOnly) : openNodes(path, readOnly);
  database.exec(`PRAGMA busy_timeout = ${busyMs}`);
  return database;
}

/** What is used of better-sqlite3, which has no types of its own. */
type Better = new (
  path: string,
  options?: { readonly: boolean; fileMustExist: boolean },
) => {
  exec(sql: string): unknown;
  prepare(sql: string): Statement;
  close(): unknown;
};
let loaded: Better | false | undefined;

/** `undefined` where the package, or its native part, is not installed. */
function betterSqlite(): Better | undefined {
  if (loaded === undefined) {
    try {
      const Better = require('better-sqlite3') as Better;
      // the native part is loaded by the first database only
      new Better(':memory:').close();
      loaded = Better;
    } catch {
      loaded = false;
    }
  }
  return loaded === false ? undefined : loaded;
}

function openBetter(path: string, readOnly: boolean): Database {
  const Better = betterSqlite();
  if (Better === undefined) throw new Error('better-sqlite3 cannot be loaded');
  const database = new Better(path, { readonly: readOnly, fileMustExist: readOnly });
  return {
    engine: 'better-sqlite3',
    exec: (sql) => void database.exec(sql),
    prepare: (sql) => database.prepare(sql),
    close: () => void database.close(),
  };
}

function openNodes(path: string, readOnly: boolean): Database {
  const { DatabaseSync } = require('node:sqlite') as typeof import('node:sqlite');
  const database = new DatabaseSync(path, { readOnly });
  return {
    engine: 'node:sqlite',
    exec: (sql) => database.exec(sql),
    prepare(sql) {
      const statement = database.prepare(sql);
      return {
        run: (...values) => void statement.run(...values),
        get: (...values) => statement.get(...values) as Row | undefined,
        all: (...values) => statement.all(...values) as Row[],
        iterate: (...values) => statement.iterate(...values) as Iterable<Row>,
      };
    },
    close: () => database.close(),
  };
}
