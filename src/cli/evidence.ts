/**
 * Makes evidence out of a ledger: proofs from its tiles, and content in a form that is checked without the ledger (`spec/evidence.md`). Everything is made
 * against the checkpoint that is published, and from files alone; the recorder is never asked.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { base64, equal, utf8, utf8Text } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { commitmentOf, segmentHash } from '../entry/commitment.ts';
import type { Entry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { SwornError } from '../errors.ts';
import { encodeEntryRecord, encodePartRecord, encodeSegmentHeader, type ContentItem } from '../ledger/segment.ts';
import { proofExtraBytes, tileWidth } from '../limits.ts';
import { firstIndexOf } from '../readers/entries.ts';
import { readRecordAt, type StoredRecord } from '../readers/record.ts';
import { openPart } from '../readers/payload.ts';
import { parseCheckpoint, type ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { parseNote, parseVkey } from '../tlog/note.ts';
import { consistencyProof, inclusionProof, tileHashReader, verifyInclusion, type HashReader } from '../tlog/proof.ts';
import { decodeBundle, tilePath, tileWidthAt } from '../tlog/tile.ts';
import { hashBytes, hashLeaf } from '../tlog/tree.ts';

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

/** The record of an entry whose leaf is known, with content that holds; `undefined` when the payload has none to give. */
export function recordOf(ledger: string, index: number, leaf: Uint8Array): StoredRecord | undefined {
  return readRecordAt(ledger, index, (record) => equal(record.leaf, leaf) && contentHolds(record));
}

/** Whether the record's content is what its own leaf says; parts are looked at when they are written. */
export function contentHolds({ leaf, attributes, frame }: StoredRecord): boolean {
  const entry = readEntry(leaf);
  if (entry instanceof EntryProblem) return attributes.length + frame.length === 0;
  const holds = (items: ContentItem[], commitment: string | undefined): boolean =>
    items.length === 0 ? commitment === undefined : base64(commitmentOf(nodeCrypto, items.map(hashOf))) === commitment;
  return (
    holds(attributes, entry.attributesCommitment) && holds(frame, entry.kind === 'message' || entry.kind === 'batch' ? entry.commitment : undefined)
  );
}

function hashOf(item: ContentItem): Uint8Array {
  return item.state === 'kept' ? segmentHash(nodeCrypto, item.salt, item.bytes) : item.hash;
}

function sizeOf(item: ContentItem): number {
  return item.state === 'kept' ? item.bytes.length : item.sizeBytes;
}

/** Bytes of content that a record has to give. */
export function openableBytes({ attributes, frame }: StoredRecord): number {
  let sizeBytes = 0;
  for (const item of [...attributes, ...frame]) if (item.state === 'kept' || item.state === 'part') sizeBytes += sizeOf(item);
  return sizeBytes;
}

/** A record of which only hashes are given away. */
export function withheld({ leaf, attributes, frame }: StoredRecord): StoredRecord {
  const closed = (item: ContentItem): ContentItem => ({ state: 'dropped', hash: hashOf(item), sizeBytes: sizeOf(item) });
  return { leaf, attributes: attributes.map(closed), frame: frame.map(closed) };
}

/** `extra` of a proof: the leaf and its content as JSON, compressed where that is shorter. `undefined` when it would not fit. */
export function extraOf(ledger: string, leaf: Uint8Array, record: StoredRecord | undefined): Uint8Array | undefined {
  const text = utf8Text(leaf);
  if (text === undefined) return undefined;
  const extra: Record<string, unknown> = { sworn: 1, leaf: text };
  if (record) {
    // gzip does not make a hundredth of anything
    if (openableBytes(record) > 100 * proofExtraBytes) return undefined;
    if (record.attributes.length > 0) extra['attributes'] = record.attributes.map((item) => jsonItem(ledger, item));
    if (record.frame.length > 0) extra['segments'] = record.frame.map((item) => jsonItem(ledger, item));
  }
  return packed(extra);
}

/** `extra` of a proof whose content is in a sidecar. */
export function extraBeside(leaf: Uint8Array, sidecarBytes: number): Uint8Array {
  const text = utf8Text(leaf);
  return (text === undefined ? undefined : packed({ sworn: 1, leaf: text, sidecar: sidecarBytes })) ?? packed({ sworn: 1, sidecar: sidecarBytes })!;
}

function packed(extra: object): Uint8Array | undefined {
  const plain = utf8(JSON.stringify(extra));
  const zipped = gzipSync(plain, { level: 9 });
  const shorter = zipped.length < plain.length ? zipped : plain;
  return shorter.length > proofExtraBytes ? undefined : shorter;
}

function jsonItem(ledger: string, item: ContentItem): object {
  const opened = item.state === 'kept' ? item : item.state === 'part' ? openPart(ledger, item) : undefined;
  if (opened === undefined) return { hash: base64(hashOf(item)), sizeBytes: sizeOf(item) };
  const text = utf8Text(opened.bytes);
  return text === undefined ? { salt: base64(opened.salt), base64: base64(opened.bytes) } : { salt: base64(opened.salt), text };
}

/**
 * Payload segments (`spec/ledger.md`) with some entries' records: parts are written before the entry that refers to them, and the references made anew. What
 * is not there any more is written as never kept: its hash alone.
 */
export class SegmentWriter {
  readonly #ledger: string;
  readonly #firstIndex: number;
  #offset = 0;
  readonly #write: (bytes: Uint8Array) => void;

  constructor(ledger: string, ledgerId: string, firstIndex: number, write: (bytes: Uint8Array) => void) {
    this.#ledger = ledger;
    this.#firstIndex = firstIndex;
    this.#write = write;
    this.#put([encodeSegmentHeader(ledgerId, firstIndex)]);
  }

  get sizeBytes(): number {
    return this.#offset;
  }

  add(index: number, { leaf, attributes, frame }: StoredRecord): void {
    const items = [attributes, frame].map((list) => list.map((item) => this.#moved(item))) as [ContentItem[], ContentItem[]];
    this.#put(encodeEntryRecord(index, leaf, ...items));
  }

  #moved(item: ContentItem): ContentItem {
    if (item.state === 'kept' || item.state === 'dropped') return item;
    const part = item.state === 'part' ? openPart(this.#ledger, item) : undefined;
    if (part === undefined) return { state: 'dropped', hash: item.hash, sizeBytes: item.sizeBytes };
    const offset = this.#offset;
    const { connection, direction, unit, salt, bytes } = part;
    this.#put(encodePartRecord({ connection, direction, unit, salt, bytes }));
    return { state: 'part', hash: item.hash, sizeBytes: item.sizeBytes, file: this.#firstIndex, offset };
  }

  #put(buffers: readonly Uint8Array[]): void {
    for (const bytes of buffers) {
      this.#write(bytes);
      this.#offset += bytes.length;
    }
  }
}
