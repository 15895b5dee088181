/** A request that waits in a few words: the same in the list and on the screen of `sworn approvals`. */
import type { Pending } from '../recorder/approval-question.ts';
import { duration } from './output.ts';

/** `bank/pay`, or the method of what is no call. */
export function nameOf({ server, method, tool }: Pending): string {
  return `${server}/${tool ?? method}`;
}

export function effectOf({ effect = '', destructive, sensitive }: Pending): string {
  return [effect, destructive ? 'destructive' : '', sensitive ? 'sensitive' : ''].filter((word) => word !== '').join(', ');
}

export function askerOf({ client, principal, connection }: Pending): string {
  return [client, principal].filter((name) => name !== undefined).join(', ') || connection.slice(0, 8);
}

export function leftOf({ deadline }: Pending, nowMs: number): string {
  return duration(Math.max(0, Date.parse(deadline) - nowMs) * 1000);
}

/** What a call is given, or all of the message; its beginning, where no more is shown. */
export function argumentsOf({ shown, isCut }: Pending): string {
  try {
    const { params } = JSON.parse(shown) as { params?: { arguments?: unknown } };
    return JSON.stringify(params?.arguments ?? params ?? {});
  } catch {
    return `${shown}${isCut ? '…' : ''}`;
  }
}
