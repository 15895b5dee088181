/** Policy, redaction, capture and refusals: one table of cases that runs over stdio and over HTTP and must come out the same. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { judgeBytes } from '../../src/limits.ts';
import { isLong } from '../long.ts';
import { converse, movedTo, ways, type Outcome, type Script, type Side, type Way } from './both-ways.ts';
import { Stage } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

type Json = Record<string, unknown>;
const call = (id: unknown, name: string, args: Json = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } });
const result = (id: unknown, text: string): string => JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text }] } });
const rules = (...list: Json[]): Json => ({ policy: { rules: list } });
const all = (...frames: (string | Buffer)[]): Script['talk'] => {
  return async (side) => {
    for (const frame of frames) await side.say(frame);
  };
};

const denies = rules(
  { name: 'no-delete', deny: true, tool: 'db/delete*', reason: 'not here' },
  { name: 'no-evil', deny: true, on: 'notification', method: 'notifications/evil' },
  { name: 'no-sampling', deny: true, direction: 's2c', method: ['sampling/*', 'elicitation/*'] },
  { name: 'no-secret', deny: true, on: 'result', when: 'result.text.contains("secret")' },
);
const waits = rules(
  { name: 'pay', ask: true, tool: 'db/pay', reason: 'money leaves' },
  { name: 'soon', ask: true, tool: 'db/soon', timeout: '1s' },
  { name: 'questions', ask: true, direction: 's2c', method: 'elicitation/*' },
);
const question = JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'elicitation/create', params: { message: 'password?' } });
const asks = (frame: string): ReturnType<NonNullable<Script['answers']>> => {
  if (frame.includes('"ask"')) return { own: [question], isHeld: true, answer: '' };
  return frame.includes('"id":7') ? { late: result(1, 'thanks') } : undefined;
};

interface Case extends Script {
  /** Of each message in the record: direction, type, verdict, rule, in short. */
  says: string[];
  /** How many frames get there. */
  reaches: [server: number, client: number];
}

const redacting = (more: Json): Json => ({ redact: { keys: ['password'], ...more } });

const cases: Record<string, Case> = {
  deny: {
    config: denies,
    talk: all(call(1, 'delete'), call(2, 'read')),
    says: ['c2s request block no-delete', 's2c refusal', 'c2s request pass', 's2c result pass'],
    reaches: [1, 2],
  },
  flag: {
    config: rules({ name: 'look', flag: true, tool: 'db/read' }),
    talk: all(call(1, 'read')),
    says: ['c2s request flag look', 's2c result pass'],
    reaches: [1, 1],
  },
  shadow: {
    config: rules({ name: 'soon', deny: true, enforce: false, tool: 'db/read' }),
    talk: all(call(1, 'read')),
    says: ['c2s request flag soon', 's2c result pass'],
    reaches: [1, 1],
  },
  'a condition that fails': {
    config: rules({ name: 'odd', deny: true, tool: 'db/read', when: 'args.n > 1' }),
    talk: all(call(1, 'read', { n: 2 }), call(2, 'read', { n: 'x' }), call(3, 'read', { n: 0 })),
    says: ['c2s request block odd', 's2c refusal', 'c2s request block odd', 's2c refusal', 'c2s request pass', 's2c result pass'],
    reaches: [1, 3],
  },
  freeze: {
    config: {},
    options: ['--write', 'put', '--read', 'get'],
    talk: async (side) => {
      await side.say(call(1, 'put'));
      const { code, stderr } = await side.stage.command('freeze', '--server', 'db', '--reason', 'code freeze', '--ledger', side.stage.ledger);
      expect([code, stderr]).toEqual([0, expect.any(String)]);
      await side.say(call(2, 'put'));
      await side.say(call(3, 'get'));
      expect((await side.stage.command('unfreeze', '--all', '--ledger', side.stage.ledger)).code).toBe(0);
      await side.say(call(4, 'put'));
    },
    says: [
      'c2s request pass',
      's2c result pass',
      'c2s request block sworn:freeze',
      's2c refusal',
      'c2s request pass',
      's2c result pass',
      'c2s request pass',
      's2c result pass',
    ],
    reaches: [3, 4],
  },
  'capture levels': {
    config: {
      capture: {
        default: 'full',
        rules: [
          { tool: 'db/m', level: 'metadata' },
          { tool: 'db/r', level: 'request' },
          { tool: 'db/n', level: 'none' },
        ],
      },
    },
    talk: all(call(1, 'm'), call(2, 'r'), call(3, 'n'), call(4, 'f')),
    says: ['c2s request pass', 's2c result pass', 'c2s request pass', 's2c result pass', 'c2s request pass', 's2c result pass'],
    reaches: [4, 4],
  },
  'redaction by key': {
    config: redacting({}),
    answers: (frame) => (frame.includes('tools/call') ? { answer: result(1, 'it was hunter22, too') } : undefined),
    talk: all(call(1, 'login', { password: 'hunter22' })),
    says: ['c2s request pass', 's2c result pass'],
    reaches: [1, 1],
  },
  'redaction by path': {
    config: { redact: { paths: ['$.params.arguments.ssn'] } },
    talk: all(call(1, 'put', { ssn: '123-45-6789', other: 'x' })),
    says: ['c2s request pass', 's2c result pass'],
    reaches: [1, 1],
  },
  'redaction by detector': {
    config: { redact: { detect: ['secrets', 'pii'] } },
    talk: all(call(1, 'put', { text: `key AKIAIOSFODNN7EXAMPLE and 4111 1111 1111 1111` })),
    says: ['c2s request pass', 's2c result pass'],
    reaches: [1, 1],
  },
  'keep: checkable': {
    config: redacting({ keep: 'checkable' }),
    talk: all(call(1, 'login', { password: 'hunter22' })),
    says: ['c2s request pass', 's2c result pass'],
    reaches: [1, 1],
  },
  'redaction in a batch': {
    config: redacting({}),
    talk: all(`[${call(1, 'login', { password: 'hunter22' })},${call(2, 'read')}]`),
    says: ['c2s batch pass', 'c2s request pass', 'c2s request pass', 's2c batch pass', 's2c result pass', 's2c result pass'],
    reaches: [1, 2],
  },
  ambiguous: {
    config: denies,
    talk: all(
      '{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"read"}}',
      '{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"read","Name":"delete"}}',
      '{"jsonrpc":"2.0","id":{"a":1},"method":"tools/call","params":{"name":"read"}}',
      '{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"read"}}',
      '{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"read","arguments":{"a":NaN}}}',
      'delete',
      Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"read'), Buffer.of(0xff), Buffer.from('"}}')]),
      '[]',
    ),
    says: [
      ...['c2s request block sworn:ambiguous', 's2c refusal', 'c2s request block sworn:ambiguous', 's2c refusal'],
      ...['c2s request block sworn:ambiguous', 'c2s request block sworn:ambiguous', 'c2s opaque block sworn:ambiguous', 's2c refusal'],
      ...['c2s opaque block sworn:ambiguous', 'c2s request block sworn:ambiguous', 's2c refusal', 'c2s opaque block sworn:ambiguous'],
    ],
    reaches: [0, 4],
  },
  'a batch': {
    config: denies,
    talk: all(`[${call(1, 'read')},${call(2, 'delete')},{"jsonrpc":"2.0","method":"notifications/x"}]`, `[${call(3, 'read')},${call(4, 'read')}]`),
    says: [
      ...[
        'c2s batch block no-delete',
        'c2s request block no-delete',
        'c2s request block no-delete',
        'c2s notification block no-delete',
        's2c refusal',
        's2c refusal',
      ],
      ...['c2s batch pass', 'c2s request pass', 'c2s request pass', 's2c batch pass', 's2c result pass', 's2c result pass'],
    ],
    reaches: [1, 4],
  },
  'a reply': {
    config: denies,
    answers: (frame) =>
      frame.includes('"read"')
        ? { answer: frame.startsWith('[') ? `[${result(2, 'fine')},${result(3, 'a secret')}]` : result(1, 'a secret') }
        : undefined,
    talk: all(call(1, 'read'), `[${call(2, 'read')},${call(3, 'read')}]`),
    says: [
      ...['c2s request pass', 's2c result block no-secret', 's2c refusal'],
      ...[
        'c2s batch pass',
        'c2s request pass',
        'c2s request pass',
        's2c batch block no-secret',
        's2c result block no-secret',
        's2c result block no-secret',
        's2c refusal',
        's2c refusal',
      ],
    ],
    reaches: [2, 3],
  },
  'notifications of both sides': {
    config: denies,
    answers: (frame) =>
      frame.includes('"read"')
        ? { own: ['{"jsonrpc":"2.0","method":"notifications/evil"}', '{"jsonrpc":"2.0","method":"notifications/fine"}'], answer: result(1, 'x') }
        : undefined,
    talk: all('{"jsonrpc":"2.0","method":"notifications/evil"}', '{"jsonrpc":"2.0","method":"notifications/fine"}', call(1, 'read')),
    says: [
      'c2s notification block no-evil',
      'c2s notification pass',
      'c2s request pass',
      's2c notification block no-evil',
      's2c notification pass',
      's2c result pass',
    ],
    reaches: [2, 2],
  },
  'a question of the server that is refused': {
    config: denies,
    answers: asks,
    talk: async (side) => {
      side.begin(call(1, 'ask'));
      await side.until('server', '"id":7');
      await side.until('client', 'thanks');
    },
    says: ['c2s request pass', 's2c request block no-sampling', 'c2s refusal', 's2c result pass'],
    reaches: [2, 1],
  },
  'an answer of the client that is refused': {
    config: rules({ name: 'no-passwords', deny: true, direction: 'c2s', on: 'result', when: 'result.text.contains("hunter")' }),
    answers: asks,
    talk: async (side) => {
      side.begin(call(1, 'ask'));
      await side.until('client', 'password?');
      await side.say('{"jsonrpc":"2.0","id":7,"result":{"action":"accept","content":{"text":"hunter22"}}}');
      await side.until('client', 'thanks');
    },
    says: ['c2s request pass', 's2c request pass', 'c2s result block no-passwords', 'c2s refusal', 's2c result pass'],
    reaches: [2, 2],
  },
  'requests that wait for a person': {
    config: waits,
    talk: async (side) => {
      side.begin(call(1, 'pay'));
      await side.decide('none');
      await side.say(call(2, 'read'));
      side.begin(call(3, 'pay'));
      await side.decide('approved', 2);
      await side.until('client', '"id":1,');
      await side.decide('denied');
      await side.until('client', '"id":3,');
      side.begin(call(4, 'pay'));
      await side.decide('none');
      await side.say('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}');
      await side.decide('none', 0);
      // of one that nobody knows it goes on
      await side.say('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}');
      await side.say(`[${call(5, 'read')},${call(6, 'pay')}]`);
      side.begin(call(7, 'soon'));
      await side.until('client', '"id":7,');
    },
    says: [
      ...['c2s request ask pay', 'c2s request pass', 's2c result pass', 'c2s request ask pay'],
      ...['approval approved', 's2c result pass', 'approval denied', 's2c refusal'],
      ...['c2s request ask pay', 'c2s notification block sworn:not-sent', 'approval cancelled', 'c2s notification pass'],
      ...['c2s batch block pay', 'c2s request block pay', 'c2s request block pay', 's2c refusal', 's2c refusal'],
      ...['c2s request ask soon', 'approval timed-out', 's2c refusal'],
    ],
    reaches: [3, 6],
  },
  'questions of the server that wait for a person': {
    config: waits,
    answers: asks,
    talk: async (side) => {
      side.begin(call(1, 'ask'));
      await side.decide('none');
      await side.say(call(2, 'read'));
      await side.decide('approved');
      await side.until('client', 'password?');
      await side.say('{"jsonrpc":"2.0","id":7,"result":{"action":"decline"}}');
      await side.until('client', 'thanks');
      side.begin(call(1, 'ask'));
      await side.decide('denied');
      await side.until('server', 'denied by a person');
    },
    says: [
      ...['c2s request pass', 's2c request ask questions', 'c2s request pass', 's2c result pass', 'approval approved'],
      ...['c2s result pass', 's2c result pass'],
      ...['c2s request pass', 's2c request ask questions', 'approval denied', 'c2s refusal', 's2c result pass'],
    ],
    reaches: [5, 4],
  },
  'too large': {
    config: denies,
    talk: all(
      call(1, 'read', { text: 'x'.repeat(judgeBytes) }),
      call(2, 'delete', { text: 'x'.repeat(judgeBytes / 2) }),
      call(3, 'read', { text: 'x'.repeat(judgeBytes / 2) }),
    ),
    says: ['c2s request block sworn:too-large', 's2c refusal', 'c2s request block no-delete', 's2c refusal', 'c2s request pass', 's2c result pass'],
    reaches: [1, 3],
  },
  'without rules everything passes': {
    config: {},
    talk: all('not JSON', '{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}', '[]', call(3, 'read')),
    says: ['c2s opaque pass', 'c2s request pass', 's2c result pass', 'c2s opaque pass', 'c2s request pass', 's2c result pass'],
    reaches: [4, 2],
  },
};

const inShort = ({ recorded }: Outcome): string[] =>
  recorded.map(({ direction, kind, type, verdict, rule, origin, decision }) => {
    if (kind === 'approval') return `${kind} ${String(decision)}`;
    const what = origin === 'sworn' ? ['refusal'] : [kind === 'batch' ? kind : type, verdict, rule];
    return [direction, ...what].filter((one) => one !== undefined).join(' ');
  });

/** The usual run leaves out what differs least; `SWORN_LONG=1` for all of it. */
const tried = isLong ? ways : ways.filter((way) => way !== 'http events');

for (const mode of isLong ? (['commit', 'observe'] as const) : (['commit'] as const)) {
  // without rules that refuse, `observe` waits for nothing: the record is the same
  const some = Object.entries(cases).filter(([, { config }]) => mode === 'commit' || config === denies);
  test.each(some)(`${mode}: %s is the same over stdio and over HTTP [proxy-agrees]`, async (_, script) => {
    const outcomes: [Way, Outcome][] = [];
    for (const way of tried) outcomes.push([way, await converse(way, { ...script, options: [...(script.options ?? []), '--mode', mode] })]);
    const [[, stdio], ...http] = outcomes as [[Way, Outcome], ...[Way, Outcome][]];
    expect(inShort(stdio)).toEqual(script.says);
    expect([stdio.server.length, stdio.client.length]).toEqual(script.reaches);
    for (const [way, outcome] of http) expect({ way, ...outcome }).toEqual({ way, ...stdio });
  });
}

const canMount = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'sworn', '/mnt']).status === 0;

/** A stage whose ledger has a disk of its own, what fills it, and what makes room again. */
function onDisk(): { stage: Stage; fill(side: Side): Promise<void>; mend(): Promise<void> } {
  const stage = new Stage();
  const disk = join(stage.folder, 'disk');
  mkdirSync(disk);
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'sworn-test', disk]).status).toBe(0);
  // before the stage takes its folder away
  onTestFinished(() => void spawnSync('umount', ['-l', disk]));
  const ledger = movedTo(stage, disk);
  const filler = join(disk, 'filler');
  const recordable = async (): Promise<unknown> =>
    (JSON.parse((await stage.command('recorder', 'status', '--json', '--ledger', ledger)).stdout) as Json)['recordable'];
  return {
    stage,
    fill: async ({ say }) => {
      spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096'], { stdio: 'ignore' });
      for (let i = 0; (await recordable()) === true; i++) await say(call(`fill ${i}`, 'put', { pad: 'x'.repeat(200_000) }));
    },
    mend: async () => {
      rmSync(filler);
      while ((await recordable()) !== true) await sleep(50);
    },
  };
}

describe.skipIf(!canMount)('a full disk', () => {
  test.each(['block', 'pass'] as const)('--on-unrecordable %s is the same over stdio and over HTTP [proxy-agrees]', async (word) => {
    const outcomes: unknown[] = [];
    for (const way of ways) {
      const { stage, fill, mend } = onDisk();
      const talk = async (side: Side): Promise<void> => {
        await side.say(call('before', 'read'));
        await fill(side);
        for (const frame of [
          call('r', 'read'),
          call('d', 'delete'),
          `[${call('b1', 'read')},${call('b2', 'delete')}]`,
          '{"jsonrpc":"2.0","method":"n"}',
        ])
          await side.say(frame);
        await mend();
        await side.say(call('after', 'read'));
      };
      const { server, client, recorded } = await converse(way, { config: denies, options: ['--on-unrecordable', word], stage, talk });
      const isOther = (text: string): boolean => !text.includes('"fill ');
      const told = client
        .filter(isOther)
        .map((text) => JSON.parse(text) as { id: unknown; error?: { code: number } })
        .map(({ id, error }) => [id, error?.code]);
      const ids = recorded
        .filter(({ kind, id, verdict }) => kind === 'message' && typeof id === 'string' && isOther(id) && verdict === 'pass')
        .map(({ id }) => id);
      outcomes.push({ server: server.filter(isOther), told, ids, hasGap: recorded.some(({ kind }) => kind === 'gap') });
    }
    const code = word === 'block' ? 5030 : undefined;
    const [stdio, ...http] = outcomes;
    expect(stdio).toMatchObject({
      told: [
        ['before', undefined],
        ['r', code],
        ['d', 4030],
        ['b1', 4030],
        ['b2', 4030],
        ['after', undefined],
      ],
      hasGap: true,
    });
    for (const outcome of http) expect(outcome).toEqual(stdio);
  });
});
