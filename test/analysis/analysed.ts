/** Entries projected to rows, as catalog and report do it. */
import { nodeCrypto } from '../../src/crypto-node.ts';
import { MemoryRows, Projection, type AnalysisOptions } from '../../src/analysis/projection.ts';
import type { FindingRow } from '../../src/analysis/rows.ts';
import { Erased, observe } from '../../src/catalog/observe.ts';
import { readEntries } from '../../src/readers/entries.ts';
import { Replay, type Conversation, type ReplayedEntry } from './replay.ts';

const ledger = '0'.repeat(32);

/** `pauseAfter`: the projection is put down and taken up again after so many entries each time. */
export function rowsOf(
  entries: readonly ReplayedEntry[],
  options: Omit<AnalysisOptions, 'crypto'> = {},
  pauseAfter = Infinity,
): MemoryRows & { snapshot: string } {
  const rows = new MemoryRows();
  const all = { crypto: nodeCrypto, ...options };
  let projection = new Projection(ledger, all, rows);
  for (const [at, { index, entry, attributes, frame }] of entries.entries()) {
    if (at > 0 && at % pauseAfter === 0) projection = Projection.restore(projection.snapshot(), all, rows);
    projection.take({ index, entry, attributes, ...(frame === undefined ? {} : { frame: { bytes: frame, gaps: [] } }) });
  }
  return Object.assign(rows, { snapshot: projection.snapshot() });
}

/** The rows of a ledger on disk. */
export async function rowsOfLedger(path: string): Promise<MemoryRows> {
  const rows = new MemoryRows();
  const projection = new Projection(ledger, { crypto: nodeCrypto }, rows);
  const erased = new Erased();
  for await (const located of readEntries(path, { content: true })) {
    const observed = observe(path, located, erased);
    if (observed !== undefined) projection.take(observed);
  }
  projection.end();
  return rows;
}

/** The findings of one conversation, in a ledger of its own. */
export async function findingsOf(
  conversation: Conversation,
  options: Omit<AnalysisOptions, 'crypto'> = {},
  pauseAfter = Infinity,
): Promise<FindingRow[]> {
  const replay = new Replay();
  await replay.play(conversation);
  return rowsOf(replay.entries, options, pauseAfter).rows('findings');
}
