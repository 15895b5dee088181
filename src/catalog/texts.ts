/**
 * Free text: what entries say and their attributes, as stored, behind the rows with a cursor of its own. Every three characters in a row are indexed, in either case;
 * whether all of a text is there is looked up in what was stored (`where.ts`).
 */
import { cut, textOf, type Frame } from '../analysis/frame-text.ts';
import { foundTextBytes } from '../limits.ts';
import { EntryReader, type Located } from '../readers/entries.ts';
import type { Database, Statement } from './driver.ts';
import { observe, type Erased } from './observe.ts';

/** Entries of one step, and about how much text. */
const stepEntries = 200;
const stepChars = 1_000_000;

export class TextIndex {
  readonly #ledger: string;
  readonly #database: Database;
  readonly #erased: Erased;
  readonly #text: Statement;
  readonly #found: Statement;
  readonly #cursors: Statement;
  readonly #moved: Statement;
  #reader: EntryReader | undefined;
  #batch: { index: number; frame: Frame } | undefined;

  constructor(ledger: string, database: Database, erased: Erased) {
    this.#ledger = ledger;
    this.#database = database;
    this.#erased = erased;
    this.#text = database.prepare('INSERT OR REPLACE INTO texts VALUES (?, ?)');
    this.#found = database.prepare('INSERT INTO found_texts (rowid, text) VALUES (?, ?)');
    this.#cursors = database.prepare("SELECT name, value FROM state WHERE name IN ('cursor', 'textCursor')");
    this.#moved = database.prepare("UPDATE state SET value = ? WHERE name = 'textCursor'");
  }

  /** Indexes some more, in a transaction of its own: whether there was anything left to do. */
  step(): boolean {
    const { cursor, textCursor } = Object.fromEntries(this.#cursors.all().map(({ name, value }) => [name as string, value as number])) as {
      cursor: number;
      textCursor: number;
    };
    if (textCursor >= cursor) return false;
    if (this.#reader?.index !== textCursor) {
      this.close();
      this.#reader = new EntryReader(this.#ledger, textCursor, true);
    }
    const texts: [number, string][] = [];
    let next = textCursor;
    let chars = 0;
    let count = 0;
    for (const located of this.#reader.available(cursor)) {
      next = located.index + 1;
      const text = this.#textOf(located);
      if (text !== '') texts.push([located.index, text]);
      chars += text.length;
      if (++count >= stepEntries || chars >= stepChars) break;
    }
    // what is not there any more is passed over
    if (next === textCursor) next = cursor;
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const [index, text] of texts) {
        this.#text.run(index, text);
        this.#found.run(index, text);
      }
      this.#moved.run(next);
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
    return true;
  }

  close(): void {
    this.#reader?.close();
    this.#reader = undefined;
  }

  #textOf(located: Located): string {
    const observed = observe(this.#ledger, located, this.#erased, foundTextBytes);
    if (observed === undefined) return '';
    const { index, entry, attributes } = observed;
    let { frame } = observed;
    if (entry.kind === 'batch' && frame !== undefined) this.#batch = { index, frame };
    else if (entry.kind === 'message' && entry.batch !== undefined && entry.batch === this.#batch?.index && entry.range !== undefined)
      frame = cut(this.#batch.frame, entry.range);
    const said = frame === undefined ? '' : textOf(frame);
    const beside = Object.keys(attributes).length === 0 ? '' : JSON.stringify(attributes).slice(0, foundTextBytes);
    return said === '' || beside === '' ? said + beside : `${said}\n${beside}`;
  }
}
