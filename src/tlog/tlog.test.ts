import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cryptos } from '../../test/noble-crypto.ts';
import { base64, concat, fromBase64, fromHex, hex, utf8, utf8Text } from '../bytes/bytes.ts';
import { formatCheckpoint, parseCheckpoint } from './checkpoint.ts';
import { formatNote, formatSkey, formatVkey, keyId, openNote, parseNote, parseSkey, parseVkey, signNote } from './note.ts';
import { consistencyProof, inclusionProof, tileHashReader, verifyConsistency, verifyInclusion } from './proof.ts';
import { decodeBundle, encodeBundle, parseTilePath, tilePath, TileStack, tileWidthAt, type Tile } from './tile.ts';
import { emptyRoot, hashLeaf, rootOfHashes } from './tree.ts';

const own = (name: string) => JSON.parse(readFileSync(new URL(`../../spec/vectors/${name}`, import.meta.url), 'utf8'));
const foreignFolder = new URL('../../../shared/vectors/', import.meta.url);
const noForeign = !existsSync(foreignFolder);
if (noForeign) console.warn('foreign vectors are not here: their tests are skipped');
const foreign = (name: string) => JSON.parse(readFileSync(new URL(name, foreignFolder), 'utf8'));
const bytes = (text: string | null | undefined) => (text ? fromBase64(text)! : new Uint8Array(0));
const list = (texts: string[] | null) => (texts ?? []).map(bytes);

describe.each(cryptos)('tlog under %s', (_name, crypto) => {
  const leafHashes = (count: number) => Array.from({ length: count }, (_, i) => hashLeaf(crypto, utf8(`entry ${i}`)));

  describe('tree', () => {
    it('has the published constants', () => {
      expect(base64(emptyRoot(crypto))).toBe('47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=');
      expect(base64(rootOfHashes(crypto, []))).toBe('47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=');
      expect(base64(hashLeaf(crypto, new Uint8Array(0)))).toBe('bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=');
    });
    it('has the roots of the vectors', () => {
      const { entries, roots } = own('tree.json');
      const leaves = entries.map((entry: string) => hashLeaf(crypto, utf8(entry)));
      for (const { size, root } of roots) expect(base64(rootOfHashes(crypto, leaves.slice(0, size)))).toBe(root);
    });
    it('refuses a hash of another length', () => {
      expect(() => rootOfHashes(crypto, [new Uint8Array(31)])).toThrow(RangeError);
    });
  });

  describe('proof', () => {
    it('accepts and refuses our vectors', () => {
      const { inclusion, consistency } = own('tree.json');
      for (const { index, size, leafHash, proof, root, accept, why } of inclusion) {
        const verdict = verifyInclusion(crypto, { index, size, leafHash: bytes(leafHash), proof: list(proof), root: bytes(root) });
        expect(verdict, `${index} in ${size}: ${why}`).toBe(accept);
      }
      for (const { size1, size2, root1, root2, proof, accept, why } of consistency) {
        const verdict = verifyConsistency(crypto, { size1, size2, root1: bytes(root1), root2: bytes(root2), proof: list(proof) });
        expect(verdict, `${size1} to ${size2}: ${why}`).toBe(accept);
      }
    });
    it.skipIf(noForeign)('accepts and refuses the vectors of transparency-dev/merkle', () => {
      for (const vector of foreign('merkle-inclusion.json')) {
        const { leafIdx: index, treeSize: size, root, leafHash, proof, wantErr } = vector;
        expect(verifyInclusion(crypto, { index, size, leafHash: bytes(leafHash), proof: list(proof), root: bytes(root) }), vector.name).toBe(
          !wantErr,
        );
      }
      for (const vector of foreign('merkle-consistency.json')) {
        const { size1, size2, root1, root2, proof, wantErr } = vector;
        // One vector accepts equal roots of 12 bytes; ours must have 32.
        const accept = !wantErr && bytes(root1).length === 32;
        expect(verifyConsistency(crypto, { size1, size2, root1: bytes(root1), root2: bytes(root2), proof: list(proof) }), vector.name).toBe(accept);
      }
    });
    it('builds what it accepts, over tiles', () => {
      const leaves = leafHashes(700);
      const tiles = new Map<string, Uint8Array>();
      const stack = TileStack.empty(crypto);
      for (const leaf of leaves) for (const tile of stack.append(leaf)) tiles.set(`${tile.level}/${tile.n}`, tile.bytes);
      for (const tile of stack.partials()) tiles.set(`${tile.level}/${tile.n}`, tile.bytes);
      const read = tileHashReader(crypto, 700, (level, n) => tiles.get(`${level}/${n}`)!);
      const root = stack.root();
      for (const index of [0, 1, 255, 256, 511, 512, 698, 699]) {
        const proof = inclusionProof(crypto, { index, size: 700 }, read);
        expect(verifyInclusion(crypto, { index, size: 700, leafHash: leaves[index]!, proof, root })).toBe(true);
        expect(verifyInclusion(crypto, { index: index ^ 1, size: 700, leafHash: leaves[index]!, proof, root })).toBe(false);
      }
      for (const size1 of [1, 2, 3, 255, 256, 257, 512, 600, 699, 700]) {
        const root1 = rootOfHashes(crypto, leaves.slice(0, size1));
        const proof = consistencyProof(crypto, { size1, size2: 700 }, read);
        expect(verifyConsistency(crypto, { size1, size2: 700, root1, root2: root, proof })).toBe(true);
        expect(verifyConsistency(crypto, { size1, size2: 700, root1: root1.map((byte) => byte ^ 1), root2: root, proof })).toBe(false);
      }
    });
    it('refuses to build what does not exist', () => {
      const read = () => new Uint8Array(32);
      expect(() => inclusionProof(crypto, { index: 1, size: 1 }, read)).toThrow(RangeError);
      expect(() => consistencyProof(crypto, { size1: 0, size2: 1 }, read)).toThrow(RangeError);
      expect(() => consistencyProof(crypto, { size1: 2, size2: 1 }, read)).toThrow(RangeError);
    });
  });

  describe('tile', () => {
    it('writes and reads the paths of the vectors', () => {
      const { accept, reject } = own('tiles.json');
      for (const { level, n, width, path } of accept) {
        expect(tilePath(level, n, width)).toBe(path);
        expect(parseTilePath(path)).toEqual({ level, n, width });
      }
      for (const path of reject) expect(parseTilePath(path), path).toBeUndefined();
      expect(tilePath(0, 1234067)).toBe('tile/0/x001/x234/067');
      expect(tilePath(0, 1234, 17)).toBe('tile/0/x001/234.p/17');
    });
    it('encodes and decodes the bundles of the vectors', () => {
      const { bundles } = own('tiles.json');
      for (const { entries, hex: encoded } of bundles.accept) {
        expect(hex(encodeBundle(entries.map(utf8)))).toBe(encoded);
        expect(decodeBundle(fromHex(encoded)!)!.map(utf8Text)).toEqual(entries);
      }
      for (const encoded of bundles.reject) expect(decodeBundle(fromHex(encoded)!), encoded).toBeUndefined();
      expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(RangeError);
    });
    it('knows the widths of a log of 70,000 entries', () => {
      expect([272, 273, 274].map((n) => tileWidthAt(70_000, 0, n))).toEqual([256, 112, 0]);
      expect([0, 1].map((n) => tileWidthAt(70_000, 1, n))).toEqual([256, 17]);
      expect(tileWidthAt(70_000, 2, 0)).toBe(1);
    });
    it('has the right root and partials at every size', () => {
      const leaves = leafHashes(600);
      const stack = TileStack.empty(crypto);
      for (let size = 0; size <= 600; size++) {
        if (size < 20 || size % 37 === 0 || size % 256 < 2) {
          expect(hex(stack.root())).toBe(hex(rootOfHashes(crypto, leaves.slice(0, size))));
          const restored = TileStack.restore(crypto, size, (level, n, width) => {
            const tile = stack.partials().find((partial) => partial.level === level)!;
            expect([tile.n, tile.width]).toEqual([n, width]);
            return tile.bytes;
          });
          expect(hex(restored.root())).toBe(hex(stack.root()));
          expect(restored.size).toBe(size);
        }
        if (size < 600) stack.append(leaves[size]!);
      }
    });
    it('goes on after a restore as if nothing had happened', () => {
      const leaves = leafHashes(1000);
      const whole = TileStack.empty(crypto);
      const wholeTiles: Tile[] = [];
      for (const leaf of leaves) wholeTiles.push(...whole.append(leaf));
      let stack = TileStack.empty(crypto);
      const tiles: Tile[] = [];
      for (const [i, leaf] of leaves.entries()) {
        tiles.push(...stack.append(leaf));
        if (i % 97 !== 0) continue;
        const partials = stack.partials();
        stack = TileStack.restore(crypto, stack.size, (level) => partials.find((partial) => partial.level === level)!.bytes);
      }
      expect(tiles.map((tile) => [tile.level, tile.n, hex(tile.bytes)])).toEqual(wholeTiles.map((tile) => [tile.level, tile.n, hex(tile.bytes)]));
      expect(hex(stack.root())).toBe(hex(whole.root()));
    });
    it('does not keep the caller’s array', () => {
      const stack = TileStack.empty(crypto);
      const hash = new Uint8Array(32).fill(7);
      stack.append(hash);
      hash.fill(9);
      expect(hex(stack.root())).toBe('07'.repeat(32));
      expect(() => stack.append(new Uint8Array(31))).toThrow(RangeError);
      expect(() => TileStack.restore(crypto, 1, () => new Uint8Array(31))).toThrow(RangeError);
    });
  });

  describe('note', () => {
    it('accepts and refuses our vectors', () => {
      const vectors = own('notes.json');
      const vkey = parseVkey(crypto, vectors.vkey)!;
      expect(formatVkey(crypto, vkey.name, vkey.publicKey)).toBe(vectors.vkey);
      expect(formatSkey(parseSkey(vectors.skey)!)).toBe(vectors.skey);
      for (const { note, text, unknown } of vectors.accept) {
        const opened = openNote(crypto, utf8(note), [vkey]);
        if ('problem' in opened) throw new Error(opened.message);
        expect([opened.text, opened.verified, opened.unknown.length]).toEqual([text, [vkey], unknown]);
        expect(utf8Text(formatNote(parseNote(utf8(note))!))).toBe(note);
      }
      for (const { note, problem } of vectors.reject) {
        const opened = openNote(crypto, utf8(note), [vkey]);
        if (!('problem' in opened)) throw new Error(`accepted: ${JSON.stringify(note)}`);
        if (problem !== 'either') expect(opened.problem, JSON.stringify(note)).toBe(problem);
      }
      for (const text of vectors.vkeysRejected) expect(parseVkey(crypto, text), text).toBeUndefined();
    });
    it('refuses invalid UTF-8, a note under two keys of one id, and says nothing about strangers', () => {
      const { vkey: text, accept } = own('notes.json');
      const vkey = parseVkey(crypto, text)!;
      const note = utf8(accept[0].note);
      expect(openNote(crypto, concat(Uint8Array.of(0xff), note), [vkey])).toMatchObject({ problem: 'malformed' });
      expect(openNote(crypto, note, [vkey, { ...vkey, publicKey: new Uint8Array(32) }])).toMatchObject({ problem: 'ambiguous-key' });
      expect(openNote(crypto, note, [])).toMatchObject({ verified: [], unknown: [{ name: vkey.name }] });
    });
    it.skipIf(noForeign)('opens foreign notes, and signs Go’s byte for byte', () => {
      for (const { name, note, vkey: text, skey, text: signed } of foreign('notes.json')) {
        expect(utf8Text(formatNote(parseNote(utf8(note))!)), name).toBe(note);
        if (!text) continue;
        const vkey = parseVkey(crypto, text)!;
        expect(openNote(crypto, utf8(note), [vkey]), name).toMatchObject({ verified: [vkey] });
        if (!skey) continue;
        const parsed = parseSkey(skey)!;
        const key = createPrivateKey({
          key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), parsed.seed]),
          format: 'der',
          type: 'pkcs8',
        });
        const publicKey = new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(12));
        expect(formatVkey(crypto, parsed.name, publicKey)).toBe(text);
        expect(hex(keyId(crypto, parsed.name, publicKey))).toBe(hex(parsed.keyId));
        expect(utf8Text(signNote(signed, { ...parsed, sign: (message) => sign(null, message, key) }))).toBe(note);
      }
    });
    it('refuses to write what it would not read', () => {
      const signer = { name: 'a', keyId: new Uint8Array(4), sign: () => new Uint8Array(64) };
      for (const text of ['', 'a', 'a\r\n', 'a\u0000\n']) expect(() => signNote(text, signer)).toThrow(RangeError);
      expect(() => signNote('a\n', { ...signer, name: 'a b' })).toThrow(RangeError);
      expect(() => formatVkey(crypto, 'a+b', new Uint8Array(32))).toThrow(RangeError);
      expect(() => formatVkey(crypto, 'a', new Uint8Array(31))).toThrow(RangeError);
    });
  });

  describe('checkpoint', () => {
    it('accepts and refuses our vectors', () => {
      const { accept, reject } = own('checkpoints.json');
      for (const { text, origin, size, root, extensions } of accept) {
        const parsed = parseCheckpoint(text)!;
        expect([parsed.origin, parsed.size, base64(parsed.root), parsed.extensions.length]).toEqual([origin, size, root, extensions]);
        if (extensions === 0) expect(formatCheckpoint(parsed)).toBe(text);
      }
      for (const text of reject) expect(parseCheckpoint(text), JSON.stringify(text)).toBeUndefined();
      expect(() => formatCheckpoint({ origin: 'a\nb', size: 0, root: new Uint8Array(32) })).toThrow(RangeError);
      expect(() => formatCheckpoint({ origin: 'a', size: -1, root: new Uint8Array(32) })).toThrow(RangeError);
      expect(() => formatCheckpoint({ origin: 'a', size: 0, root: new Uint8Array(31) })).toThrow(RangeError);
    });
    it.skipIf(noForeign)('recomputes a foreign log from its bundle', () => {
      const log = foreign('tiled-log.json');
      const vkey = parseVkey(crypto, log.vkey)!;
      const entries = decodeBundle(fromBase64(log.bundleBase64)!)!;
      expect(parseTilePath(log.bundlePath)).toEqual({ level: 'entries', n: 0, width: entries.length });
      const stack = TileStack.empty(crypto);
      for (const note of log.checkpoints) {
        const opened = openNote(crypto, utf8(note), [vkey]);
        if ('problem' in opened) throw new Error(opened.message);
        expect(opened.verified).toEqual([vkey]);
        const { size, root } = parseCheckpoint(opened.text)!;
        while (stack.size < size) stack.append(hashLeaf(crypto, entries[stack.size]!));
        expect(hex(stack.root())).toBe(hex(root));
        for (const { level, n, width, bytes: tile } of stack.partials()) expect(base64(tile)).toBe(log.level0Tiles[tilePath(level, n, width)]);
      }
    });
  });
});

describe('tile paths', () => {
  it('come back from every number', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.constant('entries' as const), fc.integer({ min: 0, max: 63 })),
        fc.maxSafeNat(),
        fc.integer({ min: 1, max: 256 }),
        (level, n, width) => {
          expect(parseTilePath(tilePath(level, n, width))).toEqual({ level, n, width });
        },
      ),
    );
  });
});
