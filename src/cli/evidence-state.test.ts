/** What the dashboard says of a ledger is what a report says of it. */
import { expect, test } from 'vitest';
import { custodyWords } from './verify.ts';
import { sentenceOf } from './evidence-state.ts';

test.each([
  [`38 records, unbroken, ${custodyWords['same-user']}.`, 'same-user', '38 records, unbroken'],
  [`38 records, unbroken, ${custodyWords.remote}.`, 'remote', '38 records, unbroken'],
  ['3 records, unbroken, no connection is recorded (custody unknown).', undefined, '3 records, unbroken'],
  [
    `TAMPERED: entry 10 is the first that does not hold; 38 records, ${custodyWords['same-user']}.`,
    'same-user',
    'Tampered: entry 10 is the first that does not hold; 38 records',
  ],
  [
    'ROLLED BACK OR FORKED: 9 were known; 3 records, no connection is recorded (custody unknown).',
    undefined,
    'Rolled back or forked: 9 were known; 3 records',
  ],
  [
    'CANNOT CONCLUDE: something is missing; 3 records, no connection is recorded (custody unknown).',
    undefined,
    'It cannot be concluded whether it holds: something is missing; 3 records',
  ],
] as const)('%s', (headline, custody, said) => {
  expect(sentenceOf({ headline, ...(custody === undefined ? {} : { custody }), size: 38, laterRecords: 0 })).toBe(said);
});
