/** The text of a checkpoint (C2SP tlog-checkpoint): origin, size, root. Signing and opening are in `note.ts`. */
import { base64, fromBase64 } from '../bytes/bytes.ts';
import { hashBytes } from './tree.ts';

export interface Checkpoint {
  origin: string;
  /** Leaves of the tree: 0 ≤ size ≤ 2^53 - 1. */
  size: number;
  /** 32 bytes. */
  root: Uint8Array;
}

export interface ParsedCheckpoint extends Checkpoint {
  /** Extension lines, which we never write. */
  extensions: string[];
}

/**
 * The text to sign: three lines, each with its line end.
 *
 * @throws RangeError for an origin that is empty or has a line end, a size out of range, or a root that has not 32 bytes
 */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  if (!isLine(origin)) throw new RangeError('an origin is one line, not empty');
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`no tree of ${size} leaves`);
  if (root.length !== hashBytes) throw new RangeError(`a root has ${hashBytes} bytes, not ${root.length}`);
  return `${origin}\n${size}\n${base64(root)}\n`;
}

/** The parts of a checkpoint's text, or `undefined`: a size with leading zeros or above 2^53 - 1, a root that has not 32 bytes, an empty line. */
export function parseCheckpoint(text: string): ParsedCheckpoint | undefined {
  const lines = text.split('\n');
  if (lines.pop() !== '' || lines.length < 3 || !lines.every(isLine)) return undefined;
  const [origin, decimal, encoded, ...extensions] = lines as [string, string, string, ...string[]];
  if (!/^(0|[1-9][0-9]{0,15})$/.test(decimal)) return undefined;
  const size = Number(decimal);
  const root = fromBase64(encoded);
  if (!Number.isSafeInteger(size) || root?.length !== hashBytes) return undefined;
  return { origin, size, root, extensions };
}

function isLine(text: string): boolean {
  return text !== '' && !/[\u0000-\u001f]/.test(text);
}
