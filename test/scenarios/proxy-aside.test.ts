/** Requests that wait for a person, in the proxy alone: the recorder says only what the scenario says. With the real one: `proxy-approvals.test.ts`. */
import { expect, test } from 'vitest';
import { FakeRecorder, type FakePeer, type Unit } from './fake-recorder.ts';
import { jsonResponse, ProxyStage } from './proxy-stage.ts';

const call = (id: number, name = 'x'): string => `{"jsonrpc":"2.0", "id":${id},"method":"tools/call","params":{"name":"${name}","arguments":{}}}`;
const reply = (id: number): string => `{"jsonrpc":"2.0","id":${id},"result":{}}`;
const refusal = (id: number | string): string => `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"error":{"code":4030,"message":"no"}}`;
const question = (id: string): string => `{"jsonrpc":"2.0","id":"${id}","method":"sampling/createMessage","params":{}}`;
const event = (data: string): string => `data: ${data}\n\n`;
const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const streamHead = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const noHeader = { headers: undefined };

/** Lets go what does not wait for a person: frames with `ask` in them. */
function answer(peer: FakePeer): void {
  const settle = (unit: Unit): void => {
    if (unit.text.includes('ask')) peer.aside(unit.direction, unit.unit);
    else peer.pass(unit.direction, unit.unit);
  };
  for (const unit of peer.units) settle(unit);
  peer.onUnit = settle;
}

async function staged(): Promise<{ stage: ProxyStage; recorder: FakeRecorder; peer: FakePeer }> {
  const stage = new ProxyStage();
  const recorder = await FakeRecorder.listen(stage.folder);
  await stage.start(['--socket', recorder.path]);
  const peer = await recorder.next();
  peer.welcome('receipt');
  answer(peer);
  return { stage, recorder, peer };
}

/** The unit of the frame with this text, once it is there. */
async function unitOf(peer: FakePeer, text: string): Promise<Unit> {
  await peer.until(({ units }) => units.some((one) => one.text.includes(text)));
  return peer.units.find((one) => one.text.includes(text))!;
}

/** What the proxy says of a frame that does not get to its receiver. */
async function named(peer: FakePeer, { direction, unit, stream }: Unit): Promise<Unit> {
  const isNamed = (one: Unit): boolean => one.direction === direction && one.stream === stream && one.head?.undelivered !== undefined;
  await peer.until(({ units }) => units.some(isNamed));
  const found = peer.units.find(isNamed)!;
  expect(found.head!.undelivered![0] <= unit && unit <= found.head!.undelivered![1]).toBe(true);
  return { ...found, head: { ...found.head!, ...noHeader } as Unit['head'] & object };
}

test('a request that waits holds up nobody else, and goes to the server as it came when it is released [approval-http]', async () => {
  const { stage, peer } = await staged();
  stage.upstream.serve((request, server) => {
    const { id } = JSON.parse(request.body.toString()) as { id: number };
    return server.write(jsonResponse(reply(id)));
  });
  const [asks, denied, other] = [await stage.client(), await stage.client(), await stage.client()];
  await asks.write(stage.request(call(1, 'ask'), ['X-Mine: As It Came']));
  await denied.write(stage.request(call(2, 'ask, too')));
  const [first, second] = [await unitOf(peer, '"id":1'), await unitOf(peer, '"id":2')];
  for (const id of [3, 4, 5]) {
    await other.write(stage.request(call(id)));
    expect((await other.next()).body.toString()).toBe(reply(id));
  }
  // `delivered` does not wait for them
  expect(peer.of(0).at(-1)!.delivered[0]).toBeGreaterThanOrEqual(4);
  expect(stage.upstream.peers.some(({ input }) => input.text.includes('ask'))).toBe(false);
  expect([asks.rest.length, denied.rest.length]).toEqual([0, 0]);
  peer.refuse(0, second.unit, `${refusal(2)}\n`);
  const no = await denied.next();
  expect([no.line, no.body.toString()]).toEqual(['HTTP/1.1 200 OK', refusal(2)]);
  peer.release(0, first.unit);
  expect((await asks.next()).body.toString()).toBe(reply(1));
  peer.release(0, first.unit);
  // the connection goes on
  await asks.write(stage.request(call(6)));
  expect((await asks.next()).body.toString()).toBe(reply(6));
  const got = stage.upstream.peers.map(({ input }) => input.text).join('');
  expect(got.split(call(1, 'ask')).length).toBe(2);
  expect(got).toContain('X-Mine: As It Came');
  expect(got).not.toContain('"id":2,');
  // taken back by its client: nothing is answered, and HTTP wants something
  const taken = await stage.client();
  await taken.write(stage.request(call(7, 'ask')));
  peer.refuse(0, (await unitOf(peer, '"id":7')).unit);
  expect((await taken.next()).line).toBe('HTTP/1.1 202 Accepted');
});

test('who leaves while a request waits has taken it back: the server never sees it, and the record is told [approval-http]', async () => {
  const { stage, peer } = await staged();
  for (const leave of ['destroy', 'reset'] as const) {
    const client = await stage.client();
    await client.write(stage.request(call(1, `ask ${leave}`)));
    const asked = await unitOf(peer, `ask ${leave}`);
    client[leave]();
    expect(await named(peer, asked)).toMatchObject({ text: '', head: { end: 'cancelled before delivery' } });
    peer.release(0, asked.unit);
  }
  // it had left before the recorder said so
  const early = await stage.client();
  const settle = peer.onUnit!;
  peer.onUnit = () => undefined;
  await early.write(stage.request(call(1, 'ask early')));
  const asked = await unitOf(peer, 'ask early');
  peer.onUnit = settle;
  early.reset();
  const probe = await stage.client();
  for (let i = 0; i < 20; i++) {
    await probe.write('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
    await probe.next();
  }
  peer.aside(0, asked.unit);
  expect((await named(peer, asked)).head!.end).toBe('cancelled before delivery');
  const after = await stage.client();
  const due = stage.upstream.peer();
  await after.write(stage.request(call(2)));
  const server = await due;
  expect((await server.next()).body.toString()).toBe(call(2));
  await server.write(jsonResponse(reply(2)));
  expect((await after.next()).body.toString()).toBe(reply(2));
  expect(stage.upstream.peers).toHaveLength(1);
});

test('a server’s request that waits comes between two events once it is released; refused, the server is told [approval-http]', async () => {
  const { stage, peer } = await staged();
  const client = await stage.client();
  const due = stage.upstream.peer();
  await client.write(stage.request(call(1)));
  const server = await due;
  await server.next();
  await server.write(streamHead);
  const note = (text: string): string => `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"${text}"}}`;
  const events = [question('ask a'), note('one'), question('ask b'), question('ask c'), note('two')];
  await server.write(chunk(events.map(event).join('')));
  await client.input.until(({ text }) => text.includes('two'));
  const asked = await Promise.all(['ask a', 'ask b', 'ask c'].map((text) => unitOf(peer, text)));
  expect(client.input.text).not.toContain('ask');
  peer.release(1, asked[1]!.unit);
  await client.input.until(({ text }) => text.includes('ask b'));
  peer.refuse(1, asked[0]!.unit, `${refusal('ask a')}\n`);
  const told = await (await stage.upstream.peer()).next();
  expect(told.body.toString()).toBe(refusal('ask a'));
  // the stream goes on, and when it ends nobody is there for what still waits
  await server.write(`${chunk(event(reply(1)))}0\r\n\r\n`);
  expect((await client.next()).body.toString()).toBe([note('one'), note('two'), question('ask b'), reply(1)].map(event).join(''));
  client.destroy();
  expect((await named(peer, asked[2]!)).head!.undelivered).toEqual([asked[2]!.unit, asked[2]!.unit]);
});

test('a recorder that comes back decides what waits, and the client has an answer [approval-http]', async () => {
  const { stage, recorder, peer } = await staged();
  stage.upstream.serve((request, server) => server.write(jsonResponse(reply((JSON.parse(request.body.toString()) as { id: number }).id))));
  const [asks, denied, left] = [await stage.client(), await stage.client(), await stage.client()];
  const asked: Unit[] = [];
  for (const [id, client] of [asks, denied, left].entries()) {
    await client.write(stage.request(call(id, `ask ${id}`)));
    asked.push(await unitOf(peer, `ask ${id}`));
  }
  peer.socket.destroy();
  left.destroy();
  const second = await recorder.next();
  const units = asked.map(({ unit }) => unit);
  const kept = (second.hello!['aside'] as { c2s: number[] }).c2s;
  expect(kept.slice(0, 2)).toEqual(units.slice(0, 2));
  for (const unit of units) second.aside(0, unit);
  second.release(0, units[0]!);
  second.refuse(0, units[1]!, `${refusal(1)}\n`);
  second.welcome('receipt', [units[2]!, 0], true);
  answer(second);
  expect((await asks.next()).body.toString()).toBe(reply(0));
  expect((await denied.next()).body.toString()).toBe(refusal(1));
  await named(second, asked[2]!);
  // nothing of it is sent again
  expect(second.units.some(({ text }) => text.includes('ask'))).toBe(false);
});

test('in an HTTP+SSE session a refusal comes where the client reads: on its stream [approval-http]', async () => {
  const { stage, peer } = await staged();
  const [stream, poster] = [await stage.client(), await stage.client()];
  const due = stage.upstream.peer();
  await stream.write(stage.request('', ['Accept: text/event-stream'], 'GET', '/sse'));
  const server = await due;
  await server.next();
  await server.write(`${streamHead}${chunk('event: endpoint\ndata: /messages?sessionId=1\n\n')}`);
  await stream.input.until(({ text }) => text.includes('endpoint'));
  await poster.write(stage.request(call(1, 'ask'), [], 'POST', '/messages?sessionId=1'));
  const asked = await unitOf(peer, '"id":1');
  expect(asked.head!.session).toBe('/messages?sessionId=1');
  peer.refuse(0, asked.unit, `${refusal(1)}\n${refusal(2)}\n`);
  expect((await poster.next()).line).toBe('HTTP/1.1 202 Accepted');
  await stream.input.until(({ text }) => text.includes('"id":2'));
  await server.write('0\r\n\r\n');
  const events = `event: endpoint\ndata: /messages?sessionId=1\n\n${[1, 2].map((id) => `event: message\n${event(refusal(id))}`).join('')}`;
  expect((await stream.next()).body.toString()).toBe(events);
  // its stream is over: nobody would read it there
  stream.destroy();
  await stream.closed;
  await poster.write(stage.request(call(3, 'ask'), [], 'POST', '/messages?sessionId=1'));
  peer.refuse(0, (await unitOf(peer, '"id":3')).unit, `${refusal(3)}\n`);
  expect((await poster.next()).body.toString()).toBe(refusal(3));
});
