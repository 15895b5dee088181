/**
 * What the recorder knows of open connections, beside the ledger: a disposable snapshot (`run/state.json`) so that a start need not replay everything.
 * Without it, or behind it, the ledger's own entries are replayed through the same pairing as normal running.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lossyText } from '../bytes/bytes.ts';
import type { Entry, MessageEntry, OpenEntry, BatchEntry, RecoveryEntry } from '../entry/entry.ts';
import { nodeFiles, replace } from '../ledger/files.ts';
import type { EntryRecord } from '../ledger/segment.ts';
import { effectOf } from '../mcp/effect.ts';
import { readMessage, type Message } from '../mcp/message.ts';
import { Connection, type ConnectionState, type Opened } from './connection.ts';
import { learn, type UnfinishedBatch } from './record.ts';

/** How many closed connections are remembered: their taps end within seconds, but for one that was stopped and goes on. */
const closedConnections = 256;

interface Snapshot {
  v: 1;
  /** Entries that the snapshot covers. */
  size: number;
  connections: { opened: Opened; state: ConnectionState }[];
}

export class State {
  readonly connections = new Map<string, Connection>();
  /** What remains of closed ones, oldest first; bounded. */
  readonly closed = new Map<string, Connection>();
  /** The last batch of each connection: its items follow it as entries of their own, without the bytes. */
  readonly #batches = new Map<string, UnfinishedBatch>();
  /** First index to replay. */
  readonly from: number;
  /** Of the last entry that was replayed. */
  lastTime = '';
  lastKind: Entry['kind'] | undefined;

  /** The snapshot of `ledger`, or nothing where it cannot be read: the ledger itself says everything that it says. */
  constructor(ledger: string) {
    let from = 0;
    try {
      const snapshot = JSON.parse(readFileSync(join(ledger, 'run', 'state.json'), 'utf8')) as Snapshot;
      if (snapshot.v === 1 && Number.isSafeInteger(snapshot.size)) {
        for (const { opened, state } of snapshot.connections) {
          (state.closed === undefined ? this.connections : this.closed).set(opened.connection, new Connection(opened, state));
        }
        // the last entry before it is replayed again for its time; what it says of a connection is known already
        from = snapshot.size;
      }
    } catch {
      this.connections.clear();
      this.closed.clear();
    }
    this.from = from;
  }

  /** Brings the connections up to an entry behind the snapshot. */
  replay(record: EntryRecord): void {
    const entry = JSON.parse(record.leaf.toString('utf8')) as Entry;
    this.lastTime = entry.time;
    this.lastKind = entry.kind;
    if (record.index < this.from) return;
    if (entry.kind === 'open') this.#open(entry, record);
    else if (entry.kind === 'principal') this.#with(entry, (connection) => (connection.who = record.index));
    else if (entry.kind === 'close') this.#with(entry, (connection) => bury(connection, entry.reason, this));
    else if (entry.kind === 'recovery') this.#resume(entry);
    else if (entry.kind === 'message' || entry.kind === 'batch') this.#with(entry, (connection) => this.#message(connection, entry, record));
  }

  #with(entry: { connection: string }, apply: (connection: Connection) => void): void {
    const connection = this.connections.get(entry.connection);
    if (connection !== undefined) apply(connection);
  }

  #open(entry: OpenEntry, record: EntryRecord): void {
    const overrides = attributesOf(record)['overrides'] as Opened['overrides'] | undefined;
    const opened: Opened = {
      connection: entry.connection,
      server: entry.server,
      ...(entry.client === undefined ? {} : { client: entry.client }),
      mode: entry.mode,
      onUnrecordable: entry.onUnrecordable,
      custody: entry.custody,
      overrides: overrides ?? { sensitive: [], write: [], read: [] },
      tokenDigest: entry.tokenDigest ?? '',
      ...(entry.tap.pid === undefined ? {} : { tapPid: entry.tap.pid }),
      ...(entry.process === undefined ? {} : { serverPid: entry.process.pid }),
    };
    const connection = new Connection(opened);
    connection.isRecorded = true;
    this.connections.set(entry.connection, connection);
  }

  /** A tap came back that had been given up. */
  #resume({ connection: id, reason }: RecoveryEntry): void {
    const closed = id === undefined || reason !== 'resumed' ? undefined : this.closed.get(id);
    if (closed !== undefined) unbury(closed, this);
  }

  #message(connection: Connection, entry: MessageEntry | BatchEntry, record: EntryRecord): void {
    connection.seq = entry.seq;
    const direction = entry.direction === 'c2s' ? 0 : 1;
    connection.taken[direction] = Math.max(connection.taken[direction], entry.tapSeq);
    connection.settled[direction] = connection.taken[direction];
    if (entry.kind === 'batch') {
      const bytes = frameOf(record);
      const batch = bytes && readMessage(bytes);
      if (batch?.type === 'batch') this.#batches.set(connection.id, { index: record.index, entry, batch, bytes: bytes!, next: 0 });
    } else if (entry.batch !== undefined) {
      // only the items that are there: a crash may have cut the batch's last entries off
      const held = this.#batches.get(connection.id);
      if (held?.index === entry.batch) held.next = (entry.item ?? 0) + 1;
      const item = held?.index === entry.batch ? held.batch.items[entry.item ?? -1] : undefined;
      if (item !== undefined) this.#pair(connection, item.message, entry, record.index, held!.bytes.subarray(...item.range));
    } else {
      const bytes = frameOf(record);
      if (bytes !== undefined) {
        const message = readMessage(bytes);
        if (message.type !== 'batch') this.#pair(connection, message, entry, record.index, bytes);
      } else if (entry.exchange === record.index) {
        // a long frame is not read again: its entry says what its reply will need
        const message = requestOf(entry);
        if (message !== undefined) this.#pair(connection, message, entry, record.index, Buffer.alloc(0));
      } else if (entry.exchange !== undefined && entry.type !== 'notification') {
        // nor is one that answers: its entry says which request
        connection.exchanges.forget(entry.exchange);
      }
    }
  }

  /** Batches of open connections whose last items a crash cut off. */
  get unfinishedBatches(): { connection: Connection; held: UnfinishedBatch }[] {
    return [...this.#batches].flatMap(([id, held]) => {
      const connection = this.connections.get(id);
      return connection === undefined || held.next >= held.batch.items.length ? [] : [{ connection, held }];
    });
  }

  #pair(connection: Connection, message: Message, entry: MessageEntry | BatchEntry, index: number, bytes: Buffer): void {
    const placement = connection.exchanges.place(message, entry.direction, index, entry.monotonicUs, entry.stream);
    if (message.type === 'request' && placement.request) placement.request.effects = effectOf(message, connection.tools, connection.overrides);
    const isReply = message.type === 'result' || message.type === 'error';
    learn(bytes, message, isReply ? placement.request?.method : undefined, connection, {});
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
   * The snapshot as of now; none while a frame of several units is arriving. Its parts are no entries, so a snapshot could not say which of them it covers:
   * they are found again behind the snapshot before.
   */
  static capture(size: number, connections: Iterable<Connection>, closed: Iterable<Connection>): string | undefined {
    const open = [...connections].filter((connection) => connection.isRecorded);
    if (open.some(({ long }) => long[0] !== undefined || long[1] !== undefined)) return undefined;
    return JSON.stringify({ v: 1, size, connections: [...open, ...closed].map((connection) => connection.toJSON()) } satisfies Snapshot);
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

/** Goes on with a connection that was given up as lost. What waited then is over; who it is will be recorded again. */
export function unbury(connection: Connection, { connections, closed }: Places): void {
  closed.delete(connection.id);
  connection.closed = undefined;
  connection.who = undefined;
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

/** The bytes of a frame of one kept segment. */
function frameOf(record: EntryRecord): Buffer | undefined {
  const item = record.frame.length === 1 ? record.frame[0]! : undefined;
  return item?.state === 'kept' ? (item.bytes as Buffer) : undefined;
}

function attributesOf(record: EntryRecord): Record<string, unknown> {
  const attributes: Record<string, unknown> = {};
  for (const item of record.attributes) {
    if (item.state === 'kept') Object.assign(attributes, JSON.parse(lossyText(item.bytes)));
  }
  return attributes;
}
