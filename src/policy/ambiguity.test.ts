import { expect, test } from 'vitest';
import { utf8 } from '../bytes/bytes.ts';
import { ambiguityOf } from './ambiguity.ts';

const padding = `"${'x'.repeat(200_000)}",`;

test.each([
  ['nothing', '', ''],
  ['a long text before it', padding, ''],
  ['a long text behind it', '', `,${padding}0`],
  ['a row of colons before it', `"${':'.repeat(15_000)}",`, ''],
])('a name that stands twice is seen among more members than the scanner compares, %s', (_, before, behind) => {
  const items = (count: number): Uint8Array => utf8(`[${before}${Array.from({ length: count }, () => '{"":0,"":1}').join()}${behind}]`);
  // no shorter members than these
  expect(ambiguityOf({ type: 'request', anomalies: [], bytes: items(8_193) })).toContain('duplicate-key');
  expect(ambiguityOf({ type: 'request', anomalies: [], bytes: items(20_000) })).toContain('duplicate-key');
});

test('members without a second one are nothing to refuse, however many', () => {
  const bytes = utf8(`[${Array.from({ length: 20_000 }, () => '{"":0}').join()}]`);
  expect(ambiguityOf({ type: 'request', anomalies: [], bytes })).toBeUndefined();
});
