/** Tiles and entry bundles as C2SP tlog-tiles lays them down, and the growing right edge of a tree in tiles. */
import type { Crypto } from '../bytes/crypto.ts';
import { entryBytes, tileWidth } from '../limits.ts';
import { emptyRoot, hashBytes, hashNode, rootOfHashes } from './tree.ts';

/** `width` hashes (1..256) of tile level `level` (0..63), the `n`th tile of that level. */
export interface Tile {
  level: number;
  n: number;
  width: number;
  bytes: Uint8Array;
}

export interface TilePath {
  level: number | 'entries';
  n: number;
  width: number;
}

/**
 * Path of a tile or bundle below `log/` (C2SP tlog-tiles): `tile/0/x001/234.p/17`, `tile/entries/000`. A `width` of 256, the default, is a full one.
 *
 * @throws RangeError unless level is 0..63 or `entries`, 0 ≤ n ≤ 2^53 - 1 and width is 1..256
 */
export function tilePath(level: number | 'entries', n: number, width: number = tileWidth): string {
  if (level !== 'entries' && (!Number.isInteger(level) || level < 0 || level > 63)) throw new RangeError(`no tile level ${level}`);
  if (!Number.isSafeInteger(n) || n < 0) throw new RangeError(`no tile ${n}`);
  if (!Number.isInteger(width) || width < 1 || width > tileWidth) throw new RangeError(`no tile width ${width}`);
  let path = String(n % 1000).padStart(3, '0');
  for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
  return `tile/${level}/${path}${width === tileWidth ? '' : `.p/${width}`}`;
}

/** The parts of what `tilePath` writes, or `undefined` for anything that it would not write. */
export function parseTilePath(path: string): TilePath | undefined {
  const match = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path);
  if (!match) return undefined;
  const level = match[1] === 'entries' ? 'entries' : Number(match[1]);
  const n = Number(match[2]!.replace(/[x/]/g, ''));
  const width = match[3] === undefined ? tileWidth : Number(match[3]);
  if (level !== 'entries' && level > 63) return undefined;
  if (!Number.isSafeInteger(n) || width < 1 || width > tileWidth) return undefined;
  return tilePath(level, n, width) === path ? { level, n, width } : undefined;
}

/** The width at `size` leaves of tile `n` of `level` (C2SP tlog-tiles): 0 where there is none, 256 when it is full. */
export function tileWidthAt(size: number, level: number, n: number): number {
  const hashes = Math.floor(size / tileWidth ** level) - n * tileWidth;
  return Math.max(0, Math.min(tileWidth, hashes));
}

/**
 * An entry bundle (C2SP tlog-tiles): each entry with its length as 16 bits, big-endian, before it.
 *
 * @throws RangeError for more than 256 entries, or one longer than 65,535 bytes
 */
export function encodeBundle(entries: Uint8Array[]): Uint8Array {
  if (entries.length > tileWidth) throw new RangeError(`a bundle holds at most ${tileWidth} entries, not ${entries.length}`);
  let sizeBytes = 0;
  for (const entry of entries) {
    if (entry.length > entryBytes) throw new RangeError(`an entry has at most ${entryBytes} bytes, not ${entry.length}`);
    sizeBytes += 2 + entry.length;
  }
  const bundle = new Uint8Array(sizeBytes);
  let at = 0;
  for (const entry of entries) {
    bundle[at] = entry.length >> 8;
    bundle[at + 1] = entry.length & 255;
    bundle.set(entry, at + 2);
    at += 2 + entry.length;
  }
  return bundle;
}

/**
 * The entries of a bundle, as views into `bytes`; `undefined` unless it is whole: at most 256 entries and nothing after the last.
 * The caller compares the count with the width that it asked for.
 */
export function decodeBundle(bytes: Uint8Array): Uint8Array[] | undefined {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (entries.length === tileWidth || at + 2 > bytes.length) return undefined;
    const end = at + 2 + bytes[at]! * 256 + bytes[at + 1]!;
    if (end > bytes.length) return undefined;
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries;
}

interface OpenTile {
  n: number;
  width: number;
  bytes: Uint8Array;
}

const nothingCompleted = Object.freeze([]) as unknown as Tile[];

/**
 * The right edge of a growing tree: what is needed to append, to write tiles and to know the root, and nothing more (≤ 8 KiB for each tile level).
 * An append costs one inner node on average; the root costs one for each set bit of the size.
 */
export class TileStack {
  readonly #crypto: Crypto;
  #size = 0;
  /** `#edge[b]` is the root of the last complete subtree of 2^b leaves, valid while bit b of the size is set. */
  readonly #edge: Uint8Array[] = [];
  readonly #open: OpenTile[] = [];

  private constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  static empty(crypto: Crypto): TileStack {
    return new TileStack(crypto);
  }

  /**
   * The stack of a tree of `size` leaves, from its partial tiles. `readPartial` is asked once for each level whose last tile is partial (width 1..255)
   * and must return exactly `width` hashes. The hashes are believed: compare `root()` with a signed root.
   *
   * @throws RangeError when the size is not 0 ≤ size ≤ 2^53 - 1 or a tile has the wrong length
   */
  static restore(crypto: Crypto, size: number, readPartial: (level: number, n: number, width: number) => Uint8Array): TileStack {
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`no tree of ${size} leaves`);
    const stack = new TileStack(crypto);
    stack.#size = size;
    for (let level = 0, count = size; count > 0; level++, count = Math.floor(count / tileWidth)) {
      const n = Math.floor(count / tileWidth);
      const width = count % tileWidth;
      const bytes = new Uint8Array(tileWidth * hashBytes);
      if (width > 0) {
        const partial = readPartial(level, n, width);
        if (partial.length !== width * hashBytes) throw new RangeError(`tile ${level}/${n}.p/${width} has ${partial.length} bytes`);
        bytes.set(partial);
      }
      stack.#open[level] = { n, width, bytes };
      let at = 0;
      for (let bit = 7; bit >= 0; bit--) {
        if ((width >> bit) % 2 === 0) continue;
        const hashes: Uint8Array[] = [];
        for (let i = 0; i < 1 << bit; i++, at += hashBytes) hashes.push(bytes.slice(at, at + hashBytes));
        stack.#edge[level * 8 + bit] = rootOfHashes(crypto, hashes);
      }
    }
    return stack;
  }

  /** Leaves so far. */
  get size(): number {
    return this.#size;
  }

  /**
   * Appends one leaf hash (32 bytes) and returns the tiles that it completed, lowest level first: none, but for each 256th.
   * Their bytes are the caller's; the hash is copied.
   *
   * @throws RangeError for a hash of another length
   */
  append(leafHash: Uint8Array): Tile[] {
    if (leafHash.length !== hashBytes) throw new RangeError(`a leaf hash has ${hashBytes} bytes, not ${leafHash.length}`);
    let completed = this.#place(0, leafHash, nothingCompleted);
    let hash = leafHash;
    let bit = 0;
    let rest = this.#size;
    while (rest % 2 === 1) {
      hash = hashNode(this.#crypto, this.#edge[bit]!, hash);
      bit++;
      rest = (rest - 1) / 2;
      if (bit % 8 === 0) completed = this.#place(bit / 8, hash, completed);
    }
    // Without a carry the edge would hold the caller's own array.
    this.#edge[bit] = bit === 0 ? leafHash.slice() : hash;
    this.#size++;
    return completed;
  }

  #place(level: number, hash: Uint8Array, completed: Tile[]): Tile[] {
    let tile = this.#open[level];
    if (!tile) {
      tile = { n: 0, width: 0, bytes: new Uint8Array(tileWidth * hashBytes) };
      this.#open[level] = tile;
    }
    tile.bytes.set(hash, tile.width * hashBytes);
    tile.width++;
    if (tile.width < tileWidth) return completed;
    const full: Tile = { level, n: tile.n, width: tileWidth, bytes: tile.bytes };
    this.#open[level] = { n: tile.n + 1, width: 0, bytes: new Uint8Array(tileWidth * hashBytes) };
    return completed.length === 0 ? [full] : [...completed, full];
  }

  /** The partial tiles at this size (width 1..255), lowest level first, as copies. */
  partials(): Tile[] {
    const tiles: Tile[] = [];
    for (const [level, { n, width, bytes }] of this.#open.entries()) {
      if (width > 0) tiles.push({ level, n, width, bytes: bytes.slice(0, width * hashBytes) });
    }
    return tiles;
  }

  /** The root at this size (RFC 6962 §2.1): 32 bytes. */
  root(): Uint8Array {
    let root: Uint8Array | undefined;
    for (let bit = 0, rest = this.#size; rest > 0; bit++, rest = Math.floor(rest / 2)) {
      if (rest % 2 === 0) continue;
      const left = this.#edge[bit]!;
      root = root === undefined ? left : hashNode(this.#crypto, left, root);
    }
    return root === undefined ? emptyRoot(this.#crypto) : root.slice();
  }
}
