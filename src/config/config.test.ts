import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { policyCommand } from '../cli/policy.ts';
import type { Output } from '../cli/output.ts';
import { compilePolicy } from '../policy/judge.ts';
import { noPolicy } from '../policy/policy.ts';
import { defaultConfigPath, loadConfig, parseConfig, readConfig, type ConfigProblem } from './config.ts';
import { nearest } from '../bytes/typed.ts';
import { reach } from './reach.ts';

const folder = mkdtempSync(join(tmpdir(), 'sworn-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const example = String.raw`# sworn.yaml
servers: { hr: { tools: { get_pay_info: { sensitive: true }, submit_time_off: { effect: write } } } }
redact:
  keys: [password, "*_token", authorization]
  paths: ["$.params.arguments.ssn"]
  detect: [secrets, pii]
  keep: drop                     # or checkable, by rule
capture: { default: full, rules: [ { method: resources/read, level: metadata } ] }
policy:
  default: allow
  rules:
    - { name: no-drops, deny: true, tool: "db/*", when: 'args.sql.matches("(?i)drop\\s+(table|database)")', reason: "Destructive SQL is blocked" }
    - { name: no-exfil, deny: true, effect: write, when: 'session.sensitiveReads > 0 && session.untrustedResults > 0', enforce: false }
    - { name: hide-keys, on: result, deny: true, when: 'result.text.contains("integration_tokens")' }
onUnrecordable: { default: block, read: pass }
`;

/** A file with one rule that has these fields too. */
const rule = (fields: string): string => `policy:\n  rules:\n    - { name: a, deny: true, ${fields} }\n`;

/** A problem on one line: `line:column path severity: message (hint)`. */
const line = (problem: ConfigProblem): string =>
  `${problem.line}:${problem.column} ${problem.path}${problem.path === '' ? '' : ' '}${problem.severity}: ${problem.message}${problem.hint === undefined ? '' : ` (${problem.hint})`}`;

const problemsOf = async (text: string): Promise<string[]> => (await parseConfig(text, 'sworn.yaml')).problems.map(line);

test('the example', async () => {
  const { config, problems } = await parseConfig(example, 'sworn.yaml');
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  expect(config).toMatchObject({ path: 'sworn.yaml', text: example, digest: createHash('sha256').update(example).digest('hex') });
  expect(config?.policy).toEqual({
    servers: { hr: { tools: { get_pay_info: { sensitive: true }, submit_time_off: { effect: 'write' } } } },
    redact: [
      {
        name: 'redact',
        keys: ['password', '*_token', 'authorization'],
        paths: ['$.params.arguments.ssn'],
        detect: ['secrets', 'pii'],
        keep: 'drop',
      },
    ],
    capture: { default: 'full', rules: [{ method: ['resources/read'], level: 'metadata' }] },
    policy: {
      default: 'allow',
      rules: [
        {
          name: 'no-drops',
          action: 'deny',
          on: ['request'],
          tool: ['db/*'],
          when: String.raw`args.sql.matches("(?i)drop\\s+(table|database)")`,
          reason: 'Destructive SQL is blocked',
          enforce: true,
        },
        {
          name: 'no-exfil',
          action: 'deny',
          on: ['request'],
          effect: ['write'],
          when: 'session.sensitiveReads > 0 && session.untrustedResults > 0',
          enforce: false,
        },
        { name: 'hide-keys', action: 'deny', on: ['result'], when: 'result.text.contains("integration_tokens")', enforce: true },
      ],
    },
    onUnrecordable: { default: 'block', read: 'pass' },
  });
});

test('a rule that asks has a time, and perhaps approvers', async () => {
  const { config, problems } = await parseConfig(
    `policy: { rules: [
  { name: pay, ask: true, tool: hr/submit_*, timeout: 30s, approvers: { uid: [1001, 1002] } },
  { name: own, ask: true, on: [request], approvers: { uid: 7 }, enforce: false },
  { name: none, deny: true } ] }
approvals: { timeout: 2h }`,
    'x',
  );
  expect(problems).toEqual([]);
  expect(config?.policy.policy.rules).toEqual([
    { name: 'pay', action: 'ask', on: ['request'], tool: ['hr/submit_*'], enforce: true, timeoutMs: 30_000, approvers: [1001, 1002] },
    { name: 'own', action: 'ask', on: ['request'], enforce: false, timeoutMs: 7_200_000, approvers: [7] },
    { name: 'none', action: 'deny', on: ['request'], enforce: true },
  ]);
  const usual = await parseConfig('policy: { rules: [{ name: a, ask: true }] }', 'x');
  expect(usual.config?.policy.policy.rules[0]?.timeoutMs).toBe(300_000);
});

test('tools are pinned: how, and with the file of pins that is named from its own folder on', async () => {
  const file = join(folder, 'pinning.yaml');
  const pins = join(folder, 'team-pins.json');
  const problemsWith = async (text: string): Promise<string[]> => {
    writeFileSync(pins, text);
    return (await readConfig(file)).problems.map(({ line, column, path, message }) => `${line}:${column} ${path} ${message}`);
  };
  writeFileSync(file, 'tools: { pin: block, pins: team-pins.json }\napprovals: { timeout: 1m }\n');
  expect(await problemsWith('{"version":1,"servers":{}}')).toEqual([]);
  const { policy } = (await readConfig(file)).config!;
  expect(policy.tools).toEqual({
    mode: 'block',
    timeoutMs: 60_000,
    path: pins,
    file: { digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string, servers: new Map() },
  });
  expect((await compilePolicy(policy)).canBlock).toBe(true);
  expect(await problemsWith('{"version":3}')).toEqual([`1:28 tools.pins ${pins} is no file of pins: it begins with "version": 1`]);
  rmSync(pins);
  expect((await readConfig(file)).problems).toMatchObject([{ line: 1, message: `cannot read ${pins}: there is no such file`, severity: 'error' }]);

  const warn = (await parseConfig('tools: { pin: warn }', 'x')).config!.policy;
  expect(warn.tools).toEqual({ mode: 'warn', timeoutMs: 300_000 });
  expect((await compilePolicy(warn)).canBlock).toBe(false);
  for (const wrong of ['tools: { pin: no }', 'tools: { pins: a }', 'tools: warn', 'tools: { pin: ask, pins: "" }'])
    expect((await parseConfig(wrong, 'x')).problems, wrong).toHaveLength(1);
});

test('limits have rates, keys in one order, and the direction to the server unless they say otherwise', async () => {
  const { config, problems } = await parseConfig(
    `limits:
  - { name: calls, per: [tool, principal, tool], requests: 60/min, burst: 10, concurrent: 4, bytes: 50MB/h, method: tools/call }
  - { per: server, bytes: 2KiB/s, direction: s2c, principal: { verified: { subject: "bot-*" } } }`,
    'x',
  );
  expect(problems).toEqual([]);
  expect(config?.policy.limits).toEqual([
    {
      name: 'calls',
      direction: 'c2s',
      method: ['tools/call'],
      per: ['principal', 'tool'],
      requests: { amount: 60, periodMs: 60_000, text: '60/min' },
      burst: 10,
      concurrent: 4,
      bytes: { amount: 50_000_000, periodMs: 3_600_000, text: '50MB/h' },
    },
    { direction: 's2c', principal: { verified: { subject: ['bot-*'] } }, per: ['server'], bytes: { amount: 2_048, periodMs: 1_000, text: '2KiB/s' } },
  ]);
  const one = await parseConfig('limits: { concurrent: 3 }', 'x');
  expect(one.config?.policy.limits).toEqual([{ direction: 'c2s', per: [], concurrent: 3 }]);
});

test('what is not said has its default, one is a list of one, and every matcher arrives', async () => {
  expect((await parseConfig('# nothing', 'x')).config?.policy).toEqual(noPolicy);
  expect((await parseConfig('{}', 'x')).config?.policy).toEqual(noPolicy);
  const { config } = await parseConfig(
    `redact:
  - { keys: a }
  - { detect: email, keep: checkable, client: c }
  - { name: mine, paths: $..x, server: s, tool: t, method: m, label: k=v, effect: [read, unknown], direction: s2c, sensitive: false, destructive: true,
      principal: { observed: { uid: 1000, executable: /bin/x }, verified: { subject: [s, t], issuer: i }, declared: { name: n } } }
  - { keys: b }
capture: { rules: [{ tool: [a, b], level: none }] }
policy: { default: deny, rules: [{ name: ok, allow: true, on: [result, request, result] }] }
onUnrecordable: block
`,
    'x',
  );
  const mine = {
    name: 'mine',
    server: ['s'],
    tool: ['t'],
    method: ['m'],
    label: ['k=v'],
    effect: ['read', 'unknown'],
    direction: 's2c',
    sensitive: false,
    destructive: true,
    principal: { observed: { uid: [1000], executable: ['/bin/x'] }, verified: { subject: ['s', 't'], issuer: ['i'] }, declared: { name: ['n'] } },
  };
  const none = { keys: [], paths: [], detect: [], keep: 'drop' };
  expect(config?.policy).toEqual({
    servers: {},
    redact: [
      { name: 'redact', ...none, keys: ['a'] },
      { name: 'redact-2', ...none, client: ['c'], detect: ['email'], keep: 'checkable' },
      { ...none, ...mine, paths: ['$..x'] },
      { name: 'redact-4', ...none, keys: ['b'] },
    ],
    capture: { default: 'full', rules: [{ tool: ['a', 'b'], level: 'none' }] },
    policy: { default: 'deny', rules: [{ name: 'ok', action: 'allow', on: ['result', 'request'], enforce: true }] },
    onUnrecordable: { default: 'block' },
  });
});

test.each([
  ['CRLF', example.replaceAll('\n', '\r\n')],
  ['a byte order mark', `\ufeff${example}`],
  ['JSON, indented with tabs', '{\n\t"policy": {\n\t\t"rules": [{"name": "a\\/\\ud83d\\ude00", "deny": true}]\n\t}\n}'],
  ['anchors', 'policy: { rules: [{ name: a, deny: true, tool: &t [x, y] }, { name: b, flag: true, on: result, tool: *t }] }'],
  ['a document marker', '---\npolicy: {}\n'],
  ['digits as patterns', 'servers: { "1": {}, "a": { tools: { "7": { effect: read }, x: {} } } }'],
])('%s is fine', async (_, text) => {
  const { config, problems } = await parseConfig(text, 'x');
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  expect(config).toBeDefined();
});

const wrong: [text: string, ...problems: string[]][] = [
  ['polcy: {}\n', '1:1 polcy error: unknown key "polcy" (did you mean `policy`?)'],
  [
    'a: 1\nb: 2\n',
    '1:1 a error: unknown key "a" (known here: servers, redact, capture, policy, limits, approvals, tools, onUnrecordable, findings, entities, anchors, proxy, encryption, auth, trustedTaps, retention)',
    '2:1 b error: unknown key "b" (known here: servers, redact, capture, policy, limits, approvals, tools, onUnrecordable, findings, entities, anchors, proxy, encryption, auth, trustedTaps, retention)',
  ],
  ['limits: { per: tool }\n', '1:9 limits error: a limit says no limit (give it requests, concurrent or bytes)'],
  ['limits: { requests: 60 }\n', '1:21 limits.requests error: `requests` must be a string, not 60 (put it in quotes: "60")'],
  ['limits: { requests: 60/day }\n', '1:21 limits.requests error: `requests` is no rate (requests in a second, minute or hour, as in 60/min)'],
  ['limits: { bytes: 50/h }\n', '1:18 limits.bytes error: `bytes` is no rate (bytes in a second, minute or hour, as in 50MB/h)'],
  ['limits: { burst: 3, bytes: 5MB/s }\n', '1:11 limits.burst error: `burst` belongs to `requests` (add `requests: 60/min`, or remove it)'],
  [
    'limits: [{ name: a, concurrent: 1 }, { name: a, concurrent: 2 }]\n',
    '1:46 limits[1].name error: the name "a" is there twice (limits[0] has it already)',
  ],
  ['policy:\n  defalt: deny\n', '2:3 policy.defalt error: unknown key "defalt" in `policy` (did you mean `default`?)'],
  ['policy:\n  default: denny\n', '2:12 policy.default error: `default` must be allow or deny, not "denny" (did you mean deny?)'],
  ['policy:\n', '1:8 policy error: `policy` must be a map, not empty (is what belongs to it indented too little? else remove the line)'],
  ['policy: []\n', '1:9 policy error: `policy` must be a map, not a list'],
  ['- a\n', '1:1 error: the file must be a map, not a list'],
  ['just text\n', '1:1 error: the file must be a map, not "just text"'],
  ['policy: { rules: { name: a } }\n', '1:18 policy.rules error: `rules` must be a list, not a map (begin each item with a dash: - )'],
  ['policy:\n  rules:\n\t- name: a\n', '3:1 error: a tab stands where lines are indented (YAML indents with spaces only)'],
  ['policy:\n  default: allow\n  default: deny\n', '3:3 policy.default error: the key "default" is there twice (it is in line 2 already)'],
  ['policy: {rules: []}\n', '1:17 policy.rules warning: `rules` is an empty list (remove it, or add a rule)'],
  ['', '1:1 warning: the file says nothing: every message passes and is stored in full'],
  ['# only\n', '1:1 warning: the file says nothing: every message passes and is stored in full'],
  [
    rule('tool: *_x'),
    '3:36 policy.rules[0].tool error: "*_x" is an alias, and nothing before it is marked &_x (text that begins with * stands in quotes: "*_x")',
  ],
  [rule('tool: [a, *]'), '3:40 error: a bare * is an alias without a name (text that begins with * stands in quotes: "*")'],
  [rule('tool: !x'), '3:36 error: a tag (!…) has no meaning in this file (text that begins with ! stands in quotes)'],
  [rule('tool: ""'), '3:36 policy.rules[0].tool error: `tool` is empty'],
  [rule('tool: []'), '3:36 policy.rules[0].tool error: `tool` is an empty list (remove it, or name something)'],
  [rule('tool: 5'), '3:36 policy.rules[0].tool error: `tool` must be a string or a list of strings, not 5 (put it in quotes: "5")'],
  [rule('tool: {a: 1}'), '3:36 policy.rules[0].tool error: `tool` must be a string or a list of strings, not a map'],
  [rule('tool: [a, [b]]'), '3:40 policy.rules[0].tool[1] error: `tool[1]` must be a string, not a list'],
  [
    rule('tool: "ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé"'),
    '3:36 policy.rules[0].tool error: `tool` has 258 bytes, at most 256 are allowed',
  ],
  [rule('effect: wirte'), '3:38 policy.rules[0].effect error: `effect` must be read, write or unknown, not "wirte" (did you mean write?)'],
  [
    rule('effect: [read, writ]'),
    '3:45 policy.rules[0].effect[1] error: `effect[1]` must be read, write or unknown, not "writ" (did you mean write?)',
  ],
  [rule('effect: 5'), '3:38 policy.rules[0].effect error: `effect` must be read, write or unknown, or a list of these, not 5'],
  [rule('effect: {}'), '3:38 policy.rules[0].effect error: `effect` must be read, write or unknown, or a list of these, not a map'],
  [rule('direction: c2c'), '3:41 policy.rules[0].direction error: `direction` must be c2s or s2c, not "c2c" (did you mean c2s?)'],
  [rule('sensitive: yes'), '3:41 policy.rules[0].sensitive error: `sensitive` must be true or false, not "yes" (write true, without quotes)'],
  [rule('sensitive: "true"'), '3:41 policy.rules[0].sensitive error: `sensitive` must be true or false, not "true" (write true, without quotes)'],
  [rule('allow: true'), '3:18 policy.rules[0].deny error: the rule "a" has `allow` and `deny` (a rule does one of them)'],
  [rule('timeout: 5m'), '3:30 policy.rules[0].timeout error: `timeout` belongs to a rule with `ask` (add `ask: true`, or remove it)'],
  [rule('approvers: { uid: 1 }'), '3:30 policy.rules[0].approvers error: `approvers` belongs to a rule with `ask` (add `ask: true`, or remove it)'],
  [
    'policy:\n  rules:\n    - { name: a, ask: true, on: [request, result] }\n',
    '3:33 policy.rules[0].on error: a rule with `ask` is about requests alone (remove `on`, or use `deny` or `flag`)',
  ],
  [
    'policy:\n  rules:\n    - { name: a, ask: true, timeout: 25h }\n',
    '3:38 policy.rules[0].timeout error: `timeout` is no span of time from 1s to 24h (a number and s, m or h, as in 5m)',
  ],
  [rule('flag: false'), '3:36 policy.rules[0].flag error: `flag` must be true, not false (remove the line)'],
  [
    'policy:\n  rules:\n    - { name: a, tool: x }\n',
    '3:7 policy.rules[0] error: the rule "a" does not say what it does (add `allow: true`, `deny: true`, `flag: true` or `ask: true`)',
  ],
  ['policy:\n  rules:\n    - { deny: true }\n', '3:7 policy.rules[0].name error: `name` is missing'],
  [
    'policy:\n  rules:\n    - { name: a, deny: yes }\n',
    '3:24 policy.rules[0].deny error: `deny` must be true, not "yes" (write true, without quotes)',
  ],
  [
    'policy:\n  rules:\n    - { name: a, action: deny }\n',
    '3:18 policy.rules[0].action error: unknown key "action" in `rules[0]` (write `allow: true`, `deny: true`, `flag: true` or `ask: true`)',
  ],
  ['policy:\n  rules:\n    - { name: 5, deny: true }\n', '3:15 policy.rules[0].name error: `name` must be a string, not 5 (put it in quotes: "5")'],
  [
    'policy:\n  rules:\n    - { name: "sworn:x", deny: true }\n',
    '3:15 policy.rules[0].name error: `name` begins with sworn:, which is reserved (choose another name)',
  ],
  [
    'policy:\n  rules:\n    - { name: "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", deny: true }\n',
    '3:15 policy.rules[0].name error: `name` has 65 bytes, at most 64 are allowed',
  ],
  ['policy:\n  rules:\n    - { name: "a\\u200b", deny: true }\n', '3:15 policy.rules[0].name error: `name` holds characters that cannot be seen'],
  ['policy:\n  rules:\n    - { name: " a", deny: true }\n', '3:15 policy.rules[0].name error: `name` begins or ends with a blank'],
  [
    rule('tool: x }\n    - { name: a, deny: true, tool: y'),
    '4:15 policy.rules[1].name error: the name "a" is there twice (policy.rules[0] has it already)',
  ],
  [
    rule('principal: alice'),
    '3:41 policy.rules[0].principal error: `principal` does not name its part: observed, verified or declared (what somebody says of itself: principal: { declared: { name: alice } })',
  ],
  [rule('principal: {}'), '3:41 policy.rules[0].principal error: `principal` is an empty map (name a part: observed, verified or declared)'],
  [rule('principal: { observed: {} }'), '3:53 policy.rules[0].principal.observed error: `observed` is an empty map (name uid or executable)'],
  [
    rule('principal: { observed: { uid: root } }'),
    '3:60 policy.rules[0].principal.observed.uid error: `uid` must be a whole number or a list of whole numbers, not "root"',
  ],
  [rule('principal: { observed: { uid: -1 } }'), '3:60 policy.rules[0].principal.observed.uid error: `uid` must be at least 0, not -1'],
  [rule('principal: { observed: { uid: 1.5 } }'), '3:60 policy.rules[0].principal.observed.uid error: `uid` must be a whole number, not 1.5'],
  [
    rule('principal: { observed: { uid: [1, x] } }'),
    '3:64 policy.rules[0].principal.observed.uid[1] error: `uid[1]` must be a whole number, not "x"',
  ],
  [
    rule('principal: { observd: { uid: 1 } }'),
    '3:43 policy.rules[0].principal.observd error: unknown key "observd" in `principal` (did you mean `observed`?)',
  ],
  [
    rule('principal: { declared: { nam: x } }'),
    '3:55 policy.rules[0].principal.declared.nam error: unknown key "nam" in `declared` (did you mean `name`?)',
  ],
  [
    rule('principal: { alice: {} }'),
    '3:43 policy.rules[0].principal.alice error: unknown key "alice" in `principal` (known here: observed, verified, declared)',
  ],
  [rule('on: reply'), '3:34 policy.rules[0].on error: `on` must be request, result or notification, not "reply"'],
  [
    rule('on: [request, resutl]'),
    '3:44 policy.rules[0].on[1] error: `on[1]` must be request, result or notification, not "resutl" (did you mean result?)',
  ],
  [rule('on: []'), '3:34 policy.rules[0].on error: `on` is an empty list (remove it, or name something)'],
  [rule('when: ""'), '3:36 policy.rules[0].when error: `when` is empty'],
  [rule('when: true'), '3:36 policy.rules[0].when error: `when` must be a string, not true (put it in quotes: "true")'],
  [rule('reason: 5'), '3:38 policy.rules[0].reason error: `reason` must be a string, not 5 (put it in quotes: "5")'],
  [rule('enforce: maybe'), '3:39 policy.rules[0].enforce error: `enforce` must be true or false, not "maybe"'],
  [rule('condition: x'), '3:30 policy.rules[0].condition error: unknown key "condition" in `rules[0]` (did you mean `when`?)'],
  [
    rule('to: x'),
    '3:30 policy.rules[0].to error: unknown key "to" in `rules[0]` (known here: name, allow, deny, flag, ask, on, server, tool, method, client, label, principal, effect, direction, sensitive, destructive, when, reason, enforce, timeout, approvers)',
  ],
  [rule('tools: x'), '3:30 policy.rules[0].tools error: unknown key "tools" in `rules[0]` (did you mean `tool`?)'],
  ['redact: { keys: [] }\n', '1:9 redact error: a redact rule names nothing to redact (give it keys, paths or detect)'],
  ['redact: {}\n', '1:9 redact error: a redact rule names nothing to redact (give it keys, paths or detect)'],
  [
    'redact: [ { keys: [a] }, { name: redact, keys: b } ]\n',
    '1:34 redact[1].name error: the name "redact" is there twice (redact[0] has it already)',
  ],
  ['redact: [ { keys: [a], keep: dorp } ]\n', '1:30 redact[0].keep error: `keep` must be drop or checkable, not "dorp" (did you mean drop?)'],
  [
    'redact:\n  paths: ["params.ssn"]\n',
    '2:12 redact.paths[0] error: `paths[0]` cannot be read: a path begins with $, the whole message (as in $.params.arguments.ssn or, at any depth, $..ssn)',
  ],
  [
    'redact:\n  paths: ["$.params[x]"]\n',
    "2:21 redact.paths[0] error: `paths[0]` cannot be read: between [ and ] stands a number from 0, * or a name in quotes, as in [0], [*] or ['a b']",
  ],
  ["redact:\n  paths: ['$[''a'']b']\n", '2:20 redact.paths[0] error: `paths[0]` cannot be read: a step begins with . or ['],
  ['redact:\n  detect: [secret]\n', '2:12 redact.detect[0] error: `detect[0]` must be a known word, not "secret" (did you mean secrets?)'],
  ['redact:\n  detect: 5\n', '2:11 redact.detect error: `detect` must be a known word or a list of these, not 5'],
  ['redact: pii\n', '1:9 redact error: `redact` must be a map or a list, not "pii"'],
  ['redact: [ pii ]\n', '1:11 redact[0] error: `redact[0]` must be a map, not "pii"'],
  ['redact:\n  keys: [5]\n', '2:10 redact.keys[0] error: `keys[0]` must be a string, not 5 (put it in quotes: "5")'],
  ['capture: full\n', '1:10 capture error: `capture` must be a map, not "full"'],
  ['capture: { default: ful }\n', '1:21 capture.default error: `default` must be none, metadata, request or full, not "ful" (did you mean full?)'],
  ['capture: { rules: [ { method: x } ] }\n', '1:21 capture.rules[0].level error: `level` is missing'],
  [
    'capture: { rules: [ { levl: full } ] }\n',
    '1:21 capture.rules[0].level error: `level` is missing',
    '1:23 capture.rules[0].levl error: unknown key "levl" in `rules[0]` (did you mean `level`?)',
  ],
  ['servers: { hr: { get: { sensitive: true } } }\n', '1:18 servers.hr.get error: unknown key "get" in `hr` (known here: tools)'],
  ['servers: { hr: { tools: { x: { effect: unknown } } } }\n', '1:40 servers.hr.tools.x.effect error: `effect` must be read or write, not "unknown"'],
  ['servers: { hr: { tools: [x] } }\n', '1:25 servers.hr.tools error: `tools` must be a map, not a list'],
  ['servers: { "": {} }\n', '1:12 servers[""] error: a key in `servers` is empty'],
  [
    'servers: { hr: { tools: { "*": {sensitive: true}, 42: {sensitive: false} } } }\n',
    '1:51 servers.hr.tools["42"] error: the pattern "42" stands behind others (patterns of digits alone come first)',
  ],
  ['servers: { __proto__: {} }\n', '1:12 servers error: the key "__proto__" is not possible here'],
  ['onUnrecordable: blok\n', '1:17 onUnrecordable error: `onUnrecordable` must be block or pass, not "blok" (did you mean block?)'],
  [
    'onUnrecordable: { delete: block }\n',
    '1:19 onUnrecordable.delete error: unknown key "delete" in `onUnrecordable` (known here: default, read, write, unknown)',
  ],
  ['onUnrecordable: true\n', '1:17 onUnrecordable error: `onUnrecordable` must be block or pass, or a map, not true'],
  ['onUnrecordable: { read: 1 }\n', '1:25 onUnrecordable.read error: `read` must be block or pass, not 1'],
  [
    'policy: {\n',
    '2:1 error: not YAML: flow map in block collection must be sufficiently indented and end with a } (look at the indentation, at brackets and at quotes)',
  ],
  ['policy: "x\n', '1:9 error: a closing " is missing'],
  ['a: b: c\n', '1:4 error: a second colon in one line (put text that holds ": " in quotes; or the line is indented too far)'],
  ['--- {}\n--- {}\n', '2:1 error: a second document begins here (one file holds one document: remove the line --- or ...)'],
  ['? [a]\n: 1\n', '1:3 error: a key is a word, not a list or a map (a value that begins with [ or { stands behind a key, or in quotes)'],
  ['policy: @x\n', '1:9 error: text cannot begin with @ (put it in quotes)'],
  [
    'x: "\\s"\n',
    '1:5 error: there is no escape "\\\\s" in double quotes (put the text in single quotes, where a backslash is itself, or write \\\\)',
  ],
  ['<<: {}\n', '1:1 ["<<"] error: unknown key "<<" (merge keys belong to YAML 1.1; write the members out)'],
  ['policy: &p { default: *p }\n', '1:23 policy.default error: "*p" stands inside of what it refers to'],
  ['%YAML 1.1\n---\npolicy: {}\n', '1:1 error: the file says that it is YAML 1.1, where yes and on are not words (remove the line %YAML 1.1)'],
  [
    '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]',
    '1:33 [0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0] error: lists and maps are nested deeper than 32 levels',
  ],
  [
    'rules:\n- name: a\n  deny: true\n when: x\n',
    '4:1 error: not YAML: sequence item without - indicator (look at the indentation, at brackets and at quotes)',
  ],
  [
    '{"policy": {"rules": [{"name": "a", "deny": true, "tool": 1}]}}',
    '1:59 policy.rules[0].tool error: `tool` must be a string or a list of strings, not 1 (put it in quotes: "1")',
  ],
  ['\ufeffpolcy: {}\n', '1:1 polcy error: unknown key "polcy" (did you mean `policy`?)'],
  ['policy: {default: deny, "default": allow}\n', '1:25 policy.default error: the key "default" is there twice (it is in line 1 already)'],
  ['policy: {}\n...\nx\n', '3:1 error: a second document begins here (one file holds one document: remove the line --- or ...)'],
  [
    'policy: *none\n',
    '1:9 policy error: "*none" is an alias, and nothing before it is marked &none (text that begins with * stands in quotes: "*none")',
  ],
  [
    'a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n',
    '1:14 f[0][5][2][5][7][3] error: aliases stand for more than 200,000 values (write out what is meant)',
  ],
  [rule('label: team'), '3:37 policy.rules[0].label warning: "team" fits no label: a label is key=value (did you mean "team=*"?)'],
  [
    'policy:\n  rules:\n    - { name: all, allow: true }\n    - { name: b, deny: true, tool: x }\n    - { name: c, deny: true, on: [request, result] }\n',
    '4:7 policy.rules[1] warning: the rule "b" is never reached: "all" in line 3 decides on all that it names (put the narrower rule first, or remove one of them)',
  ],
  [
    rule('tool: "db/*" }\n    - { name: b, allow: true, tool: db/read }\n    - { name: c, allow: true, tool: "d?/*"'),
    '4:7 policy.rules[1] warning: the rule "b" is never reached: "a" in line 3 decides on all that it names (put the narrower rule first, or remove one of them)',
  ],
  [rule(`tool: "${'x'.repeat(257)}"`), '3:36 policy.rules[0].tool error: `tool` has 257 bytes, at most 256 are allowed'],
  [rule(`tool: "${'é'.repeat(129)}"`), '3:36 policy.rules[0].tool error: `tool` has 258 bytes, at most 256 are allowed'],
  [rule(`reason: "${'r'.repeat(257)}"`), '3:38 policy.rules[0].reason error: `reason` has 257 bytes, at most 256 are allowed'],
  [`redact: { keys: [${'a,'.repeat(1001)}] }\n`, '1:17 redact.keys error: `keys` has 1,001 items, at most 1,000 are allowed'],
  [`redact: [${'{keys: a},'.repeat(1001)}]\n`, '1:9 redact error: `redact` has 1,001 items, at most 1,000 are allowed'],
  [`#${'x'.repeat(1024 * 1024)}`, '1:1 error: the file has more than 1,048,576 bytes, which is the most that is allowed'],
];

test.each(wrong.map((row, i) => [i, ...row] as const))('wrong file %i', async (_, text, ...problems) => {
  expect(await problemsOf(text), text.slice(0, 200)).toEqual(problems);
  const { config } = await parseConfig(text, 'sworn.yaml');
  expect(config === undefined).toBe(problems.some((one) => / error: |^\d+:\d+ error: /.test(one)));
});

test('there are enough wrong files', () => {
  expect(wrong.length).toBeGreaterThan(40);
});

describe('conditions', () => {
  test.each([
    ['plain', rule('when: has(args.x) && nope'), 3, 51],
    ['single quotes', rule(`when: '"it''s" == "" || nope'`), 3, 54],
    ['double quotes', rule(String.raw`when: "'\u00e9\t\U0001F600' == '' || nope"`), 3, 67],
    ['literal block', 'policy:\n  rules:\n    - name: a\n      deny: true\n      when: |\n        true &&\n          nope == 2\n', 7, 11],
    [
      'literal block with CRLF',
      'policy:\r\n  rules:\r\n    - name: a\r\n      deny: true\r\n      when: |\r\n        true &&\r\n          nope == 2\r\n',
      7,
      11,
    ],
    ['folded block: where it begins', 'policy:\n  rules:\n    - name: a\n      deny: true\n      when: >-\n        true &&\n        nope\n', 5, 13],
    ['several lines in quotes: where they begin', 'policy:\n  rules:\n    - name: a\n      deny: true\n      when: "true &&\n        nope"\n', 5, 13],
  ])('the place of an error: %s', async (_, text, atLine, column) => {
    const { config, problems } = await parseConfig(text, 'x');
    expect(config).toBeUndefined();
    expect(problems).toMatchObject([
      { line: atLine, column, path: 'policy.rules[0].when', severity: 'error', message: expect.stringContaining('nope') },
    ]);
  });

  test('what is wrong elsewhere does not hide them', async () => {
    expect((await problemsOf(rule('tol: x, when: nope'))).length).toBe(2);
  });

  test('what is suspicious in them is a warning', async () => {
    const { config, problems } = await parseConfig(rule('when: args.x == 1'), 'x');
    expect(config).toBeDefined();
    expect(problems).toMatchObject([{ line: 3, severity: 'warning', path: 'policy.rules[0].when' }]);
  });
});

test('an unknown detector is told with those that are known', async () => {
  const [problem] = (await parseConfig('redact:\n  detect: [email, frobnicate]\n', 'x')).problems;
  expect(problem).toMatchObject({
    line: 2,
    column: 19,
    message: '`detect[1]` must be a known word, not "frobnicate"',
    hint: expect.stringContaining('secrets, pii, '),
  });
});

test('an alias means the anchor before it', async () => {
  const text = 'redact:\n  - { keys: &x a }\n  - { keys: &y [*x, b], name: n }\n  - { keys: &x c }\n  - { keys: *y }\n  - { keys: *x, keep: *x }\n';
  const { problems } = await parseConfig(text, 'x');
  expect(problems.map(line)).toEqual(['4:16 redact[4].keep error: `keep` must be drop or checkable, not "c"']);
  const { config } = await parseConfig(text.replace(', keep: *x', ''), 'x');
  expect(config?.policy.redact.map(({ keys }) => keys)).toEqual([['a'], ['a', 'b'], ['c'], ['a', 'b'], ['c']]);
});

test('further checks see the policy and the places', async () => {
  const { config, problems } = await parseConfig(rule('tool: x'), 'x', (policy, at) => [
    { ...at(['policy', 'rules', 0, 'tool', 0]), path: 'p', message: policy.policy.rules[0]!.name, severity: 'error' },
  ]);
  expect(config).toBeUndefined();
  expect(problems.map(line)).toEqual(['3:36 p error: a']);
});

test('no text makes it fail', async () => {
  const parts = fc.constantFrom(
    ...['policy', 'rules', 'redact', 'keys', 'paths', 'servers', 'tools', 'name', 'deny', 'when', 'principal', 'capture', 'true', '5', '$..a', '1 +'],
    ...[
      ':',
      ': ',
      '\n',
      '\n  ',
      '\n    ',
      '- ',
      '[',
      ']',
      '{',
      '}',
      ',',
      '"',
      "'",
      '&a ',
      '*a',
      '!x ',
      '|\n',
      '>\n',
      '#',
      '?',
      '%',
      '\t',
      '---\n',
      '<<',
      '\0',
      '\ud800',
    ],
  );
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.array(parts, { maxLength: 30 }).map((list) => list.join('')),
        fc.string({ unit: 'binary' }),
      ),
      async (text) => {
        const { config, problems } = await parseConfig(text, 'x');
        expect(config === undefined).toBe(problems.some(({ severity }) => severity === 'error'));
        const lines = text.split('\n').length;
        for (const problem of problems) {
          expect(problem.line).toBeGreaterThan(0);
          expect(problem.line).toBeLessThanOrEqual(lines);
          expect(problem.column).toBeGreaterThan(0);
        }
      },
    ),
    { numRuns: 1500 },
  );
});

test('values of any shape in every place', async () => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom<unknown>(null, true, false, 0, -1, 1.5, '', 'a', '*', 'deny', 'request', '$.a', 'nope'),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(
        fc.constantFrom(
          'servers',
          'redact',
          'capture',
          'policy',
          'onUnrecordable',
          'rules',
          'default',
          'name',
          'deny',
          'when',
          'tool',
          'tools',
          'principal',
          'observed',
          'keys',
          'paths',
          '1',
          'x',
        ),
        tie('any'),
        { maxKeys: 4 },
      ),
    ),
  })).any;
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.constantFrom('servers', 'redact', 'capture', 'policy', 'onUnrecordable'), value), async (file) => {
      const { config, problems } = await parseConfig(JSON.stringify(file), 'x');
      expect(config === undefined).toBe(problems.some(({ severity }) => severity === 'error'));
    }),
    { numRuns: 500 },
  );
});

test.each([
  { conditions: 100, mostMs: 2_000 },
  // nearly all of it is the engine's, which compiles each of them
  { conditions: 10_000, mostMs: 10_000 },
])('10,000 rules with $conditions different conditions are read in time', async ({ conditions, mostMs }) => {
  const one = (i: number): string => `    - { name: r${i}, deny: true, tool: srv/tool_${i}, when: 'has(args.n) && args.n == ${i % conditions}' }\n`;
  const text = `policy:\n  rules:\n${Array.from({ length: 10_000 }, (_, i) => one(i)).join('')}`;
  const before = process.cpuUsage();
  const started = performance.now();
  const { config } = await parseConfig(text, 'x');
  const ms = process.cpuUsage(before).user / 1000;
  const size = `${(text.length / 1024).toFixed(0)} KiB`;
  console.log(
    `10,000 rules, ${conditions} conditions, ${size}: ${(performance.now() - started).toFixed(0)} ms, ${ms.toFixed(0)} ms of processor time`,
  );
  expect(config?.policy.policy.rules.length).toBe(10_000);
  expect(ms).toBeLessThan(mostMs);
});

test('rules that nothing reaches', () => {
  const base = { action: 'deny' as const, on: ['request' as const], enforce: true };
  const dead = (...rules: object[]): number[] => reach(rules.map((one, i) => ({ ...base, name: `r${i}`, ...one }))).map((found) => found.rule);
  expect(dead({}, { tool: ['x'] })).toEqual([1]);
  expect(dead({ tool: ['x', 'y'] }, { tool: ['y', 'x'], when: 'true' })).toEqual([1]);
  expect(dead({ tool: ['db/*'] }, { tool: ['db/read'] }, { tool: ['read'] }, { tool: ['*/read'] })).toEqual([1, 3]);
  expect(dead({ tool: ['*'] }, { tool: ['db/*'] }, {})).toEqual([1]);
  expect(dead({ tool: ['a?'] }, { tool: ['a*'] }, { tool: ['ab'] })).toEqual([2]);
  expect(dead({ when: 'true' }, { tool: ['x'] })).toEqual([]);
  expect(dead({ enforce: false }, { tool: ['x'] })).toEqual([]);
  expect(dead({ on: ['request'] }, { on: ['request', 'result'] }, { on: ['result'] })).toEqual([2]);
  expect(dead({ on: ['request'] }, { on: ['result'] }, { on: ['request', 'result'], tool: ['x'] })).toEqual([2]);
  expect(dead({ effect: ['read', 'write'] }, { effect: ['write'] }, { effect: ['unknown'] }, {})).toEqual([1]);
  expect(dead({}, { method: ['initialize'] }, { method: ['init*'] })).toEqual([2]);
  expect(
    dead({ principal: { observed: { uid: [1, 2] } } }, { principal: { observed: { uid: [2] } } }, { principal: { declared: { name: ['x'] } } }),
  ).toEqual([1]);
  expect(dead({ sensitive: true }, { sensitive: false }, { sensitive: true, tool: ['x'] })).toEqual([2]);
});

test.each([
  ['polcy', 'policy'],
  ['defualt', 'default'],
  ['Tool', 'tool'],
  ['to', undefined],
  ['frobnicate', undefined],
])('%s was probably meant to be %s', (text, word) => {
  expect(nearest(text, ['policy', 'default', 'tool', 'on'])).toBe(word);
});

describe('files', () => {
  const file = (name: string, content: string | Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };

  test('are loaded, or one error tells the first problem', async () => {
    const good = file('good.yaml', example);
    expect(await loadConfig(good)).toMatchObject({ path: good, digest: createHash('sha256').update(example).digest('hex') });
    const bad = file('bad.yaml', 'polcy: {}\nplicy: {}\nx: 1\n');
    await expect(loadConfig(bad)).rejects.toMatchObject({
      code: 'config-invalid',
      exit: 78,
      message: `${bad}:1:1: unknown key "polcy" (and 2 errors more)`,
      hint: `see all of it with: sworn policy check ${bad}`,
    });
    const missing = join(folder, 'missing.yaml');
    await expect(loadConfig(missing)).rejects.toMatchObject({
      code: 'config-missing',
      exit: 66,
      message: `cannot read ${missing}: there is no such file`,
    });
    await expect(loadConfig(folder)).rejects.toMatchObject({ code: 'config-missing', message: `cannot read ${folder}: it is a folder` });
  });

  test('that are no text are refused', async () => {
    expect((await readConfig(file('latin1.yaml', Buffer.from('policy: {}\n# M\xfcller\n', 'latin1')))).problems.map(line)).toEqual([
      '2:4 error: the file is not UTF-8 (save it as UTF-8)',
    ]);
    expect((await readConfig('/dev/zero')).problems.map(line)).toEqual([
      '1:1 error: the file has more than 1,048,576 bytes, which is the most that is allowed',
    ]);
  });

  test('the default one does not come from the environment', () => {
    expect(defaultConfigPath()).toMatch(/\/\.config\/sworn\/sworn\.yaml$/);
  });

  const run = async (...words: string[]): Promise<{ status: number; out: string }> => {
    let out = '';
    const output: Output = { out: (text) => (out += text), err: () => undefined, isTTY: false, color: false, columns: 80 };
    const status = await policyCommand({ action: 'check', file: words[0], json: words[1] === '--json' }, output);
    return { status, out };
  };

  test('sworn policy check', async () => {
    const good = file(
      'check.yaml',
      'policy: { rules: [{ name: a, deny: true, enforce: false }, { name: b, flag: true, on: result }] }\nredact: { keys: x }\n',
    );
    const digest = (await loadConfig(good)).digest;
    expect(await run(good)).toEqual({
      status: 0,
      out: `${good}: no problems, 2 rules (1 of them a shadow rule), 1 redact rule, digest ${digest.slice(0, 16)}…\n`,
    });
    expect(JSON.parse((await run(good, '--json')).out)).toEqual({
      file: good,
      valid: true,
      problems: [],
      digest,
      rules: 2,
      shadowRules: 1,
      redactRules: 1,
      captureRules: 0,
    });
    const bad = file('esc.yaml', 'polcy: {}\n"\\e[31m": 1\nredact: []\n');
    expect(await run(bad)).toEqual({
      status: 65,
      out: `${bad}:1:1: error: unknown key "polcy"\n  hint: did you mean \`policy\`?\n${bad}:2:1: error: unknown key "\\u001b[31m"\n  hint: known here: servers, redact, capture, policy, limits, approvals, tools, onUnrecordable, findings, entities, anchors, proxy, encryption, auth, trustedTaps, retention\n${bad}: 2 errors\n`,
    });
    const json = JSON.parse((await run(bad, '--json')).out) as { valid: boolean; problems: ConfigProblem[] };
    expect(json).toMatchObject({ valid: false, problems: [{ line: 1, column: 1, path: 'polcy', severity: 'error' }, { line: 2 }] });
    const suspicious = file('warn.yaml', 'redact: []\n');
    expect(await run(suspicious)).toMatchObject({
      status: 0,
      out: expect.stringContaining(`${suspicious}: 1 warning, 0 rules, 0 redact rules, digest `),
    });
    await expect(run(join(folder, 'none.yaml'))).rejects.toMatchObject({ exit: 66 });
  });
});

const auth = (fields: string): string => `auth: { ${fields} }\n`;
const issuer = (fields: string): string => auth(`issuers: [{ issuer: i, audience: a, jwks: /k.json, ${fields} }]`);

test('who comes over HTTP, with every default in its place', async () => {
  expect((await parseConfig('# nothing', 'x')).config).toMatchObject({
    auth: { required: false, issuers: [], trustForwardedFrom: [] },
    trustedTaps: [],
  });
  const { config, problems } = await parseConfig(
    `auth:
  required: true
  issuers:
    - { issuer: "https://id.example", audience: mcp, jwks: "https://id.example/jwks" }
    - { issuer: i, audience: [a, b], jwks: "http://127.0.0.1:1/k", algorithms: [ES384], subject: oid, clockToleranceS: 0 }
  apiKeys: /etc/sworn/keys
  clientCertificates: { ca: /etc/sworn/ca.pem }
  trustForwardedFrom: [10.0.0.0/8, "::1", 192.0.2.7]
trustedTaps: [self, 998]
`,
    'x',
  );
  expect(problems).toEqual([]);
  expect(config?.trustedTaps).toEqual(['self', 998]);
  expect(config?.auth).toEqual({
    required: true,
    issuers: [
      {
        issuer: 'https://id.example',
        audience: ['mcp'],
        jwks: 'https://id.example/jwks',
        algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'],
        subject: 'sub',
        clockToleranceS: 30,
      },
      { issuer: 'i', audience: ['a', 'b'], jwks: 'http://127.0.0.1:1/k', algorithms: ['ES384'], subject: 'oid', clockToleranceS: 0 },
    ],
    apiKeys: '/etc/sworn/keys',
    clientCertificates: { ca: '/etc/sworn/ca.pem', subject: 'cn' },
    trustForwardedFrom: ['10.0.0.0/8', '::1', '192.0.2.7'],
  });
});

const signatures = 'RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA or Ed25519';
test.each([
  [auth('required: true'), '1:19 auth.required error: nobody could ever be verified (name issuers, apiKeys or clientCertificates)'],
  [
    auth('issuers: [{ issuer: i, audience: a, jwks: /k }, { issuer: i, audience: b, jwks: /k }]'),
    '1:67 auth.issuers[1].issuer error: the issuer "i" is there twice (auth.issuers[0] has it already: give that one several audiences)',
  ],
  [auth('issuers: [{ issuer: i, jwks: /k }]'), '1:19 auth.issuers[0].audience error: `audience` is missing'],
  [issuer('algorithms: [none]'), `1:73 auth.issuers[0].algorithms[0] error: \`algorithms[0]\` must be ${signatures}, not "none"`],
  [
    issuer('algorithms: [HS256]'),
    `1:73 auth.issuers[0].algorithms[0] error: \`algorithms[0]\` must be ${signatures}, not "HS256" (did you mean RS256?)`,
  ],
  [issuer('clockToleranceS: 301'), '1:77 auth.issuers[0].clockToleranceS error: `clockToleranceS` must be at most 300, not 301'],
  [
    auth('issuers: [{ issuer: i, audience: a, jwks: "http://id.example/k" }]'),
    '1:51 auth.issuers[0].jwks error: `jwks` comes without encryption (write https://)',
  ],
  [auth('issuers: [{ issuer: i, audience: a, jwks: keys.json }]'), '1:51 auth.issuers[0].jwks error: `jwks` is no https URL and no absolute path'],
  [auth('apiKeys: keys'), '1:18 auth.apiKeys error: `apiKeys` is no absolute path'],
  [auth('clientCertificates: {}'), '1:29 auth.clientCertificates.ca error: `ca` is missing'],
  [
    auth('trustForwardedFrom: [10.0.0.0/33]'),
    '1:30 auth.trustForwardedFrom[0] error: `trustForwardedFrom[0]` is no network (as in 10.0.0.0/8, 192.0.2.7 or fd00::/8)',
  ],
  ['trustedTaps: [me]\n', '1:15 trustedTaps[0] error: `trustedTaps[0]` must be self, not "me"'],
  ['trustedTaps: self\n', '1:14 trustedTaps error: `trustedTaps` must be a list, not "self"'],
])('%s', async (text, problem) => {
  expect(await problemsOf(text)).toEqual([problem]);
});

test('retention is a span of time', async () => {
  const read = async (content: string) => parseConfig(`retention: { content: ${content} }\n`, 'x.yaml');
  for (const [span, ms] of [
    ['1s', 1_000],
    ['15m', 900_000],
    ['90d', 7_776_000_000],
    ['2w', 1_209_600_000],
  ] as const)
    expect((await read(span)).config?.policy.retention, span).toEqual({ contentMs: ms });
  for (const wrong of ['90', '0d', '90 days', '-1d', '1000000d', '"d"', '[1d]'])
    expect((await read(wrong)).problems, wrong).toMatchObject([{ severity: 'error', path: 'retention.content' }]);
  expect((await parseConfig('retention: {}\n', 'x.yaml')).config?.policy.retention).toBeUndefined();
  expect((await parseConfig('retention: { entries: 400d }\n', 'x.yaml')).config?.policy.retention).toEqual({ entriesMs: 400 * 86_400_000 });
  expect((await parseConfig('retention: { content: 90d, entries: 90d }\n', 'x.yaml')).problems).toEqual([]);
  expect((await parseConfig('retention: { content: 90d, entries: 89d }\n', 'x.yaml')).problems).toMatchObject([
    { severity: 'error', path: 'retention.entries', message: 'entries would go before their content' },
  ]);
});

test('a webhook has an address and a secret of its own', async () => {
  const parsed = async (webhook: string) => parseConfig(`approvals: { webhook: ${webhook} }`, 'sworn.yaml');
  expect((await parsed('{ url: "https://x.example/h", secret: /etc/s }')).config?.webhook).toEqual({
    url: 'https://x.example/h',
    secret: '/etc/s',
    content: false,
  });
  expect((await parsed('{ url: "http://127.0.0.1:1/h", secret: /etc/s, content: true }')).config?.webhook?.content).toBe(true);
  expect((await parseConfig('approvals: { timeout: 1m }', 'sworn.yaml')).config).not.toHaveProperty('webhook');
  for (const wrong of ['{ url: "https://x.example" }', '{ secret: /s }', '{ url: "ftp://x", secret: /s }', '{ url: "https://x", secret: s }'])
    expect((await parsed(wrong)).problems, wrong).toMatchObject([{ severity: 'error' }]);
});

test('who is told of findings: a url or a command, from medium on', async () => {
  const { config } = await parseConfig(
    'findings: { notify: [{ url: "https://x.example/h" }, { command: [a, b], secret: /s, from: high }] }',
    'sworn.yaml',
  );
  expect(config!.findings.notify).toEqual([
    { url: 'https://x.example/h', from: 'medium' },
    { command: ['a', 'b'], secret: '/s', from: 'high' },
  ]);
  for (const wrong of [
    '{}',
    '{ url: "https://x.example", command: [a] }',
    '{ url: "ftp://x.example" }',
    '{ command: [] }',
    '{ url: "https://x.example", secret: s }',
  ])
    expect((await parseConfig(`findings: { notify: [${wrong}] }`, 'sworn.yaml')).problems, wrong).toHaveLength(1);
});
