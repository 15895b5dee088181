/**
 * Holds: what must not be erased, whoever asks and however old it is (`spec/entry.md`, `hold`). Who somebody is, for a hold and for `sworn erase --subject`, is
 * said here once.
 */
import { globMatches } from '../mcp/glob.ts';
import type { Entry, PolicyEntry, PrincipalEntry } from '../entry/entry.ts';
import { reasonBytes } from '../limits.ts';
import type { Principal } from '../wire/principal.ts';

export interface Hold {
  /** Index of the entry that says so: its name. */
  id: number;
  /** The beginning of a connection's id. */
  session?: string;
  /** A glob. */
  server?: string;
  subject?: string;
  /** Milliseconds since 1970: of the entries that it covers. */
  sinceMs?: number;
  untilMs?: number;
  reason?: string;
}

/** What is known of who is behind an entry when it is to be erased. */
export interface Party {
  server?: string;
  /** Subjects, compared whole. */
  names: Set<string>;
}

/** What a hold says, from a stranger's JSON; a text says what is wrong with it. */
export function readHold(json: Record<string, unknown>): Omit<Hold, 'id'> | string {
  const hold: Omit<Hold, 'id'> = {};
  for (const name of ['session', 'server', 'subject', 'reason'] as const) {
    const value = json[name];
    if (value === undefined) continue;
    if (typeof value !== 'string' || value === '' || Buffer.byteLength(value) > reasonBytes) return `${name} is a text of 1 to ${reasonBytes} bytes`;
    hold[name] = value;
  }
  if (hold.session !== undefined && !/^[0-9a-f]{1,32}$/.test(hold.session)) return 'session is the beginning of a connection id (hex digits)';
  for (const name of ['sinceMs', 'untilMs'] as const) {
    const value = json[name];
    if (value === undefined) continue;
    if (typeof value !== 'number' || !Number.isFinite(value) || Math.abs(value) > 8.64e15) return `${name} is a time`;
    hold[name] = Math.floor(value);
  }
  return hold;
}

/** The fields of a hold in its entry. What may name a person is an attribute: a leaf can never be erased. */
export function holdFields(
  hold: Omit<Hold, 'id'>,
  timeText: (us: number) => string,
): { fields: Partial<PolicyEntry>; attributes: Record<string, string> } {
  const { session, server, subject, sinceMs, untilMs, reason } = hold;
  return {
    fields: {
      ...(server === undefined ? {} : { server }),
      ...(session === undefined ? {} : { session }),
      ...(sinceMs === undefined ? {} : { since: timeText(sinceMs * 1000) }),
      ...(untilMs === undefined ? {} : { until: timeText(untilMs * 1000) }),
    },
    attributes: { ...(subject === undefined ? {} : { subject }), ...(reason === undefined ? {} : { reason }) },
  };
}

/** Brings the holds up to an entry. */
export function applyHold(holds: readonly Hold[], entry: PolicyEntry, index: number, attributes: Readonly<Record<string, unknown>>): Hold[] {
  if (entry.act === 'release') return holds.filter(({ id }) => id !== entry.hold);
  if (entry.act !== 'hold') return [...holds];
  const { session, server, since, until } = entry;
  const { subject, reason } = attributes;
  return [
    ...holds,
    {
      id: index,
      ...(session === undefined ? {} : { session }),
      ...(server === undefined ? {} : { server }),
      ...(typeof subject === 'string' ? { subject } : {}),
      ...(since === undefined ? {} : { sinceMs: Date.parse(since) }),
      ...(until === undefined ? {} : { untilMs: Date.parse(until) }),
      ...(typeof reason === 'string' ? { reason } : {}),
    },
  ];
}

/** The first hold that covers an entry: everything that it says must fit. One that names no session, server or subject is about every entry of its time. */
export function holdOn(holds: readonly Hold[], entry: Entry, party: Party | undefined): Hold | undefined {
  if (holds.length === 0) return undefined;
  const connection = 'connection' in entry ? entry.connection : undefined;
  const server = party?.server ?? ('server' in entry && entry.kind !== 'policy' ? entry.server : undefined);
  const ms = Date.parse(entry.time);
  return holds.find((hold) => {
    if (hold.session !== undefined && connection?.startsWith(hold.session) !== true) return false;
    if (hold.server !== undefined && (server === undefined || !globMatches(hold.server, server))) return false;
    if (hold.subject !== undefined && party?.names.has(hold.subject) !== true) return false;
    return !(hold.sinceMs !== undefined && ms < hold.sinceMs) && !(hold.untilMs !== undefined && ms > hold.untilMs);
  });
}

/**
 * Who is behind entries, as their ledger is read in its order: behind those of a connection whoever its `open` and its own `principal` name, behind those that say
 * `who` a principal that a proxy named also that one.
 */
export class Parties {
  readonly #connections = new Map<string, Party>();
  /** Those that proxies named, by the index of their entry. */
  readonly #principals = new Map<number, Party>();

  /** Takes what an `open` or `principal` entry says; others say nothing of it. */
  take(entry: Entry, index: number, attributes: Readonly<Record<string, unknown>>): void {
    if (entry.kind !== 'open' && entry.kind !== 'principal') return;
    const party = this.#connections.get(entry.connection) ?? { names: new Set<string>() };
    this.#connections.set(entry.connection, party);
    if (entry.kind === 'open') party.server = entry.server;
    const names = entry.kind === 'open' ? labelNames(entry.labels ?? {}) : principalNames(entry, attributes);
    if (entry.kind === 'principal' && entry.reportedBy !== undefined) {
      this.#principals.set(index, { ...party, names: new Set([...party.names, ...names]) });
    } else for (const name of names) party.names.add(name);
  }

  of(entry: Entry, index: number): Party | undefined {
    if (!('connection' in entry) || entry.connection === undefined) return undefined;
    const who = 'who' in entry ? entry.who : index;
    return (who === undefined ? undefined : this.#principals.get(who)) ?? this.#connections.get(entry.connection);
  }

  get connections(): Iterable<[string, Party]> {
    return this.#connections;
  }
}

/** Names as `spec/entry.md`, Subjects, has them; they are compared whole. Each label as `key=value`, and its value alone. */
function labelNames(labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels).flatMap(([key, value]) => [`${key}=${value}`, value]);
}

/** The user id as `uid=1000`, the name of the account, and every subject that a trusted proxy verified: of the token, of those who act for it, and of who brought it. */
function principalNames({ uid }: PrincipalEntry, { user, verified }: Readonly<Record<string, unknown>>): string[] {
  const { subject, act, also } = (verified ?? {}) as NonNullable<Principal['verified']>;
  const texts = [user, subject, ...[act, also].flatMap((list) => (list ?? []).map((one) => one.subject))];
  return [...(uid === undefined ? [] : [`uid=${uid}`]), ...texts.filter((text) => typeof text === 'string')];
}
