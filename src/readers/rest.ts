/** What is left of a frame that was erased in part: found in the `erasure` entries behind it, and put back where it was (`spec/entry.md`, `rest`). */
import { putBack, Rests, withGaps, type Stretch } from '../entry/rest.ts';
import type { ContentItem } from '../ledger/segment.ts';
import { readEntries, readEntryAt } from './entries.ts';
import type { FramePiece } from './payload.ts';

interface Place extends Stretch {
  bytes?: Uint8Array;
}

/** Of ledgers that were asked about: read once, and on from there. */
const known = new Map<string, { rests: Rests; to: number }>();

async function restsIn(ledger: string): Promise<Rests> {
  const read = known.get(ledger) ?? { rests: new Rests(), to: 0 };
  known.set(ledger, read);
  for await (const { index, entry } of readEntries(ledger, { from: read.to })) {
    if (entry.kind === 'erasure') read.rests.add(index, entry);
    read.to = index + 1;
  }
  return read.rests;
}

/** By segment of the frame of entry `index`: what of its erased bytes is stored again, with the gaps between. `undefined`: nothing is. */
export async function restsOf(ledger: string, index: number, frame: readonly ContentItem[]): Promise<ReadonlyMap<number, FramePiece[]> | undefined> {
  const rests = await restsIn(ledger);
  if (rests.isEmpty) return undefined;
  const found = new Map<number, FramePiece[]>();
  for (const [k, item] of frame.entries()) {
    if ((item.state !== 'erased' && item.state !== 'part') || rests.of(index, k).length === 0) continue;
    const places = await placesOf(ledger, rests, index, k, item.sizeBytes);
    found.set(
      k,
      places.map(({ bytes, sizeBytes }) => (bytes === undefined ? { missing: 'erased', sizeBytes } : { bytes })),
    );
  }
  return found.size === 0 ? undefined : found;
}

async function placesOf(ledger: string, rests: Rests, index: number, segment: number, sizeBytes: number): Promise<Place[]> {
  const places: Place[] = [];
  for (const rest of rests.of(index, segment)) {
    const own = (await readEntryAt(ledger, rest.index))?.content?.frame[rest.segment];
    if (own === undefined) continue;
    const inside =
      own.state === 'kept'
        ? [{ at: 0, sizeBytes: own.bytes.length, bytes: own.bytes }]
        : await placesOf(ledger, rests, rest.index, rest.segment, own.sizeBytes);
    places.push(
      ...putBack<Place>(inside, rest.ranges, ({ bytes }, from, size, at) => ({
        at,
        sizeBytes: size,
        ...(bytes === undefined ? {} : { bytes: bytes.subarray(from, from + size) }),
      })),
    );
  }
  return withGaps(places, sizeBytes, (at, size) => ({ at, sizeBytes: size }));
}
