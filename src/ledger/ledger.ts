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
import { existsSync, fstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import {
  acceptedBytes,
  entryBytes,
  fastSyncMs,
  probeEveryMs,
  publishEveryMs,
  recordBytes,
  reserveBytes,
  segmentBytes,
  signEveryMs,
  tileWidth,
  unitBytes,
} from '../limits.ts';
import { formatCheckpoint } from '../tlog/checkpoint.ts';
import { hashLeaf } from '../tlog/tree.ts';
import { guardSync, nodeFiles, replaceDurablyInBackground, SyncError, syncFile, syncFolder, writeAll, writeAllSync, type Files } from './files.ts';
import { addKey, heldBy, retireKeys, signText, type KeyHolder, type LedgerKey } from './keys.ts';
import { encryptRecord, nonceBytes } from './cipher.ts';
import { createSegment, recover, segmentFiles, type OpenSegment, type Recovered, type Replay } from './recover.ts';
import { eraseNamed, Interrupted, pruneSegment, type Erased, type Naming } from './rewrite.ts';
import type { Encryption, FreshKey, SegmentKeyStore } from './segment-key-store.ts';
import {
  encodeEntryRecord,
  encodePartRecord,
  leafAt,
  recordHeaderBytes,
  scanSegment,
  segmentHeaderBytes,
  segmentName,
  type ContentItem,
  type PartRecord,
} from './segment.ts';
import { Pieces, Slabs, type Slab } from './slabs.ts';
import type { TreeFiles } from './tree-files.ts';

export interface Receipt {
  index: number;
  hash: Uint8Array;
}

/**
 * What the ledger calls back, never from within `append`. `undo` runs for all failed records first, last accepted first; then `failed`, in order.
 * After `fatal` nothing is called any more: whether the records are on disk is not known.
 */
export interface Waiter {
  durable(receipt: Receipt | undefined): void;
  failed?(error: Error): void;
  undo?(): void;
}

export interface Content {
  /** As bytes, or as the text that they encode. */
  leaf: Uint8Array | string;
  attributes: readonly ContentItem[];
  frame: readonly ContentItem[];
}

export interface AppendOptions {
  /** Somebody waits for the receipt: flush at once. Otherwise within `lazyFlushMs`. */
  urgent?: boolean;
  /** `gap`, `close`, `stop`: tried although the ledger is unrecordable, out of the reserve. */
  essential?: boolean;
  /** Calls for no checkpoint of its own: what is said of one checkpoint would otherwise ask for the next, for ever. */
  unpublished?: boolean;
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
  /** Whoever holds the key does not sign, or signs (again). Entries are durable and unsigned meanwhile. */
  signing?(problem: Error | undefined): void;
  /** The disk takes no new checkpoint, or what belongs to it, or takes them (again). It is tried again, and the older one stands meanwhile; at the end it is not. */
  publishing?(problem: Error | undefined): void;
  /** The key of the open segment is kept nowhere any more: what comes goes into another one. */
  keyLost?(path: string): void;
  /** A sync failed: the process must end with status 70. */
  fatal(error: Error): void;
}

interface Pending {
  buffers: Buffer[];
  sizeBytes: number;
  /** Where its bytes are. */
  slab?: Slab;
  leaf?: Uint8Array;
  leafHash?: Uint8Array;
  index: number;
  waiter: Waiter;
  /** Begin a new segment, of this first index, before this record. */
  roll: boolean;
  /** Of that segment, where it is to be encrypted: kept before it is begun. */
  fresh?: FreshKey | undefined;
  unpublished?: boolean | undefined;
}

/** The bounds of `limits.ts` that a test may change; production never does. */
export interface LedgerBounds {
  segmentBytes: number;
  reserveBytes: number;
  fastSyncMs: number;
  probeEveryMs: number;
  signEveryMs: number;
  publishEveryMs: number;
}

const defaultBounds: LedgerBounds = { segmentBytes, reserveBytes, fastSyncMs, probeEveryMs, signEveryMs, publishEveryMs };
/** A full disk is not called writable again before there is this much room beside the reserve, which the failure itself has just set free. */
const probeRoomBytes = unitBytes;
/** The first reserve is made this long after the start, when nobody waits for a first answer. */
const reserveAfterMs = 500;
const lazyFlushMs = 4;
const lazyFlushBytes = 512 * 1024;
/** A batch of this many records or fewer may be written and synced on the spot. */
const loneRecords = 4;
const loneBytes = 64 * 1024;
const syncSamples = 15;

export class Ledger {
  readonly id: string;
  readonly origin: string;
  readonly folder: string;
  readonly keysFolder: string;
  readonly created: boolean;
  readonly cutBytes: number;
  /** Parts of unfinished frames that recovery found. */
  readonly unfinished: Recovered['parts'];
  /** Those of encrypted segments. */
  readonly segmentKeys: SegmentKeyStore;

  /** Asks others for their signatures on a checkpoint that is about to be public: the note with them. It keeps to a time of its own. */
  cosign: ((note: Uint8Array, size: number) => Promise<Uint8Array>) | undefined;

  readonly #files: Files;
  readonly #events: LedgerEvents;
  readonly #tree: TreeFiles;
  readonly #bounds: LedgerBounds;
  #key: LedgerKey;
  #fd: number;
  /** The open segment as it is on disk: durable records only. */
  #segment: OpenSegment;
  /** Where the next accepted record will be. */
  #accepted: OpenSegment & { nextIndex: number };
  readonly #slabs = new Slabs();
  #pending: Pending[] = [];
  #pendingBytes = 0;
  /** Records that were not accepted, until their waiters hear of it. */
  #refused: Waiter[] = [];
  #flushing = false;
  #immediate: NodeJS.Immediate | undefined;
  #lazy: NodeJS.Timeout | undefined;
  #syncsMs: number[] = [];
  #lastSyncMs = 0;
  #recordable = true;
  #probe: NodeJS.Timeout | undefined;
  #signTimer: NodeJS.Timeout | undefined;
  #publishTimer: NodeJS.Timeout | undefined;
  #reserveTimer: NodeJS.Timeout | undefined;
  #signedSize: number;
  #publishedSize: number;
  /** By this process: its first entries are published soon, so that whoever looks at a fresh recording finds it signed. */
  #hasPublished = false;
  /** Signing and publishing, one after the other. */
  #background: Promise<unknown> = Promise.resolve();
  #publishing: Promise<void> = Promise.resolve();
  /** The next record begins a new segment, however short the open one is. */
  #rollDue = false;
  #closed = false;
  #closing: Promise<void> | undefined;
  /** `fatal` was called: nothing is written or acknowledged any more. */
  #dead = false;

  /**
   * Opens or creates the ledger in `folder`. The caller holds the ledger's lock.
   * @throws SwornError `ledger-create`, `ledger-corrupt`, `ledger-rollback`, `ledger-key-missing`, `ledger-foreign`, `encryption-key`, `sync-failed`
   */
  static open(
    folder: string,
    keysHome: string,
    replay: Replay,
    events: LedgerEvents,
    files: Files = nodeFiles,
    bounds: Partial<LedgerBounds> = {},
    encryption?: Encryption,
  ): Ledger {
    try {
      return new Ledger(folder, recover(files, folder, keysHome, replay, encryption), events, files, { ...defaultBounds, ...bounds });
    } catch (error) {
      if (error instanceof SyncError) throw new SwornError('sync-failed', error.message, {}, { cause: error });
      // a read-only or unreadable folder; anything else is a caller's or our own mistake and stays as it is
      if (!(error instanceof SwornError) && (error as NodeJS.ErrnoException).syscall !== undefined) {
        throw new SwornError('ledger-create', `the ledger ${folder} cannot be opened: ${(error as Error).message}`, {}, { cause: error });
      }
      throw error;
    }
  }

  private constructor(folder: string, recovered: Recovered, events: LedgerEvents, files: Files, bounds: LedgerBounds) {
    this.folder = folder;
    this.id = recovered.id;
    this.origin = recovered.origin;
    this.#key = recovered.key;
    this.keysFolder = recovered.keysFolder;
    this.created = recovered.created;
    this.cutBytes = recovered.cutBytes;
    this.unfinished = recovered.parts;
    this.segmentKeys = recovered.segmentKeys;
    this.#tree = recovered.tree;
    this.#files = files;
    this.#events = events;
    this.#bounds = bounds;
    this.#segment = recovered.segment;
    this.#accepted = { ...recovered.segment, nextIndex: recovered.tree.size };
    this.#rollIfOther();
    this.#signedSize = recovered.signedSize;
    this.#publishedSize = recovered.publishedSize;
    this.#fd = files.open(join(folder, 'payload', segmentName(recovered.segment.firstIndex)), 'r+', 0o600);
    if (statSync(join(folder, 'run', 'reserve'), { throwIfNoEntry: false })?.size !== bounds.reserveBytes) {
      this.#reserveTimer = setTimeout(() => this.#makeReserve(0), reserveAfterMs).unref();
    }
    if (recovered.tree.size > 0) this.#scheduleSigning();
  }

  /** Those who sign. */
  get key(): LedgerKey {
    return this.#key;
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
    return this.#recordable && !this.#dead;
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
    return this.#signedSize;
  }

  get publishedSize(): number {
    return this.#publishedSize;
  }

  /** The leaf hash of a durable entry, read from disk; `undefined` for an index that the ledger has not. Slow: for questions that are rarely asked. */
  leafHashAt(index: number): Uint8Array | undefined {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.#tree.size) return undefined;
    const payload = join(this.folder, 'payload');
    const firstIndex = segmentFiles(payload).findLast((first) => first <= index);
    if (firstIndex === undefined) return this.#tree.prunedHashAt(index);
    for (const scanned of scanSegment(join(payload, segmentName(firstIndex)))) {
      if (scanned.kind === 'record' && scanned.record.type === 'entry' && scanned.record.index === index)
        return hashLeaf(nodeCrypto, scanned.record.leaf);
    }
    return this.#tree.prunedHashAt(index);
  }

  /**
   * Proves that the checkpoint of `size2`, which is public or about to be, continues that of `size1`.
   * @throws the disk's error
   */
  consistency(sizes: { size1: number; size2: number }): Uint8Array[] {
    return this.#tree.consistency(sizes);
  }

  /**
   * Accepts an entry: its index is `nextIndex` as it was before the call. The waiter hears of it once, later.
   * The bytes belong to the ledger from now on.
   * @throws RangeError for a leaf over `limits.entryBytes` or a record over `limits.recordBytes`: once stored, it could never be read again
   */
  append(content: Content, waiter: Waiter, options: AppendOptions = {}): void {
    const index = this.#accepted.nextIndex;
    const leafBytes = typeof content.leaf === 'string' ? Buffer.byteLength(content.leaf) : content.leaf.length;
    if (leafBytes > entryBytes) throw new RangeError(`an entry has at most ${entryBytes} bytes, not ${leafBytes}`);
    const buffers = encodeEntryRecord(index, content.leaf, content.attributes, content.frame, leafBytes, this.#slabs.allocate);
    const leaf = buffers[0]!.subarray(leafAt, leafAt + leafBytes);
    const pending: Pending = {
      buffers,
      sizeBytes: this.#sizeOf(buffers),
      slab: this.#slabs.keep(),
      leaf,
      leafHash: hashLeaf(nodeCrypto, leaf),
      index,
      waiter,
      roll: false,
      unpublished: options.unpublished,
    };
    if (this.#accept(pending, options)) this.#accepted.nextIndex = index + 1;
    else this.#release(pending);
  }

  /**
   * Accepts a part and says where it will be. A part is no entry: its waiter gets no receipt, only that it is durable.
   * @throws RangeError for a record over `limits.recordBytes`
   */
  appendPart(part: Omit<PartRecord, 'type'>, waiter: Waiter, options: AppendOptions = {}): PartPlace {
    const buffers = encodePartRecord(part);
    const pending: Pending = { buffers, sizeBytes: this.#sizeOf(buffers), index: this.#accepted.nextIndex, waiter, roll: false };
    this.#accept(pending, options);
    return { file: this.#accepted.firstIndex, offset: this.#accepted.sizeBytes - pending.sizeBytes };
  }

  /** Nothing to be written: the waiter hears of it in its turn among those that came before it. */
  follow(waiter: Waiter, options: AppendOptions = {}): void {
    this.#accept({ buffers: [], sizeBytes: 0, index: this.#accepted.nextIndex, waiter, roll: false }, options);
  }

  /** @throws RangeError for more than a reader would accept */
  #sizeOf(buffers: Buffer[]): number {
    const sizeBytes = sizeOf(buffers);
    const mostBytes = recordBytes - (this.#accepted.key !== undefined || this.segmentKeys.isOn ? nonceBytes : 0);
    if (sizeBytes - recordHeaderBytes > mostBytes) throw new RangeError(`a record has at most ${mostBytes} bytes, not ${sizeBytes}`);
    return sizeBytes;
  }

  #accept(pending: Pending, { urgent = false, essential = false }: AppendOptions): boolean {
    if (this.#dead) return false;
    if (this.#closed || (!this.#recordable && !essential)) {
      this.#refused.push(pending.waiter);
      if (this.#refused.length === 1)
        queueMicrotask(() => this.#giveBack([], new Error(this.#closed ? 'the ledger is closed' : 'the ledger cannot be written')));
      return false;
    }
    const accepted = this.#accepted;
    // A file that has no entry yet is not closed: the next one would have the same name.
    const moreBytes = pending.sizeBytes + (accepted.key === undefined ? 0 : nonceBytes);
    if ((this.#rollDue || accepted.sizeBytes + moreBytes > this.#bounds.segmentBytes) && accepted.nextIndex > accepted.firstIndex) {
      this.#rollDue = false;
      pending.roll = true;
      pending.fresh = this.segmentKeys.make(accepted.nextIndex);
      accepted.key = pending.fresh?.key;
      accepted.firstIndex = accepted.nextIndex;
      accepted.sizeBytes = segmentHeaderBytes;
    }
    if (accepted.key !== undefined && pending.buffers.length > 0) {
      pending.buffers = [encryptRecord(pending.buffers, accepted.key)];
      pending.sizeBytes += nonceBytes;
    }
    accepted.sizeBytes += pending.sizeBytes;
    this.#pending.push(pending);
    this.#pendingBytes += pending.sizeBytes;
    if (this.#flushing || this.#immediate !== undefined) return true;
    if (urgent || this.#pendingBytes > lazyFlushBytes) this.#flushSoon();
    else this.#lazy ??= setTimeout(() => void this.#flush(), lazyFlushMs);
    return true;
  }

  /** Flushes at once what `urgent` would flush at the end of this turn: for a caller that knows that nothing else will join it. */
  flushUrgent(): void {
    if (this.#immediate !== undefined) void this.#flush();
  }

  /** Makes sure that the entry `index` lies in a closed segment once the next record is durable: only there it can be erased. */
  closeSegmentOf(index: number): void {
    this.#rollDue ||= index >= this.#accepted.firstIndex && this.#accepted.nextIndex > this.#accepted.firstIndex;
  }

  /**
   * From the next record on segments are encrypted so, or not at all.
   * @throws (rejects) SwornError `encryption-key`: then it stays as it was
   */
  async encrypt(by: Encryption | undefined): Promise<void> {
    (await this.segmentKeys.configure(by))();
    this.#rollIfOther();
    try {
      this.segmentKeys.relocate(this.#files);
    } catch (error) {
      if (error instanceof SyncError) this.#die(error);
      // only readers are told too late: the next start says it, or the next segment
    }
  }

  /** A segment that is stored otherwise than new ones are is not gone on with. */
  #rollIfOther(): void {
    this.#rollDue ||= !this.segmentKeys.isCurrent(this.#accepted.key);
  }

  /**
   * Erases what durable `erasure` entries name, in closed segments, while recording goes on; what is erased already stays so. One call at a time.
   * `isInterrupted` ends it between two chunks. Says how much went.
   * @throws Interrupted, or the disk's error: then some files may be done and the others are as they were
   */
  async erase(naming: Naming, isInterrupted: () => boolean): Promise<Erased & { files: number }> {
    const payload = join(this.folder, 'payload');
    // what is named lies in closed segments (`closeSegmentOf`); the open one is never touched
    const closed = segmentFiles(payload).filter((firstIndex) => firstIndex < this.#segment.firstIndex);
    try {
      await this.segmentKeys.openAll();
      const erased = await eraseNamed(this.#files, payload, closed, naming, () => this.#dead || isInterrupted(), this.segmentKeys);
      // also of a file that an earlier try has written anew
      this.segmentKeys.removeStale(this.#files, payload);
      return erased;
    } catch (error) {
      // nobody can say which of two files a power cut would leave
      if (error instanceof SyncError) this.#die(error);
      throw error;
    }
  }

  /**
   * Takes the entries below `end` away, a multiple of 256 below the published size, as a durable and published `prune` entry says: bundles, then segments, from the
   * beginning on. Hash tiles stay. What is gone already is gone; below `from` all is. One call at a time, and not while something is erased.
   * If we die in here: what is left of the prefix is whole, and goes with the next call.
   * @throws Interrupted, or the disk's error
   */
  async prune(from: number, end: number, isInterrupted: () => boolean): Promise<void> {
    const payload = join(this.folder, 'payload');
    const isOver = (): boolean => this.#dead || isInterrupted();
    try {
      await this.#tree.prune(from / tileWidth, end / tileWidth, isOver);
      const closed = segmentFiles(payload).filter((firstIndex) => firstIndex < this.#segment.firstIndex);
      for (const [i, firstIndex] of closed.entries()) {
        if (isOver()) throw new Interrupted('the pruning goes on with the next recorder');
        if (firstIndex >= end) break;
        if ((closed[i + 1] ?? this.#segment.firstIndex) <= end) {
          this.#files.unlink(join(payload, segmentName(firstIndex)));
          // a power cut must not bring back one before another that stays away: recovery would miss what is between
          await syncFile(this.#files, payload);
        } else await pruneSegment(this.#files, payload, firstIndex, end, isOver, this.segmentKeys);
      }
      // whoever has an old copy of what went must not be able to open it
      this.segmentKeys.removeBefore(this.#files, segmentFiles(payload)[0] ?? 0);
      this.segmentKeys.removeStale(this.#files, payload);
    } catch (error) {
      if (error instanceof SyncError) this.#die(error);
      throw error;
    }
  }

  #flushSoon(): void {
    clearTimeout(this.#lazy);
    this.#lazy = undefined;
    this.#immediate ??= setImmediate(() => void this.#flush());
  }

  async #flush(): Promise<void> {
    clearImmediate(this.#immediate);
    this.#immediate = undefined;
    clearTimeout(this.#lazy);
    this.#lazy = undefined;
    if (this.#flushing || this.#dead) return;
    this.#flushing = true;
    while (this.#pending.length > 0) {
      if (this.#pending[0]!.roll && !this.#rollSegment()) break;
      const batch = this.#takeBatch();
      const pieces = new Pieces();
      let sizeBytes = 0;
      for (const pending of batch) {
        pieces.add(pending.buffers);
        sizeBytes += pending.sizeBytes;
      }
      const buffers = pieces.all();
      if (sizeBytes === 0) {
        for (const { waiter } of batch) waiter.durable(undefined);
        this.#events.flushed();
        continue;
      }
      const startedAt = performance.now();
      const lone =
        batch.length <= loneRecords && sizeBytes <= loneBytes && this.#syncsMs.length > 0 && this.#medianSyncMs() < this.#bounds.fastSyncMs;
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
        this.#die(new SyncError(`sync of ${this.folder}/payload: ${(error as Error).message}`, { cause: error }));
      }
      // also when `head` could not be synced meanwhile
      if (this.#dead) break;
      const now = performance.now();
      this.#lastSyncMs = now - syncFrom;
      this.#syncsMs.push(now - startedAt);
      if (this.#syncsMs.length > syncSamples) this.#syncsMs.shift();
      // Durable. If we die here: the records are kept; a tap that resends them is told so.
      this.#segment.sizeBytes += sizeBytes;
      this.#pendingBytes -= sizeBytes;
      for (const { index, leafHash, waiter } of batch) waiter.durable(leafHash === undefined ? undefined : { index, hash: leafHash });
      this.#events.flushed();
      for (const pending of batch) {
        if (pending.leaf !== undefined) this.#tree.append(pending.leaf, pending.leafHash!);
        this.#release(pending);
      }
      this.#scheduleSigning(batch.some(({ unpublished }) => unpublished !== true));
    }
    this.#flushing = false;
    // what the waiters of a failed batch appended, a `gap` for instance
    if (this.#pending.length > 0 && !this.#dead) this.#flushSoon();
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
    const payload = join(this.folder, 'payload');
    try {
      // If we die between the two: a key of no segment, which nobody uses.
      if (first.fresh) this.segmentKeys.store(this.#files, first.fresh);
      const fd = createSegment(this.#files, payload, this.id, first.index, first.fresh?.key.id);
      this.#files.close(this.#fd);
      this.#fd = fd;
      this.#segment = { firstIndex: first.index, sizeBytes: segmentHeaderBytes, key: first.fresh?.key };
      first.roll = false;
      return true;
    } catch (error) {
      if (error instanceof SyncError) this.#die(error);
      else {
        try {
          // It must be gone for good before the older segment goes on: recovery would find two homes for one index.
          const path = join(payload, segmentName(first.index));
          if (existsSync(path)) {
            this.#files.unlink(path);
            syncFolder(this.#files, payload);
          }
          this.#writeFailed([], error as Error);
        } catch (cause) {
          this.#die(new Error(`a new segment can be neither made nor taken away: ${(cause as Error).message}`, { cause }));
        }
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
      // A read-only disk stores nothing and cannot be cut. The sync keeps a power cut from bringing refused records back behind newer ones.
      if (fstatSync(this.#fd).size > this.#segment.sizeBytes) {
        this.#files.truncate(this.#fd, this.#segment.sizeBytes);
        guardSync(() => this.#files.syncSync(this.#fd), `${this.folder}/payload`);
      }
    } catch (cause) {
      this.#die(new Error(`the segment cannot be cut back after a failed write: ${(cause as Error).message}`, { cause }));
      return;
    }
    const given = [...batch, ...this.#pending];
    for (const pending of given) this.#release(pending);
    const failed = given.map((pending) => pending.waiter);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#accepted = { ...this.#segment, nextIndex: this.#tree.size };
    this.#rollIfOther();
    if (this.#recordable) {
      this.#recordable = false;
      clearTimeout(this.#reserveTimer);
      this.#releaseReserve();
      this.#probe = setInterval(() => this.#probeDisk(), this.#bounds.probeEveryMs);
      this.#events.recordable(false, error);
    }
    this.#giveBack(failed, error);
  }

  /** Tells the waiters of failed records, and of those that were refused after them, as `Waiter` says. */
  #giveBack(failed: Waiter[], error: Error): void {
    const waiters = [...failed, ...this.#refused];
    if (waiters.length === 0) return;
    this.#refused = [];
    for (let i = waiters.length - 1; i >= 0; i--) waiters[i]!.undo?.();
    for (const waiter of waiters) waiter.failed?.(error);
    this.#events.flushed();
  }

  /** Its bytes are read no more. */
  #release({ slab }: Pending): void {
    if (slab !== undefined) this.#slabs.release(slab);
  }

  /** Nobody can say what is on disk: stop everything and have the process ended. */
  #die(error: Error): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#stopTimers();
    this.#events.fatal(error);
  }

  #stopTimers(): void {
    clearImmediate(this.#immediate);
    clearTimeout(this.#lazy);
    clearTimeout(this.#signTimer);
    clearTimeout(this.#publishTimer);
    clearTimeout(this.#reserveTimer);
    clearInterval(this.#probe);
  }

  /** Recordable again once the reserve can be made anew and room is left beside it. */
  #probeDisk(): void {
    if (!this.#makeReserve(probeRoomBytes)) return;
    clearInterval(this.#probe);
    this.#recordable = true;
    this.#events.recordable(true);
    this.#scheduleSigning();
  }

  /** Makes the reserve if there is room for it and for `roomBytes` more; otherwise leaves none. */
  #makeReserve(roomBytes: number): boolean {
    try {
      this.#files.mkdir(join(this.folder, 'run'), 0o700);
      const fd = this.#files.open(join(this.folder, 'run', 'reserve'), 'w', 0o600);
      try {
        writeAllSync(this.#files, fd, [Buffer.alloc(this.#bounds.reserveBytes + roomBytes)], 0);
        if (roomBytes > 0) this.#files.truncate(fd, this.#bounds.reserveBytes);
      } finally {
        this.#files.close(fd);
      }
      return true;
    } catch {
      this.#releaseReserve();
      return false;
    }
  }

  #releaseReserve(): void {
    try {
      this.#files.unlink(join(this.folder, 'run', 'reserve'));
    } catch {
      // there is none, or the disk is read-only and nothing could be written into its room
    }
  }

  #medianSyncMs(): number {
    const sorted = this.#syncsMs.toSorted((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? 0;
  }

  #scheduleSigning(publishes = true): void {
    if (this.#closed || this.#dead) return;
    this.#signTimer ??= setTimeout(() => {
      this.#signTimer = undefined;
      void this.sign();
    }, this.#bounds.signEveryMs);
    if (!publishes) return;
    this.#publishTimer ??= setTimeout(
      () => {
        this.#publishTimer = undefined;
        void this.publish();
      },
      this.#hasPublished ? this.#bounds.publishEveryMs : this.#bounds.signEveryMs,
    );
  }

  /** Somebody took the line of the open segment's key away, or put an older file in the place of its file: it is not gone on with. */
  #rollIfLost(): void {
    const { key, firstIndex } = this.#segment;
    if (key === undefined || this.#rollDue || this.#accepted.firstIndex !== firstIndex || this.segmentKeys.isKept(firstIndex, key)) return;
    this.#rollDue = true;
    this.#events.keyLost?.(this.segmentKeys.path);
  }

  /** Signs the tree as it is now into `head`, unless it was. Never rejects. */
  sign(): Promise<void> {
    return this.#inBackground(async () => {
      this.#rollIfLost();
      if (this.#tree.size === this.#signedSize) return;
      await this.#writeHead(this.#tree.size, this.#tree.root());
    });
  }

  /** Signs, makes all tiles under the new head durable, and replaces the public checkpoint. Never rejects. */
  publish(): Promise<void> {
    this.#publishing = this.#publishing.then(() => this.#publish());
    return this.#publishing;
  }

  /**
   * If we die before the last step: the older checkpoint stands, with all its tiles. Whoever cosigns is not waited for by what signs and records meanwhile.
   */
  async #publish(): Promise<void> {
    const prepared = await this.#inBackground(async () => {
      const snapshot = this.#tree.snapshot();
      if (snapshot.size === this.#publishedSize) return undefined;
      const note = await this.#writeHead(snapshot.size, snapshot.root);
      await this.#toldOf(this.#tree.prepare(snapshot));
      return { snapshot, note };
    });
    if (prepared === undefined) return;
    const { snapshot } = prepared;
    const note = (await this.cosign?.(prepared.note, snapshot.size).catch(() => undefined)) ?? prepared.note;
    await this.#inBackground(async () => {
      await this.#toldOf(this.#tree.publish(note));
      this.#events.publishing?.(undefined);
      this.#publishedSize = snapshot.size;
      this.#hasPublished = true;
    });
  }

  async #toldOf(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!(error instanceof SyncError)) this.#events.publishing?.(error as Error);
      throw error;
    }
  }

  async #writeHead(size: number, root: Uint8Array): Promise<Uint8Array> {
    const note = await this.#sign(formatCheckpoint({ origin: this.origin, size, root }));
    await replaceDurablyInBackground(this.#files, join(this.keysFolder, 'head'), note, 0o600);
    this.#signedSize = size;
    return note;
  }

  async #sign(text: string): Promise<Uint8Array> {
    try {
      const note = await signText(this.#key, text);
      this.#events.signing?.(undefined);
      return note;
    } catch (error) {
      this.#events.signing?.(error as Error);
      throw error;
    }
  }

  /**
   * A new key that signs from now on, beside the older ones. Behind what is being signed; the caller records who it is, endorsed by the one before.
   * @throws (rejects) the disk's error
   */
  async addKey(holder?: KeyHolder): Promise<LedgerKey> {
    // one that does not sign would leave everything unsigned
    if (holder !== undefined) await heldBy(this.origin, holder).sign(Buffer.from('sworn key trial\n'));
    return this.#changeKey(() => addKey(this.#files, this.keysFolder, holder));
  }

  /** The newest key signs alone. @throws (rejects) the disk's error */
  retireKeys(): Promise<LedgerKey> {
    return this.#changeKey(() => retireKeys(this.#files, this.keysFolder));
  }

  async #changeKey(change: () => LedgerKey): Promise<LedgerKey> {
    const done = this.#background.then(() => {
      try {
        return (this.#key = change());
      } catch (error) {
        if (error instanceof SyncError) this.#die(error);
        throw error;
      }
    });
    this.#background = done.catch(() => undefined);
    return done;
  }

  #inBackground<T>(work: () => Promise<T>): Promise<T | undefined> {
    const done = this.#background
      .then(() => (this.#dead ? undefined : work()))
      .catch((error: unknown) => {
        if (error instanceof SyncError) this.#die(error);
        else this.#scheduleSigning(); // a full disk: try again later; the older head and checkpoint stand
        return undefined;
      });
    this.#background = done;
    return done;
  }

  /** Flushes, signs and publishes, and closes the segment. What is appended meanwhile is still flushed; what comes later is refused. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    while (!this.#dead && (this.#flushing || this.#pending.length > 0)) {
      await this.#flush();
      if (this.#flushing) await new Promise((done) => setTimeout(done, 1));
    }
    // before anything else is awaited: a record accepted from here on would be written to a closed descriptor
    this.#closed = true;
    await this.publish();
    this.#stopTimers();
    await this.#files.maker?.end();
    // after `fatal` a write may still be under way; the descriptor ends with the process
    if (!this.#dead) this.#files.close(this.#fd);
  }
}

function sizeOf(buffers: Buffer[]): number {
  let sizeBytes = 0;
  for (const buffer of buffers) sizeBytes += buffer.length;
  return sizeBytes;
}
