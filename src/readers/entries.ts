/**
 * Follows a ledger with a cursor and never asks the recorder (`spec/ledger.md`, "Readers"): full bundles first, then the segments up to the last whole
 * record. With content the segments are read from the start. Where segments are missing or closed to us, bundles serve, partial ones too, without content.
 * Whether what is read is genuine is the verifier's question; a reader shows what is there.
 */
import { existsSync, readdirSync, readFileSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { SwornError } from '../errors.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import type { Entry } from '../entry/entry.ts';
import { segmentHeaderBytes } from '../ledger/segment.ts';
import { tileWidth } from '../limits.ts';
import { parseCheckpoint } from '../tlog/checkpoint.ts';
import { parseNote } from '../tlog/note.ts';
import { decodeBundle, tilePath } from '../tlog/tile.ts';
import { Segment, segmentsOf, type Content } from './payload.ts';

/** A leaf that this version cannot read: damaged, or of a newer one. */
export interface UnreadableEntry {
  kind: 'unreadable';
  problem: string;
}

export interface Located {
  index: number;
  /** The stored bytes. Valid for good: nobody writes to them again. */
  leaf: Uint8Array;
  entry: Entry | UnreadableEntry;
  /** With `content: true`, where the segment could be read. */
  content?: Content;
}

export interface ReadOptions {
  /** First index; default 0. Where the beginning is pruned, what is left begins later. */
  from?: number;
  /** Index to stop before; default none. */
  to?: number;
  /** Read attributes and frames too. */
  content?: boolean;
  /** Wait for more at the end, until aborted. */
  follow?: AbortSignal;
}

const turnEntries = 256;

/** How often a follower looks by itself, beside being woken by the file system. */
const pollMs = 250;
/** At most so often a follower reads on: each write of a busy recorder would wake it, and it would take the processor from what it follows. */
const restMs = 50;

/**
 * The entries of a ledger in order. Memory stays flat: a bundle or a window at a time.
 * @throws SwornError `no-ledger` when the folder holds none, `permission` when it is closed to us
 */
export async function* readEntries(ledger: string, options: ReadOptions = {}): AsyncGenerator<Located> {
  const { to = Number.POSITIVE_INFINITY, content = false, follow } = options;
  checkLedger(ledger);
  const cursor = new EntryReader(ledger, options.from ?? 0, content);
  try {
    for (;;) {
      const readAt = performance.now();
      let inTurn = 0;
      for (const located of cursor.available(to)) {
        yield located;
        // reading is synchronous: let signals, timers and writes have their turn
        if (++inTurn % turnEntries === 0) await nextTurn();
      }
      if (cursor.index >= to || follow === undefined || follow.aborted) return;
      await changed(ledger, follow);
      const restedMs = performance.now() - readAt;
      if (restedMs < restMs && !follow.aborted) await sleep(restMs - restedMs);
      if (follow.aborted) return;
    }
  } finally {
    cursor.close();
  }
}

/** The entry at an index: found by the segments' names and a walk from record to record, or in its bundle. `undefined` when there is none. */
export async function readEntryAt(ledger: string, index: number, content = true): Promise<Located | undefined> {
  for await (const located of readEntries(ledger, { from: index, to: index + 1, content })) return located;
  return undefined;
}

/** Entries from the newest to the oldest, without content. `to`: index to stop before; default the size of the ledger. */
export async function* readEntriesBackwards(ledger: string, to?: number): AsyncGenerator<Located> {
  const first = firstIndexOf(ledger);
  for (let end = to ?? (await sizeOf(ledger)); end > first;) {
    const from = Math.floor((end - 1) / tileWidth) * tileWidth;
    const block: Located[] = [];
    for await (const located of readEntries(ledger, { from, to: end })) block.push(located);
    yield* block.reverse();
    end = from;
  }
}

/** How many entries the ledger has now, as far as whole records go. */
export async function sizeOf(ledger: string): Promise<number> {
  checkLedger(ledger);
  let size = Math.max(fullBundles(ledger) * tileWidth, firstIndexOf(ledger));
  for await (const { index } of readEntries(ledger, { from: size })) size = index + 1;
  return size;
}

/**
 * Where to begin to read for entries from `sinceMs` (wall clock, ms since 1970) on: at most a few bundles before the first one. Found by halving over the
 * bundles' first times. Where the clock was set back, entries of that time that lie further in front may be missed.
 */
export async function indexSince(ledger: string, sinceMs: number): Promise<number> {
  checkLedger(ledger);
  const startsBefore = (n: number): boolean => {
    const leaf = readBundle(ledger, n, tileWidth)?.[0];
    const entry = leaf === undefined ? undefined : entryOf(leaf);
    return entry === undefined || entry.kind === 'unreadable' || Date.parse(entry.time) < sinceMs;
  };
  let low = 0;
  let high = fullBundles(ledger);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (startsBefore(middle)) low = middle + 1;
    else high = middle;
  }
  // the bundle before may end after that time; one more, and back over any run that a set clock left there
  let n = Math.max(0, low - 2);
  while (n > 0 && !startsBefore(n)) n--;
  return n * tileWidth;
}

/** A place in a ledger from which reading goes on: what lies in front of it is not walked through again. Whoever opens it closes it. */
export class EntryReader {
  /** Of the next entry. */
  index: number;
  readonly #ledger: string;
  #to = 0;
  readonly #content: boolean;
  #segment: Segment | undefined;
  #offset = segmentHeaderBytes;

  constructor(ledger: string, from: number, content: boolean) {
    this.#ledger = ledger;
    this.index = Math.max(from, firstIndexOf(ledger));
    this.#content = content;
  }

  close(): void {
    this.#segment?.close();
    this.#segment = undefined;
  }

  /** What can be read now, as far as `to`: index to stop before. */
  *available(to: number): Generator<Located> {
    this.#to = to;
    while (this.index < this.#to) {
      const before = this.index;
      if (!this.#content) yield* this.#bundles(true);
      yield* this.#segments();
      if (this.index === before) yield* this.#bundles(false);
      if (this.index === before) return;
    }
  }

  *#segments(): Generator<Located> {
    while (this.index < this.#to) {
      const files = segmentsOf(this.#ledger);
      const firstIndex = files.findLast((first) => first <= this.index);
      if (firstIndex === undefined) return;
      if (this.#segment?.firstIndex !== firstIndex) {
        this.close();
        this.#segment = Segment.open(this.#ledger, firstIndex);
        this.#offset = segmentHeaderBytes;
        if (this.#segment === undefined) return;
      } else this.#segment.refresh();
      const before = this.index;
      for (;;) {
        const found = this.#segment.next(this.#offset, this.index, this.#content);
        if (found === undefined || found.entry.index !== this.index) break;
        this.#offset = found.end;
        this.index++;
        yield locate(found.entry.index, found.entry.leaf, found.entry.content);
        if (this.index >= this.#to) return;
      }
      if (this.index === before) return;
    }
  }

  *#bundles(onlyFull: boolean): Generator<Located> {
    while (this.index < this.#to) {
      const n = Math.floor(this.index / tileWidth);
      const leaves = readBundle(this.#ledger, n, tileWidth) ?? (onlyFull ? undefined : readPartial(this.#ledger, n));
      if (leaves === undefined || n * tileWidth + leaves.length <= this.index) return;
      while (this.index < this.#to && this.index < n * tileWidth + leaves.length) {
        const leaf = leaves[this.index - n * tileWidth]!;
        yield locate(this.index++, leaf);
      }
      // one bundle, then the segments again: they may have content for what follows
      if (!onlyFull) return;
    }
  }
}

function locate(index: number, leaf: Uint8Array, content?: Content): Located {
  const entry = entryOf(leaf);
  return content === undefined ? { index, leaf, entry } : { index, leaf, entry, content };
}

function entryOf(leaf: Uint8Array): Entry | UnreadableEntry {
  const entry = readEntry(leaf);
  return entry instanceof EntryProblem ? { kind: 'unreadable', problem: entry.message } : entry;
}

/** @throws SwornError `no-ledger` when the folder holds none, `permission` when it is closed to us */
export function checkLedger(ledger: string): void {
  try {
    readdirSync(ledger);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') throw new SwornError('permission', `the ledger ${ledger} is closed to you`);
  }
  if (existsSync(join(ledger, 'log')) || existsSync(join(ledger, 'payload'))) return;
  throw new SwornError('no-ledger', `there is no ledger in ${ledger}`);
}

function readBundle(ledger: string, n: number, width: number): Uint8Array[] | undefined {
  try {
    const leaves = decodeBundle(readFileSync(join(ledger, 'log', tilePath('entries', n, width))));
    return leaves?.length === width ? leaves : undefined;
  } catch {
    return undefined;
  }
}

/** The widest partial bundle. */
function readPartial(ledger: string, n: number): Uint8Array[] | undefined {
  try {
    const widths = readdirSync(join(ledger, 'log', `${tilePath('entries', n)}.p`))
      .map(Number)
      .filter((width) => Number.isInteger(width) && width > 0 && width < tileWidth);
    return widths.length === 0 ? undefined : readBundle(ledger, n, Math.max(...widths));
  } catch {
    return undefined;
  }
}

function hasBundle(ledger: string, n: number): boolean {
  return existsSync(join(ledger, 'log', tilePath('entries', n)));
}

/**
 * The first entry that can be read: 0, unless the beginning is pruned (`spec/ledger.md`), or was taken away. Bundles and segments go from the first one on, so what is
 * left is found by halving below the checkpoint, and in the first segment.
 */
export function firstIndexOf(ledger: string): number {
  if (hasBundle(ledger, 0)) return 0;
  const [firstIndex] = segmentsOf(ledger);
  const segment = firstIndex === undefined ? undefined : Segment.open(ledger, firstIndex);
  let recorded: number | undefined;
  try {
    recorded = segment?.next(segmentHeaderBytes, 0, false)?.entry.index;
  } finally {
    segment?.close();
  }
  if (recorded === 0) return 0;
  let low = 0;
  let high = Math.floor(publishedSize(ledger) / tileWidth);
  const published = high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (hasBundle(ledger, middle)) high = middle;
    else low = middle + 1;
  }
  if (recorded === undefined) return low === published && readPartial(ledger, low) === undefined ? 0 : low * tileWidth;
  return low === published ? recorded : Math.min(recorded, low * tileWidth);
}

function publishedSize(ledger: string): number {
  try {
    const note = parseNote(readFileSync(join(ledger, 'log', 'checkpoint')));
    return (note && parseCheckpoint(note.text)?.size) ?? 0;
  } catch {
    return 0;
  }
}

/** How many full bundles there are, without a hole behind the pruned ones: doubling, then halving. */
function fullBundles(ledger: string): number {
  const has = (n: number): boolean => hasBundle(ledger, n);
  const first = Math.ceil(firstIndexOf(ledger) / tileWidth);
  if (!has(first)) return first;
  let low = first;
  let high = first + 1;
  while (has(high)) {
    low = high;
    high = first + (high - first) * 2;
  }
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    if (has(middle)) low = middle;
    else high = middle;
  }
  return low + 1;
}

/** Until something in the ledger may have changed, or the signal aborts. */
async function changed(ledger: string, signal: AbortSignal): Promise<void> {
  let done = (): void => undefined;
  const promise = new Promise<void>((resolve) => (done = resolve));
  const timer = setTimeout(done, pollMs);
  signal.addEventListener('abort', done, { once: true });
  const last = segmentsOf(ledger).at(-1);
  let watcher: ReturnType<typeof watch> | undefined;
  try {
    const path = last === undefined ? ledger : join(ledger, 'payload', String(last).padStart(16, '0'));
    const sizeBytes = statSync(path).size;
    watcher = watch(path, done);
    watcher.on('error', done);
    // what was written between the last read and the watch would wake nobody
    if (last !== undefined && statSync(path).size !== sizeBytes) done();
  } catch {
    // no watching here: the poll is enough
  }
  await promise;
  clearTimeout(timer);
  signal.removeEventListener('abort', done);
  watcher?.close();
}
