/**
 * Makes files in a thread of its own: hundreds a second come with a fast stream of entries, and each system call that waits for another thread, or for the
 * disk, would keep messages waiting. What must stay true: every request is answered, also when the thread dies: then it is done here.
 */
import { dirname } from 'node:path';
import { Thread, threadProgram } from '../thread.ts';
import { nodeFiles, replace, replaceDurably, syncFile, SyncError, type Files, type FileMaker, type NewFile } from './files.ts';

/** What the thread is asked, and what it says: which files it made, or what went wrong, with a sync or with something else. */
export type FileWork = { files: NewFile[]; durable: boolean } | { sync: string[] };
export type FileRequest = { id: number } & FileWork;
export type FileAnswer = { id: number; made?: boolean[]; problem?: string; isSync?: boolean };

/** Makes each file that the disk takes, and says which, or syncs. @throws (rejects) SyncError */
export async function doFileWork(work: FileWork): Promise<boolean[]> {
  if ('files' in work) return work.files.map((file) => isMade(file, work.durable));
  for (const path of work.sync) await syncFile(nodeFiles, path);
  return [];
}

/** A missing folder is made. @throws SyncError of a durable one */
function isMade({ path, bytes }: NewFile, durable: boolean, isSecond = false): boolean {
  try {
    (durable ? replaceDurably : replace)(nodeFiles, path, bytes, 0o644);
    return true;
  } catch (error) {
    if (error instanceof SyncError) throw error;
    if (isSecond || (error as NodeJS.ErrnoException).code !== 'ENOENT') return false;
    nodeFiles.mkdir(dirname(path), 0o755);
    return isMade({ path, bytes }, durable, true);
  }
}

interface Waiting {
  request: FileWork;
  resolve: (made: boolean[] | Promise<boolean[]>) => void;
  reject: (error: Error) => void;
}

export class FileThread implements FileMaker {
  readonly #thread = new Thread<Waiting, FileAnswer>(
    () => threadProgram('file-worker', import.meta.url),
    ({ resolve, reject }, { made, problem, isSync }) => {
      if (problem === undefined) resolve(made ?? []);
      else reject(isSync === true ? new SyncError(problem) : new Error(problem));
    },
    // whatever the thread had done of it is done again: a file is replaced by itself
    ({ request, resolve }) => resolve(doFileWork(request)),
  );

  get isStarted(): boolean {
    return this.#thread.isStarted;
  }

  make(files: NewFile[], durable: boolean): Promise<boolean[]> {
    return this.#ask({ files, durable });
  }

  async sync(paths: string[]): Promise<void> {
    await this.#ask({ sync: paths });
  }

  #ask(request: FileWork): Promise<boolean[]> {
    return new Promise((resolve, reject) => this.#thread.ask({ request, resolve, reject }, request));
  }

  /** Nothing more is asked: the thread ends with this, and what it was at is done here. */
  end(): Promise<void> {
    return this.#thread.end();
  }
}

/** The files of a ledger, those of its tree made in a thread of its own. */
export function threadedFiles(): Files & { maker: FileThread } {
  return { ...nodeFiles, maker: new FileThread() };
}
