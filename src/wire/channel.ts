/**
 * A connection with the recorder for whoever carries whole frames of many streams (the proxy): hand over, wait for what `welcome` said to wait for, learn what
 * becomes of each frame. The tap of two byte streams has its own, `tap/relay.ts`; what is said here of windows and resending is as there.
 *
 * What must stay true:
 *   1. Units are numbered per direction, without holes, in the order of `send`; those of one frame follow one another.
 *   2. A frame is let go no sooner than its wait class allows, and one that the recorder refused never is.
 *   3. A frame that waits for a person is out of the line: it is let go when the recorder releases it, once, or never, and nothing waits for it.
 *   4. What is not settled stays here and is sent again to the next recorder, but for the rest of a frame that was being refused: that is lost, and counted.
 */
import { deliveryWaitMs, frameUnits, headBytes, httpSpeakers, tapResumeBytes, tapWindowBytes, tapWindowUnits, unitBytes } from '../limits.ts';
import { Deliveries } from './deliveries.ts';
import { Link, type LinkOptions } from './link.ts';
import type { Principal } from './principal.ts';
import {
  bare,
  encodeJson,
  exact,
  frameHeaderBytes,
  headed,
  held,
  moreUnits,
  wireType,
  writeFrameHeader,
  type Answer,
  type Aside,
  type Close,
  type DirectionIndex,
  type Head,
  type Hello,
  type Lost,
  type Receipt,
  type Refusal,
  type Wait,
} from './wire.ts';

export type Outcome =
  | Decided
  /** It waits for a person, and nothing waits for it. */
  | { kind: 'aside'; unit: number; decided: Promise<Decided> };

export type Decided =
  /** It may be delivered; `recorded` is false where nobody could record it. */
  | { kind: 'pass'; unit: number; recorded: boolean }
  /** It must not be delivered. Lines for either side, perhaps empty. */
  | { kind: 'refused'; unit: number; toSender: Buffer; toReceiver: Buffer }
  /** It must not be delivered, and nothing could be recorded. */
  | { kind: 'unrecordable'; unit: number; reason: string }
  /** It waited for a person until `giveUp`. */
  | { kind: 'given up'; unit: number };

interface Sent {
  first: number;
  last: number;
  arrival: number;
  stream: number;
  /** What its units say before their bytes: the last one `head`, those before it `short`. JSON. */
  head: Text;
  short: Text;
  /** Absent: a head alone. */
  bytes: Uint8Array | undefined;
  delivered: readonly [number, number];
  seenUs: number;
  isHeld: boolean;
  sizeBytes: number;
  outcome: ((outcome: Outcome) => void) | undefined;
  /** Some unit of it was refused, and the answers are still to come. */
  refused: boolean;
}

interface Text {
  text: string;
  sizeBytes: number;
}

interface Lane {
  readonly direction: DirectionIndex;
  window: Sent[];
  /** How many of them, from the first on, were told what becomes of them. */
  told: number;
  lastUnit: number;
  handed: number;
  passed: number;
  settled: number;
  readonly deliveries: Deliveries;
  /** Frames that wait for a person, by their last units. */
  readonly aside: Map<number, { stream: number; decide: (decided: Decided) => void }>;
}

interface Losses {
  lost: [number, number];
  from: number;
  until: number;
}

export interface ChannelEvents {
  /** No recorder answers: said once for each time. */
  unreachable(reason: string, hint: string): void;
  /** It answers again. */
  reached(): void;
}

const none = Buffer.alloc(0);
const noText: Text = { text: '', sizeBytes: 0 };
/** What is handed over together is joined up to this size. */
const joinBytes = 64 * 1024;
/** How often it is looked for frames that do not arrive. */
const sweepMs = 1_000;

export class Channel {
  readonly #link: Link;
  readonly #events: ChannelEvents;
  readonly #lanes: readonly [Lane, Lane] = [newLane(0), newLane(1)];
  /** What was said of those that frames name; a recorder that comes later is told again. */
  readonly #principals = new Map<string, Buffer>();
  #wait: Wait | undefined;
  #onUnrecordable: 'block' | 'pass';
  #arrivals = 0;
  #streams = 0;
  #windowBytes = 0;
  /** Handed over in this turn, and the last units of it. */
  #out: { lane: Lane; sent: Sent; from: number }[] = [];
  #outThrough: [number, number] = [0, 0];
  #isOutDue = false;
  /** Streams that are not over. */
  #openStreams = 0;
  #receipt: Receipt | undefined;
  #unreachable: string | undefined;
  #isFirstWelcome = true;
  #losses: Losses | undefined;
  #told: { losses: Losses; behind: [number, number] }[] = [];
  #roomWaiters: (() => void)[] = [];
  #closed: (() => void) | undefined;
  #closing: (() => Close) | undefined;
  #sweep: NodeJS.Timeout | undefined;

  constructor(options: LinkOptions, hello: () => Hello, events: ChannelEvents) {
    this.#events = events;
    this.#onUnrecordable = hello().onUnrecordable;
    this.#link = new Link(
      options,
      () => ({
        ...hello(),
        ...this.#asides,
        ...(this.#receipt === undefined ? {} : { receipt: { index: this.#receipt.index, hash: Buffer.from(this.#receipt.hash).toString('hex') } }),
      }),
      {
        connected: () => {
          if (this.#link.sendable) this.#resend();
        },
        welcome: ({ wait, durable, onUnrecordable }) => {
          const wasUnreachable = this.#unreachable !== undefined;
          this.#unreachable = undefined;
          this.#onUnrecordable = onUnrecordable;
          this.#welcome(wait, [durable.c2s, durable.s2c]);
          if (wasUnreachable) this.#events.reached();
        },
        pass: (answer) => this.#answered(answer, this.#wait === 'receipt'),
        durable: (answer) => this.#answered(answer, true),
        refuse: (refusal) => this.#refuse(refusal),
        aside: (aside) => this.#putAside(aside),
        release: ({ direction, last }) => this.#decide(this.#lanes[direction], { kind: 'pass', unit: last, recorded: true }),
        wait: (wait, said) => {
          this.#wait = wait;
          if (said === 'block' || said === 'pass') this.#onUnrecordable = said;
          for (const lane of this.#lanes) this.#release(lane);
        },
        closed: () => this.#closed?.(),
        waits: () => this.isFull || this.#lanes.some(({ window }) => window.some(({ outcome }) => outcome !== undefined)),
        down: () => {
          this.#isFirstWelcome = false;
          // it was given up while its socket was still there: what came since then waits for nobody
          if (this.#unreachable !== undefined) this.#decideAlone();
        },
        unreachable: (reason, hint) => this.#giveUp(reason, hint),
      },
    );
  }

  start(): void {
    this.#link.start();
    this.#sweep = setInterval(() => this.#sayDeliveries(deliveryWaitMs), sweepMs).unref();
  }

  /** No recorder answers. */
  get unreachable(): boolean {
    return this.#unreachable !== undefined;
  }

  /** A recorder has answered, or is waited for: `/readyz` asks. */
  get up(): boolean {
    return this.#link.up;
  }

  get delivered(): [number, number] {
    const [c2s, s2c] = this.#lanes;
    return [c2s.deliveries.through(c2s.lastUnit), s2c.deliveries.through(s2c.lastUnit)];
  }

  /** Nothing more may be handed over before there is `room`. */
  get isFull(): boolean {
    return this.#windowBytes > tapWindowBytes || this.#lanes[0].window.length + this.#lanes[1].window.length > tapWindowUnits;
  }

  /** Until there is room, or nobody who could make some: whoever reads without asking would fill our memory while the recorder is slow. */
  async room(): Promise<void> {
    while (this.isFull && !this.#isAlone) await new Promise<void>((done) => this.#roomWaiters.push(done));
  }

  /** No recorder answers: what is handed over now is decided over without one. */
  get #isAlone(): boolean {
    return this.#unreachable !== undefined && !this.#link.up;
  }

  /** The number of a new stream; 32 bits on the wire. */
  nextStream(): number {
    this.#streams = this.#streams >= 0xffff_ffff ? 1 : this.#streams + 1;
    this.#openStreams++;
    return this.#streams;
  }

  /** Nothing more is handed over for a stream of `nextStream`. */
  endStream(): void {
    this.#openStreams--;
  }

  /** Names somebody before their first frame. Of equal names the first counts. As many are remembered as the recorder remembers. */
  name(who: string, principal: Principal): void {
    const known = this.#principals.get(who);
    const message = known ?? encodeJson(wireType.principal, { who, principal });
    this.#principals.delete(who);
    this.#principals.set(who, message);
    if (known !== undefined) return;
    if (this.#principals.size > httpSpeakers) this.#principals.delete(this.#principals.keys().next().value!);
    if (this.#link.sendable) this.#sendBehind(message);
  }

  /**
   * Hands a frame over and says what becomes of it; without `bytes` it is a head alone. Neither must be written to afterwards. A frame of more than
   * `limits.frameUnits` units cannot be recorded. @param headersText `head.headers` as JSON, where that is at hand
   */
  send(direction: DirectionIndex, stream: number, head: Head, bytes?: Uint8Array, headersText?: string): Promise<Outcome> {
    const lane = this.#lanes[direction];
    const count = bytes === undefined ? 1 : Math.max(1, Math.ceil(bytes.length / unitBytes));
    if (count > frameUnits || this.#isAlone) return Promise.resolve(this.#unrecorded(lane, count));
    const [seconds, nanoseconds] = process.hrtime();
    const whole = textOf(head, headersText);
    const short = count === 1 ? noText : textOf({ who: head.who, ...(head.session === undefined ? {} : { session: head.session }) });
    const sizeBytes =
      count * (frameHeaderBytes + textLengthBytes) + (count - 1) * short.sizeBytes + whole.sizeBytes + (bytes === undefined ? 0 : bytes.length);
    const sent: Sent = {
      first: lane.lastUnit + 1,
      last: lane.lastUnit + count,
      arrival: ++this.#arrivals,
      stream,
      head: whole,
      short,
      bytes,
      delivered: this.delivered,
      seenUs: seconds * 1e6 + Math.floor(nanoseconds / 1000),
      isHeld: this.#wait !== 'none',
      sizeBytes,
      outcome: undefined,
      refused: false,
    };
    lane.lastUnit = sent.last;
    lane.window.push(sent);
    lane.deliveries.begin(sent.first, sent.last, stream, head);
    this.#windowBytes += sizeBytes;
    return new Promise((outcome) => {
      sent.outcome = outcome;
      if (this.#link.sendable) this.#handOver(lane, sent, sent.first);
    });
  }

  /** Something that is no message, which has no receiver. */
  say(direction: DirectionIndex, stream: number, head: Head): void {
    void this.send(direction, stream, head);
    this.over(direction, this.#lanes[direction].lastUnit);
  }

  /** A frame that was let go is with its receiver. */
  done(direction: DirectionIndex, unit: number): void {
    this.#lanes[direction].deliveries.done(unit);
  }

  /** Nobody is there any more for what waits for a person on this stream. What it was must be named by a head (`undelivered`). */
  giveUp(stream: number): void {
    for (const lane of this.#lanes) for (const [unit, one] of lane.aside) if (one.stream === stream) this.#decide(lane, { kind: 'given up', unit });
  }

  /** It cannot get there any more, or has no receiver. What was let go and does not arrive must have been named by a head (`undelivered`). */
  over(direction: DirectionIndex, unit: number): void {
    this.#lanes[direction].deliveries.over(unit);
  }

  #sayDeliveries(waitMs: number): void {
    if (!this.#link.up) return;
    for (const { direction, deliveries } of this.#lanes)
      deliveries.due(performance.now(), waitMs, ({ stream, head }) => this.say(direction, stream, head));
  }

  /** Ends the connection; resolves once its `close` is durable, or nobody is there to say so. */
  async close(reason: Close['reason'], waitMs: number): Promise<void> {
    clearInterval(this.#sweep);
    // what is on its way is said as it is
    this.#sayDeliveries(0);
    await new Promise<void>((done) => {
      const timer = setTimeout(done, waitMs);
      this.#closed = () => {
        clearTimeout(timer);
        done();
      };
      this.#closing = () => ({ reason, frames: { c2s: this.#lanes[0].lastUnit, s2c: this.#lanes[1].lastUnit }, delivered: this.delivered });
      if (this.#link.up) {
        this.#tell(false);
        this.#sendBehind(encodeJson(wireType.close, this.#closing()));
      } else if (this.#unreachable !== undefined) this.#closed();
    });
    this.#link.stop();
  }

  #handOver(lane: Lane, sent: Sent, from: number): void {
    this.#out.push({ lane, sent, from });
    this.#outThrough[lane.direction] = sent.last;
    if (this.#isOutDue) return;
    this.#isOutDue = true;
    // one alone goes at once; of many at a time, what all sockets have brought goes together
    if (this.#openStreams <= 1) process.nextTick(() => this.#flushOut());
    else setImmediate(() => this.#flushOut());
  }

  /** What was handed over in one turn goes to the socket together: a write for each frame would cost more than all else that is done for it. */
  #flushOut(): void {
    this.#isOutDue = false;
    const out = this.#out;
    this.#out = [];
    const through = this.#outThrough;
    this.#outThrough = [0, 0];
    // it is in the window, and is sent again
    if (!this.#link.sendable) return;
    const handed = (): void => {
      for (const lane of this.#lanes) {
        if (through[lane.direction] > lane.handed) lane.handed = through[lane.direction];
        if (this.#wait === 'none') this.#release(lane);
      }
    };
    const pieces = piecesOf(out);
    for (const [i, piece] of pieces.entries()) this.#link.send(piece, i === pieces.length - 1 ? handed : undefined);
  }

  /** Behind everything that was handed over. */
  #sendBehind(message: Buffer): void {
    if (this.#out.length > 0) this.#flushOut();
    this.#link.send(message);
  }

  /** Everything that is not settled, in order of arrival. */
  #resend(): void {
    this.#out = [];
    this.#outThrough = [0, 0];
    for (const message of this.#principals.values()) this.#link.send(message);
    const due = this.#lanes.flatMap((lane) => lane.window.map((sent) => ({ lane, sent }))).toSorted((a, b) => a.sent.arrival - b.sent.arrival);
    for (const { lane, sent } of due) {
      const from = Math.max(sent.first, lane.settled + 1);
      if (from > sent.last) continue;
      // what was read under another recorder, and perhaps delivered meanwhile
      sent.isHeld = sent.outcome !== undefined && this.#wait !== 'none';
      this.#handOver(lane, sent, from);
    }
  }

  #welcome(wait: Wait, durable: readonly [number, number]): void {
    this.#wait = wait;
    for (const lane of this.#lanes) {
      lane.settled = Math.max(lane.settled, durable[lane.direction]);
      lane.passed = Math.max(lane.passed, durable[lane.direction]);
    }
    if (!this.#isFirstWelcome) {
      for (const lane of this.#lanes) this.#buryRefused(lane);
      this.#tell(true);
      this.#resend();
    }
    this.#isFirstWelcome = false;
    for (const lane of this.#lanes) this.#release(lane);
    if (this.#closing !== undefined) this.#sendBehind(encodeJson(wireType.close, this.#closing()));
  }

  /** The next recorder would take the rest of such a frame for a frame of its own. */
  #buryRefused(lane: Lane): void {
    for (const sent of lane.window.filter(({ refused }) => refused)) {
      this.#drop(lane, sent);
      this.#lose(lane.direction);
      sent.outcome?.({ kind: 'unrecordable', unit: sent.last, reason: 'the recorder ended while it refused this message' });
      lane.deliveries.withheld(sent.last);
    }
  }

  #answered({ direction, through, receipt }: Answer, isSettled: boolean): void {
    const lane = this.#lanes[direction];
    if (receipt !== undefined) this.#receipt = { index: receipt.index, hash: Uint8Array.prototype.slice.call(receipt.hash) };
    lane.passed = Math.max(lane.passed, through);
    if (isSettled) this.#settle(lane, through);
    this.#release(lane);
  }

  #settle(lane: Lane, through: number): void {
    if (through <= lane.settled) return;
    lane.settled = through;
    if (this.#told.length > 0) this.#told = this.#told.filter(({ behind }) => through <= behind[lane.direction]);
  }

  /** A frame leaves the line, if it is still in it and was not let go: what stands behind it goes on. */
  #putAside({ direction, first, last }: Aside): void {
    const lane = this.#lanes[direction];
    lane.passed = Math.max(lane.passed, first - 1);
    this.#release(lane);
    const sent = lane.window.find((one) => one.first === first && one.last === last);
    if (sent?.outcome !== undefined) {
      this.#drop(lane, sent);
      // `delivered` runs over it: the record says that it waits
      lane.deliveries.over(last);
      const decided = new Promise<Decided>((decide) => lane.aside.set(last, { stream: sent.stream, decide }));
      sent.outcome({ kind: 'aside', unit: last, decided });
    }
    lane.passed = Math.max(lane.passed, last);
    this.#settle(lane, last);
    this.#release(lane);
  }

  #decide(lane: Lane, decided: Decided): boolean {
    const waiting = lane.aside.get(decided.unit);
    lane.aside.delete(decided.unit);
    waiting?.decide(decided);
    return waiting !== undefined;
  }

  /** What `hello` says of them. */
  get #asides(): Pick<Hello, 'aside'> {
    const [c2s, s2c] = this.#lanes.map(({ aside }) => [...aside.keys()]) as [number[], number[]];
    return c2s.length + s2c.length === 0 ? {} : { aside: { c2s, s2c } };
  }

  #refuse({ direction, unit, toSender, toReceiver }: Refusal): void {
    const lane = this.#lanes[direction];
    if (this.#decide(lane, { kind: 'refused', unit, toSender, toReceiver })) return;
    lane.passed = Math.max(lane.passed, unit - 1);
    this.#release(lane);
    const sent = lane.window.find(({ first, last }) => first <= unit && unit <= last);
    lane.passed = Math.max(lane.passed, unit);
    this.#settle(lane, unit);
    if (sent === undefined) return;
    if (unit < sent.last) {
      sent.refused = true;
      return;
    }
    const { outcome } = sent;
    sent.outcome = undefined;
    sent.refused = false;
    this.#release(lane);
    // what was delivered before the recorder asked us to wait cannot be taken back
    if (outcome === undefined) return;
    this.over(direction, unit);
    outcome({ kind: 'refused', unit, toSender, toReceiver });
  }

  /** Says of each frame what became of it, in order, and forgets those of which nothing more is to come. */
  #release(lane: Lane): void {
    const through = this.#wait === 'none' ? Math.max(lane.handed, lane.passed) : this.#wait === undefined ? 0 : lane.passed;
    const { window } = lane;
    const now = performance.now();
    // from where it was told before: while the recorder is behind, thousands wait to be settled
    for (; lane.told < window.length; lane.told++) {
      const sent = window[lane.told]!;
      if ((sent.last > through && sent.last > lane.settled) || sent.refused) break;
      const { outcome } = sent;
      if (outcome === undefined) continue;
      sent.outcome = undefined;
      lane.deliveries.passed(sent.last, now);
      outcome({ kind: 'pass', unit: sent.last, recorded: true });
    }
    let count = 0;
    while (count < lane.told && window[count]!.last <= lane.settled) this.#windowBytes -= window[count++]!.sizeBytes;
    if (count > 0) window.splice(0, count);
    lane.told -= count;
    if (this.#roomWaiters.length > 0 && this.#windowBytes < tapResumeBytes && !this.isFull) for (const done of this.#roomWaiters.splice(0)) done();
  }

  #drop(lane: Lane, sent: Sent): void {
    const at = lane.window.indexOf(sent);
    lane.window.splice(at, 1);
    if (at < lane.told) lane.told--;
    this.#windowBytes -= sent.sizeBytes;
  }

  /** Nobody answers: `onUnrecordable` decides over everything that waits. What was let go already stays for the next recorder. */
  #giveUp(reason: string, hint: string): void {
    this.#unreachable = reason;
    this.#decideAlone();
    this.#events.unreachable(reason, hint);
    if (this.#closing !== undefined) this.#closed?.();
  }

  #decideAlone(): void {
    for (const lane of this.#lanes) {
      for (const sent of lane.window.filter(({ outcome }) => outcome !== undefined)) {
        this.#drop(lane, sent);
        this.#lose(lane.direction);
        sent.outcome!(this.#alone(lane, sent.last));
      }
    }
    for (const done of this.#roomWaiters.splice(0)) done();
  }

  #unrecorded(lane: Lane, count: number): Decided {
    lane.lastUnit += count;
    this.#lose(lane.direction);
    return this.#alone(lane, lane.lastUnit);
  }

  /** Where nobody can record it: of what is let go then, nothing is known. */
  #alone({ deliveries }: Lane, unit: number): Decided {
    if (this.#onUnrecordable === 'pass') {
      deliveries.over(unit);
      return { kind: 'pass', unit, recorded: false };
    }
    deliveries.withheld(unit);
    return { kind: 'unrecordable', unit, reason: this.#unreachable ?? 'the message is too long to be recorded' };
  }

  #lose(direction: DirectionIndex): void {
    const now = Date.now();
    this.#losses ??= { lost: [0, 0], from: now, until: now };
    this.#losses.lost[direction]++;
    this.#losses.until = now;
    if (this.#link.up) this.#tell(false);
  }

  /** What was lost; to a recorder that is new on the line also what the last one was told and perhaps took with it. */
  #tell(isNewLine: boolean): void {
    if (isNewLine) for (const { losses } of this.#told.splice(0)) this.#losses = this.#losses === undefined ? losses : merged(losses, this.#losses);
    const losses = this.#losses;
    if (losses === undefined) return;
    this.#losses = undefined;
    this.#told.push({ losses, behind: isNewLine ? [0, 0] : [this.#lanes[0].lastUnit, this.#lanes[1].lastUnit] });
    const lost: Lost = { reason: 'no recorder', lost: { c2s: losses.lost[0], s2c: losses.lost[1] }, from: losses.from, until: losses.until };
    this.#sendBehind(encodeJson(wireType.lost, lost));
  }
}

function merged(first: Losses, second: Losses): Losses {
  return { lost: [first.lost[0] + second.lost[0], first.lost[1] + second.lost[1]], from: first.from, until: second.until };
}

/** Before a head. */
const textLengthBytes = 4;

/** Units as the socket gets them: joined while they are small, since each write costs more than to copy what is in it. */
function piecesOf(out: readonly { lane: Lane; sent: Sent; from: number }[]): Buffer[] {
  const pieces: Buffer[] = [];
  let due: { sent: Sent; direction: DirectionIndex; unit: number; part: Uint8Array }[] = [];
  let dueBytes = 0;
  /** @param isLong the bytes of the last one go out as they are */
  const join = (isLong = false): void => {
    if (due.length === 0) return;
    const piece = Buffer.allocUnsafe(dueBytes);
    let at = 0;
    for (const [i, { sent, direction, unit, part }] of due.entries()) {
      at = writeUnit(piece, at, sent, direction, unit, part.length);
      if (isLong && i === due.length - 1) break;
      piece.set(part, at);
      at += part.length;
    }
    pieces.push(piece);
    due = [];
    dueBytes = 0;
  };
  for (const { lane, sent, from } of out) {
    for (let unit = from; unit <= sent.last; unit++) {
      const { bytes } = sent;
      const i = unit - sent.first;
      const part = bytes === undefined ? none : sent.first === sent.last ? bytes : bytes.subarray(i * unitBytes, (i + 1) * unitBytes);
      const aroundBytes = frameHeaderBytes + textLengthBytes + (unit === sent.last ? sent.head : sent.short).sizeBytes;
      const isLong = part.length > joinBytes;
      if (dueBytes + aroundBytes + (isLong ? 0 : part.length) > joinBytes) join();
      due.push({ sent, direction: lane.direction, unit, part });
      dueBytes += aroundBytes + (isLong ? 0 : part.length);
      if (!isLong) continue;
      join(true);
      pieces.push(Buffer.from(part.buffer, part.byteOffset, part.length));
    }
  }
  join();
  return pieces;
}

/** Writes what goes before a unit's bytes, and says where they begin. */
function writeUnit(piece: Buffer, at: number, sent: Sent, direction: DirectionIndex, unit: number, partBytes: number): number {
  const isLast = unit === sent.last;
  const { text, sizeBytes } = isLast ? sent.head : sent.short;
  const flags = headed | exact | (isLast ? 0 : moreUnits) | (sent.bytes === undefined ? bare : 0) | (sent.isHeld ? held : 0);
  writeFrameHeader(piece, at, direction, flags, unit, sent.delivered, sent.seenUs, textLengthBytes + sizeBytes + partBytes, sent.stream);
  piece.writeUInt32BE(sizeBytes, at + frameHeaderBytes);
  // a character of ASCII is one byte either way
  piece.write(text, at + frameHeaderBytes + textLengthBytes, sizeBytes === text.length ? 'latin1' : 'utf8');
  return at + frameHeaderBytes + textLengthBytes + sizeBytes;
}

/** Of headers that do not fit the first are told, and how many were left out. @throws RangeError where the rest does not fit: whoever makes it keeps to the bound */
function textOf(head: Head, headersText?: string): Text {
  let text: string;
  if (headersText === undefined) text = JSON.stringify(head);
  else {
    const { headers: _, ...others } = head;
    text = `${JSON.stringify(others).slice(0, -1)},"headers":${headersText}}`;
  }
  let sizeBytes = Buffer.byteLength(text);
  for (let kept = head.headers?.length ?? 0; sizeBytes > headBytes && kept > 0;) {
    kept = Math.floor(kept / 2);
    const left = `${head.headers!.length - kept} more`;
    text = JSON.stringify({ ...head, headers: [...head.headers!.slice(0, kept), ['…', left]] });
    sizeBytes = Buffer.byteLength(text);
  }
  if (sizeBytes > headBytes) throw new RangeError(`a head of ${sizeBytes} bytes`);
  return { text, sizeBytes };
}

function newLane(direction: DirectionIndex): Lane {
  return { direction, window: [], told: 0, lastUnit: 0, handed: 0, passed: 0, settled: 0, deliveries: new Deliveries(), aside: new Map() };
}
