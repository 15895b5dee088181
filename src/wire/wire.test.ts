import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { wireBytes } from '../limits.ts';
import { socketId } from './socket-path.ts';
import {
  encodeAnswer,
  encodeAside,
  encodeJson,
  encodeRefusal,
  encodeRelease,
  encodeSaid,
  frameHeaderBytes,
  readAnswer,
  readAside,
  readFrame,
  readJson,
  readRefusal,
  readSaid,
  WireReader,
  wireType,
  writeFrameHeader,
  type DirectionIndex,
} from './wire.ts';

interface Hexed {
  why: string;
  hex: string;
}

const vectors = JSON.parse(readFileSync(new URL('../../spec/vectors/wire.json', import.meta.url), 'utf8'));
const bytesOf = ({ hex }: { hex: string }): Buffer => Buffer.from(hex, 'hex');

const direction = fc.constantFrom<DirectionIndex>(0, 1);
const counter = fc.maxSafeNat();
const someBytes = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));

function read(chunks: Buffer[]): { messages: { type: number; body: string }[]; whole: boolean } {
  const reader = new WireReader();
  const messages: { type: number; body: string }[] = [];
  let whole = true;
  for (const chunk of chunks) whole = reader.push(chunk, (type, body) => void messages.push({ type, body: body.toString('hex') }));
  return { messages, whole };
}

function encodeFrame(side: DirectionIndex, flags: number, unit: number, delivered: [number, number], seenUs: number, bytes: Buffer): Buffer {
  const buffer = Buffer.alloc(frameHeaderBytes);
  writeFrameHeader(buffer, 0, side, flags, unit, delivered, seenUs, bytes.length);
  return Buffer.concat([buffer, bytes]);
}

/** The body of the one message in `bytes`. */
function bodyOf(bytes: Buffer, type: number): Buffer {
  let found: Buffer | undefined;
  const whole = new WireReader().push(bytes, (foundType, body) => {
    expect(found).toBeUndefined();
    expect(foundType).toBe(type);
    found = body;
  });
  expect(whole).toBe(true);
  return found!;
}

describe('messages on the wire', () => {
  it('accepts the vectors, in one piece and byte by byte', () => {
    for (const { hex, messages } of vectors.messages.accept) {
      const bytes = Buffer.from(hex, 'hex');
      expect(read([bytes])).toEqual({ messages, whole: true });
      expect(read(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)))).toEqual({ messages, whole: true });
    }
  });

  it('refuses the vectors, once and for ever', () => {
    for (const vector of vectors.messages.reject as Hexed[]) {
      const reader = new WireReader();
      const ignore = (): never => expect.fail(vector.why);
      expect(reader.push(bytesOf(vector), ignore), vector.why).toBe(false);
      expect(reader.push(encodeJson(wireType.hello, {}), ignore), vector.why).toBe(false);
    }
  });

  it('reads the same messages however the stream is cut', () => {
    const message = fc.record({ type: fc.integer({ min: 0, max: 255 }), body: someBytes });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), fc.array(fc.nat(1700), { maxLength: 20 }), (messages, cuts) => {
        const stream = Buffer.concat(
          messages.map(({ type, body }) => {
            const head = Buffer.alloc(5);
            head.writeUInt32BE(1 + body.length, 0);
            head[4] = type;
            return Buffer.concat([head, body]);
          }),
        );
        const places = [0, ...cuts.filter((cut) => cut <= stream.length).sort((a, b) => a - b), stream.length];
        const chunks = places.slice(1).map((place, i) => stream.subarray(places[i], place));
        const expected = messages.map(({ type, body }) => ({ type, body: body.toString('hex') }));
        expect(read(chunks)).toEqual({ messages: expected, whole: true });
      }),
      { numRuns: 500 },
    );
  });

  it('reads two messages cut at every place', () => {
    const stream = Buffer.concat([
      encodeJson(wireType.ask, { what: 'status' }),
      encodeJson(wireType.closed),
      encodeAnswer(wireType.pass, { direction: 1, through: 9 }),
      encodeAside({ direction: 0, first: 8, last: 9 }),
      encodeRelease(0, 9),
      encodeSaid({ direction: 1, stream: 0, line: Buffer.from('{}\n') }),
    ]);
    const expected = read([stream]);
    expect(expected.messages.map(({ type }) => type)).toEqual([wireType.ask, wireType.closed, wireType.pass, 73, 74, 75]);
    for (let one = 0; one <= stream.length; one++) {
      for (let two = one; two <= stream.length; two++) {
        expect(read([stream.subarray(0, one), stream.subarray(one, two), stream.subarray(two)])).toEqual(expected);
      }
    }
  });

  it('takes the largest message, and no larger one', () => {
    const largest = Buffer.alloc(4 + wireBytes);
    largest.writeUInt32BE(wireBytes, 0);
    const sizes: number[] = [];
    const reader = new WireReader();
    for (let at = 0; at < largest.length; at += 65_536)
      expect(reader.push(largest.subarray(at, at + 65_536), (_, body) => void sizes.push(body.length))).toBe(true);
    expect(sizes).toEqual([wireBytes - 1]);
    largest.writeUInt32BE(wireBytes + 1, 0);
    expect(new WireReader().push(largest.subarray(0, 5), () => expect.fail('too large'))).toBe(false);
  });

  it('hands out what came before a broken message', () => {
    const { messages, whole } = read([Buffer.concat([encodeJson(wireType.closed), Buffer.alloc(5)])]);
    expect(messages).toEqual([{ type: wireType.closed, body: '' }]);
    expect(whole).toBe(false);
  });

  it('never throws on garbage', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 6 }), (chunks) => {
        const reader = new WireReader();
        for (const chunk of chunks) reader.push(Buffer.from(chunk), () => {});
        const body = Buffer.from(chunks[0] ?? []);
        for (const readBody of [readFrame, readAnswer, readRefusal, readSaid, readJson]) readBody(body);
        for (const numbers of [1, 2] as const) readAside(body, numbers);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('bodies on the wire', () => {
  it('reads the vectors', () => {
    for (const { hex, frame } of vectors.frames.accept) {
      const found = readFrame(Buffer.from(hex, 'hex'))!;
      expect({ ...found, bytes: found.bytes.toString() }).toEqual(frame);
    }
    for (const { hex, answer } of vectors.answers.accept) {
      const found = readAnswer(Buffer.from(hex, 'hex'))!;
      const receipt = found.receipt && { index: found.receipt.index, hash: Buffer.from(found.receipt.hash).toString('hex') };
      expect({ direction: found.direction, through: found.through, ...(receipt ? { receipt } : {}) }).toEqual(answer);
    }
    for (const { hex, refusal } of vectors.refusals.accept) {
      const found = readRefusal(Buffer.from(hex, 'hex'))!;
      expect({ ...found, toSender: found.toSender.toString(), toReceiver: found.toReceiver.toString() }).toEqual(refusal);
    }
    for (const { hex, aside } of vectors.asides.accept) expect(readAside(Buffer.from(hex, 'hex'), 2)).toEqual(aside);
    for (const { hex, release } of vectors.releases.accept) expect(readAside(Buffer.from(hex, 'hex'), 1)).toEqual(release);
    for (const { hex, said } of vectors.lines.accept) {
      const found = readSaid(Buffer.from(hex, 'hex'))!;
      expect({ ...found, line: found.line.toString() }).toEqual(said);
    }
    for (const { hex, value } of vectors.objects.accept) expect(readJson(Buffer.from(hex, 'hex'))).toEqual(value);
    for (const { ledger, id } of vectors.socketIds) expect(socketId(ledger)).toBe(id);
  });

  it('refuses the vectors', () => {
    const readers = {
      frames: readFrame,
      answers: readAnswer,
      refusals: readRefusal,
      asides: (body: Buffer) => readAside(body, 2),
      releases: (body: Buffer) => readAside(body, 1),
      lines: readSaid,
      objects: readJson,
    };
    for (const [kind, readBody] of Object.entries(readers)) {
      for (const vector of vectors[kind].reject as Hexed[]) expect(readBody(bytesOf(vector)), `${kind}: ${vector.why}`).toBeUndefined();
    }
  });

  it('brings frames through', () => {
    fc.assert(
      fc.property(
        direction,
        fc.integer({ min: 0, max: 3 }),
        counter,
        counter,
        counter,
        counter,
        someBytes,
        (side, flags, unit, c2s, s2c, seenUs, bytes) => {
          // a line end at the end of a terminated frame is not part of it
          const line = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes;
          const found = readFrame(bodyOf(encodeFrame(side, flags, unit, [c2s, s2c], seenUs, line), wireType.frame))!;
          fc.pre(line.at(-1) !== 0x0a);
          expect(found).toMatchObject({ direction: side, flags, stream: 0, unit, delivered: [c2s, s2c], seenUs });
          expect(found.bytes.equals(line)).toBe(true);
        },
      ),
    );
  });

  it('takes the line end off the last unit of a terminated frame, and off no other', () => {
    const bytesRead = (flags: number, text: string): string =>
      readFrame(bodyOf(encodeFrame(0, flags, 1, [0, 0], 0, Buffer.from(text)), wireType.frame))!.bytes.toString();
    expect(bytesRead(0, 'line\n')).toBe('line');
    expect(bytesRead(0, '\n')).toBe('');
    expect(bytesRead(1, 'half\n')).toBe('half\n');
    expect(bytesRead(2, 'cut off\n')).toBe('cut off\n');
  });

  it('brings answers through', () => {
    const receipt = fc.record({ index: counter, hash: fc.uint8Array({ minLength: 32, maxLength: 32 }) });
    fc.assert(
      fc.property(fc.constantFrom(wireType.pass, wireType.durable), direction, counter, fc.option(receipt), (type, side, through, given) => {
        const found = readAnswer(bodyOf(encodeAnswer(type, { direction: side, through, ...(given ? { receipt: given } : {}) }), type))!;
        expect(found.direction).toBe(side);
        expect(found.through).toBe(through);
        expect(found.receipt?.index).toBe(given?.index);
        if (given) expect(Buffer.from(given.hash).equals(found.receipt!.hash)).toBe(true);
      }),
    );
  });

  it('brings refusals through', () => {
    fc.assert(
      fc.property(direction, counter, someBytes, someBytes, (side, unit, toSender, toReceiver) => {
        const found = readRefusal(bodyOf(encodeRefusal({ direction: side, unit, toSender, toReceiver }), wireType.refuse))!;
        expect({ direction: found.direction, unit: found.unit }).toEqual({ direction: side, unit });
        expect(found.toSender.equals(toSender) && found.toReceiver.equals(toReceiver)).toBe(true);
      }),
    );
  });

  it('brings what waits, what goes and what is said through', () => {
    fc.assert(
      fc.property(direction, fc.integer({ min: 1 }), fc.nat(4_096), fc.nat(0xffff_ffff), someBytes, (side, first, more, stream, bytes) => {
        const aside = { direction: side, first, last: first + more };
        expect(readAside(bodyOf(encodeAside(aside), wireType.aside), 2)).toEqual(aside);
        expect(readAside(bodyOf(encodeRelease(side, first), wireType.release), 1)).toEqual({ direction: side, first, last: first });
        const line = Buffer.concat([bytes, Buffer.from('\n')]);
        const said = readSaid(bodyOf(encodeSaid({ direction: side, stream, line }), wireType.say))!;
        expect({ ...said, line: Buffer.from(said.line) }).toEqual({ direction: side, stream, line });
      }),
    );
  });

  it('brings objects through', () => {
    const object = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue());
    fc.assert(
      fc.property(object, (value) => {
        const json = JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
        expect(readJson(bodyOf(encodeJson(wireType.hello, json), wireType.hello))).toEqual(json);
      }),
    );
    expect(bodyOf(encodeJson(wireType.closed), wireType.closed)).toHaveLength(0);
  });
});

describe('socketId', () => {
  it('a ledger has one socket, by whatever links it is named, also before it is there', () => {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sworn-links-')));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    mkdirSync(join(folder, 'real'));
    symlinkSync('real', join(folder, 'link'));
    for (const rest of ['.', 'ledger', 'state/ledger']) expect(socketId(join(folder, 'link', rest))).toBe(socketId(join(folder, 'real', rest)));
    expect(socketId(join(folder, 'link'))).not.toBe(socketId(folder));
  });

  it('has 16 hex digits and takes a path as absolute', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (path) => {
        expect(socketId(`/${path.replaceAll('\0', '')}`)).toMatch(/^[0-9a-f]{16}$/);
      }),
    );
    expect(socketId('/a/b/../c/')).toBe(socketId('/a/c'));
  });
});
