/**
 * A program as one short file: a loader that can be read, and behind it the program, compressed and otherwise as it was built.
 *
 * Must stay true: the same program gives the same bytes (with one version of Node, whose brotli it is); `--source` prints exactly what runs; nothing but the
 * file itself is needed, wherever it lies and whoever may write there.
 */
import { brotliCompressSync, constants } from 'node:zlib';

const loader = (name: string, about: string): string => `#!/usr/bin/env node
// ${about}
//
// What runs stands compressed at the end. To read it, exactly as it runs:  node ${name} --source
// Hand the file on as it is: an editor that saves it may break it, and then it does not start.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';
import { brotliDecompressSync } from 'node:zlib';

const path = fileURLToPath(import.meta.url);
const file = readFileSync(path, 'latin1');
// the comment at the end; between a * and a / or . in it stands a . more, so that nothing in it ends a comment
const packed = file.slice(file.indexOf('\\n/' + '*') + 3, -3).replace(/\\*\\.(?=[./]|$)/g, '*');
const source = brotliDecompressSync(Buffer.from(packed, 'latin1')).toString();
if (process.argv[2] === '--source') process.stdout.write(source);
else compileFunction(source, ['require', '__filename'], { filename: '${name} --source' })(createRequire(import.meta.url), path);
/*`;

/** `program`: one CommonJS module that needs `require` and `__filename` alone. `about` is the loader's first line. */
export function packed(program: string, name: string, about: string): Buffer {
  const bytes = Buffer.from(withoutOtherErrors(program));
  const { BROTLI_PARAM_MODE, BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT, BROTLI_MODE_TEXT } = constants;
  // all of them, so that no default decides
  const params = {
    [BROTLI_PARAM_MODE]: BROTLI_MODE_TEXT,
    [BROTLI_PARAM_QUALITY]: 11,
    [BROTLI_PARAM_LGWIN]: 22,
    [BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  // the last byte stands before what ends the comment
  const compressed = `${brotliCompressSync(bytes, { params }).toString('latin1')}/`.replace(/\*(?=[./])/g, '*.').slice(0, -1);
  return Buffer.concat([Buffer.from(loader(name, about)), Buffer.from(`${compressed}*/\n`, 'latin1')]);
}

/** Of the table of all errors (`errors.ts`) only those that the program throws: it is a tenth of what the program says. A code that is no literal could be any. */
function withoutOtherErrors(program: string): string {
  const table = /^const errorKinds = \{\n(.*?)^\};\n/ms.exec(program);
  if (table === null) throw new Error('the table of errors is not found');
  const thrown = new Set(
    [...program.matchAll(/\bnew SwornError\(\s*(?:"([\w-]+)")?/g)].map(([text, code]) => {
      if (code === undefined) throw new Error(`which error this is cannot be read: ${text}`);
      return code;
    }),
  );
  const kinds = table[1]!.replace(/^.*\n/gm, (kind) => {
    const code = /^\t"?([\w-]+)"?: of\(.*\),?\n$/.exec(kind)?.[1];
    if (code === undefined) throw new Error(`this row of the table of errors cannot be read: ${kind}`);
    return thrown.has(code) ? kind : '';
  });
  return program.replace(table[1]!, () => kinds);
}
