/**
 * What a tap was told, or is to be told, of units that were refused: for one whose socket broke before it had read it, and for the next recorder. What must stay true: a unit
 * that was refused is answered as refused, or with nothing to be written, however often its tap comes back; never as delivered.
 */
import { tapWindowUnits } from '../limits.ts';
import { encodeRefusal, type DirectionIndex, type Refusal } from '../wire/wire.ts';

/** A tap has at most its window on the way, and what one chunk holds beyond it; of refusals it needs those that it may not have read. */
const keptRefusals = tapWindowUnits;
const none = { toSender: Buffer.alloc(0), toReceiver: Buffer.alloc(0) };

/** Units from one to another, both among them. */
type Range = [first: number, last: number];

/** A refusal whose lines may repeat what must not be written. */
export type KeptRefusal = Refusal & { isConcealed?: boolean };

export interface RefusalsState {
  /** `message`: as the tap is told it, in base64. */
  refusals?: { direction: DirectionIndex; unit: number; message: string }[];
  withheld?: readonly [Range[], Range[]];
}

export class Refusals {
  /** The last ones by unit, oldest first. */
  readonly #messages: readonly [Map<number, Buffer>, Map<number, Buffer>] = [new Map(), new Map()];
  /** Of them those whose lines repeat what must not be written. */
  readonly #unwritten: readonly [Set<number>, Set<number>] = [new Set(), new Set()];
  /** Units that were refused before those: nothing is answered for them any more, but they must not be delivered. */
  readonly #withheld: readonly [Range[], Range[]] = [[], []];

  constructor({ refusals = [], withheld }: RefusalsState = {}) {
    for (const { direction, unit, message } of refusals) this.#messages[direction].set(unit, Buffer.from(message, 'base64'));
    for (const direction of [0, 1] as const) this.#withheld[direction].push(...(withheld?.[direction] ?? []));
  }

  /** `delivered`: up to where its tap has gone on. @returns what the tap is told */
  keep(refusal: KeptRefusal, delivered: number): Buffer {
    const { direction, unit, isConcealed = false } = refusal;
    const message = encodeRefusal(refusal);
    const kept = this.#messages[direction];
    if (isConcealed) this.hide(direction, unit);
    kept.delete(unit);
    kept.set(unit, message);
    for (const oldest of kept.keys()) {
      // the tap has gone on behind it
      const isKnown = oldest <= delivered && oldest !== unit;
      if (!isKnown && kept.size <= keptRefusals) break;
      kept.delete(oldest);
      this.#unwritten[direction].delete(oldest);
      if (!isKnown) addUnit(this.#withheld[direction], oldest, delivered);
    }
    return message;
  }

  /** The lines of this unit repeat what must not be written any more. */
  hide(direction: DirectionIndex, unit: number): void {
    this.#unwritten[direction].add(unit);
  }

  /** Everything again, for a tap that came back. */
  *again(): Generator<Buffer> {
    for (const direction of [0, 1] as const) {
      for (const [first, last] of this.#withheld[direction]) {
        for (let unit = first; unit <= last; unit++) yield encodeRefusal({ direction, unit, ...none });
      }
      yield* this.#messages[direction].values();
    }
  }

  /** For the next recorder: those that the tap has not told to be behind it. */
  toJSON(delivered: readonly [number, number]): RefusalsState {
    return {
      refusals: ([0, 1] as const).flatMap((direction) =>
        [...this.#messages[direction]]
          .filter(([unit]) => unit > delivered[direction])
          .map(([unit, message]) => {
            // the next recorder must know that it was refused, and nothing that must not be written
            const written = this.#unwritten[direction].has(unit) ? encodeRefusal({ direction, unit, ...none }) : message;
            return { direction, unit, message: written.toString('base64') };
          }),
      ),
      ...(this.#withheld.some((ranges) => ranges.length > 0) ? { withheld: this.#withheld } : {}),
    };
  }
}

/** Units come in order; those that the tap has gone on behind are of no use any more. */
function addUnit(ranges: Range[], unit: number, delivered: number): void {
  while (ranges.length > 0 && ranges[0]![1] <= delivered) ranges.shift();
  const last = ranges.at(-1);
  if (last !== undefined && last[1] + 1 === unit) last[1] = unit;
  else ranges.push([unit, unit]);
}
