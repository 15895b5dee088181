/**
 * `Files` with a power cut in the end. The files that the process sees are real; beside them stands what the disk is sure to have: a write is there only
 * after a sync of its file, a name only after a sync of its folder. The cut keeps of everything else what the chance of a seed gives it: each write
 * whole, in part or not at all, each name or not, in any order. No file system is as bad as that.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { nodeFiles, type Files } from '../../src/ledger/files.ts';

type Change = { offset: number; bytes: Buffer } | { sizeBytes: number };

class Inode {
  /** What is on the disk. */
  durable: Buffer = Buffer.alloc(0);
  /** What is not yet sure to be, in order. */
  pending: Change[] = [];
  /** Of a folder: its names, as the process sees them, as they are on the disk, and what lies between. */
  readonly names: Map<string, Inode> | undefined;
  readonly durableNames: Map<string, Inode>;
  pendingNames: { remove: string[]; name?: string; inode?: Inode }[] = [];

  constructor(folder: boolean) {
    this.names = folder ? new Map() : undefined;
    this.durableNames = new Map();
  }

  change(change: { remove: string[]; name?: string; inode?: Inode }): void {
    this.pendingNames.push(change);
    applyNames(this.names!, change);
  }

  sync(): void {
    for (const change of this.pending) this.durable = applied(this.durable, change);
    this.pending = [];
    for (const change of this.pendingNames) applyNames(this.durableNames, change);
    this.pendingNames = [];
  }
}

function applyNames(names: Map<string, Inode>, change: { remove: string[]; name?: string; inode?: Inode }): void {
  for (const name of change.remove) names.delete(name);
  if (change.name !== undefined) names.set(change.name, change.inode!);
}

function applied(content: Buffer, change: Change): Buffer {
  if ('sizeBytes' in change) return resized(content, change.sizeBytes);
  const whole = Buffer.from(resized(content, Math.max(content.length, change.offset + change.bytes.length)));
  change.bytes.copy(whole, change.offset);
  return whole;
}

/** Longer with zeros, as a file with a hole reads. */
function resized(content: Buffer, sizeBytes: number): Buffer {
  return sizeBytes <= content.length ? content.subarray(0, sizeBytes) : Buffer.concat([content, Buffer.alloc(sizeBytes - content.length)]);
}

/** Numbers in [0, 1) that a seed gives, the same ones each time. */
export function chance(seed: string): () => number {
  let count = 0;
  return () => createHash('sha256').update(`${seed} ${count++}`).digest().readUInt32BE(0) / 0x1_0000_0000;
}

export class PowerFiles implements Files {
  /** Calls so far. */
  calls = 0;
  /** The process ends before the call after this many. */
  diesAfter = Infinity;
  readonly #root: string;
  readonly #top = new Inode(true);
  readonly #open = new Map<number, Inode | undefined>();
  readonly #onDeath: () => void;
  #dead = false;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(root: string, onDeath: () => void) {
    this.#root = root;
    this.#onDeath = onDeath;
  }

  async die(ledger?: { close(): Promise<void> }): Promise<void> {
    this.#end();
    await Promise.allSettled([...this.#underWay]);
    await ledger?.close();
    for (const fd of this.#open.keys()) nodeFiles.close(fd);
    this.#open.clear();
  }

  /** Another process begins, on the same machine: it sees what the first one wrote, synced or not. */
  revive(): void {
    this.#dead = false;
    this.diesAfter = Infinity;
  }

  /** Replaces what is under the root by what the disk may hold after a power cut. */
  cut(random: () => number): void {
    for (const name of readdirSync(this.#root)) rmSync(join(this.#root, name), { recursive: true });
    const write = (inode: Inode, path: string): void => {
      if (inode.names === undefined) {
        let content = inode.durable;
        for (const change of inode.pending) {
          const luck = random();
          if (luck < 0.4) continue;
          const part =
            luck < 0.6 && 'bytes' in change ? { ...change, bytes: change.bytes.subarray(0, Math.floor(random() * change.bytes.length)) } : change;
          content = applied(content, part);
        }
        writeFileSync(path, content, { mode: 0o600 });
        return;
      }
      const names = new Map(inode.durableNames);
      for (const change of inode.pendingNames) if (random() < 0.5) applyNames(names, change);
      mkdirSync(path, { recursive: true, mode: 0o700 });
      for (const [name, child] of names) write(child, join(path, name));
    };
    write(this.#top, this.#root);
  }

  #end(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#onDeath();
  }

  #count(): void {
    if (!this.#dead && this.calls >= this.diesAfter) this.#end();
    if (this.#dead) throw Object.assign(new Error('the process is dead'), { code: 'EIO', syscall: 'none' });
    this.calls++;
  }

  /** The folder and last name of a path; `undefined` outside the root. */
  #find(path: string): { folder: Inode; name: string } | undefined {
    if (!path.startsWith(`${this.#root}/`)) return undefined;
    const names = path.slice(this.#root.length + 1).split('/');
    let folder = this.#top;
    for (const name of names.slice(0, -1)) folder = folder.names!.get(name)!;
    return { folder, name: names.at(-1)! };
  }

  open(path: string, flags: string, mode: number): number {
    this.#count();
    const fd = nodeFiles.open(path, flags, mode);
    const place = this.#find(path);
    let inode = path === this.#root ? this.#top : place?.folder.names!.get(place.name);
    if (place && inode === undefined) {
      inode = new Inode(false);
      place.folder.change({ remove: [], name: place.name, inode });
    } else if (flags.startsWith('w')) inode!.pending.push({ sizeBytes: 0 });
    this.#open.set(fd, inode);
    return fd;
  }

  async create(path: string, mode: number): Promise<number> {
    return this.open(path, 'w', mode);
  }

  close(fd: number): void {
    if (!this.#open.delete(fd)) throw new Error(`descriptor ${fd} was closed twice`);
    nodeFiles.close(fd);
  }

  async #async<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    try {
      const result = await work;
      if (this.#dead) throw new Error('the process is dead');
      return result;
    } finally {
      this.#underWay.delete(work);
    }
  }

  async writev(fd: number, buffers: Buffer[], position: number): Promise<number> {
    this.#count();
    this.#open.get(fd)!.pending.push({ offset: position, bytes: Buffer.concat(buffers) });
    return this.#async(nodeFiles.writev(fd, buffers, position));
  }

  writevSync(fd: number, buffers: Buffer[], position: number): number {
    this.#count();
    this.#open.get(fd)!.pending.push({ offset: position, bytes: Buffer.concat(buffers) });
    return nodeFiles.writevSync(fd, buffers, position);
  }

  async datasync(fd: number): Promise<void> {
    this.#count();
    // what is written while the sync is under way may be left out of it
    this.#open.get(fd)!.sync();
    return this.#async(nodeFiles.datasync(fd));
  }

  datasyncSync(fd: number): void {
    this.#count();
    this.#open.get(fd)!.sync();
  }

  async sync(fd: number): Promise<void> {
    this.#count();
    this.#open.get(fd)?.sync();
    return this.#async(nodeFiles.datasync(fd));
  }

  syncSync(fd: number): void {
    this.#count();
    this.#open.get(fd)?.sync();
  }

  truncate(fd: number, sizeBytes: number): void {
    this.#count();
    this.#open.get(fd)!.pending.push({ sizeBytes });
    nodeFiles.truncate(fd, sizeBytes);
  }

  rename(from: string, to: string): void {
    this.#count();
    nodeFiles.rename(from, to);
    if (dirname(from) !== dirname(to)) throw new Error('this model renames only within a folder');
    const { folder, name } = this.#find(from)!;
    folder.change({ remove: [name], name: this.#find(to)!.name, inode: folder.names!.get(name)! });
  }

  unlink(path: string): void {
    this.#count();
    nodeFiles.unlink(path);
    const { folder, name } = this.#find(path)!;
    folder.change({ remove: [name] });
  }

  mkdir(path: string, mode: number): void {
    this.#count();
    nodeFiles.mkdir(path, mode);
    let folder = this.#top;
    for (const name of path.slice(this.#root.length + 1).split('/')) {
      if (!folder.names!.has(name)) folder.change({ remove: [], name, inode: new Inode(true) });
      folder = folder.names!.get(name)!;
    }
  }
}
