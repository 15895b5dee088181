/** The recorder within this process, on a real socket: what its peers may send it, and what it answers. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { EntryProblem, readEntry } from '../entry/read.ts';
import type { Entry } from '../entry/entry.ts';
import { connectionsOfOthers, digestsCount, executableBytes, tapReturnMs, unitBytes } from '../limits.ts';
import { segmentFiles } from '../ledger/recover.ts';
import { scanSegment, segmentName } from '../ledger/segment.ts';
import { encodeJson, frameHeaderBytes, readJson, WireReader, wireType, writeFrameHeader } from '../wire/wire.ts';
import { loadPolicy } from './control.ts';
import { loadNative } from './native.ts';
import { isHashable } from './openings.ts';
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

/** `peerOf`: whom the kernel is said to name; else whom it names. `config`: the text of the policy file. */
async function stage(peerOf?: () => { uid: number; pid: number }, config?: string): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-recorder-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const ledger = join(folder, 'ledger');
  const socket = join(folder, 'sock');
  mkdirSync(join(ledger, 'run'), { recursive: true, mode: 0o700 });
  const log: string[] = [];
  const file = join(folder, 'sworn.yaml');
  if (config !== undefined) writeFileSync(file, config);
  let gone = (): void => undefined;
  const ended = new Promise<void>((done) => (gone = done));
  const recorder = new Recorder(
    {
      ledger,
      keysHome: join(folder, 'keys'),
      socket,
      version: '0',
      logFile: join(folder, 'log'),
      ...(config === undefined ? {} : { config: file }),
    },
    peerOf === undefined ? loadNative() : { lock: () => true, peerOf: () => ({ ...peerOf(), gid: 0 }) },
    { kind: 'flock', release: () => undefined },
    (line) => log.push(line),
    () => gone(),
    ...(config === undefined ? [] : [await loadPolicy(file)]),
  );
  await recorder.listen();
  // also when somebody else has ended it
  const end = async (): Promise<void> => {
    await recorder.end('signal');
    await ended;
  };
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
    this.closed = new Promise((done) => this.socket.once('close', done));
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

function frame(direction: 0 | 1, unit: number, bytes: Buffer, { flags = 0, delivered = [0, 0] as [number, number], seenUs = 1 } = {}): Buffer {
  const message = Buffer.alloc(frameHeaderBytes + bytes.length);
  writeFrameHeader(message, 0, direction, flags, unit, delivered, seenUs, bytes.length);
  bytes.copy(message, frameHeaderBytes);
  return message;
}

const most = Number.MAX_SAFE_INTEGER;
const oddValue = fc.oneof(
  fc.constantFrom(-5, -1, 0, 1, 1.5, 255, 3e14, 1e300, most, most + 1, '1', '', 'client closed', '\ud800', null, true),
  fc.jsonValue({ maxDepth: 2 }),
);
const oddPair = fc.oneof(oddValue, fc.record({ c2s: oddValue, s2c: oddValue, more: oddValue }, { requiredKeys: [] }));
const count = fc.constantFrom(0, 1, 2, most);
const goodPair = fc.record({ c2s: count, s2c: count });
const hash = fc.constantFrom('0'.repeat(64), 'x');

const oddHello = fc.record(
  {
    serverPid: oddValue,
    client: oddValue,
    labels: fc.oneof(oddValue, fc.dictionary(fc.string({ maxLength: 8 }), oddValue, { maxKeys: 3 })),
    argv: fc.oneof(oddValue, fc.array(fc.string({ unit: 'binary' }))),
    cwd: oddValue,
    overrides: fc.oneof(oddValue, fc.record({ sensitive: fc.constant([]), write: fc.constant(['*']), read: fc.constant([]), more: oddValue })),
    openedAt: oddValue,
    receipt: fc.oneof(oddValue, fc.record({ index: oddValue, hash }), fc.record({ index: count, hash, more: oddValue })),
  },
  { requiredKeys: [] },
);
const lost = fc.record({ reason: oddValue, lost: fc.oneof(oddPair, goodPair), from: oddValue, until: oddValue }, { requiredKeys: ['lost'] });
const close = fc.record(
  {
    reason: oddValue,
    exitCode: oddValue,
    signal: oddValue,
    error: oddValue,
    frames: fc.oneof(oddPair, goodPair),
    delivered: fc.oneof(oddValue, fc.array(oddValue, { minLength: 2, maxLength: 2 })),
  },
  { requiredKeys: [] },
);
const frames = fc.array(
  fc.record({
    direction: fc.constantFrom(0 as const, 1 as const),
    unit: fc.constantFrom(0, 1, 2, 7, most - 1, most),
    flags: fc.constantFrom(0, 2, 4, 255 - 1),
    delivered: fc.tuple(count, count),
    seenUs: count,
    bytes: fc.oneof(
      fc
        .constantFrom(
          '{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
          '{"jsonrpc":"2.0","id":1,"error":{"code":9007199254740991,"message":""}}',
          '[{"jsonrpc":"2.0","id":1,"result":{"resultType":"\\u0000"}},[]]',
          '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":null}]}}',
        )
        .map((text) => Buffer.from(text)),
      fc.json().map((json) => Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":${json}}`)),
      fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    ),
  }),
  { maxLength: 4 },
);

test('whatever a peer says of itself, its losses and its end, every entry is one that the strict reader takes [attack-peer-lies]', async () => {
  const { socket, ledger, log, end } = await stage();
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      oddHello,
      fc.array(lost, { maxLength: 3 }),
      frames,
      fc.option(close, { nil: undefined }),
      async (more, losses, units, closing) => {
        runs++;
        // some say nothing odd at first, so that what follows is heard
        const tap = new Raw(socket);
        tap.send(wireType.hello, hello(runs % 2 === 0 ? {} : more));
        for (const one of losses) tap.send(wireType.lost, one);
        for (const { direction, unit, bytes, ...rest } of units) tap.socket.write(frame(direction, unit, bytes, rest));
        if (closing !== undefined) tap.send(wireType.close, closing);
        tap.socket.end();
        await tap.closed;
      },
    ),
    { numRuns: 300 },
  );
  await end();
  expect(log.filter((line) => line.startsWith('defect'))).toEqual([]);
  expect(entriesOf(ledger).filter(({ kind }) => kind === 'close' || kind === 'gap').length).toBeGreaterThan(20);
});

test('odd numbers of a peer are left out or mended, the rest of what it says is recorded', async () => {
  const { socket, ledger, end } = await stage();
  const refused = new Raw(socket);
  refused.send(wireType.hello, hello({ serverPid: -5 }));
  expect(await refused.answer(wireType.error)).toMatchObject({ code: 'wire-corrupt' });
  const greedy = new Raw(socket);
  greedy.send(wireType.hello, hello({ overrides: { sensitive: ['x'.repeat(70_000)], write: [], read: [] } }));
  expect(await greedy.answer(wireType.error)).toMatchObject({ code: 'wire-corrupt' });

  const tap = new Raw(socket);
  tap.send(wireType.hello, hello({ receipt: { index: 7, hash: '0'.repeat(64), secret: 'in the leaf' } }));
  tap.send(wireType.lost, { reason: '', lost: { c2s: -1, s2c: 0 }, from: 0, until: 0 });
  tap.send(wireType.lost, { reason: '', lost: { c2s: 2, s2c: most }, from: 3e14, until: 'never' });
  tap.send(wireType.close, { reason: 'server exited', exitCode: -1, frames: { c2s: -1, s2c: 0 }, delivered: [0, -1] });
  await tap.answer(wireType.closed);
  await end();
  const entries = entriesOf(ledger);
  expect(entries.find(({ kind }) => kind === 'recovery')).toMatchObject({ receipt: { index: 7 } });
  expect(JSON.stringify(entries)).not.toContain('in the leaf');
  const gaps = entries.filter((entry) => entry.kind === 'gap');
  expect(gaps).toMatchObject([{ lost: { c2s: 2, s2c: most } }]);
  // a time that cannot be is the time of the entry
  expect(gaps[0]!.from!.slice(0, 4)).toBe(gaps[0]!.time.slice(0, 4));
  const last = entries.find(({ kind }) => kind === 'close')!;
  expect(last).toMatchObject({ reason: 'server exited' });
  for (const field of ['exitCode', 'frames', 'delivered']) expect(last).not.toHaveProperty(field);
});

test('a unit that others follow is full, and none is larger', async () => {
  const { socket } = await stage();
  for (const [sizeBytes, flags] of [
    [0, 1],
    [unitBytes - 1, 1],
    [unitBytes + 1, 0],
  ] as const) {
    const tap = new Raw(socket);
    tap.send(wireType.hello, hello());
    tap.socket.write(frame(0, 1, Buffer.alloc(sizeBytes), { flags }));
    expect(await tap.answer(wireType.error)).toMatchObject({ code: 'wire-corrupt' });
    await tap.closed;
  }
  const tap = new Raw(socket);
  tap.send(wireType.hello, hello());
  tap.socket.write(frame(0, 1, Buffer.alloc(unitBytes), { flags: 1 }));
  tap.socket.write(frame(0, 2, Buffer.alloc(unitBytes)));
  tap.send(wireType.close, { reason: 'client closed' });
  await tap.answer(wireType.closed);
});

test('another account has its share of the sockets, and leaves the others theirs [attack-flood]', async () => {
  let uid = 4_000_000;
  const { socket } = await stage(() => ({ uid, pid: process.pid }));
  const status = async (): Promise<Record<string, unknown> | undefined> => {
    const asking = new Raw(socket);
    asking.send(wireType.ask, { what: 'status' });
    await asking.closed;
    return asking.received[0]?.json;
  };
  const many: Raw[] = [];
  for (let i = 0; i < connectionsOfOthers; i++) {
    many.push(new Raw(socket));
    many[i]!.send(wireType.hello, hello());
  }
  for (const one of many) await one.answer(wireType.welcome);
  expect(await status()).toBeUndefined();
  uid++;
  expect(await status()).toBeDefined();
  uid--;
  many[0]!.socket.destroy();
  await vi.waitFor(async () => expect(await status()).toBeDefined(), 30_000);
});

describe('a policy file that takes long to be read', () => {
  const rules = Array.from({ length: 10_000 }, (_, i) => `    - { name: r${i}, deny: true, tool: "t${i}", when: 'args.n${i} == ${i}' }\n`);
  const many = `policy:\n  rules:\n${rules.join('')}`;
  const call = (id: number, name: string, args = {}): Buffer =>
    Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } }));

  /** Sends one frame after another, each once the one before was answered, until `over`. Gives how many were answered by then. */
  async function converse(tap: Raw, from: number, over: Promise<unknown>): Promise<number> {
    let isOver = false;
    void over.finally(() => (isOver = true));
    let units = 0;
    const answered = (): number => tap.received.filter(({ type }) => type === wireType.pass || type === wireType.refuse).length;
    const before = answered();
    while (!isOver) {
      tap.socket.write(frame(0, from + units, call(from + units, units % 2 === 0 ? 'delete' : 'read'), { flags: 2 }));
      units++;
      while (answered() < before + units) await once(tap.socket, 'data');
    }
    return units - 1;
  }

  test('keeps nobody waiting, and what was in force stays so until it is', async () => {
    const { folder, socket, ledger, recorder, log, end } = await stage(
      undefined,
      'policy: { rules: [{ name: no-delete, deny: true, tool: delete }] }',
    );
    const file = join(folder, 'sworn.yaml');
    const tap = new Raw(socket);
    tap.send(wireType.hello, hello());
    await tap.answer(wireType.welcome);
    writeFileSync(file, many);
    const reload = recorder.reload();
    const count = await converse(tap, 1, reload);
    expect(count).toBeGreaterThan(10);
    expect(await reload).toMatchObject({ reloaded: true, rules: 10_000 });
    tap.socket.write(frame(0, count + 2, call(count + 2, 'delete'), { flags: 2 }));
    tap.socket.write(frame(0, count + 3, call(count + 3, 't7', { n7: 7 }), { flags: 2 }));

    // a wrong one, as large
    writeFileSync(file, `${many}    - { name: x, deny: true, when: 'foo(' }\n`.replace(/^.*r9999,.*\n/m, ''));
    const wrong = recorder.reload();
    expect(await converse(tap, count + 4, wrong)).toBeGreaterThan(10);
    expect(await wrong).toMatchObject({
      reloaded: false,
      problem: expect.stringContaining('sworn.yaml:10002:40: `when`: syntax: ( has no partner') as string,
    });
    expect(recorder.status()['policy']).toMatchObject({ rules: 10_000 });
    await end();

    const entries = entriesOf(ledger);
    const changes = entries.flatMap((entry) => (entry.kind === 'policy' ? [[entry.act, entry.rules]] : []));
    expect(changes).toEqual([
      ['load', 1],
      ['load', 10_000],
      ['rejected', undefined],
    ]);
    const swap = entries.findIndex((entry) => entry.kind === 'policy' && entry.rules === 10_000);
    for (const [i, entry] of entries.entries()) {
      if (entry.kind !== 'message' || entry.origin === 'sworn') continue;
      const refusing = i < swap ? entry.target === 'delete' : entry.target === 't7';
      expect([entry.verdict, entry.rule], String(i)).toEqual(refusing ? ['block', i < swap ? 'no-delete' : 'r7'] : ['pass', undefined]);
    }
    expect(log.filter((line) => line.startsWith('defect'))).toEqual([]);
  });

  test('several of them: one after the other, and taps that need not wait are told before', async () => {
    const { folder, socket, ledger, recorder, end } = await stage(undefined, 'policy: {}');
    const file = join(folder, 'sworn.yaml');
    const several = `policy:\n  rules:\n${rules.slice(0, 1_000).join('')}`;
    const tap = new Raw(socket);
    tap.send(wireType.hello, hello({ mode: 'observe' }));
    expect(await tap.answer(wireType.welcome)).toMatchObject({ wait: 'none' });
    writeFileSync(file, several);
    const order: number[] = [];
    const reloads = [1, 2, 3].map(async (n) => {
      const said = await recorder.reload();
      order.push(n);
      return said['reloaded'];
    });
    expect(await Promise.all(reloads)).toEqual([true, false, false]);
    expect(order).toEqual([1, 2, 3]);
    expect(await tap.answer(wireType.wait)).toEqual({ wait: 'verdict' });
    // who may refuse is not got rid of by silence: only the file itself lets messages pass then
    const passing = new Raw(socket);
    passing.send(wireType.hello, hello({ mode: 'observe', onUnrecordable: 'pass' }));
    expect(await passing.answer(wireType.welcome)).toMatchObject({ onUnrecordable: 'block' });
    writeFileSync(file, `${several}onUnrecordable: pass\n`);
    await recorder.reload();
    expect(await passing.answer(wireType.wait)).toEqual({ wait: 'verdict', onUnrecordable: 'pass' });
    writeFileSync(file, several);
    await recorder.reload();
    await vi.waitFor(() => expect(passing.received.at(-1)?.json).toEqual({ wait: 'verdict', onUnrecordable: 'block' }), 10_000);
    // one that is under way when the recorder ends comes to nothing
    writeFileSync(file, 'policy: { rules: [] }');
    const late = recorder.reload();
    await end();
    expect(await late).toEqual({ reloaded: false, problem: 'the recorder is ending' });
    expect(entriesOf(ledger).filter(({ kind }) => kind === 'policy')).toHaveLength(4);
  });
});

/** A client, its tap, the tap's server, and somebody who is none of them: real processes. */
async function family(): Promise<{ client: number; tap: number; server: number; other: number }> {
  const client = spawn('sh', ['-c', `sh -c 'sleep 600 & echo "$$ $!"; wait' & wait`], { stdio: ['ignore', 'pipe', 'ignore'] });
  const other = spawn('sleep', ['600'], { stdio: 'ignore' });
  const pids = [client.pid!, other.pid!];
  cleanups.push(() => pids.forEach((pid) => process.kill(pid, 'SIGKILL')));
  const [line] = (await once(client.stdout, 'data')) as [Buffer];
  const [tap, server] = line.toString().trim().split(' ').map(Number) as [number, number];
  pids.push(tap, server);
  return { client: client.pid!, tap, server, other: other.pid! };
}

const ownUid = process.getuid?.() ?? 0;

test.runIf(process.platform === 'linux')(
  'who belongs to a tapped client may not stop the recorder, and a tap makes nobody belong by naming it',
  async () => {
    const { client, tap, server, other } = await family();
    let peer = { uid: ownUid, pid: tap };
    const { socket, ledger, end } = await stage(() => peer);
    for (const serverPid of [server, other]) {
      const raw = new Raw(socket);
      raw.send(wireType.hello, hello({ serverPid }));
      await raw.answer(wireType.welcome);
    }
    for (const pid of [client, tap, server]) {
      peer = { uid: ownUid, pid };
      const asking = new Raw(socket);
      asking.send(wireType.ask, { what: 'stop' });
      expect(await asking.answer(wireType.error)).toMatchObject({ code: 'permission' });
    }
    peer = { uid: ownUid, pid: other };
    const asking = new Raw(socket);
    asking.send(wireType.ask, { what: 'stop' });
    expect(await asking.answer(wireType.reply)).toMatchObject({ stopping: true });
    await end();
    const opened = entriesOf(ledger).filter((entry) => entry.kind === 'open');
    expect(opened.map((entry) => entry.process?.pid)).toEqual([server, undefined]);
  },
);

test.runIf(process.platform === 'linux')(
  'whoever started a proxy may administer; what it starts, and the clients that a trusted one sees, may not',
  async () => {
    const { client: shell, tap: proxy, server, other } = await family();
    for (const [config, refused, allowed] of [
      ['trustedTaps: [self]', [proxy, server, other], [shell]],
      ['{}', [proxy, server], [shell, other]],
    ] as const) {
      let peer = { uid: ownUid, pid: proxy };
      const { socket, end } = await stage(() => peer, config);
      const raw = new Raw(socket);
      raw.send(wireType.hello, hello({ transport: 'http', argv: [], upstream: 'http://127.0.0.1/mcp' }));
      await raw.answer(wireType.welcome);
      raw.send(wireType.principal, { who: 'a'.repeat(32), principal: { observed: { address: '127.0.0.1', pid: other }, declared: {} } });
      const asked = async (pid: number): Promise<Raw> => {
        peer = { uid: ownUid, pid };
        const asking = new Raw(socket);
        asking.send(wireType.ask, { what: 'reload' });
        return asking;
      };
      for (const pid of refused) expect(await (await asked(pid)).answer(wireType.error)).toMatchObject({ code: 'permission' });
      for (const pid of allowed) expect(await (await asked(pid)).answer(wireType.reply)).toMatchObject({ reloaded: false });
      await end();
    }
  },
);

test.runIf(process.platform === 'linux')('an account that no tap has may always stop its recorder', async () => {
  const { tap, server } = await family();
  let peer = { uid: 4_000_000, pid: tap };
  const { socket, end } = await stage(() => peer);
  const raw = new Raw(socket);
  raw.send(wireType.hello, hello({ serverPid: server }));
  await raw.answer(wireType.welcome);
  peer = { uid: ownUid, pid: server };
  const asking = new Raw(socket);
  asking.send(wireType.ask, { what: 'stop' });
  expect(await asking.answer(wireType.reply)).toMatchObject({ stopping: true });
  await end();
});

test('a tap that comes back after it was given up: the entry that says so stands before all others, although the disk refused it once', async () => {
  const { socket, ledger, recorder, end } = await stage();
  const greeting = hello();
  const first = new Raw(socket);
  first.send(wireType.hello, greeting);
  await first.answer(wireType.welcome);
  first.socket.destroy();
  await vi.waitFor(() => expect(recorder.status()['connections']).toMatchObject([{ attached: false }]), 30_000);
  const now = performance.now.bind(performance);
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + tapReturnMs);
  await vi.waitFor(() => expect(recorder.status()['connections']).toEqual([]), 30_000);
  clock.mockRestore();

  const append = recorder.ledger.append.bind(recorder.ledger);
  let refusals = 0;
  vi.spyOn(recorder.ledger, 'append').mockImplementation((content, waiter, options) => {
    if (refusals > 0 || !Buffer.from(content.leaf).includes('"resumed"')) return append(content, waiter, options);
    refusals++;
    queueMicrotask(() => {
      waiter.undo?.();
      waiter.failed?.(new Error('no room'));
    });
  });
  const again = new Raw(socket);
  again.send(wireType.hello, greeting);
  expect(await again.answer(wireType.welcome)).toMatchObject({ resumed: true });
  again.socket.write(frame(0, 1, Buffer.from('{}')));
  again.send(wireType.close, { reason: 'client closed' });
  await again.answer(wireType.closed);
  expect(refusals).toBe(1);
  await end();
  const kinds = entriesOf(ledger).map(({ kind }) => kind);
  expect(kinds).toEqual(['start', 'open', 'principal', 'close', 'recovery', 'principal', 'message', 'close', 'stop']);
});

test('a tap that comes back while the entry that gave it up is on its way to the disk goes on, and is not closed by it', async () => {
  const { socket, ledger, recorder, end } = await stage();
  const greeting = hello();
  const first = new Raw(socket);
  first.send(wireType.hello, greeting);
  await first.answer(wireType.welcome);
  first.socket.write(frame(0, 1, Buffer.from('{"jsonrpc":"2.0","id":1,"method":"ping"}')));
  await first.answer(wireType.pass);
  first.socket.destroy();
  await vi.waitFor(() => expect(recorder.status()['connections']).toMatchObject([{ attached: false }]), 30_000);

  let overtaken: (() => void) | undefined;
  const append = recorder.ledger.append.bind(recorder.ledger);
  const appends = vi.spyOn(recorder.ledger, 'append').mockImplementation((content, waiter, options) => {
    if (!Buffer.from(content.leaf).includes('"tap lost"')) return append(content, waiter, options);
    append(content, { ...waiter, durable: (receipt) => (overtaken = () => waiter.durable(receipt)) }, options);
  });
  const now = performance.now.bind(performance);
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + tapReturnMs);
  await vi.waitFor(() => expect(recorder.status()['connections']).toEqual([]), 30_000);
  clock.mockRestore();

  const again = new Raw(socket);
  again.send(wireType.hello, greeting);
  expect(await again.answer(wireType.welcome)).toMatchObject({ resumed: true });
  await vi.waitFor(() => expect(overtaken).toBeDefined(), 30_000);
  overtaken!();
  appends.mockRestore();
  expect(again.received.some(({ type }) => type === wireType.closed)).toBe(false);
  again.socket.write(frame(1, 1, Buffer.from('{"jsonrpc":"2.0","id":1,"result":{}}')));
  await again.answer(wireType.pass);
  again.send(wireType.close, { reason: 'client closed' });
  await again.answer(wireType.closed);
  await end();
  const kinds = entriesOf(ledger).map(({ kind }) => kind);
  expect(kinds).toEqual(['start', 'open', 'principal', 'message', 'close', 'recovery', 'principal', 'message', 'close', 'stop']);
  // what waited when it was given up is over
  expect(entriesOf(ledger).findLast(({ kind }) => kind === 'message')).not.toHaveProperty('exchange');
});

test('a tap that comes back after it was given up finds its server’s tools as they were: rules about what they do still are about them', async () => {
  const { socket, recorder, ledger, end } = await stage();
  const greeting = hello();
  const first = new Raw(socket);
  first.send(wireType.hello, greeting);
  await first.answer(wireType.welcome);
  first.socket.write(frame(0, 1, Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tools/list"}')));
  const tools = [{ name: 'zap', inputSchema: { type: 'object' }, annotations: { destructiveHint: true } }];
  first.socket.write(frame(1, 1, Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { tools } }))));
  await vi.waitFor(() => expect(first.received.filter(({ type }) => type === wireType.pass).length).toBeGreaterThan(1), 10_000);
  first.socket.destroy();
  await vi.waitFor(() => expect(recorder.status()['connections']).toMatchObject([{ attached: false }]), 30_000);
  const now = performance.now.bind(performance);
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + tapReturnMs);
  await vi.waitFor(() => expect(entriesOf(ledger).some(({ kind }) => kind === 'close')).toBe(true), 30_000);
  clock.mockRestore();
  const again = new Raw(socket);
  again.send(wireType.hello, greeting);
  await again.answer(wireType.welcome);
  again.socket.write(frame(0, 2, Buffer.from('{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"zap"}}')));
  await again.answer(wireType.pass);
  await end();
  expect(entriesOf(ledger).findLast(({ kind }) => kind === 'message')).toMatchObject({ target: 'zap', effect: 'write', destructive: true });
});

test('another account is told how the recorder does, and nothing of whom it records where', async () => {
  let uid = ownUid;
  const { socket, ledger, folder } = await stage(() => ({ uid, pid: process.pid }));
  const tap = new Raw(socket);
  const { connection, ...greeting } = hello({ server: 'secret server', client: 'secret client' });
  tap.send(wireType.hello, { ...greeting, connection });
  await tap.answer(wireType.welcome);
  const ask = async (): Promise<Record<string, unknown> | undefined> => {
    const asking = new Raw(socket);
    asking.send(wireType.ask, { what: 'status' });
    return await asking.answer(wireType.reply);
  };
  expect(await ask()).toMatchObject({ ledger, logFile: join(folder, 'log'), connections: [{ connection, server: 'secret server' }] });
  uid = 4_000_000;
  const told = await ask();
  expect(told).toMatchObject({ pid: process.pid, recordable: true, connections: [{ attached: true, pending: 0 }] });
  for (const secret of [connection, 'secret', ledger, join(folder, 'log')]) expect(JSON.stringify(told)).not.toContain(secret);
});

test('a place that cannot be looked at was not taken away, one that is gone was', async () => {
  const { socket, ledger, log } = await stage();
  const payload = join(ledger, 'payload');
  const hidden = join(ledger, 'hidden');
  // ELOOP: an error of the file system that is not ENOENT
  renameSync(payload, hidden);
  symlinkSync('payload', payload);
  unlinkSync(socket);
  // the next look at both: the socket is made anew, the ledger is let be
  await vi.waitFor(() => expect(log).toContain(`the socket ${socket} was taken away`), 30_000);
  await vi.waitFor(() => expect(statSync(socket).isSocket()).toBe(true), 30_000);
  expect(log.filter((line) => line.startsWith('fatal'))).toEqual([]);
  unlinkSync(payload);
  await vi.waitFor(() => expect(log).toContain(`fatal: the folder ${ledger} was taken away`), 30_000);
  renameSync(hidden, payload);
});

test.runIf(process.platform === 'linux')('digests are of regular files that are not too large, and the newest are remembered', async () => {
  const { folder, ledger, socket } = await stage(() => ({ uid: ownUid, pid: process.pid }));
  const cacheFile = join(ledger, 'run', 'digests.json');
  const old = Object.fromEntries(Array.from({ length: digestsCount + 50 }, (_, i) => [`/old/${i} 1 1 1 1`, 'f'.repeat(64)]));
  writeFileSync(cacheFile, JSON.stringify(old));
  const program = join(folder, 'program');
  copyFileSync('/bin/sleep', program);
  const child = spawn(program, ['600'], { stdio: 'ignore' });
  cleanups.push(() => void process.kill(child.pid!, 'SIGKILL'));
  await vi.waitFor(() => expect(readlinkSync(`/proc/${child.pid}/exe`)).toBe(program), 30_000);
  const greet = async (): Promise<void> => {
    const tap = new Raw(socket);
    tap.send(wireType.hello, hello({ serverPid: child.pid }));
    await tap.answer(wireType.welcome);
  };
  await greet();
  await vi.waitFor(() => {
    const keys = Object.keys(JSON.parse(readFileSync(cacheFile, 'utf8')) as object);
    expect(keys.at(-1)).toContain(program);
    expect(keys).toHaveLength(digestsCount);
    expect(keys[0]).toBe('/old/51 1 1 1 1');
  }, 30_000);
});

test('what is no regular file, or a very long one, is not hashed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-program-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const large = join(folder, 'large');
  writeFileSync(large, '');
  truncateSync(large, executableBytes + 1);
  const small = join(folder, 'small');
  writeFileSync(small, 'x');
  expect([small, large, folder, '/dev/zero'].map((path) => isHashable(statSync(path)))).toEqual([true, false, false, false]);
});

test('openings and acknowledgements are entries, and only administrators make them', async () => {
  const { socket, ledger, end } = await stage();
  const ask = async (question: Record<string, unknown>, type: number = wireType.reply): Promise<Record<string, unknown> | undefined> => {
    const asking = new Raw(socket);
    asking.send(wireType.ask, question);
    return asking.answer(type);
  };
  const viewer = '0123456789abcdef';
  expect(await ask({ what: 'opened', how: 'dashboard', viewer, indexes: [[0, 0]] })).toMatchObject({ noted: true });
  for (let i = 0; i < 3; i++) await ask({ what: 'opened', how: 'dashboard', viewer, indexes: [[i % 2, i % 2]] });
  expect(await ask({ what: 'opened', how: 'dashboard', viewer, indexes: [[0, 99]] }, wireType.error)).toMatchObject({ code: 'usage' });
  const acknowledged = await ask({ what: 'acknowledge', how: 'command', finding: '0123456789ab', rule: 'enumeration', note: 'a test of ours' });
  expect(acknowledged).toMatchObject({ acknowledged: 2 });
  await end();
  const by = { uid: process.getuid!(), pid: process.pid };
  const entries = entriesOf(ledger);
  expect(entries.map(({ kind }) => kind)).toEqual(['start', 'access', 'access', 'access', 'stop']);
  expect(entries[1]).toMatchObject({ act: 'open', opened: [[0, 0]], count: 1, viewer, by, selfAdministered: true });
  // the note is an attribute: it can be erased
  expect(entries[2]).toMatchObject({ act: 'acknowledge', finding: '0123456789ab', rule: 'enumeration', attributes: 1, by });
  expect(JSON.stringify(entries[2])).not.toContain('a test of ours');
  expect(entries[3]).toMatchObject({ act: 'open', opened: [[0, 1]], count: 3, viewer, by });
});

test('strangers record no openings', async () => {
  const { socket } = await stage(() => ({ uid: 12_345, pid: 1 }));
  for (const what of ['opened', 'acknowledge']) {
    const asking = new Raw(socket);
    asking.send(wireType.ask, { what, how: 'api', indexes: [[0, 0]], finding: '0123456789ab' });
    expect(await asking.answer(wireType.error)).toMatchObject({ code: 'permission' });
  }
});
