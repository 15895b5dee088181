/** A small log for tests of witnesses: it grows, signs, proves, and forks like one whose operator lies. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { utf8 } from '../src/bytes/bytes.ts';
import { nodeCrypto } from '../src/crypto-node.ts';
import { formatCheckpoint } from '../src/tlog/checkpoint.ts';
import { formatVkey, keyId, parseVkey, signNote, type Signer, type Vkey } from '../src/tlog/note.ts';
import { consistencyProof, type HashReader } from '../src/tlog/proof.ts';
import { hashLeaf, rootOfHashes } from '../src/tlog/tree.ts';

export function signerOf(name: string, seed: string, type = 1): { signer: Signer; publicKey: Uint8Array } {
  const key = createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), nodeCrypto.sha256(utf8(seed))]),
    format: 'der',
    type: 'pkcs8',
  });
  const publicKey = new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(12));
  return { signer: { name, keyId: keyId(nodeCrypto, name, publicKey, type), sign: (message) => sign(null, message, key) }, publicKey };
}

export class TestLog {
  readonly origin: string;
  readonly signer: Signer;
  readonly vkeyText: string;
  readonly vkey: Vkey;
  readonly #forkAt: number;
  readonly #leaves: Uint8Array[] = [];

  /** Two logs of one origin have the same key, and the same leaves before `forkAt`. */
  constructor(origin = 'log.example/one', forkAt = Infinity) {
    this.origin = origin;
    this.#forkAt = forkAt;
    const { signer, publicKey } = signerOf(origin, `log ${origin}`);
    this.signer = signer;
    this.vkeyText = formatVkey(nodeCrypto, origin, publicKey);
    this.vkey = parseVkey(nodeCrypto, this.vkeyText)!;
  }

  #hashes(size: number): Uint8Array[] {
    for (let i = this.#leaves.length; i < size; i++) this.#leaves.push(hashLeaf(nodeCrypto, utf8(i < this.#forkAt ? `entry ${i}` : `false ${i}`)));
    return this.#leaves.slice(0, size);
  }

  root(size: number): Uint8Array {
    return rootOfHashes(nodeCrypto, this.#hashes(size));
  }

  text(size: number, root = this.root(size)): string {
    return formatCheckpoint({ origin: this.origin, size, root });
  }

  note(size: number, root = this.root(size)): Uint8Array {
    return signNote(this.text(size, root), this.signer);
  }

  proof(size1: number, size2: number): Uint8Array[] {
    if (size1 === 0 || size1 >= size2) return [];
    const hashes = this.#hashes(size2);
    const read: HashReader = (level, index) => rootOfHashes(nodeCrypto, hashes.slice(index * 2 ** level, (index + 1) * 2 ** level));
    return consistencyProof(nodeCrypto, { size1, size2 }, read);
  }
}
