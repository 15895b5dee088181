/**
 * Checks a report (`spec/evidence.md`): the hashes that it carries against the root of its checkpoint, each entry against its hash, content against the commitments
 * of its entry, the checkpoint against the keys that are known. The same code runs in the page that shows the report and in `sworn verify`.
 *
 * What must stay true: the head is believed for nothing but where things stand; memory holds 32 bytes for each hash, and one block.
 */
import { equal, hex, utf8 } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import type { Custody, Entry } from '../entry/entry.ts';
import type { Frame } from '../entry/frame.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { Rests } from '../entry/rest.ts';
import { reportChunkHashes } from '../limits.ts';
import type { ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { checkpointOf, formatVkey, openNote, parseVkey, type Vkey } from '../tlog/note.ts';
import { hashLeaf } from '../tlog/tree.ts';
import { contentCounts } from './content.ts';
import { Erasures } from './erasures.ts';
import { Custodies } from './custody.ts';
import { Findings, type Exit, type Finding, type FindingCode, type Severity } from './finding.ts';
import { compareKnown } from './known.ts';
import { Keys } from './keys.ts';
import {
  decodeContent,
  decodeEntries,
  parseReportHead,
  Places,
  readChunk,
  Room,
  type BlockEntry,
  type ReportHead,
  type ReportItem,
  type ReportSource,
} from './report-data.ts';
import { attributesOf, checkItems, frameOf, stretchOf, unexplained, type ReportEntry } from './report-entry.ts';
import { ReportOpener } from './report-open.ts';
import { ReportTree } from './report-tree.ts';
import { readWitnesses, type ReportWitness } from './report-witnesses.ts';
import { judgeCheckpoint, utcText, type Judged, type Wanted } from './trust.ts';

export interface ReportOptions {
  crypto: Crypto;
  source: ReportSource;
  /** Keys of logs that the caller knows from elsewhere. */
  vkeys: readonly Vkey[];
  /** Without a key from elsewhere the one in the report is taken: a page that checks itself has no other. Whose it is stays unchecked. */
  isOwnKeyTaken?: boolean;
  known?: { size: number; root: Uint8Array };
  wanted: Wanted;
  /** Every entry that can be read, in order, with its content. Its bytes are gone with the next block. */
  onEntry?: (seen: ReportEntry) => void;
  /** 0 … 1 */
  onProgress?: (done: number) => void;
  /** Awaited after each block: a page lets questions and clicks have their turn. What is read here resolves without the event loop. */
  pause?: () => Promise<void>;
  /** Milliseconds, for how long a step took. */
  clock?: () => number;
}

export type StepName = 'data' | 'tree' | 'signature' | 'entries' | 'content' | 'keys' | 'witnesses';

export interface ReportStep {
  name: StepName;
  result: 'ok' | 'bad' | 'unknown';
  /** One sentence without a full stop. */
  detail: string;
  tookMs: number;
}

export interface ReportVerification {
  exit: Exit;
  /** As the maker wrote it; of it only what `checked` says is proven. */
  head: ReportHead | undefined;
  origin: string | undefined;
  /** Entries under the checkpoint, in the range of the report, and shown of these; those beside are needed by them. */
  size: number;
  inRange: number;
  shown: number;
  context: number;
  root: Uint8Array | undefined;
  /** The key whose signature holds, and the first 16 hex digits of the SHA-256 of its public key. */
  vkey: string | undefined;
  keyFingerprint: string | undefined;
  /** The key is known from elsewhere, or follows from one that is. */
  isKeyKnown: boolean;
  custody: Custody | undefined;
  firstTime: string | undefined;
  lastTime: string | undefined;
  contentBytes: number;
  /** The lowest entry that a finding of tampering, or of something missing, names. */
  firstBad: number | undefined;
  witnesses: ReportWitness[];
  cosigned: Judged['cosigned'];
  quorum: Judged['quorum'];
  findings: Finding[];
  findingsOmitted: number;
  steps: ReportStep[];
  /** Opens single entries; absent where nothing can be read. */
  opener?: ReportOpener;
  checked: string[];
  notChecked: string[];
}

/** What is erased is held against erasures up to this index: it takes a byte for each, and whoever forges a tree says how large it is. */
const erasuresMost = 2 ** 28;

/** Verifies a report. Never throws for anything that is in it; what `onEntry` throws is thrown. */
export async function verifyReport(options: ReportOptions): Promise<ReportVerification> {
  return new ReportVerifier(options).run();
}

const countOf = (n: number, one: string, many = `${one}s`): string => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

class ReportVerifier {
  readonly #crypto: Crypto;
  readonly #source: ReportSource;
  readonly #options: ReportOptions;
  readonly #findings = new Findings();
  readonly #keyFindings = new Findings();
  readonly #keys: Keys;
  readonly #erasures = new Erasures();
  readonly #rests = new Rests();
  readonly #result: ReportVerification = {
    exit: 3,
    head: undefined,
    origin: undefined,
    size: 0,
    inRange: 0,
    shown: 0,
    context: 0,
    root: undefined,
    vkey: undefined,
    keyFingerprint: undefined,
    isKeyKnown: false,
    custody: undefined,
    firstTime: undefined,
    lastTime: undefined,
    contentBytes: 0,
    firstBad: undefined,
    witnesses: [],
    cosigned: [],
    quorum: undefined,
    findings: this.#findings.list,
    findingsOmitted: 0,
    steps: [],
    checked: [],
    notChecked: [],
  };
  /** The hashes do not lead to the root: said when the entries were read, and may tell which it is. */
  #oddTree: { message: string; where: { path?: string } } | undefined;
  readonly #counts = { withContent: 0, without: 0, withheld: 0, dropped: 0, unread: 0 };
  readonly #custodies = new Custodies();
  #batch: { index: number; frame: Frame } | undefined;
  #lastMs = 0;

  constructor(options: ReportOptions) {
    this.#options = options;
    this.#crypto = options.crypto;
    this.#source = options.source;
    this.#keys = new Keys(this.#crypto, this.#keyFindings);
  }

  #say(severity: Severity, code: FindingCode, message: string, at: { index?: number; path?: string } = {}): void {
    this.#findings.add(severity, code, message, at);
  }

  /** Ends a step: bad when something was found since `before`. */
  #step(name: StepName, before: number, good: string, result: ReportStep['result'] = 'ok'): void {
    const now = this.#options.clock?.() ?? 0;
    const found = this.#findings.list.slice(before).find(({ severity }) => severity !== 'note' && severity !== 'warning');
    this.#result.steps.push({ name, result: found ? 'bad' : result, detail: found?.message ?? good, tookMs: now - this.#lastMs });
    this.#lastMs = now;
  }

  async run(): Promise<ReportVerification> {
    const result = this.#result;
    this.#lastMs = this.#options.clock?.() ?? 0;
    await this.#check();
    const { exit } = this.#findings;
    result.exit = exit;
    result.firstBad = this.#findings.firstBad;
    result.findingsOmitted = this.#findings.omitted;
    return result;
  }

  async #check(): Promise<void> {
    const result = this.#result;
    const text = await this.#source.head();
    const head =
      text === undefined
        ? 'this file holds no data of a report: it is empty, cut off, saved from a browser without its data, or another page; ask for the report again'
        : parseReportHead(this.#crypto, text);
    if (typeof head === 'string') {
      this.#say(text === undefined ? 'missing' : 'tampered', 'manifest', head);
      this.#step('data', 0, '');
      return;
    }
    result.head = head;
    const note = utf8(head.checkpoint);
    const checkpoint = checkpointOf(note);
    if (!checkpoint) {
      this.#say('tampered', 'checkpoint-unreadable', 'the checkpoint of the report is none');
      this.#step('data', 0, '');
      return;
    }
    const { origin, size, root } = checkpoint;
    const { first, end } = head;
    Object.assign(result, { origin, size, root, inRange: end - first });
    if (end > size || (head.context.at(-1)?.[1] ?? 0) > size) {
      this.#say('tampered', 'manifest', `the head of the data names entries beyond the ${size} of its checkpoint`);
      this.#step('data', 0, '');
      return;
    }
    this.#checkNames(head, size);
    this.#step('data', 0, `${countOf(this.#source.names().length, 'chunk')} of data, as the head lists them`);

    const own = this.#checkOwnKey(head, note, checkpoint);
    const tree = await this.#checkTree(head, checkpoint);
    result.opener = new ReportOpener(this.#crypto, this.#source, head, (index) => (tree.isRooted ? tree.hashOf(index) : undefined), this.#rests);
    await this.#checkBlocks(head, tree);
    this.#checkOdd(tree, own === 'bad');
    this.#checkKeys(note, checkpoint, own, tree);
    this.#checkWitnesses(head, note);

    const judged = judgeCheckpoint(this.#crypto, this.#options.wanted, note, result.lastTime);
    for (const { severity, code, message } of judged.findings) this.#say(severity, code, message);
    result.checked.push(...judged.checked);
    result.notChecked.push(...judged.notChecked);
    result.cosigned = judged.cosigned;
    result.quorum = judged.quorum;
    this.#judgeCustody();
    this.#sayNotChecked(head);
  }

  #judgeCustody(): void {
    const { custody, unknown } = this.#custodies;
    this.#result.custody = custody;
    if (unknown > 0)
      this.#result.notChecked.push(`the custody of ${countOf(unknown, 'connection')}: the entries that say how they began are not in the report`);
  }

  /** The chunks are those that the head lists, and no others than its blocks and its tree have. */
  #checkNames(head: ReportHead, size: number): void {
    const { chunks, blocks } = head;
    const hashes = Math.ceil(new Places(head, size).count / reportChunkHashes);
    for (const name of Object.keys(chunks)) {
      const [, kind, text] = /^([a-z]+)-(0|[1-9]\d{0,8})$/.exec(name) ?? [];
      const k = Number(text);
      const isMeant = kind === 'hashes' ? k < hashes : kind === 'entries' ? k < blocks.length : kind === 'content' && blocks[k]?.content === true;
      if (!isMeant) this.#say('tampered', 'manifest', `the chunk ${name} holds nothing of the range`, { path: name });
    }
    const seen = new Set<string>();
    for (const name of this.#source.names()) {
      if (seen.has(name)) this.#say('tampered', 'manifest', `the chunk ${name} stands in the report twice`, { path: name });
      else if (!Object.hasOwn(chunks, name)) this.#say('tampered', 'manifest', `the chunk ${name} is not listed in the head`, { path: name });
      seen.add(name);
    }
    for (const name of Object.keys(chunks)) if (!seen.has(name)) this.#say('missing', 'manifest', `the chunk ${name} is missing`, { path: name });
  }

  /** The key that the report names signed its checkpoint. Whether it is the ledger's is another question. */
  #checkOwnKey({ vkey: text }: ReportHead, note: Uint8Array, { origin }: ParsedCheckpoint): Vkey | 'bad' | undefined {
    const before = this.#findings.list.length;
    if (text === undefined) {
      this.#step('signature', before, 'the report names no key', 'unknown');
      return undefined;
    }
    const vkey = parseVkey(this.#crypto, text);
    const opened = vkey && openNote(this.#crypto, note, [vkey]);
    if (!vkey) this.#say('tampered', 'key', 'the key in the report was changed: it does not have its id');
    else if ('problem' in opened!) this.#say('tampered', 'signature', `the checkpoint or its signature was changed: ${opened.message}`);
    else if (vkey.name !== origin || opened!.verified.length === 0)
      this.#say('tampered', 'signature', `the checkpoint of ${origin} is not signed by the key in the report`);
    const holds = vkey !== undefined && this.#findings.list.length === before;
    this.#step('signature', before, holds ? `the checkpoint is signed by the key ${this.#fingerprint(vkey)}` : '');
    if (!holds) return 'bad';
    this.#result.vkey = text;
    this.#result.keyFingerprint = this.#fingerprint(vkey);
    return vkey;
  }

  #fingerprint({ publicKey }: Vkey): string {
    return hex(this.#crypto.sha256(publicKey)).slice(0, 16);
  }

  /** The hashes of the report lead to the root. */
  async #checkTree(head: ReportHead, checkpoint: ParsedCheckpoint): Promise<ReportTree> {
    const before = this.#findings.list.length;
    const tree = new ReportTree(this.#crypto, head, checkpoint, this.#options.known?.size);
    const { missing, changed, count, needed } = await tree.read(this.#source, head);
    if (missing !== undefined) {
      // said already
      this.#step('tree', before, `without the chunk ${missing} no entry can be held against the signed root`, 'unknown');
      return tree;
    }
    const where = changed === undefined ? {} : { path: changed };
    if (!tree.isThere) {
      const message = `the report has ${countOf(count, 'hash', 'hashes')} that can be read, ${needed} are needed`;
      this.#say('tampered', 'proof', message, where);
    } else if (!tree.isRooted)
      this.#oddTree = {
        message: 'the hashes of the report do not lead to the root of the checkpoint: an entry, a hash or the checkpoint was changed',
        where,
      };
    else if (changed !== undefined) this.#say('tampered', 'proof', `the chunk ${changed} was changed, though its hashes were not`, where);
    const { first, end } = head;
    const good = `the hashes of ${countOf(end - first, 'record')} lead to the root of the ${countOf(checkpoint.size, 'entry', 'entries')} under the checkpoint`;
    this.#step('tree', before, this.#oddTree?.message ?? good, this.#oddTree ? 'bad' : 'ok');
    if (tree.isRooted)
      this.#result.checked.push(`that the hashes of entries ${first} to ${end - 1} are those of the ${checkpoint.size} entries under the checkpoint`);
    return tree;
  }

  async #checkBlocks(head: ReportHead, tree: ReportTree): Promise<void> {
    const result = this.#result;
    const before = this.#findings.list.length;
    const { blocks, filter, first, end } = head;
    /** Without a filter every entry of the range is to be here. */
    let due = first;
    const absent = (to: number): void => {
      if (filter === '' && due < to && due < end)
        this.#say('missing', 'record-missing', `entry ${due} is not in the report, which says that it leaves none out`, { index: due });
      due = Math.max(due, to);
    };
    const rooms = { entries: new Room(), content: new Room() };
    for (const [k, block] of blocks.entries()) {
      this.#options.onProgress?.(k / blocks.length);
      await this.#options.pause?.();
      const entries = await this.#readBlock(head, k, block, tree, rooms.entries);
      const content = block.content ? await readChunk(this.#crypto, this.#source, head, `content-${k}`, rooms.content) : undefined;
      const found = this.#findings.list.length;
      const decoded = content && decodeContent(content.bytes, block.entries);
      for (const [i, seen] of entries.entries()) {
        if (seen.index >= first && seen.index < end) {
          absent(seen.index);
          due = seen.index + 1;
        }
        this.#take(seen, decoded?.items[i], head, tree.isRooted);
      }
      // what is missing of a block was said with it
      if (entries.length < block.entries && block.last < end) due = Math.max(due, block.last + 1);
      const isWhole = content === undefined || (content.isWhole && decoded!.isWhole);
      if (!isWhole && this.#findings.list.length === found)
        this.#say('tampered', 'content', `the chunk content-${k} was changed: it holds the content of entries ${block.first} to ${block.last}`, {
          index: block.first,
          path: `content-${k}`,
        });
    }
    absent(end);
    this.#options.onProgress?.(1);
    const isHeld = tree.isThere;
    const all = countOf(result.inRange, 'record');
    const shown = `${result.shown.toLocaleString('en')} of ${all} are shown`;
    this.#step('entries', before, isHeld ? `${shown}, each has its hash` : shown, isHeld ? 'ok' : 'unknown');
    if (tree.isRooted && this.#findings.list.length === before)
      result.checked.push(`the ${countOf(result.shown + result.context, 'entry', 'entries')} that are here against their hashes`);
    this.#sayContent(head);
  }

  /** The entries of a block, as far as it can be read; whatever is wrong with it is said. */
  async #readBlock(head: ReportHead, k: number, block: ReportHead['blocks'][number], tree: ReportTree, room: Room): Promise<SeenEntry[]> {
    const name = `entries-${k}`;
    const at = { index: block.first, path: name };
    const which = `the chunk ${name} (${countOf(block.entries, 'entry', 'entries')} from ${block.first} to ${block.last})`;
    const chunk = await readChunk(this.#crypto, this.#source, head, name, room);
    if (chunk === undefined) {
      this.#say('missing', 'record-missing', `${which} is missing`, at);
      this.#counts.unread += block.entries;
      return [];
    }
    const decoded = decodeEntries(chunk.bytes);
    if (decoded === undefined) {
      this.#say('tampered', 'record', `${which} is damaged from its beginning on`, at);
      this.#counts.unread += block.entries;
      return [];
    }
    const found = this.#findings.list.length;
    const fits = (index: number): boolean => index >= block.first && index <= block.last;
    const seen = decoded.entries.filter(({ index }) => fits(index)).map((one) => this.#checkLeaf(one, tree));
    const other = decoded.entries.find(({ index }) => !fits(index));
    if (other) this.#say('tampered', 'record', `${which} holds entry ${other.index}, which does not belong there`, at);
    const missing = block.entries - seen.length;
    this.#counts.unread += Math.max(0, missing);
    if (this.#findings.list.length === found && (!chunk.isWhole || !decoded.isWhole || missing !== 0)) {
      const last = decoded.entries.at(-1)?.index;
      const from = missing > 0 && last !== undefined ? last + 1 : undefined;
      const message = from === undefined ? `${which} was changed` : `${which} was changed: from entry ${from} on it cannot be read`;
      this.#say('tampered', 'record', message, { ...at, index: from ?? block.first });
    }
    return seen;
  }

  #checkLeaf(one: BlockEntry, tree: ReportTree): SeenEntry {
    const { index, leaf } = one;
    const leafHash = hashLeaf(this.#crypto, leaf);
    const listed = tree.hashOf(index);
    const hasHash = listed !== undefined && equal(listed, leafHash);
    if (!hasHash && tree.isThere) {
      tree.noteOdd(index, leafHash);
      // where the hashes are not sound themselves, which of the two was changed is found out when all are read
      if (tree.isRooted) {
        const what = listed
          ? 'is not the one that was recorded: its bytes do not have the hash'
          : 'has no place in the range: the report has no hash for it';
        const message = `entry ${index} ${what} that leads to the signed root`;
        this.#say('tampered', 'leaf', message, { index });
      }
    }
    const entry = readEntry(leaf);
    if (entry instanceof EntryProblem && hasHash) {
      const isNewer = entry.problem === 'unsupported';
      this.#say(isNewer ? 'missing' : 'tampered', isNewer ? 'entry-unsupported' : 'entry', `entry ${index} is ${entry.message}`, { index });
    }
    return { ...one, leafHash, entry, hasHash };
  }

  /** An entry with its content, which is `undefined` where it is not here. */
  #take({ index, leaf, leafHash, entry, hasHash, isContext }: SeenEntry, items: ReportItem[] | undefined, head: ReportHead, isRooted: boolean): void {
    const result = this.#result;
    const isInRange = index >= head.first && index < head.end;
    if (!isContext && isInRange) result.shown++;
    else result.context++;
    if (!isContext && !isInRange)
      this.#say('tampered', 'record', `entry ${index} stands outside of the range, and is counted as one of it`, { index });
    if (entry instanceof EntryProblem) return;
    if (isInRange) {
      result.firstTime ??= entry.time;
      result.lastTime = entry.time;
    }
    if (hasHash) this.#learn(index, entry);
    const counts = contentCounts(entry);
    let holds = true;
    if (sumOf(counts) > 0 || (items?.length ?? 0) > 0) {
      this.#counts.withContent++;
      if (items === undefined) {
        if (!head.isWithheld) this.#counts.without++;
      } else holds = this.#checkContent(index, entry, items, hasHash);
    }
    const shown = holds ? items : undefined;
    const seen: ReportEntry = {
      index,
      leaf,
      leafHash,
      entry,
      isContext,
      attributes: shown ? attributesOf(entry, shown) : {},
      isVerified: isRooted && hasHash && holds,
    };
    if (entry.kind === 'message' || entry.kind === 'batch') {
      if (entry.kind === 'message' && entry.batch !== undefined) {
        if (this.#batch?.index === entry.batch && entry.range) seen.frame = stretchOf(this.#batch.frame, entry.range);
      } else seen.frame = frameOf(entry, shown);
      if (entry.kind === 'batch') {
        // its items may stand in the next block, where these bytes are gone
        seen.frame!.bytes = seen.frame!.bytes.slice();
        this.#batch = { index, frame: seen.frame! };
      }
    }
    this.#options.onEntry?.(seen);
  }

  /** What an entry says that is judged in the end. */
  #learn(index: number, entry: Entry): void {
    const custodies = this.#custodies;
    if (entry.kind === 'message' || entry.kind === 'batch') custodies.spoke(entry.connection);
    else if (entry.kind === 'open') custodies.opened(entry);
    else if (entry.kind === 'start') this.#keys.start(index, entry);
    else if (entry.kind === 'key') this.#keys.take(index, entry);
    else if (entry.kind === 'prune') {
      this.#keys.restate(entry);
      for (const connection of entry.connections) custodies.opened(connection);
    } else if (entry.kind === 'erasure') {
      this.#erasures.take(index, entry, this.#findings);
      this.#rests.add(index, entry);
    }
  }

  #checkContent(index: number, entry: Entry, items: readonly ReportItem[], hasHash: boolean): boolean {
    const result = this.#result;
    const check = checkItems(this.#crypto, entry, items);
    if (check.problems.length > 0) {
      // an entry that was changed is said to be; what its content does not fit to says nothing more
      if (hasHash) for (const problem of check.problems) this.#say('tampered', 'content', `the content of entry ${index}: ${problem}`, { index });
      return false;
    }
    result.contentBytes += check.openedBytes;
    const withoutReason = unexplained(entry, items);
    if (withoutReason > 0)
      this.#say(
        'tampered',
        'dropped',
        `${countOf(withoutReason, 'segment')} of entry ${index} are said to be never stored, and the entry does not say so`,
        { index },
      );
    const { attributes } = contentCounts(entry);
    for (const [list, of] of [
      ['attributes', items.slice(0, attributes)],
      ['segments', items.slice(attributes)],
    ] as const) {
      const erased = of.flatMap(({ state }, k) => (state === 'erased' ? [k] : []));
      const kept = of.filter(({ state }) => state === 'kept').length;
      if (hasHash && index < erasuresMost && (kept > 0 || erased.length > 0)) this.#erasures.note(index, list, kept, erased);
    }
    for (const { state } of items) {
      if (state === 'withheld') this.#counts.withheld++;
      if (state === 'dropped') this.#counts.dropped++;
    }
    return true;
  }

  #sayContent(head: ReportHead): void {
    const { checked, notChecked, contentBytes } = this.#result;
    const { withContent, without, withheld, dropped, unread } = this.#counts;
    const before = this.#findings.list.length;
    if (head.isWithheld) {
      notChecked.push('the content: it was withheld from this report');
      this.#step('content', before, 'the content was withheld from this report', 'unknown');
      return;
    }
    if (without > 0)
      this.#say(
        'missing',
        'record-missing',
        `the content of ${countOf(without, 'entry', 'entries')} is not in the report, though nothing was withheld`,
      );
    // erasures that are not in the report cannot speak for what they erased
    this.#erasures.finish(this.#findings, false);
    if (withheld > 0)
      notChecked.push(
        `${countOf(withheld, 'segment')} of content that the maker could not read, or that are too long for a report; their hashes are bound`,
      );
    if (dropped > 0)
      notChecked.push(`${countOf(dropped, 'stretch', 'stretches')} of content that were never stored, by rule; their hashes are bound`);
    if (unread > 0) notChecked.push(`${countOf(unread, 'entry', 'entries')} that could not be read`);
    const isBad = this.#findings.has('content');
    this.#step('content', before, `the content of ${countOf(withContent, 'entry', 'entries')} fits to its commitments`, isBad ? 'bad' : 'ok');
    if (!isBad) checked.push(`the content against the commitments of its entries (${contentBytes} bytes)`);
  }

  /** Where the hashes do not lead to the root: which of them, or which entry, was changed, as far as what does fit tells it. */
  #checkOdd(tree: ReportTree, isSignatureBad: boolean): void {
    if (this.#oddTree === undefined) return;
    if (tree.areOddEntriesGenuine) {
      for (const index of tree.odd)
        this.#say('tampered', 'proof', `the hash of entry ${index} in the report was changed; the entry itself leads to the signed root`, { index });
      return;
    }
    for (const index of tree.odd) {
      const message = `entry ${index} does not have the hash that the report has for it, and does not lead to the signed root`;
      this.#say('tampered', 'leaf', message, { index });
    }
    const { message, where } = this.#oddTree;
    const isCheckpoint = tree.odd.length === 0 && isSignatureBad;
    this.#say('tampered', 'range', isCheckpoint ? 'entries and hashes fit to each other, and not to the checkpoint: it was changed' : message, where);
  }

  #checkKeys(note: Uint8Array, checkpoint: ParsedCheckpoint, own: Vkey | 'bad' | undefined, tree: ReportTree): void {
    const { vkeys, known, isOwnKeyTaken } = this.#options;
    const result = this.#result;
    const { checked, notChecked } = result;
    const before = this.#findings.list.length;
    const isKnown = known !== undefined && known.size === checkpoint.size && equal(known.root, checkpoint.root);
    this.#compareKnown(checkpoint, tree);
    const trusted = vkeys.length > 0 ? vkeys : own !== 'bad' && own !== undefined ? [own] : [];
    this.#keys.trust(trusted);
    if (vkeys.length > 0 && own !== 'bad') this.#checkKnownKey(note, checkpoint, vkeys);
    this.#keys.finish();
    for (const { severity, code, message, index } of this.#keyFindings.list) this.#say(severity, code, message, index === undefined ? {} : { index });
    if (vkeys.length === 0) {
      const whose = 'whose key it is: compare its fingerprint with one that you have from elsewhere';
      if (isOwnKeyTaken && own !== 'bad' && own !== undefined) notChecked.push(whose);
      else if (isKnown) notChecked.push('the signature: no key is known, but the checkpoint itself is');
      else if (own !== 'bad') {
        this.#say('missing', 'key-unknown', `no key is known for ${checkpoint.origin}: give a trust file with its key (--policy)`);
        notChecked.push('the signature: without a key from elsewhere anybody could have made this report');
      }
    } else if (this.#findings.list.slice(before).every(({ severity }) => severity === 'note')) {
      result.isKeyKnown = true;
      checked.push(`the checkpoint's signature by ${result.vkey === undefined ? 'a known key' : result.vkey.slice(0, result.vkey.lastIndexOf('+'))}`);
    }
    const good = result.isKeyKnown ? 'the key is known from elsewhere' : 'every key that the entries name belongs to the one that signed';
    this.#step('keys', before, own === 'bad' ? 'no key that can be followed' : good, own === 'bad' ? 'unknown' : 'ok');
  }

  /** A key that is known signed the checkpoint, or one that follows from it by entries of the report. */
  #checkKnownKey(note: Uint8Array, { origin }: ParsedCheckpoint, vkeys: readonly Vkey[]): void {
    const opened = openNote(this.#crypto, note, this.#keys.vouched());
    if ('problem' in opened) {
      this.#say('tampered', 'signature', opened.message);
      return;
    }
    const vkey = opened.verified.find(({ name }) => name === origin);
    if (vkey) {
      this.#result.vkey = formatVkey(this.#crypto, vkey.name, vkey.publicKey);
      this.#result.keyFingerprint = this.#fingerprint(vkey);
      return;
    }
    const other = opened.unknown.find(({ name }) => name === origin);
    if (other && vkeys.some(({ name }) => name === origin))
      this.#say('tampered', 'key-changed', `the checkpoint is signed by another key (${hex(other.keyId)}) than the one that is known`);
    else this.#say('tampered', 'signature', `the checkpoint of ${origin} has no signature by a key that is known for it`);
  }

  #compareKnown(checkpoint: ParsedCheckpoint, tree: ReportTree): void {
    const { known } = this.#options;
    if (!known || known.size === 0) return;
    const root = known.size === checkpoint.size ? checkpoint.root : tree.knownRoot;
    if (root === undefined) {
      this.#result.notChecked.push(`the checkpoint known before (${known.size} entries): the report has no proof from it`);
    } else compareKnown(root, known, this.#result.checked, (...found) => this.#say(...found));
  }

  /** Cosignatures by the witnesses whose keys the maker knew. */
  #checkWitnesses(head: ReportHead, note: Uint8Array): void {
    const { checked, notChecked, origin } = this.#result;
    const before = this.#findings.list.length;
    const { witnesses, problems } = readWitnesses(this.#crypto, head.witnesses, note, origin!);
    for (const { code, message } of problems) this.#say('tampered', code, message);
    this.#result.witnesses = witnesses;
    const verified = witnesses.filter(({ isVerified }) => isVerified);
    const names = verified.map(({ name, timeS }) => `${name} (${utcText(timeS)})`).join(', ');
    if (verified.length > 0) {
      checked.push(`${countOf(verified.length, 'cosignature')}, by the keys that stand in the report: ${names}`);
      if (this.#options.wanted.policy === undefined) notChecked.push('whose keys those of the witnesses are');
    } else notChecked.push('no witness: a rewrite by whoever holds the key cannot be excluded');
    const unknown = witnesses.length - verified.length;
    if (unknown > 0) notChecked.push(`${countOf(unknown, 'cosignature')} by keys that are not known`);
    this.#step('witnesses', before, verified.length > 0 ? `cosigned by ${names}` : 'no witness has cosigned', verified.length > 0 ? 'ok' : 'unknown');
  }

  #sayNotChecked({ filter, first, end }: ReportHead): void {
    const { notChecked, size, shown, inRange } = this.#result;
    if (shown < inRange)
      notChecked.push(
        `${countOf(inRange - shown, 'record')} of the range that are not shown${filter === '' ? '' : `, and that ${filter} left them out`}: only their hashes are here`,
      );
    if (first > 0 || end < size) notChecked.push('entries outside of the range of this report');
    notChecked.push('whether the ledger went on behind this checkpoint');
    notChecked.push('rules between entries (counts, references): they need the whole ledger');
    notChecked.push('times: they are those of the recorder’s own clock');
  }
}

interface SeenEntry extends BlockEntry {
  leafHash: Uint8Array;
  entry: Entry | EntryProblem;
  /** That which the report has for it. */
  hasHash: boolean;
}

function sumOf({ attributes, segments }: { attributes: number; segments: number }): number {
  return attributes + segments;
}
