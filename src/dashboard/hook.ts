/**
 * `POST /hooks/approvals`: a program decides with the webhook's secret, in the name of a person that it vouches for. It needs no login: the signature says who it is, and
 * the commitment what was decided about.
 */
import { approvalReasonLength, approverChars, hookFailures } from '../limits.ts';
import { SwornError } from '../errors.ts';
import type { Approvals } from './approvals.ts';
import { AnswerError, objectOf } from './parameters.ts';
import type { SignedBodies } from './signature.ts';
import { Bucket } from './viewers.ts';

export const hookPath = '/hooks/approvals';

interface HookBody {
  request: number;
  commitment: string;
  decision: 'approved' | 'denied';
  reason?: string;
  approver: string;
}

const refused = {
  wrong: [401, 'Sworn-Signature is t=<unix seconds>,v1=<hex HMAC-SHA256 of t.body> with the secret of the webhook; this one is not.'],
  old: [401, 'The signature is too old, or of a clock that differs: it counts for 5 minutes.'],
  again: [409, 'This body was sent before: each counts once.'],
  full: [429, 'Too many decisions within minutes: try again later.'],
} as const;

export class ApprovalsHook {
  readonly #approvals: Approvals;
  readonly #bodies: SignedBodies;
  readonly #failures: Bucket;

  constructor(approvals: Approvals, bodies: SignedBodies) {
    this.#approvals = approvals;
    this.#bodies = bodies;
    this.#failures = new Bucket(hookFailures, performance.now());
  }

  /** @throws (rejects) AnswerError 400, 401, 403, 404, 409, 429, 503 */
  async decide(signature: string | undefined, text: string): Promise<{ decided: number; waitedMs: number; selfApproved?: true }> {
    const checked = this.#bodies.take(signature, text);
    if (checked !== 'ok') {
      // whoever signs is never held up by those who do not
      const wait = checked === 'wrong' ? this.#failures.take(performance.now()) : undefined;
      if (wait !== undefined) throw new AnswerError(429, `Too many tries: try again in ${wait} s.`, { 'Retry-After': String(wait) });
      const [status, message] = refused[checked];
      throw new AnswerError(status, message, status === 429 ? { 'Retry-After': '60' } : {});
    }
    const { request, commitment, decision, reason, approver } = readHookBody(text);
    const ledger = this.#approvals.ledgerOf(request, commitment);
    if (ledger === undefined) throw new AnswerError(404, `Nothing waits as request ${request} with this commitment.`);
    try {
      return await this.#approvals.decide(ledger, request, commitment, {
        decision,
        how: 'webhook',
        approver,
        ...(reason === undefined ? {} : { reason }),
      });
    } catch (error) {
      const answer = refusalOf(error);
      if (answer.status === 503) this.#bodies.forget(signature!);
      throw answer;
    }
  }
}

/** Why a recorder did not take a decision, as an answer. */
export function refusalOf(error: unknown): AnswerError {
  if (!(error instanceof SwornError)) throw error;
  const status = ({ 'not-found': 404, usage: 409, permission: 403 } as Partial<Record<string, number>>)[error.code] ?? 503;
  return new AnswerError(status, `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`);
}

/** @throws AnswerError 400 */
export function readHookBody(text: string): HookBody {
  const bad = (message: string): AnswerError => new AnswerError(400, message);
  const body = objectOf(text, ['request', 'commitment', 'decision', 'reason', 'approver']);
  const { request, commitment, decision, reason, approver } = body;
  if (!Number.isSafeInteger(request) || (request as number) < 0) throw bad('request is the index of the request: a whole number');
  if (!isCommitment(commitment)) throw bad('commitment is what was told with the request: 32 bytes in base64');
  if (decision !== 'approved' && decision !== 'denied') throw bad('decision is approved or denied');
  if (reason !== undefined && (typeof reason !== 'string' || reason.length > approvalReasonLength))
    throw bad(`reason is a text of at most ${approvalReasonLength} characters`);
  if (typeof approver !== 'string' || approver.trim() === '' || approver.length > approverChars)
    throw bad(`approver is who decided: a text of 1 to ${approverChars} characters`);
  return {
    request: request as number,
    commitment,
    decision,
    ...(typeof reason === 'string' && reason.trim() !== '' ? { reason } : {}),
    approver,
  };
}

/** As the recorder says it: 32 bytes in base64. */
export function isCommitment(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9+/]{43}=$/.test(value);
}
