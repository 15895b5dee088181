/** Lines of JSON-RPC that sworn writes itself, between two frames. The id is the raw token as it came, so that `1.0` and 9007199254740993 stay what they were. */

export interface RefusalError {
  code: number;
  message: string;
  data?: Record<string, unknown>;
}

/** An error reply (JSON-RPC 2.0 §5.1) as one line with its line end. `idToken` must be a JSON token. */
export function refusalLine(idToken: string, error: RefusalError): Buffer {
  return Buffer.from(`{"jsonrpc":"2.0","id":${idToken},"error":${JSON.stringify(error)}}\n`);
}

/** For the sender of a request that was not delivered because it could not be recorded. */
export function notRecorded(reason: string): RefusalError {
  return { code: 5030, message: `not delivered: sworn could not record this request (${reason})`, data: { reason, executed: false } };
}

/** For the receiver of a reply that was withheld because it could not be recorded. Whether the call was carried out, nobody here can say. */
export function replyWithheld(reason: string): RefusalError {
  return {
    code: 5030,
    message: `reply withheld: sworn could not record it (${reason})`,
    data: { reason, executed: 'unknown', resultWithheld: true },
  };
}

export interface Denial {
  rule: string;
  reason?: string;
  /** The rule could not be evaluated: which kind of error. */
  problem?: string;
  /** Of the entry that says so. */
  index?: number;
}

/** For the sender of a request that policy refused. */
export function denied(denial: Denial): RefusalError {
  const { rule, reason } = denial;
  return { code: 4030, message: `blocked by policy rule ${rule}${reason === undefined ? '' : `: ${reason}`}`, data: { ...denial, executed: false } };
}

/** For the sender of a request that a limit refused: when it may try again at the earliest. */
export function limited(denial: Denial, retryAfterMs: number): RefusalError {
  const { rule, reason, index } = denial;
  const why = reason === undefined ? '' : ` (${reason})`;
  return {
    code: 4290,
    message: `limited by ${rule}${why}: try again in ${retryAfterMs} ms`,
    data: { rule, ...(reason === undefined ? {} : { reason }), retryAfterMs, ...(index === undefined ? {} : { index }), executed: false },
  };
}

/** For the sender of a request that waited for a person in vain. */
export function notApproved(decision: 'denied' | 'timed-out' | 'lost', denial: Denial): RefusalError {
  const { rule, reason } = denial;
  const words = { denied: 'denied by a person', 'timed-out': 'nobody approved it in time', lost: 'nobody could approve it any more' };
  return {
    code: decision === 'timed-out' ? 4080 : 4030,
    message: `${words[decision]} (policy rule ${rule})${reason === undefined ? '' : `: ${reason}`}`,
    data: { ...denial, decision, executed: false },
  };
}

/** For the receiver of a reply that policy withheld: the call was carried out, or not; the record has its outcome. */
export function resultWithheld(denial: Denial): RefusalError {
  const { rule, reason } = denial;
  return {
    code: 4030,
    message: `result withheld by policy rule ${rule}${reason === undefined ? '' : `: ${reason}`}`,
    data: { ...denial, executed: 'unknown', resultWithheld: true },
  };
}
