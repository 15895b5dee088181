/** What is found out about a message before anything is changed: which request it answers, what it does, and what policy says of it. */
import { effectOf } from '../mcp/effect.ts';
import type { PendingRequest } from '../mcp/exchange.ts';
import type { Batch, Message } from '../mcp/message.ts';
import { subjectOf } from '../policy/judge.ts';
import { asks } from '../policy/match.ts';
import { isNoMessage } from '../policy/no-message.ts';
import { count, uncount } from '../policy/session.ts';
import { ownRules, passes, type Verdict } from '../policy/verdict.ts';
import { bare } from '../wire/wire.ts';
import { askable, notSent } from './asking.ts';
import type { Connection } from './connection.ts';
import { directions, type Frame } from './frame.ts';
import { isOtherCharset } from './http.ts';
import type { Admitted } from './limiting.ts';
import { stricter, type Pinning } from './pins.ts';
import type { RecordDeps } from './record-deps.ts';

/** A message with what was found out about it before anything was changed. */
export interface Considered extends Admitted {
  request: PendingRequest | undefined;
  pinning?: Pinning | undefined;
  /** It takes back the request of this entry, which waits for a person. */
  cancels?: number;
}

/** Steps 2 and 3 for one message: which request it answers, what it does, and what policy says of it. Changes nothing. */
export function consider(frame: Frame, message: Message, connection: Connection, deps: RecordDeps, range?: [number, number]): Considered {
  const { judge } = connection;
  const direction = directions[frame.direction];
  const isReply = message.type === 'result' || message.type === 'error';
  const named = isReply || message.cancels !== undefined ? connection.exchanges.peek(message, direction, connection.scope) : undefined;
  const isUnsent = named !== undefined && frame.refusable && deps.approvals?.isWaiting(named.index) === true;
  // what was not delivered has no reply, and waits for none
  const request = isReply && !isUnsent ? named : undefined;
  const effects = isReply
    ? (request?.effects ?? {})
    : asks(message)
      ? effectOf(message, connection.tools, connection.overrides, judge.word(message.method === 'tools/call' ? message.target?.value : undefined))
      : {};
  const subject = subjectOf(message, direction, effects, request);
  if ((frame.unit.flags & bare) !== 0) return { subject, verdict: passes, request };
  if (isUnsent && isReply) return { subject, verdict: notSent, request };
  // its first units are refused
  const isTooLarge = frame.tooLarge !== undefined && frame.refusable;
  if (judge.isIdle && deps.freezes.length === 0 && !isTooLarge && !isUnsent) return { subject, verdict: passes, request };
  const bytes = range === undefined ? frame.bytes : frame.bytes?.subarray(...range);
  const anomalies = [...message.anomalies];
  if (message.type === 'request') {
    if (connection.exchanges.isWaiting(message, direction, connection.scope)) anomalies.push('id-reused');
    if (!isPairable(message)) anomalies.push('id-not-scalar');
  }
  const { head } = frame.unit;
  if (head !== undefined && isOtherCharset(head, direction)) anomalies.push('other-charset');
  const around = head === undefined || range !== undefined ? undefined : { ...head, direction, isEvent: head.sse !== undefined };
  const noMessage = around !== undefined && isNoMessage(message.type, anomalies, bytes, around);
  const nowMs = deps.clock.wallUs() / 1000;
  const sizeBytes = range === undefined ? frame.sizeBytes : range[1] - range[0];
  let verdict: Verdict =
    isTooLarge || (frame.tooLarge !== undefined && judge.mayRefuse(deps.freezes, nowMs))
      ? { kind: 'block', rule: ownRules.tooLarge, reason: 'longer than can be judged' }
      : judge.judge({ ...subject, anomalies, bytes, sizeBytes, isNoMessage: noMessage }, connection.counts, deps.freezes, nowMs);
  const pinning = deps.pinner?.consider(message, subject, bytes, connection);
  verdict = stricter(verdict, pinning?.verdict);
  // It is with its receiver: a rule came into force too late for it, and the record must not say that it was kept from it.
  if ((verdict.kind === 'block' || verdict.kind === 'ask') && !frame.refusable)
    verdict = { ...verdict, kind: 'flag', shadow: true, problem: 'delivered-before' };
  if (verdict.kind === 'ask') verdict = askable(verdict, message, sizeBytes, range !== undefined, connection, deps.approvals);
  if (isUnsent && verdict.kind !== 'block') return { subject, verdict: notSent, request, cancels: named.index, pinning };
  return { subject, verdict, request, pinning };
}

/** `null` is what servers answer to an id that they cannot keep, such as a number beyond every double: nobody could say to what. */
function isPairable({ id, idKey }: Message): boolean {
  return idKey !== undefined && (idKey.startsWith('s') || Number.isFinite(Number(id)));
}

/** Items are judged in order, each as if those before it had been let through. */
export function considerBatch(frame: Frame, batch: Batch, connection: Connection, deps: RecordDeps): Considered[] {
  const considered = batch.items.map(({ message, range }) => {
    const whole = batch.anomalies.length === 0 ? message : { ...message, anomalies: [...message.anomalies, ...batch.anomalies] };
    const one = consider(frame, whole, connection, deps, range);
    count(connection.counts, one.subject, one.verdict.kind, message.outcome === 'toolError');
    return one;
  });
  for (const [item, { subject, verdict }] of considered.entries())
    uncount(connection.counts, subject, verdict.kind, batch.items[item]!.message.outcome === 'toolError');
  return considered;
}

/** The others of a batch with an item that is refused. */
export function sayNotSent(considered: readonly Considered[], refusedItem: number): void {
  const { rule, retryAfterMs } = considered[refusedItem]!.verdict;
  const said = { ...(rule === undefined ? {} : { rule }), ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  for (const one of considered) {
    if (one.verdict.kind !== 'block') one.verdict = { kind: 'block', ...said, reason: `not sent: item ${refusedItem} was refused` };
  }
}
