/**
 * Signed notes and their keys (C2SP signed-note). Notes are opened with Ed25519 keys (type 0x01); lines by other keys are kept as unknown, and
 * those of witnesses are read in `cosignature.ts`.
 */
import { base64, concat, equal, fromBase64, fromHex, hex, utf8, utf8Text } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { parseCheckpoint, type ParsedCheckpoint } from './checkpoint.ts';

export const ed25519Type = 0x01;
const keyIdBytes = 4;
const ed25519KeyBytes = 32;
/** Bounds of a note that we read; C2SP asks for at least 16 signatures. */
const signaturesCount = 100;
const noteBytes = 1_000_000;

export interface NoteSignature {
  name: string;
  /** 4 bytes. */
  keyId: Uint8Array;
  /** What follows the key id; for Ed25519 64 bytes. */
  signature: Uint8Array;
}

export interface Note {
  /** Ends in a line end; this is what is signed. */
  text: string;
  signatures: NoteSignature[];
}

export interface Vkey {
  name: string;
  keyId: Uint8Array;
  /** 32 bytes. */
  publicKey: Uint8Array;
}

export interface Skey {
  name: string;
  keyId: Uint8Array;
  /** 32 bytes, secret. */
  seed: Uint8Array;
}

export interface Signer {
  name: string;
  keyId: Uint8Array;
  /** Ed25519 (RFC 8032, pure) over the message: 64 bytes. */
  sign: (message: Uint8Array) => Uint8Array;
}

export interface OpenedNote {
  text: string;
  /** Keys of ours whose signature holds, each once. */
  verified: Vkey[];
  /** Signatures by keys that we do not know; nothing is said about them. */
  unknown: NoteSignature[];
}

export interface NoteProblem {
  problem: 'malformed' | 'bad-signature' | 'ambiguous-key';
  message: string;
}

/** Whether a key may have this name: not empty, no Unicode white space, no `+`, valid Unicode. */
export function isKeyName(name: string): boolean {
  return name !== '' && !/[\p{White_Space}\p{Surrogate}+\u0000-\u001f]/u.test(name);
}

/** Key id (C2SP signed-note): the first 4 bytes of `SHA256(name ‖ 0x0A ‖ type ‖ public key)`. */
export function keyId(crypto: Crypto, name: string, publicKey: Uint8Array, type: number = ed25519Type): Uint8Array {
  return crypto.sha256(utf8(name), Uint8Array.of(0x0a, type), publicKey).slice(0, keyIdBytes);
}

/**
 * A verifier key as text: `name+8 hex digits+base64(type ‖ public key)`. The key is Ed25519; the type says what it signs.
 *
 * @throws RangeError for a name that no key may have, or a public key that has not 32 bytes
 */
export function formatVkey(crypto: Crypto, name: string, publicKey: Uint8Array, type: number = ed25519Type): string {
  if (!isKeyName(name)) throw new RangeError('no key may have this name');
  if (publicKey.length !== ed25519KeyBytes) throw new RangeError(`an Ed25519 public key has ${ed25519KeyBytes} bytes, not ${publicKey.length}`);
  return `${name}+${hex(keyId(crypto, name, publicKey, type))}+${base64(concat(Uint8Array.of(type), publicKey))}`;
}

/** A verifier key from text, or `undefined`: another type, a wrong id, or anything that `formatVkey` would not write. */
export function parseVkey(crypto: Crypto, text: string, type: number = ed25519Type): Vkey | undefined {
  const parts = keyParts(text);
  if (parts?.type !== type || parts.key.length !== ed25519KeyBytes) return undefined;
  return equal(parts.id, keyId(crypto, parts.name, parts.key, type)) ? { name: parts.name, keyId: parts.id, publicKey: parts.key } : undefined;
}

/** Name, type and key of a well-formed verifier key of any type, also one that we cannot use; its id is not checked. */
export function vkeyParts(text: string): { name: string; type: number; publicKey: Uint8Array } | undefined {
  const parts = keyParts(text);
  return parts && { name: parts.name, type: parts.type, publicKey: parts.key };
}

const skeyPrefix = 'PRIVATE+KEY+';

/**
 * A signer key as Go's `sumdb/note` writes it: `PRIVATE+KEY+name+8 hex digits+base64(type ‖ seed)`.
 *
 * @throws RangeError for a name that no key may have, or wrong lengths
 */
export function formatSkey({ name, keyId, seed }: Skey, type: number = ed25519Type): string {
  if (!isKeyName(name)) throw new RangeError('no key may have this name');
  if (keyId.length !== keyIdBytes || seed.length !== ed25519KeyBytes) throw new RangeError('a signer key has an id of 4 bytes and a seed of 32');
  return `${skeyPrefix}${name}+${hex(keyId)}+${base64(concat(Uint8Array.of(type), seed))}`;
}

/** A signer key from text, or `undefined`. Whether the id belongs to the seed only its public key can tell: the caller derives and compares. */
export function parseSkey(text: string, type: number = ed25519Type): Skey | undefined {
  if (!text.startsWith(skeyPrefix)) return undefined;
  const parts = keyParts(text.slice(skeyPrefix.length));
  return parts?.type === type && parts.key.length === ed25519KeyBytes ? { name: parts.name, keyId: parts.id, seed: parts.key } : undefined;
}

function keyParts(text: string): { name: string; id: Uint8Array; type: number; key: Uint8Array } | undefined {
  // Base64 may contain `+`; name and id may not.
  const match = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  if (!match || !isKeyName(match[1]!)) return undefined;
  const typed = fromBase64(match[3]!);
  if (!typed || typed.length < 2) return undefined;
  return { name: match[1]!, id: fromHex(match[2]!)!, type: typed[0]!, key: typed.slice(1) };
}

function isNoteText(text: string): boolean {
  return text.endsWith('\n') && !/[\u0000-\u0009\u000b-\u001f\p{Surrogate}]/u.test(text);
}

/**
 * A note with its signatures, not checked; `undefined` unless it is well-formed: UTF-8, no control characters but line ends, text and signatures
 * apart at the last empty line, 1 to 100 signature lines, strict base64.
 */
export function parseNote(bytes: Uint8Array): Note | undefined {
  if (bytes.length > noteBytes) return undefined;
  const whole = utf8Text(bytes);
  if (whole === undefined || !isNoteText(whole)) return undefined;
  const split = whole.lastIndexOf('\n\n');
  if (split < 0) return undefined;
  const signatures = parseSignatureLines(whole.slice(split + 2));
  return signatures && { text: whole.slice(0, split + 1), signatures };
}

/** The checkpoint that a note is about, or `undefined`. Nothing of its signatures is checked. */
export function checkpointOf(bytes: Uint8Array | undefined): ParsedCheckpoint | undefined {
  const note = bytes && parseNote(bytes);
  return note && parseCheckpoint(note.text);
}

/** Signature lines alone, as a witness answers with: 1 to 100 whole lines, or `undefined`. */
export function parseSignatureLines(text: string): NoteSignature[] | undefined {
  const lines = text.split('\n');
  if (lines.pop() !== '' || lines.length === 0 || lines.length > signaturesCount) return undefined;
  const signatures: NoteSignature[] = [];
  for (const line of lines) {
    const match = /^\u2014 ([^ ]+) ([A-Za-z0-9+/=]+)$/.exec(line);
    if (!match || !isKeyName(match[1]!)) return undefined;
    const field = fromBase64(match[2]!);
    if (!field || field.length <= keyIdBytes) return undefined;
    signatures.push({ name: match[1]!, keyId: field.slice(0, keyIdBytes), signature: field.slice(keyIdBytes) });
  }
  return signatures;
}

/**
 * One signature line with its line end.
 *
 * @throws RangeError for a bad key name or id, or an empty signature
 */
export function signatureLine({ name, keyId, signature }: NoteSignature): string {
  if (!isKeyName(name) || keyId.length !== keyIdBytes || signature.length === 0)
    throw new RangeError('a signature has a key name, an id of 4 bytes and a value');
  return `\u2014 ${name} ${base64(concat(keyId, signature))}\n`;
}

/**
 * The bytes of a note.
 *
 * @throws RangeError for a text without a final line end or with control characters, for no signature, or for a bad key name or id
 */
export function formatNote({ text, signatures }: Note): Uint8Array {
  if (!isNoteText(text)) throw new RangeError('the text of a note ends in a line end and has no control characters');
  if (signatures.length === 0 || signatures.length > signaturesCount) throw new RangeError('a note has 1 to 100 signatures');
  return utf8(`${text}\n${signatures.map(signatureLine).join('')}`);
}

/**
 * The bytes of a note over `text` with one signature.
 *
 * @throws RangeError as `formatNote`
 */
export function signNote(text: string, signer: Signer): Uint8Array {
  if (!isNoteText(text)) throw new RangeError('the text of a note ends in a line end and has no control characters');
  return formatNote({ text, signatures: [{ name: signer.name, keyId: signer.keyId, signature: signer.sign(utf8(text)) }] });
}

/**
 * Opens a note with the keys that the caller knows. A line by an unknown name or id is only listed; a known key with a signature that does not hold
 * spoils the whole note. No verified key is not a problem here: the caller decides whom it needs. Never throws.
 */
export function openNote(crypto: Crypto, bytes: Uint8Array, vkeys: readonly Vkey[]): OpenedNote | NoteProblem {
  const note = parseNote(bytes);
  if (!note) return { problem: 'malformed', message: 'not a signed note' };
  const message = utf8(note.text);
  const verified: Vkey[] = [];
  const unknown: NoteSignature[] = [];
  for (const signature of note.signatures) {
    const matching = vkeys.filter((vkey) => vkey.name === signature.name && equal(vkey.keyId, signature.keyId));
    const vkey = matching[0];
    if (!vkey) {
      unknown.push(signature);
      continue;
    }
    if (matching.some((other) => !equal(other.publicKey, vkey.publicKey))) {
      return { problem: 'ambiguous-key', message: `two keys are called ${vkey.name}+${hex(vkey.keyId)}` };
    }
    if (!crypto.verifyEd25519(vkey.publicKey, message, signature.signature)) {
      return { problem: 'bad-signature', message: `the signature by ${vkey.name}+${hex(vkey.keyId)} does not hold` };
    }
    if (!verified.includes(vkey)) verified.push(vkey);
  }
  return { text: note.text, verified, unknown };
}
