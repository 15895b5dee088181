import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cryptos } from '../../test/noble-crypto.ts';
import { merkleRoot } from '../../test/ledger-fixture.ts';
import { concat, hex, utf8 } from '../bytes/bytes.ts';
import { commitmentOf, segmentHash } from './commitment.ts';
import { EntryProblem, readEntry } from './read.ts';

const { accept, reject } = JSON.parse(readFileSync(new URL('../../spec/vectors/entries.json', import.meta.url), 'utf8'));

describe('readEntry', () => {
  it('reads the entries of the vectors as they are', () => {
    for (const text of accept) {
      const entry = readEntry(utf8(text));
      if (entry instanceof EntryProblem) throw new Error(`${entry.message}: ${text}`);
      expect(entry).toEqual(JSON.parse(text));
    }
  });
  it('refuses those that are none', () => {
    for (const { text, problem } of reject) {
      const entry = readEntry(utf8(text));
      expect(entry, text.slice(0, 300)).toBeInstanceOf(EntryProblem);
      expect((entry as EntryProblem).problem, text.slice(0, 300)).toBe(problem);
    }
  });
  it('refuses invalid UTF-8', () => {
    const bytes = concat(utf8('{"v":1,"x":"'), Uint8Array.of(0xff), utf8('"}'));
    expect(readEntry(bytes)).toMatchObject({ problem: 'not-utf8' });
  });
  it('never throws', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void readEntry(bytes)));
    fc.assert(fc.property(fc.json(), (text) => void readEntry(utf8(`{${text}}`))));
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => void readEntry(utf8(JSON.stringify({ ...value, v: 1, kind: 'message' })))),
    );
  });
  it('finds every key that stands twice, and no other', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (value, key) => {
        const inner = JSON.stringify(value);
        const name = JSON.stringify(key);
        expect(readEntry(utf8(`{"x":{${name}:${inner}}}`))).toMatchObject({ problem: 'unsupported' });
        expect(readEntry(utf8(`{"x":[{${name}:${inner},${name}:0}]}`))).toMatchObject({ problem: 'duplicate-key' });
      }),
    );
    // colons that look like those behind keys, and white space before one
    for (const odd of ['":"', '":",":"', '"a :b"', '"\\":"']) {
      expect(readEntry(utf8(`{"x":[${odd}],"y" \t:1}`))).toMatchObject({ problem: 'unsupported' });
      expect(readEntry(utf8(`{"x":[${odd}],"y" \t:1,"y":2}`))).toMatchObject({ problem: 'duplicate-key' });
    }
  });
});

describe.each(cryptos)('commitments under %s', (_name, crypto) => {
  it('are the tree over the hashes of the segments', () => {
    const salt = new Uint8Array(16).fill(1);
    expect(hex(segmentHash(crypto, salt, utf8('a')))).toBe(hex(crypto.sha256(concat(Uint8Array.of(2), salt, utf8('a')))));
    for (let count = 1; count < 10; count++) {
      const hashes = Array.from({ length: count }, (_, i) => segmentHash(crypto, salt, utf8(String(i))));
      expect(hex(commitmentOf(crypto, hashes))).toBe(merkleRoot(hashes).toString('hex'));
    }
  });
});
