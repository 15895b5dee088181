/** The official clients and servers say to each other through `sworn proxy` what they say without it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { connect, connectTo, kinds, type AnyClient, type ClientKind } from './clients.ts';
import { isDelivered, ProxyStage } from './proxy-stage.ts';
import { messages, node, official, root, Tap, type Recorded, type Stage } from './stage.ts';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** The official server, on 127.0.0.1 alone. */
async function everything(stage: Stage, transport: 'http' | 'sse'): Promise<string> {
  const port = await freePort();
  const [, file] = official('everything');
  const words = ['--import', join(root, 'test', 'conformance', 'loopback.ts'), file!, transport === 'http' ? 'streamableHttp' : 'sse'];
  const child = spawn(node, words, { env: { ...stage.env, PORT: String(port) }, cwd: stage.folder, stdio: ['pipe', 'pipe', 'pipe'] });
  await new Tap(stage.started(child), true).errors.until(({ text }) => text.includes(String(port)));
  return `http://127.0.0.1:${port}/${transport === 'http' ? 'mcp' : 'sse'}`;
}

/** One that speaks both eras on one endpoint. */
async function bothEras(stage: Stage): Promise<string> {
  const child = spawn(node, [join(root, 'test', 'conformance', 'server-http.ts')], {
    env: stage.env,
    cwd: stage.folder,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const { output } = new Tap(stage.started(child), true);
  await output.count(1);
  return output.lines[0]!;
}

/** Everything that it was told; what differs from one time to the next is left out. */
async function talk(client: AnyClient, tool: string, args: Record<string, unknown>): Promise<unknown[]> {
  const heard: unknown[] = [];
  const { tools } = await client.listTools();
  heard.push(tools.map(({ name }) => name));
  heard.push((await client.listResources()).resources.length, await client.listPrompts());
  heard.push(await client.callTool(tool, args));
  heard.push((await Promise.all(Array.from({ length: 5 }, () => client.callTool(tool, args)))).length);
  heard.push(
    await client.callTool('no such tool', {}).then(
      ({ isError }) => isError,
      (error: unknown) => (error as { code: number }).code,
    ),
  );
  await client.close();
  return heard;
}

const pairs: [ClientKind, 'everything' | 'both eras', 'http' | 'sse'][] = [
  ...kinds.map((kind): [ClientKind, 'both eras', 'http'] => [kind, 'both eras', 'http']),
  ['sdk 1', 'everything', 'http'],
  ['auto', 'everything', 'http'],
  ['sdk 1', 'everything', 'sse'],
  ['legacy', 'everything', 'sse'],
];

test('official clients of both eras, official servers over Streamable HTTP and HTTP+SSE [proxy-clients]', async () => {
  for (const server of ['both eras', 'everything http', 'everything sse'] as const) {
    const stage = new ProxyStage();
    const transport = server.endsWith('sse') ? 'sse' : 'http';
    const upstream = server === 'both eras' ? await bothEras(stage) : await everything(stage, transport);
    await stage.start([], upstream);
    const through = `http://127.0.0.1:${stage.port}${new URL(upstream).pathname}`;
    const [tool, args] = server === 'both eras' ? ['test_simple_text', {}] : ['echo', { message: 'hello' }];
    const mine = pairs.filter(([, name, how]) => server.startsWith(name) && how === transport);
    for (const [kind] of mine) {
      const direct = await talk(await connectTo(kind, upstream, transport), tool, args);
      expect(await talk(await connectTo(kind, through, transport), tool, args), `${kind}, ${server}`).toEqual(direct);
    }
    const entries = await stage.ended();
    const calls = messages(entries, { type: 'request', method: 'tools/call', target: tool });
    expect(calls.length, server).toBe(6 * mine.length);
    for (const call of calls) {
      const answers = messages(entries, { exchange: call.index }).filter(({ type }) => type === 'result');
      expect(answers.length).toBe(1);
      expect([isDelivered(entries, call), isDelivered(entries, answers[0]!)]).toEqual([true, true]);
    }
    // who speaks of a session says so: all that is legacy
    expect(calls.filter((call) => call['era'] === 'legacy').every((call) => call['session'] !== undefined)).toBe(true);
    expect(calls.filter((call) => call['era'] === 'modern').every((call) => call['session'] === undefined)).toBe(true);
    // a legacy server answers the probe of a modern client to nobody, and with a word to what is no request
    const odd = messages(entries).filter(({ anomalies }) => anomalies !== undefined);
    const isKnown = ({ id, http, frame }: Recorded): boolean =>
      (id === 'null' && http.status === 400) || (http?.status === 202 && frame!.toString() === 'Accepted');
    expect(odd.filter((one) => !isKnown(one)).map(({ frame }) => frame?.toString())).toEqual([]);
    // the id of a session is a secret, wherever it stands
    if (transport === 'sse') {
      expect(entries.filter(({ opened }) => (opened['sse'] as { event?: string } | undefined)?.event === 'endpoint')).toHaveLength(mine.length);
      expect(JSON.stringify(entries.map(({ frame, ...rest }) => [frame?.toString(), rest]))).not.toMatch(/sessionId=[0-9a-f]/);
    }
  }
}, 120_000);

/** No dependency of ours: `SWORN_NPX=1` fetches it from the registry. */
test.runIf(process.env['SWORN_NPX'] !== undefined)(
  'mcp-remote, which is fetched [proxy-clients]',
  async () => {
    const stage = new ProxyStage();
    await stage.start([], await bothEras(stage));
    const words = ['install', '--no-audit', '--no-fund', '--prefix', stage.folder, 'mcp-remote'];
    const install = spawn('npm', words, { cwd: stage.folder, stdio: 'ignore' });
    expect((await once(stage.started(install), 'exit'))[0]).toBe(0);
    const command = [node, join(stage.folder, 'node_modules', 'mcp-remote', 'dist', 'proxy.js'), stage.url, '--allow-http'];
    const remote = await connect('sdk 1', command, stage.env);
    expect(JSON.stringify(await remote.callTool('test_simple_text', {}))).toContain('simple text');
    await remote.close();
    const entries = await stage.ended();
    expect(messages(entries, { type: 'result', method: 'tools/call' })).toHaveLength(1);
  },
  120_000,
);
