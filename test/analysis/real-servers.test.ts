/** Ordinary work with the official servers raises next to nothing. `SWORN_SESSIONS=100` tries more of it. */
import { expect, test } from 'vitest';
import { rowsOf } from './analysed.ts';
import { Replay } from './replay.ts';
import { session, type Name } from './real-servers.ts';

const names: readonly Name[] = ['everything', 'filesystem', 'memory'];
const sessions = Number(process.env['SWORN_SESSIONS'] ?? 30);

test(`of ${sessions} sessions at most one in a hundred brings a finding of medium or higher`, async () => {
  const replay = new Replay();
  let calls = 0;
  for (let k = 0; k < sessions; k += 3) {
    for (const conversation of await Promise.all(names.map((name, at) => session(name, 1_000 + k + at)))) {
      calls += conversation.happenings.length;
      await replay.play(conversation);
    }
  }
  const rows = rowsOf(replay.entries);
  expect(rows.rows('sessions').length).toBeGreaterThanOrEqual(sessions);
  expect(calls).toBeGreaterThan(sessions * 15);
  const weighty = rows.rows('findings').filter(({ severity }) => severity === 'high' || severity === 'medium');
  expect(weighty.length, JSON.stringify(weighty, undefined, 1)).toBeLessThanOrEqual(Math.floor(sessions / 100));
}, 300_000);
