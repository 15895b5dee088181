import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cryptos } from '../../test/noble-crypto.ts';
import { base64, concat, equal, fromBase64, utf8, utf8Text } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { proofExtraBytes } from '../limits.ts';
import { formatCheckpoint } from './checkpoint.ts';
import { openNote, parseVkey, signNote } from './note.ts';
import { formatProofFile, parseProofFile, verifyProofFile, type ParsedProofFile } from './proof-file.ts';
import { consistencyProof, inclusionProof, inclusionProofLength, verifyConsistency, verifyInclusion, type HashReader } from './proof.ts';
import { hashNode } from './tree.ts';

const own = (name: string) => JSON.parse(readFileSync(new URL(`../../spec/vectors/${name}`, import.meta.url), 'utf8'));
const vectors = own('proof-files.json');
const good = (bytes: Uint8Array): ParsedProofFile => {
  const parsed = parseProofFile(bytes);
  if ('problem' in parsed) throw new Error(`line ${parsed.line}: ${parsed.message}`);
  return parsed;
};

/** A tree of any size whose leaves are all the same: the hash of a complete subtree follows from its level alone. */
const leaf = nodeCrypto.sha256(utf8('every leaf'));
const levels = [leaf];
for (let level = 1; level <= 53; level++) levels.push(hashNode(nodeCrypto, levels[level - 1]!, levels[level - 1]!));
const read: HashReader = (level) => levels[level]!;
function rootOf(size: number): Uint8Array {
  let root: Uint8Array | undefined;
  for (let level = 0, rest = size; rest > 0; level++, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) root = root ? hashNode(nodeCrypto, levels[level]!, root) : levels[level]!;
  }
  return root!;
}
const noteOf = (size: number) =>
  signNote(formatCheckpoint({ origin: 'a', size, root: rootOf(size) }), { name: 'a', keyId: new Uint8Array(4), sign: () => new Uint8Array(64) });
const sizes = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.maxSafeNat().map((n) => n || 1),
  fc.integer({ min: 0, max: 52 }).map((bit) => 2 ** bit),
);

describe.each(cryptos)('proof files under %s', (_name, crypto) => {
  it('accepts and refuses our vectors', () => {
    const vkey = parseVkey(crypto, own('notes.json').vkey)!;
    for (const { text, index, extra, leafHash } of vectors.accept) {
      const file = good(utf8(text));
      expect([file.index, file.extra ? base64(file.extra) : null]).toEqual([index, extra]);
      expect(verifyProofFile(crypto, file, fromBase64(leafHash)!)).toBe(true);
      expect(verifyProofFile(crypto, file, new Uint8Array(32))).toBe(false);
      expect(openNote(crypto, file.checkpoint, [vkey])).toMatchObject({ verified: [vkey] });
      expect(utf8Text(formatProofFile(file))).toBe(text);
    }
    for (const text of vectors.reject) expect(parseProofFile(utf8(text)), text).toMatchObject({ problem: 'proof-file' });
  });

  it('comes back as it was, at any size', () => {
    fc.assert(
      fc.property(sizes, fc.maxSafeNat(), fc.option(fc.uint8Array({ minLength: 1, maxLength: 200 }), { nil: undefined }), (size, at, extra) => {
        const index = at % size;
        const hashes = inclusionProof(crypto, { index, size }, read).map((hash) => Uint8Array.from(hash));
        expect(hashes).toHaveLength(inclusionProofLength({ index, size })!);
        const file = { ...(extra ? { extra } : {}), index, hashes, checkpoint: noteOf(size) };
        const parsed = good(formatProofFile(file));
        expect(parsed).toMatchObject(file);
        expect(verifyProofFile(crypto, parsed, leaf)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });
});

describe('proof files', () => {
  it('refuse a changed byte, or still mean the same', () => {
    const text = utf8(vectors.accept[0].text);
    const vkey = parseVkey(nodeCrypto, own('notes.json').vkey)!;
    const original = good(text);
    const leafHash = fromBase64(vectors.accept[0].leafHash)!;
    for (let at = 0; at < text.length; at++) {
      for (const flip of [0x01, 0x04, 0x20, 0x80]) {
        const parsed = parseProofFile(text.with(at, text[at]! ^ flip));
        if ('problem' in parsed) continue;
        const opened = openNote(nodeCrypto, parsed.checkpoint, [vkey]);
        if ('problem' in opened || opened.verified.length === 0 || !verifyProofFile(nodeCrypto, parsed, leafHash)) continue;
        // left are `extra`, which nobody signed, and the lines of others
        expect([parsed.index, parsed.parsed]).toEqual([original.index, original.parsed]);
        expect(parsed.hashes.every((hash, i) => equal(hash, original.hashes[i]!))).toBe(true);
      }
    }
  });

  it('never throw', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void parseProofFile(bytes)));
    const lines = vectors.accept[0].text.split('\n') as string[];
    fc.assert(
      fc.property(fc.shuffledSubarray(lines, { minLength: 1 }), (some) => {
        const parsed = parseProofFile(utf8(some.join('\n')));
        if (!('problem' in parsed)) expect(utf8Text(formatProofFile(parsed))).toBe(some.join('\n'));
      }),
    );
  });

  it('hold an extra of 48 kB whose line Go reads, and no more', () => {
    const file = { extra: new Uint8Array(proofExtraBytes), index: 0, hashes: [], checkpoint: noteOf(1) };
    const bytes = formatProofFile(file);
    expect(utf8Text(bytes)!.split('\n')[1]!.length).toBeLessThan(65_536);
    expect(good(bytes).extra).toHaveLength(proofExtraBytes);
    expect(() => formatProofFile({ ...file, extra: new Uint8Array(proofExtraBytes + 1) })).toThrow(RangeError);
    const tooLong = concat(
      utf8('c2sp.org/tlog-proof@v1\nextra '),
      utf8(base64(new Uint8Array(proofExtraBytes + 1))),
      utf8('\nindex 0\n\n'),
      noteOf(1),
    );
    expect(parseProofFile(tooLong)).toMatchObject({ line: 2 });
    expect(good(formatProofFile({ ...file, extra: new Uint8Array(0) })).extra).toBeUndefined();
  });

  it('are not written when they could not be read', () => {
    const file = { index: 2, hashes: inclusionProof(nodeCrypto, { index: 2, size: 5 }, read), checkpoint: noteOf(5) };
    expect(() => formatProofFile({ ...file, index: 5 })).toThrow(RangeError);
    expect(() => formatProofFile({ ...file, index: 1.5 })).toThrow(RangeError);
    expect(() => formatProofFile({ ...file, hashes: file.hashes.slice(1) })).toThrow(RangeError);
    expect(() => formatProofFile({ ...file, hashes: file.hashes.with(0, new Uint8Array(31)) })).toThrow(RangeError);
    expect(() => formatProofFile({ ...file, checkpoint: utf8('x') })).toThrow(RangeError);
    expect(() => formatProofFile({ ...file, checkpoint: Uint8Array.of(0xff) })).toThrow(RangeError);
  });
});

describe('proofs at any size', () => {
  it('of inclusion hold, for their own index and size only', () => {
    fc.assert(
      fc.property(sizes, fc.maxSafeNat(), (size, at) => {
        const index = at % size;
        const proof = inclusionProof(nodeCrypto, { index, size }, read);
        const whole = { index, size, leafHash: leaf, proof, root: rootOf(size) };
        expect(verifyInclusion(nodeCrypto, whole)).toBe(true);
        expect(verifyInclusion(nodeCrypto, { ...whole, proof: [...proof, leaf] })).toBe(false);
        if (proof.length > 0) {
          expect(verifyInclusion(nodeCrypto, { ...whole, proof: proof.slice(1) })).toBe(false);
          expect(verifyInclusion(nodeCrypto, { ...whole, proof: proof.with(0, proof[0]!.with(0, proof[0]![0]! ^ 1)) })).toBe(false);
        }
      }),
    );
  });
  it('of consistency hold', () => {
    fc.assert(
      fc.property(sizes, sizes, (a, b) => {
        const [size1, size2] = a < b ? [a, b] : [b, a];
        const proof = consistencyProof(nodeCrypto, { size1, size2 }, read);
        expect(proof.length).toBeLessThanOrEqual(63);
        const whole = { size1, size2, root1: rootOf(size1), root2: rootOf(size2), proof };
        expect(verifyConsistency(nodeCrypto, whole)).toBe(true);
        expect(verifyConsistency(nodeCrypto, { ...whole, root1: nodeCrypto.sha256(whole.root1) })).toBe(false);
        expect(verifyConsistency(nodeCrypto, { ...whole, root2: nodeCrypto.sha256(whole.root2) })).toBe(false);
        expect(verifyConsistency(nodeCrypto, { ...whole, proof: [...proof, leaf] })).toBe(false);
        if (proof.length > 0) expect(verifyConsistency(nodeCrypto, { ...whole, proof: proof.slice(1) })).toBe(false);
      }),
    );
  });
});
