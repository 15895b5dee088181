/**
 * Tiles and entry bundles of a ledger (C2SP tlog-tiles): reads each file that there is, and holds it against the leaves and hashes that it must follow from. Files ahead of the
 * checkpoint may be incomplete: nobody has promised them yet.
 */
import { equal } from '../bytes/bytes.ts';
import { tileWidth } from '../limits.ts';
import { decodeBundle, encodeBundle, tilePath, TileStack, tileWidthAt } from '../tlog/tile.ts';
import { hashBytes, hashLeaf } from '../tlog/tree.ts';
import type { Case } from './case.ts';

export interface StoredFile {
  width: number;
  bytes: Uint8Array;
}

/** 256 entries, as the log has them. */
export interface Block {
  n: number;
  tiles: StoredFile[];
  bundles: StoredFile[];
  /** Entries of the bundle that the checkpoint needs; `undefined` when there is none that can be read. */
  entries: Uint8Array[] | undefined;
  /** Hashes of the tile that the checkpoint needs. */
  hashes: Uint8Array | undefined;
  /** Leaves as used, to compare with all bundle files; `undefined` where no leaf was found. */
  leaves: Uint8Array[];
  complete: boolean;
  /** Entries of the bundle that already have a finding of their own. */
  named: Set<number>;
}

export class LogFiles {
  readonly #case: Case;

  constructor(known: Case) {
    this.#case = known;
  }

  /** All files of a tile or bundle that exist, narrowest first; without a listing, the one that the checkpoint needs, or the full one. */
  async files(level: number | 'entries', n: number, needed: number): Promise<StoredFile[]> {
    const files = await this.#filesOnce(level, n, needed);
    // A live ledger takes partial files away once the full one is there, perhaps between our listing and our reading.
    return needed > 0 && !files.some((file) => file.width >= needed) ? this.#filesOnce(level, n, needed) : files;
  }

  async #filesOnce(level: number | 'entries', n: number, needed: number): Promise<StoredFile[]> {
    const read = (width: number) => (level === 'entries' ? this.#case.source.bundle(n, width) : this.#case.source.tile(level, n, width));
    const { widths } = this.#case.source;
    const listed = widths && (await this.#case.reading(`log/${tilePath(level, n)}`, () => widths.call(this.#case.source, level, n)));
    const wanted = listed ? listed.toSorted((a, b) => a - b) : [...new Set([needed, tileWidth])].filter((width) => width > 0);
    const files: StoredFile[] = [];
    for (const width of wanted) {
      const bytes = await this.#case.reading(`log/${tilePath(level, n, width)}`, () => read(width));
      if (bytes !== undefined) files.push({ width, bytes });
      if (!listed && bytes !== undefined) break;
    }
    return files;
  }

  /** At least `width` hashes of a tile, from whichever file has them; `undefined` where none has. */
  async hashesOf(level: number, n: number, width: number): Promise<Uint8Array | undefined> {
    for (const wide of new Set([tileWidthAt(this.#case.size, level, n), tileWidth])) {
      if (wide < width) continue;
      const bytes = await this.#case.source.tile(level, n, wide).catch(() => undefined);
      if (bytes !== undefined && bytes.length >= width * hashBytes) return bytes.subarray(0, width * hashBytes);
    }
    return undefined;
  }

  async loadBlock(n: number): Promise<Block> {
    const needed = tileWidthAt(this.#case.size, 0, n);
    const tiles = await this.files(0, n, needed);
    const bundles = await this.files('entries', n, needed);
    const block: Block = { n, tiles, bundles, entries: undefined, hashes: undefined, leaves: [], complete: true, named: new Set() };
    if (needed === 0) return block;
    const first = n * tileWidth;
    block.hashes = tiles.find((file) => file.width >= needed && file.bytes.length >= needed * hashBytes)?.bytes;
    const sufficient = bundles.filter((file) => file.width >= needed);
    for (const file of sufficient) {
      const entries = decodeBundle(file.bytes);
      if (entries?.length === file.width) {
        block.entries = entries;
        break;
      }
      const path = `log/${tilePath('entries', n, file.width)}`;
      const index = first + this.#rightEntries(file.bytes, block.hashes);
      this.#case.say('tampered', 'bundle', `${path} does not hold ${file.width} whole entries`, { index, path });
    }
    if (sufficient.length === 0) {
      const path = `log/${tilePath('entries', n, needed)}`;
      this.#case.say('missing', 'bundle-missing', `${path} is missing`, { index: first, path });
    }
    return block;
  }

  /** How many entries at the beginning of a bundle are whole, and those of its tile. */
  #rightEntries(bundle: Uint8Array, hashes: Uint8Array | undefined): number {
    let at = 0;
    for (let k = 0; k < tileWidth; k++) {
      const end = at + 2 + bundle[at]! * 256 + bundle[at + 1]!;
      // beyond the end of the bundle it is not a number
      if (!(end <= bundle.length)) return k;
      const hash = hashLeaf(this.#case.crypto, bundle.subarray(at + 2, end));
      if (hashes && !equal(hash, hashes.subarray(k * hashBytes, (k + 1) * hashBytes))) return k;
      at = end;
    }
    return tileWidth - 1;
  }

  /** Holds every file of a tile against the hashes that follow from the leaves. */
  async compareTile(level: number, n: number, hashes: Uint8Array, width: number, loaded?: StoredFile[]): Promise<void> {
    const needed = tileWidthAt(this.#case.size, level, n);
    const files = loaded ?? (await this.files(level, n, needed));
    const leavesOf = (k: number) => (n * tileWidth + k) * tileWidth ** level;
    if (needed > 0 && !files.some((file) => file.width >= needed)) {
      const path = `log/${tilePath(level, n, needed)}`;
      this.#case.say('missing', 'tile-missing', `${path} is missing`, { index: leavesOf(0), path });
    }
    for (const file of files) {
      const path = `log/${tilePath(level, n, file.width)}`;
      const common = Math.min(file.width, width);
      if (isAhead(file, files, needed) && this.#noteTorn(path, file.bytes, hashes.subarray(0, common * hashBytes), file.width * hashBytes)) continue;
      if (file.bytes.length !== file.width * hashBytes) {
        let k = 0;
        while (k < common - 1 && equal(hashAt(file.bytes, k), hashAt(hashes, k))) k++;
        this.#case.say('tampered', 'tile', `${path} has ${file.bytes.length} bytes, not ${file.width * hashBytes}`, { index: leavesOf(k), path });
        continue;
      }
      if (equal(file.bytes.subarray(0, common * hashBytes), hashes.subarray(0, common * hashBytes))) {
        if (file.width > width) this.#case.say('note', 'ahead', `${path} covers entries beyond the records that could be read`, { path });
        continue;
      }
      let k = 0;
      while (equal(hashAt(file.bytes, k), hashAt(hashes, k))) k++;
      // a hash over many entries says less than what is known of one of them already
      const named = this.#case.findings.firstBad ?? 0;
      const index = named > leavesOf(k) && named < leavesOf(k + 1) ? named : leavesOf(k);
      this.#case.say('tampered', 'tile', `${path} does not follow from the entries, from hash ${k} on`, { index, path });
    }
  }

  /** Holds every bundle file but the one that was read whole against the leaves. */
  compareBundles(block: Block): void {
    if (!block.complete) return;
    const needed = tileWidthAt(this.#case.size, 0, block.n);
    if (block.bundles.length === 1 && block.bundles[0]!.width === needed) return;
    for (const file of block.bundles) {
      const path = `log/${tilePath('entries', block.n, file.width)}`;
      const common = Math.min(file.width, block.leaves.length);
      const expected = encodeBundle(block.leaves.slice(0, common));
      const isWider = file.width > common;
      if (isAhead(file, block.bundles, needed) && this.#noteTorn(path, file.bytes, expected, expected.length)) continue;
      if (!equal(file.bytes.subarray(0, expected.length), expected) || (!isWider && file.bytes.length !== expected.length)) {
        const index = block.n * tileWidth + firstDifference(file.bytes, block.leaves.slice(0, common));
        // the file that was read whole had its entries looked at one by one
        if (!block.named.has(index))
          this.#case.say('tampered', 'bundle', `entry ${index} in ${path} is not the one that was recorded`, { index, path });
      } else if (isWider) {
        this.#case.say('note', 'ahead', `${path} covers entries beyond the records that could be read`, { path });
      }
    }
  }

  /** A file that no checkpoint needs, and that is right as far as it goes, then ends or is zeros: a crash leaves it so, and the next recorder writes it anew. */
  #noteTorn(path: string, bytes: Uint8Array, expected: Uint8Array, wholeBytes: number): boolean {
    let same = 0;
    while (same < expected.length && same < bytes.length && bytes[same] === expected[same]) same++;
    const isWhole = bytes.length >= wholeBytes;
    if ((isWhole && same === expected.length) || bytes.subarray(same).some((byte) => byte !== 0)) return false;
    this.#case.say('note', 'torn-tail', `${path}, ahead of the checkpoint, is incomplete: it was being written, or a crash cut it off`, { path });
    return true;
  }

  /** Whether the lowest tiles alone have the root that was signed: then the entries before the first bad one are proven all the same. */
  async tilesHold(root: Uint8Array): Promise<boolean> {
    const stack = TileStack.empty(this.#case.crypto);
    for (let n = 0; n * tileWidth < this.#case.size; n++) {
      const width = tileWidthAt(this.#case.size, 0, n);
      const tile = (await this.files(0, n, width)).find((file) => file.width >= width)?.bytes;
      if (!tile || tile.length < width * hashBytes) return false;
      for (let k = 0; k < width; k++) stack.append(hashAt(tile, k).slice());
    }
    return equal(stack.root(), root);
  }
}

/** Whether the checkpoint can do without this file: it goes further, and another one is there that goes as far as is needed. */
function isAhead(file: StoredFile, files: readonly StoredFile[], needed: number): boolean {
  return file.width > needed && (needed === 0 || files.some((other) => other.width >= needed && other.width < file.width));
}

export function hashAt(tile: Uint8Array, k: number): Uint8Array {
  return tile.subarray(k * hashBytes, (k + 1) * hashBytes);
}

/** The first entry at which a bundle's bytes are not those of `leaves`. */
function firstDifference(bundle: Uint8Array, leaves: readonly Uint8Array[]): number {
  let at = 0;
  for (const [k, leaf] of leaves.entries()) {
    const end = at + 2 + leaf.length;
    if (!equal(bundle.subarray(at, end), encodeBundle([leaf]))) return k;
    at = end;
  }
  return Math.max(0, leaves.length - 1);
}
