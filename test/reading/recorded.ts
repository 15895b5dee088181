/** A real ledger that the recorder's own `record` writes, without a socket: with a policy, redactions, batches, and frames of several units. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { segmentHash } from '../../src/entry/commitment.ts';
import { findKeyIn } from '../../src/ledger/keys.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import { encodeEntryRecord, scanSegment, type ContentItem } from '../../src/ledger/segment.ts';
import { unitBytes } from '../../src/limits.ts';
import { parseConfig } from '../../src/config/config.ts';
import type { Freeze } from '../../src/policy/freeze.ts';
import { compilePolicy, type CompiledPolicy } from '../../src/policy/judge.ts';
import { Clock } from '../../src/recorder/clock.ts';
import { Connection, type Opened } from '../../src/recorder/connection.ts';
import { record } from '../../src/recorder/record.ts';
import type { RecordDeps } from '../../src/recorder/record-deps.ts';
import { seal } from '../../src/recorder/seal.ts';
import { held, moreUnits } from '../../src/wire/wire.ts';
import type { Place } from './fixture.ts';

export async function policyOf(text: string): Promise<CompiledPolicy> {
  const { config, problems } = await parseConfig(text, 'sworn.yaml');
  if (config === undefined) throw new Error(JSON.stringify(problems));
  return compilePolicy(config.policy);
}

export class Recording {
  readonly ledger: Ledger;
  readonly clock = new Clock();
  readonly keys: string;
  readonly #deps: RecordDeps;
  #connections = 0;

  constructor(at: Place) {
    this.keys = join(at.folder, 'keys');
    const events = {
      flushed: () => undefined,
      recordable: () => undefined,
      fatal: (error: Error) => {
        throw error;
      },
    };
    this.ledger = Ledger.open(at.ledger, this.keys, { from: 0, entry: () => undefined }, events);
    this.#deps = {
      ledger: this.ledger,
      clock: this.clock,
      freezes: [],
      findKey: () => findKeyIn(join(this.keys, this.ledger.id)),
      openingOf: (connection) => this.#openingOf(connection),
      searcher: { search: (redactor, bytes, known, isJson, done) => done(redactor.ranges(bytes, 0, known, isJson)) },
    };
    const { id, origin, key } = this.ledger;
    this.entry({ kind: 'start', ledger: id, origin, vkey: key.vkey, recorder: { version: '0', uid: 1000, pid: 1 }, bootId: 'b' });
  }

  entry(fields: object, attributes: Record<string, unknown> = {}): void {
    const monotonicUs = this.clock.monotonicUs();
    const entry = { v: 1, time: this.clock.text(this.clock.wallUs(monotonicUs)), monotonicUs, ...fields };
    this.ledger.append(seal(entry as Parameters<typeof seal>[0], attributes), { durable: () => undefined });
  }

  #openingOf({ opened, id, judge }: Connection): ReturnType<RecordDeps['openingOf']> {
    const monotonicUs = this.clock.monotonicUs();
    const common = { v: 1 as const, time: this.clock.text(this.clock.wallUs(monotonicUs)), monotonicUs, connection: id };
    const { server, client, labels, overrides } = opened;
    const { uid = 1000 } = judge.party.principal.observed;
    return {
      open: {
        ...common,
        kind: 'open',
        transport: 'stdio',
        server,
        ...(client === undefined ? {} : { client }),
        mode: 'commit',
        onUnrecordable: 'block',
        custody: 'same-user',
        tap: { uid, pid: 41, source: 'SO_PEERCRED' },
        ...(labels === undefined ? {} : { labels }),
      },
      openAttributes: { argv: ['npx', server], overrides },
      principal: { ...common, kind: 'principal', source: 'observed', uid, pid: 39 },
      principalAttributes: { executable: judge.party.principal.observed.executable ?? '/usr/bin/agent' },
    };
  }

  connect(compiled: CompiledPolicy, more: Partial<Opened> = {}): Talk {
    const opened: Opened = {
      connection: (++this.#connections).toString(16).padStart(32, '0'),
      server: 'db',
      mode: 'commit',
      onUnrecordable: 'block',
      custody: 'same-user',
      overrides: { sensitive: [], write: [], read: [] },
      tokenDigest: '0'.repeat(64),
      observed: { uid: 1000, pid: 39, executable: '/usr/bin/agent' },
      ...more,
    };
    return new Talk(new Connection(opened, undefined, compiled), this.#deps);
  }

  /** From now on. */
  freeze(freeze: Freeze): void {
    (this.#deps as { freezes: readonly Freeze[] }).freezes = [freeze];
  }

  thaw(): void {
    (this.#deps as { freezes: readonly Freeze[] }).freezes = [];
  }

  /** The time of the next entry. */
  now(): string {
    return this.clock.text(this.clock.wallUs(this.clock.monotonicUs()));
  }

  async close(): Promise<void> {
    await this.ledger.close();
  }
}

/** Erases the kept segments of all frames in place, as the format says. */
export function erase(at: Place): void {
  const folder = join(at.ledger, 'payload');
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const file = readFileSync(path);
    for (const scanned of scanSegment(path)) {
      if (scanned.kind !== 'record' || scanned.record.type !== 'entry' || scanned.record.frame.length === 0) continue;
      const { index, leaf, attributes, frame } = scanned.record;
      const erased = frame.map((item): ContentItem =>
        item.state === 'kept' ? { state: 'erased', hash: segmentHash(nodeCrypto, item.salt, item.bytes), sizeBytes: item.bytes.length } : item,
      );
      Buffer.concat(encodeEntryRecord(index, leaf, attributes, erased)).copy(file, scanned.offset);
    }
    writeFileSync(path, file);
  }
}

type Body = Record<string, unknown>;

/** The two sides of a connection. Each method gives the index of the message's entry. */
export class Talk {
  readonly connection: Connection;
  readonly #deps: RecordDeps;
  readonly #units: [number, number] = [0, 0];
  #id = 0;

  constructor(connection: Connection, deps: RecordDeps) {
    this.connection = connection;
    this.#deps = deps;
  }

  send(direction: 0 | 1, text: string | Buffer): number {
    const bytes = Buffer.from(text);
    const { ledger } = this.#deps;
    const first = ledger.nextIndex + (this.connection.isRecorded ? 0 : 2);
    for (let at = 0; at === 0 || at < bytes.length; at += unitBytes) {
      const flags = held | (at + unitBytes < bytes.length ? moreUnits : 0);
      const part = Buffer.from(bytes.subarray(at, at + unitBytes));
      record(
        { direction, flags, stream: 0, unit: ++this.#units[direction], delivered: [0, 0], seenUs: Math.floor(performance.now() * 1000), bytes: part },
        this.connection,
        this.#deps,
      );
    }
    return first;
  }

  request(method: string, params: Body = {}): number {
    return this.send(0, JSON.stringify({ jsonrpc: '2.0', id: ++this.#id, method, params }));
  }

  call(name: string, args: Body = {}): number {
    return this.request('tools/call', { name, arguments: args });
  }

  /** Answers the last request. */
  reply(result: Body): number {
    return this.send(1, JSON.stringify({ jsonrpc: '2.0', id: this.#id, result }));
  }

  text(text: string): number {
    return this.reply({ content: [{ type: 'text', text }] });
  }
}
