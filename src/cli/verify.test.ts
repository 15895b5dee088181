import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fixtureWitness, type FixtureWitness } from '../../test/fixture-witness.ts';
import { Fixture, fixtureKey, fixtureLedgerId, fixtureOrigin, sampleLedger, writeFixture } from '../../test/ledger-fixture.ts';
import { verifyCommand, type VerifyCommandOptions } from './verify.ts';

let folder = '';
let ledger = '';
let keysHome = '';
const sample = sampleLedger({ pairs: 3 });
const big = sampleLedger({ pairs: 300 });
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
  it('finds a whole other ledger where one was pinned, until that is said to be meant [attack-replaced]', async () => {
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
  it('takes the key from a trust file, and pins nothing', async () => {
    put(sample);
    const path = join(folder, 'policy');
    writeFileSync(path, `# ours\nlog ${sample.key.vkey}\nquorum none\n`);
    expect((await run({ policy: path })).exit).toBe(0);
    expect(() => known()).toThrow('ENOENT');
    writeFileSync(path, `log ${fixtureKey(fixtureOrigin, 'another').vkey}\nquorum none\n`);
    expect((await run({ policy: path })).exit).toBe(1);
    for (const wrong of ['', 'log x\nquorum none\n', `log ${sample.key.vkey}\n`, `nonsense\nquorum none\n`]) {
      writeFileSync(path, wrong);
      await expect(run({ policy: path })).rejects.toMatchObject({ code: 'usage' });
    }
    // without a log in it the pinned key counts, and without one the ledger's own word, reported as such
    writeFileSync(path, 'quorum none\n');
    expect((await run({ policy: path })).out).toContain('taken from the ledger itself');
    await run();
    expect((await run({ policy: path })).out).not.toContain('taken from the ledger itself');
  });
  it('asks for the cosignatures of the quorum', async () => {
    const [alice, bob] = [fixtureWitness('w.alice.example'), fixtureWitness('bob.example')];
    const path = join(folder, 'policy');
    writeFileSync(path, `log ${sample.key.vkey}\nwitness alice ${alice.vkey}\nwitness bob ${bob.vkey}\ngroup both all alice bob\nquorum both\n`);
    const files = sample.files();
    const cosigned = (...timesS: [FixtureWitness, number][]): void => {
      let note: Uint8Array = Buffer.from(sample.checkpoint());
      for (const [witness, timeS] of timesS) note = witness.cosigned(note, timeS);
      writeFixture(new Map([...files, ['log/checkpoint', Buffer.from(note)]]), ledger);
    };
    cosigned();
    const none = await run({ policy: path });
    expect(none.exit).toBe(4);
    expect(none.first).toContain('the quorum both is not met: 0 of 2, no witness of the trust file has cosigned');
    cosigned([alice, 1_800_000_000]);
    const one = await run({ policy: path });
    expect(one.exit).toBe(4);
    expect(one.first).toContain('1 of 2, alice (2027-01-15 08:00:00 UTC)');
    expect(one.out).not.toMatch(/no witness:|keys that are not known/);
    cosigned([alice, 1_800_000_000], [bob, 1_800_000_100], [alice, 1_800_000_200], [fixtureWitness('stranger'), 1_800_000_900]);
    const both = await run({ policy: path, maxAge: '1h', nowS: 1_800_000_200 + 3600 });
    expect(both.out).toContain('the quorum both (2 of 2)');
    expect(both.out).toContain('alice (2027-01-15 08:03:20 UTC)');
    expect(both.out).toContain('1 signature(s) on the checkpoint by keys that are not known');
    expect(both.exit).toBe(0);
    const stale = await run({ policy: path, maxAge: '1h', nowS: 1_800_000_200 + 3601 });
    expect(stale.exit).toBe(4);
    expect(stale.first).toContain('the newest cosignature is 1 h 0 m old');
    const { out } = await run({ policy: path, json: true });
    expect(JSON.parse(out)).toMatchObject({
      exit: 0,
      cosigned: [{ witness: 'alice' }, { witness: 'bob' }],
      quorum: { name: 'both', met: true, have: 2 },
    });
    // a line by a known witness that does not hold spoils everything
    const text = Buffer.from(readFileSync(join(ledger, 'log', 'checkpoint'))).toString();
    const line = text.split('\n').find((one) => one.startsWith('\u2014 bob'))!;
    writeFileSync(join(ledger, 'log', 'checkpoint'), text.replace(line, `${line.slice(0, 30)}${line[30] === 'A' ? 'B' : 'A'}${line.slice(31)}`));
    expect((await run({ policy: path })).exit).toBe(1);
  });
  it('asks for the age of the newest entry where there is no witness', async () => {
    put(sample);
    const nowS = Date.UTC(2026, 10, 20, 23, 45, 1) / 1000;
    expect((await run({ maxAge: '10m', nowS: nowS + 500 })).exit).toBe(0);
    const { exit, first } = await run({ maxAge: '10m', nowS: nowS + 700 });
    expect(exit).toBe(4);
    expect(first).toMatch(/the newest entry is 11 m 40 s old; at most 10 m was asked for/);
    await expect(run({ maxAge: 'soon' })).rejects.toMatchObject({ code: 'usage' });
  });
  it('reads the tree of a ledger that a web server gives', async () => {
    const files = big.files();
    let asked = 0;
    let broken = '';
    const server = createServer((request, response) => {
      asked++;
      const path = `log${request.url!.replace('/ledger', '')}`;
      const bytes = path === broken ? Buffer.from('nonsense') : files.get(path);
      response.writeHead(path === 'log/tile/0/001' && broken === 'status' ? 500 : bytes ? 200 : 404).end(bytes);
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/ledger/`;
    try {
      const { exit, out } = await run({ ledger: address });
      expect(exit).toBe(0);
      expect(out).toContain('the content: this source has no payload');
      expect(out).toContain('counts, references');
      expect(asked).toBeLessThan(30);
      expect(known()).toContain(Buffer.from(address).toString('base64'));
      expect((await run({ ledger: address.slice(0, -1) })).exit).toBe(0);
      broken = 'log/tile/entries/001';
      expect((await run({ ledger: address })).exit).toBe(1);
      broken = 'status';
      expect((await run({ ledger: address })).out).toContain('the server answers 500');
      expect((await run({ ledger: address })).exit).toBe(3);
      await expect(run({ ledger: `${address}nowhere` })).rejects.toMatchObject({
        code: 'no-ledger',
        exit: 3,
        message: expect.stringContaining(`there is no ledger in ${address}nowhere`) as string,
      });
    } finally {
      server.close();
    }
    const gone = await run({ ledger: address });
    expect(gone.exit).toBe(3);
    expect(gone.out).toMatch(/ECONNREFUSED|UND_ERR/);
    expect(gone.out).toContain('Checked\n  nothing\n');
  });
  it('goes on when it cannot pin, and says so', async () => {
    put(sample);
    writeFileSync(keysHome, 'a file where the folder should be');
    const { exit, out } = await run();
    expect(exit).toBe(0);
    expect(out).toContain('nothing was pinned');
  });
  it('refuses a pin that it cannot read [attack-known-garbled]', async () => {
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
  it('says that there is no ledger where nothing of one is', async () => {
    writeFileSync(join(ledger, 'passwd'), 'root');
    for (const place of [ledger, join(folder, 'nowhere')])
      await expect(run({ ledger: place })).rejects.toMatchObject({ code: 'no-ledger', exit: 3, message: `there is no ledger in ${place}` });
  });
  it('names nothing as checked, nor as left open, that was not there', async () => {
    // begun, and nothing is written yet
    mkdirSync(join(ledger, 'payload'));
    const { exit, out } = await run();
    expect(exit).toBe(3);
    expect(out).toContain('there is no checkpoint: nothing is signed');
    expect(out).toContain('Checked\n  nothing\n');
    expect(out).toContain('the content: no record of it was read');
    for (const absent of ['commitments', 'counts', 'the key was taken', 'times: ']) expect(out).not.toContain(absent);
    // signed entries whose content is gone
    put(sample);
    rmSync(join(ledger, 'payload'), { recursive: true });
    const tree = await run();
    expect([tree.exit, tree.out.includes('every payload record')]).toEqual([3, false]);
    for (const said of [
      'every entry, bundle and tile',
      'counts, references',
      'the key was taken',
      'the content: no record of it was read',
      'times: ',
    ])
      expect(tree.out).toContain(said);
    // records that nothing covers yet
    put(sample);
    rmSync(join(ledger, 'log'), { recursive: true });
    const unsigned = await run();
    expect([unsigned.exit, unsigned.out.includes('the key was taken')]).toEqual([3, false]);
    for (const said of ['every payload record', 'counts, references', 'times: ']) expect(unsigned.out).toContain(said);
  });
  it('cannot conclude where the payload cannot be listed', async () => {
    put(sample);
    rmSync(join(ledger, 'payload'), { recursive: true });
    symlinkSync('payload', join(ledger, 'payload'));
    const { exit, first, out } = await run();
    expect([exit, first]).toEqual([3, expect.stringContaining('CANNOT CONCLUDE: payload cannot be read: ELOOP')]);
    expect(out).toContain('the payload ends before entry 0: the content from there on could not be read');
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
