import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cryptos } from '../../test/noble-crypto.ts';
import { utf8, utf8Text } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { cosign, cosignatureMessage, formatCosigner, openCosigned, parseCosigner, verifyCosignature, withSignatures } from './cosignature.ts';
import { keyId, parseNote, parseVkey, signNote } from './note.ts';

const vectors = JSON.parse(readFileSync(new URL('../../spec/vectors/cosignatures.json', import.meta.url), 'utf8'));
const foreignFolder = new URL('../../../shared/vectors/', import.meta.url);
const noForeign = !existsSync(foreignFolder);

const privateKey = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)]),
  format: 'der',
  type: 'pkcs8',
});
const publicKey = new Uint8Array(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(12));
const signerOf = (name: string, type: number) => ({
  name,
  keyId: keyId(nodeCrypto, name, publicKey, type),
  sign: (message: Uint8Array) => sign(null, message, privateKey),
});

describe.each(cryptos)('cosignatures under %s', (_name, crypto) => {
  const log = parseVkey(crypto, vectors.vkey)!;
  const witnesses = vectors.witnesses.map((text: string) => parseCosigner(crypto, text)!);

  it('accepts and refuses our vectors', () => {
    for (const { note, cosigned, unknown } of vectors.accept) {
      const opened = openCosigned(crypto, utf8(note), [log], witnesses);
      if ('problem' in opened) throw new Error(opened.message);
      expect(opened.cosignatures.map(({ cosigner, timeS }) => [cosigner.name, timeS])).toEqual(cosigned);
      expect(opened.unknown).toHaveLength(unknown);
      expect(opened.text.split('\n')[1]).toBe('70');
    }
    for (const { note, why } of vectors.reject) {
      expect(openCosigned(crypto, utf8(note), [log], witnesses), why).toMatchObject({ problem: 'bad-signature' });
      // who does not know the witness is not concerned
      expect(openCosigned(crypto, utf8(note), [log], []), why).toMatchObject({ logs: [log], cosignatures: [] });
    }
    for (const text of vectors.vkeysRejected) expect(parseCosigner(crypto, text), text).toBeUndefined();
    for (const [i, text] of vectors.witnesses.entries()) {
      expect(formatCosigner(crypto, witnesses[i].name, witnesses[i].publicKey)).toBe(text);
      expect(parseVkey(crypto, text)).toBeUndefined();
    }
  });

  it.skipIf(noForeign)('holds for foreign cosignatures', () => {
    const notes = JSON.parse(readFileSync(new URL('notes.json', foreignFolder), 'utf8'));
    const cosigned = notes.filter(({ cosigner }: { cosigner?: string }) => cosigner !== undefined);
    expect(cosigned).toHaveLength(2);
    for (const { note, cosigner } of cosigned) {
      const key = parseCosigner(crypto, cosigner)!;
      const opened = openCosigned(crypto, utf8(note), [], [key]);
      expect(opened).toMatchObject({ cosignatures: [{ cosigner: key, timeS: 1767139200 }] });
      expect(openCosigned(crypto, utf8(note.replace('\n300\n', '\n301\n')), [], [key])).toMatchObject({ problem: 'bad-signature' });
    }
  });

  it('is what it was made as, and breaks with every byte', () => {
    const cosigner = parseCosigner(crypto, formatCosigner(crypto, 'w', publicKey))!;
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(71), fc.integer({ min: 1, max: 255 }), (timeS, at, flip) => {
        const text = 'a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n';
        const line = cosign(text, signerOf('w', 4), timeS);
        expect(line.signature).toHaveLength(72);
        expect(verifyCosignature(crypto, cosigner, text, line)).toMatchObject({ cosigner, timeS });
        const signature = line.signature.with(at, line.signature[at]! ^ flip);
        expect(verifyCosignature(crypto, cosigner, text, { ...line, signature })).toBeUndefined();
        expect(verifyCosignature(crypto, cosigner, `${text}more\n`, line)).toBeUndefined();
        expect(verifyCosignature(crypto, cosigner, text, { ...line, name: 'v' })).toBeUndefined();
      }),
      { numRuns: 30 },
    );
  });

  it('never throws, whatever the note', () => {
    const accept = utf8(vectors.accept[4].note);
    fc.assert(
      fc.property(fc.nat(accept.length - 1), fc.nat(255), (at, byte) => {
        const changed = accept.with(at, byte);
        const opened = openCosigned(crypto, changed, [log], witnesses);
        if ('problem' in opened || accept[at] === byte) return;
        // all that is left to change is whose line it is: then it says nothing
        expect(opened.text).toBe(parseNote(accept)!.text);
        expect(opened.cosignatures.length + opened.logs.length).toBe(3);
      }),
      { numRuns: 100 },
    );
  });

  it('refuses two keys of one name and id', () => {
    const [alice] = witnesses;
    const twin = { ...alice, publicKey: new Uint8Array(32) };
    expect(openCosigned(crypto, utf8(vectors.accept[1].note), [log], [alice, twin])).toMatchObject({ problem: 'ambiguous-key' });
  });
});

describe('lines', () => {
  it('are added once', () => {
    const note = signNote('a\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n', signerOf('log', 1));
    const line = cosign(parseNote(note)!.text, signerOf('w', 4), 5);
    const more = withSignatures(note, [line])!;
    expect(utf8Text(more)!.startsWith(utf8Text(note)!)).toBe(true);
    expect(withSignatures(more, [line])).toEqual(more);
    expect(withSignatures(utf8('nothing'), [line])).toBeUndefined();
  });
  it('have a time that can be written', () => {
    expect(utf8Text(cosignatureMessage('a\n', 12))).toBe('cosignature/v1\ntime 12\na\n');
    for (const timeS of [-1, 1.5, 2 ** 53, Number.NaN]) expect(() => cosignatureMessage('a\n', timeS)).toThrow(RangeError);
  });
});
