/** Every command that reads, judges again, proves, bundles, holds or erases, on the ledger of a proxy: bodies, events, entries without a message, sessions. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { bodyOf, ProxyProgram, serving, written } from './proxy-program.ts';
import { messages, Stage, type Recorded } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };

/** A day at the proxy: two sessions, a stream, a page that is no message, a server that hangs up, a refused host. */
async function recorded(): Promise<{ stage: Stage; config: string; entries: Recorded[] }> {
  const stage = new Stage();
  const { port } = await serving((request, response) => {
    void (async () => {
      const body = await bodyOf(request);
      if (request.url === '/page') {
        response.writeHead(200, { 'Content-Type': 'text/html' }).end('<p>hello</p>');
        return;
      }
      if (request.url === '/hangs-up') {
        request.socket.destroy();
        return;
      }
      if (request.method !== 'POST') {
        response.writeHead(405).end();
        return;
      }
      const message = JSON.parse(body) as { id?: number; method?: string };
      if (message.id === undefined) {
        response.writeHead(202).end();
        return;
      }
      if (message.method === 'initialize') response.setHeader('Mcp-Session-Id', `session-${message.id}`);
      const result = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: { content: [{ type: 'text', text: 'the code is 4711-0815' }] } });
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write('id: 1\ndata:\n\n');
      response.write('data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"working"}}\n\n');
      response.end(`data: ${result}\n\n`);
    })();
  });
  const config = written(stage, 'sworn.yaml', {
    redact: { keys: ['password'], keep: 'checkable' },
    policy: { rules: [{ name: 'no-drops', deny: true, tool: 'db/drop' }] },
  });
  const proxy = await ProxyProgram.start(stage, '--upstream', `http://127.0.0.1:${port}/mcp`, '--name', 'db', '--config', config);
  const post = async (message: object, session?: string): Promise<void> => {
    const more = session === undefined ? {} : { 'Mcp-Session-Id': session };
    const response = await fetch(proxy.at(), {
      method: 'POST',
      headers: { ...headers, ...more },
      body: JSON.stringify({ jsonrpc: '2.0', ...message }),
    });
    await response.text();
  };
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'scenario', version: '1' } };
  for (const id of [1, 2]) await post({ id, method: 'initialize', params });
  await post({ method: 'notifications/initialized' }, 'session-1');
  await post({ id: 3, method: 'tools/call', params: { name: 'read', arguments: { ssn: '123-45-6789' } } }, 'session-1');
  await post({ id: 3, method: 'tools/call', params: { name: 'login', arguments: { password: 'hunter22' } } }, 'session-2');
  await post({ id: 4, method: 'tools/call', params: { name: 'drop', arguments: {} } }, 'session-2');
  await (await fetch(proxy.at('/page'))).text();
  await (await fetch(proxy.at('/hangs-up'))).text();
  await (await fetch(proxy.at(), { headers: { Origin: 'https://evil.example' } })).text();
  await (await fetch(proxy.at(), { method: 'DELETE', headers: { 'Mcp-Session-Id': 'session-1' } })).text();
  expect((await proxy.end()).code).toBe(0);
  return { stage, config, entries: await stage.finished() };
}

test('log, show, sessions, find, simulate, prove, bundle, hold and erase on a ledger of a proxy [proxy-commands]', async () => {
  const { stage, config, entries } = await recorded();
  const run = async (...words: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> =>
    stage.command(...words, '--ledger', stage.ledger);
  const json = async (...words: string[]): Promise<Record<string, any>[]> => {
    const { code, stdout, stderr } = await run(...words, '--json');
    expect([words[0], code, stderr]).toEqual([words[0], 0, '']);
    return stdout
      .split('\n')
      .filter(Boolean)
      .map((one) => JSON.parse(one) as Record<string, any>);
  };
  const bare = entries.filter(({ type }) => type === 'http');
  expect(bare.length).toBeGreaterThan(4);
  const [secret] = messages(entries, { target: 'read', type: 'request' });

  // reading
  expect((await json('log')).length).toBeGreaterThan(entries.length / 2);
  for (const { index } of entries) expect((await run('show', String(index))).code, String(index)).toBe(0);
  expect((await json('sessions')).length).toBeGreaterThanOrEqual(2);
  expect((await json('log', '--calls')).map(({ target, state }) => [target, state])).toEqual([
    ['read', 'ok'],
    ['login', 'ok'],
    ['drop', 'blocked'],
  ]);
  const found = await run('find', '--value', 'hunter22');
  expect([found.code, found.stdout]).toEqual([0, expect.stringContaining('login')]);
  expect((await run('find', '--value', 'hunter23')).stdout).not.toContain('login');

  // judging again: what was said, and nothing that is no message
  const said = messages(entries).filter(({ type, origin }) => type !== 'http' && origin !== 'sworn').length;
  const unchanged = { newlyBlocked: 0, noLongerBlocked: 0, newlyFlagged: 0, noLongerFlagged: 0 };
  expect(await json('policy', 'simulate', config)).toMatchObject([{ ledgers: [{ changes: unchanged, messages: said, judged: said }] }]);
  const other = written(stage, 'other.yaml', { policy: { rules: [{ name: 'no-read', deny: true, tool: 'db/read' }] } });
  expect(await json('policy', 'simulate', other)).toMatchObject([{ ledgers: [{ changes: { ...unchanged, newlyBlocked: 1, noLongerBlocked: 1 } }] }]);

  // evidence: of a message, of an event, and of what is no message
  const event = messages(entries, { type: 'notification', direction: 's2c' })[0]!;
  for (const [i, { index }] of [secret!, event, bare[0]!].entries()) {
    const file = join(stage.folder, `${i}.tlog-proof`);
    expect((await run('prove', String(index), '-o', file)).code).toBe(0);
    expect((await stage.command('verify', file)).code).toBe(0);
  }
  const bundle = join(stage.folder, 'all.tar');
  expect((await run('bundle', '-o', bundle)).code).toBe(0);
  expect((await stage.command('verify', bundle)).code).toBe(0);
  expect(readFileSync(bundle).includes('hunter22')).toBe(false);

  // holding and erasing: a session of the proxy, and a field of a body
  const [session] = await json('sessions');
  const name = `${(session!['connection'] as string).slice(0, 8)}/${session!['part'] as number}`;
  expect((await run('hold', 'add', '--server', 'db', '--reason', 'litigation')).code).toBe(0);
  expect((await run('erase', '--index', String(secret!.index), '--path', '$.params.arguments.ssn', '--yes')).code).not.toBe(0);
  const [{ holds }] = (await json('hold', 'list')) as [{ holds: { id: number }[] }];
  expect((await run('hold', 'release', String(holds[0]!.id))).code).toBe(0);
  expect((await run('erase', '--index', String(secret!.index), '--path', '$.params.arguments.ssn', '--yes')).code).toBe(0);
  expect((await run('show', String(secret!.index))).stdout).toContain('erased');
  const erased = await run('erase', '--session', name, '--yes');
  expect([name, erased.code, erased.stderr]).toEqual([name, 0, expect.any(String)]);
  const left = await stage.finished();
  const text = Buffer.concat(left.flatMap(({ frame }) => frame ?? [])).toString();
  expect(text).not.toContain('123-45-6789');
  // the other one's is there
  expect(messages(left, { method: 'initialize', type: 'request' }).map(({ frame }) => frame === undefined)).toEqual([true, false]);
  expect((await stage.command('verify', stage.ledger)).code).toBe(0);
  expect((await stage.command('verify', bundle)).code).toBe(0);
});
