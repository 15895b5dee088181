/** The queue of what waits for a person, with a disk that fails when it is told to, and clocks that do not run. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseConfig } from '../config/config.ts';
import type { Entry } from '../entry/entry.ts';
import { readEntry } from '../entry/read.ts';
import type { Content, Ledger, Waiter } from '../ledger/ledger.ts';
import { approvalShownBytes, pendingApprovalsOfOne } from '../limits.ts';
import { compilePolicy } from '../policy/judge.ts';
import { held, readAside, readRefusal, WireReader, wireType } from '../wire/wire.ts';
import type { Pending } from './approval-question.ts';
import { Approvals } from './approvals.ts';
import { mayDecide } from './approvers.ts';
import { Clock } from './clock.ts';
import { Connection } from './connection.ts';
import type { Peer } from './peer.ts';
import { recordRefusal } from './own-entries.ts';
import { record } from './record.ts';
import type { RecordDeps } from './record-deps.ts';
import { seal } from './seal.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] }));
afterEach(() => void vi.useRealTimers());

const uid = process.getuid!();
const own: Peer = { uid, pid: process.pid, source: 'kernel' };
const id = 'c'.repeat(32);

interface Appended {
  entry: Entry;
  waiter: Waiter;
  essential: boolean;
}

class Disk {
  readonly durable: Entry[] = [];
  waiting: Appended[] = [];
  recordable = true;

  get nextIndex(): number {
    return this.durable.length + this.waiting.length;
  }

  append({ leaf }: Content, waiter: Waiter, { essential = false } = {}): void {
    this.waiting.push({ entry: readEntry(Buffer.from(leaf)) as Entry, waiter, essential });
  }

  settle(): void {
    for (const { entry, waiter } of this.waiting.splice(0)) waiter.durable({ index: this.durable.push(entry) - 1, hash: Buffer.alloc(32) });
  }

  fail(): void {
    const failed = this.waiting.splice(0);
    for (const { waiter } of failed.toReversed()) waiter.undo?.();
    for (const { waiter } of failed) waiter.failed?.(new Error('full'));
  }

  of(kind: Entry['kind']): Entry[] {
    return this.durable.filter((entry) => entry.kind === kind);
  }
}

type Told = ['aside' | 'release', number] | ['refuse', number, string];

async function queue(policy: string, tapUid: number | undefined = 4_000) {
  const { config, problems } = await parseConfig(policy, 'sworn.yaml');
  expect(problems).toEqual([]);
  const opened = {
    connection: id,
    server: 's',
    mode: 'commit' as const,
    onUnrecordable: 'block' as const,
    custody: 'separate-user' as const,
    overrides: { sensitive: [], write: [], read: [] },
    tokenDigest: '0'.repeat(64),
  };
  const connection = new Connection(opened, undefined, await compilePolicy(config!.policy));
  const told: Told[] = [];
  const reader = new WireReader();
  connection.attach({
    write: (bytes: Buffer) =>
      reader.push(bytes, (type, body) => {
        if (type === wireType.aside || type === wireType.release)
          told.push([type === wireType.aside ? 'aside' : 'release', readAside(body, type === wireType.aside ? 2 : 1)!.last]);
        else if (type === wireType.refuse) told.push(['refuse', readRefusal(body)!.unit, readRefusal(body)!.toSender.toString()]);
      }),
  });
  connection.isRecorded = true;
  connection.who = 0;
  const disk = new Disk();
  const clock = new Clock();
  const approvals: Approvals = new Approvals({
    clock,
    nextIndex: () => disk.nextIndex,
    append: (entry, attributes, waiter, options) => disk.append(seal(entry, attributes), waiter, options),
    recordAnswer: (entry, index, lines, isConcealed, of) => recordRefusal(entry, index, lines, isConcealed, of, deps),
    recordProgress: () => undefined,
    parties: () => ({ connections: [connection], closed: [], uidOf: () => tapUid, isShared: true }),
    inForce: () => ({ freezes: [], nowMs: Date.now(), pinner: { driftSince: () => undefined } }),
    tapUid: () => tapUid,
  });
  const deps: RecordDeps = {
    ledger: disk as unknown as Ledger,
    clock,
    approvals,
    freezes: [],
    findKey: () => Buffer.alloc(32),
    searcher: { search: (redactor, bytes, known, isJson, done) => done(redactor.ranges(bytes, 0, known, isJson)) },
    openingOf: () => {
      throw new Error('it is open');
    },
  };
  let unit = 0;
  const pay = (to: string | object): void => {
    const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: ++unit, method: 'tools/call', params: { name: 'pay', arguments: { to } } }));
    record({ direction: 0, flags: held, stream: 0, unit, delivered: [0, 0], seenUs: clock.monotonicUs(), bytes }, connection, deps);
  };
  const answers: unknown[] = [];
  const question = (what: 'approvals' | 'decide', json: Record<string, unknown> = {}, peer = own): (() => void) | undefined =>
    approvals.answer(what, json, peer, { reply: (answer) => answers.push(answer), refuse: (code, message) => answers.push([code, message]) });
  const pending = (peer = own): Pending[] => {
    question('approvals', {}, peer);
    return (answers.pop() as { approvals: Pending[] }).approvals;
  };
  const decide = (decision: string, { request, commitment } = pending()[0]!, more = {}, peer = own): void =>
    void question('decide', { request, commitment, decision, ...more }, peer);
  return { connection, disk, approvals, told, pay, answers, question, pending, decide };
}

const policy = 'policy: { rules: [ { name: pay, ask: true, timeout: 60s, approvers: { uid: [4001] } } ] }\nredact: { keys: [pin] }';

describe('what cannot be stored [approval-unrecorded]', () => {
  test('a request: its sender is told, nobody is asked', async () => {
    const { disk, told, pay, pending, connection } = await queue(policy);
    pay('bob');
    expect(pending()).toEqual([]);
    disk.fail();
    expect(told).toEqual([['refuse', 1, expect.stringContaining('"code":5030')]]);
    expect(pending()).toEqual([]);
    expect(connection.exchanges.size).toBe(0);
    vi.advanceTimersByTime(120_000);
    expect(disk.waiting).toEqual([]);
  });

  test('an approval: nothing is delivered, whoever decided is told, and it waits on', async () => {
    const { disk, told, pay, pending, decide, answers, connection } = await queue(policy);
    pay('bob');
    disk.settle();
    decide('approved');
    // there must be room for all that follows
    expect(disk.waiting.map(({ essential }) => essential)).toEqual([false]);
    expect(told).toEqual([['aside', 1]]);
    expect([...connection.asides.again()].length).toBe(1);
    disk.fail();
    expect(answers.pop()).toEqual(['unrecordable', 'the decision could not be recorded: the request waits on']);
    expect(told).toEqual([['aside', 1]]);
    expect(pending().length).toBe(1);
    decide('approved');
    disk.settle();
    expect(told).toEqual([
      ['aside', 1],
      ['release', 1],
    ]);
    expect(disk.of('approval')).toMatchObject([{ decision: 'approved', request: 0, by: { uid } }]);
    expect(connection.exchanges.size).toBe(1);
  });

  test('the end of its time: tried until it can be', async () => {
    const { disk, told, pay, connection } = await queue(policy);
    pay('bob');
    disk.settle();
    vi.advanceTimersByTime(60_000);
    expect(disk.waiting.map(({ entry, essential }) => [entry.kind, essential])).toEqual([
      ['approval', true],
      ['message', false],
    ]);
    disk.fail();
    expect(told).toEqual([['aside', 1]]);
    expect(connection.exchanges.size).toBe(1);
    vi.advanceTimersByTime(1_000);
    disk.settle();
    expect(told[1]).toEqual(['refuse', 1, expect.stringContaining('"code":4080')]);
    expect(disk.of('approval')).toMatchObject([{ decision: 'timed-out', how: 'recorder' }]);
    expect(connection.exchanges.size).toBe(0);
    vi.advanceTimersByTime(600_000);
    expect(disk.waiting).toEqual([]);
  });
});

test('one decision counts, whatever comes before it is durable', async () => {
  const { disk, pay, pending, decide, answers, approvals, connection } = await queue(policy);
  pay('bob');
  disk.settle();
  const [first] = pending();
  decide('denied', first);
  decide('approved', first);
  expect(answers.pop()).toEqual(['not-found', expect.stringMatching(/does not wait for approval: it was denied by uid \d+: entry 1/)]);
  approvals.cancel(first!.request);
  approvals.lose(connection);
  vi.advanceTimersByTime(60_000);
  disk.settle();
  expect(disk.of('approval').length).toBe(1);
});

test('a tap that comes back hears of what waits and of what was decided, until it has delivered something behind it', async () => {
  const { disk, told, pay, decide, connection } = await queue(policy);
  for (const to of ['a', 'b', 'c']) pay(to);
  disk.settle();
  decide('approved');
  decide('denied');
  disk.settle();
  told.length = 0;
  const kinds = (kept?: { c2s: number[]; s2c: number[] }): number[] => [...connection.asides.again(kept)].map((message) => message[4]!);
  const { aside, release, refuse } = wireType;
  expect(kinds()).toEqual([aside, aside, release, aside, refuse]);
  // what nobody knows of is dropped
  expect(kinds({ c2s: [1, 2, 3, 77], s2c: [] })).toEqual([aside, aside, release, aside, refuse, refuse]);
  connection.delivered[0] = 4;
  decide('approved');
  disk.settle();
  expect(kinds()).toEqual([aside, release]);
});

describe('who decides', () => {
  const asked = (more: object) => ({ approvers: [4_001], askerUid: 4_000, isUnknown: false, ...more });
  const approver = (of: number, isAdministrator = false) => ({ by: { uid: of, pid: 1 }, isAdministrator });

  test.each([
    ['an administrator', approver(0, true), asked({}), { isSelf: false }],
    ['an administrator with the agent’s account', approver(4_000, true), asked({}), { isSelf: true }],
    ['an administrator, where nobody knows who asks', approver(7, true), asked({ askerUid: undefined, isUnknown: true }), { isSelf: true }],
    ['an administrator, for somebody elsewhere', approver(7, true), asked({ askerUid: undefined }), { isSelf: false }],
    ['an approver', approver(4_001), asked({}), { isSelf: false }],
    ['an approver who asks himself', approver(4_001), asked({ askerUid: 4_001 }), expect.stringContaining('may not decide for itself')],
    ['an approver, where root asks', approver(4_001), asked({ askerUid: 0 }), expect.stringContaining('may not decide for itself')],
    ['somebody else', approver(4_002), asked({}), 'uid 4002 is no approver of this rule'],
    ['the agent', approver(4_000), asked({}), 'uid 4000 is no approver of this rule'],
  ])('%s', (_, one, request, expected) => {
    expect(mayDecide(one, request)).toEqual(expected);
  });

  test('an approver sees and decides what its rule asks for, and says nothing of others', async () => {
    const { disk, pay, pending, decide, answers, question } = await queue(policy);
    const peer: Peer = { uid: 4_001, pid: 1, source: 'kernel' };
    pay('bob');
    disk.settle();
    expect(pending(peer)).toMatchObject([{ request: 0, rule: 'pay' }]);
    decide('approved', undefined, { how: 'dashboard' }, peer);
    expect(answers.pop()).toEqual(['permission', expect.stringContaining('may say that a dashboard decided')]);
    question('approvals', {}, { uid: 4_002, pid: 1, source: 'kernel' });
    expect(answers.pop()).toEqual(['permission', 'uid 4002 may not see what waits for approval']);
    question('approvals', {}, { source: 'unknown' });
    expect(answers.pop()).toEqual(['permission', expect.any(String)]);
    decide('approved', undefined, {}, peer);
    disk.settle();
    expect(answers.pop()).toMatchObject({ decided: 1 });
    expect(disk.of('approval')).toMatchObject([{ by: { uid: 4_001, pid: 1 } }]);
    expect(disk.of('approval')[0]).not.toHaveProperty('selfApproved');
  });

  test.each([
    [{ request: -1 }, /request/],
    [{ commitment: 1 }, /commitment/],
    [{ decision: 'maybe' }, /decision/],
    [{ reason: '' }, /reason/],
    [{ reason: 'x'.repeat(1_001) }, /reason/],
    [{ how: 'recorder' }, /how/],
    [{ viewer: 'me' }, /viewer/],
    [{ approver: 7 }, /approver/],
  ])('a question that is none: %j', async (wrong, why) => {
    const { question, answers } = await queue(policy);
    question('decide', { request: 0, commitment: 'x', decision: 'approved', ...wrong });
    expect(answers).toEqual([['usage', expect.stringMatching(why)]]);
  });
});

test('what is shown is what is stored, and bounded', async () => {
  const { disk, pay, pending } = await queue(policy);
  pay({ pin: 'hunter2', list: ['a', 1], deep: { pin: 1234 } });
  pay('x'.repeat(3 * approvalShownBytes));
  disk.settle();
  const [secret, long] = pending();
  expect(JSON.parse(secret!.shown)).toMatchObject({
    params: { arguments: { to: { pin: '[redacted]', list: ['a', 1], deep: { pin: '[redacted]' } } } },
  });
  expect(long).toMatchObject({ isCut: true });
  expect(long!.shown.length).toBe(approvalShownBytes);
});

test('what is erased is not shown any more, and waits on', async () => {
  const { disk, pay, pending, approvals, told, decide } = await queue(policy);
  pay('bob');
  disk.settle();
  approvals.forget(0);
  expect(pending()).toMatchObject([{ request: 0, shown: '' }]);
  decide('denied');
  disk.settle();
  expect(told.at(-1)).toEqual(['refuse', 1, expect.stringContaining('denied')]);
});

test('no more wait than may, and the answer stays short', async () => {
  const { disk, told, pay, question, answers } = await queue(policy);
  for (let i = 0; i < pendingApprovalsOfOne + 2; i++) pay(i < 200 ? 'x'.repeat(approvalShownBytes) : 'x');
  disk.settle();
  expect(told.filter(([what]) => what === 'refuse')).toEqual([
    ['refuse', pendingApprovalsOfOne + 1, expect.stringContaining('too many requests wait for approval')],
    ['refuse', pendingApprovalsOfOne + 2, expect.stringContaining('too many requests wait for approval')],
  ]);
  question('approvals');
  const answer = answers.pop() as { waiting: number; approvals: Pending[] };
  expect(answer.waiting).toBe(pendingApprovalsOfOne);
  expect(answer.approvals.length).toBeGreaterThan(50);
  expect(Buffer.byteLength(JSON.stringify(answer))).toBeLessThan(1024 * 1024);
});

test('who watches hears of changes, or after a while of none', async () => {
  const { disk, pay, question, answers, decide } = await queue(policy);
  question('approvals');
  const { version } = answers.pop() as { version: number };
  question('approvals', { since: version, waitMs: 5_000 });
  expect(answers).toEqual([]);
  vi.advanceTimersByTime(5_000);
  expect(answers.pop()).toMatchObject({ version, waiting: 0 });
  const leave = question('approvals', { since: version, waitMs: 5_000 });
  leave!();
  question('approvals', { since: version, waitMs: 60_000 });
  pay('bob');
  disk.settle();
  vi.advanceTimersByTime(100);
  expect(answers).toMatchObject([{ waiting: 1 }]);
  const { version: next } = answers.pop() as { version: number };
  question('approvals', { since: next, waitMs: 60_000 });
  decide('denied');
  vi.advanceTimersByTime(100);
  expect(answers).toMatchObject([{ waiting: 0 }]);
});
