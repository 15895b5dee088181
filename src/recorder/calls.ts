/**
 * Logical calls: several exchanges that are one call for people. In 2026-07-28 a request is answered with `input_required` and asked again with the same
 * `requestState` (multi-round-trip requests); a call that has become a task is asked for until it is over (MCP 2025-11-25 tasks, and the tasks extension).
 *
 * What must stay true: only what servers and clients write themselves ties messages together; where it does not, they are calls of their own. What they write may be
 * secret, so that only hashes of it are kept.
 */
import { createHash } from 'node:crypto';
import { openCalls } from '../limits.ts';
import type { PendingRequest } from '../mcp/exchange.ts';
import type { Message } from '../mcp/message.ts';
import { Recent } from './speaker.ts';

/** What a message says of its call beside what every message says. */
interface Said {
  requestState?: string;
  hasAnswers?: true;
  taskId?: string;
  taskStatus?: string;
}

export interface Leg {
  /** Index of the call's first request, where it is another one. */
  call?: number;
  /** Of a task, as its server says it. */
  taskStatus?: string;
  undo?: () => void;
}

const statuses: ReadonlySet<unknown> = new Set(['working', 'input_required', 'completed', 'failed', 'cancelled']);
const noLeg: Leg = {};

export class Calls {
  /** By the hash of what ties them together: index of the first request of the call. */
  readonly #open: Recent<number>;

  constructor(json?: unknown) {
    this.#open = new Recent(openCalls);
    if (!Array.isArray(json)) return;
    for (const item of json as unknown[])
      if (Array.isArray(item) && typeof item[0] === 'string' && Number.isSafeInteger(item[1])) this.#open.set(item[0], item[1] as number);
  }

  toJSON(): [string, number][] {
    return [...this.#open.entries()];
  }

  /**
   * `request`: of a request the one that now waits, of a reply the one that it answers. `who`: whose it is, for what names no
   * state. `bytes`: the message, where it is at hand.
   */
  leg(message: Message, bytes: Buffer | undefined, request: PendingRequest | undefined, who: number | undefined): Leg {
    if (bytes === undefined || !mayTell(message, bytes, request)) return noLeg;
    const said = read(bytes, message.type);
    if (message.type === 'request') {
      const key = said.taskId === undefined ? stateKey(said, message.method, message.target?.value, who) : taskKey(said.taskId);
      const call = key === undefined ? undefined : this.#open.get(key);
      if (call === undefined || request === undefined) return noLeg;
      request.call = call;
      return { call };
    }
    if (message.type === 'notification') {
      const call = said.taskId === undefined ? undefined : this.#open.get(taskKey(said.taskId));
      return { ...(call === undefined ? {} : { call }), ...statusOf(said) };
    }
    if (request === undefined) return noLeg;
    const call = request.call ?? request.index;
    const key =
      message.resultType === 'input_required'
        ? stateKey({ ...said, hasAnswers: true }, request.method, request.target?.value, who)
        : said.taskId === undefined
          ? undefined
          : taskKey(said.taskId);
    if (key === undefined) return statusOf(said);
    const before = this.#open.get(key);
    if (before === call) return statusOf(said);
    this.#open.set(key, call);
    return { ...statusOf(said), undo: () => void (before === undefined ? this.#open.delete(key) : this.#open.set(key, before)) };
  }
}

function statusOf({ taskStatus }: Said): Pick<Leg, 'taskStatus'> {
  return taskStatus === undefined ? {} : { taskStatus };
}

/** A look that costs little: most messages say nothing of the kind. */
function mayTell({ type, method = '', resultType, era }: Message, bytes: Buffer, request: PendingRequest | undefined): boolean {
  if (type === 'request') {
    if (method.startsWith('tasks/')) return true;
    return (
      era === 'modern' && (method === 'tools/call' || method === 'prompts/get' || method === 'resources/read') && bytes.includes('"inputResponses"')
    );
  }
  if (type === 'notification') return method.startsWith('notifications/tasks');
  if (type !== 'result') return false;
  if (resultType !== undefined && resultType !== 'complete') return true;
  return request?.method?.startsWith('tasks/') === true || (request?.method === 'tools/call' && bytes.includes('"taskId"'));
}

function read(bytes: Buffer, type: Message['type']): Said {
  let message: Record<string, unknown>;
  try {
    message = objectIn(JSON.parse(bytes.toString()));
  } catch {
    return {};
  }
  const body = objectIn(type === 'result' ? message['result'] : message['params']);
  const task = objectIn(body['task']);
  const { requestState, inputResponses } = body;
  const taskId = body['taskId'] ?? task['taskId'];
  const status = body['status'] ?? task['status'];
  return {
    ...(typeof requestState === 'string' ? { requestState } : {}),
    ...(inputResponses === undefined ? {} : { hasAnswers: true }),
    ...(typeof taskId === 'string' ? { taskId } : {}),
    ...(statuses.has(status) ? { taskStatus: status as string } : {}),
  };
}

function objectIn(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

/** A state may be the same for two tools. Without one, who asks the same again and brings answers goes on with what they asked last. */
function stateKey(
  { requestState, hasAnswers }: Said,
  method: string | undefined,
  target: string | undefined,
  who: number | undefined,
): string | undefined {
  if (requestState === undefined && hasAnswers === undefined) return undefined;
  return keyOf('asked', JSON.stringify([who, method, target, requestState]));
}

function taskKey(taskId: string): string {
  return keyOf('task', taskId);
}

function keyOf(kind: string, text: string): string {
  return createHash('sha256').update(`${kind} ${text}`).digest('hex').slice(0, 32);
}
