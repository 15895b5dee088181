/** `Files` that let chosen calls fail, or end the process there. */
import { nodeFiles, type Files } from '../../src/ledger/files.ts';
import { isLong } from '../long.ts';

export const operations = [
  'open',
  'create',
  'writev',
  'writevSync',
  'datasync',
  'datasyncSync',
  'sync',
  'syncSync',
  'truncate',
  'rename',
  'unlink',
  'mkdir',
] as const;
export type Operation = (typeof operations)[number];

export interface Fault {
  operation: Operation;
  /** Which call of it fails, from 1. */
  call: number;
  /** Count only calls after the first fault that happened. */
  follows?: boolean;
  /** What the disk has of it nevertheless. */
  stored: 'nothing' | 'half' | 'all';
  /** The process goes on with the error, or ends there. */
  then: 'goes on' | 'dies';
  code: string;
}

/** What the disk may have of a failed write; a part of it in long runs, and in every test of a power cut. */
export const storedOfWrites = isLong ? (['nothing', 'half', 'all'] as const) : (['nothing', 'all'] as const);

/** Drawn anew for each run: calls may alternate between two kinds of file. */
export const isOdd = Math.random() < 0.5;

/**
 * Which calls fail so, one in each run: the first, and how many further the next. In the usual run each call fails twice, once stored and once not, once with the process
 * going on and once ending there, and which of the two it is differs from run to run; in a long one in all four ways.
 */
export function failing(stored: Fault['stored'], then: Fault['then']): { first: number; step: number } {
  return isLong ? { first: 1, step: 1 } : { first: ((stored === 'nothing') === (then === 'goes on')) === isOdd ? 1 : 2, step: 2 };
}

export class FaultyFiles implements Files {
  readonly calls = Object.fromEntries(operations.map((operation) => [operation, 0])) as Record<Operation, number>;
  readonly log: string[] = [];
  /** The faults that were reached. */
  happened = 0;
  /** From here on every call fails: the process is gone. */
  dead = false;
  readonly #faults: readonly Fault[];
  /** The calls at the first fault. */
  #callsBefore: Record<Operation, number> | undefined;
  readonly #onDeath: () => void;
  readonly #open = new Set<number>();
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(faults: readonly Fault[] = [], onDeath: () => void = () => {}) {
    this.#faults = faults;
    this.#onDeath = onDeath;
  }

  /** Ends the process: nothing more reaches the disk. Ends the timers of `ledger`, and gives back the descriptors that it held. */
  async die(ledger?: { close(): Promise<void> }): Promise<void> {
    this.dead = true;
    this.#onDeath();
    await Promise.allSettled([...this.#underWay]);
    await ledger?.close();
    for (const fd of this.#open) nodeFiles.close(fd);
    this.#open.clear();
  }

  #error(operation: Operation, fault?: Fault): Error {
    return Object.assign(new Error(`${fault?.code ?? 'EIO'}: ${operation} failed on purpose`), { code: fault?.code ?? 'EIO', syscall: operation });
  }

  /** The fault that this call is to have. Throws when the process is dead. */
  #next(operation: Operation): Fault | undefined {
    if (this.dead) throw this.#error(operation);
    const call = ++this.calls[operation];
    this.log.push(operation);
    const fault = this.#faults.find((other) => {
      const before = other.follows ? this.#callsBefore?.[operation] : 0;
      return other.operation === operation && before !== undefined && other.call === call - before;
    });
    if (fault === undefined) return undefined;
    this.happened++;
    this.#callsBefore ??= { ...this.calls };
    return fault;
  }

  #sync<T>(operation: Operation, whole: () => T, half: () => void = () => {}): T {
    const fault = this.#next(operation);
    if (fault === undefined) return whole();
    if (fault.stored === 'all') {
      const result = whole();
      if (operation === 'open') {
        nodeFiles.close(result as number);
        this.#open.delete(result as number);
      }
    } else if (fault.stored === 'half') half();
    this.#end(fault);
    throw this.#error(operation, fault);
  }

  async #async<T>(operation: Operation, whole: () => Promise<T>, half: () => Promise<unknown> = async () => {}): Promise<T> {
    const fault = this.#next(operation);
    const work: Promise<unknown> = fault === undefined || fault.stored === 'all' ? whole() : fault.stored === 'half' ? half() : Promise.resolve();
    this.#underWay.add(work);
    try {
      const result = await work;
      if (fault !== undefined) this.#end(fault);
      if (fault !== undefined || this.dead) throw this.#error(operation, fault);
      return result as T;
    } finally {
      this.#underWay.delete(work);
    }
  }

  #end(fault: Fault): void {
    if (fault.then !== 'dies') return;
    this.dead = true;
    this.#onDeath();
  }

  open(path: string, flags: string, mode: number): number {
    return this.#sync('open', () => {
      const fd = nodeFiles.open(path, flags, mode);
      this.#open.add(fd);
      return fd;
    });
  }

  async create(path: string, mode: number): Promise<number> {
    let fd = -1;
    const whole = async (): Promise<number> => {
      fd = await nodeFiles.create(path, mode);
      this.#open.add(fd);
      return fd;
    };
    try {
      return await this.#async('create', whole);
    } catch (error) {
      if (this.#open.delete(fd)) nodeFiles.close(fd);
      throw error;
    }
  }

  close(fd: number): void {
    if (!this.#open.delete(fd)) throw new Error(`descriptor ${fd} was closed twice`);
    nodeFiles.close(fd);
  }

  writev(fd: number, buffers: Buffer[], position: number): Promise<number> {
    return this.#async(
      'writev',
      () => nodeFiles.writev(fd, buffers, position),
      () => nodeFiles.writev(fd, half(buffers), position),
    );
  }

  writevSync(fd: number, buffers: Buffer[], position: number): number {
    return this.#sync(
      'writevSync',
      () => nodeFiles.writevSync(fd, buffers, position),
      () => nodeFiles.writevSync(fd, half(buffers), position),
    );
  }

  datasync(fd: number): Promise<void> {
    return this.#async('datasync', () => nodeFiles.datasync(fd));
  }

  datasyncSync(fd: number): void {
    this.#sync('datasyncSync', () => nodeFiles.datasyncSync(fd));
  }

  syncSync(fd: number): void {
    this.#sync('syncSync', () => nodeFiles.syncSync(fd));
  }

  sync(fd: number): Promise<void> {
    return this.#async('sync', () => nodeFiles.sync(fd));
  }

  truncate(fd: number, sizeBytes: number): void {
    this.#sync('truncate', () => nodeFiles.truncate(fd, sizeBytes));
  }

  rename(from: string, to: string): void {
    this.#sync('rename', () => nodeFiles.rename(from, to));
  }

  unlink(path: string): void {
    this.#sync('unlink', () => nodeFiles.unlink(path));
  }

  mkdir(path: string, mode: number): void {
    this.#sync('mkdir', () => nodeFiles.mkdir(path, mode));
  }
}

function half(buffers: Buffer[]): Buffer[] {
  const whole = Buffer.concat(buffers);
  return [whole.subarray(0, Math.ceil(whole.length / 2))];
}
