/**
 * Transcripts of the reading commands over a real ledger. Each is a file in `transcripts/`, so that a change of what people see is seen in review;
 * `npx vitest run test/reading -u` writes them anew.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { logCommand, type LogOptions } from '../../src/cli/log.ts';
import type { Output } from '../../src/cli/output.ts';
import { sessionsCommand, type SessionsOptions } from '../../src/cli/sessions.ts';
import { showCommand, type ShowOptions } from '../../src/cli/show.ts';
import { tailCommand } from '../../src/cli/tail.ts';
import { directorySource } from '../../src/cli/verify-files.ts';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { verifyLedger } from '../../src/verify/verifier.ts';
import { connection, fill, hostileTool, open, place, secondConnection, Writer } from './fixture.ts';
import { judged } from './judged.ts';

const at = place();
const { ledger } = at;
let index: Awaited<ReturnType<typeof fill>>;
/** A second ledger, written under a policy. */
const ruled = place();
let by: Awaited<ReturnType<typeof judged>>;

beforeAll(async () => {
  const writer = new Writer(at);
  index = await fill(writer);
  await writer.close();
  const second = new Writer(ruled, '2026-11-21T08:00:00.000Z');
  by = await judged(second);
  await second.close();
});
afterAll(() => {
  at.remove();
  ruled.remove();
});

interface Screen extends Output {
  text: string;
}

function screen(columns = Number.POSITIVE_INFINITY, color = false): Screen {
  return {
    text: '',
    out(text) {
      this.text += text;
    },
    err: (text) => expect(text).toBe(''),
    isTTY: columns !== Number.POSITIVE_INFINITY,
    color,
    columns,
  };
}

async function log(options: LogOptions = {}, columns?: number, color?: boolean): Promise<string> {
  const output = screen(columns, color);
  expect(await logCommand({ ledger, ...options }, output)).toBe(0);
  return output.text;
}
async function show(options: ShowOptions): Promise<string> {
  const output = screen();
  expect(await showCommand({ ledger, ...options }, output)).toBe(0);
  return output.text;
}
async function sessions(options: SessionsOptions = {}): Promise<string> {
  const output = screen();
  expect(await sessionsCommand({ ledger, ...options }, output)).toBe(0);
  return output.text;
}
const json = async (options: LogOptions = {}) =>
  (await log({ ...options, json: true }))
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const indexes = async (options: LogOptions) => (await json(options)).map((row) => row['index']);

/** What differs from run to run, replaced. */
const stable = (text: string) =>
  text
    .replaceAll(ledger, '<ledger>')
    .replaceAll(ruled.ledger, '<ledger>')
    .replaceAll(/(commitment|attributesCommitment)( +)[A-Za-z0-9+/]{43}=/g, '$1$2<commitment>')
    .replaceAll(/"(commitment|attributesCommitment)":"[A-Za-z0-9+/]{43}="/g, '"$1":"<commitment>"');
const transcript = (name: string) => join(import.meta.dirname, 'transcripts', name);

test('transcripts', async () => {
  await expect(stable(await log())).toMatchFileSnapshot(transcript('log.txt'));
  await expect(stable(await log({}, 80))).toMatchFileSnapshot(transcript('log-80-columns.txt'));
  await expect(stable(await log({ limit: 4, effect: 'write' }, 120, true))).toMatchFileSnapshot(transcript('log-colours.txt'));
  await expect(stable(await log({ tool: 'read_*', payload: true }, 120))).toMatchFileSnapshot(transcript('log-payload.txt'));
  await expect(stable(await log({ tool: 'read_*', json: true, payload: true }))).toMatchFileSnapshot(transcript('log.ndjson'));
  await expect(stable(await show({ index: index.write }))).toMatchFileSnapshot(transcript('show-request.txt'));
  await expect(stable(await show({ index: index.failed }))).toMatchFileSnapshot(transcript('show-reply.txt'));
  await expect(stable(await show({ index: index.hanging }))).toMatchFileSnapshot(transcript('show-unanswered.txt'));
  await expect(stable(await show({ index: index.opaque }))).toMatchFileSnapshot(transcript('show-opaque.txt'));
  await expect(stable(await show({ index: index.batch + 1 }))).toMatchFileSnapshot(transcript('show-item.txt'));
  await expect(stable(await show({ index: 1 }))).toMatchFileSnapshot(transcript('show-open.txt'));
  await expect(stable(await sessions())).toMatchFileSnapshot(transcript('sessions.txt'));
  await expect(stable(await sessions({ tools: true }))).toMatchFileSnapshot(transcript('sessions-tools.txt'));
});

test('transcripts of a ledger with a policy', async () => {
  const judgedLedger = { ledger: ruled.ledger };
  await expect(stable(await log(judgedLedger))).toMatchFileSnapshot(transcript('policy-log.txt'));
  await expect(stable(await log({ ...judgedLedger, payload: true }))).toMatchFileSnapshot(transcript('policy-log-payload.txt'));
  await expect(stable(await log({ ...judgedLedger, verdict: 'block', limit: 2 }, 120, true))).toMatchFileSnapshot(
    transcript('policy-log-colours.txt'),
  );
  await expect(stable(await log({ ...judgedLedger, payload: true, json: true, tool: 'login' }))).toMatchFileSnapshot(transcript('policy-log.ndjson'));
  await expect(stable(await sessions(judgedLedger))).toMatchFileSnapshot(transcript('policy-sessions.txt'));
  await expect(stable(await sessions({ ...judgedLedger, tools: true }))).toMatchFileSnapshot(transcript('policy-sessions-tools.txt'));
  for (const name of ['blocked', 'login', 'flagged', 'withheld', 'metadata', 'batch', 'loaded', 'rejected', 'freeze', 'close'] as const)
    await expect(stable(await show({ ...judgedLedger, index: by[name] })), name).toMatchFileSnapshot(transcript(`policy-show-${name}.txt`));
  await expect(stable(await show({ ...judgedLedger, index: by.blocked + 1 }))).toMatchFileSnapshot(transcript('policy-show-answer.txt'));
});

test('what policy did can be asked for', async () => {
  const of = (options: LogOptions) => indexes({ ledger: ruled.ledger, ...options });
  expect(await of({ verdict: 'block' })).toEqual([by.blocked, by.withheld, by.batch + 1, by.batch + 2, by.frozen]);
  expect(await of({ verdict: 'block', limit: 1 })).toEqual([by.frozen]);
  expect(await of({ verdict: 'flag' })).toEqual([by.flagged]);
  expect(await of({ verdict: 'pass', tool: 'query' })).toEqual([by.blocked + 1, by.batch + 4]);
  expect(await of({ outcome: 'blocked' })).toEqual([by.blocked, by.batch + 1, by.batch + 2, by.frozen]);
  expect(await of({ outcome: 'unanswered' })).toEqual([by.late]);
  // on both sides of a gap, but not across it, in a frame and in an item of a batch
  expect(await of({ text: '"password":"' })).toEqual([by.login]);
  expect(await of({ text: '"password":"","pin"' })).toEqual([]);
  expect(await of({ text: '"token":"' })).toEqual([by.batch + 2]);
  expect(await of({ text: '"token":""' })).toEqual([]);
  expect(await of({ text: 'hunter2' })).toEqual([]);
});

test('json has every field by its name, and says where stretches were left out', async () => {
  const rows = await json({ ledger: ruled.ledger, payload: true });
  const row = (index: number) => rows.find((one) => one['index'] === index)!;
  expect(row(by.blocked)).toMatchObject({ verdict: 'block', rule: 'no-drops', reason: 'Destructive SQL is blocked', capture: 'full' });
  expect(row(by.blocked + 1)).toMatchObject({ origin: 'sworn', code: 4030, tapSeq: 0, exchange: by.blocked });
  expect(row(by.flagged)).toMatchObject({ verdict: 'flag', rule: 'no-exfil', shadow: true });
  expect(row(by.late)).toMatchObject({ uncaptured: [1, 1] });
  const login = row(by.login);
  expect(login).toMatchObject({ redacted: { 'key:password': 1, 'key:pin': 1 }, payloadRedactedBytes: 11 });
  // put back in their places, the lengths are those of the frame
  let frame = Buffer.from(login['payload'] as string);
  for (const [offset, sizeBytes] of login['redactions'] as [number, number][])
    frame = Buffer.concat([frame.subarray(0, offset), Buffer.alloc(sizeBytes, 'x'), frame.subarray(offset)]);
  expect(frame.toString()).toContain('"password":"xxxxxxx","pin":xxxx}');
  expect(frame.length).toBe(login['sizeBytes']);
  // of an item in the item
  expect(row(by.batch + 2)).toMatchObject({ redactions: [[(row(by.batch + 2)['sizeBytes'] as number) - '"}}}'.length - 6, 6]] });
  expect(row(by.metadata)).toMatchObject({ payload: '', redactions: [[0, 86]], payloadUncapturedBytes: 86, capture: 'metadata' });
  const shown = async (index: number) => JSON.parse(await show({ ledger: ruled.ledger, index, json: true })) as Record<string, unknown>;
  expect(await shown(by.blocked)).toMatchObject({ answer: by.blocked + 1 });
  expect(await shown(by.blocked)).not.toHaveProperty('deliveryConfirmed');
  expect(await shown(by.blocked + 1)).toMatchObject({ inPlaceOf: by.blocked, counterpart: by.blocked });
  expect(await shown(by.withheld - 1)).toMatchObject({ counterpart: by.withheld, answer: by.withheld + 1, deliveryConfirmed: true });
  expect(await shown(by.withheld + 1)).toMatchObject({ counterpart: by.withheld - 1, inPlaceOf: by.withheld });
  expect(await shown(by.batch + 1)).toMatchObject({ answer: by.batch + 3 });
  expect(await shown(by.batch + 2)).toMatchObject({ answer: by.batch + 4 });
  const [session] = (await sessions({ ledger: ruled.ledger, json: true })).split('\n').map((line) => JSON.parse(line || '{}') as object);
  expect(session).toMatchObject({ calls: 8, errors: 0, unanswered: 1, blocked: 5, flagged: 1, uncaptured: 3 });
});

test('a close counts what policy did only where all of its session was read', async () => {
  const closeOf = async (options: LogOptions) =>
    (await log({ ledger: ruled.ledger, ...options })).split('\n').find((line) => line.includes('closed:'));
  expect(await closeOf({})).toContain('5 blocked, 1 flagged');
  expect(await closeOf({ session: '77aa' })).toContain('5 blocked, 1 flagged');
  expect(await closeOf({ limit: 3 })).not.toContain('blocked');
  expect(await closeOf({ since: '2026-11-21T08:00:00.020Z' })).toContain('5 blocked, 1 flagged');
});

test('the verifier takes all of it for whole', async () => {
  const result = await verifyLedger({ crypto: nodeCrypto, source: directorySource(ruled.ledger) });
  expect(result).toMatchObject({ exit: 0, neverStored: 6, droppedSegments: 0, missingUnits: 0, repliesToNothing: 0 });
  expect(result.findings.map(({ code }) => code)).toEqual(['never-stored']);
});

test('gaps in a long frame are where they were, whatever is cut off', async () => {
  const long = place();
  const writer = new Writer(long);
  try {
    open(writer, connection, 'fs');
    const kept = (text: string) => ({ state: 'kept' as const, salt: new Uint8Array(16), bytes: Buffer.from(text) });
    const gone = (state: 'dropped' | 'erased', sizeBytes: number) => ({ state, hash: new Uint8Array(32), sizeBytes });
    const fields = { type: 'notification', method: 'm', era: 'legacy', redacted: { pin: 1 } };
    const index = writer.message('c2s', fields, [
      kept(`{"a":"${'ü'.repeat(300_000)}`),
      gone('dropped', 1_500_000),
      kept('","b":"\xc3'),
      gone('erased', 3),
      kept(`${'\\n'.repeat(2_000_000)}"}`),
    ]);
    await writer.settled();
    const at = { ledger: long.ledger, index };
    const brief = await show(at);
    expect(brief).toContain('1.4 MiB redacted, 3 B erased, the first 16 KiB shown');
    expect(brief).not.toContain('▒');
    const whole = await show({ ...at, full: true });
    expect(whole).toContain('ü▒▒▒ redacted 1.4 MiB ▒▒▒",\n  "b": "');
    expect(whole).toContain('▒▒▒ erased 3 B ▒▒▒\\n');
    expect(await log({ ledger: long.ledger, payload: true }, 120)).toContain('(1.4 MiB redacted, 3 B erased, 4.4 MiB more)');
    const [row] = await json({ ledger: long.ledger, payload: true, method: 'm' });
    expect(row).toMatchObject({ redactions: [[600_006, 1_500_000]], payloadErasedBytes: 3 });
  } finally {
    await writer.close();
    long.remove();
  }
});

test('filters', async () => {
  expect(await indexes({ tool: 'move_*' })).toEqual([index.hanging]);
  expect(await indexes({ method: 'notifications/*' })).toEqual([5, index.cancel, index.batch + 2]);
  expect(await indexes({ session: '77aa' })).toEqual([21, 22]);
  expect(await indexes({ server: 'mem*' })).toEqual([21, 22]);
  expect(await indexes({ server: 'fs', limit: 2 })).toEqual([20, 23]);
  expect(await indexes({ outcome: 'toolError' })).toEqual([index.failed]);
  expect(await indexes({ outcome: 'error' })).toEqual([11]);
  expect(await indexes({ outcome: 'cancelled' })).toEqual([index.cancel - 1]);
  expect(await indexes({ outcome: 'unanswered' })).toEqual([index.hanging, index.batch + 1, 22]);
  expect(await indexes({ outcome: 'unanswered', limit: 1 })).toEqual([22]);
  expect(await indexes({ effect: 'destructive' })).toEqual([index.write, index.hanging]);
  expect(await indexes({ effect: 'sensitive' })).toEqual([index.write]);
  expect(await indexes({ direction: 's2c', limit: 2 })).toEqual([index.opaque, index.long]);
  // across the border of two parts, in an item of a batch, and as JSON escapes it
  expect(await indexes({ text: 'needle' })).toEqual([index.long]);
  expect(await indexes({ text: '"ping"' })).toEqual([index.batch + 1]);
  expect(await indexes({ text: 'zwölf\n"Box' })).toEqual([7]);
  expect(await indexes({ text: 'nowhere' })).toEqual([]);
  expect(await indexes({ since: '2026-11-20T23:59:59.544Z', until: '2026-11-20T23:59:59.547Z' })).toEqual([19, 20, 21, 22]);
  expect(await indexes({ since: '2026-11-20T23:59:59.544Z', until: '2026-11-20T23:59:59.547Z', limit: 2 })).toEqual([21, 22]);
  expect(await indexes({ since: '1s' })).toEqual([]);
  expect(await indexes({ limit: 0 })).toEqual([]);
});

test('json is the stored entry with its index, and harmless for a terminal', async () => {
  const text = await log({ json: true });
  expect(text).not.toMatch(/[^\n\x20-\x7e\xa1-\u02ff\u4e00-\u9fff…]/u);
  const rows = await json();
  expect(rows.map((row) => row['index'])).toEqual([...Array(25).keys()]);
  expect(Object.keys(rows[6]!).slice(0, 2)).toEqual(['index', 'v']);
  expect(rows[10]!['target']).toBe(hostileTool);
  const [opaque] = await json({ direction: 's2c', method: '*', payload: true, limit: 1 });
  expect(opaque!['payload']).toContain('"code":-32602');
  const [binary] = (await json({ direction: 's2c', payload: true })).filter((row) => row['index'] === index.opaque);
  expect(binary).toMatchObject({ payloadBase64: 'aGn/G1s=' });
  expect(binary).not.toHaveProperty('payload');
  expect((await json({ payload: true, text: 'needle' }))[0]!['payload']).toHaveLength(80_051);
  const one = JSON.parse(await show({ index: index.write, json: true, payload: true })) as Record<string, unknown>;
  expect(one).toMatchObject({ index: index.write, counterpart: index.failed, deliveryConfirmed: true, target: 'write_file' });
  expect(one['payload']).toContain('secret');
});

test('nothing of a stranger reaches the terminal as it is', async () => {
  const texts = [
    await log({ payload: true }),
    await log({}, 80),
    await show({ index: 10 }),
    await show({ index: 7 }),
    await show({ index: index.opaque }),
    await sessions({ tools: true }),
    await log({ ledger: ruled.ledger, payload: true }),
    await show({ ledger: ruled.ledger, index: by.loaded }),
    await show({ ledger: ruled.ledger, index: by.rejected }),
  ];
  for (const text of texts) {
    expect(text).not.toMatch(/[\0-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/);
  }
});

test('several ledgers are merged by time', async () => {
  const other = place();
  try {
    const writer = new Writer(other, '2026-11-20T23:59:59.100Z');
    open(writer, secondConnection, 'git');
    await writer.close();
    const output = screen();
    await logCommand({ ledger: [ledger, other.ledger], json: true }, output);
    const rows = output.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { ledger: string; time: string; index: number });
    expect(rows.length).toBe(26);
    expect(rows.map(({ time }) => time)).toEqual(rows.map(({ time }) => time).sort());
    expect(rows[6]).toMatchObject({ ledger: other.ledger, index: 0 });
    await expect(showCommand({ index: 0, ledger: [ledger, other.ledger] }, screen())).rejects.toMatchObject({ code: 'usage' });
  } finally {
    other.remove();
  }
});

test('wrong usage is said', async () => {
  const wrong: [LogOptions, RegExp][] = [
    [{ direction: 'up' }, /--direction up is not one of: c2s, s2c/],
    [{ effect: 'x' }, /--effect/],
    [{ outcome: 'x' }, /--outcome/],
    [{ verdict: 'deny' }, /--verdict deny is not one of: block, flag, ask, pass/],
    [{ session: 'XY' }, /--session/],
    [{ since: 'yesterday' }, /--since yesterday is no time/],
    [{ limit: '-1' }, /--limit -1/],
  ];
  for (const [options, message] of wrong) {
    await expect(logCommand({ ledger, ...options }, screen())).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(message) as string,
    });
  }
  await expect(showCommand({ ledger, index: 'x' }, screen())).rejects.toMatchObject({ code: 'usage' });
  await expect(showCommand({ ledger, index: 99 }, screen())).rejects.toMatchObject({ code: 'not-found', exit: 3 });
  for (const command of [logCommand, sessionsCommand, tailCommand]) {
    await expect(command({ ledger: join(at.folder, 'none') }, screen())).rejects.toMatchObject({ code: 'no-ledger', exit: 3 });
  }
  await expect(tailCommand({ ledger, outcome: 'unanswered' }, screen())).rejects.toMatchObject({ code: 'usage' });
});

test('tail begins with the newest and follows', async () => {
  const live = place();
  const writer = new Writer(live);
  try {
    open(writer, connection, 'fs');
    for (let i = 0; i < 20; i++) writer.message('c2s', { type: 'notification', method: `m/${i}`, era: 'legacy' }, '{}');
    await writer.settled();
    const output = screen();
    const stop = new AbortController();
    const following = tailCommand({ ledger: live.ledger, lines: '3', json: true, method: 'm/*' }, output, stop.signal);
    const methods = () =>
      output.text
        .split('\n')
        .slice(0, -1)
        .map((line) => (JSON.parse(line) as { method: string }).method);
    await expect.poll(methods).toEqual(['m/17', 'm/18', 'm/19']);
    writer.message('c2s', { type: 'notification', method: 'other', era: 'legacy' }, '{}');
    writer.message('c2s', { type: 'notification', method: 'm/20', era: 'legacy' }, '{}');
    await expect.poll(methods).toEqual(['m/17', 'm/18', 'm/19', 'm/20']);
    stop.abort();
    expect(await following).toBe(0);
  } finally {
    await writer.close();
    live.remove();
  }
});

test('a reader that leaves ends the command quietly, and a slow one slows it down', async () => {
  const big = place();
  try {
    const writer = new Writer(big);
    open(writer, connection, 'fs');
    for (let i = 0; i < 5_000; i++) {
      writer.message('c2s', { type: 'notification', method: `m/${i}`, era: 'legacy' }, '{}');
      if (i % 500 === 0) await writer.settled();
    }
    await writer.close();
    const program = `
      import { logCommand } from ${JSON.stringify(join(import.meta.dirname, '../../src/cli/log.ts'))};
      import { terminalOutput } from ${JSON.stringify(join(import.meta.dirname, '../../src/cli/output.ts'))};
      process.exitCode = await logCommand({ ledger: process.argv[1], json: true }, terminalOutput());`;
    const child = spawn(process.execPath, ['--no-warnings', '--input-type=module-typescript', '-e', program, big.ledger], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    await once(child.stdout, 'readable');
    child.stdout.destroy();
    const [status] = (await once(child, 'close')) as [number];
    expect([status, errors]).toEqual([0, '']);
  } finally {
    big.remove();
  }
});

test('colours only where they are wanted', async () => {
  expect(await log({ effect: 'write' }, 120, true)).toContain('\u001b[31mwrite! sensitive');
  expect(await log({ effect: 'write' }, 120)).not.toContain('\u001b');
});
