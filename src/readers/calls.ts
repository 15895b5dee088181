/**
 * A projection of messages to logical calls, for people: a tool call with everything that belongs to it (`call` in `spec/entry.md`), from the first request to its end.
 * Held in memory: the calls that are not over, and those that began after the oldest of them.
 */
import type { Effect, Entry, MessageEntry } from '../entry/entry.ts';
import type { Located } from './entries.ts';

export type CallState = 'open' | 'ok' | 'error' | 'toolError' | 'blocked' | 'cancelled' | 'unanswered';

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
  rule?: string;
  beganAt: string;
  /** Of its last message so far. */
  endedAt: string;
  state: CallState;
  /** The JSON-RPC code of an error. */
  code?: number;
  /** From its first request to its end, as the recorder's clock had it. */
  durationUs?: number;
  /** Requests of the client: more than one where it was asked again, or for a task. */
  requests: number;
  /** How often somebody was asked for something meanwhile. */
  asked: number;
  /** What the server said of its task last. */
  taskStatus?: string;
  /** Indexes of all its messages, at most `legsMost`. */
  legs: number[];
}

const legsMost = 1_000;
/** Calls that are remembered; beyond it the oldest is given out as it is. */
const callsMost = 10_000;
const over: ReadonlySet<unknown> = new Set(['completed', 'failed', 'cancelled']);

interface Begun {
  call: Call;
  beganUs: number;
  isModern: boolean;
  isOver: boolean;
}

/** The calls in the order of their beginning. `isWanted`: of the first request. */
export async function* readCalls(entries: AsyncIterable<Located>, isWanted: (located: Located) => boolean = () => true): AsyncGenerator<Call> {
  const begun = new Map<number, Begun>();
  for await (const located of entries) {
    add(begun, located, isWanted);
    for (const [index, { call, isOver }] of begun) {
      if (!isOver && begun.size <= callsMost) break;
      begun.delete(index);
      yield call;
    }
  }
  for (const { call } of begun.values()) yield call;
}

function add(begun: Map<number, Begun>, located: Located, isWanted: (located: Located) => boolean): void {
  const { index, entry } = located;
  if (entry.kind === 'close') {
    for (const one of begun.values()) {
      if (one.call.connection !== entry.connection || one.isOver) continue;
      if (one.call.state === 'open') one.call.state = 'unanswered';
      one.isOver = true;
    }
  }
  if (entry.kind !== 'message' || entry.repeats !== undefined) return;
  const first = entry.call ?? entry.exchange;
  if (entry.type === 'request' && entry.direction === 'c2s' && entry.method === 'tools/call' && entry.call === undefined) {
    if (isWanted(located)) begun.set(index, begin(index, entry));
    return;
  }
  const one = first === undefined ? undefined : begun.get(first);
  if (one !== undefined) go(one, index, entry);
}

function begin(index: number, entry: MessageEntry): Begun {
  const isBlocked = entry.verdict === 'block';
  const call: Call = {
    index,
    connection: entry.connection,
    ...(entry.session === undefined ? {} : { session: entry.session }),
    ...(entry.who === undefined ? {} : { who: entry.who }),
    server: entry.server,
    method: entry.method!,
    ...(entry.target === undefined ? {} : { target: entry.target }),
    ...(entry.effect === undefined ? {} : { effect: entry.effect }),
    ...(entry.sensitive === undefined ? {} : { sensitive: entry.sensitive }),
    ...(entry.destructive === undefined ? {} : { destructive: entry.destructive }),
    ...(entry.rule === undefined || !isBlocked ? {} : { rule: entry.rule }),
    beganAt: entry.time,
    endedAt: entry.time,
    state: isBlocked ? 'blocked' : 'open',
    requests: 1,
    asked: 0,
    legs: [index],
  };
  return { call, beganUs: entry.monotonicUs, isModern: entry.era === 'modern', isOver: isBlocked };
}

/** A further message of a call. */
function go(one: Begun, index: number, entry: MessageEntry): void {
  const { call } = one;
  if (call.legs.length < legsMost) call.legs.push(index);
  call.endedAt = entry.time;
  const isRequest = entry.type === 'request';
  if (isRequest && entry.direction === 'c2s') call.requests++;
  else if (isRequest || entry.resultType === 'input_required') call.asked++;
  if (entry.taskStatus !== undefined) call.taskStatus = entry.taskStatus;
  if (entry.method === 'notifications/cancelled' && entry.direction === 'c2s') {
    call.state = 'cancelled';
    return;
  }
  // who leaves has cancelled (MCP 2026-07-28, Streamable HTTP, cancellation); before that revision the answer may still come on another stream
  const { end } = entry.http ?? {};
  if (end === 'cancelled before delivery' || (end === 'client closed' && one.isModern)) {
    call.state = 'cancelled';
    one.isOver = true;
    return;
  }
  // what a client answers to its server ends nothing
  const isReply = (entry.type === 'result' || entry.type === 'error') && entry.direction === 's2c';
  if (!isReply && !over.has(entry.taskStatus)) return;
  if (isReply && (entry.resultType === 'input_required' || isTaskUnderWay(call, entry))) return;
  one.isOver = true;
  if (call.state === 'open') call.state = stateOf(call, entry);
  if (entry.code !== undefined) call.code = entry.code;
  call.durationUs = Math.max(0, entry.monotonicUs - one.beganUs);
}

/** The first answer is a task, or one that says that it is not over. */
function isTaskUnderWay({ taskStatus }: Call, entry: MessageEntry): boolean {
  if (entry.type === 'error') return entry.method !== 'tools/call' && !over.has(taskStatus);
  return taskStatus !== undefined && !over.has(taskStatus);
}

function stateOf({ taskStatus }: Call, { outcome }: MessageEntry): CallState {
  if (taskStatus === 'failed') return 'error';
  if (taskStatus === 'cancelled') return 'cancelled';
  return outcome ?? 'ok';
}

/** Whether a message belongs to the call that begins with entry `first`. */
export function isLegOf(first: number, index: number, entry: Entry | { kind: 'unreadable' }): entry is MessageEntry {
  return entry.kind === 'message' && (index === first || (entry.call ?? entry.exchange) === first);
}
