/** Whether a person can be asked for a message, and what is said where there is nobody to ask, or nothing to ask for. */
import { progressPeekBytes } from '../limits.ts';
import type { Message } from '../mcp/message.ts';
import { ownRules, type Verdict } from '../policy/verdict.ts';
import type { Approvals } from './approvals.ts';
import type { Connection } from './connection.ts';

/** About a request that waits for a person: a reply to it, which nobody can give, or its cancellation, of which its receiver need not know. */
export const notSent: Verdict = { kind: 'block', rule: ownRules.notSent, reason: 'about a request that was not delivered' };

/** An `ask`, or a `block` by the same rule with why nobody is asked. */
export function askable(
  verdict: Verdict,
  message: Message,
  sizeBytes: number,
  isItem: boolean,
  connection: Connection,
  approvals: Approvals | undefined,
): Verdict {
  const why =
    approvals === undefined
      ? 'nobody can be asked'
      : isItem
        ? 'in a batch nobody can be asked'
        : message.type !== 'request' || message.idKey === undefined
          ? 'without an id nobody can be asked'
          : approvals.full(connection, sizeBytes);
  return why === undefined ? verdict : { ...verdict, kind: 'block', reason: why };
}

/** Who sends one wants to be told that its request goes on (MCP, Progress). */
export function progressTokenOf(bytes: Buffer | undefined): string | number | undefined {
  if (bytes === undefined || bytes.length > progressPeekBytes || !bytes.includes('progressToken')) return undefined;
  try {
    const { params } = JSON.parse(bytes.toString()) as { params?: { _meta?: { progressToken?: unknown } } };
    const token = params?._meta?.progressToken;
    return typeof token === 'string' || Number.isSafeInteger(token) ? (token as string | number) : undefined;
  } catch {
    return undefined;
  }
}
