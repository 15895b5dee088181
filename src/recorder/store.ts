/**
 * What of a frame goes into the ledger: its bytes cut into stretches that are kept and stretches of which only the hash stays (`spec/entry.md`,
 * Commitments). The commitment is over all of them, so what was left out is bound all the same.
 */
import { createHmac, randomFillSync } from 'node:crypto';
import { nodeCrypto } from '../crypto-node.ts';
import { saltBytes, segmentHash } from '../entry/commitment.ts';
import type { ContentItem } from '../ledger/segment.ts';
import { unitBytes } from '../limits.ts';
import type { Redaction } from '../policy/redact.ts';
import { segmentOf } from './seal.ts';

export interface Stored {
  items: ContentItem[];
  hashes: Uint8Array[];
}

/** The salt of a checkable stretch: who has the key can make it again, and so find the value or prove it (`spec/policy.md`, Checkable). */
export function checkableSalt(findKey: Buffer, index: number, segment: number): Buffer {
  const place = Buffer.alloc(16);
  place.writeBigUInt64BE(BigInt(index), 0);
  place.writeBigUInt64BE(BigInt(segment), 8);
  return createHmac('sha256', findKey).update(place).digest().subarray(0, saltBytes);
}

/**
 * The segments of a frame that will be entry `index`. `without` are the ranges that are left out, ascending and apart. What is kept is in pieces of at most a unit.
 */
export function storedOf(bytes: Buffer, without: readonly Redaction[], index: number, findKey: () => Buffer): Stored {
  if (without.length === 0 && bytes.length <= unitBytes) {
    const { item, hash } = segmentOf(bytes);
    return { items: [item], hashes: [hash] };
  }
  const stored: Stored = { items: [], hashes: [] };
  const keep = (start: number, end: number): void => {
    for (let at = start; at < end; at += unitBytes) {
      const { item, hash } = segmentOf(bytes.subarray(at, Math.min(at + unitBytes, end)));
      stored.items.push(item);
      stored.hashes.push(hash);
    }
  };
  let at = 0;
  for (const { start, end, keep: how } of without) {
    keep(at, start);
    const salt = how === 'checkable' ? checkableSalt(findKey(), index, stored.items.length) : randomFillSync(Buffer.allocUnsafe(saltBytes));
    const hash = segmentHash(nodeCrypto, salt, bytes.subarray(start, end));
    // never written, and gone with this: without it the hash says nothing of the value
    salt.fill(0);
    stored.items.push({ state: 'dropped', hash, sizeBytes: end - start });
    stored.hashes.push(hash);
    at = end;
  }
  keep(at, bytes.length);
  return stored;
}
