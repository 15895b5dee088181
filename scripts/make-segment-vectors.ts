/**
 * Writes the vectors of the payload segments and of the wire to `spec/vectors/`, to accept and to reject. Written by hand from `spec/ledger.md` and
 * `spec/wire.md`, not with the code that they test. Deterministic: run it again and nothing changes.
 * Usage: node scripts/make-segment-vectors.ts
 */
import { createCipheriv, createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

const folder = new URL('../spec/vectors/', import.meta.url);
mkdirSync(folder, { recursive: true });
const write = (name: string, value: unknown) => writeFileSync(new URL(name, folder), `${JSON.stringify(value, null, 1)}\n`);

const u8 = (value: number) => Buffer.from([value]);
const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const u32 = (value: number) => Buffer.from([value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255]);
const u64 = (value: bigint) => Buffer.from(value.toString(16).padStart(16, '0'), 'hex');
const text = (value: string) => Buffer.from(value, 'utf8');
const join = (...parts: Buffer[]) => Buffer.concat(parts);
const sealed = (body: Buffer) => join(u32(body.length), u32(crc32(body)), body);

// Segments

const ledgerId = '00112233445566778899aabbccddeeff';
const salt = Buffer.from('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', 'hex');
const hash = Buffer.from('c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf', 'hex');
const header = (first: bigint, magic = 'SWORNPL1', zero = 0) => {
  const start = join(text(magic), Buffer.from(ledgerId, 'hex'), u64(first), u32(zero));
  return join(start, u32(crc32(start)));
};
const kept = (bytes: string) => join(u8(0), salt, u32(text(bytes).length), text(bytes), Buffer.alloc(Math.max(0, 16 - text(bytes).length)));
const erased = (size: number) => join(u8(3), hash, u32(size), Buffer.alloc(Math.max(0, size - 16)));
const dropped = (size: number) => join(u8(1), hash, u32(size));
const inPart = (size: number, file: bigint, offset: bigint) => join(u8(2), hash, u32(size), u64(file), u64(offset));
const leaf = '{"v":1,"kind":"vector"}';
const entry = (index: bigint, leafText: string, attributes: Buffer[], frame: Buffer[]) =>
  join(u8(1), u64(index), u32(text(leafText).length), text(leafText), u16(attributes.length), u32(frame.length), ...attributes, ...frame);
const part = (direction: number, unit: bigint, bytes: string) =>
  join(u8(2), Buffer.from(ledgerId, 'hex'), u8(direction), u64(unit), salt, text(bytes));

const keptJson = (bytes: string) => ({ state: 'kept', salt: salt.toString('hex'), bytes });
const droppedJson = (sizeBytes: number) => ({ state: 'dropped', hash: hash.toString('hex'), sizeBytes });
const erasedJson = (sizeBytes: number) => ({ state: 'erased', hash: hash.toString('hex'), sizeBytes });
const partJson = (sizeBytes: number, file: number, offset: number) => ({ state: 'part', hash: hash.toString('hex'), sizeBytes, file, offset });
const record = (body: Buffer, value: unknown) => ({ hex: sealed(body).toString('hex'), record: value });
const bad = (why: string, body: Buffer) => ({ why, hex: sealed(body).toString('hex') });
const whole = entry(7n, leaf, [kept('{"argv":[]}')], [kept('frame')]);

const segmentKey = Buffer.from('303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f', 'hex');
const wrappingKey = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');
const checkOf = (key: Buffer) => createHash('sha256').update('sworn payload key\n').update(key).digest().subarray(0, 4);
const encryptedHeader = (first: bigint, magic = 'SWORNPE1') => {
  const start = join(text(magic), Buffer.from(ledgerId, 'hex'), u64(first), checkOf(segmentKey));
  return join(start, u32(crc32(start)));
};
const nonce = Buffer.from('a0a1a2a3a4a5a6a7a8a9aaab', 'hex');
const encrypted = (body: Buffer, clear: number) => {
  const cipher = createCipheriv('aes-256-ctr', segmentKey, join(nonce, u32(0)));
  return join(body.subarray(0, clear), nonce, cipher.update(body.subarray(clear)));
};
const wrap = (() => {
  const cipher = createCipheriv('id-aes256-wrap', wrappingKey, Buffer.alloc(8, 0xa6));
  return join(cipher.update(segmentKey), cipher.final());
})();
const clearOfEntry = 13 + text(leaf).length;

write('segments.json', {
  encrypted: {
    key: segmentKey.toString('hex'),
    check: checkOf(segmentKey).toString('hex'),
    wrappingKey: wrappingKey.toString('hex'),
    wrappingCheck: checkOf(wrappingKey).toString('hex'),
    wrapped: wrap.toString('base64'),
    header: { hex: encryptedHeader(7n).toString('hex'), ledgerId, firstIndex: 7, keyId: checkOf(segmentKey).toString('hex') },
    accept: [
      record(encrypted(whole, clearOfEntry), { type: 'entry', index: 7, leaf, attributes: [keptJson('{"argv":[]}')], frame: [keptJson('frame')] }),
      record(encrypted(part(1, 3n, 'half a line'), 26), {
        type: 'part',
        connection: ledgerId,
        direction: 1,
        unit: 3,
        salt: salt.toString('hex'),
        bytes: 'half a line',
      }),
      record(encrypted(join(u8(3), Buffer.from(ledgerId, 'hex'), u8(1), u64(5n), Buffer.alloc(16 + 11)), 26), {
        type: 'part',
        erased: true,
        connection: ledgerId,
        direction: 1,
        unit: 5,
        salt: '00'.repeat(16),
        bytes: '\0'.repeat(11),
      }),
    ],
    reject: [
      bad('an entry in the clear', whole),
      bad('a part in the clear', part(1, 3n, 'half a line')),
      bad('a nonce that is cut off', encrypted(whole, clearOfEntry).subarray(0, clearOfEntry + 11)),
      bad('a part without its salt', encrypted(part(0, 1n, '').subarray(0, -1), 26)),
      bad(
        'an erased part with something left',
        encrypted(join(u8(3), Buffer.from(ledgerId, 'hex'), u8(1), u64(5n), Buffer.alloc(16), text('left')), 26),
      ),
      bad('a leaf longer than the record', encrypted(join(u8(1), u64(7n), u32(1000), text(leaf), u16(0), u32(0)), clearOfEntry)),
    ],
  },
  headers: {
    accept: [
      { hex: header(0n).toString('hex'), ledgerId, firstIndex: 0 },
      { hex: header(9007199254740991n).toString('hex'), ledgerId, firstIndex: 9007199254740991 },
    ],
    reject: [
      { why: 'empty', hex: '' },
      { why: 'a byte too short', hex: header(0n).subarray(0, 39).toString('hex') },
      { why: 'another magic', hex: header(0n, 'SWORNPL2').toString('hex') },
      { why: 'a wrong checksum', hex: join(header(0n).subarray(0, 36), u32(0)).toString('hex') },
      { why: 'an index above 2^53 - 1', hex: header(9007199254740992n).toString('hex') },
      { why: 'another magic of encrypted ones', hex: encryptedHeader(0n, 'SWORNPE2').toString('hex') },
      { why: 'something in the four zero bytes', hex: header(0n, 'SWORNPL1', 1).toString('hex') },
    ],
  },
  records: {
    accept: [
      record(entry(0n, leaf, [], []), { type: 'entry', index: 0, leaf, attributes: [], frame: [] }),
      record(whole, { type: 'entry', index: 7, leaf, attributes: [keptJson('{"argv":[]}')], frame: [keptJson('frame')] }),
      record(entry(4294967296n, leaf, [], [kept('')]), { type: 'entry', index: 4294967296, leaf, attributes: [], frame: [keptJson('')] }),
      record(entry(9007199254740991n, '', [dropped(5)], [dropped(0), kept('a'), inPart(1048576, 12n, 4096n)]), {
        type: 'entry',
        index: 9007199254740991,
        leaf: '',
        attributes: [droppedJson(5)],
        frame: [droppedJson(0), keptJson('a'), partJson(1048576, 12, 4096)],
      }),
      record(entry(8n, leaf, [erased(40)], [erased(3), kept('behind it')]), {
        type: 'entry',
        index: 8,
        leaf,
        attributes: [erasedJson(40)],
        frame: [erasedJson(3), keptJson('behind it')],
      }),
      record(join(u8(3), Buffer.from(ledgerId, 'hex'), u8(1), u64(5n), Buffer.alloc(16 + 11)), {
        type: 'part',
        erased: true,
        connection: ledgerId,
        direction: 1,
        unit: 5,
        salt: '00'.repeat(16),
        bytes: '\0'.repeat(11),
      }),
      record(part(0, 1n, ''), { type: 'part', connection: ledgerId, direction: 0, unit: 1, salt: salt.toString('hex'), bytes: '' }),
      record(part(1, 4294967297n, 'half a line'), {
        type: 'part',
        connection: ledgerId,
        direction: 1,
        unit: 4294967297,
        salt: salt.toString('hex'),
        bytes: 'half a line',
      }),
    ],
    reject: [
      bad('an unknown type', join(u8(4), whole.subarray(1))),
      bad('a short kept item that is not filled up', entry(7n, leaf, [], [join(u8(0), salt, u32(1), text('a'))])),
      bad('a short kept item that is filled up with something', entry(7n, leaf, [], [join(u8(0), salt, u32(1), text('a'), Buffer.alloc(15, 1))])),
      bad('an erased item with something left', entry(7n, leaf, [], [join(u8(3), hash, u32(20), text('left'))])),
      bad('an erased part with something left', join(u8(3), Buffer.from(ledgerId, 'hex'), u8(1), u64(5n), Buffer.alloc(16), text('left'))),
      bad('type 0', join(u8(0), whole.subarray(1))),
      bad('a byte behind the last item', join(whole, u8(0))),
      bad('a byte too few', whole.subarray(0, -1)),
      bad('an item of an unknown state', entry(7n, leaf, [], [join(u8(4), hash, u32(0))])),
      bad('fewer items than it says', join(entry(7n, leaf, [], []).subarray(0, -4), u32(1))),
      bad('more items than it says', join(entry(7n, leaf, [], []), kept(''))),
      bad('a leaf longer than the record', join(u8(1), u64(7n), u32(1000), text(leaf), u16(0), u32(0))),
      bad('a count of items that no record could hold', join(entry(7n, leaf, [], []).subarray(0, -4), u32(0xffffffff))),
      bad('an item longer than the record', entry(7n, leaf, [], [join(u8(0), salt, u32(100), text('a'))])),
      bad('an index above 2^53 - 1', entry(9007199254740992n, leaf, [], [])),
      bad('a place in a file above 2^53 - 1', entry(7n, leaf, [], [inPart(9, 9007199254740992n, 40n)])),
      bad('a place at an offset above 2^53 - 1', entry(7n, leaf, [], [inPart(9, 0n, 9007199254740992n)])),
      bad('a part of no direction', part(2, 1n, 'a')),
      bad('a part without its salt', part(0, 1n, '').subarray(0, -1)),
      bad('only a type', u8(1)),
    ],
  },
});

// The wire

const message = (type: number, body: Buffer) => join(u32(1 + body.length), u8(type), body);
const none = 0xffffffffffffffffn;
const tooLarge = 9007199254740992n;
const frame = (direction: number, flags: number, stream: number, unit: bigint, c2s: bigint, s2c: bigint, seen: bigint, bytes: string) =>
  join(u8(direction), u8(flags), u32(stream), u64(unit), u64(c2s), u64(s2c), u64(seen), text(bytes));
const answer = (direction: number, through: bigint, index: bigint, leafHash: Buffer) => join(u8(direction), u64(through), u64(index), leafHash);
const refusal = (direction: number, unit: bigint, toSender: string, toReceiver: string) =>
  join(u8(direction), u64(unit), u32(text(toSender).length), text(toSender), u32(text(toReceiver).length), text(toReceiver));
const aside = (direction: number, ...units: bigint[]) => join(u8(direction), ...units.map(u64));
const said = (direction: number, stream: number, line: string) => join(u8(direction), u32(stream), text(line));
const hexes = (list: { why: string; body: Buffer }[]) => list.map(({ why, body }) => ({ why, hex: body.toString('hex') }));
const hashHex = hash.toString('hex');
const anyFrame = frame(0, 0, 0, 1n, 0n, 0n, 0n, '');
const anyAnswer = answer(0, 1n, 1n, hash);

write('wire.json', {
  messages: {
    accept: [
      { hex: message(72, Buffer.alloc(0)).toString('hex'), messages: [{ type: 72, body: '' }] },
      {
        hex: join(message(5, text('{"what":"status"}')), message(1, text('{}'))).toString('hex'),
        messages: [
          { type: 5, body: text('{"what":"status"}').toString('hex') },
          { type: 1, body: text('{}').toString('hex') },
        ],
      },
      { hex: message(255, text('later')).toString('hex'), messages: [{ type: 255, body: text('later').toString('hex') }] },
    ],
    reject: hexes([
      { why: 'a length of 0', body: join(u32(0), u8(1)) },
      { why: 'a length over 1 MiB + 64 KiB', body: join(u32(1024 * 1024 + 64 * 1024 + 1), u8(1)) },
      { why: 'the largest length', body: join(u32(0xffffffff), u8(1)) },
      { why: 'HTTP', body: text('GET / HTTP/1.1\r\n\r\n') },
    ]),
  },
  frames: {
    accept: [
      { hex: anyFrame.toString('hex'), frame: { direction: 0, flags: 0, stream: 0, unit: 1, delivered: [0, 0], seenUs: 0, bytes: '' } },
      {
        hex: frame(1, 3, 4294967295, 4294967296n, 9007199254740991n, 2n, 81234567890n, '{"id":1}').toString('hex'),
        frame: {
          direction: 1,
          flags: 3,
          stream: 4294967295,
          unit: 4294967296,
          delivered: [9007199254740991, 2],
          seenUs: 81234567890,
          bytes: '{"id":1}',
        },
      },
    ],
    reject: hexes([
      { why: 'empty', body: Buffer.alloc(0) },
      { why: 'a byte too short', body: anyFrame.subarray(0, -1) },
      { why: 'no direction', body: join(u8(2), anyFrame.subarray(1)) },
      { why: 'a unit above 2^53 - 1', body: frame(0, 0, 0, tooLarge, 0n, 0n, 0n, '') },
      { why: 'a delivered unit above 2^53 - 1', body: frame(0, 0, 0, 1n, 0n, tooLarge, 0n, '') },
      { why: 'a time above 2^53 - 1', body: frame(0, 0, 0, 1n, 0n, 0n, none, '') },
    ]),
  },
  answers: {
    accept: [
      { hex: anyAnswer.toString('hex'), answer: { direction: 0, through: 1, receipt: { index: 1, hash: hashHex } } },
      {
        hex: answer(1, 9007199254740991n, 0n, hash).toString('hex'),
        answer: { direction: 1, through: 9007199254740991, receipt: { index: 0, hash: hashHex } },
      },
      { hex: answer(0, 0n, none, Buffer.alloc(32)).toString('hex'), answer: { direction: 0, through: 0 } },
    ],
    reject: hexes([
      { why: 'a byte too short', body: anyAnswer.subarray(0, -1) },
      { why: 'a byte too long', body: join(anyAnswer, u8(0)) },
      { why: 'no direction', body: join(u8(2), anyAnswer.subarray(1)) },
      { why: 'an index above 2^53 - 1 that is not "none"', body: answer(0, 1n, none - 1n, hash) },
      { why: 'a unit above 2^53 - 1', body: answer(0, none, 1n, hash) },
    ]),
  },
  asides: {
    accept: [
      { hex: aside(0, 1n, 1n).toString('hex'), aside: { direction: 0, first: 1, last: 1 } },
      { hex: aside(1, 4294967296n, 9007199254740991n).toString('hex'), aside: { direction: 1, first: 4294967296, last: 9007199254740991 } },
    ],
    reject: hexes([
      { why: 'a byte too short', body: aside(0, 1n, 1n).subarray(0, -1) },
      { why: 'a byte too long', body: join(aside(0, 1n, 1n), u8(0)) },
      { why: 'no direction', body: aside(2, 1n, 1n) },
      { why: 'no unit', body: aside(0, 0n, 1n) },
      { why: 'the last unit before the first', body: aside(0, 2n, 1n) },
      { why: 'a unit above 2^53 - 1', body: aside(0, 1n, tooLarge) },
      { why: 'a release', body: aside(0, 1n) },
    ]),
  },
  releases: {
    accept: [{ hex: aside(1, 7n).toString('hex'), release: { direction: 1, first: 7, last: 7 } }],
    reject: hexes([
      { why: 'a byte too short', body: aside(1, 7n).subarray(0, -1) },
      { why: 'no direction', body: aside(2, 7n) },
      { why: 'no unit', body: aside(0, 0n) },
      { why: 'a unit above 2^53 - 1', body: aside(0, none) },
      { why: 'an aside', body: aside(0, 7n, 7n) },
    ]),
  },
  lines: {
    accept: [
      { hex: said(1, 0, '{}\n').toString('hex'), said: { direction: 1, stream: 0, line: '{}\n' } },
      { hex: said(0, 4294967295, '\n').toString('hex'), said: { direction: 0, stream: 4294967295, line: '\n' } },
    ],
    reject: hexes([
      { why: 'empty', body: Buffer.alloc(0) },
      { why: 'no line', body: said(1, 0, '') },
      { why: 'no line end', body: said(1, 0, '{}') },
      { why: 'no line, and a stream that looks like one', body: said(1, 10, '') },
      { why: 'no direction', body: said(2, 0, '{}\n') },
    ]),
  },
  refusals: {
    accept: [
      { hex: refusal(0, 3n, '{"error":1}\n', '').toString('hex'), refusal: { direction: 0, unit: 3, toSender: '{"error":1}\n', toReceiver: '' } },
      { hex: refusal(1, 4n, '', '').toString('hex'), refusal: { direction: 1, unit: 4, toSender: '', toReceiver: '' } },
      { hex: refusal(1, 5n, 'a\n', 'bc\n').toString('hex'), refusal: { direction: 1, unit: 5, toSender: 'a\n', toReceiver: 'bc\n' } },
    ],
    reject: hexes([
      { why: 'a byte too long', body: join(refusal(0, 3n, 'a', 'b'), u8(0)) },
      { why: 'a byte too short', body: refusal(0, 3n, 'a', 'b').subarray(0, -1) },
      { why: 'a line longer than the message', body: join(u8(0), u64(3n), u32(0xffffffff), u32(0)) },
      { why: 'no direction', body: join(u8(2), refusal(0, 3n, '', '').subarray(1)) },
      { why: 'a unit above 2^53 - 1', body: refusal(0, tooLarge, '', '') },
    ]),
  },
  objects: {
    accept: ['{}', '{"a":{"b":[1]}}', ' {"wire":[1,1]} '].map((json) => ({ hex: text(json).toString('hex'), value: JSON.parse(json) as unknown })),
    reject: hexes([
      { why: 'empty', body: Buffer.alloc(0) },
      { why: 'null', body: text('null') },
      { why: 'a list', body: text('[]') },
      { why: 'a number', body: text('1') },
      { why: 'cut off', body: text('{"a":1') },
      { why: 'two values', body: text('{}{}') },
      { why: 'not UTF-8', body: join(text('{"a":"'), u8(0xff), text('"}')) },
    ]),
  },
  socketIds: ['/', '/a', '/home/user/.local/state/sworn', '/home/\u00fc'].map((ledger) => {
    // FNV-1a, 64 bit (draft-eastlake-fnv)
    let id = 0xcbf29ce484222325n;
    for (const byte of text(ledger)) id = BigInt.asUintN(64, (id ^ BigInt(byte)) * 0x100000001b3n);
    return { ledger, id: id.toString(16).padStart(16, '0') };
  }),
});
