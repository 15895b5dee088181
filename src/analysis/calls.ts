/**
 * One logical call from its first request to its end (`call` in `spec/entry.md`): of a tool with everything that belongs to it, or one request of a client and its
 * reply. The one place where a call's state is decided.
 */
import type { ApprovalEntry, Effect, Entry, MessageEntry } from '../entry/entry.ts';
import { approvalOf, passedBy } from './approvals.ts';
import type { Approval, ApprovedBy, CallState } from './rows.ts';

/** One message that belongs to a call. */
export interface Leg {
  index: number;
  entry: MessageEntry;
}

export interface Call {
  /** Of its first request. */
  index: number;
  connection: string;
  session?: number;
  who?: number;
  server: string;
  method: string;
  target?: string;
  effect?: Effect;
  sensitive?: true;
  destructive?: true;
  /** Of a request that was refused, or that a person was asked about. */
  rule?: string;
  /** A person was asked about it. */
  isAsked?: true;
  approval?: Approval;
  /** Of calls of writing effect, and of those that a person let happen. */
  approvedBy?: ApprovedBy;
  beganAt: string;
  /** Of its last message so far. */
  endedAt: string;
  state: CallState;
  /** The JSON-RPC code of an error. */
  code?: number;
  /** From its first request to its end: of one request and its reply as the tap measured it and the reply's entry says it, else by the times of entries. */
  durationUs?: number;
  /** Requests of the client: more than one where it was asked again, or for a task. */
  requests: number;
  /** How often somebody was asked for something meanwhile. */
  asked: number;
  /** What the server said of its task last. */
  taskStatus?: string;
  /** Indexes of its messages: of more than `legsMost` the first, and the last. */
  legs: number[];
}

const legsMost = 1_000;
const openedFirst = 48;
const openedLast = 16;
const over: ReadonlySet<unknown> = new Set(['completed', 'failed', 'cancelled']);

/** A call and what decides about its end. JSON. */
export interface Begun {
  call: Call;
  beganUs: number;
  isModern: boolean;
  isOver: boolean;
}

/** Those that are opened with a call: of very many the first and the last, for a server that says much beforehand hides its answer by it. */
export function openedLegs(legs: readonly number[]): readonly number[] {
  return legs.length <= openedFirst + openedLast ? legs : [...legs.slice(0, openedFirst), ...legs.slice(-openedLast)];
}

export function begin(index: number, entry: MessageEntry): Begun {
  const isBlocked = entry.verdict === 'block';
  const call: Call = {
    index,
    connection: entry.connection,
    ...(entry.session === undefined ? {} : { session: entry.session }),
    ...(entry.who === undefined ? {} : { who: entry.who }),
    server: entry.server,
    method: entry.method ?? '',
    ...(entry.target === undefined ? {} : { target: entry.target }),
    ...(entry.effect === undefined ? {} : { effect: entry.effect }),
    ...(entry.sensitive === undefined ? {} : { sensitive: entry.sensitive }),
    ...(entry.destructive === undefined ? {} : { destructive: entry.destructive }),
    ...(entry.rule === undefined || (!isBlocked && entry.verdict !== 'ask') ? {} : { rule: entry.rule }),
    ...(entry.verdict === 'ask' ? { isAsked: true } : {}),
    ...approvedFrom(entry),
    beganAt: entry.time,
    endedAt: entry.time,
    state: isBlocked ? 'blocked' : 'open',
    requests: 1,
    asked: 0,
    legs: [index],
  };
  return { call, beganUs: entry.monotonicUs, isModern: entry.era === 'modern', isOver: isBlocked };
}

function approvedFrom(entry: MessageEntry): Pick<Call, 'approvedBy'> {
  const approvedBy = entry.effect === 'write' ? passedBy(entry) : undefined;
  return approvedBy === undefined ? {} : { approvedBy };
}

/** One of its requests waits no more. What was not approved never happened; what its sender took back is cancelled. */
export function decide(one: Begun, index: number, entry: ApprovalEntry, attributes?: Readonly<Record<string, unknown>>): void {
  const { call } = one;
  call.approval = approvalOf(index, entry, attributes);
  call.endedAt = entry.time;
  if (entry.decision === 'approved') {
    call.approvedBy = 'person';
    return;
  }
  delete call.approvedBy;
  call.state = entry.decision === 'cancelled' ? 'cancelled' : 'blocked';
  one.isOver = true;
}

/** A further message of a call. Whether the message is the reply that ended it. */
export function advance(one: Begun, index: number, entry: MessageEntry): boolean {
  const { call } = one;
  // of very many the newest takes the last place: the answer comes last
  if (call.legs.length < legsMost) call.legs.push(index);
  else call.legs[legsMost - 1] = index;
  call.endedAt = entry.time;
  // what was refused never began: our own answer to it changes nothing
  if (call.state === 'blocked') {
    one.isOver = true;
    return entry.type === 'error' && entry.direction === 's2c';
  }
  const isRequest = entry.type === 'request';
  if (isRequest && entry.direction === 'c2s') call.requests++;
  else if (isRequest || entry.resultType === 'input_required') call.asked++;
  if (entry.taskStatus !== undefined) call.taskStatus = entry.taskStatus;
  if (entry.method === 'notifications/cancelled' && entry.direction === 'c2s') {
    call.state = 'cancelled';
    return false;
  }
  // who leaves has cancelled (MCP 2026-07-28, Streamable HTTP, cancellation); before that revision the answer may still come on another stream
  const { end } = entry.http ?? {};
  if (end === 'cancelled before delivery' || (end === 'client closed' && one.isModern)) {
    call.state = 'cancelled';
    one.isOver = true;
    return false;
  }
  // what a client answers to its server ends nothing
  const isReply = (entry.type === 'result' || entry.type === 'error') && entry.direction === 's2c';
  if (!isReply && !over.has(entry.taskStatus)) return false;
  if (isReply && (entry.resultType === 'input_required' || isTaskUnderWay(call, entry))) return false;
  one.isOver = true;
  if (call.state === 'open') call.state = stateOf(call, entry);
  if (entry.code !== undefined) call.code = entry.code;
  // where the reply is one to the call's only request, as the tap has measured it: the recorder may have been late for either
  const measured = isReply && call.requests === 1 && entry.exchange === call.index ? entry.durationUs : undefined;
  call.durationUs = measured ?? Math.max(0, entry.monotonicUs - one.beganUs);
  return isReply;
}

/** Its connection closed. */
export function abandon(one: Begun): void {
  if (one.isOver) return;
  if (one.call.state === 'open') one.call.state = 'unanswered';
  one.isOver = true;
}

/** The first answer is a task, or one that says that it is not over. A question about a task that is no part of a call is answered by any answer. */
function isTaskUnderWay({ method, taskStatus }: Call, entry: MessageEntry): boolean {
  if (method.startsWith('tasks/')) return false;
  if (entry.type === 'error') return entry.method !== method && !over.has(taskStatus);
  return taskStatus !== undefined && !over.has(taskStatus);
}

function stateOf({ method, taskStatus }: Call, { outcome }: MessageEntry): CallState {
  if (!method.startsWith('tasks/')) {
    if (taskStatus === 'failed') return 'error';
    if (taskStatus === 'cancelled') return 'cancelled';
  }
  return outcome ?? 'ok';
}

/** Whether a message begins a call: a request of the client that is part of none. */
export function isFirst(entry: MessageEntry): boolean {
  return entry.type === 'request' && entry.direction === 'c2s' && entry.call === undefined && entry.repeats === undefined;
}

/** Whether a message belongs to the call that begins with entry `first`. */
export function isLegOf(first: number, index: number, entry: Entry | { kind: 'unreadable' }): entry is MessageEntry {
  return entry.kind === 'message' && (index === first || (entry.call ?? entry.exchange) === first);
}
