/** What benchmarks of `record` share: a conversation that was opened, before a ledger that writes nothing, so that only what the recorder does is measured. */
import type { Content, Ledger, Waiter } from '../src/ledger/ledger.ts';
import type { CompiledPolicy } from '../src/policy/judge.ts';
import { Clock } from '../src/recorder/clock.ts';
import { Connection, type Opened } from '../src/recorder/connection.ts';
import type { RecordDeps } from '../src/recorder/record-deps.ts';

/** Each entry is durable as soon as it was accepted. */
class NoLedger {
  nextIndex = 0;
  recordable = true;

  append(_: Content, waiter: Waiter): void {
    this.nextIndex++;
    waiter.durable(undefined);
  }

  follow(waiter: Waiter): void {
    waiter.durable(undefined);
  }
}

export function openedConnection(compiled: CompiledPolicy, observed?: Opened['observed']): Connection {
  const connection = new Connection(
    {
      connection: 'b'.repeat(32),
      server: 'bench',
      mode: 'commit',
      onUnrecordable: 'block',
      custody: 'same-user',
      overrides: { sensitive: [], write: [], read: [] },
      tokenDigest: '0'.repeat(64),
      ...(observed === undefined ? {} : { observed }),
    },
    undefined,
    compiled,
  );
  connection.isRecorded = true;
  connection.who = 0;
  return connection;
}

export function depsWithout(ledger: object = new NoLedger(), clock = new Clock()): RecordDeps {
  return {
    ledger: ledger as Ledger,
    clock,
    freezes: [],
    findKey: () => Buffer.alloc(32),
    searcher: { search: (redactor, bytes, known, isJson, done) => done(redactor.ranges(bytes, 0, known, isJson)) },
    openingOf: () => {
      throw new Error('it is open');
    },
  };
}
