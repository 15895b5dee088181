import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { connect } from './clients.ts';
import { gone, messages, official, ours, Stage, type Recorded } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

/** Both connections of a client that probes first: each opened once, closed once, and nothing odd in between. */
function expectTwo(entries: Recorded[]): void {
  const openings = entries.filter(({ kind }) => kind === 'open');
  expect(openings).toHaveLength(2);
  for (const { connection } of openings) {
    expect(entries.filter((entry) => entry['connection'] === connection && entry.kind === 'principal')).toHaveLength(1);
    const closes = entries.filter((entry) => entry['connection'] === connection && entry.kind === 'close');
    expect(closes).toHaveLength(1);
    expect(closes[0]).toMatchObject({ reason: expect.stringMatching(/^(client closed|signal)$/) as string });
    const own = messages(entries, { connection });
    expect(own.length).toBeGreaterThanOrEqual(2);
    expect(own.filter((entry) => entry['anomalies'] !== undefined)).toEqual([]);
  }
  expect(entries.filter(({ kind }) => kind === 'gap' || kind === 'recovery')).toEqual([]);
}

// the first run starts the recorder while the client waits for its probe
test.each([
  ['a modern server', ours('both-eras.ts'), 'look', { at: 'here' }, 'modern'],
  ['a legacy server', official('everything'), 'echo', { message: 'hello' }, 'legacy'],
])('the client that starts the command twice, with %s, cold and warm [auto-twice]', async (_what, command, tool, args, era) => {
  const stage = new Stage();
  let seen = 0;
  for (const _ of ['cold', 'warm']) {
    const client = await connect('auto', stage.words(command), stage.env);
    await client.listTools();
    await client.callTool(tool, args);
    await client.close();
    const entries = await stage.until((entries) => entries.slice(seen).filter(({ kind }) => kind === 'close').length === 2);
    for (const open of entries.slice(seen).filter(({ kind }) => kind === 'open')) await gone((open['tap'] as { pid: number }).pid);
    const fresh = entries.slice(seen).filter(({ kind }) => kind !== 'start');
    expectTwo(fresh);
    expect(messages(fresh, { method: 'server/discover', type: 'request' }).length).toBeGreaterThanOrEqual(1);
    expect(messages(fresh, { method: 'tools/call', type: 'request' })).toMatchObject([{ era, target: tool }]);
    seen = entries.length;
  }
  await stage.finished();
});

test('two taps started at once on a new ledger, one ended within a second: one recorder, both closed [auto-twice]', async () => {
  const stage = new Stage();
  const [probe, session] = [stage.tap(['/bin/cat']), stage.tap(['/bin/cat'])];
  void probe.write('{"jsonrpc":"2.0","id":0,"method":"server/discover"}\n');
  void session.write('{"jsonrpc":"2.0","id":0,"method":"initialize"}\n');
  await probe.output.count(1);
  // as the client does with its probe: the end of its input and SIGTERM at once
  probe.process.stdin!.end();
  probe.process.kill('SIGTERM');
  const ended = await probe.ended;
  expect(ended.code === 0 || ended.signal === 'SIGTERM').toBe(true);
  await session.output.count(1);
  expect(await session.close()).toEqual({ code: 0, signal: null });
  // the one that came second still waits for the lock, and would have it when the first is ended here
  await vi.waitFor(() => expect(stage.recorders()).toHaveLength(1), 20_000);
  const entries = await stage.finished();
  expect(entries.filter(({ kind }) => kind === 'start')).toHaveLength(1);
  expectTwo(entries);
});

test('a tap that is ended before its recorder listens still says what it was [auto-twice]', async () => {
  const stage = new Stage();
  // at every moment of its start
  for (let afterMs = 0; afterMs < 400; afterMs += 40) {
    const tap = stage.tap(['/bin/cat']);
    tap.process.stdin!.end();
    await sleep(afterMs);
    tap.process.kill('SIGTERM');
    await tap.ended;
    // before Node has begun to listen for signals there is no tap yet; after that, nothing is lost
    await stage.stopRecorder();
  }
  const entries = stage.entries();
  const closed = entries.filter(({ kind }) => kind === 'close');
  const opened = entries.filter(({ kind }) => kind === 'open');
  expect(closed.map((entry) => entry['connection'])).toEqual(opened.map((entry) => entry['connection']));
  for (const close of closed) expect(close['reason']).not.toBe('tap lost');
});
