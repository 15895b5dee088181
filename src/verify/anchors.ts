/**
 * What the ledger says others have seen of it (`spec/entry.md`, kind `anchor`): each names a size and a root, which must be those of this very tree. Whether
 * the signatures are those of known witnesses is judged beside it (`trust.ts`), by a trust file.
 */
import { base64 } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import type { AnchorEntry } from '../entry/entry.ts';
import { tileWidth } from '../limits.ts';
import { TileStack } from '../tlog/tile.ts';
import { emptyRoot } from '../tlog/tree.ts';
import type { Findings } from './finding.ts';

/** A cosignature that stands in the ledger. */
export interface Witnessed {
  /** Of the entry. */
  index: number;
  size: number;
  root: string;
  name: string;
  signature: string;
  signedAtS: number;
}

/** The hashes of a tile, at least `width` of them; `undefined` when they are not there. */
export type TileReader = (level: number, n: number, width: number) => Promise<Uint8Array | undefined>;

/** Kept one by one; of more the oldest go: the newest cover them. */
const keptAnchors = 4_096;

export class Anchors {
  readonly #crypto: Crypto;
  readonly #findings: Findings;
  readonly #anchors: { index: number; entry: AnchorEntry }[] = [];
  timestamps = 0;

  constructor(crypto: Crypto, findings: Findings) {
    this.#crypto = crypto;
    this.#findings = findings;
  }

  take(index: number, entry: AnchorEntry): void {
    if (entry.problem !== undefined) {
      const has = entry.problem === 'fork' ? 'another history' : 'more entries than this ledger had';
      this.#findings.add(
        'rollback',
        'witness',
        `entry ${index}: the witness ${entry.name} refused the checkpoint of ${entry.size} entries, for it has cosigned ${has}`,
        {
          index,
        },
      );
      return;
    }
    if (entry.source === 'timestamp') this.timestamps++;
    this.#anchors.push({ index, entry });
    if (this.#anchors.length > keptAnchors) this.#anchors.shift();
  }

  /** Holds each root against the tree. `size`: entries under the checkpoint, whose tiles were compared with the leaves. */
  async judge(read: TileReader, size: number): Promise<void> {
    let last: { size: number; root: string | undefined } | undefined;
    /** So many entries are those that somebody saw: what an anchor contradicts stands behind them, and before the anchor. */
    let seen = 0;
    for (const { index, entry } of this.#anchors) {
      if (entry.size > index) {
        this.#findings.add('tampered', 'anchor', `entry ${index} says that somebody saw ${entry.size} entries, which were not there yet`, { index });
        continue;
      }
      if (entry.size > size) continue;
      if (last?.size !== entry.size) last = { size: entry.size, root: await this.#rootAt(entry.size, read) };
      if (last.root === undefined) continue;
      if (last.root === entry.root) {
        seen = Math.max(seen, entry.size);
        continue;
      }
      this.#findings.add(
        'tampered',
        'anchor',
        `entry ${index} says that ${entry.name} saw another root of the first ${entry.size} entries than they have: what stands there was changed since`,
        { index: seen },
      );
    }
  }

  /** In base64; `undefined` when tiles are missing, which is a finding already. */
  async #rootAt(size: number, read: TileReader): Promise<string | undefined> {
    if (size === 0) return base64(emptyRoot(this.#crypto));
    const tiles = new Map<string, Uint8Array>();
    for (let level = 0, below = size; below > 0; level++, below = Math.floor(below / tileWidth)) {
      const width = below % tileWidth;
      const n = Math.floor(below / tileWidth);
      if (width === 0) continue;
      const bytes = await read(level, n, width);
      if (bytes === undefined) return undefined;
      tiles.set(`${level} ${n}`, bytes);
    }
    try {
      return base64(TileStack.restore(this.#crypto, size, (level, n) => tiles.get(`${level} ${n}`)!).root());
    } catch {
      return undefined;
    }
  }

  witnessed(): Witnessed[] {
    return this.#anchors.flatMap(({ index, entry: { source, size, root, name, signature, signedAtS } }) =>
      source === 'witness' && signature !== undefined && signedAtS !== undefined ? [{ index, size, root, name, signature, signedAtS }] : [],
    );
  }
}
