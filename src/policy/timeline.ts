/** One line of time over restarts, reboots and clocks that are set: what went by, as far as somebody's clock can be believed. */

export interface Instant {
  /** The system's name for the time since it started; absent where it has none. */
  bootId?: string | undefined;
  /** Of the monotonic clock, which counts within one boot. */
  monotonicUs: number;
  /** Of the wall clock, UTC. */
  wallUs: number;
}

/**
 * Between two instants of one boot the monotonic clock says how much time went by, whatever was done to the wall clock; over a boot only that one can. What runs backwards counts as no
 * time: a bucket fills no slower than from now on, and none is emptied.
 */
export class Timeline {
  #last: Instant | undefined;
  #atMs = 0;

  /** Milliseconds since the first instant; never less than before. */
  at(instant: Instant): number {
    const last = this.#last;
    if (last !== undefined) {
      const isSameBoot = instant.bootId !== undefined && instant.bootId === last.bootId;
      const elapsedUs = isSameBoot ? instant.monotonicUs - last.monotonicUs : instant.wallUs - last.wallUs;
      if (elapsedUs > 0) this.#atMs += elapsedUs / 1000;
    }
    this.#last = instant;
    return this.#atMs;
  }
}
