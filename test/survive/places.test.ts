/** A ledger that is named where none is, where none can be, or whose recorder listens elsewhere: said at once and in words, and nothing is made that nobody asked for. */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { swornProgram, World } from '../support-processes.ts';

let world: World;
beforeAll(() => {
  world = new World('places');
});
afterAll(() => world.end());

test.each([
  [['freeze', '--reason', 'x']],
  [['hold', 'add', '--all', '--reason', 'x']],
  [['hold', 'release', '3']],
  [['keys', 'rotate']],
  [['erase', '--index', '3', '--yes']],
])('%s of a ledger that is not there makes none', async (words) => {
  const nowhere = join(world.folder, 'mistyped');
  const { status, stderr } = await world.finish([...words, '--ledger', nowhere]);
  expect({ status, stderr }).toEqual({ status: 3, stderr: expect.stringContaining(`there is no ledger in ${nowhere}`) as string });
  expect(existsSync(nowhere)).toBe(false);
});

test.each([
  // no folder can be made there, although the one above is there; Node's own way of making folders does not end then
  ['/proc/sworn', 73, /cannot be locked: ENOENT/],
  ['/dev/null', 73, /cannot be locked: ENOTDIR/],
])('a ledger at %s is refused at once', async (ledger, expected, words) => {
  const { status, stderr } = await world.finish(['recorder', 'start', '--ledger', ledger]);
  expect({ status, stderr }).toEqual({ status: expected, stderr: expect.stringMatching(words) as string });
  expect(stderr).toContain('sworn: hint: choose a folder that can be written');
  expect(stderr).not.toContain('defect');
});

test('a folder with other things in it becomes no ledger', async () => {
  const folder = join(world.folder, 'notes');
  mkdirSync(folder);
  writeFileSync(join(folder, '.hidden'), '');
  writeFileSync(join(folder, 'notes.txt'), 'mine');
  const { status, stderr } = await world.finish(['recorder', 'start', '--ledger', folder]);
  expect({ status, stderr }).toEqual({
    status: 65,
    stderr: expect.stringContaining(`${folder} is no ledger, and not empty: notes.txt is in it`) as string,
  });
  expect(readdirSync(folder).toSorted()).toEqual(['.hidden', 'notes.txt']);
});

test.skipIf(!existsSync('/dev/full')).each([['sworn'], ['verify.mjs']])('%s into a full disk says so, and nothing of the ledger', async (program) => {
  const ledger = join(world.folder, 'whole');
  for (const act of ['start', 'stop']) expect(await world.finish(['recorder', act, '--ledger', ledger])).toMatchObject({ status: 0 });
  const full = openSync('/dev/full', 'w');
  const words = program === 'sworn' ? [swornProgram, 'verify', ledger] : [join(dirname(swornProgram), '..', 'dist', 'verify.mjs'), ledger];
  const { status, stderr } = spawnSync(process.execPath, words, { env: world.env, stdio: ['ignore', full, 'pipe'], encoding: 'utf8' });
  closeSync(full);
  expect({ status, stderr }).toEqual({
    status: 73,
    stderr: expect.stringMatching(/^sworn: error: standard output cannot be written: ENOSPC[^\n]*\nsworn: hint: [^\n]*\n$/) as string,
  });
});

test('whose recorder listens elsewhere is told where', async () => {
  const ledger = join(world.folder, 'elsewhere');
  const socket = join(world.folder, 'chosen.sock');
  expect(await world.finish(['recorder', 'start', '--ledger', ledger, '--socket', socket])).toMatchObject({ status: 0 });
  for (const words of [['freeze'], ['recorder', 'start']]) {
    const { status, stderr } = await world.finish([...words, '--ledger', ledger]);
    expect({ status, stderr }).toEqual({
      status: 69,
      stderr: expect.stringContaining(`the recorder of ${ledger} listens at ${socket}, not at `) as string,
    });
    expect(stderr).toContain(`--socket ${socket}`);
  }
  expect(await world.finish(['freeze', '--ledger', ledger, '--socket', socket])).toMatchObject({ status: 0 });
  expect(await world.finish(['recorder', 'stop', '--ledger', ledger, '--socket', socket])).toMatchObject({ status: 0 });
});
