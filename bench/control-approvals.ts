/**
 * A thousand requests that wait for a person, between a thousand that do not: the recorder's own `record` and queue, and the tap's own relay, joined by the bytes of the
 * wire, without a disk. What each that waits holds in memory, and whether its end in any order changes the order of all others.
 */
import { PassThrough, Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Content, Waiter } from '../src/ledger/ledger.ts';
import { compilePolicy } from '../src/policy/judge.ts';
import { noPolicy } from '../src/policy/policy.ts';
import type { Pending } from '../src/recorder/approval-question.ts';
import { Approvals } from '../src/recorder/approvals.ts';
import { Clock } from '../src/recorder/clock.ts';
import { recordRefusal } from '../src/recorder/own-entries.ts';
import { record } from '../src/recorder/record.ts';
import type { RecordDeps } from '../src/recorder/record-deps.ts';
import { seal } from '../src/recorder/seal.ts';
import { Relay } from '../src/tap/relay.ts';
import { readAnswer, readAside, readFrame, readRefusal, WireReader, wireType } from '../src/wire/wire.ts';
import type { Found, RowOptions } from './control-row.ts';
import { depsWithout, openedConnection } from './no-ledger.ts';

/** Indexes and waiters, and nothing of what is written. */
class NoDisk {
  nextIndex = 0;
  recordable = true;
  #waiters: Waiter[] = [];

  append(_: Content, waiter: Waiter): void {
    this.nextIndex++;
    this.#waiters.push(waiter);
  }

  follow(waiter: Waiter): void {
    this.#waiters.push(waiter);
  }

  settle(): void {
    for (const waiter of this.#waiters.splice(0)) waiter.durable({ index: this.nextIndex - 1, hash: new Uint8Array(32) });
  }
}

const peer = { uid: process.getuid!(), pid: process.pid, source: 'kernel' as const };

async function stage() {
  const compiled = await compilePolicy({
    ...noPolicy,
    policy: { default: 'allow', rules: [{ name: 'pay', action: 'ask', on: ['request'], tool: ['pay'], enforce: true, timeoutMs: 3_600_000 }] },
  });
  const connection = openedConnection(compiled);
  const disk = new NoDisk();
  const clock = new Clock();
  const approvals: Approvals = new Approvals({
    clock,
    nextIndex: () => disk.nextIndex,
    append: (entry, attributes, waiter) => disk.append(seal(entry, attributes), waiter),
    recordAnswer: (entry, index, lines, isConcealed, of) => recordRefusal(entry, index, lines, isConcealed, of, deps),
    recordProgress: () => undefined,
    parties: () => ({ connections: [], closed: [], uidOf: () => undefined, isShared: true }),
    inForce: () => ({ freezes: [], nowMs: 0, pinner: { driftSince: () => undefined } }),
    tapUid: () => peer.uid,
  });
  const deps: RecordDeps = { ...depsWithout(disk, clock), approvals };
  const client = new PassThrough();
  const server = new PassThrough();
  const ids: { server: string[]; client: string[] } = { server: [], client: [] };
  const sink = (list: string[]): Writable => {
    let rest = '';
    return new Writable({
      write(chunk: Buffer, _encoding, done) {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop()!;
        for (const line of lines) list.push((JSON.parse(line) as { id: string }).id);
        done();
      },
    });
  };
  const fromTap = new WireReader();
  const relay = new Relay(
    {
      sendable: true,
      unreachable: false,
      send: (bytes, handedOver) => {
        fromTap.push(Buffer.from(bytes), (type, body) => {
          if (type === wireType.frame) record(readFrame(Buffer.from(body))!, connection, deps);
        });
        handedOver?.();
      },
    },
    { source: client, target: sink(ids.server) },
    { source: server, target: sink(ids.client) },
    'block',
    { drained: () => undefined, targetGone: () => undefined, lost: () => undefined },
  );
  const fromRecorder = new WireReader();
  connection.attach({
    write: (bytes: Buffer) =>
      fromRecorder.push(bytes, (type, body) => {
        if (type === wireType.pass) relay.pass(readAnswer(body)!);
        else if (type === wireType.refuse) relay.refuse(readRefusal(body)!);
        else if (type === wireType.aside) relay.aside(readAside(body, 2)!);
        else if (type === wireType.release) relay.release(readAside(body, 1)!);
      }),
  });
  relay.welcome('receipt', [0, 0], false);
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) {
      await turn();
      disk.settle();
      connection.answer();
    }
  };
  let sent = 0;
  /** Each request for a payment stands between two that go on. */
  const send = async (count: number, padBytes: number): Promise<void> => {
    for (let i = 0; i < count; i++, sent++) {
      for (const name of ['pay', 'look']) {
        const params = { name, arguments: { to: 'x'.repeat(name === 'pay' ? padBytes : 10) } };
        client.write(`${JSON.stringify({ jsonrpc: '2.0', id: `${name}${sent}`, method: 'tools/call', params })}\n`);
      }
      if (i % 50 === 49) await settle();
    }
    await settle();
  };
  const pending = (): Pending[] => {
    const all: Pending[] = [];
    for (let more = true; more;) {
      approvals.answer('approvals', { after: all.at(-1)?.request, brief: true }, peer, {
        reply: (answer) => {
          all.push(...(answer['approvals'] as Pending[]));
          more = answer['more'] === true;
        },
        refuse: (code, message) => {
          throw new Error(`${code}: ${message}`);
        },
      });
    }
    return all;
  };
  const decide = ({ request, commitment }: Pending, decision: string): void => {
    const refuse = (code: string, message: string): void => {
      throw new Error(`${code}: ${message}`);
    };
    approvals.answer('decide', { request, commitment, decision }, peer, { reply: () => undefined, refuse });
  };
  return { send, settle, pending, decide, ids, endClient: () => relay.endClient() };
}

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

function heldBytes(): number {
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Of one that waits: in the recorder, and in its tap, which keeps the frame. */
async function memoryOf(count: number, padBytes: number): Promise<{ recorder: number; tap: number }> {
  const { send, settle, pending, decide, endClient } = await stage();
  // what code and tables take is taken
  await send(50, padBytes);
  for (const one of pending()) decide(one, 'denied');
  await settle();
  const before = heldBytes();
  await send(count, padBytes);
  const both = heldBytes();
  // a tap whose client is gone gives up what waits
  endClient();
  const recorder = heldBytes();
  if (pending().length !== count) throw new Error(`${pending().length} wait`);
  return { recorder: (recorder - before) / count, tap: (both - recorder) / count };
}

/** How many of all others came in another order than they were sent, or not, and decided ones in another order than that of the decisions. */
async function disorder(count: number): Promise<{ others: number; decided: number; us: number }> {
  const { send, settle, pending, decide, ids } = await stage();
  await send(count, 100);
  const others = Array.from({ length: count }, (_, i) => `look${i}`);
  const wrongOthers = others.filter((id, i) => ids.server[i] !== id).length + Math.abs(ids.server.length - count);
  const waiting = pending()
    .map((one) => ({ one, by: Math.random() }))
    .sort((a, b) => a.by - b.by)
    .map(({ one }) => one);
  const all = pending().map(({ request }) => request);
  const approved: string[] = [];
  const denied: string[] = [];
  const began = process.cpuUsage();
  for (const [i, one] of waiting.entries()) {
    (i % 3 === 0 ? denied : approved).push(`pay${all.indexOf(one.request)}`);
    decide(one, i % 3 === 0 ? 'denied' : 'approved');
    if (i % 100 === 99) await settle();
  }
  await settle();
  const { user, system } = process.cpuUsage(began);
  const wrongDecided =
    approved.filter((id, i) => ids.server[count + i] !== id).length + denied.filter((id, i) => ids.client[i] !== id).length + pending().length;
  return { others: wrongOthers, decided: wrongDecided, us: (user + system) / count };
}

export async function approvalsRows({ short }: RowOptions): Promise<Found> {
  const count = short ? 300 : 1_000;
  const usual = await memoryOf(count, 1_000);
  const long = await memoryOf(count, 8_000);
  const { others, decided, us } = await disorder(count);
  return {
    figures: {
      'approvals: bytes in the recorder, request of 1 KB': usual.recorder,
      'approvals: bytes in the recorder, request of 8 KB': long.recorder,
      'approvals: bytes in the tap, request of 1 KB': usual.tap,
      'approvals: bytes in the tap, request of 8 KB': long.tap,
      'approvals: µs of processor time for a decision': us,
    },
    lines: [],
    targets: [
      {
        name: 'a request of 1 KB that waits, in recorder and tap together',
        figure: (usual.recorder + usual.tap) / 1_000,
        limit: 20,
        want: 'at most',
        unit: 'KB',
      },
      { name: 'a request of 8 KB that waits, in the recorder', figure: long.recorder / 1_000, limit: 20, want: 'at most', unit: 'KB' },
      { name: `${count} at once: others out of their order`, figure: others, limit: 0, want: 'at most', unit: '' },
      { name: `${count} at once, resolved in any order: not as they were decided`, figure: decided, limit: 0, want: 'at most', unit: '' },
    ],
  };
}
