/** Witnesses for tests: keys from a word, and cosignatures put onto a checkpoint. */
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { nodeCrypto } from '../src/crypto-node.ts';
import { cosign, formatCosigner, parseCosigner, withSignatures } from '../src/tlog/cosignature.ts';
import { parseNote } from '../src/tlog/note.ts';

export interface FixtureWitness {
  vkey: string;
  /** The checkpoint with this witness's line. */
  cosigned: (note: Uint8Array, timeS: number) => Uint8Array;
}

export function fixtureWitness(name: string): FixtureWitness {
  const seed = createHash('sha256').update(name).digest();
  const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(12);
  const vkey = formatCosigner(nodeCrypto, name, publicKey);
  const { keyId } = parseCosigner(nodeCrypto, vkey)!;
  const signer = { name, keyId, sign: (message: Uint8Array) => sign(null, message, key) };
  return { vkey, cosigned: (note, timeS) => withSignatures(note, [cosign(parseNote(note)!.text, signer, timeS)])! };
}
