/** The recorder within this process, on a real socket: what its peers may send it, and what it answers. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { EntryProblem, readEntry } from '../entry/read.ts';
import type { Entry } from '../entry/entry.ts';
import { segmentFiles } from '../ledger/recover.ts';
import { scanSegment, segmentName } from '../ledger/segment.ts';
import { encodeJson, readJson, WireReader, wireType } from '../wire/wire.ts';
import { loadNative } from './native.ts';
import { Recorder } from './recorder.ts';
import { State } from './state.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Stage {
  folder: string;
  ledger: string;
  socket: string;
  recorder: Recorder;
  log: string[];
  end(): Promise<void>;
}

async function stage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-recorder-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const ledger = join(folder, 'ledger');
  const socket = join(folder, 'sock');
  mkdirSync(join(ledger, 'run'), { recursive: true, mode: 0o700 });
  const log: string[] = [];
  const recorder = new Recorder(
    { ledger, keysHome: join(folder, 'keys'), socket, version: '0', logFile: join(folder, 'log') },
    loadNative(),
    { kind: 'flock', release: () => undefined },
    (line) => log.push(line),
    () => undefined,
  );
  await recorder.listen();
  let ended: Promise<void> | undefined;
  const end = (): Promise<void> => (ended ??= recorder.end('signal'));
  cleanups.push(end);
  return { folder, ledger, socket, recorder, log, end };
}

/** The end of a tap: what it sends, and the JSON messages that came back. */
class Raw {
  readonly socket: Socket;
  readonly received: { type: number; json: Record<string, unknown> | undefined }[] = [];
  readonly closed: Promise<unknown>;

  constructor(path: string) {
    this.socket = connect(path);
    this.socket.on('error', () => undefined);
    this.closed = once(this.socket, 'close');
    const reader = new WireReader();
    this.socket.on('data', (chunk: Buffer) => reader.push(chunk, (type, body) => this.received.push({ type, json: readJson(body) })));
    cleanups.push(() => void this.socket.destroy());
  }

  send(type: number, value: unknown): void {
    this.socket.write(encodeJson(type, value));
  }

  async answer(type: number): Promise<Record<string, unknown> | undefined> {
    return (await vi.waitFor(() => this.received.find((one) => one.type === type) ?? Promise.reject(new Error(`no answer of type ${type}`)), 30_000))
      .json;
  }
}

let connections = 0;

function hello(more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    wire: [1, 1],
    connection: (++connections).toString(16).padStart(32, '0'),
    transport: 'stdio',
    server: 's',
    labels: {},
    argv: ['s'],
    cwd: '/',
    mode: 'commit',
    onUnrecordable: 'block',
    overrides: { sensitive: [], write: [], read: [] },
    openedAt: 0,
    token: 'b'.repeat(32),
    ...more,
  };
}

/** Every leaf of the ledger; fails on one that the strict reader refuses. */
function entriesOf(ledger: string): Entry[] {
  const entries: Entry[] = [];
  for (const first of segmentFiles(join(ledger, 'payload'))) {
    for (const scanned of scanSegment(join(ledger, 'payload', segmentName(first)))) {
      if (scanned.kind !== 'record') throw new Error(`the segment is ${scanned.kind}`);
      const { record } = scanned;
      if (record.type !== 'entry') continue;
      const entry = readEntry(record.leaf);
      expect(entry, record.leaf.toString()).not.toBeInstanceOf(EntryProblem);
      entries.push(entry as Entry);
    }
  }
  return entries;
}

test('a snapshot that cannot be made is left out, and the recorder goes on and ends in order', async () => {
  const { socket, ledger, recorder, log, end } = await stage();
  vi.spyOn(State, 'capture').mockImplementation(() => {
    throw new RangeError('Invalid string length');
  });
  const tap = new Raw(socket);
  tap.send(wireType.hello, hello());
  // the last one closes: a snapshot is due
  tap.send(wireType.close, { reason: 'client closed', frames: { c2s: 0, s2c: 0 }, delivered: [0, 0] });
  await tap.answer(wireType.closed);
  await vi.waitFor(() => expect(log).toContain('no snapshot: Invalid string length'));
  expect(recorder.status()).toMatchObject({ recordable: true });
  await end();
  expect(entriesOf(ledger).map(({ kind }) => kind)).toEqual(['start', 'open', 'principal', 'close', 'stop']);
});
