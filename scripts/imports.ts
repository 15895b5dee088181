/**
 * The directions of dependency as data, and the check of them: between folders by the table, between files by there being no circle. ARCHITECTURE.md says why;
 * the four absences follow from the table.
 */
import { dirname, join, normalize } from 'node:path';
import { parseAst } from 'rolldown/parseAst';

interface Folder {
  /** Folders of `src/` that it may import from, beside itself and what everyone may import. */
  readonly may: readonly string[];
  /** Runs in a browser too: never imports `node:`. */
  readonly browserSafe?: true;
  /** Packages that it may import. */
  readonly packages?: readonly string[];
  /** `node:` modules that it must never load. */
  readonly never?: readonly string[];
  /** May be imported only lazily: `import()`, folder by folder. */
  readonly lazily?: readonly string[];
}

/** `crypto-node` is `src/crypto-node.ts`; files directly below `src/` are folders of their own. */
export const folders: Readonly<Record<string, Folder>> = {
  errors: { may: [], browserSafe: true },
  limits: { may: [], browserSafe: true },
  version: { may: [] },
  bytes: { may: [], browserSafe: true },
  'crypto-node': { may: [] },
  'server-process': { may: [] },
  thread: { may: [] },
  processes: { may: [] },
  frames: { may: [], browserSafe: true },
  tlog: { may: [], browserSafe: true },
  mcp: { may: ['frames'], browserSafe: true },
  entry: { may: ['tlog', 'mcp'], browserSafe: true },
  verify: { may: ['tlog', 'mcp', 'entry'], browserSafe: true },
  policy: { may: ['mcp', 'entry'], browserSafe: true, packages: ['@bufbuild/cel', '@bufbuild/re2'] },
  // the names and settings of rules, as data
  config: { may: ['policy', 'mcp', 'entry', 'tlog', 'analysis'], packages: ['yaml', 'zod'] },
  wire: { may: ['frames'] },
  ledger: { may: ['tlog', 'entry', 'crypto-node', 'thread'], packages: ['koffi'] },
  recorder: {
    may: ['mcp', 'entry', 'policy', 'config', 'wire', 'ledger', 'tlog', 'witness', 'crypto-node', 'processes', 'thread', 'version'],
    packages: ['koffi'],
  },
  tap: {
    may: ['frames', 'wire', 'server-process'],
    never: ['node:http', 'node:https', 'node:http2', 'node:crypto', 'node:sqlite', 'node:worker_threads'],
    lazily: ['cli', 'bridge'],
  },
  // the server that the tap starts for `--url`: what it needs of the proxy is pure
  bridge: { may: ['frames', 'mcp', 'proxy'] },
  proxy: { may: ['frames', 'wire', 'mcp', 'config', 'processes', 'server-process'], packages: ['jose'] },
  witness: { may: ['tlog', 'crypto-node'] },
  readers: { may: ['tlog', 'entry', 'ledger', 'analysis', 'crypto-node'] },
  // credentials and personal data are found by what redaction finds them with
  analysis: { may: ['mcp', 'entry', 'policy'], browserSafe: true },
  catalog: { may: ['analysis', 'readers', 'mcp', 'entry', 'crypto-node'], packages: ['better-sqlite3'] },
  report: { may: ['analysis', 'verify', 'readers', 'tlog', 'mcp', 'entry', 'crypto-node', 'version'] },
  // of the proxy: which `Host` and `Origin` are served, which is pure
  dashboard: {
    may: ['analysis', 'catalog', 'report', 'verify', 'readers', 'tlog', 'mcp', 'entry', 'wire', 'config', 'proxy', 'crypto-node', 'version'],
  },
  cli: {
    may: [
      'tlog',
      'mcp',
      'entry',
      'verify',
      'policy',
      'config',
      'wire',
      'ledger',
      'witness',
      'readers',
      'analysis',
      'catalog',
      'report',
      'dashboard',
      'recorder',
      'tap',
      'crypto-node',
      'version',
      'demo',
    ],
    packages: ['commander'],
  },
  // its forger writes ledgers: with the recorder's own code, as somebody with the recorder's account would
  demo: { may: ['cli', 'ledger', 'tlog', 'entry', 'crypto-node'], packages: ['@modelcontextprotocol/client', '@modelcontextprotocol/server', 'zod'] },
  index: { may: ['tlog', 'mcp', 'entry', 'verify', 'readers', 'crypto-node', 'version'] },
  // `ui/`, not `src/ui/`: it runs in a browser alone
  ui: {
    may: ['analysis', 'verify', 'tlog', 'mcp', 'entry'],
    browserSafe: true,
    packages: ['preact', '@preact/signals', '@noble/curves', '@noble/hashes'],
  },
};

const everyone = new Set(['errors', 'limits', 'bytes']);

export interface Import {
  readonly specifier: string;
  readonly dynamic: boolean;
}

/** Every import of a source text, types included: a type that one side needs of the other is a dependency too. */
export function importsOf(source: string, lang: 'ts' | 'tsx' = 'ts'): Import[] {
  const found: Import[] = [];
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit);
    if (typeof node !== 'object' || node === null) return;
    const { type, source: from, argument } = node as { type?: string; source?: { value?: unknown }; argument?: { literal?: { value?: unknown } } };
    const add = (value: unknown, dynamic: boolean): number => found.push({ specifier: typeof value === 'string' ? value : '(computed)', dynamic });
    if (from && (type === 'ImportDeclaration' || type === 'ExportNamedDeclaration' || type === 'ExportAllDeclaration')) add(from.value, false);
    else if (type === 'ImportExpression') add(from?.value ?? plainTemplate(from) ?? siblingProgram(from), true);
    else if (type === 'TSImportType') add(from?.value ?? argument?.literal?.value, false);
    Object.values(node).forEach(visit);
  };
  visit(parseAst(source, { lang }));
  return found;
}

/** A template without expressions, which is how a minifier writes a string. */
function plainTemplate(node: unknown): unknown {
  const { quasis } = (node ?? {}) as { quasis?: { value?: { cooked?: unknown } }[] };
  return quasis?.length === 1 ? quasis[0]!.value?.cooked : undefined;
}

/** `import(new URL('./cli.mjs', import.meta.url).href)`: another program of `dist/`, never bundled into this one. */
function siblingProgram(node: unknown): unknown {
  const { object, property } = (node ?? {}) as {
    object?: { callee?: { name?: string }; arguments?: { value?: unknown }[] };
    property?: { name?: string };
  };
  return property?.name === 'href' && object?.callee?.name === 'URL'
    ? (object.arguments?.[0]?.value ?? plainTemplate(object.arguments?.[0]))
    : undefined;
}

function folderOf(path: string): string {
  if (path.startsWith('ui/')) return 'ui';
  return path
    .replace(/^src\//, '')
    .split('/')[0]!
    .replace(/\.ts$/, '');
}

/** What breaks the table in `files` (path from the root → text); tests are exempt. */
export function importFindings(files: ReadonlyMap<string, string>): string[] {
  const findings: string[] = [];
  for (const [path, text] of files) {
    if (!/^(?:src|ui)\/.*\.tsx?$/.test(path) || path.endsWith('.test.ts')) continue;
    const name = folderOf(path);
    const folder = folders[name];
    if (!folder) {
      findings.push(`${path}: the folder ${name} is not in scripts/imports.ts`);
      continue;
    }
    if (path.split('/').length > 4) findings.push(`${path}: deeper than two folders`);
    for (const { specifier, dynamic } of importsOf(text, path.endsWith('x') ? 'tsx' : 'ts')) {
      const problem = problemOf(path, name, folder, specifier, dynamic);
      if (problem) findings.push(`${path}: ${problem}`);
    }
  }
  return findings;
}

/**
 * Circles in `files`: a file that imports, over others, itself. A type counts, and so does a lazy import: neither file can be read, or moved, without the other.
 * Of circles that share files at least one is named.
 */
export function circleFindings(files: ReadonlyMap<string, string>): string[] {
  const findings: string[] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const follow = (path: string): void => {
    const text = files.get(path);
    if (text === undefined || done.has(path)) return;
    if (way.includes(path)) {
      findings.push(`${path}: imports itself in a circle: ${[...way.slice(way.indexOf(path)), path].join(' → ')}`);
      return;
    }
    way.push(path);
    const specifiers = new Set(importsOf(text, path.endsWith('x') ? 'tsx' : 'ts').map(({ specifier }) => specifier));
    for (const specifier of specifiers) if (specifier.startsWith('.')) follow(normalize(join(dirname(path), specifier)));
    way.pop();
    done.add(path);
  };
  for (const path of files.keys()) follow(path);
  return findings;
}

function problemOf(path: string, name: string, folder: Folder, specifier: string, dynamic: boolean): string | undefined {
  if (specifier === '(computed)') return folder.browserSafe || name === 'tap' ? 'imports something computed' : undefined;
  if (specifier.startsWith('node:')) {
    if (folder.browserSafe) return `is browser-safe and imports ${specifier}`;
    return folder.never?.some((one) => specifier === one || specifier.startsWith(`${one}/`)) ? `must never load ${specifier}` : undefined;
  }
  if (!specifier.startsWith('.')) {
    const known = folder.packages?.some((one) => specifier === one || specifier.startsWith(`${one}/`));
    return known ? undefined : `${name} may not import the package ${specifier}`;
  }
  if (specifier.endsWith('.json') || (dynamic && /^\.\/[a-z]+\.mjs$/.test(specifier))) return undefined;
  if (!/\.tsx?$/.test(specifier)) return `${specifier} does not end in .ts`;
  const target = folderOf(normalize(join(dirname(path), specifier)));
  // one dynamic import a command: `sworn log` never loads what `sworn verify` needs
  if (path === 'src/cli/main.ts' && target !== 'errors' && target !== 'version' && !dynamic && !/\/(output|help)\.ts$/.test(specifier)) {
    return `the command line imports ${specifier} only lazily`;
  }
  if (target === name || everyone.has(target) || folder.may.includes(target)) return undefined;
  if (folder.lazily?.includes(target)) return dynamic ? undefined : `${name} may import ${target} only lazily`;
  return `${name} may not import ${target} (${specifier})`;
}
