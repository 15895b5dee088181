/**
 * Encryption of payload records (`spec/ledger.md`, "Encrypted segments"): what stands behind a body's head is AES-256-CTR under the key of its segment.
 *
 * What must stay true: no keystream is used twice for different bytes. Each record has a nonce of its own, drawn anew whenever one is written, so that this does not
 * hang on where it stands: a file that was cut back, or put back with an older one, goes on being safe.
 */
import { createCipheriv, createDecipheriv, createHash, createSecretKey, randomFillSync, type KeyObject } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** In the clear, before the encrypted bytes. With a counter of 32 bits behind it, it is the first counter block: 64 GiB for each record. */
export const nonceBytes = 12;
export const segmentKeyBytes = 32;

const algorithm = 'aes-256-ctr';
/** Length and checksum of a record. */
const frameBytes = 8;

/** The key of one segment file. */
export interface SegmentKey {
  /** 8 hex digits that follow from the secret (`keyCheck`): they stand in the segment's header, and tell a wrong key from content that was changed. */
  id: string;
  secret: KeyObject;
  /** The check of the key that it is wrapped with. */
  wrappingId: string;
}

/** The first 4 bytes of a hash of a key, in hex. It says nothing of the key, and has to be the same wherever it is opened. */
export function keyCheck(secret: Uint8Array): string {
  return createHash('sha256').update('sworn payload key\n').update(secret).digest('hex').slice(0, 8);
}

/** @throws RangeError unless it has 32 bytes */
export function segmentKeyOf(secret: Uint8Array, wrappingId: string): SegmentKey {
  if (secret.length !== segmentKeyBytes) throw new RangeError(`a segment's key has ${segmentKeyBytes} bytes, not ${secret.length}`);
  // a key object is set up once: with bytes every record would cost five times as much
  return { id: keyCheck(secret), secret: createSecretKey(secret), wrappingId };
}

/** Bytes at the beginning of a body that stay in the clear: of an entry its type, index and leaf, of a part all but salt and bytes. 0: not of the format. */
export function clearBytes(body: Buffer): number {
  if (body[0] === 2 || body[0] === 3) return 1 + 16 + 1 + 8;
  if (body[0] !== 1 || body.length < 13) return 0;
  return 13 + body.readUInt32BE(9);
}

/** Nonces are drawn by the hundred. */
const drawn = Buffer.alloc(128 * 16);
let drawnAt = drawn.length;

/** A fresh nonce and the counter that begins at zero, in a buffer that is good until the next call. */
function freshCounter(): Buffer {
  if (drawnAt === drawn.length) {
    randomFillSync(drawn);
    drawnAt = 0;
  }
  const counter = drawn.subarray(drawnAt, (drawnAt += 16));
  counter.fill(0, nonceBytes);
  return counter;
}

function counterOf(nonce: Uint8Array): Buffer {
  const counter = Buffer.alloc(16);
  counter.set(nonce);
  return counter;
}

/** A record as it is encoded in the clear (`encodeEntryRecord`, `encodePartRecord`), as it is stored: `nonceBytes` longer, in one buffer. */
export function encryptRecord(buffers: readonly Buffer[], { secret }: SegmentKey): Buffer {
  let sizeBytes = 0;
  for (const buffer of buffers) sizeBytes += buffer.length;
  const stored = Buffer.allocUnsafe(sizeBytes + nonceBytes);
  const head = buffers[0]!;
  const clear = frameBytes + clearBytes(head.subarray(frameBytes));
  const counter = freshCounter();
  const cipher = createCipheriv(algorithm, secret, counter);
  stored.set(head.subarray(0, clear));
  stored.set(counter.subarray(0, nonceBytes), clear);
  let at = clear + nonceBytes;
  for (const [i, buffer] of buffers.entries()) {
    const plain = i === 0 ? buffer.subarray(clear) : buffer;
    if (plain.length === 0) continue;
    stored.set(cipher.update(plain), at);
    at += plain.length;
  }
  stored.writeUInt32BE(stored.length - frameBytes, 0);
  stored.writeUInt32BE(crc32(stored.subarray(frameBytes)), 4);
  return stored;
}

/** A stored body in the clear, in a buffer of its own and `nonceBytes` shorter; `undefined` when it is not of the format. */
export function openBody(body: Buffer, { secret }: SegmentKey): Buffer | undefined {
  const clear = clearBytes(body);
  if (clear === 0 || body.length < clear + nonceBytes) return undefined;
  const plain = Buffer.allocUnsafe(body.length - nonceBytes);
  plain.set(body.subarray(0, clear));
  plain.set(openBytes(secret, body.subarray(clear, clear + nonceBytes), body.subarray(clear + nonceBytes)), clear);
  return plain;
}

/** AES-256-CTR: as well to encrypt as to open. */
export function openBytes(secret: KeyObject, nonce: Uint8Array, bytes: Uint8Array): Buffer {
  return createDecipheriv(algorithm, secret, counterOf(nonce)).update(bytes);
}
