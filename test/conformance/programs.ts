/** The programs that stand on either side: the fixture server, a proxy in front of something, the bridge between stdio and HTTP. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { swornProgram } from '../support-processes.ts';

const here = (file: string): string => join(import.meta.dirname, file);
const bridge = join(import.meta.dirname, '..', '..', 'node_modules', 'supergateway', 'dist', 'index.js');
const node = process.execPath;
const startLimitMs = 20_000;
const endLimitMs = 5_000;

/** Whoever ends this process ends them too. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) killGroup(child, 'SIGKILL');
});

/** They lead process groups of their own: what they start through a shell ends with them. */
function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal);
  } catch {
    // the group is gone
  }
}

export interface Running {
  readonly url: string;
  /** In order, and by force after a while. */
  end(): Promise<void>;
}

/** Starts a program and waits until it says where it listens, on stdout or stderr. */
async function start(command: readonly string[], env: NodeJS.ProcessEnv, said: RegExp): Promise<Running> {
  const child = spawn(command[0]!, command.slice(1), { env, stdio: 'pipe', detached: true });
  running.add(child);
  const ended = once(child, 'exit').then(
    () => killGroup(child, 'SIGKILL'),
    () => undefined,
  );
  void ended.then(() => running.delete(child));
  let output = '';
  const address = await new Promise<string>((done, fail) => {
    const limit = setTimeout(() => fail(new Error(`${command.join(' ')} does not say where it listens: ${output}`)), startLimitMs);
    const read = (chunk: Buffer): void => {
      output += chunk.toString();
      const match = said.exec(output);
      if (match === null) return;
      clearTimeout(limit);
      done(match[0]);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    void ended.then(() => fail(new Error(`${command.join(' ')} ended: ${output}`)));
  });
  return {
    url: address,
    end: async () => {
      child.stdin.end();
      child.kill('SIGTERM');
      const limit = setTimeout(() => killGroup(child, 'SIGKILL'), endLimitMs);
      await ended;
      clearTimeout(limit);
    },
  };
}

const anyUrl = /http:\/\/127\.\d+\.\d+\.\d+:\d+[^\s]*/;

export function startServer(env: NodeJS.ProcessEnv): Promise<Running> {
  return start([node, here('server-http.ts')], env, anyUrl);
}

export type Proxy = 'pass-through' | 'sworn';

/** A proxy in front of `upstream`; its URL has the upstream's path. `listen`: host and port. */
export async function startProxy(proxy: Proxy, upstream: string, listen: string, ledger: string, env: NodeJS.ProcessEnv): Promise<Running> {
  const words =
    proxy === 'sworn'
      ? [swornProgram, 'proxy', '--upstream', upstream, '--listen', listen, '--name', 'fixture', '--ledger', ledger]
      : [here('pass-through.ts'), '--upstream', upstream, '--listen', listen];
  const { url, end } = await start([node, ...words], env, anyUrl);
  return { url: new URL(new URL(upstream).pathname, url).href, end };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** The fixture server on stdio behind the bridge; `ledger`: with `sworn run` between the two. */
export async function startBridge(stateful: boolean, ledger: string | undefined, env: NodeJS.ProcessEnv): Promise<Running> {
  const server = [node, here('server-stdio.ts')];
  const command = ledger === undefined ? server : [node, swornProgram, 'run', '--ledger', ledger, '--name', 'fixture', '--', ...server];
  const port = await freePort();
  const words = ['--stdio', command.join(' '), '--outputTransport', 'streamableHttp', '--port', String(port), ...(stateful ? ['--stateful'] : [])];
  const { end } = await start([node, '--import', here('loopback.ts'), bridge, ...words], env, /Listening on port \d+/);
  return { url: `http://127.0.0.1:${port}/mcp`, end };
}
