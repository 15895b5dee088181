/**
 * `<ledger>/catalog.sqlite`: rows made of a ledger's entries, for questions. It is evidence of nothing and disposable: whatever is odd about it, it is made again from
 * the ledger.
 *
 * One process writes (`catalog.sqlite.lock`), others read beside it. Rows, cursor and the projection's snapshot change in one transaction: whoever goes on after a
 * kill finds a state that was once whole. What the ledger erases is not looked for in tables, indexes and snapshots: the file is removed and made again.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { Projection, projectionVersion, type AnalysisOptions } from '../analysis/projection.ts';
import { SwornError } from '../errors.ts';
import { catalogBatch } from '../limits.ts';
import { firstIndexOf, readEntries, readEntryAt, sizeOf, type Located } from '../readers/entries.ts';
import { openDatabase, type Database, type Engine, type Statement, type Value } from './driver.ts';
import { Erased, hasContent, observe, ReadMarks } from './observe.ts';
import { identityOf, type Identity } from '../readers/identity.ts';
import { creation, version } from './schema.ts';
import { TextIndex } from './texts.ts';
import { RowWriter } from './writer.ts';

export interface CatalogOptions {
  path: string;
  analysis: AnalysisOptions;
  engine?: Engine;
  /** Content is indexed for free text, behind the rows: default true. */
  isSearchable?: boolean;
}

/** What a transaction brought. */
export interface Progress {
  /** Entries that the rows cover: [0, cursor). */
  cursor: number;
  /** Entries that the ledger had when it was looked at last. */
  size: number;
  entries: number;
}

/** Something was erased, or the catalog cannot be gone on with: it is made again. */
class Again extends Error {}

/** How long nothing is indexed for free text when nothing is left, or rows are to be written. */
const restMs = 100;
/** How often it is looked whether the file is still there. */
const watchMs = 1_000;

export class Catalog {
  readonly ledger: string;
  readonly path: string;
  readonly #options: CatalogOptions;
  readonly #lock: Database;
  #identity: Identity;
  #database!: Database;
  #writer!: RowWriter;
  #projection!: Projection;
  #putState!: Statement;
  #erased = new Erased();
  #marks = new ReadMarks(0);
  #last: Located | undefined;
  #size = 0;
  #taken = 0;
  /** Why it was made again, if it was. */
  #rebuilt: string | undefined;
  #isMended = false;
  #inode: bigint | undefined;
  cursor = 0;

  /**
   * Opens the catalog of a ledger for writing, or makes it. @throws SwornError `no-ledger`, `permission`; `catalog-held` while another process writes it;
   * `catalog-create` when there is no place for it
   */
  static async open(ledger: string, options: CatalogOptions): Promise<Catalog> {
    const identity = await identityOf(ledger);
    const lock = lockAt(options.path, options.engine);
    const catalog = new Catalog(ledger, options, lock, identity);
    try {
      await catalog.#open();
      return catalog;
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  private constructor(ledger: string, options: CatalogOptions, lock: Database, identity: Identity) {
    this.ledger = ledger;
    this.path = options.path;
    this.#options = options;
    this.#lock = lock;
    this.#identity = identity;
  }

  /** Why there was nothing to go on with: `undefined` when there was. */
  get rebuilt(): string | undefined {
    return this.#rebuilt;
  }

  close(): void {
    this.#database.close();
    this.#lock.close();
  }

  /** Removes what there is; rows are made again from the first entry on. */
  rebuild(why: string): void {
    this.#database.close();
    this.#create(why);
  }

  /** Takes what the ledger has now. */
  async catchUp(said: (progress: Progress) => void = () => undefined): Promise<void> {
    for (;;) {
      this.#look(await sizeOf(this.ledger));
      if (await this.#once(() => this.#take({ to: this.#size }, said))) break;
    }
    if (this.#options.isSearchable === false) return;
    const texts = this.#texts();
    try {
      while (texts.step()) await nextTurn();
    } finally {
      texts.close();
    }
  }

  /** Takes what comes, until aborted. What is said is committed. */
  async follow(signal: AbortSignal, said: (progress: Progress) => void = () => undefined): Promise<void> {
    while (!signal.aborted) {
      await this.catchUpRows(said);
      await this.#once(() => this.#take({ follow: signal }, said));
    }
  }

  private async catchUpRows(said: (progress: Progress) => void): Promise<void> {
    this.#look(await sizeOf(this.ledger));
    await this.#once(() => this.#take({ to: this.#size }, said));
  }

  #look(size: number): void {
    this.#size = Math.max(size, this.cursor);
    this.#state('size', this.#size);
  }

  /** Whether it came to its end; otherwise the catalog was removed and is to be made again. */
  async #once(take: () => Promise<void>): Promise<boolean> {
    try {
      await take();
      return true;
    } catch (error) {
      // a file that is damaged again at once is on a disk that no copy helps
      if (!(error instanceof Again) && (!isDamage(error) || this.#isMended)) throw error;
      this.#isMended = !(error instanceof Again);
      this.rebuild((error as Error).message);
      return false;
    }
  }

  async #take(range: { to?: number; follow?: AbortSignal }, said: (progress: Progress) => void): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    let failed: unknown;
    const commit = (): void => {
      clearTimeout(timer);
      timer = undefined;
      const entries = this.#taken;
      if (entries === 0) return;
      this.#commit();
      said({ cursor: this.cursor, size: this.#size, entries });
    };
    const texts = range.follow !== undefined && this.#options.isSearchable !== false ? this.#texts() : undefined;
    const ending = new AbortController();
    const fail = (error: unknown): void => {
      failed = error;
      ending.abort();
    };
    // a recorder that erases removes it, and so may anybody
    const watching =
      range.follow === undefined
        ? undefined
        : setInterval(() => {
            if (inodeOf(this.path) !== this.#inode) fail(new Again('its file was taken away'));
          }, watchMs);
    const stopTexts = texts === undefined ? undefined : inIdleTime(texts, () => timer === undefined, fail);
    const follow = range.follow === undefined ? undefined : AbortSignal.any([range.follow, ending.signal]);
    try {
      for await (const located of readEntries(this.ledger, {
        from: Math.max(this.cursor, this.#erased.pruned),
        content: true,
        ...(range.to === undefined ? {} : { to: range.to }),
        ...(follow === undefined ? {} : { follow }),
      })) {
        if (failed !== undefined) throw failed;
        this.#one(located);
        if (this.#taken >= catalogBatch) commit();
        // once all is read that is there: readers wait for more of it themselves
        else if (follow !== undefined)
          timer ??= setTimeout(() => {
            try {
              commit();
            } catch (error) {
              fail(error);
            }
          }, 0);
      }
      if (failed !== undefined) throw failed;
      commit();
    } finally {
      clearTimeout(timer);
      clearInterval(watching);
      await stopTexts?.();
    }
  }

  #one(located: Located): void {
    const { index, entry } = located;
    if (entry.kind !== 'unreadable') {
      for (const { index: first, to = first } of this.#erased.learn(index, entry)) {
        if (this.#marks.hasAny(first, Math.min(to, index)))
          throw new Again(`entry ${index} says that content is ${entry.kind === 'prune' ? 'pruned' : 'erased'}`);
      }
      const observed = observe(this.ledger, located, this.#erased);
      if (observed !== undefined) {
        if (hasContent(observed)) this.#marks.add(index);
        this.#projection.take(observed);
      }
    }
    this.#last = located;
    this.#taken++;
  }

  /** All or nothing: a kill before COMMIT leaves the state of the last one. */
  #commit(): void {
    const last = this.#last!;
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const snapshot = this.#projection.snapshot();
      this.#writer.flush();
      this.#state('snapshot', snapshot);
      this.#state('cursor', last.index + 1);
      this.#state('leaf', hashOf(last.leaf));
      this.#size = Math.max(this.#size, last.index + 1);
      this.#state('size', this.#size);
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
    this.cursor = last.index + 1;
    this.#taken = 0;
  }

  #texts(): TextIndex {
    return new TextIndex(this.ledger, this.#database, this.#erased);
  }

  async #open(): Promise<void> {
    let why: string | undefined;
    try {
      this.#database = this.#openForWriting();
      why = await this.#whyNot();
    } catch (error) {
      if (error instanceof SwornError) throw error;
      why = (error as Error).message;
    }
    if (why === undefined) return;
    try {
      this.#database?.close();
    } catch {
      // what cannot be closed is removed all the same
    }
    this.#create(why);
  }

  /** Why what is there is not gone on with. */
  async #whyNot(): Promise<string | undefined> {
    const { user_version: found } = this.#database.prepare('PRAGMA user_version').get() as { user_version: number };
    if (found === 0) return 'it is new';
    if (found !== version) return 'it is of another version';
    const state = stateOf(this.#database);
    const { id, origin } = this.#identity;
    if (state.get('ledger') !== id || (origin !== undefined && state.get('origin') !== origin)) return 'it is of another ledger';
    if (state.get('options') !== this.#optionsText()) return 'how rows are made has changed';
    const cursor = state.get('cursor') as number;
    if (cursor > 0) {
      if (cursor <= firstIndexOf(this.ledger)) return 'what it covers was pruned';
      const last = await readEntryAt(this.ledger, cursor - 1, false);
      if (last === undefined || hashOf(last.leaf) !== state.get('leaf')) return 'it is of another history of this ledger';
    }
    this.#prepare();
    const snapshot = state.get('snapshot');
    this.#projection =
      typeof snapshot === 'string'
        ? Projection.restore(snapshot, this.#options.analysis, this.#writer)
        : new Projection(id, this.#options.analysis, this.#writer);
    this.cursor = cursor;
    this.#size = Math.max(cursor, (state.get('size') as number | undefined) ?? 0);
    // whatever was read before this run was read with its content
    this.#marks = new ReadMarks(cursor);
    return undefined;
  }

  #create(why: string): void {
    this.#rebuilt = why;
    for (const end of ['', '-wal', '-shm', '-journal']) rmSync(`${this.path}${end}`, { force: true });
    closeSync(openSync(this.path, 'w', 0o600));
    this.#database = this.#openForWriting();
    this.#database.exec(`BEGIN; ${creation.join(';\n')}; PRAGMA user_version = ${version}; COMMIT`);
    this.#prepare();
    const { id, origin } = this.#identity;
    const begun = { ledger: id, origin: origin ?? null, options: this.#optionsText(), cursor: 0, textCursor: 0 };
    for (const [name, value] of Object.entries(begun)) this.#state(name, value);
    this.#projection = new Projection(id, this.#options.analysis, this.#writer);
    this.#marks = new ReadMarks(0);
    this.#last = undefined;
    this.#taken = 0;
    this.cursor = 0;
  }

  #openForWriting(): Database {
    const { engine } = this.#options;
    const database = openDatabase(this.path, engine === undefined ? {} : { engine });
    database.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8000; PRAGMA secure_delete = FAST; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536',
    );
    return database;
  }

  #prepare(): void {
    this.#inode = inodeOf(this.path);
    this.#writer = new RowWriter(this.#identity.id, this.#database);
    this.#putState = this.#database.prepare('INSERT OR REPLACE INTO state VALUES (?, ?)');
  }

  #state(name: string, value: Value): void {
    this.#putState.run(name, value);
  }

  /** Rows depend on it. */
  #optionsText(): string {
    const { crypto: _, ...options } = this.#options.analysis;
    return JSON.stringify([projectionVersion, options]);
  }
}

/** @throws SwornError `catalog-held`, `catalog-create` */
function lockAt(path: string, engine: Engine | undefined): Database {
  let lock: Database | undefined;
  try {
    closeSync(openSync(`${path}.lock`, 'a', 0o600));
    lock = openDatabase(`${path}.lock`, engine === undefined ? {} : { engine });
    // the kernel lets go of it when its process ends, however it does
    lock.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close();
    const { message } = error as Error;
    if (/locked|busy/i.test(message)) throw new SwornError('catalog-held', `another process writes the catalog ${path}`);
    throw new SwornError('catalog-create', `the catalog ${path} cannot be made: ${message}`);
  }
}

export function inodeOf(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** SQLite's words for a file that is not, or no longer, one of its own. */
export function isDamage(error: unknown): boolean {
  return error instanceof Error && /malformed|not a database|disk image|corrupt/i.test(error.message);
}

export function stateOf(database: Database): Map<string, Value> {
  return new Map(
    database
      .prepare('SELECT name, value FROM state')
      .all()
      .map(({ name, value }) => [name as string, value!]),
  );
}

function hashOf(leaf: Uint8Array): string {
  return createHash('sha256').update(leaf).digest('hex');
}

/** Indexes while nothing else is to be done; says how to stop it. */
function inIdleTime(texts: TextIndex, isIdle: () => boolean, failed: (error: unknown) => void): () => Promise<void> {
  let isStopped = false;
  const run = async (): Promise<void> => {
    while (!isStopped) await sleep(isIdle() && texts.step() ? 5 : restMs);
  };
  const running = run().catch(failed);
  return async () => {
    isStopped = true;
    await running;
    texts.close();
  };
}
