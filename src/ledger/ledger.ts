/**
 * The ledger's single writer: appends records to the payload segments in group commits, grows the tree, signs and publishes.
 * Formats, states and recovery: `spec/ledger.md`.
 *
 * What must stay true:
 *   1. No receipt before the record is durable: one write and one fdatasync for each batch, flushed as soon as the last one returned.
 *   2. `head` covers only durable entries; the checkpoint covers only what `head` covered.
 *   3. A failed write leaves the segment as it was before the batch; a failed sync ends the process, since nobody can say what is on disk.
 *   4. The index of an accepted entry is its final one, or the entry fails together with everything accepted after it.
 */
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { nodeCrypto } from '../crypto-node.ts';
import { acceptedBytes, fastSyncMs, probeEveryMs, publishEveryMs, reserveBytes, segmentBytes, signEveryMs } from '../limits.ts';
import { formatCheckpoint } from '../tlog/checkpoint.ts';
import { signNote } from '../tlog/note.ts';
import { hashLeaf } from '../tlog/tree.ts';
import { nodeFiles, replaceDurablyInBackground, SyncError, writeAll, writeAllSync, type Files } from './files.ts';
import type { LedgerKey } from './keys.ts';
import { createSegment, recover, type Recovered, type Replay } from './recover.ts';
import { encodeEntryRecord, encodePartRecord, segmentHeaderBytes, segmentName, type ContentItem, type PartRecord } from './segment.ts';
import type { TreeFiles } from './tree-files.ts';

export interface Receipt {
  index: number;
  hash: Uint8Array;
}

/** What the ledger calls back. `undo` runs for all failed records first, last accepted first; then `failed`, in order. */
export interface Waiter {
  durable(receipt: Receipt | undefined): void;
  failed?(error: Error): void;
  undo?(): void;
}

export interface Content {
  leaf: Uint8Array;
  attributes: readonly ContentItem[];
  frame: readonly ContentItem[];
}

export interface AppendOptions {
  /** Somebody waits for the receipt: flush at once. Otherwise within `lazyFlushMs`. */
  urgent?: boolean;
  /** `gap`, `close`, `stop`: tried although the ledger is unrecordable, out of the reserve. */
  essential?: boolean;
}

export interface PartPlace {
  file: number;
  offset: number;
}

export interface LedgerEvents {
  /** After a batch: all its waiters were called. */
  flushed(): void;
  /** The disk refused a write, or accepts writes again. */
  recordable(recordable: boolean, error?: Error): void;
  /** A sync failed: the process must end with status 70. */
  fatal(error: Error): void;
}

interface Pending {
  buffers: Buffer[];
  sizeBytes: number;
  leaf?: Uint8Array;
  leafHash?: Uint8Array;
  index: number;
  waiter: Waiter;
  /** Begin a new segment, of this first index, before this record. */
  roll: boolean;
}

const lazyFlushMs = 4;
const lazyFlushBytes = 512 * 1024;
/** A batch of this many records or fewer may be written and synced on the spot. */
const loneRecords = 4;
const loneBytes = 64 * 1024;
const syncSamples = 15;

export class Ledger {
  readonly id: string;
  readonly origin: string;
  readonly key: LedgerKey;
  readonly folder: string;
  readonly keysFolder: string;
  readonly created: boolean;
  readonly cutBytes: number;
  /** Parts of unfinished frames that recovery found. */
  readonly unfinished: Recovered['parts'];

  readonly #files: Files;
  readonly #events: LedgerEvents;
  readonly #tree: TreeFiles;
  #fd: number;
  /** The open segment as it is on disk: durable records only. */
  #segment: { firstIndex: number; sizeBytes: number };
  /** Where the next accepted record will be. */
  #accepted: { firstIndex: number; sizeBytes: number; nextIndex: number };
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #flushing = false;
  #immediate: NodeJS.Immediate | undefined;
  #lazy: NodeJS.Timeout | undefined;
  #syncsMs: number[] = [];
  #lastSyncMs = 0;
  #recordable = true;
  #probe: NodeJS.Timeout | undefined;
  #signTimer: NodeJS.Timeout | undefined;
  #publishTimer: NodeJS.Timeout | undefined;
  #signedSize: number;
  #publishedSize: number;
  /** Signing and publishing, one after the other. */
  #background: Promise<void> = Promise.resolve();
  #closed = false;

  /**
   * Opens or creates the ledger in `folder`. The caller holds the ledger's lock.
   * @throws SwornError `ledger-create`, `ledger-corrupt`, `ledger-rollback`, `ledger-key-missing`, `ledger-foreign`
   */
  static open(folder: string, keysHome: string, replay: Replay, events: LedgerEvents, files: Files = nodeFiles): Ledger {
    return new Ledger(folder, recover(files, folder, keysHome, replay), events, files);
  }

  private constructor(folder: string, recovered: Recovered, events: LedgerEvents, files: Files) {
    this.folder = folder;
    this.id = recovered.id;
    this.origin = recovered.origin;
    this.key = recovered.key;
    this.keysFolder = recovered.keysFolder;
    this.created = recovered.created;
    this.cutBytes = recovered.cutBytes;
    this.unfinished = recovered.parts;
    this.#tree = recovered.tree;
    this.#files = files;
    this.#events = events;
    this.#segment = recovered.segment;
    this.#accepted = { ...recovered.segment, nextIndex: recovered.tree.size };
    this.#signedSize = -1;
    this.#publishedSize = -1;
    this.#fd = files.open(join(folder, 'payload', segmentName(recovered.segment.firstIndex)), 'r+', 0o600);
    // not at once: somebody waits for the first answer
    if (statSync(join(folder, 'run', 'reserve'), { throwIfNoEntry: false })?.size !== reserveBytes) setTimeout(() => this.#makeReserve(), 500).unref();
    if (recovered.tree.size > 0) this.#scheduleSigning();
  }

  /** Index that the next appended entry will have. */
  get nextIndex(): number {
    return this.#accepted.nextIndex;
  }

  /** Entries that are durable. */
  get size(): number {
    return this.#tree.size;
  }

  get recordable(): boolean {
    return this.#recordable;
  }

  /** Bytes accepted but not durable; above `limits.acceptedBytes` the caller should stop reading. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get congested(): boolean {
    return this.#pendingBytes > acceptedBytes;
  }

  /** Milliseconds of the last and of the median sync. */
  get syncMs(): { last: number; median: number } {
    return { last: this.#lastSyncMs, median: this.#medianSyncMs() };
  }

  get signedSize(): number {
    return Math.max(0, this.#signedSize);
  }

  get publishedSize(): number {
    return Math.max(0, this.#publishedSize);
  }

  /**
   * Accepts an entry: its index is `nextIndex` as it was before the call. The waiter hears of it once, later.
   * The bytes belong to the ledger from now on.
   */
  append(content: Content, waiter: Waiter, options: AppendOptions = {}): void {
    const index = this.#accepted.nextIndex;
    const buffers = encodeEntryRecord(index, content.leaf, content.attributes, content.frame);
    const pending = { buffers, sizeBytes: sizeOf(buffers), leaf: content.leaf, leafHash: hashLeaf(nodeCrypto, content.leaf), index, waiter, roll: false };
    if (this.#accept(pending, options)) this.#accepted.nextIndex = index + 1;
  }

  /** Accepts a part and says where it will be. A part is no entry: its waiter gets no receipt, only that it is durable. */
  appendPart(part: Omit<PartRecord, 'type'>, waiter: Waiter, options: AppendOptions = {}): PartPlace {
    const buffers = encodePartRecord(part);
    const pending = { buffers, sizeBytes: sizeOf(buffers), index: this.#accepted.nextIndex, waiter, roll: false };
    this.#accept(pending, options);
    return { file: this.#accepted.firstIndex, offset: this.#accepted.sizeBytes - pending.sizeBytes };
  }

  #accept(pending: Pending, { urgent = false, essential = false }: AppendOptions): boolean {
    if (this.#closed || (!this.#recordable && !essential)) {
      // still in order: earlier records may be on their way to their waiters
      queueMicrotask(() => {
        pending.waiter.undo?.();
        pending.waiter.failed?.(new Error(this.#closed ? 'the ledger is closed' : 'the ledger cannot be written'));
        this.#events.flushed();
      });
      return false;
    }
    const accepted = this.#accepted;
    // A file that has no entry yet is not closed: the next one would have the same name.
    if (accepted.sizeBytes + pending.sizeBytes > segmentBytes && accepted.nextIndex > accepted.firstIndex) {
      pending.roll = true;
      accepted.firstIndex = accepted.nextIndex;
      accepted.sizeBytes = segmentHeaderBytes;
    }
    accepted.sizeBytes += pending.sizeBytes;
    this.#pending.push(pending);
    this.#pendingBytes += pending.sizeBytes;
    if (this.#flushing || this.#immediate !== undefined) return true;
    if (urgent || this.#pendingBytes > lazyFlushBytes) {
      clearTimeout(this.#lazy);
      this.#lazy = undefined;
      this.#immediate = setImmediate(() => void this.#flush());
    } else this.#lazy ??= setTimeout(() => void this.#flush(), lazyFlushMs);
    return true;
  }

  async #flush(): Promise<void> {
    this.#immediate = undefined;
    clearTimeout(this.#lazy);
    this.#lazy = undefined;
    if (this.#flushing) return;
    this.#flushing = true;
    while (this.#pending.length > 0) {
      if (this.#pending[0]!.roll && !this.#rollSegment()) break;
      const batch = this.#takeBatch();
      const buffers = batch.length === 1 ? batch[0]!.buffers : batch.flatMap((pending) => pending.buffers);
      const sizeBytes = batch.reduce((sum, pending) => sum + pending.sizeBytes, 0);
      const startedAt = performance.now();
      const lone = batch.length <= loneRecords && sizeBytes <= loneBytes && this.#syncsMs.length > 0 && this.#medianSyncMs() < fastSyncMs;
      try {
        if (lone) writeAllSync(this.#files, this.#fd, buffers, this.#segment.sizeBytes);
        else await writeAll(this.#files, this.#fd, buffers, this.#segment.sizeBytes);
      } catch (error) {
        this.#writeFailed(batch, error as Error);
        break;
      }
      // If we die here: the batch may be on disk or not, in part or whole. Nobody was told; recovery keeps what is whole.
      const syncFrom = performance.now();
      try {
        if (lone) this.#files.datasyncSync(this.#fd);
        else await this.#files.datasync(this.#fd);
      } catch (error) {
        this.#events.fatal(new SyncError(`sync of ${this.folder}/payload: ${(error as Error).message}`, { cause: error }));
        return;
      }
      const now = performance.now();
      this.#lastSyncMs = now - syncFrom;
      this.#syncsMs.push(now - startedAt);
      if (this.#syncsMs.length > syncSamples) this.#syncsMs.shift();
      // Durable. If we die here: the records are kept; a tap that resends them is told so.
      this.#segment.sizeBytes += sizeBytes;
      this.#pendingBytes -= sizeBytes;
      for (const { index, leafHash, waiter } of batch) waiter.durable(leafHash === undefined ? undefined : { index, hash: leafHash });
      this.#events.flushed();
      for (const { leaf, leafHash } of batch) if (leaf !== undefined) this.#tree.append(leaf, leafHash!);
      this.#scheduleSigning();
    }
    this.#flushing = false;
  }

  /** The pending records up to the next change of segment. */
  #takeBatch(): Pending[] {
    const batch = this.#pending;
    this.#pending = [];
    for (let i = 1; i < batch.length; i++) if (batch[i]!.roll) this.#pending = batch.splice(i);
    return batch;
  }

  #rollSegment(): boolean {
    const first = this.#pending[0]!;
    try {
      const fd = createSegment(this.#files, join(this.folder, 'payload'), this.id, first.index);
      this.#files.close(this.#fd);
      this.#fd = fd;
      this.#segment = { firstIndex: first.index, sizeBytes: segmentHeaderBytes };
      first.roll = false;
      return true;
    } catch (error) {
      if (error instanceof SyncError) this.#events.fatal(error);
      else {
        rmSync(join(this.folder, 'payload', segmentName(first.index)), { force: true });
        this.#writeFailed([], error as Error);
      }
      return false;
    }
  }

  /**
   * The disk refused. Cut back to the last good record, give everything accepted back, and probe until there is room again.
   * If we die here: recovery finds whole records, or an incomplete last one to cut; none of them was acknowledged.
   */
  #writeFailed(batch: Pending[], error: Error): void {
    try {
      this.#files.truncate(this.#fd, this.#segment.sizeBytes);
    } catch (cause) {
      this.#events.fatal(new Error(`the segment cannot be cut back after a failed write: ${(cause as Error).message}`, { cause }));
      return;
    }
    const failed = [...batch, ...this.#pending];
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#accepted = { ...this.#segment, nextIndex: this.#tree.size };
    if (this.#recordable) {
      this.#recordable = false;
      rmSync(join(this.folder, 'run', 'reserve'), { force: true });
      this.#probe = setInterval(() => this.#probeDisk(), probeEveryMs);
      this.#events.recordable(false, error);
    }
    for (let i = failed.length - 1; i >= 0; i--) failed[i]!.waiter.undo?.();
    for (const pending of failed) pending.waiter.failed?.(error);
    this.#events.flushed();
  }

  /** There is room again when the reserve can be made anew. */
  #probeDisk(): void {
    if (!this.#makeReserve()) return;
    clearInterval(this.#probe);
    this.#recordable = true;
    this.#events.recordable(true);
    this.#scheduleSigning();
  }

  #makeReserve(): boolean {
    const path = join(this.folder, 'run', 'reserve');
    try {
      this.#files.mkdir(join(this.folder, 'run'), 0o700);
      const fd = this.#files.open(path, 'w', 0o600);
      try {
        writeAllSync(this.#files, fd, [Buffer.alloc(reserveBytes)], 0);
      } finally {
        this.#files.close(fd);
      }
      return true;
    } catch {
      rmSync(path, { force: true });
      return false;
    }
  }

  #medianSyncMs(): number {
    const sorted = this.#syncsMs.toSorted((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? 0;
  }

  #scheduleSigning(): void {
    if (this.#closed) return;
    this.#signTimer ??= setTimeout(() => {
      this.#signTimer = undefined;
      void this.sign();
    }, signEveryMs);
    this.#publishTimer ??= setTimeout(() => {
      this.#publishTimer = undefined;
      void this.publish();
    }, publishEveryMs);
  }

  /** Signs the tree as it is now into `head`, unless it was. Never rejects. */
  sign(): Promise<void> {
    return this.#inBackground(async () => {
      if (this.#tree.size === this.#signedSize) return;
      await this.#writeHead(this.#tree.size, this.#tree.root());
    });
  }

  /** Signs, makes all tiles under the new head durable, and replaces the public checkpoint. Never rejects. */
  publish(): Promise<void> {
    return this.#inBackground(async () => {
      const snapshot = this.#tree.snapshot();
      if (snapshot.size === this.#publishedSize) return;
      const note = await this.#writeHead(snapshot.size, snapshot.root);
      await this.#tree.publish(snapshot, note);
      this.#publishedSize = snapshot.size;
    });
  }

  async #writeHead(size: number, root: Uint8Array): Promise<Uint8Array> {
    const note = signNote(formatCheckpoint({ origin: this.origin, size, root }), this.key.signer);
    await replaceDurablyInBackground(this.#files, join(this.keysFolder, 'head'), note, 0o600);
    this.#signedSize = size;
    return note;
  }

  #inBackground(work: () => Promise<void>): Promise<void> {
    this.#background = this.#background.then(work).catch((error: unknown) => {
      if (error instanceof SyncError) this.#events.fatal(error);
      else if (!this.#closed) this.#scheduleSigning(); // a full disk: try again later; the older head and checkpoint stand
    });
    return this.#background;
  }

  /** Flushes, signs and publishes, and closes the segment. */
  async close(): Promise<void> {
    while (this.#flushing || this.#pending.length > 0) {
      await this.#flush();
      if (this.#flushing) await new Promise((done) => setTimeout(done, 1));
    }
    await this.publish();
    this.#closed = true;
    clearTimeout(this.#signTimer);
    clearTimeout(this.#publishTimer);
    clearInterval(this.#probe);
    this.#files.close(this.#fd);
  }
}

function sizeOf(buffers: Buffer[]): number {
  let sizeBytes = 0;
  for (const buffer of buffers) sizeBytes += buffer.length;
  return sizeBytes;
}
