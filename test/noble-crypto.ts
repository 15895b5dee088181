/** `Crypto` over the noble libraries, as a browser would pass it; tests run under this one and under `src/crypto-node.ts`. */
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import type { Crypto, Hasher } from '../src/bytes/crypto.ts';
import { nodeCrypto } from '../src/crypto-node.ts';

export const nobleCrypto: Crypto = {
  sha256(...parts) {
    const h = sha256.create();
    for (const part of parts) h.update(part);
    return h.digest();
  },
  hasher() {
    const h = sha256.create();
    const self: Hasher = {
      update(bytes) {
        h.update(bytes);
        return self;
      },
      digest: () => h.digest(),
    };
    return self;
  },
  verifyEd25519(publicKey, message, signature) {
    if (publicKey.length !== 32 || signature.length !== 64) return false;
    try {
      // zip215: false is RFC 8032 as OpenSSL reads it: non-canonical encodings are refused.
      return ed25519.verify(signature, message, publicKey, { zip215: false });
    } catch {
      return false;
    }
  },
};

/** For `describe.each`. */
export const cryptos: [string, Crypto][] = [
  ['node', nodeCrypto],
  ['noble', nobleCrypto],
];
