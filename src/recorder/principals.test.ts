import { expect, test } from 'vitest';
import type { Principal } from '../wire/principal.ts';
import { partyOf } from '../policy/principal.ts';
import { isTrustedTap, principalEntry, readPrincipal } from './principals.ts';

const alice: Principal = {
  verified: {
    source: 'jwt',
    subject: 'alice',
    issuer: 'https://id.example',
    clientId: 'agent-7',
    scopes: ['read'],
    act: [{ subject: 'assistant', issuer: 'i' }, { subject: 'scheduler' }],
    expiresAtS: 7,
    also: [{ source: 'client-certificate', subject: 'gateway', issuer: 'CN=ca' }],
  },
  observed: { address: '127.0.0.1', uid: 1000, pid: 7, startTime: '99', executable: '/bin/agent' },
  declared: { userAgent: 'agent/1' },
};
const nobody: Principal = { observed: { address: '192.0.2.1' }, declared: { claims: { sub: 'root' } }, failure: 'token-expired' };

test('a trusted proxy is believed; what names a person is in attributes alone', () => {
  const { fields, attributes } = principalEntry(alice, { trusted: true });
  expect(fields).toEqual({ source: 'verified', reportedBy: 'proxy', method: 'jwt', uid: 1000, pid: 7 });
  expect(attributes).toEqual({ verified: alice.verified, observed: alice.observed, declared: alice.declared });
  expect(principalEntry(nobody, { trusted: true })).toEqual({
    fields: { source: 'observed', reportedBy: 'proxy', failure: 'token-expired' },
    attributes: { observed: nobody.observed, declared: nobody.declared },
  });
});

test('of any other all that it says is declared', () => {
  expect(principalEntry(alice, { trusted: false })).toEqual({
    fields: { source: 'declared', reportedBy: 'proxy', method: 'jwt', unbelieved: true },
    attributes: { declared: { verified: alice.verified, observed: alice.observed, declared: alice.declared } },
  });
  expect(partyOf(alice, false)).toEqual({ observed: {}, verified: {}, declared: { userAgent: 'agent/1' } });
});

test('what rules look at', () => {
  expect(partyOf(alice, true)).toEqual({
    observed: { address: '127.0.0.1', uid: 1000, pid: 7, executable: '/bin/agent' },
    verified: {
      method: 'jwt',
      subject: 'alice',
      issuer: 'https://id.example',
      clientId: 'agent-7',
      scopes: ['read'],
      actors: ['assistant', 'scheduler'],
    },
    declared: { userAgent: 'agent/1' },
  });
  expect(partyOf(nobody, true)).toEqual({ observed: { address: '192.0.2.1' }, verified: {}, declared: { claims: { sub: 'root' } } });
});

test('whose word counts', () => {
  expect(isTrustedTap([], 0, 0)).toBe(false);
  expect(isTrustedTap(['self'], 5, 5)).toBe(true);
  expect(isTrustedTap(['self'], 5, 6)).toBe(false);
  expect(isTrustedTap([7, 5], 5, 6)).toBe(true);
  // whom the kernel does not tell is nobody
  expect(isTrustedTap(['self'], undefined, undefined)).toBe(false);
});

test('a stranger’s JSON is read as a principal, and nothing else', () => {
  expect(readPrincipal(JSON.parse(JSON.stringify(alice)) as Record<string, unknown>)).toEqual(alice);
  expect(readPrincipal({})).toEqual({ observed: {}, declared: {} });
  expect(
    readPrincipal({
      verified: { source: 'vibes', subject: 'root' },
      observed: { address: 7, uid: -1, pid: 1.5, via: 'x', unavailable: 'lazy' },
      declared: [{ userAgent: 'x' }],
      failure: 'alice@example.com',
      more: 1,
    }),
  ).toEqual({ observed: {}, declared: {} });
  const long = 'ä'.repeat(300);
  // a beginning of a subject would be somebody else
  expect(readPrincipal({ verified: { source: 'jwt', subject: long } }).verified).toBeUndefined();
  expect(readPrincipal({ verified: { source: 'jwt', subject: 's', issuer: long } }).verified).toBeUndefined();
  const { declared, verified } = readPrincipal({
    verified: {
      source: 'api-key',
      subject: 's',
      name: long,
      scopes: [...Array.from({ length: 100 }, String), 7],
      act: [{ subject: long }, { subject: 'a' }],
      also: [{ source: 'jwt' }, 7],
    },
    declared: { userAgent: long, claims: { sub: 'x', email: 'x@example.com', iss: 7 } },
  });
  expect(Buffer.byteLength(declared.userAgent!)).toBeLessThanOrEqual(512);
  expect(declared.claims).toEqual({ sub: 'x' });
  expect(verified).toMatchObject({ subject: 's', act: [{ subject: 'a' }] });
  expect(verified?.scopes?.length).toBe(64);
  expect(verified?.also).toBeUndefined();
});
