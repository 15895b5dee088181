/** `sworn report` and `sworn verify report.html` on ledgers that the recorder wrote. */
import { appendFileSync, copyFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixtureWitness } from '../../test/fixture-witness.ts';
import { Client, echoServer, readLedger, World } from '../../test/support-processes.ts';
import { reportCommand } from './report.ts';
import { verifyAny, type VerifyAnyOptions } from './verify-any.ts';
import { verifyReportCommand } from './verify-report.ts';

const world = new World('report');
const page = '<!doctype html><title>a page for tests</title><!--sworn-data-->';
const at = (name: string): string => join(world.folder, name);
let first = '';

beforeAll(async () => {
  const tap = world.sworn(['run', '--ledger', world.ledger, '--name', 'echo', '--', process.execPath, echoServer, at('log')]);
  const client = new Client(tap);
  client.request({ tag: 'small', text: 'how much is 2+2?' });
  await client.settled();
  client.request({ tag: 'large', text: 'x', replyBytes: 2_500_000 });
  client.batch([{ tag: 'a' }, { tag: 'b' }]);
  await client.settled();
  tap.stdin.end();
  await client.ended;
  for (const action of ['rotate', 'retire']) {
    const { status, stderr } = world.run(['keys', action, '--ledger', world.ledger]);
    if (status !== 0) throw new Error(stderr);
  }
  await world.endRecorder();
  const [start] = readLedger(world.ledger).entries;
  if (start?.kind !== 'start') throw new Error('no start');
  first = start.vkey;
});
afterAll(() => world.end());

interface Said {
  status: number;
  text: string;
  json: Record<string, unknown>;
}

async function spoken(run: (output: { out: (text: string) => void }) => Promise<number>): Promise<Said> {
  let text = '';
  const status = await run({ out: (more) => void (text += more) });
  return { status, text, json: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {} };
}
const terminal = { err: () => undefined, isTTY: false, color: false, columns: 80 };
const make = (options: Record<string, unknown>): Promise<Said> =>
  spoken((output) => reportCommand({ ledger: world.ledger, page, ...options }, { ...terminal, ...output }));
const verify = (what: string, options: Partial<VerifyAnyOptions> = {}): Promise<Said> =>
  spoken((output) =>
    verifyAny({ what, json: false, keysHome: world.keysHome, reports: verifyReportCommand, ...options }, { ...terminal, ...output }),
  );

describe('sworn report', () => {
  it('makes one file of a whole ledger, which holds here, and elsewhere with the first key alone', async () => {
    const { text } = await make({ output: at('whole.html') });
    const { entries } = readLedger(world.ledger);
    expect(text).toContain(`${entries.length} of ${entries.length} records, with 2.4 MiB of content`);
    expect(text).toContain(`sworn verify ${at('whole.html')}`);
    const here = await verify(at('whole.html'));
    expect(here.text).toMatch(/^HOLDS: (\d+) of \1 records are shown, as they were recorded\.\n/);
    expect(here.text).toContain("the recorder's own");
    expect(here.text).toMatch(/^fingerprint (?:[0-9a-f]{4} ?){4}$/m);
    expect(here.status).toBe(0);
    const elsewhere = await verify(at('whole.html'), { keysHome: at('nowhere') });
    expect([elsewhere.status, elsewhere.text]).toEqual([3, expect.stringContaining('CANNOT CONCLUDE: no key is known')]);
    // it was changed and retired since
    writeFileSync(at('trust'), `log ${first}\nquorum none\n`);
    const { status, json } = await verify(at('whole.html'), { keysHome: at('nowhere'), policy: at('trust'), json: true });
    expect([status, json['isKeyKnown'], json['shown'], json['context']]).toEqual([0, true, entries.length, 0]);
    expect(json['vkey']).not.toBe(first);
  });

  it('holds what a filter lets through and what that needs, in the words of sworn log', async () => {
    const { json } = await make({ output: at('some.html'), text: '2+2', json: true });
    expect(json).toMatchObject({ shown: 1, filter: '2+2' });
    expect(json['context']).toBeGreaterThan(3);
    const { status, json: result } = await verify(at('some.html'), { json: true });
    expect([status, result['shown'], result['custody']]).toEqual([0, 1, 'same-user']);
    await expect(make({ output: at('none.html'), tool: 'nothing-like-it' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(make({ output: at('none.html'), direction: 'up' })).rejects.toMatchObject({ code: 'usage' });
  });

  it('with --redact holds no content at all', async () => {
    await make({ output: at('closed.html'), redact: true });
    const { status, json } = await verify(at('closed.html'), { json: true });
    expect([status, json['contentBytes'], json['isWithheld']]).toEqual([0, 0, true]);
  });

  it('replaces a report, and nothing else', async () => {
    writeFileSync(at('mine.html'), '<!doctype html><script>alert(1)</script>');
    await expect(make({ output: at('mine.html') })).rejects.toMatchObject({
      code: 'output',
      message: expect.stringContaining('is no report') as string,
    });
    await make({ output: at('again.html') });
    await make({ output: at('again.html') });
    expect((await verify(at('again.html'))).status).toBe(0);
    await expect(make({ output: join(at('no-such-folder'), 'r.html') })).rejects.toMatchObject({ code: 'output' });
    expect((await verify(at('mine.html'))).status).toBe(3);
  });

  it('names the witnesses whose keys the maker knew', async () => {
    const ledger = at('witnessed');
    cpSync(world.ledger, ledger, { recursive: true });
    const [alice, eve] = [fixtureWitness('w.alice.example'), fixtureWitness('w.eve.example')];
    const note = join(ledger, 'log', 'checkpoint');
    writeFileSync(note, eve.cosigned(alice.cosigned(readFileSync(note), 1_790_000_000), 1_790_000_001));
    writeFileSync(at('witnesses'), `log ${first}\nwitness alice ${alice.vkey}\nquorum none\n`);
    await make({ ledger, output: at('witnessed.html'), policy: at('witnesses') });
    const { status, json } = await verify(at('witnessed.html'), { json: true });
    expect(status).toBe(0);
    expect(json['witnesses']).toEqual([
      { name: 'w.alice.example', timeS: 1_790_000_000, isVerified: true },
      { name: 'w.eve.example', timeS: 1_790_000_001, isVerified: false },
    ]);
    expect(JSON.stringify(json['notChecked'])).toContain('1 cosignature by keys that are not known');
  });

  it('of a ledger that was tampered with is made all the same, and names the record', async () => {
    const ledger = at('tampered');
    cpSync(world.ledger, ledger, { recursive: true });
    const { entries } = readLedger(world.ledger);
    const index = entries.findIndex((entry) => entry.kind === 'message' && entry.type === 'request');
    const bundle = join(ledger, 'log', 'tile', 'entries', `000.p/${entries.length}`);
    const bytes = readFileSync(bundle);
    const place = bytes.indexOf('"target":"echo"') < 0 ? bytes.indexOf('"direction":"c2s"') + 13 : bytes.indexOf('"target":"echo"') + 10;
    bytes[place]! ^= 1;
    writeFileSync(bundle, bytes);
    await make({ ledger, output: at('tampered.html') });
    const { status, text } = await verify(at('tampered.html'));
    expect([status, text]).toEqual([1, expect.stringContaining(`TAMPERED: entry ${index} is not the one that was recorded`)]);
  });

  it('says when the page around the data is not its own, and is no report any more without data', async () => {
    copyFileSync(at('whole.html'), at('other.html'));
    appendFileSync(at('other.html'), '<script>fake()</script>');
    const { status, text } = await verify(at('other.html'));
    expect([status, text]).toEqual([0, expect.stringContaining('the page around the data: it is not that of this version')]);
    await expect(verify(at('other.html'), { reports: undefined as never })).rejects.toMatchObject({ code: 'usage' });
  });

  it('of which something is cut off, or that holds no data, cannot be concluded', async () => {
    await make({ output: at('to-cut.html'), redact: true });
    const bytes = readFileSync(at('to-cut.html'));
    const head = bytes.indexOf('id="sworn-head">');
    const end = bytes.indexOf('</script>', head);
    const chunk = bytes.indexOf('data-block="entries-0">');
    expect([chunk > 0, head > chunk, end > head]).toEqual([true, true, true]);
    for (const left of [0, 10, chunk - 100, chunk + 100, head + 5, head + 30, end - 1, end]) {
      writeFileSync(at('cut.html'), bytes.subarray(0, left));
      const { status, text, json } = await verify(at('cut.html'), { json: true });
      expect([left, status, text]).toEqual([left, 3, expect.stringMatching(/^\{"headline":"CANNOT CONCLUDE: this file holds no data of a report: /)]);
      expect(json).toMatchObject({ report: at('cut.html'), exit: 3, findings: [{ code: 'manifest', severity: 'missing' }], checked: [] });
    }
    // the data is whole
    writeFileSync(at('cut.html'), bytes.subarray(0, end + 1));
    expect((await verify(at('cut.html'))).status).toBe(0);
    writeFileSync(at('cut.html'), '');
    expect((await verify(at('cut.html'))).text).toMatch(
      /^CANNOT CONCLUDE: .*\n\nreport .*\n\nFindings\n.*\n\nChecked\n {2}nothing\n\nNot checked\n$/,
    );
  });
});
