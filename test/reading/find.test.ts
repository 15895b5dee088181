/** `sworn find` over ledgers that the recorder's own `record` wrote. */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findCommand } from '../../src/cli/find.ts';
import type { Output } from '../../src/cli/output.ts';
import { findKeyIn, readFindKey } from '../../src/ledger/keys.ts';
import { unitBytes } from '../../src/limits.ts';
import { unruled } from '../../src/policy/judge.ts';
import { place, type Place } from './fixture.ts';
import { policyOf, Recording } from './recorded.ts';

let at: Place;
let recording: Recording;
beforeEach(() => {
  at = place();
  recording = new Recording(at);
});
afterEach(() => at.remove());

type Row = Record<string, unknown>;

async function find(options: Row): Promise<{ status: number; hits: Row[]; summary: Row; text: string }> {
  const run = async (json: boolean): Promise<{ status: number; text: string }> => {
    let text = '';
    const output: Output = {
      out: (part) => void (text += part),
      err: (part) => expect(part).toBe(''),
      isTTY: false,
      color: false,
      columns: Number.POSITIVE_INFINITY,
    };
    const status = await findCommand({ ledger: at.ledger, keys: recording.keys, ...options, json }, output);
    return { status, text };
  };
  const { text: ndjson, status } = await run(true);
  const rows = ndjson
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Row);
  const { text } = await run(false);
  return { status, hits: rows.slice(0, -1), summary: rows.at(-1)!, text };
}

test('a value is found as it is, as JSON writes it, as a number, in attributes and in fields, and nothing around it is shown', async () => {
  const talk = recording.connect(unruled, { labels: { team: 'blue-4711-x' } });
  const call = talk.call('read_file', { path: '/srv/around-it-needle"\u00e9\n-and-behind', n: 918273645 });
  const reply = talk.text('nothing');
  const python = talk.send(0, '{"jsonrpc":"2.0","id":9,"method":"x","params":{"p":"needle\\"\\u00e9\\n"}}');
  await recording.close();

  const { status, hits, summary, text } = await find({ value: 'needle"\u00e9\n' });
  expect(status).toBe(0);
  expect(hits).toEqual([
    expect.objectContaining({
      index: call,
      method: 'tools/call',
      target: 'read_file',
      direction: 'c2s',
      where: 'content',
      session: talk.connection.id,
    }),
    expect.objectContaining({ index: python, method: 'x', where: 'content' }),
  ]);
  expect(summary).toMatchObject({ hits: 2, hitEntries: 2, unreadable: 0, erased: 0, redacted: 0 });
  expect(text).not.toMatch(/around|behind|needle/);
  expect(text).toContain('found 2 times in 2 entries');

  expect((await find({ value: '918273645' })).hits).toEqual([expect.objectContaining({ index: call, where: 'content' })]);
  expect((await find({ value: 'nothing' })).hits).toEqual([expect.objectContaining({ index: reply, direction: 's2c' })]);
  expect((await find({ value: 'npx' })).hits).toEqual([expect.objectContaining({ where: 'attribute argv', method: 'open' })]);
  expect((await find({ value: 'blue-4711' })).hits).toEqual([expect.objectContaining({ where: 'field labels' })]);
  const none = await find({ value: 'never said' });
  expect(none).toMatchObject({ status: 1, hits: [] });
  expect(none.text).toContain('not found');
});

test('a value across the border of two segments of a long frame is found, and one that a redaction cuts is not', async () => {
  const talk = recording.connect(unruled);
  const head = '{"jsonrpc":"2.0","id":1,"method":"m","params":{"t":"';
  const text = `${'x'.repeat(unitBytes - head.length - 5)}border-value${'y'.repeat(50)}`;
  const long = talk.send(0, `${head}${text}"}}`);
  await recording.close();
  const { hits } = await find({ value: 'border-value' });
  expect(hits).toEqual([expect.objectContaining({ index: long, where: 'content' })]);
  expect((await find({ value: 'border-valuey' })).status).toBe(0);
  expect((await find({ value: 'border-valuez' })).status).toBe(1);
});

test('a checkable redaction is found by its hash, with the key of the ledger alone', async () => {
  const checkable = await policyOf('redact: { keys: [password, pin], keep: checkable }');
  const dropped = await policyOf('redact: { keys: [password] }');
  const kept = recording.connect(checkable).call('login', { user: 'eve', password: 'hunter2 "quoted"', pin: 471147 });
  recording.connect(dropped).call('login', { password: 'hunter2 "quoted"' });
  await recording.close();

  const { status, hits, summary, text } = await find({ value: 'hunter2 "quoted"' });
  expect(status).toBe(0);
  expect(hits).toEqual([expect.objectContaining({ index: kept, where: 'redacted, checkable', method: 'tools/call', target: 'login' })]);
  expect(summary).toMatchObject({ redacted: 3, hits: 1 });
  expect(text).toContain('could not be searched: 3 stretches that were never stored');
  expect((await find({ value: '471147' })).hits).toEqual([expect.objectContaining({ index: kept, where: 'redacted, checkable' })]);
  // as long, another value; and a part of it
  expect((await find({ value: 'hunter3 "quoted"' })).status).toBe(1);
  expect((await find({ value: 'hunter2' })).status).toBe(1);

  const elsewhere = join(at.folder, 'no-keys');
  const without = await find({ value: 'hunter2 "quoted"', keys: elsewhere });
  expect(without).toMatchObject({ status: 1, summary: { keysMissing: [at.ledger], compared: 0 } });
  expect(without.text).toContain('no find key of');
  expect(existsSync(elsewhere), 'no key is made').toBe(false);
});

test('looking for a value makes no key where there is none, and takes none that is damaged', async () => {
  recording.connect(await policyOf('redact: { keys: [password] }')).call('login', { password: 'hunter2' });
  await recording.close();
  const folder = join(recording.keys, recording.ledger.id);
  const files = readdirSync(folder).toSorted();
  expect(files).not.toContain('find-key');
  expect(await find({ value: 'hunter2' })).toMatchObject({ status: 1, summary: { keysMissing: [at.ledger], redacted: 1, compared: 0 } });
  expect(readdirSync(folder).toSorted()).toEqual(files);
  expect(readFindKey(folder)).toBeUndefined();

  writeFileSync(join(folder, 'find-key'), 'too short');
  await expect(find({ value: 'hunter2' })).rejects.toThrow('is damaged');
  expect(() => findKeyIn(folder)).toThrow('is damaged');
  rmSync(join(folder, 'find-key'));
  // the recorder's own makes one, and it stays
  expect(findKeyIn(folder)).toEqual(findKeyIn(folder));
  expect(readFindKey(folder)).toEqual(findKeyIn(folder));
  // closed to us: as if there were none
  rmSync(join(folder, 'find-key'));
  mkdirSync(join(folder, 'find-key'));
  expect((await find({ value: 'hunter2' })).summary).toMatchObject({ keysMissing: [at.ledger] });
});

test('in a batch the item is named', async () => {
  const talk = recording.connect(unruled);
  const batch = talk.send(
    0,
    '[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t","arguments":{"a":"needle"}}}]',
  );
  await recording.close();
  expect((await find({ value: 'needle' })).hits).toEqual([expect.objectContaining({ index: batch + 2, method: 'tools/call', target: 't' })]);
});

test('the value may come from a file, and one that is missing, empty or given twice is refused', async () => {
  const call = recording.connect(unruled).call('t', { a: 'from-a-file' });
  await recording.close();
  const file = join(at.folder, 'value');
  writeFileSync(file, 'from-a-file\r\n');
  expect((await find({ valueFile: file })).hits).toEqual([expect.objectContaining({ index: call })]);
  writeFileSync(file, 'from-a-file\n\n');
  expect((await find({ valueFile: file })).status).toBe(1);
  await expect(find({})).rejects.toThrow('--value or --value-file');
  await expect(find({ value: 'a', valueFile: file })).rejects.toThrow('--value or --value-file');
  await expect(find({ value: '' })).rejects.toThrow('empty');
  await expect(find({ valueFile: join(at.folder, 'none') })).rejects.toThrow('cannot read');
});

test('content that is closed or gone is counted, not passed over', async () => {
  const metadata = await policyOf('capture: { default: metadata }');
  const talk = recording.connect(metadata);
  talk.call('t', { a: 'unstored' });
  await recording.close();
  const { status, summary } = await find({ value: 'unstored' });
  expect(status).toBe(1);
  expect(summary).toMatchObject({ redacted: 1 });
  expect((await find({ value: 'unstored', since: '2000-01-01' })).summary).toMatchObject({ redacted: 1 });
  expect((await find({ value: 'unstored', until: '2000-01-01' })).summary).toMatchObject({ entries: 0 });
});
