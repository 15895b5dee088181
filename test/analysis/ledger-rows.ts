/** The rows of a ledger on disk, as catalog and report make them. */
import { nodeCrypto } from '../../src/crypto-node.ts';
import { MemoryRows, Projection, type AnalysisOptions, type Observed } from '../../src/analysis/projection.ts';
import { whyDropped } from '../../src/entry/dropped.ts';
import { analysedBytes } from '../../src/limits.ts';
import { readEntries } from '../../src/readers/entries.ts';
import { readPayload } from '../../src/readers/payload.ts';

export async function observedIn(ledger: string): Promise<Observed[]> {
  const all: Observed[] = [];
  for await (const { index, entry, content } of readEntries(ledger, { content: true })) {
    if (entry.kind === 'unreadable' || content === undefined) throw new Error(`entry ${index} cannot be read`);
    const isMessage = entry.kind === 'message' || entry.kind === 'batch';
    const frame =
      isMessage && content.frame.length > 0 ? readPayload(ledger, content.frame, analysedBytes, { dropped: whyDropped(entry) }) : undefined;
    all.push({ index, entry, attributes: content.attributes, ...(frame === undefined ? {} : { frame }) });
  }
  return all;
}

export function project(observed: readonly Observed[], options: Omit<AnalysisOptions, 'crypto'> = {}, pauseAfter = Infinity): MemoryRows {
  const rows = new MemoryRows();
  const all = { crypto: nodeCrypto, ...options };
  let projection = new Projection('0'.repeat(32), all, rows);
  for (const [at, one] of observed.entries()) {
    if (at > 0 && at % pauseAfter === 0) projection = Projection.restore(projection.snapshot(), all, rows);
    projection.take(one);
  }
  projection.end();
  return rows;
}
