/**
 * Checks ranges of a ledger in threads of their own (`verify/spread.ts`). What must stay true: what is said comes in the order of the ranges, only so many of
 * them are under way or wait to be taken that memory does not grow with the ledger, and a thread that dies ends the whole, so that the sequential pass decides.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { nodeCrypto } from '../crypto-node.ts';
import type { Cursor, RangeCommon, RangeFacts, RangeTask, Spread } from '../verify/spread.ts';
import { checkRange } from '../verify/verifier.ts';
import { directorySource, treeOf } from './verify-files.ts';

/** Of a range: enough that it seldom begins inside of a segment, little enough that all threads end at about the same time. */
const leastRange = 8_192;
const mostRange = 65_536;
const rangesEach = 16;
/** A thread is ready after a tenth of a second. */
const leastEntries = 50_000;
/** Ranges that a thread has: one under way, and one to go on with. */
const underWay = 2;
/** Ranges for each thread that are under way, or wait for those before them: a thread may be slower for a while. */
const ahead = 4;

/** By default: each takes 80 MB, and what runs in order could not keep up with many more. */
const mostThreads = 16;

interface Place {
  folder: string;
  common: RangeCommon;
}

type Answer = { facts: RangeFacts } | { odd: true };

interface Waiting {
  resolve: (facts: RangeFacts | undefined) => void;
  reject: (error: Error) => void;
}

/** A thread, and what it was asked, oldest first: it answers in order. */
class Thread {
  readonly #worker: Worker;
  readonly #asked: Waiting[] = [];

  constructor(program: URL, place: Place) {
    this.#worker = new Worker(program, { workerData: place });
    this.#worker.on('message', (answer: Answer) => this.#asked.shift()?.resolve('odd' in answer ? undefined : answer.facts));
    const gone = (error: unknown): void => {
      for (const { reject } of this.#asked.splice(0)) reject(error instanceof Error ? error : new Error('a thread has ended'));
    };
    this.#worker.on('error', gone);
    this.#worker.on('exit', gone);
  }

  get waiting(): number {
    return this.#asked.length;
  }

  ask(task: RangeTask): Promise<RangeFacts | undefined> {
    const answer = new Promise<RangeFacts | undefined>((resolve, reject) => this.#asked.push({ resolve, reject }));
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#worker.postMessage(task, task.spare ? [task.spare] : []);
    return answer;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** `program` is the module that calls `serveRanges` in a thread; by default the verifier as one file, of this build or of the sources. */
export function threads(folder: string, count = Math.min(availableParallelism(), mostThreads), program: URL = ownProgram()): Spread | undefined {
  if (count < 2) return undefined;
  return {
    entries: (size) => Math.min(mostRange, Math.max(leastRange, size / count / rangesEach)),
    least: leastEntries,
    async *check(tasks, common) {
      const all: Thread[] = [];
      try {
        for (let i = 0; i < count; i++) all.push(new Thread(program, { folder, common }));
        const answers: Promise<RangeFacts | undefined>[] = [];
        const left = tasks[Symbol.iterator]();
        const spares: ArrayBuffer[] = [];
        const askOn = (): void => {
          while (answers.length < ahead * count) {
            const idlest = all.reduce((least, thread) => (thread.waiting < least.waiting ? thread : least));
            const task = idlest.waiting < underWay ? left.next() : undefined;
            if (!task || task.done) return;
            const spare = spares.pop();
            const answer = idlest.ask({ ...task.value, ...(spare ? { spare } : {}) });
            answer.then(askOn, () => undefined);
            answers.push(answer);
          }
        };
        for (askOn(); answers.length > 0; askOn()) {
          const facts = await answers.shift()!;
          yield facts;
          // whoever asks for the next has done with this one
          if (facts) spares.push(facts.rows.buffer as ArrayBuffer);
        }
      } finally {
        await Promise.all(all.map((thread) => thread.end()));
      }
    },
  };
}

function ownProgram(): URL {
  // chunks of the build lie one folder deeper
  for (const path of ['verify.mjs', '../verify.mjs']) {
    const url = new URL(path, import.meta.url);
    if (existsSync(fileURLToPath(url))) return url;
  }
  return new URL('verify-alone.ts', import.meta.url);
}

/** What a thread does. */
export function serveRanges(): void {
  const { folder, common } = workerData as Place;
  const source = common.names ? directorySource(folder) : treeOf(directorySource(folder));
  let cursor: Cursor | undefined;
  let before = Promise.resolve();
  parentPort!.on('message', (task: RangeTask) => {
    before = before.then(async () => {
      const checked = await checkRange({ crypto: nodeCrypto, source }, task, common, cursor);
      cursor = checked?.cursor;
      const answer: Answer = checked ? { facts: checked.facts } : { odd: true };
      const buffers = checked ? [checked.facts.rows, checked.facts.leaves, checked.facts.roots].map(({ buffer }) => buffer as ArrayBuffer) : [];
      parentPort!.postMessage(answer, buffers);
    });
  });
}
