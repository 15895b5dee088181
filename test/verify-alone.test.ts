/** `dist/verify.mjs`: one file that needs nothing but Node, and says what `sworn verify` says. */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { importsOf } from '../scripts/imports.ts';
import { packed } from '../scripts/pack.ts';
import { fixtureWitness } from './fixture-witness.ts';
import { sampleLedger, writeFixture } from './ledger-fixture.ts';
import { swornProgram } from './support-processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'sworn-alone-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const built = join(dirname(swornProgram), '..', 'dist', 'verify.mjs');
// a folder with nothing else in it, nor above it
const alone = join(folder, 'alone', 'verify.mjs');
mkdirSync(dirname(alone));
copyFileSync(built, alone);

interface Ran {
  status: number | null;
  stdout: string;
  stderr: string;
}

let homes = 0;
/** Each in a home of its own, so that none sees what another has pinned. */
function runAs(account: { uid?: number; gid?: number }, program: string, ...words: string[]): Ran {
  const home = join(folder, `home-${homes++}`);
  mkdirSync(home);
  return spawnSync(process.execPath, [program, ...words], { ...account, encoding: 'utf8', cwd: folder, env: { HOME: home, PATH: '/nowhere' } });
}

function run(program: string, ...words: string[]): Ran {
  return runAs({}, program, ...words);
}

/** Runs both, and returns what they agree on. */
function both(...words: string[]): { status: number | null; result: { exit: number; findings: { code: string }[] } } {
  const one = run(alone, ...words, '--json');
  const other = run(swornProgram, 'verify', ...words, '--json');
  expect(one.stderr).toBe('');
  expect(JSON.parse(one.stdout)).toEqual(JSON.parse(other.stdout));
  expect(one.status).toBe(other.status);
  return { status: one.status, result: JSON.parse(one.stdout) as { exit: number; findings: { code: string }[] } };
}

const sample = sampleLedger({ pairs: 200, dropped: true, erased: true, segmentBytes: 40_000 });
const files = sample.files();
const put = (name: string, changed: Map<string, Uint8Array> = files): string => {
  writeFixture(changed, join(folder, name));
  return name;
};
const changed = (path: string, change: (bytes: Buffer) => Uint8Array | undefined): Map<string, Uint8Array> => {
  const copy = new Map<string, Uint8Array>(files);
  const bytes = change(Buffer.from(files.get(path)!));
  if (bytes) copy.set(path, bytes);
  else copy.delete(path);
  return copy;
};
const flipped = (path: string, at: number) =>
  changed(path, (bytes) => {
    bytes[at % bytes.length]! ^= 4;
    return bytes;
  });

/** The program, as `--source` gives it. */
const source = run(alone, '--source').stdout;

test('it imports nothing but Node’s own modules, and holds nothing that writes a ledger', () => {
  const text = readFileSync(alone, 'utf8');
  const required = [...source.matchAll(/\brequire\("([^"]*)"\)/g)].map(([, specifier]) => specifier!);
  expect(required).toContain('node:crypto');
  const imports = [...importsOf(text), ...importsOf(source)].map(({ specifier }) => specifier);
  expect([...imports, ...required].filter((specifier) => !/^(?:node:|url$)/.test(specifier))).toEqual([]);
  const modules = [...source.matchAll(/^\/\/ ((?:src|node_modules)\/.*)$/gm)].map(([, module]) => module!);
  expect(modules).toContain('src/verify/verifier.ts');
  // what opens encrypted segments is read from the recorder's keys
  const keys = ['src/ledger/cipher.ts', 'src/ledger/remote-key.ts', 'src/ledger/segment-keys.ts'];
  for (const folderName of ['ledger', 'recorder', 'readers', 'policy', 'wire', 'tap'])
    expect(modules.filter((module) => module.startsWith(`src/${folderName}/`) && !keys.includes(module))).toEqual([]);
  expect(modules.filter((module) => module.startsWith('node_modules'))).toEqual([]);
  expect(source).not.toContain(process.cwd());
  // handed on by mail, and inside every bundle
  expect(readFileSync(alone).length).toBeLessThanOrEqual(60_000);
  expect(readdirSync(dirname(alone))).toEqual(['verify.mjs']);
});

test('what it runs can be read: the packed program has its names, and says all the same when it is run as it was printed', () => {
  for (const name of ['var Verifier = class', '#compareKnown(', 'function readEntry(bytes)']) expect(source).toContain(name);
  expect(packed(source, 'verify.mjs', /^\/\/ (.*)$/m.exec(readFileSync(alone, 'utf8'))![1]!).equals(readFileSync(alone))).toBe(true);
  const printed = join(folder, 'printed.cjs');
  writeFileSync(printed, source);
  put('good');
  expect(run(printed, 'good', '--json').stdout).toBe(run(alone, 'good', '--json').stdout);
});

test('it runs from wherever it lies, with threads, and an error that nobody expected says where', () => {
  const name = 'a #folder?, 100% odd';
  const odd = join(folder, name, 'verify.mjs');
  mkdirSync(dirname(odd));
  copyFileSync(alone, odd);
  chmodSync(odd, 0o444);
  chmodSync(dirname(odd), 0o555);
  put('good');
  const relativePath = `./${name}/verify.mjs`;
  expect(run(relativePath, 'good', '--json').stdout).toBe(run(alone, 'good', '--json').stdout);
  chmodSync(dirname(odd), 0o755);

  // a thread of it answers for a range
  const program = `
    import { Worker } from 'node:worker_threads';
    const { origin } = JSON.parse(process.argv[2]);
    const common = { size: 402, ledgerId: origin.slice(-32), names: undefined, wantedBlock: undefined };
    const worker = new Worker(new URL(process.argv[3]), { workerData: { folder: 'good', common } });
    worker.on('message', (answer) => { console.log(answer.facts.end, answer.facts.roots.length); process.exit(0); });
    worker.on('error', (error) => { throw error; });
    worker.postMessage({ first: 0, end: 256 });`;
  const asker = join(folder, 'asker.mjs');
  writeFileSync(asker, program);
  const origin = sample.checkpoint().split('\n')[0]!;
  expect(run(asker, JSON.stringify({ origin }), pathToFileURL(odd).href)).toMatchObject({ status: 0, stdout: '256 32\n', stderr: '' });

  const broken = join(folder, 'broken.mjs');
  writeFileSync(broken, packed(source.replace('function optionsOf(argv) {', 'function optionsOf(argv) {\n\tnull.nothing;'), 'verify.mjs', 'broken'));
  const line = source.slice(0, source.indexOf('function optionsOf(argv) {')).split('\n').length + 1;
  // not 1, which says tampered
  const { status, stdout, stderr } = run(broken, 'good');
  expect([status, stdout, stderr]).toEqual([70, '', expect.stringContaining(`at optionsOf (verify.mjs --source:${line}:`)]);
  expect(stderr).toContain('sworn: hint: this is a defect of sworn');
});

describe('it says what `sworn verify` says', () => {
  test('of a good ledger', () => {
    expect(both(put('good')).status).toBe(0);
  });

  test('of ledgers that were changed, cut or taken from', () => {
    const paths = [...files.keys()];
    const statuses = new Set<number | null>();
    for (const [i, path] of paths.entries()) {
      if (i % 3 !== 0 && path !== 'log/checkpoint') continue;
      statuses.add(both(put(`flipped-${i}`, flipped(path, i * 7919))).status);
      if (i % 2 === 0)
        statuses.add(
          both(
            put(
              `gone-${i}`,
              changed(path, () => undefined),
            ),
          ).status,
        );
    }
    expect(statuses).toEqual(new Set([1, 3]));
  });

  test('against a trust file, its quorum, an age and a known checkpoint', () => {
    const witness = fixtureWitness('w.example');
    const nowS = Math.floor(Date.now() / 1000);
    put(
      'cosigned',
      // so old that a second between two runs is not said
      changed('log/checkpoint', (note) => witness.cosigned(note, nowS - 90_000)),
    );
    put('good');
    writeFileSync(join(folder, 'trust'), `log ${sample.key.vkey}\nwitness w ${witness.vkey}\nquorum w\n`);
    expect(both('cosigned', '--policy', 'trust').status).toBe(0);
    expect(both('good', '--policy', 'trust').status).toBe(4);
    expect(both('cosigned', '--policy', 'trust', '--max-age', '10s').result.findings.map(({ code }) => code)).toContain('stale');
    writeFileSync(join(folder, 'old'), sample.checkpoint(100));
    expect(both('good', '--known', 'old').status).toBe(0);
    put('shorter', new Map(sample.files(50)));
    expect(both('shorter', '--known', 'old').status).toBe(5);
  });

  test('of a proof', () => {
    put('good');
    writeFileSync(join(folder, 'key'), `log ${sample.key.vkey}\nquorum none\n`);
    expect(run(swornProgram, 'prove', '7', '-o', '7.tlog-proof', '--ledger', 'good')).toMatchObject({ status: 0 });
    expect(both('7.tlog-proof', '--policy', 'key').status).toBe(0);
    expect(both('7.tlog-proof').status).toBe(3);
    const proof = readFileSync(join(folder, '7.tlog-proof'), 'utf8');
    writeFileSync(join(folder, 'bad.tlog-proof'), proof.replace('index 7', 'index 6'));
    expect(both('bad.tlog-proof', '--policy', 'key').status).toBe(1);
  });
});

test('it says what `sworn verify` says of a bundle, as a file and unpacked', () => {
  put('good');
  writeFileSync(join(folder, 'key'), `log ${sample.key.vkey}\nquorum none\n`);
  expect(run(swornProgram, 'bundle', '-o', 'all.tar', '--ledger', 'good')).toMatchObject({ status: 0 });
  expect(both('all.tar', '--policy', 'key').status).toBe(0);
  expect(both('all.tar').status).toBe(3);
  mkdirSync(join(folder, 'unpacked'));
  expect(spawnSync('tar', ['xf', 'all.tar', '-C', 'unpacked'], { cwd: folder }).status).toBe(0);
  // the bundle's own copy
  const own = run(join(folder, 'unpacked', 'verify.mjs'), 'unpacked', '--policy', 'key');
  expect(own.stdout).toMatch(/^HOLDS: /);
  const entries = join(folder, 'unpacked', 'entries.ndjson');
  writeFileSync(entries, readFileSync(entries, 'utf8').replace('"read"', '"pay"'));
  expect(both('unpacked', '--policy', 'key').status).toBe(1);
});

describe('both say of what cannot be read, or is nothing of ours, what happened and where', () => {
  /** What both say in the first line of an error, and with which status. */
  const error = (what: string, account: { uid?: number; gid?: number } = {}): { status: number | null; said: string } => {
    const one = runAs(account, alone, what);
    const other = runAs(account, swornProgram, 'verify', what);
    for (const { stdout, stderr } of [one, other]) {
      expect(stdout).toBe('');
      expect(stderr).toMatch(/^sworn: error: .*\nsworn: hint: .*\n$/);
    }
    const said = one.stderr.split('\n')[0]!.slice('sworn: error: '.length);
    expect(other.stderr).toContain(`sworn: error: ${said}\n`);
    expect(one.status).toBe(other.status);
    return { status: one.status, said };
  };
  const at = (name: string): string => join(folder, name);

  test('a path that leads nowhere', () => {
    symlinkSync('loop', at('loop'));
    expect(error('loop')).toEqual({ status: 3, said: expect.stringContaining(`${at('loop')} cannot be read: ELOOP: `) });
    const long = 'x'.repeat(300);
    expect(error(long)).toEqual({ status: 3, said: expect.stringContaining(`${at(long)} cannot be read: ENAMETOOLONG: `) });
  });

  test('a folder that holds nothing of a ledger', () => {
    mkdirSync(at('empty/run'), { recursive: true });
    mkdirSync(at('folder.tlog-proof'));
    for (const name of ['empty', 'folder.tlog-proof', 'nowhere'])
      expect(error(name)).toEqual({ status: 3, said: `there is no ledger in ${at(name)}` });
  });

  test('a file that is none of the kinds, and what is no file', () => {
    writeFileSync(at('notes.txt'), 'hello\n');
    writeFileSync(at('nothing'), '');
    // a pipe that nobody writes to would be waited for
    expect(spawnSync('mkfifo', [at('pipe.tar')]).status).toBe(0);
    for (const name of ['notes.txt', 'nothing', 'pipe.tar', '/dev/null'])
      expect(error(name)).toEqual({ status: 2, said: expect.stringMatching(/^\/[^ ]+ is neither a ledger's directory nor a proof /) });
  });

  // root reads everything, so another account looks
  const isRoot = process.getuid?.() === 0;
  const stranger = isRoot ? { uid: 65534, gid: 65534 } : {};
  const isPossible = !isRoot || spawnSync(process.execPath, [swornProgram, '--version'], { ...stranger, env: {} }).status === 0;
  if (!isPossible) console.warn('that both say what they may not read is skipped: it needs a checkout that everybody may read');

  test.skipIf(!isPossible)('what may not be read', () => {
    // of root's files nothing for others; of one's own nothing for oneself
    const closed = (mode: number): number => (isRoot ? mode : mode & 0o077);
    chmodSync(folder, 0o755);
    chmodSync(dirname(alone), 0o755);
    put('good');
    writeFileSync(at('key'), `log ${sample.key.vkey}\nquorum none\n`);
    const { status } = run(swornProgram, 'prove', '7', '-o', 'closed.tlog-proof', '--ledger', 'good');
    expect([status, run(swornProgram, 'bundle', '-o', 'closed.tar', '--ledger', 'good').status]).toEqual([0, 0]);
    mkdirSync(at('closed-bundle'));
    expect(spawnSync('tar', ['xf', 'closed.tar', '-C', 'closed-bundle'], { cwd: folder }).status).toBe(0);
    writeFileSync(at('closed.html'), '<!doctype html>');
    writeFileSync(at('closed'), 'c2sp.org/tlog-proof@v1\n');
    for (const name of ['closed.tlog-proof', 'closed.tar', 'closed.html', 'closed']) {
      chmodSync(at(name), closed(0o600));
      expect(error(name, stranger)).toEqual({ status: 3, said: expect.stringContaining(`${at(name)} cannot be read: EACCES: `) });
    }
    chmodSync(at('closed-bundle/payload'), closed(0o700));
    expect(error('closed-bundle', stranger)).toEqual({ status: 3, said: expect.stringMatching(/closed-bundle cannot be read: EACCES: .*payload/) });
    chmodSync(at('closed-bundle/payload'), 0o700);

    cpSync(at('good'), at('closed-ledger'), { recursive: true });
    // it may be walked through, and not be listed
    chmodSync(at('closed-ledger/payload'), isRoot ? 0o711 : 0o311);
    for (const one of [runAs(stranger, alone, 'closed-ledger'), runAs(stranger, swornProgram, 'verify', 'closed-ledger')]) {
      expect([one.status, one.stderr]).toEqual([3, '']);
      expect(one.stdout).toMatch(/^CANNOT CONCLUDE: payload cannot be read: EACCES: .*payload/);
    }
    chmodSync(at('closed-ledger/payload'), 0o755);
    chmodSync(at('closed-ledger'), closed(0o700));
    expect(error('closed-ledger', stranger)).toEqual({ status: 3, said: expect.stringContaining(`${at('closed-ledger')} cannot be read: EACCES: `) });
    chmodSync(at('closed-ledger'), 0o755);
  });
});

test('it prints help, its version, and what is wrong with its arguments', () => {
  expect(run(alone, '--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('Exit status') });
  expect(run(alone, '--version').stdout).toMatch(/^\d+\.\d+\.\d+/);
  for (const words of [[], ['a', 'b'], ['--nonsense'], ['good', '--policy', 'missing'], ['good', '--max-age', 'soon']])
    expect(run(alone, ...words)).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringMatching(/^sworn: error: .*\nsworn: hint: see: node verify\.mjs --help\n$/),
    });
  expect(run(alone, 'nowhere')).toMatchObject({ status: 3, stderr: expect.stringContaining('there is no ledger') });
});

test('of the table of errors a program keeps what it throws, and one that could throw any is not packed', () => {
  const kinds = ['usage', 'pruned'].map((code) => `\t${code}: of(2, "-"),\n`).join('');
  const program = (thrown: string, rows = kinds): string =>
    `const errorKinds = {\n${rows}};\nconst code = "pruned";\nthrow new SwornError(${thrown}, "why");\n`;
  writeFileSync(join(folder, 'thrower.mjs'), packed(program('"usage"'), 'thrower.mjs', 'about'));
  const { stdout } = run(join(folder, 'thrower.mjs'), '--source');
  expect([stdout.includes('usage: of('), stdout.includes('pruned: of(')]).toEqual([true, false]);
  expect(() => packed(program('code'), 'thrower.mjs', 'about')).toThrow('which error this is cannot be read');
  expect(() => packed(program('"usage"', '\tusage: {\n\t},\n'), 'thrower.mjs', 'about')).toThrow('this row of the table of errors cannot be read');
});

test('a program comes out of its file as it went in, whatever its compressed bytes are', () => {
  for (let i = 0; i < 400; i++) {
    const program = `const errorKinds = {\n};\nconsole.log(${JSON.stringify('x*/.*.'.repeat(i % 7) + Math.sin(i))});\n`;
    const file = packed(program, 'verify.mjs', 'about').toString('latin1');
    expect(file.indexOf('*/', file.indexOf('\n/*'))).toBe(file.length - 3);
    // the loader's own line
    // oxlint-disable-next-line typescript/no-implied-eval
    const unpack = new Function('file', `return ${/^const packed = (.*);$/m.exec(file)![1]!}`) as (file: string) => string;
    expect(brotliDecompressSync(Buffer.from(unpack(file), 'latin1')).toString()).toBe(program);
  }
});
