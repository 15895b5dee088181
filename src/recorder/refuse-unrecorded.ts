/**
 * A frame that is refused and gets no entry: one of a storm of requests that limits refuse. It is counted as what `capture: none` leaves out is, and answered in its turn.
 *
 * What must stay true: it is never delivered, and nothing behind it goes before it is answered. If we die before, its tap sends it again, and it is judged anew.
 */
import type { Ledger } from '../ledger/ledger.ts';
import type { Message } from '../mcp/message.ts';
import { count } from '../policy/session.ts';
import { answerableId, linesFor, refuseFrame, TurnWaiter, type Refused } from './answer.ts';
import type { Connection } from './connection.ts';
import type { Frame } from './frame.ts';
import type { Admitted } from './limiting.ts';
import { joined, type Lines } from './lines.ts';

/** `items`: the message, or those of a batch, each with the verdict `block`. */
export function refuseUnrecorded(
  frame: Frame,
  items: readonly { message: Message; considered: Admitted }[],
  connection: Connection,
  ledger: Pick<Ledger, 'follow' | 'recordable'>,
): void {
  const { direction, unit, first } = frame;
  const way = direction === 0 ? 'c2s' : 's2c';
  const lines: Lines[] = items.map(({ message, considered: { subject, verdict } }) => {
    count(connection.counts, subject, 'block');
    // that a request is a reply, too, is seen in bytes of its own
    const { id, awaited } = answerableId(message.type, message.id, items.length === 1 ? frame.bytes : undefined, connection, way);
    const refused: Refused = { ...verdict, type: message.type };
    // nobody looked for what must not be written
    return { ...linesFor(refused, undefined, id, awaited), isConcealed: connection.judge.anyRedactor !== undefined };
  });
  connection.uncaptured[direction] += frame.units;
  connection.hold(direction, first);
  const refusal = joined(lines);
  ledger.follow(new TurnWaiter(() => refuseFrame(connection, direction, first, unit.unit, refusal)), { urgent: true });
  if (ledger.recordable) connection.judged(direction, unit.unit);
}
