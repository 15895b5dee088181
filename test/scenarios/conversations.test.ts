import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { isLong } from '../long.ts';
import { cancelled, connect, kinds, type AnyClient, type ClientKind } from './clients.ts';
import { frames, messages, official, ours, Stage, type Recorded } from './stage.ts';

// each conversation starts up to ten processes, one after the other
vi.setConfig({ testTimeout: 180_000 });

interface Talk {
  server: string[];
  talk(client: AnyClient, heard: Heard): Promise<void>;
}

/** What the shim in front of the server has seen so far. */
interface Heard {
  until(text: string): Promise<void>;
}

interface Ends {
  n: string;
  clientIn: Buffer;
  clientOut: Buffer;
  serverIn: Buffer | undefined;
  serverOut: Buffer | undefined;
}

function endsIn(folder: string): Ends[] {
  const read = (name: string): Buffer | undefined => {
    try {
      return readFileSync(join(folder, name));
    } catch {
      return undefined;
    }
  };
  return readdirSync(folder)
    .filter((name) => name.endsWith('.client.in'))
    .map((name) => {
      const n = name.split('.')[0]!;
      return {
        n,
        clientIn: read(name)!,
        clientOut: read(`${n}.client.out`)!,
        serverIn: read(`${n}.server.in`),
        serverOut: read(`${n}.server.out`),
      };
    });
}

function heardIn(folder: string): Heard {
  return {
    async until(text) {
      const has = (): boolean => readdirSync(folder).some((name) => name.endsWith('.server.in') && readFileSync(join(folder, name)).includes(text));
      while (!has()) await new Promise((done) => setTimeout(done, 10));
    },
  };
}

/** One conversation, with sworn between two shims or without it. */
async function converse(stage: Stage, kind: ClientKind, { server, talk }: Talk, options: string[] | undefined): Promise<Ends[]> {
  const folder = join(stage.folder, options === undefined ? 'direct' : 'sworn');
  mkdirSync(folder);
  const behind = ours('shim.ts', folder, 'server', '--', ...server);
  const front = ours('shim.ts', folder, 'client', '--', ...(options === undefined ? behind : stage.words(behind, options)));
  // the memory server would keep its file beside its program
  const client = await connect(kind, front, { ...stage.env, MEMORY_FILE_PATH: join(folder, 'memory.jsonl') });
  await talk(client, heardIn(folder));
  await client.close();
  return endsIn(folder);
}

/** A conversation without what differs from run to run: the order of what nobody ordered, times, ports, pids. */
function comparable(bytes: Buffer): string[] {
  return bytes
    .toString()
    .split('\n')
    .map((line) =>
      line
        .replaceAll(/\d{1,2}:\d{2}:\d{2}( [AP]M)?/g, '<time>')
        .replaceAll(/\d{4}-\d{2}-\d{2}T[\d:.<>time]+Z/g, '<time>')
        .replaceAll(/"(accessed|modified|created)[^"]*"/g, '<when>'),
    )
    .sort();
}

async function everything(client: AnyClient, heard: Heard): Promise<void> {
  const { tools } = await client.listTools();
  expect(tools.length).toBeGreaterThan(10);
  await client.callTool('echo', { message: 'zwölf Boxkämpfer \u2028 \u0000 🥊' });
  await client.callTool('get-sum', { a: 1, b: 2 });
  await client.callTool('get-sum', { a: 'one' }).catch(() => undefined);
  await client.callTool('no-such-tool', {}).catch(() => undefined);
  await client.callTool('get-tiny-image', {});
  const progress: unknown[] = [];
  await client.callTool('trigger-long-running-operation', { duration: 0.2, steps: 4 }, { onprogress: (one) => progress.push(one) });
  const { resources } = await client.listResources();
  await client.readResource(resources[0]!.uri);
  await client.readResource('demo://resource/nowhere').catch(() => undefined);
  await client.listPrompts();
  await client.getPrompt('simple-prompt', {});
  await cancelled(client, 'trigger-long-running-operation', { duration: 600, steps: 1 }, () => heard.until('"duration":600'));
  await client.callTool('echo', { message: 'last' });
}

async function filesystem(client: AnyClient, folder: string): Promise<void> {
  await client.listTools();
  await client.callTool('write_file', { path: join(folder, 'a.txt'), content: 'line\r\nline\n' });
  await client.callTool('read_text_file', { path: join(folder, 'a.txt') });
  await client.callTool('list_directory', { path: folder });
  await client.callTool('read_text_file', { path: '/etc/hostname' }).catch(() => undefined);
  await client.callTool('edit_file', { path: join(folder, 'a.txt'), edits: [{ oldText: 'line', newText: 'word' }] });
}

async function memory(client: AnyClient): Promise<void> {
  await client.listTools();
  await client.callTool('create_entities', { entities: [{ name: 'Ada', entityType: 'person', observations: ['counts'] }] });
  await client.callTool('search_nodes', { query: 'Ada' });
  await client.callTool('delete_entities', { entityNames: ['Ada'] });
}

async function bothEras(client: AnyClient, heard: Heard): Promise<void> {
  await client.listTools();
  for (const name of ['look', 'put']) await client.callTool(name, { at: 'here' });
  await client.callTool('wipe', {});
  await client.callTool('fail', {});
  await client.callTool('get_pay', {});
  await client.callTool('nothing', {}).catch(() => undefined);
  await client.callTool('steps', { count: 3 }, { onprogress: () => undefined });
  await client.listResources();
  await client.readResource('note://one');
  await client.listPrompts();
  await client.getPrompt('greet', { who: 'you' });
  await cancelled(client, 'wait', {}, () => heard.until('"wait"'));
  await client.callTool('look', { at: 'last' });
}

function talks(stage: Stage): Record<string, Talk> {
  const files = join(stage.folder, 'files');
  mkdirSync(files);
  writeFileSync(join(files, 'b.txt'), 'b');
  return {
    everything: { server: official('everything'), talk: everything },
    filesystem: { server: official('filesystem', files), talk: (client) => filesystem(client, files) },
    memory: { server: official('memory'), talk: memory },
    'both-eras': { server: ours('both-eras.ts'), talk: bothEras },
  };
}

/** What must hold of any conversation's record. */
function expectSound(entries: Recorded[]): void {
  const openings = entries.filter((entry) => entry.kind === 'open');
  for (const { connection } of openings) {
    const own = entries.filter((entry) => entry['connection'] === connection && (entry.kind === 'message' || entry.kind === 'batch'));
    expect(own.map((entry) => entry['seq'])).toEqual(own.map((_, i) => i + 1));
    for (const direction of ['c2s', 's2c']) {
      const units = own.filter((entry) => entry['direction'] === direction).map((entry) => entry['tapSeq']);
      expect(units).toEqual(units.map((_, i) => i + 1));
    }
    expect(own.filter((entry) => entry['anomalies'] !== undefined)).toEqual([]);
    for (const reply of own.filter((entry) => entry['type'] === 'result' || entry['type'] === 'error')) {
      const request = entries[reply['exchange'] as number]!;
      expect(request).toMatchObject({ type: 'request', id: reply['id'], method: reply['method'], connection });
      expect(request['direction']).not.toBe(reply['direction']);
      expect({ effect: request['effect'], target: request['target'], era: request['era'] }).toEqual({
        effect: reply['effect'],
        target: reply['target'],
        era: reply['era'],
      });
      expect(reply['durationUs']).toBeGreaterThanOrEqual(0);
      expect(reply['outcome']).toBe((reply['type'] === 'error' ? 'error' : reply['outcome']) as string);
    }
    expect(entries.filter((entry) => entry.kind === 'close' && entry['connection'] === connection)).toHaveLength(1);
  }
}

/** Each client and each server in the usual run, all pairs with `SWORN_LONG=1`: servers of one SDK speak alike to clients of another. */
const serversOf = (kind: (typeof kinds)[number]): string[] => {
  if (kind === 'pinned-modern') return ['both-eras'];
  return kind === 'sdk 1' || isLong ? ['everything', 'filesystem', 'memory', 'both-eras'] : ['everything', 'both-eras'];
};

describe.each(kinds)('a conversation with the %s client', (kind) => {
  test.each(serversOf(kind))(
    'and the server %s passes byte for byte and is recorded [transparent-bytes, transparent-same-talk, real-counterparts]',
    async (name) => {
      const stage = new Stage();
      const talk = talks(stage)[name]!;
      const direct = await converse(stage, kind, talk, undefined);
      writeFileSync(join(stage.folder, 'files', 'a.txt'), '');
      const through = await converse(stage, kind, talk, ['--name', name, '--sensitive', 'get_pay*,echo', '--write', 'look', '--read', 'put']);
      // a client that asks for the era first asks a process of its own
      expect(through).toHaveLength(kind === 'auto' || kind === 'pinned-modern' ? 2 : 1);
      for (const { clientIn, clientOut, serverIn, serverOut } of through) {
        expect(serverIn).toEqual(clientIn);
        expect(clientOut).toEqual(serverOut);
        expect(clientOut.length).toBeGreaterThan(0);
      }
      const all = (ends: Ends[], side: 'clientIn' | 'clientOut'): string[] => comparable(Buffer.concat(ends.map((end) => end[side])));
      expect(all(through, 'clientIn')).toEqual(all(direct, 'clientIn'));
      expect(all(through, 'clientOut')).toEqual(all(direct, 'clientOut'));

      const entries = await stage.finished();
      expectSound(entries);
      const openings = entries.filter((entry) => entry.kind === 'open');
      expect(openings).toHaveLength(through.length);
      const recorded = (direction: 'c2s' | 's2c'): string[] =>
        openings
          .map(({ connection }) =>
            Buffer.concat(frames(entries, direction, connection as string).map((frame) => Buffer.concat([frame, Buffer.from('\n')]))).toString(),
          )
          .sort();
      expect(recorded('c2s')).toEqual(through.map(({ clientIn }) => clientIn.toString()).sort());
      expect(recorded('s2c')).toEqual(through.map(({ clientOut }) => clientOut.toString()).sort());
    },
  );
});

const isCall = (target: string) => ({ method: 'tools/call', target, direction: 'c2s' });

test.each(kinds)(
  'with the %s client, entries say what each message is [entry-types, entry-effects, entry-overrides, entry-names, entry-outcome, entry-era]',
  async (kind) => {
    const stage = new Stage();
    const talk = talks(stage)['both-eras']!;
    await converse(stage, kind, talk, [
      '--name',
      'hr',
      '--client',
      'cli',
      '--label',
      'team=a',
      '--sensitive',
      'get_pay*,note:*',
      '--write',
      'look',
      '--read',
      'put',
    ]);
    const entries = await stage.finished();
    const isModern = kind === 'auto' || kind === 'pinned-modern';

    for (const open of entries.filter((entry) => entry.kind === 'open')) {
      expect(open).toMatchObject({ server: 'hr', client: 'cli', labels: { team: 'a' }, mode: 'commit', custody: 'same-user', transport: 'stdio' });
      expect(open['opened']).toMatchObject({ argv: expect.arrayContaining(['server']) as string[] });
    }
    expect(messages(entries, isCall('look'))[0]).toMatchObject({ type: 'request', effect: 'write', effectSource: 'override' });
    expect(messages(entries, isCall('put'))[0]).toMatchObject({ effect: 'read', effectSource: 'override' });
    expect(messages(entries, isCall('wipe'))[0]).toMatchObject({ effect: 'write', effectSource: 'annotation', destructive: true });
    expect(messages(entries, isCall('fail'))[0]).toMatchObject({ effect: 'read', effectSource: 'annotation' });
    expect(messages(entries, isCall('fail'))[0]).not.toHaveProperty('sensitive');
    expect(messages(entries, isCall('get_pay'))[0]).toMatchObject({ effect: 'read', effectSource: 'annotation', sensitive: true });
    expect(messages(entries, isCall('nothing'))[0]).toMatchObject({ effect: 'unknown', effectSource: 'default' });
    expect(messages(entries, { method: 'tools/list', direction: 'c2s' })[0]).toMatchObject({ effect: 'read', effectSource: 'default' });
    const [read] = messages(entries, { method: 'resources/read', direction: 'c2s' });
    expect(read).toMatchObject({ target: 'note:', sensitive: true, opened: { target: 'note://one' } });
    expect(messages(entries, { method: 'prompts/get', direction: 'c2s' })[0]).toMatchObject({ target: 'greet', effect: 'read' });

    const reply = (target: string): Recorded => messages(entries, { method: 'tools/call', target, direction: 's2c' })[0]!;
    expect(reply('look')).toMatchObject({ type: 'result', outcome: 'ok', effect: 'write', ...(isModern ? { resultType: 'complete' } : {}) });
    expect(reply('fail')).toMatchObject({ type: 'result', outcome: 'toolError' });
    expect(['error', 'toolError']).toContain(reply('nothing')['outcome']);
    if (reply('nothing')['outcome'] === 'error') expect(reply('nothing')['code']).toBeLessThan(0);

    const cancelledCall = messages(entries, isCall('wait'))[0]!;
    expect(messages(entries, { method: 'notifications/cancelled' })[0]).toMatchObject({ type: 'notification', exchange: cancelledCall.index });
    expect(messages(entries, { method: 'notifications/progress' })).toHaveLength(3);
    for (const progress of messages(entries, { method: 'notifications/progress' })) {
      expect(progress).toMatchObject({ type: 'notification', direction: 's2c' });
      expect(progress).not.toHaveProperty('exchange');
    }

    // the era is that of each message
    for (const request of messages(entries, { type: 'request' })) {
      const modern = request.frame!.includes('"io.modelcontextprotocol/protocolVersion"');
      expect(request['era']).toBe(modern ? 'modern' : 'legacy');
      if (modern) expect(request['protocolVersion']).toBe('2026-07-28');
    }
    expect(messages(entries, isCall('look'))[0]!['era']).toBe(isModern ? 'modern' : 'legacy');
    const introduced = messages(entries).filter((entry) => 'clientInfo' in entry.opened);
    expect(introduced).toHaveLength(entries.filter((entry) => entry.kind === 'open').length);
    for (const entry of introduced) expect(entry.opened['clientInfo']).toMatchObject({ name: 'scenario', version: '2.7.1' });
    const answered = messages(entries).filter((entry) => 'serverInfo' in entry.opened);
    expect(answered.length).toBeGreaterThan(0);
    for (const entry of answered) expect(entry.opened['serverInfo']).toMatchObject({ name: 'both-eras', version: '3.1.4' });
    if (!isModern) {
      expect(messages(entries, { method: 'initialize', type: 'request' })[0]).toMatchObject({ protocolVersion: '2025-11-25', effect: 'read' });
      expect(messages(entries, { method: 'initialize', type: 'result' })[0]).toMatchObject({ protocolVersion: '2025-11-25', outcome: 'ok' });
    }
    const close = entries.filter((entry) => entry.kind === 'close').at(-1)!;
    expect(close).toMatchObject({ reason: 'client closed' });
  },
);
