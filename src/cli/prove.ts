/** `sworn prove <index>`: one entry as a file that is checked without the ledger, and without us (C2SP tlog-proof). */
import { base64, utf8Text } from '../bytes/bytes.ts';
import { wholeNumber } from '../bytes/typed.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { SwornError } from '../errors.ts';
import { readEntryAt } from '../readers/entries.ts';
import { recordOf, type StoredRecord } from '../readers/record.ts';
import { formatProofFile } from '../tlog/proof-file.ts';
import { hashLeaf } from '../tlog/tree.ts';
import { PublishedLog } from '../readers/published.ts';
import { checkReplaceable, toStdout, writeEvidence } from './evidence-file.ts';
import { extraBeside, extraOf, openableBytes, SegmentWriter, withheld } from './evidence.ts';
import type { CommandHelp } from './help.ts';
import { oneLedgerPath } from './ledger-path.ts';
import { count, safeJson, size, visible, type Output } from './output.ts';
import { absent } from './pruned.ts';
import { sidecarOf } from './verify-proof.ts';

export interface ProveOptions {
  index?: string | number;
  ledger?: string | string[];
  output?: string;
  withhold?: boolean;
  json?: boolean;
}

export const proveHelp: CommandHelp = {
  options: [
    { flags: '-o, --output <file>', description: 'where to write it (default: <index>.tlog-proof); - is stdout' },
    { flags: '--withhold', description: 'leave the content out: the entry and the hashes of its content only' },
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn)', repeat: true },
    { flags: '--json', description: 'what was written, as one JSON object' },
  ],
  example: 'sworn prove 12 -o 12.tlog-proof && sworn verify 12.tlog-proof',
};

export interface Proof {
  bytes: Uint8Array;
  leafHash: Uint8Array;
  /** Content that does not fit into the proof: a payload segment with this entry. */
  sidecar?: (write: (bytes: Uint8Array) => void) => number;
  openedBytes: number;
  /** Why there is less content than the entry has. */
  lacks?: string;
}

export async function proveCommand(options: ProveOptions, output: Output): Promise<number> {
  const ledger = oneLedgerPath(options.ledger, 'prove');
  const index = wholeNumber(String(options.index));
  if (index === undefined) {
    throw usage(`${options.index === undefined ? 'no index is given' : `${options.index} is not an index`}: sworn prove <index>`);
  }
  const log = new PublishedLog(ledger);
  if (index >= log.size) {
    if ((await readEntryAt(ledger, index, false)) === undefined) throw await absent(ledger, index);
    throw new SwornError(
      'not-published',
      `entry ${index} is not under the published checkpoint yet, which covers ${count(log.size, 'entry', 'entries')}`,
    );
  }
  if (index < log.first) throw await absent(ledger, index);
  const path = options.output ?? `${index}.tlog-proof`;
  const isStdout = path === toStdout;
  if (isStdout && options.json) throw usage('-o - and --json both take stdout: give -o FILE');
  const made = makeProof(log, index, options.withhold === true);
  if (isStdout && made.sidecar)
    throw usage(`the content of entry ${index} does not fit into the proof, and stdout has no place beside it: give -o FILE, or --withhold`);
  if (isStdout) output.out(utf8Text(made.bytes)!);
  const { sizeBytes, sidecarBytes }: ProofWritten = isStdout ? { sizeBytes: made.bytes.length } : writeProof(path, made);
  const sidecar = sidecarBytes === undefined ? undefined : sidecarOf(path);
  if (options.json) {
    const fields = {
      proof: path,
      sizeBytes,
      ...(sidecar === undefined ? {} : { sidecar, sidecarBytes }),
      index,
      size: log.size,
      origin: log.checkpoint.origin,
      vkey: log.vkey,
      leafHash: base64(made.leafHash),
      openedBytes: made.openedBytes,
      ...(made.lacks === undefined ? {} : { lacks: made.lacks }),
    };
    output.out(`${safeJson(JSON.stringify(fields))}\n`);
    return 0;
  }
  const what = made.openedBytes > 0 ? `with its content (${size(made.openedBytes)})` : 'without content';
  const lines = [
    `${isStdout ? 'stdout' : path}, ${size(sizeBytes)}: entry ${index} under the checkpoint of ${count(log.size, 'entry', 'entries')}, ${what}`,
  ];
  if (sidecar !== undefined) lines.push(`${sidecar}, ${size(sidecarBytes!)}: the content, which does not fit into the proof; keep the two together`);
  if (made.lacks !== undefined) lines.push(`not in it: ${made.lacks}`);
  if (made.openedBytes > 0) lines.push('It holds what was said, in clear: hand it on as you would the ledger itself.');
  lines.push('', 'Check it with', `  sworn verify ${isStdout ? 'FILE' : path}`);
  if (log.vkey !== undefined) lines.push('', "Elsewhere that needs the log's key, in a trust file (--policy)", `  log ${log.vkey}`, '  quorum none');
  const text = `${lines.map(visible).join('\n')}\n`;
  if (isStdout) output.err(text);
  else output.out(text);
  return 0;
}

/**
 * The proof of an entry below the published checkpoint, with all content that is there, or with hashes alone.
 *
 * @throws SwornError `ledger-corrupt` when tiles and bundles do not lead to the checkpoint
 */
export function makeProof(log: PublishedLog, index: number, isWithheld: boolean): Proof {
  const { ledger, note: checkpoint } = log;
  const leaf = log.leaf(index);
  const hashes = log.inclusion(index, leaf);
  const stored = recordOf(ledger, index, leaf);
  const record = stored && isWithheld ? withheld(stored) : stored;
  const leafHash = hashLeaf(nodeCrypto, leaf);
  const lacks = lacking(leaf, stored, isWithheld);
  const common = { leafHash, openedBytes: record ? openableBytes(record) : 0, ...(lacks === undefined ? {} : { lacks }) };
  const extra = extraOf(ledger, leaf, record);
  if (extra) return { bytes: formatProofFile({ extra, index, hashes, checkpoint }), ...common };
  const sidecar = (write: (bytes: Uint8Array) => void): number => {
    const writer = new SegmentWriter(ledger, log.ledgerId, index, write);
    writer.add(index, record ?? { leaf, attributes: [], frame: [] });
    return writer.sizeBytes;
  };
  // written to nowhere first: the proof says how long it is
  const sidecarBytes = sidecar(() => undefined);
  return { bytes: formatProofFile({ extra: extraBeside(leaf, sidecarBytes), index, hashes, checkpoint }), sidecar, ...common };
}

function lacking(leaf: Uint8Array, stored: StoredRecord | undefined, isWithheld: boolean): string | undefined {
  const entry = readEntry(leaf);
  if (entry instanceof EntryProblem) return `what this version cannot read (${entry.message})`;
  if (entry.kind === 'message' && entry.batch !== undefined) return `the content, which is that of the batch: sworn prove ${entry.batch}`;
  const hasContent = entry.attributes !== undefined || ((entry.kind === 'message' || entry.kind === 'batch') && entry.segments !== undefined);
  if (stored === undefined)
    return hasContent ? 'the content: its record is missing, closed to you, encrypted without its key here, or not what the entry says' : undefined;
  if (isWithheld) return hasContent ? 'the content, of which only the hashes are given' : undefined;
  const closed = [...stored.attributes, ...stored.frame].filter(({ state }) => state === 'dropped' || state === 'erased').length;
  return closed === 0 ? undefined : `${count(closed, 'segment')} that ${closed === 1 ? 'was' : 'were'} erased or never stored`;
}

interface ProofWritten {
  sizeBytes: number;
  sidecarBytes?: number;
}

/** Writes a proof and its sidecar, which is there before the proof that names it. @throws SwornError `output` */
function writeProof(path: string, { bytes, sidecar }: Proof): ProofWritten {
  checkReplaceable(path);
  try {
    const sidecarBytes = sidecar && writeEvidence(sidecarOf(path), sidecar);
    return { sizeBytes: writeEvidence(path, (write) => write(bytes)), ...(sidecarBytes === undefined ? {} : { sidecarBytes }) };
  } catch (error) {
    if (error instanceof SwornError) throw error;
    throw new SwornError('output', `${path} cannot be written: ${(error as Error).message}`);
  }
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'prove' });
}
