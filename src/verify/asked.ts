/**
 * The rules about requests that wait for a person (`spec/entry.md`, Approvals): each has one `approval`, about what was shown, and nothing answers it before that says
 * that it was delivered. Keeps those that wait, and a number for each that was refused.
 */
import type { ApprovalEntry, Entry, MessageEntry, PrincipalEntry } from '../entry/entry.ts';
import type { Findings } from './finding.ts';
import type { SeenMessage, SeenPrincipal } from './seen.ts';

type Waiting = Pick<MessageEntry, 'connection' | 'rule' | 'commitment'>;

export class Asked {
  readonly #findings: Findings;
  readonly #waiting = new Map<number, Waiting>();
  readonly #refused = new Set<number>();
  /** Entries below are pruned. */
  from = 0;

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  add(index: number, entry: Exclude<Entry, MessageEntry | PrincipalEntry> | SeenMessage | SeenPrincipal): void {
    if (entry.kind === 'message') this.#message(index, entry);
    else if (entry.kind === 'approval') this.#approval(index, entry);
    else if (entry.kind === 'close' && this.#waiting.size > 0) {
      for (const [request, { connection }] of this.#waiting) {
        if (connection !== entry.connection) continue;
        this.#waiting.delete(request);
        this.#findings.add('tampered', 'approval', `the request ${request} waited for approval, and its connection ends without one`, { index });
      }
    }
  }

  #message(index: number, { type, origin, verdict, exchange, connection, rule, commitment }: SeenMessage): void {
    if (verdict === 'ask') {
      this.#waiting.set(index, { connection, ...(rule === undefined ? {} : { rule }), ...(commitment === undefined ? {} : { commitment }) });
      return;
    }
    if (exchange === undefined || origin === 'sworn' || (type !== 'result' && type !== 'error')) return;
    if (this.#waiting.has(exchange)) this.#findings.add('tampered', 'approval', `a reply to ${exchange} before that was approved`, { index });
    else if (this.#refused.has(exchange)) this.#findings.add('tampered', 'approval', `a reply to ${exchange}, which was not approved`, { index });
  }

  #approval(index: number, { request, connection, rule, commitment, decision }: ApprovalEntry): void {
    const waiting = this.#waiting.get(request);
    this.#waiting.delete(request);
    if (decision !== 'approved') this.#refused.add(request);
    if (request < this.from) return;
    if (waiting === undefined) this.#findings.add('tampered', 'approval', `an approval of ${request}, which does not wait for one`, { index });
    else if (waiting.connection !== connection || waiting.rule !== rule || waiting.commitment !== commitment)
      this.#findings.add('tampered', 'approval', `the approval of ${request} is about another connection, rule or content`, { index });
  }

  finish(): void {
    const [first] = this.#waiting.keys();
    if (first === undefined) return;
    this.#findings.add('note', 'approval', `${this.#waiting.size} request(s) without an approval: they wait, or nobody was there to say so`, {
      index: first,
    });
  }
}
