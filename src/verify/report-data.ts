/**
 * The data of a report (`spec/evidence.md`): a head and chunks, which stand as base64 in the page. Everything here only reads: nothing of it is believed before
 * `report.ts` has held it against the checkpoint. What is damaged is read as far as it goes, so that a finding can name the record.
 */
import { base64, concat, equal, fromBase64, utf8Text } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { saltBytes } from '../entry/commitment.ts';
import { reportBlockEntries, reportChunkBytes, reportChunkHashes } from '../limits.ts';
import { hashBytes } from '../tlog/tree.ts';
import { rightOf, type Subtree } from './range.ts';

/** A report's data, from a page or a file. */
export interface ReportSource {
  /** What stands in the head's element. */
  head(): Promise<string | undefined>;
  /** What stands in the element of a chunk. */
  chunk(name: string): Promise<string | undefined>;
  /** Names of all chunks that are there. */
  names(): readonly string[];
}

/** Up to 1,000 entries, and their content. */
export interface ReportBlock {
  first: number;
  last: number;
  entries: number;
  /** Chunk `content-<k>` is there. */
  content: boolean;
}

/** As JSON at most `readingChars`; what stands in it is looked at by whoever goes by it. */
export interface ReportReading {
  sensitive?: string[];
  write?: string[];
  read?: string[];
  ignore?: string[];
  servers?: Record<string, unknown>;
  entities?: Record<string, unknown>;
  rules?: Record<string, unknown>;
}

export interface ReportHead {
  sworn: 1;
  /** The note. */
  checkpoint: string;
  /** The range: the hashes of all its entries are here. */
  first: number;
  end: number;
  /** Entries outside of the range that are here too: [from, to). */
  context: [number, number][];
  /** The key that signed the checkpoint, and those of witnesses, as far as the maker knew them. */
  vkey?: string;
  witnesses: string[];
  isWithheld: boolean;
  /** Entries of the range that are not shown were left out by this line of `sworn log`'s words; empty: none is. */
  filter: string;
  /** What was asked for, as times; absent where the period is open. */
  since?: string;
  until?: string;
  /** Entries that the ledger had beyond the checkpoint. */
  later: number;
  madeAt: string;
  version: string;
  /** What the maker called the ledger. */
  name: string;
  /** How the maker's page makes rows of entries (`AnalysisOptions`): what tools do, what names a thing, which findings are left out. Nothing of the evidence depends on it. */
  reading?: ReportReading;
  blocks: ReportBlock[];
  /** By name: bytes when unzipped, and the SHA-256 of the bytes as they stand in the page, in base64. */
  chunks: Record<string, { sizeBytes: number; sha256: string }>;
}

const isCount = (one: unknown): one is number => Number.isSafeInteger(one) && (one as number) >= 0;
const isText = (one: unknown, most: number): one is string => typeof one === 'string' && one.length <= most;
const isObject = (one: unknown): one is Record<string, unknown> => typeof one === 'object' && one !== null && !Array.isArray(one);

const readingChars = 100_000;

function isReading(reading: unknown): boolean {
  if (!isObject(reading) || JSON.stringify(reading).length > readingChars) return false;
  const { sensitive, write, read, ignore, servers, entities, rules } = reading;
  const lists = [sensitive, write, read, ignore].filter((one) => one !== undefined);
  return (
    lists.every((list) => Array.isArray(list) && list.every((one) => isText(one, 10_000))) &&
    [servers, entities, rules].every((one) => one === undefined || isObject(one))
  );
}

/** The head, or what is wrong with it. Never throws. */
export function parseReportHead(crypto: Crypto, text: string): ReportHead | string {
  const bytes = fromBase64(text);
  if (!bytes || bytes.length < hashBytes) return 'the head of the data is damaged: it is no base64';
  const json = bytes.subarray(hashBytes);
  // tells damage, not forgery: whoever writes another head writes its hash too
  if (!equal(crypto.sha256(json), bytes.subarray(0, hashBytes))) return 'the head of the data was changed: it does not have its hash';
  let head: ReportHead;
  try {
    head = JSON.parse(utf8Text(json) ?? '') as ReportHead;
  } catch {
    return 'the head of the data is no JSON';
  }
  if (!isObject(head) || head.sworn !== 1) return 'the data is of another version';
  const { first, end, context, witnesses, blocks, chunks } = head;
  if (!isCount(first) || !isCount(end) || first >= end || !isCount(head.later)) return 'the head of the data names no range of entries';
  if (!isText(head.checkpoint, 1_000_000)) return 'the head of the data has no checkpoint';
  if (head.vkey !== undefined && !isText(head.vkey, 1_000)) return 'the head of the data names no key';
  if (!Array.isArray(witnesses) || witnesses.length > 100 || !witnesses.every((one) => isText(one, 1_000)))
    return 'the head of the data names no witnesses';
  if (typeof head.isWithheld !== 'boolean' || !isText(head.filter, 10_000) || !isText(head.madeAt, 40) || !isText(head.version, 40))
    return 'the head of the data lacks a field';
  for (const time of [head.since, head.until]) if (time !== undefined && !isText(time, 40)) return 'the head of the data names no period';
  if (!isText(head.name, 1_000) || !isObject(chunks) || !Array.isArray(context) || !Array.isArray(blocks))
    return 'the head of the data lacks a field';
  if (head.reading !== undefined && !isReading(head.reading)) return 'the head of the data reads entries in a way that is none';
  let after = 0;
  for (const run of context) {
    if (!Array.isArray(run) || run.length !== 2 || !run.every(isCount)) return 'the head of the data lists entries that are none';
    const [from, to] = run;
    if (from < after || from >= to || (from < end && to > first)) return 'the head of the data lists entries out of order';
    after = to;
  }
  let last = -1;
  for (const block of blocks) {
    if (!isObject(block) || ![block.first, block.last, block.entries].every(isCount) || typeof block.content !== 'boolean')
      return 'the head of the data lists a block that is none';
    if (block.first <= last || block.last < block.first || block.entries < 1 || block.entries > reportBlockEntries)
      return 'the head of the data lists blocks out of order';
    last = block.last;
  }
  if (head.isWithheld && blocks.some(({ content }) => content)) return 'the head of the data calls content withheld, and lists some';
  for (const chunk of Object.values(chunks))
    if (!isObject(chunk) || !isCount(chunk.sizeBytes) || chunk.sizeBytes > reportChunkBytes || fromBase64(String(chunk.sha256))?.length !== hashBytes)
      return 'the head of the data lists a chunk that is none';
  return head;
}

export interface Chunk {
  /** Unzipped; of what is damaged as much as could be read. */
  bytes: Uint8Array;
  /** It is the one that the head lists. */
  isWhole: boolean;
}

/** Memory for what is read one after the other: buffers of megabytes are given back late, and a browser keeps what a page once had. */
export class Room {
  #bytes = new Uint8Array(0);

  /** So many bytes, which hold anything; those of the last time are gone. */
  of(sizeBytes: number): Uint8Array {
    if (this.#bytes.length < sizeBytes) this.#bytes = new Uint8Array(sizeBytes);
    return this.#bytes.subarray(0, sizeBytes);
  }
}

/** A chunk, or `undefined` when it is not there. `room`: where its bytes go. Never throws. */
export async function readChunk(
  crypto: Crypto,
  source: ReportSource,
  { chunks }: ReportHead,
  name: string,
  room: Room = new Room(),
): Promise<Chunk | undefined> {
  const text = await source.chunk(name);
  if (text === undefined) return undefined;
  const listed = Object.hasOwn(chunks, name) ? chunks[name] : undefined;
  const mostBytes = listed?.sizeBytes ?? 0;
  const zipped = fromBase64(text);
  if (name.startsWith('hashes-')) {
    const bytes = zipped ?? fromBase64(text.replaceAll(/[^A-Za-z0-9+/=]/g, 'A')) ?? new Uint8Array(0);
    return { bytes, isWhole: zipped !== undefined && base64(crypto.sha256(zipped)) === listed?.sha256 && zipped.length === mostBytes };
  }
  if (zipped && base64(crypto.sha256(zipped)) === listed?.sha256) {
    const read = await unzipped(zipped, mostBytes, zipped.length, room.of(mostBytes));
    return { bytes: read.bytes, isWhole: read.isWhole && read.bytes.length === mostBytes };
  }
  const good = zipped ?? fromBase64(text.slice(0, Math.floor(text.search(/[^A-Za-z0-9+/]|$/) / 4) * 4)) ?? new Uint8Array(0);
  // in small pieces: what stands before the damage comes out
  const read = await unzipped(good, reportChunkBytes, 256);
  return { bytes: read.bytes, isWhole: false };
}

/** `into`: where it goes, if it is known how much it is; a copy of each piece beside it would double what a page holds meanwhile. */
async function unzipped(bytes: Uint8Array<ArrayBuffer>, mostBytes: number, pieceBytes: number, into?: Uint8Array): Promise<Chunk> {
  const stream = new DecompressionStream('gzip');
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  const write = async (): Promise<void> => {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      await writer.ready;
      await writer.write(bytes.subarray(at, at + pieceBytes));
    }
    await writer.close();
  };
  // what is wrong is met by the reader too
  const writing = write().catch(() => undefined);
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  let isWhole = true;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const kept = value.subarray(0, Math.max(0, mostBytes - sizeBytes));
      if (into === undefined) pieces.push(kept);
      else into.set(kept, sizeBytes);
      sizeBytes += kept.length;
      if (kept.length === value.length) continue;
      isWhole = false;
      await reader.cancel();
      break;
    }
  } catch {
    isWhole = false;
  }
  await writing;
  return { bytes: into === undefined ? concat(...pieces) : into.subarray(0, sizeBytes), isWhole };
}

// The hashes of the tree, from left to right

/**
 * Where the hashes of a report stand in the tree: of each entry of the range, and of each that is context, its leaf hash; of what lies between, the largest
 * complete subtrees.
 */
export class Places {
  readonly #runs: { from: number; to: number; at: number }[] = [];
  readonly #size: number;
  /** How many hashes there are. */
  readonly count: number;

  constructor({ first, end, context }: Pick<ReportHead, 'first' | 'end' | 'context'>, size: number) {
    this.#size = size;
    let at = 0;
    let after = 0;
    for (const [from, to] of [...context, [first, end] as const].sort((a, b) => a[0] - b[0])) {
      at += rightOf(after, from).length;
      this.#runs.push({ from, to, at });
      at += to - from;
      after = to;
    }
    this.count = at + rightOf(after, size).length;
  }

  *inOrder(): Generator<Subtree> {
    let after = 0;
    for (const { from, to } of this.#runs) {
      yield* rightOf(after, from);
      for (let index = from; index < to; index++) yield { level: 0, index };
      after = to;
    }
    yield* rightOf(after, this.#size);
  }

  /** Which hash is that of an entry; `undefined`: none. */
  of(index: number): number | undefined {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#runs[middle]!.to <= index) low = middle + 1;
      else high = middle;
    }
    const run = this.#runs[low];
    return run && run.from <= index ? run.at + index - run.from : undefined;
  }
}

/** Names of the chunks of so many hashes; a head may claim more than anybody has. */
export function* hashChunks(count: number): Generator<string> {
  for (let k = 0; k * reportChunkHashes < count; k++) yield `hashes-${k}`;
}

// Blocks

export interface BlockEntry {
  index: number;
  /** The stored bytes. */
  leaf: Uint8Array;
  /** It is here because shown ones need it, not because it was asked for. */
  isContext: boolean;
}

/** `[<16 digits>,<16 digits>,1],` is shorter. */
const runChars = 64;

/** The entries of a block, as far as they can be read; `undefined` when not even its first line can. */
export function decodeEntries(bytes: Uint8Array): { entries: BlockEntry[]; isWhole: boolean } | undefined {
  const head = bytes.indexOf(10);
  if (head > reportBlockEntries * runChars) return undefined;
  let runs: [number, number, number][];
  try {
    runs = JSON.parse(utf8Text(bytes.subarray(0, Math.max(0, head))) ?? '') as [number, number, number][];
  } catch {
    return undefined;
  }
  if (!Array.isArray(runs) || !runs.every((run) => Array.isArray(run) && run.length === 3 && run.every(isCount))) return undefined;
  const entries: BlockEntry[] = [];
  let at = head + 1;
  let after = 0;
  for (const [from, to, context] of runs) {
    if (from < after || to <= from || to - from > reportBlockEntries) return undefined;
    after = to;
    for (let index = from; index < to; index++) {
      const end = bytes.indexOf(10, at);
      if (end < 0 || entries.length >= reportBlockEntries) return { entries, isWhole: false };
      entries.push({ index, leaf: bytes.subarray(at, end), isContext: context === 1 });
      at = end + 1;
    }
  }
  return { entries, isWhole: at === bytes.length };
}

/** What is there of one segment of content. */
export type ReportItem =
  | { state: 'kept'; salt: Uint8Array; bytes: Uint8Array }
  /** Its hash alone: never stored, erased, or not given to this report. */
  | { state: 'dropped' | 'erased' | 'withheld'; hash: Uint8Array; sizeBytes: number };

export const itemStates = ['kept', 'dropped', 'erased', 'withheld'] as const;

/** A list of sizes has no more brackets and commas than there are entries, and salts and hashes behind it: what has is not parsed, for it becomes far longer. */
function areFew(json: Uint8Array, count: number, behindBytes: number): boolean {
  const most = count + Math.max(0, behindBytes) / saltBytes;
  let brackets = 0;
  let commas = 0;
  for (const byte of json) {
    if (byte === 0x5b) brackets++;
    else if (byte === 0x2c) commas++;
  }
  return brackets <= most + 1 && commas <= most;
}

/**
 * The content of a block's entries, of which there are `count`: the items of each, attributes first; `undefined` for one whose content is not here, and where the chunk
 * ends early. Whole: it holds just that.
 */
export function decodeContent(bytes: Uint8Array, count: number): { items: (ReportItem[] | undefined)[]; isWhole: boolean } {
  const none = { items: [], isWhole: false };
  if (bytes.length < 4) return none;
  const jsonBytes = ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
  if (!areFew(bytes.subarray(4, 4 + jsonBytes), count, bytes.length - 4 - jsonBytes)) return none;
  let sizes: (([number, number] | number)[] | null)[];
  try {
    sizes = JSON.parse(utf8Text(bytes.subarray(4, 4 + jsonBytes)) ?? '') as typeof sizes;
  } catch {
    return none;
  }
  const isItem = (one: unknown): boolean =>
    isCount(one) || (Array.isArray(one) && one.length === 2 && one.every(isCount) && one[0]! > 0 && one[0]! < itemStates.length);
  if (!Array.isArray(sizes) || !sizes.every((list) => list === null || (Array.isArray(list) && list.every(isItem)))) return none;
  let secretsBytes = 0;
  for (const list of sizes) for (const one of list ?? []) secretsBytes += typeof one === 'number' ? saltBytes : hashBytes;
  let secretAt = 4 + jsonBytes;
  let at = secretAt + secretsBytes;
  const items = sizes.map((list) => {
    if (list === null) return undefined;
    let isThere = true;
    const own = list.map((one): ReportItem => {
      const length = typeof one === 'number' ? saltBytes : hashBytes;
      const secret = bytes.subarray(secretAt, (secretAt += length));
      if (typeof one !== 'number') return { state: itemStates[one[0]] as 'dropped' | 'erased' | 'withheld', hash: secret, sizeBytes: one[1] };
      isThere &&= secret.length === length && at + one <= bytes.length;
      return { state: 'kept', salt: secret, bytes: bytes.subarray(at, (at += one)) };
    });
    return isThere ? own : undefined;
  });
  return { items, isWhole: sizes.length === count && at === bytes.length };
}
