/** Where rows go: the catalog's tables, or lists in memory. A row is put whole; one of the same key takes the place of the one before. */
import type { CallRow, DefinitionRow, EntityRow, EntryRow, FindingRow, SessionRow, ToolRow, TouchRow } from './rows.ts';

export interface Rows {
  sessions: SessionRow;
  calls: CallRow;
  entries: EntryRow;
  tools: ToolRow;
  definitions: DefinitionRow;
  entities: EntityRow;
  touches: TouchRow;
  findings: FindingRow;
}

export type Table = keyof Rows;

/** What makes a row of a table another one, in this order. */
export const keys = {
  sessions: ['ledger', 'session'],
  calls: ['ledger', 'index'],
  entries: ['ledger', 'index'],
  tools: ['ledger', 'server', 'tool'],
  definitions: ['ledger', 'server', 'tool', 'digest'],
  entities: ['ledger', 'entity'],
  touches: ['ledger', 'entity', 'call'],
  findings: ['ledger', 'finding'],
} as const satisfies { [T in Table]: readonly (keyof Rows[T])[] };

export type Key<T extends Table> = Pick<Rows[T], (typeof keys)[T][number] & keyof Rows[T]>;

/**
 * A row that was put is not changed afterwards by whoever put it. `get` answers with what was put last, also before it is committed: the projection keeps only
 * what is in use and asks for the rest, so rows and its snapshot belong into the same transaction.
 */
export interface RowSink {
  put<T extends Table>(table: T, row: Rows[T]): void;
  get<T extends Table>(table: T, key: Key<T>): Rows[T] | undefined;
}

/** Rows in memory: a page's, and the tests'. */
export class MemoryRows implements RowSink {
  readonly tables: { readonly [T in Table]: Map<string, Rows[T]> } = {
    sessions: new Map(),
    calls: new Map(),
    entries: new Map(),
    tools: new Map(),
    definitions: new Map(),
    entities: new Map(),
    touches: new Map(),
    findings: new Map(),
  };

  put<T extends Table>(table: T, row: Rows[T]): void {
    this.tables[table].set(keyText(table, row), row);
  }

  get<T extends Table>(table: T, key: Key<T>): Rows[T] | undefined {
    return this.tables[table].get(keyText(table, key));
  }

  /** In the order in which their keys came first. */
  rows<T extends Table>(table: T): Rows[T][] {
    return [...this.tables[table].values()];
  }
}

/** Of one ledger or of many: equal for equal keys alone. */
export function keyText<T extends Table>(table: T, key: Key<T>): string {
  const [first, ...others]: readonly string[] = keys[table];
  const fields = key as unknown as Record<string, string | number>;
  let text = String(fields[first]);
  for (const field of others) text += `\0${fields[field]}`;
  return text;
}
