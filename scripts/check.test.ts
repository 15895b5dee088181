import { expect, test } from 'vitest';
import { docsFindings, errorsPage } from './docs.ts';
import { circleFindings, folders, importFindings, importsOf } from './imports.ts';

const check = (path: string, text: string): string[] => importFindings(new Map([[path, text]]));

test('every way to import is seen, words in comments and strings are not', () => {
  const source = `
    import a from './a.ts'; import type { B } from './b.ts'; export * from './c.ts'; export { d } from './d.ts';
    type E = import('./e.ts').E; const f = await import('./f.ts'); const g = await import(f.name);
    // import x from './no.ts'
    const text = "import x from './no.ts'";`;
  expect(importsOf(source)).toEqual([
    { specifier: './a.ts', dynamic: false },
    { specifier: './b.ts', dynamic: false },
    { specifier: './c.ts', dynamic: false },
    { specifier: './d.ts', dynamic: false },
    { specifier: './e.ts', dynamic: false },
    { specifier: './f.ts', dynamic: true },
    { specifier: '(computed)', dynamic: true },
  ]);
});

test.each([
  ['src/verify/verifier.ts', `import { x } from '../ledger/segment.ts';`, 'verify may not import ledger'],
  ['src/verify/verifier.ts', `type X = import('../ledger/segment.ts').X;`, 'verify may not import ledger'],
  ['src/tap/relay.ts', `import '../ledger/ledger.ts';`, 'tap may not import ledger'],
  ['src/tap/relay.ts', `const x = await import('node:crypto');`, 'must never load node:crypto'],
  ['src/tap/run.ts', `import { printConfig } from '../cli/print-config.ts';`, 'tap may import cli only lazily'],
  ['src/tlog/tree.ts', `const x = await import('node:crypto');`, 'is browser-safe and imports node:crypto'],
  ['src/tlog/tree.ts', `const x = await import(name);`, 'imports something computed'],
  ['src/mcp/message.ts', `import type { Tool } from '@modelcontextprotocol/client';`, 'mcp may not import the package'],
  ['src/tlog/tree.ts', `import { nodeCrypto } from '../crypto-node.ts';`, 'tlog may not import crypto-node'],
  ['src/cli/main.ts', `import { logCommand } from './log.ts';`, 'only lazily'],
  ['src/other/x.ts', '', 'the folder other is not in scripts/imports.ts'],
  ['src/tlog/tree.ts', `import './tile.js';`, 'does not end in .ts'],
  ['src/tlog/a/b/c.ts', '', 'deeper than two folders'],
])('%s: %s', (path, text, finding) => {
  expect(check(path, text)).toEqual([expect.stringContaining(finding)]);
});

test.each([
  ['src/tap/run.ts', `await import('../cli/print-config.ts'); import '../wire/wire.ts'; import 'node:net';`],
  ['src/cli/main.ts', `await import('./log.ts');`],
  ['src/tap/run.ts', `await import(new URL('./cli.mjs', import.meta.url).href);`],
  ['src/verify/verifier.ts', `import '../tlog/tree.ts'; import '../limits.ts';`],
  ['src/tlog/tree.test.ts', `import '../ledger/ledger.ts';`],
])('%s may: %s', (path, text) => {
  expect(check(path, text)).toEqual([]);
});

test.each([
  ['by a type', `import type { B } from './b.ts';`, `import { a } from './a.ts';`],
  ['lazily', `await import('./b.ts');`, `import { a } from './a.ts';`],
  ['twice from one', `import { b } from './b.ts'; import type { B } from './b.ts';`, `export type A = import('./a.ts').A;`],
  ['over a third', `export * from './b.ts';`, `import '../entry/c.ts';`, `import { a } from '../tlog/a.ts';`],
])('a circle is named: %s', (_, a, b, c = '') => {
  const files = new Map([
    ['test/d.test.ts', `import '../src/tlog/b.ts';`],
    ['src/tlog/a.ts', a],
    ['src/tlog/b.ts', b],
    ['src/entry/c.ts', c],
  ]);
  const between = c === '' ? '' : 'src/entry/c.ts → ';
  expect(circleFindings(files)).toEqual([`src/tlog/b.ts: imports itself in a circle: src/tlog/b.ts → ${between}src/tlog/a.ts → src/tlog/b.ts`]);
});

test('circles that share a file, and of one file alone; what two files import is none', () => {
  const files = (d: string): Map<string, string> =>
    new Map([
      ['ui/a.tsx', `import { b } from './b.tsx'; import { c } from './c.ts';`],
      ['ui/b.tsx', `import { d } from './d.ts'; import 'preact';`],
      ['ui/c.ts', `import { d } from './d.ts'; import './not-there.ts';`],
      ['ui/d.ts', d],
    ]);
  expect(circleFindings(files(''))).toEqual([]);
  expect(circleFindings(files(`import './d.ts';`))).toEqual(['ui/d.ts: imports itself in a circle: ui/d.ts → ui/d.ts']);
  expect(circleFindings(files(`import './b.tsx'; import './c.ts';`))).toEqual([
    'ui/b.tsx: imports itself in a circle: ui/b.tsx → ui/d.ts → ui/b.tsx',
    'ui/d.ts: imports itself in a circle: ui/d.ts → ui/c.ts → ui/d.ts',
  ]);
});

test('the table itself names only folders that it knows', () => {
  for (const { may, lazily } of Object.values(folders)) expect(Object.keys(folders)).toEqual(expect.arrayContaining([...may, ...(lazily ?? [])]));
});

test('documents: commands, errors, links', () => {
  const exists = (path: string): boolean => path === 'spec/wire.md' || path === 'README.md';
  const documents = (readme: string): Map<string, string> =>
    new Map([
      ['README.md', readme],
      ['docs/errors.md', errorsPage()],
    ]);
  const good = documents(
    '## Verify\n`sworn log` lists. [wire](spec/wire.md), [here](#verify), [away](https://example.com/x)\n```\n[no](none.md)\n```',
  );
  expect(docsFindings(good, ['log'], exists)).toEqual([]);
  expect(docsFindings(good, ['log', 'show'], exists)).toEqual(['README.md: `sworn show` is not described']);
  expect(docsFindings(documents('## Verify\n[wire](spec/wires.md) [x](#no)'), [], exists)).toEqual([
    'README.md: the link spec/wires.md leads nowhere',
    'README.md: README.md has no heading #no',
  ]);
  good.set('docs/errors.md', 'old');
  expect(docsFindings(good, ['log'], exists)[0]).toContain('docs/errors.md');
});
