/**
 * The protocol between tap and recorder: `spec/wire.md`, version 1. Framing and the binary messages; no I/O.
 * The tap loads this file at every start of a server, so it imports nothing but bounds.
 */
import { isUtf8 } from 'node:buffer';
import { wireBytes } from '../limits.ts';

export const wireVersion = 1;

export const wireType = {
  hello: 1,
  frame: 2,
  close: 3,
  lost: 4,
  ask: 5,
  principal: 6,
  welcome: 65,
  pass: 66,
  refuse: 67,
  durable: 68,
  wait: 69,
  error: 70,
  reply: 71,
  closed: 72,
  aside: 73,
  release: 74,
  say: 75,
} as const;

export type Wait = 'receipt' | 'verdict' | 'none';

/** 0 is client to server, 1 is server to client: the index of every per-direction pair. */
export type DirectionIndex = 0 | 1;

export interface Hello {
  wire: [number, number];
  connection: string;
  transport: 'stdio' | 'http';
  server: string;
  /** Of a proxy: where it sends to, without user, password and query. */
  upstream?: string;
  client?: string;
  labels: Record<string, string>;
  argv: string[];
  cwd: string;
  serverPid?: number;
  mode: 'commit' | 'observe';
  onUnrecordable: 'block' | 'pass';
  overrides: { sensitive: string[]; write: string[]; read: string[] };
  ledger?: string;
  /** Path of the policy file that was named: a recorder that runs with another one refuses. */
  config?: string;
  openedAt: number;
  /** A secret of the tap, 32 hex digits: who shows it again may go on with the connection. */
  token: string;
  /** The last receipt that the tap got; the hash in hex. */
  receipt?: { index: number; hash: string };
  /** Frames that wait for a person, by their last units. */
  aside?: { c2s: number[]; s2c: number[] };
}

export interface Welcome {
  wire: number;
  wait: Wait;
  durable: { c2s: number; s2c: number };
  resumed: boolean;
  ledger: string;
  ledgerId: string;
  custody: string;
  mode: 'commit' | 'observe';
  onUnrecordable: 'block' | 'pass';
}

export interface Close {
  reason: 'client closed' | 'server exited' | 'signal' | 'spawn failed';
  exitCode?: number;
  signal?: string;
  error?: string;
  frames: { c2s: number; s2c: number };
  delivered: [number, number];
}

export interface Lost {
  reason: string;
  lost: { c2s: number; s2c: number };
  /** Units that the tap withheld on its own, as ranges of the first and the last: `delivered` runs over them, and a recorder that is gone may have them. */
  units?: { c2s: [number, number][]; s2c: [number, number][] };
  from: number;
  until: number;
}

export interface WireError {
  code: string;
  message: string;
  hint: string;
}

/** What HTTP says around a message. Over stdio there is nothing around one. */
export interface Head {
  /** Who sent the request of this stream: named by a `principal` message before. 32 hex digits. */
  who: string;
  /** The MCP session that the request of this stream names (its `Mcp-Session-Id`; in HTTP+SSE its message endpoint). */
  session?: string;
  /** The one that this response begins. */
  begins?: string;
  /** Of a request, and of a response with its first frame. */
  method?: string;
  path?: string;
  status?: number;
  /** As they came, without credentials. */
  headers?: [name: string, value: string][];
  /** The `Content-Encoding` that the bytes were decoded from. */
  encoding?: string;
  /** Of a request whose `Content-Type` names another one than UTF-8. */
  charset?: string;
  /** Of an SSE event. */
  sse?: Record<string, unknown>;
  /** Nothing more comes on this stream, and why. */
  end?: string;
  /** Frames of this stream and direction, by their last units, that were let go and did not arrive: `delivered` of all frames runs over them. */
  undelivered?: [first: number, last: number];
  /** Those that did arrive after that was said of them. */
  delivered?: [first: number, last: number];
  /** The client got other values than these bytes say, under these names (`publicUrl` of a proxy). */
  rewritten?: Record<string, string>;
  /** The proxy said this itself. */
  own?: true;
}

/** Flags of a `frame`. */
export const moreUnits = 1;
export const unterminated = 2;
/** The tap delivers the unit only when it is told to: it can still be refused. */
export const held = 4;
/** The bytes begin with `u32 n ‖ n bytes`, a `Head`; on the first unit of a frame. */
export const headed = 8;
/** There is no message, only the head: an HTTP request or response without a body, or a stream's end. */
export const bare = 16;
/** The frame is what it is: a line end behind it belongs to it. */
export const exact = 32;

const lineEnd = 0x0a;

/** Bytes before a unit's own bytes: length, type, direction, flags, stream, unit, delivered ×2, seen. */
export const frameHeaderBytes = 4 + 1 + 1 + 1 + 4 + 8 + 8 + 8 + 8;
const answerBytes = 4 + 1 + 1 + 8 + 8 + 32;
const none = 0xffff_ffff;

/** Unsigned 64-bit as a Number: our counters stay below 2^53. */
function writeU64(buffer: Buffer, value: number, at: number): void {
  buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at);
  buffer.writeUInt32BE(value >>> 0, at + 4);
}

/** Above 2^53 - 1 the result is not exact: the readers below refuse it. */
function readU64(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at) * 0x1_0000_0000 + buffer.readUInt32BE(at + 4);
}

export interface FrameUnit {
  direction: DirectionIndex;
  flags: number;
  stream: number;
  unit: number;
  delivered: [number, number];
  /** The tap's monotonic clock, µs. */
  seenUs: number;
  /** The unit's share of the frame, without a line end. */
  bytes: Buffer;
  head?: Head;
}

/** Writes the header of a `frame` message into `buffer` at `at`; the unit's bytes follow it. */
export function writeFrameHeader(
  buffer: Buffer,
  at: number,
  direction: DirectionIndex,
  flags: number,
  unit: number,
  delivered: readonly [number, number],
  seenUs: number,
  sizeBytes: number,
  stream: number = 0,
): void {
  buffer.writeUInt32BE(frameHeaderBytes - 4 + sizeBytes, at);
  buffer[at + 4] = wireType.frame;
  buffer[at + 5] = direction;
  buffer[at + 6] = flags;
  buffer.writeUInt32BE(stream, at + 7);
  writeU64(buffer, unit, at + 11);
  writeU64(buffer, delivered[0], at + 19);
  writeU64(buffer, delivered[1], at + 27);
  writeU64(buffer, seenUs, at + 35);
}

/** Reads the body of a `frame` message, or `undefined` when it is too short, names no direction, holds a number above 2^53 - 1, or a head that is none. */
export function readFrame(body: Buffer): FrameUnit | undefined {
  if (body.length < frameHeaderBytes - 5 || body[0]! > 1) return undefined;
  for (let at = 6; at < 38; at += 8) if (!Number.isSafeInteger(readU64(body, at))) return undefined;
  const flags = body[1]!;
  const isHeaded = (flags & headed) !== 0;
  const from = isHeaded ? 42 + (body.length < 42 ? 0 : body.readUInt32BE(38)) : 38;
  const head = isHeaded && from <= body.length ? readJson(body.subarray(42, from)) : undefined;
  if (isHeaded && (head === undefined || typeof head['who'] !== 'string')) return undefined;
  // the line end that a terminated line carries on the wire is not part of the frame
  const isTerminated = (flags & (moreUnits | unterminated | exact)) === 0 && body.length > from && body.at(-1) === lineEnd;
  return {
    direction: body[0] as DirectionIndex,
    flags,
    stream: body.readUInt32BE(2),
    unit: readU64(body, 6),
    delivered: [readU64(body, 14), readU64(body, 22)],
    seenUs: readU64(body, 30),
    bytes: isTerminated ? body.subarray(from, -1) : body.subarray(from),
    // the recorder looks at its fields
    ...(head === undefined ? {} : { head: head as unknown as Head }),
  };
}

export interface Receipt {
  index: number;
  hash: Uint8Array;
}

export interface Answer {
  direction: DirectionIndex;
  through: number;
  receipt?: Receipt;
}

/** A `pass` or `durable` message. */
export function encodeAnswer(type: typeof wireType.pass | typeof wireType.durable, answer: Answer): Buffer {
  const buffer = Buffer.alloc(answerBytes);
  buffer.writeUInt32BE(answerBytes - 4, 0);
  buffer[4] = type;
  buffer[5] = answer.direction;
  writeU64(buffer, answer.through, 6);
  if (answer.receipt === undefined) {
    buffer.writeUInt32BE(none, 14);
    buffer.writeUInt32BE(none, 18);
  } else {
    writeU64(buffer, answer.receipt.index, 14);
    buffer.set(answer.receipt.hash, 22);
  }
  return buffer;
}

export function readAnswer(body: Buffer): Answer | undefined {
  if (body.length !== answerBytes - 5 || body[0]! > 1) return undefined;
  const answer: Answer = { direction: body[0] as DirectionIndex, through: readU64(body, 1) };
  if (!Number.isSafeInteger(answer.through)) return undefined;
  if (body.readUInt32BE(9) === none && body.readUInt32BE(13) === none) return answer;
  answer.receipt = { index: readU64(body, 9), hash: body.subarray(17, 49) };
  return Number.isSafeInteger(answer.receipt.index) ? answer : undefined;
}

export interface Refusal {
  direction: DirectionIndex;
  unit: number;
  /** One line with its line end for the sender of the refused frame, or nothing. */
  toSender: Buffer;
  /** One line with its line end for the receiver, in place of the frame, or nothing. */
  toReceiver: Buffer;
}

export function encodeRefusal(refusal: Refusal): Buffer {
  const { toSender, toReceiver } = refusal;
  const head = Buffer.alloc(18);
  head.writeUInt32BE(1 + 1 + 8 + 4 + toSender.length + 4 + toReceiver.length, 0);
  head[4] = wireType.refuse;
  head[5] = refusal.direction;
  writeU64(head, refusal.unit, 6);
  head.writeUInt32BE(toSender.length, 14);
  const middle = Buffer.alloc(4);
  middle.writeUInt32BE(toReceiver.length, 0);
  return Buffer.concat([head, toSender, middle, toReceiver]);
}

export function readRefusal(body: Buffer): Refusal | undefined {
  if (body.length < 17 || body[0]! > 1) return undefined;
  const senderBytes = body.readUInt32BE(9);
  if (13 + senderBytes + 4 > body.length) return undefined;
  const receiverBytes = body.readUInt32BE(13 + senderBytes);
  if (17 + senderBytes + receiverBytes !== body.length || !Number.isSafeInteger(readU64(body, 1))) return undefined;
  return {
    direction: body[0] as DirectionIndex,
    unit: readU64(body, 1),
    toSender: body.subarray(13, 13 + senderBytes),
    toReceiver: body.subarray(17 + senderBytes),
  };
}

/** A frame, by its units: one that waits for a person (`first` and `last`), or that is delivered now (`last` alone). */
export interface Aside {
  direction: DirectionIndex;
  first: number;
  last: number;
}

/** An `aside` message. */
export function encodeAside({ direction, first, last }: Aside): Buffer {
  const buffer = Buffer.alloc(22);
  buffer.writeUInt32BE(18, 0);
  buffer[4] = wireType.aside;
  buffer[5] = direction;
  writeU64(buffer, first, 6);
  writeU64(buffer, last, 14);
  return buffer;
}

/** A `release` message. */
export function encodeRelease(direction: DirectionIndex, last: number): Buffer {
  const buffer = Buffer.alloc(14);
  buffer.writeUInt32BE(10, 0);
  buffer[4] = wireType.release;
  buffer[5] = direction;
  writeU64(buffer, last, 6);
  return buffer;
}

/** The body of an `aside` or, with one number, of a `release`, or `undefined`. */
export function readAside(body: Buffer, numbers: 1 | 2): Aside | undefined {
  if (body.length !== 1 + 8 * numbers || body[0]! > 1) return undefined;
  const first = readU64(body, 1);
  const last = numbers === 1 ? first : readU64(body, 9);
  return first >= 1 && first <= last && Number.isSafeInteger(last) ? { direction: body[0] as DirectionIndex, first, last } : undefined;
}

/** A line of ours, with its line end, that is written between two frames: to the server (0) or to the client (1). */
export interface Said {
  direction: DirectionIndex;
  stream: number;
  line: Buffer;
}

/** A `say` message. */
export function encodeSaid({ direction, stream, line }: Said): Buffer {
  const head = Buffer.alloc(10);
  head.writeUInt32BE(6 + line.length, 0);
  head[4] = wireType.say;
  head[5] = direction;
  head.writeUInt32BE(stream, 6);
  return Buffer.concat([head, line]);
}

/** The body of a `say` message, or `undefined` when it is no whole line. */
export function readSaid(body: Buffer): Said | undefined {
  if (body[0]! > 1 || body.length < 6 || body.at(-1) !== lineEnd) return undefined;
  return { direction: body[0] as DirectionIndex, stream: body.readUInt32BE(1), line: body.subarray(5) };
}

/** A message with a JSON body; without a value its body is empty. */
export function encodeJson(type: number, value?: unknown): Buffer {
  const body = value === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(value));
  const buffer = Buffer.allocUnsafe(5 + body.length);
  buffer.writeUInt32BE(1 + body.length, 0);
  buffer[4] = type;
  body.copy(buffer, 5);
  return buffer;
}

/** The object of a JSON body, or `undefined`. */
export function readJson(body: Buffer): Record<string, unknown> | undefined {
  if (!isUtf8(body)) return undefined;
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Cuts a byte stream into wire messages. A message inside one chunk is handed out without copying.
 * `push` returns false, once and for ever, when the stream is not ours (a length of 0 or over the bound).
 */
export class WireReader {
  #held: Buffer[] = [];
  #heldBytes = 0;
  #neededBytes = 4;
  #broken = false;

  push(chunk: Buffer, onMessage: (type: number, body: Buffer) => void): boolean {
    if (this.#broken) return false;
    if (this.#heldBytes > 0) {
      this.#held.push(chunk);
      this.#heldBytes += chunk.length;
      if (this.#heldBytes < this.#neededBytes) return true;
      chunk = Buffer.concat(this.#held, this.#heldBytes);
      this.#held = [];
      this.#heldBytes = 0;
    }
    let at = 0;
    for (;;) {
      const leftBytes = chunk.length - at;
      if (leftBytes < 5) {
        this.#hold(chunk, at, 5);
        return true;
      }
      const lengthBytes = chunk.readUInt32BE(at);
      if (lengthBytes < 1 || lengthBytes > wireBytes) {
        this.#broken = true;
        return false;
      }
      if (leftBytes < 4 + lengthBytes) {
        this.#hold(chunk, at, 4 + lengthBytes);
        return true;
      }
      onMessage(chunk[at + 4]!, chunk.subarray(at + 5, at + 4 + lengthBytes));
      at += 4 + lengthBytes;
    }
  }

  #hold(chunk: Buffer, at: number, neededBytes: number): void {
    this.#neededBytes = neededBytes;
    if (at === chunk.length) return;
    this.#held = [chunk.subarray(at)];
    this.#heldBytes = chunk.length - at;
  }
}
