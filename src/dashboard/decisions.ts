/** What was decided about requests that waited: the latest `approval` entries of each ledger, whoever decided and wherever. */
import type { DecisionRow } from '../analysis/approval-views.ts';
import { approvalOf } from '../analysis/approvals.ts';
import { SwornError } from '../errors.ts';
import { decisionsShown } from '../limits.ts';
import { readEntryAt } from '../readers/entries.ts';
import type { Rows } from './api.ts';
import type { Ledger } from './evidence.ts';

export interface DecisionsDeps {
  ledgers: readonly Ledger[];
  rows: Pick<Rows, 'call' | 'indexesOf'>;
  /** There are new ones; oldest first. Of those that were there before it is not called. */
  decided(decisions: readonly DecisionRow[]): void;
}

interface Known {
  ledger: Ledger;
  /** Where the next one may stand; nothing was looked for yet without. */
  next: number | undefined;
  /** The latest first. */
  decisions: DecisionRow[];
  isLooking: boolean;
  isAgain: boolean;
}

export class Decisions {
  readonly #deps: DecisionsDeps;
  readonly #known: ReadonlyMap<string, Known>;

  constructor(deps: DecisionsDeps) {
    this.#deps = deps;
    this.#known = new Map(deps.ledgers.map((ledger) => [ledger.id, { ledger, next: undefined, decisions: [], isLooking: false, isAgain: false }]));
  }

  /** The latest first, of all ledgers. */
  latest(): DecisionRow[] {
    return [...this.#known.values()]
      .flatMap(({ decisions }) => decisions)
      .sort((a, b) => (a.at > b.at ? -1 : 1))
      .slice(0, decisionsShown);
  }

  /** There are rows of this ledger that there were not. */
  look(ledger: string): void {
    const known = this.#known.get(ledger);
    if (known === undefined) return;
    if (known.isLooking) {
      known.isAgain = true;
      return;
    }
    known.isLooking = true;
    void this.#look(known).finally(() => {
      known.isLooking = false;
      if (!known.isAgain) return;
      known.isAgain = false;
      this.look(ledger);
    });
  }

  async #look(known: Known): Promise<void> {
    const { ledger, next } = known;
    const found: DecisionRow[] = [];
    try {
      const indexes = (await this.#deps.rows.indexesOf(ledger.id, 'approval', next ?? 0, decisionsShown)).toReversed();
      for (const index of indexes) {
        const decision = await this.#decisionOf(ledger, index);
        if (decision !== undefined) found.push(decision);
      }
      known.next = Math.max(next ?? 0, (indexes.at(-1) ?? -1) + 1);
    } catch (error) {
      // a catalog that is made again, or a segment that is rewritten just now: whoever comes next looks again
      if (error instanceof SwornError) return;
      throw error;
    }
    if (found.length === 0) return;
    known.decisions = [...found.toReversed(), ...known.decisions].slice(0, decisionsShown);
    if (next !== undefined) this.#deps.decided(found);
  }

  async #decisionOf({ id, path }: Ledger, index: number): Promise<DecisionRow | undefined> {
    const located = await readEntryAt(path, index);
    if (located?.entry.kind !== 'approval') return undefined;
    const { request, rule, commitment } = located.entry;
    const call = (await this.#deps.rows.call(id, request))?.call;
    return {
      ...approvalOf(index, located.entry, located.content?.attributes),
      ledger: id,
      rule,
      commitment,
      ...(call === undefined ? {} : { session: call.session, server: call.server, method: call.method }),
      ...(call?.method === 'tools/call' && call.target !== undefined ? { tool: call.target } : {}),
      ...(call?.argumentsText === undefined ? {} : { argumentsText: call.argumentsText }),
    };
  }
}
