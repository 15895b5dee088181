/**
 * Opens what is on disk: creates a new ledger, or brings an existing one back to its last whole record (`spec/ledger.md`, "Start and recovery").
 *
 * What must stay true: only an incomplete last record is ever cut, and only from a ledger that is not refused; a ledger that is shorter than its
 * signed head, or differs from it, is refused; what recovery counts as recorded is durable before anybody hears of it.
 * Recovery applies records through the same code as normal running (`TreeFiles`).
 * If we die here: nothing was changed but a cut of bytes that were never acknowledged, and derived files that are written again.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { equal, hex } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import { entryBytes, tileWidth } from '../limits.ts';
import { formatCheckpoint, parseCheckpoint, type Checkpoint } from '../tlog/checkpoint.ts';
import { openNote, parseNote, parseVkey } from '../tlog/note.ts';
import { TileStack, tilePath } from '../tlog/tile.ts';
import { emptyRoot, hashBytes, hashLeaf } from '../tlog/tree.ts';
import { guardSync, replaceDurably, syncAncestors, SyncError, syncFolder, writeAllSync, type Files } from './files.ts';
import { createKey, keysFolder, loadKey, signTextNow, type LedgerKey } from './keys.ts';
import { removeCopies } from './rewrite.ts';
import { SegmentKeyStore, type Encryption } from './segment-key-store.ts';
import type { SegmentKey } from './cipher.ts';
import {
  encodeSegmentHeader,
  readSegmentHeader,
  scanSegment,
  segmentHeaderBytes,
  segmentName,
  type EntryRecord,
  type PartRecord,
} from './segment.ts';
import { TreeFiles } from './tree-files.ts';

export interface Recovered {
  id: string;
  origin: string;
  key: LedgerKey;
  keysFolder: string;
  tree: TreeFiles;
  /** The open segment: its first index and where its last whole record ends. */
  segment: OpenSegment;
  segmentKeys: SegmentKeyStore;
  /** Sizes of the last signed head and of the published checkpoint whose tiles are all there. */
  signedSize: number;
  publishedSize: number;
  /** Bytes of an incomplete last record that were cut. */
  cutBytes: number;
  /** Parts behind the last entry: of frames that were being written. */
  parts: { file: number; offset: number; part: PartRecord }[];
  created: boolean;
}

export interface OpenSegment {
  firstIndex: number;
  sizeBytes: number;
  /** Its records are encrypted. */
  key: SegmentKey | undefined;
}

export interface Replay {
  /** First index that the caller wants to see again (the size of its own snapshot). */
  from: number;
  /** Told before the first entry: where the ledger's keys are. */
  keys?(folder: string): void;
  entry(record: EntryRecord, leafHash: Uint8Array): void;
}

export function recover(files: Files, folder: string, keysHome: string, replay: Replay, encryption?: Encryption): Recovered {
  const payload = join(folder, 'payload');
  const log = join(folder, 'log');
  try {
    files.mkdir(folder, 0o700);
    files.mkdir(payload, 0o700);
    files.mkdir(log, 0o755);
  } catch (error) {
    throw new SwornError('ledger-create', `the ledger ${folder} cannot be created: ${(error as Error).message}`, {}, { cause: error });
  }
  removeCopies(files, payload);
  const segments = segmentFiles(payload);
  // A crash between the creation of a segment and its header leaves an empty or headless last file, which holds nothing.
  while (segments.length > 0) {
    const last = segments.at(-1)!;
    const path = join(payload, segmentName(last));
    if (readHeader(path) !== undefined) break;
    if (statSync(path).size > segmentHeaderBytes) throw new SwornError('ledger-foreign', `${path} is not a segment of a sworn ledger`);
    files.unlink(path);
    segments.pop();
  }
  if (segments.length === 0) {
    // an interrupted creation leaves no checkpoint, or (if the segment was lost) one of size 0
    if (
      existsSync(join(log, 'tile')) ||
      !/^$|^[^\n]+\n0\n/.test(existsSync(join(log, 'checkpoint')) ? readFileSync(join(log, 'checkpoint'), 'utf8') : '')
    ) {
      throw new SwornError('ledger-rollback', `the ledger ${folder} has a tree but no payload segment`);
    }
    // entries are signed long before they are published: the checkpoint of size 0 still names the ledger whose head tells of them
    const lost = signedSizeOf(join(log, 'checkpoint'), keysHome);
    if (lost > 0) throw new SwornError('ledger-rollback', `the ledger ${folder} has no payload segment, but ${lost} entries were signed`);
    return create(files, folder, keysHome, encryption);
  }

  const id = readHeader(join(payload, segmentName(segments[0]!)))?.ledgerId;
  if (id === undefined) throw new SwornError('ledger-corrupt', `the header of ${join(payload, segmentName(segments[0]!))} is damaged`);
  const keys = keysFolder(keysHome, id);
  const key = loadKey(keys);
  replay.keys?.(keys);
  const segmentKeys = new SegmentKeyStore(keys);
  segmentKeys.configureNow(encryption);
  const origin = key.name;
  const head = openHead(join(keys, 'head'), key, origin);
  const published = existsSync(join(log, 'checkpoint')) ? openCheckpoint(join(log, 'checkpoint'), key, origin) : undefined;

  // The signed states that the tree must pass through.
  const signed = [head, ...(published ? [published] : [])];
  const tree = restoreTree(files, log, published) ?? treeBefore(files, log, firstRecorded(join(payload, segmentName(segments[0]!)), segments[0]!));
  const publishedSize = tree.size;
  const bundleFrom = tree.bundleFrom;
  const refuseOtherRoot = (): void => {
    for (const state of signed) {
      if (tree.size === state.size && !equal(tree.root(), state.root)) {
        throw new SwornError('ledger-rollback', `the ledger ${folder} has another root at size ${state.size} than was signed`);
      }
    }
  };
  refuseOtherRoot();
  const from = Math.min(bundleFrom, replay.from);
  let parts: Recovered['parts'] = [];
  let next = -1;
  /** Until the first record of all. */
  let isFirst = true;
  let end: OpenSegment = { firstIndex: segments.at(-1)!, sizeBytes: segmentHeaderBytes, key: undefined };
  const lastPath = join(payload, segmentName(end.firstIndex));

  for (let i = 0; i < segments.length; i++) {
    const firstIndex = segments[i]!;
    const isLast = i === segments.length - 1;
    if (!isLast && segments[i + 1]! <= from) {
      isFirst = false;
      continue;
    }
    const path = join(payload, segmentName(firstIndex));
    const header = readHeader(path);
    if (header?.ledgerId !== id || header.firstIndex !== firstIndex) {
      throw new SwornError('ledger-corrupt', `the header of ${path} is damaged or of another ledger`);
    }
    if (next === -1) {
      if (firstIndex > bundleFrom)
        throw new SwornError('ledger-corrupt', `the entries from ${bundleFrom} to ${firstIndex - 1} are missing in ${payload}`);
      next = firstIndex;
    }
    if (next !== firstIndex) throw new SwornError('ledger-corrupt', `${path} should begin with index ${next}`);
    const isReplayed = isLast || segments[i + 1]! > replay.from;
    const segmentKey = header.keyId === undefined ? undefined : keyFor(segmentKeys, path, firstIndex, header.keyId, isReplayed);
    end = { firstIndex, sizeBytes: segmentHeaderBytes, key: segmentKey };
    for (const scanned of scanSegment(path, segmentHeaderBytes, () => segmentKey)) {
      if (scanned.kind !== 'record') {
        if (scanned.kind === 'corrupt' || !isLast) {
          throw new SwornError('ledger-corrupt', `${path} is damaged at offset ${scanned.offset}, with whole records behind it`);
        }
        break;
      }
      const { record, offset } = scanned;
      end.sizeBytes = scanned.end;
      if (record.type === 'part') {
        if (!record.erased && record.unopened !== true) parts.push({ file: firstIndex, offset, part: record });
        continue;
      }
      // nothing stands in the place of what was pruned
      if (isFirst && offset > segmentHeaderBytes && record.index > next) next = record.index;
      isFirst = false;
      if (record.index !== next)
        throw new SwornError('ledger-corrupt', `${path} holds index ${record.index} where ${next} belongs, at offset ${offset}`);
      if (record.leaf.length > entryBytes) throw new SwornError('ledger-corrupt', `${path} holds an entry that is too long, at offset ${offset}`);
      next++;
      // parts of frames that other connections had not finished stay; those that this entry refers to are done
      if (parts.length > 0)
        parts = parts.filter(
          ({ file, offset: at }) => !record.frame.some((item) => item.state === 'part' && item.file === file && item.offset === at),
        );
      const leafHash = hashLeaf(nodeCrypto, record.leaf);
      if (record.index >= publishedSize) {
        tree.append(record.leaf, leafHash);
        refuseOtherRoot();
      } else if (record.index >= bundleFrom && !tree.refill(record.leaf, leafHash)) {
        throw new SwornError('ledger-rollback', `the ledger ${folder} has another entry at index ${record.index} than was signed`);
      }
      if (record.index >= replay.from) replay.entry(record, leafHash);
    }
  }
  const signedSize = Math.max(...signed.map((state) => state.size));
  if (next < signedSize) throw new SwornError('ledger-rollback', `the ledger ${folder} has ${next} entries, but ${signedSize} were signed`);
  const cutBytes = settle(files, lastPath, end.sizeBytes);
  try {
    segmentKeys.relocate(files);
  } catch (error) {
    // only readers are told too late: the next start says it, or the next segment
    if (error instanceof SyncError) throw error;
  }
  return {
    id,
    origin,
    key,
    keysFolder: keys,
    segmentKeys,
    tree,
    signedSize: head.size,
    publishedSize,
    segment: end,
    cutBytes,
    parts,
    created: false,
  };
}

/**
 * Without what it says of connections and frames nothing can be gone on with (`isReplayed`); where only the tree is made again, its leaves do, which are in the clear.
 * @throws SwornError `encryption-key`
 */
function keyFor(segmentKeys: SegmentKeyStore, path: string, firstIndex: number, keyId: string, isReplayed: boolean): SegmentKey | undefined {
  const found = segmentKeys.open(firstIndex, keyId);
  if (!('problem' in found)) return found;
  if (isReplayed) throw new SwornError('encryption-key', `${path} is encrypted and cannot be opened: ${found.problem}`);
  return undefined;
}

/**
 * Cuts what is behind the last whole record, and makes the rest durable; returns how much was cut. The process that wrote it may have died before its
 * sync, and of a new segment before the sync of the folder; without the sync of the cut, a power cut could bring its remains back behind newer records.
 */
function settle(files: Files, path: string, sizeBytes: number): number {
  const fd = files.open(path, 'r+', 0o600);
  let cutBytes: number;
  try {
    cutBytes = fstatSync(fd).size - sizeBytes;
    if (cutBytes > 0) files.truncate(fd, sizeBytes);
    guardSync(() => files.syncSync(fd), path);
  } finally {
    files.close(fd);
  }
  syncFolder(files, dirname(path));
  return cutBytes;
}

/** The size of the head of the ledger that a checkpoint names; 0 if there is none. Signatures are not looked at: in doubt, nothing new is begun. */
function signedSizeOf(checkpointPath: string, keysHome: string): number {
  const checkpointIn = (path: string): Checkpoint | undefined => {
    const note = existsSync(path) ? parseNote(readFileSync(path)) : undefined;
    return note && parseCheckpoint(note.text);
  };
  const ledgerId = /^sworn\.invalid\/([0-9a-f]{32})$/.exec(checkpointIn(checkpointPath)?.origin ?? '')?.[1];
  return ledgerId === undefined ? 0 : (checkpointIn(join(keysFolder(keysHome, ledgerId), 'head'))?.size ?? 0);
}

function readHeader(path: string): ReturnType<typeof readSegmentHeader> {
  const fd = openSync(path, 'r');
  try {
    const header = Buffer.alloc(segmentHeaderBytes);
    return readSync(fd, header, 0, segmentHeaderBytes, 0) === segmentHeaderBytes ? readSegmentHeader(header) : undefined;
  } finally {
    closeSync(fd);
  }
}

function openHead(path: string, key: LedgerKey, origin: string): Checkpoint {
  if (!existsSync(path)) throw new SwornError('ledger-key-missing', `the ledger has entries but its last signed head ${path} is missing`, { path });
  const head = openCheckpoint(path, key, origin);
  if (head === undefined) throw new SwornError('ledger-key-missing', `the head ${path} is not signed by the ledger's key`, { path });
  return head;
}

/** A checkpoint that one of our keys signed, or `undefined`: a crash may have left one from before the newest was made. */
function openCheckpoint(path: string, key: LedgerKey, origin: string): Checkpoint | undefined {
  const vkeys = [key, ...key.older].map(({ vkey }) => parseVkey(nodeCrypto, vkey)!);
  const opened = openNote(nodeCrypto, readFileSync(path), vkeys);
  if ('problem' in opened || opened.verified.length === 0) return undefined;
  const checkpoint = parseCheckpoint(opened.text);
  return checkpoint?.origin === origin ? checkpoint : undefined;
}

/** The tree as of the published checkpoint, from its partial tiles; nothing when anything there is missing or does not hold. */
function restoreTree(files: Files, log: string, published: Checkpoint | undefined): TreeFiles | undefined {
  if (published === undefined) return undefined;
  try {
    const stack = TileStack.restore(nodeCrypto, published.size, (level, n, width) => {
      const partial = join(log, tilePath(level, n, width));
      return existsSync(partial) ? readFileSync(partial) : readFileSync(join(log, tilePath(level, n))).subarray(0, width * hashBytes);
    });
    return equal(stack.root(), published.root) ? new TreeFiles(files, log, stack) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The tree before the first record that is there: empty, since all of it can be derived again from the segments; of what was pruned the lowest tiles are all that
 * is left to derive it from. Whether they are right shows at the size of `head`.
 * @throws SwornError `ledger-corrupt` when one of them is missing
 */
function treeBefore(files: Files, log: string, index: number): TreeFiles {
  const stack = TileStack.empty(nodeCrypto);
  for (let n = 0; n * tileWidth < index; n++) {
    const path = join(log, tilePath(0, n));
    const tile = existsSync(path) ? readFileSync(path) : undefined;
    if (tile?.length !== tileWidth * hashBytes)
      throw new SwornError(
        'ledger-corrupt',
        `the entries below ${index} were pruned or taken away, and ${path}, which has their hashes, is missing or damaged`,
      );
    for (let at = 0; at < tile.length; at += hashBytes) stack.append(Uint8Array.from(tile.subarray(at, at + hashBytes)));
  }
  return new TreeFiles(files, log, stack);
}

/** The index of the first entry in a segment; that of its name, when it holds none. */
function firstRecorded(path: string, firstIndex: number): number {
  for (const scanned of scanSegment(path)) if (scanned.kind === 'record' && scanned.record.type === 'entry') return scanned.record.index;
  return firstIndex;
}

/** The first indexes of the segment files, ascending. */
export function segmentFiles(payload: string): number[] {
  return readdirSync(payload)
    .filter((name) => /^\d{16}$/.test(name))
    .map(Number)
    .filter(Number.isSafeInteger)
    .sort((a, b) => a - b);
}

/**
 * A new ledger. Order: key and head first, then the first segment with its header, then the checkpoint of the empty tree. A crash in between leaves a
 * key of no ledger, or a headless segment, which the next start takes away.
 */
function create(files: Files, folder: string, keysHome: string, encryption: Encryption | undefined): Recovered {
  const id = hex(randomBytes(16));
  const origin = `sworn.invalid/${id}`;
  const keys = keysFolder(keysHome, id);
  const segmentKeys = new SegmentKeyStore(keys);
  segmentKeys.configureNow(encryption);
  try {
    const key = createKey(files, keys, origin);
    const note = signTextNow(key, formatCheckpoint({ origin, size: 0, root: emptyRoot(nodeCrypto) }));
    replaceDurably(files, join(keys, 'head'), note, 0o600);
    // before there is a segment: from then on a start takes the ledger for one that is whole
    syncAncestors(files, keys);
    syncAncestors(files, join(folder, 'payload'));
    const fresh = segmentKeys.make(0);
    if (fresh) segmentKeys.store(files, fresh);
    files.close(createSegment(files, join(folder, 'payload'), id, 0, fresh?.key.id));
    replaceDurably(files, join(folder, 'log', 'checkpoint'), note, 0o644);
    const segment = { firstIndex: 0, sizeBytes: segmentHeaderBytes, key: fresh?.key };
    const tree = new TreeFiles(files, join(folder, 'log'), TileStack.empty(nodeCrypto));
    return { id, origin, key, keysFolder: keys, segmentKeys, tree, signedSize: 0, publishedSize: 0, segment, cutBytes: 0, parts: [], created: true };
  } catch (error) {
    if (error instanceof SwornError) throw error;
    throw new SwornError(
      'ledger-create',
      `the ledger ${folder} or its key in ${keys} cannot be created: ${(error as Error).message}`,
      {},
      { cause: error },
    );
  }
}

/** Creates a segment file with its header, durably, and returns its descriptor. `keyId`: of its key, which is durable already. */
export function createSegment(files: Files, payload: string, ledgerId: string, firstIndex: number, keyId?: string): number {
  const path = join(payload, segmentName(firstIndex));
  const fd = files.open(path, 'w+', 0o600);
  try {
    writeAllSync(files, fd, [encodeSegmentHeader(ledgerId, firstIndex, keyId)], 0);
    guardSync(() => files.syncSync(fd), path);
    syncFolder(files, payload);
    return fd;
  } catch (error) {
    files.close(fd);
    throw error;
  }
}
