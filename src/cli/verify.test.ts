import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Fixture, fixtureKey, fixtureLedgerId, fixtureOrigin, sampleLedger, writeFixture } from '../../test/ledger-fixture.ts';
import { verifyCommand, type VerifyCommandOptions } from './verify.ts';

let folder = '';
let ledger = '';
let keysHome = '';
const sample = sampleLedger({ pairs: 3 });
const bigger = sampleLedger({ pairs: 3, later: (fixture) => void fixture.add({ kind: 'recovery', reason: 'unclean-stop' }) });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sworn-verify-'));
  ledger = join(folder, 'ledger');
  keysHome = join(folder, 'keys');
  mkdirSync(ledger);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function put(fixture: Fixture, size = fixture.leaves.length): void {
  rmSync(ledger, { recursive: true, force: true });
  writeFixture(fixture.files(size), ledger);
}

async function run(options: Partial<VerifyCommandOptions> = {}) {
  let out = '';
  let err = '';
  const output = { out: (text: string) => void (out += text), err: (text: string) => void (err += text), isTTY: false, color: false };
  const exit = await verifyCommand({ ledger, keysHome, json: false, ...options }, output);
  return { exit, out, err, first: out.split('\n')[0]! };
}
const known = () => readFileSync(join(keysHome, 'known'), 'utf8');
const place = () => `at ${Buffer.from(ledger).toString('base64')} ${fixtureOrigin}\n`;

describe('verify', () => {
  it('says first what holds and in whose custody, then the rest, and pins', async () => {
    put(sample);
    const { exit, out, first, err } = await run();
    expect(exit).toBe(0);
    expect(first).toMatch(/^\d+ records, unbroken, recorded under the agent's own user.*custody: same-user/);
    expect(out).toContain('Not checked');
    expect(out).toContain('no witness');
    expect(err).toBe('');
    expect(known()).toBe(`${fixtureOrigin} ${sample.key.vkey} ${sample.leaves.length} ${sample.checkpoint().split('\n')[2]}\n${place()}`);
    expect(statSync(join(keysHome, 'known')).mode & 0o777).toBe(0o600);
  });
  it('moves the pin forward, and keeps other lines', async () => {
    mkdirSync(keysHome);
    writeFileSync(join(keysHome, 'known'), 'someone else entirely\n');
    put(sample, 8);
    expect((await run()).exit).toBe(0);
    put(sample);
    expect((await run()).exit).toBe(0);
    expect(known()).toContain(` ${sample.leaves.length} `);
    expect(known()).toContain('someone else entirely\n');
    expect(known().split('\n').length).toBe(4);
  });
  it('finds an older copy, another history and another key against the pin, and leaves the pin as it was', async () => {
    put(sample);
    await run();
    const before = known();
    put(sample, 8);
    expect((await run()).exit).toBe(5);
    put(bigger);
    expect((await run()).exit).toBe(5);
    put(sampleLedger({ pairs: 3, key: fixtureKey(fixtureOrigin, 'another') }));
    const { exit, first } = await run();
    expect(exit).toBe(1);
    expect(first).toMatch(/^TAMPERED/);
    expect(known()).toBe(before);
  });
  it('finds a whole other ledger where one was pinned, until that is said to be meant', async () => {
    put(sample);
    expect((await run()).exit).toBe(0);
    put(sampleLedger({ pairs: 3, key: fixtureKey('audit.example/other') }));
    const replaced = await run();
    expect(replaced.exit).toBe(5);
    expect(replaced.out).toContain(`this path held the ledger ${fixtureOrigin}`);
    expect(known()).toContain(place());
    expect((await run({ newLedger: true })).exit).toBe(0);
    expect((await run()).exit).toBe(0);
  });
  it('takes the key of the recorder of this account where it is there', async () => {
    put(sampleLedger({ pairs: 3, key: fixtureKey(fixtureOrigin, 'another') }));
    mkdirSync(join(keysHome, fixtureLedgerId), { recursive: true });
    writeFileSync(join(keysHome, fixtureLedgerId, 'vkey'), `${sample.key.vkey}\n`);
    expect((await run()).exit).toBe(1);
    put(sample);
    expect((await run()).out).not.toContain('taken from the ledger itself');
  });
  it('checks against a known checkpoint without pinning', async () => {
    put(sample);
    const path = join(folder, 'old');
    writeFileSync(path, sample.checkpoint(5));
    const { exit, out } = await run({ known: path });
    expect(exit).toBe(0);
    expect(out).not.toContain('taken from the ledger itself');
    expect(() => known()).toThrow('ENOENT');
    put(sample, 4);
    expect((await run({ known: path })).exit).toBe(5);
    writeFileSync(path, sample.checkpoint(5).replace('\u2014 ', '\u2014 other.example/'));
    put(sample);
    expect((await run({ known: path })).exit).toBe(1);
    writeFileSync(path, 'nonsense');
    await expect(run({ known: path })).rejects.toMatchObject({ code: 'usage' });
    writeFileSync(path, fixtureKey('else.example').sign('else.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n'));
    await expect(run({ known: path })).rejects.toMatchObject({ code: 'usage' });
  });
  it('takes the key from a policy, and does not call a quorum met that it cannot check', async () => {
    put(sample);
    const path = join(folder, 'policy');
    writeFileSync(path, `# ours\nlog ${sample.key.vkey}\nquorum none\n`);
    expect((await run({ policy: path })).exit).toBe(0);
    writeFileSync(path, `log ${sample.key.vkey}\nwitness w ${sample.key.vkey}\nquorum w\n`);
    expect((await run({ policy: path })).exit).toBe(4);
    writeFileSync(path, `log ${fixtureKey(fixtureOrigin, 'another').vkey}\nquorum none\n`);
    expect((await run({ policy: path })).exit).toBe(1);
    for (const wrong of ['', 'log x\nquorum none\n', `log ${sample.key.vkey}\n`, `nonsense\nquorum none\n`]) {
      writeFileSync(path, wrong);
      await expect(run({ policy: path })).rejects.toMatchObject({ code: 'usage' });
    }
  });
  it('goes on when it cannot pin, and says so', async () => {
    put(sample);
    writeFileSync(keysHome, 'a file where the folder should be');
    const { exit, out } = await run();
    expect(exit).toBe(0);
    expect(out).toContain('nothing was pinned');
  });
  it('refuses a pin that it cannot read', async () => {
    put(sample);
    mkdirSync(keysHome);
    writeFileSync(join(keysHome, 'known'), `${fixtureOrigin} garbage\n`);
    await expect(run()).rejects.toMatchObject({ code: 'usage' });
  });
  it('prints one JSON object', async () => {
    put(sample);
    const { out } = await run({ json: true });
    expect(out.trim().split('\n').length).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      exit: 0,
      size: sample.leaves.length,
      origin: fixtureOrigin,
      pinned: false,
      findings: [],
      pinning: { state: 'pinned-now' },
    });
  });
  it('says that an empty folder proves nothing, and that there is no ledger', async () => {
    expect(await run()).toMatchObject({ exit: 3 });
    await expect(run({ ledger: join(folder, 'nowhere') })).rejects.toMatchObject({ code: 'no-ledger' });
  });
  it('escapes what strangers wrote', async () => {
    const key = fixtureKey('evil\u202e\u0085'.replace('\u0085', ''));
    put(new Fixture({ key }));
    writeFixture(new Map([['log/checkpoint', Buffer.from(key.sign(`${key.name}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n`))]]), ledger);
    const { exit, out } = await run();
    expect(exit).toBe(3);
    expect(out).not.toContain('\u202e');
  });
  it('cannot conclude where it may not read', async (context) => {
    if (process.getuid?.() === 0) context.skip('root reads everything');
    put(sample);
    chmodSync(join(ledger, 'payload'), 0);
    expect((await run()).exit).toBe(3);
    chmodSync(join(ledger, 'payload'), 0o700);
  });
});
