/**
 * The cryptography that browser-safe code needs, handed in by the caller: Node passes `src/crypto-node.ts`, a browser passes the noble libraries.
 */
export interface Crypto {
  /** SHA-256 of the concatenation of `parts`: 32 bytes. */
  sha256(...parts: Uint8Array[]): Uint8Array;
  /** SHA-256 in pieces. */
  hasher(): Hasher;
  /** Ed25519 (RFC 8032, pure): `publicKey` 32 bytes, `signature` 64 bytes. Never throws: bad lengths are `false`. */
  verifyEd25519(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** CRC-32 as in zlib, an unsigned 32-bit number, where the platform has a quick one. */
  crc32?(bytes: Uint8Array): number;
  /** Whether the bytes are the same, where the platform has a quick way. */
  equal?(a: Uint8Array, b: Uint8Array): boolean;
}

export interface Hasher {
  update(bytes: Uint8Array): Hasher;
  digest(): Uint8Array;
}
