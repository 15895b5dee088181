import { expect, test } from 'vitest';
import type { Pending } from '../recorder/approval-question.ts';
import { Screen } from './approvals-screen.ts';
import { argumentsOf } from './approvals-words.ts';
import { widthOf, type Output } from './output.ts';

const output: Output = { out: () => undefined, err: () => undefined, isTTY: true, color: false, columns: 60 };
const at = Date.parse('2026-11-22T00:00:10Z');

const pending = (request: number, more: Partial<Pending> = {}): Pending => ({
  request,
  connection: 'c0'.repeat(16),
  server: 'bank',
  method: 'tools/call',
  tool: 'pay',
  effect: 'write',
  rule: 'pay',
  askedAt: '2026-11-22T00:00:00.000000Z',
  deadline: '2026-11-22T00:05:00.000000Z',
  sizeBytes: 40,
  commitment: `${request}`,
  shown: JSON.stringify({ method: 'tools/call', params: { name: 'pay', arguments: { to: `n${request}` } } }),
  ...more,
});

function screenOf(...requests: Pending[]): Screen {
  const screen = new Screen('/ledger');
  screen.update(requests, requests.length, at - 1_000);
  return screen;
}

const text = (screen: Screen, nowMs = at): string => screen.lines(output, 30, nowMs).join('\n');

test('the queue, and all that is known of the chosen one', () => {
  const screen = screenOf(
    pending(41, { reason: 'money leaves', client: 'claude', principal: 'uid 1000', destructive: true, selfOnly: true }),
    pending(42),
  );
  expect(screen.wanted?.request).toBe(41);
  screen.tellEarlier(41, [{ index: 38, name: 'look', outcome: 'ok' }]);
  expect(screen.wanted).toBeUndefined();
  expect(screen.lines(output, 26, at).map((line) => line.trimEnd())).toEqual([
    'sworn approvals · 2 requests wait · /ledger',
    '›      41  bank/pay            write, destructive  4 m 50 s',
    '       42  bank/pay            write               4 m 50 s',
    '─'.repeat(60),
    'bank/pay',
    'rule  pay: money leaves',
    'does  write, destructive',
    'from  claude, uid 1000, connection c0c0c0c0, 10 s ago; denie',
    '    d by itself in 4 m 50 s',
    'you decide with the agent’s own account: it could do so itse',
    '    lf, and the record says that',
    '',
    'what it is given',
    '  {',
    '    "to": "n41"',
    '  }',
    '',
    'before, in this session',
    '       38  look  ok',
    '',
    '',
    '',
    '',
    '',
    '',
    'a approve · d deny · D deny with a reason · ↑↓ choose · spa…',
  ]);
});

test('one key decides, on what stood there long enough, and once', () => {
  const screen = screenOf(pending(41), pending(42), pending(43));
  expect(screen.key('a', at)).toMatchObject({ act: 'decide', decision: 'approved', pending: { request: 41 } });
  expect(screen.key('a', at)).toBeUndefined();
  screen.update([pending(41), pending(42), pending(43)], 3, at);
  expect(text(screen)).toContain('›      42');
  // it has just moved under the key
  expect(screen.key('d', at + 100)).toBeUndefined();
  expect(screen.key('d', at + 500)).toMatchObject({ decision: 'denied', pending: { request: 42 } });
  // the other end says that it could not be stored: it is there again
  screen.undecided(42);
  screen.update([pending(42), pending(43)], 2, at + 600);
  expect(text(screen)).toContain('42  bank/pay');
  expect(screen.key('q', at)).toEqual({ act: 'leave' });
  expect(screen.key('\u0003', at)).toEqual({ act: 'leave' });
});

test('what goes takes the keys that were meant for it with it', () => {
  const screen = screenOf(pending(41), pending(42));
  screen.key('D', at);
  for (const key of 'no a') screen.key(key, at);
  expect(text(screen)).toContain('why? no a▏');
  screen.update([pending(42)], 1, at);
  expect(text(screen)).not.toContain('why?');
  expect(screen.key('\r', at)).toBeUndefined();
  screen.key('D', at + 1_000);
  for (const key of ['n', 'o', 'x', '\u007f', '\u001b[A']) screen.key(key, at + 1_000);
  expect(screen.key('\r', at + 1_000)).toEqual({ act: 'decide', pending: pending(42), decision: 'denied', reason: 'no' });
  expect(text(screen)).toContain('waits');
});

test('arrows choose, long content scrolls, and nothing of it is left out', () => {
  const long = pending(42, {
    shown: JSON.stringify({
      params: { arguments: { list: Array.from({ length: 60 }, (_, i) => `item ${i} 漢字漢字漢字漢字漢字漢字漢字漢字漢字`) } },
    }),
  });
  const screen = screenOf(pending(41), long);
  screen.key('\u001b[B', at);
  screen.key('\u001b[B', at);
  expect(text(screen)).toContain('›      42');
  let seen = '';
  for (let i = 0; i < 30; i++) {
    const lines = screen.lines(output, 24, at);
    expect(lines.length).toBe(24);
    for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(60);
    seen += lines.join('\n');
    screen.key(' ', at);
  }
  for (let i = 0; i < 60; i++) expect(seen).toContain(`item ${i} `);
  screen.key('\u001b[A', at);
  expect(text(screen)).toContain('›      41');
});

test('what strangers wrote moves nothing', () => {
  const harmful = '\u001b[2J\u202eevil\r\n';
  const screen = screenOf(
    pending(41, { tool: harmful, client: harmful, rule: harmful, reason: harmful, shown: '{"params":{"arguments":{"a":"\\u001b[2J"}}}' }),
  );
  screen.tellEarlier(41, [{ index: 1, name: harmful, outcome: harmful }]);
  screen.say(harmful);
  for (const line of screen.lines(output, 30, at)) expect(line).not.toMatch(/[\u0000-\u001f\u202e]/);
  expect(screen.lines(output, 30, at).length).toBe(30);
});

test('what cannot be shown is said', () => {
  expect(text(screenOf(pending(41, { shown: '' })))).toContain('its content is not stored');
  expect(argumentsOf(pending(41, { shown: '{"params":{"arg', isCut: true }))).toBe('{"params":{"arg…');
  expect(text(screenOf())).toContain('nothing waits for you');
});

test('what was decided meanwhile is looked for anew: it is what the session did before', () => {
  const screen = screenOf(pending(41), pending(42));
  screen.tellEarlier(41, []);
  expect(screen.wanted).toBeUndefined();
  // somebody decides on the other one
  screen.update([pending(41)], 1, at);
  expect(screen.wanted?.request).toBe(41);
  // and one that was decided here
  const own = screenOf(pending(41), pending(42));
  expect(own.key('a', at)).toMatchObject({ act: 'decide', pending: { request: 41 } });
  own.update([pending(41), pending(42)], 2, at);
  own.tellEarlier(42, [{ index: 41, name: 'pay', outcome: 'waits, too' }]);
  own.update([pending(42)], 1, at + 100);
  expect(own.wanted?.request).toBe(42);
});
