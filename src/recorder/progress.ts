/** A request that waits for a person tells its sender so: a notification of ours, recorded like every message, then written between two frames. */
import type { MessageEntry } from '../entry/entry.ts';
import { encodeSaid } from '../wire/wire.ts';
import type { Connection } from './connection.ts';
import { ownMessage } from './own-entries.ts';
import type { RecordDeps } from './record-deps.ts';

/** `line`: with its line end. Of a request of which something was left out its token may be that: then the content of what is said is not stored either. */
export function recordProgress(connection: Connection, request: MessageEntry, index: number, line: Buffer, deps: RecordDeps): void {
  const bytes = line.subarray(0, -1);
  const isConcealed = request.redacted !== undefined;
  const direction = request.direction === 'c2s' ? 's2c' : 'c2s';
  const says = {
    type: 'notification' as const,
    method: 'notifications/progress',
    call: request.call ?? index,
    ...(request.era === undefined ? {} : { era: request.era }),
  };
  const content = ownMessage(request, direction, says, bytes, isConcealed, index, connection, deps);
  const said = encodeSaid({ direction: request.direction === 'c2s' ? 1 : 0, stream: request.stream, line });
  const undo = (): void => void connection.seq--;
  deps.ledger.append(content, { durable: () => connection.socket?.write(said), undo }, { urgent: true });
}
