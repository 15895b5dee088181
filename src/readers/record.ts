/** One entry's record, found without reading all that stands before it. */
import { base64, equal } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { commitmentOf, segmentHash } from '../entry/commitment.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { segmentHeaderBytes, type ContentItem } from '../ledger/segment.ts';
import { Segment, segmentsOf } from './payload.ts';

export interface StoredRecord {
  leaf: Uint8Array;
  attributes: ContentItem[];
  /** The frame's segments. */
  frame: ContentItem[];
}

/**
 * The record of an entry, or `undefined` when the payload has none. `isIt` holds a candidate's leaf against a hash from elsewhere: the first look is a guess
 * that a recorded message could mislead, the second is a walk from record to record.
 */
export function readRecordAt(ledger: string, index: number, isIt: (record: StoredRecord) => boolean): StoredRecord | undefined {
  const firstIndex = segmentsOf(ledger).findLast((first) => first <= index);
  const segment = firstIndex === undefined ? undefined : Segment.open(ledger, firstIndex);
  if (segment === undefined) return undefined;
  try {
    const guessed = recordFrom(segment, segment.guess(index), index);
    if (guessed && isIt(guessed)) return guessed;
    const walked = recordFrom(segment, segmentHeaderBytes, index);
    return walked && isIt(walked) ? walked : undefined;
  } finally {
    segment.close();
  }
}

function recordFrom(segment: Segment, offset: number, index: number): StoredRecord | undefined {
  const found = segment.next(offset, index, true)?.entry;
  if (found?.index !== index || found.content === undefined) return undefined;
  return { leaf: found.leaf, attributes: found.content.attributeItems, frame: found.content.frame };
}

/** The record of an entry whose leaf is known, with content that holds; `undefined` when the payload has none to give. */
export function recordOf(ledger: string, index: number, leaf: Uint8Array): StoredRecord | undefined {
  return readRecordAt(ledger, index, (record) => equal(record.leaf, leaf) && contentHolds(record));
}

/** Whether the record's content is what its own leaf says; parts are looked at when they are written. */
export function contentHolds({ leaf, attributes, frame }: StoredRecord): boolean {
  const entry = readEntry(leaf);
  if (entry instanceof EntryProblem) return attributes.length + frame.length === 0;
  const holds = (items: ContentItem[], commitment: string | undefined): boolean =>
    items.length === 0 ? commitment === undefined : base64(commitmentOf(nodeCrypto, items.map(hashOf))) === commitment;
  // an erasure stores again what it left of others
  const isBound = entry.kind === 'message' || entry.kind === 'batch' || entry.kind === 'erasure';
  return holds(attributes, entry.attributesCommitment) && holds(frame, isBound ? entry.commitment : undefined);
}

/** Of a segment of content, stored or not. */
export function hashOf(item: ContentItem): Uint8Array {
  return item.state === 'kept' ? segmentHash(nodeCrypto, item.salt, item.bytes) : item.hash;
}
