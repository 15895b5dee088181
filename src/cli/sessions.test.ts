import { expect, test } from 'vitest';
import { marked } from './sessions.ts';

test('sessions whose beginning is pruned are marked, also where a connection is not the session', () => {
  const cut = (connection: string) => ({ connection, index: 200, mode: 'commit', custody: 'same-user' }) as const;
  const told = marked(
    [
      { connection: 'a', index: 512 },
      // behind the bound, from its beginning on
      { connection: 'b', index: 514 },
      { connection: 'proxy', part: 300, index: 520 },
      { connection: 'proxy', part: 530, index: 530 },
      { connection: 'proxy', part: 250, index: 540 },
      // its principal was quiet for long, and began another one
      { connection: 'proxy', part: 250, index: 900 },
    ],
    { end: 512, connections: [cut('a'), cut('proxy')] },
  );
  expect(told.map(({ prunedBefore }) => prunedBefore)).toEqual([512, undefined, 512, undefined, 512, undefined]);
  // said, and not done yet: all of it is there
  expect(marked([{ connection: 'a', index: 200 }], { end: 512, connections: [cut('a')] })).toEqual([{ connection: 'a', index: 200 }]);
});
