/**
 * Content of a ledger in a form that is checked without it (`spec/evidence.md`): of proofs and bundles. The recorder is never asked.
 */
import { gzipSync } from 'node:zlib';
import { base64, utf8, utf8Text } from '../bytes/bytes.ts';
import { encodeEntryRecord, encodePartRecord, encodeSegmentHeader, type ContentItem } from '../ledger/segment.ts';
import { proofExtraBytes } from '../limits.ts';
import { hashOf, type StoredRecord } from '../readers/record.ts';
import { openPart } from '../readers/payload.ts';

function sizeOf(item: ContentItem): number {
  return item.state === 'kept' ? item.bytes.length : item.sizeBytes;
}

/** Bytes of content that a record has to give. */
export function openableBytes({ attributes, frame }: StoredRecord): number {
  let sizeBytes = 0;
  for (const item of [...attributes, ...frame]) if (item.state === 'kept' || item.state === 'part') sizeBytes += sizeOf(item);
  return sizeBytes;
}

/** A record of which only hashes are given away. */
export function withheld({ leaf, attributes, frame }: StoredRecord): StoredRecord {
  const closed = (item: ContentItem): ContentItem => ({ state: 'dropped', hash: hashOf(item), sizeBytes: sizeOf(item) });
  return { leaf, attributes: attributes.map(closed), frame: frame.map(closed) };
}

/** `extra` of a proof: the leaf and its content as JSON, compressed where that is shorter. `undefined` when it would not fit. */
export function extraOf(ledger: string, leaf: Uint8Array, record: StoredRecord | undefined): Uint8Array | undefined {
  const text = utf8Text(leaf);
  if (text === undefined) return undefined;
  const extra: Record<string, unknown> = { sworn: 1, leaf: text };
  if (record) {
    // gzip does not make a hundredth of anything
    if (openableBytes(record) > 100 * proofExtraBytes) return undefined;
    if (record.attributes.length > 0) extra['attributes'] = record.attributes.map((item) => jsonItem(ledger, item));
    if (record.frame.length > 0) extra['segments'] = record.frame.map((item) => jsonItem(ledger, item));
  }
  return packed(extra);
}

/** `extra` of a proof whose content is in a sidecar. */
export function extraBeside(leaf: Uint8Array, sidecarBytes: number): Uint8Array {
  const text = utf8Text(leaf);
  return (text === undefined ? undefined : packed({ sworn: 1, leaf: text, sidecar: sidecarBytes })) ?? packed({ sworn: 1, sidecar: sidecarBytes })!;
}

function packed(extra: object): Uint8Array | undefined {
  const plain = utf8(JSON.stringify(extra));
  const zipped = gzipSync(plain, { level: 9 });
  const shorter = zipped.length < plain.length ? zipped : plain;
  return shorter.length > proofExtraBytes ? undefined : shorter;
}

function jsonItem(ledger: string, item: ContentItem): object {
  const opened = item.state === 'kept' ? item : item.state === 'part' ? openPart(ledger, item) : undefined;
  if (opened === undefined) return { hash: base64(hashOf(item)), sizeBytes: sizeOf(item) };
  const text = utf8Text(opened.bytes);
  return text === undefined ? { salt: base64(opened.salt), base64: base64(opened.bytes) } : { salt: base64(opened.salt), text };
}

/**
 * Payload segments (`spec/ledger.md`) with some entries' records: parts are written before the entry that refers to them, and the references made anew. What
 * is not there any more is written as never kept: its hash alone.
 */
export class SegmentWriter {
  readonly #ledger: string;
  readonly #firstIndex: number;
  #offset = 0;
  readonly #write: (bytes: Uint8Array) => void;

  constructor(ledger: string, ledgerId: string, firstIndex: number, write: (bytes: Uint8Array) => void) {
    this.#ledger = ledger;
    this.#firstIndex = firstIndex;
    this.#write = write;
    this.#put([encodeSegmentHeader(ledgerId, firstIndex)]);
  }

  get sizeBytes(): number {
    return this.#offset;
  }

  add(index: number, { leaf, attributes, frame }: StoredRecord): void {
    const items = [attributes, frame].map((list) => list.map((item) => this.#moved(item))) as [ContentItem[], ContentItem[]];
    this.#put(encodeEntryRecord(index, leaf, ...items));
  }

  #moved(item: ContentItem): ContentItem {
    if (item.state === 'kept' || item.state === 'dropped') return item;
    const part = item.state === 'part' ? openPart(this.#ledger, item) : undefined;
    if (part === undefined) return { state: 'dropped', hash: item.hash, sizeBytes: item.sizeBytes };
    const offset = this.#offset;
    const { connection, direction, unit, salt, bytes } = part;
    this.#put(encodePartRecord({ connection, direction, unit, salt, bytes }));
    return { state: 'part', hash: item.hash, sizeBytes: item.sizeBytes, file: this.#firstIndex, offset };
  }

  #put(buffers: readonly Uint8Array[]): void {
    for (const bytes of buffers) {
      this.#write(bytes);
      this.#offset += bytes.length;
    }
  }
}
