/**
 * Searches long frames in a thread of its own. What must stay true: an answer comes for every search, also when the thread dies: then the search is done
 * here, and the next one tries a new thread.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Redaction, Redactor } from '../policy/redact.ts';
import type { Found, Search } from './redact-worker.ts';

interface Waiting {
  redactor: Redactor;
  bytes: Buffer;
  known: readonly string[];
  isJson: boolean;
  done: (redactions: Redaction[]) => void;
}

export class Searcher {
  #worker: Worker | undefined;
  #searches = 0;
  readonly #waiting = new Map<number, Waiting>();

  /** `done` is called once, later. The bytes are copied: the frame stays whole here. */
  search(redactor: Redactor, bytes: Buffer, known: readonly string[], isJson: boolean, done: (redactions: Redaction[]) => void): void {
    const id = ++this.#searches;
    this.#waiting.set(id, { redactor, bytes, known, isJson, done });
    const search: Search = { id, rules: redactor.rules.map(({ rule }) => rule), bytes: new Uint8Array(bytes), known, isJson };
    const worker = (this.#worker ??= this.#start());
    worker.postMessage(search, [search.bytes.buffer as ArrayBuffer]);
  }

  #start(): Worker {
    const built = new URL('redact-worker.mjs', import.meta.url);
    const worker = new Worker(existsSync(fileURLToPath(built)) ? built : new URL('redact-worker.ts', import.meta.url));
    worker.on('message', (found: Found) => {
      if ('error' in found) this.#here(found.id);
      else this.#take(found.id)?.done(found.redactions);
    });
    const gone = (): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const id of this.#waiting.keys()) this.#here(id);
    };
    worker.on('error', gone);
    worker.on('exit', gone);
    // behind the listeners, which hold the process as long as there is one for messages
    worker.unref();
    return worker;
  }

  /** The process is about to end. */
  async end(): Promise<void> {
    await this.#worker?.terminate();
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  #here(id: number): void {
    const waiting = this.#take(id);
    waiting?.done(waiting.redactor.ranges(waiting.bytes, 0, waiting.known, waiting.isJson));
  }
}
