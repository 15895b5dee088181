/** Rate limits over HTTP: who counts, what a reply is there, and that the answer is a 200 as for every refusal. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { header, jsonResponse, ProxyStage, type HttpMessage, type Peer } from './proxy-stage.ts';
import { messages } from './stage.ts';

interface Answer {
  id: number;
  error?: { code: number; data: { rule: string; reason: string; retryAfterMs: number; index?: number; executed: boolean } };
}

async function staged(limits: object, more: object = {}): Promise<ProxyStage> {
  const stage = new ProxyStage();
  const config = join(stage.folder, 'sworn.yaml');
  writeFileSync(config, JSON.stringify({ limits, ...more }));
  return stage.start(['--config', config]);
}

const call = (id: number): string => JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'get' } });
const idOf = ({ body }: HttpMessage): number => (JSON.parse(body.toString()) as { id: number }).id;
const answerOf = ({ body }: HttpMessage): Answer => JSON.parse(body.toString()) as Answer;

/** `id`, or `id` and why it was refused. */
async function said(stage: ProxyStage, client: Peer, id: number, headers: string[] = []): Promise<(number | string)[]> {
  await client.write(stage.request(call(id), headers));
  const message = await client.next();
  const { error } = answerOf(message);
  if (error === undefined) return [id];
  expect([message.line, header(message, 'content-type'), header(message, 'retry-after')]).toEqual(['HTTP/1.1 200 OK', 'application/json', undefined]);
  expect(error).toMatchObject({ code: 4290, data: { rule: 'sworn:limit', executed: false } });
  expect(error.data.retryAfterMs).toBeGreaterThan(0);
  return [id, error.data.reason];
}

test(
  'verified subjects count apart, one over all its connections, and behind a kill as before [limit-rate, limit-restart]',
  { timeout: 120_000 },
  async () => {
    const stage = new ProxyStage();
    const config = join(stage.folder, 'sworn.yaml');
    writeFileSync(
      config,
      JSON.stringify({
        limits: { per: ['principal', 'tool'], requests: '2/h' },
        auth: { required: true, apiKeys: join(stage.folder, 'keys') },
        trustedTaps: ['self'],
      }),
    );
    const keyOf = async (name: string): Promise<string> => (await stage.command('proxy', '--new-api-key', name, '--config', config)).stdout.trim();
    const [ci, eve] = [await keyOf('ci'), await keyOf('eve')].map((key) => [`Authorization: Bearer ${key}`]);
    await stage.start(['--config', config]);
    stage.upstream.serve((request, peer) => peer.write(jsonResponse(JSON.stringify({ jsonrpc: '2.0', id: idOf(request), result: { content: [] } }))));
    const [one, other] = [await stage.client(), await stage.client()];
    expect(await said(stage, one, 1, ci)).toEqual([1]);
    expect(await said(stage, other, 2, ci)).toEqual([2]);
    expect(await said(stage, one, 3, ci)).toEqual([3, 'more than 2/h requests']);
    expect(await said(stage, one, 4, eve)).toEqual([4]);
    await stage.stopRecorder('SIGKILL');
    expect(await said(stage, one, 5, ci)).toEqual([5, 'more than 2/h requests']);
    expect(await said(stage, other, 6, eve)).toEqual([6]);
    expect(await said(stage, one, 7, eve)).toEqual([7, 'more than 2/h requests']);
    const entries = await stage.ended();
    expect(messages(entries, { type: 'request', verdict: 'block' }).map(({ id, rule }) => [id, rule])).toEqual([
      ['3', 'sworn:limit'],
      ['5', 'sworn:limit'],
      ['7', 'sworn:limit'],
    ]);
  },
);

test('a reply makes room, and so do an HTTP error in its place and a client that leaves [limit-rate]', { timeout: 120_000 }, async () => {
  const stage = await staged({ concurrent: 1 });
  const asked: { id: number; peer: Peer }[] = [];
  let wake = (): void => undefined;
  stage.upstream.serve((request, peer) => {
    asked.push({ id: idOf(request), peer });
    wake();
  });
  const arrived = async (id: number): Promise<Peer> => {
    for (;;) {
      const found = asked.find((one) => one.id === id);
      if (found !== undefined) return found.peer;
      // oxlint-disable-next-line no-loop-func -- each round waits for the next request
      await new Promise<void>((done) => (wake = done));
    }
  };
  const [one, other, third] = [await stage.client(), await stage.client(), await stage.client()];
  const full = 'more than 1 at a time';
  await one.write(stage.request(call(1)));
  const first = await arrived(1);
  expect(await said(stage, other, 2)).toEqual([2, full]);
  await first.write(jsonResponse('{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'));
  expect(answerOf(await one.next())).toMatchObject({ id: 1 });

  await one.write(stage.request(call(3)));
  const failing = await arrived(3);
  expect(await said(stage, other, 4)).toEqual([4, full]);
  await failing.write('HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nsick');
  expect((await one.next()).body.toString()).toBe('sick');

  await third.write(stage.request(call(5)));
  await arrived(5);
  expect(await said(stage, other, 6)).toEqual([6, full]);
  third.destroy();
  await stage.until((entries) => messages(entries).some(({ http }) => (http as { end?: string } | undefined)?.end !== undefined));
  await other.write(stage.request(call(7)));
  await (await arrived(7)).write(jsonResponse('{"jsonrpc":"2.0","id":7,"result":{"content":[]}}'));
  expect(answerOf(await other.next())).toMatchObject({ id: 7 });
  const entries = await stage.ended();
  expect(messages(entries, { verdict: 'block' })).toHaveLength(3);
});
