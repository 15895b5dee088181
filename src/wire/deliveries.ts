/**
 * Which frames of one direction are with their receivers, where every stream has a receiver of its own. What a frame says of it is one number for all streams
 * (`through`): it runs over frames that nobody gets any more, and after a while over those whose receiver does not take them, so that no client can keep the
 * deliveries of all others unknown. Those are named instead, and named again should they arrive after all (`spec/wire.md`, HTTP).
 *
 * What must stay true: `through` runs over a frame only after it was named; frames of a stream arrive in order; frames are let go in order of their units, over all streams.
 */
import type { Head } from './wire.ts';

interface Frame {
  first: number;
  stream: number;
  /** Who and which session: what a head of its stream begins with. */
  common: Head;
  /** When it was let go; `undefined`: it is still held. */
  passedAtMs: number | undefined;
  isWithheld: boolean;
}

/** What is to be said of a stream: a range of last units of its frames. */
export interface Named {
  stream: number;
  head: Head;
}

export class Deliveries {
  /** By last unit, in their order. */
  readonly #open = new Map<number, Frame>();
  /** Named as not delivered, and perhaps still on their way. */
  readonly #late = new Map<number, Frame>();
  #arrived: [unit: number, frame: Frame][] = [];
  /** Frames that are kept from their receivers, though a recorder may have them. */
  #withheld = 0;

  /** A frame was handed over. Units ascend. */
  begin(first: number, last: number, stream: number, { who, session }: Head): void {
    this.#open.set(last, { first, stream, common: { who, ...(session === undefined ? {} : { session }) }, passedAtMs: undefined, isWithheld: false });
  }

  /** It may be delivered. */
  passed(last: number, nowMs: number): void {
    const frame = this.#open.get(last);
    if (frame !== undefined) frame.passedAtMs ??= nowMs;
  }

  /** Its receiver has it. */
  done(last: number): void {
    if (this.#remove(last)) return;
    const frame = this.#late.get(last);
    if (frame === undefined) return;
    this.#late.delete(last);
    this.#arrived.push([last, frame]);
  }

  /** Nobody gets it any more. Of one that was let go it must have been said. */
  over(last: number): void {
    if (!this.#remove(last)) this.#late.delete(last);
  }

  /** Nobody gets it, and whether it is recorded is not known: it is named as soon as somebody can be told. */
  withheld(last: number): void {
    const frame = this.#open.get(last);
    if (frame === undefined) return;
    if (this.#withheld >= withheldMost) this.#remove(last);
    else if (!frame.isWithheld) {
      frame.isWithheld = true;
      this.#withheld++;
    }
  }

  #remove(last: number): boolean {
    if (this.#open.get(last)?.isWithheld === true) this.#withheld--;
    return this.#open.delete(last);
  }

  /** All up to this unit are with their receivers, or named, or nobody's. `lastUnit`: the last that was given a number. */
  through(lastUnit: number): number {
    for (const { first } of this.#open.values()) return first - 1;
    return lastUnit;
  }

  /** Says what is to be said now: of each stream the frames that were let go `waitMs` ago and did not arrive, or were withheld, and those that arrived after it was said of them. */
  due(nowMs: number, waitMs: number, say: (named: Named) => void): void {
    const missing: [number, Frame][] = [];
    for (const [last, frame] of this.#open) {
      const isLate = frame.passedAtMs !== undefined && nowMs - frame.passedAtMs >= waitMs;
      if (isLate || frame.isWithheld) missing.push([last, frame]);
      // those behind it were let go later still
      else if (this.#withheld === 0) break;
    }
    for (const one of named(missing, 'undelivered')) say(one);
    for (const [last, frame] of missing) {
      this.#remove(last);
      if (!frame.isWithheld) this.#late.set(last, frame);
    }
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const one of named(arrived, 'delivered')) say(one);
  }
}

/** Of more, of a recorder that never comes back, nothing is kept. */
const withheldMost = 8_192;

function named(frames: readonly (readonly [number, Frame])[], field: 'undelivered' | 'delivered'): Named[] {
  const ranges = new Map<number, { common: Head; range: [number, number] }>();
  for (const [last, { stream, common }] of frames) {
    const known = ranges.get(stream);
    if (known === undefined) ranges.set(stream, { common, range: [last, last] });
    else known.range[1] = last;
  }
  return [...ranges].map(([stream, { common, range }]) => ({ stream, head: { ...common, [field]: range } }));
}
