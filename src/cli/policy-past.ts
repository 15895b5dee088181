/** The recorded past judged again with a policy, for `sworn policy simulate` and `suggest`. */
import { whyDropped } from '../entry/dropped.ts';
import type { BatchEntry, Entry, MessageEntry } from '../entry/entry.ts';
import { judgeBytes } from '../limits.ts';
import { globMatches } from '../mcp/glob.ts';
import { filled, type Piece } from '../policy/fill.ts';
import type { CompiledPolicy } from '../policy/judge.ts';
import type { Missing, Remains } from '../policy/remains.ts';
import { Replay, type Judgement, type Recorded } from '../policy/replay.ts';
import { indexSince, readEntries, readEntriesBackwards, type Located } from '../readers/entries.ts';
import { openFrame, type Content } from '../readers/payload.ts';
import { filterOf, type Filter } from './filter.ts';

/** Which part of the past. */
export interface PastOptions {
  since?: string;
  until?: string;
  /** The beginning of a connection's id. */
  session?: string;
  /** A glob. */
  server?: string;
}

/**
 * Judges what a ledger holds of the time and the connections that are asked for, in its order. `other`: entries of them that are no messages.
 * @throws SwornError `usage`, `no-ledger`
 */
export async function replayPast(
  ledger: string,
  compiled: CompiledPolicy,
  options: PastOptions,
  judged: (judgement: Judgement) => void,
  other: (entry: Entry) => void = () => undefined,
): Promise<void> {
  const { session, server, since, until } = options;
  // the values are checked there; a connection is told by its id and server, whatever entry it is
  const times = filterOf(
    { ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }), ...(session === undefined ? {} : { session }) },
    'policy',
  );
  const inTime = filterOf({ ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }) }, 'policy');
  let reports = true;
  const replay = new Replay(compiled, (judgement) => {
    if (reports) judged(judgement);
  });
  const range = await rangeOf(ledger, times);
  const servers = new Map<string, boolean>();
  const isWanted = (entry: Located['entry']): boolean => {
    if (entry.kind === 'unreadable' || !('connection' in entry) || entry.connection === undefined) return false;
    if (session !== undefined && !entry.connection.startsWith(session)) return false;
    if (server === undefined) return true;
    let fits = servers.get(entry.connection);
    if (fits === undefined && 'server' in entry && entry.server !== undefined) {
      fits = globMatches(server, entry.server);
      if (servers.size >= 100_000) servers.clear();
      servers.set(entry.connection, fits);
    }
    return fits === true;
  };
  for await (const located of readEntries(ledger, { from: range.start, content: true })) {
    const { entry, index } = located;
    if (!isWanted(entry)) continue;
    const isContext = index < range.from;
    if (isContext && !range.before.has((entry as MessageEntry).connection)) continue;
    const matches = inTime.matches(located);
    if (inTime.isOver(1)) break;
    // what came before counts for what it taught the recorder
    reports = matches && !isContext;
    replay.add(recordedOf(ledger, located));
    if (reports && entry.kind !== 'unreadable' && entry.kind !== 'message' && entry.kind !== 'batch') other(entry);
  }
  replay.end();
}

/**
 * Where to begin: `from` is the first index of the time that is asked for; connections that began `before` it are followed from `start` on, since what was said
 * then counts.
 */
async function rangeOf(ledger: string, { sinceMs }: Filter): Promise<{ start: number; from: number; before: Set<string> }> {
  const before = new Set<string>();
  if (sinceMs === undefined) return { start: 0, from: 0, before };
  const from = await indexSince(ledger, sinceMs);
  const opened = new Set<string>();
  for await (const { entry } of readEntries(ledger, { from })) {
    if (entry.kind === 'open') opened.add(entry.connection);
    else if ((entry.kind === 'message' || entry.kind === 'batch') && !opened.has(entry.connection)) before.add(entry.connection);
  }
  let start = from;
  const missing = new Set(before);
  if (missing.size > 0) {
    for await (const { entry, index } of readEntriesBackwards(ledger, from)) {
      if (entry.kind === 'open' && missing.delete(entry.connection)) start = index;
      if (missing.size === 0) break;
    }
  }
  return { start, from, before };
}

export function recordedOf(ledger: string, { index, entry, content }: Located): Recorded {
  const recorded: Recorded = { index, entry: entry as Recorded['entry'], attributes: content?.attributes ?? {} };
  if (entry.kind === 'batch' || (entry.kind === 'message' && entry.batch === undefined)) recorded.remains = remainsOf(ledger, entry, content);
  return recorded;
}

/** What of a frame is still there, in one piece; a frame that is longer than a recorder judges is not read. */
function remainsOf(ledger: string, entry: MessageEntry | BatchEntry, content: Content | undefined): Remains {
  if (content === undefined || content.frame.length === 0) return { missing: [], why: 'unreadable' };
  const { frame } = content;
  const only = frame.length === 1 ? frame[0] : undefined;
  if (only?.state === 'kept') return { bytes: only.bytes, missing: [] };
  if (entry.sizeBytes > judgeBytes) return { missing: [], why: 'too long' };
  const missing: [number, number][] = [];
  const pieces: Piece[] = [];
  let why: Missing | undefined;
  let at = 0;
  let i = 0;
  for (const piece of openFrame(ledger, frame)) {
    const item = frame[i++]!;
    const sizeBytes = 'bytes' in piece ? piece.bytes.length : piece.sizeBytes;
    if ('bytes' in piece) pieces.push(piece);
    else {
      pieces.push({ missingBytes: sizeBytes });
      missing.push([at, at + sizeBytes]);
      if (item.state !== 'dropped') why = piece.missing === 'erased' ? 'erased' : 'unreadable';
      else why ??= whyDropped(entry);
    }
    at += sizeBytes;
  }
  if (why === undefined) return { bytes: Buffer.concat(pieces.map((piece) => ('bytes' in piece ? piece.bytes : Buffer.alloc(0)))), missing };
  return pieces.some((piece) => 'bytes' in piece) ? { bytes: filled(pieces), missing, why } : { missing: [], why };
}
