import { expect, test } from 'vitest';
import { isChildOf } from './processes.ts';

test.runIf(process.platform === 'linux')('whose child a process is', () => {
  expect(isChildOf(process.pid, process.ppid)).toBe(true);
  expect(isChildOf(process.ppid, process.pid)).toBe(false);
  expect(isChildOf(2 ** 31 - 1, process.pid)).toBeUndefined();
});
