/** `sworn policy simulate` over ledgers that the recorder's own `record` wrote: what it says must be what the recorder says with the same file. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { Output } from '../../src/cli/output.ts';
import { recordedOf } from '../../src/cli/policy-past.ts';
import { simulateCommand, type SimulateOptions } from '../../src/cli/policy-simulate.ts';
import type { LedgerTally } from '../../src/cli/policy-tally.ts';
import { judgeBytes } from '../../src/limits.ts';
import type { CompiledPolicy } from '../../src/policy/judge.ts';
import { Replay } from '../../src/policy/replay.ts';
import { readEntries } from '../../src/readers/entries.ts';
import { place, type Place } from './fixture.ts';
import { erase, policyOf, Recording } from './recorded.ts';

const places: Place[] = [];
afterEach(() => {
  for (const at of places.splice(0)) at.remove();
});

function newPlace(): Place {
  const at = place();
  places.push(at);
  return at;
}

async function simulate(at: Place, policy: string, options: SimulateOptions = {}): Promise<{ status: number; text: string }> {
  const file = join(at.folder, 'sworn.yaml');
  writeFileSync(file, policy);
  let text = '';
  const output: Output = {
    out: (part) => void (text += part),
    err: (part) => expect(part).toBe(''),
    isTTY: false,
    color: false,
    columns: Number.POSITIVE_INFINITY,
  };
  const status = await simulateCommand({ policy: file, ledger: at.ledger, ...options }, output);
  return { status, text };
}

async function tallyOf(at: Place, policy: string, options: SimulateOptions = {}): Promise<LedgerTally> {
  const { text } = await simulate(at, policy, { ...options, json: true });
  return (JSON.parse(text) as { ledgers: LedgerTally[] }).ledgers[0]!;
}

const rule = (tally: LedgerTally, name: string) => tally.rules.find((one) => one.rule === name);

const tools = { tools: [{ name: 'query' }, { name: 'read_pay', annotations: { readOnlyHint: true } }] };
const everything = `
servers: { db: { tools: { read_pay: { sensitive: true }, secret_probe: { untrusted: false } } } }
redact: { keys: [password], detect: [email] }
capture: { default: full, rules: [ { method: resources/read, level: metadata }, { method: logging/setLevel, level: none } ] }
policy:
  rules:
    - { name: unpaired, flag: true, tool: read_pay, effect: read, when: '!has(message.id)' }
    - { name: except, allow: true, tool: query, when: 'has(args.ticket) && args.ticket == "OPS-1"' }
    - { name: no-drops, deny: true, tool: "db/query", when: 'has(args.sql) && args.sql.matches("(?i)drop\\\\s+table")', reason: "no drops" }
    - { name: exfil, deny: true, tool: send, when: 'session.sensitiveReads > 0 && session.untrustedResults > 0' }
    - { name: keys-out, on: result, deny: true, when: 'result.text.contains("BEGIN KEY")' }
    - { name: shady, deny: true, enforce: false, client: "odd*", principal: { observed: { uid: 1000 } } }
    - { name: cursed, deny: true, tool: cursed, when: 'args.n > 3' }
    - { name: labelled, flag: true, label: "env=prod", method: prompts/get }
    - { name: denied-often, flag: true, when: 'session.denied > 1 || session.errors > 0' }
`;

/** Talks in which every rule above has something to say. */
function talk(recording: Recording, compiled: CompiledPolicy): void {
  const a = recording.connect(compiled, { labels: { env: 'prod' } });
  a.request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'odd-client', version: '1' } });
  a.reply({ protocolVersion: '2025-11-25', serverInfo: { name: 'db' } });
  a.request('tools/list');
  a.reply(tools);
  a.call('query', { sql: 'select 1' });
  a.text('one');
  a.call('query', { sql: 'DROP TABLE staff' });
  a.text('dropped');
  a.call('query', { sql: 'DROP TABLE staff', ticket: 'OPS-1' });
  a.text('dropped');
  a.call('read_pay', { who: 'alice@example.org', password: 'hunter2hunter2' });
  a.text('you sent hunter2hunter2');
  a.call('send', { to: 'bob@example.org' });
  a.text('sent');
  a.call('query', { sql: 'drop  table x' });
  a.call('query', { sql: 'select 2' });
  a.text('-----BEGIN KEY-----');
  a.call('cursed', { m: 1 });
  a.request('prompts/get', { name: 'p' });
  a.reply({ messages: [] });
  a.request('resources/read', { uri: 'file:///etc/passwd' });
  a.reply({ contents: [{ uri: 'file:///etc/passwd', text: 'root' }] });
  a.send(0, '{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}');
  a.send(0, 'not json');
  // a request that waits for no answer, an answer to nothing, and a name that nobody could read whole
  a.send(0, '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read_pay"}}');
  a.send(1, '{"jsonrpc":"2.0","id":"nobody","result":{}}');
  a.call('x'.repeat(70_000));
  // is not in the record, so that what counts is not known from here on
  a.request('logging/setLevel', { level: 'info' });
  a.reply({});
  a.call('query', { sql: 'select 3' });
  const b = recording.connect(compiled, { server: 'other', client: 'given', labels: { env: 'prod' } });
  b.request('prompts/get', { name: 'p' });
  b.reply({ messages: [] });
  b.send(0, '[{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"send"}},{"jsonrpc":"2.0","id":"y","method":"ping"}]');
  b.send(1, '[{"jsonrpc":"2.0","id":"x","result":{"content":[{"type":"text","text":"BEGIN KEY"}]}},{"jsonrpc":"2.0","id":"y","result":{}}]');
  b.call('read_pay', { path: 'x'.repeat(2_500_000) });
  b.text('y'.repeat(1_200_000));
}

test('what was recorded with a file is judged by the same file as the recorder judged it', async () => {
  const at = newPlace();
  const recording = new Recording(at);
  const compiled = await policyOf(everything);
  talk(recording, compiled);
  await recording.close();
  // the same replay, message by message
  const wrong: unknown[] = [];
  let certain = 0;
  const replay = new Replay(compiled, ({ index, entry, verdict, unsure }) => {
    if (unsure !== undefined) return;
    certain++;
    const { verdict: kind, rule: name, shadow, problem } = entry;
    const recorded = { kind, rule: name, shadow, problem };
    const said = { kind: verdict.kind, rule: verdict.rule, shadow: verdict.shadow, problem: verdict.problem };
    if (JSON.stringify(said) !== JSON.stringify(recorded)) wrong.push({ index, method: entry.method, target: entry.target, recorded, said });
  });
  const kinds = new Set<string>();
  for await (const located of readEntries(at.ledger, { content: true })) {
    const { entry } = located;
    if (entry.kind === 'message' && entry.origin !== 'sworn') kinds.add(`${entry.verdict} ${entry.rule ?? ''}`);
    replay.add(recordedOf(at.ledger, located));
  }
  replay.end();
  expect(wrong).toEqual([]);
  // the talks are about every rule
  expect([...kinds].sort()).toEqual([
    'block cursed',
    'block exfil',
    'block keys-out',
    'block no-drops',
    'block sworn:ambiguous',
    'flag denied-often',
    'flag labelled',
    'flag shady',
    'flag unpaired',
    'pass ',
    'pass except',
  ]);
  expect(certain).toBeGreaterThan(20);
  const tally = await tallyOf(at, everything);
  expect(tally.changes).toMatchObject({ newlyBlocked: 0, noLongerBlocked: 0, newlyFlagged: 0, noLongerFlagged: 0, frozen: 0 });
  expect(tally.judged).toBe(certain);
});

/** What was said under one file, judged by another one. */
async function recordedWith(policy: string, say: (recording: Recording, compiled: CompiledPolicy) => void): Promise<Place> {
  const at = newPlace();
  const recording = new Recording(at);
  say(recording, await policyOf(policy));
  await recording.close();
  return at;
}

const noFile = 'policy: { default: allow }';
const noDrops = `policy: { rules: [ { name: no-drops, deny: true, when: 'has(args.sql) && args.sql.contains("DROP")' } ] }`;

test('what would be blocked, flagged and redacted, by rule, and what changes against the record', async () => {
  const at = await recordedWith(noFile, (recording, compiled) => talk(recording, compiled));
  const tally = await tallyOf(at, everything);
  const recorded: Record<string, number> = {};
  const same = await recordedWith(everything, (recording, compiled) => talk(recording, compiled));
  for await (const { entry } of readEntries(same.ledger)) {
    if (entry.kind === 'message' && entry.verdict === 'block' && entry.rule !== undefined) recorded[entry.rule] = (recorded[entry.rule] ?? 0) + 1;
  }
  // the recorder refused as often; with its own answers in place of those that came
  for (const name of ['no-drops', 'exfil', 'cursed', 'keys-out']) expect([name, rule(tally, name)?.blocked]).toEqual([name, recorded[name]]);
  expect(rule(tally, 'no-drops')).toMatchObject({ blocked: 2, allowed: 0, unsure: 0 });
  expect(rule(tally, 'no-drops')!.examples.map(({ tool }) => tool)).toEqual(['query', 'query']);
  expect(rule(tally, 'no-drops')!.first).toBe(rule(tally, 'no-drops')!.examples[0]!.index);
  expect(rule(tally, 'except')).toMatchObject({ allowed: 1, examples: [] });
  expect(rule(tally, 'shady')!.shadow).toBeGreaterThan(0);
  expect(rule(tally, 'cursed')).toMatchObject({ blocked: 1, problems: 1 });
  expect(tally.changes).toMatchObject({ newlyBlocked: tally.rules.reduce((sum, { blocked }) => sum + blocked, 0), noLongerBlocked: 0 });
  expect(tally.changes.newlyBlocked).toBeGreaterThan(5);
  // DROP's answer, and that of the mail: nobody would have given them
  expect(tally.unsaid).toBeGreaterThanOrEqual(2);
  expect(tally.redactions).toEqual({
    'key:password': { ranges: 1, messages: 1 },
    // in what would be blocked, too: it would be recorded
    email: { ranges: 2, messages: 2 },
    repeated: { ranges: 1, messages: 1 },
  });
  // what is flagged is in the record at least as an entry
  expect(tally.capture).toMatchObject({ metadata: 3, none: 1 });

  const { text, status } = await simulate(at, everything, { failOn: 'block' });
  expect(status).toBe(1);
  expect(text).toContain('would redact 1 × key:password in 1 message\n');
  expect(text).toMatch(/^no-drops +2 /m);
  expect(text).toMatch(/against the record: would newly block [1-9]/);
  expect(text).not.toContain('hunter2');
  expect((await simulate(at, noFile, { failOn: 'block' })).status).toBe(0);
});

test('what was blocked then is judged too, and what a freeze refused is told apart', async () => {
  const at = await recordedWith(noDrops, (recording, compiled) => {
    const one = recording.connect(compiled);
    one.call('query', { sql: 'DROP TABLE x' });
    one.call('query', { sql: 'select' });
    one.text('ok');
    recording.freeze({ id: 1, all: true });
    one.call('query', { sql: 'select' });
  });
  const { changes } = await tallyOf(at, noFile);
  expect(changes).toMatchObject({ noLongerBlocked: 1, newlyBlocked: 0, frozen: 1 });
});

test('content that is not there is never silently a pass', async () => {
  const file = 'redact: { keys: [password, sql] }\ncapture: { default: full, rules: [ { tool: hidden, level: metadata } ] }';
  const at = await recordedWith(file, (recording, compiled) => {
    const one = recording.connect(compiled);
    one.call('query', { sql: 'DROP TABLE x' });
    one.call('query', { password: 'hunter2', table: 'x' });
    one.call('hidden', { table: 'x' });
    one.call('query', { table: 'x' });
  });
  const about = (when: string) => `policy: { rules: [ { name: r, deny: true, when: '${when}' } ] }`;
  const seen = async (when: string) => {
    const { judged, unsure, changes, rules } = await tallyOf(at, about(when));
    return { judged, unsure, blocked: rules[0]!.blocked, ruleUnsure: rules[0]!.unsure, newly: changes.newlyBlocked };
  };
  // the condition looks at the statement, which is redacted; and at arguments that were not captured
  expect(await seen('has(args.sql) && args.sql.contains("DROP")')).toEqual({
    judged: 2,
    unsure: { redacted: 1, 'not captured': 1 },
    blocked: 0,
    ruleUnsure: 2,
    newly: 0,
  });
  // of the second message it needs only what is there
  expect(await seen('has(args.table) && args.table == "x"')).toEqual({
    judged: 3,
    unsure: { 'not captured': 1 },
    blocked: 2,
    ruleUnsure: 1,
    newly: 2,
  });
  // names, counts and sizes are in the entry
  expect(await seen('tool == "hidden" && session.calls == 2 && sizeBytes > 20')).toEqual({
    judged: 4,
    unsure: {},
    blocked: 1,
    ruleUnsure: 0,
    newly: 1,
  });
  // it walks over all arguments, and those of two messages are not whole
  expect(await seen('args.exists(name, name == "sql" && args[name] == "x")')).toMatchObject({ unsure: { redacted: 2, 'not captured': 1 } });
  const { text, status } = await simulate(at, about('args.sql == "DROP"'), { failOn: 'block' });
  expect(text).toContain('could not be judged fully: 2 (redacted 1, not captured 1)');
  // the two others have no such argument, which denies
  expect(status).toBe(1);
});

test('counts are those of the file that is tried: of what it refuses, does not capture, and of batches', async () => {
  const at = await recordedWith(noFile, (recording, compiled) => {
    const one = recording.connect(compiled);
    one.call('quiet');
    one.text('ok');
    one.send(
      0,
      '[{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"a"}},{"jsonrpc":"2.0","id":"y","method":"tools/call","params":{"name":"b"}}]',
    );
    one.call('c');
    recording.freeze({ id: 1, all: true });
    one.call('frozen');
    recording.thaw();
    one.call('d');
  });
  const file = (when: string) => `
capture: { default: full, rules: [ { tool: quiet, level: none } ] }
policy: { rules: [ { name: r, flag: true, when: '${when}' } ] }`;
  const flagged = async (when: string) => (await tallyOf(at, file(when))).rules[0]!.examples.map(({ tool }) => tool);
  // what is not captured counts, too
  expect(await flagged('session.calls == 0')).toEqual(['quiet']);
  expect(await flagged('session.calls == 1')).toEqual(['a']);
  expect(await flagged('session.calls == 2')).toEqual(['b']);
  expect(await flagged('session.calls == 3')).toEqual(['c']);
  expect(await flagged('session.calls == 4 && session.denied == 0')).toEqual(['frozen']);
  expect(await flagged('session.calls == 4 && session.denied == 1')).toEqual(['d']);
});

test('names that are not there are not taken for others', async () => {
  const file = `
redact: { detect: [email] }
capture: { default: full, rules: [ { method: resources/list, direction: c2s, level: none } ] }`;
  const at = await recordedWith(file, (recording, compiled) => {
    const one = recording.connect(compiled);
    one.call('t', { 'alice@example.org': 1 });
    one.request('resources/list');
    one.reply({ resources: [] });
  });
  // the member that is asked for may be the one that was redacted
  expect(await tallyOf(at, `policy: { rules: [ { name: r, deny: true, when: 'has(args.bob)' } ] }`)).toMatchObject({
    judged: 1,
    unsure: { redacted: 1 },
  });
  // what was left out counted then, and cannot be counted again
  const counting = 'policy: { rules: [ { name: r, on: [request, result], deny: true, when: "session.calls > 1" } ] }';
  expect(await tallyOf(at, counting)).toMatchObject({ judged: 1, unsure: { 'not captured': 1 } });
  // its request has no entry: what it answers is not known
  const about = 'policy: { rules: [ { name: r, on: result, deny: true, method: resources/list } ] }';
  expect(await tallyOf(at, about)).toMatchObject({ judged: 1, unsure: { names: 1 }, rules: [{ blocked: 0 }] });
});

test('erased content is told apart from content that was never there', async () => {
  const at = await recordedWith(noFile, (recording, compiled) => void recording.connect(compiled).call('query', { sql: 'DROP TABLE x' }));
  erase(at);
  expect(await tallyOf(at, noDrops)).toMatchObject({ judged: 0, unsure: { erased: 1 }, unsureVerdicts: { pass: 1, block: 0 } });
});

/** Lets time pass, in ms. */
function pass(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

test('a time, a session, a server: what came before counts for what it taught', async () => {
  let later = '';
  const at = await recordedWith(noFile, (recording, compiled) => {
    const one = recording.connect(compiled);
    one.request('tools/list');
    one.reply(tools);
    one.call('read_pay');
    one.text('1');
    for (let i = 0; i < 600; i++) {
      one.call('query', { i });
      one.text('ok');
    }
    pass(20);
    later = recording.now();
    pass(5);
    one.call('query', { i: 'last' });
    const two = recording.connect(compiled, { server: 'other' });
    two.call('query');
  });
  const file = `
servers: { "*": { tools: { read_pay: { sensitive: true } } } }
policy: { rules: [ { name: exfil, flag: true, effect: write, when: 'session.sensitiveReads == 1 && session.calls > 600' } ] }`;
  expect(await tallyOf(at, file, { since: later })).toMatchObject({ messages: 2, calls: 2, rules: [{ flagged: 1 }] });
  expect(await tallyOf(at, file, { since: later, server: 'oth*' })).toMatchObject({ messages: 1, rules: [{ flagged: 0 }] });
  expect(await tallyOf(at, file, { session: '00000000000000000000000000000002' })).toMatchObject({ messages: 1 });
  expect(await tallyOf(at, file, { until: later })).toMatchObject({ messages: 4 + 1200, rules: [{ flagged: 0 }] });
  await expect(simulate(at, file, { session: 'zz' })).rejects.toThrow('--session');
  await expect(simulate(at, file, { failOn: 'flag' })).rejects.toThrow('--fail-on flag');
  await expect(simulate(at, file, { ledger: join(at.folder, 'none') })).rejects.toThrow('there is no ledger');
});

test('a frame that is too long for a recorder to judge is refused where a rule may refuse, as there', async () => {
  const long = 'x'.repeat(judgeBytes);
  const at = await recordedWith(noFile, (recording, compiled) => void recording.connect(compiled).call('query', { sql: `${long}DROP` }));
  expect((await tallyOf(at, noDrops)).rules).toContainEqual(expect.objectContaining({ rule: 'sworn:too-large', blocked: 1 }));
  const flags = noDrops.replace('deny', 'flag');
  expect(await tallyOf(at, flags)).toMatchObject({ judged: 0, unsure: { 'too long': 1 } });
});

test('limits: by the times of the entries, with replies that make room and are paid for', async () => {
  const at = newPlace();
  const recording = new Recording(at);
  const none = await policyOf('{}');
  const a = recording.connect(none);
  for (let i = 0; i < 10; i++) {
    a.call('query');
    a.text('x'.repeat(1_000));
  }
  const b = recording.connect(none, { server: 'other' });
  const running = [b.call('slow'), b.call('slow'), b.call('slow')];
  b.text('done');
  running.push(b.call('slow'), b.call('fast'));
  await recording.close();

  const byRequests = await tallyOf(at, 'limits: { name: few, per: [server, tool], requests: 3/h }');
  expect(rule(byRequests, 'sworn:limit/few')).toMatchObject({ blocked: 8, flagged: 0 });
  expect(byRequests).toMatchObject({ unsaid: 7, changes: { newlyBlocked: 8 } });
  // the reply to the third, which had no place, was never said, so the fourth and the fifth have none either
  const atATime = await tallyOf(at, 'limits: { per: [server], concurrent: 2 }');
  expect(rule(atATime, 'sworn:limit')).toMatchObject({ blocked: 3, first: running[2], last: running[4] });
  const byBytes = await tallyOf(at, 'limits: { per: [server], bytes: 3kB/h }');
  // two and a third reply take what three thousand are
  expect(rule(byBytes, 'sworn:limit')!.blocked).toBe(7);
  expect((await simulate(at, 'limits: { requests: 3/h }', { failOn: 'block' })).status).toBe(1);
  expect((await simulate(at, 'limits: { requests: 100/h, concurrent: 10, bytes: 1MB/h }', { failOn: 'block' })).status).toBe(0);
});
