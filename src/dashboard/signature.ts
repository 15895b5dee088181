/**
 * Bodies that are signed with a shared secret, in both directions of the webhook: `Sworn-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256(secret, t + "." + body)>`.
 *
 * What must stay true: a body counts once, while it is young; signatures are compared in constant time.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { hookRemembered, hookToleranceS } from '../limits.ts';

export function signed(secret: string, body: string, nowMs: number): string {
  const at = Math.floor(nowMs / 1000);
  return `t=${at},v1=${macOf(secret, at, body).toString('hex')}`;
}

export type Checked = 'ok' | 'wrong' | 'old' | 'again' | 'full';

export class SignedBodies {
  readonly #secret: () => string;
  readonly #now: () => number;
  /** Those that counted, by signature, with the second in which they did, in that order: one from a clock that is ahead counts for twice the tolerance. */
  readonly #seen = new Map<string, number>();

  /** `secret`: as it is now. `now`: ms since 1970. */
  constructor(secret: () => string, now: () => number = Date.now) {
    this.#secret = secret;
    this.#now = now;
  }

  /** Whether it counts; what counts once does not again. */
  take(header: string | undefined, body: string): Checked {
    const parts = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(header ?? '');
    if (parts === null) return 'wrong';
    const at = Number(parts[1]);
    const mac = parts[2]!;
    if (!timingSafeEqual(macOf(this.#secret(), at, body), Buffer.from(mac, 'hex'))) return 'wrong';
    const nowS = Math.floor(this.#now() / 1000);
    if (Math.abs(nowS - at) > hookToleranceS) return 'old';
    for (const [one, since] of this.#seen) {
      if (nowS - since <= 2 * hookToleranceS) break;
      this.#seen.delete(one);
    }
    if (this.#seen.has(mac)) return 'again';
    if (this.#seen.size >= hookRemembered) return 'full';
    this.#seen.set(mac, nowS);
    return 'ok';
  }

  /** It could not be acted on: it may come again. */
  forget(header: string): void {
    this.#seen.delete(header.slice(header.indexOf('v1=') + 3));
  }
}

function macOf(secret: string, at: number, body: string): Buffer {
  return createHmac('sha256', secret).update(`${at}.${body}`).digest();
}
