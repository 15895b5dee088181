import { createHmac, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { base64 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { commitmentOf, saltBytes, segmentHash } from '../entry/commitment.ts';
import type { Entry } from '../entry/entry.ts';
import { readEntry } from '../entry/read.ts';
import type { AppendOptions, Content, Ledger, Waiter } from '../ledger/ledger.ts';
import type { ContentItem } from '../ledger/segment.ts';
import { batchItems, judgeBytes, unitBytes } from '../limits.ts';
import { compilePolicy } from '../policy/judge.ts';
import { noPolicy, type Policy, type RedactRule, type Rule } from '../policy/policy.ts';
import { moreUnits, type DirectionIndex } from '../wire/wire.ts';
import { Clock } from './clock.ts';
import { Connection, type ConnectionState } from './connection.ts';
import { record } from './record.ts';
import type { RecordDeps } from './record-deps.ts';
import { checkableSalt } from './store.ts';

const id = 'a'.repeat(32);
const findKey = randomBytes(32);

interface Appended {
  entry: Entry & Record<string, unknown>;
  content: Content;
  waiter: Waiter;
  options: AppendOptions;
}

/** A ledger that keeps what it is given and never answers by itself. */
class Kept {
  readonly appended: Appended[] = [];
  readonly parts: Buffer[] = [];
  recordable = true;

  get nextIndex(): number {
    return this.appended.length;
  }

  append(content: Content, waiter: Waiter, options: AppendOptions = {}): void {
    this.appended.push({ entry: readEntry(Buffer.from(content.leaf)) as Appended['entry'], content, waiter, options });
  }

  appendPart(part: { bytes: Uint8Array }): { file: number; offset: number } {
    this.parts.push(Buffer.from(part.bytes));
    return { file: 0, offset: 0 };
  }

  follow(waiter: Waiter): void {
    waiter.durable(undefined);
  }
}

type Given = Partial<RedactRule>;

interface Scene {
  ledger: Kept;
  connection: Connection;
  /** Told to the tap. */
  sent: Buffer[];
  c2s: (frame: string | Buffer, ...cuts: number[]) => void;
  s2c: (frame: string | Buffer, ...cuts: number[]) => void;
  rule: (policy: Policy) => Promise<void>;
  /** All that would be on disk: leaves, attributes, frames, parts, the snapshot and the refusals in it. */
  stored: () => string;
}

function policyOf(redact: Given[], more: Partial<Policy> = {}): Policy {
  return {
    ...noPolicy,
    redact: redact.map((rule, at) => ({ name: `redact-${at}`, keys: [], paths: [], detect: [], keep: 'drop', ...rule })),
    ...more,
  };
}

function deny(more: Partial<Rule>): Policy['policy'] {
  return { default: 'allow', rules: [{ name: 'no', action: 'deny', on: ['request'], enforce: true, ...more }] };
}

async function scene(policy: Policy): Promise<Scene> {
  const ledger = new Kept();
  const connection = new Connection({
    connection: id,
    server: 's',
    mode: 'commit',
    onUnrecordable: 'block',
    custody: 'same-user',
    overrides: { sensitive: [], write: [], read: [] },
    tokenDigest: '0'.repeat(64),
  });
  connection.isRecorded = true;
  connection.who = 0;
  const sent: Buffer[] = [];
  connection.socket = { write: (bytes: Buffer) => sent.push(bytes) };
  connection.rule(await compilePolicy(policy));
  const deps: RecordDeps = {
    ledger: ledger as unknown as Ledger,
    clock: new Clock(),
    freezes: [],
    findKey: () => findKey,
    searcher: { search: (redactor, bytes, known, isJson, done) => done(redactor.ranges(bytes, 0, known, isJson)) },
    openingOf: () => {
      throw new Error('it is open');
    },
  };
  const units: [number, number] = [0, 0];
  let settled = 0;
  const take = (direction: DirectionIndex, frame: string | Buffer, cuts: number[]): void => {
    const bytes = Buffer.from(frame as string);
    for (const [at, from] of [0, ...cuts].entries()) {
      const until = cuts[at];
      const unit = {
        direction,
        flags: until === undefined ? 0 : moreUnits,
        stream: 0,
        unit: ++units[direction],
        delivered: [0, 0] as [number, number],
        seenUs: 1,
      };
      record({ ...unit, bytes: bytes.subarray(from, until) }, connection, deps);
    }
    for (; settled < ledger.appended.length; settled++) ledger.appended[settled]!.waiter.durable({ index: settled, hash: Buffer.alloc(32) });
  };
  const itemText = (item: ContentItem): string => (item.state === 'kept' ? Buffer.from(item.bytes).toString() : '·');
  const stored = (): string => {
    const entries = ledger.appended.flatMap(({ content }) => [
      Buffer.from(content.leaf).toString(),
      content.attributes.map(itemText).join(''),
      content.frame.map(itemText).join(''),
    ]);
    const snapshot = connection.toJSON();
    const refusals = (snapshot.state.refusals ?? []).map(({ message }) => Buffer.from(message, 'base64').toString());
    return [...entries, ...ledger.parts.map(String), JSON.stringify(snapshot), ...refusals].join('\n');
  };
  return {
    ledger,
    connection,
    sent,
    c2s: (frame, ...cuts) => take(0, frame, cuts),
    s2c: (frame, ...cuts) => take(1, frame, cuts),
    rule: async (next) => connection.rule(await compilePolicy(next)),
    stored,
  };
}

let count = 0;
/** Nobody could have guessed it, so whoever has it got it from the message. */
function secretOf(): string {
  return `s${randomBytes(9).toString('hex')}q${count++}z`;
}

/** As escapes only. */
function escaped(text: string): string {
  return [...text].map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
}

function expectGone(stored: string, secret: string): void {
  // a text that is cut keeps a beginning
  for (const form of [secret, escaped(secret), Buffer.from(secret).toString('base64').slice(0, 12), secret.slice(0, 16)])
    expect(stored).not.toContain(form);
}

const call = (name: string, args: unknown, more = ''): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":${JSON.stringify(name)},"arguments":${JSON.stringify(args)}}${more}}`;
const result = (text: string, requestId = '1'): string =>
  `{"jsonrpc":"2.0","id":${requestId},"result":{"content":[{"type":"text","text":${JSON.stringify(text)}}]}}`;

type Field = [what: string, redact: Given, frame: (secret: string) => string, answer?: (secret: string) => string];
const K: Given = { keys: ['password', '*_token', 'authorization'] };
const request = (method: string, params: string, requestId = '1'): string =>
  `{"jsonrpc":"2.0","id":${requestId},"method":"${method}","params":${params}}`;

const fields: Field[] = [
  [
    'a long protocol version',
    { paths: ['$.params.protocolVersion'] },
    (secret) => request('initialize', `{"protocolVersion":"${secret.repeat(3)}"}`),
  ],
  ['a very long id', { paths: ['$.id'] }, (secret) => request('ping', '{}', `"${secret.repeat(900)}"`)],
  ['a very long tool', { paths: ['$.params.name'] }, (secret) => call(secret.repeat(3000), {})],
  ['an id in escapes', { paths: ['$.id'] }, (secret) => request('ping', '{}', `"${escaped(secret)}"`)],
  ['a method in escapes', { paths: ['$.method'] }, (secret) => request(escaped(secret), '{}')],
  ['a tool in escapes', { paths: ['$.params.name'] }, (secret) => request('tools/call', `{"name":"${escaped(secret)}"}`), () => result('x')],
  [
    'a tool that repeats an argument in escapes',
    K,
    (secret) => request('tools/call', `{"name":"${secret}","arguments":{"password":"${escaped(secret)}"}}`),
    () => result('x'),
  ],
  [
    'a tool that repeats in escapes',
    K,
    (secret) => request('tools/call', `{"name":"a ${escaped(secret)}","arguments":{"password":"${secret}"}}`),
    () => result('x'),
  ],
  [
    'a name in clientInfo, by path',
    { paths: ['$.params.clientInfo.name'] },
    (secret) => request('initialize', `{"clientInfo":{"name":"${secret}","version":"1"}}`),
  ],
  [
    'a name in clientInfo that repeats an argument',
    K,
    (secret) => request('initialize', `{"password":"${secret}","clientInfo":{"name":"a ${secret}","version":"1"}}`),
  ],
  [
    'a name in serverInfo, by path',
    { paths: ['$.result.serverInfo.name'] },
    () => request('initialize', '{}'),
    (secret) => `{"jsonrpc":"2.0","id":1,"result":{"serverInfo":{"name":"${secret}","version":"1"}}}`,
  ],
  [
    'a tool in a list, by path',
    { paths: ['$.result.tools[*].name'] },
    () => request('tools/list', '{}'),
    (secret) => `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"${secret}","annotations":{"readOnlyHint":true}}]}}`,
  ],
  ['an argument', K, (secret) => call('login', { password: secret })],
  ['an argument in nested JSON', K, (secret) => call('login', { body: JSON.stringify({ password: secret }) })],
  ['an argument as a text', K, (secret) => call('login', { line: `password=${secret}` })],
  ['an id', { paths: ['$.id'] }, (secret) => request('ping', '{}', `"${secret}"`), (secret) => `{"jsonrpc":"2.0","id":"${secret}","result":{}}`],
  ['an id by its name', { keys: ['id'] }, (secret) => request('ping', '{}', `"${secret}"`)],
  ['an id that repeats an argument', K, (secret) => request('tools/call', `{"name":"a","arguments":{"password":"${secret}"}}`, `"${secret}"`)],
  ['a long id', { paths: ['$.id'] }, (secret) => request('ping', '{}', `"${secret.repeat(20)}"`)],
  ['a method', { paths: ['$.method'] }, (secret) => request(secret, '{}'), () => result('x')],
  ['a long method', { paths: ['$.method'] }, (secret) => request(secret.repeat(20), '{}')],
  ['a tool', { paths: ['$.params.name'] }, (secret) => call(secret, {}), () => result('x')],
  ['a long tool', { paths: ['$.params.name'] }, (secret) => call(secret.repeat(20), {}), () => result('x')],
  ['a tool that repeats an argument', K, (secret) => call(`run ${secret}`, { password: secret }), () => result('x')],
  ['a URI', { paths: ['$.params.uri'] }, (secret) => request('resources/read', `{"uri":"x:${secret}"}`), () => result('x')],
  ['a token in a URI', K, (secret) => request('resources/read', `{"uri":"https://x.example/?a=1&api_token=${secret}&b=2"}`)],
  ['an address as a prompt', { detect: ['pii'] }, (secret) => request('prompts/get', `{"name":"${secret}@example.org"}`)],
  [
    'a member of clientInfo',
    { keys: ['apiKey'] },
    (secret) => request('initialize', `{"clientInfo":{"name":"a","version":"1","apiKey":"${secret}"}}`),
  ],
  [
    'an object in clientInfo',
    { keys: ['credentials'] },
    (secret) => request('initialize', `{"clientInfo":{"name":"a","credentials":{"value":"${secret}","n":[12]}}}`),
  ],
  ['a text in clientInfo', K, (secret) => request('initialize', `{"clientInfo":{"name":"a password=${secret}","version":"1"}}`)],
  ['a member of capabilities', K, (secret) => request('initialize', `{"clientInfo":{"name":"a"},"capabilities":{"x":{"password":"${secret}"}}}`)],
  ['a protocol version', { paths: ['$.params.protocolVersion'] }, (secret) => request('initialize', `{"protocolVersion":"${secret.slice(0, 24)}"}`)],
  [
    'a result type',
    { paths: ['$.result.resultType'] },
    () => request('x', '{}'),
    (secret) => `{"jsonrpc":"2.0","id":1,"result":{"resultType":"${secret}"}}`,
  ],
  ['a password in the answer', K, () => call('a', {}), (secret) => result(`password=${secret}`)],
  ['an answer that says it again', K, (secret) => call('a', { password: secret }), (secret) => result(`you said ${secret}.`)],
  [
    'an answer that says it again in JSON in JSON',
    K,
    (secret) => call('a', { password: `${secret}"` }),
    (secret) => result(JSON.stringify({ a: JSON.stringify([`${secret}"`]) })),
  ],
  [
    'an error that says it again',
    K,
    (secret) => call('a', { password: secret }),
    (secret) => `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no ${secret}","data":["${secret}"]}}`,
  ],
  ['an argument in what is no JSON', K, (secret) => `{"jsonrpc":"2.0","id":1,"password":"${secret}"`],
  ['an argument in words', K, (secret) => `started with password=${secret}`],
  ['an argument below duplicate names', K, (secret) => `{"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{"password":"${secret}"}}`],
];

describe('is nowhere in what is stored:', () => {
  test.for(fields)('%s', async ([, redact, frame, answer]) => {
    const secret = secretOf();
    const { c2s, s2c, stored } = await scene(policyOf([redact]));
    c2s(frame(secret));
    expectGone(stored(), secret);
    if (answer !== undefined) s2c(answer(secret));
    expectGone(stored(), secret);
  });

  test.for(fields)('%s, in a batch', async ([, redact, frame, answer]) => {
    const secret = secretOf();
    const { c2s, s2c, stored, ledger } = await scene(policyOf([redact]));
    c2s(`[{"jsonrpc":"2.0","method":"first"}, ${frame(secret)} ]`);
    expectGone(stored(), secret);
    if (answer !== undefined) s2c(`[${answer(secret)}]`);
    expectGone(stored(), secret);
    expect(ledger.appended.length).toBeGreaterThan(0);
  });

  test.for(fields)('%s, refused', async ([, redact, frame]) => {
    const secret = secretOf();
    const { c2s, stored, connection } = await scene(policyOf([redact], { policy: deny({}) }));
    c2s(frame(secret));
    connection.answer();
    expectGone(stored(), secret);
  });

  test.for(fields)('%s, without content', async ([, redact, frame, answer]) => {
    const secret = secretOf();
    for (const level of ['metadata', 'request', 'none'] as const) {
      const { c2s, s2c, stored } = await scene(policyOf([redact], { capture: { default: level, rules: [] } }));
      c2s(frame(secret));
      if (answer !== undefined) s2c(answer(secret));
      expectGone(stored(), secret);
    }
  });

  test.for(fields)('%s, in several units', async ([, redact, frame, answer]) => {
    const secret = secretOf();
    const { c2s, s2c, stored, ledger } = await scene(policyOf([redact]));
    const halves = (text: string): number[] => {
      const at = text.indexOf(secret.slice(0, 8));
      return at < 0 ? [3] : [Math.max(1, at - 2), at + 5];
    };
    c2s(frame(secret), ...halves(frame(secret)));
    if (answer !== undefined) s2c(answer(secret), ...halves(answer(secret)));
    expectGone(stored(), secret);
    expect(ledger.parts).toEqual([]);
  });
});

test('what rules are about the request alone find in it is looked for in the answer', async () => {
  for (const more of [{ direction: 'c2s' as const }, { keys: [], paths: ['$.params.arguments.password'] }, { tool: ['login'] }]) {
    const secret = secretOf();
    const { c2s, s2c, stored } = await scene(policyOf([{ ...K, ...more }]));
    c2s(call('login', { password: secret }));
    s2c(result(`you said ${secret}`));
    expectGone(stored(), secret);
  }
});

test('capture: none for requests does not let their answers say it again', async () => {
  const secret = secretOf();
  const { c2s, s2c, stored } = await scene(policyOf([K], { capture: { default: 'full', rules: [{ direction: 'c2s', level: 'none' }] } }));
  c2s(call('login', { password: secret }));
  s2c(result(`you said ${secret}`));
  expectGone(stored(), secret);
});

test('a rule about a tool is about a frame that cannot be read, too', async () => {
  const redact = { ...K, tool: ['login'] };
  for (const frame of [
    (secret: string) => call('login', { password: secret }).slice(0, -1),
    (secret: string) => `[${Array.from({ length: batchItems + 1 }, () => call('login', { password: secret })).join(',')}]`,
    (secret: string) => `[[${call('login', { password: secret })}]]`,
  ]) {
    const secret = secretOf();
    const { c2s, stored } = await scene(policyOf([redact]));
    c2s(frame(secret));
    expectGone(stored(), secret);
  }
});

test('a reply to nothing is searched as any other', async () => {
  const secret = secretOf();
  const { s2c, stored } = await scene(policyOf([{ ...K, method: ['tools/call'] }]));
  s2c(result(`password=${secret}`, '77'));
  expectGone(stored(), secret);
});

describe('a refusal', () => {
  test.for([
    ['of a request', deny({}), (secret: string) => request('x', '{}', `"${secret}"`)],
    ['of an item of a batch', deny({ method: ['x'] }), (secret: string) => `[${request('x', '{}', `"${secret}"`)},${request('y', '{}', '"2"')}]`],
  ] as const)('%s goes out with the id and is stored without', async ([, policy, frame]) => {
    const secret = secretOf();
    const { c2s, sent, stored, ledger } = await scene(policyOf([{ paths: ['$.id'] }], { policy }));
    c2s(frame(secret));
    expect(Buffer.concat(sent).toString()).toContain(secret);
    expect(ledger.appended.some(({ entry }) => entry['origin'] === 'sworn')).toBe(true);
    const entries = ledger.appended.map(
      ({ content }) =>
        Buffer.from(content.leaf).toString() +
        JSON.stringify(content.frame.map((item) => (item.state === 'kept' ? Buffer.from(item.bytes).toString() : ''))),
    );
    expectGone(entries.join('\n'), secret);
    expectGone(stored(), secret);
  });

  test('of a result says nothing of what was found in it', async () => {
    const secret = secretOf();
    const { c2s, s2c, sent, stored } = await scene(policyOf([K], { policy: deny({ on: ['result'] }) }));
    c2s(call('a', {}));
    s2c(result(`password=${secret}`));
    expect(Buffer.concat(sent).toString()).not.toContain(secret);
    expectGone(stored(), secret);
  });
});

test('a frame that is longer than can be searched is not stored, and says nothing of itself', async () => {
  for (const [redact, frame] of [
    [K, (secret: string, filling: string) => call('a', { password: secret, filling })],
    [{ paths: ['$.params.name'] }, (secret: string, filling: string) => call(secret, { filling })],
    [{ paths: ['$.id'] }, (secret: string, filling: string) => request('tools/call', `{"filling":"${filling}"}`, `"${secret}"`)],
    [{ keys: ['uri'] }, (secret: string, filling: string) => request('resources/read', `{"uri":"${secret}","filling":"${filling}"}`)],
  ] as const) {
    const secret = secretOf();
    const { c2s, stored, ledger } = await scene(policyOf([redact as Given]));
    const bytes = frame(secret, 'x'.repeat(judgeBytes));
    const cuts = Array.from({ length: Math.floor(bytes.length / unitBytes) }, (_, at) => (at + 1) * unitBytes);
    c2s(bytes, ...cuts);
    expectGone(stored(), secret);
    expect(ledger.parts).toEqual([]);
    expect(ledger.appended.at(-1)!.entry).toMatchObject({ segments: 1, sizeBytes: bytes.length });
  }
});

describe('segments', () => {
  const redact: Given[] = [
    { keys: ['ssn'], keep: 'checkable' },
    { keys: ['password'], keep: 'drop' },
  ];
  const frame = '{"a":1,"ssn":"123-45-6789","b":-0,"password":"hunter2hunter","ssn":12,"z":9007199254740993}';

  /** The segments as they must be: kept ones as they are, left-out ones with the salt that is tried. */
  const hashesOf = (content: Content, values: readonly string[], salts: (segment: number) => Uint8Array): Uint8Array[] => {
    let dropped = 0;
    return content.frame.map((item, segment) => {
      if (item.state === 'kept') return segmentHash(nodeCrypto, item.salt, item.bytes);
      return segmentHash(nodeCrypto, salts(segment), Buffer.from(values[dropped++]!));
    });
  };

  test('outside of the ranges every byte stays, and the commitment is over all of them', async () => {
    const { c2s, ledger } = await scene(policyOf(redact));
    c2s('{"first":1}');
    c2s(frame);
    const { content, entry } = ledger.appended[1]!;
    expect(
      content.frame.map((item) =>
        item.state === 'kept' ? Buffer.from(item.bytes).toString() : item.state === 'dropped' ? item.sizeBytes : item.state,
      ),
    ).toEqual(['{"a":1,"ssn":"', 11, '","b":-0,"password":"', 13, '","ssn":', 2, ',"z":9007199254740993}']);
    const hashes = content.frame.map((item) =>
      item.state === 'kept' ? segmentHash(nodeCrypto, item.salt, item.bytes) : (item as { hash: Uint8Array }).hash,
    );
    expect(entry['commitment']).toBe(base64(commitmentOf(nodeCrypto, hashes)));
    expect(entry).toMatchObject({ segments: 7, redacted: { 'key:ssn': 2, 'key:password': 1 } });
  });

  test('a checkable value is found again with the key alone, a dropped one never', async () => {
    const { c2s, ledger } = await scene(policyOf(redact));
    c2s('{"first":1}');
    c2s(frame);
    const { content } = ledger.appended[1]!;
    const saltWith = (key: Buffer, index: number) => (segment: number) => {
      const place = Buffer.alloc(16);
      place.writeBigUInt64BE(BigInt(index), 0);
      place.writeBigUInt64BE(BigInt(segment), 8);
      return createHmac('sha256', key).update(place).digest().subarray(0, saltBytes);
    };
    const values = ['123-45-6789', 'hunter2hunter', '12'];
    const stored = content.frame.map((item) => (item as { hash?: Uint8Array }).hash);
    const same = (hashes: Uint8Array[]): number[] =>
      hashes.flatMap((hash, at) => (stored[at] !== undefined && Buffer.from(stored[at]).equals(hash) ? [at] : []));
    expect(same(hashesOf(content, values, saltWith(findKey, 1)))).toEqual([1, 5]);
    expect(checkableSalt(findKey, 1, 5)).toEqual(saltWith(findKey, 1)(5));
    // another key, another entry, another guess
    expect(same(hashesOf(content, values, saltWith(randomBytes(32), 1)))).toEqual([]);
    expect(same(hashesOf(content, values, saltWith(findKey, 0)))).toEqual([]);
    expect(same(hashesOf(content, ['123-45-6780', 'x', '13'], saltWith(findKey, 1)))).toEqual([]);
    expect(same(hashesOf(content, values, () => Buffer.alloc(saltBytes)))).toEqual([]);
  });

  test('two dropped ones of the same value have nothing in common', async () => {
    const { c2s, ledger } = await scene(policyOf([{ keys: ['password'] }]));
    c2s('{"password":"hunter2hunter","b":{"password":"hunter2hunter"}}');
    c2s('{"password":"hunter2hunter","b":{"password":"hunter2hunter"}}');
    const hashes = ledger.appended.flatMap(({ content }) =>
      content.frame.flatMap((item) => (item.state === 'dropped' ? [Buffer.from(item.hash).toString('hex')] : [])),
    );
    expect(hashes).toHaveLength(4);
    expect(new Set(hashes).size).toBe(4);
    for (const salt of [Buffer.alloc(saltBytes), checkableSalt(findKey, 0, 1)])
      expect(hashes).not.toContain(Buffer.from(segmentHash(nodeCrypto, salt, Buffer.from('hunter2hunter'))).toString('hex'));
  });

  test('a whole frame, and one that holds nothing', async () => {
    const { c2s, ledger } = await scene(policyOf([{ keys: ['a'] }]));
    c2s('{"a":');
    c2s('');
    expect(ledger.appended.map(({ content }) => content.frame.map(({ state }) => state))).toEqual([['dropped'], ['kept']]);
    expect(ledger.appended[0]!.entry).toMatchObject({ redacted: { unreadable: 1 } });
  });

  test('items of a batch are in its frame, and their entries count what is theirs', async () => {
    const { c2s, ledger } = await scene(policyOf(redact));
    c2s('[{"jsonrpc":"2.0","method":"a","params":{"ssn":"1"}},{"jsonrpc":"2.0","method":"b","params":{"password":"2","ssn":"3"}}]');
    expect(ledger.appended.map(({ entry }) => entry['redacted'])).toEqual([
      { 'key:ssn': 2, 'key:password': 1 },
      { 'key:ssn': 1 },
      { 'key:password': 1, 'key:ssn': 1 },
    ]);
  });

  test('levels: nothing but a hash where content is not wanted', async () => {
    const states = async (level: Policy['capture']['default']): Promise<unknown[]> => {
      const { c2s, s2c, ledger, stored, connection } = await scene(policyOf(redact, { capture: { default: level, rules: [] } }));
      c2s(request('tools/call', '{"name":"a","arguments":{"password":"hunter2hunter","b":"kept-one"}}'));
      s2c(result('kept-two'));
      return [
        ledger.appended.map(({ content }) => content.frame.map(({ state }) => state)),
        stored().includes('kept-one'),
        stored().includes('kept-two'),
        [...connection.uncaptured],
      ];
    };
    expect(await states('full')).toEqual([[['kept', 'dropped', 'kept'], ['kept']], true, true, [0, 0]]);
    expect(await states('request')).toEqual([[['kept', 'dropped', 'kept'], ['dropped']], true, false, [0, 0]]);
    expect(await states('metadata')).toEqual([[['dropped'], ['dropped']], false, false, [0, 0]]);
    expect(await states('none')).toEqual([[], false, false, [1, 1]]);
  });
});

test('a secret that spans units is found, and no part of it is written before', async () => {
  const secret = secretOf();
  const { c2s, ledger, stored } = await scene(policyOf([K]));
  const frame = call('a', { filling: 'x'.repeat(unitBytes - 100), password: secret, more: 'y'.repeat(unitBytes) });
  const at = frame.indexOf(secret);
  c2s(frame, at + 3, at + 9);
  expect(ledger.parts).toEqual([]);
  expect(ledger.appended[0]!.entry).toMatchObject({ parts: 3, redacted: { 'key:password': 1 } });
  expectGone(stored(), secret);
  const [before, dropped] = [ledger.appended[0]!.content.frame.findIndex(({ state }) => state === 'dropped'), secret.length];
  expect(ledger.appended[0]!.content.frame[before]).toMatchObject({ state: 'dropped', sizeBytes: dropped });
});

test('a policy that comes in the middle of a conversation looks for what it did not see', async () => {
  const secret = secretOf();
  const { c2s, s2c, stored, rule, ledger } = await scene(noPolicy);
  c2s(call('a', { b: 1 }));
  await rule(policyOf([K]));
  s2c(result(`password=${secret}`));
  c2s(call('a', { password: secret }));
  expectGone(stored(), secret);
  expect(ledger.appended.map(({ entry }) => entry['redacted'])).toEqual([undefined, { 'key:password': 1 }, { 'key:password': 1 }]);
});

test('labels of the connection are not in the snapshot as they were given', async () => {
  const secret = secretOf();
  const { connection } = await scene(policyOf([K]));
  Object.assign(connection.opened, { labels: { api_token: secret, note: `password=${secret}` } });
  expectGone(JSON.stringify(connection), secret);
});

describe('what is said again of', () => {
  const many = (most: number): string[] => Array.from({ length: most }, secretOf);

  test('one of many values is left out, in the same message and in the answer', async () => {
    const secrets = many(80);
    const { c2s, s2c, stored } = await scene(policyOf([K]));
    c2s(call('a', { list: secrets.map((password) => ({ password })), note: `last ${secrets.at(-1)} x`, user: 'kept-user' }));
    s2c(result(`said ${secrets.at(-1)}, kept-answer`));
    for (const secret of secrets) expectGone(stored(), secret);
    expect(stored()).toContain('kept-user');
    expect(stored()).toContain('kept-answer');
  });

  test('more values than are remembered: the answer is its hash, the message itself is searched', async () => {
    const secrets = many(1_100);
    const { c2s, s2c, stored } = await scene(policyOf([K]));
    c2s(call('a', { list: secrets.map((password) => ({ password })), note: `last ${secrets.at(-1)} x`, user: 'kept-user' }));
    s2c(`{"jsonrpc":"2.0","id":1,"result":{"content":[],"serverInfo":{"name":"${secrets[7]}"},"text":"said ${secrets.at(-1)}"}}`);
    for (const secret of secrets) expectGone(stored(), secret);
    expect(stored()).toContain('kept-user');
    expect(stored()).not.toContain('serverInfo');
  });

  test('more values than are noted: nothing of either is stored', async () => {
    const secrets = many(4_200);
    const { c2s, s2c, stored } = await scene(policyOf([K]));
    c2s(call('a', { inside: { password: secrets }, note: `last ${secrets.at(-1)} x` }));
    s2c(result(`said ${secrets.at(-1)}`));
    for (const secret of secrets) expectGone(stored(), secret);
    // the same one again and again is one
    const [same] = many(1);
    c2s(call('a', { password: Array.from({ length: 5_000 }, () => same), user: 'kept-user' }));
    s2c(result(`${same} kept-answer`));
    expectGone(stored(), same!);
    expect(stored()).toContain('kept-user');
    expect(stored()).toContain('kept-answer');
  });

  test('a value longer than is decoded, and one that begins with one letter again and again', async () => {
    for (const filling of ['S'.repeat(70_000), 'Sa'.repeat(140_000), 'S\n'.repeat(100_000), '{"a":"b'.repeat(40_000)]) {
      const secret = secretOf();
      const { c2s, s2c, stored } = await scene(policyOf([K]));
      c2s(call('a', { password: `${filling}${secret}`, note: `it is ${filling}${secret}` }));
      s2c(result(`it is ${filling}${secret}`));
      expectGone(stored(), secret);
    }
  });

  test('a request that is longer than can be searched', async () => {
    const secret = secretOf();
    const { c2s, s2c, stored } = await scene(policyOf([K]));
    const frame = call('a', { password: secret, filling: 'x'.repeat(judgeBytes) });
    c2s(frame, ...Array.from({ length: Math.floor(frame.length / unitBytes) }, (_, at) => (at + 1) * unitBytes));
    s2c(result(`it is ${secret}`));
    expectGone(stored(), secret);
  });

  test.for([
    ['a second answer', (s2c: Scene['s2c'], secret: string) => (s2c(result('first')), s2c(result(`it is ${secret}`)))],
    ['an answer to another id', (s2c: Scene['s2c'], secret: string) => s2c(result(`it is ${secret}`, '"1"'))],
    ['an answer that says it as its id', (s2c: Scene['s2c'], secret: string) => s2c(result('first', JSON.stringify(secret)))],
    ['one in a batch', (s2c: Scene['s2c'], secret: string) => (s2c(result('first')), s2c(`[${result(`it is ${secret}`)}]`))],
  ] as const)('%s', async ([, answer]) => {
    const secret = secretOf();
    const { c2s, s2c, stored } = await scene(policyOf([K]));
    c2s(call('a', { password: secret }));
    answer(s2c, secret);
    expectGone(stored(), secret);
  });

  test('a request that is forgotten, and one of a connection that comes back', async () => {
    const secret = secretOf();
    const { c2s, s2c, stored, connection } = await scene(policyOf([K]));
    c2s(call('a', { password: secret }));
    connection.exchanges.forget(0);
    s2c(result(`it is ${secret}`));
    expectGone(stored(), secret);
    const later = new Connection(connection.opened, JSON.parse(JSON.stringify(connection.remains().toJSON().state)) as ConnectionState);
    later.reopen();
    expect(later.hadSecrets).toBe(true);
  });

  test('nothing: a reply to nothing is stored', async () => {
    const { c2s, s2c, stored } = await scene(policyOf([K]));
    c2s(call('a', {}));
    s2c(result('first'));
    s2c(result('kept-answer'));
    expect(stored()).toContain('kept-answer');
  });

  test('one item of a batch, in the other items', async () => {
    const [first, last] = [secretOf(), secretOf()];
    const { c2s, s2c, stored } = await scene(policyOf([K]));
    const item = (requestId: number, args: unknown): unknown => ({
      jsonrpc: '2.0',
      id: requestId,
      method: 'tools/call',
      params: { name: 'a', arguments: args },
    });
    c2s(JSON.stringify([item(1, { password: first }), item(2, { x: `${first} ${last}`, user: 'kept-user' }), item(3, { password: last })]));
    expectGone(stored(), first);
    expectGone(stored(), last);
    expect(stored()).toContain('kept-user');
    // also where only the entries of the requests are wanted
    const other = secretOf();
    const metadata = await scene(policyOf([K], { capture: { default: 'full', rules: [{ direction: 'c2s', level: 'metadata' }] } }));
    metadata.c2s(JSON.stringify([item(1, { password: other })]));
    metadata.s2c(result(`it is ${other}`));
    expectGone(metadata.stored(), other);
    s2c(result('x'));
  });

  test('a call that waits, in what a server says meanwhile', async () => {
    const secret = secretOf();
    const { c2s, s2c, stored } = await scene(policyOf([K]));
    c2s(call('a', { password: secret }));
    s2c(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"kept-log ${secret}"}}`);
    s2c(`{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{"messages":[{"text":"say ${secret}"}]}}`);
    s2c(`login as ${secret}`);
    expectGone(stored(), secret);
    expect(stored()).toContain('kept-log');
  });

  test('more than one connection remembers of what waits', async () => {
    const { c2s, s2c, stored } = await scene(policyOf([K]));
    let last = '';
    for (let at = 1; at <= 70; at++) {
      const list = Array.from({ length: 1_000 }, () => (last = `${secretOf()}${'x'.repeat(40)}`));
      c2s(call('a', { password: list }).replace('"id":1', `"id":${at}`));
    }
    s2c(result(`it is ${last}`, '70'));
    expectGone(stored(), last);
  });
});
