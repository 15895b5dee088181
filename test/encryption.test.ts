/**
 * Encrypted payload segments with the real programs: a key in a file, and commands that stand for a KMS. What is recorded is in no byte of any file, whoever has the
 * key reads and verifies it, whoever has not is told so, and an erasure closes the backups.
 */
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { echoServer, until, World } from './support-processes.ts';

let world: World;
beforeEach(() => {
  world = new World('encryption');
  mkdirSync(world.keysHome, { recursive: true });
});
afterEach(() => world.end());

const secret = 'Aurora-4711-borealis';

function configure(text: string): void {
  writeFileSync(join(world.keysHome, 'sworn.yaml'), text);
}

/** Records a call with each text, and ends the connection. */
async function record(...texts: string[]): Promise<void> {
  const tap = world.sworn(['run', '--ledger', world.ledger, '--name', 'echo', '--', process.execPath, echoServer, join(world.folder, 'server.log')]);
  let output = '';
  tap.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  for (const [i, text] of texts.entries()) {
    const params = { name: 'note', arguments: { text } };
    tap.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id: i + 1, method: 'tools/call', params })}\n`);
    await until('an answer', () => output.split('\n').length > i + 1);
  }
  tap.stdin.end();
  await until('the end of the tap', () => tap.exitCode !== null);
  rmSync(join(world.folder, 'server.log'));
}

/** Files of the world that hold a text. */
function filesWith(text: string, folder = world.folder): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => {
    const path = join(entry.parentPath, entry.name);
    try {
      return entry.isFile() && readFileSync(path).includes(text) ? [path] : [];
    } catch (error) {
      // a recorder replaces its files meanwhile
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  });
}

const at = (...words: string[]) => world.run([...words, '--ledger', world.ledger]);
const verify = (...words: string[]) => world.run(['verify', world.ledger, '--json', ...words]);
const reportOf = (stdout: string) => JSON.parse(stdout) as { exit: number; unopenedSegments: number; contentBytes: number; headline: string };
const callOf = (...words: string[]): string => /^\s*(\d+) .*→ tools\/call/m.exec(at('log', ...words).stdout)![1]!;
const ended = () => at('recorder', 'stop');

/** `spec/verify.py`, the second reading, where it can run. */
const isThere = (command: string, ...words: string[]): boolean => spawnSync(command, words).status === 0;
const readsTwice = isThere('python3', '-c', 'import sys; sys.exit(sys.version_info < (3, 9))') && isThere('openssl', 'pkeyutl', '-help');

function expectSecondReading(status: number, words: string, ledger = world.ledger): void {
  if (!readsTwice) return;
  const read = spawnSync('python3', [join(import.meta.dirname, '..', 'spec', 'verify.py'), ledger], { encoding: 'utf8', env: world.env });
  expect(`${read.stdout}${read.stderr}`).toContain(words);
  expect(read.status).toBe(status);
}

test('with a key in a file [encrypted-file, encrypted-closed, encrypted-backup]', async () => {
  const key = join(world.folder, 'wrapping.key');
  writeFileSync(key, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  configure(`encryption: { key: 'file:${key}' }\n`);
  await record(secret, 'x'.repeat(3 * 1024 * 1024) + secret, 'something else that stays');
  expect(filesWith(secret)).toEqual([]);
  expect(at('show', callOf()).stdout).toContain(secret);
  expect(at('recorder', 'status').stdout).toMatch(/^payload +encrypted at rest from now on, under the key [0-9a-f]{8}$/m);
  expect(at('find', '--value', secret).status).toBe(0);
  ended();
  expect(filesWith(secret)).toEqual([]);
  const holds = reportOf(verify().stdout);
  expect(holds).toMatchObject({ exit: 0, unopenedSegments: 0 });
  expect(holds.contentBytes).toBeGreaterThan(3 * 1024 * 1024);
  expectSecondReading(0, 'entries hold');

  // proofs and bundles are for others: their content is in the clear
  expect(at('prove', callOf(), '-o', join(world.folder, 'call.tlog-proof')).status).toBe(0);
  expect(world.run(['verify', join(world.folder, 'call.tlog-proof')]).stdout).toContain(secret);
  rmSync(join(world.folder, 'call.tlog-proof'));

  // without the key: nothing is tampered with, nothing concluded about content, and what the log says is still said
  renameSync(key, `${key}.gone`);
  const closed = verify();
  expect(closed.status).toBe(3);
  expect(reportOf(closed.stdout)).toMatchObject({ exit: 3, unopenedSegments: 1, contentBytes: 0 });
  expect(reportOf(closed.stdout).headline).toMatch(/content not checked: 1 segment\(s\) encrypted, and no key/);
  expect(verify('--no-payloads').status).toBe(0);
  expectSecondReading(3, 'encrypted segment(s) was not checked');
  expect(at('log').stdout).toContain('tools/call');
  const shown = at('show', callOf());
  expect(shown.stdout).not.toContain(secret);
  expect(shown.stderr).toMatch(/encrypted segment\(s\) could not be opened: the key file .* is not there/);
  // another key is told from content that was changed
  writeFileSync(key, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  expect(verify().status).toBe(3);
  expect(verify().stdout).toContain('another wrapping key');
  expectSecondReading(3, 'is another one');
  const file = join(world.ledger, 'payload', '0'.repeat(16));
  renameSync(`${key}.gone`, key);
  const bytes = readFileSync(file);
  const changed = Buffer.from(bytes);
  changed[changed.length - 3]! ^= 1;
  writeFileSync(file, changed);
  expect(verify().status).toBe(1);
  expectSecondReading(1, 'is damaged');
  writeFileSync(file, withChecksums(changed));
  expect(verify().status).toBe(1);
  expectSecondReading(1, 'TAMPERED');
  writeFileSync(file, bytes);

  const backup = join(world.folder, 'backup');
  cpSync(world.ledger, backup, { recursive: true });
  expect(world.run(['find', '--value', secret, '--ledger', backup]).status).toBe(0);
  expect(at('recorder', 'start').status).toBe(0);
  const erased = at('erase', '--yes', '--json', '--path', '$.params.arguments.text', '--session', sessionOf());
  expect(erased.status).toBe(0);
  ended();
  expect(filesWith(secret)).toEqual([]);
  expect(at('find', '--value', secret).status).toBe(1);
  const unreadable = world.run(['find', '--value', secret, '--ledger', backup]);
  expect(unreadable.status).toBe(1);
  expect(unreadable.stderr).toContain('could not be opened');
  expect(reportOf(verify().stdout)).toMatchObject({ exit: 0, unopenedSegments: 0 });
  expectSecondReading(0, 'entries hold');
}, 120_000);

/** The same with a right checksum on every record: what somebody would write who knows the format and not the key. */
function withChecksums(segment: Buffer): Buffer {
  for (let at = 40; at < segment.length; at += 8 + segment.readUInt32BE(at))
    segment.writeUInt32BE(crc32(segment.subarray(at + 8, at + 8 + segment.readUInt32BE(at))), at + 4);
  return segment;
}

function sessionOf(): string {
  return (JSON.parse(at('sessions', '--json').stdout.split('\n')[0]!) as { connection: string }).connection;
}

test('with commands that stand for a KMS, each asked once in a process [encrypted-command]', async () => {
  // XOR with a key that only it has; it writes down what it was asked for
  const kms = join(world.folder, 'kms.mjs');
  const asked = join(world.folder, 'kms.log');
  writeFileSync(
    kms,
    `#!${process.execPath}
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
if (existsSync(${JSON.stringify(`${kms}.down`)})) process.exit(1);
appendFileSync(${JSON.stringify(asked)}, process.argv[2] + ' ' + process.ppid + '\\n');
const bytes = readFileSync(0);
for (let i = 0; i < bytes.length; i++) bytes[i] ^= 0x5a + i;
process.stdout.write(bytes.toString('base64') + '\\n');
`,
  );
  chmodSync(kms, 0o700);
  const words = (): string[] => (existsSync(asked) ? readFileSync(asked, 'utf8').trim().split('\n') : []);
  configure(`encryption: { wrap: ['${kms}', 'wrap'], unwrap: ['${kms}', 'unwrap'] }\n`);
  await record(secret);
  await record('another connection');
  // the recorder has tried once whether what it wraps can be opened
  expect(words().map((line) => line.split(' ')[0])).toEqual(['wrap', 'unwrap']);
  expect(filesWith(secret)).toEqual([]);
  expect(at('show', callOf()).stdout).toContain(secret);
  expect(words()).toHaveLength(3);
  // nobody is asked for what stands in the log
  at('log');
  at('sessions', '--json');
  const before = words().length;
  expect(before).toBeLessThanOrEqual(4);

  const backup = join(world.folder, 'backup');
  cpSync(world.ledger, backup, { recursive: true });
  const index = callOf();
  const kmsBefore = words().length;
  expect(at('erase', '--yes', '--index', index).status).toBe(0);
  // neither the recorder, which has it open, nor the command, which reads no content
  expect(words()).toHaveLength(kmsBefore);
  ended();
  expect(verify().status).toBe(0);
  expect(world.run(['find', '--value', secret, '--ledger', backup]).status).toBe(1);

  expectSecondReading(0, 'entries hold');

  // several segments, one question
  const last = words().length;
  expect(readdirSync(join(world.ledger, 'payload')).length).toBe(2);
  expect(verify().status).toBe(0);
  expect(words()).toHaveLength(last + 1);

  // a KMS that does not answer: nothing is recorded in the clear instead
  writeFileSync(`${kms}.down`, '');
  expect(verify().status).toBe(3);
  expect(verify().stdout).toContain('and gave no answer');
  const started = at('recorder', 'start');
  expect(started.status).toBe(66);
  expect(started.stderr).toMatch(/error: payload cannot be encrypted: .*kms\.mjs ended with status 1 and gave no answer/);
}, 120_000);

test('switched on and off while messages pass [encrypted-switched]', async () => {
  const key = join(world.folder, 'wrapping.key');
  writeFileSync(key, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  configure('{}\n');
  const magics = () =>
    readdirSync(join(world.ledger, 'payload')).map((name) => readFileSync(join(world.ledger, 'payload', name)).toString('latin1', 0, 8));
  await record(`plain ${secret}`);
  configure(`encryption: { key: 'file:${key}.wrong' }\n`);
  const wrong = at('policy', 'reload');
  expect(wrong.status).not.toBe(0);
  expect(`${wrong.stdout}${wrong.stderr}`).toContain('is not there');
  await record('still plain');
  expect(magics()).toEqual(['SWORNPL1']);
  configure(`encryption: { key: 'file:${key}' }\n`);
  expect(at('policy', 'reload').status).toBe(0);
  await record('Borealis-0815');
  expect(filesWith('Borealis-0815')).toEqual([]);
  expect(magics()).toEqual(['SWORNPL1', 'SWORNPE1']);
  configure('{}\n');
  expect(at('policy', 'reload').status).toBe(0);
  await record('plain again');
  expect(magics()).toEqual(['SWORNPL1', 'SWORNPE1', 'SWORNPL1']);
  ended();
  expect(verify().status).toBe(0);
  expect(at('find', '--value', 'Borealis-0815').status).toBe(0);
  // what cannot be opened cannot be erased in: the key is what is missing
  const index = callOf('--text', 'Borealis-0815');
  renameSync(key, `${key}.gone`);
  const erased = at('erase', '--yes', '--index', index, '--reason', 'GDPR request 44');
  expect(erased.status).toBe(66);
  expect(erased.stderr).toMatch(/cannot be opened: .+\n *sworn: hint: put the key back/);
}, 120_000);

test('a key file that moves [encrypted-file]', async () => {
  const key = join(world.folder, 'wrapping.key');
  writeFileSync(key, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  configure(`encryption: { key: 'file:${key}' }\n`);
  await record(secret);
  // while the recorder runs
  renameSync(key, `${key}.second`);
  configure(`encryption: { key: 'file:${key}.second' }\n`);
  expect(at('policy', 'reload').status).toBe(0);
  expect(at('show', callOf()).stdout).toContain(secret);
  ended();
  expect(reportOf(verify().stdout)).toMatchObject({ exit: 0, unopenedSegments: 0 });
  // and while none does
  renameSync(`${key}.second`, `${key}.third`);
  configure(`encryption: { key: 'file:${key}.third' }\n`);
  expect(at('recorder', 'start').status).toBe(0);
  expect(at('show', callOf()).stdout).toContain(secret);
  // the same key goes on with the same segment
  expect(readdirSync(join(world.ledger, 'payload'))).toHaveLength(1);
}, 120_000);
