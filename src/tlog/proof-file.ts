/**
 * One entry's proof as a file (C2SP tlog-proof, extension `.tlog-proof`): its index, the inclusion proof, and the checkpoint with its cosignatures,
 * so that it is checked without the log and without us.
 *
 * Nothing here is believed because it stands in the file: `verifyProofFile` needs the entry and the keys from elsewhere, and `extra` is covered by no
 * signature. Whoever reads an entry from `extra` recomputes its leaf hash.
 */
import { base64, fromBase64, utf8, utf8Text } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { proofExtraBytes, proofFileBytes } from '../limits.ts';
import type { ParsedCheckpoint } from './checkpoint.ts';
import { checkpointOf } from './note.ts';
import { inclusionProofLength, verifyInclusion } from './proof.ts';
import { hashBytes } from './tree.ts';

const header = 'c2sp.org/tlog-proof@v1';

export interface ProofFile {
  /** Not authenticated. Left out when there are no bytes of it. */
  extra?: Uint8Array;
  index: number;
  /** Sibling hashes, leaf side first. */
  hashes: Uint8Array[];
  /** The signed note, byte for byte. */
  checkpoint: Uint8Array;
}

export interface ParsedProofFile extends ProofFile {
  /** What the note in `checkpoint` says; its signatures are not checked. */
  parsed: ParsedCheckpoint;
}

export interface ProofFileProblem {
  problem: 'proof-file';
  /** From 1; 0 for the file as a whole. */
  line: number;
  message: string;
}

/**
 * The bytes of a proof file. What this writes, `parseProofFile` reads.
 *
 * @throws RangeError for a checkpoint that is none, an index that it does not cover, a wrong number of hashes, or an `extra` that is too long
 */
export function formatProofFile({ extra, index, hashes, checkpoint }: ProofFile): Uint8Array {
  const lines = [header];
  if (extra !== undefined && extra.length > 0) {
    if (extra.length > proofExtraBytes) throw new RangeError(`extra has at most ${proofExtraBytes} bytes, not ${extra.length}`);
    lines.push(`extra ${base64(extra)}`);
  }
  if (!Number.isSafeInteger(index) || index < 0) throw new RangeError(`no entry ${index}`);
  lines.push(`index ${index}`, ...hashes.map(base64), '');
  const note = utf8Text(checkpoint);
  const bytes = utf8(`${lines.join('\n')}\n${note ?? ''}`);
  const parsed = parseProofFile(bytes);
  if ('problem' in parsed) throw new RangeError(parsed.message);
  return bytes;
}

/** The parts of a proof file, or what is wrong with it: everything that `formatProofFile` would not write is refused. Never throws. */
export function parseProofFile(bytes: Uint8Array): ParsedProofFile | ProofFileProblem {
  const wrong = (line: number, message: string): ProofFileProblem => ({ problem: 'proof-file', line, message });
  if (bytes.length > proofFileBytes) return wrong(0, `a proof file has at most ${proofFileBytes} bytes`);
  const text = utf8Text(bytes);
  if (text === undefined) return wrong(0, 'not UTF-8');
  const end = text.indexOf('\n\n');
  if (end < 0) return wrong(0, 'no empty line before the checkpoint');
  const lines = text.slice(0, end).split('\n');
  if (lines[0] !== header) return wrong(1, `the first line is not ${header}`);

  let at = 1;
  let extra: Uint8Array | undefined;
  if (lines[at]?.startsWith('extra ')) {
    extra = fromBase64(lines[at]!.slice('extra '.length));
    if (!extra || extra.length === 0) return wrong(at + 1, '`extra` is not base64 of at least one byte');
    if (extra.length > proofExtraBytes) return wrong(at + 1, `\`extra\` has at most ${proofExtraBytes} bytes`);
    at++;
  }
  const decimal = /^index (0|[1-9][0-9]{0,15})$/.exec(lines[at] ?? '')?.[1];
  const index = Number(decimal ?? Number.NaN);
  if (!Number.isSafeInteger(index)) return wrong(at + 1, 'not `index` and a number without leading zeros');
  at++;

  const hashes: Uint8Array[] = [];
  for (; at < lines.length; at++) {
    const hash = fromBase64(lines[at]!);
    if (hash?.length !== hashBytes) return wrong(at + 1, `not base64 of a hash of ${hashBytes} bytes`);
    hashes.push(hash);
  }

  const checkpoint = utf8(text.slice(end + 2));
  const parsed = checkpointOf(checkpoint);
  if (!parsed) return wrong(lines.length + 2, 'not a signed checkpoint');
  const length = inclusionProofLength({ index, size: parsed.size });
  if (length === undefined) return wrong(lines.length + 2, `the checkpoint covers ${parsed.size} entries and not entry ${index}`);
  if (hashes.length !== length) {
    return wrong(lines.length, `the proof of entry ${index} of ${parsed.size} has ${length} hashes, not ${hashes.length}`);
  }
  return { ...(extra ? { extra } : {}), index, hashes, checkpoint, parsed };
}

/**
 * Whether the entry with `leafHash` is where the file says, under the root of its checkpoint. Says nothing of who signed that: open `checkpoint` with
 * `openCosigned`, or `openUnderPolicy`. Never throws.
 */
export function verifyProofFile(crypto: Crypto, { index, hashes, parsed }: ParsedProofFile, leafHash: Uint8Array): boolean {
  return verifyInclusion(crypto, { index, size: parsed.size, leafHash, proof: hashes, root: parsed.root });
}
