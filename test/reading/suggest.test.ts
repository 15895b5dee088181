/** `sworn policy suggest` over ledgers that the recorder's own `record` wrote: the draft lets pass what passed, and nothing else. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import type { Output } from '../../src/cli/output.ts';
import { simulateCommand } from '../../src/cli/policy-simulate.ts';
import { suggestCommand, type SuggestOptions } from '../../src/cli/policy-suggest.ts';
import type { LedgerTally } from '../../src/cli/policy-tally.ts';
import { policyTestCommand } from '../../src/cli/policy-test.ts';
import { parseConfig } from '../../src/config/config.ts';
import { runCase, type PolicyCase } from '../../src/policy/cases.ts';
import { compilePolicy, unruled, type CompiledPolicy } from '../../src/policy/judge.ts';
import { askedLedger } from '../analysis/asked-ledger.ts';
import { place, type Place } from './fixture.ts';
import { erase, policyOf, Recording, type Talk } from './recorded.ts';

const places: Place[] = [];
afterEach(() => {
  for (const at of places.splice(0)) at.remove();
});

function newPlace(): Place {
  const at = place();
  places.push(at);
  return at;
}

function collecting(): { output: Output; text: () => string } {
  let text = '';
  const output: Output = {
    out: (part) => void (text += part),
    err: (part) => expect(part).toBe(''),
    isTTY: false,
    color: false,
    columns: Number.POSITIVE_INFINITY,
  };
  return { output, text: () => text };
}

interface Suggested {
  text: string;
  file: string;
  cases: string;
  compiled: CompiledPolicy;
}

let drafts = 0;

/** The draft with its cases; that it compiles, that its cases pass, and that it says what simulating it says, holds for every one. */
async function suggest(ledgers: Place[], options: SuggestOptions = {}): Promise<Suggested> {
  const draft = join(ledgers[0]!.folder, `draft-${++drafts}.yaml`);
  const cases = join(ledgers[0]!.folder, `cases-${drafts}.yaml`);
  const ledger = ledgers.map((at) => at.ledger);
  expect(await suggestCommand({ ledger, output: draft, cases, ...options }, collecting().output)).toBe(0);
  const text = readFileSync(draft, 'utf8');
  const { config, problems } = await parseConfig(text, draft);
  expect(problems).toEqual([]);
  const tested = collecting();
  const status = await policyTestCommand({ file: cases }, tested.output);
  expect({ status, failed: tested.text().match(/^FAILED.*(?:\n {8}.*)*/gm) }).toEqual({ status: 0, failed: null });
  const said = /# Checked against the same record: it would refuse (.*)/.exec(text)![1]!;
  const refused = [...said.matchAll(/(\d+) message/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  expect(refused).toBe(await newlyBlocked(draft, ledger, options));
  return { text, file: draft, cases: readFileSync(cases, 'utf8'), compiled: await compilePolicy(config!.policy) };
}

async function newlyBlocked(policy: string, ledger: string[], options: SuggestOptions = {}): Promise<number> {
  const { output, text } = collecting();
  const { since, until, server } = options;
  const past = { ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }), ...(server === undefined ? {} : { server }) };
  await simulateCommand({ policy, ledger, json: true, ...past }, output);
  return (JSON.parse(text()) as { ledgers: LedgerTally[] }).ledgers.reduce((sum, { changes }) => sum + changes.newlyBlocked, 0);
}

function verdictOf({ compiled }: Suggested, one: Omit<PolicyCase, 'name' | 'expect'>): string {
  const { kind, rule } = runCase(compiled, { name: 'x', expect: 'pass', ...one }).verdict;
  return `${kind}${rule === undefined ? '' : ` by ${rule}`}`;
}

const tools = {
  tools: [
    { name: 'search', annotations: { readOnlyHint: true } },
    { name: 'create_issue', annotations: { readOnlyHint: false, destructiveHint: false } },
    { name: 'delete_repo', annotations: { readOnlyHint: false, destructiveHint: true } },
  ],
};

function begin(talk: Talk, client: string): void {
  talk.request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: client, version: '1' } });
  talk.reply({ protocolVersion: '2025-11-25', serverInfo: { name: 'gh' } });
  talk.request('tools/list');
  talk.reply(tools);
}

function calls(talk: Talk, name: string, times: number, args: Record<string, unknown> = {}): void {
  for (let i = 0; i < times; i++) {
    talk.call(name, args);
    talk.text('done');
  }
}

test('a draft has what passed, with counts, and nothing of what was refused, flagged or said', async () => {
  const at = newPlace();
  const recording = new Recording(at);
  const compiled = await policyOf(`
policy: { rules: [ { name: no-drops, deny: true, tool: drop_table }, { name: odd, flag: true, tool: peek }, { name: pay, ask: true, tool: pay } ] }
redact: { keys: [password], detect: [email] }`);
  const talk = recording.connect(compiled, { server: 'github', observed: { uid: 1000 } });
  begin(talk, 'claude-desktop');
  calls(talk, 'search', 3, { q: 'zebra', password: 'hunter2hunter2', who: 'ada@example.org' });
  talk.call('search', { q: 'no' });
  talk.reply({ isError: true, content: [] });
  calls(talk, 'create_issue', 2);
  talk.call('delete_repo');
  talk.text('gone');
  talk.call('drop_table');
  calls(talk, 'peek', 1);
  for (const name of ['ops', 'ops', 'why']) {
    talk.request('prompts/get', { name });
    talk.reply({ messages: [] });
  }
  talk.request('resources/read', { uri: 'file:///home/ada/secret-plan.txt' });
  talk.reply({ contents: [] });
  talk.send(1, JSON.stringify({ jsonrpc: '2.0', id: 77, method: 'roots/list' }));
  talk.send(0, JSON.stringify({ jsonrpc: '2.0', id: 77, result: { roots: [] } }));
  const other = recording.connect(compiled, { server: 'db', observed: { uid: 1001 } });
  calls(other, 'query', 2);
  await recording.close();

  const suggested = await suggest([at]);
  const day = recording.now().slice(0, 10);
  expect(suggested.text.slice(suggested.text.indexOf('policy:'))).toBe(`policy:
  default: deny
  rules:
    # github · client claude-desktop · uid 1000
    - name: github-read
      allow: true
      server: github
      direction: c2s
      client: claude-desktop
      principal: { observed: { uid: 1000 } }
      tool:
        - search # 4 calls, 1 failed, ${day}
    - name: github-write
      allow: true # may write: with \`ask: true\` in its place a person decides each call
      server: github
      direction: c2s
      client: claude-desktop
      principal: { observed: { uid: 1000 } }
      tool:
        - create_issue # 2 calls, ${day}, write
        # Seen only once: is it wanted?
        - delete_repo # 1 call, ${day}, destructive
    - name: github-methods
      allow: true
      server: github
      direction: c2s
      client: claude-desktop
      principal: { observed: { uid: 1000 } }
      method:
        # Seen only once: is it wanted?
        - tools/list # 1 request, ${day}
    - name: github-server-methods
      allow: true
      server: github
      direction: s2c
      client: claude-desktop
      principal: { observed: { uid: 1000 } }
      method:
        # Seen only once: is it wanted?
        - roots/list # 1 request, ${day}

    # db · uid 1001
    - name: db-write
      allow: true # may write: with \`ask: true\` in its place a person decides each call
      server: db
      direction: c2s
      principal: { observed: { uid: 1001 } }
      tool:
        - query # 2 calls, ${day}, nobody says what it does
      when: "!has(client.given) && !has(client.name)"

    # github · client claude-desktop · uid 1000
    - name: github-prompts
      allow: true
      server: github
      direction: c2s
      client: claude-desktop
      principal: { observed: { uid: 1000 } }
      method: prompts/get
      # prompts/get ops: 2 requests, ${day}
      # Seen only once: is it wanted?
      # prompts/get why: 1 request, ${day}
      when: "target in [\\"ops\\", \\"why\\"]"
    - name: github-resources-read
      allow: true
      server: github
      direction: c2s
      client: claude-desktop
      principal: { observed: { uid: 1000 } }
      method: resources/read
      # Seen only once: is it wanted?
      # resources/read file:: 1 request, ${day}
      when: "target.startsWith(\\"file:\\")"

# Not allowed, since it never passed without a mark:
#   github: drop_table: 1 refused, by no-drops
#   github: peek: 1 flagged, by odd
`);
  for (const text of [suggested.text, suggested.cases])
    for (const said of ['zebra', 'hunter2', 'ada@', 'secret-plan']) expect(text).not.toContain(said);
  const github = { server: 'github', client: 'claude-desktop', principal: { observed: { uid: 1000 } } };
  const call = (name: string) => ({ message: { method: 'tools/call', params: { name } } });
  expect(verdictOf(suggested, { ...github, ...call('search') })).toBe('pass by github-read');
  expect(verdictOf(suggested, { ...github, ...call('drop_table') })).toBe('block by sworn:default');
  expect(verdictOf(suggested, { ...github, ...call('peek') })).toBe('block by sworn:default');
  expect(verdictOf(suggested, { ...github, ...call('Search') })).toBe('block by sworn:default');
  expect(verdictOf(suggested, { ...github, client: 'cursor', ...call('search') })).toBe('block by sworn:default');
  expect(verdictOf(suggested, { ...github, principal: { observed: { uid: 1001 } }, ...call('search') })).toBe('block by sworn:default');
  expect(verdictOf(suggested, { server: 'db', principal: { observed: { uid: 1001 } }, ...call('query') })).toBe('pass by db-write');
  expect(verdictOf(suggested, { ...github, server: 'db', ...call('query') })).toBe('block by sworn:default');
  expect(verdictOf(suggested, { ...github, message: { method: 'resources/read', params: { uri: 'https://x' } } })).toBe('block by sworn:default');
});

test('a person can be asked for what destroys, or for all that may write; what was asked for stays so', async () => {
  const at = newPlace();
  const recording = new Recording(at);
  const talk = recording.connect(unruled, { server: 'github' });
  begin(talk, 'c');
  for (const name of ['search', 'create_issue', 'delete_repo']) calls(talk, name, 2);
  await recording.close();
  const call = (name: string) => ({
    server: 'github',
    client: 'c',
    principal: { observed: { uid: 1000 } },
    message: { method: 'tools/call', params: { name } },
  });
  const destructive = await suggest([at], { ask: 'destructive' });
  expect(['search', 'create_issue', 'delete_repo', 'never'].map((name) => verdictOf(destructive, call(name)))).toEqual([
    'pass by github-read',
    'pass by github-write',
    'ask by github-ask',
    'block by sworn:default',
  ]);
  const write = await suggest([at], { ask: 'write' });
  expect(['search', 'create_issue', 'delete_repo'].map((name) => verdictOf(write, call(name)))).toEqual([
    'pass by github-read',
    'ask by github-ask',
    'ask by github-ask',
  ]);
});

test('who did the same shares a rule, and nobody gets what only another did', async () => {
  const [one, two] = [newPlace(), newPlace()];
  for (const at of [one, two]) {
    const recording = new Recording(at);
    const uids = at === one ? [1, 2, 3] : [2, 4];
    for (const uid of uids) {
      const talk = recording.connect(unruled, { server: 's', observed: { uid } });
      begin(talk, 'c');
      calls(talk, uid === 3 ? 'search' : 'create_issue', 1);
    }
    await recording.close();
  }
  const suggested = await suggest([one, two]);
  const call = (uid: number, name: string) =>
    verdictOf(suggested, { server: 's', client: 'c', principal: { observed: { uid } }, message: { method: 'tools/call', params: { name } } }).split(
      ' ',
    )[0];
  expect([1, 2, 3, 4, 5].map((uid) => [call(uid, 'create_issue'), call(uid, 'search')])).toEqual([
    ['pass', 'block'],
    ['pass', 'block'],
    ['block', 'pass'],
    ['pass', 'block'],
    ['block', 'block'],
  ]);
  expect(suggested.text).toContain('uid: [1, 2, 4]');
  const wide = await suggest([one, two], { per: 'server' });
  expect(wide.text).not.toMatch(/client:|principal/);
});

test('what no rule could allow is left out, and said', async () => {
  const at = newPlace();
  const recording = new Recording(at);
  const talk = recording.connect(unruled, { server: 's' });
  begin(talk, 'c');
  calls(talk, 'search', 1);
  talk.send(0, '{"jsonrpc":"2.0","id":50,"method":"tools/call","params":{"name":"search","name":"other"}}');
  talk.send(0, '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"search"}}');
  talk.send(0, '{"jsonrpc":"2.0","id":51,"method":"tools/call","params":{"arguments":{}}}');
  talk.send(0, '{"jsonrpc":"2.0","id":52,"method":"resources/read","params":{"uri":"no-scheme"}}');
  await recording.close();
  const { text } = await suggest([at]);
  expect(text).toContain('it would refuse 4 messages that passed (see the end)');
  expect(text.slice(text.indexOf('# Passed, and')).match(/^# {3}.*/gm)).toHaveLength(3);
});

test('content that is gone leaves the names, which is all that is asked for', async () => {
  const at = newPlace();
  const recording = new Recording(at);
  const talk = recording.connect(unruled, { server: 's', client: 'given' });
  begin(talk, 'c');
  calls(talk, 'search', 2);
  talk.request('resources/read', { uri: 'file:///a' });
  await recording.close();
  erase(at);
  const suggested = await suggest([at]);
  const party = { server: 's', client: 'given', principal: { observed: { uid: 1000 } } };
  expect(verdictOf(suggested, { ...party, message: { method: 'tools/call', params: { name: 'search' } } })).toMatch(/^pass/);
  expect(verdictOf(suggested, { ...party, message: { method: 'resources/read', params: { uri: 'file:///b' } } })).toMatch(/^pass/);
});

const awkward = [
  '*',
  'a*',
  '?',
  'a/b',
  's/a',
  '',
  ' ',
  'true',
  'null',
  '- x',
  '#x',
  'a: b',
  '"',
  "'",
  '\\',
  'a\nb',
  '\r',
  '\t',
  '\u0007',
  '\u202e',
  '\u2028',
  '\ufeff',
  '\u0085',
  'é',
  'e\u0301',
  'реад',
  '😀',
  'x'.repeat(300),
  '{{',
  '%',
  '@',
  '`',
  '1',
  '1e3',
  '~',
  '__proto__',
  '\u007f',
];
const name = fc.oneof(fc.constantFrom(...awkward), fc.string({ unit: 'binary', maxLength: 12 }), fc.string({ maxLength: 6 }));

test('whatever things and people are called: what passed passes, what was not seen does not', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          server: name,
          client: fc.option(name, { nil: undefined }),
          uid: fc.constantFrom(1, 2),
          tools: fc.array(name, { maxLength: 4 }),
          others: fc.array(fc.tuple(fc.constantFrom('prompts/get', 'resources/read', 'x'), name), { maxLength: 2 }),
        }),
        { minLength: 1, maxLength: 3 },
      ),
      fc.array(fc.tuple(name, fc.nat(2)), { minLength: 3, maxLength: 6 }),
      async (talks, unseen) => {
        const at = newPlace();
        const recording = new Recording(at);
        const seen = new Set<string>();
        for (const { server, client, uid, tools: called, others } of talks) {
          const talk = recording.connect(unruled, { server, observed: { uid }, ...(client === undefined ? {} : { client }) });
          for (const tool of called) {
            talk.call(tool);
            seen.add(JSON.stringify([server, client ?? null, uid, tool]));
          }
          for (const [method, what] of others)
            talk.request(method === 'x' ? `x/${what}` : method, method === 'prompts/get' ? { name: what } : { uri: what });
        }
        await recording.close();
        // what is left out is counted: that the file says of itself what simulating says is checked in there
        const suggested = await suggest([at]);
        for (const [tool, i] of unseen) {
          const { server, client, uid } = talks[i % talks.length]!;
          if (seen.has(JSON.stringify([server, client ?? null, uid, tool]))) continue;
          const party = { server, ...(client === undefined ? {} : { client }), principal: { observed: { uid } } };
          expect(verdictOf(suggested, { ...party, message: { method: 'tools/call', params: { name: tool } } })).toMatch(/^block/);
        }
        const passed = [...seen].map((key) => JSON.parse(key) as [string, string | null, number, string]);
        for (const [server, client, uid, tool] of passed) {
          // neither a rule nor a reader can be sure of these
          if (tool === '' || tool.includes('\0')) continue;
          const party = { server, ...(client === null ? {} : { client }), principal: { observed: { uid } } };
          expect(verdictOf(suggested, { ...party, message: { method: 'tools/call', params: { name: tool } } })).toMatch(/^pass/);
        }
        at.remove();
      },
    ),
    { numRuns: Number(process.env['SWORN_SUGGESTIONS'] ?? 10) },
  );
});

test('nothing is overwritten, and options say what is wrong with them', async () => {
  const at = newPlace();
  const recording = new Recording(at);
  calls(recording.connect(unruled), 'x', 1);
  await recording.close();
  const file = join(at.folder, 'sworn.yaml');
  writeFileSync(file, 'mine');
  const { output } = collecting();
  await expect(suggestCommand({ ledger: at.ledger, output: file }, output)).rejects.toThrow('is there already');
  await expect(suggestCommand({ ledger: at.ledger, cases: file }, output)).rejects.toThrow('is there already');
  expect(readFileSync(file, 'utf8')).toBe('mine');
  await expect(suggestCommand({ ledger: at.ledger, ask: 'all' }, output)).rejects.toThrow('--ask all');
  await expect(suggestCommand({ ledger: at.ledger, per: 'tool' }, output)).rejects.toThrow('--per tool');
  expect(existsSync(join(at.folder, 'cases.yaml'))).toBe(false);
});

test('what a person approved is asked for again, and what nobody approved is not allowed', async () => {
  const { path, index } = askedLedger();
  const at: Place = { folder: path, ledger: path, remove: () => rmSync(path, { recursive: true }) };
  places.push(at);
  expect(Object.keys(index)).toContain('denied approval');
  const suggested = await suggest([at]);
  const call = (name: string) => ({ server: 'hr', principal: { observed: { uid: 1000 } }, message: { method: 'tools/call', params: { name } } });
  const tools = ['book', 'pay_approved', 'pay_reading', 'pay_denied', 'pay_timed-out', 'pay_cancelled', 'pay_waits'];
  expect(tools.map((name) => verdictOf(suggested, call(name)))).toEqual([
    'pass by hr-write',
    'ask by hr-ask',
    'ask by hr-ask',
    ...Array<string>(4).fill('block by sworn:default'),
  ]);
  const { output, text } = collecting();
  await simulateCommand({ policy: suggested.file, ledger: path, json: true }, output);
  expect((JSON.parse(text()) as { ledgers: LedgerTally[] }).ledgers[0]!.changes).toMatchObject({ newlyBlocked: 0, newlyAsked: 0, noLongerAsked: 5 });
  expect(suggested.text).toMatch(/- pay_approved # 1 call, 1 approved by a person, 2026-11-20/);
  expect(suggested.text).toContain('hr: pay_denied: 1 asked for and not approved, by pay');
});
