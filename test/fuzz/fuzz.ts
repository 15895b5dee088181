/** Gives one parser many inputs, and says what did not hold, and how long it took. */
import { inputOf } from './mutate.ts';

export interface Parser {
  name: string;
  seeds: Uint8Array[];
  /**
   * Reads an input and holds the result against what must be true of it. Says whether it was accepted.
   * @throws whatever must not happen
   */
  read: (bytes: Uint8Array) => boolean | Promise<boolean>;
  /** Errors that the parser declares: a refusal like any other. */
  allowed?: readonly (new (...values: never[]) => Error)[];
  /** Made from a mutated input, such as checksums that are right again: otherwise nothing behind them is ever reached. */
  repair?: (bytes: Uint8Array, n: number) => Uint8Array;
  /** Of the inputs that quick ones get. */
  share?: number;
  mostBytes?: number;
}

export interface Failure {
  n: number;
  message: string;
  input: string;
}

export interface Fuzzed {
  name: string;
  inputs: number;
  accepted: number;
  /** Inputs a second, with the making of them. */
  rate: number;
  slowestMs: number;
  slowest: Uint8Array;
  slowestN: number;
  failures: Failure[];
}

/** More of one kind say nothing new. */
const mostFailures = 5;
const defaultMostBytes = 64 * 1024;

export async function fuzz(parser: Parser, { inputs, seed, from = 0 }: { inputs: number; seed: number; from?: number }): Promise<Fuzzed> {
  const { name, seeds, read, allowed = [], repair, mostBytes = defaultMostBytes } = parser;
  if (seeds.length === 0) throw new Error(`${name} has no seeds`);
  const fuzzed: Fuzzed = { name, inputs: 0, accepted: 0, rate: 0, slowestMs: -1, slowest: seeds[0]!, slowestN: 0, failures: [] };
  const startedAt = performance.now();
  for (let n = from; n < from + inputs && fuzzed.failures.length < mostFailures; n++) {
    const mutated = inputOf(seeds, seed, name, n, mostBytes);
    const bytes = repair ? repair(mutated, n) : mutated;
    const before = performance.now();
    try {
      const answer = read(bytes);
      if (typeof answer === 'boolean' ? answer : await answer) fuzzed.accepted++;
    } catch (error) {
      if (!allowed.some((kind) => error instanceof kind)) {
        const message = error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 4).join('\n') : String(error);
        fuzzed.failures.push({ n, message, input: Buffer.from(bytes).toString('hex') });
      }
    }
    const tookMs = performance.now() - before;
    fuzzed.inputs++;
    if (tookMs > fuzzed.slowestMs) Object.assign(fuzzed, { slowestMs: tookMs, slowest: bytes, slowestN: n });
  }
  fuzzed.rate = (fuzzed.inputs / (performance.now() - startedAt)) * 1000;
  return fuzzed;
}

/** The time of one input by itself: the first may have been the collector's, or another process's. */
export async function timeOf({ read, allowed = [] }: Parser, bytes: Uint8Array): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 3; i++) {
    const before = performance.now();
    try {
      await read(bytes);
    } catch (error) {
      if (!allowed.some((kind) => error instanceof kind)) throw error;
    }
    least = Math.min(least, performance.now() - before);
  }
  return least;
}
