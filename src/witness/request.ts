/** The body of `add-checkpoint` (C2SP tlog-witness): the old size, the consistency proof from it, and the checkpoint. */
import { base64, concat, fromBase64, utf8, utf8Text } from '../bytes/bytes.ts';
import { witnessProofHashes, witnessRequestBytes } from '../limits.ts';
import { hashBytes } from '../tlog/tree.ts';

export interface AddCheckpoint {
  /** The size up to which the witness is thought to have cosigned; 0 for never. */
  oldSize: number;
  proof: Uint8Array[];
  /** A signed note, byte for byte. */
  checkpoint: Uint8Array;
}

/** The content type of a 409 that says up to which size the witness has cosigned (C2SP tlog-witness). */
export const sizeType = 'text/x.tlog.size';

export function formatAddCheckpoint({ oldSize, proof, checkpoint }: AddCheckpoint): Uint8Array {
  return concat(utf8([`old ${oldSize}`, ...proof.map(base64), '', ''].join('\n')), checkpoint);
}

/** The parts of a body, or what is wrong with it. The checkpoint is not looked at. Never throws. */
export function parseAddCheckpoint(body: Uint8Array): AddCheckpoint | string {
  if (body.length > witnessRequestBytes) return `a request has at most ${witnessRequestBytes} bytes`;
  const end = body.findIndex((byte, at) => byte === 0x0a && body[at + 1] === 0x0a);
  const head = end < 0 ? undefined : utf8Text(body.subarray(0, end));
  if (head === undefined) return 'no empty line before the checkpoint';
  const [old, ...lines] = head.split('\n') as [string, ...string[]];
  const oldSize = parseSize(/^old (.*)$/.exec(old)?.[1] ?? '');
  if (oldSize === undefined) return 'the first line is not `old` and a size';
  if (lines.length > witnessProofHashes) return `a proof has at most ${witnessProofHashes} hashes`;
  const proof: Uint8Array[] = [];
  for (const line of lines) {
    const hash = fromBase64(line);
    if (hash?.length !== hashBytes) return 'a line of the proof is not base64 of a hash';
    proof.push(hash);
  }
  return { oldSize, proof, checkpoint: body.slice(end + 2) };
}

/** A size in decimal without leading zeros, up to 2^53 - 1. */
export function parseSize(text: string): number | undefined {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text)) return undefined;
  const size = Number(text);
  return Number.isSafeInteger(size) ? size : undefined;
}
