/**
 * Fields of a message that are to be erased (`sworn erase --path`): where they stand in what is stored, and what of the segments around them is stored again.
 */
import { utf8Text } from '../bytes/bytes.ts';
import type { ErasureRest } from '../entry/entry.ts';
import { putBack, withGaps, type Rests } from '../entry/rest.ts';
import { partAt } from '../ledger/rewrite.ts';
import type { SegmentKeyStore } from '../ledger/segment-key-store.ts';
import type { ContentItem, EntryRecord } from '../ledger/segment.ts';
import { judgeBytes } from '../limits.ts';
import { filled } from '../policy/fill.ts';
import { compileRedaction, Redactor } from '../policy/redact.ts';

/** Some bytes of a frame, and in which stored segment they are; without bytes: gone, or never stored. */
interface Place {
  at: number;
  sizeBytes: number;
  stored?: { bytes: Buffer; index: number; segment: number; inner: number };
}

/** What of one stored segment goes. `rest` is what stays; empty: nothing. */
export interface Cut {
  index: number;
  segment: number;
  rest: { of: ErasureRest; bytes: Buffer } | undefined;
}

export interface Fields {
  cuts: Cut[];
  /** What was found, as text: to be looked for beside the frame. */
  values: string[];
  problem?: 'too-long' | 'not-json';
}

/** So many ranges of one segment are told apart; of more, everything between the first and the last goes. */
const rangesMost = 1_000;
/** Shorter values say nothing when they stand somewhere else. */
const tellingChars = 4;
const valuesMost = 256;

export class FieldEraser {
  readonly #redactor: Redactor | undefined;
  readonly #payload: string;
  readonly #keys: SegmentKeyStore;
  readonly #rests: Rests;
  readonly #recordAt: (index: number) => Promise<EntryRecord | undefined>;

  /** `paths`: none where only whole ranges are asked for. */
  static async for(
    paths: readonly string[],
    payload: string,
    keys: SegmentKeyStore,
    rests: Rests,
    recordAt: (index: number) => Promise<EntryRecord | undefined>,
  ): Promise<FieldEraser> {
    const rule = paths.length === 0 ? undefined : await compilePaths(paths);
    return new FieldEraser(rule === undefined ? undefined : new Redactor([rule]), payload, keys, rests, recordAt);
  }

  private constructor(
    redactor: Redactor | undefined,
    payload: string,
    keys: SegmentKeyStore,
    rests: Rests,
    recordAt: (index: number) => Promise<EntryRecord | undefined>,
  ) {
    this.#redactor = redactor;
    this.#payload = payload;
    this.#keys = keys;
    this.#rests = rests;
    this.#recordAt = recordAt;
  }

  /** What goes of the frame of `record`, or of one range of it. */
  async find(record: EntryRecord, range?: readonly [number, number]): Promise<Fields> {
    let sizeBytes = 0;
    for (const item of record.frame) sizeBytes += item.state === 'kept' ? item.bytes.length : item.sizeBytes;
    if (sizeBytes > judgeBytes) return { cuts: [], values: [], problem: 'too-long' };
    const places: Place[] = [];
    let at = 0;
    for (const [k, item] of record.frame.entries()) {
      for (const place of await this.#placesOf(record.index, k, item)) places.push({ ...place, at: at + place.at });
      at += item.state === 'kept' ? item.bytes.length : item.sizeBytes;
    }
    const frame = filled(places.map(({ stored, sizeBytes: missingBytes }) => (stored === undefined ? { missingBytes } : { bytes: stored.bytes })));
    const [from, to] = range ?? [0, frame.length];
    let found: { start: number; end: number }[] = [{ start: from, end: to }];
    if (this.#redactor !== undefined) {
      const redactions = this.#redactor.ranges(frame.subarray(from, to), from);
      if (redactions.some(({ rule }) => rule === 'unreadable')) return { cuts: [], values: [], problem: 'not-json' };
      found = redactions;
    }
    const cuts = cutsOf(places, found);
    const texts = this.#redactor === undefined ? [] : found.filter((one) => places.some((place) => place.stored !== undefined && meets(place, one)));
    return { cuts, values: cuts.length === 0 ? [] : valuesIn(texts.map(({ start, end }) => frame.subarray(start, end))) };
  }

  /** Where the bytes of a segment are now, in its own offsets. */
  async #placesOf(index: number, segment: number, item: ContentItem): Promise<Place[]> {
    if (item.state === 'kept') return [placeOf(index, segment, item.bytes)];
    if (item.state === 'dropped') return [{ at: 0, sizeBytes: item.sizeBytes }];
    if (item.state === 'part') {
      const part = await partAt(this.#payload, item.file, item.offset, this.#keys);
      if (part !== undefined && part.erased === undefined) return [placeOf(index, segment, part.bytes)];
    }
    const places: Place[] = [];
    for (const rest of this.#rests.of(index, segment)) {
      const own = (await this.#recordAt(rest.index))?.frame[rest.segment];
      if (own === undefined) continue;
      places.push(...putBack(await this.#placesOf(rest.index, rest.segment, own), rest.ranges, cutPlace));
    }
    return withGaps(places, item.sizeBytes, (at, sizeBytes) => ({ at, sizeBytes }));
  }
}

function placeOf(index: number, segment: number, bytes: Uint8Array): Place {
  return { at: 0, sizeBytes: bytes.length, stored: { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), index, segment, inner: 0 } };
}

function cutPlace({ stored }: Place, from: number, sizeBytes: number, at: number): Place {
  if (stored === undefined) return { at, sizeBytes };
  return { at, sizeBytes, stored: { ...stored, bytes: stored.bytes.subarray(from, from + sizeBytes), inner: stored.inner + from } };
}

function meets({ at, sizeBytes }: Place, { start, end }: { start: number; end: number }): boolean {
  return start < at + sizeBytes && end > at;
}

/** `found`: ascending and apart, in the frame. */
function cutsOf(places: readonly Place[], found: readonly { start: number; end: number }[]): Cut[] {
  const segments = new Map<string, { index: number; segment: number; pieces: { inner: number; bytes: Buffer }[]; gone: [number, number][] }>();
  for (const place of places) {
    const { stored } = place;
    if (stored === undefined) continue;
    const key = `${stored.index}:${stored.segment}`;
    const known = segments.get(key) ?? { index: stored.index, segment: stored.segment, pieces: [], gone: [] };
    segments.set(key, known);
    known.pieces.push(stored);
    for (const one of found) {
      if (!meets(place, one)) continue;
      const start = Math.max(one.start, place.at) - place.at + stored.inner;
      const end = Math.min(one.end, place.at + place.sizeBytes) - place.at + stored.inner;
      if (end > start) known.gone.push([start, end]);
    }
  }
  const cuts: Cut[] = [];
  for (const { index, segment, pieces, gone } of segments.values()) {
    if (gone.length === 0) continue;
    gone.sort((a, b) => a[0] - b[0]);
    const apart = gone.length > rangesMost ? [[gone[0]![0], gone.at(-1)![1]] as [number, number]] : gone;
    pieces.sort((a, b) => a.inner - b.inner);
    const whole = pieces.length === 1 ? pieces[0]!.bytes : Buffer.concat(pieces.map(({ bytes }) => bytes));
    const ranges: [number, number][] = [];
    let at = 0;
    for (const [start, end] of apart) {
      if (start > at) ranges.push([at, start]);
      at = Math.max(at, end);
    }
    if (at < whole.length) ranges.push([at, whole.length]);
    const bytes = Buffer.concat(ranges.map(([start, end]) => whole.subarray(start, end)));
    cuts.push({ index, segment, rest: ranges.length === 0 ? undefined : { of: { index, segment, ranges }, bytes } });
  }
  return cuts;
}

/** What stands at some paths of a message, as text. */
export async function fieldValues(paths: readonly string[], message: Uint8Array): Promise<string[]> {
  const redactor = new Redactor([await compilePaths(paths)]);
  const found = redactor.ranges(message).filter(({ rule }) => rule !== 'unreadable');
  return valuesIn(found.map(({ start, end }) => message.subarray(start, end))).filter((value) => value.length >= tellingChars);
}

function compilePaths(paths: readonly string[]): ReturnType<typeof compileRedaction> {
  return compileRedaction({ name: 'erase', keys: [], paths: [...paths], detect: [], keep: 'drop' });
}

/** What ranges of a frame say: of an object or a list the texts and numbers in it. */
function valuesIn(found: readonly Uint8Array[]): string[] {
  const values = new Set<string>();
  const add = (value: unknown): void => {
    if (values.size >= valuesMost) return;
    if (typeof value === 'string' || typeof value === 'number') values.add(String(value));
    else if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) add(inner);
  };
  for (const bytes of found) {
    const text = utf8Text(bytes);
    if (text === undefined) continue;
    try {
      add(JSON.parse(/^[[{]/.test(text) ? text : `"${text}"`));
    } catch {
      add(text);
    }
  }
  return [...values].filter((value) => value !== '');
}

/** Whether a text, which may be JSON, says a value. A short one counts only where it stands alone. */
export function says(text: string, value: string): boolean {
  if (value.length < tellingChars) return text.includes(JSON.stringify(value));
  return text.includes(value) || text.includes(JSON.stringify(value).slice(1, -1));
}
