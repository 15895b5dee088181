/**
 * The projection of entries to rows, entry by entry in the order of a ledger. What is kept between two entries is bounded and goes into a snapshot: a projection that
 * was restored from one, with the rows as they were at that moment, puts the same rows from then on.
 */
import { base64, fromBase64, hex, utf8 } from '../bytes/bytes.ts';
import type { ApprovalEntry, BatchEntry, Entry, MessageEntry, Transport } from '../entry/entry.ts';
import {
  changedRows,
  earlierCalls,
  projectedArgumentsChars,
  projectedArgumentsTotalChars,
  projectedCalls,
  projectedSessions,
  projectedWindows,
} from '../limits.ts';
import { passedBy } from './approvals.ts';
import { abandon, advance, begin, decide, isFirst, type Begun } from './calls.ts';
import { Effects, type RowEffect } from './effects.ts';
import { entryRow } from './entry-row.ts';
import type { EarlierCall, Rule, Seen, SeenCall } from './events.ts';
import { Findings } from './findings.ts';
import { cut, looseJson, textOf, type Frame } from './frame-text.ts';
import { argumentsOf, isQuiet, lineOf, listTokens, resultLine, resultOf, type ResultView } from './message-view.ts';
import type { AnalysisOptions } from './options.ts';
import type { CallRow, SessionRow, TouchRow } from './rows.ts';
import type { Touched } from './touches.ts';
import { Touches } from './touches.ts';
import { Tools } from './tools.ts';
import { takeNames, tellsNames } from './names.ts';
import { CallSeen, MessageSeen, type Around } from './seen.ts';
import { Sessions, waitingCount, type OpenSession, type Session } from './sessions.ts';
import type { RowSink } from './sink.ts';
import type { EvidenceState } from './views.ts';

export type { Frame, Gap } from './frame-text.ts';
export type { AnalysisOptions } from './options.ts';
export { MemoryRows, type RowSink } from './sink.ts';

/** An entry with what could be opened of it. */
export interface Observed {
  index: number;
  entry: Entry;
  /** By name; none where they are erased or withheld. */
  attributes: Readonly<Record<string, unknown>>;
  /** At least the first `limits.analysedBytes` of its frame, in one piece, and what is missing in it. None of a batch's items: the batch's serves. */
  frame?: Frame;
}

/** Of the rows and of the snapshot: rows that another version made are made again. */
export const projectionVersion = 6;

interface OpenCall {
  begun: Begun;
  row: CallRow;
  arguments?: unknown;
  /** About how long they are; 0: not kept. */
  argumentsChars: number;
  argumentsDigest?: string;
  touches: TouchRow[];
  /** It was forgotten and goes on: what it touched before stands in rows alone. */
  isRecalled?: true;
}

/** What is remembered beside a session, of those that were seen last. */
interface Beside {
  earlier: EarlierCall[];
  touched: Touched;
}

/** A batch whose items come next. */
interface OpenBatch {
  index: number;
  frame: Frame;
  left: number;
}

const batchesMost = 16;

interface Snapshot {
  version: number;
  ledger: string;
  sessions: unknown;
  besides: [string, Omit<Beside, 'touched'> & { touched: [string, string][] }][];
  tools: unknown;
  types: unknown;
  calls: OpenCall[];
  batches: { index: number; left: number; base64: string; gaps: Frame['gaps'] }[];
  findings: Record<string, unknown>;
}

export class Projection {
  readonly #ledger: string;
  readonly #options: AnalysisOptions;
  readonly #sink: RowSink;
  readonly #effects: Effects;
  readonly #findings: Findings;
  readonly #tools: Tools;
  readonly #touches: Touches;
  readonly #sessions: Sessions;
  readonly #besides = new Map<string, Beside>();
  #lastBeside: string | undefined;
  /** By their first request, oldest first. */
  readonly #calls = new Map<number, OpenCall>();
  #argumentsChars = 0;
  readonly #batches: OpenBatch[] = [];
  readonly #changedSessions = new Set<OpenSession>();
  readonly #changedCalls = new Set<OpenCall>();
  readonly #around: Around;

  /** `ledger`: its id, as rows carry it. `rules`: other than all. */
  constructor(ledger: string, options: AnalysisOptions, sink: RowSink, rules?: readonly Rule[], snapshot?: Snapshot) {
    this.#ledger = ledger;
    this.#options = options;
    this.#sink = sink;
    this.#effects = new Effects(options);
    this.#findings = new Findings(ledger, options, sink, snapshot?.findings, rules);
    this.#tools = new Tools(ledger, options, sink, this.#effects, snapshot?.tools);
    this.#touches = new Touches(ledger, options, sink, snapshot?.types);
    this.#around = { sessionRow: (open) => this.#sessionRow(open), entityOf: (entity) => this.#touches.entityOf(entity) };
    const remembered = {
      most: projectedSessions,
      tools: false,
      forgotten: (open: OpenSession) => {
        this.#changedSessions.delete(open);
        this.#putSession(open);
        this.#besides.delete(open.id);
      },
      recall: (id: string) => this.#recall(id),
    };
    this.#sessions = snapshot === undefined ? new Sessions(remembered) : Sessions.from(snapshot.sessions, remembered);
    if (snapshot === undefined) return;
    for (const [id, beside] of snapshot.besides) this.#besides.set(id, { ...beside, touched: new Map(beside.touched) });
    for (const open of snapshot.calls) {
      open.row.legs = open.begun.call.legs;
      this.#calls.set(open.row.index, open);
      this.#argumentsChars += open.argumentsChars;
    }
    for (const { index, left, base64: bytes, gaps } of snapshot.batches) {
      this.#batches.push({ index, left, frame: { bytes: fromBase64(bytes) ?? new Uint8Array(0), gaps } });
    }
  }

  /**
   * Goes on from what `snapshot` gave.
   * @throws Error when it is of another version: then all rows are made again from the first entry
   */
  static restore(snapshot: string, options: AnalysisOptions, sink: RowSink, rules?: readonly Rule[]): Projection {
    const read = JSON.parse(snapshot) as Snapshot;
    if (read.version !== projectionVersion) throw new Error(`a projection of version ${read.version}`);
    return new Projection(read.ledger, options, sink, rules, read);
  }

  /** What is needed to go on, as JSON. Puts what is pending first. */
  snapshot(): string {
    this.end();
    const snapshot: Snapshot = {
      version: projectionVersion,
      ledger: this.#ledger,
      sessions: this.#sessions.toJSON(),
      besides: [...this.#besides].map(([id, { earlier, touched }]) => [id, { earlier, touched: [...touched] }]),
      tools: this.#tools.toJSON(),
      types: this.#touches.toJSON(),
      calls: [...this.#calls.values()],
      batches: this.#batches.map(({ index, left, frame }) => ({ index, left, base64: base64(frame.bytes), gaps: frame.gaps })),
      findings: this.#findings.toJSON(),
    };
    return JSON.stringify(snapshot);
  }

  /** The next entry. Some rows that it changes wait for `end`, at most `limits.changedRows` of them. */
  take(observed: Observed): void {
    const { index, entry, attributes } = observed;
    const open = this.#sessions.take(index, entry);
    const text = textIn(this.#frameOf(observed));
    if (open !== undefined) {
      if (tellsNames(open, entry)) takeNames(open, index, entry, attributes, text);
      this.#changedSessions.add(open);
    }
    if (entry.kind === 'message' || entry.kind === 'batch') this.#message(observed, entry, open!, text);
    else {
      const asked = entry.kind === 'approval' ? this.#askedBy(entry) : undefined;
      this.#sink.put('entries', entryRow(this.#ledger, index, entry, { session: open?.id, call: asked?.row.index }));
      const session = open === undefined || open.isProxied ? undefined : this.#sessionRow(open);
      if (entry.kind === 'access' && entry.act === 'acknowledge' && entry.finding !== undefined) {
        this.#findings.acknowledged(entry.finding, { index, at: entry.time }, attributes['note']);
      }
      this.#see({ kind: 'entry', index, at: entry.time, entry, attributes, ...(session === undefined ? {} : { session }) });
      if (entry.kind === 'approval' && asked !== undefined && open !== undefined) this.#decide(asked, index, entry, attributes, open);
      if (entry.kind === 'close') this.#close(index, entry.connection, entry.time);
    }
    if (this.#changedSessions.size + this.#changedCalls.size + this.#tools.pending + this.#touches.pending > changedRows) this.end();
  }

  /** What a verifier says of the ledger, for the rules: `index` is the newest entry that it speaks of. */
  weigh(evidence: EvidenceState, index: number, at: string): void {
    this.#see({ kind: 'evidence', index, at, evidence });
  }

  /** Puts what is pending; nothing is closed by it, and more may come. Called before rows are read or committed. */
  end(): void {
    for (const open of this.#changedSessions) this.#putSession(open);
    this.#changedSessions.clear();
    for (const open of this.#changedCalls) this.#putCall(open);
    this.#changedCalls.clear();
    this.#tools.end();
    this.#touches.end();
  }

  #message({ index, attributes }: Observed, entry: MessageEntry | BatchEntry, open: OpenSession, text: () => string | undefined): void {
    const said = attributes['target'];
    let target = entry.kind === 'message' ? entry.target : undefined;
    if (typeof said === 'string') target = said;
    const isBeginning = entry.kind === 'message' && isFirst(entry);
    const first = entry.kind === 'message' ? callOf(index, entry) : undefined;
    const known = isBeginning || first === undefined ? undefined : this.#known(first, entry);
    if (known?.row.target !== undefined && entry.kind === 'message' && entry.exchange === first) target = known.row.target;
    const effect = entry.kind === 'message' && entry.effect !== undefined ? this.#effects.of(entry.server, entry.method, target, entry) : undefined;
    this.#sink.put('entries', entryRow(this.#ledger, index, entry, { session: open.id, target, call: first, effect }));
    this.#see(new MessageSeen(this.#around, open, index, entry, attributes, first, text));
    if (entry.kind !== 'message' || entry.repeats !== undefined) return;
    if (entry.type === 'result' && entry.method === 'tools/list' && entry.direction === 's2c') this.#list(index, entry, open, text);
    if (isBeginning) this.#begin(index, entry, open, target, effect ?? this.#effects.of(entry.server, entry.method, target, entry), text);
    else if (known !== undefined) this.#advance(known, index, entry, open, text);
  }

  #begin(index: number, entry: MessageEntry, open: OpenSession, target: string | undefined, effect: RowEffect, text: () => string | undefined): void {
    const begun = begin(index, entry);
    const { state } = begun.call;
    const row: CallRow = {
      ledger: this.#ledger,
      index,
      session: open.id,
      server: entry.server,
      method: begun.call.method,
      ...effect,
      state,
      verdict: entry.verdict,
      beganAt: entry.time,
      sinceOpenUs: Math.max(0, microsOf(entry.time) - microsOf(open.session.openedAt)),
      requestBytes: entry.sizeBytes,
      requests: 1,
      asked: 0,
      legs: begun.call.legs,
    };
    if (target !== undefined) row.target = target;
    const definition = row.method === 'tools/call' ? this.#tools.digestOf(row.server, row.target ?? '') : undefined;
    if (definition !== undefined) row.definition = definition;
    if (entry.who !== undefined) row.who = entry.who;
    if (entry.era !== undefined) row.era = entry.era;
    if (entry.rule !== undefined) row.rule = entry.rule;
    if (entry.reason !== undefined) row.reason = entry.reason;
    if (entry.retryAfterMs !== undefined) row.retryAfterMs = entry.retryAfterMs;
    if (begun.isOver) row.endedAt = entry.time;
    const approvedBy = effect.effect === 'write' ? passedBy(entry) : undefined;
    if (approvedBy !== undefined) row.approvedBy = approvedBy;
    const call: OpenCall = { begun, row, argumentsChars: 0, touches: [] };
    const asked = text();
    if (asked !== undefined && row.method !== 'initialize') {
      const asking = argumentsOf(row.method, looseJson(asked));
      if (asking !== undefined) {
        const line = lineOf(asking);
        if (line !== undefined) row.argumentsText = line;
        call.argumentsDigest = hex(this.#options.crypto.sha256(utf8(JSON.stringify(asking)))).slice(0, 16);
        call.arguments = asking;
        if (asked.length <= projectedArgumentsChars && this.#argumentsChars + asked.length <= projectedArgumentsTotalChars)
          call.argumentsChars = asked.length;
      }
    }
    this.#argumentsChars += call.argumentsChars;
    this.#calls.set(index, call);
    this.#changedCalls.add(call);
    if (this.#calls.size > projectedCalls) this.#forget(this.#calls.values().next().value!);
    const beside = this.#beside(open.id);
    if (effect.effect === 'write' && row.method === 'tools/call') open.writes++;
    const remembered = this.#remember(beside, call);
    if (row.method === 'tools/call') this.#tools.began(row);
    this.#touches.asked(call, call.arguments, this.#tools.nounsOf(row.server, row.target ?? ''), beside.touched, remembered);
    this.#seeCall('began', index, entry, call, open);
    if (call.argumentsChars === 0) delete call.arguments;
  }

  #advance(call: OpenCall, index: number, entry: MessageEntry, open: OpenSession, text: () => string | undefined): void {
    const { begun, row } = call;
    const isReply = advance(begun, index, entry);
    let result: ResultView | undefined;
    if (isReply) {
      row.resultBytes = entry.sizeBytes;
      const isLookedInto = entry.type === 'error' || !isQuiet(row.method);
      const answer = isLookedInto ? text() : undefined;
      result = answer === undefined ? undefined : resultOf(looseJson(answer));
      if (!isLookedInto) row.contextTokens = listTokens(row.method, entry.sizeBytes);
      else if (result !== undefined) {
        row.contextTokens = result.contextTokens;
        const line = resultLine(result);
        if (line !== undefined) row.resultText = line;
      }
    }
    this.#tell(call);
    if (result !== undefined) {
      const beside = this.#beside(open.id);
      this.#touches.answered(
        call,
        entry,
        result,
        beside.touched,
        beside.earlier.findLast((one) => one.index === row.index),
      );
    }
    this.#seeCall(begun.isOver ? 'ended' : 'went on', index, entry, call, open, result);
    if (begun.isOver) this.#forget(call);
  }

  /** The call of a request that waited. One of a server, or of a call that is not known any more, has none. */
  #askedBy(entry: ApprovalEntry): OpenCall | undefined {
    const { request } = entry;
    const first = this.#known(request, entry);
    if (first !== undefined) return first;
    for (const call of this.#calls.values()) if (call.row.legs.includes(request)) return call;
    return undefined;
  }

  #decide(call: OpenCall, index: number, entry: ApprovalEntry, attributes: Observed['attributes'], open: OpenSession): void {
    const { begun, row } = call;
    decide(begun, index, entry, attributes);
    const { approval, approvedBy } = begun.call;
    row.approval = approval!;
    if (approvedBy === undefined) delete row.approvedBy;
    else row.approvedBy = approvedBy;
    this.#tell(call);
    if (begun.call.state === 'blocked' && row.method === 'tools/call') this.#tools.refused(row);
    this.#seeCall('went on', index, undefined, call, open);
    // our answer to what was refused comes behind it; what was taken back has none
    if (begun.call.state === 'cancelled') this.#forget(call);
  }

  #list(index: number, entry: MessageEntry, open: OpenSession, text: () => string | undefined): void {
    const listing = text();
    if (listing === undefined) return;
    const session = this.#lazyRow(open);
    for (const changed of this.#tools.listed(entry.server, index, entry.time, listing)) {
      const hiddenText = changed.tool.hiddenText;
      this.#see({
        kind: 'definition',
        index,
        at: entry.time,
        ...changed,
        get session() {
          return session();
        },
        ...(hiddenText === undefined ? {} : { hiddenText }),
      });
    }
  }

  /** What a call has become, in its row. */
  #tell(call: OpenCall): void {
    const { begun, row } = call;
    const { state, code, durationUs, requests, asked, taskStatus, endedAt } = begun.call;
    row.state = state;
    row.requests = requests;
    row.asked = asked;
    if (code !== undefined) row.code = code;
    if (durationUs !== undefined) row.durationUs = durationUs;
    if (taskStatus !== undefined) row.taskStatus = taskStatus;
    if (begun.isOver) row.endedAt = endedAt;
    const earlier = this.#besides.get(row.session)?.earlier.findLast((one) => one.index === row.index);
    if (earlier !== undefined) earlier.state = state;
    this.#changedCalls.add(call);
  }

  /** A call that goes on: remembered, or from its row. */
  #known(first: number, entry: Pick<MessageEntry, 'connection' | 'monotonicUs' | 'time'>): OpenCall | undefined {
    const open = this.#calls.get(first);
    if (open !== undefined) return open;
    const row = this.#sink.get('calls', { ledger: this.#ledger, index: first });
    if (row === undefined || row.endedAt !== undefined) return undefined;
    const { index, server, method, state, beganAt, requests, asked, taskStatus } = row;
    const legs = [...row.legs];
    const begun: Begun = {
      call: {
        index,
        connection: entry.connection,
        server,
        method,
        beganAt,
        endedAt: beganAt,
        state,
        requests,
        asked,
        legs,
        ...(taskStatus === undefined ? {} : { taskStatus }),
      },
      beganUs: entry.monotonicUs - (microsOf(entry.time) - microsOf(beganAt)),
      isModern: row.era === 'modern',
      isOver: false,
    };
    const call: OpenCall = { begun, row: { ...row, legs }, argumentsChars: 0, touches: [], isRecalled: true };
    this.#calls.set(first, call);
    return call;
  }

  #close(index: number, connection: string, at: string): void {
    for (const call of this.#calls.values()) {
      if (call.begun.call.connection !== connection) continue;
      abandon(call.begun);
      call.begun.call.endedAt = at;
      this.#tell(call);
      const open = this.#sessions.get(call.row.session);
      if (open !== undefined && call.row.state !== 'blocked') this.#seeCall('ended', index, undefined, call, open);
      this.#forget(call);
    }
    for (const open of this.#sessions.of(connection)) {
      this.#changedSessions.delete(open);
      const row = this.#putSession(open);
      if (row !== undefined) this.#see({ kind: 'session end', index, at, session: row });
      this.#besides.delete(open.id);
    }
    this.#sessions.forget(connection);
  }

  #forget(call: OpenCall): void {
    this.#changedCalls.delete(call);
    // nobody changes it any more: one that goes on is made of its row again
    this.#sink.put('calls', call.row);
    if (call.row.method === 'tools/call' && call.begun.isOver) this.#tools.ended(call.row);
    this.#calls.delete(call.row.index);
    this.#argumentsChars -= call.argumentsChars;
  }

  #seeCall(phase: SeenCall['phase'], index: number, entry: MessageEntry | undefined, call: OpenCall, open: OpenSession, result?: ResultView): void {
    const { earlier = [] } = this.#besides.get(call.row.session) ?? {};
    this.#see(new CallSeen(this.#around, open, phase, index, entry, call, earlier, result));
  }

  #see(seen: Seen): void {
    this.#findings.see(seen, (rule, indexes) => {
      for (const index of indexes) {
        const open = this.#calls.get(index);
        const row = open?.row ?? this.#sink.get('calls', { ledger: this.#ledger, index });
        if (row === undefined || row.findings?.includes(rule)) continue;
        const findings = [...(row.findings ?? []), rule];
        if (open === undefined) this.#sink.put('calls', { ...row, findings });
        else {
          open.row.findings = findings;
          this.#changedCalls.add(open);
        }
      }
    });
  }

  #remember({ earlier }: Beside, { row, argumentsDigest }: OpenCall): EarlierCall {
    const one: EarlierCall = { index: row.index, method: row.method, effect: row.effect, state: row.state, at: row.beganAt, entities: [] };
    if (row.target !== undefined) one.target = row.target;
    if (row.sensitive) one.sensitive = true;
    if (row.destructive) one.destructive = true;
    if (argumentsDigest !== undefined) one.argumentsDigest = argumentsDigest;
    earlier.push(one);
    if (earlier.length > earlierCalls + 1) earlier.shift();
    return one;
  }

  #beside(id: string): Beside {
    const known = this.#besides.get(id);
    if (known !== undefined && id === this.#lastBeside) return known;
    const beside = known ?? { earlier: [], touched: new Map() };
    this.#besides.delete(id);
    this.#besides.set(id, beside);
    this.#lastBeside = id;
    if (this.#besides.size > projectedWindows) this.#besides.delete(this.#besides.keys().next().value!);
    return beside;
  }

  #putCall({ row }: OpenCall): void {
    this.#sink.put('calls', { ...row, legs: [...row.legs] });
  }

  #putSession(open: OpenSession): SessionRow | undefined {
    // a proxy's connection is nothing for people beside its sessions
    const row = open.isProxied ? undefined : this.#sessionRow(open);
    if (row !== undefined) this.#sink.put('sessions', row);
    return row;
  }

  #sessionRow(open: OpenSession): SessionRow {
    const { tools: _, part: __, uncaptured: ___, exitCode: ____, signal: _____, ...session } = open.session;
    return {
      ledger: this.#ledger,
      session: open.id,
      transport: open.transport,
      ...session,
      who: session.who.map((principal) => ({ ...principal })),
      writes: open.writes,
      unanswered: session.unanswered + waitingCount(open),
    };
  }

  /** Its row, made when a rule asks for it. */
  #lazyRow(open: OpenSession): () => SessionRow {
    let row: SessionRow | undefined;
    return () => (row ??= this.#sessionRow(open));
  }

  /** What a row knows of a session that was forgotten. */
  #recall(id: string): { session: Session; transport: Transport; writes: number } | undefined {
    const row = this.#sink.get('sessions', { ledger: this.#ledger, session: id });
    if (row === undefined) return undefined;
    const { ledger: _, session: __, transport, writes, ...known } = row;
    return { session: { ...known, who: known.who.map((principal) => ({ ...principal })), uncaptured: 0, tools: [] }, transport, writes };
  }

  /** An item's frame is its range of the batch's. */
  #frameOf({ index, entry, frame }: Observed): Frame | undefined {
    if (entry.kind === 'batch' && frame !== undefined) {
      this.#batches.push({ index, frame, left: entry.items });
      if (this.#batches.length > batchesMost) this.#batches.shift();
    }
    if (entry.kind !== 'message' || entry.batch === undefined || frame !== undefined) return frame;
    const at = this.#batches.findIndex((batch) => batch.index === entry.batch);
    const batch = this.#batches[at];
    if (batch === undefined || entry.range === undefined) return undefined;
    if (--batch.left <= 0) this.#batches.splice(at, 1);
    return cut(batch.frame, entry.range);
  }
}

/** The logical call that a message belongs to: of the client's requests, and of what a call led to. */
function callOf(index: number, entry: MessageEntry): number | undefined {
  if (entry.call !== undefined) return entry.call;
  if (isFirst(entry)) return index;
  if (entry.type === 'http') return entry.exchange;
  const isOfClient = entry.type === 'notification' ? entry.direction === 'c2s' : entry.direction === 's2c' && entry.type !== 'request';
  return isOfClient ? entry.exchange : undefined;
}

let second = '';
let secondUs = Number.NaN;

/** Microseconds since 1970 of an entry's time. The last second is remembered, since times come in their order. */
function microsOf(time: string): number {
  const text = time.slice(0, 19);
  if (text !== second) {
    second = text;
    secondUs = Date.parse(`${text}Z`) * 1000;
  }
  return secondUs + Number(time.slice(20, 26));
}

/** The text of a frame, made when it is asked for first. */
function textIn(frame: Frame | undefined): () => string | undefined {
  let text: string | undefined;
  return () => (text ??= frame === undefined ? undefined : textOf(frame));
}
