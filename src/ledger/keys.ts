/**
 * The ledger's keys and its `head`, the last signed checkpoint. They live outside the ledger's folder and its backups: a ledger that is restored
 * without them is noticed as rolled back. Files: `key` (0600), `vkey` (the public halves, for pinning), `head`.
 *
 * `key` has one line for each key, the newest first; those behind it sign beside it until they are retired. A line is Go's signer key text, or says who
 * holds the key: `COMMAND <vkey> ["word", …]`, `AGENT <vkey> <socket of an ssh-agent>`.
 */
import { generateKeyPairSync, randomBytes, sign as signBytes, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { equal } from '../bytes/bytes.ts';
import { SwornError } from '../errors.ts';
import { formatNote, formatSkey, formatVkey, keyId, parseSkey, parseVkey } from '../tlog/note.ts';
import { nodeCrypto, privateKeyOf } from '../crypto-node.ts';
import { nodeFiles, replaceDurably, type Files } from './files.ts';
import { signWithAgent, signWithCommand } from './remote-key.ts';

export interface OneKey {
  /** Of the note's line: the origin. */
  name: string;
  keyId: Uint8Array;
  vkey: string;
  /** First 16 hex digits of the SHA-256 of the public key: for reading aloud. */
  fingerprint: string;
  /** Who holds it. */
  holder: 'file' | 'command' | 'ssh-agent';
  /** 64 bytes. @throws (rejects) when whoever holds the key does not sign */
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** The newest key. */
export interface LedgerKey extends OneKey {
  /** Those that sign beside it, while whoever checks changes over. */
  older: readonly OneKey[];
}

/** Who holds a key that is not in our file. */
export type KeyHolder = { publicKey: Uint8Array } & ({ command: readonly string[] } | { agent: string });

/** `~/.config/sworn`: keys, pins and configuration of this user. */
export function configHome(): string {
  return join(homedir(), '.config', 'sworn');
}

export function keysFolder(keysHome: string, ledgerId: string): string {
  return join(keysHome, ledgerId);
}

/** Makes a new key and stores it durably. @throws SwornError `ledger-create` */
export function createKey(files: Files, folder: string, origin: string): LedgerKey {
  const line = freshLine(origin);
  files.mkdir(folder, 0o700);
  return storeKeys(files, folder, [line]);
}

/** Adds a key, which signs from now on, beside those that are there. @throws SwornError `ledger-key-missing`, and the disk's error */
export function addKey(files: Files, folder: string, holder?: KeyHolder): LedgerKey {
  const lines = keyLines(folder);
  const { name } = keyOfLine(lines[0]!)!;
  return storeKeys(files, folder, [holder === undefined ? freshLine(name) : holderLine(name, holder), ...lines]);
}

/** Leaves only the newest key. @throws as `addKey` */
export function retireKeys(files: Files, folder: string): LedgerKey {
  return storeKeys(files, folder, keyLines(folder).slice(0, 1));
}

function freshLine(origin: string): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
  return formatSkey({ name: origin, keyId: keyId(nodeCrypto, origin, publicKeyOf(privateKey)), seed });
}

function holderLine(origin: string, holder: KeyHolder): string {
  const vkey = formatVkey(nodeCrypto, origin, holder.publicKey);
  return 'command' in holder ? `COMMAND ${vkey} ${JSON.stringify(holder.command)}` : `AGENT ${vkey} ${holder.agent}`;
}

/** @throws RangeError for what cannot be written in a line */
export function heldBy(origin: string, holder: KeyHolder): OneKey {
  const line = holderLine(origin, holder);
  const key = /[\n\r]/.test(line) ? undefined : keyOfLine(line);
  if (key === undefined) throw new RangeError('a key is held by a command of one or more words, or by the socket of an ssh-agent');
  return key;
}

function storeKeys(files: Files, folder: string, lines: readonly string[]): LedgerKey {
  replaceDurably(files, join(folder, 'key'), Buffer.from(`${lines.join('\n')}\n`), 0o600);
  const key = keysOf(join(folder, 'key'), lines);
  replaceDurably(files, join(folder, 'vkey'), Buffer.from(`${[key, ...key.older].map(({ vkey }) => vkey).join('\n')}\n`), 0o644);
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
  return keysOf(join(folder, 'key'), keyLines(folder));
}

function keyLines(folder: string): string[] {
  const path = join(folder, 'key');
  if (!existsSync(path)) throw new SwornError('ledger-key-missing', `the ledger has entries but its key ${path} is missing`, { path });
  if ((statSync(path).mode & 0o077) !== 0)
    throw new SwornError('ledger-key-missing', `the key ${path} is readable by others; chmod 600 it`, { path });
  return readFileSync(path, 'utf8').trim().split('\n');
}

function keysOf(path: string, lines: readonly string[]): LedgerKey {
  const [newest, ...older] = lines.map((line) => {
    const key = keyOfLine(line);
    if (key === undefined) throw new SwornError('ledger-key-missing', `the key ${path} cannot be read, or is damaged`, { path });
    return key;
  });
  return { ...newest!, older };
}

function keyOfLine(line: string): OneKey | undefined {
  const held = /^(COMMAND|AGENT) (\S+) (.+)$/.exec(line);
  if (held) return heldKey(held[1]!, held[2]!, held[3]!);
  const parsed = parseSkey(line);
  if (parsed === undefined) return undefined;
  const privateKey = privateKeyOf(parsed.seed);
  const key = keyOf(parsed.name, publicKeyOf(privateKey), 'file', (message) => signBytes(null, message, privateKey));
  return equal(key.keyId, parsed.keyId) ? key : undefined;
}

function heldKey(kind: string, vkeyText: string, where: string): OneKey | undefined {
  const vkey = parseVkey(nodeCrypto, vkeyText);
  if (vkey === undefined) return undefined;
  const { name, publicKey } = vkey;
  /** What somebody else signs is only believed when it holds. */
  const checked =
    (sign: (message: Uint8Array) => Promise<Uint8Array>) =>
    async (message: Uint8Array): Promise<Uint8Array> => {
      const signature = await sign(message);
      if (!nodeCrypto.verifyEd25519(publicKey, message, signature)) throw new Error(`what ${where} answers is no signature by ${vkeyText}`);
      return signature;
    };
  if (kind === 'AGENT')
    return keyOf(
      name,
      publicKey,
      'ssh-agent',
      checked((message) => signWithAgent(where, publicKey, message)),
    );
  try {
    const words: unknown = JSON.parse(where);
    if (!Array.isArray(words) || words.length === 0 || !words.every((word) => typeof word === 'string')) return undefined;
    return keyOf(
      name,
      publicKey,
      'command',
      checked((message) => signWithCommand(words, message)),
    );
  } catch {
    return undefined;
  }
}

function keyOf(name: string, publicKey: Uint8Array, holder: OneKey['holder'], sign: OneKey['sign']): OneKey {
  return {
    name,
    keyId: keyId(nodeCrypto, name, publicKey),
    vkey: formatVkey(nodeCrypto, name, publicKey),
    fingerprint: fingerprintOf(publicKey),
    holder,
    sign,
  };
}

export function fingerprintOf(publicKey: Uint8Array): string {
  return Buffer.from(nodeCrypto.sha256(publicKey)).toString('hex', 0, 8);
}

/** The note over `text` with a signature by each key. @throws (rejects) when one does not sign */
export async function signText(key: LedgerKey, text: string): Promise<Uint8Array> {
  const message = Buffer.from(text);
  const signatures = await Promise.all(
    [key, ...key.older].map(async ({ name, keyId: id, sign }) => ({ name, keyId: id, signature: await sign(message) })),
  );
  return formatNote({ text, signatures });
}

/** As `signText`, for a key that is in our file: one that was just made. */
export function signTextNow({ name, keyId: id, sign }: LedgerKey, text: string): Uint8Array {
  return formatNote({ text, signatures: [{ name, keyId: id, signature: sign(Buffer.from(text)) as Uint8Array }] });
}

function publicKeyOf(privateKey: KeyObject): Buffer {
  const jwk = privateKey.export({ format: 'jwk' });
  return Buffer.from(jwk.x!, 'base64url');
}
