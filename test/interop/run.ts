/**
 * Our logs under the tools of others, and theirs under ours: `npm run interop`, or `npm run interop -- --entries 1000`. The exit status is 1 when something
 * does not hold; what cannot be had here (Go, its modules, openssl) is left out, with the reason.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { scratch } from '../faults/world.ts';
import { checkWithGo, feedOurWitness, fsckWithTessera, goProgram, LeftOut, submitToTheirs, verifyWithOpenssl, writeLog } from './interop.ts';

const { values } = parseArgs({ options: { entries: { type: 'string', default: '70000' } } });
const entries = Number(values.entries);
if (!Number.isSafeInteger(entries) || entries < 300) throw new Error('--entries: at least 300');

const fetchMs = 120_000;
const { root } = scratch();
const part = async (name: string, check: () => Promise<string[]>): Promise<void> => {
  const from = performance.now();
  try {
    for (const line of await check()) console.log(`ok        ${name}: ${line}`);
  } catch (error) {
    if (error instanceof LeftOut) {
      console.log(`left out  ${name}: ${error.message}`);
      return;
    }
    console.log(`FAILED    ${name}: ${(error as Error).message.slice(0, 1000)}`);
    process.exitCode = 1;
  }
  console.log(`          ${((performance.now() - from) / 1000).toFixed(1)} s`);
};
const build = (folder: string, program: string, name: string): Promise<string> => goProgram(folder, program, join(root, name), fetchMs);
const folder = (name: string): string => {
  mkdirSync(join(root, name));
  return join(root, name);
};

try {
  const log = await writeLog(folder('one'), entries);
  const other = await writeLog(folder('two'), 300);
  console.log(`a log of ${log.size} entries, and the same after ${Math.floor((entries * 13) / 14)}`);
  await part('openssl', () => verifyWithOpenssl(folder('openssl'), log));
  await part('Go', async () => checkWithGo(await build('', '.', 'interop'), folder('go'), log));
  await part('Go feeds our witness', async () => feedOurWitness(await build('', '.', 'interop'), folder('feed')));
  await part('Tessera fsck', async () =>
    fsckWithTessera(await build('', 'github.com/transparency-dev/tessera/cmd/fsck', 'fsck'), folder('fsck-key'), log),
  );
  await part('the witness of transparency-dev', async () => submitToTheirs(await build('witness', '.', 'their-witness'), log, other));
} finally {
  rmSync(root, { recursive: true, force: true });
}
