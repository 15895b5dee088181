/** Drafts for whoever comes over HTTP: subjects and issuers, as they were verified, and those whom nobody knows. */
import { expect, test } from 'vitest';
import { runCase, type PolicyCase } from '../policy/cases.ts';
import { draftOf } from '../policy/draft.ts';
import { compilePolicy } from '../policy/judge.ts';
import { Seen, type SeenItem, type SeenPrincipal } from '../policy/seen.ts';
import { parseCases } from './cases.ts';
import { parseConfig } from './config.ts';
import { draftCases } from './draft-cases.ts';
import { draftText } from './draft-text.ts';

function item(name: string): SeenItem {
  return {
    kind: 'tool',
    direction: 'c2s',
    method: 'tools/call',
    name,
    effect: 'read',
    sensitive: false,
    destructive: false,
    passed: 2,
    failed: 0,
    approved: 0,
    flagged: 0,
    refused: 0,
    asked: 0,
    firstAt: '2026-11-20T10:00:00.000000Z',
    lastAt: '2026-11-21T10:00:00.000000Z',
    rules: [],
  };
}

async function drafted(...groups: [SeenPrincipal, ...string[]][]) {
  const seen = new Seen({ client: true, principal: true });
  for (const [i, [principal, ...tools]] of groups.entries()) {
    const items = new Map(tools.map((name) => [name, item(name)]));
    seen.groups.set(String(i), { server: 's', client: 'c', isGiven: true, principal, items });
  }
  const draft = draftOf(seen, 'approved');
  const text = draftText(draft, seen, { ledgers: [], asked: [] });
  const { config, problems } = await parseConfig(text, 'x');
  expect(problems).toEqual([]);
  const compiled = await compilePolicy(config!.policy);
  const { file, problems: wrong } = parseCases(draftCases(draft, 'x').text);
  expect(wrong).toEqual([]);
  for (const one of file!.cases) expect(runCase(compiled, one).failures, one.name).toEqual([]);
  const kindOf = ({ uid, ...verified }: SeenPrincipal, tool: string): string => {
    const principal: PolicyCase['principal'] = { verified, observed: uid === undefined ? {} : { uid } };
    const message = { method: 'tools/call', params: { name: tool } };
    return runCase(compiled, { name: 'x', server: 's', client: 'c', principal, message, expect: 'pass' }).verdict.kind;
  };
  return { text, kindOf };
}

test('a subject is one of its issuer, and who has the same things shares a rule with those of that issuer alone', async () => {
  const ada = { subject: 'ada', issuer: 'https://a' };
  const bob = { subject: 'bob', issuer: 'https://a' };
  const key = { subject: 'ada' };
  const { text, kindOf } = await drafted(
    [ada, 'search'],
    [bob, 'search'],
    [key, 'search', 'send'],
    [{ subject: 'eve', issuer: 'https://b' }, 'search'],
  );
  expect(text).toContain('{ verified: { subject: [ada, bob], issuer: "https://a" } }');
  expect([ada, bob, key].map((who) => [kindOf(who, 'search'), kindOf(who, 'send')])).toEqual([
    ['pass', 'block'],
    ['pass', 'block'],
    ['pass', 'pass'],
  ]);
  const others: SeenPrincipal[] = [
    { subject: 'ada', issuer: 'https://b' },
    { subject: 'eve', issuer: 'https://a' },
    { subject: 'eve' },
    {},
    { uid: 0 },
  ];
  expect(others.map((who) => kindOf(who, 'search'))).toEqual(others.map(() => 'block'));
});

test('names that a glob would make wider, and whoever has none', async () => {
  const star = { subject: '*', issuer: 'https://a' };
  const { kindOf } = await drafted([star, 'search'], [{ subject: 'x', issuer: 'https://*' }, 'search'], [{}, 'read']);
  expect(kindOf(star, 'search')).toBe('pass');
  expect(kindOf({ subject: 'x', issuer: 'https://*' }, 'search')).toBe('pass');
  expect(kindOf({}, 'read')).toBe('pass');
  const others: [SeenPrincipal, string][] = [
    [{ subject: 'ada', issuer: 'https://a' }, 'search'],
    [{ subject: 'x', issuer: 'https://evil' }, 'search'],
    [{}, 'search'],
    [{ uid: 7 }, 'read'],
    [star, 'read'],
  ];
  expect(others.map(([who, tool]) => kindOf(who, tool))).toEqual(others.map(() => 'block'));
});

test('a name cannot leave its line: neither in a value nor in a comment', async () => {
  const name = 'a\n- name: b\n  allow: true # \u202e';
  const { text, kindOf } = await drafted([{ uid: 1 }, name, 'ok*']);
  expect(kindOf({ uid: 1 }, name)).toBe('pass');
  expect(kindOf({ uid: 1 }, 'ok*')).toBe('pass');
  expect(kindOf({ uid: 1 }, 'okay')).toBe('block');
  expect(text).not.toContain('\u202e');
  expect(text.match(/^ *- name: /gm)).toHaveLength(2);
  expect(text).toContain(String.raw`look twice, it is "a\n- name: b\n  allow: true # \u202e"`);
});
