/** `sworn prove`, `sworn bundle` and `sworn verify` of what they make, on ledgers that the recorder wrote. */
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, echoServer, readLedger, swornProgram, World } from '../../test/support-processes.ts';
import { fixtureWitness } from '../../test/fixture-witness.ts';

const world = new World('prove');
let entries: ReturnType<typeof readLedger>['entries'];
let vkey = '';

beforeAll(async () => {
  mkdirSync(world.folder, { recursive: true });
  const tap = world.sworn(['run', '--ledger', world.ledger, '--name', 'echo', '--', process.execPath, echoServer, join(world.folder, 'log')]);
  const client = new Client(tap);
  client.request({ tag: 'small', text: 'how much is 2+2? \u2592' });
  await client.settled();
  // random: not to be made shorter
  client.request({ tag: 'large', text: randomBytes(50_000).toString('base64') });
  client.request({ tag: 'huge', text: randomBytes(1_900_000).toString('base64'), replyBytes: 2_000_000 });
  client.batch([{ tag: 'a' }, { tag: 'b' }]);
  await client.settled();
  tap.stdin.end();
  await client.ended;
  await world.endRecorder();
  ({ entries } = readLedger(world.ledger));
  const [first] = entries;
  if (first?.kind !== 'start') throw new Error('no start');
  ({ vkey } = first);
});
afterAll(() => world.end());

const find = (what: (entry: (typeof entries)[number]) => boolean): number => entries.findIndex(what);
const at = (path: string): string => join(world.folder, path);
const verify = (...args: string[]): { status: number | null; result: Record<string, unknown>; stderr: string } => {
  const { status, stdout, stderr } = world.run(['verify', ...args, '--json']);
  return { status, result: stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>), stderr };
};

describe('sworn prove', () => {
  it('makes a small file of every entry, which holds elsewhere with the key alone', () => {
    writeFileSync(at('trust'), `log ${vkey}\nquorum none\n`);
    for (const [index, entry] of entries.entries()) {
      const made = world.run(['prove', String(index), '--ledger', world.ledger, '--json']);
      expect(made, made.stderr).toMatchObject({ status: 0 });
      const said = JSON.parse(made.stdout) as Record<string, unknown>;
      expect(said).toMatchObject({ index, size: entries.length, vkey, proof: `${index}.tlog-proof` });
      const { status, result } = verify(`${index}.tlog-proof`, '--policy', at('trust'));
      expect(result).toMatchObject({ exit: 0, index, vkey, entry });
      expect(status).toBe(0);
    }
  });

  it('says in words who said what and when, and what was not checked', () => {
    const index = find((entry) => entry.kind === 'message' && entry.type === 'request');
    const { stdout, status } = world.run(['verify', `${index}.tlog-proof`, '--policy', at('trust')]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^HOLDS: entry /);
    for (const part of ['→ client to server, request', 'echo', 'verdict', 'pass', 'how much is 2+2? \\u{2592}', 'Not checked', 'no witness'])
      expect(stdout).toContain(part);
    expect(stdout).not.toContain('NOT proven');
  });

  it('cannot conclude without a key, and says how to get one; a pinned one serves', () => {
    const proof = world.run(['verify', '3.tlog-proof']);
    // the recorder of this account keeps its key where it is found
    expect(proof.status).toBe(0);
    const elsewhere = { ...world.env, HOME: at('elsewhere') };
    const run = (...args: string[]) => world.sworn(args, { env: elsewhere });
    return (async () => {
      const ended = async (child: ReturnType<typeof run>): Promise<number | null> => new Promise((done) => child.on('close', done));
      expect(await ended(run('verify', '3.tlog-proof'))).toBe(3);
      expect(await ended(run('verify', world.ledger))).toBe(0);
      expect(await ended(run('verify', '3.tlog-proof'))).toBe(0);
    })();
  });

  it('puts what is too long beside the proof', () => {
    const large = find((entry) => entry.kind === 'message' && entry.type === 'request' && entry.sizeBytes > 2_000_000);
    expect(existsSync(at(`${large}.payload`))).toBe(true);
    expect(readFileSync(at(`${large}.tlog-proof`)).length).toBeLessThan(3000);
    const { result } = verify(`${large}.tlog-proof`, '--policy', at('trust'));
    expect(result).toMatchObject({ exit: 0 });
    expect((result['payload'] as string).length).toBe((entries[large] as { sizeBytes: number }).sizeBytes);
    const bytes = readFileSync(at(`${large}.payload`));
    bytes[bytes.length >> 1]! ^= 1;
    copyFileSync(at(`${large}.tlog-proof`), at('bad.tlog-proof'));
    expect(verify('bad.tlog-proof', '--policy', at('trust'))).toMatchObject({ status: 3 });
    writeFileSync(at('bad.payload'), bytes);
    expect(verify('bad.tlog-proof', '--policy', at('trust')).status).not.toBe(0);
  });

  it('lets nobody else read it, says that content is in it, and leaves what was there until it is whole', () => {
    const small = find((entry) => entry.kind === 'message' && entry.type === 'request');
    const large = find((entry) => entry.kind === 'message' && entry.type === 'request' && entry.sizeBytes > 2_000_000);
    const mode = (name: string): number => statSync(at(name)).mode & 0o777;
    const warning = 'It holds what was said, in clear: hand it on as you would the ledger itself.\n';
    mkdirSync(at('made'));
    writeFileSync(at('made/small.tlog-proof'), 'of everybody', { mode: 0o644 });
    expect(world.run(['prove', String(small), '-o', 'made/small.tlog-proof', '--ledger', world.ledger]).stdout).toContain(warning);
    expect(world.run(['prove', String(large), '-o', 'made/large.tlog-proof', '--ledger', world.ledger]).stdout).toContain(warning);
    expect(['small.tlog-proof', 'large.tlog-proof', 'large.payload'].map((name) => mode(`made/${name}`))).toEqual([0o600, 0o600, 0o600]);
    expect(world.run(['prove', String(small), '--withhold', '-o', 'made/closed', '--ledger', world.ledger]).stdout).not.toContain('in clear');
    // nothing is left beside them
    expect(readdirSync(at('made')).sort()).toEqual(['closed', 'large.payload', 'large.tlog-proof', 'small.tlog-proof']);
    symlinkSync('/dev/null', at('made/null'));
    for (const command of [['prove', String(small)], ['bundle']]) {
      const { status, stderr } = world.run([...command, '-o', 'made/null', '--ledger', world.ledger]);
      expect([status, stderr]).toEqual([73, expect.stringContaining('made/null is there already, and is no file')]);
    }
    expect(readlinkSync(at('made/null'))).toBe('/dev/null');
  });

  it('goes to stdout with -o -, alone', () => {
    const small = find((entry) => entry.kind === 'message' && entry.type === 'request');
    const large = find((entry) => entry.kind === 'message' && entry.type === 'request' && entry.sizeBytes > 2_000_000);
    const made = world.run(['prove', String(small), '-o', '-', '--ledger', world.ledger]);
    expect(made.status).toBe(0);
    expect(made.stderr).toContain('in clear');
    expect(made.stdout).toBe(readFileSync(at(`${small}.tlog-proof`), 'utf8'));
    for (const [words, why] of [
      [['prove', String(large)], 'does not fit into the proof'],
      [['prove', String(small), '--json'], '-o - and --json both take stdout'],
      [['report', '--json'], '-o - and --json both take stdout'],
      [['bundle'], 'a bundle is written to a file'],
    ] as const) {
      const { status, stdout, stderr } = world.run([...words, '-o', '-', '--ledger', world.ledger]);
      expect([status, stdout, stderr]).toEqual([2, '', expect.stringMatching(new RegExp(`${why}.*-o FILE.*\nsworn: hint: `))]);
    }
    const page = world.run(['report', '-o', '-', '--ledger', world.ledger]);
    expect([page.status, page.stderr]).toEqual([0, expect.stringMatching(/^stdout, .* MiB: \d+ of \d+ records, with/)]);
    writeFileSync(at('page.html'), page.stdout);
    expect(verify('page.html')).toMatchObject({ status: 0 });
    expect(existsSync(at('-'))).toBe(false);
  });

  it('withholds content', () => {
    const index = find((entry) => entry.kind === 'message' && entry.type === 'request');
    const made = world.run(['prove', String(index), '--withhold', '-o', at('withheld.tlog-proof'), '--ledger', world.ledger]);
    expect(made.stdout).toContain('without content');
    expect(made.stdout).toContain(`log ${vkey}`);
    const { result } = verify(at('withheld.tlog-proof'), '--policy', at('trust'));
    expect(result).toMatchObject({ exit: 0 });
    expect(JSON.stringify(result)).not.toContain('how much');
    expect((result['notChecked'] as string[]).join()).toContain('not opened');
  });

  it('says where the content of a batch’s item is', () => {
    const item = find((entry) => entry.kind === 'message' && entry.batch !== undefined);
    const { stdout } = world.run(['prove', String(item), '-o', at('item.tlog-proof'), '--ledger', world.ledger]);
    expect(stdout).toContain('sworn prove ');
    expect((verify(at('item.tlog-proof'), '--policy', at('trust')).result['notChecked'] as string[]).join()).toContain('that of the batch');
  });

  it('holds the proof against witnesses, age, and a known checkpoint', () => {
    const witness = fixtureWitness('w.example');
    const checkpoint = join(world.ledger, 'log', 'checkpoint');
    const before = readFileSync(checkpoint);
    const nowS = Math.floor(Date.now() / 1000);
    writeFileSync(at('quorum'), `log ${vkey}\nwitness w ${witness.vkey}\nquorum w\n`);
    expect(verify('3.tlog-proof', '--policy', at('quorum'))).toMatchObject({ status: 4, result: { quorum: { met: false } } });
    writeFileSync(checkpoint, witness.cosigned(before, nowS - 100));
    try {
      world.run(['prove', '3', '-o', at('cosigned.tlog-proof'), '--ledger', world.ledger]);
    } finally {
      writeFileSync(checkpoint, before);
    }
    expect(verify(at('cosigned.tlog-proof'), '--policy', at('quorum'))).toMatchObject({ status: 0, result: { cosigned: [{ witness: 'w' }] } });
    expect(verify(at('cosigned.tlog-proof'), '--policy', at('quorum'), '--max-age', '1h').status).toBe(0);
    expect(verify(at('cosigned.tlog-proof'), '--policy', at('quorum'), '--max-age', '10s').status).toBe(4);
    expect(verify('3.tlog-proof', '--known', checkpoint).status).toBe(0);
    const other = before.toString().split('\n');
    writeFileSync(at('fork'), [other[0], other[1], Buffer.alloc(32).toString('base64'), ...other.slice(3)].join('\n'));
    // not signed by the log, and over another root
    expect([1, 5]).toContain(verify('3.tlog-proof', '--known', at('fork')).status);
  });

  it('refuses what is not there, or not published yet', () => {
    expect(world.run(['prove', '999', '--ledger', world.ledger])).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('there is no entry 999'),
    });
    expect(world.run(['prove', 'x', '--ledger', world.ledger]).status).toBe(2);
    expect(world.run(['prove', '1', '--ledger', at('nowhere')])).toMatchObject({ status: 3, stderr: expect.stringContaining('there is no ledger') });
    expect(world.run(['prove', '1', '-o', at('no/where'), '--ledger', world.ledger]).status).toBe(73);
    const copy = at('copy');
    mkdirSync(join(copy, 'payload'), { recursive: true });
    for (const name of readdirSync(join(world.ledger, 'payload'))) copyFileSync(join(world.ledger, 'payload', name), join(copy, 'payload', name));
    expect(world.run(['prove', '0', '--ledger', copy])).toMatchObject({ status: 3, stderr: expect.stringContaining('is published yet') });
    rmSync(copy, { recursive: true });
    expect(world.run(['verify', at('trust')])).toMatchObject({ status: 2, stderr: expect.stringContaining('neither') });
  });
});

describe('sworn bundle', () => {
  it('holds a whole ledger that the recorder wrote, a long frame and a batch among it, and is checked elsewhere', () => {
    writeFileSync(at('trust'), `log ${vkey}\nquorum none\n`);
    const made = world.run([
      'bundle',
      '--ledger',
      world.ledger,
      '-o',
      'q3.tar',
      '--seed',
      'mine',
      '--known',
      join(world.ledger, 'log', 'checkpoint'),
      '--json',
    ]);
    expect(made, made.stderr).toMatchObject({ status: 0 });
    expect(JSON.parse(made.stdout)).toMatchObject({ first: 0, end: entries.length, lackingContent: 0, sample: { seed: 'mine' } });
    const { status, result } = verify('q3.tar', '--policy', at('trust'));
    expect(result).toMatchObject({ exit: 0, withoutContent: 0, findings: [] });
    expect(status).toBe(0);
    expect(result['contentBytes']).toBeGreaterThan(4_000_000);
    const alone = world.spawn(process.execPath, [
      join(dirname(swornProgram), '..', 'dist', 'verify.mjs'),
      'q3.tar',
      '--policy',
      at('trust'),
      '--json',
    ]);
    let said = '';
    alone.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    return new Promise<void>((done) => alone.on('close', () => done())).then(() => expect(JSON.parse(said)).toEqual(result));
  });
  it('refuses a period without entries, and what it cannot write', () => {
    expect(world.run(['bundle', '--ledger', world.ledger, '--until', '2020-01-01', '-o', 'no.tar'])).toMatchObject({ status: 3 });
    expect(existsSync(at('no.tar'))).toBe(false);
    expect(world.run(['bundle', '--ledger', world.ledger, '-o', 'no/where.tar'])).toMatchObject({ status: 73 });
    expect(world.run(['bundle', '--ledger', world.ledger, '--sample', 'many'])).toMatchObject({ status: 2 });
    expect(world.run(['bundle', '--ledger', world.ledger, '--since', 'soon'])).toMatchObject({ status: 2 });
  });
});
