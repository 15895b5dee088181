/** Which ledger a folder holds. */
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { SwornError } from '../errors.ts';
import { readSegmentHeader, segmentHeaderBytes, segmentName } from '../ledger/segment.ts';
import { firstIndexOf, readEntries } from './entries.ts';
import { segmentsOf } from './payload.ts';
import { PublishedLog } from './published.ts';

export interface Identity {
  /** 32 hex digits. */
  id: string;
  /** Of its checkpoints; absent where the first entry is pruned and nothing is published. */
  origin?: string;
}

/** @throws SwornError `no-ledger` when the folder holds none, or nothing of it can be read; `permission` when it is closed to us */
export async function identityOf(ledger: string): Promise<Identity> {
  for await (const { entry } of readEntries(ledger, { from: firstIndexOf(ledger), to: firstIndexOf(ledger) + 1 })) {
    if (entry.kind === 'start') return { id: entry.ledger, origin: entry.origin };
  }
  const id = idInSegment(ledger);
  let origin: string | undefined;
  let ofOrigin: string | undefined;
  try {
    const log = new PublishedLog(ledger);
    origin = log.checkpoint.origin;
    ofOrigin = log.ledgerId;
  } catch (error) {
    if (!(error instanceof SwornError) || error.code !== 'not-published') throw error;
  }
  const known = id ?? ofOrigin;
  if (known === undefined) throw new SwornError('no-ledger', `nothing is recorded in ${ledger} yet`);
  return origin === undefined ? { id: known } : { id: known, origin };
}

function idInSegment(ledger: string): string | undefined {
  const [first] = segmentsOf(ledger);
  if (first === undefined) return undefined;
  const header = Buffer.alloc(segmentHeaderBytes);
  try {
    const fd = openSync(join(ledger, 'payload', segmentName(first)), 'r');
    try {
      readSync(fd, header, 0, segmentHeaderBytes, 0);
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
  return readSegmentHeader(header)?.ledgerId;
}
