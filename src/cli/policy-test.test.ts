import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Output } from './output.ts';
import { policyCommand } from './policy.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sworn-cases-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const policy = `
servers: { db: { tools: { get_pay: { sensitive: true } } } }
redact: { keys: [password], paths: ["$.params.arguments.ssn"] }
capture: { rules: [ { method: resources/read, level: metadata } ] }
policy:
  rules:
    - { name: ticket, allow: true, tool: query, label: "team=dba" }
    - { name: no-drops, deny: true, tool: "db/*", when: 'args.sql.matches("(?i)drop\\\\s+table")', reason: "Destructive SQL is blocked" }
    - { name: no-exfil, deny: true, effect: write, when: 'session.sensitiveReads > 0', enforce: false }
    - { name: keys-out, on: result, deny: true, tool: get_pay, when: 'result.text.contains("KEY")' }
    - { name: root, flag: true, principal: { observed: { uid: 0 } } }
    - { name: curl, flag: true, client: curl, method: prompts/get }
    - { name: progress, flag: true, on: notification, method: notifications/progress }
`;

async function run(cases: string, json = false, policyText = policy): Promise<{ status: number; text: string }> {
  writeFileSync(join(folder, 'sworn.yaml'), policyText);
  const file = join(folder, 'cases.yaml');
  writeFileSync(file, cases);
  let text = '';
  const output: Output = {
    out: (part) => void (text += part),
    err: (part) => expect(part).toBe(''),
    isTTY: false,
    color: false,
    columns: Number.POSITIVE_INFINITY,
  };
  const status = await policyCommand({ action: 'test', file, ...(json ? { json } : {}) }, output);
  return { status, text: text.replaceAll(folder, '<folder>') };
}

const call = (sql: string) => `message: { method: tools/call, params: { name: query, arguments: { sql: "${sql}" } } }`;

/** Cases that hold, each about something else. */
const holding = [
  `{ name: a, server: db, ${call('DROP  TABLE x')}, expect: block, rule: no-drops }`,
  `{ name: the default server, ${call('DROP TABLE x')}, expect: pass }`,
  `{ name: labels, server: db, labels: { team: dba }, ${call('DROP TABLE x')}, expect: pass, rule: ticket }`,
  // without an argument the condition cannot be evaluated, which denies
  '{ name: problem, server: db, message: { method: tools/call, params: { name: query } }, expect: block, rule: no-drops }',
  `{ name: shadow, tools: [ { name: query } ], session: { sensitiveReads: 1 }, ${call('select')}, expect: flag, rule: no-exfil }`,
  `{ name: only reads, tools: [ { name: query, annotations: { readOnlyHint: true } } ], session: { sensitiveReads: 1 }, ${call('select')}, expect: pass }`,
  `{ name: reply, request: { method: tools/call, params: { name: get_pay } }, message: { result: { content: [ { type: text, text: "a KEY" } ] } }, expect: block, rule: keys-out }`,
  `{ name: another reply, request: { method: tools/call, params: { name: get } }, message: { result: { content: [ { type: text, text: "a KEY" } ] } }, expect: pass }`,
  '{ name: reply to something, message: { result: { content: [ { type: text, text: "a KEY" } ] } }, expect: pass }',
  `{ name: answer to nothing, raw: '{"jsonrpc":"2.0","id":1,"result":{}}', expect: pass }`,
  '{ name: uid, principal: { observed: { uid: 0 } }, message: { method: tools/list }, expect: flag, rule: root }',
  '{ name: client, clientInfo: { name: curl }, message: { method: prompts/get, params: { name: p } }, expect: flag, rule: curl }',
  '{ name: notification, message: { method: notifications/progress, params: {} }, expect: flag, rule: progress }',
  `{ name: raw, raw: '{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}', expect: block, rule: "sworn:ambiguous" }`,
  `{ name: batch, server: db, raw: '[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"query","arguments":{"sql":"drop table x"}}}]', expect: block, rule: no-drops }`,
  `{ name: redacted, message: { method: tools/call, params: { name: x, arguments: { password: hunter2, ssn: 123-45-6789, user: ada } } }, expect: pass, redacts: [hunter2, 123-45-6789], keeps: ada, capture: full }`,
  `{ name: repeated by the answer, request: { method: tools/call, params: { name: x, arguments: { password: hunter2hunter2 } } }, message: { result: { content: [ { type: text, text: "it is hunter2hunter2, fine" } ] } }, expect: pass, redacts: hunter2hunter2, keeps: fine }`,
  '{ name: not captured, message: { method: resources/read, params: { uri: "file:///x" } }, expect: pass, capture: metadata, redacts: "file:///x" }',
];
const file = (cases: readonly string[]) => `policy: sworn.yaml\ncases:\n${cases.map((one) => `  - ${one}\n`).join('')}`;

test('cases that hold pass', async () => {
  const { status, text } = await run(file(holding));
  expect(text).not.toContain('FAILED');
  expect(text).toContain(`${holding.length} cases: ${holding.length} passed, 0 failed\n`);
  expect(text).toContain('ok      a: block by no-drops: Destructive SQL is blocked\n');
  expect(text).toContain('ok      problem: block by no-drops (its condition could not be evaluated: no-such-field): Destructive SQL is blocked\n');
  expect(text).toContain('ok      shadow: flag by no-exfil (shadow: it would be blocked)\n');
  expect(status).toBe(0);
});

test('each of them fails when another thing is expected', async () => {
  const turned = holding.map((one) =>
    one.replace(/expect: (\w+)/, (_, word: string) => `expect: ${word === 'block' ? 'pass' : 'block'}`).replaceAll(/, rule: [^,}]+/g, ''),
  );
  const { status, text } = await run(file(turned), true);
  expect(status).toBe(1);
  const { failed, passed, cases } = JSON.parse(text) as { failed: number; passed: number; cases: { failures: string[] }[] };
  expect({ failed, passed }).toEqual({ failed: holding.length, passed: 0 });
  for (const { failures } of cases) expect(failures[0]).toMatch(/^expected \w+, came \w+/);
});

test('what differs is said: rule, capture, what is stored', async () => {
  const { status, text } = await run(
    file([
      `{ name: another rule, server: db, ${call('DROP TABLE x')}, expect: block, rule: other }`,
      '{ name: stored, message: { method: tools/call, params: { name: x, arguments: { password: hunter2, user: "ada\\nl" } } }, expect: pass, redacts: "ada\\nl", keeps: hunter2, capture: request }',
    ]),
  );
  expect(status).toBe(1);
  expect(text).toBe(
    [
      'FAILED  another rule (<folder>/cases.yaml:3)',
      '        expected block by other, came block by no-drops: Destructive SQL is blocked',
      'FAILED  stored (<folder>/cases.yaml:4)',
      '        expected capture request, came full',
      '        expected "ada\\nl" to be redacted, it is stored',
      '        expected "hunter2" to be stored, it is not',
      '2 cases: 0 passed, 2 failed',
      '',
    ].join('\n'),
  );
});

test('--json has the verdict with its reason, its problem and what was redacted', async () => {
  const { text } = await run(file([holding[3]!, holding[15]!]), true);
  const { cases } = JSON.parse(text) as { cases: object[] };
  expect(cases).toEqual([
    {
      name: 'problem',
      line: 3,
      passed: true,
      expected: { verdict: 'block', rule: 'no-drops' },
      came: { verdict: 'block', rule: 'no-drops', reason: 'Destructive SQL is blocked', problem: 'no-such-field', capture: 'full', redacted: {} },
      failures: [],
    },
    expect.objectContaining({ came: { verdict: 'pass', capture: 'full', redacted: { 'key:password': 1, 'path:$.params.arguments.ssn': 1 } } }),
  ]);
});

test.each([
  [
    'policy: sworn.yaml\ncases:\n  - { name: a, expct: pass, message: {} }\n',
    ':3:16: error: unknown key "expct" in `cases[0]`\n  hint: did you mean `expect`?',
  ],
  [
    'policy: sworn.yaml\ncases:\n  - { name: a, expect: bloc, message: {} }\n',
    ':3:24: error: `expect` must be pass, block, flag or ask, not "bloc"\n  hint: did you mean block?',
  ],
  ['policy: sworn.yaml\ncases:\n  - { name: a, expect: pass }\n', ':3:5: error: "a" needs `message` or `raw`, and not both'],
  ['policy: sworn.yaml\ncases:\n  - { name: a, expect: pass, session: { writs: 1 }, message: {} }\n', 'did you mean `writes`?'],
  ['policy: sworn.yaml\n', 'error: `cases` is missing'],
  ['cases:\n  - *x\n', ':2:5: error: '],
  ['', 'is missing'],
])('a wrong file is told where it is wrong: %j', async (cases, message) => {
  const { status, text } = await run(cases);
  expect(text).toContain(message);
  expect(status).toBe(65);
});

test('a wrong policy is told, too, and files that are missing', async () => {
  const { status, text } = await run(file([holding[1]!]), false, 'policy: { rules: [ { name: a } ] }');
  expect(text).toContain('<folder>/sworn.yaml:1:');
  expect(text).toContain('does not say what it does');
  expect(status).toBe(65);
  await expect(run('policy: none.yaml\ncases: [ { name: a, expect: pass, message: {} } ]\n')).rejects.toThrow('there is no such file');
  const output = { out: () => undefined, err: () => undefined, isTTY: false, color: false, columns: 80 };
  await expect(policyCommand({ action: 'test', file: join(folder, 'none') }, output)).rejects.toThrow('cannot read');
  await expect(policyCommand({ action: 'test' }, output)).rejects.toThrow('which cases?');
  await expect(policyCommand({ action: 'check', file: join(folder, 'sworn.yaml'), since: '1d' }, output)).rejects.toThrow('--since belongs to');
});

test('limits: a message that is sent several times', async () => {
  const limits = 'limits: [{ per: tool, requests: 10/s, burst: 3 }, { name: few, tool: slow, concurrent: 2 }]\n';
  const cases = `policy: sworn.yaml
cases:
  - { name: the third at once, times: 3, message: { method: tools/call, params: { name: get } }, expect: pass }
  - { name: the fourth, times: 4, message: { method: tools/call, params: { name: get } }, expect: block, rule: "sworn:limit" }
  - { name: in time, times: 50, everyMs: 100, message: { method: tools/call, params: { name: get } }, expect: pass }
  - { name: too many run, times: 3, everyMs: 1000, message: { method: tools/call, params: { name: slow } }, expect: block, rule: "sworn:limit/few" }
  - { name: never, times: 1000, message: { method: ping }, expect: pass }
  - { name: no reply is one, times: 100, message: { result: {} }, expect: pass }
`;
  const { status, text } = await run(cases, false, limits);
  expect(text).toContain('ok      the fourth: block by sworn:limit: more than 3 requests at once and 10/s behind them, again in 100 ms\n');
  expect(text).toContain('6 cases: 6 passed, 0 failed');
  expect(status).toBe(0);
});
