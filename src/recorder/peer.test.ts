import { expect, test } from 'vitest';
import { custodyOf } from './peer.ts';

test('custody is separate only for a known account that is neither the recorder’s nor root', () => {
  const of = (uid: number | undefined, own: number) => custodyOf({ ...(uid === undefined ? {} : { uid }), source: 'kernel' }, own);
  expect(of(1001, 1000)).toBe('separate-user');
  expect(of(1001, 0)).toBe('separate-user');
  expect(of(1000, 1000)).toBe('same-user');
  expect(of(0, 1000)).toBe('same-user');
  expect(of(0, 0)).toBe('same-user');
  expect(of(undefined, 1000)).toBe('same-user');
});
