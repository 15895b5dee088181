/**
 * Server-Sent Events as they come over HTTP (WHATWG HTML §9.2.5–9.2.6): cuts a byte stream into blocks and says what is in each. No byte is lost or
 * changed: the `raw` of all blocks, joined, is what was pushed, however it was cut into chunks.
 *
 * Must stay true: which events come out, and what is in them, does not depend on the chunks. Where one run of comments ends and the next begins does, and
 * so does on which side of the cut the LF of a CR LF stands that came in two chunks: an event is given out with the byte that completes it.
 */
import { lossyText } from '../bytes/bytes.ts';

/**
 * `event`: its data has bytes. `empty`: it has `data` lines, and not one byte in them (MCP's priming event; the standard dispatches it, clients of MCP
 * ignore it). `fields`: `id`, `retry`, `event` or unknown fields alone, ended by a blank line. `comment`: nothing that a reader acts on: comments, blank
 * lines, the byte order mark. `rest`: what stood at the end of the stream without a blank line behind it; the standard discards it, whatever is in it.
 */
export type SseKind = 'event' | 'empty' | 'fields' | 'comment' | 'rest';

export interface SseBlock {
  kind: SseKind;
  /** All bytes of the block, with its line ends. May be a view of the chunk that was pushed. */
  raw: Uint8Array;
  /** The values of its `data` lines, joined by LF; absent where there is no such line. May be a view of `raw`. */
  data?: Uint8Array;
  /** `raw` without the values of its `data` lines: with `data` it gives `raw` again (`joinSse`). `raw` itself where there are none. */
  envelope: Uint8Array;
  /** The event's type; absent where it has none, or an empty one: then it is `message`. */
  event?: string;
  /** Its `id`, which may be empty; one with a NUL in it is ignored, as the standard says. */
  id?: string;
  /** How long a client shall wait before it connects again, in milliseconds; absent where it is not all digits. */
  retryMs?: number;
}

const lf = 0x0a;
const cr = 0x0d;
const colon = 0x3a;
const space = 0x20;
const byteOrderMark = [0xef, 0xbb, 0xbf] as const;
const none = new Uint8Array(0);

/** Decides nothing about sizes: whoever pushes looks at `heldBytes` and stops. A pushed chunk must not be written to afterwards. */
export class SseCutter {
  /** Bytes of the block that is not complete, at its beginning; the rest of the array is room. */
  #held: Uint8Array = none;
  #heldBytes = 0;
  /** The byte order mark came, or cannot come any more. */
  #begun = false;
  /** The last byte was a CR that ended a line: an LF now belongs to the same line end. */
  #afterCr = false;
  /** Of the line that is not complete: how many bytes came, and the first of them. */
  #lineBytes = 0;
  #lineFirst = 0;
  /** The block that is not complete has a line that is no comment. Without one, all that is held is one line that is not complete. */
  #hasFields = false;

  /** Bytes that were pushed and not yet given out. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** The blocks that are complete with this chunk, in order. */
  push(pushed: Uint8Array): SseBlock[] {
    const blocks: SseBlock[] = [];
    if (pushed.length === 0) return blocks;
    let chunk = pushed;
    let at = 0;
    if (!this.#begun) {
      if (this.#heldBytes > 0) chunk = this.#take(chunk, 0, chunk.length);
      const mark = marked(chunk);
      if (mark === undefined) {
        this.#hold(chunk, 0);
        return blocks;
      }
      this.#begun = true;
      at = mark;
    }
    let blockFrom = 0;
    let lineFrom = at;
    if (this.#afterCr && chunk[at] === lf) {
      at++;
      lineFrom = at;
    }
    this.#afterCr = false;
    const ends = new LineEnds(chunk, at);
    while (at < chunk.length) {
      const end = ends.from(at);
      if (end < 0) break;
      const lineBytes = this.#lineBytes + end - at;
      const first = this.#lineBytes > 0 ? this.#lineFirst : chunk[at];
      this.#lineBytes = 0;
      let next = end + 1;
      if (chunk[end] === cr) {
        if (chunk[next] === lf) next++;
        else this.#afterCr = next === chunk.length;
      }
      if (lineBytes === 0) {
        if (this.#hasFields) {
          blocks.push(read(this.#take(chunk, blockFrom, next), false));
          this.#hasFields = false;
          blockFrom = next;
        }
      } else if (first !== colon && !this.#hasFields) {
        // comments in front of an event are no part of it: with them its bytes would depend on whether they came together
        if (at > blockFrom) blocks.push(comment(this.#take(chunk, blockFrom, at)));
        blockFrom = Math.max(blockFrom, at);
        this.#hasFields = true;
      }
      at = next;
      lineFrom = next;
    }
    if (lineFrom < chunk.length) {
      if (this.#lineBytes === 0) this.#lineFirst = chunk[lineFrom]!;
      this.#lineBytes += chunk.length - lineFrom;
    }
    // whole lines that nobody waits for the end of: a comment keeps a connection alive only if it is passed on
    if (!this.#hasFields && lineFrom > blockFrom) {
      blocks.push(comment(this.#take(chunk, blockFrom, lineFrom)));
      blockFrom = lineFrom;
    }
    this.#hold(chunk, blockFrom);
    return blocks;
  }

  /** What stands at the end of the stream without its blank line, or nothing. */
  end(): SseBlock[] {
    return this.#heldBytes === 0 ? [] : [read(this.#take(none, 0, 0), true)];
  }

  #take(chunk: Uint8Array, from: number, to: number): Uint8Array {
    const rest = chunk.subarray(from, to);
    if (this.#heldBytes === 0) return rest;
    this.#hold(rest, 0);
    const bytes = this.#held.subarray(0, this.#heldBytes);
    this.#held = none;
    this.#heldBytes = 0;
    return bytes;
  }

  /** Copies: a few bytes of each of very many chunks would keep all of these in memory. */
  #hold(chunk: Uint8Array, from: number): void {
    const sizeBytes = this.#heldBytes + chunk.length - from;
    if (sizeBytes > this.#held.length) {
      const larger = new Uint8Array(Math.max(sizeBytes, Math.min(2 * this.#held.length, this.#held.length + maxGrowthBytes)));
      larger.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = larger;
    }
    this.#held.set(from === 0 ? chunk : chunk.subarray(from), this.#heldBytes);
    this.#heldBytes = sizeBytes;
  }
}

/** What was held is doubled up to this much at a time: an event of megabytes shall not take twice its size. */
const maxGrowthBytes = 4 * 1024 * 1024;

/** Bytes of the mark at the beginning of a stream, or `undefined` while more may come of it. */
function marked(bytes: Uint8Array): number | undefined {
  for (let i = 0; i < byteOrderMark.length; i++) {
    if (i === bytes.length) return undefined;
    if (bytes[i] !== byteOrderMark[i]) return 0;
  }
  return byteOrderMark.length;
}

function comment(raw: Uint8Array): SseBlock {
  return { kind: 'comment', raw, envelope: raw };
}

/** Finds the next CR or LF. Remembers where the next of each is: most streams have only one of them, and would be searched to their end for each line. */
class LineEnds {
  readonly #bytes: Uint8Array;
  #lf: number;
  #cr: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#lf = bytes.indexOf(lf, at);
    this.#cr = bytes.indexOf(cr, at);
  }

  /** -1: there is none. Positions must not go back. */
  from(at: number): number {
    if (this.#lf >= 0 && this.#lf < at) this.#lf = this.#bytes.indexOf(lf, at);
    if (this.#cr >= 0 && this.#cr < at) this.#cr = this.#bytes.indexOf(cr, at);
    return this.#lf < 0 || (this.#cr >= 0 && this.#cr < this.#lf) ? this.#cr : this.#lf;
  }
}

interface Line {
  from: number;
  /** Where its value begins; `to` where it has none. */
  valueFrom: number;
  to: number;
  /** Behind its line end. */
  next: number;
}

/** Calls `each` for every line of a block that is neither blank nor a comment. The last one may lack its end. */
function eachField(bytes: Uint8Array, each: (line: Line) => void): void {
  const ends = new LineEnds(bytes, 0);
  for (let at = 0; at < bytes.length;) {
    const found = ends.from(at);
    const to = found < 0 ? bytes.length : found;
    const next = found < 0 ? to : bytes[to] === cr && bytes[to + 1] === lf ? to + 2 : to + 1;
    if (to > at && bytes[at] !== colon) {
      // the names that mean something have at most five letters
      let nameTo = at;
      while (nameTo < to && nameTo - at < 6 && bytes[nameTo] !== colon) nameTo++;
      const valueFrom = nameTo === to ? to : bytes[nameTo + 1] === space && nameTo + 1 < to ? nameTo + 2 : nameTo + 1;
      each({ from: at, valueFrom, to, next });
    }
    at = next;
  }
}

/** Whether a line's name is `name`. */
function isNamed(bytes: Uint8Array, line: Line, name: string): boolean {
  const end = line.from + name.length;
  if (end > line.to || (end < line.to && bytes[end] !== colon)) return false;
  for (let i = 0; i < name.length; i++) if (bytes[line.from + i] !== name.charCodeAt(i)) return false;
  return true;
}

function read(raw: Uint8Array, isRest: boolean): SseBlock {
  const block: SseBlock = { kind: isRest ? 'rest' : 'fields', raw, envelope: raw };
  const values: [from: number, to: number][] = [];
  eachField(raw, (line) => {
    if (isNamed(raw, line, 'data')) values.push([line.valueFrom, line.to]);
    else if (isNamed(raw, line, 'event')) {
      if (line.valueFrom < line.to) block.event = lossyText(raw.subarray(line.valueFrom, line.to));
      else delete block.event;
    } else if (isNamed(raw, line, 'id')) {
      const value = raw.subarray(line.valueFrom, line.to);
      if (!value.includes(0)) block.id = lossyText(value);
    } else if (isNamed(raw, line, 'retry')) {
      const value = lossyText(raw.subarray(line.valueFrom, line.to));
      if (/^[0-9]+$/.test(value)) block.retryMs = Number(value);
    }
  });
  if (values.length === 0) return block;
  const outside: Uint8Array[] = [];
  let at = 0;
  let sizeBytes = 0;
  for (const [from, to] of values) {
    outside.push(raw.subarray(at, from));
    at = to;
    sizeBytes += to - from;
  }
  outside.push(raw.subarray(at));
  block.envelope = joined(outside, raw.length - sizeBytes);
  block.data = values.length === 1 ? raw.subarray(values[0]![0], at) : joinedLines(raw, values, sizeBytes);
  // two `data` lines without a value are one line end, which is a byte
  if (!isRest) block.kind = block.data.length === 0 ? 'empty' : 'event';
  return block;
}

function joined(parts: readonly Uint8Array[], sizeBytes: number): Uint8Array {
  const whole = new Uint8Array(sizeBytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function joinedLines(raw: Uint8Array, values: readonly (readonly [from: number, to: number])[], sizeBytes: number): Uint8Array {
  const whole = new Uint8Array(sizeBytes + values.length - 1).fill(lf);
  let at = 0;
  for (const [from, to] of values) {
    whole.set(raw.subarray(from, to), at);
    at += to - from + 1;
  }
  return whole;
}

/**
 * The `raw` of a block again, from its envelope and its data: each `data` line of the envelope gets the next line of the data behind it. `undefined` where
 * they do not belong together: the envelope has another number of `data` lines than the data has lines, or what it has is not what an envelope has.
 */
export function joinSse(envelope: Uint8Array, data: Uint8Array | undefined): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  let at = 0;
  let dataFrom: number | undefined = data === undefined ? undefined : 0;
  let fits = true;
  eachField(envelope, (line) => {
    if (!fits || !isNamed(envelope, line, 'data')) return;
    fits = dataFrom !== undefined && line.valueFrom === line.to;
    if (!fits) return;
    const end = data!.indexOf(lf, dataFrom);
    const value = data!.subarray(dataFrom, end < 0 ? data!.length : end);
    // a `data` line without a colon has no value to take
    fits = value.length === 0 || line.to - line.from > 4;
    parts.push(envelope.subarray(at, line.to), value);
    at = line.to;
    dataFrom = end < 0 ? undefined : end + 1;
  });
  if (!fits || dataFrom !== undefined) return undefined;
  parts.push(envelope.subarray(at));
  return parts.length === 1 ? envelope : concatMany(parts);
}

function concatMany(parts: readonly Uint8Array[]): Uint8Array {
  return joined(
    parts,
    parts.reduce((sum, part) => sum + part.length, 0),
  );
}
