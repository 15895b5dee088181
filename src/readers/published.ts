/** The published tree of a ledger, for making evidence: from files alone, and under one checkpoint (`spec/evidence.md`). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { equal } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { Entry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { SwornError } from '../errors.ts';
import { tileWidth } from '../limits.ts';
import { parseCheckpoint, type ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { parseNote, parseVkey } from '../tlog/note.ts';
import { consistencyProof, inclusionProof, tileHashReader, verifyInclusion, type HashReader } from '../tlog/proof.ts';
import { decodeBundle, tilePath, tileWidthAt } from '../tlog/tile.ts';
import { hashBytes, hashLeaf } from '../tlog/tree.ts';
import { firstIndexOf } from './entries.ts';

/** The published tree of a ledger: its checkpoint, read once, and proofs from the tiles below it. */
export class PublishedLog {
  readonly ledger: string;
  /** The checkpoint, byte for byte. */
  readonly note: Uint8Array;
  readonly checkpoint: ParsedCheckpoint;
  /** Tiles and bundles that were read, by path; a proof asks for the same few again and again. */
  readonly #files = new Map<string, Uint8Array>();
  readonly #read: HashReader;
  #first: number | undefined;
  /** The bundle that was read last: entries are mostly asked for in order. */
  #block: { n: number; leaves: Uint8Array[] } | undefined;

  /** @throws SwornError `no-ledger` without a ledger, `not-published` without a checkpoint, `ledger-corrupt` when it is none */
  constructor(ledger: string) {
    this.ledger = ledger;
    const note = readIfThere(join(ledger, 'log', 'checkpoint'));
    if (note === undefined) {
      if (readIfThere(join(ledger, 'payload')) === undefined && !isFolder(join(ledger, 'payload')))
        throw new SwornError('no-ledger', `there is no ledger in ${ledger}`);
      throw new SwornError('not-published', `nothing of ${ledger} is published yet`);
    }
    const parsed = parseNote(note);
    const checkpoint = parsed && parseCheckpoint(parsed.text);
    if (!checkpoint) throw new SwornError('ledger-corrupt', `log/checkpoint of ${ledger} is no checkpoint`);
    this.note = note;
    this.checkpoint = checkpoint;
    this.#read = tileHashReader(nodeCrypto, checkpoint.size, (level, n, width) => this.#tile(level, n, width));
  }

  get size(): number {
    return this.checkpoint.size;
  }

  /** The first entry that is there: those below are pruned. */
  get first(): number {
    return (this.#first ??= firstIndexOf(this.ledger));
  }

  /** The ledger's id, 32 hex digits; zeros for an origin that has none. */
  get ledgerId(): string {
    return /^sworn\.invalid\/([0-9a-f]{32})$/.exec(this.checkpoint.origin)?.[1] ?? '0'.repeat(32);
  }

  /**
   * The stored bytes of an entry below the checkpoint.
   *
   * @throws SwornError `ledger-corrupt` when its bundle is missing or damaged
   */
  leaf(index: number): Uint8Array {
    const n = Math.floor(index / tileWidth);
    if (this.#block?.n !== n) {
      const width = tileWidthAt(this.size, 0, n);
      this.#block = { n, leaves: decodeBundle(this.#file('entries', n, width)) ?? [] };
    }
    const leaf = this.#block.leaves[index % tileWidth];
    if (leaf === undefined) throw this.#corrupt(`the bundle of entry ${index} is damaged`);
    return leaf;
  }

  /**
   * The inclusion proof of an entry, which was tried out: what is returned leads from this leaf to the checkpoint's root.
   *
   * @throws SwornError `ledger-corrupt` when it does not
   */
  inclusion(index: number, leaf: Uint8Array): Uint8Array[] {
    const { size, root } = this.checkpoint;
    const proof = this.#asking(() => inclusionProof(nodeCrypto, { index, size }, this.#read));
    const leafHash = hashLeaf(nodeCrypto, leaf);
    if (!verifyInclusion(nodeCrypto, { index, size, leafHash, proof, root }))
      throw this.#corrupt(`entry ${index} does not lead to the root of its checkpoint`);
    // views into tiles would keep them alive
    return proof.map((hash) => Uint8Array.from(hash));
  }

  /** @throws SwornError `ledger-corrupt` when a tile is missing */
  consistency(size1: number): Uint8Array[] {
    return this.#asking(() => consistencyProof(nodeCrypto, { size1, size2: this.size }, this.#read)).map((hash) => Uint8Array.from(hash));
  }

  /** The root of a complete subtree, as `HashReader`. */
  subtree(level: number, index: number): Uint8Array {
    return Uint8Array.from(this.#asking(() => this.#read(level, index)));
  }

  /**
   * A key of the ledger that signed this checkpoint, which whoever checks evidence elsewhere needs: the one that its first entry names, or the newest `prune` entry says
   * again, and where that one signs no more the newest that does.
   */
  get vkey(): string | undefined {
    if (this.size === 0) return undefined;
    const restated = this.first > 0 ? this.#newest('prune', () => true) : undefined;
    const first = restated ?? this.#entry(this.first);
    const vkey = first?.kind === 'start' || first?.kind === 'prune' ? first.vkey : undefined;
    if (vkey === undefined || this.#isSignedBy(vkey)) return vkey;
    return (
      this.#newest('key', (entry) => this.#isSignedBy(entry.vkey))?.vkey ?? restated?.keys.findLast((change) => this.#isSignedBy(change.vkey))?.vkey
    );
  }

  #isSignedBy(vkey: string): boolean {
    const id = parseVkey(nodeCrypto, vkey)?.keyId;
    return id !== undefined && parseNote(this.note)!.signatures.some(({ name, keyId }) => name === this.checkpoint.origin && equal(keyId, id));
  }

  #entry(index: number): Entry | undefined {
    const entry = readEntry(this.leaf(index));
    return entry instanceof EntryProblem ? undefined : entry;
  }

  #newest<K extends 'prune' | 'key'>(kind: K, isMeant: (entry: Entry & { kind: K }) => boolean): (Entry & { kind: K }) | undefined {
    const text = `"kind":"${kind}"`;
    for (let index = this.size - 1; index >= this.first; index--) {
      const leaf = this.leaf(index);
      if (!Buffer.from(leaf.buffer, leaf.byteOffset, leaf.length).includes(text)) continue;
      const entry = this.#entry(index);
      if (entry?.kind === kind && isMeant(entry as Entry & { kind: K })) return entry as Entry & { kind: K };
    }
    return undefined;
  }

  #tile(level: number, n: number, width: number): Uint8Array {
    const bytes = this.#file(level, n, width);
    if (bytes.length < width * hashBytes) throw this.#corrupt(`${tilePath(level, n, width)} is too short`);
    return bytes;
  }

  /** The file of this width, or the full one that a live ledger has put in its place. */
  #file(level: number | 'entries', n: number, width: number): Uint8Array {
    const path = tilePath(level, n, width);
    const held = this.#files.get(path);
    if (held) return held;
    const log = join(this.ledger, 'log');
    const bytes = readIfThere(join(log, path)) ?? readIfThere(join(log, tilePath(level, n)));
    if (bytes === undefined) throw this.#corrupt(`log/${path} is missing`);
    // a bundle's entries are asked for in order, tiles of a level likewise: a few are enough
    if (this.#files.size >= 64) this.#files.delete(this.#files.keys().next().value!);
    this.#files.set(path, bytes);
    return bytes;
  }

  #asking<T>(ask: () => T): T {
    try {
      return ask();
    } catch (error) {
      throw error instanceof RangeError ? this.#corrupt(error.message) : error;
    }
  }

  #corrupt(what: string): SwornError {
    return new SwornError('ledger-corrupt', `${this.ledger}: ${what}`);
  }
}

function readIfThere(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined;
    if (code === 'EACCES' || code === 'EPERM') throw new SwornError('permission', `${path} is closed to you`);
    throw error;
  }
}

function isFolder(path: string): boolean {
  try {
    readFileSync(path);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EISDIR';
  }
}
