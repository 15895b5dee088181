/** What the tap is told about a frame once the ledger has taken its entry, or has not: delivered, refused, or passed unrecorded. */
import type { ApprovalDecision, MessageEntry } from '../entry/entry.ts';
import type { Ledger, Receipt, Waiter } from '../ledger/ledger.ts';
import type { EffectFields } from '../mcp/effect.ts';
import { ownRules } from '../policy/verdict.ts';
import { readMessage, type Batch, type Direction, type Message } from '../mcp/message.ts';
import { denied, limited, notApproved, notRecorded, refusalLine, replyWithheld, resultWithheld } from '../wire/refusal.ts';
import type { DirectionIndex } from '../wire/wire.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { noLines, type Lines } from './lines.ts';

const nothing = Buffer.alloc(0);

/** What an entry says of a message that was refused. One that gets none has no `index`. */
export type Refused = Pick<MessageEntry, 'type' | 'rule' | 'reason' | 'problem' | 'retryAfterMs'>;

interface Deps {
  ledger: Ledger;
  clock: Clock;
}

/**
 * The answer to one message that policy refused, from what its entry says: so that the next recorder can say the same. A request is answered to who asked;
 * a reply is replaced for who waits for it; a notification is dropped. An id that is not known whole cannot be answered. `awaited`: of what cannot be read, that
 * it is the reply that somebody waits for; of a request, that it is that, too.
 */
export function linesFor(entry: Refused, index: number | undefined, id: string | undefined, awaited = false): Lines {
  // of what was not delivered its sender hears from us, and from nobody else
  if (id === undefined || !isAnswerable(id) || entry.rule === undefined || entry.rule === ownRules.notSent) return noLines;
  const denial = {
    rule: entry.rule,
    ...(entry.reason === undefined ? {} : { reason: entry.reason }),
    ...(entry.problem === undefined ? {} : { problem: entry.problem }),
    ...(index === undefined ? {} : { index }),
  };
  const { retryAfterMs } = entry;
  const refusal = retryAfterMs === undefined ? denied(denial) : limited(denial, retryAfterMs);
  if (entry.type === 'request') {
    return { toSender: refusalLine(id, refusal), toReceiver: awaited ? refusalLine(id, resultWithheld(denial)) : nothing };
  }
  if (entry.type === 'result' || entry.type === 'error') return { toSender: nothing, toReceiver: refusalLine(id, resultWithheld(denial)) };
  if (entry.type !== 'opaque') return noLines;
  // not to be read as a message, but somebody waits for an answer
  return awaited
    ? { toSender: nothing, toReceiver: refusalLine(id, resultWithheld(denial)) }
    : { toSender: refusalLine(id, denied(denial)), toReceiver: nothing };
}

/** The answer to a request that was asked for and not approved, from what its entry and its `approval` say. `reason`: the approver's words. */
export function linesForApproval(
  { rule }: MessageEntry,
  index: number,
  decision: ApprovalDecision,
  reason: string | undefined,
  id: string | undefined,
  isConcealed: boolean,
): Lines {
  if (decision === 'approved' || decision === 'cancelled' || id === undefined || !isAnswerable(id)) return noLines;
  const denial = { rule: rule!, ...(reason === undefined ? {} : { reason }), index };
  return { toSender: refusalLine(id, notApproved(decision, denial)), toReceiver: nothing, isConcealed };
}

/** A text or a number, whole: of a longer one there is only a beginning, and what a rule keeps from being written may be an id. */
function isAnswerable(id: string): boolean {
  try {
    const value: unknown = JSON.parse(id);
    return typeof value === 'string' || typeof value === 'number';
  } catch {
    return false;
  }
}

/**
 * The id that somebody waits for an answer to. In a frame that is no JSON: the first `"id":` with a token behind it near either end, which is where every
 * implementation writes it. Whoever gets an answer to an id that nobody waits for ignores it. `awaited`: the other side has asked with this id, and the frame is no
 * message, and no request either, or it is a request with a result or an error in it.
 */
export function answerableId(
  type: Message['type'],
  known: string | undefined,
  bytes: Buffer | undefined,
  connection: Connection,
  direction: Direction,
  scope: number = connection.scope,
): { id: string | undefined; awaited: boolean } {
  if (type === 'request' && known !== undefined && bytes !== undefined) {
    return { id: known, awaited: isAwaited(known, connection, direction, scope) && isReplyToo(bytes) };
  }
  if (type !== 'opaque' || bytes === undefined) return { id: known, awaited: false };
  const near = (bytes.length <= 2 * salvageBytes ? [bytes] : [bytes.subarray(0, salvageBytes), bytes.subarray(-salvageBytes)]).map((part) =>
    part.toString('latin1'),
  );
  let id = known;
  for (const part of near) id ??= idIn(part);
  const awaited = id !== undefined && !near.some((text) => /"method"/i.test(text)) && isAwaited(id, connection, direction, scope);
  return { id, awaited };
}

function idIn(text: string): string | undefined {
  const found = /"id"[ \t]{0,8}:[ \t]{0,8}("[^"\\\u0000-\u001f]{0,256}"|-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?)[ \t]{0,8}[,}]/.exec(text);
  return found === null ? undefined : Buffer.from(found[1]!, 'latin1').toString();
}

function isReplyToo(bytes: Buffer): boolean {
  try {
    const message = JSON.parse(bytes.toString()) as object;
    return Object.hasOwn(message, 'result') || Object.hasOwn(message, 'error');
  } catch {
    return false;
  }
}

const salvageBytes = 4 * 1024;

function isAwaited(id: string, connection: Connection, direction: Direction, scope: number): boolean {
  const reply = readMessage(Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{}}`));
  return reply.type === 'result' && connection.exchanges.peek(reply, direction, scope) !== undefined;
}

/** Of an entry that could not be stored there is no index. Unambiguous: within a text of JSON no quote stands bare. */
function withoutIndex({ toSender, toReceiver }: Lines): Lines {
  const without = (lines: Buffer): Buffer => Buffer.from(lines.toString().replaceAll(/,"index":\d+,"executed":/g, ',"executed":'));
  return { toSender: without(toSender), toReceiver: without(toReceiver) };
}

/** Refuses all units of a frame: those before the last one with nothing, so that none of them is taken for passed. */
export function refuseFrame(connection: Connection, direction: DirectionIndex, first: number, last: number, lines: Lines): void {
  for (let unit = first; unit < last; unit++) connection.refuse({ direction, unit, ...noLines });
  connection.refuse({ direction, unit: last, ...lines });
}

/**
 * Waits for an entry of a frame. Thousands of these live at once while the disk is slow: it holds what an answer needs and not the frame, whose bytes
 * would keep the whole chunk in memory that they came in.
 */
export class FrameWaiter implements Waiter {
  readonly #connection: Connection;
  readonly #direction: DirectionIndex;
  readonly #scope: number;
  readonly #first: number;
  readonly #unit: number;
  readonly #message: Message | Batch;
  readonly #effects: Partial<EffectFields>;
  readonly #deps: Deps;
  readonly #isLastOfFrame: boolean;
  readonly #refusal: Lines | undefined;
  readonly undo: () => void;

  /** `first`: the first of its units that is not answered yet. `refusal`: the frame is not delivered, and this is said instead. */
  constructor(
    connection: Connection,
    direction: DirectionIndex,
    first: number,
    unit: number,
    message: Message | Batch,
    effects: Partial<EffectFields>,
    deps: Deps,
    undo: () => void,
    isLastOfFrame: boolean,
    refusal?: Lines,
  ) {
    this.#connection = connection;
    this.#direction = direction;
    this.#scope = connection.scope;
    this.#first = first;
    this.#unit = unit;
    this.#message = message;
    this.#effects = effects;
    this.#deps = deps;
    this.#isLastOfFrame = isLastOfFrame;
    this.#refusal = refusal;
    this.undo = undo;
  }

  durable(receipt: Receipt | undefined): void {
    if (!this.#isLastOfFrame) return;
    if (this.#refusal === undefined) this.#connection.settle(this.#direction, this.#unit, receipt);
    else refuseFrame(this.#connection, this.#direction, this.#first, this.#unit, this.#refusal);
  }

  failed(): void {
    if (!this.#isLastOfFrame) return;
    this.#connection.lose(this.#direction, 'unrecordable', this.#deps.clock.wallUs());
    // what policy refused is refused whatever the disk does
    if (this.#refusal !== undefined) refuseFrame(this.#connection, this.#direction, this.#first, this.#unit, withoutIndex(this.#refusal));
    else unrecordable(this.#connection, this.#direction, this.#unit, this.#message, this.#effects, this.#deps, this.#first, this.#scope);
  }
}

/** Waits for its turn among the entries, for a frame that gets none: nothing is answered out of order. */
export class TurnWaiter implements Waiter {
  readonly durable: () => void;
  readonly failed: () => void;

  constructor(then: () => void) {
    this.durable = then;
    this.failed = then;
  }
}

/** What passed unrecorded: a request waits for its reply, which is judged by it, as one that has no entry. */
function remember(
  message: Message,
  connection: Connection,
  direction: DirectionIndex,
  effects: Partial<EffectFields>,
  deps: Deps,
  scope: number,
): void {
  const from = direction === 0 ? 'c2s' : 's2c';
  if (message.type === 'request') {
    const { request } = connection.exchanges.place(message, from, deps.ledger.nextIndex, 0, scope);
    if (request === undefined) return;
    request.uncaptured = true;
    request.effects = effects as EffectFields;
  } else if (connection.exchanges.peek(message, from, scope)?.uncaptured === true)
    connection.exchanges.place(message, from, deps.ledger.nextIndex, 0, scope);
}

/** The disk would not take a unit: `onUnrecordable` decides. Passing counts as settled, without a receipt. */
export function unrecordable(
  connection: Connection,
  direction: DirectionIndex,
  unit: number,
  message: Message | Batch | undefined,
  effects: Partial<EffectFields>,
  deps: Deps,
  first: number = unit,
  scope: number = connection.scope,
): void {
  const items = message === undefined ? [] : message.type === 'batch' ? message.items.map((one) => one.message) : [message];
  if (connection.onUnrecordable(effects) === 'pass') {
    for (const item of items) remember(item, connection, direction, effects, deps, scope);
    connection.settle(direction, unit);
    return;
  }
  const toSender: Buffer[] = [];
  const toReceiver: Buffer[] = [];
  const reason = deps.ledger.recordable ? 'the entry could not be written' : "the ledger's disk cannot be written";
  for (const item of items) {
    if (item.id === undefined || !isAnswerable(item.id)) continue;
    if (item.type === 'request') toSender.push(refusalLine(item.id, notRecorded(reason)));
    else if (item.type === 'result' || item.type === 'error') {
      toReceiver.push(refusalLine(item.id, replyWithheld(reason)));
      // nobody waits for another one
      const request = connection.exchanges.peek(item, direction === 0 ? 'c2s' : 's2c', scope);
      if (request !== undefined) connection.exchanges.vacate(request);
    }
  }
  refuseFrame(connection, direction, first, unit, { toSender: Buffer.concat(toSender), toReceiver: Buffer.concat(toReceiver) });
}
