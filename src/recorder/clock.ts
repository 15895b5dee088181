/** Wall time in microseconds that follows the system's clock, and the monotonic clock that taps on the same machine share. */

import { readFileSync } from 'node:fs';
import type { Entry } from '../entry/entry.ts';

/** The wall clock has milliseconds; between two of them the monotonic clock counts. More than this apart, the wall clock was set. */
const driftUs = 1500;

export class Clock {
  #offsetUs = 0;
  #secondText = '';
  #second = -1;

  /** Microseconds of the monotonic clock: on Linux CLOCK_MONOTONIC, the same for all processes of a machine. */
  monotonicUs(): number {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1e6 + Math.floor(nanoseconds / 1000);
  }

  /** Microseconds since 1970, UTC. */
  wallUs(monotonicUs = this.monotonicUs()): number {
    const milliUs = Date.now() * 1000;
    const wallUs = monotonicUs + this.#offsetUs;
    if (wallUs < milliUs - driftUs || wallUs > milliUs + 1000 + driftUs) {
      this.#offsetUs = milliUs - monotonicUs;
      return milliUs;
    }
    return wallUs;
  }

  /** RFC 3339, UTC, six decimals. */
  text(wallUs: number): string {
    const second = Math.floor(wallUs / 1e6);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, 19);
    }
    return `${this.#secondText}.${String(Math.floor(wallUs - second * 1e6)).padStart(6, '0')}Z`;
  }

  /** What every entry says, as of now. */
  common<K extends Entry['kind']>(kind: K): { v: 1; kind: K; time: string; monotonicUs: number } {
    const monotonicUs = this.monotonicUs();
    return { v: 1, kind, time: this.text(this.wallUs(monotonicUs)), monotonicUs };
  }
}

/** The system's name for the time since it started, where it has one. */
export function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return undefined;
  }
}
