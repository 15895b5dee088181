/**
 * Limits over the recorded past: what they would have refused, by the times of the entries. As in the recorder, a request takes its share when it passes, a reply is paid for when it
 * comes, and what was refused has no reply. Requests without entries (`capture: none`, storms that limits refused then) are not there to be counted.
 */
import type { Entry, MessageEntry } from '../entry/entry.ts';
import { slotMs } from '../limits.ts';
import type { CompiledPolicy, Judge } from './judge.ts';
import { Limiter, Taken } from './limits.ts';
import type { Subject } from './match.ts';
import { Timeline } from './timeline.ts';
import type { Verdict } from './verdict.ts';

/** What a request holds until its reply. */
export interface Held {
  keys: readonly string[];
  stream: number;
  sinceMs: number;
  isVacated?: boolean;
}

/** A message that rules have judged. */
interface Judged {
  subject: Subject;
  verdict: Verdict;
  recorded: { entry: MessageEntry };
  held?: Held;
}

const staleEveryMs = 60_000;

export class LimitsReplay {
  readonly #limiter = new Limiter((text) => text);
  readonly #timeline = new Timeline();
  #nowMs = 0;
  #staleMs = 0;

  constructor({ limits }: CompiledPolicy) {
    this.#limiter.configure(limits);
  }

  get isOff(): boolean {
    return this.#limiter.limits.length === 0;
  }

  /** Before an entry is looked at: its time is now. The wall clock is all that is asked: which boot an entry is of may lie before what is replayed. */
  turnTo({ time, monotonicUs }: Entry): void {
    if (!this.isOff) this.#nowMs = this.#timeline.at({ monotonicUs, wallUs: Date.parse(time) * 1000 });
  }

  /** It is time to look for requests that wait for too long. */
  get isStale(): boolean {
    if (this.isOff || this.#nowMs - this.#staleMs < staleEveryMs) return false;
    this.#staleMs = this.#nowMs;
    return true;
  }

  /** The items of a batch, or one message. With one that is refused, or must be asked for, nothing of a batch is sent. */
  admit(items: readonly Judged[], judge: Judge): void {
    if (this.isOff || items.some(({ verdict }) => verdict.kind === 'block' || (verdict.kind === 'ask' && items.length > 1))) return;
    const taken: Taken[] = [];
    for (const item of items) {
      const limits = judge.limitsOn(item.subject);
      if (limits.length === 0) continue;
      const { entry } = item.recorded;
      const session = entry.transport === 'http' ? `${entry.connection} ${entry.session ?? `who ${entry.who ?? ''}`}` : entry.connection;
      const said = this.#limiter.take(limits, { party: judge.party, session }, item.subject, entry.sizeBytes, this.#nowMs);
      if (!(said instanceof Taken)) {
        const { limit, reason, retryAfterMs } = said;
        item.verdict = { kind: 'block', rule: limit.rule, reason, retryAfterMs };
        for (const before of taken) before.giveBack();
        for (const one of items) delete one.held;
        return;
      }
      taken.push(said);
      const { keys } = said;
      if (item.subject.type === 'request' && keys.length > 0) item.held = { keys, stream: entry.stream, sinceMs: this.#nowMs };
    }
    for (const { held } of items) if (held !== undefined) this.#limiter.hold(held.keys, 1);
    for (const one of taken) one.release();
  }

  /** The reply came: what it is long is taken. */
  charge({ keys }: Held, sizeBytes: number): void {
    this.#limiter.charge(keys, sizeBytes, this.#nowMs);
  }

  /** It waits no more. */
  release({ keys, isVacated }: Held): void {
    this.#limiter.hold(keys, -1, isVacated);
  }

  /** It counts as running no more. */
  vacate(held: Held): void {
    if (held.isVacated) return;
    this.#limiter.hold(held.keys, -1);
    held.isVacated = true;
    this.#limiter.hold(held.keys, 1, true);
  }

  isOld({ sinceMs }: Held): boolean {
    return this.#nowMs - sinceMs >= slotMs;
  }
}

/** Nothing more comes on the stream of an entry over HTTP, or an error of HTTP came in place of a reply. */
export function endsStream({ transport, http, direction, type }: MessageEntry): boolean {
  if (transport !== 'http' || http === undefined) return false;
  return http.end !== undefined || http.own === true || (direction === 's2c' && type !== 'result' && (http.status ?? 200) >= 400);
}
