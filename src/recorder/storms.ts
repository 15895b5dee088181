/**
 * Requests that limits refuse by the thousand: the first ones have entries, the others are summed up (`policy` entries, `act: limited`), so that whoever asks too much does not fill the
 * ledger with it. What has no entry is counted in its connection's `uncaptured`, too.
 *
 * What must stay true: entries and sums together are all that was refused. If we die, the sums lack what came since the last one; `uncaptured` of the next entry does not.
 */
import type { PolicyEntry } from '../entry/entry.ts';
import type { AppendOptions } from '../ledger/ledger.ts';
import { stormEntries, stormGatherMs, stormsMost } from '../limits.ts';
import { countedFor, type Limited } from '../policy/limits.ts';
import type { Subject } from '../policy/match.ts';
import { askerOf } from './asker.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import type { Attributes } from './seal.ts';

interface Storm {
  connection: string;
  rule: string;
  /** Whom it is about, as it may be written. */
  attributes: Attributes;
  /** Refused requests that have entries. */
  entries: number;
  /** Those that have none, since the last sum; from when to when, wall µs. */
  count: number;
  sinceUs: number;
  untilUs: number;
  /** Monotonic µs: of the last sum, or the beginning; of the last request. */
  summedUs: number;
  lastUs: number;
}

export interface StormsDeps {
  clock: Clock;
  append(entry: PolicyEntry, attributes: Attributes, options: AppendOptions, done: (stored: boolean) => void): void;
}

export class Storms {
  readonly #deps: StormsDeps;
  /** By connection and bucket, the oldest first. */
  readonly #storms = new Map<string, Storm>();

  constructor(deps: StormsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#storms.size;
  }

  /** `requests` are refused that came in one frame. @returns whether they get entries of their own */
  hit(limited: Limited, subject: Subject, requests: number, connection: Connection): boolean {
    const key = `${connection.id} ${limited.key}`;
    const { clock } = this.#deps;
    const nowUs = clock.monotonicUs();
    let storm = this.#storms.get(key);
    if (storm === undefined) {
      if (this.#storms.size >= stormsMost) this.#end(...this.#storms.entries().next().value!);
      const whom = countedFor(limited.limit, askerOf(connection, 0), subject);
      storm = {
        connection: connection.id,
        rule: limited.limit.rule,
        attributes: (connection.judge.anyRedactor?.cleanAll(whom) ?? whom) as Attributes,
        entries: 0,
        count: 0,
        sinceUs: 0,
        untilUs: 0,
        summedUs: nowUs,
        lastUs: nowUs,
      };
      this.#storms.set(key, storm);
    }
    storm.lastUs = nowUs;
    if (storm.entries < stormEntries) {
      storm.entries++;
      return true;
    }
    const wallUs = clock.wallUs(nowUs);
    if (storm.count === 0) storm.sinceUs = wallUs;
    storm.untilUs = wallUs;
    storm.count += requests;
    return false;
  }

  /** Sums up what is due. */
  due(): void {
    const nowUs = this.#deps.clock.monotonicUs();
    // one that cannot be stored is put back
    for (const [key, storm] of [...this.#storms]) {
      if (nowUs - storm.lastUs >= stormGatherMs * 1000) this.#end(key, storm);
      else if (nowUs - storm.summedUs >= stormGatherMs * 1000) this.#sum(key, storm);
    }
  }

  /** Sums up everything, or that of a connection which is about to close. */
  end(connection?: string): void {
    for (const [key, storm] of [...this.#storms]) if (connection === undefined || storm.connection === connection) this.#end(key, storm);
  }

  #end(key: string, storm: Storm): void {
    this.#storms.delete(key);
    this.#sum(key, storm);
  }

  #sum(key: string, storm: Storm): void {
    const { clock } = this.#deps;
    const { count, connection, rule, sinceUs, untilUs } = storm;
    storm.summedUs = clock.monotonicUs();
    if (count === 0) return;
    storm.count = 0;
    const entry: PolicyEntry = {
      ...clock.common('policy'),
      act: 'limited',
      connection,
      rule,
      count,
      since: clock.text(Math.min(sinceUs, untilUs)),
      until: clock.text(untilUs),
    };
    this.#deps.append(entry, storm.attributes, { urgent: true, essential: true }, (stored) => {
      if (stored) return;
      // not even the reserve: it is said with the next sum
      const again = this.#storms.get(key) ?? storm;
      if (again.count === 0) again.untilUs = untilUs;
      again.count += count;
      again.sinceUs = sinceUs;
      this.#storms.set(key, again);
    });
  }
}
