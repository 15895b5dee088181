import { expect, test } from 'vitest';
import { dashboardFailures, dashboardRequests, dashboardSessionMs, dashboardSessions } from '../limits.ts';
import { readTokens, Viewers } from './viewers.ts';

const token = 'a'.repeat(32);
let nowMs = 0;
const viewers = (): Viewers => new Viewers(9090, [token], () => nowMs);

function cookieOf(setCookie: string | undefined): string {
  expect(setCookie).toMatch(/^sworn-9090=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/; Max-Age=43200$/);
  return setCookie!.split(';')[0]!;
}

test('a token that was issued lets one in, once', () => {
  const of = viewers();
  const issued = of.issue();
  expect(of.exchange(`${issued}x`)).toBeUndefined();
  const cookie = cookieOf(of.exchange(issued));
  expect(of.exchange(issued)).toBeUndefined();
  const admitted = of.admit(`other=1; ${cookie}`, undefined);
  expect(admitted).toMatchObject({ viewer: { how: 'dashboard', id: expect.stringMatching(/^[0-9a-f]{16}$/) as string } });
  // each login has a name of its own
  expect(of.admit(cookieOf(of.exchange(of.issue())), undefined)).not.toEqual(admitted);
});

test('what is no cookie of ours, or of another port, is nobody', () => {
  const of = viewers();
  const cookie = cookieOf(of.exchange(of.issue()));
  for (const odd of [undefined, '', 'sworn-9090', 'sworn-9090=', cookie.replace('9090', '9091'), cookie.slice(0, -1), `${cookie}x`, '=;=;;'])
    expect(of.admit(odd, undefined)).toBe('unknown');
});

test('a login ends, and of too many the oldest does', () => {
  const of = viewers();
  const first = cookieOf(of.exchange(of.issue()));
  expect(of.admit(first, undefined)).toHaveProperty('viewer');
  nowMs += dashboardSessionMs;
  expect(of.admit(first, undefined)).toBe('unknown');
  const cookies = Array.from({ length: dashboardSessions + 1 }, () => cookieOf(of.exchange(of.issue())));
  expect(of.admit(cookies[0], undefined)).toBe('unknown');
  expect(of.admit(cookies[1], undefined)).toHaveProperty('viewer');
});

test('a bearer token is looked at by itself', () => {
  const of = viewers();
  const cookie = cookieOf(of.exchange(of.issue()));
  expect(of.admit(undefined, `Bearer ${token}`)).toMatchObject({ viewer: { how: 'api' } });
  expect(of.admit(undefined, `bearer ${token}`)).toHaveProperty('viewer');
  for (const odd of [`Bearer ${token}x`, `Basic ${token}`, token, 'Bearer', '']) expect(of.admit(cookie, odd)).toBe('unknown');
});

test('guessing is bounded, and holds up nobody who is known', () => {
  const of = viewers();
  for (let i = 0; i < dashboardFailures.most; i++) expect(of.admit(undefined, undefined)).toBe('unknown');
  expect(of.admit(undefined, undefined)).toEqual({ retryAfterS: 3 });
  expect(of.admit(undefined, `Bearer ${token}`)).toHaveProperty('viewer');
  nowMs += 3_000;
  expect(of.admit(undefined, undefined)).toBe('unknown');
});

test('requests of one viewer are bounded, those of another are not touched', () => {
  const of = viewers();
  const cookie = cookieOf(of.exchange(of.issue()));
  for (let i = 0; i < dashboardRequests.most; i++) expect(of.admit(cookie, undefined)).toHaveProperty('viewer');
  expect(of.admit(cookie, undefined)).toEqual({ retryAfterS: 1 });
  expect(of.admit(undefined, `Bearer ${token}`)).toHaveProperty('viewer');
});

test('a token file is read strictly', () => {
  expect(readTokens(`# mine\n\n${token}\n  ${'b'.repeat(40)}\n`)).toEqual([token, 'b'.repeat(40)]);
  for (const odd of ['', '# nothing\n', 'short', `${token} ${token}`, `é${token}`]) expect(readTokens(odd)).toBeTypeOf('string');
});
