import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { compileRedaction, Redactor, type Redaction } from '../policy/redact.ts';
import { Searcher } from './searcher.ts';

const rule = { name: 'r', keys: ['password'], paths: [], detect: [], keep: 'drop' as const };
const frame = Buffer.from(`{"a":"${'x'.repeat(300_000)}","password":"hunter2"}`);

test('finds in a thread what would be found here, and goes on after its end', async () => {
  const redactor = new Redactor([await compileRedaction(rule)]);
  const searcher = new Searcher();
  const search = (): Promise<Redaction[]> => new Promise((done) => searcher.search(redactor, frame, [], true, done));
  expect(await search()).toEqual(redactor.ranges(frame));
  // what is under way when the thread ends is found here
  const found = search();
  await searcher.end();
  expect(await found).toEqual(redactor.ranges(frame));
  expect(await search()).toEqual(redactor.ranges(frame));
  await searcher.end();
});

test('a process that has searched can end', () => {
  const here = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const script = `
    const { compileRedaction, Redactor } = await import(${here('../policy/redact.ts')});
    const { Searcher } = await import(${here('./searcher.ts')});
    const redactor = new Redactor([await compileRedaction(${JSON.stringify(rule)})]);
    const wait = setInterval(() => {}, 1000);
    new Searcher().search(redactor, Buffer.from('{"password":"hunter2"}'), [], true, (found) => { console.log(found.length); clearInterval(wait); });
  `;
  expect(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 20_000 }).trim()).toBe('1');
});
