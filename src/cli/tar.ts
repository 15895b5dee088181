/** Tar files of plain ustar headers, as POSIX.1-1988 and every tar since reads them: regular files, names of up to 100 bytes, up to 8 GiB each. */
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';

const blockBytes = 512;

export class TarWriter {
  readonly #fd: number;
  #at = 0;
  #open: { name: string; headerAt: number; sizeBytes: number } | undefined;

  constructor(path: string) {
    this.#fd = openSync(path, 'w', 0o600);
  }

  /** Begins a file. Its length stands before it and is filled in at its end. */
  begin(name: string): void {
    if (this.#open || Buffer.byteLength(name) > 100) throw new RangeError(`no file ${name} here`);
    this.#open = { name, headerAt: this.#at, sizeBytes: 0 };
    this.#at += blockBytes;
  }

  write(bytes: Uint8Array): void {
    this.#put(bytes, this.#at);
    this.#at += bytes.length;
    this.#open!.sizeBytes += bytes.length;
  }

  end(): void {
    const { name, headerAt, sizeBytes } = this.#open!;
    this.#put(header(name, sizeBytes), headerAt);
    const rest = this.#at % blockBytes;
    if (rest > 0) {
      this.#put(Buffer.alloc(blockBytes - rest), this.#at);
      this.#at += blockBytes - rest;
    }
    this.#open = undefined;
  }

  add(name: string, bytes: Uint8Array): void {
    this.begin(name);
    this.write(bytes);
    this.end();
  }

  /** Ends the tar file; its length. */
  close(): number {
    this.#put(Buffer.alloc(2 * blockBytes), this.#at);
    closeSync(this.#fd);
    return this.#at + 2 * blockBytes;
  }

  /** Gives up. */
  abandon(): void {
    closeSync(this.#fd);
  }

  #put(bytes: Uint8Array, at: number): void {
    for (let done = 0; done < bytes.length;) done += writeSync(this.#fd, bytes, done, bytes.length - done, at + done);
  }
}

function header(name: string, sizeBytes: number): Buffer {
  if (sizeBytes >= 8 ** 11) throw new RangeError(`${name} is longer than a tar file can hold`);
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  block.write(name, 0, 'utf8');
  // mode, uid, gid, size, time: nothing of the machine that made it
  block.write(octal(0o644, 7) + octal(0, 7) + octal(0, 7) + octal(sizeBytes, 11) + octal(0, 11), 100, 'latin1');
  block.write(`${' '.repeat(8)}0`, 148, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  block.write(`${octal(sumOf(block), 6)} `, 148, 'latin1');
  return block;
}

function sumOf(block: Uint8Array): number {
  let sum = 0;
  for (const [i, byte] of block.entries()) sum += i >= 148 && i < 156 ? 0x20 : byte;
  return sum;
}

export interface TarFile {
  offset: number;
  sizeBytes: number;
}

/**
 * The regular files of a tar file, by name. Other kinds, and a name that stands twice, are refused: two readers could take different files for it.
 *
 * @throws RangeError for what is no such tar file
 */
export function readTar(path: string): Map<string, TarFile> {
  const files = new Map<string, TarFile>();
  const fd = openSync(path, 'r');
  try {
    const endBytes = fstatSync(fd).size;
    const block = Buffer.alloc(blockBytes);
    for (let at = 0; at < endBytes;) {
      if (readSync(fd, block, 0, blockBytes, at) !== blockBytes) throw new RangeError(`it ends inside a header at byte ${at}`);
      if (block.every((byte) => byte === 0)) return files;
      const text = (from: number, to: number): string => block.toString('utf8', from, to).replace(/\0.*$/s, '');
      if (Number.parseInt(text(148, 156), 8) !== sumOf(block)) throw new RangeError(`the header at byte ${at} is damaged`);
      const sizeText = text(124, 136).trim();
      const sizeBytes = /^[0-7]{1,11}$/.test(sizeText) ? Number.parseInt(sizeText, 8) : Number.NaN;
      const name = text(345, 500) === '' ? text(0, 100) : `${text(345, 500)}/${text(0, 100)}`;
      const kind = String.fromCharCode(block[156]!);
      if (Number.isNaN(sizeBytes) || at + blockBytes + sizeBytes > endBytes) throw new RangeError(`${name} ends beyond the file`);
      if (kind !== '0' && kind !== '\0') throw new RangeError(`${name} is no regular file`);
      if (files.has(name)) throw new RangeError(`${name} is there twice`);
      files.set(name, { offset: at + blockBytes, sizeBytes });
      at += blockBytes + Math.ceil(sizeBytes / blockBytes) * blockBytes;
    }
  } finally {
    closeSync(fd);
  }
  throw new RangeError('it has no end');
}
