/**
 * Inclusion and consistency proofs: built as in RFC 6962 §2.1.1 and §2.1.2, checked as in RFC 9162 §2.1.3.2 and §2.1.4.2.
 * Sizes are plain numbers up to 2^53 - 1, so nothing here uses bitwise operators.
 */
import { equal } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { tileWidth } from '../limits.ts';
import { hashBytes, hashNode, rootOfHashes } from './tree.ts';

/**
 * The root of a complete subtree: `level` counts binary levels from the leaves (0), `index` the subtrees of that level from the left,
 * so that it covers the leaves `index · 2^level` up to, but not including, `(index + 1) · 2^level`.
 */
export type HashReader = (level: number, index: number) => Uint8Array;

export interface Inclusion {
  index: number;
  size: number;
  leafHash: Uint8Array;
  proof: Uint8Array[];
  root: Uint8Array;
}

export interface Consistency {
  size1: number;
  size2: number;
  root1: Uint8Array;
  root2: Uint8Array;
  proof: Uint8Array[];
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** The largest power of two below `count`, which is at least 2. */
function splitPoint(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

function rangeRoot(crypto: Crypto, start: number, end: number, read: HashReader): Uint8Array {
  const count = end - start;
  const left = count === 1 ? 1 : splitPoint(count);
  if (count === 1 || left * 2 === count) return read(Math.log2(count), start / count);
  return hashNode(crypto, rangeRoot(crypto, start, start + left, read), rangeRoot(crypto, start + left, end, read));
}

/**
 * Proof that the leaf `index` is in the tree of `size` leaves (RFC 6962 §2.1.1): sibling hashes, leaf side first.
 *
 * @throws RangeError unless 0 ≤ index < size ≤ 2^53 - 1
 */
export function inclusionProof(crypto: Crypto, at: { index: number; size: number }, read: HashReader): Uint8Array[] {
  const { index, size } = at;
  if (!isSize(index) || !isSize(size) || index >= size) throw new RangeError(`no leaf ${index} in a tree of ${size}`);
  const proof: Uint8Array[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + splitPoint(end - start);
    if (index < middle) {
      proof.push(rangeRoot(crypto, middle, end, read));
      end = middle;
    } else {
      proof.push(rangeRoot(crypto, start, middle, read));
      start = middle;
    }
  }
  return proof.reverse();
}

/** How many hashes an inclusion proof has; `undefined` unless 0 ≤ index < size ≤ 2^53 - 1. */
export function inclusionProofLength({ index, size }: { index: number; size: number }): number | undefined {
  if (!isSize(index) || !isSize(size) || index >= size) return undefined;
  let length = 0;
  for (let node = index, last = size - 1; last > 0; node = Math.floor(node / 2), last = Math.floor(last / 2)) {
    // the last node of a level goes up alone when it is a left one
    if (node % 2 === 1 || node < last) length++;
  }
  return length;
}

/**
 * Proof that the tree of `size2` leaves begins with the tree of `size1` leaves (RFC 6962 §2.1.2); empty when the sizes are equal.
 *
 * @throws RangeError unless 1 ≤ size1 ≤ size2 ≤ 2^53 - 1
 */
export function consistencyProof(crypto: Crypto, sizes: { size1: number; size2: number }, read: HashReader): Uint8Array[] {
  const { size1, size2 } = sizes;
  if (!isSize(size1) || !isSize(size2) || size1 < 1 || size1 > size2) throw new RangeError(`no consistency proof from ${size1} to ${size2}`);
  if (size1 === size2) return [];
  const proof: Uint8Array[] = [];
  let start = 0;
  let end = size2;
  while (end !== size1) {
    const middle = start + splitPoint(end - start);
    if (size1 <= middle) {
      proof.push(rangeRoot(crypto, middle, end, read));
      end = middle;
    } else {
      proof.push(rangeRoot(crypto, start, middle, read));
      start = middle;
    }
  }
  // The verifier knows the old root; it needs the last piece only when that is not the whole old tree.
  if (start !== 0) proof.push(rangeRoot(crypto, start, end, read));
  return proof.reverse();
}

/**
 * Whether `proof` shows that `leafHash` is leaf `index` of the tree with `size` leaves and `root` (RFC 9162 §2.1.3.2). Never throws.
 * Every hash must have 32 bytes: a verifier that compares without it accepts an empty leaf under an empty root.
 */
export function verifyInclusion(crypto: Crypto, { index, size, leafHash, proof, root }: Inclusion): boolean {
  if (!isSize(index) || !isSize(size) || index >= size) return false;
  if (leafHash.length !== hashBytes || root.length !== hashBytes) return false;
  let node = index;
  let last = size - 1;
  let hash = leafHash;
  for (const sibling of proof) {
    if (sibling.length !== hashBytes || last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = hashNode(crypto, sibling, hash);
      while (node % 2 === 0 && node !== 0) {
        node = node / 2;
        last = Math.floor(last / 2);
      }
    } else {
      hash = hashNode(crypto, hash, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && equal(hash, root);
}

/**
 * Whether `proof` shows that the tree `size2`, `root2` begins with the tree `size1`, `root1` (RFC 9162 §2.1.4.2). Never throws.
 * `size1` 0 is refused: every tree is consistent with the empty one, so such a proof says nothing.
 */
export function verifyConsistency(crypto: Crypto, { size1, size2, root1, root2, proof }: Consistency): boolean {
  if (!isSize(size1) || !isSize(size2) || size1 < 1 || size1 > size2) return false;
  if (root1.length !== hashBytes || root2.length !== hashBytes) return false;
  for (const hash of proof) if (hash.length !== hashBytes) return false;
  if (size1 === size2) return proof.length === 0 && equal(root1, root2);
  if (proof.length === 0) return false;

  let node = size1 - 1;
  let last = size2 - 1;
  while (node % 2 === 1) {
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  // `node` is 0 exactly when size1 is a power of two: then the old root itself is the first piece.
  const rest = node === 0 ? proof : proof.slice(1);
  let hash1 = node === 0 ? root1 : proof[0]!;
  let hash2 = hash1;
  for (const sibling of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash1 = hashNode(crypto, sibling, hash1);
      hash2 = hashNode(crypto, sibling, hash2);
      while (node % 2 === 0 && node !== 0) {
        node = node / 2;
        last = Math.floor(last / 2);
      }
    } else {
      hash2 = hashNode(crypto, hash2, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && equal(hash1, root1) && equal(hash2, root2);
}

/**
 * Reads the hashes that proofs need from tiles (C2SP tlog-tiles) of the tree with `size` leaves.
 * `readTile` gets the width that the tile has at this size and returns at least that many hashes.
 *
 * @throws RangeError (from the reader) when a tile is shorter than its width
 */
export function tileHashReader(crypto: Crypto, size: number, readTile: (level: number, n: number, width: number) => Uint8Array): HashReader {
  return (level, index) => {
    const tileLevel = Math.floor(level / 8);
    const count = 2 ** (level % 8);
    const first = index * count;
    const n = Math.floor(first / tileWidth);
    const width = Math.min(tileWidth, Math.floor(size / tileWidth ** tileLevel) - n * tileWidth);
    const bytes = readTile(tileLevel, n, width);
    const hashes: Uint8Array[] = [];
    for (let i = first % tileWidth; hashes.length < count; i++) hashes.push(bytes.subarray(i * hashBytes, (i + 1) * hashBytes));
    return rootOfHashes(crypto, hashes);
  };
}
