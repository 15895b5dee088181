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
import { parseCheckpoint, type ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { formatVkey, openNote, parseNote, parseVkey, type Vkey } from '../tlog/note.ts';
import { decodeBundle, encodeBundle, tilePath, TileStack, tileWidthAt, type Tile } from '../tlog/tile.ts';
import { emptyRoot, hashBytes, hashLeaf, rootOfHashes } from '../tlog/tree.ts';
import { Erasures, type List } from './erasures.ts';
import { Anchors, type Witnessed } from './anchors.ts';
import { noOpeners, type Openers } from './encryption.ts';
import { Findings, type Exit, type Finding, type FindingCode } from './finding.ts';
import { Keys } from './keys.ts';
import { isContinued } from './known.ts';
import { findPruned, prunedText, type Pruned } from './pruned.ts';
import { PayloadReader, type EntryRecord, type Header, type Item, type PartRecord, type Trouble } from './payload.ts';
import { Sequences } from './sequence.ts';
import type { SegmentName, Source } from './source.ts';
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

interface StoredFile {
  width: number;
  bytes: Uint8Array;
}

interface Block {
  n: number;
  tiles: StoredFile[];
  bundles: StoredFile[];
  /** Entries of the bundle that the checkpoint needs; `undefined` when there is none that can be read. */
  entries: Uint8Array[] | undefined;
  /** Hashes of the tile that the checkpoint needs. */
  hashes: Uint8Array | undefined;
  /** Leaves as used, to compare with all bundle files; `undefined` where no leaf was found. */
  leaves: Uint8Array[];
  complete: boolean;
  /** Entries of the bundle that already have a finding of their own. */
  named: Set<number>;
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
  readonly #crypto: Crypto;
  readonly #source: Source;
  readonly #options: VerifyOptions;
  readonly #findings = new Findings();
  readonly #sequences = new Sequences(this.#findings);
  readonly #erasures = new Erasures();
  #checkpoint: ParsedCheckpoint | undefined;
  readonly #keys: Keys;
  readonly #anchors: Anchors;
  #vkey: Vkey | undefined;
  /** A checkpoint that none of the known keys signed. */
  #unsettled: Uint8Array | undefined;
  #pinned = false;
  #signatureHolds = false;
  #unknownSignatures = 0;
  #ledgerId: string | undefined;
  #stack: TileStack | undefined;
  /** Tiles that the last leaf completed. */
  #completed: Tile[] = [];
  #rootHolds = false;
  #provenByTiles = false;
  #knownHolds = false;
  #size = 0;
  #sequenceWhole = true;

  #payload: PayloadReader | undefined;
  #payloadAsked = false;
  #record: EntryRecord | undefined;
  #payloadEnded = true;
  /** Index that the next record should have. */
  #nextRecord = 0;
  #headerSince = false;
  #troubleSince = false;
  #firstOfSegment: Header | undefined;
  /** Index of the last entry without a record, so that a run of them is reported once. */
  #lastRunMissing = Number.NaN;
  #tornTail = false;
  readonly #parts = new Map<string, StoredPart>();
  #later = 0;
  #dropped = 0;
  #firstDropped: number | undefined;
  #neverStored = 0;
  #contentBytes = 0;
  /** Encrypted segments that could not be opened, and why. */
  readonly #unopened = new Map<string, string>();
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
  /** First entry that was to be pruned and is still there. */
  #leftOver: number | undefined;
  /** The segment that begins in the place of pruned records. */
  #prunedSegment: number | undefined;

  constructor(options: VerifyOptions, pruned?: Pruned) {
    this.#pruned = pruned;
    this.#first = pruned?.entry.end ?? 0;
    this.#options = options;
    this.#crypto = options.crypto;
    this.#source = options.source;
    this.#keys = new Keys(options.crypto, this.#findings);
    this.#anchors = new Anchors(options.crypto, this.#findings);
  }

  async run(): Promise<Verification> {
    await this.#openCheckpoint();
    this.#openPayload(await this.#segmentNames());
    this.#stack = TileStack.empty(this.#crypto);
    this.#compareKnown(0);
    await this.#takePruned(async (_, hashes) => {
      for (let k = 0; k < tileWidth && this.#stack; k++) {
        const completed = this.#stack.append(hashAt(hashes, k).slice());
        for (const tile of completed) if (tile.level > 0) await this.#compareTile(tile.level, tile.n, tile.bytes, tile.width);
        this.#compareKnown(this.#stack.size);
      }
    });
    return this.#runFrom(this.#first);
  }

  /** The hashes of what was pruned, tile by tile, and what must be known of it behind it. */
  async #takePruned(take: (n: number, hashes: Uint8Array) => Promise<void>): Promise<void> {
    if (!this.#pruned) return;
    const { entry, index } = this.#pruned;
    this.#nextRecord = this.#first;
    this.#sequences.restate(this.#first, entry.connections);
    this.#keys.restate(entry);
    this.#say('note', 'pruned', prunedText(this.#pruned), { index });
    const { widths } = this.#source;
    for (let n = 0; n * tileWidth < this.#first; n++) {
      const path = `log/${tilePath(0, n)}`;
      const hashes = await this.#reading(path, () => this.#source.tile(0, n, tileWidth));
      if (hashes?.length !== tileWidth * hashBytes) {
        const what = hashes === undefined ? 'is missing' : `has ${hashes.length} bytes, not ${tileWidth * hashBytes}`;
        const severity = hashes === undefined ? 'missing' : 'tampered';
        this.#say(severity, hashes === undefined ? 'tile-missing' : 'tile', `${path} ${what}`, { index: n * tileWidth, path });
        this.#stack = undefined;
        return;
      }
      const listed = widths && (await this.#reading(`log/${tilePath('entries', n)}`, () => widths.call(this.#source, 'entries', n)));
      if (listed && listed.length > 0) this.#leftOver ??= n * tileWidth;
      await take(n, hashes);
      if (n % tileWidth === 0) this.#options.progress?.(n * tileWidth, this.#size);
    }
  }

  /** Goes on from `first`, with everything as it stands there. */
  async #runFrom(first: number): Promise<Verification> {
    const { progress } = this.#options;

    let block: Block | undefined;
    let index = first;
    for (; ; index++) {
      const n = Math.floor(index / tileWidth);
      const isSigned = index < this.#size;
      const record = this.#nextInMemory(index) ?? (await this.#recordAt(index));
      if (!isSigned && record === undefined) break;
      if (block?.n !== n) {
        block = await this.#loadBlock(n);
        progress?.(index, this.#size);
        if (isSigned && !record && this.#payloadEnded && !this.#record && !block.entries && !block.hashes) {
          // Nothing is left to read. A checkpoint may claim any size: do not count up to it.
          this.#stack = undefined;
          this.#sequenceWhole = false;
          break;
        }
      }
      this.#leaf(index, isSigned, block, record);
      if (block.leaves.length === tileWidth) this.#compareBundles(block);
      if (this.#completed.length > 0) await this.#compareCompleted(block);
      if (!isSigned) this.#later++;
      if (index + 1 === this.#size) this.#compareRoot();
      this.#compareKnown(index + 1);
    }
    progress?.(index, this.#size);
    await this.#finish(block);
    return this.#result();
  }

  #say(severity: Finding['severity'], code: FindingCode, message: string, at?: { index?: number; path?: string }): void {
    this.#findings.add(severity, code, message, at);
  }

  // In ranges

  /** All full bundles below the last entry in ranges, and the rest here. `undefined`: it is not worth it, or something is odd. */
  async runSpread(spread: Spread): Promise<Verification | undefined> {
    await this.#openCheckpoint();
    const begin = this.#first;
    const end = Math.floor((this.#size - 1) / tileWidth) * tileWidth;
    if (this.#size - begin < spread.least || end <= begin || this.#ledgerId === undefined || this.#findings.exit !== 0) return undefined;
    const names = await this.#segmentNames();
    if (this.#payloadAsked && !(names && names.length > 0 && names[0]!.first <= begin)) return undefined;
    // something of what was pruned is still there, and has to be told
    if (names && segmentAt(names, begin) > 0) return undefined;
    const { known } = this.#options;
    const wantedBlock = known && known.size % tileWidth !== 0 && known.size > begin ? Math.floor(known.size / tileWidth) : undefined;
    this.#stack = TileStack.empty(this.#crypto);
    this.#compareKnown(0);

    /** Its leaves are the roots of bundles, so its tiles are those of the next level. */
    const above = TileStack.empty(this.#crypto);
    await this.#takePruned(async (n, hashes) => {
      const leaves = Array.from({ length: tileWidth }, (_, k) => hashAt(hashes, k));
      await this.#takeRoot(n, rootOfHashes(this.#crypto, leaves), hashes, above);
    });
    if (this.#findings.exit !== 0) return undefined;
    /** Where the last range ended; of the first one it is told where it begins. */
    let ended: number | undefined;
    let done = begin;
    try {
      for await (const facts of spread.check(rangesOf(end, spread.entries, names, begin), {
        size: this.#size,
        ledgerId: this.#ledgerId,
        names,
        begin,
        wantedBlock,
      })) {
        if (facts?.first !== done || (facts.from !== ended && !(done === begin && begin > 0))) return undefined;
        await this.#takeRange(facts, above);
        if (this.#findings.exit !== 0) return undefined;
        done = facts.end;
        ended = facts.to;
        this.#options.progress?.(done, this.#size);
      }
    } catch {
      return undefined; // a thread that could not start, or died
    }
    if (done !== end) return undefined;
    this.#stack = TileStack.restore(this.#crypto, end, partialsAbove(above));
    if (names) {
      this.#openPayload(names.slice(segmentAt(names, end)), ended === undefined ? undefined : { offset: ended, index: end });
      this.#nextRecord = end;
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
    for (const [key, part] of facts.parts) this.#parts.set(key, part);
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
        TileStack.restore(this.#crypto, known.size, (level, at, width) =>
          level === 0 ? wanted.subarray(0, width * hashBytes) : partials(level, at, width),
        ).root(),
      );
    }
    for (const { level, n: at, bytes, width } of above.append(root)) await this.#compareTile(level + 1, at, bytes, width);
    this.#compareKnown((n + 1) * tileWidth, () => above.root());
  }

  /** The parts of a frame that stand in ranges before that of its entry. */
  #settle({ index, list, leaf, count, kept, erased, parts }: Waiting): void {
    const entry = list === 'segments' ? (readEntry(leaf) as Entry) : undefined;
    const gone = [...erased];
    let there = kept;
    for (const { k, key, hash, sizeBytes } of parts) {
      const part = this.#parts.get(key);
      this.#parts.delete(key);
      const wrong = part === undefined ? 'is not there' : this.#partProblem(part, { hash, sizeBytes }, k, count, entry);
      if (wrong !== undefined) this.#say('tampered', 'part', `part ${k} of the frame of entry ${index} ${wrong}`, { index });
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
    const range = (this.#range = new RangeCollector(this.#crypto, task, common.wantedBlock));
    this.#size = common.size;
    this.#ledgerId = common.ledgerId;
    this.#nextRecord = first;
    this.#stack = TileStack.empty(this.#crypto);
    const names = common.names?.filter((name) => name.first < end).slice(segmentAt(common.names, first));
    let from: number | undefined;
    if (names) {
      this.#payloadAsked = true;
      const segment = names[0]!.first;
      const isNear = segment !== first && cursor?.segment === segment && cursor.index <= first;
      const reader = this.#openPayload(names, isNear ? cursor : undefined);
      if (segment !== first) {
        if (!(isNear && cursor.index === first) && !(await reader.skipTo(first, first > 0 && first === common.begin))) return undefined;
        from = reader.position.offset;
      }
    }
    let block: Block | undefined;
    for (let index = first; index < end; index++) {
      const n = Math.floor(index / tileWidth);
      const record = this.#nextInMemory(index) ?? (await this.#recordAt(index));
      if (block?.n !== n) block = await this.#loadBlock(n);
      this.#leaf(index, true, block, record);
      if (block.leaves.length === tileWidth) this.#compareBundles(block);
      if (this.#completed.length > 0) await this.#compareCompleted(block);
      if (this.#findings.counts.size > 0) return undefined;
    }
    let to: number | undefined;
    if (names) {
      if (common.names!.some((name) => name.first === end)) {
        // the next range begins with a segment: what else is in this one stands behind its last record
        if ((await this.#readRecord()) !== undefined) return undefined;
      } else {
        const { segment, offset } = this.#payload!.position;
        if (segment !== names.at(-1)!.first) return undefined;
        to = offset;
        await this.#payload!.close();
      }
    }
    // what cannot be opened is said by the sequential pass alone
    if (!this.#sequenceWhole || this.#findings.counts.size > 0 || this.#unopened.size > 0) return undefined;
    const facts: RangeFacts = {
      ...range.facts(),
      parts: [...this.#parts],
      from,
      to,
      contentBytes: this.#contentBytes,
      neverStored: this.#neverStored,
      dropped: this.#dropped,
      firstDropped: this.#firstDropped,
    };
    return { facts, cursor: to === undefined ? undefined : { segment: names!.at(-1)!.first, index: end, offset: to } };
  }

  // Checkpoint and key

  async #openCheckpoint(): Promise<void> {
    const path = 'log/checkpoint';
    const bytes = await this.#reading(path, () => this.#source.checkpoint());
    if (bytes === undefined) {
      this.#say('missing', 'checkpoint-missing', 'there is no checkpoint: nothing is signed', { path });
      return;
    }
    const note = parseNote(bytes);
    const checkpoint = note && parseCheckpoint(note.text);
    if (!note || !checkpoint) {
      this.#say('missing', 'checkpoint-unreadable', 'the checkpoint is not a signed note over origin, size and root', { path });
      return;
    }
    this.#checkpoint = checkpoint;
    this.#size = checkpoint.size;
    if (this.#options.origin !== undefined && checkpoint.origin !== this.#options.origin) {
      this.#say('tampered', 'origin', `the checkpoint is of ${checkpoint.origin}, not of ${this.#options.origin}`, { path });
    }
    const id = /^sworn\.invalid\/([0-9a-f]{32})$/.exec(checkpoint.origin)?.[1];
    this.#ledgerId = id;
    if (checkpoint.size === 0) this.#say('missing', 'checkpoint-missing', 'the checkpoint covers no entry', { path });

    let vkeys = this.#options.vkeys ?? [];
    this.#pinned = vkeys.length > 0;
    if (!this.#pinned) {
      const named = await this.#namedKey(checkpoint);
      if (named === undefined) {
        this.#say('missing', 'key-unknown', 'no key is known for this ledger, and its first entries name none', { path });
        return;
      }
      vkeys = [named];
    }
    const opened = openNote(this.#crypto, bytes, vkeys);
    if ('problem' in opened) {
      this.#say('tampered', 'signature', opened.message, { path });
      return;
    }
    this.#unknownSignatures = opened.unknown.length;
    this.#keys.trust(vkeys);
    this.#vkey = opened.verified.find((vkey) => vkey.name === checkpoint.origin);
    if (this.#vkey) this.#signatureHolds = true;
    // entries may say which key came behind the one that is known
    else this.#unsettled = bytes;
  }

  /** The checkpoint is signed by a key that follows from those that are known, or by none. */
  #settleSignature(): void {
    const path = 'log/checkpoint';
    const bytes = this.#unsettled;
    if (bytes === undefined) return;
    const opened = openNote(this.#crypto, bytes, this.#keys.vouched());
    const { origin } = this.#checkpoint!;
    this.#vkey = 'problem' in opened ? undefined : opened.verified.find((vkey) => vkey.name === origin);
    if ('problem' in opened) this.#say('tampered', 'signature', opened.message, { path });
    else if (this.#vkey) {
      this.#signatureHolds = true;
      this.#unknownSignatures = opened.unknown.length;
    } else {
      const other = opened.unknown.find((signature) => signature.name === origin);
      if (other && this.#pinned) {
        this.#say('tampered', 'key-changed', `the checkpoint is signed by another key (${hex(other.keyId)}) than the one that is known`, { path });
      } else {
        this.#say('tampered', 'signature', 'the checkpoint has no signature by the key of its origin', { path });
      }
    }
  }

  /** The key that the ledger's first `start` entry names: believed only when nothing better is known, and said to be so. */
  async #namedKey(checkpoint: ParsedCheckpoint): Promise<Vkey | undefined> {
    if (this.#pruned) return parseVkey(this.#crypto, this.#pruned.entry.vkey);
    const width = tileWidthAt(checkpoint.size, 0, 0);
    const files = width === 0 ? [] : await this.#files('entries', 0, width);
    for (const file of files) {
      for (const leaf of decodeBundle(file.bytes) ?? []) {
        const entry = readEntry(leaf);
        if (entry instanceof EntryProblem || entry.kind !== 'start') continue;
        const vkey = parseVkey(this.#crypto, entry.vkey);
        if (vkey) return vkey;
      }
    }
    return undefined;
  }

  // Reading, with errors as findings

  async #reading<T>(path: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      this.#say('missing', 'unreadable', `${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`, { path });
      return undefined;
    }
  }

  /** All files of a tile or bundle that exist, narrowest first; without a listing, the one that the checkpoint needs, or the full one. */
  async #files(level: number | 'entries', n: number, needed: number): Promise<StoredFile[]> {
    const files = await this.#filesOnce(level, n, needed);
    // A live ledger takes partial files away once the full one is there, perhaps between our listing and our reading.
    return needed > 0 && !files.some((file) => file.width >= needed) ? this.#filesOnce(level, n, needed) : files;
  }

  async #filesOnce(level: number | 'entries', n: number, needed: number): Promise<StoredFile[]> {
    const read = (width: number) => (level === 'entries' ? this.#source.bundle(n, width) : this.#source.tile(level, n, width));
    const { widths } = this.#source;
    const listed = widths && (await this.#reading(`log/${tilePath(level, n)}`, () => widths.call(this.#source, level, n)));
    const wanted = listed ? listed.toSorted((a, b) => a - b) : [...new Set([needed, tileWidth])].filter((width) => width > 0);
    const files: StoredFile[] = [];
    for (const width of wanted) {
      const bytes = await this.#reading(`log/${tilePath(level, n, width)}`, () => read(width));
      if (bytes !== undefined) files.push({ width, bytes });
      if (!listed && bytes !== undefined) break;
    }
    return files;
  }

  /** At least `width` hashes of a tile, from whichever file has them; `undefined` where none has. */
  async #hashesOf(level: number, n: number, width: number): Promise<Uint8Array | undefined> {
    for (const wide of new Set([tileWidthAt(this.#size, level, n), tileWidth])) {
      if (wide < width) continue;
      const bytes = await this.#source.tile(level, n, wide).catch(() => undefined);
      if (bytes !== undefined && bytes.length >= width * hashBytes) return bytes.subarray(0, width * hashBytes);
    }
    return undefined;
  }

  async #loadBlock(n: number): Promise<Block> {
    const needed = tileWidthAt(this.#size, 0, n);
    const tiles = await this.#files(0, n, needed);
    const bundles = await this.#files('entries', n, needed);
    const block: Block = { n, tiles, bundles, entries: undefined, hashes: undefined, leaves: [], complete: true, named: new Set() };
    if (needed === 0) return block;
    const first = n * tileWidth;
    block.hashes = tiles.find((file) => file.width >= needed && file.bytes.length >= needed * hashBytes)?.bytes;
    const sufficient = bundles.filter((file) => file.width >= needed);
    for (const file of sufficient) {
      const entries = decodeBundle(file.bytes);
      if (entries?.length === file.width) {
        block.entries = entries;
        break;
      }
      const path = `log/${tilePath('entries', n, file.width)}`;
      const index = first + this.#rightEntries(file.bytes, block.hashes);
      this.#say('tampered', 'bundle', `${path} does not hold ${file.width} whole entries`, { index, path });
    }
    if (sufficient.length === 0) {
      const path = `log/${tilePath('entries', n, needed)}`;
      this.#say('missing', 'bundle-missing', `${path} is missing`, { index: first, path });
    }
    return block;
  }

  /** How many entries at the beginning of a bundle are whole, and those of its tile. */
  #rightEntries(bundle: Uint8Array, hashes: Uint8Array | undefined): number {
    let at = 0;
    for (let k = 0; k < tileWidth; k++) {
      const end = at + 2 + bundle[at]! * 256 + bundle[at + 1]!;
      // beyond the end of the bundle it is not a number
      if (!(end <= bundle.length)) return k;
      const hash = hashLeaf(this.#crypto, bundle.subarray(at + 2, end));
      if (hashes && !equal(hash, hashes.subarray(k * hashBytes, (k + 1) * hashBytes))) return k;
      at = end;
    }
    return tileWidth - 1;
  }

  // One leaf

  #leaf(index: number, isSigned: boolean, block: Block, record: EntryRecord | undefined): void {
    const k = index % tileWidth;
    const crypto = this.#crypto;
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
        this.#say('tampered', 'bundle', `entry ${index} in its bundle is not the one that was recorded`, {
          index,
          path: `log/${tilePath('entries', block.n)}`,
        });
        leaf = record!.leaf;
        hash = recordHash;
        recordAgrees = true;
      } else if (!recordAgrees) {
        this.#say('tampered', 'bundle', `entry ${index} in its bundle does not match its tile`, {
          index,
          path: `log/${tilePath('entries', block.n)}`,
        });
        hash = tileHash;
      }
    } else if (record && bundleLeaf && !recordAgrees) {
      this.#say('tampered', 'leaf', `entry ${index} in the payload is not the one in the log`, { index, path: record.segment.path });
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
      this.#say(
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
    if (record?.unopened) this.#noteUnopened(record);
    else if (record && recordAgrees) this.#content(index, entry, record);
  }

  /** What an entry means to those before and behind it. */
  #rules(index: number, entry: Entry): void {
    if (entry.kind === 'start') this.#start(index, entry);
    if (entry.kind === 'key') this.#keys.take(index, entry);
    if (entry.kind === 'anchor') this.#anchors.take(index, entry);
    if (entry.kind === 'erasure') this.#erasures.take(index, entry, this.#findings);
    if (entry.kind === 'prune') this.#prune(index, entry);
    // After an entry that could not be read every count would be off, and each a false alarm.
    if (this.#sequenceWhole) this.#sequences.add(index, entry);
  }

  #start(index: number, entry: Extract<Entry, { kind: 'start' }>): void {
    this.#ledgerId ??= entry.ledger;
    if (entry.ledger !== this.#ledgerId) this.#say('tampered', 'start', `entry ${index} starts another ledger (${entry.ledger})`, { index });
    if (this.#checkpoint && entry.origin !== this.#checkpoint.origin)
      this.#say('tampered', 'start', `entry ${index} names another origin than the checkpoint`, { index });
    this.#keys.start(index, entry);
  }

  #prune(index: number, entry: PruneEntry): void {
    if (entry.end > index || entry.end < this.#lastEnd)
      this.#say('tampered', 'reference', `entry ${index} prunes the entries below ${entry.end}, where ${Math.min(index, this.#lastEnd)} were to go`, {
        index,
      });
    this.#lastEnd = Math.max(this.#lastEnd, entry.end);
    if (this.#pruned?.index === index && JSON.stringify(entry) === JSON.stringify(this.#pruned.entry)) this.#isStated = true;
  }

  // Content

  #content(index: number, entry: Entry, record: EntryRecord): void {
    const at = { index, path: record.segment.path };
    if (record.attributes.length !== (entry.attributes ?? 0)) {
      this.#say('tampered', 'content', `entry ${index} has ${entry.attributes ?? 0} attributes, its record ${record.attributes.length}`, at);
    } else if (record.attributes.length > 0) {
      const commitment = this.#commitment(index, record.attributes, record, 'attributes', undefined);
      if (commitment !== undefined && commitment !== entry.attributesCommitment) {
        this.#say('tampered', 'content', `the attributes of entry ${index} do not match their commitment`, at);
      }
    }
    // what an erasure stored again is bound by its own commitment, like a frame
    const frame = entry.kind === 'message' || entry.kind === 'batch' || entry.kind === 'erasure' ? entry : undefined;
    const count = frame?.segments ?? 0;
    if (record.segments.length !== count) {
      this.#say('tampered', 'content', `entry ${index} has ${count} segments, its record ${record.segments.length}`, at);
      return;
    }
    if (!frame || count === 0) return;
    let sizeBytes = 0;
    for (const item of record.segments) sizeBytes += item.sizeBytes;
    if (sizeBytes !== frame.sizeBytes)
      this.#say('tampered', 'content', `the frame of entry ${index} has ${frame.sizeBytes ?? 0} bytes, its segments ${sizeBytes}`, at);
    if (entry.kind === 'erasure' && !restsFit(entry, record.segments))
      this.#say('tampered', 'content', `the rests of entry ${index} have other lengths than their ranges`, at);
    const commitment = this.#commitment(index, record.segments, record, 'segments', entry);
    if (commitment !== undefined && commitment !== frame.commitment) {
      this.#say('tampered', 'content', `the frame of entry ${index} does not match its commitment`, at);
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
        hashes.push(segmentHash(this.#crypto, item.salt, item.bytes));
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
      const part = this.#parts.get(key);
      this.#parts.delete(key);
      if (part === undefined && this.#range) {
        this.#elsewhere.push({ k, key, hash: item.hash, sizeBytes: item.sizeBytes });
        continue;
      }
      const wrong = part === undefined ? 'is not there' : this.#partProblem(part, item, k, items.length, frame);
      if (wrong !== undefined) {
        this.#say('tampered', 'part', `part ${k} of the frame of entry ${index} ${wrong}`, { index, path: record.segment.path });
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
    return base64(commitmentOf(this.#crypto, hashes));
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

  // Payload

  async #segmentNames(): Promise<SegmentName[] | undefined> {
    const { segments, segment } = this.#source;
    if (!segments || !segment) return undefined;
    this.#payloadAsked = true;
    return this.#reading('payload', () => segments.call(this.#source));
  }

  #openPayload(names: SegmentName[], from?: { offset: number; index: number }): PayloadReader;
  #openPayload(names: SegmentName[] | undefined): void;
  #openPayload(names: SegmentName[] | undefined, from?: { offset: number; index: number }): PayloadReader | undefined {
    if (names === undefined) return undefined;
    this.#payload = new PayloadReader(this.#source, names, from, this.#crypto, this.#options.openers ?? noOpeners);
    this.#payloadEnded = false;
    return this.#payload;
  }

  /** The record of this index when it is next and was read already, as it mostly is: to wait for it costs more than to look. */
  #nextInMemory(index: number): EntryRecord | undefined {
    if (this.#payloadEnded || this.#record !== undefined || this.#firstOfSegment !== undefined) return undefined;
    for (;;) {
      const event = this.#payload!.take();
      if (event?.kind === 'pruned') {
        this.#prunedSegment = event.segment.first;
        continue;
      }
      if (event?.kind === 'part') {
        this.#part(event);
        continue;
      }
      if (event?.kind !== 'entry') return undefined;
      this.#nextRecord = event.index + 1;
      if (event.index !== index) {
        this.#record = event;
        return undefined;
      }
      this.#headerSince = false;
      this.#troubleSince = false;
      return event;
    }
  }

  /** The record of this index, or `undefined`. Reports what lies between, and leaves a later record for later. */
  async #recordAt(index: number): Promise<EntryRecord | undefined> {
    if (!this.#payloadAsked) return undefined;
    for (;;) {
      this.#record ??= await this.#readRecord();
      const record = this.#record;
      if (record !== undefined && record.index < this.#first) {
        this.#leftOver = Math.min(record.index, this.#leftOver ?? record.index);
        for (const item of record.segments) if (item.kind === 'part') this.#parts.delete(`${item.file}:${item.offset}`);
        this.#record = undefined;
        continue;
      }
      if (record === undefined || record.index > index) {
        this.#recordMissing(index, record);
        return undefined;
      }
      this.#record = undefined;
      if (record.index === index) {
        this.#headerSince = false;
        this.#troubleSince = false;
        return record;
      }
      this.#say('tampered', 'record', `the payload has the record of entry ${record.index} where that of ${index} belongs`, {
        index,
        path: record.segment.path,
      });
      this.#troubleSince = true;
    }
  }

  #recordMissing(index: number, next: EntryRecord | undefined): void {
    const isSigned = index < this.#size;
    if (!isSigned && next === undefined) return;
    const isSameRun = this.#lastRunMissing === index - 1;
    this.#lastRunMissing = index;
    if (isSameRun) return;
    const path = next?.segment.path ?? 'payload';
    if (next === undefined) {
      this.#say('missing', 'record-missing', `the payload ends before entry ${index}: the content from there on was cut off, lost or removed`, {
        index,
        path,
      });
    } else if (this.#headerSince) {
      this.#say(
        'missing',
        'segment-missing',
        `the content of entries ${index} to ${next.index - 1} is missing: a payload segment is not there, or was cut`,
        { index, path },
      );
    } else if (!this.#troubleSince) {
      this.#say('tampered', 'record-missing', `the records of entries ${index} to ${next.index - 1} were taken out of the payload`, { index, path });
    }
  }

  async #readRecord(): Promise<EntryRecord | undefined> {
    while (!this.#payloadEnded) {
      const event = this.#payload!.take() ?? (await this.#fill());
      if (event === undefined) continue;
      if (event.kind === 'part') {
        this.#part(event);
      } else if (event.kind === 'pruned') {
        this.#prunedSegment = event.segment.first;
      } else if (event.kind === 'header') {
        this.#header(event);
      } else if (event.kind === 'trouble') {
        this.#trouble(event);
      } else {
        const header = this.#firstOfSegment;
        this.#firstOfSegment = undefined;
        if (header && event.index !== header.first && !this.#troubleSince && this.#prunedSegment !== header.first) {
          this.#say('tampered', 'segment', `${event.segment.path} begins with entry ${event.index}, not with ${header.first}`, {
            index: event.index,
            path: event.segment.path,
          });
        }
        this.#nextRecord = event.index + 1;
        return event;
      }
    }
    return undefined;
  }

  async #fill(): Promise<Header | Trouble | undefined> {
    const filled = await this.#reading('payload', () => this.#payload!.fill());
    if (filled === undefined || filled === false) this.#payloadEnded = true;
    return typeof filled === 'object' ? filled : undefined;
  }

  /** Also of a segment whose header was read by whoever checked the range before. */
  #noteUnopened({ segment: { path } }: EntryRecord | PartRecord): void {
    if (!this.#unopened.has(path)) this.#unopened.set(path, 'its key is not here');
  }

  #part(part: PartRecord): void {
    if (part.unopened) this.#noteUnopened(part);
    this.#parts.set(`${part.segment.first}:${part.offset}`, {
      hash: part.erased || part.unopened ? undefined : segmentHash(this.#crypto, part.salt, part.bytes),
      ...(part.unopened && !part.erased ? { unopened: true } : {}),
      sizeBytes: part.sizeBytes,
      connection: part.connection,
      direction: part.direction,
      unit: part.unit,
    });
  }

  #header(header: Header): void {
    const { path } = header.segment;
    this.#headerSince = true;
    this.#firstOfSegment = header;
    if (header.unopened !== undefined) this.#unopened.set(path, header.unopened);
    if (header.first !== header.segment.first)
      this.#say('tampered', 'segment', `${path} says of itself that it begins with entry ${header.first}`, { path });
    this.#ledgerId ??= header.ledger;
    if (header.ledger !== this.#ledgerId) {
      this.#say('tampered', 'segment', `${path} belongs to another ledger (${header.ledger})`, { index: this.#nextRecord, path });
    }
  }

  #trouble({ what, segment, offset, resumed, lastSegment, abandoned }: Trouble): void {
    const { path } = segment;
    const index = this.#nextRecord;
    if (resumed === undefined && lastSegment && !abandoned) {
      const isWhole = what !== 'incomplete';
      if (index >= this.#size) {
        // As a crash leaves it, unless the record is whole and its checksum right: then it was written so.
        if (what === 'body') this.#say('tampered', 'record', `${path} ends with a record that is not of the format`, { index, path });
        else {
          this.#tornTail = true;
          this.#say('note', 'torn-tail', `${path} ends inside a record at byte ${offset}: it was being written, or a crash cut it off`, {
            index,
            path,
          });
        }
      } else if (isWhole) {
        this.#say('tampered', 'record', `the record of entry ${index} at byte ${offset} of ${path} is damaged, though it is signed`, { index, path });
      } else {
        this.#say('missing', 'record', `${path} ends inside the record of entry ${index} at byte ${offset}, though it is signed`, { index, path });
      }
    } else {
      const where = offset === 0 && what !== 'crc' ? 'its header' : `the record at byte ${offset}, before the end of entry ${index},`;
      this.#say('tampered', 'record', `${path} was altered: ${where} is damaged${resumed === undefined ? '' : ', and whole records follow it'}`, {
        index,
        path,
      });
    }
    this.#troubleSince = true;
    if (what === 'header') this.#headerSince = true;
  }

  // Tiles and bundles

  async #compareCompleted(block: Block): Promise<void> {
    for (const tile of this.#completed)
      await this.#compareTile(tile.level, tile.n, tile.bytes, tile.width, tile.level === 0 ? block.tiles : undefined);
  }

  /** Holds every file of a tile against the hashes that follow from the leaves. */
  async #compareTile(level: number, n: number, hashes: Uint8Array, width: number, loaded?: StoredFile[]): Promise<void> {
    const needed = tileWidthAt(this.#size, level, n);
    const files = loaded ?? (await this.#files(level, n, needed));
    const leavesOf = (k: number) => (n * tileWidth + k) * tileWidth ** level;
    if (needed > 0 && !files.some((file) => file.width >= needed)) {
      const path = `log/${tilePath(level, n, needed)}`;
      this.#say('missing', 'tile-missing', `${path} is missing`, { index: leavesOf(0), path });
    }
    for (const file of files) {
      const path = `log/${tilePath(level, n, file.width)}`;
      const common = Math.min(file.width, width);
      if (isAhead(file, files, needed) && this.#noteTorn(path, file.bytes, hashes.subarray(0, common * hashBytes), file.width * hashBytes)) continue;
      if (file.bytes.length !== file.width * hashBytes) {
        let k = 0;
        while (k < common - 1 && equal(hashAt(file.bytes, k), hashAt(hashes, k))) k++;
        this.#say('tampered', 'tile', `${path} has ${file.bytes.length} bytes, not ${file.width * hashBytes}`, { index: leavesOf(k), path });
        continue;
      }
      if (equal(file.bytes.subarray(0, common * hashBytes), hashes.subarray(0, common * hashBytes))) {
        if (file.width > width) this.#say('note', 'ahead', `${path} covers entries beyond the records that could be read`, { path });
        continue;
      }
      let k = 0;
      while (equal(hashAt(file.bytes, k), hashAt(hashes, k))) k++;
      // a hash over many entries says less than what is known of one of them already
      const named = this.#findings.firstBad ?? 0;
      const index = named > leavesOf(k) && named < leavesOf(k + 1) ? named : leavesOf(k);
      this.#say('tampered', 'tile', `${path} does not follow from the entries, from hash ${k} on`, { index, path });
    }
  }

  /** Holds every bundle file but the one that was read whole against the leaves. */
  #compareBundles(block: Block): void {
    if (!block.complete) return;
    const needed = tileWidthAt(this.#size, 0, block.n);
    if (block.bundles.length === 1 && block.bundles[0]!.width === needed) return;
    for (const file of block.bundles) {
      const path = `log/${tilePath('entries', block.n, file.width)}`;
      const common = Math.min(file.width, block.leaves.length);
      const expected = encodeBundle(block.leaves.slice(0, common));
      const isWider = file.width > common;
      if (isAhead(file, block.bundles, needed) && this.#noteTorn(path, file.bytes, expected, expected.length)) continue;
      if (!equal(file.bytes.subarray(0, expected.length), expected) || (!isWider && file.bytes.length !== expected.length)) {
        const index = block.n * tileWidth + firstDifference(file.bytes, block.leaves.slice(0, common));
        // the file that was read whole had its entries looked at one by one
        if (!block.named.has(index)) this.#say('tampered', 'bundle', `entry ${index} in ${path} is not the one that was recorded`, { index, path });
      } else if (isWider) {
        this.#say('note', 'ahead', `${path} covers entries beyond the records that could be read`, { path });
      }
    }
  }

  /** A file that no checkpoint needs, and that is right as far as it goes, then ends or is zeros: a crash leaves it so, and the next recorder writes it anew. */
  #noteTorn(path: string, bytes: Uint8Array, expected: Uint8Array, wholeBytes: number): boolean {
    let same = 0;
    while (same < expected.length && same < bytes.length && bytes[same] === expected[same]) same++;
    const isWhole = bytes.length >= wholeBytes;
    if ((isWhole && same === expected.length) || bytes.subarray(same).some((byte) => byte !== 0)) return false;
    this.#say('note', 'torn-tail', `${path}, ahead of the checkpoint, is incomplete: it was being written, or a crash cut it off`, { path });
    return true;
  }

  #compareRoot(): void {
    if (!this.#stack || !this.#checkpoint) return;
    this.#rootHolds = equal(this.#stack.root(), this.#checkpoint.root);
    if (!this.#rootHolds) this.#say('tampered', 'root', 'the entries do not have the root that was signed', { path: 'log/checkpoint' });
  }

  /** Whether the lowest tiles alone have the root that was signed: then the entries before the first bad one are proven all the same. */
  async #tilesHold(): Promise<boolean> {
    const stack = TileStack.empty(this.#crypto);
    for (let n = 0; n * tileWidth < this.#size; n++) {
      const width = tileWidthAt(this.#size, 0, n);
      const tile = (await this.#files(0, n, width)).find((file) => file.width >= width)?.bytes;
      if (!tile || tile.length < width * hashBytes) return false;
      for (let k = 0; k < width; k++) stack.append(hashAt(tile, k).slice());
    }
    return equal(stack.root(), this.#checkpoint!.root);
  }

  #compareKnown(size: number, rootAt?: () => Uint8Array): void {
    const { known } = this.#options;
    if (!known || known.size !== size || !this.#stack) return;
    this.#knownHolds = isContinued((rootAt ?? (() => this.#stack!.root()))(), known, (...found) => this.#say(...found));
  }

  async #finish(block: Block | undefined): Promise<void> {
    const { known } = this.#options;
    this.#settleSignature();
    if (this.#signatureHolds) this.#keys.finish();
    // what is read here was compared with the leaves already
    if (this.#stack) await this.#anchors.judge((level, n, width) => this.#hashesOf(level, n, width), this.#size);
    if (this.#checkpoint?.size === 0) {
      this.#rootHolds = equal(emptyRoot(this.#crypto), this.#checkpoint.root);
      if (!this.#rootHolds) this.#say('tampered', 'root', 'a checkpoint over no entries has another root', { path: 'log/checkpoint' });
    }
    if (this.#checkpoint && known && known.size > this.#size) {
      this.#say(
        'rollback',
        'rollback',
        `the checkpoint covers ${this.#size} entries; ${known.size} were known: this is an older copy, or it was cut back`,
      );
    }
    if (block && block.leaves.length < tileWidth) this.#compareBundles(block);
    for (const tile of this.#stack?.partials() ?? []) {
      await this.#compareTile(tile.level, tile.n, tile.bytes, tile.width, tile.level === 0 && block?.n === tile.n ? block.tiles : undefined);
    }
    if (this.#payloadAsked && this.#size === 0 && this.#later === 0 && !this.#findings.has('checkpoint-missing')) {
      this.#say('missing', 'checkpoint-missing', 'there are no entries');
    }
    if (this.#dropped > 0) {
      const at = this.#firstDropped === undefined ? {} : { index: this.#firstDropped };
      this.#say('tampered', 'dropped', `the bytes of ${this.#dropped} segment(s) are not kept, and no entry says why; their hashes still hold`, at);
    }
    const [unopened] = this.#unopened.values();
    if (unopened !== undefined) {
      this.#say('missing', 'encrypted', `content not checked: ${this.#unopened.size} segment(s) encrypted, and no key for them (${unopened})`, {
        path: [...this.#unopened.keys()][0]!,
      });
    }
    if (this.#pruned && this.#sequenceWhole && !this.#isStated)
      this.#say('tampered', 'pruned', `entry ${this.#pruned.index} does not say what is pruned`, { index: this.#pruned.index });
    if (this.#leftOver !== undefined)
      this.#say('warning', 'prune-unfinished', `entries from ${this.#leftOver} on were to be pruned and are still there, unchecked`, {
        index: this.#leftOver,
      });
    if (this.#neverStored > 0) {
      this.#say('note', 'never-stored', `${this.#neverStored} stretches were never stored (redaction or capture rules); their hashes still hold`);
    }
    if (!this.#erasures.areAllNamed) await this.#readLaterErasures();
    this.#erasures.finish(this.#findings, this.#sequenceWhole);
    if (this.#sequenceWhole) this.#sequences.finish();
    this.#provenByTiles = this.#signatureHolds && !this.#rootHolds && this.#findings.firstBad !== undefined && (await this.#tilesHold());
  }

  /** A recorder may have erased while we read: then what says so was written behind everything that we have seen. */
  async #readLaterErasures(): Promise<void> {
    const { segments, segment } = this.#source;
    if (!segments || !segment) return;
    const names = await this.#reading('payload', () => segments.call(this.#source));
    const last = names?.findLastIndex((name) => name.first < this.#nextRecord) ?? -1;
    if (names === undefined || last < 0) return;
    const reader = new PayloadReader(this.#source, names.slice(last), undefined, this.#crypto, this.#options.openers ?? noOpeners);
    for (;;) {
      const event = reader.take() ?? (await this.#reading('payload', () => reader.fill()));
      if (event === false || event === undefined) return;
      if (event === true || event.kind !== 'entry' || event.index < this.#nextRecord) continue;
      this.#nextRecord = event.index + 1;
      const entry = readEntry(event.leaf);
      if (!(entry instanceof EntryProblem) && entry.kind === 'erasure') this.#erasures.take(event.index, entry, this.#findings);
    }
  }

  #result(): Verification {
    const findings = this.#findings;
    const sequences = this.#sequences;
    const { known } = this.#options;
    const checkpoint = this.#checkpoint;
    const checked: string[] = [];
    const notChecked: string[] = [];
    const proven =
      this.#signatureHolds && (this.#rootHolds || this.#provenByTiles) ? this.#size : this.#knownHolds ? Math.min(known!.size, this.#size) : 0;
    if (this.#signatureHolds) checked.push(`the checkpoint's signature by ${this.#vkey!.name}+${hex(this.#vkey!.keyId)}`);
    if (this.#size > 0 && this.#first === 0) checked.push(`every entry, bundle and tile under the checkpoint (${this.#size} entries)`);
    else if (this.#size > 0)
      checked.push(`every tile under the checkpoint, and every entry and bundle from ${this.#first} on (${this.#size - this.#first} entries)`);
    if (this.#payload) {
      const what = this.#unopened.size === 0 ? 'every payload record against its entry and its commitments' : 'what could be opened of the payload';
      checked.push(`${what} (${this.#contentBytes} bytes of content)`);
    }
    if (this.#sequenceWhole) checked.push('counts, references, and the beginning and end of every connection');
    if (known && known.size > 0) checked.push(`that the ledger continues the ${known.size} entries known before`);

    if (!this.#pinned) notChecked.push('the key was taken from the ledger itself: whoever rewrote all of it could have put another key in');
    if (!known) notChecked.push('no earlier checkpoint is known: a ledger that was cut back, or replaced, cannot be told from a whole one');
    notChecked.push('no witness: a rewrite by whoever holds the key cannot be excluded');
    if (this.#unknownSignatures > 0) notChecked.push(`${this.#unknownSignatures} signature(s) on the checkpoint by keys that are not known`);
    if (!this.#payloadAsked) notChecked.push('the content: this source has no payload');
    if (this.#later > 0)
      notChecked.push(`${this.#later} later record(s) are not yet signed: whoever can write to the ledger could have changed them`);
    if (this.#unopened.size > 0)
      notChecked.push(`the content of ${this.#unopened.size} encrypted segment(s) without a key: only that each record holds its entry`);
    if (this.#tornTail) notChecked.push('the incomplete last record');
    if (this.#dropped > 0) notChecked.push(`the bytes of ${this.#dropped} segment(s) that are not kept`);
    if (this.#erasures.segments > 0) notChecked.push(`what stood in ${this.#erasures.segments} segment(s) that were erased`);
    if (this.#first > 0) notChecked.push(`what stood in the first ${this.#first} entries, which were pruned`);
    if (this.#neverStored > 0) notChecked.push(`what stood in ${this.#neverStored} stretch(es) that were never stored`);
    if (this.#anchors.timestamps > 0)
      notChecked.push(`${this.#anchors.timestamps} timestamp(s) by authorities: openssl ts -verify checks them (spec/witness.md)`);
    if (this.#parts.size > 0) notChecked.push(`${this.#parts.size} part(s) of frames that were never finished`);
    if (!this.#sequenceWhole) notChecked.push('counts and references: not every entry could be read');
    notChecked.push('times: they are those of the recorder’s own clock');
    return {
      exit: findings.exit,
      origin: checkpoint?.origin,
      size: this.#size,
      root: checkpoint?.root,
      vkey: this.#vkey && formatVkey(this.#crypto, this.#vkey.name, this.#vkey.publicKey),
      vkeys: this.#keys.vouched().map(({ name, publicKey }) => formatVkey(this.#crypto, name, publicKey)),
      pinned: this.#pinned && this.#signatureHolds,
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
      unopenedSegments: this.#unopened.size,
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

/** Whether the checkpoint can do without this file: it goes further, and another one is there that goes as far as is needed. */
function isAhead(file: StoredFile, files: readonly StoredFile[], needed: number): boolean {
  return file.width > needed && (needed === 0 || files.some((other) => other.width >= needed && other.width < file.width));
}

/** The partial tiles of a tree of which `above` holds all but the lowest level. */
function partialsAbove(above: TileStack): (level: number, n: number, width: number) => Uint8Array {
  const partials = above.partials();
  return (level, n, width) => partials.find((tile) => tile.level === level - 1 && tile.n === n && tile.width === width)?.bytes ?? new Uint8Array(0);
}

function hashAt(tile: Uint8Array, k: number): Uint8Array {
  return tile.subarray(k * hashBytes, (k + 1) * hashBytes);
}

/** Without a view of it: this is asked for every entry. */
function isHashAt(tile: Uint8Array, k: number, hash: Uint8Array): boolean {
  const at = k * hashBytes;
  for (let i = 0; i < hashBytes; i++) if (tile[at + i] !== hash[i]) return false;
  return true;
}

/** The first entry at which a bundle's bytes are not those of `leaves`. */
function firstDifference(bundle: Uint8Array, leaves: readonly Uint8Array[]): number {
  let at = 0;
  for (const [k, leaf] of leaves.entries()) {
    const end = at + 2 + leaf.length;
    if (!equal(bundle.subarray(at, end), encodeBundle([leaf]))) return k;
    at = end;
  }
  return Math.max(0, leaves.length - 1);
}
