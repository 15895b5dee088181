import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BatchEntry, Entry, MessageEntry, PolicyEntry } from '../entry/entry.ts';
import { readEntry } from '../entry/read.ts';
import type { AppendOptions, Content, Ledger, Waiter } from '../ledger/ledger.ts';
import type { EntryRecord } from '../ledger/segment.ts';
import { judgeBytes, unitBytes } from '../limits.ts';
import { compilePolicy, type CompiledPolicy } from '../policy/judge.ts';
import { noPolicy, type Policy, type Rule } from '../policy/policy.ts';
import { newCounts } from '../policy/session.ts';
import { held, moreUnits, readAnswer, readJson, readRefusal, WireReader, wireType, type DirectionIndex, type Wait } from '../wire/wire.ts';
import { Clock } from './clock.ts';
import { Connection, type Opened } from './connection.ts';
import { applyFreeze, freezeFields, readFreeze } from './control.ts';
import { recordRefusal } from './own-entries.ts';
import { finishBatch, record } from './record.ts';
import type { RecordDeps } from './record-deps.ts';
import { seal } from './seal.ts';
import { State } from './state.ts';

const id = 'a'.repeat(32);

interface Appended {
  entry: Entry | undefined;
  content: Content | undefined;
  waiter: Waiter;
  options: AppendOptions;
}

/** A ledger that answers when it is told to, as the real one does: durable in order, or undone last first and then failed in order. */
class Kept {
  readonly durable: { entry: Entry; content: Content }[] = [];
  waiting: Appended[] = [];
  recordable = true;
  /** Thousands wait: they are counted as they come. */
  #waitingEntries = 0;

  get nextIndex(): number {
    return this.durable.length + this.#waitingEntries;
  }

  get entries(): Entry[] {
    return [...this.durable, ...this.waiting].flatMap(({ entry }) => (entry === undefined ? [] : [entry]));
  }

  append(content: Content, waiter: Waiter, options: AppendOptions = {}): void {
    this.waiting.push({ entry: readEntry(Buffer.from(content.leaf)) as Entry, content, waiter, options });
    this.#waitingEntries++;
  }

  appendPart(): { file: number; offset: number } {
    throw new Error('nothing streams here');
  }

  follow(waiter: Waiter, options: AppendOptions = {}): void {
    this.waiting.push({ entry: undefined, content: undefined, waiter, options });
  }

  settle(count = this.waiting.length): void {
    for (const { entry, content, waiter } of this.waiting.splice(0, count)) {
      if (entry !== undefined) {
        this.durable.push({ entry, content: content! });
        this.#waitingEntries--;
      }
      waiter.durable(entry === undefined ? undefined : { index: this.durable.length - 1, hash: Buffer.alloc(32) });
    }
  }

  fail(): void {
    const failed = this.waiting.splice(0);
    this.#waitingEntries = 0;
    for (const { waiter } of failed.toReversed()) waiter.undo?.();
    for (const { waiter } of failed) waiter.failed?.(new Error('full'));
  }

  /** The recorder dies. */
  forget(): void {
    this.waiting = [];
    this.#waitingEntries = 0;
  }

  recordOf(index: number): EntryRecord {
    const { content } = this.durable[index]!;
    return { type: 'entry', index, leaf: Buffer.from(content.leaf), attributes: content.attributes, frame: content.frame } as unknown as EntryRecord;
  }
}

interface Sent {
  direction: DirectionIndex;
  unit: number;
  bytes: Buffer;
  flags: number;
}

/** The tap as `spec/wire.md` says it is: what it delivers, and what it writes itself. */
class ModelTap {
  readonly sent: [Sent[], Sent[]] = [[], []];
  /** Units that were delivered, and lines of ours that were written, to the client (1) and to the server (0). */
  readonly delivered: [number[], number[]] = [[], []];
  readonly written: [string[], string[]] = [[], []];
  readonly log: string[] = [];
  wait: Wait;
  readonly #reader = new WireReader();
  readonly #passed: [number, number] = [0, 0];
  readonly #released: [number, number] = [0, 0];
  readonly #rest: [boolean, boolean] = [false, false];

  constructor(wait: Wait) {
    this.wait = wait;
  }

  readonly socket = {
    write: (bytes: Buffer): void => {
      this.#reader.push(bytes, (type, body) => this.#receive(type, body));
    },
  };

  #receive(type: number, body: Buffer): void {
    if (type === wireType.pass || type === wireType.durable) {
      const { direction, through } = readAnswer(body)!;
      this.log.push(`${type === wireType.pass ? 'pass' : 'durable'} ${direction} ${through}`);
      if (type === wireType.pass || this.wait === 'receipt') this.pass(direction, through);
    } else if (type === wireType.refuse) {
      const { direction, unit, toSender, toReceiver } = readRefusal(body)!;
      this.log.push(`refuse ${direction} ${unit}`);
      this.pass(direction, unit - 1);
      if (unit <= this.#released[direction]) return;
      this.#released[direction] = unit;
      this.#passed[direction] = Math.max(this.#passed[direction], unit);
      this.#rest[direction] = (this.sent[direction][unit - 1]!.flags & moreUnits) !== 0;
      if (toSender.length > 0) this.written[direction === 0 ? 1 : 0].push(...toSender.toString().split('\n').slice(0, -1));
      if (toReceiver.length > 0) this.written[direction].push(...toReceiver.toString().split('\n').slice(0, -1));
    } else if (type === wireType.wait) {
      this.wait = readJson(body)!['wait'] as Wait;
      this.log.push(`wait ${this.wait}`);
    } else throw new Error(`type ${type}`);
    if (this.wait === 'none') for (const direction of [0, 1] as const) this.pass(direction, this.sent[direction].length);
  }

  pass(direction: DirectionIndex, through: number): void {
    this.#passed[direction] = Math.max(this.#passed[direction], through);
    for (; this.#released[direction] < this.#passed[direction]; this.#released[direction]++) {
      const { unit, flags } = this.sent[direction][this.#released[direction]]!;
      if (!this.#rest[direction]) this.delivered[direction].push(unit);
      else this.#rest[direction] = (flags & moreUnits) !== 0;
    }
  }

  /** What is sent again: flags say what is delivered by now. */
  due(direction: DirectionIndex, durable: number): Sent[] {
    return this.sent[direction]
      .slice(durable)
      .map((sent) => ({ ...sent, flags: (sent.flags & ~held) | (sent.unit > this.#released[direction] ? held : 0) }));
  }

  bytesOf(direction: DirectionIndex): string[] {
    return this.delivered[direction].map((unit) => this.sent[direction][unit - 1]!.bytes.toString());
  }
}

interface Options {
  mode?: 'commit' | 'observe';
  wait?: Wait;
  opened?: Partial<Opened>;
}

class Stage {
  readonly ledger = new Kept();
  readonly deps: RecordDeps;
  readonly tap: ModelTap;
  connection: Connection;

  constructor(compiled: CompiledPolicy, { mode = 'commit', wait = mode === 'commit' ? 'receipt' : 'verdict', opened = {} }: Options = {}) {
    this.tap = new ModelTap(wait);
    this.connection = new Connection(
      {
        connection: id,
        server: 's',
        mode,
        onUnrecordable: 'block',
        custody: 'same-user',
        overrides: { sensitive: [], write: [], read: [] },
        tokenDigest: '0'.repeat(64),
        ...opened,
      },
      undefined,
      compiled,
    );
    this.connection.attach(this.tap.socket);
    this.connection.wait = wait;
    const common = { v: 1 as const, time: '2026-01-01T00:00:00.000000Z', monotonicUs: 1, connection: id };
    this.deps = {
      ledger: this.ledger as unknown as Ledger,
      clock: new Clock(),
      freezes: [],
      findKey: () => Buffer.alloc(32),
      searcher: { search: (redactor, bytes, known, isJson, done) => done(redactor.ranges(bytes, 0, known, isJson)) },
      openingOf: () => ({
        open: {
          ...common,
          kind: 'open',
          transport: 'stdio',
          server: 's',
          mode,
          onUnrecordable: 'block',
          custody: 'same-user',
          tap: { source: 'unknown' },
          tokenDigest: '0'.repeat(64),
        },
        openAttributes: {},
        principal: { ...common, kind: 'principal', source: 'observed' },
        principalAttributes: {},
      }),
    };
  }

  /** One frame, of as many units as there are pieces. */
  send(direction: DirectionIndex, ...pieces: (string | Buffer)[]): void {
    for (const [i, piece] of pieces.entries()) {
      const flags = (i < pieces.length - 1 ? moreUnits : 0) | (this.tap.wait === 'none' ? 0 : held);
      const sent = { direction, unit: this.tap.sent[direction].length + 1, bytes: Buffer.from(piece), flags };
      this.tap.sent[direction].push(sent);
      if (this.tap.wait === 'none') this.tap.pass(direction, sent.unit);
      this.take(sent);
    }
  }

  take({ direction, unit, bytes, flags }: Sent): void {
    record({ direction, flags, stream: 0, unit, delivered: [0, 0], seenUs: this.deps.clock.monotonicUs(), bytes }, this.connection, this.deps);
    if (this.connection.wait === 'verdict') this.connection.answer();
  }

  settle(count?: number): void {
    this.ledger.settle(count);
    this.connection.answer();
  }

  /** The recorder dies, and another one takes up what is durable: from the ledger, or from a snapshot too. */
  restart(compiled = this.connection.judge.compiled, folder = '/nowhere'): State {
    this.ledger.forget();
    const state = new State(folder, compiled);
    for (let index = Math.max(0, state.from); index < this.ledger.durable.length; index++) state.replay(this.ledger.recordOf(index));
    const { wait } = this.connection;
    const next = state.connections.get(id);
    if (next === undefined) throw new Error('nothing of the connection is left');
    this.connection = next;
    for (const { connection, held: unfinished } of state.unfinishedBatches) finishBatch(unfinished, connection, this.deps);
    next.wait = wait;
    next.attach(this.tap.socket);
    this.tap.log.push(`welcome ${next.settled.join(' ')}`);
    for (const direction of [0, 1] as const) this.tap.pass(direction, next.settled[direction]);
    for (const direction of [0, 1] as const) for (const sent of this.tap.due(direction, next.settled[direction])) this.take(sent);
    return state;
  }

  messages(): MessageEntry[] {
    return this.ledger.entries.filter((entry): entry is MessageEntry => entry.kind === 'message');
  }

  /** Sequence numbers without a hole, also over our own. */
  get seqs(): number[] {
    return this.ledger.entries.flatMap((entry) => (entry.kind === 'message' || entry.kind === 'batch' ? [entry.seq] : []));
  }
}

const deny = (more: Partial<Rule>): Rule => ({ name: 'r', action: 'deny', on: ['request'], enforce: true, ...more });
const rules: Rule[] = [
  deny({ name: 'no-delete', tool: ['delete*'], reason: 'not here' }),
  deny({ name: 'no-secret', on: ['result'], tool: ['read*'], when: 'result.text.contains("secret")' }),
  deny({ name: 'no-evil', on: ['notification'], method: ['notifications/evil'] }),
  deny({ name: 'shadow', tool: ['maybe'], enforce: false }),
  { name: 'watch', action: 'flag', on: ['request'], enforce: true, tool: ['watch'], reason: 'looked at' },
];
const policyOf = (more: Partial<Policy> = {}, list = rules): Policy => ({ ...noPolicy, ...more, policy: { default: 'allow', rules: list } });
const compiled = await compilePolicy(policyOf());
const range = (length: number): number[] => Array.from({ length }, (_, i) => i + 1);

const call = (callId: unknown, name: string, args = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', id: callId, method: 'tools/call', params: { name, arguments: args } });
const reply = (callId: unknown, text = 'fine'): string =>
  JSON.stringify({ jsonrpc: '2.0', id: callId, result: { content: [{ type: 'text', text }] } });

test('what is refused, flagged and would have been refused: its entry, and our own', () => {
  const stage = new Stage(compiled);
  stage.send(0, call(1, 'delete_all'));
  stage.send(0, call(2, 'watch'));
  stage.send(0, call(3, 'maybe'));
  stage.send(0, call('x', 'read'));
  stage.send(0, '{"jsonrpc":"2.0","method":"notifications/evil"}');
  stage.send(1, reply('x', 'a secret'));
  stage.send(1, '{"jsonrpc":"2.0","id":2,"result":{}}');
  stage.settle();
  const [deleted, answer, watched, maybe, , evil, secret, withheld, last] = stage.messages();
  expect(deleted).toMatchObject({ verdict: 'block', rule: 'no-delete', reason: 'not here', id: '1', exchange: 2, capture: 'full' });
  expect(answer).toMatchObject({
    verdict: 'pass',
    rule: 'no-delete',
    origin: 'sworn',
    direction: 's2c',
    tapSeq: 0,
    type: 'error',
    id: '1',
    exchange: 2,
    method: 'tools/call',
    target: 'delete_all',
    code: 4030,
  });
  expect(watched).toMatchObject({ verdict: 'flag', rule: 'watch', reason: 'looked at' });
  expect(watched).not.toHaveProperty('shadow');
  expect(maybe).toMatchObject({ verdict: 'flag', rule: 'shadow', shadow: true });
  expect(evil).toMatchObject({ verdict: 'block', rule: 'no-evil', type: 'notification' });
  expect(secret).toMatchObject({ verdict: 'block', rule: 'no-secret', type: 'result', exchange: 6, target: 'read' });
  expect(withheld).toMatchObject({ origin: 'sworn', direction: 's2c', type: 'error', id: '"x"', exchange: 6, code: 4030 });
  expect(last).toMatchObject({ verdict: 'pass', exchange: 4 });
  expect(stage.seqs).toEqual(range(9));
  expect(stage.connection.exchanges.size).toBe(1);
  expect(stage.connection.counts).toEqual({ ...newCounts(), calls: 3, denied: 3, untrustedResults: 1 });

  expect(stage.tap.delivered).toEqual([[2, 3, 4], [2]]);
  expect(stage.tap.written[0]).toEqual([]);
  expect(stage.tap.written[1].map((line) => JSON.parse(line) as unknown)).toEqual([
    {
      jsonrpc: '2.0',
      id: 1,
      error: {
        code: 4030,
        message: 'blocked by policy rule no-delete: not here',
        data: { rule: 'no-delete', reason: 'not here', index: 2, executed: false },
      },
    },
    {
      jsonrpc: '2.0',
      id: 'x',
      error: {
        code: 4030,
        message: 'result withheld by policy rule no-secret',
        data: { rule: 'no-secret', index: 8, executed: 'unknown', resultWithheld: true },
      },
    },
  ]);
});

test('a batch with a refused item is refused whole: each of its requests is told', () => {
  const stage = new Stage(compiled);
  stage.send(0, `[${call(1, 'read')},{"jsonrpc":"2.0","method":"notifications/x"},${call(2, 'delete_all')},${call(3, 'delete')}]`);
  stage.send(0, `[${call(4, 'read')}]`);
  stage.settle();
  const [batch, passed] = stage.ledger.entries.filter((entry): entry is BatchEntry => entry.kind === 'batch');
  expect(batch).toMatchObject({ verdict: 'block', rule: 'no-delete', items: 4 });
  expect(passed).toMatchObject({ verdict: 'pass', items: 1 });
  const items = stage.messages().filter(({ batch: of }) => of === 2);
  expect(items.map(({ verdict, rule, reason }) => [verdict, rule, reason])).toEqual([
    ['block', 'no-delete', 'not sent: item 2 was refused'],
    ['block', 'no-delete', 'not sent: item 2 was refused'],
    ['block', 'no-delete', 'not here'],
    ['block', 'no-delete', 'not here'],
  ]);
  expect(stage.tap.delivered[0]).toEqual([2]);
  const answers = stage.tap.written[1].map(
    (line) => JSON.parse(line) as { id: number; error: { code: number; data: { reason: string; index: number } } },
  );
  expect(answers.map(({ id: of, error }) => [of, error.code, error.data.reason, error.data.index])).toEqual([
    [1, 4030, 'not sent: item 2 was refused', 3],
    [2, 4030, 'not here', 5],
    [3, 4030, 'not here', 6],
  ]);
  expect(stage.messages().filter(({ origin }) => origin === 'sworn')).toMatchObject([{ exchange: 3 }, { exchange: 5 }, { exchange: 6 }]);
  expect(stage.seqs).toEqual(range(stage.seqs.length));
  expect(stage.connection.exchanges.size).toBe(1);
});

test('what two readers read differently is refused, and answered where an id can be made out', () => {
  const stage = new Stage(compiled);
  stage.send(0, call('q', 'read'));
  stage.send(1, '{"jsonrpc":"2.0","id":"s","method":"sampling/createMessage"}');
  const odd = [
    '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read","arguments":{"a":NaN}}}',
    '{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"read","Name":"delete"}}',
    '{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"delete"}}',
    '{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{"name":"read"}}',
    `{"jsonrpc":"2.0","id":"${'i'.repeat(20_000)}","method":"tools/call","params":{"name":"delete"}}`,
    '',
    'Listening',
    // the client's reply to the server, and the server's to the client, with what their readers may take
    '{"jsonrpc":"2.0","id":"s","result":{"a":NaN}}',
  ];
  for (const one of odd) stage.send(0, one);
  stage.send(1, '{"jsonrpc":"2.0","id":"q","result":{"a":NaN}}');
  stage.send(1, '{"jsonrpc":"2.0","id":"q","result":{"a":1},"error":"x"}');
  stage.settle();
  // a line without anything is not refused: nobody can take it for a message
  const blank = odd.indexOf('') + 2;
  expect(stage.tap.delivered).toEqual([[1, blank], [1]]);
  const told = (direction: DirectionIndex): unknown[] =>
    stage.tap.written[direction].map((line) => {
      const { id: of, error } = JSON.parse(line) as { id: unknown; error: { data: { executed: unknown; resultWithheld?: true } } };
      return [of, error.data.executed];
    });
  expect(told(1)).toEqual([
    [7, false],
    [8, false],
    ['q', 'unknown'],
    ['q', 'unknown'],
  ]);
  expect(told(0)).toEqual([['s', 'unknown']]);
  // and the next recorder says the same
  const before = structuredClone(stage.tap.written);
  const { tap } = stage;
  tap.written[0].length = 0;
  tap.written[1].length = 0;
  const fresh = new ModelTap('receipt');
  fresh.sent[0].push(...tap.sent[0]);
  fresh.sent[1].push(...tap.sent[1]);
  Object.assign(stage, { tap: fresh });
  stage.restart();
  expect(fresh.written[0]).toEqual(before[0]);
  expect(fresh.written[1].toSorted()).toEqual(before[1].toSorted());
  expect(fresh.delivered).toEqual([[1, blank], [1]]);
});

test('what is request and reply at once is refused to both who may wait for it', () => {
  const stage = new Stage(compiled);
  const mixed = (of: unknown, more = '"result":{}'): string => `{"jsonrpc":"2.0","id":${JSON.stringify(of)},"method":"x",${more}}`;
  stage.send(0, call(1, 'read'));
  stage.send(0, call('two', 'read'));
  stage.send(0, call(3, 'read'));
  stage.send(1, '{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}');
  stage.send(1, mixed(1));
  stage.send(1, `[${mixed('two', '"error":{"code":1,"message":"no"}')},${reply(3)}]`);
  // nobody waits for these, or they are no replies
  stage.send(1, mixed(4));
  stage.send(1, mixed('s', '"params":{"result":1}').replace('"jsonrpc":"2.0",', ''));
  // the other way
  stage.send(0, mixed(1));
  stage.settle();
  expect(stage.tap.delivered).toEqual([range(3), [1]]);
  const told = (tap: ModelTap): unknown[][] =>
    tap.written.map((lines) =>
      lines.map((line) => {
        const { id: of, error } = JSON.parse(line) as { id: unknown; error: { data: { executed: unknown } } };
        return [of, error.data.executed];
      }),
    );
  const expected = [
    // the server's: of each of its frames, and its own request
    [
      [1, false],
      ['two', false],
      [4, false],
      ['s', false],
      [1, 'unknown'],
    ],
    [
      [1, 'unknown'],
      ['two', 'unknown'],
      [3, 'unknown'],
      [1, false],
    ],
  ];
  expect(told(stage.tap)).toEqual(expected);
  // the calls end with what their client was told
  const own = stage.messages().filter(({ origin, direction }) => origin === 'sworn' && direction === 's2c');
  expect(own.map(({ id: of, exchange, type }) => [of, exchange, type])).toEqual([
    ['1', 2, 'error'],
    ['"two"', 3, 'error'],
    ['3', 4, 'error'],
    ['1', expect.any(Number), 'error'],
  ]);
  expect(stage.connection.exchanges.size).toBe(0);
  expect(stage.seqs).toEqual(range(stage.seqs.length));

  // whoever dies, wherever in between, the next one says the same, once
  const inOrder = (lines: unknown[]): string[] => lines.map((line) => JSON.stringify(line)).toSorted();
  const all = stage.ledger.durable.length;
  for (let durable = 6; durable <= all; durable++) {
    const next = new Stage(compiled);
    next.ledger.durable.push(...stage.ledger.durable.slice(0, durable));
    next.tap.sent[0].push(...stage.tap.sent[0]);
    next.tap.sent[1].push(...stage.tap.sent[1]);
    const state = next.restart();
    for (const { connection, entry, index, lines } of state.unansweredRefusals) recordRefusal(entry, index, lines, false, connection, next.deps);
    next.settle();
    expect(next.tap.delivered, String(durable)).toEqual([range(3), [1]]);
    expect(told(next.tap).map(inOrder), String(durable)).toEqual(expected.map(inOrder));
    const said = next.messages().filter(({ origin }) => origin === 'sworn');
    expect(said.length, String(durable)).toBe(9);
    expect(next.connection.exchanges.size, String(durable)).toBe(0);
  }
});

test('a request without an id, or with one that is null, is refused without an answer', () => {
  const stage = new Stage(compiled);
  stage.send(0, '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete"}}');
  stage.send(0, '{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"delete"}}');
  // the id alone is reason enough
  stage.send(0, '{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"read"}}');
  stage.send(0, '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read"}}');
  stage.settle();
  expect(stage.messages().map(({ verdict, rule, origin }) => [verdict, rule, origin])).toEqual([
    ['block', 'no-delete', 'client'],
    ['block', 'sworn:ambiguous', 'client'],
    ['block', 'sworn:ambiguous', 'client'],
    ['pass', undefined, 'client'],
  ]);
  expect(stage.tap.delivered[0]).toEqual([4]);
  expect(stage.tap.written).toEqual([[], []]);
});

test('of a frame that is request and reply at once a disk that refuses takes everything back', () => {
  const stage = new Stage(compiled);
  stage.send(0, call(1, 'read'));
  stage.send(0, call(2, 'read'));
  stage.settle();
  const before = stage.connection.exchanges.toJSON();
  stage.send(1, '{"jsonrpc":"2.0","id":1,"method":"x","result":{}}');
  expect(stage.connection.exchanges.size).toBe(1);
  stage.ledger.fail();
  expect(stage.connection.exchanges.toJSON()).toEqual(before);
  expect([stage.tap.delivered[1], stage.tap.written.map(({ length }) => length)]).toEqual([[], [1, 1]]);
});

test.each(['receipt', 'verdict'] as const)('wait class %s: nothing from a refused unit on is passed before its refusal', (wait) => {
  const stage = new Stage(compiled, { mode: wait === 'receipt' ? 'commit' : 'observe' });
  stage.send(0, call(1, 'read'));
  stage.send(0, call(2, 'delete'));
  stage.send(0, call(3, 'read'));
  stage.send(0, call(4, 'delete'));
  stage.send(0, call(5, 'read'));
  expect(stage.tap.log).toEqual(wait === 'receipt' ? [] : ['pass 0 1']);
  // the second refusal is not durable yet
  stage.settle(6);
  expect(stage.tap.log.filter((line) => !line.startsWith('durable'))).toEqual(
    wait === 'receipt' ? ['pass 0 1', 'refuse 0 2', 'pass 0 3'] : ['pass 0 1', 'pass 0 1', 'refuse 0 2', 'pass 0 3'],
  );
  stage.settle();
  expect(stage.tap.log.filter((line) => line.startsWith('refuse'))).toEqual(['refuse 0 2', 'refuse 0 4']);
  expect(stage.tap.delivered[0]).toEqual([1, 3, 5]);
});

test('a disk that refuses takes everything back, and what policy refused is refused', () => {
  const stage = new Stage(compiled);
  stage.send(0, call('before', 'read'));
  stage.settle();
  const { exchanges, counts } = stage.connection;
  const before = { pending: exchanges.toJSON(), counts: { ...counts }, seq: stage.connection.seq };
  stage.send(0, call(1, 'read'));
  stage.send(0, call(2, 'delete'));
  stage.send(0, `[${call(3, 'read')},${call(3, 'watch')},${call(4, 'delete')},${call(5, 'read')}]`);
  stage.send(0, '{"jsonrpc":"2.0","method":"notifications/evil"}');
  stage.send(1, reply('before', 'secret'));
  stage.send(1, reply(1));
  stage.ledger.recordable = false;
  stage.ledger.fail();
  expect({ pending: exchanges.toJSON(), counts, seq: stage.connection.seq }).toEqual(before);
  expect(exchanges.size).toBe(1);
  expect(stage.tap.delivered).toEqual([[1], []]);
  const answers = stage.tap.written[1].map((line) => JSON.parse(line) as { id: unknown; error: { code: number; data: Record<string, unknown> } });
  expect(answers.map(({ id: of, error }) => [of, error.code])).toEqual([
    [1, 5030],
    [2, 4030],
    [3, 4030],
    [3, 4030],
    [4, 4030],
    [5, 4030],
    ['before', 4030],
    [1, 5030],
  ]);
  // there is no such entry
  for (const { error } of answers) expect(error.data).not.toHaveProperty('index');
  expect(stage.connection.losses?.lost).toEqual([4, 2]);
  // and the pairing still holds
  stage.ledger.recordable = true;
  stage.send(1, reply('before'));
  stage.settle();
  expect(stage.messages().at(-1)).toMatchObject({ type: 'result', exchange: 2, seq: 2 });
  expect(exchanges.size).toBe(0);
});

const unrecordable: [what: string, frame: string, passes: boolean][] = [
  ['a write', call(1, 'put'), false],
  ['a read by override', call(1, 'get'), true],
  ['a read by the server', call(1, 'look'), false],
  ['a read by the protocol', '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', true],
  ['a refused read', call(1, 'delete_get'), false],
  ['a write and a read', `[${call(1, 'put')},${call(2, 'get')}]`, false],
  ['a read and a write', `[${call(1, 'get')},${call(2, 'put')}]`, false],
  ['two reads', `[${call(1, 'get')},${call(2, 'get')}]`, true],
  ['a notification', '{"jsonrpc":"2.0","method":"notifications/x"}', false],
  ['a read without an id', '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"put"}}', false],
];
test.each(unrecordable)('onUnrecordable { default: block, read: pass }: %s', async (_what, frame, passes) => {
  const stage = new Stage(await compilePolicy(policyOf({ onUnrecordable: { default: 'block', read: 'pass' } })), {
    opened: { onUnrecordable: 'pass', overrides: { sensitive: [], write: ['put'], read: ['get', 'delete_get'] } },
  });
  expect(stage.connection.blocksUnrecordable).toBe(true);
  stage.send(0, '{"jsonrpc":"2.0","id":0,"method":"tools/list"}');
  stage.send(1, JSON.stringify({ jsonrpc: '2.0', id: 0, result: { tools: [{ name: 'look', annotations: { readOnlyHint: true } }] } }));
  stage.settle();
  stage.send(0, frame);
  stage.ledger.fail();
  stage.connection.answer();
  expect(stage.tap.delivered[0]).toEqual(passes ? [1, 2] : [1]);
});

const long = (name: string, sizeBytes: number, callId = 1): Buffer[] => {
  const head = `{"jsonrpc":"2.0","id":${callId},"method":"tools/call","params":{"name":"${name}","arguments":{"text":"`;
  const whole = Buffer.from(`${head}${'x'.repeat(sizeBytes - head.length - 4)}"}}}`);
  const pieces: Buffer[] = [];
  for (let at = 0; at < whole.length; at += unitBytes) pieces.push(whole.subarray(at, at + unitBytes));
  return pieces;
};

test.each([
  ['receipt', 'delete', judgeBytes, 'no-delete'],
  ['verdict', 'delete', judgeBytes, 'no-delete'],
  ['receipt', 'delete', judgeBytes + 1, 'sworn:too-large'],
  ['verdict', 'delete', judgeBytes + 1, 'sworn:too-large'],
  ['receipt', 'read', judgeBytes + 1, 'sworn:too-large'],
  ['verdict', 'read', judgeBytes + 3 * unitBytes, 'sworn:too-large'],
  ['receipt', 'read', judgeBytes, undefined],
  ['verdict', 'read', judgeBytes, undefined],
  ['verdict', 'delete', 2 * unitBytes + 5, 'no-delete'],
] as const)('%s: a call of %s with %i bytes', (wait, name, sizeBytes, ruleName) => {
  const stage = new Stage(compiled, { mode: wait === 'receipt' ? 'commit' : 'observe' });
  stage.send(0, call('before', 'read'));
  const pieces = long(name, sizeBytes);
  for (const [i] of pieces.entries()) {
    // the disk comes in between
    stage.settle();
    const sent = { direction: 0 as const, unit: i + 2, bytes: pieces[i]!, flags: held | (i < pieces.length - 1 ? moreUnits : 0) };
    stage.tap.sent[0].push(sent);
    stage.take(sent);
  }
  stage.send(0, call('after', 'read'));
  expect(stage.tap.delivered[0].filter((unit) => unit > 1 && unit <= 1 + pieces.length)).toEqual(
    ruleName === undefined && wait === 'verdict' ? pieces.map((_, i) => i + 2) : [],
  );
  stage.settle();
  const last = pieces.length + 1;
  expect(stage.tap.delivered[0]).toEqual(ruleName === undefined ? range(last + 1) : [1, last + 1]);
  const entry = stage.messages().find(({ id: of }) => of === '1');
  if (ruleName !== 'sworn:too-large') expect(entry).toMatchObject({ parts: pieces.length, tapSeq: last, sizeBytes });
  const refused = stage.messages().filter(({ verdict }) => verdict === 'block');
  expect(refused.map(({ rule }) => rule)).toEqual(ruleName === undefined ? [] : [ruleName]);
  if (ruleName !== undefined) expect(stage.tap.written[1].map((line) => (JSON.parse(line) as { id: number }).id)).toEqual([1]);

  // the recorder died before any of it was said
  const fresh = new ModelTap(wait);
  fresh.sent[0].push(...stage.tap.sent[0]);
  Object.assign(stage, { tap: fresh });
  stage.restart();
  stage.settle();
  expect(fresh.delivered[0]).toEqual(ruleName === undefined ? range(last + 1) : [1, last + 1]);
  expect(fresh.written[1].length).toBe(ruleName === undefined ? 0 : 1);
});

test('a long frame that the disk refuses is refused as a whole', () => {
  for (const name of ['delete', 'read']) {
    const stage = new Stage(compiled);
    stage.send(0, ...long(name, 3 * unitBytes));
    stage.ledger.fail();
    expect(stage.tap.delivered[0]).toEqual([]);
    expect(stage.tap.written[1].map((line) => (JSON.parse(line) as { error: { code: number } }).error.code)).toEqual([
      name === 'delete' ? 4030 : 5030,
    ]);
  }
});

test('a policy that comes into force: what is with its receiver is flagged, what is held is refused; what is long goes by its beginning', async () => {
  const none = await compilePolicy(policyOf({}, []));
  const stage = new Stage(none, { mode: 'observe', wait: 'none' });
  stage.send(0, call(1, 'delete'));
  // under way when the policy changes
  const underWay: Sent = { direction: 0, unit: 2, bytes: Buffer.from(call(2, 'delete')), flags: 0 };
  stage.tap.sent[0].push(underWay);
  stage.tap.pass(0, 2);
  stage.connection.raise('verdict');
  stage.connection.rule(compiled);
  stage.take(underWay);
  stage.send(0, call(3, 'delete'));
  stage.settle();
  expect(stage.messages().map(({ id: of, verdict, problem }) => [of, verdict, problem])).toEqual([
    ['1', 'pass', undefined],
    ['2', 'flag', 'delivered-before'],
    ['3', 'block', undefined],
    ['3', 'pass', undefined],
  ]);
  expect(stage.tap.delivered[0]).toEqual([1, 2]);
  expect(stage.tap.log.slice(0, 1)).toEqual(['wait verdict']);
});

test('what a tap read before its welcome is called held, and delivered all the same', async () => {
  const none = await compilePolicy(policyOf({}, []));
  const stage = new Stage(none, { mode: 'observe', wait: 'none' });
  const early: Sent = { direction: 0, unit: 1, bytes: Buffer.from(call(1, 'delete')), flags: held };
  const seenUs = stage.deps.clock.monotonicUs();
  stage.tap.sent[0].push(early);
  stage.tap.pass(0, 1);
  await new Promise((done) => setTimeout(done, 2));
  stage.connection.raise('verdict');
  stage.connection.rule(compiled);
  record({ ...early, stream: 0, delivered: [0, 0], seenUs }, stage.connection, stage.deps);
  await new Promise((done) => setTimeout(done, 2));
  stage.send(0, call(2, 'delete'));
  stage.settle();
  expect(stage.messages().map(({ verdict, problem }) => [verdict, problem])).toEqual([
    ['flag', 'delivered-before'],
    ['block', undefined],
    ['pass', undefined],
  ]);
});

test('a tap need not wait any more only when what is refused was refused', async () => {
  const none = await compilePolicy(policyOf({}, []));
  const stage = new Stage(compiled, { mode: 'observe' });
  stage.send(0, call(1, 'read'));
  stage.send(0, call(2, 'delete'));
  stage.send(0, call(3, 'read'));
  stage.connection.raise('none');
  stage.connection.rule(none);
  stage.send(0, call(4, 'delete'));
  expect(stage.tap.wait).toBe('verdict');
  expect(stage.tap.delivered[0]).toEqual([1]);
  // it comes back meanwhile
  stage.connection.attach(stage.tap.socket);
  expect(stage.connection.admit('none')).toBe('verdict');
  stage.settle();
  expect(stage.tap.wait).toBe('none');
  expect(stage.tap.delivered[0]).toEqual([1, 3, 4]);
  expect(stage.messages().map(({ id: of, verdict }) => [of, verdict])).toEqual([
    ['1', 'pass'],
    ['2', 'block'],
    ['2', 'pass'],
    ['3', 'pass'],
    ['4', 'pass'],
  ]);
  stage.connection.raise('verdict');
  stage.connection.rule(compiled);
  stage.send(0, ...long('delete', 2 * unitBytes).slice(0, 1), 'x');
  expect(stage.tap.wait).toBe('verdict');
});

test('a frame too long to be judged stays refused when nothing can be refused any more', async () => {
  const none = await compilePolicy(policyOf({}, []));
  const stage = new Stage(compiled, { mode: 'observe' });
  const pieces = long('read', judgeBytes + 2 * unitBytes);
  for (const [i, bytes] of pieces.entries()) {
    if (i === pieces.length - 1) {
      stage.connection.raise('none');
      stage.connection.rule(none);
    }
    const sent = { direction: 0 as const, unit: i + 1, bytes, flags: held | (i < pieces.length - 1 ? moreUnits : 0) };
    stage.tap.sent[0].push(sent);
    stage.take(sent);
  }
  stage.settle();
  expect(stage.tap.delivered[0]).toEqual([]);
  expect(stage.messages()[0]).toMatchObject({ verdict: 'block', rule: 'sworn:too-large' });
  expect(stage.tap.written[1]).toHaveLength(1);
  expect(stage.tap.wait).toBe('none');
});

test.each(['receipt', 'verdict'] as const)(
  '%s: a recorder that died after the entry was durable: the next one refuses before it welcomes, however many',
  (wait) => {
    const stage = new Stage(compiled, { mode: wait === 'receipt' ? 'commit' : 'observe' });
    const count = 6_000;
    for (let i = 1; i <= count; i++) stage.send(0, call(i, i % 3 === 0 ? 'read' : 'delete'));
    const silent = stage.tap.socket;
    stage.connection.attach({ write: () => undefined });
    stage.ledger.settle();
    stage.connection.attach(silent);
    // what was said to the dead tap's socket is lost
    const fresh = new ModelTap(wait);
    fresh.sent[0].push(...stage.tap.sent[0]);
    Object.assign(stage, { tap: fresh });
    stage.restart();
    expect(fresh.delivered[0]).toEqual(range(count).filter((i) => i % 3 === 0));
    expect(fresh.written[1].map((line) => (JSON.parse(line) as { id: number }).id)).toEqual(range(count).filter((i) => i % 3 !== 0));
    expect(fresh.log.findIndex((line) => line.startsWith('welcome'))).toBeGreaterThan(fresh.log.findLastIndex((line) => line.startsWith('refuse')));

    // and so does one that has only its snapshot
    const { opened, state } = JSON.parse(JSON.stringify(stage.connection)) as ReturnType<Connection['toJSON']>;
    const again = new ModelTap(wait);
    again.sent[0].push(...stage.tap.sent[0]);
    const restored = new Connection(opened, state, compiled);
    restored.attach(again.socket);
    again.pass(0, restored.settled[0]);
    expect(again.delivered[0]).toEqual(fresh.delivered[0]);
  },
);

test('more refusals than are kept: none of their units is ever taken for passed', () => {
  const stage = new Stage(compiled);
  const count = 20_000;
  for (let i = 1; i <= count; i++) stage.send(0, i % 5 === 0 ? call(i, 'read') : call(i, 'delete'));
  stage.ledger.settle();
  for (const connection of [stage.connection, new Connection(...restoredOf(stage.connection))]) {
    const tap = new ModelTap('receipt');
    tap.sent[0].push(...stage.tap.sent[0]);
    connection.attach(tap.socket);
    tap.pass(0, connection.settled[0]);
    expect(tap.delivered[0]).toEqual(range(count).filter((i) => i % 5 === 0));
    expect(tap.written[1].length).toBeGreaterThanOrEqual(8_000);
  }
});

function restoredOf(connection: Connection): [Opened, ReturnType<Connection['toJSON']>['state'], CompiledPolicy] {
  const { opened, state } = JSON.parse(JSON.stringify(connection)) as ReturnType<Connection['toJSON']>;
  return [opened, state, compiled];
}

test('a crash within the entries of a refused batch: every request of it is answered once', () => {
  const stage = new Stage(compiled);
  stage.send(0, `[${call(1, 'read')},${call(2, 'delete')},${call(3, 'read')}]`);
  // open, principal, the batch and its first item
  stage.ledger.settle(4);
  stage.restart();
  stage.settle();
  expect(stage.tap.delivered[0]).toEqual([]);
  expect(stage.tap.written[1].map((line) => (JSON.parse(line) as { id: number }).id)).toEqual([1, 2, 3]);
  expect(stage.messages().filter(({ batch, verdict }) => batch !== undefined && verdict === 'block')).toHaveLength(3);
});

test('counts, names and tools are the same behind a restart, whatever is stored', async () => {
  const traffic = (stage: Stage): void => {
    stage.send(0, '{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"clientInfo":{"name":"agent","version":"1"}}}');
    stage.send(0, call(1, 'get'));
    stage.send(1, reply(1));
    stage.send(0, call(2, 'delete'));
    stage.send(0, '{"jsonrpc":"2.0","method":"notifications/evil"}');
    stage.send(0, 'no JSON');
    stage.send(0, call(3, 'put'));
    stage.send(1, JSON.stringify({ jsonrpc: '2.0', id: 3, result: { isError: true, content: [] } }));
    stage.settle();
  };
  const opened = { overrides: { sensitive: ['get'], write: ['put'], read: ['get'] } };
  const counts = { calls: 2, reads: 1, writes: 1, sensitiveReads: 1, untrustedResults: 2, errors: 1, denied: 3 };
  for (const level of ['full', 'request', 'metadata'] as const) {
    const stage = new Stage(await compilePolicy(policyOf({ capture: { default: level, rules: [] } })), { opened });
    // the ledger keeps the overrides as an attribute of `open`
    const { openingOf } = stage.deps;
    stage.deps.openingOf = (connection) => ({ ...openingOf(connection), openAttributes: { overrides: opened.overrides } });
    traffic(stage);
    expect(stage.connection.counts, level).toEqual(counts);
    stage.restart();
    expect(stage.connection.counts, level).toEqual(counts);
  }
  const stage = new Stage(await compilePolicy(policyOf({ capture: { default: 'none', rules: [] } })), { opened });
  stage.send(0, '{"jsonrpc":"2.0","id":"t","method":"tools/list"}');
  stage.send(1, JSON.stringify({ jsonrpc: '2.0', id: 't', result: { tools: [{ name: 'drop', annotations: { readOnlyHint: false } }] } }));
  traffic(stage);
  expect(stage.connection.counts).toEqual(counts);
  // what is not stored is learnt all the same: rules go by it
  expect(stage.connection.judge.party.clientInfo?.name).toBe('agent');
  expect(stage.connection.tools.get('drop')).toMatchObject({ readOnlyHint: false });
});

test('freezes and what policy is in force are the same behind a restart', () => {
  const stage = new Stage(compiled);
  const { clock } = stage.deps;
  const text = (us: number): string => clock.text(us);
  const act = (entry: Partial<PolicyEntry>, attributes = {}): void => {
    const whole = { v: 1, kind: 'policy', time: text(clock.wallUs()), monotonicUs: 1, ...entry } as PolicyEntry;
    stage.ledger.append(seal(whole, attributes), { durable: () => undefined });
    stage.ledger.settle();
  };
  const freeze = (json: Record<string, unknown>): Partial<PolicyEntry> => {
    const read = readFreeze(json, Date.now());
    if (typeof read === 'string') throw new Error(read);
    return { act: 'freeze', ...freezeFields(read, text) };
  };
  const untilMs = Date.now() + 60_000;
  stage.send(0, call(1, 'read'));
  stage.settle();
  act({ act: 'load', digest: 'ab'.repeat(32), rules: 5 }, { text: 'policy: {}\n' });
  act(freeze({ server: 's', reason: 'stop', untilMs }));
  act(freeze({ all: true, session: 'ab' }));
  act({ act: 'rejected', digest: 'ab'.repeat(32) }, { problem: 'x' });
  act(freeze({ client: 'c', principal: '7' }));
  const first = stage.ledger.durable.findIndex(({ entry }) => entry.kind === 'policy' && entry.act === 'freeze');
  act({ act: 'unfreeze', freeze: first + 1 });
  const state = stage.restart();
  const expected = [
    { id: first, all: false, server: 's', reason: 'stop', untilMs },
    { id: first + 3, all: false, client: 'c', principal: '7' },
  ];
  expect(state.freezes).toEqual(expected);
  expect(state.policy).toEqual({ index: 3, digest: 'ab'.repeat(32), text: 'policy: {}\n' });
  expect(JSON.parse(State.capture(9, [stage.connection], [], state.freezes, state.policy)!)).toMatchObject({
    freezes: expected,
    policy: state.policy,
  });
  act({ act: 'unfreeze' });
  expect(stage.restart().freezes).toEqual([]);
  expect(applyFreeze(expected, { act: 'load' } as PolicyEntry, 3)).toEqual(expected);
});

const wrong: [json: Record<string, unknown>, says: RegExp][] = [
  [{ server: '' }, /^server is a text/],
  [{ client: 5 }, /^client is a text/],
  [{ reason: 'x'.repeat(300) }, /^reason is a text/],
  [{ session: 'xyz' }, /^session is/],
  [{ untilMs: 5 }, /^until is/],
  [{ untilMs: 'soon' }, /^until is/],
];
test.each(wrong)('a freeze %j is refused', (json, says) => expect(readFreeze(json, 1_000)).toMatch(says));

test('a freeze is in force from the next frame on', () => {
  const stage = new Stage(compiled);
  stage.send(0, call(1, 'read'));
  Object.assign(stage.deps, { freezes: [{ id: 4, all: false, reason: 'stop' }] });
  stage.send(0, call(2, 'read'));
  stage.send(0, '{"jsonrpc":"2.0","id":3,"method":"tools/list"}');
  stage.send(0, '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read"}}');
  stage.send(1, reply(1));
  Object.assign(stage.deps, { freezes: [] });
  stage.send(0, call(5, 'read'));
  stage.settle();
  expect(stage.tap.delivered).toEqual([[1, 3, 5], [1]]);
  expect(stage.messages().filter(({ verdict }) => verdict === 'block')).toMatchObject([
    { rule: 'sworn:freeze', reason: 'stop' },
    { rule: 'sworn:freeze', type: 'notification' },
  ]);
});

// ── whatever comes, and whoever dies ──

type Step =
  | { do: 'send'; direction: DirectionIndex; frame: number; units: number }
  | { do: 'settle'; count: number }
  | { do: 'fail' | 'restart' | 'snapshot' | 'reconnect' };

const frames: [text: (n: number) => string, direction: DirectionIndex, isRefused: boolean][] = [
  [(n) => call(n, 'read'), 0, false],
  [(n) => call(n, 'delete'), 0, true],
  [(n) => call(`t${n}`, 'DELETE_\u0430ll'), 0, true],
  [(n) => `[${call(n, 'read')},${call(`b${n}`, 'delete')}]`, 0, true],
  [(n) => `[${call(n, 'read')},${call(`b${n}`, 'watch')}]`, 0, false],
  [(n) => `{"jsonrpc":"2.0","method":"notifications/evil","params":{"n":${n}}}`, 0, true],
  [(n) => `{"jsonrpc":"2.0","method":"notifications/fine","params":{"n":${n}}}`, 0, false],
  [(n) => `{"jsonrpc":"2.0","id":${n},"method":"tools/call","params":{"name":"read","Name":"delete"}}`, 0, true],
  [(n) => `{"jsonrpc":"2.0","id":${n},"method":"x","params":{"a":NaN}}`, 0, true],
  [(n) => `nothing ${n}`, 1, true],
  [(n) => `{"jsonrpc":"2.0","id":"s${n}","method":"sampling/createMessage"}`, 1, false],
  [(n) => `{"jsonrpc":"2.0","method":"notifications/message","params":{"n":${n}}}`, 1, false],
];

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      direction: fc.constant(0 as const),
      frame: fc.nat(frames.length - 1),
      units: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('settle' as const), count: fc.nat(12) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('fail' as const, 'restart' as const, 'snapshot' as const, 'reconnect' as const) }) },
);

test.each(['commit', 'observe'] as const)('%s: what is forwarded is what came or nothing, and nothing of what is refused, whoever dies', (mode) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
      const stage = new Stage(compiled, { mode });
      const mayPass: [Set<number>, Set<number>] = [new Set(), new Set()];
      stage.send(0, '{"jsonrpc":"2.0","id":"i","method":"initialize"}');
      mayPass[0].add(1);
      stage.settle();
      for (const [n, one] of steps.entries()) {
        if (one.do === 'send') {
          const [textOf, direction, isRefused] = frames[one.frame]!;
          const bytes = Buffer.from(textOf(n));
          const size = Math.ceil(bytes.length / one.units);
          const pieces = Array.from({ length: one.units }, (_, i) => bytes.subarray(i * size, (i + 1) * size)).filter(({ length }) => length > 0);
          const first = stage.tap.sent[direction].length + 1;
          if (!isRefused) for (let i = 0; i < pieces.length; i++) mayPass[direction].add(first + i);
          stage.send(direction, ...pieces);
        } else if (one.do === 'settle') stage.settle(one.count);
        else if (one.do === 'fail') {
          stage.ledger.fail();
          stage.connection.answer();
        } else if (one.do === 'restart') stage.restart();
        else if (one.do === 'snapshot') {
          stage.settle();
          if (stage.connection.long.some((long) => long !== undefined)) continue;
          stage.connection = new Connection(...restoredOf(stage.connection));
          stage.connection.wait = stage.tap.wait;
          stage.connection.attach(stage.tap.socket);
        } else {
          stage.connection.attach(stage.tap.socket);
          stage.connection.admit(stage.tap.wait);
        }
      }
      stage.settle();
      for (const direction of [0, 1] as const) {
        const { delivered } = stage.tap;
        expect(delivered[direction].filter((unit) => !mayPass[direction].has(unit))).toEqual([]);
        expect(delivered[direction]).toEqual([...new Set(delivered[direction])].toSorted((a, b) => a - b));
      }
      // whole frames only
      const ends = stage.tap.delivered[0].map((unit) => stage.tap.sent[0][unit - 1]!);
      for (const [i, { unit, flags }] of ends.entries()) if ((flags & moreUnits) !== 0) expect(ends[i + 1]?.unit).toBe(unit + 1);
      const answered = stage.tap.written[1].map((line) => (JSON.parse(line) as { id: unknown }).id);
      expect(answered.length).toBe(new Set(answered).size);
    }),
    { numRuns: 400 },
  );
});
