/**
 * Builds `dist/` from `src/`: one bundle for each program, so that what runs in front of an MCP server never shares a file with what does not.
 *
 * Must stay true: a program that runs from `dist/` while this writes keeps working. Chunks have their content's hash in their name and come first,
 * entry files are renamed over the old ones last, and a chunk that nothing refers to any more stays for a while. Every built file carries the same
 * fixed modification time, so that a build is reproducible and a file with another time is one that has become stale.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown, type OutputChunk } from 'rolldown';
import { packed } from './pack.ts';
import { pages } from './pages.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const builtAt = new Date('2000-01-01T00:00:00Z');
const keepStaleMs = 10 * 60_000;

/** Programs of one file, for strangers: whatever they load later is in it too, and it is packed. The first line says what it is. */
const alone: ReadonlyMap<string, string> = new Map([
  ['verify', 'The verifier of sworn in one file, for Node 22.19 or newer: node verify.mjs --help. Apache-2.0.'],
]);

/** Programs: each is bundled by itself. The name is its path below `dist/` without `.mjs`. */
export const programs: readonly Readonly<Record<string, string>>[] = [
  { run: 'src/tap/run.ts' },
  { bridge: 'src/bridge/main.ts' },
  { recorder: 'src/recorder/main.ts' },
  { proxy: 'src/proxy/main.ts' },
  { 'redact-worker': 'src/recorder/redact-worker.ts' },
  { 'file-worker': 'src/ledger/file-worker.ts' },
  { 'policy-worker': 'src/recorder/policy-worker.ts' },
  { 'verify-worker': 'src/cli/verify-worker.ts' },
  { 'follow-worker': 'src/dashboard/follow-worker.ts' },
  { cli: 'src/cli/main.ts' },
  { verify: 'src/cli/verify-alone.ts' },
  { index: 'src/index.ts' },
  { 'demo/hr-server': 'src/demo/hr-server.ts' },
  { 'demo/db-server': 'src/demo/db-server.ts' },
];

type Chunk = Pick<OutputChunk, 'fileName' | 'isEntry' | 'moduleIds'> & { code: string | Buffer };

async function bundle(program: Readonly<Record<string, string>>): Promise<Chunk[]> {
  const [name, source] = Object.entries(program)[0]!;
  const about = alone.get(name);
  // A checkout in the middle of a change must still build: what is not there is said, not fatal.
  if (!existsSync(join(root, source))) {
    console.error(`build: no ${source}, dist/${name}.mjs is left out`);
    return [];
  }
  const build = await rolldown({
    cwd: root,
    input: { [name]: source },
    platform: 'node',
    external: [/^node:/, 'koffi', 'better-sqlite3'],
    // Packages are bundled for Node ≥ 22.19; what a bundler warns of in them is not ours to mend.
    onLog(level, log, report) {
      if (level === 'warn' && /node_modules/.test(`${log.id ?? ''} ${log.message}`)) return;
      report(level, log);
    },
  });
  const { output } = await build.generate({
    format: about === undefined ? 'esm' : 'cjs',
    entryFileNames: '[name].mjs',
    chunkFileNames: `chunks/${name.replaceAll('/', '-')}-[name]-[hash].mjs`,
    comments: { legal: false, annotation: true, jsdoc: false },
    sourcemap: false,
    ...(about === undefined ? {} : { codeSplitting: false, exports: 'none' as const, strict: true }),
    // The tap is loaded with every MCP server: white space would be a quarter of it. Names stay, so that a stack trace can be read.
    ...(name === 'run' ? { minify: { compress: true, mangle: false, codegen: { removeWhitespace: true } } } : {}),
  });
  await build.close();
  return output
    .filter((item) => item.type === 'chunk')
    .map(({ fileName, isEntry, moduleIds, code }) => {
      // which modules are inside: the other programs carry these lines where each begins
      const ours = moduleIds.filter((id) => !id.startsWith('\0'));
      const modules = name === 'run' ? `${ours.map((id) => `\n// ${relative(root, id)}`).join('')}\n` : '';
      return { fileName, isEntry, moduleIds, code: about === undefined ? code + modules : packed(code, fileName, about) };
    });
}

/** The licence texts of the packages whose code is in `chunks` (their licences ask for it). */
function notices(chunks: Chunk[]): string {
  const folders = new Set<string>();
  for (const chunk of chunks) {
    for (const id of chunk.moduleIds) {
      const found = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id);
      if (found) folders.add(found[0]);
    }
  }
  const parts = ['Sworn contains code of these packages.'];
  for (const folder of [...folders].toSorted()) {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name: string; version: string; license?: string };
    const texts = readdirSync(folder)
      .filter((file) => /^(licen[cs]e|notice)/i.test(file))
      .toSorted();
    parts.push(`${'-'.repeat(80)}\n${manifest.name} ${manifest.version}, ${manifest.license ?? 'see below'}`);
    for (const file of texts) parts.push(readFileSync(join(folder, file), 'utf8').trim());
  }
  return `${parts.join('\n\n')}\n`;
}

function files(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) => relative(folder, join(item.parentPath, item.name)));
}

const started = performance.now();
// One program that cannot be built keeps its old files, and does not keep the others from being built.
const results = await Promise.allSettled(programs.map(bundle));
const [app] = await Promise.allSettled([pages(root)]);
const failures = [...results, app].filter((result) => result.status === 'rejected').map((result) => result.reason as Error);
const chunks = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
const built = app.status === 'fulfilled' ? app.value : { files: new Map<string, string>(), chunks: [] };
const outputs = new Map<string, string | Buffer>([...chunks.map((chunk) => [chunk.fileName, chunk.code] as const), ...built.files]);
outputs.set('NOTICES.txt', notices([...chunks, ...built.chunks]));

const temporary = join(dist, `.build-${process.pid}`);
const entries = new Set(chunks.filter((chunk) => chunk.isEntry).map((chunk) => chunk.fileName));
for (const file of [...outputs.keys()].toSorted((a, b) => Number(entries.has(a)) - Number(entries.has(b)))) {
  const aside = join(temporary, file);
  const final = join(dist, file);
  mkdirSync(dirname(aside), { recursive: true });
  mkdirSync(dirname(final), { recursive: true });
  writeFileSync(aside, outputs.get(file)!);
  utimesSync(aside, builtAt, builtAt);
  renameSync(aside, final);
}
rmSync(temporary, { recursive: true, force: true });

// A tarball holds this build only.
const packing = process.env['npm_command'] === 'pack' || process.env['npm_command'] === 'publish';
for (const file of failures.length > 0 ? [] : files(dist)) {
  if (outputs.has(file)) continue;
  const path = join(dist, file);
  try {
    const { mtimeMs } = statSync(path);
    if (packing || (mtimeMs !== builtAt.getTime() && Date.now() - mtimeMs > keepStaleMs)) rmSync(path);
    else if (mtimeMs === builtAt.getTime()) utimesSync(path, new Date(), new Date());
  } catch {
    // another build was quicker
  }
}

const kilobytes = [...outputs.values()].reduce((sum, text) => sum + text.length, 0) / 1024;
console.error(`build: ${outputs.size} files, ${kilobytes.toFixed(0)} KiB, ${(performance.now() - started).toFixed(0)} ms`);
for (const failure of failures) console.error(failure.message);
process.exitCode = failures.length > 0 ? 1 : 0;
