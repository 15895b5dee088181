/**
 * What a witness must never forget: for each log the last checkpoint that it cosigned. One file a log, replaced as a whole.
 *
 * ```
 * <dir>/key                    the signer key, 0600; vkey: its public half
 * <dir>/lock.sqlite            held while a witness runs
 * <dir>/checkpoints/<origin>   the last cosigned checkpoint with our line; <origin> is the hex SHA-256 of the log's origin
 * <dir>/evidence/…             checkpoints that a log signed and that do not fit
 * ```
 *
 * Must stay true: a cosignature leaves this process only when its checkpoint is on the disk. So nothing is shown of a checkpoint, in an answer or to a
 * monitor, before file and folder are synced; at start the folder is synced before anything in it is believed, since a witness that was killed may have
 * left a name there that a power cut takes back.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hex, utf8 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import { witnessEvidence } from '../limits.ts';
import { parseCheckpoint, type ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { openCosigned, type Cosigner } from '../tlog/cosignature.ts';

/** The steps that safety rests on; tests die or fail at each of them. */
export interface Disk {
  /** Writes a file anew, and syncs it. */
  write(path: string, bytes: Uint8Array, mode: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
}

/** A sync that failed, or a change of which it is not known whether it happened: nobody may go on (`sync-failed`). */
export class StoreError extends Error {
  override readonly name = 'StoreError';
}

export const nodeDisk: Disk = {
  async write(path, bytes, mode) {
    const file = await open(path, 'w', mode);
    try {
      await file.writeFile(bytes);
      await synced(file.sync(), path);
    } finally {
      await file.close();
    }
  },
  rename,
  async syncFolder(path) {
    const folder = await open(path, 'r');
    try {
      await synced(folder.sync(), path);
    } finally {
      await folder.close();
    }
  },
};

async function synced(sync: Promise<void>, path: string): Promise<void> {
  try {
    await sync;
  } catch (error) {
    throw new StoreError(`sync of ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Replaces a file so that it survives a power cut. Another error than a StoreError means that the old file is still there.
 * @throws StoreError
 */
export async function replaceDurably(disk: Disk, path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const temporary = `${path}.tmp`;
  await disk.write(temporary, bytes, mode);
  try {
    await disk.rename(temporary, path);
    await disk.syncFolder(dirname(path));
  } catch (error) {
    throw error instanceof StoreError ? error : new StoreError(`${path} may be replaced or not: ${(error as Error).message}`, { cause: error });
  }
}

export interface Cosigned {
  /** The note: the log's lines and ours. */
  bytes: Uint8Array;
  text: string;
  checkpoint: ParsedCheckpoint;
}

/** Why a checkpoint is kept: two roots of one size, a proof that does not hold, a root that no such tree has. */
export type EvidenceKind = 'equivocation' | 'unproven' | 'impossible';

export function originHash(origin: string): string {
  return hex(nodeCrypto.sha256(utf8(origin)));
}

export class WitnessStore {
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #cosigned = new Map<string, Cosigned>();
  readonly #evidence = new Set<string>();

  private constructor(folder: string, disk: Disk) {
    this.#folder = folder;
    this.#disk = disk;
  }

  /**
   * The store in a folder, whose lock is held. What is there must be cosigned by `cosigner`.
   * @throws SwornError `witness-corrupt`; StoreError
   */
  static async open(folder: string, cosigner: Cosigner, disk: Disk = nodeDisk): Promise<WitnessStore> {
    const store = new WitnessStore(folder, disk);
    for (const part of ['checkpoints', 'evidence']) {
      mkdirSync(join(folder, part), { recursive: true, mode: 0o700 });
      // what a killed witness was writing
      for (const name of readdirSync(join(folder, part))) if (name.endsWith('.tmp')) rmSync(join(folder, part, name));
      await disk.syncFolder(join(folder, part));
    }
    await disk.syncFolder(folder);
    for (const name of readdirSync(join(folder, 'checkpoints'))) {
      store.#cosigned.set(name, read(join(folder, 'checkpoints', name), name, cosigner));
    }
    for (const name of readdirSync(join(folder, 'evidence'))) if (name.endsWith('.submitted')) store.#evidence.add(name);
    return store;
  }

  /** Refused checkpoints that are kept. */
  get evidenceCount(): number {
    return this.#evidence.size;
  }

  /** By `originHash`. */
  latest(hash: string): Cosigned | undefined {
    return this.#cosigned.get(hash);
  }

  /**
   * Keeps a cosigned checkpoint; when this resolves it is on the disk, and `latest` is it. Calls for one origin must follow each other.
   * @throws StoreError when it is not known what the disk holds; another error when the old checkpoint is still there
   */
  async keep(cosigned: Cosigned): Promise<void> {
    const hash = originHash(cosigned.checkpoint.origin);
    await replaceDurably(this.#disk, join(this.#folder, 'checkpoints', hash), cosigned.bytes, 0o600);
    this.#cosigned.set(hash, cosigned);
  }

  /**
   * Keeps a request that was refused, and beside it the checkpoint that it does not fit. The same checkpoint is kept once.
   * @returns where; `known` when it was there already, `full` when there are too many
   * @throws StoreError, or another error of the disk
   */
  async keepEvidence(
    kind: EvidenceKind,
    { origin, size, root }: ParsedCheckpoint,
    request: Uint8Array,
  ): Promise<{ path: string } | 'known' | 'full'> {
    const hash = originHash(origin);
    const prefix = `${hash}-${kind}-`;
    const base = `${prefix}${size}-${hex(root)}`;
    const name = `${base}.submitted`;
    if (this.#evidence.has(name)) return 'known';
    if ([...this.#evidence].filter((one) => one.startsWith(prefix)).length >= witnessEvidence) return 'full';
    this.#evidence.add(name);
    const cosigned = this.#cosigned.get(hash);
    try {
      if (cosigned) await replaceDurably(this.#disk, join(this.#folder, 'evidence', `${base}.cosigned`), cosigned.bytes, 0o600);
      await replaceDurably(this.#disk, join(this.#folder, 'evidence', name), request, 0o600);
    } catch (error) {
      this.#evidence.delete(name);
      throw error;
    }
    return { path: join(this.#folder, 'evidence', name) };
  }
}

function read(path: string, name: string, cosigner: Cosigner): Cosigned {
  const bytes = readFileSync(path);
  const opened = openCosigned(nodeCrypto, bytes, [], [cosigner]);
  const checkpoint = 'problem' in opened ? undefined : parseCheckpoint(opened.text);
  if ('problem' in opened || !checkpoint || opened.cosignatures.length === 0 || originHash(checkpoint.origin) !== name) {
    throw new SwornError('witness-corrupt', `${path} is not a checkpoint that this witness cosigned`);
  }
  return { bytes, text: opened.text, checkpoint };
}
