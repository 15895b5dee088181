/**
 * Turns an entry and its attributes into what the ledger stores: the one place where an entry is serialised. Bounds and truncation marks are those of
 * `spec/entry.md`; what is cut from a field becomes an attribute of the same name.
 */
import { randomFillSync } from 'node:crypto';
import { nodeCrypto } from '../crypto-node.ts';
import { commitmentOf, saltBytes, segmentHash } from '../entry/commitment.ts';
import type { Entry } from '../entry/entry.ts';
import { SwornError } from '../errors.ts';
import { attributeBytes, entryBytes } from '../limits.ts';
import type { Content } from '../ledger/ledger.ts';
import type { ContentItem } from '../ledger/segment.ts';

export type Attributes = Record<string, unknown>;

const pool = Buffer.allocUnsafe(saltBytes * 512);
let poolAt = pool.length;

/** 16 fresh random bytes. Salts are drawn in blocks: one call to the system's generator for each would cost as much as the hash. */
export function salt(): Buffer {
  if (poolAt === pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  const fresh = Buffer.allocUnsafe(saltBytes);
  pool.copy(fresh, 0, poolAt, poolAt + saltBytes);
  pool.fill(0, poolAt, poolAt + saltBytes);
  poolAt += saltBytes;
  return fresh;
}

/** A segment of content and its hash. */
export function segmentOf(bytes: Uint8Array): { item: ContentItem; hash: Uint8Array } {
  const fresh = salt();
  return { item: { state: 'kept', salt: fresh, bytes }, hash: segmentHash(nodeCrypto, fresh, bytes) };
}

/** The commitment to these segment hashes, in base64. */
export function commitment(hashes: Uint8Array[]): string {
  const hash = commitmentOf(nodeCrypto, hashes);
  // the platform's: built up character by character it would be the largest piece of garbage of an entry
  return Buffer.from(hash.buffer, hash.byteOffset, hash.length).toString('base64');
}

/**
 * Serialises the entry. `frame` are the segments of its frame, which the entry's `commitment` already covers.
 * @throws SwornError `too-large` when the leaf is over 65,535 bytes, which the bounds of its fields exclude
 */
export function seal(entry: Entry, attributes: Attributes = {}, frame: readonly ContentItem[] = []): Content {
  const items: ContentItem[] = [];
  const hashes: Uint8Array[] = [];
  for (const name in attributes) {
    const value = attributes[name];
    if (value === undefined) continue;
    let bytes = Buffer.from(JSON.stringify({ [name]: value }));
    if (bytes.length > attributeBytes) bytes = Buffer.from(JSON.stringify({ [name]: { tooLarge: true, sizeBytes: bytes.length } }));
    const { item, hash } = segmentOf(bytes);
    items.push(item);
    hashes.push(hash);
  }
  if (items.length > 0) {
    entry.attributes = items.length;
    entry.attributesCommitment = commitment(hashes);
  }
  const leaf = JSON.stringify(entry);
  // it has at most three bytes for each of its characters
  if (leaf.length * 3 > entryBytes && Buffer.byteLength(leaf) > entryBytes)
    throw new SwornError('too-large', `an entry of kind ${entry.kind} has ${Buffer.byteLength(leaf)} bytes`);
  return { leaf, attributes: items, frame };
}
