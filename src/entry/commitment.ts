/**
 * Commitments to content (`spec/entry.md`): `d = SHA256(0x02 ‖ salt ‖ bytes)` for each segment, and the RFC 6962 tree over the `d` as leaf hashes.
 * The prefix keeps a segment's hash apart from a leaf (0x00) and an inner node (0x01) of any tree.
 */
import type { Crypto } from '../bytes/crypto.ts';
import { rootOfHashes } from '../tlog/tree.ts';

export const saltBytes = 16;
const segmentPrefix = Uint8Array.of(0x02);

/** The hash of one segment: 32 bytes. */
export function segmentHash(crypto: Crypto, salt: Uint8Array, bytes: Uint8Array): Uint8Array {
  return crypto.sha256(segmentPrefix, salt, bytes);
}

/** The commitment to a list of segments, of which there is at least one. */
export function commitmentOf(crypto: Crypto, hashes: Uint8Array[]): Uint8Array {
  return hashes.length === 1 ? hashes[0]! : rootOfHashes(crypto, hashes);
}
