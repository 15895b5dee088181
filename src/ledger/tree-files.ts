/**
 * The tree and its public files: appends leaf hashes, writes tiles and entry bundles as they fill, and publishes checkpoints
 * (C2SP tlog-tiles). Recovery and normal running both go through `append`.
 *
 * What must stay true: everything here can be derived from the segments, so nothing is synced before it is published; `log/checkpoint` is replaced
 * only after every tile and bundle under it is durable; a full tile never changes.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { equal } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { dueTileBytes, tileWidth } from '../limits.ts';
import { consistencyProof, tileHashReader } from '../tlog/proof.ts';
import { tilePath, type TileStack } from '../tlog/tile.ts';
import { hashBytes } from '../tlog/tree.ts';
import { OpenBundle } from './open-bundle.ts';
import { Interrupted } from './rewrite.ts';
import { replace, replaceDurablyInBackground, replaceInBackground, syncFile, type FileMaker, type Files } from './files.ts';

/** Enough for those that are written to now, and for the partial ones of a checkpoint. */
const knownFolders = 64;

/** Made at once: each waits for the disk, and for a turn of the event loop. */
const filesAtOnce = 8;

interface DueFile {
  path: string;
  bytes: Uint8Array;
  /** Of the tree when it became full. */
  size: number;
}

/** What a checkpoint at this size needs beside the full tiles. */
export interface TreeSnapshot {
  size: number;
  root: Uint8Array;
  partials: { path: string; bytes: Uint8Array }[];
}

/** Told to another thread at once: waking it costs as much as a file. */
const filesTold = 16;

/** Bundles that are taken away before anything else has its turn. */
const unlinksInTurn = 16;

export class TreeFiles {
  readonly #files: Files;
  readonly #log: string;
  readonly #stack: TileStack;
  readonly #bundle = new OpenBundle();
  /** Full files that are not yet durable, by path below `log/`. */
  #unsynced: string[] = [];
  /** Full files that are not written yet, oldest first. */
  #due: DueFile[] = [];
  /** Those of them that are being written. */
  readonly #underWay = new Map<DueFile, Promise<void>>();
  #dueBytes = 0;
  /** Full files that are durable, whose partial versions go with the next checkpoint. */
  #served: string[] = [];
  /** Folders that are there. */
  readonly #folders = new Set<string>();

  constructor(files: Files, log: string, stack: TileStack) {
    this.#files = files;
    this.#log = log;
    this.#stack = stack;
  }

  get size(): number {
    return this.#stack.size;
  }

  root(): Uint8Array {
    return this.#stack.root();
  }

  /** First index of the bundle that is being filled. */
  get bundleFrom(): number {
    return Math.floor(this.size / tileWidth) * tileWidth;
  }

  /** A leaf that the tree already has, for the bundle that is being filled. In order, before any `append`. False if the tree has another one there. */
  refill(leaf: Uint8Array, leafHash: Uint8Array): boolean {
    const at = this.#bundle.count * hashBytes;
    const tile = this.#stack.partials()[0];
    if (tile?.level !== 0 || !equal(tile.bytes.subarray(at, at + hashBytes), leafHash)) return false;
    this.#bundle.push(leaf);
    return true;
  }

  append(leaf: Uint8Array, leafHash: Uint8Array): void {
    this.#bundle.push(leaf);
    for (const tile of this.#stack.append(leafHash)) this.#write(tilePath(tile.level, tile.n), tile.bytes);
    if (this.#bundle.count === tileWidth) this.#write(tilePath('entries', this.size / tileWidth - 1), this.#bundle.take());
  }

  /** Everything that belongs to a checkpoint of the tree as it is now. */
  snapshot(): TreeSnapshot {
    const partials = this.#stack.partials().map((tile) => ({ path: tilePath(tile.level, tile.n, tile.width), bytes: tile.bytes }));
    if (this.#bundle.count > 0)
      partials.push({ path: tilePath('entries', this.bundleFrom / tileWidth, this.#bundle.count), bytes: this.#bundle.copy() });
    return { size: this.size, root: this.root(), partials };
  }

  /**
   * Makes all tiles under `snapshot` durable, for a checkpoint that may be published then.
   * @throws SyncError when a sync fails; any write error otherwise (the older checkpoint stands)
   */
  async prepare(snapshot: TreeSnapshot): Promise<void> {
    const isMissing = (): boolean => [...this.#due, ...this.#underWay.keys()].some(({ size }) => size <= snapshot.size);
    this.#writeDue(true);
    while (this.#underWay.size > 0 && isMissing()) await Promise.race(this.#underWay.values());
    if (isMissing()) throw new Error('tiles cannot be written');
    const full = [...this.#unsynced];
    await this.#sync(full.map((path) => join(this.#log, path)));
    await this.#syncFolders(full);
    this.#unsynced = this.#unsynced.slice(full.length);
    await this.#makePartials(snapshot.partials);
    await this.#syncFolders(snapshot.partials.map(({ path }) => path));
    this.#served.push(...full);
  }

  /** Replaces the checkpoint by one that `prepare` was called for; that of a larger one may have been called since. */
  async publish(note: Uint8Array): Promise<void> {
    await replaceDurablyInBackground(this.#files, join(this.#log, 'checkpoint'), note, 0o644);
    // The full tile is durable and published: its partial versions have served (C2SP tlog-tiles, "Partial Tiles").
    const served = this.#served;
    this.#served = [];
    try {
      for (const path of served) rmSync(join(this.#log, `${path}.p`), { recursive: true, force: true });
    } catch {
      // they only take room
    }
  }

  /**
   * Proves that the tree of `size2` continues that of `size1` (RFC 6962 §2.1.2), from the files. `size2` was prepared.
   * @throws the disk's error
   */
  consistency(sizes: { size1: number; size2: number }): Uint8Array[] {
    const readTile = (level: number, n: number, width: number): Uint8Array => {
      const partial = join(this.#log, tilePath(level, n, width));
      // the full one takes the place of its partial versions
      return readFileSync(existsSync(partial) ? partial : join(this.#log, tilePath(level, n))).subarray(0, width * hashBytes);
    };
    return consistencyProof(nodeCrypto, sizes, tileHashReader(nodeCrypto, sizes.size2, readTile));
  }

  /** The hash of an entry in a full tile: all that is left of a pruned one. */
  prunedHashAt(index: number): Uint8Array | undefined {
    const path = join(this.#log, tilePath(0, Math.floor(index / tileWidth)));
    const at = (index % tileWidth) * hashBytes;
    return existsSync(path) ? readFileSync(path).subarray(at, at + hashBytes) : undefined;
  }

  /**
   * Takes away the entry bundles from the `first`-th up to the `end`-th; tiles stay.
   * @throws Interrupted, SyncError, or the disk's error
   */
  async prune(first: number, end: number, isInterrupted: () => boolean): Promise<void> {
    const folders = new Set<string>();
    for (let n = first; n < end; n++) {
      if (isInterrupted()) throw new Interrupted('the pruning goes on with the next recorder');
      const path = tilePath('entries', n);
      // what a crash left of its partial versions first: the full one tells that it is not done
      rmSync(join(this.#log, `${path}.p`), { recursive: true, force: true });
      if (existsSync(join(this.#log, path))) {
        this.#files.unlink(join(this.#log, path));
        folders.add(dirname(path));
      }
      if (n % unlinksInTurn === 0) await nextTurn();
    }
    for (const folder of folders) await syncFile(this.#files, join(this.#log, folder));
  }

  /** Syncs the folders of these files and the folders above them, up to `log/`: a new file's name is durable only with its folder. */
  async #syncFolders(paths: string[]): Promise<void> {
    const folders = new Set<string>();
    for (const path of paths) for (let at = dirname(path); at !== '.'; at = dirname(at)) folders.add(at);
    if (folders.size > 0) await this.#sync([...[...folders].map((folder) => join(this.#log, folder)), this.#log]);
  }

  /** @throws SyncError */
  async #sync(paths: string[]): Promise<void> {
    const maker = this.#makerOf(paths.length);
    if (maker !== undefined) await maker.sync(paths);
    else for (const path of paths) await syncFile(this.#files, path);
  }

  /** Another thread, where that is worth it: not for a short recording. */
  #makerOf(filesCount: number): FileMaker | undefined {
    const { maker } = this.#files;
    return maker?.isStarted === true || filesCount >= filesTold ? maker : undefined;
  }

  async #makePartials(partials: TreeSnapshot['partials']): Promise<void> {
    const maker = this.#makerOf(partials.length);
    if (maker !== undefined) {
      const made = await maker.make(
        partials.map(({ path, bytes }) => ({ path: join(this.#log, path), bytes })),
        true,
      );
      if (made.includes(false)) throw new Error('tiles cannot be written');
      return;
    }
    for (const { path, bytes } of partials) {
      this.#makeFolder(path);
      await replaceDurablyInBackground(this.#files, join(this.#log, path), bytes, 0o644);
    }
  }

  #write(path: string, bytes: Uint8Array): void {
    // the disk is slower than what comes: it has to wait here
    if (this.#dueBytes + bytes.length > dueTileBytes && this.#writeNow(path, bytes)) return;
    this.#due.push({ path, bytes, size: this.size });
    this.#dueBytes += bytes.length;
    this.#writeDue();
  }

  #writeNow(path: string, bytes: Uint8Array): boolean {
    try {
      this.#makeFolder(path);
      replace(this.#files, join(this.#log, path), bytes, 0o644);
      this.#unsynced.push(path);
      return true;
    } catch {
      return false;
    }
  }

  /** `isPressing`: a checkpoint waits for them. */
  #writeDue(isPressing = false): void {
    if (this.#due.length === 0 || (this.#files.maker !== undefined && !isPressing && this.#due.length < filesTold)) return;
    const maker = this.#makerOf(this.#due.length);
    if (maker !== undefined) {
      this.#tell(maker, this.#due.splice(0));
      return;
    }
    while (this.#underWay.size < filesAtOnce) {
      const file = this.#due.shift();
      if (file === undefined) return;
      this.#underWay.set(file, this.#writeOne(file, isPressing));
    }
  }

  /** As `#writeOne`, for many. If we die meanwhile: as there. */
  #tell(maker: FileMaker, told: DueFile[]): void {
    const isMade = maker
      .make(
        told.map(({ path, bytes }) => ({ path: join(this.#log, path), bytes })),
        false,
      )
      .catch(() => [])
      .then((made: boolean[]) => {
        for (const [i, file] of told.entries()) {
          this.#underWay.delete(file);
          if (made[i] === true) {
            this.#unsynced.push(file.path);
            this.#dueBytes -= file.bytes.length;
            this.#bundle.reuse(file.bytes);
          } else this.#due.push(file);
        }
        // oldest first, as they became full
        if (made.length === 0 || made.includes(false)) this.#due.sort((a, b) => a.size - b.size);
      });
    for (const file of told) this.#underWay.set(file, isMade);
  }

  /** Never rejects. What the disk refuses stays due, and is tried again with the next file, or with the next checkpoint. */
  async #writeOne(file: DueFile, isPressing: boolean): Promise<void> {
    const isWritten = await this.#isWritten(file);
    this.#underWay.delete(file);
    if (!isWritten) {
      this.#due.unshift(file);
      return;
    }
    this.#dueBytes -= file.bytes.length;
    // those behind it are waited for likewise: few of them are told to no thread, and nobody else would write them
    this.#writeDue(isPressing);
  }

  /** If we die in here: no checkpoint covers the file, and recovery writes it again. */
  async #isWritten({ path, bytes }: DueFile): Promise<boolean> {
    try {
      this.#makeFolder(path);
      await replaceInBackground(this.#files, join(this.#log, path), bytes, 0o644);
      this.#unsynced.push(path);
      return true;
    } catch {
      this.#folders.clear();
      return false;
    }
  }

  #makeFolder(path: string): void {
    const folder = dirname(path);
    if (this.#folders.has(folder)) return;
    this.#files.mkdir(join(this.#log, folder), 0o755);
    if (this.#folders.size >= knownFolders) this.#folders.clear();
    this.#folders.add(folder);
  }
}
