import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { hookRemembered, hookToleranceS } from '../limits.ts';
import { signed, SignedBodies } from './signature.ts';

const secret = 'a secret of a webhook';
let nowMs = 1_795_000_000_000;
const bodies = (): SignedBodies =>
  new SignedBodies(
    () => secret,
    () => nowMs,
  );

test('the signature is what the format says, and counts once', () => {
  const header = signed(secret, '{"a":1}', nowMs);
  const at = Math.floor(nowMs / 1000);
  expect(header).toBe(`t=${at},v1=${createHmac('sha256', secret).update(`${at}.{"a":1}`).digest('hex')}`);
  const of = bodies();
  expect(of.take(header, '{"a":1}')).toBe('ok');
  expect(of.take(header, '{"a":1}')).toBe('again');
  // what could not be acted on may come again
  of.forget(header);
  expect(of.take(header, '{"a":1}')).toBe('ok');
});

test('another body, time, secret or form is wrong', () => {
  const of = bodies();
  const header = signed(secret, 'x', nowMs);
  expect(of.take(header, 'y')).toBe('wrong');
  expect(of.take(signed(`${secret}!`, 'x', nowMs), 'x')).toBe('wrong');
  expect(of.take(header.replace(/^t=\d/, 't=2'), 'x')).toBe('wrong');
  for (const odd of [undefined, '', 'v1=00', header.toUpperCase(), `${header},v1=0`, header.slice(0, -1), `${header}\n`])
    expect(of.take(odd, 'x')).toBe('wrong');
  expect(of.take(header, 'x')).toBe('ok');
});

test('it counts for five minutes on either side, and is remembered as long', () => {
  const of = bodies();
  const old = signed(secret, 'x', nowMs - (hookToleranceS + 1) * 1_000);
  const early = signed(secret, 'x', nowMs + (hookToleranceS + 1) * 1_000);
  expect([of.take(old, 'x'), of.take(early, 'x')]).toEqual(['old', 'old']);
  // one from a clock that is ahead could come again when ours has got there
  const ahead = signed(secret, 'x', nowMs + hookToleranceS * 1_000);
  expect(of.take(ahead, 'x')).toBe('ok');
  nowMs += 2 * hookToleranceS * 1_000;
  expect(of.take(ahead, 'x')).toBe('again');
  nowMs += 1_000;
  expect(of.take(ahead, 'x')).toBe('old');
});

test('more than are remembered are refused, not forgotten', () => {
  const of = bodies();
  for (let i = 0; i < hookRemembered; i++) expect(of.take(signed(secret, String(i), nowMs), String(i))).toBe('ok');
  expect(of.take(signed(secret, 'more', nowMs), 'more')).toBe('full');
  expect(of.take(signed(secret, '0', nowMs), '0')).toBe('again');
  nowMs += (2 * hookToleranceS + 1) * 1_000;
  expect(of.take(signed(secret, 'more', nowMs), 'more')).toBe('ok');
});
