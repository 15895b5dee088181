/**
 * `Content-Encoding` (RFC 9110 §8.4) undone on a copy, for the record: what goes on goes on as it came. Incremental, so that an event of a compressed stream
 * is known before the next one; bounded, so that a bomb is an answer and not our end.
 */
import { constants, createBrotliDecompress, createGunzip, createInflate, createInflateRaw, createZstdDecompress, type Gunzip } from 'node:zlib';
import { concat } from '../bytes/bytes.ts';
import { contentCodings } from '../limits.ts';

/**
 * `unknown`: a coding that we do not know, or too many of them. `broken`: it ended early, is damaged, or goes on behind its end. `too-large`: more came out
 * than asked for. After one of them nothing more is decoded.
 */
export type Undecodable = 'unknown' | 'broken' | 'too-large';

export interface Decoded {
  /** All that could be decoded, in order; up to the bound. */
  bytes: Uint8Array;
  problem?: Undecodable;
}

type Coding = 'gzip' | 'deflate' | 'br' | 'zstd';

/** The codings in the order of their application, without `identity`; `undefined` where we do not know one. */
function codingsOf(contentEncoding: string | undefined): Coding[] | undefined {
  const codings: Coding[] = [];
  for (const word of (contentEncoding ?? '').split(',')) {
    const name = word.trim().toLowerCase();
    if (name === '' || name === 'identity') continue;
    const coding = name === 'x-gzip' ? 'gzip' : name;
    if (coding !== 'gzip' && coding !== 'deflate' && coding !== 'br' && coding !== 'zstd') return undefined;
    codings.push(coding);
  }
  return codings.length > contentCodings ? undefined : codings;
}

/** Whether anything has to be decoded at all: most bodies come as they are. */
export function isEncoded(contentEncoding: string | undefined): boolean {
  return codingsOf(contentEncoding)?.length !== 0;
}

/** Decodes a body or stream of one `Content-Encoding`. `push` and `end` must be awaited one after the other. */
export class ContentDecoder {
  readonly #stages: Stage[];
  readonly #maxBytes: number;
  #problem: Undecodable | undefined;

  /** `maxBytes`: what one push, or the end, may give at most. */
  constructor(contentEncoding: string | undefined, maxBytes: number) {
    const codings = codingsOf(contentEncoding);
    this.#maxBytes = maxBytes;
    this.#problem = codings === undefined ? 'unknown' : undefined;
    // what was applied last comes off first
    this.#stages = (codings ?? []).toReversed().map((coding) => new Stage(coding));
  }

  /** All that is complete with this chunk. */
  push(chunk: Uint8Array): Promise<Decoded> {
    return this.#run([chunk], false);
  }

  /** What the end completes, and whether it is the right one. */
  end(): Promise<Decoded> {
    return this.#run([], true);
  }

  /** Gives its memory back, also in the middle. */
  close(): void {
    for (const stage of this.#stages) stage.close();
  }

  async #run(chunks: readonly Uint8Array[], isEnd: boolean): Promise<Decoded> {
    let bytes = chunks;
    if (this.#problem !== undefined) return { bytes: new Uint8Array(0), problem: this.#problem };
    for (const stage of this.#stages) {
      // oxlint-disable-next-line no-await-in-loop -- each reads what the one before it wrote
      const decoded = await stage.run(bytes, isEnd, this.#maxBytes);
      bytes = decoded.chunks;
      // of two damaged ones, the first that was met
      this.#problem ??= decoded.problem;
    }
    if (this.#problem !== undefined || isEnd) this.close();
    const whole = bytes.length === 1 ? bytes[0]! : concat(...bytes);
    if (whole.length > this.#maxBytes) this.#problem = 'too-large';
    return { bytes: whole.subarray(0, this.#maxBytes), ...(this.#problem === undefined ? {} : { problem: this.#problem }) };
  }
}

/** A whole body; at most `maxBytes` of it. */
export async function decodeContent(body: Uint8Array, contentEncoding: string | undefined, maxBytes: number): Promise<Decoded> {
  const decoder = new ContentDecoder(contentEncoding, maxBytes);
  const first = await decoder.push(body);
  if (first.problem !== undefined) return first;
  const last = await decoder.end();
  const whole = last.bytes.length === 0 ? first.bytes : concat(first.bytes, last.bytes);
  const problem = whole.length > maxBytes ? 'too-large' : last.problem;
  return { bytes: whole.subarray(0, maxBytes), ...(problem === undefined ? {} : { problem }) };
}

/** One coding. Its stream is made with the first byte: `deflate` is known by it. */
class Stage {
  readonly #coding: Coding;
  #stream: Gunzip | undefined;
  /** Bytes that it was given. */
  #given = 0;
  /** The coding's own end was met. */
  #ended = false;
  #problem: 'broken' | 'too-large' | undefined;
  #chunks: Uint8Array[] = [];
  #room = 0;
  #wake: () => void = () => undefined;

  constructor(coding: Coding) {
    this.#coding = coding;
  }

  async run(
    input: readonly Uint8Array[],
    isEnd: boolean,
    maxBytes: number,
  ): Promise<{ chunks: Uint8Array[]; problem: 'broken' | 'too-large' | undefined }> {
    this.#chunks = [];
    this.#room = maxBytes;
    for (const chunk of input) {
      if (chunk.length === 0 || this.#problem !== undefined) continue;
      if (this.#ended) this.#problem = 'broken';
      else {
        this.#stream ??= this.#open(chunk[0]!);
        this.#given += chunk.length;
        // oxlint-disable-next-line no-await-in-loop -- a stream takes one chunk at a time
        await this.#until((done) => this.#stream!.write(chunk, () => done()));
      }
    }
    // no byte at all is an empty body, whatever its coding
    if (isEnd && this.#stream !== undefined && !this.#ended && this.#problem === undefined) {
      await this.#until(() => this.#stream!.end());
    }
    return { chunks: this.#chunks, problem: this.#problem };
  }

  /** A stream that meets its end, or damage, may never call back; one that is ended says so before it has looked at its last bytes. */
  #until(step: (done: () => void) => void): Promise<void> {
    return new Promise((done) => {
      this.#wake = done;
      step(done);
    });
  }

  close(): void {
    this.#stream?.destroy();
  }

  #open(first: number): Gunzip {
    const stream = decoderOf(this.#coding, first);
    stream.on('data', (bytes: Buffer) => {
      if (this.#problem !== undefined) return;
      this.#chunks.push(bytes.length > this.#room ? bytes.subarray(0, this.#room + 1) : bytes);
      this.#room -= bytes.length;
      if (this.#room >= 0) return;
      this.#problem = 'too-large';
      stream.destroy();
      this.#wake();
    });
    stream.on('end', () => {
      this.#ended = true;
      // bytes that nobody reads: they are in the message and not in what it says
      if (stream.bytesWritten < this.#given) this.#problem ??= 'broken';
      this.#wake();
    });
    stream.on('error', () => {
      this.#problem ??= 'broken';
      this.#wake();
    });
    stream.on('close', () => this.#wake());
    return stream;
  }
}

function decoderOf(coding: Coding, first: number): Gunzip {
  const zlib = { flush: constants.Z_SYNC_FLUSH };
  if (coding === 'gzip') return createGunzip(zlib);
  if (coding === 'br') return createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH });
  if (coding === 'zstd') return createZstdDecompress();
  // the standard's `deflate` begins with zlib's header, whose low four bits are 8; some servers send it without
  return (first & 0x0f) === 8 ? createInflate(zlib) : createInflateRaw(zlib);
}
