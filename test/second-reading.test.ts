/** `spec/verify.py`, the second reading of a ledger: what one verifier overlooks, the other should not. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeCrypto } from '../src/crypto-node.ts';
import { parseVkey } from '../src/tlog/note.ts';
import { verifyLedger } from '../src/verify/verifier.ts';
import { fixtureKey, fixtureOrigin, memorySource, sampleLedger, writeFixture } from './ledger-fixture.ts';
import { Client, echoServer, World } from './support-processes.ts';

const program = join(import.meta.dirname, '..', 'spec', 'verify.py');
const isThere = (command: string, ...words: string[]): boolean => spawnSync(command, words).status === 0;
const canRun = isThere('python3', '-c', 'import sys; sys.exit(sys.version_info < (3, 9))') && isThere('openssl', 'pkeyutl', '-help');

const folder = mkdtempSync(join(tmpdir(), 'sworn-second-'));
const world = new World('second');
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await world.end();
});

let count = 0;
function read(files: Map<string, Uint8Array>, ...more: string[]): { status: number | null; stdout: string } {
  const ledger = join(folder, String(count++));
  writeFixture(files, ledger);
  const { status, stdout } = spawnSync('python3', [program, ledger, ...more], { encoding: 'utf8' });
  return { status, stdout };
}

describe.skipIf(!canRun)('the second reading', () => {
  const sample = sampleLedger({ pairs: 200, dropped: true, erased: true, segmentBytes: 60_000 });
  const files: Map<string, Uint8Array> = sample.files();
  const { vkey } = sample.key;

  test('holds what the recorder writes', async () => {
    const tap = world.sworn(['run', '--ledger', world.ledger, '--', process.execPath, echoServer, join(world.folder, 'log')]);
    const client = new Client(tap);
    for (let i = 0; i < 150; i++) client.request({ tag: `${i}` });
    client.request({ tag: 'long', text: 'x'.repeat(2_500_000) });
    client.batch([{ tag: 'a' }, { tag: 'b' }]);
    await client.settled();
    tap.stdin.end();
    await client.ended;
    await world.endRecorder();
    const { status, stdout } = spawnSync('python3', [program, world.ledger], { encoding: 'utf8' });
    expect(stdout).toMatch(/^\d+ entries hold/);
    expect(status).toBe(0);
  });

  test('follows from the first key to the newest, which signs alone', async () => {
    const at = (...words: string[]) => world.run([...words, '--ledger', world.ledger]);
    for (const words of [
      ['recorder', 'start'],
      ['keys', 'rotate'],
      ['keys', 'rotate'],
      ['keys', 'retire'],
      ['recorder', 'stop'],
    ])
      expect(at(...words).status).toBe(0);
    const second = (...more: string[]) => spawnSync('python3', [program, world.ledger, ...more], { encoding: 'utf8' });
    expect(second()).toMatchObject({ status: 0, stdout: expect.stringContaining('taken from the ledger itself') });
    // a key that none of them has endorsed vouches for nothing
    const path = join(world.ledger, 'log/checkpoint');
    const note = readFileSync(path, 'utf8');
    const text = note.slice(0, note.indexOf('\n\n') + 1);
    writeFileSync(path, fixtureKey(text.slice(0, text.indexOf('\n')), 'another').sign(text));
    expect(second()).toMatchObject({ status: 1, stdout: expect.stringContaining('none that follows from it') });
    writeFileSync(path, note);
    expect(second().status).toBe(0);
  });

  test('holds a whole ledger, also under an earlier checkpoint, and with the key from elsewhere', () => {
    expect(read(files)).toMatchObject({ status: 0, stdout: expect.stringContaining('taken from the ledger itself') });
    expect(read(files, vkey)).toMatchObject({ status: 0, stdout: `${sample.leaves.length} entries hold\n` });
    expect(read(sample.files(100), vkey).status).toBe(0);
    expect(read(files, fixtureKey(fixtureOrigin, 'another').vkey).status).toBe(1);
  });

  let paths: string[] = [];
  beforeAll(() => {
    paths = [...files.keys()];
  });
  test('finds what was changed, or is missing, with the status of `sworn verify`', async () => {
    for (const [i, path] of paths.entries()) {
      for (const place of [0.3, 0.62]) {
        const changed = new Map(files);
        const bytes = Uint8Array.from(files.get(path)!);
        // in the text of the checkpoint: beyond it stand signatures
        bytes[path === 'log/checkpoint' ? 60 + i : Math.floor(bytes.length * place)]! ^= 1;
        changed.set(path, bytes);
        const { exit } = await verifyLedger({ crypto: nodeCrypto, source: memorySource(changed), vkeys: [parseVkey(nodeCrypto, vkey)!] });
        expect(exit).not.toBe(0);
        expect(read(changed, vkey).status, `${path} changed at ${place}`).toBe(exit);
      }
      const without = new Map(files);
      without.delete(path);
      const { exit } = await verifyLedger({ crypto: nodeCrypto, source: memorySource(without), vkeys: [parseVkey(nodeCrypto, vkey)!] });
      const { status } = read(without, vkey);
      // a segment that is gone is a hole to one, and the wrong record to the other
      if (path.startsWith('payload/')) expect(status).not.toBe(0);
      else expect(status, `without ${path}`).toBe(exit);
    }
  });
});
