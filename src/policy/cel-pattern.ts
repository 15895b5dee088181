/**
 * Patterns of `matches`: compiled once, with what their use costs.
 */
import { RE2JS } from '@bufbuild/re2';
import { spend } from './cel-budget.ts';

/** A pattern with what its use costs. RE2 is linear in the text, but a step of it takes from 15 ns to 20 µs. */
export class Pattern {
  readonly #text: string;
  #compiled: RE2JS;
  readonly #instructions: number;
  /** `^`, `$` and `\b` are worked out anew for every character. */
  readonly #anchored: boolean;

  /** @throws an Error that says what is wrong with the pattern. */
  constructor(text: string) {
    this.#text = text;
    this.#compiled = RE2JS.compile(text);
    const { prog } = this.#compiled.re2();
    this.#instructions = prog.numInst();
    this.#anchored = Array.from({ length: this.#instructions }, (_, i) => prog.getInst(i).op).includes(emptyWidth);
  }

  test(text: string): boolean {
    const { dfa } = this.#compiled.re2();
    // A pattern such as a.{30}x has more states than the engine keeps, and a message can hold a text that visits them all. That is seen in pieces before the whole text is given away.
    for (let at = 0; text.length > pieceChars && at < text.length && dfa.cacheClears === 0; at += pieceChars) {
      this.#spend(pieceChars, false);
      this.#compiled.test(text.slice(at, at + pieceChars));
    }
    this.#spend(text.length, dfa.cacheClears > 0);
    return this.#compiled.test(text);
  }

  /** After an evaluation: what one message made of the engine's states must not decide about the next. */
  renew(): void {
    const { dfa } = this.#compiled.re2();
    if (dfa.stateCount > keptStates || dfa.cacheClears > 0) this.#compiled = RE2JS.compile(this.#text);
  }

  #spend(chars: number, exploded: boolean): void {
    spend(20 + Math.ceil(chars * (exploded ? 1 + this.#instructions / 2 : this.#anchored ? 1 + this.#instructions / 10 : 0.5)));
  }
}

/** `Inst.EMPTY_WIDTH` of @bufbuild/re2, which does not export it. */
const emptyWidth = 4;
const pieceChars = 32_768;
/** About 2 KiB each. */
const keptStates = 1_000;

const noPatterns: ReadonlyMap<string, Pattern> = new Map();
/** Of the expression that is evaluated. */
let patterns = noPatterns;

export function usePatterns(those: ReadonlyMap<string, Pattern>): void {
  patterns = those;
}

export function releasePatterns(): void {
  for (const pattern of patterns.values()) pattern.renew();
  patterns = noPatterns;
}

export function matches(text: string, pattern: string): boolean {
  return (patterns.get(pattern) ?? new Pattern(pattern)).test(text);
}
