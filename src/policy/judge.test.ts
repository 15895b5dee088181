import { describe, expect, test } from 'vitest';
import { utf8 } from '../bytes/bytes.ts';
import { effectOf, splitOverrides, Tools, type EffectFields } from '../mcp/effect.ts';
import { readMessage, type Batch, type Message } from '../mcp/message.ts';
import type { Freeze } from './freeze.ts';
import { compilePolicy, Judge, subjectOf, unruled, type CompiledPolicy } from './judge.ts';
import { lookOf } from './look-alike.ts';
import { wordOn, type Party, type Principal } from './match.ts';
import { noPolicy, type Policy, type Rule, type RuleAction } from './policy.ts';
import { count, uncount, countsFrom, newCounts, type SessionCounts } from './session.ts';
import type { Verdict } from './verdict.ts';

type Json = Record<string, unknown>;

const party: Party = {
  connection: 'ab'.repeat(16),
  server: 'db',
  client: 'desk',
  clientInfo: { name: 'agent', version: '1' },
  labels: { env: 'production' },
  principal: { observed: { uid: 1000, pid: 7, executable: '/usr/bin/agent' }, verified: {}, declared: { name: 'ci-7' } },
};

function rule(action: RuleAction, more: Partial<Rule> = {}): Rule {
  return { name: `${action} ${JSON.stringify(more)}`, action, on: ['request'], enforce: true, ...more };
}

function policyOf(rules: Rule[], more: Partial<Policy> = {}, fallback: 'allow' | 'deny' = 'allow'): Policy {
  return { ...noPolicy, ...more, policy: { default: fallback, rules } };
}

const readTool = { get: (name: string) => ({ name, readOnlyHint: true }) };
const noTools = new Tools();

/** One frame, judged as the recorder does. `asked`: the request that a reply answers. */
function judged(
  judge: Judge,
  frame: string | Uint8Array | Json,
  { direction = 'c2s', asked, counts = newCounts(), freezes = [], effects }: Options = {},
): Verdict {
  const bytes = typeof frame === 'string' ? utf8(frame) : frame instanceof Uint8Array ? frame : utf8(JSON.stringify(frame));
  const read: Message | Batch = readMessage(bytes);
  if (read.type === 'batch') throw new Error('one message at a time');
  const isReply = read.type === 'result' || read.type === 'error';
  const request = asked === undefined ? undefined : (readMessage(utf8(JSON.stringify(asked))) as Message);
  const own: Partial<EffectFields> =
    effects ?? ((request ?? (isReply ? undefined : read)) ? effectOf(request ?? read, noTools, splitOverrides({})) : {});
  const subject = subjectOf(read, direction, own, request);
  return judge.judge({ ...subject, anomalies: read.anomalies, bytes, sizeBytes: bytes.length }, counts, freezes, 1_000);
}

interface Options {
  direction?: 'c2s' | 's2c';
  asked?: Json;
  counts?: SessionCounts;
  freezes?: Freeze[];
  effects?: Partial<EffectFields>;
}

async function judgeOf(rules: Rule[], more: Partial<Policy> = {}, fallback: 'allow' | 'deny' = 'allow', who: Party = party): Promise<Judge> {
  return new Judge(await compilePolicy(policyOf(rules, more, fallback)), structuredClone(who));
}

const call = (name: string, args: Json = {}, more: Json = {}): Json => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: args },
  ...more,
});
const request = (method: string, params: Json = {}): Json => ({ jsonrpc: '2.0', id: 1, method, params });
const note = (method: string, params: Json = {}): Json => ({ jsonrpc: '2.0', method, params });
const result = (value: Json, id: unknown = 1): Json => ({ jsonrpc: '2.0', id, result: value });
const text = (words: string): Json => ({ content: [{ type: 'text', text: words }] });

describe('matchers', () => {
  const write = { effect: 'write' as const, effectSource: 'default' as const };
  const table: [what: string, matchers: Partial<Rule>, message: Json, options: Options, fits: boolean][] = [
    ['nothing said', {}, call('x'), {}, true],
    ['server', { server: ['d*'] }, call('x'), {}, true],
    ['another server', { server: ['hr', 'fs*'] }, call('x'), {}, false],
    ['tool', { tool: ['delete_*'] }, call('delete_all'), {}, true],
    ['another tool', { tool: ['delete_*'] }, call('list'), {}, false],
    ['tool of a server', { tool: ['db/delete_*'] }, call('delete_all'), {}, true],
    ['tool of another server', { tool: ['hr/delete_*'] }, call('delete_all'), {}, false],
    ['a tool with slashes in its name', { tool: ['db/a/b'] }, call('a/b'), {}, true],
    ['one character', { tool: ['delete_?'] }, call('delete_1'), {}, true],
    ['a prompt is no tool', { tool: ['*'] }, request('prompts/get', { name: 'delete_all' }), {}, false],
    ['no call at all', { tool: ['*'] }, request('tools/list'), {}, false],
    ['method', { method: ['resources/*'] }, request('resources/read', { uri: 'file:///x' }), {}, true],
    ['another method', { method: ['resources/*'] }, request('tools/list'), {}, false],
    ['client as given', { client: ['desk'] }, call('x'), {}, true],
    ['client as it says', { client: ['ag*'] }, call('x'), {}, true],
    ['another client', { client: ['other'] }, call('x'), {}, false],
    ['label', { label: ['env=prod*'] }, call('x'), {}, true],
    ['another label', { label: ['env=test', 'team=*'] }, call('x'), {}, false],
    ['effect', { effect: ['write'] }, call('x'), { effects: write }, true],
    ['unknown effect', { effect: ['unknown'] }, call('x'), {}, true],
    ['another effect', { effect: ['read', 'write'] }, call('x'), {}, false],
    ['direction', { direction: 's2c' }, request('sampling/createMessage'), { direction: 's2c' }, true],
    ['the other direction', { direction: 's2c' }, call('x'), {}, false],
    ['sensitive', { sensitive: true }, call('x'), { effects: { ...write, sensitive: true } }, true],
    ['not sensitive', { sensitive: true }, call('x'), {}, false],
    ['said not to be sensitive', { sensitive: false }, call('x'), {}, true],
    ['destructive', { destructive: true }, call('x'), { effects: { ...write, destructive: true } }, true],
    ['not destructive', { destructive: true }, call('x'), {}, false],
    ['all must fit', { server: ['db'], tool: ['x'], effect: ['read'] }, call('x'), {}, false],
    ['result', { on: ['result'], tool: ['x'] }, result(text('')), { direction: 's2c', asked: call('x') }, true],
    ['result of another tool', { on: ['result'], tool: ['x'] }, result(text('')), { direction: 's2c', asked: call('y') }, false],
    ['an error is a result', { on: ['result'] }, { jsonrpc: '2.0', id: 1, error: { code: 1, message: '' } }, { asked: call('x') }, true],
    ['a result is no request', {}, result(text('')), { asked: call('x') }, false],
    ['notification', { on: ['notification'], method: ['notifications/p*'] }, note('notifications/progress'), {}, true],
    ['a notification is no request', {}, note('notifications/progress'), {}, false],
    ['several', { on: ['request', 'notification'] }, note('notifications/progress'), {}, true],
    ['elicitation', { method: ['elicitation/*'] }, request('elicitation/create'), { direction: 's2c' }, true],
    ['roots', { method: ['roots/list'] }, request('roots/list'), { direction: 's2c' }, true],
  ];
  test.each(table)('%s', async (_what, matchers, message, options, fits) => {
    for (const action of ['deny', 'flag'] as const) {
      const verdict = judged(await judgeOf([rule(action, { name: 'r', ...matchers })]), message, options);
      expect(verdict).toEqual(fits ? { kind: action === 'deny' ? 'block' : 'flag', rule: 'r' } : { kind: 'pass' });
    }
    const verdict = judged(
      await judgeOf([rule('allow', { name: 'r', ...matchers }), rule('deny', { name: 'rest', on: ['request', 'result', 'notification'] })]),
      message,
      options,
    );
    expect(verdict).toEqual(fits ? { kind: 'pass', rule: 'r' } : { kind: 'block', rule: 'rest' });
  });

  const alice: Principal = { observed: { uid: 1, executable: '/bin/a' }, verified: { subject: 'alice', issuer: 'idp' }, declared: { name: 'bob' } };
  const principals: [matcher: Rule['principal'], fits: boolean][] = [
    [{ observed: { uid: [1] } }, true],
    [{ observed: { uid: [0, 2] } }, false],
    [{ observed: { executable: ['/bin/*'] } }, true],
    [{ observed: { uid: [1], executable: ['/usr/*'] } }, false],
    [{ verified: { subject: ['alice'] } }, true],
    [{ verified: { subject: ['bob'] } }, false],
    [{ verified: { subject: ['alice'], issuer: ['other'] } }, false],
    [{ declared: { name: ['bob'] } }, true],
    [{ declared: { name: ['alice'] } }, false],
    [{ observed: { uid: [1] }, declared: { name: ['bob'] } }, true],
    [{ observed: { uid: [2] }, declared: { name: ['bob'] } }, false],
  ];
  test.each(principals)('principal %j: the parts are never mixed', async (principal, fits) => {
    const judge = await judgeOf([rule('deny', { ...(principal === undefined ? {} : { principal }) })], {}, 'allow', { ...party, principal: alice });
    expect(judged(judge, call('x')).kind).toBe(fits ? 'block' : 'pass');
    const nobody = await judgeOf([rule('deny', { ...(principal === undefined ? {} : { principal }) })], {}, 'allow', {
      ...party,
      principal: { observed: {}, verified: {}, declared: {} },
    });
    expect(judged(nobody, call('x')).kind).toBe('pass');
  });

  test('a client that says who it is is another one from then on', async () => {
    const judge = await judgeOf([rule('deny', { client: ['rogue'] })]);
    expect(judged(judge, call('x')).kind).toBe('pass');
    judge.introduce({ name: 'rogue' });
    expect(judged(judge, call('x')).kind).toBe('block');
    expect(judge.party.principal.declared.name).toBe('rogue');
  });
});

describe('order', () => {
  const a = rule('allow', { name: 'a', tool: ['x*'] });
  const d = rule('deny', { name: 'd', tool: ['*y'] });
  const f = rule('flag', { name: 'f', tool: ['*'] });
  const shadow = rule('deny', { name: 's', tool: ['*'], enforce: false });
  const table: [rules: Rule[], tool: string, verdict: Verdict][] = [
    [[a, d, f], 'xy', { kind: 'pass', rule: 'a' }],
    [[d, a, f], 'xy', { kind: 'block', rule: 'd' }],
    [[f, d, a], 'xy', { kind: 'flag', rule: 'f' }],
    [[d, a], 'z', { kind: 'pass' }],
    [[shadow, d], 'xy', { kind: 'block', rule: 'd' }],
    [[shadow, a, d], 'xy', { kind: 'flag', rule: 's', shadow: true }],
    [[shadow, f], 'xy', { kind: 'flag', rule: 's', shadow: true }],
    [[shadow], 'z', { kind: 'flag', rule: 's', shadow: true }],
    [[f, shadow], 'z', { kind: 'flag', rule: 'f' }],
    [[{ ...a, enforce: false }, d], 'xy', { kind: 'block', rule: 'd' }],
    [[{ ...f, enforce: false }], 'z', { kind: 'pass' }],
    [[{ ...d, reason: 'because' }], 'y', { kind: 'block', rule: 'd', reason: 'because' }],
  ];
  test.each(table)('%#', async (rules, tool, verdict) => {
    const judge = await judgeOf(rules);
    // the second time from memory
    for (let i = 0; i < 2; i++) expect(judged(judge, call(tool))).toEqual(verdict);
  });

  test('default deny is for requests that nobody allows', async () => {
    const judge = await judgeOf([rule('allow', { name: 'a', tool: ['get'] })], {}, 'deny');
    expect(judged(judge, call('get'))).toEqual({ kind: 'pass', rule: 'a' });
    expect(judged(judge, call('put'))).toEqual({ kind: 'block', rule: 'sworn:default' });
    expect(judged(judge, request('sampling/createMessage'), { direction: 's2c' })).toEqual({ kind: 'block', rule: 'sworn:default' });
    expect(judged(judge, note('notifications/progress'))).toEqual({ kind: 'pass' });
    expect(judged(judge, result(text('')), { direction: 's2c', asked: call('get') })).toEqual({ kind: 'pass' });
    expect(judge.compiled).toMatchObject({ canBlock: true, seesWhole: true });
  });

  const blocking: [rules: Rule[], canBlock: boolean][] = [
    [[], false],
    [[rule('flag')], false],
    [[rule('allow')], false],
    [[rule('deny', { enforce: false })], false],
    [[rule('deny')], true],
    // its problem refuses
    [[rule('allow', { when: 'args.x == 1' })], true],
    [[rule('allow', { when: 'args.x == 1', enforce: false })], false],
  ];
  test.each(blocking)('whether anything can be refused: %j', async (rules, canBlock) => {
    expect((await compilePolicy(policyOf(rules))).canBlock).toBe(canBlock);
  });
});

describe('conditions', () => {
  test('of one text are one, and between different ones whoever compiles may pause', async () => {
    const rules = Array.from({ length: 9 }, (_, i) => rule('deny', { name: `r${i}`, when: `args.n == ${i % 3}` }));
    let asked = 0;
    let paused = 0;
    const compiled = await compilePolicy(policyOf(rules, { redact: [{ name: 'x', keys: ['k'], paths: [], detect: [], keep: 'drop' }] }), () => {
      if (++asked % 2 === 1) return undefined;
      return new Promise((done) => setTimeout(() => done(void paused++), 1));
    });
    expect([asked, paused]).toEqual([4, 2]);
    expect(new Set(compiled.rules.map(({ condition }) => condition)).size).toBe(3);
    const judge = new Judge(compiled, structuredClone(party));
    expect(judged(judge, call('x', { n: 2 }))).toEqual({ kind: 'block', rule: 'r2' });
  });

  const table: [action: RuleAction, enforce: boolean, args: Json, verdict: Verdict][] = [
    ['deny', true, { n: 2 }, { kind: 'block', rule: 'r' }],
    ['deny', true, { n: 1 }, { kind: 'pass' }],
    ['deny', true, {}, { kind: 'block', rule: 'r', problem: 'no-such-field' }],
    ['deny', true, { n: 'x' }, { kind: 'block', rule: 'r', problem: 'no-such-overload' }],
    ['deny', false, {}, { kind: 'flag', rule: 'r', problem: 'no-such-field', shadow: true }],
    ['allow', true, { n: 2 }, { kind: 'pass', rule: 'r' }],
    ['allow', true, {}, { kind: 'block', rule: 'r', problem: 'no-such-field' }],
    ['allow', false, {}, { kind: 'flag', rule: 'r', problem: 'no-such-field', shadow: true }],
    ['flag', true, { n: 2 }, { kind: 'flag', rule: 'r' }],
    ['flag', true, {}, { kind: 'flag', rule: 'r', problem: 'no-such-field' }],
    ['flag', false, {}, { kind: 'pass' }],
  ];
  test.each(table)('%s (enforced: %s) with %j', async (action, enforce, args, verdict) => {
    expect(judged(await judgeOf([rule(action, { name: 'r', when: 'args.n > 1', enforce })]), call('x', args))).toEqual(verdict);
  });

  test('an integer that two readers round differently is a problem, never a value', async () => {
    const judge = await judgeOf([rule('deny', { name: 'r', when: 'args.n == 9007199254740992' })]);
    expect(judged(judge, '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"n":9007199254740993}}}')).toEqual({
      kind: 'block',
      rule: 'r',
      problem: 'integer-too-large',
    });
  });

  const seen: [what: string, when: string, message: Json, options: Options][] = [
    ['the words of a result', 'result.text.contains("secret")', result(text('a secret')), { asked: call('x') }],
    ['a content that is no list', 'result.text.contains("secret")', result({ content: { type: 'text', text: 'secret' } }), { asked: call('x') }],
    [
      'an embedded resource',
      'result.text.contains("secret")',
      result({ content: [{ type: 'resource', resource: { text: 'secret' } }] }),
      { asked: call('x') },
    ],
    ['a resource', 'result.text.contains("secret")', result({ contents: [{ uri: 'x:', text: 'secret' }] }), { asked: request('resources/read') }],
    [
      'a prompt',
      'result.text.contains("secret")',
      result({ messages: [{ role: 'user', content: { type: 'text', text: 'secret' } }] }),
      { asked: request('prompts/get') },
    ],
    ['structured content', 'result.text.contains("secret")', result({ content: [], structuredContent: { secret: 1 } }), { asked: call('x') }],
    ['an error', 'result.text.contains("secret")', { jsonrpc: '2.0', id: 1, error: { code: 1, message: 'secret' } }, { asked: call('x') }],
    [
      'data of an error',
      'result.text.contains("secret")',
      { jsonrpc: '2.0', id: 1, error: { code: 1, message: '', data: ['secret'] } },
      { asked: call('x') },
    ],
    [
      'a code that is a text',
      'has(result.error) && result.isError',
      { jsonrpc: '2.0', id: 1, error: { code: 'x', message: '' } },
      { asked: call('x') },
    ],
    ['an error that is a text', 'result.isError', { jsonrpc: '2.0', id: 1, error: 'x' }, { asked: call('x') }],
  ];
  test.each(seen)('see %s', async (_what, when, message, options) => {
    const judge = await judgeOf([rule('deny', { on: ['result'], when })]);
    expect(judged(judge, message, { direction: 's2c', ...options })).toMatchObject({ kind: 'block' });
    expect(judged(judge, message, { direction: 's2c', ...options })).not.toHaveProperty('problem');
  });

  test('see who, where and how often', async () => {
    const when =
      'server == "db" && tool == "x" && client.given == "desk" && client.name == "agent" && labels.env == "production" && principal.observed.uid == 1000 && session.calls == 3 && direction == "c2s" && type == "request" && effect == "unknown" && sizeBytes > 10';
    const judge = await judgeOf([rule('flag', { name: 'r', when })]);
    expect(judged(judge, call('x'), { counts: countsFrom({ calls: 3 }) })).toEqual({ kind: 'flag', rule: 'r' });
  });
});

describe('protected methods', () => {
  const methods = ['initialize', 'server/discover', 'ping', 'notifications/initialized', 'notifications/cancelled'];
  const messageOf = (method: string): Json => (method.startsWith('notifications/') ? note(method, { requestId: 4 }) : request(method));
  test.each(methods)('%s is touched only by a rule that names it letter by letter', async (method) => {
    const everything: Rule['on'] = ['request', 'result', 'notification'];
    const others = [
      await judgeOf([rule('deny', { on: everything })]),
      await judgeOf([rule('deny', { on: everything, method: ['*'] })]),
      await judgeOf([rule('deny', { on: everything, method: [`${method.slice(0, -1)}?`] })]),
      await judgeOf([rule('deny', { on: everything, method: [method.toUpperCase()] })]),
      await judgeOf([rule('flag', { on: everything })]),
      await judgeOf([], {}, 'deny'),
    ];
    for (const judge of others) expect(judged(judge, messageOf(method))).toEqual({ kind: 'pass' });
    expect(judged(others[0]!, messageOf(method), { freezes: [{ id: 1, all: true }] })).toEqual({ kind: 'pass' });
    const named = await judgeOf([rule('deny', { name: 'r', on: everything, method: ['x', method] })]);
    expect(judged(named, messageOf(method))).toEqual({ kind: 'block', rule: 'r' });
    if (!method.startsWith('notifications/')) {
      expect(judged(others[0]!, result({}), { direction: 's2c', asked: request(method) })).toEqual({ kind: 'pass' });
      expect(judged(named, result({}), { direction: 's2c', asked: request(method) })).toEqual({ kind: 'block', rule: 'r' });
    }
  });
});

const deep = `{"jsonrpc":"2.0","id":1,"method":"x","params":${'['.repeat(600)}${']'.repeat(600)}}`;
const filler = Array.from({ length: 16_400 }, (_, i) => `"k${i}":0`).join();
const longKey = `"${'k'.repeat((1 << 20) + 1)}":0`;
const hello = '"jsonrpc":"2.0","id":1,"method":"tools/call"';
const ambiguous: [what: string, frame: string | Uint8Array][] = [
  ['blanks that are none in JSON', ' \u00a0 '],
  ['a form feed', '\f'],
  ['no JSON', '{"jsonrpc":"2.0","id":1,'],
  ['NaN', `{${hello},"params":{"name":"x","arguments":{"a":NaN}}}`],
  ['an error beside the method', `{${hello},"params":{"name":"x"},"error":"x"}`],
  ['a result beside the method', `{${hello},"params":{"name":"x"},"result":{}}`],
  ['result and error', '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}'],
  ['neither result nor error', '{"jsonrpc":"2.0","id":1,"result":null,"error":null}'],
  ['no result, and an error that is none', '{"jsonrpc":"2.0","id":1,"result":null,"error":"x"}'],
  ['a null beside a result, without jsonrpc', '{"id":1,"result":{},"error":null}'],
  ['a null beside a result, and a method that is none', '{"jsonrpc":"2.0","id":1,"method":5,"result":{},"error":null}'],
  ['a null beside a result, twice', '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""},"error":null}'],
  ['a null beside the method', `{${hello},"params":{"name":"x"},"error":null}`],
  ['a name twice', `{${hello},"params":{"name":"x","name":"y"}}`],
  ['a name twice, once with an escape', `{${hello},"params":{"name":"x","n\\u0061me":"y"}}`],
  ['another Name', `{${hello},"params":{"name":"x","Name":"y"}}`],
  ['a Name alone', `{${hello},"params":{"Name":"y"}}`],
  ['a METHOD', '{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","params":{"name":"x"}}'],
  ['a METHOD beside the method', `{${hello},"METHOD":"ping","params":{"name":"x"}}`],
  ['params with a long s', `{${hello},"params":{"name":"x"},"paramſ":{"name":"y"}}`],
  ['params with an escaped long s', `{${hello},"params":{"name":"x"},"param\\u017F":{"name":"y"}}`],
  ['arguments with a long s', `{${hello},"params":{"name":"x","argumentſ":{}}}`],
  ['params twice', `{${hello},"params":{"name":"x"},"params":{"name":"y"}}`],
  ['an argument twice', `{${hello},"params":{"name":"x","arguments":{"sql":"a","sql":"b"}}}`],
  ['an argument twice, far down', `{${hello},"params":{"name":"x","arguments":{"a":[{"b":{"sql":"a","SQL":"b"}}]}}}`],
  ['an argument twice, behind very many', `{${hello},"params":{"name":"x","arguments":{${filler},"sql":"a","sql":"b"}}}`],
  ['an argument twice in two cases, behind very many', `{${hello},"params":{"name":"x","arguments":{${filler},"sql":"a","SQL":"b"}}}`],
  ['an argument twice, behind a very long one', `{${hello},"params":{"name":"x","arguments":{${longKey},"sql":"a","sql":"b"}}}`],
  ['invalid UTF-8', Uint8Array.from([...utf8(`{${hello},"params":{"name":"`), 0xff, ...utf8('"}}')])],
  ['a byte order mark', `\ufeff{${hello},"params":{"name":"x"}}`],
  ['no jsonrpc', '{"id":1,"method":"tools/call","params":{"name":"x"}}'],
  ['another jsonrpc', '{"jsonrpc":2.0,"id":1,"method":"tools/call","params":{"name":"x"}}'],
  ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{"name":"x"}}'],
  ['an id that is true', '{"jsonrpc":"2.0","id":true,"method":"tools/call","params":{"name":"x"}}'],
  ['a method in other letters', '{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"x"}}'],
  ['a NUL in a name', `{${hello},"params":{"name":"x\\u0000"}}`],
  ['too deep', deep],
  [
    'a line end for other readers',
    '{"jsonrpc":"2.0","method":"notifications/progress","params":\r{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}\r}',
  ],
  ['a very long name', JSON.stringify(call('x'.repeat(2_000)))],
  ['a name of which there is only a beginning', JSON.stringify(call('x'.repeat(70_000)))],
  ['a very long method', JSON.stringify(request('x'.repeat(2_000)))],
];

describe('what two readers could understand differently', () => {
  test.each(ambiguous)('%s is refused while anything can be refused, whoever it is about', async (_what, frame) => {
    const other = [rule('deny', { tool: ['nobody'] })];
    for (const judge of [await judgeOf(other), await judgeOf([], {}, 'deny'), await judgeOf([rule('allow'), ...other])]) {
      const verdict = judged(judge, frame);
      expect(verdict).toMatchObject({ kind: 'block', rule: 'sworn:ambiguous' });
      expect(verdict.reason).toMatch(/^two readers could understand it differently: [a-z8, -]+$/);
    }
    const free = new Judge(unruled, party);
    expect(judged(free, frame)).toEqual({ kind: 'pass' });
    expect(judged(free, frame, { freezes: [{ id: 1, all: false }] })).toMatchObject({ kind: 'block', rule: 'sworn:ambiguous' });
    // a freeze of somebody else is none of theirs
    expect(judged(free, frame, { freezes: [{ id: 1, all: true, server: 'hr' }] })).toEqual({ kind: 'pass' });
    expect(judged(await judgeOf([rule('flag', { tool: ['nobody'] }), rule('deny', { enforce: false, tool: ['nobody'] })]), frame).kind).not.toBe(
      'block',
    );
  });

  const clear: [what: string, frame: string][] = [
    ['an empty line', ''],
    ['an empty line that ends in CR LF', '\r'],
    ['blanks', '  \t \r \t'],
    ['a null beside a result', '{"jsonrpc":"2.0","id":1,"result":{},"error":null}'],
    ['a null beside a result, before it', '{"error":null,"jsonrpc":"2.0","result":[],"id":1}'],
    ['a null beside an error', '{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":1,"message":"x"}}'],
    ['CR LF', `{${hello},"params":{"name":"x"}}\r`],
    ['a long s in a value', `{${hello},"params":{"name":"x","arguments":{"a":"paramſ","b":"\\u017f"}}}`],
    ['a long s in a key of an argument', `{${hello},"params":{"name":"x","arguments":{"nameſ":"K"}}}`],
    ['very many keys', `{${hello},"params":{"name":"x","arguments":{${filler},"s:q\\"l\\":":"a: \\"b\\": "}}}`],
    ['very many keys in many objects', JSON.stringify(call('x', { rows: Array.from({ length: 9_000 }, (_, i) => ({ id: i, 'a"b': ':' })) }))],
    ['a very long text', JSON.stringify(call('x', { text: '"k": '.repeat(300_000) }))],
    ['members of two objects', `{${hello},"params":{"name":"x","arguments":{"a":{"sql":1},"b":{"SQL":2}}}}`],
    ['an id that is null', '{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"x"}}'],
    ['line ends in texts', `{${hello},"params":{"name":"x","arguments":{"a":"\\r\\n\u2028\u0085"}}}`],
  ];
  test.each(clear)('%s is clear', async (_what, frame) => {
    expect(judged(await judgeOf([rule('deny', { tool: ['nobody'] })]), frame)).toEqual({ kind: 'pass' });
  });

  test('a line without anything is nothing that could be refused', async () => {
    for (const judge of [await judgeOf([rule('deny')]), await judgeOf([], {}, 'deny'), new Judge(unruled, party)])
      for (const line of ['', ' \t\r']) expect(judged(judge, line, { freezes: [{ id: 1, all: true }] })).toEqual({ kind: 'pass' });
  });

  test('a null beside a result or an error is as if it were not there', async () => {
    const judge = await judgeOf([
      rule('deny', { name: 'error', on: ['result'], when: 'result.isError && has(result.error)' }),
      rule('deny', { name: 'none', on: ['result'], when: 'type != "result" || has(result.error)' }),
      rule('flag', { name: 'text', on: ['result'], when: 'result.text.contains("secret")' }),
    ]);
    const reply = (more: Json): Verdict => judged(judge, { jsonrpc: '2.0', id: 1, ...more }, { direction: 's2c', asked: call('x') });
    expect(reply({ error: null })).toMatchObject({ kind: 'block' });
    expect(reply({ result: text('a secret'), error: null })).toEqual({ kind: 'flag', rule: 'text' });
    expect(reply({ result: { isError: true }, error: null })).toEqual({ kind: 'pass' });
    expect(reply({ result: null, error: { code: 1, message: 'secret' } })).toEqual({ kind: 'block', rule: 'error' });
    expect(reply({ error: { code: 1, message: 'x' } })).toEqual({ kind: 'block', rule: 'error' });
  });

  test('a reply that answers nothing could answer something: an id that is a text is a number for some', async () => {
    const withholds = await judgeOf([rule('deny', { name: 'r', on: ['result'], tool: ['secret'] })]);
    const denies = await judgeOf([rule('deny', { tool: ['secret'] })]);
    expect(judged(withholds, result({}, '1'), { direction: 's2c' })).toEqual({ kind: 'block', rule: 'r' });
    const looks = await judgeOf([
      rule('deny', {
        name: 'r',
        on: ['result'],
        tool: ['secret', 'db/x'],
        effect: ['write'],
        method: ['tools/call'],
        when: 'result.text.contains("secret")',
      }),
    ]);
    expect(judged(looks, result(text('secret'), '1'), { direction: 's2c' })).toEqual({ kind: 'block', rule: 'r' });
    expect(judged(looks, result(text('fine'), '1'), { direction: 's2c' })).toEqual({ kind: 'pass' });
    const others = await judgeOf([rule('deny', { on: ['result'], tool: ['hr/*'] }), rule('deny', { on: ['result'], client: ['nobody'] })]);
    expect(judged(others, result({}, '1'), { direction: 's2c' })).toEqual({ kind: 'pass' });
    // an exception is about what is known
    const excepts = await judgeOf([rule('allow', { on: ['result'], tool: ['fine'] }), rule('deny', { name: 'r', on: ['result'] })]);
    expect(judged(excepts, result({}, '1'), { direction: 's2c' })).toEqual({ kind: 'block', rule: 'r' });
    expect(judged(withholds, result({}), { direction: 's2c', asked: call('other') })).toEqual({ kind: 'pass' });
    expect(judged(denies, result({}, '1'), { direction: 's2c' })).toEqual({ kind: 'pass' });
    // nobody takes that for an answer
    expect(judged(withholds, { jsonrpc: '2.0', id: null, error: { code: -32700, message: 'parse error' } }, { direction: 's2c' })).toEqual({
      kind: 'pass',
    });
  });
});

describe('bypasses', () => {
  const denies = [rule('deny', { name: 'r', tool: ['delete'] })];
  const table: [what: string, frame: string][] = [
    ['an escape', `{${hello},"params":{"name":"\\u0064elete"}}`],
    ['an escaped key', `{${hello},"params":{"\\u006eame":"delete"}}`],
    ['an escaped method', '{"jsonrpc":"2.0","id":1,"m\\u0065thod":"tools\\/call","params":{"name":"delete"}}'],
    ['the name at the end', `{"params":{"arguments":{},"name":"delete"},"method":"tools/call","id":1,"jsonrpc":"2.0"}`],
    ['no id: some servers do it all the same', '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete"}}'],
    ['an id that is null', '{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"delete"}}'],
    ['a name in a list: a text for some servers', `{${hello},"params":{"name":["delete"]}}`],
    ['no name', `{${hello},"params":{}}`],
    ['blanks around the name', `{${hello},"params":{"name":" delete\u00a0"}}`],
    ['white space everywhere', `  { "jsonrpc" : "2.0" ,\t"id":1, "method" :"tools/call","params": { "name" : "delete" } } `],
    ['an id that is a float', '{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"delete"}}'],
  ];
  test.each(table)('%s', async (_what, frame) => {
    expect(judged(await judgeOf(denies), frame)).toMatchObject({ kind: 'block' });
    expect(judged(await judgeOf([rule('allow', { tool: ['get'] })], {}, 'deny'), frame)).toMatchObject({ kind: 'block' });
    expect(judged(new Judge(unruled, party), frame, { freezes: [{ id: 1, all: true }] })).toMatchObject({ kind: 'block' });
  });

  test('a notification that is sent as a request is one all the same', async () => {
    const judge = await judgeOf([rule('deny', { name: 'r', on: ['notification'], method: ['notifications/roots/*'] })]);
    for (const id of [null, 5]) {
      const frame = { jsonrpc: '2.0', id, method: 'notifications/roots/list_changed' };
      expect(judged(judge, frame)).toEqual({ kind: 'block', rule: 'r' });
    }
    expect(judged(judge, note('notifications/roots/list_changed'))).toEqual({ kind: 'block', rule: 'r' });
  });

  test.each([
    ['arguments that are a text', '{"name":"x","arguments":"{\\"sql\\":\\"drop\\"}"}'],
    ['arguments in a list', '{"name":"x","arguments":[{"sql":"drop"}]}'],
    ['arguments that are a number', '{"name":"x","arguments":5}'],
    ['parameters in a list', '["x",{"sql":"drop"}]'],
    ['parameters that are a text', '"drop"'],
  ])('%s are no empty arguments: a condition that asks whether one is there cannot be evaluated', async (_what, params) => {
    const judge = await judgeOf([rule('deny', { name: 'r', when: 'has(args.sql) && args.sql.contains("drop")' })]);
    expect(judged(judge, `{${hello},"params":${params}}`)).toMatchObject({ kind: 'block' });
    expect(judged(judge, `{${hello},"params":{"name":"x","arguments":null}}`)).toEqual({ kind: 'pass' });
    expect(judged(judge, `{${hello},"params":{"name":"x"}}`)).toEqual({ kind: 'pass' });
  });

  test.each([
    '"integration_tokens: 7"',
    '["integration_tokens"]',
    '{"code":1,"message":"m","detail":"integration_tokens"}',
    '{"code":"integration_tokens","message":"m"}',
  ])('the text of an error is all of it: %s', async (error) => {
    const judge = await judgeOf([rule('deny', { name: 'r', on: ['result'], when: 'result.text.contains("integration_tokens")' })]);
    expect(judged(judge, `{"jsonrpc":"2.0","id":1,"error":${error}}`)).toMatchObject({ kind: 'block' });
    expect(judged(judge, '{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"no"}}')).toEqual({ kind: 'pass' });
  });

  test('arguments of a call without an id are seen', async () => {
    const judge = await judgeOf([rule('deny', { name: 'r', when: 'has(args.sql) && args.sql.contains("drop")' })]);
    expect(judged(judge, call('x', { sql: 'drop table' }, { id: undefined }))).toEqual({ kind: 'block', rule: 'r' });
  });

  test('what was decided of one message is not taken for another that is written alike', async () => {
    const judge = await judgeOf([rule('deny', { tool: ['x undefined', 'undefined'] })]);
    expect(judged(judge, request('tools/call x')).kind).toBe('pass');
    expect(judged(judge, call('x undefined')).kind).toBe('block');
    expect(judged(judge, request('tools/call')).kind).toBe('block');
    expect(judged(judge, call('undefined')).kind).toBe('block');
    expect(judged(judge, call('x')).kind).toBe('pass');
  });
});

describe('freezes', () => {
  const table: [freeze: Omit<Freeze, 'id' | 'all'>, fits: boolean][] = [
    [{}, true],
    [{ server: 'd?' }, true],
    [{ server: 'hr' }, false],
    [{ client: 'desk' }, true],
    [{ client: 'agent' }, true],
    [{ client: 'x' }, false],
    [{ principal: '1000' }, true],
    [{ principal: 'ci-7' }, false],
    [{ session: 'abab' }, true],
    [{ session: 'ba' }, false],
    [{ untilMs: 1_001 }, true],
    [{ untilMs: 1_000 }, false],
    [{ server: 'db', client: 'x' }, false],
  ];
  test.each(table)('%j', (freeze, fits) => {
    const judge = new Judge(unruled, party);
    const freezes = [{ id: 3, all: false, reason: 'stop', ...freeze }];
    expect(judged(judge, call('x'), { freezes })).toEqual(fits ? { kind: 'block', rule: 'sworn:freeze', reason: 'stop' } : { kind: 'pass' });
    expect(judge.mayRefuse(freezes, 1_000)).toBe(fits);
    const read = effectOf({ method: 'tools/call', target: { kind: 'tool', value: 'x' } }, readTool, splitOverrides({}));
    expect(judged(judge, call('x'), { freezes, effects: read })).toEqual({ kind: 'pass' });
    expect(judged(judge, request('tools/list'), { freezes })).toEqual({ kind: 'pass' });
    expect(judged(judge, call('x'), { freezes: [{ ...freezes[0]!, all: true }], effects: read }).kind).toBe(fits ? 'block' : 'pass');
    expect(judged(judge, result({}), { freezes, direction: 's2c', asked: call('x') })).toEqual({ kind: 'pass' });
    expect(judged(judge, note('notifications/progress'), { freezes })).toEqual({ kind: 'pass' });
  });

  test('go before a rule that allows', async () => {
    const judge = await judgeOf([rule('allow')]);
    expect(judged(judge, call('x'), { freezes: [{ id: 1, all: true }] })).toEqual({ kind: 'block', rule: 'sworn:freeze' });
  });
});

describe('ten thousand rules', () => {
  /** Rules that say how often somebody looked at their tool. */
  async function counted(): Promise<{ compiled: CompiledPolicy; looked: () => number }> {
    let looks = 0;
    const rules = Array.from({ length: 10_000 }, (_, i): Rule => {
      const one = rule(i % 2 === 0 ? 'deny' : 'flag', { name: `r${i}` });
      return Object.defineProperty(one, 'tool', {
        enumerable: true,
        get: () => {
          looks++;
          return [`*team${i}_*`, `tool_${i}`];
        },
      });
    });
    const compiled = await compilePolicy(policyOf(rules));
    return { compiled, looked: () => looks };
  }

  test('are looked through once for each kind of message', async () => {
    const { compiled, looked } = await counted();
    const judge = new Judge(compiled, party);
    const before = looked();
    expect(judged(judge, call('tool_9998'))).toMatchObject({ kind: 'block', rule: 'r9998' });
    const once = looked() - before;
    expect(once).toBeGreaterThanOrEqual(10_000);
    for (let i = 0; i < 1_000; i++) judged(judge, call('tool_9998', { i }));
    expect(looked() - before).toBe(once);
    judged(judge, call('tool_9999'));
    expect(looked() - before).toBe(2 * once);
    judge.introduce({ name: 'another' });
    judged(judge, call('tool_9999'));
    expect(looked() - before).toBe(3 * once);
  });

  test('a stranger who makes up names, long ones and odd ones, is not waited for', async () => {
    const { compiled } = await counted();
    const judge = new Judge(compiled, party);
    const from = performance.now();
    for (const name of ['t'.repeat(60_000), 'ｔ'.repeat(20_000), 'т'.repeat(1_000), `${'t'.repeat(990)}é`]) judged(judge, call(name));
    expect(performance.now() - from).toBeLessThan(20_000);
    for (let i = 0; i < 20; i++) judged(judge, call(`made up ${i} ${'x'.repeat(i * 100)}`));
  });

  test('capture rules, too', async () => {
    let looks = 0;
    const rules = Array.from({ length: 10_000 }, (_, i) =>
      Object.defineProperty({ level: 'metadata' as const }, 'tool', { enumerable: true, get: () => (looks++, [`x${i}`]) }),
    );
    const judge = new Judge(await compilePolicy(policyOf([], { capture: { default: 'full', rules } })), party);
    const message = readMessage(utf8(JSON.stringify(call('x9999')))) as Message;
    const subject = subjectOf(message, 'c2s', {});
    for (let i = 0; i < 100; i++) expect(judge.level(subject, { kind: 'pass' })).toBe('metadata');
    expect(looks).toBeLessThanOrEqual(20_000);
  });
});

describe('look-alikes', () => {
  const alike: [name: string, other: string][] = [
    ['delete_file', 'DELETE_FILE'],
    ['delete_file', 'Delete_File'],
    ['delete_file', 'dеlete_file'],
    ['delete_file', 'ԁеlеtе_filе'],
    ['delete_file', 'DЕLЕТЕ_FILЕ'],
    ['delete_all', 'DELETE_АLL'],
    ['delete_all', 'delete_αll'],
    ['delete_file', 'ｄｅｌｅｔｅ＿ｆｉｌｅ'],
    ['delete_file', '𝐝𝐞𝐥𝐞𝐭𝐞_𝐟𝐢𝐥𝐞'],
    ['delete_file', '𝓭𝓮𝓵𝓮𝓽𝓮_𝓯𝓲𝓵𝓮'],
    ['delete_file', 'delete_ﬁle'],
    ['delete_file', 'délète_fîle'],
    ['delete_file', 'de\u200blete_file'],
    ['delete_file', 'delete\u00ad_file'],
    ['delete_file', '\u202edelete_file'],
    ['delete_file', 'delete_file\u2060'],
    ['delete_file', 'delete_file\ufe0f'],
    ['delete_file', 'delete_file\u{e0041}'],
    ['delete_file', 'delete_file '],
    ['delete_file', '\u3000delete_file\t'],
    ['delete_file', 'delete_fi\u034fle'],
    ['delete_file', 'deⅼete_fiⅼe'],
    ['delete_file', 'deӏete_fiӏe'],
    ['delete_file', 'deℓete_file'],
    ['delete_file', 'delete_fıle'],
    ['delete_file', 'DELETE_FİLE'],
    ['delete_file', 'ᴅᴇʟᴇᴛᴇ_ꜰɪʟᴇ'],
    ['send-mail', 'send‑mail'],
    ['send-mail', 'send–mail'],
    ['send-mail', 'ѕеnd-mаіl'],
    ['process', 'proceſs'],
    ['process', 'proceß'],
    ['kill', 'Kill'],
    ['kill', 'κill'],
    ['db/drop', 'db∕drop'],
    ['run.shell', 'run․shell'],
    ['exec', 'ехес'],
    ['HOOK', 'ΗΟΟΚ'],
    ['post', 'ΡΟЅΤ'],
    ['write', 'ⓦⓡⓘⓣⓔ'],
    ['move²', 'move2'],
    ['delete_file', 'delete_file\ud800'],
    ['delete_file', 'delete\ue000_file'],
  ];
  test.each(alike)('%s is %j', async (name, other) => {
    expect(lookOf(other)).toBe(lookOf(name));
    for (const [ruled, called] of [
      [name, other],
      [other, name],
    ] as const) {
      expect(judged(await judgeOf([rule('deny', { tool: [`db/${ruled}`] })]), call(called)).kind).toBe('block');
      expect(judged(await judgeOf([rule('flag', { tool: [`db/${ruled}`] })]), call(called)).kind).toBe('flag');
      // an exception is about the very name
      expect(judged(await judgeOf([rule('allow', { tool: [`db/${ruled}`] }), rule('deny')]), call(called)).kind).toBe('block');
    }
    expect(judged(await judgeOf([rule('deny', { tool: [`*/*${name}*`] })]), call(other)).kind).toBe('block');
  });

  const different: [name: string, other: string][] = [
    ['delete_file', 'delete_files'],
    ['delete_file', 'delete-file'],
    ['delete_file', 'deletefile'],
    ['delete_file', 'delete file'],
    ['delete_file', 'delete.file'],
    ['get_mail', 'get_mall'],
    ['fill', 'fiil'],
    ['list1', 'listl'],
    ['list0', 'listo'],
    ['form', 'forrn'],
    ['vv', 'w'],
    ['bar', 'baz'],
    ['run', 'ran'],
    ['a', 'aa'],
    ['read', 'reed'],
    ['put', 'pυtt'],
    ['删除', '刪除'],
    ['削除', '删除'],
    ['удалить', 'удалит'],
    ['소', '조'],
    ['حذف', 'حدف'],
    ['δ', 'd'],
    ['ж', 'x'],
    ['db/x', 'db_x'],
    ['tool_1', 'tool_2'],
  ];
  test.each(different)('%s is not %s', (name, other) => expect(lookOf(name)).not.toBe(lookOf(other)));

  test('what an operator says of a tool counts for look-alikes when it restricts', () => {
    const servers = { db: { tools: { delete: { effect: 'write' as const, sensitive: true }, get: { effect: 'read' as const } } } };
    expect(wordOn(servers, 'db', 'DELETE')).toEqual({ effect: 'write', sensitive: true });
    expect(wordOn(servers, 'db', 'GET')).toEqual({});
  });
});

describe('counts of a session', () => {
  const subject = (type: 'request' | 'notification' | 'result' | 'error' | 'opaque', method: string, effects: Partial<EffectFields> = {}) => ({
    type,
    direction: 'c2s' as const,
    method,
    effects,
  });
  const table: [what: string, ...Parameters<typeof counted>, added: Partial<SessionCounts>][] = [
    ['a call', subject('request', 'tools/call'), 'pass', false, { calls: 1 }],
    ['a read', subject('request', 'tools/call', { effect: 'read' }), 'pass', false, { calls: 1, reads: 1 }],
    ['a write', subject('request', 'tools/call', { effect: 'write', sensitive: true }), 'flag', false, { calls: 1, writes: 1 }],
    ['a call without an id', subject('notification', 'tools/call', { effect: 'write' }), 'pass', false, { calls: 1, writes: 1 }],
    ['something sensitive', subject('request', 'resources/read', { effect: 'read', sensitive: true }), 'pass', false, { sensitiveReads: 1 }],
    [
      'something sensitive that nobody knows',
      subject('request', 'tools/call', { effect: 'unknown', sensitive: true }),
      'pass',
      false,
      { calls: 1, sensitiveReads: 1 },
    ],
    ['what was refused', subject('request', 'tools/call', { effect: 'read', sensitive: true }), 'block', false, { denied: 1 }],
    ["a stranger's words", subject('result', 'tools/call', { effect: 'read', untrusted: true }), 'pass', false, { untrustedResults: 1 }],
    ['a result that is an error', subject('result', 'tools/call'), 'pass', true, { errors: 1 }],
    ['an error', subject('error', 'tools/call', { untrusted: true }), 'pass', false, { errors: 1, untrustedResults: 1 }],
    ['a withheld result', subject('result', 'tools/call', { untrusted: true }), 'block', true, { denied: 1 }],
    ['a notification', subject('notification', 'notifications/progress'), 'pass', false, {}],
    ['what is no message', subject('opaque', ''), 'pass', false, {}],
  ];
  function counted(one: ReturnType<typeof subject>, verdict: Verdict['kind'], failed: boolean): { counts: SessionCounts; undo: () => void } {
    const counts = newCounts();
    count(counts, one, verdict, failed);
    return { counts, undo: () => uncount(counts, one, verdict, failed) };
  }
  test.each(table)('%s', (_what, one, verdict, failed, added) => {
    const { counts, undo } = counted(one, verdict, failed);
    expect(counts).toEqual({ ...newCounts(), ...added });
    expect(countsFrom(JSON.parse(JSON.stringify(counts)))).toEqual(counts);
    undo();
    expect(counts).toEqual(newCounts());
  });
  test('that are none are 0', () => expect(countsFrom({ calls: -1, reads: 'x', writes: 1.5, denied: 2 })).toEqual({ ...newCounts(), denied: 2 }));
});
