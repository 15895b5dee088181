/** Entries that we make ourselves beside those of frames: how connections and principals begin and come back, and what we say in place of what was refused. */
import type { Direction, MessageEntry, RecoveryEntry } from '../entry/entry.ts';
import { readMessage, type Message } from '../mcp/message.ts';
import type { Lines } from './answer.ts';
import type { Connection } from './connection.ts';
import type { RecordDeps } from './record.ts';
import { commitment, seal } from './seal.ts';
import type { NamedPrincipal } from './speaker.ts';
import { storedOf } from './store.ts';

const nothing = (): void => undefined;

/** What we say in a message's place is a message, too (`origin: sworn`), and ends the exchange of a request: an entry for each side that is told, the sender's first. */
export function recordRefusal(
  refused: MessageEntry,
  index: number,
  { toSender, toReceiver }: Lines,
  isConcealed: boolean,
  connection: Connection,
  deps: RecordDeps,
): void {
  if (toSender.length > 0) recordAnswer(refused, index, toSender, true, isConcealed, connection, deps);
  if (toReceiver.length > 0) recordAnswer(refused, index, toReceiver, false, isConcealed, connection, deps);
}

function recordAnswer(
  refused: MessageEntry,
  index: number,
  line: Buffer,
  isAnswer: boolean,
  isConcealed: boolean,
  connection: Connection,
  deps: RecordDeps,
): void {
  const bytes = line.subarray(0, -1);
  const direction: Direction = isAnswer ? (refused.direction === 'c2s' ? 's2c' : 'c2s') : refused.direction;
  // what is a reply too is replaced for whoever waits for one: that ends another exchange than its own
  const isOther = !isAnswer && refused.type === 'request';
  const replaced = isOther ? connection.exchanges.place(readMessage(bytes) as Message, direction, index, 0, connection.scope) : undefined;
  const exchange = isOther ? replaced?.exchange : isAnswer ? (refused.type === 'request' ? index : undefined) : refused.exchange;
  // it repeats the id
  const stored = storedOf(bytes, isConcealed ? [{ start: 0, end: bytes.length, rule: 'repeated', keep: 'drop' }] : [], index, deps.findKey);
  const monotonicUs = deps.clock.monotonicUs();
  // of the other exchange its request says it
  const { method, target, era, effect, effectSource, sensitive, destructive }: Partial<MessageEntry> = isOther ? {} : refused;
  const entry: MessageEntry = {
    v: 1,
    kind: 'message',
    time: deps.clock.text(deps.clock.wallUs(monotonicUs)),
    monotonicUs,
    connection: connection.id,
    stream: refused.stream,
    seq: ++connection.seq,
    tapSeq: 0,
    direction,
    transport: connection.transport,
    server: refused.server,
    verdict: 'pass',
    ...(refused.rule === undefined ? {} : { rule: refused.rule }),
    ...(isConcealed ? { redacted: { repeated: 1 } } : {}),
    origin: 'sworn',
    sizeBytes: bytes.length,
    ...(refused.who === undefined ? {} : { who: refused.who }),
    ...(refused.session === undefined ? {} : { session: refused.session }),
    type: 'error',
    ...(refused.id === undefined ? {} : { id: refused.id }),
    ...(exchange === undefined ? {} : { exchange }),
    ...(method === undefined ? {} : { method }),
    ...(target === undefined ? {} : { target }),
    ...(era === undefined ? {} : { era }),
    ...(effect === undefined ? {} : { effect }),
    ...(effectSource === undefined ? {} : { effectSource }),
    ...(sensitive === undefined ? {} : { sensitive }),
    ...(destructive === undefined ? {} : { destructive }),
    outcome: 'error',
    code: (readMessage(bytes) as Message).code ?? 4030,
    segments: stored.hashes.length,
    commitment: commitment(stored.hashes),
    delivered: [connection.delivered[0], connection.delivered[1]],
  };
  const undoSeq = (): void => void connection.seq--;
  const unanswer = replaced === undefined && exchange === index ? connection.exchanges.answered(index) : nothing;
  const undo = (): void => {
    replaced?.undo();
    unanswer();
    undoSeq();
  };
  deps.ledger.append(seal(entry, {}, stored.items), { durable: nothing, undo }, { urgent: true });
}

/**
 * `open` and `principal`, or only the second where an earlier recorder died between the two. If they cannot be stored, the next frame tries again.
 * `essential`: a `close` follows, which must not stand without them.
 */
export function recordOpening(connection: Connection, deps: RecordDeps, essential = false): void {
  // It would be refused, but only later: a `close` that comes before must not take it for recorded.
  if (!essential && !deps.ledger.recordable) return;
  const { open, openAttributes, principal, principalAttributes } = deps.openingOf(connection);
  const options = { urgent: connection.wait === 'receipt', essential };
  if (!connection.isRecorded) {
    connection.isRecorded = true;
    deps.ledger.append(seal(open, openAttributes), { durable: () => undefined, undo: () => void (connection.isRecorded = false) }, options);
  }
  // behind a proxy each frame says whose it is
  if (connection.transport === 'http') return;
  connection.who = deps.ledger.nextIndex;
  deps.ledger.append(seal(principal, principalAttributes), { durable: () => undefined, undo: () => void (connection.who = undefined) }, options);
}

/** `principal` of somebody whom a proxy named. If it cannot be stored, their next frame tries again. */
export function recordPrincipal(principal: NamedPrincipal, connection: Connection, deps: RecordDeps): void {
  const { entry, attributes } = deps.http!.principalOf(principal, connection);
  principal.index = deps.ledger.nextIndex;
  const undo = (): void => void (principal.index = undefined);
  deps.ledger.append(seal(entry, attributes), { durable: () => undefined, undo }, { urgent: connection.wait === 'receipt' });
}

/** `recovery` with `resumed`. If it cannot be stored, whatever comes next of the connection tries again first, so that nothing stands behind a `close` without it. */
export function recordReturn(connection: Connection, deps: RecordDeps, essential = false): void {
  if (!essential && !deps.ledger.recordable) return;
  connection.isReturnDue = false;
  const monotonicUs = deps.clock.monotonicUs();
  const entry: RecoveryEntry = {
    v: 1,
    kind: 'recovery',
    time: deps.clock.text(deps.clock.wallUs(monotonicUs)),
    monotonicUs,
    reason: 'resumed',
    connection: connection.id,
  };
  const options = { urgent: connection.wait === 'receipt', essential };
  deps.ledger.append(seal(entry), { durable: () => undefined, undo: () => void (connection.isReturnDue = true) }, options);
}
