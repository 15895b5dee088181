/**
 * Rows of a table in columns: numbers and times as numbers, words that many rows share once, other texts as bytes. A row takes about a fourth of what it takes as an
 * object, and nearly all of it in a few large pieces, which a browser gives back when they go. A row is made of them again when somebody asks for it.
 */
import { equal, lossyText, utf8Into } from '../bytes/bytes.ts';

/** Rows in one piece of a column. */
const pieceRows = 4_096;
/** A column with more different words keeps its values one by one. */
const wordsMost = 1_024;
/** Texts are gathered in pieces of so many bytes; a longer one has its own. */
const textPieceBytes = 256 * 1024;

interface Column {
  /** Whether the value fits into a column of this kind; if not it becomes another one. */
  set(position: number, value: unknown): boolean;
  get(position: number): unknown;
}

type Numbers = Float64Array | Uint32Array | Uint16Array;

/** Numbers by position, in pieces: growing copies nothing. */
class Pieces<Piece extends Numbers> {
  readonly #make: (length: number) => Piece;
  readonly #absent: number;
  readonly #pieces: (Piece | undefined)[] = [];

  constructor(make: (length: number) => Piece, absent: number) {
    this.#make = make;
    this.#absent = absent;
  }

  get(position: number): number {
    return this.#pieces[Math.floor(position / pieceRows)]?.[position % pieceRows] ?? this.#absent;
  }

  set(position: number, value: number): void {
    const at = Math.floor(position / pieceRows);
    let piece = this.#pieces[at];
    if (piece === undefined) {
      while (this.#pieces.length < at) this.#pieces.push(undefined);
      piece = this.#make(pieceRows);
      if (this.#absent !== 0) piece.fill(this.#absent);
      this.#pieces[at] = piece;
    }
    piece[position % pieceRows] = value;
  }
}

class NumberColumn implements Column {
  readonly #numbers = new Pieces((length) => new Float64Array(length), Number.NaN);

  set(position: number, value: unknown): boolean {
    if (value !== undefined && (typeof value !== 'number' || Number.isNaN(value))) return false;
    this.#numbers.set(position, value ?? Number.NaN);
    return true;
  }

  get(position: number): number | undefined {
    const number = this.#numbers.get(position);
    return Number.isNaN(number) ? undefined : number;
  }
}

const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

/** Times as entries have them, as µs since 1970. */
class TimeColumn implements Column {
  readonly #us = new NumberColumn();

  set(position: number, value: unknown): boolean {
    if (value === undefined) return this.#us.set(position, value);
    if (typeof value !== 'string' || !time.test(value)) return false;
    const us = Date.parse(`${value.slice(0, 19)}Z`) * 1000 + Number(value.slice(20, 26));
    // a day that no calendar has comes back as another one
    return timeText(us) === value && this.#us.set(position, us);
  }

  us(position: number): number | undefined {
    return this.#us.get(position);
  }

  get(position: number): string | undefined {
    const us = this.#us.get(position);
    return us === undefined ? undefined : timeText(us);
  }
}

function timeText(us: number): string {
  const ms = Math.floor(us / 1000);
  return Number.isNaN(ms) ? '' : `${new Date(ms).toISOString().slice(0, -1)}${String(us - ms * 1000).padStart(3, '0')}Z`;
}

/** Values of which there are few different ones. */
class WordColumn implements Column {
  /** A word's place in `#words`; 0: none. */
  readonly #numbers = new Pieces((length) => new Uint16Array(length), 0);
  readonly #words: unknown[] = [undefined];
  readonly #places = new Map<unknown, number>();
  readonly #placesOfJson = new Map<string, number>();

  set(position: number, value: unknown): boolean {
    let place = 0;
    if (value !== undefined) {
      const isPlain = typeof value !== 'object';
      const key = isPlain ? undefined : JSON.stringify(value);
      const known = key === undefined ? this.#places.get(value) : this.#placesOfJson.get(key);
      if (known === undefined) {
        if (this.#words.length > wordsMost) return false;
        place = this.#words.push(value) - 1;
        if (key === undefined) this.#places.set(value, place);
        else this.#placesOfJson.set(key, place);
      } else place = known;
    }
    this.#numbers.set(position, place);
    return true;
  }

  get(position: number): unknown {
    return this.#words[this.#numbers.get(position)];
  }
}

/** Whatever JSON can say, as its bytes. */
class TextColumn implements Column {
  /** In which piece, one more: 0 is none. */
  readonly #places = new Pieces((length) => new Uint32Array(length), 0);
  readonly #starts = new Pieces((length) => new Uint32Array(length), 0);
  readonly #lengths = new Pieces((length) => new Uint32Array(length), 0);
  readonly #texts: Uint8Array[] = [];
  #used = 0;

  set(position: number, value: unknown): boolean {
    if (value === undefined) {
      this.#places.set(position, 0);
      return true;
    }
    // JSON, for a text may hold half of a character, which UTF-8 cannot
    const text = JSON.stringify(value);
    const before = this.#bytes(position);
    // at most three bytes a unit: written where it will stay, for each array of its own is garbage outside of the heap
    if (this.#texts.length === 0 || this.#texts.at(-1)!.length - this.#used < text.length * 3) {
      this.#texts.push(new Uint8Array(Math.max(textPieceBytes, text.length * 3)));
      this.#used = 0;
    }
    const bytes = this.#texts.at(-1)!.subarray(this.#used, this.#used + utf8Into(text, this.#texts.at(-1)!.subarray(this.#used)));
    // a row that is put again mostly says the same
    if (before !== undefined && equal(before, bytes)) return true;
    this.#places.set(position, this.#texts.length);
    this.#starts.set(position, this.#used);
    this.#lengths.set(position, bytes.length);
    this.#used += bytes.length;
    return true;
  }

  get(position: number): unknown {
    const bytes = this.#bytes(position);
    return bytes === undefined ? undefined : (JSON.parse(lossyText(bytes)) as unknown);
  }

  #bytes(position: number): Uint8Array | undefined {
    const piece = this.#texts[this.#places.get(position) - 1];
    const start = this.#starts.get(position);
    return piece?.subarray(start, start + this.#lengths.get(position));
  }
}

/** The narrowest kind first: a column begins with the first that takes its first value. */
const kinds = [NumberColumn, TimeColumn, WordColumn, TextColumn] as const;

/** Rows by position, in the order in which they came first. */
export class Packed<Row extends object> {
  readonly #columns = new Map<string, { column: Column; kind: number }>();
  size = 0;

  /** Puts a row where another one stood, or at `size`, as the next one. Fields that are `undefined` are not there. */
  put(position: number, row: Row): void {
    if (position === this.size) this.size++;
    for (const [name, value] of Object.entries(row)) if (value !== undefined && !this.#columns.has(name)) this.#add(name, value);
    for (const [name, known] of this.#columns) {
      const value = (row as Record<string, unknown>)[name];
      if (!known.column.set(position, value)) this.#widen(name, known, position, value);
    }
  }

  /** `without`: fields that nobody will look at. */
  at(position: number, without?: ReadonlySet<string>): Row {
    const row: Record<string, unknown> = {};
    for (const [name, { column }] of this.#columns) {
      if (without?.has(name)) continue;
      const value = column.get(position);
      if (value !== undefined) row[name] = value;
    }
    return row as Row;
  }

  /**
   * Some fields of some rows, again and again; those that a row does not have are `undefined`. One at a time: very many rows at once would stay long enough for a
   * browser to keep their memory.
   */
  each<Name extends string & keyof Row>(positions: Iterable<number>, ...names: Name[]): Iterable<Pick<Row, Name>> {
    const columns = names.map((name) => [name, this.#columns.get(name)?.column] as const);
    return {
      *[Symbol.iterator]() {
        for (const position of positions) {
          const row: Record<string, unknown> = {};
          for (const [name, column] of columns) row[name] = column?.get(position);
          yield row as Pick<Row, Name>;
        }
      },
    };
  }

  /** What orders rows by a field: of a time its µs, of other fields the value. */
  orderOf(name: string): (position: number) => unknown {
    const column = this.#columns.get(name)?.column;
    return column instanceof TimeColumn ? (position) => column.us(position) : (position) => column?.get(position);
  }

  /** One field of a row. */
  value<Name extends string & keyof Row>(position: number, name: Name): Row[Name] | undefined {
    return this.#columns.get(name)?.column.get(position) as Row[Name] | undefined;
  }

  #add(name: string, value: unknown): void {
    // no word column of a time or a number: the order of kinds says which is tried first
    const kind = kinds.findIndex((Kind) => new Kind().set(0, value));
    this.#columns.set(name, { column: new kinds[kind]!(), kind });
  }

  /** A value came that a column of its kind cannot hold: all of it goes into one of the next kind that can. */
  #widen(name: string, known: { column: Column; kind: number }, at: number, value: unknown): void {
    for (let kind = Math.max(2, known.kind + 1); kind < kinds.length; kind++) {
      const column = new kinds[kind]!();
      let holds = true;
      for (let position = 0; position < this.size && holds; position++)
        holds = column.set(position, position === at ? value : known.column.get(position));
      if (!holds) continue;
      this.#columns.set(name, { column, kind });
      return;
    }
  }
}
