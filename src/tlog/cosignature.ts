/**
 * Cosignatures of witnesses on checkpoints (C2SP tlog-cosignature): the Ed25519 kind, type 0x04. Other kinds (0x06, ML-DSA-44) are lines by keys that
 * we do not know: ignored, as signed-note asks.
 *
 * A cosignature says: as of this time, the largest tree that the witness has seen of this origin has this root.
 */
import { concat, equal, hex, utf8 } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { formatVkey, openNote, parseNote, formatNote, parseVkey, type NoteProblem, type NoteSignature, type Signer, type Vkey } from './note.ts';

export const cosignatureType = 0x04;
const timeBytes = 8;
const signatureBytes = 64;

/** A witness's verifier key. `parseCosigner` makes it; a log's key never becomes one. */
export interface Cosigner extends Vkey {
  readonly type: typeof cosignatureType;
}

export interface Cosignature {
  cosigner: Cosigner;
  /** POSIX seconds, by the witness's clock. Nothing here compares it with ours. */
  timeS: number;
  /** The line as it stands in a note. */
  signature: NoteSignature;
}

export interface OpenedCosigned {
  text: string;
  /** Keys of logs whose signature holds, each once. */
  logs: Vkey[];
  /** Every line of a known witness, in the note's order; one witness may have several. */
  cosignatures: Cosignature[];
  /** Lines by keys that we do not know; nothing is said about them. */
  unknown: NoteSignature[];
}

/** @throws RangeError as `formatVkey` */
export function formatCosigner(crypto: Crypto, name: string, publicKey: Uint8Array): string {
  return formatVkey(crypto, name, publicKey, cosignatureType);
}

/** A witness's key from its text (a vkey of type 0x04), or `undefined`. */
export function parseCosigner(crypto: Crypto, text: string): Cosigner | undefined {
  const vkey = parseVkey(crypto, text, cosignatureType);
  return vkey && { ...vkey, type: cosignatureType };
}

/**
 * What a witness signs: two lines, then the whole text of the checkpoint.
 *
 * @throws RangeError unless 0 ≤ timeS ≤ 2^53 - 1
 */
export function cosignatureMessage(text: string, timeS: number): Uint8Array {
  if (!Number.isSafeInteger(timeS) || timeS < 0) throw new RangeError(`${timeS} is no time of a cosignature`);
  return utf8(`cosignature/v1\ntime ${timeS}\n${text}`);
}

/**
 * A cosignature's line over the text of a checkpoint. `signer` holds the witness's key: its id is that of type 0x04.
 *
 * @throws RangeError unless 0 ≤ timeS ≤ 2^53 - 1
 */
export function cosign(text: string, signer: Signer, timeS: number): NoteSignature {
  const signed = signer.sign(cosignatureMessage(text, timeS));
  const time = new Uint8Array(timeBytes);
  new DataView(time.buffer).setBigUint64(0, BigInt(timeS));
  return { name: signer.name, keyId: signer.keyId, signature: concat(time, signed) };
}

/** Time and Ed25519 signature of a line's value, or `undefined`: another length, or a time above 2^53 - 1 (the format ends at 2^63 - 1; nobody lives so long). */
export function parseCosignature(value: Uint8Array): { timeS: number; signature: Uint8Array } | undefined {
  if (value.length !== timeBytes + signatureBytes) return undefined;
  const timeS = Number(new DataView(value.buffer, value.byteOffset, timeBytes).getBigUint64(0));
  return Number.isSafeInteger(timeS) ? { timeS, signature: value.slice(timeBytes) } : undefined;
}

/** Whether a line is this witness's and holds over the text of a checkpoint; then what it says. Never throws. */
export function verifyCosignature(crypto: Crypto, cosigner: Cosigner, text: string, line: NoteSignature): Cosignature | undefined {
  if (!isBy(cosigner, line)) return undefined;
  const parsed = parseCosignature(line.signature);
  if (!parsed || !crypto.verifyEd25519(cosigner.publicKey, cosignatureMessage(text, parsed.timeS), parsed.signature)) return undefined;
  return { cosigner, timeS: parsed.timeS, signature: line };
}

/**
 * The cosignatures among `lines`. As in `openNote`, a line by an unknown key is only listed, and a known key whose signature does not hold spoils
 * everything. Never throws.
 */
export function readCosignatures(
  crypto: Crypto,
  text: string,
  lines: readonly NoteSignature[],
  cosigners: readonly Cosigner[],
): { cosignatures: Cosignature[]; unknown: NoteSignature[] } | NoteProblem {
  const cosignatures: Cosignature[] = [];
  const unknown: NoteSignature[] = [];
  for (const line of lines) {
    const matching = cosigners.filter((one) => isBy(one, line));
    const cosigner = matching[0];
    if (!cosigner) {
      unknown.push(line);
      continue;
    }
    const called = `${cosigner.name}+${hex(cosigner.keyId)}`;
    if (matching.some((other) => !equal(other.publicKey, cosigner.publicKey))) {
      return { problem: 'ambiguous-key', message: `two keys are called ${called}` };
    }
    const cosignature = verifyCosignature(crypto, cosigner, text, line);
    if (!cosignature) return { problem: 'bad-signature', message: `the cosignature by ${called} does not hold` };
    cosignatures.push(cosignature);
  }
  return { cosignatures, unknown };
}

/** Opens a note with the keys of logs and of witnesses that the caller knows. Who must have signed is the caller's decision. Never throws. */
export function openCosigned(crypto: Crypto, bytes: Uint8Array, logs: readonly Vkey[], cosigners: readonly Cosigner[]): OpenedCosigned | NoteProblem {
  const opened = openNote(crypto, bytes, logs);
  if ('problem' in opened) return opened;
  const read = readCosignatures(crypto, opened.text, opened.unknown, cosigners);
  if ('problem' in read) return read;
  return { text: opened.text, logs: opened.verified, ...read };
}

/**
 * The bytes of a note with more lines at its end; one that is there already is not repeated. `undefined` for what is not a note.
 *
 * @throws RangeError when it would then have more than 100
 */
export function withSignatures(bytes: Uint8Array, lines: readonly NoteSignature[]): Uint8Array | undefined {
  const note = parseNote(bytes);
  if (!note) return undefined;
  const signatures = [...note.signatures];
  for (const line of lines) {
    if (!signatures.some((one) => one.name === line.name && equal(one.keyId, line.keyId) && equal(one.signature, line.signature)))
      signatures.push(line);
  }
  return formatNote({ text: note.text, signatures });
}

function isBy(key: Vkey, line: NoteSignature): boolean {
  return key.name === line.name && equal(key.keyId, line.keyId);
}
