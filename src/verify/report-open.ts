/** Single entries of a report after it was verified: a block is unzipped when one of its entries is asked for, and each is held against its hash and commitments again. */
import { equal } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import type { Entry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { putBack, withGaps, type Rests } from '../entry/rest.ts';
import { hashLeaf } from '../tlog/tree.ts';
import { contentCounts } from './content.ts';
import { decodeContent, decodeEntries, readChunk, type BlockEntry, type ReportHead, type ReportItem, type ReportSource } from './report-data.ts';
import { attributesOf, checkItems, frameOf, stretchOf, type ReportEntry, type RestPiece } from './report-entry.ts';

interface Piece extends RestPiece {
  at: number;
}

interface OpenBlock {
  entries: BlockEntry[];
  items: (ReportItem[] | undefined)[];
}

export class ReportOpener {
  readonly #crypto: Crypto;
  readonly #source: ReportSource;
  readonly #head: ReportHead;
  readonly #hashOf: (index: number) => Uint8Array | undefined;
  readonly #rests: Rests;
  /** Whoever looks around stays in one block mostly. */
  #block: Promise<OpenBlock | undefined> | undefined;
  #k = -1;

  /**
   * `hashOf`: the hash of an entry that leads to the root of the checkpoint; `undefined`: there is none. `rests`: what erasures of the report have stored again, known
   * when all of it was read.
   */
  constructor(crypto: Crypto, source: ReportSource, head: ReportHead, hashOf: (index: number) => Uint8Array | undefined, rests: Rests) {
    this.#crypto = crypto;
    this.#source = source;
    this.#head = head;
    this.#hashOf = hashOf;
    this.#rests = rests;
  }

  /** The entry, or `undefined` when it is not in the report, or cannot be read. */
  async open(index: number): Promise<ReportEntry | undefined> {
    const found = await this.#find(index);
    if (!found) return undefined;
    const { seen, items } = found;
    const { entry } = seen;
    if (entry.kind !== 'message' && entry.kind !== 'batch') return seen;
    if (entry.kind === 'batch' || entry.batch === undefined)
      return { ...seen, frame: frameOf(entry, items, await this.#restsOf(index, entry, items)) };
    // what is no batch may name itself
    const batch = await this.#find(entry.batch);
    if (batch?.seen.entry.kind !== 'batch' || !entry.range) return seen;
    const frame = frameOf(batch.seen.entry, batch.items, await this.#restsOf(entry.batch, batch.seen.entry, batch.items));
    return { ...seen, frame: stretchOf(frame, entry.range), isVerified: seen.isVerified && batch.seen.isVerified };
  }

  /** An entry with its items, where these fit to it. */
  async #find(index: number): Promise<{ seen: ReportEntry; items: ReportItem[] | undefined } | undefined> {
    const k = this.#head.blocks.findIndex(({ first, last }) => first <= index && index <= last);
    if (k < 0) return undefined;
    if (this.#k !== k) {
      this.#k = k;
      this.#block = this.#read(k);
    }
    const block = await this.#block;
    const place = block?.entries.findIndex((one) => one.index === index) ?? -1;
    if (!block || place < 0) return undefined;
    const { leaf, isContext } = block.entries[place]!;
    const entry = readEntry(leaf);
    if (entry instanceof EntryProblem) return undefined;
    const leafHash = hashLeaf(this.#crypto, leaf);
    const listed = this.#hashOf(index);
    const given = block.items[place];
    const holds = given === undefined || checkItems(this.#crypto, entry, given).problems.length === 0;
    const items = holds ? given : undefined;
    const attributes = items ? attributesOf(entry, items) : {};
    const isVerified = listed !== undefined && equal(listed, leafHash) && holds;
    return { seen: { index, leaf, leafHash, entry, isContext, attributes, isVerified }, items };
  }

  /** What is left of the erased segments of a frame, by their position. */
  async #restsOf(index: number, entry: Entry, items: readonly ReportItem[] | undefined): Promise<ReadonlyMap<number, RestPiece[]> | undefined> {
    if (!items || this.#rests.isEmpty) return undefined;
    const found = new Map<number, RestPiece[]>();
    for (const [k, item] of items.slice(contentCounts(entry).attributes).entries())
      if (item.state === 'erased' && this.#rests.of(index, k).length > 0) found.set(k, await this.#piecesOf(index, k, item.sizeBytes));
    return found;
  }

  /** A rest may have been erased in part later, and so on: each time by an entry further behind. */
  async #piecesOf(index: number, segment: number, sizeBytes: number): Promise<Piece[]> {
    const pieces: Piece[] = [];
    for (const rest of this.#rests.of(index, segment)) {
      if (rest.index <= index) continue;
      const found = await this.#find(rest.index);
      const own = found?.items?.[contentCounts(found.seen.entry).attributes + rest.segment];
      if (!found?.seen.isVerified || !own) continue;
      const inside: Piece[] =
        own.state === 'kept'
          ? [{ at: 0, sizeBytes: own.bytes.length, bytes: own.bytes }]
          : await this.#piecesOf(rest.index, rest.segment, own.sizeBytes);
      const cut = ({ bytes }: Piece, from: number, length: number, at: number): Piece => ({
        at,
        sizeBytes: length,
        ...(bytes ? { bytes: bytes.subarray(from, from + length) } : {}),
      });
      pieces.push(...putBack(inside, rest.ranges, cut));
    }
    return withGaps(pieces, sizeBytes, (at, length): Piece => ({ at, sizeBytes: length }));
  }

  async #read(k: number): Promise<OpenBlock | undefined> {
    const chunk = await readChunk(this.#crypto, this.#source, this.#head, `entries-${k}`);
    const entries = chunk && decodeEntries(chunk.bytes)?.entries;
    if (!entries) return undefined;
    const content = this.#head.blocks[k]!.content ? await readChunk(this.#crypto, this.#source, this.#head, `content-${k}`) : undefined;
    return { entries, items: content ? decodeContent(content.bytes, entries.length).items : [] };
  }
}
