/**
 * The rules between entries: counts without holes, connections that begin and end, references that point at what they say.
 * Keeps the state of each open connection, the name of each closed one, and five bytes for each entry.
 */
import type { CloseEntry, Custody, CutConnection, Direction, Entry, MessageEntry, BatchEntry, PrincipalEntry } from '../entry/entry.ts';
import { Asked } from './asked.ts';
import { weaker } from './custody.ts';
import type { Findings } from './finding.ts';
import type { SeenMessage, SeenPrincipal } from './seen.ts';

interface Connection {
  ordinal: number;
  open: number;
  mode: 'commit' | 'observe' | undefined;
  /** Entries of the connection so far, and those of them that carry a `seq`. */
  entries: number;
  /** `seq` that the next entry should have; 0 before the first. */
  seq: number;
  /** Last unit of each direction, what is missing before it, and what a `gap` admits. */
  last: [number, number];
  holes: [number, number];
  firstHole: number;
  lost: [number, number];
  /** Units that `capture: none` left out, as of the last unit of each direction. */
  uncaptured: [number, number];
  /** It has entries that were pruned, which others may name. */
  isCut?: true;
}

/** What an entry is to a reference; a request keeps its direction. */
const isOther = 0;
const isRequestC2s = 1;
const isRequestS2c = 2;
const isPrincipal = 3;
const isBatch = 4;

const sideOf = (direction: Direction): 0 | 1 => (direction === 'c2s' ? 0 : 1);
const sideName = ['client to server', 'server to client'] as const;

export class Sequences {
  readonly #findings: Findings;
  readonly #asked: Asked;
  readonly #open = new Map<string, Connection>();
  readonly #closed = new Map<string, number>();
  /** Batches whose last item was not seen: how many items they say they have, and how many were seen. */
  readonly #batches = new Map<number, number>();
  readonly #items = new Map<number, number>();
  /** Entries below are pruned; those behind it have their place in the next two from there on. */
  #from = 0;
  #roles = new Uint8Array(1024);
  #connections = new Uint32Array(1024);
  connections = 0;
  messages = 0;
  lostFrames = 0;
  missingUnits = 0;
  repliesToNothing = 0;
  custody: Custody | undefined;
  #firstReplyToNothing: number | undefined;

  constructor(findings: Findings) {
    this.#findings = findings;
    this.#asked = new Asked(findings);
  }

  /** Begins behind a bound. The connections have entries before it: what they had counted is no longer known. Before anything else. */
  restate(end: number, connections: readonly CutConnection[]): void {
    this.#from = end;
    this.#asked.from = end;
    for (const { connection: name, index, mode, custody } of connections) {
      this.#cut(name, index, mode);
      this.custody = weaker(this.custody, custody);
    }
  }

  #cut(name: string, index: number, mode: Connection['mode']): void {
    const connection = this.#begin(name, index, mode);
    connection.isCut = true;
    connection.seq = -1;
    connection.last = [-1, -1];
  }

  add(index: number, entry: Exclude<Entry, MessageEntry | PrincipalEntry> | SeenMessage | SeenPrincipal): void {
    if (index - this.#from >= this.#roles.length) this.#grow(index - this.#from);
    this.#asked.add(index, entry);
    switch (entry.kind) {
      case 'open': {
        if (this.#open.has(entry.connection)) {
          this.#findings.add('tampered', 'sequence', `connection ${entry.connection} is opened a second time`, { index });
          return;
        }
        if (this.#closed.has(entry.connection)) {
          // A tap that was given up and forgotten came back: its recorder could not know better.
          this.#findings.add('note', 'recovery', 'a connection that was given up was opened again', { index });
          this.#reopen(entry.connection, index, entry.mode).entries = 1;
        } else this.#begin(entry.connection, index, entry.mode).entries = 1;
        this.custody = weaker(this.custody, entry.custody);
        break;
      }
      case 'principal': {
        const connection = this.#of(entry.connection, index, entry.kind);
        connection.entries++;
        this.#roles[index - this.#from] = isPrincipal;
        this.#connections[index - this.#from] = connection.ordinal;
        break;
      }
      case 'message':
      case 'batch':
        this.#frame(index, entry);
        break;
      case 'close':
        this.#close(index, entry);
        break;
      case 'gap': {
        // A gap may be written after the connection was given up: it is not a message after the close.
        const connection = this.#open.get(entry.connection);
        if (connection) {
          connection.entries++;
          connection.lost[0] += entry.lost.c2s;
          connection.lost[1] += entry.lost.s2c;
        }
        this.lostFrames += entry.lost.c2s + entry.lost.s2c;
        const lost = `${entry.lost.c2s} from client to server, ${entry.lost.s2c} from server to client`;
        this.#findings.add('warning', 'gap', `frames were not recorded: ${lost}`, { index });
        break;
      }
      case 'recovery': {
        if (entry.reason === 'resumed' && entry.connection !== undefined && this.#closed.has(entry.connection)) {
          this.#reopen(entry.connection, index, undefined);
        } else if (entry.reason === 'resumed' && entry.connection !== undefined && this.#from > 0 && !this.#open.has(entry.connection)) {
          // it was closed before the bound, and nothing of it stood behind it until now
          this.#cut(entry.connection, index, undefined);
        }
        const isSerious = entry.reason === 'receipt-missing' || entry.reason === 'clock-set-back';
        const what = {
          'torn-record': `an incomplete last record was cut after a crash (${entry.cutBytes ?? 0} bytes)`,
          'clock-set-back': `the clock was set back by ${entry.backUs ?? 0} µs`,
          'unclean-stop': 'the recorder had not stopped in order',
          'receipt-missing': 'a tap holds a receipt for a record that is not here',
          resumed: 'a connection was resumed after the recorder had stopped',
        }[entry.reason];
        this.#findings.add(isSerious ? 'warning' : 'note', 'recovery', what ?? 'a recovery of a kind that this version does not know', { index });
        break;
      }
      default:
    }
  }

  /** Reports what only the end shows. */
  finish(): void {
    for (const connection of this.#open.values()) this.#judgeHoles(connection);
    if (this.#open.size > 0) {
      const first = this.#open.values().next().value!;
      this.#findings.add('note', 'no-close', `${this.#open.size} connection(s) without a close: still open, or lost`, { index: first.open });
    }
    for (const [batch, items] of this.#batches) {
      const missing = items - (this.#items.get(batch) ?? 0);
      this.#findings.add('warning', 'sequence', `${missing} of ${items} items of the batch ${batch} have no entry; its bytes are recorded`, {
        index: batch,
      });
    }
    this.#asked.finish();
    if (this.repliesToNothing > 0) {
      const at = this.#firstReplyToNothing === undefined ? {} : { index: this.#firstReplyToNothing };
      this.#findings.add('note', 'reply-to-nothing', `${this.repliesToNothing} replies answer no request that is recorded`, at);
    }
  }

  get openConnections(): number {
    return this.#open.size;
  }

  #grow(place: number): void {
    const size = Math.max(this.#roles.length * 2, place + 1);
    const roles = new Uint8Array(size);
    roles.set(this.#roles);
    const connections = new Uint32Array(size);
    connections.set(this.#connections);
    this.#roles = roles;
    this.#connections = connections;
  }

  #begin(name: string, index: number, mode: Connection['mode']): Connection {
    const connection: Connection = {
      ordinal: ++this.connections,
      open: index,
      mode,
      entries: 0,
      seq: 0,
      last: [0, 0],
      holes: [0, 0],
      firstHole: index,
      lost: [0, 0],
      uncaptured: [0, 0],
    };
    this.#open.set(name, connection);
    return connection;
  }

  /** Goes on with a closed connection. Its entries keep their ordinal, so that references across the close hold; what it had counted is no longer known. */
  #reopen(name: string, index: number, mode: Connection['mode']): Connection {
    const ordinal = this.#closed.get(name)!;
    this.#closed.delete(name);
    const connection = this.#begin(name, index, mode);
    this.connections--;
    connection.ordinal = ordinal;
    connection.seq = -1;
    connection.last = [-1, -1];
    return connection;
  }

  #of(name: string, index: number, kind: string): Connection {
    const known = this.#open.get(name);
    if (known) return known;
    if (this.#closed.has(name)) {
      this.#findings.add('tampered', 'after-close', `a ${kind} of connection ${name} after its close`, { index });
      this.#closed.delete(name);
    } else {
      this.#findings.add('tampered', 'no-open', `a ${kind} of connection ${name}, which was never opened`, { index });
    }
    // Reported once: from here on the connection counts as open, with counts that begin where it now stands.
    const connection = this.#begin(name, index, undefined);
    connection.seq = -1;
    connection.last = [-1, -1];
    return connection;
  }

  #frame(index: number, entry: SeenMessage | BatchEntry): void {
    const connection = this.#of(entry.connection, index, entry.kind);
    this.#connections[index - this.#from] = connection.ordinal;
    this.#countSeq(index, entry, connection);
    const isItem = entry.kind === 'message' && entry.batch !== undefined;
    if (!isItem && entry.origin !== 'sworn') this.#countUnits(index, entry, connection);
    if (entry.who !== undefined && !this.#points(entry.who, index, connection, isPrincipal, isPrincipal)) {
      this.#findings.add('tampered', 'reference', `\`who\` names ${entry.who}, which is no principal of this connection before it`, { index });
    }
    if (entry.kind === 'batch') {
      this.#roles[index - this.#from] = isBatch;
      if (entry.items > 0) this.#batches.set(index, entry.items);
      return;
    }
    this.messages++;
    if (entry.type === 'request') this.#roles[index - this.#from] = entry.direction === 'c2s' ? isRequestC2s : isRequestS2c;
    if (isItem && !this.#points(entry.batch!, index, connection, isBatch, isBatch)) {
      this.#findings.add('tampered', 'reference', `\`batch\` names ${entry.batch}, which is no batch of this connection before it`, { index });
    }
    if (isItem) this.#countItem(index, entry.batch!, entry.item!);
    this.#exchange(index, entry, connection);
  }

  /** Items come in order, each once; after a crash the next recorder adds those that were cut off. */
  #countItem(index: number, batch: number, item: number): void {
    const due = this.#batches.get(batch);
    if (due === undefined) return; // not a batch, or complete: the reference was judged
    const seen = this.#items.get(batch) ?? 0;
    if (item !== seen) this.#findings.add('tampered', 'sequence', `item ${item} of the batch ${batch} where item ${seen} was next`, { index });
    if (item + 1 < due) this.#items.set(batch, item + 1);
    else {
      this.#items.delete(batch);
      this.#batches.delete(batch);
    }
  }

  #exchange(index: number, entry: SeenMessage, connection: Connection): void {
    const { exchange, call, type } = entry;
    if (exchange === undefined) {
      // what we answer to a message without an id, or to a reply to nothing, answers no request either
      if ((type !== 'result' && type !== 'error') || entry.origin === 'sworn') return;
      const asked = sideOf(entry.direction) === 0 ? 1 : 0;
      const isLeftOut = (entry.uncaptured?.[asked] ?? 0) > 0 && !entry.anomalies?.includes('reply-to-nothing');
      if (isLeftOut) return;
      this.repliesToNothing++;
      this.#firstReplyToNothing ??= index;
      return;
    }
    if (type === 'request') {
      if (exchange !== index)
        this.#findings.add('tampered', 'reference', `a request whose \`exchange\` is ${exchange}, not its own index`, { index });
    } else if (type === 'result' || type === 'error') {
      // A reply goes the other way than its request.
      const role = entry.direction === 'c2s' ? isRequestS2c : isRequestC2s;
      if (!this.#points(exchange, index, connection, role, role)) {
        this.#findings.add('tampered', 'reference', `a reply to ${exchange}, which is no request of the other side on this connection before it`, {
          index,
        });
      }
    } else if (!this.#points(exchange, index, connection, isRequestC2s, isRequestS2c)) {
      this.#findings.add('tampered', 'reference', `\`exchange\` names ${exchange}, which is no request of this connection before it`, { index });
    }
    if (call !== undefined && call >= this.#from && (call > index || !this.#isRequest(call))) {
      this.#findings.add('tampered', 'reference', `\`call\` names ${call}, which is no request before it`, { index });
    }
  }

  #isRequest(index: number): boolean {
    const role = this.#roles[index - this.#from];
    return role === isRequestC2s || role === isRequestS2c;
  }

  #points(to: number, from: number, connection: Connection, role: number, orRole: number): boolean {
    if (to < this.#from) return connection.isCut === true;
    if (to >= from || this.#connections[to - this.#from] !== connection.ordinal) return false;
    const found = this.#roles[to - this.#from] ?? isOther;
    return found === role || found === orRole;
  }

  #countSeq(index: number, entry: SeenMessage | BatchEntry, connection: Connection): void {
    connection.entries++;
    if (connection.seq === 0) {
      // The first may count from the connection's first message, or from its `open`.
      if (entry.seq !== 1 && entry.seq !== connection.entries) {
        this.#findings.add('tampered', 'sequence', `the connection's first \`seq\` is ${entry.seq}`, { index });
      }
    } else if (connection.seq > 0 && entry.seq !== connection.seq && entry.seq !== connection.seq + connection.entries - 1) {
      this.#findings.add('tampered', 'sequence', `\`seq\` is ${entry.seq} where ${connection.seq} was next`, { index });
    }
    connection.seq = entry.seq + 1;
    // From here `entries` counts what stands between two entries that carry a `seq`.
    connection.entries = 0;
  }

  #countUnits(index: number, entry: SeenMessage | BatchEntry, connection: Connection): void {
    const side = sideOf(entry.direction);
    const last = connection.last[side];
    const missing = last < 0 ? 0 : entry.tapSeq - (entry.parts ?? 1) - last;
    if (missing < 0) {
      const severity = connection.mode === 'observe' ? 'warning' : 'tampered';
      this.#findings.add(severity, 'units-repeated', `unit ${entry.tapSeq} ${sideName[side]} after unit ${last}`, { index });
    }
    this.#hole(index, connection, side, missing, entry.uncaptured ?? [0, 0]);
    connection.last[side] = Math.max(last, entry.tapSeq);
  }

  /** `missing` units before `index`; those that capture rules left out are no hole. */
  #hole(index: number, connection: Connection, side: 0 | 1, missing: number, uncaptured: readonly [number, number]): void {
    const leftOut = uncaptured[side] - connection.uncaptured[side];
    connection.uncaptured[side] = uncaptured[side];
    // where the entries before are not known there is nothing to count from
    if (connection.last[side] < 0) return;
    const most = Math.max(0, missing);
    if (leftOut < 0 || leftOut > most) {
      const what = leftOut < 0 ? `${-leftOut} fewer than before` : `${leftOut} more, where ${most} are missing`;
      this.#findings.add('tampered', 'sequence', `units ${sideName[side]} that are said to be left out: ${what}`, { index });
    }
    const hole = most - Math.max(0, leftOut);
    if (hole <= 0) return;
    if (connection.holes[0] + connection.holes[1] === 0) connection.firstHole = index;
    connection.holes[side] += hole;
  }

  #close(index: number, entry: CloseEntry): void {
    const connection = this.#of(entry.connection, index, entry.kind);
    if (entry.frames) {
      for (const side of [0, 1] as const) {
        const said = side === 0 ? entry.frames.c2s : entry.frames.s2c;
        const missing = connection.last[side] < 0 ? 0 : said - connection.last[side];
        this.#hole(index, connection, side, missing, entry.uncaptured ?? connection.uncaptured);
      }
    }
    this.#judgeHoles(connection);
    this.#open.delete(entry.connection);
    this.#closed.set(entry.connection, connection.ordinal);
  }

  /** A hole is explained by a `gap` of the connection; in mode `observe` it may stay when recorder and tap both died. */
  #judgeHoles(connection: Connection): void {
    for (const side of [0, 1] as const) {
      if (connection.holes[side] === 0) continue;
      this.missingUnits += connection.holes[side];
      if (connection.lost[side] > 0) continue;
      const severity = connection.mode === 'observe' ? 'warning' : 'missing';
      this.#findings.add(
        severity,
        'units-missing',
        `${connection.holes[side]} unit(s) ${sideName[side]} were counted by the tap but are not recorded`,
        {
          index: connection.firstHole,
        },
      );
    }
  }
}
