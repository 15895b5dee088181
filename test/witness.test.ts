/** `sworn witness` as a process: the command, and that no death of it lets it cosign two histories. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { nodeCrypto } from '../src/crypto-node.ts';
import { openCosigned, parseCosigner, type Cosigner } from '../src/tlog/cosignature.ts';
import { formatVkey } from '../src/tlog/note.ts';
import { parseTrustPolicy } from '../src/tlog/policy.ts';
import { originHash } from '../src/witness/store.ts';
import { submitCheckpoint } from '../src/witness/submit.ts';
import { signerOf, TestLog } from './witness-log.ts';

let home: string;
let folder: string;
const children = new Set<ChildProcess>();
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'sworn-witness-cli-'));
  folder = join(home, 'witness');
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(home, { recursive: true, force: true });
});

interface Running {
  child: ChildProcess;
  /** The first line of stdout; empty when it ended without. */
  first: Promise<string>;
  ended: Promise<number | string>;
  stdout(): string;
  stderr(): string;
}

function start(words: string[]): Running {
  const child = spawn(process.execPath, words, { env: { PATH: process.env['PATH'], HOME: home }, stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  let stdout = '';
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<number | string>((done) =>
    child.on('close', (status, signal) => {
      children.delete(child);
      done(signal ?? status ?? -1);
    }),
  );
  const first = new Promise<string>((done) => {
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      if (stdout.includes('\n')) done(stdout.split('\n')[0]!);
    });
    child.on('close', () => done(''));
  });
  return { child, first, ended, stdout: () => stdout, stderr: () => stderr };
}

const main = pathToFileURL(join(import.meta.dirname, '..', 'src', 'cli', 'main.ts')).href;
/** The command from the sources, so that it is this one and not an older build. */
const program = `import { main } from ${JSON.stringify(main)}; process.exitCode = await main(process.argv.slice(1));`;
const sworn = (...words: string[]): Running => start(['--input-type=module', '-e', program, '--', ...words]);

interface Started {
  name: string;
  vkey: string;
  url: string;
  logs: string[];
  dir: string;
  evidence: number;
}
async function witness(...words: string[]): Promise<Running & Started> {
  const running = sworn('witness', '--listen', '127.0.0.1:0', '--dir', folder, '--json', ...words);
  const first = await running.first;
  if (first === '') throw new Error(running.stderr());
  return { ...running, ...(JSON.parse(first) as Started) };
}

const log = new TestLog();
const fork = new TestLog(log.origin, 3);
const submit = (url: string, cosigner: Cosigner, of: TestLog, size: number, oldSize = 0) =>
  submitCheckpoint(nodeCrypto, {
    url,
    cosigner,
    checkpoint: of.note(size),
    oldSize,
    proof: ({ size1, size2 }) => of.proof(size1, size2),
    timeoutMs: 10_000,
  });

it('starts, cosigns, stops, and is the same one afterwards', async () => {
  const one = await witness('--log', log.vkeyText, '--name', 'w.example/a');
  expect(one).toMatchObject({ name: 'w.example/a', logs: [log.origin], dir: folder, evidence: 0 });
  const cosigner = parseCosigner(nodeCrypto, one.vkey)!;
  expect(await submit(one.url, cosigner, log, 5)).toMatchObject({ size: 5 });
  expect(await submit(one.url, cosigner, fork, 5)).toMatchObject({ problem: 'fork' });
  expect(await (await fetch(one.url)).text()).toBe(`${one.vkey}\n`);
  expect(statSync(join(folder, 'key')).mode & 0o777).toBe(0o600);
  expect(statSync(folder).mode & 0o777).toBe(0o700);

  const second = sworn('witness', '--listen', '127.0.0.1:0', '--dir', folder, '--log', log.vkeyText);
  expect(await second.ended).toBe(75);
  expect(second.stderr()).toMatch(/^sworn: error: another witness runs .*\nsworn: hint: /);

  one.child.kill('SIGTERM');
  expect(await one.ended).toBe(0);
  expect(one.stderr()).toMatch(/cosigned log.example\/one at size 5\n/);
  expect(one.stderr()).toMatch(/sworn: ALARM: .* log.example\/one signed two trees of 5 entries.*; kept at .*\.submitted\n/);
  expect(readdirSync(join(folder, 'evidence'))).toHaveLength(2);

  const again = await witness('--log', log.vkeyText);
  expect(again).toMatchObject({ vkey: one.vkey, evidence: 1 });
  expect(await submit(again.url, cosigner, log, 9, 5)).toMatchObject({ size: 9 });
  again.child.kill('SIGINT');
  expect(await again.ended).toBe(0);
});

it('takes what `cat` says of several ledgers, and of one whose key was rotated', async () => {
  const other = new TestLog('other.example');
  const newer = formatVkey(nodeCrypto, log.origin, signerOf(log.origin, 'rotated').publicKey);
  const one = await witness('--log', `${newer}\n${log.vkeyText}\r\n\n${other.vkeyText}\n`, '--log', log.vkeyText, '--name', 'w.example/a');
  expect(one.logs).toEqual([log.origin, other.origin]);
  const cosigner = parseCosigner(nodeCrypto, one.vkey)!;
  expect(await submit(one.url, cosigner, log, 5)).toMatchObject({ size: 5 });
  expect(await submit(one.url, cosigner, other, 3)).toMatchObject({ size: 3 });
  one.child.kill('SIGTERM');
  expect(await one.ended).toBe(0);
  for (const [text, problem] of [
    [`${log.vkeyText}\nnothing\n`, 'error: --log: `nothing` is not an Ed25519 verifier key'],
    ['\n \n', 'error: a witness cosigns only logs that it knows'],
  ] as const) {
    const refused = sworn('witness', '--listen', '127.0.0.1:0', '--dir', folder, '--log', text);
    expect(await refused.ended).toBe(2);
    expect(refused.stderr()).toContain(problem);
  }
});

it('prints what belongs into a trust file', async () => {
  const file = join(home, 'policy');
  writeFileSync(file, `# logs\nlog ${log.vkeyText} https://log.example\n${new TestLog('other.example').vkeyText}\nquorum none\n`);
  const running = sworn('witness', '--listen', '127.0.0.1:0', '--logs', file);
  await running.first;
  running.child.kill('SIGTERM');
  expect(await running.ended).toBe(0);
  const text = running.stdout();
  expect(text).toContain(`${join(home, '.local', 'state', 'sworn-witness')}\n`);
  expect(text).toMatch(/^cosigns {2}2 logs$/m);
  const lines = text
    .slice(text.indexOf('\n\n'))
    .split('\n')
    .filter((line) => line.startsWith('  '));
  expect(parseTrustPolicy(nodeCrypto, Buffer.from(`${lines.join('\n')}\n`))).toMatchObject({
    witnesses: [{ name: 'w1' }],
    quorum: 'w1',
    warnings: [],
  });
});

it('says what is wrong', async () => {
  const vkey = log.vkeyText;
  writeFileSync(join(home, 'file'), '');
  const cases: [string[], number, RegExp][] = [
    [[], 2, /cosigns only logs that it knows/],
    [['--log', 'x'], 2, /not an Ed25519 verifier key/],
    [['--log', vkey, '--listen', '7700'], 2, /is not HOST:PORT/],
    [['--log', vkey, '--listen', '127.0.0.1:70000'], 2, /is not HOST:PORT/],
    [['--log', vkey, '--name', 'a+b'], 2, /no key may have the name/],
    [['--logs', join(home, 'missing')], 2, /cannot be read/],
    [['--log', vkey, '--dir', join(home, 'file', 'x')], 73, /cannot be used/],
    [['--log', vkey, '--listen', '192.0.2.1:1'], 71, /cannot listen at 192.0.2.1:1/],
  ];
  for (const [words, status, message] of cases) {
    const running = sworn('witness', ...words);
    expect(await running.ended, words.join(' ')).toBe(status);
    expect(running.stderr(), words.join(' ')).toMatch(message);
    expect(running.stderr()).toMatch(/\nsworn: hint: .*\n$/);
  }
});

/** Every checkpoint with a cosignature that was seen belongs to one history. */
class Seen {
  readonly #roots = new Map<number, string>();
  note(of: TestLog, size: number): void {
    const root = Buffer.from(of.root(size)).toString('hex');
    if ((this.#roots.get(size) ?? root) !== root) throw new Error(`two trees of ${size} entries were cosigned`);
    this.#roots.set(size, root);
    // log and fork differ from their fourth entry on: whoever has seen one must not see the other
    const histories = new Set([...this.#roots].filter(([n]) => n > 3).map(([n, one]) => one === Buffer.from(log.root(n)).toString('hex')));
    if (histories.size > 1) throw new Error('two histories were cosigned');
  }
}

/** What a monitor sees. */
async function published(url: string, cosigner: Cosigner, seen: Seen): Promise<number> {
  const response = await fetch(`${url}/${originHash(log.origin)}/checkpoint`);
  if (response.status === 404) return 0;
  const opened = openCosigned(nodeCrypto, Buffer.from(await response.text()), [log.vkey], [cosigner]);
  if ('problem' in opened) throw new Error(opened.message);
  expect([opened.logs.length, opened.cosignatures.length]).toEqual([1, 1]);
  const size = Number(opened.text.split('\n')[1]);
  seen.note(opened.text === log.text(size) ? log : fork, size);
  return size;
}

const dying = join(import.meta.dirname, 'survive', 'dying-witness.ts');

it('killed at any step of recording, never cosigns two histories', async () => {
  const first = await witness('--log', log.vkeyText);
  const cosigner = parseCosigner(nodeCrypto, first.vkey)!;
  first.child.kill('SIGTERM');
  await first.ended;
  const path = join(folder, 'checkpoints', originHash(log.origin));
  const outcomes: string[] = [];
  for (const before of [0, 2]) {
    for (let steps = 0; ; steps++) {
      rmSync(path, { force: true });
      const seen = new Seen();
      let alive = start([dying, folder, log.vkeyText, 'Infinity']);
      if (before > 0) expect(await submit(await alive.first, cosigner, log, before)).toMatchObject({ size: before });
      alive.child.kill('SIGKILL');
      await alive.ended;

      // one history is on its way when it dies …
      const killed = start([dying, folder, log.vkeyText, String(steps)]);
      const answer = await submit(await killed.first, cosigner, log, 7, before);
      if (!('problem' in answer)) {
        killed.child.kill('SIGKILL');
        await killed.ended;
        break;
      }
      expect(await killed.ended).toBe('SIGKILL');

      // … and then another one is asked for first
      alive = start([dying, folder, log.vkeyText, 'Infinity']);
      const url = await alive.first;
      const recorded = await published(url, cosigner, seen);
      const forked = await submit(url, cosigner, fork, 7, before);
      if (!('problem' in forked)) seen.note(fork, 7);
      const resumed = await submit(url, cosigner, log, 7, before);
      if (!('problem' in resumed)) seen.note(log, 7);
      expect('problem' in forked).toBe(!('problem' in resumed));
      expect(recorded === 7).toBe('problem' in forked);
      await published(url, cosigner, seen);
      outcomes.push(recorded === 7 ? 'recorded' : 'lost');
      alive.child.kill('SIGKILL');
      await alive.ended;
    }
  }
  expect(new Set(outcomes)).toEqual(new Set(['recorded', 'lost']));
  expect(outcomes.length).toBeGreaterThanOrEqual(10);
}, 120_000);

it('killed at any moment, under load, never cosigns two histories [attack-none-witness]', async () => {
  const seen = new Seen();
  let cosigner: Cosigner | undefined;
  let cosigned = 0;
  for (let round = 0; round < 8; round++) {
    const running = await witness('--log', log.vkeyText);
    cosigner ??= parseCosigner(nodeCrypto, running.vkey)!;
    const key = cosigner;
    const work = [log, fork, log, fork].map(async (of, worker) => {
      for (let i = 0; i < 500; i++) {
        const size = 4 + round * 40 + ((i * 7 + worker) % 40);
        const answer = await submit(running.url, key, of, size);
        if (!('problem' in answer)) {
          cosigned++;
          seen.note(of, size);
        } else if (answer.problem === 'unreachable') return;
      }
    });
    await new Promise((done) => setTimeout(done, 20 + 40 * round));
    running.child.kill('SIGKILL');
    expect(await running.ended).toBe('SIGKILL');
    await Promise.all(work);
  }
  const last = await witness('--log', log.vkeyText);
  await published(last.url, cosigner!, seen);
  expect(cosigned).toBeGreaterThan(8);
  for (const name of readdirSync(join(folder, 'evidence'))) expect(readFileSync(join(folder, 'evidence', name)).length).toBeGreaterThan(0);
}, 120_000);
