/**
 * The hashes of a report, one behind the other as they stand in the tree: whether they lead to the root of the checkpoint, and where they do not, which of them, or
 * which entry, was changed.
 */
import { equal } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { hashBytes } from '../tlog/tree.ts';
import { Edge } from './range.ts';
import { hashChunks, Places, readChunk, type ReportHead, type ReportSource } from './report-data.ts';

/** Entries that are remembered as not having their hash, to find out which of the two was changed. */
const oddMost = 1_000;

export class ReportTree {
  readonly #crypto: Crypto;
  readonly #places: Places;
  readonly #root: Uint8Array;
  readonly #knownSize: number | undefined;
  /** Entries that do not have their hash, with the hash that they have. */
  readonly #odd = new Map<number, Uint8Array>();
  #hashes = new Uint8Array(0);
  #knownRoot: Uint8Array | undefined;
  #isRooted = false;

  /** `knownSize`: of a checkpoint that was seen before, whose root may follow from the hashes. */
  constructor(crypto: Crypto, head: ReportHead, checkpoint: { size: number; root: Uint8Array }, knownSize: number | undefined) {
    this.#crypto = crypto;
    this.#places = new Places(head, checkpoint.size);
    this.#root = checkpoint.root;
    this.#knownSize = knownSize;
  }

  /** Reads the hashes. `missing`: a chunk that is not there; `changed`: one that is not the one that the head lists. */
  async read(source: ReportSource, head: ReportHead): Promise<{ missing?: string; changed?: string; count: number; needed: number }> {
    const pieces: Uint8Array[] = [];
    const needed = this.#places.count;
    let lengthBytes = 0;
    let changed: string | undefined;
    for (const name of hashChunks(needed)) {
      const chunk = await readChunk(this.#crypto, source, head, name);
      if (chunk === undefined) return { missing: name, count: 0, needed };
      if (!chunk.isWhole) changed ??= name;
      pieces.push(chunk.bytes);
      lengthBytes += chunk.bytes.length;
    }
    if (lengthBytes === needed * hashBytes) {
      this.#hashes = new Uint8Array(lengthBytes);
      let at = 0;
      for (const piece of pieces) {
        this.#hashes.set(piece, at);
        at += piece.length;
      }
      this.#isRooted = equal(this.#rootOf(new Map()), this.#root);
    }
    return { ...(changed === undefined ? {} : { changed }), count: Math.floor(lengthBytes / hashBytes), needed };
  }

  /** All of them could be read. */
  get isThere(): boolean {
    return this.#hashes.length > 0;
  }

  /** They lead to the root of the checkpoint. */
  get isRooted(): boolean {
    return this.#isRooted;
  }

  /** The root of the known checkpoint's size, where it follows from proven hashes. */
  get knownRoot(): Uint8Array | undefined {
    return this.#isRooted ? this.#knownRoot : undefined;
  }

  hashOf(index: number): Uint8Array | undefined {
    const place = this.#places.of(index);
    return place === undefined || this.#hashes.length === 0 ? undefined : this.#hashes.subarray(place * hashBytes, (place + 1) * hashBytes);
  }

  /** An entry has another hash than the one that is here for it. */
  noteOdd(index: number, leafHash: Uint8Array): void {
    if (this.#odd.size < oddMost) this.#odd.set(index, leafHash);
  }

  get odd(): number[] {
    return [...this.#odd.keys()];
  }

  /** With the hashes that the odd entries have, they lead to the root: then those in the report were changed, and not the entries. */
  get areOddEntriesGenuine(): boolean {
    return this.#odd.size > 0 && equal(this.#rootOf(this.#odd), this.#root);
  }

  #rootOf(instead: ReadonlyMap<number, Uint8Array>): Uint8Array {
    const edge = new Edge(this.#crypto);
    let at = 0;
    let covered = 0;
    for (const { level, index } of this.#places.inOrder()) {
      if (covered === this.#knownSize) this.#knownRoot = edge.root();
      edge.push(level, (level === 0 ? instead.get(index) : undefined) ?? this.#hashes.subarray(at, at + hashBytes));
      at += hashBytes;
      covered += 2 ** level;
    }
    return edge.root();
  }
}
