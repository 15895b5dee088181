/**
 * What the recorder knows of open connections, beside the ledger: a disposable snapshot (`run/state.json`) so that a start need not replay everything.
 * Without it, or behind it, the ledger's own entries are replayed through the same pairing as normal running.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  messageTypeOf,
  type ApprovalEntry,
  type BatchEntry,
  type Entry,
  type MessageEntry,
  type OpenEntry,
  type PolicyEntry,
  type PrincipalEntry,
  type RecoveryEntry,
} from '../entry/entry.ts';
import { nodeFiles, replace } from '../ledger/files.ts';
import type { EntryRecord } from '../ledger/segment.ts';
import { judgeBytes } from '../limits.ts';
import { effectOf, type EffectFields } from '../mcp/effect.ts';
import { readMessage, type Message } from '../mcp/message.ts';
import { filled } from '../policy/fill.ts';
import type { Freeze } from '../policy/freeze.ts';
import type { EraseState } from './erase.ts';
import type { PruneState } from './prune.ts';
import { applyHold, type Hold } from './hold.ts';
import { subjectOf, unruled, type CompiledPolicy } from '../policy/judge.ts';
import { asks } from '../policy/match.ts';
import { count } from '../policy/session.ts';
import { ownRules } from '../policy/verdict.ts';
import { asideOf } from './approvals.ts';
import { answerableId, linesFor, linesForApproval } from './answer.ts';
import { attributesOf } from './attributes.ts';
import { Connection, type ConnectionState, type Opened } from './connection.ts';
import { applyFreeze } from './control.ts';
import { Pins } from '../policy/pins.ts';
import type { Limits, LimitsState } from './limiting.ts';
import { joined, noLines, type Lines } from './lines.ts';
import type { NamedPrincipal } from './speaker.ts';
import { learn } from './describe.ts';
import type { UnfinishedBatch } from './record.ts';

/** How many closed connections are remembered: their taps end within seconds, but for one that was stopped and goes on. */
const closedConnections = 256;

interface Snapshot {
  v: 2;
  /** Entries that the snapshot covers. */
  size: number;
  connections: { opened: Opened; state: ConnectionState }[];
  freezes?: Freeze[];
  policy?: RecordedPolicy;
  vkey?: string;
  holds?: readonly Hold[];
  erasures?: EraseState;
  pruned?: PruneState;
  pins?: unknown;
  limits?: unknown;
  asked?: readonly Asked[];
}

/** A request that waited for a person. */
interface Asked {
  index: number;
  entry: MessageEntry;
}

/** The policy that the ledger last said to be in force. */
export interface RecordedPolicy {
  /** Of the entry that says so; absent in a snapshot of a version that did not know it. */
  index?: number;
  digest?: string;
  /** Of the file of pins. */
  pins?: string;
  text: string;
}

export class State {
  readonly connections = new Map<string, Connection>();
  /** What remains of closed ones, oldest first; bounded. */
  readonly closed = new Map<string, Connection>();
  /** The last batch of each connection: its items follow it as entries of their own, without the bytes. */
  readonly #batches = new Map<string, UnfinishedBatch>();
  /** In force from now on; what was judged before stands. */
  readonly #compiled: CompiledPolicy;
  /** Brought up with the entries. */
  readonly #limits: Limits | undefined;
  /** Of the snapshot: the limits' own. */
  readonly #kept: unknown;
  /** First index to replay. */
  readonly from: number;
  /** Of the last entry that was replayed. */
  lastTime = '';
  lastKind: Entry['kind'] | undefined;
  freezes: Freeze[] = [];
  policy: RecordedPolicy | undefined;
  holds: Hold[] = [];
  /** The newest key that an entry names. */
  vkey: string | undefined;
  erasures: EraseState = { pending: [], rests: [], expired: 0 };
  pruned: PruneState = { end: 0 };
  pins = new Pins();
  /** What was refused, and no entry says what was answered. */
  readonly #unanswered: { connection: Connection; entry: MessageEntry; index: number; lines: Lines }[] = [];
  /** What waits for a person, or did when the last recorder ended: by its index. `token`: its id, as far as it can be answered. */
  readonly asked = new Map<number, Asked & { connection: string; token: string | undefined }>();
  /** Answers to the items of the last refused batch of each connection. */
  readonly #refusedItems = new Map<string, { batch: number; lines: Lines[] }>();

  /** The snapshot of `ledger`, or nothing where it cannot be read: the ledger itself says everything that it says. */
  constructor(ledger: string, compiled: CompiledPolicy = unruled, limits?: Limits) {
    this.#compiled = compiled;
    this.#limits = limits;
    let from = 0;
    let kept: unknown;
    try {
      const snapshot = JSON.parse(readFileSync(join(ledger, 'run', 'state.json'), 'utf8')) as Snapshot;
      if (snapshot.v === 2 && Number.isSafeInteger(snapshot.size)) {
        for (const { opened, state } of snapshot.connections) {
          (state.closed === undefined ? this.connections : this.closed).set(opened.connection, new Connection(opened, state, compiled));
        }
        // the last entry before it is replayed again for its time; what it says of a connection is known already
        from = snapshot.size;
        this.freezes = snapshot.freezes ?? [];
        this.policy = snapshot.policy;
        this.vkey = snapshot.vkey;
        this.holds = [...(snapshot.holds ?? [])];
        if (snapshot.erasures !== undefined) this.erasures = snapshot.erasures;
        if (snapshot.pruned !== undefined) this.pruned = snapshot.pruned;
        this.pins = Pins.from(snapshot.pins);
        kept = snapshot.limits;
        for (const { index, entry } of snapshot.asked ?? []) this.#ask(entry, index, entry.truncated?.includes('id') ? undefined : entry.id);
      }
    } catch {
      this.connections.clear();
      this.closed.clear();
      this.freezes = [];
      this.policy = undefined;
      this.vkey = undefined;
      this.holds = [];
      this.erasures = { pending: [], rests: [], expired: 0 };
      this.pruned = { end: 0 };
      this.pins = new Pins();
      this.asked.clear();
    }
    this.from = from;
    this.#kept = kept;
  }

  /** Before the first entry is replayed: what of the snapshot needs the ledger's keys. */
  open(findKey: () => Buffer): void {
    const limits = this.#limits;
    if (limits === undefined) return;
    limits.open(findKey);
    limits.restore(this.#kept);
    for (const connection of this.connections.values()) {
      connection.limit(limits);
      limits.recallAll(connection);
    }
    for (const connection of this.closed.values()) connection.limit(limits);
  }

  /** Brings the connections up to an entry behind the snapshot. */
  replay(record: EntryRecord): void {
    const entry = JSON.parse(record.leaf.toString('utf8')) as Entry;
    this.lastTime = entry.time;
    this.lastKind = entry.kind;
    if (record.index < this.from) return;
    this.#limits?.turnTo(entry);
    if (entry.kind === 'open') this.#open(entry, record);
    else if (entry.kind === 'principal') this.#with(entry, (connection) => this.#principal(connection, entry, record));
    else if (entry.kind === 'close') this.#with(entry, (connection) => bury(connection, entry.reason, this));
    else if (entry.kind === 'recovery') this.#resume(entry);
    else if (entry.kind === 'policy') this.#policy(entry, record);
    else if (entry.kind === 'start' || entry.kind === 'key') this.vkey = entry.vkey;
    else if (entry.kind === 'erasure') {
      // whether its files were written anew nobody knows: it is done again
      this.erasures.pending.push(record.index);
      if (entry.rest !== undefined) this.erasures.rests.push(record.index);
    } else if (entry.kind === 'prune') this.pruned = { end: entry.end, entry: record.index, isPending: true };
    else if (entry.kind === 'approval') this.#approval(entry, record);
    else if (entry.kind === 'message' || entry.kind === 'batch') this.#with(entry, (connection) => this.#message(connection, entry, record));
  }

  #with(entry: { connection: string }, apply: (connection: Connection) => void): void {
    const connection = this.connections.get(entry.connection);
    if (connection !== undefined) apply(connection);
  }

  #principal(connection: Connection, { source, uid, pid, unbelieved }: PrincipalEntry, record: EntryRecord): void {
    if (connection.transport === 'http') {
      const said = attributesOf(record);
      const { key } = said;
      const limitKey = this.#limits?.recall(record.index, said, unbelieved !== true);
      if (typeof key === 'string') connection.recall(key, record.index, limitKey);
      return;
    }
    connection.who = record.index;
    const { executable } = attributesOf(record);
    if (source === 'observed')
      connection.observe({
        ...(uid === undefined ? {} : { uid }),
        ...(pid === undefined ? {} : { pid }),
        ...(typeof executable === 'string' ? { executable } : {}),
      });
  }

  #policy(entry: PolicyEntry, record: EntryRecord): void {
    this.freezes = applyFreeze(this.freezes, entry, record.index);
    this.pins.apply(entry, record.index);
    if (entry.act === 'hold' || entry.act === 'release') {
      this.holds = applyHold(this.holds, entry, record.index, attributesOf(record));
      // what it kept may be due
      if (entry.act === 'release') this.erasures.expired = 0;
    }
    if (entry.act !== 'load') return;
    const attributes = attributesOf(record);
    let text = '';
    for (let i = 1; ; i++) {
      const piece = attributes[i === 1 ? 'text' : `text${i}`];
      if (typeof piece !== 'string') break;
      text += piece;
    }
    const { digest, pins } = entry;
    this.policy = { index: record.index, ...(digest === undefined ? {} : { digest }), ...(pins === undefined ? {} : { pins }), text };
  }

  #open(entry: OpenEntry, record: EntryRecord): void {
    const overrides = attributesOf(record)['overrides'] as Opened['overrides'] | undefined;
    const opened: Opened = {
      connection: entry.connection,
      transport: entry.transport,
      server: entry.server,
      ...(entry.client === undefined ? {} : { client: entry.client }),
      mode: entry.mode,
      onUnrecordable: entry.onUnrecordable,
      custody: entry.custody,
      overrides: overrides ?? { sensitive: [], write: [], read: [] },
      tokenDigest: entry.tokenDigest ?? '',
      ...(entry.labels === undefined ? {} : { labels: entry.labels }),
      ...(entry.tap.pid === undefined ? {} : { tapPid: entry.tap.pid }),
      ...(entry.process === undefined ? {} : { serverPid: entry.process.pid }),
    };
    const connection = new Connection(opened, undefined, this.#compiled);
    connection.isRecorded = true;
    connection.limit(this.#limits);
    this.connections.set(entry.connection, connection);
  }

  /** A tap came back that had been given up. */
  #resume({ connection: id, reason }: RecoveryEntry): void {
    const closed = id === undefined || reason !== 'resumed' ? undefined : this.closed.get(id);
    if (closed !== undefined) unbury(closed, this);
  }

  #message(connection: Connection, entry: MessageEntry | BatchEntry, record: EntryRecord): void {
    connection.seq = entry.seq;
    this.#turnTo(connection, entry, record);
    // nor does anybody know what was in requests that have no entry
    const hasUnknown = entry.uncaptured !== undefined && connection.judge.anyRedactor !== undefined;
    if (hasUnknown || (entry.redacted !== undefined && (entry.kind === 'batch' || entry.type === 'request'))) connection.hadSecrets = true;
    if (entry.retryAfterMs !== undefined) connection.isLimited = true;
    if (entry.uncaptured !== undefined) [connection.uncaptured[0], connection.uncaptured[1]] = entry.uncaptured;
    // it is no answer
    if (entry.origin === 'sworn' && entry.kind === 'message' && entry.type === 'notification') return;
    if (entry.origin === 'sworn') {
      // our own answer to what was refused: it came from no tap. Answers come in the order of what they answer
      const answered = this.#unanswered.findIndex((one) => one.connection === connection);
      if (answered >= 0) this.#unanswered.splice(answered, 1);
      if (entry.kind === 'message' && entry.exchange !== undefined) connection.exchanges.forget(entry.exchange);
      return;
    }
    if (entry.kind === 'message') this.#limits?.replayEnd(entry, connection);
    const direction = entry.direction === 'c2s' ? 0 : 1;
    connection.taken[direction] = Math.max(connection.taken[direction], entry.tapSeq);
    connection.settled[direction] = connection.taken[direction];
    if (entry.verdict === 'block') this.#refused(connection, entry, record);
    if (entry.kind === 'message' && entry.rule === ownRules.notSent && entry.type !== 'notification') {
      this.#tally(connection, entry);
      return;
    }
    if (entry.kind === 'message' && entry.verdict === 'ask') {
      const { id } = entry.truncated?.includes('id') ? attributesOf(record) : entry;
      this.#ask(entry, record.index, typeof id === 'string' ? id : undefined);
    }
    if (entry.kind === 'batch') {
      const bytes = bytesOf(record);
      const batch = bytes && readMessage(bytes);
      if (batch?.type === 'batch') this.#batches.set(connection.id, { index: record.index, entry, batch, bytes: bytes!, next: 0, lines: [] });
    } else if (entry.batch !== undefined) {
      // only the items that are there: a crash may have cut the batch's last entries off
      const found = this.#batches.get(connection.id);
      if (found?.index === entry.batch) found.next = (entry.item ?? 0) + 1;
      const item = found?.index === entry.batch ? found.batch.items[entry.item ?? -1] : undefined;
      if (item !== undefined) this.#pair(connection, item.message, entry, record.index, found!.bytes.subarray(...item.range));
    } else {
      const bytes = bytesOf(record);
      const message = bytes && readMessage(bytes);
      if (message !== undefined && message.type !== 'batch' && message.type === entry.type) {
        this.#pair(connection, message, entry, record.index, bytes!);
      } else if (entry.exchange === record.index) {
        // a long frame is not read again, nor one that is not stored: its entry says what its reply will need
        const request = requestOf(entry);
        if (request !== undefined) this.#pair(connection, request, entry, record.index, Buffer.alloc(0));
      } else if (entry.exchange !== undefined && entry.type !== 'notification') {
        // nor is one that answers: its entry says which request
        this.#tally(connection, entry);
        connection.exchanges.forget(entry.exchange);
      } else this.#tally(connection, entry);
    }
  }

  #ask(entry: MessageEntry, index: number, id: string | undefined): void {
    // of one that was redacted nothing is left that could be answered
    this.asked.set(index, { index, entry, connection: entry.connection, token: id !== undefined && isToken(id) ? id : undefined });
  }

  /** A tap may not have heard of it. */
  #approval({ request, decision, connection: id, monotonicUs }: ApprovalEntry, record: EntryRecord): void {
    const asked = this.asked.get(request);
    this.asked.delete(request);
    const connection = this.connections.get(id) ?? this.closed.get(id);
    if (asked === undefined || connection === undefined) return;
    const { entry, token } = asked;
    const { reason } = attributesOf(record);
    const isApproved = decision === 'approved';
    const lines = isApproved
      ? undefined
      : linesForApproval(entry, request, decision, typeof reason === 'string' ? reason : undefined, token, entry.redacted !== undefined);
    const aside = asideOf(entry);
    connection.asides.decide(aside, lines, connection.taken, connection.delivered);
    connection.asides.tell(aside, lines);
    if (isApproved) connection.exchanges.delivered(request, monotonicUs);
    else connection.exchanges.forget(request);
    if (lines !== undefined && lines.toSender.length > 0) this.#unanswered.push({ connection, entry, index: request, lines });
  }

  /** Who said it, and in which MCP session. */
  #turnTo(connection: Connection, entry: MessageEntry | BatchEntry, record: EntryRecord): void {
    if (entry.transport !== 'http') return;
    const { sessionLink } = entry.attributes === undefined ? {} : attributesOf(record);
    const first = entry.session ?? record.index;
    if (typeof sessionLink === 'string') connection.beginSession(sessionLink, first);
    // what a reply begins is not its own yet
    const isReply = entry.kind === 'message' && (entry.type === 'result' || entry.type === 'error');
    const session = typeof sessionLink !== 'string' ? entry.session : isReply ? undefined : first;
    connection.turnTo(entry.stream, entry.who, session);
  }

  /** A tap that has not heard of a refusal would take the unit for recorded, and deliver it. */
  #refused(connection: Connection, entry: MessageEntry | BatchEntry, record: EntryRecord): void {
    const direction = entry.direction === 'c2s' ? 0 : 1;
    let lines: Lines[];
    if (entry.kind === 'batch') {
      lines = [];
      this.#refusedItems.set(connection.id, { batch: record.index, lines });
    } else {
      const { id } = entry.truncated?.includes('id') ? attributesOf(record) : entry;
      // of one that was redacted nothing is left that could be answered
      const known = typeof id === 'string' && isToken(id) ? id : undefined;
      const bytes = entry.batch === undefined ? bytesOf(record) : this.#itemBytes(connection, entry);
      const found = answerableId(messageTypeOf(entry), known, id === known ? bytes : undefined, connection, entry.direction);
      const line = linesFor(entry, record.index, found.id, found.awaited);
      // each side's answer has an entry of its own
      for (const one of [
        { ...noLines, toSender: line.toSender },
        { ...noLines, toReceiver: line.toReceiver },
      ]) {
        if (one.toSender.length + one.toReceiver.length > 0) this.#unanswered.push({ connection, entry, index: record.index, lines: one });
      }
      const items = this.#refusedItems.get(connection.id);
      if (entry.batch !== undefined && items?.batch === entry.batch) {
        items.lines.push(line);
        lines = items.lines;
        const batch = this.#batches.get(connection.id);
        if (batch?.index === entry.batch) batch.lines = lines;
      } else lines = [line];
    }
    // a frame of several units was held back as a whole
    for (let unit = entry.tapSeq - (entry.parts ?? 1) + 1; unit < entry.tapSeq; unit++) connection.refusedBefore({ direction, unit, ...noLines });
    connection.refusedBefore({ direction, unit: entry.tapSeq, ...joined(lines) });
  }

  /** Of a request, which may be a reply, too. */
  #itemBytes(connection: Connection, { type, batch, item = -1 }: MessageEntry): Buffer | undefined {
    const found = type === 'request' ? this.#batches.get(connection.id) : undefined;
    const range = found?.index === batch ? found?.batch.items[item]?.range : undefined;
    return range === undefined ? undefined : found!.bytes.subarray(...range);
  }

  /** Refusals of open connections whose answers a crash cut off: they are said again, and recorded as if for the first time. */
  get unansweredRefusals(): { connection: Connection; entry: MessageEntry; index: number; lines: Lines }[] {
    return this.#unanswered.filter(({ connection }) => this.connections.get(connection.id) === connection);
  }

  /** Batches of open connections whose last items a crash cut off. */
  get unfinishedBatches(): { connection: Connection; held: UnfinishedBatch }[] {
    return [...this.#batches].flatMap(([id, held]) => {
      const connection = this.connections.get(id);
      return connection === undefined || held.next >= held.batch.items.length ? [] : [{ connection, held }];
    });
  }

  /** Counts what is not read again. */
  #tally(connection: Connection, entry: MessageEntry): void {
    const { direction, method, exchange, verdict, outcome } = entry;
    let effects: Partial<EffectFields> = {};
    for (const request of connection.exchanges.pending()) {
      if (request.index !== exchange) continue;
      effects = request.effects ?? {};
      if (verdict !== 'block') this.#limits?.replayReply(request, entry.sizeBytes);
    }
    count(
      connection.counts,
      { type: messageTypeOf(entry), direction, effects, ...(method === undefined ? {} : { method }) },
      verdict,
      outcome === 'toolError',
    );
  }

  #pair(connection: Connection, message: Message, entry: MessageEntry, index: number, bytes: Buffer): void {
    if (entry.repeats !== undefined) return;
    const placement = connection.exchanges.place(message, entry.direction, index, entry.monotonicUs, connection.scope);
    if (placement.request !== undefined && message.type === 'request' && entry.call !== undefined) placement.request.call = entry.call;
    if (entry.verdict !== 'block') connection.calls.leg(message, bytes, placement.request, entry.who);
    const isReply = message.type === 'result' || message.type === 'error';
    const word = connection.judge.word(message.method === 'tools/call' ? message.target?.value : undefined);
    const effects = asks(message) ? effectOf(message, connection.tools, connection.overrides, word) : (placement.request?.effects ?? {});
    if (message.type === 'request' && placement.request) {
      placement.request.effects = effects as EffectFields;
      // one that was too long was not searched
      const isUnsearched = entry.sizeBytes > judgeBytes && connection.judge.anyRedactor !== undefined;
      if (isUnsearched) connection.hadSecrets = true;
      if (isUnsearched || entry.redacted !== undefined) connection.exchanges.remember(placement.request, undefined);
    }
    const subject = subjectOf(message, entry.direction, effects, isReply ? placement.request : undefined);
    count(connection.counts, subject, entry.verdict, entry.outcome === 'toolError');
    this.#limits?.replay(entry, index, message, subject, placement, connection);
    if (entry.verdict !== 'block') learn(bytes, message, isReply ? placement.request?.method : undefined, connection, {});
    // it was answered in its receiver's place
    else if (message.type === 'request') connection.exchanges.forget(index);
  }

  /** Takes the snapshot away, and what a crash left of one: what it holds may not be kept. */
  static drop(ledger: string): void {
    for (const name of ['state.json', '.state.json.tmp']) {
      try {
        nodeFiles.unlink(join(ledger, 'run', name));
      } catch {
        // there is none
      }
    }
  }

  /** Writes the snapshot. Called only when everything that it covers is durable. Never throws: it is disposable. */
  static write(ledger: string, snapshot: string): void {
    try {
      replace(nodeFiles, join(ledger, 'run', 'state.json'), Buffer.from(snapshot), 0o600);
    } catch {
      // a full disk: the ledger says it all
    }
  }

  /**
   * The snapshot as of now; none while a frame of several units is arriving, or is looked through. Its parts are no entries, so a snapshot could not say which of them it covers:
   * they are found again behind the snapshot before.
   */
  static capture(
    size: number,
    connections: Iterable<Connection>,
    closed: Iterable<Connection>,
    freezes: Freeze[] = [],
    policy?: RecordedPolicy,
    kept: {
      holds?: readonly Hold[];
      erasures?: EraseState;
      pruned?: PruneState;
      vkey?: string;
      pins?: Pins;
      asked?: readonly Asked[];
      limits?: LimitsState | undefined;
    } = {},
    limitKeyOf?: (principal: NamedPrincipal, connection: Connection) => string | undefined,
  ): string | undefined {
    const open = [...connections].filter((connection) => connection.isRecorded);
    if (open.some(({ long, isPaused }) => long[0] !== undefined || long[1] !== undefined || isPaused)) return undefined;
    const snapshot: Snapshot = {
      v: 2,
      size,
      connections: [...open, ...closed].map((connection) => connection.toJSON((principal) => limitKeyOf?.(principal, connection))),
      freezes,
      ...(policy === undefined ? {} : { policy }),
      ...kept,
    };
    return JSON.stringify(snapshot);
  }
}

interface Places {
  readonly connections: Map<string, Connection>;
  readonly closed: Map<string, Connection>;
}

/** Moves a connection to the closed ones, of which the oldest go. */
export function bury(connection: Connection, reason: NonNullable<Connection['closed']>, { connections, closed }: Places): void {
  connections.delete(connection.id);
  connection.closed = reason;
  closed.set(connection.id, connection.remains());
  for (const id of closed.keys()) {
    if (closed.size <= closedConnections) break;
    closed.delete(id);
  }
}

/** Goes on with a connection that was given up as lost, even if its `close` is not durable yet. */
export function unbury(connection: Connection, { connections, closed }: Places): void {
  closed.delete(connection.id);
  connection.reopen();
  connections.set(connection.id, connection);
}

/** A request as far as its entry tells of it; nothing when its id was cut, so that no reply could be told to be its own. */
function requestOf(entry: MessageEntry): Message | undefined {
  if (entry.id === undefined || entry.truncated?.includes('id')) return undefined;
  const { id, method, target } = entry;
  const message = readMessage(
    Buffer.from(`{"jsonrpc":"2.0","id":${id},${JSON.stringify({ method, params: { name: target, uri: target } }).slice(1)}`),
  );
  return message.type === 'request' ? { ...message, ...(entry.era === undefined ? {} : { era: entry.era }) } : undefined;
}

/** The bytes of a frame that is in its own record; what was left out of it is filled. */
function bytesOf(record: EntryRecord): Buffer | undefined {
  if (record.frame.length === 0 || record.frame.some(({ state }) => state === 'part') || record.frame.every(({ state }) => state !== 'kept'))
    return undefined;
  const only = record.frame.length === 1 ? record.frame[0] : undefined;
  if (only?.state === 'kept') return only.bytes as Buffer;
  return Buffer.from(filled(record.frame.map((item) => (item.state === 'kept' ? { bytes: item.bytes } : { missingBytes: item.sizeBytes }))));
}

/** A JSON text or number, whole. */
function isToken(id: string): boolean {
  return /^(?:"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*)$/s.test(id);
}
