/**
 * Checks one entry's proof (`spec/evidence.md`): the leaf is taken from `extra` and hashed before a word of it is believed, then its place in the tree, the
 * signatures on the checkpoint, and the content against the commitments of the leaf.
 *
 * What nothing covers: how `extra` is written down (blanks, escapes, compression); signature lines of strangers on the checkpoint; of content that is not
 * opened, the length of an attribute, and of several segments all but the sum.
 */
import { concat, equal, fromBase64, hex, utf8, utf8Text } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { saltBytes, segmentHash } from '../entry/commitment.ts';
import type { Entry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { peekBytes, proofOpenedBytes } from '../limits.ts';
import { formatVkey, openNote, type Vkey } from '../tlog/note.ts';
import { parseProofFile, verifyProofFile, type ParsedProofFile } from '../tlog/proof-file.ts';
import { hashBytes, hashLeaf } from '../tlog/tree.ts';
import { checkContent, contentCounts, type Content, type ContentItem } from './content.ts';
import { addFindings, Findings, type Exit, type Finding, type FindingCode, type Severity } from './finding.ts';
import { PayloadReader, type EntryRecord, type Item } from './payload.ts';
import { judgeCheckpoint, type Judged, type Wanted } from './trust.ts';

export interface ProofOptions {
  crypto: Crypto;
  /** Of the `.tlog-proof` file. */
  bytes: Uint8Array;
  /** The sidecar in pieces, where there is one. */
  sidecar?: (() => AsyncIterable<Uint8Array>) | undefined;
  /** Keys of logs that the caller knows. */
  vkeys: readonly Vkey[];
  /** A size and root that were seen before. */
  known?: { size: number; root: Uint8Array };
  wanted: Wanted;
}

export interface ProofVerification {
  /** 0 holds, 1 tampered, 3 cannot conclude, 4 policy not met, 5 fork. */
  exit: Exit;
  index: number | undefined;
  origin: string | undefined;
  /** Under the checkpoint. */
  size: number | undefined;
  root: Uint8Array | undefined;
  /** The key whose signature holds. */
  vkey: string | undefined;
  leafHash: Uint8Array | undefined;
  /** Only when the leaf is proven to be in the tree: what a caller may show as recorded. */
  entry: Entry | undefined;
  content: Content | undefined;
  /** Whether every commitment of the content holds, so that it may be shown. */
  contentHolds: boolean;
  cosigned: Judged['cosigned'];
  quorum: Judged['quorum'];
  findings: Finding[];
  checked: string[];
  notChecked: string[];
}

/** What `extra` says. Nothing of it is proven yet. */
export interface Extra {
  /** Absent: it stands in the sidecar. */
  leaf?: Uint8Array;
  content?: Content;
  /** Bytes of the sidecar, when there is one. */
  sidecarBytes?: number;
}

/** Verifies a proof. Never throws for anything that is in it. */
export async function verifyProof(options: ProofOptions): Promise<ProofVerification> {
  const { crypto, bytes, wanted } = options;
  const findings = new Findings();
  const result: ProofVerification = {
    exit: 3,
    index: undefined,
    origin: undefined,
    size: undefined,
    root: undefined,
    vkey: undefined,
    leafHash: undefined,
    entry: undefined,
    content: undefined,
    contentHolds: false,
    cosigned: [],
    quorum: undefined,
    findings: findings.list,
    checked: [],
    notChecked: [],
  };
  const say = (severity: Severity, code: FindingCode, message: string): void => {
    findings.add(severity, code, message, result.index === undefined ? {} : { index: result.index });
    result.exit = findings.exit;
  };
  const file = parseProofFile(bytes);
  if ('problem' in file) {
    say('missing', 'proof', `it is no proof that can be read: ${file.line > 0 ? `line ${file.line}: ` : ''}${file.message}`);
    return result;
  }
  const { index, parsed } = file;
  Object.assign(result, { exit: 0, index, origin: parsed.origin, size: parsed.size, root: parsed.root });

  checkSignature(options, file, result, say);
  const extra = await readExtra(crypto, file.extra);
  if (typeof extra === 'string') say('missing', 'proof', `the entry cannot be read: ${extra}`);
  else await checkEntry(options, file, extra, result, say);

  const judged = judgeCheckpoint(crypto, wanted, file.checkpoint, result.entry?.time);
  addFindings(result, judged.findings);
  result.checked.push(...judged.checked);
  result.notChecked.push(...judged.notChecked);
  result.cosigned = judged.cosigned;
  result.quorum = judged.quorum;
  if (judged.cosigned.length === 0) result.notChecked.push('no witness: a rewrite by whoever holds the key cannot be excluded');
  result.notChecked.push('anything but this entry: what came before and after it, and whether it was answered');
  result.notChecked.push('times: they are those of the recorder’s own clock');
  return result;
}

type Say = (severity: Severity, code: FindingCode, message: string) => void;

function checkSignature({ crypto, vkeys, known }: ProofOptions, { checkpoint, parsed }: ParsedProofFile, result: ProofVerification, say: Say): void {
  const isKnown = known !== undefined && known.size === parsed.size && equal(known.root, parsed.root);
  if (known) {
    if (isKnown) result.checked.push('that the checkpoint is the one that was known before');
    else if (known.size === parsed.size) {
      say(
        'rollback',
        'fork',
        `the checkpoint over ${parsed.size} entries is not the one that was known: history was rewritten, or this is another branch`,
      );
    } else {
      result.notChecked.push(
        `the checkpoint known before (${known.size} entries): a proof of one entry cannot be compared with one of another size; a bundle can`,
      );
    }
  }
  if (vkeys.length === 0) {
    if (isKnown) result.notChecked.push('the signature: no key is known, but the checkpoint itself is');
    else {
      say(
        'missing',
        'key-unknown',
        `no key is known for ${parsed.origin}: give a trust file with its key (--policy), or verify the ledger here once`,
      );
      result.notChecked.push('the signature: without a key anybody could have made this proof');
    }
    return;
  }
  const opened = openNote(crypto, checkpoint, vkeys);
  if ('problem' in opened) {
    say('tampered', 'signature', opened.message);
    return;
  }
  const vkey = opened.verified.find(({ name }) => name === parsed.origin);
  if (!vkey) {
    const other = opened.unknown.find(({ name }) => name === parsed.origin);
    if (other && vkeys.some(({ name }) => name === parsed.origin))
      say('tampered', 'key-changed', `the checkpoint is signed by another key (${hex(other.keyId)}) than the one that is known`);
    else say('tampered', 'signature', `the checkpoint of ${parsed.origin} has no signature by a key that is known for it`);
    return;
  }
  result.vkey = formatVkey(crypto, vkey.name, vkey.publicKey);
  result.checked.push(`the checkpoint's signature by ${vkey.name}+${hex(vkey.keyId)}`);
}

async function checkEntry(options: ProofOptions, file: ParsedProofFile, extra: Extra, result: ProofVerification, say: Say): Promise<void> {
  const { crypto } = options;
  const { index } = file;
  let record: EntryRecord | undefined;
  let { content } = extra;
  if (extra.sidecarBytes !== undefined) {
    const read = options.sidecar ? await readSidecar(crypto, index, options.sidecar) : 'is not there';
    if (typeof read === 'string') {
      say('missing', 'sidecar', `the content is in a file of its own, beside the proof, which ${read}`);
    } else {
      ({ record, content } = read);
      if (read.sizeBytes !== extra.sidecarBytes)
        say('missing', 'sidecar', `the content’s own file has ${read.sizeBytes} bytes, the proof says ${extra.sidecarBytes}`);
    }
  }
  if (extra.leaf && record && !equal(extra.leaf, record.leaf)) {
    say('tampered', 'leaf', 'the entry beside the content is not the one of the proof');
    content = undefined;
  }
  const leaf = extra.leaf ?? record?.leaf;
  if (leaf === undefined) {
    say('missing', 'proof', 'the entry itself is not there: nothing can be said about it');
    return;
  }
  result.leafHash = hashLeaf(crypto, leaf);
  if (!verifyProofFile(crypto, file, result.leafHash)) {
    say('tampered', 'inclusion', `the entry is not entry ${index} under this checkpoint: entry, proof or checkpoint was changed`);
    return;
  }
  result.checked.push(`that this is entry ${index} of the ${file.parsed.size} under the checkpoint`);
  const entry = readEntry(leaf);
  if (entry instanceof EntryProblem) {
    const isNewer = entry.problem === 'unsupported';
    say(isNewer ? 'missing' : 'tampered', isNewer ? 'entry-unsupported' : 'entry', `entry ${index} is ${entry.message}`);
    return;
  }
  result.entry = entry;
  judgeContent(crypto, entry, content, extra.sidecarBytes !== undefined, result, say);
}

function judgeContent(crypto: Crypto, entry: Entry, content: Content | undefined, isElsewhere: boolean, result: ProofVerification, say: Say): void {
  const counts = contentCounts(entry);
  if (entry.kind === 'message' && entry.batch !== undefined)
    result.notChecked.push(`the content: it stands in that of the batch, entry ${entry.batch}, which has a proof of its own`);
  if (content === undefined) {
    if (counts.attributes + counts.segments > 0 && !isElsewhere) result.notChecked.push('the content: it is not in this proof');
    return;
  }
  const check = checkContent(crypto, entry, content);
  for (const problem of check.problems) say('tampered', 'content', `the content of entry ${result.index}: ${problem}`);
  result.contentHolds = check.problems.length === 0;
  if (!result.contentHolds) return;
  result.content = content;
  if (check.openedSegments > 0) result.checked.push(`the opened content against its commitments (${check.openedBytes} bytes)`);
  if (check.unopened > 0) {
    result.notChecked.push(
      `${check.unopened} segment(s) of content that are not opened (${check.unopenedBytes} bytes): withheld, erased, or never stored; their hashes are bound`,
    );
  }
}

// extra

/** What `extra` says, or why it cannot be read. Never throws. */
export async function readExtra(crypto: Crypto, bytes: Uint8Array | undefined): Promise<Extra | string> {
  if (bytes === undefined) return 'the proof has no `extra`, so the entry is not in it';
  const plain = bytes[0] === 0x1f ? await unzipped(bytes, proofOpenedBytes) : bytes;
  if (plain === undefined) return '`extra` cannot be unzipped, or holds more than it may';
  const text = utf8Text(plain);
  let value: unknown;
  try {
    value = text === undefined ? undefined : JSON.parse(text);
  } catch {
    // as if it were nothing
  }
  if (!isRecord(value)) return '`extra` is not a JSON object';
  const { sworn, leaf, attributes, segments, sidecar, ...rest } = value;
  if (sworn !== 1) return '`extra` is not of version 1';
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) return '`extra` has a field that is not known';
  const extra: Extra = {};
  if (leaf !== undefined) {
    if (typeof leaf !== 'string' || /\p{Surrogate}/u.test(leaf)) return '`leaf` in `extra` is not text';
    extra.leaf = utf8(leaf);
  }
  if (sidecar !== undefined) {
    if (!Number.isSafeInteger(sidecar) || (sidecar as number) < 0) return '`sidecar` in `extra` is not a count of bytes';
    if (attributes !== undefined || segments !== undefined) return '`extra` has content, and a sidecar too';
    extra.sidecarBytes = sidecar as number;
  }
  if (attributes !== undefined || segments !== undefined) {
    const content: Content = { attributes: [], segments: [] };
    for (const [list, given] of [
      [content.attributes, attributes ?? []],
      [content.segments, segments ?? []],
    ] as const) {
      if (!Array.isArray(given)) return 'content in `extra` is not a list';
      for (const one of given as unknown[]) {
        const item = itemOf(crypto, one);
        if (!item) return 'a segment in `extra` is not of the format';
        list.push(item);
      }
    }
    extra.content = content;
  }
  return extra;
}

/** `{salt, text}`, `{salt, base64}`, or `{hash, sizeBytes}`. */
function itemOf(crypto: Crypto, value: unknown): ContentItem | undefined {
  if (!isRecord(value)) return undefined;
  const { salt, text, base64, hash, sizeBytes } = value;
  const count = Object.keys(value).length;
  if (typeof hash === 'string') {
    const digest = fromBase64(hash);
    if (count !== 2 || digest?.length !== hashBytes || !Number.isSafeInteger(sizeBytes) || (sizeBytes as number) < 0) return undefined;
    return { opened: false, hash: digest, sizeBytes: sizeBytes as number };
  }
  if (typeof salt !== 'string' || count !== 2) return undefined;
  const salted = fromBase64(salt);
  const bytes = typeof text === 'string' && !/\p{Surrogate}/u.test(text) ? utf8(text) : typeof base64 === 'string' ? fromBase64(base64) : undefined;
  if (salted?.length !== saltBytes || !bytes) return undefined;
  return { opened: true, hash: segmentHash(crypto, salted, bytes), sizeBytes: bytes.length, bytes };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** At most `mostBytes` of gzip's content; `undefined` when there is more, or it is damaged. */
async function unzipped(bytes: Uint8Array, mostBytes: number): Promise<Uint8Array | undefined> {
  const stream = new DecompressionStream('gzip');
  const writer = stream.writable.getWriter();
  // what is wrong is met by the reader too
  writer.write(Uint8Array.from(bytes)).catch(() => undefined);
  writer.close().catch(() => undefined);
  const reader = stream.readable.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      sizeBytes += value.length;
      if (sizeBytes > mostBytes) {
        await reader.cancel();
        return undefined;
      }
      pieces.push(value);
    }
  } catch {
    return undefined;
  }
  return concat(...pieces);
}

// The sidecar: a payload segment (`spec/ledger.md`) with this one entry and the parts of its frame

interface Sidecar {
  record: EntryRecord;
  content: Content;
  sizeBytes: number;
}

/** The sidecar, or what is wrong with it. */
async function readSidecar(crypto: Crypto, index: number, pieces: () => AsyncIterable<Uint8Array>): Promise<Sidecar | string> {
  let sizeBytes = 0;
  async function* counted(): AsyncIterable<Uint8Array> {
    for await (const piece of pieces()) {
      sizeBytes += piece.length;
      yield piece;
    }
  }
  const none = async (): Promise<undefined> => undefined;
  const source = { checkpoint: none, tile: none, bundle: none, segment: counted };
  const reader = new PayloadReader(source, [{ first: index, path: 'sidecar' }]);
  const parts = new Map<string, ContentItem>();
  let heldBytes = 0;
  let record: EntryRecord | undefined;
  try {
    for (;;) {
      const event = reader.take() ?? (await reader.fill());
      if (event === false) break;
      if (event === true) continue;
      if (event.kind === 'trouble' || event.kind === 'pruned') return 'is damaged';
      if (event.kind === 'header') {
        if (event.first !== index) return `is of entry ${event.first}`;
      } else if (record !== undefined || (event.kind === 'entry' && event.index !== index)) return 'holds something else too';
      else if (event.kind === 'entry') record = event;
      else if (!event.erased) {
        heldBytes += event.bytes.length;
        const item: ContentItem = { opened: true, hash: segmentHash(crypto, event.salt, event.bytes), sizeBytes: event.bytes.length };
        // the beginning is what people are shown
        if (heldBytes <= peekBytes) item.bytes = event.bytes;
        parts.set(`${event.segment.first}:${event.offset}`, item);
      }
    }
  } catch (error) {
    return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (record === undefined) return 'holds no entry';
  const content: Content = { attributes: [], segments: [] };
  for (const [list, items] of [
    [content.attributes, record.attributes],
    [content.segments, record.segments],
  ] as const) {
    for (const item of items) list.push(openedItem(crypto, item, parts));
  }
  return { record, content, sizeBytes };
}

/** An item of a record as content. A part that is not there, or is another one, counts as not opened: its hash is bound all the same. */
export function openedItem(crypto: Crypto, item: Item, parts: ReadonlyMap<string, ContentItem>): ContentItem {
  if (item.kind === 'kept') return { opened: true, hash: segmentHash(crypto, item.salt, item.bytes), sizeBytes: item.sizeBytes, bytes: item.bytes };
  const part = item.kind === 'part' ? parts.get(`${item.file}:${item.offset}`) : undefined;
  if (part && part.sizeBytes === item.sizeBytes && equal(part.hash, item.hash)) return part;
  return { opened: false, hash: item.hash, sizeBytes: item.sizeBytes };
}
