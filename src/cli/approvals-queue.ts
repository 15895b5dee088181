/** The recorder's queue of what waits for a person, asked over its socket: `sworn approvals` with a word, and its screen. */
import type { Pending } from '../recorder/approval-question.ts';
import { ask } from '../wire/ask.ts';

/** What waits, and how many do: of very many the oldest are told. */
export async function pendingAt(
  socket: string,
  since?: { version: unknown; waitMs: number },
  signal?: AbortSignal,
): Promise<{ version: unknown; waiting: number; approvals: Pending[] }> {
  const question = since === undefined ? {} : { since: since.version, waitMs: since.waitMs };
  const answer = await ask(socket, 'approvals', question, (since?.waitMs ?? 0) + 10_000, signal);
  return answer as { version: unknown; waiting: number; approvals: Pending[] };
}

export interface Decision {
  decided: number;
  waitedMs: number;
  selfApproved?: true;
}

export async function decideOn(
  socket: string,
  { request, commitment }: Pick<Pending, 'request' | 'commitment'>,
  decision: 'approved' | 'denied',
  reason?: string,
): Promise<Decision> {
  const answer = await ask(socket, 'decide', { request, commitment, decision, how: 'command', ...(reason === undefined ? {} : { reason }) });
  return answer as unknown as Decision;
}
