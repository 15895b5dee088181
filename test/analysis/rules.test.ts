/** Every rule on conversations that the recorder's own `record` has turned into entries (`replay.ts`). */
import { expect, test } from 'vitest';
import { rules } from '../../src/analysis/rules/index.ts';
import { findingsOf } from './analysed.ts';
import { conversations } from './replay.ts';

const raising = conversations('raises');
const quiet = conversations('quiet');
const isWeighty = (severity: string): boolean => severity === 'high' || severity === 'medium';

test('each rule has five conversations in which it finds something, and twenty in which nothing is to be found', () => {
  for (const { id } of rules)
    expect(raising.filter((one) => one.expect?.includes(id)).length, id).toBeGreaterThanOrEqual(id === 'unverifiable' ? 2 : 5);
  expect(quiet.length).toBeGreaterThanOrEqual(30);
  expect(new Set([...raising, ...quiet].map(({ session }) => session)).size).toBe(raising.length + quiet.length);
});

test.each(raising.map((conversation) => [conversation.session, conversation] as const))('found: %s', async (_, conversation) => {
  const found = await findingsOf(conversation);
  const raised = found.map(({ rule }) => rule);
  const wanted = conversation.expect!;
  expect(
    raised.filter((rule) => wanted.includes(rule)).sort(),
    JSON.stringify(found.map(({ rule, title, detail }) => [rule, title, detail])),
  ).toEqual(expect.arrayContaining(wanted));
  // nothing else that would call somebody
  expect(
    found.filter(({ rule, severity }) => isWeighty(severity) && !wanted.includes(rule)).map(({ rule, title, detail }) => [rule, title, detail]),
  ).toEqual([]);
  // one row for one thing
  for (const rule of wanted) expect(found.filter((one) => one.rule === rule).length, rule).toBe(1);
  for (const { indexes, title, detail, why, silence } of found) {
    expect(indexes).toEqual([...new Set(indexes)].sort((a, b) => a - b));
    expect(indexes.length).toBeGreaterThan(0);
    for (const text of [title, detail, why, silence]) expect(text).toMatch(/^[^\n]{3,400}$/);
  }
});

test.each(quiet.map((conversation) => [conversation.session, conversation] as const))('quiet: %s', async (_, conversation) => {
  expect((await findingsOf(conversation)).map(({ rule, severity, title, detail }) => [rule, severity, title, detail])).toEqual([]);
});

test('a projection that is put down and taken up again after each entry finds the same', async () => {
  for (const conversation of raising) expect(await findingsOf(conversation, {}, 1), conversation.session).toEqual(await findingsOf(conversation));
});
