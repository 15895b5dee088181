import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cryptos } from '../../test/noble-crypto.ts';
import { base64, concat, equal, fromBase64, fromHex, hex, lossyText, utf8, utf8Text } from './bytes.ts';

describe('base64', () => {
  it('is that of the platform, both ways', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const text = base64(bytes);
        expect(text).toBe(Buffer.from(bytes).toString('base64'));
        expect(fromBase64(text)).toEqual(bytes);
      }),
    );
  });
  it('decodes only what it would write', () => {
    const letters = fc.string({ unit: fc.constantFrom(...'ABQgwxyz019+/=-_ \n\u00e9\u0100'), maxLength: 12 });
    fc.assert(
      fc.property(letters, (text) => {
        const bytes = fromBase64(text);
        if (bytes) expect(base64(bytes)).toBe(text);
        else expect(Buffer.from(text, 'base64').toString('base64') === text).toBe(false);
      }),
      { numRuns: 2000 },
    );
    for (const text of ['A', 'AA', 'AAA', 'AB==', 'AAB=', '====', 'A===', 'AA=A', 'AA==AAAA', 'AAA-', 'AAAA\n'])
      expect(fromBase64(text), text).toBeUndefined();
    expect(fromBase64('')).toEqual(new Uint8Array(0));
  });
});

describe('hex', () => {
  it('is that of the platform, both ways', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(hex(bytes)).toBe(Buffer.from(bytes).toString('hex'));
        expect(fromHex(hex(bytes))).toEqual(bytes);
      }),
    );
  });
  it('refuses capitals, odd lengths and anything else', () => {
    for (const text of ['A0', '0', 'zz', '0x00', ' 00', '00\n']) expect(fromHex(text), text).toBeUndefined();
  });
});

describe('utf8', () => {
  it('comes back, and is refused when invalid', () => {
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => utf8Text(utf8(text)) === text));
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const text = utf8Text(bytes);
        if (text === undefined) expect(lossyText(bytes)).toContain('\ufffd');
        else expect(utf8(text)).toEqual(bytes);
      }),
    );
  });
  it('keeps a byte order mark', () => {
    expect(utf8Text(utf8('\ufeffa'))).toBe('\ufeffa');
    expect(lossyText(utf8('\ufeffa'))).toBe('\ufeffa');
  });
});

describe('concat and equal', () => {
  it('say the same as the platform', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        expect(concat(a, b)).toEqual(new Uint8Array(Buffer.concat([a, b])));
        expect(equal(a, b)).toBe(Buffer.compare(a, b) === 0);
        expect(equal(a, Uint8Array.from(a))).toBe(true);
      }),
    );
  });
});

describe.each(cryptos)('crypto under %s', (_name, crypto) => {
  it('hashes parts as one, at every size', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 4 }), (parts) => {
        const whole = crypto.sha256(concat(...parts));
        expect(hex(crypto.sha256(...parts))).toBe(hex(whole));
        const hasher = crypto.hasher();
        for (const part of parts) hasher.update(part);
        expect(hex(hasher.digest())).toBe(hex(whole));
      }),
    );
  });
  it('verifies the first test of RFC 8032 §7.1, and nothing near it', () => {
    const key = fromHex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')!;
    const signature = fromHex(
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    )!;
    const none = new Uint8Array(0);
    expect(crypto.verifyEd25519(key, none, signature)).toBe(true);
    expect(crypto.verifyEd25519(key, Uint8Array.of(0), signature)).toBe(false);
    expect(crypto.verifyEd25519(key.slice(1), none, signature)).toBe(false);
    expect(crypto.verifyEd25519(key, none, signature.slice(1))).toBe(false);
    for (let at = 0; at < 64; at += 7) {
      const other = Uint8Array.from(signature);
      other[at]! ^= 1;
      expect(crypto.verifyEd25519(key, none, other)).toBe(false);
    }
  });
});
