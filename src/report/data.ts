/** Writes the data of a report (`spec/evidence.md`) chunk by chunk; `verify/report-data.ts` reads it. What is in the ledger goes in as it is: judging is the reader's. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { equal, utf8 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { segmentHash } from '../entry/commitment.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { reportBlockBytes, reportBlockEntries, reportChunkHashes, reportContentBytes } from '../limits.ts';
import { readEntries } from '../readers/entries.ts';
import { Segment, type Content } from '../readers/payload.ts';
import type { PublishedLog } from '../readers/published.ts';
import { hashBytes } from '../tlog/tree.ts';
import { contentCounts } from '../verify/content.ts';
import { itemStates, Places, type ReportHead, type ReportItem } from '../verify/report-data.ts';
import type { Chosen } from './choose.ts';

/** What the ledger does not say itself. */
export type ReportMade = Pick<
  ReportHead,
  'witnesses' | 'isWithheld' | 'filter' | 'since' | 'until' | 'later' | 'madeAt' | 'version' | 'name' | 'reading'
>;

export interface ReportData {
  head: ReportHead;
  /** Of the head's element. */
  headText: string;
  contentBytes: number;
  /** Entries whose content could not be read. */
  lacking: number;
}

/** Entries that are read though they are not wanted, rather than looking for the next one anew. */
const readOver = 2_000;

type StoredItem = Content['frame'][number];

/**
 * Writes all chunks by way of `emit`, and gives the head. Memory holds one block.
 *
 * @throws SwornError `ledger-corrupt` where a tile or bundle of the published tree is missing
 */
export async function writeReportData(
  log: PublishedLog,
  chosen: Chosen,
  made: ReportMade,
  emit: (name: string, text: string) => void,
): Promise<ReportData> {
  const { first, end } = chosen;
  const head: ReportHead = {
    sworn: 1,
    checkpoint: new TextDecoder().decode(log.note),
    first,
    end,
    context: runsOutside(chosen),
    ...(log.vkey === undefined ? {} : { vkey: log.vkey }),
    ...made,
    blocks: [],
    chunks: {},
  };
  const put = (name: string, bytes: Uint8Array, isZipped: boolean): void => {
    const zipped = isZipped ? gzipSync(bytes) : Buffer.from(bytes);
    head.chunks[name] = { sizeBytes: bytes.length, sha256: createHash('sha256').update(zipped).digest('base64') };
    emit(name, zipped.toString('base64'));
  };
  writeHashes(log, head, put);
  const data: ReportData = { head, headText: '', contentBytes: 0, lacking: 0 };
  let block = new Block();
  const close = (): void => {
    if (block.count === 0) return;
    const k = head.blocks.length;
    const content = block.content();
    put(`entries-${k}`, block.entries(), true);
    if (content) put(`content-${k}`, content, true);
    head.blocks.push({ first: block.first, last: block.last, entries: block.count, content: content !== undefined });
    block = new Block();
  };
  for await (const { index, leaf, items } of presentEntries(log, chosen, made.isWithheld)) {
    block.add(index, chosen.marks[index] === 2, leaf, items);
    if (items === 'lacking') data.lacking++;
    else for (const item of items ?? []) if (item.state === 'kept') data.contentBytes += item.bytes.length;
    if (block.count === reportBlockEntries || block.sizeBytes >= reportBlockBytes) close();
  }
  close();
  const json = utf8(JSON.stringify(head));
  data.headText = Buffer.concat([nodeCrypto.sha256(json), json]).toString('base64');
  return data;
}

function runsOutside({ first, end, marks }: Chosen): [number, number][] {
  const runs: [number, number][] = [];
  for (const [index, mark] of marks.entries()) {
    if (mark === 0 || (index >= first && index < end)) continue;
    const last = runs.at(-1);
    if (last?.[1] === index) last[1]++;
    else runs.push([index, index + 1]);
  }
  return runs;
}

function writeHashes(log: PublishedLog, head: ReportHead, put: (name: string, bytes: Uint8Array, isZipped: boolean) => void): void {
  const places = new Places(head, log.size);
  let held = Buffer.alloc(Math.min(places.count, reportChunkHashes) * hashBytes);
  let at = 0;
  let k = 0;
  for (const { level, index } of places.inOrder()) {
    held.set(log.subtree(level, index), at);
    at += hashBytes;
    if (at < held.length) continue;
    // hashes do not become shorter
    put(`hashes-${k++}`, held, false);
    held = Buffer.alloc(Math.min(Math.max(0, places.count - k * reportChunkHashes), reportChunkHashes) * hashBytes);
    at = 0;
  }
}

interface Present {
  index: number;
  leaf: Uint8Array;
  /** Absent: it has no content, or all content is withheld. */
  items: ReportItem[] | 'lacking' | undefined;
}

/** The chosen entries in order, as the published bundles have them, with their content from the segments. */
async function* presentEntries(log: PublishedLog, { marks }: Chosen, isWithheld: boolean): AsyncGenerator<Present> {
  for (const [from, to] of stretches(marks)) {
    if (isWithheld) {
      for (let index = from; index < to; index++) if (marks[index] !== 0) yield { index, leaf: log.leaf(index), items: undefined };
      continue;
    }
    let next = from;
    for await (const { index, leaf: stored, content } of readEntries(log.ledger, { from, to, content: true })) {
      // a ledger that lacks records still has its published entries
      for (; next < index; next++) if (marks[next] !== 0) yield { index: next, leaf: log.leaf(next), items: 'lacking' };
      next = index + 1;
      if (marks[index] === 0) continue;
      const leaf = log.leaf(index);
      const entry = readEntry(leaf);
      const counts = entry instanceof EntryProblem ? undefined : contentCounts(entry);
      const isNone = counts !== undefined && counts.attributes + counts.segments === 0;
      if (isNone) yield { index, leaf, items: undefined };
      else if (content === undefined || counts === undefined || !equal(stored, leaf))
        yield { index, leaf, items: counts === undefined ? undefined : 'lacking' };
      else yield { index, leaf, items: itemsOf(log.ledger, [...content.attributeItems, ...content.frame]) };
    }
    for (; next < to; next++) if (marks[next] !== 0) yield { index: next, leaf: log.leaf(next), items: 'lacking' };
  }
}

function* stretches(marks: Uint8Array): Generator<[number, number]> {
  let from = -1;
  let to = -1;
  for (const [index, mark] of marks.entries()) {
    if (mark === 0) continue;
    if (from >= 0 && index - to > readOver) {
      yield [from, to];
      from = -1;
    }
    if (from < 0) from = index;
    to = index + 1;
  }
  if (from >= 0) yield [from, to];
}

/** Items as a report holds them; of content that is too long for it, or that is not there, the hashes. */
function itemsOf(ledger: string, stored: readonly StoredItem[]): ReportItem[] {
  let sizeBytes = 0;
  for (const item of stored) sizeBytes += item.state === 'kept' ? item.bytes.length : item.sizeBytes;
  const isTooLong = sizeBytes > reportContentBytes;
  return stored.map((item): ReportItem => {
    if (item.state === 'kept') {
      if (!isTooLong) return item;
      return { state: 'withheld', hash: segmentHash(nodeCrypto, item.salt, item.bytes), sizeBytes: item.bytes.length };
    }
    const { hash, sizeBytes: length } = item;
    if (item.state !== 'part') return { state: item.state, hash, sizeBytes: length };
    const segment = isTooLong ? undefined : Segment.open(ledger, item.file);
    try {
      const part = segment?.part(item.offset);
      if (part && !part.erased) return { state: 'kept', salt: part.salt, bytes: part.bytes };
      return { state: part?.erased ? 'erased' : 'withheld', hash, sizeBytes: length };
    } finally {
      segment?.close();
    }
  });
}

/** A block while it is filled. */
class Block {
  readonly #runs: [number, number, number][] = [];
  readonly #leaves: Uint8Array[] = [];
  readonly #sizes: (([number, number] | number)[] | null)[] = [];
  readonly #secrets: Uint8Array[] = [];
  readonly #bytes: Uint8Array[] = [];
  #hasContent = false;
  first = 0;
  last = 0;
  count = 0;
  sizeBytes = 0;

  add(index: number, isContext: boolean, leaf: Uint8Array, items: ReportItem[] | 'lacking' | undefined): void {
    if (this.count++ === 0) this.first = index;
    this.last = index;
    const run = this.#runs.at(-1);
    const mark = isContext ? 1 : 0;
    if (run?.[1] === index && run[2] === mark) run[1]++;
    else this.#runs.push([index, index + 1, mark]);
    this.#leaves.push(leaf);
    this.sizeBytes += leaf.length;
    if (items === undefined) {
      this.#sizes.push([]);
      return;
    }
    this.#hasContent = true;
    if (items === 'lacking') {
      this.#sizes.push(null);
      return;
    }
    this.#sizes.push(
      items.map((item) => {
        if (item.state !== 'kept') {
          this.#secrets.push(item.hash);
          return [itemStates.indexOf(item.state), item.sizeBytes];
        }
        this.#secrets.push(item.salt);
        this.#bytes.push(item.bytes);
        this.sizeBytes += item.bytes.length;
        return item.bytes.length;
      }),
    );
  }

  entries(): Uint8Array {
    const line = Uint8Array.of(10);
    return Buffer.concat([utf8(JSON.stringify(this.#runs)), line, ...this.#leaves.flatMap((leaf) => [leaf, line])]);
  }

  /** `undefined`: none of the entries has any. */
  content(): Uint8Array | undefined {
    if (!this.#hasContent) return undefined;
    const sizes = utf8(JSON.stringify(this.#sizes));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(sizes.length);
    // salts apart: they do not become shorter, and would break up what does
    return Buffer.concat([length, sizes, ...this.#secrets, ...this.#bytes]);
  }
}
