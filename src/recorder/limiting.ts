/**
 * Rate limits in the recorder: what they say of requests, who waits in them, and how they go on behind a restart. The buckets themselves are in `policy/limits.ts`.
 *
 * What must stay true: a request takes its tokens when it is let through or somebody is asked for it, once; it holds its places exactly as long as it waits among the exchanges; a recorder
 * that takes over gives no bucket more than time has, and forgets nothing that an entry says.
 */
import { createHmac, hash } from 'node:crypto';
import type { Entry, MessageEntry } from '../entry/entry.ts';
import { slotMs } from '../limits.ts';
import type { PendingRequest, Placement, Slots } from '../mcp/exchange.ts';
import type { Message } from '../mcp/message.ts';
import { Limiter, Taken, type BucketsState, type CompiledLimit, type Limited } from '../policy/limits.ts';
import type { Subject } from '../policy/match.ts';
import { partyOf, type Said } from '../policy/principal.ts';
import { Timeline } from '../policy/timeline.ts';
import type { Verdict } from '../policy/verdict.ts';
import type { Head } from '../wire/wire.ts';
import { askerOf } from './asker.ts';
import { bootId, type Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import type { NamedPrincipal } from './speaker.ts';
import type { Storms } from './storms.ts';

/** A message that was judged. */
export interface Admitted {
  subject: Subject;
  verdict: Verdict;
  /** It has taken this, and holds it until it has its place. */
  taken?: Taken;
  /** A limit refuses it. */
  limited?: Limited;
}

export interface LimitsState extends BucketsState {
  bootId?: string;
  monotonicUs: number;
  wallUs: number;
}

/** How often waiting requests are looked through for those that wait for too long. */
const staleEveryMs = 60_000;
const sweptBuckets = 2_000;
const digestChars = 22;
const nothing = (): void => undefined;

export class Limits implements Slots {
  readonly limiter: Limiter;
  readonly #clock: Clock;
  readonly #timeline = new Timeline();
  #findKey: (() => Buffer) | undefined;
  #secret: string | undefined;
  readonly #bootId = bootId();
  /** Of the entries that are replayed. */
  #replayedBoot: string | undefined;
  #nowMs = 0;
  /** Where the line of time was when this recorder began. */
  #began: { atMs: number; monotonicUs: number } | undefined;
  /** What limits know principals by that an earlier recorder recorded, by the index of their entry. */
  readonly #recalled = new Map<number, string>();
  #staleMs = 0;

  constructor(limits: readonly CompiledLimit[], clock: Clock) {
    this.#clock = clock;
    this.limiter = new Limiter((text) => this.#digest(text));
    this.limiter.configure(limits);
  }

  /** Where the secret comes from that digests are made with: keys of buckets stand in the snapshot, and say nothing of names to whoever has only that. */
  open(findKey: () => Buffer): void {
    this.#findKey = findKey;
  }

  #digest(text: string): string {
    this.#secret ??= createHmac('sha256', this.#findKey!()).update('sworn limit key v1').digest('base64');
    return hash('sha256', this.#secret + text, 'base64').slice(0, digestChars);
  }

  get isOff(): boolean {
    return this.limiter.limits.length === 0;
  }

  now(): number {
    const began = this.#began;
    return began === undefined ? this.#nowMs : began.atMs + Math.max(0, (this.#clock.monotonicUs() - began.monotonicUs) / 1000);
  }

  hold(limits: readonly string[], by: 1 | -1, isVacated?: boolean): void {
    this.limiter.hold(limits, by, isVacated);
  }

  /**
   * Holds a message that no rule refuses against the limits. One that they refuse becomes `block`; one that cannot be kept back any more takes its tokens all the same, and is flagged.
   * `next`: the index of the message's entry, where an MCP session may begin.
   */
  admit(message: Admitted, sizeBytes: number, connection: Connection, next: number, refusable: boolean, head?: Head): void {
    if (message.verdict.kind === 'block') return;
    const limits = connection.judge.limitsOn(message.subject);
    if (limits.length === 0) return;
    const said = this.limiter.take(limits, askerOf(connection, next, head), message.subject, sizeBytes, this.now(), !refusable);
    if (said instanceof Taken) {
      message.taken = said;
      return;
    }
    const { limit, reason, retryAfterMs } = said;
    if ('taken' in said) {
      message.taken = said.taken;
      message.verdict = { kind: 'flag', rule: limit.rule, reason, shadow: true, problem: 'delivered-before' };
    } else {
      message.limited = said;
      connection.isLimited = true;
      message.verdict = { kind: 'block', rule: limit.rule, reason, retryAfterMs };
    }
  }

  /** The items of a batch, in order, as if they came one by one. With one that is refused, or must be asked for, nothing is sent, and so nothing is taken. */
  admitBatch(items: readonly Admitted[], sizesBytes: readonly number[], connection: Connection, next: number, refusable: boolean, head?: Head): void {
    if (items.some(({ verdict }) => verdict.kind === 'block' || verdict.kind === 'ask')) return;
    for (const [i, item] of items.entries()) {
      this.admit(item, sizesBytes[i]!, connection, next, refusable, head);
      if (item.limited === undefined) continue;
      for (const before of items.slice(0, i)) {
        before.taken?.giveBack();
        delete before.taken;
      }
      return;
    }
  }

  /** A message has its place among the exchanges: requests hold theirs, replies are paid for, cancellations and ends of streams make room. The answer takes it back. */
  placed(
    message: Message,
    placement: Placement,
    sizeBytes: number,
    { verdict, taken }: Admitted,
    connection: Connection,
    head: Head | undefined,
    wireStream: number,
  ): () => void {
    if (this.isOff) return nothing;
    const ends = head === undefined || !endsStream(head, message) ? nothing : connection.exchanges.vacateStream(wireStream);
    if (taken !== undefined) {
      const { keys } = taken;
      if (message.type === 'request' && placement.request !== undefined && keys.length > 0)
        connection.exchanges.occupy(placement.request, keys, wireStream);
      taken.release();
    }
    const { request } = placement;
    if (request?.limits === undefined || message.type === 'request') return ends;
    if (message.type === 'notification') return verdict.kind === 'block' ? ends : connection.exchanges.vacate(request);
    if (verdict.kind === 'block') return ends;
    const { limits } = request;
    this.limiter.charge(limits, sizeBytes, this.now());
    return () => {
      this.limiter.charge(limits, -sizeBytes, this.now());
      ends();
    };
  }

  /** Once a second. */
  tick(connections: Iterable<Connection>, storms: Storms): void {
    if (this.isOff) return;
    const nowMs = this.now();
    storms.due();
    this.limiter.sweep(sweptBuckets, nowMs);
    if (nowMs - this.#staleMs < staleEveryMs) return;
    this.#staleMs = nowMs;
    const beforeUs = this.#clock.monotonicUs() - slotMs * 1000;
    for (const { exchanges } of connections) exchanges.vacateBefore(beforeUs);
  }

  /** The snapshot before the entries that are replayed. */
  restore(json: unknown): void {
    const state = json as Partial<LimitsState> | undefined;
    if (!Number.isFinite(state?.monotonicUs) || !Number.isFinite(state?.wallUs)) return;
    const { bootId, monotonicUs, wallUs } = state as LimitsState;
    this.#replayedBoot = typeof bootId === 'string' ? bootId : undefined;
    this.#nowMs = this.#timeline.at({ bootId: this.#replayedBoot, monotonicUs, wallUs });
    if (!this.isOff) this.limiter.restore(state, this.#nowMs);
  }

  /** As of now; nothing where no limit is in force. */
  toJSON(): LimitsState | undefined {
    if (this.isOff) return undefined;
    const monotonicUs = this.#clock.monotonicUs();
    return {
      ...(this.#bootId === undefined ? {} : { bootId: this.#bootId }),
      monotonicUs,
      wallUs: this.#clock.wallUs(monotonicUs),
      ...this.limiter.toJSON(this.now()),
    };
  }

  /** What the next recorder knows a principal of a proxy's by, who may say nothing before this one ends. */
  keyOf({ said, limitKey }: NamedPrincipal, connection: Connection): string | undefined {
    if (this.isOff) return undefined;
    return said === undefined ? limitKey : this.limiter.principalOf(partyOf(said, connection.opened.isTrusted === true));
  }

  /** Before an entry is replayed: its time is now. */
  turnTo(entry: Entry): void {
    if (this.isOff) return;
    if (entry.kind === 'start') this.#replayedBoot = entry.bootId;
    this.#nowMs = this.#timeline.at({ bootId: this.#replayedBoot, monotonicUs: entry.monotonicUs, wallUs: Date.parse(entry.time) * 1000 });
  }

  /** Somebody whom a proxy named. @returns what limits know it by */
  recall(index: number, said: Said, isBelieved: boolean): string | undefined {
    if (this.isOff) return undefined;
    const key = this.limiter.principalOf(partyOf(said, isBelieved));
    this.#recalled.set(index, key);
    return key;
  }

  /** Those of a snapshot. */
  recallAll(connection: Connection): void {
    for (const [, index, limitKey] of connection.recalled(({ limitKey }) => limitKey))
      if (limitKey !== undefined) this.#recalled.set(index, limitKey);
  }

  /** What an entry says of a message was done by an earlier recorder. */
  replay(entry: MessageEntry, index: number, message: Message, subject: Subject, placement: Placement, connection: Connection): void {
    if (this.isOff) return;
    const one: Admitted = { subject, verdict: { kind: entry.verdict } };
    const limits = entry.verdict === 'block' ? [] : connection.judge.limitsOn(subject);
    if (limits.length > 0) {
      const principal = entry.who === undefined ? undefined : this.#recalled.get(entry.who);
      const asker = { ...askerOf(connection, index), ...(principal === undefined ? {} : { principal }) };
      const said = this.limiter.take(limits, asker, subject, entry.sizeBytes, this.now(), true);
      one.taken = said instanceof Taken ? said : (said as { taken: Taken }).taken;
    }
    this.placed(message, placement, entry.sizeBytes, one, connection, undefined, entry.stream);
  }

  /** An entry ends what was asked on its stream. */
  replayEnd({ transport, http, direction, type, stream }: MessageEntry, connection: Connection): void {
    if (this.isOff || transport !== 'http' || http === undefined) return;
    if (http.end !== undefined || (direction === 's2c' && type !== 'result' && (http.status ?? 200) >= 400))
      connection.exchanges.vacateStream(stream);
  }

  /** A reply that is not read again. */
  replayReply(request: PendingRequest, sizeBytes: number): void {
    if (request.limits !== undefined) this.limiter.charge(request.limits, sizeBytes, this.now());
  }

  /** Everything is replayed: time runs on from here. */
  begin(): void {
    const monotonicUs = this.#clock.monotonicUs();
    const atMs = this.#timeline.at({ bootId: this.#bootId, monotonicUs, wallUs: this.#clock.wallUs(monotonicUs) });
    this.#began = { atMs, monotonicUs };
    this.#staleMs = atMs;
    this.limiter.hits.clear();
    this.#recalled.clear();
  }
}

/** Nothing more comes on the stream, or an error of HTTP came in place of a reply. */
function endsStream({ end, status, own }: Head, { type }: Message): boolean {
  return end !== undefined || own === true || (type !== 'result' && status !== undefined && status >= 400);
}
