/**
 * What of a connection is out of its tap's line: frames that wait for a person, and the last ones that do not any more. A tap whose socket broke may not have heard
 * of either, so each that comes back is told again, before `welcome` makes it take everything durable for passed.
 *
 * What must stay true: a tap is told to deliver such a frame only once the approval is durable; one that has delivered or dropped it ignores whatever comes again.
 */
import { pendingApprovalsOfOne } from '../limits.ts';
import { encodeAside, encodeRefusal, encodeRelease, type Aside, type DirectionIndex } from '../wire/wire.ts';
import type { Lines } from './lines.ts';

/** A frame that was decided. */
interface Over {
  aside: Aside;
  /** What the tap is told; absent until the decision is durable. */
  message: Buffer | undefined;
  /** Written beside the ledger in its place: it repeats nothing that must not be written. */
  written: Buffer;
  /** The last units that the recorder had then: a tap that has delivered a later one has read what was told. */
  behind: [number, number];
}

/** As it stands in a snapshot. */
export interface OverState {
  direction: DirectionIndex;
  first: number;
  last: number;
  message: string;
  behind: [number, number];
}

/** More than may wait at a time, so that what a tap can have missed is here. */
const keptOver = 2 * pendingApprovalsOfOne;
const none = Buffer.alloc(0);

export class Asides {
  readonly #waiting = new Map<string, Aside>();
  /** The oldest first. */
  readonly #over = new Map<string, Over>();

  constructor(state: readonly OverState[] = []) {
    for (const { direction, first, last, message, behind } of state) {
      const bytes = Buffer.from(message, 'base64');
      const aside = { direction, first, last };
      this.#over.set(keyOf(aside), { aside, message: bytes, written: bytes, behind });
    }
  }

  /** The bytes that tell the tap that it waits. */
  add(aside: Aside): Buffer {
    this.#waiting.set(keyOf(aside), aside);
    return encodeAside(aside);
  }

  /** It is decided: delivered, or with `lines` refused. Nothing is told before `tell`. `taken`, `delivered`: units, as the recorder knows them. */
  decide(aside: Aside, lines: Lines | undefined, taken: readonly [number, number], delivered: readonly [number, number]): void {
    for (const [key, { behind, message }] of this.#over) {
      const isRead = delivered[0] > behind[0] || delivered[1] > behind[1];
      if (message === undefined || (!isRead && this.#over.size < keptOver)) break;
      this.#over.delete(key);
    }
    const written = lines === undefined ? encodeRelease(aside.direction, aside.last) : refusals(aside, lines.isConcealed ? none : lines.toSender);
    this.#over.set(keyOf(aside), { aside, message: undefined, written, behind: [taken[0], taken[1]] });
  }

  /** The decision is durable. The answer: what the tap is told of it. */
  tell(aside: Aside, lines: Lines | undefined): Buffer {
    this.#waiting.delete(keyOf(aside));
    const over = this.#over.get(keyOf(aside));
    const message = lines === undefined ? encodeRelease(aside.direction, aside.last) : refusals(aside, lines.toSender);
    if (over !== undefined) over.message = message;
    return message;
  }

  /** The decision could not be stored: it waits on. */
  takeBack(aside: Aside): void {
    this.#over.delete(keyOf(aside));
  }

  /** What a tap that comes back is told. `kept`: what it still keeps; of what is not known here, it must deliver nothing. */
  *again(kept: { c2s: readonly number[]; s2c: readonly number[] } = { c2s: [], s2c: [] }): Generator<Buffer> {
    for (const aside of this.#waiting.values()) yield encodeAside(aside);
    for (const { aside, message } of this.#over.values()) {
      if (message === undefined) continue;
      yield encodeAside(aside);
      yield message;
    }
    for (const [direction, units] of [kept.c2s, kept.s2c].entries()) {
      for (const last of units) {
        const key = `${direction}:${last}`;
        if (!this.#waiting.has(key) && !this.#over.has(key))
          yield encodeRefusal({ direction: direction as DirectionIndex, unit: last, toSender: none, toReceiver: none });
      }
    }
  }

  toJSON(): OverState[] {
    return [...this.#over.values()].map(({ aside, written, behind }) => ({ ...aside, message: written.toString('base64'), behind }));
  }
}

function keyOf({ direction, last }: Aside): string {
  return `${direction}:${last}`;
}

/** Of all its units: a tap that has not put it aside has them in its line. */
function refusals({ direction, first, last }: Aside, toSender: Buffer): Buffer {
  const messages: Buffer[] = [];
  for (let unit = first; unit < last; unit++) messages.push(encodeRefusal({ direction, unit, toSender: none, toReceiver: none }));
  messages.push(encodeRefusal({ direction, unit: last, toSender, toReceiver: none }));
  return Buffer.concat(messages);
}
