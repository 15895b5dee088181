import { expect, test } from 'vitest';
import type { Entry } from '../entry/entry.ts';
import { holdOn, Parties } from './hold.ts';

const connection = 'a'.repeat(32);
const entry = (kind: Entry['kind'], fields: object = {}): Entry =>
  ({ v: 1, kind, time: '2026-11-20T00:00:00.000000Z', monotonicUs: 1, connection, ...fields }) as Entry;
const message = (who?: number): Entry => entry('message', who === undefined ? {} : { who });

test('over HTTP a subject is behind its own messages alone, and what names the connection behind all of them', () => {
  const parties = new Parties();
  parties.take(entry('open', { server: 'hr', labels: { team: 'red' } }), 1, {});
  const alice = entry('principal', { source: 'verified', reportedBy: 'proxy', uid: 7 });
  parties.take(alice, 2, {
    verified: { subject: 'alice', act: [{ subject: 'assistant' }], also: [{ subject: 'gateway' }] },
    declared: { userAgent: 'bob' },
  });
  parties.take(entry('principal', { source: 'verified', reportedBy: 'proxy' }), 3, { verified: { subject: 'bob' } });
  parties.take(entry('principal', { source: 'declared', reportedBy: 'proxy', unbelieved: true }), 4, {
    declared: { verified: { subject: 'carol' } },
  });
  const behind = (one: Entry, index: number): string[] => [...(parties.of(one, index)?.names ?? [])].toSorted();
  expect(behind(message(2), 10)).toEqual(['alice', 'assistant', 'gateway', 'red', 'team=red', 'uid=7']);
  expect(behind(alice, 2)).toEqual(behind(message(2), 10));
  expect(behind(message(3), 11)).toEqual(['bob', 'red', 'team=red']);
  // what is only declared is no subject
  expect(behind(message(4), 12)).toEqual(['red', 'team=red']);
  expect(behind(message(), 13)).toEqual(['red', 'team=red']);
  expect(behind(entry('close'), 14)).toEqual(['red', 'team=red']);
  const held = (subject: string, one: Entry, index: number): boolean => holdOn([{ id: 1, subject }], one, parties.of(one, index)) !== undefined;
  expect([held('alice', message(2), 10), held('alice', message(3), 11), held('alice', entry('close'), 14)]).toEqual([true, false, false]);
  expect([held('team=red', message(3), 11), held('carol', message(4), 12)]).toEqual([true, false]);
  expect(holdOn([{ id: 1, server: 'h?' }], message(3), parties.of(message(3), 11))).toBeDefined();
});

test('on stdio whoever the recorder saw is behind the whole connection', () => {
  const parties = new Parties();
  parties.take(entry('open', { server: 'hr' }), 1, {});
  parties.take(entry('principal', { source: 'observed', uid: 1000 }), 2, { user: 'alice' });
  for (const [one, index] of [
    [message(2), 3],
    [entry('close'), 4],
    [entry('open'), 1],
  ] as const)
    expect([...parties.of(one, index)!.names]).toEqual(['uid=1000', 'alice']);
  expect(parties.of({ v: 1, kind: 'start' } as Entry, 0)).toBeUndefined();
});
