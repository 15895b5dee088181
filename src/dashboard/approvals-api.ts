/** The questions about what waits for a person, and the commands that decide it. Looking needs a login or a token; deciding needs the second secret too. */
import type { ApprovalDetail, ApprovalQueue, Decided, DecideResult, DecisionRow } from '../analysis/approval-views.ts';
import { answerRows, approvalReasonLength, decisionsAtOnce } from '../limits.ts';
import type { Command, Question, Rows } from './api.ts';
import { rowOf, type Approvals } from './approvals.ts';
import type { Decisions } from './decisions.ts';
import type { Ledger } from './evidence.ts';
import { isCommitment, refusalOf } from './hook.ts';
import type { Openings } from './openings.ts';
import { AnswerError, objectOf, readBody } from './parameters.ts';
import type { Unlocking } from './unlocking.ts';

export interface ApprovalsApiDeps {
  ledgers: readonly Ledger[];
  rows: Pick<Rows, 'call' | 'calls' | 'sessions'>;
  openings: Openings;
  approvals: Approvals;
  decisions: Decisions;
  unlocking: Unlocking;
}

/** Calls of its session before a request, that are shown beside it. */
const callsBefore = 6;

export function approvalQuestions({ ledgers, rows, openings, approvals, decisions }: ApprovalsApiDeps): Readonly<Record<string, Question>> {
  return {
    approvals: async (parameters, { how }) => {
      parameters.end();
      const waiting = approvals.rows();
      const queue: ApprovalQueue = {
        now: new Date().toISOString(),
        rows: waiting.slice(0, answerRows),
        total: approvals.total,
        problems: approvals.problems,
        mayUnlock: how === 'dashboard',
      };
      return queue;
    },
    approval: async (parameters, viewer) => {
      const id = parameters.ledger();
      const index = parameters.index();
      parameters.end();
      const ledger = ledgers.find((one) => one.id === id);
      if (ledger === undefined) throw new AnswerError(404, `No ledger ${id} is served here.`);
      const pending = await approvals.pending(ledger, index).catch((error: unknown) => {
        throw refusalOf(error);
      });
      if (pending === undefined) return undefined;
      // before it is shown
      await openings.opened(ledger, viewer, [index]);
      const { shown } = pending;
      const call = (await rows.call(id, index))?.call;
      const part = pending.session === undefined ? '' : `/${pending.session}`;
      const named = call?.session ?? `${pending.connection}${part}`;
      const within = { ledger: id, session: named };
      const [session] = (await rows.sessions(within, { limit: 1 })).rows;
      const before = (await rows.calls({ ...within, until: pending.askedAt }, { sort: '-beganAt', limit: callsBefore + 1 })).rows;
      const detail: ApprovalDetail = {
        approval: rowOf(id, pending),
        shown,
        ...(session === undefined ? {} : { session }),
        before: before.filter((one) => one.index < index).slice(0, callsBefore),
      };
      return detail;
    },
    decisions: async (parameters) => {
      parameters.end();
      return decisions.latest() satisfies DecisionRow[];
    },
  };
}

export function approvalCommands({ ledgers, approvals, unlocking }: ApprovalsApiDeps): Readonly<Record<string, Command>> {
  return {
    unlock: async (text, viewer) => {
      const { secret } = readBody(text, { secret: 256 });
      return unlocking.unlock(viewer, secret!);
    },
    decide: async (text, viewer) => {
      const { key, decision, reason, requests } = readDecision(text);
      unlocking.use(viewer, key);
      const one = async ({ ledger: id, request, commitment }: Decided): Promise<DecideResult> => {
        const ledger = ledgers.find((other) => other.id === id);
        if (ledger === undefined) return { ledger: id, request, problem: `No ledger ${id} is served here.` };
        try {
          const verdict = { decision, how: 'dashboard' as const, viewer: viewer.id, ...(reason === undefined ? {} : { reason }) };
          return { ledger: id, request, ...(await approvals.decide(ledger, request, commitment, verdict)) };
        } catch (error) {
          return { ledger: id, request, problem: refusalOf(error).message };
        }
      };
      return Promise.all(requests.map(one));
    },
  };
}

/** @throws AnswerError 400 */
function readDecision(text: string): { key: string; decision: 'approved' | 'denied'; reason?: string; requests: Decided[] } {
  const bad = (message: string): AnswerError => new AnswerError(400, message);
  const body = objectOf(text, ['key', 'decision', 'reason', 'requests']);
  const { key, decision, reason, requests } = body;
  if (typeof key !== 'string' || !/^[\w-]{43}$/.test(key)) throw bad('key is what unlock answered');
  if (decision !== 'approved' && decision !== 'denied') throw bad('decision is approved or denied');
  if (reason !== undefined && (typeof reason !== 'string' || reason.length > approvalReasonLength))
    throw bad(`reason is a text of at most ${approvalReasonLength} characters`);
  if (!Array.isArray(requests) || requests.length === 0 || requests.length > decisionsAtOnce)
    throw bad(`requests are 1 to ${decisionsAtOnce} of {ledger, request, commitment}`);
  for (const one of requests as unknown[]) {
    const { ledger, request, commitment } = (one ?? {}) as Record<string, unknown>;
    if (typeof ledger !== 'string' || !Number.isSafeInteger(request) || (request as number) < 0 || !isCommitment(commitment))
      throw bad('requests are {ledger, request, commitment}, as `approvals` answered');
  }
  const said = typeof reason === 'string' && reason.trim() !== '' ? { reason } : {};
  return { key, decision, ...said, requests: requests as Decided[] };
}
