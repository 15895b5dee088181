/** One entry, opened: its leaf as stored, its content as far as it is kept, and whether all of it is what was verified. */
import { base64, equal, hex, lossyText, utf8Text } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { EntryDetail, Stretch } from '../analysis/views.ts';
import { detailBytes } from '../limits.ts';
import { readEntryAt, type Located } from '../readers/entries.ts';
import { payloadOf } from '../readers/opened.ts';
import { stretchesOf, type Payload } from '../readers/payload.ts';
import { PublishedLog } from '../readers/published.ts';
import { contentHolds } from '../readers/record.ts';
import { verifyConsistency } from '../tlog/proof.ts';
import { hashLeaf } from '../tlog/tree.ts';
import type { Ledger } from './evidence.ts';

/** Of what is no text only so much is shown. */
const binaryBytes = 64 * 1024;

/** The entry at an index, with its content; `undefined` when there is none (any more). `proven`: the tree that was verified. */
export async function detailOf(ledger: Ledger, index: number, proven: { size: number; root: string } | undefined): Promise<EntryDetail | undefined> {
  const located = await readEntryAt(ledger.path, index);
  if (located === undefined) return undefined;
  return {
    ledger: ledger.id,
    index,
    leaf: lossyText(located.leaf),
    leafHash: hex(hashLeaf(nodeCrypto, located.leaf)),
    attributes: located.content?.attributes ?? {},
    ...(await frameOf(ledger.path, located)),
    isVerified:
      proven !== undefined && index < proven.size && isProven(ledger.path, located, proven) && (await isBatchProven(ledger.path, located, proven)),
  };
}

/** The bytes of a batch's item are its batch's. */
async function isBatchProven(path: string, { entry }: Located, proven: { size: number; root: string }): Promise<boolean> {
  if (entry.kind !== 'message' || entry.batch === undefined) return true;
  const batch = await readEntryAt(path, entry.batch);
  return batch !== undefined && isProven(path, batch, proven);
}

/** Whether there is content to open: an entry that was never more than its leaf tells nothing that the lists do not. */
export function hasContent({ frame, binary, attributes }: EntryDetail): boolean {
  return frame !== undefined || binary !== undefined || Object.keys(attributes).length > 0;
}

async function frameOf(path: string, located: Located): Promise<Pick<EntryDetail, 'frame' | 'binary'>> {
  const { entry } = located;
  if (entry.kind !== 'message' && entry.kind !== 'batch') return {};
  const payload = await payloadOf(path, located, detailBytes);
  if (payload === undefined) return { frame: [{ missing: 'lost', sizeBytes: entry.sizeBytes }] };
  const frame = textOf(payload, Object.keys(entry.redacted ?? {}));
  return frame === undefined ? { binary: base64(payload.bytes.subarray(0, binaryBytes)) } : { frame };
}

/** `undefined`: it is no text. A gap may tear a character apart; that alone does not make it something else. */
function textOf(payload: Payload, rules: readonly string[]): Stretch[] | undefined {
  const stretches: Stretch[] = [];
  let isText = true;
  for (const stretch of stretchesOf(payload)) {
    if (stretch instanceof Uint8Array) {
      const isWhole = payload.gaps.length === 0 && payload.cutBytes === 0;
      if (isWhole && utf8Text(stretch) === undefined) isText = false;
      stretches.push({ text: lossyText(stretch) });
    } else {
      const { reason, sizeBytes } = stretch;
      // the entry counts by rule; only where there is one is it known which
      stretches.push({ missing: reason, sizeBytes, ...(reason === 'redacted' && rules.length === 1 ? { rule: rules[0]! } : {}) });
    }
  }
  if (payload.cutBytes > 0) stretches.push({ missing: 'withheld', sizeBytes: payload.cutBytes });
  return isText ? stretches : undefined;
}

/** The leaf leads to the root that was verified, through what is published now, and its content is what it says. */
function isProven(path: string, { index, leaf, content, entry }: Located, { size, root }: { size: number; root: string }): boolean {
  try {
    const log = new PublishedLog(path);
    const before = Buffer.from(root, 'base64');
    if (log.size === size ? !equal(log.checkpoint.root, before) : !continues(log, size, before)) return false;
    log.inclusion(index, leaf);
  } catch {
    // files that are missing or damaged prove nothing
    return false;
  }
  if (content === undefined) return false;
  return entry.kind !== 'unreadable' && contentHolds({ leaf, attributes: content.attributeItems, frame: content.frame });
}

function continues(log: PublishedLog, size: number, root: Uint8Array): boolean {
  return (
    log.size > size &&
    verifyConsistency(nodeCrypto, { size1: size, size2: log.size, root1: root, root2: log.checkpoint.root, proof: log.consistency(size) })
  );
}
