import { expect, it } from 'vitest';
import { readRefusal, wireType } from '../wire/wire.ts';
import { Connection, type Opened } from './connection.ts';

const opened: Opened = {
  connection: 'ab'.repeat(16),
  server: 's',
  mode: 'commit',
  onUnrecordable: 'block',
  custody: 'same-user',
  overrides: { sensitive: [], write: [], read: [] },
  tokenDigest: '',
};

it('tells a tap that comes back what it refused, since the tap may never have read it', () => {
  const connection = new Connection(opened);
  connection.attach({ write: () => undefined });
  connection.settle(0, 1);
  connection.refuse({ direction: 0, unit: 2, toSender: Buffer.from('no\n'), toReceiver: Buffer.alloc(0) });
  expect(connection.settled[0]).toBe(2);
  const written: Buffer[] = [];
  connection.attach({ write: (bytes) => written.push(bytes) });
  expect(written.map((message) => message[4])).toEqual([wireType.refuse]);
  expect(readRefusal(written[0]!.subarray(5))).toMatchObject({ direction: 0, unit: 2, toSender: Buffer.from('no\n') });
});
