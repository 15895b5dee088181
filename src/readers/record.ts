/** One entry's record, found without reading all that stands before it. */
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
