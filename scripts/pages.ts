/**
 * Builds the app of `ui/` to single HTML files: script and style are in them, named by their hashes in a policy that lets nothing else run. A report is `report.html` with its data
 * put in at `<!--sworn-data-->`; so no bundler is needed when one is made.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown, type OutputChunk } from 'rolldown';

type Chunk = Pick<OutputChunk, 'fileName' | 'isEntry' | 'moduleIds' | 'code'>;

/** Where the data of a report is put in. */
export const dataMarker = '<!--sworn-data-->';

/** One script of one file. `entry`: path from the root, or of a file elsewhere. */
export async function script(root: string, entry: string): Promise<Chunk> {
  const build = await rolldown({
    cwd: root,
    input: { page: entry },
    platform: 'browser',
    tsconfig: join(root, 'ui', 'tsconfig.json'),
    transform: { target: 'es2022' },
    onLog(level, log, report) {
      if (level === 'warn' && /node_modules/.test(`${log.id ?? ''} ${log.message}`)) return;
      report(level, log);
    },
  });
  const { output } = await build.generate({
    format: 'iife',
    codeSplitting: false,
    minify: true,
    comments: { legal: false, annotation: false, jsdoc: false },
    sourcemap: false,
  });
  await build.close();
  const [chunk] = output;
  return chunk;
}

function style(root: string): string {
  return readFileSync(join(root, 'ui', 'style.css'), 'utf8')
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/\s*([{};,>])\s*/g, '$1')
    .trim();
}

/** The text of a script as an element may hold it: nothing in it ends the element or begins a comment. */
function embedded(code: string): string {
  return code
    .replaceAll(/<\/(script)/gi, '<\\/$1')
    .replaceAll('<!--', '\\x3c!--')
    .trim();
}

function hash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

/** `report`: no network at all, and a worker made of its own script. `live`: only the server that it came from. */
export function page(root: string, kind: 'report' | 'live', script: string): string {
  const css = style(root);
  const code = embedded(script);
  const policy = [
    "default-src 'none'",
    `script-src ${hash(code)}`,
    `style-src ${hash(css)}`,
    'img-src data:',
    'media-src data:',
    kind === 'live' ? "connect-src 'self'" : 'worker-src blob:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const filled = new Map([
    ['policy', policy],
    ['style', `<style>${css}</style>`],
    ['script', `<script>${code}</script>`],
    ['data', kind === 'report' ? dataMarker : ''],
  ]);
  return readFileSync(join(root, 'ui', 'page.html'), 'utf8').replaceAll(/<!--(policy|style|script|data)-->/g, (_, name: string) => filled.get(name)!);
}

/** The pages of `dist/`, and the scripts that are in them. */
export async function pages(root: string): Promise<{ files: Map<string, string>; chunks: Chunk[] }> {
  const [report, live] = [await script(root, 'ui/report.tsx'), await script(root, 'ui/live.tsx')];
  return {
    files: new Map([
      ['ui/report.html', page(root, 'report', report.code)],
      ['ui/live.html', page(root, 'live', live.code)],
    ]),
    chunks: [report, live],
  };
}
