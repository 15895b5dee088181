/**
 * A projection of connections to sessions, for people: on stdio one connection is one session; a proxy's connection has one for each MCP session, and for what
 * belongs to none (2026-07-28 knows none) one for each principal, cut where it said nothing for 30 minutes. Held in memory: one record a session, with at
 * most 1,000 tools and 10,000 waiting requests each.
 */
import type { ApprovalEntry, BatchEntry, CloseEntry, Custody, Effect, Entry, MessageEntry, Mode, PruneEntry, Transport } from '../entry/entry.ts';
import { pendingRequests } from '../limits.ts';
import type { Peer, Principal } from './rows.ts';

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
  who: Principal[];
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
  /** Requests that a person was asked about. */
  asked: number;
  /** Units of both directions that `capture: none` left out. */
  uncaptured: number;
  /** Frames that could not be recorded. */
  lost: number;
  anomalies: number;
  sizeBytes: number;
  tools: ToolUse[];
}

export interface OpenSession {
  /** `<connection>`, `<connection>/<part>`, and behind a silence `<connection>/<part>@<index>`: another one for each session of a ledger. */
  id: string;
  session: Session;
  transport: Transport;
  tools: Map<string, ToolUse>;
  waiting: Map<number, { tool?: ToolUse; isCancelled: boolean }>;
  /** A proxy's connection, which is nothing for people beside its sessions. */
  isProxied: boolean;
  /** Of a proxy's connection: the ids of its sessions by what their messages name; those behind them by the index of their entry. */
  parts: Map<number, string>;
  /** Of a proxy's connection: the ids of sessions that ended with a silence, and close with it. */
  silent: string[];
  principals: Map<number, Principal>;
  /** Calls of writing effect: counted by whoever knows what is reclassified. */
  writes: number;
}

const toolsMost = 1_000;
/** Without a session id a longer silence is the end of a session. */
const gapMs = 30 * 60_000;
/** Of one proxy's connection: the ids of its sessions, and those who are behind them; beyond it the oldest are no more known to belong to it. */
const partsMost = 100_000;
const principalsMost = 100_000;
/** The same where what is remembered is bounded. */
const boundedMost = 10_000;

export interface SessionsOptions {
  /** Sessions and connections that are remembered; beyond it `forgotten` gets the one that was silent for longest. Default: no bound. */
  most?: number;
  forgotten?: (open: OpenSession) => void;
  /** What is known from elsewhere of a session that was forgotten. */
  recall?: (id: string) => { session: Session; transport: Transport; writes: number } | undefined;
  /** Default true. */
  tools?: boolean;
}

export class Sessions {
  readonly #options: SessionsOptions;
  /** By id; with a bound, who was seen last is last. */
  readonly #all = new Map<string, OpenSession>();
  #newest: OpenSession | undefined;

  constructor(options: SessionsOptions = {}) {
    this.#options = options;
  }

  /** The session that an entry belongs to, with the entry counted; of a proxy's `close`, the connection. */
  take(index: number, entry: Entry): OpenSession | undefined {
    if (entry.kind === 'prune') this.#restate(entry);
    if (!('connection' in entry) || entry.connection === undefined) return undefined;
    const { connection } = entry;
    const whole = this.#keep(this.#find(connection) ?? begin(connection, index, connection, entry));
    let open = (entry.kind === 'approval' ? this.#waitingFor(connection, entry.request) : undefined) ?? whole;
    if ((entry.kind === 'message' || entry.kind === 'batch') && entry.transport === 'http') {
      const part = partOf(entry, index);
      whole.isProxied = true;
      let id = whole.parts.get(part) ?? `${connection}/${part}`;
      let known = this.#find(id);
      if (entry.session === undefined && known !== undefined && Date.parse(entry.time) - Date.parse(known.session.lastAt) > gapMs) {
        whole.silent.push(id);
        if (whole.silent.length > this.#mostOf(partsMost)) whole.silent.shift();
        id = `${connection}/${part}@${index}`;
        known = undefined;
      }
      open = this.#keep(known ?? beginPart(whole, id, part, index, entry));
      whole.parts.set(part, id);
      if (whole.parts.size > this.#mostOf(partsMost)) whole.parts.delete(whole.parts.keys().next().value!);
    }
    open.session.lastAt = entry.time;
    this.#add(open, index, entry);
    return open;
  }

  /** The session whose request it is. */
  #waitingFor(connection: string, request: number): OpenSession | undefined {
    for (const open of this.of(connection)) if (open.waiting.has(request)) return open;
    return undefined;
  }

  get(id: string): OpenSession | undefined {
    return this.#all.get(id);
  }

  /** The sessions of a connection, itself among them. */
  *of(connection: string): Generator<OpenSession> {
    const whole = this.#all.get(connection);
    if (whole === undefined) return;
    yield whole;
    for (const id of [...whole.silent, ...whole.parts.values()]) {
      const part = this.#find(id);
      if (part !== undefined) yield part;
    }
  }

  /** What is over and will hardly be asked for again. */
  forget(connection: string): void {
    for (const { id } of [...this.of(connection)]) this.#all.delete(id);
  }

  values(): IterableIterator<OpenSession> {
    return this.#all.values();
  }

  /** One that is remembered, or that is known from elsewhere, which is not remembered by that. */
  #find(id: string): OpenSession | undefined {
    const open = this.#all.get(id);
    if (open !== undefined) return open;
    const recalled = this.#options.recall?.(id);
    return recalled === undefined ? undefined : opened(id, recalled.session, recalled.transport, recalled.writes);
  }

  /** `open`, as the one that was seen last. */
  #keep(open: OpenSession): OpenSession {
    const { most = Number.POSITIVE_INFINITY, forgotten } = this.#options;
    if (this.#newest === open) return open;
    // without a bound the order is that of beginning
    if (most !== Number.POSITIVE_INFINITY) this.#all.delete(open.id);
    this.#all.set(open.id, open);
    this.#newest = open;
    if (this.#all.size <= most) return open;
    for (const oldest of this.#all.values()) {
      // a proxy's connection knows what belongs together, and is seen with each of its sessions
      if (oldest.isProxied && oldest.session.part === undefined) continue;
      this.#all.delete(oldest.id);
      forgotten?.(oldest);
      break;
    }
    return open;
  }

  #mostOf(most: number): number {
    return this.#options.most === undefined ? most : Math.min(most, boundedMost);
  }

  /** What the `open` entries said that were pruned. */
  #restate({ connections }: PruneEntry): void {
    for (const { connection, mode, custody } of connections) {
      const session = this.#all.get(connection)?.session;
      if (session === undefined) continue;
      session.mode ??= mode;
      session.custody ??= custody;
    }
  }

  #add(open: OpenSession, index: number, entry: Entry): void {
    const { session } = open;
    switch (entry.kind) {
      case 'open':
        session.server = entry.server;
        session.mode = entry.mode;
        session.custody = entry.custody;
        open.transport = entry.transport;
        open.isProxied = entry.transport === 'http';
        if (entry.client !== undefined) session.client = { name: entry.client };
        if (entry.labels !== undefined) session.labels = entry.labels;
        break;
      case 'principal': {
        const principal: Principal = { source: entry.source, index };
        if (entry.uid !== undefined) principal.uid = entry.uid;
        if (entry.pid !== undefined) principal.pid = entry.pid;
        if (session.who.length < 16) session.who.push(principal);
        open.principals.set(index, principal);
        if (open.principals.size > this.#mostOf(principalsMost)) open.principals.delete(open.principals.keys().next().value!);
        break;
      }
      case 'close':
        for (const one of this.of(session.connection)) {
          close(one.session, entry);
          if (!this.#all.has(one.id)) this.#options.forgotten?.(one);
        }
        leftOut(session, entry.uncaptured);
        break;
      case 'gap':
        session.lost += entry.lost.c2s + entry.lost.s2c;
        break;
      case 'policy':
        // a storm, without an entry for each
        if (entry.act === 'limited') session.blocked += entry.count ?? 0;
        break;
      case 'approval':
        decided(open, entry);
        break;
      case 'batch':
        leftOut(session, entry.uncaptured);
        session.sizeBytes += entry.sizeBytes;
        session.anomalies += entry.anomalies?.length ?? 0;
        break;
      case 'message':
        addMessage(open, index, entry, this.#options.tools !== false);
        break;
    }
  }

  toJSON(): unknown {
    return [...this.#all.values()].map(({ id, session, transport, isProxied, waiting, parts, silent, principals, writes }) => ({
      id,
      session,
      transport,
      isProxied,
      writes,
      waiting: [...waiting].map(([index, { isCancelled }]) => [index, isCancelled]),
      parts: [...parts],
      silent,
      principals: [...principals],
    }));
  }

  /** From what `toJSON` gave, without the tools. */
  static from(json: unknown, options: SessionsOptions): Sessions {
    const sessions = new Sessions(options);
    for (const { waiting, parts, principals, ...rest } of json as (Omit<OpenSession, 'waiting' | 'parts' | 'principals'> & {
      waiting: [number, boolean][];
      parts: [number, string][];
      principals: [number, Principal][];
    })[]) {
      const open: OpenSession = {
        ...rest,
        tools: new Map(),
        waiting: new Map(waiting.map(([index, isCancelled]) => [index, { isCancelled }])),
        parts: new Map(parts),
        principals: new Map(principals),
      };
      // one principal, as it was: what is read of it later is told of it everywhere
      open.session.who = open.session.who.map((principal) => open.principals.get(principal.index) ?? principal);
      sessions.#all.set(open.id, open);
    }
    return sessions;
  }
}

/** Requests that still wait and were not cancelled. */
export function waitingCount({ waiting }: OpenSession): number {
  let count = 0;
  for (const { isCancelled } of waiting.values()) if (!isCancelled) count++;
  return count;
}

/** What messages of one session have in common. `initialize` begins one, whose replies name it. */
function partOf(entry: MessageEntry | BatchEntry, index: number): number {
  if (entry.session !== undefined) return entry.session;
  return entry.kind === 'message' && entry.method === 'initialize' && entry.type === 'request' ? index : (entry.who ?? -1);
}

function beginPart(whole: OpenSession, id: string, part: number, index: number, entry: MessageEntry | BatchEntry): OpenSession {
  const open = begin(id, index, entry.connection, entry);
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
  return open;
}

function begin(id: string, index: number, connection: string, entry: Entry): OpenSession {
  const session: Session = {
    connection,
    index,
    server: 'server' in entry ? (entry.server ?? '') : '',
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
    asked: 0,
    uncaptured: 0,
    lost: 0,
    anomalies: 0,
    sizeBytes: 0,
    tools: [],
  };
  return opened(id, session, 'transport' in entry ? entry.transport : 'stdio', 0);
}

function opened(id: string, session: Session, transport: Transport, writes: number): OpenSession {
  return {
    id,
    session,
    transport,
    tools: new Map(),
    waiting: new Map(),
    isProxied: false,
    parts: new Map(),
    silent: [],
    principals: new Map(),
    writes,
  };
}

function close(session: Session, entry: CloseEntry): void {
  session.closedAt = entry.time;
  session.closeReason = entry.reason;
  if (entry.exitCode !== undefined) session.exitCode = entry.exitCode;
  if (entry.signal !== undefined) session.signal = entry.signal;
}

/** What was not approved is refused as if a rule had done it. What its sender took back is counted as cancelled with the notification that says so. */
function decided({ session, waiting }: OpenSession, { request, decision }: ApprovalEntry): void {
  if (decision === 'approved' || decision === 'cancelled') return;
  session.blocked++;
  const asked = waiting.get(request);
  if (asked?.tool !== undefined) asked.tool.blocked++;
  waiting.delete(request);
}

/** Each entry says how many there were so far. */
function leftOut(session: Session, uncaptured: readonly [number, number] = [0, 0]): void {
  session.uncaptured = Math.max(session.uncaptured, uncaptured[0] + uncaptured[1]);
}

function addMessage({ session, tools, waiting }: OpenSession, index: number, entry: MessageEntry, countsTools: boolean): void {
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
  else if (entry.verdict === 'ask') session.asked++;
  if (entry.protocolVersion !== undefined) session.protocolVersion = entry.protocolVersion;
  if (entry.type === 'request') {
    let tool: ToolUse | undefined;
    if (entry.method === 'tools/call' && entry.direction === 'c2s') {
      session.calls++;
      if (countsTools) tool = toolOf(tools, entry);
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
    // of a session that was recalled: it waited when that was forgotten
    if (entry.exchange !== undefined && asked === undefined && session.unanswered > 0) session.unanswered--;
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
