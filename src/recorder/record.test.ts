import { expect, test } from 'vitest';
import { readEntry } from '../entry/read.ts';
import type { Entry, MessageEntry } from '../entry/entry.ts';
import type { AppendOptions, Content, Ledger, Waiter } from '../ledger/ledger.ts';
import { frameUnits } from '../limits.ts';
import { compilePolicy } from '../policy/judge.ts';
import { noPolicy, type Policy } from '../policy/policy.ts';
import { moreUnits, type DirectionIndex } from '../wire/wire.ts';
import { Clock } from './clock.ts';
import { Connection } from './connection.ts';
import { recordReturn } from './own-entries.ts';
import { record } from './record.ts';
import type { RecordDeps } from './record-deps.ts';

const id = 'a'.repeat(32);

/** A ledger that keeps what it is given and never answers by itself. */
class Kept {
  readonly appended: { entry: Entry; content: Content; waiter: Waiter; options: AppendOptions }[] = [];
  parts = 0;
  recordable = true;

  get nextIndex(): number {
    return this.appended.length;
  }

  append(content: Content, waiter: Waiter, options: AppendOptions = {}): void {
    this.appended.push({ entry: readEntry(Buffer.from(content.leaf)) as Entry, content, waiter, options });
  }

  appendPart(): { file: number; offset: number } {
    this.parts++;
    return { file: 0, offset: 0 };
  }
}

function newConnection(): Connection {
  const connection = new Connection({
    connection: id,
    server: 's',
    mode: 'commit',
    onUnrecordable: 'block',
    custody: 'same-user',
    overrides: { sensitive: [], write: [], read: [] },
    tokenDigest: '0'.repeat(64),
  });
  connection.isRecorded = true;
  connection.who = 0;
  return connection;
}

function stage(): {
  ledger: Kept;
  connection: Connection;
  deps: RecordDeps;
  take: (direction: DirectionIndex, unit: number, bytes: Buffer, flags?: number) => void;
} {
  const ledger = new Kept();
  const connection = newConnection();
  const deps: RecordDeps = {
    ledger: ledger as unknown as Ledger,
    clock: new Clock(),
    freezes: [],
    findKey: () => Buffer.alloc(32),
    searcher: { search: (redactor, bytes, known, isJson, done) => done(redactor.ranges(bytes, 0, known, isJson)) },
    openingOf: () => {
      const common = { v: 1 as const, time: '2026-01-01T00:00:00.000000Z', monotonicUs: 1, connection: id };
      return {
        open: {
          ...common,
          kind: 'open',
          transport: 'stdio',
          server: 's',
          mode: 'commit',
          onUnrecordable: 'block',
          custody: 'same-user',
          tap: { source: 'unknown' },
        },
        openAttributes: {},
        principal: { ...common, kind: 'principal', source: 'observed' },
        principalAttributes: {},
      };
    },
  };
  const take = (direction: DirectionIndex, unit: number, bytes: Buffer, flags = 0): void =>
    record({ direction, flags, stream: 0, unit, delivered: [0, 0], seenUs: 1, bytes }, connection, deps);
  return { ledger, connection, deps, take };
}

test('a reply repeats the cut method and target of its request, whose entry alone has them whole', () => {
  const { ledger, take } = stage();
  const method = 'm'.repeat(60_000);
  const name = 'n'.repeat(60_000);
  take(0, 1, Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"${method}"}`));
  take(0, 2, Buffer.from(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"${name}"}}`));
  take(0, 3, Buffer.from('{"jsonrpc":"2.0","id":3,"method":"resources/read","params":{"uri":"file:///secret"}}'));
  for (const unit of [1, 2, 3]) take(1, unit, Buffer.from(`{"jsonrpc":"2.0","id":${unit},"result":{}}`));
  const [first, second, third, ...replies] = ledger.appended.map(({ entry }) => entry);
  expect(first).toMatchObject({ method: `${'m'.repeat(125)}…`, truncated: ['method'], attributes: 1 });
  expect(second).toMatchObject({ target: `${'n'.repeat(253)}…`, truncated: ['target'], attributes: 1 });
  expect(third).toMatchObject({ target: 'file:', attributes: 1 });
  expect(replies).toMatchObject([
    { exchange: 0, method: `${'m'.repeat(125)}…` },
    { exchange: 1, method: 'tools/call', target: `${'n'.repeat(253)}…` },
    { exchange: 2, method: 'resources/read', target: 'file:' },
  ]);
  for (const reply of replies) {
    expect(reply).not.toHaveProperty('truncated');
    expect(reply).not.toHaveProperty('attributes');
  }
});

test('a frame of too many units is refused from there on, and what it held is let go', () => {
  const { ledger, connection, take } = stage();
  const refused: number[] = [];
  connection.refuse = ({ unit }) => void refused.push(unit);
  for (let unit = 1; unit <= frameUnits + 3; unit++) take(1, unit, Buffer.from(' '), moreUnits);
  expect(ledger.parts).toBe(frameUnits);
  expect(refused).toEqual([frameUnits + 1, frameUnits + 2, frameUnits + 3]);
  expect(connection.long[1]).toMatchObject({ hashes: [], items: [] });
  take(1, frameUnits + 4, Buffer.from('{}'));
  expect(refused.at(-1)).toBe(frameUnits + 4);
  expect(ledger.appended).toEqual([]);
  expect(connection.losses?.lost).toEqual([0, 1]);
  // the next one is a frame of its own
  take(1, frameUnits + 5, Buffer.from('{}'));
  expect(ledger.appended.map(({ entry }) => entry.kind)).toEqual(['message']);
});

test('a return that the disk refuses is tried again before anything else of the connection, also by the next recorder', () => {
  const { ledger, connection, deps, take } = stage();
  recordReturn(connection, deps, true);
  expect(ledger.appended[0]).toMatchObject({ entry: { kind: 'recovery', reason: 'resumed' }, options: { essential: true } });
  ledger.appended[0]!.waiter.undo?.();
  const { opened, state } = JSON.parse(JSON.stringify(connection)) as ReturnType<Connection['toJSON']>;
  expect(new Connection(opened, state).isReturnDue).toBe(true);
  // refused at once while the disk is full: it stays due, for a `close` in the same breath
  ledger.recordable = false;
  take(0, 1, Buffer.from('{}'));
  expect(connection.isReturnDue).toBe(true);
  ledger.recordable = true;
  take(0, 2, Buffer.from('{}'));
  take(0, 3, Buffer.from('{}'));
  expect(ledger.appended.slice(2).map(({ entry }) => entry.kind)).toEqual(['recovery', 'message', 'message']);
});

test('an opening that a full disk would refuse is not taken for recorded', () => {
  const { ledger, connection, take } = stage();
  connection.isRecorded = false;
  connection.who = undefined;
  ledger.recordable = false;
  take(0, 1, Buffer.from('{}'));
  expect(connection.isRecorded).toBe(false);
});

const drops: Policy = {
  ...noPolicy,
  redact: [{ name: 'r', keys: ['password'], paths: [], detect: [], keep: 'drop' }],
  policy: { default: 'allow', rules: [{ name: 'no', action: 'deny', on: ['result'], enforce: true, tool: ['secret'] }] },
};

test('while anything can be refused, an id that waits for its answer is not given away again, nor one that no server can keep', async () => {
  const { ledger, connection, take } = stage();
  connection.rule(await compilePolicy(drops));
  const call = (id: string): Buffer => Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"secret"}}`);
  for (const [unit, id] of ['7', '7', '1e400', '"7"'].entries()) take(0, unit + 1, call(id));
  const requests = ledger.appended.map(({ entry }) => entry as MessageEntry).filter(({ origin }) => origin === 'client');
  expect(requests.map(({ verdict, rule }) => [verdict, rule])).toEqual([
    ['pass', undefined],
    ['block', 'sworn:ambiguous'],
    ['block', 'sworn:ambiguous'],
    ['pass', undefined],
  ]);
  expect(requests[1]!.reason).toContain('id-reused');
});

test('an answer that cannot be told to be that to one request repeats nothing of any that waits', async () => {
  for (const [asked, answered] of [
    ['"9"', '9'],
    ['9007199254740993', '9007199254740992'],
    ['1e400', 'null'],
  ]) {
    const { ledger, connection, take } = stage();
    connection.rule(await compilePolicy({ ...drops, policy: { default: 'allow', rules: [] } }));
    take(0, 1, Buffer.from(`{"jsonrpc":"2.0","id":${asked},"method":"tools/call","params":{"name":"a","arguments":{"password":"S3cr3tW0rd"}}}`));
    take(1, 1, Buffer.from(`{"jsonrpc":"2.0","id":${answered},"result":{"content":[{"type":"text","text":"you said S3cr3tW0rd"}]}}`));
    const stored = ledger.appended
      .map(({ content }) => [content.leaf, ...content.frame.map((item) => ('bytes' in item ? item.bytes : ''))].join(' '))
      .join('\n');
    expect(ledger.appended.length).toBe(2);
    expect(stored).not.toContain('S3cr3tW0rd');
  }
});

test('names that a connection was given are written as the rules let them', async () => {
  const { connection, take, ledger } = stage();
  connection.opened.server = 'password=S3cr3tN4me';
  connection.opened.client = 'password=S3cr3tCl1ent';
  connection.rule(await compilePolicy(drops));
  take(0, 1, Buffer.from('{"jsonrpc":"2.0","method":"notifications/x"}'));
  expect(JSON.stringify([ledger.appended.map(({ entry }) => entry), connection])).not.toMatch(/S3cr3t/);
  expect(connection.judge.party.server).toBe('password=S3cr3tN4me');
});
