/**
 * Who speaks on a connection. Over stdio it is one; behind a proxy each principal, and each MCP session of one, is a speaker of its own: rules look at its
 * principal, counts are those of its session, its client has a name of its own.
 *
 * What must stay true: what a frame says of its stream (`Head`) selects the speaker before the frame is looked at, and until the next frame; frames of a connection
 * are worked on one after the other. Indexes name principals and sessions, so that the ledger alone says the same again.
 */
import { httpSpeakers } from '../limits.ts';
import type { Judge } from '../policy/judge.ts';
import type { SessionCounts } from '../policy/session.ts';
import type { Principal } from '../wire/principal.ts';

/** Pairing scopes of MCP sessions lie behind those of streams, which are 32 bits. */
const sessionScopes = 2 ** 32;

/** Somebody whom a proxy named. */
export interface NamedPrincipal {
  /** The proxy's name for it. */
  readonly who: string;
  /** Of its `principal` entry, which is in the ledger, or on its way. */
  index: number | undefined;
  /** Absent until the proxy says it again to a recorder that came later. */
  said: Principal | undefined;
  /** Of one whom the proxy has not named yet: what limits knew it by. */
  limitKey?: string;
}

export interface Speaker {
  /** Index of its `principal` entry. */
  who: number | undefined;
  /** What a proxy says of it. */
  principal: Principal | undefined;
  judge: Judge;
  counts: SessionCounts;
  /** Its client has said who it is. */
  namedClient: boolean;
}

/**
 * A map that forgets what was not asked for longest, half of it at a time: between `most` / 2 and `most` are remembered. To take the oldest alone out of a
 * large `Map` again and again costs a walk over those that went before it.
 */
export class Recent<T> {
  readonly #half: number;
  #young = new Map<string, T>();
  #old = new Map<string, T>();

  constructor(most: number = httpSpeakers) {
    this.#half = Math.max(1, Math.floor(most / 2));
  }

  get(key: string): T | undefined {
    const found = this.#young.get(key);
    if (found !== undefined) return found;
    const older = this.#old.get(key);
    return older === undefined ? undefined : this.set(key, older);
  }

  set(key: string, value: T): T {
    this.#young.set(key, value);
    if (this.#young.size >= this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    return value;
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  *values(): Generator<T> {
    for (const [, value] of this.entries()) yield value;
  }

  /** The older half first. */
  *entries(): Generator<[string, T]> {
    for (const entry of this.#old) if (!this.#young.has(entry[0])) yield entry;
    yield* this.#young;
  }
}

/** Where ids are unique: a stream, or an MCP session over all its streams (MCP 2025-11-25, Streamable HTTP: replies to a server's requests come as POSTs of their own). */
export function scopeOf(stream: number, session: number | undefined): number {
  return session === undefined ? stream : sessionScopes + session;
}

export function speakerKey(who: number | undefined, session: number | undefined): string {
  return `${who ?? ''}.${session ?? ''}`;
}

/** The session in a speaker's key. */
export function sessionIn(key: string): number | undefined {
  const text = key.slice(key.indexOf('.') + 1);
  return text === '' ? undefined : Number(text);
}
