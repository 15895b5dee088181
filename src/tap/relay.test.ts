/**
 * The relay against a model: random traffic in random chunks, and a recorder that passes, refuses, answers late, dies and comes back at random. What
 * must hold is what `relay.ts` says must stay true.
 */
import { PassThrough, Writable } from 'node:stream';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { readFrame, type DirectionIndex, type FrameUnit, type Wait } from '../wire/wire.ts';
import { Relay } from './relay.ts';

type Step =
  | { do: 'say'; direction: DirectionIndex; frames: number[]; chunk: number }
  | { do: 'answer'; direction: DirectionIndex; share: number }
  | { do: 'durable'; direction: DirectionIndex; share: number }
  | { do: 'refuse'; direction: DirectionIndex }
  | { do: 'ask'; direction: DirectionIndex; isTold: boolean }
  | { do: 'decide'; which: number; approve: boolean; isTold: boolean }
  | { do: 'wait'; wait: Wait }
  | { do: 'handOver'; share: number }
  | { do: 'die' }
  | { do: 'return'; wait: Wait }
  | { do: 'giveUp' };

const unitBytes = 6;

const direction = fc.constantFrom<DirectionIndex>(0, 1);
const wait = fc.constantFrom<Wait>('receipt', 'verdict', 'none');
const share = fc.double({ min: 0, max: 1, noNaN: true });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('say' as const),
      direction,
      frames: fc.array(fc.nat({ max: 3 * unitBytes }), { maxLength: 6 }),
      chunk: fc.nat(),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('answer' as const), direction, share }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('durable' as const), direction, share }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('refuse' as const), direction }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('ask' as const), direction, isTold: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('decide' as const), which: fc.nat(), approve: fc.boolean(), isTold: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('handOver' as const), share }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), wait }) },
  { weight: 2, arbitrary: fc.constant({ do: 'die' as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('return' as const), wait }) },
  { weight: 1, arbitrary: fc.constant({ do: 'giveUp' as const }) },
);

/** A frame says in its first unit which it is: `<direction><number>;`, padded by its size. */
function frame(direction: DirectionIndex, number: number, sizeBytes: number): string {
  return `${'cs'[direction]}${String(number).padStart(unitBytes - 2, '0')};${'.'.repeat(sizeBytes)}`;
}

function unitsOf(text: string): number {
  return Math.ceil(text.length / unitBytes);
}

function need(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}

/** One tap's relay, its link, and a recorder that remembers. */
class Model {
  readonly sources = [new PassThrough(), new PassThrough()] as const;
  readonly out: [string, string] = ['', ''];
  readonly sent: [string[], string[]] = [[], []];
  /** The frame of each unit; units are numbered from 1. */
  readonly frameOf: [string[], string[]] = [[''], ['']];
  readonly relay: Relay;
  // what the recorder has: units in order of arrival, and how far it has answered
  readonly units: [FrameUnit[], FrameUnit[]] = [[], []];
  readonly known: [number, number] = [0, 0];
  readonly passed: [number, number] = [0, 0];
  readonly settled: [number, number] = [0, 0];
  readonly refused: [Set<string>, Set<string>] = [new Set(), new Set()];
  /** What waits for a person, or has waited: durable, so every recorder knows of it. */
  readonly asked = new Map<string, { direction: DirectionIndex; first: number; last: number; decision?: 'approved' | 'denied' }>();
  /** Refused by a recorder that has died: what is left of them is no other recorder's. */
  readonly dead: [Set<string>, Set<string>] = [new Set(), new Set()];
  wait: Wait | undefined;
  up = false;
  gaveUp = false;
  gaveUpOnce = false;
  first = true;
  /** What the recorder was told as lost, and what of it would go with it if it died. */
  lost: [number, number] = [0, 0];
  told: { lost: [number, number]; behind: readonly [number, number] }[] = [];
  readonly withheld: [Set<number>, Set<number>] = [new Set(), new Set()];
  pending: { bytes: Buffer; handedOver: (() => void) | undefined }[] = [];
  readonly handed: [number, number] = [0, 0];
  /** Since the last welcome the tap waited for nothing, at some time. */
  wasFree = false;
  /** Delivered so far. */
  readonly most: [number, number] = [0, 0];
  readonly onUnrecordable: 'block' | 'pass';

  constructor(onUnrecordable: 'block' | 'pass') {
    this.onUnrecordable = onUnrecordable;
    const sink = (direction: DirectionIndex): Writable =>
      new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          this.out[direction] += chunk.toString();
          this.check(direction);
          done();
        },
      });
    const isSendable = (): boolean => this.up && (this.wait !== undefined || this.first);
    const isUnreachable = (): boolean => this.gaveUp;
    this.relay = new Relay(
      {
        get sendable() {
          return isSendable();
        },
        get unreachable() {
          return isUnreachable();
        },
        send: (bytes, handedOver) => void this.pending.push({ bytes, handedOver }),
      },
      { source: this.sources[0], target: sink(0) },
      { source: this.sources[1], target: sink(1) },
      onUnrecordable,
      { drained: () => undefined, targetGone: () => undefined, lost: () => this.takeLosses() },
      unitBytes,
    );
  }

  /** What reached a receiver: frames of the other side, in order, each at most once, and lines of ours between them. */
  check(direction: DirectionIndex): void {
    const lines = this.out[direction].split('\n');
    let at = -1;
    for (const line of lines.slice(0, -1)) {
      if (line.startsWith('ours')) continue;
      const position = this.sent[direction].indexOf(line);
      const asked = this.asked.get(line);
      if (asked !== undefined) {
        const isAlone = this.onUnrecordable === 'pass' && this.gaveUpOnce;
        need(isAlone || asked.decision === 'approved', `${line} waits, or was denied`);
        need(lines.filter((one) => one === line).length === 1, `${line} was delivered twice`);
        continue;
      }
      if (position < 0 && this.isBeginning(direction, line)) continue;
      need(position >= 0, `${line} was never said, or is not whole`);
      need(position > at, `${line} comes late, or twice`);
      need(!this.refused[direction].has(line), `${line} was refused`);
      at = position;
    }
    // the last delivered frame was allowed to its end, now or by a recorder that has answered
    const allowed = this.wait === 'none' ? Math.max(this.handed[direction], this.passed[direction]) : this.passed[direction];
    if (!(this.onUnrecordable === 'pass' && this.gaveUp))
      need(this.unitsThrough(direction, at) <= Math.max(allowed, this.most[direction]), `${lines.at(-2)} was not allowed`);
    this.most[direction] = Math.max(this.most[direction], this.unitsThrough(direction, at));
  }

  /** The line is the first units of a frame that was refused behind them, or for which no recorder was there. */
  isBeginning(direction: DirectionIndex, line: string): boolean {
    const whole = this.sent[direction].find((one) => one.startsWith(line.slice(0, unitBytes)));
    if (whole === undefined || line.length % unitBytes !== 0 || line.length === 0 || !whole.startsWith(line)) return false;
    return this.refused[direction].has(whole) || (this.onUnrecordable === 'block' && this.gaveUpOnce);
  }

  /** Some of it went before the recorder asked to wait. */
  isBegun(direction: DirectionIndex, first: number): boolean {
    return this.handed[direction] >= first && this.wasFree;
  }

  unitsThrough(direction: DirectionIndex, position: number): number {
    return this.sent[direction].slice(0, position + 1).reduce((sum, text) => sum + unitsOf(text), 0);
  }

  takeLosses(isNewLine = false): void {
    const losses = this.relay.takeLosses(isNewLine);
    if (losses === undefined) return;
    this.told.push({ lost: losses.lost, behind: isNewLine ? [0, 0] : this.relay.lastUnits });
    for (const side of [0, 1] as const) {
      this.lost[side] += losses.lost[side];
      for (const [from, through] of losses.units[side]) for (let unit = from; unit <= through; unit++) this.withheld[side].add(unit);
    }
  }

  /** A gap is durable with what was sent behind it. */
  keepLosses(direction: DirectionIndex, settled: number): void {
    this.told = this.told.filter(({ behind }) => settled <= behind[direction]);
  }

  /** The socket's other end reads: units that it has are dropped, as the recorder does. */
  handOver(share = 1): void {
    for (const { bytes, handedOver } of this.pending.splice(0, Math.ceil(this.pending.length * share))) {
      if (!this.up) continue;
      for (let at = 0; at < bytes.length;) {
        const end = at + 4 + bytes.readUInt32BE(at);
        const unit = readFrame(Buffer.from(bytes.subarray(at + 5, end)))!;
        at = end;
        const { direction } = unit;
        this.handed[direction] = Math.max(this.handed[direction], unit.unit);
        if (unit.unit <= this.known[direction]) continue;
        need(
          !this.dead[direction].has(this.frameOf[direction][unit.unit]!),
          `unit ${unit.unit} is the rest of a frame that another recorder refused`,
        );
        this.known[direction] = unit.unit;
        this.units[direction].push(unit);
      }
      handedOver?.();
    }
  }

  /** Every recorder says it again, before its welcome: a tap may not have heard of it. */
  tellAsked(): void {
    for (const { direction, first, last, decision } of this.asked.values()) {
      this.relay.aside({ direction, first, last });
      if (decision === 'approved') this.relay.release({ direction, first: last, last });
      if (decision === 'denied') this.relay.refuse({ direction, unit: last, toSender: Buffer.from('ours again\n'), toReceiver: Buffer.alloc(0) });
    }
  }

  welcome(wait: Wait): void {
    this.wait = wait;
    this.wasFree ||= wait === 'none';
    this.tellAsked();
    this.gaveUp = false;
    this.takeLosses(true);
    for (const side of [0, 1] as const) {
      // what it had not made durable it has forgotten
      this.units[side] = this.units[side].filter(({ unit }) => unit <= this.settled[side]);
      this.known[side] = Math.max(this.settled[side], 0);
      this.passed[side] = Math.max(this.passed[side], this.settled[side]);
    }
    this.relay.welcome(wait, [this.settled[0], this.settled[1]], !this.first);
    this.first = false;
    this.handOver();
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case 'say': {
        const frames = step.frames.map((size, i) => frame(step.direction, this.sent[step.direction].length + i, size));
        this.sent[step.direction].push(...frames);
        for (const text of frames) this.frameOf[step.direction].push(...Array<string>(unitsOf(text)).fill(text));
        const bytes = Buffer.from(frames.map((text) => `${text}\n`).join(''));
        const cut = bytes.length === 0 ? 0 : step.chunk % bytes.length;
        for (const chunk of [bytes.subarray(0, cut), bytes.subarray(cut)]) if (chunk.length > 0) this.sources[step.direction].write(chunk);
        break;
      }
      case 'answer': {
        if (!this.up || this.wait === undefined || this.wait === 'none') break;
        const { direction } = step;
        const through = this.passed[direction] + Math.round((this.known[direction] - this.passed[direction]) * step.share);
        this.passed[direction] = through;
        if (this.wait === 'receipt' && through > this.settled[direction]) this.keepLosses(direction, (this.settled[direction] = through));
        this.relay.pass({ direction, through });
        break;
      }
      case 'durable': {
        if (!this.up || this.wait === undefined || this.wait === 'receipt') break;
        const { direction } = step;
        const most = this.wait === 'verdict' ? this.passed[direction] : this.known[direction];
        const through = this.settled[direction] + Math.round(Math.max(0, most - this.settled[direction]) * step.share);
        if (through > this.settled[direction]) this.keepLosses(direction, through);
        this.settled[direction] = through;
        this.relay.durable({ direction, through });
        break;
      }
      case 'refuse': {
        if (!this.up || this.wait === undefined || this.wait === 'none') break;
        const { direction } = step;
        const next = Math.max(this.passed[direction], this.settled[direction]) + 1;
        const unit = this.units[direction].find((one) => one.unit === next);
        if (unit === undefined) break;
        const text = this.frameOf[direction][next]!;
        // what was delivered before the recorder asked to wait cannot be taken back
        if (!this.out[direction].split('\n').includes(text)) this.refused[direction].add(text);
        this.passed[direction] = unit.unit;
        this.settled[direction] = Math.max(this.settled[direction], unit.unit);
        this.relay.refuse({ direction, unit: unit.unit, toSender: Buffer.from(`ours ${text}\n`), toReceiver: Buffer.alloc(0) });
        break;
      }
      case 'ask': {
        if (!this.up || this.wait === undefined || this.wait === 'none') break;
        const { direction } = step;
        const first = Math.max(this.passed[direction], this.settled[direction]) + 1;
        const text = this.frameOf[direction][first];
        const last = text === undefined ? 0 : this.frameOf[direction].lastIndexOf(text);
        // only a frame of which nothing was said, all of which the recorder has
        if (text === undefined || this.frameOf[direction].indexOf(text) !== first || this.known[direction] < last) break;
        if (this.refused[direction].has(text) || this.out[direction].split('\n').includes(text)) break;
        // what was delivered without waiting, in part, is not asked for
        if (this.isBegun(direction, first)) break;
        this.asked.set(text, { direction, first, last });
        this.passed[direction] = this.settled[direction] = last;
        this.keepLosses(direction, last);
        if (step.isTold) this.relay.aside({ direction, first, last });
        else await this.step({ do: 'die' });
        break;
      }
      case 'decide': {
        const waiting = [...this.asked.values()].filter(({ decision }) => decision === undefined);
        const one = waiting[step.which % Math.max(1, waiting.length)];
        if (!this.up || this.wait === undefined || one === undefined) break;
        one.decision = step.approve ? 'approved' : 'denied';
        if (!step.isTold) await this.step({ do: 'die' });
        else if (step.approve) this.relay.release({ direction: one.direction, first: one.last, last: one.last });
        else this.relay.refuse({ direction: one.direction, unit: one.last, toSender: Buffer.from('ours no\n'), toReceiver: Buffer.alloc(0) });
        break;
      }
      case 'wait':
        if (!this.up || this.wait === undefined) break;
        this.wait = step.wait;
        this.wasFree ||= step.wait === 'none';
        this.relay.wait(step.wait);
        break;
      case 'handOver':
        this.handOver(step.share);
        break;
      case 'die':
        for (const side of [0, 1] as const) for (const text of this.refused[side]) this.dead[side].add(text);
        for (const { lost } of this.told.splice(0)) for (const side of [0, 1] as const) this.lost[side] -= lost[side];
        this.up = false;
        this.wait = undefined;
        this.first = false;
        this.pending = [];
        break;
      case 'return':
        if (this.up && this.wait !== undefined) break;
        if (!this.up) {
          this.up = true;
          if (this.first) this.relay.sendHeld();
        }
        this.welcome(step.wait);
        break;
      case 'giveUp':
        if (this.up) break;
        this.gaveUp = true;
        this.gaveUpOnce = true;
        await this.relay.giveUp('the model says so');
        break;
    }
    // streams hand on what they were given
    await new Promise<void>((done) => setImmediate(done));
  }

  /** A recorder that answers everything, until nothing is left. */
  async settle(): Promise<void> {
    await this.step({ do: 'return', wait: 'receipt' });
    this.relay.wait('receipt');
    this.wait = 'receipt';
    for (let round = 0; round < 3; round++) {
      this.handOver();
      for (const direction of [0, 1] as const) {
        this.passed[direction] = this.settled[direction] = this.known[direction];
        this.relay.pass({ direction, through: this.known[direction] });
      }
      await new Promise<void>((done) => setImmediate(done));
    }
  }
}

test.each(['block', 'pass'] as const)(
  'whatever the recorder does, frames are delivered in order, whole, at most once; with %s [relay-model]',
  async (onUnrecordable) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), async (steps) => {
        const model = new Model(onUnrecordable);
        for (const one of steps) await model.step(one);
        await model.settle();
        expect(model.relay.settled).toBe(true);
        for (const direction of [0, 1] as const) {
          model.check(direction);
          const isAsked = (line: string): boolean => model.asked.has(line);
          const all = model.out[direction].split('\n');
          for (const [text, { direction: side, last, decision }] of model.asked) {
            if (side !== direction) continue;
            const isAlone = model.gaveUpOnce && (onUnrecordable === 'pass' || model.withheld[direction].has(last));
            if (!isAlone) expect(all.filter((line) => line === text).length, `${text} is ${decision}`).toBe(decision === 'approved' ? 1 : 0);
            if (!isAlone && decision === undefined) expect(model.relay.waiting?.[direction === 0 ? 'c2s' : 's2c'] ?? []).toContain(last);
          }
          const delivered = all.filter((line) => model.sent[direction].includes(line) && !isAsked(line));
          const kept = model.sent[direction].filter((line) => !model.refused[direction].has(line) && !isAsked(line));
          const last = new Set(model.units[direction].map(({ unit }) => unit));
          const unfinished = [...model.refused[direction]].filter((text) => !last.has(model.frameOf[direction].lastIndexOf(text))).length;
          if (onUnrecordable === 'pass') expect(delivered).toEqual(kept);
          // what was neither delivered nor refused was counted as lost, and so was what a recorder began to refuse and did not finish
          else {
            const alone = [...model.asked.values()].filter((one) => one.direction === direction && model.withheld[direction].has(one.last));
            expect(kept.length - delivered.length + unfinished + alone.length).toBe(model.lost[direction]);
          }
          // and of what `delivered` runs over, every unit that no recorder answered for is named
          for (const text of onUnrecordable === 'block' ? kept.filter((line) => !delivered.includes(line)) : []) {
            expect(model.withheld[direction].has(model.frameOf[direction].lastIndexOf(text)), `${text} was withheld`).toBe(true);
          }
          for (const line of delivered) {
            const units = model.frameOf[direction].flatMap((text, unit) => (text === line && model.withheld[direction].has(unit) ? [unit] : []));
            expect(units, `${line} was delivered`).toEqual([]);
          }
          for (const line of delivered) expect(model.out[1 - direction]!.includes(`ours ${line}\n`), `${line} was delivered and refused`).toBe(false);
          // and what was not lost is recorded
          const missing = model.sent[direction].filter((line) => !last.has(model.frameOf[direction].lastIndexOf(line)));
          expect(missing.length).toBeLessThanOrEqual(model.lost[direction]);
        }
      }),
      { numRuns: 300 },
    );
  },
);
