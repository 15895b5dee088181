/**
 * The queue of requests that wait for a person, of every ledger that is served: asked of its recorder with a question that is answered when it changes. The recorder alone
 * knows what waits, and it alone decides whether whoever asks may decide; here nothing is kept that could be believed instead of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApprovalRow } from '../analysis/approval-views.ts';
import { SwornError } from '../errors.ts';
import { queueAgainMs, queueGatherMs, queueWaitMs } from '../limits.ts';
import { ask } from '../wire/ask.ts';
import type { Ledger } from './evidence.ts';

/** A waiting request as the recorder tells it (`approvals`). */
export interface Pending extends Omit<ApprovalRow, 'ledger' | 'argumentsText'> {
  /** Of the connection, behind a proxy. */
  session?: number;
  /** The message as stored; in a brief answer its beginning. */
  shown: string;
}

export interface Verdict {
  decision: 'approved' | 'denied';
  reason?: string;
  how: 'dashboard' | 'webhook';
  viewer?: string;
  approver?: string;
}

export interface ApprovalsDeps {
  ledgers: readonly Ledger[];
  socketOf(path: string): string;
  /** The queue is another one. */
  changed(): void;
  /** These wait now, and did not when it was asked before. */
  appeared(pending: readonly ApprovalRow[]): void;
}

interface Known {
  ledger: Ledger;
  /** By request, in the order of the ledger. */
  rows: ReadonlyMap<number, ApprovalRow>;
  total: number;
  problem?: string;
}

const shortChars = 160;

export class Approvals {
  readonly #deps: ApprovalsDeps;
  readonly #known: readonly Known[];
  readonly #ending = new AbortController();

  constructor(deps: ApprovalsDeps) {
    this.#deps = deps;
    this.#known = deps.ledgers.map((ledger) => ({ ledger, rows: new Map(), total: 0 }));
  }

  start(): void {
    for (const known of this.#known) void this.#follow(known);
  }

  end(): void {
    this.#ending.abort();
  }

  /** What waits, oldest first. */
  rows(): ApprovalRow[] {
    const all = this.#known.flatMap(({ rows }) => [...rows.values()]);
    return this.#known.length === 1 ? all : all.sort((a, b) => (a.askedAt < b.askedAt ? -1 : 1));
  }

  get total(): number {
    return this.#known.reduce((sum, { rows, total }) => sum + Math.max(total, rows.size), 0);
  }

  get problems(): { ledger: string; message: string }[] {
    return this.#known.flatMap(({ ledger, problem }) => (problem === undefined ? [] : [{ ledger: ledger.id, message: problem }]));
  }

  /** Which ledger's request it is that is named by what was shown of it. */
  ledgerOf(request: number, commitment: string): Ledger | undefined {
    return this.#known.find(({ rows }) => rows.get(request)?.commitment === commitment)?.ledger;
  }

  /** One, with all that is shown of it; without a recorder nothing waits, nor where an older one does not know of approvals. @throws (rejects) SwornError */
  async pending(ledger: Ledger, request: number): Promise<Pending | undefined> {
    try {
      const { approvals } = (await ask(this.#deps.socketOf(ledger.path), 'approvals', { request })) as unknown as { approvals: Pending[] };
      return approvals.find((one) => one.request === request);
    } catch (error) {
      if (error instanceof SwornError && (error.code === 'no-recorder' || error.code === 'recorder-refused')) return undefined;
      throw error;
    }
  }

  /** Once it is durable. @throws (rejects) SwornError `not-found` when it does not wait any more, `permission`, `usage` when the commitment is another one, … */
  async decide(
    ledger: Ledger,
    request: number,
    commitment: string,
    verdict: Verdict,
  ): Promise<{ decided: number; waitedMs: number; selfApproved?: true }> {
    const { decided, waitedMs, selfApproved } = await ask(this.#deps.socketOf(ledger.path), 'decide', { request, commitment, ...verdict });
    return { decided: decided as number, waitedMs: waitedMs as number, ...(selfApproved === true ? { selfApproved } : {}) };
  }

  async #follow(known: Known): Promise<void> {
    const { signal } = this.#ending;
    let version: number | undefined;
    while (!signal.aborted) {
      try {
        const answer = await this.#read(known.ledger, version);
        if (signal.aborted) return;
        if (answer !== undefined) {
          this.#take(known, answer.pending, answer.total, undefined);
          version = answer.version;
        }
        await sleep(queueGatherMs, undefined, { signal });
      } catch (error) {
        if (signal.aborted) return;
        version = undefined;
        // without a recorder nothing waits; one that begins says what does
        const isGone = error instanceof SwornError && error.code === 'no-recorder';
        this.#take(known, [], 0, isGone ? undefined : (error as Error).message);
        await sleep(isGone ? queueAgainMs : 5 * queueAgainMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** All of it, in as many answers as it needs; the version of the first, so that what changed meanwhile is asked for again. `undefined`: it is the same. */
  async #read({ path }: Ledger, since: number | undefined): Promise<{ version: number; pending: Pending[]; total: number } | undefined> {
    const { signal } = this.#ending;
    const socket = this.#deps.socketOf(path);
    const pending: Pending[] = [];
    let first: { version: number; waiting?: number } | undefined;
    for (;;) {
      const last = pending.at(-1)?.request;
      const more = last === undefined ? (since === undefined ? {} : { since, waitMs: queueWaitMs }) : { after: last };
      const answer = (await ask(socket, 'approvals', { brief: true, ...more }, queueWaitMs + 10_000, signal)) as unknown as {
        version: number;
        approvals: Pending[];
        waiting?: number;
        more?: boolean;
      };
      first ??= answer;
      pending.push(...answer.approvals);
      if (answer.more !== true || answer.approvals.length === 0) return { version: first.version, pending, total: first.waiting ?? pending.length };
      if (first.version === since) return undefined;
    }
  }

  #take(known: Known, pending: readonly Pending[], total: number, problem: string | undefined): void {
    const before = known.rows;
    const rows = new Map(pending.map((one) => [one.request, before.get(one.request) ?? rowOf(known.ledger.id, one)]));
    const appeared = [...rows.values()].filter(({ request }) => !before.has(request));
    const isSame = appeared.length === 0 && rows.size === before.size && known.problem === problem && known.total === total;
    known.rows = rows;
    known.total = total;
    if (problem === undefined) delete known.problem;
    else known.problem = problem;
    if (isSame) return;
    this.#deps.changed();
    if (appeared.length > 0) this.#deps.appeared(appeared);
  }
}

export function rowOf(ledger: string, pending: Pending): ApprovalRow {
  const { shown, session: _, ...row } = pending;
  const text = argumentsOf(shown).replaceAll(/\s+/g, ' ');
  return {
    ...row,
    ledger,
    ...(text === '' ? {} : { argumentsText: text.slice(0, shortChars) }),
    ...(text.length <= shortChars && isPlain(shown) ? { isAll: true as const } : {}),
  };
}

/** What people look for first; of what cannot be read the beginning. */
function argumentsOf(shown: string): string {
  try {
    const { params } = JSON.parse(shown) as { params?: { arguments?: unknown } };
    return params === undefined ? '' : JSON.stringify(params.arguments ?? params);
  } catch {
    const at = /"arguments"\s*:\s*/.exec(shown);
    return at === null ? shown : shown.slice(at.index + at[0].length);
  }
}

/** A call with a name and arguments, written as everybody writes it: no member stands twice, of which a server could take the other one, and none stands beside them. */
function isPlain(shown: string): boolean {
  try {
    const message = JSON.parse(shown) as { params?: { name?: unknown; arguments?: unknown } };
    const { name, arguments: args } = message.params ?? {};
    const known = new Set(['jsonrpc', 'id', 'method', 'params', 'name', 'arguments']);
    const members = [...Object.keys(message), ...Object.keys(message.params ?? {})];
    return typeof name === 'string' && args !== undefined && members.every((member) => known.has(member)) && JSON.stringify(message) === shown;
  } catch {
    return false;
  }
}
