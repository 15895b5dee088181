/**
 * One tapped connection as the recorder knows it: its counters, its waiting requests, the tools it has seen, and what it still owes its tap.
 * Everything here can be had again: from the ledger alone (`replay`), or faster from the snapshot (`toJSON`).
 */
import type { CloseEntry, Custody, Entry, Mode, OnUnrecordable, Transport } from '../entry/entry.ts';
import type { ContentItem } from '../ledger/segment.ts';
import type { Receipt } from '../ledger/ledger.ts';
import { seenEvents, toolsCount } from '../limits.ts';
import { splitOverrides, Tools, type EffectFields, type SplitOverrides, type ToolDefinition } from '../mcp/effect.ts';
import { Exchanges, type Slots } from '../mcp/exchange.ts';
import type { MessageReader } from '../mcp/message.ts';
import type { Hasher } from '../bytes/crypto.ts';
import { Judge, unruled, type CompiledPolicy } from '../policy/judge.ts';
import { partyOf } from '../policy/principal.ts';
import { countsFrom, newCounts, type SessionCounts } from '../policy/session.ts';
import type { Principal } from '../wire/principal.ts';
import { encodeAnswer, encodeJson, wireType, type Aside, type DirectionIndex, type Head, type Hello, type Wait } from '../wire/wire.ts';
import { Asides, type OverState } from './asides.ts';
import { Calls } from './calls.ts';
import type { Lines } from './lines.ts';
import { Refusals, type KeptRefusal, type RefusalsState } from './refusals.ts';
import { Recent, scopeOf, sessionIn, speakerKey, type NamedPrincipal, type Speaker } from './speaker.ts';

/** What a connection was opened with. Kept in the snapshot. */
export interface Opened {
  connection: string;
  /** Absent: stdio. */
  transport?: Transport;
  server: string;
  client?: string;
  mode: Mode;
  onUnrecordable: OnUnrecordable;
  custody: Custody;
  overrides: Hello['overrides'];
  tokenDigest: string;
  labels?: Record<string, string>;
  /** It is a proxy's, and what it verified is believed. */
  isTrusted?: true;
  /** What the OS says of who is behind it. */
  observed?: { uid?: number; pid?: number; executable?: string };
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
  /** It is held back until all of it was looked at. */
  whole: boolean;
  /** It can still be refused, and a rule may want to. */
  refusable: boolean;
  /** The units so far, while the frame may be a list of tools, up to `limits.peekBytes`; of a whole one up to `limits.judgeBytes`. */
  kept: Buffer[] | undefined;
  /** Of one that grew too long to be kept: what binds its content. */
  hasher: Hasher | undefined;
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

/** How long after its welcome a tap may have something under way that it read before. */
const underWayUs = 1_000_000;

export class Connection {
  readonly opened: Opened;
  readonly overrides: SplitOverrides;
  exchanges: Exchanges;
  readonly tools: Tools;
  readonly calls: Calls;
  /** Frames that wait for a person. */
  readonly asides: Asides;
  /** The request that a stream began with: what its server asks meanwhile belongs to it. */
  readonly asked = new Recent<number>();
  /** SSE events with an id, by session and id: what is sent again is no second message (MCP 2025-11-25, Streamable HTTP, resumability). */
  readonly events = new Recent<number>(seenEvents);
  /** `open` is in the ledger, or on its way. */
  isRecorded = false;
  /** Whose frame it is that is worked on. */
  #speaker: Speaker;
  /** Where the ids of that frame are unique, and its MCP session: the index of the first entry of that. */
  scope = 0;
  session: number | undefined;
  /** Those of an HTTP connection, by the indexes of principal and session. */
  readonly #speakers = new Recent<Speaker>();
  readonly #principals = new Recent<NamedPrincipal>();
  /** What was done in each MCP session, by its index: whoever says to be somebody else in it does not begin anew. */
  readonly #sessionCounts = new Recent<SessionCounts>();
  /** MCP sessions, by the link of their id. */
  readonly #sessions = new Recent<number>();
  /** Entries of this connection so far. */
  seq: number;
  /** Last unit taken from the tap, per direction; what comes again is dropped. */
  readonly taken: [number, number];
  /** Last unit that is durable or counted as lost. */
  readonly settled: [number, number];
  readonly delivered: [number, number] = [0, 0];
  readonly long: [LongFrame | undefined, LongFrame | undefined] = [undefined, undefined];
  /** The attributes that are recorded once. */
  namedServer = false;
  executableDigest: string | undefined;
  losses: Losses | undefined;
  socket: TapSocket | undefined;
  /** `close` is in the ledger, or on its way: with this reason. */
  closed: CloseEntry['reason'] | undefined;
  /** The `close` that is on its way: one that a returning tap has overtaken closes nothing any more. */
  closing: Closing | undefined;
  /** A `close` that could not be stored yet. */
  closeDue: Closing | undefined;
  /** A tap came back, and no entry says so yet: it must stand before every other that follows a `close`. */
  isReturnDue: boolean;
  wait: Wait;
  /** Something was left out of a request, whose answer may come when nobody knows any more to what it belongs. */
  hadSecrets: boolean;
  /** Units per direction that have no entry (`capture: none`, and most of what limits refuse). */
  readonly uncaptured: [number, number];
  /** A limit refused something here: of more of it there may be no entries. */
  isLimited: boolean;
  /** Since when no tap is attached, monotonic ms. */
  lostAt: number | undefined;

  readonly #refusals: Refusals;
  /** Units that will be refused once that is durable, in order: nothing from there on may be passed before. */
  readonly #refusing: [number[], number[]] = [[], []];
  /** As the tap was told. */
  #unreached: OnUnrecordable | undefined;
  /** The tap need not wait any more, once nothing is left that is to be refused. */
  #isRelaxing = false;
  /** The attached tap has delivered something without waiting: it knows its wait class. */
  #isFree = false;
  /** When a tap that had not shown so was told to wait, monotonic µs. */
  #raisedUs = -Infinity;
  #shownServer: string | undefined;
  #slots: Slots | undefined;
  #hidesClient = false;
  readonly #hiddenTools = new Set<string>();
  /** Erased in the ledger, and so not written beside it. */
  #hidesExecutable = false;
  #hidesOverrides = false;
  /** No unit has come since this recorder started. */
  readonly #isTakenUp: [boolean, boolean] = [false, false];
  /** Of a paused connection. */
  #queue: (() => void)[] | undefined;
  readonly #resumed: (() => void)[] = [];
  readonly #judged: [number, number] = [0, 0];
  /** Passed as judged, before it was durable. */
  readonly #passed: [number, number] = [0, 0];
  readonly #answered: [number, number] = [0, 0];
  readonly #receipts: [Receipt | undefined, Receipt | undefined] = [undefined, undefined];

  constructor(opened: Opened, state?: ConnectionState, compiled: CompiledPolicy = unruled) {
    this.opened = opened;
    this.overrides = splitOverrides(opened.overrides);
    this.exchanges = Exchanges.from(state?.pending);
    this.tools = Tools.from(state?.tools);
    this.calls = new Calls(state?.calls);
    this.asides = new Asides(state?.asides);
    this.seq = state?.seq ?? 0;
    this.taken = state ? [...state.taken] : [0, 0];
    this.settled = [...this.taken];
    this.namedServer = state?.namedServer ?? false;
    this.isRecorded = state !== undefined;
    this.closed = state?.closed;
    this.isReturnDue = state?.isReturnDue ?? false;
    this.wait = opened.mode === 'commit' ? 'receipt' : 'none';
    this.hadSecrets = state?.hadSecrets ?? this.exchanges.withSecrets.size > 0;
    this.isLimited = state?.isLimited === true;
    this.uncaptured = state?.uncaptured === undefined ? [0, 0] : [...state.uncaptured];
    this.#speaker = this.#newSpeaker(state?.speaker ?? { named: false }, compiled);
    for (const [key, speaker] of state?.speakers ?? []) this.#speakers.set(key, this.#newSpeaker(speaker, compiled, undefined, sessionIn(key)));
    for (const [who, index, limitKey] of state?.principals ?? []) this.recall(who, index, limitKey);
    for (const [link, index] of state?.sessions ?? []) this.#sessions.set(link, index);
    this.#refusals = new Refusals(state);
  }

  #newSpeaker({ who, named, counts, clientInfo }: SpeakerState, compiled: CompiledPolicy, principal?: Principal, session?: number): Speaker {
    const own = counts === undefined ? newCounts() : countsFrom(counts);
    const key = String(session);
    return {
      who,
      principal,
      judge: this.#judgeOf(compiled, clientInfo, principal),
      counts: session === undefined ? own : (this.#sessionCounts.get(key) ?? this.#sessionCounts.set(key, own)),
      namedClient: named,
    };
  }

  /** Index of the speaker's `principal` entry, which is in the ledger, or on its way. */
  get who(): number | undefined {
    return this.#speaker.who;
  }

  set who(index: number | undefined) {
    this.#speaker.who = index;
  }

  /** The policy in force, for the speaker. */
  get judge(): Judge {
    return this.#speaker.judge;
  }

  get counts(): SessionCounts {
    return this.#speaker.counts;
  }

  get namedClient(): boolean {
    return this.#speaker.namedClient;
  }

  set namedClient(isNamed: boolean) {
    this.#speaker.namedClient = isNamed;
  }

  /** What a proxy says of who speaks. */
  get principal(): Principal | undefined {
    return this.#speaker.principal;
  }

  /** A proxy names a principal; what it said of one stays what it was. */
  name(who: string, said: Principal): void {
    const known = this.#principals.get(who);
    if (known === undefined) this.#principals.set(who, { who, index: undefined, said });
    else known.said ??= said;
  }

  /** The principal of a frame. One that was not named is nobody known. */
  principalOf({ who }: Head): NamedPrincipal {
    return this.#principals.get(who) ?? this.#principals.set(who, { who, index: undefined, said: undefined });
  }

  /** Processes on this machine that a proxy has named as its clients. One that is not trusted could name anybody. */
  *clientPids(): Generator<number> {
    if (this.opened.isTrusted === undefined) return;
    for (const { said } of this.#principals.values()) if (said?.observed.pid !== undefined) yield said.observed.pid;
  }

  /** An earlier recorder's `principal` entry. */
  recall(who: string, index: number, limitKey?: string): void {
    this.#principals.set(who, { who, index, said: undefined, ...(limitKey === undefined ? {} : { limitKey }) });
  }

  /** Whoever counts the requests that wait here, from now on. */
  limit(slots: Slots | undefined): void {
    this.#slots = slots;
    this.exchanges.attach(slots);
  }

  /** Those that proxies named and that have an entry. `keyOf`: what limits know a principal by. */
  recalled(keyOf?: (principal: NamedPrincipal) => string | undefined): [who: string, index: number, limitKey?: string][] {
    return [...this.#principals.values()].flatMap((principal) => {
      const { who, index } = principal;
      const limitKey = keyOf?.(principal);
      return index === undefined ? [] : [limitKey === undefined ? [who, index] : [who, index, limitKey]];
    });
  }

  /**
   * What comes next is of `stream` and said by the principal of entry `who`, until the next turn. `session`: the index of the first entry of its MCP session, if
   * it is in one. `said`: what the proxy says of the principal, if it has.
   */
  turnTo(stream: number, who: number | undefined, session: number | undefined, said?: Principal): void {
    this.session = session;
    this.scope = scopeOf(stream, session);
    const key = speakerKey(who, session);
    const { compiled } = this.#speaker.judge;
    // its client has said who it is before the session had its id
    const before = session === undefined ? undefined : this.#speakers.get(speakerKey(who, undefined));
    const { clientInfo } = before?.judge.party ?? {};
    this.#speaker =
      this.#speakers.get(key) ??
      this.#speakers.set(
        key,
        this.#newSpeaker(
          { ...(who === undefined ? {} : { who }), named: clientInfo !== undefined, ...(clientInfo && { clientInfo }) },
          compiled,
          said,
          session,
        ),
      );
    if (said === undefined || this.#speaker.principal === said) return;
    // an earlier recorder knew it, and the proxy says it again
    this.#speaker.principal = said;
    this.#rule(this.#speaker, compiled);
  }

  /** Index of the first entry of an MCP session, by the link of its id. */
  sessionOf(link: string): number | undefined {
    return this.#sessions.get(link);
  }

  /** An MCP session begins with this entry; the answer takes it back. */
  beginSession(link: string, index: number): () => void {
    const before = this.#sessions.get(link);
    this.#sessions.set(link, index);
    return () => void (before === undefined ? this.#sessions.delete(link) : this.#sessions.set(link, before));
  }

  #judgeOf(compiled: CompiledPolicy, clientInfo?: { name?: string; version?: string }, principal?: Principal): Judge {
    const { opened } = this;
    const behind =
      principal === undefined ? { observed: opened.observed ?? {}, verified: {}, declared: {} } : partyOf(principal, opened.isTrusted === true);
    return new Judge(compiled, {
      connection: opened.connection,
      server: opened.server,
      ...(opened.client === undefined ? {} : { client: opened.client }),
      ...(clientInfo === undefined ? {} : { clientInfo }),
      labels: opened.labels ?? {},
      principal: {
        ...behind,
        declared: { ...behind.declared, ...(clientInfo?.name === undefined ? {} : { name: clientInfo.name }) },
      },
    });
  }

  #rule(speaker: Speaker, compiled: CompiledPolicy): void {
    speaker.judge = this.#judgeOf(compiled, speaker.judge.party.clientInfo, speaker.principal);
  }

  /** Runs now, or behind everything that waits for a paused connection. */
  inTurn(work: () => void): void {
    if (this.#queue === undefined) work();
    else this.#queue.push(work);
  }

  /** A frame is being looked through elsewhere: what comes meanwhile waits. */
  pause(): void {
    this.#queue = [];
  }

  get isPaused(): boolean {
    return this.#queue !== undefined;
  }

  /** First what was waited for, then what has come since, in order; any of it may pause again. */
  resume(first: () => void): void {
    const due = [first, ...(this.#queue ?? [])];
    this.#queue = undefined;
    while (due.length > 0 && this.#queue === undefined) due.shift()!();
    if (due.length > 0) this.#queue = [...due, ...(this.#queue ?? [])];
    // what was judged by now need not wait for the disk
    if (this.wait === 'verdict') this.answer();
    if (this.#queue === undefined) for (const done of this.#resumed.splice(0)) done();
  }

  /** Once nothing waits. */
  async idle(): Promise<void> {
    if (this.#queue !== undefined) await new Promise<void>((done) => this.#resumed.push(done));
  }

  /** Another policy is in force from the next frame on. */
  rule(compiled: CompiledPolicy): void {
    this.#shownServer = undefined;
    for (const speaker of this.#speakers.values()) this.#rule(speaker, compiled);
    this.#rule(this.#speaker, compiled);
  }

  /** It is a proxy's, and what it says of principals is believed, or not any more. What entries say stays: who was recorded so is recorded again. */
  trust(isTrusted: boolean): void {
    if (isTrusted === (this.opened.isTrusted === true)) return;
    if (isTrusted) this.opened.isTrusted = true;
    else delete this.opened.isTrusted;
    for (const principal of this.#principals.values()) principal.index = undefined;
    this.rule(this.judge.compiled);
  }

  /** What the OS says of who is behind it. */
  observe(observed: NonNullable<Opened['observed']>): void {
    this.opened.observed = observed;
    this.#rule(this.#speaker, this.judge.compiled);
  }

  /** The client has said who it is. */
  introduce(clientInfo: { name?: string; version?: string }, hides: (text: string) => boolean = () => false): void {
    this.#hidesClient = Object.values(clientInfo).some(hides);
    this.judge.introduce(clientInfo);
  }

  /** Definitions from a list. Those that must not be written beside the ledger are not known to the next recorder. */
  learnTools(definitions: readonly ToolDefinition[], hides: (text: string) => boolean): void {
    this.tools.add(definitions);
    for (const { name } of definitions) {
      if (hides(name) && this.#hiddenTools.size < toolsCount) this.#hiddenTools.add(name);
    }
  }

  /** What happens to a message that cannot be recorded. A server's own word that a tool only reads lets nothing pass. */
  onUnrecordable({ effect, effectSource }: Partial<EffectFields>): OnUnrecordable {
    const said = this.judge.compiled.policy.onUnrecordable;
    const fallback = said.default ?? this.opened.onUnrecordable;
    if (effect === undefined || (effect === 'read' && effectSource === 'annotation')) return fallback;
    return said[effect] ?? fallback;
  }

  /**
   * What the tap does with messages while it hears of no recorder. Where something may be refused they are kept back, unless the policy file itself lets them
   * pass: else whoever keeps the recorder busy, or ends it, would be rid of every rule.
   */
  unreached(mayRefuse: boolean): OnUnrecordable {
    this.#unreached = this.judge.compiled.policy.onUnrecordable.default ?? (mayRefuse ? 'block' : this.opened.onUnrecordable);
    return this.#unreached;
  }

  /** Says so to a tap that was told otherwise. */
  tellUnreached(mayRefuse: boolean): void {
    const before = this.#unreached;
    if (this.unreached(mayRefuse) !== before) this.socket?.write(encodeJson(wireType.wait, { wait: this.wait, onUnrecordable: this.#unreached }));
  }

  /** Some message is kept back when it cannot be recorded. */
  get blocksUnrecordable(): boolean {
    const { default: fallback = this.opened.onUnrecordable, read, write, unknown } = this.judge.compiled.policy.onUnrecordable;
    return [fallback, read, write, unknown].includes('block');
  }

  get transport(): Transport {
    return this.opened.transport ?? 'stdio';
  }

  get id(): string {
    return this.opened.connection;
  }

  /** The server's name as it may be written. */
  get shownServer(): string {
    return (this.#shownServer ??= this.#written(this.opened.server));
  }

  /** Who asks, as whoever decides is told. */
  get shownParty(): { client?: string; principal?: string } {
    const { client = this.#hidesClient ? undefined : this.judge.party.clientInfo?.name } = this.opened;
    const { verified, observed } = this.judge.party.principal;
    const principal = verified.subject ?? (observed.uid === undefined ? undefined : `uid ${observed.uid}`);
    return this.#written({ ...(client === undefined ? {} : { client }), ...(principal === undefined ? {} : { principal }) });
  }

  /** A tap came back to what was closed. What waited then is over, and who it is will be recorded again; its server's tools are those that they were. */
  reopen(): void {
    this.closed = undefined;
    this.closing = undefined;
    this.who = undefined;
    this.exchanges = Exchanges.from();
    this.exchanges.attach(this.#slots);
  }

  get isClosed(): boolean {
    return this.closed !== undefined;
  }

  /**
   * What is kept of a connection behind its `close`: a tap may not have heard that it is durable, or may come back although it was given up. A new `open`
   * would record its frames twice. Of one that may come back also its server's tools: no client lists them again, and rules about what a tool does would be about nothing.
   */
  remains(): Connection {
    const { opened, state } = this.toJSON();
    this.exchanges.attach(undefined);
    const remains = new Connection(opened, { ...state, pending: [], tools: this.closed === 'tap lost' ? state.tools : [] }, this.judge.compiled);
    remains.limit(this.#slots);
    return remains;
  }

  /** The unit was judged: in wait class `verdict` it may go. */
  judged(direction: DirectionIndex, unit: number): void {
    this.#judged[direction] = unit;
  }

  /** The unit will be refused: nothing from it on is passed before. */
  hold(direction: DirectionIndex, unit: number): void {
    this.#refusing[direction].push(unit);
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
      const refusing = this.#refusing[direction][0];
      const judged = refusing === undefined ? this.#judged[direction] : Math.min(this.#judged[direction], refusing - 1);
      if (this.wait === 'verdict' && judged > this.settled[direction] && judged > this.#passed[direction]) {
        this.#passed[direction] = judged;
        this.socket.write(encodeAnswer(wireType.pass, { direction, through: judged }));
      }
      if (this.settled[direction] === this.#answered[direction]) continue;
      this.#answered[direction] = this.settled[direction];
      const receipt = this.#receipts[direction];
      const type = this.wait === 'none' ? wireType.durable : wireType.pass;
      this.socket.write(encodeAnswer(type, { direction, through: this.settled[direction], ...(receipt ? { receipt } : {}) }));
      if (this.wait === 'verdict') this.socket.write(encodeAnswer(wireType.durable, { direction, through: this.settled[direction] }));
    }
    if (this.#isRelaxing && !this.#mayRefuse) this.raise('none');
  }

  /** Something is under way that is refused, or may be. */
  get #mayRefuse(): boolean {
    return this.isPaused || [0, 1].some((direction) => this.#refusing[direction]!.length > 0 || this.long[direction]?.refusable === true);
  }

  /** Refuses a unit, after everything before it was answered. */
  refuse(refusal: KeptRefusal): void {
    const { direction, unit } = refusal;
    this.#turn(direction, unit, unit);
    this.socket?.write(this.#refusals.keep(refusal, this.delivered[direction]));
    if (this.#isRelaxing && !this.#mayRefuse) this.raise('none');
  }

  /** Everything before a frame is answered, and its units count as answered with what is told next. */
  #turn(direction: DirectionIndex, first: number, last: number): void {
    const refusing = this.#refusing[direction];
    // one that the disk refused was not announced: it may have been judged, and must not be passed now
    if (refusing[0] === undefined || refusing[0] > first) refusing.unshift(first);
    this.answer();
    while (refusing[0] !== undefined && refusing[0] <= last) refusing.shift();
    this.settled[direction] = Math.max(this.settled[direction], last);
    this.#answered[direction] = this.settled[direction];
  }

  /** A frame that waits for a person leaves the line, after everything before it was answered: what stands behind it goes on. */
  setAside(aside: Aside, receipt: Receipt | undefined): void {
    const { direction, first, last } = aside;
    this.#turn(direction, first, last);
    if (receipt !== undefined) this.#receipts[direction] = receipt;
    const message = this.asides.add(aside);
    this.socket?.write(message);
    if (this.#isRelaxing && !this.#mayRefuse) this.raise('none');
  }

  /** What became of it is durable: it is delivered, or refused with these lines. */
  decide(aside: Aside, lines: Lines | undefined): void {
    const message = this.asides.tell(aside, lines);
    this.socket?.write(message);
  }

  /**
   * Units before this one never came to this recorder, though the tap has them settled. Where frames may go without an entry, an earlier recorder let them through and
   * died before any entry could count them.
   */
  foundHole(direction: DirectionIndex, unit: number): void {
    if (!this.#isTakenUp[direction]) return;
    this.#isTakenUp[direction] = false;
    const { capture } = this.judge.compiled.policy;
    const missing = unit - this.taken[direction] - 1;
    const leavesOut = this.isLimited || capture.default === 'none' || capture.rules.some(({ level }) => level === 'none');
    if (missing > 0 && leavesOut) this.uncaptured[direction] += missing;
  }

  /** Another recorder had it before. */
  takeUp(): void {
    this.#isTakenUp[0] = true;
    this.#isTakenUp[1] = true;
  }

  /** What an earlier recorder refused, from its entry: the tap may not have heard of it, and must not take it for recorded and passed. */
  refusedBefore(refusal: KeptRefusal): void {
    this.#refusals.keep(refusal, this.delivered[refusal.direction]);
  }

  /** What the tap waits for from now on. A tap that need not wait delivers all that it has: before that, what is refused must be refused. */
  raise(wait: Wait): void {
    this.#isRelaxing = wait === 'none' && wait !== this.wait && this.#mayRefuse;
    if (wait === this.wait || this.#isRelaxing) return;
    this.answer();
    if (this.wait === 'none' && !this.#isFree) this.#raisedUs = monotonicUs();
    this.wait = wait;
    this.socket?.write(encodeJson(wireType.wait, { wait }));
  }

  /** What a tap that has just been attached waits for: its `welcome` says so. */
  admit(wait: Wait): Wait {
    this.#isRelaxing = wait === 'none' && this.#mayRefuse;
    this.wait = this.#isRelaxing ? 'verdict' : wait;
    return this.wait;
  }

  /**
   * Whether a unit is with its receiver, or cannot be kept from it. A tap that was told to wait for nothing has delivered what it handed over; also what it
   * had read, and called held, before it could know. `seenUs`: when it read the unit, by the clock that it shares with us.
   */
  hasDelivered(isHeld: boolean, seenUs: number): boolean {
    if (!isHeld) {
      this.#isFree = true;
      return true;
    }
    return seenUs < this.#raisedUs && monotonicUs() < this.#raisedUs + underWayUs;
  }

  /** A tap is attached (again): it learns from `welcome` what is settled. */
  attach(socket: TapSocket, kept?: Hello['aside']): void {
    this.socket = socket;
    // Before `welcome`, whose `durable` covers refused units too: a tap that never read a refusal must not take it for a pass.
    // One that did ignores it the second time.
    for (const message of this.#refusals.again()) socket.write(message);
    for (const message of this.asides.again(kept)) socket.write(message);
    this.#isFree = false;
    this.#raisedUs = -Infinity;
    this.lostAt = undefined;
    this.#answered[0] = this.settled[0];
    this.#answered[1] = this.settled[1];
  }

  lose(direction: DirectionIndex, reason: string, nowUs: number): void {
    this.losses ??= { lost: [0, 0], reason, fromUs: nowUs, untilUs: nowUs };
    this.losses.lost[direction] = Math.min(this.losses.lost[direction] + 1, Number.MAX_SAFE_INTEGER);
    this.losses.untilUs = nowUs;
  }

  /** Content of an entry of this connection is erased: what is known from it is not written beside the ledger any more, and so not known to the next recorder. */
  forget(entry: Entry, index: number): void {
    if (entry.kind === 'open') this.#hidesOverrides = this.isClosed;
    else if (entry.kind === 'principal') this.#hidesExecutable = true;
    if (entry.kind !== 'message' && entry.kind !== 'batch') return;
    if (entry.verdict === 'block') this.#refusals.hide(entry.direction === 'c2s' ? 0 : 1, entry.tapSeq);
    if (entry.kind === 'batch') {
      this.#hidesClient = true;
      for (const { name } of this.tools.toJSON()) this.#hiddenTools.add(name);
      return;
    }
    if (entry.method === 'initialize' || (entry.type === 'request' && entry.attributes !== undefined)) this.#hidesClient = true;
    if (entry.type === 'result' && entry.method === 'tools/list') for (const { name } of this.tools.toJSON()) this.#hiddenTools.add(name);
    // what is not in its leaf either
    if (entry.truncated !== undefined) for (const request of this.exchanges.pending()) if (request.index === index) request.concealed = true;
  }

  /** As it may be written beside the ledger. */
  #written<T>(value: T): T {
    return (this.judge.anyRedactor?.cleanAll(value) ?? value) as T;
  }

  #speakerState({ who, namedClient, counts, judge }: Speaker): SpeakerState {
    const { clientInfo } = judge.party;
    return {
      ...(who === undefined ? {} : { who }),
      named: namedClient,
      counts,
      ...(clientInfo === undefined || this.#hidesClient ? {} : { clientInfo: this.#written(clientInfo) }),
    };
  }

  /** `limitKeyOf`: what limits know a principal by, who may say nothing before this recorder ends. */
  toJSON(limitKeyOf?: (principal: NamedPrincipal) => string | undefined): { opened: Opened; state: ConnectionState } {
    const state: ConnectionState = {
      seq: this.seq,
      taken: this.taken,
      namedServer: this.namedServer,
      speaker: this.#speakerState(this.#speaker),
      ...(this.transport === 'stdio'
        ? {}
        : {
            speakers: [...this.#speakers.entries()].map(([key, speaker]) => [key, this.#speakerState(speaker)] as const),
            principals: this.recalled(limitKeyOf),
            sessions: [...this.#sessions.entries()],
          }),
      pending: this.exchanges.toJSON(),
      calls: this.calls.toJSON(),
      tools: this.#written(this.tools.toJSON().filter(({ name }) => !this.#hiddenTools.has(name))),
      ...(this.uncaptured[0] + this.uncaptured[1] > 0 ? { uncaptured: this.uncaptured } : {}),
      ...this.#refusals.toJSON(this.delivered),
      ...(this.asides.toJSON().length > 0 ? { asides: this.asides.toJSON() } : {}),
      ...(this.hadSecrets ? { hadSecrets: true } : {}),
      ...(this.isLimited ? { isLimited: true } : {}),
      ...(this.closed === undefined ? {} : { closed: this.closed }),
      ...(this.isReturnDue ? { isReturnDue: true } : {}),
    };
    const { labels, client } = this.opened;
    const opened: Opened = {
      ...this.opened,
      server: this.shownServer,
      ...(client === undefined ? {} : { client: this.#written(client) }),
      ...(labels === undefined ? {} : { labels: this.#written(labels) }),
      ...(this.#hidesOverrides ? { overrides: { sensitive: [], write: [], read: [] } } : {}),
    };
    if (this.#hidesExecutable && opened.observed !== undefined) {
      opened.observed = { ...opened.observed };
      delete opened.observed.executable;
    }
    return { opened, state };
  }
}

interface SpeakerState {
  who?: number;
  named: boolean;
  counts?: unknown;
  clientInfo?: { name?: string; version?: string };
}

export interface ConnectionState extends RefusalsState {
  seq: number;
  taken: [number, number];
  namedServer: boolean;
  speaker: SpeakerState;
  /** Of an HTTP connection. */
  speakers?: readonly (readonly [key: string, speaker: SpeakerState])[];
  principals?: readonly (readonly [who: string, index: number, limitKey?: string])[];
  sessions?: readonly (readonly [link: string, index: number])[];
  closed?: CloseEntry['reason'];
  isReturnDue?: boolean;
  hadSecrets?: boolean;
  isLimited?: boolean;
  pending: unknown;
  calls?: unknown;
  tools: unknown;
  uncaptured?: [number, number];
  asides?: OverState[];
}

/** On Linux CLOCK_MONOTONIC, as the tap's. */
function monotonicUs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e6 + Math.floor(nanoseconds / 1000);
}
