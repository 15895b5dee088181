/**
 * Erasing with real processes: what was erased is in no byte of any file, whatever it was written as; what was not is untouched; the ledger verifies; and a recorder
 * that is killed at any moment of it goes on where it was.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { isLong } from '../long.ts';
import { gone, line, messages, node, root, Stage, sworn, Tap, type Puppet, type Recorded } from './stage.ts';

/** How a text may stand in a file: as it is, as JSON writes it in several ways, and in base64 at each of its three places. */
function formsOf(value: string): Buffer[] {
  const json = JSON.stringify(value).slice(1, -1);
  const ascii = json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const texts = [value, json, JSON.stringify(json).slice(1, -1), ascii, JSON.stringify(ascii).slice(1, -1)];
  const forms = new Set<string>(texts);
  for (const text of texts) {
    for (let shift = 0; shift < 3; shift++) {
      const base64 = Buffer.concat([Buffer.alloc(shift), Buffer.from(text)])
        .toString('base64')
        .replace(/=+$/, '');
      // without the characters that what stands around it decides too
      forms.add(base64.slice(shift === 0 ? 0 : shift + 1, -1));
    }
    forms.add(Buffer.from(text).toString('hex'));
  }
  return [...forms].map((form) => Buffer.from(form));
}

/** Files of the stage that hold a value in any form. */
function filesWith(stage: Stage, value: string): string[] {
  const forms = formsOf(value);
  const found: string[] = [];
  const look = (folder: string): void => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      // a temporary one of a process that is at work may be gone
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat?.isDirectory()) look(path);
      else if (stat?.isFile()) {
        const bytes = readFileSync(path);
        if (forms.some((form) => bytes.includes(form))) found.push(path.slice(stage.folder.length + 1));
      }
    }
  };
  look(stage.folder);
  return found;
}

const secret = 'Zoë "Q" 123-45-6789/x';
const city = 'Paris of Texas';
/** A shell between the client and its tap: who asks the recorder here must not be below a tapped client. */
const apart = ['sh', '-c', '"$@"; exit $?', 'sh'];

interface Session {
  tap: Tap;
  server: Puppet;
  ask(method: string, params: unknown, result?: unknown, id?: unknown): Promise<void>;
}

async function session(stage: Stage, options: string[] = []): Promise<Session> {
  const { tap, server } = await stage.puppet({ options, before: apart });
  let next = 1;
  let asked = 0;
  const ask = async (method: string, params: unknown, result: unknown = { ok: true }, id: unknown = next++): Promise<void> => {
    await tap.write(line({ jsonrpc: '2.0', id, method, params }));
    await server.input.count(++asked);
    await server.write(line({ jsonrpc: '2.0', id, result }));
    await tap.output.count(asked);
  };
  await ask('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'client-0815-of-them', version: '1' } });
  return { tap, server, ask };
}

/** The entry of a call, with its frame. */
function callOf(entries: Recorded[], text: string): Recorded {
  return entries.find(({ frame }) => frame?.includes(text))!;
}

async function verified(stage: Stage): Promise<string> {
  const { code, stdout, stderr } = await stage.command('verify', stage.ledger);
  expect(`${stdout}${stderr}`).not.toContain('erasure-unfinished');
  expect(code, stdout).toBe(0);
  return stdout;
}

const erase = (stage: Stage, ...words: string[]) => stage.command('erase', '--ledger', stage.ledger, '--yes', ...words);

describe('a field', () => {
  test('goes from every byte of every file, the rest of its message stays, and shows where it was [erase-field]', async () => {
    const stage = new Stage();
    const { tap, ask } = await session(stage);
    await ask('tools/call', { name: 'save', arguments: { ssn: secret, city, note: `for ${secret}, told two times` } });
    await ask('tools/call', { name: 'save', arguments: { ssn: 'another 987-65-4321', city } });
    await tap.close();
    const before = stage.entries();
    const { index } = callOf(before, 'told two');
    expect(filesWith(stage, secret)).not.toEqual([]);

    const dry = await erase(stage, '--index', String(index), '--path', '$.params.arguments.ssn', '--dry-run');
    expect(dry).toMatchObject({ code: 0 });
    expect(dry.stdout).toContain('would be erased');
    expect(filesWith(stage, secret)).not.toEqual([]);

    const done = await erase(stage, '--index', String(index), '--path', '$.params.arguments.ssn', '--reason', 'GDPR request 44');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout).toContain('exports, reports, backups and copies made before are not erased');
    expect(filesWith(stage, secret)).toEqual([]);

    const report = await verified(stage);
    expect(report).toContain('1 segment(s) of 1 entries were erased by 1 erasure(s)');
    const shown = await stage.command('show', '--ledger', stage.ledger, String(index));
    expect(shown.stdout).toMatch(/"ssn": "▒▒▒ erased \d+ B ▒▒▒"/);
    expect(shown.stdout).toMatch(/"note": "for ▒▒▒ erased \d+ B ▒▒▒, told two times"/);
    expect(shown.stdout).toContain(`"city": "${city}"`);
    expect((await stage.command('log', '--ledger', stage.ledger, '--text', 'told two times')).stdout).toContain(` ${index} `);
    // everything else is as it was, byte for byte
    const after = stage.entries();
    for (const entry of before) if (entry.index !== index) expect(after[entry.index]).toEqual(entry);
    const erasure = after.find(({ kind }) => kind === 'erasure')!;
    expect(erasure).toMatchObject({ scope: 'index', fields: true, targets: [{ index, segments: [0] }], opened: { reason: 'GDPR request 44' } });
    expect(erasure['selfAdministered']).toBe(true);

    // another field of the same message, out of what is left of it
    expect(await erase(stage, '--index', String(index), '--path', '$..city')).toMatchObject({ code: 0 });
    const again = await stage.command('show', '--ledger', stage.ledger, String(index));
    expect(again.stdout).toMatch(/"city": "▒▒▒ erased 14 B ▒▒▒"/);
    expect(again.stdout).toMatch(/"ssn": "▒▒▒ erased \d+ B ▒▒▒"/);
    // the other message has it still; then the session goes, and with it what is left of fields
    expect(filesWith(stage, city)).not.toEqual([]);
    const { connection } = before.find(({ kind }) => kind === 'open')!;
    expect(await erase(stage, '--session', connection as string)).toMatchObject({ code: 0 });
    for (const text of [city, '987-65-4321', 'told two times', 'client-0815']) expect(filesWith(stage, text), text).toEqual([]);
    expect(await verified(stage)).toContain('erased by 3 erasure(s)');
    expect((await stage.finished()).at(-1)!.kind).toBe('stop');
  });

  test('of every message of a session, in batches, in long frames and in what names them elsewhere [erase-field-session]', async () => {
    const stage = new Stage();
    const { tap, server, ask } = await session(stage);
    await ask('tools/call', { name: 'save', arguments: { ssn: secret } });
    await ask('resources/read', { uri: `file:///${secret}` });
    const filler = 'x'.repeat(2_500_000);
    await ask('tools/call', { name: 'save', arguments: { a: filler, ssn: secret, b: filler } });
    await tap.write(
      line([
        { jsonrpc: '2.0', method: 'a', params: { arguments: { ssn: secret } } },
        { jsonrpc: '2.0', method: 'b', params: { keep: city } },
      ]),
    );
    await server.input.until((input) => input.text.includes(city));
    await tap.close();
    const entries = stage.entries();
    const { connection } = entries.find(({ kind }) => kind === 'open')!;
    const long = messages(entries, { parts: 5 });
    expect(long).toHaveLength(1);
    const done = await erase(stage, '--session', (connection as string).slice(0, 8), '--path', '$..ssn', '--path', '$.params.uri');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(filesWith(stage, secret)).toEqual([]);
    expect(filesWith(stage, city)).not.toEqual([]);
    await verified(stage);
    const shown = await stage.command('show', '--ledger', stage.ledger, '--full', '--json', '--payload', String(long[0]!.index));
    const { payload, payloadErasedBytes } = JSON.parse(shown.stdout) as { payload: string; payloadErasedBytes: number };
    expect(payload.length).toBeGreaterThan(5_000_000);
    expect(payloadErasedBytes).toBe(Buffer.byteLength(JSON.stringify(secret)) - 2);
    await stage.finished();
  });

  test('that no path leads to is not said to be erased; a name in the tree is said to stay [erase-field-leaf]', async () => {
    const stage = new Stage();
    const { tap, ask } = await session(stage);
    await ask('echo', { city }, { said: city });
    await ask('tools/call', { name: 'tool-of-jane-doe', arguments: { who: 'tool-of-jane-doe', ssn: secret } });
    await tap.close();
    const { index } = callOf(stage.entries(), 'jane-doe');
    const echo = await erase(stage, '--index', String(index - 2), '--path', '$.params.city');
    expect(echo.stdout).toContain(`NOT erased: messages ${index - 1} of the same session say it too`);
    const nothing = await erase(stage, '--index', String(index), '--path', '$.params.arguments.absent');
    expect(nothing).toMatchObject({ code: 0 });
    expect(nothing.stdout).toContain('nothing is erased');
    const named = await erase(stage, '--index', String(index), '--path', '$.params.arguments.who');
    expect(named.stdout).toContain(`NOT erased: the entries ${index} say it in a field of their own`);
    const saying = await erase(stage, '--index', String(index), '--path', '$.params.arguments.ssn', '--reason', `the number of ${secret}`);
    expect(saying.code).toBe(2);
    expect(saying.stderr).toContain('the reason says what is to be erased');
    expect(filesWith(stage, secret)).not.toEqual([]);
    for (const words of [
      ['--index', '1000000'],
      ['--index', 'x'],
      ['--path', '$.a'],
      ['--index', '1', '--session', 'ab'],
      ['--index', '1', '--path', 'ssn'],
    ])
      expect((await erase(stage, ...words)).code, words.join(' ')).toBeGreaterThan(1);
    await verified(stage);
  });
});

describe('whoever could not be asked', () => {
  test('must have said --yes, or nothing is done; on a terminal the answer decides [erase-asks]', async () => {
    const stage = new Stage();
    const { tap, ask } = await session(stage);
    await ask('tools/call', { name: 'save', arguments: { ssn: secret } });
    await tap.close();
    const { index } = callOf(stage.entries(), '"save"');
    const shell = (words: string): string => `${words.replace('ERASE', '"$@"')}; exit $?`;
    const command = [node, sworn, 'erase', '--ledger', stage.ledger, '--index', String(index)];
    const ended = async (child: ChildProcess): Promise<Tap> => {
      const one = new Tap(stage.started(child), true);
      await one.ended;
      return one;
    };
    // a real terminal
    const pty = 'import pty,sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)';
    const onTerminal = (...words: string[]): ChildProcess =>
      spawn('python3', ['-c', pty, ...words], { cwd: stage.folder, env: { ...stage.env, TERM: 'xterm' }, stdio: ['pipe', 'pipe', 'pipe'] });
    const before = stage.entries();
    const refused = await ended(
      spawn('sh', ['-c', shell('echo n | ERASE'), 'sh', ...command], { env: stage.env, stdio: ['ignore', 'pipe', 'pipe'] }),
    );
    expect(await refused.ended).toMatchObject({ code: 2 });
    expect([refused.output.text, refused.errors.text]).toEqual([
      '',
      'sworn: error: this cannot be undone, and nobody can be asked: stdout is no terminal\nsworn: hint: `--dry-run` says what would go; `--yes` does it without asking\n',
    ]);
    for (const [words, which] of [
      ['echo y | ERASE', 'stdin'],
      ['ERASE 2>&1 | cat', 'stdout'],
    ] as const) {
      const { output } = await ended(onTerminal('sh', '-c', shell(words), 'sh', ...command));
      expect(output.text).toContain(`${which} is no terminal`);
    }
    const asked = new Tap(stage.started(onTerminal(...command)), true);
    await asked.output.until(({ text }) => text.includes('Erase? [y/N] '));
    expect(asked.output.text).toContain('will be erased');
    await asked.write('n\n');
    expect(await asked.ended).toMatchObject({ code: 1 });
    expect(asked.output.text).toContain('nothing is erased');
    expect(stage.entries()).toEqual(before);
    const again = new Tap(stage.started(onTerminal(...command)), true);
    await again.output.until(({ text }) => text.includes('Erase? [y/N] '));
    await again.write('y\n');
    expect(await again.ended).toMatchObject({ code: 0 });
    expect(filesWith(stage, secret)).toEqual([]);
    await stage.finished();
  });
});

describe('an item of a batch', () => {
  test('goes alone, and its neighbours stay [erase-item]', async () => {
    const stage = new Stage();
    const { tap, server } = await session(stage);
    const items = ['one 111-22', secret, 'three 333-44'].map((ssn) => ({ jsonrpc: '2.0', method: 'a', params: { ssn } }));
    await tap.write(line(items));
    await server.input.until((input) => input.text.includes('333-44'));
    await tap.close();
    const second = stage.entries().find(({ kind, item }) => kind === 'message' && item === 1)!;
    expect(await erase(stage, '--index', String(second.index))).toMatchObject({ code: 0, stderr: '' });
    expect(filesWith(stage, secret)).toEqual([]);
    const show = async (index: number): Promise<string> => (await stage.command('show', '--ledger', stage.ledger, String(index))).stdout;
    expect(await show(second.index)).toMatch(/^▒▒▒ erased \d+ B ▒▒▒$/m);
    expect(await show(second.index - 1)).toContain('111-22');
    expect(await show(second.index + 1)).toContain('"ssn": "three 333-44"');
    await verified(stage);
    expect(await erase(stage, '--index', String(second.index + 1), '--path', '$.params.ssn')).toMatchObject({ code: 0, stderr: '' });
    expect(filesWith(stage, '333-44')).toEqual([]);
    expect(await show(second.index - 1)).toContain('111-22');
    await stage.finished();
  });
});

describe('a session', () => {
  test('goes while it is recorded: messages go on, and nothing beside the ledger says it again [erase-live]', async () => {
    const stage = new Stage();
    mkdirSync(join(stage.home, '.config', 'sworn'), { recursive: true, mode: 0o700 });
    writeFileSync(join(stage.home, '.config', 'sworn', 'sworn.yaml'), 'policy: { rules: [{ name: no, deny: true, tool: forbidden }] }\n');
    const client = 'client-of-jane-doe-0815';
    // what an entry says itself is its beginning
    const longId = `${'y'.repeat(80)}-${secret}`;
    const { tap, server } = await stage.puppet({ before: apart });
    await tap.write(
      line({
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: client, version: '1' } },
      }),
    );
    await server.input.count(1);
    await server.write(line({ jsonrpc: '2.0', id: 1, result: { tools: [{ name: 'x' }] } }));
    await tap.write(line({ jsonrpc: '2.0', id: longId, method: 'tools/call', params: { name: 'save', arguments: { ssn: secret } } }));
    await tap.write(line({ jsonrpc: '2.0', id: `z${longId}`, method: 'tools/call', params: { name: 'forbidden' } }));
    await server.input.count(2);
    await tap.output.count(2);
    const { connection } = (await stage.until((entries) => entries.some(({ kind }) => kind === 'open'))).find(({ kind }) => kind === 'open')!;
    // a recorder that ends in order leaves a snapshot, from which the next one knows what waits
    await stage.stopRecorder();
    for (const text of [secret, client]) expect(filesWith(stage, text), text).toContain('ledger/run/state.json');
    while (stage.recorderPid === undefined) await sleep(20);
    const done = await erase(stage, '--session', connection as string);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    for (const text of [secret, client]) expect(filesWith(stage, text), text).toEqual([]);
    await tap.write(line({ jsonrpc: '2.0', id: 9, method: 'tools/call', params: { name: 'save', arguments: { after: city } } }));
    await server.input.count(3);
    // and not by the next recorder either, which takes up what this one knew
    await stage.stopRecorder('SIGKILL');
    await tap.write(line({ jsonrpc: '2.0', id: 10, method: 'tools/call', params: { name: 'save', arguments: { after: 'again' } } }));
    await server.input.count(4);
    await sleep(1_500);
    for (const text of [secret, client]) expect(filesWith(stage, text), text).toEqual([]);
    expect(filesWith(stage, city)).not.toEqual([]);
    await tap.close();
    await stage.finished();
    for (const text of [secret, client]) expect(filesWith(stage, text), text).toEqual([]);
  });

  test('of a subject goes, and no other; who lives below a tapped client may not ask [erase-subject]', async () => {
    const stage = new Stage();
    const jane = await session(stage, ['--label', 'user=jane']);
    await jane.ask('tools/call', { name: 'save', arguments: { ssn: secret } });
    const joe = await session(stage, ['--label', 'user=joe']);
    await joe.ask('tools/call', { name: 'save', arguments: { ssn: city } });
    const { index } = callOf(stage.entries(), '"save"');
    // a server is a child of its tap
    const out = join(stage.folder, 'out.json');
    const script = `const{spawnSync}=require('child_process');require('fs').writeFileSync(${JSON.stringify(out)},JSON.stringify(spawnSync(process.execPath,${JSON.stringify([sworn, 'erase', '--ledger', stage.ledger, '--yes', '--index', String(index)])},{encoding:'utf8'})))`;
    await stage.tap([node, '-e', script]).ended;
    expect(JSON.parse(readFileSync(out, 'utf8'))).toMatchObject({ status: 77 });
    await jane.tap.close();
    await joe.tap.close();
    const none = await erase(stage, '--subject', 'jan');
    expect(none).toMatchObject({ code: 3 });
    const done = await erase(stage, '--subject', 'user=jane', '--json');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(done.stdout)).toMatchObject({ held: [], inLeaf: [] });
    expect(filesWith(stage, secret)).toEqual([]);
    expect(filesWith(stage, city)).not.toEqual([]);
    await verified(stage);
    expect((await erase(stage, '--older-than', '0s')).code).toBe(0);
    expect(filesWith(stage, city)).toEqual([]);
    await stage.finished();
  });
});

describe('a hold', () => {
  test('keeps what it covers from everybody, names itself, and can be taken back [erase-hold]', async () => {
    const stage = new Stage();
    const one = await session(stage);
    await one.ask('tools/call', { name: 'save', arguments: { ssn: secret } });
    await one.tap.close();
    const two = await session(stage);
    await two.ask('tools/call', { name: 'save', arguments: { ssn: city } });
    await two.tap.close();
    const entries = stage.entries();
    const { connection, index } = callOf(entries, '123-45');
    const held = await stage.command(
      'hold',
      'add',
      '--ledger',
      stage.ledger,
      '--session',
      (connection as string).slice(0, 6),
      '--reason',
      'litigation',
    );
    expect(held).toMatchObject({ code: 0, stderr: '' });
    const id = /^held, entry (\d+)/.exec(held.stdout)![1]!;
    expect((await stage.command('recorder', 'status', '--ledger', stage.ledger)).stdout).toContain(
      `${id}: session ${(connection as string).slice(0, 6)}: litigation`,
    );
    for (const words of [
      ['--index', String(index)],
      ['--session', connection as string],
      ['--index', String(index), '--path', '$..ssn'],
      ['--index', id],
    ]) {
      const refused = await erase(stage, ...words);
      expect(refused, words.join(' ')).toMatchObject({ code: 1 });
      expect(refused.stderr).toContain(`hold ${id} (litigation) covers`);
    }
    // what it would do is said as it would be done, and ends as that would
    const none = await erase(stage, '--session', connection as string, '--dry-run');
    expect(none).toMatchObject({ code: 1 });
    const kept = entries.filter((entry) => entry['connection'] === connection).length;
    expect(none.stdout).toMatch(new RegExp(`^nothing would be erased\nheld, and not erased: ${kept} entries by hold ${id}: .*litigation\n`));
    expect(none.stderr).toContain(`hold ${id} (litigation) covers ${kept} entries`);
    const rest = entries.filter((entry) => entry['connection'] !== undefined && entry['connection'] !== connection).map((entry) => entry.index);
    const partly = await erase(stage, '--older-than', '0s', '--dry-run');
    expect(partly).toMatchObject({ code: 1 });
    expect(partly.stdout).toContain(`the content of ${rest.length} entries would be erased, of 1 session: ${rest[0]}–${rest.at(-1)}\nheld, `);
    const told = await erase(stage, '--older-than', '0s', '--dry-run', '--json');
    expect(told).toMatchObject({ code: 1 });
    expect(JSON.parse(told.stdout)).toMatchObject({
      entries: rest.length,
      targets: [[rest[0], rest.at(-1)]],
      held: [{ hold: Number(id), entries: kept }],
    });
    expect(filesWith(stage, secret)).not.toEqual([]);
    // the recorder is killed: the next one knows it
    await stage.stopRecorder('SIGKILL');
    const some = await erase(stage, '--older-than', '0s');
    expect(some).toMatchObject({ code: 1 });
    expect(some.stdout).toContain('erased: ');
    expect(some.stderr).toContain(`hold ${id} (litigation) covers`);
    expect(filesWith(stage, secret)).not.toEqual([]);
    expect(filesWith(stage, city)).toEqual([]);
    expect((await stage.command('hold', 'list', '--ledger', stage.ledger)).stdout).toContain('litigation');
    expect(await stage.command('hold', 'release', id, '--ledger', stage.ledger)).toMatchObject({ code: 0 });
    expect(await stage.command('hold', 'list', '--ledger', stage.ledger)).toMatchObject({ stdout: 'nothing is held\n' });
    expect(await erase(stage, '--session', connection as string)).toMatchObject({ code: 0 });
    expect(filesWith(stage, secret)).toEqual([]);
    await stage.finished();
  });
});

describe('retention', () => {
  test('erases what is older than the policy says, at the start of the recorder, and not what is held [erase-retention]', async () => {
    const stage = new Stage();
    const one = await session(stage, ['--label', 'user=jane']);
    await one.ask('tools/call', { name: 'save', arguments: { ssn: secret } });
    await one.tap.close();
    const two = await session(stage, ['--label', 'user=joe']);
    await two.ask('tools/call', { name: 'save', arguments: { ssn: city } });
    await two.tap.close();
    const held = await stage.command('hold', 'add', '--ledger', stage.ledger, '--subject', 'joe', '--reason', 'litigation');
    await stage.stopRecorder();
    const config = join(stage.home, '.config', 'sworn', 'sworn.yaml');
    writeFileSync(config, 'retention: { content: 1s }\n');
    await sleep(1_100);
    expect(await stage.command('recorder', 'start', '--ledger', stage.ledger)).toMatchObject({ code: 0 });
    await stage.until((entries) => entries.some(({ kind }) => kind === 'erasure'));
    while (filesWith(stage, secret).length > 0) await sleep(20);
    expect(filesWith(stage, city)).not.toEqual([]);
    const erasure = stage.entries().find(({ kind }) => kind === 'erasure')!;
    expect(erasure).toMatchObject({ scope: 'age', policyDigest: expect.stringMatching(/^[0-9a-f]{64}$/) as string });
    expect(erasure['by']).toBeUndefined();
    await verified(stage);
    // nothing is erased twice
    const many = stage.entries().filter(({ kind }) => kind === 'erasure').length;
    expect(await stage.command('policy', 'reload', '--ledger', stage.ledger)).toMatchObject({ code: 0 });
    const id = /^held, entry (\d+)/.exec(held.stdout)![1]!;
    expect(stage.entries().filter(({ kind }) => kind === 'erasure')).toHaveLength(many);
    expect(await stage.command('hold', 'release', id, '--ledger', stage.ledger)).toMatchObject({ code: 0 });
    while (filesWith(stage, city).length > 0) await sleep(20);
    await stage.finished();
  });
});

describe('killed', () => {
  /** A ledger with 40 MiB in it, whose writing anew takes a while. */
  async function large(): Promise<Stage> {
    const stage = new Stage();
    const { tap, server } = await stage.puppet({ keep: false, before: apart });
    const bulk = Buffer.alloc(900_000, 0x61).toString();
    let sent = 0;
    for (let i = 0; i < 40; i++) {
      const text = line({ jsonrpc: '2.0', method: 'notifications/message', params: { i, ssn: `${secret} ${i}`, bulk } });
      sent += Buffer.byteLength(text);
      await tap.write(text);
      await server.input.size(sent);
    }
    await tap.close();
    return stage;
  }

  const newest = (stage: Stage): Buffer => {
    const payload = join(stage.ledger, 'payload');
    const name = readdirSync(payload)
      .filter((one) => /^\d{16}$/.test(one))
      .sort()
      .at(-1)!;
    return readFileSync(join(payload, name));
  };
  const copies = (stage: Stage): string[] => readdirSync(join(stage.ledger, 'payload')).filter((name) => name.startsWith('.'));

  const moments: [string, (stage: Stage) => boolean][] = [
    ['when the entry is there', (stage) => newest(stage).includes('"kind":"erasure"')],
    ['when a copy is begun', (stage) => copies(stage).length > 0],
    [
      'when a copy has grown',
      (stage) =>
        copies(stage).some((name) => existsSync(join(stage.ledger, 'payload', name)) && lstatSync(join(stage.ledger, 'payload', name)).size > 20e6),
    ],
    [
      'when the copy is in its place',
      (stage) =>
        newest(stage).includes('"kind":"erasure"') &&
        copies(stage).length === 0 &&
        filesWith(stage, `${secret} 3`).every((path) => !path.startsWith('ledger/payload/0')),
    ],
  ];

  for (const [name, isNow] of moments) {
    // while a copy is written a recorder dies below, too: SWORN_LONG=1 for the others
    if (!isLong && name !== 'when the entry is there') continue;
    test(`${name}, the next recorder goes on [erase-killed]`, async () => {
      const stage = await large();
      const child = stage.started(
        spawn(node, [sworn, 'erase', '--ledger', stage.ledger, '--yes', '--older-than', '0s'], { cwd: root, env: stage.env, stdio: 'ignore' }),
      );
      const ended = new Promise((done) => child.on('exit', done));
      const pid = stage.recorderPid!;
      while (!isNow(stage) && child.exitCode === null) await sleep(1);
      process.kill(pid, 'SIGKILL');
      await gone(pid);
      await ended;
      const left = filesWith(stage, secret);
      expect(await stage.command('recorder', 'start', '--ledger', stage.ledger)).toMatchObject({ code: 0 });
      for (let i = 0; filesWith(stage, secret).length > 0; i++) {
        if (i > 500) throw new Error(`still in ${filesWith(stage, secret).join(', ')}; before: ${left.join(', ')}`);
        await sleep(20);
      }
      expect(copies(stage)).toEqual([]);
      await verified(stage);
      const status = await stage.command('recorder', 'status', '--ledger', stage.ledger, '--json');
      expect(JSON.parse(status.stdout)).toMatchObject({ erasing: { pending: 0 } });
      await stage.finished();
    });
  }

  test('or ended in order while a copy is written, the next recorder goes on [erase-killed]', async () => {
    const stage = await large();
    const child = stage.started(
      spawn(node, [sworn, 'erase', '--ledger', stage.ledger, '--yes', '--older-than', '0s'], { cwd: root, env: stage.env, stdio: 'ignore' }),
    );
    const ended = new Promise((done) => child.on('exit', done));
    while (copies(stage).length === 0 && child.exitCode === null) await sleep(1);
    await stage.stopRecorder('SIGTERM');
    await ended;
    expect(copies(stage)).toEqual([]);
    expect(stage.entries().at(-1)!.kind).toBe('stop');
    expect(await stage.command('recorder', 'start', '--ledger', stage.ledger)).toMatchObject({ code: 0 });
    while (filesWith(stage, secret).length > 0) await sleep(20);
    await verified(stage);
    await stage.finished();
  });

  test('without a snapshot, too [erase-killed-replay]', async () => {
    const stage = await large();
    const child = stage.started(
      spawn(node, [sworn, 'erase', '--ledger', stage.ledger, '--yes', '--older-than', '0s'], { cwd: root, env: stage.env, stdio: 'ignore' }),
    );
    const ended = new Promise((done) => child.on('exit', done));
    const pid = stage.recorderPid!;
    while (copies(stage).length === 0 && child.exitCode === null) await sleep(1);
    process.kill(pid, 'SIGKILL');
    await gone(pid);
    await ended;
    const snapshot = join(stage.ledger, 'run', 'state.json');
    if (existsSync(snapshot)) writeFileSync(snapshot, 'no');
    expect(await stage.command('recorder', 'start', '--ledger', stage.ledger)).toMatchObject({ code: 0 });
    while (filesWith(stage, secret).length > 0) await sleep(20);
    await stage.finished();
  });
});
