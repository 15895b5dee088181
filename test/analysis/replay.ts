/**
 * Conversations as they went over the wire, and the entries that the recorder makes of them: its own `record` on a ledger in memory, with the conversation's own times.
 * A file is NDJSON: a line with `session` begins a conversation, every other one is a frame of it, or what else happened.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../../src/config/config.ts';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { EntryProblem, readEntry } from '../../src/entry/read.ts';
import type { Entry, Transport } from '../../src/entry/entry.ts';
import type { Content, Ledger } from '../../src/ledger/ledger.ts';
import { compilePolicy, unruled, type CompiledPolicy } from '../../src/policy/judge.ts';
import { Clock } from '../../src/recorder/clock.ts';
import { Connection } from '../../src/recorder/connection.ts';
import { recordOpening } from '../../src/recorder/own-entries.ts';
import { record } from '../../src/recorder/record.ts';
import type { RecordDeps } from '../../src/recorder/record-deps.ts';
import { seal } from '../../src/recorder/seal.ts';

/** What a conversation begins with. */
export interface Beginning {
  /** What it shows, in a few words. */
  session: string;
  server: string;
  transport?: Transport;
  /** Rules whose findings it must raise, in any order, and no other of severity medium or high; absent: none. */
  expect?: string[];
  sensitive?: string[];
  write?: string[];
  read?: string[];
  /** A policy file. */
  policy?: string;
  /** When it began; absent: an hour after the one before it. */
  at?: string;
}

/** What happened: `at` in ms since the conversation began. A text is a line as it came, anything else is its JSON. */
export interface Happening {
  at: number;
  c2s?: unknown;
  s2c?: unknown;
  /** Over HTTP: the exchange, and what its head says beside the principal. */
  stream?: number;
  head?: object;
  /** So many units of the direction never came. */
  skip?: [c2s: number, s2c: number];
  /** Any other entry: fields beside the common ones; a `connection` is added to it where it says `true`, its own unit as `tapSeq`, its own index as `exchange`, and that of the last request that waits for `asked`. */
  entry?: Record<string, unknown>;
}

export interface Conversation extends Beginning {
  happenings: Happening[];
}

export interface ReplayedEntry {
  index: number;
  entry: Entry;
  attributes: Record<string, unknown>;
  /** Of messages and batches. */
  frame?: Uint8Array;
}

const folder = join(import.meta.dirname, '..', 'fixtures', 'findings');

/** All conversations of the files whose names begin with `kind`. */
export function conversations(kind: 'raises' | 'quiet'): Conversation[] {
  const files = readdirSync(folder).filter((name) => name.startsWith(kind) && name.endsWith('.ndjson'));
  return files.sort().flatMap((name) => conversationsIn(readFileSync(join(folder, name), 'utf8')));
}

export function conversationsIn(text: string): Conversation[] {
  const found: Conversation[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const parsed = JSON.parse(line) as Beginning | Happening;
    if ('session' in parsed) found.push({ ...parsed, happenings: [] });
    else found.at(-1)!.happenings.push(parsed);
  }
  return found;
}

class SetClock extends Clock {
  nowUs = Date.parse('2026-09-14T08:00:00Z') * 1000;

  override monotonicUs(): number {
    return this.nowUs - 1.7e15;
  }

  override wallUs(): number {
    return this.nowUs;
  }
}

/** A ledger in memory: conversations one after the other, as the recorder would have stored them. */
export class Replay {
  readonly entries: ReplayedEntry[] = [];
  readonly #clock = new SetClock();
  #connections = 0;

  constructor() {
    this.#append(
      seal({
        ...this.#clock.common('start'),
        ledger: '0'.repeat(32),
        origin: 'sworn.invalid/0',
        vkey: 'k',
        recorder: { version: '0', uid: 1, pid: 1 },
      }),
    );
  }

  /** The conversation's entries. */
  async play(conversation: Conversation): Promise<ReplayedEntry[]> {
    const from = this.entries.length;
    this.#clock.nowUs = conversation.at === undefined ? this.#clock.nowUs + 3.6e9 : Date.parse(conversation.at) * 1000;
    const beganUs = this.#clock.nowUs;
    const connection = this.#connect(conversation, conversation.policy === undefined ? unruled : await policyOf(conversation.policy));
    const deps = this.#deps(conversation);
    const units: [number, number] = [0, 0];
    if (conversation.transport === 'http') recordOpening(connection, deps);
    for (const happening of conversation.happenings) {
      this.#clock.nowUs = beganUs + happening.at * 1000;
      const { skip, entry } = happening;
      if (skip !== undefined) for (const way of [0, 1] as const) units[way] += skip[way];
      if (entry !== undefined) this.#add(entry, connection, units);
      for (const direction of [0, 1] as const) {
        const said = direction === 0 ? happening.c2s : happening.s2c;
        if (said === undefined) continue;
        const head = conversation.transport === 'http' ? { head: { who: '1'.repeat(32), ...happening.head } } : {};
        record(
          {
            direction,
            flags: 0,
            stream: happening.stream ?? 0,
            unit: ++units[direction],
            delivered: [0, 0],
            seenUs: this.#clock.monotonicUs(),
            bytes: Buffer.from(typeof said === 'string' ? said : JSON.stringify(said)),
            ...head,
          },
          connection,
          deps,
        );
      }
    }
    return this.entries.slice(from);
  }

  #connect({ server, transport, sensitive = [], write = [], read = [] }: Conversation, policy: CompiledPolicy): Connection {
    const id = (++this.#connections).toString(16).padStart(32, '0');
    return new Connection(
      {
        connection: id,
        ...(transport === 'http' ? { transport } : {}),
        server,
        mode: 'commit',
        onUnrecordable: 'block',
        custody: 'same-user',
        overrides: { sensitive, write, read },
        tokenDigest: '0'.repeat(64),
      },
      undefined,
      policy,
    );
  }

  #deps({ server, transport = 'stdio' }: Conversation): RecordDeps {
    const ledger = {
      recordable: true,
      append: (content: Content) => this.#append(content),
      follow: () => undefined,
    };
    Object.defineProperty(ledger, 'nextIndex', { get: () => this.entries.length });
    return {
      ledger: ledger as unknown as Ledger,
      clock: this.#clock,
      freezes: [],
      findKey: () => Buffer.alloc(32, 7),
      searcher: { search: (redactor, bytes, known, isJson, done) => done(redactor.ranges(bytes, 0, known, isJson)) },
      http: {
        principalOf: (_, connection) => ({
          entry: { ...this.#clock.common('principal'), connection: connection.id, source: 'observed', reportedBy: 'proxy' },
          attributes: { key: '1'.repeat(32) },
        }),
        linkOf: (session) => nodeCrypto.sha256(Buffer.from(session)).toString(),
      },
      openingOf: ({ id }) => ({
        open: {
          ...this.#clock.common('open'),
          connection: id,
          transport,
          server,
          mode: 'commit',
          onUnrecordable: 'block',
          custody: 'same-user',
          tap: { uid: 1000, source: 'SO_PEERCRED' },
        },
        openAttributes: {},
        principal: { ...this.#clock.common('principal'), connection: id, source: 'observed', uid: 1000, pid: 39 },
        principalAttributes: {},
      }),
    };
  }

  #add(fields: Record<string, unknown>, connection: Connection, units: [number, number]): void {
    const own: Record<string, unknown> = fields['connection'] === true ? { connection: connection.id } : {};
    if (fields['tapSeq'] === true) {
      own['tapSeq'] = ++units[fields['direction'] === 'c2s' ? 0 : 1];
      // the connection does not count it: no frame comes behind it
      const before = this.entries.map(({ entry }) => ('seq' in entry && entry.connection === connection.id ? entry.seq : 0));
      own['seq'] = Math.max(...before) + 1;
    }
    if (fields['exchange'] === true) own['exchange'] = this.entries.length;
    const asked = this.entries.findLast(({ entry }) => entry.kind === 'message' && entry.verdict === 'ask')?.index;
    for (const name of ['request', 'exchange'] as const) if (fields[name] === 'asked') own[name] = asked;
    this.#append(seal({ ...this.#clock.common(fields['kind'] as 'gap'), ...fields, ...own } as unknown as Parameters<typeof seal>[0]));
  }

  #append({ leaf, attributes, frame }: Content): void {
    const bytes = (frame ?? []).map((item) => (item.state === 'kept' ? item.bytes : new Uint8Array(0)));
    const entry = readEntry(Buffer.from(leaf));
    if (entry instanceof EntryProblem) throw new Error(`${entry.message}: ${Buffer.from(leaf).toString()}`);
    const said = attributes.map((item) => (item.state === 'kept' ? (JSON.parse(Buffer.from(item.bytes).toString()) as object) : {}));
    this.entries.push({
      index: this.entries.length,
      entry,
      attributes: Object.assign({}, ...said) as Record<string, unknown>,
      ...(entry.kind === 'message' || entry.kind === 'batch' ? { frame: Buffer.concat(bytes) } : {}),
    });
  }
}

async function policyOf(text: string): Promise<CompiledPolicy> {
  const { config, problems } = await parseConfig(text, 'sworn.yaml');
  if (config === undefined) throw new Error(JSON.stringify(problems));
  return compilePolicy(config.policy);
}
