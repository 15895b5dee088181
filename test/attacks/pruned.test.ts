/**
 * A ledger that was pruned, by real taps and a real recorder: every command reads what is left, every verifier holds it, and what is done to it is told.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, echoServer, until, World } from '../support-processes.ts';
import { summary, verifyAt } from './base.ts';

const world = new World('pruned');
const copies = join(world.folder, 'copies');
const secretary = 'Ms Prune-Away';
let end = 0;
let statement = 0;

async function session(name: string, requests: number): Promise<void> {
  const client = new Client(
    world.sworn(['run', '--ledger', world.ledger, '--name', name, '--', process.execPath, echoServer, join(world.folder, name)]),
  );
  for (let i = 0; i < requests; i++) client.request({ tag: i, who: secretary });
  await client.settled();
  client.child.stdin.end();
  await client.ended;
}

const command = (...words: string[]) => world.run([...words, '--ledger', world.ledger]);
const last = (): number => Number(/^(\d+)/.exec(command('log', '--limit', '1', '--json').stdout.replace(/.*"index":(\d+).*/s, '$1'))![1]);

beforeAll(async () => {
  mkdirSync(world.keysHome, { recursive: true });
  await session('old', 420);
  await session('new', 200);
  await world.endRecorder();
  // whoever pins it now keeps the checkpoint of everything
  cpSync(join(world.ledger, 'log/checkpoint'), join(world.folder, 'kept'));
  cpSync(world.ledger, join(world.folder, 'whole'), { recursive: true });
}, 120_000);
afterAll(async () => world.end());

async function verified(ledger = world.ledger, options: Parameters<typeof verifyAt>[2] = {}): ReturnType<typeof verifyAt> {
  rmSync(join(world.keysHome, 'known'), { force: true });
  return verifyAt(ledger, world.home, options);
}

/** A copy with something done to it. */
async function after(change: (ledger: string) => void): ReturnType<typeof verifyAt> {
  const ledger = join(copies, 'ledger');
  rmSync(copies, { recursive: true, force: true });
  cpSync(world.ledger, ledger, { recursive: true });
  change(ledger);
  return verified(ledger);
}

const bundle = (n: number): string => join('log/tile/entries', String(n).padStart(3, '0'));
const segmentsOf = (ledger: string): string[] => readdirSync(join(ledger, 'payload')).sort();

describe('pruned', () => {
  it('says what would go, keeps what a hold covers, and takes the rest [prune-verify]', async () => {
    const unasked = command('erase', '--prune-before', '850');
    expect(unasked).toMatchObject({ status: 2, stdout: '' });
    expect(unasked.stderr).toMatch(/nobody can be asked: stdout is no terminal\nsworn: hint: .*`--yes`/);
    // not even a recorder was started
    expect(await world.status()).toBeUndefined();
    const dry = command('erase', '--prune-before', '850', '--dry-run');
    expect(dry).toMatchObject({ status: 0, stderr: '' });
    expect(dry.stdout).toMatch(
      /^entries 0–767 would be deleted, for ever: text and content; their hashes stay in the tree\nthe rest stays: session [0-9a-f]{8}, which began at entry \d+, is open or younger\n/,
    );
    const held = command('hold', 'add', '--server', 'old', '--reason', 'litigation 7');
    expect(held.status).toBe(0);
    const refused = command('erase', '--yes', '--prune-before', '1000');
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('(litigation 7) keeps everything from entry');
    const dryHeld = command('erase', '--prune-before', '1000', '--dry-run');
    expect(dryHeld).toMatchObject({ status: 1, stdout: 'nothing would be pruned\n', stderr: refused.stderr });
    expect(command('hold', 'release', /entry (\d+)/.exec(held.stdout)![1]!).status).toBe(0);
    expect(command('erase', '--yes', '--prune-before', '1000', '--index', '3').status).toBe(2);
    const done = command('erase', '--yes', '--prune-before', '1000', '--reason', 'as agreed');
    expect(done).toMatchObject({ status: 0, stderr: '' });
    [end, statement] = [/^entries 0–(\d+) are pruned/.exec(done.stdout)![1]!, /^said by entry (\d+)$/m.exec(done.stdout)![1]!].map(Number) as [
      number,
      number,
    ];
    end++;
    expect([end % 256, end > 500]).toEqual([0, true]);
    await world.endRecorder();
    const result = await verified(world.ledger, { known: join(world.folder, 'kept') });
    expect(result.exit, JSON.stringify(result.findings)).toBe(0);
    expect(result.findings.find(({ code }) => code === 'pruned')!.message).toMatch(
      new RegExp(
        `^entries 0–${end - 1} were pruned on [-0-9]{10} by uid \\d+ \\(entry ${statement}\\): their hashes are in the tree, their text is gone$`,
      ),
    );
    const second = spawnSync('python3', [join(import.meta.dirname, '../../spec/verify.py'), world.ledger], { encoding: 'utf8' });
    expect(second.stdout).toMatch(new RegExp(`^entries 0 to ${end - 1} are pruned: their hashes hold, their text is gone\n\\d+ entries hold`));
    expect(second.status).toBe(0);
  });

  it('is read by every command, which say that it is pruned where somebody asks', async () => {
    for (const words of [
      ['show', '5'],
      ['prove', '5'],
      ['erase', '--yes', '--index', '5'],
    ]) {
      const { status, stderr } = command(...words);
      expect([words[0], status]).toEqual([words[0], 3]);
      expect(stderr).toContain(
        `entry 5 was pruned by uid ${process.getuid!()}, as entry ${statement} states\nsworn: hint: its hash is in the tree, and what says that it is gone: sworn show ${statement}`,
      );
    }
    expect(command('show', String(statement)).stdout).toContain(`pruned: entries 0–${end - 1} by uid`);
    for (const words of [
      ['show', String(end)],
      ['log', '--limit', '2000'],
      ['log', '--limit', '5'],
      ['sessions'],
      ['find', '--value', secretary],
      ['bundle'],
      ['policy', 'simulate'],
    ]) {
      const { status, stderr } =
        words[0] === 'policy' ? world.run(['policy', 'simulate', writtenPolicy(), '--ledger', world.ledger]) : command(...words);
      expect([words.join(' '), status, stderr]).toEqual([words.join(' '), 0, '']);
    }
    expect(world.run(['verify', join(world.folder, 'evidence.tar')]).status).toBe(0);
    expect(command('prove', String(end + 3), '-o', join(world.folder, 'one.tlog-proof')).status).toBe(0);
    expect(world.run(['verify', join(world.folder, 'one.tlog-proof')]).status).toBe(0);
    expect(world.run(['verify', world.ledger, '--workers', '2']).status).toBe(0);
    // and it goes on being written
    const before = last();
    await session('later', 3);
    await world.endRecorder();
    expect(last()).toBeGreaterThan(before);
    expect((await verified()).exit).toBe(0);

    function writtenPolicy(): string {
      const path = join(world.folder, 'candidate.yaml');
      writeFileSync(path, 'policy: { rules: [ { name: no, deny: true, tool: none } ] }\n');
      return path;
    }
  });

  it('leaves sessions that say so where their beginning is gone, and no others', () => {
    const told = (...words: string[]) =>
      command('sessions', '--json', ...words)
        .stdout.trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { server: string; connection: string; prunedBefore?: number })
        .map(({ server, prunedBefore }) => [server, prunedBefore]);
    expect(told()).toEqual([
      ['old', end],
      ['new', undefined],
      ['later', undefined],
    ]);
    const text = command('sessions').stdout;
    expect(text).toMatch(/^session +opened \(UTC\) +beginning +lasted/m);
    expect(text).toMatch(/^[0-9a-f]{8}  \S+ \S+  pruned +.* old +pruned /m);
    expect(text).toMatch(/^[0-9a-f]{8}  \S+ \S+   {9}.* new +not named /m);
    expect(text.match(/ {2}pruned/g)).toHaveLength(2);
    expect(command('sessions', '--tools').stdout.match(/^ {2}beginning pruned, with all entries before \d+/gm)).toEqual([
      `  beginning pruned, with all entries before ${end}`,
    ]);
    const whole = join(world.folder, 'whole');
    expect(world.run(['sessions', '--ledger', whole]).stdout).not.toMatch(/beginning| {2}pruned/);
  });

  it('with more taken away than is said, is told from there on [attack-pruned-more]', async () => {
    const more = await after((ledger) => rmSync(join(ledger, bundle(end / 256))));
    expect(summary(more)).toMatchObject({ exit: 3, firstBad: end, codes: expect.arrayContaining(['pruned', 'bundle-missing']) as string[] });
    const content = await after((ledger) => rmSync(join(ledger, 'payload', segmentsOf(ledger)[0]!)));
    expect(summary(content)).toMatchObject({ exit: 3, firstBad: end });
    const hashes = await after((ledger) => rmSync(join(ledger, 'log/tile/0/000')));
    expect(summary(hashes)).toMatchObject({ exit: 3, firstBad: 0, codes: expect.arrayContaining(['tile-missing']) as string[] });
  });

  it('without an entry that says so, is missing what is missing [attack-pruned-unstated]', async () => {
    const unstated = await after((ledger) => {
      rmSync(ledger, { recursive: true });
      cpSync(join(world.folder, 'whole'), ledger, { recursive: true });
      rmSync(join(ledger, bundle(0)));
      rmSync(join(ledger, 'payload', segmentsOf(ledger)[0]!));
    });
    expect(summary(unstated)).toMatchObject({ exit: 3, firstBad: 0 });
    // the files of before, under the checkpoint of before: everything is there
    expect((await verified(join(world.folder, 'whole'))).exit).toBe(0);
  });

  it('with another statement, or other hashes, is changed [attack-pruned-edited]', async () => {
    const n = Math.floor(statement / 256);
    const edited = await after((ledger) => {
      const folder = join(ledger, 'log/tile/entries');
      const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
        (name) => name.startsWith(String(n).padStart(3, '0')) && !name.endsWith('.p'),
      );
      for (const name of files) {
        const bytes = readFileSync(join(folder, name));
        const at = bytes.indexOf(`"kind":"prune"`);
        if (at < 0) continue;
        const digits = bytes.indexOf(`"end":${end}`, at) + 6;
        bytes.write(String(end + 256).slice(0, String(end).length), digits);
        writeFileSync(join(folder, name), bytes);
      }
    });
    expect(edited.exit).toBe(1);
    const tile = await after((ledger) => {
      const path = join(ledger, 'log/tile/0/001');
      const bytes = readFileSync(path);
      bytes[40]! ^= 1;
      writeFileSync(path, bytes);
    });
    expect(summary(tile)).toMatchObject({ exit: 1 });
  });

  it('by age, as the policy file says, at the start of the recorder [prune-retention]', async () => {
    await session('last', 300);
    await until('the end of a second', () => new Promise((done) => setTimeout(() => done(true), 1_100)));
    await world.endRecorder();
    writeFileSync(join(world.keysHome, 'sworn.yaml'), 'retention: { entries: 1s }\n');
    expect(command('recorder', 'start').status).toBe(0);
    const row = await until('the pruning', async () => {
      const { pruned } = (await world.status()) as { pruned: { end: number; entry: number } };
      return pruned.end > end ? pruned : undefined;
    });
    await until('its end', () => !readdirSync(join(world.ledger, 'log/tile/entries')).includes(String(row.end / 256 - 1).padStart(3, '0')));
    expect(command('recorder', 'status').stdout).toContain(`entries below ${row.end}, as entry ${row.entry} states`);
    await world.endRecorder();
    const result = await verified(world.ledger, { known: join(world.folder, 'kept') });
    expect(result.exit, JSON.stringify(result.findings)).toBe(0);
    expect(result.findings.find(({ code }) => code === 'pruned')!.message).toMatch(
      / by policy [0-9a-f]{8}…, which keeps entries for 1 second \(entry /,
    );
  });
});
