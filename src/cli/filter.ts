/** Which entries a reading command shows. */
import { SwornError } from '../errors.ts';
import type { Entry } from '../entry/entry.ts';
import { globMatches } from '../mcp/glob.ts';
import { messageFits, namedSession, timeMs, words, type MessageWord, type NamedSession } from '../analysis/filter.ts';
import type { Located } from '../readers/entries.ts';
import { payloadOf } from '../readers/opened.ts';
import { openFrame, stretchesOf } from '../readers/payload.ts';
import { restsOf } from '../readers/rest.ts';
import type { OptionHelp } from './help.ts';

export interface FilterOptions {
  session?: string;
  server?: string;
  tool?: string;
  method?: string;
  direction?: string;
  effect?: string;
  outcome?: string;
  verdict?: string;
  since?: string;
  until?: string;
  text?: string;
}

export const filterHelp: readonly OptionHelp[] = [
  {
    flags: '--session <id>',
    description: 'only this connection, the beginning of its id is enough; behind a proxy id/index, as `sworn sessions` shows it',
  },
  { flags: '--server <glob>', description: 'only servers of this name' },
  { flags: '--tool <glob>', description: 'only calls of these tools, and their replies' },
  { flags: '--method <glob>', description: 'only these methods, and their replies' },
  { flags: '--direction <direction>', description: 'only c2s (client to server) or s2c' },
  { flags: '--effect <effect>', description: 'only read, write, unknown, sensitive or destructive' },
  {
    flags: '--outcome <outcome>',
    description: 'only replies that are ok, error or toolError, or requests that are blocked, cancelled or unanswered',
  },
  { flags: '--verdict <verdict>', description: 'only messages that policy judged so: block, flag, ask (a person was asked) or pass' },
  { flags: '--text <text>', description: 'only messages whose payload contains this text' },
];

export const definitionHelp: OptionHelp = {
  flags: '--definition <digest>',
  description: 'only calls of a tool as it was defined then, and their replies: the beginning of the digest, as the pages and `sworn tools` show it',
};

export const timeHelp: readonly OptionHelp[] = [
  { flags: '--since <time>', description: 'from this time on: 90s, 30m, 1h or 7d ago, or 2026-11-20, or 2026-11-20T23:45:00Z' },
  { flags: '--until <time>', description: 'up to this time' },
];

/** Entries in a row outside the asked time after which none inside is expected: a clock may have been set in between. */
const outsideMost = 1024;

export interface Filter {
  readonly sinceMs?: number;
  /** `text` is left to `textMatches`, which needs content; `cancelled` and `unanswered` pass all requests. */
  matches(located: Located): boolean;
  /** Reading forwards (1): enough entries in a row were later than `until`; backwards (-1): earlier than `since`. */
  isOver(order: 1 | -1): boolean;
  readonly text?: string;
  readonly requests?: 'unanswered' | 'cancelled';
}

/** @throws SwornError `usage` for values that no entry can have */
export function filterOf(options: FilterOptions, command: string, nowMs = Date.now()): Filter {
  const wrong = (flag: string, value: string, allowed: string): SwornError =>
    new SwornError('usage', `--${flag} ${value} is not one of: ${allowed}`, { command });
  const { session, server, tool, method, direction, effect, outcome, verdict, text } = options;
  const meant = session === undefined ? undefined : sessionOf(session, command);
  const asked: [MessageWord, string][] = [];
  for (const [word, value] of Object.entries({ direction, tool, method, effect, verdict, outcome }) as [MessageWord, string | undefined][]) {
    if (value === undefined) continue;
    const { values } = words[word];
    if (values?.includes(value) === false) throw wrong(word, value, values.join(', '));
    asked.push([word, value]);
  }
  const sinceMs = options.since === undefined ? undefined : timeOf(options.since, 'since', command, nowMs);
  const untilMs = options.until === undefined ? undefined : timeOf(options.until, 'until', command, nowMs);
  const onlyMessages = asked.length > 0 || text !== undefined;
  const servers = new Map<string, string>();
  let later = 0;
  let earlier = 0;

  const inTime = (time: string): boolean => {
    const ms = Date.parse(time);
    later = untilMs !== undefined && ms > untilMs ? later + 1 : 0;
    earlier = sinceMs !== undefined && ms < sinceMs ? earlier + 1 : 0;
    return later === 0 && earlier === 0;
  };

  const matches = ({ entry, index }: Located): boolean => {
    if (entry.kind === 'unreadable') return !onlyMessages && session === undefined && server === undefined;
    if (!inTime(entry.time)) return false;
    const connection = 'connection' in entry ? entry.connection : undefined;
    if (connection !== undefined && 'server' in entry && entry.server !== undefined && !servers.has(connection) && servers.size < 100_000)
      servers.set(connection, entry.server);
    if (meant !== undefined && !isOfSession(meant, entry, index)) return false;
    if (server !== undefined) {
      const name = 'server' in entry ? entry.server : connection === undefined ? undefined : servers.get(connection);
      if (name === undefined || !globMatches(server, name)) return false;
    }
    if (!onlyMessages) return true;
    if (entry.kind !== 'message') return false;
    return asked.every(([word, value]) => messageFits(word, value, entry));
  };

  return {
    ...(sinceMs === undefined ? {} : { sinceMs }),
    ...(text === undefined ? {} : { text }),
    matches,
    isOver: (order) => (order === 1 ? later : earlier) >= outsideMost,
    ...(outcome === 'unanswered' || outcome === 'cancelled' ? { requests: outcome } : {}),
  };
}

/** What `--session` names. @throws SwornError `usage` */
export function sessionOf(text: string, command: string): NamedSession {
  const named = namedSession(text);
  if (named === undefined)
    throw new SwornError('usage', `--session ${text} is not the beginning of a connection id (hex digits, see \`sworn sessions\`)`, { command });
  return named;
}

export function isOfSession({ connection, part }: NamedSession, entry: Entry, index: number): boolean {
  if (!('connection' in entry) || entry.connection?.startsWith(connection) !== true) return false;
  if (part === undefined || index === part) return true;
  if (entry.kind !== 'message' && entry.kind !== 'batch') return false;
  return entry.session === undefined ? entry.who === part : entry.session === part;
}

/** Milliseconds since 1970 of what `--since` and its like say. */
export function timeOf(text: string, flag: string, command: string, nowMs: number): number {
  const ms = timeMs(text, nowMs);
  if (ms === undefined)
    throw new SwornError('usage', `--${flag} ${text} is no time: give 90s, 30m, 1h or 7d, or 2026-11-20, or 2026-11-20T23:45:00Z`, { command });
  return ms;
}

/**
 * Requests without a reply to the end of what is read, that were not cancelled; or those that were, when their cancellation is read. Holds at most `most`
 * requests; of more the oldest are taken as unanswered.
 */
export async function* requestsOf(
  entries: AsyncIterable<Located>,
  filter: Filter,
  wanted: 'unanswered' | 'cancelled',
  most = 100_000,
): AsyncGenerator<Located> {
  const waiting = new Map<number, Located>();
  for await (const located of entries) {
    const { entry, index } = located;
    if (entry.kind !== 'message') continue;
    if (entry.type === 'request') {
      // what was refused has its outcome, whether it could be answered or not
      if (entry.verdict === 'block' || !filter.matches(located)) continue;
      waiting.set(index, located);
      if (waiting.size > most) {
        const [oldest, request] = waiting.entries().next().value!;
        waiting.delete(oldest);
        if (wanted === 'unanswered') yield request;
      }
    } else if (entry.exchange !== undefined) {
      const request = waiting.get(entry.exchange);
      waiting.delete(entry.exchange);
      if (wanted === 'cancelled' && request !== undefined && entry.method === 'notifications/cancelled') yield request;
    }
  }
  if (wanted === 'unanswered') yield* waiting.values();
}

/** Whether a message's payload contains a text, as it is or as JSON writes it. Streams: no frame is too long. */
export async function textMatches(ledger: string, located: Located, text: string): Promise<boolean> {
  const { entry } = located;
  if (entry.kind !== 'message') return false;
  const needles = [...new Set([text, JSON.stringify(text).slice(1, -1)])].map((needle) => Buffer.from(needle));
  const overlap = Math.max(...needles.map((needle) => needle.length)) - 1;
  const has = (bytes: Buffer): boolean => needles.some((needle) => bytes.includes(needle));
  if (entry.batch !== undefined) {
    const payload = await payloadOf(ledger, located, Number.POSITIVE_INFINITY);
    return payload !== undefined && [...stretchesOf(payload)].some((stretch) => stretch instanceof Uint8Array && has(Buffer.from(stretch)));
  }
  let before = Buffer.alloc(0);
  const frame = located.content?.frame ?? [];
  const mayBeErased = frame.some(({ state }) => state === 'erased' || state === 'part');
  const rests = mayBeErased ? await restsOf(ledger, located.index, frame) : undefined;
  for (const piece of openFrame(ledger, frame, undefined, rests)) {
    if ('bytes' in piece) {
      const bytes = Buffer.concat([before, piece.bytes]);
      if (has(bytes)) return true;
      before = overlap === 0 ? Buffer.alloc(0) : bytes.subarray(-overlap);
    } else before = Buffer.alloc(0);
  }
  return false;
}
