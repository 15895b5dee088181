/**
 * A witness's folder: its lock and its key. The key and the checkpoints belong together: a witness without its checkpoints could cosign another history
 * under the same name, so a folder that has one and not the other is refused, and an older copy of it must never be put back.
 */
import { createPublicKey, randomBytes, sign } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { equal, utf8 } from '../bytes/bytes.ts';
import { nodeCrypto, privateKeyOf } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import { cosignatureType, formatCosigner, type Cosigner } from '../tlog/cosignature.ts';
import { formatSkey, isKeyName, keyId, parseSkey, type Signer } from '../tlog/note.ts';
import { nodeDisk, replaceDurably, type Disk } from './store.ts';

export interface WitnessKey {
  signer: Signer;
  cosigner: Cosigner;
  vkey: string;
}

export function defaultWitnessFolder(): string {
  return join(homedir(), '.local', 'state', 'sworn-witness');
}

/**
 * The folder for this process alone, until it ends, however it ends. SQLite's lock is the kernel's: it goes with the process.
 * @throws SwornError `witness-held`, `witness-create`
 */
export async function holdFolder(folder: string): Promise<{ release(): void }> {
  const { DatabaseSync } = await import('node:sqlite');
  let database;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    database = new DatabaseSync(join(folder, 'lock.sqlite'));
    database.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    database?.close();
    const { message } = error as Error;
    if (database && /locked|busy/i.test(message)) throw new SwornError('witness-held', `another witness runs with the folder ${folder}`);
    throw new SwornError('witness-create', `the folder ${folder} cannot be used: ${message}`, {}, { cause: error });
  }
  const held = database;
  return { release: () => held.close() };
}

/**
 * The key of the witness in `folder`, whose lock is held; made, durably, when there is none. `name` must be the key's, if it is given.
 * @throws SwornError `usage`, `witness-corrupt`, `witness-create`
 */
export async function witnessKey(folder: string, name?: string, disk: Disk = nodeDisk): Promise<WitnessKey> {
  if (name !== undefined && !isKeyName(name)) {
    throw new SwornError('usage', `no key may have the name ${name}: one word without \`+\``, { command: 'witness' });
  }
  const path = join(folder, 'key');
  if (!existsSync(path)) {
    if (existsSync(join(folder, 'checkpoints')) && readdirSync(join(folder, 'checkpoints')).length > 0) {
      throw new SwornError('witness-corrupt', `the witness in ${folder} has cosigned, but its key ${path} is missing`);
    }
    const key = keyOf(name ?? `sworn.invalid/witness/${randomBytes(4).toString('hex')}`, randomBytes(32));
    try {
      await disk.syncFolder(dirname(folder));
      await replaceDurably(disk, join(folder, 'vkey'), utf8(`${key.vkey}\n`), 0o644);
      await replaceDurably(disk, path, utf8(`${key.skey}\n`), 0o600);
    } catch (error) {
      throw new SwornError('witness-create', `the key ${path} cannot be written: ${(error as Error).message}`, {}, { cause: error });
    }
    return key;
  }
  if ((statSync(path).mode & 0o077) !== 0) throw new SwornError('witness-corrupt', `the key ${path} is readable by others; chmod 600 it`);
  const parsed = parseSkey(readFileSync(path, 'utf8').trim(), cosignatureType);
  const key = parsed && keyOf(parsed.name, Buffer.from(parsed.seed));
  if (!key || !equal(key.signer.keyId, parsed.keyId)) throw new SwornError('witness-corrupt', `the key ${path} is damaged`);
  if (name !== undefined && name !== key.signer.name) {
    throw new SwornError('usage', `the witness in ${folder} is called ${key.signer.name}; another name needs another --dir`, { command: 'witness' });
  }
  return key;
}

function keyOf(name: string, seed: Buffer): WitnessKey & { skey: string } {
  const privateKey = privateKeyOf(seed);
  const publicKey = new Uint8Array(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32));
  const id = keyId(nodeCrypto, name, publicKey, cosignatureType);
  return {
    signer: { name, keyId: id, sign: (message) => sign(null, message, privateKey) },
    cosigner: { type: cosignatureType, name, keyId: id, publicKey },
    vkey: formatCosigner(nodeCrypto, name, publicKey),
    skey: formatSkey({ name, keyId: id, seed }, cosignatureType),
  };
}
