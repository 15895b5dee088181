/** Rows of a page that may have very many: calls and entries in columns, the others as they are. */
import { Packed } from './packed.ts';
import type { CallRow, EntryRow } from './rows.ts';
import { MemoryRows, type Key, type RowSink, type Rows, type Table } from './sink.ts';

/** A table whose rows are named by ledger and index. */
export class IndexedRows<Row extends CallRow | EntryRow> {
  readonly packed = new Packed<Row>();
  /** By ledger: index → position. */
  readonly #positions = new Map<string, Map<number, number>>();

  get size(): number {
    return this.packed.size;
  }

  put(row: Row): void {
    let positions = this.#positions.get(row.ledger);
    if (positions === undefined) this.#positions.set(row.ledger, (positions = new Map()));
    let position = positions.get(row.index);
    if (position === undefined) positions.set(row.index, (position = this.packed.size));
    this.packed.put(position, row);
  }

  /** Where the row stands; `undefined`: there is none. */
  find(ledger: string, index: number): number | undefined {
    return this.#positions.get(ledger)?.get(index);
  }

  get(ledger: string, index: number): Row | undefined {
    const position = this.find(ledger, index);
    return position === undefined ? undefined : this.packed.at(position);
  }

  /** All positions, in the order in which rows came first. */
  all(): Uint32Array {
    return Uint32Array.from({ length: this.size }, (_, position) => position);
  }
}

export class PackedRows implements RowSink {
  readonly calls = new IndexedRows<CallRow>();
  readonly entries = new IndexedRows<EntryRow>();
  readonly #others = new MemoryRows();

  put<T extends Table>(table: T, row: Rows[T]): void {
    if (table === 'calls') this.calls.put(row as CallRow);
    else if (table === 'entries') this.entries.put(row as EntryRow);
    else this.#others.put(table, row);
  }

  get<T extends Table>(table: T, key: Key<T>): Rows[T] | undefined {
    const { ledger, index } = key as unknown as { ledger: string; index: number };
    if (table === 'calls') return this.calls.get(ledger, index) as Rows[T] | undefined;
    if (table === 'entries') return this.entries.get(ledger, index) as Rows[T] | undefined;
    return this.#others.get(table, key);
  }

  /** In the order in which their keys came first. Of calls and entries each is made anew. */
  rows<T extends Table>(table: T): Rows[T][] {
    const indexed = table === 'calls' ? this.calls : table === 'entries' ? this.entries : undefined;
    if (indexed === undefined) return this.#others.rows(table);
    const { packed } = indexed;
    return Array.from({ length: packed.size }, (_, position) => packed.at(position)) as Rows[T][];
  }

  /** For pages that show fewer. */
  clear(table: Exclude<Table, 'calls' | 'entries'>): void {
    this.#others.tables[table].clear();
  }
}
