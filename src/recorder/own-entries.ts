/** Entries that we make ourselves beside those of frames: how connections and principals begin and come back, and what we say in place of what was refused. */
import type { Direction, MessageEntry, RecoveryEntry } from '../entry/entry.ts';
import type { Content } from '../ledger/ledger.ts';
import { readMessage, type Message } from '../mcp/message.ts';
import type { Connection } from './connection.ts';
import type { Lines } from './lines.ts';
import type { RecordDeps } from './record-deps.ts';
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
  // of the other exchange its request says it
  const { method, target, era, effect, effectSource, sensitive, destructive }: Partial<MessageEntry> = isOther ? {} : refused;
  const says: Says = {
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
  };
  const content = ownMessage(refused, direction, says, bytes, isConcealed, index, connection, deps);
  const unanswer = replaced === undefined && exchange === index ? connection.exchanges.answered(index) : nothing;
  const undo = (): void => {
    replaced?.undo();
    unanswer();
    connection.seq--;
  };
  deps.ledger.append(content, { durable: nothing, undo }, { urgent: true });
}

/** What a message of ours says of itself, beside that it is one. */
type Says = Pick<MessageEntry, 'type'> & Partial<MessageEntry>;

/**
 * A message that we say ourselves because of a request or a reply (`about`), with the next number of its connection. `isConcealed`: it repeats what must not be
 * stored, of which only the hash goes in.
 */
export function ownMessage(
  about: MessageEntry,
  direction: Direction,
  says: Says,
  bytes: Buffer,
  isConcealed: boolean,
  index: number,
  connection: Connection,
  deps: RecordDeps,
): Content {
  const stored = storedOf(bytes, isConcealed ? [{ start: 0, end: bytes.length, rule: 'repeated', keep: 'drop' }] : [], index, deps.findKey);
  const entry: MessageEntry = {
    ...deps.clock.common('message'),
    connection: connection.id,
    stream: about.stream,
    seq: ++connection.seq,
    tapSeq: 0,
    direction,
    transport: connection.transport,
    server: about.server,
    verdict: 'pass',
    ...(about.rule === undefined ? {} : { rule: about.rule }),
    ...(isConcealed ? { redacted: { repeated: 1 } } : {}),
    origin: 'sworn',
    sizeBytes: bytes.length,
    ...(about.who === undefined ? {} : { who: about.who }),
    ...(about.session === undefined ? {} : { session: about.session }),
    ...says,
    segments: stored.hashes.length,
    commitment: commitment(stored.hashes),
    delivered: [connection.delivered[0], connection.delivered[1]],
  };
  return seal(entry, {}, stored.items);
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
  const entry: RecoveryEntry = { ...deps.clock.common('recovery'), reason: 'resumed', connection: connection.id };
  const options = { urgent: connection.wait === 'receipt', essential };
  deps.ledger.append(seal(entry), { durable: () => undefined, undo: () => void (connection.isReturnDue = true) }, options);
}
