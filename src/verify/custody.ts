/** Whose custody a record was in: the weakest of all connections that it is about. */
import type { Custody } from '../entry/entry.ts';

const weakestFirst: readonly Custody[] = ['in-process', 'same-user', 'separate-user', 'remote'];

export function weaker(one: Custody | undefined, other: Custody): Custody {
  return one !== undefined && weakestFirst.indexOf(one) <= weakestFirst.indexOf(other) ? one : other;
}

/** Of evidence that has a part of a ledger. A custody is said when it is that of all that is here: whoever leaves out how a connection began would choose it. */
export class Custodies {
  /** Of those of which it is known. */
  weakest: Custody | undefined;
  /** Whether it is known how each began. */
  readonly #connections = new Map<string, boolean>();

  opened({ connection, custody }: { connection: string; custody: Custody }): void {
    this.#connections.set(connection, true);
    this.weakest = weaker(this.weakest, custody);
  }

  spoke(connection: string): void {
    if (!this.#connections.has(connection)) this.#connections.set(connection, false);
  }

  /** Connections of which nothing here says how they began. */
  get unknown(): number {
    return [...this.#connections.values()].filter((isKnown) => !isKnown).length;
  }

  get custody(): Custody | undefined {
    return this.unknown === 0 || this.weakest === weakestFirst[0] ? this.weakest : undefined;
  }
}
