/**
 * A projection of connections to sessions, for people: on stdio one connection is one session; a proxy's connection has one for each MCP session, and for what
 * belongs to none (2026-07-28 knows none) one for each principal, cut where it said nothing for 30 minutes. Held in memory: one record a session, with at
 * most 1,000 tools and 10,000 waiting requests each.
 */
import type { BatchEntry, CloseEntry, Custody, Effect, Entry, MessageEntry, Mode, PruneEntry } from '../entry/entry.ts';
import { pendingRequests } from '../limits.ts';
import { readEntries, readEntryAt, type Located } from './entries.ts';
import { readPayload } from './payload.ts';

export interface ToolUse {
  name: string;
  calls: number;
  answered: number;
  /** JSON-RPC errors and results with `isError: true`. */
  errors: number;
  /** Calls without a reply so far that were not blocked or cancelled. */
  unanswered: number;
  /** Calls that policy refused. */
  blocked: number;
  effect: Effect;
  sensitive?: true;
  destructive?: true;
  /** Sum and largest of the answered calls. */
  totalUs: number;
  longestUs: number;
}

export interface Peer {
  name: string;
  version?: string;
}

export interface Session {
  /** 32 hex digits. */
  connection: string;
  /** Behind a proxy: the index that all its messages name, as `session`, or else as `who`. */
  part?: number;
  /** Index of its `open` entry, or of the first entry seen of it. */
  index: number;
  server: string;
  /** What the client says of itself, or its `--client` name. */
  client?: Peer;
  serverInfo?: Peer;
  protocolVersion?: string;
  mode?: Mode;
  custody?: Custody;
  labels?: Record<string, string>;
  /** From the connection's `principal` entries. */
  who: { source: string; uid?: number; pid?: number; user?: string; executable?: string; name?: string }[];
  openedAt: string;
  /** Of its last entry. */
  lastAt: string;
  closedAt?: string;
  closeReason?: string;
  exitCode?: number;
  signal?: string;
  messages: number;
  /** Requests of the client to a tool. */
  calls: number;
  /** The other side's replies that are errors, and tool results that say so. */
  errors: number;
  /** Requests without a reply that were not blocked or cancelled: final once the session is closed. Their replies may be among those not captured. */
  unanswered: number;
  cancelled: number;
  /** Messages that policy refused, and that it marked. */
  blocked: number;
  flagged: number;
  /** Units of both directions that `capture: none` left out. */
  uncaptured: number;
  /** Frames that could not be recorded. */
  lost: number;
  anomalies: number;
  sizeBytes: number;
  tools: ToolUse[];
}

interface Open {
  session: Session;
  tools: Map<string, ToolUse>;
  waiting: Map<number, { tool?: ToolUse; isCancelled: boolean }>;
  /** Of a proxy's connection: its sessions, and those who are behind them by the index of their entry. */
  parts: Open[];
  principals: Map<number, Session['who'][number]>;
}

const toolsMost = 1_000;
/** Without a session id a longer silence is the end of a session. */
const gapMs = 30 * 60_000;
/** Of one proxy's connection. */
const principalsMost = 100_000;
/** A longer `initialize` is not read for names. */
const namesBytes = 1024 * 1024;

/** All sessions that have an entry in [from, to), ordered by their beginning. `content: false` leaves out what payloads say (names, users). */
export async function readSessions(ledger: string, options: { from?: number; to?: number; content?: boolean } = {}): Promise<Session[]> {
  const { content = true, ...range } = options;
  const byConnection = new Map<string, Open>();
  const parts = new Map<string, Open>();
  const all: Open[] = [];
  for await (const located of readEntries(ledger, range)) {
    const { entry, index } = located;
    if (entry.kind === 'prune') restate(byConnection, entry);
    if (entry.kind === 'unreadable' || !('connection' in entry) || entry.connection === undefined) continue;
    let open = byConnection.get(entry.connection);
    if (open === undefined) {
      open = begin(index, entry.connection, entry);
      byConnection.set(entry.connection, open);
      all.push(open);
    }
    if ((entry.kind === 'message' || entry.kind === 'batch') && entry.transport === 'http') {
      const part = partOf(entry, index);
      const known = parts.get(`${entry.connection} ${part}`);
      const isGap = entry.session === undefined && known !== undefined && Date.parse(entry.time) - Date.parse(known.session.lastAt) > gapMs;
      if (known === undefined || isGap) {
        const own = beginPart(open, part, index, entry);
        parts.set(`${entry.connection} ${part}`, own);
        all.push(own);
        open = own;
      } else open = known;
    }
    open.session.lastAt = entry.time;
    add(open, index, entry);
    if (content && tellsNames(open.session, entry)) await readNamesOf(ledger, open, index);
  }
  const sessions: Session[] = [];
  for (const { session, tools, waiting, parts: own } of all) {
    // what is left of a proxy's connection without its sessions is nothing for people
    if (own.length > 0) continue;
    for (const { tool, isCancelled } of waiting.values()) {
      if (isCancelled) continue;
      session.unanswered++;
      if (tool !== undefined) tool.unanswered++;
    }
    session.tools = [...tools.values()].sort((a, b) => b.calls - a.calls);
    sessions.push(session);
  }
  return sessions;
}

/** What the `open` entries said that were pruned. */
function restate(byConnection: ReadonlyMap<string, Open>, { connections }: PruneEntry): void {
  for (const { connection, mode, custody } of connections) {
    const session = byConnection.get(connection)?.session;
    if (session === undefined) continue;
    session.mode ??= mode;
    session.custody ??= custody;
  }
}

/** What messages of one session have in common. `initialize` begins one, whose replies name it. */
function partOf(entry: MessageEntry | BatchEntry, index: number): number {
  if (entry.session !== undefined) return entry.session;
  return entry.kind === 'message' && entry.method === 'initialize' && entry.type === 'request' ? index : (entry.who ?? -1);
}

function beginPart(whole: Open, part: number, index: number, entry: MessageEntry | BatchEntry): Open {
  const open = begin(index, entry.connection, entry);
  const { server, client, mode, custody, labels } = whole.session;
  const who = whole.principals.get(entry.who ?? -1);
  Object.assign(open.session, {
    server,
    part,
    ...(client === undefined ? {} : { client }),
    ...(mode === undefined ? {} : { mode }),
    ...(custody === undefined ? {} : { custody }),
    ...(labels === undefined ? {} : { labels }),
    ...(who === undefined ? {} : { who: [who] }),
  });
  whole.parts.push(open);
  return open;
}

function begin(index: number, connection: string, entry: Entry): Open {
  const session: Session = {
    connection,
    index,
    server: 'server' in entry ? entry.server : '',
    who: [],
    openedAt: entry.time,
    lastAt: entry.time,
    messages: 0,
    calls: 0,
    errors: 0,
    unanswered: 0,
    cancelled: 0,
    blocked: 0,
    flagged: 0,
    uncaptured: 0,
    lost: 0,
    anomalies: 0,
    sizeBytes: 0,
    tools: [],
  };
  return { session, tools: new Map(), waiting: new Map(), parts: [], principals: new Map() };
}

function add(open: Open, index: number, entry: Entry): void {
  const { session } = open;
  if (entry.kind === 'close') for (const part of open.parts) close(part.session, entry);
  switch (entry.kind) {
    case 'open':
      session.server = entry.server;
      session.mode = entry.mode;
      session.custody = entry.custody;
      if (entry.client !== undefined) session.client = { name: entry.client };
      if (entry.labels !== undefined) session.labels = entry.labels;
      break;
    case 'principal': {
      const principal: Session['who'][number] = { source: entry.source };
      if (entry.uid !== undefined) principal.uid = entry.uid;
      if (entry.pid !== undefined) principal.pid = entry.pid;
      if (session.who.length < 16) session.who.push(principal);
      if (open.principals.size < principalsMost) open.principals.set(index, principal);
      break;
    }
    case 'close':
      close(session, entry);
      leftOut(session, entry.uncaptured);
      break;
    case 'gap':
      session.lost += entry.lost.c2s + entry.lost.s2c;
      break;
    case 'batch':
      leftOut(session, entry.uncaptured);
      session.sizeBytes += entry.sizeBytes;
      session.anomalies += entry.anomalies?.length ?? 0;
      break;
    case 'message':
      addMessage(open, index, entry);
      break;
  }
}

function close(session: Session, entry: CloseEntry): void {
  session.closedAt = entry.time;
  session.closeReason = entry.reason;
  if (entry.exitCode !== undefined) session.exitCode = entry.exitCode;
  if (entry.signal !== undefined) session.signal = entry.signal;
}

/** Each entry says how many there were so far. */
function leftOut(session: Session, uncaptured: readonly [number, number] = [0, 0]): void {
  session.uncaptured = Math.max(session.uncaptured, uncaptured[0] + uncaptured[1]);
}

function addMessage({ session, tools, waiting }: Open, index: number, entry: MessageEntry): void {
  if (session.server === '') session.server = entry.server;
  // an event that was sent again, and what HTTP says without a message, count for nothing
  if (entry.repeats !== undefined || entry.type === 'http') return;
  session.messages++;
  // the bytes of a batch's items were counted with the batch
  if (entry.batch === undefined) session.sizeBytes += entry.sizeBytes;
  session.anomalies += entry.anomalies?.length ?? 0;
  leftOut(session, entry.uncaptured);
  if (entry.verdict === 'block') session.blocked++;
  else if (entry.verdict === 'flag') session.flagged++;
  if (entry.protocolVersion !== undefined) session.protocolVersion = entry.protocolVersion;
  if (entry.type === 'request') {
    let tool: ToolUse | undefined;
    if (entry.method === 'tools/call' && entry.direction === 'c2s') {
      session.calls++;
      tool = toolOf(tools, entry);
    }
    // the server never had it: there is nothing to wait for, and our own answer says nothing of the tool
    if (entry.verdict === 'block') {
      if (tool !== undefined) tool.blocked++;
      return;
    }
    if (waiting.size >= pendingRequests) waiting.delete(waiting.keys().next().value!);
    waiting.set(index, tool === undefined ? { isCancelled: false } : { tool, isCancelled: false });
  } else if (entry.type === 'result' || entry.type === 'error') {
    const asked = entry.exchange === undefined ? undefined : waiting.get(entry.exchange);
    if (entry.exchange !== undefined) waiting.delete(entry.exchange);
    if (entry.origin === 'sworn') return;
    const isError = entry.outcome !== undefined && entry.outcome !== 'ok';
    if (isError) session.errors++;
    if (asked?.tool !== undefined) {
      asked.tool.answered++;
      if (isError) asked.tool.errors++;
      asked.tool.totalUs += entry.durationUs ?? 0;
      asked.tool.longestUs = Math.max(asked.tool.longestUs, entry.durationUs ?? 0);
    }
  } else if (entry.method === 'notifications/cancelled' && entry.exchange !== undefined) {
    const asked = waiting.get(entry.exchange);
    if (asked !== undefined && !asked.isCancelled) {
      asked.isCancelled = true;
      session.cancelled++;
    }
  }
}

function toolOf(tools: Map<string, ToolUse>, entry: MessageEntry): ToolUse {
  const name = entry.target ?? '';
  let tool = tools.get(name);
  if (tool === undefined) {
    tool = { name, calls: 0, answered: 0, errors: 0, unanswered: 0, blocked: 0, effect: entry.effect ?? 'unknown', totalUs: 0, longestUs: 0 };
    if (tools.size < toolsMost) tools.set(name, tool);
  }
  tool.calls++;
  // the last call's: a tool may become known only after its first one
  if (entry.effect !== undefined) tool.effect = entry.effect;
  if (entry.sensitive) tool.sensitive = true;
  if (entry.destructive) tool.destructive = true;
  return tool;
}

function tellsNames(session: Session, entry: Entry): boolean {
  if (entry.attributes === undefined) return entry.kind === 'message' && entry.method === 'initialize';
  return entry.kind === 'principal' || (entry.kind === 'message' && (session.client?.version === undefined || session.serverInfo === undefined));
}

/** Names from an entry's attributes, else from the frame of the handshake. */
async function readNamesOf(ledger: string, { session, principals }: Open, index: number): Promise<void> {
  const located: Located | undefined = await readEntryAt(ledger, index);
  if (located?.content === undefined) return;
  const { attributes, frame } = located.content;
  if (located.entry.kind === 'principal') {
    const who = principals.get(index) ?? session.who.at(-1);
    if (who === undefined) return;
    const { verified, observed, declared } = attributes as Record<string, Record<string, unknown> | undefined>;
    const named = verified?.['subject'] ?? observed?.['address'] ?? declared?.['userAgent'];
    if (typeof named === 'string') who.name = named;
    if (typeof attributes['user'] === 'string') who.user = attributes['user'];
    if (typeof attributes['executable'] === 'string') who.executable = attributes['executable'];
    return;
  }
  let client = peerOf(attributes['clientInfo']);
  let server = peerOf(attributes['serverInfo']);
  if (client === undefined && server === undefined) {
    try {
      const message = JSON.parse(Buffer.from(readPayload(ledger, frame, namesBytes).bytes).toString()) as Record<
        string,
        Record<string, unknown> | undefined
      >;
      client = peerOf(message['params']?.['clientInfo']);
      server = peerOf(message['result']?.['serverInfo']);
    } catch {
      // erased, too long or no JSON: the session stays without names
    }
  }
  if (client !== undefined) session.client = client;
  if (server !== undefined) session.serverInfo = server;
}

function peerOf(value: unknown): Peer | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, version } = value as Record<string, unknown>;
  if (typeof name !== 'string') return undefined;
  return typeof version === 'string' ? { name, version } : { name };
}
