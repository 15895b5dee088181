import { afterEach, beforeEach, expect, test } from 'vitest';
import { connection, open, place, secondConnection, Writer, type Place } from '../../test/reading/fixture.ts';
import { logCommand } from './log.ts';
import { headline } from './rows.ts';

let at: Place;
beforeEach(() => {
  at = place();
});
afterEach(() => at.remove());

const screen = { text: '', out: (text: string) => void (screen.text += text), err: () => undefined, isTTY: false, color: false, columns: 160 };
beforeEach(() => {
  screen.text = '';
});

function messages(writer: Writer, count: number): void {
  for (let i = 1; i <= count; i++) {
    writer.message('c2s', { type: 'notification', method: `m/${i}`, era: 'legacy' }, `{"jsonrpc":"2.0","method":"m/${i}"}`);
  }
}

test('a headline claims no strong custody of entries that were not looked at', async () => {
  const writer = new Writer(at, '2026-01-01T00:00:00Z');
  open(writer, connection, 'fs', 'separate-user');
  messages(writer, 300);
  await writer.settled();
  expect(await headline(at.ledger, screen)).toMatch(/· custody separate-user\n[^\n]*neither read nor alter the record\n$/);
  open(writer, secondConnection, 'fs', 'same-user');
  messages(writer, 100);
  await writer.settled();
  // among the newest
  expect(await headline(at.ledger, screen)).toContain('· custody same-user\n');
  messages(writer, 300);
  await writer.close();
  expect(await headline(at.ledger, screen)).toMatch(
    /· custody separate-user\n.*\n {2}so say those of its first and newest 256 entries that do; sworn verify looks at all\n$/s,
  );
});

test('where no entry that was looked at names a custody, none is claimed', async () => {
  const writer = new Writer(at, '2026-01-01T00:00:00Z');
  messages(writer, 300);
  open(writer, connection, 'fs', 'same-user');
  messages(writer, 300);
  await writer.close();
  expect(await headline(at.ledger, screen)).toMatch(/\n {2}custody: none of its first and newest 256 entries says; sworn verify looks at all\n$/);
});

test('whom a proxy names stands in the log, and a few of very many', async () => {
  const writer = new Writer(at, '2026-01-01T00:00:00Z');
  open(writer, connection, 'fs');
  for (let i = 1; i <= 102; i++) {
    writer.entry(
      { kind: 'principal', connection, source: 'declared', reportedBy: 'proxy', unbelieved: true },
      { declared: { observed: { address: `10.0.0.${i}` } } },
    );
  }
  await writer.close();
  expect(await logCommand({ ledger: [at.ledger] }, screen)).toBe(0);
  const named = [...screen.text.matchAll(/client (.*)$/gm)].map(([, words]) => words);
  expect(named[0]).toBe('10.0.0.1 (declared, the proxy is not trusted to say so)');
  expect(named[99]).toBe('10.0.0.100 (declared, the proxy is not trusted to say so)');
  expect(named[101]).toBe('(declared, the proxy is not trusted to say so)');
});
