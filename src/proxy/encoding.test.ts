import {
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createDeflate,
  createGzip,
  createZstdCompress,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib';
import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concat, lossyText, utf8 } from '../bytes/bytes.ts';
import { ContentDecoder, decodeContent, isEncoded } from './encoding.ts';

const MiB = 1024 * 1024;
const brotli = (bytes: Uint8Array) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });
const encoders: Record<string, (bytes: Uint8Array) => Uint8Array> = {
  gzip: gzipSync,
  'x-gzip': gzipSync,
  deflate: deflateSync,
  br: brotli,
  zstd: zstdCompressSync,
  'gzip, br': (bytes) => brotli(gzipSync(bytes)),
  ' BR ,identity,Zstd': (bytes) => zstdCompressSync(brotli(bytes)),
  identity: (bytes) => bytes,
  '': (bytes) => bytes,
};

async function inChunks(encoded: Uint8Array, encoding: string, sizes: readonly number[], maxBytes = MiB) {
  const decoder = new ContentDecoder(encoding, maxBytes);
  const parts: Uint8Array[] = [];
  for (let at = 0, i = 0; at < encoded.length; i++) {
    const chunk = encoded.slice(at, at + sizes[i % sizes.length]!);
    at += chunk.length;
    const { bytes, problem } = await decoder.push(chunk);
    parts.push(bytes);
    if (problem !== undefined) return { text: lossyText(concat(...parts)), problem };
  }
  const { bytes, problem } = await decoder.end();
  return { text: lossyText(concat(...parts, bytes)), problem };
}

const text = '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a a a a a é"}]}}';

test.each(Object.keys(encoders))('%j: every cut in two, and byte by byte', async (encoding) => {
  const encoded = encoders[encoding]!(utf8(text));
  for (let at = 1; at < encoded.length; at++) expect(await inChunks(encoded, encoding, [at, encoded.length])).toEqual({ text, problem: undefined });
  expect(await inChunks(encoded, encoding, [1])).toEqual({ text, problem: undefined });
  expect(lossyText((await decodeContent(encoded, encoding, MiB)).bytes)).toBe(text);
  expect(await decodeContent(new Uint8Array(0), encoding, MiB)).toEqual({ bytes: new Uint8Array(0) });
  expect(isEncoded(encoding)).toBe(!/^(identity)?$/.test(encoding));
});

test('random content in random chunks', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: 'binary', maxLength: 3_000 }),
      fc.constantFrom('gzip', 'deflate', 'br', 'zstd', 'gzip, br'),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 5 }),
      async (value, encoding, sizes) => {
        expect(await inChunks(encoders[encoding]!(utf8(value)), encoding, sizes)).toEqual({ text: value, problem: undefined });
      },
    ),
    { numRuns: 40 },
  );
});

const streams = {
  gzip: () => createGzip(),
  deflate: () => createDeflate(),
  br: () => createBrotliCompress({ flush: constants.BROTLI_OPERATION_FLUSH }),
  zstd: () => createZstdCompress({ flush: constants.ZSTD_e_flush }),
};

test.each(Object.keys(streams) as (keyof typeof streams)[])('%s: an event that was flushed is known before the next', async (coding) => {
  const encoder = streams[coding]();
  const decoder = new ContentDecoder(coding, MiB);
  const encoded: Buffer[] = [];
  encoder.on('data', (chunk: Buffer) => encoded.push(chunk));
  for (let i = 0; i < 20; i++) {
    const event = `event: message\ndata: {"id":${i},"text":"${'x'.repeat(i * 100)}"}\n\n`;
    await new Promise<void>((done) => encoder.write(event, () => encoder.flush(() => done())));
    // one flush may come in several chunks
    let decoded = '';
    for (const chunk of encoded.splice(0)) decoded += lossyText((await decoder.push(chunk)).bytes);
    expect(decoded).toBe(event);
  }
  encoder.end();
  await new Promise((done) => encoder.on('end', done));
  for (const chunk of encoded) expect((await decoder.push(chunk)).bytes.length).toBe(0);
  expect(await decoder.end()).toEqual({ bytes: new Uint8Array(0) });
});

test('deflate without zlib’s header, and gzip in several members', async () => {
  expect(await inChunks(deflateRawSync(text), 'deflate', [7])).toEqual({ text, problem: undefined });
  expect(await inChunks(concat(gzipSync(text), gzipSync('more')), 'gzip', [5])).toEqual({ text: `${text}more`, problem: undefined });
});

test.each(['gzip', 'deflate', 'br', 'zstd', 'gzip, br'])('%s: damaged, cut short, or with something behind it', async (encoding) => {
  const encoded = encoders[encoding]!(randomBytes(3_000));
  for (const sizes of [[encoded.length], [100], [1]]) {
    expect((await inChunks(encoded.slice(0, -1), encoding, sizes)).problem).toBe('broken');
    expect((await inChunks(concat(encoded, utf8('tail')), encoding, sizes)).problem).toBe('broken');
  }
  const junk = await inChunks(utf8('<html>this is no such thing</html>'), encoding, [5]);
  expect(junk).toEqual({ text: '', problem: 'broken' });
});

test('of a broken body everything in front is known', async () => {
  const encoded = gzipSync(text);
  const damaged = Uint8Array.from(encoded).fill(0, encoded.length - 8, encoded.length - 4);
  expect(await inChunks(damaged, 'gzip', [11])).toEqual({ text, problem: 'broken' });
  expect(await inChunks(encoded.subarray(0, -8), 'gzip', [11])).toEqual({ text, problem: 'broken' });
});

test('what nobody knows is not guessed', async () => {
  for (const encoding of ['compress', 'gzip;q=1', 'gzip, sdch', 'aws-chunked', 'gzip,gzip,gzip,gzip,gzip,gzip,gzip']) {
    expect(await decodeContent(utf8(text), encoding, MiB)).toEqual({ bytes: new Uint8Array(0), problem: 'unknown' });
  }
});

test.each(['gzip', 'deflate', 'br', 'zstd', 'gzip, gzip', 'br, zstd'])('%s: a bomb gives no more than was asked for', async (encoding) => {
  const plain = Buffer.alloc(64 * MiB);
  const one = (coding: string, bytes: Uint8Array) => encoders[coding]!(bytes);
  const encoded = encoding.split(', ').reduce((bytes, coding) => one(coding, bytes), plain as Uint8Array);
  expect(encoded.length).toBeLessThan(MiB);
  const before = process.memoryUsage.rss();
  const { bytes, problem } = await decodeContent(encoded, encoding, 2 * MiB);
  expect(problem).toBe('too-large');
  expect(createHash('sha1').update(bytes).digest('hex')).toBe(createHash('sha1').update(plain.subarray(0, bytes.length)).digest('hex'));
  expect(bytes.length).toBeLessThanOrEqual(2 * MiB);
  expect(process.memoryUsage.rss() - before).toBeLessThan(32 * MiB);
});

test('identity has the bound too', async () => {
  expect(await decodeContent(utf8('abcdef'), undefined, 4)).toEqual({ bytes: utf8('abcd'), problem: 'too-large' });
});
