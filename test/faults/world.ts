/**
 * What the tests of the ledger share: a scratch folder, a caller that holds the ledger to every promise of `Waiter`, and a scripted run that passes
 * through everything the ledger does to the disk.
 */
import { createHash, randomBytes } from 'node:crypto';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SwornError } from '../../src/errors.ts';
import { nodeFiles, type Files } from '../../src/ledger/files.ts';
import { Ledger, type LedgerBounds, type LedgerEvents, type Receipt } from '../../src/ledger/ledger.ts';
import type { Encryption } from '../../src/ledger/segment-key-store.ts';
import type { ContentItem, EntryRecord } from '../../src/ledger/segment.ts';
import { checkLedger, type CheckedLedger } from '../check-ledger.ts';

/** Small, so that a short run fills segments; and no timer of the ledger goes off by itself. */
export const smallBounds: LedgerBounds = {
  segmentBytes: 16 * 1024,
  reserveBytes: 16 * 1024,
  fastSyncMs: 0,
  probeEveryMs: 1,
  signEveryMs: 1_000_000_000,
  publishEveryMs: 1_000_000_000,
};

export interface Scratch {
  root: string;
  folder: string;
  keysHome: string;
  /** Segments are encrypted. */
  encryption?: Encryption;
  remove(): void;
}

/** A folder of its own, in memory where that is possible: the tests sync thousands of times. */
export function scratch(): Scratch {
  let base = tmpdir();
  try {
    accessSync('/dev/shm', constants.W_OK);
    base = '/dev/shm';
  } catch {
    // no such thing here
  }
  const root = mkdtempSync(join(base, 'sworn-test-'));
  return {
    root,
    folder: join(root, 'state', 'ledger'),
    keysHome: join(root, 'config', 'sworn'),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** A scratch folder whose ledger is encrypted under a key in a file elsewhere; `elsewhere` is no part of the disk that fails. */
export function encryptedScratch(): Scratch & { encryption: { file: string }; elsewhere: string } {
  const at = scratch();
  const other = scratch();
  const file = join(other.root, 'wrapping.key');
  writeFileSync(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  const remove = (): void => {
    at.remove();
    other.remove();
  };
  return { ...at, encryption: { file }, elsewhere: other.root, remove };
}

export const salt = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

export function kept(bytes: Uint8Array): ContentItem {
  return { state: 'kept', salt, bytes };
}

export function leafOf(name: string): Buffer {
  return Buffer.from(`{"v":1,"kind":"test","name":"${name}"}`);
}

export function leafHash(leaf: Uint8Array): Buffer {
  return createHash('sha256').update(Uint8Array.of(0)).update(leaf).digest();
}

/** An exception in a callback would be lost in the ledger's own promises: it is kept and thrown by `check`. */
export class Client {
  /** Entries that were acknowledged, by name. */
  readonly acknowledged = new Map<string, Receipt>();
  /** Entries of which the caller was told that they were not recorded. */
  readonly failed: string[] = [];
  readonly replayed: string[] = [];
  readonly recordable: boolean[] = [];
  readonly keysLost: string[] = [];
  fatal: Error | undefined;
  ledger: Ledger | undefined;
  #dead = false;
  /** Accepted and neither acknowledged nor given back, in order. */
  #waiting: string[] = [];
  #undone: string[] = [];
  #problems: string[] = [];
  #wake: (() => void)[] = [];

  open(at: Scratch, files: Files = nodeFiles, bounds: Partial<LedgerBounds> = {}, from = 0): Ledger {
    const events: LedgerEvents = {
      flushed: () => this.#woken(),
      recordable: (recordable) => {
        this.recordable.push(recordable);
        this.#woken();
      },
      keyLost: (path) => void this.keysLost.push(path),
      fatal: (error) => {
        if (this.fatal !== undefined) this.#problems.push('fatal was called twice');
        this.fatal = error;
        this.#woken();
      },
    };
    const entry = (record: EntryRecord, hash: Uint8Array): void => {
      this.replayed[record.index] = nameOf(record.leaf);
      if (!leafHash(record.leaf).equals(hash)) this.#problems.push(`entry ${record.index} was replayed with another hash`);
    };
    this.ledger = Ledger.open(at.folder, at.keysHome, { from, entry }, events, files, { ...smallBounds, ...bounds }, at.encryption);
    return this.ledger;
  }

  append(
    name: string,
    { frame = [], urgent = true, essential = false }: { frame?: ContentItem[]; urgent?: boolean; essential?: boolean } = {},
  ): void {
    const leaf = leafOf(name);
    const index = this.ledger!.nextIndex;
    this.ledger!.append({ leaf, attributes: [kept(Buffer.from(`{"note":"${name}"}`))], frame }, this.#waiter(name, leaf, index), {
      urgent,
      essential,
    });
  }

  /** Appends a part and returns the item by which an entry refers to it. */
  appendPart(unit: number, bytes: Buffer): ContentItem {
    const connection = 'c0'.repeat(16);
    const place = this.ledger!.appendPart({ connection, direction: 0, unit, salt, bytes }, this.#waiter(`part ${unit}`, undefined, 0), {
      urgent: true,
    });
    const hash = createHash('sha256').update(Uint8Array.of(2)).update(salt).update(bytes).digest();
    return { state: 'part', hash, sizeBytes: bytes.length, ...place };
  }

  #waiter(name: string, leaf: Buffer | undefined, index: number) {
    this.#waiting.push(name);
    return {
      durable: (receipt: Receipt | undefined) => {
        if (this.#dead) return;
        if (this.fatal !== undefined) this.#problems.push(`${name} was acknowledged after fatal`);
        if (this.#waiting[0] !== name) this.#problems.push(`${name} was acknowledged before ${this.#waiting[0]}`);
        this.#waiting = this.#waiting.filter((other) => other !== name);
        if ((receipt === undefined) !== (leaf === undefined)) this.#problems.push(`${name} has the wrong kind of receipt`);
        if (receipt === undefined || leaf === undefined) return;
        if (receipt.index !== index) this.#problems.push(`${name} was accepted as ${index} and got ${receipt.index}`);
        if (!leafHash(leaf).equals(receipt.hash)) this.#problems.push(`the receipt of ${name} has another hash`);
        this.acknowledged.set(name, receipt);
      },
      undo: () => {
        if (this.#dead) return;
        if (this.#waiting.at(-1) !== name) this.#problems.push(`${name} was undone before ${this.#waiting.at(-1)}`);
        this.#waiting = this.#waiting.filter((other) => other !== name);
        this.#undone.unshift(name);
      },
      failed: () => {
        if (this.#dead) return;
        if (this.#waiting.length > 0) this.#problems.push(`${name} failed before ${this.#waiting.at(-1)} was undone`);
        if (this.#undone.shift() !== name) this.#problems.push(`${name} failed out of order`);
        this.failed.push(name);
      },
    };
  }

  #woken(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const done of wake) done();
  }

  /** The process is taken for dead: what it is told from now on nobody hears. */
  die(): void {
    this.#dead = true;
    this.#woken();
  }

  get alive(): boolean {
    return !this.#dead && this.fatal === undefined;
  }

  /** Until everything appended was answered, or the end. */
  async answered(): Promise<void> {
    while (this.#waiting.length > 0 && this.alive) await new Promise<void>((done) => void this.#wake.push(done));
  }

  /** Until the ledger takes entries again, or the end. */
  async recovered(): Promise<void> {
    await this.answered();
    while (!this.ledger!.recordable && this.alive) await new Promise<void>((done) => void this.#wake.push(done));
  }

  /** @throws Error when the ledger broke a promise */
  check(): void {
    if (this.#problems.length > 0) throw new Error(this.#problems.join('; '));
  }
}

export function nameOf(leaf: Uint8Array): string {
  return (JSON.parse(Buffer.from(leaf).toString()) as { name: string }).name;
}

/**
 * One life and a half of a ledger: lone entries, parts, a burst over several segments and one tile, signing, publishing, closing, opening again.
 * Ends early when the ledger cannot be opened or `fatal` was called.
 */
export async function scriptedRun(client: Client, at: Scratch, files: Files, bounds: Partial<LedgerBounds> = {}): Promise<void> {
  if (!openOrEnd(client, at, files, bounds)) return;
  for (const name of ['a', 'b', 'c']) {
    client.append(name);
    await client.recovered();
    if (!client.alive) return;
  }
  const first = client.appendPart(1, Buffer.alloc(3_000, 1));
  const second = client.appendPart(2, Buffer.alloc(2_000, 2));
  client.append('of parts', { frame: [first, second] });
  await client.recovered();
  await client.ledger!.sign();
  if (!client.alive) return;
  for (let i = 0; i < 130; i++) client.append(`burst ${i}`, { frame: [kept(Buffer.alloc(i, i))], urgent: i % 2 === 0 });
  await client.recovered();
  await client.ledger!.publish();
  if (!client.alive) return;
  // while this is written, the ledger signs and publishes what was before
  for (let i = 0; i < 130; i++) client.append(`second ${i}`, { frame: i === 60 ? [kept(Buffer.alloc(17_000, 7))] : [] });
  const published = client.ledger!.publish();
  await client.recovered();
  await published;
  if (!client.alive) return;
  client.appendPart(3, Buffer.alloc(100, 3));
  client.append('last');
  await client.ledger!.close();
  if (!client.alive) return;
  if (!openOrEnd(client, at, files, bounds)) return;
  for (const name of ['x', 'y', 'z']) {
    client.append(name, { urgent: name === 'y' });
    await client.recovered();
    if (!client.alive) return;
  }
  await client.ledger!.sign();
}

/** Opening may fail, but only with an error that a person can act on. */
function openOrEnd(client: Client, at: Scratch, files: Files, bounds: Partial<LedgerBounds>): boolean {
  try {
    client.open(at, files, bounds);
    return true;
  } catch (error) {
    if (!(error instanceof SwornError)) throw error;
    return false;
  }
}

/**
 * After the end of the process: opens the ledger with a healthy disk, holds it to what `clients` were told, writes one more entry, closes it and checks
 * everything that is on disk.
 */
export async function reopenAndCheck(at: Scratch, clients: Client[]): Promise<CheckedLedger> {
  for (const client of clients) client.check();
  const next = new Client();
  const ledger = next.open(at);
  const names = next.replayed;
  if (new Set(names).size !== names.length) throw new Error('an entry is there twice');
  if (names.length !== ledger.size || Object.keys(names).length !== names.length) throw new Error('replay left entries out');
  for (const client of clients) {
    for (const [name, receipt] of client.acknowledged) {
      if (names[receipt.index] !== name) throw new Error(`${name} was acknowledged as ${receipt.index}, where ${names[receipt.index]} is`);
    }
    for (const name of client.failed) if (names.includes(name)) throw new Error(`${name} was given back, but is recorded`);
  }
  next.append(`afterwards ${ledger.nextIndex}`);
  await next.answered();
  await ledger.close();
  next.check();
  if (next.fatal !== undefined) throw next.fatal;
  const checked = checkLedger(at.folder, at.keysHome);
  if (checked.checkpointSize !== checked.leaves.length || checked.leaves.length !== names.length + 1)
    throw new Error('not everything was published at close');
  for (const [index, name] of names.entries()) if (nameOf(checked.leaves[index]!) !== name) throw new Error(`index ${index} changed after replay`);
  return checked;
}
