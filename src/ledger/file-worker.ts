/** The thread of `file-thread.ts`. */
import { parentPort } from 'node:worker_threads';
import { doFileWork, type FileAnswer, type FileRequest } from './file-thread.ts';
import { SyncError } from './files.ts';

async function answer({ id, ...work }: FileRequest): Promise<FileAnswer> {
  try {
    return { id, made: await doFileWork(work) };
  } catch (error) {
    return { id, problem: (error as Error).message, isSync: error instanceof SyncError };
  }
}

// one after the other: what is synced was made before
let turn: Promise<void> = Promise.resolve();
parentPort!.on('message', (request: FileRequest) => {
  turn = turn.then(async () => parentPort!.postMessage(await answer(request), []));
});
