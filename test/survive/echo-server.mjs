// An MCP-like server for tests that kill: answers every request, and logs each whole line that it receives (`r `) or is about to send (`s `), so that
// a test can tell what was delivered however this process ends. Usage: node echo-server.mjs LOG
import { appendFileSync } from 'node:fs';

const log = process.argv[2];
appendFileSync(log, `p ${process.pid}\n`);
let held = [];
let ticks = 0;

// the tap was killed: nobody reads this any more
process.stdout.on('error', () => process.exit());

process.stdin.on('data', (chunk) => {
  let from = 0;
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
    held.push(chunk.subarray(from, at));
    receive(Buffer.concat(held));
    held = [];
    from = at + 1;
  }
  if (from < chunk.length) held.push(chunk.subarray(from));
});

function receive(line) {
  appendFileSync(log, Buffer.concat([Buffer.from('r '), line, Buffer.from('\n')]));
  const message = JSON.parse(line.toString('utf8'));
  if (Array.isArray(message)) send(message.map(answer));
  else if (message.id !== undefined) {
    if (message.params?.tick) send({ jsonrpc: '2.0', method: 'tick', params: { tag: message.params.tag, tick: ++ticks } });
    send(answer(message));
  }
}

function answer({ id, params }) {
  return { jsonrpc: '2.0', id, result: { tag: params?.tag, pad: 'y'.repeat(params?.replyBytes ?? 0) } };
}

function send(message) {
  const line = JSON.stringify(message);
  appendFileSync(log, `s ${line}\n`);
  process.stdout.write(`${line}\n`);
}
