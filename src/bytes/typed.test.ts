import { parseArgs } from 'node:util';
import { expect, test } from 'vitest';
import { argumentProblem, guessed, wholeNumber } from './typed.ts';

test.each([
  ['0', 0],
  ['16', 16],
  ['007', 7],
  ['9007199254740991', 9007199254740991],
  ['9007199254740992', undefined],
  ['', undefined],
  ['0x10', undefined],
  ['1e3', undefined],
  ['1.0', undefined],
  ['-1', undefined],
  ['+1', undefined],
  [' 1', undefined],
  ['1\n', undefined],
  ['١', undefined],
])('%j as a whole number', (text, number) => expect(wholeNumber(text)).toBe(number));

test.each([
  ['--upstram', ' (did you mean --upstream?)'],
  ['--upsteram', ' (did you mean --upstream?)'],
  ['--allow-orign', ' (did you mean --allow-origin?)'],
  ['--up', ' (did you mean --upstream?)'],
  ['-u', ''],
  ['--frobnicate', ''],
])('%s was probably meant as%s', (given, guess) => expect(guessed(given, ['--allow-host', 'allow-origin', '--upstream'])).toBe(guess));

test('what Node says of a command line', () => {
  const options = { upstream: { type: 'string' } } as const;
  const problem = (...args: string[]): string => {
    try {
      parseArgs({ args, options });
    } catch (error) {
      return argumentProblem(error, options);
    }
    return '';
  };
  expect(problem('--upstram', 'x')).toBe('unknown option --upstram (did you mean --upstream?)');
  expect(problem('-u')).toBe('unknown option -u');
  expect(problem('--upstream')).toBe("Option '--upstream <value>' argument missing");
  expect(problem('x')).toMatch(/^Unexpected argument 'x'/);
});
