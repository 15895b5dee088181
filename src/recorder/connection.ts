/**
 * One tapped connection as the recorder knows it: its counters, its waiting requests, the tools it has seen, and what it still owes its tap.
 * Everything here can be had again: from the ledger alone (`replay`), or faster from the snapshot (`toJSON`).
 */
import type { CloseEntry, Custody, Mode, OnUnrecordable } from '../entry/entry.ts';
import type { ContentItem } from '../ledger/segment.ts';
import type { Receipt } from '../ledger/ledger.ts';
import { splitOverrides, Tools, type SplitOverrides } from '../mcp/effect.ts';
import { Exchanges } from '../mcp/exchange.ts';
import type { MessageReader } from '../mcp/message.ts';
import { encodeAnswer, encodeJson, encodeRefusal, wireType, type DirectionIndex, type Hello, type Refusal, type Wait } from '../wire/wire.ts';

/** What a connection was opened with. Kept in the snapshot. */
export interface Opened {
  connection: string;
  server: string;
  client?: string;
  mode: Mode;
  onUnrecordable: OnUnrecordable;
  custody: Custody;
  overrides: Hello['overrides'];
  tokenDigest: string;
  tapPid?: number;
  serverPid?: number;
}

/** A frame of several units that is still arriving. */
export interface LongFrame {
  reader: MessageReader;
  hashes: Uint8Array[];
  items: ContentItem[];
  sizeBytes: number;
  units: number;
  seenUs: number;
  /** A part could not be stored, or there are too many: the frame is refused, unit by unit. */
  failed: boolean;
  /** The units so far, while the frame may be a list of tools, up to `limits.peekBytes`. */
  kept: Buffer[] | undefined;
}

/** Frames that were not recorded, until a `gap` entry says so. */
export interface Losses {
  lost: [number, number];
  reason: string;
  fromUs: number;
  untilUs: number;
}

/** What a `close` entry says beside what every entry says; `error` is an attribute. */
export type Closing = Omit<CloseEntry, 'v' | 'kind' | 'time' | 'monotonicUs' | 'connection'> & { error?: string };

export interface TapSocket {
  write(bytes: Buffer): unknown;
}

/** A tap has at most its window on the way; of refusals it needs those that it may not have read. */
const keptRefusals = 1_024;

export class Connection {
  readonly opened: Opened;
  readonly overrides: SplitOverrides;
  readonly exchanges: Exchanges;
  readonly tools: Tools;
  /** `open` is in the ledger, or on its way. */
  isRecorded = false;
  /** Index of the `principal` entry, which is in the ledger, or on its way. */
  who: number | undefined;
  /** Entries of this connection so far. */
  seq: number;
  /** Last unit taken from the tap, per direction; what comes again is dropped. */
  readonly taken: [number, number];
  /** Last unit that is durable or counted as lost. */
  readonly settled: [number, number];
  readonly delivered: [number, number] = [0, 0];
  readonly long: [LongFrame | undefined, LongFrame | undefined] = [undefined, undefined];
  /** The attributes that are recorded once. */
  namedClient = false;
  namedServer = false;
  executableDigest: string | undefined;
  losses: Losses | undefined;
  socket: TapSocket | undefined;
  /** `close` is in the ledger, or on its way: with this reason. */
  closed: CloseEntry['reason'] | undefined;
  /** A `close` that could not be stored yet. */
  closeDue: Closing | undefined;
  /** A tap came back, and no entry says so yet: it must stand before every other that follows a `close`. */
  isReturnDue: boolean;
  wait: Wait;
  /** Since when no tap is attached, monotonic ms. */
  lostAt: number | undefined;

  /** The last refusals, for a tap whose socket broke before it had read them. */
  readonly #refusals: Buffer[] = [];
  readonly #judged: [number, number] = [0, 0];
  readonly #answered: [number, number] = [0, 0];
  readonly #receipts: [Receipt | undefined, Receipt | undefined] = [undefined, undefined];

  constructor(opened: Opened, state?: ConnectionState) {
    this.opened = opened;
    this.overrides = splitOverrides(opened.overrides);
    this.exchanges = Exchanges.from(state?.pending);
    this.tools = Tools.from(state?.tools);
    this.seq = state?.seq ?? 0;
    this.taken = state ? [...state.taken] : [0, 0];
    this.settled = [...this.taken];
    this.who = state?.who;
    this.namedClient = state?.named[0] ?? false;
    this.namedServer = state?.named[1] ?? false;
    this.isRecorded = state !== undefined;
    this.closed = state?.closed;
    this.isReturnDue = state?.isReturnDue ?? false;
    this.wait = opened.mode === 'commit' ? 'receipt' : 'none';
  }

  get id(): string {
    return this.opened.connection;
  }

  get isClosed(): boolean {
    return this.closed !== undefined;
  }

  /**
   * What is kept of a connection behind its `close`: a tap may not have heard that it is durable, or may come back although it was given up. A new `open`
   * would record its frames twice.
   */
  remains(): Connection {
    const { opened, state } = this.toJSON();
    return new Connection(opened, { ...state, pending: [], tools: [] });
  }

  /** The unit was judged: in wait class `verdict` it may go. */
  judged(direction: DirectionIndex, unit: number): void {
    this.#judged[direction] = unit;
  }

  /** The unit is durable (with the receipt of its entry, if it ended a frame), or counted as lost. */
  settle(direction: DirectionIndex, unit: number, receipt?: Receipt): void {
    if (unit > this.settled[direction]) this.settled[direction] = unit;
    if (receipt !== undefined) this.#receipts[direction] = receipt;
  }

  /** Tells the tap what has changed since the last time: one message for each direction. */
  answer(): void {
    if (this.socket === undefined) return;
    for (const direction of [0, 1] as const) {
      if (this.wait === 'verdict' && this.#judged[direction] > this.settled[direction]) {
        this.socket.write(encodeAnswer(wireType.pass, { direction, through: this.#judged[direction] }));
      }
      if (this.settled[direction] === this.#answered[direction]) continue;
      this.#answered[direction] = this.settled[direction];
      const receipt = this.#receipts[direction];
      const type = this.wait === 'none' ? wireType.durable : wireType.pass;
      this.socket.write(encodeAnswer(type, { direction, through: this.settled[direction], ...(receipt ? { receipt } : {}) }));
      if (this.wait === 'verdict') this.socket.write(encodeAnswer(wireType.durable, { direction, through: this.settled[direction] }));
    }
  }

  /** Refuses a unit, after everything before it was answered. */
  refuse(refusal: Refusal): void {
    const { direction, unit } = refusal;
    // it may have been judged before it could not be stored
    this.#judged[direction] = Math.min(this.#judged[direction], unit - 1);
    this.answer();
    this.settled[direction] = Math.max(this.settled[direction], unit);
    this.#answered[direction] = this.settled[direction];
    const message = encodeRefusal(refusal);
    this.#refusals.push(message);
    if (this.#refusals.length > keptRefusals) this.#refusals.shift();
    this.socket?.write(message);
  }

  raise(wait: Wait): void {
    if (wait === this.wait) return;
    this.answer();
    this.wait = wait;
    this.socket?.write(encodeJson(wireType.wait, { wait }));
  }

  /** A tap is attached (again): it learns from `welcome` what is settled. */
  attach(socket: TapSocket): void {
    this.socket = socket;
    // Before `welcome`, whose `durable` covers refused units too: a tap that never read a refusal must not take it for a pass.
    // One that did ignores it the second time.
    for (const refusal of this.#refusals) socket.write(refusal);
    this.lostAt = undefined;
    this.#answered[0] = this.settled[0];
    this.#answered[1] = this.settled[1];
  }

  lose(direction: DirectionIndex, reason: string, nowUs: number): void {
    this.losses ??= { lost: [0, 0], reason, fromUs: nowUs, untilUs: nowUs };
    this.losses.lost[direction] = Math.min(this.losses.lost[direction] + 1, Number.MAX_SAFE_INTEGER);
    this.losses.untilUs = nowUs;
  }

  toJSON(): { opened: Opened; state: ConnectionState } {
    const state: ConnectionState = {
      seq: this.seq,
      taken: this.taken,
      named: [this.namedClient, this.namedServer],
      pending: this.exchanges.toJSON(),
      tools: this.tools.toJSON(),
      ...(this.who === undefined ? {} : { who: this.who }),
      ...(this.closed === undefined ? {} : { closed: this.closed }),
      ...(this.isReturnDue ? { isReturnDue: true } : {}),
    };
    return { opened: this.opened, state };
  }
}

export interface ConnectionState {
  seq: number;
  taken: [number, number];
  who?: number;
  named: [boolean, boolean];
  closed?: CloseEntry['reason'];
  isReturnDue?: boolean;
  pending: unknown;
  tools: unknown;
}
