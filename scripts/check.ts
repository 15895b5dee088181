/**
 * `npm run check`: types, lint, format, the import table and the documents. Everything is run; the exit status is 1 when anything was found.
 * `-- --write` formats, and writes the generated pages.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { docsFindings, errorsPage, schemaText } from './docs.ts';
import { circleFindings, importFindings } from './imports.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const write = process.argv.includes('--write');
const formatted = ['src', 'ui', 'scripts', 'test', 'bench', 'bin', 'vitest.config.ts'];

interface Result {
  readonly name: string;
  readonly findings: string;
}

function tool(name: string, program: string, ...args: string[]): Promise<Result> {
  return new Promise((resolve) => {
    const child = spawn(join(root, 'node_modules', '.bin', program), args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('error', (error) => resolve({ name, findings: error.message }));
    child.on('close', (status) => resolve({ name, findings: status === 0 ? '' : output.trim() || `${program} ended with ${status}` }));
  });
}

function read(folder: string, matches: (path: string) => boolean): Map<string, string> {
  const texts = new Map<string, string>();
  for (const item of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === '' ? item.name : `${folder}/${item.name}`;
    if (item.isDirectory() && !['node_modules', 'dist', 'coverage'].includes(item.name) && !item.name.startsWith('.')) {
      for (const [inner, text] of read(path, matches)) texts.set(inner, text);
    } else if (item.isFile() && matches(path)) texts.set(path, readFileSync(join(root, path), 'utf8'));
  }
  return texts;
}

function imports(): Result {
  const files = read('', (path) => /\.(?:tsx?|mjs)$/.test(path));
  return { name: 'imports', findings: [...importFindings(files), ...circleFindings(files)].join('\n') };
}

async function docs(): Promise<Result> {
  if (write) {
    mkdirSync(join(root, 'docs'), { recursive: true });
    writeFileSync(join(root, 'docs', 'errors.md'), errorsPage());
  }
  const { commands } = await import('../src/cli/main.ts');
  const names = commands.map((command) => command.name);
  const documents = read('', (path) => path.endsWith('.md'));
  return { name: 'docs', findings: docsFindings(documents, names, (path) => existsSync(join(root, path))).join('\n') };
}

async function schema(): Promise<Result> {
  const { jsonSchema } = await import('../src/config/config.ts');
  const path = join(root, 'spec', 'sworn.schema.json');
  const text = schemaText(jsonSchema);
  if (write) writeFileSync(path, text);
  const same = existsSync(path) && readFileSync(path, 'utf8') === text;
  return { name: 'schema', findings: same ? '' : 'spec/sworn.schema.json: is not what src/config/shape.ts says; run: npm run check -- --write' };
}

async function api(): Promise<Result> {
  const { openapiText } = await import('./openapi.ts');
  const path = join(root, 'spec', 'openapi.json');
  const text = openapiText();
  if (write) writeFileSync(path, text);
  const same = existsSync(path) && readFileSync(path, 'utf8') === text;
  return { name: 'api', findings: same ? '' : 'spec/openapi.json: is not what scripts/openapi.ts says; run: npm run check -- --write' };
}

if (write) await tool('format', 'oxfmt', ...formatted);
const results = await Promise.all([
  tool('types', 'tsc', '--noEmit', '-p', '.'),
  tool('types of ui', 'tsc', '--noEmit', '-p', 'test/ui/page'),
  tool('lint', 'oxlint', '--type-aware', '--deny-warnings'),
  tool('format', 'oxfmt', '--check', ...formatted),
  Promise.resolve(imports()),
  docs(),
  schema(),
  api(),
]);
for (const { name, findings } of results) {
  console.log(findings === '' ? `ok      ${name}` : `FAILED  ${name}\n${findings.replaceAll(/^/gm, '        ')}`);
}
process.exitCode = results.every((one) => one.findings === '') ? 0 : 1;
