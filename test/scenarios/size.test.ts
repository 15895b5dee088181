import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { unitBytes } from '../../src/limits.ts';
import { held } from '../../src/wire/wire.ts';
import { FakeRecorder } from './fake-recorder.ts';
import { messages, node, Stage } from './stage.ts';

// every byte is written to the disk, and synced
vi.setConfig({ testTimeout: 300_000 });

const MiB = 1 << 20;

/**
 * A bare relay in Node has 100 MiB at such lines, garbage that is not yet collected among it; the tap has a window of 16 MiB beside, and copies.
 * What is tested: that it has nothing to do with the size of the line.
 */
const tapMiB = 190;
const recorderMiB = 300;

/** The most memory that the process ever had, in MiB. */
function peakMiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A message of exactly so many bytes, line end not counted. */
function message(sizeBytes: number, head: string): Buffer {
  const tail = '"}}';
  return Buffer.concat([Buffer.from(head), Buffer.alloc(sizeBytes - head.length - tail.length, 'x'), Buffer.from(tail)]);
}

test('lines of 20 MiB pass both ways, and are recorded whole [size-20]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const request = message(20 * MiB, '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"big","arguments":"');
  const reply = message(20 * MiB, '{"jsonrpc":"2.0","id":1,"result":{"text":"');
  void tap.write(Buffer.concat([request, Buffer.from('\n{"jsonrpc":"2.0","method":"after"}\n')]));
  await server.input.size(request.length + 36);
  expect(sha256(server.input.bytes.subarray(0, request.length))).toBe(sha256(request));
  void server.write(Buffer.concat([reply, Buffer.from('\n')]));
  await tap.output.size(reply.length + 1);
  expect(sha256(tap.output.bytes.subarray(0, -1))).toBe(sha256(reply));
  await tap.close();
  const entries = await stage.finished();
  const [asked, after, answered] = messages(entries);
  expect(asked).toMatchObject({ type: 'request', id: '1', target: 'big', sizeBytes: 20 * MiB, parts: 20, segments: 20, tapSeq: 20 });
  expect(after).toMatchObject({ method: 'after', tapSeq: 21 });
  expect(answered).toMatchObject({ type: 'result', exchange: asked!.index, sizeBytes: 20 * MiB, parts: 20 });
  expect(answered!['delivered'][0]).toBe(21);
  expect(sha256(asked!.frame!)).toBe(sha256(request));
  expect(sha256(answered!.frame!)).toBe(sha256(reply));
});

test.each(['commit', 'observe'])('lines of 200 MiB in mode %s: tap and recorder stay small [size-200]', async (mode) => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet({ keep: false, options: ['--mode', mode] });
  const head = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"huge","arguments":"';
  const count = 200;
  const filler = Buffer.alloc(MiB, 'x');
  const send = async (write: (bytes: Buffer | string) => Promise<void>, head: string): Promise<number> => {
    await write(head);
    for (let i = 0; i < count; i++) await write(filler);
    await write('"}}\n');
    return head.length + count * MiB + 4;
  };
  const asked = await send((bytes) => tap.write(bytes), head);
  await server.input.size(asked);
  const answered = await send((bytes) => server.write(bytes), '{"jsonrpc":"2.0","id":1,"result":{"text":"');
  await tap.output.size(answered);
  const peaks = { tap: peakMiB(tap.pid), recorder: peakMiB(stage.recorderPid!) };
  expect(await tap.close()).toEqual({ code: 0, signal: null });
  expect(server.input.sizeBytes).toBe(asked);
  expect(tap.output.sizeBytes).toBe(answered);
  expect(peaks.tap).toBeLessThan(tapMiB);
  expect(peaks.recorder).toBeLessThan(recorderMiB);
  const entries = await stage.finished();
  expect(messages(entries)).toMatchObject([
    { type: 'request', target: 'huge', sizeBytes: asked - 1, parts: 201 },
    { type: 'result', target: 'huge', sizeBytes: answered - 1, parts: 201, outcome: 'ok' },
  ]);
});

test('of a line of 200 MiB the last byte and the line end are withheld until the recorder has all of it [size-last-byte]', async () => {
  const stage = new Stage();
  const recorder = await FakeRecorder.listen(stage.folder);
  const { tap, server } = await stage.puppet({ keep: false, options: ['--socket', recorder.path] });
  const peer = await recorder.next();
  peer.welcome('receipt');
  // each unit but the last is let through as it comes
  peer.onUnit = ({ unit, flags }) => {
    if ((flags & 1) !== 0) peer.pass(0, unit);
  };
  const count = 200;
  const filler = Buffer.alloc(unitBytes, 'x');
  for (let i = 0; i < count; i++) await tap.write(filler);
  await tap.write('}\n');
  await peer.until(({ units }) => units.length === count + 1);
  await server.input.size(count * unitBytes);
  expect(peer.units.at(-1)).toMatchObject({ unit: count + 1, flags: held, text: '}' });
  // nothing else is on its way: what goes back and forth behind it changes nothing
  await server.write('{"jsonrpc":"2.0","method":"still there"}\n');
  await peer.until(({ units }) => units.length === count + 2);
  expect(peer.units.at(-1)!.delivered[0]).toBe(count);
  peer.pass(1, 1);
  await tap.output.size(41);
  expect(server.input.sizeBytes).toBe(count * unitBytes);
  peer.pass(0, count + 1);
  await server.input.size(count * unitBytes + 2);
  expect(peakMiB(tap.pid)).toBeLessThan(tapMiB);
  tap.process.stdin!.end();
  await peer.close();
  peer.closed();
  expect(await tap.ended).toEqual({ code: 0, signal: null });
});

test('lines of exactly one and two units, and one byte around them, keep their ends [size-edges]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet();
  const sizes = [unitBytes - 1, unitBytes, unitBytes + 1, 2 * unitBytes - 1, 2 * unitBytes, 2 * unitBytes + 1];
  const sent = Buffer.concat(sizes.flatMap((size) => [message(size, '{"jsonrpc":"2.0","method":"m","params":{"a":"'), Buffer.from('\n')]));
  void tap.write(sent);
  await server.input.size(sent.length);
  expect(sha256(server.input.bytes)).toBe(sha256(sent));
  void server.write(sent.subarray(0, -1));
  // behind all of it: a client that closes first would end a server that has not said all
  server.exit();
  await tap.output.size(sent.length - 1);
  await tap.close();
  expect(sha256(tap.output.bytes)).toBe(sha256(sent.subarray(0, -1)));
  const entries = await stage.finished();
  expect(messages(entries, { direction: 'c2s' }).map((entry) => [entry['sizeBytes'], entry['parts'] ?? 1])).toEqual(
    sizes.map((size) => [size, Math.ceil(size / unitBytes)]),
  );
  expect(messages(entries, { direction: 's2c' }).at(-1)).toMatchObject({
    sizeBytes: sizes.at(-1),
    anomalies: ['unterminated'],
    type: 'notification',
  });
});

test('a client that stops reading is waited for: nothing is lost, and the tap stays small [pressure-client]', async () => {
  const stage = new Stage();
  const total = 128 * MiB;
  const script = `const b=Buffer.from('{"jsonrpc":"2.0","method":"flood","params":"'+'x'.repeat(65492)+'"}\\n');let n=0;const w=()=>{while(n<${total / 65536 / 1}){n++;if(!process.stdout.write(b))return process.stdout.once('drain',w)}};w();process.stdin.resume()`;
  const tap = stage.tap([node, '-e', script], { keep: false });
  await tap.output.size(MiB);
  tap.process.stdout!.pause();
  // while nobody reads, the recorder's count comes to rest
  let last = -1;
  for (let same = 0; same < 5;) {
    await new Promise((done) => setTimeout(done, 100));
    const size = stage.ledgerBytes();
    same = size === last ? same + 1 : 0;
    last = size;
  }
  expect(last).toBeLessThan(total / 2);
  expect(peakMiB(tap.pid)).toBeLessThan(tapMiB);
  tap.process.stdout!.resume();
  await tap.output.size((total / 65536) * 65537);
  expect(await tap.close()).toEqual({ code: 0, signal: null });
  expect(peakMiB(stage.recorderPid!)).toBeLessThan(recorderMiB);
  await stage.stopRecorder();
  expect(messages(stage.entries(), { method: 'flood' })).toHaveLength(total / 65536);
});

test('a server that stops reading is waited for: nothing is lost, and the tap stays small [pressure-server]', async () => {
  const stage = new Stage();
  const { tap, server } = await stage.puppet({ keep: false });
  server.socket.pause();
  const total = 128 * MiB;
  const line = Buffer.from(`${'y'.repeat(65535)}\n`);
  let written = 0;
  const writing = (async () => {
    for (; written < total; written += line.length) await tap.write(line);
  })();
  let last = -1;
  for (let same = 0; same < 5;) {
    await new Promise((done) => setTimeout(done, 100));
    same = written === last && written > 0 ? same + 1 : 0;
    last = written;
  }
  expect(written).toBeLessThan(total / 2);
  expect(peakMiB(tap.pid)).toBeLessThan(tapMiB);
  // the other direction goes on
  await server.write('{"jsonrpc":"2.0","method":"busy"}\n');
  await tap.output.size(34);
  server.socket.resume();
  await writing;
  await server.input.size(total);
  expect(await tap.close()).toEqual({ code: 0, signal: null });
});
