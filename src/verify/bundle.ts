/**
 * Checks a bundle of evidence (`spec/evidence.md`): all entries of a period against one checkpoint, their content, what was in force, a random sample.
 *
 * The manifest is signed by nobody. What it says of files only tells damage; what counts is that entries, proofs and content lead to the signed root.
 */
import { concat, equal, fromBase64, hex, utf8Text } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { segmentHash } from '../entry/commitment.ts';
import type { Custody, Entry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { bundleFileBytes, bundleSampleCount, entryBytes, proofFileBytes } from '../limits.ts';
import type { ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { checkpointOf, formatVkey, openNote, type Vkey } from '../tlog/note.ts';
import { verifyConsistency } from '../tlog/proof.ts';
import { hashLeaf } from '../tlog/tree.ts';
import { checkContent, contentCounts, type ContentItem } from './content.ts';
import { Custodies } from './custody.ts';
import { Findings, type Exit, type Finding, type FindingCode, type Severity } from './finding.ts';
import { compareKnown } from './known.ts';
import { PayloadReader, type EntryRecord } from './payload.ts';
import { openedItem, verifyProof, type ProofVerification } from './proof.ts';
import { drawSample, Edge, leftOf, pushAll, rightOf } from './range.ts';
import type { SegmentName } from './source.ts';
import { judgeCheckpoint, type Judged, type Wanted } from './trust.ts';

/** Files of a bundle by name, from a tar file or a folder. */
export interface BundleSource {
  names(): string[];
  sizeOf(name: string): number;
  /** The bytes in pieces of any size. A piece is not written to again. */
  pieces(name: string): AsyncIterable<Uint8Array>;
}

export interface BundleOptions {
  crypto: Crypto;
  source: BundleSource;
  vkeys: readonly Vkey[];
  known?: { size: number; root: Uint8Array };
  wanted: Wanted;
}

export interface Manifest {
  sworn: 1;
  origin: string;
  /** Of the checkpoint. */
  size: number;
  /** The entries of the period: [first, end). */
  first: number;
  end: number;
  /** What was asked for, as times; absent where the period is open. */
  since?: string;
  until?: string;
  /** Hashes of the complete subtrees beside the entries, in base64. */
  left: string[];
  right: string[];
  /** A checkpoint that was known when the period began, and the proof that this one continues it. The note is the file `start.checkpoint`. */
  start?: { size: number; root: string; proof: string[] };
  isWithheld: boolean;
  sample: { seed: string; indexes: number[] };
  files: Record<string, { sizeBytes: number; sha256: string }>;
}

export interface BundleVerification {
  exit: Exit;
  origin: string | undefined;
  size: number | undefined;
  root: Uint8Array | undefined;
  vkey: string | undefined;
  first: number | undefined;
  end: number | undefined;
  since: string | undefined;
  until: string | undefined;
  /** Times of the first and the last entry. */
  firstTime: string | undefined;
  lastTime: string | undefined;
  messages: number;
  blocked: number;
  connections: number;
  custody: Custody | undefined;
  contentBytes: number;
  /** Entries with content that is not here at all. */
  withoutContent: number;
  unopenedSegments: number;
  /** Entries that tell what was in force, or who it was, from before the period, and erasures from behind it. */
  context: { index: number; entry: Entry }[];
  sample: number[];
  cosigned: Judged['cosigned'];
  quorum: Judged['quorum'];
  findings: Finding[];
  findingsOmitted: number;
  checked: string[];
  notChecked: string[];
}

/** Of what is read whole. */
const smallFileBytes = 64 * 1024 * 1024;

/** Verifies a bundle. Never throws for anything that is in it. */
export async function verifyBundle(options: BundleOptions): Promise<BundleVerification> {
  return new BundleVerifier(options).run();
}

/** What a bundle's manifest says, or `undefined`. Nothing of it is proven. */
export function parseManifest(bytes: Uint8Array): Manifest | undefined {
  const text = utf8Text(bytes);
  let value: Manifest;
  try {
    value = JSON.parse(text ?? '') as Manifest;
  } catch {
    return undefined;
  }
  const isCount = (one: unknown): boolean => Number.isSafeInteger(one) && (one as number) >= 0;
  const isTexts = (one: unknown): boolean => Array.isArray(one) && one.length <= 128 && one.every((item) => typeof item === 'string');
  const isObject = (one: unknown): boolean => typeof one === 'object' && one !== null && !Array.isArray(one);
  const isTime = (one: unknown): boolean => one === undefined || (typeof one === 'string' && one.length <= 40);
  if (!isObject(value) || value.sworn !== 1 || typeof value.origin !== 'string') return undefined;
  if (![value.size, value.first, value.end].every(isCount) || value.first >= value.end || value.end > value.size) return undefined;
  if (![value.left, value.right].every(isTexts) || ![value.since, value.until].every(isTime) || typeof value.isWithheld !== 'boolean')
    return undefined;
  const { start, sample, files } = value;
  if (start !== undefined && (!isObject(start) || !isCount(start.size) || typeof start.root !== 'string' || !isTexts(start.proof))) return undefined;
  if (!isObject(sample) || typeof sample.seed !== 'string' || sample.seed.length > 256 || !Array.isArray(sample.indexes)) return undefined;
  if (sample.indexes.length > bundleSampleCount || !sample.indexes.every(isCount)) return undefined;
  if (!isObject(files)) return undefined;
  for (const file of Object.values(files))
    if (!isObject(file) || !isCount(file.sizeBytes) || !/^[0-9a-f]{64}$/.test(String(file.sha256))) return undefined;
  return value;
}

/** All of a file of a bundle; `undefined` where it is missing, or longer than that. */
export async function whole(source: BundleSource, name: string, mostBytes: number): Promise<Uint8Array | undefined> {
  if (!source.names().includes(name) || source.sizeOf(name) > mostBytes) return undefined;
  const pieces: Uint8Array[] = [];
  for await (const piece of source.pieces(name)) pieces.push(piece);
  return concat(...pieces);
}

class BundleVerifier {
  readonly #crypto: Crypto;
  readonly #source: BundleSource;
  readonly #options: BundleOptions;
  readonly #findings = new Findings();
  readonly #custodies = new Custodies();
  readonly #result: BundleVerification = {
    exit: 3,
    origin: undefined,
    size: undefined,
    root: undefined,
    vkey: undefined,
    first: undefined,
    end: undefined,
    since: undefined,
    until: undefined,
    firstTime: undefined,
    lastTime: undefined,
    messages: 0,
    blocked: 0,
    connections: 0,
    custody: undefined,
    contentBytes: 0,
    withoutContent: 0,
    unopenedSegments: 0,
    context: [],
    sample: [],
    cosigned: [],
    quorum: undefined,
    findings: this.#findings.list,
    findingsOmitted: 0,
    checked: [],
    notChecked: [],
  };
  /** Leaf hashes of the period, one behind the other. */
  #hashes = new Uint8Array(0);
  /** Entries of the period that have content, and those whose content was met. */
  #withContent = 0;
  #metContent = 0;
  #isWhole = false;
  #startSize: number | undefined;
  #keys: Vkey[] = [];

  constructor(options: BundleOptions) {
    this.#options = options;
    this.#crypto = options.crypto;
    this.#source = options.source;
  }

  #say(severity: Severity, code: FindingCode, message: string, at: { index?: number; path?: string } = {}): void {
    this.#findings.add(severity, code, message, at);
  }

  async run(): Promise<BundleVerification> {
    const result = this.#result;
    try {
      await this.#check();
    } catch (error) {
      this.#say('missing', 'unreadable', `the bundle cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
    const { exit } = this.#findings;
    result.exit = exit;
    result.findingsOmitted = this.#findings.omitted;
    return result;
  }

  async #check(): Promise<void> {
    const result = this.#result;
    const { checked, notChecked } = result;
    const bytes = await whole(this.#source, 'manifest.json', smallFileBytes);
    const manifest = bytes && parseManifest(bytes);
    if (!manifest) {
      this.#say('missing', 'manifest', 'there is no manifest that can be read', { path: 'manifest.json' });
      return;
    }
    await this.#checkFiles(manifest);
    const note = await whole(this.#source, 'checkpoint', bundleFileBytes);
    const checkpoint = checkpointOf(note);
    if (!note || !checkpoint) {
      this.#say('missing', 'checkpoint-unreadable', 'the checkpoint is missing, or is none', { path: 'checkpoint' });
      return;
    }
    const { first, end, since, until } = manifest;
    this.#startSize = manifest.start?.size;
    Object.assign(result, { origin: checkpoint.origin, size: checkpoint.size, root: checkpoint.root, first, end, since, until });
    if (checkpoint.origin !== manifest.origin || checkpoint.size !== manifest.size)
      this.#say('tampered', 'manifest', 'the manifest is about another checkpoint', { path: 'manifest.json' });
    this.#checkSignature(note, checkpoint);
    await this.#checkEntries(manifest, checkpoint);
    await this.#checkStart(manifest, checkpoint);
    if (this.#isWhole) {
      if (manifest.isWithheld) notChecked.push('the content: it was withheld');
      else await this.#checkPayload(manifest);
      await this.#checkContext(manifest);
      this.#judgeCustody();
      await this.#checkSample(manifest);
    } else result.custody = this.#custodies.weakest;

    const judged = judgeCheckpoint(this.#crypto, this.#options.wanted, note, result.lastTime);
    for (const { severity, code, message } of judged.findings) this.#say(severity, code, message, { path: 'checkpoint' });
    checked.push(...judged.checked);
    notChecked.push(...judged.notChecked);
    result.cosigned = judged.cosigned;
    result.quorum = judged.quorum;
    if (judged.cosigned.length === 0) notChecked.push('no witness: a rewrite by whoever holds the key cannot be excluded');
    notChecked.push('entries outside of the period, and that the period is the one that was asked for: times are those of the recorder’s own clock');
    notChecked.push('rules between entries (counts, references): they need the whole ledger');
  }

  /** The files are those that the manifest lists, byte for byte. */
  async #checkFiles({ files }: Manifest): Promise<void> {
    const names = new Set(this.#source.names());
    for (const name of names) {
      if (name !== 'manifest.json' && files[name] === undefined)
        this.#say('tampered', 'manifest', `${name} is not listed in the manifest`, { path: name });
    }
    for (const [name, { sizeBytes, sha256 }] of Object.entries(files)) {
      if (!names.has(name)) {
        this.#say('missing', 'manifest', `${name} is missing`, { path: name });
        continue;
      }
      const hasher = this.#crypto.hasher();
      let read = 0;
      for await (const piece of this.#source.pieces(name)) {
        hasher.update(piece);
        read += piece.length;
      }
      if (read !== sizeBytes || hex(hasher.digest()) !== sha256)
        this.#say('tampered', 'manifest', `${name} is not the file that the manifest lists`, { path: name });
    }
    this.#result.checked.push(`that the files are those of the manifest (${names.size})`);
  }

  #checkSignature(note: Uint8Array, checkpoint: ParsedCheckpoint): void {
    const result = this.#result;
    const { vkeys, known } = this.#options;
    const isKnown = known !== undefined && known.size === checkpoint.size && equal(known.root, checkpoint.root);
    if (vkeys.length === 0) {
      if (isKnown) result.notChecked.push('the signature: no key is known, but the checkpoint itself is');
      else {
        this.#say('missing', 'key-unknown', `no key is known for ${checkpoint.origin}: give a trust file with its key (--policy)`);
        result.notChecked.push('the signature: without a key anybody could have made this bundle');
      }
      return;
    }
    const opened = openNote(this.#crypto, note, vkeys);
    if ('problem' in opened) {
      this.#say('tampered', 'signature', opened.message, { path: 'checkpoint' });
      return;
    }
    const vkey = opened.verified.find(({ name }) => name === checkpoint.origin);
    if (!vkey) {
      this.#say('tampered', 'signature', `the checkpoint of ${checkpoint.origin} has no signature by a key that is known for it`, {
        path: 'checkpoint',
      });
      return;
    }
    this.#keys = [vkey];
    result.vkey = formatVkey(this.#crypto, vkey.name, vkey.publicKey);
    result.checked.push(`the checkpoint's signature by ${vkey.name}+${hex(vkey.keyId)}`);
  }

  /** Every entry of the period, and with the hashes beside them the signed root. */
  async #checkEntries({ first, end, left, right }: Manifest, checkpoint: ParsedCheckpoint): Promise<void> {
    const result = this.#result;
    const path = 'entries.ndjson';
    const edge = new Edge(this.#crypto);
    const hashes = (list: string[]): Uint8Array[] => list.map((one) => fromBase64(one) ?? new Uint8Array(0));
    if (!pushAll(edge, leftOf(first), hashes(left))) {
      this.#say('tampered', 'range', `the proof does not fit to the entries before ${first}`, { path: 'manifest.json' });
      return;
    }
    const prefix = edge.root();
    if (!this.#source.names().includes(path)) {
      this.#say('missing', 'range', 'the entries are not there', { path });
      return;
    }
    const gathered: Uint8Array[] = [];
    const connections = new Set<string>();
    let index = first;
    for await (const line of linesOf(this.#source.pieces(path))) {
      if (line === undefined || index >= end) {
        this.#say(
          'tampered',
          'range',
          line === undefined ? `a line of ${path} is no entry` : `there are more entries than the ${end - first} of the period`,
          {
            path,
          },
        );
        return;
      }
      const hash = hashLeaf(this.#crypto, line);
      gathered.push(hash);
      edge.push(0, hash);
      this.#entry(index++, line, connections);
    }
    result.connections = connections.size;
    if (index !== end || !pushAll(edge, rightOf(end, checkpoint.size), hashes(right)) || !equal(edge.root(), checkpoint.root)) {
      const what = index === end ? 'an entry was changed, moved or taken out' : `there are ${index - first} entries of ${end - first}`;
      this.#say('tampered', 'range', `the entries ${first} to ${end - 1} do not lead to the signed root: ${what}`, { path });
      return;
    }
    this.#isWhole = true;
    this.#hashes = new Uint8Array(gathered.length * 32);
    for (const [i, hash] of gathered.entries()) this.#hashes.set(hash, i * 32);
    result.checked.push(`that these are the entries ${first} to ${end - 1}, all of them, of the ${checkpoint.size} under the checkpoint`);
    this.#compareKnown(first, prefix, checkpoint);
  }

  #compareKnown(first: number, prefix: Uint8Array, checkpoint: ParsedCheckpoint): void {
    const { known } = this.#options;
    if (!known || known.size === 0) return;
    const root = known.size === checkpoint.size ? checkpoint.root : known.size === first ? prefix : undefined;
    if (root === undefined) {
      // of a tree of another size this bundle shows no root, unless it was given when it was made
      if (this.#startSize !== known.size)
        this.#result.notChecked.push(`the checkpoint known before (${known.size} entries): the bundle has no proof from it`);
    } else compareKnown(root, known, this.#result.checked, (...found) => this.#say(...found));
  }

  #entry(index: number, leaf: Uint8Array, connections: Set<string>): void {
    const result = this.#result;
    const entry = readEntry(leaf);
    if (entry instanceof EntryProblem) {
      const isNewer = entry.problem === 'unsupported';
      this.#say(isNewer ? 'missing' : 'tampered', isNewer ? 'entry-unsupported' : 'entry', `entry ${index} is ${entry.message}`, { index });
      return;
    }
    result.firstTime ??= entry.time;
    result.lastTime = entry.time;
    if ('connection' in entry && entry.connection !== undefined) connections.add(entry.connection);
    if (entry.kind === 'message' || entry.kind === 'batch') this.#custodies.spoke(entry.connection);
    if (entry.kind === 'message') {
      result.messages++;
      if (entry.verdict === 'block') result.blocked++;
    }
    this.#custody(entry);
    const counts = contentCounts(entry);
    if (counts.attributes + counts.segments > 0) this.#withContent++;
  }

  #custody(entry: Entry): void {
    if (entry.kind === 'prune') for (const one of entry.connections) this.#custodies.opened(one);
    else if (entry.kind === 'open') this.#custodies.opened(entry);
  }

  #judgeCustody(): void {
    const { custody, unknown } = this.#custodies;
    this.#result.custody = custody;
    if (unknown > 0)
      this.#result.notChecked.push(`the custody of ${unknown} connection(s): the entries that say how they began are not in the bundle`);
  }

  async #checkStart({ start }: Manifest, { size, root, origin }: ParsedCheckpoint): Promise<void> {
    const { checked, notChecked } = this.#result;
    const { known } = this.#options;
    if (start === undefined) {
      notChecked.push('that the ledger continues from before the period: no earlier checkpoint was given when the bundle was made');
      return;
    }
    const path = 'start.checkpoint';
    const root1 = fromBase64(start.root);
    const proof = start.proof.map((one) => fromBase64(one) ?? new Uint8Array(0));
    if (!root1 || !verifyConsistency(this.#crypto, { size1: start.size, root1, size2: size, root2: root, proof })) {
      this.#say('rollback', 'fork', `the checkpoint does not continue the ${start.size} entries known at the start of the period`, { path });
      return;
    }
    checked.push(`that the checkpoint continues the ${start.size} entries known at the start of the period`);
    if (known?.size === start.size && !equal(known.root, root1))
      this.#say('rollback', 'fork', `the checkpoint of ${start.size} entries is not the one that is known here: this is another branch`, { path });
    const bytes = await whole(this.#source, path, bundleFileBytes);
    const before = checkpointOf(bytes);
    if (!bytes || !before || before.origin !== origin || before.size !== start.size || !equal(before.root, root1)) {
      this.#say('tampered', 'manifest', `${path} is not the checkpoint that the manifest names`, { path });
      return;
    }
    const opened = openNote(this.#crypto, bytes, this.#keys);
    if (this.#keys.length > 0 && ('problem' in opened || opened.verified.length === 0))
      this.#say('tampered', 'key-changed', `${path} is not signed by the key of this ledger`, { path });
  }

  async #checkPayload({ first, end }: Manifest): Promise<void> {
    const result = this.#result;
    const names = this.#source
      .names()
      .filter((name) => /^payload\/[0-9]{16}$/.test(name))
      .sort();
    const segments = names.map((path): SegmentName => ({ first: Number(path.slice(8)), path }));
    const none = async (): Promise<undefined> => undefined;
    const source = { checkpoint: none, tile: none, bundle: none, segment: ({ path }: SegmentName) => this.#source.pieces(path) };
    const reader = new PayloadReader(source, segments);
    const parts = new Map<string, ContentItem>();
    let last = first - 1;
    for (;;) {
      const event = reader.take() ?? (await reader.fill());
      if (event === false) break;
      if (event === true || event.kind === 'header') continue;
      const { path } = event.segment;
      if (event.kind === 'pruned') this.#say('tampered', 'record', `${path} begins with nothing`, { path });
      else if (event.kind === 'trouble') this.#say('tampered', 'record', `${path} is damaged at byte ${event.offset}`, { path });
      else if (event.kind === 'part') {
        if (event.erased) continue;
        const hash = segmentHash(this.#crypto, event.salt, event.bytes);
        parts.set(`${event.segment.first}:${event.offset}`, { opened: true, hash, sizeBytes: event.bytes.length });
      } else if (event.index <= last || event.index >= end) {
        this.#say('tampered', 'record', `${path} has the record of entry ${event.index} where none of it belongs`, { index: event.index, path });
      } else {
        last = event.index;
        this.#record(event, first, parts);
      }
    }
    result.withoutContent = this.#withContent - this.#metContent;
    result.checked.push(`the content against the commitments of its entries (${result.contentBytes} bytes)`);
    if (result.withoutContent > 0) {
      const message = `the content of ${result.withoutContent} entries is not in the bundle, though nothing was withheld`;
      this.#say('missing', 'record-missing', message, { path: 'payload' });
    }
    if (result.unopenedSegments > 0)
      result.notChecked.push(`${result.unopenedSegments} segment(s) of content that were erased or never stored; their hashes are bound`);
  }

  #record(record: EntryRecord, first: number, parts: Map<string, ContentItem>): void {
    const result = this.#result;
    const { index, leaf } = record;
    const { path } = record.segment;
    const at = (index - first) * 32;
    if (!equal(hashLeaf(this.#crypto, leaf), this.#hashes.subarray(at, at + 32))) {
      this.#say('tampered', 'leaf', `entry ${index} in the payload is not the one of the period`, { index, path });
      return;
    }
    const entry = readEntry(leaf);
    if (entry instanceof EntryProblem) return; // a finding already
    const items = (list: EntryRecord['attributes']): ContentItem[] => list.map((item) => openedItem(this.#crypto, item, parts));
    const check = checkContent(this.#crypto, entry, { attributes: items(record.attributes), segments: items(record.segments) });
    for (const item of record.segments) if (item.kind === 'part') parts.delete(`${item.file}:${item.offset}`);
    for (const problem of check.problems) this.#say('tampered', 'content', `the content of entry ${index}: ${problem}`, { index, path });
    const counts = contentCounts(entry);
    if (counts.attributes + counts.segments > 0) this.#metContent++;
    result.contentBytes += check.openedBytes;
    result.unopenedSegments += check.unopened;
  }

  /** A proof within the bundle, about its own checkpoint. */
  async #proof(name: string): Promise<ProofVerification | undefined> {
    const bytes = await whole(this.#source, name, proofFileBytes);
    if (!bytes) {
      this.#say('missing', 'proof', `${name} is missing, or too long`, { path: name });
      return undefined;
    }
    const beside = `${name.replace(/\.tlog-proof$/, '')}.payload`;
    const sidecar = this.#source.names().includes(beside) ? () => this.#source.pieces(beside) : undefined;
    const result = await verifyProof({
      crypto: this.#crypto,
      bytes,
      sidecar,
      vkeys: this.#keys,
      // without a key the root of the bundle's checkpoint is all there is: that no key is known was said once
      ...(this.#keys.length === 0 ? { known: { size: this.#result.size!, root: this.#result.root! } } : {}),
      wanted: { nowS: this.#options.wanted.nowS },
    });
    for (const { severity, code, message } of result.findings) this.#say(severity, code, `${name}: ${message}`, { path: name });
    const theirs = result.size === this.#result.size && result.root && this.#result.root && equal(result.root, this.#result.root);
    if (result.size !== undefined && !theirs) this.#say('tampered', 'proof', `${name} is a proof under another checkpoint`, { path: name });
    return result.entry ? result : undefined;
  }

  async #checkContext({ first, end }: Manifest): Promise<void> {
    const result = this.#result;
    const names = this.#source.names().filter((name) => /^context\/[0-9]+\.tlog-proof$/.test(name));
    for (const name of names) {
      const proof = await this.#proof(name);
      if (proof?.entry === undefined || proof.index === undefined) continue;
      if (proof.index >= first && proof.index < end) continue;
      if (proof.index < first) this.#custody(proof.entry);
      result.context.push({ index: proof.index, entry: proof.entry });
    }
    result.context.sort((a, b) => a.index - b.index);
    if (names.length > 0) result.checked.push(`${names.length} proof(s) of what was in force, who it was, or was erased later`);
    result.notChecked.push('that nothing else was in force at the start: only the entries themselves are proven');
  }

  async #checkSample({ first, end, sample }: Manifest): Promise<void> {
    const { seed, indexes } = sample;
    const result = this.#result;
    const drawn = drawSample(this.#crypto, seed, first, end, indexes.length);
    if (drawn.join() !== indexes.join()) {
      this.#say('tampered', 'sample', 'the sample is not the one that its seed draws', { path: 'manifest.json' });
      return;
    }
    for (const index of indexes) {
      const proof = await this.#proof(`sample/${index}.tlog-proof`);
      if (proof && proof.index !== index) this.#say('tampered', 'sample', `sample/${index}.tlog-proof is about entry ${proof.index}`, { index });
    }
    result.sample = indexes;
    result.checked.push(`a sample of ${indexes.length} entries, drawn with the seed ${seed.length > 60 ? `${seed.slice(0, 60)}…` : seed}`);
  }
}

/** Lines without their ends; `undefined` for one that is too long to be an entry, or has no end. */
async function* linesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array | undefined> {
  let held = new Uint8Array(0);
  for await (const piece of pieces) {
    const joined = new Uint8Array(held.length + piece.length);
    joined.set(held);
    joined.set(piece, held.length);
    let from = 0;
    for (let at = joined.indexOf(10); at >= 0; at = joined.indexOf(10, from)) {
      yield at - from > entryBytes ? undefined : joined.subarray(from, at);
      from = at + 1;
    }
    held = joined.slice(from);
    if (held.length > entryBytes) {
      yield undefined;
      return;
    }
  }
  if (held.length > 0) yield undefined;
}
