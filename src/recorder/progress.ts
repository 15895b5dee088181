/** A request that waits for a person tells its sender so: a notification of ours, recorded like every message, then written between two frames. */
import type { MessageEntry } from '../entry/entry.ts';
import { encodeSaid } from '../wire/wire.ts';
import type { Connection } from './connection.ts';
import type { RecordDeps } from './record.ts';
import { commitment, seal } from './seal.ts';
import { storedOf } from './store.ts';

/** `line`: with its line end. Of a request of which something was left out its token may be that: then the content of what is said is not stored either. */
export function recordProgress(connection: Connection, request: MessageEntry, index: number, line: Buffer, deps: RecordDeps): void {
  const bytes = line.subarray(0, -1);
  const isConcealed = request.redacted !== undefined;
  const stored = storedOf(bytes, isConcealed ? [{ start: 0, end: bytes.length, rule: 'repeated', keep: 'drop' }] : [], index, deps.findKey);
  const entry: MessageEntry = {
    ...deps.clock.common('message'),
    connection: connection.id,
    stream: request.stream,
    seq: ++connection.seq,
    tapSeq: 0,
    direction: request.direction === 'c2s' ? 's2c' : 'c2s',
    transport: connection.transport,
    server: request.server,
    verdict: 'pass',
    ...(request.rule === undefined ? {} : { rule: request.rule }),
    ...(isConcealed ? { redacted: { repeated: 1 } } : {}),
    origin: 'sworn',
    sizeBytes: bytes.length,
    ...(request.who === undefined ? {} : { who: request.who }),
    ...(request.session === undefined ? {} : { session: request.session }),
    type: 'notification',
    method: 'notifications/progress',
    call: request.call ?? index,
    ...(request.era === undefined ? {} : { era: request.era }),
    segments: stored.hashes.length,
    commitment: commitment(stored.hashes),
    delivered: [connection.delivered[0], connection.delivered[1]],
  };
  const said = encodeSaid({ direction: request.direction === 'c2s' ? 1 : 0, stream: request.stream, line });
  const undo = (): void => void connection.seq--;
  deps.ledger.append(seal(entry, {}, stored.items), { durable: () => connection.socket?.write(said), undo }, { urgent: true });
}
