/**
 * Content against the commitments of its entry (`spec/entry.md`), for evidence of single entries. `verifier.ts` does the same for a whole ledger, in one pass
 * and without holding content.
 */
import { base64 } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { commitmentOf } from '../entry/commitment.ts';
import type { Entry } from '../entry/entry.ts';

/** One segment of content: opened (its hash was made from salt and bytes), or its hash alone, as the evidence gives it. */
export interface ContentItem {
  opened: boolean;
  /** 32 bytes. */
  hash: Uint8Array;
  /** Of an attribute that is not opened, nothing binds it. */
  sizeBytes: number;
  /** Of what is opened, unless there is more than a caller wants to hold. */
  bytes?: Uint8Array;
}

export interface Content {
  attributes: ContentItem[];
  /** Of the frame. */
  segments: ContentItem[];
}

export interface ContentCheck {
  /** What does not hold, in words behind "the content of entry 5: ". */
  problems: string[];
  openedSegments: number;
  openedBytes: number;
  /** Segments and attributes of which only the hash is here. */
  unopened: number;
  unopenedBytes: number;
}

/** Entries whose segments are bound by a commitment of their own: frames, and what an erasure stores again. */
function hasSegments(entry: Entry): entry is Entry & { kind: 'message' | 'batch' | 'erasure' } {
  return entry.kind === 'message' || entry.kind === 'batch' || entry.kind === 'erasure';
}

/** How many attributes and segments an entry has content of. A batch's items have none of their own. */
export function contentCounts(entry: Entry): { attributes: number; segments: number } {
  return { attributes: entry.attributes ?? 0, segments: hasSegments(entry) ? (entry.segments ?? 0) : 0 };
}

/** Holds content against what its entry says of it. Never throws. */
export function checkContent(crypto: Crypto, entry: Entry, { attributes, segments }: Content): ContentCheck {
  const check: ContentCheck = { problems: [], openedSegments: 0, openedBytes: 0, unopened: 0, unopenedBytes: 0 };
  const counts = contentCounts(entry);
  const compare = (items: ContentItem[], count: number, commitment: string | undefined, what: string): void => {
    if (items.length !== count) {
      check.problems.push(`it has ${count} ${what}, ${items.length} are given`);
      return;
    }
    if (count > 0) {
      const hashes = items.map(({ hash }) => hash);
      if (base64(commitmentOf(crypto, hashes)) !== commitment) check.problems.push(`its ${what} do not match their commitment`);
    }
    for (const { opened, sizeBytes } of items) {
      if (opened) {
        check.openedSegments++;
        check.openedBytes += sizeBytes;
      } else {
        check.unopened++;
        check.unopenedBytes += sizeBytes;
      }
    }
  };
  compare(attributes, counts.attributes, entry.attributesCommitment, 'attributes');
  if (hasSegments(entry)) {
    compare(segments, counts.segments, entry.commitment, 'segments');
    let sizeBytes = 0;
    for (const item of segments) sizeBytes += item.sizeBytes;
    if (counts.segments > 0 && sizeBytes !== entry.sizeBytes)
      check.problems.push(`its frame has ${entry.sizeBytes} bytes, the segments ${sizeBytes}`);
  } else compare(segments, 0, undefined, 'segments');
  return check;
}
