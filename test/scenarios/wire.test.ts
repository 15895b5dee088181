import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { unitBytes } from '../../src/limits.ts';
import { encodeJson, held, moreUnits, wireType } from '../../src/wire/wire.ts';
import { FakeRecorder, type FakePeer } from './fake-recorder.ts';
import { Stage, type Puppet, type Tap } from './stage.ts';

// one of them waits for ten seconds, and then for the answers to fifty thousand requests
vi.setConfig({ testTimeout: 180_000 });

interface Set {
  stage: Stage;
  recorder: FakeRecorder;
  tap: Tap;
  server: Puppet;
  peer: FakePeer;
}

async function set(options: string[] = []): Promise<Set> {
  const stage = new Stage();
  const recorder = await FakeRecorder.listen(stage.folder);
  const { tap, server } = await stage.puppet({ options: ['--socket', recorder.path, ...options] });
  return { stage, recorder, tap, server, peer: await recorder.next() };
}

/** What must not happen cannot be waited for: this gives it every chance. A slow machine makes the test weaker, not wrong. */
const aWhile = (): Promise<void> => sleep(150);

async function ended({ tap, peer }: Pick<Set, 'tap' | 'peer'>): Promise<Record<string, unknown>> {
  tap.process.stdin!.end();
  const close = await peer.close();
  peer.closed();
  expect(await tap.ended).toEqual({ code: 0, signal: null });
  return close;
}

test('hello says what the tap is, and no secret of its environment [wire-hello]', async () => {
  const scene = await set([
    '--name',
    'n',
    '--client',
    'c',
    '--label',
    'a=b',
    '--sensitive',
    'x*,y',
    '--on-unrecordable',
    'pass',
    '--mode',
    'observe',
  ]);
  const { hello } = scene.peer;
  expect(hello).toMatchObject({
    wire: [1, 1],
    connection: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
    token: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
    transport: 'stdio',
    server: 'n',
    client: 'c',
    labels: { a: 'b' },
    mode: 'observe',
    onUnrecordable: 'pass',
    overrides: { sensitive: ['x*', 'y'], write: [], read: [] },
    cwd: scene.stage.folder,
    serverPid: expect.any(Number) as number,
  });
  expect(hello!['token']).not.toBe(hello!['connection']);
  expect(hello).not.toHaveProperty('ledger');
  expect(hello).not.toHaveProperty('receipt');
  scene.peer.welcome('none');
  await ended(scene);
});

test('receipt: nothing is delivered before a pass covers it, and a pass covers all before it [wire-receipt, wire-cumulative, wire-fifo]', async () => {
  const scene = await set();
  const { tap, server, peer } = scene;
  await tap.write('a\nb\nc\nd\n');
  await server.write('1\n2\n3\n');
  await peer.until(({ units }) => units.length === 7);
  await aWhile();
  expect([server.input.text, tap.output.text]).toEqual(['', '']);
  peer.welcome('receipt');
  await aWhile();
  expect([server.input.text, tap.output.text]).toEqual(['', '']);
  peer.pass(0, 3);
  expect((await server.input.count(3)).text).toBe('a\nb\nc\n');
  // the directions do not wait for each other
  expect(tap.output.text).toBe('');
  peer.pass(1, 1);
  await tap.output.count(1);
  peer.pass(1, 3);
  // an answer that says less than an earlier one takes nothing back
  peer.pass(0, 1);
  peer.pass(0, 4);
  expect((await server.input.count(4)).text).toBe('a\nb\nc\nd\n');
  expect((await tap.output.count(3)).text).toBe('1\n2\n3\n');
  const close = await ended(scene);
  expect(close).toMatchObject({ reason: 'client closed', exitCode: 0, frames: { c2s: 4, s2c: 3 }, delivered: [4, 3] });
});

test('each unit says what was delivered when it was sent [wire-delivered]', async () => {
  const scene = await set();
  const { tap, server, peer } = scene;
  peer.welcome('receipt');
  await tap.write('a\nb\n');
  await peer.until(({ units }) => units.length === 2);
  peer.pass(0, 1);
  await server.input.count(1);
  await server.write('1\n');
  await peer.until(({ units }) => units.length === 3);
  peer.pass(1, 1);
  await tap.output.count(1);
  peer.pass(0, 2);
  await server.input.count(2);
  await tap.write('c\n');
  await peer.until(({ units }) => units.length === 4);
  expect(peer.units.map(({ text, unit, delivered }) => [text, unit, delivered])).toEqual([
    ['a', 1, [0, 0]],
    ['b', 2, [0, 0]],
    ['1', 1, [1, 0]],
    ['c', 3, [2, 1]],
  ]);
  peer.pass(0, 3);
  await ended(scene);
});

test('verdict: a pass delivers, and what is not yet durable is sent again to the next recorder, not delivered again [wire-verdict, wire-resend]', async () => {
  const scene = await set();
  const { recorder, tap, server, peer } = scene;
  peer.welcome('verdict');
  await tap.write('a\nb\nc\n');
  await peer.until(({ units }) => units.length === 3);
  await aWhile();
  expect(server.input.text).toBe('');
  peer.pass(0, 2);
  await server.input.count(2);
  peer.durable(0, 1);
  await server.write('1\n');
  await peer.until(({ units }) => units.length === 4);
  peer.socket.destroy();
  const next = await recorder.next();
  next.welcome('verdict', [1, 0], true);
  await next.until(({ units }) => units.length === 3);
  expect(next.units.map(({ text }) => text)).toEqual(['b', 'c', '1']);
  next.pass(0, 3);
  next.pass(1, 1);
  await server.input.count(3);
  await tap.output.count(1);
  expect(server.input.text).toBe('a\nb\nc\n');
  const close = await ended({ tap, peer: next });
  expect(close).toMatchObject({ frames: { c2s: 3, s2c: 1 }, delivered: [3, 1] });
});

test('none: a unit is delivered when it is handed over, whatever the recorder says [wire-none]', async () => {
  const scene = await set();
  const { tap, server, peer } = scene;
  peer.welcome('none');
  await tap.write('a\nb\n');
  await server.write('1\n');
  expect((await server.input.count(2)).text).toBe('a\nb\n');
  expect((await tap.output.count(1)).text).toBe('1\n');
  await peer.until(({ units }) => units.length === 3);
  // a recorder that does not read takes nothing over, so nothing is delivered beyond what its socket holds
  peer.socket.pause();
  const total = 24 << 20;
  const lines = Buffer.from(`${'x'.repeat(8191)}\n`.repeat(total / 8192));
  const writing = tap.write(lines);
  await server.input.until(({ sizeBytes }) => sizeBytes > 4);
  await aWhile();
  expect(server.input.sizeBytes).toBeLessThan(4 << 20);
  peer.onUnit = ({ unit }) => peer.durable(0, unit);
  peer.socket.resume();
  await writing;
  await server.input.size(4 + total);
  expect(server.input.bytes.subarray(4).equals(lines)).toBe(true);
  await ended(scene);
});

test('a recorder that asks to wait is waited for from then on [wire-raise]', async () => {
  const scene = await set();
  const { tap, server, peer } = scene;
  peer.welcome('none');
  await tap.write('a\n');
  await server.input.count(1);
  peer.wait('receipt');
  // once an answer to what was sent behind it has come, the tap has read it
  await server.write('1\n');
  await peer.until(({ units }) => units.length === 2);
  peer.pass(1, 1);
  await tap.output.count(1);
  await tap.write('b\n');
  await peer.until(({ units }) => units.length === 3);
  await aWhile();
  expect(server.input.text).toBe('a\n');
  peer.pass(0, 2);
  expect((await server.input.count(2)).text).toBe('a\nb\n');
  // and what is held is delivered when it need not wait any more
  await tap.write('c\n');
  await peer.until(({ units }) => units.length === 4);
  peer.wait('none');
  expect((await server.input.count(3)).text).toBe('a\nb\nc\n');
  await ended(scene);
});

test('a refused request is answered between two frames, a refused reply replaced, a notification dropped [wire-refuse]', async () => {
  const scene = await set();
  const { tap, server, peer } = scene;
  peer.welcome('receipt');
  await tap.write('request\nnote\nlast\n');
  await server.write('first\nreply\nlast\n');
  await peer.until(({ units }) => units.length === 6);
  // refuse n comes after everything before n was passed: the tap may take it as that
  peer.refuse(1, 2, '', '{"withheld":1}\n');
  expect((await tap.output.count(2)).text).toBe('first\n{"withheld":1}\n');
  peer.refuse(0, 1, '{"denied":1}\n', '');
  expect((await tap.output.count(3)).text).toBe('first\n{"withheld":1}\n{"denied":1}\n');
  peer.refuse(0, 2);
  peer.pass(0, 3);
  peer.pass(1, 3);
  expect((await server.input.count(1)).text).toBe('last\n');
  expect((await tap.output.count(4)).text).toBe('first\n{"withheld":1}\n{"denied":1}\nlast\n');
  const close = await ended(scene);
  expect(close).toMatchObject({ frames: { c2s: 3, s2c: 3 }, delivered: [3, 3] });
});

test('a long frame: refused before any of it was delivered leaves nothing, refused later leaves an ended line [wire-refuse-long]', async () => {
  const scene = await set();
  const { tap, server, peer } = scene;
  peer.welcome('receipt');
  const long = `${'x'.repeat(unitBytes)}${'y'.repeat(unitBytes)}z`;
  await tap.write(`${long}\nafter\n`);
  await peer.until(({ units }) => units.length === 4);
  expect(peer.units.map(({ flags, sizeBytes }) => [flags, sizeBytes])).toEqual([
    [moreUnits | held, unitBytes],
    [moreUnits | held, unitBytes],
    [held, 1],
    [held, 5],
  ]);
  for (const unit of [1, 2]) peer.refuse(0, unit);
  peer.refuse(0, 3, '{"denied":1}\n');
  peer.pass(0, 4);
  expect((await server.input.count(1)).text).toBe('after\n');
  expect((await tap.output.count(1)).text).toBe('{"denied":1}\n');

  await tap.write(`${long}\nafter\n`);
  await peer.until(({ units }) => units.length === 8);
  peer.pass(0, 5);
  await server.input.size(6 + unitBytes);
  peer.refuse(0, 6);
  peer.refuse(0, 7, '{"denied":2}\n');
  peer.pass(0, 8);
  await server.input.count(3);
  expect(server.input.text).toBe(`after\n${'x'.repeat(unitBytes)}\nafter\n`);
  expect((await tap.output.count(2)).text).toBe('{"denied":1}\n{"denied":2}\n');
  await ended(scene);
});

test('a frame that was refused stays refused, whoever passes its rest, and no other recorder gets that [wire-refuse-rest]', async () => {
  const scene = await set();
  const { recorder, tap, server, peer } = scene;
  peer.welcome('receipt');
  const units = ['x', 'y', 'z'].map((letter) => letter.repeat(unitBytes));
  await tap.write(`${units.join('')}\nafter\n`);
  await peer.until(({ units }) => units.length === 4);
  peer.pass(0, 1);
  peer.refuse(0, 2);
  peer.pass(0, 4);
  await server.input.size(unitBytes + 7);
  expect(server.input.text).toBe(`${units[0]}\nafter\n`);

  // a recorder dies within a refused frame, of which some is there and some is to come
  await tap.write(`${units.join('')}.`);
  await peer.until(({ units }) => units.length === 7);
  peer.pass(0, 5);
  await server.input.size(2 * unitBytes + 7);
  peer.refuse(0, 6);
  peer.socket.destroy();
  const next = await recorder.next();
  next.welcome('receipt', [6, 0], true);
  await tap.write('end\nlast\n');
  await next.until(({ units }) => units.length === 1);
  expect(next.units[0]).toMatchObject({ unit: 9, text: 'last' });
  next.pass(0, 9);
  await server.input.count(4);
  expect(server.input.text).toBe(`${units[0]}\nafter\n${units[0]}\nlast\n`);
  expect(next.others).toMatchObject([{ type: wireType.lost, json: { lost: { c2s: 1, s2c: 0 } } }]);
  await ended({ tap, peer: next });
});

test('a line of ours waits for the end of a frame that is being delivered [wire-between]', async () => {
  const scene = await set();
  const { tap, server, peer } = scene;
  peer.welcome('receipt');
  const long = `${'x'.repeat(unitBytes)}z\n`;
  await server.write(long);
  await tap.write('request\n');
  await peer.until(({ units }) => units.length === 3);
  peer.pass(1, 1);
  await tap.output.size(unitBytes);
  peer.refuse(0, 1, '{"denied":1}\n');
  await aWhile();
  expect(tap.output.sizeBytes).toBe(unitBytes);
  peer.pass(1, 2);
  await tap.output.count(2);
  expect(tap.output.text).toBe(`${long}{"denied":1}\n`);
  await ended(scene);
});

test('after a broken socket: same connection and token, last receipt, what is durable delivered, the rest sent again as it arrived [wire-resume]', async () => {
  const scene = await set();
  const { recorder, tap, server, peer } = scene;
  peer.welcome('receipt');
  const steps: (() => Promise<void>)[] = [
    () => tap.write('a\n'),
    () => server.write('1\n'),
    () => tap.write('b\n'),
    () => server.write('2\n'),
    () => tap.write('c\n'),
  ];
  for (const [i, step] of steps.entries()) {
    await step();
    await peer.until(({ units }) => units.length === i + 1);
  }
  peer.pass(0, 1, { index: 7, hash: Buffer.alloc(32, 0xab) });
  await server.input.count(1);
  peer.socket.destroy();
  const next = await recorder.next();
  expect(next.hello).toEqual({ ...peer.hello, receipt: { index: 7, hash: 'ab'.repeat(32) } });
  await aWhile();
  // only on its first connection a tap sends before it is welcome
  expect(next.units).toEqual([]);
  await tap.write('d\n');
  await aWhile();
  expect(next.units).toEqual([]);
  next.welcome('receipt', [2, 0], true);
  await next.until(({ units }) => units.length === 4);
  expect(next.units.map(({ text, unit, direction }) => [text, unit, direction])).toEqual([
    ['1', 1, 1],
    ['2', 2, 1],
    ['c', 3, 0],
    ['d', 4, 0],
  ]);
  expect((await server.input.count(2)).text).toBe('a\nb\n');
  next.pass(0, 4);
  next.pass(1, 2);
  expect((await server.input.count(4)).text).toBe('a\nb\nc\nd\n');
  await tap.output.count(2);
  await ended({ tap, peer: next });
});

test('what is sent again is called held only if it is, and if it will be [wire-resend]', async () => {
  const scene = await set(['--mode', 'observe']);
  const { recorder, tap, server, peer } = scene;
  peer.welcome('none');
  await tap.write('a\n');
  await peer.until(({ units }) => units.length === 1);
  await server.input.count(1);
  // free, and not delivered when a recorder comes that lets nothing pass unjudged
  peer.socket.destroy();
  await aWhile();
  await tap.write('b\n');
  const next = await recorder.next();
  next.welcome('verdict', [0, 0], true);
  await next.until(({ units }) => units.length === 2);
  expect(next.units.map(({ text, flags }) => [text, flags])).toEqual([
    ['a', 0],
    ['b', held],
  ]);
  await aWhile();
  expect(server.input.text).toBe('a\n');
  next.pass(0, 2);
  await server.input.count(2);
  // judged and delivered, and not durable when the recorder dies
  next.socket.destroy();
  await aWhile();
  const last = await recorder.next();
  last.welcome('verdict', [0, 0], true);
  await last.until(({ units }) => units.length === 2);
  expect(last.units.map(({ text, flags }) => [text, flags])).toEqual([
    ['a', 0],
    ['b', 0],
  ]);
  await tap.write('c\n');
  await last.until(({ units }) => units.length === 3);
  expect(last.units[2]).toMatchObject({ text: 'c', flags: held });
  last.durable(0, 2);
  last.pass(0, 3);
  last.durable(0, 3);
  await server.input.count(3);
  expect(server.input.text).toBe('a\nb\nc\n');
  await ended({ tap, peer: last });
});

test('a first connection that breaks before its welcome loses nothing [wire-resume-early]', async () => {
  const scene = await set();
  const { recorder, tap, server, peer } = scene;
  await tap.write('a\n');
  await peer.until(({ units }) => units.length === 1);
  peer.socket.destroy();
  const next = await recorder.next();
  next.welcome('receipt');
  await next.until(({ units }) => units.length === 1);
  next.pass(0, 1);
  expect((await server.input.count(1)).text).toBe('a\n');
  await ended({ tap, peer: next });
});

test('messages of a type that the tap does not know are ignored [wire-unknown]', async () => {
  const scene = await set();
  const { tap, server, peer } = scene;
  peer.write(encodeJson(99, { more: 'than we know' }));
  peer.write(encodeJson(255));
  peer.welcome('receipt');
  peer.write(encodeJson(wireType.wait, { wait: 'for ever' }));
  await tap.write('a\n');
  await peer.until(({ units }) => units.length === 1);
  peer.write(encodeJson(200, {}));
  peer.pass(0, 1);
  expect((await server.input.count(1)).text).toBe('a\n');
  await ended(scene);
});

test('bytes that are not the protocol make the tap connect again, and lose nothing [wire-corrupt]', async () => {
  const scene = await set();
  const { recorder, tap, server, peer } = scene;
  peer.welcome('receipt');
  await tap.write('a\n');
  await peer.until(({ units }) => units.length === 1);
  peer.write(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
  const next = await recorder.next();
  next.welcome('receipt');
  await next.until(({ units }) => units.length === 1);
  next.pass(0, 1);
  expect((await server.input.count(1)).text).toBe('a\n');
  await ended({ tap, peer: next });
});

const ask = '{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"x","id":7}}\n';
const note = '{"jsonrpc":"2.0","method":"notifications/initialized"}\n';

test('an error of the recorder is told on stderr, and requests are answered at once [wire-error, unrecordable-block]', async () => {
  const scene = await set();
  const { recorder, tap, server, peer } = scene;
  await tap.write(ask);
  await peer.until(({ units }) => units.length === 1);
  peer.socket.end(encodeJson(wireType.error, { code: 'wire-version', message: 'the recorder is too old', hint: 'update it' }));
  await tap.output.count(1);
  expect(JSON.parse(tap.output.lines[0]!)).toMatchObject({ jsonrpc: '2.0', id: 1, error: { code: 5030, data: { executed: false } } });
  expect(tap.output.text).toContain('"id":1.0,');
  expect(tap.errors.text).toMatch(/^sworn: error: the recorder is too old.*\nsworn: hint: update it\n$/);
  await tap.write(note);
  await server.write('{"jsonrpc":"2.0","id":"s","result":{"secret":1}}\n');
  await tap.output.count(2);
  expect(JSON.parse(tap.output.lines[1]!)).toEqual({
    jsonrpc: '2.0',
    id: 's',
    error: expect.objectContaining({
      code: 5030,
      data: expect.objectContaining({ executed: 'unknown', resultWithheld: true }) as unknown,
    }) as unknown,
  });
  expect(server.input.text).toBe('');

  // it goes on trying: the next recorder is told what was lost, and records again
  const next = await recorder.next();
  next.welcome('receipt');
  await next.until(({ others }) => others.length === 1);
  expect(next.others[0]).toMatchObject({ type: wireType.lost, json: { lost: { c2s: 2, s2c: 1 } } });
  expect(next.others[0]!.json['until']).toBeGreaterThanOrEqual(next.others[0]!.json['from'] as number);
  await tap.write(ask);
  await next.until(({ units }) => units.length === 1);
  expect(next.units[0]!.unit).toBe(3);
  next.pass(0, 3);
  expect((await server.input.count(1)).text).toBe(ask);
  const close = await ended({ tap, peer: next });
  expect(close).toMatchObject({ frames: { c2s: 3, s2c: 1 } });
});

test('what was lost is told again until a recorder has recorded something behind it, with the units that were withheld [wire-lost]', async () => {
  const scene = await set();
  const { recorder, tap, server, peer } = scene;
  peer.welcome('receipt');
  await tap.write(note);
  await peer.until(({ units }) => units.length === 1);
  peer.pass(0, 1);
  await server.input.count(1);
  peer.socket.end(encodeJson(wireType.error, { code: 'wire-version', message: 'the recorder is too old', hint: 'update it' }));
  await tap.errors.count(2);
  await tap.write(ask + ask);
  await tap.output.count(2);

  const lost = { lost: { c2s: 2, s2c: 0 }, units: { c2s: [[2, 3]], s2c: [] } };
  const second = await recorder.next();
  second.welcome('receipt', [1, 0], true);
  await second.until(({ others }) => others.length === 1);
  expect(second.others[0]).toMatchObject({ type: wireType.lost, json: lost });
  second.socket.destroy();

  const third = await recorder.next();
  third.welcome('receipt', [1, 0], true);
  await third.until(({ others }) => others.length === 1);
  expect(third.others[0]).toMatchObject({ type: wireType.lost, json: lost });
  await tap.write(note);
  await third.until(({ units }) => units.length === 1);
  third.pass(0, 4);
  await server.input.count(2);
  third.socket.destroy();

  const fourth = await recorder.next();
  fourth.welcome('receipt', [4, 0], true);
  await tap.write(note);
  await fourth.until(({ units }) => units.length === 1);
  expect(fourth.others).toEqual([]);
  fourth.pass(0, 5);
  await server.input.count(3);
  const close = await ended({ tap, peer: fourth });
  expect(close).toMatchObject({ delivered: [5, 0] });
});

test('with --on-unrecordable pass, what no recorder takes is delivered and counted [unrecordable-pass]', async () => {
  const scene = await set(['--on-unrecordable', 'pass']);
  const { recorder, tap, server, peer } = scene;
  await tap.write(ask);
  await peer.until(({ units }) => units.length === 1);
  peer.socket.end(encodeJson(wireType.error, { code: 'wire-version', message: 'the recorder is too old', hint: 'update it' }));
  expect((await server.input.count(1)).text).toBe(ask);
  const long = `${'x'.repeat(3 * unitBytes)}\n`;
  // a frame that began without a recorder ends without one
  await tap.write(long.slice(0, 2 * unitBytes + 1));
  await server.input.size(ask.length + 2 * unitBytes);
  const next = await recorder.next();
  next.welcome('receipt');
  await next.until(({ others }) => others.length === 1);
  expect(next.others[0]).toMatchObject({ type: wireType.lost, json: { lost: { c2s: 1, s2c: 0 } } });
  await tap.write(`${long.slice(2 * unitBytes + 1)}${note}`);
  await next.until(({ units }) => units.length === 1);
  expect(next.units[0]).toMatchObject({ unit: 5, text: note.trim() });
  next.pass(0, 5);
  await server.input.size(ask.length + long.length + note.length);
  expect(server.input.text).toBe(ask + long + note);
  await ended({ tap, peer: next });
});

test('without a recorder frames are held for ten seconds, then answered; many of them too [unrecordable-wait]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet({ options: ['--socket', `${stage.folder}/none.sock`] });
  const count = 50_000;
  // more than the window holds: the rest waits in its pipe
  const padding = 'x'.repeat(400);
  void tap.write(Array.from({ length: count }, (_, i) => `{"jsonrpc":"2.0","id":${i},"method":"ping","params":{"x":"${padding}"}}\n`).join(''));
  await tap.output.count(1);
  expect(tap.errors.text).toMatch(/sworn: error: no recorder answers at .*none\.sock.*\nsworn: hint: /);
  await tap.output.until(({ bytes }) => bytes.includes(`"id":${count - 1},`));
  expect(tap.output.lines.map((text) => (JSON.parse(text) as { id: number }).id)).toEqual(Array.from({ length: count }, (_, i) => i));
  expect(server.input.text).toBe('');
  expect(await tap.close()).toEqual({ code: 0, signal: null });
});

test('a tap that is asked to end while its recorder is silent tells it at the end, and waits for its word [wire-closed]', async () => {
  const scene = await set();
  const { tap, server, peer } = scene;
  await tap.write('a\n');
  await peer.until(({ units }) => units.length === 1);
  server.exit();
  await aWhile();
  expect(tap.process.exitCode).toBe(null);
  peer.welcome('receipt');
  expect(await peer.close()).toMatchObject({ reason: 'server exited', exitCode: 0, frames: { c2s: 1, s2c: 0 }, delivered: [0, 0] });
  await aWhile();
  expect(tap.process.exitCode).toBe(null);
  peer.closed();
  expect(await tap.ended).toEqual({ code: 0, signal: null });
});
