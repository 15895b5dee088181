/** A ledger with sessions at times that a test chooses, and what prunes it: without sockets, with the recorder's own parts. */
import { join } from 'node:path';
import type { Entry, MessageEntry, PolicyEntry } from '../src/entry/entry.ts';
import type { Files } from '../src/ledger/files.ts';
import { Ledger, type PartPlace } from '../src/ledger/ledger.ts';
import type { ContentItem } from '../src/ledger/segment.ts';
import type { Freeze } from '../src/policy/freeze.ts';
import { Clock } from '../src/recorder/clock.ts';
import { Eraser } from '../src/recorder/erase.ts';
import type { Hold } from '../src/recorder/hold.ts';
import { Pinner } from '../src/recorder/pins.ts';
import { Pruner } from '../src/recorder/prune.ts';
import { commitment, seal, segmentOf, type Attributes } from '../src/recorder/seal.ts';
import { State } from '../src/recorder/state.ts';
import { smallBounds, type Scratch } from './faults/world.ts';

export const day = 86_400_000;
/** When the first entry is made. */
export const beginMs = Date.parse('2025-01-01T00:00:00Z');
const clock = new Clock();

interface Talk {
  id: string;
  seq: number;
  units: [number, number];
  who: number;
}

export class PruneWorld {
  readonly ledger: Ledger;
  readonly eraser: Eraser;
  readonly pruner: Pruner;
  readonly pinner: Pinner;
  readonly state: State;
  readonly logged: string[] = [];
  readonly talks = new Map<string, Talk>();
  holds: Hold[] = [];
  freezes: Freeze[] = [];
  witnessedSize: number | undefined;
  /** Of the next entry. */
  nowMs = beginMs;
  restated = 0;

  /** `from`: what an earlier recorder has noted of the entries before it is not needed. */
  constructor(at: Scratch, files?: Files, { segmentBytes = 64 * 1024, from }: { segmentBytes?: number; from?: number } = {}) {
    const events = { flushed: () => undefined, recordable: () => undefined, fatal: () => undefined };
    this.state = new State(at.folder);
    const replay = { from: from ?? this.state.from, entry: (entry: Parameters<State['replay']>[0]) => this.state.replay(entry) };
    this.ledger = Ledger.open(at.folder, at.keysHome, replay, events, files, { ...smallBounds, segmentBytes });
    this.eraser = new Eraser(
      {
        ledger: this.ledger,
        common: () => this.common('erasure'),
        holds: () => this.holds,
        isOpen: () => false,
        forget: () => undefined,
        snapshot: () => undefined,
        log: (text) => this.logged.push(text),
      },
      this.state.erasures,
    );
    this.pinner = new Pinner({ ledger: this.ledger, clock, isOpen: () => false }, this.state.pins);
    this.pruner = new Pruner(
      {
        ledger: this.ledger,
        eraser: this.eraser,
        common: () => this.common('prune'),
        timeText: (us) => clock.text(us),
        holds: () => this.holds,
        freezes: () => this.freezes,
        isOpen: () => false,
        witnessedSize: () => this.witnessedSize,
        restatePolicy: (from) => {
          this.restated++;
          return this.pinner.restate(from);
        },
        forget: () => undefined,
        snapshot: () => undefined,
        log: (text) => this.logged.push(text),
      },
      this.state.pruned,
    );
  }

  common<K extends string>(kind: K): { v: 1; kind: K; time: string; monotonicUs: number } {
    return { v: 1, kind, time: clock.text(this.nowMs * 1000), monotonicUs: clock.monotonicUs() };
  }

  async append(entry: Entry, attributes: Attributes = {}, frame?: ContentItem[]): Promise<number> {
    const index = this.ledger.nextIndex;
    this.nowMs += 1000;
    await new Promise<void>((done, failed) =>
      this.ledger.append(seal(entry, attributes, frame), { durable: () => done(), failed }, { urgent: true }),
    );
    return index;
  }

  start(): Promise<number> {
    const { id: ledger, origin, key } = this.ledger;
    return this.append({ ...this.common('start'), ledger, origin, vkey: key.vkey, recorder: { version: '0', uid: 1, pid: 1 } }, { host: 'h' });
  }

  async open(name: string, mode: 'commit' | 'observe' = 'commit'): Promise<void> {
    const id = Buffer.from(name.padEnd(16, '.')).toString('hex').slice(0, 32);
    const connection = { transport: 'stdio', server: 'files', client: name, mode, onUnrecordable: 'block', custody: 'same-user' } as const;
    await this.append({ ...this.common('open'), connection: id, ...connection, tap: { source: 'none' } }, { argv: ['server', name] });
    const who = await this.append({ ...this.common('principal'), connection: id, source: 'observed', uid: 1000 }, { user: name });
    this.talks.set(name, { id, seq: 0, units: [0, 0], who });
  }

  /** A request and its reply. */
  async call(name: string, text = 'x'.repeat(60)): Promise<void> {
    const exchange = await this.message(name, 'request', `{"method":"${text}"}`);
    await this.message(name, 'result', `{"result":"${text}"}`, exchange);
  }

  /** `isOurs`: an answer of our own, which no tap sent. */
  async message(
    name: string,
    type: 'request' | 'result',
    text: string,
    exchange?: number,
    parts: ContentItem[] = [],
    isOurs = false,
  ): Promise<number> {
    const talk = this.talks.get(name)!;
    const side = type === 'request' ? 0 : 1;
    const own = segmentOf(Buffer.from(text));
    const hashes = [...parts.map((part) => (part as { hash: Uint8Array }).hash), own.hash];
    const partsBytes = parts.reduce((sum, part) => sum + (part as { sizeBytes: number }).sizeBytes, 0);
    const index = this.ledger.nextIndex;
    if (!isOurs) talk.units[side] += parts.length + 1;
    const entry = {
      ...this.common('message'),
      ...{
        connection: talk.id,
        stream: 0,
        seq: ++talk.seq,
        tapSeq: isOurs ? 0 : talk.units[side],
        direction: side === 0 ? 'c2s' : 's2c',
        transport: 'stdio',
        type,
      },
      ...{
        id: String(talk.seq),
        exchange: exchange ?? index,
        who: talk.who,
        server: 'files',
        verdict: 'pass',
        origin: isOurs ? 'sworn' : side === 0 ? 'client' : 'server',
      },
      ...{ sizeBytes: Buffer.byteLength(text) + partsBytes, segments: hashes.length, commitment: commitment(hashes) },
      ...(parts.length === 0 ? {} : { parts: parts.length + 1 }),
    } as MessageEntry;
    return this.append(entry, {}, [...parts, own.item]);
  }

  /** One unit of a frame that goes on: what its entry will name. */
  async part(name: string, bytes: Buffer, side: 0 | 1 = 0): Promise<ContentItem> {
    const { item, hash } = segmentOf(bytes);
    const { salt } = item as ContentItem & { state: 'kept'; salt: Buffer };
    let place: PartPlace | undefined;
    const talk = this.talks.get(name)!;
    await new Promise<void>((done, failed) => {
      const part = { connection: talk.id, direction: side, unit: talk.units[side] + 1, salt, bytes } as const;
      place = this.ledger.appendPart(part, { durable: () => done(), failed }, { urgent: true });
    });
    return { state: 'part', hash, sizeBytes: bytes.length, ...place! };
  }

  async close(name: string): Promise<void> {
    const { id, units } = this.talks.get(name)!;
    await this.append({ ...this.common('close'), connection: id, reason: 'client closed', frames: { c2s: units[0], s2c: units[1] } });
    this.talks.delete(name);
  }

  /** A session of so many calls. */
  async session(name: string, calls: number): Promise<void> {
    await this.open(name);
    for (let i = 0; i < calls; i++) await this.call(name);
    await this.close(name);
  }

  async hold(of: Omit<Hold, 'id'>): Promise<void> {
    const id = await this.append({ ...this.common('policy'), act: 'hold' } satisfies PolicyEntry);
    this.holds = [...this.holds, { ...of, id }];
  }

  get folder(): string {
    return join(this.ledger.folder);
  }
}
