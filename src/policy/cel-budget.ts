/**
 * What one evaluation of a condition may do and why it ended: a bound on the work that a message can cause, charged by the values, the patterns and the functions.
 * State of the module, since the engine hands nothing through to what it calls; evaluations never overlap.
 */

/**
 * What one evaluation may do, in steps of roughly 50 ns: measured, nothing takes more than 0.3 s. One pass over a list of 100,000 items, or of a pattern over
 * a text of a million characters, is within it; such a list for each item of another is not.
 * What a step buys is said where it is spent: in `cost` for a call.
 */
const budgetSteps = 2_000_000;
/** A field that is not there: the engine makes an Error. */
export const missSteps = 20;

type Stop = 'integer-too-large' | 'too-costly';

/** Without a bound outside of `beginEvaluation` and `endEvaluation`, where only this project's own tests call the functions. */
let stepsLeft = Infinity;
/** Why the evaluation must end. Set before `halt` is thrown, so that nobody who catches can swallow it. */
let stopped: Stop | undefined;
/** A list with a large integer was walked: an error that follows is put down to it. */
let largeSeen = false;

const halt = new Error('halt');

export function beginEvaluation(): void {
  stepsLeft = budgetSteps;
}

export function endEvaluation(): void {
  stepsLeft = Infinity;
  stopped = undefined;
  largeSeen = false;
}

export function stop(why: Stop): never {
  stopped ??= why;
  throw halt;
}

export function spend(steps: number): void {
  stepsLeft -= steps;
  if (stepsLeft < 0) stop('too-costly');
}

/** For who called what may have caught `halt`. */
export function haltAgain(): void {
  if (stopped !== undefined) throw halt;
}

export function whyStopped(): Stop | undefined {
  return stopped;
}

export function largeWasSeen(): boolean {
  return largeSeen;
}

export function seeLarge(): void {
  largeSeen = true;
}
