import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { importsOf } from '../scripts/imports.ts';
import { commands } from '../src/cli/main.ts';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const home = mkdtempSync(join(tmpdir(), 'sworn-build-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** The files of a program: with `dynamic`, also what it may load later; other programs of `dist/` are not followed. */
function filesOf(entry: string, dynamic: boolean): Map<string, string> {
  const found = new Map<string, string>();
  const visit = (path: string): void => {
    if (found.has(path)) return;
    const text = readFileSync(path, 'utf8');
    found.set(path, text);
    for (const one of importsOf(text))
      if (/^\.(?!\/[a-z]+\.mjs)/.test(one.specifier) && (dynamic || !one.dynamic)) visit(join(dirname(path), one.specifier));
  };
  visit(join(dist, entry));
  return found;
}

function outsideImports(files: Map<string, string>): string[] {
  const names = [...files.values()].flatMap((text) => importsOf(text).map((one) => one.specifier));
  return [...new Set(names.filter((name) => !name.startsWith('.')))].toSorted();
}

function packagesIn(files: Map<string, string>): string[] {
  return [
    ...new Set([...files.values()].flatMap((text) => [...text.matchAll(/^\/\/ node_modules\/((?:@[^/\s]+\/)?[^/\s]+)/gm)].map((found) => found[1]!))),
  ];
}

function sworn(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [join(root, 'bin', 'sworn.mjs'), ...words], { encoding: 'utf8', env: { ...process.env, HOME: home } });
}

describe('the tap', () => {
  const atStart = filesOf('run.mjs', false);

  test('is at most 40 KiB', () => {
    const sizeBytes = [...atStart.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    expect(sizeBytes).toBeLessThanOrEqual(40 * 1024);
  });

  test('loads what relays bytes and nothing else', () => {
    const allowed = [
      'node:buffer',
      'node:child_process',
      'node:events',
      'node:fs',
      'node:net',
      'node:os',
      'node:path',
      'node:process',
      'node:stream',
      'node:timers',
      'node:url',
    ];
    expect(allowed).toEqual(expect.arrayContaining(outsideImports(atStart)));
  });

  test('holds no package, not even in what it loads later', () => {
    const all = filesOf('run.mjs', true);
    expect(packagesIn(all)).toEqual([]);
    for (const name of ['node:http', 'node:https', 'node:crypto', 'koffi']) expect(outsideImports(all)).not.toContain(name);
  });

  test('loads refusals only when it must refuse', () => {
    const later = [...filesOf('run.mjs', true)].filter(([path]) => !atStart.has(path));
    expect(later.some(([, text]) => text.includes('\n// src/wire/unrecorded.ts\n'))).toBe(true);
  });
});

test('the recorder holds no package but those that a policy file needs, and none before there is one', () => {
  expect(packagesIn(filesOf('recorder.mjs', false))).toEqual([]);
  const all = filesOf('recorder.mjs', true);
  expect(packagesIn(all).toSorted()).toEqual(['@bufbuild/cel', '@bufbuild/cel-spec', '@bufbuild/protobuf', '@bufbuild/re2', 'yaml', 'zod']);
  expect(outsideImports(all).filter((name) => !name.startsWith('node:'))).toEqual([]);
});

test('a command loads neither another nor the SDK', () => {
  expect(packagesIn(filesOf('cli.mjs', false))).toEqual(['commander']);
});

test('the package holds what runs, and nothing of the machine that built it', () => {
  // without scripts: a build in the middle of other tests would be one more thing to go wrong
  const text = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const parsed = JSON.parse(text) as { files: { path: string }[] }[] | Record<string, { files: { path: string }[] }>;
  const paths = Object.values(parsed)[0]!.files.map((file) => file.path);
  for (const path of [
    'bin/sworn.mjs',
    'dist/cli.mjs',
    'dist/run.mjs',
    'dist/recorder.mjs',
    'dist/demo/hr-server.mjs',
    'dist/demo/db-server.mjs',
    'dist/NOTICES.txt',
    'LICENSE',
    'NOTICE',
    'README.md',
  ]) {
    expect(paths).toContain(path);
  }
  expect(paths.filter((path) => !/^(bin|dist|docs|spec)\/|^[A-Z]+(\.md)?$|^package\.json$/.test(path))).toEqual([]);
  expect(paths.filter((path) => /\.(map|ts)$|\.test\./.test(path))).toEqual([]);
  for (const path of paths.filter((one) => one.endsWith('.mjs'))) expect(readFileSync(join(root, path), 'utf8').includes(root), path).toBe(false);
});

test('packages whose code is in dist are named in NOTICES.txt', () => {
  const notices = readFileSync(join(dist, 'NOTICES.txt'), 'utf8');
  const bundled = packagesIn(new Map(['cli.mjs', 'demo/hr-server.mjs', 'demo/db-server.mjs'].flatMap((entry) => [...filesOf(entry, true)])));
  expect(bundled).toEqual(expect.arrayContaining(['commander', '@modelcontextprotocol/client', '@modelcontextprotocol/server', 'zod']));
  for (const name of bundled) expect(notices).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+, `, 'm'));
});

describe('the command line', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

  test('--version', () => {
    expect(sworn('--version')).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('help names every command', () => {
    for (const help of [sworn(), sworn('--help'), sworn('help')]) {
      expect(help).toMatchObject({ status: 0, stderr: '' });
      for (const { name } of commands) expect(help.stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
    }
  });

  test.each(commands.map(({ name }) => name))('%s: help ends with an example', (name) => {
    const help = sworn(name, '--help');
    expect(help).toMatchObject({ status: 0, stderr: '' });
    expect(help.stdout).toMatch(new RegExp(`\\nExample:\\n  sworn ${name}\\b.*\\n\\n?$`));
    expect(sworn('help', name).stdout).toBe(help.stdout);
  });

  test.each([
    [['recordr'], 'did you mean recorder?'],
    [['recorder', '--legder', 'x'], 'did you mean --ledger?'],
    [['recorder', 'begin'], 'see `sworn recorder --help`'],
    [['--nonsense'], 'see `sworn --help`'],
    [['run', '--nmae', 'x', '--', 'true'], '(did you mean --name?)\nsworn: hint: see `sworn run --help`'],
    [['run', '--sensitiv', 'x', 'y'], '(did you mean --sensitive?)'],
    [['run', '--frobnicate=1', 'y'], 'go behind `--`\n'],
    [['run'], 'see `sworn run --help`'],
    // programs of their own
    [['proxy', '--upstram', 'x'], 'did you mean --upstream?'],
    [['proxy', '--new-api-key', 'x', '--confg', 'y'], 'did you mean --config?'],
    [['recorder', 'start', '--foreground', '--legder', 'x'], 'did you mean --ledger?'],
    // numbers are decimal digits
    [['show', '0x10'], '0x10 is not an index'],
    [['prove', '1e1'], '1e1 is not an index'],
    [['erase', '--index', '0x10'], '0x10 is not an index'],
    [['log', '--limit', '1e3'], '--limit 1e3 is not a whole number'],
    [['tail', '--lines', ' 3'], '--lines  3 is not a whole number'],
    [['verify', '--workers', '0x2'], '--workers is 1 to 64, not 0x2'],
    [['hold', 'release', '1e1'], 'which one?'],
    [['unfreeze', '0x1'], '0x1 is not the number of a freeze'],
    [['approvals', 'deny', '1e1'], '1e1 is not the number of an entry'],
    [['serve', '--port', '1e3'], '--port is 0 to 65535, not 1e3'],
    [['recorder', 'start', '--daemon', '--idle', '1e3'], '--idle is a number of seconds'],
    [['run', '--url', 'http://127.0.0.1:1/', '--connect-timeout', '1e1'], '--connect-timeout is a number of seconds'],
    [['log', '--since', 'yesterday'], 'or 7d, or 2026-11-20, or 2026-11-20T23:45:00Z'],
    [['erase', '--older-than', 'yesterday'], 'or 30m, or 2026-11-20, or 2026-11-20T23:45:00Z'],
  ])('%j is a usage error with a way on', (words, hint) => {
    const { status, stdout, stderr } = sworn(...words);
    expect(stderr).toMatch(/^sworn: error: .+\nsworn: hint: .+\n$/);
    expect(stderr).toContain(hint);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  });

  test('print-config goes to stdout', () => {
    const { status, stdout } = sworn('run', '--print-config', '--name', 'fs', '--', 'npx', '-y', 'some-server');
    expect(status).toBe(0);
    expect(stdout).toContain(join(root, 'bin', 'sworn.mjs'));
    expect(stdout.match(/^# /gm)).toHaveLength(5);
  });

  test('the compile cache is used only in a folder of our own that is closed to others', () => {
    const own = mkdtempSync(join(home, 'cache-'));
    const run = (): void =>
      void spawnSync(process.execPath, [join(root, 'bin', 'sworn.mjs'), '--version'], { env: { ...process.env, HOME: own, NODE_COMPILE_CACHE: '' } });
    const folder = join(own, '.cache', 'sworn', 'compile');
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    run();
    expect(readdirSync(folder)).toEqual([]);
    rmSync(join(own, '.cache'), { recursive: true });
    run();
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(readdirSync(folder)).not.toEqual([]);
  });
});

describe('an old Node', () => {
  const preload = join(home, 'old.cjs');
  writeFileSync(preload, `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } });`);

  test.skipIf(!existsSync(join(root, 'node_modules', 'node', 'bin', 'node')))(
    "hands over to the checkout's own, with status and signal",
    async () => {
      const words = ['-r', preload, join(root, 'bin', 'sworn.mjs')];
      expect(spawnSync(process.execPath, [...words, '--version'], { encoding: 'utf8' }).stdout).toBe(`${version()}\n`);
      expect(spawnSync(process.execPath, [...words, 'nonsense']).status).toBe(2);
      const child = spawn(
        process.execPath,
        [...words, 'run', '--ledger', join(home, 'l'), '--', process.execPath, '-e', 'setInterval(() => {}, 1000); console.log("up")'],
        {
          env: { ...process.env, HOME: home },
          stdio: ['pipe', 'pipe', 'ignore'],
        },
      );
      await new Promise((resolve) => child.stdout.once('data', resolve));
      const ended = new Promise((resolve) => child.once('exit', (status, signal) => resolve(signal ?? status)));
      child.kill('SIGTERM');
      expect(['SIGTERM', 143]).toContain(await ended);
    },
  );

  test('is refused in one line elsewhere', () => {
    const elsewhere = mkdtempSync(join(home, 'elsewhere-'));
    cpSync(join(root, 'bin'), join(elsewhere, 'bin'), { recursive: true });
    const { status, stderr } = spawnSync(process.execPath, ['-r', preload, join(elsewhere, 'bin', 'sworn.mjs'), '--version'], { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toBe('sworn: error: Node 20.20.2 is too old: sworn needs Node 22.19 or newer\n');
  });

  function version(): string {
    return (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;
  }
});

test('a build is reproducible and leaves what runs in place', () => {
  const list = (): string[] =>
    readdirSync(dist, { recursive: true, withFileTypes: true })
      .filter((item) => item.isFile())
      .map((item) => relative(dist, join(item.parentPath, item.name)));
  expect(list().filter((path) => path.includes('.build-'))).toEqual([]);
});
