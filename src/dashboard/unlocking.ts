/**
 * The second secret: who may look may not decide yet. A login that shows it gets a key, which the page keeps in memory and sends with each decision, so that a cookie alone,
 * read from a browser's files, decides nothing.
 *
 * What must stay true: the secret is compared in constant time and guessed slowly; a key counts for the login that got it alone; a guesser holds up nobody else.
 */
import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import { approvalsUnlockedMs, dashboardSessions, unlockFailures } from '../limits.ts';
import { AnswerError } from './parameters.ts';
import { Bucket, type Viewer } from './viewers.ts';

/** A secret of one's own has at least so many characters. */
export const leastSecretChars = 16;

/** What cannot be taken for one another; 16 of them are 79 bits. */
const signs = '23456789abcdefghjkmnpqrstuvwxyz';

/** For people to type: `kxqm-2hxd-9wzt-4bcf`. */
export function makeSecret(): string {
  const all = Array.from({ length: 16 }, () => signs[randomInt(signs.length)]).join('');
  return all.replace(/(.{4})(?=.)/g, '$1-');
}

interface Unlocked {
  viewer: string;
  untilMs: number;
}

export class Unlocking {
  readonly #secret: Buffer;
  readonly #now: () => number;
  /** By the digest of the key, the longest unused first. */
  readonly #keys = new Map<string, Unlocked>();
  readonly #failures = new Map<string, Bucket>();

  /** `now`: ms, of any clock that only goes forward. */
  constructor(secret: string, now: () => number = () => performance.now()) {
    this.#secret = digestOf(normal(secret));
    this.#now = now;
  }

  /** @throws AnswerError 403, 429 */
  unlock({ id, how }: Viewer, typed: string): { key: string; forMs: number } {
    if (how !== 'dashboard') throw new AnswerError(403, 'A person decides here, in a browser: programs use the webhook, or `sworn approvals`.');
    const now = this.#now();
    const failures = this.#failures.get(id) ?? new Bucket(unlockFailures, now);
    this.#failures.delete(id);
    this.#failures.set(id, failures);
    dropOldest(this.#failures);
    const wait = failures.take(now);
    if (wait !== undefined) throw new AnswerError(429, `Too many tries: the next one counts in ${wait} s.`, { 'Retry-After': String(wait) });
    if (!timingSafeEqual(this.#secret, digestOf(normal(typed))))
      throw new AnswerError(403, 'This is not the secret that `sworn serve` printed, or that stands in its --approvals-secret-file.');
    this.#failures.delete(id);
    const key = randomBytes(32).toString('base64url');
    this.#keys.set(digestOf(key).toString('hex'), { viewer: id, untilMs: now + approvalsUnlockedMs });
    dropOldest(this.#keys);
    return { key, forMs: approvalsUnlockedMs };
  }

  /** A decision counts as use: the key lasts on. @throws AnswerError 403 */
  use({ id }: Viewer, key: string): void {
    const digest = digestOf(key).toString('hex');
    const unlocked = this.#keys.get(digest);
    const now = this.#now();
    if (unlocked === undefined || unlocked.viewer !== id || unlocked.untilMs <= now)
      throw new AnswerError(403, 'To decide, type the second secret: what was typed before does not count any more.');
    this.#keys.delete(digest);
    this.#keys.set(digest, { viewer: id, untilMs: now + approvalsUnlockedMs });
  }
}

/** Twice as many as there can be logins at a time. */
function dropOldest(all: Map<string, unknown>): void {
  for (const oldest of all.keys()) {
    if (all.size <= 2 * dashboardSessions) break;
    all.delete(oldest);
  }
}

/** The first line of a file; `undefined`: too short to be one. */
export function readSecretLine(text: string): string | undefined {
  const [line = ''] = text.split('\n');
  return normal(line).length < leastSecretChars ? undefined : line.trim();
}

/** As people copy it: in either case, with or without what stands between. */
function normal(secret: string): string {
  return secret.toLowerCase().replaceAll(/[\s-]/g, '');
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
