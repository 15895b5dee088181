/**
 * Checks a ledger against its checkpoint, from the stored bytes alone (`spec/ledger.md`, `spec/entry.md`, C2SP tlog-tiles, tlog-checkpoint).
 *
 * One pass in the order of the leaves: each entry is read from its bundle, hashed into a tree of our own, compared with every tile that covers it, parsed
 * strictly, held against its payload record and the commitments in it, and against the rules between entries. Memory does not grow with content.
 *
 * What nothing covers, so that no verifier can notice a change there: records that are not yet signed, when their checksum is made anew; an incomplete last
 * record; parts of frames that were never finished; the length of an attribute whose bytes are not kept, and of several such stretches of a frame all but
 * the sum; signature lines of strangers on the checkpoint; files that are no part of the log (`run/`, other names in `payload/`, tiles beyond the records).
 */
import { base64, equal, hex } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { explainedBy } from '../entry/dropped.ts';
import type { Custody, Entry, PruneEntry } from '../entry/entry.ts';
import { commitmentOf, segmentHash } from '../entry/commitment.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { tileWidth } from '../limits.ts';
import { formatVkey, type Vkey } from '../tlog/note.ts';
import { tilePath, TileStack, type Tile } from '../tlog/tile.ts';
import { emptyRoot, hashBytes, hashLeaf, rootOfHashes } from '../tlog/tree.ts';
import { Anchors, type Witnessed } from './anchors.ts';
import { Case } from './case.ts';
import { Erasures, type List } from './erasures.ts';
import { noOpeners, type Openers } from './encryption.ts';
import type { Exit, Finding } from './finding.ts';
import { Keys } from './keys.ts';
import { isContinued } from './known.ts';
import { hashAt, LogFiles, type Block } from './log-files.ts';
import { findPruned, prunedText, type Pruned } from './pruned.ts';
import type { EntryRecord, Item } from './payload.ts';
import { Records } from './records.ts';
import { Sequences } from './sequence.ts';
import { Signed } from './signed.ts';
import type { Source } from './source.ts';
import {
  RangeCollector,
  rangesOf,
  RowReader,
  segmentAt,
  type Cursor,
  type RangeCommon,
  type RangeFacts,
  type RangeTask,
  type Spread,
  type StoredPart,
  type Waiting,
} from './spread.ts';

export interface VerifyOptions {
  crypto: Crypto;
  source: Source;
  /** Keys that the caller knows for this ledger. Empty: the key that the ledger names itself is used, and reported as not pinned. */
  vkeys?: readonly Vkey[];
  /** A size and root that were seen before: the ledger must continue from there. */
  known?: { size: number; root: Uint8Array };
  /** The origin that the caller expects. */
  origin?: string;
  /** Called about every 256 entries, or once for each range. */
  progress?: (done: number, total: number) => void;
  /** Opens encrypted payload segments. Without it their content is not checked, and reported so. */
  openers?: Openers;
  /** Who else can check ranges of it, for a ledger that is large. The result is the same. */
  spread?: Spread;
}

export interface Verification {
  /** DESIGN of the command: 0 holds, 1 tampered, 3 cannot conclude, 4 policy, 5 fork or rollback. */
  exit: Exit;
  origin: string | undefined;
  /** Under the checkpoint. */
  size: number;
  /** Of the checkpoint, 32 bytes. */
  root: Uint8Array | undefined;
  /** The key whose signature holds. */
  vkey: string | undefined;
  /** The known keys, and those that follow from them: each is endorsed by the one before. */
  vkeys: string[];
  /** Whether that key, or one that it follows from, came from the caller. */
  pinned: boolean;
  /** Whether the tree that was rebuilt has the signed root. */
  rootHolds: boolean;
  /** Entries beyond the checkpoint that are whole in the payload. */
  laterRecords: number;
  /** Cosignatures that stand in the ledger, oldest first; not checked here (`judgeAnchors`), but that they are about this tree. */
  witnessed: Witnessed[];
  connections: number;
  openConnections: number;
  messages: number;
  lostFrames: number;
  missingUnits: number;
  repliesToNothing: number;
  /** Segments that were erased, of so many entries, and how many `erasure` entries there are. */
  erasedSegments: number;
  erasedEntries: number;
  erasures: number;
  /** What is pruned, and the entry that says it. */
  pruned: Pruned | undefined;
  /** Segments whose bytes are not kept, without a word in their entry why; their hashes still count. */
  droppedSegments: number;
  /** Segments that were never stored, as their entries say: redaction or capture rules. Their hashes still count. */
  neverStored: number;
  /** Bytes of content that were held against a commitment. */
  contentBytes: number;
  /** Files that are encrypted, and could not be opened: their content was not checked. */
  unopenedSegments: number;
  /** The weakest custody of all connections. */
  custody: Custody | undefined;
  /** The lowest leaf that something is wrong with. */
  firstBad: number | undefined;
  /** So many leading entries are proven: signed, whole, and as recorded. */
  holdsThrough: number;
  findings: Finding[];
  /** Findings beyond those listed. */
  findingsOmitted: number;
  checked: string[];
  notChecked: string[];
}

/** Verifies a whole ledger. Never throws for anything that is in it; an error of the source becomes a finding. */
export async function verifyLedger({ spread, ...options }: VerifyOptions): Promise<Verification> {
  // where the first bundle is gone an entry may say why
  const pruned = (await isThere(options.source, 0)) ? undefined : await findPruned(options.source);
  if (spread) {
    const result = await new Verifier(options, pruned).runSpread(spread);
    // what is wrong is said by the sequential pass alone: see spread.ts
    if (result?.exit === 0) return result;
  }
  const result = await new Verifier(options, pruned).run();
  if (pruned || result.exit === 0 || !result.findings.some(({ code }) => code === 'bundle-missing' || code === 'segment-missing')) return result;
  // a pruning that a crash cut off: what goes first may be there again
  const late = await findPruned(options.source);
  return late === undefined ? result : new Verifier(options, late).run();
}

async function isThere(source: Source, n: number): Promise<boolean> {
  try {
    return (await source.bundle(n, tileWidth)) !== undefined;
  } catch {
    return true;
  }
}

/** Checks one range (`spread.ts`). `cursor` is where the last range ended that was checked here. `undefined`: something is odd in it. */
export async function checkRange(
  options: Pick<VerifyOptions, 'crypto' | 'source' | 'openers'>,
  task: RangeTask,
  common: RangeCommon,
  cursor?: Cursor,
): Promise<{ facts: RangeFacts; cursor: Cursor | undefined } | undefined> {
  return new Verifier(options).range(task, common, cursor);
}

class Verifier {
  readonly #options: VerifyOptions;
  readonly #case: Case;
  readonly #files: LogFiles;
  readonly #signed: Signed;
  readonly #records: Records;
  readonly #keys: Keys;
  readonly #anchors: Anchors;
  readonly #sequences: Sequences;
  readonly #erasures = new Erasures();
  #stack: TileStack | undefined;
  /** Tiles that the last leaf completed. */
  #completed: Tile[] = [];
  #rootHolds = false;
  #provenByTiles = false;
  #knownHolds = false;
  #sequenceWhole = true;
  #later = 0;
  #dropped = 0;
  #firstDropped: number | undefined;
  #neverStored = 0;
  #contentBytes = 0;
  /** While a range is checked: what takes the place of the rules between entries. */
  #range: RangeCollector | undefined;
  /** Items that name parts outside of the range, of the list that is being judged. */
  #elsewhere: Waiting['parts'] = [];

  /** What is stated to be pruned: nothing of it is asked for but hashes. */
  readonly #pruned: Pruned | undefined;
  readonly #first: number;
  #isStated = false;
  /** The last bound that an entry states. */
  #lastEnd = 0;

  constructor(options: VerifyOptions, pruned?: Pruned) {
    this.#pruned = pruned;
    this.#first = pruned?.entry.end ?? 0;
    this.#options = options;
    const known = (this.#case = new Case(options));
    this.#files = new LogFiles(known);
    this.#keys = new Keys(known.crypto, known.findings);
    this.#signed = new Signed(known, this.#files, this.#keys, options, pruned?.entry.vkey);
    this.#records = new Records(known, options.openers ?? noOpeners, this.#first);
    this.#anchors = new Anchors(known.crypto, known.findings);
    this.#sequences = new Sequences(known.findings);
  }

  async run(): Promise<Verification> {
    await this.#signed.open();
    this.#records.open(await this.#records.names());
    this.#stack = TileStack.empty(this.#case.crypto);
    this.#compareKnown(0);
    await this.#takePruned(async (_, hashes) => {
      for (let k = 0; k < tileWidth && this.#stack; k++) {
        const completed = this.#stack.append(hashAt(hashes, k).slice());
        for (const tile of completed) if (tile.level > 0) await this.#files.compareTile(tile.level, tile.n, tile.bytes, tile.width);
        this.#compareKnown(this.#stack.size);
      }
    });
    return this.#runFrom(this.#first);
  }

  /** The hashes of what was pruned, tile by tile, and what must be known of it behind it. */
  async #takePruned(take: (n: number, hashes: Uint8Array) => Promise<void>): Promise<void> {
    if (!this.#pruned) return;
    const { entry, index } = this.#pruned;
    this.#records.next = this.#first;
    this.#sequences.restate(this.#first, entry.connections);
    this.#keys.restate(entry);
    this.#case.say('note', 'pruned', prunedText(this.#pruned), { index });
    const { widths } = this.#case.source;
    for (let n = 0; n * tileWidth < this.#first; n++) {
      const path = `log/${tilePath(0, n)}`;
      const hashes = await this.#case.reading(path, () => this.#case.source.tile(0, n, tileWidth));
      if (hashes?.length !== tileWidth * hashBytes) {
        const what = hashes === undefined ? 'is missing' : `has ${hashes.length} bytes, not ${tileWidth * hashBytes}`;
        const severity = hashes === undefined ? 'missing' : 'tampered';
        this.#case.say(severity, hashes === undefined ? 'tile-missing' : 'tile', `${path} ${what}`, { index: n * tileWidth, path });
        this.#stack = undefined;
        return;
      }
      const listed = widths && (await this.#case.reading(`log/${tilePath('entries', n)}`, () => widths.call(this.#case.source, 'entries', n)));
      if (listed && listed.length > 0) this.#records.leftOver ??= n * tileWidth;
      await take(n, hashes);
      if (n % tileWidth === 0) this.#options.progress?.(n * tileWidth, this.#case.size);
    }
  }

  /** Goes on from `first`, with everything as it stands there. */
  async #runFrom(first: number): Promise<Verification> {
    const { progress } = this.#options;

    let block: Block | undefined;
    let index = first;
    for (; ; index++) {
      const n = Math.floor(index / tileWidth);
      const isSigned = index < this.#case.size;
      const record = this.#records.inMemory(index) ?? (await this.#records.at(index));
      if (!isSigned && record === undefined) break;
      if (block?.n !== n) {
        block = await this.#files.loadBlock(n);
        progress?.(index, this.#case.size);
        if (isSigned && !record && this.#records.isOver && !block.entries && !block.hashes) {
          // Nothing is left to read. A checkpoint may claim any size: do not count up to it.
          this.#stack = undefined;
          this.#sequenceWhole = false;
          break;
        }
      }
      this.#leaf(index, isSigned, block, record);
      if (block.leaves.length === tileWidth) this.#files.compareBundles(block);
      if (this.#completed.length > 0) await this.#compareCompleted(block);
      if (!isSigned) this.#later++;
      if (index + 1 === this.#case.size) this.#compareRoot();
      this.#compareKnown(index + 1);
    }
    progress?.(index, this.#case.size);
    await this.#finish(block);
    return this.#result();
  }

  // In ranges

  /** All full bundles below the last entry in ranges, and the rest here. `undefined`: it is not worth it, or something is odd. */
  async runSpread(spread: Spread): Promise<Verification | undefined> {
    await this.#signed.open();
    const begin = this.#first;
    const end = Math.floor((this.#case.size - 1) / tileWidth) * tileWidth;
    if (this.#case.size - begin < spread.least || end <= begin || this.#case.ledgerId === undefined || this.#case.findings.exit !== 0)
      return undefined;
    const names = await this.#records.names();
    if (this.#records.isAsked && !(names && names.length > 0 && names[0]!.first <= begin)) return undefined;
    // something of what was pruned is still there, and has to be told
    if (names && segmentAt(names, begin) > 0) return undefined;
    const { known } = this.#options;
    const wantedBlock = known && known.size % tileWidth !== 0 && known.size > begin ? Math.floor(known.size / tileWidth) : undefined;
    this.#stack = TileStack.empty(this.#case.crypto);
    this.#compareKnown(0);

    /** Its leaves are the roots of bundles, so its tiles are those of the next level. */
    const above = TileStack.empty(this.#case.crypto);
    await this.#takePruned(async (n, hashes) => {
      const leaves = Array.from({ length: tileWidth }, (_, k) => hashAt(hashes, k));
      await this.#takeRoot(n, rootOfHashes(this.#case.crypto, leaves), hashes, above);
    });
    if (this.#case.findings.exit !== 0) return undefined;
    /** Where the last range ended; of the first one it is told where it begins. */
    let ended: number | undefined;
    let done = begin;
    try {
      for await (const facts of spread.check(rangesOf(end, spread.entries, names, begin), {
        size: this.#case.size,
        ledgerId: this.#case.ledgerId,
        names,
        begin,
        wantedBlock,
      })) {
        if (facts?.first !== done || (facts.from !== ended && !(done === begin && begin > 0))) return undefined;
        await this.#takeRange(facts, above);
        if (this.#case.findings.exit !== 0) return undefined;
        done = facts.end;
        ended = facts.to;
        this.#options.progress?.(done, this.#case.size);
      }
    } catch {
      return undefined; // a thread that could not start, or died
    }
    if (done !== end) return undefined;
    this.#stack = TileStack.restore(this.#case.crypto, end, partialsAbove(above));
    if (names) {
      this.#records.open(names.slice(segmentAt(names, end)), ended === undefined ? undefined : { offset: ended, index: end });
      this.#records.next = end;
    }
    return this.#runFrom(end);
  }

  /** What a range has handed on, through the rules between entries, in order. */
  async #takeRange(facts: RangeFacts, above: TileStack): Promise<void> {
    const lacking = facts.lacking.values();
    const waiting = facts.waiting.values();
    let nextLacking = lacking.next().value;
    let nextWaiting = waiting.next().value;
    const rows = new RowReader(facts);
    for (let index = facts.first; index < facts.end; index++) {
      const entry = rows.entry(index);
      if (entry instanceof Uint8Array) this.#rules(index, readEntry(entry) as Entry);
      else if (entry) this.#sequences.add(index, entry);
      for (const list of rows.kept(index)) this.#erasures.note(index, list, 1, []);
      for (; nextLacking?.index === index; nextLacking = lacking.next().value)
        this.#erasures.note(index, nextLacking.list, nextLacking.kept, nextLacking.erased);
      for (; nextWaiting?.index === index; nextWaiting = waiting.next().value) this.#settle(nextWaiting);
      if ((index + 1) % tileWidth === 0) await this.#takeBundle(Math.floor(index / tileWidth), facts, above);
    }
    for (const [key, part] of facts.parts) this.#records.parts.set(key, part);
    this.#contentBytes += facts.contentBytes;
    this.#neverStored += facts.neverStored;
    this.#dropped += facts.dropped;
    this.#firstDropped ??= facts.firstDropped;
  }

  async #takeBundle(n: number, { first, roots, wanted }: RangeFacts, above: TileStack): Promise<void> {
    await this.#takeRoot(n, hashAt(roots, n - first / tileWidth), wanted, above);
  }

  /** The root of a bundle; `wanted`: its leaf hashes, where something inside it was known. */
  async #takeRoot(n: number, root: Uint8Array, wanted: Uint8Array | undefined, above: TileStack): Promise<void> {
    const { known } = this.#options;
    if (known && known.size % tileWidth !== 0 && Math.floor(known.size / tileWidth) === n && wanted) {
      const partials = partialsAbove(above);
      this.#compareKnown(known.size, () =>
        TileStack.restore(this.#case.crypto, known.size, (level, at, width) =>
          level === 0 ? wanted.subarray(0, width * hashBytes) : partials(level, at, width),
        ).root(),
      );
    }
    for (const { level, n: at, bytes, width } of above.append(root)) await this.#files.compareTile(level + 1, at, bytes, width);
    this.#compareKnown((n + 1) * tileWidth, () => above.root());
  }

  /** The parts of a frame that stand in ranges before that of its entry. */
  #settle({ index, list, leaf, count, kept, erased, parts }: Waiting): void {
    const entry = list === 'segments' ? (readEntry(leaf) as Entry) : undefined;
    const gone = [...erased];
    let there = kept;
    for (const { k, key, hash, sizeBytes } of parts) {
      const part = this.#records.parts.get(key);
      this.#records.parts.delete(key);
      const wrong = part === undefined ? 'is not there' : this.#partProblem(part, { hash, sizeBytes }, k, count, entry);
      if (wrong !== undefined) this.#case.say('tampered', 'part', `part ${k} of the frame of entry ${index} ${wrong}`, { index });
      else if (part!.hash) {
        this.#contentBytes += sizeBytes;
        there++;
      } else gone.push(k);
    }
    this.#erasures.note(
      index,
      list,
      there,
      gone.sort((a, b) => a - b),
    );
  }

  async range(task: RangeTask, common: RangeCommon, cursor?: Cursor): Promise<{ facts: RangeFacts; cursor: Cursor | undefined } | undefined> {
    const { first, end } = task;
    const range = (this.#range = new RangeCollector(this.#case.crypto, task, common.wantedBlock));
    this.#case.size = common.size;
    this.#case.ledgerId = common.ledgerId;
    this.#records.next = first;
    this.#stack = TileStack.empty(this.#case.crypto);
    const names = common.names?.filter((name) => name.first < end).slice(segmentAt(common.names, first));
    let from: number | undefined;
    if (names) {
      this.#records.isAsked = true;
      const segment = names[0]!.first;
      const isNear = segment !== first && cursor?.segment === segment && cursor.index <= first;
      const reader = this.#records.open(names, isNear ? cursor : undefined);
      if (segment !== first) {
        if (!(isNear && cursor.index === first) && !(await reader.skipTo(first, first > 0 && first === common.begin))) return undefined;
        from = reader.position.offset;
      }
    }
    let block: Block | undefined;
    for (let index = first; index < end; index++) {
      const n = Math.floor(index / tileWidth);
      const record = this.#records.inMemory(index) ?? (await this.#records.at(index));
      if (block?.n !== n) block = await this.#files.loadBlock(n);
      this.#leaf(index, true, block, record);
      if (block.leaves.length === tileWidth) this.#files.compareBundles(block);
      if (this.#completed.length > 0) await this.#compareCompleted(block);
      if (this.#case.findings.counts.size > 0) return undefined;
    }
    let to: number | undefined;
    if (names) {
      if (common.names!.some((name) => name.first === end)) {
        // the next range begins with a segment: what else is in this one stands behind its last record
        if ((await this.#records.read()) !== undefined) return undefined;
      } else {
        const { segment, offset } = this.#records.reader!.position;
        if (segment !== names.at(-1)!.first) return undefined;
        to = offset;
        await this.#records.reader!.close();
      }
    }
    // what cannot be opened is said by the sequential pass alone
    if (!this.#sequenceWhole || this.#case.findings.counts.size > 0 || this.#records.unopened.size > 0) return undefined;
    const facts: RangeFacts = {
      ...range.facts(),
      parts: [...this.#records.parts],
      from,
      to,
      contentBytes: this.#contentBytes,
      neverStored: this.#neverStored,
      dropped: this.#dropped,
      firstDropped: this.#firstDropped,
    };
    return { facts, cursor: to === undefined ? undefined : { segment: names!.at(-1)!.first, index: end, offset: to } };
  }

  // One leaf

  #leaf(index: number, isSigned: boolean, block: Block, record: EntryRecord | undefined): void {
    const k = index % tileWidth;
    const crypto = this.#case.crypto;
    const bundleLeaf = isSigned ? block.entries?.[k] : undefined;
    let leaf = bundleLeaf ?? record?.leaf;
    let hash = leaf && hashLeaf(crypto, leaf);
    const tile = isSigned ? block.hashes : undefined;
    let recordAgrees = record !== undefined && bundleLeaf === undefined;
    if (record && bundleLeaf) recordAgrees = (crypto.equal ?? equal)(record.leaf, bundleLeaf);

    if (hash && tile && !isHashAt(tile, k, hash)) {
      const tileHash = hashAt(tile, k);
      // Bundle and tile differ. The payload's copy of the leaf is the third voice; without it the tile is believed, and the signed root judges.
      const recordHash = record && bundleLeaf && !recordAgrees ? hashLeaf(crypto, record.leaf) : undefined;
      block.named.add(index);
      if (recordHash && equal(recordHash, tileHash)) {
        this.#case.say('tampered', 'bundle', `entry ${index} in its bundle is not the one that was recorded`, {
          index,
          path: `log/${tilePath('entries', block.n)}`,
        });
        leaf = record!.leaf;
        hash = recordHash;
        recordAgrees = true;
      } else if (!recordAgrees) {
        this.#case.say('tampered', 'bundle', `entry ${index} in its bundle does not match its tile`, {
          index,
          path: `log/${tilePath('entries', block.n)}`,
        });
        hash = tileHash;
      }
    } else if (record && bundleLeaf && !recordAgrees) {
      this.#case.say('tampered', 'leaf', `entry ${index} in the payload is not the one in the log`, { index, path: record.segment.path });
    }
    hash ??= tile && hashAt(tile, k);

    if (hash === undefined) this.#stack = undefined;
    this.#completed = this.#stack && hash ? (this.#range ?? this.#stack).append(hash) : [];
    if (leaf === undefined) {
      block.complete = false;
      this.#sequenceWhole = false;
      block.leaves.push(new Uint8Array(0));
      return;
    }
    // Beyond the checkpoint the leaf is a view into a payload buffer, which must not be kept for the sake of a few hundred bytes.
    block.leaves.push(isSigned && bundleLeaf ? leaf : leaf.slice());

    const entry = readEntry(leaf);
    if (entry instanceof EntryProblem) {
      const severity = entry.problem === 'unsupported' ? 'missing' : 'tampered';
      this.#case.say(
        severity,
        severity === 'missing' ? 'entry-unsupported' : 'entry',
        `entry ${index} is ${entry.problem === 'field' ? 'a ' : ''}${entry.message}`,
        { index },
      );
      this.#sequenceWhole = false;
      return;
    }
    if (this.#range) this.#range.take(index, entry, leaf);
    else this.#rules(index, entry);
    if (record?.unopened) this.#records.noteUnopened(record);
    else if (record && recordAgrees) this.#content(index, entry, record);
  }

  /** What an entry means to those before and behind it. */
  #rules(index: number, entry: Entry): void {
    if (entry.kind === 'start') this.#start(index, entry);
    if (entry.kind === 'key') this.#keys.take(index, entry);
    if (entry.kind === 'anchor') this.#anchors.take(index, entry);
    if (entry.kind === 'erasure') this.#erasures.take(index, entry, this.#case.findings);
    if (entry.kind === 'prune') this.#prune(index, entry);
    // After an entry that could not be read every count would be off, and each a false alarm.
    if (this.#sequenceWhole) this.#sequences.add(index, entry);
  }

  #start(index: number, entry: Extract<Entry, { kind: 'start' }>): void {
    this.#case.ledgerId ??= entry.ledger;
    if (entry.ledger !== this.#case.ledgerId)
      this.#case.say('tampered', 'start', `entry ${index} starts another ledger (${entry.ledger})`, { index });
    if (this.#signed.checkpoint && entry.origin !== this.#signed.checkpoint.origin)
      this.#case.say('tampered', 'start', `entry ${index} names another origin than the checkpoint`, { index });
    this.#keys.start(index, entry);
  }

  #prune(index: number, entry: PruneEntry): void {
    if (entry.end > index || entry.end < this.#lastEnd)
      this.#case.say(
        'tampered',
        'reference',
        `entry ${index} prunes the entries below ${entry.end}, where ${Math.min(index, this.#lastEnd)} were to go`,
        {
          index,
        },
      );
    this.#lastEnd = Math.max(this.#lastEnd, entry.end);
    if (this.#pruned?.index === index && JSON.stringify(entry) === JSON.stringify(this.#pruned.entry)) this.#isStated = true;
  }

  // Content

  #content(index: number, entry: Entry, record: EntryRecord): void {
    const at = { index, path: record.segment.path };
    if (record.attributes.length !== (entry.attributes ?? 0)) {
      this.#case.say('tampered', 'content', `entry ${index} has ${entry.attributes ?? 0} attributes, its record ${record.attributes.length}`, at);
    } else if (record.attributes.length > 0) {
      const commitment = this.#commitment(index, record.attributes, record, 'attributes', undefined);
      if (commitment !== undefined && commitment !== entry.attributesCommitment) {
        this.#case.say('tampered', 'content', `the attributes of entry ${index} do not match their commitment`, at);
      }
    }
    // what an erasure stored again is bound by its own commitment, like a frame
    const frame = entry.kind === 'message' || entry.kind === 'batch' || entry.kind === 'erasure' ? entry : undefined;
    const count = frame?.segments ?? 0;
    if (record.segments.length !== count) {
      this.#case.say('tampered', 'content', `entry ${index} has ${count} segments, its record ${record.segments.length}`, at);
      return;
    }
    if (!frame || count === 0) return;
    let sizeBytes = 0;
    for (const item of record.segments) sizeBytes += item.sizeBytes;
    if (sizeBytes !== frame.sizeBytes)
      this.#case.say('tampered', 'content', `the frame of entry ${index} has ${frame.sizeBytes ?? 0} bytes, its segments ${sizeBytes}`, at);
    if (entry.kind === 'erasure' && !restsFit(entry, record.segments))
      this.#case.say('tampered', 'content', `the rests of entry ${index} have other lengths than their ranges`, at);
    const commitment = this.#commitment(index, record.segments, record, 'segments', entry);
    if (commitment !== undefined && commitment !== frame.commitment) {
      this.#case.say('tampered', 'content', `the frame of entry ${index} does not match its commitment`, at);
    }
  }

  /** The commitment over a record's items in base64; `undefined` when a part is not what its reference says, which is then a finding already. */
  #commitment(index: number, items: Item[], record: EntryRecord, list: List, frame: Entry | undefined): string | undefined {
    const hashes: Uint8Array[] = [];
    const erased: number[] = [];
    let kept = 0;
    let explained = frame?.kind === 'message' || frame?.kind === 'batch' ? explainedBy(frame, items.length) : 0;
    for (const [k, item] of items.entries()) {
      if (item.kind === 'kept') {
        hashes.push(segmentHash(this.#case.crypto, item.salt, item.bytes));
        this.#contentBytes += item.sizeBytes;
        kept++;
        continue;
      }
      hashes.push(item.hash);
      if (item.kind === 'dropped') {
        if (item.erased) {
          erased.push(k);
          continue;
        }
        if (explained-- > 0) {
          this.#neverStored++;
          continue;
        }
        this.#dropped++;
        this.#firstDropped ??= index;
        continue;
      }
      const key = `${item.file}:${item.offset}`;
      const part = this.#records.parts.get(key);
      this.#records.parts.delete(key);
      if (part === undefined && this.#range) {
        this.#elsewhere.push({ k, key, hash: item.hash, sizeBytes: item.sizeBytes });
        continue;
      }
      const wrong = part === undefined ? 'is not there' : this.#partProblem(part, item, k, items.length, frame);
      if (wrong !== undefined) {
        this.#case.say('tampered', 'part', `part ${k} of the frame of entry ${index} ${wrong}`, { index, path: record.segment.path });
        return undefined;
      }
      if (part!.hash) {
        this.#contentBytes += item.sizeBytes;
        kept++;
      } else if (!part!.unopened) erased.push(k);
    }
    if (this.#elsewhere.length > 0) {
      this.#range!.wait({ index, list, kept, erased, leaf: record.leaf, count: items.length, parts: this.#elsewhere });
      this.#elsewhere = [];
    } else (this.#range ?? this.#erasures).note(index, list, kept, erased);
    return base64(commitmentOf(this.#case.crypto, hashes));
  }

  #partProblem(
    part: StoredPart,
    item: Pick<Item & { kind: 'part' }, 'hash' | 'sizeBytes'>,
    k: number,
    count: number,
    entry: Entry | undefined,
  ): string | undefined {
    if (part.hash && !equal(part.hash, item.hash)) return 'does not match its hash';
    if (part.sizeBytes !== item.sizeBytes) return 'has another length';
    if (entry?.kind !== 'message' && entry?.kind !== 'batch') return undefined;
    if (part.connection !== entry.connection || part.direction !== entry.direction) return 'belongs to another connection or direction';
    const parts = entry.parts ?? 1;
    if (count === parts && part.unit !== entry.tapSeq - parts + 1 + k) return 'is another unit';
    return undefined;
  }

  // Tiles and bundles

  async #compareCompleted(block: Block): Promise<void> {
    for (const tile of this.#completed)
      await this.#files.compareTile(tile.level, tile.n, tile.bytes, tile.width, tile.level === 0 ? block.tiles : undefined);
  }

  #compareRoot(): void {
    if (!this.#stack || !this.#signed.checkpoint) return;
    this.#rootHolds = equal(this.#stack.root(), this.#signed.checkpoint.root);
    if (!this.#rootHolds) this.#case.say('tampered', 'root', 'the entries do not have the root that was signed', { path: 'log/checkpoint' });
  }

  #compareKnown(size: number, rootAt?: () => Uint8Array): void {
    const { known } = this.#options;
    if (!known || known.size !== size || !this.#stack) return;
    this.#knownHolds = isContinued((rootAt ?? (() => this.#stack!.root()))(), known, (...found) => this.#case.say(...found));
  }

  async #finish(block: Block | undefined): Promise<void> {
    const { known } = this.#options;
    this.#signed.settle();
    if (this.#signed.holds) this.#keys.finish();
    // what is read here was compared with the leaves already
    if (this.#stack) await this.#anchors.judge((level, n, width) => this.#files.hashesOf(level, n, width), this.#case.size);
    if (this.#signed.checkpoint?.size === 0) {
      this.#rootHolds = equal(emptyRoot(this.#case.crypto), this.#signed.checkpoint.root);
      if (!this.#rootHolds) this.#case.say('tampered', 'root', 'a checkpoint over no entries has another root', { path: 'log/checkpoint' });
    }
    if (this.#signed.checkpoint && known && known.size > this.#case.size) {
      this.#case.say(
        'rollback',
        'rollback',
        `the checkpoint covers ${this.#case.size} entries; ${known.size} were known: this is an older copy, or it was cut back`,
      );
    }
    if (block && block.leaves.length < tileWidth) this.#files.compareBundles(block);
    for (const tile of this.#stack?.partials() ?? []) {
      await this.#files.compareTile(tile.level, tile.n, tile.bytes, tile.width, tile.level === 0 && block?.n === tile.n ? block.tiles : undefined);
    }
    if (this.#records.isAsked && this.#case.size === 0 && this.#later === 0 && !this.#case.findings.has('checkpoint-missing')) {
      this.#case.say('missing', 'checkpoint-missing', 'there are no entries');
    }
    if (this.#dropped > 0) {
      const at = this.#firstDropped === undefined ? {} : { index: this.#firstDropped };
      this.#case.say(
        'tampered',
        'dropped',
        `the bytes of ${this.#dropped} segment(s) are not kept, and no entry says why; their hashes still hold`,
        at,
      );
    }
    const [unopened] = this.#records.unopened.values();
    if (unopened !== undefined) {
      this.#case.say(
        'missing',
        'encrypted',
        `content not checked: ${this.#records.unopened.size} segment(s) encrypted, and no key for them (${unopened})`,
        {
          path: [...this.#records.unopened.keys()][0]!,
        },
      );
    }
    if (this.#pruned && this.#sequenceWhole && !this.#isStated)
      this.#case.say('tampered', 'pruned', `entry ${this.#pruned.index} does not say what is pruned`, { index: this.#pruned.index });
    if (this.#records.leftOver !== undefined)
      this.#case.say('warning', 'prune-unfinished', `entries from ${this.#records.leftOver} on were to be pruned and are still there, unchecked`, {
        index: this.#records.leftOver,
      });
    if (this.#neverStored > 0) {
      this.#case.say(
        'note',
        'never-stored',
        `${this.#neverStored} stretches were never stored (redaction or capture rules); their hashes still hold`,
      );
    }
    // a recorder may have erased while we read: then what says so was written behind everything that we have seen
    if (!this.#erasures.areAllNamed) {
      await this.#records.readLater((index, leaf) => {
        const entry = readEntry(leaf);
        if (!(entry instanceof EntryProblem) && entry.kind === 'erasure') this.#erasures.take(index, entry, this.#case.findings);
      });
    }
    this.#erasures.finish(this.#case.findings, this.#sequenceWhole);
    if (this.#sequenceWhole) this.#sequences.finish();
    this.#provenByTiles =
      this.#signed.holds &&
      !this.#rootHolds &&
      this.#case.findings.firstBad !== undefined &&
      (await this.#files.tilesHold(this.#signed.checkpoint!.root));
  }

  #result(): Verification {
    const findings = this.#case.findings;
    const sequences = this.#sequences;
    const { known } = this.#options;
    const checkpoint = this.#signed.checkpoint;
    const checked: string[] = [];
    const notChecked: string[] = [];
    const proven =
      this.#signed.holds && (this.#rootHolds || this.#provenByTiles)
        ? this.#case.size
        : this.#knownHolds
          ? Math.min(known!.size, this.#case.size)
          : 0;
    if (this.#signed.holds) checked.push(`the checkpoint's signature by ${this.#signed.vkey!.name}+${hex(this.#signed.vkey!.keyId)}`);
    if (this.#case.size > 0 && this.#first === 0) checked.push(`every entry, bundle and tile under the checkpoint (${this.#case.size} entries)`);
    else if (this.#case.size > 0)
      checked.push(`every tile under the checkpoint, and every entry and bundle from ${this.#first} on (${this.#case.size - this.#first} entries)`);
    /** Nothing is said to be checked that was not there. */
    const hasEntries = this.#case.size + this.#later > 0;
    const hasRecords = this.#records.next > this.#first;
    if (hasRecords) {
      const what =
        this.#records.unopened.size === 0 ? 'every payload record against its entry and its commitments' : 'what could be opened of the payload';
      checked.push(`${what} (${this.#contentBytes} bytes of content)`);
    }
    if (this.#sequenceWhole && hasEntries) checked.push('counts, references, and the beginning and end of every connection');
    if (known && known.size > 0) checked.push(`that the ledger continues the ${known.size} entries known before`);

    if (this.#signed.isKeyNamed) notChecked.push('the key was taken from the ledger itself: whoever rewrote all of it could have put another key in');
    if (!known) notChecked.push('no earlier checkpoint is known: a ledger that was cut back, or replaced, cannot be told from a whole one');
    notChecked.push('no witness: a rewrite by whoever holds the key cannot be excluded');
    if (this.#signed.unknown > 0) notChecked.push(`${this.#signed.unknown} signature(s) on the checkpoint by keys that are not known`);
    if (!hasRecords) notChecked.push(`the content: ${this.#records.isAsked ? 'no record of it was read' : 'this source has no payload'}`);
    if (this.#later > 0)
      notChecked.push(`${this.#later} later record(s) are not yet signed: whoever can write to the ledger could have changed them`);
    if (this.#records.unopened.size > 0)
      notChecked.push(`the content of ${this.#records.unopened.size} encrypted segment(s) without a key: only that each record holds its entry`);
    if (this.#records.isTorn) notChecked.push('the incomplete last record');
    if (this.#dropped > 0) notChecked.push(`the bytes of ${this.#dropped} segment(s) that are not kept`);
    if (this.#erasures.segments > 0) notChecked.push(`what stood in ${this.#erasures.segments} segment(s) that were erased`);
    if (this.#first > 0) notChecked.push(`what stood in the first ${this.#first} entries, which were pruned`);
    if (this.#neverStored > 0) notChecked.push(`what stood in ${this.#neverStored} stretch(es) that were never stored`);
    if (this.#anchors.timestamps > 0)
      notChecked.push(`${this.#anchors.timestamps} timestamp(s) by authorities: openssl ts -verify checks them (spec/witness.md)`);
    if (this.#records.parts.size > 0) notChecked.push(`${this.#records.parts.size} part(s) of frames that were never finished`);
    if (!this.#sequenceWhole) notChecked.push('counts and references: not every entry could be read');
    if (hasEntries) notChecked.push('times: they are those of the recorder’s own clock');
    return {
      exit: findings.exit,
      origin: checkpoint?.origin,
      size: this.#case.size,
      root: checkpoint?.root,
      vkey: this.#signed.vkey && formatVkey(this.#case.crypto, this.#signed.vkey.name, this.#signed.vkey.publicKey),
      vkeys: this.#keys.vouched().map(({ name, publicKey }) => formatVkey(this.#case.crypto, name, publicKey)),
      pinned: this.#signed.isPinned && this.#signed.holds,
      rootHolds: this.#rootHolds,
      laterRecords: this.#later,
      witnessed: this.#anchors.witnessed(),
      connections: sequences.connections,
      openConnections: sequences.openConnections,
      messages: sequences.messages,
      lostFrames: sequences.lostFrames,
      missingUnits: sequences.missingUnits,
      repliesToNothing: sequences.repliesToNothing,
      erasedSegments: this.#erasures.segments,
      erasedEntries: this.#erasures.entries,
      erasures: this.#erasures.erasures,
      pruned: this.#pruned,
      droppedSegments: this.#dropped,
      neverStored: this.#neverStored,
      contentBytes: this.#contentBytes,
      unopenedSegments: this.#records.unopened.size,
      custody: sequences.custody,
      firstBad: findings.firstBad,
      holdsThrough: Math.min(proven, findings.firstBad ?? proven),
      findings: findings.list,
      findingsOmitted: findings.omitted,
      checked,
      notChecked,
    };
  }
}

/** Each rest is as long as its ranges are together. */
function restsFit({ rest = [] }: Extract<Entry, { kind: 'erasure' }>, segments: readonly Item[]): boolean {
  return rest.every(({ ranges }, k) => ranges.reduce((sum, [start, end]) => sum + end - start, 0) === segments[k]?.sizeBytes);
}

/** The partial tiles of a tree of which `above` holds all but the lowest level. */
function partialsAbove(above: TileStack): (level: number, n: number, width: number) => Uint8Array {
  const partials = above.partials();
  return (level, n, width) => partials.find((tile) => tile.level === level - 1 && tile.n === n && tile.width === width)?.bytes ?? new Uint8Array(0);
}

/** Without a view of it: this is asked for every entry. */
function isHashAt(tile: Uint8Array, k: number, hash: Uint8Array): boolean {
  const at = k * hashBytes;
  for (let i = 0; i < hashBytes; i++) if (tile[at + i] !== hash[i]) return false;
  return true;
}
