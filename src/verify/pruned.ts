/**
 * What a ledger states to be pruned (`spec/entry.md`, kind `prune`): where its first bundle is gone, the newest entry that says so is looked for before anything is
 * checked, since everything behind the bound is judged by what it restates. The pass over the ledger meets the entry again, in its place under the root.
 */
import { decodeBundle, tileWidthAt } from '../tlog/tile.ts';
import { checkpointOf } from '../tlog/note.ts';
import type { PruneEntry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { tileWidth } from '../limits.ts';
import { utf8 } from '../bytes/bytes.ts';
import type { Source } from './source.ts';

export interface Pruned {
  /** Of the entry. */
  index: number;
  entry: PruneEntry;
}

/** Only a prefix is pruned: behind so many bundles that are gone nothing is looked for, however far a checkpoint claims to go. */
const missingMost = 64;

const beginning = utf8('{"v":1,"kind":"prune"');

/** The newest `prune` entry under the checkpoint, as its bundle has it; `undefined` when there is none, or nothing can be read. */
export async function findPruned(source: Source): Promise<Pruned | undefined> {
  try {
    const size = checkpointOf(await source.checkpoint())?.size ?? 0;
    let missing = 0;
    for (let n = Math.ceil(size / tileWidth) - 1; n >= 0 && missing < missingMost; n--) {
      const width = tileWidthAt(size, 0, n);
      // a live ledger puts the full one in the place of a partial one
      const bytes = (await source.bundle(n, width)) ?? (width < tileWidth ? await source.bundle(n, tileWidth) : undefined);
      missing = bytes === undefined ? missing + 1 : 0;
      if (bytes === undefined) continue;
      const leaves = decodeBundle(bytes)?.slice(0, width) ?? [];
      for (let k = leaves.length - 1; k >= 0; k--) {
        const leaf = leaves[k]!;
        if (!beginning.every((byte, i) => leaf[i] === byte)) continue;
        const entry = readEntry(leaf);
        if (!(entry instanceof EntryProblem) && entry.kind === 'prune') return { index: n * tileWidth + k, entry };
      }
    }
  } catch {
    // what cannot be read is said by the pass
  }
  return undefined;
}

/** In one sentence: which entries, when, by whom, under which policy. */
export function prunedText({ index, entry }: Pruned): string {
  const last = (entry.end - 1).toLocaleString('en');
  return `entries 0–${last} were pruned on ${entry.time.slice(0, 10)} ${prunedBy(entry)} (entry ${index}): their hashes are in the tree, their text is gone`;
}

/** `by policy 3f2a41b0…, which keeps entries for 400 days`. */
export function prunedBy({ policyDigest, ageMs, by, before }: PruneEntry): string {
  const policy = policyDigest === undefined ? 'by a policy' : `by policy ${policyDigest.slice(0, 8)}…`;
  if (ageMs !== undefined) return `${policy}, which keeps entries for ${spanText(ageMs)}`;
  const who = by === undefined ? 'by nobody named' : `by uid ${by.uid}`;
  return before === undefined ? who : `${who}, what was older than ${before.slice(0, 10)}`;
}

function spanText(ms: number): string {
  for (const [name, unitMs] of [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1_000],
  ] as const) {
    if (ms % unitMs !== 0) continue;
    const units = ms / unitMs;
    return `${units} ${name}${units === 1 ? '' : 's'}`;
  }
  return `${ms} ms`;
}
