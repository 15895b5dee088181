/** What an operator does with the proxy: many servers, headers, TLS on both sides, reloads, health, limits, and its end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { request as requestHttp, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { expect, test, vi } from 'vitest';
import { isLong } from '../long.ts';
import { Authority, exchanged, pems } from './certificates.ts';
import { bodyOf, ProxyProgram, serving, written } from './proxy-program.ts';
import { messages, node, Stage, sworn, type Recorded } from './stage.ts';

vi.setConfig({ testTimeout: 90_000 });

const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };
let ids = 0;
const ask = (): string => JSON.stringify({ jsonrpc: '2.0', id: ++ids, method: 'tools/list' });

/** Answers with its name, and keeps what came. */
async function named(name: string): Promise<{ url: string; got: { path: string; headers: IncomingHttpHeaders }[] }> {
  const got: { path: string; headers: IncomingHttpHeaders }[] = [];
  const { port } = await serving((request, response) => {
    got.push({ path: request.url!, headers: request.headers });
    void bodyOf(request).then((body) => response.writeHead(200, { 'Content-Type': 'application/json' }).end(replyTo(body, name)));
  });
  return { url: `http://127.0.0.1:${port}/v1/mcp`, got };
}

function replyTo(body: string, name: string): string {
  const { id } = JSON.parse(body === '' ? '{"id":0}' : body) as { id: number };
  return JSON.stringify({ jsonrpc: '2.0', id, result: { name } });
}

const textOf = async (url: string, more: Record<string, string> = {}): Promise<string> =>
  (await fetch(url, { method: 'POST', headers: { ...headers, ...more }, body: ask() })).text();

const opens = (entries: readonly Recorded[]): [string, unknown][] =>
  entries.filter(({ kind }) => kind === 'open').map(({ server, opened }) => [server as string, opened['upstream'] ?? opened['argv']]);

test('many servers by path, each with headers of its own; cookies and credentials of other hops go nowhere [proxy-operations]', async () => {
  const stage = new Stage();
  const [hr, docs] = [await named('hr'), await named('docs')];
  const secret = join(stage.folder, 'authorization');
  writeFileSync(secret, 'Bearer from-a-file\nsecond line\n');
  const config = written(stage, 'sworn.yaml', {
    proxy: {
      upstreams: {
        hr: { url: hr.url, authorization: 'forward', headers: { set: { 'X-Tenant': 'corp' }, remove: ['x-debug'] } },
        docs: { url: `${docs.url}?tenant=7`, headers: { setFrom: { Authorization: secret } } },
        'hr.deep': { url: 'http://127.0.0.1:9/mcp' },
      },
    },
  });
  const proxy = await ProxyProgram.start(stage, '--config', config);
  const sent = {
    Authorization: 'Bearer of-the-client',
    Cookie: 'a=b',
    'Proxy-Authorization': 'Basic eDp5',
    'X-Tenant': 'forged',
    'X-Debug': '1',
    'X-Other': 'stays',
    DPoP: 'proof',
  };
  // `fetch` takes no cookies
  const raw = async (path: string): Promise<string> => {
    const outgoing = requestHttp(proxy.at(path), { method: 'POST', headers: { ...headers, ...sent } });
    outgoing.end(ask());
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    return bodyOf(response);
  };
  expect(await raw('/hr/mcp')).toContain('"hr"');
  expect(await raw('/docs/mcp?x=1')).toContain('"docs"');
  expect(await raw('/hr/other/path')).toContain('"hr"');
  for (const path of ['/', '/mcp', '/hrx/mcp', '/nobody/mcp']) expect((await fetch(proxy.at(path))).status, path).toBe(404);
  const [first] = hr.got;
  expect(first).toMatchObject({
    path: '/v1/mcp',
    headers: { authorization: 'Bearer of-the-client', dpop: 'proof', 'x-tenant': 'corp', 'x-other': 'stays' },
  });
  // what is set is for the endpoint alone
  expect(hr.got[1]!.path).toBe('/other/path');
  expect(hr.got[1]!.headers).not.toHaveProperty('x-tenant');
  expect(hr.got[1]!.headers['x-other']).toBe('stays');
  expect(docs.got[0]).toMatchObject({ path: '/v1/mcp?tenant=7&x=1', headers: { authorization: 'Bearer from-a-file', 'x-debug': '1' } });
  for (const { headers: came } of [...hr.got, ...docs.got])
    for (const name of ['cookie', 'proxy-authorization']) expect(came).not.toHaveProperty(name);
  expect(first!.headers).not.toHaveProperty('x-debug');
  expect(docs.got[0]!.headers).not.toHaveProperty('dpop');
  expect((await proxy.end()).code).toBe(0);
  const entries = await stage.finished();
  expect(new Map(opens(entries))).toEqual(
    new Map([
      ['hr', hr.url],
      ['docs', docs.url],
      ['hr.deep', 'http://127.0.0.1:9/mcp'],
    ]),
  );
  expect(messages(entries, { type: 'request' }).map(({ server }) => server as string)).toEqual(['hr', 'docs', 'hr']);
  const all = JSON.stringify(entries) + proxy.tap.errors.text;
  for (const word of ['of-the-client', 'from-a-file', 'a=b', 'eDp5', 'proof']) expect(all, word).not.toContain(word);
});

test('a certificate of our own is exchanged while we run, and open connections stay [proxy-tls]', async () => {
  const stage = new Stage();
  const server = await named('tls');
  const ca = new Authority(stage.folder, 'ca');
  const [place, next] = [ca.issue('now', 'IP:127.0.0.1'), ca.issue('next', 'IP:127.0.0.1')];
  const config = written(stage, 'sworn.yaml', { proxy: { tls: place, upstreams: { srv: { url: server.url } } } });
  const proxy = await ProxyProgram.start(stage, '--config', config);
  const open = async (): Promise<TLSSocket> => {
    const socket = connectTls({ host: '127.0.0.1', port: proxy.port, ca: ca.pem });
    await once(socket, 'secureConnect');
    return socket;
  };
  const nameOf = (socket: TLSSocket): string => socket.getPeerX509Certificate()!.subject;
  const before = await open();
  expect(nameOf(before)).toBe('CN=now');
  // while they do not belong together what was there stays
  exchanged(place, next);
  await proxy.tap.errors.until(({ text }) => text.includes('the certificate was read again'));
  const after = await open();
  expect(nameOf(after)).toBe('CN=next');
  const body = ask();
  before.write(`POST /srv/mcp HTTP/1.1\r\nHost: 127.0.0.1:${proxy.port}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const [answer] = (await once(before, 'data')) as [Buffer];
  expect(answer.toString()).toContain('200 OK');
  // what is no certificate changes nothing
  await proxy.says('what was before stays', () => writeFileSync(place.cert, 'no certificate'));
  const last = await open();
  expect(nameOf(last)).toBe('CN=next');
  for (const socket of [before, after, last]) socket.destroy();
  expect((await proxy.end()).code).toBe(0);
  await stage.finished();
});

test('a certificate that is none, and a key of another one, do not start [proxy-tls]', async () => {
  const stage = new Stage();
  const ca = new Authority(stage.folder, 'ca');
  const [one, two] = [ca.issue('one', 'IP:127.0.0.1'), ca.issue('two', 'IP:127.0.0.1')];
  const upstream = { url: 'https://127.0.0.1:9/mcp' };
  for (const proxy of [
    { tls: { cert: one.cert, key: two.key }, upstreams: { srv: upstream } },
    { upstreams: { srv: { ...upstream, tls: { cert: one.key, key: one.key } } } },
    { upstreams: { srv: { ...upstream, tls: { ca: one.key } } } },
  ]) {
    const { code, stderr } = await stage.command('proxy', '--listen', '127.0.0.1:0', '--config', written(stage, 'sworn.yaml', { proxy }));
    expect([code, stderr]).toEqual([78, expect.stringMatching(/^sworn: error: .*\nsworn: hint: .*http-identity/) as string]);
  }
});

test('an upstream shows its certificate, and we ours; who skips the check is told, and so is the record [proxy-tls]', async () => {
  const stage = new Stage();
  const [ca, others] = [new Authority(stage.folder, 'ca'), new Authority(stage.folder, 'others')];
  const ours = ca.issue('proxy', 'DNS:proxy.internal');
  const tls = { ...pems(ca.issue('server', 'DNS:hr.internal')), ca: ca.pem, requestCert: true, rejectUnauthorized: true };
  const seen: string[] = [];
  const { port } = await serving((request, response) => {
    seen.push((request.socket as TLSSocket).getPeerX509Certificate()!.subject);
    void bodyOf(request).then((body) => response.writeHead(200, { 'Content-Type': 'application/json' }).end(replyTo(body, 'secure')));
  }, createSecureServer(tls));
  const url = `https://127.0.0.1:${port}/mcp`;
  const right = { ...ours, ca: ca.cert, serverName: 'hr.internal' };
  const config = written(stage, 'sworn.yaml', {
    proxy: {
      upstreams: {
        right: { url, tls: right },
        nameless: { url, tls: { ...ours, ca: ca.cert } },
        strange: { url, tls: { ...right, ca: others.cert } },
        unshown: { url, tls: { ca: ca.cert, serverName: 'hr.internal' } },
        system: { url, tls: { ...ours, serverName: 'hr.internal' } },
        reckless: { url, tls: { ...ours, insecureSkipVerify: true } },
      },
    },
  });
  const proxy = await ProxyProgram.start(stage, '--config', config);
  expect(await textOf(proxy.at('/right/mcp'))).toContain('secure');
  expect(await textOf(proxy.at('/reckless/mcp'))).toContain('secure');
  expect(seen).toEqual(['CN=proxy', 'CN=proxy']);
  for (const name of ['nameless', 'strange', 'unshown', 'system']) {
    const response = await fetch(proxy.at(`/${name}/mcp`), { method: 'POST', headers, body: ask() });
    expect([name, response.status, await response.text()]).toEqual([name, 502, expect.stringContaining('cannot be reached')]);
  }
  expect(seen).toHaveLength(2);
  expect(proxy.tap.errors.text).toMatch(/the certificate of reckless is not checked/);
  expect(proxy.tap.errors.text).not.toMatch(/certificate of (?!reckless)\w+ is not checked/);
  expect((await proxy.end()).code).toBe(0);
  const said = new Map(opens(await stage.finished()));
  expect([said.get('right'), said.get('reckless')]).toEqual([url, `${url} (certificate not checked)`]);
});

/** A server with streams that say what they are told to, and end when they are told to. */
async function streaming(): Promise<{ url: string; streams: ServerResponse[] }> {
  const streams: ServerResponse[] = [];
  const { port } = await serving((request, response) => {
    void bodyOf(request).then(() => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write('data: {"jsonrpc":"2.0","method":"notifications/message","params":{"n":0}}\n\n');
      streams.push(response);
    });
  });
  return { url: `http://127.0.0.1:${port}/mcp`, streams };
}

async function stream(url: string): Promise<{ until(text: string): Promise<void>; text(): string; ended: Promise<'whole' | 'broken'> }> {
  const response = await fetch(url, { method: 'POST', headers, body: ask() });
  let text = '';
  let wake: () => void = () => undefined;
  const ended = (async (): Promise<'whole' | 'broken'> => {
    try {
      for await (const chunk of response.body! as unknown as AsyncIterable<Uint8Array>) {
        text += Buffer.from(chunk).toString();
        wake();
      }
      return 'whole';
    } catch {
      return 'broken';
    }
  })();
  const until = async (wanted: string): Promise<void> => {
    while (!text.includes(wanted)) await new Promise<void>((done) => (wake = done));
  };
  await until('"n":0');
  return { until, text: () => text, ended };
}

const say = (n: number): string => `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"n":${n}}}\n\n`;

test('SIGHUP: streams of servers that stay, change and go away end when they end; a wrong file changes nothing [proxy-reload]', async () => {
  const stage = new Stage();
  const servers = { stays: await streaming(), changes: await streaming(), moves: await streaming(), goes: await streaming() };
  const elsewhere = await named('elsewhere');
  const upstreams = (more: object): object => ({ proxy: { upstreams: { stays: { url: servers.stays.url }, ...more } } });
  const before = upstreams({ changes: { url: servers.changes.url }, moves: { url: servers.moves.url }, goes: { url: servers.goes.url } });
  const config = written(stage, 'sworn.yaml', before);
  const proxy = await ProxyProgram.start(stage, '--config', config);
  const names = ['stays', 'changes', 'moves', 'goes'] as const;
  const open = new Map<string, Awaited<ReturnType<typeof stream>>>();
  for (const name of names) open.set(name, await stream(proxy.at(`/${name}/mcp`)));
  const reload = (words: string | RegExp): Promise<void> => proxy.says(words, () => proxy.tap.process.kill('SIGHUP'));

  written(
    stage,
    'sworn.yaml',
    upstreams({
      changes: { url: servers.changes.url, headers: { set: { 'X-New': '1' } } },
      moves: { url: elsewhere.url },
      comes: { url: elsewhere.url },
    }),
  );
  await reload('the configuration was read again');
  for (const name of names) {
    servers[name].streams[0]!.write(say(1));
    await open.get(name)!.until('"n":1');
  }
  const another = await stream(proxy.at('/changes/mcp'));
  servers.changes.streams[1]!.end();
  expect(await another.ended).toBe('whole');
  expect((await fetch(proxy.at('/goes/mcp'))).status).toBe(404);
  expect(await textOf(proxy.at('/comes/mcp'))).toContain('elsewhere');
  expect(await textOf(proxy.at('/moves/mcp'))).toContain('elsewhere');

  // a second one while the first has not ended everything
  written(stage, 'sworn.yaml', upstreams({ comes: { url: elsewhere.url } }));
  await reload('the configuration was read again');
  for (const wrong of ['proxy: [', '{"proxy":{"upstreams":{"stays":{"url":"ftp://x"}}}}', '{}']) {
    written(stage, 'sworn.yaml', wrong);
    await reload('what was before stays');
    expect(await textOf(proxy.at('/comes/mcp'))).toContain('elsewhere');
  }
  for (const name of names) {
    servers[name].streams[0]!.end(say(2));
    expect([name, await open.get(name)!.ended, open.get(name)!.text().split('data:').length - 1]).toEqual([name, 'whole', 3]);
  }
  expect((await proxy.end()).code).toBe(0);
  const entries = await stage.finished();
  expect(entries.filter(({ kind, reason }) => kind === 'close' && reason === 'tap lost')).toEqual([]);
  const said = opens(entries);
  // one whose headers change goes on; one that goes elsewhere is another connection, and its entry says where
  expect(said.filter(([name]) => name === 'changes')).toHaveLength(1);
  expect(said.filter(([name]) => name === 'moves')).toEqual([
    ['moves', servers.moves.url],
    ['moves', elsewhere.url],
  ]);
  // its streams are numbered on, while the first is still open
  expect(messages(entries, { server: 'changes', direction: 'c2s' }).map((one) => one['stream'])).toEqual([1, 2]);
  for (const name of names)
    expect(messages(entries, { server: name, type: 'notification', stream: 1 }).map(({ tapSeq }) => tapSeq as number).length, name).toBe(3);
});

test('SIGHUP: a session of HTTP+SSE goes on when headers of its server change [proxy-reload]', async () => {
  const stage = new Stage();
  let events: ServerResponse | undefined;
  const { port } = await serving((request, response) => {
    void bodyOf(request).then((body) => {
      if (request.method === 'GET') {
        events = response.writeHead(200, { 'Content-Type': 'text/event-stream' });
        events.write('event: endpoint\ndata: /messages?s=1\n\n');
        return;
      }
      response.writeHead(202).end();
      events!.write(`data: ${replyTo(body, 'sse')}\n\n`);
    });
  });
  const config = (more: object): string =>
    written(stage, 'sworn.yaml', { proxy: { upstreams: { old: { url: `http://127.0.0.1:${port}/sse`, ...more } } } });
  const proxy = await ProxyProgram.start(stage, '--config', config({}));
  const leave = new AbortController();
  const response = await fetch(proxy.at('/old/sse'), { headers: { Accept: 'text/event-stream' }, signal: leave.signal });
  const reader = response.body!.getReader();
  const until = async (text: string, before = ''): Promise<string> => {
    if (before.includes(text)) return before;
    return until(text, before + Buffer.from((await reader.read()).value ?? []).toString());
  };
  const address = /data: (.*)/.exec(await until('messages'))![1]!;
  const post = async (): Promise<void> => {
    expect((await fetch(proxy.at(address), { method: 'POST', headers, body: ask() })).status).toBe(202);
    await until(`"id":${ids}`);
  };
  await post();
  config({ headers: { set: { 'X-New': '1' } } });
  await proxy.says('the configuration was read again', () => proxy.tap.process.kill('SIGHUP'));
  await post();
  leave.abort();
  expect((await proxy.end()).code).toBe(0);
  const entries = await stage.finished();
  const requests = messages(entries, { type: 'request' });
  expect(messages(entries, { type: 'result' }).map(({ exchange, anomalies }) => [exchange, anomalies])).toEqual(
    requests.map(({ index }) => [index, undefined]),
  );
  expect(requests).toHaveLength(2);
});

test('SIGTERM: nothing new is taken, a stream that ends in time is whole, and one that does not is ended and recorded so [proxy-drain]', async () => {
  const stage = new Stage();
  const server = await streaming();
  const config = written(stage, 'sworn.yaml', { proxy: { upstreams: { srv: { url: server.url } } } });
  const proxy = await ProxyProgram.start(stage, '--config', config);
  const [ends, stays] = [await stream(proxy.at('/srv/mcp')), await stream(proxy.at('/srv/mcp'))];
  proxy.tap.process.kill('SIGTERM');
  const refused = async (): Promise<boolean> =>
    fetch(proxy.at('/livez')).then(
      () => false,
      () => true,
    );
  while (!(await refused())) await sleep(10);
  server.streams[0]!.end(say(1));
  expect([await ends.ended, ends.text()]).toEqual(['whole', expect.stringContaining('"n":1')]);
  expect(await stays.ended).toBe('broken');
  expect((await proxy.tap.ended).code).toBe(0);
  const entries = await stage.finished();
  expect(entries.filter(({ kind }) => kind === 'close')).toMatchObject([{ reason: 'signal' }]);
  const streams = messages(entries, { type: 'request' }).map(({ stream: id }) => id as number);
  const ending = (id: number): unknown =>
    entries
      .filter((entry) => entry['stream'] === id)
      .map(({ http }) => (http as { end?: string } | undefined)?.end)
      .findLast(Boolean);
  expect(streams.map(ending)).toEqual([undefined, 'proxy stopped']);
});

test('/livez and /readyz: a recorder that is gone is said, and one that comes back [proxy-operations]', async () => {
  const stage = new Stage();
  const server = await named('srv');
  const socket = join(stage.folder, 'recorder.sock');
  const record = async (): Promise<ReturnType<typeof spawn>> => {
    const recorder = stage.started(
      spawn(node, [sworn, 'recorder', 'start', '--foreground', '--ledger', stage.ledger, '--socket', socket], {
        cwd: stage.folder,
        env: stage.env,
        stdio: 'ignore',
      }),
    );
    while (!existsSync(socket)) await sleep(10);
    return recorder;
  };
  const recorder = await record();
  const proxy = await ProxyProgram.start(stage, '--upstream', server.url, '--name', 'srv', '--socket', socket);
  const status = async (path: string): Promise<number> => (await fetch(proxy.at(path))).status;
  const readyIs = async (wanted: number): Promise<void> => {
    while ((await status('/readyz')) !== wanted) await sleep(20);
  };
  await readyIs(200);
  expect(await status('/livez')).toBe(200);
  const ended = once(recorder, 'exit');
  recorder.kill('SIGTERM');
  await ended;
  await readyIs(503);
  expect(await status('/livez')).toBe(200);
  expect(await (await fetch(proxy.at('/readyz'))).text()).toBe('no recorder for srv\n');
  await record();
  await readyIs(200);
  expect(await textOf(proxy.at())).toContain('"srv"');
  expect((await proxy.end()).code).toBe(0);
  await stage.finished();
});

test('upstreamTimeoutMs bounds the first byte of an answer, and never a stream; nothing is sent twice [proxy-operations]', async () => {
  const stage = new Stage();
  let calls = 0;
  const { port } = await serving((request: IncomingMessage, response) => {
    calls++;
    void bodyOf(request).then(async () => {
      if (request.url === '/hangs-up') request.socket.destroy();
      if (request.url !== '/mcp') return;
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(say(0));
      await sleep(900);
      response.end(say(1));
    });
  });
  const upstream = { url: `http://127.0.0.1:${port}/mcp`, upstreamTimeoutMs: 300 };
  const proxy = await ProxyProgram.start(stage, '--config', written(stage, 'sworn.yaml', { proxy: { upstreams: { srv: upstream } } }));
  const slow = await stream(proxy.at('/srv/mcp'));
  expect([await slow.ended, slow.text()]).toEqual(['whole', `${say(0)}${say(1)}`]);
  const post = (path: string): Promise<Response> => fetch(proxy.at(path), { method: 'POST', headers, body: ask() });
  expect((await post('/srv/silent')).status).toBe(504);
  expect((await post('/srv/hangs-up')).status).toBe(502);
  expect((await fetch(proxy.at('/srv/hangs-up'))).status).toBe(502);
  expect(calls).toBe(4);
  expect((await proxy.end()).code).toBe(0);
  const own = (await stage.finished()).flatMap(({ http }) => ((http as { own?: true } | undefined)?.own === true ? [http as object] : []));
  expect(own).toMatchObject([{ status: 504 }, { status: 502 }, { status: 502 }]);
});

test('an address that is no name is not listened at without names; a host and an origin that nobody named get 403 [proxy-operations]', async () => {
  const stage = new Stage();
  const server = await named('srv');
  for (const listen of ['0.0.0.0:0', '[::]:0']) {
    const { code, stderr } = await stage.command('proxy', '--upstream', server.url, '--listen', listen);
    expect([listen, code, stderr]).toEqual([listen, 2, expect.stringContaining('--allow-host') as string]);
  }
  const proxy = await ProxyProgram.start(stage, '--upstream', server.url, '--allow-host', 'gate.example', '--allow-origin', 'https://app.example');
  const asked = (more: Record<string, string>): Promise<number> =>
    new Promise((done, fail) => {
      const outgoing = requestHttp(proxy.at(), { method: 'POST', headers: { ...headers, ...more } }, (response) => {
        response.resume();
        done(response.statusCode!);
      });
      outgoing.on('error', fail);
      outgoing.end(ask());
    });
  const cases: [Record<string, string>, number][] = [
    [{}, 200],
    [{ Host: 'gate.example' }, 200],
    [{ Host: 'GATE.example:8443' }, 200],
    [{ Host: 'evil.example' }, 403],
    [{ Host: 'gate.example.evil.example' }, 403],
    [{ Origin: 'https://app.example' }, 200],
    [{ Origin: 'https://app.example.evil.example' }, 403],
    [{ Origin: 'null' }, 403],
  ];
  for (const [more, wanted] of cases) expect([more, await asked(more)]).toEqual([more, wanted]);
  expect(server.got).toHaveLength(cases.filter(([, status]) => status === 200).length);
  expect((await proxy.end()).code).toBe(0);
  const refused = (await stage.finished()).filter(({ http }) => (http as { end?: string } | undefined)?.end === 'not allowed');
  // the request, and what we answered
  expect(refused).toHaveLength(2 * cases.filter(([, status]) => status === 403).length);
});

// it is waited for over half a minute: SWORN_LONG=1
test.runIf(isLong)('a head that never ends is not waited for, however steadily it comes [proxy-operations]', async () => {
  const stage = new Stage();
  const server = await named('srv');
  const proxy = await ProxyProgram.start(stage, '--upstream', server.url);
  const socket = connect(proxy.port, '127.0.0.1');
  let came = '';
  socket.on('data', (chunk: Buffer) => (came += chunk.toString()));
  socket.on('error', () => undefined);
  const closed = new Promise((done) => socket.on('close', done));
  socket.write(`POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${proxy.port}\r\n`);
  const drip = setInterval(() => socket.write('X: y\r\n'), 500);
  // others are served meanwhile
  expect(await textOf(proxy.at())).toContain('"srv"');
  await closed;
  clearInterval(drip);
  expect(came).toMatch(/^HTTP\/1\.1 408 /);
  expect(server.got).toHaveLength(1);
  expect((await proxy.end()).code).toBe(0);
  await stage.finished();
});
