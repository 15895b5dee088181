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
import { connection, fill, hostileTool, open, place, secondConnection, Writer } from './fixture.ts';

const at = place();
const { ledger } = at;
let index: Awaited<ReturnType<typeof fill>>;

beforeAll(async () => {
  const writer = new Writer(at);
  index = await fill(writer);
  await writer.close();
});
afterAll(() => at.remove());

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

type Options<O> = Omit<O, 'ledger'>;
async function log(options: Options<LogOptions> = {}, columns?: number, color?: boolean): Promise<string> {
  const output = screen(columns, color);
  expect(await logCommand({ ledger, ...options }, output)).toBe(0);
  return output.text;
}
async function show(options: Options<ShowOptions>): Promise<string> {
  const output = screen();
  expect(await showCommand({ ledger, ...options }, output)).toBe(0);
  return output.text;
}
async function sessions(options: Options<SessionsOptions> = {}): Promise<string> {
  const output = screen();
  expect(await sessionsCommand({ ledger, ...options }, output)).toBe(0);
  return output.text;
}
const json = async (options: Options<LogOptions> = {}) =>
  (await log({ ...options, json: true }))
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const indexes = async (options: Options<LogOptions>) => (await json(options)).map((row) => row['index']);

/** What differs from run to run, replaced. */
const stable = (text: string) =>
  text
    .replaceAll(ledger, '<ledger>')
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
  const wrong: [Options<LogOptions>, RegExp][] = [
    [{ direction: 'up' }, /--direction up is not one of: c2s, s2c/],
    [{ effect: 'x' }, /--effect/],
    [{ outcome: 'x' }, /--outcome/],
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
