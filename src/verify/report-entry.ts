/** One entry of a report against its leaf hash and its commitments, and what it says to whoever shows it. */
import { utf8Text } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { segmentHash } from '../entry/commitment.ts';
import { explainedBy, whyDropped } from '../entry/dropped.ts';
import type { BatchEntry, Entry, MessageEntry } from '../entry/entry.ts';
import type { Frame, Gap } from '../entry/frame.ts';
import { checkContent, contentCounts, type ContentCheck, type ContentItem } from './content.ts';
import type { ReportItem } from './report-data.ts';

export interface ReportEntry {
  index: number;
  leaf: Uint8Array;
  leafHash: Uint8Array;
  entry: Entry;
  /** Not asked for, but needed by what is shown. */
  isContext: boolean;
  /** By name, as far as they are here. */
  attributes: Record<string, unknown>;
  /** Of a message or batch; of a batch's item its stretch of the batch's frame, where the batch stands before it in the report. */
  frame?: Frame;
  /** Leaf and content lead to the root of the checkpoint. Whose signature is on that, the result as a whole says. */
  isVerified: boolean;
}

/** Content against its commitments. Of `items` those that are not `kept` count as their hashes. */
export function checkItems(crypto: Crypto, entry: Entry, items: readonly ReportItem[]): ContentCheck {
  const all = items.map((item): ContentItem => {
    if (item.state !== 'kept') return { opened: false, hash: item.hash, sizeBytes: item.sizeBytes };
    return { opened: true, hash: segmentHash(crypto, item.salt, item.bytes), sizeBytes: item.bytes.length };
  });
  const { attributes } = contentCounts(entry);
  return checkContent(crypto, entry, { attributes: all.slice(0, attributes), segments: all.slice(attributes) });
}

/** Segments of the frame that are said to be never stored, beyond those that the entry explains. An attribute is always stored. */
export function unexplained(entry: Entry, items: readonly ReportItem[]): number {
  const { attributes, segments } = contentCounts(entry);
  const isFrame = entry.kind === 'message' || entry.kind === 'batch';
  const dropped = (list: readonly ReportItem[]): number => list.filter(({ state }) => state === 'dropped').length;
  const explained = isFrame ? explainedBy(entry, segments) : 0;
  return dropped(items.slice(0, attributes)) + Math.max(0, dropped(items.slice(attributes)) - explained);
}

/** Attributes by name; those that are not here are left out. */
export function attributesOf(entry: Entry, items: readonly ReportItem[]): Record<string, unknown> {
  const attributes: Record<string, unknown> = {};
  for (const item of items.slice(0, contentCounts(entry).attributes)) {
    if (item.state !== 'kept') continue;
    try {
      const attribute = JSON.parse(utf8Text(item.bytes) ?? '') as unknown;
      if (typeof attribute !== 'object' || attribute === null) continue;
      for (const [name, value] of Object.entries(attribute)) {
        // defined, not assigned: an attribute may be called `__proto__`
        Object.defineProperty(attributes, name, { value, enumerable: true, configurable: true, writable: true });
      }
    } catch {
      // not of the format: it names nothing
    }
  }
  return attributes;
}

/** A stretch of an erased segment: bytes that an erasure stored again, or the gap between. */
export interface RestPiece {
  sizeBytes: number;
  bytes?: Uint8Array;
}

/**
 * What is left of a frame. `items`: of the whole entry; `undefined`: its content is not in the report. `rests`: of segments that were erased in part, by their position.
 */
export function frameOf(
  entry: MessageEntry | BatchEntry,
  items: readonly ReportItem[] | undefined,
  rests?: ReadonlyMap<number, readonly RestPiece[]>,
): Frame {
  const stored = items?.slice(contentCounts(entry).attributes);
  const segments: readonly Segment[] = stored?.flatMap((item, k): Segment[] => {
    const pieces = item.state === 'erased' ? rests?.get(k) : undefined;
    return pieces?.map(({ bytes, sizeBytes }) => (bytes ? { state: 'kept', bytes } : { state: 'erased', sizeBytes })) ?? [item];
  }) ?? [{ state: 'withheld', sizeBytes: entry.sizeBytes }];
  const gaps: Gap[] = [];
  const kept: Uint8Array[] = [];
  let offset = 0;
  let at = 0;
  for (const item of segments) {
    if (item.state === 'kept') {
      kept.push(item.bytes);
      at += item.bytes.length;
      offset += item.bytes.length;
      continue;
    }
    if (item.sizeBytes > 0) gaps.push({ reason: item.state === 'dropped' ? whyDropped(entry) : item.state, offset, sizeBytes: item.sizeBytes, at });
    offset += item.sizeBytes;
  }
  const bytes = kept.length === 1 ? kept[0]! : new Uint8Array(at);
  if (kept.length !== 1) {
    let to = 0;
    for (const piece of kept) {
      bytes.set(piece, to);
      to += piece.length;
    }
  }
  return { bytes, gaps };
}

type Segment = { state: 'kept'; bytes: Uint8Array } | { state: 'dropped' | 'erased' | 'withheld'; sizeBytes: number };

/** The stretch [start, end) of a frame: that of a batch's item. */
export function stretchOf({ bytes, gaps }: Frame, [start, end]: readonly [number, number]): Frame {
  /** Bytes that are there before a place of the frame. */
  const keptBefore = (place: number): number => {
    let missing = 0;
    for (const gap of gaps) missing += Math.max(0, Math.min(gap.offset + gap.sizeBytes, place) - gap.offset);
    return place - missing;
  };
  const from = keptBefore(start);
  const inside = gaps.flatMap(({ reason, offset, sizeBytes }): Gap[] => {
    const first = Math.max(offset, start);
    const last = Math.min(offset + sizeBytes, end);
    return last > first ? [{ reason, offset: first - start, sizeBytes: last - first, at: keptBefore(first) - from }] : [];
  });
  return { bytes: bytes.subarray(from, keptBefore(end)), gaps: inside };
}
