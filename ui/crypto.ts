/** Cryptography of a page: the noble libraries, since a browser's own cannot be asked without waiting. */
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import type { Crypto, Hasher } from '../src/bytes/crypto.ts';

/**
 * One hash object for all hashes. A new one has a buffer of its own outside of the heap, as has a digest that was looked at through a view: for some million hashes of
 * a report they come to hundreds of megabytes, before anybody collects them.
 */
const fresh = sha256.create();
const working = fresh.clone();
const digest = new Uint8Array(64);
/** Below it parts are copied together. */
const gathered = new Uint8Array(4_096);

export const pageCrypto: Crypto = {
  sha256(...parts) {
    let sizeBytes = 0;
    for (const part of parts) sizeBytes += part.length;
    fresh._cloneInto(working);
    if (sizeBytes <= gathered.length) {
      let at = 0;
      for (const part of parts) {
        gathered.set(part, at);
        at += part.length;
      }
      working.update(gathered.subarray(0, sizeBytes));
    } else for (const part of parts) working.update(part);
    working.digestInto(digest);
    return digest.slice(0, 32);
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
