/** Single entries of a report after it was verified: a block is unzipped when one of its entries is asked for, and each is held against its hash and commitments again. */
import { equal } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { hashLeaf } from '../tlog/tree.ts';
import { decodeContent, decodeEntries, readChunk, type BlockEntry, type ReportHead, type ReportItem, type ReportSource } from './report-data.ts';
import { attributesOf, checkItems, frameOf, stretchOf, type ReportEntry } from './report-entry.ts';

interface OpenBlock {
  entries: BlockEntry[];
  items: (ReportItem[] | undefined)[];
}

export class ReportOpener {
  readonly #crypto: Crypto;
  readonly #source: ReportSource;
  readonly #head: ReportHead;
  readonly #hashOf: (index: number) => Uint8Array | undefined;
  /** Whoever looks around stays in one block mostly. */
  #block: Promise<OpenBlock | undefined> | undefined;
  #k = -1;

  /** `hashOf`: the hash of an entry that leads to the root of the checkpoint; `undefined`: there is none. */
  constructor(crypto: Crypto, source: ReportSource, head: ReportHead, hashOf: (index: number) => Uint8Array | undefined) {
    this.#crypto = crypto;
    this.#source = source;
    this.#head = head;
    this.#hashOf = hashOf;
  }

  /** The entry, or `undefined` when it is not in the report, or cannot be read. */
  async open(index: number): Promise<ReportEntry | undefined> {
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
    const seen: ReportEntry = {
      index,
      leaf,
      leafHash,
      entry,
      isContext,
      attributes: items ? attributesOf(entry, items) : {},
      isVerified: listed !== undefined && equal(listed, leafHash) && holds,
    };
    if (entry.kind !== 'message' && entry.kind !== 'batch') return seen;
    if (entry.kind === 'batch' || entry.batch === undefined) return { ...seen, frame: frameOf(entry, items) };
    const batch = await this.open(entry.batch);
    return batch?.frame && entry.range
      ? { ...seen, frame: stretchOf(batch.frame, entry.range), isVerified: seen.isVerified && batch.isVerified }
      : seen;
  }

  async #read(k: number): Promise<OpenBlock | undefined> {
    const chunk = await readChunk(this.#crypto, this.#source, this.#head, `entries-${k}`);
    const entries = chunk && decodeEntries(chunk.bytes)?.entries;
    if (!entries) return undefined;
    const content = this.#head.blocks[k]!.content ? await readChunk(this.#crypto, this.#source, this.#head, `content-${k}`) : undefined;
    return { entries, items: content ? decodeContent(content.bytes, entries.length).items : [] };
  }
}
