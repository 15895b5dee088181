/**
 * The file operations that the ledger's safety rests on, as an interface: tests put a layer in between that fails each of them in turn, stored
 * and not stored. Every durable change goes through here.
 *
 * Expected system calls: a batch is one `pwritev` and one `fdatasync`; a replaced file is `open`, `write`, `fsync`, `rename`, `fsync` of its folder.
 */
import * as fs from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

export interface Files {
  open(path: string, flags: string, mode: number): number;
  /** Opens an empty file to be written. Off the main thread: a new name waits for a sync of the file system that is under way, a millisecond and more. */
  create(path: string, mode: number): Promise<number>;
  close(fd: number): void;
  writev(fd: number, buffers: Buffer[], position: number): Promise<number>;
  writevSync(fd: number, buffers: Buffer[], position: number): number;
  datasync(fd: number): Promise<void>;
  datasyncSync(fd: number): void;
  syncSync(fd: number): void;
  sync(fd: number): Promise<void>;
  truncate(fd: number, sizeBytes: number): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  mkdir(path: string, mode: number): void;
  /** Makes files elsewhere. Absent: they are made here, one call at a time. */
  readonly maker?: FileMaker;
}

export interface NewFile {
  path: string;
  bytes: Uint8Array;
}

/** Makes many files at once, off the main thread. */
export interface FileMaker {
  /** It has been asked before: to be asked the first time costs it a beginning. */
  readonly isStarted: boolean;
  /**
   * Replaces each file, as `replace` or `replaceDurably` does, in the folder that it makes for it. Says of each whether it is there.
   * @throws (rejects) SyncError when a sync fails
   */
  make(files: NewFile[], durable: boolean): Promise<boolean[]>;
  /** Syncs files and folders, in order, behind what was made before. @throws (rejects) SyncError */
  sync(paths: string[]): Promise<void>;
  end(): Promise<void>;
}

export const nodeFiles: Files = {
  open: (path, flags, mode) => fs.openSync(path, flags, mode),
  create: (path, mode) => new Promise((done, fail) => fs.open(path, 'w', mode, (error, fd) => (error ? fail(error) : done(fd)))),
  close: (fd) => fs.closeSync(fd),
  writev: (fd, buffers, position) =>
    new Promise((done, fail) => fs.writev(fd, buffers, position, (error, writtenBytes) => (error ? fail(error) : done(writtenBytes)))),
  writevSync: (fd, buffers, position) => fs.writevSync(fd, buffers, position),
  datasync: (fd) => new Promise((done, fail) => fs.fdatasync(fd, (error) => (error ? fail(error) : done()))),
  datasyncSync: (fd) => fs.fdatasyncSync(fd),
  syncSync: (fd) => fs.fsyncSync(fd),
  sync: (fd) => new Promise((done, fail) => fs.fsync(fd, (error) => (error ? fail(error) : done()))),
  truncate: (fd, sizeBytes) => fs.ftruncateSync(fd, sizeBytes),
  rename: (from, to) => fs.renameSync(from, to),
  unlink: (path) => fs.unlinkSync(path),
  mkdir: makeFolders,
};

/** A folder, and those above it. Node's own way of it never ends where a folder cannot be made although the one above is there (`/proc`). */
export function makeFolders(path: string, mode: number): void {
  for (let isSecond = false; ; isSecond = true) {
    try {
      fs.mkdirSync(path, { mode });
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST' && fs.statSync(path).isDirectory()) return;
      const above = dirname(path);
      if (code !== 'ENOENT' || isSecond || above === path) throw error;
      makeFolders(above, mode);
    }
  }
}

/** A failed sync: what the page cache then says cannot be believed, so nobody may go on (`sync-failed`, exit 70). */
export class SyncError extends Error {
  override readonly name = 'SyncError';
}

/** Writes all of `buffers`; a short write is continued, since a full disk shows itself only at the next call. */
export function writeAllSync(files: Files, fd: number, buffers: Buffer[], position: number): void {
  let sizeBytes = 0;
  for (const buffer of buffers) sizeBytes += buffer.length;
  let writtenBytes = files.writevSync(fd, buffers, position);
  while (writtenBytes < sizeBytes) {
    const step = files.writevSync(fd, rest(buffers, writtenBytes), position + writtenBytes);
    if (step === 0) throw Object.assign(new Error('ENOSPC: write of no bytes'), { code: 'ENOSPC' });
    writtenBytes += step;
  }
}

export async function writeAll(files: Files, fd: number, buffers: Buffer[], position: number): Promise<void> {
  let sizeBytes = 0;
  for (const buffer of buffers) sizeBytes += buffer.length;
  let writtenBytes = await files.writev(fd, buffers, position);
  while (writtenBytes < sizeBytes) {
    const step = await files.writev(fd, rest(buffers, writtenBytes), position + writtenBytes);
    if (step === 0) throw Object.assign(new Error('ENOSPC: write of no bytes'), { code: 'ENOSPC' });
    writtenBytes += step;
  }
}

function rest(buffers: Buffer[], skipBytes: number): Buffer[] {
  const left: Buffer[] = [];
  for (const buffer of buffers) {
    if (skipBytes >= buffer.length) skipBytes -= buffer.length;
    else {
      left.push(skipBytes === 0 ? buffer : buffer.subarray(skipBytes));
      skipBytes = 0;
    }
  }
  return left;
}

/** Replaces a file's content without syncing it: for what can be derived again. Readers see the old file or the new one, whole. */
export function replace(files: Files, path: string, content: Uint8Array, mode: number): void {
  const temporary = writeTemporary(files, path, content, mode, false);
  files.rename(temporary, path);
}

/** As `replace`; what may take long, the making of the file, off the main thread. */
export async function replaceInBackground(files: Files, path: string, content: Uint8Array, mode: number): Promise<void> {
  files.rename(await writeTemporaryInBackground(files, path, content, mode), path);
}

/**
 * Replaces a file's content durably: afterwards it survives a power cut.
 * @throws SyncError when a sync fails
 */
export function replaceDurably(files: Files, path: string, content: Uint8Array, mode: number): void {
  const temporary = writeTemporary(files, path, content, mode, true);
  files.rename(temporary, path);
  syncFolder(files, dirname(path));
}

/** As `replaceDurably`, off the main thread. */
export async function replaceDurablyInBackground(files: Files, path: string, content: Uint8Array, mode: number): Promise<void> {
  const temporary = await writeTemporaryInBackground(files, path, content, mode);
  await syncFile(files, temporary);
  files.rename(temporary, path);
  await syncFile(files, dirname(path));
}

function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.tmp`);
}

function writeTemporary(files: Files, path: string, content: Uint8Array, mode: number, durable: boolean): string {
  const temporary = temporaryOf(path);
  const fd = files.open(temporary, 'w', mode);
  try {
    if (content.length > 0) writeAllSync(files, fd, [Buffer.from(content.buffer, content.byteOffset, content.length)], 0);
    if (durable) guardSync(() => files.syncSync(fd), path);
  } finally {
    files.close(fd);
  }
  return temporary;
}

async function writeTemporaryInBackground(files: Files, path: string, content: Uint8Array, mode: number): Promise<string> {
  const temporary = temporaryOf(path);
  const fd = await files.create(temporary, mode);
  try {
    if (content.length > 0) writeAllSync(files, fd, [Buffer.from(content.buffer, content.byteOffset, content.length)], 0);
  } finally {
    files.close(fd);
  }
  return temporary;
}

/** @throws SyncError */
export function syncFolder(files: Files, folder: string): void {
  const fd = files.open(folder, 'r', 0);
  try {
    guardSync(() => files.syncSync(fd), folder);
  } finally {
    files.close(fd);
  }
}

/**
 * Syncs the folders above `path`, up to the root of its file system: however many of them are new, their names then survive a power cut.
 * One that we may not open is not ours, so nothing in it is new.
 * @throws SyncError
 */
export function syncAncestors(files: Files, path: string): void {
  const device = fs.statSync(path).dev;
  for (let at = resolve(path); at !== dirname(at);) {
    at = dirname(at);
    if (fs.statSync(at).dev !== device) return;
    try {
      syncFolder(files, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EACCES') return;
      throw error;
    }
  }
}

/** @throws SyncError */
export async function syncFile(files: Files, path: string): Promise<void> {
  const fd = files.open(path, 'r', 0);
  try {
    await files.sync(fd);
  } catch (error) {
    throw new SyncError(`sync of ${path}: ${(error as Error).message}`, { cause: error });
  } finally {
    files.close(fd);
  }
}

export function guardSync(sync: () => void, path: string): void {
  try {
    sync();
  } catch (error) {
    throw new SyncError(`sync of ${path}: ${(error as Error).message}`, { cause: error });
  }
}
