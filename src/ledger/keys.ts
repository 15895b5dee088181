/**
 * The ledger's key and its `head`, the last signed checkpoint. They live outside the ledger's folder and its backups: a ledger that is restored
 * without them is noticed as rolled back. Files: `key` (Go's signer key text, 0600), `vkey` (the public half, for pinning), `head`.
 */
import { createPrivateKey, generateKeyPairSync, randomBytes, sign as signBytes, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { equal } from '../bytes/bytes.ts';
import { SwornError } from '../errors.ts';
import { formatSkey, formatVkey, keyId, parseSkey, type Signer } from '../tlog/note.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { nodeFiles, replaceDurably, type Files } from './files.ts';

/** DER prefix of an Ed25519 PKCS #8 private key (RFC 8410 §7); the 32-byte seed follows. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface LedgerKey {
  signer: Signer;
  vkey: string;
  /** First 16 hex digits of the SHA-256 of the public key: for reading aloud. */
  fingerprint: string;
}

/** `~/.config/sworn`: keys, pins and configuration of this user. */
export function configHome(): string {
  return join(homedir(), '.config', 'sworn');
}

export function keysFolder(keysHome: string, ledgerId: string): string {
  return join(keysHome, ledgerId);
}

/** Makes a new key and stores it durably. @throws SwornError `ledger-create` */
export function createKey(files: Files, folder: string, origin: string): LedgerKey {
  const { privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
  const publicKey = publicKeyOf(privateKey);
  files.mkdir(folder, 0o700);
  replaceDurably(
    files,
    join(folder, 'key'),
    Buffer.from(formatSkey({ name: origin, keyId: keyId(nodeCrypto, origin, publicKey), seed }) + '\n'),
    0o600,
  );
  const key = keyOf(origin, privateKey);
  replaceDurably(files, join(folder, 'vkey'), Buffer.from(key.vkey + '\n'), 0o644);
  return key;
}

const findKeyBytes = 32;

/**
 * The secret that makes checkable redactions checkable (`spec/policy.md`), made when it is first needed. Like the log's key it is never in the ledger's folder: who has only
 * that cannot look for a value. For the recorder alone: whoever reads takes the one that is there (`readFindKey`).
 */
export function findKeyIn(folder: string): Buffer {
  const key = readFindKey(folder);
  if (key !== undefined) return key;
  const fresh = randomBytes(findKeyBytes);
  replaceDurably(nodeFiles, join(folder, 'find-key'), fresh, 0o600);
  return fresh;
}

/**
 * The one that is there, or `undefined`. Never makes one: a new one would find nothing, and the recorder would go on with it.
 * @throws SwornError `ledger-key-missing` for a damaged one, and what reading throws
 */
export function readFindKey(folder: string): Buffer | undefined {
  const path = join(folder, 'find-key');
  if (!existsSync(path)) return undefined;
  const key = readFileSync(path);
  if (key.length !== findKeyBytes) throw new SwornError('ledger-key-missing', `the key ${path} is damaged`, { path });
  return key;
}

/** @throws SwornError `ledger-key-missing` */
export function loadKey(folder: string): LedgerKey {
  const path = join(folder, 'key');
  if (!existsSync(path)) throw new SwornError('ledger-key-missing', `the ledger has entries but its key ${path} is missing`, { path });
  if ((statSync(path).mode & 0o077) !== 0)
    throw new SwornError('ledger-key-missing', `the key ${path} is readable by others; chmod 600 it`, { path });
  const parsed = parseSkey(readFileSync(path, 'utf8').trim());
  if (parsed === undefined) throw new SwornError('ledger-key-missing', `the key ${path} cannot be read`, { path });
  const key = keyOf(parsed.name, createPrivateKey({ key: Buffer.concat([pkcs8Prefix, parsed.seed]), format: 'der', type: 'pkcs8' }));
  if (!equal(key.signer.keyId, parsed.keyId)) throw new SwornError('ledger-key-missing', `the key ${path} is damaged`, { path });
  return key;
}

function keyOf(name: string, privateKey: KeyObject): LedgerKey {
  const publicKey = publicKeyOf(privateKey);
  return {
    signer: { name, keyId: keyId(nodeCrypto, name, publicKey), sign: (message) => signBytes(null, message, privateKey) },
    vkey: formatVkey(nodeCrypto, name, publicKey),
    fingerprint: Buffer.from(nodeCrypto.sha256(publicKey)).toString('hex', 0, 8),
  };
}

function publicKeyOf(privateKey: KeyObject): Buffer {
  const jwk = privateKey.export({ format: 'jwk' });
  return Buffer.from(jwk.x!, 'base64url');
}
