/**
 * Checks ranges of a ledger in several threads (`verify/spread.ts`), of which this one is the first: it works at once, while the others start. What must stay
 * true: what is said comes in the order of the ranges, only so many of them are under way or wait to be taken that memory does not grow with the ledger, and
 * a thread that dies ends the whole, so that the sequential pass decides.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { nodeCrypto } from '../crypto-node.ts';
import type { Cursor, RangeCommon, RangeFacts, RangeTask, Spread } from '../verify/spread.ts';
import { checkRange } from '../verify/verifier.ts';
import { KeyFolders, type OpenedKeys } from './openers.ts';
import { directorySource, treeOf } from './verify-files.ts';

/**
 * Entries of a range: a share of what is left for each thread, so that all end at about the same time; enough that it seldom begins inside of a segment, and
 * little enough that facts which wait take no more than a few MB.
 */
const leastRange = 4_096;
const mostRange = 65_536;
const sharesEach = 3;
/** A thread is ready after a tenth of a second. */
const leastEntries = 50_000;
/** Ranges that another thread has: one under way, and one to go on with while this one is at work. */
const underWay = 2;
/** Ranges for each thread that are under way, or wait for those before them: a thread may be slower for a while. */
const ahead = 4;

/** By default: each takes 80 MB, and what runs in order could not keep up with many more. */
const mostThreads = 16;

interface Place {
  folder: string;
  common: RangeCommon;
  /** Of encrypted segments. */
  keys: OpenedKeys | undefined;
}

type Answer = { facts: RangeFacts } | { odd: true };

/** A range that was given to somebody. */
interface Given {
  isDone: boolean;
  facts: Promise<RangeFacts | undefined>;
}

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

/**
 * `count` threads with this one. `program` is the module that calls `serveRanges` in each of the others; by default the verifier as one file, of this build
 * or of the sources.
 */
export function threads(
  folder: string,
  count = Math.min(availableParallelism(), mostThreads),
  program: URL = ownProgram(),
  keys?: KeyFolders,
): Spread | undefined {
  if (count < 2) return undefined;
  return {
    entries: (left) => Math.min(mostRange, Math.max(leastRange, left / count / sharesEach)),
    least: leastEntries,
    async *check(tasks, common) {
      const others: Thread[] = [];
      const place: Place = { folder, common, keys: common.names && (await keys?.opened(common.ledgerId)) };
      try {
        while (others.length < count - 1) others.push(new Thread(program, place));
        const checkHere = rangeChecker(place);
        const given: Given[] = [];
        const left = tasks[Symbol.iterator]();
        const spares: ArrayBuffer[] = [];
        const give = (check: (task: RangeTask) => Promise<RangeFacts | undefined>): Given | undefined => {
          const next = given.length < ahead * count ? left.next() : undefined;
          if (!next || next.done) return undefined;
          const spare = spares.pop();
          const facts = check({ ...next.value, ...(spare ? { spare } : {}) });
          const one: Given = { isDone: false, facts };
          const settle = (): void => void (one.isDone = true);
          facts.then(settle, settle);
          given.push(one);
          return one;
        };
        const giveOthers = (): void => {
          for (;;) {
            const idlest = others.reduce((least, thread) => (thread.waiting < least.waiting ? thread : least));
            if (idlest.waiting >= underWay || !give((task) => idlest.ask(task))) return;
          }
        };
        for (;;) {
          giveOthers();
          if (given.length === 0) return;
          if (given[0]!.isDone) {
            const facts = await given.shift()!.facts;
            yield facts;
            // whoever asks for the next has done with this one
            if (facts) spares.push(facts.rows.buffer as ArrayBuffer);
            continue;
          }
          const own = give(checkHere);
          await (own ?? given[0]!).facts;
          // what others have said meanwhile has not been heard yet
          if (own) await turn();
        }
      } finally {
        await Promise.all(others.map((thread) => thread.end()));
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

/** Checks ranges one after another, each from where the last one stopped. `undefined`: something is odd. */
function rangeChecker({ folder, common, keys }: Place): (task: RangeTask) => Promise<RangeFacts | undefined> {
  const source = common.names ? directorySource(folder) : treeOf(directorySource(folder));
  const options = { crypto: nodeCrypto, source, ...(keys ? { openers: new KeyFolders(keys.keysHome, keys).openers } : {}) };
  let cursor: Cursor | undefined;
  return async (task) => {
    const checked = await checkRange(options, task, common, cursor);
    cursor = checked?.cursor;
    return checked?.facts;
  };
}

/** What another thread does. */
export function serveRanges(): void {
  const check = rangeChecker(workerData as Place);
  let before = Promise.resolve();
  parentPort!.on('message', (task: RangeTask) => {
    before = before.then(async () => {
      const facts = await check(task);
      const answer: Answer = facts ? { facts } : { odd: true };
      const buffers = facts ? [facts.rows, facts.leaves, facts.roots].map(({ buffer }) => buffer as ArrayBuffer) : [];
      parentPort!.postMessage(answer, buffers);
    });
  });
}
