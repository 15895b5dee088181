import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { tapWindowBytes } from '../../src/limits.ts';
import { ask } from '../../src/wire/ask.ts';
import { socketPathOf } from '../../src/wire/socket-path.ts';
import { encodeJson } from '../../src/wire/wire.ts';
import { FakeRecorder } from './fake-recorder.ts';
import { frames, line, Stage } from './stage.ts';

// a tap holds what it has for ten seconds
vi.setConfig({ testTimeout: 90_000 });

const request = (id: number): string => line({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'x' } });
const reply = (id: number): string => line({ jsonrpc: '2.0', id, result: {} });
const complaint = /^sworn: error: the recorder at [^\n]* does not answer; [^\n]*\nsworn: hint: [^\n]*\n$/;

test.each(['block', 'pass'] as const)(
  'a recorder that is stopped holds nobody up for ever, and goes on where it was; with %s [silent-stopped]',
  async (what) => {
    const stage = new Stage();
    const { tap, server } = await stage.puppet({ options: ['--on-unrecordable', what] });
    await tap.write(request(1));
    await server.input.count(1);
    await server.write(reply(1));
    await tap.output.count(1);
    const recorder = ((await ask(socketPathOf(stage.ledger), 'status')) as { pid: number }).pid;
    process.kill(recorder, 'SIGSTOP');
    await tap.write(request(2));
    if (what === 'block') {
      await tap.output.count(2);
      expect(JSON.parse(tap.output.lines[1]!)).toMatchObject({ id: 2, error: { code: 5030, data: { executed: false } } });
      expect(server.input.text).toBe(request(1));
    } else {
      await server.input.count(2);
      await server.write(reply(2));
      expect((await tap.output.count(2)).text).toBe(reply(1) + reply(2));
    }
    process.kill(recorder, 'SIGCONT');
    // it is told what passed without it: from then on it records again
    await stage.until((entries) => entries.some(({ kind }) => kind === 'gap'));
    await tap.write(request(3));
    await server.input.until(({ text }) => text.endsWith(request(3)));
    await server.write(reply(3));
    await tap.output.count(3);
    expect(await tap.close()).toEqual({ code: 0, signal: null });
    expect(server.input.text).toBe(what === 'block' ? request(1) + request(3) : request(1) + request(2) + request(3));
    expect(tap.output.lines.map((text) => (JSON.parse(text) as { id: number }).id)).toEqual([1, 2, 3]);
    expect(tap.errors.text).toMatch(complaint);
    const entries = await stage.finished();
    const recorded = frames(entries, 'c2s').map((frame) => `${frame.toString()}\n`);
    // what it had in its socket when it was stopped it may have recorded after all
    expect(recorded.filter((text) => text !== request(2))).toEqual([request(1), request(3)]);
    expect(recorded.filter((text) => text === request(2)).length).toBeLessThanOrEqual(1);
    expect(entries.filter(({ kind }) => kind === 'gap').map((entry) => entry['lost'] as unknown)).toEqual([
      { c2s: 1, s2c: what === 'block' ? 0 : 1 },
    ]);
  },
);

test('where a rule may refuse, silence lets nothing pass, whatever the tap was told [silent-rules]', async () => {
  const stage = new Stage();
  mkdirSync(join(stage.home, '.config', 'sworn'), { recursive: true });
  writeFileSync(join(stage.home, '.config', 'sworn', 'sworn.yaml'), 'policy: { rules: [ { name: no-drops, deny: true, tool: drop } ] }\n');
  const { tap, server } = await stage.puppet({ options: ['--on-unrecordable', 'pass'] });
  await tap.write(request(1));
  await server.input.count(1);
  const recorder = ((await ask(socketPathOf(stage.ledger), 'status')) as { pid: number }).pid;
  process.kill(recorder, 'SIGSTOP');
  await tap.write(request(2));
  await tap.output.count(1);
  expect(JSON.parse(tap.output.lines[0]!)).toMatchObject({ id: 2, error: { code: 5030 } });
  expect(tap.errors.text).toContain('messages are answered with an error until it does');
  process.kill(recorder, 'SIGCONT');
  expect(await tap.close()).toEqual({ code: 0, signal: null });
  expect(server.input.text).toBe(request(1));
});

test('a recorder that accepts and never says welcome is none [silent-welcome]', async () => {
  const stage = new Stage();
  const recorder = await FakeRecorder.listen(stage.folder);
  const { tap, server } = await stage.puppet({ options: ['--socket', recorder.path] });
  const peer = await recorder.next();
  await tap.write(request(1));
  await tap.output.count(1);
  expect(JSON.parse(tap.output.lines[0]!)).toMatchObject({ id: 1, error: { code: 5030 } });
  expect(tap.errors.text).toMatch(complaint);
  const next = await recorder.next();
  expect(peer.ended).toBe(true);
  next.welcome('receipt');
  await tap.write(request(2));
  await next.until(({ units }) => units.length === 1);
  next.pass(0, 2);
  expect((await server.input.count(1)).text).toBe(request(2));
  tap.process.stdin!.end();
  await next.close();
  next.closed();
  expect(await tap.ended).toEqual({ code: 0, signal: null });
});

test('a recorder that says anything is waited for [silent-slow]', async () => {
  const stage = new Stage();
  const recorder = await FakeRecorder.listen(stage.folder);
  const { tap, server } = await stage.puppet({ options: ['--socket', recorder.path] });
  const peer = await recorder.next();
  peer.welcome('receipt');
  await tap.write(request(1));
  await peer.until(({ units }) => units.length === 1);
  for (let i = 0; i < 6; i++) {
    await sleep(2_000);
    peer.write(encodeJson(99, { more: 'than it knows' }));
  }
  peer.pass(0, 1);
  expect((await server.input.count(1)).text).toBe(request(1));
  expect([peer.ended, tap.errors.text, tap.output.text]).toEqual([false, '', '']);
  tap.process.stdin!.end();
  await peer.close();
  peer.closed();
  expect(await tap.ended).toEqual({ code: 0, signal: null });
});

test('what is delivered waits for nobody, until the window is full of it [silent-window]', async () => {
  const stage = new Stage();
  const recorder = await FakeRecorder.listen(stage.folder);
  const { tap, server } = await stage.puppet({ keep: false, options: ['--socket', recorder.path, '--on-unrecordable', 'pass'] });
  const peer = await recorder.next();
  peer.welcome('none');
  await tap.write(request(1));
  await server.input.size(request(1).length);
  await sleep(12_000);
  expect([peer.ended, tap.errors.text]).toEqual([false, '']);
  const lines = `${'x'.repeat(8191)}\n`.repeat((2 * tapWindowBytes) / 8192);
  void tap.write(lines);
  await server.input.size(request(1).length + lines.length);
  expect(tap.errors.text).toMatch(complaint);
  const next = await recorder.next();
  next.onUnit = ({ direction, unit }) => next.durable(direction, unit);
  next.welcome('none', [0, 0], true);
  tap.process.stdin!.end();
  await next.close();
  next.closed();
  expect(await tap.ended).toEqual({ code: 0, signal: null });
  expect(server.input.sizeBytes).toBe(request(1).length + lines.length);
});
