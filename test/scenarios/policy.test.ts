import { spawnSync } from 'node:child_process';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { judgeBytes } from '../../src/limits.ts';
import { isLong } from '../long.ts';
import { gone, line, messages, node, root, Stage, sworn, type Puppet, type Recorded, type Tap, type TapOptions } from './stage.ts';

vi.setConfig({ testTimeout: 180_000 });

type Json = Record<string, unknown>;
interface Answer {
  id: unknown;
  error?: { code: number; message: string; data?: { rule?: string; reason?: string; index?: number; executed?: unknown; resultWithheld?: boolean } };
  result?: unknown;
}

const modes = ['commit', 'observe'] as const;
/** Where what is refused waits in both: `SWORN_LONG=1` for both. */
const waiting = !isLong ? (['commit'] as const) : modes;

/** What is started here has its own parent, so that this process is no tapped client and may administrate. */
const apart = ['sh', '-c', '"$@"; exit $?', 'sh'];

function withPolicy(stage: Stage, text: string): string {
  const file = join(stage.folder, 'sworn.yaml');
  writeFileSync(file, text);
  return file;
}

/** Never half of it: a file that is empty for a moment is a policy without rules. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

async function policed(
  text: string,
  { options = [], ...more }: TapOptions & { endsWithInput?: boolean } = {},
): Promise<{ stage: Stage; file: string; tap: Tap; server: Puppet }> {
  const stage = new Stage();
  const file = withPolicy(stage, text);
  const { tap, server } = await stage.puppet({ options: ['--config', file, '--name', 'db', ...options], before: apart, ...more });
  return { stage, file, tap, server };
}

const call = (id: unknown, name: string, args: Json = {}): Json => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } });
const answers = (tap: Tap): Answer[] => tap.output.lines.map((text) => JSON.parse(text) as Answer);

/** Answers every request that reaches the server. */
function answerAll(server: Puppet): void {
  let rest = '';
  server.socket.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop()!;
    const replies = lines.flatMap((text) => {
      const message = JSON.parse(text) as Json | Json[];
      const requests = (Array.isArray(message) ? message : [message]).filter(({ id, method }) => id !== undefined && method !== undefined);
      const results = requests.map(({ id }) => ({ jsonrpc: '2.0', id, result: { content: [] } }));
      return Array.isArray(message) ? [results] : results;
    });
    if (replies.length > 0) void server.write(replies.map(line).join(''));
  });
}

/** Ends the conversation in order, and holds the ledger against its format. */
async function finished(stage: Stage, tap: Tap): Promise<Recorded[]> {
  expect(await tap.close()).toEqual({ code: 0, signal: null });
  return stage.finished();
}

describe('the example of the specification [policy-example]', () => {
  const example = /```yaml\n(# yaml-language-server[\s\S]*?)```/.exec(readFileSync(join(root, 'spec', 'policy.md'), 'utf8'))![1]!;

  test('the example of the specification refuses, withholds and flags [policy-example]', async () => {
    const { stage, tap, server } = await policed(example);
    const { code, stdout } = await stage.command('policy', 'check', join(stage.folder, 'sworn.yaml'));
    expect([code, stdout]).toEqual([0, expect.any(String)]);
    await tap.write(line(call(1, 'query', { sql: 'DROP  table people' })));
    await tap.write(line(call(2, 'query', {})));
    await tap.write(line(call(3, 'query', { sql: 'select 1' })));
    await server.input.count(1);
    await server.write(line({ jsonrpc: '2.0', id: 3, result: { content: [{ type: 'text', text: '{"integration_tokens":["x"]}' }] } }));
    await tap.output.count(3);
    expect(answers(tap).map(({ id, error }) => [id, error?.code, error?.data?.rule, error?.data?.executed, error?.data?.resultWithheld])).toEqual([
      [1, 4030, 'no-drops', false, undefined],
      [2, 4030, 'no-drops', false, undefined],
      [3, 4030, 'hide-keys', 'unknown', true],
    ]);
    expect(answers(tap)[0]!.error!.data!.reason).toBe('Destructive SQL is blocked');
    expect(server.input.lines).toEqual([JSON.stringify(call(3, 'query', { sql: 'select 1' }))]);
    const entries = await finished(stage, tap);
    for (const { error } of answers(tap)) expect(entries[error!.data!.index!]).toMatchObject({ verdict: 'block', rule: error!.data!.rule });
    expect(entries.find(({ kind }) => kind === 'policy')).toMatchObject({ act: 'load', rules: 3, opened: { text: example } });
    expect(messages(entries, { problem: 'no-such-field' })).toHaveLength(1);
  });

  test('what it would refuse is flagged [policy-example]', async () => {
    const { stage, tap, server } = await policed(example, { options: ['--name', 'hr'] });
    answerAll(server);
    for (const [id, name] of [
      [1, 'get_pay_info'],
      [2, 'submit_time_off'],
    ] as const) {
      await tap.write(line(call(id, name)));
      await tap.output.count(id);
    }
    const entries = await finished(stage, tap);
    expect(messages(entries, { type: 'request' })).toMatchObject([
      { verdict: 'pass', sensitive: true },
      { verdict: 'flag', shadow: true, rule: 'no-exfil', effect: 'write', effectSource: 'override' },
    ]);
  });
});

const denies = `policy:
  rules:
    - { name: no-delete, deny: true, tool: "db/delete*", reason: "not here" }
    - { name: no-evil, deny: true, on: notification, method: notifications/evil }
    - { name: no-sampling, deny: true, direction: s2c, method: ["sampling/*", "elicitation/*", roots/list] }
    - { name: no-secret, deny: true, on: result, when: 'result.text.contains("secret")' }
`;

const head = '"jsonrpc":"2.0","method":"tools/call"';
const smuggled = '{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"delete"}}';
/** What a client may try, and the ids that it must be told of. */
const tried: [what: string, frame: string | Buffer, told: unknown[]][] = [
  ['as it is', `{${head},"id":1,"params":{"name":"delete"}}`, [1]],
  ['an error beside the method', `{${head},"id":1,"params":{"name":"delete"},"error":"x"}`, [1]],
  ['NaN', `{${head},"id":1,"params":{"name":"delete","arguments":{"a":NaN}}}`, [1]],
  ['a second Name', `{${head},"id":1,"params":{"name":"read","Name":"delete"}}`, [1]],
  ['a second name', `{${head},"id":1,"params":{"name":"delete","name":"read"}}`, [1]],
  ['METHOD', '{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","params":{"name":"delete"}}', [1]],
  ['a long s', `{${head},"id":1,"params":{"name":"read"},"paramſ":{"name":"delete"}}`, [1]],
  ['a line end for other readers', `{"jsonrpc":"2.0","method":"notifications/progress","params":\r${smuggled}\r}`, []],
  ['an escape', `{${head},"id":1,"params":{"name":"\\u0064elete"}}`, [1]],
  ['capitals', `{${head},"id":1,"params":{"name":"DELETE_all"}}`, [1]],
  ['another script', `{${head},"id":1,"params":{"name":"d\u0435lete"}}`, [1]],
  ['what is not drawn', `{${head},"id":1,"params":{"name":"de\u200blete"}}`, [1]],
  ['wide letters', `{${head},"id":1,"params":{"name":"ｄｅｌｅｔｅ"}}`, [1]],
  ['no id', `{${head},"params":{"name":"delete"}}`, []],
  ['an id that is null', `{${head},"id":null,"params":{"name":"delete"}}`, []],
  ['an id that is an object', `{${head},"id":{"a":1},"params":{"name":"delete"}}`, []],
  ['an id that is a text', `{${head},"id":"a\\"b","params":{"name":"delete"}}`, ['a"b']],
  ['a name in a list', `{${head},"id":1,"params":{"name":["delete"]}}`, [1]],
  ['no jsonrpc', '{"id":1,"method":"tools/call","params":{"name":"delete"}}', [1]],
  ['invalid UTF-8', Buffer.concat([Buffer.from(`{${head},"id":1,"params":{"name":"delete`), Buffer.of(0xff), Buffer.from('"}}')]), [1]],
  ['a byte order mark', `\ufeff{${head},"id":1,"params":{"name":"delete"}}`, [1]],
  ['CR LF', `{${head},"id":1,"params":{"name":"delete"}}\r`, [1]],
  ['a form feed', '\f', []],
  ['no JSON', 'delete', []],
  ['a batch of one', `[${JSON.stringify(call(1, 'delete'))}]`, [1]],
  ['a batch', `[${JSON.stringify(call(1, 'read'))},${JSON.stringify(call(2, 'delete'))},{"jsonrpc":"2.0","method":"notifications/x"}]`, [1, 2]],
  ['a batch with an evil notification', `[${JSON.stringify(call(1, 'read'))},{"jsonrpc":"2.0","method":"notifications/evil"}]`, [1]],
  ['a batch in a batch', `[[${JSON.stringify(call(1, 'delete'))}],${JSON.stringify(call(2, 'read'))}]`, [2]],
  ['a batch of nothing', '[]', []],
  ['a notification', '{"jsonrpc":"2.0","method":"notifications/evil"}', []],
  ['a notification with an id', '{"jsonrpc":"2.0","id":9,"method":"notifications/evil"}', [9]],
  ['a notification with an id that is null', '{"jsonrpc":"2.0","id":null,"method":"notifications/evil"}', []],
];

test.each(modes)('%s: whatever is tried, nothing of it reaches the server, and who asked is told [policy-bypass, policy-observe]', async (mode) => {
  const { stage, tap, server } = await policed(denies, { options: ['--mode', mode] });
  answerAll(server);
  const fine = (i: number): Json => call(`fine ${i}`, 'read', { i });
  let count = 0;
  const perFrame: unknown[][] = [];
  for (const [i, [, frame]] of tried.entries()) {
    await tap.write(Buffer.concat([Buffer.from(frame), Buffer.from(`\n${line(fine(i))}`)]));
    // one after the other, so that it is known what answers what
    const before = count;
    await tap.output.until(({ lines }) => lines.slice(before).some((text) => text.includes(`"fine ${i}"`)));
    await sleep(20);
    const told = answers(tap).slice(before);
    count += told.length;
    perFrame.push(told.filter(({ id }) => id !== `fine ${i}`).map(({ id }) => id));
    for (const { id, error } of told) if (id !== `fine ${i}`) expect(error).toMatchObject({ code: 4030, data: { executed: false } });
  }
  expect(perFrame).toEqual(tried.map(([, , told]) => told));
  expect(server.input.lines).toEqual(tried.map((_, i) => JSON.stringify(fine(i))));
  const entries = await finished(stage, tap);
  for (const [i, [what, frame]] of tried.entries()) {
    const own = entries.filter((entry) => entry['direction'] === 'c2s' && entry['tapSeq'] === 2 * i + 1 && entry['batch'] === undefined);
    expect(own, what).toMatchObject([{ verdict: 'block' }]);
    expect(own[0]!.frame, what).toEqual(Buffer.from(frame));
  }
  for (const { error } of answers(tap)) {
    if (error !== undefined) expect(entries[error.data!.index!]).toMatchObject({ verdict: 'block', rule: error.data!.rule });
  }
  expect(messages(entries, { origin: 'sworn' })).toHaveLength(perFrame.flat().length);
});

test('lines without anything are delivered: nobody can take them for a message [policy-bypass]', async () => {
  const { stage, tap, server } = await policed(denies);
  const lines = ['', ' \t ', '\r'];
  await tap.write(lines.map((text) => `${text}\n`).join(''));
  await server.input.count(lines.length);
  expect(server.input.lines.map((text) => text.trim())).toEqual(['', '', '']);
  await server.write(lines.map((text) => `${text}\n`).join(''));
  await tap.output.count(lines.length);
  const entries = messages(await finished(stage, tap), {});
  expect(entries.map(({ type, verdict }) => [type, verdict])).toEqual(Array.from({ length: 6 }, () => ['opaque', 'pass']));
});

test.each(modes)('%s: requests of the server, and replies and notifications of both sides [policy-both-ways]', async (mode) => {
  const { stage, tap, server } = await policed(denies, { options: ['--mode', mode] });
  for (const [id, method] of ['sampling/createMessage', 'elicitation/create', 'roots/list'].entries())
    await server.write(line({ jsonrpc: '2.0', id, method }));
  await server.write(
    `[${JSON.stringify({ jsonrpc: '2.0', id: 'b', method: 'sampling/createMessage' })},${JSON.stringify({ jsonrpc: '2.0', method: 'x' })}]\n`,
  );
  await server.write(line({ jsonrpc: '2.0', method: 'notifications/evil' }));
  await server.input.count(4);
  expect(server.input.lines.map((text) => JSON.parse(text) as Answer)).toMatchObject([
    { id: 0, error: { code: 4030, data: { rule: 'no-sampling', executed: false } } },
    { id: 1, error: { code: 4030 } },
    { id: 2, error: { code: 4030 } },
    { id: 'b', error: { code: 4030 } },
  ]);
  // replies: in a text, in a field, as an error with a code that is none, in a batch, twice, and no JSON
  const secret = { content: [{ type: 'text', text: 'a secret' }] };
  const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  await tap.write(ids.map((id) => line(call(id, 'read'))).join(''));
  await server.input.count(4 + ids.length);
  const replies = [
    line({ jsonrpc: '2.0', id: 'a', result: secret }),
    line({ jsonrpc: '2.0', id: 'b', result: { content: [], structuredContent: { secret: 1 } } }),
    line({ jsonrpc: '2.0', id: 'c', error: { code: 'x', message: 'the secret' } }),
    line([
      { jsonrpc: '2.0', id: 'd', result: {} },
      { jsonrpc: '2.0', id: 'e', result: secret },
    ]),
    line({ jsonrpc: '2.0', id: 'f', result: secret, error: null }),
    '{"jsonrpc":"2.0","id":"g","result":{"content":[{"type":"text","text":"secret"}],"x":NaN}}\n',
  ];
  await server.write(replies.join(''));
  await tap.output.count(ids.length);
  expect(answers(tap).map(({ id }) => id)).toEqual(ids);
  for (const { error } of answers(tap)) {
    expect(error).toMatchObject({ code: 4030, data: { executed: 'unknown', resultWithheld: true, index: expect.any(Number) as number } });
  }
  expect(tap.output.text).not.toContain('"secret');
  const entries = await finished(stage, tap);
  expect(messages(entries, { direction: 's2c', verdict: 'block', type: 'request' })).toHaveLength(4);
  for (const { error } of answers(tap)) expect(entries[error!.data!.index!]).toMatchObject({ verdict: 'block' });
});

test.each(waiting)('%s: calls of 8 MiB, below and above the bound [policy-large]', async (mode) => {
  const { stage, tap, server } = await policed(denies, { options: ['--mode', mode] });
  const sized = (id: number, name: string, sizeBytes: number): string => {
    const empty = JSON.stringify(call(id, name, { text: '' }));
    return JSON.stringify(call(id, name, { text: 'x'.repeat(sizeBytes - empty.length) }));
  };
  const frames = [sized(1, 'delete', judgeBytes), sized(2, 'delete', judgeBytes + 1), sized(3, 'read', judgeBytes + 1), sized(4, 'read', judgeBytes)];
  for (const frame of frames) await tap.write(`${frame}\n`);
  await server.input.size(judgeBytes + 1);
  await tap.output.count(3);
  expect(server.input.bytes.equals(Buffer.from(`${frames[3]!}\n`))).toBe(true);
  expect(answers(tap).map(({ id, error }) => [id, error?.data?.rule])).toEqual([
    [1, 'no-delete'],
    [2, 'sworn:too-large'],
    [3, 'sworn:too-large'],
  ]);
  // both ways at a time, with what else is under way: neither keeps the other from ending
  const both = `${sized(5, 'read', judgeBytes)}\n`;
  const text = line({ jsonrpc: '2.0', method: 'notifications/message', params: { text: 'y'.repeat(judgeBytes - 80) } });
  const before = tap.output.sizeBytes;
  void tap.write(both);
  void server.write(text);
  await server.input.size(2 * (judgeBytes + 1));
  await tap.output.size(before + text.length);
  expect(tap.errors.text).toBe('');
  const entries = await finished(stage, tap);
  expect(messages(entries, { verdict: 'block' }).map(({ sizeBytes }) => sizeBytes as number)).toEqual([judgeBytes, judgeBytes + 1, judgeBytes + 1]);
});

test.each(waiting)('%s: frames too long to be judged, both ways at a time, fill no window for good [policy-large]', async (mode) => {
  const { stage, tap, server } = await policed(denies, { options: ['--mode', mode] });
  const padding = 'x'.repeat(4 * 1024 * 1024);
  const asks = JSON.stringify(call(1, 'read', { a: padding, b: padding, c: padding }));
  const tells = JSON.stringify({ jsonrpc: '2.0', id: 's', method: 'x', params: { a: padding, b: padding, c: padding } });
  // each is held up to the bound, before either goes beyond it
  const held = judgeBytes + 512 * 1024;
  void tap.write(asks.slice(0, held));
  await sleep(500);
  void server.write(tells.slice(0, held));
  await sleep(500);
  void tap.write(`${asks.slice(held)}\n`);
  void server.write(`${tells.slice(held)}\n`);
  await tap.output.count(1);
  await server.input.count(1);
  expect(answers(tap)).toMatchObject([{ id: 1, error: { code: 4030, data: { rule: 'sworn:too-large' } } }]);
  expect(JSON.parse(server.input.lines[0]!)).toMatchObject({ id: 's', error: { code: 4030, data: { rule: 'sworn:too-large' } } });
  expect(tap.errors.text).toBe('');
  await finished(stage, tap);
});

test('a deny rule that comes in the middle of a stream of calls [policy-reload]', async () => {
  const { stage, file, tap, server } = await policed('policy: { rules: [] }\n', { options: ['--mode', 'observe'] });
  answerAll(server);
  let sent = 0;
  let isRunning = true;
  const stream = (async () => {
    while (isRunning) {
      await tap.write(Array.from({ length: 20 }, () => line(call(++sent, sent % 2 === 0 ? 'delete' : 'read'))).join(''));
      await sleep(1);
    }
  })();
  const loads = (entries: Recorded[]): Recorded[] => entries.filter(({ kind, act }) => kind === 'policy' && act === 'load');
  await tap.output.count(100);
  for (let round = 0; round < 6; round++) {
    await tap.output.until(({ lines }) => lines.length >= sent - 100);
    await sleep(30);
    const before = loads(stage.entries()).length;
    replace(file, round % 2 === 0 ? denies : 'policy: { rules: [] }\n');
    process.kill(stage.recorderPid!, 'SIGHUP');
    await stage.until((entries) => loads(entries).length > before);
  }
  isRunning = false;
  await stream;
  await tap.output.count(sent);
  expect(tap.errors.text).toBe('');
  const told = answers(tap).map(({ id }) => id as number);
  expect(told.toSorted((a, b) => a - b)).toEqual(Array.from({ length: sent }, (_, i) => i + 1));
  const entries = await finished(stage, tap);
  const reached = new Set(server.input.lines.map((text) => (JSON.parse(text) as { id: number }).id));
  let denying = false;
  const seen = { refused: 0, before: 0, passed: 0 };
  for (const entry of entries) {
    if (entry.kind === 'policy') denying = entry['rules'] === 4;
    if (entry['direction'] !== 'c2s' || entry['target'] !== 'delete' || entry['origin'] !== 'client') continue;
    const isThere = reached.has(Number(entry['id']));
    if (entry['verdict'] === 'block') {
      expect([denying, isThere]).toEqual([true, false]);
      seen.refused++;
    } else {
      expect(isThere).toBe(true);
      if (denying) expect(entry).toMatchObject({ verdict: 'flag', shadow: true, problem: 'delivered-before', rule: 'no-delete' });
      if (denying) seen.before++;
      else seen.passed++;
    }
  }
  expect(seen.refused).toBeGreaterThan(20);
  expect(seen.passed).toBeGreaterThan(20);
  // what was delivered is what was sent, and in its order
  expect([...reached]).toEqual([...reached].toSorted((a, b) => a - b));
});

test('a wrong file changes nothing, and is told [policy-reload-wrong]', async () => {
  const { stage, file, tap, server } = await policed(denies);
  answerAll(server);
  await tap.write(line(call(1, 'delete')));
  await tap.output.count(1);
  writeFileSync(file, 'policy:\n  rules: [ { name: x, deny: true, tol: y } ]\n');
  process.kill(stage.recorderPid!, 'SIGHUP');
  await stage.until((entries) => entries.some(({ act }) => act === 'rejected'));
  await tap.write(line(call(2, 'delete')));
  await tap.output.count(2);
  const status = JSON.parse((await stage.command('recorder', 'status', '--json', '--ledger', stage.ledger)).stdout) as { policy: Json };
  expect(status.policy).toMatchObject({ path: file, rules: 4, canBlock: true });
  expect(readFileSync(join(stage.ledger, 'run', 'recorder.log'), 'utf8')).toMatch(/sworn\.yaml:2:\d+: .*the one before stays in force/);
  // many at a time: the last one counts
  for (const text of [denies, 'policy: { rules: [] }\n', denies, 'policy: { default: allow }\n']) {
    replace(file, text);
    process.kill(stage.recorderPid!, 'SIGHUP');
  }
  await tap.write(line(call(3, 'read')));
  await tap.output.count(3);
  await stage.until((entries) => entries.findLast(({ act }) => act === 'load')?.opened['text'] === 'policy: { default: allow }\n');
  await tap.write(line(call(4, 'delete')));
  await tap.output.count(4);
  const entries = await finished(stage, tap);
  expect(answers(tap).map(({ error }) => error?.data?.rule)).toEqual(['no-delete', 'no-delete', undefined, undefined]);
  const rejected = entries.find(({ act }) => act === 'rejected')!;
  expect(rejected['opened']).toMatchObject({ path: file, problem: expect.stringMatching(/:2:\d+: /) as string });
});

test.each(waiting)('%s: freeze and unfreeze while calls run, and across a restart [policy-freeze]', async (mode) => {
  const { stage, tap, server } = await policed('{}\n', { options: ['--mode', mode, '--read', 'read'] });
  answerAll(server);
  const at = ['--ledger', stage.ledger];
  let sent = 0;
  let isRunning = true;
  const stream = (async () => {
    while (isRunning) {
      await tap.write(Array.from({ length: 5 }, () => line(call(++sent, sent % 2 === 0 ? 'put' : 'read'))).join(''));
      await sleep(2);
    }
  })();
  await tap.output.count(50);
  const first = await stage.command('freeze', '--server', 'd*', '--reason', 'code freeze', ...at);
  expect(first.stdout).toMatch(/^frozen, entry \d+/);
  const frozen = Number(/entry (\d+)/.exec(first.stdout)![1]);
  await tap.output.until(({ text }) => text.includes('sworn:freeze'));
  expect((await stage.command('recorder', 'status', ...at)).stdout).toMatch(/frozen {5}.*code freeze/);
  const other = await stage.command('freeze', '--server', 'hr', '--all', '--until', '1h', '--json', ...at);
  const { freezes } = JSON.parse(other.stdout) as { freezes: Json[] };
  expect(freezes).toMatchObject([
    { id: frozen, server: 'd*', all: false, reason: 'code freeze' },
    { server: 'hr', all: true },
  ]);
  // the next recorder goes on with both
  const pid = stage.recorderPid!;
  process.kill(pid, 'SIGKILL');
  await gone(pid);
  await stage.until((entries) => entries.some(({ kind, reason }) => kind === 'recovery' && reason === 'unclean-stop'));
  while (!(await stage.command('recorder', 'status', ...at)).stdout.includes('code freeze')) await sleep(50);
  const marker = sent;
  await tap.output.until(({ lines }) => lines.some((text) => text.includes('sworn:freeze') && (JSON.parse(text) as { id: number }).id > marker));
  expect(await stage.command('unfreeze', String(frozen), ...at)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(String(frozen)) as string,
  });
  const after = sent;
  await tap.output.until(({ lines }) => lines.filter((text) => Number((JSON.parse(text) as { id: number }).id) > after + 20).length > 10);
  expect((await stage.command('unfreeze', '7', ...at)).code).not.toBe(0);
  isRunning = false;
  await stream;
  await tap.output.count(sent);
  expect((await stage.command('unfreeze', '--all', ...at)).code).toBe(0);
  const told = answers(tap).map(({ id }) => id as number);
  expect(told.toSorted((a, b) => a - b)).toEqual(Array.from({ length: sent }, (_, i) => i + 1));
  const entries = await finished(stage, tap);
  expect(entries.filter(({ kind, act }) => kind === 'policy' && act !== 'load')).toMatchObject([
    { act: 'freeze', server: 'd*', reason: 'code freeze', by: { uid: process.getuid!() } },
    { act: 'freeze', server: 'hr', all: true },
    { act: 'unfreeze', freeze: frozen },
    { act: 'unfreeze' },
  ]);
  const reached = new Set(server.input.lines.map((text) => (JSON.parse(text) as { id: number }).id));
  let isFrozen = false;
  let count = 0;
  for (const entry of entries) {
    if (entry['act'] === 'freeze') isFrozen = true;
    else if (entry['act'] === 'unfreeze') isFrozen = false;
    if (entry['direction'] !== 'c2s' || entry['type'] !== 'request') continue;
    const isThere = reached.has(Number(entry['id']));
    if (entry['verdict'] === 'block') count++;
    expect(isThere).toBe(entry['verdict'] !== 'block');
    expect([entry['target'], entry['verdict']]).toEqual(
      isFrozen && entry['target'] === 'put' ? ['put', entry['problem'] === 'delivered-before' ? 'flag' : 'block'] : [entry['target'], 'pass'],
    );
  }
  expect(count).toBeGreaterThan(10);
});

test("an agent's own server, and its client, neither freeze nor unfreeze nor reload [policy-freeze-own]", async () => {
  const stage = new Stage();
  // a server that runs what it is asked to run
  const server = `require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const { id, params } = JSON.parse(line);
    const { status, stderr } = require('node:child_process').spawnSync(process.execPath, params.words, { encoding: 'utf8' });
    console.log(JSON.stringify({ jsonrpc: '2.0', id, result: { status, stderr } }));
  });`;
  const tap = stage.tap([node, '-e', server]);
  const acts = [
    ['freeze', '--all'],
    ['unfreeze', '--all'],
    ['policy', 'reload'],
    ['recorder', 'stop'],
  ];
  for (const [id, words] of acts.entries()) {
    await tap.write(line({ jsonrpc: '2.0', id, method: 'run', params: { words: [sworn, ...words, '--ledger', stage.ledger] } }));
    await tap.output.count(id + 1);
    const { status, stderr } = answers(tap)[id]!.result as { status: number; stderr: string };
    expect([words, status], stderr).toEqual([words, 77]);
    expect(stderr).toMatch(/belongs to a tapped client/);
    // this process started the tap: it is the client
    expect((await stage.command(...words, '--ledger', stage.ledger)).code).toBe(77);
  }
  const entries = await finished(stage, tap);
  expect(entries.filter(({ kind }) => kind === 'policy' || kind === 'stop')).toMatchObject([{ kind: 'stop', reason: 'signal' }]);
});

/** Pseudo-random numbers, so that a run can be had again. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

/** `SWORN_KILLS` asks for more. */
const kills = Number(process.env['SWORN_KILLS'] ?? 2);

test.each(modes)(
  `%s: killed at random, ${kills} times, nothing refused is delivered and every call is answered once [policy-killed]`,
  async (mode) => {
    const seed = Number(process.env['SWORN_SEED'] ?? Math.floor(Math.random() * 1e9));
    const random = randomOf(seed);
    const { stage, tap, server } = await policed(denies, { options: ['--mode', mode] });
    answerAll(server);
    const sent = new Map<string, boolean>();
    let counted = 0;
    tap.process.stdout!.on('data', (chunk: Buffer) => {
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) counted++;
    });
    const ids: number[] = [];
    let isRunning = true;
    let last = 0;
    const stream = (async () => {
      while (isRunning) {
        const lines = Array.from({ length: 1 + Math.floor(random() * 30) }, () => {
          const kind = random();
          const id = ++last;
          ids.push(id);
          let text: string;
          const isRefused = random() < 0.6;
          if (kind < 0.02) text = JSON.stringify(call(id, isRefused ? 'delete' : 'read', { text: 'x'.repeat(1_500_000) }));
          else if (kind < 0.1) {
            ids.push(++last);
            text = JSON.stringify([call(id, 'read'), call(last, isRefused ? 'delete' : 'read')]);
          } else if (kind < 0.15 && isRefused)
            text = `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"read","arguments":{"a":NaN}}}`;
          else text = JSON.stringify(call(id, isRefused ? 'delete' : 'read'));
          sent.set(text, isRefused);
          return `${text}\n`;
        });
        await tap.write(lines.join(''));
        await sleep(random() * 15);
        // not without bound ahead of what is answered
        while (isRunning && last - counted > 3_000) await sleep(20);
      }
    })();
    const started = (): number => readFileSync(join(stage.ledger, 'run', 'recorder.log'), 'utf8').split('listens at').length;
    await tap.output.count(1);
    for (let killed = 0, before = 1; killed < kills;) {
      // most of them while it works, some while it starts; but not always, or the tap would give up
      if (killed % 4 !== 3) while (started() <= before) await sleep(5);
      before = started();
      await sleep(random() * 60);
      const pid = stage.recorderPid;
      if (pid === undefined) continue;
      process.kill(pid, 'SIGKILL');
      await gone(pid);
      killed++;
    }
    isRunning = false;
    await stream;
    for (let quiet = -1; quiet !== counted && tap.errors.text === '';) {
      quiet = counted;
      await sleep(2_000);
    }
    expect([seed, tap.errors.text]).toEqual([seed, '']);
    const told = tap.output.lines.flatMap((text) => JSON.parse(text) as Answer | Answer[]);
    const counts = new Map<unknown, number>();
    for (const { id } of told) counts.set(id, (counts.get(id) ?? 0) + 1);
    expect([seed, ids.filter((id) => counts.get(id) !== 1)]).toEqual([seed, []]);
    // byte for byte what was sent, in its order, and nothing that is refused
    const order = [...sent.keys()];
    const placeOf = new Map(order.map((text, i) => [text, i]));
    const positions = server.input.lines.map((text) => placeOf.get(text) ?? -1);
    expect([seed, positions.filter((at, i) => at < 0 || sent.get(order[at]!) === true || at <= (positions[i - 1] ?? -1))]).toEqual([seed, []]);
    expect(positions).toHaveLength([...sent.values()].filter((isRefused) => !isRefused).length);
    const entries = await finished(stage, tap);
    for (const { id, error } of told) {
      if (error === undefined) continue;
      expect([seed, error.code]).toEqual([seed, 4030]);
      expect(entries[error.data!.index!]).toMatchObject({ verdict: 'block', rule: error.data!.rule });
      const own = entries[error.data!.index!]!['id'] as string | undefined;
      if (own !== undefined) expect([seed, own]).toEqual([seed, String(id)]);
    }
    const verdicts = new Map<string, string[]>();
    for (const { frame, verdict } of entries) {
      const text = frame?.toString() ?? '';
      verdicts.set(text, [...(verdicts.get(text) ?? []), verdict as string]);
    }
    const odd = [...sent].filter(
      ([text, isRefused]) => text.length <= 100_000 && !isDeepStrictEqual(verdicts.get(text), [isRefused ? 'block' : 'pass']),
    );
    expect([seed, odd.map(([text]) => [text, verdicts.get(text)])]).toEqual([seed, []]);
  },
  400_000,
);

describe('the configuration [policy-config]', () => {
  const refused: [what: string, text: string | undefined, says: RegExp][] = [
    ['missing', undefined, /^sworn: error: .*cannot read .*sworn\.yaml: there is no such file.*\nsworn: hint: .*path.*\n$/],
    [
      'wrong',
      'policy:\n  rules:\n    - { name: x, deny: true, tol: y }\n',
      /^sworn: error: .*sworn\.yaml:3:\d+: unknown key "tol".*\nsworn: hint: .*sworn policy check .*sworn\.yaml\n$/,
    ],
    ['no YAML', 'policy: [\n', /^sworn: error: .*sworn\.yaml:\d+:\d+: .*\nsworn: hint: .*sworn policy check .*\n$/],
  ];
  test('is missing, or wrong: the tap says where [policy-config]', async () => {
    // each waits for the ten seconds for which a tap holds what it has
    await Promise.all(
      refused.map(async ([what, text, says]) => {
        const stage = new Stage();
        const file = join(stage.folder, 'sworn.yaml');
        if (text !== undefined) writeFileSync(file, text);
        const { tap, server } = await stage.puppet({ options: ['--config', file] });
        await tap.write(line(call(1, 'read')));
        await tap.output.count(1);
        expect(answers(tap), what).toMatchObject([{ id: 1, error: { code: 5030 } }]);
        expect(server.input.text).toBe('');
        await tap.close();
        expect(tap.errors.text).toMatch(says);
        const { code, stderr } = await stage.command('recorder', 'start', '--ledger', stage.ledger, '--config', file);
        expect(code, stderr).toBeGreaterThan(2);
        expect(stderr).toMatch(/^sworn: error: .*sworn\.yaml.*\nsworn: hint: /);
      }),
    );
  });

  test('a recorder that runs with another one says so [policy-config]', async () => {
    const { stage, tap, server } = await policed(denies);
    answerAll(server);
    await tap.write(line(call(1, 'read')));
    await tap.output.count(1);
    const other = join(stage.folder, 'other.yaml');
    writeFileSync(other, '{}\n');
    const second = stage.tap([node, '-e', 'process.stdin.pipe(process.stdout)'], { options: ['--config', other] });
    await second.write(line(call(1, 'delete')));
    await second.output.count(1);
    expect(answers(second)).toMatchObject([{ id: 1, error: { code: 5030 } }]);
    expect(second.errors.text).toMatch(
      /^sworn: error: this recorder runs with the configuration .*sworn\.yaml, not .*other\.yaml.*\nsworn: hint: .+\n$/,
    );
    await second.close();
    // without a word of it a tap takes what is there
    const third = stage.tap([node, '-e', 'process.stdin.pipe(process.stdout)'], { options: ['--name', 'db'] });
    await third.write(line(call(1, 'delete')));
    await third.output.count(1);
    expect(answers(third)).toMatchObject([{ id: 1, error: { code: 4030 } }]);
    await third.close();
    await finished(stage, tap);
  });
});

const canMount = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'sworn', '/mnt']).status === 0;
if (!canMount) console.warn('the tests of a full disk are skipped: they need root and mount');

/** A stage whose ledger has a disk of its own, which can be filled. */
async function onDisk(
  text: string,
  options: string[],
): Promise<{ stage: Stage; tap: Tap; server: Puppet; fill: () => Promise<void>; mend: () => Promise<void> }> {
  const stage = new Stage();
  const file = withPolicy(stage, text);
  const disk = join(stage.folder, 'disk');
  spawnSync('mkdir', [disk]);
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'sworn-test', disk]).status).toBe(0);
  // before the stage takes its folder away
  onTestFinished(() => void spawnSync('umount', ['-l', disk]));
  const ledger = join(disk, 'ledger');
  Object.defineProperty(stage, 'ledger', { value: ledger });
  const filler = join(disk, 'filler');
  const recordable = async (): Promise<unknown> =>
    (JSON.parse((await stage.command('recorder', 'status', '--json', '--ledger', ledger)).stdout) as Json)['recordable'];
  const { tap, server } = await stage.puppet({ options: ['--config', file, '--name', 'db', ...options], before: apart });
  return {
    stage,
    tap,
    server,
    fill: async () => {
      spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096'], { stdio: 'ignore' });
      for (let i = 0; (await recordable()) === true; i++) {
        const before = tap.output.lines.length;
        await tap.write(line(call(`fill ${i}`, 'put', { pad: 'x'.repeat(200_000) })));
        await tap.output.count(before + 1);
      }
    },
    mend: async () => {
      spawnSync('rm', [filler]);
      while ((await recordable()) !== true) await sleep(50);
    },
  };
}

describe.skipIf(!canMount)('a full disk [policy-disk]', () => {
  const cases = modes.flatMap((mode) => (['block', 'pass'] as const).map((word) => [mode, word] as const));
  test.each(cases)('%s, --on-unrecordable %s: what is refused stays refused [policy-disk]', async (mode, word) => {
    const { stage, tap, server, fill, mend } = await onDisk(denies, ['--mode', mode, '--on-unrecordable', word]);
    answerAll(server);
    await tap.write(line(call('first', 'read')));
    await tap.output.count(1);
    await fill();
    const before = tap.output.lines.length;
    const reached = server.input.lines.length;
    for (let i = 0; i < 10; i++) {
      await tap.write(line(call(`d${i}`, 'delete')));
      await tap.write(line(call(`r${i}`, 'read')));
    }
    await tap.write(line([call('b1', 'read'), call('b2', 'delete')]));
    await tap.output.count(before + 22);
    for (const { id, error } of answers(tap).slice(before)) {
      const isRefused = /^[db]/.test(String(id));
      expect([id, error?.code]).toEqual([id, isRefused ? 4030 : word === 'block' ? 5030 : undefined]);
      // there is no such entry
      if (isRefused) expect(error!.data).not.toHaveProperty('index');
    }
    expect(server.input.lines.length - reached).toBe(word === 'block' ? 0 : 10);
    expect(server.input.text).not.toContain('delete');
    await mend();
    await tap.write(line(call('d again', 'delete')));
    await tap.output.until(({ text }) => text.includes('d again'));
    const entries = await finished(stage, tap);
    const { error } = answers(tap).find(({ id }) => id === 'd again')!;
    expect(entries[error!.data!.index!]).toMatchObject({ verdict: 'block', id: '"d again"' });
    const gaps = entries.filter(({ kind }) => kind === 'gap').map((entry) => (entry['lost'] as { c2s: number }).c2s);
    expect(gaps.reduce((sum, lost) => sum + lost, 0)).toBeGreaterThanOrEqual(21);
  });

  test.each(modes)('%s: { default: block, read: pass } lets pass what an operator calls a read [policy-disk]', async (mode) => {
    const text = 'onUnrecordable: { default: block, read: pass }\nservers: { db: { tools: { get: { effect: read } } } }\n';
    // the file goes before what the tap was told
    const { stage, tap, server, fill, mend } = await onDisk(text, ['--mode', mode, '--on-unrecordable', 'pass', '--read', 'list']);
    answerAll(server);
    await tap.write('{"jsonrpc":"2.0","id":"tools","method":"tools/list"}\n');
    await server.input.count(1);
    await server.write(line({ jsonrpc: '2.0', id: 'tools', result: { tools: [{ name: 'look', annotations: { readOnlyHint: true } }] } }));
    await tap.output.count(2);
    await fill();
    const before = tap.output.lines.length;
    const reached = server.input.lines.length;
    const names = ['get', 'list', 'look', 'put', 'nobody'];
    for (const name of names) await tap.write(line(call(name, name)));
    await tap.write(line([call('bp', 'put'), call('bg', 'get')]));
    await tap.output.count(before + 7);
    const codes = Object.fromEntries(
      answers(tap)
        .slice(before)
        .map(({ id, error }) => [id, error?.code]),
    );
    expect(codes).toEqual({ get: undefined, list: undefined, look: 5030, put: 5030, nobody: 5030, bp: 5030, bg: 5030 });
    expect(server.input.lines.slice(reached)).toEqual([JSON.stringify(call('get', 'get')), JSON.stringify(call('list', 'list'))]);
    await mend();
    await finished(stage, tap);
  });
});
