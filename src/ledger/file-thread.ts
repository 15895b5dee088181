/**
 * Makes files in a thread of its own: hundreds a second come with a fast stream of entries, and each system call that waits for another thread, or for the
 * disk, would keep messages waiting. What must stay true: every request is answered, also when the thread dies: then it is done here.
 */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { nodeFiles, replace, replaceDurably, syncFile, SyncError, type Files, type FileMaker, type NewFile } from './files.ts';

/** What the thread is asked, and what it says: which files it made, or what went wrong, with a sync or with something else. */
export type FileRequest = { id: number } & ({ files: NewFile[]; durable: boolean } | { sync: string[] });
export type FileAnswer = { id: number; made?: boolean[]; problem?: string; isSync?: boolean };

/** Makes each file that the disk takes; a missing folder is made. @throws SyncError of a durable one */
export function makeFiles(files: readonly NewFile[], durable: boolean): boolean[] {
  return files.map(({ path, bytes }) => {
    for (const isSecond of [false, true]) {
      try {
        (durable ? replaceDurably : replace)(nodeFiles, path, bytes, 0o644);
        return true;
      } catch (error) {
        if (error instanceof SyncError || isSecond || (error as NodeJS.ErrnoException).code !== 'ENOENT') {
          if (error instanceof SyncError) throw error;
          return false;
        }
        nodeFiles.mkdir(dirname(path), 0o755);
      }
    }
    return false;
  });
}

interface Waiting {
  request: FileRequest;
  done: (made: boolean[]) => void;
  fail: (error: Error) => void;
}

export class FileThread implements FileMaker {
  #worker: Worker | undefined;
  #requests = 0;
  readonly #waiting = new Map<number, Waiting>();

  get isStarted(): boolean {
    return this.#worker !== undefined;
  }

  make(files: NewFile[], durable: boolean): Promise<boolean[]> {
    return this.#ask({ id: ++this.#requests, files, durable });
  }

  async sync(paths: string[]): Promise<void> {
    await this.#ask({ id: ++this.#requests, sync: paths });
  }

  #ask(request: FileRequest): Promise<boolean[]> {
    return new Promise((done, fail) => {
      this.#waiting.set(request.id, { request, done, fail });
      const worker = (this.#worker ??= this.#start());
      // holds the process as long as somebody waits
      worker.ref();
      worker.postMessage(request, []);
    });
  }

  #start(): Worker {
    const built = new URL('file-worker.mjs', import.meta.url);
    const worker = new Worker(existsSync(fileURLToPath(built)) ? built : new URL('file-worker.ts', import.meta.url));
    worker.on('message', ({ id, made, problem, isSync }: FileAnswer) => {
      const waiting = this.#take(id);
      if (problem === undefined) waiting?.done(made ?? []);
      else waiting?.fail(isSync === true ? new SyncError(problem) : new Error(problem));
    });
    const gone = (): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const id of [...this.#waiting.keys()]) void this.#here(id);
    };
    worker.on('error', gone);
    worker.on('exit', gone);
    return worker;
  }

  /** Nothing more is asked: the thread ends with this, and what it was at is done here. */
  async end(): Promise<void> {
    await this.#worker?.terminate();
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#worker?.unref();
    return waiting;
  }

  /** Whatever the thread had done of it is done again: a file is replaced by itself. */
  async #here(id: number): Promise<void> {
    const { request, done, fail } = this.#take(id)!;
    try {
      if ('files' in request) done(makeFiles(request.files, request.durable));
      else {
        for (const path of request.sync) await syncFile(nodeFiles, path);
        done([]);
      }
    } catch (error) {
      fail(error as Error);
    }
  }
}

/** The files of a ledger, those of its tree made in a thread of its own. */
export function threadedFiles(): Files & { maker: FileThread } {
  return { ...nodeFiles, maker: new FileThread() };
}
