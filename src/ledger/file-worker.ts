/** The thread of `file-thread.ts`. */
import { parentPort } from 'node:worker_threads';
import { makeFiles, type FileAnswer, type FileRequest } from './file-thread.ts';
import { nodeFiles, syncFile, SyncError } from './files.ts';

async function answer(request: FileRequest): Promise<FileAnswer> {
  const { id } = request;
  try {
    if ('files' in request) return { id, made: makeFiles(request.files, request.durable) };
    for (const path of request.sync) await syncFile(nodeFiles, path);
    return { id };
  } catch (error) {
    return { id, problem: (error as Error).message, isSync: error instanceof SyncError };
  }
}

// one after the other: what is synced was made before
let turn: Promise<void> = Promise.resolve();
parentPort!.on('message', (request: FileRequest) => {
  turn = turn.then(async () => parentPort!.postMessage(await answer(request), []));
});
