/**
 * The load of `bench:recorder`, as a process of its own: taps that speak the wire by hand. Each of its connections sends calls of 1 KiB and their
 * answers of 1 KiB, with so much under way as a tap would have, and counts what the recorder says is settled.
 * Arguments: socket, mode, connections, entries. Prints one line of JSON every hundredth of the way: entries so far and milliseconds.
 */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { encodeJson, frameHeaderBytes, readAnswer, WireReader, wireType, wireVersion, writeFrameHeader, type Hello } from '../src/wire/wire.ts';

const [socketPath, mode, connections, entries] = [
  process.argv[2]!,
  process.argv[3] as 'commit' | 'observe',
  Number(process.argv[4]),
  Number(process.argv[5]),
];
const messageBytes = 1024;
/** Units under way on each connection: commit waits as a client with many calls at once, observe as far as a tap may run ahead. */
const underWay = mode === 'commit' ? 256 : 2_048;
/** Units in one write. */
const atOnce = 64;
const reportEvery = Math.max(5_000, Math.floor(entries / 100));

function padded(head: string, tail: string): Buffer {
  return Buffer.from(`${head}${'x'.repeat(messageBytes - head.length - tail.length - 1)}${tail}\n`);
}

const from = performance.now();
let settled = 0;
let reported = 0;

function settle(count: number): void {
  settled += count;
  if (settled - reported < reportEvery && settled < entries) return;
  reported = settled;
  console.log(JSON.stringify({ entries: settled, ms: performance.now() - from }));
}

async function converse(share: number): Promise<void> {
  const socket = connect(socketPath);
  const reader = new WireReader();
  const sent: [number, number] = [0, 0];
  const done: [number, number] = [0, 0];
  let finish!: () => void;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const send = (): void => {
    while (sent[0] + sent[1] < share && sent[0] + sent[1] - done[0] - done[1] <= underWay - atOnce) {
      const buffers: Buffer[] = [];
      for (let i = 0; i < atOnce && sent[0] + sent[1] < share; i++) {
        const direction = sent[0] > sent[1] ? 1 : 0;
        const unit = ++sent[direction];
        const bytes =
          direction === 0
            ? padded(`{"jsonrpc":"2.0","id":${unit},"method":"tools/call","params":{"name":"echo","arguments":{"text":"`, '"}}}')
            : padded(`{"jsonrpc":"2.0","id":${unit},"result":{"content":[{"type":"text","text":"`, '"}]}}');
        const header = Buffer.alloc(frameHeaderBytes);
        writeFrameHeader(header, 0, direction, 0, unit, [sent[0], sent[1]], Math.floor(performance.now() * 1000), bytes.length);
        buffers.push(header, bytes);
      }
      socket.write(Buffer.concat(buffers));
    }
  };
  socket.on('data', (chunk) => {
    reader.push(chunk, (type, body) => {
      if (type === wireType.error) throw new Error(body.toString());
      if (type === wireType.welcome) send();
      if (type !== wireType.pass && type !== wireType.durable) return;
      const answer = readAnswer(body)!;
      const more = answer.through - done[answer.direction];
      if (more <= 0) return;
      done[answer.direction] = answer.through;
      settle(more);
      if (done[0] + done[1] === share) finish();
    });
    send();
  });
  const hello: Hello = {
    wire: [wireVersion, wireVersion],
    connection: randomBytes(16).toString('hex'),
    transport: 'stdio',
    server: 'bench',
    labels: {},
    argv: ['bench'],
    cwd: '/',
    mode,
    onUnrecordable: 'block',
    overrides: { sensitive: [], write: [], read: [] },
    openedAt: Date.now(),
    token: randomBytes(16).toString('hex'),
  };
  socket.on('connect', () => socket.write(encodeJson(wireType.hello, hello)));
  await finished;
  socket.write(encodeJson(wireType.close, { reason: 'client closed', frames: { c2s: sent[0], s2c: sent[1] }, delivered: done }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  socket.destroy();
}

await Promise.all(Array.from({ length: connections }, (_, i) => converse(Math.floor(entries / connections) + (i < entries % connections ? 1 : 0))));
