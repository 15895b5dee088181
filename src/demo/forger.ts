/**
 * The forger of `sworn demo --story cover-up`: what somebody with the recorder's account, or with its key, can really do to a ledger. It knows the format as well as
 * the recorder does and uses the recorder's own code to write it. It is made for the demo's ledger: one segment, short frames, no batches.
 */
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { base64 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { commitmentOf, saltBytes, segmentHash } from '../entry/commitment.ts';
import { loadKey, signText } from '../ledger/keys.ts';
import { encodeEntryRecord, encodeSegmentHeader, recordHeaderBytes, scanSegment, segmentName, type EntryRecord } from '../ledger/segment.ts';
import { tileWidth } from '../limits.ts';
import { formatCheckpoint } from '../tlog/checkpoint.ts';
import { encodeBundle, tilePath, TileStack } from '../tlog/tile.ts';
import { hashLeaf } from '../tlog/tree.ts';

interface Place {
  readonly record: EntryRecord;
  readonly offset: number;
  readonly end: number;
}

/** The fields of entries that are the index of another one. */
const references = ['exchange', 'call', 'who', 'batch', 'freeze'] as const;

function segmentPath(ledger: string): string {
  return join(ledger, 'payload', segmentName(0));
}

function records(ledger: string): Place[] {
  return [...scanSegment(segmentPath(ledger))].map((scanned) => {
    if (scanned.kind !== 'record' || scanned.record.type !== 'entry') throw new Error('the forger does not know this ledger');
    return { record: scanned.record, offset: scanned.offset, end: scanned.end };
  });
}

function textOf({ frame: [item] }: EntryRecord): string | undefined {
  return item?.state === 'kept' ? Buffer.from(item.bytes).toString() : undefined;
}

/** The index of the last message that has these words in it. */
export function indexOf(ledger: string, words: string): number {
  const found = records(ledger).findLast(({ record }) => textOf(record)?.includes(words));
  if (!found) throw new Error(`nothing in the ledger says ${words}`);
  return found.record.index;
}

/** Changes the stored content of a message, in as many bytes, and puts the record's checksum right. */
export function editContent(ledger: string, index: number, from: string, to: string): void {
  const file = readFileSync(segmentPath(ledger));
  const { offset, end } = records(ledger)[index]!;
  file.write(to, file.indexOf(from, offset));
  const body = offset + recordHeaderBytes;
  file.writeUInt32BE(crc32(file.subarray(body, end)), offset + 4);
  writeFileSync(segmentPath(ledger), file);
}

/** Cuts everything from this entry on: content, bundles and tiles. The checkpoint stays: to sign another one takes the key. */
export function cutFrom(ledger: string, index: number): void {
  const all = records(ledger);
  truncateSync(segmentPath(ledger), all[index]!.offset);
  writeTree(
    ledger,
    all.slice(0, index).map(({ record }) => record.leaf),
  );
}

/**
 * Writes the whole ledger anew, with other words in the messages, without the witness's cosignatures from entry `from` on (they belong to the other history), and with
 * everything that follows from it: salts, commitments, lengths, indexes, bundles, tiles. Then signs it with the key from `keys`.
 */
export async function rewriteHistory(ledger: string, keys: string, from: number, words: Readonly<Record<string, string>>): Promise<void> {
  const ledgerId = readFileSync(segmentPath(ledger)).toString('hex', 8, 24);
  const segment: Buffer[] = [encodeSegmentHeader(ledgerId, 0)];
  const leaves: Buffer[] = [];
  const moved = new Map<number, number>();
  for (const { record } of records(ledger)) {
    const entry = JSON.parse(record.leaf.toString()) as Record<string, unknown>;
    if (entry['kind'] === 'anchor' && record.index >= from) continue;
    moved.set(record.index, leaves.length);
    for (const name of references) if (typeof entry[name] === 'number') entry[name] = moved.get(entry[name]);
    const before = textOf(record);
    const after = Object.entries(words).reduce((text, [one, other]) => text?.replace(one, other), before);
    if (after !== undefined && after !== before) {
      const bytes = Buffer.from(after);
      const salt = randomBytes(saltBytes);
      record.frame = [{ state: 'kept', salt, bytes }];
      entry['sizeBytes'] = bytes.length;
      entry['commitment'] = base64(commitmentOf(nodeCrypto, [segmentHash(nodeCrypto, salt, bytes)]));
    }
    const leaf = Buffer.from(JSON.stringify(entry));
    segment.push(...encodeEntryRecord(leaves.length, leaf, record.attributes, record.frame));
    leaves.push(leaf);
  }
  writeFileSync(segmentPath(ledger), Buffer.concat(segment));
  const { size, root } = writeTree(ledger, leaves);
  const note = await signText(loadKey(keys), formatCheckpoint({ origin: `sworn.invalid/${ledgerId}`, size, root }));
  write(ledger, 'checkpoint', note);
  writeFileSync(join(keys, 'head'), note);
}

/** Puts the tiles and bundles of these leaves in the place of all that are there. */
function writeTree(ledger: string, leaves: readonly Uint8Array[]): { size: number; root: Uint8Array } {
  rmSync(join(ledger, 'log', 'tile'), { recursive: true });
  const stack = TileStack.empty(nodeCrypto);
  const full = leaves.flatMap((leaf) => stack.append(hashLeaf(nodeCrypto, leaf)));
  for (const { level, n, width, bytes } of [...full, ...stack.partials()]) write(ledger, tilePath(level, n, width), bytes);
  for (let at = 0; at < leaves.length; at += tileWidth) {
    const bundle = leaves.slice(at, at + tileWidth);
    write(ledger, tilePath('entries', at / tileWidth, bundle.length), encodeBundle(bundle));
  }
  return { size: stack.size, root: stack.root() };
}

/** A file below `log/`. */
function write(ledger: string, path: string, bytes: Uint8Array): void {
  const file = join(ledger, 'log', path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
}
