/** `Files` that let one chosen call fail, or end the process there. */
import { nodeFiles, type Files } from '../../src/ledger/files.ts';

export const operations = [
  'open',
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
  /** What the disk has of it nevertheless. */
  stored: 'nothing' | 'half' | 'all';
  /** The process goes on with the error, or ends there. */
  then: 'goes on' | 'dies';
  code: string;
}

export class FaultyFiles implements Files {
  readonly calls = Object.fromEntries(operations.map((operation) => [operation, 0])) as Record<Operation, number>;
  readonly log: string[] = [];
  happened = false;
  /** From here on every call fails: the process is gone. */
  dead = false;
  readonly #fault: Fault | undefined;
  readonly #onDeath: () => void;
  readonly #open = new Set<number>();
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(fault?: Fault, onDeath: () => void = () => {}) {
    this.#fault = fault;
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

  #error(operation: Operation): Error {
    return Object.assign(new Error(`EIO: ${operation} failed on purpose`), { code: this.#fault?.code ?? 'EIO', syscall: operation });
  }

  /** Whether this call is the one. Throws when the process is dead. */
  #counts(operation: Operation): boolean {
    if (this.dead) throw this.#error(operation);
    this.calls[operation]++;
    this.log.push(operation);
    if (this.#fault?.operation !== operation || this.#fault.call !== this.calls[operation]) return false;
    this.happened = true;
    return true;
  }

  #sync<T>(operation: Operation, whole: () => T, half: () => void = () => {}): T {
    if (!this.#counts(operation)) return whole();
    if (this.#fault!.stored === 'all') {
      const result = whole();
      if (operation === 'open') {
        nodeFiles.close(result as number);
        this.#open.delete(result as number);
      }
    } else if (this.#fault!.stored === 'half') half();
    this.#end();
    throw this.#error(operation);
  }

  async #async<T>(operation: Operation, whole: () => Promise<T>, half: () => Promise<unknown> = async () => {}): Promise<T> {
    const hit = this.#counts(operation);
    const work = !hit || this.#fault!.stored === 'all' ? whole() : this.#fault!.stored === 'half' ? half() : Promise.resolve();
    this.#underWay.add(work);
    try {
      const result = await work;
      if (hit) this.#end();
      if (hit || this.dead) throw this.#error(operation);
      return result as T;
    } finally {
      this.#underWay.delete(work);
    }
  }

  #end(): void {
    if (this.#fault!.then !== 'dies') return;
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
