/** An agent that works with an official server over stdio, by a seed: what passed on the wire is a conversation. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Conversation, Happening } from './replay.ts';

export type Name = 'everything' | 'filesystem' | 'memory';
type Call = [tool: string, args: object];

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const words =
  'amber brook cedar delta ember field grove harbor island jasper kettle lantern meadow north orchid pebble quartz river stone timber'.split(' ');

/** One whole session, from `initialize` to the end of the server. */
export async function session(name: Name, seed: number): Promise<Conversation> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sworn-session-')));
  const manifest = createRequire(import.meta.url).resolve(`@modelcontextprotocol/server-${name}/package.json`);
  const files = join(folder, 'files');
  mkdirSync(files);
  for (const word of words.slice(0, 6)) writeFileSync(join(files, `${word}.txt`), `${word}\nsecond line of ${word}\n`);
  const server = spawn(process.execPath, [join(dirname(manifest), 'dist', 'index.js'), ...(name === 'filesystem' ? [files] : [])], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { PATH: process.env['PATH'], HOME: folder, MEMORY_FILE_PATH: join(folder, 'memory.jsonl') },
  });
  try {
    const happenings: Happening[] = [];
    const began = Date.now();
    const waiting = new Map<unknown, () => void>();
    const say = (message: object): void => {
      const line = JSON.stringify({ jsonrpc: '2.0', ...message });
      happenings.push({ at: Date.now() - began, c2s: line });
      server.stdin.write(`${line}\n`);
    };
    let rest = '';
    server.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        happenings.push({ at: Date.now() - began, s2c: line });
        const { id, method } = JSON.parse(line) as { id?: unknown; method?: string };
        if (method === 'roots/list') say({ id, result: { roots: [] } });
        else if (method === undefined) waiting.get(id)?.();
      }
    });
    let id = 0;
    const ask = (method: string, params: object): Promise<void> =>
      new Promise((done, fail) => {
        server.once('exit', () => fail(new Error(`${name} ended`)));
        waiting.set(++id, done);
        say({ id, method, params });
      });
    server.setMaxListeners(0);
    await ask('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'agent', version: '1.0.0' } });
    say({ method: 'notifications/initialized' });
    await ask('tools/list', {});
    const next = random(seed);
    const calls = 8 + Math.floor(next() * 30);
    const work = agents[name](next, files);
    for (let k = 0; k < calls; k++) {
      const [tool, args] = work();
      await ask('tools/call', { name: tool, arguments: args });
    }
    const closing = { kind: 'close', connection: true, reason: 'client closed' };
    return { session: `${name}, seed ${seed}`, server: name, happenings: [...happenings, { at: Date.now() - began, entry: closing }] };
  } finally {
    if (server.exitCode === null) {
      const gone = new Promise((done) => server.once('exit', done));
      server.kill();
      await gone;
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

type Agent = (next: () => number, files: string) => () => Call;

function oneOf<T>(next: () => number, list: readonly T[]): T {
  return list[Math.floor(next() * list.length)]!;
}

/** What agents do: mostly what works, now and then a mistake. */
const agents: Record<Name, Agent> = {
  everything: (next) => () =>
    oneOf<() => Call>(next, [
      () => ['echo', { message: `${oneOf(next, words)} ${oneOf(next, words)}` }],
      () => ['get-sum', { a: Math.floor(next() * 100), b: Math.floor(next() * 100) }],
      () => ['get-sum', { a: 'one', b: 2 }],
      () => ['get-env', {}],
      () => ['get-tiny-image', {}],
      () => ['get-annotated-message', { messageType: oneOf(next, ['error', 'success', 'debug']), includeImage: next() < 0.3 }],
      () => ['get-resource-links', { count: 1 + Math.floor(next() * 10) }],
      () => ['get-resource-reference', { resourceType: oneOf(next, ['Text', 'Blob']), resourceId: 1 + Math.floor(next() * 50) }],
      () => ['get-structured-content', { location: oneOf(next, ['New York', 'Chicago', 'Los Angeles']) }],
      () => ['toggle-simulated-logging', {}],
      () => ['trigger-long-running-operation', { duration: 0.05, steps: 2 }],
      () => ['no-such-tool', {}],
    ])(),
  filesystem: (next, files) => {
    const known = words.slice(0, 6).map((word) => `${word}.txt`);
    const path = (): string => join(files, next() < 0.12 ? `${oneOf(next, words)}.md` : oneOf(next, known));
    const add = (file: string): string => (known.push(file), join(files, file));
    return () =>
      oneOf<() => Call>(next, [
        () => ['list_directory', { path: files }],
        () => ['directory_tree', { path: files }],
        () => ['read_text_file', { path: path() }],
        () => ['read_text_file', { path: path(), head: 1 }],
        () => ['read_multiple_files', { paths: [path(), path(), path()] }],
        () => ['get_file_info', { path: path() }],
        () => ['search_files', { path: files, pattern: `*${oneOf(next, words).slice(0, 3)}*` }],
        () => [
          'write_file',
          {
            path: add(`note-${oneOf(next, words)}-${Math.floor(next() * 1000)}.txt`),
            content: Array.from({ length: 20 }, () => oneOf(next, words)).join(' '),
          },
        ],
        () => ['edit_file', { path: path(), edits: [{ oldText: 'second', newText: oneOf(next, words) }] }],
        () => ['move_file', { source: path(), destination: add(`moved-${oneOf(next, words)}-${Math.floor(next() * 1000)}.txt`) }],
        () => ['create_directory', { path: join(files, oneOf(next, words)) }],
        () => ['read_text_file', { path: '/etc/hostname' }],
        () => ['list_allowed_directories', {}],
      ])();
  },
  memory: (next) => {
    const name = (): string => oneOf(next, words);
    return () =>
      oneOf<() => Call>(next, [
        () => [
          'create_entities',
          { entities: [{ name: name(), entityType: oneOf(next, ['person', 'place', 'project']), observations: [`likes ${name()}`] }] },
        ],
        () => ['create_relations', { relations: [{ from: name(), to: name(), relationType: 'knows' }] }],
        () => ['add_observations', { observations: [{ entityName: name(), contents: [`seen near the ${name()}`] }] }],
        () => ['delete_entities', { entityNames: [name(), name()] }],
        () => ['delete_observations', { deletions: [{ entityName: name(), observations: ['old'] }] }],
        () => ['delete_relations', { relations: [{ from: name(), to: name(), relationType: 'knows' }] }],
        () => ['read_graph', {}],
        () => ['search_nodes', { query: name() }],
        () => ['open_nodes', { names: [name(), name()] }],
      ])();
  },
};
