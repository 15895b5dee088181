/** A file that may change while we run: it is looked at again when it is asked for, at most once a second, and read when it is another one. */
import { readFile, stat } from 'node:fs/promises';
import { SwornError } from '../errors.ts';

const lookEveryMs = 1_000;
const fileBytes = 4 * 1024 * 1024;

export class Watched<T> {
  readonly #path: string;
  readonly #parse: (bytes: Buffer) => T;
  #seen = '';
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #value: Promise<T> | undefined;

  /** `parse` throws for what is no such file. */
  constructor(path: string, parse: (bytes: Buffer) => T) {
    this.#path = path;
    this.#parse = parse;
  }

  /**
   * What stands there now, or a second ago. The same value as long as the file is the same.
   * @throws SwornError `config-missing` when it cannot be read; what `parse` throws. What was there before does not count any more: whoever takes a file away means it
   */
  read(): Promise<T> {
    const nowMs = performance.now();
    if (this.#value !== undefined && nowMs - this.#lookedAtMs < lookEveryMs) return this.#value;
    this.#lookedAtMs = nowMs;
    const before = this.#value;
    this.#value = this.#look(before);
    // whoever asks is told; that nobody asks again is no crash
    this.#value.catch(() => undefined);
    return this.#value;
  }

  async #look(before: Promise<T> | undefined): Promise<T> {
    try {
      const found = await stat(this.#path);
      const { dev, ino, size, mtimeMs, ctimeMs } = found;
      if (!found.isFile()) throw this.#missing('it is no file');
      if (size > fileBytes) throw this.#missing(`it has more than ${fileBytes.toLocaleString('en')} bytes`);
      const seen = [dev, ino, size, mtimeMs, ctimeMs].join(' ');
      if (seen === this.#seen && before !== undefined) return await before;
      const bytes = await readFile(this.#path);
      const value = this.#parse(bytes);
      this.#seen = seen;
      return value;
    } catch (error) {
      this.#seen = '';
      const { code } = error as NodeJS.ErrnoException;
      throw error instanceof SwornError || code === undefined ? error : this.#missing(code === 'ENOENT' ? 'there is no such file' : code);
    }
  }

  #missing(why: string): SwornError {
    return new SwornError('config-missing', `cannot read ${this.#path}: ${why}`, { path: this.#path });
  }
}
