import { connect, type Socket } from 'node:net';
import { expect, test, vi } from 'vitest';
import { unitBytes } from '../../src/limits.ts';
import { encodeJson, frameHeaderBytes, readAnswer, readJson, WireReader, wireType, writeFrameHeader } from '../../src/wire/wire.ts';
import { socketPathOf } from '../../src/wire/socket-path.ts';
import { messages, Stage } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

const padding = 'x'.repeat(2 * unitBytes);

test('a list of tools of several units still tells what the tools do [long-tools]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  await tap.write('{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n');
  await server.input.count(1);
  const tools = [
    { name: 'look', description: padding, annotations: { readOnlyHint: true } },
    { name: 'put', annotations: { destructiveHint: false } },
  ];
  const list = `${JSON.stringify({ jsonrpc: '2.0', id: 1, result: { tools } })}\n`;
  void server.write(list);
  expect((await tap.output.size(list.length)).text === list).toBe(true);
  await tap.write(
    '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"look"}}\n{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"put"}}\n',
  );
  await server.input.count(3);
  await tap.close();
  const entries = await stage.finished();
  expect(messages(entries, { id: '2' })).toMatchObject([{ effect: 'read', effectSource: 'annotation' }]);
  expect(messages(entries, { id: '3' })).toMatchObject([{ effect: 'write', effectSource: 'annotation' }]);
});

test('a request of several units waits for its reply also across the death of the recorder [long-pending]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet({ options: ['--write', 'big', '--sensitive', 'big'] });
  const request = `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"big","x":"${padding}"}}\n`;
  void tap.write(request);
  await server.input.size(request.length);
  await stage.stopRecorder('SIGKILL');
  await server.write('{"jsonrpc":"2.0","id":"a","result":{}}\n');
  await tap.output.count(1);
  await tap.close();
  const entries = await stage.finished();
  const [asked, answered] = messages(entries);
  expect(asked).toMatchObject({ type: 'request', parts: 3, effect: 'write', sensitive: true });
  expect(answered).toMatchObject({
    type: 'result',
    exchange: asked!.index,
    method: 'tools/call',
    target: 'big',
    effect: 'write',
    sensitive: true,
    era: 'legacy',
  });
  expect(answered).not.toHaveProperty('anomalies');
});

test('a frame of several units goes on where it was when the recorder dies in its middle [long-resumed]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const request = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"big","x":"${padding}${padding}"}}\n`;
  await tap.write(request.slice(0, 3 * unitBytes));
  // two units and the beginning of a third
  await server.input.size(2 * unitBytes);
  await stage.stopRecorder('SIGKILL');
  await tap.write(request.slice(3 * unitBytes));
  await server.input.size(request.length);
  expect(server.input.text === request).toBe(true);
  await tap.close();
  const entries = await stage.finished();
  expect(messages(entries)).toMatchObject([{ type: 'request', target: 'big', parts: 5, segments: 5, sizeBytes: request.length - 1 }]);
  expect(messages(entries)[0]!.frame!.toString() === request.trim()).toBe(true);
});

/** A tap of our own, for what no tap of sworn says. */
class RawTap {
  readonly socket: Socket;
  readonly received: { type: number; json: Record<string, unknown> | undefined; through: number }[] = [];
  ended = false;
  #wakers: (() => void)[] = [];

  constructor(ledger: string) {
    const reader = new WireReader();
    this.socket = connect(socketPathOf(ledger));
    this.socket.on('data', (chunk) => {
      reader.push(chunk, (type, body) => {
        const answer = type === wireType.pass ? readAnswer(body) : undefined;
        this.received.push({ type, json: readJson(body), through: answer?.through ?? 0 });
      });
      this.#wake();
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.ended = true;
      this.#wake();
    });
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }

  async until(holds: (tap: RawTap) => boolean): Promise<void> {
    while (!holds(this)) {
      if (this.ended) throw new Error(`the recorder has left: ${JSON.stringify(this.received)}`);
      // oxlint-disable-next-line no-loop-func -- each round waits for what comes next
      await new Promise<void>((done) => this.#wakers.push(done));
    }
  }

  async gone(): Promise<void> {
    // oxlint-disable-next-line no-loop-func -- each round waits for what comes next
    while (!this.ended) await new Promise<void>((done) => this.#wakers.push(done));
  }

  json(type: number): Record<string, unknown> | undefined {
    return this.received.find((message) => message.type === type)?.json;
  }

  say(type: number, value: unknown): void {
    this.socket.write(encodeJson(type, value));
  }

  hello(more: Record<string, unknown> = {}): void {
    this.say(wireType.hello, {
      wire: [1, 1],
      connection: 'c'.repeat(32),
      token: 'd'.repeat(32),
      transport: 'stdio',
      server: 'raw',
      labels: {},
      argv: ['raw'],
      cwd: '/',
      mode: 'commit',
      onUnrecordable: 'block',
      overrides: { sensitive: [], write: [], read: [] },
      openedAt: 0,
      ...more,
    });
  }

  unit(direction: 0 | 1, unit: number, text: string, flags = 0): void {
    const bytes = Buffer.from(flags === 0 ? `${text}\n` : text);
    const head = Buffer.alloc(frameHeaderBytes);
    writeFrameHeader(head, 0, direction, flags, unit, [0, 0], 0, bytes.length);
    this.socket.write(Buffer.concat([head, bytes]));
  }
}

/** A stage whose recorder listens, with the tap that started it still there. */
async function recording(): Promise<Stage> {
  const stage = new Stage();
  const tap = stage.tap(['/bin/cat']);
  await tap.write('{}\n');
  await tap.output.count(1);
  return stage;
}

test('units that never came end the frame that was arriving: the next frame is not taken for its rest [long-hole]', async () => {
  const stage = await recording();
  const raw = new RawTap(stage.ledger);
  raw.hello();
  raw.unit(0, 1, '{"jsonrpc":"2.0","method":"lost",'.padEnd(unitBytes), 1);
  await raw.until(({ received }) => received.some(({ through }) => through === 1));
  // as a tap does that had to give up in the middle
  raw.say(wireType.lost, { reason: 'no recorder', lost: { c2s: 1, s2c: 0 }, from: Date.now() - 5, until: Date.now() });
  raw.unit(0, 4, '{"jsonrpc":"2.0","method":"next"}');
  await raw.until(({ received }) => received.some(({ through }) => through === 4));
  raw.say(wireType.close, { reason: 'client closed', frames: { c2s: 4, s2c: 0 }, delivered: [4, 0] });
  await raw.until(({ received }) => received.some(({ type }) => type === wireType.closed));
  const entries = (await stage.finished()).filter((entry) => entry['connection'] === 'c'.repeat(32));
  expect(messages(entries)).toMatchObject([{ type: 'notification', method: 'next', tapSeq: 4, segments: 1 }]);
  expect(messages(entries)[0]).not.toHaveProperty('parts');
  expect(entries.find(({ kind }) => kind === 'gap')).toMatchObject({ reason: 'no recorder', lost: { c2s: 1, s2c: 0 } });
});

test('a unit that comes again is recorded once [wire-once]', async () => {
  const stage = await recording();
  const raw = new RawTap(stage.ledger);
  raw.hello();
  for (const unit of [1, 2, 1, 2, 3, 2]) raw.unit(1, unit, `{"jsonrpc":"2.0","method":"m${unit}"}`);
  await raw.until(({ received }) => received.some(({ through }) => through === 3));
  raw.socket.destroy();
  const again = new RawTap(stage.ledger);
  again.hello();
  await again.until(({ received }) => received.length > 0);
  expect(again.json(wireType.welcome)).toMatchObject({ resumed: true, durable: { c2s: 0, s2c: 3 } });
  for (const unit of [2, 3, 4]) again.unit(1, unit, `{"jsonrpc":"2.0","method":"m${unit}"}`);
  await again.until(({ received }) => received.some(({ through }) => through === 4));
  expect(messages(stage.entries(), { connection: 'c'.repeat(32) }).map((entry) => entry['method'])).toEqual(['m1', 'm2', 'm3', 'm4']);
});

test('the recorder ignores what it does not know, and answers what it cannot take with an error and its end [wire-strangers]', async () => {
  const stage = await recording();
  const refused = async (say: (raw: RawTap) => void, code: string): Promise<void> => {
    const raw = new RawTap(stage.ledger);
    say(raw);
    await raw.gone();
    expect(raw.json(wireType.error), code).toMatchObject({ code, message: expect.any(String) as string, hint: expect.any(String) as string });
  };
  await refused((raw) => raw.socket.write('GET / HTTP/1.1\r\n\r\n'), 'wire-corrupt');
  await refused((raw) => raw.unit(0, 1, '{}'), 'wire-corrupt');
  await refused((raw) => raw.hello({ wire: [2, 9] }), 'wire-version');
  await refused((raw) => raw.hello({ connection: '../../etc' }), 'wire-corrupt');
  await refused((raw) => raw.hello({ labels: ['a'] }), 'wire-corrupt');
  await refused((raw) => raw.hello({ labels: { a: 1 } }), 'wire-corrupt');
  await refused((raw) => raw.hello({ overrides: { sensitive: 'x' } }), 'wire-corrupt');
  await refused((raw) => raw.hello({ transport: 'smoke' }), 'wire-corrupt');
  // over HTTP a frame begins with its head
  await refused((raw) => {
    raw.hello({ transport: 'http', connection: 'd'.repeat(32) });
    raw.unit(0, 1, '{}');
  }, 'wire-corrupt');
  await refused((raw) => {
    raw.hello({ transport: 'http', connection: 'd'.repeat(32) });
    raw.say(wireType.principal, { principal: {} });
  }, 'wire-corrupt');
  await refused((raw) => raw.hello({ serverPid: '1' }), 'wire-corrupt');
  await refused((raw) => raw.hello({ receipt: { index: -1, hash: 'f'.repeat(64) } }), 'wire-corrupt');
  await refused((raw) => raw.hello({ ledger: '/another' }), 'recorder-refused');
  await refused((raw) => raw.say(wireType.ask, { what: 'everything' }), 'wire-corrupt');
  for (const value of ['null', '[]', '"x"', '{']) {
    await refused((raw) => {
      const body = Buffer.from(value);
      raw.socket.write(Buffer.concat([Buffer.of(0, 0, 0, 1 + body.length, wireType.hello), body]));
    }, 'wire-corrupt');
  }

  const raw = new RawTap(stage.ledger);
  raw.hello({ more: 'than it knows' });
  raw.say(33, { what: 'a newer tap may say' });
  raw.say(wireType.close + 40, 1);
  raw.say(wireType.lost, { lost: { c2s: -1, s2c: 'x' } });
  raw.say(wireType.hello, {});
  raw.unit(0, 1, '{"jsonrpc":"2.0","method":"still served"}');
  await raw.until(({ received }) => received.some(({ through }) => through === 1));
  // who knows the connection but not its secret may not go on with it
  await refused((raw) => raw.hello({ token: 'e'.repeat(32) }), 'permission');
  raw.unit(0, 2, '{}');
  await raw.until(({ received }) => received.some(({ through }) => through === 2));
});

test('a receipt that the ledger does not have is noted [wire-receipt-missing]', async () => {
  const stage = await recording();
  const raw = new RawTap(stage.ledger);
  raw.hello({ receipt: { index: 1_000_000, hash: 'f'.repeat(64) } });
  await raw.until(({ received }) => received.length > 0);
  raw.unit(0, 1, '{}');
  await raw.until(({ received }) => received.some(({ through }) => through === 1));
  expect(stage.entries().find(({ kind }) => kind === 'recovery')).toMatchObject({
    reason: 'receipt-missing',
    connection: 'c'.repeat(32),
    receipt: { index: 1_000_000, hash: 'f'.repeat(64) },
  });
});
