import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { encryptRecord, openBody, segmentKeyOf } from './cipher.ts';
import {
  decodeRecord,
  decodeStored,
  encodeEntryRecord,
  encodePartRecord,
  encodeSegmentHeader,
  readSegmentHeader,
  scanSegment,
  segmentHeaderBytes,
  segmentName,
  type ContentItem,
  type EntryRecord,
  type PartRecord,
} from './segment.ts';

const vectors = JSON.parse(readFileSync(new URL('../../spec/vectors/segments.json', import.meta.url), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'sworn-segment-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'segment');

const ledgerId = '00112233445566778899aabbccddeeff';
const salt = Buffer.alloc(16, 0xf0);

/** The records of a file, and how it ends. */
function scan(bytes: Buffer, from?: number): { records: (EntryRecord | PartRecord)[]; offsets: number[]; end: string } {
  writeFileSync(path, bytes);
  const records: (EntryRecord | PartRecord)[] = [];
  const offsets: number[] = [];
  for (const scanned of scanSegment(path, from)) {
    if (scanned.kind !== 'record') return { records, offsets, end: scanned.kind };
    records.push(scanned.record);
    offsets.push(scanned.offset);
  }
  return { records, offsets, end: 'whole' };
}

const segment = (...records: Buffer[]): Buffer => Buffer.concat([encodeSegmentHeader(ledgerId, 5), ...records]);
const entry = (index: number, bytes = `frame ${index}`): Buffer =>
  Buffer.concat(encodeEntryRecord(index, Buffer.from(`{"n":${index}}`), [], [{ state: 'kept', salt, bytes: Buffer.from(bytes) }]));
const part = (unit: number, bytes: Buffer): Buffer => Buffer.concat(encodePartRecord({ connection: ledgerId, direction: 1, unit, salt, bytes }));

const bytesUpTo = (maxLength: number): fc.Arbitrary<Buffer> => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
const exactly = (length: number): fc.Arbitrary<Buffer> => fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes));
// also over the size from which bytes are not copied
const content = fc.oneof(
  { weight: 9, arbitrary: bytesUpTo(50) },
  { weight: 1, arbitrary: fc.integer({ min: 16_384, max: 16_386 }).map((size) => Buffer.alloc(size, 7)) },
);
const size32 = fc.integer({ min: 0, max: 0xffff_ffff });
const item: fc.Arbitrary<ContentItem> = fc.oneof(
  fc.record({ state: fc.constant('kept' as const), salt: exactly(16), bytes: content }),
  fc.record({ state: fc.constant('dropped' as const), hash: exactly(32), sizeBytes: size32 }),
  fc.record({ state: fc.constant('part' as const), hash: exactly(32), sizeBytes: size32, file: fc.maxSafeNat(), offset: fc.maxSafeNat() }),
);

const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, inner: unknown) =>
      inner !== null && typeof inner === 'object' && 'type' in inner && inner.type === 'Buffer' ? Buffer.from(inner as never).toString('hex') : inner,
    ),
  );

describe('encrypted records', () => {
  const { encrypted } = vectors;
  const key = segmentKeyOf(Buffer.from(encrypted.key, 'hex'), encrypted.wrappingCheck);

  it('reads the vectors, and of none more than its head without the key', () => {
    expect(key.id).toBe(encrypted.check);
    for (const { hex, record } of encrypted.accept) {
      const stored = Buffer.from(hex, 'hex').subarray(8);
      expect(textOf(decodeStored(stored, { key }))).toEqual(record);
      expect(decodeStored(stored, {})).toMatchObject({ type: record.type, unopened: true });
    }
    for (const { hex, why } of encrypted.reject) expect(decodeStored(Buffer.from(hex, 'hex').subarray(8), { key }), why).toBeUndefined();
  });

  it('gives back what was encrypted, for any record', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        bytesUpTo(200),
        fc.array(item, { maxLength: 4 }),
        fc.array(item, { maxLength: 4 }),
        (index, leaf, attributes, frame) => {
          const clear = encodeEntryRecord(index, leaf, attributes, frame);
          const stored = encryptRecord(clear, key);
          expect(stored.length).toBe(Buffer.concat(clear).length + 12);
          expect(stored.readUInt32BE(0)).toBe(stored.length - 8);
          expect(stored.readUInt32BE(4)).toBe(crc32(stored.subarray(8)));
          expect(openBody(stored.subarray(8), key)).toEqual(Buffer.concat(clear).subarray(8));
        },
      ),
      { numRuns: 200 },
    );
  });

  it('tells a cut record from damage without the key', () => {
    const records = [5, 6, 7].map((index) => encryptRecord([entry(index)], key));
    const whole = Buffer.concat([encodeSegmentHeader(ledgerId, 5, key.id), ...records]);
    const lastAt = whole.length - records[2]!.length;
    for (let size = lastAt + 1; size < whole.length; size++) expect(scan(whole.subarray(0, size)), `${size}`).toMatchObject({ end: 'torn' });
    for (let at = segmentHeaderBytes; at < lastAt; at++) {
      const changed = Buffer.from(whole);
      changed[at]! ^= 0x40;
      expect(scan(changed).end, `${at}`).toBe('corrupt');
    }
    expect(scan(whole)).toMatchObject({ end: 'whole' });
  });
});

/** With bytes as the vectors have them. */
function textOf(value: unknown): unknown {
  const named = (name: string, bytes: Buffer): string => bytes.toString(name === 'leaf' || name === 'bytes' ? 'utf8' : 'hex');
  if (Array.isArray(value)) return value.map(textOf);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, Buffer.isBuffer(inner) ? named(name, inner) : textOf(inner)]));
}

describe('segment headers', () => {
  it('reads and writes the vectors', () => {
    for (const { hex, ledgerId: id, firstIndex } of vectors.headers.accept) {
      expect(readSegmentHeader(Buffer.from(hex, 'hex'))).toEqual({ ledgerId: id, firstIndex });
      expect(encodeSegmentHeader(id, firstIndex).toString('hex')).toBe(hex);
    }
    for (const { hex, why } of vectors.headers.reject) expect(readSegmentHeader(Buffer.from(hex, 'hex')), why).toBeUndefined();
    const { hex, ...header } = vectors.encrypted.header;
    expect(readSegmentHeader(Buffer.from(hex, 'hex'))).toEqual(header);
    expect(encodeSegmentHeader(header.ledgerId, header.firstIndex, header.keyId).toString('hex')).toBe(hex);
  });

  it('refuses every flipped bit', () => {
    const header = encodeSegmentHeader(ledgerId, 77);
    for (let bit = 0; bit < header.length * 8; bit++) {
      const damaged = Buffer.from(header);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(readSegmentHeader(damaged), `bit ${bit}`).toBeUndefined();
    }
  });

  it('has names of 16 digits that sort as the indexes do', () => {
    expect(segmentName(0)).toBe('0000000000000000');
    expect(segmentName(Number.MAX_SAFE_INTEGER)).toBe('9007199254740991');
  });
});

describe('segment records', () => {
  const itemOf = (value: { state: string; salt?: string; bytes?: string; hash?: string }): ContentItem =>
    ({
      ...value,
      ...(value.salt ? { salt: Buffer.from(value.salt, 'hex'), bytes: Buffer.from(value.bytes!) } : { hash: Buffer.from(value.hash!, 'hex') }),
    }) as ContentItem;

  it('reads and writes the vectors', () => {
    for (const { hex, record } of vectors.records.accept) {
      const bytes = Buffer.from(hex, 'hex');
      const decoded = decodeRecord(bytes.subarray(8))!;
      if (record.type === 'entry') {
        const attributes = record.attributes.map(itemOf);
        const frame = record.frame.map(itemOf);
        expect(plain(decoded)).toEqual(plain({ ...record, leaf: Buffer.from(record.leaf), attributes, frame }));
        expect(Buffer.concat(encodeEntryRecord(record.index, Buffer.from(record.leaf), attributes, frame)).toString('hex')).toBe(hex);
      } else {
        const value = { ...record, salt: Buffer.from(record.salt, 'hex'), bytes: Buffer.from(record.bytes) };
        expect(plain(decoded)).toEqual(plain(value));
        expect(Buffer.concat(encodePartRecord(value)).toString('hex')).toBe(hex);
      }
    }
  });

  it('refuses the vectors', () => {
    for (const { hex, why } of vectors.records.reject) {
      const bytes = Buffer.from(hex, 'hex');
      expect(bytes.readUInt32BE(4)).toBe(crc32(bytes.subarray(8)));
      expect(decodeRecord(bytes.subarray(8)), why).toBeUndefined();
      expect(scan(segment(entry(5), bytes)), why).toMatchObject({ records: [{ index: 5 }], end: 'torn' });
    }
  });

  it('brings entries through', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        bytesUpTo(200),
        fc.array(item, { maxLength: 4 }),
        fc.array(item, { maxLength: 6 }),
        (index, leaf, attributes, frame) => {
          const bytes = Buffer.concat(encodeEntryRecord(index, leaf, attributes, frame));
          expect(bytes.readUInt32BE(0)).toBe(bytes.length - 8);
          expect(bytes.readUInt32BE(4)).toBe(crc32(bytes.subarray(8)));
          expect(plain(decodeRecord(bytes.subarray(8)))).toEqual(plain({ type: 'entry', index, leaf, attributes, frame }));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('brings parts through', () => {
    fc.assert(
      fc.property(
        exactly(16),
        fc.constantFrom<0 | 1>(0, 1),
        fc.maxSafeNat(),
        exactly(16),
        content,
        (connection, direction, unit, partSalt, bytes) => {
          const value = { connection: connection.toString('hex'), direction, unit, salt: partSalt, bytes };
          const encoded = Buffer.concat(encodePartRecord(value));
          expect(encoded.readUInt32BE(4)).toBe(crc32(encoded.subarray(8)));
          expect(plain(decodeRecord(encoded.subarray(8)))).toEqual(plain({ type: 'part', ...value }));
        },
      ),
    );
  });

  it('never throws on garbage, nor on a record with a byte changed', () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 0, 3), bytesUpTo(120), (type, bytes) => void decodeRecord(Buffer.concat([Buffer.of(type), bytes]))),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.array(item, { maxLength: 3 }), fc.nat(), fc.nat(255), (items, place, value) => {
        const body = Buffer.concat(encodeEntryRecord(1, Buffer.from('{}'), items, items)).subarray(8);
        body[place % body.length] = value;
        decodeRecord(body);
      }),
      { numRuns: 500 },
    );
    decodeRecord(Buffer.alloc(0));
  });
});

describe('scanSegment', () => {
  const bytes = segment(entry(5), part(1, Buffer.alloc(90, 3)), entry(6), entry(7));
  const offsets = scan(bytes).offsets;

  it('gives every record with its place', () => {
    const whole = scan(bytes);
    expect(whole.records.map((record) => (record.type === 'entry' ? record.index : `unit ${record.unit}`))).toEqual([5, 'unit 1', 6, 7]);
    expect(whole.end).toBe('whole');
    expect(whole.offsets[0]).toBe(segmentHeaderBytes);
    for (const [i, offset] of whole.offsets.entries()) expect(scan(bytes, offset).offsets).toEqual(whole.offsets.slice(i));
    expect(scan(bytes, bytes.length)).toEqual({ records: [], offsets: [], end: 'whole' });
    expect(scan(segment())).toEqual({ records: [], offsets: [], end: 'whole' });
  });

  it('reads records that are longer than what it reads at once', () => {
    const long = segment(entry(5, 'x'.repeat(3_000_000)), entry(6), part(1, Buffer.alloc(1_048_576, 1)), entry(7));
    const { records, end } = scan(long);
    expect(end).toBe('whole');
    expect((records[0] as EntryRecord).frame[0]).toMatchObject({ state: 'kept' });
    expect((records[2] as PartRecord).bytes.equals(Buffer.alloc(1_048_576, 1))).toBe(true);
  });

  it('takes a file that ends anywhere for cut off, and gives what is whole before', () => {
    for (let size = segmentHeaderBytes; size <= bytes.length; size++) {
      const expected = offsets.filter((_, i) => (offsets[i + 1] ?? bytes.length) <= size);
      const { offsets: found, end } = scan(bytes.subarray(0, size));
      expect(found, `${size} bytes`).toEqual(expected);
      expect(end, `${size} bytes`).toBe(size === bytes.length || offsets.includes(size) ? 'whole' : 'torn');
    }
  });

  it('takes any changed byte with a whole record behind it for damage', () => {
    for (let place = segmentHeaderBytes; place < offsets[3]!; place++) {
      for (const flip of [0x01, 0x80, 0xff]) {
        const damaged = Buffer.from(bytes);
        damaged[place]! ^= flip;
        const { records, end } = scan(damaged);
        expect(end, `byte ${place} ^ ${flip}`).toBe('corrupt');
        expect(records).toHaveLength(offsets.filter((offset) => offset <= place).length - 1);
      }
    }
  });

  it('takes any changed byte of the last record for cut off', () => {
    for (let place = offsets[3]!; place < bytes.length; place++) {
      const damaged = Buffer.from(bytes);
      damaged[place]! ^= 0x10;
      expect(scan(damaged).end, `byte ${place}`).toBe('torn');
    }
  });

  it('takes zeros and rubbish at the end for cut off', () => {
    for (const tail of [Buffer.alloc(1), Buffer.alloc(8), Buffer.alloc(5_000), Buffer.alloc(5_000, 0xff), Buffer.from('rubbish that is no record')]) {
      expect(scan(Buffer.concat([bytes, tail]))).toMatchObject({ offsets, end: 'torn' });
    }
  });

  it('finds a damaged length however far it reaches', () => {
    for (const at of [offsets[0]!, offsets[1]!, offsets[2]!]) {
      const trueBytes = bytes.readUInt32BE(at);
      for (let length = 0; length < 600; length++) {
        if (length === trueBytes) continue;
        const damaged = Buffer.from(bytes);
        damaged.writeUInt32BE(length, at);
        expect(scan(damaged).end, `length ${length} for ${trueBytes} at ${at}`).toBe('corrupt');
      }
      for (const length of [60_000_000, 70_000_000, 0xffff_ffff]) {
        const damaged = Buffer.from(bytes);
        damaged.writeUInt32BE(length, at);
        expect(scan(damaged).end, `length ${length} at ${at}`).toBe('corrupt');
      }
    }
  });

  it('does not search an unfinished record for records that its sender put into it', () => {
    const planted = Buffer.concat([entry(6), entry(7), part(2, Buffer.alloc(10)), Buffer.alloc(40)]);
    for (const record of [
      Buffer.concat(encodeEntryRecord(6, Buffer.from('{"n":6}'), [], [{ state: 'kept', salt, bytes: planted }])),
      part(9, planted),
    ]) {
      for (let size = 1; size < record.length; size++) {
        expect(scan(segment(entry(5), record.subarray(0, size))).end, `${size} of ${record.length} bytes`).toBe('torn');
      }
    }
  });

  it('never throws on garbage, whatever it begins with', () => {
    const header = encodeSegmentHeader(ledgerId, 0);
    fc.assert(
      fc.property(fc.boolean(), bytesUpTo(300), (withRecord, garbage) => {
        const { end } = scan(Buffer.concat([header, ...(withRecord ? [entry(0)] : []), garbage]));
        expect(end).toBe(garbage.length === 0 ? 'whole' : 'torn');
      }),
      { numRuns: 300 },
    );
    scan(Buffer.alloc(10));
    scan(Buffer.alloc(0));
  });
});
