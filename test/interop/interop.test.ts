/** Our logs under Go's packages and openssl, and a log of Go under our witness. What takes longer to build is in `npm run interop`. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, type TestContext } from 'vitest';
import { scratch } from '../faults/world.ts';
import { checkWithGo, feedOurWitness, goProgram, LeftOut, verifyWithOpenssl, writeLog, type InteropLog } from './interop.ts';

const { root, remove } = scratch();
let log: InteropLog;
let program: string | LeftOut;

beforeAll(async () => {
  log = await writeLog(root, 70_000);
  // fetching may take longer where the network is slow or absent: then it is left out
  program = await goProgram('', '.', join(root, 'interop'), 20_000).catch((error: unknown) => {
    if (error instanceof LeftOut) return error;
    throw error;
  });
}, 400_000);
afterAll(() => remove());

const folder = (name: string): string => {
  mkdirSync(join(root, name));
  return join(root, name);
};
const built = (context: TestContext): string => {
  if (program instanceof LeftOut) return context.skip(program.message);
  return program;
};

it('Go opens, recomputes and proves a ledger of ours as we do, and reads our proof files', async (context) => {
  expect(await checkWithGo(built(context), folder('check'), log)).toHaveLength(7);
});

it('our witness cosigns a log of Go, and refuses what C2SP says', async (context) => {
  expect(await feedOurWitness(built(context), folder('feed'))).toHaveLength(4);
});

it('openssl verifies the signature of a checkpoint', async (context) => {
  const held = await verifyWithOpenssl(folder('openssl'), log).catch((error: unknown) => {
    if (error instanceof LeftOut) return context.skip(error.message);
    throw error;
  });
  expect(held).toHaveLength(1);
});
