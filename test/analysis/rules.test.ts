/** Every rule on conversations that the recorder's own `record` has turned into entries (`replay.ts`). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MemoryRows, Projection } from '../../src/analysis/projection.ts';
import { rules } from '../../src/analysis/rules/index.ts';
import { ruleIds, ruleSettings } from '../../src/analysis/rules/settings.ts';
import type { EvidenceState } from '../../src/analysis/views.ts';
import { parseConfig } from '../../src/config/config.ts';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { findingsOf, rowsOf } from './analysed.ts';
import { conversations, Replay, type Conversation } from './replay.ts';

const raising = conversations('raises');
const quiet = conversations('quiet');
const isWeighty = (severity: string): boolean => severity === 'high' || severity === 'medium';

test('each rule has five conversations in which it finds something, and twenty in which nothing is to be found', () => {
  for (const { id } of rules) expect(raising.filter((one) => one.expect?.includes(id)).length, id).toBeGreaterThanOrEqual(5);
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

test.each([
  ['tampered', 'high', 7],
  ['fork', 'high', undefined],
  ['inconclusive', 'low', undefined],
  ['unverified', 'low', undefined],
  ['holds', undefined, undefined],
  ['policy', undefined, undefined],
] as const)('what a verifier says of the record: %s', async (state, severity, firstBad) => {
  const replay = new Replay();
  await replay.play(quiet[0]!);
  const rows = new MemoryRows();
  const projection = new Projection('0'.repeat(32), { crypto: nodeCrypto }, rows);
  for (const { index, entry, attributes } of replay.entries) projection.take({ index, entry, attributes });
  const { index, entry } = replay.entries.at(-1)!;
  const evidence: EvidenceState = {
    ledger: '0'.repeat(32),
    name: 'a',
    state,
    sentence: 'As it was found.',
    size: 9,
    shown: 9,
    later: 0,
    witnesses: [],
    findings: [],
    steps: [],
    checked: [],
    notChecked: [],
    commands: [],
    ...(firstBad === undefined ? {} : { firstBad }),
  };
  projection.weigh(evidence, index, entry.time);
  const found = rows.rows('findings').map((one) => [one.rule, one.severity, one.indexes]);
  expect(found).toEqual(severity === undefined ? [] : [['unverifiable', severity, [firstBad ?? index]]]);
});

test('the configuration and the docs know the same rules', () => {
  expect(rules.map(({ id }) => id)).toEqual(ruleIds);
  const docs = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'findings.md'), 'utf8');
  for (const { id, severity, title } of rules) expect(docs).toContain(`| \`${id}\` | ${severity} | ${title} |`);
  for (const [id, settings] of Object.entries(ruleSettings)) {
    for (const name of Object.keys(settings)) expect(docs).toContain(`\`${id}: { ${name}: `);
  }
});

test('what is ignored is not found, and what is set counts', async () => {
  const { config, problems } = await parseConfig(
    'findings:\n  ignore: [unapproved-write/submit_*, loop]\n  rules: { burst: { calls: 1000 }, other-attribute: { attributes: [ward] } }\n',
    'sworn.yaml',
  );
  expect(problems).toEqual([]);
  const of = (session: string): Conversation => raising.find((one) => one.session === session)!;
  const rulesOf = async (session: string): Promise<string[]> => (await findingsOf(of(session), config!.findings)).map(({ rule }) => rule);
  expect(await rulesOf('an expense report is submitted')).toEqual([]);
  expect(await rulesOf('a room is booked')).toEqual(['unapproved-write']);
  expect(await rulesOf('the same thought')).toEqual([]);
  expect(await rulesOf('very many points at once')).toEqual([]);
  expect(await rulesOf('accounts of two regions')).toEqual([]);
  expect(await rulesOf('patients of two wards; the ward of the second one is known afterwards')).toEqual(['other-attribute']);
});

test('an attribute that is only seen to divide things weighs less than one that is known to', async () => {
  const weights = async (session: string, rules = {}): Promise<string[]> =>
    (
      await findingsOf(
        raising.find((one) => one.session === session)!,
        { rules },
      )
    ).map(({ severity, title }) => `${severity}: ${title}`);
  expect(await weights('documents of two tenants')).toEqual(['medium: Why was sensitive data of a document in another tenant read?']);
  expect(await weights('students of two schools')).toEqual(['low: Why was sensitive data of someone in another school read?']);
  const told = { 'other-attribute': { attributes: ['school'] } };
  expect(await weights('students of two schools', told)).toEqual(['medium: Why was sensitive data of someone in another school read?']);
});

test('what headers say is set against the message, decoded', async () => {
  const told = async (session: string): Promise<string[]> =>
    (await findingsOf(raising.find((one) => one.session === session)!)).map(({ tool, detail }) => `${tool}: ${detail}`);
  expect(await told('a header names another tool, encoded')).toEqual(['read_log: Mcp-Name: tail_log, the message tools/call read_log 2026-07-28']);
  expect(await told('a header names another method')).toEqual(['tail_log: mcp-method: tools/list, the message tools/call tail_log 2026-07-28']);
});

test('what is said about silencing a rule is what the configuration takes', async () => {
  for (const { id, silence } of rules) {
    const lines = [...silence.matchAll(/\b(?:findings|servers|policy|redact): (?=\{)/g)].map(({ index }) => balanced(silence.slice(index)));
    expect(lines.length, id).toBeGreaterThan(0);
    for (const line of lines) expect((await parseConfig(`${line}\n`, 'sworn.yaml')).problems, line).toEqual([]);
    expect(silence).toContain(`ignore: [${id}]`);
  }
});

/** Up to the brace that closes the first one. */
function balanced(text: string): string {
  let depth = 0;
  for (const [at, character] of [...text].entries()) {
    if (character === '{') depth++;
    else if (character === '}' && --depth === 0) return text.slice(0, at + 1);
  }
  return text;
}

test('a rule or a setting that does not exist is a mistake in the file', async () => {
  for (const text of ['ignore: [lop]', 'rules: { loop: { call: 3 } }', 'rules: { loop: { calls: 0 } }', 'rules: { secret: {} }']) {
    const { config, problems } = await parseConfig(`findings:\n  ${text}\n`, 'sworn.yaml');
    expect(config, text).toBeUndefined();
    expect(problems.length, text).toBe(1);
  }
});

test('one thing in one session is one finding that grows, and in another session another one', async () => {
  // about a server's definitions, or about the ledger as such
  const wide = new Set(['changed-definition', 'hidden-instructions', 'unverifiable', 'unwitnessed', 'slow']);
  for (const conversation of raising) {
    if (conversation.expect!.some((rule) => wide.has(rule))) continue;
    const replay = new Replay();
    await replay.play(conversation);
    await replay.play(conversation);
    const found = rowsOf(replay.entries).rows('findings');
    for (const rule of conversation.expect!) {
      const own = found.filter((one) => one.rule === rule);
      expect(own.length, `${conversation.session}: ${rule}`).toBe(2);
      expect(own[0]!.count, `${conversation.session}: ${rule}`).toBe(own[1]!.count);
      expect(own[0]!.indexes.at(-1)! < own[1]!.indexes[0]!).toBe(true);
    }
  }
  const twice = await findingsOf(raising.find(({ session }) => session === 'payroll, then a post to a channel')!);
  expect(twice.map(({ rule, count }) => [rule, count])).toEqual(
    expect.arrayContaining([
      ['sensitive-then-outward', 2],
      ['unapproved-write', 2],
    ]),
  );
});

test('a projection that is put down and taken up again after each entry finds the same', async () => {
  for (const conversation of raising) expect(await findingsOf(conversation, {}, 1), conversation.session).toEqual(await findingsOf(conversation));
});
