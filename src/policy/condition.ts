/**
 * Conditions of rules: expressions in CEL (https://cel.dev) over a view of one message. The language is `@bufbuild/cel`'s; `test/cel-conformance.test.ts` holds the evidence for
 * it. Beside it stand values that no message can forge (`cel-values.ts`), functions with a bound on the work that a message can cause (`cel-functions.ts`, `cel-budget.ts`), and
 * what can be said of an expression before it runs (`condition-check.ts`). Here a condition is compiled and evaluated.
 * Load this file with `await import()` only, when there is a condition, and what it imports only through it: it brings the engine with it.
 *
 * Not all of CEL: protobuf messages cannot be made or named, and the pattern of `matches` must be written in the expression.
 */
import { isCelError, plan } from '@bufbuild/cel';
import type { CelInput } from '@bufbuild/cel';
import { beginEvaluation, endEvaluation, largeWasSeen, whyStopped } from './cel-budget.ts';
import { conversionFailed, environment } from './cel-functions.ts';
import { releasePatterns, usePatterns } from './cel-pattern.ts';
import { toCel } from './cel-values.ts';
import { checked, doubts } from './condition-check.ts';
import { LargeInteger } from './json.ts';

export { celFunctions } from './cel-functions.ts';
export { ConditionError } from './condition-syntax.ts';
export { variables } from './condition-variables.ts';

/** Never the text of a value: what a message holds may be what must not be stored. */
export interface Problem {
  problem: 'no-such-field' | 'no-such-overload' | 'not-a-bool' | 'conversion' | 'integer-too-large' | 'too-costly' | 'other';
}
export type Outcome = boolean | Problem;

export interface Condition {
  readonly text: string;
  /** A view has the `variables` as own members: JSON values as `readJson` gives them, and bigints for CEL's ints. Never throws. */
  evaluate(view: Record<string, unknown>): Outcome;
}

/** @throws ConditionError for what can never run: syntax, names that do not exist, patterns that are none. */
export function compileCondition(text: string): Condition {
  const { expr, reader } = checked(text);
  const program = plan(environment, expr);
  const used = [...reader.used];
  return {
    text,
    evaluate(view) {
      beginEvaluation();
      usePatterns(reader.patterns);
      // the engine makes an Error of every absent field: without a trace it costs a tenth
      const traced = Error.stackTraceLimit;
      Error.stackTraceLimit = 0;
      try {
        const values: Record<string, CelInput> = {};
        for (const name of used) {
          const value = toCel(view[name]);
          if (value !== undefined) values[name] = value as CelInput;
        }
        const result = program(values);
        if (typeof result === 'boolean' && whyStopped() === undefined) return result;
        return { problem: problemOf(result) };
      } catch {
        return { problem: whyStopped() ?? 'other' };
      } finally {
        Error.stackTraceLimit = traced;
        endEvaluation();
        releasePatterns();
      }
    },
  };
}

/**
 * Doubts, in the order of the text, about a condition that compiles: fields that may be absent without a guard, types that do not fit, an answer that never changes.
 * @throws ConditionError as `compileCondition`
 */
export function conditionWarnings(text: string): { offset: number; message: string }[] {
  const found = checked(text);
  // nothing of it is used, but what cannot be planned cannot run
  plan(environment, found.expr);
  return doubts(found);
}

function problemOf(result: unknown): Problem['problem'] {
  const stopped = whyStopped();
  if (stopped !== undefined) return stopped;
  if (largeWasSeen() && (isCelError(result) || result instanceof LargeInteger)) return 'integer-too-large';
  if (!isCelError(result)) return 'not-a-bool';
  const { message } = result;
  if (message === conversionFailed) return 'conversion';
  if (/^(?:field not found|unresolved attribute|index \S+ out of bounds)/.test(message)) return 'no-such-field';
  return /^(?:found no matching overload|type mismatch|unsupported key type)/.test(message) ? 'no-such-overload' : 'other';
}
