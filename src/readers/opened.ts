/** What an entry's frame holds, put together from all that is stored of it. */
import { whyDropped } from '../entry/dropped.ts';
import type { ContentItem } from '../ledger/segment.ts';
import { readEntryAt, type Located } from './entries.ts';
import { readPayload, type Payload, type PayloadOptions } from './payload.ts';
import { restsOf } from './rest.ts';

/** The payload of a message or batch, up to `mostBytes`; of a batch's item from the batch's bytes. `undefined` when there is none to read. */
export async function payloadOf(ledger: string, located: Located, mostBytes: number): Promise<Payload | undefined> {
  const { entry } = located;
  if (entry.kind === 'message' && entry.batch !== undefined) {
    const batch = await readEntryAt(ledger, entry.batch);
    return batch?.content === undefined
      ? undefined
      : readWhole(ledger, batch.index, batch.content.frame, mostBytes, { range: entry.range, dropped: whyDropped(entry) });
  }
  if ((entry.kind !== 'message' && entry.kind !== 'batch') || located.content === undefined) return undefined;
  return readWhole(ledger, located.index, located.content.frame, mostBytes, { dropped: whyDropped(entry) });
}

/** With what is left of it, where it was erased in part. */
async function readWhole(ledger: string, index: number, frame: readonly ContentItem[], mostBytes: number, options: PayloadOptions): Promise<Payload> {
  const payload = readPayload(ledger, frame, mostBytes, options);
  const rests = payload.erasedBytes === 0 ? undefined : await restsOf(ledger, index, frame);
  return rests === undefined ? payload : readPayload(ledger, frame, mostBytes, { ...options, rests });
}
