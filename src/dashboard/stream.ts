/**
 * The live tail: an event stream that says that there is something new, and how much; whoever reads asks for what they want to see. A cursor (`id`) is how many entries of
 * each ledger were told, so that whoever comes back, even to another process, is told at once what they missed.
 */
import type { ServerResponse } from 'node:http';
import type { Change } from '../analysis/views.ts';
import { streamClients, streamGatherMs, streamHeartbeatMs, streamWaitingBytes } from '../limits.ts';

/** How far the rows of a ledger go. */
export interface Progress {
  /** Entries that are rows: the index behind the last. */
  next: number;
  calls: number;
  findings: number;
}

interface Client {
  response: ServerResponse;
}

export class Stream {
  readonly #clients = new Set<Client>();
  /** By ledger, in the order of the cursor. */
  readonly #progress: Map<string, Progress>;
  #pending: Change = {};
  #gathering: NodeJS.Timeout | undefined;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  readonly #heartbeat: NodeJS.Timeout;

  constructor(ledgers: readonly string[]) {
    this.#progress = new Map(ledgers.map((ledger) => [ledger, { next: 0, calls: 0, findings: 0 }]));
    this.#heartbeat = setInterval(() => this.#beat(), streamHeartbeatMs).unref();
  }

  get clients(): number {
    return this.#clients.size;
  }

  get isFull(): boolean {
    return this.#clients.size >= streamClients;
  }

  /** `<next of the first ledger>.<of the second>…` */
  get cursor(): string {
    return [...this.#progress.values()].map(({ next }) => next).join('.');
  }

  /** Takes a client on, whose headers are not sent yet. `lastId`: the cursor that it had. */
  add(response: ServerResponse, lastId: string | undefined): void {
    // what is gathered is for those who are there; whoever comes is told from its cursor on
    this.flush();
    const client: Client = { response };
    this.#clients.add(client);
    const gone = (): void => void this.#clients.delete(client);
    response.on('close', gone);
    response.on('error', gone);
    response.write('retry: 1000\n\n');
    const missed = this.#missedSince(lastId);
    if (missed !== undefined) this.#send(client, missed);
  }

  /** The rows of a ledger go so far now. */
  advance(ledger: string, now: Progress): void {
    const before = this.#progress.get(ledger);
    if (before === undefined) return;
    const change: Change = {};
    for (const [name, more] of [
      ['entries', now.next - before.next],
      ['calls', now.calls - before.calls],
      ['findings', now.findings - before.findings],
    ] as const)
      // made again from the beginning: all of it is new
      if (more !== 0) change[name] = more > 0 ? more : now[name === 'entries' ? 'next' : name];
    this.#progress.set(ledger, { ...now });
    if (Object.keys(change).length > 0) this.#tell(change);
  }

  /** A verification has something to say. */
  evidenceChanged(): void {
    this.#tell({ evidence: true });
  }

  /** What waits for a person, or what was decided, is something else. */
  approvalsChanged(): void {
    this.#tell({ approvals: true });
  }

  /** Ends every stream now. Whoever comes back has a cursor. */
  end(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#gathering);
    for (const { response } of this.#clients) response.destroy();
    this.#clients.clear();
  }

  /** One event for what comes soon after one another: the first one at once. */
  #tell(change: Change): void {
    for (const name of ['entries', 'calls', 'findings'] as const) {
      const more = change[name];
      if (more !== undefined) this.#pending[name] = (this.#pending[name] ?? 0) + more;
    }
    if (change.evidence) this.#pending.evidence = true;
    if (change.approvals) this.#pending.approvals = true;
    if (this.#gathering !== undefined) return;
    const waitMs = Math.max(0, this.#sentAtMs + streamGatherMs - performance.now());
    if (waitMs === 0) this.flush();
    else this.#gathering = setTimeout(() => this.flush(), waitMs);
  }

  /** Tells now what is gathered, if there is anything. */
  flush(): void {
    if (Object.keys(this.#pending).length === 0) return;
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    this.#sentAtMs = performance.now();
    const change = this.#pending;
    this.#pending = {};
    for (const client of this.#clients) this.#send(client, change);
  }

  #send(client: Client, change: Change): void {
    const { response } = client;
    // one that does not read: it comes back with its cursor
    if (response.writableLength > streamWaitingBytes) {
      response.destroy();
      this.#clients.delete(client);
      return;
    }
    response.write(`id: ${this.cursor}\nevent: change\ndata: ${JSON.stringify(change)}\n\n`);
  }

  #beat(): void {
    for (const { response } of this.#clients) response.write(': still here\n\n');
  }

  /**
   * What is new since a cursor. Of calls and findings nothing is counted: they are among the entries. A cursor that is none of ours, or of other ledgers, has missed
   * everything; without one whoever comes has just asked.
   */
  #missedSince(cursor: string | undefined): Change | undefined {
    if (cursor === undefined) return undefined;
    const told = /^\d{1,15}(\.\d{1,15})*$/.test(cursor) ? cursor.split('.').map(Number) : [];
    const now = [...this.#progress.values()].map(({ next }) => next);
    const isOurs = told.length === now.length && told.every((one, i) => one <= now[i]!);
    const entries = now.reduce((sum, next, i) => sum + next - (isOurs ? told[i]! : 0), 0);
    return entries === 0 ? undefined : { entries, evidence: true };
  }
}
