/** Cryptography of a page: the noble libraries, since a browser's own cannot be asked without waiting. */
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import type { Crypto, Hasher } from '../src/bytes/crypto.ts';

export const pageCrypto: Crypto = {
  sha256(...parts) {
    const [first] = parts;
    if (parts.length === 1) return sha256(first!);
    const hash = sha256.create();
    for (const part of parts) hash.update(part);
    return hash.digest();
  },
  hasher() {
    const hash = sha256.create();
    const self: Hasher = {
      update(bytes) {
        hash.update(bytes);
        return self;
      },
      digest: () => hash.digest(),
    };
    return self;
  },
  verifyEd25519(publicKey, message, signature) {
    if (publicKey.length !== 32 || signature.length !== 64) return false;
    try {
      // RFC 8032 as OpenSSL reads it: other encodings of the same point are refused
      return ed25519.verify(signature, message, publicKey, { zip215: false });
    } catch {
      return false;
    }
  },
};
