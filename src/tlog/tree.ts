/** The Merkle tree of RFC 6962 §2.1 over SHA-256. */
import type { Crypto } from '../bytes/crypto.ts';

/** Every hash of the tree has this length; anything else is refused where hashes come in. */
export const hashBytes = 32;

const leafPrefix = Uint8Array.of(0x00);
const nodePrefix = Uint8Array.of(0x01);

/** Leaf hash of an entry (RFC 6962 §2.1): `SHA256(0x00 ‖ entry)`, 32 bytes. */
export function hashLeaf(crypto: Crypto, entry: Uint8Array): Uint8Array {
  return crypto.sha256(leafPrefix, entry);
}

/** Hash of an inner node (RFC 6962 §2.1): `SHA256(0x01 ‖ left ‖ right)`, 32 bytes. */
export function hashNode(crypto: Crypto, left: Uint8Array, right: Uint8Array): Uint8Array {
  return crypto.sha256(nodePrefix, left, right);
}

/** Root of the tree without entries (RFC 6962 §2.1): `SHA256("")`, 32 bytes. */
export function emptyRoot(crypto: Crypto): Uint8Array {
  return crypto.sha256();
}

/**
 * Root over leaf hashes (RFC 6962 §2.1): 32 bytes; of none, the empty root; of one, that hash itself.
 *
 * @throws RangeError when a hash does not have 32 bytes
 */
export function rootOfHashes(crypto: Crypto, hashes: Uint8Array[]): Uint8Array {
  for (const hash of hashes) if (hash.length !== hashBytes) throw new RangeError(`a hash of the tree has ${hashBytes} bytes, not ${hash.length}`);
  if (hashes.length === 0) return emptyRoot(crypto);
  // Pairing level by level, with an odd last one carried up unchanged, is the same tree as splitting at the largest power of two.
  let level = hashes;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(hashNode(crypto, level[i]!, level[i + 1]!));
    if (level.length % 2 === 1) above.push(level[level.length - 1]!);
    level = above;
  }
  return level[0]!;
}
