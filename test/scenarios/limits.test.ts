/** Rate limits, over stdio: what passes, what is refused and when it may come again, whatever happens to the recorder meanwhile. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { isLong } from '../long.ts';
import { connect } from './clients.ts';
import { line, messages, official, Stage, type Puppet, type Recorded, type Tap, type TapOptions } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

interface Answer {
  id: number;
  result?: unknown;
  error?: { code: number; message: string; data: { rule: string; retryAfterMs?: number; index?: number; executed: boolean; reason?: string } };
}

const call = (id: number, name = 'get', args: object = {}): object => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args },
});
const answers = (tap: Tap): Answer[] => tap.output.lines.map((text) => JSON.parse(text) as Answer);
const codes = (tap: Tap): (string | number)[][] =>
  answers(tap).map(({ id, error }) => (error === undefined ? [id] : [id, error.code, error.data.rule]));
const count = (entries: Recorded[]): number =>
  messages(entries, { type: 'request', verdict: 'block' }).length + sums(entries).reduce((sum, one) => sum + (one['count'] as number), 0);
const sums = (entries: Recorded[]): Recorded[] => entries.filter(({ kind, act }) => kind === 'policy' && act === 'limited');

/** A process of its own between: what is started from here is no tapped client. */
const apart = ['sh', '-c', '"$@"; exit $?', 'sh'];

async function limited(
  limits: unknown,
  options: TapOptions = {},
  more: object = {},
): Promise<{ stage: Stage; file: string; tap: Tap; server: Puppet }> {
  const stage = new Stage();
  const file = join(stage.folder, 'sworn.yaml');
  writeFileSync(file, JSON.stringify({ limits, ...more }));
  return {
    stage,
    file,
    ...(await stage.puppet({ ...options, options: ['--config', file, '--name', 'db', ...(options.options ?? [])], before: apart })),
  };
}

const result = (id: number): string => line({ jsonrpc: '2.0', id, result: { content: [] } });

test('requests beyond the rate are refused with the time to wait, and pass when it is over [limit-rate]', async () => {
  const { stage, tap, server } = await limited({ name: 'calls', per: ['principal', 'tool'], requests: '2/s', burst: 2 });
  const methods = ['initialize', 'ping', 'notifications/initialized'].map((method) =>
    line({ jsonrpc: '2.0', ...(method.startsWith('n') ? {} : { id: method }), method }),
  );
  await tap.write([1, 2, 3].map((id) => line(call(id))).join('') + line(call(4, 'other')) + methods.join(''));
  await tap.output.count(1);
  await server.input.count(6);
  const [first] = answers(tap);
  expect(first).toMatchObject({
    id: 3,
    error: { code: 4290, data: { rule: 'sworn:limit/calls', reason: 'more than 2/s requests', executed: false } },
  });
  const { retryAfterMs, index } = first!.error!.data;
  expect(retryAfterMs).toBeGreaterThan(0);
  expect(retryAfterMs).toBeLessThanOrEqual(500);
  await sleep(retryAfterMs! + 1);
  await tap.write(line(call(5)));
  await server.input.count(7);
  expect(server.input.lines.map((text) => (JSON.parse(text) as { id?: unknown }).id)).toEqual([1, 2, 4, 'initialize', 'ping', undefined, 5]);
  expect(await tap.close()).toMatchObject({ code: 0 });
  const entries = await stage.finished();
  expect(entries[index!]).toMatchObject({ verdict: 'block', rule: 'sworn:limit/calls', retryAfterMs, id: '3' });
  expect(messages(entries, { origin: 'sworn' })).toMatchObject([{ code: 4290, exchange: index, rule: 'sworn:limit/calls', direction: 's2c' }]);
  expect(sums(entries)).toEqual([]);
});

test('as many run as may: a reply and a cancellation make room, over two connections of one account [limit-rate]', async () => {
  const { stage, file, tap, server } = await limited({ per: 'principal', concurrent: 2 });
  await tap.write(line(call(1)));
  await server.input.count(1);
  const other = await stage.puppet({ options: ['--config', file, '--name', 'hr'], before: apart });
  await other.tap.write(line(call(1)) + line(call(2)));
  await other.tap.output.count(1);
  expect(answers(other.tap)).toMatchObject([
    { id: 2, error: { code: 4290, data: { rule: 'sworn:limit', retryAfterMs: 1_000, reason: 'more than 2 at a time' } } },
  ]);
  await server.write(result(1));
  await tap.output.count(1);
  await other.tap.write(
    line(call(3)) + line({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 3 } }) + line(call(4)) + line(call(5)),
  );
  await other.tap.output.count(2);
  expect(codes(other.tap)[1]).toEqual([5, 4290, 'sworn:limit']);
  // what a connection leaves behind runs no more
  await other.tap.close();
  await tap.write(line(call(6)) + line(call(7)) + line(call(8)));
  await tap.output.count(2);
  expect(codes(tap)).toEqual([[1], [8, 4290, 'sworn:limit']]);
  await tap.close();
  await stage.finished();
});

test('replies are paid for afterwards, also by who begins a new session behind a restart [limit-restart]', async () => {
  const { stage, file, tap, server } = await limited({ per: 'principal', bytes: '1000B/h' });
  await tap.write(line(call(1)));
  await server.input.count(1);
  await server.write(line({ jsonrpc: '2.0', id: 1, result: { content: [{ type: 'text', text: 'x'.repeat(5_000) }] } }));
  await tap.output.count(1);
  await tap.write(line(call(2)));
  await tap.output.count(2);
  const first = answers(tap)[1]!.error!.data.retryAfterMs!;
  expect(first).toBeGreaterThan(4 * 3_600_000);
  await tap.close();
  await stage.stopRecorder();
  const again = await stage.puppet({ options: ['--config', file], before: apart });
  await again.tap.write(line(call(1)));
  await again.tap.output.count(1);
  const second = answers(again.tap)[0]!.error!.data.retryAfterMs!;
  // what went by in between, and the shorter request
  expect(second).toBeGreaterThan(first - 120_000);
  expect(second).toBeLessThanOrEqual(first);
  await again.tap.close();
  await stage.finished();
});

test('a recorder that is killed gives nobody a new burst, and what it refused is said again [limit-restart]', async () => {
  const { stage, tap, server } = await limited({ per: ['principal', 'server', 'tool'], requests: '4/h', concurrent: 3 });
  await tap.write([1, 2, 3].map((id) => line(call(id))).join(''));
  await server.input.count(3);
  await stage.stopRecorder('SIGKILL');
  // three run
  await tap.write(line(call(4)));
  await tap.output.count(1);
  expect(answers(tap)[0]!.error!.data).toMatchObject({ rule: 'sworn:limit', reason: 'more than 3 at a time' });
  await server.write(result(1) + result(2) + result(3));
  await tap.output.count(4);
  await stage.stopRecorder('SIGKILL');
  await tap.write(line(call(5)) + line(call(6)));
  await server.input.count(4);
  await tap.output.count(5);
  expect(answers(tap)[4]).toMatchObject({ id: 6, error: { code: 4290, data: { reason: 'more than 4/h requests' } } });
  await tap.close();
  await stage.finished();
});

test('a batch with an item beyond the limit is refused whole, and takes nothing [limit-rate]', async () => {
  const { stage, tap, server } = await limited({ requests: '3/h' });
  await tap.write(line([call(1), call(2), call(3), call(4)]));
  await tap.output.count(4);
  expect(answers(tap).map(({ id, error }) => [id, error?.code, error?.data.reason])).toEqual([
    [1, 4290, 'not sent: item 3 was refused'],
    [2, 4290, 'not sent: item 3 was refused'],
    [3, 4290, 'not sent: item 3 was refused'],
    [4, 4290, 'more than 3/h requests'],
  ]);
  await tap.write(line([call(5), call(6), call(7)]));
  await server.input.count(1);
  for (let id = 10; id < 20; id++) await tap.write(line([call(id), call(id + 100)]));
  await tap.output.count(24);
  expect(server.input.lines).toHaveLength(1);
  await tap.close();
  const entries = await stage.finished();
  // the first five of a bucket have entries, each with its items
  expect(entries.filter(({ kind, verdict }) => kind === 'batch' && verdict === 'block')).toHaveLength(5);
  expect(count(entries)).toBe(24);
});

test.each(['commit', 'observe'] as const)(
  '%s: of a storm the first ones have entries, and not one is missing in the count [limit-storm]',
  async (mode) => {
    // all of it in one process: `src/recorder/limiting.test.ts`
    const requests = !isLong ? 10_000 : 100_000;
    const { stage, tap, server } = await limited({ name: 'storm', per: 'session', requests: '10/h' }, { options: ['--mode', mode], keep: false });
    for (let from = 1; from <= requests; from += 2_000) {
      let text = '';
      for (let id = from; id < from + 2_000; id++) text += line(call(id));
      await tap.write(text);
    }
    const last = line({ jsonrpc: '2.0', method: 'notifications/x' });
    await tap.write(last);
    await server.input.until(({ sizeBytes }) => sizeBytes >= 10 * line(call(1)).length + 1 + last.length);
    expect(await tap.close()).toMatchObject({ code: 0 });
    const entries = await stage.finished();
    expect(entries.length).toBeLessThan(100);
    expect(messages(entries, { type: 'request', verdict: 'pass' })).toHaveLength(10);
    expect(count(entries)).toBe(requests - 10);
    const close = entries.find(({ kind }) => kind === 'close')!;
    expect(close['uncaptured']).toEqual([requests - 10 - messages(entries, { verdict: 'block' }).length, 0]);
    for (const one of sums(entries)) {
      expect(one).toMatchObject({ rule: 'sworn:limit/storm', connection: close['connection'] });
      expect(one.opened).toEqual({ session: close['connection'] });
      expect(one['since'] <= one['until']).toBe(true);
    }
  },
);

test('a kill in a storm: everything is answered once, and what has no entry is counted [limit-storm, limit-restart]', async () => {
  const { stage, tap, server } = await limited({ name: 'storm', requests: '10/h' });
  const requests = 3_000;
  for (let from = 1; from <= requests; from += 500) {
    let text = '';
    for (let id = from; id < from + 500; id++) text += line(call(id));
    await tap.write(text);
    if (from === 501 || from === 2_001) {
      await tap.output.count(from - 100);
      await stage.stopRecorder('SIGKILL');
    }
  }
  await tap.output.count(requests - 10);
  await tap.close();
  const ids = answers(tap).map(({ id }) => id);
  expect([ids.length, new Set(ids).size]).toEqual([requests - 10, requests - 10]);
  expect(server.input.lines).toHaveLength(10);
  const entries = await stage.finished();
  const close = entries.find(({ kind }) => kind === 'close')!;
  expect(messages(entries, { type: 'request', verdict: 'block' }).length + (close['uncaptured'] as number[])[0]!).toBe(requests - 10);
  // what a recorder had not summed up when it was killed is in no sum
  expect(count(entries)).toBeLessThanOrEqual(requests - 10);
});

test('a reload keeps the buckets of a limit that says the same [limit-restart]', async () => {
  const calls = { name: 'calls', per: 'tool', requests: '1/h' };
  const { stage, file, tap, server } = await limited([calls, { name: 'all', requests: '100/h' }]);
  await tap.write(line(call(1)));
  await server.input.count(1);
  writeFileSync(file, JSON.stringify({ limits: [{ name: 'all', requests: '2/h' }, calls] }));
  process.kill(stage.recorderPid!, 'SIGHUP');
  await stage.until((entries) => entries.filter(({ kind, act }) => kind === 'policy' && act === 'load').length === 2);
  await tap.write(line(call(2)) + line(call(3, 'other')) + line(call(4, 'third')) + line(call(5, 'fourth')));
  await tap.output.count(2);
  expect(codes(tap)).toEqual([
    [2, 4290, 'sworn:limit/calls'],
    [5, 4290, 'sworn:limit/all'],
  ]);
  const status = JSON.parse((await stage.command('recorder', 'status', '--ledger', stage.ledger, '--json')).stdout) as { limits: object };
  expect(status.limits).toMatchObject({ count: 2, refused: { 'sworn:limit/calls': 1, 'sworn:limit/all': 1 } });
  expect((await stage.command('recorder', 'status', '--ledger', stage.ledger)).stdout).toContain('2 limits');
  await tap.close();
  await stage.finished();
});

test('a rule goes before, and what it refuses takes nothing; the direction is to the server unless it is said [limit-rate]', async () => {
  const { stage, tap, server } = await limited(
    [{ requests: '1/h' }, { name: 'back', direction: 's2c', requests: '1/h' }],
    {},
    { policy: { rules: [{ name: 'no', deny: true, tool: 'delete' }] } },
  );
  for (let id = 1; id < 4; id++) await tap.write(line(call(id, 'delete')));
  await tap.write(line(call(4)) + line(call(5)));
  await tap.output.count(4);
  expect(codes(tap)).toEqual([
    [1, 4030, 'no'],
    [2, 4030, 'no'],
    [3, 4030, 'no'],
    [5, 4290, 'sworn:limit'],
  ]);
  const ask = (id: number): string => line({ jsonrpc: '2.0', id, method: 'roots/list' });
  await server.write(ask(1) + ask(2));
  await server.input.count(2);
  expect(JSON.parse(server.input.lines[1]!)).toMatchObject({ id: 2, error: { code: 4290, data: { rule: 'sworn:limit/back' } } });
  await tap.close();
  await stage.finished();
});

test('a client of the official SDK sees an error that it can wait for [limit-rate]', async () => {
  const stage = new Stage();
  const file = join(stage.folder, 'sworn.yaml');
  writeFileSync(file, JSON.stringify({ limits: { per: ['principal', 'server', 'tool'], requests: '4/s', burst: 2 } }));
  const client = await connect('auto', stage.words(official('everything'), ['--config', file]), stage.env);
  const said: string[] = [];
  for (let i = 0; i < 4; i++) {
    try {
      await client.callTool('echo', { message: String(i) });
      said.push('passed');
    } catch (error) {
      const { code, data } = error as { code: number; data: { retryAfterMs: number } };
      said.push(String(code));
      await sleep(data.retryAfterMs + 1);
      await client.callTool('echo', { message: String(i) });
    }
  }
  expect(said.slice(0, 2)).toEqual(['passed', 'passed']);
  expect(said).toContain('4290');
  await client.close();
  await stage.finished();
});
