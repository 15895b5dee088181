/**
 * What a projection shows the rules of each message and call. Made for every one of them, so classes: what few rules ask for (the session's row, earlier calls) is
 * made when one does.
 */
import type { BatchEntry, MessageEntry } from '../entry/entry.ts';
import type { EarlierCall, SeenCall, SeenMessage } from './events.ts';
import type { ResultView } from './message-view.ts';
import type { CallRow, EntityRow, SessionRow, TouchRow } from './rows.ts';
import type { OpenSession } from './sessions.ts';

/** Of the projection that shows them. */
export interface Around {
  sessionRow(open: OpenSession): SessionRow;
  entityOf(entity: string): Readonly<EntityRow> | undefined;
}

export class MessageSeen implements SeenMessage {
  readonly kind = 'message';
  readonly index: number;
  readonly at: string;
  readonly entry: MessageEntry | BatchEntry;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly call?: number;
  readonly text: () => string | undefined;
  readonly #around: Around;
  readonly #open: OpenSession;
  #row: SessionRow | undefined;

  constructor(
    around: Around,
    open: OpenSession,
    index: number,
    entry: MessageEntry | BatchEntry,
    attributes: Readonly<Record<string, unknown>>,
    call: number | undefined,
    text: () => string | undefined,
  ) {
    this.#around = around;
    this.#open = open;
    this.index = index;
    this.at = entry.time;
    this.entry = entry;
    this.attributes = attributes;
    if (call !== undefined) this.call = call;
    this.text = text;
  }

  get session(): SessionRow {
    return (this.#row ??= this.#around.sessionRow(this.#open));
  }
}

/** Of a call, what is shown of it. */
export interface ShownCall {
  row: Readonly<CallRow>;
  arguments?: unknown;
  argumentsDigest?: string;
  touches: readonly Readonly<TouchRow>[];
}

export class CallSeen implements SeenCall {
  readonly kind = 'call';
  readonly phase: SeenCall['phase'];
  readonly index: number;
  readonly at: string;
  readonly entry: MessageEntry | undefined;
  readonly call: Readonly<CallRow>;
  readonly arguments?: unknown;
  readonly argumentsDigest?: string;
  readonly result?: ResultView;
  readonly touches: readonly Readonly<TouchRow>[];
  readonly #around: Around;
  readonly #open: OpenSession;
  readonly #earlier: readonly Readonly<EarlierCall>[];
  #row: SessionRow | undefined;

  /** `earlier`: calls of the session, this one may be among them. */
  constructor(
    around: Around,
    open: OpenSession,
    phase: SeenCall['phase'],
    index: number,
    entry: MessageEntry | undefined,
    call: ShownCall,
    earlier: readonly Readonly<EarlierCall>[],
    result: ResultView | undefined,
  ) {
    const { row } = call;
    this.#around = around;
    this.#open = open;
    this.#earlier = earlier;
    this.phase = phase;
    this.index = index;
    this.at = entry?.time ?? row.endedAt ?? row.approval?.at ?? row.beganAt;
    this.entry = entry;
    this.call = row;
    this.touches = call.touches;
    if (call.arguments !== undefined) this.arguments = call.arguments;
    if (call.argumentsDigest !== undefined) this.argumentsDigest = call.argumentsDigest;
    if (result !== undefined) this.result = result;
  }

  get session(): SessionRow {
    return (this.#row ??= this.#around.sessionRow(this.#open));
  }

  get earlier(): readonly Readonly<EarlierCall>[] {
    return this.#earlier.filter(({ index }) => index < this.call.index);
  }

  entityOf(entity: string): Readonly<EntityRow> | undefined {
    return this.#around.entityOf(entity);
  }
}
