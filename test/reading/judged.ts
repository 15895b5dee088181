/** A ledger as `record()` writes it under a policy: blocked, flagged, redacted, not captured; and what is said of the policy itself. */
import { compilePolicy } from '../../src/policy/judge.ts';
import { noPolicy, type Policy } from '../../src/policy/policy.ts';
import { Clock } from '../../src/recorder/clock.ts';
import { Connection } from '../../src/recorder/connection.ts';
import { difference } from '../../src/recorder/control.ts';
import { record } from '../../src/recorder/record.ts';
import type { RecordDeps } from '../../src/recorder/record-deps.ts';
import { secondConnection, type Writer } from './fixture.ts';

/** A clock that stands still unless the writer lets time pass. */
class WriterClock extends Clock {
  readonly #writer: Writer;

  constructor(writer: Writer) {
    super();
    this.#writer = writer;
  }

  override monotonicUs(): number {
    return this.#writer.nowUs % 1e12;
  }

  override wallUs(): number {
    return this.#writer.nowUs;
  }
}

const rules: Policy = {
  ...noPolicy,
  redact: [{ name: 'redact', keys: ['password', 'pin', 'token'], paths: [], detect: [], keep: 'drop' }],
  capture: {
    default: 'full',
    rules: [
      { method: ['ping'], level: 'none' },
      { method: ['resources/read'], level: 'metadata' },
      { tool: ['get_report'], level: 'request' },
    ],
  },
  policy: {
    default: 'allow',
    rules: [
      {
        name: 'no-drops',
        action: 'deny',
        on: ['request'],
        tool: ['query'],
        when: 'args.sql.matches("(?i)drop table")',
        reason: 'Destructive SQL is blocked',
        enforce: true,
      },
      { name: 'no-exfil', action: 'deny', on: ['request'], tool: ['send_mail'], reason: 'nothing leaves', enforce: false },
      { name: 'hide-keys', action: 'deny', on: ['result'], tool: ['list_env'], enforce: true },
    ],
  },
};

/** What the policy of `judged` looks like to people; the second one is an edit of it. */
const firstText = 'redact: { keys: [password, pin, token] }\npolicy:\n  rules:\n    - { name: no-drops, deny: true }\n';
const secondText = 'redact: { keys: [password, pin, token] }\npolicy:\n  default: allow\n  rules:\n    - { name: no-drops, deny: true } # \u202e\n';

export type Judged = Record<
  'rejected' | 'loaded' | 'freeze' | 'blocked' | 'login' | 'flagged' | 'withheld' | 'metadata' | 'frozen' | 'batch' | 'late' | 'close',
  number
>;

/** Fills a ledger; the indexes of entries that tests ask for. */
export async function judged(writer: Writer): Promise<Judged> {
  const { ledger } = writer;
  const index: Partial<Judged> = {};
  const by = { uid: 1000, pid: 77 };
  const digest = '1a2b3c4d'.repeat(8);
  const path = '/home/ada/.config/sworn/sworn.yaml';
  writer.entry({
    kind: 'start',
    ledger: ledger.id,
    origin: ledger.origin,
    vkey: ledger.key.vkey,
    recorder: { version: '0.1.0', uid: 1000, pid: 40 },
    bootId: 'b',
  });
  writer.entry({ kind: 'policy', act: 'load', digest: '99ff0011'.repeat(8), rules: 1 }, { path, text: firstText });
  const edit = { path, text: secondText, diff: difference(firstText, secondText) };
  index.loaded = writer.entry({ kind: 'policy', act: 'load', digest, previous: '99ff0011'.repeat(8), rules: 3, by, selfAdministered: true }, edit);
  index.rejected = writer.entry({ kind: 'policy', act: 'rejected', digest, by }, { problem: `${path}:3:9: \u001b[2J is no field`, path });
  const connection = new Connection(
    {
      connection: secondConnection,
      server: 'db',
      mode: 'commit',
      onUnrecordable: 'block',
      custody: 'same-user',
      overrides: { sensitive: [], write: ['send_mail'], read: ['list_env', 'get_report'] },
      tokenDigest: '0'.repeat(64),
    },
    undefined,
    await compilePolicy(rules),
  );
  const common = () => ({ v: 1 as const, time: new Clock().text(writer.nowUs), monotonicUs: writer.nowUs % 1e12, connection: secondConnection });
  const deps: RecordDeps & { freezes: RecordDeps['freezes'] } = {
    ledger,
    clock: new WriterClock(writer),
    freezes: [],
    findKey: () => Buffer.alloc(32, 7),
    searcher: { search: (redactor, bytes, known, isJson, done) => done(redactor.ranges(bytes, 0, known, isJson)) },
    openingOf: () => ({
      open: {
        ...common(),
        kind: 'open',
        transport: 'stdio',
        server: 'db',
        mode: 'commit',
        onUnrecordable: 'block',
        custody: 'same-user',
        tap: { uid: 1000, source: 'SO_PEERCRED' },
        policyDigest: digest,
      },
      openAttributes: {},
      principal: { ...common(), kind: 'principal', source: 'observed', uid: 1000 },
      principalAttributes: {},
    }),
  };
  const units: [number, number] = [0, 0];
  const delivered: [number, number] = [0, 0];
  /** The index of the frame's first entry. */
  const take = (direction: 0 | 1, message: unknown): number => {
    writer.wait(2);
    const before = units[0] === 0 && direction === 0 ? 2 : 0;
    const first = ledger.nextIndex + before;
    const bytes = Buffer.from(typeof message === 'string' ? message : JSON.stringify(message));
    const unit = ++units[direction];
    record({ direction, flags: 0, stream: 0, unit, delivered: [...delivered], seenUs: writer.nowUs % 1e12, bytes }, connection, deps);
    delivered[direction] = unit;
    return first;
  };
  const call = (id: number, name: string, args: object) => take(0, { jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } });
  const result = (id: number, text: string) => take(1, { jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } });

  index.blocked = call(1, 'query', { sql: 'DROP TABLE staff' });
  index.login = call(2, 'login', { user: 'zoë ▒▒▒ redacted 9 B ▒▒▒', password: 'hunter2', pin: 4711 });
  result(2, 'welcome');
  index.flagged = call(3, 'send_mail', { to: 'x@example.com' });
  result(3, 'sent');
  call(4, 'list_env', {});
  index.withheld = result(4, 'KEY=value');
  index.metadata = take(0, { jsonrpc: '2.0', id: 5, method: 'resources/read', params: { uri: 'file:///etc/motd' } });
  take(1, { jsonrpc: '2.0', id: 5, result: { contents: [] } });
  call(6, 'get_report', { year: 2026 });
  result(6, 'secret figures');
  take(0, { jsonrpc: '2.0', id: 7, method: 'ping' });
  take(1, { jsonrpc: '2.0', id: 7, result: {} });
  index.batch = take(0, [
    { jsonrpc: '2.0', id: 8, method: 'tools/list' },
    { jsonrpc: '2.0', id: 9, method: 'tools/call', params: { name: 'query', arguments: { sql: 'drop table x', token: 'abcdef' } } },
  ]);
  const until = '2026-11-22T08:00:00.000000Z';
  index.freeze = writer.entry({ kind: 'policy', act: 'freeze', server: 'db', reason: 'code freeze', until, by, selfAdministered: true });
  (deps as { freezes: RecordDeps['freezes'] }).freezes = [{ id: index.freeze, server: 'db', all: false, reason: 'code freeze' }];
  index.frozen = call(10, 'write_row', { row: 1 });
  (deps as { freezes: RecordDeps['freezes'] }).freezes = [];
  writer.entry({ kind: 'policy', act: 'unfreeze', freeze: index.freeze, by });
  writer.entry({ kind: 'policy', act: 'unfreeze', by });
  index.late = call(11, 'slow', {});
  take(0, { jsonrpc: '2.0', id: 12, method: 'ping' });
  index.close = writer.entry({
    kind: 'close',
    connection: secondConnection,
    reason: 'client closed',
    frames: { c2s: units[0], s2c: units[1] },
    delivered: [...units],
    uncaptured: [...connection.uncaptured],
  });
  await writer.settled();
  return index as Judged;
}
