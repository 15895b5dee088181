/**
 * ★ The life of bytes in the tap: cut at 0x0A, hand over, wait for what `welcome` said to wait for, deliver. Nothing is parsed, nothing is changed.
 *
 * What must stay true:
 *   1. Each direction is delivered strictly in order, and what is delivered is what came, byte for byte.
 *   2. No unit is delivered before its wait class allows: `receipt` and `verdict` a covering `pass`, `none` the hand-over (the socket write's callback).
 *   3. What is not yet settled (durable, or counted as lost) stays in the window and is sent again to the next recorder; the window is bounded, and
 *      beyond it nothing more is read.
 *   4. A line of ours (a refusal) is written only between two frames.
 *   5. A frame that waits for a person (`aside`) is out of the line: it is delivered when the recorder releases it, once, or never, and nothing waits for it.
 *   6. Of a frame that was refused nothing more is delivered, whoever passes the rest; and no recorder gets that rest without its beginning.
 */
import type { Readable, Writable } from 'node:stream';
import { LineSplitter } from '../frames/lines.ts';
import { tapResumeBytes, tapWindowBytes, tapWindowUnits, unitBytes as defaultUnitBytes } from '../limits.ts';
import {
  frameHeaderBytes,
  held,
  moreUnits,
  unterminated,
  writeFrameHeader,
  type Answer,
  type Aside,
  type DirectionIndex,
  type Receipt,
  type Refusal,
  type Said,
  type Wait,
} from '../wire/wire.ts';

/** One unit as it goes over the wire: header and bytes in one piece, the bytes (with the line end) ready to be delivered from there. */
interface Unit {
  unit: number;
  arrival: number;
  more: boolean;
  /** Of the rest of a refused frame, and passed, or delivered before the refusal came. */
  dead: boolean;
  wire: Buffer;
}

interface Lane {
  readonly direction: DirectionIndex;
  readonly source: Readable;
  readonly target: Writable;
  readonly splitter: LineSplitter;
  /** Units that are not delivered or not settled, in order. */
  window: Unit[];
  lastUnit: number;
  /** What waits for a person: frames by their last units. The recorder bounds them. */
  readonly aside: Map<number, Buffer>;
  /** All through these unit numbers: handed to the kernel, allowed by the recorder, settled, given to the target, written by the target. */
  handed: number;
  passed: number;
  settled: number;
  released: number;
  delivered: number;
  /** Some units of a frame were delivered, and not its last. */
  midFrame: boolean;
  /** First unit of the frame of unit `released`. */
  frameFrom: number;
  /** The frame of unit `released` is refused, and its last unit is still to come: the rest is withheld. */
  refused: boolean;
  /** A unit of the frame that is arriving was settled without a recorder: the rest of the frame is too, whoever answers meanwhile. */
  broken: boolean;
  /** Its units so far, to be answered as a whole. */
  kept: Buffer[] | undefined;
  /** Lines of ours that wait for the end of a frame. */
  inserts: Buffer[];
  sourceEnded: boolean;
  /** The target cannot be written any more; what comes is recorded and dropped. */
  targetGone: boolean;
  /** Writes whose callback is due. */
  writing: number;
  blocked: boolean;
}

export interface RelayEvents {
  /** A direction's source has ended and everything of it is delivered (or the target is gone). */
  drained(direction: DirectionIndex): void;
  targetGone(direction: DirectionIndex): void;
  /** A frame was lost although a recorder answers again: the rest of one whose beginning it never had, or that another one refused. */
  lost(): void;
}

export interface RelayLink {
  readonly sendable: boolean;
  readonly unreachable: boolean;
  send(bytes: Buffer, handedOver?: () => void): void;
}

/** Units from one to another, both among them. */
type Range = [from: number, through: number];

export interface Losses {
  lost: [number, number];
  /** What we withheld ourselves, per direction: `delivered` runs over it. */
  units: [Range[], Range[]];
  from: number;
  until: number;
}

const outFrom = frameHeaderBytes;
/** Behind length, type and direction. */
const flagsAt = 6;
const none = Buffer.alloc(0);
/** A frame of more units gets no answer when no recorder can be reached. */
const keptUnits = 8;
/** More ranges of withheld units are not told. */
const rangesCount = 64;
/** Below this, several units are joined into one write. */
const joinBytes = 64 * 1024;

export class Relay {
  readonly #link: RelayLink;
  readonly #events: RelayEvents;
  readonly #lanes: readonly [Lane, Lane];
  #onUnrecordable: 'block' | 'pass';
  #wait: Wait | undefined;
  #arrivals = 0;
  #windowBytes = 0;
  #full = false;
  #receipt: Receipt | undefined;
  #losses: Losses | undefined;
  /** What was told and is not known to be durable, and the last units sent before. */
  #told: { losses: Losses; behind: readonly [number, number] }[] = [];
  #answersFor: ((frame: Buffer, reason: string) => { toSender: Buffer; toReceiver: Buffer }) | undefined;
  #reason = '';

  constructor(
    link: RelayLink,
    c2s: { source: Readable; target: Writable },
    s2c: { source: Readable; target: Writable },
    onUnrecordable: 'block' | 'pass',
    events: RelayEvents,
    unitBytes: number = defaultUnitBytes,
  ) {
    this.#link = link;
    this.#events = events;
    this.#onUnrecordable = onUnrecordable;
    this.#lanes = [newLane(0, c2s.source, c2s.target, unitBytes), newLane(1, s2c.source, s2c.target, unitBytes)];
    for (const lane of this.#lanes) {
      lane.source.on('data', (chunk: Buffer) => this.#read(lane, lane.splitter.push(chunk)));
      lane.source.on('end', () => this.#ended(lane));
      lane.source.on('error', () => this.#ended(lane));
      lane.source.on('close', () => this.#ended(lane));
      lane.target.on('drain', () => {
        lane.blocked = false;
        this.#flow();
      });
      lane.target.on('error', () => this.#lose(lane));
      lane.target.on('close', () => this.#lose(lane));
    }
  }

  get delivered(): [number, number] {
    return [this.#lanes[0].delivered, this.#lanes[1].delivered];
  }

  get lastUnits(): [number, number] {
    return [this.#lanes[0].lastUnit, this.#lanes[1].lastUnit];
  }

  get receipt(): Receipt | undefined {
    return this.#receipt;
  }

  /** Everything that was read is settled. */
  get settled(): boolean {
    return this.#lanes.every((lane) => lane.window.length === 0);
  }

  /** Something is held back until the recorder answers. What was delivered and is not yet durable holds nothing back before the window is full of it. */
  get waits(): boolean {
    return this.#full || this.#lanes.some((lane) => lane.window.length > 0 && lane.window.at(-1)!.unit > lane.released);
  }

  /** Stops reading what a client that is no longer served still sends. What it has begun to say is recorded as it is. */
  endClient(): void {
    this.#lanes[0].source.destroy();
    this.#ended(this.#lanes[0]);
  }

  #read(lane: Lane, units: { bytes: Uint8Array; more: boolean; terminated: boolean }[]): void {
    if (units.length === 0) return;
    let sizeBytes = 0;
    for (const { bytes, terminated } of units) sizeBytes += outFrom + bytes.length + (terminated ? 1 : 0);
    const slab = Buffer.allocUnsafeSlow(sizeBytes);
    const [seconds, nanoseconds] = process.hrtime();
    const seenUs = seconds * 1e6 + Math.floor(nanoseconds / 1000);
    const delivered = this.delivered;
    const arrived: Unit[] = [];
    let at = 0;
    for (const { bytes, more, terminated } of units) {
      const outBytes = bytes.length + (terminated ? 1 : 0);
      const flags = (more ? moreUnits : terminated ? 0 : unterminated) | (this.#wait === 'none' ? 0 : held);
      writeFrameHeader(slab, at, lane.direction, flags, ++lane.lastUnit, delivered, seenUs, outBytes);
      slab.set(bytes, at + outFrom);
      if (terminated) slab[at + outFrom + bytes.length] = 0x0a;
      arrived.push({ unit: lane.lastUnit, arrival: ++this.#arrivals, more, dead: false, wire: slab.subarray(at, at + outFrom + outBytes) });
      at += outFrom + outBytes;
    }
    let alone = 0;
    const unreachable = this.#link.unreachable && this.#answersFor !== undefined;
    while (alone < arrived.length && (unreachable || lane.broken)) this.#settleAlone(lane, arrived[alone++]!);
    if (alone > 0 && !unreachable && !lane.broken) this.#events.lost();
    if (alone === arrived.length) return;
    if (alone > 0) arrived.splice(0, alone);
    for (const unit of arrived) {
      lane.window.push(unit);
      this.#windowBytes += unit.wire.length;
    }
    if (!this.#full && (this.#windowBytes > tapWindowBytes || this.#lanes[0].window.length + this.#lanes[1].window.length > tapWindowUnits)) {
      this.#full = true;
      this.#flow();
    }
    if (this.#link.sendable) this.#handOver(lane, alone > 0 ? Buffer.concat(arrived.map((unit) => unit.wire)) : slab, lane.lastUnit);
  }

  #handOver(lane: Lane, bytes: Buffer, through: number): void {
    this.#link.send(bytes, () => {
      if (through > lane.handed) lane.handed = through;
      if (this.#wait === 'none') this.#release(lane);
    });
  }

  /** What the recorder waits for us to wait for. Less waiting may release what was held. */
  wait(wait: Wait): void {
    this.#wait = wait;
    for (const lane of this.#lanes) this.#release(lane);
  }

  /** A recorder answered: what it has is settled; the rest is sent again, in order of arrival over both directions. */
  welcome(wait: Wait, durable: readonly [number, number], resend: boolean): void {
    this.#wait = wait;
    for (const lane of this.#lanes) {
      const through = durable[lane.direction];
      if (through > lane.passed) lane.passed = through;
      if (through > lane.settled) lane.settled = through;
    }
    if (resend) {
      for (const lane of this.#lanes) this.#buryRest(lane);
      const due = this.#lanes
        .flatMap((lane) => lane.window.filter((unit) => unit.unit > lane.settled).map((unit) => ({ lane, unit })))
        .sort((a, b) => a.unit.arrival - b.unit.arrival);
      for (const { lane, unit } of due) {
        // what was read under another recorder, and perhaps delivered meanwhile
        const isHeld = unit.unit > lane.released && wait !== 'none';
        unit.wire[flagsAt] = (unit.wire[flagsAt]! & ~held) | (isHeld ? held : 0);
        this.#handOver(lane, unit.wire, unit.unit);
      }
    }
    for (const lane of this.#lanes) {
      this.#release(lane);
      this.#forget(lane);
    }
  }

  /**
   * The rest of a frame whose refusal no recorder will finish any more: to the next one it would be a frame of its own, and it could answer it as one.
   * What is still to arrive of it goes the same way.
   */
  #buryRest(lane: Lane): void {
    this.#release(lane);
    const before = this.#losses?.lost[lane.direction] ?? 0;
    // passed or delivered already, and not known to be durable
    for (let i = firstAfter(lane.window, lane.settled); i < lane.window.length;) {
      if (lane.window[i]!.dead) this.#count(lane, this.#drop(lane, i));
      else i++;
    }
    while (lane.refused) {
      const first = firstAfter(lane.window, lane.released);
      if (first === lane.window.length) {
        if (!lane.broken) lane.kept = undefined;
        lane.broken = true;
        break;
      }
      this.#settleAlone(lane, this.#drop(lane, first));
    }
    if ((this.#losses?.lost[lane.direction] ?? 0) > before) this.#events.lost();
  }

  #drop(lane: Lane, at: number): Unit {
    const [unit] = lane.window.splice(at, 1);
    this.#windowBytes -= unit!.wire.length;
    return unit!;
  }

  /** The socket is open for the first time: what was read meanwhile is handed over. */
  sendHeld(): void {
    const due = this.#lanes.flatMap((lane) => lane.window.map((unit) => ({ lane, unit }))).sort((a, b) => a.unit.arrival - b.unit.arrival);
    for (const { lane, unit } of due) this.#handOver(lane, unit.wire, unit.unit);
  }

  pass(answer: Answer): void {
    const lane = this.#lanes[answer.direction];
    if (answer.receipt !== undefined) this.#keepReceipt(answer.receipt);
    if (answer.through > lane.passed) lane.passed = answer.through;
    if (this.#wait === 'receipt') this.#settle(lane, answer.through);
    this.#release(lane);
    this.#forget(lane);
  }

  durable(answer: Answer): void {
    const lane = this.#lanes[answer.direction];
    if (answer.receipt !== undefined) this.#keepReceipt(answer.receipt);
    this.#settle(lane, answer.through);
    if (this.#wait === 'receipt' && answer.through > lane.passed) lane.passed = answer.through;
    this.#release(lane);
    this.#forget(lane);
  }

  #keepReceipt(receipt: Receipt): void {
    // a copy: the answer's bytes belong to a chunk that would stay in memory with it
    this.#receipt = { index: receipt.index, hash: Uint8Array.prototype.slice.call(receipt.hash) };
  }

  /** A frame leaves the line, if it is still in it: what it holds is not delivered by any `pass`. */
  aside({ direction, first, last }: Aside): void {
    const lane = this.#lanes[direction];
    this.#passBefore(lane, first);
    const from = firstAfter(lane.window, first - 1);
    if (first > lane.released && lane.window[from]?.unit === first) {
      const units = lane.window.splice(from, last - first + 1);
      for (const unit of units) {
        this.#windowBytes -= unit.wire.length;
        this.#advance(lane, unit);
      }
      lane.aside.set(last, Buffer.concat(units.map((unit) => unit.wire.subarray(outFrom))));
    }
    lane.passed = Math.max(lane.passed, last);
    this.#settle(lane, last);
    this.#release(lane);
    this.#forget(lane);
  }

  release({ direction, last }: Aside): void {
    const lane = this.#lanes[direction];
    const frame = lane.aside.get(last);
    if (frame !== undefined && lane.aside.delete(last)) this.#insert(lane, frame);
  }

  /** What waits for a person, by last units. */
  get waiting(): { c2s: number[]; s2c: number[] } | undefined {
    const [c2s, s2c] = this.#lanes.map((lane) => [...lane.aside.keys()]);
    return c2s!.length + s2c!.length > 0 ? { c2s: c2s!, s2c: s2c! } : undefined;
  }

  say({ direction, line }: Said): void {
    this.#insert(this.#lanes[direction], line);
  }

  #passBefore(lane: Lane, unit: number): void {
    if (unit <= lane.passed + 1) return;
    lane.passed = unit - 1;
    this.#release(lane);
  }

  refuse(refusal: Refusal): void {
    const lane = this.#lanes[refusal.direction];
    if (lane.aside.delete(refusal.unit)) return this.#tell(lane, refusal.toSender, refusal.toReceiver);
    this.#passBefore(lane, refusal.unit);
    const held = lane.window[firstAfter(lane.window, refusal.unit - 1)];
    const unit = held?.unit === refusal.unit ? held : undefined;
    lane.passed = Math.max(lane.passed, refusal.unit);
    lane.settled = Math.max(lane.settled, refusal.unit);
    // What was delivered before the recorder asked us to wait cannot be taken back: a second answer would be worse than none.
    if (unit !== undefined && refusal.unit > lane.released) this.#withhold(lane, unit, refusal.toSender, refusal.toReceiver);
    else if (unit !== undefined && (lane.midFrame || lane.refused) && refusal.unit >= lane.frameFrom) {
      lane.refused = true;
      for (const one of lane.window) if (one.unit > refusal.unit && one.unit <= lane.released) one.dead = true;
    }
    this.#release(lane);
    this.#forget(lane);
  }

  #advance(lane: Lane, unit: Unit): void {
    if (!lane.midFrame && !lane.refused) lane.frameFrom = unit.unit;
    lane.released = unit.unit;
  }

  /** Leaves a unit out of what is delivered, and puts the answers in its place. */
  #withhold(lane: Lane, unit: Unit, toSender: Buffer, toReceiver: Buffer): void {
    this.#advance(lane, unit);
    lane.refused = unit.more;
    if (!unit.more) {
      if (lane.midFrame) this.#write(lane, Buffer.from('\n'), 0);
      lane.midFrame = false;
      this.#tell(lane, toSender, toReceiver);
      this.#insertDue(lane);
    }
    this.#checkDrained(lane);
  }

  #tell(lane: Lane, toSender: Buffer, toReceiver: Buffer): void {
    if (toReceiver.length > 0) this.#insert(lane, toReceiver);
    if (toSender.length > 0) this.#insert(this.#lanes[lane.direction === 0 ? 1 : 0], toSender);
  }

  #insert(lane: Lane, line: Buffer): void {
    if (lane.midFrame) lane.inserts.push(line);
    else this.#write(lane, line, 0);
  }

  #insertDue(lane: Lane): void {
    if (lane.midFrame || lane.inserts.length === 0) return;
    for (const line of lane.inserts.splice(0)) this.#write(lane, line, 0);
  }

  /** Delivers, in order, what may be delivered. */
  #release(lane: Lane): void {
    const through = this.#wait === 'none' ? Math.max(lane.handed, lane.passed) : this.#wait === undefined ? 0 : lane.passed;
    let first = firstAfter(lane.window, lane.released);
    // The recorder's word on the last unit brings the answers: a hand-over alone does not end a refused frame.
    const answered = Math.max(lane.passed, lane.settled);
    while (lane.refused && first < lane.window.length && lane.window[first]!.unit <= answered) {
      const unit = lane.window[first++]!;
      unit.dead = true;
      this.#withhold(lane, unit, none, none);
    }
    if (lane.refused || through <= lane.released) return;
    let end = first;
    let sizeBytes = 0;
    while (end < lane.window.length && lane.window[end]!.unit <= through) sizeBytes += lane.window[end++]!.wire.length - outFrom;
    if (end === first) return;
    const due = lane.window.slice(first, end);
    const last = due.at(-1)!;
    for (const unit of due) {
      this.#advance(lane, unit);
      lane.midFrame = unit.more;
    }
    if (lane.inserts.length === 0 && (due.length === 1 || sizeBytes <= joinBytes)) {
      const outs = due.map((unit) => unit.wire.subarray(outFrom));
      this.#write(lane, outs.length === 1 ? outs[0]! : Buffer.concat(outs, sizeBytes), last.unit);
    } else {
      lane.target.cork();
      for (const unit of due) {
        lane.midFrame = unit.more;
        this.#write(lane, unit.wire.subarray(outFrom), unit.unit);
        this.#insertDue(lane);
      }
      lane.target.uncork();
    }
    if (this.#wait === 'none') this.#forget(lane);
    this.#checkDrained(lane);
  }

  #write(lane: Lane, bytes: Buffer, unit: number): void {
    if (lane.targetGone) return;
    lane.writing++;
    const room = lane.target.write(bytes, (error) => {
      lane.writing--;
      if (!error && unit > lane.delivered) lane.delivered = unit;
      this.#checkDrained(lane);
    });
    if (!room && !lane.blocked) {
      lane.blocked = true;
      this.#flow();
    }
  }

  /** Drops from the window what is both delivered and settled. */
  #forget(lane: Lane): void {
    const through = Math.min(lane.released, lane.settled);
    let count = 0;
    while (count < lane.window.length && lane.window[count]!.unit <= through) this.#windowBytes -= lane.window[count++]!.wire.length;
    if (count > 0) lane.window.splice(0, count);
    if (this.#full && this.#windowBytes < tapResumeBytes && this.#lanes[0].window.length + this.#lanes[1].window.length < tapWindowUnits / 2) {
      this.#full = false;
      this.#flow();
    }
    this.#checkDrained(lane);
  }

  /** Reads from a direction unless its receiver is slow or the window is full. */
  #flow(): void {
    for (const lane of this.#lanes) {
      if (lane.sourceEnded) continue;
      if (this.#full || lane.blocked) lane.source.pause();
      else lane.source.resume();
    }
  }

  #ended(lane: Lane): void {
    if (lane.sourceEnded) return;
    lane.sourceEnded = true;
    this.#giveUpAside();
    this.#read(lane, lane.splitter.end());
    this.#checkDrained(lane);
  }

  #lose(lane: Lane): void {
    if (lane.targetGone) return;
    lane.targetGone = true;
    lane.blocked = false;
    this.#giveUpAside();
    this.#flow();
    this.#events.targetGone(lane.direction);
    this.#checkDrained(lane);
  }

  /** One side is gone: nobody asks any more, or nobody could answer. */
  #giveUpAside(): void {
    for (const { aside } of this.#lanes) aside.clear();
  }

  #checkDrained(lane: Lane): void {
    if (lane.sourceEnded && lane.released === lane.lastUnit && (lane.writing === 0 || lane.targetGone)) this.#events.drained(lane.direction);
  }

  /** What the recorder said last counts while there is none. */
  get onUnrecordable(): 'block' | 'pass' {
    return this.#onUnrecordable;
  }

  set onUnrecordable(said: unknown) {
    if (said === 'block' || said === 'pass') this.#onUnrecordable = said;
  }

  /**
   * No recorder can be reached: from now on `onUnrecordable` decides, first over everything that is held. What was delivered already stays in the window
   * for the next recorder.
   */
  async giveUp(reason: string): Promise<void> {
    this.#reason = reason;
    this.#answersFor ??= (await import('../wire/unrecorded.ts')).answersFor;
    if (!this.#link.unreachable) return;
    const held = this.#lanes
      .flatMap((lane) => lane.window.splice(firstAfter(lane.window, lane.released)).map((unit) => ({ lane, unit })))
      .sort((a, b) => a.unit.arrival - b.unit.arrival);
    for (const { lane, unit } of held) {
      this.#windowBytes -= unit.wire.length;
      this.#settleAlone(lane, unit);
    }
    // what comes now is not kept, so a window that is full of what was delivered need not stop it
    this.#full = false;
    this.#flow();
  }

  #count(lane: Lane, unit: Unit): void {
    const now = Date.now();
    this.#losses ??= { lost: [0, 0], units: [[], []], from: now, until: now };
    this.#losses.until = now;
    if (!unit.more) this.#losses.lost[lane.direction]++;
  }

  #settleAlone(lane: Lane, unit: Unit): void {
    this.#count(lane, unit);
    const out = unit.wire.subarray(outFrom);
    if (this.#onUnrecordable === 'pass' && !lane.refused) {
      this.#advance(lane, unit);
      lane.midFrame = unit.more;
      this.#write(lane, out, unit.unit);
      this.#insertDue(lane);
    } else {
      // Its id may be anywhere in the frame. One that was delivered or refused in part, or is very long, is not kept as a whole: it gets no answer.
      const kept = lane.broken ? lane.kept : lane.midFrame || lane.refused ? undefined : [];
      kept?.push(out);
      lane.kept = kept !== undefined && unit.more && kept.length < keptUnits ? kept : undefined;
      const answers = unit.more || kept === undefined ? undefined : this.#answersFor!(kept.length === 1 ? out : Buffer.concat(kept), this.#reason);
      addRange(this.#losses!.units[lane.direction], unit.unit, unit.unit);
      this.#withhold(lane, unit, answers?.toSender ?? none, answers?.toReceiver ?? none);
    }
    lane.broken = unit.more;
  }

  /**
   * What was lost and not told. To a recorder that is new on the line also what the last one was told and perhaps took with it: nothing that was sent
   * behind it became durable.
   */
  takeLosses(isNewLine: boolean): Losses | undefined {
    if (isNewLine) {
      const told = this.#told.splice(0).map(({ losses }) => losses);
      if (this.#losses !== undefined) told.push(this.#losses);
      if (told.length > 0) this.#losses = told.reduce(merged);
    }
    const losses = this.#losses;
    // a frame that is still being lost is told with its end
    if (losses === undefined || (losses.lost[0] === 0 && losses.lost[1] === 0)) return undefined;
    this.#losses = undefined;
    this.#told.push({ losses, behind: isNewLine ? [0, 0] : this.lastUnits });
    return losses;
  }

  /** The recorder has this: what it was told before that, it has too. */
  #settle(lane: Lane, through: number): void {
    if (through <= lane.settled) return;
    lane.settled = through;
    if (this.#told.length > 0) this.#told = this.#told.filter(({ behind }) => through <= behind[lane.direction]);
  }
}

function merged(first: Losses, second: Losses): Losses {
  const units: [Range[], Range[]] = [[...first.units[0]], [...first.units[1]]];
  for (const direction of [0, 1] as const) for (const [from, through] of second.units[direction]) addRange(units[direction], from, through);
  return { lost: [first.lost[0] + second.lost[0], first.lost[1] + second.lost[1]], units, from: first.from, until: second.until };
}

/** Ranges come in order. */
function addRange(ranges: Range[], from: number, through: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last[1] + 1 === from) last[1] = through;
  else if (ranges.length < rangesCount) ranges.push([from, through]);
}

/** Position of the first unit behind number `unit`: units stand in order, with holes only where some were settled without a recorder. */
function firstAfter(window: readonly Unit[], unit: number): number {
  let low = 0;
  let high = window.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (window[middle]!.unit <= unit) low = middle + 1;
    else high = middle;
  }
  return low;
}

function newLane(direction: DirectionIndex, source: Readable, target: Writable, unitBytes: number): Lane {
  return {
    direction,
    source,
    target,
    splitter: new LineSplitter(unitBytes),
    window: [],
    lastUnit: 0,
    aside: new Map(),
    handed: 0,
    passed: 0,
    settled: 0,
    released: 0,
    delivered: 0,
    midFrame: false,
    frameFrom: 1,
    refused: false,
    broken: false,
    kept: undefined,
    inserts: [],
    sourceEnded: false,
    targetGone: false,
    writing: 0,
    blocked: false,
  };
}
