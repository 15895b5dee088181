/**
 * Work for a thread of its own, of which several things may be asked at once. What must stay true: everything that is asked is answered, also when the thread dies: then
 * it is done here, and the next question tries a new thread.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

/** The program of a thread: beside the one that was built from `from`, or in a checkout its source beside that. */
export function threadProgram(name: string, from: string): URL {
  const built = new URL(`${name}.mjs`, from);
  return existsSync(fileURLToPath(built)) ? built : new URL(`${name}.ts`, from);
}

export class Thread<Waiting, Answer extends { id: number }> {
  readonly #program: () => URL;
  readonly #answered: (waiting: Waiting, answer: Answer) => void;
  readonly #here: (waiting: Waiting) => void;
  #worker: Worker | undefined;
  #requests = 0;
  readonly #waiting = new Map<number, Waiting>();

  /** `answered`: by the thread. `here`: it cannot answer, or is gone. */
  constructor(program: () => URL, answered: (waiting: Waiting, answer: Answer) => void, here: (waiting: Waiting) => void) {
    this.#program = program;
    this.#answered = answered;
    this.#here = here;
  }

  get isStarted(): boolean {
    return this.#worker !== undefined;
  }

  /** `request` goes to the thread with an `id`, which its answer repeats. */
  ask(waiting: Waiting, request: object, transferred: ArrayBuffer[] = []): void {
    const id = ++this.#requests;
    this.#waiting.set(id, waiting);
    const worker = (this.#worker ??= this.#start());
    // holds the process as long as somebody waits
    worker.ref();
    worker.postMessage({ id, ...request }, transferred);
  }

  /** The thread ends with this; what it was at is done here. */
  async end(): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(this.#program());
    worker.on('message', (answer: Answer) => {
      const waiting = this.#take(answer.id);
      if (waiting !== undefined) this.#answered(waiting, answer);
    });
    const gone = (): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const id of [...this.#waiting.keys()]) this.#here(this.#take(id)!);
    };
    worker.on('error', gone);
    worker.on('exit', gone);
    return worker;
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#worker?.unref();
    return waiting;
  }
}
